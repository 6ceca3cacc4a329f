"""Who of several proposers is asked: by their shares, or for the constants of a keep that is to be tuned."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from autoresearch.history import View
from autoresearch.records import TUNE, Experiment

TUNINGS = 12
"""Experiments on the constants of one keep, at most; and at most so many on each of them:"""
EACH = 3
GIVE_UP = 6
"""So many in a row without a keep end them."""


@dataclass(frozen=True, slots=True)
class Member:
    """A proposer of a mix.

    Attributes:
        name: in plans and in the ledger; `says` how it names itself in a proposal.
        share: of the experiments, relative to the others'.
        reads: it takes notice of what is suggested.
    """

    name: str
    says: str
    share: float = 1.0
    reads: bool = True


@dataclass(frozen=True, slots=True)
class Tuning:
    """The search over the constants of structural keeps.

    Attributes:
        by: its name in the mix; `says` how it names itself.
        experiments, evaluations, time_s: what all of it may take of the run; infinite where the budget does not limit it.
    """

    by: str
    says: str
    experiments: float = math.inf
    evaluations: float = math.inf
    time_s: float = math.inf


@dataclass
class Turns:
    """Who is whose turn: by number alone, so that neither kills nor lag nor who was asked in between change it.

    The next is whoever is furthest behind its share, counted from the middle of a turn (Webster's method of apportionment).
    """

    _known: dict[tuple[Member, ...], list[Member]] = field(default_factory=dict)
    _given: dict[tuple[Member, ...], list[int]] = field(default_factory=dict)

    def of(self, n: int, members: Sequence[Member]) -> Member:
        """Whose turn experiment n is, 1 or more, among these."""
        key = tuple(members)
        turns, given = self._known.setdefault(key, []), self._given.setdefault(key, [0] * len(key))
        while len(turns) < n:
            i = min(range(len(key)), key=lambda i: (given[i] + 0.5) / key[i].share)
            given[i] += 1
            turns.append(key[i])
        return turns[n - 1]


def out(n: int, view: View) -> set[str]:
    """Who of a mix has nothing left to propose for what stands now."""
    found = [e for e in view if e.exhausted and e.parents[:1] == (view.incumbent.n,)]
    return {name for e in (*found, *_itself(n, view)) for name, operation in e.exhausted if operation != TUNE}


def _itself(n: int, view: View) -> list[Experiment]:
    """The experiment that is asked about, where it is asked again because somebody had nothing left."""
    return [e for e in view.pending if e.n == n]


# -- tuning ------------------------------------------------------------------------------------------------------------


def tuned(n: int, view: View, tuning: Tuning) -> Experiment | None:
    """The keep whose constants experiment n is to search, if any: the newest that is no setting of constants itself."""
    keep = next((e for e in reversed(view[1:]) if e.kept and not e.rolled_back and e.proposer != tuning.says), None)
    if keep is None or any(operation == TUNE for e in _itself(n, view) for _, operation in e.exhausted):
        return None
    return keep if _goes_on(keep, n, view, tuning) else None


def _goes_on(keep: Experiment, n: int, view: View, tuning: Tuning) -> bool:
    asked = [e for e in (*view, *view.pending) if e.n < n and view.plan(e).operation == TUNE]
    if any(operation == TUNE for e in view[keep.n + 1 :] for _, operation in e.exhausted):
        return False
    mine = [e for e in asked if keep.n < e.n < len(view)]
    constants = next((len(e.settings["tuned"]) for e in mine if "tuned" in e.settings), TUNINGS)
    if sum(e.n > keep.n for e in asked) >= min(TUNINGS, EACH * constants):
        return False
    if len(mine) >= GIVE_UP and not any(e.kept for e in mine[-GIVE_UP:]):
        return False
    return _is_affordable(asked, view, tuning)


def _is_affordable(asked: Collection[Experiment], view: View, tuning: Tuning) -> bool:
    made = [m for e in asked if e.n < len(view) for m in e.measurements]
    spent_s = sum(m.duration_s for m in made)
    return len(asked) < tuning.experiments and len(made) < tuning.evaluations and spent_s < tuning.time_s
