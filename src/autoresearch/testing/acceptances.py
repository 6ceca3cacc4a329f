"""Conformance suite for acceptance rules, and a toy rule that uses all of the contract.

`ToyRace` has interleaved races, checkpoints with roll-back and a final validation. It proves that the contract carries
them; its statistics are a toy's.
"""

from __future__ import annotations

import statistics
from typing import Any

import pytest

from autoresearch.api import optimize
from autoresearch.contracts import Acceptance, Situation
from autoresearch.records import Done, Experiment, Gain, Kind, Measure, Measurement, RollBack, Step, Verdict

PAIRS = 2
CHECKPOINT_EVERY = 3  # keeps


class ToyRace:
    """Two baselines; a promising candidate races the incumbent in two pairs; every third keep is checked against the last
    checkpoint in two pairs; at the end two pairs of the result against the baseline."""

    def next(self, situation: Situation) -> Step:
        return getattr(self, f"_{situation.phase}")(situation)  # type: ignore[no-any-return]

    def _baseline(self, s: Situation) -> Step:
        own = s.current.own
        if len(own) < 2:
            return Measure(of=0, arm="baseline", seed=len(own), phase="baseline")
        return Verdict(Kind.KEEP, "baseline", "", _mean(s, own))

    def _experiment(self, s: Situation) -> Step:
        e = s.current
        if not e.own:
            return Measure(of=e.n, arm="candidate", seed=0, phase="first")
        failed = [m for m in e.measurements[e.base :] if m.arm == "candidate" and not m.ok]
        if failed:
            return Verdict(Kind.CRASH, failed[0].outcome.value, failed[0].words)
        bar = s.incumbent.value
        assert bar is not None
        if s.settings.sign() * (_mean(s, e.own[:1]) - bar) <= 0:
            return Verdict(Kind.DISCARD, "screened", "", _mean(s, e.own[:1]))
        race = [m for m in e.measurements[e.base :] if m.phase == "race"]
        if len(race) < 2 * PAIRS:
            return _alternate(len(race), ("candidate", e.n), ("incumbent", s.incumbent.n), "race")
        gain = _gain(s, race, "candidate", "incumbent")
        mine = _mean(s, [m for m in race if m.arm == "candidate"])
        return Verdict(Kind.KEEP, "better", "", mine) if gain > 0 else Verdict(Kind.DISCARD, "worse", "", mine)

    def _between(self, s: Situation) -> Step:
        line = s.history.line
        if not s.current.kept or (len(line) - 1) % CHECKPOINT_EVERY or len(line) == 1 or s.current.rolled_back:
            return Done()
        before = line[-1 - CHECKPOINT_EVERY]
        pairs = [m for m in s.current.measurements if m.phase == "between"]
        if len(pairs) < 2 * PAIRS:
            return _alternate(len(pairs), ("incumbent", s.current.n), ("checkpoint", before), "between")
        if _gain(s, pairs, "incumbent", "checkpoint") < 0:
            return RollBack(before, "worse than the last checkpoint")
        return Done()

    def _final(self, s: Situation) -> Step:
        pairs = [m for m in s.current.measurements if m.phase == "final"]
        if s.incumbent.n == 0:
            return Done("nothing was kept")
        if len(pairs) < 2 * PAIRS:
            return _alternate(len(pairs), ("incumbent", s.incumbent.n), ("baseline", 0), "final")
        gain = _gain(s, pairs, "incumbent", "baseline")
        return Done("compared", Gain(gain, gain, gain, PAIRS))


def _alternate(done: int, one: tuple[str, int], other: tuple[str, int], phase: Any) -> Measure:
    """AB, BA, AB, …, both arms of a pair on the same seed."""
    first = (done % 2 == 0) == (done // 2 % 2 == 0)
    arm, of = one if first else other
    return Measure(of=of, arm=arm, seed=done // 2, phase=phase)


def _mean(s: Situation, measurements: Any) -> float:
    return statistics.fmean(m.values[s.settings.metric] for m in measurements)


def _gain(s: Situation, measurements: list[Measurement], one: str, other: str) -> float:
    mean = {arm: _mean(s, [m for m in measurements if m.arm == arm and m.ok]) for arm in (one, other)}
    return s.settings.sign() * (mean[one] - mean[other])


class AcceptanceConformance:
    """What every acceptance rule does; give an `acceptance` fixture: its name, or `module:Class`."""

    def test_strictly_better_is_kept_and_worse_is_not(self, acceptance: str) -> None:
        steps = iter([-1.0, 5.0, -1.0, 3.0])
        result = optimize(10.0, fitness=lambda s: s, propose=lambda s: s + next(steps), experiments=4, acceptance=acceptance)
        assert result.score == 8.0
        assert [t.kept for t in result.history] == [True, True, False, True, False]

    def test_direction_is_respected(self, acceptance: str) -> None:
        steps = iter([-1.0, 5.0])
        result = optimize(
            10.0,
            fitness=lambda s: s,
            propose=lambda s: s + next(steps),
            experiments=2,
            acceptance=acceptance,
            direction="maximize",
        )
        assert [t.kept for t in result.history] == [True, False, True]

    def test_crash_is_never_kept_and_ends_nothing(self, acceptance: str) -> None:
        def fitness(state: float) -> float:
            if state < 10:
                raise ValueError("broken")
            return state

        steps = iter([-1.0, -2.0])
        result = optimize(10.0, fitness=fitness, propose=lambda s: s + next(steps), experiments=2, acceptance=acceptance)
        assert [t.verdict for t in result.history] == ["keep", "crash", "crash"]

    def test_is_a_pure_function(self, acceptance: str) -> None:
        from autoresearch.contracts import Settings
        from autoresearch.history import History

        rule = _make(acceptance)
        first = Experiment(0, stage="frozen")
        history = History(experiments=[first])
        situation = Situation("baseline", Settings("score"), first, first, history)
        assert rule.next(situation) == _make(acceptance).next(situation) == rule.next(situation)


def _make(name: str) -> Acceptance:
    from autoresearch.acceptance import make

    return make(name)


__all__ = ["AcceptanceConformance", "ToyRace", "pytest"]
