"""Measurements and checks of one session: in slots, again after outages and lost runners, recorded once."""

from __future__ import annotations

import math

import anyio

from autoresearch.books import Books, CheckOrder, Ended
from autoresearch.budget import Ending
from autoresearch.errors import DiskFault, RunnerLost
from autoresearch.history import measured_body
from autoresearch.records import Candidate, Event, Measure, Measurement, Order, Outcome, Readout
from autoresearch.slots import Slots
from autoresearch.text import one_line, slug

ATTEMPTS = 3  # of one evaluation whose runner was lost


class Bench:
    """Runs what acceptance asks for."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._slots = Slots(books.options.evaluations)
        self._running = 0

    async def measure(self, n: int, step: Measure) -> Measurement:
        """One evaluation for experiment n's record.

        Raises:
            Ended: the evaluations are used up, the disk or the runner failed.
        """
        ending = self._books.spending.may_measure(self._running)
        if ending is not None:
            raise Ended(ending)
        self._running += 1
        try:
            report, attempt = await self._attempts(n, step)
        finally:
            self._running -= 1
        m = Measurement(
            of=step.of,
            arm=step.arm,
            index=len(self._books.experiment(n).measurements),
            seed=step.seed,
            phase=step.phase,
            outcome=report.outcome,
            values=report.values,
            duration_s=round(report.duration_s, 6),
            cpu_s=round(report.cpu_s, 6),
            peak_mb=round(report.peak_mb, 3) if report.peak_mb is not None else None,
            memory_from=report.memory_from,
            exit_code=report.exit_code,
            machine=report.machine,
            log=report.log,
            words=one_line(report.words, 500),
        )
        self._books.append(Event("measured", n, measured_body(m), attempt=attempt))
        return m

    def may_run_ahead(self) -> bool:
        """Whether the evaluations reach for one more than those under way."""
        return self._books.spending.may_measure(self._running) is None

    async def check(self, n: int, check: CheckOrder, of: Candidate) -> str:
        """Run a check on a candidate, with its retries; gives words if it failed each time."""
        label = f"check-{slug(check.name)}" + (f"-of-{of.n}" if of.n != n else "")
        report = Readout(Outcome.OK)
        for attempt in range(1, check.retries + 2):
            folder = self._books.folder(n)
            order = Order(n, 0, attempt, label, check.command, folder, check.timeout_s, "check")
            try:
                report = await self._evaluate(n, of, order)
            except (DiskFault, RunnerLost) as fault:
                raise Ended(fault_ending(fault)) from fault
            if report.outcome is Outcome.OK:
                break
        passed = report.outcome is Outcome.OK
        self._books.note(n, "check", name=check.name, of=of.n, passed=passed, words=one_line(report.words))
        return "" if passed else f"check {check.name} failed: {report.words}"

    async def _attempts(self, n: int, step: Measure) -> tuple[Readout, int]:
        label = f"eval-{len(self._books.experiment(n).measurements) + 1}"
        outages = attempt = 0
        while True:
            attempt += 1
            folder = self._books.folder(n)
            order = Order(n, step.seed, attempt, label, folder=folder, timeout_s=self._timeout_s())
            try:
                report = await self._evaluate(n, self._books.candidate(step.of), order)
            except RunnerLost as lost:
                if attempt >= ATTEMPTS:
                    raise Ended(fault_ending(lost)) from lost
                continue
            except DiskFault as fault:
                raise Ended(fault_ending(fault)) from fault
            if report.outcome is not Outcome.OUTAGE:
                return report, attempt
            await self._wait_out(n, outages, report.words)
            outages += 1

    async def _evaluate(self, n: int, candidate: Candidate, order: Order) -> Readout:
        books = self._books
        async with self._slots.take() as slot:
            place = await books.parts.workspace.place(slot, candidate)
            books.watch("evaluating", {"n": n, "slot": slot, "label": order.label, "of": candidate.n})
            try:
                return await books.parts.runner.evaluate(place, order)
            finally:
                books.parts.workspace.vacate(slot)
                books.watch("evaluated", {"n": n, "slot": slot})

    async def _wait_out(self, n: int, outages: int, words: str) -> None:
        waits = self._books.options.outage_waits_s
        if outages >= len(waits):
            raise Ended(Ending("outage", f"experiment {n}: {words}; tried {outages + 1} times", 1))
        await self.wait(waits[outages], words)

    async def wait(self, seconds: float, words: str) -> None:
        """Wait without charging it to the time budget."""
        self._books.watch("waiting", {"n": None, "seconds": seconds, "words": words})
        with self._books.spending.waiting():
            await anyio.sleep(seconds)

    def _timeout_s(self) -> float | None:
        options, history = self._books.options, self._books.history
        if options.timeout_s is not None:
            return options.timeout_s if math.isfinite(options.timeout_s) else None
        if history.decided < 0:
            return options.baseline_timeout_s
        known = [m.duration_s for m in history.experiments[0].measurements if m.phase == "baseline"]
        return 3 * max(known) + 30


def fault_ending(fault: DiskFault | RunnerLost) -> Ending:
    return Ending("disk" if isinstance(fault, DiskFault) else "runner", str(fault), 1)
