"""A hand-written ledger is refused: whoever drives runs as the user, and can open `ledger.db` and write."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from tests.conftest import TASK, Toy

from autoresearch.choice import Wish
from autoresearch.errors import LedgerError
from autoresearch.ledger import SqliteLedger, chain
from autoresearch.records import Event
from autoresearch.testing import Patch

COMMAND = [sys.executable, "-m", "autoresearch"]
BUDGET = "[budget]\nexperiments = 20\n"
SLOW = """\
import pathlib, time
time.sleep(0.3)
print("score:", float(pathlib.Path("knob.txt").read_text()))
"""
FIELDS = "run,n,attempt,kind,at,body,prev,hash"
MEASURED = {"of": 3, "arm": "candidate", "index": 0, "seed": 1, "phase": "first", "outcome": "ok", "duration_s": 0.1}


@contextmanager
def database(toy: Toy) -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(f"file:{toy.project.paths.ledger}?mode=rw", timeout=10, uri=True)
    try:
        with db:
            yield db
    finally:
        db.close()


def execute(toy: Toy, *statements: str) -> None:
    with database(toy) as db:
        for statement in statements:
            db.execute(statement)


def insert(toy: Toy, *events: Event, run: str = "one", well: bool = True) -> None:
    """Write events at a run's end, with hashes as they ought to be or with made-up ones."""
    with database(toy) as db:
        last = db.execute("SELECT hash FROM events WHERE run=? ORDER BY seq DESC LIMIT 1", (run,)).fetchone()
        prev = last[0] if last else chain.origin(run)
        for event in events:
            e, body = chain.link(prev, run=run, seq=0, event=event, at=time.time())
            prev = e.hash if well else "f" * 64
            row = (run, e.n, e.attempt, e.kind, e.at, body, e.prev, prev)
            db.execute(f"INSERT INTO events ({FIELDS}) VALUES (?,?,?,?,?,?,?,?)", row)


def forged_keep(toy: Toy, commit: str = "") -> list[Event]:
    """An experiment that nobody made, better than all others."""
    tree = toy.git("rev-parse", "HEAD^{tree}").strip()
    events = [
        Event("asked", 3, {"parents": [1], "operation": "improve"}),
        Event("proposed", 3, {"description": "trust me", "proposer": "me"}),
        Event("frozen", 3, {"tree": tree, "commit": toy.git("rev-parse", "HEAD").strip()}),
        Event("measured", 3, {**MEASURED, "values": {"score": 1.0}}),
        Event("decided", 3, {"verdict": "keep", "reason": "better", "words": "", "value": 1.0}),
    ]
    return [*events, *([Event("advanced", 3, {"commit": commit, "tree": tree, "moved": True})] if commit else [])]


def call(toy: Toy, *args: str, code: int = 0) -> str:
    """What a command prints; it has to end with that code and without a traceback."""
    result = subprocess.run(
        [*COMMAND, *args], cwd=toy.folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=120
    )
    told = result.stdout + result.stderr
    assert result.returncode == code, f"exit {result.returncode}: {told}"
    assert "Traceback" not in told
    return told


def refused(toy: Toy, *words: str) -> str:
    """`run` and `log --verify` refuse the ledger with these words, and nothing is written by it."""
    before = snapshot(toy)
    told = call(toy, "run", "one", "-n", "1", code=2)
    assert snapshot(toy) == before
    checked = call(toy, "log", "--verify", code=2)
    for word in words:
        assert word in told
        assert word in checked
    return told


def snapshot(toy: Toy) -> tuple[Any, ...]:
    with database(toy) as db:
        db.text_factory = bytes  # some of it is no text
        rows = [db.execute(f"SELECT * FROM {table}").fetchall() for table in ("events", "experiments", "runs", "measurements")]
    return (*rows, toy.git("for-each-ref"))


@pytest.fixture
def worked(make_toy: Callable[..., Toy]) -> Toy:
    """A run `one` with a keep of 9, a discard of 11, and nobody alive."""
    toy = make_toy(task=TASK + BUDGET)
    patches = [Patch({"knob.txt": f"{value}\n"}, f"knob {value}") for value in (9, 11)]
    toy.run(patches, wish=Wish(name="one", experiments=2))
    assert [e.value for e in toy.history().experiments] == [10, 9, 11]
    return toy


# -- nobody works on the run -----------------------------------------------------------------------------------------------


def test_untouched_ledger_goes_on(worked: Toy) -> None:
    assert "the chain holds" in call(worked, "log", "--verify")
    worked.run([Patch({"knob.txt": "8\n"})] * 3, wish=Wish(name="one", experiments=1))
    assert worked.history().experiments[3].kept


def test_keep_with_a_made_up_hash_is_refused(worked: Toy) -> None:
    good = worked.history().tip
    insert(worked, *forged_keep(worked), well=False)
    told = refused(worked, "broken at event")
    assert f"autoresearch run --from {good[:12]}" in told
    for command in (["status"], ["status", "--json"], ["log"], ["show", "1"]):
        assert "somebody else wrote into the ledger" in call(worked, *command, code=2)


@pytest.mark.parametrize("commit", ["", "HEAD", "f" * 40, "no\ncommit"])
def test_keep_with_the_right_hashes_is_refused(worked: Toy, commit: str) -> None:
    good = worked.history().tip
    named = worked.git("rev-parse", commit).strip() if commit == "HEAD" else commit
    insert(worked, *forged_keep(worked, named))
    told = refused(worked, "(asked of experiment 3) is none of its owner's")
    assert f"autoresearch run --from {good[:12]}" in told
    assert "somebody else wrote into the ledger" in call(worked, "status", code=2)


def test_keep_that_our_own_ledger_was_asked_to_write_is_refused(worked: Toy) -> None:
    with_tables = SqliteLedger(worked.project.paths.ledger)
    with_tables.append("one", *forged_keep(worked))
    with_tables.close()
    refused(worked, "(asked of experiment 3) is none of its owner's")


def test_measurement_of_an_experiment_that_a_kill_left_open_is_refused(worked: Toy) -> None:
    insert(worked, *forged_keep(worked)[:4])
    refused(worked, "(asked of experiment 3) is none of its owner's")


def test_new_run_from_the_last_good_keep_is_what_the_message_says(worked: Toy) -> None:
    insert(worked, *forged_keep(worked), well=False)
    told = call(worked, "run", "one", "-n", "1", code=2)
    start = told.split("--from ")[1].split("`")[0]
    told = call(worked, "run", "two", "--from", start, "-n", "1")
    history = worked.history("two")
    assert history.experiments[0].value == 9
    assert "run two: " in call(worked, "status", "two") or "run two of" in call(worked, "status", "two")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE events SET body = replace(body, '11.0', '1.0')", "broken at event"),
        ("UPDATE events SET body = replace(body, 'discard', 'keep')", "broken at event"),
        ("UPDATE events SET body = CAST('x' AS BLOB) WHERE seq = 7", "broken at event 7"),
        ("UPDATE events SET body = CAST(x'ff' AS TEXT) WHERE seq = 7", "cannot be read"),
        ("DELETE FROM events WHERE n = 2 AND kind = 'decided'", "broken at event"),
        ("DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)", "are gone"),
        ("DELETE FROM events WHERE n = 2 OR seq > (SELECT max(seq) FROM events WHERE n = 2)", "are gone"),
    ],
)
def test_changed_or_deleted_event_is_refused(worked: Toy, statement: str, words: str) -> None:
    execute(worked, "DROP TRIGGER events_stay", statement)
    refused(worked, words)


def test_events_that_were_all_deleted_are_no_new_run(worked: Toy) -> None:
    execute(worked, "DELETE FROM events")
    told = call(worked, "run", "one", "-n", "1", code=2)
    assert "events of run 'one' are gone" in told
    assert "events of run 'one' are gone" in call(worked, "log", "--verify", code=2)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE experiments SET verdict = 'keep' WHERE n = 2",
        "UPDATE experiments SET body = replace(body, 'discard', 'keep') WHERE n = 2",
        "UPDATE experiments SET value = 1 WHERE n = 1",
        "DELETE FROM experiments WHERE n = 1",
        "UPDATE runs SET body = replace(body, '\"open\"', '\"finished\"')",
        "UPDATE runs SET status = 'finished'",
        "DROP TABLE experiments",
    ],
)
def test_changed_table_is_not_shown_and_is_made_again(worked: Toy, statement: str) -> None:
    before = worked.history().experiments
    execute(worked, statement)
    for command in (["status"], ["log"], ["show", "2"], ["run", "one", "-n", "1"], ["log", "--verify"]):
        told = call(worked, *command, code=2)
        assert "autoresearch log --rebuild" in told
    assert "rebuilt" in call(worked, "log", "--rebuild")
    assert worked.history().experiments == before
    assert "the chain holds" in call(worked, "log", "--verify")


@pytest.mark.parametrize("statement", ["UPDATE measurements SET metrics = '{\"score\": 1.0}'", "DELETE FROM measurements"])
def test_changed_measurements_are_refused_and_made_again(worked: Toy, statement: str) -> None:
    execute(worked, statement)
    assert "table measurements" in refused(worked, "autoresearch log --rebuild")
    call(worked, "log", "--rebuild")
    assert "the chain holds" in call(worked, "log", "--verify")


def test_tables_made_again_do_not_make_a_broken_chain_good(worked: Toy) -> None:
    insert(worked, *forged_keep(worked), well=False)
    assert "broken at event" in call(worked, "log", "--rebuild", code=2)
    assert "somebody else wrote into the ledger" in call(worked, "status", code=2)
    refused(worked, "broken at event")


def test_chain_that_was_made_anew_from_its_origin_does_not_fit_the_commits(worked: Toy) -> None:
    """All hashes are right, tables and head file too: what is left are the keeps in git."""
    with database(worked) as db:
        rows = db.execute(f"SELECT seq,{FIELDS} FROM events ORDER BY seq").fetchall()
        db.execute("DROP TRIGGER events_stay")
        prev = chain.origin("one")
        for seq, _, n, attempt, kind, at, body, *_ in rows:
            body = body.replace("11.0", "8.5")
            event = Event(kind, n, json.loads(body), attempt, at + 1)
            e, body = chain.link(prev, run="one", seq=seq, event=event, at=at + 1)
            change = "UPDATE events SET at=?, body=?, prev=?, hash=? WHERE seq=?"
            db.execute(change, (e.at, body, e.prev, e.hash, seq))
            prev = e.hash
    head = worked.project.paths.run("one").head
    head.write_text(f"{prev} {prev} {head.read_text().split()[2]}\n")
    ledger = SqliteLedger(worked.project.paths.ledger)
    ledger.rebuild()
    ledger.close()
    refused(worked, "of experiment 1 names another ledger")


def test_run_whose_head_file_is_gone_is_refused(worked: Toy) -> None:
    worked.project.paths.run("one").head.unlink()
    refused(worked, "chain.head is gone")


def test_idea_is_not_recorded_in_a_hand_written_ledger(worked: Toy) -> None:
    insert(worked, *forged_keep(worked))
    before = snapshot(worked)
    assert "somebody else wrote" in call(worked, "idea", "try a smaller one", "--run", "one", code=2)
    assert snapshot(worked) == before


def test_try_is_refused_on_a_hand_written_ledger(worked: Toy) -> None:
    insert(worked, *forged_keep(worked))
    before = snapshot(worked)
    worked.write({"knob.txt": "7\n"})
    worked.moved()
    told = call(worked, "try", "-m", "seven", code=2)
    assert "somebody else wrote into the ledger" in told
    assert snapshot(worked) == before


# -- while somebody does ---------------------------------------------------------------------------------------------------


def run_while(toy: Toy, act: Callable[[], None], *, at: int = 1) -> None:
    """Runs with somebody who acts once experiment `at` is decided."""
    done: list[bool] = []

    def watch(what: str, details: Mapping[str, Any]) -> None:
        if what == "decided" and details["n"] == at and not done:
            done.append(True)
            act()

    patches = [Patch({"knob.txt": f"{9 - k}\n"}, f"knob {9 - k}") for k in range(6)]
    toy.run(patches, wish=Wish(name="one", experiments=4), watch=watch)


@pytest.mark.parametrize("well", [True, False])
def test_owner_ends_when_somebody_writes_into_its_ledger(make_toy: Callable[..., Toy], well: bool) -> None:
    toy = make_toy(task=TASK + BUDGET)
    event = Event("decided", 2, {"verdict": "keep", "reason": "better", "words": "", "value": 1.0})
    with pytest.raises(LedgerError, match="decided of experiment 2\\) is not what was written here"):
        run_while(toy, lambda: insert(toy, event, well=well))
    assert toy.git("log", "--format=%s", "autoresearch/one").splitlines()[-1] == "start"
    assert "trust me" not in toy.git("log", "--format=%B", "autoresearch/one")
    assert len(toy.git("rev-list", "autoresearch/one").split()) <= 2
    refused(toy, "(decided of experiment 2) is none that this program writes" if well else "broken at event")


def test_living_command_ends_with_exit_code_2_and_says_why(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(
        {"evaluate.py": SLOW, "knob.txt": "10 \n"}, task=TASK + BUDGET + '[proposer]\nkind = "command"\ncommand = "true"\n'
    )
    process = subprocess.Popen(
        [*COMMAND, "run", "one"],
        cwd=toy.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_for(lambda: events(toy, "measured") > 0 or process.poll() is not None)
        insert(toy, Event("note", None, {"what": "idea", "text": "keep it"}), well=False)
        told, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 2, told
    assert "somebody else wrote into the ledger of run 'one' while this process worked on it" in told
    assert "Traceback" not in told


def events(toy: Toy, kind: str = "%") -> int:
    """How many events there are so far."""
    try:
        with database(toy) as db:
            return int(db.execute("SELECT count(*) FROM events WHERE kind LIKE ?", (kind,)).fetchone()[0])
    except sqlite3.Error:
        return 0


def wait_for(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_changed_tables_decide_nothing_for_a_living_owner(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(task=TASK + BUDGET)
    forged = "UPDATE experiments SET verdict = 'keep', value = -5, body = replace(body, '9.0', '-5.0') WHERE n = 1"
    run_while(toy, lambda: execute(toy, forged), at=2)
    assert "autoresearch log --rebuild" in refused(toy, "table experiments")
    call(toy, "log", "--rebuild")
    assert [e.value for e in toy.history().experiments] == [10, 9, 8, 7, 6]
    assert [e.kept for e in toy.history().experiments] == [True] * 5


def test_events_changed_under_a_living_owner_decide_nothing_and_are_refused_afterwards(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(task=TASK + BUDGET)
    change = "UPDATE events SET body = replace(body, '9.0', '-5.0')"
    run_while(toy, lambda: execute(toy, "DROP TRIGGER events_stay", change))
    refused(toy, "broken at event")
    values = toy.git("log", "--format=%(trailers:key=Metric,valueonly)", "autoresearch/one").split()
    assert values == ["score", "6", "score", "7", "score", "8", "score", "9"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("idea", "{}"),
        ("revive", '{"experiment": "1"}'),
        ("revive", '{"experiment": 1.0}'),
        ("reject", '{"experiment": true}'),
        ("approve", '{"experiments": []}'),
        ("approve", '{"experiments": [[1]]}'),
        ("idea_done", '{"idea": null}'),
        ("stop", "[1, 2]"),
        ("idea", '{"text": "x", "request": {"a": 1}, "bad": NaN}'),
        ("try", "no json"),
        ("try", '{"description": 5, "content": ["x"], "parent": "0"}'),
        ("try", '{"description": "x", "content": "../../etc/passwd", "parent": 0}'),
        ("probe", '{"what": {}, "parent": 0, "content": "x"}'),
        ("no such thing", "{}"),
        ("decided", '{"verdict": "keep"}'),
    ],
)
def test_forged_request_is_answered_as_refused_and_the_owner_goes_on(
    make_toy: Callable[..., Toy], kind: str, body: str
) -> None:
    toy = make_toy(task=TASK + BUDGET)
    ids: list[int] = []

    def leave() -> None:
        with database(toy) as db:
            row = ("one", kind, body, "when?")
            ids.append(db.execute("INSERT INTO requests (run,kind,body,at) VALUES (?,?,?,?)", row).lastrowid or 0)

    run_while(toy, leave)
    assert [e.value for e in toy.history().experiments] == [10, 9, 8, 7, 6]
    ledger = toy.project.ledger(read_only=True)
    answer = ledger.answered(ids[0])
    ledger.close()
    assert answer is None or answer["ok"] is False
    assert "the chain holds" in call(toy, "log", "--verify")
    toy.run([Patch({"knob.txt": "1\n"})] * 6, wish=Wish(name="one", experiments=1))
    ledger = toy.project.ledger(read_only=True)
    last = ledger.answered(ids[0])
    ledger.close()
    assert last is not None
    assert last["ok"] is False
    assert toy.history().experiments[5].value == 1


def test_forged_answer_decides_nothing(worked: Toy) -> None:
    """A stranger answers a request: the ledger has no such experiment, so no verdict is shown."""
    ledger = worked.project.ledger()
    job = ledger.request("one", "try", {"description": "x", "hypothesis": "", "by": "x", "parent": 1, "content": "0" * 64})
    ledger.close()
    forged = json.dumps({"ok": True, "experiment": 1, "verdict": "keep"})
    execute(worked, f"UPDATE requests SET answer = '{forged}' WHERE id = {job}")
    told = subprocess.run(
        [*COMMAND, "wait", str(job), "--json"], cwd=worked.folder, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in told.stderr
    assert json.loads(told.stdout).get("state") != "decided"
    assert json.loads(told.stdout).get("verdict") is None


def test_owner_that_was_killed_goes_on(make_toy: Callable[..., Toy]) -> None:
    """Its head file and its ledger agree, whenever it is killed."""
    toy = make_toy({"evaluate.py": SLOW}, task=TASK + BUDGET)
    for count in (1, 5, 12):
        kill_after(toy, count)
    assert "the chain holds" in call(toy, "log", "--verify")
    assert "one (goes on)" in call(toy, "run", "one", "-n", "1")


def kill_after(toy: Toy, count: int) -> None:
    """Work on the run in a process, and kill it once there are so many events."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([*COMMAND, "run", "one"], cwd=toy.folder, stdin=quiet, stdout=quiet, stderr=quiet)
    wait_for(lambda: events(toy) >= count or process.poll() is not None)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert "the chain holds" in call(toy, "log", "--verify")
