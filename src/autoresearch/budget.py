"""Budgets as walls, checked before anything is spent, and the words for how a run ended."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from autoresearch.agenda import Wall
from autoresearch.history import History
from autoresearch.records import Allowance, Experiment, Measurement, Reach
from autoresearch.text import counted, show_usd

if TYPE_CHECKING:  # pydantic is not for the loop
    from autoresearch.taskfile import Task

FINISHED = frozenset(["experiments", "evaluations", "time", "cost", "tokens", "target", "exhausted", "plateau", "gate"])
"""Reasons after which a run is finished unless its budget is raised; after all others it is open."""


_AROUND_S = 0.1  # what an evaluation takes besides its command
_ROUNDING = 1e-9


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
    """Limits of the whole run, and of this session where the name says so; None or 0 evaluations means none.

    Attributes:
        until: the clock's time at which the session ends, in seconds since 1970: waiting counts here too.
    """

    experiments: int | None = None
    session_experiments: int | None = None
    evaluations: int | None = None
    time_s: float | None = None
    session_time_s: float | None = None
    until: float | None = None
    cost_usd: float | None = None
    session_cost_usd: float | None = None
    tokens: int | None = None
    session_tokens: int | None = None

    def reach(self) -> Reach:
        """What it can pay for evaluations: the run as far as it goes, and a session's time."""
        clock_s = None if self.until is None else max(0.0, self.until - time.time())
        times = [t for t in (self.time_s, self.session_time_s, clock_s) if t is not None]
        return Reach(self.experiments, self.evaluations or None, min(times, default=None))


def wall_of(task: Task, history: History) -> Wall:
    """A run's wall of money and tokens: the task file's where it names any, else what the owner answered for the run."""
    budget = task.budget
    named = budget.cost_usd is not None or budget.tokens is not None
    return Wall(budget.cost_usd, budget.tokens) if named else history.agenda.wall


def budget_of_run(task: Task, history: History) -> Budget:
    """The walls of a whole run, whichever session works on it."""
    b, wall = task.budget, wall_of(task, history)
    return Budget(
        experiments=b.experiments or None,
        evaluations=b.evaluations,
        time_s=b.time,
        cost_usd=wall.cost_usd,
        tokens=wall.tokens,
    )


@dataclass(slots=True)
class Spending:
    """What is left of a budget, from the history and the clock."""

    budget: Budget
    history: History
    held_out: bool = False  # the final comparison is made on a set of its own
    began: float = field(default_factory=time.monotonic)
    asked_before: int = 0
    tried_before: int = 0  # of those, what others offered: no session's number counts them
    waited_s: float = 0.0  # waiting for outages is not charged
    _waiting: int = 0
    _since: float = 0.0
    _before: tuple[float, int] = (0.0, 0)  # what earlier sessions spent
    _held: dict[int, Allowance] = field(default_factory=dict)  # by proposals under way
    _running: int = 0  # evaluations
    _moved: list[anyio.Event] = field(default_factory=list)

    def start(self) -> None:
        self.began = time.monotonic()
        self._before = self.history.cost_usd, self.history.tokens
        self.asked_before = max(0, self.history.decided - len(self.history.lost))  # open ones count for this session
        self.tried_before = sum(e.job is not None for e in self.history.experiments[: self.history.decided + 1])

    def _experiments(self) -> int:
        return max(0, len(self.history.experiments) - 1 - len(self.history.lost))

    def _of_session(self, done: int) -> int:
        """How many of this session's experiments it asked for itself."""
        tried = sum(offer.experiment is not None for offer in self.history.agenda.offers.values())
        return done - self.asked_before - (tried - self.tried_before)

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
        if self.budget.until is not None:
            left = min(left, self.budget.until - time.time())
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
            return Ending("experiments", f"{counted(max(done, budget.experiments), 'experiment')} made")
        if budget.session_experiments is not None and self._of_session(done) >= budget.session_experiments:
            return Ending("session", f"{counted(budget.session_experiments, 'experiment')} of this session made")
        return self.money_spent() or self.may_measure() or self.out_of_time()

    def may_try(self, waiting: int = 0) -> Ending | None:
        """Why no further change that somebody offers may be tried, or None; a session's number of experiments is no matter.

        Args:
            waiting: offers whose turn has not come yet.
        """
        budget, done = self.budget, self._experiments()
        if budget.experiments is not None and done + waiting >= budget.experiments:
            return Ending("experiments", f"{counted(max(done, budget.experiments), 'experiment')} made")
        return self.money_spent() or self.may_measure() or self.out_of_time()

    # -- money and tokens -------------------------------------------------------------------------------------------

    def money_spent(self, next_usd: float = 0.0, *, final: bool = False) -> Ending | None:
        """Why nothing may be paid any more, or None; `next_usd` is what will be paid next."""
        for key, wall, spent, session in self._money_walls():
            kept_usd = 0.0 if final else self.reserved_usd(wall)
            if spent + next_usd + kept_usd > wall + _ROUNDING or spent + kept_usd >= wall:
                where = " in this session" if session else ""
                words = f"{show_usd(spent)} of {show_usd(wall)} spent{where}"
                words += (
                    f", and an evaluation costs up to {show_usd(next_usd)}" if next_usd and spent + _ROUNDING < wall else ""
                )
                words += f", {show_usd(kept_usd)} kept for the final comparison" if kept_usd else ""
                return Ending("session" if session else key, words)
        for wall, spent, session in self._token_walls():
            if spent >= wall:
                where = " in this session" if session else ""
                return Ending("session" if session else "tokens", f"{spent:.0f} of {wall:.0f} tokens spent{where}")
        return None

    def _money_walls(self) -> Iterator[tuple[str, float, float, bool]]:
        """Each wall of money with what is spent of it, and whether it is the session's."""
        budget, spent = self.budget, self.history.cost_usd
        if budget.cost_usd is not None:
            yield "cost", budget.cost_usd, spent, False
        if budget.session_cost_usd is not None:
            yield "cost", budget.session_cost_usd, spent - self._before[0], True

    def _token_walls(self) -> Iterator[tuple[float, float, bool]]:
        budget, spent = self.budget, self.history.tokens
        if budget.tokens is not None:
            yield budget.tokens, spent, False
        if budget.session_tokens is not None:
            yield budget.session_tokens, spent - self._before[1], True

    def left(self) -> Allowance:
        """Money and tokens for proposals: not spent, nor held by what is under way, nor needed to measure what comes of it."""
        usd = min((wall - spent - self.reserved_usd(wall) for _, wall, spent, _ in self._money_walls()), default=math.inf)
        tokens = min((wall - spent for wall, spent, _ in self._token_walls()), default=math.inf)
        held, measured_usd = self._held.values(), (1 + self._running) * self.history.dearest_usd
        return Allowance(usd - measured_usd - sum(a.cost_usd for a in held), tokens - sum(a.tokens for a in held))

    def reserved_usd(self, wall: float) -> float:
        """What the final comparison's evaluations will cost, where they say what they cost; a small wall works all the same."""
        kept_usd = self.reserved() * self.history.dearest_usd if self.history.dearest_usd else 0.0
        return kept_usd if kept_usd < wall / 3 else 0.0

    async def room(self, *, paid: bool) -> Ending | None:
        """Wait while others hold all that is left to pay for a proposal; gives why nothing may be paid any more, or None."""
        while (wall := self.money_spent()) is None and paid:
            left = self.left()
            enough = self._usual() if self._held else Allowance(0.0, 0.0)
            if left.cost_usd > enough.cost_usd and left.tokens > enough.tokens:
                return None
            if not self._held and not self._running:
                return self.may_measure() or Ending("cost", "nothing is left to pay for a proposal")
            await self.change()
        return wall

    def _usual(self) -> Allowance:
        """What a proposal of this run cost in the mean: no other starts with less while some are under way."""
        paid = [e for e in self.history.experiments if e.cost_usd or e.tokens]
        count = max(1, len(paid))
        return Allowance(sum(e.cost_usd for e in paid) / count, sum(e.tokens for e in paid) / count)

    def reported(self, proposer: str) -> Allowance | None:
        """What a proposer without caps, as a command, said that one proposal cost at most; None where it cost nothing."""
        if not (self.history.cost_usd or self.history.tokens):
            return None  # most runs: nothing is looked for in ten thousand experiments
        paid = [e for e in self.history.experiments if e.n and e.proposer == proposer and (e.cost_usd or e.tokens)]
        return Allowance(max(e.cost_usd for e in paid), max(e.tokens for e in paid)) if paid else None

    @contextmanager
    def hold(self, n: int, own: Allowance | None, *, reported: Allowance | None = None) -> Iterator[Allowance]:
        """What experiment n's proposal may spend, held for it: no more than is left, and what earlier attempts spent is off.

        Args:
            own: its caps; None for a proposer that nobody pays. It is held to none, and holds what it `reported` before.
        """
        caps = own or reported
        if caps is None:
            yield Allowance()
            return
        left, e = self.left(), self.history.experiments[n]
        usd, tokens = min(caps.cost_usd - e.cost_usd, left.cost_usd), min(caps.tokens - e.tokens, left.tokens)
        allowance = Allowance(max(0.0, usd), max(0.0, tokens), caps.turns)
        self._held[n] = allowance
        try:
            yield allowance if own is not None else Allowance()
        finally:
            del self._held[n]
            self.move()

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """An evaluation is under way."""
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self.move()

    def is_moving(self) -> bool:
        """Whether anything is under way whose end leaves more to spend, or that is paid for and has to be recorded."""
        return bool(self._running or self._held)

    def move(self) -> None:
        """Something that was under way is over: whoever waits for what it held looks again."""
        for event in self._moved:
            event.set()
        self._moved.clear()

    async def change(self) -> None:
        """Wait until something that is under way is over."""
        event = anyio.Event()
        self._moved.append(event)
        await event.wait()

    # -- evaluations and time ---------------------------------------------------------------------------------------

    def may_measure(self, more: int = 0, *, final: bool = False) -> Ending | None:
        """Why no further evaluation may start, or None; those of the final comparison are kept for it.

        The next one is taken to cost what one cost at most so far.

        Args:
            more: evaluations that will follow those under way before it.
        """
        limit, under_way = self.budget.evaluations, self._running + more
        kept = 0 if final else self.reserved()
        if limit and self.history.evaluations + under_way + kept >= limit:
            words = f", {kept} of them kept for the final comparison" if kept else ""
            return Ending("evaluations", f"{counted(limit, 'evaluation')}{words or ' made'}")
        dearest_usd = self.history.dearest_usd
        if not dearest_usd:
            return None
        held_usd = sum(a.cost_usd for a in self._held.values()) if self._finite() else 0.0
        return self.money_spent((1 + under_way) * dearest_usd + held_usd, final=final)

    def _finite(self) -> bool:
        return self.budget.cost_usd is not None or self.budget.session_cost_usd is not None

    def out_of_time(self, *, final: bool = False) -> Ending | None:
        """Why nothing may run any more, or None; the time of the final comparison is kept for it."""
        if self.left_s() > (0 if final else self.reserved_s()):
            return None
        kept_s = 0.0 if final else self.reserved_s()
        if self.budget.until is not None and time.time() + kept_s >= self.budget.until:
            return Ending("session", f"{time.strftime('%H:%M', time.localtime(self.budget.until))} reached")
        whole = (
            self.budget.time_s is not None
            and self.history.run is not None
            and (self.history.run.worked_s + self.session_s + kept_s >= self.budget.time_s)
        )
        return Ending("time" if whole else "session", "the time is used up")
