"""A small service: `/items?low=10&high=20` sums up what lies between. This is the file to improve."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

SORTED = False
BUFFERED = False

ITEMS = [(i * 7919) % 20_011 for i in range(20_011)]  # every number below 20,011 once, in no order
ORDERED = sorted(ITEMS)


def between(low: int, high: int) -> list[int]:
    if SORTED:
        return ORDERED[low : high + 1]
    return [item for item in ITEMS if low <= item <= high]


class Service(BaseHTTPRequestHandler):
    wbufsize = -1 if BUFFERED else 0

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        answer: object = "ready"
        if url.path == "/items":
            query = parse_qs(url.query)
            found = between(int(query["low"][0]), int(query["high"][0]))
            answer = {"count": len(found), "sum": sum(found)}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Service).serve_forever()
