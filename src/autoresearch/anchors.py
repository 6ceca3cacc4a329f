"""Whether a run's ledger and git agree: each keep's commit names the event that decided it, an anchor outside the ledger."""

from __future__ import annotations

import re
from collections.abc import Iterator

from autoresearch import git
from autoresearch.errors import LedgerError
from autoresearch.history import History
from autoresearch.ledger import SqliteLedger, remedies
from autoresearch.records import Experiment

_ID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def own(ledger: SqliteLedger, location: git.Location | None, run: str) -> list[str]:
    """Begin to write a run, by whoever holds its lock, once all that is there agrees; gives notices.

    Raises:
        LedgerError: somebody else wrote into the ledger; nothing was changed.
    """
    words = ledger.own(run)
    check(location, ledger.history(run))
    return [words] if words else []


def check(location: git.Location | None, history: History) -> None:
    """Check the commits of all keeps that stood on the line.

    Raises:
        LedgerError: names the first one that is missing, or is not what the ledger says.
    """
    kept = [e for e in history.experiments if e.kept and e.n and e.kept_commit]
    if location is None or not kept or history.run is None:
        return
    good = history.run.base
    for e, commit in zip(kept, _commits(location, [e.kept_commit for e in kept]), strict=True):
        if (wrong := _wrong(e, commit)) != "":
            raise LedgerError(f"run {history.run.run!r}: {wrong}. {remedies.restart(history.run.run, good)}")
        good = e.kept_commit


def _wrong(e: Experiment, commit: str | None) -> str:
    if commit is None:
        return f"the commit {e.kept_commit[:10]} of experiment {e.n} is not in the repository"
    head, _, message = commit.partition("\n\n")
    rows = message.splitlines()
    if f"Ledger: {e.decided_hash}" not in rows or f"tree {e.tree}" not in head.splitlines():
        return f"commit {e.kept_commit[:10]} of experiment {e.n} names another ledger: one of the two was changed"
    return ""


def _commits(location: git.Location, names: list[str]) -> Iterator[str | None]:
    """The commits of these names as git stores them, None for what is none."""
    asked = "".join(f"{name if _ID.fullmatch(name) else 'none'}\n" for name in names).encode()
    told = git.run(f"--git-dir={location.git_dir}", "cat-file", "--batch", stdin=asked)
    for _ in names:
        head, _, told = told.partition(b"\n")
        fields = head.split(b" ")
        if len(fields) != 3:
            yield None  # `none missing`
            continue
        size = int(fields[2])
        yield told[:size].decode("utf-8", "replace") if fields[1] == b"commit" else None
        told = told[size + 1 :]
