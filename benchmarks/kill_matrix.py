"""Kill a run at every step boundary and at random moments, go on with it, and compare with the run nobody killed.

    python benchmarks/kill_matrix.py --slots 1 --every 1 --random 300

Prints JSON: how many kills, how many runs differed from the uninterrupted one and how. Exit code 1 if any did.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from autoresearch import git
from autoresearch.books import Parts
from autoresearch.choice import Wish
from autoresearch.contracts import Brief
from autoresearch.ledger import SqliteLedger
from autoresearch.objects import Repository
from autoresearch.project import Project
from autoresearch.session import Session
from autoresearch.testing import Patch, Scripted, canonical

EXPERIMENTS = 8
COST_USD = 0.01
TASK = """\
[task]
name = "killed"
editable = ["*.txt"]
[evaluate]
command = "sh evaluate.sh"
timeout = "60s"
sandbox = "none"
[metric]
name = "score"
[budget]
experiments = 8
"""
EVALUATE = """\
read value < value.txt
echo "$value" >> '%s'
if [ "$value" = crash ]; then exit 3; fi
echo "score: $value"
"""
# number of the experiment: what it writes; keeps at 1, 4 and 7 make those under way stale
SCRIPT: dict[int, dict[str, str | None]] = {
    1: {"value.txt": "90\n"},
    2: {"value.txt": "95\n"},
    3: {"value.txt": "crash\n"},
    4: {"value.txt": "80\n", "note.txt": "kept\n"},
    5: {"value.txt": "100\n"},
    6: {"value.txt": "85\n"},
    7: {"value.txt": "70\n"},
    8: {"frozen.sh": "exit 0\n"},
}


def patch(brief: Brief) -> Patch:
    return Patch(SCRIPT[brief.n], f"patch {brief.n}", cost_usd=COST_USD)


class Boundaries:
    """Counts step boundaries of this process, and kills it at the one that is wanted."""

    def __init__(self, kill_at: int | None) -> None:
        self.count, self._kill_at = 0, kill_at

    def pass_one(self) -> None:
        self.count += 1
        if self.count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str) -> None:
        """Make the start and the end of a method boundaries."""
        method = getattr(owner, name)

        def wrapped(*args: Any, **options: Any) -> Any:
            self.pass_one()
            answer = method(*args, **options)
            self.pass_one()
            return answer

        setattr(owner, name, wrapped)


def session(project: Path, slots: int, kill_at: int | None, watch: Callable[[int], None] = lambda count: None) -> int:
    """Work on the run to its end, or to the kill; gives the number of boundaries passed."""
    boundaries = Boundaries(kill_at)
    boundaries.around(SqliteLedger, "append")
    boundaries.around(Repository, "update_refs")

    def prepare(loop: Any) -> None:
        parts = loop.parts
        loop.parts = loop.books.parts = Parts(
            parts.ledger, parts.workspace, parts.runner, Scripted(patch), parts.strategy, parts.acceptance
        )

    with Session(Project(project), Wish(name="killed", seed=7, evaluations=slots, proposals=slots, lag=5)) as s:
        s.pictures = False
        anyio.run(s.work, lambda what, details: None, prepare)
    return boundaries.count


def in_child(work: Callable[[], Any], *, kill_after_s: float | None = None) -> tuple[int, str]:
    """Run in a forked child; gives its wait status and what it returned, as text."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            os.write(write, str(work()).encode())
        except BaseException as error:
            os.write(write, repr(error).encode())
            os._exit(1)
        os._exit(0)
    os.close(write)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(pid, signal.SIGKILL)
    with open(read) as file:
        text = file.read()
    return os.waitpid(pid, 0)[1], text


def make_project(folder: Path) -> None:
    folder.mkdir(parents=True)
    counter = folder.parent / "counter"
    counter.write_text("")
    files = {"value.txt": "100\n", "frozen.sh": "true\n", "evaluate.sh": EVALUATE % counter, "autoresearch.toml": TASK}
    for name, text in files.items():
        (folder / name).write_text(text)
    for args in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        stamp = {"GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"}
        identity = ["-c", "user.name=o", "-c", "user.email=o@example.org"]
        subprocess.run(["git", *identity, *args], cwd=folder, env={**git.environment(), **stamp}, check=True)


def standing(folder: Path) -> dict[str, Any]:
    """What has to be the same as without kills, and what may differ."""
    ledger = SqliteLedger(folder / ".autoresearch" / "ledger.db", read_only=True)
    ledger.verify("killed")
    history = ledger.history("killed")
    refs = git.run("for-each-ref", "--format=%(refname) %(tree) %(objectname)", "refs/autoresearch/killed", cwd=folder)
    expected = {f"refs/autoresearch/killed/{e.n}": e.commit for e in history.experiments if e.commit and e.n}
    expected["refs/autoresearch/killed/base"] = history.run.base if history.run else ""
    found = {row.split()[0]: row.split()[2] for row in refs.decode().splitlines()}
    spent = sum(
        json.loads(line)["cost_usd"]
        for path in (folder / ".autoresearch" / "killed" / "experiments").glob("*/cost.jsonl")
        for line in path.read_text().splitlines()
    )
    branch = git.run("log", "--format=%T", "refs/heads/autoresearch/killed", cwd=folder).decode().split()
    answer = {
        "canonical": canonical(ledger, "killed"),
        "refs": found == expected,
        "branch": branch,
        "cost": abs(spent - history.cost_usd) < 1e-9 and history.cost_usd >= COST_USD * EXPERIMENTS - 1e-9,
        "evaluations": history.evaluations,
        "status": git.run("status", "--porcelain", cwd=folder).decode(),
        "table": (folder / ".autoresearch" / "killed" / "results.tsv").read_text().count("\n"),
    }
    ledger.close()
    return answer


def processes_left(cache: Path) -> list[str]:
    """Processes that carry this project's cache folder in their environment, besides us."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if os.fsencode(cache) in (entry / "environ").read_bytes():
                    found.append(entry.name)
            except OSError:
                continue
    return found


def compare(reference: dict[str, Any], found: dict[str, Any]) -> list[str]:
    return [key for key in reference if found[key] != reference[key]]


def trial(work: Path, slots: int, reference: dict[str, Any] | None, kill: Callable[[Path], tuple[int, str]] | None) -> Any:
    """One project: killed as `kill` does it, then gone on with to the end, then compared."""
    folder = work / "trial" / "project"  # the same each time: the path stands in the evaluator, and so in tree ids
    make_project(folder)
    os.environ["AUTORESEARCH_CACHE"] = str(folder.parent / "cache")
    try:
        if kill is not None:
            kill(folder)
            deadline = time.monotonic() + 5
            while (left := processes_left(folder.parent / "cache")) and time.monotonic() < deadline:
                time.sleep(0.02)
            if left:
                return [f"processes left: {left}"]
        status, text = in_child(lambda: session(folder, slots, None))
        if status:
            return [f"did not go on: {text}"]
        found = standing(folder)
        extra = (folder.parent / "counter").read_text().count("\n") - found["evaluations"]
        if reference is None:
            return found, int(text)
        wrong = compare(reference, found)
        if not 0 <= extra <= slots:
            wrong.append(f"evaluator ran {extra} times more than the ledger says")
        return wrong
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="kill at every N-th boundary; 0 for none")
    parser.add_argument("--random", type=int, default=300, help="kills at random moments")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="kill-matrix-"))
    differing: dict[str, list[str]] = {}
    kills = 0
    try:
        began = time.monotonic()
        reference, boundaries = trial(work, args.slots, None, None)
        length_s = time.monotonic() - began
        for k in range(1, boundaries + 1, args.every) if args.every else ():
            wrong = trial(work, args.slots, reference, lambda f, k=k: in_child(lambda: session(f, args.slots, k)))  # type: ignore[misc]
            kills += 1
            if wrong:
                differing[f"boundary {k}"] = wrong
        rng = random.Random(args.seed)
        for _ in range(args.random):
            after = rng.uniform(0, length_s)
            wrong = trial(
                work,
                args.slots,
                reference,
                lambda f, after=after: in_child(lambda: session(f, args.slots, None), kill_after_s=after),  # type: ignore[misc]
            )
            kills += 1
            if wrong:
                differing[f"after {after:.4f} s"] = wrong
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(json.dumps({"slots": args.slots, "boundaries": boundaries, "kills": kills, "differing": differing}))
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
