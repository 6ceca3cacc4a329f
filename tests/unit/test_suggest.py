"""What is suggested: kinds of change by what has worked, `combine` and `repair` where there is something, plateaus by steps."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from tests.story import Story

from autoresearch.mutations import BOLD, DIRECTIONS, near_misses, to_repair
from autoresearch.records import Event, Plan
from autoresearch.strategies import Member, Tuning, make
from autoresearch.strategies.greedy import Greedy
from autoresearch.strategies.suggest import PATIENCE, plateau, suggest

AGENT, KNOBS = Member("agent", "agent"), Member("knobs", "knobs", reads=False)


def greedy(*members: Member, tuning: Tuning | None = None) -> Greedy:
    return Greedy(list(DIRECTIONS), members or (AGENT,), tuning)


def play(story: Story, strategy: Greedy, outcome: Callable[[Plan, random.Random], float | None], count: int) -> list[Plan]:
    """So many experiments; `outcome` says what the proposal is worth against the incumbent, None for a crash."""
    plans = []
    for _ in range(count):
        n = len(story.history.experiments)
        plan = strategy.ask(n, story.view())
        gain, best = outcome(plan, random.Random(f"{story.seed}/{n}/world")), story.history.incumbent.value
        assert best is not None
        story.experiment(plan, None if gain is None else best - gain)
        plans.append(plan)
    return plans


def only(name: str, chance: float) -> Callable[[Plan, random.Random], float | None]:
    """A proposer whose changes of one kind are better with some chance, and all others never."""
    return lambda plan, rng: 0.1 if plan.mutation == name and rng.random() < chance else -20.0 - rng.random()


def runs(name: str, chance: float, seeds: int, count: int = 120) -> list[list[Plan]]:
    return [play(Story(seed=seed), greedy(), only(name, chance), count) for seed in range(seeds)]


# -- what has worked ---------------------------------------------------------------------------------------------------


def test_the_one_kind_that_works_is_asked_for_most_in_the_last_third() -> None:
    """Of 200 runs; at random it would be one of six."""
    last = [plan.mutation for plans in runs("schedule", 0.4, 200, 60) for plan in plans[40:] if plan.mutation]
    assert Counter(last)["schedule"] / len(last) > 0.45


def test_what_never_works_is_asked_for_less_and_less() -> None:
    plans = runs("schedule", 0.4, 60, 90)
    swaps = [[sum(p.mutation == "swap" for p in run[a:b]) for run in plans] for a, b in ((0, 30), (60, 90))]
    assert sum(swaps[1]) < 0.6 * sum(swaps[0])
    assert sum(swaps[1]) > 0, "never to be sure is the price of finding out when it works again"


def test_a_kind_that_has_run_dry_is_left_for_one_that_works_now() -> None:
    shares = []
    for seed in range(40):
        story, strategy = Story(seed=seed), greedy()
        play(story, strategy, only("structure", 0.4), 60)
        late = play(story, strategy, only("swap", 0.4), 90)[-30:]
        named = [plan.mutation for plan in late if plan.mutation]
        shares.append((named.count("swap") / len(named), named.count("structure") / len(named)))
    swap, structure = (sum(column) / len(shares) for column in zip(*shares, strict=True))
    assert swap > 2 * structure
    assert swap > 0.35


def test_the_same_run_is_suggested_the_same_and_another_seed_something_else() -> None:
    first, again, other = (play(Story(seed=seed), greedy(), only("swap", 0.3), 40) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_what_a_proposer_never_delivered_says_nothing_of_its_kind() -> None:
    story = Story()
    names = ["structure", "swap"]
    for _ in range(30):
        story.experiment(Plan((0,), mutation="swap"), None, "invalid", "proposer_timeout")
    drawn = Counter(suggest(n, story.view(), names, ()).mutation for n in range(31, 331))
    assert 100 < drawn["swap"] < 200


def test_a_small_gain_counts_half_of_a_large_one() -> None:
    story = Story()
    for _ in range(6):
        best = story.history.incumbent.value
        assert best is not None
        story.experiment(Plan((story.history.line[-1],), mutation="swap"), best - 5)
        story.experiment(Plan((story.history.line[-1],), mutation="structure"), best - 5.001)
    drawn = Counter(suggest(n, story.view(), ["structure", "swap"], ()).mutation for n in range(20, 1020))
    assert drawn["swap"] > 1.5 * drawn["structure"]


def test_a_search_over_constants_is_suggested_nothing_and_no_restart() -> None:
    story = Story()
    plans = play(story, greedy(KNOBS), lambda plan, rng: -1.0, 60)
    assert {(p.mutation, p.escalation, p.proposer, p.parents) for p in plans} == {("", "", "", (0,))}


def test_without_mutations_a_plan_is_as_it_always_was() -> None:
    plans = play(Story(), Greedy(), lambda plan, rng: None if rng.random() < 0.8 else -1.0, 60)
    assert {p.operation for p in plans} == {"improve", "draft"}
    assert {(p.mutation, p.escalation, p.proposer) for p in plans} == {("", "", "")}


def test_strategy_of_a_plug_in_gets_only_what_it_names() -> None:
    assert isinstance(make("greedy", mutations=["swap"], members=[AGENT], tuning=None, colour="red"), Greedy)


# -- combine and repair ------------------------------------------------------------------------------------------------


def test_combine_needs_two_near_misses() -> None:
    story = Story()
    story.experiment(value=90.0)
    story.experiment(value=95.1)  # lost by 5.1, more than half of what the keep gained
    story.experiment(value=94.0)
    names = {suggest(n, story.view(), list(DIRECTIONS), ()).mutation for n in range(4, 200)}
    assert [e.n for e in near_misses(story.view())] == [3]
    assert "combine" not in names
    story.experiment(value=90.0)
    assert [e.n for e in near_misses(story.view())] == [4, 3]
    assert "combine" in {suggest(n, story.view(), list(DIRECTIONS), ()).mutation for n in range(5, 200)}


def test_settings_of_constants_and_what_broke_a_guard_are_no_near_misses() -> None:
    story = Story()
    story.experiment(value=90.0)
    story.experiment(value=91.0, proposer="knobs", proposed={"settings": {"here": {"A": 1}, "changed": {"A": 2}}})
    story.experiment(None, 91.0, "discard", "guard")
    assert near_misses(story.view()) == []


def test_of_a_noisy_metric_what_lost_within_the_noise_is_a_near_miss() -> None:
    story = Story()
    story.tell(Event("note", None, {"what": "method", "rule": "bayes", "sd": 1.0}))
    story.experiment(value=101.9)
    story.experiment(value=102.1)
    assert [e.n for e in near_misses(story.view())] == [1]


@pytest.mark.parametrize(
    ("expected", "promising"), [(-0.05, True), (0.05, False), (None, False)], ids=["gain", "loss", "nothing"]
)
def test_a_crash_is_repaired_where_a_gain_was_expected(expected: float | None, promising: bool) -> None:
    story = Story()
    story.experiment(Plan((0,), mutation="swap"), proposed={"expected": expected})
    found = to_repair(story.view(), 2)
    assert (found is not None) == promising
    names = {suggest(n, story.view(), list(DIRECTIONS), ()).mutation for n in range(2, 200)}
    assert ("repair" in names) == promising


def test_a_crash_is_repaired_where_its_kind_was_kept_before() -> None:
    story = Story()
    story.experiment(Plan((0,), mutation="swap"), 90.0)
    story.experiment(Plan((1,), mutation="remove"))
    assert to_repair(story.view(), 3) is None
    story.experiment(Plan((1,), mutation="swap"))
    found = to_repair(story.view(), 4)
    assert found is not None
    assert found.n == 3


def test_a_gain_that_broke_a_guard_is_repaired_and_a_loss_that_did_is_not() -> None:
    story = Story()
    story.experiment(Plan((0,), mutation="swap"), 101.0, "discard", "guard")
    assert to_repair(story.view(), 2) is None
    story.experiment(Plan((0,), mutation="swap"), 90.0, "discard", "check")
    found = to_repair(story.view(), 3)
    assert found is not None
    assert found.n == 2


def test_what_was_asked_to_be_repaired_is_not_asked_for_again_nor_is_a_failed_repair() -> None:
    story = Story()
    story.experiment(Plan((0,), mutation="swap"), proposed={"expected": -0.5})
    story.experiment(Plan((0,), mutation="repair"), proposed={"expected": -0.5})
    assert to_repair(story.view(), 3) is None


def test_a_failure_on_what_is_not_the_incumbent_any_more_is_not_repaired() -> None:
    story = Story()
    story.experiment(Plan((0,), mutation="swap"), proposed={"expected": -0.5})
    story.experiment(value=90.0)
    assert to_repair(story.view(), 3) is None


# -- plateaus ----------------------------------------------------------------------------------------------------------


def steps(plans: list[Plan]) -> list[str]:
    """The escalations of each stretch of `PATIENCE` experiments."""
    found = [plan.escalation for plan in plans]
    assert all(len(set(found[i : i + PATIENCE])) == 1 for i in range(0, len(found), PATIENCE))
    return found[::PATIENCE]


def test_a_plateau_escalates_step_by_step_and_round_again() -> None:
    story = Story()
    story.experiment(value=99.0)
    plans = play(story, greedy(), lambda plan, rng: -20.0, 6 * PATIENCE)
    assert steps(plans) == ["", "other", "bold", "fresh", "restart", "other"]
    by_step = {name: [p for p in plans if p.escalation == name] for name in ("bold", "fresh", "restart")}
    assert {p.mutation for p in by_step["bold"]} <= set(BOLD)
    assert {p.mutation for p in by_step["fresh"]} == {""}
    assert {(p.operation, p.parents) for p in by_step["restart"]} == {("restart", (0,))}
    assert {p.operation for p in plans if p.escalation != "restart"} == {"improve"}


def test_without_an_earlier_keep_there_is_nothing_to_restart_from() -> None:
    plans = play(Story(), greedy(), lambda plan, rng: -20.0, 5 * PATIENCE)
    assert steps(plans) == ["", "other", "bold", "fresh", "fresh"]


def test_a_restart_begins_at_one_of_the_keeps_before_the_incumbent_nearer_ones_more_often() -> None:
    story = Story()
    for value in (99.0, 98.0, 97.0):
        story.experiment(value=value)
    for _ in range(4 * PATIENCE):
        story.experiment(value=120.0)
    plans = [greedy().ask(n, story.view()) for n in range(100, 500)]
    found = Counter(p.parents for p in plans)
    assert set(found) == {(2,), (1,), (0,)}
    assert found[(2,)] > found[(1,)] > found[(0,)] * 0.7


def test_other_asks_for_what_was_tried_least() -> None:
    story = Story()
    names = ("structure", "swap", "remove")
    for i in range(PATIENCE):
        story.experiment(Plan((0,), mutation=names[i % 2]), 120.0)
    assert {suggest(n, story.view(), names, ()).mutation for n in range(20, 60)} == {"remove"}


def test_a_keep_ends_a_plateau_and_what_was_lost_or_not_delivered_does_not_count() -> None:
    story = Story()
    for _ in range(PATIENCE - 1):
        story.experiment(value=120.0)
    assert plateau(story.view(), ()) == ""
    story.experiment(None, None, "invalid", "proposer_timeout")
    story.experiment()
    story.tell(Event("note", None, {"what": "lost", "experiments": [PATIENCE + 1]}))
    story.experiment(value=120.0, proposer="knobs")
    assert plateau(story.view(), {"knobs"}) == ""
    story.experiment(value=120.0)
    assert plateau(story.view(), {"knobs"}) == "other"
    story.experiment(value=90.0, proposer="knobs")
    assert plateau(story.view(), {"knobs"}) == ""


def test_with_lag_only_what_is_decided_counts() -> None:
    story = Story()
    for _ in range(PATIENCE):
        story.experiment(value=120.0)
    n = len(story.history.experiments)
    assert greedy().ask(n, story.history.as_of(n - 1)).escalation == "other"
    assert greedy().ask(n, story.history.as_of(n - 3)).escalation == ""
