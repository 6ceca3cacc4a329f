"""The owner of a run for which nobody is alive: started in the background by whoever leaves a request, gone when none is left.

A process of its own, so that what was asked for comes to its verdict whatever becomes of the one who asked: `python -m
autoresearch.driving.serving --folder F [--run NAME | --new]`. It says in one JSON line on standard output whether it holds the
run, and what is wrong where it does not; everything after that goes into the run's `run.log`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch.errors import AutoresearchError, OwnedElsewhere

LINGER_S = 20.0  # the next request comes soon, if one comes
_STARTED: list[subprocess.Popen[bytes]] = []  # they are not waited for: they outlive this process
_SHUT_IN = "CODEX_SANDBOX_NETWORK_DISABLED"  # codex tells it to commands that may open no sockets, as a supervisor has to
_NOT_IN_THERE = (
    "nobody works on the run, and in codex's sandbox no command can start somebody: call the tool `try` of the MCP server "
    "(autoresearch mcp --config codex), or let your user start `autoresearch run` outside of it"
)
LINGER = "AUTORESEARCH_LINGER"  # seconds, in the environment of whoever starts it


@dataclass(frozen=True, slots=True)
class Started:
    """How it began.

    Attributes:
        run: the run that has an owner now, this one or another; `` where there is none.
        words: why there is none.
    """

    run: str
    words: str = ""


def start(folder: Path, run: str | None, *, new: bool = False) -> Started:
    """Start an owner in the background, and wait until it holds the run or cannot.

    Args:
        run: the run to go on with; None for the newest unfinished one, or a new one.
        new: a new run, even if one is unfinished.
    """
    if os.environ.get(_SHUT_IN):
        return Started("", _NOT_IN_THERE)
    argv = [sys.executable, "-P", "-m", "autoresearch.driving.serving", "--folder", str(folder)]
    argv += [*(["--run", run] if run else []), *(["--new"] if new else [])]
    argv += ["--linger", os.environ.get(LINGER, str(LINGER_S))]
    quiet = subprocess.DEVNULL
    child = subprocess.Popen(argv, stdin=quiet, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    _STARTED.append(child)
    assert child.stdout is not None
    with child.stdout:
        said = child.stdout.readline()
        try:
            body = json.loads(said)
            return Started(str(body["run"]), str(body["words"]))
        except (ValueError, TypeError, KeyError):
            rest = (said + child.stdout.read(20_000)).decode("utf-8", "replace").strip()
            return Started("", f"the run's owner could not be started: {rest.splitlines()[-1] if rest else 'it said nothing'}")


def main(args: Sequence[str]) -> int:
    """Hold the run, say so, and serve until nothing is asked for any more."""
    found = _parser().parse_args(args)
    try:
        return _serve(found)
    except OwnedElsewhere:
        _say(found.run or "", "")
        return 0
    except AutoresearchError as error:
        _say("", str(error))
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="autoresearch.driving.serving", allow_abbrev=False)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--run")
    parser.add_argument("--new", action="store_true")
    parser.add_argument("--linger", type=float, default=LINGER_S)
    return parser


def _serve(found: argparse.Namespace) -> int:
    from autoresearch.choice import Wish
    from autoresearch.cli.start import Flags, work
    from autoresearch.project import Project
    from autoresearch.report import result_lines
    from autoresearch.session import Session

    project = Project(found.folder)
    wish = Wish(name=found.run, new=found.new, start=None if found.run else "HEAD", serves=True, linger_s=found.linger)
    with Session(project, wish) as session:
        run = session.run.run
        _say(run, "")
        _turn_to(project.paths.run(run).output)
        first = [f"run {run}: trying what others offer", *session.notices]
        return work(session, Flags(), first, lambda: result_lines(session.history))


def _say(run: str, words: str) -> None:
    body: Mapping[str, Any] = {"run": run, "words": words}
    sys.stdout.write(json.dumps(body) + "\n")
    sys.stdout.flush()


def _turn_to(output: Path) -> None:
    """Let what is said from here on go into the run's folder: whoever started this has read enough."""
    fd = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
