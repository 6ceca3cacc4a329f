"""Doubles: a proposer that replays patches, and a runner that measures in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from autoresearch.contracts import Brief, Draft, Place, Preview, Ready
from autoresearch.errors import Exhausted
from autoresearch.records import Allowance, Blob, Order, Outcome, Proposal, Readout


@dataclass(frozen=True, slots=True)
class Patch:
    """One scripted proposal: texts by path (None deletes), and what it costs.

    Attributes:
        error: raised instead of proposing.
    """

    files: Mapping[str, str | None] = field(default_factory=dict)
    description: str = ""
    cost_usd: float = 0.0
    tokens: int = 0
    error: Exception | None = None


class Scripted:
    """Replays `patches` by experiment number (the first is experiment 1), or calls a function of the brief.

    Raises (from `propose`):
        Exhausted: the script is at its end.
    """

    name = "scripted"

    def __init__(self, patches: Sequence[Patch] | Callable[[Brief], Patch]) -> None:
        self._patches = patches

    async def propose(self, brief: Brief, draft: Draft) -> Proposal:
        patch = self._patch(brief)
        if patch.cost_usd or patch.tokens:
            draft.spend(patch.cost_usd, patch.tokens)
        if patch.error is not None:
            raise patch.error
        edits = {path: None if text is None else Blob(text.encode()) for path, text in patch.files.items()}
        return Proposal(patch.description or f"patch {brief.n}", edits)

    def _patch(self, brief: Brief) -> Patch:
        if callable(self._patches):
            return self._patches(brief)
        if brief.n > len(self._patches):
            raise Exhausted("the script is at its end")
        return self._patches[brief.n - 1]


class Hired(Scripted):
    """A scripted proposer that somebody pays for. `Patch.error` may be `ProposerWaits`: it is asked again for the same number.

    Args:
        model: `` for a default of its own; `price` of a proposal at a guess in USD, None for a model without a price.
        ready: what trying it out raises, or comes to.
    """

    name = "hired"
    writes_code = True

    def __init__(
        self,
        patches: Sequence[Patch] | Callable[[Brief], Patch],
        *,
        model: str = "tutor-1",
        price: float | None = 0.02,
        ready: Exception | Ready = Ready("hired 1.0, tutor-1"),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(patches)
        self.model, self._price, self._ready = model, price, ready
        self.asked: list[tuple[int, Allowance]] = []

    async def propose(self, brief: Brief, draft: Draft) -> Proposal:
        self.asked.append((brief.n, brief.allowance))
        return replace(await super().propose(brief, draft), model=self.model)

    def pays(self) -> str:
        return "TUTOR_KEY"

    def priced(self) -> bool:
        return self._price is not None

    def usual(self) -> tuple[float | None, int]:
        return self._price, 1000

    async def ready(self, folder: Path) -> Ready:
        if isinstance(self._ready, Exception):
            raise self._ready
        return self._ready

    def preview(self, brief: Brief) -> Preview:
        return Preview(("hired", "--model", self.model), {"TUTOR_KEY": "***TUTOR_KEY***"}, "prompt on standard input")


class InProcessRunner:
    """Measures by calling `measure(folder, seed)`; what it raises is a crash."""

    def __init__(self, metric: str, measure: Callable[[Path, int], float]) -> None:
        self._metric, self._measure = metric, measure

    async def evaluate(self, place: Place, order: Order) -> Readout:
        assert place.folder is not None
        if order.kind != "evaluate":
            return Readout(Outcome.OK)
        try:
            return Readout(Outcome.OK, {self._metric: float(self._measure(place.folder, order.seed))})
        except Exception as error:  # the experiment's edge
            return Readout(Outcome.EXIT, words=f"{type(error).__name__}: {error}")
