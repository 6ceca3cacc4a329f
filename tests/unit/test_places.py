"""Names of entered trees, and how far a file is from another."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.paths import ProjectPaths, TreePaths
from autoresearch.project import Project
from autoresearch.workspace.snapshot import lines_apart


def test_an_entered_tree_is_known_by_its_place_alone(tmp_path: Path) -> None:
    paths = ProjectPaths(tmp_path / "pro ject").run("nov21")
    inside = paths.trees / "3" / "tree" / "sub" / "folder"
    found = TreePaths.around(inside)
    assert found is not None
    assert (found.root, found.run, found.project) == (paths.trees / "3" / "tree", "nov21", tmp_path / "pro ject")
    assert Project.find(inside).folder == tmp_path / "pro ject"


@pytest.mark.parametrize(
    "folder", ["/", "/trees/3/tree", "/a/trees/3/tree", "/a/.autoresearch/x/trees/3", "/a/.autoresearch/tree"]
)
def test_other_folders_are_no_entered_trees(folder: str) -> None:
    assert TreePaths.around(Path(folder)) is None


def test_a_project_in_an_entered_tree_is_the_one_that_it_was_made_for(tmp_path: Path) -> None:
    inside = tmp_path / ".autoresearch" / "one" / "trees" / "1" / "tree"
    inside.mkdir(parents=True)
    (inside / "autoresearch.toml").write_text("")
    assert Project.find(inside).folder == tmp_path


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        (b"", b"", 0),
        (b"a\nb\n", b"a\nb\n", 0),
        (b"a\nb\n", b"b\na\n", 0),  # in another order
        (b"a\n", b"a", 0),
        (b"10\n", b"9\n", 2),
        (b"a\na\n", b"a\n", 1),
        (b"", b"a\n\n", 2),
        (b"\0\xff", b"\0\xfe", 2),
    ],
)
def test_files_are_as_far_apart_as_lines_that_only_one_of_them_has(one: bytes, other: bytes, apart: int) -> None:
    assert lines_apart(one, other) == lines_apart(other, one) == apart
