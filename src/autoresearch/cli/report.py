"""`autoresearch report`: what a run came to, who proposed what, and what it teaches."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from autoresearch.cli.view import baseline_line
from autoresearch.errors import SetupError
from autoresearch.history import History
from autoresearch.lessons import lessons
from autoresearch.project import Project
from autoresearch.proposals import Share, by_mutation, by_proposer
from autoresearch.report import experiment_row, show_counts, spent, standing_lines, summary
from autoresearch.sight import Sight
from autoresearch.text import one_line, show_usd


def show_report(folder: Path, name: str | None, *, as_json: bool) -> None:
    """Print the report of a run.

    Raises:
        SetupError: it has no baseline yet.
    """
    project = Project.find(folder)
    ledger = project.ledger(read_only=True)
    history = ledger.history(project.pick(ledger, name).run)
    ledger.close()
    if not history.line:
        assert history.run is not None
        raise SetupError(f"run {history.run.run} has no baseline yet: go on with `autoresearch run {history.run.run}` first")
    if as_json:
        keeps = [experiment_row(history.experiments[n], history) for n in history.line[1:]]
        sys.stdout.write(
            json.dumps({**summary(history), "keeps": keeps, "lessons": _lessons(history)}, ensure_ascii=False) + "\n"
        )
    else:
        sys.stdout.writelines(f"{line}\n" for line in _lines(history))


def _lessons(history: History) -> list[str]:
    """As proposers are told them, too."""
    assert history.run is not None
    return lessons(Sight(history, history.decided), history.run.metric, history.run.direction)


def _lines(history: History) -> list[str]:
    run = history.run
    assert run is not None
    lines = [f"# run {run.run} of {run.task}", "", baseline_line(history), *standing_lines(history)]
    lines.append(show_counts(summary(history)["counts"]) + spent(history))
    lines += ["", "## kept", "", *(_kept_line(history, n) for n in history.line[1:])] if len(history.line) > 1 else []
    lines += _table("by proposer", by_proposer(history))
    lines += _table("by kind of change", by_mutation(history))
    found = _lessons(history)
    return [*lines, *(["", "## what it teaches", "", *(f"- {words}" for words in found)] if found else [])]


def _kept_line(history: History, n: int) -> str:
    row = experiment_row(history.experiments[n], history)
    gain = "" if row["gain"] is None else f" (gain {row['gain']:.4g})"
    return f"- {n}: {one_line(row['description'])}{gain}"


def _table(title: str, shares: Sequence[Share]) -> list[str]:
    """Rows with their gains added up as they were decided on the way; nothing for none."""
    if not shares:
        return []
    width = max(len(share.name) for share in shares)
    rows = [
        f"{share.name:<{width}}  {share.asked:>5}  {share.kept:>4}  {share.gain:>10.4g}"
        f"  {show_usd(share.cost_usd) if share.cost_usd else '-':>12}"
        for share in shares
    ]
    return ["", f"## {title}", "", f"{'':<{width}}  asked  kept  {'gain':>10}  {'cost':>12}", *rows]
