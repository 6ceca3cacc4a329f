"""A gain too good to be true: held until one evaluation in a clean clone confirms it, refused where that says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from autoresearch import acceptance, strategies
from autoresearch.books import Options, Parts
from autoresearch.budget import Budget, Ending
from autoresearch.contracts import Brief, Draft, Place, Settings
from autoresearch.history import History
from autoresearch.ledger import MemoryLedger
from autoresearch.loop import Loop
from autoresearch.records import Direction, Event, Experiment, Kind, Order, Outcome, Proposal, Readout, State
from autoresearch.testing.ledgers import start
from autoresearch.workspace.states import StateWorkspace, decode

Clean = Callable[[float], float | Readout]
SAME: Clean = lambda value: value  # noqa: E731


@dataclass
class Script:
    """Proposes values as states, and is at its end after them."""

    values: Sequence[float]
    name: str = "scripted"

    async def propose(self, brief: Brief, draft: Draft) -> Proposal:
        return Proposal(f"value {brief.n}", State([brief.n, self.values[brief.n - 1]]))


@dataclass
class Honest:
    """A state's second number is what it measures; in a clean clone it is what `clean` makes of it."""

    clean: Clean = SAME
    orders: list[Order] = field(default_factory=list)

    async def evaluate(self, place: Place, order: Order) -> Readout:
        self.orders.append(order)
        value = decode(place.state)[1]
        found = self.clean(value) if order.clean else value
        return found if isinstance(found, Readout) else Readout(Outcome.OK, {"score": found})


@dataclass
class Night:
    """A run over values, the first of which is the baseline's."""

    ledger: MemoryLedger
    runner: Honest
    options: Options
    values: Sequence[float]
    kind: str = "exact"

    def go(self) -> Ending:
        rule, workspace = acceptance.make(self.kind), StateWorkspace([0, self.values[0]], self.ledger)
        script = Script(self.values[1:])
        parts = Parts(self.ledger, workspace, self.runner, script, strategies.make("greedy"), rule)
        loop = Loop(parts, self.options, Budget(experiments=len(self.values) - 1))
        return anyio.run(loop.run)

    @property
    def history(self) -> History:
        return self.ledger.history("r")

    @property
    def last(self) -> Experiment:
        return self.history.experiments[-1]

    @property
    def confirmed(self) -> list[Order]:
        return [order for order in self.runner.orders if order.clean]


def night(
    *values: float,
    clean: Clean = SAME,
    direction: Direction = "minimize",
    kind: str = "exact",
    jump: float = 10.0,
    limit: float | None = None,
) -> Night:
    ledger = MemoryLedger()
    ledger.append("r", start(direction=direction))
    options = Options("r", Settings("score", direction), jump=jump, limit=limit, poll_s=0.01)
    run = Night(ledger, Honest(clean), options, values, kind)
    assert run.go().status == "finished"
    return run


def verdict(run: Night) -> tuple[Kind, str, str]:
    found = run.last.verdict
    assert found is not None
    return found.kind, found.reason, found.words


# -- a factor -----------------------------------------------------------------------------------------------------------


def test_jump_that_a_clean_clone_confirms_is_kept_and_says_so() -> None:
    run = night(100.0, 5.0)
    assert verdict(run)[:2] == (Kind.KEEP, "better")
    assert [(o.clean, o.pristine) for o in run.confirmed] == [(True, True)]
    words = "confirmed in a clean clone: 5; score is 5 against 100 (20 times better, more than [metric] jump = 10)"
    assert run.last.notes == (words,)


def test_jump_that_a_clean_clone_does_not_show_is_implausible_with_both_numbers() -> None:
    run = night(100.0, 5.0, clean=lambda value: 99.0)
    kind, reason, words = verdict(run)
    assert (kind, reason) == (Kind.INVALID, "implausible")
    assert words == "score is 5 against 100 (20 times better, more than [metric] jump = 10), but 99 in a clean clone"
    assert run.history.line == [0]
    assert run.last.verdict is not None
    assert run.last.verdict.failed


@pytest.mark.parametrize(("value", "held"), [(10.0, False), (9.99, True), (50.0, False)])
def test_only_more_than_the_factor_is_held(value: float, held: bool) -> None:
    run = night(100.0, value)
    assert run.last.kept
    assert len(run.confirmed) == held


@pytest.mark.parametrize(("clean", "kept"), [(10.0, True), (10.1, False), (0.5, True)])
def test_half_of_the_gain_as_a_logarithm_is_enough(clean: float, kept: bool) -> None:
    assert night(100.0, 1.0, clean=lambda value: clean).last.kept is kept


@pytest.mark.parametrize(
    ("direction", "bar", "value", "held"),
    [
        ("maximize", 1.0, 20.0, True),
        ("maximize", 1.0, 9.0, False),
        ("maximize", -20.0, -1.0, True),
        ("minimize", -1.0, -20.0, True),
        ("minimize", 10.0, 0.0, False),  # no factor, so nothing is held
        ("minimize", 10.0, -1.0, False),
        ("maximize", 0.0, 50.0, False),
    ],
)
def test_factor_is_of_values_of_one_sign_in_either_direction(
    direction: Direction, bar: float, value: float, held: bool
) -> None:
    run = night(bar, value, direction=direction)
    assert run.last.kept
    assert len(run.confirmed) == held


def test_clean_value_past_zero_confirms_and_one_on_the_wrong_side_does_not() -> None:
    assert night(100.0, 1.0, clean=lambda value: 0.0).last.kept
    assert not night(-100.0, -1.0, clean=lambda value: -101.0, direction="maximize").last.kept


def test_no_factor_holds_nothing() -> None:
    run = night(100.0, 1e-6, jump=0.0)
    assert run.last.kept
    assert run.confirmed == []


def test_discards_are_never_confirmed() -> None:
    run = night(1.0, 50.0)
    assert verdict(run)[0] is Kind.DISCARD
    assert run.confirmed == []


@pytest.mark.parametrize("outcome", [Outcome.EXIT, Outcome.TIMEOUT, Outcome.NO_MEASUREMENT])
def test_failure_in_the_clean_clone_is_implausible_in_its_words(outcome: Outcome) -> None:
    run = night(100.0, 5.0, clean=lambda value: Readout(outcome, words="no such file: warm.bin"))
    assert verdict(run)[:2] == (Kind.INVALID, "implausible")
    assert "in a clean clone it failed: no such file: warm.bin" in verdict(run)[2]


def test_tampering_in_the_clean_clone_is_tampering() -> None:
    run = night(100.0, 5.0, clean=lambda value: Readout(Outcome.TAMPERING, words="the evaluation wrote it"))
    assert verdict(run) == (Kind.INVALID, "tampering", "the evaluation wrote it")


# -- a limit ------------------------------------------------------------------------------------------------------------


def test_better_than_the_limit_is_never_kept_also_where_a_clean_clone_agrees() -> None:
    run = night(1.0, 0.2, limit=0.5, jump=0.0)
    assert verdict(run)[:2] == (Kind.INVALID, "implausible")
    assert verdict(run)[2] == (
        "score is 0.2, better than [metric] limit 0.5, also in a clean clone: what no honest value can be; if the limit is "
        "wrong, start a run with another"
    )


def test_better_than_the_limit_once_says_what_the_clean_clone_gave() -> None:
    run = night(1.0, 0.2, limit=0.5, clean=lambda value: 0.9)
    assert (
        verdict(run)[2] == "score is 0.2, better than [metric] limit 0.5, but 0.9 in a clean clone: it cannot be repeated there"
    )


def test_the_limit_itself_is_honest() -> None:
    run = night(0.9, 1.0, limit=1.0, direction="maximize")
    assert run.last.kept
    assert run.confirmed == []


# -- killed in between --------------------------------------------------------------------------------------------------


def _cut(run: Night, upto: Callable[[Event], bool]) -> Night:
    """The run as a session finds it that was killed right after the event."""
    ledger = MemoryLedger()
    for row in run.ledger.events("r"):
        event = Event(row.kind, row.n, row.body, row.attempt, row.at)
        ledger.append("r", event)
        if upto(event):
            break
    else:
        pytest.fail("no such event")
    for e in run.history.experiments:
        ledger.put(run.ledger.get(e.tree))
        ledger.put(run.ledger.get(e.content)) if e.content else None
    return Night(ledger, Honest(run.runner.clean), run.options, run.values, run.kind)


@pytest.mark.parametrize("kind", ["exact", "bayes", "race", "margin", "single"])
@pytest.mark.parametrize(
    "clean", [SAME, lambda value: 99.0, lambda value: Readout(Outcome.EXIT, words="broken")], ids=["same", "less", "fails"]
)
def test_evaluation_in_the_clean_clone_is_made_once_and_decides_the_same_after_a_kill(kind: str, clean: Any) -> None:
    run = night(100.0, 5.0, clean=clean, kind=kind)
    assert len(run.confirmed) == 1
    again = _cut(run, lambda e: e.kind == "measured" and e.body["phase"] == "confirm")
    again.go()
    assert again.confirmed == []
    assert verdict(again) == verdict(run)
    assert again.last.notes == run.last.notes


def test_note_is_written_once_after_a_kill() -> None:
    again = _cut(night(100.0, 5.0), lambda e: e.kind == "note" and e.body["what"] == "confirmed")
    again.go()
    assert len(again.last.notes) == 1


def test_clean_value_is_no_part_of_the_noise_nor_of_the_value() -> None:
    run = night(100.0, 5.0, 4.9, clean=lambda value: value + 0.5)
    assert run.history.experiments[1].value == 5.0
    assert [m.phase for m in run.history.experiments[1].own] == ["first"]
    assert run.last.kept
