"""What the single-run rules share: one evaluation an experiment, compared with the incumbent's recorded value by a margin."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from autoresearch.acceptance.method import method
from autoresearch.contracts import Settings, Situation
from autoresearch.noise import Scale
from autoresearch.records import Experiment, Kind, Measure, Measurement, Outcome, Step, Verdict

_KINDS = {Outcome.TIMEOUT: Kind.TIMEOUT, Outcome.TAMPERING: Kind.INVALID}


def seed_for(settings: Settings, n: int, index: int) -> int:
    """The seed of a measurement, from run seed, experiment and index alone; fits in 31 bits."""
    return int.from_bytes(hashlib.sha256(f"{settings.seed}/{n}/{index}".encode()).digest()[:4], "big") >> 1


def failure(measurements: Sequence[Measurement]) -> Verdict | None:
    """The verdict of an experiment whose evaluation failed, None if none did."""
    for m in measurements:
        if not m.ok:
            return Verdict(_KINDS.get(m.outcome, Kind.CRASH), m.outcome.value, m.words)
    return None


def values(experiment: Experiment, metric: str) -> list[float]:
    return [m.values[metric] for m in experiment.own if m.ok]


def min_effect(situation: Situation) -> float:
    """The smallest gain worth keeping, in the metric's unit."""
    settings = situation.settings
    return settings.min_effect + settings.min_effect_relative * abs(situation.baseline.value or 0.0)


def measure_baseline(situation: Situation, count: int) -> Step | None:
    """Ask for the baseline's evaluations; None when all `count` are there."""
    current = situation.current
    failed = failure(current.own)
    if failed is not None:
        return failed
    done = len(current.own)
    if done < count:
        return Measure(of=0, arm="baseline", seed=seed_for(situation.settings, 0, done), phase="baseline")
    return None


def judge(situation: Situation, margin: float) -> Step:
    """One evaluation; kept if it beats the incumbent's value by more than `margin` (oriented: larger is better)."""
    current, settings = situation.current, situation.settings
    own = current.own
    if not own:
        return Measure(of=current.n, arm="candidate", seed=seed_for(settings, current.n, 0), phase="first")
    failed = failure(own)
    if failed is not None:
        return failed
    value, bar = own[-1].values[settings.metric], situation.incumbent.value
    assert bar is not None
    gain = settings.sign() * (value - bar)
    if gain > margin:
        return Verdict(Kind.KEEP, "better", f"{value:.6g} against {bar:.6g}", value)
    reason = "tie" if gain == 0 else "worse" if gain < 0 else "screened"
    words = f"{value:.6g} against {bar:.6g}" + (f", needs more than {margin:.3g}" if reason == "screened" else "")
    return Verdict(Kind.DISCARD, reason, words, value)


def baseline_verdict(situation: Situation, rule: str, words: str) -> Verdict:
    """The baseline's, with how the run decides from here on."""
    own, settings = situation.current.own, situation.settings
    found = [m.values[settings.metric] for m in own]
    value = statistics.fmean(found) if len(set(found)) > 1 else found[0]
    return Verdict(Kind.KEEP, "baseline", words, value, method(settings, rule, own))


def noisy_verdict(situation: Situation, rule: str, *, alpha: float = 0.0, repeats: bool = False) -> Verdict:
    """The baseline's where the metric is noisy: its spread, and what cannot be seen because of it."""
    verdict = baseline_verdict(situation, rule, "")
    own = situation.current.own
    found = method(situation.settings, rule, own, alpha=alpha, repeats=repeats)
    value = abs(verdict.value or 0.0)
    share = f" ({100 * (found.detectable or 0) / value:.2g} %)" if value else ""
    seeds = "; pairs under common seeds show more" if found.seeded and rule == "race" else ""
    words = f"noisy: sd {found.sd or 0:.2g} · gains below {found.detectable or 0:.2g}{share} cannot be seen{seeds}"
    return replace(verdict, words=words, method=found)


def refresh(situation: Situation) -> Measure:
    """The incumbent once more."""
    current = situation.current
    seed = seed_for(situation.settings, current.n, 1000 + len(current.measurements))
    return Measure(of=situation.incumbent.n, arm="incumbent", seed=seed, phase="between")


def in_numbers(effect: float, scale: Scale, bar: float) -> float:
    """An effect in the metric's unit as a difference of oriented numbers, at the bar."""
    if not scale.log or not effect:
        return effect
    value = scale.value(bar)
    return abs(math.log(value) - math.log(value + scale.sign * effect)) if value + scale.sign * effect > 0 else math.inf
