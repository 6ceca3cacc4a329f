"""Budgets as walls, checked before anything is spent, and the words for how a run ended."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from autoresearch.history import History
from autoresearch.text import counted

FINISHED = frozenset(["experiments", "evaluations", "time", "cost", "tokens", "target", "exhausted", "plateau"])
"""Reasons after which a run is finished unless its budget is raised; after all others it is open."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a session of a run ended.

    Attributes:
        code: the exit code of `run`.
    """

    reason: str
    words: str
    code: int = 0

    @property
    def status(self) -> str:
        return "finished" if self.reason in FINISHED else "open"


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of the whole run, and of this session where the name says so; None or 0 evaluations means none."""

    experiments: int | None = None
    session_experiments: int | None = None
    evaluations: int | None = None
    time_s: float | None = None
    session_time_s: float | None = None
    cost_usd: float | None = None
    tokens: int | None = None


@dataclass(slots=True)
class Spending:
    """What is left of a budget, from the history and the clock."""

    budget: Budget
    history: History
    began: float = field(default_factory=time.monotonic)
    asked_before: int = 0
    waited_s: float = 0.0  # waiting for outages is not charged
    _waiting: int = 0
    _since: float = 0.0

    def start(self) -> None:
        self.began = time.monotonic()
        self.asked_before = max(0, self.history.decided - len(self.history.lost))  # open ones count for this session

    def _experiments(self) -> int:
        return max(0, len(self.history.experiments) - 1 - len(self.history.lost))

    @property
    def session_s(self) -> float:
        now = time.monotonic()
        return now - self.began - self.waited_s - (now - self._since if self._waiting else 0.0)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time that is not charged, however many wait in it and however it ends."""
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self.waited_s += time.monotonic() - self._since

    def left_s(self) -> float:
        """Working time left, infinite without a limit."""
        assert self.history.run is not None
        left = math.inf
        if self.budget.time_s is not None:
            left = self.budget.time_s - self.history.run.worked_s - self.session_s
        if self.budget.session_time_s is not None:
            left = min(left, self.budget.session_time_s - self.session_s)
        return left

    def may_ask(self) -> Ending | None:
        """Why no further experiment may be asked for, or None."""
        budget, done = self.budget, self._experiments()
        if budget.experiments is not None and done >= budget.experiments:
            return Ending("experiments", f"{counted(budget.experiments, 'experiment')} made")
        if budget.session_experiments is not None and done - self.asked_before >= budget.session_experiments:
            return Ending("session", f"{counted(budget.session_experiments, 'experiment')} of this session made")
        return self.money_spent() or self.may_measure() or self.out_of_time()

    def money_spent(self) -> Ending | None:
        """Why nothing may be paid any more, or None."""
        budget = self.budget
        if budget.cost_usd is not None and self.history.cost_usd >= budget.cost_usd:
            return Ending("cost", f"{self.history.cost_usd:.2f} of {budget.cost_usd:.2f} USD spent")
        if budget.tokens is not None and self.history.tokens >= budget.tokens:
            return Ending("tokens", f"{self.history.tokens} of {budget.tokens} tokens spent")
        return None

    def may_measure(self, under_way: int = 0) -> Ending | None:
        """Why no further evaluation may start, or None."""
        limit = self.budget.evaluations
        if limit and self.history.evaluations + under_way >= limit:
            return Ending("evaluations", f"{counted(limit, 'evaluation')} made")
        return None

    def out_of_time(self) -> Ending | None:
        if self.left_s() > 0:
            return None
        whole = (
            self.budget.time_s is not None
            and self.history.run is not None
            and (self.history.run.worked_s + self.session_s >= self.budget.time_s)
        )
        return Ending("time" if whole else "session", "the time is used up")
