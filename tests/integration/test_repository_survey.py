"""Repositories that a run refuses, each with its remedy: the remedy is followed, and the run starts."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import EVALUATE, TASK, Toy, git

from autoresearch.choice import Wish
from autoresearch.errors import AutoresearchError, RepositoryError
from autoresearch.project import Project
from autoresearch.testing import Patch

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PATCHES = [Patch({"knob.txt": "9\n"})]


def refused(toy: Toy, match: str) -> None:
    with pytest.raises(RepositoryError, match=match):
        toy.run(PATCHES, run="one")


def accepted(toy: Toy) -> None:
    toy.moved()
    toy.run(PATCHES, wish=Wish(name="one"))
    assert toy.history().line == [0, 1]
    toy.check_untouched()


def plain(folder: Path) -> Toy:
    """A project's files without a repository."""
    folder.mkdir()
    toy = Toy(folder)
    toy.write({"knob.txt": "10\n", "evaluate.py": EVALUATE, "autoresearch.toml": TASK})
    return toy


def test_no_commit_is_refused_until_there_is_one(tmp_path: Path) -> None:
    toy = plain(tmp_path / "user")
    git(toy.folder, "init", "-q", "-b", "main")
    refused(toy, "has no commit yet: `git add` your files and `git commit` them first")
    toy.commit()
    accepted(toy)


def test_unborn_branch_beside_others_is_refused_too(toy: Toy) -> None:
    toy.git("checkout", "-q", "--orphan", "fresh")
    with pytest.raises(AutoresearchError):
        toy.run(PATCHES, run="one")
    toy.git("checkout", "-q", "main")
    accepted(toy)


def test_repository_inside_the_repository_is_refused_until_its_files_are_committed(
    make_toy: Callable[..., Toy], tmp_path: Path
) -> None:
    toy = make_toy()
    (toy.folder / "vendor").mkdir()
    library = plain(toy.folder / "vendor/lib")
    git(library.folder, "init", "-q")
    library.commit()
    toy.git("-c", "advice.addEmbeddedRepo=false", "add", "vendor/lib")
    toy.commit()
    refused(toy, r"vendor/lib is a repository inside the repository.*git rm --cached, then git add")
    toy.git("rm", "-q", "--cached", "vendor/lib")
    shutil.rmtree(toy.folder / "vendor/lib/.git")
    toy.commit()
    accepted(toy)


def test_lfs_pointer_in_the_scope_is_refused_and_elsewhere_is_not(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy({"data/big.bin": LFS, "extra/model.bin": LFS})
    refused(toy, r"extra/model.bin is editable and stored as a Git LFS pointer.*git lfs untrack extra/model.bin")
    toy.write({"extra/model.bin": b"\0\1\2"})
    toy.commit()
    accepted(toy)


def test_sparse_checkout_is_refused_until_it_is_disabled(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy({"a/x": "x", "b/y": "y"})
    toy.git("sparse-checkout", "set", "a")
    toy.moved()
    refused(toy, "git sparse-checkout disable")
    toy.git("sparse-checkout", "disable")
    accepted(toy)


def test_sparse_linked_work_tree_is_refused_too(make_toy: Callable[..., Toy], tmp_path: Path) -> None:
    """Its settings lie beside its own index, not in the shared configuration."""
    main = make_toy({"a/x": "x", "b/y": "y"})
    main.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "linked"))
    linked = Toy(tmp_path / "linked")
    linked.git("sparse-checkout", "set", "a")
    main.moved()
    refused(linked, "git sparse-checkout disable")


def test_partial_clone_is_refused_until_everything_was_fetched(make_toy: Callable[..., Toy], tmp_path: Path) -> None:
    origin = make_toy()
    origin.git("config", "uploadpack.allowFilter", "true")
    origin.moved()
    url = f"file://{origin.folder}"
    subprocess.run(["git", "clone", "-q", "--filter=blob:none", url, str(tmp_path / "clone")], check=True)
    clone = Toy(tmp_path / "clone")
    clone.git("config", "gc.auto", "0")
    clone.moved()
    with pytest.raises(RepositoryError, match="is a partial clone") as error:
        clone.run(PATCHES, run="one")
    assert "git fetch --refetch --no-filter" in str(error.value)
    for command in str(error.value).split("`")[1::2]:
        clone.git(*command.removeprefix("git ").split())
    accepted(clone)


def test_bare_repository_is_refused(make_toy: Callable[..., Toy], tmp_path: Path) -> None:
    toy = make_toy()
    bare = tmp_path / "bare.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(toy.folder), str(bare)], check=True)
    Toy(bare).write({"autoresearch.toml": TASK, "knob.txt": "10\n"})
    with pytest.raises(RepositoryError, match="lies in a bare repository: clone it and run in the clone"):
        Toy(bare).run(PATCHES, run="one")


@pytest.mark.parametrize("version", ["git version 2.33.8", "git version 1.8.3.1", "git version 2.25.1 (Apple Git-128)"])
def test_git_too_old_is_refused(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{version}'\n")
    program.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(program.parent))
        refused(toy, r"is too old: autoresearch needs git 2\.34 or later")


def test_no_git_is_refused(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(tmp_path))
        refused(toy, r"git was not found: install git 2\.34 or later")


def test_no_repository_is_refused_where_nobody_can_be_asked_and_nothing_is_made(tmp_path: Path) -> None:
    toy = plain(tmp_path / "user")
    refused(toy, "is no git repository: run `git init`, add and commit your files")
    assert sorted(p.name for p in toy.folder.iterdir()) == ["autoresearch.toml", "evaluate.py", "knob.txt"]


def test_no_repository_becomes_one_if_that_is_confirmed(tmp_path: Path) -> None:
    toy = plain(tmp_path / "user")
    asked: list[str] = []

    def yes(question: str) -> bool:
        asked.append(question)
        return True

    toy.run(PATCHES, wish=Wish(name="one", confirm=yes))
    assert len(asked) == 1
    assert "Make one of it" in asked[0]
    assert toy.git("log", "--format=%s").split() == ["start"]
    assert toy.git("ls-files").split() == ["autoresearch.toml", "evaluate.py", "knob.txt"]
    assert toy.git("status", "--porcelain") == ""
    assert toy.history().line == [0, 1]


def test_no_repository_stays_none_if_that_is_refused(tmp_path: Path) -> None:
    toy = plain(tmp_path / "user")
    with pytest.raises(RepositoryError, match="is no git repository"):
        toy.run(PATCHES, wish=Wish(confirm=lambda question: False))
    assert not (toy.folder / ".git").exists()


def test_input_that_git_tracks_is_refused(make_toy: Callable[..., Toy]) -> None:
    for inputs in ("data", "data/a.txt"):
        task = TASK.replace("[metric]", f'inputs = ["{inputs}"]\n\n[metric]')
        toy = make_toy({"data/a.txt": "a"}, task=task)
        refused(toy, f"inputs names {inputs}, which git tracks")


def test_location_names_top_git_folder_and_prefix(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(inside="a/ö b")
    found = Project(toy.folder).location(None)
    top = toy.folder.parents[1]
    assert (found.top, found.git_dir, found.prefix) == (top, top / ".git", "a/ö b/")
