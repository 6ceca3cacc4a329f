"""What detection gives: guesses at a task, each with the number that it would read."""

from __future__ import annotations

import re
from dataclasses import dataclass

from autoresearch.records import Direction

_HIGHER = re.compile(
    "acc|accuracy|score|f1|recall|precision|throughput|reward|auc|qps|rps|coverage|bleu|rouge|iou|map|ndcg|mrr|hits?|success|r2|"
    "wins?|speed|speedup|passed|correct|reads|writes"
)
_SMALL = re.compile("ns|us|ms|s|secs?|seconds|micros|millis|bits|bytes")
_UNITS = {"ns": "ns", "us": "us", "ms": "ms", "s": "s", "sec": "s", "seconds": "s", "mb": "MB", "kb": "KB", "bytes": "bytes"}


@dataclass(frozen=True, slots=True)
class Number:
    """A number that a command gives: its name and how it is read, as the keys of `[metric]`."""

    name: str = ""
    direction: Direction = "minimize"
    unit: str = ""
    pattern: str = ""
    file: str = ""
    path: str = ""
    take: str = "only"


@dataclass(frozen=True, slots=True)
class Guess:
    """A task that the folder may be meant for.

    Attributes:
        what: in a few words, to choose by.
        rank: the higher, the likelier.
        build, cache, inputs: what this command needs besides.
    """

    what: str
    rank: int
    editable: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    command: str = ""
    number: Number = Number()
    build: str = ""
    cache: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()


def direction_of(name: str) -> Direction:
    """Which way is better, by the name alone: `accuracy` and `ops_per_s` up, everything else down."""
    words = re.split(r"[\W_]+", name.lower())
    if "per" in words[1:]:
        return "minimize" if _SMALL.fullmatch(words[0]) else "maximize"
    return "maximize" if any(map(_HIGHER.fullmatch, words)) else "minimize"


def unit_of(name: str) -> str:
    """The unit that a name ends in, as `p95_ms`; rates have none."""
    words = re.split(r"[\W_]+", name.lower())
    return _UNITS.get(words[-1], "") if len(words) > 1 and "per" not in words else ""


def named(name: str, *, take: str = "only") -> Number:
    """A number by its name, with the direction and unit that the name speaks of."""
    return Number(name, direction_of(name), unit_of(name), take=take)
