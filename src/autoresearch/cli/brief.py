"""`autoresearch brief`: what the next experiment would be told, what one was told, and the template to change."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoresearch import git, proposers
from autoresearch.assembly import proposing, strategy_of
from autoresearch.brief import Nothing, default, tokens_of
from autoresearch.briefing import COUNTS, PROMPT, Briefing, Words, counts
from autoresearch.checkup.mend import literal, set_key, write
from autoresearch.contracts import Brief
from autoresearch.driving.briefs import brief_for
from autoresearch.driving.places import find
from autoresearch.errors import SetupError, TaskError
from autoresearch.exhibits import Files, cover_of
from autoresearch.history import History
from autoresearch.paths import RunPaths
from autoresearch.project import Project
from autoresearch.records import Allowance, Experiment, Plan
from autoresearch.sight import Sight
from autoresearch.taskfile import FILE, Task, load
from autoresearch.taskfile.schema import Proposer as Table

DEFAULT = "brief.md.j2"
_SILENT = ("knobs",)


def show_brief(folder: Path, n: int | None, name: str | None, *, as_json: bool, driving: bool | None = None) -> None:
    """Print a prompt; its parts with their tokens go to standard error, or into the JSON object.

    Args:
        driving: it is for who has change after change tried; None decides by the place, a tree that was entered being such.
    """
    place = find(folder)
    if driving and n is not None:
        raise SetupError(f"brief {n} --try: what experiment {n} was told is printed without --try")
    if driving is None:
        driving = n is None and place.tree is not None
    body = brief_for(place, name).body if driving else _body(place.project, n, name or place.run)
    if as_json:
        sys.stdout.write(json.dumps(body, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(body["text"])
        sys.stderr.write("\n".join(_table(body)) + "\n")


def _body(project: Project, n: int | None, name: str | None) -> dict[str, Any]:
    if not project.paths.ledger.is_file():
        told = "`autoresearch run --dry-run` prints what the first experiment would be told, `brief --try` what you are to know"
        raise SetupError(f"no run in {project.folder} yet: {told}")
    ledger = project.ledger(read_only=True)
    try:
        history = ledger.history(project.pick(ledger, name).run)
        return _next(project, history) if n is None else _told(project, history, n)
    finally:
        ledger.close()


def _facts(history: History, n: int, plan: Plan) -> dict[str, Any]:
    assert history.run is not None
    run = history.run
    facts = {"run": run.run, "n": n, "operation": plan.operation, "parent": plan.parents[0], "metric": run.metric}
    return facts | {
        "direction": run.direction,
        "proposer": plan.proposer,
        "mutation": plan.mutation,
        "escalation": plan.escalation,
    }


def next_brief(task: Task, history: History) -> tuple[Plan, Brief]:
    """What the next experiment is about, as the ledger stands."""
    assert history.run is not None
    run = history.run
    n = len(history.experiments)
    seen = min(history.decided, max(0, n - run.lag))
    plan = strategy_of(task).ask(n, history.as_of(seen))
    view = Sight(history, seen)
    tables = proposing(task)
    name = plan.proposer if plan.proposer in tables else next(iter(tables))
    brief = Brief(
        n=n,
        operation=plan.operation,
        parent=view.of(plan.parents[0]),
        view=view,
        metric=run.metric,
        direction=run.direction,
        seed=run.seed,
        timeout_s=tables[name].timeout,
        mutation=plan.mutation,
        escalation=plan.escalation,
        proposer=name,
        allowance=_allowance(task, tables[name], history),
    )
    return plan, brief


def _next(project: Project, history: History) -> dict[str, Any]:
    """What the next experiment would be told, as the ledger and the owner's words are now."""
    assert history.run is not None
    if not history.line:
        run = history.run.run
        raise SetupError(f"run {run} has no baseline yet: go on with `autoresearch run {run}` first")
    task = load(project.folder)
    plan, brief = next_brief(task, history)
    n, name = brief.n, brief.proposer
    told = briefing(project, task, history).render(brief)
    body = _facts(history, n, plan) | counts(told)
    silent = [f"experiment {n} goes to {name}, which reads no brief"] if proposing(task)[name].kind in _SILENT else []
    return body | {
        "proposer": name,
        "notices": [*body["notices"], *silent],
        "ideas": [idea.text for idea in brief.view.ideas],
        "text": told.text,
    }


def briefing(project: Project, task: Task, history: History) -> Briefing:
    """As a session has it, without anything that would be written."""
    assert history.run is not None
    names, location = project.paths.run(history.run.run), git.locate(project.folder)
    baseline = history.experiments[0].verdict
    cover = cover_of(task, names, baseline.value if baseline else None)
    sources = Nothing() if location is None else Files(location, task, history.run, names, cover)
    words, tables = Words(project.folder, task), proposing(task)
    return Briefing(task, words, names, tables=tables, sources=sources, cover=cover, history=lambda: history)


def _allowance(task: Task, table: Table, history: History) -> Allowance:
    """What the next proposal could spend."""
    if not proposers.writes_code(table.kind):
        return Allowance()
    budget, answered = task.budget, history.agenda.wall
    usd = answered.cost_usd if budget.cost_usd is None else budget.cost_usd
    tokens = answered.tokens if budget.tokens is None else budget.tokens
    return Allowance(
        min(table.max_cost_usd, math.inf if usd is None else max(0.0, usd - history.cost_usd)),
        min(table.max_tokens, math.inf if tokens is None else max(0, tokens - history.tokens)),
        table.max_turns,
    )


def _told(project: Project, history: History, n: int) -> dict[str, Any]:
    """What an experiment was told, as it was stored then."""
    assert history.run is not None
    run = history.run.run
    if n >= len(history.experiments):
        known = f"experiments 0 to {len(history.experiments) - 1}" if history.experiments else "no experiment yet"
        what = "without a number, brief prints what the next would be told"
        raise SetupError(f"run {run} has {known}, there is no {n}; {what}")
    e, names = history.experiments[n], project.paths.run(run)
    text, found = _stored(names, e)
    plan = Plan(e.parents or (0,), e.operation, e.asked, e.mutation, e.escalation)
    return _facts(history, n, plan) | {"proposer": e.proposer or e.asked} | found | {"text": text}


def _stored(names: RunPaths, e: Experiment) -> tuple[str, dict[str, Any]]:
    """The prompt and its counts.

    Raises:
        SetupError: the experiment was told nothing, or its files are gone.
    """
    folder = names.experiment(e.drafted_as)
    try:
        if e.job is not None:
            raise FileNotFoundError(PROMPT)  # what lies there was told to the proposal that it went before
        text = (folder / PROMPT).read_text(encoding="utf-8")
        return text, _with_more(text, json.loads((folder / COUNTS).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        pass
    who = "is the baseline" if not e.n else f"was proposed by {e.proposer}" if e.proposer else "was not proposed yet"
    why = f"the candidate of experiment {e.origin}, tried again" if e.origin is not None else who
    raise SetupError(f"experiment {e.n} was told nothing, or its prompt is gone ({why}): there is no {folder / PROMPT}")


def _with_more(text: str, found: dict[str, Any]) -> dict[str, Any]:
    """The counts of a prompt to which its proposer added something of its own, as the files to be changed."""
    more = tokens_of(text) - found["tokens"]
    if not more:
        return found
    added = {"name": "proposer", "tokens": more, "shown": 0, "of": 0}
    return {**found, "tokens": found["tokens"] + more, "parts": [*found["parts"], added]}


def _table(body: Mapping[str, Any]) -> list[str]:
    rows = [f"{'part':<13}{'tokens':>7}"]
    for part in body["parts"]:
        cut = f"  {part['shown']} of {part['of']}" if part["of"] else ""
        rows.append(f"{part['name']:<13}{part['tokens']:>7}{cut}")
    total = f"{'all':<13}{body['tokens']:>7}  of [brief] tokens = {body['limit']}; an estimate: bytes / 3.5"
    return [*rows, total, *body["notices"]]


# -- the template --------------------------------------------------------------------------------------------------------


def eject_template(folder: Path, path: str | None) -> None:
    """Write the template into the project, and name it in the task file where that names none.

    Raises:
        SetupError: there is no task file, the path leads out of the project, or the file is there already.
    """
    place = find(folder)
    project, start = place.project, place.project.folder if place.tree is not None else folder
    task = load(project.folder)
    target = Path(os.path.normpath((start / path).absolute() if path else project.folder / DEFAULT))
    if not target.is_relative_to(project.folder):
        raise SetupError(f"{target} is not in the project's folder {project.folder}: expected a path inside it")
    inside = target.relative_to(project.folder).as_posix()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "x", encoding="utf-8") as file:
            file.write(default())
    except FileExistsError:
        raise SetupError(f"{target} is there already: change it, or give another path: brief --eject PATH") from None
    except OSError as error:
        raise SetupError(f"cannot write {target}: {error.strerror}") from error
    sys.stdout.write(f"{inside}: the template; its names are in docs/brief.md\n{_set_key(project, task, inside)}\n")


def _set_key(project: Project, task: Task, inside: str) -> str:
    """Name a template in the task file; gives what was done, or is to be done."""
    key = f"[brief] template = {literal(inside)}"
    if task.brief.template == inside:
        return f"{FILE} names it already: {key}"
    if task.brief.template:
        return f"{FILE} names another one, {task.brief.template}; to use this one write {key}"
    path = project.folder / FILE
    try:
        write(path, set_key(path.read_bytes().decode("utf-8"), "brief", "template", inside))
    except (OSError, TaskError, UnicodeDecodeError):
        return f"write into {FILE}: {key}"
    return f"{FILE}: {key}"
