"""The final comparison of the result with the original baseline: interleaved pairs, their number fixed beforehand.

Pairs alternate in order (AB, BA, AB, …), both arms of a pair have the same seed, and the mean gain has a 90 % t interval
over the pairs. An exact metric's result has to give its recorded bits once more; where a person asks, the baseline too. With a
held-out set all of it happens there, and an exact metric's result and baseline are measured on it once each.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from autoresearch.acceptance.intervals import FEWEST, interval, is_first
from autoresearch.acceptance.method import method as planned
from autoresearch.acceptance.single_run import seed_for
from autoresearch.contracts import Acceptance, Situation
from autoresearch.records import Compare, Done, Gain, Measure, Measurement, Step


class Compared:
    """Another rule, whose result is compared with the original baseline at the end."""

    def __init__(self, rule: Acceptance) -> None:
        self._rule = rule

    def next(self, situation: Situation) -> Step:
        if situation.phase != "final":
            return self._rule.next(situation)
        return begin(situation) or compare(situation)


def compared(rule: Acceptance) -> Compared:
    """A rule with that comparison at its end, whatever it has there itself."""
    return rule if isinstance(rule, Compared) else Compared(rule)


def begin(situation: Situation) -> Compare | Done | None:
    """Whether a comparison is to begin, or none is to be made; None where one was begun and goes on."""
    history, incumbent = situation.history, situation.incumbent
    agenda, method = history.agenda, history.agenda.method
    if not incumbent.n:
        return Done()
    plan, here = agenda.comparison, agenda.machine
    if plan is not None and plan.of == incumbent.n and not agenda.failed:
        made = situation.baseline.measurements[plan.first :]
        if here is None or all(m.machine in ("", here.id) for m in made):
            return None
        return Compare(plan.pairs)  # pairs of another machine do not go on here
    if history.validated is not None or method is None:
        return Done()
    # a run that began with too little for a comparison may go on with more
    pairs = method.pairs or planned(situation.settings, method.rule, situation.baseline.own).pairs
    once = 1 if situation.settings.held_out else 0
    return Compare(once if history.exact else max(FEWEST, pairs)) if pairs else Done()


def compare(situation: Situation) -> Measure | Done:
    """The next evaluation of the comparison that was begun, or what it came to."""
    plan = situation.history.agenda.comparison
    assert plan is not None
    if plan.of != situation.incumbent.n:
        return Done("the checks at the end took the result back: what is left was not compared")
    made = [m for m in situation.baseline.measurements[plan.first :] if m.phase == "final"]
    done, failed = [m for m in made if m.ok], [m for m in made if not m.ok]
    if len(failed) > 1:  # one is measured again
        last = failed[-1]
        return Done(f"the final comparison failed twice: {last.arm} (experiment {last.of}): {last.words or last.outcome}")
    if len(done) < max(1, 2 * plan.pairs):
        pair, second = divmod(len(done), 2)
        of, arm = (plan.of, "candidate") if is_first(pair, second) else (0, "baseline")
        return Measure(of=of, arm=arm, seed=seed_for(situation.settings, -1, plan.first + pair), phase="final")
    if plan.pairs < 2 and not situation.settings.held_out:
        words = _other_bits(situation, done)
        return Done(words) if words else Done("the same bits", _recorded(situation))
    sign, metric = situation.settings.sign(), situation.settings.metric
    values = {arm: [m.values[metric] for m in done if m.arm == arm] for arm in ("candidate", "baseline")}
    gains = [sign * (a - b) for a, b in zip(values["candidate"], values["baseline"], strict=True)]
    base, held_out = statistics.fmean(values["baseline"]), situation.settings.held_out
    return Done("compared", replace(interval(gains), base=base, held_out=held_out))


def _recorded(situation: Situation) -> Gain:
    result, base = situation.incumbent.value, situation.baseline.value
    assert result is not None
    assert base is not None
    return replace(interval([situation.settings.sign() * (result - base)]), base=base)


def _other_bits(situation: Situation, done: Sequence[Measurement]) -> str:
    metric = situation.settings.metric
    recorded = {"candidate": situation.incumbent.value, "baseline": situation.baseline.value}
    for m in done:
        if m.values[metric] != recorded[m.arm]:
            return (
                f"experiment {m.of} was measured as {recorded[m.arm]!r}, and here and now it is {m.values[metric]!r}: not the "
                "same bits, though the metric was taken for exact. Bring back what changed, go on with numbers of here by "
                "`autoresearch run --rebaseline`, or compare in pairs with `autoresearch validate --pairs 6`"
            )
    return ""
