"""The baseline: what is there now, measured before anything is asked for."""

from __future__ import annotations

import time

from autoresearch import gate, guards
from autoresearch.bench import Bench
from autoresearch.books import Books, Ended, method_notes
from autoresearch.budget import Ending
from autoresearch.errors import SetupError
from autoresearch.prospects import prospects
from autoresearch.records import Event, Measure, Verdict


class Baseline:
    """Experiment 0."""

    def __init__(self, books: Books, bench: Bench) -> None:
        self.books, self.bench = books, bench

    async def measure(self) -> None:
        """Measure it until acceptance knows how to decide from there on.

        Raises:
            Ended: it does not measure.
            SetupError: it breaks a guard or a check.
        """
        books = self.books
        if not books.history.experiments:
            books.append(
                Event("asked", 0, {"parents": [], "operation": "baseline"}),
                Event("proposed", 0, {"description": "baseline"}),
            )
        if books.experiment(0).stage == "proposed":
            books.parts.workspace.begin()
            first = books.remember(books.parts.workspace.baseline(time.time()))
            books.append(Event("frozen", 0, {"tree": first.tree, "commit": first.commit}))
        while books.history.decided < 0:
            step = books.parts.acceptance.next(books.situation("baseline", 0))
            if isinstance(step, Measure):
                await self.bench.measure(0, step)
            else:
                assert isinstance(step, Verdict)
                await self._accept(step)

    async def _accept(self, verdict: Verdict) -> None:
        """The baseline has to measure, and to pass its own guards and checks.

        Raises:
            Ended: it does not measure.
            SetupError: it breaks a guard or a check.
        """
        if not verdict.kept:
            raise Ended(Ending("baseline", f"the baseline failed: {verdict.words or verdict.reason}", 1))
        books, options = self.books, self.books.options
        broken = guards.first_broken(options.guards, books.experiment(0), books.experiment(0), strict=True)
        if broken:
            raise SetupError(f"the baseline itself breaks a guard: {broken}. Mend the bound or the code first.")
        for check in options.checks:
            if words := await self.bench.check(0, check, books.candidate(0)):
                raise SetupError(f"the baseline itself fails: {words}. Mend it first.")
        await gate.begin(books, self.bench)
        body = {"verdict": "keep", "reason": verdict.reason, "words": verdict.words, "value": verdict.value}
        books.append(*method_notes(verdict), Event("decided", 0, body), durable=True)
        for words in prospects(books.history, options):
            books.note(None, "prospect", words=words)
