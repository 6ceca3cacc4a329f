"""Nights of known truth through real git and processes: what `benchmarks/false_keeps.py --real N` plays.

Each is a project of its own: the value stands in a file, the evaluation prints it with noise that depends on the night, the
proposal, and either a seed or how many evaluations there were; a scripted proposer changes it. The truth is read from the
candidates that the run left in git.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoresearch import git, task
from autoresearch.records import Experiment, Gain
from autoresearch.testing.nights import Night, of_experiments

SD, EVALUATIONS = 1.0, 80
TASK = """\
[task]
name = "night"
editable = ["value.txt"]
[evaluate]
command = "python evaluate.py"
{source}
timeout = "60s"
[metric]
name = "score"
direction = "{direction}"
[acceptance]
kind = "{rule}"
[proposer]
kind = "ideas_{night}:propose"
[budget]
evaluations = {evaluations}
experiments = 1000
"""
EVALUATE = """\
import os, random
value, proposal = open("value.txt").read().split()
if value == "crash":
    raise SystemExit("proposal " + proposal + " crashes")
if "SEED" in os.environ:
    which = os.environ["SEED"]
else:
    with open(os.environ["COUNTER"], "a") as counter:
        which = counter.tell()
        print(proposal, file=counter)
noise = random.Random(f"{night}/{{proposal}}/{{which}}").gauss(0, {sd})
print("score:", {sign} * (float(value) + noise))
"""
IDEAS = """\
import random

def propose(folder, brief):
    chance = random.Random(f"{night}/{{brief.n}}")
    value = float((folder / "value.txt").read_text().split()[0])
    which, size = chance.random(), chance.expovariate(1)
    if which < 0.05:
        text = "crash"
    elif which < 0.25:
        text = repr(value + 4 * size)
    else:
        text = repr(value - 6 * size if which < 0.55 else value)
    (folder / "value.txt").write_text(f"{{text}} {{brief.n}}\\n")
    return f"idea {{brief.n}}"
"""


def play(night: int, rule: str = "auto", *, evaluations: int = EVALUATIONS) -> Night:
    """Play one night in a new project; nothing stays behind.

    Odd nights have a metric to minimize; in every other two an evaluation takes a seed.
    """
    work = Path(tempfile.mkdtemp(prefix=f"night-{night}-"))
    direction, sign = ("minimize", -1) if night % 2 else ("maximize", 1)
    source = 'seed_env = "SEED"' if night % 4 < 2 else 'env = ["COUNTER"]'
    try:
        folder = work / "project"
        files = {
            "autoresearch.toml": TASK.format(
                direction=direction, rule=rule, night=night, evaluations=evaluations, source=source
            ),
            "evaluate.py": EVALUATE.format(night=night, sd=SD, sign=sign),
            f"ideas_{night}.py": IDEAS.format(night=night),
            "value.txt": "0.0 0\n",
        }
        make(folder, files)
        places = {"AUTORESEARCH_CACHE": "cache", "AUTORESEARCH_LOCKS": "locks", "COUNTER": "counter"}
        with environment(**{name: str(work / place) for name, place in places.items()}):
            before = standing(folder)
            found = task(folder).run("night")
            if standing(folder) != before:
                raise AssertionError(f"the checkout of {folder} was changed")
        history = task(folder).history("night")
        truth = {e.n: value_of(folder, e) for e in history.experiments if e.commit}
        truth[0] = 0.0
        gain = None if found["validated"] is None else Gain(**found["validated"])
        return of_experiments(history.experiments, truth.__getitem__, SD, found["claimed"], gain)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def value_of(folder: Path, e: Experiment) -> float:
    """The true value of a candidate, minus infinity for one that crashes."""
    text = git.run("show", f"{e.commit}:value.txt", cwd=folder).decode().split()[0]
    return float("-inf") if text == "crash" else float(text)


def make(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    identity = ["-c", "user.name=o", "-c", "user.email=o@example.org"]
    for args in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        subprocess.run(["git", *identity, *args], cwd=folder, env=git.environment(), check=True)


def standing(folder: Path) -> bytes:
    """What of the user's checkout has to stay: HEAD, index and files."""
    return git.run("rev-parse", "HEAD", cwd=folder) + git.run("status", "--porcelain", cwd=folder)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
