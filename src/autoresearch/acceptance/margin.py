"""For noisy metrics: one run has to beat the incumbent by two standard deviations of five baselines."""

from __future__ import annotations

import statistics

from autoresearch.acceptance import single_run
from autoresearch.contracts import Situation
from autoresearch.records import Done, Step

BASELINES = 5
DEVIATIONS = 2.0


def spread(situation: Situation) -> float:
    """The standard deviation of the baseline's evaluations, in the metric's unit."""
    found = single_run.values(situation.baseline, situation.settings.metric)
    return statistics.stdev(found) if len(found) > 1 else 0.0


class Margin:
    """The margin is the larger of two standard deviations and `min_effect`."""

    def next(self, situation: Situation) -> Step:
        if situation.phase == "baseline":
            step = single_run.measure_baseline(situation, BASELINES)
            return step or single_run.baseline_verdict(situation, f"sd {spread(situation):.3g} over {BASELINES} evaluations")
        if situation.phase == "experiment":
            margin = max(DEVIATIONS * spread(situation), single_run.min_effect(situation))
            return single_run.judge(situation, margin)
        return Done()
