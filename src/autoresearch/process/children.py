"""The harness's side of the supervisor: start a job, wait for its end, kill it when the waiting is cancelled."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import anyio
import anyio.abc

from autoresearch.errors import DiskFault, RunnerLost
from autoresearch.process.layers import requests, shown_elsewhere, walls
from autoresearch.records import UNLIMITED, Bind, Layer, Limits, Sandbox

LOG_LIMIT = 10 * 1024 * 1024
KEEP_LIMIT = 4 * 1024 * 1024
_ANSWER_LIMIT = 64 * 1024 * 1024  # of one answer; what announces more is not the supervisor's


@dataclass(frozen=True, slots=True)
class Job:
    """A child to run. The environment is exactly `env`."""

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    timeout_s: float | None = None
    grace_s: float = 2.0
    log: Path | None = None
    stdin: Path | None = None
    readonly: Sequence[Path] = ()
    mounts: Sequence[Layer | Bind] = ()
    masked: Sequence[tuple[str, str]] = ()  # texts that must not be logged, each with what stands for it
    memory_mb: float | None = None
    cpus: Sequence[int] = ()
    locked: bool = False  # nothing in it can mount or unmount, root neither
    channel: Path | None = None  # where the supervisor listens for its report, to the first of its processes that connects
    hidden: Sequence[Path] = ()  # paths in whose place nothing is seen
    sandbox: Sandbox | None = None
    limits: Limits = UNLIMITED
    events: Path | None = None  # all of standard output as it comes, covered like the log, for whoever reads along
    log_limit: int = LOG_LIMIT
    keep: int = KEEP_LIMIT


@dataclass(frozen=True, slots=True)
class Exit:
    """How a job ended; nothing of it is alive any more.

    Attributes:
        stdout: the last `keep` bytes of standard output, decoded; `stdout_bytes` counts all.
        tail: the last lines of both streams.
        killed: we ended it (time limit or cancelled).
        over_disk: in which words it had written too much, `` if it had not.
        oom: the memory limit was met: the kernel's OOM killer struck inside, or the watcher did.
        limit_by: what held the memory limit, `` without one.
        reported: what came through its channel, None when nobody took it.
    """

    exit: int | None
    signal: int | None
    error: str
    duration_s: float
    cpu_s: float
    peak_mb: float | None
    memory_from: str
    limit_mb: float | None
    oom: bool
    timed_out: bool
    killed: bool
    stdout: str
    stdout_bytes: int
    tail: str
    contained_by: str = ""
    limit_by: str = ""
    over_disk: str = ""
    reported: str | None = None


@dataclass(slots=True)
class _Waiting:
    token: str = ""  # known to the supervisor alone
    done: anyio.Event = field(default_factory=anyio.Event)
    answer: dict[str, Any] | None = None


class Supervisor:
    """A supervisor process and the jobs in it. Use as an async context manager.

    Raises (from `run`):
        RunnerLost: the supervisor died; its jobs died with it, and the next `run` starts another.
        DiskFault: a log could not be written or a job not be started for want of space.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._waiting: dict[int, _Waiting] = {}
        self._tasks: anyio.abc.TaskGroup | None = None
        self._next = 0
        self._sending = anyio.Lock(fast_acquire=True)
        self.namespaces = ""
        self.cgroups = 0

    async def __aenter__(self) -> Supervisor:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._tasks is not None
        self._tasks.cancel_scope.cancel()
        self._stop()
        await self._tasks.__aexit__(None, None, None)

    @property
    def memory_limit(self) -> str:
        """What would hold a job's memory limit, once the supervisor is there."""
        return f"cgroup v{self.cgroups}" if self.cgroups else "a watcher"

    async def start(self) -> None:
        """Start the supervisor if none is running."""
        if self._socket is not None:
            return
        ours, theirs = socket.socketpair()
        script = Path(__file__).with_name("supervisor.py")
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(script), str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        ours.setblocking(False)
        self._socket = ours
        hello = _Waiting()
        self._waiting[0] = hello
        assert self._tasks is not None
        self._tasks.start_soon(self._listen, ours)
        await hello.done.wait()
        if hello.answer is None:
            raise RunnerLost("the supervisor process did not start; `autoresearch doctor` says more")
        self.namespaces = hello.answer["namespaces"]
        self.cgroups = hello.answer["cgroups"]

    async def run(self, job: Job) -> Exit:
        """Run a job to its end. When cancelled, the job is killed before this returns."""
        await self.start()
        self._next += 1
        id_, waiting = self._next, _Waiting(secrets.token_hex(16))
        self._waiting[id_] = waiting
        mark = secrets.token_hex(8)
        request = {
            "op": "start",
            "id": id_,
            "token": waiting.token,
            "argv": list(job.argv),
            "cwd": str(job.cwd),
            "env": {**job.env, "AUTORESEARCH_MARK": mark},
            "stdin": str(job.stdin) if job.stdin else None,
            "log": str(job.log) if job.log else None,
            "events": str(job.events) if job.events else None,
            "log_limit": job.log_limit,
            "keep": job.keep,
            "timeout_s": job.timeout_s,
            "grace_s": job.grace_s,
            "readonly": [str(path) for path in job.readonly],
            "mounts": requests((*job.mounts, *shown_elsewhere(job.sandbox, namespaces=bool(self.namespaces)))),
            "masked": [list(pair) for pair in job.masked],
            "memory_mb": job.memory_mb,
            "cpus": list(job.cpus),
            "locked": job.locked,
            "channel": str(job.channel) if job.channel else None,
            "hidden": [str(path) for path in job.hidden],
            "processes": job.limits.processes,
            "file_bytes": job.limits.file_bytes,
            "disk": [job.limits.disk_bytes, [str(path) for path in job.limits.written]] if job.limits.disk_bytes else None,
            **(walls(job.sandbox, job.argv, job.cwd, namespaces=bool(self.namespaces)) if job.sandbox else {}),
        }
        await self._send(request)
        try:
            await waiting.done.wait()
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self._send({"op": "kill", "id": id_, "grace_s": job.grace_s})
                await waiting.done.wait()
            raise
        return _exit(waiting.answer)

    async def _send(self, request: dict[str, Any]) -> None:
        body = json.dumps(request).encode()
        data = struct.pack(">I", len(body)) + body
        with anyio.CancelScope(shield=True):  # half a request would spoil all that follow
            async with self._sending:
                sock = self._socket
                while data and sock is not None and self._socket is sock:
                    try:
                        data = data[sock.send(data) :]
                    except BlockingIOError:
                        await anyio.wait_writable(sock)
                    except OSError:
                        self._lost(sock)

    async def _listen(self, sock: socket.socket) -> None:
        with sock:  # closed by nobody else: its number, given to another, would be waited on twice
            await self._hear(sock)
            self._lost(sock)

    async def _hear(self, sock: socket.socket) -> None:
        """Deliver answers until the other side is gone."""
        inbox = bytearray()
        try:
            while True:
                await anyio.wait_readable(sock)
                data = sock.recv(1 << 20)
                if not data:
                    break
                inbox += data
                while len(inbox) >= 4:
                    size = struct.unpack(">I", inbox[:4])[0]
                    if size > _ANSWER_LIMIT:
                        raise ValueError(f"an answer of {size} bytes")
                    if len(inbox) < 4 + size:
                        break
                    self._deliver(json.loads(inbox[4 : 4 + size]))
                    del inbox[: 4 + size]
        except (OSError, ValueError):
            pass  # it is gone, or somebody writes in its place

    def _deliver(self, answer: dict[str, Any]) -> None:
        waiting = self._waiting.get(answer.get("id", 0))
        if waiting is not None and answer.pop("token", "") == waiting.token:
            del self._waiting[answer.get("id", 0)]
            waiting.answer = answer
            waiting.done.set()

    def _lost(self, sock: socket.socket) -> None:
        """Wake everybody who waits for a supervisor that is gone."""
        if self._socket is not sock:
            return  # that was noticed before, and another one may be there by now
        self._stop()
        for waiting in self._waiting.values():
            waiting.done.set()
        self._waiting.clear()

    def _stop(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # the other side may be gone
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket = None
        if self._process is not None:
            try:
                self._process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


def _exit(answer: dict[str, Any] | None) -> Exit:
    if answer is None:
        raise RunnerLost("the process that supervises evaluations is gone; what it ran is done again")
    fault = answer.pop("fault", "")
    if fault:
        crowded = answer.get("errno") in (errno.EAGAIN, errno.ENOMEM)
        raise RunnerLost(f"{fault}: too many processes, or no memory left") if crowded else DiskFault(fault)
    answer.pop("id")
    return Exit(**(_seen_through(answer) if answer.pop("sandboxed", False) else answer))


def _seen_through(answer: dict[str, Any]) -> dict[str, Any]:
    """What a sandbox says of its program's end: a signal as 128 and its number, a program that is not there as a line."""
    code, last = answer["exit"], answer["tail"].rstrip().rpartition("\n")[2]
    if code == 1 and (missing := re.fullmatch(r"bwrap: execvp (.*): (No such file or directory|Permission denied)", last)):
        return answer | {"exit": 127, "error": missing[2], "tail": f"{missing[1]}: {missing[2]}"}
    if code is not None and code - 128 in set(signal.Signals):
        return answer | {"exit": None, "signal": code - 128}
    return answer
