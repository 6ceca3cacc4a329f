"""A run told to an in-memory ledger, experiment by experiment: for whatever reads a run and needs none that worked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoresearch.history import History, View
from autoresearch.ledger.memory import MemoryLedger
from autoresearch.records import Event, Experiment, Plan


def asked(plan: Plan) -> dict[str, Any]:
    body = {"parents": list(plan.parents), "operation": plan.operation, "proposer": plan.proposer}
    return body | {"mutation": plan.mutation, "escalation": plan.escalation}


@dataclass
class Story:
    """A run whose baseline is worth `base`; each experiment is decided at once."""

    seed: int = 1
    direction: str = "minimize"
    base: float = 100.0
    ledger: MemoryLedger = field(default_factory=MemoryLedger)

    def __post_init__(self) -> None:
        started = {"task": "t", "metric": "score", "base": "b" * 40, "seed": self.seed, "direction": self.direction}
        self.tell(Event("run_started", None, started))
        self.experiment(Plan((), "baseline"), self.base, "keep", "baseline", proposer="")

    def tell(self, *events: Event) -> None:
        self.ledger.append("r", *events)

    @property
    def history(self) -> History:
        return self.ledger.history("r")

    def view(self, lag: int = 1) -> View:
        """What the next experiment is asked for with."""
        return self.history.as_of(len(self.history.experiments) - lag)

    def experiment(
        self,
        plan: Plan | None = None,
        value: float | None = None,
        verdict: str = "",
        reason: str = "",
        *,
        words: str = "",
        proposer: str = "agent",
        proposed: Mapping[str, Any] | None = None,
        frozen: Mapping[str, Any] | None = None,
    ) -> Experiment:
        """One more, on the incumbent unless the plan says otherwise; without a verdict a better value is kept."""
        n, history = len(self.history.experiments), self.history
        plan = plan or Plan((history.line[-1],))
        if not verdict:
            verdict, reason = self._judged(value)
        self.tell(
            Event("asked", n, asked(plan)),
            Event("proposed", n, {"description": f"idea {n}", "proposer": proposer, **(proposed or {})}),
        )
        if value is not None:
            measured = {"of": n, "arm": "candidate", "index": 0, "seed": 7, "phase": "first" if n else "baseline"}
            self.tell(
                Event("frozen", n, {"tree": f"tree{n}", "commit": f"commit{n}", **(frozen or {})}),
                Event("measured", n, {**measured, "outcome": "ok", "values": {"score": value}, "log": f"{n:06d}/eval-1.log"}),
            )
        body = {"verdict": verdict, "reason": reason, "words": words}
        self.tell(Event("decided", n, body if value is None else {**body, "value": value}))
        return self.history.experiments[n]

    def _judged(self, value: float | None) -> tuple[str, str]:
        if value is None:
            return "crash", "exit"
        best = self.history.incumbent.value
        assert best is not None
        gain = value - best if self.direction == "maximize" else best - value
        return ("keep", "better") if gain > 0 else ("discard", "tie" if gain == 0 else "worse")
