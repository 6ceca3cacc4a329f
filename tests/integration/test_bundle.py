"""A run in one file: written here, read, looked at and continued in another clone; a damaged file leaves nothing behind."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Toy, git

from autoresearch import bundle
from autoresearch import git as plumbing
from autoresearch.choice import Wish
from autoresearch.errors import SetupError
from autoresearch.ledger import SqliteLedger
from autoresearch.testing import Patch, canonical


def knob(value: float) -> Patch:
    return Patch({"knob.txt": f"{value}\n"}, f"knob {value}")


def export(toy: Toy, file: Path, limit_bytes: int = 10**7) -> bundle.Packed:
    location = plumbing.locate(toy.folder)
    assert location is not None
    ledger = toy.project.ledger(read_only=True)
    try:
        return bundle.pack(toy.project, location, ledger, "r", file, limit_bytes=limit_bytes)
    finally:
        ledger.close()


def clone(toy: Toy, folder: Path) -> Toy:
    top = Path(git(toy.folder, "rev-parse", "--show-toplevel").strip())
    git(folder.parent, "clone", "-q", "--branch", "main", str(top), folder.name)
    other = Toy(folder / toy.folder.relative_to(top))
    other.moved()
    return other


def form(toy: Toy) -> dict[str, Any]:
    ledger = toy.project.ledger(read_only=True)
    ledger.verify("r")
    found = canonical(ledger, "r")
    ledger.close()
    return found


@pytest.fixture
def made(toy: Toy, tmp_path: Path) -> tuple[Toy, Path]:
    """A run with a keep, a discard and an open experiment, in a file."""
    toy.run([knob(9), knob(11)], wish=Wish(name="r"))
    file = tmp_path / "r.tgz"
    export(toy, file)
    return toy, file


def nothing_of_it(folder: Path) -> None:
    assert not (folder / ".autoresearch").exists()
    refs = git(folder, "for-each-ref", "--format=%(refname)")
    assert "refs/autoresearch" not in refs
    assert "refs/heads/autoresearch" not in refs


# -- there and back ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", ["", "sub/pro ject"])
def test_colleague_reads_continues_and_revives(make_toy: Callable[..., Toy], tmp_path: Path, inside: str) -> None:
    toy = make_toy(inside=inside)
    toy.run([knob(9), knob(11)], wish=Wish(name="r"))
    packed = export(toy, tmp_path / "r.tgz")
    other = clone(toy, tmp_path / "clone")
    found = bundle.unpack(other.project, tmp_path / "r.tgz")
    assert (found.run, found.events, found.known) == ("r", packed.events, False)
    assert form(other) == form(toy)
    assert other.git("show", "autoresearch/r:./knob.txt") == "9\n"
    assert (other.project.paths.run("r").experiment(1) / "eval-1.log").read_text().strip().endswith("score: 9.0")
    other.run([knob(9), knob(11), knob(8)], wish=Wish(name="r"))
    other.run([], wish=Wish(name="r", order=("revive", {"experiment": 2})))
    history = other.history()
    assert history.incumbent.value == 8
    assert history.experiments[-1].origin == 2
    assert form(other)["experiments"][:3] == form(toy)["experiments"][:3]
    other.check_untouched()


def test_empty_repository_takes_a_run_with_the_code_it_started_from(made: tuple[Toy, Path], tmp_path: Path) -> None:
    toy, file = made
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    other = Toy(empty)
    bundle.unpack(other.project, file)
    assert form(other) == form(toy)
    other.git("checkout", "-q", "-b", "mine", "refs/autoresearch/r/base")
    other.run([knob(9), knob(11), knob(7)], wish=Wish(name="r"))
    assert other.history().incumbent.value == 7
    assert other.git("fsck", "--no-dangling", "--no-progress") == ""


def test_interpreter_that_is_not_there_is_replaced_and_the_incumbent_measured_first(
    made: tuple[Toy, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy, _ = made
    link = tmp_path / "venv" / "bin" / "python"
    link.parent.mkdir(parents=True)
    link.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(link))
    toy.run([knob(9)], wish=Wish(name="s"))
    monkeypatch.undo()
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "another cache"))
    location = plumbing.locate(toy.folder)
    assert location is not None
    ledger = toy.project.ledger(read_only=True)
    bundle.pack(toy.project, location, ledger, "s", tmp_path / "s.tgz", limit_bytes=10**6)
    ledger.close()
    shutil.rmtree(link.parent)
    other = clone(toy, tmp_path / "clone")
    bundle.unpack(other.project, tmp_path / "s.tgz")
    with pytest.raises(SetupError, match=r"which is gone.*--rebaseline"):
        toy.run([], wish=Wish(name="s"))
    other.run([knob(9), knob(8)], wish=Wish(name="s"))
    history = other.history("s")
    assert history.run is not None
    assert history.run.python == sys.executable
    assert [m.phase for m in history.experiments[1].measurements] == ["first", "refresh"]


def test_import_twice_changes_nothing_and_another_run_of_the_name_is_refused(made: tuple[Toy, Path], tmp_path: Path) -> None:
    toy, file = made
    assert bundle.unpack(toy.project, file).known
    other = clone(toy, tmp_path / "clone")
    other.run([knob(5)], wish=Wish(name="r"))
    before = form(other)
    with pytest.raises(SetupError, match=r"a run r is here already.*autoresearch rm r"):
        bundle.unpack(other.project, file)
    assert form(other) == before


def test_what_a_colleague_did_comes_back(made: tuple[Toy, Path], tmp_path: Path) -> None:
    toy, file = made
    other = clone(toy, tmp_path / "clone")
    bundle.unpack(other.project, file)
    other.run([knob(9), knob(11), knob(8)], wish=Wish(name="r"))
    export(other, tmp_path / "back.tgz")
    toy.git("checkout", "-q", "autoresearch/r")
    with pytest.raises(SetupError, match="autoresearch/r is checked out"):
        bundle.unpack(toy.project, tmp_path / "back.tgz")
    toy.git("checkout", "-q", "main")
    toy.moved()
    found = bundle.unpack(toy.project, tmp_path / "back.tgz")
    assert 0 < found.events < 40
    assert form(toy) == form(other)
    assert toy.git("show", "autoresearch/r:knob.txt") == "8\n"
    assert (toy.project.paths.run("r").experiment(3) / "eval-1.log").is_file()
    toy.run([knob(9), knob(11), knob(8), knob(7)], wish=Wish(name="r"))
    assert toy.git("show", "autoresearch/r:knob.txt") == "7\n"
    other.run([], wish=Wish(name="r"))
    export(other, tmp_path / "again.tgz")
    with pytest.raises(SetupError, match="went on here as well"):
        bundle.unpack(toy.project, tmp_path / "again.tgz")


def test_branch_of_the_name_that_stands_elsewhere_is_refused(made: tuple[Toy, Path], tmp_path: Path) -> None:
    toy, file = made
    other = clone(toy, tmp_path / "clone")
    other.git("branch", "autoresearch/r", "main~0")
    other.git("commit", "-q", "--allow-empty", "-m", "x")
    other.git("branch", "-f", "autoresearch/r")
    with pytest.raises(SetupError, match="refs/heads/autoresearch/r is here already and stands elsewhere"):
        bundle.unpack(other.project, file)
    assert not (other.folder / ".autoresearch").exists()
    assert toy.git("rev-parse", "autoresearch/r") != other.git("rev-parse", "autoresearch/r")


def test_logs_over_the_limit_are_left_out_and_said(made: tuple[Toy, Path], tmp_path: Path) -> None:
    toy, _ = made
    folder = toy.project.paths.run("r").experiment(1)
    (folder / "big.bin").write_bytes(b"0" * 5000)
    packed = export(toy, tmp_path / "small.tgz", limit_bytes=4000)
    assert packed.left_out == ("experiments/000001/big.bin",)
    assert packed.logs == 5  # the baseline twice, both candidates, and the result once more at the end


def test_run_whose_branch_was_merged_and_deleted_is_exported_whole(made: tuple[Toy, Path], tmp_path: Path) -> None:
    toy, _ = made
    toy.git("branch", "-q", "-D", "autoresearch/r")
    toy.moved()
    export(toy, tmp_path / "again.tgz")
    other = clone(toy, tmp_path / "clone")
    bundle.unpack(other.project, tmp_path / "again.tgz")
    assert other.git("show", "autoresearch/r:knob.txt") == "9\n"


# -- what is not to be believed ----------------------------------------------------------------------------------------


def members(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as archive:
        return {m.name: (archive.extractfile(m) or io.BytesIO()).read() for m in archive}


def write(file: Path, found: dict[str, bytes], extra: tarfile.TarInfo | None = None) -> None:
    with tarfile.open(file, "w:gz") as archive:
        for name, body in found.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
        if extra is not None:
            archive.addfile(extra)


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-200])


def flipped(file: Path) -> None:
    data = bytearray(gzip.decompress(file.read_bytes()))
    data[len(data) // 2] ^= 1
    file.write_bytes(gzip.compress(bytes(data)))


def better_number(file: Path) -> None:
    found = members(file)
    found["events.jsonl"] = found["events.jsonl"].replace(b'"value": 9.0', b'"value": 1.0')
    about = json.loads(found["bundle.json"])
    about["sha256"]["events.jsonl"] = bundle._hash(found["events.jsonl"])
    found["bundle.json"] = json.dumps(about).encode()
    write(file, found)


def cut_short(file: Path) -> None:
    found = members(file)
    found["events.jsonl"] = b"".join(found["events.jsonl"].splitlines(keepends=True)[:-3])
    about = json.loads(found["bundle.json"])
    about["sha256"]["events.jsonl"] = bundle._hash(found["events.jsonl"])
    found["bundle.json"] = json.dumps(about).encode()
    write(file, found)


def without_a_log(file: Path) -> None:
    found = members(file)
    del found["experiments/000001/eval-1.log"]
    write(file, found)


def other_objects(file: Path) -> None:
    found = members(file)
    found["refs.bundle"] = found["refs.bundle"][: len(found["refs.bundle"]) - 40]
    about = json.loads(found["bundle.json"])
    about["sha256"]["refs.bundle"] = bundle._hash(found["refs.bundle"])
    found["bundle.json"] = json.dumps(about).encode()
    write(file, found)


def escaping(file: Path) -> None:
    write(file, {**members(file), "experiments/000001/../../../../escaped": b"x"})


def absolute(file: Path) -> None:
    write(file, {**members(file), "/tmp/escaped": b"x"})


def linked(file: Path) -> None:
    info = tarfile.TarInfo("experiments/000001/link")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc"
    write(file, members(file), info)


def renamed(file: Path) -> None:
    found = members(file)
    about = json.loads(found["bundle.json"])
    about["run"] = "../../r"
    found["bundle.json"] = json.dumps(about).encode()
    write(file, found)


def no_archive(file: Path) -> None:
    file.write_bytes(b"hello\n")


def newer(file: Path) -> None:
    found = members(file)
    about = json.loads(found["bundle.json"])
    about["format"] = 99
    found["bundle.json"] = json.dumps(about).encode()
    write(file, found)


DAMAGES = [truncated, flipped, better_number, cut_short, without_a_log, other_objects, escaping, absolute, linked, renamed]


@pytest.mark.parametrize("damage", [*DAMAGES, no_archive, newer])
def test_damaged_file_is_refused_and_leaves_nothing(
    made: tuple[Toy, Path], tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    toy, file = made
    damage(file)
    other = clone(toy, tmp_path / "clone")
    with pytest.raises(SetupError, match=r"r\.tgz|bundle"):
        bundle.unpack(other.project, file)
    nothing_of_it(other.folder)
    assert not list(tmp_path.rglob("*escaped*"))
    other.check_untouched()


# -- killed in the middle ----------------------------------------------------------------------------------------------

KILL = """\
import os, signal, sys
from pathlib import Path
from autoresearch import bundle, git
from autoresearch.ledger import SqliteLedger
from autoresearch.objects import Repository
from autoresearch.project import Project

count = 0

def around(owner, name):
    method = getattr(owner, name)
    def wrapped(*args, **options):
        global count
        for moment in (0, 1):
            count += 1
            if count == int(sys.argv[3]):
                os.kill(os.getpid(), signal.SIGKILL)
            if not moment:
                answer = method(*args, **options)
        return answer
    setattr(owner, name, wrapped)

around(Repository, "update_refs")
around(git, "run")
around(SqliteLedger, "append")
around(SqliteLedger, "put")
around(os, "replace")
bundle.unpack(Project(Path(sys.argv[1])), Path(sys.argv[2]))
"""


def test_import_killed_anywhere_is_whole_or_can_be_made_again(made: tuple[Toy, Path], tmp_path: Path) -> None:
    toy, file = made
    kills = 0
    for kill_at in range(1, 100, 2):
        other = clone(toy, tmp_path / f"clone-{kill_at}")
        argv = [sys.executable, "-c", KILL, str(other.folder), str(file), str(kill_at)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=os.environ)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        bundle.unpack(other.project, file)
        assert form(other) == form(toy)
        assert other.git("show", "autoresearch/r:knob.txt") == "9\n"
        assert not other.project.paths.incoming.exists()
        other.check_untouched()
        if done.returncode == 0:
            break
        kills += 1
    assert kills > 5


def test_nothing_to_export_is_said(toy: Toy, tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "empty.db")
    location = plumbing.locate(toy.folder)
    assert location is not None
    with pytest.raises(SetupError, match="no baseline yet"):
        bundle.pack(toy.project, location, ledger, "r", tmp_path / "r.tgz", limit_bytes=1)
    ledger.close()
    assert list(tmp_path.glob("*.tgz*")) == []
