"""For metrics that come out the same every time: strictly better by more than `min_effect`, one evaluation each."""

from __future__ import annotations

from autoresearch.acceptance import single_run
from autoresearch.contracts import Situation
from autoresearch.records import Done, Step


class Exact:
    """A tie is a discard."""

    def next(self, situation: Situation) -> Step:
        if situation.phase == "baseline":
            step = single_run.measure_baseline(situation, 1)
            return step or single_run.baseline_verdict(situation, "exact", "taken as exact")
        if situation.phase == "experiment":
            return single_run.judge(situation, single_run.min_effect(situation))
        return Done()
