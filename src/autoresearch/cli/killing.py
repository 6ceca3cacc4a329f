"""`demo --kill`: a run that is killed three times, and whether its ledger is that of the same run left alone.

The run is a process of its own, as `autoresearch run` starts it, and the kill is SIGKILL of that process. Its task is
`deliveries`, whose evaluations draw their rows by a seed that the harness gives: noisy numbers, the same ones again.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from autoresearch.cli.demo import lay_out
from autoresearch.cli.view import PER_CENT, baseline_line, experiment_line
from autoresearch.errors import SetupError
from autoresearch.history import History
from autoresearch.project import Project
from autoresearch.testing import canonical
from autoresearch.text import counted

RUN = "demo"
_LOOK_S = 0.005
_GONE_S = 15.0
_LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill, as the ledger shows it afterwards."""

    during: str
    measurements: int
    processes: int

    @property
    def words(self) -> str:
        held = f"{counted(self.measurements, 'measurement')} in the ledger"
        return f"killed {self.during} · {held} · its {self.processes} processes are gone"


class Killed:
    """A run in a folder, in one process after the other."""

    def __init__(self, folder: Path, seed: int, say: Callable[[str], None]) -> None:
        self._project, self._seed, self._say = Project(folder), seed, say
        self._shown = -1

    def work(self, moment: Callable[[History], bool] | None) -> Kill | None:
        """Start the run, or go on with it; gives how it was killed at the moment, None if it came to its end before.

        Raises:
            SetupError: it ended with an error, or something of it outlived it.
        """
        log = self._project.folder / ".git" / "demo.log"
        with log.open("ab") as out:
            process = subprocess.Popen(self._argv(), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            kill = self._kill(process) if self._comes(process, moment) else None
        finally:
            process.kill()
            process.wait()
        if kill is not None:
            return kill
        if process.returncode:
            raise SetupError(f"the run ended with exit code {process.returncode}: its output is in {log}")
        return None

    def _argv(self) -> list[str]:
        began = self.history() is not None
        seed = [] if began else ["--new", "--seed", str(self._seed)]
        return [sys.executable, "-m", "autoresearch", "run", RUN, *seed, "-C", str(self._project.folder)]

    def _comes(self, process: subprocess.Popen[bytes], moment: Callable[[History], bool] | None) -> bool:
        """Wait until the moment comes; False when the process ends first.

        Raises:
            SetupError: it takes far too long.
        """
        end = time.monotonic() + _LIMIT_S
        while process.poll() is None:
            history = self.history()
            if history is not None:
                self._show(history)
                if moment is not None and moment(history):
                    return True
            if time.monotonic() > end:
                raise SetupError(f"the run is not at its end after {_LIMIT_S:.0f} s, expected half a minute")
            time.sleep(_LOOK_S)
        self._show(self.history())
        return False

    def _kill(self, process: subprocess.Popen[bytes]) -> Kill | None:
        """SIGKILL, with nothing left that the process could do about it; what it had started has to end by itself.

        None if it had just come to its end.

        Raises:
            SetupError: something of it outlives it.
        """
        below = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        left = psutil.wait_procs(below, timeout=_GONE_S)[1]
        if left:
            raise SetupError(f"{len(left)} processes of the killed run are alive after {_GONE_S:.0f} s: {left}")
        history = self.history()
        self._show(history)
        if process.returncode != -signal.SIGKILL or history is None:
            return None
        return Kill(standing(history), sum(len(e.measurements) for e in history.experiments), 1 + len(below))

    def history(self) -> History | None:
        """The run as its ledger has it now; None before there is anything in it."""
        if not self._project.paths.run(RUN).lock.exists():
            return None  # the ledger may be in the making
        ledger = self._project.ledger(read_only=True)
        try:
            history = ledger.history(RUN)
        finally:
            ledger.close()
        return history if history.experiments else None

    def canonical(self) -> dict[str, Any]:
        """The ledger's canonical form; its hash chain is checked first."""
        ledger = self._project.ledger(read_only=True)
        try:
            ledger.verify(RUN)
            return canonical(ledger, RUN)
        finally:
            ledger.close()

    def _show(self, history: History | None) -> None:
        """A line for each experiment decided since the last look."""
        for e in history.experiments[self._shown + 1 :] if history is not None else ():
            if not e.decided:
                return
            assert history is not None
            self._say(experiment_line(e, history) if e.n else baseline_line(history) + PER_CENT)
            self._shown = e.n


def standing(history: History) -> str:
    """What a run was in the middle of."""
    last = history.experiments[-1]
    if last.decided:
        return f"after the verdict on experiment {last.n}"
    if last.stage != "frozen":
        return f"while experiment {last.n} was being proposed"
    done = len(last.measurements)
    return f"while experiment {last.n} was being measured" + (f", {done} times so far" if done else "")


def moments(experiments: int) -> list[Callable[[History], bool]]:
    """When to kill: before an experiment's first measurement, in the middle of a race, after a verdict."""
    first, second, third = (max(1, round(experiments * share)) for share in (0.25, 0.5, 0.75))

    def measuring(h: History) -> bool:
        e = h.experiments[-1]
        return e.n > first or (e.n == first and e.stage == "frozen")

    def racing(h: History) -> bool:
        e = h.experiments[-1]
        return e.n > third or (e.n >= second and len(e.measurements) >= 2 and not e.decided)  # there may be no race

    def decided(h: History) -> bool:
        return h.decided >= third

    return [measuring, racing, decided]


def run_kills(folder: Path, *, experiments: int, seed: int, as_json: bool) -> int:
    """Run the demo; gives the exit code: 0 if the ledgers are the same.

    Raises:
        SetupError: the folder holds something else, or a run did not come to its end.
    """
    if folder.exists() and any(folder.iterdir()):
        raise SetupError(f"{folder} is not empty: choose another folder with --folder")
    say = _say if not as_json else lambda line: None
    say(f"the example deliveries in {folder}: {counted(experiments, 'experiment')}, killed three times on the way")
    killed, kills = _killed(folder / "killed", experiments, seed, say)
    say(f"the same run, seed {seed}, never killed:")
    whole = _prepared(folder / "whole", experiments, seed, lambda line: None)
    whole.work(None)
    found, expected = killed.canonical(), whole.canonical()
    same = found == expected and len(kills) == 3
    if as_json:
        rows = [{"during": k.during, "measurements": k.measurements, "processes": k.processes} for k in kills]
        about = {"type": "kills", "run": RUN, "at": time.time()}
        sys.stdout.write(json.dumps({**about, "kills": rows, "same": same, **_sizes(found)}) + "\n")
    for line in comparison(kills, found, expected):
        say(line)
    return 0 if same else 1


def _killed(folder: Path, experiments: int, seed: int, say: Callable[[str], None]) -> tuple[Killed, list[Kill]]:
    run = _prepared(folder, experiments, seed, say)
    kills: list[Kill] = []
    for moment in moments(experiments):
        kill = run.work(moment)
        if kill is None:
            return run, kills
        kills.append(kill)
        say(f"{kill.words}; going on")
    run.work(None)
    return run, kills


def _prepared(folder: Path, experiments: int, seed: int, say: Callable[[str], None]) -> Killed:
    lay_out(folder, "deliveries", experiments=experiments)
    return Killed(folder, seed, say)


def _sizes(ledger: Mapping[str, Any]) -> dict[str, int]:
    tried = ledger["experiments"]
    measurements = sum(len(e["measurements"]) for e in tried)
    return {"experiments": len(tried) - 1, "measurements": measurements, "commits": len(ledger["branch"])}


def comparison(kills: list[Kill], found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """What came of it, in words."""
    when = "; ".join(k.during for k in kills)
    lines = [f"killed {counted(len(kills), 'time')}: {when}"]
    if len(kills) < 3:
        lines.append("the run was over before the next kill: ask for more experiments with --n")
    if found == expected:
        size = _sizes(found)
        what = f"{counted(size['experiments'], 'experiment')}, {counted(size['measurements'], 'measurement')}"
        return [*lines, f"the ledgers are the same: {what}, 1 branch of {counted(size['commits'], 'commit')}"]
    pairs = zip(found["experiments"], expected["experiments"], strict=False)
    numbers = [a["n"] for a, b in pairs if a != b]
    sizes = f"{_sizes(found)} and {_sizes(expected)}"
    return [*lines, f"THE LEDGERS DIFFER in experiments {numbers}, in size {sizes}: this is a defect, please report it"]


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
