"""For noisy metrics: one run has to beat the incumbent by two standard deviations of the baselines."""

from __future__ import annotations

import statistics

from autoresearch.acceptance import single_run
from autoresearch.acceptance.method import baselines
from autoresearch.contracts import Situation
from autoresearch.records import Done, Step

DEVIATIONS = 2.0


def spread(situation: Situation) -> float:
    """The standard deviation of the baseline's evaluations, in the metric's unit."""
    found = single_run.values(situation.baseline, situation.settings.metric)
    return statistics.stdev(found) if len(found) > 1 else 0.0


class Margin:
    """The margin is the larger of two standard deviations and `min_effect`."""

    def next(self, situation: Situation) -> Step:
        if situation.phase == "baseline":
            step = single_run.measure_baseline(situation, 2)
            if step is None:
                step = single_run.measure_baseline(situation, baselines(situation.settings, situation.current.own))
            return step or single_run.noisy_verdict(situation, "margin")
        if situation.phase == "experiment":
            margin = max(DEVIATIONS * spread(situation), single_run.min_effect(situation))
            return single_run.judge(situation, margin)
        return Done()
