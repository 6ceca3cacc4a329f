"""What a run shows while it works: a live view in a terminal, a line an experiment elsewhere, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from autoresearch.budget import wall_of
from autoresearch.forecast import Forecast
from autoresearch.history import History
from autoresearch.records import TUNE, ChainedEvent, Experiment
from autoresearch.report import (
    counts,
    experiment_row,
    foreseen_words,
    show_change,
    show_counts,
    show_number,
    shown_value,
    summary,
)
from autoresearch.taskfile import Task
from autoresearch.taskfile.units import show_seconds
from autoresearch.text import counted, show_clock, show_usd

_MARKS = {"keep": "keep", "discard": "discard", "crash": "crash", "timeout": "timeout", "invalid": "invalid"}


class View(Protocol):
    """Shows a session; `facts` are for programs: who pays, up to which walls, the forecast."""

    def begin(self, lines: Sequence[str], facts: Mapping[str, Any]) -> None: ...
    def saw(self, what: str, details: Mapping[str, Any]) -> None: ...
    def end(self, lines: Sequence[str], code: int) -> None: ...


def first_lines(
    task: Task,
    history: History,
    *,
    is_new: bool,
    notices: Sequence[str],
    paying: Sequence[str] = (),
    session: Sequence[str] = (),
) -> list[str]:
    """What a run says before it starts, as far as it is known then.

    Args:
        paying: who pays for which model, and what it will cost; `session` are the walls of this session.
    """
    run = history.run
    assert run is not None
    better = "lower" if run.direction == "minimize" else "higher"
    budget = task.budget
    walls = [counted(budget.experiments, "experiment")] if budget.experiments else []
    walls += [show_seconds(budget.time)] if budget.time else []
    walls += [counted(budget.evaluations, "evaluation")] if budget.evaluations else []
    walls += [show_usd(budget.cost_usd)] if budget.cost_usd else []
    walls += [f"{budget.tokens} tokens"] if budget.tokens else []
    here = f" (this session: {', '.join(session)})" if session else ""
    lines = [
        f"run {run.run} ({'new' if is_new else 'goes on'}) of {run.task} · edits {', '.join(task.task.editable)} · "
        f"{run.metric}, {better} is better",
        f"budget: {', '.join(walls) or 'none'}{here} · proposer: {_mix(task)} · seed {run.seed} · python: {run.python}",
        *paying,
        f"your checkout stays as it is · result: branch autoresearch/{run.run} · stop: Ctrl-C (goes on later)",
    ]
    return [*lines, *notices]


def _mix(task: Task) -> str:
    """`knobs`, or `claude 80 %, knobs 20 %`."""
    whole = sum(table.share for table in task.proposer)
    if len(task.proposer) == 1:
        return task.proposer[0].kind
    return ", ".join(f"{table.kind} {100 * table.share / whole:.0f} %" for table in task.proposer)


def waiting_line(details: Mapping[str, Any]) -> str:
    """`waiting until 03:12: rate limit of claude (resets 03:10)`; of what is tried again soon for how long."""
    until = details.get("until")
    when = show_seconds(details["seconds"]) if until is None else f"until {show_clock(until, time.time())}"
    return f"waiting {when}: {details['words']}"


def baseline_line(history: History) -> str:
    """`baseline 0.9979 ± 0.0004 (3 evaluations of 5.4 min) · sd 0.0002 …`."""
    e = history.experiments[0]
    assert history.run is not None
    assert e.verdict is not None
    found = [m.values[history.run.metric] for m in e.own if m.ok]
    spread = f" ± {(max(found) - min(found)) / 2:.2g}" if len(set(found)) > 1 else ""
    durations = [m.duration_s for m in e.own]
    of = show_seconds(sum(durations) / len(durations))
    times = f"{len(found)} evaluation{'s' if len(found) > 1 else ''} of {of}"
    return f"baseline {show_number(e.value)}{spread} ({times}) · {e.verdict.words}"


def experiment_line(e: Experiment, history: History) -> str:
    """One decided experiment: number, verdict, value, change against the baseline, description, reason."""
    assert e.verdict is not None
    base = history.experiments[0].value
    kind = _MARKS[e.verdict.kind.value]
    again = f" (experiment {e.origin} again)" if e.origin is not None else ""
    change = show_change(e.value, base) if e.n else ""
    spent = f" · {show_seconds(sum(m.duration_s for m in e.measurements))}" if e.measurements else ""
    failed = e.verdict.kind.value not in ("keep", "discard")
    why = f" ({e.verdict.reason}: {e.verdict.words})" if failed else f" ({e.verdict.reason})"
    foreseen = f" · {words}" if (words := foreseen_words(e, history)) else ""
    return f"{e.n:>5} {kind:<8} {show_number(e.value):>10} {change:>10}  {e.description}{again}{why}{foreseen}{spent}"


PER_CENT = " · per cent below are against it"


def again_line(event: ChainedEvent, history: History) -> str:
    """An evaluation of what is decided already: before going on, now and then, or in the final comparison."""
    assert history.run is not None
    body = event.body
    if body["phase"] not in ("refresh", "final", "between"):
        return ""
    value = show_number(body["values"].get(history.run.metric)) if body["outcome"] == "ok" else body["outcome"]
    what = f"experiment {body['of']}" if body["of"] else "baseline"
    final = "final on held-out" if history.agenda.held_out else "final"
    phase = final if body["phase"] == "final" else "measured again"
    return f"{phase}: {what} {value} · {show_seconds(body['duration_s'])}"


def bar_line(body: Mapping[str, Any]) -> str:
    """What has to be beaten from here on."""
    what = f"experiment {body['experiment']}" if body["experiment"] else "the baseline"
    change = "is the same here and now" if body["value"] == body["before"] else f"was {show_number(body['before'])}"
    return f"to beat: {what} with {show_number(body['value'])} ({change})"


def besides(what: str, details: Mapping[str, Any], history: History) -> str:
    """A line about what happened besides experiments, `` for what need not be said."""
    if what in ("mended", "trust"):
        return str(details["words"])
    if what == "ready":
        return f"{details['proposer']} answers: {details['words']}"
    if what == "instead":
        return f"{details['words']}: {details['fallback']} proposes until {show_clock(details['until'], time.time())}"
    if what not in ("measured", "rolled_back", "note"):
        return ""
    event = details["event"]
    if what == "measured":
        return again_line(event, history)
    if what == "rolled_back":
        return f"rolled back to experiment {event.body['to']}: {event.body['words']}"
    match event.body.get("what"):
        case "refreshed":
            return bar_line(event.body)
        case "remeasured":
            return baseline_line(history) + PER_CENT
        case "branch" | "prospect" | "drift" | "checkpoint":
            return str(event.body["words"])
        case "back":
            return f"{event.body['proposer']} can be had again"
        case "unfit":
            return f"{event.body['proposer']} has nothing to propose meanwhile: {event.body['words']}"
        case "exhausted" if event.body["operation"] != TUNE:
            return f"{event.body['proposer']} has nothing left to propose on what stands now: {event.body['words']}"
    return ""


def decided(details: Mapping[str, Any], history: History) -> Experiment | None:
    """The experiment that an event decided, if it did; a keep counts when it is on the branch."""
    event = details.get("event")
    if isinstance(event, ChainedEvent) and event.n is not None:
        e = history.experiments[event.n]
        if event.kind == "decided" and (not e.kept or not e.n):
            return e
        if event.kind == "advanced":
            return e
    return None


class Lines:
    """One line an experiment."""

    def __init__(self, history: History) -> None:
        self._history = history

    def begin(self, lines: Sequence[str], facts: Mapping[str, Any]) -> None:
        self._print(*lines)
        if self._history.decided >= 0:
            self._print(baseline_line(self._history) + PER_CENT)

    def saw(self, what: str, details: Mapping[str, Any]) -> None:
        e = decided(details, self._history)
        if e is not None:
            self._print(baseline_line(self._history) + PER_CENT if e.n == 0 else experiment_line(e, self._history))
        elif what == "waiting":
            self._print(waiting_line(details))
        elif line := besides(what, details, self._history):
            self._print(line)

    def end(self, lines: Sequence[str], code: int) -> None:
        self._print(*lines)

    def _print(self, *lines: str) -> None:
        for line in lines:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()


class JsonLines:
    """One JSON object a line; `docs/json.md` describes them."""

    def __init__(self, history: History) -> None:
        self._history = history

    def begin(self, lines: Sequence[str], facts: Mapping[str, Any]) -> None:
        self._put("run", {**summary(self._history), **facts, "lines": list(lines)})

    def saw(self, what: str, details: Mapping[str, Any]) -> None:
        e = decided(details, self._history)
        if e is not None:
            self._put("experiment", experiment_row(e, self._history))
        elif what == "trust":
            self._put("trust", asdict(details["trust"]))
        elif what == "waiting":
            self._put("waiting", {key: details.get(key) for key in ("seconds", "until", "words")})
        elif what == "instead":
            self._put("instead", {key: details[key] for key in ("proposer", "fallback", "until", "words")})
        elif what == "ready":
            self._put("ready", {key: details[key] for key in ("proposer", "words")})
        elif what == "rolled_back":
            self._put("rolled_back", dict(details["event"].body))
        elif what == "note" and details["event"].body.get("what") == "refreshed":
            body = details["event"].body
            self._put("refreshed", {key: body[key] for key in ("experiment", "value", "before", "why")})

    def end(self, lines: Sequence[str], code: int) -> None:
        self._put("end", {**summary(self._history), "exit_code": code, "lines": list(lines)})

    def _put(self, kind: str, body: Mapping[str, Any]) -> None:
        run = self._history.run
        row = {"type": kind, "run": run.run if run else "", "at": time.time(), **body}
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
        sys.stdout.flush()


class Live:
    """The live view of a terminal, redrawn four times a second."""

    _LAST = 10

    def __init__(
        self,
        task: Task,
        history: History,
        left_s: Any,
        forecast: Callable[[History, float], Forecast | None] = lambda history, worked_s: None,
    ) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        self._task, self._history, self._left_s, self._forecast = task, history, left_s, forecast
        self._began = time.monotonic()
        self._running: dict[tuple[str, int], tuple[str, float]] = {}
        self._waiting: dict[float, str] = {}  # by the clock's time until when
        self._lines: Sequence[str] = ()
        self._console = Console()
        self._live = RichLive(console=self._console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def begin(self, lines: Sequence[str], facts: Mapping[str, Any]) -> None:
        for line in lines:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
        self._live.start()

    def saw(self, what: str, details: Mapping[str, Any]) -> None:
        if what == "waiting":
            self._waiting[details.get("until") or time.time() + details["seconds"]] = waiting_line(details)
        n, slot = details.get("n"), details.get("slot", 0)
        if line := besides(what, details, self._history):
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
        if what == "evaluating":
            self._running["evaluation", slot] = (f"experiment {n}: {details['label']}", time.monotonic())
        elif what == "evaluated":
            self._running.pop(("evaluation", slot), None)
        elif what == "proposing":
            self._running["proposal", slot] = (f"experiment {n}: {details['proposer']} proposes", time.monotonic())
        elif what == "said" and ("proposal", slot) in self._running:
            began = self._running["proposal", slot][1]
            self._running["proposal", slot] = (f"experiment {n}: {details['words']}", began)
        elif what == "put_off":
            self._running.pop(("proposal", slot), None)
        elif what == "proposed":
            self._running = {
                k: v for k, v in self._running.items() if not (k[0] == "proposal" and v[0].startswith(f"experiment {n}:"))
            }

    def end(self, lines: Sequence[str], code: int) -> None:
        self._live.stop()
        self._console.print(self._table())
        for line in lines:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _render(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        history = self._history
        rows: list[Any] = []
        if history.decided >= 0:
            best, base = history.incumbent, history.experiments[0].value
            assert history.run is not None
            value = shown_value(history)
            gain = show_change(value, base) or "±0"
            head = f"{history.run.metric} {show_number(value)}  {gain} against the baseline"
            rows.append(Text(head + (f"  (experiment {best.n})" if best.n else ""), style="bold green" if best.n else "bold"))
        rows += [self._bars(), self._table()]
        now = time.monotonic()
        rows += [Text(f"▸ {words} · {show_seconds(max(1.0, now - at))}", style="cyan") for words, at in self._running.values()]
        self._waiting = {until: words for until, words in self._waiting.items() if until > time.time()}
        rows += [Text(words, style="yellow") for words in self._waiting.values()]
        return Group(*rows)

    def _bars(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        grid = Table.grid(padding=(0, 1))
        for name, used, limit in self._used():
            bar = ProgressBar(total=limit, completed=min(used, limit), width=40)
            grid.add_row(name, bar, f"{used:g} of {limit:g}{self._in_the_end(name)}")
        found = counts(self._history.experiments)
        total = sum(found.values()) - found["open"]
        rate = f" · keep rate {found['keep'] / total:.0%}" if total else ""
        left = self._left_s()
        clock = f" · {show_seconds(left)} left" if left not in (None, float("inf")) else ""
        grid.add_row("", show_counts(found) + rate + clock, "")
        return grid

    def _in_the_end(self, name: str) -> str:
        """What it will have come to, behind the bars of what is paid."""
        if name not in ("USD", "tokens"):
            return ""
        history = self._history
        found = self._forecast(history, time.monotonic() - self._began)
        if found is None or found.experiments is None or (name == "USD" and found.cost_usd is None):
            return ""
        total = history.tokens + found.tokens if name == "tokens" else round(history.cost_usd + (found.cost_usd or 0.0), 2)
        return f", {'about' if found.proposals else 'at a guess'} {total:g} in the end"

    def _used(self) -> list[tuple[str, float, float]]:
        budget, history = self._task.budget, self._history
        rows: list[tuple[str, float, float]] = []
        if budget.experiments:
            rows.append(("experiments", max(0, len(history.incumbents) - 1), budget.experiments))
        if budget.evaluations:
            rows.append(("evaluations", history.evaluations, budget.evaluations))
        if budget.time and history.run is not None:
            worked = history.run.worked_s + time.monotonic() - self._began
            rows.append(("minutes", round(worked / 60, 1), round(budget.time / 60, 1)))
        wall = wall_of(self._task, history)
        if wall.cost_usd:
            rows.append(("USD", round(history.cost_usd, 2), wall.cost_usd))
        if wall.tokens:
            rows.append(("tokens", history.tokens, wall.tokens))
        return rows

    def _table(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 1), header_style="dim")
        for name, justify in (
            ("#", "right"),
            ("verdict", "left"),
            ("value", "right"),
            ("baseline", "right"),
            ("change", "left"),
        ):
            table.add_column(name, justify=justify, overflow="ellipsis", no_wrap=name != "change")  # type: ignore[arg-type]
        colours = {"keep": "green", "discard": "white", "crash": "red", "timeout": "red", "invalid": "magenta"}
        decided_ = [e for e in self._history.experiments[-self._LAST - 20 :] if e.decided][-self._LAST :]
        base = self._history.experiments[0].value if self._history.experiments else None
        for e in decided_:
            assert e.verdict is not None
            kind = e.verdict.kind.value
            words = f"{kind} ({e.verdict.reason})"
            change = show_change(e.value, base) if e.n else ""
            table.add_row(str(e.n), words, show_number(e.value), change, Text(e.description), style=colours[kind])
        return table
