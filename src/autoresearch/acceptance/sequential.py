"""One race: how far pairs of candidate and incumbent are from an answer.

A sequential likelihood ratio test (Wald 1945) of a gain that noise allows to find against none; it gives up as soon as the
candidate looks no better than the incumbent, as in the quickest search over many sequences (Lai, Poor, Xin, Georgiadis 2011).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

GAIN = 1.5
"""The gain that is looked for, in standard deviations of one evaluation."""
CLIP = 3.0
"""A pair counts for at most so many of its standard deviations: no single lucky run keeps anything."""
SURE = 3.0
"""With a screen run far beyond the noise, one pair of so many standard deviations is enough."""


@dataclass(frozen=True, slots=True)
class LikelihoodRatio:
    """A race's constants, in the numbers that are compared.

    Attributes:
        sd: of the difference of a pair.
        smallest: the gain that is not enough; `look_for` beyond it is what is looked for.
        alpha: bound on the chance to keep what gains no more than the smallest.
        most: pairs at most.
    """

    sd: float
    smallest: float
    look_for: float
    alpha: float
    most: int

    def llr(self, gains: Sequence[float]) -> float:
        """The log likelihood ratio of what is looked for against the smallest gain."""
        clip = CLIP * self.sd
        total = sum(max(-clip, min(clip, g - self.smallest)) for g in gains)
        return (self.look_for * total - len(gains) * self.look_for**2 / 2) / self.sd**2

    def better(self, gains: Sequence[float], *, far: bool) -> bool | None:
        """Whether the candidate won, None while another pair is needed.

        Args:
            far: its screen run was far beyond the noise.
        """
        if not self.sd:  # nothing has ever differed: two pairs, which tell as well if that was wrong
            return None if len(gains) < min(2, self.most) else min(gains) > self.smallest
        if far and len(gains) == 1 and gains[0] - self.smallest >= SURE * self.sd:
            return True
        llr = self.llr(gains)
        if llr >= math.log(1 / self.alpha) and len(gains) > 1:
            return True
        return False if llr <= 0 or len(gains) >= self.most else None
