"""The owner of a run for which nobody is alive: started in the background by whoever leaves a request, gone when none is left.

A process of its own, so that what was asked for comes to its verdict whatever becomes of the one who asked: `python -m
autoresearch.driving.serving --folder F [--run NAME | --new]`. It says in one JSON line on standard output whether it holds the
run, and what is wrong where it does not; everything after that goes into the run's `run.log`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoresearch.errors import AutoresearchError, GitKilled, OwnedElsewhere
from autoresearch.records import PROBE, TRY

if TYPE_CHECKING:
    from autoresearch.project import Project
    from autoresearch.session import Session

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
        killed: it was killed before it could begin, or a process that worked for it was.
    """

    run: str
    words: str = ""
    killed: bool = False


def start(folder: Path, run: str | None, *, new: bool = False, held: int = -1) -> Started:
    """Start an owner in the background, and wait until it holds the run or cannot.

    Args:
        run: the run to go on with; None for the newest unfinished one, or a new one.
        new: a new run, even if one is unfinished.
        held: descriptor of a lock that the owner shares until it has said how it began, whoever is killed meanwhile.
    """
    if os.environ.get(_SHUT_IN):
        return Started("", _NOT_IN_THERE)
    argv = [sys.executable, "-P", "-m", "autoresearch.driving.serving", "--folder", str(folder)]
    argv += [*(["--run", run] if run else []), *(["--new"] if new else [])]
    try:
        argv += ["--linger", str(_linger_s())]
    except ValueError as error:
        return Started("", str(error))
    argv += ["--held", str(held)] if held >= 0 else []
    quiet = subprocess.DEVNULL
    child = subprocess.Popen(
        argv,
        stdin=quiet,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=_environment(folder),
        pass_fds=(held,) if held >= 0 else (),
    )
    _STARTED.append(child)
    assert child.stdout is not None
    with child.stdout:
        said = child.stdout.readline()
        try:
            body = json.loads(said)
            return Started(str(body["run"]), str(body["words"]), killed=bool(body.get("killed")))
        except (ValueError, TypeError, KeyError):
            rest = (said + child.stdout.read(20_000)).decode("utf-8", "replace").strip()
    if not rest and child.wait() == -signal.SIGKILL:
        return Started("", "the run's owner could not be started: it was killed as it began", killed=True)
    return Started("", f"the run's owner could not be started: {rest.splitlines()[-1] if rest else 'it said nothing'}")


def _environment(folder: Path) -> dict[str, str]:
    """That of whoever asks, but for what would let the owner import what lies in the project, which anybody may write."""
    env, top = dict(os.environ), folder.resolve()
    parts = env.pop("PYTHONPATH", "").split(os.pathsep)
    kept = [part for part in parts if part and not Path(part).resolve().is_relative_to(top)]
    return env | ({"PYTHONPATH": os.pathsep.join(kept)} if kept else {})


def _linger_s() -> float:
    """How long an owner waits for the next request.

    Raises:
        ValueError: the variable holds no such time.
    """
    text = os.environ.get(LINGER) or str(LINGER_S)
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise ValueError(f"{LINGER}={text!r}: expected seconds, 0 or more; unset it for {LINGER_S:g}")
    return found


def main(args: Sequence[str]) -> int:
    """Hold the run, say so, and serve until nothing is asked for any more."""
    found = _parser().parse_args(args)
    if found.held >= 0:
        os.set_inheritable(found.held, False)
    try:
        return _serve(found)
    except OwnedElsewhere:
        _say(found.run or "", "")
        return 0
    except AutoresearchError as error:
        _say("", str(error), killed=isinstance(error, GitKilled))
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="autoresearch.driving.serving", allow_abbrev=False)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--run")
    parser.add_argument("--new", action="store_true")
    parser.add_argument("--linger", type=float, default=LINGER_S)
    parser.add_argument("--held", type=int, default=-1)
    return parser


def _serve(found: argparse.Namespace) -> int:
    from autoresearch.choice import Wish
    from autoresearch.project import Project
    from autoresearch.session import Session

    project = Project(found.folder)
    wish = Wish(name=found.run, new=found.new, start=None if found.run else "HEAD", serves=True, linger_s=found.linger)
    with Session(project, wish) as session:
        run = session.run.run
        _say(run, "")
        if found.held >= 0:
            os.close(found.held)
        _turn_to(project.paths.run(run).output)
        code = _work(session)
    while _is_asked(project, run):  # left when this process still held the run, and heard nothing any more
        with Session(project, replace(wish, name=run, new=False, start=None)) as session:
            code = _work(session)
    return code


def _work(session: Session) -> int:
    from autoresearch.cli.start import Flags, work
    from autoresearch.report import result_lines

    first = [f"run {session.run.run}: trying what others offer", *session.notices]
    return work(session, Flags(), first, lambda: result_lines(session.history))


def _is_asked(project: Project, run: str) -> bool:
    """Whether the run ended because nothing was asked for, and something is."""
    ledger = project.ledger()
    try:
        record, waiting = ledger.history(run).run, ledger.requests(run)
    finally:
        ledger.close()
    return record is not None and record.stop_reason == "idle" and any(r.kind in (TRY, PROBE) for r in waiting)


def _say(run: str, words: str, *, killed: bool = False) -> None:
    body: Mapping[str, Any] = {"run": run, "words": words, "killed": killed}
    try:
        os.write(1, f"{json.dumps(body)}\n".encode())
    except BrokenPipeError:
        pass  # whoever started it is gone, and its request stands


def _turn_to(output: Path) -> None:
    """Let what is said from here on go into the run's folder: whoever started this has read enough."""
    fd = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
