"""What whoever drives is told: lines to read, and the same as JSON. Reads records only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoresearch.history import History
from autoresearch.taskfile import Task


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes:
        lines: a few, to be read by a model or a person.
        body: the same for programs; `state` is decided, running, over, stopped or failed.
        code: the exit code of a command that answers this.
    """

    lines: tuple[str, ...]
    body: Mapping[str, Any]
    code: int = 0


@dataclass(frozen=True, slots=True)
class Where:
    """Where a change was tried.

    Attributes:
        entered: in a tree of the harness's, which follows the verdict; else in the user's own checkout.
        paths: what was changed there, relative to the project's folder; `new` those of them that git does not track.
        source: a revision with the incumbent's files, `` where HEAD has the same ones: for `git restore`.
        notes: what was left out, one line each.
    """

    entered: bool = False
    paths: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()


def decided(history: History, n: int, task: Task, *, job: int, where: Where | None = None) -> Reply:
    """The verdict on experiment n, which came by a request."""
    raise NotImplementedError


def running(history: History, task: Task, *, job: int) -> Reply:
    """There is no verdict yet: what is done now, and when to ask again."""
    raise NotImplementedError


def without_verdict(history: History | None, task: Task, *, job: int, answer: Mapping[str, Any]) -> Reply:
    """A request that came to no verdict: the budget is spent (`answer["over"]`), the run was stopped (`answer["stopped"]`),
    or the set-up is broken; `answer["words"]` says why."""
    raise NotImplementedError


def tried_out(answer: Mapping[str, Any], *, job: int) -> Reply:
    """What came of a probe: `passed` (None where it could not be tried), `words`, `output`."""
    raise NotImplementedError


def remains(history: History, task: Task) -> Sequence[str]:
    """What is left of the budget, in a line or two; that it is over, where it is."""
    raise NotImplementedError
