"""Operating-system locks on files, gone with the process whatever ends it: one owner a run, and what all users share."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from autoresearch.errors import DiskFault, OwnedElsewhere, SetupError

_LET_GO_WITHIN_S = 60.0  # an owner starts in one, or in a few on a busy machine


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
            owner = signature(self._fd) or "another process"
            os.close(self._fd)
            raise OwnedElsewhere(
                f"run {self._run} is owned by {owner}: look with `autoresearch status`, end it with `autoresearch stop`"
            )
        sign(self._fd, f"process {os.getpid()} on {socket.gethostname()}\n")
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
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # it may be no file at all
    except OSError:
        return ""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return ""
    except BlockingIOError:
        return signature(fd) or "another process"
    finally:
        os.close(fd)


@contextmanager
def alone(path: Path) -> Iterator[int]:
    """Hold a lock file, once whoever has it lets go; gives its descriptor: a process that inherits it holds the lock too.

    Raises:
        DiskFault: the file cannot be made. SetupError: nobody lets go of it.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DiskFault(f"cannot write {path}: {error.strerror}") from error
    try:
        _wait_for(fd, path)
        yield fd
    finally:
        os.close(fd)


def _wait_for(fd: int, path: Path) -> None:
    until = time.monotonic() + _LET_GO_WITHIN_S
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                who = ", ".join(f"process {pid}" for pid in sorted(holders(fd))) or "another process"
                raise SetupError(f"{who} holds {path} and does not let go of it: end it, and ask again") from None
            time.sleep(0.02)


def sign(fd: int, words: str) -> None:
    """Leave word in a locked file of who holds it."""
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, words.encode(), 0)
    except OSError:
        pass  # a full disk, another user's file: the lock holds all the same, only its holder's name is missing


def signature(fd: int) -> str:
    """What the last one who signed left; `` if it left nothing."""
    return os.pread(fd, 200, 0).decode("utf-8", "replace").strip()


# -- between runs --------------------------------------------------------------------------------------------------------


def holder_words(run: str) -> str:
    """What a run, or a check, signs with on this machine."""
    return f"{run[1:] if run.startswith('.') else f'run {run}'}, process {os.getpid()}"


def machine_folder() -> Path:
    """A folder that every user of this machine may lock files in.

    Raises:
        SetupError: somebody put something else in its place.
    """
    folder = Path(os.environ.get("AUTORESEARCH_LOCKS") or Path(tempfile.gettempdir()) / "autoresearch-locks")
    try:
        folder.mkdir(mode=0o1777)
        folder.chmod(0o1777)
    except FileExistsError:
        pass
    if not stat.S_ISDIR(os.lstat(folder).st_mode):
        raise SetupError(f"{folder} is no folder: remove it, the locks that all runs on this machine see lie there")
    return folder


def open_shared(path: Path) -> int:
    """Open a lock file, another user's too: the kernel may refuse to write those, and a lock needs no writing."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        os.fchmod(fd, 0o666)
        return fd
    except FileExistsError:
        pass
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except PermissionError:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)


def holders(fd: int) -> set[int]:
    """The processes that hold a lock on a file, as the kernel tells; empty where it does not."""
    inode = os.fstat(fd).st_ino
    try:
        rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return set()
    return {int(row[4]) for row in rows if row[1] == "FLOCK" and row[5].endswith(f":{inode}")}
