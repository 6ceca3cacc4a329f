"""The race as states of a pure function: what it asks for, in which order, and what it makes of failures and drift."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from tests import rules
from tests.rules import SETTINGS, Values, worlds

from autoresearch.acceptance.race import REFRESH, Race
from autoresearch.contracts import Acceptance, Settings, Situation
from autoresearch.noise import Fold, tally
from autoresearch.records import Done, Event, Kind, Measure, Reach, RollBack, Step


class Bench(rules.Bench):
    """With the race, where no other rule is named."""

    def __init__(self, values: Values, settings: Settings = SETTINGS, rule: Acceptance | str = "race") -> None:
        super().__init__(values, settings, rule)


def test_baseline_is_measured_five_times_and_fixes_how_the_run_decides() -> None:
    bench = Bench(worlds([0.0]))
    method = bench.history.agenda.method
    assert method is not None
    assert (method.rule, method.alpha, len(bench.history.experiments[0].own)) == ("race", 0.05, 5)
    assert method.sd is not None
    assert method.detectable == pytest.approx(2.5 * method.sd)


@pytest.mark.parametrize(
    ("reach", "count"),
    [
        (Reach(), 5),
        (Reach(evaluations=700), 5),
        (Reach(evaluations=60), 3),
        (Reach(time_s=1000.0), 5),
        (Reach(time_s=90.0), 3),
    ],
)
def test_long_evaluations_have_three_baselines(reach: Reach, count: int) -> None:
    bench = Bench(worlds([0.0]), replace(SETTINGS, reach=reach))  # one second each
    assert len(bench.history.experiments[0].own) == count


def test_high_noise_has_eight_baselines() -> None:
    assert len(Bench(worlds([0.0]), replace(SETTINGS, noise="high")).history.experiments[0].own) == 8


@pytest.mark.parametrize(
    ("reach", "pairs", "checkpoints"),
    [
        (Reach(experiments=1000), 6, 8),
        (Reach(experiments=100), 3, 0),
        (Reach(evaluations=700), 6, 4),
        (Reach(evaluations=100), 3, 0),
        (Reach(evaluations=15), 0, 0),
        (Reach(time_s=700.0), 6, 4),
    ],
)
def test_pairs_of_the_final_come_from_noise_and_budget(reach: Reach, pairs: int, checkpoints: int) -> None:
    method = Bench(worlds([0.0]), replace(SETTINGS, reach=reach)).history.agenda.method
    assert method is not None
    assert (method.pairs, method.checkpoints) == (pairs, checkpoints)


def test_effect_far_above_the_noise_needs_fewer_pairs_in_the_final() -> None:
    settings = replace(SETTINGS, reach=Reach(evaluations=700), min_effect=20.0)
    method = Bench(worlds([0.0]), settings).history.agenda.method
    assert method is not None
    assert method.pairs == 3


def test_pairs_alternate_in_order_and_share_fresh_seeds() -> None:
    races = []
    for seed in range(20):
        bench = Bench(worlds([0.0, 2.5], seed=seed))
        bench.experiment()
        races.append((len(bench.measured(1, "race")), bench))
    bench = max(races, key=lambda race: race[0])[1]
    race = bench.measured(1, "race")
    assert len(race) >= 6
    assert {race[0][0], race[1][0]} == {race[2][0], race[3][0]} == {"candidate", "incumbent"}
    assert race[0][0] == race[3][0]
    seeds = [seed for _, seed in race]
    assert seeds[::2] == seeds[1::2]
    assert len({*seeds, *(m.seed for m in bench.history.experiments[0].own)}) == len(race) // 2 + 5


def test_candidate_that_fails_in_its_race_is_a_crash() -> None:
    def values(step: Measure) -> float | None:
        return None if step.phase == "race" and step.of == 1 else good(step)

    good = worlds([0.0, 5.0])
    assert Bench(values).experiment().kind is Kind.CRASH


def test_incumbent_that_fails_once_is_measured_again_under_the_same_seed() -> None:
    good, failed = worlds([0.0, 6.0]), [0]

    def values(step: Measure) -> float | None:
        if step.phase == "race" and step.of == 0 and not failed[0]:
            failed[0] += 1
            return None
        return good(step)

    bench = Bench(values)
    assert bench.experiment().kind is Kind.KEEP
    incumbent = [(m.seed, m.ok) for m in bench.history.experiments[1].measurements if m.arm == "incumbent"]
    assert incumbent[0][1] is False
    assert incumbent[1] == (incumbent[0][0], True)


def test_incumbent_that_fails_twice_is_no_win_for_the_candidate() -> None:
    good = worlds([0.0, 50.0])

    def values(step: Measure) -> float | None:
        return None if step.phase == "race" and step.of == 0 else good(step)

    verdict = Bench(values).experiment()
    assert (verdict.kind, verdict.reason) == (Kind.DISCARD, "flaky")


def test_incumbent_is_measured_again_after_some_experiments_without_it() -> None:
    bench = Bench(worlds([0.0] + [-50.0] * 40))
    for _ in range(2 * REFRESH):
        bench.experiment()
    again = [n for n in range(2 * REFRESH + 1) if bench.measured(n, "between")]
    assert again == [REFRESH, 2 * REFRESH]
    assert tally(bench.history).since == 0


def test_lucky_value_of_the_screen_never_becomes_the_bar() -> None:
    bench = Bench(lambda step: 100.0 if step.phase == "first" else quiet(step))
    bench.experiment()
    known = tally(bench.history)
    assert bench.verdicts[-1].kind is Kind.DISCARD
    assert known.bar(bench.history.incumbent) < 10


quiet = worlds([0.0] * 99)


def test_bar_of_a_keep_rests_on_its_race_and_not_on_its_screen() -> None:
    bench = Bench(worlds([0.0, 8.0]))
    verdict = bench.experiment()
    race = [m.values["score"] for m in bench.history.experiments[1].measurements if m.phase == "race" and m.of == 1]
    assert verdict.kind is Kind.KEEP
    assert verdict.value == pytest.approx(sum(race) / len(race))
    assert tally(bench.history).bar(bench.history.incumbent) == pytest.approx(sum(race) / len(race))


def test_fold_brought_up_to_date_step_by_step_is_the_fold_of_the_whole() -> None:
    draw = random.Random(3)
    effects, noise = [0.0], worlds([0.0] * 200)
    bench = Bench(lambda step: effects[step.of] + (noise(step) or 0.0))
    fold = Fold(bench.history)
    for _ in range(60):
        effects.append(effects[bench.history.line[-1]] + draw.choice([0.0, -3.0, 3.0]))
        bench.experiment()
        assert fold.now() == tally(bench.history)
    assert len(bench.history.line) > 5


def test_rule_is_pure_in_the_middle_of_a_race() -> None:
    """A rule that has seen nothing before asks for the same as the one that was there all the time."""
    steps = []
    good = worlds([0.0, 2.0, 2.0, 0.0, 4.0], seed=8)

    class Watched:
        def __init__(self) -> None:
            self._rule = Race()

        def next(self, situation: Situation) -> Step:
            fresh, known = Race().next(situation), self._rule.next(situation)
            assert fresh == known
            steps.append(fresh)
            return known

    bench = Bench(good, rule=Watched())
    for _ in range(4):
        bench.experiment()
    assert sum(isinstance(s, Measure) and s.phase == "race" for s in steps) >= 4


def test_line_that_is_worse_than_at_the_last_checkpoint_is_rolled_back() -> None:
    """Keeps that won their races by a trick: as soon as they are compared with the start they are worse."""
    noise = worlds([0.0] * 99, sd=0.1)

    def values(step: Measure) -> float:
        return noise(step) + (-5.0 * step.of if step.phase == "between" else 1.0 * step.of)

    bench = Bench(values, replace(SETTINGS, reach=Reach(evaluations=2000)))
    for _ in range(10):
        bench.experiment()
    assert bench.history.line == [0]
    assert sum(e.rolled_back for e in bench.history.experiments) == 10


def test_exact_incumbent_with_other_bits_makes_the_metric_noisy_and_its_keeps_are_tried_again() -> None:
    noise = worlds([0.0] * 99, sd=0.3)

    def measure(step: Measure) -> float:
        return float(step.of) + (noise(step) if step.phase == "between" else 0.0)

    bench = rules.Bench(measure, replace(SETTINGS, reach=Reach(evaluations=2000)))
    assert bench.history.exact
    for _ in range(10):
        bench.experiment()
    method = bench.history.agenda.method
    assert method is not None
    assert not bench.history.exact
    assert method.rule == "bayes"
    assert bench.history.line == [0]
    assert tally(bench.history).alone.sd == pytest.approx(0.3, abs=0.3)


def test_drifting_machine_is_noticed_and_a_steady_one_is_not() -> None:
    found = []
    for drift in (0.0, 0.5):
        bench = Bench(worlds([0.0] * 200, drift=drift, seed=2))
        for _ in range(120):
            bench.experiment()
        found.append(tally(bench.history).drifts)
    assert found == [False, True]


@pytest.mark.parametrize(("lines", "kind"), [(-3, Kind.KEEP), (3, Kind.DISCARD), (0, Kind.DISCARD)])
def test_fewer_lines_win_a_tie(lines: int, kind: Kind) -> None:
    settings = replace(SETTINGS, simplify=True, min_effect=4.0)
    verdict = Bench(worlds([0.0, 0.0], seed=6), settings).experiment(lines=lines)
    assert verdict.kind is kind
    assert (verdict.reason == "simpler") is (kind is Kind.KEEP)


def test_fewer_lines_do_not_win_for_a_loss_beyond_the_margin() -> None:
    settings = replace(SETTINGS, simplify=True, min_effect=4.0)
    kept = sum(Bench(worlds([0.0, -6.0], seed=s), settings).experiment(lines=-3).kept for s in range(40))
    assert kept <= 4


def test_single_evaluation_without_repeats_needs_two_standard_deviations() -> None:
    settings = replace(SETTINGS, max_repeats=1)
    bench = rules.Bench(worlds([0.0, 9.0]), settings)
    method = bench.history.agenda.method
    assert method is not None
    assert method.rule == "margin"
    assert bench.experiment().kind is Kind.KEEP
    assert not bench.measured(1, "race")


def test_race_never_takes_more_than_its_repeats() -> None:
    for seed in range(60):
        bench = Bench(worlds([0.0, 1.5], seed=seed), replace(SETTINGS, max_repeats=4), rule=Race())
        bench.experiment()
        assert len(bench.measured(1, "race")) <= 8


def test_numbers_of_another_machine_are_the_only_bar_from_then_on() -> None:
    bench = Bench(worlds([0.0, 9.0, 9.0], seed=3))
    assert bench.experiment().kind is Kind.KEEP
    before = tally(bench.history).alone.sd
    again = Measure(of=1, arm="incumbent", seed=5, phase="refresh")
    bench.values = lambda step: 109.0 + 0.3 * len(bench.history.experiments[1].measurements)
    for _ in range(3):
        bench.measure(1, again)
    bench.ledger.append(
        "r", Event("note", None, {"what": "refreshed", "experiment": 1, "value": 109.0, "after": 1, "count": 3, "anew": True})
    )
    known = tally(bench.history)
    assert known.bar(bench.history.incumbent) > 100
    assert len(known.runs[1]) == 3
    assert known.alone.sd != before
    assert known == Fold(bench.history).now()


def test_baseline_measured_anew_is_where_the_noise_begins_again() -> None:
    bench = Bench(worlds([0.0, 9.0], seed=3))
    bench.experiment()
    bench.ledger.append("r", Event("note", 0, {"what": "remeasure"}))
    bench.values = worlds([500.0, 509.0], sd=50.0, seed=9)
    while isinstance(step := bench.step("baseline", 0), Measure):
        bench.measure(0, step)
    again = Measure(of=1, arm="incumbent", seed=5, phase="refresh")
    bench.measure(1, again)
    bench.ledger.append(
        "r", Event("note", None, {"what": "refreshed", "experiment": 1, "value": 509.0, "after": 1, "count": 1, "anew": True})
    )
    known = tally(bench.history)
    assert known.bar(bench.history.incumbent) > 300
    assert known.alone.sd > 10


@pytest.mark.parametrize(
    ("simplify", "lines", "value", "reason"),
    [
        (True, -2, 10.0, "simpler"),
        (True, -2, 9.5, "simpler"),
        (True, -2, 9.0, "worse"),
        (True, 2, 10.0, "tie"),
        (True, None, 10.0, "tie"),
        (False, -2, 10.0, "tie"),
        (True, -2, 12.0, "better"),
    ],
)
def test_fewer_lines_win_an_exact_tie(simplify: bool, lines: int | None, value: float, reason: str) -> None:
    settings = replace(SETTINGS, simplify=simplify, min_effect=1.0)
    bench = rules.Bench(lambda step: value if step.of else 10.0, settings)
    assert bench.experiment(lines=lines).reason == reason


def test_exact_incumbent_that_was_measured_anew_is_held_to_its_new_bits() -> None:
    """A run that goes on elsewhere has other bits there, and is exact all the same."""
    bench = rules.Bench(lambda step: 2.0 * step.of, replace(SETTINGS, reach=Reach(evaluations=2000)))
    for _ in range(9):
        bench.experiment()
    bench.values = lambda step: 3.0 * step.of
    bench.measure(9, Measure(of=9, arm="incumbent", seed=5, phase="refresh"))
    bench.ledger.append(
        "r", Event("note", None, {"what": "refreshed", "experiment": 9, "value": 27.0, "after": 9, "count": 1, "anew": True})
    )
    bench.values = lambda step: 3.0 * min(step.of, 9)
    for _ in range(100):
        bench.experiment()
    assert [n for n in range(110) if bench.measured(n, "between")] == [100]
    assert bench.history.exact
    assert bench.history.line[-1] == 9


def test_change_of_method_that_a_kill_left_out_after_its_roll_back_is_made_up_for() -> None:
    noise = worlds([0.0] * 99, sd=0.3)

    def measure(step: Measure) -> float:
        return float(step.of) + ((noise(step) or 0.0) if step.phase == "between" else 0.0)

    bench = rules.Bench(measure, replace(SETTINGS, reach=Reach(evaluations=2000)))
    for _ in range(9):
        bench.experiment()
    while not isinstance(step := undecided(bench), RollBack):
        assert isinstance(step, Measure)
        bench.measure(10, step)
    event = {"to": step.to, "words": step.words, "commit": "c", "tree": "t", "moved": True}
    bench.ledger.append("r", Event("rolled_back", 10, event))
    again = bench.step("between", 10)
    assert isinstance(again, Done)
    assert again.method == step.method
    assert again.method is not None


def undecided(bench: rules.Bench) -> Step:
    """What is to be done after the tenth experiment's decision, which is taken here the first time."""
    if len(bench.history.experiments) == 10:
        bench.between = lambda n: None  # type: ignore[method-assign]
        bench.experiment()
    return bench.step("between", 10)
