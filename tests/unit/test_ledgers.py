"""Both ledgers pass the conformance suite; and what only the one on disk has."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoresearch.errors import LedgerError
from autoresearch.history import History
from autoresearch.ledger import MemoryLedger, SqliteLedger
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


@pytest.mark.parametrize(
    ("kind", "expected"), [("ext4", False), ("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("tmpfs", False)]
)
def test_network_file_systems_are_known(tmp_path: Path, kind: str, expected: bool) -> None:
    mounts = f"/dev/x / ext4 rw 0 0\nserver:/x {str(tmp_path).replace(' ', chr(92) + '040')} {kind} rw 0 0\n"
    assert network_filesystem(tmp_path / "deeper", mounts) is expected
