"""Is a gain too good to be true? Held until a clean clone confirms it.

A clean clone is a tree laid out anew from git, with empty caches and a build of its own. What is better than the task's
physical limit is never kept: the evaluation there only tells whether it can be repeated.
"""

from __future__ import annotations

import math

from autoresearch.bench import Bench
from autoresearch.books import Books, Options
from autoresearch.contracts import Settings
from autoresearch.records import Experiment, Kind, Measure, Measurement, Outcome, Verdict

_SHARE = 0.5
"""Of the claimed gain, as a logarithm, the clean value has to show at least so much."""


async def confirm(books: Books, bench: Bench, n: int, verdict: Verdict) -> Verdict | None:
    """The verdict that is in the way of keeping experiment n, or None."""
    options, bar, value = books.options, books.history.incumbent.value, verdict.value
    if bar is None or value is None:
        return None
    above, factor = _is_beyond(value, options), _factor(bar, value, options.settings)
    jumped = bool(options.jump) and factor is not None and factor > options.jump
    if not above and not jumped:
        return None
    clean = await _clean(books, bench, n)
    if clean.outcome is Outcome.TAMPERING:
        return Verdict(Kind.INVALID, "tampering", clean.words)
    found = clean.values.get(options.settings.metric) if clean.ok else None
    if found is None:
        return _implausible(f"{_claim(value, bar, options)}, and in a clean clone it failed: {clean.words}")
    if above:
        return _implausible(_beyond(value, found, options))
    assert factor is not None
    times = f"{_claim(value, bar, options)} ({factor:.3g} times better, more than [metric] jump = {options.jump:g})"
    if not _holds(bar, value, found, options.settings):
        return _implausible(f"{times}, but {found:.6g} in a clean clone")
    words = f"confirmed in a clean clone: {found:.6g}; {times}"
    if words not in books.experiment(n).notes:
        books.note(n, "confirmed", words=words)
    return None


async def _clean(books: Books, bench: Bench, n: int) -> Measurement:
    """The candidate's evaluation in a clean clone; one that a killed session made counts."""
    e = books.experiment(n)
    known = _of_present(e)
    if known is not None:
        return known
    return await bench.measure(n, Measure(of=n, arm="candidate", seed=e.own[0].seed, phase="confirm"))


def _of_present(e: Experiment) -> Measurement | None:
    return next((m for m in e.measurements[e.base :] if m.phase == "confirm"), None)


def _implausible(words: str) -> Verdict:
    return Verdict(Kind.INVALID, "implausible", words)


def _claim(value: float, bar: float, options: Options) -> str:
    return f"{options.settings.metric} is {value:.6g} against {bar:.6g}"


def _is_beyond(value: float, options: Options) -> bool:
    sign = options.settings.sign()
    return options.limit is not None and sign * value > sign * options.limit


def _beyond(value: float, clean: float, options: Options) -> str:
    """Why what is better than the limit is not kept."""
    claim = f"{options.settings.metric} is {value:.6g}, better than [metric] limit {options.limit:g}"
    if not _is_beyond(clean, options):
        return f"{claim}, but {clean:.6g} in a clean clone: it cannot be repeated there"
    return f"{claim}, also in a clean clone: what no honest value can be; if the limit is wrong, start a run with another"


def _factor(bar: float, value: float, settings: Settings) -> float | None:
    """By which factor a value is better than the bar; None where it is none, or one of them is 0 or of another sign."""
    if bar * value <= 0 or settings.sign() * (value - bar) <= 0:
        return None
    return max(bar / value, value / bar)


def _holds(bar: float, value: float, clean: float, settings: Settings) -> bool:
    """Whether a clean value shows enough of the gain that was claimed."""
    factor, claimed = _factor(bar, clean, settings), _factor(bar, value, settings)
    assert claimed is not None
    if factor is None:  # no gain, or one past 0, which is more than any factor
        return settings.sign() * (clean - value) >= 0
    return math.log(factor) >= _SHARE * math.log(claimed)
