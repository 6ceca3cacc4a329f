"""Who is asked: turns by share, members that have nothing left, and the search over a structural keep's constants."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from tests.story import Story

from autoresearch.assembly import strategy_of
from autoresearch.mutations import DIRECTIONS, directions
from autoresearch.proposers.constants import beside, find
from autoresearch.records import Event, Plan
from autoresearch.strategies import Member, Tuning
from autoresearch.strategies.greedy import Greedy
from autoresearch.strategies.mix import GIVE_UP, TUNINGS, Turns
from autoresearch.taskfile.load import parse

AGENT, OTHER = Member("agent", "agent"), Member("other", "other")
KNOBS = Member("knobs", "knobs", reads=False)
TUNING = Tuning("knobs", "knobs", experiments=40)


def shared(*shares: float) -> list[Member]:
    return [Member(f"m{i}", f"m{i}", share) for i, share in enumerate(shares)]


def names(strategy: Greedy, story: Story, count: int, **told: object) -> list[str]:
    """Who is asked for the next experiments, which all lose."""
    found = []
    for _ in range(count):
        n = len(story.history.experiments)
        plan = strategy.ask(n, story.view())
        story.experiment(plan, 500.0 + n, proposer=plan.proposer)
        found.append(plan.proposer)
    return found


# -- turns -------------------------------------------------------------------------------------------------------------


def test_two_of_the_same_share_take_turns() -> None:
    assert names(Greedy((), [AGENT, OTHER]), Story(), 6) == ["agent", "other"] * 3


@pytest.mark.parametrize("shares", [(3.0, 1.0), (1.0, 9.0), (0.2, 0.5, 0.3), (1.0, 1.0, 1.0, 0.5)])
def test_nobody_is_ever_a_whole_turn_and_a_half_away_from_its_share(shares: tuple[float, ...]) -> None:
    members, turns, given = shared(*shares), Turns(), Counter[str]()
    for n in range(1, 400):
        given[turns.of(n, members).name] += 1
        for member in members:
            assert abs(given[member.name] - n * member.share / sum(shares)) < 1.5


def test_whose_turn_it_is_depends_on_the_number_alone() -> None:
    members = shared(3.0, 1.0)
    forwards, backwards = Turns(), Turns()
    assert [forwards.of(n, members) for n in range(1, 50)] == [backwards.of(n, members) for n in range(49, 0, -1)][::-1]


def test_a_run_with_lag_asks_the_same_members() -> None:
    strategy, story = Greedy((), [AGENT, OTHER]), Story()
    names(strategy, story, 12)
    assert [strategy.ask(n, story.history.as_of(n - 5)).proposer for n in range(6, 12)] == [
        e.asked for e in story.history.experiments[6:12]
    ]


def test_one_proposer_alone_has_no_name_in_a_plan() -> None:
    assert names(Greedy((), [AGENT]), Story(), 3) == ["", "", ""]


# -- nothing left ------------------------------------------------------------------------------------------------------


def exhausted(n: int, proposer: str, operation: str = "improve") -> Event:
    return Event("note", n, {"what": "exhausted", "proposer": proposer, "operation": operation, "words": ""})


def ask_again(story: Story, strategy: Greedy, proposer: str) -> Plan:
    """The next experiment, which `proposer` is asked for and has nothing left for."""
    n = len(story.history.experiments)
    plan = strategy.ask(n, story.view())
    story.tell(Event("asked", n, {"parents": list(plan.parents), "operation": plan.operation, "proposer": plan.proposer}))
    assert plan.proposer == proposer
    story.tell(exhausted(n, proposer, plan.operation))
    return strategy.ask(n, story.history.as_of(n - 1))


def test_who_has_nothing_left_is_passed_over_until_there_is_another_incumbent() -> None:
    strategy, story = Greedy((), [KNOBS, AGENT]), Story()
    again = ask_again(story, strategy, "knobs")
    assert again.proposer == "agent"
    story.tell(Event("asked", 1, {"parents": [0], "operation": "improve", "proposer": "agent"}))
    story.tell(Event("proposed", 1, {"description": "", "proposer": "agent"}))
    story.tell(Event("decided", 1, {"verdict": "discard", "reason": "worse"}))
    assert story.history.experiments[1].exhausted == (("knobs", "improve"),)
    assert set(names(strategy, story, 6)) == {"agent"}
    story.experiment(value=90.0)
    assert "knobs" in names(strategy, story, 4)


def test_where_nobody_has_anything_left_one_of_them_is_named_again() -> None:
    strategy, story = Greedy((), [KNOBS, AGENT]), Story()
    assert ask_again(story, strategy, "knobs").proposer == "agent"
    story.tell(exhausted(1, "agent"))
    last = strategy.ask(1, story.history.as_of(0))
    assert (last.proposer, last.operation) in story.history.experiments[1].exhausted


# -- tuning ------------------------------------------------------------------------------------------------------------


def tunes(strategy: Greedy, story: Story, count: int, value: float | None = 500.0, tuned: int = 10) -> list[Plan]:
    """The next experiments, as far as they are asked of the search over constants."""
    plans: list[Plan] = []
    for _ in range(count):
        n = len(story.history.experiments)
        plan = strategy.ask(n, story.view())
        if plan.operation != "tune":
            return plans
        settings = {"here": {}, "changed": {}, "tuned": [f"C{i}" for i in range(tuned)]}
        story.experiment(plan, None if value is None else value + n, proposer="knobs", proposed={"settings": settings})
        plans.append(plan)
    return plans


def test_a_structural_keep_is_followed_by_a_search_over_its_constants_that_gives_up() -> None:
    strategy, story = Greedy((), [AGENT], TUNING), Story()
    assert strategy.ask(1, story.view()).operation == "improve"
    story.experiment(value=90.0)
    assert tunes(strategy, story, 20) == [Plan((1,), "tune", "knobs")] * GIVE_UP
    assert strategy.ask(len(story.history.experiments), story.view()) == Plan((1,), "improve")


def test_tuning_goes_on_from_what_it_found_and_names_the_keep_that_it_is_about() -> None:
    strategy, story = Greedy((), [AGENT], TUNING), Story()
    story.experiment(value=90.0)
    tunes(strategy, story, 1, value=80.0)
    assert story.history.line == [0, 1, 2]
    assert strategy.ask(3, story.view()) == Plan((2, 1), "tune", "knobs")


@pytest.mark.parametrize(("constants", "most"), [(1, 3), (3, 9), (9, TUNINGS)])
def test_each_constant_is_worth_three_experiments_and_a_keep_twelve(constants: int, most: int) -> None:
    strategy, story = Greedy((), [AGENT], TUNING), Story()
    story.experiment(value=90.0)
    plans: list[Plan] = []
    while found := tunes(strategy, story, 1, value=80.0 - 2 * len(story.history.experiments), tuned=constants):
        plans += found  # each of them is kept
    assert len(plans) == most


def test_what_all_tuning_may_take_is_a_wall() -> None:
    strategy, story = Greedy((), [AGENT], replace(TUNING, experiments=8)), Story()
    story.experiment(value=90.0)
    assert len(tunes(strategy, story, 20)) == GIVE_UP
    story.experiment(value=50.0)
    assert len(tunes(strategy, story, 20)) == 2


def test_without_a_budget_of_experiments_evaluations_and_time_are_the_wall() -> None:
    for tuning in (Tuning("knobs", "knobs", evaluations=2), Tuning("knobs", "knobs", time_s=0.0)):
        strategy, story = Greedy((), [AGENT], tuning), Story()
        story.experiment(value=90.0)
        assert len(tunes(strategy, story, 20)) == (2 if tuning.evaluations == 2 else 0)


def test_a_keep_without_constants_is_not_tuned_and_the_search_is_asked_for_later_ones() -> None:
    strategy, story = Greedy((), [AGENT], TUNING), Story()
    story.experiment(value=90.0)
    assert ask_again(story, strategy, "knobs") == Plan((1,), "improve")
    story.tell(Event("asked", 2, {"parents": [1], "operation": "improve"}))
    story.tell(Event("proposed", 2, {"description": "", "proposer": "agent"}))
    story.tell(Event("decided", 2, {"verdict": "discard", "reason": "worse"}))
    assert strategy.ask(3, story.view()) == Plan((1,), "improve")
    story.experiment(value=80.0)
    assert strategy.ask(4, story.view()) == Plan((3,), "tune", "knobs")


def test_a_setting_of_constants_and_a_keep_that_was_taken_out_are_not_tuned() -> None:
    strategy, story = Greedy((), [AGENT, KNOBS], TUNING), Story()
    story.experiment(value=90.0, proposer="knobs")
    assert strategy.ask(2, story.view()).operation == "improve"
    story.experiment(value=80.0)
    story.tell(Event("rolled_back", 2, {"to": 1, "words": "", "commit": "c", "tree": "t", "moved": True}))
    assert strategy.ask(3, story.view()).operation == "improve"


def test_with_lag_a_plan_is_the_same_before_and_after_another_one_was_asked_again() -> None:
    """All tuning may take one experiment; the pending second one is it, whatever becomes of it."""
    strategy, story = Greedy((), [AGENT], replace(TUNING, experiments=1)), Story()
    story.experiment(value=90.0)
    plan = strategy.ask(2, story.view())
    assert plan.operation == "tune"
    story.tell(Event("asked", 2, {"parents": [1], "operation": "tune", "proposer": "knobs"}))
    before = strategy.ask(3, story.history.as_of(1))
    story.tell(exhausted(2, "knobs", "tune"), Event("asked", 2, {"parents": [1], "operation": "improve"}))
    assert strategy.ask(3, story.history.as_of(1)) == before == Plan((1,), "improve")


# -- from the task file ------------------------------------------------------------------------------------------------

TASK = """
[task]
name = "t"
editable = ["train.py"]
[evaluate]
command = "python train.py"
[metric]
name = "score"
direction = "minimize"
"""
COMMAND = '[[proposer]]\nkind = "command"\ncommand = "true"\n'


def plans(text: str, story: Story | None = None) -> list[Plan]:
    strategy, story = strategy_of(parse(TASK + text)), story or Story()
    return [strategy.ask(n, story.view()) for n in range(1, 200)]


def test_a_task_without_proposers_searches_over_constants_and_suggests_nothing() -> None:
    assert {replace(plan, operation="") for plan in plans("")} == {Plan((0,), "")}


def test_who_reads_gets_a_direction_and_constants_are_left_to_knobs_where_there_is_one() -> None:
    alone = plans(COMMAND)
    assert {p.proposer for p in alone} == {""}
    assert "tweak" in {p.mutation for p in alone}
    mixed = plans(COMMAND + 'share = 3\n[[proposer]]\nkind = "knobs"\n')
    assert Counter(p.proposer for p in mixed[:40]) == {"command": 30, "knobs": 10}
    assert {p.mutation for p in mixed if p.proposer == "knobs"} == {""}
    assert "tweak" not in {p.mutation for p in mixed}
    assert "tweak" not in {p.mutation for p in plans(COMMAND + '[strategy]\ntune_after_keep = "10%"\n')}


def test_a_task_names_kinds_of_change_of_its_own_and_takes_ours_out() -> None:
    text = COMMAND + '[brief]\nmutations = { index = "Add or drop an index.", swap = "", tweak = "Set one pragma." }\n'
    task = parse(TASK + text)
    assert directions(task)["index"] == "Add or drop an index."
    assert directions(task)["tweak"] == "Set one pragma."
    found = {p.mutation for p in plans(text)}
    assert {"index", "tweak", "remove"} <= found
    assert "swap" not in found


def test_tuning_takes_its_part_of_the_budget() -> None:
    story = Story()
    story.experiment(value=90.0)
    text = COMMAND + '[strategy]\ntune_after_keep = "10%"\n[budget]\nexperiments = '
    assert {p.operation for p in plans(f"{text}30\n", story)} == {"tune"}
    assert "tune" not in {p.operation for p in plans(f"{text}9\n", story)}


def test_directions_are_one_or_two_sentences_that_name_no_domain() -> None:
    for words in DIRECTIONS.values():
        assert 1 <= words.count(". ") + words.count(": ") + 1 <= 4
        assert not {"training", "model", "SQL", "page"} & set(words.replace(",", " ").split())


# -- which constants ---------------------------------------------------------------------------------------------------


def test_constants_of_a_change_stand_in_its_lines_or_are_named_by_them() -> None:
    before = "WIDTH = 8\nRATE = 0.1\nDEPTH = 3\ndef f(x):\n    return x\n"
    after = "WIDTH = 8\nRATE = 0.1\nDEPTH = 3\nWINDOW = 16\ndef f(x):\n    return smooth(x, WINDOW) * RATE\n"
    knobs = find({"train.py": after, "other.json": '{"rate": 0.5}'})
    assert [k.name for k in beside(knobs, {"train.py": (before.encode(), after.encode())})] == ["RATE", "WINDOW"]


def test_of_several_files_only_the_changed_one_s_constants_are_meant_and_new_files_wholly() -> None:
    files = {"a.py": "RATE = 0.1\n", "b.py": "RATE = 0.2\nWIDTH = 4\n", "c.json": '{\n"depth": 3,\n"width": 4\n}'}
    knobs = find(files)
    changed = {"b.py": (None, files["b.py"].encode()), "c.json": (b'{\n"depth": 2,\n"width": 4\n}', files["c.json"].encode())}
    found = [k.name for k in beside(knobs, changed)]
    assert found == ["b.py:RATE", "WIDTH", "depth"]
    assert beside(knobs, {"x.bin": (None, b"\xff\xfe")}) == []
    assert beside(knobs, {"a.py": (files["a.py"].encode(), None)}) == []
