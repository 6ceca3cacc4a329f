"""The ledger in one SQLite file: all SQL of the project is here.

`events` is append-only and chained; `runs`, `experiments` and `measurements` are views of it, written in the same
transaction and made again by `rebuild`. Whoever holds a run takes it over by `own`, which looks at all that is there first;
that nobody else wrote meanwhile is looked at in each transaction. WAL where the file system allows it; a transaction that
spends money or decides is synced, the others reach the disk with the next one that is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoresearch.errors import DiskFault, LedgerError
from autoresearch.history import Fold, History
from autoresearch.ledger import chain, remedies, strangers, views
from autoresearch.ledger.audit import Folded, compare, events_of, fold, up_to_break
from autoresearch.ledger.heads import Head, HeadFile, boot, read_head
from autoresearch.records import ChainedEvent, Event, Request, RunRecord
from autoresearch.text import one_line

FORMAT = 1  # of the events: a program that knows less refuses the file
VIEWS = 7  # of the views: rebuilt from the events when it differs

_EVENTS = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, n INTEGER, attempt INTEGER NOT NULL,
  kind TEXT NOT NULL, at REAL NOT NULL, body TEXT NOT NULL, prev TEXT NOT NULL, hash TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_run ON events (run, seq);
CREATE TRIGGER IF NOT EXISTS events_stay BEFORE UPDATE ON events
  BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TABLE IF NOT EXISTS requests (
  id INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL,
  at REAL NOT NULL, answer TEXT);
CREATE INDEX IF NOT EXISTS requests_open ON requests (run) WHERE answer IS NULL;
"""
_VIEWS = """
DROP TABLE IF EXISTS runs; DROP TABLE IF EXISTS experiments; DROP TABLE IF EXISTS measurements;
CREATE TABLE runs (run TEXT PRIMARY KEY, status TEXT NOT NULL, started_at REAL NOT NULL, body TEXT NOT NULL,
  seal TEXT NOT NULL, head TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE experiments (
  run TEXT NOT NULL, n INTEGER NOT NULL, stage TEXT NOT NULL, verdict TEXT, reason TEXT, value REAL, tree TEXT,
  description TEXT, body TEXT NOT NULL, seal TEXT NOT NULL, PRIMARY KEY (run, n));
CREATE TABLE measurements (
  run TEXT NOT NULL, n INTEGER NOT NULL, i INTEGER NOT NULL, of INTEGER NOT NULL, arm TEXT NOT NULL,
  phase TEXT NOT NULL, seed INTEGER NOT NULL, outcome TEXT NOT NULL, metrics TEXT NOT NULL, duration_s REAL NOT NULL,
  PRIMARY KEY (run, n, i)) WITHOUT ROWID;
"""
_PUT_RUN = "INSERT OR REPLACE INTO runs VALUES (?,?,?,?,?,?)"
_PUT_EXPERIMENT = "INSERT OR REPLACE INTO experiments VALUES (?,?,?,?,?,?,?,?,?,?)"
_PUT_MEASUREMENT = "INSERT OR REPLACE INTO measurements VALUES (?,?,?,?,?,?,?,?,?,?)"
_PUT_EVENT = "INSERT INTO events (run,n,attempt,kind,at,body,prev,hash) VALUES (?,?,?,?,?,?,?,?)"
_EVENT_AFTER = "SELECT seq, kind, n FROM events WHERE run=? AND seq > ? ORDER BY seq"
_UNSURE = (
    "the machine was started again since the run was worked on, and its last events may have been written by anybody: "
    "they are believed, as after a power cut"
)
_KEY = re.compile("[0-9a-f]{64}")
_NETWORK = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "lustre",
        "gpfs",
        "beegfs",
        "glusterfs",
        "fuse.sshfs",
        "fuse.glusterfs",
    ]
)


_OPENING = threading.Lock()
"""While a thread opens a ledger to write, no other one of this process looks into the file past SQLite."""


def network_filesystem(path: Path, mounts: str | None = None) -> bool:
    """Whether `path` lies on a network file system, where WAL's shared memory does not work."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text()
        except OSError:
            return False
    best, kind = "", ""
    target = str(path.resolve())
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ")
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind in _NETWORK


def is_made(path: Path) -> bool:
    """Whether there is a ledger at a path with everything in it; another process may just be making it."""
    try:
        db = sqlite3.connect(_to_read(path), uri=True, timeout=30)
    except sqlite3.OperationalError:
        return False
    try:
        return db.execute("SELECT 1 FROM sqlite_master WHERE name='measurements'").fetchone() is not None
    except sqlite3.OperationalError:
        return False
    except sqlite3.DatabaseError:
        return True  # whoever opens it says what is wrong with it
    finally:
        db.close()


class SqliteLedger:
    """The Ledger contract on a file.

    Args:
        path: the database; its folder must exist. Larger bodies go to `files/` beside it.
        read_only: open without the right to write (`mode=ro`), also while a run writes.
        heads: where a run's owner leaves how far it has written; None leaves it nowhere.
    """

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        files: Path | None = None,
        heads: Callable[[str], Path] | None = None,
    ) -> None:
        self.path = Path(path)
        self._heads = heads
        self._owned: dict[str, HeadFile] = {}
        self._files = files or self.path.parent / "files"
        self._read_only = read_only
        self._histories: dict[str, History] = {}
        self._synced = True
        try:
            self._db = self._open()
            self._prepare()
        except sqlite3.DatabaseError as error:
            raise _translate(error, self.path) from error

    def _open(self) -> sqlite3.Connection:
        if self._read_only:
            return _connect(_to_read(self.path))
        mode = "DELETE" if network_filesystem(self.path.parent) else "WAL"
        with _OPENING:
            db = _connect(f"file:{_quote(self.path)}?mode=rwc")
            os.chmod(self.path, 0o600)
            db.execute(f"PRAGMA journal_mode={mode}")
            db.execute("SELECT 1 FROM sqlite_master").fetchone()  # from here on there is a log
        return db

    def _prepare(self) -> None:
        if self._read_only:
            self._check_format()
            self._check_views()
            return
        self._db.executescript(_EVENTS)
        self._check_format()
        version = self._db.execute("SELECT value FROM meta WHERE key='views'").fetchone()
        if version is None or version[0] != VIEWS:
            self.rebuild()

    def _check_format(self) -> None:
        row = self._db.execute("SELECT value FROM meta WHERE key='format'").fetchone()
        if row is None and not self._read_only:
            self._db.execute("INSERT INTO meta VALUES ('format', ?)", (FORMAT,))
        elif row is not None and row[0] > FORMAT:
            raise LedgerError(
                f"{self.path} has format {row[0]}, this program knows {FORMAT}: it was written by a newer autoresearch. "
                "Update autoresearch; nothing was changed."
            )

    def _check_views(self) -> None:
        row = self._db.execute("SELECT value FROM meta WHERE key='views'").fetchone()
        if row is not None and row[0] != VIEWS:
            raise LedgerError(
                f"{self.path} has tables of version {row[0]}, this program's are of version {VIEWS}: they are made again by "
                "`autoresearch log --rebuild`, and by the next run"
            )

    # -- writing ----------------------------------------------------------------------------------------------------

    def append(self, run: str, *events: Event, durable: bool = False) -> ChainedEvent:
        history = self.history(run)
        fold = Fold(history, chain.origin(run))
        before = fold.head
        with self._transaction(durable=durable):
            self._refuse_strangers(run, before)
            for event in events:
                at = time.time() if event.at is None else event.at
                chained, body = chain.link(fold.head, run=run, seq=0, event=event, at=at)
                row = (run, event.n, event.attempt, event.kind, at, body, chained.prev, chained.hash)
                cursor = self._db.execute(_PUT_EVENT, row)
                fold.take(replace(chained, seq=cursor.lastrowid or 0))
            self._write_views(run, fold)
            if run in self._owned:
                self._owned[run].write(before, fold.head)
        assert fold.steps, "append needs an event"
        if run in self._owned:
            self._owned[run].write(fold.head, fold.head)
        return fold.install()

    def _refuse_strangers(self, run: str, head: str) -> None:
        """Check that the run's last event is the one that was written or read here last.

        Raises:
            LedgerError: somebody else wrote.
        """
        last = self._db.execute("SELECT hash FROM events WHERE run=? ORDER BY seq DESC LIMIT 1", (run,)).fetchone()
        if (last[0] if last else chain.origin(run)) != head:
            known = self._db.execute("SELECT max(seq) FROM events WHERE run=? AND hash=?", (run, head)).fetchone()[0]
            foreign = self._db.execute(f"{_EVENT_AFTER} LIMIT 1", (run, known or 0)).fetchone()
            what = "its events are not"
            if foreign and (known or head == chain.origin(run)):
                what = "event {} ({} of experiment {}) is not".format(*foreign)
            raise LedgerError(
                f"somebody else wrote into the ledger of run {run!r} while this process worked on it: {what} what was written "
                f"here. Nothing is decided by it. {remedies.restart(run)}"
            )

    def _write_views(self, run: str, fold: Fold) -> None:
        event, _, record = fold.steps[-1]
        if any(step[0].kind in ("run_started", "run_stopped") for step in fold.steps):
            self._db.execute(_PUT_RUN, (*views.sealed(views.run_row(record)), fold.head))
        else:
            self._db.execute("UPDATE runs SET head=? WHERE run=?", (fold.head, run))
        for experiment in fold.changed.values():
            self._db.execute(_PUT_EXPERIMENT, views.sealed(views.experiment_row(run, experiment)))
        for event, experiment_, _ in fold.steps:
            if event.kind == "measured" and experiment_ is not None:
                row = views.measurement_row(run, experiment_, len(experiment_.measurements) - 1)
                self._db.execute(_PUT_MEASUREMENT, row)

    @contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[None]:
        try:
            if durable != self._synced:
                self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                self._synced = durable
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.DatabaseError as error:
            raise _translate(error, self.path) from error

    def rebuild(self) -> int:
        """Make the views again from the events; gives how many events were read.

        Of a run whose chain is broken they show what came before, and readers refuse it.
        """
        count = 0
        with self._transaction(durable=True):
            for statement in filter(None, map(str.strip, _VIEWS.split(";"))):
                self._db.execute(statement)
            self._histories.clear()
            for run in self.names():
                folded, holds = up_to_break(self._db, run)
                count += folded.count
                if folded.run is None:
                    continue
                self._db.execute(_PUT_RUN, (*views.sealed(views.run_row(folded.run)), folded.head if holds else ""))
                for experiment in folded.experiments:
                    self._db.execute(_PUT_EXPERIMENT, views.sealed(views.experiment_row(run, experiment)))
                    for i in range(len(experiment.measurements)):
                        self._db.execute(_PUT_MEASUREMENT, views.measurement_row(run, experiment, i))
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('views', ?)", (VIEWS,))
        return count

    def forget(self, run: str) -> None:
        with self._transaction(durable=True):
            for table in ("events", "requests", "runs", "experiments", "measurements"):
                self._db.execute(f"DELETE FROM {table} WHERE run=?", (run,))
        self._histories.pop(run, None)
        if (file := self._owned.pop(run, None)) is not None:
            file.close()

    # -- owning ------------------------------------------------------------------------------------------------------

    def own(self, run: str) -> str:
        """Begin to write a run, by whoever holds its lock; from here on nobody else's event is built on.

        Returns:
            What could not be checked, in words; `` for nothing.
        Raises:
            LedgerError: somebody else wrote into it; nothing was changed.
        """
        self._histories.pop(run, None)  # what was read before the lock was had may be old
        folded, words = self._audited(run)
        self.history(run)
        if self._heads is not None:
            self._owned[run] = HeadFile(self._heads(run), folded.head)
        return words

    def audit(self, run: str) -> tuple[int, str]:
        """Check a run's chain from its origin, that the tables are what its events come to, and that it ends where its owner
        left it; gives the number of events, and in words what could not be checked.

        Raises:
            LedgerError: says what is wrong and what to do about it.
        """
        folded, words = self._audited(run)
        return folded.count, words

    def _audited(self, run: str) -> tuple[Folded, str]:
        if self._heads is None:
            return self._examined(run, None), ""
        for _ in range(20):
            known = read_head(self._heads(run))
            is_of_now = known is not None and known.boot == boot()
            try:
                folded = self._examined(run, known if is_of_now else None)
            except LedgerError:
                if read_head(self._heads(run)) == known:
                    raise
                continue  # its owner wrote meanwhile
            if known is None and folded.count:
                raise LedgerError(
                    f"{self._heads(run)} is gone, in which a run's owner leaves how far it has written: what is in the "
                    f"ledger of run {run!r} may be anybody's. {remedies.restart(run, folded.start)}"
                )
            late = known is not None and not is_of_now and not known.is_at(folded.head)
            return folded, _UNSURE if late else ""
        raise LedgerError(f"run {run!r} is written to all the time: look again while nobody works on it")

    def _examined(self, run: str, known: Head | None) -> Folded:
        with self._snapshot():
            folded = fold(self._db, run, known)
            compare(self._db, run, folded)
        return folded

    # -- reading ----------------------------------------------------------------------------------------------------

    def history(self, run: str) -> History:
        if run not in self._histories:
            with self._snapshot():
                self._histories[run] = views.load(self._db, run)
        return self._histories[run]

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Let what is read belong together, while another process writes."""
        try:
            if self._db.in_transaction:
                yield
                return
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                self._db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            translated = _translate(error, self.path)
            if translated is not error:
                raise translated from error
            raise LedgerError(
                f"{self.path} cannot be read ({error}): somebody else wrote into it. {remedies.rebuild()}"
            ) from error

    def events(self, run: str, *, after: int = 0) -> Iterator[ChainedEvent]:
        sql = "SELECT seq,run,n,attempt,kind,at,body,prev,hash FROM events WHERE run=? AND seq>? ORDER BY seq"
        for seq, run_, n, attempt, kind, at, body, prev, hash_ in self._db.execute(sql, (run, after)):
            yield ChainedEvent(seq, run_, n, attempt, kind, at, json.loads(body), prev, hash_)

    def runs(self) -> list[RunRecord]:
        with self._snapshot():
            rows = self._db.execute(f"SELECT {views.RUN}, seal FROM runs ORDER BY started_at, run").fetchall()
        return [views.run_record(views.unsealed(row[0], "the run", row)[-1]) for row in rows]

    def names(self) -> list[str]:
        """The runs that there are events or views of."""
        with self._snapshot():
            rows = self._db.execute("SELECT run FROM events UNION SELECT run FROM runs ORDER BY run").fetchall()
        return [str(run) for (run,) in rows]

    def verify(self, run: str) -> int:
        with self._snapshot():
            count = sum(1 for _ in events_of(self._db, run))
        if not count:
            raise LedgerError(f"no run {run!r} in {self.path}")
        return count

    # -- larger bodies, requests ------------------------------------------------------------------------------------

    def put(self, body: bytes) -> str:
        key = hashlib.sha256(body).hexdigest()
        target = self._files / key
        if not target.exists():
            try:
                self._files.mkdir(mode=0o700, exist_ok=True)
                partial = f"{self._files}/.{key}.{os.getpid()}"
                with open(partial, "wb") as file:
                    file.write(body)
                os.rename(partial, target)
            except OSError as error:
                raise DiskFault(f"cannot write {target}: {error.strerror}") from error
        return key

    def get(self, key: str) -> bytes:
        if not _KEY.fullmatch(key):
            raise LedgerError(f"{one_line(key, 80)!r} names no file of the ledger: expected the hash of one in {self._files}")
        try:
            with open(os.open(self._files / key, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                body = file.read() if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
        except OSError as error:
            raise LedgerError(f"the file {key[:12]}… that the ledger names is not in {self._files}") from error
        if hashlib.sha256(body).hexdigest() != key:
            raise LedgerError(f"{self._files / key} is not what was written there: somebody changed it, nothing is made of it")
        return body

    def has(self, key: str) -> bool:
        return _KEY.fullmatch(key) is not None and (self._files / key).is_file()

    def request(self, run: str, kind: str, body: Mapping[str, Any]) -> int:
        with self._transaction():
            row = (run, kind, chain.canonical(body), time.time())
            cursor = self._db.execute("INSERT INTO requests (run,kind,body,at) VALUES (?,?,?,?)", row)
        return cursor.lastrowid or 0

    def requests(self, run: str) -> list[Request]:
        sql = f"SELECT {strangers.COLUMNS} FROM requests WHERE run=? AND answer IS NULL ORDER BY id"
        return [strangers.request(row) for row in self._db.execute(sql, (run,))]

    def request_of(self, request: int) -> Request | None:
        if request.bit_length() > 63:
            return None  # SQLite has no such number
        row = self._db.execute(f"SELECT {strangers.COLUMNS} FROM requests WHERE id=?", (request,)).fetchone()
        return None if row is None else strangers.request(row)

    def answer(self, request: int, body: Mapping[str, Any]) -> None:
        with self._transaction():
            self._db.execute("UPDATE requests SET answer=? WHERE id=?", (chain.canonical(body), request))

    def answered(self, request: int) -> Mapping[str, Any] | None:
        sql = f"SELECT answer IS NOT NULL, {strangers.column('answer')} FROM requests WHERE id=?"
        row = self._db.execute(sql, (request,)).fetchone()
        return strangers.answer(row[1]) if row and row[0] else None

    def close(self) -> None:
        for file in self._owned.values():
            file.close()
        self._owned.clear()
        self._db.close()


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None, check_same_thread=False)


def _to_read(path: Path) -> str:
    """How to open a ledger to read it: where nobody writes, -wal and -shm are not made, also where nothing can be made."""
    return f"file:{_quote(path)}?mode=ro" + ("&immutable=1" if _at_rest(path) else "")


def _at_rest(path: Path) -> bool:
    """Whether a ledger in WAL mode has no log: nobody has it open for writing.

    The file itself is looked at last: to close it drops the locks that this process has on it through SQLite, and the next
    process that closes the ledger would take itself for the last one and delete a log that is still written here.
    """
    try:
        with _OPENING:
            if os.path.exists(f"{path}-wal"):
                return False
            with open(path, "rb") as file:
                return file.read(20)[18:19] == b"\x02" and not os.path.exists(f"{path}-wal")
    except OSError:
        return False


def _quote(path: Path) -> str:
    from urllib.parse import quote

    return quote(str(path.absolute()))


def _translate(error: sqlite3.DatabaseError, path: Path) -> Exception:
    code = getattr(error, "sqlite_errorname", "") or ""
    if code.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN")):
        remedy = "Free some space, or make the folder writable, and run again: nothing recorded is lost."
        return DiskFault(f"cannot write the ledger {path}: {error}. {remedy}")
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return LedgerError(f"{path} is damaged or no ledger ({error}). Keep a copy of it before trying anything else.")
    return error
