"""What was changed in a user's checkout, against which kept experiment; nothing there is touched."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch.choice import Wish
from autoresearch.driving import places
from autoresearch.driving.places import Snapshot
from autoresearch.errors import SetupError
from autoresearch.records import Blob
from autoresearch.taskfile import load
from autoresearch.testing import Patch

from ..conftest import TASK, Toy, git

AWKWARD = ["extra/a b 'q\"ö\n\t$x.txt", "extra/-n", "extra/\udcff.bin", "extra/[x]*"]


def shot(toy: Toy, folder: Path | None = None, run: str | None = None) -> Snapshot:
    """A snapshot, with a look that nothing was touched by it."""
    place = places.find(folder or toy.folder)
    toy.moved()
    found = places.snapshot(place, load(place.project.folder), toy.history(run))
    toy.check_untouched()
    return found


def measured(toy: Toy, *patches: Patch) -> Toy:
    toy.run(patches, wish=Wish(name="one", start="HEAD", experiments=len(patches)))
    return toy


def knob(value: int, **others: str) -> Patch:
    return Patch({"knob.txt": f"{value}\n", **others})


# -- which folder ----------------------------------------------------------------------------------------------------------


def test_checkout_is_found_from_any_subfolder(make_toy: Callable[..., Toy], awkward: Path) -> None:
    toy = make_toy({"extra/deep/x": "x"}, folder=awkward)
    found = places.find(toy.folder / "extra" / "deep")
    assert (found.folder, found.run, found.tree) == (toy.folder, None, None)


def test_a_folder_without_a_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no autoresearch.toml in .* or above it"):
        places.find(tmp_path)


# -- what was changed ------------------------------------------------------------------------------------------------------


def test_every_kind_of_change_in_scope_counts(make_toy: Callable[..., Toy]) -> None:
    toy = measured(make_toy({"extra/gone": "1", "extra/mode": "1", "extra/link": "1", "extra/folder/x": "1"}))
    for name in AWKWARD:
        toy.write({name: b"\xff\r\n"})
    toy.write({"knob.txt": "8\n", "extra/log.tmp": "ignored", "extra/__pycache__/x.pyc": "", "notes.md": "not in scope"})
    (toy.folder / "extra/gone").unlink()
    (toy.folder / "extra/mode").chmod(0o755)
    (toy.folder / "extra/link").unlink()
    (toy.folder / "extra/link").symlink_to("no/where")
    (toy.folder / "extra/folder/x").unlink()
    (toy.folder / "extra/folder").rmdir()
    toy.write({"extra/folder": "a file now"})
    found = shot(toy)
    assert found.parent == 0
    assert found.edits == {
        **dict.fromkeys(AWKWARD, Blob(b"\xff\r\n")),
        "knob.txt": Blob(b"8\n"),
        "extra/gone": None,
        "extra/mode": Blob(b"1", "100755"),
        "extra/link": Blob(b"no/where", "120000"),
        "extra/folder": Blob(b"a file now"),
        "extra/folder/x": None,
    }
    assert sorted(found.new) == sorted([*AWKWARD, "extra/folder"])
    assert (sorted(found.paths), found.source, found.notes) == (sorted(found.edits), "", ())


def test_an_untouched_checkout_has_no_edits(toy: Toy) -> None:
    toy.write({"program.md": "new words", "notes.txt": "x"})
    toy.write({"autoresearch.toml": TASK + "[budget]\nexperiments = 3\n"})
    assert shot(measured(toy)) == Snapshot(0, {})


def test_before_the_baseline_it_is_a_change_of_the_base(toy: Toy) -> None:
    class Killed(Exception):
        pass

    def kill(what: str, details: object) -> None:
        if what == "began" or toy.events:
            raise Killed

    with pytest.raises(Killed):
        toy.run([], wish=Wish(name="one"), watch=kill)
    assert toy.history().line == []
    toy.write({"knob.txt": "8\n"})
    found = shot(toy)
    assert (found.parent, found.edits) == (0, {"knob.txt": Blob(b"8\n")})


def test_staged_changes_count_as_the_files_are_and_say_how_they_are_undone(toy: Toy) -> None:
    measured(toy).write({"knob.txt": "8\n", "extra/new": "x"})
    toy.git("add", "-A")
    toy.write({"knob.txt": "7\n"})
    found = shot(toy)
    assert found.edits == {"knob.txt": Blob(b"7\n"), "extra/new": Blob(b"x")}
    assert (found.new, found.source) == (("extra/new",), "HEAD")
    toy.git("restore", f"--source={found.source}", "knob.txt")
    assert (toy.folder / "knob.txt").read_text() == "10\n"
    toy.moved()


def test_committed_changes_in_scope_count(toy: Toy) -> None:
    measured(toy).write({"knob.txt": "8\n", "extra/new": "x", "notes.md": "not in scope"})
    toy.commit()
    found = shot(toy)
    assert found.edits == {"knob.txt": Blob(b"8\n"), "extra/new": Blob(b"x")}
    assert (found.new, found.source) == (("extra/new",), "autoresearch/one/base")
    assert found.notes == ("left out of the candidate (new, not in the editable scope): notes.md",)
    toy.git("restore", f"--source={found.source}", "knob.txt")
    assert (toy.folder / "knob.txt").read_text() == "10\n"
    (toy.folder / "extra/new").unlink()
    assert shot(toy).edits == {}


def test_files_of_a_user_who_went_on_by_himself_are_read_from_a_linked_work_tree(toy: Toy, tmp_path: Path) -> None:
    measured(toy, knob(9))
    other = tmp_path / "other tree"
    toy.git("worktree", "add", "-q", str(other), "-b", "aside")
    (other / "knob.txt").write_text("8\n")
    (other / ".autoresearch").symlink_to(toy.folder / ".autoresearch")
    place = places.find(other)
    found = places.snapshot(place, load(other), toy.history())
    assert (found.parent, found.edits) == (1, {"knob.txt": Blob(b"8\n")})
    toy.moved()


# -- against which experiment ----------------------------------------------------------------------------------------------


def test_the_nearest_kept_experiment_is_the_parent(toy: Toy) -> None:
    text = "".join(f"line {i}\n" for i in range(40))
    toy.write({"extra/model.py": text})
    toy.commit()
    other = text.replace("line 3\n", "LINE 3\n")
    measured(toy, knob(9), Patch({"knob.txt": "8\n", "extra/model.py": other}), knob(7))
    assert shot(toy) == Snapshot(0, {}, source="")
    toy.write({"extra/another.py": "x"})  # a user who is still at the base
    assert (shot(toy).parent, shot(toy).edits) == (0, {"extra/another.py": Blob(b"x")})
    (toy.folder / "extra/another.py").unlink()
    toy.write({"knob.txt": "6\n"})  # nearer to base and first keep than to those with another model; the newest of both
    found = shot(toy)
    assert (found.parent, found.edits, found.source) == (1, {"knob.txt": Blob(b"6\n")}, "autoresearch/one/1")
    toy.write({"extra/model.py": other.replace("line 30", "LINE 30")})
    found = shot(toy)
    assert (found.parent, sorted(found.edits)) == (3, ["extra/model.py", "knob.txt"])
    toy.write({"knob.txt": "8\n"})
    found = shot(toy)
    assert (found.parent, list(found.edits), found.source) == (2, ["extra/model.py"], "autoresearch/one/2")
    toy.git("restore", f"--source={found.source}", *found.paths)
    assert shot(toy).edits == {}


def test_discarded_and_rolled_back_experiments_are_nobodys_parent(toy: Toy) -> None:
    measured(toy, knob(12), knob(9))
    toy.write({"knob.txt": "12\n"})
    assert (shot(toy).parent, shot(toy).edits) == (2, {"knob.txt": Blob(b"12\n")})


def test_hundreds_of_keeps_and_thousands_of_files_are_quick(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy({f"data/{i // 100}/{i}.txt": str(i) for i in range(5000)} | {"extra/model.py": "x = 1\n" * 300})
    measured(toy)
    toy.write({"knob.txt": "8\n"})
    history = toy.history()
    tree = toy.git("rev-parse", "HEAD^{tree}").strip()
    assert history.experiments[0].tree == tree
    from dataclasses import replace

    from autoresearch.git import Repository

    repository = Repository(toy.folder / ".git", toy.folder / ".autoresearch" / "scratch")
    for n in range(1, 301):
        body = "x = 1\n" * 300 + f"y = {n}\n" * (n % 7) + f"z = {n}\n"
        tree = repository.edit_tree(tree, {"extra/model.py": ("100644", repository.write("blob", body.encode()))})
        history.experiments.append(replace(history.experiments[0], n=n, tree=tree))
        history.line.append(n)
    toy.write({"extra/model.py": body.replace("x = 1", "x = 2", 1)})
    repository.close()
    place, task = places.find(toy.folder), load(toy.folder)
    toy.git("status")
    started = time.monotonic()
    subprocess.run(["git", "--no-optional-locks", "status", "--porcelain", "-uall"], cwd=toy.folder, check=True)
    status_s = time.monotonic() - started
    started = time.monotonic()
    found = places.snapshot(place, task, history)
    took_s = time.monotonic() - started
    assert (found.parent, sorted(found.edits)) == (300, ["extra/model.py", "knob.txt"])
    print(f"snapshot {took_s:.3f} s, of which git status {status_s:.3f} s")
    assert took_s < status_s + 0.5
    toy.moved()


# -- what is frozen --------------------------------------------------------------------------------------------------------


def test_a_frozen_file_that_was_changed_is_among_the_edits_for_the_owner_to_refuse(make_toy: Callable[..., Toy]) -> None:
    toy = measured(make_toy({"lib/a.py": "1"}))
    toy.write({"evaluate.py": "print('score: 0')"})
    (toy.folder / "lib/a.py").unlink()
    assert shot(toy).edits == {"evaluate.py": Blob(b"print('score: 0')"), "lib/a.py": None}


def test_a_frozen_file_that_a_commit_changed_needs_a_new_run(toy: Toy) -> None:
    measured(toy).write({"evaluate.py": "print('score: 0')"})
    toy.commit()
    with pytest.raises(SetupError) as error:
        shot(toy)
    assert "evaluate.py: frozen, and HEAD of" in str(error.value)
    assert "autoresearch try --new, or autoresearch run --new" in str(error.value)
    toy.git("restore", *str(error.value).rpartition("git restore ")[2].split())
    assert shot(toy).edits == {}


def test_a_frozen_file_changed_by_a_commit_and_again_since_is_refused_by_the_owner(toy: Toy) -> None:
    measured(toy).write({"evaluate.py": "print('score: 0')"})
    toy.commit()
    toy.write({"evaluate.py": "print('score: -1')"})
    assert shot(toy).edits == {"evaluate.py": Blob(b"print('score: -1')")}


# -- where a project lies --------------------------------------------------------------------------------------------------


def test_a_project_below_the_top_sees_changes_beside_it(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(inside="sub folder/project")
    top = toy.folder.parents[1]
    (top / "lib.py").write_text("1")
    git(top, "add", "-A")
    toy.commit()
    measured(toy)
    (top / "untracked.py").write_text("not looked at")
    toy.write({"knob.txt": "8\n"})
    assert shot(toy).edits == {"knob.txt": Blob(b"8\n")}
    (top / "lib.py").write_text("2")
    assert shot(toy, toy.folder / "extra" if (toy.folder / "extra").is_dir() else None).edits == {
        "knob.txt": Blob(b"8\n"),
        "../../lib.py": Blob(b"2"),
    }


def test_what_a_sparse_task_does_not_show_does_not_matter(make_toy: Callable[..., Toy]) -> None:
    task = TASK.replace('name = "toy"', 'name = "toy"\npaths = ["lib"]')
    toy = measured(make_toy({"lib/a.py": "1", "other/b.py": "1", "another/c.py": "1"}, task=task))
    toy.write({"other/b.py": "2", "knob.txt": "8\n"})
    (toy.folder / "another/c.py").unlink()
    toy.git("commit", "-q", "-am", "elsewhere")
    toy.write({"other/b.py": "3"})
    assert shot(toy).edits == {"knob.txt": Blob(b"8\n")}
    toy.write({"lib/a.py": "2"})
    assert sorted(shot(toy).edits) == ["knob.txt", "lib/a.py"]


def test_new_files_below_inputs_are_nobodys_change(make_toy: Callable[..., Toy]) -> None:
    task = TASK.replace('"extra/**"', '"**"').replace("[metric]", 'inputs = ["data"]\n\n[metric]')
    toy = make_toy({".gitignore": "", "tools/x.py": "1"}, task=task)
    toy.write({"data/big.bin": "0" * 100})
    toy.moved()
    measured(toy)
    toy.write({"data/more.bin": "1", "new.py": "1"})
    assert list(shot(toy).edits) == ["new.py"]


def test_sha256_repositories_are_read(tmp_path: Path, make_toy: Callable[..., Toy]) -> None:
    folder = tmp_path / "sha256"
    folder.mkdir()
    git(folder, "init", "-q", "--object-format=sha256")
    toy = measured(make_toy(folder=folder), knob(9))
    toy.write({"knob.txt": "9\n"})
    assert (shot(toy).parent, shot(toy).edits) == (1, {})
    toy.write({"knob.txt": "8\n"})
    assert shot(toy).edits == {"knob.txt": Blob(b"8\n")}


def test_a_submodule_that_was_moved_is_left_out_and_noted(make_toy: Callable[..., Toy], tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "-q", "-b", "main")
    (library / "x.py").write_text("1")
    git(library, "add", "-A")
    git(library, "commit", "-q", "-m", "one")
    toy = make_toy()
    toy.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib ö")
    toy.commit()
    measured(toy)
    toy.write({"knob.txt": "8\n", "lib ö/x.py": "2"})
    found = shot(toy)
    assert found.edits == {"knob.txt": Blob(b"8\n")}
    assert found.notes == ("left out of the candidate: lib ö, a submodule that is not at its pinned commit",)


@pytest.mark.parametrize(("autocrlf", "attributes"), [("true", ""), ("input", ""), ("", "*.txt text eol=crlf\n")])
def test_line_ends_of_the_checkout_are_no_change(make_toy: Callable[..., Toy], autocrlf: str, attributes: str) -> None:
    toy = make_toy({"extra/lf.txt": "a\nb\n", ".gitattributes": attributes})
    toy.git("config", "core.autocrlf", autocrlf or "false")
    measured(toy)
    toy.write({"extra/lf.txt": b"a\r\nb\r\nc\r\n"})
    assert shot(toy).edits == {"extra/lf.txt": Blob(b"a\nb\nc\n")}
    toy.write({"extra/lf.txt": b"a\r\nb\r\n"})
    os.utime(toy.folder / "extra/lf.txt", (1, 1))
    assert shot(toy).edits == {}


def test_modes_that_the_file_system_does_not_have_are_no_change(toy: Toy) -> None:
    measured(toy)
    toy.git("config", "core.fileMode", "false")
    toy.write({"knob.txt": "8\n"})
    (toy.folder / "knob.txt").chmod(0o755)
    assert shot(toy).edits == {"knob.txt": Blob(b"8\n")}
