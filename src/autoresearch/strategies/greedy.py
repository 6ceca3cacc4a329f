"""Always on from the incumbent: Karpathy's loop. Several proposers take turns, and the ones that read get a direction."""

from __future__ import annotations

from collections.abc import Sequence

from autoresearch.history import View
from autoresearch.records import RESTART, TUNE, Plan
from autoresearch.strategies.mix import Member, Tuning, Turns, out, tuned
from autoresearch.strategies.suggest import earlier_keep, suggest

FAILURES = 5  # in a row: the operation changes


class Greedy:
    """The incumbent is the only parent; after five failures in a row every other proposal is a fresh draft on it.

    A structural keep is followed by a search over its constants where there is a `tuning`. A long plateau lets those that read
    start from an earlier keep for a while.

    Args:
        mutations: names of the kinds of change that are suggested; none without.
        members: who is asked, in turns; nobody in particular without.
    """

    def __init__(self, mutations: Sequence[str] = (), members: Sequence[Member] = (), tuning: Tuning | None = None) -> None:
        self._mutations, self._members, self._tuning = tuple(mutations), tuple(members), tuning
        self._unread = {m.says for m in members if not m.reads} | ({tuning.says} if tuning is not None else set())
        self._turns = Turns()

    def ask(self, n: int, view: View) -> Plan:
        here = (view.incumbent.n,)
        if self._tuning is not None and (keep := tuned(n, view, self._tuning)) is not None:
            return Plan(tuple(dict.fromkeys((*here, keep.n))), TUNE, self._tuning.by)
        who = self._whose(n, view)
        name = who.name if who is not None and len(self._members) > 1 else ""
        operation = "draft" if n % 2 and _failing(view) else "improve"
        if who is None or not who.reads or not self._mutations:
            return Plan(here, operation, name)
        found = suggest(n, view, self._mutations, self._unread)
        if found.escalation == "restart":
            return Plan((earlier_keep(n, view),), RESTART, name, found.mutation, found.escalation)
        return Plan(here, operation, name, found.mutation, found.escalation)

    def _whose(self, n: int, view: View) -> Member | None:
        """Whose turn it is among those that have something left; among all where nobody has."""
        if len(self._members) < 2:
            return next(iter(self._members), None)
        gone = out(n, view)
        return self._turns.of(n, [m for m in self._members if m.name not in gone] or self._members)


def _failing(view: View) -> bool:
    last = view[max(1, len(view) - FAILURES) :]
    return len(last) == FAILURES and all(e.verdict.failed for e in last)
