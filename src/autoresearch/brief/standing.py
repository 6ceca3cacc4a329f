"""Where a run stands: the line of keeps, what is under way beside this experiment, the counts."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from autoresearch.brief.attempts import Tried
from autoresearch.brief.manner import Manner
from autoresearch.brief.parts import Item, Part
from autoresearch.contracts import Brief
from autoresearch.fenced import line
from autoresearch.records import Experiment
from autoresearch.report import counts, show_change, show_counts, show_number


def standing(tried: Tried) -> Part:
    """The keeps that the incumbent stands on, one line each, oldest first; where room is short the oldest ones go."""
    rows = [Item((_keep(e, tried),), e.n, e.n) for e in reversed(tried.kept)]
    return Part("standing", 0.15, [Item((f"- 0: {show_number(tried.view.baseline.value)}: the baseline",)), *rows])


def _keep(e: Experiment, tried: Tried) -> str:
    change = show_change(e.value, tried.view.bar(e))
    lines = f"{e.lines:+d} line{'' if abs(e.lines) == 1 else 's'}".replace("-", "−") if e.lines else ""
    parts = [part for part in (f"{change} against {e.stands_on}" if change else "", _pairs(e, tried), lines) if part]
    kind = f" [{e.mutation}]" if e.mutation else ""
    return f"- {e.n}: {show_number(e.value)} ({', '.join(parts)}){kind}: {line(e.description)}"


def _pairs(e: Experiment, tried: Tried) -> str:
    """The gains of a race, from the smallest to the largest, where there was one."""
    sign = 1 if tried.direction == "maximize" else -1
    race = [m for m in e.measurements[e.base :] if m.phase == "race" and m.ok]
    found = [
        (a, b) if a.of == e.n else (b, a) for a, b in pairwise(race) if a.seed == b.seed and (a.of == e.n) != (b.of == e.n)
    ]
    gains = [round(sign * (a.values[tried.metric] - b.values[tried.metric]), 12) for a, b in found]
    if len(gains) < 2:
        return ""
    return f"gain {show_number(min(gains))} to {show_number(max(gains))} in {len(gains)} pairs".replace("-", "−")


def under_way(brief: Brief, manner: Manner) -> Part:
    """What others propose meanwhile: numbers and kinds of change, which are known when they are asked.

    Whoever drives may be told more, since what he is told need not be the same again: what they are about, and what waits.
    """
    items = [Item((_beside(e, brief, manner),), place=e.n) for e in brief.view.pending if 0 < e.n < brief.n]
    items += [Item((f"- {line(row)}",), place=brief.n + i) for i, row in enumerate(manner.queue)]
    return Part("under_way", 0.05 if manner.driving else 0.02, items)


def _beside(e: Experiment, brief: Brief, manner: Manner) -> str:
    plan = brief.view.plan(e)
    kind = f" [{plan.mutation}]" if plan.mutation else ""
    about = f": {line(e.description)}" if manner.driving and e.description else ""
    return f"- {e.n}: on {plan.parents[0]}{kind}{about}"


def summary(tried: Tried) -> Part:
    """All experiments in two lines, for a fresh look."""
    view = tried.view
    first = show_counts(counts(view))
    kinds = Counter(e.mutation for e in view if e.mutation)
    told = ", ".join(f"{name} {count}" for name, count in sorted(kinds.items()))
    rows = [f"- {first}", *([f"- kinds of change: {told}"] if told else [])]
    return Part("standing", 0.05, [Item((row,), place=i) for i, row in enumerate(rows)])
