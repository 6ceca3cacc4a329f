"""What is fixed with the baseline: how noisy the metric is, and what of the budget the final comparison and checkpoints get."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from autoresearch.acceptance.intervals import FEWEST, MOST, T95
from autoresearch.agenda import PAIRS
from autoresearch.contracts import Settings
from autoresearch.noise import CHECKPOINT_PAIRS, DETECTABLE
from autoresearch.records import Measurement, Method, Reach

_FINAL, _CHECKPOINTS = 0.03, 0.05  # shares of the evaluations
_EXTRA = 1.35  # evaluations an experiment, with the repeats that noise needs
_UNLIMITED = 700  # evaluations that a night without a budget is taken to have
_LONG = 0.01  # an evaluation that takes more of the budget is long


def baselines(settings: Settings, measured: Sequence[Measurement]) -> int:
    """How many evaluations of the baseline a noisy metric gets: five, three where they are long, eight under high noise."""
    if settings.noise == "high":
        return 8
    reach = settings.reach
    longest = max(m.duration_s for m in measured)
    is_long = reach.time_s is not None and longest > _LONG * reach.time_s
    return 3 if is_long or (reach.evaluations is not None and _LONG * reach.evaluations < 1) else 5


def method(
    settings: Settings, rule: str, measured: Sequence[Measurement], *, alpha: float = 0.0, repeats: bool = False
) -> Method:
    """The run's method, from the baseline's evaluations and what the budget can pay.

    Args:
        repeats: the rule measures doubtful candidates again.
    """
    values = [m.values[settings.metric] for m in measured]
    is_exact = rule == "exact"
    sd = None if len(values) < 2 else 0.0 if is_exact else deviation(values)
    each_s = statistics.fmean(m.duration_s for m in measured)
    count, walled = affordable(settings.reach, each_s, len(values), _EXTRA if repeats else 1.0)
    return Method(
        rule,
        1 if is_exact else _pairs(settings, sd, count, walled=walled),
        _checkpoints(count, is_exact=is_exact, held_out=settings.held_out),
        alpha,
        sd,
        None if sd is None else DETECTABLE * sd,
        settings.log and min(values) > 0,
        settings.seeded,
    )


def deviation(values: Sequence[float]) -> float:
    """The standard deviation, a little larger where it is estimated from few values (statistics.md, section 3.2)."""
    return statistics.stdev(values) * (1 + 1 / (len(values) - 1))


def affordable(reach: Reach, each_s: float, measured: int, extra: float) -> tuple[float, bool]:
    """How many evaluations the budget pays in all, and whether evaluations or time are a wall."""
    walls = [math.inf if reach.evaluations is None else reach.evaluations]
    walls.append(math.inf if reach.time_s is None else reach.time_s / max(each_s, 1e-6))
    asked = math.inf if reach.experiments is None else measured + extra * reach.experiments
    count = min(*walls, asked)
    return (_UNLIMITED if math.isinf(count) else count), min(walls) <= asked and not math.isinf(count)


def _pairs(settings: Settings, sd: float | None, count: float, *, walled: bool) -> int:
    """As many as show half of the smallest detectable gain, within the final's share; none where they would take a third."""
    if walled and count / 3 < 2 * FEWEST:
        return 0
    wanted = PAIRS
    if sd is not None:
        goal = max(DETECTABLE * sd, settings.min_effect) / 2
        wanted = next((n for n in range(FEWEST, MOST) if _half(n) * sd <= goal), MOST)
    return max(FEWEST, min(wanted, int(_FINAL * count / 2)))


def _half(pairs: int) -> float:
    """Half the width of a 90 % interval of the mean of so many pairs, in standard deviations of one evaluation."""
    return T95[pairs - 1] * math.sqrt(2 / pairs)


def _checkpoints(count: float, *, is_exact: bool, held_out: bool) -> int:
    each = 1 if is_exact else 2 * CHECKPOINT_PAIRS
    held = 2 if is_exact else 2 * CHECKPOINT_PAIRS
    return int(_CHECKPOINTS * count / (each + (held if held_out else 0)))
