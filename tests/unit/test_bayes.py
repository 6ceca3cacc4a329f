"""The default rule for noise: the incumbent's level under drift, the weight of evidence, and what it asks for when."""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import replace

import pytest
from tests.rules import SETTINGS, Bench, Values, worlds

from autoresearch.acceptance.bayes import REFRESH, Bayes, Levels
from autoresearch.acceptance.evidence import Run, estimate, weigh
from autoresearch.acceptance.level import Level, Track, fit
from autoresearch.contracts import Situation
from autoresearch.noise import Scale
from autoresearch.records import Event, Kind, Measure, Step

SCALE = Scale("score", 1)


# -- the level ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sd", [1e-9, 0.3, 1.0, 1e9])
def test_noise_of_a_steady_machine_is_the_standard_deviation(sd: float) -> None:
    found = []
    for seed in range(20):
        draw = random.Random(seed)
        level = Level.of([draw.gauss(0, sd) for _ in range(60)])
        found.append(level.sd / sd)
    assert statistics.fmean(found) == pytest.approx(1.0, abs=0.08)


def test_level_of_a_steady_machine_is_the_mean_of_all_runs() -> None:
    draw = random.Random(4)
    values = [draw.gauss(5.0, 1.0) for _ in range(40)]
    level = Level.of(values)
    assert level.drift <= 0.03
    assert level.mean == pytest.approx(statistics.fmean(values), abs=0.5)


def test_drift_is_told_from_noise() -> None:
    steady, drifting = [], []
    for seed in range(30):
        draw = random.Random(seed)
        steady.append(Level.of([draw.gauss(0, 1.0) for _ in range(40)]).drift)
        at, values = 0.0, []
        for _ in range(40):
            at += draw.gauss(0, 1.0)
            values.append(at + draw.gauss(0, 1.0))
        drifting.append(Level.of(values).drift)
    assert statistics.fmean(steady) < 0.05
    assert statistics.fmean(drifting) > 0.25


def test_outlier_neither_moves_the_level_far_nor_blows_the_noise_up() -> None:
    draw = random.Random(2)
    level = Level.of([draw.gauss(0, 1.0) for _ in range(20)])
    before = level.mean, level.sd
    level.run(1000.0)
    level.fit()
    assert abs(level.mean - before[0]) < 3
    assert level.sd < 2.5 * before[1]


def test_scale_of_mostly_equal_surprises_does_not_collapse() -> None:
    assert fit([0.0] * 50 + [1.0]) >= 0.25 * math.sqrt(1 / 51)
    assert fit([0.0] * 9) == 0.0


# -- evidence ----------------------------------------------------------------------------------------------------------


def test_estimate_on_a_steady_machine_is_the_difference_of_means() -> None:
    start = Track(0.0, 0.0)  # the incumbent stands at 0, known for sure
    runs = [Run(True, v, i + 2) for i, v in enumerate([1.0, 2.0, 0.5])]
    found = estimate(start, 1, 1.0, 0.0, runs)
    assert found.gain == pytest.approx(statistics.fmean([1.0, 2.0, 0.5]))
    assert found.gain_variance == pytest.approx(1 / 3)


def test_runs_of_the_incumbent_sharpen_the_gain_and_more_so_on_a_machine_that_drifts() -> None:
    runs = [Run(True, 1.0, 10), Run(True, 1.0, 11)]
    for drift, candidate_is_better in ((0.0, True), (1.0, False)):
        found = estimate(Track(0.0, 0.1), 1, 1.0, drift, runs)
        assert (found.candidate_next(drift) < found.incumbent_next(drift)) is candidate_is_better


def test_one_lucky_run_counts_for_little() -> None:
    for value in (20.0, 1e6):
        found = estimate(Track(0.0, 0.2), 1, 1.0, 0.0, [Run(True, value, 2), Run(True, 0.0, 3)])
        assert found.gain < 1.0


def test_evidence_grows_with_the_gain_and_is_against_none_of_it() -> None:
    factors = [weigh(gain, 1.0, 4.0).factor for gain in (-50.0, -8.0, -2.0, 0.0, 1.0, 3.0, 6.0, 50.0)]
    assert factors == sorted(factors)
    assert factors[3] < 0 < factors[5]
    assert weigh(-40.0, 1.0, 4.0).gain > 0
    assert weigh(6.0, 0.01, 4.0).gain == pytest.approx(6.0, abs=0.01)


def test_chance_to_reach_strong_evidence_without_a_gain_is_bounded() -> None:
    """Ville's inequality, with the incumbent known and eight runs at most."""
    reached = 0
    for seed in range(3000):
        draw = random.Random(seed)
        runs: list[Run] = []
        for i in range(8):
            runs.append(Run(True, draw.gauss(0, 1.0), i + 2))
            found = estimate(Track(0.0, 0.0), 1, 1.0, 0.0, runs)
            if i and weigh(found.gain, math.sqrt(found.gain_variance), 4.0).factor >= math.log(41.6):
                reached += 1
                break
    assert reached / 3000 <= 1 / 41.6 + 0.008


# -- the rule ----------------------------------------------------------------------------------------------------------


def test_candidate_far_below_is_measured_once() -> None:
    once = sum(len(played([0.0, -4.0], seed)) == 1 for seed in range(100))
    assert once >= 97


def played(effects: list[float], seed: int, **settings: object) -> list[Measure]:
    bench = Bench(worlds(effects, seed=seed), replace(SETTINGS, **settings))  # type: ignore[arg-type]
    bench.experiment()
    return [m for m in bench.history.experiments[1].measurements if m.phase in ("first", "race")]  # type: ignore[misc]


def test_keep_rests_on_two_runs_of_the_candidate_at_least() -> None:
    kept = 0
    for seed in range(60):
        bench = Bench(worlds([0.0, 12.0], seed=seed))
        if bench.experiment().kind is Kind.KEEP:
            kept += 1
            own = [m for m in bench.history.experiments[1].measurements if m.of == 1]
            assert len(own) >= 2
    assert kept == 60


@pytest.mark.parametrize(("effect", "quicker", "kept"), [(1.0, 0.65, 0), (0.65, 1.0, 40)])
def test_machine_that_is_quicker_from_now_on_makes_no_gain_of_a_time(effect: float, quicker: float, kept: int) -> None:
    found = 0
    for seed in range(40):
        draw = random.Random(seed)

        def seconds(step: Measure, draw: random.Random = draw) -> float:
            share = 1.0 if step.phase == "baseline" else quicker  # since then nothing else works on it
            return 79.0 * share * (effect if step.of else 1.0) * math.exp(draw.gauss(0, 0.02))

        found += Bench(seconds, replace(SETTINGS, direction="minimize", log=True), "bayes").experiment().kept
    assert found == kept


@pytest.mark.parametrize("repeats", [2, 4, 8])
def test_never_more_runs_than_the_repeats_allow(repeats: int) -> None:
    most = max(len(played([0.0, 1.2], seed, max_repeats=repeats)) for seed in range(120))
    assert most <= 1 + 2 * repeats


def test_smaller_alpha_keeps_fewer() -> None:
    kept = {}
    for alpha in (0.2, 0.001):
        settings = replace(SETTINGS, alpha=alpha)
        kept[alpha] = sum(Bench(worlds([0.0, 2.0], seed=s), settings).experiment().kept for s in range(100))
    assert kept[0.001] < kept[0.2] - 10


def test_incumbent_is_measured_again_after_some_experiments_and_sooner_on_a_machine_that_drifts() -> None:
    again = {}
    for drift in (0.0, 1.5):
        bench = Bench(worlds([0.0] + [-50.0 - 3 * n for n in range(99)], drift=drift, seed=3))
        for _ in range(75):
            bench.experiment()
        again[drift] = [n for n in range(76) if bench.measured(n, "between")]
    assert 2 <= len(again[0.0]) <= 5
    assert again[0.0][0] <= REFRESH
    assert len(again[1.5]) > 2 * len(again[0.0])


def test_incumbent_that_fails_twice_is_no_win_for_the_candidate() -> None:
    reasons = []
    for seed in range(40):
        good = worlds([0.0, 1.8], seed=seed)

        def values(step: Measure, good: Values = good) -> float | None:
            return None if step.phase == "race" and step.of == 0 else good(step)

        bench = Bench(values)
        verdict = bench.experiment()
        failed = sum(not m.ok for m in bench.history.experiments[1].measurements)
        assert (verdict.reason == "flaky") is (failed == 2)
        assert not failed or not verdict.kept
        reasons.append(verdict.reason)
    assert reasons.count("flaky") > 5


def test_rule_that_has_seen_nothing_before_asks_for_the_same() -> None:
    asked: list[Step] = []

    class Watched:
        def __init__(self) -> None:
            self._rule = Bayes()

        def next(self, situation: Situation) -> Step:
            fresh, known = Bayes().next(situation), self._rule.next(situation)
            assert fresh == known
            asked.append(fresh)
            return known

    draw = random.Random(3)
    effects, noise = [0.0], worlds([0.0] * 99)
    bench = Bench(lambda step: effects[step.of] + (noise(step) or 0.0), rule=Watched())
    for _ in range(40):
        effects.append(effects[bench.history.line[-1]] + draw.choice([0.0, -3.0, 2.0]))
        bench.experiment()
    assert sum(isinstance(s, Measure) and s.phase == "race" for s in asked) > 20
    assert len(bench.history.line) > 2


def test_level_after_a_roll_back_is_that_of_the_experiment_that_came_back() -> None:
    bench = Bench(worlds([0.0, 20.0, 40.0], seed=5))
    for _ in range(2):
        assert bench.experiment().kind is Kind.KEEP
    event = {"to": 1, "words": "rejected", "commit": "c", "tree": "t", "moved": True}
    bench.ledger.append("r", Event("rolled_back", 2, event))
    level = Levels(bench.history).now(SCALE)
    assert level.mean == pytest.approx(20.0, abs=3)


def test_decisions_are_the_same_whatever_unit_sign_and_zero() -> None:
    def verdicts(unit: float, zero: float, sign: int) -> list[str]:
        draw = random.Random(7)
        effects = [0.0]
        noise = worlds([0.0] * 99, seed=9)

        def values(step: Measure) -> float:
            return sign * (effects[step.of] + (noise(step) or 0.0)) * unit + zero * unit

        bench = Bench(values, replace(SETTINGS, direction="maximize" if sign > 0 else "minimize"))
        for _ in range(30):
            effects.append(effects[bench.history.line[-1]] + draw.choice([0.0, -2.0, 3.0]))
            bench.experiment()
        return [v.reason for v in bench.verdicts]

    expected = verdicts(1.0, 0.0, 1)
    assert len(set(expected)) > 2
    for unit, zero, sign in ((1e-9, 0.0, 1), (1e9, 0.0, 1), (1.0, -1000.0, 1), (1.0, 0.0, -1), (1e-9, 3.0, -1)):
        assert verdicts(unit, zero, sign) == expected
