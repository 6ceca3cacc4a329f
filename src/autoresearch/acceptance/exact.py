"""For metrics that come out the same every time: strictly better by more than `min_effect`, one evaluation each."""

from __future__ import annotations

from autoresearch.acceptance import single_run
from autoresearch.contracts import Situation
from autoresearch.records import Done, Kind, Step, Verdict


class Exact:
    """A tie is a discard, unless it is simpler and that is asked for."""

    def next(self, situation: Situation) -> Step:
        if situation.phase == "baseline":
            step = single_run.measure_baseline(situation, 1)
            return step or single_run.baseline_verdict(situation, "exact", "taken as exact")
        if situation.phase == "experiment":
            return _simpler(situation, single_run.judge(situation, single_run.min_effect(situation)))
        return Done()


def _simpler(situation: Situation, step: Step) -> Step:
    """Where that is asked for, fewer lines in scope win unless they cost as much as the smallest effect."""
    smallest, lines = single_run.min_effect(situation), situation.current.lines
    if not isinstance(step, Verdict) or step.kept or step.value is None or step.kind is not Kind.DISCARD:
        return step
    bar = situation.incumbent.value
    assert bar is not None
    gain = situation.settings.sign() * (step.value - bar)
    if situation.settings.simplify and (lines or 0) < 0 and gain > -smallest:
        return Verdict(Kind.KEEP, "simpler", f"{step.words}, and {-(lines or 0)} lines fewer", step.value)
    return step
