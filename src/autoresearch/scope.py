"""What a task lets be changed, and which part of its repository it is about."""

from __future__ import annotations

import os

from autoresearch import private
from autoresearch.errors import SetupError
from autoresearch.taskfile import FILE, Scope, Task


def scope_of(task: Task) -> Scope:
    """The editable scope; the task's own two files are never in it, nor what is private to a set."""
    own = (FILE, task.task.instructions)
    return Scope(tuple(task.task.editable), (*task.task.frozen, *private.globs(task)), own)


def parts_of(task: Task, prefix: str) -> frozenset[str]:
    """`[task] paths` from the repository's top; the task's own folder whole, where none leads into it.

    Raises:
        SetupError: one leads out of the repository, or an editable file is in none of them.
    """
    parts = {os.path.normpath(prefix + path) for path in task.task.paths}
    for path in parts:
        if path.startswith("..") or path == ".":
            raise SetupError(f"[task] paths names {path!r}, expected folders inside the repository")
    here = prefix.rstrip("/")
    if parts and here and not any(f"{p}/".startswith(prefix) or prefix.startswith(f"{p}/") for p in parts):
        parts.add(here)
    for name in scope_of(task).literals if parts else ():
        folder = os.path.dirname(prefix + name)
        if folder and not any(f"{folder}/".startswith(f"{p}/") or f"{p}/".startswith(f"{folder}/") for p in parts):
            raise SetupError(f"[task] editable names {name}, which is in none of [task] paths: add its folder there")
    return frozenset(parts)
