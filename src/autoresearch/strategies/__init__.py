"""Strategies pick parents and operation. One a file."""

from __future__ import annotations

from typing import cast

from autoresearch.contracts import Strategy, find

KNOWN = {"greedy": "autoresearch.strategies.greedy:Greedy"}


def make(kind: str) -> Strategy:
    """The strategy that goes by this name.

    Raises:
        UnknownName: with the nearest known one.
    """
    return cast(Strategy, find("strategies", kind, KNOWN)())
