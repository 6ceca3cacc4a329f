"""What a run's repeated measurements tell of its noise: one fold over the decided experiments.

The acceptance rules decide by it, and the faces show it, so they cannot disagree. Values are oriented (larger is better) and,
for times, logarithms.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import deque
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace

from autoresearch.agenda import Refresh
from autoresearch.history import History
from autoresearch.records import Experiment, Measurement

DETECTABLE = 2.5
"""A gain of so many standard deviations is found in four of five cases."""
RECENT = 4
"""So many of the incumbent's last runs are the bar."""
WINSOR = 4.0
"""Residuals count for the noise up to so many standard deviations of a pair: one outlier does not blow it up."""
MOST_DF = 40.0
"""The noise is that of about so many differences, older ones fade: it changes as the code does."""
CHECKPOINT_PAIRS = 4
SHORTEST = 1e-9
DRIFT_RATIO, DRIFT_LEAST = 2.0, 6
"""A machine drifts where the incumbent's runs differ over time by more than this times what they do side by side."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How values of a metric become numbers that are compared by their difference.

    A logarithm has no place for a time of 0, which a coarse clock gives: it counts as `SHORTEST`.
    """

    metric: str
    sign: int
    log: bool = False

    def of(self, m: Measurement) -> float:
        return self.number(m.values[self.metric])

    def number(self, value: float) -> float:
        return self.sign * (math.log(max(value, SHORTEST)) if self.log else value)

    def value(self, number: float) -> float:
        """The metric's value that a number stands for."""
        return math.exp(self.sign * number) if self.log else self.sign * number


@dataclass(frozen=True, slots=True)
class Pool:
    """Pooled noise: a sum of squares of one evaluation's deviations, and its degrees of freedom."""

    ss: float = 0.0
    df: float = 0.0

    @property
    def sd(self) -> float:
        """The standard deviation of one evaluation, a little larger while it rests on few."""
        return math.sqrt(self.ss / self.df) * (1 + 1 / self.df) if self.df else 0.0

    def of_values(self, values: Sequence[float]) -> Pool:
        mean = statistics.fmean(values)
        return self.plus(sum((v - mean) ** 2 for v in values), len(values) - 1)

    def of_pairs(self, gains: Sequence[float]) -> Pool:
        """With the differences of a race's pairs, each of which has the noise of two evaluations."""
        if len(gains) < 2:
            return self
        mean, most = statistics.fmean(gains), (WINSOR * self.sd) ** 2 * 2
        squares = ((g - mean) ** 2 for g in gains)
        return self.plus(sum(min(s, most) if most else s for s in squares) / 2, len(gains) - 1)

    def plus(self, ss: float, df: float) -> Pool:
        keep = min(1.0, max(0.0, MOST_DF - df) / self.df) if self.df else 1.0
        return Pool(keep * self.ss + ss, keep * self.df + df)


@dataclass(frozen=True, slots=True)
class Block:
    """The incumbent's runs at one time: a refresh, or its arm in a race."""

    of: int
    mean: float
    count: int


@dataclass(slots=True)
class Tally:
    """What is known once an experiment is decided.

    Attributes:
        runs: of experiments on the line, oldest first, without the ones that a candidate was chosen by.
        alone: noise of one evaluation against another; `paired` of one in a pair under a common seed.
        gains: of the last keeps, by their races.
        since: experiments since the incumbent was measured.
        races: how many candidates were measured again.
        held: the incumbents at the checkpoints so far, the last one after experiment `checked_at`.
        keeps_since: keeps after it.
        blocks: the incumbent's runs over time.
    """

    scale: Scale
    seeded: bool = False
    runs: dict[int, tuple[float, ...]] = field(default_factory=dict)
    alone: Pool = Pool()
    paired: Pool = Pool()
    gains: deque[float] = field(default_factory=lambda: deque(maxlen=10))
    since: int = 0
    races: int = 0
    held: tuple[int, ...] = ()
    checked_at: int = 0
    keeps_since: int = 0
    blocks: deque[Block] = field(default_factory=lambda: deque(maxlen=24))

    def apart(self) -> Tally:
        """A copy that can be taken further."""
        return replace(self, runs=dict(self.runs), gains=copy(self.gains), blocks=copy(self.blocks))

    def bar(self, incumbent: Experiment) -> float:
        """What a candidate has to beat: the mean of the incumbent's last runs."""
        found = self.runs.get(incumbent.n, ())[-RECENT:]
        if found:
            return statistics.fmean(found)
        assert incumbent.value is not None
        return self.scale.number(incumbent.value)

    def drift(self) -> float | None:
        """How much more the incumbent's runs differ over time than side by side, as a ratio of variances; None for few."""
        pairs = [
            (b.mean - a.mean) ** 2 / (1 / a.count + 1 / b.count) for a, b in itertools.pairwise(self.blocks) if a.of == b.of
        ]
        if len(pairs) < DRIFT_LEAST or not self.alone.sd:
            return None
        return statistics.fmean(pairs) / self.alone.sd**2

    @property
    def drifts(self) -> bool:
        ratio = self.drift()
        return ratio is not None and ratio > DRIFT_RATIO

    def take(self, e: Experiment, before: int, after: int) -> None:
        """Fold one decided experiment in; `before` and `after` it these were the incumbents."""
        own = e.measurements[e.base :]
        race = [m for m in own if m.phase == "race" and m.ok]
        self.since += bool(own)
        if race:
            self._take_race(e, race, before)
        if e.kept:
            self.keeps_since += 1
        between = [m for m in own if m.phase == "between" and m.ok]
        if between:
            self._take_between(e, between, after)

    def _take_race(self, e: Experiment, race: Sequence[Measurement], before: int) -> None:
        self.races += 1
        candidate = [self.scale.of(m) for m in race if m.of == e.n]
        incumbent = [self.scale.of(m) for m in race if m.of != e.n]
        gains = [a - b for a, b in zip(candidate, incumbent, strict=False)]
        if incumbent:
            self._add(before, incumbent)
        if self.seeded:
            self.paired = self.paired.of_pairs(gains)
        elif len(candidate) == len(incumbent):
            self.alone = self.paired = self.alone.of_pairs(gains)
        if self.seeded or len(candidate) != len(incumbent):
            for arm in (candidate, incumbent):
                self.alone = self.alone.of_values(arm) if len(arm) > 1 else self.alone
        if e.kept and candidate:
            self.runs[e.n] = tuple(candidate)
            self.since = 0
            if gains:
                self.gains.append(max(0.0, statistics.fmean(gains)))

    def _take_between(self, e: Experiment, between: Sequence[Measurement], after: int) -> None:
        """A refresh (the incumbent alone), a checkpoint (in pairs), or that of an exact metric (its incumbent alone)."""
        measured = between[0].of
        first = [self.scale.of(m) for m in between if m.of == measured]
        held = sum(m.arm == "checkpoint" for m in between)
        if held == len(between) or len(between) >= 2 * CHECKPOINT_PAIRS:
            self.held, self.checked_at, self.keeps_since = (*self.held, after), e.n, 0
        if not self.alone.ss and len(first) > 1:  # it was taken for exact
            self.alone = self.paired = Pool().of_values(first)
        self._add(measured, first)

    def _add(self, n: int, values: Sequence[float]) -> None:
        if values:
            self.runs[n] = (*self.runs.get(n, ()), *values)[-2 * RECENT :]
            self.blocks.append(Block(n, statistics.fmean(values), len(values)))
            self.since = 0

    def refresh(self, of: int, values: Sequence[float], *, anew: bool) -> None:
        """The incumbent was measured again before the run went on: what was measured before does not compare."""
        if not values:
            return
        if anew and len(values) > 1:
            self.alone = self.paired = Pool(2 * self.alone.sd**2, 2).of_values(values)
        self.runs = {of: tuple(values)}
        self.blocks.clear()
        self.since = 0


class Fold:
    """A history's tally, brought up to date as it grows; the newest decided experiment may still gain measurements."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._key: tuple[int, int] | None = None
        self._upto = 0
        self._settled = Tally(Scale("", 1))

    def is_of(self, history: History) -> bool:
        return self._history is history

    def now(self) -> Tally:
        """The tally as of the newest decision.

        Raises:
            ValueError: there is no baseline, or the rule has no method.
        """
        history = self._history
        key = (history.experiments[0].base, len(history.agenda.refreshes))
        if key != self._key:
            self._key, self._upto, self._settled = key, 0, _begin(history)
        while self._upto < history.decided - 1:
            self._upto += 1
            _take(self._settled, history, self._upto)
        if history.decided <= self._upto:
            return self._settled
        newest = self._settled.apart()
        _take(newest, history, history.decided)
        return newest


def tally(history: History) -> Tally:
    """What is known of a run's noise as of its newest decision."""
    return Fold(history).now()


def _begin(history: History) -> Tally:
    run, method = history.run, history.agenda.method
    if run is None or method is None or not history.experiments:
        raise ValueError("a tally needs a baseline and a method")
    scale = Scale(run.metric, 1 if run.direction == "maximize" else -1, method.log)
    values = [scale.of(m) for m in history.experiments[0].own if m.ok]
    pool = Pool().of_values(values)
    paired = Pool((pool.sd / 2) ** 2, 1) if method.seeded else pool  # what seeds have in common is learnt from pairs
    begun = Tally(scale, method.seeded, runs={0: tuple(values)}, alone=pool, paired=paired)
    _refresh(begun, history, 0)
    return begun


def _take(known: Tally, history: History, n: int) -> None:
    known.take(history.experiments[n], history.incumbents[n - 1], history.incumbents[n])
    _refresh(known, history, n)


def _refresh(known: Tally, history: History, n: int) -> None:
    for again, values in refreshes(history, n, known.scale):
        if not values and not again.of:  # the baseline is the incumbent, and was measured anew as such
            values = [known.scale.of(m) for m in history.experiments[0].own if m.ok]
        known.refresh(again.of, values, anew=again.anew)


def refreshes(history: History, n: int, scale: Scale) -> Iterator[tuple[Refresh, list[float]]]:
    """When the incumbent was measured again after the decision on experiment n before the run went on, and as what."""
    for i, again in enumerate(history.agenda.refreshes):
        if again.after == n and (again.count or again.anew):
            made = [m for m in history.experiments[again.of].measurements if m.phase == "refresh"]
            first = sum(r.count for r in history.agenda.refreshes[:i] if r.of == again.of)
            yield again, [scale.of(m) for m in made[first : first + again.count] if m.ok]
