"""The contracts: what the loop calls, as Protocols. Implementations are siblings that never import each other.

Found by short name, by `module:Class`, or by an entry point of the group `autoresearch.<contract>`; see `find`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from autoresearch.errors import UnknownName
from autoresearch.history import History, View
from autoresearch.records import (
    Allowance,
    Bind,
    Candidate,
    ChainedEvent,
    Direction,
    Edits,
    Event,
    Experiment,
    Layer,
    Order,
    Phase,
    Plan,
    Proposal,
    Reach,
    Readout,
    Request,
    RunRecord,
    State,
    Step,
    Trial,
    Which,
)

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class Brief:
    """What a proposer is told: the experiment, its parent, what was known when it was asked.

    Attributes:
        view: the decided experiments as of this ask; `view.pending` those under way before it.
        render: makes `text`, the prompt in plain language, for proposers that read.
        seed: for this experiment's own random generator.
        mutation, escalation: as the plan has them; `proposer` who is asked, by its name in the mix, `` for the first.
        changed: of an experiment on the constants of a keep, what that keep changed: files before it and after it, None where
            one was not there.
        allowance: what this proposal may spend, what earlier attempts at it have spent taken off.
        trial: tries out what a draft holds now, as `quick`, `checks` or `all`, in an evaluation's place with its walls,
            devices and locks; None where nothing can be tried.
        say: tells the live view what goes on.
        lay_out: copies what the parent's evaluations left into the folder `parent` of the given one, which a program that
            proposes has as its TMPDIR.
    """

    n: int
    operation: str
    parent: Experiment
    view: View
    metric: str
    direction: Direction
    seed: int
    timeout_s: float
    slot: int = 0
    render: Callable[[Brief], str] = field(default=lambda brief: "", repr=False)
    mutation: str = ""
    escalation: str = ""
    proposer: str = ""
    changed: Mapping[str, tuple[bytes | None, bytes | None]] = field(default_factory=dict, repr=False)
    allowance: Allowance = field(default_factory=Allowance)
    trial: Callable[[Draft, str], Awaitable[Trial]] | None = field(default=None, repr=False)
    say: Callable[[str], None] = field(default=lambda words: None, repr=False)
    lay_out: Callable[[Path], None] = field(default=lambda folder: None, repr=False)

    @property
    def text(self) -> str:
        return self.render(self)

    def random(self, purpose: str = "propose") -> Random:
        """A generator that depends on run seed, experiment and purpose alone."""
        from random import Random

        return Random(f"{self.seed}/{self.n}/{purpose}")


class Draft(Protocol):
    """A proposer's private place."""

    log_folder: Path | None

    @property
    def state(self) -> Any: ...
    def collect(self) -> tuple[Edits, tuple[str, ...]]: ...
    def peek(self) -> Edits: ...
    def touched(self) -> tuple[str, ...]: ...
    def spend(self, cost_usd: float = 0.0, tokens: int = 0) -> None: ...
    def spent(self) -> tuple[float, int]: ...


class FileDraft(Draft, Protocol):
    """A draft of a project: the parent's files.

    Attributes:
        root: the whole tree, in which the project's folder lies; `scratch` where HOME and TMP of a program go.
        shown: what a program in it has to be able to read besides; `hidden` what it must not see.
    """

    def read(self, path: str) -> bytes: ...
    def editable(self) -> list[str]: ...
    def mode(self, path: str) -> str: ...
    async def folder(self) -> Path: ...
    def variables(self) -> Mapping[str, str]: ...
    def cost_file(self) -> Path: ...
    @property
    def root(self) -> Path: ...
    @property
    def scratch(self) -> Path: ...
    @property
    def shown(self) -> tuple[Path, ...]: ...
    @property
    def hidden(self) -> tuple[Path, ...]: ...


class Proposer(Protocol):
    """Writes changes. Whatever it raises is a failed proposal, never the end of the run.

    Attributes:
        name: stands in the ledger and in each keep.
        exact: optional; true for one of our own that needs values as they were measured, not as far as the noise lets.
        reads: optional; false for one that takes no notice of what the brief suggests.

    Raises (from `propose`):
        Exhausted: there is nothing left to propose; the others of a mix go on, else the run ends.
        ProposerUnfit: it will never work on this task as it is set up; the run ends.
        ProposerWaits: its model cannot be had now; it is asked again later, for the same experiment.
    """

    name: str

    async def propose(self, brief: Brief, draft: Any) -> Proposal: ...


@dataclass(frozen=True, slots=True)
class Ready:
    """A paid proposer was tried out: it answers.

    Attributes:
        words: what answers, as `claude 2.1.197, claude-sonnet-4-5`.
        cost_usd, tokens: what trying it cost.
    """

    words: str
    cost_usd: float = 0.0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be run for a proposal; secrets are covered."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    words: str = ""


class Paid(Proposer, Protocol):
    """A proposer with a model behind it, which somebody pays for: it never runs without a wall of money or tokens.

    Attributes:
        writes_code: it is true of all of them (see `consent`).
        model: as the task names it; `` for the program's own default.
    """

    writes_code: bool
    model: str

    def pays(self) -> str:
        """Who pays, in words: the variable with the key, a subscription, nobody."""

    def priced(self) -> bool:
        """Whether its tokens can be turned into money."""

    def usual(self) -> tuple[float | None, int]:
        """What a proposal costs at a guess, before there are any: USD (None without a price), tokens."""

    async def ready(self, folder: Path) -> Ready:
        """Ask the model for one word, with `folder` for whatever that needs.

        Raises:
            ProposerUnfit: a wrong key, an unknown model, a program that is not there; says what to do.
            ProposerWaits: it cannot be had now.
        """

    def preview(self, brief: Brief) -> Preview: ...


def is_paid(proposer: object) -> TypeGuard[Paid]:
    """Whether somebody pays for what a proposer writes; of a class as of what was made of it."""
    return all(callable(getattr(proposer, name, None)) for name in ("pays", "priced", "usual", "ready", "preview"))


class Strategy(Protocol):
    """Picks parents and operation, whom to ask and what to suggest. Pure: the same view and number give the same plan.

    It is asked again for a number where whoever it named had nothing left; `view.pending` tells that by `exhausted`.
    """

    def ask(self, n: int, view: View) -> Plan: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What acceptance knows of the task; `min_effect` in the metric's unit or as a fraction of the baseline.

    Attributes:
        noise: auto finds out, none trusts one run, high takes more repeats.
        seeded: an evaluation takes a seed.
        max_repeats, alpha: pairs of a race at most; bound on the chance that a race keeps what is no gain.
        simplify: at a tie within the noise, fewer lines in scope win.
        log: the metric is a time or a rate.
        reach: what the budget can pay.
        held_out: there is a held-out set, on which checkpoints look and the final comparison rests.
    """

    metric: str
    direction: Direction = "minimize"
    min_effect: float = 0.0
    min_effect_relative: float = 0.0
    noise: str = "auto"
    seeded: bool = False
    seed: int = 0
    max_repeats: int = 8
    alpha: float = 0.05
    simplify: bool = False
    log: bool = False
    reach: Reach = field(default_factory=Reach)
    held_out: bool = False

    def sign(self) -> int:
        return 1 if self.direction == "maximize" else -1


@dataclass(frozen=True, slots=True)
class Situation:
    """All that acceptance may look at. A pure function of the recorded measurements and settings.

    Attributes:
        phase: `baseline` (experiment 0 has no verdict), `experiment` (`current` wants one), `between` (after the
            decision on `current`), `final` (the run ends).
        current: the experiment in hand; in `final` the baseline, which carries the final's measurements.
        history: everything decided, read-only.
    """

    phase: str
    settings: Settings
    current: Experiment
    incumbent: Experiment
    history: History

    @property
    def baseline(self) -> Experiment:
        return self.history.experiments[0]


class Acceptance(Protocol):
    """Turns measurements into verdicts, one step at a time.

    In phase `experiment` a step is a Measure or a Verdict. In `between` it is a Measure, a RollBack or Done; in `final` a
    Compare, a Measure or Done. Guards and checks are run by the loop before the first step that is not a discard, guards
    again before a keep.
    """

    def next(self, situation: Situation) -> Step: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where one evaluation happens.

    Attributes:
        folder: its working directory; `scratch` holds its HOME, TMP and result file; None for states.
        root: the whole tree, where the project lies below it; `writable` what may be written besides.
        readonly: outside paths it may read and not write.
        mounts: what its own mount namespace shows, in this order: the layer over its tree, inputs, copies, caches.
        hidden: outside paths that must not be seen; `private` ones are those of the set that is measured on.
        unbuilt: the candidate has to be built here first.
        failed: in which words its set-up failed, and then nothing can run here.
    """

    folder: Path | None
    scratch: Path | None
    slot: int
    readonly: tuple[Path, ...] = ()
    mounts: tuple[Layer | Bind, ...] = ()
    root: Path | None = None
    writable: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    private: tuple[Path, ...] = ()
    unbuilt: bool = False
    failed: str = ""
    state: Any = field(default=None, repr=False)

    def find(self, name: str) -> Path:
        """A file that the evaluation left, or that was there before."""
        assert self.folder is not None
        path = Path(os.path.normpath(self.folder / name))
        for mount in reversed(self.mounts):
            if path.is_relative_to(mount.at):
                sources = [mount.source] if isinstance(mount, Bind) else [mount.upper, *mount.lower]
                inside = [source / path.relative_to(mount.at) for source in sources]
                return next((p for p in inside if p.exists()), inside[0])
        return path


@dataclass(frozen=True, slots=True)
class Advance:
    """Where the line of incumbents went; `moved` tells whether the branch went along."""

    commit: str
    moved: bool


Known = Callable[[str], int | None]
"""Which earlier experiment has this tree, None for a new one."""


class Workspace(Protocol):
    """Makes candidates of proposals and places of candidates. Only the owner's thread calls it."""

    def begin(self) -> None: ...
    def pack(self, content: Edits | State) -> bytes: ...
    def unpack(self, body: bytes) -> Edits | State: ...
    def baseline(self, at: float) -> Candidate: ...
    def load(self, experiment: Experiment) -> Candidate: ...
    def freeze(self, n: int, parent: Candidate, proposal: Proposal, at: float, known: Known) -> Candidate: ...
    def rebase(
        self, candidate: Candidate, parent: Candidate, onto: Candidate, at: float, known: Known, description: str
    ) -> Candidate: ...
    def changed(self, before: Candidate, after: Candidate) -> Mapping[str, tuple[bytes | None, bytes | None]]: ...
    def advance(self, tree: str, message: str, tip: str, left_at: str, at: float) -> Advance: ...
    def follow(self, tip: str, left_at: str) -> Advance: ...
    def reconcile(self, history: History) -> list[str]: ...
    async def place(
        self, slot: int, candidate: Candidate, *, pristine: bool = False, which: Which = "evaluate", clean: bool = False
    ) -> Place: ...
    def trial(self, n: int, parent: Candidate, edits: Edits) -> Candidate: ...
    async def built(self, slot: int, candidate: Candidate, *, pristine: bool = False) -> None: ...
    def vacate(self, slot: int) -> None: ...
    def draft(self, slot: int, parent: Candidate, folder: Path | None) -> Draft: ...
    def close(self) -> None: ...


class Runner(Protocol):
    """Runs evaluations.

    Raises:
        RunnerLost, DiskFault: the machine's fault; the evaluation is done again, nothing is recorded.
    """

    async def evaluate(self, place: Place, order: Order) -> Readout: ...


class Ledger(Protocol):
    """The durable record. `append` is one transaction; with `durable` it is on disk when the call returns.

    One process appends to a run at a time; any number read, and leave requests.
    """

    def append(self, run: str, *events: Event, durable: bool = False) -> ChainedEvent: ...
    def history(self, run: str) -> History: ...
    def events(self, run: str, *, after: int = 0) -> Iterator[ChainedEvent]: ...
    def runs(self) -> list[RunRecord]: ...
    def verify(self, run: str) -> int: ...
    def rebuild(self) -> int: ...
    def forget(self, run: str) -> None: ...
    def put(self, body: bytes) -> str: ...
    def get(self, key: str) -> bytes: ...
    def request(self, run: str, kind: str, body: Mapping[str, Any]) -> int: ...
    def requests(self, run: str) -> list[Request]: ...
    def request_of(self, request: int) -> Request | None: ...
    def answer(self, request: int, body: Mapping[str, Any]) -> None: ...
    def answered(self, request: int) -> Mapping[str, Any] | None: ...
    def close(self) -> None: ...


def find(what: str, name: str, known: Mapping[str, str]) -> Any:
    """Give the class or callable that a name stands for.

    Args:
        what: the contract in plural (`proposers`); `known` maps short names to `module:Class`.
    Raises:
        UnknownName: with the nearest known name.
    """
    target = known.get(name)
    if target is None and ":" not in name:
        plugins = {e.name: e.value for e in entry_points(group=f"autoresearch.{what}")}
        target = plugins.get(name)
        if target is None:
            raise UnknownName(
                what.removesuffix("s").replace("strategie", "strategy"), name, {*known, *plugins}, "'module:Class'"
            )
    module, _, attribute = (target or name).partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UnknownName(what.removesuffix("s"), name, known, f"'module:Class'; {error}") from error
    return found


__all__ = [
    "Acceptance",
    "Advance",
    "Brief",
    "Draft",
    "FileDraft",
    "Known",
    "Ledger",
    "Phase",
    "Place",
    "Proposer",
    "Runner",
    "Settings",
    "Situation",
    "Strategy",
    "Workspace",
    "find",
]
