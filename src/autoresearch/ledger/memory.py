"""A ledger in memory: for tests, and for studying acceptance rules at a thousand experiments a second."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from autoresearch.errors import LedgerError
from autoresearch.history import History, advance, advance_run
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
        chained = None
        for event in events:
            prev = rows[-1].hash if rows else chain.origin(run)
            at = time.time() if event.at is None else event.at
            self._seq += 1
            chained, _ = chain.link(prev, run=run, seq=self._seq, event=event, at=at)
            _fold(history, chained)
            rows.append(chained)
        assert chained is not None, "append needs an event"
        return chained

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
                _fold(self._histories[run], event)
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

    def answer(self, request: int, body: Mapping[str, Any]) -> None:
        r = self._requests[request - 1]
        self._requests[request - 1] = Request(r.id, r.run, r.kind, r.body, r.at, dict(body))

    def answered(self, request: int) -> Mapping[str, Any] | None:
        return self._requests[request - 1].answer

    def close(self) -> None:
        pass


def _fold(history: History, event: ChainedEvent) -> None:
    experiment = None
    if event.n is not None:
        old = history.experiments[event.n] if event.n < len(history.experiments) else None
        experiment = advance(old, event)
    history.install(event, experiment, advance_run(history.run, event))
