"""Each evaluation slot's share of the machine: cores, GPUs under locks that the whole machine sees, memory, a port."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

from autoresearch import machine
from autoresearch.errors import SetupError
from autoresearch.exclusive import Room
from autoresearch.lock import holder_words, machine_folder, open_shared, sign, signature

_THREADS = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    *("NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS", "GOMAXPROCS", "JULIA_NUM_THREADS"),
)
MOST_SLOTS = 8  # by themselves: a search that runs further ahead of its decisions learns less from them
_DEVICES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one evaluation wants, None for all that the machine has; `memory_mb` is a limit."""

    cpus: int | None = None
    gpus: int | None = None
    memory_mb: float | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """What the evaluations of one slot get: numbers of cores and ids of GPUs, none meaning no restriction."""

    cpus: tuple[int, ...] = ()
    gpus: tuple[str, ...] | None = None
    memory_mb: float | None = None

    def environment(self) -> dict[str, str]:
        """Variables by which libraries keep to the share."""
        env = dict.fromkeys(_THREADS, str(len(self.cpus))) if self.cpus else {}
        if self.gpus is not None:
            env |= dict.fromkeys(_DEVICES, ",".join(self.gpus))
        return env


class Shares:
    """The shares of all slots of a session. Use as a context manager: it holds the locks on GPUs and cores.

    The same slot has the same cores and GPUs for the whole session, so that both arms of a comparison do. `room` is where
    the evaluations of all runs meet.

    Raises (when entered):
        SetupError: the machine has less than the slots want, or somebody else holds it.
    """

    def __init__(self, wanted: Wanted, slots: int, name: str) -> None:
        self._wanted, self._slots, self._name = wanted, slots, name
        self._shares: list[Share] = []
        self._locks = ExitStack()
        self.notices: list[str] = []
        self.room = Room(name)

    def __enter__(self) -> Shares:
        try:
            self._shares = self._divide()
        except BaseException:
            self._locks.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._locks.close()
        self.room.close()

    def words(self, slots: int, memory_limit: str) -> list[str]:
        """What each evaluation has, for people, if anything was asked for; then what else is to be said."""
        wanted = self._wanted
        parts = [f"{wanted.cpus} {'core' if wanted.cpus == 1 else 'cores'}"] if wanted.cpus else []
        parts += [f"{wanted.gpus} {'GPU' if wanted.gpus == 1 else 'GPUs'}"] if wanted.gpus else []
        parts += [f"at most {wanted.memory_mb / 1024:.1f} GiB (held by {memory_limit})"] if wanted.memory_mb else []
        at_a_time = f" · {slots} at a time" if slots > 1 else ""
        return [*([f"each evaluation: {', '.join(parts)}{at_a_time}"] if parts else []), *self.notices]

    def of(self, slot: int) -> Share:
        return self._shares[slot] if slot < len(self._shares) else Share()

    def _divide(self) -> list[Share]:
        wanted, slots = self._wanted, self._slots
        check_fits(wanted, slots)
        cpus = self._take_cpus((wanted.cpus or 0) * slots)
        gpus = self._take_gpus((wanted.gpus or 0) * slots)
        return [
            Share(
                tuple(cpus[i * (wanted.cpus or 0) : (i + 1) * (wanted.cpus or 0)]),
                None if wanted.gpus is None else tuple(gpus[i * wanted.gpus : (i + 1) * wanted.gpus]),
                wanted.memory_mb,
            )
            for i in range(slots)
        ]

    def _take_cpus(self, count: int) -> list[int]:
        """Cores that nobody of ours holds; where these are too few, held ones too, which is said."""
        if not count:
            return []
        mine: list[int] = []
        held: list[int] = []
        for cpu in machine.core_numbers():
            if len(mine) < count:
                (mine if not self._lock(f"cpu-{cpu}") else held).append(cpu)
        if len(mine) < count:
            self.notices.append(f"another run holds {len(held)} of the cores: evaluations share them, and times will vary")
        return sorted((mine + held)[:count])

    def _take_gpus(self, count: int) -> list[str]:
        mine: list[str] = []
        holders: list[str] = []
        for gpu in gpus() if count else []:
            if len(mine) == count:
                break
            holder = self._lock(f"gpu-{gpu}")
            if holder:
                holders.append(f"GPU {gpu} is held by {holder}")
            else:
                mine.append(gpu)
        if len(mine) < count:
            raise SetupError(f"{count} GPUs are wanted and {len(mine)} are free: {'; '.join(holders)}. Wait for that run.")
        return mine

    def _lock(self, what: str) -> str:
        """Take a machine-wide lock for the session; gives who holds it, `` when it is ours."""
        fd = open_shared(machine_folder() / f"{what}.lock")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = signature(fd)
            os.close(fd)
            return holder or "another run"
        self._locks.callback(os.close, fd)
        sign(fd, holder_words(self._name))
        return ""


def check_fits(wanted: Wanted, slots: int) -> None:
    """Refuse what the machine does not have.

    Raises:
        SetupError: naming what is wanted and what there is.
    """
    have: list[tuple[str, float, float]] = [
        ("cpus", (wanted.cpus or 0) * slots, machine.cores()),
        ("gpus", (wanted.gpus or 0) * slots, len(gpus()) if wanted.gpus else 0),
        ("MB of memory", (wanted.memory_mb or 0) * slots, machine.total_memory_mb()),
    ]
    for what, want, there in have:
        if want > there:
            at_a_time = f" for {slots} evaluations at a time" if slots > 1 else ""
            raise SetupError(f"[evaluate] resources want {what} = {want:.0f}{at_a_time}, and this machine has {there:.0f}")


def most_slots(wanted: Wanted) -> int:
    """How many evaluations fit on this machine at a time; one where nothing is said of what one needs."""
    fits = [machine.cores() // wanted.cpus] if wanted.cpus else []
    fits += [len(gpus()) // wanted.gpus] if wanted.gpus else []
    fits += [int(machine.total_memory_mb() // wanted.memory_mb)] if wanted.memory_mb and fits else []
    return max(1, min(*fits, MOST_SLOTS) if fits else 1)


def gpus() -> list[str]:
    """The GPUs this user may use: as CUDA_VISIBLE_DEVICES says, else as nvidia-smi numbers them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    argv = [program, "--query-gpu=index", "--format=csv,noheader"]
    try:
        end = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in end.stdout.splitlines() if line.strip().isdigit()] if not end.returncode else []


class Ports:
    """A free port for each slot, the same one as long as nobody else takes it."""

    def __init__(self) -> None:
        self._ports: dict[int, int] = {}

    def of(self, slot: int) -> int:
        port = self._ports.get(slot)
        taken = {p for s, p in self._ports.items() if s != slot}
        while port is None or not _is_free(port):
            port = _free_port()
            port = None if port in taken else port
        self._ports[slot] = port
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:  # without SO_REUSEADDR: nor has every server, and connections linger on a port
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
