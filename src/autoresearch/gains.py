"""What a run's gain is worth: keeps, races, noise, and what the usual rule would have made of the same proposals.

The same figures for the terminal, exports and Python. Reads records only.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from autoresearch.history import History, gate_queries
from autoresearch.noise import DETECTABLE, tally
from autoresearch.records import Experiment, Measurement

MUCH = 0.6
"""Repeats that take more of the evaluations say that one evaluation is too noisy."""
TRIED = 30
"""After so many experiments without a keep it is said what cannot be seen."""
_NOT_BETTER = ("guard", "check")  # the usual rule would not have kept these either


@dataclass(frozen=True, slots=True)
class Replay:
    """What the usual rule would have done with the same proposals: one run each, and what is better than the best is kept.

    Attributes:
        kept: how many it would have kept; `claimed` its gain in the metric's unit, positive is better.
    """

    kept: int
    claimed: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What stands behind a run's result.

    Attributes:
        rule: how candidates were decided on.
        kept: keeps that are in the result, `simpler` of them for fewer lines; `races` candidates that were measured again.
        expected_false: bound on how many of the keeps are expected to be no gain; None where the rule has none.
        sd: noise of one evaluation, in the metric's unit at the baseline; `detectable` the smallest gain that is found in
            four of five cases; None where it was not measured.
        drifts: the machine drifts: the incumbent's runs differ over time by more than side by side.
        repeats: share of the evaluations that were repeats.
        replay: the usual rule on the same proposals; None for an exact metric.
        small: keeps that add lines for a gain below twice the detectable one: the first to be taken out by way of trial.
    """

    rule: str
    kept: int
    simpler: int
    races: int
    expected_false: float | None
    sd: float | None
    detectable: float | None
    drifts: bool
    repeats: float
    replay: Replay | None
    small: tuple[int, ...]


def evidence(history: History) -> Evidence | None:
    """What stands behind the present result; None before the baseline is measured, also where that is done anew."""
    method = history.agenda.method
    if method is None or not history.line or not any(m.ok for m in history.experiments[0].own):
        return None
    known = tally(history)
    exact, base = history.exact, history.experiments[0].value or 0.0
    kept, unit = len(history.line) - 1, abs(base) if known.scale.log else 1.0
    sd = 0.0 if exact else known.alone.sd * unit if known.races else method.sd
    detectable = None if sd is None else DETECTABLE * sd
    simpler = sum(
        e.verdict is not None and e.verdict.reason == "simpler" for e in map(history.experiments.__getitem__, history.line)
    )
    bound = min(float(kept - simpler), method.alpha * known.races) if method.alpha else 0.0 if exact else None
    repeats = sum(m.phase in ("race", "between") for e in history.experiments for m in e.measurements)
    return Evidence(
        rule=method.rule,
        kept=kept,
        simpler=simpler,
        races=known.races,
        expected_false=bound,
        sd=sd,
        detectable=detectable,
        drifts=known.drifts,
        repeats=repeats / max(1, history.evaluations),
        replay=None if exact or method.rule == "single" else replay(history),
        small=tuple(_small(history, detectable or 0.0)),
    )


def replay(history: History) -> Replay:
    """Play the usual rule on the first runs of this run's proposals, as they were measured."""
    assert history.run is not None
    metric, sign = history.run.metric, 1 if history.run.direction == "maximize" else -1
    first = next(m.values[metric] for m in history.experiments[0].own if m.ok)
    best, kept = first, 0
    for value in _first_runs(history, metric):
        if sign * (value - best) > 0:
            best, kept = value, kept + 1
    return Replay(kept, sign * (best - first))


def _first_runs(history: History, metric: str) -> Iterable[float]:
    for e in history.experiments[1 : history.decided + 1]:
        found = next((m for m in e.own if m.phase == "first" and m.ok), None)
        if found is not None and e.origin is None and not (e.verdict and e.verdict.reason in _NOT_BETTER):
            yield found.values[metric]


@dataclass(frozen=True, slots=True)
class Gate:
    """How often the gate was asked about a candidate, how many it let pass, and how often it may be asked."""

    queries: int
    passed: int
    most: int


def gate(history: History) -> Gate | None:
    """What the gate was asked; None where there is none. It never tells a number."""
    if not history.agenda.queries:
        return None
    asked = [e for e in history.experiments[1:] if any(m.phase == "gate" and m.of == e.n for m in e.measurements)]
    return Gate(gate_queries(history), sum(e.kept for e in asked), history.agenda.queries)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two measurements side by side, and the gain of the first over the second in the metric's unit."""

    one: Measurement
    other: Measurement
    gain: float


def pairs(measurements: Iterable[Measurement], history: History) -> list[Pair]:
    """The pairs of a race, a checkpoint or a final comparison: two under the same seed, one after the other."""
    assert history.run is not None
    sign, metric = 1 if history.run.direction == "maximize" else -1, history.run.metric
    found = []
    for a, b in itertools.pairwise(m for m in measurements if m.ok):
        if a.seed != b.seed or a.of == b.of:
            continue
        one, other = (a, b) if _is_newer(a, b) else (b, a)
        found.append(Pair(one, other, sign * (one.values[metric] - other.values[metric])))
    return found


def _is_newer(a: Measurement, b: Measurement) -> bool:
    return a.arm == "candidate" or b.arm in ("baseline", "checkpoint")


def gain_of(e: Experiment, history: History) -> float | None:
    """The gain that an experiment was decided on, in the metric's unit, positive is better; None where it was not measured.

    Its value against the incumbent's runs beside it; where there were none, against the value of what it was compared with.
    """
    assert history.run is not None
    if e.value is None or not e.parents:
        return None
    made = [m for m in e.measurements[e.base :] if m.phase == "race" and m.ok and m.of != e.n]
    bar = statistics.fmean(m.values[history.run.metric] for m in made) if made else history.experiments[history.bar_of(e)].value
    return None if bar is None else (e.value - bar) * (1 if history.run.direction == "maximize" else -1)


def _small(history: History, detectable: float) -> Iterable[int]:
    for n in history.line[1:]:
        e = history.experiments[n]
        gain = gain_of(e, history)
        if gain is not None and (e.lines or 0) > 0 and gain < 2 * detectable:
            yield n
