"""A run's history from the ledger's tables: what folding all its events gives, in a fraction of the time.

Each experiment's row has its record as a JSON array; the few events that touch more than one experiment (roll-backs, notes,
the branch) are folded again. SQL on the tables of `sqlite.py`; nothing is written here.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from autoresearch.history import History, advance_run
from autoresearch.records import ChainedEvent, Experiment, Flag, Kind, Measurement, Outcome, Verdict

_FEW = "('advanced', 'rolled_back', 'note', 'run_started', 'run_stopped')"
_MEASUREMENT: Any = Measurement  # given their fields by position
_EVENT: Any = ChainedEvent
_COLUMNS = "seq, run, n, attempt, kind, at, body, prev, hash"


def dump(e: Experiment) -> str:
    """An experiment's record as a JSON array, without what later events of others change."""
    v = e.verdict
    return json.dumps(
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
        ],
        ensure_ascii=False,
        separators=(",", ":"),
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
    """The history of a run, empty if there is none."""
    history = History()
    rows = db.execute("SELECT n, body FROM experiments WHERE run=? ORDER BY n", (run,))
    history.experiments = [_parse(n, body) for n, body in rows]
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


def _few_events(db: sqlite3.Connection, run: str) -> list[ChainedEvent]:
    sql = f"SELECT {_COLUMNS} FROM events WHERE run=? AND kind IN {_FEW} ORDER BY seq"
    return [_EVENT(*row[:6], json.loads(row[6]), *row[7:]) for row in db.execute(sql, (run,))]


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
