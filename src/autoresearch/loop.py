"""The loop: ask, propose, freeze, measure, decide, advance. It names the contracts and implements none of them.

One thread owns ledger, workspace, strategy and acceptance. Proposals and first measurements run ahead, up to `lag`
experiments; decisions are taken one at a time in the order of numbers. Everything that matters is read from the ledger,
so a run that was killed goes on where it was, and the same replies and values give the same ledger whatever the timing.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import anyio
import anyio.abc

from autoresearch import errands, preflight
from autoresearch.asking import Asking, Ticket
from autoresearch.baseline import Baseline
from autoresearch.bench import Bench, fault_ending
from autoresearch.books import Books, Ended, Options, Parts, Watch
from autoresearch.budget import Budget, Ending
from autoresearch.comeback import Comeback
from autoresearch.deciding import Deciding
from autoresearch.drafting import Drafting
from autoresearch.errors import DiskFault, Exhausted, GitKilled, RunnerLost, SetupError, as_fault, ungroup
from autoresearch.offers import Offers
from autoresearch.records import LEAVE, PROBE, TRY, Event, Gain, Measure, Plan, Request
from autoresearch.text import one_line
from autoresearch.upkeep import Upkeep


def _asked(plan: Plan) -> dict[str, Any]:
    """A plan as the body of an event."""
    body = {"parents": list(plan.parents), "operation": plan.operation, "proposer": plan.proposer}
    body |= {"mutation": plan.mutation, "escalation": plan.escalation}
    return {key: value for key, value in body.items() if value or key == "parents"}


IDLE = Ending("idle", "nothing more was offered to be tried")


class Loop:
    """One session of a run."""

    def __init__(self, parts: Parts, options: Options, budget: Budget, watch: Watch = lambda what, details: None) -> None:
        self.books = Books(parts, options, budget, watch)
        self.bench = Bench(self.books)
        self.upkeep = Upkeep(self.books, self.bench)
        self.comeback = Comeback(self.books, self.bench)
        self.baseline = Baseline(self.books, self.bench)
        self.parts, self.options, self.history = parts, options, self.books.history
        self.asking, self.drafting = Asking(self.books, self.bench), Drafting(self.books)
        self.deciding = Deciding(self.books, self.bench, self.drafting)
        self.offers = Offers(self.books, self.bench)
        self._tickets: dict[int, Ticket] = {}
        self._probing: set[int] = set()  # requests
        self._offered = anyio.Event()
        self._ready: dict[int, anyio.Event] = {}
        self._passed: dict[int, anyio.Event] = {}
        self._ending: Ending | None = None
        self._finishing = False
        self._ends_for_all = False  # a person stopped it: who waits for it waits no more
        self._wall: Ending | None = None  # met while proposing: what was proposed before still comes to its verdict
        self._tasks: anyio.abc.TaskGroup | None = None  # where experiments are worked on
        self._scope: anyio.CancelScope | None = None
        self._work: anyio.CancelScope | None = None
        self._is_final = False  # the experiments are at their end

    async def run(self) -> Ending:
        """Work until the budget is spent, somebody stops it, or nothing is left to do.

        Raises:
            AutoresearchError: the set-up is broken; what was recorded stays.
        """
        gain = None
        try:
            with anyio.CancelScope() as self._scope:
                if self._ending is not None:  # stopped before it began
                    self._scope.cancel()
                async with anyio.create_task_group() as tasks:
                    self.asking.recover()
                    self.books.spending.start()
                    tasks.start_soon(self._hear_requests)
                    tasks.start_soon(self._watch_clock)
                    if self._will_propose():
                        await preflight.ready(self.books, self.asking.quota)
                    self.comeback.begin()
                    await self.baseline.measure()
                    self.upkeep.mend()
                    gain = await (self._final() if self.options.errand and self.options.errand.final else self._on())
                    tasks.cancel_scope.cancel()
        except BaseException as error:
            cause = as_fault(ungroup(error))
            if isinstance(cause, DiskFault | RunnerLost):
                cause = Ended(fault_ending(cause))
            if not isinstance(cause, Ended):
                reason = "killed" if isinstance(cause, GitKilled) else "error"
                self._close(Ending(reason, one_line(str(cause)), 2), None)
                raise cause from cause.__cause__
            self._ending = cause.ending
        assert self._ending is not None
        self._close(self._ending, gain)
        return self._ending

    async def _on(self) -> Gain | None:
        if self.options.rebaseline or not self._is_over():
            if self.options.rebaseline or self.history.agenda.due:
                self.upkeep.take_out()  # what was rejected may not measure any more
            await self.comeback.refresh(rebaseline=self.options.rebaseline)
        if self.history.decided > 0 and not self.history.agenda.remeasuring:
            await self.upkeep.after(self.history.decided)  # a killed session may not have come to its end
        self._ending = await self._until_end()
        self.upkeep.take_out()  # a wall may have come before an order was carried out
        goes_on = self.options.errand is not None or self._ending == IDLE
        if not goes_on:
            await self.upkeep.last_checks()
        self._is_final = True
        return None if goes_on else await self.upkeep.at_end()

    def _is_over(self) -> bool:
        """Whether there is nothing to compare with the incumbent: a finished run that was called again."""
        history, agenda = self.history, self.history.agenda
        if self.options.serves:
            return not agenda.offered and self.books.spending.may_try() is not None
        is_open = history.decided + 1 < len(history.experiments) or agenda.wanted or agenda.rejected
        return not is_open and (self._enough() or self.books.spending.may_ask()) is not None

    def _will_propose(self) -> bool:
        """Whether this session has a proposal to ask for."""
        is_other = self.options.errand is not None or self.options.serves
        if is_other or self.books.spending.money_spent() is not None:
            return False
        is_open = any(e.stage == "asked" for e in self.history.experiments[self.history.decided + 1 :] if e.n)
        return is_open or not self.history.line or (self._enough() or self.books.spending.may_ask()) is None

    async def _final(self) -> Gain | None:
        assert self.options.errand is not None
        self._ending, self._is_final = self.options.errand.after, True
        return await self.upkeep.at_end()

    async def _until_end(self) -> Ending:
        """Experiments until a wall is met; a wall of time or evaluations breaks off what runs, and nothing after it."""
        with anyio.CancelScope() as self._work:
            try:
                return await self._experiments()
            except BaseExceptionGroup as group:
                cause = ungroup(group)
                if isinstance(cause, Ended) and cause.ending.status == "finished":
                    return cause.ending
                raise
        assert self._ending is not None
        return self._ending

    async def _experiments(self) -> Ending:  # type: ignore[return]  # the group does not swallow
        async with anyio.create_task_group() as tasks:
            for n in self._left_open():
                self._start(tasks, n)
            self._tasks = tasks
            while True:
                self.upkeep.take_out()
                self._take_offers()
                self._take_orders()
                ending = self._ask_ahead(tasks) or self._enough()
                n = self.history.decided + 1
                if n not in self._ready:
                    assert ending is not None
                    if ending == IDLE and await self._more():
                        continue
                    self._tasks = None
                    return ending
                await self._ready[n].wait()
                if not self._ready[n].is_set():
                    continue  # an offer took its place just now
                if self._wall is not None and self.books.experiment(n).stage == "asked":
                    tasks.cancel_scope.cancel()
                    self._tasks = None
                    return self._wall
                await self._decide(n)
                self.offers.answer(n)
                await self.upkeep.after(n)
                self._forget(n)

    def _left_open(self) -> list[int]:
        """Experiments that a killed session left open, without those that this one has nobody to propose for."""
        found = self.history.experiments[self.history.decided + 1 :]
        asked = [e.n for e in found if e.stage == "asked"]
        left = asked[len(self.history.agenda.wanted) :] if self.options.serves else []
        return [e.n for e in found if e.n not in left]

    def stop(self, ending: Ending) -> None:
        """End at once: nothing new, what runs is killed, open experiments stay open."""
        self._ending = self._ending or ending
        if self._scope is not None:
            self._scope.cancel()

    def finish(self) -> None:
        """Ask for nothing new, let what runs come to its verdict, validate, end; a proposer that is waited for stays open."""
        self._finishing = True
        self._offered.set()
        self.asking.quota.stop(Ending("stopped", "stopped after the experiments under way"))

    # -- what others offer ------------------------------------------------------------------------------------------

    def _take_offers(self) -> None:
        """Give what was offered its turn: before every proposal that is still being written."""
        assert self._tasks is not None
        for offer in self.history.agenda.offered if self.options.errand is None else ():
            if self.offers.lost(offer):
                continue
            n, new = self.offers.take(offer)
            ticket = self._tickets.pop(n, None)
            if new is not None and ticket is not None:
                ticket.n, self._tickets[new] = new, ticket
                self._ready[new], self._passed[new] = anyio.Event(), anyio.Event()
                if self._ready[n].is_set():  # nobody proposes for it any more: it met a wall
                    self._ready[new].set()
                    self._passed[new].set()
                    self._ready[n], self._passed[n] = anyio.Event(), anyio.Event()
            self._start(self._tasks, n)

    def _take_orders(self) -> None:
        """Give what is to be tried again the experiments that were left open with nobody to propose for them."""
        assert self._tasks is not None
        asked = [e.n for e in self.history.experiments[self.history.decided + 1 :] if e.stage == "asked"]
        left = [n for n in asked if n not in self._tickets]
        missing = len(self.history.agenda.wanted) - (len(asked) - len(left))
        for n in left[: max(0, missing)]:
            self._start(self._tasks, n)

    async def _more(self) -> bool:
        """Wait for something to do; False if nothing came. What waits is not charged."""
        with self.books.spending.waiting(), anyio.move_on_after(self.options.linger_s):
            while not self._has_work():
                self._offered = anyio.Event()
                await self._offered.wait()
        return bool(self._probing) or self._has_work()

    def _has_work(self) -> bool:
        agenda = self.history.agenda
        return bool(self._finishing or agenda.offered or agenda.wanted) or self.history.decided + 1 in self._ready

    async def _probe(self, request: Request) -> None:
        """Try out what is offered, beside the experiments."""
        try:
            await self.offers.probe(request)
        finally:
            self._probing.discard(request.id)
            self._offered.set()

    def _hear_offer(self, request: Request) -> None:
        if self.options.errand is not None or self.offers.settle(request):
            return
        if self.offers.over(request, self._at_target()) or self._finishing or self._ending is not None or self._is_final:
            return  # what is not taken down is the next session's
        if request.kind == TRY:
            self.offers.note(request)
            if self._tasks is not None:
                self._take_offers()
        elif self._tasks is not None and request.id not in self._probing:
            self._probing.add(request.id)
            self._tasks.start_soon(self._probe, request)
        self._offered.set()

    # -- asking and preparing: ahead of the decisions ---------------------------------------------------------------

    def _ask_ahead(self, tasks: anyio.abc.TaskGroup) -> Ending | None:
        """Ask for as many experiments as lag and budget allow; gives why no more, or None."""
        while (n := len(self.history.experiments)) <= self.history.decided + self.options.lag:
            ending = self._enough() or self.books.spending.may_ask()
            if ending is not None and not self._is_ordered():
                return ending
            plan = self.parts.strategy.ask(n, self.history.as_of(n - self.options.lag))
            self.books.append(Event("asked", n, _asked(plan)))
            self._start(tasks, n)
        return None

    def _enough(self) -> Ending | None:
        if self._finishing:
            return Ending("stopped", "stopped after the experiments under way")
        if self._wall is not None:
            return self._wall
        if self.options.errand is not None:
            return self.options.errand.after
        return self._at_target() or (self._served() if self.options.serves else None)

    def _served(self) -> Ending:
        """Why nothing more is tried; the run is not at its end while experiments are left that another session proposes."""
        ending = self.books.spending.may_try()
        open_ = self.history.experiments[self.history.decided + 1 :]
        is_left = any(e.stage == "asked" and e.n not in self._tickets for e in open_)
        return IDLE if ending is None or (ending.reason == "experiments" and is_left) else ending

    def _at_target(self) -> Ending | None:
        target, value = self.options.target, self.history.incumbent.value if self.history.line else None
        sign = self.options.settings.sign()
        if target is not None and value is not None and sign * value >= sign * target:
            return Ending("target", f"target {target:g} reached with {value:g}")
        return None

    def _is_ordered(self) -> bool:
        """Whether a candidate is to be tried again that no open experiment will take: a person's order outranks the budget
        of experiments, not that of evaluations."""
        if self._finishing or self._wall is not None or self.books.spending.may_measure() is not None:
            return False
        open_ = self.history.experiments[self.history.decided + 1 :]
        return len(self.history.agenda.wanted) > sum(e.stage == "asked" and e.n in self._tickets for e in open_)

    def _start(self, tasks: anyio.abc.TaskGroup, n: int) -> None:
        self._ready.setdefault(n, anyio.Event())
        self._passed.setdefault(n, anyio.Event())
        ticket = self._tickets[n] = Ticket(n)
        tasks.start_soon(self._prepare, ticket)

    async def _prepare(self, ticket: Ticket) -> None:
        """Propose, freeze (in the order of numbers, so that duplicates are the same every time), measure once."""
        try:
            if self.books.experiment(ticket.n).stage == "asked" and not self.drafting.again(ticket.n):
                await self._propose(ticket)
            n = ticket.n  # it stays from here on
            if n - 1 in self._passed:
                await self._passed[n - 1].wait()
            e = self.books.experiment(n)
            if e.stage == "proposed" and e.failure is None:
                self.drafting.freeze(n)
            self._passed[n].set()
            if self.books.experiment(n).stage == "frozen" and not self.books.experiment(n).own:
                step = self.parts.acceptance.next(self.books.situation("experiment", n))
                if isinstance(step, Measure) and self.bench.may_run_ahead():
                    await self.bench.measure(n, step)
        except Exhausted as exhausted:
            self._wall = Ending("exhausted", str(exhausted) or "nothing left to propose")
        except Ended as ended:
            if self.books.experiment(ticket.n).stage != "asked":
                raise
            self._wall = ended.ending
        finally:
            self._passed[ticket.n].set()
            self._ready[ticket.n].set()

    async def _propose(self, ticket: Ticket) -> None:
        """Have it proposed by whoever is asked; by another of the mix where that one has nothing left.

        Raises:
            Exhausted: nobody has.
        """
        while True:
            try:
                return await self.asking.propose(ticket)
            except Exhausted as exhausted:
                n = ticket.n
                e = self.books.experiment(n)
                if len(self.parts.mix) + len(self.parts.reserve) < 2:
                    raise
                words = one_line(str(exhausted))
                self.books.note(n, "exhausted", proposer=e.asked, operation=e.operation, words=words)
                plan = self.parts.strategy.ask(n, self.history.as_of(n - self.options.lag))
                if (plan.proposer, plan.operation) in self.books.experiment(n).exhausted:
                    raise
                self.books.append(Event("asked", n, _asked(plan)))

    # -- deciding: one at a time, in order --------------------------------------------------------------------------

    async def _decide(self, n: int) -> None:
        verdict = await self.deciding.verdict(n)
        body = {"verdict": verdict.kind.value, "reason": verdict.reason, "words": one_line(verdict.words, 500)}
        value = {} if verdict.value is None else {"value": verdict.value}
        decided = self.books.append(Event("decided", n, body | value), durable=True)
        if verdict.kept:
            self.upkeep.advance(n, decided)

    def _forget(self, n: int) -> None:
        self._ready.pop(n, None)
        self._passed.pop(n - 1, None)
        self._tickets.pop(n, None)
        self.drafting.refused.pop(n, None)
        self.books.forget(n)

    # -- beginning and end ------------------------------------------------------------------------------------------

    def _close(self, ending: Ending, gain: Gain | None) -> None:
        errand = self.options.errand
        if errand is not None and errand.final and ending.reason in ("final", "signal", "stopped"):
            ending = errand.after  # a comparison changes nothing in how the run stands
        body: dict[str, Any] = {"status": ending.status, "reason": ending.reason, "words": one_line(ending.words, 500)}
        body["decided"] = self.history.decided
        spent = {"worked_s": round(self.books.spending.session_s, 3)}
        validated: dict[str, Any] = {}
        if gain is not None:
            validated = {"validated": asdict(gain), "validated_of": self.history.line[-1]}
        gives_up = self.options.serves and ending.code and ending.reason != "killed"  # else whoever waits takes over
        try:
            if gives_up:
                self.offers.withdraw()
            if self._ends_for_all:
                self.offers.note_late()
            self.books.append(Event("run_stopped", None, body | spent | validated), durable=True)
            if self._ends_for_all or gives_up:
                self.offers.tell(ending)
        except DiskFault:
            pass  # the disk is what ended it; the ledger is consistent without this line

    async def _hear_requests(self) -> None:
        """Answer other processes between two steps."""
        while True:
            for request in self.parts.ledger.requests(self.options.run):
                if request.kind in (TRY, PROBE):
                    self._hear_offer(request)
                else:
                    self._answer(request)
            await anyio.sleep(self.options.poll_s)

    def _answer(self, request: Request) -> None:
        if request.kind == "stop":
            self.books.append(errands.recorded(request))
            self.parts.ledger.answer(request.id, {"ok": True, "words": "stopping"})
            self._ends_for_all = True
            return self.finish() if request.body.get("finish") else self.stop(Ending("stopped", "stopped on request"))
        if request.kind == LEAVE:
            self.parts.ledger.answer(request.id, {"ok": self.options.serves, "words": "another process goes on with it"})
            return self.stop(IDLE) if self.options.serves else None
        try:
            event, words = errands.order(self.history, request.kind, request.body)
        except SetupError as error:
            self.parts.ledger.answer(request.id, {"ok": False, "words": str(error)})
        else:
            self.books.append(*filter(None, (event, errands.recorded(request))), durable=True)
            self.parts.ledger.answer(request.id, {"ok": True, "words": words})
            self._offered.set()

    async def _watch_clock(self) -> None:
        """End the work in time for the final comparison, and that when the time is used up."""
        spending = self.books.spending
        while True:
            left_s = spending.left_s()
            if self._work is None or self._is_final:  # the baseline, or the final comparison
                if left_s <= 0:
                    return self.stop(spending.out_of_time(final=True) or Ending("time", "the time is used up"))
            elif (ending := spending.out_of_time()) is not None:
                self._ending = self._ending or ending
                self._work.cancel()
            await anyio.sleep(min(max(left_s - (0 if self._is_final else spending.reserved_s()), 0.01), 5.0))
