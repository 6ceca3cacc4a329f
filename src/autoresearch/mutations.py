"""Named kinds of change: what a proposer that reads is asked to try, and what of a run there is to combine and to repair.

Which one is suggested, and how often, is the strategy's business; how it is put to a proposer is the brief's.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from autoresearch.history import View
from autoresearch.records import Experiment, Kind

if TYPE_CHECKING:
    from autoresearch.taskfile.schema import Task

TWEAK, COMBINE, REPAIR = "tweak", "combine", "repair"

DIRECTIONS = {
    TWEAK: "Change one constant that the result depends on: a size, a rate, a threshold, a limit, a wording that works like "
    "one. Say why the present value is on the wrong side.",
    "structure": "Change how the thing is built rather than how it is set: another algorithm, data structure, layout, order of "
    "steps or division of the work. Leave the constants as they are unless the new form needs others.",
    "regularise": "Make the solution hold up better beyond what it was fitted to: bound what can grow, smooth, average, damp, "
    "or take away what only fits an accident of the present data or load.",
    "swap": "Take one component out and put another in its place that does the same job in a different way: a function, a "
    "library call, an index, a formula, a step of the procedure. Everything around it stays.",
    "schedule": "Change when and in which amounts things happen: what grows or shrinks over the course, warm-up and cool-down, "
    "order, batching, caching, laziness, what is done early and what late.",
    "remove": "Take something away: code, a step, a feature, a sentence that does not earn its place. What is left has to be "
    "simpler and at least as good.",
    COMBINE: "Put two or more near misses together that do not stand in each other's way: each was almost good enough alone, "
    "and their gains may add up.",
    REPAIR: "Mend an idea that failed: find what broke it, or which guard or check it broke, keep the idea, and make the "
    "smallest change with which it works.",
}
"""One or two sentences each, for any domain."""

CONDITIONAL = frozenset({COMBINE, REPAIR})
"""Only suggested where the run has something to combine or to repair."""

BOLD = ("structure", "swap", "schedule", "remove", "regularise")
"""Those that change more than a setting."""

ESCALATIONS = ("other", "bold", "fresh", "restart")
"""How a plateau changes the question, in this order: operations that were tried least; only bold ones; a fresh look at the
whole problem; from an earlier keep on."""

RECENT = 60
"""Near misses are looked for among so many experiments."""

REPAIRABLE = 8
"""What failed longer ago is not repaired."""


def directions(task: Task) -> dict[str, str]:
    """What each kind of change means in this task, by name: ours, then the task's own, which go before ours of the same name.

    A name that the task gives an empty sentence is not suggested at all.
    """
    return {name: words for name, words in {**DIRECTIONS, **task.brief.mutations}.items() if words.strip()}


def near_misses(view: View) -> list[Experiment]:
    """Measured changes that lost by little against what they had to beat, newest first.

    By little is by no more than two standard deviations of one evaluation, or half of what a keep of this run usually gains;
    of times, as shares of them.
    Settings of a search over constants are none, nor what was kept when it was tried again, nor a tie of an exact metric, which
    has no effect.
    """
    gains = [g / view.scale(e) for e in view if e.n and e.kept and (g := view.gain(e)) is not None and g > 0]
    reach = max(2 * view.noise_sd, statistics.median(gains) / 2 if gains else 0.0)
    again = {e.origin for e in view if e.kept}
    found = [e for e in view[max(1, len(view) - RECENT) :] if _lost(e) and not e.settings and e.n not in again]
    found = [e for e in found if not (view.exact and e.verdict is not None and e.verdict.reason == "tie")]
    return [e for e in reversed(found) if (g := view.gain(e)) is not None and -reach * view.scale(e) <= g]


def _lost(e: Experiment) -> bool:
    return e.verdict is not None and not e.lost and e.verdict.reason in ("tie", "worse", "screened")


def to_repair(view: View, n: int) -> Experiment | None:
    """The newest failure that experiment n may repair: a promising idea on the incumbent, of which no repair was asked yet.

    Promising is what measured better than the incumbent and broke a guard or a check; and what could not be measured, where its
    proposer expected a gain or a change of the same kind was kept in this run.
    """
    asked = [e.n for e in (*view, *view.pending) if e.n < n and view.plan(e).mutation == REPAIR]
    recent: list[Experiment] = view[max(1, len(view) - REPAIRABLE) :]
    for e in reversed(recent):
        if asked and e.n < asked[-1]:
            return None
        if e.parents and e.stands_on == view.incumbent.n and not (e.lost or e.settings) and _is_promising(view, e):
            return e
    return None


def _is_promising(view: View, e: Experiment) -> bool:
    assert e.verdict is not None
    if e.verdict.reason in ("guard", "check"):
        gain = view.gain(e)
        return gain is not None and gain > 0
    if e.verdict.kind not in (Kind.CRASH, Kind.TIMEOUT) or e.mutation == REPAIR:
        return False
    sign = 1 if view.run.direction == "maximize" else -1
    return sign * (e.expected or 0.0) > 0 or (bool(e.mutation) and any(k.kept and k.mutation == e.mutation for k in view))
