"""How well expected effects did, over a run and of one experiment."""

from __future__ import annotations

import pytest
from tests.story import Story

from autoresearch.expectations import Expectations, effect, expectations
from autoresearch.records import Event, Plan
from autoresearch.report import experiment_row, foreseen_words, last_lines, summary


def told(story: Story, value: float | None, expected: float | None, **more: object) -> None:
    story.experiment(None, value, proposed={"expected": expected, "hypothesis": "since it rests"}, **more)  # type: ignore[arg-type]


def test_without_any_there_is_nothing_to_say() -> None:
    story = Story()
    story.experiment(value=90.0)
    assert expectations(story.view()) is None
    assert foreseen_words(story.history.experiments[1], story.history) == ""


def test_sign_ratio_and_keeps_are_counted_against_what_had_to_be_beaten() -> None:
    story = Story()
    told(story, 90.0, -0.20)  # a tenth less: half of it
    told(story, 81.0, -0.40)  # a tenth less than 90: a quarter
    told(story, 97.2, -0.10)  # a fifth more: twice of it, the other way
    told(story, None, -0.10)
    story.experiment(value=100.0)
    found = expectations(story.view())
    assert found == Expectations(stated=4, measured=3, right=2, kept=2, ratio=pytest.approx(0.25))
    assert (
        found.words == "4 expected effects: 2 of 3 measured went that way, 0.25 times what was expected at the median; 2 kept"
    )
    assert effect(story.view(), story.history.experiments[3]) == pytest.approx(0.2)


@pytest.mark.parametrize(("direction", "value", "expected"), [("maximize", 110.0, 0.1), ("minimize", 90.0, -0.1)])
def test_an_effect_has_the_sign_of_the_metric_s_change(direction: str, value: float, expected: float) -> None:
    story = Story(direction=direction)
    told(story, value, expected)
    found = expectations(story.view())
    assert found is not None
    assert (found.right, found.kept) == (1, 1)
    assert effect(story.view(), story.history.experiments[1]) == pytest.approx(expected)


def test_of_a_metric_below_zero_less_is_down_too() -> None:
    story = Story(base=-100.0)
    told(story, -110.0, -0.1)
    assert effect(story.view(), story.history.experiments[1]) == pytest.approx(-0.1)


def test_few_are_not_judged_and_a_baseline_of_nothing_has_no_share() -> None:
    story = Story(base=0.0)
    told(story, -1.0, -0.1)
    found = expectations(story.view())
    assert found is not None
    assert (found.stated, found.measured, found.ratio) == (1, 0, None)
    assert found.words == "1 expected effect: none was measured; 1 kept"


def test_a_restart_is_measured_against_the_incumbent_that_it_had_to_beat() -> None:
    story = Story()
    story.experiment(value=50.0)
    story.experiment(Plan((0,), "restart"), 40.0, proposed={"expected": -0.1})
    assert effect(story.view(), story.history.experiments[2]) == pytest.approx(-0.2)


def test_report_and_last_lines_tell_of_them() -> None:
    story = Story()
    told(story, 90.0, -0.20)
    told(story, 99.0, -0.01)
    story.tell(Event("run_stopped", None, {"status": "finished", "reason": "experiments", "worked_s": 1.0}))
    e = story.history.experiments[2]
    assert foreseen_words(e, story.history) == "expected −1 %, measured +10 %"
    row = experiment_row(e, story.history)
    assert (row["hypothesis"], row["expected"], row["effect"]) == ("since it rests", -0.01, pytest.approx(0.1))
    assert summary(story.history)["expectations"] == {"stated": 2, "measured": 2, "right": 1, "kept": 1, "ratio": None}
    assert "2 expected effects: 1 of 2 measured went that way; 1 kept" in last_lines(story.history)


def test_a_run_without_a_baseline_has_a_summary() -> None:
    story = Story.__new__(Story)
    story.ledger = type(Story().ledger)()
    story.ledger.append("r", Event("run_started", None, {"task": "t", "metric": "score", "base": "b" * 40}))
    assert summary(story.ledger.history("r"))["expectations"] is None
