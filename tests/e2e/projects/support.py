"""Small real projects with an owner who types commands: built by the test, driven through the installed program."""

from __future__ import annotations

import functools
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Toy, fingerprint

INSTALLED = Path(sys.executable).parent
"""Where the installed command is, and what else the environment brings."""
OURS = {"autoresearch.toml", "program.md"}

Step = tuple[str, Mapping[str, tuple[str, str]]]
"""One proposal: its description, and for each file a text and what to put in its place."""


@dataclass
class Owner(Toy):
    """A person with a project, a HOME and an environment of his own. Whatever he types is noted.

    Attributes:
        home: empty at the start; `environ` what his shell exports further.
        remote: what starts a shell where the project is, as `ssh host`; nothing if he sits there.
        typed: each command with what it printed.
    """

    home: Path = Path("/nonexistent")
    environ: dict[str, str] = field(default_factory=dict)
    remote: tuple[str, ...] = ()
    typed: list[str] = field(default_factory=list)

    @property
    def shell(self) -> dict[str, str]:
        """The environment of his shell."""
        path = f"{INSTALLED}:{os.environ['PATH']}"
        ours = ("AUTORESEARCH_CACHE", "AUTORESEARCH_LOCKS", "AUTORESEARCH_NAMESPACES")
        names = ("LANG", "LC_ALL", "TZ", "USER", "LOGNAME", *ours)
        kept = {name: os.environ[name] for name in names if name in os.environ}
        return {**kept, "PATH": path, "HOME": str(self.home), "UV_OFFLINE": "1", "npm_config_offline": "true", **self.environ}

    def does(self, command: str, *, code: int = 0, timeout_s: float = 120) -> str:
        """Type a command; gives what it printed on both streams."""
        out, err = subprocess.PIPE, subprocess.STDOUT
        with self.begins(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, text=True) as process:
            try:
                shown = process.communicate(timeout=timeout_s)[0]
            finally:
                process.kill()
        self.typed.append(f"$ {command}\n{shown}")
        assert process.returncode == code, f"{command}: exit {process.returncode}\n{shown}"
        return str(shown)

    def begins(self, command: str, **options: Any) -> subprocess.Popen[Any]:
        """Type a command and do not wait for its end."""
        argv, env = ["/bin/sh", "-c", command], self.shell
        if self.remote:
            there = shlex.join(["env", "-i", *(f"{key}={value}" for key, value in env.items()), *argv])
            argv = [*self.remote, f"cd {shlex.quote(str(self.folder))} && exec {there}"]
        return subprocess.Popen(argv, cwd=self.folder, env=env, **options)

    def is_fixed(self, *said: str) -> list[str]:
        """From "does not work" to "works" with nobody's help, and nothing but the task file touched; gives its new lines."""
        self.moved()
        before = self.task_text()
        shown = self.does("autoresearch check", code=1)
        self.check_untouched()
        for words in said:
            assert words in shown, shown
        self.does("autoresearch check --fix")
        self.check_only_task_changed()
        assert "ready. next: autoresearch run" in self.does("autoresearch check")
        return sorted(row for row in self.task_text().splitlines() if row not in before.splitlines())

    def task_text(self) -> str:
        return (self.folder / "autoresearch.toml").read_text()

    def check_only_task_changed(self) -> None:
        """Guard what is there now, after a look that only the task's own files differ."""
        assert self.known is not None
        before, now = self.known, fingerprint(self.folder)
        names = before["files"].keys() | now["files"].keys()
        changed = {name for name in names if before["files"].get(name) != now["files"].get(name)}
        assert {Path(name).name for name in changed} <= OURS, changed
        assert {k: v for k, v in now.items() if k != "files"} == {k: v for k, v in before.items() if k != "files"}
        self.known = now

    def runs(self, experiments: int, name: str = "one", flags: str = "") -> list[dict[str, Any]]:
        """A session of a run; gives its experiments as the log tells them."""
        self.does(f"autoresearch run {name} -n {experiments} {flags}".strip())
        self.check_untouched()
        return self.log(name)

    def log(self, name: str = "one") -> list[dict[str, Any]]:
        argv = [str(INSTALLED / "autoresearch"), "log", name, "--json"]
        done = subprocess.run(argv, cwd=self.folder, env=self.shell, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        rows: list[dict[str, Any]] = found if isinstance(found, list) else found["experiments"]
        return rows

    def log_if_any(self, name: str = "one") -> list[dict[str, Any]]:
        """The same, while the run may not have begun."""
        try:
            return self.log(name)
        except subprocess.CalledProcessError:
            return []

    def kept(self, name: str, path: str) -> str:
        """A file as the run's branch has it."""
        return self.git("show", f"autoresearch/{name}:./{path}")


def proposer(steps: Sequence[Step]) -> str:
    """The text of a program that makes the n-th change as proposal n, and from the last on always that."""
    body = f"""\
        import pathlib, re, sys
        STEPS = {list(steps)!r}
        n = int(re.search(r"Experiment (\\d+)", sys.stdin.read())[1])
        words, edits = STEPS[min(n, len(STEPS)) - 1]
        for name, (old, new) in edits.items():
            path = pathlib.Path(name)
            path.write_text(path.read_text().replace(old, new))
        print(words)
        """
    return textwrap.dedent(body)


PROPOSER = '\n[proposer]\nkind = "command"\ncommand = "python propose.py"\n'


def needs(*programs: str) -> pytest.MarkDecorator:
    """Leave a test out where a program is missing, which is named."""
    missing = [name for name in programs if find(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def find(program: str) -> str | None:
    """A program on the path, beside the interpreter, or where daemons and PostgreSQL are put."""
    places = [os.environ["PATH"], str(INSTALLED), "/usr/sbin", *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin")))]
    return shutil.which(program, path=":".join(places))


@functools.cache
def is_mounted() -> bool:
    """Whether inputs are mounted into trees here; elsewhere they are links, which protect nothing and lead back."""
    code = "from autoresearch.process.containment import best_namespaces; print(best_namespaces())"
    return bool(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip())


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def wait_for(what: Callable[[], object], words: str, limit_s: float = 60) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + limit_s
    while not what():
        assert time.monotonic() < deadline, f"waited {limit_s:g} s in vain: {words}"
        time.sleep(0.05)
