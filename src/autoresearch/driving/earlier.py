"""What was changed in a checkout before its run began: the user's own work, unless the task's commands name it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from autoresearch.taskfile import Task

_APART = re.compile(r"[\s\"'`$(){}<>|&;=:,]+")


def changed_before(task: Task, folder: Path, began: float) -> Callable[[str], bool]:
    """Whether a frozen file is as it was when the run began, and none that a command of the task names.

    Nothing hangs on the date: what is frozen is measured as the run's base has it, whatever lies in the checkout.

    Args:
        folder: the project's; the paths that are asked for are relative to it.
        began: seconds since the epoch.
    """
    words = {os.path.normpath(word) for command in _commands(task) for word in _APART.split(command) if word}

    def is_named(path: str) -> bool:
        module = path.removesuffix("/__main__.py").removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")
        return module in words or any(path == word or path.startswith(f"{word}/") for word in words)

    return lambda path: not is_named(path) and _changed_at(folder / path) < began


def _commands(task: Task) -> list[str]:
    evaluate = task.evaluate
    further = [part.command for part in (*task.check, task.gate, task.held_out) if part is not None]
    return [evaluate.command, evaluate.setup, evaluate.build, evaluate.quick, evaluate.cleanup, *further]


def _changed_at(path: Path) -> float:
    """When a file was changed last, or the folder that it was deleted from."""
    while True:
        try:
            return os.lstat(path).st_ctime
        except (FileNotFoundError, NotADirectoryError):
            path = path.parent
