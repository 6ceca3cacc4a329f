"""Is what a set holds private found elsewhere, where a proposer or a candidate can read it?

Found are files of the same content, a private content inside a larger file, and half of a private file's distinctive lines in
one other file. Not found is what was packed, encoded or reworded.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoresearch.checkup.measure import Sealed
from autoresearch.runners import inputs
from autoresearch.workspace.sets import files_below

LARGEST = 50 * 10**6  # bytes of one file
MOST = 2 * 10**9  # bytes of all files that are looked at
_SEARCHED = 20 * 10**9  # bytes that are gone through for contents inside larger files
_SHORTEST = 16  # characters of a line, or of a content, that say something
_LINES = 3


@dataclass(frozen=True, slots=True)
class Leaks:
    """What was found: each leak in words, and what could not be looked at."""

    found: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """A private file: its content without spaces around, and its distinctive lines."""

    name: str
    digest: bytes
    content: bytes
    lines: frozenset[bytes]


class _Search:
    """Files that can be reached, compared with all private ones; bounded in what it goes through."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = pieces
        self.found: dict[tuple[str, str], str] = {}
        self.unsure: list[str] = []
        self.read = self.searched = 0
        self._of_line: dict[bytes, list[int]] = {}
        for i, piece in enumerate(pieces):
            for line in piece.lines if len(piece.lines) >= _LINES else ():
                self._of_line.setdefault(line, []).append(i)

    def look(self, where: str, content: bytes) -> None:
        """Compare one file that can be reached with all private ones."""
        digest, content = hashlib.sha256(content).digest(), content.strip()
        shared = Counter(i for line in _lines(content) for i in self._of_line.get(line, ()))
        for i, piece in enumerate(self.pieces):
            if len(piece.content) < _SHORTEST:
                continue
            if piece.digest == digest or piece.content == content:
                self.found[piece.name, where] = "the same content"
            elif 2 * shared[i] >= len(piece.lines) and shared[i]:
                self.found[piece.name, where] = f"{shared[i]} of its {len(piece.lines)} longer lines"
            elif self._holds(content, piece):
                self.found[piece.name, where] = "its whole content"

    def _holds(self, content: bytes, piece: Piece) -> bool:
        if len(piece.content) >= len(content) or self.searched > _SEARCHED:
            return False
        self.searched += len(content)
        if self.searched > _SEARCHED:
            self.unsure.append(
                "private files: too many to look for each of them inside of all others; whole files were compared"
            )
        return piece.content in content


def find(sealed: Sealed) -> Leaks:
    """Look through everything that proposers and candidates are shown."""
    private = list(_private(sealed))
    if not private:
        return Leaks()
    search = _Search([_piece(name, content) for name, content in private if len(content) <= LARGEST])
    large = [f"{name} is larger than 50 MB: not looked for elsewhere" for name, content in private if len(content) > LARGEST]
    for where, content in _reachable(sealed, search):
        search.look(where, content)
    found = tuple(f"{name} is private, and {where} holds {how}" for (name, where), how in search.found.items())
    inside = [path for found_ in sealed.workspace.private.values() for path in found_.inside]
    if inside:
        names = ", ".join(sorted(inside)[:3]) + (f" and {len(inside) - 3} more" if len(inside) > 3 else "")
        large.append(f"{names}: the git history of your checkout holds what is private; a path outside the repository is safer")
    return Leaks(found, (*large, *search.unsure))


def _private(sealed: Sealed) -> Iterator[tuple[str, bytes]]:
    """Every private file once, by a name for messages, with its content."""
    workspace, prefix = sealed.workspace, sealed.subject.location.prefix
    sets = workspace.private.values()
    for path in sorted({path for private in sets for path in private.inside}):
        entry = workspace.base.repository.find(workspace.base.tree, path)
        if entry is not None:
            yield path.removeprefix(prefix), workspace.base.repository.read(entry[1])
    for pinned in {pinned.place: pinned for private in sets for pinned in private.outside}.values():
        for file in files_below(pinned.place):
            if file.is_file() and not file.is_symlink():
                inside = file.relative_to(pinned.place)
                yield pinned.name if file == pinned.place else f"{pinned.name.rstrip('/')}/{inside}", file.read_bytes()


def _piece(name: str, content: bytes) -> Piece:
    return Piece(name, hashlib.sha256(content).digest(), content.strip(), frozenset(_lines(content)))


def _lines(content: bytes) -> set[bytes]:
    return {line for row in content.split(b"\n") if len(line := row.strip()) >= _SHORTEST}


def _reachable(sealed: Sealed, search: _Search) -> Iterator[tuple[str, bytes]]:
    """Files of the view, inputs, copies and the owner's instructions, each with where it is."""
    workspace, task, project = sealed.workspace, sealed.task, sealed.subject.paths.project
    for path, (mode, oid) in workspace.files.items():
        if mode.startswith("100"):
            content = workspace.base.objects.read(oid)
            if len(content) > LARGEST:
                search.unsure.append(f"{path} is larger than 50 MB: not looked at")
            else:
                yield f"{path} (tracked)", content
    for key, names in (
        ("[evaluate] inputs", task.evaluate.inputs),
        ("[evaluate] copy", task.evaluate.copies),
        ("[proposer] inputs", [name for table in task.proposer for name in table.inputs]),
        ("[task] instructions", [task.task.instructions] if (project / task.task.instructions).is_file() else []),
    ):
        for name, place in zip(names, inputs.places(project, names), strict=True):
            yield from _below(f"{{}} ({key})", name, place, search)


def _below(words: str, name: str, place: Path, search: _Search) -> Iterator[tuple[str, bytes]]:
    for file in files_below(place):
        if "__pycache__" in file.parts or not file.is_file():
            continue
        shown = name if file == place else os.path.join(name, file.relative_to(place))
        size = file.stat().st_size
        if size > LARGEST:
            search.unsure.append(f"{shown} is larger than 50 MB: not looked at")
            continue
        if search.read + size > MOST:
            search.unsure.append(f"{name}: more than 2 GB to look at; {shown} and what follows was left out")
            return
        search.read += size
        try:
            yield words.format(shown), file.read_bytes()
        except OSError:
            search.unsure.append(f"{shown} cannot be read: not looked at")
