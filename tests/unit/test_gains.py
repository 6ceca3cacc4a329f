"""A gain is a gain: the trials of `autoresearch.testing.honesty`, of as many nights as a few seconds allow.

In full, at more nights, they are `benchmarks/false_keeps.py --acceptance`.
"""

from __future__ import annotations

import statistics

import pytest

from autoresearch.testing import honesty
from autoresearch.testing.honesty import Findings
from autoresearch.testing.nights import Night, of_world
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


def test_bar_stays_where_it_was_after_a_lucky_run_that_was_discarded() -> None:
    nights = [play(World(Noise(1.0), [0.0] * 8, night=i, spikes={4: 20.0})).history for i in range(20)]
    discarded = [history for history in nights if history[4].verdict == "discard"]
    assert len(discarded) >= 15
    for history in discarded:
        bars = [float(t.words.partition(" against ")[2].split()[0].rstrip(":,")) for t in history[5:]]
        assert max(bars) < 4.0


def test_large_gain_is_found_and_large_loss_costs_one_evaluation() -> None:
    check(honesty.large_gain(nights=100))


def test_race_ends_after_max_repeats_pairs() -> None:
    check(honesty.large_gain(nights=30, max_repeats=4))


def test_race_is_as_honest_as_what_auto_picks() -> None:
    check(honesty.idle_night("race", nights=4))
    check(honesty.lucky_outlier("race", nights=30))
    check(honesty.large_gain("race", nights=20))
    check(honesty.drifting_machine("race", nights=4))


def test_drifting_machine_makes_no_gains_and_hides_few() -> None:
    check(honesty.drifting_machine(nights=10))


def test_direction_sign_and_unit_change_no_decision_and_no_number_is_no_keep() -> None:
    check(honesty.any_scale(nights=10))


def test_headline_is_the_validated_gain_and_true() -> None:
    check(honesty.honest_claim(nights=30))


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
