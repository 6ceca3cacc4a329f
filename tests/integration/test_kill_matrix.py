"""Killed anywhere, nothing lost: a sample of `benchmarks/kill_matrix.py`, which in full takes half an hour."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kill_matrix.py"


@pytest.mark.parametrize(("slots", "every", "moments"), [(1, 3, 15), (4, 7, 15)])
def test_killed_runs_go_on_to_the_ledger_of_the_run_nobody_killed(slots: int, every: int, moments: int) -> None:
    argv = [sys.executable, str(SCRIPT), "--slots", str(slots), "--every", str(every), "--random", str(moments)]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert result.returncode in (0, 1), result.stderr
    found = json.loads(result.stdout)
    assert found["boundaries"] > 80
    assert found["kills"] >= found["boundaries"] // every + moments
    assert found["differing"] == {}
