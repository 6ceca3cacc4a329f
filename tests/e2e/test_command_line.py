"""The installed command line, as a user types it."""

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
from tests.conftest import TASK, Toy

COMMAND = [sys.executable, "-m", "autoresearch"]
KNOBS = """\
RATE = 0.5  # knob: 0..1
WIDTH = 8  # knob: log 1..64
"""
EVALUATE = """\
import train
print(f"score: {(train.RATE - 0.25) ** 2 + (train.WIDTH - 12) ** 2 / 100:.9f}")
"""
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


def call(folder: Path, *args: str, code: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
    result = subprocess.run([*COMMAND, *args], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)
    assert result.returncode == code, f"exit {result.returncode}\n{result.stdout}\n{result.stderr}"
    assert "Traceback" not in result.stderr
    return result


@pytest.fixture
def knobbed(make_toy: Callable[..., Toy]) -> Toy:
    return make_toy({"train.py": KNOBS, "evaluate.py": EVALUATE}, task=KNOB_TASK)


@pytest.fixture
def slow(make_toy: Callable[..., Toy]) -> Toy:
    """Each evaluation takes half a second, and the budget never ends it."""
    text = EVALUATE + "import time\ntime.sleep(0.5)\n"
    return make_toy({"train.py": KNOBS, "evaluate.py": text}, task=KNOB_TASK.replace("= 6", "= 10000"))


def start(toy: Toy, *args: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*COMMAND, "run", *args],
        cwd=toy.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        done = subprocess.run([*COMMAND, "status", "--json"], cwd=toy.folder, capture_output=True, text=True, check=False)
        if done.returncode == 0 and json.loads(done.stdout)["baseline"] is not None:
            return process
        time.sleep(0.1)
    raise AssertionError("the run did not measure its baseline within 30 s")


# -- a whole run -------------------------------------------------------------------------------------------------------


def test_run_says_what_it_does_keeps_what_is_better_and_says_how_it_ended(knobbed: Toy) -> None:
    out = call(knobbed.folder, "run", "one", "--seed", "1").stdout.splitlines()
    assert out[0] == "run one (new) of knobbed · edits train.py · score, lower is better"
    assert any(line.startswith("baseline 0.2225 (2 evaluations of") and "per cent below are against it" in line for line in out)
    assert sum(bool(re.match(r" +\d+ (keep|discard|invalid)", line)) for line in out) == 6
    assert re.match(r"final: experiment [1-6] 0\.\d+ · ", out[-4])
    assert out[-3].startswith("ended: 6 experiments made · 6 experiments: ")
    assert re.fullmatch(r"validated: score −\d[\d.]* % against the baseline, measured again: the same bits", out[-2])
    assert "git merge autoresearch/one" in out[-1]
    assert "knob" in knobbed.git("show", "autoresearch/one:train.py")


def test_results_table_has_karpathys_columns_and_a_row_for_each_experiment(knobbed: Toy) -> None:
    call(knobbed.folder, "run", "one")
    rows = (knobbed.folder / ".autoresearch/one/results.tsv").read_text().splitlines()
    assert rows[0] == "commit\tscore\tmemory_gb\tstatus\tdescription"
    assert len(rows) == 8
    assert all(re.fullmatch(r"([0-9a-f]{7}|-)\t[\d.e-]+\t\d+\.\d\t(keep|discard|crash)\t.*", row) for row in rows[1:])
    assert call(knobbed.folder, "export", "tsv").stdout.splitlines() == rows
    assert (knobbed.folder / ".autoresearch/one/progress.png").read_bytes().startswith(b"\x89PNG")


def test_json_lines_are_one_object_a_line(knobbed: Toy) -> None:
    rows = [json.loads(line) for line in call(knobbed.folder, "run", "one", "--json").stdout.splitlines()]
    assert [r["type"] for r in rows] == ["run", "trust", *["experiment"] * 7, "end"]
    assert rows[-1]["exit_code"] == 0
    assert rows[-1]["counts"]["open"] == 0


def test_session_limit_and_going_on_and_a_run_of_the_day(knobbed: Toy) -> None:
    assert "(new)" in call(knobbed.folder, "run", "-n", "2").stdout
    assert "(goes on)" in call(knobbed.folder, "run").stdout
    status = json.loads(call(knobbed.folder, "status", "--json").stdout)
    assert re.fullmatch(r"[a-z]{3}\d{1,2}", status["run"])
    assert status["status"] == "finished"
    second = call(knobbed.folder, "run", "-n", "1").stdout
    assert f"run {status['run']}-2 (new)" in second


def test_raised_budget_goes_on_with_the_finished_run(knobbed: Toy) -> None:
    call(knobbed.folder, "run", "one")
    (knobbed.folder / "autoresearch.toml").write_text(KNOB_TASK.replace("= 6", "= 8"))
    knobbed.moved()
    assert "run one (goes on)" in call(knobbed.folder, "run").stdout


def test_looking_commands_work_from_a_subfolder_and_change_nothing(knobbed: Toy) -> None:
    call(knobbed.folder, "run", "one", "--seed", "1")
    below = knobbed.folder / "below"
    below.mkdir()
    kept = json.loads(call(below, "status", "--json").stdout)["incumbent_experiment"]
    assert kept
    assert call(below, "log").stdout.count("\n") == 7
    assert f"experiment {kept} of run one: keep (better)" in call(below, "show", str(kept)).stdout
    forth, back = call(below, "diff", "0", str(kept)).stdout, call(below, "diff", str(kept), "0").stdout
    assert set(re.findall(r"^[+](?![+]).*", forth, re.MULTILINE)) == {
        "+" + line[1:] for line in re.findall(r"^-(?!-).*", back, re.MULTILINE)
    }
    assert forth == call(below, "diff", str(kept)).stdout or kept != 1
    assert json.loads(call(below, "show", str(kept), "--json").stdout)["verdict"] == "keep"
    assert "the chain holds" in call(below, "log", "--verify").stdout
    assert len(call(below, "export", "jsonl").stdout.splitlines()) == 7
    assert call(below, "plot", "-o", "p.svg").stdout.strip() == "p.svg"
    assert "rebuilt from" in call(below, "log", "--rebuild").stdout
    (below / "p.svg").unlink()
    below.rmdir()


def test_status_and_overview_say_the_next_command(toy: Toy, tmp_path: Path) -> None:
    assert "next: autoresearch init" in call(tmp_path).stdout
    assert "next: autoresearch check" in call(toy.folder).stdout
    toy.run([], run="one")
    assert "run one of toy" in call(toy.folder).stdout
    assert "next: autoresearch run" in call(toy.folder, "status").stdout


def test_target_ends_the_run(make_toy: Callable[..., Toy]) -> None:
    task = KNOB_TASK.replace('name = "score"', 'name = "score"\ntarget = 0.5')
    toy = make_toy({"train.py": KNOBS, "evaluate.py": EVALUATE}, task=task)
    assert "ended: target 0.5 reached with 0.2225" in call(toy.folder, "run").stdout


def test_time_is_a_wall(slow: Toy) -> None:
    began = time.monotonic()
    assert "ended: the time is used up" in call(slow.folder, "run", "--time", "4s").stdout
    assert time.monotonic() - began < 20


# -- stopping ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_cleanly_within_seconds_and_the_run_goes_on(slow: Toy, signum: int, code: int) -> None:
    process = start(slow)
    process.send_signal(signum)
    out, _ = process.communicate(timeout=15)
    assert process.returncode == code
    assert "ended: stopped by" in out
    assert "(goes on)" in call(slow.folder, "run", "-n", "1").stdout


def test_second_signal_ends_at_once(make_toy: Callable[..., Toy]) -> None:
    stubborn = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nimport train\nprint('score: 1')\n"
    toy = make_toy({"train.py": KNOBS, "evaluate.py": stubborn + "time.sleep(0.6)\n"}, task=KNOB_TASK)
    process = start(toy)
    process.send_signal(signal.SIGINT)
    time.sleep(0.15)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130


def test_stop_ends_a_run_of_another_process(slow: Toy) -> None:
    process = start(slow)
    assert "has stopped" in call(slow.folder, "stop").stdout
    out, _ = process.communicate(timeout=15)
    assert (process.returncode, "ended: stopped on request" in out) == (0, True)
    assert "no run is working here" in call(slow.folder, "stop").stdout


def test_stop_finish_lets_the_experiment_under_way_come_to_its_verdict(slow: Toy) -> None:
    process = start(slow)
    call(slow.folder, "stop", "--finish")
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "stopped after the experiments under way" in out
    assert slow.history().decided == len(slow.history().experiments) - 1


def test_second_owner_is_refused_with_exit_4(slow: Toy) -> None:
    process = start(slow, "one")
    refused = call(slow.folder, "run", "one", code=4)
    assert "is owned by process" in refused.stderr
    process.terminate()
    process.communicate(timeout=15)


def test_detached_run_goes_on_without_us(slow: Toy) -> None:
    out = call(slow.folder, "run", "one", "--detach", "-n", "2").stdout
    assert "in the background as process" in out
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        status = json.loads(call(slow.folder, "status", "--json").stdout)
        if status["stop_reason"] == "session" and not status["owner"]:
            break
        time.sleep(0.2)
    assert sum(status["counts"].values()) == 2
    assert "ended: 2 experiments of this session made" in (slow.folder / ".autoresearch/one/run.log").read_text()


def test_live_view_in_a_terminal_ends_with_the_last_lines(knobbed: Toy) -> None:
    primary, secondary = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        [*COMMAND, "run"], cwd=knobbed.folder, stdin=secondary, stdout=secondary, stderr=secondary, env=env
    )
    os.close(secondary)
    screen = b""
    try:
        while chunk := os.read(primary, 65536):
            screen += chunk
    except OSError:
        pass
    os.close(primary)
    assert process.wait(30) == 0
    text = screen.decode("utf-8", "replace")
    assert "experiments" in text
    assert "keep rate" in text
    assert "ended: 6 experiments made" in text


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["run", "Bad Name"], "expected small letters"),
        (["run", "--time", "soon"], "--time 'soon': expected a duration"),
        (["run", "--until", "7pm"], "--until '7pm': expected a clock time"),
        (["run", "--from", "nowhere"], "neither a run (none yet) nor a git revision"),
        (["status", "none"], "no run in"),
        (["brief"], "yet: `autoresearch run --dry-run` prints what the first experiment would be told"),
        (["run", "-n", "0"], "greater than or equal to 1"),
        (["rnu"], "No such command"),
    ],
)
def test_bad_input_is_one_clear_message_and_exit_2(toy: Toy, args: list[str], words: str) -> None:
    refused = call(toy.folder, *args, code=2)
    assert words in refused.stderr
    assert refused.stdout == ""
    assert toy.git("for-each-ref", "refs/autoresearch", "refs/heads/autoresearch") == ""


def test_unknown_run_names_the_nearest(toy: Toy) -> None:
    toy.run([], run="one")
    assert "unknown run 'onne': expected one of one. Did you mean 'one'?" in call(toy.folder, "status", "onne", code=2).stderr
    assert "has experiments 0 to" in call(toy.folder, "show", "99", code=2).stderr


def test_changed_ruler_is_refused_by_name(toy: Toy) -> None:
    toy.run([], run="one", wish=None)
    (toy.folder / "autoresearch.toml").write_text(TASK.replace('"minimize"', '"maximize"'))
    toy.moved()
    refused = call(toy.folder, "run", "one", code=2)
    assert 'metric.direction: "minimize" → "maximize"' in refused.stderr
    assert "autoresearch run --from one" in refused.stderr


def test_baseline_that_fails_ends_with_exit_1(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy({"evaluate.py": "raise SystemExit('no data')\n"})
    out = call(toy.folder, "run", code=1).stdout
    assert "the baseline failed: exited with 1" in out
    assert "no data" in out
    assert out.endswith("next: autoresearch check --fix, which finds out what is missing\n")
    assert "next: autoresearch check --fix" in call(toy.folder).stdout


def test_baseline_that_breaks_its_guard_is_a_wrong_set_up(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy({"evaluate.py": "print('score: 1')\nprint('mb: 9')\n"}, task=TASK + '[[guard]]\nname = "mb"\nmax = 5\n')
    assert "the baseline itself breaks a guard: mb is 9, above 5" in call(toy.folder, "run", code=2).stderr


# -- init, check, doctor, rm, clean ------------------------------------------------------------------------------------


def test_init_recognises_karpathys_layout(tmp_path: Path) -> None:
    for name in ("prepare.py", "train.py", "program.md"):
        (tmp_path / name).write_text("# mine\n")
    call(tmp_path, "init", "--yes")
    text = (tmp_path / "autoresearch.toml").read_text()
    assert 'editable = ["train.py"]' in text
    assert 'name = "val_bpb"' in text
    assert (tmp_path / "program.md").read_text() == "# mine\n"


def test_init_by_flags_writes_a_task_that_checks_and_runs(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(KNOBS)
    (tmp_path / "evaluate.py").write_text(EVALUATE)
    call(tmp_path, "init", "--edit", "train.py", "--eval", "python evaluate.py", "--metric", "score", "--minimize")
    assert "is no git repository" in call(tmp_path, "check", code=2).stderr
    assert "ready" in call(tmp_path, "check", "--yes").stdout
    assert "ended: 2 experiments" in call(tmp_path, "run", "-n", "2").stdout


def test_init_refuses_what_it_cannot_do_and_leaves_no_file(tmp_path: Path) -> None:
    assert "does not exist" in call(tmp_path, "init", "--edit", "nope.py", "--eval", "x", "--metric", "m", code=2).stderr
    assert "nobody can be asked here" in call(tmp_path, "init", code=2).stderr
    assert list(tmp_path.iterdir()) == []


def test_interrupt_in_a_question_leaves_no_file(tmp_path: Path) -> None:
    primary, secondary = pty.openpty()
    process = subprocess.Popen([*COMMAND, "init"], cwd=tmp_path, stdin=secondary, stdout=secondary, stderr=secondary)
    os.close(secondary)
    screen = b""
    while b"?" not in screen:
        screen += os.read(primary, 1000)
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:  # one that comes just before the answer is read is not seen
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    assert process.wait(1) != 0
    os.close(primary)
    assert list(tmp_path.iterdir()) == []


def test_check_says_what_it_read_and_what_is_wrong(make_toy: Callable[..., Toy]) -> None:
    good = make_toy()
    assert "read score: 10 and 10" in call(good.folder, "check").stdout
    assert json.loads(call(good.folder, "check", "--json").stdout)["exact"] is True
    bad = make_toy({"evaluate.py": "print('other: 1')\nprint('done')\n"})
    out = call(bad.folder, "check", code=1).stdout
    assert "no number named score on standard output" in out
    assert "not ready" in out


def test_task_file_mistake_names_line_and_nearest_key(toy: Toy) -> None:
    (toy.folder / "autoresearch.toml").write_text(TASK.replace("command", "comand"))
    toy.moved()
    assert (
        "autoresearch.toml:6: unknown key 'comand' in [evaluate]. Did you mean 'command'?"
        in call(toy.folder, "run", code=2).stderr
    )


def test_doctor_says_what_this_machine_offers(tmp_path: Path) -> None:
    found = json.loads(call(tmp_path, "doctor", "--json").stdout)
    assert {"git", "containment", "peak memory", "sqlite", "cache"} <= found.keys()


def test_removed_run_leaves_its_branch_and_nothing_else(toy: Toy, cache: Path) -> None:
    toy.run([], run="one")
    call(toy.folder, "rm", "one", "--yes")
    assert toy.git("for-each-ref", "--format=%(refname)", "refs/autoresearch", "refs/heads/autoresearch").split() == [
        "refs/heads/autoresearch/one"
    ]
    assert not (toy.folder / ".autoresearch/one").exists()
    assert not [p for p in cache.rglob("one") if p.is_dir()]


def test_clean_frees_the_trees_and_the_run_goes_on(toy: Toy, cache: Path) -> None:
    toy.run([], run="one")
    assert "MB freed" in call(toy.folder, "clean").stdout
    assert not list(cache.rglob("tree"))
    assert toy.run([], run="one").reason == "exhausted"
