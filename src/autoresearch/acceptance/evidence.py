"""The evidence in a candidate's runs: a Bayes factor of some gain against none, and what the gain is then expected to be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch.acceptance.level import CLIP, Track

LUCKY = 1.5
"""A candidate's first run, by which it was chosen, counts for at most so many deviations once there are more."""


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation for an experiment: of the candidate or of the incumbent, as an oriented number, at its time."""

    candidate: bool
    value: float
    at: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """Level and gain after some runs, with their (co)variances in units of the noise's variance."""

    level: float
    gain: float
    level_variance: float
    gain_variance: float
    covariance: float

    def candidate_next(self, walk: float) -> float:
        """What the gain's variance would be with one more run of the candidate."""
        total = self.level_variance + walk + 2 * self.covariance + self.gain_variance + 1
        return self.gain_variance - (self.covariance + self.gain_variance) ** 2 / total

    def incumbent_next(self, walk: float) -> float:
        return self.gain_variance - self.covariance**2 / (self.level_variance + walk + 1)


def estimate(start: Track, last: int, sd: float, drift: float, runs: Sequence[Run]) -> Estimate:
    """Filter the runs of an experiment, the candidate's first, from where the incumbent stood at its `last` run before it."""
    level, a, d, b, c, then = start.mean, start.variance, 0.0, 0.0, 0.0, last  # c: the covariance of level and gain
    for i, run in enumerate(runs):
        a += drift * (run.at - then)
        then = run.at
        reach = CLIP * math.sqrt(a + 1) * sd
        if not run.candidate:
            total = a + 1
            error = max(-reach, min(reach, run.value - level))
            level, d = level + a / total * error, d + c / total * error
            a, b, c = a - a * a / total, b - c * c / total, c - a * c / total
            continue
        high = LUCKY * math.sqrt(a + 1) * sd if not i and len(runs) > 1 else reach
        value = level + max(-reach, min(high, run.value - level))
        if not i:
            d, b, c = value - level, a + 1, -a
            continue
        total = a + 2 * c + b + 1
        error, k, m = value - level - d, (a + c) / total, (c + b) / total
        level, d = level + k * error, d + m * error
        a, b, c = a - k * (a + c), b - m * (c + b), c - k * (c + b)
    return Estimate(level, d, a, b, c)


@dataclass(frozen=True, slots=True)
class Weighed:
    """How the evidence stands.

    Attributes:
        factor: logarithm of the Bayes factor of an exponentially distributed gain against none.
        gain: the expected gain, if there is one.
    """

    factor: float
    gain: float

    def probability(self, prior: float) -> float:
        """Of a gain."""
        return 1 / (1 + (1 - prior) / prior * math.exp(-min(self.factor, 300.0)))


def weigh(gain: float, error: float, mean: float) -> Weighed:
    """Weigh an estimated gain with its standard error; `mean` is that of the gains to be expected."""
    z = gain / error - error / mean
    log_tail = _log_normal_tail(z)
    hazard = math.exp(-z * z / 2 - 0.5 * math.log(2 * math.pi) - log_tail)
    factor = 0.5 * math.log(2 * math.pi) + math.log(error / mean) + z * z / 2 + log_tail
    return Weighed(factor, error * (z + hazard))


def _log_normal_tail(z: float) -> float:
    """The logarithm of the normal distribution function, also far below 0."""
    if z > -6:
        return math.log(0.5 * math.erfc(-z / math.sqrt(2)))
    series = 1 - 1 / z**2 + 3 / z**4 - 15 / z**6
    return -z * z / 2 - math.log(-z) - 0.5 * math.log(2 * math.pi) + math.log(series)
