"""Trees of one's own: made, looked at, and moved on after a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from autoresearch import private
from autoresearch.driving.places import Place, Snapshot, apart_of, find, named
from autoresearch.errors import SetupError
from autoresearch.git import Location
from autoresearch.history import History
from autoresearch.objects import Repository
from autoresearch.paths import TreePaths
from autoresearch.project import Project
from autoresearch.scope import parts_of, scope_of
from autoresearch.taskfile import Task
from autoresearch.workspace import entered, moving
from autoresearch.workspace.entered import Change, Laid
from autoresearch.workspace.store import Store


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


def trees_of(project: Project, run: str) -> list[Place]:
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


def look(place: Place, task: Task, history: History) -> Snapshot:
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
    return entered.change(paths, laid, scope_of(task), prefix=location.prefix, apart=apart_of(task), sha256=sha256)


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
    what = f"this tree was changed since ({named(list(change.edits))})"
    return f"{what} and is left as it is, on experiment {laid.experiment}{words}"


def _came(moved: moving.Moved, n: int, prefix: str) -> str:
    found = [f"this tree holds the incumbent's files, of {f'experiment {n}' if n else 'the baseline'}"]
    found += [f"set: {named([path.removeprefix(prefix) for path in moved.files])}"] if moved.files else []
    found += [f"changed meanwhile and left: {named(moved.kept)}"] if moved.kept else []
    found += [f"in the way, and moved to {', '.join(map(str, moved.aside))}"] if moved.aside else []
    return "; ".join(found)
