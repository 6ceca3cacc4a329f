"""The commands that undo a change in a checkout do so in a real repository, and touch nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from autoresearch.driving import undo


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("a.py", "a*.py", "-x.py", ":y.py", "b c.py", "[a].py", "other.py"):
        (tmp_path / name).write_text("old\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "-c", "user.name=n", "-c", "user.email=e@e", "commit", "-q", "-m", "first")
    return tmp_path


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True, timeout=30).stdout


def run(folder: Path, commands: tuple[str, ...]) -> None:
    for command in commands:
        subprocess.run(["bash", "-c", command], cwd=folder, check=True, capture_output=True, timeout=30)


@pytest.mark.parametrize("name", ["a.py", "a*.py", "-x.py", ":y.py", "b c.py", "[a].py"])
def test_a_change_of_one_file_is_undone_and_no_other(checkout: Path, name: str) -> None:
    for path in checkout.glob("*.py"):
        path.write_text("mine\n")
    run(checkout, undo.commands((name,), ()))
    assert [path.name for path in checkout.glob("*.py") if path.read_text() == "old\n"] == [name]


def test_new_files_go_and_deleted_ones_come_back(checkout: Path) -> None:
    (checkout / "-new 1.py").write_text("new\n")
    (checkout / "a.py").unlink()
    run(checkout, undo.commands(("-new 1.py", "a.py"), ("-new 1.py",)))
    assert git(checkout, "status", "--porcelain") == ""


def test_a_staged_change_is_undone_from_the_revision_that_is_named(checkout: Path) -> None:
    (checkout / "a.py").write_text("mine\n")
    git(checkout, "add", "-A")
    run(checkout, undo.commands(("a.py",), (), "HEAD"))
    assert (checkout / "a.py").read_text() == "old\n"
