"""`check` finds a task's checks that test something else than the candidate, and the command that tests it."""

from __future__ import annotations

import tomllib
import venv
from collections.abc import Callable

import pytest
from tests.checking import check
from tests.conftest import Toy

MakeToy = Callable[..., Toy]
PYTHON = ".venv/bin/python"
FILES = {
    "src/mypkg/__init__.py": "SCORE = 3.0\n",
    "evaluate.py": "import mypkg\nprint('score:', mypkg.SCORE)\n",
    "tests.py": "import mypkg\nassert mypkg.SCORE > 0\n",
    ".gitignore": ".venv/\n",
}
TASK = """\
[task]
editable = ["src/**"]

[evaluate]
command = "PYTHONPATH=src .venv/bin/python evaluate.py"
inputs = [".venv"]

[metric]
name = "score"

[[check]]
name = "style"
command = "grep -q SCORE src/mypkg/__init__.py"

[[check]]
name = "tests"
command = "{check}"  # ours
"""


def project(make_toy: MakeToy, check: str, installed: dict[str, str]) -> Toy:
    """A package in `src/` with checks, and an environment of its own in which something of it is installed."""
    toy = make_toy(FILES, task=TASK.format(check=check))
    venv.create(toy.folder / ".venv", with_pip=False, symlinks=True)
    site = next((toy.folder / ".venv").glob("lib/python*/site-packages"))
    for name, text in installed.items():
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text(text.format(checkout=toy.folder))
    toy.moved()
    return toy


@pytest.mark.parametrize(
    ("installed", "because"),
    [
        ({"mypkg/__init__.py": "SCORE = 3.0\n"}, "mypkg is installed as a copy in"),
        ({"__editable__.mypkg-1.pth": "{checkout}/src\n"}, "an editable install points into the checkout"),
    ],
)
def test_check_that_tests_installed_code_gets_the_trees_own(make_toy: MakeToy, installed: dict[str, str], because: str) -> None:
    toy = project(make_toy, f"{PYTHON} tests.py", installed)
    folder = toy.folder
    before = (folder / "autoresearch.toml").read_text()
    [line] = check(folder, code=1)["lines"]
    assert line["line"] == f'[[check]] tests: command = "PYTHONPATH=src {PYTHON} tests.py"'
    assert line["because"].startswith(because)
    assert (folder / "autoresearch.toml").read_text() == before
    fixed = check(folder, "--fix", code=0)
    assert (fixed["ready"], fixed["written"], [c["passed"] for c in fixed["checks"]]) == (True, True, [True, True])
    after = (folder / "autoresearch.toml").read_text()
    assert after == before.replace(f'"{PYTHON} tests.py"', f'"PYTHONPATH=src {PYTHON} tests.py"')
    assert [c["name"] for c in tomllib.loads(after)["check"]] == ["style", "tests"]
    toy.moved()


def test_check_that_no_broken_file_makes_fail_is_a_warning(make_toy: MakeToy) -> None:
    found = check(project(make_toy, "test -d src", {}).folder, code=0)
    assert [w for w in found["warnings"] if w.startswith("check tests passes with all editable files broken")]
    assert not [w for w in found["warnings"] if w.startswith("check style")]
    assert not found["lines"]


def test_check_that_tests_the_candidate_is_left_as_it_is(make_toy: MakeToy) -> None:
    copy = {"mypkg/__init__.py": "SCORE = 3.0\n"}
    found = check(project(make_toy, f"PYTHONPATH=src {PYTHON} tests.py", copy).folder, code=0)
    assert (found["lines"], [w for w in found["warnings"] if "check" in w]) == ([], [])


def test_check_that_fails_on_the_unchanged_code_names_its_log(make_toy: MakeToy) -> None:
    folder = project(make_toy, f"PYTHONPATH=src {PYTHON} -c 'print(1 / 0)'", {}).folder
    [problem] = check(folder, code=1)["problems"]
    assert "check tests fails on the unchanged code: exited with 1" in problem
    log = problem.rpartition("see ")[2]
    assert "ZeroDivisionError" in (folder / log).read_text()
