"""What a run can come to, said once the baseline is measured and before the first experiment."""

from __future__ import annotations

from collections.abc import Iterable

from autoresearch.books import Options
from autoresearch.history import History
from autoresearch.records import Method
from autoresearch.text import counted

HOPELESS = 0.25
"""A night in which only gains beyond this share of the metric can be seen is not likely to find any."""
FEW = 10
"""Experiments that are too few to find much."""


def prospects(history: History, options: Options) -> list[str]:
    """What is kept for the final comparison, and why the run may come to nothing; one line each."""
    method, base = history.agenda.method, history.experiments[0]
    if method is None or base.value is None:
        return []
    each_s = sum(m.duration_s for m in base.own) / len(base.own)
    return [*_final(method, options), *_hopeless(method, base.value, options), *_few(method, options, each_s, len(base.own))]


def _final(method: Method, options: Options) -> Iterable[str]:
    where = " on held-out" if options.held_out is not None else ""
    if method.pairs and (where or method.rule != "exact"):
        yield f"{counted(2 * method.pairs, 'evaluation')} kept for the final comparison{where}"
    elif not method.pairs:
        yield "the budget is too small for a final comparison: the result will not be validated (autoresearch validate)"


def _hopeless(method: Method, base: float, options: Options) -> Iterable[str]:
    detectable, target = method.detectable, options.target
    if not detectable or method.seeded:  # under common seeds less is hidden than one run's noise says
        return
    better = "make an evaluation longer, or let it take the mean over several seeds"
    if target is not None and 0 < options.settings.sign() * (target - base) < detectable:
        away = f"the target is {abs(target - base):.2g} away, less than the noise lets through ({detectable:.2g})"
        yield f"this cannot succeed but by a larger gain: {away}; {better}"
    elif base and detectable > HOPELESS * abs(base):
        yield f"this is not likely to succeed: only gains above {100 * detectable / abs(base):.0f} % can be seen; {better}"


def _few(method: Method, options: Options, each_s: float, measured: int) -> Iterable[str]:
    reach = options.settings.reach
    left = [] if reach.evaluations is None else [float(reach.evaluations)]
    left += [] if reach.time_s is None else [reach.time_s / max(each_s, 1e-6)]
    count = int(min(left, default=float("inf")) - measured - 2 * method.pairs) if left else None
    if count is not None and count < FEW:
        yield f"the budget pays for about {counted(max(0, count), 'experiment')}: too few to find much"
