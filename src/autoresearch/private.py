"""A task's private files: what `[gate]` and `[held_out]` name, found, refused where it cannot be, and pinned by its content.

A name that stays inside the repository is a file of the base (a glob, a file or a folder), pinned by the base's commit. Any
other is a path outside it, pinned by its hash in the ruler.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from autoresearch import git
from autoresearch.errors import SetupError
from autoresearch.records import Which
from autoresearch.taskfile import FILE, Scope, Task
from autoresearch.taskfile import ruler as ruler_of_file
from autoresearch.taskfile.scope import is_pattern, matches
from autoresearch.trees import Entry
from autoresearch.workspace.sets import Pinned, Private

_SUBMODULE = "160000"


def tables(task: Task) -> Iterator[tuple[Which, list[str]]]:
    """The sets that a task has besides the one that a proposer may know, with their private names."""
    if task.gate is not None:
        yield "gate", task.gate.private
    if task.held_out is not None:
        yield "held_out", task.held_out.private


def globs(task: Task) -> tuple[str, ...]:
    """The names of files of the project, as globs: no candidate may add a file that they match."""
    found = [os.path.normpath(name) for _, name in _names(task) if not name.startswith(("/", "~", "../"))]
    return tuple(glob for name in found for glob in (name, f"{name}/**"))


def resolve(
    task: Task, project: Path, prefix: str, files: Mapping[str, Entry], *, pins: Mapping[str, str] | None = None
) -> dict[Which, Private]:
    """Each set's private files.

    Args:
        prefix: the project's path below the repository's top, with a final slash, or ``.
        files: the base's, from the repository's top.
        pins: the hashes that outside ones had when the run began, by row of the ruler; now if there are none.
    Raises:
        SetupError: one is missing, editable, or shown to everybody; it names the key and the path.
    """
    found: dict[Which, Private] = {}
    for which, names in tables(task):
        inside: set[str] = set()
        outside = []
        for name in names:
            key = f"[{which}] private"
            if full := _inside(name, prefix):
                inside |= _of_base(key, name, full, files, project)
            else:
                outside.append(_outside(key, name, project, (pins or {}).get(row(which, name), "")))
                _refuse_tracked(outside[-1], _top(project, prefix), files)
        _refuse_editable(f"[{which}] private", inside, task, prefix)
        _refuse_shown(task, project, prefix, inside, outside)
        found[which] = Private(frozenset(inside), tuple(_apart(outside)))
    return found


def row(which: Which, name: str) -> str:
    """How an outside file stands in the ruler."""
    return f"{which}.private {name}"


def ruler(task: Task, project: Path) -> tuple[str, dict[str, str]]:
    """What decides, as a hash and as texts, with the contents of private files outside the repository.

    Raises:
        SetupError: one of them is missing.
    """
    digest, words = ruler_of_file(task)
    named = list(_names(task))
    if not named:
        return digest, words
    location = git.locate(project)
    prefix = location.prefix if location is not None else ""
    for which, name in named:
        if not _inside(name, prefix):
            words[row(which, name)] = json.dumps(_outside(f"[{which}] private", name, project, "").digest)
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest(), words


def pins(ruler_text: Mapping[str, str]) -> dict[str, str]:
    """The hashes of outside files that a run's ruler has."""
    return {key: json.loads(value) for key, value in ruler_text.items() if ".private " in key}


def _names(task: Task) -> Iterator[tuple[Which, str]]:
    return ((which, name) for which, names in tables(task) for name in names)


def _inside(name: str, prefix: str) -> str:
    """A name from the repository's top, `` where it leads out of the repository."""
    if name.startswith(("/", "~")):
        return ""
    full = os.path.normpath(prefix + name)
    return "" if full == ".." or full.startswith("../") else full


def _of_base(key: str, name: str, full: str, files: Mapping[str, Entry], project: Path) -> set[str]:
    found = {path for path in files if matches(path, full) or path.startswith(full + "/")}
    if module := next((path for path in found if files[path][0] == _SUBMODULE), None):
        raise SetupError(
            f"{key} names {name!r}, which lies in the submodule {module}: name files outside the repository instead"
        )
    if found:
        return found
    if (project / name).exists():
        absolute = os.path.normpath(project / name)
        raise SetupError(
            f"{key} names {name!r}, which is not in the commit that the run starts from: name it by its absolute path "
            f"({absolute}), better after moving it out of the repository; or commit it"
        )
    raise SetupError(
        f"{key} names {name!r}, which is no file of the base: expected a file or glob of the project, or a path outside"
    )


def _outside(key: str, name: str, project: Path, digest: str) -> Pinned:
    path = Path(os.path.normpath(project / os.path.expanduser(name)))
    if not path.exists():
        hint = ": outside the project only whole files and folders can be named" if is_pattern(name) else ""
        raise SetupError(f"{key} names {name!r}, which does not exist at {path}{hint}")
    if project.resolve().is_relative_to(path.resolve()):
        raise SetupError(f"{key} names {name!r}, which holds the project itself: name what lies in it")
    try:
        return Pinned(key, name, path, digest)
    except OSError as error:
        raise SetupError(f"{key} names {name!r}, which cannot be read: {error.strerror}") from error


def _top(project: Path, prefix: str) -> Path:
    here = project.resolve()
    return here.parents[len(Path(prefix).parts) - 1] if prefix else here


def _refuse_tracked(pinned: Pinned, top: Path, files: Mapping[str, Entry]) -> None:
    """What git tracks is in every tree under its own path, wherever else it may be named."""
    if not pinned.place.is_relative_to(top):
        return
    full = str(pinned.place.relative_to(top))
    if any(path == full or path.startswith(full + "/") for path in files):
        raise SetupError(
            f"{pinned.key} names {pinned.name!r}, which git tracks as {full}: write it as a path from the project's folder"
        )


def _apart(outside: list[Pinned]) -> Iterator[Pinned]:
    """Those that lie in none of the others."""
    places = {pinned.place for pinned in outside}
    seen: set[Path] = set()
    for pinned in outside:
        if places.isdisjoint(pinned.place.parents) and pinned.place not in seen:
            seen.add(pinned.place)
            yield pinned


def _refuse_editable(key: str, inside: set[str], task: Task, prefix: str) -> None:
    scope = Scope(tuple(task.task.editable), tuple(task.task.frozen))
    for path in sorted(inside):
        name = path.removeprefix(prefix)
        if path.startswith(prefix) and name in scope:
            raise SetupError(f"{key} names {name}, which [task] editable lets a proposer change: add it to [task] frozen")
        if name in (FILE, task.task.instructions):
            raise SetupError(f"{key} names {name}, which every proposer is given: name the set's own files")


def _refuse_shown(task: Task, project: Path, prefix: str, inside: set[str], outside: list[Pinned]) -> None:
    """What everybody is shown cannot be private."""
    keys = (
        *(("[evaluate] inputs", name) for name in task.evaluate.inputs),
        *(("[evaluate] copy", name) for name in task.evaluate.copies),
        *(("[proposer] inputs", name) for table in task.proposer for name in table.inputs),
    )
    for key, name in keys:
        place = Path(os.path.normpath(project / os.path.expanduser(name))).resolve()
        for pinned in outside:
            if pinned.place.is_relative_to(place) or place.is_relative_to(pinned.place):
                raise SetupError(f"{key} names {name!r}, which shows {pinned.name!r} of {pinned.key}: it would not be private")
        if (full := _inside(name, prefix)) and any(path == full or path.startswith(full + "/") for path in inside):
            raise SetupError(f"{key} names {name!r}, which holds private files of a set: they would not be private")
