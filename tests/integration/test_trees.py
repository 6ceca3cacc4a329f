"""Evaluation trees after foreign programs ran in them: the next evaluation sees the base and nothing else."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import anyio
import pytest
from tests.conftest import EVALUATE, TASK, Toy, git

from autoresearch.choice import Wish
from autoresearch.git import locate
from autoresearch.records import Blob, Candidate, Edits, Kind, Proposal
from autoresearch.taskfile import Scope
from autoresearch.testing import Patch
from autoresearch.workspace.evaluation import TreeOptions
from autoresearch.workspace.repository import GitWorkspace

FILES = {"data/a.txt": "a\n", "data/deep/b.txt": "b\n", "extra/one.txt": "1\n", "tool.sh": "#!/bin/sh\n"}


def listing(root: Path) -> dict[str, tuple[str, int, bytes]]:
    """Everything below a folder: type, permissions, and content."""
    found: dict[str, tuple[str, int, bytes]] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder) / name
            mode = path.lstat().st_mode
            kind = stat.filemode(mode)[0]
            content = os.fsencode(os.readlink(path)) if kind == "l" else path.read_bytes() if kind == "-" else b""
            found[str(path.relative_to(root))] = (kind, stat.S_IMODE(mode), content)
    return found


class Bench:
    """A git workspace on a toy, used directly."""

    def __init__(self, toy: Toy, cache: Path, *, links: Mapping[str, Path] | None = None) -> None:
        location = locate(toy.folder)
        assert location is not None
        scope = Scope(("knob.txt", "extra/**"))
        base = git(toy.folder, "rev-parse", "HEAD").strip()
        options = TreeOptions(links or {})
        self.workspace = GitWorkspace(location, scope, run="one", base=base, cache=cache, options=options)
        self.base = self.workspace.baseline(0)
        self._n = 0

    def place(self, candidate: Candidate | None = None) -> Path:
        place = anyio.run(self.workspace.place, 0, candidate or self.base)
        assert place.folder is not None
        return place.folder

    def after(self, act: Callable[[Path], object]) -> Path:
        """The next evaluation's folder after an evaluation that did `act`."""
        act(self.place())
        self.workspace.vacate(0)
        return self.place()

    def freeze(self, edits: Edits, parent: Candidate | None = None) -> Candidate:
        self._n += 1
        return self.workspace.freeze(self._n, parent or self.base, Proposal("change", edits), 0, lambda tree: None)


@pytest.fixture
def bench(make_toy: Callable[..., Toy], tmp_path: Path) -> Iterator[Bench]:
    toy = make_toy(FILES)
    (toy.folder / "tool.sh").chmod(0o755)
    toy.commit()
    bench = Bench(toy, tmp_path / "cache" / "one")
    yield bench
    bench.workspace.close()


def rewrite_a_frozen_file_keeping_size_and_mtime(root: Path) -> None:
    path = root / "evaluate.py"
    old, text = path.stat(), path.read_bytes()
    time.sleep(0.02)  # as long as any program takes to start
    path.write_bytes(text.replace(b"{value}", b"{-9.99}"))
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (old.st_size, old.st_mtime_ns)


def drop_an_ignored_file(root: Path) -> None:
    (root / "cache.tmp").write_text("remembered")


def drop_untracked_files_and_empty_folders(root: Path) -> None:
    (root / "new.txt").write_text("x")
    (root / "data" / "new.txt").write_text("x")
    (root / "empty" / "emptier").mkdir(parents=True)
    (root / "data" / "empty").mkdir()


def leave_bytecode(root: Path) -> None:
    (root / "data" / "__pycache__").mkdir()
    (root / "data" / "__pycache__" / "knob.cpython-311.pyc").write_bytes(b"stale")


def git_init_in_the_root(root: Path) -> None:
    git(root, "init", "-q")
    git(root, "add", "-A")


def git_init_in_a_folder(root: Path) -> None:
    git(root / "data", "init", "-q")
    git(root / "data", "add", "-A")
    git(root / "data", "commit", "-q", "-m", "mine")


def replace_a_folder_by_a_link(root: Path) -> None:
    (root / "data").rename(root.parent / "moved")
    (root / "data").symlink_to(root.parent / "moved")


def replace_a_file_by_a_link(root: Path) -> None:
    (root / "evaluate.py").unlink()
    (root / "evaluate.py").symlink_to("knob.txt")


def replace_a_file_by_a_folder(root: Path) -> None:
    (root / "evaluate.py").unlink()
    (root / "evaluate.py" / "inner").mkdir(parents=True)


def replace_a_folder_by_a_file(root: Path) -> None:
    shutil.rmtree(root / "data")
    (root / "data").write_text("no folder any more")


def make_a_folder_unreadable(root: Path) -> None:
    (root / "data" / "deep").chmod(0)
    (root / "data").chmod(0)


def make_a_folder_without_search(root: Path) -> None:
    (root / "data").chmod(0o400)


def make_a_folder_read_only(root: Path) -> None:
    (root / "data" / "left.txt").write_text("x")
    (root / "data").chmod(0o500)


def leave_unreadable_folders(root: Path) -> None:
    (root / "new" / "newer" / "newest").mkdir(parents=True)
    (root / "new" / "newer" / "newest" / "file").write_text("x")
    for name in ("new/newer/newest", "new/newer", "new"):
        (root / name).chmod(0)


def make_the_root_unreadable(root: Path) -> None:
    (root / "left.txt").write_text("x")
    root.chmod(0)


def make_the_root_read_only(root: Path) -> None:
    (root / "evaluate.py").unlink()
    root.chmod(0o500)


def change_modes(root: Path) -> None:
    (root / "evaluate.py").chmod(0o777)
    (root / "tool.sh").chmod(0o644)
    (root / "knob.txt").chmod(0)


def delete_files_and_folders(root: Path) -> None:
    (root / "evaluate.py").unlink()
    shutil.rmtree(root / "data")


def leave_a_pipe_and_a_socket(root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "knob.txt").unlink()
    os.mkfifo(root / "knob.txt")
    with socket.socket(socket.AF_UNIX) as left:
        here = os.open(root, os.O_RDONLY)
        left.bind(f"/proc/self/fd/{here}/socket" if sys.platform == "linux" else str(root / "socket"))
        os.close(here)


def leave_hard_links(root: Path) -> None:
    os.link(root / "evaluate.py", root / "again.py")
    (root / "again.py").write_text("print('score: -1')")


def swap_files_by_renaming(root: Path) -> None:
    (root / "evaluate.py").rename(root / "x")
    (root / "data" / "a.txt").rename(root / "evaluate.py")
    (root / "x").rename(root / "data" / "a.txt")


def delete_the_whole_tree(root: Path) -> None:
    shutil.rmtree(root)


def replace_the_tree_by_another_folder(root: Path) -> None:
    root.rename(root.parent / "old")
    shutil.copytree(root.parent / "old", root)


ACTS = [
    rewrite_a_frozen_file_keeping_size_and_mtime,
    drop_an_ignored_file,
    drop_untracked_files_and_empty_folders,
    leave_bytecode,
    git_init_in_the_root,
    git_init_in_a_folder,
    replace_a_folder_by_a_link,
    replace_a_file_by_a_link,
    replace_a_file_by_a_folder,
    replace_a_folder_by_a_file,
    make_a_folder_unreadable,
    make_a_folder_without_search,
    make_a_folder_read_only,
    leave_unreadable_folders,
    make_the_root_unreadable,
    make_the_root_read_only,
    change_modes,
    delete_files_and_folders,
    leave_a_pipe_and_a_socket,
    leave_hard_links,
    swap_files_by_renaming,
    delete_the_whole_tree,
    replace_the_tree_by_another_folder,
]


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_next_evaluation_sees_the_base_and_nothing_else(bench: Bench, act: Callable[[Path], None]) -> None:
    before = listing(bench.place())
    assert before["tool.sh"][1] & 0o111
    root_mode = bench.place().stat().st_mode
    after = bench.after(act)
    assert listing(after) == before
    assert after.stat().st_mode == root_mode


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_next_candidate_shows_exactly_its_files(bench: Bench, act: Callable[[Path], None]) -> None:
    candidate = bench.freeze({"knob.txt": Blob(b"9\n"), "extra/one.txt": None, "extra/new/x": Blob(b"x", "100755")})
    expected = listing(bench.place(candidate))
    assert expected["knob.txt"][2] == b"9\n"
    assert "extra/one.txt" not in expected
    assert expected["extra/new/x"][:2] == ("-", 0o755)
    bench.after(act)
    assert listing(bench.place(candidate)) == expected


def every_act(folder: Path, user: int) -> None:
    """All acts one after the other, in this process, as another user."""
    anyio.run(anyio.sleep, 0)  # imports what is imported late, before the interpreter's own files get out of reach
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    os.umask(0o022)
    toy = Toy(folder / "user")
    toy.folder.mkdir()
    git(toy.folder, "init", "-q", "-b", "main")
    toy.write({"knob.txt": "10\n", "evaluate.py": EVALUATE, **FILES})
    (toy.folder / "tool.sh").chmod(0o755)
    toy.commit()
    bench = Bench(toy, folder / "cache")
    before = listing(bench.place())
    for act in ACTS:
        assert listing(bench.after(act)) == before, act.__name__
    bench.workspace.close()


@pytest.mark.skipif(os.getuid() != 0, reason="the other tests have just run as an ordinary user")
def test_trees_hold_for_an_ordinary_user() -> None:
    """Root may read and write everything, which hides what unreadable folders do."""
    nobody = 65534
    code = "import pathlib, sys; from tests.integration.test_trees import every_act as run; "
    code += f"run(pathlib.Path(sys.argv[1]), {nobody}); print('all')"
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, nobody, nobody)
        env = os.environ | {"HOME": folder, "TMPDIR": folder, "PYTHONPATH": str(Path(__file__).parents[2])}
        argv = [sys.executable, "-B", "-c", code, folder]
        result = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert result.stdout == "all\n", result.stderr[-3000:]


def test_a_link_in_place_of_the_tree_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    """Nothing that lies behind it is scanned, changed or removed."""
    victim = tmp_path / "victim"
    (victim / ".git").mkdir(parents=True)
    (victim / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (victim / "thesis.txt").write_text("dear")
    known, before = listing(victim), listing(bench.place())

    def replace(root: Path) -> None:
        shutil.rmtree(root)
        root.symlink_to(victim)

    assert listing(bench.after(replace)) == before
    assert listing(victim) == known


def test_an_input_that_an_evaluation_deleted_is_linked_again(make_toy: Callable[..., Toy], tmp_path: Path) -> None:
    data = tmp_path / "data set"
    data.mkdir()
    bench = Bench(make_toy(), tmp_path / "cache" / "one", links={"inputs/set": data})
    before = listing(bench.place())
    assert before["inputs/set"] == ("l", 0o777, os.fsencode(data))
    assert listing(bench.after(lambda root: (root / "inputs/set").unlink())) == before
    assert listing(bench.after(lambda root: shutil.rmtree(root / "inputs"))) == before
    bench.workspace.close()


def test_tree_of_one_candidate_leaves_nothing_in_the_next(bench: Bench) -> None:
    base = listing(bench.place())
    new = bench.freeze({"extra/a/b": Blob(b"1"), "extra/link": Blob(b"../knob.txt", "120000"), "knob.txt": None})
    other = bench.freeze({"extra/a": Blob(b"a file now")}, parent=new)
    shown = listing(bench.place(new))
    assert shown["extra/link"] == ("l", 0o777, b"../knob.txt")
    assert "knob.txt" not in shown
    assert listing(bench.place(other))["extra/a"] == ("-", 0o644, b"a file now")
    assert listing(bench.place(new)) == shown
    assert listing(bench.place()) == base


def test_files_of_a_tree_are_never_hard_links(bench: Bench) -> None:
    root = bench.place(bench.freeze({"extra/new": Blob(b"1")}))
    files = [p for p in root.rglob("*") if p.is_file()]
    assert len(files) >= 7
    assert {p.stat().st_nlink for p in files} == {1}


def test_evaluation_tree_has_no_git_folder(bench: Bench) -> None:
    assert ".git" not in os.listdir(bench.place())


def test_a_changed_file_is_at_least_a_second_later_than_any_it_had(bench: Bench) -> None:
    path = bench.place() / "knob.txt"
    times = [path.stat().st_mtime]
    for value in (1, 2, 3):
        bench.place(bench.freeze({"knob.txt": Blob(b"%d\n" % value)}))
        times.append(path.stat().st_mtime)
    bench.after(lambda root: os.utime(root / "knob.txt", (0, times[-1] + 50)))
    times.append(path.stat().st_mtime)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert min(gaps) >= 0.999
    assert gaps[-1] > 50


def test_fifty_knob_values_of_equal_length_are_each_measured_as_themselves(make_toy: Callable[..., Toy]) -> None:
    """From a module, twice imported: stale bytecode would show the value before."""
    evaluate = "import params\nprint('score:', params.VALUE)\n"
    toy = make_toy({"params.py": "VALUE = 10\n", "evaluate.py": evaluate}, task=TASK.replace("knob.txt", "params.py"))
    values = range(99, 49, -1)
    toy.run([Patch({"params.py": f"VALUE = {v}\n"}, str(v)) for v in values])
    history = toy.history()
    assert [e.own[0].values["score"] for e in history.experiments[1:] if e.decided] == list(values)


def test_a_daemon_that_writes_into_the_tree_reaches_no_later_evaluation(make_toy: Callable[..., Toy]) -> None:
    evaluate = """\
        import os, sys, time
        print(sorted(os.listdir(".")), sorted(os.listdir("extra")))
        print("score:", float(open("knob.txt").read()))
        sys.stdout.flush()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for fd in (0, 1, 2):
                    os.close(fd)
                end = time.time() + 60
                while time.time() < end:
                    for name in ("knob.txt", "extra/one.txt", "left.txt", "evaluate.py"):
                        with open(name, "w") as file:
                            file.write("1")
                    time.sleep(0.001)
            os._exit(0)
        time.sleep(0.1)
    """
    toy = make_toy({"evaluate.py": evaluate, "extra/one.txt": "1\n"})
    toy.run([Patch({"knob.txt": f"{v}\n"}) for v in (9, 11, 8)], run="one")
    history = toy.history()
    assert [[m.values["score"] for m in e.own] for e in history.experiments if e.decided] == [[10, 10], [9], [11], [8]]
    logs = sorted((toy.folder / ".autoresearch/one/experiments").rglob("eval-*.log"))
    lists = {log.read_text().splitlines()[0] for log in logs}
    assert len(logs) == 6  # the result once more at the end
    assert lists == {"['.gitignore', 'autoresearch.toml', 'evaluate.py', 'extra', 'knob.txt'] ['one.txt']"}


def test_what_one_evaluation_leaves_is_gone_in_the_next_of_a_run(make_toy: Callable[..., Toy]) -> None:
    """The integrated way: an evaluator that would remember in an ignored file measures honestly."""
    evaluate = """\
        import os, pathlib
        memory = pathlib.Path("memory.tmp")
        bonus = 100 if memory.exists() else 0
        memory.write_text("x")
        os.chmod("evaluate.py", 0o600)
        print("score:", float(open("knob.txt").read()) - bonus)
    """
    toy = make_toy({"evaluate.py": evaluate})
    toy.run([Patch({"knob.txt": f"{v}\n"}) for v in (12, 9)], wish=Wish(name="one"))
    kinds = [e.verdict.kind for e in toy.history().experiments if e.verdict]
    assert kinds == [Kind.KEEP, Kind.DISCARD, Kind.KEEP]
