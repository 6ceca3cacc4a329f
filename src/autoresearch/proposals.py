"""Who proposed what, and what came of it: by proposer and by the kind of change that was suggested. Reads records only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from autoresearch.gains import gain_of
from autoresearch.history import History
from autoresearch.records import TUNE, Experiment
from autoresearch.text import show_usd


@dataclass(frozen=True, slots=True)
class Share:
    """What one proposer, or one kind of change, had of a run.

    Attributes:
        asked: decided experiments, without candidates that were tried again; `kept` of them are in the result.
        gain: of those, added up as they were decided on the way, in the metric's unit; positive is better.
    """

    name: str
    asked: int
    kept: int
    gain: float
    cost_usd: float
    tokens: int

    @property
    def words(self) -> str:
        """`claude 12 asked, 3 kept, 1.20 USD`."""
        cost = f", {show_usd(self.cost_usd)}" if self.cost_usd else ""
        return f"{self.name} {self.asked} asked, {self.kept} kept{cost}"


def by_proposer(history: History) -> list[Share]:
    """A share for each proposer that answered, in the order of their first experiments."""
    return _shares(history, _who)


def by_mutation(history: History) -> list[Share]:
    """A share for each kind of change that was suggested, and for searches over a keep's constants; the most asked first."""
    found = _shares(history, lambda e: e.mutation or (TUNE if e.operation == TUNE else ""))
    return sorted(found, key=lambda share: (-share.asked, share.name))


def _who(e: Experiment) -> str:
    """By its name in the mix where it is the one that answered, else by what the one that did calls itself."""
    return e.asked if e.asked.startswith(e.proposer) else e.proposer


def _shares(history: History, key: Callable[[Experiment], str]) -> list[Share]:
    groups: dict[str, list[Experiment]] = {}
    for e in _told(history):
        if name := key(e):
            groups.setdefault(name, []).append(e)
    return [_share(name, group, history) for name, group in groups.items()]


def _told(history: History) -> Iterator[Experiment]:
    return (e for e in history.experiments[1:] if e.decided and e.origin is None and not e.lost)


def _share(name: str, group: list[Experiment], history: History) -> Share:
    kept = [e for e in group if e.kept and not e.rolled_back]
    return Share(
        name=name,
        asked=len(group),
        kept=len(kept),
        gain=sum(gain_of(e, history) or 0.0 for e in kept),
        cost_usd=sum(e.cost_usd for e in group),
        tokens=sum(e.tokens for e in group),
    )
