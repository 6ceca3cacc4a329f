"""Budgets as walls, checked before anything is spent, and the words for how a run ended."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from autoresearch.history import History
from autoresearch.records import Experiment, Measurement, Reach
from autoresearch.text import counted

FINISHED = frozenset(["experiments", "evaluations", "time", "cost", "tokens", "target", "exhausted", "plateau", "gate"])
"""Reasons after which a run is finished unless its budget is raised; after all others it is open."""


_AROUND_S = 0.1  # what an evaluation takes besides its command


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

    def reach(self) -> Reach:
        """What it can pay for evaluations: the run as far as it goes, and a session's time."""
        times = [t for t in (self.time_s, self.session_time_s) if t is not None]
        return Reach(self.experiments, self.evaluations or None, min(times, default=None))


@dataclass(slots=True)
class Spending:
    """What is left of a budget, from the history and the clock."""

    budget: Budget
    history: History
    held_out: bool = False  # the final comparison is made on a set of its own
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

    def reserved(self) -> int:
        """Evaluations that are kept for the final comparison."""
        method = self.history.agenda.method
        if method is None:
            return 0
        if method.rule == "exact":
            once = 2 if self.held_out else 1  # both arms on the held-out set, else the result once more
            return once if len(self.history.line) > 1 else 0
        return 2 * method.pairs

    def reserved_s(self) -> float:
        """The time that the final comparison will take, with something for fresh trees and the machine's moods."""
        if not self.reserved():
            return 0.0
        base, best = self.history.experiments[0], self.history.experiments[self.history.line[-1]]
        each = [sum(m.duration_s for m in own) / len(own) + (e.build_s or 0.0) for e in (base, best) if (own := self._like(e))]
        reserved_s = self.reserved() * (1.1 * sum(each) / len(each) + _AROUND_S) if each else 0.0
        return reserved_s if reserved_s < (self.left_s() + self.session_s) / 3 else 0.0  # a short session works

    def _like(self, e: Experiment) -> Sequence[Measurement]:
        """Evaluations that take as long as the final comparison's will."""
        made = self.history.experiments[0].measurements if self.held_out else ()
        return [m for m in made if m.phase in ("held_out", "final") and m.ok] or e.own

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

    def may_measure(self, under_way: int = 0, *, final: bool = False) -> Ending | None:
        """Why no further evaluation may start, or None; those of the final comparison are kept for it."""
        limit = self.budget.evaluations
        kept = 0 if final else self.reserved()
        if limit and self.history.evaluations + under_way + kept >= limit:
            words = f", {kept} of them kept for the final comparison" if kept else ""
            return Ending("evaluations", f"{counted(limit, 'evaluation')}{words or ' made'}")
        return None

    def out_of_time(self, *, final: bool = False) -> Ending | None:
        """Why nothing may run any more, or None; the time of the final comparison is kept for it."""
        if self.left_s() > (0 if final else self.reserved_s()):
            return None
        kept_s = 0.0 if final else self.reserved_s()
        whole = (
            self.budget.time_s is not None
            and self.history.run is not None
            and (self.history.run.worked_s + self.session_s + kept_s >= self.budget.time_s)
        )
        return Ending("time" if whole else "session", "the time is used up")
