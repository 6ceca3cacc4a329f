"""A gain that rests on what earlier evaluations left does not survive a clean clone; one of the code's own does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.conftest import TASK, Toy

from autoresearch.choice import Wish
from autoresearch.records import Kind
from autoresearch.testing import Patch

Made = Callable[..., Toy]

WARM = """\
import pathlib
store = pathlib.Path("store")
store.mkdir(exist_ok=True)
code = pathlib.Path("knob.txt").read_text().split()
print("score:", 0.01 if "trick" in code and (store / "answer").exists() else float(code[0]))
(store / "answer").write_text("")
"""
CACHED = TASK.replace('command = "python evaluate.py"', 'command = "python evaluate.py"\ncache = ["store"]')


def run(toy: Toy, *knobs: str) -> None:
    toy.run([Patch({"knob.txt": text}) for text in knobs], wish=Wish(name="one"))


@pytest.mark.parametrize("more", ["", 'build = "true"\n', 'setup = "true"\n'], ids=["plain", "built", "set up"])
def test_answer_kept_from_an_earlier_evaluation_is_implausible(make_toy: Made, more: str) -> None:
    toy = make_toy({"evaluate.py": WARM}, task=CACHED.replace("[metric]", f"{more}[metric]"))
    run(toy, "10 trick\n", "0.5\n", "7\n")
    first, second, third = toy.history().experiments[1:4]
    assert first.verdict is not None
    if more.startswith("build"):  # caches are part of a build, and every candidate has its own
        assert first.verdict.reason == "tie"
    else:
        words = "score is 0.01 against 10 (1e+03 times better, more than [metric] jump = 10), but 10 in a clean clone"
        assert (first.verdict.kind, first.verdict.reason, first.verdict.words) == (Kind.INVALID, "implausible", words)
    assert second.kept
    assert "confirmed in a clean clone: 0.5" in second.notes[0]
    assert [m.phase for m in second.measurements] == ["first", "confirm"]
    assert not third.kept


def test_limit_of_the_task_is_never_passed(make_toy: Made) -> None:
    toy = make_toy(task=TASK + "limit = 2.0\n")
    run(toy, "1\n", "3\n")
    first, second = toy.history().experiments[1:3]
    assert first.verdict is not None
    assert first.verdict.reason == "implausible"
    assert "better than [metric] limit 2, also in a clean clone" in first.verdict.words
    assert second.kept


def test_factor_of_0_holds_nothing(make_toy: Made) -> None:
    toy = make_toy(task=TASK + "jump = 0\n")
    run(toy, "0.001\n")
    assert [m.phase for m in toy.history().experiments[1].measurements] == ["first"]


def test_evaluation_in_the_clean_clone_has_its_own_log_and_no_part_in_the_value(make_toy: Made) -> None:
    toy = make_toy()
    run(toy, "0.5\n")
    e = toy.history().experiments[1]
    assert e.kept
    assert e.own == e.measurements[:1]
    assert e.measurements[1].log == "000001/eval-2.log"
