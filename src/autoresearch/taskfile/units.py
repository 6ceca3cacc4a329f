"""Durations, sizes and effects as people write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def seconds(value: Any) -> float:
    """`"1h30m"`, `"45s"` or a number of seconds.

    Raises:
        ValueError: anything else.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not 0 < value < float("inf"):
            raise ValueError('expected a duration above zero, as "90s", "5m" or "1h30m"')
        return float(value)
    text = str(value).strip().lower().replace(" ", "")
    parts = re.findall(r"(\d+(?:\.\d+)?)([a-z]+)", text)
    if not parts or "".join(a + b for a, b in parts) != text or any(unit not in _SECONDS for _, unit in parts):
        raise ValueError('expected a duration as "90s", "5m" or "1h30m"')
    total = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if total <= 0:
        raise ValueError("expected a duration above zero")
    return total


def size(value: Any) -> int:
    """`"10GB"`, `"512MiB"` or a number of bytes.

    Raises:
        ValueError: anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", str(value).strip().lower())
    if match is None or match[2] not in _BYTES or not float(match[1]):
        raise ValueError('expected a size as "10GB" or "512MiB"')
    return int(float(match[1]) * _BYTES[match[2]])


@dataclass(frozen=True, slots=True)
class Effect:
    """The smallest gain worth keeping: absolute in the metric's unit, or a fraction of the baseline's value."""

    absolute: float = 0.0
    relative: float = 0.0

    def of(self, baseline: float) -> float:
        return self.absolute + self.relative * abs(baseline)


def effect(value: Any) -> Effect:
    """A number, or `"0.5%"` of the baseline.

    Raises:
        ValueError: anything else, or a negative one.
    """
    expected = 'expected a number >= 0 in the metric\'s unit, or "0.5%" of the baseline'
    if isinstance(value, Effect):
        return value
    if isinstance(value, bool):
        raise ValueError(expected)
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        raise ValueError(expected) from None
    if not 0 <= number < float("inf"):
        raise ValueError(expected)
    return Effect(relative=number / 100) if text.endswith("%") else Effect(absolute=number)


def show_seconds(value: float) -> str:
    """A duration for people: `0.4 s`, `12 s`, `5.4 min`, `7.2 h`."""
    if value < 1:
        return f"{value * 1000:.0f} ms" if value < 0.1 else f"{value:.1f} s"
    if value < 120:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"
