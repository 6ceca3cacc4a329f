"""Measurements and checks of one session: in slots, again after outages and lost runners, recorded once."""

from __future__ import annotations

import math
from dataclasses import replace

import anyio

from autoresearch.books import Books, CheckOrder, Ended
from autoresearch.budget import Ending
from autoresearch.contracts import Place
from autoresearch.errors import DiskFault, RunnerLost
from autoresearch.folding import measured_body
from autoresearch.records import Candidate, Event, Measure, Measurement, Order, Outcome, Readout, Which
from autoresearch.slots import Slots
from autoresearch.text import one_line, slug

BUILD_LIMIT_S = 3600.0  # before the base's own build is known
LARGEST = 1e100  # of the metric
REPEATS = 8  # evaluations that are left to decisions by what runs ahead of them
AT_GATE = 2  # the same for the gate: the candidate's, and perhaps the incumbent's
ATTEMPTS = 3  # of one evaluation whose runner was lost


class Bench:
    """Runs what acceptance asks for."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._slots = Slots(books.options.evaluations)
        self._slot_of: dict[int, int] = {}  # both arms of a comparison in the same slot
        self.tampered: set[int] = set()  # experiments whose check did
        self.passed: dict[int, str] = {}  # trees that passed the quick test in the last trial of their experiment's proposal

    async def measure(self, n: int, step: Measure) -> Measurement:
        """One evaluation for experiment n's record.

        Raises:
            Ended: the evaluations are used up, the disk or the runner failed.
        """
        report = self._books.options.measured.get(step.seed) if step.phase == "baseline" else None
        attempt = 1
        if report is None:
            report, attempt = await self._spend(n, step)
            report = _comparable(report, self._books.options.settings.metric)
            report = report if self._books.options.which(step.phase) == "evaluate" else _bare(report)
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
            touched=report.touched,
            cost_usd=report.cost_usd,
        )
        self._books.append(Event("measured", n, measured_body(m), attempt=attempt))
        return m

    async def _spend(self, n: int, step: Measure) -> tuple[Readout, int]:
        final = step.phase == "final"
        spending = self._books.spending
        while (ending := spending.may_measure(final=final)) is not None:
            if not spending.is_moving():
                raise Ended(ending)
            await spending.change()  # what runs ahead is paid for: it is recorded before the run ends
        with spending.evaluating():
            return await self._attempts(n, step)

    def may_run_ahead(self) -> bool:
        """Whether the evaluations reach for one more than those under way, and for the repeats of those before it."""
        repeats = (0 if self._books.history.exact else REPEATS) + (AT_GATE if self._books.options.gate else 0)
        return self._books.spending.may_measure(repeats) is None

    async def check(self, n: int, check: CheckOrder, of: Candidate) -> str:
        """Run a check on a candidate, with its retries; gives words if it failed each time."""
        label = f"check-{slug(check.name)}" + (f"-of-{of.n}" if of.n != n else "")
        report = Readout(Outcome.OK)
        attempt = outages = 0
        while attempt <= check.retries:
            attempt += 1
            folder = self._books.folder(n)
            order = Order(n, 0, attempt + outages, label, check.command, folder, check.timeout_s, "check")
            try:
                report = await self._evaluate(n, of, order)
            except (DiskFault, RunnerLost) as fault:
                raise Ended(fault_ending(fault)) from fault
            if report.outcome in (Outcome.OK, Outcome.TAMPERING):
                break
            if report.outcome is Outcome.OUTAGE:
                await self._wait_out(n, outages, report.words)
                attempt, outages = attempt - 1, outages + 1
        passed = report.outcome is Outcome.OK
        self.tampered |= {n} if report.outcome is Outcome.TAMPERING else set()
        self._books.note(n, "check", name=check.name, of=of.n, passed=passed, words=one_line(report.words))
        return "" if passed else f"check {check.name} failed: {report.words}"

    async def _attempts(self, n: int, step: Measure) -> tuple[Readout, int]:
        which = self._books.options.which(step.phase)
        label = f"{'eval' if which == 'evaluate' else which}-{len(self._books.experiment(n).measurements) + 1}"
        outages = attempt = 0
        while True:
            attempt += 1
            folder = self._books.folder(n) if which == "evaluate" else None
            clean, limit_s, command = step.phase == "confirm", self.timeout_s(which), self._books.options.command(which)
            pristine = clean or step.phase == "final" or which != "evaluate"
            order = Order(n, step.seed, attempt, label, command, folder, limit_s, pristine=pristine, which=which, clean=clean)
            try:
                report = await self._evaluate(n, self._books.candidate(step.of), order)
                report = report if which == "evaluate" else _bare(report)
            except RunnerLost as lost:
                if attempt >= ATTEMPTS:
                    raise Ended(fault_ending(lost)) from lost
                continue
            except DiskFault as fault:
                raise Ended(fault_ending(fault)) from fault
            if report.outcome is not Outcome.OUTAGE:
                return report, attempt
            self._count(report)
            await self._wait_out(n, outages, report.words)
            outages += 1

    async def _evaluate(self, n: int, candidate: Candidate, order: Order) -> Readout:
        """Run an order on a candidate, built and tried out first where the task says so; in one slot for each record."""
        books = self._books
        async with self._slots.take(self._slot_of.get(n)) as slot:
            self._slot_of[n] = slot
            books.watch("evaluating", {"n": n, "slot": slot, "label": order.label, "of": candidate.n})
            try:
                return await self._try_out(n, slot, candidate, order) or await self._run(n, slot, candidate, order)
            finally:
                books.watch("evaluated", {"n": n, "slot": slot})

    async def _run(self, n: int, slot: int, candidate: Candidate, order: Order) -> Readout:
        """Run an order in a slot on the candidate, which is built there first if that was not done yet."""
        workspace = self._books.parts.workspace
        place = await workspace.place(slot, candidate, pristine=order.pristine, which=order.which, clean=order.clean)
        if place.unbuilt:
            if failed := await self._build(n, place, candidate, order):
                return failed
            place = await workspace.place(slot, candidate, pristine=order.pristine, which=order.which)
        if place.failed:
            return Readout(Outcome.BUILD, words=place.failed)
        try:
            return await self._books.parts.runner.evaluate(place, order)
        finally:
            workspace.vacate(slot)

    async def _try_out(self, n: int, slot: int, candidate: Candidate, order: Order) -> Readout | None:
        """Run the task's quick test before a candidate's first evaluation; gives how it failed."""
        quick = self._books.options.quick
        if not quick or order.kind != "evaluate" or candidate.n != n or self._books.experiment(n).own:
            return None
        if self.passed.get(n) == candidate.tree:
            return None
        report = await self._run(n, slot, candidate, replace(order, label="quick", command=quick, kind="quick"))
        if report.outcome in (Outcome.OK, Outcome.BUILD):
            return None if report.outcome is Outcome.OK else report
        return replace(report, words=f"the quick test failed: {report.words}")

    async def try_out(self, candidate: Candidate, order: Order, *, retries: int = 0) -> Readout:
        """Run an order on what is no candidate yet; outages and lost runners as in an evaluation, and nothing is recorded.

        Raises:
            Ended: the disk or the runner failed, or an outage lasts.
        """
        n, attempt, outages = order.n, 0, 0
        while True:
            attempt += 1
            try:
                report = await self._in_any_slot(candidate, replace(order, attempt=attempt + outages))
            except RunnerLost as lost:
                if attempt >= ATTEMPTS + retries:
                    raise Ended(fault_ending(lost)) from lost
                continue
            except DiskFault as fault:
                raise Ended(fault_ending(fault)) from fault
            if report.outcome is Outcome.OUTAGE:
                self._count(report)
                await self._wait_out(n, outages, report.words)
                attempt, outages = attempt - 1, outages + 1
            elif report.outcome in (Outcome.OK, Outcome.TAMPERING) or attempt > retries:
                return report

    def _count(self, report: Readout) -> None:
        """What was reported to have cost money and comes to no measurement, which would tell."""
        if report.cost_usd:
            self._books.note(None, "spent", cost_usd=report.cost_usd, tokens=0)

    async def _in_any_slot(self, candidate: Candidate, order: Order) -> Readout:
        books, n = self._books, order.n
        async with self._slots.take(self._slot_of.get(n)) as slot:
            if books.options.build:
                self._slot_of[n] = slot  # where it is built
            books.watch("evaluating", {"n": n, "slot": slot, "label": f"trial, {order.label}", "of": candidate.n})
            try:
                return await self._run(n, slot, candidate, order)
            finally:
                books.watch("evaluated", {"n": n, "slot": slot})

    async def _build(self, n: int, place: Place, candidate: Candidate, order: Order) -> Readout | None:
        books, slot = self._books, place.slot
        workspace, label = books.parts.workspace, "build" if candidate.n == n else f"build-of-{candidate.n}"
        build = replace(order, label=label, command=books.options.build, kind="build", timeout_s=self._build_limit_s())
        try:
            report = await books.parts.runner.evaluate(place, build)
            if report.outcome is Outcome.OK:
                await workspace.built(slot, candidate, pristine=order.pristine)
        finally:
            workspace.vacate(slot)
        if report.outcome not in (Outcome.OK, Outcome.OUTAGE, Outcome.TAMPERING):
            return replace(report, outcome=Outcome.BUILD, words=f"the build failed: {report.words}")
        if report.outcome in (Outcome.OUTAGE, Outcome.TAMPERING):
            return report
        books.append(Event("built", n, {"of": candidate.n, "duration_s": round(report.duration_s, 6)}))
        return None

    def _build_limit_s(self) -> float:
        known = self._books.history.experiments[0].build_s
        return BUILD_LIMIT_S if known is None else 3 * known + 60

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

    def timeout_s(self, which: Which = "evaluate") -> float | None:
        options, history = self._books.options, self._books.history
        budget_s = options.time_budget_s
        if options.timeout_s is not None:
            return options.timeout_s if math.isfinite(options.timeout_s) else None
        made = history.experiments[0].measurements
        own = [m for m in made if m.ok and options.which(m.phase) == which] if which != "evaluate" else []
        took = [m.duration_s for m in own or made if own or (m.phase == "baseline" and which == "evaluate")]
        if (which == "evaluate" and history.decided < 0) or not took:
            return 3 * budget_s + 600 if budget_s else options.baseline_timeout_s
        known = max(took)
        if budget_s:  # what the baseline needs besides it, and a tenth of it for the machine's moods
            return max(known, budget_s) + max(0.1 * budget_s, 5)
        return 3 * known + 30


def _comparable(report: Readout, metric: str) -> Readout:
    """A metric too large for its square is no measurement: acceptance could not work with it."""
    value = report.values.get(metric, 0.0)
    if abs(value) <= LARGEST or report.outcome is not Outcome.OK:
        return report
    words = f"{metric} is {value:g}, too large to be compared: expected at most {LARGEST:g}; print its logarithm"
    return replace(report, outcome=Outcome.NO_MEASUREMENT, values={}, words=words)


def _bare(report: Readout) -> Readout:
    """An evaluation on a private set, without a word of what it printed."""
    words = {
        Outcome.EXIT: f"exited with {report.exit_code}",
        Outcome.SIGNAL: "ended by a signal",
        Outcome.MEMORY: "killed for memory",
        Outcome.TIMEOUT: "still running at its limit",
        Outcome.NO_MEASUREMENT: "no number could be read",
        Outcome.OUTAGE: "the evaluator asked to be tried again",
        Outcome.OK: "",
    }
    return replace(report, words=words.get(report.outcome, report.words), log="")


def fault_ending(fault: DiskFault | RunnerLost) -> Ending:
    return Ending("disk" if isinstance(fault, DiskFault) else "runner", str(fault), 1)
