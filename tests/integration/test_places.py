"""What was changed in a user's checkout, against which kept experiment; nothing there is touched."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.choice import Wish
from autoresearch.driving import places, trees
from autoresearch.driving.places import Snapshot
from autoresearch.errors import SetupError
from autoresearch.lock import owner
from autoresearch.objects import Repository
from autoresearch.project import Project
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
    with pytest.raises(SetupError, match=r"no autoresearch\.toml in .* or above it"):
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


@pytest.mark.parametrize("content", ["x\n", "x\ny\nz\n", "".join(f"{i}\n" for i in range(50))])
def test_kept_file_that_is_written_anew_is_a_change_of_the_experiment_that_brought_it(toy: Toy, content: str) -> None:
    measured(toy, knob(9), knob(8, **{"extra/new.py": "a\nb\nc\nd\n"}))
    toy.write({"knob.txt": "8\n", "extra/new.py": content})
    assert (shot(toy).parent, list(shot(toy).edits)) == (2, ["extra/new.py"])
    toy.write({"knob.txt": "5\n"})  # all that it changed was written anew
    assert (shot(toy).parent, sorted(shot(toy).edits)) == (2, ["extra/new.py", "knob.txt"])


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


def test_what_the_user_had_changed_before_the_run_began_is_left_out_until_it_is_changed_again(
    make_toy: Callable[..., Toy],
) -> None:
    toy = make_toy({"README.md": "1", "lib/a.py": "1", "gone/b.py": "1"})
    toy.write({"README.md": "mine", "lib/a.py": "mine"})
    shutil.rmtree(toy.folder / "gone")
    measured(toy).write({"knob.txt": "8\n"})
    why = "frozen, and changed before the run began; measured as the run's base has it"
    found = shot(toy)
    assert list(found.edits) == ["knob.txt"]
    assert found.notes == (f"left out of the candidate ({why}): README.md, gone/b.py, lib/a.py",)
    toy.git("commit", "-qm", "mine", "README.md")
    assert shot(toy) == found
    toy.write({"lib/a.py": "mine\n"})
    assert sorted(shot(toy).edits) == ["knob.txt", "lib/a.py"]


@pytest.mark.parametrize("command", ["python ./evaluate.py", "cd . && python 'evaluate.py'", "python -m evaluate"])
def test_what_a_command_names_is_refused_also_where_it_was_changed_before_the_run_began(toy: Toy, command: str) -> None:
    toy.write({"autoresearch.toml": TASK.replace("python evaluate.py", command)})
    toy.commit()
    toy.write({"evaluate.py": "print('score: 0')"})
    measured(toy)
    assert list(shot(toy).edits) == ["evaluate.py"]


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


# -- a tree of its own -----------------------------------------------------------------------------------------------------


def entered(toy: Toy) -> places.Place:
    return trees.enter(toy.project, toy.history().run.run, load(toy.folder))  # type: ignore[union-attr]


def spot(place: places.Place) -> tuple[object, ...]:
    return (place.project.folder, place.folder, place.run, place.tree)


def changed(toy: Toy, place: places.Place) -> Snapshot:
    return places.snapshot(place, load(toy.folder), toy.history())


def follow(toy: Toy, place: places.Place, tried: Snapshot) -> str:
    return trees.follow(place, load(toy.folder), toy.history(), tried)


def files(place: places.Place) -> dict[str, str]:
    assert place.tree is not None
    found = (path for path in sorted(place.tree.rglob("*")) if path.is_file() and ".git" not in path.parts)
    return {str(path.relative_to(place.tree)): path.read_text(errors="replace") for path in found}


def test_an_entered_tree_holds_the_incumbent_and_nothing_of_it_leads_to_the_users_repository(toy: Toy) -> None:
    measured(toy, knob(9), knob(12))
    place = entered(toy)
    assert place.tree == place.folder == toy.folder / ".autoresearch/one/trees/1/tree"
    assert sorted(files(place)) == [".gitignore", "autoresearch.toml", "evaluate.py", "knob.txt"]
    assert (place.folder / "knob.txt").read_text() == "9\n"
    assert git(place.folder, "status", "--porcelain") == ""
    assert git(place.folder, "log", "--format=%s %an").split("\n") == ["experiment 1 autoresearch", ""]
    assert git(place.folder, "config", "--local", "user.name").strip() == "autoresearch"
    assert not (place.folder / ".git/objects/info/alternates").exists()
    assert spot(places.find(place.folder / ".git")) == spot(place)
    assert changed(toy, place) == Snapshot(1, {})


def test_every_command_finds_the_real_project_from_inside(toy: Toy) -> None:
    measured(toy)
    place = entered(toy)
    (place.folder / "extra").mkdir()
    assert Project.find(place.folder / "extra").folder == toy.folder
    assert spot(places.find(place.folder / "extra")) == spot(place)


def test_a_tree_is_the_same_after_clean(toy: Toy, cache: Path) -> None:
    measured(toy, knob(9))
    place = entered(toy)
    shutil.rmtree(cache)
    (place.folder / "knob.txt").write_text("8\n")
    assert git(place.folder, "diff", "--stat").startswith(" knob.txt")
    tried = changed(toy, place)
    assert follow(toy, place, tried).startswith("this tree holds the incumbent's files, of experiment 1; set: knob.txt")
    git(place.folder, "fsck", "--strict")


def test_every_kind_of_change_in_a_tree_counts_whatever_was_done_to_its_repository(make_toy: Callable[..., Toy]) -> None:
    toy = measured(make_toy({"extra/gone": "1", "extra/mode": "1", "extra/link": "1", "extra/folder/x": "1"}))
    place = entered(toy)
    here = Toy(place.folder)
    for name in AWKWARD:
        here.write({name: b"\xff\r\n"})
    here.write({"knob.txt": "8\n", "extra/log.tmp": "ignored", "extra/__pycache__/x.pyc": "", "notes.md": "x", "log/a/b": "x"})
    (here.folder / "extra/gone").unlink()
    (here.folder / "extra/mode").chmod(0o755)
    (here.folder / "extra/link").unlink()
    (here.folder / "extra/link").symlink_to("no/where")
    (here.folder / "extra/folder/x").unlink()
    (here.folder / "extra/folder").rmdir()
    here.write({"extra/folder": "a file now", "evaluate.py": "print('score: 0')"})
    (place.folder / ".git/info/exclude").write_text("*\n")
    here.git("add", "-f", "-A")
    here.git("commit", "-q", "-m", "mine")
    found = changed(toy, place)
    assert (found.parent, found.edits) == (
        0,
        {
            **dict.fromkeys(AWKWARD, Blob(b"\xff\r\n")),
            "knob.txt": Blob(b"8\n"),
            "evaluate.py": Blob(b"print('score: 0')"),
            "extra/gone": None,
            "extra/mode": Blob(b"1", "100755"),
            "extra/link": Blob(b"no/where", "120000"),
            "extra/folder": Blob(b"a file now"),
            "extra/folder/x": None,
        },
    )
    assert sorted(found.new) == sorted([*AWKWARD, "extra/folder"])
    words = "left out of the candidate (new, not in the editable scope or ignored): extra/log.tmp, log/, notes.md"
    assert found.notes == (words,)
    (place.folder / ".git/HEAD").write_text("broken")
    assert changed(toy, place).edits == found.edits
    before = files(place)
    follow(toy, place, found)
    assert git(place.folder, "status", "--porcelain", "--untracked-files=no") == ""
    assert {"notes.md", "log/a/b", "extra/log.tmp"} <= files(place).keys()
    (place.folder / "other.md").write_text("x")
    words = "left out of the candidate (new, not in the editable scope or ignored): other.md"
    assert changed(toy, place).notes == (words,)  # of the others it was said once
    assert not [name for name in files(place) if "__pycache__" in name]
    assert changed(toy, place).edits == {}
    assert (place.folder / "extra/mode").stat().st_mode & 0o777 == 0o644
    assert before["evaluate.py"] != (place.folder / "evaluate.py").read_text() == (toy.folder / "evaluate.py").read_text()


def test_a_keep_moves_the_tree_on_and_a_discard_takes_it_back(toy: Toy) -> None:
    measured(toy)
    place = entered(toy)
    git(place.folder, "status")
    (place.folder / "knob.txt").write_text("9\n")
    (place.folder / "notes.md").write_text("keep me")
    kept = changed(toy, place)
    toy.run([knob(9)], wish=Wish(name="one", experiments=1))
    assert follow(toy, place, kept) == "this tree holds the incumbent's files, of experiment 1"
    assert (git(place.folder, "status", "--porcelain"), changed(toy, place).parent) == ("?? notes.md\n", 1)
    (place.folder / "knob.txt").write_text("12\n")
    (place.folder / "extra").mkdir()
    (place.folder / "extra/new.py").write_text("x")
    assert git(place.folder, "diff", "--name-only") == "knob.txt\n"
    discarded = changed(toy, place)
    assert discarded.edits == {"knob.txt": Blob(b"12\n"), "extra/new.py": Blob(b"x")}
    was = (place.folder / "knob.txt").stat().st_mtime_ns
    words = follow(toy, place, discarded)
    assert words == "this tree holds the incumbent's files, of experiment 1; set: extra/new.py, knob.txt"
    assert (place.folder / "knob.txt").read_text() == "9\n"
    assert (place.folder / "knob.txt").stat().st_mtime_ns >= was + 10**9
    assert not (place.folder / "extra").exists()
    assert (place.folder / "notes.md").read_text() == "keep me"
    assert git(place.folder, "status", "--porcelain") == "?? notes.md\n"


def test_other_agents_keeps_move_a_tree_on(toy: Toy) -> None:
    measured(toy)
    place = entered(toy)
    (place.folder / "knob.txt").write_text("12\n")
    tried = changed(toy, place)
    toy.run([Patch({"knob.txt": "9\n", "extra/model.py": "x"})], wish=Wish(name="one", experiments=1))
    assert "experiment 1; set: extra/model.py, knob.txt" in follow(toy, place, tried)
    assert (place.folder / "knob.txt").read_text() == "9\n"
    assert changed(toy, place) == Snapshot(1, {})
    assert follow(toy, place, tried) == "this tree holds the incumbent's files, of experiment 1"  # asked a second time


def test_a_tree_that_was_changed_since_is_left_as_it_is(toy: Toy) -> None:
    measured(toy)
    place = entered(toy)
    (place.folder / "knob.txt").write_text("12\n")
    tried = changed(toy, place)
    (place.folder / "knob.txt").write_text("11\n")
    toy.run([knob(9)], wish=Wish(name="one", experiments=1))
    words = follow(toy, place, tried)
    assert words == (
        "this tree was changed since (knob.txt) and is left as it is, on experiment 0; the incumbent is experiment 1 by now"
    )
    assert (place.folder / "knob.txt").read_text() == "11\n"
    assert changed(toy, place) == Snapshot(0, {"knob.txt": Blob(b"11\n")}, ("knob.txt",))


def test_commits_of_whoever_works_in_a_tree_are_not_lost(toy: Toy) -> None:
    measured(toy)
    place = entered(toy)
    git(place.folder, "switch", "-q", "-c", "idea")
    (place.folder / "knob.txt").write_text("12\n")
    git(place.folder, "commit", "-q", "-am", "mine")
    follow(toy, place, changed(toy, place))
    assert git(place.folder, "show", "idea:knob.txt") == "12\n"
    assert git(place.folder, "branch", "--show-current") == "main\n"
    (place.folder / "knob.txt").write_text("13\n")
    git(place.folder, "commit", "-q", "-am", "on main")
    mine = git(place.folder, "rev-parse", "HEAD").strip()
    follow(toy, place, changed(toy, place))
    assert git(place.folder, "show", f"yours/{mine[:12]}:knob.txt") == "13\n"
    assert (place.folder / "knob.txt").read_text() == "10\n"


def test_what_stands_in_the_way_of_a_file_is_set_aside_and_no_link_is_followed(
    make_toy: Callable[..., Toy], tmp_path: Path
) -> None:
    toy = measured(make_toy({"extra/x": "1", "extra/y": "1"}))
    place = entered(toy)
    outside = tmp_path / "outside"
    (place.folder / "extra").rename(outside)
    (place.folder / "extra").symlink_to(outside)
    (place.folder / "knob.txt").unlink()
    (place.folder / "knob.txt").mkdir()
    (place.folder / "knob.txt" / "mine").write_text("mine")
    tried = changed(toy, place)
    assert tried.edits == {"extra/x": None, "extra/y": None, "knob.txt": None}
    (outside / "x").write_text("2")
    words = follow(toy, place, tried)
    aside = toy.folder / ".autoresearch/one/trees/1/aside"
    assert f"in the way, and moved to {aside / '1-extra'}, {aside / '2-knob.txt'}" in words
    assert (outside / "x").read_text() == "2"
    assert (place.folder / "extra/x").read_text() == "1"
    assert (aside / "2-knob.txt/mine").read_text() == "mine"
    assert changed(toy, place).edits == {}


def test_a_repository_that_leads_elsewhere_is_set_aside(toy: Toy) -> None:
    measured(toy)
    place = entered(toy)
    shutil.rmtree(place.folder / ".git")
    (place.folder / ".git").write_text(f"gitdir: {toy.folder / '.git'}\n")
    (place.folder / "knob.txt").write_text("12\n")
    follow(toy, place, changed(toy, place))
    assert git(place.folder, "log", "--format=%s") == "the baseline\n"
    assert git(place.folder, "status", "--porcelain") == ""


def test_a_project_below_the_top_is_entered_at_its_place(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(inside="sub folder/project")
    top = toy.folder.parents[1]
    (top / "lib.py").write_text("1")
    git(top, "add", "-A")
    toy.commit()
    measured(toy)
    place = entered(toy)
    assert place.tree is not None
    assert place.folder == place.tree / "sub folder/project"
    assert spot(places.find(place.tree)) == spot(places.find(place.folder)) == spot(place)
    (place.folder / "knob.txt").write_text("8\n")
    (place.tree / "lib.py").write_text("2")
    tried = changed(toy, place)
    assert tried.edits == {"knob.txt": Blob(b"8\n"), "../../lib.py": Blob(b"2")}
    assert "set: lib.py, knob.txt" in follow(toy, place, tried)


PRIVATE = '\n[gate]\ncommand = "python evaluate.py"\nprivate = ["secret.txt", "hidden/**"]\n'


def test_private_files_and_other_parts_are_in_no_entered_tree(make_toy: Callable[..., Toy], tmp_path: Path) -> None:
    task = TASK.replace('name = "toy"', 'name = "toy"\npaths = ["lib"]') + PRIVATE
    names = {"secret.txt": "s3cret", "hidden/a": "s3cret too", "lib/x.py": "1", "other/y.py": "1"}
    toy = measured(make_toy(names, task=task), knob(9))
    place = entered(toy)
    assert sorted(files(place)) == [".gitignore", "autoresearch.toml", "evaluate.py", "knob.txt", "lib/x.py"]
    (place.folder / "knob.txt").write_text("12\n")
    follow(toy, place, changed(toy, place))
    objects = git(place.folder, "cat-file", "--batch-all-objects", "--batch", errors="replace")
    assert "s3cret" not in objects
    assert "secret.txt" not in git(place.folder, "ls-tree", "-r", "HEAD")


def test_submodules_are_plain_folders_of_an_entered_tree(make_toy: Callable[..., Toy], tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "-q", "-b", "main")
    (library / "x.py").write_text("1")
    git(library, "add", "-A")
    git(library, "commit", "-q", "-m", "one")
    toy = make_toy()
    toy.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib")
    toy.commit()
    measured(toy, knob(9))
    place = entered(toy)
    assert (place.folder / "lib/x.py").read_text() == "1"
    (place.folder / "lib/x.py").write_text("2")
    tried = changed(toy, place)
    assert tried.edits == {"lib/x.py": Blob(b"2")}
    follow(toy, place, tried)
    assert (place.folder / "lib/x.py").read_text() == "1"


def test_sha256_trees_are_entered(tmp_path: Path, make_toy: Callable[..., Toy]) -> None:
    folder = tmp_path / "sha256"
    folder.mkdir()
    git(folder, "init", "-q", "--object-format=sha256")
    toy = measured(make_toy(folder=folder), knob(9))
    place = entered(toy)
    (place.folder / "knob.txt").write_text("12\n")
    follow(toy, place, changed(toy, place))
    assert (changed(toy, place), git(place.folder, "status", "--porcelain")) == (Snapshot(1, {}), "")


def test_a_removed_tree_says_how_to_make_another(toy: Toy) -> None:
    measured(toy)
    place = entered(toy)
    assert place.tree is not None
    shutil.rmtree(place.tree)
    with pytest.raises(SetupError, match=r"removed or replaced.*autoresearch enter"):
        changed(toy, place)
    shutil.rmtree(place.tree.parent)
    with pytest.raises(SetupError, match="is no tree of a run"):
        changed(toy, place)


def test_a_place_that_somebody_made_up_is_refused(toy: Toy, tmp_path: Path) -> None:
    measured(toy)
    place = places.Place(toy.project, tmp_path, "one", tmp_path)
    with pytest.raises(SetupError, match="is no tree of a run of"):
        follow(toy, place, Snapshot(0, {}))


# -- killed, and at the same time ------------------------------------------------------------------------------------------

ENTER = """\
import sys
from pathlib import Path
from autoresearch.driving import places, trees
from autoresearch.project import Project
from autoresearch.taskfile import load
project = Project(Path(sys.argv[1]))
print(trees.enter(project, "one", load(project.folder)).tree.parent.name)
"""


def killed(at: int, work: Callable[[], object]) -> bool:
    """Do it in a process that is killed at its call number `at` of those that change something; whether it came to its end."""
    pid = os.fork()
    if not pid:
        _die_at(at)
        work()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert status in (0, signal.SIGKILL)
    return status == 0


def _die_at(at: int) -> None:
    calls = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "subprocess.Popen", "shutil.rmtree", "os.chmod"}
    count = 0

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal count
        if event in calls or (event == "open" and args[1] not in ("r", "rb", None)):
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def process(script: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_trees_that_are_entered_at_the_same_time_are_not_the_same(toy: Toy) -> None:
    measured(toy)
    entering = [process(ENTER, str(toy.folder)) for _ in range(4)]
    found = [one.communicate()[0].strip() for one in entering]
    assert sorted(found) == ["1", "2", "3", "4"]
    for number in found:
        root = toy.folder / ".autoresearch/one/trees" / number / "tree"
        assert changed(toy, places.find(root)) == Snapshot(0, {})


def test_a_move_that_is_killed_anywhere_is_ended_by_the_next_call_and_no_edit_is_lost(make_toy: Callable[..., Toy]) -> None:
    """Of every call that changes something on the disk each is the last one once; an edit made after the kill stays."""
    toy = make_toy({"extra/a": "1", "extra/b": "1"})
    measured(toy)
    place = entered(toy)
    at, over = 0, False
    while not over:
        at += 1
        number = str(9 + at)
        Toy(place.folder).write({"extra/a": number, "extra/new": number, "knob.txt": "12\n", "notes.md": number})
        (place.folder / "extra/b").unlink(missing_ok=True)
        tried = changed(toy, place)
        over = killed(at, lambda tried=tried: follow(toy, place, tried))
        began = (place.folder.parent / "moving.json").exists()
        Toy(place.folder).write({"knob.txt": "11\n"})  # whoever works there goes on at once
        found = changed(toy, place)
        assert found.edits["knob.txt"] == Blob(b"11\n"), at
        if began or over:
            assert found.edits.keys() == {"knob.txt"}, at
        else:
            assert found.edits.keys() <= {"knob.txt", "extra/a", "extra/b", "extra/new"}, at
        assert (place.folder / "notes.md").read_text() == number
        words = follow(toy, place, found)
        assert "holds the incumbent's files" in words
        assert (changed(toy, place).edits, git(place.folder, "status", "--porcelain")) == ({}, "?? notes.md\n"), at
    assert at > 15


def test_an_enter_that_is_killed_anywhere_leaves_nothing_that_counts(toy: Toy) -> None:
    measured(toy)
    at, over = 0, False
    trees = toy.folder / ".autoresearch/one/trees"
    while not over:
        at += 1
        over = killed(at, lambda: entered(toy))
        for folder in trees.glob("[0-9]*") if trees.is_dir() else []:
            if (folder / "place.json").exists():
                assert changed(toy, places.find(folder / "tree")) == Snapshot(0, {}), at
    place = entered(toy)
    assert changed(toy, place) == Snapshot(0, {})
    assert all((folder / "place.json").exists() for folder in trees.glob("[0-9]*"))
    assert at > 10


@pytest.mark.alone
def test_twenty_thousand_files_are_quick(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy({f"data/{i // 100}/{i}.txt": str(i) for i in range(20000)})
    measured(toy)
    toy.write({"knob.txt": "8\n"})
    place, task, history = places.find(toy.folder), load(toy.folder), toy.history()
    took: dict[str, float] = {}

    def timed(name: str, call: Callable[[], object]) -> object:
        started = time.monotonic()
        found = call()
        took[name] = min(took.get(name, 9.0), time.monotonic() - started)
        return found

    status = ["git", "--no-optional-locks", "status", "--porcelain", "-uall"]
    for _ in range(3):
        timed("status", lambda: subprocess.run(status, cwd=toy.folder, check=True, capture_output=True))
        timed("checkout", lambda: places.snapshot(place, task, history))
    timed("enter", lambda: entered(toy))
    tree = places.find(toy.folder / ".autoresearch/one/trees/1/tree")
    (tree.folder / "knob.txt").write_text("8\n")
    for _ in range(3):
        timed("tree", lambda: places.snapshot(tree, task, history))
    tried = changed(toy, tree)
    timed("follow", lambda: trees.follow(tree, task, history, tried))
    print({name: round(s, 3) for name, s in took.items()})
    assert took["checkout"] < took["status"] + 0.25
    assert took["tree"] < 1.5
    toy.moved()


# -- the command -----------------------------------------------------------------------------------------------------------


def enter(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "autoresearch", "enter", *args]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)


def test_enter_prints_the_path_alone_and_the_rules_beside_it(make_toy: Callable[..., Toy], awkward: Path) -> None:
    toy = measured(make_toy(folder=awkward), knob(9))
    said = enter(toy.folder)
    assert said.stdout == f"{toy.folder}/.autoresearch/one/trees/1/tree\n"
    assert said.stderr.splitlines()[:2] == [
        "a tree of run one, with the files of experiment 1",
        "edit: knob.txt, extra/**; everything else is frozen, and a change of it is refused by name",
    ]
    inside = Path(said.stdout.rstrip("\n"))
    again = enter(inside, "--json")  # from inside it is another one of the same run
    body = json.loads(again.stdout)
    assert again.stderr == ""
    assert (body["number"], body["run"], body["experiment"], body["folder"]) == (2, "one", 1, body["tree"])
    assert body["folder"] == f"{toy.folder}/.autoresearch/one/trees/2/tree"


def test_trees_are_listed_and_removed_and_changes_are_not_lost_by_a_slip(toy: Toy) -> None:
    measured(toy, knob(9))
    assert enter(toy.folder, "--list").stdout == 'no tree of run one yet: cd "$(autoresearch enter)"\n'
    places_ = [entered(toy), entered(toy)]
    (places_[1].folder / "knob.txt").write_text("8\n")
    rows = enter(toy.folder, "--list").stdout.splitlines()
    assert rows == [
        f"1  on experiment 1 · not changed · {places_[0].folder}",
        f"2  on experiment 1 · changed: knob.txt · {places_[1].folder}",
    ]
    assert [row["changed"] for row in json.loads(enter(toy.folder, "--list", "--json").stdout)] == [[], ["knob.txt"]]
    refused = enter(toy.folder, "--remove", "2")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--remove 2: what is changed there (knob.txt) would be lost; add --yes" in refused.stderr
    assert enter(toy.folder, "--remove", "2", "--yes").stdout == "tree 2 of run one is removed\n"
    assert enter(toy.folder, "--remove", "1").returncode == 0
    missing = enter(toy.folder, "--remove", "1")
    assert "--remove 1: run one has no such tree (there are: none)" in missing.stderr
    assert not list((toy.folder / ".autoresearch/one/trees").glob("[0-9]*"))


def test_where_there_is_no_run_enter_starts_one_and_gives_the_base(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORESEARCH_LINGER", "0")
    said = enter(toy.folder)
    assert said.returncode == 0, said.stderr
    assert (Path(said.stdout.rstrip("\n")) / "knob.txt").read_text() == "10\n"
    assert said.stderr.splitlines()[0].endswith("with the files of the baseline")
    run = toy.history().run
    assert run is not None
    lock = toy.project.paths.run(run.run).lock
    deadline = time.monotonic() + 60
    while owner(lock) and time.monotonic() < deadline:
        time.sleep(0.05)


def test_rm_takes_the_trees_of_a_run_along(toy: Toy) -> None:
    measured(toy)
    place = entered(toy)
    subprocess.run(
        [sys.executable, "-m", "autoresearch", "rm", "one", "--yes"], cwd=toy.folder, check=True, capture_output=True
    )
    assert not place.folder.exists()
