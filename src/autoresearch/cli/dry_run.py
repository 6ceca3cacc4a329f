"""`run --dry-run`: what a proposer would be started with and told, who pays, what it may cost. It starts and writes nothing."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from autoresearch import git, payers, proposers
from autoresearch.assembly import Assembly, importable, mixed, proposing
from autoresearch.briefing import stand_in
from autoresearch.choice import Choice, Wish, budget_of, with_proposer
from autoresearch.cli.brief import briefing, next_brief
from autoresearch.cli.start import Flags, wish_of
from autoresearch.contracts import Brief, Ledger, Preview
from autoresearch.errors import AutoresearchError, RepositoryError, SetupError
from autoresearch.history import History
from autoresearch.ledger import MemoryLedger
from autoresearch.payers import Payer
from autoresearch.project import Project
from autoresearch.taskfile import Task, load


def show_proposals(folder: Path, flags: Flags) -> None:
    """Print it, for people or as one JSON object."""
    project, wish = Project.find(folder), replace(wish_of(flags), confirm=None, amount=None)
    task = with_proposer(load(project.folder), wish)
    importable(project.folder)
    for table in proposing(task).values():
        proposers.known(table.kind)
    body = _look(project, wish, task)
    text = json.dumps(body, ensure_ascii=False) if flags.json else "\n".join(_lines(body))
    sys.stdout.write(text + "\n")


def _look(project: Project, wish: Wish, task: Task) -> dict[str, Any]:
    location = git.locate(project.folder)
    if location is None:
        raise RepositoryError(f"{project.folder} is no git repository: run `git init`, add and commit your files")
    ledger: Ledger = project.ledger(read_only=True) if project.paths.ledger.is_file() else MemoryLedger()
    try:
        run = Choice(project, wish, task, ledger, location).going_on()
        histories = [ledger.history(run.run) if run is not None else History()]
        histories += payers.others(ledger, run.run if run is not None else "")
        history = histories[0] if histories[0].line else stand_in(project.folder, task, location)
        assert history.run is not None
        logins, missing = payers.seen_logins(task, project.paths)
        everyone = payers.payers(Assembly(project.paths, location, task, history.run, ledger, logins=logins), logins)
        body = _money(task, wish, everyone, histories)
        return (
            body | {"missing": [*missing, *body["missing"]]} | _told(project, task, history, everyone, bool(histories[0].line))
        )
    finally:
        ledger.close()


def _money(task: Task, wish: Wish, everyone: Sequence[Payer], histories: Sequence[History]) -> dict[str, Any]:
    """Who pays, the forecast, and what a run would ask or refuse."""
    budget = budget_of(task, wish, histories[0])
    missing, found = [], None
    if everyone:
        found = payers.outlook([payer.asked for payer in everyone], histories, budget, session=wish.experiments)
        try:
            payers.wall(everyone, budget, found, None)
        except SetupError as error:
            missing.append(str(error))
    return {
        "pays": [payer.line(budget, histories[0].cost_usd) for payer in everyone],
        "paid": [payer.as_json() for payer in everyone],
        "forecast": asdict(found) if found else None,
        "forecast_line": found.line if found else "forecast: nobody has to be paid",
        "missing": missing,
    }


def _told(project: Project, task: Task, history: History, everyone: Sequence[Payer], measured: bool) -> dict[str, Any]:
    _, brief = next_brief(task, history)
    reader = brief.proposer if any(payer.name == brief.proposer for payer in everyone) else ""
    reader = reader or next((payer.name for payer in everyone if payer.name in mixed(task)), brief.proposer)
    turn = brief.proposer
    if reader != turn:
        alone = task.model_copy(update={"proposer": [proposing(task)[reader]]})
        brief = replace(next_brief(alone, history)[1], proposer=reader)
    told = briefing(project, task, history).render(brief)
    brief = replace(brief, render=lambda _: told.text)
    return {
        "experiment": brief.n,
        "baseline": measured,
        "calls": [_call(payer, brief) for payer in everyone],
        "prompt": told.text,
        "reader": reader,
        "turn": turn,
    }


def _call(payer: Payer, brief: Brief) -> dict[str, Any]:
    """What would be started, its secrets covered; in words why that cannot be told."""
    try:
        found: Preview = payer.proposer.preview(brief)
    except AutoresearchError as error:
        return {"proposer": payer.name, "argv": [], "env": {}, "words": str(error)}
    return {"proposer": payer.name, "argv": list(found.argv), "env": dict(found.env), "words": found.words}


def _lines(body: Mapping[str, Any]) -> list[str]:
    lines = [*body["pays"], body["forecast_line"], *(f"a run would not start: {words}" for words in body["missing"])]
    for call in body["calls"]:
        lines += [f"{call['proposer']} would be started by: {shlex.join(call['argv'])}"] if call["argv"] else []
        lines += [f"  {name}={value}" for name, value in call["env"].items()]
        lines += [f"  {call['words']}"] if call["words"] else []
    if body["reader"]:
        stand_in = "" if body["baseline"] else " (there is no baseline yet: its number stands as 0)"
        turn = "" if body["turn"] == body["reader"] else f", if it were its turn: {body['turn']} is asked first"
        lines += [
            f"what {body['reader']} would be told for experiment {body['experiment']}{turn}{stand_in}:",
            "",
            body["prompt"],
        ]
    return [*lines, "nothing was started and nothing was written"]
