"""Gains of pairs, and what they say together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from autoresearch.records import Gain

FEWEST, MOST = 3, 8
"""Pairs of a final comparison."""
T95 = {2: 2.919986, 3: 2.353363, 4: 2.131847, 5: 2.015048, 6: 1.943180, 7: 1.894579}
"""The 95 % quantile of Student's t by degrees of freedom: the ends of a two-sided 90 % interval."""


def interval(gains: Sequence[float]) -> Gain:
    """The mean of the gains of 3 to 8 pairs with its 90 % t interval; one pair has no width."""
    mean = statistics.fmean(gains)
    half = 0.0
    if len(gains) > 1:
        half = T95[len(gains) - 1] * statistics.stdev(gains) / math.sqrt(len(gains))
    return Gain(mean, mean - half, mean + half, len(gains))


def is_first(pair: int, second: int, *, first: bool = True) -> bool:
    """Whether the candidate's arm comes now, where the order alternates: AB, BA, AB, …"""
    return ((pair % 2 == 0) == (second == 0)) == first
