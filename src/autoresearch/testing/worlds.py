"""Scripted worlds with known truth: what an acceptance rule keeps in them can be counted.

A world plays evaluator and proposer of `optimize`. A state is `[value, id]`: its true value, larger is better and in units of a
typical gain, and the number of the proposal it came from. What evaluations add to the truth depends on the night, how many
there were before, and the seed; what is proposed depends on the night and how many there were before: never on the rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from autoresearch.api import Result, optimize
from autoresearch.errors import Exhausted
from autoresearch.records import Direction

if TYPE_CHECKING:
    from numpy.random import Generator

Purpose = Literal["evaluations", "proposals", "drift"]
_STREAMS: dict[Purpose, int] = {"evaluations": 0, "proposals": 1, "drift": 2}
HEAVY_SCALE = 0.882
"""Makes Student's t with three degrees of freedom as wide in the middle as the normal distribution."""
SLOW_SHARE, SLOW_MEAN, SLOW_SD = 0.07, 6.0, 0.8
"""One-sided slow-downs: so many evaluations lose an exponential of this mean, the others are a little quieter."""

FOREVER = 100_000  # experiments


@dataclass(frozen=True, slots=True)
class Noise:
    """How evaluations of one state differ.

    Attributes:
        sd: of one evaluation.
        shape: gauss; heavy, Student's t with three degrees of freedom; slow, rare one-sided losses as times have them.
        drift: standard deviation of a slow Ornstein-Uhlenbeck drift, in sd; its memory is `memory` evaluations.
        slope: a steady drift, in sd an evaluation.
        common: correlation of two evaluations under the same seed; above 0 fitness takes a seed.
    """

    sd: float = 0.0
    shape: Literal["gauss", "heavy", "slow"] = "gauss"
    drift: float = 0.0
    memory: float = 50.0
    slope: float = 0.0
    common: float = 0.0


@dataclass(frozen=True, slots=True)
class Mix:
    """Proposals as a night has them: shares of gains, losses and crashes; all others change nothing.

    Attributes:
        size: mean of a gain, which is exponential; it fades with the value reached (by e every `fade`), and with the number
            of the proposal (by e every `tempo`).
        loss: mean of a loss.
        price: what a change without effect costs.
        crash_cost: part of an evaluation that a crash costs: of the crashing proposals this share reaches an evaluation.
    """

    gain: float = 0.05
    harm: float = 0.35
    crash: float = 0.05
    size: float = 1.0
    fade: float = 20.0
    tempo: float = math.inf
    loss: float = 3.0
    price: float = 0.0
    crash_cost: float = 0.3


Effects = Mix | Sequence[float | None]
"""A mix, or the effects of the proposals one by one (None crashes), after which nothing is left to propose."""


class Crashed(Exception):
    """A proposal that crashes was evaluated."""


class World:
    """One night of one world; good for one run.

    Args:
        spikes: what is added to the first evaluation of a proposal, in sd, by its number from 1.
        unit, zero, direction: the score is `zero` plus or minus `unit` times the value measured.
        charge: evaluations that a proposal costs, and `purse` how many there are for both: then nothing is proposed any more.

    Attributes:
        effects: true effect of each proposal so far, by its number; None for one that crashes.
        evaluations: how many there were so far.
    """

    def __init__(
        self,
        noise: Noise,
        effects: Effects,
        *,
        night: int = 0,
        spikes: Mapping[int, float] | None = None,
        unit: float = 1.0,
        zero: float = 0.0,
        direction: Direction = "maximize",
        charge: float = 0.0,
        purse: float = math.inf,
    ) -> None:
        self.noise, self.direction = noise, direction
        self.effects: dict[int, float | None] = {}
        self.evaluations = 0
        self._script, self._night = effects, night
        self._spikes = dict(spikes or {})
        self._unit, self._zero = unit, zero
        self._charge, self._purse = charge, purse
        self._errors = _Stream(night, "evaluations", self._draw_errors)
        self._draws = _Stream(
            night, "proposals", lambda rng, k: list(zip(_floats(rng.random(k)), _exponential(rng, k), strict=True))
        )
        self._walk = _Stream(night, "drift", lambda rng, k: _floats(rng.standard_normal(k)))
        self._drift = 0.0
        self._proposed = 0

    @property
    def initial(self) -> list[float]:
        return [0.0, 0]

    @property
    def length(self) -> int | None:
        """How many proposals there are; None for a mix, which never ends."""
        return None if isinstance(self._script, Mix) else len(self._script)

    @property
    def fitness(self) -> Callable[..., float]:
        """What `optimize` measures with; it takes a seed in a world of common seeds."""
        return self._under_seed if self.noise.common else self._alone

    def score(self, value: float) -> float:
        """The score of a value without noise."""
        return self._zero + (1 if self.direction == "maximize" else -1) * self._unit * value

    def gain(self, difference: float) -> float:
        """A difference of scores, positive is better, as one of values."""
        return difference / self._unit

    # -- evaluating -------------------------------------------------------------------------------------------------

    def _alone(self, state: list[float]) -> float:
        return self._measure(state, self._next_error())

    def _under_seed(self, state: list[float], seed: int) -> float:
        import numpy

        common = self.noise.common
        shared = float(numpy.random.default_rng([self._night, 3, seed]).standard_normal())
        return self._measure(state, math.sqrt(common) * shared + math.sqrt(1 - common) * self._next_error())

    def _measure(self, state: list[float], error: float) -> float:
        value, n = state[0], int(state[1])
        error += self._drifted() + self._spikes.pop(n, 0.0)
        self.evaluations += 1
        if n and self.effects[n] is None:
            raise Crashed(f"proposal {n} crashes")
        return self.score(value + self.noise.sd * error)

    def _next_error(self) -> float:
        return float(self._errors[self.evaluations])

    def _draw_errors(self, rng: Generator, count: int) -> list[float]:
        if self.noise.shape == "heavy":
            return _floats(HEAVY_SCALE * rng.standard_t(3, count))
        normal = rng.standard_normal(count)
        if self.noise.shape == "slow":
            normal = SLOW_SD * normal - (rng.random(count) < SLOW_SHARE) * rng.exponential(SLOW_MEAN, count)
        return _floats(normal)

    def _drifted(self) -> float:
        """How far the machine is from where it was at the first evaluation, in sd."""
        t, noise = self.evaluations, self.noise
        if noise.drift:
            stay = math.exp(-1 / noise.memory)
            self._drift = stay * self._drift + math.sqrt(1 - stay * stay) * self._walk[t]
        return noise.slope * t + noise.drift * self._drift

    # -- proposing --------------------------------------------------------------------------------------------------

    def propose(self, state: list[float]) -> list[float]:
        """The next proposal, on top of a state.

        Raises:
            Exhausted: the script is at its end, or the purse is empty.
        """
        n = len(self.effects) + 1
        if self.evaluations + self._charge * len(self.effects) >= self._purse:
            raise Exhausted("the purse is empty")
        effect = self._mixed(self._script, state[0]) if isinstance(self._script, Mix) else self._scripted(self._script, n)
        self.effects[n] = effect
        return [state[0] + (effect or 0.0), n]

    def _scripted(self, script: Sequence[float | None], n: int) -> float | None:
        if n > len(script):
            raise Exhausted("the script is at its end")
        return script[n - 1]

    def _mixed(self, mix: Mix, value: float) -> float | None:
        while True:
            which, size = self._draws[self._proposed]
            self._proposed += 1
            if which < mix.crash * mix.crash_cost:
                return None
            if which >= mix.crash:
                break
        which -= mix.crash
        if which < mix.gain:
            return float(size * mix.size * math.exp(-value / mix.fade - (self._proposed - 1) / mix.tempo))
        return float(-mix.loss * size) if which < mix.gain + mix.harm else -mix.price


def play(world: World, acceptance: str = "auto", *, evaluations: int = 0, **settings: Any) -> Result:
    """A night of `optimize` in a world, with a ledger in memory: all its script, or as far as the evaluations reach.

    Args:
        settings: more of `optimize`'s: min_effect, noise, max_repeats, alpha, seed.
    """
    return optimize(
        world.initial,
        fitness=world.fitness,
        propose=world.propose,
        direction=world.direction,
        experiments=world.length or FOREVER,
        evaluations=evaluations,
        acceptance=acceptance,
        show=False,
        **settings,
    )


class _Stream:
    """Endless draws, made a block at a time: the same whoever asks, and however far."""

    BLOCK = 512

    def __init__(self, night: int, what: Purpose, draw: Callable[[Generator, int], list[Any]]) -> None:
        self._key, self._draw = (night, _STREAMS[what]), draw
        self._blocks: list[list[Any]] = []

    def __getitem__(self, i: int) -> Any:
        import numpy

        while i >= self.BLOCK * len(self._blocks):
            rng = numpy.random.default_rng([*self._key, len(self._blocks)])
            self._blocks.append(self._draw(rng, self.BLOCK))
        return self._blocks[i // self.BLOCK][i % self.BLOCK]


def _floats(array: Any) -> list[float]:
    return list(map(float, array))


def _exponential(rng: Generator, count: int) -> list[float]:
    return _floats(rng.exponential(1.0, count))
