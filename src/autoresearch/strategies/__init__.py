"""Strategies pick parents and operation, whom to ask and for which kind of change. One a file."""

from __future__ import annotations

import inspect
from typing import Any, cast

from autoresearch.contracts import Strategy, find
from autoresearch.strategies.mix import Member, Tuning

KNOWN = {"greedy": "autoresearch.strategies.greedy:Greedy"}


def make(kind: str, **options: Any) -> Strategy:
    """The strategy that goes by this name; it gets those of the options that its constructor names.

    Raises:
        UnknownName: with the nearest known one.
    """
    found = find("strategies", kind, KNOWN)
    wanted = inspect.signature(found).parameters
    return cast(Strategy, found(**{key: value for key, value in options.items() if key in wanted}))


__all__ = ["KNOWN", "Member", "Tuning", "make"]
