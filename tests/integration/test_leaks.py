"""`check` on tasks with a gate and a held-out set: their commands work, and what is private is nowhere else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Toy

MakeToy = Callable[..., Toy]

ROWS = "".join(f"row {i}, a measurement of {i * i} units\n" for i in range(8))
SCORE = """\
import pathlib, sys
rows = pathlib.Path(sys.argv[1]).expanduser().read_text() if len(sys.argv) > 1 else ""
print("rows:", len(rows.splitlines()))
if "broken" in sys.argv:
    sys.exit("the gate's own words")
print("score:", float(pathlib.Path("knob.txt").read_text()))
"""
TASK = """\
[task]
editable = ["knob.txt"]

[evaluate]
command = "python score.py"

[metric]
name = "score"
"""


def check(folder: Path, code: int) -> dict[str, Any]:
    argv = [sys.executable, "-m", "autoresearch", "check", "--json"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "outside" / "labels.csv"
    path.parent.mkdir()
    path.write_text(ROWS)
    return path


@pytest.fixture
def gated(make_toy: MakeToy, labels: Path) -> Callable[..., Toy]:
    def make(more: str = "", *, flags: str = "", **files: str) -> Toy:
        gate = f'\n[gate]\ncommand = "python score.py {labels}{flags}"\nprivate = ["{labels}"]\n'
        return make_toy({"score.py": SCORE, **files}, task=TASK.replace("[metric]", f"{more}\n[metric]") + gate)

    return make


def test_commands_of_the_sets_are_tried(gated: Callable[..., Toy]) -> None:
    answer = check(gated().folder, 0)
    assert [(s["name"], s["passed"]) for s in answer["sets"]] == [("gate", True)]
    assert answer["problems"] == []


def test_gate_that_fails_is_a_problem_with_the_last_lines_for_the_owner(gated: Callable[..., Toy]) -> None:
    toy = gated(flags=" broken")
    (problem,) = check(toy.folder, 1)["problems"]
    assert problem.startswith("[gate] command fails on the unchanged code: exited with 1")
    assert "the gate's own words" in problem
    logs = [p.read_text(errors="replace") for p in (toy.folder / ".autoresearch").rglob("*.log")]
    assert logs
    assert not any("rows: 8" in text for text in logs)


@pytest.mark.parametrize(
    ("name", "content", "how"),
    [
        ("copy.csv", ROWS, "the same content"),
        ("larger.txt", f"before\n{ROWS}after\n", "8 of its 8 longer lines"),
        (
            "half.py",
            "rows = '''\n" + "\n".join(f"    {row}  " for row in ROWS.splitlines()[:4]) + "\n'''\n",
            "4 of its 8 longer lines",
        ),
        ("joined.txt", "x = [" + ROWS + "]\n", "7 of its 8 longer lines"),
    ],
)
def test_private_content_in_a_tracked_file_is_a_problem_that_names_both(
    gated: Callable[..., Toy], labels: Path, name: str, content: str, how: str
) -> None:
    (problem,) = check(gated(**{name: content}).folder, 1)["problems"]
    assert problem == f"{labels} is private, and {name} (tracked) holds {how}"


def test_private_content_in_inputs_copies_and_instructions_is_found(gated: Callable[..., Toy], tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "kept.csv").write_text(ROWS)
    toy = gated(f'inputs = ["{tmp_path}/tools", "data.tmp"]\ncopy = ["copied.tmp"]', **{"program.md": f"Rows:\n{ROWS}"})
    for name in ("data.tmp", "copied.tmp"):
        (toy.folder / name).mkdir()
        (toy.folder / name / "rows.csv").write_text(ROWS)
    toy.moved()
    problems = "\n".join(check(toy.folder, 1)["problems"])
    for where in (f"{tmp_path}/tools/kept.csv ([evaluate] inputs)", "data.tmp/rows.csv ([evaluate] inputs)"):
        assert where in problems
    assert "copied.tmp/rows.csv ([evaluate] copy)" in problems
    assert "program.md (tracked)" in problems


def test_less_than_half_of_the_lines_and_short_ones_are_no_leak(gated: Callable[..., Toy]) -> None:
    few = "".join(ROWS.splitlines(keepends=True)[:3])
    assert check(gated(**{"few.txt": few, "short.txt": "row\n" * 100}).folder, 0)["problems"] == []


def test_private_file_of_the_repository_is_warned_of(make_toy: MakeToy) -> None:
    task = TASK + '\n[held_out]\ncommand = "python score.py data/held.csv"\nprivate = ["data/*.csv"]\n'
    answer = check(make_toy({"score.py": SCORE, "data/held.csv": ROWS}, task=task).folder, 0)
    assert [w for w in answer["warnings"] if "history" in w] == [
        "data/held.csv: the git history of your checkout holds what is private; a path outside the repository is safer"
    ]
    assert [(s["name"], s["passed"]) for s in answer["sets"]] == [("held_out", True)]


def test_file_that_is_too_large_is_said_not_to_be_looked_at(gated: Callable[..., Toy], tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    with open(large, "wb") as file:
        file.truncate(51 * 10**6)
    warnings = check(gated(f'inputs = ["{large}"]').folder, 0)["warnings"]
    assert f"{large} is larger than 50 MB: not looked at" in warnings
