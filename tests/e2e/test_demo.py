"""`demo --kill` and `demo --cheat`, as a user types them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import git

from autoresearch.cli.demo import lay_out
from autoresearch.cli.killing import comparison

COMMAND = [sys.executable, "-m", "autoresearch", "demo"]


def demo(folder: Path, *args: str, code: int = 0) -> str:
    done = subprocess.run(
        [*COMMAND, *args], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_killed_run_has_the_ledger_of_the_one_left_alone(tmp_path: Path) -> None:
    out = demo(tmp_path, "--kill", "--n", "4")
    kills = re.findall(r"^killed (?:while|after) .* · (\d+) measurements in the ledger · its \d+ processes are gone", out, re.M)
    assert len(kills) == 3
    assert sorted(kills, key=int) == kills
    assert re.search(r"^the ledgers are the same: 4 experiments, \d+ measurements, 1 branch of \d+ commits?$", out, re.M)
    found = [
        (tmp_path / "autoresearch-demo-kill" / name / ".autoresearch" / "ledger.db").is_file() for name in ("killed", "whole")
    ]
    assert found == [True, True]


def test_ledgers_that_differ_are_called_so() -> None:
    one = {"experiments": [{"n": 0, "measurements": []}, {"n": 1, "tree": "a", "measurements": []}], "branch": []}
    other = {"experiments": [{"n": 0, "measurements": []}, {"n": 1, "tree": "b", "measurements": []}], "branch": []}
    assert "the same" in comparison([], one, one)[-1]
    assert comparison([], one, other)[-1].startswith("THE LEDGERS DIFFER in experiments [1]")


def test_no_cheat_is_kept_and_the_honest_change_is(tmp_path: Path) -> None:
    *_, last = demo(tmp_path, "--cheat", "--json").splitlines()
    found = json.loads(last)
    verdicts = [(e["verdict"], e["reason"]) for e in found["experiments"]]
    assert verdicts[0] == ("invalid", "scope")
    assert found["experiments"][0]["description"].startswith("edits the ruler")
    assert "score.py is frozen" in found["experiments"][0]["words"]
    assert verdicts[1][0] == "crash"
    assert "no valid record" in found["experiments"][1]["words"]
    assert verdicts[2] == ("discard", "gate")
    assert verdicts[3] == ("discard", "tie")
    assert "pairs: no clear gain" in found["experiments"][3]["words"]
    assert verdicts[4] == ("keep", "better")
    assert found["right"] is True


def test_without_a_gate_the_overfit_is_kept_and_the_demo_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "ungated"
    lay_out(folder, "deliveries")
    task = folder / "autoresearch.toml"
    text, count = re.subn(r"\[gate\][^\[]*\[.*\]\n", "", task.read_text())
    assert count == 1
    task.write_text(text)
    git(folder, "commit", "-qam", "no gate")
    *_, last = demo(tmp_path, "--cheat", "--folder", str(folder), code=1).splitlines()
    assert last.startswith("kept: [3], expected [5]")


def test_demos_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    assert demo(tmp_path, "--kill", "--cheat", code=2) == ""
    assert demo(tmp_path, "--cheat", "--n", "3", code=2) == ""
    assert list(tmp_path.iterdir()) == []
