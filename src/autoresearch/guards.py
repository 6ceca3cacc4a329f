"""Guards: further metrics with bounds, judged with a tolerance for their own noise.

A candidate is looked at twice: after its first run, before anything more is spent on it, and before it is kept, by the mean of
all its runs. What is relative is so to the original baseline, whose own runs tell the guard's noise.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoresearch.records import Experiment

_DEVIATIONS = 2.0
_ROUNDING = 1e-12  # a loss of 2 % is one of at most 2 %, and a mean of 0.90 and 0.92 is at least 0.91

Values = Sequence[Mapping[str, float]]
"""Metric values by name, one mapping a run."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A guard.

    Attributes:
        low, high: where it has to stay, in its own unit.
        worse: how much worse than the original baseline it may be, in its unit or, if `relative`, as a fraction of that.
        sign: 1 where larger is better, -1 where smaller is; means something for `worse` only.
    """

    name: str
    low: float = -math.inf
    high: float = math.inf
    worse: float | None = None
    relative: bool = False
    sign: int = -1

    def allowed(self, baseline: float) -> float:
        """The largest loss, in its unit."""
        return (self.worse or 0.0) * (abs(baseline) if self.relative else 1.0)


def first_broken(bounds: Sequence[Bound], e: Experiment, baseline: Experiment, *, strict: bool) -> str:
    """In which words a candidate breaks a guard, `` if it breaks none.

    Args:
        strict: it would be kept: all its runs count, and `min` and `max` hold for their mean. Else only its first run counts,
            with the benefit of the noise.
    """
    ok = [m for m in e.own if m.ok]
    ok = ok if strict else [m for m in ok if m.phase == "first"] or ok
    base = [m for m in baseline.own if m.ok]
    found = (broken(b, [m.values for m in ok], [m.values for m in base], strict=strict) for b in bounds)
    words = next((w for w in found if w), "")
    machines = {m.machine for m in (*ok, *base) if m.machine}
    return f"{words} (measured on different machines)" if words and len(machines) > 1 else words


def broken(bound: Bound, runs: Values, baseline: Values, *, strict: bool) -> str:
    """In which words a guard is broken by runs of a candidate, `` if it is not.

    Args:
        strict: `min` and `max` hold for the mean as it is, else with two of its standard errors beyond them.
    """
    found = _of(bound, runs)
    if len(found) < len(runs) or not found:
        some = f" in {len(runs) - len(found)} of {len(runs)} runs" if found else ""
        return f"{bound.name} was not reported{some}"
    base = _of(bound, baseline)
    sd, mean = noise(base), _mean(found)
    slack = 0.0 if strict else _DEVIATIONS * sd / math.sqrt(len(found))
    slack += _ROUNDING * abs(mean) if len(set(found)) > 1 else 0.0
    if mean < bound.low - slack:
        return f"{_shown(bound, found, bound.low)}, below {bound.low:g}"
    if mean > bound.high + slack:
        return f"{_shown(bound, found, bound.high)}, above {bound.high:g}"
    return _broken_to_baseline(bound, found, base, sd)


def _broken_to_baseline(bound: Bound, found: Sequence[float], base: Sequence[float], sd: float) -> str:
    if bound.worse is None or not base:
        return ""
    middle = _mean(base)
    loss, allowed = bound.sign * (middle - _mean(found)), bound.allowed(middle)
    slack = _DEVIATIONS * sd * math.sqrt(1 / len(found) + 1 / len(base))
    rounding = _ROUNDING * (abs(middle) + allowed) if allowed else 0.0
    if loss <= allowed + slack + rounding:
        return ""
    per_cent = bound.relative and middle != 0
    scale, unit = (100 / abs(middle), " %") if per_cent else (1.0, "")
    most = f"at most {allowed * scale:.3g}{unit} is allowed" if allowed else "no loss is allowed"
    tolerance = f" (its noise: ±{slack * scale:.2g}{unit})" if slack else ""
    shown = _shown(bound, found, middle)
    return f"{shown}: {loss * scale:.3g}{unit} worse than the baseline's {middle:g}, {most}{tolerance}"


def noise(values: Sequence[float]) -> float:
    """The standard deviation of one run, a little larger while it rests on few; 0 if all agree or there is one."""
    if len(set(values)) < 2:
        return 0.0
    return statistics.stdev(values) * (1 + 1 / (len(values) - 1))


def doubt(bound: Bound, baseline: Values) -> str:
    """In which words a guard's own spread is too large for the loss it allows, `` if it is not."""
    base = _of(bound, baseline)
    if not bound.worse or len(base) < 2:
        return ""
    sd, middle = statistics.stdev(base), _mean(base)
    allowed = bound.allowed(middle)
    if sd <= allowed:
        return ""
    per_cent = bound.relative and middle != 0
    spread = f"{100 * sd / abs(middle):.2g} %" if per_cent else f"{sd:.3g}"
    wanted = f"{100 * bound.worse:.3g} %" if bound.relative else f"{bound.worse:g}"
    return (
        f"guard {bound.name}: worse = {wanted}, but its own spread is {spread}: a loss of that size cannot be told from the "
        "noise. Allow more, or make the evaluation steadier"
    )


def _of(bound: Bound, runs: Values) -> list[float]:
    return [values[bound.name] for values in runs if bound.name in values]


def _mean(values: Sequence[float]) -> float:
    """The mean, and for values that agree that value to the last bit."""
    return values[0] if len(set(values)) == 1 else statistics.fmean(values)


def _shown(bound: Bound, found: Sequence[float], limit: float) -> str:
    mean = _mean(found)
    number = f"{mean:g}" if f"{mean:g}" != f"{limit:g}" else f"{mean:.12g}"
    of = f" (mean of {len(found)})" if len(set(found)) > 1 else ""
    return f"{bound.name} is {number}{of}"
