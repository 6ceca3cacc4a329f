"""What a tree holds while programs still write there: nothing is set right, and no link is followed, whatever they put where.

Folders are gone through by handles, so that a folder which becomes a link in between leads nowhere.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

from autoresearch.errors import Refused
from autoresearch.records import Blob
from autoresearch.text import one_line, show_bytes
from autoresearch.workspace.tree import Signature

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEPEST = 100
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def peek(
    root: Path, known: Mapping[str, Signature], unread: Container[str] = (), *, largest: int | None = None
) -> Iterator[tuple[str, Blob | None]]:
    """Paths that differ from what was laid out, sorted, with what is there; None for what is gone, or is no file.

    Args:
        unread: paths that are left alone, since reading them would be seen.
        largest: bytes of a file that is read.
    Raises:
        Refused: the root is not there any more, or a file is larger.
    """
    try:
        fd = os.open(root, _FOLDER)
    except OSError as error:
        raise Refused("scope", "the tree itself was removed or replaced: every frozen file in it is gone") from error
    found: dict[str, Blob | None] = {}
    seen = set()
    for path, blob in _walk(fd, "", known, unread, largest):
        seen.add(path)
        if blob is not _SAME:
            found[path] = blob
    gone = (p for p in known.keys() - seen if not stat.S_ISDIR(known[p][0]) and p != ".git" and not p.startswith(".git/"))
    found |= dict.fromkeys(gone)
    yield from sorted(found.items(), key=lambda item: item[0])


_SAME = Blob(b"")


def _walk(
    fd: int, prefix: str, known: Mapping[str, Signature], unread: Container[str], largest: int | None
) -> Iterator[tuple[str, Blob | None]]:
    """Everything in an open folder and below, which is closed at the end; `_SAME` stands for what is as it was laid out."""
    try:
        with os.scandir(fd) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            path = prefix + name
            if path == ".git" or path in unread:
                continue
            try:
                s = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if stat.S_ISDIR(s.st_mode):
                    if path.count("/") >= _DEEPEST:
                        continue
                    yield from _walk(os.open(name, _FOLDER, dir_fd=fd), path + "/", known, unread, largest)
                else:
                    unchanged = known.get(path) == (s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino)
                    if not unchanged and largest is not None and stat.S_ISREG(s.st_mode) and s.st_size > largest:
                        raise Refused("scope", f"{one_line(path)} is {show_bytes(s.st_size)}, at most {show_bytes(largest)}")
                    yield path, _SAME if unchanged else _read(fd, name, s)
            except OSError:
                continue  # it went, or became something else, just now
    finally:
        os.close(fd)


def _read(folder: int, name: str, s: os.stat_result) -> Blob | None:
    """A file or a link as git would have it.

    Raises:
        OSError: it is not there any more, or cannot be read.
    """
    if stat.S_ISLNK(s.st_mode):
        return Blob(os.fsencode(os.readlink(name, dir_fd=folder)), "120000")
    if not stat.S_ISREG(s.st_mode):
        return None
    with open(os.open(name, _FILE, dir_fd=folder), "rb") as file:
        now = os.fstat(file.fileno())
        if not stat.S_ISREG(now.st_mode):
            return None
        return Blob(file.read(now.st_size), "100755" if now.st_mode & stat.S_IXUSR else "100644")
