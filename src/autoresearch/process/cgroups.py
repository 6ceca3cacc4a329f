"""Control groups for jobs, where this machine lets us make them: peak memory, a bound on processes, the kernel's OOM count.

Imported by the supervisor alone: standard library only, no other module of ours. Without any group everything here
answers None and memory is sampled.
"""

from __future__ import annotations

import os
import time

MB = 1024 * 1024
_PIDS_MAX = 8192


def _own(controller: str) -> str:
    """This process's group folder for a v1 controller, or for the unified hierarchy with ``."""
    try:
        with open("/proc/self/cgroup") as file:
            for line in file:
                _, controllers, path = line.rstrip("\n").split(":", 2)
                if (controller in controllers.split(",")) if controller else not controllers:
                    base = f"/sys/fs/cgroup/{controller}" if controller else "/sys/fs/cgroup"
                    folder = base + path.rstrip("/")
                    return folder if os.path.isdir(folder) else base
    except (OSError, ValueError):
        pass
    return ""


class Groups:
    """The groups of one supervisor; a job takes one and gives it back."""

    def __init__(self) -> None:
        self._free: list[Group] = []
        self._made = 0
        self._entered: list[str] = []
        self._memory, self._pids = _own("memory"), _own("pids")
        self.version = self._probe()

    def _probe(self) -> int:
        if os.environ.get("AUTORESEARCH_CGROUPS") == "off":
            return 0
        for version in (1, 2):
            group = self._make(version)
            if group is not None:
                self._free.append(group)
                return version
        return 0

    def _enter(self) -> None:
        """Move this process into the first memory group and a group that bounds processes: its children inherit both.

        Moving each child costs more than all else of its start. What this process itself holds was charged before.
        """
        _write(f"{self._memory}/{self._name(1)}/cgroup.procs", "0")
        self._entered.append(self._memory)
        if self._pids:
            try:
                folder = f"{self._pids}/{self._name(0)}"
                _sweep(self._pids)
                os.mkdir(folder)
                _write(f"{folder}/pids.max", str(_PIDS_MAX))
                _write(f"{folder}/cgroup.procs", "0")
                self._entered.append(self._pids)
            except OSError:
                pass  # a bound less: the fork bomb meets the kernel's own

    def _leave(self) -> None:
        for parent in self._entered:
            try:
                _write(f"{parent}/cgroup.procs", "0")
                _rmdir(f"{parent}/{self._name(0)}")
            except OSError:
                pass  # the next supervisor sweeps it away
        self._entered.clear()

    def _name(self, number: int) -> str:
        return f"autoresearch-{os.getpid()}-{number}"

    def take(self, limit_mb: float | None = None) -> Group | None:
        """A group for a job, None where its memory cannot be grouped, or not be limited as it should."""
        if not self.version:
            return None
        group = self._limited(limit_mb) if limit_mb is not None else self._any()
        if group is not None:
            group.begin()
        return group

    def _any(self) -> Group | None:
        return self._free.pop(0) if self._free else self._make(self.version)

    def _limited(self, limit_mb: float) -> Group | None:
        """A group with a limit: never the first one, in which this process itself is."""
        free = next((g for g in self._free if not g.first), None)
        if free is not None:
            self._free.remove(free)
        group = free or self._make(self.version)
        if group is None:
            return None
        try:
            group.limit(limit_mb)
        except OSError:
            group.remove()
            return None
        return group

    def give_back(self, group: Group | None) -> None:
        if group is not None and group.usable():
            group.unlimit()
            self._free.insert(0 if group.first else len(self._free), group)

    def bound(self, processes: int) -> Processes | None:
        """A group that holds a job to so many processes and threads, None where there is none to be had."""
        parent = self._pids if self.version == 1 else ""
        if not parent or not os.path.exists(parent):
            return None
        self._made += 1
        try:
            return Processes(f"{parent}/{self._name(self._made)}", processes)
        except OSError:
            return None

    def close(self) -> None:
        self._leave()
        for group in self._free:
            group.remove()
        self._free.clear()

    def _make(self, version: int) -> Group | None:
        self._made += 1
        name = self._name(self._made)
        try:
            if version == 1:
                memory, first = self._memory, self._made == 1
                if not os.path.exists(f"{memory}/memory.usage_in_bytes"):
                    return None
                _sweep(memory)
                group = Group1(f"{memory}/{name}", inherited=first)
                if first:
                    self._enter()
                return group
            own = _own("")
            for parent in (own, os.path.dirname(own)):
                with open(f"{parent}/cgroup.subtree_control") as file:
                    if "memory" not in file.read().split():
                        continue
                _sweep(parent)
                return Group2(f"{parent}/{name}")
        except OSError:
            return None
        return None


def _sweep(parent: str) -> None:
    """Remove groups that a killed supervisor left."""
    if not parent:
        return
    for name in os.listdir(parent):
        if name.startswith("autoresearch-") and not os.path.exists(f"/proc/{name.split('-')[1]}"):
            _rmdir(f"{parent}/{name}")


def _rmdir(path: str) -> None:
    for _ in range(20):
        try:
            os.rmdir(path)
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.005)


def _number(path: str) -> int:
    with open(path) as file:
        return int(file.read())


def _table(path: str) -> dict[str, int]:
    with open(path) as file:
        return {key: int(value) for key, value in (line.split() for line in file) if value.isdigit()}


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _move_in(folder: str) -> None:
    """Move the calling process, which has one thread, into a v1 group.

    As a thread: for a whole process the kernel waits until nobody forks anywhere, some 10 ms, and nothing of that for the
    calling thread (Linux 6.0 on).
    """
    _write(f"{folder}/tasks", "0")


class Processes:
    """A group that bounds processes alone (v1)."""

    def __init__(self, folder: str, limit: int) -> None:
        self._folder = folder
        os.mkdir(folder)
        try:
            _write(f"{folder}/pids.max", str(limit))
        except OSError:
            os.rmdir(folder)
            raise

    def join(self) -> None:
        """Move the calling process in."""
        _move_in(self._folder)

    def remove(self) -> None:
        _rmdir(self._folder)


class Group:
    """One group. Peak memory is what was charged at most, less file pages that were only cached."""

    way = ""
    first = False  # the one whose jobs need not be moved

    def begin(self) -> None: ...

    def join(self) -> None:
        """Move the calling process in."""

    def limit(self, limit_mb: float) -> None:
        """Hold all that runs in it to so much memory together.

        Raises:
            OSError: this group cannot.
        """

    def unlimit(self) -> None: ...

    def peak_mb(self) -> float | None: ...

    def held_mb(self) -> float:
        """What is held now without any file pages: where many of those came after the peak, it alone knows the peak."""
        return 0.0

    def limit_mb(self) -> float | None:
        """The lowest limit of this group and those above it."""

    def oom_kills(self) -> int:
        return 0

    def usable(self) -> bool:
        return False

    def remove(self) -> None: ...


class Group1(Group):
    way = "cgroup1"

    def __init__(self, memory: str, *, inherited: bool = False) -> None:
        self._memory = memory
        os.mkdir(memory)
        self.first = inherited
        self._limit_mb = self._stat()["hierarchical_memory_limit"] / MB
        self._before = self._cached = self._oom = 0
        self._held = 0.0
        self._last: dict[str, int] = {}
        self._bound: float | None = None

    def begin(self) -> None:
        stat = self._last or self._stat()  # nothing ran in it since the last job's end
        self._before = _number(f"{self._memory}/memory.usage_in_bytes")
        self._cached = _file_pages(stat)
        self._held = _anonymous_mb(stat)  # our own, and shared memory that an earlier job left
        _write(f"{self._memory}/memory.max_usage_in_bytes", "0")

    def _stat(self) -> dict[str, int]:
        self._last = _table(f"{self._memory}/memory.stat")
        return self._last

    def join(self) -> None:
        if not self.first:
            _move_in(self._memory)

    def limit(self, limit_mb: float) -> None:
        self._bound = self._limit_mb
        _write(f"{self._memory}/memory.limit_in_bytes", str(int(limit_mb * MB)))
        self._limit_mb = limit_mb
        try:
            _write(f"{self._memory}/memory.memsw.limit_in_bytes", str(int(limit_mb * MB)))
        except OSError:
            pass  # the kernel does not account for swap: there the limit holds what is resident

    def unlimit(self) -> None:
        if self._bound is None:
            return
        for name in ("memory.memsw.limit_in_bytes", "memory.limit_in_bytes"):
            try:
                _write(f"{self._memory}/{name}", "-1")
            except OSError:
                pass
        self._limit_mb, self._bound = self._bound, None

    def peak_mb(self) -> float | None:
        peak = _number(f"{self._memory}/memory.max_usage_in_bytes") - self._before
        return max(0, peak - max(0, _file_pages(self._stat()) - self._cached)) / MB

    def held_mb(self) -> float:
        return _anonymous_mb(self._stat()) - self._held

    def limit_mb(self) -> float | None:
        return self._limit_mb

    def oom_kills(self) -> int:
        before, self._oom = self._oom, _table(f"{self._memory}/memory.oom_control").get("oom_kill", 0)
        return self._oom - before

    def usable(self) -> bool:
        return True

    def remove(self) -> None:
        _rmdir(self._memory)


def _file_pages(stat: dict[str, int]) -> int:
    return stat.get("total_cache", 0) - stat.get("total_shmem", 0)


def _anonymous_mb(stat: dict[str, int]) -> float:
    return (stat.get("total_rss", 0) + stat.get("total_shmem", 0)) / MB


class Group2(Group):
    way = "cgroup2"

    def __init__(self, folder: str) -> None:
        self._folder = folder
        os.mkdir(folder)
        try:
            if not os.path.exists(f"{folder}/memory.peak"):
                raise OSError("no memory.peak")
            _write(f"{folder}/pids.max", str(_PIDS_MAX))
        except OSError:
            os.rmdir(folder)
            raise

    def join(self) -> None:
        _write(f"{self._folder}/cgroup.procs", "0")

    def limit(self, limit_mb: float) -> None:
        _write(f"{self._folder}/memory.max", str(int(limit_mb * MB)))
        try:
            _write(f"{self._folder}/memory.swap.max", "0")
        except OSError:
            pass  # no swap controller

    def peak_mb(self) -> float | None:
        stat = _table(f"{self._folder}/memory.stat")
        cached = stat.get("file", 0) - stat.get("shmem", 0)
        return max(0, _number(f"{self._folder}/memory.peak") - cached) / MB

    def held_mb(self) -> float:
        stat = _table(f"{self._folder}/memory.stat")
        return (stat.get("anon", 0) + stat.get("shmem", 0)) / MB

    def limit_mb(self) -> float | None:
        limits, folder = [], self._folder
        while os.path.exists(f"{folder}/memory.max"):
            with open(f"{folder}/memory.max") as file:
                text = file.read().strip()
            limits += [int(text) / MB] if text.isdigit() else []
            folder = os.path.dirname(folder)
        return min(limits, default=None)

    def oom_kills(self) -> int:
        return _table(f"{self._folder}/memory.events").get("oom_kill", 0)

    def usable(self) -> bool:
        self.remove()  # the kernel's peak cannot be reset before 6.12: each job gets a new group
        return False

    def remove(self) -> None:
        _rmdir(self._folder)
