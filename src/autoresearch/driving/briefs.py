"""The brief for who drives: what an experiment's proposer is told, with the rules of one that has change after change tried.

It reads the ledger, the repository and the place's files, and changes nothing. What is told need not be the same the next time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoresearch import git, private
from autoresearch.brief import Renderer, Told
from autoresearch.briefing import Words, counts, stand_in
from autoresearch.choice import Choice, Wish
from autoresearch.contracts import Brief
from autoresearch.driving import left, places, replies
from autoresearch.driving.places import Place
from autoresearch.driving.rules import SHELL, TOOLS, Stand, manner
from autoresearch.errors import RepositoryError, SetupError
from autoresearch.exhibits import Files, cover_of
from autoresearch.history import History
from autoresearch.project import Project
from autoresearch.sight import Sight
from autoresearch.strategies.suggest import plateau
from autoresearch.taskfile import Task, load

_UNREAD = ("knobs",)


@dataclass(frozen=True, slots=True)
class Guide:
    """What whoever drives is told.

    Attributes:
        told: the prompt with what it is made of.
        facts: what it rests on, as plain data.
    """

    told: Told
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.told.text

    @property
    def body(self) -> dict[str, Any]:
        """The same for programs."""
        return {**self.facts, **counts(self.told), "text": self.text}


def brief_for(place: Place, run: str | None = None, *, tools: bool = False) -> Guide:
    """What is to be known before the next change is made in a place.

    Args:
        run: its name; None is the place's, else the newest under this ruler.
        tools: whoever reads has the tools of the server, and need not have a shell.
    Raises:
        AutoresearchError: there is no such run, no task, or no repository.
    """
    project, task = place.project, load(place.project.folder)
    location = git.locate(project.folder)
    if location is None:
        raise RepositoryError(f"{project.folder} is no git repository: run `git init`, add and commit your files")
    stand = _stand(place, task, location, _meant(project, task, location, run or place.run))
    brief, record = next_change(stand), stand.history.run
    assert record is not None
    names = project.paths.run(record.run)
    cover = cover_of(task, names, stand.history.experiments[0].value if stand.measured else None)
    renderer = Renderer(
        task,
        sources=Files(location, task, record, names, cover),
        texts=Words(project.folder, task).now,
        cover=cover,
        manner=lambda task, brief, _: manner(task, brief, place, stand, TOOLS if tools else SHELL),
    )
    return Guide(renderer.render(brief), _facts(place, task, stand, brief))


def _stand(place: Place, task: Task, location: git.Location, known: History | None) -> Stand:
    folder = place.project.folder
    remains = tuple(replies.remains(known or History(), task))
    if known is None or known.run is None:
        return Stand(None, stand_in(folder, task, location), None, remains)
    if not known.line:
        told = stand_in(folder, task, location, known.run)
        told.agenda = known.agenda
        return Stand(known.run, told, known, remains, over=_over(known, task))
    try:
        here, fault = places.snapshot(place, task, known), ""
    except SetupError as error:
        here, fault = None, str(error)
    return Stand(known.run, known, known, remains, here, fault, _over(known, task))


def _meant(project: Project, task: Task, location: git.Location, name: str | None) -> History | None:
    """The run in which a change would be tried, None for a new one.

    Raises:
        AutoresearchError: there is none of that name, or the ruler has changed since.
    """
    if name is None and not project.paths.ledger.is_file():
        return None
    ledger = project.ledger(read_only=True)
    try:
        if name is not None:
            return ledger.history(project.pick(ledger, name).run)
        digest, _ = private.ruler(task, project.folder)
        same = [run for run in ledger.runs() if run.ruler == digest]
        if not same and ledger.runs():
            Choice(project, Wish(), task, ledger, location).going_on()
        return ledger.history(same[-1].run) if same else None
    finally:
        ledger.close()


def _over(history: History, task: Task) -> str:
    assert history.run is not None
    ending = left.left(history, task).ending
    at_target = history.run.status == "finished" and history.run.stop_reason == "target"
    return ending.words if ending is not None else history.run.stop_words if at_target else ""


def next_change(stand: Stand) -> Brief:
    """The next experiment, as far as it can be known: a change of what the place holds."""
    history = stand.history
    view = Sight(history, history.decided)
    assert history.run is not None
    return Brief(
        n=len(history.experiments),
        operation="improve",
        parent=view.of(stand.here.parent) if stand.here is not None else view.incumbent,
        view=view,
        metric=history.run.metric,
        direction=history.run.direction,
        seed=history.run.seed,
        timeout_s=math.inf,
        escalation=escalation(view),
    )


def escalation(view: Sight) -> str:
    """How far a plateau changes the question; nobody who drives is told to forget what was tried, or where to start from."""
    found = plateau(view, _UNREAD)
    return "bold" if found in ("fresh", "restart") else found


def _facts(place: Place, task: Task, stand: Stand, brief: Brief) -> dict[str, Any]:
    return {
        "run": stand.run.run if stand.run is not None else None,
        "n": brief.n,
        "operation": brief.operation,
        "parent": brief.parent.n,
        "metric": brief.metric,
        "direction": brief.direction,
        "proposer": "",
        "mutation": "",
        "escalation": brief.escalation,
        "driving": True,
        "baseline": stand.measured,
        "over": bool(stand.over),
        "folder": str(place.folder),
        "entered": place.tree is not None,
        "remains": list(stand.remains),
        "ideas": [idea.text for idea in brief.view.ideas],
    }
