"""Money and tokens as walls: what is left, what is held for proposals under way, what evaluations cost, what is to come."""

from __future__ import annotations

import math
from typing import Any

import anyio
import pytest

from autoresearch.budget import Budget, Spending
from autoresearch.forecast import Asked, forecast, further, suggested
from autoresearch.history import History
from autoresearch.ledger import MemoryLedger
from autoresearch.records import Allowance, Event
from autoresearch.runners import costs
from autoresearch.text import show_usd

RUN = {"task": "t", "metric": "score", "direction": "minimize", "unit": "", "base": "b", "seed": 1, "lag": 1, "ruler": ""}
RUN |= {"ruler_text": {}, "acceptance": "exact", "python": "", "project": ""}
CAP = Allowance(1.0, 1000, 40)


class Book:
    """A run's ledger in memory, with a baseline."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.put("run_started", None, **RUN)
        self.put("asked", 0, parents=[], operation="baseline")
        self.put("proposed", 0, description="baseline")
        self.put("decided", 0, verdict="keep", reason="baseline", value=1.0)

    def put(self, kind: str, n: int | None, **body: Any) -> None:
        self.ledger.append("r", Event(kind, n, body))

    @property
    def history(self) -> History:
        return self.ledger.history("r")

    def experiment(self, cost_usd: float = 0.0, tokens: int = 0, *, evaluation_usd: float = 0.0, **body: Any) -> None:
        """One more, from its question to its verdict."""
        n = len(self.history.experiments)
        self.put("asked", n, parents=[0])
        self.put("proposed", n, description="x", cost_usd=cost_usd, tokens=tokens, **body)
        measured = {"of": n, "arm": "candidate", "index": 0, "seed": 0, "phase": "first", "outcome": "ok", "values": {}}
        self.put("measured", n, **measured, cost_usd=evaluation_usd)
        self.put("decided", n, verdict="discard", reason="worse")

    def ask(self) -> int:
        n = len(self.history.experiments)
        self.put("asked", n, parents=[0])
        return n


@pytest.fixture
def book() -> Book:
    return Book()


def test_attempts_that_came_to_nothing_count_at_once_and_not_twice(book: Book) -> None:
    n = book.ask()
    book.put("note", n, what="spent", cost_usd=0.2, tokens=20)
    assert (book.history.cost_usd, book.history.tokens) == (0.2, 20)
    book.put("proposed", n, description="x", cost_usd=0.5, tokens=50)  # of all attempts
    assert (book.history.cost_usd, book.history.tokens) == (0.5, 50)
    assert book.history.experiments[n].cost_usd == 0.5


def test_what_a_killed_attempt_spent_stays_when_a_candidate_is_tried_again_under_its_number(book: Book) -> None:
    n = book.ask()
    book.put("note", n, what="spent", cost_usd=0.2, tokens=20)
    book.put("proposed", n, description="x", origin=0)
    assert (book.history.cost_usd, book.history.experiments[n].tokens) == (0.2, 20)


def test_an_allowance_is_no_more_than_is_left_and_than_the_proposals_own_cap(book: Book) -> None:
    book.experiment(1.7, 100)
    spending = Spending(Budget(cost_usd=2.0, tokens=5000), book.history)
    n = book.ask()
    with spending.hold(n, CAP) as allowance:
        assert allowance == Allowance(pytest.approx(0.3), 1000, 40)
        assert spending.left().cost_usd == pytest.approx(0.0)
        assert spending.left().tokens == 3900
    assert spending.left().cost_usd == pytest.approx(0.3)


def test_what_earlier_attempts_spent_is_off_the_allowance_of_the_same_experiment(book: Book) -> None:
    n = book.ask()
    book.put("note", n, what="spent", cost_usd=0.4, tokens=300)
    with Spending(Budget(cost_usd=10.0), book.history).hold(n, CAP) as allowance:
        assert (allowance.cost_usd, allowance.tokens) == (pytest.approx(0.6), 700)


def test_a_proposer_that_nobody_pays_holds_nothing(book: Book) -> None:
    spending = Spending(Budget(cost_usd=2.0), book.history)
    with spending.hold(book.ask(), None) as allowance:
        assert allowance == Allowance()
        assert spending.left().cost_usd == 2.0


def test_a_command_holds_what_it_reported_before_and_is_held_to_nothing(book: Book) -> None:
    book.experiment(0.3, 50, proposer="command")
    book.experiment(0.2, 90, proposer="command")
    spending = Spending(Budget(cost_usd=2.0), book.history)
    reported = spending.reported("command")
    assert (reported, spending.reported("knobs")) == (Allowance(0.3, 90), None)
    with spending.hold(book.ask(), None, reported=reported) as allowance:
        assert allowance == Allowance()
        assert spending.left().cost_usd == pytest.approx(1.2)
    assert spending.left().cost_usd == pytest.approx(1.5)


def test_a_proposal_waits_while_others_hold_all_that_is_left(book: Book) -> None:
    spending = Spending(Budget(cost_usd=1.0), book.history)
    first, second, order = book.ask(), book.ask(), []

    async def propose() -> None:
        assert await spending.room(paid=True) is None
        with spending.hold(second, CAP) as allowance:
            order.append(("second", allowance.cost_usd))

    async def both() -> None:
        async with anyio.create_task_group() as tasks:
            with spending.hold(first, CAP):
                tasks.start_soon(propose)
                await anyio.wait_all_tasks_blocked()
                book.put("proposed", first, description="x", cost_usd=0.3)
                order.append(("first", 0.3))

    anyio.run(both)
    assert order == [("first", 0.3), ("second", pytest.approx(0.7))]


def test_nothing_is_left_once_the_wall_is_reached_and_nobody_waits_for_more(book: Book) -> None:
    book.experiment(1.0)
    found = anyio.run(lambda: Spending(Budget(cost_usd=1.0), book.history).room(paid=True))
    assert found is not None
    assert (found.reason, found.words) == ("cost", "1.00 USD of 1.00 USD spent")


@pytest.mark.parametrize(("budget", "reason"), [(Budget(tokens=100), "tokens"), (Budget(session_tokens=100), "session")])
def test_tokens_are_a_wall_too(book: Book, budget: Budget, reason: str) -> None:
    book.experiment(0.0, 100)
    ending = Spending(budget, book.history).money_spent()
    assert ending is not None
    assert (ending.reason, ending.status) == (reason, "open" if reason == "session" else "finished")


def test_a_wall_of_the_session_counts_from_its_start(book: Book) -> None:
    book.experiment(5.0)
    spending = Spending(Budget(cost_usd=10.0, session_cost_usd=1.0), book.history)
    spending.start()
    assert spending.left().cost_usd == 1.0
    book.experiment(1.0)
    ending = spending.money_spent()
    assert ending is not None
    assert (ending.reason, ending.words) == ("session", "1.00 USD of 1.00 USD spent in this session")


def test_the_next_evaluation_is_taken_to_cost_what_one_cost_at_most(book: Book) -> None:
    book.experiment(evaluation_usd=0.1)
    book.experiment(evaluation_usd=0.3)
    assert Spending(Budget(cost_usd=0.7), book.history).may_measure() is None
    ending = Spending(Budget(cost_usd=0.69), book.history).may_measure()
    assert ending is not None
    assert ending.reason == "cost"
    assert ending.words.endswith("an evaluation costs up to 0.30 USD")
    with (spending := Spending(Budget(cost_usd=0.7), book.history)).evaluating():
        assert spending.may_measure() is not None  # the one under way takes it


def test_evaluations_of_the_final_comparison_are_kept_out_of_what_proposals_get(book: Book) -> None:
    book.put("note", None, what="method", rule="race", pairs=3)
    book.experiment(evaluation_usd=0.1)
    spending = Spending(Budget(cost_usd=3.0), book.history)
    assert spending.left().cost_usd == pytest.approx(3.0 - 0.1 - 0.6 - 0.1)  # spent, final, and the next one's own


def test_rounding_is_no_reason_to_stop(book: Book) -> None:
    for _ in range(2):
        book.experiment(evaluation_usd=0.1)
    assert Spending(Budget(cost_usd=0.3), book.history).may_measure() is None


# -- what evaluations report -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stdout", "cost"),
    [
        ("score: 1\nMETRIC cost_usd=0.02\n", 0.02),
        ("METRIC cost_usd=0.02\nMETRIC cost_usd=0.05\n", 0.05),
        ('{"score": 1, "cost_usd": 0.5}\n', 0.5),
        ("cost_usd: 0.5\n", 0.0),
        ("score: 1\n", 0.0),
    ],
)
def test_cost_of_an_evaluation_is_read(stdout: str, cost: float) -> None:
    assert costs.read(stdout) == (cost, "")


@pytest.mark.parametrize("said", ["-1", "nan", "inf", "much"])
def test_what_no_cost_can_be_counts_as_nothing_and_is_noted(said: str) -> None:
    cost, note = costs.read(f"METRIC cost_usd={said}\n")
    assert cost == 0.0
    assert "which no cost can be" in note


def test_cost_of_a_sealed_evaluation_comes_by_its_channel_alone() -> None:
    record = '{"metrics": {"score": 1, "cost_usd": 0.1}}\n'
    assert costs.read("METRIC cost_usd=9\n", reported=record, sealed=True) == (0.1, "")
    assert costs.read("METRIC cost_usd=9\n", reported=None, sealed=True) == (0.0, "")


# -- the forecast ------------------------------------------------------------------------------------------------------

CLAUDE = Asked("claude", "sonnet", 1.0, (0.5, 9000))


def test_before_there_is_any_proposal_it_is_a_guess(book: Book) -> None:
    found = forecast([book.history], [CLAUDE], 100)
    assert (found.cost_usd, found.tokens, found.proposals) == (50.0, 900_000, 0)
    assert found.words == "at a guess 50.00 USD for 100 experiments"


def test_proposals_of_the_same_kind_and_model_tell_failed_ones_included(book: Book) -> None:
    book.experiment(0.1, 1000, proposer="claude", model="claude-sonnet-4-5")
    book.experiment(0.3, 3000, proposer="claude", model="claude-sonnet-4-5", failure=["proposer_crash", "x"])
    book.experiment(9.0, 9, proposer="claude", model="claude-opus-4-5")
    book.experiment(9.0, 9, proposer="codex")
    book.experiment(proposer="claude", model="claude-sonnet-4-5", origin=1)
    found = forecast([book.history], [CLAUDE], 10)
    assert (found.cost_usd, found.tokens, found.proposals) == (pytest.approx(2.0), 20_000, 2)
    assert found.words == "about 2.00 USD for 10 experiments"


def test_a_mix_costs_by_its_shares_and_evaluations_count(book: Book) -> None:
    book.experiment(0.4, proposer="claude", evaluation_usd=0.05)
    mix = [Asked("claude", "", 0.5, (1.0, 0)), Asked("codex", "", 0.25, (0.8, 0))]
    found = forecast([book.history], mix, 10)
    assert found.cost_usd == pytest.approx(10 * (0.2 + 0.2 + 0.05))
    assert found.proposals == 0  # a part of it is a guess


def test_a_model_without_a_price_is_forecast_in_tokens(book: Book) -> None:
    found = forecast([book.history], [Asked("llm", "mine", 1.0, (None, 500))], None)
    assert (found.cost_usd, found.words) == (None, "at a guess 500 tokens an experiment")


def test_experiments_to_come_are_those_that_the_walls_leave_room_for(book: Book) -> None:
    for _ in range(4):
        book.experiment()
    book.put("run_stopped", None, status="open", reason="session", worked_s=40.0)
    assert further([book.history], experiments=100) == 96
    assert further([book.history], experiments=100, session=5) == 5
    assert further([book.history], experiments=100, time_s=60.0) == 6
    assert further([], time_s=60.0) is None
    assert further([book.history], time_s=math.inf) is None


@pytest.mark.parametrize(("amount", "wall"), [(3.1, 5.0), (0.11, 0.2), (1.0, 2.0), (48.0, 100.0), (0.0, 1.0), (1_300_000, 2e6)])
def test_suggested_wall_is_round_and_leaves_room(amount: float, wall: float) -> None:
    assert suggested(amount) == pytest.approx(wall)


@pytest.mark.parametrize(("usd", "words"), [(8.123, "8.12 USD"), (0.0034, "0.0034 USD"), (0.0, "0.00 USD"), (0.1, "0.10 USD")])
def test_small_amounts_are_not_shown_as_nothing(usd: float, words: str) -> None:
    assert show_usd(usd) == words
