"""`kill -9` in the middle of a race, and between a keep and its row: the run goes on to the ledger of the run nobody killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Toy

from autoresearch.choice import Wish
from autoresearch.testing import Patch, canonical

pytestmark = pytest.mark.usefixtures("no_sandbox")  # evaluations use files outside their trees

NOISY = """\
import os, random
from pathlib import Path

knob = Path("knob.txt").read_text().strip()
with open(os.environ["COUNTER"], "a+") as counter:
    counter.seek(0)
    before = len(counter.readlines())
    print(knob, file=counter)
if knob == "10" and before >= int(os.environ["FAILS_AFTER"]):
    raise SystemExit(3)
print("score:", float(knob) + random.Random(knob + os.environ["SEED"]).gauss(0, 0.1))
"""
TASK = """\
[task]
name = "raced"
editable = ["knob.txt"]
[evaluate]
command = "python evaluate.py"
seed_env = "SEED"
env = ["COUNTER", "FAILS_AFTER"]
timeout = "60s"
[metric]
name = "score"
direction = "minimize"
[acceptance]
kind = "race"
[budget]
experiments = 4
"""
KNOBS = ("9.7", "9.69", "9.5", "9.9")
"""A gain of 3 sd, a tie, a gain of 2, a loss."""
SESSION = """\
import collections, json, os, signal, sys
from pathlib import Path
import anyio
from autoresearch.books import Parts
from autoresearch.choice import Wish
from autoresearch.ledger import SqliteLedger
from autoresearch.project import Project
from autoresearch.session import Session
from autoresearch.testing import Patch, Scripted

folder, when, wanted, number, *knobs = sys.argv[1:]
seen = collections.Counter()
append = SqliteLedger.append

def killing(self, run, *events, **options):
    for event in events:
        if event.n != 0 or event.body.get("phase") == "final":
            seen[" ".join([event.kind, str(event.body.get("phase") or event.body.get("verdict") or "")]).strip()] += 1
    hit = seen[wanted] == int(number)
    if hit and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    answer = append(self, run, *events, **options)
    if hit:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer

SqliteLedger.append = killing

def prepare(loop):
    script = Scripted([Patch({"knob.txt": knob + "\\n"}, knob) for knob in knobs])
    loop.parts = loop.books.parts = Parts(**{n: getattr(loop.parts, n) for n in Parts.__slots__} | {"proposer": script})

with Session(Project(Path(folder)), Wish(name="r", seed=3)) as session:
    session.pictures = False
    anyio.run(session.work, lambda what, details: None, prepare)
print(json.dumps(seen))
"""


@pytest.fixture
def make_raced(make_toy: Callable[..., Toy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Toy]:
    """Toys with noise that depends on seed and candidate alone; each evaluation leaves a line in $COUNTER."""

    def make(fails_after: int = 1000) -> Toy:
        toy = make_toy({"evaluate.py": NOISY}, task=TASK)
        monkeypatch.setenv("COUNTER", str(tmp_path / f"{toy.folder.name}-counter"))
        monkeypatch.setenv("FAILS_AFTER", str(fails_after))
        return toy

    return make


def child(toy: Toy, when: str, event: str, number: int) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", SESSION, str(toy.folder), when, event, str(number), *KNOBS]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=os.environ)


def standing(toy: Toy) -> dict[str, Any]:
    """What has to be the same however the run was killed."""
    ledger = toy.project.ledger(read_only=True)
    ledger.verify("r")
    history = ledger.history("r")
    found = {**canonical(ledger, "r"), "line": history.line, "validated": history.validated, "status": history.run}
    ledger.close()
    assert toy.git("rev-parse", "autoresearch/r").strip() == history.tip
    assert toy.git("rev-parse", "autoresearch/r^{tree}").strip() == history.incumbent.tree
    assert toy.git("fsck", "--no-dangling", "--no-progress") == ""
    found["status"] = found["status"].status if found["status"] else ""
    return found


def evaluated() -> int:
    return len(Path(os.environ["COUNTER"]).read_text().splitlines())


def test_race_killed_anywhere_goes_on_and_nothing_is_lost_or_doubled(make_raced: Callable[[], Toy]) -> None:
    whole = make_raced()
    done = child(whole, "before", "never", 1)
    assert done.returncode == 0, done.stderr
    wanted, seen = standing(whole), json.loads(done.stdout)
    assert seen["measured race"] >= 8
    assert 0 < seen["decided keep"] < len(KNOBS)
    assert wanted["validated"] is not None
    made = len(whole.history("r").experiments[0].measurements) + seen["measured first"] + seen["measured race"]
    assert evaluated() == made + seen.get("measured between", 0)
    places = [(when, "measured race", k) for k in (1, 4) for when in ("before", "after")]
    places += [(when, event, 1) for event in ("decided keep", "advanced") for when in ("before", "after")]
    places += [("after", "measured first", 2), ("before", "measured final", 2), ("after", "measured final", 3)]
    for place in places:
        toy = make_raced()
        assert child(toy, *place).returncode == -signal.SIGKILL, place
        toy.check_untouched()
        again = child(toy, "before", "never", 1)
        assert again.returncode == 0, again.stderr
        assert standing(toy) == wanted, place
        assert 0 <= evaluated() - made - seen.get("measured between", 0) <= 1, place
        toy.check_untouched()


def test_incumbent_that_fails_in_a_race_never_counts_as_a_win(make_raced: Callable[..., Toy]) -> None:
    toy = make_raced(fails_after=5)
    toy.run([Patch({"knob.txt": "5\n"}, "much better")], wish=Wish(name="r", seed=3))
    history = toy.history("r")
    verdict = history.experiments[1].verdict
    assert verdict is not None
    assert (verdict.kind, verdict.reason) == ("discard", "flaky")
    assert history.line == [0]
    assert history.validated is None
    assert sum(m.arm == "incumbent" and not m.ok for m in history.experiments[1].measurements) == 2
