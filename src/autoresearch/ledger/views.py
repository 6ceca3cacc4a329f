"""A run's history from the ledger's tables: what folding all its events gives, in a fraction of the time.

Each experiment's row has its record as a JSON array; the few events that touch more than one experiment (roll-backs, notes,
the branch) are folded again. SQL on the tables of `sqlite.py`; nothing is written here.

A reader looks whether the rows are as they were written: each carries a seal over itself, and the run's names the event that
the tables were made up to. That is a check against slips and rough hands; `audit` makes sure.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from typing import Any

from autoresearch.errors import LedgerError
from autoresearch.folding import advance_run
from autoresearch.history import History
from autoresearch.ledger import chain, remedies
from autoresearch.records import ChainedEvent, Experiment, Flag, Gain, Kind, Measurement, Outcome, RunRecord, Verdict

_FEW = "('advanced', 'rolled_back', 'note', 'run_started', 'run_stopped')"
_MEASUREMENT: Any = Measurement  # given their fields by position
_ENCODE = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
COLUMNS = "seq, run, n, attempt, kind, at, body, prev, hash"
RUN = "run, status, started_at, body"
EXPERIMENT = "run, n, stage, verdict, reason, value, tree, description, body"
MEASUREMENT = "run, n, i, of, arm, phase, seed, outcome, metrics, duration_s"


def run_row(record: RunRecord) -> tuple[Any, ...]:
    """A run's row, without its seal: what stays the same from one start or stop of a session to the next."""
    body = json.dumps(asdict(replace(record, head="", last_at=0.0)), ensure_ascii=False)
    return (record.run, record.status, float(record.started_at), body)


def run_record(body: str) -> RunRecord:
    found = json.loads(body)
    gain = found.pop("validated", None)
    return RunRecord(**found, validated=Gain(**gain) if gain else None)


def experiment_row(run: str, e: Experiment) -> tuple[Any, ...]:
    kind, reason = (e.verdict.kind.value, e.verdict.reason) if e.verdict else (None, None)
    value = None if e.value is None else float(e.value)
    return (run, e.n, e.stage, kind, reason, value, e.tree, e.description, dump(e))


def measurement_row(run: str, e: Experiment, i: int) -> tuple[Any, ...]:
    m = e.measurements[i]
    values = json.dumps(dict(m.values), sort_keys=True)
    return (run, e.n, i, m.of, m.arm, m.phase, m.seed, m.outcome.value, values, m.duration_s)


def sealed(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row with its seal."""
    return (*row, hashlib.sha256(repr(row).encode()).hexdigest()[:16])


def unsealed(run: str, what: str, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row without its seal.

    Raises:
        LedgerError: it is not as it was written.
    """
    if sealed(row[:-1]) != row:
        raise LedgerError(f"run {run!r}: the table row of {what} was changed by somebody else. {remedies.rebuild()}")
    return row[:-1]


def dump(e: Experiment) -> str:
    """An experiment's record as a JSON array, without what later events of others change."""
    v = e.verdict
    return _ENCODE(
        [
            e.parents,
            e.operation,
            e.stage,
            e.description,
            e.proposer,
            e.cost_usd,
            e.tokens,
            e.failure,
            e.tree,
            e.commit,
            [_dump(m) for m in e.measurements],
            e.base,
            e.rebased,
            None if v is None else (v.kind.value, v.reason, v.words, v.value),
            e.value,
            e.kept_commit,
            e.decided_hash,
            e.decided_at,
            e.notes,
            e.content,
            dict(e.settings),
            e.onto,
            e.origin,
            e.build_s,
            e.lines,
            e.touched,
            [(f.name, f.path, f.line, f.words) for f in e.flags],
            e.asked,
            e.mutation,
            e.escalation,
            e.hypothesis,
            e.expected,
            e.model,
            e.turns,
            e.files,
            e.exhausted,
            e.job,
            e.began_as,
        ]
    )


def _dump(m: Measurement) -> list[Any]:
    head = [m.of, m.arm, m.index, m.seed, m.phase, m.outcome.value, dict(m.values), m.duration_s, m.cpu_s, m.peak_mb]
    return [*head, m.memory_from, m.exit_code, m.attempt, m.machine, m.log, m.words, m.touched, m.cost_usd]


def _parse(n: int, body: str) -> Experiment:
    parents, operation, stage, *rest = json.loads(body)
    description, proposer, cost_usd, tokens, failure, tree, commit, measurements, base, rebased, verdict, value, *tail = rest
    kept_commit, decided_hash, decided_at, notes, content, settings, *later, exhausted, job, began_as = tail
    found = Experiment(
        n,
        tuple(parents),
        operation,
        stage,
        description,
        proposer,
        cost_usd,
        tokens,
        tuple(failure) if failure else None,
        tree,
        commit,
        tuple([_MEASUREMENT(*m[:5], Outcome(m[5]), *m[6:16], *map(_frozen, m[16:])) for m in measurements]),
        base,
        rebased,
        Verdict(Kind(verdict[0]), *verdict[1:3], *(verdict[3:] or [value])) if verdict else None,
        value,
        kept_commit,
        decided_hash,
        decided_at,
        False,
        False,
        tuple(notes),
        content,
        settings,
        *map(_frozen, later),
    )
    if not exhausted and job is None and began_as is None:
        return found
    return replace(found, exhausted=tuple((name, operation) for name, operation in exhausted), job=job, began_as=began_as)


def _frozen(value: Any) -> Any:
    return tuple([Flag(*v) if isinstance(v, list) else v for v in value]) if isinstance(value, list) else value


def load(db: sqlite3.Connection, run: str) -> History:
    """The history of a run, empty if there is none.

    Raises:
        LedgerError: the tables are not as they were written, or not up to the last event.
    """
    check_head(db, run)
    history = History()
    history.experiments = list(_experiments(db, run))
    events = _few_events(db, run)
    _fold_run(db, run, history, events)
    by_number: dict[int | None, list[ChainedEvent]] = {}
    for event in events:
        by_number.setdefault(event.n, []).append(event)
    for e in list(history.experiments):
        _fold_experiment(db, run, history, e, by_number.get(e.n, ()))
    for event in events:
        history.take_branch(event)
        history.agenda.take(event)
        if event.n is None:
            history.take_note(event)
    for e in history.experiments:
        if e.origin is not None:
            history.agenda.revived(e.origin)
        if e.job is not None:
            history.agenda.taken(e.job, e.n)
    return history


def check_head(db: sqlite3.Connection, run: str) -> None:
    """Check that the tables were made up to the last event.

    Raises:
        LedgerError: names the last event.
    """
    known = db.execute("SELECT head FROM runs WHERE run=?", (run,)).fetchone()
    sql = "SELECT hash, seq, kind, n FROM events WHERE run=? ORDER BY seq DESC LIMIT 1"
    last = db.execute(sql, (run,)).fetchone()
    if (known and known[0]) != (last and last[0]):
        found = f"its last event is {last[1]} ({last[2]} of experiment {last[3]})" if last else "it has no events"
        raise LedgerError(
            f"somebody else wrote into the ledger of run {run!r}: {found}, which its tables do not go by. "
            f"Nothing of it is shown as a result. {remedies.restart(run)}"
        )


def _experiments(db: sqlite3.Connection, run: str) -> Iterator[Experiment]:
    rows = db.execute(f"SELECT {EXPERIMENT}, seal FROM experiments WHERE run=? ORDER BY n", (run,))
    for n, row in enumerate(rows):
        if row[1] != n:
            raise LedgerError(f"run {run!r}: the table row of experiment {n} is gone. {remedies.rebuild()}")
        yield _parse(n, unsealed(run, f"experiment {n}", row)[-1])


def _few_events(db: sqlite3.Connection, run: str) -> list[ChainedEvent]:
    sql = f"SELECT {COLUMNS} FROM events WHERE run=? AND kind IN {_FEW} ORDER BY seq"
    return [chain.checked(run, row) for row in db.execute(sql, (run,))]


def _fold_run(db: sqlite3.Connection, run: str, history: History, events: Iterable[ChainedEvent]) -> None:
    for event in events:
        if event.kind in ("run_started", "run_stopped"):
            history.run = advance_run(_as_of(db, run, history.run, event.seq), event)
    if history.run is not None:
        history.run = _as_of(db, run, history.run, None)


def _as_of(db: sqlite3.Connection, run: str, record: Any, seq: int | None) -> Any:
    """The run's record with time and hash of the event before `seq`, or of the last one."""
    if record is None:
        return None
    sql = "SELECT at, hash FROM events WHERE run=? AND seq<? ORDER BY seq DESC LIMIT 1"
    at, hash_ = db.execute(sql, (run, seq if seq is not None else 2**62)).fetchone()
    return replace(record, last_at=at, head=hash_)


def _fold_experiment(db: sqlite3.Connection, run: str, history: History, e: Experiment, events: Iterable[ChainedEvent]) -> None:
    history.evaluations += len(e.measurements)
    history.cost_usd += e.cost_usd + sum(m.cost_usd for m in e.measurements)
    history.tokens += e.tokens
    history.dearest_usd = max((history.dearest_usd, *(m.cost_usd for m in e.measurements)))
    if e.tree:
        history.trees.setdefault(_first_tree(db, run, e), e.n)
    if e.decided:
        history.take_decision(e)
    for event in events:
        if event.kind == "rolled_back":
            history.roll_back(int(event.body["to"]))
        elif event.kind == "note":
            history.take_note(event)


def _first_tree(db: sqlite3.Connection, run: str, e: Experiment) -> str:
    """The tree as it was first frozen: a re-based candidate has another one now."""
    if not e.rebased:
        return e.tree
    sql = "SELECT body FROM events WHERE run=? AND n=? AND kind='frozen' ORDER BY seq LIMIT 1"
    body: dict[str, str] = json.loads(db.execute(sql, (run, e.n)).fetchone()[0])
    return body["tree"]
