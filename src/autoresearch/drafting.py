"""From a proposal to a candidate: frozen as a commit, put onto another incumbent, or tried again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from autoresearch.books import Books, Ended
from autoresearch.contracts import Known
from autoresearch.errors import LedgerError, Refused, RepositoryError
from autoresearch.records import Candidate, Event, Experiment, Kind, Proposal, Verdict
from autoresearch.text import one_line

_FILES = 20  # names of changed files that are recorded of a candidate


class Drafting:
    """Makes candidates.

    Attributes:
        refused: experiments whose proposals cannot be candidates, with why.
    """

    def __init__(self, books: Books) -> None:
        self._books = books
        self.refused: dict[int, Refused] = {}

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

    def freeze(self, n: int) -> None:
        try:
            frozen = self._frozen(self._books.experiment(n))
        except Refused as refused:
            self.refused[n] = refused
        else:
            self._books.remember(frozen)
            counted = not self._books.experiment(n).restarts  # its lines are none that the incumbent has more or less
            self._books.append(Event("frozen", n, self._body(frozen, counted=counted)))

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
        try:
            content = workspace.unpack(self._books.parts.ledger.get(e.content))
        except LedgerError as error:  # a power cut took the file, and not the event that names it
            raise Refused("proposer_crash", f"what was proposed is lost: {error}") from error
        if isinstance(content, Mapping) and (words := self._books.options.planted(content)):
            raise Refused("tampering", words)
        return workspace.freeze(e.n, parent, Proposal(e.description, content), time.time(), self._known(e))

    def _body(self, frozen: Candidate, *, counted: bool = True) -> dict[str, Any]:
        cover = self._books.options.mask.cover
        flags = [{**asdict(flag), "path": cover(flag.path), "words": one_line(cover(flag.words))} for flag in frozen.flags]
        lines = {"lines": frozen.lines} if counted and frozen.lines is not None else {}
        more = {"flags": flags, "files": [one_line(cover(path)) for path in frozen.files[:_FILES]]}
        return {"tree": frozen.tree, "commit": frozen.commit} | lines | {key: rows for key, rows in more.items() if rows}

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


def refusal(refused: Refused) -> Verdict:
    return Verdict(Kind.DISCARD if refused.reason == "stale" else Kind.INVALID, refused.reason, refused.words)
