"""From an experiment that was asked for to a proposal: whom to ask, with what to spend and to tell, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from autoresearch.bench import Bench, fault_ending
from autoresearch.books import Books, Ended
from autoresearch.contracts import Brief, Draft, Proposer, is_paid
from autoresearch.errors import (
    DiskFault,
    Exhausted,
    ProposerUnfit,
    ProposerWaits,
    Refused,
    RunnerLost,
    SetupError,
    ungroup,
)
from autoresearch.patience import Patience
from autoresearch.preflight import refuse_unpriced
from autoresearch.records import TUNE, Edits, Event, Experiment, Proposal, State
from autoresearch.sight import Seen, Sight
from autoresearch.slots import Slots
from autoresearch.text import describe, one_line, show_usd
from autoresearch.trials import Trials
from autoresearch.waiting import Quota


@dataclass(eq=False, slots=True)
class Ticket:
    """A proposal under way, for experiment n: another number's once somebody else's change goes first."""

    n: int


class Asking:
    """Has experiments proposed.

    Attributes:
        quota: whose models can be had.
    """

    def __init__(self, books: Books, bench: Bench) -> None:
        self._books = books
        self._trials = Trials(books, bench)
        self._slots = Slots(books.options.proposals)
        self._seen: Seen = {}
        self.quota = Quota(books)

    async def propose(self, ticket: Ticket) -> None:
        """Ask the proposer that a plan names, or its fallback; wait for it where its model cannot be had.

        Raises:
            Ended: nothing may be paid any more, or there is no time left to wait.
        """
        while not await self._attempt(ticket, await self.quota.who(ticket)):
            pass

    def recover(self) -> None:
        """What attempts of a session that was killed have spent counts from the start."""
        for e in self._books.history.experiments[self._books.history.decided + 1 :]:
            if e.n and e.stage == "asked":
                workspace = self._books.parts.workspace
                parent, folder = self._books.candidate(e.parents[0]), self._books.folder(e.drafted_as)
                self._settle(e.n, workspace.draft(0, parent, folder))

    def _settle(self, n: int, draft: Draft) -> None:
        """Record what an attempt that came to nothing has spent, at once."""
        e = self._books.experiment(n)
        try:
            cost_usd, tokens = draft.spent()
            if cost_usd > e.cost_usd or tokens > e.tokens:
                more = {"cost_usd": max(0.0, cost_usd - e.cost_usd), "tokens": max(0, tokens - e.tokens)}
                self._books.append(Event("note", n, {"what": "spent", **more}), durable=True)
        except DiskFault:
            pass  # it is read back at the next start

    @contextmanager
    def _settled(self, ticket: Ticket, draft: Draft) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._settle(ticket.n, draft)
            raise

    async def _attempt(self, ticket: Ticket, name: str) -> bool:
        """Ask one proposer once; False where it came to nothing because a model cannot be had."""
        async with self._slots.take() as slot:
            proposer = self._books.parts.who("" if name == self.quota.name("") else name)
            if (wall := await self._books.spending.room(paid=self._costs(proposer))) is not None:
                raise Ended(wall)
            if self.quota.is_out(name):
                return False
            self._books.adopt_texts()
            e = self._books.experiment(ticket.n)
            parent, folder = self._books.candidate(e.parents[0]), self._books.folder(e.drafted_as)
            draft = self._books.parts.workspace.draft(slot, parent, folder)
            self._books.watch("proposing", {"n": e.n, "slot": slot, "proposer": proposer.name})
            try:
                with self._settled(ticket, draft):
                    proposal = Proposal() if e.failure else await self._ask_proposer(ticket, name, proposer, slot, draft)
            except ProposerWaits as waits:
                self.quota.put_off(ticket.n, name, waits)
                self._books.watch("put_off", {"n": ticket.n, "slot": slot})
                return False
            except (Exhausted, ProposerUnfit) as error:
                if not self.quota.unfit(ticket.n, name, str(error)):
                    raise
                self._books.watch("put_off", {"n": ticket.n, "slot": slot})
                return False
            self.quota.answered(name)
            proposal = self._books.options.mask.hide(proposal, draft)
            if (failure := self._books.experiment(ticket.n).failure) is not None:  # a trial's, perhaps of a killed attempt
                proposal = replace(proposal, failure=failure)
            self._record(ticket.n, proposer, proposal, draft)
        return True

    def _costs(self, proposer: Proposer) -> bool:
        return is_paid(proposer) or self._books.spending.reported(proposer.name) is not None

    def _record(self, n: int, proposer: Proposer, proposal: Proposal, draft: Draft) -> None:
        """What came of it, with what all attempts at it have cost."""
        if proposal.cost_usd or proposal.tokens:
            draft.spend(proposal.cost_usd, proposal.tokens)
        cost_usd, tokens = draft.spent()
        try:
            content = self._store(proposal.content)
        except SetupError as error:
            proposal, content = Proposal(proposal.description, failure=("proposer_crash", str(error))), ""
        body = {
            "description": one_line(proposal.description),
            "proposer": proposer.name,
            "cost_usd": cost_usd,
            "tokens": tokens,
            "notes": list(proposal.notes),
            "failure": list(proposal.failure) if proposal.failure else None,
            "settings": dict(proposal.settings),
            "content": content,
            "touched": [*draft.touched(), *self._named(proposal.content)],
            "hypothesis": one_line(proposal.hypothesis, 500),
            "expected": proposal.expected,
            "model": proposal.model,
            "turns": proposal.turns,
        }
        needed = {key: value for key, value in body.items() if value or key == "description"}
        self._books.append(Event("proposed", n, needed), durable=bool(cost_usd or tokens))  # what was paid for is on disk
        if is_paid(proposer):
            refuse_unpriced(self._books, proposer, proposal.model or proposer.name, cost_usd, tokens)

    async def _ask_proposer(self, ticket: Ticket, name: str, proposer: Proposer, slot: int, draft: Draft) -> Proposal:
        """Whatever goes wrong in a proposer is a failed proposal."""
        e = self._books.experiment(ticket.n)
        terms = self._books.terms(name)
        limit_s = terms.timeout_s
        try:
            patience = Patience(limit_s + 10)  # a proposer that holds its own limit says more
            own = terms.allowance if is_paid(proposer) else None
            with self._books.spending.hold(e.n, own, reported=self._books.spending.reported(proposer.name)) as allowance:
                if allowance.cost_usd <= 0 or allowance.tokens <= 0:
                    return Proposal(failure=("proposer_cost", _used_up(e)))
                brief = self._brief(ticket, proposer, slot, patience)
                brief = replace(brief, proposer=name, allowance=allowance, timeout_s=limit_s, say=self._say(ticket, slot))
                with patience.running():
                    proposal = await proposer.propose(brief, draft)
            if proposal.content is None and proposal.failure is None:
                return _collected(proposal, draft)
            return proposal
        except Refused as refused:
            return Proposal(failure=(refused.reason, refused.words))
        except TimeoutError as error:
            words = f"no proposal within {limit_s:.0f} s" if math.isfinite(limit_s) else describe(error)
            return Proposal(failure=("proposer_timeout", words))
        except (DiskFault, RunnerLost) as fault:
            raise Ended(fault_ending(fault)) from fault
        except (Exhausted, ProposerUnfit, ProposerWaits, Ended):
            raise
        except (Exception, SystemExit) as error:  # the experiment's edge: it becomes the verdict's words
            if isinstance(cause := ungroup(error), Ended | ProposerWaits):  # of a trial, or in a task group of its own
                raise cause from None
            return Proposal(failure=("proposer_crash", describe(error)))

    def _brief(self, ticket: Ticket, proposer: Proposer, slot: int, patience: Patience) -> Brief:
        e = self._books.experiment(ticket.n)
        settings, exact = self._books.options.settings, getattr(proposer, "exact", False)
        view = Sight(self._books.history, e.n - self._books.options.lag, exact=exact, seen=self._seen)
        return Brief(
            n=e.n,
            operation=e.operation,
            parent=view.of(e.parents[0]),
            view=view,
            metric=settings.metric,
            direction=settings.direction,
            seed=settings.seed,
            timeout_s=self._books.options.proposal_timeout_s,
            slot=slot,
            render=self._books.options.brief,
            mutation=e.mutation,
            escalation=e.escalation,
            lay_out=lambda folder: self._books.options.left(self._books.experiment(e.parents[0]), folder / "parent"),
            changed=self._changed(e),
            trial=self._trials.of(lambda: self._books.experiment(ticket.n), patience, exact=exact),
        )

    def _changed(self, e: Experiment) -> Mapping[str, tuple[bytes | None, bytes | None]]:
        """What the keep changed whose constants are searched: the last of the experiment's parents."""
        if e.operation != TUNE:
            return {}
        books, keep = self._books, self._books.experiment(e.parents[-1])
        return books.parts.workspace.changed(books.candidate(keep.stands_on), books.candidate(keep.n))

    def _say(self, ticket: Ticket, slot: int) -> Callable[[str], None]:
        return lambda words: self._books.watch("said", {"n": ticket.n, "slot": slot, "words": words})

    def _named(self, content: Edits | State | None) -> tuple[str, ...]:
        return self._books.options.named(content) if isinstance(content, Mapping) else ()

    def _store(self, content: Edits | State | None) -> str:
        return "" if content is None else self._books.parts.ledger.put(self._books.parts.workspace.pack(content))


def _collected(proposal: Proposal, draft: Draft) -> Proposal:
    """What a proposer left in its tree; where that is refused, what it said of it and its cost stay."""
    try:
        edits, notes = draft.collect()
    except Refused as refused:
        return replace(proposal, failure=(refused.reason, refused.words))
    return replace(proposal, content=edits, notes=(*proposal.notes, *notes))


def _used_up(e: Experiment) -> str:
    return f"earlier attempts at it have used up what one proposal may cost: {show_usd(e.cost_usd)}, {e.tokens} tokens"
