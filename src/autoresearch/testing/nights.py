"""What a night was worth, where the truth is known: figures that no run of the real world can have."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from autoresearch.api import Result
from autoresearch.records import Experiment, Gain
from autoresearch.testing.worlds import World

FINDABLE = 2.5
"""A gain of so many standard deviations of one evaluation is one that should be found."""


@dataclass(frozen=True, slots=True)
class Night:
    """One run's figures; gains in units of true values, positive is better.

    Attributes:
        true: gain of the result over the baseline; `claimed` the one by the scores on the way.
        low, mean, high: the validated gain; None where nothing was validated.
        keeps: in the result; `false` of them are no gain.
        missed: gains beyond 2.5 standard deviations that were evaluated and not kept, of `findable`.
        experiments: decided, without the baseline.
        evaluations: all of the run; `repeats` those of candidates and incumbents beyond the first of each experiment: races
            and refreshes, without baseline, checkpoints and final comparison.
        most: evaluations of one experiment, with its part of the incumbent's.
        races: experiments with more than one evaluation.
    """

    true: float
    claimed: float
    low: float | None
    mean: float | None
    high: float | None
    keeps: int
    false: int
    missed: int
    findable: int
    experiments: int
    evaluations: int
    repeats: int
    most: int
    races: int

    @property
    def is_covered(self) -> bool | None:
        """Whether the validated interval holds the truth; None where there is none."""
        if self.low is None or self.high is None:
            return None
        slack = 1e-9 * max(1.0, abs(self.true))
        return self.low - slack <= self.true <= self.high + slack


def of_world(world: World, result: Result) -> Night:
    """The figures of a night in a world."""
    trials = result.history
    claimed = None if result.claimed is None else world.gain(result.claimed)
    gain = result.validated
    if gain is not None:
        gain = replace(gain, mean=world.gain(gain.mean), low=world.gain(gain.low), high=world.gain(gain.high))
    return of_experiments(trials.experiments, lambda n: float(trials[n].state[0]), world.noise.sd, claimed, gain)


def of_experiments(
    experiments: Sequence[Experiment], value: Callable[[int], float], sd: float, claimed: float | None, validated: Gain | None
) -> Night:
    """The figures of a run.

    Args:
        value: the true value of an experiment's candidate, larger is better.
        sd: of one evaluation, in the same unit.
    """
    tried = [e for e in experiments if e.n and e.decided and e.tree]
    line = [e for e in tried if e.kept and not e.rolled_back]
    effects = {e.n: value(e.n) - value(e.stands_on) for e in tried}
    findable = [e for e in tried if effects[e.n] > FINDABLE * sd]
    spent = [sum(m.phase in ("first", "race") for m in e.measurements) for e in tried]
    return Night(
        true=value(line[-1].n) - value(0) if line else 0.0,
        claimed=claimed or 0.0,
        low=validated.low if validated else None,
        mean=validated.mean if validated else None,
        high=validated.high if validated else None,
        keeps=len(line),
        false=sum(effects[e.n] <= 0 for e in line),
        missed=sum(not e.kept for e in findable),
        findable=len(findable),
        experiments=len(tried),
        evaluations=sum(len(e.measurements) for e in experiments),
        repeats=sum(spent) + sum(map(_refreshes, tried)) - sum(map(bool, spent)),
        most=max(spent, default=0),
        races=sum(s > 1 for s in spent),
    )


def _refreshes(e: Experiment) -> int:
    """The incumbent's runs between experiments that belong to no checkpoint."""
    between = [m for m in e.measurements if m.phase == "between"]
    return 0 if any(m.arm == "checkpoint" for m in between) else len(between)


# -- many nights -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over nights with its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.error:.2f}"


def mean(values: Iterable[float]) -> Mean:
    found = list(values)
    if not found:
        return Mean(math.nan, math.nan)
    middle = math.fsum(found) / len(found)
    variance = math.fsum((v - middle) ** 2 for v in found) / max(1, len(found) - 1)
    return Mean(middle, math.sqrt(variance / len(found)))


def lower_bound(hits: int, count: int, level: float = 0.95) -> float:
    """The exact one-sided lower bound of a share (Clopper and Pearson 1934): so many hits were no accident below it."""
    if not hits:
        return 0.0
    low, high = 0.0, hits / count
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(hits, count, middle) < 1 - level else (low, middle)
    return low


def tail(hits: int, count: int, share: float) -> float:
    """The chance of at least so many hits."""
    if share in (0.0, 1.0):
        return float(share)
    return math.fsum(math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(hits, count + 1))
