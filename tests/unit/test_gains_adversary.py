"""Nasty metrics, walls and orders in noisy runs: what once broke a run, a number or a line that people read."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from tests.rules import SETTINGS, Bench

from autoresearch import api, optimize
from autoresearch.errors import Exhausted
from autoresearch.ledger import MemoryLedger
from autoresearch.noise import Scale
from autoresearch.records import Event, Kind, Measure, Measurement, Outcome
from autoresearch.report import headline, last_lines, summary


def gaussian(sd: float = 0.5) -> Callable[[list[float]], float]:
    draw = random.Random(1)
    return lambda state: state[0] + draw.gauss(0, sd)


def steps(*effects: float) -> Callable[[list[float]], list[float]]:
    """Proposals with these effects, one after the other."""
    numbers: Iterator[int] = count(1)

    def propose(state: list[float]) -> list[float]:
        n = next(numbers)
        if n > len(effects):
            raise Exhausted
        return [state[0] + effects[n - 1], n]

    return propose


def play(fitness: Callable[..., float], propose: Callable[..., Any], **settings: Any) -> Any:
    return optimize([0.0, 0], fitness=fitness, propose=propose, direction="maximize", show=False, **settings)


@pytest.mark.parametrize("evaluations", [1, 2])
def test_wall_within_the_baseline_ends_cleanly_and_claims_nothing(evaluations: int) -> None:
    result = play(gaussian(), steps(1.0), evaluations=evaluations)
    assert (result.reason, result.score, result.validated) == ("evaluations", None, None)
    assert result.headline == "score: the baseline is not measured yet, no validated gain"


def test_evaluations_that_run_ahead_are_recorded_before_a_wall_ends_the_run() -> None:
    calls = []

    def slow(state: list[float], seed: int) -> float:
        calls.append(seed)
        time.sleep(0.002 * (seed % 5))
        return state[0] + random.Random(f"{state} {seed}").gauss(0, 0.5)

    propose = steps(*(0.0, 3.0, -1.0, 0.5, 3.0) * 12)
    result = play(slow, propose, experiments=60, evaluations=30, workers=4)
    made = sum(len(e.measurements) for e in result.history.experiments)
    assert made <= len(calls) <= 30


@pytest.mark.parametrize("rule", ["bayes", "race"])
def test_what_runs_ahead_leaves_evaluations_for_the_decision_on_a_gain(rule: str) -> None:
    def noisy(state: list[float], seed: int) -> float:
        return state[0] + random.Random(f"{state} {seed}").gauss(0, 0.5)

    propose = steps(5.0, *(-9.0,) * 60)
    result = play(noisy, propose, experiments=60, evaluations=20, workers=4, acceptance=rule)
    assert [trial.state[1] for trial in result.history if trial.kept and trial.n] == [1]  # threads ask in any order
    assert result.validated is not None


@pytest.mark.parametrize("wall", [30, 34, 38, 39, 40])
def test_keep_that_is_rejected_when_a_wall_is_met_is_not_what_is_compared(wall: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, draw, calls, rejected = MemoryLedger(), random.Random(2), count(1), []
    monkeypatch.setattr(api, "_open", lambda store: (ledger, None))

    def fitness(state: list[float]) -> float:
        if next(calls) == wall - 6:  # the last one before the final comparison
            rejected.append(ledger.history("optimize-1").line[-1])
            ledger.append("optimize-1", Event("note", None, {"what": "reject", "experiment": rejected[0]}))
        return state[0] + draw.gauss(0, 0.3)

    play(fitness, steps(*(2.0, -1.0, -1.0, -1.0) * 20), experiments=80, evaluations=wall)
    history = ledger.history("optimize-1")
    assert history.agenda.rejected == []
    assert rejected[0] not in history.line
    assert history.validated is not None
    assert {m.of for m in history.experiments[0].measurements if m.phase == "final"} == {0, history.line[-1]}


def test_incumbent_that_fails_on_another_day_can_be_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, draw, fails = MemoryLedger(), random.Random(2), []
    monkeypatch.setattr(api, "_open", lambda store: (ledger, None))

    def fitness(state: list[float]) -> float:
        if state[1] in fails:
            raise OSError("its data is gone")
        return state[0] + draw.gauss(0, 0.1)

    play(fitness, steps(2.0, -1.0), experiments=2)
    assert ledger.history("optimize-1").line == [0, 1]
    fails.append(1)
    ledger.append("optimize-1", Event("note", None, {"what": "machine", "id": "b", "facts": {}, "due": ["another machine"]}))
    assert play(fitness, steps(3.0), experiments=3).reason == "broken"
    ledger.append("optimize-1", Event("note", None, {"what": "reject", "experiment": 1}))
    assert play(fitness, lambda state: [state[0] + 3.0, 3], experiments=3).reason == "experiments"
    assert ledger.history("optimize-1").line == [0, 3]


def test_claim_at_a_baseline_of_zero_is_told_in_the_metric_s_unit() -> None:
    result = play(lambda state: state[0], steps(0.5), evaluations=3)
    assert result.headline == "score 0 → 0.5 (+0.5) as measured on the way: optimistic, not yet validated"


@pytest.mark.parametrize("wild", [1e200, -1e200, 1.7e308])
@pytest.mark.parametrize("rule", ["auto", "bayes", "race", "margin", "single"])
def test_number_too_large_for_its_square_is_no_measurement_and_the_run_goes_on(wild: float, rule: str) -> None:
    quiet = gaussian()
    result = play(lambda state: wild if state[1] == 2 else quiet(state), steps(0, 1, 9, 0), acceptance=rule)
    crashed = result.history[2]
    assert (crashed.verdict, crashed.reason) == ("crash", "no_measurement")
    assert "too large to be compared: expected at most 1e+100" in crashed.words
    assert result.history[3].kept
    assert result.reason == "exhausted"


def test_race_on_a_metric_that_never_differs_is_decided_by_its_pairs() -> None:
    result = play(lambda state: state[0], steps(1, -1, 0, 1), acceptance="race")
    assert [trial.reason for trial in result.history] == ["baseline", "better", "worse", "tie", "better"]


def test_lucky_run_of_a_metric_that_seemed_constant_is_not_kept_by_a_race() -> None:
    lucky = iter([0.0] * 5 + [1.0])
    bench = Bench(lambda step: next(lucky, 0.0), SETTINGS, "race")
    assert bench.experiment().kind is Kind.DISCARD
    assert bench.history.line == [0]


def test_time_of_zero_is_shorter_than_any_other() -> None:
    scale = Scale("wall_s", -1, log=True)

    def number(value: float) -> float:
        return scale.of(Measurement(1, "candidate", 0, 0, "first", Outcome.OK, {"wall_s": value}))

    assert number(0.0) > number(0.01) > number(1.0) > number(10.0)
    assert number(-1.0) == number(0.0)


def test_faces_of_a_run_whose_noisy_baseline_is_being_measured_anew_do_not_fail() -> None:
    draw = random.Random(1)
    bench = Bench(lambda step: (step.of > 0) + draw.gauss(0, 0.1))
    assert bench.experiment().kept
    bench.ledger.append("r", Event("note", 0, {"what": "remeasure"}))
    assert bench.history.agenda.remeasuring
    assert summary(bench.history)["evidence"] is None
    assert "optimistic" in headline(bench.history)
    assert last_lines(bench.history)
    step = bench.step("baseline", 0)
    assert isinstance(step, Measure)
    bench.measure(0, step)
    assert summary(bench.history)["evidence"] is not None
