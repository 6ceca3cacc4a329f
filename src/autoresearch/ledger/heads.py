"""How far a run's owner has written, in a file beside the ledger: who writes into the ledger alone does not reach it.

One line of fixed length: the chain's head before the newest transaction, the head after it, which start of the machine.
Before a transaction commits both are named, so that a kill may leave either; after it the head alone. It is not synced after
it was made: past another start of the machine, as after a power cut, it may lag behind and proves nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from autoresearch.errors import DiskFault


@dataclass(frozen=True, slots=True)
class Head:
    """What a file says: the heads before and after the newest transaction; `boot` is the start of the machine at that time."""

    before: str
    after: str
    boot: str

    def is_at(self, head: str) -> bool:
        return head in (self.before, self.after)


class HeadFile:
    """The file of one run, for whoever owns it.

    Raises:
        DiskFault: it cannot be written.
    """

    def __init__(self, path: Path, head: str) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{os.getpid()}")
            self._fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            self.write(head, head)
            os.fsync(self._fd)
            os.rename(partial, path)
        except OSError as error:
            raise DiskFault(f"cannot write {path}: {error.strerror}") from error

    def write(self, before: str, after: str) -> None:
        try:
            os.pwrite(self._fd, f"{before} {after} {boot()}\n".encode(), 0)
        except OSError as error:
            raise DiskFault(f"cannot write {self._path}: {error.strerror}") from error

    def close(self) -> None:
        os.close(self._fd)


def read_head(path: Path) -> Head | None:
    """What the file of a run says; None if it is not there or says nothing."""
    try:
        fields = path.read_bytes()[:400].decode("ascii", "replace").split()
    except OSError:
        return None
    return Head(*fields) if len(fields) == 3 else None


@cache
def boot() -> str:
    """Which start of the machine this is."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        return f"{psutil.boot_time():.0f}"
