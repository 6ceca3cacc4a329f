"""Which folder is meant, what was changed there, and trees of one's own to work in."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autoresearch import private
from autoresearch.errors import SetupError
from autoresearch.git import Location, Repository
from autoresearch.history import History
from autoresearch.paths import TreePaths
from autoresearch.project import Project
from autoresearch.records import Edits
from autoresearch.scope import parts_of, scope_of
from autoresearch.skill import block, page
from autoresearch.skill.spots import AGENTS, spots
from autoresearch.taskfile import FILE, Task
from autoresearch.text import one_line
from autoresearch.workspace import entered, moving
from autoresearch.workspace.entered import Change, Laid, is_inside
from autoresearch.workspace.snapshot import Against, Checkout, Found
from autoresearch.workspace.store import Store
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
        return _of_entered(place, task, history)
    with _objects(place) as (location, repository):
        base = repository.tree_of(history.run.base)
        against = Against(
            base,
            [(n, history.experiments[n].tree) for n in history.line],
            scope_of(task),
            own=(FILE, task.task.instructions, *_of_skill(place, repository, base, location.prefix)),
            apart=_apart(task),
            shows=View(repository, parts=parts_of(task, location.prefix)).shows,
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


def _apart(task: Task) -> list[str]:
    """What evaluations are shown from elsewhere: files that are new there are nobody's change."""
    evaluate = task.evaluate
    return [os.path.normpath(name) for name in (*evaluate.inputs, *evaluate.copies, *evaluate.cache)]


def _refuse_committed(found: Found, run: str, folder: Path, location: Location) -> None:
    if not found.frozen:
        return
    paths = [os.path.relpath(path, location.prefix or ".") for path in found.frozen]
    raise SetupError(
        f"{_named(paths)}: frozen, and HEAD of {folder} has another one than run {run} began with, so that numbers would "
        "not compare. Start a new run from HEAD (autoresearch try --new, or autoresearch run --new), or go back: "
        f"git restore --source=autoresearch/{run}/base -- {one_line(paths[0])}"
    )


def _source(found: Found, run: str) -> str:
    if not found.restored:
        return f"autoresearch/{run}/{found.parent or 'base'}"
    return "HEAD" if found.staged else ""


# -- trees of one's own ----------------------------------------------------------------------------------------------------


def enter(project: Project, run: str, task: Task) -> Place:
    """Make a new tree with the incumbent's files, or the base's where there is no baseline yet.

    Raises:
        SetupError: there is no such run.
    """
    ledger = project.ledger(read_only=True)
    try:
        history = ledger.history(project.pick(ledger, run).run)
    finally:
        ledger.close()
    with _store(project, task, history) as (store, location):
        n, tree = _incumbent(history, store)
        record = {"project": str(project.folder), "run": run, "prefix": location.prefix}
        made = entered.lay_out(project.paths.run(run).trees, store, experiment=n, tree=tree, record=record)
    return Place(project, made.root / location.prefix, run, made.root)


def trees(project: Project, run: str) -> list[Place]:
    """The trees of a run that were entered, by their numbers."""
    folder = project.paths.run(run).trees
    numbers = sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal()) if folder.is_dir() else []
    made = (TreePaths(folder / str(number)) for number in numbers)
    return [find(paths.root) for paths in made if paths.record.is_file()]


def stands_on(place: Place) -> int:
    """Whose files an entered tree was laid out with: an experiment's number."""
    return Laid.load(_tree_of(place)).experiment


def leave(place: Place) -> None:
    """Delete an entered tree with all that lies in it."""
    entered.discard(_tree_of(place))


def follow(place: Place, task: Task, history: History, tried: Snapshot) -> str:
    """Let an entered tree be the incumbent's again once what was tried in it is decided; gives words.

    A tree that was changed since is left as it is. Of the checkout nothing is touched.
    """
    if place.tree is None:
        return ""
    paths = _tree_of(place)
    with entered.alone(paths.folder / "lock"):
        laid = _settled(paths, place, task, history)
        with _store(place.project, task, history) as (store, location):
            n, tree = _incumbent(history, store)
            change = _change(paths, laid, task, location, sha256=store.sha256)
            entered.tell(paths, change.left)
            if change.edits and (laid.experiment != tried.parent or change.edits != tried.edits):
                return _left(change, laid, n)
            moved = moving.move(paths, store, laid, experiment=n, tree=tree, seen=change.seen)
    return _came(moved, n, location.prefix)


def _of_entered(place: Place, task: Task, history: History) -> Snapshot:
    paths = _tree_of(place)
    with entered.alone(paths.folder / "lock"):
        laid = _settled(paths, place, task, history)
        location = place.project.location(None)
        change = _change(paths, laid, task, location, sha256=len(laid.commit) == 64)
        notes = entered.notes(paths, change.left)
    return Snapshot(laid.experiment, change.edits, tuple(change.edits), change.new, notes=notes)


def _tree_of(place: Place) -> TreePaths:
    """The names of an entered tree.

    Raises:
        SetupError: it is none of this project's.
    """
    found = None if place.tree is None else TreePaths.around(place.tree)
    is_of = found is not None and (found.root, found.project, found.run) == (place.tree, place.project.folder, place.run)
    if found is None or not is_of or not found.record.is_file():
        raise SetupError(f'{place.tree} is no tree of a run of {place.project.folder}: make one by cd "$(autoresearch enter)"')
    return found


def _settled(paths: TreePaths, place: Place, task: Task, history: History) -> Laid:
    """What a tree was laid out with, after what a kill broke off was ended."""
    laid = Laid.load(paths)
    if not moving.is_broken_off(paths):
        return laid
    with _store(place.project, task, history) as (store, _):
        moving.go_on(paths, store, laid)
    return Laid.load(paths)


def _change(paths: TreePaths, laid: Laid, task: Task, location: Location, *, sha256: bool) -> Change:
    return entered.change(paths, laid, scope_of(task), prefix=location.prefix, apart=_apart(task), sha256=sha256)


@contextmanager
def _store(project: Project, task: Task, history: History) -> Iterator[tuple[Store, Location]]:
    """What proposers of a run see."""
    assert history.run is not None
    location = project.location(None)
    hidden = _hidden(project, task, history, location)
    parts = parts_of(task, location.prefix)
    with Store(location, project.paths.views, base=history.run.base, hidden=hidden, parts=parts) as store:
        yield store, location


def _hidden(project: Project, task: Task, history: History, location: Location) -> frozenset[str]:
    """Private files of the base, from the repository's top."""
    assert history.run is not None
    if not any(names for _, names in private.tables(task)):
        return frozenset()
    repository = Repository(location.git_dir, project.paths.views / "scratch")
    try:
        files = repository.files(repository.tree_of(history.run.base))
    finally:
        repository.close()
    pins = private.pins(history.run.ruler_text)
    sets = private.resolve(task, project.folder, location.prefix, files, pins=pins)
    return frozenset[str]().union(*(found.inside for found in sets.values()))


def _incumbent(history: History, store: Store) -> tuple[int, str]:
    """Its number and its tree."""
    return (history.line[-1], history.experiments[history.line[-1]].tree) if history.line else (0, store.base_tree)


def _left(change: Change, laid: Laid, n: int) -> str:
    words = "" if laid.experiment == n else f"; the incumbent is experiment {n} by now"
    what = f"this tree was changed since ({_named(list(change.edits))})"
    return f"{what} and is left as it is, on experiment {laid.experiment}{words}"


def _came(moved: moving.Moved, n: int, prefix: str) -> str:
    found = [f"this tree holds the incumbent's files, of {f'experiment {n}' if n else 'the baseline'}"]
    found += [f"set: {_named([path.removeprefix(prefix) for path in moved.files])}"] if moved.files else []
    found += [f"changed meanwhile and left: {_named(moved.kept)}"] if moved.kept else []
    found += [f"in the way, and moved to {', '.join(map(str, moved.aside))}"] if moved.aside else []
    return "; ".join(found)


def _named(paths: Sequence[str]) -> str:
    return ", ".join(map(one_line, paths[:5])) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
