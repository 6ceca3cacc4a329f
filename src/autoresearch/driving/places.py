"""Which folder is meant, what was changed there, and trees of one's own to work in."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autoresearch.driving.earlier import changed_before
from autoresearch.errors import SetupError
from autoresearch.git import Location
from autoresearch.history import History
from autoresearch.objects import Repository
from autoresearch.paths import TreePaths
from autoresearch.project import Project
from autoresearch.records import Edits
from autoresearch.scope import parts_of, scope_of
from autoresearch.skill import block, page
from autoresearch.skill.spots import AGENTS, spots
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
    from autoresearch.workspace.entered import is_inside  # not needed in a checkout

    try:
        prefix = json.loads(tree.record.read_bytes())["prefix"]
        if not isinstance(prefix, str) or (prefix and not is_inside(prefix.removesuffix("/"))):
            raise ValueError(f"{prefix!r} is no folder in it")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(
            f"{tree.root} is no tree of a run any more: {tree.record} is gone, or was changed. Make another one: "
            'cd "$(autoresearch enter)"'
        ) from error
    return Place(project, tree.root / prefix, tree.run, tree.root)


def snapshot(place: Place, task: Task, history: History) -> Snapshot:
    """What was changed in a place; nothing in it is touched.

    Args:
        history: of the run, whose baseline may not be measured yet.
    Raises:
        SetupError: it does not compare with the run, as where HEAD has other frozen files than its base.
    """
    assert history.run is not None
    if place.tree is not None:
        from autoresearch.driving import trees  # not needed in a checkout

        return trees.look(place, task, history)
    with _objects(place) as (location, repository):
        base = repository.tree_of(history.run.base)
        against = Against(
            base,
            [(n, history.experiments[n].tree) for n in history.line],
            scope_of(task),
            own=(FILE, task.task.instructions, *_of_skill(place, repository, base, location.prefix)),
            apart=apart_of(task),
            shows=View(repository, parts=parts_of(task, location.prefix)).shows,
            earlier=changed_before(task, place.folder, history.run.started_at),
        )
        found = Checkout(location, repository, place.folder, against).look()
        _refuse_committed(found, history.run.run, place.folder, location)
    return Snapshot(found.parent, found.edits, tuple(found.edits), found.new, _source(found, history.run.run), found.notes)


def _of_skill(place: Place, repository: Repository, base: str, prefix: str) -> Iterator[str]:
    """What `skill install` wrote: its pages, and the AGENTS.md that nothing else is different in. No task measures that."""
    folder = place.folder.resolve()
    for spot in spots(AGENTS, "project", folder):
        path = spot.path.resolve()
        if not path.is_file() or not path.is_relative_to(folder):
            continue
        name = path.relative_to(folder).as_posix()
        entry = repository.find(base, prefix + name) if spot.guide else None
        before = repository.read(entry[1]) if entry and entry[0].startswith("100") else b""
        if block.same(before, path.read_bytes()) if spot.guide else page.read(path.read_bytes()).ours:
            yield name


@contextmanager
def _objects(place: Place) -> Iterator[tuple[Location, Repository]]:
    """The repository of a place's project, to read from."""
    location = place.project.location(None)
    repository = Repository(location.git_dir, place.project.paths.views / "scratch")
    try:
        yield location, repository
    finally:
        repository.close()


def apart_of(task: Task) -> list[str]:
    """What evaluations are shown from elsewhere: files that are new there are nobody's change."""
    evaluate = task.evaluate
    return [os.path.normpath(name) for name in (*evaluate.inputs, *evaluate.copies, *evaluate.cache)]


def _refuse_committed(found: Found, run: str, folder: Path, location: Location) -> None:
    if not found.frozen:
        return
    paths = [os.path.relpath(path, location.prefix or ".") for path in found.frozen]
    raise SetupError(
        f"{named(paths)}: frozen, and HEAD of {folder} has another one than run {run} began with, so that numbers would "
        "not compare. Start a new run from HEAD (autoresearch try --new, or autoresearch run --new), or go back: "
        f"git restore --source=autoresearch/{run}/base -- {one_line(paths[0])}"
    )


def _source(found: Found, run: str) -> str:
    if not found.restored:
        return f"autoresearch/{run}/{found.parent or 'base'}"
    return "HEAD" if found.staged else ""


def named(paths: Sequence[str]) -> str:
    return ", ".join(map(one_line, paths[:5])) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
