"""Commands that steer a run or come back to it: validate, revive, reject, approve, idea, export --bundle, import."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autoresearch import anchors, errands, git, lock
from autoresearch.agenda import Idea
from autoresearch.choice import Wish
from autoresearch.cli.start import Flags, work
from autoresearch.errors import SetupError
from autoresearch.history import History
from autoresearch.lock import OwnerLock
from autoresearch.project import Project
from autoresearch.report import result_lines
from autoresearch.session import Session
from autoresearch.text import counted

FEWEST, MOST = 3, 8  # pairs of a final comparison


def _print(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")


def _pick(folder: Path, name: str | None) -> tuple[Project, str]:
    project = Project.find(folder)
    reader = project.ledger(read_only=True)
    try:
        return project, project.pick(reader, name).run
    finally:
        reader.close()


def validate_run(folder: Path, name: str | None, *, pairs: int | None, as_json: bool) -> int:
    """Compare the result with the original baseline; gives the exit code: 1 if it came to nothing."""
    if pairs is not None and not FEWEST <= pairs <= MOST:
        raise SetupError(f"--pairs {pairs}: expected {FEWEST} to {MOST}")
    project, run = _pick(folder, name)
    return _own(project, run, "validate", {} if pairs is None else {"pairs": pairs}, as_json=as_json)


def order_run(folder: Path, name: str | None, kind: str, details: Mapping[str, Any], *, as_json: bool) -> int:
    """Revive, reject or approve experiments: by the owner that works on the run, else by this process."""
    project, run = _pick(folder, name)
    if lock.owner(project.paths.run(run).lock) and (words := _ask_owner(project, run, kind, details)) is not None:
        _print(*words)
        return 0
    return _own(project, run, kind, details, as_json=as_json)


def _own(project: Project, run: str, kind: str, details: Mapping[str, Any], *, as_json: bool) -> int:
    with Session(project, Wish(name=run, order=(kind, details))) as session:
        first = [f"run {run}: {kind} {_what(details)}", *session.notices]
        return work(session, Flags(json=as_json), first, lambda: _last(session.history))


def _what(details: Mapping[str, Any]) -> str:
    numbers = details.get("experiments") or [details[key] for key in ("experiment",) if key in details]
    named = f"experiment{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}"
    return named if numbers else "the result against the baseline"


def _last(history: History) -> list[str]:
    agenda, lines = history.agenda, result_lines(history)
    if agenda.failed:
        return [f"the final comparison came to nothing: {agenda.failed}", *lines]
    return [*(["the comparison is not finished: it goes on with the next `validate`"] if agenda.comparison else []), *lines]


def _ask_owner(project: Project, run: str, kind: str, details: Mapping[str, Any]) -> list[str] | None:
    """Ask the process that works on a run; gives what it said, None if it ended without having heard."""
    ledger = project.ledger()
    try:
        request = ledger.request(run, kind, details)
        gone_at = 0.0
        while (answer := ledger.answered(request)) is None:
            if lock.owner(project.paths.run(run).lock):
                gone_at = 0.0
            elif not gone_at:
                gone_at = time.monotonic()
            elif time.monotonic() - gone_at > 0.5:
                heard = any(e.kind == "requested" and e.body.get("request") == request for e in ledger.events(run))
                ledger.answer(request, {"ok": heard, "words": "the run ended"})
                return [] if heard else None
            time.sleep(0.05)
    finally:
        ledger.close()
    if not answer["ok"]:
        raise SetupError(str(answer["words"]))
    return [f"run {run}: {answer['words']}"]


# -- ideas --------------------------------------------------------------------------------------------------------------


def give_idea(folder: Path, name: str | None, text: str | None, *, done: int | None, as_json: bool) -> None:
    """Record an idea or that one is done; without either, list them."""
    project, run = _pick(folder, name)
    if text is None and done is None:
        _list_ideas(project, run, as_json=as_json)
        return
    kind, details = ("idea", {"text": text}) if done is None else ("idea_done", {"idea": done})
    _print(*record_idea(project, run, kind, details))


def record_idea(project: Project, run: str, kind: str, details: Mapping[str, Any]) -> list[str]:
    """Let the run's owner record an idea or that one is done, or do it where nobody is alive; gives what to tell."""
    if lock.owner(project.paths.run(run).lock) and (words := _ask_owner(project, run, kind, details)) is not None:
        return words
    with OwnerLock(project.paths.run(run).lock, run):
        ledger = project.ledger()
        anchors.own(ledger, git.locate(project.folder), run)
        event, said = errands.order(ledger.history(run), kind, details)
        assert event is not None
        ledger.append(run, event, durable=True)
        ledger.close()
    return [f"run {run}: {said}"]


def _list_ideas(project: Project, run: str, *, as_json: bool) -> None:
    ledger = project.ledger(read_only=True)
    ideas = ledger.history(run).agenda.ideas
    ledger.close()
    if as_json:
        _print(json.dumps([asdict(idea) for idea in ideas], ensure_ascii=False))
    else:
        _print(*(idea_lines(ideas) or ['no ideas yet: autoresearch idea "a line for proposers"']))


def idea_lines(ideas: Sequence[Idea]) -> list[str]:
    return [f"{idea.number:>3} {'done' if idea.done else 'open'}  {idea.text}" for idea in ideas]


# -- a run in one file -------------------------------------------------------------------------------------------------


def export_bundle(folder: Path, name: str | None, file: Path, *, limit_mb: float) -> None:
    """Write a run into one file."""
    from autoresearch import bundle

    project, run = _pick(folder, name)
    location = project.location(None)
    ledger = project.ledger(read_only=True)
    try:
        packed = bundle.pack(project, location, ledger, run, file, limit_bytes=int(limit_mb * 1e6))
    finally:
        ledger.close()
    size = file.stat().st_size / 1e6
    _print(f"run {run}: {packed.events} events, {packed.experiments} experiments, {packed.logs} logs in {file} ({size:.1f} MB)")
    if packed.left_out:
        shown = ", ".join(packed.left_out[:3]) + (f" and {len(packed.left_out) - 3} more" if len(packed.left_out) > 3 else "")
        _print(f"left out, larger than --limit {limit_mb:g} MB: {shown}")
    _print(f"it holds the code with its history, and all candidates. a colleague: autoresearch import {file.name}")


def import_bundle(folder: Path, file: Path) -> None:
    """Take a run out of a file into this repository."""
    from autoresearch import bundle
    from autoresearch.taskfile import FILE

    try:
        project = Project.find(folder)
    except SetupError:
        project = Project(folder)
    found = bundle.unpack(project, file)
    if found.known:
        _print(f"run {found.run} is here already")
        return
    _print(f"run {found.run}: {counted(found.events, 'event')} taken, {found.experiments} experiments; the chain holds")
    if (project.folder / FILE).is_file():
        _print(f"look: autoresearch log {found.run} · go on: autoresearch run {found.run}")
    else:
        _print(
            f"look: autoresearch log {found.run} · to go on, the task's files have to be here: "
            f"git checkout -b mine refs/autoresearch/{found.run}/base"
        )
