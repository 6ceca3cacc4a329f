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

KINDS = ("idea", "idea_done", "revive", "reject", "approve")


def order(history: History, kind: str, body: Mapping[str, Any]) -> tuple[Event | None, str]:
    """The event that records an order, and what to tell whoever gave it; no event where a killed session left it to be done.

    Raises:
        SetupError: it cannot be carried out; the message says why.
    """
    match kind:
        case "idea":
            text = one_line(str(body.get("text") or ""), 1000)
            if not text:
                raise SetupError('an empty idea: expected a line for proposers, as autoresearch idea "try a smaller batch"')
            return _note(kind, text=text), f"idea {len(history.agenda.ideas) + 1} stands in the next prompts"
        case "idea_done":
            number = _idea(history, _number(body.get("idea")))
            return _note(kind, idea=number), f"idea {number} is done"
        case "revive":
            e = _revivable(history, _experiment(history, _number(body.get("experiment"))))
            event = None if _is_under_way(history, e) else _note(kind, experiment=e.n)
            return event, f"experiment {e.n} is tried again on the incumbent"
        case "approve":
            numbers = body.get("experiments")
            asked = list(numbers) if isinstance(numbers, list | tuple) and numbers else [None]
            return _approve(history, [_experiment(history, n) for n in dict.fromkeys(map(_number, asked))])
        case "reject":
            e = _experiment(history, _number(body.get("experiment")))
            if e.held:
                event = None if e.n in history.agenda.dismissed else _note("dismiss", experiment=e.n)
                return event, f"experiment {e.n} was not kept, and does not wait for you any more"
            later = len(history.line) - 1 - history.line.index(_rejectable(history, e).n)
            again = f"; {later} later keep{'s are' if later > 1 else ' is'} tried again without it" if later else ""
            event = None if e.n in history.agenda.rejected else _note(kind, experiment=e.n)
            return event, f"experiment {e.n} is taken out{again}"
    raise SetupError(f"this version does not know {kind!r}")


def recorded(request: Request) -> Event:
    """That somebody asked, by the request's number: after a kill it is not carried out twice."""
    return Event("requested", None, {**request.body, "what": request.kind, "request": request.id})


def _number(value: object) -> int:
    """What a request says where a number belongs: anybody may have written it."""
    if type(value) is not int:
        raise SetupError(f"{one_line(repr(value), 80)}: expected a number")
    return value


def _note(what: str, **details: Any) -> Event:
    return Event("note", None, {"what": what, **details})


def _experiment(history: History, n: int) -> Experiment:
    if not history.line:
        raise SetupError("the run has no baseline yet: go on with `autoresearch run` first")
    if not 0 < n < len(history.experiments):
        raise SetupError(f"experiment {n}: expected 1 to {len(history.experiments) - 1}; look at `autoresearch log`")
    return history.experiments[n]


def _is_under_way(history: History, e: Experiment) -> bool:
    return e.n in history.agenda.wanted or any(o.origin == e.n and not o.decided for o in history.experiments)


def _approve(history: History, asked: list[Experiment]) -> tuple[Event | None, str]:
    """Held experiments are tried again; what wins again is kept. Those that were, as after a kill, are left alone."""
    for e in asked:
        if not e.held:
            waiting = ", ".join(str(w.n) for w in history.waiting) or "none"
            why = f"is {e.verdict.kind.value} ({e.verdict.reason})" if e.verdict else "is under way"
            look = "look at `autoresearch status`"
            raise SetupError(f"experiment {e.n} {why}: expected one that waits for you ({waiting}); {look}")
        _revivable(history, e)
    found = [e for e in asked if _retried(history, e) is None]
    if not found:
        raise SetupError(_done(asked[0], _retried(history, asked[0])))
    new = [e.n for e in found if e.n not in history.agenda.approved]
    event = _note("approve", experiments=new, again=[e.n for e in found if e.n in new and not _is_under_way(history, e)])
    one = len(found) == 1
    which = f"experiment{'' if one else 's'} {', '.join(str(e.n) for e in found)} {'is' if one else 'are'}"
    return event if new else None, f"{which} tried again on the incumbent, and kept if better there"


def _retried(history: History, e: Experiment) -> Experiment | None:
    """The decided experiment that tried again what was approved."""
    if e.n not in history.agenda.approved or _is_under_way(history, e):
        return None
    return next((o for o in reversed(history.experiments) if o.origin == e.n), None)


def _done(e: Experiment, later: Experiment | None) -> str:
    assert later is not None
    assert later.verdict is not None
    became = f"experiment {later.n}: {later.verdict.kind.value} ({later.verdict.reason})"
    return f"experiment {e.n} was approved and tried again as {became}; to try it once more: autoresearch revive {e.n}"


def _revivable(history: History, e: Experiment) -> Experiment:
    if e.n in history.line:
        raise SetupError(f"experiment {e.n} is kept and in the result already: there is nothing to try again")
    if not e.decided:
        raise SetupError(f"experiment {e.n} is under way: wait for its verdict")
    refuse_quarantined(e)
    if not e.tree:
        words = f"{e.verdict.reason}: {e.verdict.words}" if e.verdict else e.stage
        raise SetupError(f"experiment {e.n} has no candidate that could be tried again ({words})")
    return e


def refuse_quarantined(e: Experiment) -> None:
    """What tampered stays out, whoever asks for it.

    Raises:
        SetupError: it did.
    """
    if e.quarantined and e.verdict is not None:
        raise SetupError(f"experiment {e.n} is quarantined ({e.verdict.words}): it is never tried again; look: show {e.n}")


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
