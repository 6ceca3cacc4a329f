"""Finds out whether the metric is noisy: two baseline evaluations in fresh processes, under two seeds where it takes one.

Bit-equal means exact, one evaluation an experiment, until a checkpoint says otherwise. Else evidence is weighed; where an
evaluation takes a seed, candidates race instead: in pairs under common seeds much of the noise is the same and cancels.
"""

from __future__ import annotations

from autoresearch.acceptance import single_run
from autoresearch.acceptance.bayes import Bayes
from autoresearch.acceptance.checkpoint import Checkpoint
from autoresearch.acceptance.exact import Exact
from autoresearch.acceptance.margin import Margin
from autoresearch.acceptance.race import Race
from autoresearch.contracts import Acceptance, Settings, Situation
from autoresearch.noise import Fold
from autoresearch.records import Step

SELDOM = 20
"""Under common seeds the pairs alone decide, and the bar, which only screens, need not be as fresh."""


class Auto:
    """`noise = "none"` trusts one run; without repeats the margin rule decides."""

    def __init__(self) -> None:
        self._exact, self._bayes, self._race, self._margin = Exact(), Bayes(), Race(SELDOM), Margin()
        self._fold: Fold | None = None

    def next(self, situation: Situation) -> Step:
        if situation.settings.noise == "none":
            return self._exact.next(situation)
        noisy = self._noisy(situation.settings)
        if situation.phase == "baseline":
            return self._baseline(situation, noisy)
        if not situation.history.exact:
            return noisy.next(situation)
        return self._exact.next(situation) if situation.phase == "experiment" else self._between(situation)

    def _noisy(self, settings: Settings) -> Acceptance:
        if settings.max_repeats == 1:
            return self._margin
        return self._race if settings.seeded else self._bayes

    def _baseline(self, situation: Situation, noisy: Acceptance) -> Step:
        step = single_run.measure_baseline(situation, 2)
        if step is not None:
            return step
        if len(set(single_run.values(situation.current, situation.settings.metric))) == 1:
            seeds = "" if situation.settings.seeded else ", for this seed only"
            return single_run.baseline_verdict(situation, "exact", f"two evaluations agree bit for bit: exact{seeds}")
        return noisy.next(situation)

    def _between(self, situation: Situation) -> Step:
        if self._fold is None or not self._fold.is_of(situation.history):
            self._fold = Fold(situation.history)
        return Checkpoint(situation, self._fold.now()).next_exact()
