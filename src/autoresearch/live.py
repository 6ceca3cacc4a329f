"""`optimize` while it runs: a display that updates in place in a notebook, one line in a terminal, else nothing.

IPython is used where it is already running, and never imported otherwise.
"""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from autoresearch.history import History
from autoresearch.records import ChainedEvent, Kind

_PAUSE_S = 0.25
_POINTS = 120
_ROWS = 5
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Row:
    """A decided experiment, as far as it is shown."""

    n: int
    value: float | None
    verdict: str
    incumbent: float | None


class Screen(Protocol):
    """Where it is shown."""

    def put(self, rows: list[Row], ended: str) -> None: ...


class Live:
    """Collects decisions from the loop's thread, and shows them from the caller's, at most four times a second."""

    def __init__(self, screen: Screen | None) -> None:
        self._screen = screen
        self._rows: list[Row] = []
        self._shown, self._at = -1, 0.0

    def begin(self, history: History) -> None:
        """What an earlier call of `optimize` left in the store."""
        for e in history.experiments:
            if e.verdict is not None:
                self.take(e.n, e.value, e.verdict.kind.value)

    def saw(self, what: str, details: Mapping[str, Any]) -> None:
        event = details.get("event")
        if isinstance(event, ChainedEvent) and event.kind == "decided" and event.n is not None:
            self.take(event.n, event.body.get("value"), event.body["verdict"])

    def take(self, n: int, value: float | None, verdict: str) -> None:
        """One more decision."""
        incumbent = self._rows[-1].incumbent if self._rows else None
        self._rows.append(Row(n, value, verdict, value if verdict == Kind.KEEP else incumbent))

    def tick(self) -> None:
        """Show what is new, if it is time."""
        now = time.monotonic()
        if self._screen is not None and len(self._rows) != self._shown and now - self._at >= _PAUSE_S:
            self._put("")
            self._at = now

    def end(self, words: str) -> None:
        if self._screen is not None and self._rows:
            self._put(words or "ended")

    def _put(self, ended: str) -> None:
        rows = list(self._rows)
        self._shown = len(rows)
        if self._screen is not None:
            self._screen.put(rows, ended)


def screen(show: bool | None) -> Screen | None:
    """The place to show it: None is decided by where this runs, True shows it in any case, False never."""
    if show is False:
        return None
    if (shell := _notebook()) is not None:
        return Notebook(shell)
    return Line(sys.stderr) if sys.stderr.isatty() else Log() if show else None


def _notebook() -> Any:
    """The IPython that runs this in a kernel, None elsewhere; without importing anything."""
    module = sys.modules.get("IPython")
    get = getattr(module, "get_ipython", None)
    shell = get() if get is not None else None
    return module if getattr(shell, "kernel", None) is not None else None


# -- places ------------------------------------------------------------------------------------------------------------


class Notebook:
    """One display of a notebook's cell, changed in place."""

    def __init__(self, ipython: Any) -> None:
        self._display = ipython.display.display
        self._handle: Any = None

    def put(self, rows: list[Row], ended: str) -> None:
        body = {"text/plain": line(rows, ended), "text/html": _html(rows, ended)}
        if self._handle is None:
            self._handle = self._display(body, raw=True, display_id=True)
        else:
            self._handle.update(body, raw=True)


class Line:
    """One line of a terminal, written over itself."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def put(self, rows: list[Row], ended: str) -> None:
        self._stream.write(f"\r\x1b[K{line(rows, ended)[:200]}" + ("\n" if ended else ""))
        self._stream.flush()


class Log:
    """Lines for where nothing can be written over: each new incumbent, and the end."""

    def __init__(self) -> None:
        self._shown: float | None = None

    def put(self, rows: list[Row], ended: str) -> None:
        if rows[-1].incumbent != self._shown or ended:
            self._shown = rows[-1].incumbent
            sys.stderr.write(line(rows, ended) + "\n")
            sys.stderr.flush()


# -- what is shown -----------------------------------------------------------------------------------------------------


def line(rows: list[Row], ended: str) -> str:
    """`12 experiments · incumbent 0.9312 (2 kept) · ▁▂▄█`."""
    kept = sum(row.verdict == Kind.KEEP for row in rows[1:])
    words = [f"{rows[-1].n} experiments", f"incumbent {_number(rows[-1].incumbent)} ({kept} kept)"]
    return " · ".join([*words, sparkline([row.incumbent for row in rows], 24), *([ended] if ended else [])])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.6g}"


def _points(values: list[float | None], most: int) -> list[float]:
    known = [v for v in values if v is not None]
    step = max(1, -(-len(known) // most))
    return known[: len(known) - 1 : step] + known[-1:]


def sparkline(values: list[float | None], width: int) -> str:
    """The course of a number in a few block characters, highest on top."""
    points = _points(values, width)
    low, high = min(points, default=0.0), max(points, default=0.0)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((p - low) * scale)] for p in points)


def _html(rows: list[Row], ended: str) -> str:
    words = line(rows, "").rsplit(" · ", 1)[0]
    table = "".join(
        f"<tr><td>{row.n}</td><td>{_number(row.value)}</td><td>{html.escape(row.verdict)}</td></tr>" for row in rows[-_ROWS:]
    )
    return (
        f"<div><b>{html.escape(words)}</b>"
        f"{' · ' + html.escape(ended) if ended else ''}{_curve([row.incumbent for row in rows])}"
        f"<table><tr><th>n</th><th>score</th><th>verdict</th></tr>{table}</table></div>"
    )


def _curve(values: list[float | None]) -> str:
    points = _points(values, _POINTS)
    low, high = min(points, default=0.0), max(points, default=0.0)
    across = 300 / max(1, len(points) - 1)
    at = " ".join(f"{i * across:.1f},{(high - p) / ((high - low) or 1.0) * 36 + 2:.1f}" for i, p in enumerate(points))
    return (
        '<svg width="304" height="40" style="display:block">'
        f'<polyline points="{at}" fill="none" stroke="currentColor" stroke-width="1.5"/></svg>'
    )
