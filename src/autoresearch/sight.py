"""What a proposer sees of a run: no measurement of a private set or of the final comparison, and values as far as noise lets.

A value is rounded to the power of ten at or below the metric's noise, as in the Ladder (Blum and Hardt 2015, section 3), where
we do not tie the step to the number of queries. An exact metric's values are shown as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from autoresearch.history import History, View
from autoresearch.records import Experiment, Measurement, RunRecord

Seen = dict[int, tuple[Experiment, int | None, Experiment]]

UNSEEN = ("gate", "held_out", "final")
"""Phases of which no proposer sees a measurement."""

_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_VALUES = (
    re.compile(rf"(?P<a>{_NUMBER}) against (?P<b>{_NUMBER})"),
    re.compile(rf"is (?P<a>{_NUMBER}), better than"),
    re.compile(rf"in a clean clone: (?P<a>{_NUMBER})"),
    re.compile(rf"(?P<a>{_NUMBER}) in a clean clone"),
)
_FACTOR = re.compile(r": Bayes factor \S+")


def digits(history: History, value: float | None = None) -> int | None:
    """Places after the point (before it if negative) that the noise supports of a value; None for an exact metric.

    Args:
        value: the noise of times grows with them; without one, of a value like the baseline's.
    """
    method = history.agenda.method
    if method is None or not method.sd or history.exact:
        return None
    base = history.experiments[0].value
    share = abs(value / base) if method.log and value and base else 1.0
    return -math.floor(math.log10(method.sd * share))


class Sight(View):
    """A view whose experiments are as a proposer may see them.

    Args:
        exact: for proposers of our own, which draw no conclusions from the last digits: values are not rounded.
        seen: what was covered before, each experiment as it was then.
    """

    __slots__ = ("_digits", "_history", "_seen")

    def __init__(self, history: History, decision: int, *, exact: bool = False, seen: Seen | None = None) -> None:
        super().__init__(history, max(0, decision))
        self._history, self._digits = history, None if exact else digits(history)
        self._seen: Seen = {} if seen is None else seen

    def __getitem__(self, n: Any) -> Any:
        found = super().__getitem__(n)
        return [self.see(e) for e in found] if isinstance(found, list) else self.see(found)

    def __iter__(self) -> Iterator[Experiment]:
        return map(self.see, super().__iter__())

    @property
    def run(self) -> RunRecord:
        return replace(super().run, validated=None, validated_of=-1)

    @property
    def incumbent(self) -> Experiment:
        return self.see(super().incumbent)

    @property
    def baseline(self) -> Experiment:
        return self.see(super().baseline)

    def of(self, n: int) -> Experiment:
        return self.see(super().of(n))

    @property
    def pending(self) -> list[Experiment]:
        return [self.see(e) for e in super().pending]

    def see(self, e: Experiment) -> Experiment:
        """An experiment as it may be seen."""
        if self._digits is None and not any(m.phase in UNSEEN for m in e.measurements):
            return e
        known = self._seen.get(e.n)
        if known is None or known[0] is not e or known[1] != self._digits:
            known = self._seen[e.n] = e, self._digits, self._covered(e)
        return known[2]

    def _covered(self, e: Experiment) -> Experiment:
        made = tuple(self._rounded(m) for m in e.measurements if m.phase not in UNSEEN)
        base = sum(m.phase not in UNSEEN for m in e.measurements[: e.base])
        verdict = e.verdict
        if verdict is not None:
            verdict = replace(verdict, value=self._round(verdict.value), words=self._words(verdict.words))
        notes = tuple(map(self._words, e.notes))
        return replace(e, measurements=made, base=base, verdict=verdict, value=self._round(e.value), notes=notes)

    def _rounded(self, m: Measurement) -> Measurement:
        metric = super().run.metric
        value = self._round(m.values.get(metric))
        return m if value is None else replace(m, values={**m.values, metric: value})

    def _round(self, value: float | None) -> float | None:
        return value if value is None or self._digits is None else round(value, digits(self._history, value))

    def _words(self, words: str) -> str:
        if self._digits is None:
            return words
        for pattern in _VALUES:
            words = pattern.sub(self._said, words)
        return _FACTOR.sub("", words)

    def _said(self, found: re.Match[str]) -> str:
        text = found[0]
        for number in reversed([k for k in ("a", "b") if k in found.re.groupindex]):
            first, last = found.start(number) - found.start(), found.end(number) - found.start()
            text = f"{text[:first]}{self._round(float(text[first:last])):.12g}{text[last:]}"
        return text
