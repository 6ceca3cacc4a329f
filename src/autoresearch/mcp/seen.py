"""What whoever drives sees of a run: what any proposer does, through `Sight`. Texts of others are cleaned and fenced as data.

Nothing here has a measurement of the gate, of held-out data or of the final comparison, and of an experiment that tampered
there is no more than the verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoresearch.brief import Sources
from autoresearch.driving.case import Case, told
from autoresearch.driving.left import left
from autoresearch.driving.replies import remains
from autoresearch.fenced import clean, fence, line, tail
from autoresearch.history import History
from autoresearch.records import Experiment, Measurement
from autoresearch.report import counts, show_change, show_counts, show_number
from autoresearch.sight import UNSEEN, Sight
from autoresearch.taskfile import Task
from autoresearch.taskfile.units import show_seconds

Body = Mapping[str, Any]

LOG_LINES = 20
_LOGGED = ("baseline", "first", "race")


def standing(history: History, task: Task, owner: str) -> tuple[list[str], dict[str, Any]]:
    """How a run stands, in lines and as data.

    Args:
        owner: the process that works on it, `` for none.
    """
    assert history.run is not None
    run, found = history.run, counts(history.experiments)
    body = {name: getattr(run, name) for name in ("run", "task", "metric", "direction", "unit")}
    body |= {"edits": list(task.task.editable), "state": "running" if owner else run.status, **_values(history)}
    body |= {"counts": found, "evaluations": history.evaluations, "cost_usd": history.cost_usd, "tokens": history.tokens}
    body |= {"under_way": [{"experiment": e.n, "job": e.job} for e in history.experiments if not e.decided and e.n]}
    rest = left(history, task)
    body |= {"waiting": [offer.job for offer in history.agenda.offered], "over": rest.over, "left": dict(rest.body)}
    lines = [*_head(history, task, owner), f"so far {show_counts(found)}", *_under_way(body), *remains(history, task)]
    return lines, body | {"message": "\n".join(lines)}


def _values(history: History) -> dict[str, Any]:
    if not history.line:
        return {"baseline": None, "incumbent": None, "incumbent_experiment": None}
    view = Sight(history, history.decided)
    best = view.incumbent
    return {"baseline": view.baseline.value, "incumbent": best.value, "incumbent_experiment": best.n}


def _head(history: History, task: Task, owner: str) -> list[str]:
    assert history.run is not None
    run, values = history.run, _values(history)
    better = "lower" if run.direction == "minimize" else "higher"
    state = "its owner works" if owner else run.status + (f" ({run.stop_words})" if run.stop_words else "")
    first = f"run {run.run} of {line(run.task)}: {state} · edits {', '.join(task.task.editable)}"
    if values["incumbent"] is None:
        return [first, f"{run.metric}, {better} is better: the baseline is not measured yet"]
    unit = f" {run.unit}" if run.unit else ""
    change = show_change(values["incumbent"], values["baseline"])
    best = f"experiment {values['incumbent_experiment']}" if values["incumbent_experiment"] else "the baseline still"
    to_beat = f"to beat {show_number(values['incumbent'])} ({', '.join(filter(None, (best, change)))})"
    return [first, f"{run.metric}{unit}, {better} is better: baseline {show_number(values['baseline'])}, {to_beat}"]


def _under_way(body: Body) -> list[str]:
    open_ones = [f"experiment {e['experiment']}" + (f" (job {e['job']})" if e["job"] else "") for e in body["under_way"]]
    jobs = [f"job {job} (waits for its turn)" for job in body["waiting"]]
    return [f"under way: {', '.join([*open_ones, *jobs])}"] if open_ones or jobs else []


# -- the experiments -----------------------------------------------------------------------------------------------------


def attempts(history: History, last: int) -> tuple[list[str], dict[str, Any]]:
    """The last decided experiments, oldest first, a line each."""
    assert history.run is not None
    view = Sight(history, history.decided)
    decided = list(view)[-last:] if history.decided >= 0 else []
    rows = [row(e, view) for e in decided]
    body = {"run": history.run.run, "decided": history.decided + 1, "experiments": rows}
    if not rows:
        return [f"run {history.run.run} has no experiment yet: the baseline comes first"], body
    left_out = len(view) - len(rows)
    lead = f"run {history.run.run}, {history.run.metric}" + (f"; {left_out} earlier ones are left out" if left_out else "")
    return [f"{lead}:", fence("\n".join(map(_line, rows)))], body


def row(e: Experiment, view: Sight) -> dict[str, Any]:
    """A decided experiment as data, with by how much it was better than what it had to beat."""
    assert e.verdict is not None
    first = {"n": e.n, "parents": list(e.parents), "verdict": e.verdict.kind.value, "reason": e.verdict.reason}
    if e.quarantined:
        return first
    return first | {
        "value": e.value,
        "against": view.bar(e),
        "gain": view.gain(e),
        "description": line(e.description, 300) if e.n else "the baseline",
        "by": e.proposer,
        "job": e.job,
        "expected": e.expected,
        "lines": e.lines,
        "rolled_back": e.rolled_back,
        "lost": e.lost,
    }


def _line(found: Body) -> str:
    first = f"{found['n']}: {found['verdict']} ({found['reason']})"
    if "description" not in found:
        return first
    change = show_change(found["value"], found["against"])
    value = "" if found["value"] is None else f" {show_number(found['value'])}" + (f" ({change})" if change else "")
    taken = ", taken out again" if found["rolled_back"] else ", taken back: the set-up was broken" if found["lost"] else ""
    by = f" · {found['by']}" if found["by"] else ""
    return f"{first}{value}{taken}: {found['description'] or '(no description)'}{by}"


def experiment(history: History, n: int, task: Task, sources: Sources) -> tuple[list[str], dict[str, Any]]:
    """One experiment with its words, measurements, diff and the end of its log."""
    view = Sight(history, history.decided)
    e = view.of(n)
    if not e.decided:
        words = f"experiment {n} has no verdict yet ({e.stage})"
        return [words], {"n": n, "job": e.job, "verdict": None, "stage": e.stage}
    body = row(e, view)
    if e.quarantined:
        return [f"{_line(body)}: it tampered, and nothing else is told of it"], body
    body |= {"words": told(Case(history, e, task)), "hypothesis": line(e.hypothesis, 1000), "files": list(e.files)}
    body |= {"notes": [line(note, 500) for note in e.notes], "measurements": _measurements(e)}
    body |= {"diff": _diff(e, view, sources), "log": _log(e, sources)}
    return _shown(body, history), body


def _measurements(e: Experiment) -> list[dict[str, Any]]:
    return [_measurement(m) for m in e.measurements if m.phase not in UNSEEN]


def _measurement(m: Measurement) -> dict[str, Any]:
    made = {"phase": m.phase, "of": m.of, "outcome": m.outcome.value, "values": dict(m.values), "duration_s": m.duration_s}
    return made | ({} if m.ok else {"words": line(m.words, 500)})


def _diff(e: Experiment, view: Sight, sources: Sources) -> str:
    if not e.n or not e.tree:
        return ""
    return clean(sources.diffs([(view.of(e.stands_on).tree, e.tree)])[0]).rstrip()


def _log(e: Experiment, sources: Sources) -> str:
    names = [m.log for m in e.measurements if m.of == e.n and m.phase in _LOGGED and m.log]
    return tail(clean(sources.log(names[-1])).rstrip(), LOG_LINES) if names else ""


def _shown(body: Body, history: History) -> list[str]:
    assert history.run is not None
    because = f"because: {body['hypothesis']}" if body["hypothesis"] else ""
    parts = [part for part in (_line(body), because, body["words"], *body["notes"]) if part]
    parts += [_measured(m, history.run.metric) for m in body["measurements"]]
    blocks: Sequence[tuple[str, str]] = (("", "\n".join(parts)), ("diff:", body["diff"]), ("end of its log:", body["log"]))
    return [row for lead, text in blocks if text for row in (*([lead] if lead else []), fence(text))]


def _measured(m: Body, metric: str) -> str:
    value = show_number(m["values"][metric]) if metric in m["values"] else f"{m['outcome']}: {m.get('words', '')}"
    more = ", ".join(f"{name} {show_number(v)}" for name, v in m["values"].items() if name != metric)
    return f"{m['phase']} (experiment {m['of']}): {value}{f', {more}' if more else ''} · {show_seconds(m['duration_s'])}"
