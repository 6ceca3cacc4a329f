"""Text that a program, a model or a candidate wrote, on its way into a prompt: cleaned, cut, and fenced as data.

Whoever reads a prompt takes it for instructions. A fence that its content cannot close, and one word beside it, say where that
stops. It is no wall: a model can still believe what it reads there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MARK = "data"
"""The word behind each opening fence."""

_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)?"  # titles and links of a terminal
    r"|\x1b[PX^_][^\n]*?(?:\x1b\\|$)"
    r"|[\x1b\x9b]\[?[0-?]*[ -/]*[@-~]",
    re.MULTILINE,
)
_TICKS = re.compile(r" {0,3}(`{3,}|~{3,})(.*)$")


def clean(text: str) -> str:
    """Text without terminal escapes, control characters, and characters that are not seen; tabs and line ends stay.

    What a carriage return wrote over is gone, as on a terminal.
    """
    text = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    if "\r" in text:
        text = "\n".join(row.rstrip("\r").rpartition("\r")[2] for row in text.split("\n"))
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else " " if c.isspace() else "" for c in text)


def line(text: str, limit: int = 200) -> str:
    """Cleaned text on one line, cut at `limit` characters."""
    text = " ".join(clean(text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def fence(text: str) -> str:
    """Text as a block that nothing in it can close: its fence is longer than any run of backticks in it."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{MARK}\n{text}\n{ticks}"


def closed(text: str) -> str:
    """The owner's text with a fence that he left open, or that was cut off, closed: what follows is not swallowed by it."""
    ticks = ""
    for row in text.split("\n"):
        mark = _TICKS.match(row)
        if not ticks:
            ticks = mark[1] if mark and (mark[1][0] == "~" or "`" not in mark[2]) else ""
        elif mark and mark[1].startswith(ticks) and not mark[2].strip():
            ticks = ""
    return f"{text}\n{ticks}" if ticks else text


def head(text: str, lines: int, width: int = 400) -> str:
    """The first lines, each cut at `width` characters; says what is left out."""
    return _cut(text.split("\n"), lines, width, first=True)


def tail(text: str, lines: int, width: int = 200) -> str:
    """The last lines, each cut at `width` characters; says what is left out."""
    return _cut(text.split("\n"), lines, width, first=False)


def _cut(rows: list[str], lines: int, width: int, *, first: bool) -> str:
    kept = rows[:lines] if first else rows[-lines:]
    shown = list(_narrow(kept, width))
    if len(kept) == len(rows):
        return "\n".join(shown)
    said = f"(cut: the {'first' if first else 'last'} {lines} of {len(rows)} lines)"
    return "\n".join([*shown, said] if first else [said, *shown])


def _narrow(rows: Iterable[str], width: int) -> Iterable[str]:
    return (row if len(row) <= width else f"{row[:width]}… (cut: {len(row)} characters)" for row in rows)
