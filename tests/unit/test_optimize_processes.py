"""`optimize(..., processes=True)`: real child processes that crash, hang, leave children behind, or cannot be started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from autoresearch import optimize
from autoresearch.errors import SetupError

FITNESS = """\
import ctypes, os, pathlib, subprocess, sys, time

def fitness(state):
    here = pathlib.Path(__file__).parent
    with open(here / "pids", "a") as file:
        print(os.getpid(), file=file)
    if state == 9:
        ctypes.string_at(0)
    if state == 8:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (here / "grandchild").write_text(str(child.pid))
        time.sleep(600)
    if state == 7:
        raise KeyError("no such thing")
    if state == 6:
        os._exit(3)
    if state == 5:
        return float("nan")
    if state == 4:
        raise KeyboardInterrupt
    return {"score": state, "size": 2}
"""

RUN = """\
import json, os
import autoresearch
from fit import fitness

def step(state, history):
    return 10 - len(history)

if __name__ == "__main__":
    options = {"experiments": 8, "timeout_s": 3, "processes": True, "workers": WORKERS}
    result = autoresearch.optimize(10, fitness=fitness, propose=step, **options)
    rows = [[t.verdict, t.reason, t.words, t.score, dict(t.metrics)] for t in result.history]
    print(json.dumps([os.getpid(), rows]))
"""


def script(folder: Path, text: str, *, code: int = 0) -> subprocess.CompletedProcess[str]:
    (folder / "fit.py").write_text(FITNESS)
    (folder / "run.py").write_text(textwrap.dedent(text))
    done = subprocess.run([sys.executable, "run.py"], cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stderr
    return done


def is_gone(pid: int) -> bool:
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("workers", [1, 2])
def test_whatever_a_process_does_to_itself_is_the_end_of_that_experiment_alone(tmp_path: Path, workers: int) -> None:
    done = script(tmp_path, RUN.replace("WORKERS", str(workers)).replace("10 - len(history)", "STATES.pop()").replace(
        "def step", "STATES = [2, 3, 4, 5, 6, 7, 8, 9]\n\ndef step"
    ))  # fmt: skip
    own, rows = json.loads(done.stdout)
    assert sorted((verdict, reason) for verdict, reason, *_ in rows if verdict in ("crash", "timeout")) == [
        ("crash", "exit"),
        ("crash", "exit"),
        ("crash", "exit"),
        ("crash", "no_measurement"),
        ("crash", "signal"),
        ("timeout", "timeout"),
    ]
    words = "; ".join(row[2] for row in rows)
    for said in ("ended by SIGSEGV", "KeyError: 'no such thing' (fit.py:", "ended with 3", "KeyboardInterrupt"):
        assert said in words
    assert min(row[3] for row in rows if row[0] == "keep") == 2
    assert {"score": 2.0, "size": 2.0} in [row[4] for row in rows]
    pids = {int(pid) for pid in (tmp_path / "pids").read_text().split()}
    assert own not in pids
    assert len(pids) < 9  # one that lives is used again
    for pid in [*pids, int((tmp_path / "grandchild").read_text())]:
        assert is_gone(pid)


def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "fit.py").write_text(FITNESS.replace("time.sleep(600)", "time.sleep(600)  #"))
    (tmp_path / "run.py").write_text(
        RUN.replace("WORKERS", "1").replace("10 - len(history)", "8").replace('"timeout_s": 3', '"timeout_s": 60')
    )
    parent = subprocess.Popen([sys.executable, "run.py"], cwd=tmp_path)
    for _ in range(600):
        if (tmp_path / "grandchild").exists() and (tmp_path / "grandchild").read_text():
            break
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for pid in [*(tmp_path / "pids").read_text().split(), (tmp_path / "grandchild").read_text()]:
        assert is_gone(int(pid))


def test_function_of_the_script_itself_is_found(tmp_path: Path) -> None:
    text = """\
        import os, autoresearch

        def fitness(state):
            return state + (os.getpid() == int(os.environ["OWN"]))

        if __name__ == "__main__":
            os.environ["OWN"] = str(os.getpid())
            print(autoresearch.optimize(5, fitness=fitness, propose=lambda s: s - 1, experiments=2, processes=True).score)
        """
    assert script(tmp_path, text).stdout == "3.0\n"


def test_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    text = """\
        import autoresearch

        def fitness(state):
            return state

        try:
            autoresearch.optimize(5, fitness=fitness, propose=lambda s: s - 1, experiments=2, processes=True)
        except autoresearch.errors.SetupError as error:
            print("said:", error)
        """
    assert "a script needs `if __name__ == '__main__':`" in script(tmp_path, text).stdout


def test_function_that_cannot_be_sent_is_refused() -> None:
    def local(state: Any) -> float:
        return 1.0

    for fitness in (local, lambda state: 1.0):
        with pytest.raises(SetupError, match=r"cannot be sent to a process .*at the top level of a module"):
            optimize(1, fitness=fitness, propose=lambda s: s, processes=True)


def test_no_process_is_left_behind_by_a_run_that_ends() -> None:
    before = set(psutil.Process().children(recursive=True))
    result = optimize(4, fitness=abs, propose=lambda s: s - 1, experiments=3, processes=True)
    assert (result.state, result.score) == (1, 1.0)
    left = [
        p for p in set(psutil.Process().children(recursive=True)) - before if "resource_tracker" not in " ".join(p.cmdline())
    ]
    assert left == []
    assert os.getpid() == psutil.Process().pid


def test_process_that_died_while_it_waited_is_no_experiments_fault() -> None:
    def step(state: int) -> int:
        for child in psutil.Process().children():
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()
                os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # gone with all its threads, and left to its owner
        return state - 1

    result = optimize(5, fitness=abs, propose=step, experiments=2, processes=True)
    assert [(t.verdict, t.words) for t in result.history if t.verdict != "keep"] == []
