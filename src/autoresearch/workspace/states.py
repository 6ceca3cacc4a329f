"""The workspace of `optimize`: candidates are values, JSON where possible and pickled otherwise, named by their hash."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoresearch.contracts import Advance, Known, Ledger, Place
from autoresearch.errors import Refused, SetupError
from autoresearch.history import History
from autoresearch.records import Candidate, Edits, Experiment, Proposal, State, Which


def encode(value: Any) -> bytes:
    """A state as bytes: `J` and JSON if it survives the round trip, else `P` and a pickle.

    Raises:
        SetupError: it can be neither.
    """
    try:
        text = json.dumps(value, allow_nan=False)
        if _same(json.loads(text), value):
            return b"J" + text.encode()
    except (TypeError, ValueError, RecursionError):
        pass
    try:
        return b"P" + pickle.dumps(value, protocol=4)
    except Exception as error:
        raise SetupError(f"a state must be JSON or picklable, got {type(value).__name__}: {error}") from error


def _same(a: Any, b: Any) -> bool:
    """Whether two values are equal down to their types and the order of keys."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def decode(body: bytes) -> Any:
    return json.loads(body[1:]) if body[:1] == b"J" else pickle.loads(body[1:])


class StateDraft:
    """The parent's state, for a proposer of states."""

    def __init__(self, parent: Candidate, log_folder: Path | None) -> None:
        self._parent = parent
        self.log_folder = log_folder
        self.cost: list[tuple[float, int]] = []

    @property
    def state(self) -> Any:
        """A fresh copy: what a proposer does to it stays with the proposer."""
        return decode(self._parent.content)

    def collect(self) -> tuple[Edits, tuple[str, ...]]:
        return {}, ()

    def peek(self) -> Edits:
        raise TypeError("a state is nothing that can be tried out")

    def touched(self) -> tuple[str, ...]:
        return ()

    def spend(self, cost_usd: float = 0.0, tokens: int = 0) -> None:
        self.cost.append((cost_usd, tokens))

    def spent(self) -> tuple[float, int]:
        return sum(c for c, _ in self.cost), sum(t for _, t in self.cost)


class StateWorkspace:
    """Candidates of one `optimize` run; their bodies lie in the ledger's files, named by hash."""

    def __init__(self, initial: Any, ledger: Ledger) -> None:
        self._initial = encode(initial)
        self._ledger = ledger

    def begin(self) -> None:
        pass

    def pack(self, content: Edits | State) -> bytes:
        assert isinstance(content, State)
        return encode(content.value)

    def unpack(self, body: bytes) -> State:
        return State(decode(body))

    def baseline(self, at: float) -> Candidate:
        return self._candidate(0, self._initial)

    def _candidate(self, n: int, body: bytes) -> Candidate:
        return Candidate(n, self._ledger.put(body), "", body)

    def load(self, experiment: Experiment) -> Candidate:
        return Candidate(experiment.n, experiment.tree, "", self._ledger.get(experiment.tree))

    def freeze(self, n: int, parent: Candidate, proposal: Proposal, at: float, known: Known) -> Candidate:
        assert isinstance(proposal.content, State)
        body = encode(proposal.content.value)
        tree = hashlib.sha256(body).hexdigest()
        if tree == parent.tree:
            raise Refused("no_change", "the same state as its parent's")
        if (earlier := known(tree)) is not None:
            raise Refused("duplicate", f"the same state as experiment {earlier}")
        return self._candidate(n, body)

    def rebase(
        self, candidate: Candidate, parent: Candidate, onto: Candidate, at: float, known: Known, description: str
    ) -> Candidate:
        """A state replaces its parent whole, so it stands on any other as it is."""
        return candidate

    def changed(self, before: Candidate, after: Candidate) -> Mapping[str, tuple[bytes | None, bytes | None]]:
        return {}

    def advance(self, tree: str, message: str, tip: str, left_at: str, at: float) -> Advance:
        return Advance(tree, moved=True)

    def follow(self, tip: str, left_at: str) -> Advance:
        return Advance(tip, moved=True)

    def reconcile(self, history: History) -> list[str]:
        return []

    async def place(
        self, slot: int, candidate: Candidate, *, pristine: bool = False, which: Which = "evaluate", clean: bool = False
    ) -> Place:
        return Place(folder=None, scratch=None, slot=slot, state=candidate.content)

    def trial(self, n: int, parent: Candidate, edits: Edits) -> Candidate:
        raise TypeError("a state is nothing that can be tried out")

    async def built(self, slot: int, candidate: Candidate, *, pristine: bool = False) -> None:
        raise TypeError("a state is not built")

    def vacate(self, slot: int) -> None:
        pass

    def draft(self, slot: int, parent: Candidate, folder: Path | None) -> StateDraft:
        return StateDraft(parent, None)

    def close(self) -> None:
        pass
