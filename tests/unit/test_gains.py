"""A gain is a gain: the trials of `autoresearch.testing.honesty`, of as many nights as a few seconds allow.

In full, at more nights, they are `benchmarks/false_keeps.py --acceptance`.
"""

from __future__ import annotations

import statistics

import pytest

from autoresearch.testing import honesty
from autoresearch.testing.honesty import Finding, Findings
from autoresearch.testing.nights import Night, lower_bound, mean, of_world, tail
from autoresearch.testing.worlds import Mix, Noise, World, play


def check(findings: Findings) -> None:
    found = list(findings)
    assert found
    assert [str(f) for f in found if f.is_refuted] == []


def test_exact_metric_costs_one_evaluation_an_experiment_and_ties_lose() -> None:
    check(honesty.exact_economy())


def test_night_of_proposals_without_effect_keeps_next_to_nothing_and_claims_nothing() -> None:
    check(honesty.idle_night(nights=10))


def test_one_lucky_run_keeps_nothing_and_does_not_raise_the_bar() -> None:
    check(honesty.lucky_outlier(nights=100))


def test_large_gain_is_found_and_large_loss_costs_one_evaluation() -> None:
    check(honesty.large_gain(nights=100))


def test_race_ends_after_max_repeats_pairs() -> None:
    check(honesty.large_gain(nights=30, max_repeats=4))


def test_drifting_machine_makes_no_gains_and_hides_few() -> None:
    check(honesty.drifting_machine(nights=10))


def test_direction_sign_and_unit_change_no_decision_and_no_number_is_no_keep() -> None:
    check(honesty.any_scale(nights=10))


def test_headline_is_the_validated_gain_and_true() -> None:
    check(honesty.honest_claim(nights=50))


@pytest.mark.parametrize("rule", ["single", "margin"])
def test_rules_that_believe_one_run_are_found_out(rule: str) -> None:
    failed = {f.trial for f in honesty.idle_night(rule, nights=3) if f.is_refuted}
    failed |= {f.trial for f in honesty.lucky_outlier(rule, nights=20) if f.is_refuted}
    assert "lucky outlier" in failed
    assert ("idle night" in failed) == (rule == "single")


# -- nights of the usual mix -------------------------------------------------------------------------------------------


def nights(rule: str, noise: Noise, mix: Mix, *, count: int, evaluations: int) -> list[Night]:
    worlds = [World(noise, mix, night=i) for i in range(count)]
    return [of_world(world, play(world, rule, evaluations=evaluations)) for world in worlds]


def test_budget_of_evaluations_holds_with_races_and_final_included() -> None:
    for rule in ("auto", "margin", "single"):
        for world in (World(Noise(0.3), Mix(), night=i) for i in range(3)):
            result = play(world, rule, evaluations=120)
            assert world.evaluations <= 120
            assert result.reason == "evaluations"


def test_usual_mix_under_noise_has_few_false_keeps_and_few_repeats() -> None:
    found = nights("auto", Noise(0.3), Mix(), count=6, evaluations=400)
    usual = nights("single", Noise(0.3), Mix(), count=6, evaluations=400)
    assert sum(n.false for n in found) <= 0.2 * sum(n.keeps for n in found)
    assert sum(n.false for n in usual) >= 0.4 * sum(n.keeps for n in usual)
    assert statistics.fmean(n.repeats / n.experiments for n in found) <= 0.6
    assert all(n.repeats == 0 and n.most == 1 for n in usual)


def test_common_seeds_reach_both_arms_and_let_more_be_found() -> None:
    alone = nights("auto", Noise(1.0), Mix(gain=0.2), count=8, evaluations=300)
    common = nights("auto", Noise(1.0, common=0.8), Mix(gain=0.2), count=8, evaluations=300)
    assert statistics.fmean(n.true for n in common) > statistics.fmean(n.true for n in alone)


def test_crashes_cost_one_evaluation_and_are_never_kept() -> None:
    world = World(Noise(0.3), [None, 2.0, None, -1.0])
    result = play(world)
    assert [t.verdict for t in result.history] == ["keep", "crash", "keep", "crash", "discard"]
    assert all(len(e.own) == 1 for e in result.history.experiments if e.n in (1, 3))


# -- the worlds and figures themselves ---------------------------------------------------------------------------------


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
