"""What a session finds around it: machine, versions in inputs, load, the pause since the last one; what it is there for."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autoresearch import errands, machine
from autoresearch.agenda import PAIRS
from autoresearch.contracts import Ledger
from autoresearch.errors import SetupError
from autoresearch.history import History
from autoresearch.records import Event
from autoresearch.taskfile.units import show_seconds

BUSY = 0.7  # of the cores, over the last minute: said at start


class Surroundings:
    """The fingerprint that is stored with each session, and what differs from the one before.

    Args:
        inputs: as the task names them; what is installed in them is put into the ledger's files.
    """

    def __init__(self, project: Path, inputs: Iterable[str], ledger: Ledger) -> None:
        self._ledger = ledger
        self.load = machine.load()
        self.versions: dict[str, str] = {}
        for name in inputs:
            text = machine.versions(project / os.path.expanduser(name))
            if text:
                self.versions[name] = ledger.put(text.encode())

    def note(self, due: Sequence[str], *, detached: bool) -> Event:
        """The event that stores them, with why the incumbent is to be measured again."""
        here = machine.fingerprint()
        body: dict[str, Any] = {"what": "machine", "id": here.id, "facts": dict(here.facts), "load": round(self.load, 2)}
        more = {"versions": self.versions, "due": list(due), "detached": detached}
        return Event("note", None, body | {key: value for key, value in more.items() if value})

    def busy(self) -> list[str]:
        if self.load <= BUSY:
            return []
        return [f"the machine is busy ({self.load:.0%} of its cores over the last minute): times measured now come out worse"]

    def due(self, history: History, refresh_after_s: float) -> list[str]:
        """Why the incumbent has to be measured again before anything is compared with it: one line each."""
        agenda = history.agenda
        assert history.run is not None
        found = list(agenda.due)
        if agenda.machine is not None:
            found += machine.differences(agenda.machine.facts, machine.fingerprint().facts)
            found += self._other_versions(agenda.versions)
        pause_s = time.time() - (agenda.stopped_at or history.run.last_at)
        if pause_s > refresh_after_s:
            found.append(f"{show_seconds(pause_s)} since the run last worked")
        return list(dict.fromkeys(found))

    def _other_versions(self, before: Mapping[str, str]) -> list[str]:
        found = []
        for name in sorted(before.keys() & self.versions.keys()):
            if before[name] != self.versions[name]:
                old, new = (set(self._ledger.get(key).decode().split("\n")) for key in (before[name], self.versions[name]))
                gone, come = sorted(old - new), sorted(new - old)
                found.append(f"{name}: {', '.join(gone[:5]) or 'nothing'} → {', '.join(come[:5]) or 'nothing'}")
        return found


def order_event(history: History, kind: str, details: Mapping[str, Any]) -> tuple[Event | None, str]:
    """The event that says what a session is for, and words about it; what a kill broke off goes on.

    Raises:
        SetupError: it cannot be done.
    """
    if kind != "validate":
        return errands.order(history, kind, details)
    if len(history.line) < 2:
        raise SetupError("nothing beat the baseline, so there is nothing to validate")
    method = history.agenda.method
    usual = (method.pairs if method is not None else 0) or PAIRS
    wanted = details.get("pairs") or (1 if history.exact else usual)
    known, measured = history.agenda.comparison, history.experiments[0].measurements
    of, pairs, first = history.line[-1], wanted, len(measured)
    words = ""
    if known is not None and known.of == of and not history.agenda.failed:
        made = [m for m in measured[known.first :] if m.phase == "final"]
        if all(m.ok and m.machine in ("", machine.fingerprint().id) for m in made):
            pairs, first = known.pairs, known.first
            words = f"a comparison in {known.pairs} pairs was begun: it goes on after {len(made)} evaluations" if made else ""
    return Event("note", None, {"what": "validate", "of": of, "pairs": pairs, "first": first}), words
