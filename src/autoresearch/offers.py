"""Changes that other processes offer to be tried: heard, given a number, answered once they are decided.

A request is left in the ledger by anybody, so nothing in it is believed: what it holds is a proposal like any other, and what
does not even look like one is refused. An offer that was noted stands in the ledger, and outlives whoever heard it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autoresearch.agenda import Offer
from autoresearch.bench import Bench
from autoresearch.books import Books
from autoresearch.budget import Ending
from autoresearch.contracts import Draft
from autoresearch.errors import AutoresearchError, LedgerError, SetupError
from autoresearch.records import LARGEST, PROBE, TRY, Edits, Event, Experiment, Proposal, Request
from autoresearch.text import describe, one_line
from autoresearch.trials import Trials

_WHAT = ("quick", "checks", "all")
_MODES = ("100644", "100755", "120000")


class Offers:
    """What was offered to this run."""

    def __init__(self, books: Books, bench: Bench) -> None:
        self._books = books
        self._trials = Trials(books, bench)

    def over(self, request: Request, ending: Ending | None) -> bool:
        """Whether the run is at its end, which is answered; `ending` says so besides its walls."""
        ending = ending or self._books.spending.may_try(len(self._books.history.agenda.offered))
        if ending is None or ending.status == "open":
            return False
        self.refuse(request.id, ending.words, over=True, reason=ending.reason)
        return True

    def note(self, request: Request) -> None:
        """Take an offer down, or answer why it is none; what this session cannot pay for is left to the next one."""
        if self._books.spending.may_try(len(self._books.history.agenda.offered)) is not None:
            return
        try:
            offer = self._offer(request)
        except SetupError as error:
            self.refuse(request.id, str(error))
            return
        body = {key: value for key, value in asdict(offer).items() if value not in ("", None)}
        self._books.append(Event("note", None, {"what": "offered", **body}), durable=True)

    def _offer(self, request: Request) -> Offer:
        """A request as an offer.

        Raises:
            SetupError: it is none.
        """
        body = request.body
        parent, edits, key = self._change(body)
        texts = {name: _text(body, name) for name in ("description", "hypothesis", "by")}
        cover = self._books.options.mask.cover
        expected = body.get("expected")
        return Offer(
            job=request.id,
            content=key,
            parent=parent.n,
            description=cover(one_line(texts["description"])) or f"edits {one_line(', '.join(sorted(edits)), 200)}",
            hypothesis=cover(one_line(texts["hypothesis"], 500)),
            expected=expected if isinstance(expected, float) and math.isfinite(expected) else None,
            by=one_line(texts["by"], 40) or TRY,
        )

    def _change(self, body: Mapping[str, Any]) -> tuple[Experiment, Edits, str]:
        """What a request wants to have changed, and of which experiment.

        Raises:
            SetupError: it names no experiment that was kept, or its change cannot be read.
        """
        experiments, parent, key = self._books.history.experiments, body.get("parent"), body.get("content")
        known = isinstance(parent, int) and not isinstance(parent, bool) and 0 <= parent < max(1, len(experiments))
        if not known or not (parent == 0 or experiments[parent].kept):  # type: ignore[index]
            raise SetupError(f"experiment {parent!r} was not kept: a change is tried on the baseline or on a keep")
        try:
            assert isinstance(key, str)
            content = self._books.parts.ledger.get(key)
            assert len(content) <= LARGEST
            edits = self._books.parts.workspace.unpack(content)
            assert isinstance(edits, Mapping)
            assert all(blob is None or blob.mode in _MODES for blob in edits.values())
        except Exception as error:  # whatever a stranger left there
            raise SetupError(f"the change that is to be tried cannot be read: {describe(error)}") from error
        return experiments[parent] if experiments else Experiment(0), edits, key  # type: ignore[index]

    def refuse(self, job: int, words: str, **details: Any) -> None:
        """Answer a request without a verdict."""
        self._books.parts.ledger.answer(job, {"ok": False, "words": words, **details})

    # -- its turn ---------------------------------------------------------------------------------------------------

    def lost(self, offer: Offer) -> bool:
        """Whether what was offered is not there any more, as after a power cut: then it is forgotten, and that is answered."""
        try:
            self._books.parts.ledger.get(offer.content)
        except LedgerError as error:
            self._books.note(None, "withdrawn", job=offer.job)
            self.refuse(offer.job, f"the change that was to be tried is lost: {error}; ask again")
            return True
        return False

    def take(self, offer: Offer) -> tuple[int, int | None]:
        """Give an offer its number; gives it, and under which number what was begun there goes on now.

        It goes before every proposal that is still being written: nobody who waits for a verdict waits for a model.
        """
        history = self._books.history
        proposed = self._proposed(offer)
        asked = next((e for e in history.experiments[history.decided + 1 :] if e.stage == "asked"), None)
        n, new = (asked.n, len(history.experiments)) if asked is not None else (len(history.experiments), None)
        body: dict[str, Any] = {"parents": [offer.parent], "operation": TRY}
        events = [Event("asked", n, body), Event("proposed", n, proposed)]
        if asked is not None:
            events[0] = Event("asked", n, body | {"moved_to": new})
            events.insert(0, Event("asked", new, _moved(asked)))
        self._books.append(*events, durable=True)
        return n, new

    def _proposed(self, offer: Offer) -> dict[str, Any]:
        body = {"description": offer.description, "proposer": offer.by, "content": offer.content, "job": offer.job}
        body |= {"parents": [offer.parent], "hypothesis": offer.hypothesis, "expected": offer.expected}
        return {key: value for key, value in body.items() if value not in ("", None)} | self._looked_at(offer)

    def _looked_at(self, offer: Offer) -> dict[str, Any]:
        """What is found in a proposal's files before it is frozen: secrets, decoys."""
        books = self._books
        edits = books.parts.workspace.unpack(books.parts.ledger.get(offer.content))
        assert isinstance(edits, Mapping)
        draft = books.parts.workspace.draft(0, books.candidate(offer.parent), None)
        hidden = books.options.mask.hide(Proposal(offer.description, edits), draft)
        found = {"failure": list(hidden.failure)} if hidden.failure else {}
        named = books.options.named(edits)
        return found | ({"touched": list(named)} if named else {})

    def settle(self, request: Request) -> bool:
        """Answer a request that was noted, once it is decided; whether it was noted."""
        offer = self._books.history.agenda.offers.get(request.id)
        if offer is None:
            return False
        if offer.experiment is not None and self._books.experiment(offer.experiment).decided:
            self.answer(offer.experiment)
        return True

    def answer(self, n: int) -> None:
        """Tell whoever offered it that experiment n is decided."""
        job = self._books.experiment(n).job
        if job is not None:
            self._books.parts.ledger.answer(job, {"ok": True, "experiment": n})

    def withdraw(self) -> None:
        """Forget offers whose turn has not come: the run cannot go on as it is set up."""
        for offer in self._books.history.agenda.offered:
            self._books.note(None, "withdrawn", job=offer.job)

    def note_late(self) -> None:
        """Take down what came while the run was being stopped: it is answered that it stays."""
        for request in self._books.parts.ledger.requests(self._books.options.run):
            if request.kind == TRY and request.id not in self._books.history.agenda.offers:
                self.note(request)

    def tell(self, ending: Ending) -> None:
        """Answer who still waits, where no other process could do better: a person stopped the run, or it cannot go on."""
        for request in self._books.parts.ledger.requests(self._books.options.run):
            if request.kind in (TRY, PROBE):
                stays = request.id in self._books.history.agenda.offers
                self.refuse(request.id, ending.words, **({"stopped": True} if stays else {}))

    # -- without a verdict ------------------------------------------------------------------------------------------

    async def probe(self, request: Request) -> None:
        """Try out what is offered, and answer what came of it.

        Raises:
            Ended: the disk or the runner failed.
        """
        what = request.body.get("what")
        try:
            if what not in _WHAT:
                raise SetupError(f"probe {what!r}: expected one of {', '.join(_WHAT)}")
            parent, edits, _ = self._change(request.body)
            trial = await self._trials.probe(request.id, parent, self._draft(parent, edits), str(what))
        except AutoresearchError as error:
            if not isinstance(error, SetupError):
                raise
            self.refuse(request.id, str(error))
            return
        passed = trial.passed if trial.tried else None
        body = {"ok": True, "what": what, "passed": passed, "words": trial.words, "output": trial.output}
        self._books.parts.ledger.answer(request.id, body)

    def _draft(self, parent: Experiment, edits: Edits) -> Draft:
        return _Given(self._books, self._books.parts.workspace.draft(0, self._books.candidate(parent.n), None), edits)


class _Given:
    """A draft whose edits are known."""

    log_folder: Path | None = None

    def __init__(self, books: Books, draft: Draft, edits: Edits) -> None:
        self._books, self._draft, self._edits = books, draft, edits

    @property
    def state(self) -> object:
        return self._draft.state

    def read(self, path: str) -> bytes:
        return self._draft.read(path)  # type: ignore[attr-defined,no-any-return]  # of a project's draft

    def collect(self) -> tuple[Edits, tuple[str, ...]]:
        return self._edits, ()

    def peek(self) -> Edits:
        return self._edits

    def touched(self) -> tuple[str, ...]:
        return ()

    def spend(self, cost_usd: float = 0.0, tokens: int = 0) -> None:
        """An evaluation's cost: nobody's proposal pays for it, the run does."""
        self._books.note(None, "spent", cost_usd=cost_usd, tokens=tokens)

    def spent(self) -> tuple[float, int]:
        return 0.0, 0


def _moved(e: Experiment) -> dict[str, Any]:
    """An experiment that was begun under another number, as it is asked for under a new one, with what it has cost so far."""
    plan = {"proposer": e.asked, "operation": e.operation, "mutation": e.mutation, "escalation": e.escalation}
    spent = {"cost_usd": e.cost_usd, "tokens": e.tokens, "exhausted": [list(pair) for pair in e.exhausted]}
    found = {**plan, **spent, "failure": list(e.failure) if e.failure else None}
    return {"parents": list(e.parents), "began_as": e.drafted_as} | {key: value for key, value in found.items() if value}


def _text(body: Mapping[str, Any], key: str) -> str:
    found = body.get(key, "")
    return found if isinstance(found, str) else ""
