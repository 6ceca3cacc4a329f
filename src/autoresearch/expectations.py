"""How well proposers foresee what their changes do: the effects that they expect against the ones that were measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from autoresearch.history import View
from autoresearch.records import Experiment

LEAST = 3
"""Fewer expectations that could be compared are not judged."""


@dataclass(frozen=True, slots=True)
class Expectations:
    """What became of expected effects.

    Attributes:
        stated: experiments with an expected effect; `measured` of them came to a number, `kept` were kept.
        right: of those measured, how many changed the metric the way that was expected.
        ratio: the median of the measured effect over the expected one; 1 is as expected, below it less, below 0 the other way.
            None for fewer than three.
    """

    stated: int
    measured: int
    right: int
    kept: int
    ratio: float | None

    @property
    def words(self) -> str:
        """`12 expected effects: 7 of 10 measured went that way, 0.35 times what was expected at the median; 4 kept`."""
        share = "" if self.ratio is None else f", {_times(self.ratio)} at the median"
        went = f"{self.right} of {self.measured} measured went that way{share}" if self.measured else "none was measured"
        return f"{self.stated} expected effect{'' if self.stated == 1 else 's'}: {went}; {self.kept} kept"


def _times(ratio: float) -> str:
    return f"{ratio:.2g} times what was expected".replace("-", "−")


def effect(view: View, e: Experiment) -> float | None:
    """The measured relative change of the metric against what had to be beaten, with its sign; None without one."""
    gain, bar = view.gain(e), view.bar(e)
    if gain is None or not bar:
        return None
    return (gain if view.run.direction == "maximize" else -gain) / abs(bar)


def expectations(view: View) -> Expectations | None:
    """How well the expectations of a run did; None where nobody stated one."""
    found = list(_stated(view))
    if not found:
        return None
    pairs = [(e.expected or 0.0, made) for e in found if (made := effect(view, e)) is not None]
    ratios = [made / expected for expected, made in pairs]
    return Expectations(
        stated=len(found),
        measured=len(pairs),
        right=sum(ratio > 0 for ratio in ratios),
        kept=sum(e.kept and not e.rolled_back for e in found),
        ratio=statistics.median(ratios) if len(ratios) >= LEAST else None,
    )


def _stated(view: View) -> Iterator[Experiment]:
    return (e for e in view if e.n and e.expected and not (e.lost or e.quarantined))
