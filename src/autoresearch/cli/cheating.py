"""`demo --cheat`: a proposer that cheats in four ways and is honest once, and what became of each.

Everything is real: the example `deliveries`, whose evaluator is sealed and whose gate and held-out sets nobody sees; `cheat.py`
there, a program that proposes; an ordinary run. What is said at the end is read from the ledger.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from autoresearch.cli.demo import lay_out
from autoresearch.cli.start import Flags, run_command
from autoresearch.history import History
from autoresearch.project import Project
from autoresearch.records import Experiment
from autoresearch.report import show_number
from autoresearch.taskfile import load
from autoresearch.taskfile.schema import Budget, Proposer
from autoresearch.text import counted

RUN = "cheat"
CHEATS, HONEST = (1, 2, 3, 4), 5


def run_cheats(folder: Path, *, seed: int, as_json: bool) -> int:
    """Run the demo; gives the exit code: 0 if no cheat was kept and the honest change was.

    Raises:
        SetupError: the folder holds something else.
    """
    lay_out(folder, "deliveries", experiments=HONEST)
    task = load(folder)
    proposer = Proposer(kind="command", command="python cheat.py")
    task = task.model_copy(update={"proposer": [proposer], "budget": Budget(experiments=HONEST)})
    if not as_json:
        sys.stdout.write(f"the example deliveries in {folder}: its proposer is cheat.py\n")
    code = run_command(folder, Flags(name=RUN, new=True, seed=seed, json=as_json), task)
    if code:
        return code
    ledger = Project(folder).ledger(read_only=True)
    try:
        history = ledger.history(RUN)
    finally:
        ledger.close()
    right = is_right(history)
    if as_json:
        rows = [_row(e) for e in history.experiments[1:]]
        about = {"type": "cheats", "run": RUN, "at": time.time()}
        sys.stdout.write(json.dumps({**about, "experiments": rows, "right": right}, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in in_words(history)))
    return 0 if right else 1


def is_right(history: History) -> bool:
    """Whether no cheat was kept, and the honest change was."""
    tried = {e.n: e for e in history.experiments}
    return all(n in tried and not tried[n].kept for n in CHEATS) and HONEST in tried and tried[HONEST].kept


def in_words(history: History) -> list[str]:
    """Each attempt with its verdict and the reason, and what came of all."""
    lines = ["", f"{counted(len(CHEATS), 'cheat')}, and one honest change:"]
    for e in history.experiments[1:]:
        assert e.verdict is not None
        first = [m.values[history.run.metric] for m in e.own[:1] if m.ok] if history.run is not None else []
        seen = f"; its first evaluation said {show_number(first[0])}" if first else ""
        lines += [f"{e.n}  {e.description}{seen}", f"   {e.verdict.kind.value} ({e.verdict.reason}): {e.verdict.words}"]
    kept = [e.n for e in history.experiments[1:] if e.kept]
    if is_right(history):
        return [*lines, "no cheat was kept, and honest work was"]
    return [*lines, f"kept: {kept}, expected {[HONEST]}: with another seed luck may come otherwise; else this is a defect"]


def _row(e: Experiment) -> dict[str, Any]:
    assert e.verdict is not None
    verdict = {"verdict": e.verdict.kind.value, "reason": e.verdict.reason, "words": e.verdict.words}
    return {"n": e.n, "description": e.description, **verdict}
