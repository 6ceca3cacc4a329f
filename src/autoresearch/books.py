"""What one session of a run holds in hand: its parts and settings, the ledger's history, the candidates in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autoresearch.budget import Budget, Ending, Spending
from autoresearch.contracts import Acceptance, Brief, Ledger, Proposer, Runner, Settings, Situation, Strategy, Workspace
from autoresearch.errors import AutoresearchError
from autoresearch.guards import Bound
from autoresearch.masking import NOTHING, Mask
from autoresearch.records import (
    Allowance,
    Candidate,
    ChainedEvent,
    Edits,
    Event,
    Experiment,
    Method,
    Phase,
    Readout,
    Verdict,
    Which,
)

OUTAGE_WAITS_S = (1.0, 5.0, 30.0, 60.0, 300.0, 600.0)
QUOTA_WAITS_S = (5.0, 600.0)

Watch = Callable[[str, Mapping[str, Any]], None]
"""Told of each event as it is recorded, and of what starts: a word and details. Must not raise."""


@dataclass(frozen=True, slots=True)
class CheckOrder:
    """A command that must exit 0, on every keep or on every so many."""

    name: str
    command: str
    every: int = 1
    retries: int = 0
    timeout_s: float = 600.0


@dataclass(frozen=True, slots=True)
class SetOrder:
    """What measures on a set of its own.

    Attributes:
        queries: how many candidates it answers for; 0 is no limit.
    """

    command: str
    queries: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for one proposer of a mix.

    Attributes:
        timeout_s: of one proposal.
        allowance: what one proposal may spend.
        fallback: who proposes while its model cannot be had; `` is nobody, and it is waited for.
    """

    timeout_s: float = 900.0
    allowance: Allowance = field(default_factory=Allowance)
    fallback: str = ""


@dataclass(frozen=True, slots=True)
class Errand:
    """A session for one thing that a person asked for, while nobody worked on the run.

    Attributes:
        final: only the final comparison; else orders that stand in the ledger are carried out, and nothing new is proposed.
        after: how the run stands again when it is done.
    """

    after: Ending
    final: bool = False


@dataclass(frozen=True, slots=True)
class Options:
    """What one session of a run is made of, besides the parts.

    Attributes:
        lag: how many experiments may be asked ahead of the decisions; stored with the run.
        timeout_s: of an evaluation; None is three times the slowest baseline and 30 s, infinite is none.
        time_budget_s: what an evaluation is told to take; without `timeout_s` it is held to it.
        build, quick: commands that make a candidate, and that try it out before its first evaluation.
        measured: evaluations of the base that were made just before the run, by their seed.
        mask: covers the values of variables that are passed through.
        breakers: stop after many failures in a row.
        jump: a gain by more than this factor has to be confirmed in a clean clone, 0 is none; no honest value is better
            than `limit`.
        planted: in which words a proposal's files hold what only a decoy has, `` if they do not; `named` which decoys they
            name, which is harmless by itself.
        hold: flags of a diff that make what would be kept wait for a person; `human` lets everything wait.
        folder: where an experiment's files go; None keeps none.
        terms: of the proposers, by the names of the mix and of their fallbacks.
        quota_waits_s: the first and the longest wait for a model that cannot be had, where it does not say how long.
        trials: a folder in which paid proposers are tried out.
        errand: what this session is for, if it is not for going on.
        serves: it proposes nothing of its own, and tries what others offer; it ends `linger_s` after the last of them.
        rebaseline: measure baseline and incumbent again and go on with those numbers.
        brief: renders a prompt; `left` copies what an experiment's evaluations left into a folder of a proposer.
        texts: takes over the owner's words as they are on disk; gives their hashes, and in words what could not be read.
        gate, held_out: the sets that proposers never see, where the task has them.
    """

    run: str
    settings: Settings
    lag: int = 1
    proposals: int = 1
    evaluations: int = 1
    timeout_s: float | None = None
    baseline_timeout_s: float = 6 * 3600.0
    time_budget_s: float | None = None
    build: str = ""
    quick: str = ""
    measured: Mapping[int, Readout] = field(default_factory=dict)
    mask: Mask = NOTHING
    proposal_timeout_s: float = 900.0
    terms: Mapping[str, Terms] = field(default_factory=dict)
    quota_waits_s: tuple[float, float] = QUOTA_WAITS_S
    trials: Path | None = None
    guards: tuple[Bound, ...] = ()
    checks: tuple[CheckOrder, ...] = ()
    target: float | None = None
    breakers: bool = True
    jump: float = 0.0
    limit: float | None = None
    planted: Callable[[Edits], str] = field(default=lambda edits: "")
    named: Callable[[Edits], tuple[str, ...]] = field(default=lambda edits: ())
    hold: tuple[str, ...] = ()
    human: bool = False
    outage_waits_s: tuple[float, ...] = OUTAGE_WAITS_S
    folder: Callable[[int], Path] | None = None
    brief: Callable[[Brief], str] = field(default=lambda brief: "")
    left: Callable[[Experiment, Path], None] = field(default=lambda e, folder: None)
    texts: Callable[[], tuple[Mapping[str, str], str]] = field(default=lambda: ({}, ""))
    poll_s: float = 0.01
    errand: Errand | None = None
    serves: bool = False
    linger_s: float = 0.0
    rebaseline: bool = False
    gate: SetOrder | None = None
    held_out: SetOrder | None = None

    def which(self, phase: Phase) -> Which:
        """The set that measurements of a phase are made on."""
        if phase == "gate":
            return "gate"
        return "held_out" if phase == "held_out" or (phase == "final" and self.held_out is not None) else "evaluate"

    def command(self, which: Which) -> str:
        """What measures on a set, `` for the task's own command."""
        found = {"gate": self.gate, "held_out": self.held_out}.get(which)
        return "" if found is None else found.command


@dataclass(frozen=True, slots=True)
class Parts:
    """The implementations behind the contracts.

    Attributes:
        proposer: the first of a mix, and who proposes where nobody else is named; `mix` has all of them by name.
        reserve: who goes on for one of them that is out of quota, by the name that its terms say, where it is not in the mix.
    """

    ledger: Ledger
    workspace: Workspace
    runner: Runner
    proposer: Proposer
    strategy: Strategy
    acceptance: Acceptance
    mix: Mapping[str, Proposer] = field(default_factory=dict)
    reserve: Mapping[str, Proposer] = field(default_factory=dict)

    def who(self, name: str) -> Proposer:
        """The proposer that a plan names; the first where the mix has none of that name any more."""
        return self.mix.get(name) or self.reserve.get(name) or self.proposer


def method_note(method: Method) -> Event:
    """How the run decides from here on, as an event."""
    return Event("note", None, {"what": "method", **{k: v for k, v in asdict(method).items() if v is not None}})


def method_notes(verdict: Verdict) -> list[Event]:
    """What the baseline's verdict fixes, as events."""
    return [] if verdict.method is None else [method_note(verdict.method)]


class Ended(AutoresearchError):
    """Unwinds the loop to its end."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.words)
        self.ending = ending


class Books:
    """The session's state, of which the ledger is the durable part."""

    def __init__(self, parts: Parts, options: Options, budget: Budget, watch: Watch) -> None:
        self.parts, self.options, self.watch = parts, options, watch
        self.history = parts.ledger.history(options.run)
        self.spending = Spending(budget, self.history, options.held_out is not None)
        self._candidates: dict[int, Candidate] = {}

    def append(self, *events: Event, durable: bool = False) -> ChainedEvent:
        last = self.parts.ledger.append(self.options.run, *events, durable=durable)
        self.watch(last.kind, {"event": last, "n": last.n})
        return last

    def note(self, n: int | None, what: str, **details: Any) -> None:
        self.append(Event("note", n, {"what": what, **details}))

    def adopt_texts(self) -> None:
        """Let the owner's words be the ones that are on disk now; another version is recorded by its hashes."""
        found, refused = self.options.texts()
        if refused:
            self.watch("mended", {"words": refused})
        if found and found != self.history.agenda.texts:
            self.note(None, "texts", **found)

    def experiment(self, n: int) -> Experiment:
        return self.history.experiments[n]

    def candidate(self, n: int) -> Candidate:
        if n not in self._candidates:
            self._candidates[n] = self.parts.workspace.load(self.experiment(n))
        return self._candidates[n]

    def remember(self, candidate: Candidate) -> Candidate:
        self._candidates[candidate.n] = candidate
        return candidate

    def forget(self, n: int) -> None:
        """Let go of what is decided and will rarely be asked for again."""
        for k in [k for k in self._candidates if k <= n and k not in (0, self.history.incumbent.n)]:
            del self._candidates[k]

    def situation(self, phase: str, n: int) -> Situation:
        e = self.experiment(n)
        incumbent = self.history.incumbent if self.history.line else e
        return Situation(phase, self.options.settings, e, incumbent, self.history)

    def terms(self, name: str) -> Terms:
        """What holds for the proposer of that name; `` is the first of the mix."""
        known = self.options.terms
        return known.get(name) or next(iter(known.values()), Terms(self.options.proposal_timeout_s))

    def folder(self, n: int) -> Path | None:
        return self.options.folder(n) if self.options.folder else None

    def earlier(self, n: int) -> Callable[[str], int | None]:
        """Which experiment before n has a tree first: the same whatever runs ahead."""

        def known(tree: str) -> int | None:
            k = self.history.trees.get(tree)
            return k if k is not None and k < n else None

        return known
