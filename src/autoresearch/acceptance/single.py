"""The usual rule of this field: one run, and what is better is kept. Noise is kept as progress; for comparison."""

from __future__ import annotations

from autoresearch.acceptance import single_run
from autoresearch.contracts import Situation
from autoresearch.records import Done, Step


class Single:
    """One run decides, whatever the noise; only `min_effect` stands against it."""

    def next(self, situation: Situation) -> Step:
        if situation.phase == "baseline":
            return single_run.measure_baseline(situation, 1) or single_run.baseline_verdict(situation, "single", "one run")
        if situation.phase == "experiment":
            return single_run.judge(situation, single_run.min_effect(situation))
        return Done()
