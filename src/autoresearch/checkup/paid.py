"""What a check says of proposers that somebody pays for, without asking any model: is the program there, who pays, how far."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autoresearch import git, payers
from autoresearch.assembly import Assembly
from autoresearch.choice import Wish, budget_of
from autoresearch.contracts import Ledger
from autoresearch.errors import SetupError
from autoresearch.forecast import Forecast
from autoresearch.history import History
from autoresearch.ledger import MemoryLedger
from autoresearch.payers import Payer
from autoresearch.project import Project
from autoresearch.proposers.words import cannot_start
from autoresearch.records import RunRecord
from autoresearch.taskfile import Task


@dataclass(frozen=True, slots=True)
class Paid:
    """What was found; everything is empty where nobody has to be paid.

    Attributes:
        lines: who pays for which model, and what it will cost; `price` of all experiments that the budget leaves room for.
    """

    lines: tuple[str, ...] = ()
    price: str = ""
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    proposers: tuple[dict[str, Any], ...] = ()


def look(project: Project, location: git.Location, task: Task) -> Paid:
    """Look, and write nothing."""
    logins, problems = payers.seen_logins(task, project.paths)
    ledger: Ledger = project.ledger(read_only=True) if project.paths.ledger.is_file() else MemoryLedger()
    try:
        run = RunRecord(".check", task.task.name, task.metric.name, task.metric.direction, python=sys.executable)
        everyone = payers.payers(Assembly(project.paths, location, task, run, ledger, logins=logins), logins)
        if not everyone:
            return Paid(problems=tuple(problems))
        budget, histories = budget_of(task, Wish(), History()), [History(), *payers.others(ledger, "")]
    finally:
        ledger.close()
    found = payers.outlook([payer.asked for payer in everyone], histories, budget)
    missing, unsure = _programs(everyone)
    problems += missing
    wall, is_problem = _wall(everyone, task, found)
    return Paid(
        lines=(*(payer.line(budget) for payer in everyone), found.line),
        price=found.words,
        problems=(*problems, *([wall] if wall and is_problem else [])),
        warnings=(*unsure, *([wall] if wall and not is_problem else [])),
        proposers=tuple(payer.as_json() for payer in everyone),
    )


def _programs(everyone: Sequence[Payer]) -> tuple[list[str], list[str]]:
    """Those that are not there, and those that do not tell their version."""
    missing, unsure = [], []
    for payer in everyone:
        words = payers.program_of(payer.table, payer.proposer)
        if not words or payer.version:
            continue
        if shutil.which(words[0]) is None:
            missing.append(cannot_start(payer.proposer.program, f"{words[0]} was not found on PATH"))  # type: ignore[attr-defined]
        else:
            unsure.append(f"{' '.join(words)} --version did not answer: is it {payer.table.kind}?")
    return missing, unsure


def _wall(everyone: Sequence[Payer], task: Task, found: Forecast) -> tuple[str, bool]:
    """Which wall is missing, and whether `run` would refuse it at a terminal too, where it asks otherwise."""
    try:
        payers.wall(everyone, budget_of(task, Wish(), History()), found, None)
    except SetupError as error:
        return str(error), task.budget.cost_usd is not None
    return "", False
