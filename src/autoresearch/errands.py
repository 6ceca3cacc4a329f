"""What a person orders of a run between two experiments: an idea, a candidate tried again, a keep taken out.

The same whether the run's owner hears it from another process or the process that was asked becomes the owner itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoresearch.errors import SetupError
from autoresearch.history import History
from autoresearch.records import Event, Experiment, Request
from autoresearch.text import one_line

KINDS = ("idea", "idea_done", "revive", "reject")


def order(history: History, kind: str, body: Mapping[str, Any]) -> tuple[Event | None, str]:
    """The event that records an order, and what to tell whoever gave it; no event where a killed session left it to be done.

    Raises:
        SetupError: it cannot be carried out; the message says why.
    """
    match kind:
        case "idea":
            text = one_line(str(body["text"]), 1000)
            if not text:
                raise SetupError('an empty idea: expected a line for proposers, as autoresearch idea "try a smaller batch"')
            return _note(kind, text=text), f"idea {len(history.agenda.ideas) + 1} stands in the next prompts"
        case "idea_done":
            return _note(kind, idea=_idea(history, body["idea"])), f"idea {body['idea']} is done"
        case "revive":
            e = _revivable(history, _experiment(history, body["experiment"]))
            is_under_way = e.n in history.agenda.wanted or any(o.origin == e.n and not o.decided for o in history.experiments)
            event = None if is_under_way else _note(kind, experiment=e.n)
            return event, f"experiment {e.n} is tried again on the incumbent"
        case "reject":
            e = _experiment(history, body["experiment"])
            later = len(history.line) - 1 - history.line.index(_rejectable(history, e).n)
            again = f"; {later} later keep{'s are' if later > 1 else ' is'} tried again without it" if later else ""
            event = None if e.n in history.agenda.rejected else _note(kind, experiment=e.n)
            return event, f"experiment {e.n} is taken out{again}"
    raise SetupError(f"this version does not know {kind!r}")


def recorded(request: Request) -> Event:
    """That somebody asked, by the request's number: after a kill it is not carried out twice."""
    return Event("requested", None, {"what": request.kind, "request": request.id, **dict(request.body)})


def _note(what: str, **details: Any) -> Event:
    return Event("note", None, {"what": what, **details})


def _experiment(history: History, n: int) -> Experiment:
    if not history.line:
        raise SetupError("the run has no baseline yet: go on with `autoresearch run` first")
    if not 0 < n < len(history.experiments):
        raise SetupError(f"experiment {n}: expected 1 to {len(history.experiments) - 1}; look at `autoresearch log`")
    return history.experiments[n]


def _revivable(history: History, e: Experiment) -> Experiment:
    if e.n in history.line:
        raise SetupError(f"experiment {e.n} is kept and in the result already: there is nothing to try again")
    if not e.decided:
        raise SetupError(f"experiment {e.n} is under way: wait for its verdict")
    if not e.tree:
        words = f"{e.verdict.reason}: {e.verdict.words}" if e.verdict else e.stage
        raise SetupError(f"experiment {e.n} has no candidate that could be tried again ({words})")
    return e


def _rejectable(history: History, e: Experiment) -> Experiment:
    if e.n in history.line:
        return e
    keeps = ", ".join(map(str, history.line[1:])) or "none"
    why = "is taken out already" if e.rolled_back else "was not kept"
    raise SetupError(f"experiment {e.n} {why}: expected one of the keeps on the line ({keeps})")


def _idea(history: History, number: int) -> int:
    known = history.agenda.ideas
    if 1 <= number <= len(known):
        return number
    expected = f"expected 1 to {len(known)}" if known else "there is none yet"
    raise SetupError(f"idea {number}: {expected}; list them with `autoresearch idea`")
