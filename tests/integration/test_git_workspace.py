"""The git workspace: candidates and their refs, the line of incumbents, stale candidates, odd repositories."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.conftest import TASK, Toy

from autoresearch import git as plumbing
from autoresearch.choice import Wish
from autoresearch.errors import NameTaken, Refused, RepositoryError
from autoresearch.objects import Repository
from autoresearch.records import Blob, Candidate, Edits, Proposal
from autoresearch.taskfile import Scope
from autoresearch.testing import Patch
from autoresearch.workspace.claim import claim
from autoresearch.workspace.evaluation import TreeOptions
from autoresearch.workspace.repository import GitWorkspace

TEXT = "".join(f"line {n}\n" for n in range(1, 21))


def knob(value: float) -> Patch:
    return Patch({"knob.txt": f"{value}\n"}, f"knob {value}")


def refs(toy: Toy, prefix: str = "refs/autoresearch/one") -> dict[str, str]:
    return dict(row.split() for row in toy.git("for-each-ref", "--format=%(refname) %(objectname)", prefix).splitlines())


class Desk:
    """A workspace used directly, and candidates made on it."""

    def __init__(self, toy: Toy, cache: Path) -> None:
        location = plumbing.locate(toy.folder)
        assert location is not None
        base = toy.git("rev-parse", "HEAD").strip()
        scope = Scope(("knob.txt", "extra/**", "extra/two.txt"))
        self.toy = toy
        self.workspace = GitWorkspace(location, scope, run="one", base=base, cache=cache, options=TreeOptions({}))
        self.base = self.workspace.baseline(0)
        self.known: dict[str, int] = {}

    def freeze(self, n: int, edits: Edits, parent: Candidate | None = None, text: str = "change") -> Candidate:
        made = self.workspace.freeze(n, parent or self.base, Proposal(text, edits), 1000, self.known.get)
        self.known[made.tree] = n
        return made

    def rebase(self, candidate: Candidate, onto: Candidate) -> Candidate:
        return self.workspace.rebase(candidate, self.base, onto, 1000, self.known.get, "again")

    def show(self, candidate: Candidate, path: str) -> str:
        return self.toy.git("show", f"{candidate.commit}:{path}")


@pytest.fixture
def desk(make_toy: Callable[..., Toy], tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(make_toy({"extra/text.txt": TEXT, "extra/two.txt": "2\n", "extra/run.sh": "x\n"}), tmp_path / "cache" / "one")
    yield desk
    desk.workspace.close()


# -- candidates -----------------------------------------------------------------------------------------------------------


def test_candidate_is_a_commit_on_its_parent_under_its_number(desk: Desk) -> None:
    first = desk.freeze(1, {"knob.txt": Blob(b"9\n")}, text="lower the knob")
    second = desk.freeze(2, {"extra/new": Blob(b"x")}, first)
    assert refs(desk.toy) == {"refs/autoresearch/one/1": first.commit, "refs/autoresearch/one/2": second.commit}
    log = desk.toy.git("log", "--format=%s|%an <%ae>|%ct", second.commit).splitlines()
    author = "autoresearch <autoresearch@localhost>"
    assert log[:2] == [f"change|{author}|1000", f"lower the knob|{author}|1000"]


def test_no_change_and_a_known_tree_are_refused(desk: Desk) -> None:
    with pytest.raises(Refused, match="changes nothing") as refused:
        desk.freeze(1, {"knob.txt": Blob(b"10\n"), "extra/none": None})
    assert refused.value.reason == "no_change"
    desk.freeze(1, {"knob.txt": Blob(b"9\n")})
    with pytest.raises(Refused, match="same files as experiment 1") as refused:
        desk.freeze(2, {"knob.txt": Blob(b"9\n")})
    assert refused.value.reason == "duplicate"
    assert refs(desk.toy).keys() == {"refs/autoresearch/one/1"}


@pytest.mark.parametrize(
    "path",
    ["evaluate.py", "autoresearch.toml", "extra/../evaluate.py", "extra/../../x", "extra//x", "extra/.git/config", "extra/."],
)
def test_edits_that_leave_the_scope_or_the_tree_are_refused(desk: Desk, path: str) -> None:
    with pytest.raises(Refused) as refused:
        desk.freeze(1, {"knob.txt": Blob(b"9\n"), path: Blob(b"x")})
    assert refused.value.reason == "scope"
    assert path in refused.value.words
    assert refs(desk.toy) == {}


def test_new_file_outside_the_scope_never_enters_a_candidate(desk: Desk) -> None:
    made = desk.freeze(1, {"knob.txt": Blob(b"9\n"), "agent.log": Blob(b"x")})
    assert desk.toy.git("diff", "--name-only", "main", made.commit).split() == ["knob.txt"]


# -- stale candidates -----------------------------------------------------------------------------------------------------


def edited(line: int, text: str) -> Blob:
    return Blob(TEXT.replace(f"line {line}\n", f"{text}\n").encode())


def test_stale_candidate_is_put_onto_the_incumbent_file_by_file(desk: Desk) -> None:
    incumbent = desk.freeze(1, {"knob.txt": Blob(b"9\n"), "extra/two.txt": None})
    stale = desk.freeze(2, {"extra/new.txt": Blob(b"new\n"), "extra/run.sh": Blob(b"x\n", "100755")})
    moved = desk.rebase(stale, incumbent)
    assert (desk.show(moved, "knob.txt"), desk.show(moved, "extra/new.txt")) == ("9\n", "new\n")
    assert "extra/two.txt" not in desk.toy.git("ls-tree", "-r", moved.commit)
    assert refs(desk.toy)["refs/autoresearch/one/2"] == moved.commit
    assert desk.toy.git("rev-parse", f"{moved.commit}^").strip() == incumbent.commit


def test_stale_candidate_is_merged_where_both_changed_a_file_in_different_places(desk: Desk) -> None:
    incumbent = desk.freeze(1, {"extra/text.txt": edited(2, "ours")})
    moved = desk.rebase(desk.freeze(2, {"extra/text.txt": edited(18, "theirs")}), incumbent)
    expected = edited(2, "ours").content.decode().replace("line 18\n", "theirs\n")
    assert desk.show(moved, "extra/text.txt") == expected


CONFLICTS: dict[str, tuple[Edits, Edits]] = {
    "both changed a line": ({"extra/text.txt": edited(5, "ours")}, {"extra/text.txt": edited(5, "theirs")}),
    "changed here and deleted there": ({"extra/two.txt": None}, {"extra/two.txt": Blob(b"3\n")}),
    "deleted here and changed there": ({"extra/two.txt": Blob(b"3\n")}, {"extra/two.txt": None}),
    "both made a file": ({"extra/new": Blob(b"1")}, {"extra/new": Blob(b"2")}),
    "one made it a link": ({"extra/two.txt": Blob(b"x", "120000")}, {"extra/two.txt": Blob(b"3\n")}),
    "no text": ({"extra/two.txt": Blob(b"\0\1")}, {"extra/two.txt": Blob(b"\0\2")}),
    "there already": ({"knob.txt": Blob(b"9\n"), "extra/a": Blob(b"")}, {"knob.txt": Blob(b"9\n")}),
    "there already within a larger change": (
        {"extra/text.txt": Blob(edited(2, "ours").content.replace(b"line 18\n", b"both\n"))},
        {"extra/text.txt": edited(18, "both")},
    ),
}


@pytest.mark.parametrize("what", CONFLICTS)
def test_stale_candidate_whose_change_does_not_apply_is_refused_as_stale(desk: Desk, what: str) -> None:
    ours, theirs = CONFLICTS[what]
    incumbent, stale = desk.freeze(1, ours), desk.freeze(2, theirs)
    with pytest.raises(Refused) as refused:
        desk.rebase(stale, incumbent)
    assert refused.value.reason == "stale"
    assert refs(desk.toy)["refs/autoresearch/one/2"] == stale.commit


def test_stale_candidate_of_a_run_is_rebased_measured_again_and_kept_or_discarded(make_toy: Callable[..., Toy]) -> None:
    evaluate = "print('score:', float(open('knob.txt').read()) + float(open('extra/two.txt').read()))\n"
    toy = make_toy({"evaluate.py": evaluate, "extra/two.txt": "10\n"})
    patches = [knob(9), Patch({"extra/two.txt": "5\n"}), knob(3)]
    toy.run(patches, wish=Wish(name="one", lag=3))
    one, two, three = toy.history().experiments[1:4]
    assert (one.kept, two.kept, two.rebased, two.value) == (True, True, True, 14)
    assert [m.values["score"] for m in two.measurements] == [15, 14]
    assert three.verdict is not None
    assert (three.verdict.kind.value, three.verdict.reason) == ("discard", "stale")
    assert toy.git("show", "autoresearch/one:knob.txt", "autoresearch/one:extra/two.txt").split() == ["9", "5"]


# -- the line of incumbents -----------------------------------------------------------------------------------------------


def test_keep_commit_made_again_has_the_same_id(desk: Desk) -> None:
    desk.workspace.begin()
    made = desk.freeze(1, {"knob.txt": Blob(b"9\n")})
    base = desk.base.commit
    first = desk.workspace.advance(made.tree, "keep\n\nMetric: score 9", base, base, 1234.5)
    again = desk.workspace.advance(made.tree, "keep\n\nMetric: score 9", base, base, 1234.5)
    assert first == again
    assert first.moved
    assert refs(desk.toy, "refs/heads/autoresearch") == {"refs/heads/autoresearch/one": first.commit}


def test_begin_refuses_names_that_are_taken(desk: Desk) -> None:
    desk.toy.git("branch", "autoresearch/one")
    with pytest.raises(RepositoryError, match="autoresearch/one exists already: choose another name"):
        desk.workspace.begin()
    desk.toy.git("branch", "-D", "autoresearch/one")
    desk.toy.git("branch", "autoresearch")
    with pytest.raises(RepositoryError, match="rename it first"):
        desk.workspace.begin()
    desk.toy.git("branch", "-D", "autoresearch")
    desk.toy.moved()


def test_begin_again_after_a_kill_changes_nothing(desk: Desk) -> None:
    desk.workspace.begin()
    before = refs(desk.toy, "refs")
    desk.workspace.begin()
    assert refs(desk.toy, "refs") == before


def test_candidates_of_a_run_whose_ledger_is_gone_are_not_taken_over(desk: Desk) -> None:
    desk.workspace.begin()
    desk.freeze(1, {"knob.txt": Blob(b"9\n")})
    before = refs(desk.toy, "refs")
    with pytest.raises(RepositoryError, match="an earlier run whose ledger is gone: choose another name"):
        desk.workspace.begin()
    assert refs(desk.toy, "refs") == before


def test_name_that_two_take_in_the_same_moment_is_had_by_one(desk: Desk, tmp_path: Path) -> None:
    """Many at once, as each looks first and takes then; none believes later that it was the one."""
    caches = [tmp_path / str(i) for i in range(8)]

    def take(cache: Path) -> bool:
        cache.mkdir(exist_ok=True)
        repository = Repository(desk.workspace.location.git_dir, cache / "scratch")
        try:
            claim(repository, "one", desk.base.commit, cache)
        except NameTaken:
            return False
        finally:
            repository.close()
        return True

    with ThreadPoolExecutor(len(caches)) as pool:
        had = list(pool.map(take, caches))
    assert had.count(True) == 1
    assert [take(cache) for cache in caches] == had


def test_refused_ref_is_told_in_gits_words(desk: Desk) -> None:
    with pytest.raises(RepositoryError, match="git update-ref failed: fatal: invalid ref format"):
        desk.workspace.base.repository.update_refs({"refs/autoresearch/a..b/1": desk.base.commit})


# -- after a kill ---------------------------------------------------------------------------------------------------------


def test_reconcile_removes_what_the_ledger_does_not_know_and_sets_what_is_missing(toy: Toy) -> None:
    patches = [knob(9), knob(11), knob(8)]
    toy.run(patches, run="one")
    before = refs(toy)
    toy.git("update-ref", "refs/autoresearch/one/7", "HEAD")
    toy.git("update-ref", "refs/autoresearch/one/1", "HEAD")
    toy.git("update-ref", "-d", "refs/autoresearch/one/2")
    toy.git("update-ref", "-d", "refs/autoresearch/one/base")
    mended: list[str] = []
    toy.run(patches, run="one", watch=lambda what, d: mended.append(str(d["words"])) if what == "mended" else None)
    assert refs(toy) == before
    assert len(mended) == 4
    assert "refs/autoresearch/one/7 removed: the ledger does not know it" in mended


def test_refs_of_other_runs_are_left_alone(toy: Toy) -> None:
    toy.run([knob(9)], run="one")
    toy.run([knob(8)], wish=Wish(name="one.two", new=True))
    toy.run([knob(7)], wish=Wish(name="on", new=True))
    expected = {f"refs/autoresearch/{run}/{name}" for run in ("on", "one", "one.two") for name in ("1", "base")}
    assert refs(toy, "refs/autoresearch").keys() == expected


# -- unusual repositories that work ---------------------------------------------------------------------------------------


def test_linked_work_tree_as_the_users_checkout(make_toy: Callable[..., Toy], tmp_path: Path) -> None:
    main = make_toy()
    other = tmp_path / "linked tree"
    main.git("worktree", "add", "-q", "-b", "side", str(other))
    linked = Toy(other)
    linked.write({"knob.txt": "7\n"})
    linked.commit("on the side")
    main.moved()
    linked.run([knob(6)], run="one")
    assert [e.value for e in linked.history().experiments if e.decided] == [7, 6]
    assert main.git("log", "--format=%s", "autoresearch/one").splitlines() == ["knob 6", "on the side", "start"]


def test_sha256_repository(tmp_path: Path, make_toy: Callable[..., Toy]) -> None:
    folder = tmp_path / "sha256"
    folder.mkdir()
    subprocess.run(["git", "init", "-q", "-b", "main", "--object-format=sha256"], cwd=folder, check=True)
    script = "import subprocess\nopen('knob.txt', 'w').write('5')\n"
    script += "print(subprocess.run(['git', 'log', '--format=%s %H'], capture_output=True, text=True).stdout)\n"
    task = '[proposer]\nkind = "command"\ncommand = "python propose.py"\n'
    toy = make_toy({"propose.py": script}, folder=folder, task=TASK + task)
    toy.run(wish=Wish(name="one", experiments=1))
    e = toy.history().experiments[1]
    assert (e.value, len(e.tree), len(e.commit)) == (5, 64, 64)
    assert len(e.description.split()[-1]) == 64
    assert toy.git("log", "-1", "--format=%H", "refs/autoresearch/one/1").strip() == e.commit


def test_shallow_clone(make_toy: Callable[..., Toy], tmp_path: Path) -> None:
    origin = make_toy()
    origin.write({"a.txt": "a"})
    origin.commit("second")
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{origin.folder}", str(tmp_path / "clone")], check=True)
    clone = Toy(tmp_path / "clone")
    clone.moved()
    clone.run([knob(9)], run="one")
    clone.check_untouched()
    assert clone.git("log", "--format=%s", "autoresearch/one").splitlines() == ["knob 9", "second"]


def test_repository_that_borrows_objects_from_another(make_toy: Callable[..., Toy], tmp_path: Path) -> None:
    origin = make_toy()
    subprocess.run(["git", "clone", "-q", "--shared", str(origin.folder), str(tmp_path / "clone")], check=True)
    clone = Toy(tmp_path / "clone")
    clone.moved()
    clone.run([knob(9)], run="one")
    clone.check_untouched()
    assert clone.history().line == [0, 1]


def test_variables_of_the_users_git_are_out_of_the_way(toy: Toy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a hook or an alias, where git sets them."""
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_WORK_TREE", "GIT_NAMESPACE"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    toy.run([knob(9)], run="one")
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_WORK_TREE", "GIT_NAMESPACE"):
        monkeypatch.delenv(name)
    assert toy.history().line == [0, 1]
    assert "refs/heads/autoresearch/one" in refs(toy, "refs")
