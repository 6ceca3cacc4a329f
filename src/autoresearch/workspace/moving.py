"""An entered tree goes from one experiment's files to another's, and survives a kill on the way.

What is to be done stands in a file before anything is: each path with what it holds and what it shall hold. Who finds that
file goes on with it; a path that holds neither was changed by whoever works in the tree, and is left alone.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from autoresearch import git
from autoresearch.errors import DiskFault
from autoresearch.git import Entry
from autoresearch.paths import TreePaths
from autoresearch.workspace.entered import UNKNOWN, Laid, commit_of, looks, set_aside, show, write_whole
from autoresearch.workspace.snapshot import read
from autoresearch.workspace.store import Store

Step = tuple[Entry | None, Entry | None]
"""What a path holds before and afterwards."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of a tree.

    Attributes:
        files: that were set or taken away, from the tree's root; `kept` those that somebody changed meanwhile.
        aside: where things that were in the way lie now.
    """

    files: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()


def move(
    paths: TreePaths, store: Store, laid: Laid, *, experiment: int, tree: str, seen: Mapping[str, Entry | None]
) -> Moved:
    """Let a tree have an experiment's files; what else lies in it stays, but for bytecode.

    Args:
        tree: the experiment's; seen: what differs from what was laid out, which goes.
    """
    view = store.view(tree)
    wanted = laid.files if view == laid.view else store.files(view)
    held = {path: entry for path, (entry, _) in laid.files.items()} | dict(seen)
    if view == laid.view:
        entries = {path: entry for path, (entry, _) in laid.files.items()}
        steps = {path: (now, entries.get(path)) for path, now in seen.items()}
    else:
        entries = dict(store.files(view))
        steps = {path: (held.get(path), entries.get(path)) for path in held.keys() | entries.keys()}
        steps = {path: step for path, step in steps.items() if step[0] != step[1]}
    del wanted
    body = {"experiment": experiment, "view": view, "steps": {path: list(step) for path, step in sorted(steps.items())}}
    write_whole(_plan(paths), body)
    return go_on(paths, store, laid)


def is_under_way(paths: TreePaths) -> bool:
    """Whether a move was broken off by a kill."""
    return _plan(paths).exists()


def _plan(paths: TreePaths) -> Path:
    return paths.folder / "moving.json"


def go_on(paths: TreePaths, store: Store, laid: Laid) -> Moved:
    """Do what is planned, and has not been done yet."""
    plan = json.loads(_plan(paths).read_bytes())
    steps: dict[str, Step] = {path: (_entry(before), _entry(after)) for path, (before, after) in plan["steps"].items()}
    try:
        moved = _Files(paths, store, laid).take(steps)
        _drop_bytecode(paths.root, laid.files.keys())
        commit = commit_of(store, plan["view"], plan["experiment"])
        show(paths, store, plan["view"], commit, known=laid.commit)
        files = laid.files if plan["view"] == laid.view else _carried(laid, store.files(plan["view"]))
        now = {path: (files[path][0], looks(paths.root / path)) for path in moved.files if path in files}
        unknown = {path: (files[path][0], UNKNOWN) for path in moved.kept if path in files}
        Laid(plan["experiment"], plan["view"], commit, {**files, **now, **unknown}).save(paths)
        _plan(paths).unlink()
    except OSError as error:
        raise DiskFault(f"cannot write the tree {paths.root}: {error.strerror}") from error
    return moved
