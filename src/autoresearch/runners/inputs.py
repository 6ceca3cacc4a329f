"""Inputs that git does not know: where they lie, and whether anything changed in them while an evaluation ran."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from autoresearch.errors import SetupError


def resolve(project: Path, inputs: Sequence[str], *, key: str = "inputs") -> tuple[dict[str, Path], tuple[Path, ...]]:
    """Links to lay into each tree (by path relative to the project) and all real places that must not be written.

    Raises:
        SetupError: an input does not exist.
    """
    links: dict[str, Path] = {}
    places: list[Path] = []
    for name in inputs:
        target = Path(os.path.expanduser(name))
        target = target if target.is_absolute() else project / name
        if not target.exists():
            raise SetupError(f"[evaluate] {key} names {name!r}, which does not exist at {target}")
        if not os.path.isabs(os.path.expanduser(name)):
            if project.resolve().is_relative_to(target.resolve()):
                raise SetupError(f"[evaluate] {key} names {name!r}, which holds the project itself: name what lies in it")
            links[os.path.normpath(name)] = target.resolve()
        places.append(target.resolve())
    return {path: place for path, place in links.items() if not _is_shown(path, place, links)}, tuple(places)


def places(project: Path, names: Sequence[str]) -> list[Path]:
    """Where names of a task file lie."""
    return [Path(os.path.normpath(project / os.path.expanduser(name))) for name in names]


def _is_shown(path: str, place: Path, links: Mapping[str, Path]) -> bool:
    """Whether a folder above, named as well, shows the same at that path."""
    above = ((str(outer), links[str(outer)]) for outer in Path(path).parents if str(outer) in links)
    return any(shown / os.path.relpath(path, outer) == place for outer, shown in above)


def in_home(inputs: Sequence[str]) -> tuple[Path, ...]:
    """Those that lie in the user's HOME and are named from there (`~/.cache/x`): an evaluation's HOME shows them too."""
    named = {Path(os.path.normpath(os.path.expanduser(name))) for name in inputs if name.startswith("~/")}
    return tuple(sorted(path for path in named if named.isdisjoint(path.parents)))


QUICK_S = 0.005  # a look that takes no longer is made after every evaluation
_SHARE = 50  # of the time goes into looks at most one part


class Manifest:
    """Size, mtime, ctime and inode of every input file; bytecode caches do not count."""

    def __init__(self, places: Sequence[Path]) -> None:
        self._places = places
        self._known = self._read() if places else {}
        self._next = 0.0

    def changed(self, *, guarded: bool = False) -> str:
        """The first path that is not what it was, or ``; the present state is the new one to compare with.

        Args:
            guarded: evaluations cannot write there anyhow: what takes long to look at is looked at less often.
        """
        began = time.monotonic()
        if not self._places or (guarded and began < self._next):
            return ""
        before, self._known = self._known, self._read()
        took_s = time.monotonic() - began
        self._next = began + _SHARE * took_s if took_s > QUICK_S else 0.0
        if before == self._known:
            return ""
        return min(p for p in before.keys() | self._known.keys() if before.get(p) != self._known.get(p))

    def _read(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        stack = [os.fspath(p) for p in self._places]
        while stack:
            path = stack.pop()
            try:
                s = os.lstat(path)
                if os.path.isdir(path) and not os.path.islink(path):
                    if os.path.basename(path) != "__pycache__":
                        stack.extend(os.path.join(path, name) for name in os.listdir(path))
                else:
                    found[path] = (s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino)
            except OSError:
                found[path] = ()
        return found
