"""Small things with text that several places need: one line of it, names for files, exceptions in words."""

from __future__ import annotations

import re
import time
import traceback


def one_line(text: str, limit: int = 300) -> str:
    """Printable text on one line, cut at `limit` characters."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def counted(number: int, noun: str) -> str:
    """`1 experiment`, `2 experiments`, `2 branches`."""
    return f"{number} {noun}{'' if number == 1 else 'es' if noun.endswith('ch') else 's'}"


def show_bytes(number: float) -> str:
    """`1.5 GB`, `20 MB`, `3 kB`: a size in words, and never 0 for one that is not."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(number) >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f} bytes"


def show_usd(number: float) -> str:
    """`8.12 USD`, `0.0034 USD`: money in words, and never 0 for what is not."""
    return f"{number:.2f} USD" if number >= 0.1 or not number else f"{number:.2g} USD"


def show_clock(at: float, now: float) -> str:
    """A time of the clock as one looks for it: `03:12`, with the seconds where it is near, and the day where it is far."""
    near, far = at - now < 120, at - now > 20 * 3600
    return time.strftime("%a %H:%M" if far else "%H:%M:%S" if near else "%H:%M", time.localtime(at))


def slug(name: str) -> str:
    """A name that is safe in a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "x"


def describe(error: BaseException) -> str:
    """An exception in one line: type, message, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    return one_line(f"{type(error).__name__}: {error}") + where
