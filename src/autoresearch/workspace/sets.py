"""The private files of a task's sets: in no view but their own, and what they were when the run began.

Files of the base are pinned by its commit. What lies outside the repository is pinned by a hash of its content.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoresearch.errors import SetupError
from autoresearch.records import Which

_CHUNK = 1 << 20
Signature = tuple[tuple[str, int, int, int, int], ...]


class Pinned:
    """A file or folder outside the repository, as the task names it, with the hash that its content has to have.

    Attributes:
        key: the place in the task file, for messages; `place` where it really lies; `shown` where its name says it lies.
    """

    def __init__(self, key: str, name: str, shown: Path, digest: str = "") -> None:
        self.key, self.name, self.shown, self.place = key, name, shown, shown.resolve()
        self._seen: Signature | None = None
        self._found = ""
        self.digest = digest or self._read()

    def _read(self) -> str:
        """The content's hash; reads again only what does not look as it did."""
        now = signature(self.place)
        if self._seen is None or self._seen != now:
            self._found, self._seen = digest_of(self.place), now
        return self._found

    def verify(self) -> None:
        """Refuse a content that is not the one that the run rests on.

        Raises:
            SetupError: naming the file.
        """
        try:
            same = self._read() == self.digest
        except OSError as error:
            raise SetupError(f"{self.key} names {self.name!r}, which cannot be read: {error.strerror}") from error
        if not same:
            raise SetupError(
                f"{self.key} names {self.name!r}, whose content is not what it was when the run began, and numbers measured "
                "on it would not compare: bring it back, or start a new run from the incumbent (autoresearch run --from RUN)"
            )


@dataclass(frozen=True, slots=True)
class Private:
    """The private files of one set.

    Attributes:
        inside: files of the base, from the repository's top.
        outside: files and folders outside it.
    """

    inside: frozenset[str] = frozenset()
    outside: tuple[Pinned, ...] = ()

    @property
    def places(self) -> tuple[Path, ...]:
        """Where the outside ones lie, each under its own name and, where that is a link, under its real one."""
        return tuple(dict.fromkeys(path for pinned in self.outside for path in (pinned.shown, pinned.place)))

    def verify(self) -> None:
        """Raises: SetupError: an outside one is not what it was."""
        for pinned in self.outside:
            pinned.verify()


def hidden(
    sets: Mapping[Which, Private], which: Which | None, *, lying: Sequence[Path], stores: Sequence[Path]
) -> tuple[Path, ...]:
    """Outside paths that what works on a set must not see: private files of the others, and where the base's can be read.

    Args:
        which: the set, None for a proposal.
        lying: where the base's lie in the checkout; `stores` hold the base's objects, and so them too.
    """
    places = dict.fromkeys(place for private in sets.values() for place in private.places)
    for place in sets[which].places if which is not None and which in sets else ():
        places.pop(place, None)
    if lying:
        places |= dict.fromkeys((*lying, *stores))
    return tuple(place for place in places if os.path.lexists(place))


def covering(sets: Mapping[Which, Private], shown: Iterable[str]) -> list[str]:
    """The base's private files; a folder in which nothing else is shown stands for all in it."""
    inside = sorted(frozenset[str]().union(*(private.inside for private in sets.values())))
    folders = {path[:i] for path in shown for i, c in enumerate(path) if c == "/"} if inside else set()
    found: dict[str, None] = {}
    for path in inside:
        above = (path[:i] for i, c in enumerate(path) if c == "/")
        found[next((folder for folder in above if folder not in folders), path)] = None
    return list(found)


def files_below(place: Path) -> Iterator[Path]:
    """A file itself, or every file and link of a folder in the order of their names; links inside are not followed."""
    if not place.is_dir():
        yield place
        return
    for root, folders, names in os.walk(place):
        folders.sort()
        links = [name for name in folders if os.path.islink(os.path.join(root, name))]
        yield from (Path(root, name) for name in sorted([*names, *links]))


def signature(place: Path) -> Signature:
    """What cannot stay the same where a content changed: size, times and inode of every file."""
    found = []
    for path in files_below(place):
        s = os.lstat(path)
        found.append((str(path), s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino))
    return tuple(found)


def digest_of(place: Path) -> str:
    """A hash of a file's content, or of the names and contents of a folder's files.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    for path in files_below(place):
        digest.update(os.fsencode(path.relative_to(place)) + b"\0")
        digest.update(_content(path) + b"\0")
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    if path.is_symlink():
        return b"link " + os.fsencode(os.readlink(path))
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.digest()
