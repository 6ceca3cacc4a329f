"""The command `run`: flags to a session, signals to a stop, endings to exit codes."""

from __future__ import annotations

import datetime
import errno
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.abc

from autoresearch.budget import Ending
from autoresearch.choice import Wish
from autoresearch.cli.view import JsonLines, Lines, Live, View, first_lines
from autoresearch.errors import SetupError, ungrouped
from autoresearch.inhibit import Awake
from autoresearch.loop import Loop
from autoresearch.project import Project
from autoresearch.report import last_lines
from autoresearch.session import Session
from autoresearch.taskfile import FILE, Task
from autoresearch.taskfile.units import seconds, show_seconds
from autoresearch.text import counted, show_clock

DETACHED = "AUTORESEARCH_DETACHED"  # in the environment of a run that works in the background


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of `run` as typed."""

    name: str | None = None
    experiments: int | None = None
    time: str | None = None
    until: str | None = None
    proposals: int | None = None
    evaluations: int | None = None
    seed: int | None = None
    new: bool = False
    start: str | None = None
    include_dirty: bool = False
    detach: bool = False
    yes: bool = False
    json: bool = False
    rebaseline: bool = False
    proposer: str = ""
    model: str = ""
    cost: float | None = None
    tokens: int | None = None


def run_command(folder: Path, flags: Flags, task: Task | None = None) -> int:
    """Run a session; gives the exit code."""
    project = Project.find(folder)
    wish = wish_of(flags)
    if flags.detach:
        return _detach(project, flags)
    with Session(project, wish, task) as session:
        return work(session, flags, _first_lines(session), lambda: last_lines(session.history))


def work(session: Session, flags: Flags, first: Sequence[str], last: Callable[[], Sequence[str]]) -> int:
    """Work on a session in view of whoever started it; gives the exit code.

    Args:
        first, last: what is said before and afterwards.
    """
    with Awake():
        return anyio.run(_work, session, flags, first, last)


def _first_lines(session: Session) -> list[str]:
    wish = session.wish
    walls = [counted(wish.experiments, "experiment")] if wish.experiments else []
    walls += [show_seconds(wish.time_s)] if wish.time_s else []
    walls += [f"until {show_clock(wish.until, time.time())}"] if wish.until else []
    return first_lines(
        session.task,
        session.history,
        is_new=session.is_new,
        notices=session.notices,
        paying=session.paying(),
        session=walls,
    )


def wish_of(flags: Flags) -> Wish:
    if flags.cost is not None and not (flags.cost > 0 and math.isfinite(flags.cost)):
        raise SetupError(f"--cost {flags.cost:g}: expected an amount of USD above 0")
    return Wish(
        name=flags.name,
        new=flags.new,
        start=flags.start,
        experiments=flags.experiments,
        time_s=_flag_seconds("--time", flags.time) if flags.time else None,
        until=time.time() + until_s(flags.until, datetime.datetime.now()) if flags.until else None,
        cost_usd=flags.cost,
        tokens=flags.tokens,
        amount=amounts(flags.yes),
        proposals=flags.proposals,
        evaluations=flags.evaluations,
        seed=flags.seed,
        include_dirty=flags.include_dirty,
        confirm=confirmer(flags.yes),
        rebaseline=flags.rebaseline,
        detached=os.environ.pop(DETACHED, "") == "1",
        proposer=flags.proposer,
        model=flags.model,
    )


def _flag_seconds(flag: str, text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise SetupError(f"{flag} {text!r}: {error}") from error


def until_s(text: str, now: datetime.datetime) -> float:
    """Seconds from now to the next time the clock shows HH:MM.

    Raises:
        SetupError: not a clock time.
    """
    try:
        hour, minute = text.split(":")
        at = now.replace(hour=int(hour), minute=int(minute), second=0, microsecond=0)
    except ValueError as error:
        raise SetupError(f"--until {text!r}: expected a clock time as 07:00") from error
    if at <= now:
        at += datetime.timedelta(days=1)
    return (at - now).total_seconds()


def confirmer(yes: bool) -> Callable[[str], bool] | None:
    """How questions are answered: all yes, by the person at the terminal, or by nobody."""
    if yes:
        return lambda question: True
    if not sys.stdin.isatty():
        return None

    def ask(question: str) -> bool:
        import typer

        return typer.confirm(question, default=True, err=True)

    return ask


def amounts(yes: bool) -> Callable[[str, float, float], float] | None:
    """How it is answered how much: as --yes means it, by the person at the terminal, or by nobody."""
    if yes:
        return lambda question, suggested, agreed: agreed
    if not sys.stdin.isatty():
        return None

    def ask(question: str, suggested: float, agreed: float) -> float:
        import typer

        while True:
            answer: float = typer.prompt(question, default=suggested, type=float, err=True)
            if answer > 0 and math.isfinite(answer):
                return answer
            typer.echo("expected a number above 0", err=True)

    return ask


async def _work(session: Session, flags: Flags, first: Sequence[str], last: Callable[[], Sequence[str]]) -> int:
    began: list[Loop] = []
    output = session.project.paths.run(session.run.run).output
    view = _Steady(_view(session, flags, lambda: began[0].books.spending.left_s() if began else None), output)
    view.begin(first, session.facts())
    signals: list[int] = []
    code = 2
    try:
        with ungrouped():
            ending = await _with_signals(session, view, began, signals, output)
        code = 128 + signals[0] if signals and ending.reason == "signal" else ending.code
    finally:
        view.end(last() if began else (), code)
    return code


async def _with_signals(session: Session, view: View, began: list[Loop], signals: list[int], output: Path) -> Ending:
    async with anyio.create_task_group() as tasks:
        await tasks.start(_hear_signals, began, signals, output)
        ending = await session.work(view.saw, began.append)
        tasks.cancel_scope.cancel()
    return ending


def _view(session: Session, flags: Flags, left_s: Callable[[], float | None]) -> View:
    if flags.json:
        return JsonLines(session.history)
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        return Live(session.task, session.history, left_s, session.outlook)
    return Lines(session.history)


class _Steady:
    """A view that outlives whoever reads it, as an ssh connection that breaks: what is said then goes into the run's folder."""

    def __init__(self, view: View, output: Path) -> None:
        self._view, self._output = view, output

    def begin(self, lines: Sequence[str], facts: Mapping[str, Any]) -> None:
        self._show(lambda: self._view.begin(lines, facts))

    def saw(self, what: str, details: Mapping[str, Any]) -> None:
        self._show(lambda: self._view.saw(what, details))

    def end(self, lines: Sequence[str], code: int) -> None:
        self._show(lambda: self._view.end(lines, code))

    def _show(self, show: Callable[[], None]) -> None:
        try:
            show()
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            _turn_output(self._output)


async def _hear_signals(
    began: list[Loop], seen: list[int], output: Path, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """The first signal ends the session cleanly, the second at once. A terminal that hangs up is a signal too; where there
    is none, SIGHUP is ignored."""
    heard = [signal.SIGINT, signal.SIGTERM]
    if sys.stdin.isatty():
        heard.append(signal.SIGHUP)
    else:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with anyio.open_signal_receiver(*heard) as signals:
        task_status.started()
        async for signum in signals:
            if signum == signal.SIGHUP:
                _turn_output(output)
                if seen:
                    continue  # a shell that hangs up may send it twice
            if seen:
                os._exit(128 + signum)
            seen.append(signum)
            while not began:
                await anyio.sleep(0.01)
            began[0].stop(Ending("signal", f"stopped by {signal.Signals(signum).name}"))


def _turn_output(output: Path) -> None:
    """Whoever read is gone: what is still said goes into the run's folder."""
    try:
        fd = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError:
        fd = os.open(os.devnull, os.O_WRONLY)
    os.dup2(fd, 1)
    os.dup2(fd, 2)


def _detach(project: Project, flags: Flags) -> int:
    """Start the same command in the background, with its output in the run's folder."""
    with Session(project, wish_of(flags)) as session:  # every refusal comes here, in the foreground
        name = session.run.run
        out = project.paths.run(name).output
        lines = _first_lines(session)
    argv = [sys.executable, "-P", "-m", "autoresearch", "run", name, "--folder", str(project.folder), "--yes"]
    for flag, value in (
        ("-n", flags.experiments),
        ("--time", flags.time),
        ("--until", flags.until),
        ("--proposals", flags.proposals),
        ("--evaluations", flags.evaluations),
        ("--cost", flags.cost),
        ("--tokens", flags.tokens),
        ("--proposer", flags.proposer or None),
        ("--model", flags.model or None),
    ):
        argv += [flag, str(value)] if value is not None else []
    argv += ["--rebaseline"] if flags.rebaseline else []
    with open(out, "ab") as file:
        quiet, env = subprocess.DEVNULL, {**os.environ, DETACHED: "1"}
        child = subprocess.Popen(argv, stdin=quiet, stdout=file, stderr=subprocess.STDOUT, start_new_session=True, env=env)
    time.sleep(0.2)
    for line in [*lines, f"in the background as process {child.pid} · output: {out} · look: autoresearch status"]:
        sys.stdout.write(line + "\n")
    return 0 if child.poll() in (None, 0) else child.returncode


__all__ = ["FILE", "Flags", "run_command", "until_s", "wish_of", "work"]
