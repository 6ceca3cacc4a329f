"""What an experiment measured against what it had to beat, rounded as far as the noise lets: numbers for whoever drives."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch import gains
from autoresearch.acceptance.intervals import T95
from autoresearch.fenced import line
from autoresearch.history import History
from autoresearch.records import Experiment, Measurement
from autoresearch.report import MOST_SHARE, show_number
from autoresearch.sight import Sight, digits
from autoresearch.text import counted

LEVEL = 0.9
_Z95 = 1.6448536
_T_OF_ONE = 6.313752
_DIGITS = 9  # of a fraction
_SAME = 1e-9  # of a step: an end that lies on one is not moved to the next


@dataclass(frozen=True, slots=True)
class Figures:
    """An experiment's number; differences have the metric's sign, not that of a gain.

    Attributes:
        bar: the value that it had to beat, of experiment `against`.
        low, high: the 90 % interval of the change; None where the metric is exact, and where its noise is not known.
        pairs: races side by side under the same seed, 0 where there were none; `rests_on` says in words what was compared.
        places: after the point, that the noise supports; None for an exact metric.
    """

    metric: str
    unit: str
    sign: int
    value: float
    bar: float | None
    against: int
    low: float | None
    high: float | None
    pairs: int
    rests_on: str
    places: int | None

    @property
    def change(self) -> float | None:
        return None if self.bar is None else rounded(self.value - self.bar, self.places)

    @property
    def relative(self) -> float | None:
        """The change as a fraction of what had to be beaten; None where that is 0, or so near to it that it says nothing."""
        change, bar = self.change, self.bar
        if change is None or not bar or max(map(abs, (change, self.low or 0.0, self.high or 0.0))) > MOST_SHARE * abs(bar):
            return None
        return round(change / abs(bar), _DIGITS)

    @property
    def direction(self) -> str:
        """`better`, `worse`, or that no difference can be seen."""
        change = self.sign * (self.change or 0.0)
        return "better" if change > 0 else "worse" if change < 0 else "no difference"

    @property
    def words(self) -> str:
        """`val_bpb 0.9984 against 0.9940 of the incumbent, +0.44 % [90 %: +0.31, +0.57], worse, 4 pairs`."""
        unit = f" {line(self.unit, 20)}" if self.unit else ""
        first = f"{line(self.metric, 60)} {show(self.value, self.places)}{unit}"
        if self.bar is None:
            return first
        shown, bar = show(self.value, self.places), show(self.bar, self.places)
        if shown == bar and self.value != self.bar:
            shown, bar = f"{self.value:.12g}", f"{self.bar:.12g}"
            first = f"{line(self.metric, 60)} {shown}{unit}"
        whom = "the baseline" if not self.against else f"experiment {self.against}, the incumbent then"
        lower = "higher is better" if self.sign > 0 else "lower is better"
        return f"{first} against {bar} of {whom}, {self._change()}, {self.direction} ({lower}), {self.rests_on}"

    @property
    def change_words(self) -> str:
        """`+0.44 %`: in per cent where that says something, else in the metric's unit."""
        return self._difference(self.change or 0.0, " %").replace("-", "−")

    def _change(self) -> str:
        if self.low is None or self.high is None:
            return self.change_words
        ends = f"{self._difference(self.low)}, {self._difference(self.high)}"
        return f"{self.change_words} [{100 * LEVEL:.0f} %: {ends}]".replace("-", "−")

    def _difference(self, change: float, per_cent: str = "") -> str:
        if self.relative is None or not self.bar:
            return f"{change + 0.0:+.{self.places}f}" if self.places and 0 < self.places <= 6 else f"{change + 0.0:+.6g}"
        share = 100 * change / abs(self.bar)
        if self.places is None:
            return f"{share + 0.0:+.3g}{per_cent}"
        decimals = max(1, math.ceil(-math.log10(100 * math.pow(10.0, -self.places) / abs(self.bar))))
        return f"{round(share, decimals) + 0.0:+.{decimals}f}{per_cent}"


def figures(history: History, n: int) -> Figures | None:
    """What a decided experiment measured; None where there is no number."""
    run, view = history.run, Sight(history, history.decided)
    e, seen = history.experiments[n], view.of(n)
    if run is None or not n or seen.value is None:
        return None
    places, against = digits(history), history.incumbents[n - 1]
    race = [m for m in e.measurements[e.base :] if m.phase == "race" and m.ok]
    bar = rounded(_bar(history, race, n, against), places)
    made = gains.pairs(race, history)
    low, high = _interval(history, e, race, against, bar)
    if low is not None and high is not None and bar is not None:
        change = rounded(seen.value - bar, places) or 0.0
        low, high = min(_outward(low, places, -1), change), max(_outward(high, places, 1), change)
    return Figures(
        metric=run.metric,
        unit=run.unit,
        sign=1 if run.direction == "maximize" else -1,
        value=seen.value,
        bar=bar,
        against=against,
        low=low,
        high=high,
        pairs=len(made),
        rests_on=_rests_on(history, e, race, len(made)),
        places=places,
    )


def rounded(value: float | None, places: int | None) -> float | None:
    return value if value is None or places is None else round(value, places)


def show(value: float | None, places: int | None) -> str:
    """A value with the digits that the noise supports, trailing zeros included."""
    if value is None or places is None or not 0 < places <= 6:
        return show_number(value)
    return f"{value:.{places}f}"


def t95(df: int) -> float:
    """The 95 % quantile of Student's t; by the expansion in 1 / df of Fisher and Cornish (1960) from 8 on."""
    if df < 8:
        return T95.get(df, _T_OF_ONE)
    z = _Z95
    terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + sum(term / math.pow(df, k) for k, term in enumerate(terms, 1))


def _bar(history: History, race: Sequence[Measurement], n: int, against: int) -> float | None:
    """What had to be beaten: the incumbent's runs beside it, else its value, as it was measured again where that was before."""
    assert history.run is not None
    beside = [m.values[history.run.metric] for m in race if m.of != n]
    if beside:
        return statistics.fmean(beside)
    again = any(r.of == against and r.after < n for r in history.agenda.refreshes)
    known = history.agenda.bars.get(against) if again else None
    return history.experiments[against].value if known is None else known


def _interval(
    history: History, e: Experiment, race: Sequence[Measurement], against: int, bar: float | None
) -> tuple[float | None, float | None]:
    """Of the change: a t interval of the pairs' differences, else by the noise of as many runs as there are on each side."""
    run, method, made = history.run, history.agenda.method, gains.pairs(race, history)
    if history.exact or method is None or run is None or bar is None or e.value is None:
        return None, None
    if len(made) > 1:
        found = [pair.one.values[run.metric] - pair.other.values[run.metric] for pair in made]
        mean, half = statistics.fmean(found), t95(len(found) - 1) * statistics.stdev(found) / math.sqrt(len(found))
    elif method.sd:
        base = history.experiments[0].value
        sd = method.sd * (abs(bar / base) if method.log and base else 1.0)  # noise of times grows with them
        ours, theirs = _runs(history, e, race, against)
        mean, half = e.value - bar, _Z95 * sd * math.sqrt(1 / ours + 1 / theirs)
    else:
        return None, None
    return mean - half, mean + half


def _runs(history: History, e: Experiment, race: Sequence[Measurement], against: int) -> tuple[int, int]:
    """How many evaluations stand behind the value and behind what it had to beat, at least one each."""
    ours = [m for m in race if m.of == e.n] if gains.pairs(race, history) else [m for m in e.own if m.ok]
    theirs = [m for m in race if m.of != e.n] or [m for m in history.experiments[against].own if m.ok]
    return max(1, len(ours)), max(1, len(theirs))


def _rests_on(history: History, e: Experiment, race: Sequence[Measurement], pairs: int) -> str:
    if history.exact:
        return "an exact metric"
    if pairs > 1:
        return counted(pairs, "pair")
    beside = sum(m.of != e.n for m in race)
    runs = counted(max(1, sum(m.ok for m in e.own)), "run")
    return f"{runs}, {beside} of the incumbent beside" if beside else runs


def _outward(value: float, places: int | None, side: int) -> float:
    """An end of an interval on the nearest step that leaves it no narrower."""
    if places is None:
        return value
    step = math.pow(10.0, -places)
    steps = math.ceil(value / step - _SAME) if side > 0 else math.floor(value / step + _SAME)
    return float(round(steps * step, places))
