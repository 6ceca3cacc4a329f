"""Both ledgers pass the conformance suite; and what only the one on disk has."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.errors import LedgerError
from autoresearch.history import History
from autoresearch.ledger import MemoryLedger, SqliteLedger, is_made, views
from autoresearch.ledger.sqlite import network_filesystem
from autoresearch.records import Event
from autoresearch.testing.ledgers import LedgerConformance, experiment, start


class TestMemoryLedger(LedgerConformance):
    @pytest.fixture
    def ledger(self) -> MemoryLedger:
        return MemoryLedger()


class TestSqliteLedger(LedgerConformance):
    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Iterator[SqliteLedger]:
        ledger = SqliteLedger(tmp_path / "ledger.db")
        yield ledger
        ledger.close()

    def test_another_reader_sees_what_was_committed(self, ledger: SqliteLedger) -> None:
        ledger.append("r", start(), *experiment(0))
        reader = SqliteLedger(ledger.path, read_only=True)
        assert reader.history("r").decided == 0
        with pytest.raises(Exception, match="readonly"):
            reader.append("r", *experiment(1))
        reader.close()

    def test_reopened_it_has_everything(self, ledger: SqliteLedger) -> None:
        ledger.append("r", start(), *experiment(0), *experiment(1))
        again = SqliteLedger(ledger.path)
        assert again.history("r").experiments == ledger.history("r").experiments
        assert [r.run for r in again.runs()] == ["r"]
        again.close()

    def test_history_from_the_tables_is_the_fold_of_the_events(self, ledger: SqliteLedger) -> None:
        ledger.append("r", start(), *experiment(0), *experiment(1), Event("note", 1, {"what": "checked"}))
        ledger.append("r", experiment(2)[0], Event("note", 2, {"what": "exhausted", "proposer": "p", "operation": "tune"}))
        ledger.append("r", Event("asked", 2, {"parents": [1], "proposer": "q", "mutation": "swap", "escalation": "bold"}))
        ledger.append("r", *experiment(2)[1:], *experiment(3)[:4])
        ledger.append("r", Event("frozen", 3, {"tree": "other", "commit": "c", "rebased": True, "files": ["a", "b"]}))
        ledger.append("r", experiment(3)[4])
        ledger.append("r", Event("advanced", 3, {"commit": "c3", "tree": "other", "moved": False}))
        ledger.append("r", Event("rolled_back", 3, {"to": 1, "words": "", "commit": "c4", "tree": "t", "moved": True}))
        ledger.append("r", *experiment(4, "crash"), *experiment(5)[:2])
        ledger.append("r", Event("note", None, {"what": "lost", "experiments": [4]}))
        ledger.append("r", Event("run_stopped", None, {"status": "open", "reason": "stopped", "worked_s": 3.0}))
        ledger.append("r", Event("run_started", None, {}, at=500.0), Event("note", None, {"what": "x"}, at=507.0))
        ledger.append("r", Event("run_started", None, {}, at=600.0))
        folded = History()
        for event in ledger.events("r"):
            folded.take(event)
        again = SqliteLedger(ledger.path, read_only=True)
        assert again.history("r") == folded
        again.close()

    def test_changed_event_breaks_the_chain_and_is_named(self, ledger: SqliteLedger) -> None:
        ledger.append("r", start(), *experiment(0))
        other = sqlite3.connect(ledger.path)
        other.executescript("DROP TRIGGER events_stay; UPDATE events SET body=replace(body, '1.5', '1.4') WHERE kind='decided'")
        other.close()
        with pytest.raises(LedgerError, match="broken at event 6 \\(decided of experiment 0\\)"):
            ledger.verify("r")

    def test_removed_event_breaks_the_chain(self, ledger: SqliteLedger) -> None:
        ledger.append("r", start(), *experiment(0))
        other = sqlite3.connect(ledger.path)
        other.executescript("DELETE FROM events WHERE kind='measured'")
        other.close()
        with pytest.raises(LedgerError, match="broken"):
            ledger.verify("r")

    def test_transaction_after_somebody_else_s_is_refused_and_leaves_nothing(self, ledger: SqliteLedger) -> None:
        ledger.append("r", start(), *experiment(0))
        history = ledger.history("r")
        other = SqliteLedger(ledger.path)
        other.append("r", Event("note", None, {"what": "x"}))
        other.close()
        with pytest.raises(LedgerError, match="event 7 \\(note of experiment None\\) is not what was written here"):
            ledger.append("r", *experiment(1))
        assert len(history.experiments) == 1
        assert ledger.verify("r") == 7

    def test_transaction_after_events_were_deleted_is_refused(self, ledger: SqliteLedger) -> None:
        ledger.append("r", start(), *experiment(0))
        execute(ledger, "DELETE FROM events WHERE seq > 3")
        with pytest.raises(LedgerError, match="its events are not what was written here"):
            ledger.append("r", *experiment(1))

    def test_whoever_takes_a_run_over_sees_what_another_owner_wrote_meanwhile(self, ledger: SqliteLedger) -> None:
        ledger.append("r", start(), *experiment(0))
        other = SqliteLedger(ledger.path)
        assert other.history("r").decided == 0
        ledger.append("r", *experiment(1))
        assert other.own("r") == ""
        assert other.history("r").decided == 1
        other.append("r", *experiment(2))
        other.close()

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE experiments SET verdict='keep' WHERE n=1",
            "UPDATE experiments SET body=replace(body, '2.5', '0.5') WHERE n=1",
            "UPDATE experiments SET n=7 WHERE n=1",
            "UPDATE runs SET head='x'",
            "DROP TABLE experiments",
            "INSERT INTO events SELECT NULL, run, n, attempt, kind, at, body, prev, hash FROM events WHERE seq=3",
            "DELETE FROM events WHERE seq=11",
            "DELETE FROM events",
        ],
    )
    def test_reader_refuses_what_was_changed(self, ledger: SqliteLedger, statement: str) -> None:
        ledger.append("r", start(), *experiment(0), *experiment(1, "discard", 2.5))
        execute(ledger, statement)
        reader = SqliteLedger(ledger.path, read_only=True)
        with pytest.raises(LedgerError, match="autoresearch log --"):
            reader.history("r")
        reader.close()

    def test_reader_refuses_an_order_that_was_changed(self, ledger: SqliteLedger) -> None:
        ledger.append("r", start(), *experiment(0), Event("note", None, {"what": "idea", "text": "one"}), *experiment(1))
        execute(ledger, "DROP TRIGGER events_stay", "UPDATE events SET body=replace(body, 'one', 'two') WHERE kind='note'")
        with pytest.raises(LedgerError, match="broken at event 7"):
            SqliteLedger(ledger.path, read_only=True).history("r")

    def test_reader_beside_a_writer_sees_one_moment(self, ledger: SqliteLedger) -> None:
        ledger.append("r", start(), *experiment(0))
        done = threading.Event()

        def write() -> None:
            own = SqliteLedger(ledger.path)
            for n in range(1, 150):
                for event in experiment(n):
                    own.append("r", event)
            own.close()
            done.set()

        writer = threading.Thread(target=write)
        writer.start()
        seen = 0
        while not done.is_set():
            reader = SqliteLedger(ledger.path, read_only=True)
            seen = max(seen, len(reader.history("r").experiments))
            reader.close()
        writer.join()
        assert seen > 1

    def test_run_of_a_broken_chain_stays_refused_after_a_rebuild(self, ledger: SqliteLedger) -> None:
        ledger.append("r", start(), *experiment(0))
        ledger.append("s", start("s"), *experiment(0))
        copy = "SELECT NULL, run, n, attempt, kind, at, body, prev, hash FROM events WHERE seq=6"
        execute(ledger, f"INSERT INTO events {copy}")
        ledger.rebuild()
        reader = SqliteLedger(ledger.path, read_only=True)
        with pytest.raises(LedgerError, match="log --verify"):
            reader.history("r")
        assert reader.history("s").decided == 0
        assert [r.run for r in reader.runs()] == ["r", "s"]
        reader.close()

    def test_tables_that_agree_with_themselves_and_not_with_the_events_are_refused(self, ledger: SqliteLedger) -> None:
        ledger.append("r", start(), *experiment(0))
        row = views.sealed(views.experiment_row("r", replace(ledger.history("r").experiments[0], value=0.5)))
        with sqlite3.connect(ledger.path) as db:
            db.execute("INSERT OR REPLACE INTO experiments VALUES (?,?,?,?,?,?,?,?,?,?)", row)
        db.close()
        with pytest.raises(LedgerError, match="does not say of experiment 0 what the events do"):
            SqliteLedger(ledger.path).own("r")

    def test_events_cannot_be_updated(self, ledger: SqliteLedger) -> None:
        ledger.append("r", start())
        other = sqlite3.connect(ledger.path)
        with pytest.raises(sqlite3.DatabaseError, match="append-only"):
            other.execute("UPDATE events SET at=0")
        other.close()

    def test_views_of_another_version_are_rebuilt(self, ledger: SqliteLedger) -> None:
        ledger.append("r", start(), *experiment(0))
        ledger.close()
        other = sqlite3.connect(ledger.path)
        other.executescript("UPDATE meta SET value=0 WHERE key='views'; DROP TABLE experiments")
        other.close()
        again = SqliteLedger(ledger.path)
        rows = sqlite3.connect(ledger.path).execute("SELECT n, verdict, value FROM experiments").fetchall()
        assert rows == [(0, "keep", 1.5)]
        again.close()

    def test_views_are_the_same_after_a_rebuild(self, ledger: SqliteLedger) -> None:
        ledger.append("r", start(), *experiment(0), *experiment(1, "discard"))
        ledger.append("r", Event("run_stopped", None, {"status": "open", "reason": "stopped", "worked_s": 1.0}))
        reader = sqlite3.connect(ledger.path)
        queries = ["SELECT * FROM experiments", "SELECT * FROM measurements", "SELECT run, status FROM runs"]
        before = [reader.execute(q).fetchall() for q in queries]
        ledger.rebuild()
        assert [reader.execute(q).fetchall() for q in queries] == before
        reader.close()

    def test_ledger_newer_than_the_program_is_refused(self, ledger: SqliteLedger) -> None:
        ledger.close()
        other = sqlite3.connect(ledger.path)
        other.execute("UPDATE meta SET value=99 WHERE key='format'")
        other.commit()
        other.close()
        with pytest.raises(LedgerError, match="newer autoresearch"):
            SqliteLedger(ledger.path)

    def test_file_that_is_no_database_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "x.db").write_bytes(b"not a database, but long enough to be read as one" * 30)
        with pytest.raises(LedgerError, match="no ledger"):
            SqliteLedger(tmp_path / "x.db")

    def test_ledger_file_is_private(self, ledger: SqliteLedger) -> None:
        assert ledger.path.stat().st_mode & 0o077 == 0


def execute(ledger: SqliteLedger, *statements: str) -> None:
    """What somebody else does to the file."""
    db = sqlite3.connect(ledger.path)
    with db:
        for statement in statements:
            db.execute(statement)
    db.close()


_COME_AND_GO = "import sys, pathlib; from autoresearch.ledger import SqliteLedger as L; L(pathlib.Path(sys.argv[1])).close()"


def test_who_looks_at_a_ledger_leaves_this_process_its_locks(tmp_path: Path) -> None:
    """Else the next process that closes it takes itself for the last one, and deletes the log that this one writes."""
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    for _ in range(3):
        assert is_made(path)
        SqliteLedger(path, read_only=True).close()
        subprocess.run([sys.executable, "-c", _COME_AND_GO, str(path)], check=True)
        job = ledger.request("r", "try", {})
        other = SqliteLedger(path)
        assert other.request_of(job) is not None
        other.close()
    ledger.close()


class TestHead:
    """How far the owner has written, beside the ledger."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        ledger = self.open(tmp_path)
        ledger.own("r")
        ledger.append("r", start(), *experiment(0))
        ledger.append("r", *experiment(1))
        ledger.close()
        return tmp_path

    def open(self, folder: Path) -> SqliteLedger:
        return SqliteLedger(folder / "ledger.db", heads=lambda run: folder / run / "chain.head")

    def set(self, folder: Path, before: str, after: str, boot: str | None = None) -> None:
        file = folder / "r" / "chain.head"
        file.write_text(f"{before} {after} {boot or file.read_text().split()[2]}\n")

    def test_it_is_where_the_chain_is(self, path: Path) -> None:
        ledger = self.open(path)
        *_, last = ledger.events("r")
        assert (path / "r" / "chain.head").read_text().split()[:2] == [last.hash, last.hash]
        assert ledger.audit("r") == (11, "")
        ledger.close()

    @pytest.mark.parametrize("committed", [True, False])
    def test_kill_before_or_after_the_commit_is_no_forgery(self, path: Path, committed: bool) -> None:
        ledger = self.open(path)
        hashes = [e.hash for e in ledger.events("r")]
        self.set(path, *((hashes[5], hashes[10]) if committed else (hashes[10], "0" * 64)))
        assert ledger.own("r") == ""
        ledger.append("r", *experiment(2))
        assert ledger.audit("r") == (16, "")
        ledger.close()

    def test_event_of_nobody_s_is_named(self, path: Path) -> None:
        stranger = SqliteLedger(path / "ledger.db")
        stranger.append("r", *experiment(2))
        stranger.close()
        ledger = self.open(path)
        with pytest.raises(LedgerError, match="event 12 \\(asked of experiment 2\\) is none of its owner's"):
            ledger.own("r")
        ledger.close()

    def test_past_another_start_of_the_machine_it_proves_nothing_and_that_is_said(self, path: Path) -> None:
        self.set(path, "0" * 64, "0" * 64, boot="earlier")
        ledger = self.open(path)
        assert "the machine was started again" in ledger.own("r")
        assert ledger.audit("r") == (11, "")  # from here on it does
        ledger.close()

    @pytest.mark.parametrize("text", [None, "", "no head\n"])
    def test_run_without_it_is_refused(self, path: Path, text: str | None) -> None:
        file = path / "r" / "chain.head"
        file.unlink() if text is None else file.write_text(text)
        ledger = self.open(path)
        with pytest.raises(LedgerError, match="is gone"):
            ledger.own("r")
        ledger.close()


class TestStrangers:
    """Rows of `requests` that somebody else wrote."""

    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Iterator[SqliteLedger]:
        ledger = SqliteLedger(tmp_path / "ledger.db")
        yield ledger
        ledger.close()

    @pytest.mark.parametrize(
        ("kind", "body"),
        [
            ("idea", "[]"),
            ("idea", "5"),
            ("idea", "not json"),
            ("idea", b"\xff\xfe"),
            ("idea", 7),
            ("idea", '{"text": NaN}'),
            ("idea", '{"text": 1e999}'),
            ("idea", '{"text": "\\ud800"}'),
            ("idea", "[" * 100_000),
            ("idea", '{"a":' * 50 + "1" + "}" * 50),
            ("idea", '{"text": "' + "x" * 2_000_000 + '"}'),
            ("idea", '{"text": ' + "9" * 5000 + "}"),
            (b"\xff", "{}"),
        ],
    )
    def test_row_that_is_no_request_says_nothing(self, ledger: SqliteLedger, kind: object, body: object) -> None:
        with sqlite3.connect(ledger.path) as db:
            db.execute("INSERT INTO requests (run,kind,body,at) VALUES ('r',?,?,'when?')", (kind, body))
        db.close()
        good = ledger.request("r", "stop", {"finish": True})
        found = ledger.requests("r")
        assert [(r.kind, r.body) for r in found] == [("", {}), ("stop", {"finish": True})]
        assert ledger.request_of(found[0].id) == found[0]
        ledger.answer(found[0].id, {"ok": False, "words": "no"})
        assert [r.id for r in ledger.requests("r")] == [good]

    @pytest.mark.parametrize("answer", ["yes", "[]", '{"ok": "yes"}', b"\xff", 5, '{"words": "x"}'])
    def test_answer_that_is_none_is_a_refusal(self, ledger: SqliteLedger, answer: object) -> None:
        request = ledger.request("r", "stop", {})
        with sqlite3.connect(ledger.path) as db:
            db.execute("UPDATE requests SET answer=?", (answer,))
        db.close()
        found = ledger.answered(request)
        assert found is not None
        assert found["ok"] is False
        assert "cannot be read" in found["words"]


@pytest.mark.parametrize(
    ("kind", "expected"), [("ext4", False), ("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("tmpfs", False)]
)
def test_network_file_systems_are_known(tmp_path: Path, kind: str, expected: bool) -> None:
    mounts = f"/dev/x / ext4 rw 0 0\nserver:/x {str(tmp_path).replace(' ', chr(92) + '040')} {kind} rw 0 0\n"
    assert network_filesystem(tmp_path / "deeper", mounts) is expected
