"""A ledger in memory: for tests, and for studying acceptance rules at a thousand experiments a second."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from autoresearch.errors import LedgerError
from autoresearch.history import Fold, History
from autoresearch.ledger import chain
from autoresearch.records import ChainedEvent, Event, Request, RunRecord


class MemoryLedger:
    """The Ledger contract without a disk."""

    def __init__(self) -> None:
        self._events: dict[str, list[ChainedEvent]] = {}
        self._histories: dict[str, History] = {}
        self._files: dict[str, bytes] = {}
        self._requests: list[Request] = []
        self._seq = 0

    def append(self, run: str, *events: Event, durable: bool = False) -> ChainedEvent:
        history = self._histories.setdefault(run, History())
        rows = self._events.setdefault(run, [])
        fold = Fold(history, chain.origin(run))
        for i, event in enumerate(events, 1):
            at = time.time() if event.at is None else event.at
            fold.take(chain.link(fold.head, run=run, seq=self._seq + i, event=event, at=at)[0])
        self._seq += len(events)
        rows.extend(step[0] for step in fold.steps)
        return fold.install()

    def history(self, run: str) -> History:
        return self._histories[run]

    def events(self, run: str, *, after: int = 0) -> Iterator[ChainedEvent]:
        return (e for e in list(self._events.get(run, [])) if e.seq > after)

    def runs(self) -> list[RunRecord]:
        return [h.run for h in self._histories.values() if h.run is not None]

    def verify(self, run: str) -> int:
        if run not in self._events:
            raise LedgerError(f"no run {run!r} in this ledger")
        return chain.verify(run, self._events[run])

    def rebuild(self) -> int:
        count = 0
        for run, rows in self._events.items():
            self._histories[run] = History()
            for event in rows:
                self._histories[run].take(event)
                count += 1
        return count

    def forget(self, run: str) -> None:
        self._events.pop(run, None)
        self._histories.pop(run, None)

    def put(self, body: bytes) -> str:
        key = hashlib.sha256(body).hexdigest()
        self._files[key] = body
        return key

    def get(self, key: str) -> bytes:
        return self._files[key]

    def request(self, run: str, kind: str, body: Mapping[str, Any]) -> int:
        self._requests.append(Request(len(self._requests) + 1, run, kind, dict(body), time.time()))
        return len(self._requests)

    def requests(self, run: str) -> list[Request]:
        return [r for r in self._requests if r.run == run and r.answer is None]

    def request_of(self, request: int) -> Request | None:
        return self._requests[request - 1] if 0 < request <= len(self._requests) else None

    def answer(self, request: int, body: Mapping[str, Any]) -> None:
        r = self._requests[request - 1]
        self._requests[request - 1] = Request(r.id, r.run, r.kind, r.body, r.at, dict(body))

    def answered(self, request: int) -> Mapping[str, Any] | None:
        return self._requests[request - 1].answer

    def close(self) -> None:
        pass
