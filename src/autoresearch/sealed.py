"""A sealed evaluator: it starts the candidate as a process of its own, and reports through a channel that this cannot open.

    from autoresearch import sealed

    with sealed.Evaluator() as evaluator:
        numbers = [evaluator.random.random() for _ in range(1000)]
        run = evaluator.run([sys.executable, "-I", "solution.py"], stdin=json.dumps(numbers).encode(), timeout_s=10)
        if run.failed or run.stdout != expected(numbers):
            raise SystemExit(run.failed or "a wrong answer")
        evaluator.report(wall_s=run.wall_s)

The evaluator must never import, load or unpickle what the candidate wrote; what it wants to know of it, it reads as bytes.
What holds and what does not: docs/trust.md. One file, standard library only, Python 3.9 or later: it may be copied beside
an evaluator that runs in another environment. It is a program as well: the launcher, which starts before any candidate.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import json
import math
import os
import platform
import random
import resource
import secrets
import select
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn

__all__ = ["Evaluator", "Run", "SealedError"]

_KEPT = ("PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "CUDA_HOME")
_KEPT_ENDS = ("_NUM_THREADS", "_VISIBLE_DEVICES", "_MAX_THREADS")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "kfd", "dri", "nvidia")
_TAIL = 1 << 16
_CHUNK = 1 << 16
_SAMPLE_S = 0.02
_START = struct.Struct("=dd")  # when a candidate began by the monotonic clock, and the seconds of CPU before
_MB = 2**20

_linux = sys.platform == "linux"
_MAXRSS_MB = 1024 if _linux else _MB  # kilobytes, and bytes on macOS
# PyDLL keeps the interpreter lock over the call, so that the child of a raw clone wakes up holding it.
_libc: Any = ctypes.PyDLL(None, use_errno=True) if _linux else None
_CLONE = {"x86_64": 56, "aarch64": 220}.get(platform.machine()) if _linux else None
_NEWNS, _NEWIPC, _NEWUSER, _NEWPID = 0x20000, 0x8000000, 0x10000000, 0x20000000
_MS_REC, _MS_PRIVATE, _MS_NOSUID_NODEV_NOEXEC = 16384, 1 << 18, 2 | 4 | 8
_PDEATHSIG, _SET_DUMPABLE, _CAPBSET_DROP, _SUBREAPER, _NO_NEW_PRIVS, _AMBIENT = 1, 4, 24, 36, 38, 47


class SealedError(Exception):
    """The evaluation cannot be sealed, or what was asked for makes no sense; the message says what to do."""


@dataclass(frozen=True)
class Run:
    """How the candidate ran; nothing of it is alive any more.

    Attributes:
        failed: in words why it is no good run, `` if it exited with 0 within all limits.
        exit, signal: how its first process ended; both None where it could not be started.
        stdout: all it printed; stderr: the last 64 kB.
        wall_s: from its start to the end of its last process, by a clock outside it.
        cpu_s: of all its processes; peak_mb: the most they held, as seen every 20 ms, or one of them ever.
    """

    failed: str
    exit: int | None
    signal: int | None
    timed_out: bool
    stdout: bytes
    stderr: bytes
    wall_s: float
    cpu_s: float
    peak_mb: float

    @property
    def ok(self) -> bool:
        return not self.failed


class Evaluator:
    """Takes the channel, starts candidates, reports. Use as a context manager, from one thread, before anything else.

    When entered, this process is made unreadable for others of the same user, the channel is taken, and the folder of the
    evaluator leaves `sys.path`: import what you need before.

    Attributes:
        random: fresh for this evaluation; from `seed`, which the harness draws after the candidate was frozen.
        walls: what stands between this process and its candidates on this machine, in words.

    Raises (when entered):
        SealedError: this process cannot be made unreadable, or somebody else has the channel.
    """

    def __init__(self) -> None:
        given = os.environ.get("AUTORESEARCH_SEED", "")
        self.seed = int(given) if given.lstrip("-").isdigit() else secrets.randbits(31)
        self.random = random.Random(self.seed)
        self.walls: tuple[str, ...] = ()
        self._channel: socket.socket | None = None
        self._launcher: _Launcher | None = None
        self._reported = False

    def __enter__(self) -> Evaluator:
        _become_unreadable()
        path = os.environ.get("AUTORESEARCH_CHANNEL", "")
        if path:
            self._channel = _connect(path)
        _leave_path()
        self._launcher = _Launcher()
        self.walls = self._launcher.walls
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._launcher is not None:
            self._launcher.close()
        if self._channel is not None:
            self._channel.close()

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout_s: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] = ".",
        writable: Sequence[str | os.PathLike[str]] = (),
        hidden: Sequence[str | os.PathLike[str]] = (),
        memory_mb: float | None = None,
        processes: int = 500,
        file_mb: float = 1024.0,
        output_mb: float = 64.0,
        cpu_s: float | None = None,
    ) -> Run:
        """Run a candidate to its end and kill what is left of it.

        It starts in `cwd`, with a new and empty HOME and TMPDIR, PATH, language, devices and `env` for its environment,
        and may write there and in `writable` only, where the machine has Landlock.

        Args:
            hidden: files and folders that it cannot read at their places: labels, answers. The private files of a gate or a
                held-out set are hidden anyway, where the machine has Landlock.
            timeout_s: by this process's clock; None leaves it to the limit of the evaluation.
            memory_mb: of all its processes together, looked at every 20 ms.
            processes: and threads, all together; the kernel counts them, or for root a look every 20 ms.
            file_mb, cpu_s: of each file that it writes, and of each process.
            output_mb: of standard output; more is a failure.
        Raises:
            SealedError: something cannot be hidden here; or the launcher is gone, which is in a candidate's hands only where
                there is neither namespace nor Landlock.
        """
        if self._launcher is None:
            raise SealedError("run needs an entered evaluator: write `with sealed.Evaluator() as evaluator:`")
        unseen = [*(_hideable(path, self.walls) for path in hidden), *_private(self.walls)]
        with _fresh_folder() as fresh:
            request = {
                "argv": [os.fspath(word) for word in argv],
                "cwd": os.path.abspath(cwd),
                "env": {**_environment(fresh), **(env or {})},
                "writable": [fresh, *(os.path.abspath(path) for path in writable)],
                "hidden": unseen,
                "memory_mb": memory_mb,
                "processes": processes,
                "file_bytes": int(file_mb * _MB),
                "cpu_s": cpu_s,
                "nice": os.getpriority(os.PRIO_PROCESS, 0),
            }
            return self._launcher.run(request, stdin, timeout_s=timeout_s, output_bytes=int(output_mb * _MB))

    def report(self, **metrics: float) -> None:
        """Report the evaluation's numbers, once. Where no harness listens, print them as `METRIC name=value`.

        Raises:
            SealedError: one is not a finite number, or they were reported before.
        """
        if self._reported:
            raise SealedError("report was called a second time: an evaluation has one record; give it all numbers at once")
        numbers = {name: _number(name, value) for name, value in metrics.items()}
        self._reported = True
        if self._channel is not None:
            self._channel.sendall(json.dumps({"metrics": numbers}).encode() + b"\n")
            return
        result = os.environ.get("AUTORESEARCH_RESULT")
        if result:
            with open(result, "w", encoding="utf-8") as file:
                json.dump(numbers, file)
        sys.stdout.write("".join(f"METRIC {name}={number!r}\n" for name, number in numbers.items()))
        sys.stdout.flush()


# -- the evaluator's side ------------------------------------------------------------------------------------------------


def _number(name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, (str, bytes)) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise SealedError(f"report {name}={value!r}: expected a finite number")
    return number


def _private(walls: Sequence[str]) -> list[str]:
    """The private files of the set that this evaluation measures on, where they can be hidden."""
    if not any("Landlock" in wall for wall in walls):
        return []
    named = os.environ.get("AUTORESEARCH_PRIVATE", "").split(os.pathsep)
    return [os.path.realpath(path) for path in named if path and os.path.exists(path)]


def _hideable(path: str | os.PathLike[str], walls: Sequence[str]) -> str:
    real = os.path.realpath(path)
    if not os.path.exists(real):
        raise SealedError(f"run hidden={os.fspath(path)!r}: no such file or folder")
    if not any("Landlock" in wall for wall in walls):
        raise SealedError(
            f"cannot hide {real}: no Landlock here; read it, then remove it from the tree, before the candidate runs"
        )
    return real


def _become_unreadable() -> None:
    """Close /proc/<pid>/fd, mem, environ and ptrace to every process without the privilege to trace.

    Raises:
        SealedError: the kernel refuses.
    """
    if _linux and _libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0):
        words = os.strerror(ctypes.get_errno())
        raise SealedError(
            f"cannot make this process unreadable (PR_SET_DUMPABLE: {words}): its candidate could write its report"
        )


def _connect(path: str) -> socket.socket:
    """Take the channel; the other end answers `ready` when nobody else can any more.

    Raises:
        SealedError: it is taken, or not there.
    """
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            short = f"/proc/self/fd/{folder}/{os.path.basename(path)}"  # the path of a socket has 108 bytes at most
            channel.connect(short if os.path.isdir("/proc/self/fd") else path)
        finally:
            os.close(folder)
        channel.settimeout(60)
        greeting = channel.recv(64)
        channel.settimeout(None)
    except OSError as error:
        greeting = f"({error.strerror or error})".encode()
    if greeting != b"ready\n":
        said = greeting.decode("utf-8", "replace") or "(it was closed)"
        raise SealedError(f"cannot take the channel {path} {said}: one process may, once; enter the evaluator before all else")
    return channel


def _leave_path() -> None:
    """Keep what a candidate writes from being imported here: the evaluator's folder is one that it may see and write."""
    main = getattr(sys.modules.get("__main__"), "__file__", None) or "."
    open_, own = [os.getcwd(), os.path.dirname(os.path.realpath(main))], [sys.prefix, sys.base_prefix]
    sys.path[:] = [p for p in sys.path if _is_in(p, own) or (p and not _is_in(p, open_))]


def _is_in(path: str, folders: Sequence[str]) -> bool:
    real = os.path.realpath(path)
    return any(real == folder or real.startswith(folder.rstrip("/") + "/") for folder in map(os.path.realpath, folders))


def _environment(fresh: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.endswith(_KEPT_ENDS)}
    return {"PATH": os.defpath, **kept, "HOME": f"{fresh}/home", "TMPDIR": f"{fresh}/tmp"}


@contextlib.contextmanager
def _fresh_folder() -> Iterator[str]:
    folder = os.path.realpath(tempfile.mkdtemp(prefix="candidate-"))
    try:
        os.mkdir(f"{folder}/home")
        os.mkdir(f"{folder}/tmp")
        yield folder
    finally:
        for root, folders, _ in os.walk(folder):
            for name in folders:
                if not os.path.islink(os.path.join(root, name)):
                    os.chmod(os.path.join(root, name), 0o700)
        shutil.rmtree(folder, ignore_errors=True)


class _Launcher:
    """The process that starts candidates: small, so that a start is quick and its memory is not taken for theirs."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", os.path.abspath(__file__), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
                env=kept,
            )
        self._socket = ours
        self.walls = tuple(self._answer()["walls"])

    def run(self, request: Mapping[str, Any], stdin: bytes, *, timeout_s: float | None, output_bytes: int) -> Run:
        streams = _Streams(stdin, output_bytes)
        try:
            _send(self._socket, request, streams.theirs)
            streams.close(*streams.theirs)
            began = time.monotonic()
            why = streams.pump(self._socket, None if timeout_s is None else began + timeout_s)
            if why:
                _send(self._socket, {"end": True})
            answer, lasted_s = self._answer(), time.monotonic() - began
            why = streams.drain() or why
        except BaseException:
            self.close()
            raise
        finally:
            streams.close()
        return _as_run(answer, why, streams, lasted_s, timeout_s)

    def _answer(self) -> dict[str, Any]:
        found = _receive(self._socket)
        if found is None:
            raise SealedError("the launcher of candidates is gone; without it nothing can be run")
        return found[0]

    def close(self) -> None:
        """End it, and what it runs."""
        self._socket.close()
        self._process.wait()


class _Streams:
    """What goes to a candidate and comes from it."""

    def __init__(self, stdin: bytes, limit: int) -> None:
        in_r, self._in = os.pipe()
        self._out, out_w = os.pipe()
        self._err, err_w = os.pipe()
        self.theirs = [in_r, out_w, err_w]
        self._open = {self._in, self._out, self._err, *self.theirs}
        self.limit, self._left = limit, memoryview(stdin)
        self.stdout, self.stderr = bytearray(), bytearray()
        for fd in (self._in, self._out, self._err):
            os.set_blocking(fd, False)

    def close(self, *fds: int) -> None:
        """Close some of the descriptors, or all."""
        for fd in fds or tuple(self._open):
            if fd in self._open:
                self._open.remove(fd)
                os.close(fd)

    def pump(self, control: socket.socket, until: float | None) -> str:
        """Move bytes until the launcher answers, gives ``; or until a limit is met, gives which."""
        with selectors.DefaultSelector() as selector:
            selector.register(control, selectors.EVENT_READ)
            for fd in (self._out, self._err):
                selector.register(fd, selectors.EVENT_READ)
            if self._left:
                selector.register(self._in, selectors.EVENT_WRITE)
            else:
                self.close(self._in)
            while True:
                wait_s = None if until is None else until - time.monotonic()
                if wait_s is not None and wait_s <= 0:
                    return "time"
                for key, _ in selector.select(wait_s):
                    if key.fileobj is control:
                        return ""
                    if not (self._feed() if key.fd == self._in else self._take(key.fd)):
                        selector.unregister(key.fd)
                        if key.fd == self._in:
                            self.close(self._in)
                if len(self.stdout) > self.limit:
                    return "output"

    def drain(self) -> str:
        """Take what is left when nothing of the candidate is alive."""
        for fd in (self._out, self._err):
            with contextlib.suppress(BlockingIOError):
                while len(self.stdout) <= self.limit and self._take(fd, at_end=True):
                    pass
        return "output" if len(self.stdout) > self.limit else ""

    def _feed(self) -> bool:
        try:
            self._left = self._left[os.write(self._in, self._left[:_CHUNK]) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False
        return bool(self._left)

    def _take(self, fd: int, *, at_end: bool = False) -> bool:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            if at_end:
                raise
            return True
        if fd == self._out:
            self.stdout += data
        else:
            self.stderr = self.stderr[-_TAIL:] + data
        return bool(data)


def _as_run(answer: Mapping[str, Any], why: str, streams: _Streams, lasted_s: float, timeout_s: float | None) -> Run:
    why = why or answer["why"]
    code, signum = answer["exit"], answer["signal"]
    wall_s = lasted_s if answer["wall_s"] is None or why == "time" else answer["wall_s"]
    words = {
        "time": f"still running after {lasted_s:.1f} s (limit {timeout_s or 0:g} s)",
        "output": f"printed more than {streams.limit / _MB:g} MB",
        "memory": f"held more than its memory, {answer['peak_mb']:.0f} MB",
        "processes": "had more processes than it may have",
        "start": f"cannot be started: {answer['error']}",
    }
    failed = words.get(why, "")
    if not failed and signum is not None:
        failed = f"ended by {signal.Signals(signum).name if signum in set(signal.Signals) else signum}"
    elif not failed and code:
        failed = f"exited with {code}"
    stdout, stderr = bytes(streams.stdout[: streams.limit]), bytes(streams.stderr[-_TAIL:])
    return Run(failed, code, signum, why == "time", stdout, stderr, wall_s, answer["cpu_s"], answer["peak_mb"])


# -- messages between the two --------------------------------------------------------------------------------------------


def _send(sock: socket.socket, body: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
    data = json.dumps(body).encode()
    data = struct.pack(">I", len(data)) + data
    passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        sent = sock.sendmsg([data[:_CHUNK]], passed)
        sock.sendall(data[sent:])
    except (BrokenPipeError, ConnectionResetError) as error:
        raise SealedError("the launcher of candidates is gone; without it nothing can be run") from error


def _receive(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """One message with its descriptors; None when the other end is gone."""
    data, fds = bytearray(), array.array("i")
    while len(data) < 4 or len(data) < 4 + struct.unpack(">I", data[:4])[0]:
        try:
            more, passed, _, _ = sock.recvmsg(_CHUNK, socket.CMSG_SPACE(3 * fds.itemsize))
        except ConnectionResetError:
            more = b""
        if not more:
            return None
        data += more
        for _, _, body in passed:
            fds.frombytes(body[: len(body) - len(body) % fds.itemsize])
    for fd in fds:
        os.set_inheritable(fd, False)
    return json.loads(data[4:]), list(fds)


# -- the launcher --------------------------------------------------------------------------------------------------------


def _launch(fd: int) -> None:
    """Run candidates one after another until the evaluator is gone."""
    os.set_inheritable(fd, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the evaluator hears it, and ends this by closing the socket
    _become_unreadable()
    _prctl(_SUBREAPER, 1)
    control = socket.socket(fileno=fd)
    namespaces = _best_namespaces()
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)  # who watches is not kept waiting by those whom he watches
    _send(control, {"walls": _walls(namespaces)})
    while (found := _receive(control)) is not None:
        if "end" in found[0]:
            continue  # it came as the run was over
        answer = _contain(*found, control, namespaces)
        if answer is None:
            return
        _send(control, answer)


def _walls(namespaces: str) -> list[str]:
    if not _linux:
        return []
    walls = ["this process is unreadable", "no capabilities"]
    if namespaces:
        own = " and /proc" if "proc" in namespaces else ""
        walls.append(f"its own processes{own} ({'user namespace' if 'user' in namespaces else 'root'})")
    if _landlock_version():
        walls.append(f"writes in its own folder only (Landlock {_landlock_version()})")
    return walls


def _contain(request: dict[str, Any], fds: list[int], control: socket.socket, namespaces: str) -> dict[str, Any] | None:
    """Run one candidate below an init of its own; None when the evaluator went away over it."""
    status_r, status_w = os.pipe()
    init = _spawn_init(namespaces)
    if init == 0:
        os.close(status_r)
        control.close()
        _run_init(request, fds, namespaces, status_w)
    for fd in (status_w, *fds):
        os.close(fd)
    status, gone, poller = b"", False, select.poll()
    poller.register(status_r, select.POLLIN)
    poller.register(control, select.POLLIN)
    while True:
        ready = [fd for fd, _ in poller.poll()]
        if status_r in ready:
            more = os.read(status_r, _CHUNK)
            status += more
            if not more:
                break
        elif not gone:
            gone = _receive(control) is None
            poller.unregister(control)
            _end(init, namespaces)
    os.close(status_r)
    usage = _bury(init, namespaces)
    peak_mb = usage.ru_maxrss / _MAXRSS_MB  # of one process, and of those that started it
    answer = {"why": "", "exit": None, "signal": int(signal.SIGKILL), "wall_s": None, "error": "", "peak_mb": peak_mb}
    answer |= {"cpu_s": usage.ru_utime + usage.ru_stime}
    if status:
        answer |= json.loads(status)
    return None if gone else answer


def _bury(init: int, namespaces: str) -> resource.struct_rusage:
    """Wait until nothing of a candidate is left."""
    if not namespaces:
        _end(init, namespaces)
    _, _, usage = os.wait4(init, 0)
    if not namespaces:
        _hunt(os.getpid())
    return usage


def _end(init: int, namespaces: str) -> None:
    if namespaces:
        os.kill(init, signal.SIGKILL)  # the kernel takes the whole namespace along
    else:
        _hunt(os.getpid(), but=init)
        with contextlib.suppress(ProcessLookupError):
            os.kill(init, signal.SIGKILL)


def _spawn_init(namespaces: str) -> int:
    """Fork the init of a candidate, in namespaces of its own where there are any; 0 in the child."""
    if not namespaces:
        return os.fork()
    flags = _NEWPID | _NEWNS | _NEWIPC | (_NEWUSER if "user" in namespaces else 0)
    uid, gid = os.getuid(), os.getgid()
    pid: int = _libc.syscall(_CLONE, flags | signal.SIGCHLD, 0, 0, 0, 0)
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone")
    if pid == 0 and "user" in namespaces:
        try:
            _prctl(_SET_DUMPABLE, 1)  # the maps of an unreadable process belong to root
            for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
                with open(f"/proc/self/{name}", "w") as file:
                    file.write(text)
            _prctl(_SET_DUMPABLE, 0)
        except BaseException:
            os._exit(1)  # the caller is the parent's
    return pid


def _best_namespaces() -> str:
    """Try what this machine allows: `user` or `root`, with ` proc` where /proc can be the candidate's own; or ``."""
    if _CLONE is None:
        return ""
    kinds = ["user", "root"] if os.getuid() == 0 else ["user"]
    for kind in [f"{kind} proc" for kind in kinds] + kinds:
        try:
            pid = _spawn_init(kind)
        except OSError:
            continue
        if pid == 0:
            try:
                _own_mounts(kind)
                os._exit(0)
            except BaseException:
                os._exit(1)
        if os.waitpid(pid, 0)[1] == 0:
            return kind
    return ""


def _own_mounts(namespaces: str) -> None:
    """A /proc that shows the candidate's processes alone, and shared memory that nobody had before."""
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    if "proc" in namespaces:
        _mount("proc", "/proc", "proc", _MS_NOSUID_NODEV_NOEXEC)
    with contextlib.suppress(OSError):
        _mount("tmpfs", "/dev/shm", "tmpfs", _MS_NOSUID_NODEV_NOEXEC)


def _mount(source: str | None, target: str, kind: str | None, flags: int) -> None:
    texts = [os.fsencode(text) if text else None for text in (source, target, kind)]
    if _libc.mount(*texts, ctypes.c_ulong(flags), None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), target)


def _run_init(request: dict[str, Any], fds: list[int], namespaces: str, status_w: int) -> NoReturn:
    """The first process of a candidate: starts it, watches it, kills what is left of it, tells how it went."""
    try:
        _prctl(_PDEATHSIG, signal.SIGKILL)
        _prctl(_SUBREAPER, 1)
        own_shm = False
        if namespaces:
            before = os.stat("/dev/shm").st_dev if os.path.isdir("/dev/shm") else None
            _own_mounts(namespaces)
            own_shm = before is not None and os.stat("/dev/shm").st_dev != before
        told_r, told_w = os.pipe()
        main = os.fork()
        if main == 0:
            _become_candidate(request, fds, told_w, own_shm=own_shm, counted="user" in namespaces and _counts_alone())
        for fd in (told_w, *fds):
            os.close(fd)
        answer = _watch(main, request, namespaces)
        told = os.read(told_r, _CHUNK)
        if len(told) > _START.size:
            words = told[_START.size :].decode("utf-8", "replace")
            answer |= {"why": "start", "exit": None, "signal": None, "error": words, "wall_s": 0.0}
        elif told:
            began, own_cpu_s = _START.unpack(told)
            answer["wall_s"] -= began
            answer["cpu_s"] = max(0.0, answer["cpu_s"] - own_cpu_s)
        os.write(status_w, json.dumps(answer).encode())
    except BaseException as error:
        failure = {"why": "start", "exit": None, "signal": None, "error": f"{type(error).__name__}: {error}"}
        os.write(status_w, json.dumps(failure).encode())
    finally:
        os._exit(0)


def _watch(main: int, request: dict[str, Any], namespaces: str) -> dict[str, Any]:
    """Hold a candidate to its memory and processes until its first process ends; then end all others."""
    watch, why, peak_mb, status = _Watch(main), "", 0.0, None
    every_s = _SAMPLE_S
    while status is None:
        watch.wait(every_s)
        status = _reap(main)
        began = time.monotonic()
        many = len(os.listdir("/proc")) > 200 + request["processes"] if "proc" in namespaces else False
        pids = {} if many else _descendants(os.getpid())  # a bomb grows faster than it can be looked at
        peak_mb = max(peak_mb, sum(map(_resident_mb, pids)))
        every_s = max(_SAMPLE_S, 10 * (time.monotonic() - began))  # a tenth of a core at most
        if status is None and not why:
            limit_mb = request["memory_mb"] or math.inf
            if peak_mb > limit_mb and sum(map(_held_mb, pids)) > limit_mb:  # memory that they share counts once
                why = "memory"
            if many or sum(pids.values()) > request["processes"]:
                why = "processes"
            if why:
                _kill_all(namespaces)
    _kill_all(namespaces)
    _reap(main, all_=True)
    ended = time.monotonic()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    signum = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    return {
        "why": why,
        "exit": None if signum is not None else os.WEXITSTATUS(status),
        "signal": signum,
        "wall_s": ended,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": max(peak_mb, usage.ru_maxrss / _MAXRSS_MB),
    }


class _Watch:
    """Waits for a process to end, for a time."""

    def __init__(self, pid: int) -> None:
        self._poll = select.poll()
        try:
            self._fd = os.pidfd_open(pid)
            self._poll.register(self._fd, select.POLLIN)
        except (AttributeError, OSError):
            self._fd = -1

    def wait(self, at_most_s: float) -> None:
        self._poll.poll(1000 * at_most_s if self._fd >= 0 else 2)


def _reap(main: int, *, all_: bool = False) -> int | None:
    """Bury the dead, or wait until `all_` are; gives the status of the first process if it is among them."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, 0 if all_ else os.WNOHANG)
            if not pid:
                break
            found = status if pid == main else found
    return found


def _kill_all(namespaces: str) -> None:
    """Kill everything below this init."""
    if not namespaces:
        _hunt(os.getpid(), reap=False)
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)


def _become_candidate(request: dict[str, Any], fds: list[int], told_w: int, *, own_shm: bool, counted: bool) -> NoReturn:
    """Give up all that a candidate must not have, and become it."""
    start = _START.pack(0.0, 0.0)
    try:
        os.setsid()
        for i, fd in enumerate(fds):
            os.dup2(fd, i)  # all others close at its start
        os.chdir(request["cwd"])
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_FSIZE, request["file_bytes"])
        if counted:
            _limit(resource.RLIMIT_NPROC, request["processes"] + 1)  # with its init
        os.setpriority(os.PRIO_PROCESS, 0, request["nice"])
        if request["cpu_s"] is not None:
            _limit(resource.RLIMIT_CPU, math.ceil(request["cpu_s"]))
        if _linux:
            _drop_capabilities()
            _landlock([*request["writable"], *(["/dev/shm"] if own_shm else [])], request["hidden"])
        for signum in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(signum, signal.SIG_DFL)
        os.write(told_w, _START.pack(time.monotonic(), time.process_time()))
        start = b""
        os.execvpe(request["argv"][0], request["argv"], request["env"])
    except BaseException as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
        os.write(told_w, start + f"{request['argv'][0]}: {words}".encode("utf-8", "replace"))
    finally:
        os._exit(127)


def _limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _counts_alone() -> bool:
    """Whether the kernel counts the processes of a user namespace apart (5.14 and later); root's it never counts."""
    release = [int(part) if part.isdigit() else 0 for part in platform.release().split(".")[:2]]
    return os.getuid() != 0 and release >= [5, 14]


def _drop_capabilities() -> None:
    """Give up every capability for good, as root too.

    Raises:
        OSError: one is still there.
    """
    for capability in range(64):
        _prctl(_CAPBSET_DROP, capability)  # not allowed where none is held, which is as good
    _prctl(_AMBIENT, 4)
    header = struct.pack("=Ii", 0x20080522, 0)
    failed = _libc.capset(header, bytes(24)) or _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    held = ctypes.create_string_buffer(24)
    if failed or _libc.capget(header, held) or any(held.raw):
        raise OSError(errno.EPERM, "cannot give up its capabilities")


# -- Landlock (Linux 5.13 and later): writes in its own folders only, no trace of and no signal to what is outside --------


def _landlock_version() -> int:
    return max(0, int(_libc.syscall(444, None, 0, 1))) if _linux and _CLONE is not None else 0


def _landlock(writable: Sequence[str], hidden: Sequence[str]) -> None:
    """Let this process write beneath some paths and on harmless devices only, and not read what is hidden.

    Does nothing where the kernel has no Landlock.

    Raises:
        OSError: the kernel refuses a path.
    """
    abi = _landlock_version()
    if not abi:
        return
    reading = 1 << 2 if hidden else 0
    for_files = reading | 1 << 1 | (1 << 14 if abi >= 3 else 0)  # write, truncate
    everything = for_files | 0x1FF0 | (1 << 13 if abi >= 2 else 0)  # remove and make of every kind; move between folders
    attributes = struct.pack("=QQQ", everything, 0, 3 if abi >= 6 else 0)[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    rules = _checked(_libc.syscall(444, attributes, len(attributes), 0))
    names = [name for name in os.listdir("/dev") if name in _DEVICES or name.startswith("nvidia")]
    for path in writable:
        _allow(rules, path, everything if os.path.isdir(path) else for_files)
    for name in names:
        _allow(rules, f"/dev/{name}", for_files)
    for path in _beside(hidden) if hidden else ():
        with contextlib.suppress(OSError):  # what is not open to us is not open to it
            _allow(rules, path, reading)
    _checked(_libc.syscall(446, rules, 0))
    os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _checked(_libc.syscall(445, rules, 1, struct.pack("=Qi", rights, fd), 0))
    finally:
        os.close(fd)


def _beside(hidden: Sequence[str]) -> Iterator[str]:
    """All that is neither hidden nor on the way there. No links: a rule for one would hold for what it leads to."""
    folders = ["/"]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_symlink() or entry.path in hidden:
                    continue
                if any(path.startswith(f"{entry.path}/") for path in hidden):
                    folders.append(entry.path)
                else:
                    yield entry.path


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result


def _prctl(option: int, value: int) -> None:
    if _libc is not None:
        _libc.prctl(option, value, 0, 0, 0)


# -- processes -----------------------------------------------------------------------------------------------------------


def _descendants(root: int) -> dict[int, int]:
    """All living processes below one with the number of their threads, from /proc; none where there is no /proc."""
    children: dict[int, dict[int, int]] = {}
    names = os.listdir("/proc") if os.path.isdir("/proc/self") else []
    for name in names:
        with contextlib.suppress(OSError, IndexError, ValueError):
            if name.isdigit():
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rsplit(b")", 1)[1].split()
                if fields[0] not in (b"Z", b"X"):
                    children.setdefault(int(fields[1]), {})[int(name)] = int(fields[17])
    found: dict[int, int] = {}
    stack = [root]
    while stack:
        below = children.get(stack.pop(), {})
        found |= below
        stack += below
    return found


def _resident_mb(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / _MB
    except (OSError, IndexError):
        return 0.0


def _held_mb(pid: int) -> float:
    """Its part of what it shares with others included; what is resident, where that is not told."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith(b"Pss:"))
    except (OSError, StopIteration):
        return _resident_mb(pid)


def _hunt(root: int, *, but: int = 0, reap: bool = True) -> None:
    """Kill everything below a process, until nothing is left. Stopped first: what is stopped cannot fork meanwhile."""
    while pids := [pid for pid in _descendants(root) if pid != but]:
        for signum in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                with contextlib.suppress(OSError):
                    os.kill(pid, signum)
        for pid in pids if reap else ():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.002)


if __name__ == "__main__":
    _launch(int(sys.argv[1]))
