"""Which folder is meant, what was changed there, and trees of one's own to work in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autoresearch import git
from autoresearch.assembly import parts_of, scope_of
from autoresearch.errors import SetupError
from autoresearch.history import History
from autoresearch.paths import TreePaths
from autoresearch.project import Project
from autoresearch.records import Edits
from autoresearch.taskfile import FILE, Task
from autoresearch.text import one_line
from autoresearch.workspace.snapshot import Against, Checkout, Found
from autoresearch.workspace.views import View


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
        paths: of the edits; `new` those that the parent does not have, which are undone by taking them away.
        source: a revision from which `git restore` gets the parent's files, `` where it does so without one.
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
    project = Project.find(start)
    tree = TreePaths.around(start)
    if tree is None:
        return Place(project, project.folder)
    raise NotImplementedError


def snapshot(place: Place, task: Task, history: History) -> Snapshot:
    """What was changed in a place; nothing in it is touched.

    Args:
        history: of the run, whose baseline may not be measured yet.
    Raises:
        SetupError: it does not compare with the run, as where HEAD has other frozen files than its base.
    """
    if place.tree is not None:
        raise NotImplementedError
    with _objects(place) as (location, repository):
        assert history.run is not None
        base = repository.tree_of(history.run.base)
        against = Against(
            base,
            [(n, history.experiments[n].tree) for n in history.line],
            scope_of(task),
            own=(FILE, task.task.instructions),
            apart=_apart(task),
            shows=View(repository, parts=parts_of(task, location.prefix)).shows,
        )
        found = Checkout(location, repository, place.folder, against).look()
        _refuse_committed(found, history.run.run, place.folder, location)
    return Snapshot(found.parent, found.edits, tuple(found.edits), found.new, _source(found, history.run.run), found.notes)


@contextmanager
def _objects(place: Place) -> Iterator[tuple[git.Location, git.Repository]]:
    """The repository of a place's project, to read from."""
    location = place.project.location(None)
    repository = git.Repository(location.git_dir, place.project.paths.views / "scratch")
    try:
        yield location, repository
    finally:
        repository.close()


def _apart(task: Task) -> list[str]:
    """What evaluations are shown from elsewhere: files that are new there are nobody's change."""
    evaluate = task.evaluate
    return [os.path.normpath(name) for name in (*evaluate.inputs, *evaluate.copies, *evaluate.cache)]


def _refuse_committed(found: Found, run: str, folder: Path, location: git.Location) -> None:
    if not found.frozen:
        return
    paths = [os.path.relpath(path, location.prefix or ".") for path in found.frozen]
    shown = ", ".join(map(one_line, paths[:5])) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
    raise SetupError(
        f"{shown}: frozen, and HEAD of {folder} has another one than run {run} began with, so that numbers would not compare. "
        "Start a new run from HEAD (autoresearch try --new, or autoresearch run --new), or go back: "
        f"git restore --source=autoresearch/{run}/base -- {one_line(paths[0])}"
    )


def _source(found: Found, run: str) -> str:
    if not found.restored:
        return f"autoresearch/{run}/{found.parent or 'base'}"
    return "HEAD" if found.staged else ""


def enter(project: Project, run: str, task: Task) -> Place:
    """Make a new tree with the incumbent's files."""
    raise NotImplementedError


def follow(place: Place, task: Task, history: History, tried: Snapshot) -> str:
    """Let an entered tree be the incumbent's again once what was tried in it is decided; gives words.

    A tree that was changed since is left as it is. Of the checkout nothing is touched.
    """
    if place.tree is None:
        return ""
    raise NotImplementedError
