"""Faults of the machine: full disks, read-only folders, outages, a broken set-up. Nothing recorded is lost."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TASK, Toy

from autoresearch.books import Options
from autoresearch.choice import Wish
from autoresearch.errors import DiskFault
from autoresearch.records import Kind
from autoresearch.testing import Patch

pytestmark = pytest.mark.usefixtures("no_sandbox")  # evaluations use files outside their trees

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="mounting a small disk needs root")


def knob(brief: Any) -> Patch:
    return Patch({"knob.txt": f"{100 - brief.n}\n", f"extra/{brief.n}.txt": "x" * 20_000})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@needs_root
@pytest.mark.parametrize("where", ["project", "cache"])
def test_full_disk_ends_the_run_and_after_making_room_it_goes_on(
    small_disk: Path, make_toy: Callable[..., Toy], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk gets full at whatever write comes next; each round it is another one."""
    if where == "cache":
        monkeypatch.setenv("AUTORESEARCH_CACHE", str(small_disk / "cache"))
    toy = make_toy({"knob.txt": "100\n"}, folder=small_disk / "user" if where == "project" else None)
    monkeypatch.setattr("autoresearch.machine.free_bytes", lambda folder: 10**12)  # the disk itself has to say it
    ballast = small_disk / "ballast"
    toy.run(knob, wish=Wish(name="full", experiments=1))
    decided, ends = 1, set()
    for room in range(0, 120_000, 8_000):
        fill(ballast, small_disk, leaving=room)
        try:
            ends.add(toy.run(knob, run="full", wish=Wish(name="full", experiments=3)).reason)
        except DiskFault:
            ends.add("refused")
        ballast.unlink()
        history = toy.history("full")
        assert history.decided >= decided
        decided = history.decided
        ledger = toy.project.ledger(read_only=True)
        ledger.verify("full")
        ledger.close()
    assert ends & {"disk", "refused"}
    assert toy.run(knob, wish=Wish(name="full", experiments=2)).reason == "session"
    assert toy.history("full").decided == decided + 2


@needs_root
def test_full_disk_while_a_build_is_kept_leaves_no_half_of_it(
    small_disk: Path, make_toy: Callable[..., Toy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base's build leaves a cache of 400 kB, of which every later build starts with a whole copy."""
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(small_disk / "cache"))
    monkeypatch.setattr("autoresearch.machine.free_bytes", lambda folder: 10**12)
    evaluate = "import os\nassert os.path.getsize('target/pad') == 400_000\nprint('score:', open('knob.txt').read())\n"
    build = "mkdir -p target; test -f target/pad || head -c 400000 /dev/zero > target/pad"
    keys = f'command = "python evaluate.py"\nbuild = "{build}"\ncache = ["target"]\n'
    toy = make_toy({"evaluate.py": evaluate}, task=TASK.replace('command = "python evaluate.py"\n', keys))
    ballast = small_disk / "ballast"
    fill(ballast, small_disk, leaving=750_000)
    ending = toy.run([Patch({"knob.txt": "9\n"})], run="full")
    ballast.unlink()
    toy.run([Patch({"knob.txt": "9\n"}), Patch({"knob.txt": "8\n"})], run="full")
    assert ending.reason == "disk"
    assert [e.verdict.kind for e in toy.history("full").experiments if e.verdict] == [Kind.KEEP] * 3


def fill(ballast: Path, disk: Path, *, leaving: int) -> None:
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with open(ballast, "wb") as file:
        try:
            file.write(b"x" * max(0, free - leaving))
            file.flush()
        except OSError:
            pass


def test_read_only_project_is_refused_with_its_remedy(toy: Toy) -> None:
    if os.getuid() == 0:
        blocked = toy.folder / ".autoresearch"
        blocked.write_text("in the way")  # root may write anywhere: a file in the folder's place does it
    else:
        toy.folder.chmod(0o500)
    with pytest.raises(DiskFault, match="make the project's folder writable"):
        toy.run([])
    if os.getuid() == 0:
        blocked.unlink()
    else:
        toy.folder.chmod(0o700)


def quick(loop: Any) -> None:
    """No long waits."""
    options = {name: getattr(loop.options, name) for name in Options.__slots__}
    loop.options = loop.books.options = Options(**options | {"outage_waits_s": (0.01, 0.01)})


def test_evaluator_that_asks_to_be_tried_again_is_and_the_experiment_keeps_its_number(
    make_toy: Callable[..., Toy], tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    evaluate = f"""\
import os, pathlib, sys
value = float(pathlib.Path("knob.txt").read_text())
if value == 9 and not os.path.exists({str(flag)!r}):
    open({str(flag)!r}, "w")
    sys.exit(75)
print("score:", value)
"""
    toy = make_toy({"evaluate.py": evaluate})
    toy.run([Patch({"knob.txt": "9\n"})], ready=quick)
    e = toy.history().experiments[1]
    assert e.kept
    assert [m.attempt for m in e.measurements] == [2]


def test_outage_that_stays_stops_the_run_and_leaves_the_experiment_open(make_toy: Callable[..., Toy]) -> None:
    evaluate = 'import sys\nv = open("knob.txt").read()\nsys.exit(75) if v == "9\\n" else print("score:", v)\n'
    toy = make_toy({"evaluate.py": evaluate})
    ending = toy.run([Patch({"knob.txt": "9\n"})], ready=quick)
    assert (ending.reason, ending.code) == ("outage", 1)
    assert toy.history().experiments[1].stage == "frozen"


BREAKING = """\
import os, pathlib, sys
value = float(pathlib.Path("knob.txt").read_text())
if os.path.exists({flag!r}) or value > 50:
    sys.exit("no device")
print("score:", value)
"""


def test_broken_set_up_is_found_out_and_its_failures_are_taken_back(make_toy: Callable[..., Toy], tmp_path: Path) -> None:
    flag = tmp_path / "broken"
    toy = make_toy({"evaluate.py": BREAKING.format(flag=str(flag))})

    def watch(what: str, details: Any) -> None:
        if what == "decided" and details["n"] == 1:
            flag.write_text("")

    ending = toy.run([Patch({"knob.txt": f"{9 - i / 10}\n"}) for i in range(12)], watch=watch, ready=quick)
    assert (ending.reason, ending.code) == ("broken", 1)
    history = toy.history()
    assert sorted(history.lost) == [2, 3, 4, 5, 6]
    assert history.experiments[1].kept


def test_set_up_that_recovers_goes_on(make_toy: Callable[..., Toy], tmp_path: Path) -> None:
    flag = tmp_path / "broken"
    toy = make_toy({"evaluate.py": BREAKING.format(flag=str(flag))})

    def watch(what: str, details: Any) -> None:
        if what == "decided" and details["n"] == 1:
            flag.write_text("")
        if what == "waiting":
            flag.unlink(missing_ok=True)

    ending = toy.run([Patch({"knob.txt": f"{9 - i / 10}\n"}) for i in range(12)], watch=watch, ready=quick)
    assert ending.reason == "exhausted"
    assert toy.history().line[-1] == 12


def test_candidates_that_fail_stop_the_run_at_twenty_in_a_row_only(
    toy: Toy, make_toy: Callable[..., Toy], tmp_path: Path
) -> None:
    toy = make_toy({"evaluate.py": BREAKING.format(flag=str(tmp_path / "never"))})
    ending = toy.run([Patch({"knob.txt": f"{60 + i}\n"}) for i in range(30)], ready=quick)
    assert (ending.reason, ending.code) == ("breaker", 1)
    assert toy.history().decided == 20
    repairs = [m for e in toy.history().experiments for m in e.measurements if m.phase == "repair"]
    assert len(repairs) == 3


CHECKED = """
[[check]]
name = "small"
command = "python check.py"
every = {every}
"""
CHECK = 'import pathlib, sys\nsys.exit("marked" if pathlib.Path("extra/mark.txt").exists() else 0)\n'


def test_check_of_every_keep_discards_what_fails_it(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy({"check.py": CHECK}, task=TASK + CHECKED.format(every=1))
    toy.run([Patch({"knob.txt": "9\n"}), Patch({"knob.txt": "8\n", "extra/mark.txt": "x"}), Patch({"knob.txt": "7\n"})])
    verdicts = [(e.verdict.kind, e.verdict.reason) for e in toy.history().experiments if e.verdict]
    assert verdicts[1:] == [(Kind.KEEP, "better"), (Kind.DISCARD, "check"), (Kind.KEEP, "better")]


def test_check_that_asks_to_be_tried_again_is(make_toy: Callable[..., Toy], tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    check = f"import os, sys\nflag = {str(flag)!r}\nsys.exit(0 if os.path.exists(flag) else open(flag, 'w') and 75)\n"
    toy = make_toy({"check.py": check}, task=TASK + CHECKED.format(every=1))
    toy.run([Patch({"knob.txt": "9\n"})], ready=quick)
    assert toy.history().experiments[1].kept
    assert flag.exists()


def test_periodic_check_is_bisected_and_rolled_back(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy({"check.py": CHECK}, task=TASK + CHECKED.format(every=4))
    patches = [Patch({"knob.txt": f"{9 - i}\n", **({"extra/mark.txt": "x"} if i == 2 else {})}) for i in range(4)]
    toy.run(patches, run="one")
    history = toy.history()
    assert history.line == [0, 1, 2]
    assert [e.rolled_back for e in history.experiments[:5]] == [False, False, False, True, True]
    assert toy.git("show", "autoresearch/one:knob.txt") == "8\n"
    assert toy.git("log", "-1", "--format=%s", "autoresearch/one").strip() == "roll back to experiment 2"


@pytest.mark.parametrize("wall", ["evaluations = 5", 'time = "6s"'])
def test_periodic_check_is_made_at_the_end_whichever_wall_it_is(make_toy: Callable[..., Toy], wall: str) -> None:
    toy = make_toy({"check.py": CHECK}, task=TASK + CHECKED.format(every=50) + f"[budget]\nexperiments = 1000\n{wall}\n")

    def patch(brief: Any) -> Patch:
        time.sleep(0.5 if "time" in wall else 0)
        return Patch({"knob.txt": f"{9 - brief.n / 1000}\n", **({"extra/mark.txt": "x"} if brief.n == 2 else {})})

    ending = toy.run(patch, run="one")
    assert ending.reason == wall.split()[0]
    history = toy.history()
    assert history.line == [0, 1]
    assert history.experiments[2].rolled_back


@pytest.mark.parametrize(("bound", "kept"), [("max = 5", False), ("min = 8", True), ("max = 50", True)])
def test_guard_holds_a_further_metric_in_its_bounds(make_toy: Callable[..., Toy], bound: str, kept: bool) -> None:
    evaluate = 'v = float(open("knob.txt").read())\nprint("score:", v)\nprint("size:", 5 if v == 10 else 9)\n'
    base = "size: 5" if "min" not in bound else "size: 8"
    toy = make_toy(
        {"evaluate.py": evaluate.replace("5 if", f"{base[-1]} if")}, task=TASK + f'[[guard]]\nname = "size"\n{bound}\n'
    )
    toy.run([Patch({"knob.txt": "9\n"})])
    e = toy.history().experiments[1]
    assert e.kept is kept
    assert e.verdict is not None
    assert kept or e.verdict.reason == "guard"


def test_money_is_a_wall_and_killed_attempts_count(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(task=TASK + "[budget]\ncost_usd = 0.05\n")
    ending = toy.run([Patch({"knob.txt": f"{9 - i}\n"}, cost_usd=0.02) for i in range(9)])
    assert ending.reason == "cost"
    assert toy.history().cost_usd == pytest.approx(0.06)


def test_evaluations_are_a_wall(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(task=TASK + "[budget]\nevaluations = 5\n")
    assert toy.run([Patch({"knob.txt": f"{9 - i}\n"}) for i in range(9)]).reason == "evaluations"
    assert toy.history().evaluations == 5
