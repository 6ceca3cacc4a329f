"""`try`, `wait` and `probe` as an agent in the driving seat types them: real processes, real git, killed where it hurts."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.conftest import TASK, Toy

from autoresearch import lock
from autoresearch.errors import SetupError

LIMIT_S = 120.0
SLOW = 'import pathlib, time\ntime.sleep(0.4)\nprint("score:", float(pathlib.Path("knob.txt").read_text()))\n'
PROPOSER = """
[proposer]
kind = "command"
command = "sh -c 'sleep 0.3; mkdir -p extra; date +%N > extra/tick.txt; echo tick'"
"""


class Seat:
    """A user's project with an agent in it, and the processes that it started."""

    def __init__(self, toy: Toy) -> None:
        self.toy, self.folder = toy, toy.folder
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "autoresearch", *args]
        process = subprocess.Popen(
            argv,
            cwd=self.folder,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def call(self, *args: str, code: int = 0, **env: str) -> str:
        process = self.start(*args, **env)
        out, err = process.communicate(timeout=LIMIT_S)
        assert process.returncode == code, out + err
        return out + err

    def json(self, *args: str, code: int = 0) -> dict[str, Any]:
        process = self.start(*args, "--json")
        out, err = process.communicate(timeout=LIMIT_S)
        assert process.returncode == code, out + err
        found: dict[str, Any] = json.loads(out)
        return found

    def edit(self, text: str) -> None:
        (self.folder / "knob.txt").write_text(f"{text}\n")
        self.toy.moved()

    def requests(self) -> int:
        """How many were left so far."""
        if not self.toy.project.has_ledger:
            return 0
        ledger = self.toy.project.ledger(read_only=True)
        found = 0
        while ledger.request_of(found + 1) is not None:
            found += 1
        ledger.close()
        return found

    def left(self, count: int) -> None:
        """Wait until so many requests were left."""
        until(lambda: self.requests() >= count)

    def made(self) -> int:
        """How many experiments the newest run has, without the baseline."""
        try:
            return len(self.toy.history().experiments) - 1
        except SetupError:
            return 0  # it is just being started

    def owner(self) -> int:
        """The process that owns the newest run, 0 if there is none."""
        runs = sorted(self.toy.project.paths.folder.glob("*/owner.lock"))
        words = lock.owner(runs[-1]) if runs else ""
        return int(words.split()[1]) if words.startswith("process ") else 0

    def verdicts(self) -> list[tuple[str, str]]:
        told = [(e.verdict.kind.value, e.verdict.reason) if e.verdict else ("-", "") for e in self.toy.history().experiments]
        return told[1:]

    def end(self) -> None:
        """End what was started, and the owner in the background."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        if pid := self.owner():
            os.kill(pid, signal.SIGTERM)
            until(lambda: not self.owner())


def until(condition: Callable[[], object], within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


@pytest.fixture
def seat(toy: Toy) -> Iterator[Seat]:
    seat = Seat(toy)
    yield seat
    seat.end()


@pytest.fixture
def seat_of(make_toy: Callable[..., Toy]) -> Iterator[Callable[..., Seat]]:
    made: list[Seat] = []

    def make(files: dict[str, str] | None = None, task: str = TASK) -> Seat:
        made.append(Seat(make_toy(files, task=task)))
        return made[-1]

    yield make
    for seat in made:
        seat.end()


def test_first_try_measures_the_baseline_first_and_the_checkout_stays(seat: Seat) -> None:
    seat.edit("9")
    said = seat.call("try", "-m", "one less\nsmaller is better", "--expect", "-5 %")
    assert "baseline 10" in said
    assert "experiment 1: keep (better)" in said
    assert "your files are as you left them" in said
    e = seat.toy.history().experiments[1]
    assert (e.description, e.hypothesis, e.expected, e.proposer) == ("one less", "smaller is better", -0.05, "try")
    assert seat.toy.git("show", f"autoresearch/{seat.toy.history().run.run}:knob.txt") == "9\n"  # type: ignore[union-attr]


def test_discard_says_how_to_undo_and_does_not_touch(seat: Seat) -> None:
    seat.edit("12")
    found = seat.json("try", "-m", "more")
    assert (found["state"], found["verdict"], found["reason"], found["experiment"]) == ("decided", "discard", "worse", 1)
    assert "git restore knob.txt" in found["message"]
    assert (seat.folder / "knob.txt").read_text() == "12\n"
    seat.toy.git("restore", "knob.txt")
    seat.toy.moved()


def test_changes_go_on_from_what_was_kept_though_nothing_is_committed(seat: Seat) -> None:
    for text in ("9", "8", "7"):
        seat.edit(text)
        assert seat.json("try", "-m", f"to {text}")["verdict"] == "keep"
    assert [e.parents for e in seat.toy.history().experiments[1:]] == [(0,), (1,), (2,)]


def test_file_whose_name_is_no_text_is_tried(seat: Seat) -> None:
    seat.toy.write({"extra/\udcff.bin": b"1", "knob.txt": "9\n"})
    seat.toy.moved()
    assert seat.json("try", "-m", "another file")["verdict"] == "keep"
    seat.toy.write({"extra/\udcff.bin": b"2", "knob.txt": "12\n"})
    seat.toy.moved()
    found = seat.json("try", "-m", "worse")
    assert (found["verdict"], found["reason"]) == ("discard", "worse")
    assert "extra/?.bin" in " ".join(found["undo"])


def test_changed_evaluator_is_refused_by_name(seat: Seat) -> None:
    seat.edit("9")
    (seat.folder / "evaluate.py").write_text("print('score: 0')\n")
    seat.toy.moved()
    found = seat.json("try", "-m", "a better ruler")
    assert (found["verdict"], found["reason"]) == ("invalid", "scope")
    assert "evaluate.py" in found["message"]
    assert "git restore evaluate.py" in found["message"]


def test_metric_that_is_told_to_the_harness_decides_nothing(seat: Seat) -> None:
    seat.edit("11")
    result = seat.folder.parent / "result.json"
    result.write_text('{"score": 0}')
    seat.call("try", "-m", "METRIC score=0\nscore: 0", AUTORESEARCH_RESULT=str(result), METRIC="score=0")
    (seat.folder / "result.json").write_text('{"score": 0}')
    seat.toy.moved()
    seat.call("try", "-m", "score: 0")
    assert seat.verdicts() == [("discard", "worse"), ("invalid", "duplicate")]


def test_no_change_is_an_experiment_of_its_own_kind(seat: Seat) -> None:
    found = seat.json("try", "-m", "nothing")
    assert (found["verdict"], found["reason"]) == ("invalid", "no_change")


def test_spent_budget_is_said_and_exits_with_three(seat_of: Callable[..., Seat]) -> None:
    seat = seat_of(task=TASK + "[budget]\nexperiments = 2\n")
    for text in ("9", "8"):
        seat.edit(text)
        last = seat.json("try", "-m", f"to {text}")
    assert last["over"] is True
    seat.edit("7")
    found = seat.json("try", "-m", "one more", code=3)
    assert (found["state"], found["over"]) == ("over", True)
    until(lambda: not seat.owner())
    found = seat.json("try", "-m", "and one more", code=3)
    assert found["state"] == "over"
    assert len(seat.verdicts()) == 2
    assert seat.toy.history().validated is not None
    assert seat.json("try", "-m", "of a new run", "--new")["verdict"] == "keep"


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda folder: (folder / "autoresearch.toml").unlink(), "autoresearch init"),
        (lambda folder: (folder / "autoresearch.toml").write_text("[task\n"), "autoresearch.toml"),
        (lambda folder: (folder / "knob.txt").write_text("broken\n"), ""),
    ],
)
def test_wrong_set_up_exits_with_two(seat: Seat, break_it: Callable[[Path], Any], words: str) -> None:
    break_it(seat.folder)
    if not words:  # the base itself does not measure
        seat.toy.commit("broken")
        (seat.folder / "knob.txt").write_text("9\n")
        words = "baseline failed"
    seat.toy.moved()
    assert words in seat.call("try", "-m", "x", code=2)


def test_changed_ruler_is_refused(seat: Seat) -> None:
    seat.edit("9")
    seat.call("try", "-m", "one less")
    text = (seat.folder / "autoresearch.toml").read_text()
    (seat.folder / "autoresearch.toml").write_text(text.replace("minimize", "maximize"))
    seat.toy.moved()
    assert "the ruler has changed" in seat.call("try", "-m", "now up", code=2)


def test_background_answers_at_once_and_wait_tells_the_verdict(seat_of: Callable[..., Seat]) -> None:
    seat = seat_of({"evaluate.py": SLOW.replace("0.4", "2")})
    seat.edit("9")
    began = seat.json("try", "-m", "slow", "--background")
    assert (began["state"], began["job"]) == ("running", 1)
    seat.edit("13")  # what was asked for is what was there then
    assert seat.json("wait", "1", "--max", "1ms")["state"] == "running"
    found = seat.json("wait", "1")
    assert (found["verdict"], found["value"]) == ("keep", 9.0)
    assert seat.json("wait", "1") == found
    assert "no job 7" in seat.call("wait", "7", code=2)


def test_try_that_is_interrupted_goes_on(seat_of: Callable[..., Seat]) -> None:
    seat = seat_of({"evaluate.py": SLOW})
    seat.edit("9")
    process = seat.start("try", "-m", "slow")
    seat.left(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode in (130, -signal.SIGINT)  # Python itself ends so where it came while a module was imported
    assert "autoresearch wait 1" in err
    assert seat.json("wait", "1")["verdict"] == "keep"


def three(seat: Seat, texts: Sequence[str] = ("9", "12", "8.5")) -> list[subprocess.Popen[str]]:
    """Three processes, each with a change of its own."""
    found = []
    before = seat.requests()
    for i, text in enumerate(texts, 1):
        seat.edit(text)
        found.append(seat.start("try", "-m", f"to {text}", "--json"))
        seat.left(before + i)
    return found


def answers(processes: Sequence[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    found = []
    for process in processes:
        out, err = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, out + err
        found.append(json.loads(out))
    return found


def check_one_branch(seat: Seat, told: Sequence[dict[str, Any]]) -> None:
    """Each request has its verdict, once; there is one run with one branch, whose line is what was kept."""
    history = seat.toy.history()
    jobs = [e.job for e in history.experiments if e.job is not None]
    assert sorted(jobs) == [body["job"] for body in sorted(told, key=lambda body: body["job"])]
    for body in told:
        e = history.experiments[body["experiment"]]
        assert (e.job, e.verdict and e.verdict.kind.value) == (body["job"], body["verdict"])
    assert history.run is not None
    branches = seat.toy.git("for-each-ref", "--format=%(refname)", "refs/heads/autoresearch").split()
    assert branches == [f"refs/heads/autoresearch/{history.run.run}"]
    assert len(seat.toy.git("rev-list", f"{history.run.base}..{branches[0]}").split()) == len(history.line) - 1
    ledger = seat.toy.project.ledger(read_only=True)
    ledger.verify(history.run.run)
    ledger.close()


def test_three_at_a_time_with_nobody_alive(seat_of: Callable[..., Seat]) -> None:
    seat = seat_of({"evaluate.py": SLOW})
    told = answers(three(seat))
    check_one_branch(seat, told)
    assert [body["verdict"] for body in told].count("keep") >= 1


def test_three_that_start_in_the_same_moment_make_one_run(seat: Seat) -> None:
    seat.edit("9")
    told = answers([seat.start("try", "-m", f"the same {i}", "--json") for i in range(3)])
    assert sorted(body["reason"] for body in told) == ["better", "duplicate", "duplicate"]
    check_one_branch(seat, told)


def test_three_at_a_time_while_a_run_is_alive(seat_of: Callable[..., Seat]) -> None:
    seat = seat_of({"evaluate.py": SLOW}, task=TASK + PROPOSER)
    run = seat.start("run", "one", "--yes")
    until(lambda: seat.made() > 1)
    told = answers(three(seat))
    assert run.poll() is None
    check_one_branch(seat, told)
    history = seat.toy.history()
    assert sum(e.job is None for e in history.experiments[1:]) >= 2  # the run went on beside them
    seat.call("stop")
    run.communicate(timeout=LIMIT_S)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_three_at_a_time_while_the_run_is_killed(seed: int, seat_of: Callable[..., Seat]) -> None:
    draw = random.Random(seed)
    seat = seat_of({"evaluate.py": SLOW}, task=TASK + PROPOSER)
    run = seat.start("run", "one", "--yes")
    until(lambda: seat.made() > 0)
    processes = three(seat)
    time.sleep(draw.uniform(0, 0.8))
    run.kill()
    for _ in range(2):  # and whoever took over
        until(lambda: seat.owner() not in (0, run.pid) or all(p.poll() is not None for p in processes))
        time.sleep(draw.uniform(0, 0.8))
        if (pid := seat.owner()) and not all(p.poll() is not None for p in processes):
            os.kill(pid, signal.SIGKILL)
    check_one_branch(seat, answers(processes))


def test_those_who_asked_are_killed_and_the_next_session_finishes_what_they_asked(seat_of: Callable[..., Seat]) -> None:
    seat = seat_of({"evaluate.py": SLOW})
    processes = three(seat)
    os.kill(seat.owner(), signal.SIGKILL)
    for process in processes:
        process.kill()
    until(lambda: not seat.owner())
    told = [seat.json("wait", str(job)) for job in (1, 2, 3)]
    assert {body["state"] for body in told} == {"decided"}
    check_one_branch(seat, told)


def test_run_takes_over_from_one_that_only_serves(seat: Seat) -> None:
    seat.edit("9")
    seat.call("try", "-m", "one less", AUTORESEARCH_LINGER="60")
    before = seat.owner()
    assert before
    seat.call("run", "-n", "1", "--yes")
    assert seat.owner() != before
    assert seat.verdicts()[0] == ("keep", "better")


def test_owner_in_the_background_goes_when_nothing_is_asked(seat: Seat) -> None:
    seat.edit("9")
    seat.call("try", "-m", "one less", AUTORESEARCH_LINGER="0.3")
    until(lambda: not seat.owner(), 10)
    history = seat.toy.history()
    assert history.run is not None
    assert (history.run.status, history.run.stop_reason) == ("open", "idle")
    assert "next: autoresearch try, or autoresearch run with a proposer of its own" in seat.call("status")


def test_stop_ends_what_is_waited_for(seat_of: Callable[..., Seat]) -> None:
    seat = seat_of({"evaluate.py": SLOW.replace("0.4", "3")})
    seat.edit("9")
    process = seat.start("try", "-m", "slow", "--json")
    seat.left(1)
    seat.call("stop")
    out, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    assert json.loads(out)["state"] == "stopped"
    assert seat.json("wait", "1", code=1)["state"] == "stopped"
    seat.edit("8")
    assert seat.json("try", "-m", "goes on")["experiment"] == 2  # the first one was done before it
    assert seat.json("wait", "1")["verdict"] == "keep"


def test_probe_tells_what_the_quick_test_says(seat_of: Callable[..., Seat]) -> None:
    quick = 'quick = "python -c \'import sys; sys.exit(open(\\"knob.txt\\").read().strip() == \\"13\\")\'"\n'
    seat = seat_of(task=TASK.replace("[metric]", f"{quick}\n[metric]"))
    seat.edit("12")
    assert seat.json("probe")["passed"] is True
    seat.edit("13")
    found = seat.json("probe", code=1)
    assert (found["state"], found["passed"]) == ("tried_out", False)
    assert seat.verdicts() == []


def test_who_asks_is_known_by_the_environment(seat: Seat) -> None:
    seat.edit("9")
    seat.call("try", "-m", "one less", CLAUDECODE="1")
    assert seat.toy.history().experiments[1].proposer == "claude"


def test_probe_of_a_run_that_is_over_says_so(seat_of: Callable[..., Seat]) -> None:
    seat = seat_of(task=TASK + "[budget]\nexperiments = 1\n")
    seat.edit("9")
    seat.call("try", "-m", "the only one")
    until(lambda: not seat.owner())
    assert seat.json("probe", code=3)["state"] == "over"


def test_background_job_that_comes_as_the_owner_ends_is_done_without_anybody_waiting(seat: Seat) -> None:
    for i in range(8):
        seat.edit(f"9.{i}")
        seat.call("try", "-m", f"try {i}", "--background", AUTORESEARCH_LINGER="0")
    until(lambda: len(seat.verdicts()) == 8 and ("-", "") not in seat.verdicts())


@pytest.mark.parametrize("value", ["soon", "nan", "-1", "inf"])
def test_time_to_linger_that_is_none_is_refused_by_name(value: str, seat: Seat) -> None:
    seat.edit("9")
    said = seat.call("try", "-m", "x", code=2, AUTORESEARCH_LINGER=value)
    assert f"AUTORESEARCH_LINGER={value!r}: expected seconds" in said
    assert "Traceback" not in said


def test_target_that_was_moved_is_tried_for(seat_of: Callable[..., Seat]) -> None:
    seat = seat_of(task=TASK + "target = 9\n")
    seat.edit("8")
    assert seat.json("try", "-m", "there")["over"] is True
    until(lambda: not seat.owner())
    seat.edit("7")
    assert seat.json("try", "-m", "further", code=3)["state"] == "over"
    task = seat.folder / "autoresearch.toml"
    task.write_text(task.read_text().replace("target = 9", "target = 1"))
    seat.toy.moved()
    assert seat.json("try", "-m", "further")["verdict"] == "keep"


def test_starting_of_a_new_run_goes_on_when_whoever_asked_first_is_killed(seat: Seat) -> None:
    """Killed while the owner starts: the next one waits for that owner, and goes on with its run."""
    seat.edit("9")
    first = seat.start("try", "-m", "first")
    until(lambda: any("autoresearch.driving.serving" in child.cmdline() for child in psutil.Process(first.pid).children()))
    first.kill()
    assert seat.json("try", "-m", "second")["verdict"] == "keep"
    ledger = seat.toy.project.ledger(read_only=True)
    assert len(ledger.runs()) == 1
    ledger.close()


def test_owner_that_is_killed_as_it_begins_is_started_again(seat: Seat) -> None:
    """Twice: once where it is to begin a run, once where it is to take one over."""
    for job, text in ((1, "9"), (2, "8")):
        seat.edit(text)
        asked = seat.start("try", "-m", f"to {text}", "--json")
        os.kill(beginning(asked), signal.SIGKILL)
        out, err = asked.communicate(timeout=LIMIT_S)
        assert asked.returncode == 0, out + err
        assert (json.loads(out)["job"], json.loads(out)["verdict"]) == (job, "keep")
        os.kill(seat.owner(), signal.SIGKILL)
        until(lambda: not seat.owner())


def test_owner_whose_git_was_killed_is_followed_by_one_that_gives_the_verdict(seat_of: Callable[..., Seat]) -> None:
    seat = seat_of({"evaluate.py": SLOW})
    seat.edit("9")
    seat.call("try", "-m", "to 9")
    before = seat.owner()
    seat.edit("8")
    asked = seat.start("try", "-m", "to 8", "--json")
    seat.left(2)
    for child in psutil.Process(before).children():
        if child.name() == "git":
            child.kill()
    out, err = asked.communicate(timeout=LIMIT_S)
    assert asked.returncode == 0, out + err
    assert json.loads(out)["verdict"] == "keep"
    assert seat.owner() != before


def test_who_waits_is_told_that_the_records_were_moved_and_none_are_made_in_their_place(seat_of: Callable[..., Seat]) -> None:
    seat = seat_of({"evaluate.py": SLOW})
    seat.edit("9")
    asked = seat.start("try", "-m", "to 9", "--json")
    seat.left(1)
    records, aside = seat.folder / ".autoresearch", seat.folder.parent / "aside"
    asked.send_signal(signal.SIGSTOP)  # else it might have another owner before they are moved
    os.kill(seat.owner(), signal.SIGKILL)
    records.rename(aside)
    asked.send_signal(signal.SIGCONT)
    out, err = asked.communicate(timeout=LIMIT_S)
    assert (asked.returncode, records.exists()) == (2, False), out + err
    assert "no run in" in err
    assert "Traceback" not in err
    aside.rename(records)
    assert seat.json("wait", "1")["verdict"] == "keep"


def beginning(asked: subprocess.Popen[str]) -> int:
    """An owner that a process has started, as it imports what it needs."""
    found: list[int] = []
    while not found:
        assert asked.poll() is None
        children = [c for c in psutil.Process(asked.pid).children() if c.status() != psutil.STATUS_ZOMBIE]
        found = [child.pid for child in children if "autoresearch.driving.serving" in child.cmdline()]
    return found[0]


def test_two_work_trees_of_a_repository_that_begin_in_the_same_moment_make_a_run_each(seat: Seat) -> None:
    other = seat.folder.parent / "other"
    seat.toy.git("worktree", "add", "-q", str(other), "-b", "other")
    (other / "knob.txt").write_text("8\n")
    seat.edit("9")
    asked = [seat.start("try", "-m", "x", "--json", "-C", str(folder)) for folder in (seat.folder, other)]
    found = answers(asked)
    assert [body["verdict"] for body in found] == ["keep", "keep"]
    assert found[0]["run"] != found[1]["run"]
    for body, text in zip(found, ("9\n", "8\n"), strict=True):
        assert seat.toy.git("show", f"autoresearch/{body['run']}:knob.txt") == text


def test_run_and_try_that_begin_in_the_same_moment_make_one_run(seat_of: Callable[..., Seat]) -> None:
    seat = seat_of(task=TASK + PROPOSER)
    run, asked = seat.start("run", "-n", "1", "--yes"), seat.start("try", "-m", "x", "--json")
    out, err = asked.communicate(timeout=LIMIT_S)
    assert asked.returncode == 0, out + err
    out, err = run.communicate(timeout=LIMIT_S)
    assert run.returncode in (0, 2, 4), out + err  # it worked on it, or says who does
    ledger = seat.toy.project.ledger(read_only=True)
    assert len(ledger.runs()) == 1
    ledger.close()
