"""What a tree needs beyond git: set-up, build, inputs, copies, caches, parts, submodules; mounted, scanned and linked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Toy, git
from tests.integration.test_faults import quick

from autoresearch.choice import Wish
from autoresearch.errors import RepositoryError, SetupError, TaskError
from autoresearch.history import History
from autoresearch.testing import Patch
from autoresearch.workspace.evaluation import is_ours

MakeToy = Callable[..., Toy]
FROM_HEAD = Wish(start="HEAD")


@pytest.fixture(params=["layers", "scanned", "linked"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How trees are made: large ones as overlays, small ones scanned with mounts, and where there is no namespace, links.

    Without a sandbox around them, in which nothing outside could be written: `test_walls.py` has those.
    """
    monkeypatch.setenv("AUTORESEARCH_SANDBOX", "off")
    if request.param == "linked":
        monkeypatch.setenv("AUTORESEARCH_NAMESPACES", "off")
    return str(request.param)


@pytest.fixture
def project(make_toy: MakeToy, way: str, tmp_path: Path) -> Callable[..., Toy]:
    """Make a project whose evaluation is `evaluate.py`, with further keys of [evaluate] and files that git does not know."""

    def make(
        evaluate: str,
        keys: str = "",
        *,
        files: dict[str, str] | None = None,
        unknown: dict[str, str] | None = None,
        task: str = "",
    ) -> Toy:
        editable = 'editable = ["knob.txt", "extra/**", "lock.txt"]'
        body = f'[task]\n{editable}\n{task}\n[evaluate]\ncommand = "python evaluate.py"\n{keys}\n'
        many = {f"many/{i}.txt": "x" for i in range(301 if way == "layers" else 0)}
        ignored = "".join(f"/{name}\n" for name in unknown or {})
        all_files = {"evaluate.py": evaluate, "lock.txt": "1\n", ".gitignore": ignored or "*.tmp\n", **many, **(files or {})}
        toy = make_toy(all_files, task=body + '[metric]\nname = "score"\n')
        toy.write(unknown or {})
        toy.moved()
        return toy

    return make


def knob(value: float, **more: str) -> Patch:
    return Patch({"knob.txt": f"{value}\n", **more}, f"knob {value}")


def verdicts(history: History) -> list[tuple[str, str]]:
    return [(e.verdict.kind.value, e.verdict.reason) for e in history.experiments[1:] if e.verdict]


def values(toy: Toy) -> list[float | None]:
    return [e.value for e in toy.history().experiments if e.decided]


def words(history: History, n: int) -> str:
    verdict = history.experiments[n].verdict
    assert verdict is not None
    return verdict.words


READ = "import os, pathlib, sys\nvalue = float(pathlib.Path('knob.txt').read_text())\n"


# -- inputs ------------------------------------------------------------------------------------------------------------


def test_input_is_seen_at_its_place_and_cannot_be_written(project: Callable[..., Toy], way: str) -> None:
    evaluate = f"""{READ}
value += float(pathlib.Path('data/offset.txt').read_text())
try:
    pathlib.Path('data/more.txt').write_text('x')
except OSError:
    value += 100
print(f'score: {{value}}')
"""
    toy = project(evaluate, 'inputs = ["data"]', unknown={"data/offset.txt": "0.5"})
    toy.run([knob(9)])
    if way == "linked":  # nothing forbids it there; that it was done is seen
        assert toy.history().experiments[0].measurements[0].outcome.value == "tampering"
        (toy.folder / "data/more.txt").unlink()
        toy.moved()
    else:
        assert toy.history().experiments[1].value == 109.5


def test_input_between_tracked_files_shows_only_what_git_does_not_know(project: Callable[..., Toy]) -> None:
    evaluate = f"""{READ}
tracked = pathlib.Path('data/readme.txt').read_text()
print('score:', value + len(tracked) + float(pathlib.Path('data/deep/offset.txt').read_text()))
"""
    toy = project(evaluate, 'inputs = ["data"]', files={"data/readme.txt": "12"}, unknown={"data/deep/offset.txt": "0.5"})
    (toy.folder / "data/readme.txt").write_text("changed in the checkout, not committed")
    toy.moved()
    toy.run([knob(9)], wish=FROM_HEAD)
    assert toy.history().experiments[1].value == 11.5


def test_relative_link_inside_an_input_leads_to_the_candidate_where_inputs_are_mounted(
    project: Callable[..., Toy], way: str
) -> None:
    evaluate = "print('score:', float(open('modules/lib').read()))"
    toy = project(evaluate, 'inputs = ["modules"]', unknown={"modules/.keep": ""})
    (toy.folder / "modules/lib").symlink_to("../knob.txt")
    toy.moved()
    toy.run([knob(9)])
    reads_checkout = way == "linked"
    assert toy.history().experiments[1].value == (10 if reads_checkout else 9)


def test_inputs_copies_and_caches_may_lie_in_one_another(project: Callable[..., Toy]) -> None:
    evaluate = f"""{READ}
assert pathlib.Path('data/raw/x').read_text() == '1'
for name in ('data/dev.db', 'data/store/a', 'data/.cache/b', 'copied/y'):
    with open(name, 'a') as file:
        file.write('y')
assert pathlib.Path('data/dev.db').read_text() == pathlib.Path('data/store/a').read_text() == '1y'
print('score:', value + float(pathlib.Path('copied/fixed/z').read_text()))
"""
    keys = 'inputs = ["data", "./data/raw/", "copied/fixed"]\ncopy = ["data/dev.db", "data/store", "copied"]\n'
    keys += 'cache = ["data/.cache/"]'
    unknown = ("data/raw/x", "data/dev.db", "data/store/a", "copied/fixed/z", "copied/y")
    toy = project(evaluate, keys, unknown=dict.fromkeys(unknown, "1"))
    toy.run([knob(9)])
    assert values(toy) == [11, 10]


@pytest.mark.parametrize("name", [".", "..", "data/.."])
def test_input_that_holds_the_project_is_refused(project: Callable[..., Toy], name: str) -> None:
    toy = project(f"{READ}\nprint('score:', value)", f'inputs = ["{name}"]', unknown={"data/x": ""})
    with pytest.raises(SetupError, match="which holds the project itself"):
        toy.run([knob(9)])


def test_copy_and_cache_of_the_whole_project_are_refused(make_toy: MakeToy) -> None:
    task = '[task]\neditable = ["knob.txt"]\n[evaluate]\ncommand = "true"\n'
    for key in ("copy", "cache"):
        with pytest.raises(TaskError, match=rf"{key}\[0\]: got './', expected a file or folder in the project's folder"):
            make_toy(task=f'{task}{key} = ["./"]\n[metric]\nname = "score"\n').run([])


def test_input_beside_the_project_is_shown_beside_the_tree(project: Callable[..., Toy], tmp_path: Path) -> None:
    for name in ("beside", "tmp"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "x").write_text("1")
    evaluate = f"""{READ}
import shutil
score = value + float(pathlib.Path('../beside/x').read_text())
[shutil.rmtree(p, ignore_errors=True) if p.is_dir() else p.unlink() for p in pathlib.Path().iterdir() if value == 9]
print('score:', score)
"""
    toy = project(evaluate, 'inputs = ["../beside"]')
    toy.run([knob(9), knob(8)])
    assert values(toy) == [11, 10, 9]
    with pytest.raises(RepositoryError, match=r"names \.\./tmp, which cannot be shown there"):
        project(evaluate, 'inputs = ["../tmp"]').run([])


def test_candidate_cannot_put_anything_where_an_input_or_a_copy_is_shown(project: Callable[..., Toy]) -> None:
    names = ("extra/data/x", "extra/dev.db", "extra/store/y")
    evaluate = f"{READ}\nprint('score:', value + sum(float(open(name).read()) for name in {names}))"
    toy = project(
        evaluate, 'inputs = ["extra/data"]\ncopy = ["extra/dev.db", "extra/store"]', unknown=dict.fromkeys(names, "1")
    )
    toy.run([knob(9, **dict.fromkeys(names, "-50")), Patch({"extra/data": "-50", "extra/store": "-50", "knob.txt": "8\n"})])
    assert values(toy) == [13, 12, 11]
    assert [(toy.folder / name).read_text() for name in names] == ["1", "1", "1"]


def test_candidate_may_turn_a_folder_into_a_file_and_a_file_into_a_folder(project: Callable[..., Toy]) -> None:
    evaluate = f"{READ}\nprint('score:', value - os.path.isfile('extra/d') - os.path.isfile('extra/f/g'))"
    toy = project(evaluate, files={"extra/d/a": "1", "extra/d/b": "1", "extra/f": "1"})
    first = Patch({"extra/d": "x", "extra/d/a": None, "extra/d/b": None})
    toy.run([first, Patch({"extra/f": None, "extra/f/g": "1"})])
    assert values(toy) == [10, 9, 8]


# -- copies and caches -------------------------------------------------------------------------------------------------


def test_copy_is_fresh_and_writable_for_each_evaluation(project: Callable[..., Toy]) -> None:
    evaluate = f"""{READ}
for place in (pathlib.Path('dev.db'), pathlib.Path('store/rows')):
    rows = place.read_text()
    value += len(rows)
    place.write_text(rows + 'more')
print(f'score: {{value}}')
"""
    toy = project(evaluate, 'copy = ["dev.db", "store"]', unknown={"dev.db": "1", "store/rows": "22"})
    toy.run([knob(9), knob(8)])
    assert values(toy) == [13, 12, 11]
    assert (toy.folder / "dev.db").read_text() == "1"
    assert (toy.folder / "store/rows").read_text() == "22"


def test_what_an_evaluation_writes_to_a_cache_is_there_for_the_next(project: Callable[..., Toy]) -> None:
    evaluate = f"""{READ}
count = pathlib.Path('.cache/count')
seen = int(count.read_text()) if count.exists() else 0
count.write_text(str(seen + 1))
pathlib.Path(os.environ['AUTORESEARCH_ARTIFACTS'], 'seen').write_text(str(seen))
print(f'score: {{value}}')
"""
    toy = project(evaluate, 'cache = [".cache"]')
    toy.run([knob(9), knob(8)], run="one")
    folder = toy.project.paths.run("one").folder / "experiments"
    seen = {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.glob("*/artifacts/*/seen"))}
    assert seen.pop("000000/artifacts/eval-3/seen") == "0"  # the result once more at the end, in pristine surroundings
    assert list(seen.values()) == ["0", "1", "2", "3"]
    assert not (toy.folder / ".cache").exists()


def test_copy_between_tracked_files_leaves_those_to_the_candidate(project: Callable[..., Toy]) -> None:
    evaluate = f"""{READ}
assert pathlib.Path('extra/note.txt').read_text() == ('from the candidate' if value == 9 else 'tracked')
rows = pathlib.Path('extra/dev.db')
rows.write_text(rows.read_text() + '1')
print('score:', value + len(rows.read_text()))
"""
    toy = project(evaluate, 'copy = ["extra"]', files={"extra/note.txt": "tracked"}, unknown={"extra/dev.db": "1"})
    toy.run([knob(9, **{"extra/note.txt": "from the candidate"})])
    assert values(toy) == [12, 11]


def test_copy_whose_name_overlays_have_no_room_for(project: Callable[..., Toy], tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "rows").write_text("1")
    evaluate = f"{READ}\nopen('a:b,c/rows', 'a').write('2')\nprint('score:', value + float(open('a:b,c/rows').read()))"
    toy = project(evaluate, 'copy = ["a:b,c"]', files={".gitignore": "a*\n"})
    (toy.folder / "a:b,c").symlink_to(tmp_path / "far")
    toy.moved()
    toy.run([knob(9)])
    assert values(toy) == [22, 21]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_overlay_of_an_ordinary_user_is_laid_over_nothing_that_others_own() -> None:
    """The kernel refuses to copy such a file up, with "value too large"."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for name in ("mine", "mixed"):
            (Path(folder) / name / "deep").mkdir(parents=True)
            os.chown(Path(folder) / name, 65534, 65534)
            os.chown(Path(folder) / name / "deep", *((65534, 65534) if name == "mine" else (0, 0)))
        child = os.fork()
        if child == 0:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            os._exit([is_ours(Path(folder) / name) for name in ("mine", "mixed")] != [True, False])
        assert os.waitpid(child, 0)[1] == 0


def test_copy_is_not_written_through_a_link_that_a_build_made(project: Callable[..., Toy], tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "dev.db").write_text("precious")
    evaluate = f"{READ}\nprint('score:', value + float(open('extra/sub/dev.db').read()))"
    build = f"rm -rf extra/sub; ln -s {tmp_path}/theirs extra/sub"
    toy = project(evaluate, f'copy = ["extra/sub/dev.db"]\nbuild = "{build}"', unknown={"extra/sub/dev.db": "1"})
    toy.run([knob(9)])
    assert values(toy) == [11, 10]
    assert (tmp_path / "theirs" / "dev.db").read_text() == "precious"


def test_cache_over_tracked_files_is_refused(project: Callable[..., Toy]) -> None:
    toy = project(f"{READ}\nprint('score:', value)", 'cache = ["extra"]', files={"extra/note.txt": "tracked"})
    with pytest.raises(RepositoryError, match=r"cache names extra, where git tracks extra/note\.txt"):
        toy.run([knob(9)])


def test_relative_link_inside_a_copied_folder_leads_to_the_candidate(project: Callable[..., Toy]) -> None:
    toy = project("print('score:', float(open('modules/lib').read()))", 'copy = ["modules"]', unknown={"modules/.keep": ""})
    (toy.folder / "modules/lib").symlink_to("../knob.txt")
    toy.moved()
    toy.run([knob(9), knob(8)])
    assert values(toy) == [10, 9, 8]


# -- set-up ------------------------------------------------------------------------------------------------------------

SETUP = (
    'setup = "echo x >> $COUNTER; cat lock.txt > made.txt; echo $HOME > home.txt"\nsetup_if = ["lock.txt"]\nenv = ["COUNTER"]'
)


def test_setup_runs_once_per_tree_and_again_where_a_lock_file_differs(
    project: Callable[..., Toy], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    counter = tmp_path / "counter"
    monkeypatch.setenv("COUNTER", str(counter))
    evaluate = f"{READ}\nprint('score:', value + float(open('made.txt').read()))"
    toy = project(evaluate, SETUP)
    toy.run([knob(9), knob(8), knob(7, **{"lock.txt": "5\n"}), knob(6)])
    assert values(toy) == [11, 10, 9, 12, 7]
    assert counter.read_text() == "x\n" * 3


def test_setup_has_the_users_home_on_the_base_and_a_new_one_on_a_candidates_files(
    project: Callable[..., Toy], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COUNTER", str(tmp_path / "counter"))
    evaluate = f"{READ}\nprint('score:', value + (open('home.txt').read().strip() == {os.environ['HOME']!r}))"
    toy = project(evaluate, SETUP)
    toy.run([knob(9), knob(8, **{"lock.txt": "5\n"})])
    assert values(toy) == [11, 10, 8]


def test_setup_that_fails_on_a_candidates_lock_file_is_its_crash(project: Callable[..., Toy]) -> None:
    toy = project(f"{READ}\nprint('score:', value)", 'setup = "grep -q 1 lock.txt"\nsetup_if = ["lock.txt"]')
    toy.run([knob(9, **{"lock.txt": "5\n"}), knob(8)])
    assert verdicts(toy.history()) == [("crash", "build"), ("keep", "better")]
    assert "setup failed" in words(toy.history(), 1)


def test_setup_that_fails_on_the_base_ends_the_run_with_its_log(project: Callable[..., Toy]) -> None:
    toy = project(f"{READ}\nprint('score:', value)", 'setup = "echo no such lock; exit 3"')
    with pytest.raises(SetupError, match=r"setup failed: exited with 3.*no such lock"):
        toy.run([knob(9)])


@pytest.mark.parametrize("way", ["layers", "scanned"], indirect=True)
def test_setup_on_a_candidates_files_cannot_write_the_checkout(
    project: Callable[..., Toy], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = f"{READ}\nprint('score:', value)"
    toy = project(evaluate, 'setup = "sh lock.txt"\nsetup_if = ["lock.txt"]\nenv = ["CHECKOUT"]', files={"lock.txt": "true\n"})
    monkeypatch.setenv("CHECKOUT", str(toy.folder))
    toy.run([knob(9, **{"lock.txt": "echo x > $CHECKOUT/theirs.txt\n"})])
    assert verdicts(toy.history()) == [("crash", "build")]
    assert not (toy.folder / "theirs.txt").exists()


# -- build -------------------------------------------------------------------------------------------------------------

STEPS = "echo x >> $COUNTER; mkdir -p out target; cat knob.txt > out/made; cat target/old 2>/dev/null >> $CACHED"
BUILD = f'build = "{STEPS}; cat knob.txt > target/old"\nenv = ["COUNTER", "CACHED"]'
BUILT = "import pathlib\nvalue = float(pathlib.Path('out/made').read_text())\nprint(f'score: {value}')\n"


@pytest.fixture
def counters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "counter", tmp_path / "cached"
    monkeypatch.setenv("COUNTER", str(paths[0]))
    monkeypatch.setenv("CACHED", str(paths[1]))
    return paths


def test_candidate_is_built_once_and_measured_from_its_own_build(
    project: Callable[..., Toy], counters: tuple[Path, Path]
) -> None:
    toy = project(BUILT, BUILD)
    toy.run([knob(9), knob(8), knob(11)])
    assert values(toy) == [10, 9, 8, 11]
    assert counters[0].read_text() == "x\n" * 4  # the baseline is measured twice
    assert toy.history().experiments[1].build_s is not None


def test_every_build_starts_with_the_caches_of_the_bases_and_none_without_the_key(
    project: Callable[..., Toy], counters: tuple[Path, Path]
) -> None:
    for keys, seen in ((f'{BUILD}\ncache = ["target"]', "10\n10\n"), (BUILD, "")):
        counters[1].write_text("")
        toy = project(BUILT, keys)
        toy.run([knob(9), knob(8)])
        assert values(toy) == [10, 9, 8]
        assert counters[1].read_text() == seen


@pytest.mark.parametrize("way", ["layers"], indirect=True)
def test_run_that_goes_on_without_overlays_builds_anew(
    project: Callable[..., Toy], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    measured, go = tmp_path / "measured", tmp_path / "go"
    evaluate = f"""{READ}
assert not os.path.lexists('gone.txt')
if os.path.exists({str(measured)!r}) and not os.path.exists({str(go)!r}):
    sys.exit(75)
open({str(measured)!r}, 'w')
print('score:', value)
"""
    toy = project(evaluate, 'build = "rm gone.txt"', files={"gone.txt": "x"})
    assert toy.run([], run="one", ready=quick).reason == "outage"
    go.touch()
    monkeypatch.setenv("AUTORESEARCH_NAMESPACES", "off")
    toy.run([knob(9)], run="one")
    assert values(toy) == [10, 9]


def test_build_that_fails_is_a_crash_with_the_compilers_last_words(project: Callable[..., Toy]) -> None:
    toy = project(f"{READ}\nprint('score:', value)", 'build = "grep -qv oops knob.txt || { echo knob.txt:1: oops; exit 1; }"')
    toy.run([Patch({"knob.txt": "oops\n"}), knob(9)], run="one")
    assert verdicts(toy.history()) == [("crash", "build"), ("keep", "better")]
    assert "knob.txt:1: oops" in words(toy.history(), 1)
    assert (toy.project.paths.run("one").experiment(1) / "build.log").read_text() == "knob.txt:1: oops\n"


def test_evaluation_cannot_change_what_the_next_one_finds_built(
    project: Callable[..., Toy], counters: tuple[Path, Path]
) -> None:
    toy = project(BUILT + "pathlib.Path('out/made').write_text('1')\npathlib.Path('target/old').write_text('1')\n", BUILD)
    toy.run([knob(9)])
    assert [m.values["score"] for m in toy.history().experiments[0].own] == [10, 10]
    assert [m.values["score"] for m in toy.history().experiments[0].measurements if m.phase == "final"] == [9]


@pytest.mark.parametrize("way", ["layers", "scanned"], indirect=True)
def test_evaluation_cannot_reach_what_trees_and_builds_are_made_of(
    project: Callable[..., Toy], counters: tuple[Path, Path]
) -> None:
    evaluate = f"""{BUILT}
import os
ours = pathlib.Path(os.environ['AUTORESEARCH_RESULT']).parent.parent
places = [*ours.glob('builds*/**/made'), ours.parent / 'git/config', ours.parent / 'scratch/object-0']
assert len(places) > 2
for place in places:
    try:
        place.write_text('1')
        raise SystemExit(f'{{place}} was written')
    except OSError:
        pass
"""
    toy = project(evaluate, BUILD)
    toy.run([knob(9), knob(8)])
    assert values(toy) == [10, 9, 8]


def test_what_a_build_made_is_shown_just_as_it_left_it(project: Callable[..., Toy]) -> None:
    steps = [
        "rm gone.txt; rm -r dir; echo now a file > dir; rm file; mkdir file; echo now a folder > file/inner",
        "mkdir -p empty/folder; mkfifo pipe; touch secret; chmod 000 secret; rm link; mkdir link; echo 1 > link/x",
        "rm -r emptied; mkdir emptied; echo 1 > emptied/new; echo mine > replaced.json; echo mine > deleted.json",
    ]
    evaluate = f"""{READ}
import stat
assert not os.path.exists('gone.txt')
assert open('dir').read() == 'now a file\\n' and open('file/inner').read() == 'now a folder\\n'
assert os.path.isdir('empty/folder') and stat.S_ISFIFO(os.stat('pipe').st_mode)
assert os.path.exists('secret') and os.listdir('link') == ['x']
assert os.listdir('emptied') == ['new']
assert open('replaced.json').read() == open('deleted.json').read() == 'mine\\n'
print('score:', value)
"""
    names = ("gone.txt", "dir/a", "dir/b/c", "file", "emptied/old", "emptied/sub/old", "deleted.json")
    toy = project(evaluate, f'build = "{"; ".join(steps)}"', files=dict.fromkeys(names, "x"))
    (toy.folder / "link").symlink_to("dir")
    toy.commit()
    toy.run([knob(9), knob(8)])
    assert values(toy) == [10, 9, 8]


def test_binary_of_a_compiler_follows_its_source(project: Callable[..., Toy]) -> None:
    source = '#include <stdio.h>\nint main(void) { printf("score: %s\\n", KNOB); }\n'
    keys = 'build = "make -s"\ncache = ["obj"]'
    files = {
        "main.c": source,
        "Makefile": "obj/main: main.c knob.txt\n\tmkdir -p obj && gcc -DKNOB='\"'$$(cat knob.txt)'\"' -o $@ main.c\n",
    }
    toy = project("import subprocess\nprint(subprocess.check_output(['obj/main'], text=True))", keys, files=files)
    toy.run([knob(9), knob(8), knob(12)])
    assert values(toy) == [10, 9, 8, 12]


UP_TO_DATE = f"""{READ}
import subprocess
for name in ('knob.txt', 'lock.txt'):
    assert os.stat(name).st_mtime <= os.stat('out/made').st_mtime, name
assert subprocess.run(['make', '-q']).returncode == 0, 'it is built again while it is measured'
print('score:', value)
"""


def test_what_was_built_is_newer_than_its_sources_whenever_it_is_measured(project: Callable[..., Toy]) -> None:
    """Else a command that calls make would build again in the time that is measured: of some candidates and not of others."""
    makefile = "out/made: knob.txt lock.txt\n\tmkdir -p out && cat knob.txt lock.txt > out/made\n"
    toy = project(UP_TO_DATE, 'build = "make -s"', files={"Makefile": makefile})
    toy.run([knob(9), knob(8), knob(11), knob(12)], run="one")
    assert values(toy) == [10, 9, 8, 11, 12]
    argv = [sys.executable, "-m", "autoresearch", "validate", "one", "--pairs", "3"]
    subprocess.run(argv, cwd=toy.folder, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    measured = [m for e in toy.history("one").experiments for m in e.measurements if m.phase == "final"]
    assert len(measured) >= 6
    assert all("score" in m.values for m in measured)


# -- quick, time budget, clean-up --------------------------------------------------------------------------------------


MADE_OUTSIDE = f"{READ}\nplace = pathlib.Path(os.environ['OUTSIDE'], os.environ['AUTORESEARCH_ID'])\nplace.touch()\n"


def test_failing_quick_test_is_a_crash_without_an_evaluation(project: Callable[..., Toy], counters: tuple[Path, Path]) -> None:
    evaluate = f"{READ}\nopen(os.environ['COUNTER'], 'a').write('x')\nprint('score:', value)"
    toy = project(evaluate, 'quick = "echo score: 1; test $(cat knob.txt) != 9"\nenv = ["COUNTER"]')
    toy.run([knob(9), knob(8)])
    assert verdicts(toy.history()) == [("crash", "exit"), ("keep", "better")]
    assert "the quick test failed" in words(toy.history(), 1)
    assert toy.history().experiments[2].value == 8
    assert counters[0].read_text() == "xxxx"  # the baseline twice, and the keep twice: the result once more at the end


def test_time_budget_is_told_and_held_to(project: Callable[..., Toy]) -> None:
    evaluate = f"""{READ}
import time
assert os.environ['AUTORESEARCH_TIME_BUDGET'] == '0.5'
time.sleep(0 if value != 9 else 60)
print('score:', value)
"""
    toy = project(evaluate, 'time_budget = "500ms"')
    toy.run([knob(9), knob(8)])
    assert verdicts(toy.history()) == [("timeout", "timeout"), ("keep", "better")]


def test_cleanup_follows_every_evaluation_with_the_same_names(
    project: Callable[..., Toy], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    monkeypatch.setenv("OUTSIDE", str(outside))
    evaluate = f"""{MADE_OUTSIDE}
assert len(list(place.parent.iterdir())) == 1
assert value != 9
print('score:', value)
"""
    toy = project(evaluate, 'env = ["OUTSIDE"]\ncleanup = "rm $OUTSIDE/$AUTORESEARCH_ID"')
    toy.run([knob(9), knob(8)])
    assert verdicts(toy.history()) == [("crash", "exit"), ("keep", "better")]
    assert list(outside.iterdir()) == []


def test_cleanup_comes_at_the_next_start_where_the_harness_was_killed(
    project: Callable[..., Toy], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    monkeypatch.setenv("OUTSIDE", str(outside))
    evaluate = f"""{MADE_OUTSIDE}
import time
time.sleep(60 if not (place.parent / 'go').exists() else 0)
print('score:', value)
"""
    toy = project(evaluate, 'env = ["OUTSIDE"]\ncleanup = "rm $OUTSIDE/$AUTORESEARCH_ID"')
    argv = [sys.executable, "-m", "autoresearch", "run", "one", "-n", "1", "--yes"]
    child = subprocess.Popen(argv, cwd=toy.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(outside.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    left = [p.name for p in outside.iterdir()]
    (outside / "go").touch()
    toy.run([knob(9)], run="one")
    assert len(left) == 1
    assert [p.name for p in outside.iterdir()] == ["go"]


def test_cleanup_that_fails_is_said_with_the_measurement(project: Callable[..., Toy]) -> None:
    toy = project(f"{READ}\nprint('score:', value)", 'cleanup = "echo cannot remove it; exit 7"')
    toy.run([knob(9)])
    assert "the cleanup failed: exited with 7" in toy.history().experiments[1].measurements[0].words


def test_cleanup_comes_also_where_the_evaluation_removed_its_own_folders(
    project: Callable[..., Toy], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    monkeypatch.setenv("OUTSIDE", str(outside))
    remove = "import shutil\nshutil.rmtree(os.path.dirname(os.environ['AUTORESEARCH_RESULT']), ignore_errors=True)"
    evaluate = f"{MADE_OUTSIDE}{remove}\nprint('score:', value)"
    toy = project(evaluate, 'env = ["OUTSIDE"]\ncleanup = "rm $OUTSIDE/$AUTORESEARCH_ID"')
    toy.run([knob(9)])
    assert values(toy) == [10, 9]
    assert list(outside.iterdir()) == []


# -- parts and submodules ----------------------------------------------------------------------------------------------


def test_paths_leave_the_rest_of_a_large_repository_out(make_toy: MakeToy) -> None:
    evaluate = f"""{READ}
here = sorted(str(p) for p in pathlib.Path('..').rglob('*') if p.is_file())
pathlib.Path(os.environ['AUTORESEARCH_ARTIFACTS'], 'seen').write_text(' '.join(here))
print('score:', value)
"""
    task = '[task]\neditable = ["knob.txt"]\npaths = ["../common/part", "src"]\n'
    task += '[evaluate]\ncommand = "python evaluate.py"\n[metric]\nname = "score"\n'
    files = {
        "evaluate.py": evaluate,
        "src/a": "a",
        "big/b": "b",
        "../common/part/c": "c",
        "../common/d": "d",
        "../common/other/e": "e",
        "../root": "r",
    }
    toy = make_toy(files, inside="service", task=task)
    git(toy.folder.parent, "add", "-A")
    git(toy.folder.parent, "commit", "-q", "-m", "rest")
    toy.moved()
    toy.run([knob(9)], run="one")
    seen = (toy.project.paths.run("one").experiment(1) / "artifacts/eval-1/seen").read_text().split()
    names = {name.removeprefix("../") for name in seen}
    assert {"root", "common/d", "common/part/c", "service/src/a", "service/knob.txt"} <= names
    assert not names & {"common/other/e", "service/big/b"}
    assert toy.git("ls-tree", "-r", "--name-only", "autoresearch/one", "--full-tree").count("big/b") == 1


def test_editable_file_outside_the_paths_is_refused(make_toy: MakeToy) -> None:
    task = '[task]\neditable = ["lib/knob.txt"]\npaths = ["src"]\n[evaluate]\ncommand = "true"\n[metric]\nname = "score"\n'
    toy = make_toy({"lib/knob.txt": "1", "src/a": "a"}, task=task)
    with pytest.raises(SetupError, match=r"editable names lib/knob.txt, which is in none of \[task\] paths"):
        toy.run([knob(9)])


def test_part_that_the_base_does_not_have_is_refused(make_toy: MakeToy) -> None:
    task = '[task]\neditable = ["knob.txt"]\npaths = ["srcc"]\n[evaluate]\ncommand = "true"\n[metric]\nname = "score"\n'
    with pytest.raises(RepositoryError, match=r"\[task\] paths names srcc, which the base does not have"):
        make_toy({"src/a": "a"}, task=task).run([knob(9)])


@pytest.fixture
def with_submodule(make_toy: MakeToy, tmp_path: Path) -> Toy:
    inner, outer = tmp_path / "inner", tmp_path / "library"
    for folder in (inner, outer):
        folder.mkdir()
        git(folder, "init", "-q", "-b", "main")
        (folder / "offset.txt").write_text("0.25")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "one")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "deep")
    git(outer, "commit", "-q", "-m", "with another inside")
    evaluate = f"""{READ}
pinned = [pathlib.Path('vendor/lib', name).read_text() for name in ('offset.txt', 'deep/offset.txt')]
print('score:', value + sum(map(float, pinned)))
"""
    toy = make_toy({"evaluate.py": evaluate})
    allow = ("-c", "protocol.file.allow=always")
    toy.git(*allow, "submodule", "--quiet", "add", str(outer), "vendor/lib")
    toy.git(*allow, "submodule", "--quiet", "update", "--init", "--recursive")
    toy.commit()
    return toy


def test_submodules_are_shown_at_their_pinned_commits(with_submodule: Toy) -> None:
    toy = with_submodule
    inside = toy.folder / "vendor/lib"
    (inside / "offset.txt").write_text("7")
    git(inside, "commit", "-q", "-am", "newer than what is pinned")
    toy.moved()
    toy.run([knob(9), Patch({"extra/note": "x", "knob.txt": "8\n"})], wish=FROM_HEAD)
    assert values(toy) == [10.5, 9.5, 8.5]


def test_what_lies_in_a_submodule_is_frozen(with_submodule: Toy) -> None:
    toy = with_submodule
    text = (toy.folder / "autoresearch.toml").read_text().replace('"extra/**"', '"extra/**", "vendor/**"')
    (toy.folder / "autoresearch.toml").write_text(text)
    toy.commit()
    toy.run([Patch({"vendor/lib/offset.txt": "0"}), knob(9)])
    assert [v for v, _ in verdicts(toy.history())] == ["invalid", "keep"]


def test_submodule_that_was_never_fetched_is_refused_with_the_command(
    make_toy: MakeToy, with_submodule: Toy, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(with_submodule.folder), str(clone))
    toy = Toy(clone)
    toy.moved()
    with pytest.raises(RepositoryError, match=r"git submodule update --init --recursive vendor/lib"):
        toy.run([knob(9)])


def test_submodule_outside_the_paths_need_not_be_here(make_toy: MakeToy, with_submodule: Toy, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(with_submodule.folder), str(clone))
    toy = Toy(clone)
    task = (clone / "autoresearch.toml").read_text().replace("[task]", '[task]\npaths = ["src"]')
    toy.write({"evaluate.py": f"{READ}\nprint('score:', value)", "autoresearch.toml": task, "src/a": "a"})
    toy.commit()
    toy.run([knob(9)])
    assert values(toy) == [10, 9]


# -- the checkout ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["layers", "scanned"], indirect=True)
def test_evaluation_cannot_write_into_the_checkout_and_none_of_its_bytecode_lands_there(
    project: Callable[..., Toy], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = f"""{READ}
checkout = pathlib.Path(os.environ['CHECKOUT'])
sys.path.insert(0, str(checkout / 'lib'))
import module
try:
    (checkout / 'mine.txt').write_text('x')
except OSError as error:
    value += error.errno
print('score:', value)
"""
    toy = project(evaluate, 'env = ["CHECKOUT"]', files={"lib/module.py": "x = 1\n"})
    monkeypatch.setenv("CHECKOUT", str(toy.folder))
    toy.run([knob(9)])
    assert values(toy) == [40, 39]
    assert not (toy.folder / "lib/__pycache__").exists()


@pytest.mark.parametrize("way", ["layers", "scanned"], indirect=True)
def test_root_cannot_lift_what_is_read_only_either(project: Callable[..., Toy], monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = f"""{READ}
import subprocess
for argv in (['mount', '-o', 'remount,rw,bind', os.environ['CHECKOUT']], ['umount', '-l', os.environ['CHECKOUT']]):
    value += bool(subprocess.run(argv, capture_output=True).returncode)
try:
    pathlib.Path(os.environ['CHECKOUT'], 'mine.txt').write_text('x')
except OSError as error:
    value += error.errno
print('score:', value)
"""
    toy = project(evaluate, 'env = ["CHECKOUT"]')
    monkeypatch.setenv("CHECKOUT", str(toy.folder))
    toy.run([knob(9)])
    assert values(toy) == [42, 41]


# -- final comparisons -------------------------------------------------------------------------------------------------


def validated(toy: Toy) -> list[Path]:
    """The artifacts of the final comparison of run `one`, which was interrupted, in the order of its evaluations."""
    argv = [sys.executable, "-m", "autoresearch", "validate", "--pairs", "3"]
    subprocess.run(argv, cwd=toy.folder, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    finals = [m for m in toy.history().experiments[0].measurements if m.phase == "final"]
    assert len(finals) == 6
    folder = toy.project.paths.run("one").experiment(0) / "artifacts"
    return [folder / Path(m.log).stem for m in finals]


def test_caches_are_empty_in_final_comparisons_and_come_back_afterwards(project: Callable[..., Toy]) -> None:
    evaluate = f"""{READ}
count = pathlib.Path('.cache/count')
seen = int(count.read_text()) if count.exists() else 0
count.write_text(str(seen + 1))
pathlib.Path(os.environ['AUTORESEARCH_ARTIFACTS'], 'seen').write_text(str(seen))
print(f'score: {{value}}')
"""
    toy = project(evaluate, 'cache = [".cache"]')
    toy.run_interrupted([knob(9), knob(8)], wish=Wish(name="one"))
    assert [(folder / "seen").read_text() for folder in validated(toy)] == ["0"] * 6
    toy.run([knob(9), knob(8), knob(7)], run="one")
    last = toy.project.paths.run("one").experiment(3) / "artifacts/eval-1/seen"
    assert last.read_text() == "4"


def test_final_comparison_builds_each_arm_once_without_the_caches(
    project: Callable[..., Toy], counters: tuple[Path, Path]
) -> None:
    toy = project(BUILT, f'{BUILD}\ncache = ["target"]')
    toy.run_interrupted([knob(9)], wish=Wish(name="one"))
    for counter in counters:
        counter.write_text("")
    argv = [sys.executable, "-m", "autoresearch", "validate", "--pairs", "3"]
    subprocess.run(argv, cwd=toy.folder, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    assert counters[0].read_text() == "x\n" * 2
    assert counters[1].read_text() == ""


def test_both_arms_of_a_comparison_happen_in_the_same_slot(project: Callable[..., Toy]) -> None:
    evaluate = f"""{READ}
pathlib.Path(os.environ['AUTORESEARCH_ARTIFACTS'], 'slot').write_text(os.environ['AUTORESEARCH_SLOT'])
print(f'score: {{value}}')
"""
    toy = project(evaluate)
    toy.run_interrupted([knob(9), knob(8), knob(7)], wish=Wish(name="one", evaluations=2, proposals=2))
    assert len({(folder / "slot").read_text() for folder in validated(toy)}) == 1
