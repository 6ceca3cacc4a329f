"""A bench for acceptance rules: plays the loop's part, measures by a function, records in a ledger in memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from autoresearch.acceptance import make
from autoresearch.books import method_note
from autoresearch.contracts import Acceptance, Settings, Situation
from autoresearch.history import History
from autoresearch.ledger import MemoryLedger
from autoresearch.records import Done, Event, Measure, RollBack, Step, Verdict
from autoresearch.testing.ledgers import start

SETTINGS = Settings("score", "maximize")
Values = Callable[[Measure], float | None]
"""What a measurement gives; None is a failure."""


class Bench:
    """Plays the loop's part for a rule: asks it, measures what it asks for by a function, records what it decides."""

    def __init__(self, values: Values, settings: Settings = SETTINGS, rule: Acceptance | str = "auto") -> None:
        self.values, self.settings = values, settings
        self.rule = make(rule) if isinstance(rule, str) else rule
        self.ledger = MemoryLedger()
        self.ledger.append("r", start(direction=settings.direction))
        self._add(0, "baseline", [])
        self.verdicts = [self._baseline()]

    @property
    def history(self) -> History:
        return self.ledger.history("r")

    def _add(self, n: int, operation: str, parents: list[int], **frozen: Any) -> None:
        self.ledger.append(
            "r",
            Event("asked", n, {"parents": parents, "operation": operation}),
            Event("proposed", n, {"description": f"patch {n}"}),
            Event("frozen", n, {"tree": f"tree {n}", "commit": f"commit {n}", **frozen}),
        )

    def step(self, phase: str, n: int) -> Step:
        history = self.history
        current = history.experiments[n]
        incumbent = history.incumbent if history.line else current
        return self.rule.next(Situation(phase, self.settings, current, incumbent, history))

    def measure(self, n: int, step: Measure) -> None:
        value = self.values(step)
        index = len(self.history.experiments[n].measurements)
        body: dict[str, Any] = {"of": step.of, "arm": step.arm, "index": index, "seed": step.seed, "phase": step.phase}
        body |= {"outcome": "exit", "values": {}} if value is None else {"outcome": "ok", "values": {"score": value}}
        self.ledger.append("r", Event("measured", n, {**body, "duration_s": 1.0}))

    def _decide(self, n: int, verdict: Verdict) -> Verdict:
        body = {"verdict": verdict.kind.value, "reason": verdict.reason, "words": verdict.words, "value": verdict.value}
        notes = []
        if verdict.method is not None:
            notes = [note_of(verdict)]
        self.ledger.append("r", *notes, Event("decided", n, {k: v for k, v in body.items() if v is not None}))
        return verdict

    def _baseline(self) -> Verdict:
        while isinstance(step := self.step("baseline", 0), Measure):
            self.measure(0, step)
        assert isinstance(step, Verdict)
        return self._decide(0, step)

    def experiment(self, **frozen: Any) -> Verdict:
        """One more experiment, with what follows it."""
        n = len(self.history.experiments)
        self._add(n, "improve", [self.history.line[-1]], **frozen)
        while isinstance(step := self.step("experiment", n), Measure):
            self.measure(n, step)
        assert isinstance(step, Verdict)
        self.verdicts.append(self._decide(n, step))
        self.between(n)
        return step

    def between(self, n: int) -> None:
        while not isinstance(step := self.step("between", n), Done):
            if isinstance(step, RollBack):
                event = {"to": step.to, "words": step.words, "commit": "c", "tree": "t", "moved": True}
                notes = [note_of(step)] if step.method is not None else []
                self.ledger.append("r", *notes, Event("rolled_back", n, event))
            else:
                assert isinstance(step, Measure)
                self.measure(n, step)
        if step.method is not None:
            self.ledger.append("r", note_of(step))

    def measured(self, n: int, phase: str) -> list[tuple[str, int]]:
        return [(m.arm, m.seed) for m in self.history.experiments[n].measurements if m.phase == phase]


def note_of(step: Verdict | RollBack | Done) -> Event:
    assert step.method is not None
    return method_note(step.method)


def worlds(effects: Sequence[float], sd: float = 1.0, seed: int = 1, drift: float = 0.0) -> Values:
    """Experiment n has the true value effects[n]; Gaussian noise, and a drift with each evaluation."""
    draw, count = random.Random(seed), [0]

    def values(step: Measure) -> float:
        count[0] += 1
        return effects[step.of] + draw.gauss(0, sd) + drift * count[0]

    return values
