"""One owner a run: an operating-system lock on a file, gone with the process whatever ends it."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from pathlib import Path
from types import TracebackType

from autoresearch.errors import DiskFault, OwnedElsewhere


class OwnerLock:
    """Hold a run; use as a context manager.

    Raises:
        OwnedElsewhere: another process holds it.
    """

    def __init__(self, path: Path, run: str) -> None:
        self._path, self._run = path, run
        self._fd = -1

    def __enter__(self) -> OwnerLock:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DiskFault(f"cannot open {self._path}: {error.strerror}") from error
        if not self._try():
            owner = os.pread(self._fd, 200, 0).decode("utf-8", "replace").strip() or "another process"
            os.close(self._fd)
            raise OwnedElsewhere(
                f"run {self._run} is owned by {owner}: look with `autoresearch status`, end it with `autoresearch stop`"
            )
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        except OSError:
            pass  # a full disk: the lock holds all the same, only its owner's name is missing
        return self

    def _try(self) -> bool:
        """Take the lock; a look at it by `owner` holds it for an instant, so that one refusal is not enough."""
        for _ in range(10):
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                time.sleep(0.02)
        return False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        os.ftruncate(self._fd, 0)
        os.close(self._fd)


def owner(path: Path) -> str:
    """Who holds the lock, `` if nobody does."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return ""
    except BlockingIOError:
        return os.pread(fd, 200, 0).decode("utf-8", "replace").strip() or "another process"
    finally:
        os.close(fd)
