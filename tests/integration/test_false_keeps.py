"""`benchmarks/false_keeps.py` works: a few nights of it, one through real git and processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "false_keeps.py"


def run(*args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(SCRIPT), "--jobs", "1", *args]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_nights_are_added_to_the_file_and_not_played_again(tmp_path: Path) -> None:
    file, page = tmp_path / "nights.json", tmp_path / "table.md"
    settings = ("--json", str(file), "--merge", "--markdown", str(page), "--settings", "night-60,charge-0.5", "--rules")
    first = run(*settings, "single", "--nights", "2")
    assert first.returncode in (0, 1), first.stderr
    before = json.loads(file.read_text())
    assert {cell: len(nights) for cell, nights in before.items()} == {"night-60/single": 2, "charge-0.5/single": 2}
    assert all(night["evaluations"] <= 60 for night in before["night-60/single"].values())
    assert all(night["experiments"] + night["evaluations"] <= 700 for night in before["charge-0.5/single"].values())
    second = run(*settings, "single,margin", "--nights", "2")
    assert "night-60 single: 0 nights" in second.stderr
    assert "night-60 margin: 2 nights" in second.stderr
    after = json.loads(file.read_text())
    assert {cell: after[cell] for cell in before} == before
    assert page.read_text().count("| single |") == page.read_text().count("| margin |") == 2


def test_night_through_git_and_processes_knows_its_truth(tmp_path: Path) -> None:
    file = tmp_path / "nights.json"
    done = run("--real", "1", "--rules", "auto", "--json", str(file))
    assert done.returncode == 0, done.stderr
    night = json.loads(file.read_text())["real/auto"]["0"]
    assert 70 <= night["evaluations"] <= 80
    assert night["keeps"] > 0
    assert night["low"] < night["true"] + 5
    assert night["true"] > 0


def test_unknown_setting_is_named() -> None:
    done = run("--settings", "gauss-0.3,gaus")
    assert done.returncode == 2
    assert "unknown settings gaus: expected some of gauss-0, " in done.stderr
