"""Time a test suite in fresh processes. Prints `suite_s: <number>` and `tests_passed: <number>`."""

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPEATS = 5
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
UNITTEST = [sys.executable, "-m", "unittest", "discover", "-s", "tests"]
FOR_PYTEST = re.compile(r"^(?:async )?def test_|^import pytest|^from pytest", re.MULTILINE)
TEXTS = [path.read_text(encoding="utf-8", errors="replace") for path in Path("tests").rglob("*.py")]
COMMAND = PYTEST if any(map(FOR_PYTEST.search, TEXTS)) else UNITTEST  # or your own


def run_suite() -> tuple[float, int]:
    """Seconds and passed tests of one run; a suite that fails is no measurement."""
    began = time.perf_counter()
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"the suite failed with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
    return seconds, passed(done.stdout + done.stderr)


def passed(text: str) -> int:
    """How many tests passed, as pytest or unittest says it; a skipped test has not passed."""
    if found := re.search(r"(\d+) passed", text):
        return int(found[1])
    found = re.search(r"^Ran (\d+) test", text, re.MULTILINE)
    if not found:
        raise SystemExit(f"cannot find how many tests passed in:\n{text[-2000:]}")
    skipped = re.search(r"skipped=(\d+)", text)
    return int(found[1]) - (int(skipped[1]) if skipped else 0)


def main() -> None:
    run_suite()  # warm-up: bytecode and file caches
    runs = [run_suite() for _ in range(REPEATS)]
    counts = {count for _, count in runs}
    if len(counts) != 1:
        raise SystemExit(f"the number of passed tests changes from run to run: {sorted(counts)}")
    print(f"suite_s: {statistics.median(seconds for seconds, _ in runs):.4f}")
    print(f"tests_passed: {counts.pop()}")


if __name__ == "__main__":
    main()
