"""`enter`: a tree of one's own to work in. Its path stands alone on standard output, the rules on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autoresearch.driving import places, trees
from autoresearch.driving.jobs import Jobs
from autoresearch.driving.places import Place
from autoresearch.errors import AutoresearchError, SetupError
from autoresearch.history import History
from autoresearch.project import Project
from autoresearch.taskfile import Task, load
from autoresearch.text import one_line


def enter_tree(folder: Path, name: str | None, *, as_json: bool) -> None:
    """Make a tree with the incumbent's files; a run is started where there is none."""
    place = places.find(folder)
    if place.run is not None and name not in (None, place.run):
        raise SetupError(f"{place.folder} is a tree of run {place.run}: enter one of another run from the project's own folder")
    jobs = Jobs(place, run=name)
    run = jobs.known() or jobs.ensure()
    task = load(place.project.folder)
    made = trees.enter(place.project, run, task)
    rows = rules(made, task, trees.stands_on(made))
    if as_json:
        sys.stdout.write(json.dumps({**_facts(made), "rules": rows}, ensure_ascii=False) + "\n")
        return
    sys.stderr.write("".join(f"{row}\n" for row in rows))
    sys.stdout.write(f"{made.folder}\n")


def rules(place: Place, task: Task, experiment: int) -> list[str]:
    """What holds in an entered tree, in lines."""
    frozen = f" but {', '.join(task.task.frozen)}" if task.task.frozen else ""
    absent = [*task.evaluate.inputs, *task.evaluate.copies, *task.evaluate.cache]
    return [
        f"a tree of run {place.run}, with the files of {f'experiment {experiment}' if experiment else 'the baseline'}",
        f"edit: {', '.join(task.task.editable)}{frozen}; everything else is frozen, and a change of it is refused by name",
        'try:  autoresearch try -m "what and why" has the change measured and decided, autoresearch probe only tests it',
        "then: a keep moves this tree on to the new incumbent, anything else takes the change back; neither is yours to do",
        "new files outside of what may be edited stay where they are, and count for nothing; its git is this tree's own",
        *([f"not here, and shown to what is measured: {', '.join(absent)}"] if absent else []),
        "over: when try says so (exit code 3); autoresearch brief --try tells what is known and what to do next",
    ]


def list_trees(folder: Path, name: str | None, *, as_json: bool) -> None:
    """Show the trees of a run: what they stand on, what is changed in them."""
    project, history, task = _read(folder, name)
    found = [(place, *_state(place, task, history)) for place in trees.trees_of(project, _name(history))]
    if as_json:
        rows = [{**_facts(place), "changed": list(changed), "fault": fault} for place, changed, fault in found]
        sys.stdout.write(json.dumps(rows, ensure_ascii=False) + "\n")
        return
    for place, changed, fault in found:
        facts = _facts(place)
        state = fault or (f"changed: {_some(changed)}" if changed else "not changed")
        on = f"experiment {facts['experiment']}" if facts["experiment"] else "the baseline"
        sys.stdout.write(f"{facts['number']}  on {on} · {state} · {place.folder}\n")
    if not found:
        sys.stdout.write(f'no tree of run {_name(history)} yet: cd "$(autoresearch enter)"\n')


def remove_tree(folder: Path, name: str | None, number: int, *, yes: bool) -> None:
    """Delete a tree with all that lies in it."""
    project, history, task = _read(folder, name)
    known = {_facts(place)["number"]: place for place in trees.trees_of(project, _name(history))}
    if number not in known:
        numbers = ", ".join(map(str, known)) or "none"
        raise SetupError(f"--remove {number}: run {_name(history)} has no such tree (there are: {numbers})")
    changed, fault = _state(known[number], task, history)
    if (changed or fault) and not yes:
        raise SetupError(f"--remove {number}: {fault or f'what is changed there ({_some(changed)}) would be lost'}; add --yes")
    trees.leave(known[number])
    sys.stdout.write(f"tree {number} of run {_name(history)} is removed\n")


def _read(folder: Path, name: str | None) -> tuple[Project, History, Task]:
    place = places.find(folder)
    ledger = place.project.ledger(read_only=True)
    try:
        history = ledger.history(place.project.pick(ledger, name or place.run).run)
    finally:
        ledger.close()
    return place.project, history, load(place.project.folder)


def _name(history: History) -> str:
    assert history.run is not None
    return history.run.run


def _state(place: Place, task: Task, history: History) -> tuple[Sequence[str], str]:
    """What is changed in a tree, and why that cannot be said."""
    try:
        return tuple(places.snapshot(place, task, history).edits), ""
    except AutoresearchError as error:
        return (), one_line(str(error))


def _facts(place: Place) -> dict[str, Any]:
    assert place.tree is not None
    number, on = int(place.tree.parent.name), trees.stands_on(place)
    return {"run": place.run, "number": number, "folder": str(place.folder), "tree": str(place.tree), "experiment": on}


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(one_line, names[:4])) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
