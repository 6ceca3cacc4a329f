"""`optimize`: any value, any function; crashes, hangs, resume, notebooks and interrupts."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Toy

from autoresearch import optimize, task
from autoresearch.errors import OwnedElsewhere, SetupError


def down(state: float) -> float:
    return state - 1


def test_result_is_the_best_state_with_its_score_and_history() -> None:
    result = optimize(5, fitness=lambda s: s * s, propose=down, experiments=7)
    assert (result.state, result.score, result.reason) == (0, 0.0, "experiments")
    assert [t.state for t in result.history[:3]] == [5, 4, 3]
    assert [t.verdict for t in result.history][-2:] == ["discard", "invalid"]
    assert len(result.history) == 8


@pytest.mark.parametrize("initial", [{"a": [1, 2.5, None]}, (1, 2), {3, 4}, "text", b"bytes", None, 7])
def test_any_json_or_picklable_state_comes_back_as_it_was(initial: Any) -> None:
    seen: list[Any] = []
    optimize(initial, fitness=lambda s: seen.append(s) or 1.0, propose=lambda s: s, experiments=1)
    assert seen[0] == initial
    assert type(seen[0]) is type(initial)


def test_state_that_is_neither_is_refused() -> None:
    with pytest.raises(SetupError, match="JSON or picklable, got function"):
        optimize(lambda: 1, fitness=lambda s: 1, propose=lambda s: s)


def test_proposer_may_not_change_the_best_state_behind_our_back() -> None:
    def propose(state: list[float]) -> list[float]:
        state.append(99.0)
        raise ValueError("and it fails")

    result = optimize([1.0], fitness=sum, propose=propose, experiments=2)
    assert result.state == [1.0]


def test_exceptions_in_fitness_are_crashes_and_in_propose_failed_proposals() -> None:
    def fitness(state: int) -> float:
        if state == 4:
            raise KeyError("no such thing")
        return state

    steps = iter([4, "boom", 3])

    def propose(state: int) -> int:
        step = next(steps)
        if step == "boom":
            raise RuntimeError("no idea")
        return int(step)

    result = optimize(5, fitness=fitness, propose=propose, experiments=3)
    assert [(t.verdict, t.reason) for t in result.history][1:] == [
        ("crash", "exit"),
        ("invalid", "proposer_crash"),
        ("keep", "better"),
    ]
    assert "KeyError: 'no such thing'" in result.history[1].words
    assert "RuntimeError: no idea" in result.history[2].words


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_whatever_is_raised_inside_a_function_is_the_end_of_that_experiment_alone(error: type[BaseException]) -> None:
    def fitness(state: int) -> float:
        if state == 4:
            raise error
        return state

    def propose(state: int, history: Any) -> int:
        if len(history) == 2:
            raise error
        return 5 - len(history)

    result = optimize(5, fitness=fitness, propose=propose, experiments=3)
    assert [(t.verdict, t.reason) for t in result.history][1:] == [
        ("crash", "exit"),
        ("invalid", "proposer_crash"),
        ("keep", "better"),
    ]
    assert result.reason == "experiments"
    assert error.__name__ in result.history[1].words


def test_twenty_failures_in_a_row_do_not_end_it() -> None:
    result = optimize(0, fitness=lambda s: s if s == 0 else 1 / 0, propose=lambda s, h: len(h), experiments=30)
    assert [t.verdict for t in result.history][1:] == ["crash"] * 30


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "seven", None, [1], {"loss": 1}])
def test_what_is_no_number_is_no_measurement(value: Any) -> None:
    result = optimize(1, fitness=lambda s: 5 if s == 1 else value, propose=lambda s: 2, experiments=1)
    assert (result.history[1].verdict, result.history[1].reason) == ("crash", "no_measurement")


def test_fitness_may_give_further_metrics() -> None:
    result = optimize(2, fitness=lambda s: {"score": s, "size": 7}, propose=down, experiments=1)
    assert result.history[1].metrics == {"score": 1.0, "size": 7.0}


def test_fitness_that_fails_on_the_initial_state_is_a_wrong_set_up() -> None:
    with pytest.raises(SetupError, match="fitness fails on the initial state: ZeroDivisionError"):
        optimize(1, fitness=lambda s: 1 / 0, propose=down)


def test_hangs_end_in_timeout_and_the_run_goes_on() -> None:
    release = threading.Event()

    def fitness(state: int) -> float:
        if state == 4:
            release.wait(30)
        return state

    def propose(state: int, history: Any) -> int:
        if len(history) == 2:
            release.wait(30)
        return [4, 3, 2][len(history) - 1]

    began = time.monotonic()
    result = optimize(5, fitness=fitness, propose=propose, experiments=3, timeout_s=0.3)
    release.set()
    assert time.monotonic() - began < 10
    assert [(t.verdict, t.reason) for t in result.history][1:] == [
        ("timeout", "timeout"),
        ("invalid", "proposer_timeout"),
        ("keep", "better"),
    ]


def test_store_goes_on_and_measures_nothing_twice(tmp_path: Path) -> None:
    calls: list[float] = []

    def run(experiments: int) -> Any:
        return optimize(
            10, fitness=lambda s: calls.append(s) or s, propose=down, experiments=experiments, store=tmp_path / "runs.db"
        )

    assert run(3).score == 7
    assert run(5).score == 5
    assert run(5).score == 5
    assert calls == [10, 10, 9, 8, 7, 7, 6, 5, 5]  # the result of each call is measured once more
    assert [t.state for t in run(5).history] == [10, 9, 8, 7, 6, 5]


def test_another_initial_state_is_another_run_in_the_same_store(tmp_path: Path) -> None:
    for initial in (10, 20):
        optimize(initial, fitness=float, propose=down, experiments=2, store=tmp_path / "runs.db")
    result = optimize(10, fitness=lambda s: 1 / 0, propose=down, experiments=2, store=tmp_path / "runs.db")
    assert result.score == 8


def test_killed_process_goes_on_in_the_next(tmp_path: Path) -> None:
    code = f"""
import autoresearch, os, signal
def fitness(s):
    if s == 5: os.kill(os.getpid(), signal.SIGKILL)
    return s
autoresearch.optimize(10, fitness=fitness, propose=lambda s: s - 1, experiments=8, store={str(tmp_path / "runs.db")!r})
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    calls: list[int] = []
    result = optimize(10, fitness=lambda s: calls.append(s) or s, propose=down, experiments=8, store=tmp_path / "runs.db")
    assert (result.score, calls) == (2, [5, 4, 3, 2, 2])


def test_store_that_another_process_uses_is_refused(tmp_path: Path) -> None:
    def inner(state: int) -> float:
        with pytest.raises(OwnedElsewhere):
            optimize(10, fitness=float, propose=down, experiments=1, store=tmp_path / "runs.db")
        return state

    assert optimize(10, fitness=inner, propose=down, experiments=1, store=tmp_path / "runs.db").score == 9


def test_works_inside_a_running_event_loop() -> None:
    async def notebook() -> float | None:
        return optimize(5, fitness=float, propose=down, experiments=3).score

    assert asyncio.run(notebook()) == 2


def test_workers_measure_at_the_same_time_with_the_same_result() -> None:
    together, most, lock = 0, 0, threading.Lock()

    def fitness(state: list[int]) -> float:
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        time.sleep(0.05)
        with lock:
            together -= 1
        return (state[0] * 7) % 11

    def run(workers: int) -> list[Any]:
        ids = itertools.count(1)
        result = optimize([0], fitness=fitness, propose=lambda s: [next(ids)], experiments=6, workers=workers)
        return [t.verdict for t in result.history]

    assert len(run(3)) == 7
    assert most == 3


def test_interrupt_gives_the_result_so_far() -> None:
    def fitness(state: int) -> float:
        if state == 7:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        return state

    began = time.monotonic()
    result = optimize(10, fitness=fitness, propose=down, experiments=1000)
    assert (result.score, result.reason) == (8, "interrupted")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"direction": "up"}, "expected 'minimize' or 'maximize'"),
        ({"workers": 0}, "expected at least"),
        ({"store": "/no/such/folder/runs.db"}, "does not exist"),
    ],
)
def test_arguments_that_are_no_good_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SetupError, match=words):
        optimize(1, fitness=float, propose=down, **options)


def test_task_gives_the_runs_of_the_command_line(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    (toy.folder / "idea.py").write_text("def lower(folder):\n    (folder / 'knob.txt').write_text('9')\n    return 'nine'\n")
    text = (toy.folder / "autoresearch.toml").read_text()
    (toy.folder / "autoresearch.toml").write_text(text + '[proposer]\nkind = "idea:lower"\n')
    toy.commit()
    found = task(toy.folder).run("one", experiments=2)
    assert (found["incumbent"], found["reason"]) == (9.0, "session")
    assert [r.run for r in task(toy.folder).runs()] == ["one"]
    history = task(toy.folder).history()
    assert [e.description for e in history.experiments][1:] == ["nine", "nine"]
    assert [e.verdict.reason for e in history.experiments if e.verdict][1:] == ["better", "no_change"]
