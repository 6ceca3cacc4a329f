"""Start a server, wait for its port, warm up, and time requests. Prints `p95_ms: <number>`."""

import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import time

PORT = int(os.environ.get("AUTORESEARCH_PORT", "8765"))  # free, and this evaluation's own
COMMAND = [sys.executable, "server.py"]  # gets the port as $PORT
READY, WARM_UP, REQUESTS, LIMIT_S = "/health", 30, 500, 20.0


def get(path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=LIMIT_S)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def wait_until_ready(server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SystemExit(f"the server ended with {server.returncode} before it answered")
        try:
            if get(READY)[0] == 200:
                return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"nothing answered on port {PORT} within {LIMIT_S:.0f} s")


def one_request(rng: random.Random) -> float:
    """Ask something with a known answer; gives the milliseconds until it was there."""
    low = rng.randrange(0, 5000)
    expected = {"count": 50, "sum": sum(range(low, low + 50))}
    began = time.perf_counter()
    status, body = get(f"/items?low={low}&high={low + 49}")
    took = time.perf_counter() - began
    if status != 200 or json.loads(body) != expected:
        raise SystemExit(f"wrong answer: {status} {body[:200]!r}, expected {expected}")
    return took * 1000


def main() -> None:
    rng = random.Random()  # other requests each time, so that no answer can be kept ready
    server = subprocess.Popen(COMMAND, env={**os.environ, "PORT": str(PORT)}, stdout=subprocess.DEVNULL)
    try:
        wait_until_ready(server)
        for _ in range(WARM_UP):
            one_request(rng)
        times = [one_request(rng) for _ in range(REQUESTS)]
    finally:
        server.kill()
        server.wait()
    print(f"p95_ms: {statistics.quantiles(times, n=100)[94]:.3f}")
    print(f"median_ms: {statistics.median(times):.3f}")


if __name__ == "__main__":
    main()
