"""The final comparison of the result with the original baseline: interleaved pairs, their number fixed beforehand.

Pairs alternate in order (AB, BA, AB, …), both arms of a pair have the same seed, and the mean gain has a 90 % t interval
over the pairs. An exact metric has one pair, which has to give the recorded bits.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from autoresearch.acceptance.single_run import seed_for
from autoresearch.contracts import Acceptance, Situation
from autoresearch.records import Done, Gain, Measure, Measurement, Step

FEWEST, MOST = 3, 8
_T95 = {2: 2.919986, 3: 2.353363, 4: 2.131847, 5: 2.015048, 6: 1.943180, 7: 1.894579}
"""The 95 % quantile of Student's t by degrees of freedom: the ends of a two-sided 90 % interval."""


class Compared:
    """Another rule, with the comparison that the ledger says was begun as its final phase."""

    def __init__(self, rule: Acceptance) -> None:
        self._rule = rule

    def next(self, situation: Situation) -> Step:
        return compare(situation) if situation.phase == "final" else self._rule.next(situation)


def compare(situation: Situation) -> Measure | Done:
    """The next evaluation of the comparison that was begun, or what it came to."""
    plan = situation.history.agenda.comparison
    if plan is None:
        return Done()
    if plan.of != situation.incumbent.n:
        return Done("the checks at the end took the result back: what is left was not compared")
    done = [m for m in situation.baseline.measurements[plan.first :] if m.phase == "final"]
    failed = next((m for m in done if not m.ok), None)
    if failed is not None:
        return Done(f"the final comparison failed: {failed.arm} (experiment {failed.of}): {failed.words or failed.outcome}")
    if len(done) < 2 * plan.pairs:
        pair, second = divmod(len(done), 2)
        result = (pair % 2 == 0) == (second == 0)
        of, arm = (plan.of, "candidate") if result else (0, "baseline")
        return Measure(of=of, arm=arm, seed=seed_for(situation.settings, -1, plan.first + pair), phase="final")
    if plan.pairs == 1 and (words := _other_bits(situation, done)):
        return Done(words)
    sign, metric = situation.settings.sign(), situation.settings.metric
    values = {arm: [m.values[metric] for m in done if m.arm == arm] for arm in ("candidate", "baseline")}
    gains = [sign * (a - b) for a, b in zip(values["candidate"], values["baseline"], strict=True)]
    return Done("compared", interval(gains))


def interval(gains: Sequence[float]) -> Gain:
    """The mean of the gains of 3 to 8 pairs with its 90 % t interval; one pair has no width."""
    mean = statistics.fmean(gains)
    half = 0.0
    if len(gains) > 1:
        half = _T95[len(gains) - 1] * statistics.stdev(gains) / math.sqrt(len(gains))
    return Gain(mean, mean - half, mean + half, len(gains))


def _other_bits(situation: Situation, done: Sequence[Measurement]) -> str:
    metric = situation.settings.metric
    recorded = {"candidate": situation.incumbent.value, "baseline": situation.baseline.value}
    for m in done:
        if m.values[metric] != recorded[m.arm]:
            return (
                f"experiment {m.of} was measured as {recorded[m.arm]!r}, and here and now it is {m.values[metric]!r}: not the "
                "same bits, though the metric was exact. Bring back what changed, go on with numbers of here by "
                "`autoresearch run --rebaseline`, or compare in pairs with `autoresearch validate --pairs 6`"
            )
    return ""
