"""What becomes of a candidate: measured until the acceptance rule is sure, guarded, checked, and admitted if it is kept."""

from __future__ import annotations

from autoresearch import guards
from autoresearch.admission import Admission
from autoresearch.bench import Bench
from autoresearch.books import Books
from autoresearch.drafting import Drafting, refusal
from autoresearch.records import Kind, Measure, Step, Verdict


class Deciding:
    """Brings experiments to their verdicts, one at a time, in the order of their numbers."""

    def __init__(self, books: Books, bench: Bench, drafting: Drafting) -> None:
        self._books, self._bench, self._drafting = books, bench, drafting
        self._admission = Admission(books, bench)

    async def verdict(self, n: int) -> Verdict:
        """The verdict on experiment n, after as many measurements as it takes.

        Raises:
            Ended: a wall, the disk or the runner ends the work before there is one.
        """
        e = self._books.experiment(n)
        if e.failure is not None:
            return Verdict(Kind.INVALID, *e.failure)
        if n in self._drafting.refused:
            return refusal(self._drafting.refused[n])
        cleared = False
        while True:
            step = self._books.parts.acceptance.next(self._books.situation("experiment", n))
            hopeless = isinstance(step, Verdict) and not step.kept
            if not hopeless and self._books.experiment(n).own:
                if self._stale(n):
                    refused = self._drafting.rebase(n)
                    if refused is not None:
                        return refused
                    continue
                failed = self._guarded(n, step) or (None if cleared else await self._clear(n))
                if failed is not None:
                    return failed
                cleared = True
            if isinstance(step, Verdict):
                return await self._admission.admit(n, step) if step.kept else step
            assert isinstance(step, Measure), f"acceptance gave {step} for an experiment"
            await self._bench.measure(n, step)

    def _stale(self, n: int) -> bool:
        e = self._books.experiment(n)
        return not e.restarts and e.stands_on != self._books.history.incumbent.n

    def _guarded(self, n: int, step: Step) -> Verdict | None:
        """The verdict if a guard is broken: by the first run before anything follows it, by all runs before a keep."""
        e = self._books.experiment(n)
        broken = guards.first_broken(self._books.options.guards, e, self._books.experiment(0), strict=isinstance(step, Verdict))
        value = step.value if isinstance(step, Verdict) else e.own[-1].values.get(self._books.options.settings.metric)
        return Verdict(Kind.DISCARD, "guard", broken, value) if broken else None

    async def _clear(self, n: int) -> Verdict | None:
        """The checks that every keep has to pass; the verdict if one fails."""
        value = self._books.experiment(n).own[-1].values.get(self._books.options.settings.metric)
        for check in self._books.options.checks:
            if check.every == 1 and (words := await self._bench.check(n, check, self._books.candidate(n))):
                if n in self._bench.tampered:
                    return Verdict(Kind.INVALID, "tampering", words)
                return Verdict(Kind.DISCARD, "check", words, value)
        return None
