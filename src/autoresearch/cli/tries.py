"""`try`, `wait` and `probe`: a change is measured and decided by the run's owner; what it answers is shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from autoresearch.driving import places
from autoresearch.driving.jobs import Jobs
from autoresearch.errors import SetupError
from autoresearch.taskfile.units import seconds

if TYPE_CHECKING:
    from autoresearch.driving.replies import Reply


def try_change(
    folder: Path, message: str, *, expect: str, run: str | None, new: bool, background: bool, max_s: str | None, as_json: bool
) -> int:
    """Have the change in the present tree tried; gives the exit code."""
    jobs = _jobs(folder, run, new=new, quiet=as_json)
    return _show(jobs, lambda: jobs.offer(message, expect=expect), background=background, max_s=max_s, as_json=as_json)


def probe_change(folder: Path, what: str, *, run: str | None, background: bool, max_s: str | None, as_json: bool) -> int:
    """Have the change in the present tree tried out without a verdict; gives the exit code."""
    jobs = _jobs(folder, run, new=False, quiet=as_json)
    return _show(jobs, lambda: jobs.probe(what), background=background, max_s=max_s, as_json=as_json)


def wait_for_job(folder: Path, job: int, *, max_s: str | None, as_json: bool) -> int:
    """Wait for the answer to a job; gives the exit code."""
    return _show(_jobs(folder, None, new=False, quiet=as_json), lambda: job, background=False, max_s=max_s, as_json=as_json)


def _jobs(folder: Path, run: str | None, *, new: bool, quiet: bool) -> Jobs:
    place = places.find(folder)
    if place.run is not None and (new or run not in (None, place.run)):
        raise SetupError(f"{place.folder} is a tree of run {place.run}: try another run's changes in a tree of that one")
    return Jobs(place, run=run, new=new, say=_steps(quiet=quiet))


def _steps(*, quiet: bool) -> Callable[[str], None]:
    """Say each step once, on standard error."""
    said: list[str] = []

    def say(words: str) -> None:
        if not quiet and words not in said[-1:]:
            said.append(words)
            sys.stderr.write(f"{words}\n")
            sys.stderr.flush()

    return say


def _show(jobs: Jobs, ask: Callable[[], int], *, background: bool, max_s: str | None, as_json: bool) -> int:
    limit_s = 0.0 if background else _limit(max_s)
    job = None
    try:
        job = ask()
        reply = jobs.wait(job, limit_s)
    except KeyboardInterrupt:
        left = job or jobs.left
        sys.stderr.write(f"job {left} goes on: autoresearch wait {left}\n" if left else "nothing was asked\n")
        return 130
    if background and reply.body["state"] == "running":
        reply = replace(reply, lines=(f"job {job}", *reply.lines))
    return _print(reply, as_json=as_json)


def _limit(max_s: str | None) -> float | None:
    if max_s is None:
        return None
    try:
        return seconds(max_s)
    except ValueError as error:
        raise SetupError(f"--max {max_s!r}: {error}") from error


def _print(reply: Reply, *, as_json: bool) -> int:
    text = json.dumps(reply.body, ensure_ascii=False) if as_json else "\n".join(reply.lines)
    sys.stdout.write(text + "\n")
    return reply.code
