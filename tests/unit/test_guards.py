"""Guards as a pure rule: bounds, losses against the baseline, and the tolerance for a guard's own noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

import pytest

from autoresearch.assembly import bound
from autoresearch.brief import bounds_in_words
from autoresearch.guards import Bound, broken, doubt, first_broken, noise
from autoresearch.records import Experiment, Measurement, Outcome, Phase
from autoresearch.taskfile import Guard

EXACT = (0.9, 0.9)
NOISY = (0.90, 0.92, 0.91, 0.93, 0.89)  # mean 0.91, standard deviation 0.0158, taken for 0.0198
UP, DOWN = 1, -1


def judge(guard: Bound, runs: Sequence[float], baseline: Sequence[float] = EXACT, *, strict: bool = True) -> str:
    return broken(guard, [{guard.name: v} for v in runs], [{guard.name: v} for v in baseline], strict=strict)


@pytest.mark.parametrize(
    ("guard", "runs", "words"),
    [
        (Bound("mb", high=10), (10,), ""),
        (Bound("mb", high=10), (10.5,), "mb is 10.5, above 10"),
        (Bound("mb", high=10), (10.0000001,), "mb is 10.0000001, above 10"),
        (Bound("mb", high=10), (10.5, 10.5), "mb is 10.5, above 10"),
        (Bound("mb", high=10), (9, 11), ""),
        (Bound("mb", high=10), (9, 11, 12), "mb is 10.6667 (mean of 3), above 10"),
        (Bound("acc", low=0.91), (0.9,), "acc is 0.9, below 0.91"),
        (Bound("acc", low=0.1), (0.1, 0.1, 0.1), ""),
        (Bound("acc", low=0, high=1), (), "acc was not reported"),
        (Bound("acc", worse=0.02, sign=UP), (0.88,), ""),
        (Bound("acc", worse=0.02, sign=UP), (5.0,), ""),
        (
            Bound("acc", worse=0.02, sign=UP),
            (0.87,),
            "acc is 0.87: 0.03 worse than the baseline's 0.9, at most 0.02 is allowed",
        ),
        (Bound("mb", worse=0.02, sign=DOWN), (0.92,), ""),
        (Bound("mb", worse=0.1, relative=True, sign=DOWN), (0.99,), ""),
        (
            Bound("mb", worse=0.1, relative=True, sign=DOWN),
            (1.08, 1.08),
            "mb is 1.08: 20 % worse than the baseline's 0.9, at most 10 % is allowed",
        ),
        (Bound("mb", worse=0, sign=DOWN), (0.9,), ""),
        (Bound("mb", worse=0, sign=DOWN), (0.91,), "mb is 0.91: 0.01 worse than the baseline's 0.9, no loss is allowed"),
        (Bound("acc", low=0.5, worse=0.1, sign=UP), (0.4,), "acc is 0.4, below 0.5"),
    ],
)
def test_exact_guard_has_no_tolerance(guard: Bound, runs: Sequence[float], words: str) -> None:
    assert judge(guard, runs) == words
    if len(set(runs)) < 2:
        assert judge(guard, runs, strict=False) == words


@pytest.mark.parametrize(
    ("runs", "strict", "passes"),
    [
        ((0.875,), False, True),  # 0.035 below the bound, two standard errors of one run are 0.0395
        ((0.865,), False, False),
        ((0.875,), True, False),
        ((0.875, 0.945), True, True),
        ((0.875, 0.895), False, True),
        ((0.875, 0.875), False, False),
        ((0.909, 0.909, 0.909), True, False),
    ],
)
def test_bound_gives_the_first_run_the_benefit_of_the_noise_and_holds_the_mean(
    runs: Sequence[float], strict: bool, passes: bool
) -> None:
    assert (judge(Bound("acc", low=0.91), runs, NOISY, strict=strict) == "") is passes
    above = judge(Bound("acc", high=-0.91), [-v for v in runs], [-v for v in NOISY], strict=strict)
    assert (above == "") is passes


@pytest.mark.parametrize(
    ("runs", "passes"),
    [
        ((0.86,), True),  # a loss of 0.05: 0.01 are allowed, and 0.0433 for one run against five
        ((0.85,), False),
        ((0.86, 0.86), False),
        ((0.88,) * 4, True),
        ((0.87,) * 4, False),
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_loss_is_allowed_beyond_the_limit_as_far_as_the_noise_of_both_goes(
    runs: Sequence[float], passes: bool, strict: bool
) -> None:
    assert (judge(Bound("acc", worse=0.01, sign=UP), runs, NOISY, strict=strict) == "") is passes


def test_words_of_a_loss_say_the_noise() -> None:
    guard = Bound("accuracy", worse=0.01, relative=True, sign=UP)
    words = judge(guard, (0.79, 0.81, 0.83), NOISY)
    assert words == (
        "accuracy is 0.81 (mean of 3): 11 % worse than the baseline's 0.91, at most 1 % is allowed (its noise: ±3.2 %)"
    )


def test_loss_relative_to_a_baseline_of_zero_allows_none() -> None:
    guard = Bound("errors", worse=0.5, relative=True, sign=DOWN)
    assert judge(guard, (0,), (0, 0)) == ""
    assert judge(guard, (1,), (0, 0)) == "errors is 1: 1 worse than the baseline's 0, no loss is allowed"


def test_guard_that_some_runs_do_not_report_is_broken() -> None:
    runs = [{"mb": 1.0}, {"other": 1.0}]
    assert broken(Bound("mb", high=5), runs, runs[:1], strict=True) == "mb was not reported in 1 of 2 runs"
    assert broken(Bound("mb", high=5), runs[1:], [], strict=True) == "mb was not reported"


@pytest.mark.parametrize(("values", "sd"), [((), 0), ((3.0,), 0), ((3.0, 3.0), 0), ((1.0, 3.0), 2 * math.sqrt(2))])
def test_noise_of_few_runs_is_taken_for_larger(values: Sequence[float], sd: float) -> None:
    assert noise(values) == pytest.approx(sd)


# -- how often it errs ----------------------------------------------------------------------------------------------------


def thrown_out(loss: float, seed: int, sd: float = 0.02) -> bool:
    """Whether a candidate whose guard is worse by `loss` is thrown out, in its first run or after a race of three pairs."""
    random = Random(seed)
    guard = Bound("ms", worse=0.02, relative=True, sign=DOWN)
    baseline = [100 * random.gauss(1, sd) for _ in range(5)]
    runs = [100 * random.gauss(1 + loss, sd) for _ in range(4)]
    return bool(judge(guard, runs[:1], baseline, strict=False) or judge(guard, runs, baseline))


def test_change_without_effect_is_rarely_thrown_out_for_a_noisy_guard() -> None:
    assert sum(thrown_out(0.0, seed) for seed in range(300)) < 30


def test_change_that_costs_far_more_than_is_allowed_is_thrown_out() -> None:
    assert sum(thrown_out(0.15, seed) for seed in range(300)) > 285


# -- which measurements count ---------------------------------------------------------------------------------------------


def run_of(n: int, i: int, value: float, phase: Phase, *, machine: str = "a", outcome: Outcome = Outcome.OK) -> Measurement:
    return Measurement(n, "candidate", i, 1, phase, outcome, {"mb": value}, machine=machine)


BASELINE = Experiment(0, measurements=(run_of(0, 0, 10, "baseline"), run_of(0, 1, 10, "baseline")))


def test_first_run_alone_counts_before_a_race_and_all_own_runs_before_a_keep() -> None:
    guards = [Bound("mb", high=12)]
    e = Experiment(3, measurements=(run_of(3, 0, 11, "first"), run_of(0, 1, 99, "race"), run_of(3, 2, 14, "race")))
    assert first_broken(guards, e, BASELINE, strict=False) == ""
    assert first_broken(guards, e, BASELINE, strict=True) == "mb is 12.5 (mean of 2), above 12"


def test_runs_that_failed_and_those_of_a_candidate_before_its_re_base_do_not_count() -> None:
    old, lost = run_of(3, 0, 99, "first"), run_of(3, 1, 99, "first", outcome=Outcome.EXIT)
    e = Experiment(3, measurements=(old, lost, run_of(3, 2, 11, "first")), base=1)
    assert first_broken([Bound("mb", high=12)], e, BASELINE, strict=True) == ""


def test_first_of_several_broken_guards_is_named_and_different_machines_are_said() -> None:
    e = Experiment(3, measurements=(run_of(3, 0, 13, "first", machine="b"),))
    guards = [Bound("mb", high=20), Bound("mb", worse=1, sign=DOWN), Bound("mb", high=5)]
    words = first_broken(guards, e, BASELINE, strict=False)
    assert words.startswith("mb is 13: 3 worse than the baseline's 10, at most 1 is allowed")
    assert words.endswith("(measured on different machines)")


# -- from the task file, to check and prompt ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "made", "prompt"),
    [
        ({"name": "g", "min": 1.0}, Bound("g", low=1), "has to stay at or above 1"),
        ({"name": "g", "min": 1.0, "max": 2.0}, Bound("g", 1, 2), "has to stay at or above 1 and at or below 2"),
        (
            {"name": "g", "worse": "2%", "direction": "maximize"},
            Bound("g", worse=0.02, relative=True, sign=UP),
            "must not become more than 2 % lower than it was at the start",
        ),
        ({"name": "peak_mb", "worse": 0}, Bound("peak_mb", worse=0), "must not become higher than it was at the start"),
        (
            {"name": "g", "max": 3.0, "worse": 0.5, "direction": "minimize"},
            Bound("g", high=3, worse=0.5),
            "has to stay at or below 3, and must not become more than 0.5 higher than it was at the start",
        ),
    ],
)
def test_guard_of_the_task_file_is_what_is_judged_and_told(table: dict[str, object], made: Bound, prompt: str) -> None:
    guard = Guard.model_validate(table)
    assert bound(guard) == made
    assert bounds_in_words(guard) == prompt


@pytest.mark.parametrize(
    ("guard", "words"),
    [
        (Bound("acc", worse=0.01, relative=True, sign=UP), "guard acc: worse = 1 %, but its own spread is 1.7 %"),
        (Bound("acc", worse=0.001, sign=UP), "guard acc: worse = 0.001, but its own spread is 0.0158"),
        (Bound("acc", worse=0.05, relative=True, sign=UP), ""),
        (Bound("acc", worse=0, sign=UP), ""),
        (Bound("acc", low=0.9), ""),
    ],
)
def test_guard_whose_noise_is_larger_than_the_loss_it_allows_is_doubted(guard: Bound, words: str) -> None:
    said = doubt(guard, [{"acc": v} for v in NOISY])
    assert said.startswith(words)
    assert bool(said) is bool(words)
    assert doubt(guard, [{"acc": 0.9}, {"acc": 0.9}]) == ""
