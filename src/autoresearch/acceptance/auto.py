"""Finds out whether the metric is noisy: two baseline evaluations in fresh processes, under two seeds where it takes one.

Bit-equal means exact, one evaluation an experiment. Else the margin rule with three more baselines.
"""

from __future__ import annotations

from autoresearch.acceptance import single_run
from autoresearch.acceptance.exact import Exact
from autoresearch.acceptance.margin import Margin
from autoresearch.contracts import Situation
from autoresearch.records import Step


class Auto:
    """`noise = "none"` trusts one run."""

    def __init__(self) -> None:
        self._exact, self._margin = Exact(), Margin()

    def next(self, situation: Situation) -> Step:
        if situation.settings.noise == "none":
            return self._exact.next(situation)
        if situation.phase == "baseline":
            step = single_run.measure_baseline(situation, 2)
            if step is not None:
                return step
            if is_exact(situation):
                return single_run.baseline_verdict(situation, "two evaluations agree bit for bit: exact")
            return self._margin.next(situation)
        return (self._exact if is_exact(situation) else self._margin).next(situation)


def is_exact(situation: Situation) -> bool:
    """Whether the baseline's evaluations agree bit for bit."""
    found = single_run.values(situation.baseline, situation.settings.metric)
    return len(set(found)) == 1
