"""Which folder is meant, what was changed there, and trees of one's own to work in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autoresearch.history import History
from autoresearch.project import Project
from autoresearch.records import Edits
from autoresearch.taskfile import Task


@dataclass(frozen=True, slots=True)
class Place:
    """A folder from which changes are tried: the user's own checkout, or a tree that `enter` made.

    Attributes:
        folder: the project's folder in it; paths of edits are relative to it.
        run: an entered tree's; None in the checkout, where the newest run is meant.
        tree: the entered tree's own folder, beside what is recorded of it; None in the checkout.
    """

    project: Project
    folder: Path
    run: str | None = None
    tree: Path | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a place holds now.

    Attributes:
        parent: the kept experiment that it is a change of.
        edits: against that one.
        paths: of the edits, as far as they are there or were; `new` those that git does not track in this place.
        source: a revision with the incumbent's files, `` where HEAD has the same ones.
        notes: what was left out, one line each.
    """

    parent: int
    edits: Edits
    paths: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()


def find(start: Path) -> Place:
    """The place around a folder.

    Raises:
        SetupError: there is no project.
    """
    raise NotImplementedError


def snapshot(place: Place, task: Task, history: History) -> Snapshot:
    """What was changed in a place; nothing in it is touched.

    Args:
        history: of the run, whose baseline may not be measured yet.
    Raises:
        SetupError: it does not compare with the run, as where HEAD has other frozen files than its base.
    """
    raise NotImplementedError


def enter(project: Project, run: str, task: Task) -> Place:
    """Make a new tree with the incumbent's files."""
    raise NotImplementedError


def follow(place: Place, task: Task, history: History, tried: Snapshot) -> str:
    """Let an entered tree be the incumbent's again once what was tried in it is decided; gives words.

    A tree that was changed since is left as it is. Of the checkout nothing is touched.
    """
    raise NotImplementedError
