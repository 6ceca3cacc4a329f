"""What tokens cost: checked against prices that were worked out by hand from the list."""

from __future__ import annotations

import socket
from decimal import Decimal
from typing import Any, NoReturn

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autoresearch.prices import cost_usd, known
from autoresearch.records import Usage
from autoresearch.taskfile.schema import Price

USAGE = Usage(input=10_000, cached=40_000, written=5_000, output=2_000)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> NoReturn:
        raise AssertionError("a price was asked for over the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize(
    ("model", "usage", "usd"),
    [
        # input 3, read from cache 0.30, written to it 3.75, output 15 USD a million
        ("claude-sonnet-4-5", USAGE, (10 * 3 + 40 * 0.3 + 5 * 3.75 + 2 * 15) / 1000),
        # input 1.25, cached 0.125, output 10; what is written to its cache costs as input
        ("gpt-5", USAGE, ((10 + 5) * 1.25 + 40 * 0.125 + 2 * 10) / 1000),
        ("gemini-2.5-pro", Usage(10_000, 40_000, 0, 2_000), (10 * 1.25 + 40 * 0.125 + 2 * 10) / 1000),
        # one request of more than 200,000 tokens, cached ones counted: everything at the higher price
        ("gemini-2.5-pro", Usage(10_000, 191_000, 0, 2_000), (10 * 2.5 + 191 * 0.25 + 2 * 15) / 1000),
        ("gemini-2.5-pro", Usage(9_000, 191_000, 0, 2_000), (9 * 1.25 + 191 * 0.125 + 2 * 10) / 1000),
    ],
)
def test_cached_and_written_tokens_have_their_own_price(model: str, usage: Usage, usd: float) -> None:
    assert cost_usd(model, usage) == pytest.approx(usd, rel=1e-12)


def test_usage_of_several_answers_is_priced_as_several_requests() -> None:
    four = Usage(input=400_000, cached=0, written=0, output=4_000)
    assert cost_usd("gemini-2.5-pro", four, answers=4) == pytest.approx((400 * 1.25 + 4 * 10) / 1000)
    assert cost_usd("gemini-2.5-pro", four) == pytest.approx((400 * 2.5 + 4 * 15) / 1000)


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("claude-sonnet-4-5[1m]", "claude-sonnet-4-5"),
        ("claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("anthropic/claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("openrouter/anthropic/claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("google/gemini-2.5-pro", "gemini-2.5-pro"),
        ("vertex_ai/gemini-2.5-pro", "gemini-2.5-pro"),
        ("publishers/google/models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("openai/gpt-5", "gpt-5"),
        ("gpt-5-2025-08-07", "gpt-5"),
        ("gpt-5.5-2026-01-01", "gpt-5.5"),
    ],
)
def test_a_model_is_found_by_the_names_that_programs_give_it(name: str, same: str) -> None:
    assert cost_usd(name, USAGE) == cost_usd(same, USAGE) is not None


def test_regional_bedrock_name_has_the_price_of_bedrock() -> None:
    usage = Usage(input=10_000, output=2_000)
    ten_per_cent_more = 1.1 * (10 * 3 + 2 * 15) / 1000
    assert cost_usd("us.anthropic.claude-sonnet-4-5-20250929-v1:0", usage) == pytest.approx(ten_per_cent_more)


@pytest.mark.parametrize(("provider", "model"), [("bedrock", "claude-sonnet-4-5"), ("google-vertex", "gemini-2.5-pro")])
def test_provider_is_found_by_its_other_names(provider: str, model: str) -> None:
    assert known(model, provider)


@pytest.mark.parametrize("model", ["", "fake-model", "qwen3:8b", "llama3.2", "sonnet", "a/b/c", "/", "claude-sonnet-9-9"])
def test_model_that_is_not_in_the_list_has_no_price(model: str) -> None:
    assert cost_usd(model, USAGE) is None
    assert not known(model)
    assert not known(model, "anthropic")


@pytest.mark.parametrize("provider", ["openai", "no-such-provider"])
def test_model_of_another_house_than_the_provider_is_priced_by_its_name(provider: str) -> None:
    assert cost_usd("claude-sonnet-4-5", USAGE, provider=provider) == cost_usd("claude-sonnet-4-5", USAGE)


def test_price_of_the_task_goes_before_the_list() -> None:
    price = Price(input=2, output=8, cached=0.5)
    assert cost_usd("gpt-5", USAGE, price=price) == pytest.approx(((10 + 5) * 2 + 40 * 0.5 + 2 * 8) / 1000)
    assert cost_usd("my-model", USAGE, price=Price(input=2, output=8)) == pytest.approx((55 * 2 + 2 * 8) / 1000)


@example([0, 1, 9, 0], 9)  # a ninth and one make no more than what they are parts of
@given(st.lists(st.integers(0, 2_000_000), min_size=4, max_size=4), st.integers(1, 50))
def test_more_tokens_never_cost_less_and_none_cost_nothing(counts: list[int], answers: int) -> None:
    usage = Usage(*counts)
    cost = cost_usd("claude-sonnet-4-5", usage, answers=answers)
    more = cost_usd("claude-sonnet-4-5", usage + Usage(input=1), answers=answers)
    assert cost is not None
    assert more is not None
    assert more > cost >= 0
    assert cost_usd("claude-sonnet-4-5", Usage()) == 0.0
    assert Decimal(cost).is_finite()
