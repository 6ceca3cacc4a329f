"""What whoever drives is told: a verdict's words and numbers, the next step for each reason, what is left; nothing private."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.story import Story

from autoresearch.driving import replies, undo
from autoresearch.driving.figures import figures, t95
from autoresearch.driving.replies import Reply, Where
from autoresearch.history import History
from autoresearch.records import Event, Plan
from autoresearch.taskfile import Task

ROOT = Path(__file__).parents[2]
HERE = Where(paths=("train.py",))
ENTERED = Where(entered=True, paths=("train.py",))
SECRET_GATE, SECRET_HELD, SECRET_FINAL = 61.523437, 62.523437, 63.523437
NOISY = {"what": "method", "rule": "race", "pairs": 3, "alpha": 0.05, "sd": 0.4, "detectable": 1.0, "seeded": True}


def task(**tables: Mapping[str, Any]) -> Task:
    given_: dict[str, Any] = {
        "task": {"name": "t", "editable": ["train.py"]},
        "evaluate": {"command": "python train.py"},
        "metric": {"name": "score"},
    }
    for name, table in tables.items():
        given_[name] = {**given_.get(name, {}), **table}
    return Task.model_validate(given_)


def measured(n: int, of: int, index: int, seed: int, phase: str, value: float | None = None, **more: Any) -> Event:
    arm = "candidate" if of == n else "incumbent"
    values = {} if value is None else {"score": value}
    body = {"of": of, "arm": arm, "index": index, "seed": seed, "phase": phase, "outcome": "ok", "values": values}
    return Event("measured", n, body | {"duration_s": 2.0} | more)


def noisy(method: Mapping[str, Any] = NOISY, **more: Any) -> Story:
    """A run of a noisy metric, whose baseline is worth 100."""
    story = Story(**more)
    story.tell(Event("note", None, dict(method)))
    return story


def raced(
    story: Story,
    made: Sequence[tuple[float, float]],
    verdict: str = "discard",
    reason: str = "worse",
    *,
    proposed: Mapping[str, Any] | None = None,
    seeds: bool = True,
    extra: Sequence[Event] = (),
) -> int:
    """One more experiment with pairs of candidate and incumbent; the baseline is the incumbent."""
    history = story.history
    n, of = len(history.experiments), history.line[-1]
    story.tell(
        Event("asked", n, {"parents": [of], "operation": "try"}),
        Event("proposed", n, {"description": f"idea {n}", "proposer": "claude", "parents": [of], **(proposed or {})}),
        Event("frozen", n, {"tree": f"tree{n}", "commit": f"commit{n}", "files": ["train.py"]}),
        measured(n, n, 0, 7, "first", made[0][0]),
    )
    for i, (ours, theirs) in enumerate(made):
        story.tell(
            measured(n, n, 1 + 2 * i, 10 + i if seeds else 10 + 2 * i, "race", ours),
            measured(n, of, 2 + 2 * i, 10 + i if seeds else 11 + 2 * i, "race", theirs),
        )
    if extra:
        story.tell(*extra)
    value = sum(ours for ours, _ in made) / len(made)
    words = f"{value:.6g} against {sum(b for _, b in made) / len(made):.6g} in {len(made)} pairs"
    story.tell(Event("decided", n, {"verdict": verdict, "reason": reason, "words": words, "value": value}))
    return n


def reply(story: Story, n: int | None = None, where: Where | None = HERE, given_: Task | None = None) -> Reply:
    history = story.history
    return replies.decided(history, len(history.experiments) - 1 if n is None else n, given_ or task(), job=12, where=where)


def one(verdict: str, reason: str, words: str = "", *, value: float | None = None, where: Where | None = HERE) -> Reply:
    """The answer to the second experiment of a run."""
    story = Story()
    story.experiment(value=110.0)
    story.experiment(value=value, verdict=verdict, reason=reason, words=words)
    return reply(story, where=where)


def after(found: Reply) -> str:
    return next(line for line in found.lines if line.startswith("next: "))


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_worse_in_pairs_is_told_with_the_interval_of_their_differences() -> None:
    story = noisy()
    n = raced(story, [(101.0, 100.0), (102.0, 100.0), (101.5, 100.0), (101.5, 100.0)])
    found = reply(story)
    half = math.hypot(t95(3) * math.sqrt((0.5**2 + 0.5**2) / 3) / 2, 0.684 * 0.1)  # differences, and a step of rounding
    assert found.body["change"] == pytest.approx(1.5)
    assert found.body["interval"] == {"low": round(1.5 - half, 2), "high": round(1.5 + half, 2), "level": 0.9}
    assert found.body["pairs"] == 4
    head = next(line for line in found.lines if line.startswith(f"experiment {n}: discard (worse)"))
    assert "score 101.5 against 100.0 of the baseline, +1.5 % [90 %: +1.01, +1.99], worse (lower is better), 4 pairs" in head


def test_one_run_has_the_noise_of_both_sides_as_its_interval() -> None:
    story = noisy()
    story.experiment(value=103.0)
    found = reply(story)
    half = math.hypot(1.6448536 * 0.4 * math.sqrt(2), 0.684 * 0.1)
    assert found.body["interval"] == {"low": round(3 - half, 2), "high": round(3 + half, 2), "level": 0.9}
    assert found.body["pairs"] == 0


def test_more_runs_without_common_seeds_narrow_the_interval() -> None:
    wide, narrow = noisy({**NOISY, "rule": "bayes", "seeded": False}), noisy({**NOISY, "rule": "bayes", "seeded": False})
    wide.experiment(value=103.0)
    raced(narrow, [(103.0, 100.0)] * 6, seeds=False)

    def width(story: Story) -> float:
        ends = reply(story).body["interval"]
        return float(ends["high"] - ends["low"])

    assert width(narrow) < width(wide) / 1.5
    assert "7 runs, 6 of the incumbent beside" in reply(narrow).lines[1]


def test_an_exact_metric_has_no_interval_and_all_its_digits() -> None:
    story = noisy({"what": "method", "rule": "exact", "pairs": 1})
    story.experiment(value=100.12345678901)
    found = reply(story)
    assert found.body["interval"] is None
    assert found.body["value"] == 100.12345678901
    assert "an exact metric" in found.lines[1]


def test_values_that_look_the_same_are_told_with_more_digits() -> None:
    story = noisy({"what": "method", "rule": "exact", "pairs": 1})
    story.experiment(value=100.00000001)
    assert "score 100.00000001 against 100 " in reply(story).lines[1]


def test_the_direction_of_the_metric_says_what_is_better() -> None:
    story = noisy(direction="maximize")
    raced(story, [(102.0, 100.0)] * 3, "keep", "better")
    assert "better (higher is better)" in reply(story).lines[1]


def test_values_have_the_digits_that_the_noise_supports_everywhere() -> None:
    story = noisy()
    raced(story, [(101.123456, 100.0345678), (101.323456, 100.2345678)])
    found = reply(story)
    assert not [x for x in ("123456", "0345678", "2234", "13456") if x in json.dumps(found.body) + "".join(found.lines)]
    assert found.body["value"] == 101.2


def test_noise_of_times_shrinks_with_them_and_so_do_digits_and_near_misses() -> None:
    story = noisy({**NOISY, "sd": 4.0, "log": True})
    raced(story, [(5.1234, 100.0), (5.1234, 100.0)], "keep", "better")
    raced(story, [(9.4567, 5.1234), (9.4567, 5.1234)])
    raced(story, [(5.2345, 5.1234), (5.2345, 5.1234)])
    raced(story, [(5.3456, 5.1234), (5.3456, 5.1234)])
    found = reply(story)
    assert "score 5.3 against 5.1 of experiment 1, the incumbent then, +3.9 % [90 %:" in "".join(found.lines)
    assert (found.body["value"], found.body["incumbent"]) == (5.3, 5.1)
    assert [row["experiment"] for row in found.body["near_misses"]] == [3]
    assert "score 5.1 against 100 of the baseline, −9" in "".join(reply(story, 1).lines)


def test_an_interval_is_never_narrower_than_what_rounding_takes() -> None:
    story = noisy()
    raced(story, [(101.04, 100.0), (101.04, 100.0), (101.04, 100.0)])
    ends = reply(story).body["interval"]
    assert ends["low"] < 1.0 < 1.04 < ends["high"]


def test_intervals_are_made_of_what_may_be_seen() -> None:
    one, other = noisy(), noisy()
    raced(one, [(101.04, 100.0), (102.0, 100.0), (101.6, 100.0)])
    raced(other, [(100.96, 100.0), (102.0, 100.0), (101.6, 100.0)])
    assert reply(one).body["interval"] == reply(other).body["interval"]


def test_the_bar_is_the_incumbent_of_the_decision_not_what_the_change_was_made_of() -> None:
    story = Story()
    story.experiment(value=90.0)
    story.experiment(Plan((0,)), 95.0, "discard", "worse")
    found = reply(story)
    assert found.body["incumbent"] == 90.0
    assert "worse (lower is better)" in found.lines[0]
    assert "experiment 1 was kept since: git restore --source=autoresearch/r/1 train.py" in after(found)


def test_where_nothing_was_measured_there_are_words_and_no_number() -> None:
    found = one("crash", "exit", "exited with 1 after 0.1 s; last line: SyntaxError")
    assert "last line: SyntaxError" in found.lines[0]
    assert [found.body[key] for key in ("value", "change", "interval", "pairs")] == [None] * 4


def test_a_change_from_zero_is_told_in_the_unit() -> None:
    story = Story(base=0.0)
    story.experiment(value=2.5)
    assert reply(story).body["change_relative"] is None
    assert ", +2.5, worse" in reply(story).lines[1]


@pytest.mark.parametrize(
    ("expected", "value", "words"),
    [
        (-0.01, 97.0, "expected −1 %, came −3 %: as expected"),
        (-0.05, 97.0, "expected −5 %, came −3 %: less than expected"),
        (-0.01, 103.0, "expected −1 %, came +3 %: not that way"),
        (-0.01, 100.0, "expected −1 %, came +0 %: no difference"),
    ],
)
def test_what_was_expected_stands_beside_what_came(expected: float, value: float, words: str) -> None:
    story = Story()
    story.experiment(value=value, proposed={"expected": expected})
    found = reply(story)
    assert words in found.lines[1]
    assert found.body["expected"] == expected


def test_an_answer_needs_nothing_that_works_on_runs() -> None:
    """What is imported at the end, for the answer, is waited for each time."""
    code = (
        "import sys, autoresearch.driving.jobs; from autoresearch.driving import replies, left\n"
        "from tests.unit.test_replies import reply, task; from tests.story import Story\n"
        "story = Story(); story.experiment(value=90.0); replies.decided(story.history, 1, task(), job=1)\n"
        "print(sorted({'autoresearch.assembly', 'autoresearch.runners', 'autoresearch.choice'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert found.stdout == "[]\n", found.stderr


def test_quantiles_of_t() -> None:
    known = {1: 6.3138, 2: 2.9200, 7: 1.8946, 8: 1.8595, 10: 1.8125, 15: 1.7531, 30: 1.6973, 63: 1.6694}
    assert {df: round(t95(df), 4) for df in known} == pytest.approx(known, abs=2e-4)


# -- the first experiment, and the incumbent afterwards ------------------------------------------------------------------


def test_the_first_answer_tells_the_baseline() -> None:
    story = Story()
    story.experiment(value=110.0)
    assert reply(story).lines[0].startswith("baseline 100 (1 evaluation of ")
    story.experiment(value=111.0)
    assert not [line for line in reply(story).lines if line.startswith("baseline")]


# -- one next step for each reason ---------------------------------------------------------------------------------------


def test_better_in_the_checkout_goes_on_with_the_files_as_they_are() -> None:
    story = Story()
    story.experiment(value=90.0)
    found = reply(story)
    assert (
        "kept; your files are as you left them and hold it, no commit is needed; experiment 1 is the incumbent" in found.lines
    )
    assert found.body["kept"] is True
    assert "on with the next idea" in after(found)
    assert found.body["undo"] == []


def test_a_noisy_gain_is_called_what_it_is() -> None:
    story = noisy()
    raced(story, [(90.0, 100.0)] * 3, "keep", "better")
    assert "as measured on the way" in after(reply(story))


def test_simpler_is_no_gain() -> None:
    assert "kept for its fewer lines, not for a gain" in after(one("keep", "simpler", value=100.0))


def test_a_keep_that_was_put_onto_others_says_so_and_how_to_get_theirs() -> None:
    story = Story()
    story.experiment(value=90.0, frozen={"files": ["model.py"]})
    n = len(story.history.experiments)
    story.tell(
        Event("asked", n, {"parents": [0], "operation": "try"}),
        Event("proposed", n, {"description": "mine", "parents": [0], "job": 12}),
        Event("frozen", n, {"tree": "a", "commit": "c", "files": ["train.py"]}),
        measured(n, n, 0, 7, "first", 95.0),
        Event("frozen", n, {"tree": "b", "commit": "d", "files": ["train.py"], "rebased": True, "onto": 1}),
        measured(n, n, 1, 8, "first", 85.0),
        Event("decided", n, {"verdict": "keep", "reason": "better", "value": 85.0}),
    )
    assert "it was put onto experiment 1, kept meanwhile by others, and measured again there" in after(reply(story))
    assert "git restore --source=autoresearch/r/2 model.py train.py brings the others' changes" in after(reply(story))
    assert "git restore" not in after(reply(story, where=ENTERED))


def test_a_keep_that_was_overtaken_names_the_incumbent() -> None:
    story = Story()
    story.experiment(value=90.0)
    story.experiment(value=80.0)
    assert "experiment 2 was kept on top of it since" in after(reply(story, 1))


def test_a_keep_that_was_taken_out_again_is_none() -> None:
    story = Story()
    story.experiment(value=90.0)
    story.tell(Event("rolled_back", None, {"to": 0, "commit": "c", "moved": True, "words": "w"}))
    found = reply(story, 1)
    assert found.body["kept"] is False
    assert "kept, and taken out again later" in found.lines[2]
    assert "experiment 0, the incumbent" in after(found)


def test_discarded_in_the_checkout_says_that_nothing_was_touched_and_how_to_undo() -> None:
    found = one("discard", "worse", "110 against 100", value=110.0)
    assert "discarded; your files are as you left them; git restore train.py undoes the change" in found.lines
    assert found.body["undo"] == ["git restore train.py"]


def test_an_entered_tree_is_moved_by_others_and_needs_no_commands() -> None:
    found = one("discard", "worse", value=110.0, where=ENTERED)
    assert "discarded; experiment 0 is the incumbent" in found.lines
    assert found.body["undo"] == []


def test_worse_asks_for_another_idea() -> None:
    assert "try another idea" in after(one("discard", "worse", value=200.0))


def test_screened_is_no_gain() -> None:
    assert "which is no gain" in after(one("discard", "screened", value=99.9))


def test_a_tie_is_no_gain() -> None:
    assert "a tie is no gain: do not count it and do not offer it again unchanged" in after(one("discard", "tie", value=100.0))


def test_a_broken_guard_is_named() -> None:
    found = one("discard", "guard", "peak_mb is 5200, above 4000", value=90.0)
    assert "peak_mb is 5200, above 4000" in found.lines[0]
    assert "the metric got better and a guard broke" in after(found)


def test_a_failed_check_is_named_with_its_log() -> None:
    found = one("discard", "check", "check tests failed: exited with 1", value=90.0)
    assert "check tests failed" in found.lines[0]
    assert "autoresearch show 2" in after(found)


def test_stale_begins_with_the_incumbents_file() -> None:
    story = Story()
    story.experiment(value=90.0)
    words = "its change to train.py does not apply to the incumbent any more"
    story.experiment(Plan((0,)), 95.0, "discard", "stale", words=words)
    found = after(reply(story))
    assert "experiment 1 was kept meanwhile and changes the same lines" in found
    assert "git restore --source=autoresearch/r/1 train.py gives you its files" in found
    assert found.count("git restore") == 1


def test_the_gate_says_no_and_nothing_else() -> None:
    found = one("discard", "gate", "the gate's evaluation failed: exited with 3", value=90.0)
    assert "exited with 3" not in "".join(found.lines) + json.dumps(found.body)
    assert "better only on the data that you see" in after(found)


def test_held_is_left_to_a_person_without_the_command_that_approves() -> None:
    words = "better, and it waits for you: import (train.py:3); look: autoresearch show 2, keep it: autoresearch approve 2"
    found = one("discard", "held", words, value=90.0)
    assert "approve 2" not in "".join(found.lines) + json.dumps(found.body)
    assert "it waits for a person: import (train.py:3)" in found.lines[0]
    assert "tell your user about experiment 2" in after(found)


@pytest.mark.parametrize(
    ("verdict", "reason", "words"),
    [
        ("crash", "exit", "mend it"),
        ("crash", "signal", "mend it"),
        ("crash", "build", "mend it"),
        ("crash", "memory", "less memory"),
        ("crash", "no_measurement", "without a readable score"),
        ("timeout", "timeout", "make it faster"),
    ],
)
def test_what_could_not_be_measured_is_to_be_mended_by_its_log(verdict: str, reason: str, words: str) -> None:
    found = one(verdict, reason, "why it failed; last line: boom")
    assert "last line: boom" in found.lines[0]
    assert words in after(found)
    assert "autoresearch show 2 tells where the log is" in after(found)


def test_no_change_names_what_may_be_changed() -> None:
    found = one("invalid", "no_change", "the proposal changes nothing in the editable scope", where=Where())
    assert "make a change first; only train.py may change" in after(found)
    assert not [line for line in found.lines if "undoes" in line]


def test_a_duplicate_has_the_verdict_of_the_earlier_one() -> None:
    assert "the verdict on experiment 1 holds: discard (worse)" in after(
        one("invalid", "duplicate", "the same files as experiment 1")
    )


def test_a_duplicate_of_the_incumbent_is_left_where_it_is() -> None:
    story = Story()
    story.experiment(value=90.0)
    story.experiment(Plan((0,), "try"), None, "invalid", "duplicate", words="the same files as experiment 1")
    found = reply(story)
    assert found.body["undo"] == []
    assert "git restore" not in "".join(found.lines)
    assert found.lines[1].endswith("your files are as you left them, and hold what experiment 1, the incumbent, holds")
    assert "go on from these files with the next idea" in after(found)


def test_a_change_above_the_projects_folder_is_named_and_taken_back() -> None:
    where = Where(paths=("train.py", "../../top.txt"))
    found = one("invalid", "scope", "'../../top.txt' is no path inside the project", where=where)
    assert "git restore ../../top.txt takes that back if you did it" in after(found)


def test_scope_names_the_frozen_file_and_how_to_take_that_back() -> None:
    where = Where(paths=("evaluate.py", "train.py"))
    found = one("invalid", "scope", "evaluate.py is frozen: only train.py may change", where=where)
    assert "git restore evaluate.py takes that back if you did it, else ask whoever did to commit it; " in after(found)


def test_a_frozen_file_is_in_no_command_that_undoes_a_change_as_it_may_be_the_users_own_work() -> None:
    where = Where(paths=("evaluate.py", "train.py"))
    found = one("invalid", "scope", "evaluate.py is frozen: only train.py may change", where=where)
    assert found.body["undo"] == ["git restore train.py"]
    frozen = "git restore evaluate.py undoes the change of what is frozen, if you made it"
    assert found.lines[1].endswith(f"your files are as you left them; git restore train.py undoes the change; {frozen}")
    assert one("invalid", "scope", "evaluate.py is frozen: …", where=Where(paths=("evaluate.py",))).body["undo"] == []


def test_tampering_is_quarantined_without_a_word_of_how_it_was_found() -> None:
    found = one("invalid", "tampering", "the candidate wrote labels/held_out.csv", value=1.0)
    assert "labels" not in "".join(found.lines) + json.dumps(found.body)
    assert "it is quarantined" in found.lines[0]
    assert "stop that" in after(found)
    assert found.body["value"] is None


@pytest.mark.parametrize("reason", ["implausible", "secret", "proposer_odd"])
def test_other_invalid_ones_are_told_in_words(reason: str) -> None:
    assert "because of that" in one("invalid", reason, "because of that").lines[0]
    assert "again" in after(one("invalid", reason, "because of that"))


def test_a_flaky_evaluation_says_nothing_of_the_change() -> None:
    assert "says nothing about the change" in after(one("discard", "flaky", "the incumbent failed twice", value=99.0))


def test_reasons_of_other_rules_get_an_answer() -> None:
    assert "try another idea" in after(one("discard", "too_ugly", "no", value=99.0))


def test_a_failure_of_the_machine_does_not_count() -> None:
    story = Story()
    story.experiment()
    story.tell(Event("note", None, {"what": "lost", "experiments": [1]}))
    assert "the machine failed, not the change" in after(reply(story, 1))


# -- near misses and notes -----------------------------------------------------------------------------------------------


def test_near_misses_are_told_closest_first_and_without_this_one() -> None:
    story = noisy()
    for value in (100.7, 100.1, 150.0, 100.4, 100.5, 100.2):
        story.experiment(value=value, verdict="discard", reason="worse")
    found = reply(story)
    assert [row["experiment"] for row in found.body["near_misses"]] == [2, 4, 5]
    assert 'near miss, no gain: experiment 2 "idea 2", score 100.1 (+0.10 %)' in found.lines
    assert "experiment 6 is a near miss" in after(found)


def test_what_lost_to_another_than_it_was_made_from_is_no_near_miss() -> None:
    story = Story()
    story.experiment(value=80.0)
    story.experiment(Plan((0,), "try"), 100.5, "discard", "worse")
    found = reply(story)
    assert "+25.6 %" in found.lines[0]
    assert "near miss" not in after(found)
    story.experiment(value=85.0, verdict="discard", reason="worse")
    story.experiment(value=120.0, verdict="discard", reason="worse")
    assert [row["experiment"] for row in reply(story).body["near_misses"]] == [3]


def test_a_keep_is_told_without_near_misses() -> None:
    story = noisy()
    story.experiment(value=100.1, verdict="discard", reason="worse")
    raced(story, [(90.0, 100.0)] * 3, "keep", "better")
    assert reply(story).body["near_misses"] == []


def test_what_was_left_out_is_noted() -> None:
    found = one("discard", "worse", value=110.0, where=Where(paths=("train.py",), notes=("a.log is outside the scope",)))
    assert "note: a.log is outside the scope" in found.lines
    assert found.body["notes"] == ["a.log is outside the scope"]


# -- what is left --------------------------------------------------------------------------------------------------------


def test_what_is_left_stands_in_every_verdict() -> None:
    story = Story()
    story.experiment(value=110.0)
    found = reply(story, given_=task(budget={"experiments": 20, "time": "8h", "evaluations": 50}))
    assert found.lines[-1] == "left: 19 of 20 experiments, 48 evaluations, 8.0 h · measured and decided by the harness"
    assert found.body["remains"] == {
        "experiments": 19,
        "evaluations": 48,
        "time_s": pytest.approx(8 * 3600, abs=60),
        "cost_usd": None,
        "tokens": None,
        "queries": None,
    }
    assert found.body["over"] is False


def test_offers_that_wait_are_counted_as_spent() -> None:
    story = Story()
    story.tell(Event("note", None, {"what": "offered", "job": 12, "content": "x"}))
    assert "left: 1 of 2 experiments" in replies.remains(story.history, task(budget={"experiments": 2}))[0]


def test_a_run_without_a_limit_says_so() -> None:
    assert "no limit" in replies.remains(Story().history, task(budget={"experiments": 0}))[0]


def test_walls_of_money_and_tokens_are_told() -> None:
    told = replies.remains(Story().history, task(budget={"experiments": 0, "cost_usd": 3.5, "tokens": 1000}))[0]
    assert told.startswith("left: 3.50 USD, 1000 tokens ·")


def test_the_last_verdict_says_that_it_is_over_and_asks_for_nothing() -> None:
    story = Story()
    story.experiment(value=90.0)
    found = reply(story, given_=task(budget={"experiments": 1}))
    assert found.body["over"] is True
    assert not [line for line in found.lines if line.startswith("next:")]
    assert "left: nothing (1 experiment made); it is over: make no further change" in found.lines[-1]
    assert "1 experiment kept" in found.lines[-2]
    assert "autoresearch/r" in found.lines[-2]
    assert found.code == 0


def test_a_target_that_is_reached_is_the_end() -> None:
    story = Story()
    story.experiment(value=90.0)
    assert "target 95 reached" in reply(story, given_=task(metric={"target": 95})).lines[-1]


# -- no verdict ----------------------------------------------------------------------------------------------------------


def test_over_says_so_with_code_3_and_the_result() -> None:
    story = Story()
    story.experiment(value=90.0)
    answer = {"ok": False, "over": True, "words": "1 experiment made", "reason": "experiments"}
    found = replies.without_verdict(story.history, task(budget={"experiments": 1}), job=12, answer=answer)
    assert (found.code, found.body["state"], found.body["over"]) == (3, "over", True)
    assert "the budget is spent (1 experiment made); it is over" in found.lines[0]
    assert "score 100 → 90 (−10.00 %) as measured on the way, optimistic" in found.lines[1]
    assert "git merge autoresearch/r" in found.lines[1]


def test_over_without_a_gain_says_that_there_is_none() -> None:
    found = replies.without_verdict(Story().history, task(), job=12, answer={"ok": False, "over": True, "words": "w"})
    assert "there is no gain" in found.lines[1]


def test_stopped_goes_on_later_with_code_1() -> None:
    answer = {"ok": False, "stopped": True, "words": "stopped by its owner"}
    found = replies.without_verdict(Story().history, task(), job=12, answer=answer)
    assert (found.code, found.body["state"]) == (1, "stopped")
    assert "autoresearch wait 12 --max 45s" in found.lines[1]


def test_a_broken_set_up_is_code_2_in_words_also_where_there_is_no_run() -> None:
    for history in (None, Story().history, History()):
        found = replies.without_verdict(history, task(), job=12, answer={"ok": False, "words": "HEAD has another evaluate.py"})
        assert (found.code, found.body["state"]) == (2, "failed")
        assert "HEAD has another evaluate.py" in found.lines[0]


# -- under way -----------------------------------------------------------------------------------------------------------


def running(story: Story, history: History | None = None) -> Reply:
    return replies.running(history or story.history, task(), job=12)


def young(*events: Event) -> History:
    from autoresearch.ledger.memory import MemoryLedger

    ledger = MemoryLedger()
    ledger.append("r", Event("run_started", None, {"task": "t", "metric": "score", "base": "b" * 40, "direction": "minimize"}))
    ledger.append("r", Event("asked", 0, {"parents": []}), Event("proposed", 0, {"description": "baseline"}), *events)
    return ledger.history("r")


def test_the_baseline_comes_first_with_how_long_it_takes() -> None:
    frozen = Event("frozen", 0, {"tree": "t", "commit": "c"})
    told = replies.running(young(frozen), task(), job=12).lines[0]
    assert "the baseline is measured first: 0 evaluations made of 2, or up to 5 if they differ" in told
    made = measured(0, 0, 0, 7, "baseline", 1.0)
    told = replies.running(young(frozen, made), task(), job=12).lines[0]
    assert "1 evaluation made of 2, or up to 5 if they differ; one takes about 2.0 s" in told
    assert told.endswith(", that is 2.0 s more, or up to 8.0 s")


def test_the_baseline_of_a_noisy_metric_is_told_by_what_may_follow() -> None:
    made = [measured(0, 0, i, i, "baseline", float(i)) for i in range(3)]
    told = replies.running(young(Event("frozen", 0, {"tree": "t", "commit": "c"}), *made), task(), job=12).lines[0]
    assert "3 evaluations made of up to 5; one takes about 2.0 s, that is up to 4.0 s more" in told


def test_a_probe_waits_for_what_is_measured_and_says_so() -> None:
    story = Story()
    assert replies.running(story.history, task(), job=3, probe=True).lines[0] == "job 3: is tried out without a verdict"
    story.tell(Event("asked", 1, {"parents": [0], "operation": "try"}))
    story.tell(Event("proposed", 1, {"description": "d", "job": 12, "parents": [0]}))
    told = replies.running(story.history, task(), job=3, probe=True).lines[0]
    assert "as soon as what is measured now has ended; an evaluation takes about" in told


def test_without_a_baseline_it_is_said_who_can_help() -> None:
    answer = {"ok": False, "words": "the baseline failed: exited with 1"}
    found = replies.without_verdict(young(), task(), job=12, answer=answer)
    assert found.code == 2
    assert "autoresearch check says more" in after(found)
    assert "autoresearch try --new" in after(found)
    assert "autoresearch try --new" not in after(replies.without_verdict(Story().history, task(), job=12, answer=answer))


def test_what_is_under_way_is_told_with_when_to_ask_again() -> None:
    story = Story()
    assert "waits until the run takes it up" in running(story).lines[0]
    story.tell(Event("note", None, {"what": "offered", "job": 11, "content": "x"}))
    story.tell(Event("note", None, {"what": "offered", "job": 12, "content": "x"}))
    assert "waits for 1 other before it" in running(story).lines[0]
    asked = Event("asked", 1, {"parents": [0], "operation": "try"})
    story.tell(asked, Event("proposed", 1, {"description": "d", "job": 12, "parents": [0]}))
    assert "experiment 1 is being measured" in running(story).lines[0]
    story.tell(Event("frozen", 1, {"tree": "t", "commit": "c"}), measured(1, 1, 0, 7, "first", 90.0))
    assert "experiment 1 is measured once" in running(story).lines[0]
    story.tell(measured(1, 1, 1, 8, "race", 90.0), measured(1, 0, 2, 8, "race", 100.0))
    found = running(story)
    assert "experiment 1 is measured again beside the incumbent, 1 pair so far" in found.lines[0]
    assert found.lines[1] == "ask again: autoresearch wait 12 --max 45s"
    assert (found.body["state"], found.body["experiment"], found.code) == ("running", 1, 0)
    assert "90" not in "".join(found.lines)


# -- probes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("passed", "code", "words"), [(True, 0, "passed"), (False, 1, "failed"), (None, 2, "could not be tried")]
)
def test_a_probe_is_told_without_a_verdict(passed: bool | None, code: int, words: str) -> None:
    found = replies.tried_out({"ok": True, "passed": passed, "words": "why", "output": "a\n\x1b[31mb\x1b[0m\n\n"}, job=12)
    assert found.code == code
    assert found.lines[0] == f"probe: {words}: why"
    assert found.lines[1:3] == ("| a", "| b")
    assert "no verdict" in found.lines[-1]
    assert found.body["state"] == "tried_out"


# -- commands ------------------------------------------------------------------------------------------------------------


def test_new_files_are_removed_and_old_ones_restored() -> None:
    assert undo.commands(("a.py", "b c.py"), ("b c.py",), "HEAD") == ("git restore --source=HEAD a.py", "rm 'b c.py'")
    assert undo.words(("a.py", "b.py"), ("b.py",)) == "git restore a.py and rm b.py undo the change"


@pytest.mark.parametrize("path", ["-x.py", ":x.py", "a*.py", "a b.py", "it's.py", "$(x).py", "a;b", "né.py"])
def test_commands_take_any_path_for_itself(path: str) -> None:
    (command,) = undo.commands((path,), ())
    words = shlex.split(command)
    assert words[:2] == ["git", "restore"]
    assert words[-1].removeprefix(":(literal)") == path
    assert (words[-1].startswith("-")) <= ("--" in words)


def test_many_paths_are_not_spelled_out_in_a_line() -> None:
    paths = tuple(f"file{i}.py" for i in range(30))
    assert "git restore of the 30 files that you changed undoes the change" in undo.words(paths, ())
    found = one("discard", "worse", value=110.0, where=Where(paths=paths))
    assert found.body["undo"][0].count("file") == 30


# -- nothing private, nothing broken ---------------------------------------------------------------------------------------


def private(story: Story, n: int) -> list[Event]:
    return [
        measured(n, n, 20, 3, "gate", SECRET_GATE),
        measured(n, 0, 21, 3, "gate", SECRET_GATE + 1),
        measured(n, n, 22, 3, "held_out", SECRET_HELD),
    ]


@pytest.mark.parametrize(("verdict", "reason"), [("keep", "better"), ("discard", "gate"), ("discard", "worse")])
def test_no_reply_holds_a_number_of_a_private_set(verdict: str, reason: str) -> None:
    story = noisy()
    raced(story, [(90.0, 100.0)] * 3, verdict, reason, extra=private(story, 1))
    validated = {"mean": SECRET_FINAL, "low": SECRET_HELD, "high": SECRET_GATE, "pairs": 3, "level": 0.9, "held_out": True}
    story.tell(
        Event("run_stopped", None, {"status": "finished", "reason": "experiments", "validated": validated, "validated_of": 1})
    )
    spent = task(budget={"experiments": 1})
    answer = {"ok": False, "over": True, "words": "w"}
    told = [reply(story, 1), reply(story, 1, given_=spent), running(story)]
    told.append(replies.without_verdict(story.history, spent, job=12, answer=answer))
    everything = "".join(json.dumps([found.lines, dict(found.body)]) for found in told)
    everything += "".join(replies.remains(story.history, spent))
    for secret in (SECRET_GATE, SECRET_HELD, SECRET_FINAL):
        assert f"{secret:.4g}" not in everything
        assert f"{secret:.3g}" not in everything


_NASTY = st.text(st.sampled_from("ab \n\r\t\x00\x1b[31m\u202e\u2028\x9b`'\"$"), max_size=30)
_VERDICTS = st.sampled_from(
    [
        ("discard", reason)
        for reason in ("worse", "tie", "screened", "guard", "check", "stale", "gate", "held", "flaky", "odd\n")
    ]
    + [("crash", "exit"), ("timeout", "timeout"), ("keep", "better"), ("keep", "simpler")]
    + [("invalid", reason) for reason in ("no_change", "duplicate", "scope", "tampering", "implausible", "secret")]
)


@settings(max_examples=150, deadline=None)
@given(
    verdict=_VERDICTS,
    description=_NASTY,
    words=_NASTY,
    value=st.one_of(st.none(), st.floats(-1e6, 1e6)),
    paths=st.lists(_NASTY.map(lambda text: text + "\udcff"), max_size=6, unique=True),
    entered=st.booleans(),
    exact=st.booleans(),
    base=st.sampled_from([0.0, 1e-7, 100.0]),
)
def test_every_line_is_one_line_and_says_something(
    verdict: tuple[str, str],
    description: str,
    words: str,
    value: float | None,
    paths: list[str],
    entered: bool,
    exact: bool,
    base: float,
) -> None:
    story = Story(base=base)
    method = {"what": "method", "rule": "exact", "pairs": 1} if exact else NOISY
    story.tell(Event("note", None, method))
    story.experiment(value=base + 0.1, verdict="discard", reason="worse", proposed={"description": description})
    story.experiment(value=value, verdict=verdict[0], reason=verdict[1], words=words, proposed={"description": description})
    where = Where(entered, tuple(paths), tuple(paths[:1]), notes=(words,))
    for found in (
        reply(story, where=where),
        replies.tried_out({"passed": False, "words": words, "output": description}, job=1),
        replies.without_verdict(story.history, task(), job=1, answer={"words": words}),
    ):
        for line in found.lines:
            assert line.strip()
            assert line.isprintable()
        assert json.loads(json.dumps(dict(found.body), allow_nan=False, ensure_ascii=False).encode()) == dict(found.body)


def test_every_answer_has_the_same_keys_and_the_page_names_them() -> None:
    story = noisy()
    raced(story, [(90.0, 100.0)] * 3, "keep", "better")
    bodies = [reply(story).body, running(story).body, replies.tried_out({"passed": True}, job=1).body]
    bodies += [
        replies.without_verdict(None, task(), job=1, answer=answer).body for answer in ({}, {"over": True}, {"stopped": True})
    ]
    assert {frozenset(body) for body in bodies} == {frozenset(bodies[0])}
    page = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
    section = page.partition("## `autoresearch try --json`")[2].partition("\n## ")[0]
    keys = {*bodies[0], *bodies[0]["interval"], *bodies[0]["remains"]}
    assert sorted(key for key in keys if f"`{key}`" not in section) == []


def test_figures_of_the_baseline_are_none() -> None:
    assert figures(Story().history, 0) is None
