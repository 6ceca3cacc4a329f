"""Worlds of known truth, and the figures of nights in them."""

from __future__ import annotations

import statistics

import pytest

from autoresearch.testing.honesty import Finding
from autoresearch.testing.nights import lower_bound, mean, tail
from autoresearch.testing.worlds import Mix, Noise, World, play


def test_noise_and_proposals_of_a_night_are_the_same_for_every_rule() -> None:
    def proposed(rule: str) -> list[float | None]:
        world = World(Noise(0.0), Mix(), night=3)
        play(world, rule, evaluations=60)
        return list(world.effects.values())[:40]

    assert proposed("single") == proposed("margin") == proposed("auto")
    assert play(World(Noise(1.0), [0.0], night=3), "single").history[0].score == pytest.approx(
        play(World(Noise(1.0), [1.0], night=3), "single").history[0].score
    )


@pytest.mark.parametrize(
    ("noise", "spread"),
    [(Noise(2.0), 2.0), (Noise(1.0, common=0.8), 1.0), (Noise(1.0, shape="heavy"), 1.53), (Noise(1.0, drift=3.0), 3.1)],
)
def test_noise_has_the_spread_that_it_says(noise: Noise, spread: float) -> None:
    values = []
    for night in range(40):
        world = World(noise, [], night=night)
        extra = {"seed": night} if noise.common else {}
        values += [world.fitness([0.0, 0], **({**extra, "seed": i} if extra else {})) for i in range(400)][300:]
    assert statistics.pstdev(values) == pytest.approx(spread, rel=0.25)


def test_two_runs_under_one_seed_are_correlated() -> None:
    world = World(Noise(1.0, common=0.8), [], night=1)
    pairs = [(world.fitness([0.0, 0], seed=i), world.fitness([0.0, 0], seed=i)) for i in range(2000)]
    assert statistics.correlation(*zip(*pairs, strict=True)) == pytest.approx(0.8, abs=0.05)


def test_shares_of_a_mix_are_those_it_names() -> None:
    world = World(Noise(), Mix(crash=0.2, crash_cost=1.0, fade=float("inf")))
    for _ in range(5000):
        world.propose([0.0, 0])
    effects = list(world.effects.values())
    assert sum(e is None for e in effects) / 5000 == pytest.approx(0.2, abs=0.02)
    gains = [e for e in effects if e is not None and e > 0]
    assert len(gains) / 5000 == pytest.approx(0.05, abs=0.01)
    assert statistics.fmean(gains) == pytest.approx(1.0, abs=0.2)


def test_lower_bound_of_a_share_is_the_exact_one() -> None:
    assert lower_bound(90, 100) == pytest.approx(0.8363, abs=1e-3)  # qbeta(0.05, 90, 11)
    assert lower_bound(0, 10) == 0.0
    assert lower_bound(10, 10) == pytest.approx(0.05 ** (1 / 10), abs=1e-6)
    assert tail(1, 3, 0.5) == pytest.approx(7 / 8)


def test_mean_comes_with_its_standard_error() -> None:
    found = mean([1.0, 2.0, 3.0])
    assert (found.value, found.error) == (2.0, pytest.approx(1 / 3**0.5))


def test_finding_of_few_nights_is_refuted_only_where_chance_does_not_explain_it() -> None:
    assert not Finding("t", "share", 0.05, "<=", 0.03, 100).is_refuted
    assert Finding("t", "share", 0.5, "<=", 0.03, 100).is_refuted
    assert Finding("t", "share", 0.5, ">=", 0.9, 100).is_refuted
    assert Finding("t", "mean", 1.6, "<=", 1.5).is_refuted
