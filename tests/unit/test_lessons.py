"""What a run teaches: sentences with their evidence, found by counting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.story import Story

from autoresearch.lessons import MOST, lessons
from autoresearch.records import Event, Plan
from autoresearch.sight import Sight


def found(story: Story) -> list[str]:
    return lessons(story.view(), "score", "minimize")


def mutation(story: Story, name: str, value: float | None, **more: Any) -> None:
    story.experiment(Plan((story.history.line[-1],), mutation=name), value, **more)


def setting(story: Story, name: str, before: Any, after: Any, value: float) -> None:
    settings = {"here": {name: before}, "changed": {name: after}}
    story.experiment(None, value, proposer="knobs", proposed={"settings": settings})


def test_a_young_run_teaches_nothing() -> None:
    story = Story()
    story.experiment(value=90.0)
    story.experiment()
    assert found(story) == []


def test_kinds_of_change_are_told_with_the_experiments_that_were_kept_or_not() -> None:
    story = Story()
    for i in range(4):
        mutation(story, "swap", 150.0)
        mutation(story, "structure", 90.0 - 10 * i if i % 2 else 150.0)
    assert "changes of the kind swap: none of 4 kept (1, 3, 5, 7)" in found(story)
    assert "changes of the kind structure: 2 of 4 kept (4, 8)" in found(story)


def test_what_was_never_delivered_taken_back_or_tried_again_is_no_evidence() -> None:
    story = Story()
    for _ in range(2):
        mutation(story, "swap", 150.0)
    mutation(story, "swap", None, verdict="invalid", reason="proposer_timeout")
    mutation(story, "swap", 150.0, proposed={"origin": 1})
    mutation(story, "swap", None)
    story.tell(Event("note", None, {"what": "lost", "experiments": [5]}))
    assert not [words for words in found(story) if "swap" in words]


def test_a_constant_whose_direction_is_settled_is_named_with_it() -> None:
    story = Story()
    for i in range(3):
        setting(story, "RATE", 0.1, 0.2 + i / 10, 120.0)
    setting(story, "RATE", 0.1, 0.05, 95.0)
    setting(story, "RATE", 0.1, 0.02, 90.0)
    assert "RATE above 0.1: worse in 3 of 3 (1, 2, 3)" in found(story)
    assert "RATE below 0.1: kept in 2 of 2 (4, 5)" in found(story)


def test_what_goes_both_ways_is_not_settled() -> None:
    story = Story()
    for value in (120.0, 120.0, 95.0, 120.0, 90.0):
        setting(story, "RATE", 0.1, 0.2, value)
    assert not [words for words in found(story) if "worse" in words]


def test_a_choice_is_named_by_its_value_and_several_constants_at_once_prove_nothing() -> None:
    story = Story()
    for _ in range(3):
        setting(story, "KIND", "relu", "gelu", 120.0)
        both = {"here": {"A": 1, "B": 1}, "changed": {"A": 2, "B": 2}}
        story.experiment(value=130.0, proposer="knobs", proposed={"settings": both})
    assert [words for words in found(story) if "worse" in words] == ["KIND as gelu: worse in 3 of 3 (1, 3, 5)"]


def test_reasons_that_recur_are_one_whatever_their_numbers() -> None:
    story = Story()
    for shape in (12, 64):  # of which nothing is said where it differs
        story.experiment(words=f"exited with 1; last line: ValueError: shapes ({shape}, 3) not aligned")
    story.experiment(words="exited with 1; last line: KeyError: 'x'")
    assert found(story) == ["2 times crash (exit): ValueError: shapes (…, …) not aligned (1, 2)"]


def test_guards_and_checks_that_broke_are_named() -> None:
    story = Story()
    for _ in range(2):
        story.experiment(None, 90.0, "discard", "guard", words="peak_mb 4100, above 4000")
        story.experiment(None, 90.0, "discard", "check", words="check tests failed: exit 1")
    assert {"guard peak_mb broke 2 times (1, 3)", "check tests broke 2 times (2, 4)"} <= set(found(story))


def test_sizes_that_were_never_kept() -> None:
    story = Story()
    story.experiment(value=90.0, frozen={"lines": 4})
    for lines in (40, 55, 80):
        story.experiment(value=120.0, frozen={"lines": lines})
    assert "no change that adds 40 lines or more was kept, of 3 (2, 3, 4); the largest that was added 4" in found(story)


def test_files_are_told_where_there_are_several() -> None:
    story = Story()
    for _ in range(3):
        story.experiment(value=120.0, frozen={"files": ["model.py"]})
    assert not [words for words in found(story) if "model.py" in words]
    for i in range(3):
        story.experiment(value=90.0 - i, frozen={"files": ["data.py"]})
    assert "changes to model.py: none of 3 kept (1, 2, 3)" in found(story)
    assert "changes to data.py: 3 of 3 kept (4, 5, 6)" in found(story)


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (-0.5, "effects on score were expected too large: measured ones were 0.02 of that at the median, 3 of 3"),
        (0.5, "effects on score were expected too large: measured ones went the other way at the median, 0 of 3"),
        (-0.001, "effects on score were 10 times what was expected at the median"),
    ],
)
def test_a_bias_of_expectations_is_told(expected: float, words: str) -> None:
    story = Story()
    for i in range(3):
        story.experiment(value=100.0 * 0.99 ** (i + 1), proposed={"expected": expected})
    assert [line for line in found(story) if line.startswith(words)]


def test_at_most_twelve_the_most_telling_first_and_always_the_same() -> None:
    def tell(story: Story) -> None:
        for k in range(20):
            for _ in range(3 + k):
                mutation(story, f"kind{k:02}", 150.0)
        for i in range(6):
            mutation(story, "good", 90.0 - i)

    first, again = Story(), Story()
    tell(first), tell(again)
    assert found(first) == found(again)
    assert len(found(first)) == MOST
    assert found(first)[0].startswith("changes of the kind good: 6 of 6 kept")


def test_what_tampered_is_not_spoken_of_and_gate_numbers_are_not_known() -> None:
    story = Story()
    for _ in range(4):
        mutation(story, "swap", 50.0, verdict="invalid", reason="tampering", words="it read a decoy")
    assert found(story) == []


def test_of_a_noisy_metric_a_proposer_is_told_no_more_digits_than_the_noise_lets() -> None:
    """The same sentences from what a proposer may see, where values are rounded."""
    story = Story()
    method: Mapping[str, Any] = {"what": "method", "rule": "bayes", "sd": 0.5}
    story.tell(Event("note", None, method))
    for _ in range(3):
        setting(story, "RATE", 0.1, 0.2, 100.04)
    seen = lessons(Sight(story.history, story.history.decided), "score", "minimize")
    assert "RATE above 0.1: worse in 3 of 3 (1, 2, 3)" in found(story)
    assert not [words for words in seen if "worse" in words]
