"""For noisy metrics: one run screens, then candidate and incumbent race in fresh pairs until the answer is clear.

The rule of `docs/gains.md`, in oriented numbers (larger is better). Pairs alternate in order and share a seed; the incumbent
is measured again now and then, so that no lucky value stays the bar.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from autoresearch.acceptance import single_run
from autoresearch.acceptance.checkpoint import Checkpoint
from autoresearch.acceptance.intervals import is_first
from autoresearch.acceptance.method import baselines
from autoresearch.acceptance.sequential import GAIN, LikelihoodRatio
from autoresearch.acceptance.single_run import seed_for
from autoresearch.contracts import Situation
from autoresearch.history import History
from autoresearch.noise import Fold, Tally
from autoresearch.records import Done, Kind, Measure, Measurement, Step, Verdict

TYPICAL, LEAST_KEEPS = 0.5, 3
"""Gains below half of this share of the typical kept gain are not raced, once there are some keeps."""
FAR = 4.0
"""A screen run so many standard deviations beyond the incumbent is far beyond the noise."""
REFRESH = 10
"""Experiments after which the incumbent is measured again."""


class Race:
    """Screens on one run, then races; the incumbent is measured again after `refresh` experiments without it."""

    def __init__(self, refresh: int = REFRESH) -> None:
        self._refresh = refresh
        self._fold: Fold | None = None

    def next(self, situation: Situation) -> Step:
        if situation.phase == "baseline":
            return self._baseline(situation)
        if situation.phase == "experiment":
            return Heat(situation, self._tally(situation.history)).next()
        return self._between(situation)

    def _tally(self, history: History) -> Tally:
        if self._fold is None or not self._fold.is_of(history):
            self._fold = Fold(history)
        return self._fold.now()

    def _baseline(self, situation: Situation) -> Step:
        step = single_run.measure_baseline(situation, 2)
        if step is None:
            count = baselines(situation.settings, situation.current.own)
            step = single_run.measure_baseline(situation, count)
        return step or single_run.noisy_verdict(situation, "race", alpha=situation.settings.alpha, repeats=True)

    def _between(self, situation: Situation) -> Step:
        known = self._tally(situation.history)
        step = Checkpoint(situation, known).next()
        if not isinstance(step, Done):
            return step
        again = [m for m in situation.current.measurements if m.phase == "between"]
        if known.since < self._refresh or any(not m.ok for m in again):
            return step
        return single_run.refresh(situation)


@dataclass(frozen=True, slots=True)
class Arms:
    """The runs of a race, as oriented numbers; `broken` says how often the incumbent failed."""

    candidate: tuple[float, ...]
    incumbent: tuple[float, ...]
    broken: int

    def gains(self) -> list[float]:
        return [a - b for a, b in zip(self.candidate, self.incumbent, strict=False)]


class Heat:
    """One candidate's way from its first run to a verdict."""

    def __init__(self, situation: Situation, known: Tally) -> None:
        self._s, self._known = situation, known
        self._e, self._settings = situation.current, situation.settings
        self._own = [m for m in self._e.measurements[self._e.base :] if m.phase in ("first", "race")]
        self._bar = known.bar(situation.incumbent)
        self._smallest = single_run.in_numbers(single_run.min_effect(situation), known.scale, self._bar)

    def next(self) -> Step:
        first = [m for m in self._own if m.phase == "first"]
        if not first:
            return self._measure("candidate", 0, phase="first")
        failed = single_run.failure([m for m in self._own if m.of == self._e.n])
        if failed is not None:
            return failed
        gain = self._known.scale.of(first[-1]) - self._bar
        simpler = self._is_simpler() and gain <= self._margin(self._smallest)
        smallest = -self._smallest if simpler else self._smallest
        if gain <= self._margin(smallest):
            return self._screened(first[-1], gain)
        return self._race(first[-1], gain, smallest, simpler=simpler)

    def _is_simpler(self) -> bool:
        return self._settings.simplify and self._smallest > 0 and (self._e.lines or 0) < 0

    def _margin(self, smallest: float) -> float:
        gains = self._known.gains
        typical = TYPICAL * statistics.median(gains) if len(gains) >= LEAST_KEEPS else 0.0
        return smallest + max(self._look_for(self._known.alone.sd), typical) / 2

    def _look_for(self, sd: float) -> float:
        return (1.0 if self._settings.noise == "high" else GAIN) * sd

    def _test(self, smallest: float) -> LikelihoodRatio:
        sd = math.sqrt(2) * self._known.paired.sd
        look_for = max(self._look_for(self._known.paired.sd), abs(smallest))
        most = max(16, self._settings.max_repeats) if self._settings.noise == "high" else self._settings.max_repeats
        return LikelihoodRatio(sd, smallest, look_for, self._settings.alpha, most)

    def _race(self, first: Measurement, gain: float, smallest: float, *, simpler: bool) -> Step:
        arms, test = self._arms(), self._test(smallest)
        if arms.broken > 1:
            words = "the incumbent failed twice beside it: the evaluation is flaky"
            return Verdict(Kind.DISCARD, "flaky", words, first.values[self._settings.metric])
        made = len(arms.candidate), len(arms.incumbent)
        if made[0] == made[1] and made[0]:
            far = gain - smallest >= FAR * self._known.alone.sd
            better = test.better(arms.gains(), far=far)
            if better is not None:
                return self._verdict(arms, better=better, simpler=simpler)
        pair = min(made)
        coin = seed_for(self._settings, self._e.n, 0) % 2 == 0
        is_candidate = is_first(pair, 0, first=coin) if made[0] == made[1] else made[0] < made[1]
        return self._measure("candidate" if is_candidate else "incumbent", 1 + pair)

    def _arms(self) -> Arms:
        race = [m for m in self._own if m.phase == "race"]
        scale, n = self._known.scale, self._e.n
        candidate = tuple(scale.of(m) for m in race if m.of == n)
        incumbent = tuple(scale.of(m) for m in race if m.of != n and m.ok)
        return Arms(candidate, incumbent, sum(not m.ok for m in race))

    def _measure(self, arm: str, index: int, *, phase: str = "race") -> Measure:
        of = self._e.n if arm == "candidate" else self._s.incumbent.n
        return Measure(of=of, arm=arm, seed=seed_for(self._settings, self._e.n, index), phase=phase)  # type: ignore[arg-type]

    def _screened(self, first: Measurement, gain: float) -> Verdict:
        value, bar = first.values[self._settings.metric], self._known.scale.value(self._bar)
        reason = "tie" if gain == 0 else "worse" if gain < 0 else "screened"
        return Verdict(Kind.DISCARD, reason, f"{value:.6g} against {bar:.6g}", value)

    def _verdict(self, arms: Arms, *, better: bool, simpler: bool) -> Verdict:
        gains, scale = arms.gains(), self._known.scale
        value = statistics.fmean(scale.value(x) for x in arms.candidate)
        bar = statistics.fmean(scale.value(x) for x in arms.incumbent)
        words = f"{value:.6g} against {bar:.6g} in {len(gains)} pair{'s' if len(gains) > 1 else ''}"
        if better:
            return Verdict(Kind.KEEP, "simpler" if simpler else "better", words, value)
        reason = "tie" if statistics.fmean(gains) > 0 else "worse"
        return Verdict(Kind.DISCARD, reason, f"{words}: no clear gain", value)
