"""The knobs proposer against Optuna's TPE used directly: paired seeds, equal evaluations, a one-sided test for each function.

    python benchmarks/knobs.py --seeds 30 --evaluations 60
    python benchmarks/knobs.py --seeds 30 --evaluations 20 --only nanolm     the example itself, a quarter of an hour

Prints JSON: for each function the medians of the best value, how often knobs is better, and the p value of a one-sided
Wilcoxon signed-rank test of "knobs is worse" (Wilcoxon 1945, normal approximation). Exit code 1 if it is below 5 % anywhere.
Both start with the same default settings measured; TPE is told them as its first trial.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna

from autoresearch.errors import Exhausted
from autoresearch.proposers.constants import Knob, edit, find
from autoresearch.proposers.knobs import Results, Search
from autoresearch.records import Experiment, Kind, Verdict

Function = Callable[[Mapping[str, Any]], float]


def sphere(x: Mapping[str, float]) -> float:
    return sum((v - 1.3) ** 2 for v in x.values())


def rosenbrock(x: Mapping[str, float]) -> float:
    v = list(x.values())
    return sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in itertools.pairwise(v))


def ackley(x: Mapping[str, float]) -> float:
    v = [a - 0.7 for a in x.values()]
    n = len(v)
    first = -20 * math.exp(-0.2 * math.sqrt(sum(a * a for a in v) / n))
    return first - math.exp(sum(math.cos(2 * math.pi * a) for a in v) / n) + 20 + math.e


def rastrigin(x: Mapping[str, float]) -> float:
    return sum(10 + (v - 0.5) ** 2 - 10 * math.cos(2 * math.pi * (v - 0.5)) for v in x.values())


def training(x: Mapping[str, Any]) -> float:
    """A stand-in for a training script: log scales, an interaction, a choice and a switch."""
    rate, batch = math.log10(x["LEARNING_RATE"]), math.log2(x["BATCH_SIZE"])
    loss = (rate + 2.2 + 0.15 * (batch - 6)) ** 2 + 0.03 * (batch - 5) ** 2 + (x["MOMENTUM"] - 0.93) ** 2 * 20
    loss += {"relu": 0.1, "gelu": 0.0, "tanh": 0.3}[x["ACTIVATION"]] + (0.0 if x["NORM"] else 0.25)
    return 1.0 + loss + 0.02 * (x["DEPTH"] - 5) ** 2


def plain(names: int, low: float, high: float, at: float) -> str:
    return "".join(f"X{i} = {at}  # knob: {low}..{high}\n" for i in range(names))


TRAINING = """\
LEARNING_RATE = 0.1  # knob: log 1e-5..1
BATCH_SIZE = 256  # knob: log 8..1024
MOMENTUM = 0.5  # knob: 0..0.999
ACTIVATION = "relu"  # knob: relu|gelu|tanh
NORM = False
DEPTH = 2  # knob: 1..12
"""
FUNCTIONS: dict[str, tuple[Function, str]] = {
    "sphere5": (sphere, plain(5, -5.0, 5.0, -3.0)),
    "rosenbrock4": (rosenbrock, plain(4, -2.0, 2.0, -1.0)),
    "ackley5": (ackley, plain(5, -5.0, 5.0, 3.0)),
    "rastrigin3": (rastrigin, plain(3, -5.0, 5.0, 3.0)),
    "training": (training, TRAINING),
}


class Nanolm:
    """The example itself, with a tenth of a second of training for an evaluation; a run that fails counts as 8 bits."""

    def __init__(self) -> None:
        source = Path(__file__).parents[1] / "examples" / "nanolm"
        self._folder = Path(tempfile.mkdtemp(prefix="nanolm-"))
        for name in ("train.py", "prepare.py", "valid.txt"):
            shutil.copy(source / name, self._folder)
        prepare = self._folder / "prepare.py"
        prepare.write_text(re.sub(r"^TIME_BUDGET = [\d.]+", "TIME_BUDGET = 0.1", prepare.read_text(), flags=re.MULTILINE))
        self.source = (self._folder / "train.py").read_text()
        self._knobs = find({"train.py": self.source})

    def __call__(self, settings: Mapping[str, Any]) -> float:
        changed = {k.name: settings[k.name] for k in self._knobs if settings[k.name] != k.value}
        text = edit({"train.py": self.source}, self._knobs, changed).get("train.py", self.source)
        (self._folder / "train.py").write_text(text)
        result = subprocess.run([sys.executable, "train.py"], cwd=self._folder, capture_output=True, text=True, check=False)
        found = re.search(r"^val_bpb:\s+(\S+)", result.stdout, re.MULTILINE)
        return float(found[1]) if found else 8.0


def by_knobs(function: Function, knobs: list[Knob], evaluations: int, seed: int) -> float:
    """The best of so many evaluations, the default's included, as a greedy run would have it."""
    here = {k.name: k.value for k in knobs}
    best = function(here)
    results = Results()
    results.add(here, _experiment(0, best, kept=True))
    search = Search()
    for n in range(1, evaluations):
        try:
            point = search.next(knobs, here, results, [], minimize=True, rng=random.Random(f"{seed}/{n}"))
        except Exhausted:
            break
        value = function(point)
        kept = value < best
        results.add(point, _experiment(n, value, kept=kept))
        if kept:
            here, best = point, value
    return best


def _experiment(n: int, value: float, *, kept: bool) -> Experiment:
    verdict = Verdict(Kind.KEEP if kept else Kind.DISCARD, "better" if kept else "worse")
    return Experiment(n, stage="decided", verdict=verdict, value=value)


def by_tpe(function: Function, knobs: list[Knob], evaluations: int, seed: int) -> float:
    """Optuna's default sampler on the same ranges, told the default first."""
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial({k.name: k.value for k in knobs})
    for _ in range(evaluations):
        trial = study.ask()
        study.tell(trial, function({k.name: _suggest(trial, k) for k in knobs}))
    return study.best_value


def _suggest(trial: optuna.Trial, knob: Knob) -> Any:
    if knob.kind == "choice":
        return trial.suggest_categorical(knob.name, list(knob.choices))
    if knob.kind == "int":
        return trial.suggest_int(knob.name, int(knob.low), int(knob.high), log=knob.log)
    return trial.suggest_float(knob.name, knob.low, knob.high, log=knob.log)


def worse_p(mine: list[float], theirs: list[float]) -> float:
    """One-sided p of "mine is larger": Wilcoxon's signed-rank test, normal approximation with average ranks for ties."""
    differences = [a - b for a, b in zip(mine, theirs, strict=True) if a != b]
    if not differences:
        return 1.0
    sizes = sorted(abs(d) for d in differences)
    ranks = {size: statistics.fmean(i for i, other in enumerate(sizes, 1) if other == size) for size in set(sizes)}
    positive = sum(ranks[abs(d)] for d in differences if d > 0)
    mean = sum(range(1, len(sizes) + 1)) / 2
    deviation = math.sqrt(sum(ranks[abs(d)] ** 2 for d in differences) / 4)
    return 1 - statistics.NormalDist().cdf((positive - mean - 0.5) / deviation)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--evaluations", type=int, default=60)
    parser.add_argument("--only", nargs="*", default=list(FUNCTIONS))
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    rows: dict[str, dict[str, float]] = {}
    for name in args.only:
        example = Nanolm() if name == "nanolm" else None
        function, source = (example, example.source) if example else FUNCTIONS[name]
        knobs = find({"f.py": source})
        mine = [by_knobs(function, knobs, args.evaluations, s) for s in range(args.seeds)]
        theirs = [by_tpe(function, knobs, args.evaluations, s) for s in range(args.seeds)]
        rows[name] = {
            "knobs_median": round(statistics.median(mine), 5),
            "tpe_median": round(statistics.median(theirs), 5),
            "knobs_better": sum(a < b for a, b in zip(mine, theirs, strict=True)) / args.seeds,
            "p_knobs_worse": round(worse_p(mine, theirs), 4),
        }
    print(json.dumps({"seeds": args.seeds, "evaluations": args.evaluations, "functions": rows}))
    sys.exit(1 if any(row["p_knobs_worse"] < 0.05 for row in rows.values()) else 0)


if __name__ == "__main__":
    main()
