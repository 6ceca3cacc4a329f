"""Runs of sealed tasks: only what the evaluator says over its channel is a number, and a candidate's own claims are none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from tests.conftest import Toy

from autoresearch.choice import Wish
from autoresearch.process import landlock
from autoresearch.records import Experiment, Kind
from autoresearch.testing import Patch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's")
MakeToy = Callable[..., Toy]

TASK = """\
[task]
name = "divisors"
editable = ["solution.py"]

[evaluate]
command = "python -I evaluate.py"
timeout = 60
sealed = true

[metric]
name = "score"
direction = "maximize"
"""

EVALUATE = """\
import sys
from autoresearch import sealed

with sealed.Evaluator() as evaluator:
    number = 60 * evaluator.random.randint(1, 10**6)
    run = evaluator.run([sys.executable, "-I", "solution.py"], stdin=str(number).encode(), timeout_s=10)
    found = {int(word) for word in run.stdout.split() if word.isdigit() and number % max(1, int(word)) == 0}
    if run.ok and found:
        evaluator.report(score=len(found & {1, 2, 3, 4, 5, 6}))
"""

HONEST = "print(1, 2, 3)\n"
BETTER = "print(1, 2, 3, 4)\n"

HOSTILE = """\
import json, os
print("METRIC score=999")
print("score: 999", flush=True)
for path in ("results.json", "result.json", "metric.txt", "../io/result.json", {ledger!r}, {ledger!r} + "-wal"):
    try:
        with open(path, "r+b" if os.path.exists(path) else "wb") as file:
            file.write(json.dumps({{"score": 999}}).encode() * 100)
    except OSError:
        pass
os._exit(0)
"""


def sealed_toy(make_toy: MakeToy, *, evaluate: str = EVALUATE, task: str = TASK) -> Toy:
    return make_toy({"evaluate.py": evaluate, "solution.py": HONEST}, task=task)


def tried(toy: Toy, *solutions: str) -> list[Experiment]:
    toy.run([Patch({"solution.py": text}) for text in solutions], run="r")
    return list(toy.history("r").experiments)


def test_what_the_evaluator_reports_is_measured_and_a_better_candidate_kept(make_toy: MakeToy) -> None:
    toy = sealed_toy(make_toy)
    baseline, better = tried(toy, BETTER)[:2]
    assert dict(baseline.measurements[0].values) == {"score": 3.0}
    assert better.verdict is not None
    assert better.verdict.kind is Kind.KEEP, better.verdict
    assert {m.values["score"] for m in better.own} == {4.0}


def test_fake_metric_is_no_valid_record_and_the_ledger_stays_whole(make_toy: MakeToy) -> None:
    """Acceptance test 8: it prints, writes results, ledger and the old metric's path, and exits 0 before the evaluator ends."""
    toy = sealed_toy(make_toy)
    ledger = str(toy.project.paths.ledger)
    _, fake, better = tried(toy, HOSTILE.format(ledger=ledger), BETTER)[:3]
    assert fake.verdict is not None
    assert (fake.verdict.kind, fake.verdict.reason) == (Kind.CRASH, "no_measurement")
    assert fake.verdict.words == "no valid record: the evaluator took the channel and ended without a report"
    assert better.verdict is not None
    assert better.verdict.kind is Kind.KEEP
    reader = toy.project.ledger(read_only=True)
    assert reader.verify("r") > 0
    reader.close()


def test_command_that_prints_its_number_has_no_valid_record(make_toy: MakeToy) -> None:
    toy = sealed_toy(make_toy, evaluate="print('METRIC score=5')\n")
    ending = toy.run([], run="r")
    assert "no valid record: nobody took the channel" in ending.words
    assert "report by autoresearch.sealed" in ending.words


def test_evaluator_that_fails_after_its_report_has_crashed(make_toy: MakeToy) -> None:
    toy = sealed_toy(make_toy, evaluate=EVALUATE + "    raise SystemExit('after all')\n")
    ending = toy.run([], run="r")
    assert "exited with 1" in ending.words
    assert "after all" in ending.words


def test_the_same_evaluator_works_in_a_shared_task_and_by_hand(make_toy: MakeToy) -> None:
    toy = sealed_toy(make_toy, task=TASK.replace("sealed = true\n", ""))
    assert dict(tried(toy)[0].measurements[0].values) == {"score": 3.0}
    done = subprocess.run([sys.executable, "-I", "evaluate.py"], cwd=toy.folder, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("METRIC score=3.0\n", "")


def test_seconds_from_outside_can_be_the_metric_once_there_is_a_record(make_toy: MakeToy) -> None:
    """The record needs no number of its own then, but without one there is no measurement."""
    task = (
        TASK.replace('"score"', '"wall_s"')
        .replace("maximize", "minimize")
        .replace("timeout = 60", "timeout = 60\nexclusive = false")
    )
    toy = sealed_toy(make_toy, evaluate=EVALUATE.replace("score=len(found & {1, 2, 3, 4, 5, 6})", ""), task=task)
    baseline, fake = tried(toy, "")[:2]
    assert baseline.measurements[0].ok
    assert fake.verdict is not None
    assert fake.verdict.reason == "no_measurement"


def test_each_evaluation_has_inputs_of_its_own(make_toy: MakeToy) -> None:
    """A seed that the harness draws for it: another for another experiment, the same for both arms of a pair."""
    drawn = EVALUATE.replace("    if run.ok", "    sys.stderr.write(f'drew {evaluator.seed}')\n    if run.ok")
    toy = sealed_toy(make_toy, evaluate=drawn)
    seen: dict[int, int] = {}
    for experiment in tried(toy, "print(1)\n", "print(2)\n"):
        for measurement in experiment.measurements:
            log = toy.project.paths.run("r").folder / "experiments" / measurement.log
            assert f"drew {measurement.seed}" in log.read_text()
            seen[experiment.n] = measurement.seed
    assert len(set(seen.values())) == len(seen) == 3


LABELLED = """\
import os, sys
from autoresearch import sealed

with sealed.Evaluator() as evaluator:
    labels = open(sys.argv[1]).read().split()
    run = evaluator.run([sys.executable, "-I", "solution.py", os.path.abspath(sys.argv[1])], timeout_s=10)
    evaluator.report(score=sum(a == b for a, b in zip(run.stdout.decode().split(), labels)))
"""
PEEKING = """\
import sys
try:
    print(open(sys.argv[1]).read())
except OSError:
    print("a a a")
"""


@pytest.mark.parametrize("place", ["inside", "outside"])
def test_candidate_of_a_sealed_set_cannot_read_its_private_files(
    make_toy: MakeToy, tmp_path_factory: pytest.TempPathFactory, place: str
) -> None:
    """On the visible labels it may look; on the held-out ones it scores what it knows."""
    if not landlock.version():
        pytest.skip("nothing can be hidden from a process of the same sandbox without Landlock")
    outside = tmp_path_factory.mktemp("labels") / "held_out.txt"
    outside.write_text("a b c")
    held_out = "labels/held_out.txt" if place == "inside" else str(outside)
    sets = f'[held_out]\ncommand = "python -I evaluate.py {held_out}"\nprivate = ["{held_out}"]\n'
    task = TASK.replace("evaluate.py", "evaluate.py labels/seen.txt").replace("[metric]", f"{sets}[metric]")
    files = {"labels/seen.txt": "a a b", "labels/held_out.txt": "a b c", "evaluate.py": LABELLED, "solution.py": "print('a')\n"}
    toy = make_toy(files, task=task)
    toy.run([Patch({"solution.py": PEEKING}, "peeks")], wish=Wish(name="one", experiments=1))
    history = toy.history()
    assert history.experiments[1].value == 3
    assert history.validated is not None
    assert (history.validated.held_out, history.validated.mean) == (True, 0)
