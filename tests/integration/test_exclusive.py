"""One room for all runs of this machine: real processes that share it or have it alone, runs and checks that wait for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.conftest import TASK, Toy

from autoresearch.budget import Ending
from autoresearch.choice import Wish
from autoresearch.exclusive import Room
from autoresearch.session import Session
from autoresearch.testing import Patch

pytestmark = pytest.mark.usefixtures("no_sandbox")  # evaluations leave word outside their trees

# A session of a run of its own: HOW is a program over `room`, `say(word)`, `seen(word)` and `until(word)`.
OTHER = """\
import os, subprocess, sys, time
from pathlib import Path
import anyio
from autoresearch.exclusive import Room

folder, name = Path(sys.argv[1]), sys.argv[2]
room = Room(name)

def say(word): (folder / word).touch()
def seen(word): return (folder / word).exists()

async def until(word):
    with anyio.fail_after(60):
        while not seen(word):
            await anyio.sleep(0.005)

async def inside(alone, body):
    async with room.hold(alone=alone):
        began = time.monotonic()
        await body()
        with open(folder / "log", "a") as log:
            log.write(f"{name} {int(alone)} {began!r} {time.monotonic()!r}\\n")

async def main():
HOW

anyio.run(main)
"""


class Others:
    """Other sessions, each in a process of its own, and the words they leave each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir()
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, how: str) -> subprocess.Popen[bytes]:
        program = OTHER.replace("HOW", textwrap.indent(textwrap.dedent(how).strip(), "    "))
        self._started.append(subprocess.Popen([sys.executable, "-c", program, str(self.folder), name]))
        return self._started[-1]

    def hold(self, name: str, *, alone: bool) -> subprocess.Popen[bytes]:
        """One that is in the room now, until `go` is said."""
        process = self.start(name, f"await inside({alone}, lambda: (say('{name}-in'), until('go'))[1])")
        self.await_(f"{name}-in")
        return process

    def say(self, word: str) -> None:
        (self.folder / word).touch()

    def await_(self, word: str) -> None:
        until = time.monotonic() + 60
        while not (self.folder / word).exists():
            assert time.monotonic() < until, f"nobody said {word}"
            time.sleep(0.005)

    def end(self) -> list[tuple[str, bool, float, float]]:
        """Wait for all; gives who was in the room, alone or not, from when to when."""
        for process in self._started:
            assert process.wait(60) == 0
        rows = [line.split() for line in (self.folder / "log").read_text().splitlines()]
        return [(name, alone == "1", float(began), float(ended)) for name, alone, began, ended in rows]

    def kill(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()


@pytest.fixture
def others(tmp_path: Path) -> Iterator[Others]:
    found = Others(tmp_path / "words")
    yield found
    found.kill()


MANY = "for _ in range(15):\n    await inside(ALONE, lambda: anyio.sleep(0.004))"


def test_evaluations_that_measure_times_never_overlap_with_any_other(others: Others) -> None:
    for name, alone in (("one", True), ("two", True), ("three", False)):
        others.start(name, MANY.replace("ALONE", str(alone)))
    found = others.end()
    assert len(found) == 45
    for name, alone, began, ended in found:
        for other, other_alone, other_began, other_ended in found:
            if name != other and (alone or other_alone):
                assert ended <= other_began or other_ended <= began


def test_other_evaluations_are_in_the_room_together(others: Others) -> None:
    others.start("one", "await inside(False, lambda: (say('one'), until('two'))[1])")
    others.start("two", "await inside(False, lambda: (say('two'), until('one'))[1])")
    assert len(others.end()) == 2


STREAM = """\
async def evaluations(slot):
    while not seen('done'):
        await inside(False, lambda: (say(f'{name}-{slot}'), anyio.sleep(0.2))[1])

async with anyio.create_task_group() as tasks:
    for slot in range(3):  # so far apart that the room is never empty
        tasks.start_soon(evaluations, slot)
        await anyio.sleep(0.07)
"""


def test_one_that_measures_times_gets_in_between_streams_of_others(others: Others) -> None:
    for name in ("one", "two"):
        others.start(name, STREAM)
    for word in ("one-2", "two-2"):
        others.await_(word)
    others.start("three", "await inside(True, lambda: anyio.sleep(0))\nsay('done')")
    found = others.end()
    alone = [row for row in found if row[1]]
    assert len(alone) == 1
    assert all(ended <= alone[0][2] or alone[0][3] <= began for name, _, began, ended in found if name != "three")


def test_third_one_that_measures_times_is_not_left_out_by_two_that_take_turns(others: Others) -> None:
    for name in ("one", "two"):
        others.start(name, "while not seen('done'):\n    await inside(True, lambda: (say(name), anyio.sleep(0.02))[1])")
    for word in ("one", "two"):
        others.await_(word)
    others.start("three", "await inside(True, lambda: anyio.sleep(0))\nsay('done')")
    assert {name for name, *_ in others.end()} == {"one", "two", "three"}


@pytest.mark.parametrize("waits", [False, True], ids=["inside", "waiting"])
def test_room_of_one_that_was_killed_is_free(others: Others, waits: bool) -> None:
    killed = others.hold("one", alone=not waits)
    if waits:
        killed = others.start("two", "say('two-waits')\nawait inside(True, lambda: anyio.sleep(0))")
        others.await_("two-waits")
    killed.kill()
    killed.wait()
    get_in(alone=not waits)


def get_in(*, alone: bool) -> None:
    async def main() -> None:
        room = Room("here")
        with anyio.fail_after(60):
            async with room.hold(alone=alone):
                pass
        room.close()

    anyio.run(main)


def test_what_an_evaluation_starts_does_not_hold_the_room(others: Others) -> None:
    child = "subprocess.Popen(['sleep', '60'], close_fds=False)"
    how = f"async def body():\n    child = {child}\n    (folder / 'pid').write_text(str(child.pid))\n    say('in')"
    one = others.start("one", how + "\n    await until('go')\nawait inside(True, body)")
    others.await_("in")
    one.kill()
    one.wait()
    pid = int((others.folder / "pid").read_text())
    try:
        get_in(alone=True)
        os.kill(pid, 0)
    finally:
        os.kill(pid, 9)


def test_who_is_waited_for_is_who_is_still_there(others: Others) -> None:
    one = others.hold("one", alone=False)
    others.start("two", "await inside(False, lambda: anyio.sleep(0))").wait()
    said: list[str] = []

    def say(words: str) -> None:
        said.append(words)
        others.say("go")

    async def main() -> None:
        room = Room("here", say)
        async with room.hold(alone=True):
            pass
        room.close()

    anyio.run(main)
    assert said == [f"waiting for an evaluation of another run (process {one.pid}): this task's times are measured alone"]


def test_folder_that_cannot_be_used_is_said_once_and_slots_still_keep_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AUTORESEARCH_LOCKS", str(tmp_path / "file"))
    said: list[str] = []

    async def main() -> None:
        room = Room("here", said.append)
        async with room.hold():
            with anyio.move_on_after(0) as scope:
                async with room.hold(alone=True):
                    raise AssertionError("it is taken")
        assert scope.cancelled_caught

    anyio.run(main)
    assert [words.partition(":")[0] for words in said] == [
        "evaluations of other runs on this machine are not kept out of the way of this one's"
    ]
    assert f"{tmp_path / 'file'} is no folder" in said[0]


# -- runs ----------------------------------------------------------------------------------------------------------------

TIMED = TASK.replace('name = "score"', 'name = "wall_s"')
SHARING = TIMED.replace("[metric]", "exclusive = false\n\n[metric]")
ALONE = "waiting for an evaluation of another run (run nov21, process {pid}): this task's times are measured alone"
FOR_IT = "waiting for another run (run nov21, process {pid}): its times are measured alone"


@pytest.mark.parametrize(("task", "alone", "words"), [(TIMED, False, ALONE), (TIMED, True, ALONE), (TASK, True, FOR_IT)])
def test_run_waits_for_the_room_says_so_once_and_goes_on(
    make_toy: Callable[..., Toy], others: Others, task: str, alone: bool, words: str
) -> None:
    other = others.hold("nov21", alone=alone)
    said = []

    def watch(what: str, details: Any) -> None:
        if what == "mended":
            said.append(details["words"])
            assert not (others.folder / "evaluated").exists()
            others.say("go")

    evaluate = f"open({str(others.folder / 'evaluated')!r}, 'a').write('x')\nprint('score: 1')\n"
    toy = make_toy({"evaluate.py": evaluate}, task=task)
    ending = toy.run([Patch({"knob.txt": "5\n"})], wish=Wish(experiments=1), watch=watch)
    assert ending.reason in ("session", "exhausted")
    assert said == [words.format(pid=other.pid)]
    evaluations = sum(len(e.measurements) for e in toy.history().experiments)
    assert len((others.folder / "evaluated").read_text()) == evaluations > 1


def test_wait_is_charged_to_no_time_budget(make_toy: Callable[..., Toy], others: Others) -> None:
    others.hold("nov21", alone=True)
    left: list[float] = []
    loops: list[Any] = []

    def watch(what: str, details: Any) -> None:
        if what == "mended":
            left.append(loops[0].books.spending.left_s())
            time.sleep(0.2)
            left.append(loops[0].books.spending.left_s())
            others.say("go")

    make_toy().run([Patch({"knob.txt": "5\n"})], wish=Wish(experiments=1, time_s=100.0), watch=watch, ready=loops.append)
    assert left == pytest.approx([left[0], left[0]], abs=1e-6)


def test_task_that_need_not_be_alone_does_not_wait_for_others_like_it(make_toy: Callable[..., Toy], others: Others) -> None:
    others.hold("nov21", alone=False)
    said = []
    toy = make_toy(task=SHARING)
    toy.run(
        [Patch({"knob.txt": "5\n"})],
        wish=Wish(experiments=1),
        watch=lambda what, details: said.append(details["words"]) if what == "mended" else None,
    )
    assert toy.history().decided >= 1
    assert said == []
    others.say("go")
    others.end()


def test_run_that_waits_for_the_room_can_be_stopped(make_toy: Callable[..., Toy], others: Others) -> None:
    others.hold("nov21", alone=True)
    loops: list[Any] = []

    def watch(what: str, details: Any) -> None:
        if what == "mended":
            loops[0].stop(Ending("stopped", "stopped"))

    ending = make_toy().run([Patch({"knob.txt": "5\n"})], watch=watch, ready=loops.append)
    assert ending.reason == "stopped"
    assert not (others.folder / "go").exists()


def test_build_and_setup_of_a_run_keep_out_of_the_way_of_times(make_toy: Callable[..., Toy], others: Others) -> None:
    others.hold("nov21", alone=True)
    setup = 'command = "python evaluate.py"\nsetup = "true"\nbuild = "true"'
    toy = make_toy(task=TASK.replace('command = "python evaluate.py"', setup))
    loops: list[Any] = []

    def watch(what: str, details: Any) -> None:
        if what == "mended":
            loops[0].stop(Ending("stopped", "stopped"))

    toy.run([], watch=watch, ready=loops.append)
    assert not (toy.project.paths.run(toy.history().run.run).folder / "setup.log").exists()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (TIMED, "one evaluation at a time in 2 slots: wall_s is a time, so each is measured alone"),
        (TASK.replace("[metric]", "exclusive = true\n\n[metric]"), "one evaluation at a time in 2 slots: [evaluate] exclusive"),
        (SHARING, ""),
        (TASK, ""),
    ],
)
def test_slots_that_take_turns_are_said_at_the_start(make_toy: Callable[..., Toy], task: str, words: str) -> None:
    toy = make_toy(task=task)
    with Session(toy.project, Wish(evaluations=2)) as session:
        said = [notice for notice in session.notices if "at a time" in notice]
    assert [notice[: len(words)] for notice in said] == ([words] if words else [])


def test_times_in_two_slots_are_measured_one_after_the_other(make_toy: Callable[..., Toy], tmp_path: Path) -> None:
    body = (
        f"import time\nbegan = time.monotonic()\ntime.sleep(0.05)\n"
        f"open({str(tmp_path / 'spans')!r}, 'a').write(f'{{began}} {{time.monotonic()}}\\n')\n"
    )
    toy = make_toy({"evaluate.py": body}, task=TIMED)
    toy.run([Patch({"knob.txt": f"{i}\n"}) for i in range(4)], wish=Wish(evaluations=2, experiments=4))
    spans = sorted(tuple(map(float, line.split())) for line in (tmp_path / "spans").read_text().splitlines())
    assert len(spans) > 4
    assert all(first[1] <= second[0] for first, second in pairwise(spans))


def test_check_waits_for_the_room_too_and_says_so(make_toy: Callable[..., Toy], others: Others) -> None:
    other = others.hold("nov21", alone=False)
    argv = [sys.executable, "-m", "autoresearch", "check", "--json"]
    toy = make_toy(task=TIMED)
    check = subprocess.Popen(argv, cwd=toy.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert check.stderr is not None
    try:
        said = next((line for line in check.stderr if line.startswith("waiting")), "")
        others.say("go")
        out, _ = check.communicate(timeout=120)
    finally:
        check.kill()
        check.wait()
    assert said.strip() == ALONE.format(pid=other.pid)
    assert json.loads(out)["values"]
