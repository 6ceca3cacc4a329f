"""From an experiment that was asked for to a candidate: proposals, frozen as commits, put onto another incumbent."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import anyio

from autoresearch.bench import fault_ending
from autoresearch.books import Books, Ended
from autoresearch.contracts import Brief, Draft, Known, Proposer
from autoresearch.errors import DiskFault, Exhausted, ProposerUnfit, Refused, RepositoryError, RunnerLost, SetupError
from autoresearch.records import Candidate, Edits, Event, Experiment, Kind, Proposal, State, Verdict
from autoresearch.sight import Seen, Sight
from autoresearch.slots import Slots
from autoresearch.text import describe, one_line


class Drafting:
    """Makes candidates.

    Attributes:
        refused: experiments whose proposals cannot be candidates, with why.
    """

    def __init__(self, books: Books) -> None:
        self._books = books
        self._slots = Slots(books.options.proposals)
        self.refused: dict[int, Refused] = {}
        self._seen: Seen = {}

    async def propose(self, n: int) -> None:
        async with self._slots.take() as slot:
            if (wall := self._books.spending.money_spent()) is not None:
                raise Ended(wall)
            e = self._books.experiment(n)
            proposer = self._books.parts.who(e.asked)
            draft = self._books.parts.workspace.draft(slot, self._books.candidate(e.parents[0]), self._books.folder(n))
            self._books.watch("proposing", {"n": n, "slot": slot, "proposer": proposer.name})
            proposal = self._books.options.mask.hide(await self._ask_proposer(e, proposer, slot, draft), draft)
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

    def again(self, n: int) -> bool:
        """Whether a candidate that is to be tried again is this experiment's proposal; it costs nothing.

        Raises:
            Ended: the session was for such candidates only, and there is no further one.
        """
        if not self._books.history.agenda.wanted:
            if self._books.options.errand is not None:
                raise Ended(self._books.options.errand.after)
            return False
        old = self._books.experiment(self._books.history.agenda.wanted[0])
        onto = self._books.history.incumbent.n
        body = {"description": old.description, "proposer": old.proposer, "origin": old.n, "parents": [onto]}
        settings = {"settings": dict(old.settings)} if old.settings and old.stands_on == onto else {}
        self._books.append(Event("proposed", n, body | settings))
        return True

    async def _ask_proposer(self, e: Experiment, proposer: Proposer, slot: int, draft: Draft) -> Proposal:
        """Whatever goes wrong in a proposer is a failed proposal."""
        limit_s = self._books.options.proposal_timeout_s
        try:
            with anyio.fail_after(limit_s + 10):  # a proposer that holds its own limit says more
                proposal = await proposer.propose(self._brief(e, proposer, slot), draft)
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
        except (Exhausted, ProposerUnfit):
            raise
        except (Exception, SystemExit) as error:  # the experiment's edge: it becomes the verdict's words
            return Proposal(failure=("proposer_crash", describe(error)))

    def _brief(self, e: Experiment, proposer: Proposer, slot: int) -> Brief:
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
        )

    def _named(self, content: Edits | State | None) -> tuple[str, ...]:
        return self._books.options.named(content) if isinstance(content, Mapping) else ()

    def _store(self, content: Edits | State | None) -> str:
        return "" if content is None else self._books.parts.ledger.put(self._books.parts.workspace.pack(content))

    def freeze(self, n: int) -> None:
        try:
            frozen = self._frozen(self._books.experiment(n))
        except Refused as refused:
            self.refused[n] = refused
        else:
            self._books.remember(frozen)
            self._books.append(Event("frozen", n, self._body(frozen)))

    def _frozen(self, e: Experiment) -> Candidate:
        workspace, parent = self._books.parts.workspace, self._books.candidate(e.parents[0])
        if e.origin is not None:
            old = self._books.experiment(e.origin)
            candidate = replace(self._books.candidate(old.n), n=e.n)
            arms = candidate, self._books.candidate(old.stands_on), parent
            try:
                return workspace.rebase(*arms, time.time(), self._known(e), e.description)
            except RepositoryError as error:
                raise Refused("stale", f"its candidate cannot be read any more: {error}") from error
        content = workspace.unpack(self._books.parts.ledger.get(e.content))
        if isinstance(content, Mapping) and (words := self._books.options.planted(content)):
            raise Refused("tampering", words)
        return workspace.freeze(e.n, parent, Proposal(e.description, content), time.time(), self._known(e))

    def _body(self, frozen: Candidate) -> dict[str, Any]:
        cover = self._books.options.mask.cover
        flags = [{**asdict(flag), "path": cover(flag.path), "words": one_line(cover(flag.words))} for flag in frozen.flags]
        lines = {} if frozen.lines is None else {"lines": frozen.lines}
        return {"tree": frozen.tree, "commit": frozen.commit} | lines | ({"flags": flags} if flags else {})

    def _known(self, e: Experiment) -> Known:
        """Which trees are duplicates: none of what is tried again on purpose."""
        return (lambda tree: None) if e.origin is not None else self._books.earlier(e.n)

    def rebase(self, n: int) -> Verdict | None:
        """Put a candidate whose parent is not the incumbent any more onto the incumbent, to be measured again."""
        books, e = self._books, self._books.experiment(n)
        arms = books.candidate(n), books.candidate(e.stands_on), books.candidate(books.history.incumbent.n)
        try:
            moved = books.parts.workspace.rebase(*arms, time.time(), self._known(e), e.description)
        except Refused as refused:
            return refusal(refused)
        books.remember(moved)
        books.append(Event("frozen", n, self._body(moved) | {"rebased": True, "onto": books.history.incumbent.n}))
        return None


def _collected(proposal: Proposal, draft: Draft) -> Proposal:
    """What a proposer left in its tree; where that is refused, what it said of it and its cost stay."""
    try:
        edits, notes = draft.collect()
    except Refused as refused:
        return replace(proposal, failure=(refused.reason, refused.words))
    return replace(proposal, content=edits, notes=(*proposal.notes, *notes))


def refusal(refused: Refused) -> Verdict:
    return Verdict(Kind.DISCARD if refused.reason == "stale" else Kind.INVALID, refused.reason, refused.words)
