"""What the evaluations of unchanged code tell: noise, drift, outliers, and what the usual loop would have made of them."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch.noise import DETECTABLE
from autoresearch.records import Direction

_MAD = 1.4826  # makes the median absolute deviation an estimate of a Gaussian's standard deviation
_OUT = 3.5  # modified z-score above which a value is an outlier
_LEAST = 5  # values before drift and outliers are spoken of
_EXTRA_S = 15 * 60.0  # three more evaluations may take as long


@dataclass(frozen=True, slots=True)
class Spread:
    """Noise of a metric over evaluations of the same code, in the order in which they were made.

    Attributes:
        sd: sample standard deviation; 0 for an exact metric, None of one value.
        relative: sd over the mean's size, None where that is 0.
        trend: change from first to last by a robust line (Theil 1950, Sen 1968), in the metric's unit; None below five.
        correlation: of each value with the next, None below five.
        outliers: places in the list, by the modified z-score (Iglewicz and Hoaglin 1993).
        detectable: the smallest gain with about 80 % chance of a keep: 2.5 sd (reference/statistics.md, section 3.3).
    """

    values: tuple[float, ...]
    sd: float | None = None
    relative: float | None = None
    trend: float | None = None
    correlation: float | None = None
    drifts: bool = False
    outliers: tuple[int, ...] = ()
    detectable: float | None = None

    @property
    def exact(self) -> bool:
        return len(self.values) > 1 and len(set(self.values)) == 1


@dataclass(frozen=True, slots=True)
class Greedy:
    """What a loop that keeps whatever is better in one run would have made of evaluations of unchanged code.

    Attributes:
        keeps: changes it would have kept, none of which exists; `claimed` their gain, in the metric's unit.
    """

    keeps: int
    claimed: float
    relative: float | None


def spread(values: Sequence[float]) -> Spread:
    """Describe the noise of some values."""
    if len(values) < 2:
        return Spread(tuple(values))
    sd, mean = statistics.stdev(values), statistics.fmean(values)
    relative = sd / abs(mean) if mean else None
    if len(set(values)) == 1:
        return Spread(tuple(values), 0.0, 0.0, detectable=0.0)
    trend = correlation = None
    drifts = False
    if len(values) >= _LEAST:
        trend, correlation = _slope(values) * (len(values) - 1), _autocorrelation(values)
        drifts = _is_trend(values) or correlation > 1.96 / math.sqrt(len(values))
    detectable = DETECTABLE * sd * (1 + 1 / (len(values) - 1))  # as sd is estimated from few values: section 3.2
    return Spread(tuple(values), sd, relative, trend, correlation, drifts, _outliers(values), detectable)


def greedy(values: Sequence[float], direction: Direction) -> Greedy:
    """Play the usual loop on evaluations of unchanged code: the first is its baseline, each better one is kept."""
    sign = 1 if direction == "maximize" else -1
    best, keeps = values[0], 0
    for value in values[1:]:
        if sign * (value - best) > 0:
            best, keeps = value, keeps + 1
    claimed = sign * (best - values[0])
    return Greedy(keeps, claimed, claimed / abs(values[0]) if values[0] else None)


def more(values: Sequence[float], durations: Sequence[float]) -> int:
    """How many more evaluations show the noise: three where two differ, fewer where they are long."""
    if len(set(values)) <= 1:
        return 0
    return min(3, max(1, int(_EXTRA_S // max(*durations, 0.001))))


def _slope(values: Sequence[float]) -> float:
    """Theil and Sen: the median of the slopes of all pairs."""
    n = len(values)
    return statistics.median((values[j] - values[i]) / (j - i) for i in range(n) for j in range(i + 1, n))


def _is_trend(values: Sequence[float]) -> bool:
    """Mann and Kendall's test at 5 %, two-sided, in its normal approximation without ties."""
    n = len(values)
    s = sum((values[j] > values[i]) - (values[j] < values[i]) for i in range(n) for j in range(i + 1, n))
    return abs(s) - 1 > 1.96 * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)


def _autocorrelation(values: Sequence[float]) -> float:
    mean = statistics.fmean(values)
    total = sum((v - mean) ** 2 for v in values)
    return sum((a - mean) * (b - mean) for a, b in itertools.pairwise(values)) / total if total else 0.0


def _outliers(values: Sequence[float]) -> tuple[int, ...]:
    if len(values) < _LEAST:
        return ()
    middle = statistics.median(values)
    mad = statistics.median(abs(v - middle) for v in values)
    if not mad:
        return ()
    return tuple(i for i, v in enumerate(values) if abs(v - middle) / (_MAD * mad) > _OUT)
