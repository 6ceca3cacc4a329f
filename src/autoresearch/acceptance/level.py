"""Where the incumbent stands, from all of its runs, on a machine that may drift: a local level filter.

The level is a random walk seen through noise (West and Harrison 1997, chapter 2), filtered for several strengths of the walk
side by side; the strength under which the runs were most likely counts. The noise is the scale of Student's t of the runs'
surprises, so outliers neither move the level far nor blow the noise up. Time is counted in evaluations, in the order of
decisions.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace

DRIFTS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Variance of the walk in one evaluation, in units of the noise's variance."""
USUAL = 2
"""The strength that needs no evidence: the others need `PENALTY` of log likelihood for each step away."""
PENALTY = 0.3
FREEDOM = 5.0
"""Degrees of freedom of the t distribution by which the noise is estimated."""
CONSISTENT = 0.8566209
"""The scale of that distribution fitted to Gaussian noise of deviation 1."""
CLIP = 2.5
"""A run moves the level as if it were at most so many deviations away."""
MEMORY = 120
"""Surprises that are remembered: the noise changes as the code does."""
_LEAST, _TRIMMED = 0.25, 0.1
# of their root mean square without the largest tenth: where most surprises are ties, the fitted scale collapses


@dataclass(frozen=True, slots=True)
class Track:
    """The level under one strength of the drift.

    Attributes:
        mean, variance: of the level; the variance in units of the noise's.
        surprises: standardised but for the noise, with the logarithm of what they were divided by.
        scale: fitted to them.
    """

    mean: float
    variance: float
    surprises: tuple[tuple[float, float], ...] = ()
    scale: float = 0.0

    def seen(self, value: float, walk: float, *, clip: bool) -> Track:
        """With one more run, after the level has walked with that variance."""
        variance = self.variance + walk
        total = variance + 1
        error = value - self.mean
        surprise = (error / math.sqrt(total), 0.5 * math.log(total))
        if clip:
            limit = CLIP * self.scale * math.sqrt(total)
            error = max(-limit, min(limit, error))
        mean = self.mean + variance / total * error
        return Track(mean, variance / total, (*self.surprises, surprise)[-MEMORY:], self.scale)

    def surprised(self, surprise: float) -> Track:
        """With a surprise that tells of the noise alone."""
        return replace(self, surprises=(*self.surprises, (surprise, 0.0))[-MEMORY:])

    def fitted(self) -> Track:
        return replace(self, scale=fit([u for u, _ in self.surprises], self.scale))

    def likelihood(self) -> float:
        """The logarithm of how likely the surprises are, but for a constant."""
        scale = self.scale or 1e-300
        known = -sum(log for _, log in self.surprises) - len(self.surprises) * math.log(scale)
        tail = sum(math.log1p((u / scale) ** 2 / FREEDOM) for u, _ in self.surprises)
        return known - (FREEDOM + 1) / 2 * tail


def fit(values: Sequence[float], guess: float = 0.0) -> float:
    """The scale of Student's t around 0 that makes the values most likely (Lange, Little and Taylor 1989)."""
    squares = sorted(v * v for v in values)
    rms = math.sqrt(math.fsum(squares) / len(values))
    if not rms:
        return 0.0
    inner = squares[: -math.ceil(_TRIMMED * len(squares))]
    least = _LEAST * (math.sqrt(math.fsum(inner) / max(1, len(inner))) or rms)
    scale = guess or rms
    for _ in range(30):
        weighted = math.fsum((FREEDOM + 1) * v * v / (FREEDOM + (v / scale) ** 2) for v in values)
        new = math.sqrt(weighted / len(values))
        close = abs(new - scale) <= 1e-7 * scale
        scale = new
        if close or scale < least:
            break
    return max(scale, least)


@dataclass(slots=True)
class Level:
    """The incumbent's level as of some evaluation.

    Attributes:
        tracks: one for each of `DRIFTS`; `chosen` is the likeliest.
        now: evaluations so far; `last` when the incumbent was run last.
        since: experiments since then.
        gains: of the last keeps.
        left: level and variance of those that were incumbents before, for roll-backs.
    """

    tracks: tuple[Track, ...]
    chosen: int = USUAL
    now: int = 1
    last: int = 1
    since: int = 0
    learning: bool = True  # the baseline's runs: nothing is clipped yet
    gains: deque[float] = field(default_factory=lambda: deque(maxlen=10))
    left: dict[int, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, baseline: Sequence[float]) -> Level:
        """From the baseline's values, two or more, in the order in which they were measured."""
        level = cls((Track(baseline[0], 1.0),) * len(DRIFTS))
        for value in baseline[1:]:
            level.run(value)
        level.learning = False
        level.fit()
        return level

    def apart(self) -> Level:
        """A copy that can be taken further."""
        return replace(self, gains=copy(self.gains), left=dict(self.left))

    @property
    def mean(self) -> float:
        return self.tracks[self.chosen].mean

    @property
    def variance(self) -> float:
        return self.tracks[self.chosen].variance

    @property
    def drift(self) -> float:
        return DRIFTS[self.chosen]

    @property
    def sd(self) -> float:
        """The noise of one evaluation, a little larger while it rests on few."""
        track = self.tracks[self.chosen]
        return track.scale / CONSISTENT * (1 + 0.5 / max(1, len(track.surprises)))

    def run(self, value: float) -> None:
        """The incumbent was measured."""
        self.now += 1
        waited = self.now - self.last
        clip = not self.learning
        self.tracks = tuple(t.seen(value, q * waited, clip=clip) for t, q in zip(self.tracks, DRIFTS, strict=True))
        self.last, self.since = self.now, 0

    def surprise(self, surprise: float) -> None:
        """A difference between runs of one candidate: it tells of the noise."""
        self.tracks = tuple(t.surprised(surprise) for t in self.tracks)

    def fit(self) -> None:
        """Estimate noise and drift anew."""
        self.tracks = tuple(t.fitted() for t in self.tracks)
        found = [t.likelihood() - PENALTY * abs(i - USUAL) for i, t in enumerate(self.tracks)]
        self.chosen = found.index(max(found))

    def move(self, n: int, mean: float, variance: float, before: int) -> None:
        """Experiment n is the incumbent from here on."""
        self.left[before] = self.mean, self.variance
        self.left.pop(n, None)
        self.tracks = tuple(replace(t, mean=mean, variance=variance) for t in self.tracks)
        self.last, self.since = self.now, 0
