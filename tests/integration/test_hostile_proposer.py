"""Proposers that do what they should not, in a real repository of their own: the user's stays as it is, the run goes on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from tests.conftest import TASK, Toy

from autoresearch.choice import Wish
from autoresearch.errors import Refused
from autoresearch.git import locate
from autoresearch.records import Blob, Kind, Proposal
from autoresearch.taskfile import Scope
from autoresearch.testing import Patch
from autoresearch.workspace.evaluation import TreeOptions
from autoresearch.workspace.repository import GitWorkspace

PRELUDE = """\
import os, pathlib, shutil, subprocess, sys, time
def git(*args):
    return subprocess.run(["git", *args], capture_output=True, text=True)
def write(name, text):
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
"""

GIT_MISCHIEF = """\
write("knob.txt", "1\\n")
codes = [git(*line.split()).returncode for line in '''
stash
config user.name Mallory
branch side
branch -D side
branch -m main other
branch -D main
commit --amend --allow-empty -m mine
gc --prune=now
update-index --assume-unchanged knob.txt
update-index --skip-worktree evaluate.py
config core.worktree /nowhere
'''.strip().splitlines()]
with open(".git/info/exclude", "a") as file:
    file.write("*\\n")
write("knob.txt", "5\\n")
"""

Made = Callable[..., Toy]


def proposed(
    make_toy: Made,
    script: str,
    *,
    again: int = 1,
    timeout: str = "1m",
    task: str = TASK,
    sandbox: str = "auto",
    **files: str,
) -> Toy:
    """A run of `again` experiments by a command that does `script`; the project holds some files in and out of scope."""
    task += f'[proposer]\nkind = "command"\ncommand = "python propose.py"\ntimeout = "{timeout}"\nsandbox = "{sandbox}"\n'
    usual = {"extra/one.txt": "1\n", "data/a.txt": "a\n", "tool.sh": "#!/bin/sh\n", "propose.py": PRELUDE + script}
    toy = make_toy({**usual, **files}, task=task)
    toy.run(wish=Wish(name="one", experiments=again))
    return toy


def verdict(toy: Toy, n: int = 1) -> tuple[Kind, str, str]:
    found = toy.history().experiments[n].verdict
    assert found is not None
    return found.kind, found.reason, found.words


def candidate(toy: Toy, n: int = 1) -> list[str]:
    return toy.git("diff", "--name-status", "--no-renames", "main", f"refs/autoresearch/one/{n}").splitlines()


# -- what changed is found by contents, never through HEAD, index, exclude or config of the tree --------------------------


def test_mischief_with_a_frozen_change_is_invalid_scope_naming_the_file(make_toy: Made) -> None:
    toy = proposed(make_toy, GIT_MISCHIEF + 'write("evaluate.py", "print(\\"score: 0\\")")')
    kind, reason, words = verdict(toy)
    assert (kind, reason) == (Kind.INVALID, "scope")
    assert "evaluate.py" in words


def test_mischief_without_a_frozen_change_is_found_and_measured(make_toy: Made) -> None:
    toy = proposed(make_toy, GIT_MISCHIEF + "print(codes)")
    e = toy.history().experiments[1]
    assert e.kept
    assert e.value == 5
    assert e.description == str([0] * 5 + [1] + [0] * 5)  # each did its worst, in a repository of the proposer's own
    assert candidate(toy) == ["M\tknob.txt"]


FROZEN = {
    "changed": ('write("data/a.txt", "b")', "data/a.txt"),
    "changed to the same size and time": (
        's = os.stat("data/a.txt"); write("data/a.txt", "b\\n"); os.utime("data/a.txt", ns=(s.st_atime_ns, s.st_mtime_ns))',
        "data/a.txt",
    ),
    "deleted": ('os.unlink("evaluate.py")', "evaluate.py"),
    "deleted with its folder": ('shutil.rmtree("data")', "data/a.txt"),
    "changed in mode": ('os.chmod("tool.sh", 0o755)', "tool.sh"),
    "made a link": ('os.rename("evaluate.py", "x"); os.symlink("x", "evaluate.py")', "evaluate.py"),
    "made a folder": ('os.unlink("evaluate.py"); write("evaluate.py/x", "")', "evaluate.py"),
    "made a pipe": ('os.unlink("evaluate.py"); os.mkfifo("evaluate.py")', "evaluate.py"),
    "its folder made a link": ('os.rename("data", "extra/data"); os.symlink("extra/data", "data")', "data"),
    "the task itself": ('write("autoresearch.toml", "")', "autoresearch.toml"),
}


@pytest.mark.parametrize("act", FROZEN)
def test_tracked_frozen_file_changed_deleted_or_of_another_mode_or_type_is_invalid(make_toy: Made, act: str) -> None:
    script, named = FROZEN[act]
    toy = proposed(make_toy, f'write("knob.txt", "5")\n{script}')
    kind, reason, words = verdict(toy)
    assert (kind, reason) == (Kind.INVALID, "scope")
    assert words.startswith(f"{named} is frozen: only knob.txt, extra/**")


def test_new_files_outside_the_scope_are_dropped_and_noted(make_toy: Made) -> None:
    script = 'write("knob.txt", "5"); write("agent.log", "x"); write(".cache/y", "x"); write("data/new.txt", "x")'
    toy = proposed(make_toy, script)
    assert verdict(toy)[0] == Kind.KEEP
    assert candidate(toy) == ["M\tknob.txt"]
    (note,) = toy.history().experiments[1].notes
    assert all(name in note for name in ("agent.log", ".cache/y", "data/new.txt"))


def test_new_files_and_deletions_inside_the_scope_count(make_toy: Made) -> None:
    script = """\
write("knob.txt", "5")
os.unlink("extra/one.txt")
write("extra/new/run.sh", "x")
os.chmod("extra/new/run.sh", 0o755)
os.symlink("../knob.txt", "extra/link")
"""
    toy = proposed(make_toy, script)
    assert candidate(toy) == ["A\textra/link", "A\textra/new/run.sh", "D\textra/one.txt", "M\tknob.txt"]
    modes = toy.git("ls-tree", "-r", "refs/autoresearch/one/1", "extra").split("\n")
    assert [row.split()[0] for row in modes if row] == ["120000", "100755"]


def test_ignored_files_bytecode_and_repositories_inside_the_scope_never_enter(make_toy: Made) -> None:
    script = """\
write("knob.txt", "5")
write("extra/cache.tmp", "x")
write("extra/__pycache__/one.cpython-311.pyc", "x")
git("init", "extra/sub")
write("extra/sub/kept.txt", "x")
"""
    toy = proposed(make_toy, script)
    assert candidate(toy) == ["A\textra/sub/kept.txt", "M\tknob.txt"]


def test_files_made_unreadable_are_read_all_the_same(make_toy: Made) -> None:
    toy = proposed(make_toy, 'write("knob.txt", "5"); os.chmod("knob.txt", 0); os.chmod("data", 0); os.chmod(".", 0)')
    assert toy.history().experiments[1].value == 5


# -- proposers that misbehave ---------------------------------------------------------------------------------------------


def test_proposer_that_commits_by_itself_is_measured_against_its_parent(make_toy: Made) -> None:
    toy = proposed(make_toy, 'write("knob.txt", "5"); git("add", "-A"); git("commit", "-m", "mine"); print("committed")')
    assert toy.history().experiments[1].value == 5
    assert toy.git("log", "--format=%s", "autoresearch/one").splitlines() == ["committed", "start"]


def test_proposer_that_makes_the_runs_branch_itself_makes_it_in_its_own_repository(make_toy: Made) -> None:
    script = 'git("checkout", "-b", "autoresearch/one"); write("knob.txt", "5"); git("commit", "-am", "mine"); print("done")'
    toy = proposed(make_toy, script)
    assert toy.git("log", "--format=%s %an", "autoresearch/one").splitlines() == ["done autoresearch", "start Owner"]
    assert verdict(toy)[0] == Kind.KEEP


DESTRUCTION = {
    "deletes its tree": 'shutil.rmtree(os.getcwd()); print("gone")',
    "deletes all files": 'for p in os.listdir("."): shutil.rmtree(p) if os.path.isdir(p) else os.unlink(p)',
    "puts a link to the user's folder in its place": 'here = os.getcwd(); shutil.rmtree(here); os.symlink("{user}", here)',
}


@pytest.mark.parametrize("act", DESTRUCTION)
def test_proposer_that_destroys_its_tree_is_invalid_and_the_next_one_finds_it_whole(
    make_toy: Made, tmp_path: Path, act: str
) -> None:
    script = DESTRUCTION[act].format(user=tmp_path / "user-0").replace("\n", "\n    ")
    flag = tmp_path / "second"
    script = f"""\
if os.path.exists("{flag}"):
    write("knob.txt", str(5 + (git("status", "--porcelain").stdout != "")))
else:
    write("{flag}", "")
    {script}
"""
    toy = proposed(make_toy, script, again=2, sandbox="none")
    assert verdict(toy)[:2] == (Kind.INVALID, "scope")
    assert toy.history().experiments[2].value == 5  # its status was clean


@pytest.mark.parametrize("act", ['shutil.rmtree(".git")', 'shutil.rmtree(".git"); write(".git", "gitdir: {user}/.git\\n")'])
def test_proposer_that_replaces_its_repository_is_measured_and_the_next_gets_a_new_one(
    make_toy: Made, tmp_path: Path, act: str
) -> None:
    script = f'commits = git("rev-list", "--count", "--all").stdout.strip()\n{act.format(user=tmp_path / "user-0")}\n'
    script += 'write("knob.txt", str(float(open("knob.txt").read()) - 1)); print(commits, "commits")'
    toy = proposed(make_toy, script, again=2)
    assert [(e.value, e.description) for e in toy.history().experiments[1:]] == [(9, "1 commits"), (8, "1 commits")]


def test_proposer_that_prints_nothing_is_measured(make_toy: Made) -> None:
    toy = proposed(make_toy, 'write("knob.txt", "5")')
    e = toy.history().experiments[1]
    assert (e.kept, e.description) == (True, "")
    assert toy.git("log", "-1", "--format=%s", "autoresearch/one").strip() == "experiment 1"


def test_proposer_that_changes_nothing_is_invalid_and_measured_nowhere(make_toy: Made) -> None:
    toy = proposed(make_toy, 'write("knob.txt", "10\\n"); write("note.txt", "x")')
    assert verdict(toy)[:2] == (Kind.INVALID, "no_change")
    assert toy.history().evaluations == 2


def test_proposer_that_hangs_is_ended_at_its_limit(make_toy: Made) -> None:
    toy = proposed(make_toy, 'write("knob.txt", "5"); time.sleep(600)', timeout="1s")
    assert verdict(toy)[:2] == (Kind.INVALID, "proposer_timeout")


def test_proposer_that_fails_is_invalid(make_toy: Made) -> None:
    toy = proposed(make_toy, 'write("knob.txt", "5"); sys.exit("out of ideas")')
    kind, reason, words = verdict(toy)
    assert (kind, reason) == (Kind.INVALID, "proposer_crash")
    assert "out of ideas" in words


def test_daemon_of_a_proposer_is_gone_before_its_change_is_read(make_toy: Made, tmp_path: Path) -> None:
    script = f"""\
write("knob.txt", "5")
sys.stdout.flush()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        write("{tmp_path}/alive", str(os.getpid()))
        for fd in (0, 1, 2):
            os.close(fd)
        end = time.time() + 60
        while time.time() < end:
            write("{tmp_path}/beat", str(time.time()))
            write("evaluate.py", "print('score: 0')")
            time.sleep(0.005)
    os._exit(0)
while not os.path.exists("{tmp_path}/beat"):
    time.sleep(0.01)
os.unlink("evaluate.py")
"""
    toy = proposed(make_toy, script, sandbox="none")
    assert verdict(toy)[:2] == (Kind.INVALID, "scope")
    beat = (tmp_path / "beat").read_text()
    anyio.run(anyio.sleep, 0.2)
    assert (tmp_path / "beat").read_text() == beat


def test_hooks_and_filters_of_the_user_never_run_for_us(make_toy: Made, tmp_path: Path) -> None:
    toy = make_toy({".gitattributes": "* filter=spy\n"})
    for name in ("reference-transaction", "post-checkout", "post-index-change", "pre-commit"):
        hook = toy.folder / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho {name} >> '{tmp_path}/fired'\n")
        hook.chmod(0o755)
    for key in ("filter.spy.smudge", "core.fsmonitor", "filter.spy.process"):
        toy.git("config", key, f"echo {key} >> '{tmp_path}/fired'; cat")
    toy.known = None
    (tmp_path / "fired").unlink(missing_ok=True)

    toy.run([Patch({"knob.txt": "9\n"})], wish=Wish(name="one", start="HEAD"))
    assert not (tmp_path / "fired").exists()
    for key in ("filter.spy.smudge", "core.fsmonitor", "filter.spy.process"):
        toy.git("config", "--unset", key)
    toy.moved()


# -- what a proposer can see ----------------------------------------------------------------------------------------------


def test_proposer_sees_one_root_commit_and_none_of_the_users_objects(make_toy: Made) -> None:
    script = """\
log = git("log", "--all", "--format=%s").stdout.split("\\n")
old = sys.stdin.read() and open("data/a.txt").read().strip()
found = git("cat-file", "-t", old).returncode == 0
remotes = git("remote").stdout
print(len([row for row in log if row]), "commit,", "sees" if found else "does not see", "the history", remotes)
write("knob.txt", "5")
"""
    task = TASK + '[proposer]\nkind = "command"\ncommand = "python propose.py"\n'
    toy = make_toy({"secret.txt": "the user's earlier work\n", "propose.py": PRELUDE + script}, task=task)
    blob = toy.git("rev-parse", "HEAD:secret.txt").strip()
    (toy.folder / "secret.txt").unlink()
    toy.write({"data/a.txt": f"{blob}\n"})
    toy.commit("remove the secret")
    toy.run(wish=Wish(name="one", experiments=1))
    assert toy.history().experiments[1].description == "1 commit, does not see the history"


def everything_in(git_dir: Path) -> bytes:
    """All objects that a repository can reach, alternates and loose leftovers included."""
    names = subprocess.run(
        ["git", f"--git-dir={git_dir}", "cat-file", "--batch-all-objects", "--batch"], capture_output=True, check=True
    )
    return names.stdout


def test_hidden_files_are_in_no_tree_and_in_no_object_of_the_proposers_repository(make_toy: Made, tmp_path: Path) -> None:
    """The view: a file left out of the base, also one in the editable scope."""
    toy = make_toy({"holdout.py": "SECRET = 'answer 42'\n", "extra/private.csv": "answer 43\n", "extra/one.txt": "1\n"})
    location = locate(toy.folder)
    assert location is not None
    workspace = GitWorkspace(
        location,
        Scope(("knob.txt", "extra/**")),
        run="one",
        base=toy.git("rev-parse", "HEAD").strip(),
        cache=tmp_path / "cache" / "one",
        options=TreeOptions({}),
        hidden=frozenset({"holdout.py", "extra/private.csv"}),
    )
    base = workspace.baseline(0)

    async def folders() -> tuple[Path, Path]:
        place = await workspace.place(0, base)
        assert place.folder is not None
        return place.folder, await workspace.draft(0, base, None).folder()

    try:
        evaluation, proposal = anyio.run(folders)
        for root in (evaluation, proposal):
            assert (root / "extra/one.txt").read_text() == "1\n"
            assert not (root / "holdout.py").exists()
            assert not (root / "extra/private.csv").exists()
        objects = everything_in(proposal / ".git")
        assert b"score" in objects
        assert b"answer" not in objects
        reachable = [proposal / ".git" / "objects"]
        while reachable:  # no alternate leads to a store that holds them either
            store = reachable.pop()
            assert not store.resolve().is_relative_to(toy.folder.resolve())
            alternates = store / "info" / "alternates"
            reachable += [Path(row) for row in alternates.read_text().split("\n") if row] if alternates.exists() else []
    finally:
        workspace.close()


def test_a_hidden_file_in_the_scope_cannot_be_replaced(make_toy: Made, tmp_path: Path) -> None:

    toy = make_toy({"extra/private.csv": "answer 43\n"})
    location = locate(toy.folder)
    assert location is not None
    scope, base = Scope(("extra/**",)), toy.git("rev-parse", "HEAD").strip()
    hidden = frozenset({"extra/private.csv"})
    cache = tmp_path / "cache" / "one"
    workspace = GitWorkspace(location, scope, run="one", base=base, cache=cache, options=TreeOptions({}), hidden=hidden)
    try:
        proposal, base_candidate = Proposal("", {"extra/private.csv": Blob(b"answer 1\n")}), workspace.baseline(0)
        with pytest.raises(Refused, match=r"extra/private\.csv is frozen"):
            workspace.freeze(1, base_candidate, proposal, 0, lambda tree: None)
    finally:
        workspace.close()


def test_no_object_of_the_user_is_lost_or_added_but_candidates(toy: Toy) -> None:
    """The writes into the user's repository: objects, refs/autoresearch/** and the run's branch."""

    before = set(toy.git("for-each-ref", "--format=%(refname)").split())
    toy.run([Patch({"knob.txt": "9\n"})], run="one")
    new = set(toy.git("for-each-ref", "--format=%(refname)").split()) - before
    assert new == {"refs/autoresearch/one/1", "refs/autoresearch/one/base", "refs/heads/autoresearch/one"}
    assert toy.git("fsck", "--no-dangling", "--no-progress") == ""
    assert sorted(os.listdir(toy.folder / ".autoresearch"))[:2] == [".gitignore", "files"]
