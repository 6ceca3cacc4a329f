"""What the harness costs beside the evaluations, against a shell loop of git and evaluator on the same work.

    python benchmarks/overhead.py overhead --files 20      overhead per experiment, in alternating blocks
    python benchmarks/overhead.py overhead --files 20000
    python benchmarks/overhead.py flat                     a fresh run against one that holds 10,000 experiments
    python benchmarks/overhead.py start                    --help, status and going on with 10,000 experiments
    python benchmarks/overhead.py busy                     how busy two evaluation slots are at lag 8
    python benchmarks/overhead.py walls                    an experiment in a sandbox against one without, in turns
    python benchmarks/overhead.py python                   experiments a second with trivial callables in memory

Prints JSON. Overhead is wall time per experiment minus the evaluator alone, both sides in one folder on the home folder's
disk, containment on, sandbox off, in-process scripted proposer, nothing kept, median of alternating blocks.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio

from autoresearch.books import Parts
from autoresearch.choice import Wish
from autoresearch.contracts import Brief
from autoresearch.project import Project
from autoresearch.session import Session
from autoresearch.testing import InProcessRunner, Patch, Scripted

EVALUATE = "v = float(open('value.txt').read())\nprint(f'score: {v}')\n"
TASK = """\
[task]
name = "overhead"
editable = ["value.txt", "knobs.json"]
[evaluate]
command = "python evaluate.py"
timeout = "60s"
sandbox = "none"
[metric]
name = "score"
[acceptance]
kind = "single"
[budget]
experiments = 1000000
"""
SHELL = """\
best=100
i=0
while [ $i -lt {count} ]; do
  i=$((i+1))
  echo "1$(({first}+i))" > value.txt
  git commit -qam "try $i"
  commit=$(git rev-parse --short HEAD)
  {python} evaluate.py > run.log 2>&1
  score=$(grep '^score:' run.log | cut -d' ' -f2)
  printf '%s\\t%s\\t0.0\\tdiscard\\ttry\\n' "$commit" "$score" >> results.tsv
  if awk "BEGIN{{exit !($score < $best)}}"; then best=$score; else git reset -q --hard HEAD~1; fi
done
"""


def home_folder() -> Path:
    """A new folder on the home folder's disk."""
    root = Path.home() / ".cache"
    root.mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="autoresearch-bench-", dir=root))


def make_project(folder: Path, files: int) -> None:
    folder.mkdir(parents=True)
    for i in range(files - 5):
        path = folder / f"d{i // 100:03d}" / f"f{i}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"x = {i}\n" * 20)
    for name, text in {
        "value.txt": "100\n",
        "knobs.json": '{"rate": 0.01, "width": 64, "norm": true}\n',
        "evaluate.py": EVALUATE,
        "autoresearch.toml": TASK,
        ".gitignore": "run.log\nresults.tsv\n",
    }.items():
        (folder / name).write_text(text)
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    for args in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        subprocess.run(["git", "-c", "user.name=o", "-c", "user.email=o@example.org", *args], cwd=folder, env=env, check=True)
    for key in ("name", "email"):
        subprocess.run(["git", "config", f"user.{key}", "o@example.org"], cwd=folder, check=True)


def shell_block(folder: Path, count: int, first: int) -> float:
    """Seconds of one block of the shell loop."""
    script = SHELL.format(count=count, first=first, python=sys.executable)
    began = time.perf_counter()
    subprocess.run(["/bin/sh", "-e", "-c", script], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def evaluator_block(folder: Path, count: int) -> float:
    """Seconds of the evaluator alone, started by a shell."""
    script = f"i=0; while [ $i -lt {count} ]; do i=$((i+1)); {sys.executable} evaluate.py > run.log 2>&1; done"
    began = time.perf_counter()
    subprocess.run(["/bin/sh", "-e", "-c", script], cwd=folder, check=True)
    return time.perf_counter() - began


def work(folder: Path, patch: Callable[[Brief], Patch], experiments: int, *, in_process: bool = False, **wish: Any) -> float:
    """A session of so many experiments with the scripted proposer; gives its seconds."""

    def measure(place: Path, seed: int) -> float:
        return float((place / "value.txt").read_text())

    def prepare(loop: Any) -> None:
        p = loop.parts
        runner = InProcessRunner("score", measure) if in_process else p.runner
        loop.parts = loop.books.parts = Parts(p.ledger, p.workspace, runner, Scripted(patch), p.strategy, p.acceptance)

    with Session(Project(folder), Wish(experiments=experiments, **wish)) as session:
        session.pictures = False
        began = time.perf_counter()
        anyio.run(session.work, lambda what, details: None, prepare)
        return time.perf_counter() - began


def worse(brief: Brief) -> Patch:
    return Patch({"value.txt": f"1{brief.n:06d}\n"}, f"value {brief.n}")


@contextlib.contextmanager
def workbench() -> Iterator[Path]:
    folder = home_folder()
    os.environ["AUTORESEARCH_CACHE"] = str(folder / "cache")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def overhead(files: int, blocks: int, size: int) -> dict[str, Any]:
    """Alternating blocks within one session: while the proposer holds its breath, the shell has its turn."""
    ours: list[float] = []
    shell: list[float] = []
    alone: list[float] = []
    mark = [0.0]
    with workbench() as folder:
        make_project(folder / "ours", files)
        make_project(folder / "shell", files)
        shell_block(folder / "shell", 5, 0)

        def patch(brief: Brief) -> Patch:
            if brief.n % size == 1:
                if brief.n > 1 + size:  # the first block warms up
                    ours.append((time.perf_counter() - mark[0]) / size * 1e3)
                if brief.n > 1:
                    shell.append(shell_block(folder / "shell", size, brief.n) / size * 1e3)
                    alone.append(evaluator_block(folder / "shell", size) / size * 1e3)
                mark[0] = time.perf_counter()
            return worse(brief)

        work(folder / "ours", patch, (blocks + 1) * size + 1, new=True)
    e = statistics.median(alone)
    mine, theirs = statistics.median(ours) - e, statistics.median(shell) - e
    return {
        "files": files,
        "blocks": blocks,
        "experiments_a_block": size,
        "evaluator_ms": round(e, 2),
        "shell_loop_overhead_ms": round(theirs, 2),
        "autoresearch_overhead_ms": round(mine, 2),
        "ratio": round(mine / theirs, 3),
        "ours_ms": [round(x, 2) for x in ours],
        "shell_ms": [round(x, 2) for x in shell],
        "alone_ms": [round(x, 2) for x in alone],
    }


def fill(folder: Path, experiments: int) -> dict[str, float]:
    """A run that holds so many experiments, made by the real loop; memory before and after in MB."""
    make_project(folder, 20)
    work(folder, worse, 100, in_process=True, new=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = work(folder, worse, experiments - 100, in_process=True)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"memory_growth_mb": round(after - before, 1), "ms_an_experiment": round(seconds / (experiments - 100) * 1e3, 2)}


def flat(experiments: int, blocks: int, size: int) -> dict[str, Any]:
    """Alternating sessions' steady parts on a fresh run and on one with a long history."""
    with workbench() as folder:
        filled = fill(folder / "long", experiments)
        make_project(folder / "fresh", 20)
        work(folder / "fresh", worse, 50, new=True)
        times: dict[str, list[float]] = {"fresh": [], "long": []}
        for _ in range(blocks):
            for name in ("fresh", "long"):
                times[name].append(steady(folder / name, size))
        medians = {name: statistics.median(found) for name, found in times.items()}
    return {
        "experiments": experiments,
        **filled,
        "fresh_ms": round(medians["fresh"], 2),
        "long_ms": round(medians["long"], 2),
        "ratio": round(medians["long"] / medians["fresh"], 3),
    }


def steady(folder: Path, size: int) -> float:
    """Milliseconds an experiment in one session, from its 20th on: start-up is measured elsewhere."""
    stamps: list[float] = []

    def patch(brief: Brief) -> Patch:
        stamps.append(time.perf_counter())
        return worse(brief)

    work(folder, patch, size + 20)
    return (stamps[-1] - stamps[20]) / (len(stamps) - 21) * 1e3


def start(experiments: int, repeats: int) -> dict[str, Any]:
    """Seconds of `--help`, `status` and of going on until the first proposal, medians."""
    command = [sys.executable, "-m", "autoresearch"]

    def timed(*args: str, cwd: Path) -> float:
        found = []
        for _ in range(repeats):
            began = time.perf_counter()
            subprocess.run([*command, *args], cwd=cwd, check=True, stdout=subprocess.DEVNULL)
            found.append(time.perf_counter() - began)
        return round(statistics.median(found), 3)

    with workbench() as folder:
        project = folder / "long"
        fill(project, experiments)
        return {
            "experiments": experiments,
            "help_s": timed("--help", cwd=project),
            "status_s": timed("status", cwd=project),
            "first_proposal_command_s": first_proposal(project, "command", repeats),
            "first_proposal_knobs_s": first_proposal(project, "knobs", repeats),
        }


def first_proposal(project: Path, kind: str, repeats: int) -> float:
    """From the start of `autoresearch run` to the event that a proposal begins (command) or is made (knobs)."""
    table = 'kind = "knobs"' if kind == "knobs" else 'kind = "command"\ncommand = "sh -c \'exit 1\'"'
    (project / "autoresearch.toml").write_text(f"{TASK}[proposer]\n{table}\n")
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "autoresearch", "run", "-n", "1", "--json"], cwd=project, capture_output=True, check=False
        )
        ledger = Project(project).ledger(read_only=True)
        events = list(ledger.events(ledger.runs()[-1].run))
        ledger.close()
        asked = [e.at for e in events if e.kind == ("proposed" if kind == "knobs" else "asked")][-1]
        found.append(asked - (time.time() - (time.perf_counter() - began)))
    return round(statistics.median(found), 3)


def busy(experiments: int) -> dict[str, Any]:
    """Share of time in which two slots evaluate, uneven durations of 0.5 s and more."""
    spans: list[tuple[str, float, int]] = []

    def watch(what: str, details: Mapping[str, Any]) -> None:
        if what in ("evaluating", "evaluated"):
            spans.append((what, time.perf_counter(), details["slot"]))

    with workbench() as folder:
        make_project(folder / "p", 20)
        project = folder / "p"
        (project / "evaluate.py").write_text(
            "import time\nv = float(open('value.txt').read())\ntime.sleep(0.5 + v % 7 / 10)\nprint(f'score: {v}')\n"
        )
        subprocess.run(["git", "commit", "-qam", "slow"], cwd=project, check=True)

        def prepare(loop: Any) -> None:
            p = loop.parts
            loop.parts = loop.books.parts = Parts(p.ledger, p.workspace, p.runner, Scripted(worse), p.strategy, p.acceptance)

        with Session(Project(project), Wish(experiments=experiments, evaluations=2, lag=8)) as session:
            session.pictures = False
            anyio.run(session.work, watch, prepare)
    first = next(t for what, t, _ in spans[2:] if what == "evaluating")
    last = [t for what, t, _ in spans if what == "evaluating"][-1]  # after it there is no more work to share out
    begun: dict[int, float] = {}
    total = 0.0
    for what, at, slot in spans:
        if what == "evaluating":
            begun[slot] = at
        else:
            total += max(0.0, min(at, last) - max(begun[slot], first))
    return {"experiments": experiments, "slots": 2, "lag": 8, "busy": round(total / (2 * (last - first)), 4)}


def walls(blocks: int, size: int) -> dict[str, Any]:
    """Alternating sessions without a sandbox, in bubblewrap's and in Landlock's."""
    kinds = ("none", "bubblewrap", "landlock")
    with workbench() as folder:
        for kind in kinds:
            make_project(folder / kind, 20)
            task = folder / kind / "autoresearch.toml"
            task.write_text(TASK.replace('sandbox = "none"', f'sandbox = "{kind}"'))
            work(folder / kind, worse, 50, new=True)
        times: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(blocks):
            for kind in kinds:
                times[kind].append(steady(folder / kind, size))
    medians = {kind: statistics.median(found) for kind, found in times.items()}
    return {
        "experiments_a_block": size,
        "blocks": blocks,
        **{f"{kind}_ms": round(found, 2) for kind, found in medians.items()},
        **{f"{kind}_adds_ms": round(medians[kind] - medians["none"], 2) for kind in kinds[1:]},
        "all_ms": {kind: [round(x, 2) for x in found] for kind, found in times.items()},
    }


def in_memory(experiments: int) -> dict[str, Any]:
    import random

    from autoresearch import optimize

    rng = random.Random(0)
    began = time.perf_counter()
    optimize(1.0, fitness=lambda s: s * s, propose=lambda s: s + rng.gauss(0, 1), experiments=experiments)
    return {"experiments": experiments, "a_second": round(experiments / (time.perf_counter() - began))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["overhead", "flat", "start", "busy", "walls", "python"])
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--experiments", type=int, default=10_000)
    args = parser.parse_args()
    answers: dict[str, Callable[[], dict[str, Any]]] = {
        "overhead": lambda: overhead(args.files, args.blocks, args.size),
        "flat": lambda: flat(args.experiments, args.blocks, args.size),
        "start": lambda: start(args.experiments, 5),
        "busy": lambda: busy(min(args.experiments, 60)),
        "walls": lambda: walls(args.blocks, args.size),
        "python": lambda: in_memory(min(args.experiments, 5000)),
    }
    print(json.dumps(answers[args.what]()))


if __name__ == "__main__":
    main()
