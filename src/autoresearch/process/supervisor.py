"""The process between harness and children: starts, contains, times, logs and kills them, and dies with the harness.

Run as a program of its own (`python -I -S supervisor.py FD PID`), small and single-threaded, so that a job costs two
forks of eight megabytes. It hears requests on a socket, one JSON object each with its length before it:

    {"op": "start", "id": 1, "token": to be repeated in the answer, "argv": [...], "cwd": "...", "env": {...},
     "stdin": path, "log": path, "log_limit": bytes, "events": path for standard output or null,
     "keep": bytes of standard output kept, "timeout_s": 60.0, "grace_s": 2.0, "readonly": [paths],
     "mounts": [["overlay", at, options], ["bind", at, source, "ro" or "rw"]], "masked": [[text, cover]],
     "memory_mb": limit or null, "cpus": [numbers], "locked": its mounts stay as they are,
     "hidden": [paths], "sandboxed": its argv starts a sandbox, "landlock": rules or null, "relay": argv or null,
     "network": null, or it gets one of its own with these addresses besides 127.*,
     "processes": limit or null, "file_bytes": limit or null, "disk": [bytes, [paths]] or null,
     "channel": path of a socket for its report, or null}
    {"op": "kill", "id": 1, "grace_s": 2.0}

and answers each start once, when nothing of the job is alive any more. When the socket closes or the harness's process
is gone, every job is killed and the supervisor ends.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from typing import Any

if __name__ == "__main__":  # a program of its own, without the package
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import cgroups
    import channel
    import containment
    import disk
    import landlock
    import output
else:
    from autoresearch.process import cgroups, channel, containment, disk, landlock, output

_CHUNK = 1 << 16
_SAMPLES_S = (0.02, 0.05, 0.1, 0.25)
_HUNT_S = 10.0
_SET_DUMPABLE = 4
_MAXRSS_MB = 1024 if sys.platform == "linux" else 1024 * 1024  # kilobytes, and bytes on macOS


class LiveJob:
    """A job while its processes live."""

    def __init__(
        self, request: dict[str, Any], namespaces: str, group: cgroups.Group | None, bound: cgroups.Processes | None
    ) -> None:
        self.id: int = request["id"]
        self.request, self.namespaces, self.group, self.bound = request, namespaces, group, bound
        self.mark: str = request["env"].get("AUTORESEARCH_MARK", "")
        self.output = output.Output(
            request.get("log"),
            request["log_limit"],
            request["keep"],
            request.get("masked", []),
            events=request.get("events"),
        )
        self.memory_mb: float | None = request.get("memory_mb")
        self.over_memory = False
        self.peak_mb = 0.0
        self.samples = 0
        self.disk = disk.Watch(*request["disk"]) if request.get("disk") else None
        self.status: bytes = b""
        self.reported: bytearray | None = None
        self.timed_out = self.killed = False
        self.started = time.monotonic()
        timeout = request.get("timeout_s")
        self.deadline: float | None = self.started + timeout if timeout is not None else None
        self.kill_at: float | None = None
        self.sample_at = self.started + _SAMPLES_S[0]
        self._start()

    def _start(self) -> None:
        path = self.request.get("channel")
        listener = {channel.listen(path): "listener"} if path else {}
        out_r, out_w = os.pipe2(os.O_CLOEXEC)
        err_r, err_w = os.pipe2(os.O_CLOEXEC)
        status_r, status_w = os.pipe2(os.O_CLOEXEC)
        self.pid = containment.spawn_init(self.namespaces)
        if self.pid == 0:
            _run_init(self, out_w, err_w, status_w)
        for fd in (out_w, err_w, status_w):
            os.close(fd)
        for fd in (out_r, err_r):
            os.set_blocking(fd, False)
        self.fds = {out_r: "stdout", err_r: "stderr", status_r: "status"} | listener

    def pump(self, fd: int) -> bool:
        """Read what there is; False at the stream's end."""
        if self.fds[fd] == "listener":
            if channel.take(fd, self.request["channel"], self.pid):
                self.fds[fd], self.reported = "channel", bytearray()
            return True
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            data = b""
        if self.fds[fd] == "status":
            self.status += data
        elif self.reported is not None and self.fds[fd] == "channel":
            self.reported = (self.reported + data)[: channel.LIMIT + 1]
        elif data:
            self.output.take(data, is_stdout=self.fds[fd] == "stdout")
        return bool(data)

    def tick(self, now: float) -> None:
        """Hold the job to its time, and look at its memory."""
        if self.deadline is not None and now >= self.deadline:
            self.deadline, self.timed_out = None, True
            self.end(self.request["grace_s"], now)
        if self.kill_at is not None and now >= self.kill_at:
            self.kill_at = None
            self._kill()
        if self.disk is not None and self.disk.is_over(now):
            self._kill()
        if now >= self.sample_at:
            self.sample()
            self.samples += 1
            often = 1 if self._watches_memory else len(_SAMPLES_S) - 1
            self.sample_at = now + _SAMPLES_S[min(self.samples, often)]

    @property
    def _watches_memory(self) -> bool:
        """Whether nobody else holds the memory limit."""
        return self.memory_mb is not None and self.group is None

    def _hold_memory(self, pids: list[int]) -> None:
        """End the job when what its processes hold is over the limit; memory that they share counts once."""
        limit = self.memory_mb
        if limit is not None and not self.over_memory and sum(_proportional_mb(pid) for pid in pids) > limit:
            self.over_memory = True
            self._kill()

    def end(self, grace_s: float, now: float) -> None:
        """SIGTERM to all, SIGKILL after the grace."""
        self.killed = True
        if grace_s > 0:
            _signal(self.pid, signal.SIGTERM)
        self.kill_at = now + grace_s

    def _kill(self) -> None:
        if self.namespaces:
            _signal(self.pid, signal.SIGKILL)  # the kernel takes the whole namespace along
        else:
            _signal(self.pid, signal.SIGUSR1)  # its init hunts them down
            containment.hunt(self.pid, self.mark, until=time.monotonic() + _HUNT_S)
            _signal(self.pid, signal.SIGKILL)

    def sample(self) -> None:
        """Memory of the tree now: the group's, else what is resident; a process's own high-water mark counts as well."""
        if self.group is not None:
            try:
                self.peak_mb = max(self.peak_mb, self.group.held_mb())
            except OSError:
                pass
            return
        total = highest = 0.0
        pids = containment.descendants(self.pid)
        for pid in pids:
            try:
                with open(f"/proc/{pid}/status") as file:
                    fields = dict(line.split(":", 1) for line in file if line.startswith(("VmHWM", "VmRSS")))
            except OSError:
                continue
            total += _kb(fields.get("VmRSS")) / 1024
            highest = max(highest, _kb(fields.get("VmHWM")) / 1024)
        self.peak_mb = max(self.peak_mb, total, highest)
        if self._watches_memory and self.memory_mb is not None and total > self.memory_mb:
            self._hold_memory(pids)

    def next_wake(self) -> float:
        return min(t for t in (self.deadline, self.kill_at, self.sample_at) if t is not None)

    def finish(self) -> dict[str, Any]:
        """Wait for the last process, drain the streams, and say how it went."""
        _, _, usage = os.wait4(self.pid, 0)
        duration_s = time.monotonic() - self.started
        if not self.namespaces:
            containment.hunt(self.pid, self.mark, until=time.monotonic() + _HUNT_S)
        for fd, name in self.fds.items():
            while name not in ("status", "listener") and self.pump(fd):
                if not select.select([fd], [], [], 0)[0]:
                    break
            os.close(fd)
            if name == "listener":
                channel.forget(self.request["channel"])
        self.output.close()
        if self.group is None and usage.ru_maxrss > _own_high_water():  # of one process, and not what its init had from us
            self.peak_mb = max(self.peak_mb, usage.ru_maxrss / _MAXRSS_MB)
        answer = self._exit() | self._memory()
        return answer | {
            "id": self.id,
            "token": self.request["token"],
            "duration_s": self._ran_s(duration_s),
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "timed_out": self.timed_out,
            "killed": self.killed,
            "stdout": bytes(self.output.stdout[-self.request["keep"] :]).decode("utf-8", "replace"),
            "stdout_bytes": self.output.stdout_bytes,
            "tail": bytes(self.output.tail[-output.TAIL :]).decode("utf-8", "replace"),
            "reported": self.reported.decode("utf-8", "replace") if self.reported is not None else None,
            "fault": self.output.fault,
            "contained_by": f"pid namespace ({self.namespaces})" if self.namespaces else "subreaper",
            "sandboxed": bool(self.request.get("sandboxed")),
            "over_disk": self.disk.words if self.disk is not None else "",
        }

    def _ran_s(self, whole_s: float) -> float:
        """From the command's exec to its end, as its init saw it; without that the job's whole life."""
        return struct.unpack("=cid", self.status[:13])[2] if len(self.status) >= 13 else whole_s

    def _exit(self) -> dict[str, Any]:
        kind, value = struct.unpack("=ci", self.status[:5]) if len(self.status) >= 5 else (b"S", signal.SIGKILL)
        if kind == b"E":
            return {"exit": 127, "signal": None, "error": os.strerror(value)}
        if kind == b"S":
            return {"exit": None, "signal": value, "error": ""}
        if os.WIFSIGNALED(value):
            return {"exit": None, "signal": os.WTERMSIG(value), "error": ""}
        return {"exit": os.WEXITSTATUS(value), "signal": None, "error": ""}

    def _memory(self) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "peak_mb": self.peak_mb or None,
            "memory_from": "sampled",
            "oom": self.over_memory,
            "limit_mb": self.memory_mb,
            "limit_by": f"watched every {1000 * _SAMPLES_S[1]:.0f} ms" if self.memory_mb is not None else "",
        }
        if self.group is not None:
            try:
                peak = self.group.peak_mb()
                answer |= {
                    "peak_mb": max(peak or 0.0, self.peak_mb),
                    "memory_from": self.group.way,
                    "oom": self.group.oom_kills() > 0,
                }
                answer["limit_mb"] = self.group.limit_mb()
                answer["limit_by"] = self.group.way if self.memory_mb is not None else ""
            except OSError:
                pass
        return answer


def _run_init(job: LiveJob, out_w: int, err_w: int, status_w: int) -> None:
    """The first process of a job: prepares its walls, starts the command, reaps, reports, ends. Never returns."""
    try:
        containment.die_with_parent(signal.SIGKILL if job.namespaces else signal.SIGUSR1)
        if job.group is not None:
            try:
                job.group.join()
            except OSError:
                pass
        if job.bound is not None:
            job.bound.join()
        if job.namespaces:
            containment.private_mounts(job.request.get("readonly", []))
            containment.show(job.request.get("mounts", []), namespaces=job.namespaces)
            containment.hide(job.request.get("hidden", []))
        else:
            containment.become_subreaper()
        if job.request.get("cpus"):
            os.sched_setaffinity(0, job.request["cpus"])
        _limit(job.request)
        _shut_in(job)
        _install_stops(job)
        containment.prctl(_SET_DUMPABLE, 0)  # it holds a copy of our control socket, which its job could take from it
        began = time.monotonic()
        main = _spawn(job.request, out_w, err_w)
        os.close(out_w)
        os.close(err_w)
        status = _reap_until(main)
        report = struct.pack("=cid", b"W", status, time.monotonic() - began)
        os.write(status_w, report)
        if not job.namespaces:
            containment.hunt(os.getpid(), job.mark, until=time.monotonic() + _HUNT_S)
    except BaseException as error:
        os.write(status_w, struct.pack("=cid", b"E", getattr(error, "errno", 0) or errno.EIO, 0.0))
    finally:
        os._exit(0)


def _limit(request: dict[str, Any]) -> None:
    """Bounds that the kernel holds for every process by itself."""
    bounds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: request.get("file_bytes"),
        resource.RLIMIT_NPROC: request.get("processes") if os.getuid() else None,  # root has none: a group holds it
    }
    for which, bound in bounds.items():
        hard = resource.getrlimit(which)[1]
        if bound is not None:
            soft = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
            resource.setrlimit(which, (soft, soft if bound else hard))


def _shut_in(job: LiveJob) -> None:
    """What the job's sandbox needs from here: a relay out of its network, Landlock; from here on no mount changes."""
    request, rules = job.request, job.request.get("landlock")
    if request.get("relay"):
        os.posix_spawn(request["relay"][0], request["relay"], {"PATH": os.defpath}, setsid=True)
    if request.get("network") is not None:
        containment.leave_network(request["network"])
    if job.namespaces and request.get("locked"):
        containment.lock_mounts()
    if rules:
        landlock.restrict(rules)


def _install_stops(job: LiveJob) -> None:
    """SIGTERM is passed on to everything below; SIGUSR1 (no namespace) kills it all and ends."""

    def terminate(signum: int, frame: object) -> None:
        if job.request.get("sandboxed"):
            containment.terminate(os.getpid(), job.mark, spare="bwrap")  # its end would be everybody's at once
        elif job.namespaces:
            try:
                os.kill(-1, signal.SIGTERM)
            except ProcessLookupError:
                pass
        else:
            containment.terminate(os.getpid(), job.mark)

    def kill(signum: int, frame: object) -> None:
        containment.hunt(os.getpid(), job.mark, until=time.monotonic() + _HUNT_S)
        os._exit(0)

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGUSR1, kill)


def _reap_until(main: int) -> int:
    while True:
        pid, status = os.wait()
        if pid == main:
            return status


def _spawn(request: dict[str, Any], out_w: int, err_w: int) -> int:
    """Start the command in a session of its own. By posix_spawn: no copy of this interpreter's pages is made.

    Raises:
        OSError: the command or its folder does not exist or may not be run.
    """
    try:
        stdin = os.open(request.get("stdin") or os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.chdir(request["cwd"])
        return os.posix_spawn(
            _program(request),
            request["argv"],
            request["env"],
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, i) for i, fd in enumerate((stdin, out_w, err_w))],
            setsid=True,
            setsigdef=[signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ],
        )
    except OSError as error:
        os.write(
            err_w, f"{request['argv'][0]}: {error.strerror}: {error.filename or request['cwd']}\n".encode("utf-8", "replace")
        )
        raise


def _program(request: dict[str, Any]) -> str:
    """Find the program on the child's own PATH (posix_spawnp would look on this process's).

    Raises:
        FileNotFoundError: it is not there.
    """
    name: str = request["argv"][0]
    if "/" in name:
        return name
    for folder in request["env"].get("PATH", os.defpath).split(":"):
        path = os.path.join(folder or ".", name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def _kb(text: str | None) -> int:
    return int(text.split()[0]) if text else 0


def _proportional_mb(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return next((_kb(line.split(":", 1)[1]) for line in file if line.startswith("Pss:")), 0) / 1024
    except OSError:
        return 0.0


def _own_high_water() -> int:
    """The most that this program itself held, in the unit of `ru_maxrss`, which still counts what ran before its exec."""
    try:
        with open("/proc/self/status") as file:
            return next(_kb(line.split(":", 1)[1]) for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _signal(pid: int, signum: int) -> None:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        pass


class Loop:
    """Hears requests, pumps output, keeps time."""

    def __init__(self, control: socket.socket, harness: int) -> None:
        self.control, self.inbox = control, bytearray()
        self.jobs: dict[int, LiveJob] = {}
        self.by_fd: dict[int, LiveJob] = {}
        self.namespaces = containment.best_namespaces()
        self.groups = cgroups.Groups()
        self.poll = select.poll()
        self.poll.register(control, select.POLLIN)
        self.harness_fd = _pidfd(harness)
        if self.harness_fd >= 0:
            self.poll.register(self.harness_fd, select.POLLIN)
        self.harness = harness

    def run(self) -> None:
        self.send({"hello": True, "namespaces": self.namespaces, "cgroups": self.groups.version})
        while True:
            for fd, _ in self.poll.poll(self._wait_ms()):
                if fd == self.control.fileno():
                    if not self.hear():
                        return
                elif fd == self.harness_fd:
                    return
                elif fd in self.by_fd:
                    self.pump(fd)
            now = time.monotonic()
            for job in list(self.jobs.values()):
                job.tick(now)
            if self.harness_fd < 0 and os.getppid() != self.harness:
                return

    def _wait_ms(self) -> float | None:
        limit = None if self.harness_fd >= 0 else 0.5
        if self.jobs:
            wake = min(job.next_wake() for job in self.jobs.values()) - time.monotonic()
            limit = max(0.0, min(wake, limit or wake))
        return None if limit is None else limit * 1000 + 1

    def hear(self) -> bool:
        try:
            data = self.control.recv(1 << 20)
        except (ConnectionResetError, InterruptedError):
            data = b""
        if not data:
            return False
        self.inbox += data
        while len(self.inbox) >= 4:
            size = struct.unpack(">I", self.inbox[:4])[0]
            if len(self.inbox) < 4 + size:
                break
            request = json.loads(self.inbox[4 : 4 + size])
            del self.inbox[: 4 + size]
            self.handle(request)
        return True

    def handle(self, request: dict[str, Any]) -> None:
        if request["op"] == "kill":
            job = self.jobs.get(request["id"])
            if job is not None:
                job.end(request["grace_s"], time.monotonic())
            return
        group = bound = None
        try:
            group = self.groups.take(request.get("memory_mb"))
            bound = self.groups.bound(request["processes"]) if request.get("processes") else None
            job = LiveJob(request, self.namespaces, group, bound)
        except OSError as error:
            self.groups.give_back(group)
            if bound is not None:
                bound.remove()
            words = f"cannot start: {error.strerror} ({error.filename or 'fork'})"
            self.send({"id": request["id"], "token": request["token"], "fault": words, "errno": error.errno})
            return
        self.jobs[job.id] = job
        for fd in job.fds:
            self.by_fd[fd] = job
            self.poll.register(fd, select.POLLIN)

    def pump(self, fd: int) -> None:
        job = self.by_fd[fd]
        if job.pump(fd):
            return
        self.poll.unregister(fd)
        del self.by_fd[fd]
        if job.fds[fd] == "status":  # its init is ending: nothing of the job outlives it
            for other in job.fds:
                if self.by_fd.pop(other, None) is not None:
                    self.poll.unregister(other)
            answer = job.finish()
            del self.jobs[job.id]
            self.groups.give_back(job.group)
            if job.bound is not None:
                job.bound.remove()
            self.send(answer)

    def send(self, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        try:
            self.control.sendall(struct.pack(">I", len(body)) + body)
        except OSError:
            pass  # the harness is gone; the next poll says so

    def close(self) -> None:
        for job in self.jobs.values():
            job._kill()
        for job in self.jobs.values():
            try:
                os.waitpid(job.pid, 0)
            except ChildProcessError:
                pass
            if job.group is not None:
                job.group.remove()
        self.groups.close()


def _pidfd(pid: int) -> int:
    """A handle on the harness's process, not its thread; -1 where there is none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.set_inheritable(int(sys.argv[1]), False)  # a job that had it could answer in our place
    containment.become_subreaper()
    loop = Loop(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
    try:
        loop.run()
    finally:
        loop.close()


if __name__ == "__main__":
    main()
