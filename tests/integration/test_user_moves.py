"""The user moves in the middle of a run: nothing of his is lost, and the run goes on. Also: starting on a dirty checkout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.conftest import TASK, Toy

from autoresearch.choice import Wish
from autoresearch.errors import SetupError
from autoresearch.records import Kind
from autoresearch.testing import Patch

BRANCH, HEAD = "refs/heads/autoresearch/one", "refs/autoresearch/one/head"


def knob(value: float) -> Patch:
    return Patch({"knob.txt": f"{value}\n"}, f"knob {value}")


def run_while(toy: Toy, moves: Mapping[tuple[str, int], Callable[[], object]], values: tuple[float, ...] = (9, 8, 7)) -> None:
    """A run of keeps in which the user acts when an experiment's event comes."""

    def watch(what: str, details: Mapping[str, Any]) -> None:
        move = moves.get((what, details.get("n") or 0))
        if move is not None:
            move()
            toy.moved()

    toy.run([knob(v) for v in values], run="one", watch=watch)
    history = toy.history()
    assert [e.value for e in history.experiments if e.decided] == [10, *values]
    assert all(e.kept for e in history.experiments if e.decided)
    assert toy.git("show", f"{history.tip}:knob.txt") == f"{values[-1]}\n"
    assert toy.git("fsck", "--no-dangling", "--no-progress") == ""


def refs(toy: Toy) -> dict[str, str]:
    return dict(row.split() for row in toy.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines())


def subjects(toy: Toy, name: str) -> list[str]:
    return toy.git("log", "--format=%s", name).splitlines()


def said(toy: Toy) -> int:
    return sum(e.kind == "note" and e.body.get("what") == "branch" for e in toy.events)


LINE = ["knob 7", "knob 8", "knob 9", "start"]


def test_user_commits_on_main_in_the_middle(toy: Toy) -> None:
    def commit() -> None:
        toy.write({"knob.txt": "77\n", "mine.txt": "new work\n"})
        toy.commit("my own work")

    run_while(toy, {("decided", 1): commit})
    assert subjects(toy, "autoresearch/one") == LINE
    assert subjects(toy, "main") == ["my own work", "start"]


def test_user_checks_the_branch_out_and_it_is_not_moved_under_him(toy: Toy) -> None:
    run_while(toy, {("advanced", 1): lambda: toy.git("checkout", "-q", "autoresearch/one")})
    assert subjects(toy, BRANCH) == ["knob 9", "start"]
    assert subjects(toy, HEAD) == LINE
    assert said(toy) == 1
    assert toy.git("--no-optional-locks", "status", "--porcelain") == ""


def test_branch_follows_when_it_is_free(toy: Toy) -> None:
    moves = {
        ("advanced", 1): lambda: toy.git("checkout", "-q", "autoresearch/one"),
        ("advanced", 2): lambda: toy.git("checkout", "-q", "main"),
    }
    run_while(toy, moves)
    assert subjects(toy, BRANCH) == LINE
    assert HEAD not in refs(toy)
    assert said(toy) == 1


def test_branch_follows_at_the_next_session(toy: Toy) -> None:
    run_while(toy, {("advanced", 1): lambda: toy.git("checkout", "-q", "autoresearch/one")})
    toy.git("checkout", "-q", "main")
    toy.moved()
    toy.run([], run="one")
    assert subjects(toy, BRANCH) == LINE
    assert HEAD not in refs(toy)


def test_branch_checked_out_in_another_work_tree_is_not_moved(toy: Toy) -> None:
    other = toy.folder.parent / "other"
    run_while(toy, {("advanced", 1): lambda: toy.git("worktree", "add", "-q", str(other), "autoresearch/one")})
    assert subjects(toy, BRANCH) == ["knob 9", "start"]
    assert (other / "knob.txt").read_text() == "9\n"
    assert toy.git("--no-optional-locks", "-C", str(other), "status", "--porcelain") == ""


def test_branch_in_the_middle_of_the_users_rebase_is_not_moved(toy: Toy) -> None:
    """HEAD is detached then, and the branch is written when the rebase ends."""

    def stop_in_rebase() -> None:
        toy.git("checkout", "-q", "autoresearch/one")
        toy.git("-c", "sequence.editor=sed -i 1s/pick/edit/", "rebase", "-q", "-i", "HEAD~1")

    run_while(toy, {("advanced", 1): stop_in_rebase})
    assert subjects(toy, BRANCH) == ["knob 9", "start"]
    assert subjects(toy, HEAD) == LINE
    toy.git("rebase", "--continue")
    toy.moved()


def test_branch_in_the_middle_of_the_users_bisection_is_not_moved(toy: Toy) -> None:
    def bisect() -> None:
        toy.git("checkout", "-q", "autoresearch/one")
        toy.git("bisect", "start", "HEAD", "HEAD~1")
        toy.git("checkout", "-q", "--detach")

    run_while(toy, {("advanced", 1): bisect})
    assert subjects(toy, BRANCH) == ["knob 9", "start"]


def test_user_commits_on_the_branch_and_keeps_his_commit(toy: Toy) -> None:
    def commit() -> None:
        toy.git("checkout", "-q", "autoresearch/one")
        toy.write({"notes.txt": "looks good\n"})
        toy.commit("my note")
        toy.git("checkout", "-q", "main")

    run_while(toy, {("advanced", 1): commit})
    assert subjects(toy, BRANCH) == ["my note", "knob 9", "start"]
    assert subjects(toy, HEAD) == LINE
    assert said(toy) == 1


def test_user_deletes_the_branch_and_the_keeps_stay(toy: Toy) -> None:
    run_while(toy, {("advanced", 1): lambda: toy.git("branch", "-q", "-D", "autoresearch/one")})
    assert BRANCH not in refs(toy)
    assert subjects(toy, HEAD) == LINE


def gone(toy: Toy) -> None:
    toy.git("reflog", "expire", "--expire=now", "--all")
    toy.git("gc", "-q", "--prune=now")


def test_user_amends_the_base_away_and_collects_garbage(toy: Toy) -> None:
    base = toy.git("rev-parse", "HEAD").strip()

    def amend() -> None:
        toy.write({"knob.txt": "123\n"})
        toy.git("commit", "-q", "-a", "--amend", "-m", "another start")
        gone(toy)

    run_while(toy, {("measured", 0): amend, ("proposed", 2): lambda: gone(toy)})
    assert refs(toy)["refs/autoresearch/one/base"] == base
    assert subjects(toy, BRANCH) == LINE
    assert subjects(toy, "main") == ["another start"]


def test_user_rebases_the_base_away_and_collects_garbage(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy()
    toy.write({"a.txt": "a\n"})
    toy.commit("second")

    def rebase() -> None:
        toy.git("-c", "sequence.editor=true", "rebase", "-q", "--root", "-f", "--exec", "git commit -q --amend -m again")
        gone(toy)

    run_while(toy, {("frozen", 1): rebase})
    assert subjects(toy, "main") == ["again", "again"]
    assert subjects(toy, BRANCH) == [*LINE[:3], "second", "start"]


@pytest.mark.parametrize("kind", ["asked", "proposed", "frozen", "measured", "decided", "advanced"])
def test_user_collects_garbage_at_any_step(toy: Toy, kind: str) -> None:
    moves = {(kind, n): lambda: gone(toy) for n in (1, 2, 3)}
    run_while(toy, moves)
    assert subjects(toy, BRANCH) == LINE
    assert {f"refs/autoresearch/one/{n}" for n in ("1", "2", "3", "base")} <= refs(toy).keys()


def test_discarded_ideas_survive_the_users_garbage_collection(toy: Toy) -> None:
    toy.run([knob(11), knob(12)], run="one")
    gone(toy)
    toy.moved()
    assert toy.git("show", "refs/autoresearch/one/1:knob.txt") == "11\n"
    assert toy.history().experiments[1].verdict is not None


def test_user_packs_refs_and_repacks(toy: Toy) -> None:
    def pack() -> None:
        toy.git("pack-refs", "--all")
        toy.git("repack", "-q", "-a", "-d")

    run_while(toy, {("advanced", 1): pack, ("frozen", 2): pack})
    assert subjects(toy, BRANCH) == LINE


def test_user_stashes_and_edits_in_the_middle(toy: Toy) -> None:
    def stash() -> None:
        toy.write({"knob.txt": "55\n"})
        toy.git("stash", "-q")
        toy.write({"knob.txt": "66\n", "extra/mine.txt": "mine\n"})

    run_while(toy, {("measured", 1): stash})
    assert toy.git("stash", "list").count("stash@") == 1
    assert (toy.folder / "knob.txt").read_text() == "66\n"
    assert "extra/mine.txt" not in toy.git("ls-tree", "-r", "--name-only", BRANCH)


# -- starting on a dirty checkout, going on with any ----------------------------------------------------------------------


DIRTY = {
    "a modified tracked file": lambda toy: toy.write({"evaluate.py": "print('score: 1')\n"}),
    "a modified editable file": lambda toy: toy.write({"knob.txt": "5\n"}),
    "a deleted file": lambda toy: (toy.folder / "evaluate.py").unlink(),
    "a staged new file": lambda toy: (toy.write({"a.txt": "x"}), toy.git("add", "a.txt")),
    "an untracked file in the scope": lambda toy: toy.write({"extra/new.txt": "x"}),
}


@pytest.mark.parametrize("what", DIRTY)
def test_new_run_on_a_dirty_checkout_is_refused_where_nobody_can_be_asked(toy: Toy, what: str) -> None:
    DIRTY[what](toy)
    toy.moved()
    with pytest.raises(SetupError, match="--include-dirty, or from the last commit with --from HEAD"):
        toy.run([knob(9)])
    assert refs(toy).keys() == {"refs/heads/main"}


def test_new_run_on_a_dirty_checkout_asks_and_names_the_files(toy: Toy) -> None:
    toy.write({"knob.txt": "5\n", "extra/new.txt": "x"})
    toy.moved()
    asked: list[str] = []
    with pytest.raises(SetupError):
        toy.run([knob(9)], wish=Wish(confirm=lambda question: bool(asked.append(question))))
    assert "extra/new.txt, knob.txt" in asked[0]


@pytest.mark.parametrize("wish", [Wish(name="one", include_dirty=True), Wish(name="one", confirm=lambda question: True)])
def test_include_dirty_starts_from_the_files_as_they_are(toy: Toy, wish: Wish) -> None:
    toy.write({"knob.txt": "5\n", "extra/new.sh": "x", "left out.txt": "x"})
    (toy.folder / "extra/new.sh").chmod(0o755)
    toy.moved()
    toy.run([knob(4)], wish=wish)
    assert [e.value for e in toy.history().experiments if e.decided] == [5, 4]
    files = toy.git("ls-tree", "-r", BRANCH).splitlines()
    assert any(row.startswith("100755") and row.endswith("extra/new.sh") for row in files)
    assert not any("left out" in row for row in files)
    assert subjects(toy, BRANCH)[-1] == "start"
    assert toy.git("--no-optional-locks", "status", "--porcelain").splitlines() == [
        " M knob.txt",
        "?? extra/",
        '?? "left out.txt"',
    ]


def test_from_head_starts_from_the_last_commit(toy: Toy) -> None:
    toy.write({"knob.txt": "5\n"})
    toy.moved()
    toy.run([knob(9)], wish=Wish(start="HEAD"))
    assert [e.value for e in toy.history().experiments if e.decided] == [10, 9]


def test_other_untracked_files_and_the_tasks_own_two_never_matter(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy({"program.md": "make it small\n"})
    toy.write({"notes.txt": "x", "data/big.bin": b"\0\1", "cache.tmp": "x", "extra/cache.tmp": "x", "program.md": "smaller\n"})
    toy.write({"autoresearch.toml": TASK + "# a remark\n"})
    toy.moved()
    toy.run([knob(9)])
    assert toy.history().line == [0, 1]


def test_going_on_never_looks_at_the_checkout_and_says_that_head_moved(toy: Toy) -> None:
    toy.run([knob(9), knob(8)], wish=Wish(name="one", experiments=1))
    toy.write({"knob.txt": "3\n"})
    toy.commit("mine")
    toy.write({"knob.txt": "2\n", "extra/new.txt": "x"})
    toy.moved()
    toy.run([knob(9), knob(8)])
    history = toy.history()
    assert [e.value for e in history.experiments if e.decided] == [10, 9, 8]
    assert [e.verdict.kind for e in history.experiments if e.verdict] == [Kind.KEEP] * 3
    assert subjects(toy, BRANCH) == ["knob 8", "knob 9", "start"]
