"""Where a run stands for whoever drives: the baseline, what goes on while a job is waited for, the result in a line."""

from __future__ import annotations

import statistics

from autoresearch.driving.figures import rounded, show
from autoresearch.fenced import line
from autoresearch.gains import pairs
from autoresearch.history import History
from autoresearch.records import Experiment
from autoresearch.report import headline, show_change
from autoresearch.sight import Sight, digits
from autoresearch.taskfile import Task
from autoresearch.taskfile.units import show_seconds
from autoresearch.text import counted

_HIGH = 8  # evaluations of a baseline under high noise


def baseline(history: History) -> str:
    """`baseline 0.9979 ± 0.0004 (3 evaluations of 5.4 min)`."""
    run, places = history.run, digits(history)
    e = Sight(history, max(0, history.decided)).baseline
    assert run is not None
    found = [m.values[run.metric] for m in e.own if m.ok]
    spread = rounded((max(found) - min(found)) / 2, None if places is None else places + 1) if len(set(found)) > 1 else 0.0
    shown = f"baseline {show(e.value, places)}" + (f" ± {spread:.2g}" if spread else "")
    each_s = statistics.fmean(m.duration_s for m in e.own) if e.own else 0.0
    return f"{shown} ({counted(len(e.own), 'evaluation')} of {show_seconds(each_s)})"


def progress(history: History, task: Task, job: int, *, probe: bool = False) -> str:
    """What goes on now, as far as the records tell."""
    if history.run is None or history.decided < 0:
        return _baseline_under_way(history, task)
    if probe:
        busy = any(e.stage != "asked" for e in history.experiments[history.decided + 1 :])
        when = f", as soon as what is measured now has ended{_each(history)}" if busy else ""
        return f"is tried out without a verdict{when}"
    offer = history.agenda.offers.get(job)
    if offer is None:
        return f"waits until the run takes it up{_each(history)}"
    if offer.experiment is None:
        earlier = sum(o.job < job for o in history.agenda.offered)
        under_way = sum(e.stage != "asked" for e in history.experiments[history.decided + 1 :])
        return f"waits for {counted(earlier + under_way, 'other')} before it{_each(history)}"
    return _of(history, history.experiments[offer.experiment])


def _of(history: History, e: Experiment) -> str:
    ahead = e.n - history.decided - 1
    made = [m for m in e.measurements[e.base :] if m.phase in ("first", "race")]
    if e.decided:
        return f"experiment {e.n} is decided"
    if ahead > 0 and made:
        return f"experiment {e.n} is measured once and waits for {counted(ahead, 'other')} before it{_each(history)}"
    if ahead > 0:
        return f"experiment {e.n}, {counted(ahead, 'other')} before it{_each(history)}"
    if not made:
        return f"experiment {e.n} is being measured{_each(history)}"
    if any(m.phase == "race" for m in made):
        raced = pairs(made, history)
        again = counted(len(raced), "pair") if raced else counted(len(made), "run")
        return f"experiment {e.n} is measured again beside the incumbent, {again} so far{_each(history)}"
    return f"experiment {e.n} is measured once; more follows before its verdict{_each(history)}"


def _each(history: History) -> str:
    """`; an evaluation takes about 5.4 min`."""
    known = history.experiments[history.line[-1]].own if history.line else ()
    return f"; an evaluation takes about {show_seconds(statistics.fmean(m.duration_s for m in known))}" if known else ""


def _baseline_under_way(history: History, task: Task) -> str:
    """The baseline comes first: how far it is, how many evaluations it gets, how long that takes."""
    made = [m for m in history.experiments[0].own if m.ok] if history.experiments else []
    each_s = statistics.fmean(m.duration_s for m in made) if made else None
    few, most = _expected(task)
    of = f"{few}, or up to {most} if they differ" if len(made) < few < most else f"up to {most}" if few < most else f"{most}"
    first = f"the baseline is measured first: {counted(len(made), 'evaluation')} made of {of}"
    return first if each_s is None else f"{first}; one takes about {show_seconds(each_s)}{_more(each_s, len(made), few, most)}"


def _more(each_s: float, made: int, few: int, most: int) -> str:
    """`, that is 60 s more, or up to 4.0 min`."""
    least_s, most_s = (few - made) * each_s, (most - made) * each_s
    if most_s <= 0:
        return ""
    if least_s <= 0:
        return f", that is up to {show_seconds(most_s)} more"
    return f", that is {show_seconds(least_s)} more" + (f", or up to {show_seconds(most_s)}" if few < most else "")


def _expected(task: Task) -> tuple[int, int]:
    """How many evaluations a baseline gets: at least, and at most."""
    kind, noise = task.acceptance.kind, task.metric.noise
    if kind in ("exact", "single") or noise == "none":
        return 1, 1
    return (_HIGH, _HIGH) if noise == "high" else (2, 5)


def result(history: History) -> str:
    """How many were kept, what that is worth as far as it may be seen, and where it is.

    A comparison on the held-out set is the owner's to look at.
    """
    run, kept = history.run, len(history.line) - 1
    assert run is not None
    if kept < 1:
        return "result: nothing beat the baseline, there is no gain; tell your user so"
    branch = f"autoresearch/{line(run.run, 80)}"
    where = f"branch {branch}; your user can look with autoresearch report and take it with git merge {branch}"
    return f"result: {counted(kept, 'experiment')} kept · {_worth(history)} · {where}"


def _worth(history: History) -> str:
    run, found = history.run, history.validated
    assert run is not None
    if found is not None and not found.held_out:
        return line(headline(history), 400)
    view = Sight(history, history.decided)
    change = show_change(view.incumbent.value, view.baseline.value)
    old, new = (show(e.value, digits(history, e.value)) for e in (view.baseline, view.incumbent))
    claim = f"{line(run.metric, 60)} {old} → {new}"
    shown = f"{claim} ({change})" if change else claim
    return f"{shown} as measured on the way, optimistic until autoresearch report has it validated"
