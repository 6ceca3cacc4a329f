"""An entered tree goes from one experiment's files to another's, and survives a kill on the way.

What is to be done stands in a file before anything is: each path with what it holds and what it shall hold. Who finds that
file goes on with it; a path that holds neither was changed by whoever works in the tree, and is left alone.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch.errors import DiskFault, SetupError
from autoresearch.paths import TreePaths
from autoresearch.records import Blob
from autoresearch.trees import Entry, object_id
from autoresearch.workspace.entered import Laid, commit_of, is_inside, looks, set_aside, show, write_whole
from autoresearch.workspace.snapshot import read
from autoresearch.workspace.store import Store
from autoresearch.workspace.tree import Signature

Step = tuple[Entry | None, Entry | None]
"""What a path holds before and afterwards."""

_UNKNOWN: Signature = (0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of a tree.

    Attributes:
        files: that hold something else now, from the tree's root; `kept` those that somebody changed meanwhile.
        aside: where things that were in the way lie now.
    """

    files: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    aside: tuple[Path, ...] = ()


def move(paths: TreePaths, store: Store, laid: Laid, *, experiment: int, tree: str, seen: Mapping[str, Entry | None]) -> Moved:
    """Let a tree have an experiment's files. What else lies in it stays, but for bytecode.

    Args:
        tree: the experiment's; seen: what differs from what was laid out, and is given up.
    """
    view = store.view(tree)
    wanted = laid.entries if view == laid.view else store.files(view)
    steps: dict[str, Step] = {path: (entry, wanted.get(path)) for path, entry in seen.items()}
    if view != laid.view:
        held = laid.entries
        others = (held.keys() | wanted.keys()) - seen.keys()
        steps |= {path: (held.get(path), wanted.get(path)) for path in others if held.get(path) != wanted.get(path)}
    write_whole(_plan(paths), {"experiment": experiment, "view": view, "steps": steps})
    return go_on(paths, store, laid)


def is_broken_off(paths: TreePaths) -> bool:
    """Whether a kill left a tree between two experiments."""
    return _plan(paths).exists()


def _plan(paths: TreePaths) -> Path:
    return paths.folder / "moving.json"


def go_on(paths: TreePaths, store: Store, laid: Laid) -> Moved:
    """Do what is planned and was not done yet.

    Raises:
        SetupError: somebody else wrote the plan; nothing was done.
    """
    experiment, view, steps = _read(paths)
    try:
        hands = _Hands(paths, store, laid)
        for path in sorted(steps, key=lambda path: (steps[path][1] is not None, path)):
            hands.take(path, *steps[path])
        _drop_bytecode(paths.root, laid)
        commit = commit_of(store, view, experiment)
        show(paths, store, view, commit, known=laid.commit)
        files = laid.files if view == laid.view else _carried(laid, store.files(view))
        files = {path: (entry, hands.looks.get(path, before)) for path, (entry, before) in files.items()}
        Laid(experiment, view, commit, files).save(paths)
        _plan(paths).unlink()
    except OSError as error:
        raise DiskFault(f"cannot write the tree {paths.root}: {error.strerror}") from error
    return Moved(tuple(hands.set), tuple(hands.kept), tuple(hands.aside))


def _read(paths: TreePaths) -> tuple[int, str, dict[str, Step]]:
    """The plan: the experiment, what is shown of it, and the steps. No step may lead out of the tree.

    Raises:
        SetupError: it is none that was written here.
    """
    try:
        plan = json.loads(_plan(paths).read_bytes())
        steps: dict[str, Step] = {path: (_entry(before), _entry(after)) for path, (before, after) in plan["steps"].items()}
        outside = [path for path in steps if not is_inside(path)]
        if outside or not isinstance(plan["experiment"], int) or not isinstance(plan["view"], str):
            raise ValueError(f"{outside[0]!r} lies outside of it" if outside else "it names no experiment")
        return plan["experiment"], plan["view"], steps
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise SetupError(
            f"{paths.root} is no tree that can be worked in any more: its record {_plan(paths)} cannot be followed ({error}). "
            'Make another one: cd "$(autoresearch enter)"'
        ) from error


def _entry(row: Any) -> Entry | None:
    return None if row is None else (row[0], row[1])


def _carried(laid: Laid, files: Mapping[str, Entry]) -> dict[str, tuple[Entry, Signature]]:
    """How files look that were laid out before; of others it is not known."""
    old = laid.files
    return {path: old[path] if path in old and old[path][0] == entry else (entry, _UNKNOWN) for path, entry in files.items()}


class _Hands:
    """Sets files of a tree.

    Attributes:
        looks: of those that hold what they shall.
    """

    def __init__(self, paths: TreePaths, store: Store, laid: Laid) -> None:
        self._paths, self._store, self._laid = paths, store, laid
        self._root = paths.root
        self.looks: dict[str, Signature] = {}
        self.set: list[str] = []
        self.kept: list[str] = []
        self.aside: list[Path] = []

    def take(self, path: str, before: Entry | None, after: Entry | None) -> None:
        """Bring one path from what it held to what it shall hold; what holds neither is left alone."""
        looked = self._looks(path)
        now = self._now(path)
        if now == after:
            self.looks[path] = looked
        elif now != before:
            self.kept.append(path)
            self.looks[path] = _UNKNOWN
        else:
            self.set.append(path)
            self._remove(path) if after is None else self._write(path, after, looked)

    def _now(self, path: str) -> Entry | None:
        blob = read(self._root, path)
        return None if blob is None else (blob.mode, object_id("blob", blob.content, sha256=self._store.sha256))

    def _looks(self, path: str) -> Signature:
        try:
            return looks(self._root / path)
        except OSError:
            return _UNKNOWN

    def _remove(self, path: str) -> None:
        (self._root / path).unlink()
        for folder in _above(path):
            try:
                os.rmdir(self._root / folder)
            except OSError:
                return

    def _write(self, path: str, entry: Entry, looked: Signature) -> None:
        target, partial = self._root / path, self._paths.folder / "partial"
        for folder in reversed(list(_above(path))):
            self._make_folder(self._root / folder)
        if target.is_dir() and not target.is_symlink():
            self._clear(target)
        blob = Blob(self._store.objects.read(entry[1]), entry[0])
        partial.unlink(missing_ok=True)
        at_ns = max(time.time_ns(), looked[2] + 10**9, self._laid.time_ns(path) + 10**9)
        if blob.mode == "120000":
            os.symlink(blob.content, os.fsencode(partial))
        else:
            partial.write_bytes(blob.content)
            partial.chmod(0o755 if blob.mode == "100755" else 0o644)
        os.utime(partial, ns=(at_ns, at_ns), follow_symlinks=False)
        made = looks(partial)
        partial.replace(target)
        now = looks(target)
        same = (now[0], now[1], now[2], now[4]) == (made[0], made[1], made[2], made[4])  # to be renamed changes the ctime
        self.looks[path] = now if same else _UNKNOWN

    def _make_folder(self, folder: Path) -> None:
        """A real one: what a link leads to is not ours to write."""
        if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir()):
            self.aside.append(set_aside(self._paths, folder))
        folder.mkdir(exist_ok=True)

    def _clear(self, folder: Path) -> None:
        try:
            os.rmdir(folder)
        except OSError:
            self.aside.append(set_aside(self._paths, folder))


def _above(path: str) -> Iterator[str]:
    """The folders around a path, the nearest first."""
    while path := path.rpartition("/")[0]:
        yield path


def _drop_bytecode(root: Path, laid: Laid) -> None:
    """Python would run it in place of a source that was set back; what git tracks of it stays."""
    tracked = {folder for path in laid.files if "__pycache__" in path for folder in _above(path)}
    for folder, inside, _ in os.walk(root):
        if "__pycache__" in inside and os.path.relpath(os.path.join(folder, "__pycache__"), root) not in tracked:
            inside.remove("__pycache__")
            cache = os.path.join(folder, "__pycache__")
            if not os.path.islink(cache):
                shutil.rmtree(cache, ignore_errors=True)
        inside[:] = [name for name in inside if name not in (".git", "site-packages", "node_modules")]


__all__ = ["Moved", "go_on", "is_broken_off", "move"]
