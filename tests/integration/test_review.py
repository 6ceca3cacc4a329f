"""Flags of a diff in the record, in what is shown and in keeps; changes that wait for a person, and his answer."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import TASK, Toy
from typer.testing import CliRunner

from autoresearch import errands
from autoresearch.choice import Wish
from autoresearch.cli.app import app
from autoresearch.errors import SetupError
from autoresearch.history import History
from autoresearch.records import Experiment, Flag
from autoresearch.testing import Patch

Made = Callable[..., Toy]
SUM = """\
from pathlib import Path
print("score:", sum(float(p.read_text().split()[0]) for p in sorted(Path("extra").glob("*.txt"))))
"""
BASE: dict[str, str | bytes] = {
    "evaluate.py": SUM,
    "extra/a.txt": "10\n",
    "extra/b.txt": "10\n",
    "extra/conf.toml": "seed = 1\n",
    "extra/test_a.py": "assert 1\n",
}
SEED = Patch({"extra/a.txt": "9\n", "extra/conf.toml": "seed = 2\n"}, "another seed")
TEST = Patch({"extra/b.txt": "9\n", "extra/test_a.py": "\n"}, "no test")
PLAIN = Patch({"extra/b.txt": "8\n"}, "less b")


def held(*flags: str, human: bool = False) -> str:
    return TASK + f"[review]\nhold = {json.dumps(flags)}\nhuman = {str(human).lower()}\n"


def command(toy: Toy, *args: str) -> str:
    """What a command prints; it has to succeed."""
    result = CliRunner().invoke(app, [*args, "-C", str(toy.folder)])
    assert result.exit_code == 0, result.output
    return result.output


def verdicts(history: History) -> list[str]:
    return [f"{e.verdict.kind.value} {e.verdict.reason}" if e.verdict else "open" for e in history.experiments[1:]]


def words(e: Experiment) -> str:
    assert e.verdict is not None
    return e.verdict.words


# -- flags -----------------------------------------------------------------------------------------------------------------


def test_flags_stand_in_the_record_in_show_log_rows_and_the_keep(make_toy: Made) -> None:
    toy = make_toy(BASE)
    toy.run([SEED, PLAIN], wish=Wish(name="one", experiments=2))
    one, two = toy.history().experiments[1:]
    seed = Flag("seeds", "extra/conf.toml", 1, "touches a seed: `seed = 2`; touches a seed: `seed = 1`")
    assert (one.flags, two.flags) == ((seed,), ())
    shown = command(toy, "show", "1")
    assert "look at these first:\n  extra/conf.toml:1 seeds: touches a seed: `seed = 2`" in shown
    assert "look at these first" not in command(toy, "show", "2")
    assert json.loads(command(toy, "show", "1", "--json"))["flags"][0]["name"] == "seeds"
    rows = command(toy, "log").splitlines()
    assert rows[1].endswith("[seeds]")
    assert not rows[2].endswith("]")
    keeps = toy.git("log", "--format=%s|%(trailers:key=Flags,valueonly,separator=)", "autoresearch/one").splitlines()
    assert keeps[:2] == ["less b|", "another seed|seeds extra/conf.toml:1"]
    assert "look at these first: 1 (seeds); autoresearch show 1" in command(toy, "status")


def test_flags_of_a_keep_put_onto_another_incumbent_are_those_of_its_diff_there(make_toy: Made) -> None:
    toy = make_toy(BASE)
    more = Patch({**SEED.files, "extra/a.txt": "1\n"})
    toy.run([PLAIN, more], wish=Wish(name="one", experiments=2, lag=2))
    two = toy.history().experiments[2]
    assert (two.rebased, two.kept, [f.name for f in two.flags]) == (True, True, ["seeds"])


def test_secret_that_a_removed_line_holds_is_masked_in_its_flag(make_toy: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_KEY", "s3cr3t-of-the-owner")
    task = TASK.replace('command = "python evaluate.py"', 'command = "python evaluate.py"\nenv = ["SERVICE_KEY"]')
    toy = make_toy({**BASE, "extra/x.py": 'assert key == "s3cr3t-of-the-owner"\n'}, task=task)
    toy.run([Patch({"extra/a.txt": "9\n", "extra/x.py": "pass\n"})], wish=Wish(name="one", experiments=1))
    (flag,) = toy.history().experiments[1].flags
    assert flag.words == 'removed an assertion: `assert key == "***SERVICE_KEY***"`'


def test_literal_of_frozen_and_of_private_data_is_flagged(make_toy: Made, tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text("name,value\nx,0.918273\n")
    task = TASK + f'[held_out]\ncommand = "python evaluate.py"\nprivate = ["{outside}", "secret/**"]\n'
    files = {
        **BASE,
        "data/rows.csv": "n,v\na,0.731852\n",
        "secret/answers.txt": "the ravens are forty\n",
        "extra/m.py": "x = 1\n",
    }
    toy = make_toy(files, task=task)
    for n, line in enumerate(("x = 0.731852", "x = 0.918273", "x = 'the ravens are forty'", "x = 0.555551"), 1):
        toy.run(lambda brief, line=line: Patch({"extra/m.py": f"{line}\n"}), wish=Wish(name=f"run{n}", experiments=1, new=True))
        assert [f.name for f in toy.history(f"run{n}").experiments[1].flags] == ["literals"] * (n < 4)


# -- held ------------------------------------------------------------------------------------------------------------------


def test_keep_with_a_flag_that_is_held_waits_and_the_run_goes_on(make_toy: Made) -> None:
    toy = make_toy(BASE, task=held("tests", "seeds"))
    toy.run([SEED, PLAIN], wish=Wish(name="one", experiments=2))
    history = toy.history()
    assert verdicts(history) == ["discard held", "keep better"]
    assert (history.experiments[1].value, history.incumbent.value) == (19, 18)
    assert words(history.experiments[1]) == (
        "better, and it waits for you: seeds (extra/conf.toml:1); look: autoresearch show 1, keep it: autoresearch approve 1"
    )
    line = "1 keep waits for you: 1 (seeds); autoresearch show 1, autoresearch approve 1"
    assert line in command(toy, "status")
    assert json.loads(command(toy, "status", "--json"))["waiting"] == [1]


def test_candidate_that_is_no_better_does_not_wait(make_toy: Made) -> None:
    toy = make_toy(BASE, task=held("seeds"))
    toy.run([Patch({"extra/a.txt": "11\n", "extra/conf.toml": "seed = 2\n"})], wish=Wish(name="one", experiments=1))
    assert verdicts(toy.history()) == ["discard worse"]
    assert toy.history().waiting == []


def test_with_human_every_keep_waits_also_without_flags(make_toy: Made) -> None:
    toy = make_toy(BASE, task=held(human=True))
    toy.run([PLAIN], wish=Wish(name="one", experiments=1))
    assert words(toy.history().experiments[1]).startswith("better, and it waits for you; look")
    assert "1 (no flags)" in command(toy, "status")


def test_whether_a_guess_stands_in_the_data_is_not_told_in_the_verdict(make_toy: Made) -> None:
    toy = make_toy({**BASE, "data/rows.csv": "n,v\na,0.731852\n", "extra/m.py": "x = 1\n"}, task=held("literals"))
    toy.run([Patch({"extra/a.txt": "9\n", "extra/m.py": "x = 0.731852\n"})], wish=Wish(name="one", experiments=1))
    assert words(toy.history().experiments[1]).startswith("better, and it waits for you; look")


def test_held_ones_in_a_row_are_no_failures(make_toy: Made) -> None:
    toy = make_toy(BASE, task=held(human=True))
    ending = toy.run([Patch({"extra/a.txt": f"{9 - n / 100}\n"}) for n in range(21)], wish=Wish(name="one", experiments=21))
    assert verdicts(toy.history()) == ["discard held"] * 21
    assert ending.reason == "session"
    assert not any(m.phase == "repair" for e in toy.history().experiments for m in e.measurements)
    assert "21 keeps wait for you: 1 (no flags), 2 (no flags)" in command(toy, "status")


def test_hold_of_today_holds_where_the_run_goes_on(make_toy: Made) -> None:
    toy = make_toy(BASE)
    toy.run_interrupted([SEED], wish=Wish(name="one", experiments=5))
    toy.write({"autoresearch.toml": held("tests")})
    toy.moved()
    toy.run([SEED, TEST], wish=Wish(name="one", experiments=1))
    assert verdicts(toy.history()) == ["keep better", "discard held"]


# -- the answer ------------------------------------------------------------------------------------------------------------


def test_approved_one_is_tried_again_on_the_incumbent_and_kept(make_toy: Made) -> None:
    toy = make_toy(BASE, task=held("seeds"))
    toy.run([SEED, PLAIN], wish=Wish(name="one", experiments=2))
    told = command(toy, "approve", "1")
    assert "run one: approve experiment 1" in told
    history = toy.history()
    assert verdicts(history) == ["discard held", "keep better", "keep better"]
    three = history.experiments[3]
    assert (three.origin, three.value, [f.name for f in three.flags]) == (1, 17, ["seeds"])
    assert len(three.own) == 1  # measured afresh
    assert history.waiting == []
    assert "waits for you" not in command(toy, "status")
    assert toy.git("show", "autoresearch/one:extra/conf.toml") == "seed = 2\n"
    ledger = toy.project.ledger()
    folded = History()
    for event in ledger.events("one"):
        folded.take(event)
    for loaded in (ledger.history("one"), ledger.rebuild() and ledger.history("one")):
        assert (folded.experiments, folded.agenda, folded.line) == (loaded.experiments, loaded.agenda, loaded.line)
    ledger.close()


def test_approved_one_that_does_not_win_again_is_not_kept(make_toy: Made) -> None:
    toy = make_toy(BASE, task=held("seeds"))
    toy.run([SEED, Patch({"extra/a.txt": "1\n"})], wish=Wish(name="one", experiments=2))
    command(toy, "approve", "1")
    assert verdicts(toy.history())[2] == "discard stale"
    assert toy.history().waiting == []


def test_several_are_approved_at_once_and_the_second_is_judged_on_the_first(make_toy: Made) -> None:
    toy = make_toy(BASE, task=held("seeds", "tests"))
    toy.run([SEED, TEST], wish=Wish(name="one", experiments=2))
    line = "2 keeps wait for you: 1 (seeds), 2 (assertion, tests); autoresearch show 1, autoresearch approve 1 2"
    assert line in command(toy, "status")
    command(toy, "approve", "1", "2")
    history = toy.history()
    assert verdicts(history)[2:] == ["keep better", "keep better"]
    assert history.incumbent.value == 18


def test_revived_one_waits_again_and_stands_in_the_list_once(make_toy: Made) -> None:
    toy = make_toy(BASE, task=held("seeds"))
    toy.run([SEED], wish=Wish(name="one", experiments=1))
    command(toy, "revive", "1")
    assert verdicts(toy.history()) == ["discard held", "discard held"]
    assert [e.n for e in toy.history().waiting] == [2]
    command(toy, "approve", "2")
    assert verdicts(toy.history())[2] == "keep better"


def test_kept_one_that_was_approved_and_rejected_later_is_not_held_when_revived(make_toy: Made) -> None:
    toy = make_toy(BASE, task=held("seeds"))
    toy.run([SEED], wish=Wish(name="one", experiments=1))
    command(toy, "approve", "1")
    command(toy, "reject", "2")
    command(toy, "revive", "2")
    assert verdicts(toy.history()) == ["discard held", "keep better", "keep better"]


def test_reject_takes_one_off_the_list_and_it_can_still_be_approved(make_toy: Made) -> None:
    toy = make_toy(BASE, task=held("seeds"))
    toy.run([SEED], wish=Wish(name="one", experiments=1))
    command(toy, "reject", "1")
    assert toy.history().waiting == []
    assert len(toy.history().experiments) == 2
    command(toy, "approve", "1")
    assert verdicts(toy.history()) == ["discard held", "keep better"]


REFUSED = {
    "2": r"experiment 2 is keep \(better\): expected one that waits for you \(1\)",
    "3": r"experiment 3 is discard \(worse\): expected one that waits for you \(1\)",
    "9": "experiment 9: expected 1 to 3",
    "0": "experiment 0: expected 1 to 3",
}


@pytest.mark.parametrize("n", REFUSED)
def test_only_what_waits_can_be_approved(make_toy: Made, n: str) -> None:
    toy = make_toy(BASE, task=held("seeds"))
    worse = Patch({"extra/a.txt": "30\n"})
    toy.run([SEED, PLAIN, worse], wish=Wish(name="one", experiments=3))
    result = CliRunner().invoke(app, ["approve", n, "-C", str(toy.folder)])
    assert isinstance(result.exception, SetupError)
    assert re.search(REFUSED[n], str(result.exception))
    assert len(toy.history().experiments) == 4


def test_approved_twice_is_tried_once(make_toy: Made) -> None:
    toy = make_toy(BASE, task=held("seeds"))
    toy.run([SEED], wish=Wish(name="one", experiments=1))
    command(toy, "approve", "1")
    result = CliRunner().invoke(app, ["approve", "1", "-C", str(toy.folder)])
    assert "was approved and tried again as experiment 2: keep (better)" in str(result.exception)
    assert len(toy.history().experiments) == 3


# -- with a process that works on the run, and killed ------------------------------------------------------------------------

WORKING = """\
import sys
from pathlib import Path
import anyio
from autoresearch.choice import Wish
from autoresearch.project import Project
from autoresearch.session import Session
from autoresearch.testing import Patch, Scripted
from dataclasses import replace

def propose(brief):
    import time
    if brief.n > 1:
        time.sleep(0.2)
        return Patch({"extra/b.txt": f"{20 + brief.n}\\n"})
    return Patch({"extra/a.txt": "9\\n", "extra/conf.toml": "seed = 2\\n"})

def ready(loop):
    loop.parts = loop.books.parts = replace(loop.parts, proposer=Scripted(propose))

with Session(Project(Path(sys.argv[1])), Wish(name="one", experiments=400)) as session:
    session.pictures = False
    anyio.run(session.work, lambda what, details: print(what, details.get("n"), flush=True), ready)
"""


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_owner_that_works_hears_the_approval_and_keeps_it_meanwhile(make_toy: Made) -> None:
    toy = make_toy(BASE, task=held("seeds"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", WORKING, str(toy.folder)]
    owner = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert owner.stdout is not None
    try:
        assert "decided 1\n" in owner.stdout
        assert [e.n for e in toy.history("one").waiting] == [1]
        told = command(toy, "approve", "1")
        assert told == "run one: experiment 1 is tried again on the incumbent, and kept if better there\n"
        wait_for(lambda: any(e.kept and e.origin == 1 for e in toy.history("one").experiments))
    finally:
        owner.send_signal(signal.SIGINT)
        owner.communicate(timeout=30)


def test_approval_that_a_kill_left_undone_is_carried_out_by_the_next_run(make_toy: Made) -> None:
    toy = make_toy(BASE, task=held("seeds"))
    toy.run_interrupted([SEED], wish=Wish(name="one", experiments=5))
    ledger = toy.project.ledger()
    event, _ = errands.order(ledger.history("one"), "approve", {"experiments": [1]})
    assert event is not None
    ledger.own("one")
    ledger.append("one", event, durable=True)
    assert errands.order(ledger.history("one"), "approve", {"experiments": [1]})[0] is None
    ledger.close()
    assert toy.history().agenda.wanted == [1]
    toy.run([SEED, SEED, PLAIN], wish=Wish(name="one", experiments=1))
    assert verdicts(toy.history()) == ["discard held", "keep better"]
