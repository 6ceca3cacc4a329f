"""A run's ledger looked at as if a stranger had written it: the chain from its origin, and the tables against its events."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from autoresearch.errors import LedgerError
from autoresearch.folding import advance, advance_run
from autoresearch.ledger import chain, remedies, views
from autoresearch.ledger.heads import Head
from autoresearch.records import ChainedEvent, Experiment, RunRecord


def events_of(db: sqlite3.Connection, run: str) -> Iterator[ChainedEvent]:
    """The events of a run, each checked against the one before it.

    Raises:
        LedgerError: names the first one that does not fit.
    """
    prev = chain.origin(run)
    for row in db.execute(f"SELECT {views.COLUMNS} FROM events WHERE run=? ORDER BY seq", (run,)):
        event = chain.checked(run, row, prev)
        prev = event.hash
        yield event


class Folded:
    """What the events of a run come to, as far as the tables show it; `tip` is the newest commit on its line."""

    def __init__(self, run: str) -> None:
        self.head, self.count, self.tip = chain.origin(run), 0, ""
        self.run: RunRecord | None = None
        self.experiments: list[Experiment] = []
        self._last_at = 0.0

    @property
    def start(self) -> str:
        """The commit that a new run may start from."""
        return self.tip or (self.run.base if self.run is not None else "")

    def take(self, event: ChainedEvent) -> None:
        """Fold one event.

        Raises:
            LedgerError: it does not follow from those before it: this program did not write it.
        """
        try:
            self._fold(event)
        except (AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise LedgerError(
                f"event {event.seq} of run {event.run!r} ({event.kind} of experiment {event.n}) is none that this program "
                f"writes ({error or type(error).__name__}). Somebody else wrote into the ledger."
            ) from error
        self.head, self.count, self._last_at = event.hash, self.count + 1, event.at

    def _fold(self, event: ChainedEvent) -> None:
        if event.kind in ("run_started", "run_stopped"):
            before = None if self.run is None else replace(self.run, last_at=self._last_at)
            self.run = advance_run(before, event)
        if self.run is None:
            raise ValueError("it comes before run_started")
        if event.n is not None:
            old = self.experiments[event.n] if 0 <= event.n < len(self.experiments) else None
            experiment = advance(old, event)
            if old is None and event.n != len(self.experiments):
                raise ValueError(f"it comes after {len(self.experiments)} experiments")
            self.experiments[event.n : event.n + 1] = [experiment]
        if event.kind in ("advanced", "rolled_back"):
            self.tip = str(event.body["commit"])


def fold(db: sqlite3.Connection, run: str, known: Head | None = None) -> Folded:
    """What the events of a run come to.

    Args:
        known: how far its owner has written, where that is known; what comes after it is not where a new run may start.
    Raises:
        LedgerError: the chain does not hold; says from which commit to start again.
    """
    folded, start = Folded(run), ""
    try:
        for event in events_of(db, run):
            folded.take(event)
            if known is not None and event.hash in (known.before, known.after):
                start = folded.start
        if known is not None and not known.is_at(folded.head):
            raise LedgerError(_stands_elsewhere(db, run, known))
    except LedgerError as error:
        raise LedgerError(f"{error} {remedies.restart(run, start or folded.start)}") from error
    return folded


def _stands_elsewhere(db: sqlite3.Connection, run: str, known: Head) -> str:
    """What of a chain that holds was not written by the run's owner."""
    sql = "SELECT seq, kind, n FROM events WHERE run=? AND seq > (SELECT seq FROM events WHERE run=? AND hash=?) ORDER BY seq"
    foreign = db.execute(sql, (run, run, known.after)).fetchone()
    if foreign is None:
        return f"events of run {run!r} are gone: it does not end where the process that owned it left it."
    seq, kind, n = foreign
    return f"somebody else wrote into the ledger of run {run!r}: event {seq} ({kind} of experiment {n}) is none of its owner's."


def compare(db: sqlite3.Connection, run: str, folded: Folded) -> None:
    """Check that the tables are what the events come to.

    Raises:
        LedgerError: names what differs first.
    """
    runs = [] if folded.run is None else [(*views.sealed(views.run_row(folded.run)), folded.head)]
    _same(db, run, "runs", f"{views.RUN}, seal, head", runs, lambda row: "the run")
    rows = [views.sealed(views.experiment_row(run, e)) for e in folded.experiments]
    _same(db, run, "experiments", f"{views.EXPERIMENT}, seal", rows, lambda row: f"experiment {row[1]}")
    rows = [views.measurement_row(run, e, i) for e in folded.experiments for i in range(len(e.measurements))]
    _same(db, run, "measurements", views.MEASUREMENT, rows, lambda row: f"measurement {row[2]} of experiment {row[1]}")


def _same(
    db: sqlite3.Connection, run: str, table: str, columns: str, rows: list[tuple[Any, ...]], name: Callable[[Any], str]
) -> None:
    order = "1" if table == "runs" else "2, 3" if table == "measurements" else "2"
    found = db.execute(f"SELECT {columns} FROM {table} WHERE run=? ORDER BY {order}", (run,)).fetchall()
    if found == rows:
        return
    wrong = next((b or a for a, b in zip_longest(found, rows) if a != b), None)
    raise LedgerError(
        f"run {run!r}: the table {table} does not say of {name(wrong)} what the events do: somebody else wrote into it. "
        f"{remedies.rebuild()}"
    )


def up_to_break(db: sqlite3.Connection, run: str) -> tuple[Folded, bool]:
    """What the events of a run come to as far as its chain holds, and whether that is all of it."""
    folded = Folded(run)
    try:
        for event in events_of(db, run):
            folded.take(event)
    except LedgerError:
        return folded, False
    return folded, True
