"""What a check found, as one record; `docs/json.md` describes its JSON form."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoresearch.checkup.breakage import Breakage
from autoresearch.checkup.controls import Ruined, Unchanged
from autoresearch.checkup.forecast import Disk, Pace, Sweep
from autoresearch.checkup.paid import Paid
from autoresearch.checkup.spread import Greedy, Spread
from autoresearch.guards import Bound, broken
from autoresearch.records import Readout
from autoresearch.text import slug


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the task file that something needs, why, and which wall it opens."""

    line: str
    because: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Passed:
    """A command that has to exit 0, on the baseline."""

    name: str
    passed: bool
    words: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class Bounded:
    """A guard on the baseline: what was read, and in which words it is broken."""

    name: str
    values: tuple[float, ...]
    broken: str


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything.

    Attributes:
        sealed: how the task failed as it stands, `` if it did not; `outside` how it fared there.
        lines: what is to be added to the task file; `written` whether that was done.
        reusable_until: until when a new run takes the measurements over, None if it cannot.
    """

    metric: str
    direction: str
    readouts: tuple[Readout, ...] = ()
    spread: Spread | None = None
    greedy: Greedy | None = None
    sealed: str = ""
    outside: str = ""
    lines: tuple[Line, ...] = ()
    written: bool = False
    breakage: Breakage | None = None
    unchanged: Unchanged = field(default_factory=Unchanged)
    ruined: Ruined = field(default_factory=Ruined)
    causes: tuple[str, ...] = ()
    guards: tuple[Bounded, ...] = ()
    checks: tuple[Passed, ...] = ()
    quick: Passed | None = None
    sets: tuple[Passed, ...] = ()
    setup_s: float | None = None
    build_s: float | None = None
    memory_mb: float = 0.0
    disk: Disk | None = None
    pace: Pace | None = None
    price: str = ""
    paid: Paid = field(default_factory=Paid)
    sweep: Sweep = field(default_factory=Sweep)
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reusable_until: float | None = None

    @property
    def ready(self) -> bool:
        return not self.problems and not self.paid.problems and (not self.lines or self.written)

    @property
    def values(self) -> list[float]:
        return [r.values[self.metric] for r in self.readouts if self.metric in r.values]

    def as_json(self) -> dict[str, Any]:
        """The documented object."""
        values, spread = self.values, self.spread
        measured = [r for r in self.readouts if self.metric in r.values]
        return {
            "ready": self.ready,
            "metric": self.metric,
            "values": values,
            "spread": max(values) - min(values) if len(values) > 1 else None,
            "exact": bool(spread and spread.exact),
            "other_values": [dict(r.values) for r in measured],
            "duration_s": [r.duration_s for r in measured],
            "peak_mb": [r.peak_mb for r in measured],
            "problems": [*self.problems, *self.paid.problems],
            "warnings": [*self.warnings, *self.paid.warnings],
            "sd": spread.sd if spread else None,
            "relative_sd": spread.relative if spread else None,
            "drift": {"trend": spread.trend, "correlation": spread.correlation, "drifts": spread.drifts} if spread else None,
            "outliers": list(spread.outliers) if spread else [],
            "detectable": spread.detectable if spread else None,
            "greedy": _plain(self.greedy),
            "sealed": self.sealed,
            "outside": self.outside,
            "lines": [_plain(line) for line in self.lines],
            "written": self.written,
            "editable": [_plain(b) for b in self.breakage.broken] if self.breakage else [],
            "controls": {"unchanged": _plain(self.unchanged), "broken": _plain(self.ruined)},
            "causes": list(self.causes),
            "guards": [_plain(g) for g in self.guards],
            "checks": [_plain(c) for c in self.checks],
            "quick": _plain(self.quick),
            "sets": [_plain(s) for s in self.sets],
            "setup_s": self.setup_s,
            "build_s": self.build_s,
            "memory": {"machine_mb": self.memory_mb, "limit_by": next((r.limit_by for r in measured if r.limit_by), "")},
            "disk": _plain(self.disk) | {"needed": self.disk.needed} if self.disk else None,
            "pace": _plain(self.pace),
            "price": self.price,
            "paid": list(self.paid.proposers),
            "sweep": _plain(self.sweep) | {"would_do": self.sweep.would_do},
            "reusable_until": self.reusable_until,
        }


def _plain(record: Any) -> Any:
    return dataclasses.asdict(record) if record is not None else None


def problems_of(
    guards: Sequence[Bounded], checks: Sequence[Passed], quick: Passed | None, sets: Sequence[Passed] = ()
) -> list[str]:
    """What of the further conditions the baseline itself does not meet."""
    found = [f"the baseline itself breaks a guard: {g.broken}" for g in guards if g.broken]
    logs = ".autoresearch/.check/logs"
    found += [
        f"check {c.name} fails on the unchanged code: {c.words}; see {logs}/check-{slug(c.name)}.log"
        for c in checks
        if not c.passed
    ]
    found += [f"[{s.name}] command fails on the unchanged code: {s.words}" for s in sets if not s.passed]
    return found + ([f"the quick test fails on the unchanged code: {quick.words}"] if quick and not quick.passed else [])


def bounds(guards: Sequence[Bound], measured: Sequence[Mapping[str, float]]) -> tuple[Bounded, ...]:
    """Each guard with what was read of it."""
    return tuple(
        Bounded(
            guard.name,
            tuple(values[guard.name] for values in measured if guard.name in values),
            broken(guard, measured, measured, strict=True),
        )
        for guard in guards
    )
