"""The ruler of deliveries: runs model.py as a process of its own on rows drawn from a set, and compares what it says.

    python score.py visible.csv

The number goes through `autoresearch.sealed`, which the model's process cannot reach; nothing that anybody prints counts. The
model is given no minutes, and the rows are drawn anew for each evaluation, by the seed that the harness chose.
"""

import random
import statistics
import sys
from pathlib import Path

from autoresearch import sealed

ROWS = 80  # a draw: so few that the number is noisy, as numbers are
LIMIT_S = 10.0


def draw(path: str, chance: random.Random) -> tuple[list[str], list[float]]:
    """Rows of a set: what is asked, and apart from it the minutes that it took."""
    lines = Path(path).read_text().splitlines()[1:]
    rows = [line.rpartition(",") for line in chance.sample(lines, ROWS)]
    return [asked for asked, _, _ in rows], [float(minutes) for _, _, minutes in rows]


def numbers(printed: bytes) -> list[float]:
    """What the model printed, as numbers of minutes."""
    lines = printed.decode("ascii", "replace").split("\n")[:-1]
    if len(lines) != ROWS:
        sys.exit(f"no valid record: model.py printed {len(lines)} lines for {ROWS} rows")
    try:
        return [float(line) for line in lines]
    except ValueError as error:
        sys.exit(f"no valid record: model.py printed what is no number of minutes: {error}")


def main() -> None:
    with sealed.Evaluator() as evaluator:
        asked, minutes = draw(sys.argv[1], evaluator.random)
        rows = "".join(f"{row}\n" for row in asked).encode()
        run = evaluator.run([sys.executable, "-I", "model.py"], stdin=rows, timeout_s=LIMIT_S, hidden=[sys.argv[1]])
        if run.failed:
            sys.exit(f"no valid record: model.py {run.failed}")
        said = numbers(run.stdout)
        evaluator.report(error=statistics.fmean(abs(a - b) for a, b in zip(said, minutes, strict=True)))


if __name__ == "__main__":
    main()
