"""The git program: how each call of it is made, a process of it that stays, and where a project lies in its repository.

The user's and the system's configuration, hooks, filters, replace refs and every `GIT_*` variable are out of the way;
bytes go in and out raw. Long-lived plumbing processes keep a visible commit at two to three milliseconds.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoresearch.errors import DiskFault, GitKilled, RepositoryError

MINIMUM = (2, 34)
_DISK_SIGNS = ("No space left", "Out of diskspace", "write error", "Disk quota", "Read-only file system", "unable to write")
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.logAllRefUpdates=false",
    "core.autocrlf=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.quotePath=false",
    "core.fileMode=true",
    "core.symlinks=true",
    "commit.gpgsign=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "protocol.allow=never",
    "advice.graftFileDeprecated=false",
)


def environment() -> dict[str, str]:
    """The environment of every git process: no `GIT_*` of the user's, no configuration but the repository's own."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return env | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }


def command(*args: str, settings: Sequence[str] = ()) -> list[str]:
    """The argument vector of a git call under our settings."""
    options = [part for setting in (*_SETTINGS, *settings) for part in ("-c", setting)]
    return ["git", "--no-optional-locks", *options, *args]


def run(*args: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, stdin: bytes = b"") -> bytes:
    """Run git once and give its standard output.

    Raises:
        RepositoryError: with git's own last words.
    """
    result = subprocess.run(
        command(*args, settings=["safe.directory=*"]),
        cwd=cwd,
        env=environment() | dict(env or {}),
        input=stdin,
        capture_output=True,
        check=False,
        start_new_session=True,  # a Ctrl-C or a hang-up of the terminal is for us, not for a git that works for us
    )
    if result.returncode:
        raise _failure(args, result.stderr.decode("utf-8", "replace"), result.returncode)
    return result.stdout


def _failure(args: Sequence[str], words: str, code: int) -> Exception:
    if code == -signal.SIGKILL:
        return GitKilled(f"git {args[0]} was killed: nothing recorded is lost, run again")
    words = words.strip() or "no message"
    if any(sign in words for sign in _DISK_SIGNS):
        return DiskFault(f"git {args[0]}: {words}")
    return RepositoryError(f"git {' '.join(a for a in args[:3])} failed: {words}")


def check_version() -> str:
    """The git program's version.

    Raises:
        RepositoryError: when there is none or it is older than 2.34.
    """
    try:
        text = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise RepositoryError("git was not found: install git 2.34 or later and run again") from error
    numbers = re.search(r"(\d+)\.(\d+)", text)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < MINIMUM:
        raise RepositoryError(f"{text.strip()} is too old: autoresearch needs git 2.34 or later")
    return text.strip().removeprefix("git version ")


@dataclass(frozen=True, slots=True)
class Location:
    """Where a project lies in its repository: the work tree's top, the shared git folder, the project's path below top."""

    top: Path
    git_dir: Path
    prefix: str  # "" or "sub/folder/"


def locate(project: Path) -> Location | None:
    """Find the repository around `project`; None where there is none."""
    try:
        fields = run("rev-parse", "--show-toplevel", "--git-common-dir", "--show-prefix", cwd=project)
    except RepositoryError as error:
        if "not a git repository" in str(error):
            return None
        if "must be run in a work tree" in str(error):
            raise RepositoryError(f"{project} lies in a bare repository: clone it and run in the clone") from error
        raise
    lines = os.fsdecode(fields).split("\n")
    if len(lines) != 4:
        raise RepositoryError(f"{project} has a line break in its path: move it to a folder without one")
    top, git_dir, prefix = lines[:3]
    if (Path(top) / prefix).resolve() != project.resolve():  # core.worktree
        raise RepositoryError(
            f"the repository of {project} has its work tree elsewhere, in {top}: run `git config --unset core.worktree`, or "
            "work there"
        )
    return Location(Path(top), (project / git_dir).resolve(), prefix)


def full(folder: Path) -> bool:
    """Whether next to nothing is free where a folder lies."""
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize < 64 * 1024


class Process:
    """One long-lived plumbing process that is fed requests and answers each."""

    def __init__(self, argv: list[str]) -> None:
        self._argv = argv
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: bytes, *, lines: int = 1) -> list[bytes]:
        """Write a request and read that many lines; a process that died is started again for the next."""
        self.request(request)
        return [self.answer() for _ in range(lines)]

    def request(self, request: bytes) -> None:
        process = self._alive()
        assert process.stdin is not None
        try:
            process.stdin.write(request)
            process.stdin.flush()
        except BrokenPipeError:
            raise self._dead() from None

    def answer(self) -> bytes:
        process = self._alive()
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._dead()
        return line

    def read(self, size: int) -> bytes:
        process = self._alive()
        assert process.stdout is not None
        data = process.stdout.read(size)
        if len(data) != size:
            raise self._dead()
        return data

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment(),
                start_new_session=True,
                cwd="/",
            )
        return self._process

    def _dead(self) -> Exception:
        process = self._process
        assert process is not None
        assert process.stderr is not None
        assert process.stdin is not None
        try:
            process.stdin.close()
        except OSError:
            pass
        words = process.stderr.read().decode("utf-8", "replace")
        self.close()
        return _failure([a for a in self._argv[1:] if not a.startswith("-") and "=" not in a], words, process.returncode)

    def close(self) -> None:
        if self._process is not None:
            for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
                try:
                    if stream is not None:
                        stream.close()
                except OSError:
                    pass
            self._process.wait()
            self._process = None
