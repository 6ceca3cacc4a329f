"""Start `solution.py` on fresh packing problems, check what it prints, and report `waste_pct: <number>`.

What the solution writes is read as bytes here and never imported, loaded or unpickled: it cannot reach this process.
"""

import json
import sys

from autoresearch import sealed

PROBLEMS, ITEMS, CAPACITY, TIMEOUT_S = 30, 120, 100, 20


def draw(random) -> list[list[int]]:
    return [[random.randint(10, 60) for _ in range(ITEMS)] for _ in range(PROBLEMS)]


def check(sizes: list[int], line: bytes) -> int:
    """The number of bins of one answer; a wrong one is an error."""
    bins = json.loads(line)
    if sorted(item for bin_ in bins for item in bin_) != list(range(len(sizes))):
        raise ValueError("an item is missing, or packed twice")
    if any(sum(sizes[item] for item in bin_) > CAPACITY for bin_ in bins):
        raise ValueError("a bin is over-full")
    return len(bins)


def main() -> None:
    with sealed.Evaluator() as evaluator:
        problems = draw(evaluator.random)
        asked = "".join(json.dumps({"capacity": CAPACITY, "sizes": sizes}) + "\n" for sizes in problems)
        run = evaluator.run([sys.executable, "-I", "solution.py"], stdin=asked.encode(), timeout_s=TIMEOUT_S, memory_mb=1024)
        if run.failed:
            raise SystemExit(f"the solution {run.failed}: {run.stderr.decode(errors='replace')[-300:]}")
        try:
            bins = sum(check(sizes, line) for sizes, line in zip(problems, run.stdout.splitlines(), strict=True))
        except (ValueError, TypeError, IndexError, RecursionError) as error:
            raise SystemExit(f"a wrong answer: {error}") from error
        needed = sum(map(sum, problems)) / CAPACITY
        evaluator.report(waste_pct=100 * (bins / needed - 1))


if __name__ == "__main__":
    main()
