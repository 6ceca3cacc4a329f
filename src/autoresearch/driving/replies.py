"""What whoever drives is told: lines to read, and the same as JSON. Reads records only.

A run is seen as a proposer may see it: values rounded as far as the noise lets, and no number of a private set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoresearch.brief.attempts import Tried, near
from autoresearch.brief.sources import Nothing
from autoresearch.driving import advice
from autoresearch.driving import case as cases
from autoresearch.driving.case import Case, Where
from autoresearch.driving.figures import Figures, figures, rounded, show
from autoresearch.driving.left import OVER, WALLS, Left, left
from autoresearch.driving.standing import baseline, progress, result
from autoresearch.fenced import clean, line
from autoresearch.history import History
from autoresearch.records import Experiment
from autoresearch.report import show_change
from autoresearch.sight import Sight, digits
from autoresearch.taskfile import Task

__all__ = ["Reply", "Where", "decided", "remains", "running", "tried_out", "without_verdict"]

NEAR = 3
"""Near misses that are told."""
NOTES = 3
OUTPUT = 20
"""Lines of a probe's output that are told."""
_KEYS = (
    *("experiment", "verdict", "reason", "words", "value", "incumbent", "incumbent_experiment", "change", "change_relative"),
    *("interval", "pairs", "expected", "next", "passed", "output"),
)
JUDGE = "measured and decided by the harness"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes:
        lines: a few, to be read by a model or a person.
        body: the same for programs; `state` is decided, tried_out, running, over, stopped or failed.
        code: the exit code of a command that answers this.
    """

    lines: tuple[str, ...]
    body: Mapping[str, Any]
    code: int = 0


def decided(history: History, n: int, task: Task, *, job: int, where: Where | None = None) -> Reply:
    """The verdict on experiment n, which came by a request."""
    view = Sight(history, history.decided)
    e, found, rest = view.of(n), figures(history, n), left(history, task)
    close = _near(view, history)
    case = Case(history, e, task, where, found, near=any(k.n == n for k in close))
    misses = [] if e.kept else [k for k in close if k.n != n][:NEAR]
    steps = [OVER] if rest.over else list(advice.following(case))
    lines = [*([baseline(history)] if n == 1 else []), _headline(case), cases.files(case)]
    lines += _notes(case)
    lines += [f"near miss, no gain: {_miss(k, view, history)}" for k in misses]
    lines += [result(history)] if rest.over else [f"next: {'; '.join(steps)}"]
    lines.append(f"{rest.words} · {JUDGE}")
    body = _body("decided", history, job, rest) | _verdict(case) | _numbers(case, found)
    body |= {"near_misses": [_miss_body(k, view, history) for k in misses], "next": "; ".join(steps)}
    body |= {
        "undo": list(cases.undoing(case)),
        "notes": [*e.notes, *(where.notes if where else ())] if not e.quarantined else [],
    }
    return _reply(lines, body)


def running(history: History, task: Task, *, job: int, probe: bool = False) -> Reply:
    """There is no verdict yet: what is done now, and when to ask again.

    Args:
        probe: the job is one, and gets no verdict.
    """
    ask = f"ask again: autoresearch wait {job} --max 45s"
    lines = [f"job {job}: {progress(history, task, job, probe=probe)}", ask]
    body = _body("running", history, job, left(history, task)) | {"experiment": _experiment(history, job), "next": ask}
    return _reply(lines, body)


def without_verdict(history: History | None, task: Task, *, job: int, answer: Mapping[str, Any]) -> Reply:
    """A request that came to no verdict: the budget is spent (`answer["over"]`), the run was stopped (`answer["stopped"]`),
    or the set-up is broken; `answer["words"]` says why."""
    words = line(str(answer.get("words") or "no reason was given"), 500)
    rest = Left() if history is None else left(history, task)
    if answer.get("over"):
        told = [] if history is None or history.run is None else [result(history)]
        why = f"the budget is spent ({words})" if answer.get("reason", "experiments") in WALLS else words
        lines = [f"job {job}: not tried: {why}; {OVER}", *told]
        return _reply(lines, _body("over", history, job, rest) | {"words": words, "over": True, "next": OVER}, 3)
    if answer.get("stopped"):
        step = f"it stays open and is done when the run goes on; then: autoresearch wait {job} --max 45s"
        lines = [f"job {job}: no verdict yet: the run was stopped ({words})", f"next: {step}"]
        return _reply(lines, _body("stopped", history, job, rest) | {"words": words, "next": step}, 1)
    step = f"{_mended(history)}; nothing was measured or recorded for it"
    lines = [f"job {job}: cannot be tried: {words}", f"next: {step}"]
    return _reply(lines, _body("failed", history, job, rest) | {"words": words, "next": step}, 2)


def _mended(history: History | None) -> str:
    """What has to be done before anything can be tried."""
    if history is None or history.run is None or history.line:
        return "mend that, or tell your user, and ask again"
    new = "where a file in git had to be changed for that, commit it and use autoresearch try --new"
    return f"tell your user (autoresearch check says more), and ask again once it is mended; {new}"


def tried_out(answer: Mapping[str, Any], *, job: int) -> Reply:
    """What came of a probe: `passed` (None where it could not be tried), `words`, `output`."""
    passed, words = answer.get("passed"), line(str(answer.get("words") or ""), 500)
    output = [row for text in str(answer.get("output") or "").split("\n") if (row := line(text, 300))]
    outcome = "could not be tried" if passed is None else "passed" if passed else "failed"
    step = "mend it and probe again" if passed is False else 'autoresearch try -m "…" asks for a verdict'
    lines = [f"probe: {outcome}{f': {words}' if words else ''}", *(f"| {row}" for row in output[-OUTPUT:])]
    lines.append(f"next: {step} · a probe is no verdict, and no number of it counts")
    body = _body("tried_out", None, job, Left()) | {"passed": passed, "words": words, "next": step}
    body |= {"output": clean(str(answer.get("output") or ""))}
    return _reply(lines, body, 2 if passed is None else 0 if passed else 1)


def remains(history: History, task: Task) -> Sequence[str]:
    """What is left of the budget, in a line or two; that it is over, where it is."""
    rest = left(history, task)
    told = [f"{rest.words} · {JUDGE}"]
    return [*told, result(history)] if rest.over and history.run is not None else told


def _reply(lines: Sequence[str], body: Mapping[str, Any], code: int = 0) -> Reply:
    told = tuple(row for text in lines if (row := line(text, 2000)))
    return Reply(told, {**body, "message": "\n".join(told)}, code)


def _headline(case: Case) -> str:
    e = case.e
    again = f", experiment {e.origin} again" if e.origin is not None else ""
    parts = [f"experiment {e.n}{again}: {cases.outcome(e)}", cases.told(case)]
    parts += [] if case.figures is None or e.quarantined else [case.figures.words]
    return " · ".join(part for part in [*parts, _expected(case)] if part)


def _expected(case: Case) -> str:
    """`expected −1 %, came +0.44 %: the other way`: what the proposer expected beside what was measured."""
    expected, found = case.e.expected, case.figures
    if not expected or case.e.quarantined:
        return ""
    words = f"expected {100 * expected:+.3g} %"
    if found is not None and (made := found.relative) is not None:
        words += f", came {found.change_words}: {_went(made / expected)}"
    return words.replace("-", "−")


def _went(share: float) -> str:
    """How a measured effect compares with the one that was expected, whose share it is."""
    if share >= 1:
        return "as expected"
    return "less than expected" if share > 0 else "not that way" if share < 0 else "no difference"


def _notes(case: Case) -> list[str]:
    notes = [] if case.e.quarantined else [*case.e.notes, *(case.where.notes if case.where else ())]
    more = [f"{len(notes) - NOTES} more notes"] if len(notes) > NOTES else []
    return [f"note: {line(text, 300)}" for text in [*notes[:NOTES], *more]]


def _near(view: Sight, history: History) -> list[Experiment]:
    """Near misses, the closest first, as a brief tells them; without changes of what was not the incumbent any more.

    Those lost by little to what they were made from, and by how much to what they had to beat is another matter.
    """
    run = view.run
    items = near(Tried.of(view, run.metric, run.direction), Nothing()).items
    found = [view.of(item.n) for item in items if item.n is not None]
    return [e for e in found if history.bar_of(e) == history.incumbents[e.n - 1]]


def _miss(e: Experiment, view: Sight, history: History) -> str:
    bar = view.bar(e)
    change = show_change(e.value, rounded(bar, digits(history, bar)))
    shown = f"{line(view.run.metric, 60)} {show(e.value, digits(history, e.value))}"
    value = shown if e.value is not None else cases.outcome(e)
    told = f' "{line(e.description, 120)}"' if line(e.description, 120) else ""
    return f"experiment {e.n}{told}, {value}{f' ({change})' if change else ''}"


def _miss_body(e: Experiment, view: Sight, history: History) -> Mapping[str, Any]:
    bar = rounded(raw := view.bar(e), digits(history, raw))
    relative = round((e.value - bar) / abs(bar), 9) if bar and e.value is not None else None
    return {"experiment": e.n, "description": line(e.description, 300), "value": e.value, "change_relative": relative}


def _experiment(history: History, job: int) -> int | None:
    offer = history.agenda.offers.get(job)
    return offer.experiment if offer is not None else None


def _body(state: str, history: History | None, job: int, rest: Left) -> dict[str, Any]:
    run = history.run if history is not None else None
    first: dict[str, Any] = dict.fromkeys(_KEYS) | {"job": job, "state": state, "run": run.run if run else None}
    first |= {
        "near_misses": [],
        "undo": [],
        "notes": [],
        "kept": False,
        "tree": None,
        "metric": run.metric if run else None,
        "unit": run.unit if run else None,
    }
    return first | {"direction": run.direction if run else None, "remains": rest.body, "over": rest.over}


def _verdict(case: Case) -> dict[str, Any]:
    e = case.e
    assert e.verdict is not None
    found = {"experiment": e.n, "verdict": e.verdict.kind.value, "reason": e.verdict.reason, "kept": case.stands}
    return found | {"words": cases.told(case) or case.words, "expected": e.expected, "incumbent_experiment": case.best}


def _numbers(case: Case, found: Figures | None) -> dict[str, Any]:
    if found is None or case.e.quarantined:
        return dict.fromkeys(("value", "incumbent", "change", "change_relative", "interval", "pairs"))
    ends = None if found.low is None else {"low": found.low, "high": found.high, "level": 0.9}
    numbers = {"value": found.value, "incumbent": found.bar, "change": found.change, "change_relative": found.relative}
    return numbers | {"interval": ends, "pairs": found.pairs}
