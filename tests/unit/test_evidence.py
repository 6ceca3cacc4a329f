"""What stands behind a result: the replay of the usual rule, noise, races, pairs, and differences of logarithms."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import pytest
from tests.rules import SETTINGS, Bench, worlds

from autoresearch.gains import evidence, pairs, replay
from autoresearch.noise import Pool, Scale, tally
from autoresearch.records import Kind, Measure
from autoresearch.report import standing_lines


def test_replay_plays_keep_if_better_on_the_first_runs() -> None:
    """The candidates' first runs are 3, 1, 5 and 4 above a baseline of 0, whatever they are worth."""
    lucky = {1: 3.0, 2: 1.0, 3: 5.0, 4: 4.0}
    baseline = iter([0.0, 0.5, -0.5, 0.2, -0.2])

    def values(step: Measure) -> float:
        if step.phase == "baseline":
            return next(baseline)
        return lucky[step.of] if step.phase == "first" else 0.0

    bench = Bench(values)
    for _ in range(4):
        bench.experiment()
    found = replay(bench.history)
    assert (found.kept, found.claimed) == (2, 5.0)
    assert bench.history.line == [0]


def test_evidence_counts_races_and_bounds_the_false_keeps() -> None:
    bench = Bench(worlds([0.0, 9.0, 9.0, 18.0, 0.0]))
    for _ in range(4):
        bench.experiment()
    found = evidence(bench.history)
    assert found is not None
    raced = sum(bool(bench.measured(n, "race")) for n in range(1, 5))
    assert (found.rule, found.kept, found.races) == ("bayes", len(bench.history.line) - 1, raced)
    assert found.expected_false == pytest.approx(min(found.kept, 0.05 * raced))
    assert found.sd is not None
    assert found.detectable == pytest.approx(2.5 * found.sd)
    assert any(line.startswith(f"of {found.kept} kept, at most 0.") for line in standing_lines(bench.history))


def test_exact_metric_has_no_noise_and_nothing_to_replay() -> None:
    bench = Bench(lambda step: float(step.of))
    bench.experiment()
    found = evidence(bench.history)
    assert found is not None
    assert (found.rule, found.sd, found.expected_false, found.replay) == ("exact", 0.0, 0.0, None)
    assert len(standing_lines(bench.history)) == 2  # the claim, and that it is not validated


def test_noise_of_the_pool_is_that_of_one_evaluation() -> None:
    found = []
    for seed in range(8):
        bench = Bench(worlds([0.0] * 100, sd=0.7, seed=seed))
        for _ in range(80):
            bench.experiment()
        found.append(tally(bench.history).alone.sd)
    assert statistics.fmean(found) == pytest.approx(0.7, rel=0.4)


def test_one_outlier_does_not_blow_the_noise_up() -> None:
    pool = Pool(10.0, 10.0)
    assert pool.of_pairs([0.1, -0.2, 500.0]).sd < 3 * pool.sd


def test_pairs_are_two_measurements_side_by_side_under_one_seed() -> None:
    bench = Bench(worlds([0.0, 9.0]), rule="race")
    bench.experiment()
    e = bench.history.experiments[1]
    race = [m for m in e.measurements if m.phase == "race"]
    found = pairs(e.measurements, bench.history)
    assert len(found) == len(race) // 2 > 0
    for pair in found:
        assert (pair.one.of, pair.other.of, pair.one.seed) == (1, 0, pair.other.seed)
        assert pair.gain == pair.one.values["score"] - pair.other.values["score"]


def test_keep_that_adds_lines_for_little_is_named() -> None:
    small = Bench(worlds([0.0, 3.0], seed=2))
    for seed in range(60):
        small = Bench(worlds([0.0, 3.0], seed=seed))
        if small.experiment(lines=12).kind is Kind.KEEP:
            break
    found = evidence(small.history)
    assert found is not None
    assert found.small == (1,)
    large = Bench(worlds([0.0, 90.0]))
    large.experiment(lines=12)
    assert (evidence(large.history) or found).small == ()


@pytest.mark.parametrize("value", [0.004, 3.0, 7e8])
def test_logarithms_are_compared_where_the_metric_is_a_time(value: float) -> None:
    for sign in (1, -1):
        scale = Scale("score", sign, log=True)
        assert scale.value(scale.number(value)) == pytest.approx(value)
        assert scale.number(2 * value) - scale.number(value) == pytest.approx(sign * math.log(2))


def test_noise_that_shrinks_with_a_time_hides_no_later_gain() -> None:
    """Ten times quicker, with a tenth of the noise: a gain of a fifth is seen then as it was before."""
    noise = worlds([0.0] * 99, sd=0.02, seed=5)
    truth = [100.0, 10.0, 8.0]
    settings = replace(SETTINGS, direction="minimize", log=True)
    bench = Bench(lambda step: truth[step.of] * math.exp(noise(step) or 0.0), settings)
    assert [bench.experiment().kind for _ in range(2)] == [Kind.KEEP, Kind.KEEP]
    found = evidence(bench.history)
    assert found is not None
    assert found.sd == pytest.approx(2.0, rel=0.6)  # at the baseline, in the metric's unit


def test_smallest_effect_in_the_unit_holds_for_logarithms_too() -> None:
    settings = replace(SETTINGS, direction="minimize", log=True, min_effect=20.0)
    for gain, kind in ((5.0, Kind.DISCARD), (50.0, Kind.KEEP)):
        noise = worlds([0.0] * 99, sd=0.005, seed=5)
        truth = [100.0, 100.0 - gain]
        values = lambda step, noise=noise, truth=truth: truth[step.of] * math.exp(noise(step) or 0.0)  # noqa: E731
        assert Bench(values, settings).experiment().kind is kind


def test_keeps_for_fewer_lines_are_no_gains_to_be_false() -> None:
    bench = Bench(lambda step: 10.0, replace(SETTINGS, simplify=True, min_effect=1.0))
    bench.experiment(lines=-2)
    found = evidence(bench.history)
    assert found is not None
    assert (found.kept, found.simpler, found.expected_false) == (1, 1, 0.0)
