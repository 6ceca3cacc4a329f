"""What a candidate that won has to pass before it is kept: plausible, not held for a person, no worse behind the gate.

The steps in their order, each a module of its own; every one gives the verdict that stands in the way, or None.
"""

from __future__ import annotations

from autoresearch import gate, plausible, review
from autoresearch.bench import Bench
from autoresearch.books import Books
from autoresearch.records import Verdict


class Admission:
    """Asks the steps, the costless ones first where that changes nothing."""

    def __init__(self, books: Books, bench: Bench) -> None:
        self._books, self._bench = books, bench

    async def admit(self, n: int, verdict: Verdict) -> Verdict:
        """The verdict on experiment n that stands: the keep, or what is in its way."""
        for step in (plausible.confirm, review.hold, gate.ask):
            refused = await step(self._books, self._bench, n, verdict)
            if refused is not None:
                return refused
        return verdict
