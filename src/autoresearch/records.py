"""The nouns of the word list as frozen records: data only, no behaviour beyond reading themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

Direction = Literal["minimize", "maximize"]
Phase = Literal[
    "baseline",
    "first",
    "race",
    "guard",
    "check",
    "between",
    "final",
    "repair",
    "refresh",
    "confirm",
    "gate",
    "held_out",
]
Which = Literal["evaluate", "gate", "held_out"]
"""Which of a task's three sets is measured on: what proposers may know, what answers yes or no, what is opened at the end."""


LARGEST = 64 * 10**6
"""Bytes of a change that is offered."""
TRY, PROBE, LEAVE = "try", "probe", "leave"
"""Requests: a change to be tried, one to be tried out without a verdict, and to leave the run to another process."""

RESTART, TUNE = "restart", "tune"
"""Operations: from an earlier keep on; constants of the newest keep that is no setting of constants."""

_JUDGED = ("baseline", "first", "race")


class Kind(StrEnum):
    """The kinds of verdict."""

    KEEP = "keep"
    DISCARD = "discard"
    CRASH = "crash"
    TIMEOUT = "timeout"
    INVALID = "invalid"


class Outcome(StrEnum):
    """How one evaluation ended."""

    OK = "ok"
    EXIT = "exit"
    SIGNAL = "signal"
    MEMORY = "memory"
    TIMEOUT = "timeout"
    NO_MEASUREMENT = "no_measurement"
    BUILD = "build"
    TAMPERING = "tampering"
    OUTAGE = "outage"  # the evaluator asked to be tried again (exit 75): never recorded as a measurement


@dataclass(frozen=True, slots=True)
class Blob:
    """A file's content with its git mode: 100644, 100755 or 120000 (a link; the content is its target)."""

    content: bytes
    mode: str = "100644"


Edits = Mapping[str, Blob | None]
"""Paths relative to the project, with what they become; None deletes."""


@dataclass(frozen=True, slots=True)
class State:
    """A candidate of `optimize`: any JSON or picklable value instead of files."""

    value: Any


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change with its description and cost.

    Attributes:
        content: the edits against the parent, a new state, or None when the draft's folder holds them.
        failure: reason code `proposer_…` and words when no usable change came.
        notes: one line each about what was dropped on the way.
        settings: constants that a search set, by name; its memory of what it tried.
        hypothesis: why it should be better, in the proposer's words; `expected` by which change of the metric, relative to
            the incumbent's value and with its sign (-0.01 is one per cent down), None where it expects nothing.
        model: what wrote it, as its program names it; `turns` how many answers of the model it took.
    """

    description: str = ""
    content: Edits | State | None = None
    cost_usd: float = 0.0
    tokens: int = 0
    failure: tuple[str, str] | None = None
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    hypothesis: str = ""
    expected: float | None = None
    model: str = ""
    turns: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a model took and gave.

    Attributes:
        input: read anew, without what came from a cache or was written to it; `cached` read from a cache, `written` to it.
        output: with what it thought.
    """

    input: int = 0
    cached: int = 0
    written: int = 0
    output: int = 0

    @property
    def tokens(self) -> int:
        return self.input + self.cached + self.written + self.output

    def __add__(self, other: Usage) -> Usage:
        mine, others = (
            (self.input, self.cached, self.written, self.output),
            (other.input, other.cached, other.written, other.output),
        )
        return Usage(*(a + b for a, b in zip(mine, others, strict=True)))


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one proposal may spend: its own caps, and never more than is left of the run's budget.

    Attributes:
        turns: answers of a model.
    """

    cost_usd: float = math.inf
    tokens: float = math.inf
    turns: int = 40


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of trying out a proposal that is not finished: a quick test, checks, or the task's command.

    Attributes:
        words: what failed, or what passed; `output` the last lines of what was printed, covered.
        tried: false where it could not be: nothing follows for the proposal then.
    """

    passed: bool
    words: str
    output: str = ""
    tried: bool = True


@dataclass(frozen=True, slots=True)
class Flag:
    """Something in a candidate's diff that a person should look at first; it accuses nobody.

    Attributes:
        name: one of the task file's names of flags.
        line: in the candidate's file; of something that was removed, in the file it stands on.
    """

    name: str
    path: str
    line: int
    words: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A proposal frozen: the tree's id, the commit's id, and the content as far as it is still in memory.

    Attributes:
        lines: added less removed lines in the scope, against what it stands on; None where there are none to count.
        flags: what stands out in the diff against what it stands on.
        files: whose content differs from that of what it stands on, as paths from the project's folder, sorted.
    """

    n: int
    tree: str
    commit: str
    content: Any = field(default=None, compare=False, repr=False)
    lines: int | None = field(default=None, compare=False)
    flags: tuple[Flag, ...] = field(default=(), compare=False)
    files: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one evaluation gave.

    Attributes:
        of: the experiment whose tree was measured; `arm` is its part: candidate, incumbent, baseline, checkpoint.
        index: counts the measurements of one experiment's record, from 0.
        values: metric values by name, in each metric's own unit.
        peak_mb: peak memory of the process tree in MB, and in `memory_from` how it was found out.
        log: the log's path relative to the run's folder.
        touched: what it did with the decoys that is harmless by itself.
        cost_usd: what the evaluation reported to have cost.
    """

    of: int
    arm: str
    index: int
    seed: int
    phase: Phase
    outcome: Outcome
    values: Mapping[str, float]
    duration_s: float = 0.0
    cpu_s: float = 0.0
    peak_mb: float | None = None
    memory_from: str = ""
    exit_code: int | None = None
    attempt: int = 1
    machine: str = ""
    log: str = ""
    words: str = ""
    touched: tuple[str, ...] = ()
    cost_usd: float = 0.0

    @property
    def ok(self) -> bool:
        return self.outcome is Outcome.OK


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of an experiment: kind, a short reason code, and words."""

    kind: Kind
    reason: str
    words: str = ""
    value: float | None = None  # the number to show for the experiment
    method: Method | None = None  # with the baseline's: how the run decides from here on

    is_verdict = True

    @property
    def kept(self) -> bool:
        return self.kind is Kind.KEEP

    @property
    def failed(self) -> bool:
        """Whether it counts for the breakers."""
        return self.kind in (Kind.CRASH, Kind.TIMEOUT) or (
            self.kind is Kind.INVALID and self.reason not in ("no_change", "duplicate")
        )


@dataclass(frozen=True, slots=True)
class Measure:
    """Acceptance asks for one more measurement: of experiment `of`, in the part `arm`, with this seed."""

    of: int
    arm: str
    seed: int
    phase: Phase = "race"

    is_verdict = False


@dataclass(frozen=True, slots=True)
class RollBack:
    """Acceptance takes kept changes out again: experiment `to` is the incumbent from here on.

    Attributes:
        again: what is taken out is tried again, in its order.
        method: how the run decides from here on, where that changes.
    """

    to: int
    words: str
    again: bool = False
    method: Method | None = None

    is_verdict = False


@dataclass(frozen=True, slots=True)
class Compare:
    """Acceptance begins the final comparison of the incumbent with the baseline, in so many pairs.

    No pairs stand for an exact metric: the incumbent once more, which has to give the same bits.
    """

    pairs: int

    is_verdict = False


@dataclass(frozen=True, slots=True)
class Done:
    """Acceptance has nothing more to do in this phase.

    Attributes:
        validated: gain and interval against the baseline where a final comparison was made.
        method: how the run decides from here on, where that changes.
    """

    words: str = ""
    validated: Gain | None = None
    method: Method | None = None

    is_verdict = False


Step = Measure | Verdict | RollBack | Compare | Done


@dataclass(frozen=True, slots=True)
class Reach:
    """What the budget can pay, as far as it is known before the first experiment; None is no limit."""

    experiments: int | None = None
    evaluations: int | None = None
    time_s: float | None = None


@dataclass(frozen=True, slots=True)
class Method:
    """How a run decides and how its result is compared in the end: fixed with the baseline, before the first experiment.

    Attributes:
        rule: exact, bayes, race, margin, single, or what another rule calls itself.
        pairs: of the final comparison, 0 for none; its evaluations are reserved.
        checkpoints: how many the budget can pay.
        alpha: bound on the chance of keeping what is no gain, of one race; 0 where the rule has none.
        sd: the metric's noise, in its unit; `detectable` the smallest gain that is found in four of five cases.
        log: differences are taken of logarithms, as noise of times grows with them.
        seeded: both arms of a pair have the same seed.
    """

    rule: str
    pairs: int = 0
    checkpoints: int = 0
    alpha: float = 0.0
    sd: float | None = None
    detectable: float | None = None
    log: bool = False
    seeded: bool = False


@dataclass(frozen=True, slots=True)
class Gain:
    """A gain in the metric's unit, positive is better, with its interval and how many pairs it rests on.

    Attributes:
        base: the baseline's mean beside it, None where nobody measured it there.
        held_out: measured on the held-out set.
    """

    mean: float
    low: float
    high: float
    pairs: int
    level: float = 0.9
    base: float | None = None
    held_out: bool = False


@dataclass(frozen=True, slots=True)
class Experiment:
    """One attempt in a run, as far as it has come.

    Attributes:
        stage: asked, proposed, frozen, decided.
        measurements: in the order they were recorded; a re-based candidate's earlier ones stay.
        base: where `measurements` of the present candidate begin (a re-based candidate starts anew).
        value: the number shown for it, None without a measurement.
        lost: its failure was the machine's and does not count.
        content: the proposal's content, as a file of the ledger.
        onto: what a re-based candidate stands on.
        origin: the experiment whose candidate this one tries again.
        lines: how many lines the present candidate adds to what it stands on, negative if it takes more away.
        touched: what its proposer did with the decoys that is harmless by itself.
        flags: what stands out in the present candidate's diff against what it stands on.
        asked: which proposer of a mix was asked, `` for the first; `proposer` is who answered.
        mutation: the named kind of change that was suggested; `escalation` how far a plateau had changed the question.
        hypothesis, expected, model, turns: as the proposal says.
        files: the first of those that the present candidate changes.
        exhausted: who of a mix was asked before and had nothing left, each with the operation that was asked for.
        job: the request that its proposal came by, None for one that was asked for.
        began_as: the number under which its proposal was begun, before a request's went first; its files lie there.
    """

    n: int
    parents: tuple[int, ...] = ()
    operation: str = ""
    stage: str = "asked"
    description: str = ""
    proposer: str = ""
    cost_usd: float = 0.0
    tokens: int = 0
    failure: tuple[str, str] | None = None
    tree: str = ""
    commit: str = ""
    measurements: tuple[Measurement, ...] = ()
    base: int = 0
    rebased: bool = False
    verdict: Verdict | None = None
    value: float | None = None
    kept_commit: str = ""
    decided_hash: str = ""
    decided_at: float = 0.0
    rolled_back: bool = False
    lost: bool = False
    notes: tuple[str, ...] = ()
    content: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    onto: int | None = None
    origin: int | None = None
    build_s: float | None = None  # how long its build took
    lines: int | None = None
    touched: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()
    asked: str = ""
    mutation: str = ""
    escalation: str = ""
    hypothesis: str = ""
    expected: float | None = None
    model: str = ""
    turns: int = 0
    files: tuple[str, ...] = ()
    exhausted: tuple[tuple[str, str], ...] = ()
    job: int | None = None
    began_as: int | None = None

    @property
    def drafted_as(self) -> int:
        """The number of the folder in which its proposal's files lie: prompt, logs, costs."""
        return self.n if self.began_as is None else self.began_as

    @property
    def stands_on(self) -> int:
        """The experiment that the present candidate is a change of."""
        return self.parents[0] if self.onto is None else self.onto

    @property
    def restarts(self) -> bool:
        """Whether it begins at an earlier keep on purpose: it is never put onto the incumbent, only compared with it."""
        return self.operation == RESTART and self.origin is None

    @property
    def first_plan(self) -> Plan:
        """What it was asked for at first: the same before and after it was asked of another, who had something left."""
        if not self.exhausted:
            return Plan(self.parents, self.operation, self.asked, self.mutation, self.escalation)
        proposer, operation = self.exhausted[0]
        return Plan(self.parents, operation, proposer)

    @property
    def decided(self) -> bool:
        return self.verdict is not None

    @property
    def kept(self) -> bool:
        return self.verdict is not None and self.verdict.kept

    @property
    def held(self) -> bool:
        """Whether it won, and was not kept because a person has to look at it."""
        return self.verdict is not None and self.verdict.reason == "held"

    @property
    def quarantined(self) -> bool:
        """Whether it tampered: never a parent, never tried again, and no proposer reads of it."""
        return self.verdict is not None and self.verdict.reason == "tampering"

    @property
    def touches(self) -> tuple[str, ...]:
        """What was done with the decoys, by its proposer and by its candidate, each thing once."""
        found = [f"its proposer {words}" for words in self.touched]
        found += [f"its candidate {words}" for m in self.measurements if m.of == self.n for words in m.touched]
        return tuple(dict.fromkeys(found))

    @property
    def own(self) -> tuple[Measurement, ...]:
        """The measurements by which the present candidate (or the baseline) is judged."""
        return tuple(m for m in self.measurements[self.base :] if m.of == self.n and m.phase in _JUDGED)


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the ledger before it has a place in the chain."""

    kind: str
    n: int | None
    body: Mapping[str, Any]
    attempt: int = 1
    at: float | None = None


@dataclass(frozen=True, slots=True)
class ChainedEvent:
    """One row of the ledger."""

    seq: int
    run: str
    n: int | None
    attempt: int
    kind: str
    at: float
    body: Mapping[str, Any]
    prev: str
    hash: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the ledger knows it: what it started from and how it stands.

    Attributes:
        ruler: hash of everything that decides; `ruler_text` has its parts in words.
        worked_s: working time of all finished sessions.
        validated: the last final comparison, which was of experiment `validated_of`.
    """

    run: str
    task: str = ""
    metric: str = ""
    direction: Direction = "minimize"
    unit: str = ""
    base: str = ""
    seed: int = 0
    lag: int = 1
    ruler: str = ""
    ruler_text: Mapping[str, str] = field(default_factory=dict)
    acceptance: str = "auto"
    python: str = ""
    project: str = ""
    started_at: float = 0.0
    session_at: float = 0.0
    last_at: float = 0.0
    worked_s: float = 0.0
    status: str = "open"
    stop_reason: str = ""
    stop_words: str = ""
    head: str = ""
    validated: Gain | None = None
    validated_of: int = -1


@dataclass(frozen=True, slots=True)
class Request:
    """What another process asks of a run's owner."""

    id: int
    run: str
    kind: str
    body: Mapping[str, Any]
    at: float
    answer: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a strategy decides for an experiment: its parents and the operation.

    Attributes:
        proposer: who is asked, by its name in the mix; `` is the first.
        mutation: the named kind of change that is suggested, `` for none.
        escalation: how far a plateau changes the question: ``, other, bold, fresh, restart.
    """

    parents: tuple[int, ...]
    operation: str = "improve"
    proposer: str = ""
    mutation: str = ""
    escalation: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a measurement depends on besides the code: hashed into `id`."""

    id: str
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Layer:
    """A writable layer over folders, in a job's own mount namespace.

    Attributes:
        at: where it is seen; `lower` is what it shows where nothing was written, the first folder on top.
        upper: what is written; `work` is the file system's own.
    """

    at: Path
    lower: tuple[Path, ...]
    upper: Path
    work: Path


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or folder shown at another place too, in a job's own mount namespace."""

    at: Path
    source: Path
    readonly: bool = True


Network = Literal["off", "on"] | tuple[str, ...]
"""What a job can reach: nothing but its own loopback, everything, or only these `host:port`."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What a job sees of the file system and the network besides its own mounts; everything else is not there.

    Attributes:
        kind: what holds it: bubblewrap, or landlock where that does not work.
        shown: read-only, each at its own path; what is not there is left out.
        writable: folders and files that the job may write, each at its own path.
        binds: shown at other paths, after all of these.
        sockets: of a network of endpoints: the folder with a relay's sockets, named by the endpoint's place in the list.
        gpus: the machine's GPU devices are there.
    """

    kind: Literal["bubblewrap", "landlock"]
    shown: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    binds: tuple[Bind, ...] = ()
    network: Network = "off"
    sockets: Path | None = None
    gpus: bool = False


TRUST_LEVELS = ("sealed+sandbox", "sealed", "shared+sandbox", "shared", "none")


@dataclass(frozen=True, slots=True)
class Trust:
    """What holds a candidate and a proposer away from what decides.

    Attributes:
        level: one of `TRUST_LEVELS`, the best first.
        reason: why this one; `step` what would raise it by one, `` at the top.
        walls: what holds what, in words, by name: sandbox, network, processes, memory, files, disk.
    """

    level: str
    reason: str
    step: str = ""
    walls: Mapping[str, str] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """For the first lines of a run, and its report."""
        return f"trust: {self.level} ({self.reason})" + (f" · one step up: {self.step}" if self.step else "")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a job may use up at most; None is no limit.

    Attributes:
        processes: and threads, at one time.
        file_bytes: size of one file; `disk_bytes` of all in the folders `written`.
    """

    processes: int | None = None
    file_bytes: int | None = None
    disk_bytes: int | None = None
    written: tuple[Path, ...] = ()


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Order:
    """One evaluation to run.

    Attributes:
        folder: where files of this evaluation go (its log); None keeps nothing.
        timeout_s: None means no limit.
        kind: evaluate, check, build or quick; only the first reads numbers.
        pristine: nothing that earlier evaluations left counts: caches are empty.
        which: the set that is measured on; of another than `evaluate` no log, no artifact and no words are kept.
        clean: in a tree laid out anew from git, with nothing in it that was there before.
        trial: for a proposal under way, which gets the last lines of what it printed.
    """

    n: int
    seed: int
    attempt: int
    label: str
    command: str = ""
    folder: Path | None = None
    timeout_s: float | None = None
    kind: Literal["evaluate", "check", "build", "quick"] = "evaluate"
    pristine: bool = False
    which: Which = "evaluate"
    clean: bool = False
    trial: bool = False


@dataclass(frozen=True, slots=True)
class Readout:
    """What a runner gives back for one order; the loop makes a `Measurement` of it."""

    outcome: Outcome
    values: Mapping[str, float] = field(default_factory=dict)
    duration_s: float = 0.0
    cpu_s: float = 0.0
    peak_mb: float | None = None
    memory_from: str = ""
    exit_code: int | None = None
    machine: str = ""
    log: str = ""
    words: str = ""
    limit_by: str = ""  # what holds the memory limit
    touched: tuple[str, ...] = ()  # what it did with the decoys that is harmless by itself
    cost_usd: float = 0.0  # as the evaluation reports it
    output: str = ""  # of a trial: the last lines that it printed
