"""Is the demo's gain a gain? Runs the demo under several seeds and measures each result again, against the baseline.

    python benchmarks/demo_seeds.py --seeds 10 --pairs 8

For each seed: the gain of the result over the baseline in fresh alternating pairs (AB, BA, ...), both arms of a pair on the
same training seed, with its 90 % t interval. Prints a JSON line a seed, then a summary.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

T90 = {1: 6.314, 2: 2.920, 3: 2.353, 4: 2.132, 5: 2.015, 6: 1.943, 7: 1.895, 8: 1.860, 9: 1.833}


def measure(folder: Path, seed: int) -> float:
    result = subprocess.run(
        [sys.executable, "train.py"],
        cwd=folder,
        env={**os.environ, "SEED": str(seed)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"^val_bpb:\s+(\S+)", result.stdout, re.MULTILINE)
    assert found is not None, result.stdout
    return float(found[1])


def one(seed: int, experiments: int, pairs: int, work: Path, pictures: Path | None) -> dict[str, object]:
    """One demo and its re-measurement."""
    folder = work / f"demo-{seed}"
    command = [sys.executable, "-m", "autoresearch", "demo", "--n", str(experiments), "--seed", str(seed)]
    began = time.monotonic()
    subprocess.run([*command, "--folder", str(folder)], check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    if pictures is not None:
        shutil.copyfile(next(folder.glob(".autoresearch/*/progress.png")), pictures / f"seed-{seed}.png")
    branch = subprocess.run(
        ["git", "for-each-ref", "--format=%(refname)", "refs/heads/autoresearch"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()[0]
    arms = {"baseline": work / f"baseline-{seed}", "result": work / f"result-{seed}"}
    for name, revision in (("baseline", "HEAD"), ("result", branch)):
        subprocess.run(["git", "clone", "-q", "--no-checkout", str(folder), str(arms[name])], check=True)
        commit = subprocess.run(
            ["git", "rev-parse", revision], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()
        subprocess.run(["git", "fetch", "-q", str(folder), branch], cwd=arms[name], check=True)
        subprocess.run(["git", "checkout", "-q", commit], cwd=arms[name], check=True)
    keeps = subprocess.run(
        ["git", "rev-list", "--count", f"HEAD..{branch}"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    gains, baselines = [], []
    for i in range(pairs):
        order = ("baseline", "result") if i % 2 == 0 else ("result", "baseline")
        values = {name: measure(arms[name], 1000 * seed + i) for name in order}
        gains.append(values["baseline"] - values["result"])
        baselines.append(values["baseline"])
    mean, half = statistics.fmean(gains), T90[pairs - 1] * statistics.stdev(gains) / math.sqrt(pairs)
    base = statistics.fmean(baselines)
    return {
        "seed": seed,
        "keeps": int(keeps),
        "demo_seconds": round(seconds, 1),
        "baseline": round(base, 4),
        "gain": round(mean, 4),
        "low": round(mean - half, 4),
        "high": round(mean + half, 4),
        "gain_percent": round(100 * mean / base, 2),
        "excludes_zero": mean - half > 0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--experiments", type=int, default=40)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--pictures", type=Path, help="copy each run's picture into this folder")
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="demo-seeds-"))
    os.environ["AUTORESEARCH_CACHE"] = str(work / "cache")
    rows = []
    try:
        for seed in range(args.first, args.first + args.seeds):
            rows.append(one(seed, args.experiments, args.pairs, work, args.pictures))
            print(json.dumps(rows[-1]), flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(json.dumps({"seeds": len(rows), "intervals_that_exclude_zero": sum(bool(r["excludes_zero"]) for r in rows)}))


if __name__ == "__main__":
    main()
