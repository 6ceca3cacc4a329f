"""What tokens cost: by the task's own price, else by the list that genai-prices brings along, without a network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from autoresearch.records import Usage
from autoresearch.taskfile import schema

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

_EXACT = Decimal("1e-9")  # tokens
_DATED = re.compile(r"[-@](?:20\d{6}|20\d\d-\d\d-\d\d)(?=$|:)|-(?:latest|\d\d-\d\d|\d{3})$|:latest$|\[[^\]]*\]$|@default$")
_CLOUD = re.compile(r"^(?:[a-z]{2,6}\.)?anthropic\.")  # how a Bedrock model is named, with its region or without


def cost_usd(
    model: str, usage: Usage, *, provider: str = "", price: schema.Price | None = None, answers: int = 1
) -> float | None:
    """What the usage of a model costs in USD, None for a model without a price.

    Args:
        model: as programs write it: dated, `anthropic/claude-sonnet-4-5`, `models/gemini-2.5-pro`, a Bedrock or Vertex name.
        provider: of genai-prices, `` to find it by the model's name; `price` goes before any list.
        answers: over how many answers the usage is the sum. With several models each request over 200,000 tokens or so costs
            more as a whole: a sum is priced as that many requests of the mean size, answer by answer is exact.
    """
    if price is not None:
        return _by_hand(usage, price)
    found = _find(model, provider)
    if found is None:
        return None
    from genai_prices.types import Usage as Counted

    whose, info = found
    share = Decimal(max(1, answers))
    sizes = (Decimal(count) / share for count in (usage.input, usage.cached, usage.written, usage.output))
    anew, cached, written, output = (size.quantize(_EXACT) for size in sizes)  # what they add up to is so to the last digit
    parts = {
        "input_tokens": anew + cached + written,  # the list counts what was cached in
        "cache_read_tokens": cached,
        "cache_write_tokens": written,
        "output_tokens": output,
    }
    counted = Counted(**{name: count for name, count in parts.items() if count})
    return float(info.calc_price(counted, whose).total_price * share)


def known(model: str, provider: str = "") -> bool:
    """Whether the list has a price for a model."""
    return _find(model, provider) is not None


def _by_hand(usage: Usage, price: schema.Price) -> float:
    cached = price.input if price.cached is None else price.cached
    million = price.input * (usage.input + usage.written) + cached * usage.cached + price.output * usage.output
    return million / 1e6


@lru_cache(maxsize=256)
def _find(model: str, provider: str) -> tuple[Provider, ModelInfo] | None:
    """The entry of the list: of the provider where that has the model, else of whoever the name belongs to."""
    from genai_prices.data_snapshot import get_snapshot

    for whose, name in _spellings(model.strip(), provider):
        try:
            found = get_snapshot().find_provider_model(name, None, whose or None, None)
        except LookupError:
            continue
        return found
    return None


def _spellings(model: str, provider: str) -> Iterator[tuple[str, str]]:
    """Under which (provider, name) a model may stand in the list, the most exact first."""
    if not model:
        return
    for name in dict.fromkeys((model, _DATED.sub("", model))):
        if provider:
            yield provider, name
        yield "", name
        if _CLOUD.match(name):
            yield "aws", name
        *before, last = name.split("/")
        for i in range(len(before)):  # openrouter/anthropic/claude-sonnet-4.5, publishers/google/models/gemini-2.5-pro
            yield before[i], "/".join([*before[i + 1 :], last])
        if before:
            yield "", last
