"""What tokens cost: by the task's own price, else by the list of genai-prices."""

from __future__ import annotations

from autoresearch.records import Usage
from autoresearch.taskfile import schema


def cost_usd(model: str, usage: Usage, *, provider: str = "", price: schema.Price | None = None) -> float | None:
    """What the usage of a model costs in USD, None for a model without a price.

    Args:
        provider: of genai-prices, `` to find it by the model's name; `price` goes before any list.
    """
    raise NotImplementedError
