"""Which named kind of change is suggested for an experiment, and how far a plateau changes the question.

Kinds are chosen by probability matching (Thompson 1933): each gets a draw from what is known of its chance to be kept, and the
highest draw is asked for. What was longer ago counts for less, so that a kind that has run dry is left and one that failed
early comes again (discounted as in Raj and Kalyani 2017, Algorithm 1). A keep counts 1, one that gained less than the median
keep a half, anything else 0. Where we differ: the weights of `repair` start higher, since its chance passes.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from autoresearch.history import View
from autoresearch.mutations import BOLD, COMBINE, DIRECTIONS, ESCALATIONS, REPAIR, near_misses, to_repair
from autoresearch.records import Experiment

DECAY = 0.98
"""What each further experiment leaves of an older one's weight: half after 34."""

PRIOR = (0.5, 2.0)
"""Kept and not kept before anything was tried: one in five, worth two and a half experiments."""

REPAIR_PRIOR = (1.0, 1.0)

RECENT = 300
"""What is older counts for nothing any more."""

PATIENCE = 8
"""Experiments without a keep before the question changes, and again after as many.

A run that still keeps one in five has such a streak one time in six, one that keeps one in ten three times in seven: the first
step is cheap, and the fourth, a restart, comes to a run that keeps one in ten in one of thirty cases.
"""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The named kind of change, `` for none, and how far a plateau changes the question."""

    mutation: str = ""
    escalation: str = ""


def suggest(n: int, view: View, names: Collection[str], unread: Collection[str]) -> Suggestion:
    """What experiment n is to try: a pure function of what was known at its ask.

    Args:
        names: of the kinds of change that may be suggested.
        unread: names of proposers that take no notice of a suggestion.
    """
    rng = random.Random(f"{view.run.seed}/{n}/mutation")
    asked = [e for e in view[max(1, len(view) - RECENT) :] if _was_suggested(e, unread)]
    escalation = plateau(view, unread)
    if escalation == "restart" and len(keeps(view)) < 2:
        escalation = "fresh"  # there is no earlier keep
    if escalation == "fresh":
        return Suggestion("", escalation)
    ordinary = [name for name in names if name not in (COMBINE, REPAIR)]
    if escalation == "other":
        return Suggestion(_least_tried(ordinary, asked, rng), escalation)
    if escalation:
        bold = [name for name in ordinary if name in BOLD or name not in DIRECTIONS]
        return Suggestion(_drawn(bold or ordinary, asked, view, rng), escalation)
    possible = [name for name in names if _is_possible(name, n, view)]
    return Suggestion(_drawn(possible, asked, view, rng), escalation)


def _is_possible(name: str, n: int, view: View) -> bool:
    if name == COMBINE:
        return len(near_misses(view)) > 1
    return name != REPAIR or to_repair(view, n) is not None


def _was_suggested(e: Experiment, unread: Collection[str]) -> bool:
    """Whether an experiment tells something of the kind of change that was suggested for it."""
    assert e.verdict is not None
    delivered = not e.verdict.reason.startswith("proposer_")
    return bool(e.mutation) and delivered and not e.lost and e.origin is None and e.proposer not in unread


# -- what has worked ---------------------------------------------------------------------------------------------------


def _drawn(names: Sequence[str], asked: Sequence[Experiment], view: View, rng: random.Random) -> str:
    kept, lost = _weights(asked, view)
    best, found = -1.0, ""
    for name in names:
        a, b = REPAIR_PRIOR if name == REPAIR else PRIOR
        draw = rng.betavariate(a + kept.get(name, 0.0), b + lost.get(name, 0.0))
        if draw > best:
            best, found = draw, name
    return found


def _weights(asked: Sequence[Experiment], view: View) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """By kind of change how much was kept, and how much was not, the older the less."""
    kept: dict[str, float] = {}
    lost: dict[str, float] = {}
    middle = _median_gain(view)
    for e in asked:
        weight, credit = DECAY ** (len(view) - 1 - e.n), _credit(e, view, middle)
        kept[e.mutation] = kept.get(e.mutation, 0.0) + weight * credit
        lost[e.mutation] = lost.get(e.mutation, 0.0) + weight * (1 - credit)
    return kept, lost


def _median_gain(view: View) -> float:
    gains = [g for e in keeps(view)[1:] if (g := view.gain(e)) is not None]
    return statistics.median(gains) if gains else 0.0


def _credit(e: Experiment, view: View, middle: float) -> float:
    if e.rolled_back or not (e.kept or e.held):
        return 0.0
    gain = view.gain(e)
    return 1.0 if gain is not None and gain >= middle else 0.5


def _least_tried(names: Sequence[str], asked: Sequence[Experiment], rng: random.Random) -> str:
    tried = {name: sum(e.mutation == name for e in asked) for name in names}
    least = min(tried.values(), default=0)
    return rng.choice([name for name in names if tried[name] == least]) if names else ""


# -- plateaus ----------------------------------------------------------------------------------------------------------


def keeps(view: View) -> list[Experiment]:
    """The line of incumbents, baseline first."""
    return [e for e in view if (e.kept and not e.rolled_back) or not e.n]


def plateau(view: View, unread: Collection[str]) -> str:
    """How far the question changes: by how many experiments could have been kept since the last keep, and were not."""
    since = 0
    for e in reversed(view[1:]):
        if e.kept and not e.rolled_back:
            break
        since += _could_be_kept(e, unread)
    return "" if since < PATIENCE else ESCALATIONS[(since // PATIENCE - 1) % len(ESCALATIONS)]


def _could_be_kept(e: Experiment, unread: Collection[str]) -> bool:
    assert e.verdict is not None
    return not e.lost and not e.verdict.reason.startswith("proposer_") and e.proposer not in unread and e.origin is None


def earlier_keep(n: int, view: View) -> int:
    """From which keep before the incumbent a restart begins: one back half of the time, two a quarter, and so on."""
    line = [e.n for e in keeps(view) if e.n != view.incumbent.n]
    rng = random.Random(f"{view.run.seed}/{n}/restart")
    back = 1
    while back < len(line) and rng.random() < 0.5:
        back += 1
    return line[-back]
