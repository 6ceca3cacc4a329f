"""Globs of the editable scope."""

from __future__ import annotations

import warnings

import pytest

from autoresearch.taskfile import Scope
from autoresearch.taskfile.scope import is_pattern, matches


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("train.py", ["train.py"], ["src/train.py", "train.pyc", "train_py", "Train.py"]),
        ("./train.py", ["train.py"], ["./train.py"]),
        ("*.py", ["a.py", ".py"], ["src/a.py", "a.pyx", "a.py\n"]),
        ("src/*", ["src/a", "src/.hidden"], ["src/a/b", "src", "srcs/a"]),
        ("src/", ["src/a", "src/a/b"], ["src", "srcs/a"]),
        ("src/**", ["src/a", "src/a/b.c"], ["src", "other/src/a"]),
        ("**/*.py", ["a.py", "x/a.py", "x/y/a.py"], ["a.txt"]),
        ("**", ["a", "a/b/c", "with space/ü"], []),
        ("a?c", ["abc", "a-c"], ["ac", "a/c", "abbc"]),
        ("v[0-9].txt", ["v1.txt"], ["va.txt", "v10.txt"]),
        ("v[!0-9].txt", ["va.txt"], ["v1.txt"]),
        ("[[]x[]]", ["[x]"], ["x"]),
        ("a[&&]b", ["a&b"], ["ab"]),
        ("a+(b).{c}", ["a+(b).{c}"], ["aab.c"]),
        ("with space/ü*", ["with space/ünder"], ["with space/under"]),
        ("new\nline*", ["new\nline", "new\nline2"], ["new"]),
        ("[open", ["[open"], ["o"]),
    ],
)
def test_glob_matches_what_it_says(glob: str, yes: list[str], no: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [path for path in yes if not matches(path, glob)] == []
        assert [path for path in no if matches(path, glob)] == []


def test_frozen_is_taken_out_of_editable() -> None:
    scope = Scope(("src/**", "train.py"), ("src/data/**", "src/fixed.py"))
    assert "src/a.py" in scope
    assert "src/deep/a.py" in scope
    assert "train.py" in scope
    assert "src/data/x" not in scope
    assert "src/fixed.py" not in scope
    assert "other.py" not in scope


def test_own_files_of_the_task_and_of_the_tools_are_never_editable() -> None:
    scope = Scope(("**",), own=("autoresearch.toml", "program.md"))
    assert "sub/program.md" in scope
    for path in ("autoresearch.toml", "program.md", ".git/config", ".autoresearch/ledger.db"):
        assert path not in scope


def test_what_is_no_path_is_in_no_scope() -> None:
    assert 3 not in Scope(("**",))


def test_literals_are_the_globs_that_name_one_file() -> None:
    assert Scope(("./a.py", "b/*.py", "c/", "d e.txt")).literals == ("a.py", "d e.txt")
    assert [is_pattern(g) for g in ("a.py", "a*", "a?", "[a]", "a/")] == [False, True, True, True, False]
