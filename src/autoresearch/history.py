"""What a run's events add up to: the one fold from events to experiments, and read-only views of it.

The ledger's tables, the loop and every face see experiments only through this fold, so they cannot disagree.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from autoresearch.agenda import Agenda, Idea
from autoresearch.folding import advance, advance_run
from autoresearch.frame import to_frame
from autoresearch.records import ChainedEvent, Experiment, Gain, Method, Plan, RunRecord

if TYPE_CHECKING:
    import pandas


@dataclass(slots=True)
class History:
    """A run's experiments by number, its line of incumbents, and the incumbent after each decision.

    Grows with the ledger; everything else only reads it.
    """

    run: RunRecord | None = None
    experiments: list[Experiment] = field(default_factory=list)
    line: list[int] = field(default_factory=list)
    incumbents: list[int] = field(default_factory=list)  # [n] = the incumbent once n was decided and settled
    trees: dict[str, int] = field(default_factory=dict)
    evaluations: int = 0
    cost_usd: float = 0.0
    tokens: int = 0
    dearest_usd: float = 0.0  # what one evaluation cost at most
    lost: set[int] = field(default_factory=set)
    checked: int = 0  # up to which keep (position in `line`) the periodic checks have passed
    tip: str = ""  # the newest commit on the line of incumbents
    left_at: str = ""  # where the run last put its branch
    held_back: bool = False  # it was said that the branch is not moved
    agenda: Agenda = field(default_factory=Agenda)

    def take(self, event: ChainedEvent) -> None:
        """Fold one committed event."""
        experiment = None
        if event.n is not None:
            old = self.experiments[event.n] if event.n < len(self.experiments) else None
            experiment = advance(old, event)
        self.install(event, experiment, advance_run(self.run, event))

    def install(self, event: ChainedEvent, experiment: Experiment | None, run: RunRecord) -> None:
        """Take in what `advance` and `advance_run` made of one committed event."""
        self.run = run
        self.take_branch(event)
        self.agenda.take(event)
        if experiment is not None:
            self._take_experiment(event, experiment)
        if event.kind == "rolled_back":
            self.roll_back(int(event.body["to"]))
        elif event.kind == "note":
            self.take_note(event)

    def take_branch(self, event: ChainedEvent) -> None:
        """Where the line of incumbents and the branch stand."""
        if not self.tip and self.run is not None:
            self.tip = self.left_at = self.run.base
        if event.kind in ("advanced", "rolled_back"):
            self.tip = event.body["commit"]
            self.left_at = self.tip if event.body["moved"] else self.left_at
        elif event.kind == "note" and event.body.get("what") == "followed":
            self.left_at, self.held_back = event.body["commit"], False
        elif event.kind == "note" and event.body.get("what") == "branch":
            self.held_back = True

    def take_note(self, event: ChainedEvent) -> None:
        """Notes that mean something for the experiments."""
        what = event.body.get("what")
        if what == "spent" and event.n is None:  # besides proposals and evaluations, as trying out a log-in
            self.cost_usd += event.body["cost_usd"]
            self.tokens += event.body["tokens"]
        elif what == "checked":
            self.checked = len(self.line)
        elif what == "lost":
            for n in event.body["experiments"]:
                self.lost.add(n)
                self.experiments[n] = replace(self.experiments[n], lost=True)

    def _take_experiment(self, event: ChainedEvent, experiment: Experiment) -> None:
        n = experiment.n
        if n == len(self.experiments):
            self.experiments.append(experiment)
            self.cost_usd += experiment.cost_usd
            self.tokens += experiment.tokens
        else:
            old = self.experiments[n]
            if old.rolled_back or old.lost:
                experiment = replace(experiment, rolled_back=old.rolled_back, lost=old.lost)
            self.experiments[n] = experiment
            self.cost_usd += experiment.cost_usd - old.cost_usd
            self.tokens += experiment.tokens - old.tokens
        if event.kind == "measured":
            self.evaluations += 1
            self.cost_usd += experiment.measurements[-1].cost_usd
            self.dearest_usd = max(self.dearest_usd, experiment.measurements[-1].cost_usd)
        elif event.kind == "proposed":
            if experiment.origin is not None:
                self.agenda.revived(experiment.origin)
            if experiment.job is not None:
                self.agenda.taken(experiment.job, n)
        elif event.kind == "frozen" and not experiment.rebased:
            self.trees.setdefault(experiment.tree, n)
        elif event.kind == "decided":
            self.take_decision(experiment)

    def take_decision(self, experiment: Experiment) -> None:
        """Experiments are decided in the order of numbers."""
        if experiment.kept:
            self.line.append(experiment.n)
        self.incumbents.append(self.line[-1] if self.line else 0)

    def roll_back(self, to: int) -> None:
        """Take kept changes out of the line; their records say so."""
        while self.line and self.line[-1] != to:
            n = self.line.pop()
            self.experiments[n] = replace(self.experiments[n], rolled_back=True)
        if self.incumbents:
            self.incumbents[-1] = to
        self.checked = min(self.checked, len(self.line))

    @property
    def decided(self) -> int:
        """The number of the newest decided experiment, -1 before the baseline's verdict."""
        return len(self.incumbents) - 1

    @property
    def incumbent(self) -> Experiment:
        """The newest on the line; its value is the bar, as it was measured last."""
        e = self.experiments[self.line[-1]]
        bar = self.agenda.bars.get(e.n)
        return e if bar is None else replace(e, value=bar)

    def bar_of(self, e: Experiment) -> int:
        """Which experiment a candidate has to beat: what it stands on; of one that begins at an earlier keep, the incumbent."""
        if not e.restarts:
            return e.stands_on
        return self.incumbents[e.n - 1] if e.n <= len(self.incumbents) else self.line[-1]

    @property
    def waiting(self) -> list[Experiment]:
        """Experiments that were held for a person, who did not answer yet."""
        answered = self.agenda.approved | self.agenda.dismissed | {e.origin for e in self.experiments}
        return [e for e in self.experiments if e.held and e.n not in answered]

    @property
    def exact(self) -> bool:
        """Whether the baseline's evaluations agree bit for bit, or are taken to, and nothing said otherwise since."""
        if self.agenda.method is not None:
            return self.agenda.method.rule == "exact"
        if not self.line or self.run is None:
            return False
        found = [m.values.get(self.run.metric) for m in self.experiments[0].own if m.ok]
        return len(set(found)) == 1 and (len(found) > 1 or self.run.acceptance == "exact")

    @property
    def validated(self) -> Gain | None:
        """The final comparison of the present incumbent, if it had one."""
        if self.run is None or not self.line or self.run.validated_of != self.line[-1]:
            return None
        return self.run.validated

    def to_pandas(self) -> pandas.DataFrame:
        """The experiments as a table, one row each; see `autoresearch.frame`."""
        return to_frame(self.experiments)

    def as_of(self, decision: int) -> View:
        """What was known once experiment `decision` was decided."""
        return View(self, max(0, decision))


def gate_queries(history: History) -> int:
    """How many candidates were measured behind the gate; the baseline's and incumbents' own evaluations are none."""
    return sum(m.phase == "gate" and m.of == e.n for e in history.experiments[1:] for m in e.measurements)


class Fold:
    """The effect of a transaction's events, worked out before any of it is installed."""

    def __init__(self, history: History, origin: str) -> None:
        self._history = history
        self.head = history.run.head if history.run is not None else origin
        self._record = history.run
        self.changed: dict[int, Experiment] = {}
        self.steps: list[tuple[ChainedEvent, Experiment | None, RunRecord]] = []

    def take(self, event: ChainedEvent) -> None:
        experiment = None
        if event.n is not None:
            known = self._history.experiments
            old = self.changed.get(event.n) or (known[event.n] if event.n < len(known) else None)
            experiment = self.changed[event.n] = advance(old, event)
        self._record = advance_run(self._record, event)
        self.head = event.hash
        self.steps.append((event, experiment, self._record))

    def install(self) -> ChainedEvent:
        """Let the history have it, once the transaction stands; gives the last event."""
        for event, experiment, record in self.steps:
            self._history.install(event, experiment, record)
        return self.steps[-1][0]


class View(Sequence[Experiment]):
    """The decided experiments 0..decision, as one that was asked then sees them. Reads, never copies."""

    __slots__ = ("_history", "decision")

    def __init__(self, history: History, decision: int) -> None:
        self._history = history
        self.decision = decision

    def __len__(self) -> int:
        return self.decision + 1

    def __getitem__(self, n: Any) -> Any:
        if isinstance(n, slice):
            return [self._history.experiments[i] for i in range(*n.indices(len(self)))]
        if not -len(self) <= n < len(self):
            raise IndexError(n)
        return self._history.experiments[n if n >= 0 else len(self) + n]

    def __iter__(self) -> Iterator[Experiment]:
        return (self._history.experiments[n] for n in range(len(self)))

    @property
    def run(self) -> RunRecord:
        assert self._history.run is not None
        return self._history.run

    @property
    def incumbent(self) -> Experiment:
        return self._history.experiments[self._history.incumbents[self.decision]]

    @property
    def baseline(self) -> Experiment:
        return self._history.experiments[0]

    @property
    def noise_sd(self) -> float:
        """Standard deviation of one evaluation of the baseline, in its unit; 0.0 if exact, and where it is not known."""
        method = self._history.agenda.method
        return 0.0 if method is None or self._history.exact else method.sd or 0.0

    def scale(self, e: Experiment) -> float:
        """How many times the baseline's noise there is at what an experiment had to beat: that of times grows with them."""
        method, bar, base = self._history.agenda.method, self.bar(e), self._history.experiments[0].value
        return abs(bar / base) if method is not None and method.log and bar and base else 1.0

    def gain(self, e: Experiment) -> float | None:
        """By how much a decided experiment was better than what it had to beat, in the metric's unit; None without a value."""
        bar, sign = self.bar(e), 1 if self.run.direction == "maximize" else -1
        return None if e.value is None or bar is None else sign * (e.value - bar)

    def bar(self, e: Experiment) -> float | None:
        """The value that a decided experiment had to beat: of the incumbent's runs beside it, else of what it is compared with.

        None for the baseline.
        """
        if not e.n:
            return None
        beside = [m.values[self.run.metric] for m in e.measurements[e.base :] if m.phase == "race" and m.ok and m.of != e.n]
        return statistics.fmean(beside) if beside else self.of(self._history.bar_of(e)).value

    @property
    def ideas(self) -> list[Idea]:
        """The owner's ideas that are not done."""
        return list(self._history.agenda.open_ideas())

    @property
    def exact(self) -> bool:
        """Whether the metric is, as far as the run knows now; `method` is how it decides."""
        return self._history.exact

    @property
    def method(self) -> Method | None:
        return self._history.agenda.method

    def of(self, n: int) -> Experiment:
        """Any experiment that was asked, decided in this view or not."""
        return self._history.experiments[n]

    def plan(self, e: Experiment) -> Plan:
        """What an experiment was asked for, as far as this view knows: of an undecided one, what it was asked for at first."""
        if e.n >= len(self):
            return e.first_plan
        return Plan(e.parents, e.operation, e.asked, e.mutation, e.escalation)

    @property
    def pending(self) -> list[Experiment]:
        """Experiments that were asked before the next one and are not decided in this view, in order."""
        return self._history.experiments[self.decision + 1 :]
