"""What a user's checkout holds against the kept experiments of a run. Nothing there is touched, and no object is written."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from autoresearch import git
from autoresearch.errors import SetupError
from autoresearch.git import Location
from autoresearch.objects import Repository
from autoresearch.records import LARGEST, Blob, Edits
from autoresearch.taskfile.scope import Scope
from autoresearch.text import one_line, show_bytes
from autoresearch.trees import Entry, object_id
from autoresearch.workspace import survey
from autoresearch.workspace.draft import never
from autoresearch.workspace.submodules import LINK

_NEVER = ".autoresearch/"
_BEFORE = "frozen, and changed before the run began; measured as the run's base has it"


@dataclass(frozen=True, slots=True)
class Against:
    """What a checkout is compared with.

    Attributes:
        base: the tree that the run started from; `line` the kept experiments with their trees, oldest first.
        own: files of the task that never count; `apart` names that evaluations are shown from elsewhere, where new files do not
            count; all as paths relative to the project.
        shows: whether a path from the repository's top is in any tree of the run.
        earlier: whether a frozen file, by its path relative to the project, was changed before the run began.
    """

    base: str
    line: Sequence[tuple[int, str]]
    scope: Scope
    own: Collection[str] = ()
    apart: Sequence[str] = ()
    shows: Callable[[str], bool] = lambda path: True
    earlier: Callable[[str], bool] = lambda path: False


@dataclass(frozen=True, slots=True)
class Found:
    """A checkout's change.

    Attributes:
        parent: the nearest kept experiment, which the edits are against.
        frozen: paths from the repository's top that were changed by a commit and may not change in a run.
        new: edited paths that the parent does not have.
        restored: whether HEAD and the index have the parent's files at all paths of the edits; `staged` that HEAD alone has.
    """

    parent: int
    edits: Edits
    frozen: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    restored: bool = True
    staged: bool = False
    notes: tuple[str, ...] = ()


class Checkout:
    """A user's checkout as it is now, seen from the trees of a run. For one look.

    Args:
        folder: the project's folder in the work tree that is meant, which need not be the main one.
    """

    def __init__(self, location: Location, repository: Repository, folder: Path, against: Against) -> None:
        self._location, self._repository, self._against = location, repository, against
        self._head = repository.tree_of(git.run("rev-parse", "--verify", "HEAD^{commit}", cwd=folder).decode().strip())
        self._states: dict[str, str] = {}
        self._notes: list[str] = []
        self._blobs: dict[str, Blob | None] = {}
        for state, path in survey.status(location):
            if self._counts(state, path):
                self._states[path] = state if path not in self._states else self._states[path][0] + " "

    def _counts(self, state: str, path: str) -> bool:
        """Whether what git says of a path has to be looked at; what is left out and might be missed is noted."""
        inside = self._inside(path)
        if self._is_own(inside) or not self._against.shows(path):
            return False
        if state == "??":
            return self._is_wanted(path, inside)
        if self._is_link(path):
            self._notes.append(f"left out of the candidate: {one_line(path)}, a submodule that is not at its pinned commit")
            return False
        return True

    def _is_wanted(self, path: str, inside: str | None) -> bool:
        if inside is None or inside not in self._against.scope or never(path):
            return False
        if any(inside == name or inside.startswith(f"{name}/") for name in self._against.apart):
            return False
        if path.endswith("/"):
            self._notes.append(f"left out of the candidate: {one_line(path)}, a repository inside the repository")
            return False
        return True

    def _inside(self, path: str) -> str | None:
        """A path relative to the project, None of one outside of it."""
        prefix = self._location.prefix
        return path.removeprefix(prefix) if path.startswith(prefix) else None

    def _is_own(self, inside: str | None) -> bool:
        return inside is not None and (inside in self._against.own or inside.startswith(_NEVER))

    def _is_link(self, path: str) -> bool:
        entries = self._repository.find(self._head, path), self._repository.find(self._against.base, path)
        return any(entry is not None and entry[0] == LINK for entry in entries)

    # -- what is there -----------------------------------------------------------------------------------------------

    def look(self) -> Found:
        """Find the nearest kept experiment, and what is different from it.

        Raises:
            SetupError: a file cannot be read.
        """
        line = self._against.line or [(0, self._against.base)]
        steps = [self._repository.differences(old, new) for (_, old), (_, new) in pairwise(line)]
        paths = self._paths(steps, line[0][1])
        here = {path: self._entry(path) for path in sorted(paths)}
        at = self._nearest({path: here[path] for step in steps for path in step}, line[0][1], steps)
        return self._against_one(*line[at], here)

    def _paths(self, steps: Sequence[Mapping[str, Entry | None]], first: str) -> set[str]:
        """All paths at which the checkout may differ from any of the trees."""
        committed = self._repository.differences(first, self._head)
        kept = {path for step in steps for path in step}
        found = {path for path in committed if not self._is_own(self._inside(path)) and self._against.shows(path)}
        return found | kept | self._states.keys()

    def _entry(self, path: str) -> Entry | None:
        """A file of the checkout as git would have it; the contents of those that are not as in HEAD are kept."""
        committed = self._repository.find(self._head, path)
        if path not in self._states and committed is not None:
            return committed
        blob = read(self._location.top, path)
        if blob is not None and blob.mode != "120000" and not self._has_crlf(committed):
            content = survey.cleaned(self._location, path, blob.content, sha256=self._repository.sha256)
            blob = Blob(content, blob.mode)
        if blob is not None and committed is not None and blob.mode != committed[0] and not self._has_modes:
            blob = Blob(blob.content, committed[0])
        self._blobs[path] = blob
        return None if blob is None else (blob.mode, object_id("blob", blob.content, sha256=self._repository.sha256))

    def _has_crlf(self, entry: Entry | None) -> bool:
        return entry is not None and _is_blob(entry) and b"\r\n" in self._repository.read(entry[1])

    @cached_property
    def _has_modes(self) -> bool:
        return survey.has_modes(self._location)

    def _blob(self, path: str, entry: Entry) -> Blob:
        kept = self._blobs.get(path)
        return kept if kept is not None else Blob(self._repository.read(entry[1]), entry[0])

    # -- the nearest experiment --------------------------------------------------------------------------------------

    def _nearest(self, here: Mapping[str, Entry | None], first: str, steps: Sequence[Mapping[str, Entry | None]]) -> int:
        """The position in the line with the fewest differing lines, the newest of several.

        Args:
            here: what the checkout has at the paths of the steps; all others are the same to each of the trees.
        """
        lines = {path: None if entry is None else self._lines(path, entry) for path, entry in here.items()}
        apart = {path: self._apart(here[path], lines[path], self._repository.find(first, path)) for path in here}
        total = least = sum(apart.values())
        at = 0
        for i, step in enumerate(steps, start=1):
            for path, entry in step.items():
                new = self._apart(here[path], lines[path], entry)
                total, apart[path] = total + new - apart[path], new
            if total <= least:
                least, at = total, i
        return at

    def _lines(self, path: str, entry: Entry) -> Counter[bytes]:
        return _counted(self._blob(path, entry).content if entry[0] != LINK else b"")

    def _apart(self, mine: Entry | None, lines: Counter[bytes] | None, other: Entry | None) -> int:
        """How many lines one file has that the other has not, whatever their order; at least one where they differ.

        A file that is there is never further away than none, whatever it holds: so a kept file that was written anew
        stays a change of the experiment that brought it.
        """
        if mine == other:
            return 0
        others = Counter[bytes]() if other is None or not _is_blob(other) else _counted(self._repository.read(other[1]))
        lines = lines or Counter[bytes]()
        if mine is None or other is None:
            return 2 * max(lines.total(), others.total()) + 1
        return max(1, min(_apart(lines, others), 2 * lines.total()))

    # -- against it --------------------------------------------------------------------------------------------------

    def _against_one(self, n: int, tree: str, here: Mapping[str, Entry | None]) -> Found:
        edits: dict[str, Blob | None] = {}
        frozen, dropped, before, new = [], [], [], []
        for path, entry in here.items():
            old = self._repository.find(tree, path)
            old = old if old is None or _is_blob(old) or old[0] == LINK else None  # a folder is no file
            if entry == old:
                continue
            name = self._name(path)
            if old is None and not self._may_be_new(path):
                dropped.append(path)
            elif name not in self._against.scope and self._against.earlier(name):
                before.append(path)
            elif name not in self._against.scope and path not in self._states:
                frozen.append(path)
            elif entry is None or _is_blob(entry):
                edits[name] = None if entry is None else self._blob(path, entry)
                new += [name] if old is None else []
        source, staged = self._where_to_restore(edits, tree)
        notes = (*self._notes, *_left_out("new, not in the editable scope", dropped), *_left_out(_BEFORE, before))
        return Found(n, edits, tuple(frozen), tuple(new), source, staged, notes)

    def _name(self, path: str) -> str:
        """Relative to the project, also of what lies beside it."""
        inside = self._inside(path)
        return inside if inside is not None else os.path.relpath(path, self._location.prefix)

    def _may_be_new(self, path: str) -> bool:
        inside = self._inside(path)
        return inside is not None and inside in self._against.scope and not never(path)

    def _where_to_restore(self, edits: Edits, tree: str) -> tuple[bool, bool]:
        """Whether HEAD has what the edits change, and whether the index has something else there."""
        paths = [os.path.normpath(self._location.prefix + name) for name in edits]
        same = all(self._repository.find(self._head, path) == self._repository.find(tree, path) for path in paths)
        return same, any(self._states.get(path, "  ")[0] not in " ?" for path in paths)


def read(top: Path, path: str) -> Blob | None:
    """A file or a link below a folder as git would have it; None where there is none, or a link leads there.

    Raises:
        SetupError: it cannot be read.
    """
    target = top / path
    try:
        if any(parent.is_symlink() for parent in list(target.parents)[: path.count("/")]):
            return None
        looked = os.lstat(target)
        mode = looked.st_mode
        if stat.S_ISLNK(mode):
            return Blob(os.fsencode(os.readlink(target)), "120000")
        if not stat.S_ISREG(mode):
            return None
        if looked.st_size > LARGEST:
            raise SetupError(too_large(path, looked.st_size))
        return Blob(target.read_bytes(), "100755" if mode & stat.S_IXUSR else "100644")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SetupError(f"cannot read {target}: {error.strerror}") from error


def too_large(what: str, size: int) -> str:
    """That a change is larger than one may be, in words."""
    limit = f"a change has at most {show_bytes(LARGEST)}"
    return f"{one_line(what)} is {show_bytes(size)}: {limit}. Make it smaller, or take it out of the change"


def _is_blob(entry: Entry) -> bool:
    return entry[0] in ("100644", "100755", "120000")


def lines_apart(one: bytes, other: bytes) -> int:
    """How many lines one content has that the other has not, whatever their order."""
    return _apart(_counted(one), _counted(other))


def _apart(one: Counter[bytes], other: Counter[bytes]) -> int:
    return (one - other).total() + (other - one).total()


def _counted(content: bytes) -> Counter[bytes]:
    lines = content.split(b"\n")
    return Counter(lines if lines[-1] else lines[:-1])


def _left_out(why: str, paths: Sequence[str]) -> Iterator[str]:
    if paths:
        shown = ", ".join(map(one_line, paths[:5])) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
        yield f"left out of the candidate ({why}): {shown}"
