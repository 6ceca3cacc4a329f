"""Canonical JSON and the hash chain of a run's events. The chain starts from the run's name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from autoresearch.errors import LedgerError
from autoresearch.records import ChainedEvent, Event

EVENT_KINDS = frozenset(
    [
        "asked",
        "proposed",
        "frozen",
        "built",
        "measured",
        "decided",
        "advanced",
        "rolled_back",
        "requested",
        "note",
        "run_started",
        "run_stopped",
    ]
)


# made once: half of a ledger's check would go into making them
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_PLAIN = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def canonical(body: Mapping[str, Any]) -> str:
    """Sorted keys, floats by repr, no NaN.

    Raises:
        ValueError: for NaN or an infinity, which have no place in a ledger.
    """
    return _CANONICAL(body)


def origin(run: str) -> str:
    """The hash before a run's first event."""
    return hashlib.sha256(f"autoresearch run {run}".encode()).hexdigest()


def digest(prev: str, *, run: str, n: int | None, attempt: int, kind: str, at: float, body: str) -> str:
    """The hash of one event given the one before it."""
    return hashlib.sha256(_PLAIN([prev, run, n, attempt, kind, repr(at), body]).encode()).hexdigest()


def link(prev: str, *, run: str, seq: int, event: Event, at: float) -> tuple[ChainedEvent, str]:
    """Put an event into its place; gives it and its canonical body."""
    if event.kind not in EVENT_KINDS:
        raise ValueError(f"unknown event kind {event.kind!r}")
    body = canonical(event.body)
    hash_ = digest(prev, run=run, n=event.n, attempt=event.attempt, kind=event.kind, at=at, body=body)
    chained = ChainedEvent(seq, run, event.n, event.attempt, event.kind, at, json.loads(body), prev, hash_)
    return chained, body


def checked(run: str, row: tuple[Any, ...], prev: str | None = None) -> ChainedEvent:
    """A row of `events` as an event, if its hash is the one that it ought to have.

    Args:
        prev: the hash of the event before it; None takes the row's word for it.
    Raises:
        LedgerError: it is not, or the row is none that this program writes.
    """
    seq, _, n, attempt, kind, at, body, stands_on, hash_ = row
    prev = stands_on if prev is None else prev
    try:
        expected = digest(prev, run=run, n=n, attempt=attempt, kind=kind, at=at, body=body)
        if hash_ == expected and stands_on == prev:
            return ChainedEvent(seq, run, n, attempt, kind, at, json.loads(body), stands_on, hash_)
        found = f"its hash is {str(hash_)[:12]}, expected {expected[:12]}"
    except (TypeError, ValueError, RecursionError) as error:
        found = f"it cannot be read ({error})"
    raise LedgerError(
        f"the chain of run {run!r} is broken at event {seq} ({kind} of experiment {n}): {found}. "
        "Somebody changed the ledger; nothing after it can be trusted."
    )


def verify(run: str, events: Iterable[ChainedEvent]) -> int:
    """Check that each event follows from the one before it.

    Returns:
        How many events were checked.
    Raises:
        LedgerError: names the first event that does not fit.
    """
    prev, count = origin(run), 0
    for e in events:
        body = canonical(e.body)
        expected = digest(prev, run=e.run, n=e.n, attempt=e.attempt, kind=e.kind, at=e.at, body=body)
        if e.prev != prev or e.hash != expected:
            raise LedgerError(
                f"the chain of run {run!r} is broken at event {e.seq} ({e.kind} of experiment {e.n}): its hash is "
                f"{e.hash[:12]}, expected {expected[:12]}. Somebody changed the ledger; nothing after it can be trusted."
            )
        prev, count = e.hash, count + 1
    return count
