"""A scripted model server on 127.0.0.1, in a process of its own, that logs every request as a line of JSON.

    server = ModelServer(folder, script({1: [shell("cat knob.txt"), edit("knob.txt", "10", "9"), say("lowers the knob")]}))
    server.url        # http://127.0.0.1:PORT; for Anthropic and Gemini as it is, for OpenAI with /v1
    server.calls()    # what models were asked; .connects() and .others() what else came

As an HTTPS_PROXY it logs CONNECTs and refuses them. Killed and started again it goes on at the same port.
"""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.agents.script import Answer, Asked, Failure, decide
from tests.agents.wire import Wire, wire_of

ROOT = Path(__file__).parents[2]
_HANG_S = 900
_LONG = ("messages", "input", "contents", "tools", "system", "instructions", "systemInstruction")  # of a request's body


class ModelServer:
    """The server as tests see it.

    Args:
        folder: gets its script and its log.
        alone: in a network of its own with nothing but loopback; needs root.
    """

    def __init__(self, folder: Path, script: Mapping[str, Any], *, alone: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._script, self._log, self._port, self._alone = folder / "script.json", folder / "requests.jsonl", 0, alone
        self.change(script)
        self.start()

    def change(self, script: Mapping[str, Any]) -> None:
        """Another script from the next request on."""
        new = self._script.with_suffix(".new")
        new.write_text(json.dumps(script))
        new.replace(self._script)

    def start(self) -> None:
        """Start it, or start it again at the same port."""
        alone = ["unshare", "--net"] if self._alone else []
        argv = [*alone, sys.executable, "-m", "tests.agents.model_server", str(self._script), str(self._log), str(self._port)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        if self._port:
            self.kill()
        self._process = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())

    def kill(self) -> None:
        """From now on connections are refused, until it is started again."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def is_up(self) -> bool:
        return self._process.poll() is None

    @property
    def inside(self) -> list[str]:
        """What goes before a command line so that it runs in the server's network."""
        return ["nsenter", f"--target={self._process.pid}", "--net", "--"] if self._alone else []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def log(self) -> list[dict[str, Any]]:
        if not self._log.exists():
            return []
        return [json.loads(line) for line in self._log.read_text().splitlines() if line.endswith("}")]

    def calls(self, session: int | str | None = None) -> list[dict[str, Any]]:
        """Requests to models in their order; of one session, `` for those without, `aside` for a program's own."""
        return [r for r in self.log if "api" in r and (session is None or r["session"] == str(session))]

    def connects(self) -> list[str]:
        """Other hosts that were asked for, by a proxy's CONNECT or with a whole address."""
        return [r["outside"] for r in self.log if "outside" in r]

    def others(self) -> list[str]:
        return [r["other"] for r in self.log if "other" in r]

    def given(self, session: int | str) -> dict[str, int]:
        """Tokens of all answers in a session, each attempt counted."""
        total: Counter[str] = Counter()
        for record in self.calls(session):
            total.update(record["usage"])
        return dict(total)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *args: Any) -> None:
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:  # a program that was killed
            pass

    def do_CONNECT(self) -> None:
        self.server.note({"outside": self.path})
        self._refuse_as_proxy()

    def do_HEAD(self) -> None:
        self._json(200, {})

    def do_GET(self) -> None:
        self._other()

    def do_PUT(self) -> None:
        self._body()
        self._other()

    def do_POST(self) -> None:
        path, raw = self.path.partition("?")[0], self._body()
        wire = wire_of(path)
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            body = {}
        if path.endswith(("/count_tokens", ":countTokens")):
            self.server.note({"other": f"POST {path}"})
            self._json(200, {"input_tokens": 1000, "totalTokens": 1000})
        elif wire is None or path.startswith("http"):
            self._other()
        else:
            try:
                self._model(wire, replace(wire.asked(path, body), most=_most(body)), body)
            except ConnectionError:
                self.close_connection = True

    def _model(self, wire: Wire, asked: Asked, body: Mapping[str, Any]) -> None:
        answer = self.server.decide(asked, dict(self.headers), body)
        if isinstance(answer, Failure):
            return self._fail(wire, asked, answer)
        if not asked.stream:
            return self._json(200, wire.whole(asked, answer))
        self._start_stream()
        for name, event in wire.events(asked, answer):
            self._send(name, event)
        return None

    def _fail(self, wire: Wire, asked: Asked, failure: Failure) -> None:
        if failure.what == "hang":
            time.sleep(_HANG_S)
        if failure.what == "die":
            os._exit(1)
        if isinstance(failure.what, int):
            wait = {} if failure.retry_after_s is None else {"Retry-After": f"{failure.retry_after_s:g}"}
            return self._json(failure.what, wire.error(failure.what, failure), wait)
        self._start_stream()
        for name, event in list(wire.events(asked, Answer("half an ans")))[:2]:
            whole = f"event: {name}\ndata: {json.dumps(event)}\n\n" if name else f"data: {json.dumps(event)}\n\n"
            self.wfile.write(whole[: -len(whole) // 3].encode())
            break
        self.wfile.flush()
        self.connection.shutdown(2)
        return None

    def _other(self) -> None:
        if self.path.startswith("http"):
            self.server.note({"outside": self.path})
            return self._refuse_as_proxy()
        self.server.note({"other": f"{self.command} {self.path}"})
        if self.path.partition("?")[0].endswith("/models"):
            return self._json(200, {"object": "list", "data": [{"id": "scripted", "object": "model"}], "models": []})
        return self._json(404, {"error": {"message": f"there is nothing at {self.path}", "type": "not_found_error"}})

    def _refuse_as_proxy(self) -> None:
        self.send_response(502)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def _body(self) -> bytes:
        if (self.headers.get("Transfer-Encoding") or "").lower() == "chunked":
            raw = b"".join(self._chunks())
        else:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw

    def _chunks(self) -> Any:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _json(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data if self.command != "HEAD" else b"")

    def _start_stream(self) -> None:
        self.send_response(200)
        for name, value in {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True

    def _send(self, name: str, event: Any) -> None:
        data = event if isinstance(event, str) else json.dumps(event)
        self.wfile.write((f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode())
        self.wfile.flush()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, script: Path, log: Path, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self._script, self._lock = script, threading.Lock()
        before = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        self._given = Counter(r["failure"] for r in before if r.get("failure"))
        self._log = log.open("a")

    def note(self, record: Mapping[str, Any]) -> None:
        with self._lock:
            self._note(record)

    def _note(self, record: Mapping[str, Any]) -> None:
        self._log.write(json.dumps({"t": round(time.time(), 3), **record}) + "\n")
        self._log.flush()

    def decide(self, asked: Asked, headers: Mapping[str, str], body: Mapping[str, Any]) -> Answer | Failure:
        """What comes next, in the log before it is sent."""
        told = json.loads(self._script.read_text())
        with self._lock:
            session, turn, answer = decide(asked, told, self._given)
            answer = _refusal(asked, told, headers) or answer
            if isinstance(answer, Failure):
                self._given[answer.key] += 1
            settings = {name: value for name, value in body.items() if name not in _LONG}
            self._note({**_record(asked, headers, session, turn, answer), "settings": settings})
        return answer


def _most(body: Mapping[str, Any]) -> int | None:
    """How long an answer may be."""
    where = {**body, **(body.get("generationConfig") or {})}
    names = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens")
    return next((where[name] for name in names if where.get(name)), None)


def _refusal(asked: Asked, told: Mapping[str, Any], headers: Mapping[str, str]) -> Failure | None:
    small = {name.lower(): value for name, value in headers.items()}
    key = small.get("x-api-key") or small.get("x-goog-api-key") or small.get("authorization", "").removeprefix("Bearer ")
    if told["keys"] and key not in told["keys"]:
        bad = "API key not valid. Please pass a valid API key."
        return Failure(400, words=bad) if asked.api == "gemini" else Failure(401)
    if told["models"] and asked.model not in told["models"]:
        words = {"anthropic": f"model: {asked.model}", "gemini": f"models/{asked.model} is not found"}
        return Failure(404, words=words.get(asked.api, f"The model `{asked.model}` does not exist or you do not have access"))
    return None


def _record(asked: Asked, headers: Mapping[str, str], session: str, turn: int, answer: Answer | Failure) -> dict[str, Any]:
    seen = asdict(asked) | {"tools": [tool.name for tool in asked.tools], "turns": None, "schema": None}
    found = {"session": session, "turn": turn, "headers": {name.lower(): value for name, value in headers.items()}}
    if isinstance(answer, Failure):
        gave: dict[str, Any] = {"failed": answer.what, "failure": answer.key, "usage": {}}
    else:
        called = {"tool": answer.tool.name, "args": answer.args} if answer.tool else {"say": answer.text}
        gave = {"answer": called, "usage": dict(answer.usage)}
    return {**{name: value for name, value in seen.items() if value is not None}, **found, **gave}


def _raise_loopback() -> None:
    """Bring the loopback interface up, as it is not in a new network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        fcntl.ioctl(link, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up, running


if __name__ == "__main__":
    try:
        _raise_loopback()
    except PermissionError:
        pass  # the machine's own, which is up
    _server = _Server(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    print(_server.server_address[1], flush=True)
    _server.serve_forever()
