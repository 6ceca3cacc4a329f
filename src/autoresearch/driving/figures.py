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
_ROUNDING = 0.684  # of a step: in nine of ten cases the difference of two rounded values is off by less


@dataclass(frozen=True, slots=True)
class Figures:
    """An experiment's number; differences have the metric's sign, not that of a gain.

    Attributes:
        bar: the value that it had to beat, of experiment `against`.
        low, high: the 90 % interval of the change; None where the metric is exact, and where its noise is not known.
        pairs: races side by side under the same seed, 0 where there were none; `rests_on` says in words what was compared.
        places: after the point, that the noise supports of the change; None for an exact metric.
        shown, shown_bar: value and bar with the digits that it supports of each.
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
    shown: str
    shown_bar: str

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
        first = f"{line(self.metric, 60)} {self.shown}{unit}"
        if self.bar is None:
            return first
        shown, bar = self.shown, self.shown_bar
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
        ends = f"{self._difference(self.low, more=1)}, {self._difference(self.high, more=1)}"
        return f"{self.change_words} [{100 * LEVEL:.0f} %: {ends}]".replace("-", "−")

    def _difference(self, change: float, per_cent: str = "", more: int = 0) -> str:
        """With so many `more` digits than the noise supports of a value."""
        if self.relative is None or not self.bar:
            shown = None if self.places is None else self.places + more
            return f"{change + 0.0:+.{shown}f}" if shown and 0 < shown <= 6 else f"{change + 0.0:+.6g}"
        share = 100 * change / abs(self.bar)
        if self.places is None:
            return f"{share + 0.0:+.3g}{per_cent}"
        decimals = max(1, math.ceil(-math.log10(100 * _step(self.places) / abs(self.bar))) + more)
        return f"{round(share, decimals) + 0.0:+.{decimals}f}{per_cent}"


def figures(history: History, n: int) -> Figures | None:
    """What a decided experiment measured; None where there is no number."""
    run, view = history.run, Sight(history, history.decided)
    seen = view.of(n)
    if run is None or not n or seen.value is None:
        return None
    against = history.incumbents[n - 1]
    race = [m for m in seen.measurements[seen.base :] if m.phase == "race" and m.ok]
    bar = rounded(raw := _bar(history, race, n, against), digits(history, raw))
    places = digits(history, max(seen.value, bar or 0.0, key=abs))
    half = None if bar is None else _half(history, seen, race, against, bar)
    change = 0.0 if bar is None else rounded(seen.value - bar, places) or 0.0
    low, high = (None, None) if half is None else (_end(change - half, places), _end(change + half, places))
    return Figures(
        metric=run.metric,
        unit=run.unit,
        sign=1 if run.direction == "maximize" else -1,
        value=seen.value,
        bar=bar,
        against=against,
        low=low,
        high=high,
        pairs=(pairs := len(gains.pairs(race, history))),
        rests_on=_rests_on(history, seen, race, pairs),
        places=places,
        shown=show(seen.value, digits(history, seen.value)),
        shown_bar=show(bar, digits(history, bar)),
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


def _half(history: History, e: Experiment, race: Sequence[Measurement], against: int, bar: float) -> float | None:
    """Half the width of the change's interval: of the pairs' differences, else by the noise of as many runs as there are.

    What the values lose where they are rounded is in it.
    """
    method, made = history.agenda.method, [pair.gain for pair in gains.pairs(race, history)]
    if history.exact or method is None:
        return None
    if len(made) > 1:
        half = t95(len(made) - 1) * statistics.stdev(made) / math.sqrt(len(made))
    elif method.sd:
        base = history.experiments[0].value
        sd = method.sd * (abs(bar / base) if method.log and base else 1.0)  # noise of times grows with them
        ours, theirs = _runs(history, e, race, against)
        half = _Z95 * sd * math.sqrt(1 / ours + 1 / theirs)
    else:
        return None
    places = digits(history, bar)
    return half if places is None else math.hypot(half, _ROUNDING * _step(places))


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


def _end(value: float, places: int | None) -> float:
    return value if places is None else round(value, places + 1)


def _step(places: int) -> float:
    return math.pow(10.0, -places)
