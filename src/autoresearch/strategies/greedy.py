"""Always on from the incumbent: Karpathy's loop."""

from __future__ import annotations

from autoresearch.history import View
from autoresearch.records import Plan

FAILURES = 5  # in a row: the operation changes


class Greedy:
    """The incumbent is the only parent; after five failures in a row every other proposal is a fresh draft on it."""

    def ask(self, n: int, view: View) -> Plan:
        operation = "draft" if n % 2 and _failing(view) else "improve"
        return Plan((view.incumbent.n,), operation)


def _failing(view: View) -> bool:
    last = view[max(1, len(view) - FAILURES) :]
    return len(last) == FAILURES and all(e.verdict.failed for e in last)
