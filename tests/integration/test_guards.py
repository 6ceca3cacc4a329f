"""Guards in runs through git and processes: noisy ones, relative ones, what `check` says of them, and their mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TASK, Toy

from autoresearch.choice import Wish
from autoresearch.errors import SetupError, TaskError
from autoresearch.records import Experiment
from autoresearch.taskfile.load import parse, ruler
from autoresearch.testing import Patch

pytestmark = pytest.mark.usefixtures("no_sandbox")  # evaluations count outside their trees
MakeToy = Callable[..., Toy]
EVALUATE = """\
import pathlib
calls = pathlib.Path({calls!r})
with open(calls, "a") as file: file.write(".")
n = len(calls.read_text())
print("score:", float(pathlib.Path("knob.txt").read_text()) + {noise} * (n % 3) / 100)
print("load:", float(pathlib.Path("extra/load.txt").read_text()) + {spread} * (-1) ** n)
"""


@pytest.fixture
def guarded(make_toy: MakeToy, tmp_path: Path) -> Callable[..., Toy]:
    """Toys whose evaluation reports a load too: 10, now one `spread` more and now one less."""

    def make(bounds: str, *, noise: float = 1, spread: float = 1, check: bool = False) -> Toy:
        calls = tmp_path / "calls"
        calls.write_text("")
        evaluate = EVALUATE.format(calls=str(calls), noise=noise, spread=spread)
        task = TASK + f'[[guard]]\nname = "load"\n{bounds}\n'
        task += f"[[check]]\nname = 'seen'\ncommand = 'echo x >> {tmp_path}/checks'\n" if check else ""
        return make_toy({"evaluate.py": evaluate, "extra/load.txt": "10\n"}, task=task)

    return make


def tried(toy: Toy, load: float, knob: float = 5) -> Experiment:
    """The first experiment of a run: a large gain, with another load."""
    toy.run([Patch({"knob.txt": f"{knob}\n", "extra/load.txt": f"{load}\n"})], wish=Wish(seed=1))
    return toy.history().experiments[1]


def verdict(e: Experiment) -> tuple[str, int]:
    """Its reason, and in how many of its own runs."""
    assert e.verdict is not None
    return e.verdict.reason, sum(m.of == 1 for m in e.measurements)


@pytest.mark.parametrize("bound", ["max = 11.5", 'worse = "5%"\ndirection = "minimize"'])
def test_noisy_guard_that_is_held_lets_a_gain_be_kept(guarded: Callable[..., Toy], bound: str) -> None:
    e = tried(guarded(bound), 10)
    assert e.kept
    assert verdict(e)[1] > 1


@pytest.mark.parametrize("bound", ["max = 11.5", 'worse = "5%"\ndirection = "minimize"'])
def test_guard_far_beyond_its_noise_ends_an_experiment_after_one_run(guarded: Callable[..., Toy], bound: str) -> None:
    assert verdict(tried(guarded(bound), 20)) == ("guard", 1)


def test_first_run_within_the_noise_of_a_bound_is_measured_again_and_the_mean_decides(guarded: Callable[..., Toy]) -> None:
    e = tried(guarded("max = 11.5"), 12.6)
    reason, runs = verdict(e)
    assert reason == "guard"
    assert runs > 1
    assert e.verdict is not None
    assert e.verdict.words.endswith("above 11.5")
    assert e.value is not None


def test_loss_that_one_run_cannot_show_is_shown_by_the_mean_before_a_keep(guarded: Callable[..., Toy]) -> None:
    e = tried(guarded('worse = "5%"\ndirection = "minimize"', spread=-1, check=True), 13.5)  # the first run shows 12.5
    reason, runs = verdict(e)
    assert (reason, runs > 1) == ("guard", True)
    assert e.verdict is not None
    assert "worse than the baseline's 10.2, at most 5 % is allowed (its noise: ±" in e.verdict.words


def test_guard_is_relative_to_the_original_baseline_and_not_to_the_incumbent(guarded: Callable[..., Toy]) -> None:
    toy = guarded('worse = "20%"\ndirection = "minimize"', noise=0, spread=0)
    toy.run([Patch({"knob.txt": f"{9 - n}\n", "extra/load.txt": f"{11 + n}\n"}) for n in range(3)])
    history = toy.history()
    assert [e.verdict.reason for e in history.experiments[1:] if e.verdict] == ["better", "better", "guard"]
    words = history.experiments[3].verdict.words if history.experiments[3].verdict else ""
    assert words == "load is 13: 30 % worse than the baseline's 10, at most 20 % is allowed"


def test_exact_keep_is_looked_at_strictly_and_before_its_checks(guarded: Callable[..., Toy], tmp_path: Path) -> None:
    toy = guarded("max = 10", noise=0, spread=0, check=True)
    assert verdict(tried(toy, 10.01)) == ("guard", 1)
    assert (tmp_path / "checks").read_text() == "x\n"  # of the baseline


def test_baseline_is_held_to_a_bound_by_its_mean(guarded: Callable[..., Toy]) -> None:
    guarded("max = 10.5").run([])  # 9 and 11, three of them 9
    with pytest.raises(SetupError, match=r"the baseline itself breaks a guard: load is 9\.8 \(mean of 5\), above 9\.5"):
        guarded("max = 9.5").run([])


def found(toy: Toy, code: int = 0) -> dict[str, Any]:
    argv = [sys.executable, "-m", "autoresearch", "check", "--json"]
    done = subprocess.run(argv, cwd=toy.folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_check_says_where_a_guards_spread_is_larger_than_the_loss_it_allows(guarded: Callable[..., Toy]) -> None:
    warnings = found(guarded('worse = "1%"\ndirection = "minimize"'))["warnings"]
    assert any(w.startswith("guard load: worse = 1 %, but its own spread is 11 %") for w in warnings)
    warnings = found(guarded('worse = "30%"\ndirection = "minimize"'))["warnings"]
    assert not any(w.startswith("guard") for w in warnings)


def test_check_says_where_the_baseline_is_outside_in_its_mean(guarded: Callable[..., Toy]) -> None:
    problems = found(guarded("max = 9.5"), code=1)["problems"]
    assert problems == ["the baseline itself breaks a guard: load is 9.8 (mean of 5), above 9.5"]


# -- the task file --------------------------------------------------------------------------------------------------------


def mistake(bounds: str, name: str = "load") -> str:
    with pytest.raises(TaskError) as error:
        parse(TASK + f'[[guard]]\nname = "{name}"\n{bounds}\n')
    return str(error.value)


def test_mistakes_in_a_guard_are_named() -> None:
    assert "guard[0].name: guard 'load' has no bound, expected min, max or worse" in mistake("")
    assert "guard[0].name: guard 'load' has no bound" in mistake('direction = "minimize"')
    words = mistake("worse = 1")
    assert "guard[0].worse: nothing says which way 'load' is better" in words
    assert 'direction = "minimize" or direction = "maximize" beside it' in words
    assert "guard[0].worse: got -1, expected a number >= 0" in mistake('worse = -1\ndirection = "minimize"')
    assert "guard[0].direction: got 'up'" in mistake('worse = 1\ndirection = "up"')
    parse(TASK + '[[guard]]\nname = "peak_mb"\nworse = "2%"\n')


def test_ruler_has_every_bound_of_a_guard() -> None:
    new = ruler(parse(TASK + '[[guard]]\nname = "mb"\nworse = "2%"\ndirection = "minimize"\n'))[1]["guard"]
    assert '"worse": [0.0, 0.02]' in new
