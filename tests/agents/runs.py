"""A project whose proposer is a real agent program, with a scripted model behind it, run by the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.agents.model_server import ROOT, ModelServer
from tests.conftest import git

from autoresearch.history import History
from autoresearch.project import Project
from autoresearch.records import Experiment

PROGRAMS = ROOT / ".agents" / "node_modules" / ".bin"
MODELS = {
    "claude": "claude-sonnet-4-5",
    "codex": "gpt-5.5",
    "gemini": "gemini-2.5-pro",
    "opencode": "openai/gpt-5.5",
    "pi": "openai/gpt-5.5",
}
"""Each program, and a model that it and the price list know."""
KEY = "sk-scripted"
_OLDEST_NODE = {"gemini": 20, "pi": 20}
_EVALUATE = "import pathlib\nprint('score:', float(pathlib.Path('knob.txt').read_text()))\n"


def need(program: str) -> None:
    """Skip the test where a program is not installed, or cannot run."""
    if not (PROGRAMS / program).exists():
        pytest.skip("the agent programs are not installed: scripts/test --all does that")
    oldest = _OLDEST_NODE.get(program, 0)
    if oldest and node() < oldest:
        pytest.skip(f"node {node()} is too old for {program}, which wants {oldest}: install a newer one")


def node() -> int:
    """The version of node on the path, 0 without one."""
    if shutil.which("node") is None:
        return 0
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return int(told.strip().removeprefix("v").split(".")[0])


class Scene:
    """One project with its user's HOME, and one server.

    Args:
        top: an empty folder, or one that is to be.
        alone: in a network with nothing but loopback; needs root.
    """

    name: str | None = None  # of the run; None is the newest

    def __init__(self, top: Path, program: str, script: Mapping[str, Any], *, alone: bool = False) -> None:
        need(program)
        self.top, self.program, self.folder = top, program, top / "project"
        self.server = ModelServer(top / "server", script, alone=alone)
        self._printed = top / "printed"

    @staticmethod
    def _write(folder: Path, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def _lay_out(self, files: Mapping[str, str]) -> None:
        self._write(self.folder, files)
        git(self.folder, "init", "-q", "-b", "main")
        git(self.folder, "add", "-A")
        git(self.folder, "commit", "-q", "-m", "start")

    @property
    def url(self) -> str:
        return self.server.url + ("" if self.program in ("claude", "gemini") else "/v1")

    @property
    def env(self) -> dict[str, str]:
        kept = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "TMPDIR", "LANG")
        env = {name: os.environ[name] for name in kept if name in os.environ}
        for name in ("home", "cache", "locks"):
            (self.top / name).mkdir(exist_ok=True)
        env |= {"HOME": str(self.top / "home"), "AUTORESEARCH_CACHE": str(self.top / "cache")}
        env |= {"AUTORESEARCH_LOCKS": str(self.top / "locks"), "PATH": f"{PROGRAMS}:{env['PATH']}", "SCRIPTED_KEY": KEY}
        return env | {"HTTPS_PROXY": self.server.url, "HTTP_PROXY": self.server.url, "NO_PROXY": "127.0.0.1,localhost"}

    def _start(self, argv: Sequence[str], *, words: str | None = None) -> subprocess.Popen[str]:
        """A process in the project's folder, in the background; what it prints is kept.

        Args:
            words: standard input.
        """
        given = self.top / "words"
        given.write_text(words or "")
        with self._printed.open("a") as out, given.open() as standard_input:
            return subprocess.Popen(
                argv, cwd=self.folder, env=self.env, stdin=standard_input, stdout=out, stderr=out, text=True
            )

    @property
    def printed(self) -> str:
        return self._printed.read_text() if self._printed.exists() else ""

    @property
    def history(self) -> History:
        project = Project(self.folder)
        ledger = project.ledger(read_only=True)
        try:
            return ledger.history(project.pick(ledger, self.name).run)
        finally:
            ledger.close()

    def verdicts(self) -> list[tuple[str, str]]:
        """Verdict and reason of each experiment, without the baseline's; `-` for what is still open."""
        experiments: list[Experiment] = list(self.history.experiments)[1:]
        return [(e.verdict.kind.value, e.verdict.reason) if e.verdict else ("-", "") for e in experiments]

    def left_running(self, within_s: float = 5.0) -> list[str]:
        """Command lines of processes that have to do with this project, once they had some time to go."""
        return wait_for(lambda: not strays(self.top), within_s) or list(strays(self.top).values())

    def close(self) -> None:
        self.server.kill()


class Run(Scene):
    """One project, one server, one run called `one`.

    Args:
        top: an empty folder, or one that is to be.
        table: further lines of `[proposer]`, `evaluate` of that table, `task` of the rest of the task file.
        files: further ones of the project; `home` of the user's HOME.
    """

    name = "one"

    def __init__(
        self,
        top: Path,
        program: str,
        script: Mapping[str, Any],
        *,
        table: str = "",
        task: str = "",
        evaluate: str = "",
        experiments: int = 1,
        files: Mapping[str, str] | None = None,
        home: Mapping[str, str] | None = None,
        alone: bool = False,
    ) -> None:
        super().__init__(top, program, script, alone=alone)
        words = {"kind": program, "model": MODELS[program], "table": table, "experiments": experiments, "task": task}
        words["evaluate"] = evaluate
        text = _TASK.format(url="http://127.0.0.1:9", **words)
        self._lay_out({"knob.txt": "10\n", "evaluate.py": _EVALUATE, "autoresearch.toml": text, **(files or {})})
        self._write(top / "home", home or {})
        (self.folder / "autoresearch.toml").write_text(_TASK.format(url=self.url, **words))  # where trees are equal

    def start(self, *args: str) -> subprocess.Popen[str]:
        """`autoresearch run`, in the background."""
        return self._start([*self.server.inside, sys.executable, "-m", "autoresearch", "run", "one", "--yes", *args])

    def run(self, *args: str, limit_s: float = 600) -> int:
        """`autoresearch run` to its end; gives its exit code."""
        process = self.start(*args)
        try:
            return process.wait(limit_s)
        finally:
            process.kill()
            process.wait()


def strays(top: Path) -> dict[int, str]:
    """Command lines of processes with a folder's path in their environment, but for this one and the server; by their ids."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            environ, words = (place / "environ").read_bytes(), (place / "cmdline").read_bytes()
        except OSError:
            continue
        if int(place.name) != os.getpid() and f"{top}/".encode() in environ:
            found[int(place.name)] = words.replace(b"\0", b" ").decode(errors="replace")
    return found


def wait_for(condition: Callable[[], object], within_s: float = 60.0) -> list[str]:
    """Wait until it holds; gives nothing, so that what is left can be looked at where it never does."""
    end = time.monotonic() + within_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return []


_TASK = """\
[task]
name = "toy"
editable = ["knob.txt", "extra/**"]

[evaluate]
command = "python evaluate.py"
{evaluate}

[metric]
name = "score"
direction = "minimize"

[proposer]
kind = "{kind}"
model = "{model}"
base_url = "{url}"
api_key_env = "SCRIPTED_KEY"
timeout = "90s"
{table}

[budget]
experiments = {experiments}
cost_usd = 50
{task}
"""
