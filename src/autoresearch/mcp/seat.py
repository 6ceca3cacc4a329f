"""What the tools do, for one agent's session. All of it blocks, and raises our own errors with words for whoever asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch import git, lock
from autoresearch.agenda import NOTED
from autoresearch.brief import Nothing, Sources
from autoresearch.cli.back import idea_lines, record_idea
from autoresearch.driving import places, trees
from autoresearch.driving.briefs import brief_for
from autoresearch.driving.jobs import Jobs
from autoresearch.driving.places import Place
from autoresearch.errors import SetupError, UnknownName
from autoresearch.exhibits import Files, cover_of
from autoresearch.fenced import clean, fence
from autoresearch.history import History
from autoresearch.mcp import seen
from autoresearch.project import Project
from autoresearch.taskfile import Task, load
from autoresearch.text import one_line

NO_RUN = "no run yet: the first `try` starts one, and measures the baseline first"
MOST = 200
"""Experiments that one call lists."""


class NoRun(SetupError):
    """Nothing was tried yet, so that there is nothing to look at."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool gives: text to read, and the same as data where it is more than text."""

    text: str
    body: Mapping[str, Any] | None = None
    failed: bool = False


class Seat:
    """One agent's place and run.

    Args:
        folder: where the agent works; the project is around it.
        run: the only run that is meant; None is the place's, else the newest.
        enters: let the agent work in a tree of its own, made when it is first needed.
    """

    def __init__(self, folder: Path, *, run: str | None = None, enters: bool = False) -> None:
        self._folder, self._run, self._enters = folder, run, enters
        self._entered: Place | None = None
        self._entering = threading.Lock()

    def place(self) -> Place:
        """Where changes are looked for.

        Raises:
            SetupError: there is no project.
        """
        found = places.find(self._folder)
        if not self._enters or found.tree is not None:
            return found
        with self._entering:
            if self._entered is None or not self._entered.folder.is_dir():
                self._entered = trees.enter(found.project, self._ensured(found), load(found.project.folder))
            return self._entered

    def _ensured(self, found: Place) -> str:
        """The run that is meant; where there is none yet it is started, since a tree is one of a run."""
        try:
            return self._name(found)
        except NoRun:
            return Jobs(found, run=self._run).ensure()

    def jobs(self, by: str) -> Jobs:
        """What is asked from this place, by the name of who asks."""
        place = self.place()
        if place.run is not None and self._run not in (None, place.run):
            raise SetupError(f"{place.folder} is a tree of run {place.run}, and this server was started with --run {self._run}")
        return Jobs(place, by=by, run=self._run)

    def brief(self) -> Answer:
        return Answer(brief_for(self.place(), self._run, tools=True).text)

    def status(self) -> Answer:
        try:
            return self._look(lambda project, history, task: seen.standing(history, task, self._owner(project, history)))
        except NoRun as none:
            return Answer(str(none), {"state": "none", "message": str(none)})

    def history(self, last: int) -> Answer:
        try:
            return self._look(lambda project, history, task: seen.attempts(history, max(1, min(last, MOST))))
        except NoRun as none:
            return Answer(str(none), {"experiments": [], "message": str(none)})

    def show(self, n: int) -> Answer:
        def look(project: Project, history: History, task: Task) -> tuple[list[str], dict[str, Any]]:
            if not 0 <= n < len(history.experiments):
                known = f"0 to {len(history.experiments) - 1}" if history.experiments else "none yet"
                raise SetupError(f"experiment {n}: expected one of this run's experiments ({known}); look at `history`")
            return seen.experiment(history, n, task, sources_of(project, task, history))

        return self._look(look)

    def idea(self, text: str, done: int, by: str) -> Answer:
        """Note an idea, or that one is done; list them."""
        project = places.find(self._folder).project
        try:
            run = self._name(places.find(self._folder))
        except NoRun as none:
            if text.strip() or done:
                raise
            return Answer(str(none), {"ideas": [], "message": str(none)})
        words: list[str] = []
        if text.strip():
            words += record_idea(project, run, "idea", {"text": one_line(f"{NOTED}{by or 'an agent'}: {text}", 1000)})
        if done:
            words += record_idea(project, run, "idea_done", {"idea": done})
        ideas = self._history(project, run).agenda.ideas
        body = {"ideas": [{"number": idea.number, "text": idea.text, "done": idea.done} for idea in ideas]}
        text = "\n".join([*words, fence(clean("\n".join(idea_lines(ideas)))) if ideas else "no ideas yet"])
        return Answer(text, {**body, "message": text})

    # -- reading -------------------------------------------------------------------------------------------------------

    def _look(self, read: Callable[[Project, History, Task], tuple[list[str], dict[str, Any]]]) -> Answer:
        place = self._entered or places.find(self._folder)
        task = load(place.project.folder)
        history = self._history(place.project, self._name(place))
        lines, body = read(place.project, history, task)
        return Answer("\n".join(lines), body)

    def _name(self, place: Place) -> str:
        """The run that is meant.

        Raises:
            NoRun: there is none yet. UnknownName: there is none of that name.
        """
        wanted, names = self._run or place.run, _runs(place.project)
        if not names:
            raise NoRun(f"{place.project.folder}: {NO_RUN}")
        if wanted is not None and wanted not in names:
            raise UnknownName("run", wanted, names)
        return wanted or names[-1]

    def _history(self, project: Project, run: str) -> History:
        ledger = project.ledger(read_only=True)
        try:
            return ledger.history(run)
        finally:
            ledger.close()

    def _owner(self, project: Project, history: History) -> str:
        assert history.run is not None
        return lock.owner(project.paths.run(history.run.run).lock) or ""


def _runs(project: Project) -> list[str]:
    """The names of all runs, oldest first."""
    if not project.paths.ledger.is_file():
        return []
    ledger = project.ledger(read_only=True)
    try:
        return [r.run for r in ledger.runs()]
    finally:
        ledger.close()


def sources_of(project: Project, task: Task, history: History) -> Sources:
    """Diffs and logs of a run, with what nobody may see covered."""
    assert history.run is not None
    location, names = git.locate(project.folder), project.paths.run(history.run.run)
    baseline = history.experiments[0].verdict if history.experiments else None
    cover = cover_of(task, names, baseline.value if baseline else None)
    return Nothing() if location is None else Files(location, task, history.run, names, cover)
