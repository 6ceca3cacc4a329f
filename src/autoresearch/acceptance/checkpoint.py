"""Now and then: does the line of keeps hold against where it stood at the last checkpoint, and on the held-out set?"""

from __future__ import annotations

from dataclasses import replace

from autoresearch.acceptance.intervals import FEWEST, interval, is_first
from autoresearch.acceptance.single_run import seed_for
from autoresearch.contracts import Situation
from autoresearch.noise import CHECKPOINT_PAIRS, Tally
from autoresearch.records import Done, Measure, Measurement, RollBack

EVERY_KEEPS, EVERY_EXPERIMENTS = 10, 100
_MORE = 3  # further runs of an incumbent whose metric is not exact any more


class Checkpoint:
    """One checkpoint, after the decision on the experiment in hand."""

    def __init__(self, situation: Situation, known: Tally) -> None:
        self._s, self._known = situation, known
        self._made = [m for m in situation.current.measurements if m.phase == "between"]

    def next(self) -> Measure | RollBack | Done:
        """Four pairs of the incumbent and the one at the last checkpoint; what lost is rolled back."""
        if any(not m.ok for m in self._made):
            return Done()
        pairs = [m for m in self._made if m.arm == "checkpoint"]
        if len(pairs) == CHECKPOINT_PAIRS and len(self._made) >= 2 * CHECKPOINT_PAIRS:
            return self._then_held_out(self._result(pairs[0].of), pairs[0].of, CHECKPOINT_PAIRS)
        if not self._is_due():
            return Done()
        pair, second = divmod(len(self._made), 2)
        arm = "incumbent" if is_first(pair, second) else "checkpoint"
        of = self._s.incumbent.n if arm == "incumbent" else self._last()
        return self._measure(of, arm, pair)

    def next_exact(self) -> Measure | RollBack | Done:
        """The incumbent once more, which has to give its bits again; if not, the metric is noisy from here on."""
        again = [m for m in self._made if m.arm == "checkpoint"]
        if not again:
            return self._measure(self._s.incumbent.n, "checkpoint", 0) if self._is_due() else Done()
        metric, measured = self._s.settings.metric, self._s.history.experiments[again[0].of]
        recorded = self._s.history.agenda.bars.get(measured.n, measured.value)  # as it was measured last, here
        if any(not m.ok for m in again):
            return Done()
        if all(m.values[metric] == recorded for m in again):
            before = self._left(self._known.held[-2] if len(self._known.held) > 1 else 0)
            return self._then_held_out(Done(), before, 1)
        if len(again) <= _MORE:
            return self._measure(measured.n, "checkpoint", len(again))
        return self._noisy(measured.n)

    def _noisy(self, n: int) -> RollBack | Done:
        history = self._s.history
        assert history.agenda.method is not None
        alpha, pairs = self._s.settings.alpha, max(FEWEST, history.agenda.method.pairs)
        rule = "race" if self._s.settings.seeded else "bayes"
        method = replace(history.agenda.method, rule=rule, pairs=pairs, alpha=alpha, sd=None, detectable=None)
        words = f"experiment {n} gives other numbers now: it is noisy, and what looks better is measured again from here on"
        before = self._left(self._known.held[-2] if len(self._known.held) > 1 else 0)
        if history.incumbent.n != n or before == n:
            return Done(words, method=method)
        return RollBack(before, words, again=True, method=method)

    def _is_due(self) -> bool:
        method, known, current = self._s.history.agenda.method, self._known, self._s.current
        if method is None or method.checkpoints <= len(known.held) or self._s.incumbent.n == self._last():
            return False
        return known.keeps_since >= EVERY_KEEPS or current.n - known.checked_at >= EVERY_EXPERIMENTS

    def _last(self) -> int:
        return self._left(self._known.held[-1] if self._known.held else 0)

    def _left(self, n: int) -> int:
        """The incumbent at a checkpoint, or what stood before it where it was taken out."""
        return max(k for k in self._s.history.line if k <= n)

    def _measure(self, of: int, arm: str, index: int) -> Measure:
        seed = seed_for(self._s.settings, self._s.current.n, 2000 + index)
        return Measure(of=of, arm=arm, seed=seed, phase="between")

    def _result(self, before: int) -> RollBack | Done:
        scale = self._known.scale
        arms: dict[str, list[Measurement]] = {"incumbent": [], "checkpoint": []}
        for m in self._made:
            arms[m.arm].append(m)
        gain = interval([scale.of(a) - scale.of(b) for a, b in zip(arms["incumbent"], arms["checkpoint"], strict=False)])
        kept = [n for n in self._s.history.line if n > before]
        if gain.high < 0 and arms["incumbent"][0].of == self._s.incumbent.n:
            return RollBack(before, f"worse than at the last checkpoint in {CHECKPOINT_PAIRS} pairs: {_names(kept)} taken out")
        if gain.low <= 0 <= gain.high:
            return Done(f"checkpoint: no clear gain since experiment {before}: {_names(kept)} unconfirmed")
        return Done()

    # -- on the held-out set ------------------------------------------------------------------------------------------

    def _then_held_out(self, found: RollBack | Done, before: int, pairs: int) -> Measure | RollBack | Done:
        """What the checkpoint found, and then pairs of the same two on the held-out set."""
        held = [m for m in self._s.current.measurements if m.phase == "held_out"]
        if not self._s.settings.held_out or isinstance(found, RollBack) or (self._s.incumbent.n == before and not held):
            return found
        if any(not m.ok for m in held):
            return Done(_and(found.words, f"checkpoint: the held-out evaluation failed: {held[-1].words}"))
        if len(held) == 2 * pairs:
            return self._held_out_result(held, found)
        pair, second = divmod(len(held), 2)
        arm = "incumbent" if is_first(pair, second) else "checkpoint"
        seed = seed_for(self._s.settings, self._s.current.n, 3000 + pair)
        return Measure(of=self._s.incumbent.n if arm == "incumbent" else before, arm=arm, seed=seed, phase="held_out")

    def _held_out_result(self, held: list[Measurement], found: Done) -> RollBack | Done:
        arms = {arm: [m for m in held if m.arm == arm] for arm in ("incumbent", "checkpoint")}
        of, before = arms["incumbent"][0].of, arms["checkpoint"][0].of
        if of != self._s.incumbent.n:
            return Done()  # it was taken out
        scale = self._known.scale
        gain = interval([scale.of(a) - scale.of(b) for a, b in zip(arms["incumbent"], arms["checkpoint"], strict=True)])
        kept = _names([n for n in self._s.history.line if n > before])
        if gain.high < 0:
            return RollBack(before, f"worse on held-out than at the last checkpoint: {kept} taken out")
        if gain.low <= 0:
            words = f"checkpoint: no clear gain on held-out since experiment {before}: {kept} unconfirmed"
            return Done(_and(found.words, words))
        return found


def _and(words: str, more: str) -> str:
    return f"{words}; {more}" if words else more


def _names(kept: list[int]) -> str:
    numbers = ", ".join(map(str, kept))
    return f"experiment{'s' if len(kept) > 1 else ''} {numbers}"
