"""Coming back to a run, as its owner types it: validate, revive, reject, idea, brief, export and import; hang-ups and sleep."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TASK, Toy, git

COMMAND = [sys.executable, "-m", "autoresearch"]
KNOBS = "RATE = 0.5  # knob: 0..1\nWIDTH = 8  # knob: log 1..64\n"
EVALUATE = "import train\nprint(f'score: {(train.RATE - 0.25) ** 2 + (train.WIDTH - 12) ** 2 / 100:.9f}')\n"
KNOB_TASK = """\
[task]
name = "knobbed"
editable = ["train.py"]
[evaluate]
command = "python evaluate.py"
[metric]
name = "score"
[budget]
experiments = 6
"""
PROPOSE = "read -r n < knob.txt; echo $((n - 1)) > knob.txt; echo one less\n"
PROPOSED = TASK + '[proposer]\nkind = "command"\ncommand = "sh propose.sh"\n[budget]\nexperiments = 3\n'


def call(folder: Path, *args: str, code: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
    result = subprocess.run([*COMMAND, *args], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)
    assert result.returncode == code, f"exit {result.returncode}\n{result.stdout}\n{result.stderr}"
    assert "Traceback" not in result.stderr
    return result


def status(folder: Path) -> dict[str, Any]:
    done = subprocess.run([*COMMAND, "status", "--json"], cwd=folder, capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else {}


def wait(until: Callable[[], Any], limit_s: float = 40) -> None:
    deadline = time.monotonic() + limit_s
    while not until():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@pytest.fixture
def knobbed(make_toy: Callable[..., Toy]) -> Toy:
    return make_toy({"train.py": KNOBS, "evaluate.py": EVALUATE}, task=KNOB_TASK)


@pytest.fixture
def slow(make_toy: Callable[..., Toy]) -> Toy:
    """Each evaluation takes half a second, and the budget never ends it."""
    text = EVALUATE + "import time\ntime.sleep(0.5)\n"
    return make_toy({"train.py": KNOBS, "evaluate.py": text}, task=KNOB_TASK.replace("= 6", "= 10000"))


@pytest.fixture
def stairs(make_toy: Callable[..., Toy]) -> Toy:
    """A finished run of three keeps, each one less than the one before."""
    toy = make_toy({"propose.sh": PROPOSE}, task=PROPOSED)
    call(toy.folder, "run", "one")
    return toy


# -- the one next command ----------------------------------------------------------------------------------------------


def test_overview_names_the_next_command_in_every_state(knobbed: Toy, slow: Toy, stairs: Toy, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    assert "next: autoresearch init" in call(bare).stdout
    (bare / "autoresearch.toml").write_text(KNOB_TASK)
    assert "next: git init && git add -A && git commit -m start" in call(bare).stdout
    assert "next: autoresearch check" in call(knobbed.folder).stdout
    call(knobbed.folder, "run", "one", "--seed", "1", "-n", "1")
    assert call(knobbed.folder).stdout.splitlines()[-1] == "next: autoresearch run"
    call(knobbed.folder, "run")
    assert "next: git merge autoresearch/one" in call(knobbed.folder).stdout
    call(stairs.folder, "reject", "3")  # what is left was not compared with the baseline
    assert call(stairs.folder).stdout.splitlines()[-1].startswith("next: autoresearch validate (2 evaluations, ")
    call(stairs.folder, "validate")
    assert "next: git merge autoresearch/one" in call(stairs.folder).stdout
    call(slow.folder, "run", "two", "--detach")
    wait(lambda: status(slow.folder).get("owner"))
    out = call(slow.folder).stdout
    assert "running in the background (output: " in out
    assert "next: autoresearch stop" in out
    call(slow.folder, "stop")


def test_help_lists_the_commands_in_groups(tmp_path: Path) -> None:
    out = call(tmp_path, "--help", env={**os.environ, "COLUMNS": "100"}).stdout
    groups = ["Options", "Start", "Look", "Steer", "Take home", "For agents", "Machine"]
    assert re.findall(r"^(\w[\w ]*):$", out, re.MULTILINE)[:7] == groups
    assert re.search(r"^Steer:\n(  .*\n)*  validate ", out, re.MULTILINE)


def test_finished_run_called_by_name_says_what_to_raise(knobbed: Toy) -> None:
    call(knobbed.folder, "run", "one")
    assert "raise [budget] experiments in autoresearch.toml" in call(knobbed.folder, "run", "one").stdout


def test_number_of_one_is_one(knobbed: Toy) -> None:
    (knobbed.folder / "autoresearch.toml").write_text(KNOB_TASK.replace("= 6", "= 1"))
    knobbed.moved()
    out = call(knobbed.folder, "run", "one").stdout
    assert "budget: 1 experiment ·" in out
    assert "ended: 1 experiment made · 1 experiment: " in out


# -- validate, revive, reject ------------------------------------------------------------------------------------------


def test_validate_shows_the_interval_and_status_has_it(knobbed: Toy) -> None:
    call(knobbed.folder, "run", "one", "--seed", "1")
    out = call(knobbed.folder, "validate", "--pairs", "3").stdout
    interval = r"−\d[\d.]* % \[90 %: −\d[\d.]*, −\d[\d.]*\] against the baseline, 3 pairs"
    claim = r"claimed on the way: −\d[\d.]* % \(optimistic\)"
    assert re.search(rf"^validated: score {interval} · {claim}$", out, re.MULTILINE)
    assert status(knobbed.folder)["validated"]["pairs"] == 3
    assert "not validated" not in call(knobbed.folder, "run", "one").stdout
    assert "--pairs 9: expected 3 to 8" in call(knobbed.folder, "validate", "--pairs", "9", code=2).stderr


def test_validate_with_another_owner_is_refused(slow: Toy) -> None:
    process = subprocess.Popen([*COMMAND, "run", "one"], cwd=slow.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait(lambda: status(slow.folder).get("baseline") is not None)
    assert "is owned by process" in call(slow.folder, "validate", code=4).stderr
    process.terminate()
    process.wait(15)


def test_reject_and_revive_where_nobody_works_on_the_run(stairs: Toy) -> None:
    out = call(stairs.folder, "reject", "2").stdout
    assert "rolled back to experiment 1: the owner rejected experiment 2" in out
    assert re.search(r"4 discard +- .*one less \(experiment 3 again\) \(stale\)", out)
    assert stairs.git("show", "autoresearch/one:knob.txt") == "9\n"
    out = call(stairs.folder, "revive", "2").stdout
    assert re.search(r"5 keep +8 .*one less \(experiment 2 again\) \(better\)", out)
    assert stairs.git("show", "autoresearch/one:knob.txt") == "8\n"
    assert "the candidate of experiment 2, tried again" in call(stairs.folder, "show", "5").stdout
    assert status(stairs.folder)["status"] == "finished"
    assert "was not kept" in call(stairs.folder, "reject", "4", code=2).stderr
    assert "the chain holds" in call(stairs.folder, "log", "--verify").stdout


def test_living_owner_hears_reject_revive_and_idea(slow: Toy) -> None:
    process = subprocess.Popen(
        [*COMMAND, "run", "one", "--seed", "1"], cwd=slow.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    wait(lambda: (status(slow.folder).get("counts") or {}).get("keep"))
    kept = status(slow.folder)["incumbent_experiment"]
    assert "stands in the next prompts" in call(slow.folder, "idea", "try a lower rate").stdout
    assert f"experiment {kept} is taken out" in call(slow.folder, "reject", str(kept)).stdout
    assert "expected 1 to" in call(slow.folder, "revive", "99", code=2).stderr
    wait(lambda: slow.history().experiments[kept].rolled_back)
    assert f"experiment {kept} is tried again" in call(slow.folder, "revive", str(kept)).stdout
    wait(lambda: any(e.origin == kept and e.decided for e in slow.history().experiments))
    process.terminate()
    out, _ = process.communicate(timeout=15)
    assert f"rolled back to experiment 0: the owner rejected experiment {kept}" in out
    assert "idea 1: try a lower rate" in call(slow.folder).stdout


def test_show_of_a_failed_proposal_names_its_log(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy({"propose.sh": "echo out of ideas; exit 3\n"}, task=PROPOSED)
    call(toy.folder, "run", "one", "-n", "1")
    out = call(toy.folder, "show", "1").stdout
    assert re.search(r"the end of .*experiments/000001/agent\.log:\n  out of ideas", out)


# -- ideas and the brief -----------------------------------------------------------------------------------------------


def test_idea_stands_in_the_prompt_until_it_is_done(make_toy: Callable[..., Toy]) -> None:
    propose = 'cp "$AUTORESEARCH_PROMPT" "$(dirname $0)/../prompt" 2>/dev/null; ' + PROPOSE
    toy = make_toy({"propose.sh": propose}, task=PROPOSED)
    call(toy.folder, "run", "one", "-n", "1")
    call(toy.folder, "idea", "look  at\nthe knob")
    assert call(toy.folder, "idea").stdout == "  1 open  look at the knob\n"
    brief = call(toy.folder, "brief").stdout
    assert brief.startswith("# Experiment 2 of toy\n")
    assert "## Ideas of the owner, to be tried first\n\n- look at the knob\n" in brief
    asked = json.loads(call(toy.folder, "brief", "--json").stdout)
    assert (asked["n"], asked["ideas"], asked["text"]) == (2, ["look at the knob"], brief)
    call(toy.folder, "run", "-n", "1")
    prompt = (toy.folder / ".autoresearch/one/experiments/000002/prompt.md").read_text()
    assert prompt == brief
    call(toy.folder, "idea", "--done", "1")
    assert json.loads(call(toy.folder, "idea", "--json").stdout) == [{"number": 1, "text": "look at the knob", "done": True}]
    assert "Ideas of the owner" not in call(toy.folder, "brief").stdout
    assert "idea 7: expected 1 to 1" in call(toy.folder, "idea", "--done", "7", code=2).stderr
    assert "the chain holds" in call(toy.folder, "log", "--verify").stdout


# -- take home ---------------------------------------------------------------------------------------------------------


def test_run_goes_to_a_colleague_in_one_file(stairs: Toy, tmp_path: Path) -> None:
    file = tmp_path / "one.tgz"
    assert "4 experiments" in call(stairs.folder, "export", "--bundle", str(file)).stdout
    git(tmp_path, "clone", "-q", "--branch", "main", str(stairs.folder), "clone")
    other = tmp_path / "clone"
    assert "the chain holds" in call(other, "import", str(file)).stdout
    assert call(other, "log").stdout == call(stairs.folder, "log").stdout
    assert call(other, "show", "2").stdout.replace(str(other), "") == call(stairs.folder, "show", "2").stdout.replace(
        str(stairs.folder), ""
    )
    assert "-10\n+7" in call(other, "diff", "0", "3").stdout
    assert "is here already" in call(other, "import", str(file)).stdout
    assert "rolled back to experiment 2" in call(other, "reject", "3").stdout
    assert "(experiment 3 again) (better)" in call(other, "revive", "3").stdout
    assert git(other, "status", "--porcelain") == ""
    file.write_bytes(file.read_bytes()[:100])
    git(tmp_path, "clone", "-q", "--branch", "main", str(stairs.folder), "third")
    assert "is damaged" in call(tmp_path / "third", "import", str(file), code=2).stderr
    assert not (tmp_path / "third" / ".autoresearch").exists()


def test_status_says_what_a_push_would_publish(stairs: Toy, tmp_path: Path) -> None:
    out = call(stairs.folder, "status", "--refs").stdout
    assert "git push --all would publish 1 branch of keeps: autoresearch/one" in out
    assert "git push --mirror would publish also 4 refs of candidates" in out
    found = json.loads(call(stairs.folder, "status", "--refs", "--json").stdout)
    for flag, names in (("--all", ["heads"]), ("--mirror", ["heads", "autoresearch"])):
        bare = tmp_path / f"bare{flag}"
        git(tmp_path, "init", "-q", "--bare", bare.name)
        git(stairs.folder, "push", "-q", flag, str(bare))
        pushed = git(bare, "for-each-ref", "--format=%(refname)").split()
        ours = [ref for ref in pushed if "autoresearch" in ref]
        said = [f"refs/heads/{b}" for b in found["branches"]] + (found["candidates"] if "autoresearch" in names else [])
        assert sorted(ours) == sorted(said)


# -- another day, other bits -------------------------------------------------------------------------------------------


def test_other_bits_end_with_exit_2_and_rebaseline_goes_on(make_toy: Callable[..., Toy], tmp_path: Path) -> None:
    factor = tmp_path / "factor"  # which the task names as an input: it stands for what a machine is
    factor.write_text("1")
    evaluate = f"print('score:', float(open('knob.txt').read()) * float(open({str(factor)!r}).read()))\n"
    task = PROPOSED.replace("[metric]", f"inputs = [{str(factor)!r}]\n[metric]")
    toy = make_toy({"propose.sh": PROPOSE, "evaluate.py": evaluate}, task=task)
    call(toy.folder, "run", "one", "-n", "1")
    factor.write_text("2")
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "nvidia-smi").write_text("#!/bin/sh\necho 'Tesla Q9, 999.1'\n")
    (fake / "nvidia-smi").chmod(0o755)
    env = {**os.environ, "PATH": f"{fake}:{os.environ['PATH']}"}
    refused = call(toy.folder, "run", code=2, env=env)
    assert "gpu: none → Tesla Q9" in refused.stdout
    assert "driver: none → 999.1" in refused.stdout
    assert "not the same bits" in refused.stderr
    assert "autoresearch run --rebaseline" in refused.stderr
    out = call(toy.folder, "run", "--rebaseline", env=env).stdout
    assert "to beat: experiment 1 with 18 (was 9)" in out
    assert "ended: 3 experiments made" in out
    assert "recorded 10, measured again later: 20" in call(toy.folder, "show", "0").stdout
    assert "to beat since it was measured again: 18" in call(toy.folder, "show", "1").stdout


# -- hang-ups and sleep ------------------------------------------------------------------------------------------------


def test_terminal_that_hangs_up_ends_the_session_cleanly_and_the_run_goes_on(slow: Toy) -> None:
    pid, primary = pty.fork()
    if pid == 0:
        os.chdir(slow.folder)
        os.execve(sys.executable, [*COMMAND, "run", "one"], {**os.environ, "TERM": "xterm"})
    wait(lambda: status(slow.folder).get("baseline") is not None)
    os.close(primary)  # the terminal is gone: SIGHUP
    _, code = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(code) == 129
    found = status(slow.folder)
    assert (found["stop_reason"], found["owner"]) == ("signal", "")
    assert "SIGHUP" in found["stop_words"]
    assert "ended: stopped by SIGHUP" in (slow.folder / ".autoresearch/one/run.log").read_text()
    assert "(goes on)" in call(slow.folder, "run", "-n", "1").stdout


def test_hang_up_without_a_terminal_is_ignored(slow: Toy) -> None:
    process = subprocess.Popen(
        [*COMMAND, "run", "one", "-n", "3"], cwd=slow.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    wait(lambda: status(slow.folder).get("baseline") is not None)
    process.send_signal(signal.SIGHUP)
    assert process.wait(30) == 0
    assert status(slow.folder)["stop_reason"] == "session"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_sleep_inhibitor_is_held_while_the_run_works_and_ends_with_it(slow: Toy, tmp_path: Path, signum: int) -> None:
    fake, held = tmp_path / "bin", tmp_path / "held"
    fake.mkdir()
    (fake / "systemd-inhibit").write_text(f'#!/bin/sh\nshift 4\necho $$ > "{held}"\n"$@"\nrm "{held}"\n')
    (fake / "systemd-inhibit").chmod(0o755)
    env = {**os.environ, "PATH": f"{fake}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        [*COMMAND, "run", "one"], cwd=slow.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=env
    )
    wait(lambda: status(slow.folder).get("baseline") is not None)
    assert held.exists()
    process.send_signal(signum)
    process.wait(15)
    wait(lambda: not held.exists())


def test_inhibitor_that_does_not_work_is_not_noticed(knobbed: Toy, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "systemd-inhibit").write_text("#!/bin/sh\necho no bus >&2\nexit 1\n")
    (tmp_path / "bin" / "systemd-inhibit").chmod(0o755)
    done = call(knobbed.folder, "run", env={**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"})
    assert done.stderr == ""
