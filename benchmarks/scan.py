"""What the scan of a candidate's diff costs: `python benchmarks/scan.py`. Prints JSON, in milliseconds, the median of 200.

Four diffs of nanolm's `train.py`: constants, a new import, twenty new lines in the middle, a file written anew; and the
first look at 20 MB of data, which a session has once, when a diff first has a literal that could come from there.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import autoresearch
from autoresearch.scan import Benchmark, scan
from autoresearch.scan.data import BYTES

TRAIN = (Path(autoresearch.__file__).parent / "examples" / "nanolm" / "train.py").read_text(encoding="utf-8")


def diffs() -> dict[str, str]:
    lines = TRAIN.splitlines(keepends=True)
    block = [f"    h{i} = x * {i}\n" for i in range(20)]
    return {
        "constants": "".join(line.replace("0.", "0.1", 1) if " = 0." in line else line for line in lines),
        "import": "".join([*lines[:30], "import socket\n", *lines[30:]]),
        "twenty_lines": "".join([*lines[:60], *block, *lines[66:]]),
        "anew": "".join(f"{line.rstrip()} # \n" if i % 2 else f"y{i} = {i}\n" for i, line in enumerate(lines)),
    }


def milliseconds(work: Callable[[], object], times: int = 200) -> float:
    taken = []
    for _ in range(times):
        at = time.perf_counter()
        work()
        taken.append(1e3 * (time.perf_counter() - at))
    return round(statistics.median(taken), 3)


def data() -> list[tuple[str, bytes]]:
    """20 MB of a table of numbers: the most tokens that so many bytes can have."""
    source = random.Random(1)
    rows = "".join(f"{source.random():.8f},{source.random():.8f}\n" for _ in range(BYTES // 22 + 1))
    return [("rows.csv", rows.encode())]


def main() -> None:
    before = {"train.py": TRAIN.encode()}
    found = {}
    for name, text in diffs().items():
        after = {"train.py": text.encode()}
        found[name] = milliseconds(lambda after=after: scan(before, after))  # type: ignore[misc]
    table = data()
    found["first_look_at_data"] = milliseconds(lambda: Benchmark(lambda: table).holds("#0.5"), times=1)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
