"""`kill -9` at any step of revive, reject and validate: the next command goes on, or nothing was done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from tests.conftest import TASK, Toy

from autoresearch.choice import Wish
from autoresearch.testing import Patch, canonical

SUM = "from pathlib import Path\nprint('score:', sum(float(p.read_text()) for p in sorted(Path('extra').glob('*.txt'))))\n"
KILL = """\
import json, os, signal, sys
from pathlib import Path
import anyio
from autoresearch.ledger import SqliteLedger
from autoresearch.choice import Wish
from autoresearch.objects import Repository
from autoresearch.project import Project
from autoresearch.session import Session

count = 0

def around(owner, name):
    method = getattr(owner, name)
    def wrapped(*args, **options):
        global count
        count += 1
        if count == int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGKILL)
        answer = method(*args, **options)
        count += 1
        if count == int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    setattr(owner, name, wrapped)

around(SqliteLedger, "append")
around(Repository, "update_refs")
with Session(Project(Path(sys.argv[1])), Wish(name="r", order=(sys.argv[2], json.loads(sys.argv[3])))) as session:
    session.pictures = False
    anyio.run(session.work, lambda what, details: None)
print(count)
"""


def part(name: str, value: float) -> Patch:
    return Patch({f"extra/{name}.txt": f"{value}\n"}, f"{name} {value}")


def make(make_toy: Callable[..., Toy], kind: str) -> Toy:
    """Two that are better, kept or held for a person, and one that is worse."""
    task = TASK + ("[review]\nhuman = true\n" if kind == "approve" else "")
    toy = make_toy({"evaluate.py": SUM, **{f"extra/{name}.txt": "10\n" for name in "abc"}}, task=task)
    toy.run_interrupted([part("a", 9), part("b", 9), part("c", 11)], wish=Wish(name="r", seed=1))
    return toy


def standing(toy: Toy) -> dict[str, Any]:
    ledger = toy.project.ledger(read_only=True)
    ledger.verify("r")
    history = ledger.history("r")
    found = {**canonical(ledger, "r"), "line": history.line, "validated": history.validated}
    ledger.close()
    assert toy.git("fsck", "--no-dangling", "--no-progress") == ""
    return found


def child(toy: Toy, kind: str, details: str, kill_at: int) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", KILL, str(toy.folder), kind, details, str(kill_at)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=os.environ)


@pytest.mark.parametrize(
    ("kind", "details"),
    [
        ("revive", '{"experiment": 3}'),
        ("reject", '{"experiment": 1}'),
        ("approve", '{"experiments": [1, 2]}'),
        ("validate", '{"pairs": 3}'),
    ],
)
def test_order_killed_anywhere_and_given_again_is_carried_out_once(
    make_toy: Callable[..., Toy], kind: str, details: str
) -> None:
    whole = make(make_toy, kind)
    before = standing(whole)
    boundaries = int(child(whole, kind, details, 0).stdout)
    wanted = standing(whole)
    assert wanted != before
    assert boundaries > 10
    for kill_at in range(1, boundaries + 1, 4):
        toy = make(make_toy, kind)
        assert child(toy, kind, details, kill_at).returncode == -signal.SIGKILL
        went_on = False
        if standing(toy)["validated"] is None:
            again = child(toy, kind, details, 0)
            if again.returncode:  # carried out already: only the end of the session was missing
                assert "expected one of the keeps" in again.stderr or "was approved and tried again" in again.stderr, (
                    again.stderr
                )
                toy.run([], wish=Wish(name="r"))
                went_on = True  # and so it was compared with the baseline at its end
        found = standing(toy)
        assert found["line"] == wanted["line"], kill_at
        assert toy.git("rev-parse", "autoresearch/r").strip() == toy.history("r").tip
        assert found["experiments"][: len(wanted["experiments"])] == wanted["experiments"], kill_at
        assert (found["validated"] is not None) == (wanted["validated"] is not None or went_on)
        toy.check_untouched()
