"""What is left of a run's budget, as whoever drives is told it; by records only, so that time is that of the newest one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoresearch.budget import Ending, Spending, budget_of_run
from autoresearch.history import History, gate_queries
from autoresearch.taskfile import Task
from autoresearch.taskfile.units import show_seconds
from autoresearch.text import counted, show_usd

WALLS = frozenset({"experiments", "evaluations", "time", "cost", "tokens"})
"""Reasons that are a spent budget."""
OVER = "it is over: make no further change"


@dataclass(frozen=True, slots=True)
class Left:
    """What is left; None where there is no limit.

    Attributes:
        experiments: of `limit`, without those that are under way or wait for their turn.
        evaluations: without those that are kept for the final comparison.
        queries: candidates that the gate still answers for.
        ending: why nothing more can be tried, None while something can.
    """

    experiments: int | None = None
    limit: int | None = None
    evaluations: int | None = None
    time_s: float | None = None
    cost_usd: float | None = None
    tokens: int | None = None
    queries: int | None = None
    ending: Ending | None = None

    @property
    def over(self) -> bool:
        return self.ending is not None

    @property
    def words(self) -> str:
        """`left: 13 of 20 experiments, 6.2 h`, or that it is over."""
        if self.ending is not None:
            return f"left: nothing ({self.ending.words}); {OVER}"
        parts = (
            [f"{self.experiments} of {counted(self.limit, 'experiment')}"]
            if self.limit and self.experiments is not None
            else []
        )
        parts += [] if self.evaluations is None else [counted(self.evaluations, "evaluation")]
        parts += [] if self.time_s is None else [show_seconds(self.time_s)]
        parts += [] if self.cost_usd is None else [show_usd(self.cost_usd)]
        parts += [] if self.tokens is None else [counted(self.tokens, "token")]
        parts += [] if self.queries is None else [f"{counted(self.queries, 'question')} to the gate"]
        return f"left: {', '.join(parts)}" if parts else "left: as much as you like, this run has no limit"

    @property
    def body(self) -> Mapping[str, Any]:
        keys = ("experiments", "evaluations", "time_s", "cost_usd", "tokens", "queries")
        return {key: getattr(self, key) for key in keys}


def left(history: History, task: Task) -> Left:
    """What is left of the whole run's budget."""
    if history.run is None:
        return Left(task.budget.experiments or None, task.budget.experiments or None, task.budget.evaluations or None)
    spending = _spending(history, task)
    budget, waiting = spending.budget, len(history.agenda.offered)
    done = max(0, len(history.experiments) - 1 - len(history.lost)) + waiting
    kept = spending.reserved() if budget.evaluations else 0
    return Left(
        experiments=_rest(budget.experiments, done),
        limit=budget.experiments,
        evaluations=_rest(budget.evaluations or None, history.evaluations + kept),
        time_s=None if budget.time_s is None else round(max(0.0, spending.left_s() - spending.reserved_s()), 1),
        cost_usd=None if budget.cost_usd is None else max(0.0, budget.cost_usd - history.cost_usd),
        tokens=_rest(budget.tokens, history.tokens),
        queries=_rest(history.agenda.queries or None, gate_queries(history)),
        ending=spending.may_try(waiting) or _target(history, task),
    )


def _target(history: History, task: Task) -> Ending | None:
    target, value = task.metric.target, history.incumbent.value if history.line else None
    sign = 1 if task.metric.direction == "maximize" else -1
    if target is None or value is None or sign * value < sign * target:
        return None
    return Ending("target", f"target {target:g} reached")


def _spending(history: History, task: Task) -> Spending:
    """As it stands at the newest event; a session that is at work has worked since it began."""
    run = history.run
    assert run is not None
    worked_s = max(0.0, run.last_at - run.session_at) if run.session_at else 0.0
    return Spending(budget_of_run(task, history), history, task.held_out is not None, began=time.monotonic() - worked_s)


def _rest(limit: int | None, spent: int) -> int | None:
    return None if limit is None else max(0, limit - spent)
