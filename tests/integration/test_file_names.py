"""Awkward files, as a fixture: names, line ends, links, modes, empty files, a task in a sub-folder of its repository."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import TASK, Toy, git

from autoresearch.choice import Wish
from autoresearch.errors import SetupError
from autoresearch.records import Kind
from autoresearch.testing import Patch

NAMES = {
    "spaces": "two words  and more.txt",
    "quotes": "a\"b'c`d.txt",
    "newline": "first\nsecond.txt",
    "tab and backslash": "a\tb\\c.txt",
    "unicode": "naïve-日本-🚀.txt",
    "decomposed unicode": "e\u0301.txt",
    "bytes that are no UTF-8": os.fsdecode(b"caf\xe9.txt"),
    "leading dash": "-rf.txt",
    "glob": "[a]*?.txt",
    "colon and percent": ":(top)%20.txt",
    "hash and dot": "#x.",
}

COMMAND = '[proposer]\nkind = "command"\ncommand = "python propose.py"\n'


def command_run(make_toy: Callable[..., Toy], script: str, files: dict[str, str | bytes], **options: str) -> Toy:
    files = {**files, "propose.py": "import os, pathlib, shutil\n" + script}
    toy = make_toy(files, task=options.get("task", TASK) + COMMAND, inside=options.get("inside", ""))
    toy.run(wish=Wish(name="one", experiments=1))
    return toy


def changed(toy: Toy, n: int = 1) -> dict[str, str]:
    rows = toy.git("diff", "--name-status", "--no-renames", "-z", "main", f"refs/autoresearch/one/{n}").encode(
        "utf-8", "replace"
    )
    fields = rows.decode().split("\0")[:-1]
    return dict(zip(fields[1::2], fields[::2], strict=True))


@pytest.mark.parametrize("kind", NAMES)
def test_edited_new_and_deleted_files_of_any_name_reach_the_candidate(make_toy: Callable[..., Toy], kind: str) -> None:
    name = NAMES[kind]
    script = f"""\
name = {os.fsencode(name)!r}
folder = b"extra/" + name + b".d/"
os.mkdir(folder)
(open(folder + name, "wb")).write(b"new")
(open(b"extra/" + name, "wb")).write(b"5")
os.unlink(b"extra/old/" + name)
(open(b"dropped " + name, "wb")).write(b"x")
"""
    # the evaluation reads the file by its name, so it has to stand in its tree under exactly that name
    evaluate = f"""\
import os
name = {os.fsencode(name)!r}
extra = sorted(os.listdir(b"extra"))
assert extra in (sorted([name, b"old"]), sorted([name, name + b".d"])), extra
assert open(b"frozen " + name).read() == "frozen"
print("score:", float(open(b"extra/" + name).read()))
"""
    files: dict[str, str | bytes] = {f"extra/{name}": "10", f"extra/old/{name}": "1", f"frozen {name}": "frozen"}
    toy = make_toy({"evaluate.py": evaluate, "propose.py": "import os\n" + script, **files}, task=TASK + COMMAND)
    toy.run(wish=Wish(name="one", experiments=1))
    e = toy.history().experiments[1]
    assert (e.kept, e.value) == (True, 5)
    assert "dropped" in e.notes[0]
    listed = subprocess.run(
        ["git", "ls-tree", "-r", "-z", "--name-only", "autoresearch/one"], cwd=toy.folder, capture_output=True, check=True
    )
    names = {os.fsdecode(row) for row in listed.stdout.split(b"\0") if os.fsdecode(row).startswith("extra")}
    assert names == {f"extra/{name}", f"extra/{name}.d/{name}"}


@pytest.mark.parametrize("kind", NAMES)
def test_frozen_file_of_any_name_is_named_when_it_was_changed(make_toy: Callable[..., Toy], kind: str) -> None:
    name = NAMES[kind]
    toy = command_run(make_toy, f'open({os.fsencode(name)!r}, "w").write("x")', {name: "frozen"})
    verdict = toy.history().experiments[1].verdict
    assert verdict is not None
    assert (verdict.kind, verdict.reason) == (Kind.INVALID, "scope")
    assert "is frozen" in verdict.words
    assert "\n" not in verdict.words


def test_project_in_an_awkward_folder(make_toy: Callable[..., Toy], awkward: Path) -> None:
    folder = awkward / "pro\tject $HOME `x` ;"
    toy = make_toy({"propose.py": "open('knob.txt', 'w').write('5')"}, folder=folder, task=TASK + COMMAND)
    toy.run(wish=Wish(name="one", experiments=1))
    assert toy.history().experiments[1].value == 5


# -- line ends ------------------------------------------------------------------------------------------------------------


EVALUATE_ENDS = """\
import hashlib, pathlib
for name in ("crlf.txt", "extra/crlf.txt", "extra/lf.txt", "knob.txt"):
    print(name, pathlib.Path(name).read_bytes())
print("score:", float(pathlib.Path("knob.txt").read_text()))
"""


@pytest.mark.parametrize(
    ("autocrlf", "attributes"),
    [
        ("true", ""),
        ("input", ""),
        ("", "* text=auto\n"),
        ("true", "* text=auto\n"),
        ("", "* text eol=crlf\n"),
        ("", "*.txt text eol=lf\n"),
        ("", "* ident working-tree-encoding=UTF-16\n"),
    ],
)
def test_bytes_are_raw_whatever_line_ends_are_configured(make_toy: Callable[..., Toy], autocrlf: str, attributes: str) -> None:
    """Committed raw first, configured later: trees hold what the commit holds, and what was not edited is not changed."""
    files: dict[str, str | bytes] = {"crlf.txt": b"a\r\nb\r\n", "extra/crlf.txt": b"$Id$\r\n", "extra/lf.txt": b"a\nb\n"}
    script = 'open("knob.txt", "wb").write(b"5\\r\\n"); open("extra/lf.txt", "ab").write(b"c\\n")'
    script += '\nopen("extra/crlf.txt", "rb").read() == b"$Id$\\r\\n" or exit("not raw")'
    toy = make_toy({**files, "evaluate.py": EVALUATE_ENDS, "propose.py": script}, task=TASK + COMMAND)
    if attributes:
        toy.git("update-index", "--add", "--cacheinfo", f"100644,{_blob(toy, attributes)},.gitattributes")
        toy.git("commit", "-q", "-m", "attributes")
        toy.write({".gitattributes": attributes})
    if autocrlf:
        toy.git("config", "core.autocrlf", autocrlf)
    toy.moved()
    toy.run(wish=Wish(name="one", start="HEAD", experiments=1))
    assert changed(toy) == {"knob.txt": "M", "extra/lf.txt": "M"}
    blobs = subprocess.run(
        ["git", "cat-file", "blob", "autoresearch/one:knob.txt"], cwd=toy.folder, capture_output=True, check=True
    )
    assert blobs.stdout == b"5\r\n"
    log = (toy.folder / ".autoresearch/one/experiments/000001/eval-1.log").read_text()
    assert str(b"a\r\nb\r\n") in log
    assert str(b"$Id$\r\n") in log
    assert str(b"a\nb\nc\n") in log


def _blob(toy: Toy, text: str) -> str:
    return git(toy.folder, "hash-object", "-w", "--stdin", "--no-filters", input=text).strip()


# -- links, modes, empty files --------------------------------------------------------------------------------------------


def test_links_modes_and_empty_files_survive_from_base_to_candidate(make_toy: Callable[..., Toy]) -> None:
    evaluate = """\
        import os, stat
        assert os.readlink("link") == "extra/empty", os.readlink("link")
        assert os.readlink("extra/dangling") in ("/no/where", "empty")
        assert os.path.getsize("extra/empty") == 0
        assert os.access("extra/run.sh", os.X_OK)
        print("score:", len(os.readlink("extra/dangling")))
    """
    script = 'os.unlink("extra/dangling"); os.symlink("empty", "extra/dangling"); os.chmod("extra/plain", 0o755)'
    script += '\npathlib.Path("extra/empty too").touch(); os.symlink("deep", "extra/folder link")'
    task = TASK.replace('"extra/**"', '"extra/**", "extra/**/dangling"')  # of the base, and it leads out of the tree
    toy = make_toy({"evaluate.py": evaluate, "propose.py": f"import os, pathlib\n{script}"}, task=task + COMMAND)
    toy.write({"extra/empty": "", "extra/run.sh": "#!/bin/sh\n", "extra/plain": "x", "extra/deep/x": "x"})
    (toy.folder / "extra/run.sh").chmod(0o755)
    (toy.folder / "extra/dangling").symlink_to("/no/where")
    (toy.folder / "link").symlink_to("extra/empty")
    toy.commit()
    toy.run(wish=Wish(name="one", experiments=1))
    assert toy.history().experiments[1].value == 5
    assert changed(toy) == {"extra/dangling": "M", "extra/plain": "M", "extra/empty too": "A", "extra/folder link": "A"}
    modes = {row.split("\t")[1]: row.split()[0] for row in toy.git("ls-tree", "-r", "autoresearch/one").splitlines()}
    assert modes["extra/plain"] == modes["extra/run.sh"] == "100755"
    assert modes["extra/dangling"] == modes["extra/folder link"] == modes["link"] == "120000"


def test_file_emptied_and_file_filled(make_toy: Callable[..., Toy]) -> None:
    script = 'open("extra/a", "w"); open("extra/b", "w").write("b"); open("knob.txt", "w").write("5")'
    toy = command_run(make_toy, script, {"extra/a": "a", "extra/b": ""})
    assert changed(toy) == {"extra/a": "M", "extra/b": "M", "knob.txt": "M"}


def test_folder_becomes_a_file_and_a_file_a_folder(make_toy: Callable[..., Toy]) -> None:
    script = """\
shutil.rmtree("extra/folder")
open("extra/folder", "w").write("now a file")
os.unlink("extra/file")
os.makedirs("extra/file/deep")
open("extra/file/deep/x", "w").write("now a folder")
open("knob.txt", "w").write("5")
"""
    toy = command_run(make_toy, script, {"extra/folder/x": "x", "extra/file": "file"})
    expected = {"extra/folder/x": "D", "extra/folder": "A", "extra/file": "D", "extra/file/deep/x": "A", "knob.txt": "M"}
    assert changed(toy) == expected
    assert toy.history().experiments[1].value == 5


# -- a task in a sub-folder -----------------------------------------------------------------------------------------------


def outside(toy: Toy) -> None:
    (toy.folder.parents[1] / "knob.txt").write_text("outside\n")
    toy.git("add", "../..")
    toy.git("commit", "-q", "-m", "outside")
    toy.moved()


def test_task_in_a_sub_folder_runs_there_and_sees_the_rest(make_toy: Callable[..., Toy]) -> None:
    evaluate = "print('score:', float(open('knob.txt').read()) + len(open('../../knob.txt').read()))\n"
    toy = make_toy({"evaluate.py": evaluate}, inside="my packages/ä")
    outside(toy)
    toy.run([Patch({"knob.txt": "9\n"}), Patch({"extra/x": "x"})], run="one")
    assert [e.value for e in toy.history().experiments if e.decided] == [18, 17, 17]
    names = toy.git("-c", "core.quotePath=false", "diff", "--name-only", "main", "autoresearch/one").splitlines()
    assert names == ["my packages/ä/knob.txt"]
    assert (toy.folder / ".autoresearch").is_dir()
    assert not (toy.folder.parents[1] / ".autoresearch").exists()


def test_files_outside_the_sub_folder_are_frozen_though_their_names_match(make_toy: Callable[..., Toy]) -> None:
    task = TASK.replace('"knob.txt"', '"**/knob.txt"') + COMMAND
    script = "open('knob.txt', 'w').write('5'); open('../../knob.txt', 'w').write('5')"
    toy = make_toy({"propose.py": script}, inside="packages/one", task=task)
    outside(toy)
    toy.run(wish=Wish(name="one", experiments=1))
    verdict = toy.history().experiments[1].verdict
    assert verdict is not None
    assert (verdict.reason, verdict.words.split()[0]) == ("scope", "knob.txt")


def test_new_files_outside_the_sub_folder_are_dropped(make_toy: Callable[..., Toy]) -> None:
    script = "open('knob.txt', 'w').write('5'); open('../new.txt', 'w').write('5')"
    toy = command_run(make_toy, script, {}, inside="packages/one")
    assert changed(toy) == {"packages/one/knob.txt": "M"}
    assert "packages/new.txt" in toy.history().experiments[1].notes[0]


def test_dirty_files_outside_the_sub_folder_are_asked_about(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(inside="packages/one")
    outside(toy)
    (toy.folder.parents[1] / "knob.txt").write_text("changed\n")
    toy.moved()
    with pytest.raises(SetupError, match=r"not committed: knob\.txt\."):
        toy.run([Patch({"knob.txt": "9\n"})])
    (toy.folder.parents[1] / "knob.txt").write_text("outside\n")
    (toy.folder.parents[1] / "untracked.txt").write_text("x")
    toy.moved()
    toy.run([Patch({"knob.txt": "9\n"})])
    assert toy.history().line == [0, 1]
