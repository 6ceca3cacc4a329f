"""How long `try` takes beyond the evaluation, with an owner of the run alive.

    python benchmarks/try_latency.py             the command, from a new process to its answer
    python benchmarks/try_latency.py --jobs      the same requests from a process that is there already, as the MCP server's
    python benchmarks/try_latency.py --files N   in a repository of N files

Prints JSON: milliseconds of wall time from the request's beginning to its answer, less what evaluations
took meanwhile by the ledger. The owner is one that was started for the first request, and has nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from autoresearch.driving import places
from autoresearch.driving.jobs import Jobs
from autoresearch.project import Project

TASK = """\
[task]
name = "latency"
editable = ["knob.txt"]
[evaluate]
command = "python evaluate.py"
[metric]
name = "score"
[budget]
experiments = 100000
"""
EVALUATE = 'import time\ntime.sleep(0.3)\nprint("score:", float(open("knob.txt").read()))\n'


def make(folder: Path, files: int) -> None:
    """A project whose evaluation takes 0.3 s and a little."""
    texts = {"knob.txt": "1000000\n", "evaluate.py": EVALUATE, "autoresearch.toml": TASK}
    texts |= {f"rest/{i % 100}/{i}.txt": f"{i}\n" for i in range(files)}
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for args in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-q", "-m", "start"]):
        subprocess.run(["git", *args], cwd=folder, check=True)


def by_command(folder: Path) -> None:
    argv = [sys.executable, "-m", "autoresearch", "try", "-m", "one less", "--json"]
    subprocess.run(argv, cwd=folder, check=True, capture_output=True)


def by_jobs(folder: Path) -> None:
    jobs = Jobs(places.find(folder))
    jobs.wait(jobs.offer("one less"))


def beyond_ms(folder: Path, ask: Callable[[Path], None]) -> float:
    """One request: wall time less what was evaluated meanwhile."""
    knob = folder / "knob.txt"
    knob.write_text(f"{float(knob.read_text()) - 1}\n")
    before_s = evaluated_s(folder)
    began = time.perf_counter()
    ask(folder)
    took_s = time.perf_counter() - began
    return 1e3 * (took_s - (evaluated_s(folder) - before_s))


def evaluated_s(folder: Path) -> float:
    """How long all evaluations of the run took so far, those between two experiments too."""
    project = Project(folder)
    if not project.has_ledger:
        return 0.0
    ledger = project.ledger()
    history = ledger.history(ledger.runs()[-1].run)
    ledger.close()
    return sum(m.duration_s for e in history.experiments for m in e.measurements)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--jobs", action="store_true")
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--count", type=int, default=30)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top) / "project"
        os.environ |= {"AUTORESEARCH_CACHE": f"{top}/cache", "AUTORESEARCH_LOCKS": f"{top}/locks"}
        make(folder, args.files)
        ask = by_jobs if args.jobs else by_command
        beyond_ms(folder, ask)  # starts the owner and measures the baseline
        took = sorted(beyond_ms(folder, ask) for _ in range(args.count))
        subprocess.run([sys.executable, "-m", "autoresearch", "stop"], cwd=folder, check=True, capture_output=True)
        time.sleep(1)
    quantiles = statistics.quantiles(took, n=10)
    body = {"count": len(took), "median_ms": statistics.median(took), "p90_ms": quantiles[-1], "most_ms": took[-1]}
    body |= {"files": args.files, "how": "jobs" if args.jobs else "command"}
    print(json.dumps({key: round(value, 1) if isinstance(value, float) else value for key, value in body.items()}))


if __name__ == "__main__":
    main()
