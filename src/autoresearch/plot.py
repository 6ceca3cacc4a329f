"""The progress picture, in the manner of Karpathy's: all experiments grey, kept ones coloured and named, the staircase.

Drawn in a child process (`autoresearch.cli.draw`), because matplotlib takes its time and memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from autoresearch.history import History
from autoresearch.report import counts, headline, show_counts

EVERY_S = 60.0
_KEPT, _OTHER, _LINE = "#2a9d5c", "#b8b8b8", "#1f6f43"


class Plotter:
    """Draws in a child process: at most once a minute, and at the end."""

    def __init__(self, ledger: Path, run: str, out: Path) -> None:
        self._argv = [sys.executable, "-P", "-m", "autoresearch.cli.draw", str(ledger), run, str(out)]
        self._child: subprocess.Popen[bytes] | None = None
        self._next = time.monotonic() + EVERY_S

    def maybe(self) -> None:
        """Start a drawing if the last one is a minute ago."""
        if time.monotonic() >= self._next and (self._child is None or self._child.poll() is not None):
            self._next = time.monotonic() + EVERY_S
            self._start()

    def _start(self) -> None:
        env = {**os.environ, "MPLBACKEND": "Agg"}
        quiet = subprocess.DEVNULL
        self._child = subprocess.Popen(self._argv, stdin=quiet, stdout=quiet, stderr=quiet, env=env)

    def finish(self, limit_s: float = 60.0) -> bool:
        """Draw once more and wait for it; whether it worked."""
        try:
            if self._child is not None:
                self._child.wait(limit_s)
            self._start()
            assert self._child is not None
            return self._child.wait(limit_s) == 0
        except (subprocess.TimeoutExpired, OSError):
            if self._child is not None:
                self._child.kill()
                self._child.wait()
            return False


def draw(history: History, out: Path) -> None:
    """Write the picture of a run as PNG (or whatever `out`'s suffix says)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    run = history.run
    assert run is not None
    figure, axes = pyplot.subplots(figsize=(12, 6), dpi=120)
    shown = [e for e in history.experiments if e.decided and e.value is not None]
    kept = [e for e in shown if e.kept and not e.rolled_back]
    other = [e for e in shown if not (e.kept and not e.rolled_back)]
    axes.scatter([e.n for e in other], [float(e.value or 0) for e in other], s=14, color=_OTHER, label="not kept", zorder=2)
    axes.scatter([e.n for e in kept], [float(e.value or 0) for e in kept], s=42, color=_KEPT, label="kept", zorder=4)
    last = max((e.n for e in history.experiments), default=0)
    _staircase(axes, history, last)
    for e in kept:
        name = e.description if len(e.description) <= 44 else e.description[:43] + "…"
        axes.annotate(name, (e.n, e.value), xytext=(5, 7), textcoords="offset points", rotation=28, fontsize=7, zorder=5)
    _frame(axes, history, [e.value for e in kept], [e.value for e in other])
    figure.tight_layout()
    partial = out.with_name(f".{out.name}.{os.getpid()}{out.suffix or '.png'}")
    figure.savefig(partial)
    os.replace(partial, out)
    pyplot.close(figure)


def _staircase(axes: Any, history: History, last: int) -> None:
    steps = [(n, history.experiments[k].value) for n, k in enumerate(history.incumbents)]
    if steps:
        steps.append((last, steps[-1][1]))
        axes.step([n for n, _ in steps], [v for _, v in steps], where="post", color=_LINE, lw=1.6, label="incumbent", zorder=3)


def _frame(axes: Any, history: History, kept: list[Any], other: list[Any]) -> None:
    """Titles, and limits that show the staircase: what is far worse than the baseline is cut off."""
    run = history.run
    assert run is not None
    better = "lower" if run.direction == "minimize" else "higher"
    unit = f" [{run.unit}]" if run.unit else ""
    axes.set(xlabel="experiment", ylabel=f"{run.metric}{unit} ({better} is better)")
    title = f"{run.task} {run.run} · {show_counts(counts(history.experiments))}"
    axes.set_title(f"{title}\n{headline(history)}" if history.line else title)
    if kept:
        span = max(abs(max(kept) - min(kept)), 0.02 * abs(kept[0]), 1e-12)
        low, high = min(kept) - 0.6 * span, max(kept) + 0.6 * span
        inside = [v for v in other if low - span <= v <= high + span]
        axes.set_ylim(min([low, *inside]), max([high, *inside]) + 0.25 * span)
    axes.grid(alpha=0.25)
    axes.legend(loc="best", fontsize=8)
