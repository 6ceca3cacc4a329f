"""The controls of `check`: the unchanged code must not win as a candidate, and broken code must not pass for a gain."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from tests.conftest import TASK, Toy

from autoresearch.checkup import controls
from autoresearch.records import Outcome, Readout

Made = Callable[..., Toy]

KEPT = TASK.replace('command = "python evaluate.py"', 'command = "python evaluate.py"\ncache = ["store"]')
KEPT = KEPT.replace('"knob.txt", "extra/**"', '"knob.txt"')
COUNTED = """\
import pathlib
store = pathlib.Path("store")
store.mkdir(exist_ok=True)
with open(store / "calls", "a") as file: file.write(".")
n = len((store / "calls").read_text())
knob = float(pathlib.Path("knob.txt").read_text())
"""
LENIENT = """\
import pathlib
try:
    value = float(pathlib.Path("knob.json").read_text())
except ValueError:
    value = {value}
print("score:", value)
print("errors:", value == {value})
"""


def check(toy: Toy, *flags: str, code: int = 0) -> str:
    argv = [sys.executable, "-m", "autoresearch", "check", *flags]
    done = subprocess.run(argv, cwd=toy.folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def found(toy: Toy, code: int = 0) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(check(toy, "--json", code=code))
    return answer


# -- the unchanged code -------------------------------------------------------------------------------------------------


def test_unchanged_code_of_an_exact_task_ties_in_one_evaluation(make_toy: Made) -> None:
    toy = make_toy()
    same = found(toy)["controls"]["unchanged"]
    assert same == {
        "tried": 1,
        "kept": 0,
        "evaluations": 1,
        "words": "tie: 10 against 10",
        "chance": False,
        "failed": "",
        "skipped": "",
    }
    assert "the unchanged code as a candidate: not kept (tie: 10 against 10; 1 evaluation)" in check(toy)


def test_unchanged_code_of_a_noisy_task_is_not_kept(make_toy: Made) -> None:
    noisy = COUNTED + 'print("score:", knob + [0, .3, -.2, .1, -.4, .2, -.1][n * 3 % 7])\n'
    same = found(make_toy({"evaluate.py": noisy}, task=KEPT))["controls"]["unchanged"]
    assert (same["tried"], same["kept"]) == (1, 0)
    assert 1 <= same["evaluations"] <= 17


def test_unchanged_code_that_gains_by_being_run_again_is_a_problem(make_toy: Made) -> None:
    task = KEPT + '[acceptance]\nkind = "exact"\n'
    toy = make_toy({"evaluate.py": COUNTED + 'print("score:", knob - n / 10)\n'}, task=task)
    answer = found(toy, code=1)
    assert answer["controls"]["unchanged"]["kept"] == 2
    assert "the unchanged code was kept as a gain twice" in answer["problems"][0]
    assert "it gains by being run again" in answer["problems"][0]


def test_unchanged_code_that_wins_once_is_tried_again_and_forgiven(make_toy: Made) -> None:
    task = KEPT + '[acceptance]\nkind = "single"\n'
    once = COUNTED + 'print("score:", knob - (n == 7) / 2 + (n + 1) % 2 / 10)\n'  # after five of the base and a broken one
    same = found(make_toy({"evaluate.py": once}, task=task))["controls"]["unchanged"]
    assert (same["tried"], same["kept"]) == (2, 1)


def test_rule_that_takes_noise_for_gains_is_a_warning(make_toy: Made) -> None:
    task = KEPT + '[acceptance]\nkind = "single"\n'
    answer = found(make_toy({"evaluate.py": COUNTED + 'print("score:", knob - n / 10)\n'}, task=task))
    assert answer["problems"] == []
    assert any("this [acceptance] kind takes noise for gains" in words for words in answer["warnings"])


def test_rule_of_the_projects_own_is_asked(make_toy: Made) -> None:
    rule = "from autoresearch.acceptance.exact import Exact\nclass Rule(Exact):\n    pass\n"
    toy = make_toy({"rules.py": rule}, task=TASK + '[acceptance]\nkind = "rules:Rule"\n')
    assert found(toy)["controls"]["unchanged"]["words"] == "tie: 10 against 10"


def test_unchanged_code_that_fails_later_is_a_problem(make_toy: Made) -> None:
    fails = COUNTED + 'assert n < 4, "full"\nprint("score:", knob)\n'  # two of the base, one broken, and this
    answer = found(make_toy({"evaluate.py": fails}, task=KEPT), code=1)
    assert "the unchanged code failed when it was measured again: exit: " in answer["problems"][0]


def test_evaluations_of_many_minutes_are_not_made_for_a_control() -> None:
    sealed: Any = None
    slow = {7: Readout(Outcome.OK, {"score": 1.0}, duration_s=900.0)}
    same = anyio.run(controls.unchanged, sealed, slow, print)
    assert same.skipped == "an evaluation takes 15.0 min: the unchanged code was not tried as a candidate"
    assert controls.warnings(same, controls.Ruined(), "score") == [same.skipped]


# -- broken code --------------------------------------------------------------------------------------------------------


def lenient(make_toy: Made, value: float, more: str = "", *, name: str = "knob.json", **files: str) -> Toy:
    """A task whose evaluation gives this value for a file that it cannot read."""
    task = TASK.replace('"knob.txt", "extra/**"', f'"{name}"') + more
    evaluate = LENIENT.format(value=value).replace("knob.json", name)
    return make_toy({name: "10\n", "evaluate.py": evaluate, **files}, task=task)


def test_broken_code_that_measures_better_is_a_problem(make_toy: Made) -> None:
    answer = found(lenient(make_toy, 0.0), code=1)
    assert answer["controls"]["broken"] == {"value": 0.0, "better": True, "plain": False, "caught": ""}
    assert "with all editable files broken it measures, and better: score 0" in answer["problems"][0]


def test_text_of_plain_words_may_be_better_in_other_words(make_toy: Made) -> None:
    answer = found(lenient(make_toy, 0.0, name="prompt.txt"))
    assert answer["controls"]["broken"]["plain"]
    assert any("with all editable files broken it measures, and better" in words for words in answer["warnings"])


def test_broken_code_that_measures_worse_is_none(make_toy: Made) -> None:
    answer = found(lenient(make_toy, 99.0))
    assert answer["controls"]["broken"] == {"value": 99.0, "better": False, "plain": False, "caught": ""}


def test_broken_code_that_fails_measures_nothing(make_toy: Made) -> None:
    broken = found(make_toy())["controls"]["broken"]
    assert broken == {"value": None, "better": False, "plain": False, "caught": ""}


CATCHES = {
    "guard": ('[[guard]]\nname = "errors"\nmax = 0\n', "guard errors is 1, above 0"),
    "check": ('[[check]]\nname = "reads"\ncommand = "python reads.py"\n', "check reads"),
    "limit": ("", "[metric] limit 0.5"),
}


@pytest.mark.parametrize("by", CATCHES)
def test_broken_code_that_is_caught_is_no_problem(make_toy: Made, by: str) -> None:
    more, words = CATCHES[by]
    toy = lenient(make_toy, 0.0, more, **{"reads.py": 'float(open("knob.json").read())\n'})
    if by == "guard":
        toy.write({"evaluate.py": LENIENT.format(value=0.0).replace("value == 0.0)", "int(value == 0.0))")})
    if by == "limit":
        toy.write({"autoresearch.toml": (toy.folder / "autoresearch.toml").read_text() + "limit = 0.5\n"})
    toy.commit()
    answer = found(toy)
    assert answer["controls"]["broken"] == {"value": 0.0, "better": True, "plain": False, "caught": words}
    assert f"with all editable files broken it measures better, and is caught: {words}" in check(toy)
