"""What `check` measures: noise and what the usual loop would make of it, guards and checks, what a new run takes over."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TASK, Toy

from autoresearch.choice import Wish
from autoresearch.session import Session

MakeToy = Callable[..., Toy]
OPEN = TASK.replace('command = "python evaluate.py"', 'command = "python evaluate.py"\nsandbox = "none"')
COUNTED = """\
import pathlib
calls = pathlib.Path({calls!r})
with open(calls, "a") as file: file.write(".")
n = len(calls.read_text())
print("score:", float(pathlib.Path("knob.txt").read_text()) + {noise})
"""


def check(folder: Path, *flags: str, code: int = 0) -> str:
    argv = [sys.executable, "-m", "autoresearch", "check", *flags]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def found(folder: Path, *flags: str, code: int = 0) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(check(folder, "--json", *flags, code=code))
    return answer


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """A file outside the project in which each evaluation leaves a mark."""
    path = tmp_path / "calls"
    path.write_text("")
    return path


def counted(calls: Path, noise: str = "0") -> str:
    return COUNTED.format(calls=str(calls), noise=noise)


# -- noise --------------------------------------------------------------------------------------------------------------


def test_exact_metric_takes_two_evaluations_a_broken_one_and_one_as_a_candidate(make_toy: MakeToy, calls: Path) -> None:
    toy = make_toy({"evaluate.py": counted(calls)}, task=OPEN)
    answer = found(toy.folder)
    assert (answer["exact"], answer["sd"], answer["detectable"], len(answer["values"])) == (True, 0.0, 0.0, 2)
    assert len(calls.read_text()) == 4


def test_noisy_metric_takes_three_more_and_says_what_can_be_seen(make_toy: MakeToy, calls: Path) -> None:
    toy = make_toy({"evaluate.py": counted(calls, "(n * 7 % 5) / 10")}, task=OPEN)
    answer = found(toy.folder)
    assert len(answer["values"]) == 5
    assert answer["detectable"] > 2 * answer["sd"] > 0
    assert answer["pace"]["repeated_night"] < answer["pace"]["single_night"]


def test_aa_tells_what_a_keep_if_better_loop_would_have_claimed(make_toy: MakeToy, calls: Path) -> None:
    toy = make_toy({"evaluate.py": counted(calls, "[0, .3, -.2, .1, -.4, .2, 9, 0][(n - 1) % 8]")}, task=OPEN)
    answer = found(toy.folder, "--aa", "8")
    assert answer["greedy"] == pytest.approx({"keeps": 2, "claimed": 0.4, "relative": 0.04})
    assert answer["outliers"] == [6]
    calls.write_text("")
    assert "would have kept 2 of these 8 evaluations of the unchanged code and claimed a gain of 0.4 (4 %)" in check(
        toy.folder, "--aa", "8"
    )


def test_drift_is_said_in_words(make_toy: MakeToy, calls: Path) -> None:
    toy = make_toy({"evaluate.py": counted(calls, "n / 10")}, task=OPEN)
    assert "it drifts: by +0.9 from the first evaluation to the last" in check(toy.folder, "--aa", "10")


def test_broken_text_does_not_pass_for_used_where_the_number_is_noise(make_toy: MakeToy, calls: Path) -> None:
    noisy = counted(calls, "0").replace('float(pathlib.Path("knob.txt").read_text())', "n / 100")
    toy = make_toy({"evaluate.py": noisy}, task=OPEN.replace('"knob.txt", "extra/**"', '"knob.txt"'))
    assert found(toy.folder)["editable"][0]["used"] is None


# -- the other conditions -----------------------------------------------------------------------------------------------

MORE = """
[[guard]]
name = "mb"
max = {bound}

[[check]]
name = "tests"
command = "python tests.py"
"""


def test_guards_and_checks_are_run_on_the_baseline(make_toy: MakeToy) -> None:
    files = {"evaluate.py": "print('score:', open('knob.txt').read())\nprint('mb: 9')\n", "tests.py": "open('knob.txt')\n"}
    good = found(make_toy(files, task=TASK + MORE.format(bound=10)).folder)
    assert good["guards"] == [{"name": "mb", "values": [9.0, 9.0], "broken": ""}]
    assert [c["passed"] for c in good["checks"]] == [True]
    bad = found(make_toy({**files, "tests.py": "1/0\n"}, task=TASK + MORE.format(bound=5)).folder, code=1)
    assert bad["problems"][0] == "the baseline itself breaks a guard: mb is 9, above 5"
    assert bad["problems"][1].startswith("check tests fails on the unchanged code: exited with 1")


def test_build_and_quick_test_are_tried_and_timed(make_toy: MakeToy) -> None:
    evaluate = '[evaluate]\nbuild = "cp knob.txt built.txt"\nquick = "test -f built.txt"\n'
    toy = make_toy({"evaluate.py": "print('score:', open('built.txt').read())\n"}, task=TASK.replace("[evaluate]\n", evaluate))
    answer = found(toy.folder)
    assert answer["quick"]["passed"]
    assert answer["build_s"] is not None


def test_few_knobs_with_few_values_would_do_with_a_sweep(make_toy: MakeToy) -> None:
    files = {"train.py": "A = 4\nON = True\nprint('score:', A + ON)\n"}
    task = TASK.replace('"knob.txt", "extra/**"', '"train.py"').replace("evaluate.py", "train.py")
    answer = found(make_toy(files, task=task).folder)
    assert answer["sweep"]["knobs"] == 2
    assert answer["sweep"]["combinations"] == 10
    assert answer["sweep"]["would_do"]
    assert answer["price"] == "knobs: free"


def test_what_is_not_committed_is_said(toy: Toy) -> None:
    (toy.folder / "evaluate.py").write_text("print('score: 3')\n")
    toy.moved()
    assert found(toy.folder)["notices"] == ["not committed, and so not measured: evaluate.py"]


def test_two_checks_at_a_time_are_refused(toy: Toy) -> None:
    from autoresearch.lock import OwnerLock

    toy.project.paths.make()
    with OwnerLock(toy.project.paths.run(".check").lock, ".check"):
        check(toy.folder, code=4)


# -- what a new run takes over ------------------------------------------------------------------------------------------


def noticed(toy: Toy, **wish: Any) -> list[str]:
    with Session(toy.project, Wish(**wish)) as session:
        return [words for words in session.notices if "`check`" in words]


def test_new_run_takes_the_measurements_over(make_toy: MakeToy, calls: Path) -> None:
    toy = make_toy({"evaluate.py": counted(calls)}, task=OPEN)
    check(toy.folder)
    calls.write_text("")
    toy.run([], run="one")
    assert calls.read_text() == ""
    history = toy.history("one")
    assert [m.values for m in history.experiments[0].own] == [{"score": 10.0}, {"score": 10.0}]
    (words,) = noticed(toy, name="two", new=True)
    assert words.startswith("baseline: 2 evaluations of `check`, ")
    assert words.endswith(" ago")


def test_noisy_baseline_is_taken_over_whole(make_toy: MakeToy, calls: Path) -> None:
    toy = make_toy({"evaluate.py": counted(calls, "(n * 7 % 5) / 10")}, task=OPEN)
    values = found(toy.folder)["values"]
    calls.write_text("")
    toy.run([], run="one")
    assert [m.values["score"] for m in toy.history("one").experiments[0].own] == values


@pytest.mark.parametrize("change", ["seed", "ruler", "base", "age", "input"])
def test_measurements_of_something_else_are_not_taken_over(make_toy: MakeToy, change: str) -> None:
    toy = make_toy({".gitignore": "data\n"}, task=TASK.replace("[metric]", 'inputs = ["data"]\nseed_env = "SEED"\n\n[metric]'))
    toy.write({"data": "1\n"})
    toy.moved()
    check(toy.folder)
    wish: dict[str, Any] = {}
    match change:
        case "seed":
            wish["seed"] = 7
        case "ruler":
            toy.write({"autoresearch.toml": (toy.folder / "autoresearch.toml").read_text() + "min_effect = 1\n"})
            toy.moved()
        case "base":
            toy.write({"knob.txt": "11\n"})
            toy.commit()
        case "input":
            toy.write({"data": "2 and more\n"})
            toy.moved()
        case "age":
            path = toy.project.paths.measured
            body = json.loads(path.read_text())
            path.write_text(json.dumps({**body, "at": time.time() - 2.1 * 3600}))
    assert noticed(toy, **wish) == []


def test_check_that_is_not_ready_leaves_nothing_to_take_over(make_toy: MakeToy) -> None:
    toy = make_toy()
    check(toy.folder)
    assert toy.project.paths.measured.exists()
    toy.write({"evaluate.py": "print('score: 1')\n"})
    toy.commit()
    check(toy.folder, code=1)
    assert not toy.project.paths.measured.exists()
