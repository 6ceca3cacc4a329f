"""Seven trials of an acceptance rule: each plays nights with known truth and says what was found against what is wanted.

For those who write rules: `honesty.trials("my_rules:MyRace")`. A rule that passes spends nothing on exact metrics, keeps next
to nothing where there is nothing, is not fooled by one lucky run or a drifting machine, finds large gains, decides alike in
any direction and unit, and claims what is true. The thresholds are looser than what our rules do, by a margin.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from autoresearch.api import Result, optimize
from autoresearch.records import Direction
from autoresearch.testing.nights import Night, of_world, tail
from autoresearch.testing.worlds import Effects, Noise, World, play

NOTHING = 0.0
NOISY = Noise(sd=1.0)
STEPS: tuple[float, ...] = (0.5, 0.0, -1.0, 0.0, 0.25, -0.5, 0.0, 2.0, -3.0, 0.125)
"""Effects of an exact metric's proposals: four of ten are strictly better, three are ties."""
SCALES: tuple[tuple[Direction, float, float], ...] = (
    ("maximize", 1.0, 0.0),
    ("minimize", 1.0, 0.0),
    ("maximize", 1.0, -5000.0),
    ("minimize", 1e-9, 0.0),
    ("maximize", 1e9, -2e9),
    ("minimize", 1e9, 1e9),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one trial found.

    Attributes:
        wanted: the bound that `found` has to keep: `<=` or `>=` it.
        count: how many cases a share is of; 0 for what is no share.
    """

    trial: str
    what: str
    found: float
    sign: str
    wanted: float
    count: int = 0

    @property
    def is_met(self) -> bool:
        return self.found <= self.wanted if self.sign == "<=" else self.found >= self.wanted

    @property
    def is_refuted(self) -> bool:
        """Whether a rule that keeps the bound would find this less than once in 1000 times: for tests of few nights."""
        if self.is_met or not self.count:
            return not self.is_met
        hits, share = round(self.found * self.count), self.wanted
        if self.sign == ">=":
            hits, share = self.count - hits, 1 - share
        return tail(hits, self.count, share) < 0.001

    def __str__(self) -> str:
        met = "met" if self.is_met else "NOT MET"
        return f"{self.trial}: {self.what}: {self.found:.4g} (wanted {self.sign} {self.wanted:g}): {met}"


Findings = Iterator[Finding]


def trials(acceptance: str = "auto", *, nights: int = 100) -> Findings:
    """All seven, `nights` each where noise decides: a third of it where a night is long, six times as many for what is rare."""
    few = max(10, nights // 3)
    yield from exact_economy(acceptance)
    yield from idle_night(acceptance, nights=few)
    yield from lucky_outlier(acceptance, nights=6 * nights)
    yield from large_gain(acceptance, nights=nights)
    yield from drifting_machine(acceptance, nights=few)
    yield from any_scale(acceptance, nights=few)
    yield from honest_claim(acceptance, nights=max(50, few))


def at_most(trial: str, what: str, found: float, wanted: float, *, count: int = 0) -> Finding:
    return Finding(trial, what, found, "<=", wanted, count)


def at_least(trial: str, what: str, found: float, wanted: float, *, count: int = 0) -> Finding:
    return Finding(trial, what, found, ">=", wanted, count)


# -- the trials --------------------------------------------------------------------------------------------------------


def exact_economy(acceptance: str = "auto") -> Findings:
    """A deterministic metric costs one evaluation an experiment; strictly better is kept, a tie is not."""
    world = World(Noise(), STEPS * 5)
    result = play(world, acceptance)
    night, name = of_world(world, result), "exact economy"
    again = sum(m.phase in ("between", "final") for e in result.history.experiments for m in e.measurements)
    yield at_most(name, "evaluations of one experiment", night.most, 1)
    yield at_most(name, "evaluations beyond 50 + 2 and those of checkpoints and final", world.evaluations - 52 - again, 0)
    yield at_most(name, "experiments decided otherwise than by being strictly better", _wrong(world, result), 0)


def idle_night(acceptance: str = "auto", *, nights: int = 10, experiments: int = 300) -> Findings:
    """Gaussian noise, and nothing that is proposed has any effect."""
    played = [_night(acceptance, [NOTHING] * experiments, night=i) for i in range(nights)]
    keeps, name = [night.keeps for _, night in played], "idle night"
    claims = sum(result.validated is not None and result.validated.low > 0 for result, _ in played)
    beyond = sum(night.is_covered is False for _, night in played)
    yield at_most(name, "mean keeps", statistics.fmean(keeps), 1.5)
    many = sum(k > 5 for k in keeps)
    yield at_most(name, "share of nights with more than 5 keeps", many / nights, 0.01, count=nights)
    yield at_most(name, "share of nights with a validated gain", claims / nights, 0.2, count=nights)
    yield at_most(name, "share of nights whose interval is beyond 0", beyond / nights, 0.3, count=nights)


def lucky_outlier(acceptance: str = "auto", *, nights: int = 100) -> Findings:
    """After 20 proposals without effect one whose first run is 20 sd too good, then one that is truly 3 sd better."""
    effects = [NOTHING] * 21 + [3.0]
    kept = [_kept(_night(acceptance, effects, night=i, spikes={21: 20.0})[0]) for i in range(nights)]
    yield at_most("lucky outlier", "share of nights that keep it", sum(21 in k for k in kept) / nights, 0.03, count=nights)
    yield at_least(
        "lucky outlier", "share that keep the true gain after it", sum(22 in k for k in kept) / nights, 0.75, count=nights
    )


def large_gain(acceptance: str = "auto", *, nights: int = 100, max_repeats: int = 8) -> Findings:
    """A gain of 4 sd is found, a loss of 4 sd costs one evaluation."""
    name = "large gain"
    for before in (0, 30):
        effects = [NOTHING] * before + [4.0]
        played = [_night(acceptance, effects, night=i, max_repeats=max_repeats) for i in range(nights)]
        found = sum(before + 1 in _kept(result) for result, _ in played) / nights
        yield at_least(name, f"share of nights that keep +4 sd after {before} others", found, 0.9, count=nights)
        most = max(night.most for _, night in played)
        yield at_most(name, "evaluations of one experiment", most, 1 + 2 * max_repeats)
    lost = [_night(acceptance, [-4.0], night=i)[1] for i in range(nights)]
    single = sum(night.most == 1 for night in lost) / nights
    yield at_least(name, "share of nights with one evaluation of -4 sd", single, 0.95, count=nights)


def drifting_machine(acceptance: str = "auto", *, nights: int = 20) -> Findings:
    """The machine drifts by a tenth of a standard deviation at each evaluation, for better or worse."""
    idle, real = [NOTHING] * 100, ([NOTHING] * 9 + [4.0]) * 10
    for slope, least in ((0.1, 0.9), (-0.1, 0.75)):
        noise, name = Noise(sd=1.0, slope=slope), f"drift of {slope:+g} sd"
        keeps = [_night(acceptance, idle, night=i, noise=noise)[1].keeps for i in range(nights)]
        yield at_most(name, "mean keeps without effect", statistics.fmean(keeps), 1.0)
        kept = [_kept(_night(acceptance, real, night=i, noise=noise)[0]) for i in range(nights)]
        found = sum(n % 10 == 0 for k in kept for n in k) / (10 * nights)
        yield at_least(name, "share kept of gains of 4 sd", found, least, count=10 * nights)


def any_scale(acceptance: str = "auto", *, nights: int = 10) -> Findings:
    """Direction, sign and unit of the metric change no decision; what is no number is never kept."""
    name = "any scale"
    exact: list[Sequence[str]] = []
    noisy: list[list[Sequence[str]]] = []
    for direction, unit, zero in SCALES:
        world = World(Noise(), STEPS * 5, direction=direction, unit=unit, zero=zero)
        exact.append(_verdicts(play(world, acceptance)))
        scale: dict[str, Any] = {"direction": direction, "unit": unit, "zero": zero}
        noisy.append([_verdicts(_night(acceptance, [0.0, -4.0, 4.0] * 3, night=i, scale=scale)[0]) for i in range(nights)])
    yield at_most(name, "scales with other decisions, exact", sum(v != exact[0] for v in exact), 0)
    yield at_most(name, "scales with other decisions, noisy", sum(v != noisy[0] for v in noisy), 0)
    yield at_most(name, "keeps of what is no number", _strange(acceptance), 0)
    world = World(Noise(), STEPS * 5)
    small = play(world, acceptance, min_effect=0.4)
    below = sum((world.effects[n] or 0.0) <= 0.4 for n in _kept(small))
    yield at_most(name, "keeps below min_effect", below, 0)
    yield at_least(name, "keeps above min_effect", len(_kept(small)), 10)


def honest_claim(acceptance: str = "auto", *, nights: int = 50) -> Findings:
    """Thirty small real gains in a noisy night: the headline is a fresh comparison with the baseline, and true."""
    effects, name = ([NOTHING] * 4 + [1.0]) * 30, "honest claim"
    played = [_night(acceptance, effects, night=i) for i in range(nights)]
    validated = [night for _, night in played if night.mean is not None]
    bias = [(night.mean or 0.0) - night.true for night in validated]
    headlines = [result.headline for result, night in played if night.keeps]
    yield at_least(name, "share of nights with keeps that validated", len(validated) / max(1, len(headlines)), 1.0)
    held = sum(bool(night.is_covered) for night in validated) / max(1, len(validated))
    yield at_least(name, "share of intervals that hold the truth", held, 0.75, count=len(validated))
    yield at_most(name, "bias of validated gains, in standard errors", abs(_standard(bias)), 3.3)
    yield at_most(name, "headlines without a validated gain", sum("validated" not in words for words in headlines), 0)
    yield at_most(name, "headlines that show the best value ever", sum(_boasts(r) for r, _ in played), 0)


# -- what they count ---------------------------------------------------------------------------------------------------


def _night(
    acceptance: str,
    effects: Effects,
    *,
    night: int,
    noise: Noise = NOISY,
    spikes: dict[int, float] | None = None,
    scale: dict[str, Any] | None = None,
    **settings: Any,
) -> tuple[Result, Night]:
    world = World(noise, effects, night=night, spikes=spikes, **(scale or {}))
    result = play(world, acceptance, **settings)
    return result, of_world(world, result)


def _kept(result: Result) -> set[int]:
    return {t.n for t in result.history if t.n and t.kept}


def _verdicts(result: Result) -> Sequence[str]:
    return [f"{t.verdict} {t.reason}" for t in result.history]


def _wrong(world: World, result: Result) -> int:
    return sum(t.kept != ((world.effects[t.n] or 0.0) > 0) for t in result.history if t.n)


def _strange(acceptance: str) -> int:
    """How many proposals are kept whose evaluation gives no number, two, or none."""
    answers: list[Any] = [math.nan, math.inf, -math.inf, None, (2.0, 3.0), {"other": 2.0}, "better"]
    kept = 0
    for noise in (NOTHING, 1.0):
        result = optimize(
            0,
            fitness=partial(_strange_score, answers, noise, Random(0)),
            propose=lambda state, history: len(history),
            experiments=len(answers),
            acceptance=acceptance,
            show=False,
        )
        kept += len(_kept(result))
    return kept


def _strange_score(answers: Sequence[Any], noise: float, errors: Random, state: int) -> Any:
    return answers[state - 1] if state else noise * errors.gauss(0, 1)


def _boasts(result: Result) -> bool:
    """Whether the headline shows the best single measurement of the night."""
    best = max(m.values["score"] for e in result.history.experiments for m in e.measurements if m.ok)
    return f"{best:.4g}" in result.headline


def _standard(values: Sequence[float]) -> float:
    """The mean in its standard errors; 0 of what does not differ."""
    if len(set(values)) < 2:
        return 0.0
    return statistics.fmean(values) / (statistics.stdev(values) / math.sqrt(len(values)))
