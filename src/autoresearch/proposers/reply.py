"""What a model says of its change at the end: lines `description: …`, `hypothesis: …`, `expect: -1 %`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from autoresearch.text import one_line

_LAST = 40  # lines that are looked at
_LONGEST = 2000  # characters of each
_SHORT, _LONG = 200, 500
_BEFORE = r"^[\s>*_`#•\-]*"
_LINE = re.compile(_BEFORE + r"(description|hypothesis|expect(?:ed)?(?: effect| change)?)[\s*_`]*:[\s*_`]*(.*)$", re.IGNORECASE)
_PER_CENT = re.compile(r"([+\-−–]?)\s*(?<![\w.,])(\d+(?:[.,]\d+)?)\s*(?:%|per ?cent)", re.IGNORECASE)
_LESS = re.compile(r"\b(?:lower|less|down|fewer|smaller|faster|decrease|reduction|reduced?|drop)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """The end of a model's answer.

    Attributes:
        description: one line; where none is named so, the last line that is not empty. `named` tells.
        expected: the change of the metric that it expects, relative and with its sign; None where it names none.
    """

    description: str = ""
    hypothesis: str = ""
    expected: float | None = None
    named: bool = False


def read_reply(text: str) -> Reply:
    """Read the last lines of an answer; markdown around them does not matter, of several of one kind the last counts."""
    rows = (line.strip()[:_LONGEST] for line in text.splitlines())
    lines = [line for line in rows if line and not line.startswith("```")][-_LAST:]
    found = {match[1].lower()[:6]: _plain(match[2]) for match in map(_LINE.match, lines) if match}
    last = next((_plain(line) for line in reversed(lines) if not _LINE.match(line)), "")
    description = found.get("descri", "")
    return Reply(
        one_line(description or last, _SHORT),
        one_line(found.get("hypoth", ""), _LONG),
        expected(found.get("expect", "")),
        named=bool(description),
    )


def expected(words: str) -> float | None:
    """A change in per cent as a signed fraction: the first that the words name."""
    match = _PER_CENT.search(words)
    if match is None:
        return None
    size = float(match[2].replace(",", ".")) / 100
    if not math.isfinite(size):
        return None
    down = match[1] in ("-", "−", "–") if match[1] else bool(_LESS.search(words))
    return -size if down and size else size


def _plain(words: str) -> str:
    """A line without the marks of markdown at its ends."""
    return re.sub(r"^[\s>*_`#•]+|[\s*_`]+$", "", words)
