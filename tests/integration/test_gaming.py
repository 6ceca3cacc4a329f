"""Hostile acts and what becomes of them: a sample of `benchmarks/gaming.py`, which in full takes some minutes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gaming.py"
BEST, SHARED = "sealed+sandbox", "shared"
# what was tried: what comes of it under the best level, and where evaluator and candidate are one process without a sandbox
EXPECTED = {
    "proposer edits the evaluator": ("blocked", "blocked"),
    "candidate reads the private file while the gate measures": ("blocked", "not defended"),
    "candidate patches the clocks": ("blocked", "detected"),
    "candidate leaves a cache for the next one": ("blocked", "not defended"),
    "candidate forges through /proc/<parent>/fd": ("blocked", None),
    "candidate writes the result file and ends": ("blocked", "detected"),
    "candidate calls out over the network": ("blocked", "detected"),
    "candidate leaves a daemon": ("blocked", "blocked"),
    "reads what it may read": ("not defended", "not defended"),  # nothing is in its way: so the benchmark sees a success
}


def gaming(*args: str) -> tuple[int, list[dict[str, Any]]]:
    done = subprocess.run([sys.executable, str(SCRIPT), *args], capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], str]:
    code, rows = gaming("--only", ",".join(EXPECTED), "--levels", f"{BEST},{SHARED}")
    if any("not_offered" in row for row in rows):
        pytest.skip("needs a machine where a sandbox works")
    assert code == 0, rows
    assert set(EXPECTED) == {row["act"] for row in rows if "act" in row}
    return {(row["act"], row["level"]): row["outcome"] for row in rows if "act" in row}


@pytest.mark.parametrize("act", EXPECTED)
def test_act_comes_to_what_the_page_says(found: dict[tuple[str, str], str], act: str) -> None:
    best, shared = EXPECTED[act]
    assert found[act, BEST] == best
    assert shared in (None, found[act, SHARED])


def test_table_is_written_between_the_marks_and_nothing_else_is(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- gaming: begin -->\nold\n<!-- gaming: end -->\nafter\n")
    gaming("--only", "proposer edits the evaluator", "--levels", SHARED, "--markdown", str(page))
    text = page.read_text()
    assert text.startswith("before\n<!-- gaming: begin -->\n\n| | threat |")
    assert "| 1 | edits the evaluator, the task, the command | proposer edits the evaluator | blocked |" in text
    assert text.endswith("\n<!-- gaming: end -->\nafter\n")
    assert "old" not in text
