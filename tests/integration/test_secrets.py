"""No log, prompt, diff, report or file of the ledger shows the value of a variable that is passed through."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Toy
from typer.testing import CliRunner

from autoresearch.cli.app import app
from autoresearch.testing import Patch

SECRET = "s3cr3t-of-the-owner"
TASK = """\
[task]
name = "toy"
editable = ["knob.txt"]

[evaluate]
command = "python evaluate.py"
env = ["SERVICE_KEY"]

[metric]
name = "score"

[proposer]
kind = "command"
command = "./propose.sh"
"""
EVALUATE = """\
import os, sys, pathlib
key = os.environ["SERVICE_KEY"]
sys.stdout.write(key[:7]); sys.stdout.flush(); sys.stdout.write(key[7:] + "\\n")
print("as bytes:", key, file=sys.stderr)
value = float(pathlib.Path("knob.txt").read_text())
if value == 9:
    sys.exit(f"cannot log in with {key}")
print(f"score: {value}")
"""
PROPOSE = """\
#!/bin/sh
n=$(grep -o 'Experiment [0-9]*' | head -1 | cut -d' ' -f2)
echo "I saw $SERVICE_KEY"
case $n in 1) echo 9 > knob.txt ;; 2) echo 8 > knob.txt ;; *) echo "7 $SERVICE_KEY" > knob.txt ;; esac
echo "with $SERVICE_KEY it is better"
"""


@pytest.fixture
def ran(make_toy: Callable[..., Toy], monkeypatch: pytest.MonkeyPatch) -> Toy:
    monkeypatch.setenv("SERVICE_KEY", SECRET)
    toy = make_toy({"evaluate.py": EVALUATE, "propose.sh": PROPOSE}, task=TASK)
    (toy.folder / "propose.sh").chmod(0o755)
    toy.commit()
    from autoresearch.choice import Wish

    toy.run(wish=Wish(name="one", experiments=3))
    return toy


def test_candidate_that_contains_the_value_is_invalid_and_nowhere_stored(ran: Toy) -> None:
    verdicts = [(e.verdict.kind.value, e.verdict.reason) for e in ran.history().experiments[1:] if e.verdict]
    assert verdicts == [("crash", "exit"), ("keep", "better"), ("invalid", "secret")]
    assert "refs/autoresearch/one/3" not in ran.git("for-each-ref")


def test_no_file_of_the_records_and_no_object_holds_the_value(ran: Toy, cache: Path) -> None:
    files = [p for p in (ran.folder / ".autoresearch").rglob("*") if p.is_file()]
    assert len(files) > 8
    assert [str(p) for p in files if SECRET.encode() in p.read_bytes()] == []
    objects = ran.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split()
    assert not any(SECRET in ran.git("cat-file", "-p", oid) for oid in objects)


def test_masked_log_says_which_variable_stood_there(ran: Toy) -> None:
    log = (ran.project.paths.run("one").experiment(2) / "eval-1.log").read_text()
    assert {"***SERVICE_KEY***", "as bytes: ***SERVICE_KEY***"} <= set(log.splitlines())


def test_no_command_shows_the_value(ran: Toy) -> None:
    for command in (["log"], ["show", "1"], ["show", "3"], ["diff", "2"], ["status", "--json"], ["export", "jsonl"]):
        shown = CliRunner().invoke(app, [*command, "--folder", str(ran.folder)])
        assert shown.exit_code == 0
        assert SECRET not in shown.output


def test_value_that_the_base_holds_already_is_covered_in_a_diff(
    make_toy: Callable[..., Toy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_KEY", SECRET)
    toy = make_toy({"knob.txt": f"10\n# {SECRET}\n", "evaluate.py": "print('score:', open('knob.txt').readline())"}, task=TASK)
    toy.run([Patch({"knob.txt": f"9\n# {SECRET}\n"})])
    shown = CliRunner().invoke(app, ["diff", "1", "--folder", str(toy.folder)])
    assert "***SERVICE_KEY***" in shown.output
    assert SECRET not in shown.output
