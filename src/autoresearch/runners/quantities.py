"""Numbers as programs write them: separators, signs, units, multipliers, durations. Reads one number, never several."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SEPARATORS = ",_'’ \u00a0\u202f\u2009"
_GROUPED = "|".join(rf"[1-9]\d{{0,2}}(?:{mark}\d{{3}})+(?!\d)" for mark in _SEPARATORS)
NUMBER = rf"[-+−]?(?!0[xX][0-9a-fA-F])(?:(?:{_GROUPED})(?:\.\d+)?|\d+\.?\d*|\.\d+)(?:[eE][-+−]?\d+)?"
WORD = r"[-+−]?(?:nan|inf(?:inity)?)\b"
_LETTER = "A-Za-zµμΩ°"
UNIT = rf"(?:%|/s|[{_LETTER}](?:[{_LETTER}_/·²³⁻¹^*.-]*[{_LETTER}²³⁻¹.])?[23]?(?![\w])(?:\s+per\s+[a-z]+)?)"
_PLAIN = re.compile(rf"(?P<value>{NUMBER}|{WORD})\s*(?P<unit>{UNIT})?\Z", re.IGNORECASE)
_WRAPPED = re.compile(
    rf"(?:np\.float\d+|numpy\.float\d+|tensor|array)\((?P<value>{NUMBER}|{WORD})(?:,[^()]*)?\)\Z", re.IGNORECASE
)
_SPREAD = re.compile(rf"\s*(?:±|\+/-|\+-)\s*{NUMBER}\s*(?:{UNIT})?\Z")
_MULTIPLES = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_COMPOUND = re.compile(
    r"(?:(?P<d>\d+)\s*(?:d|days?)[\s,]*)?(?:(?P<h>\d+)\s*(?:h|hrs?|hours?)[\s,]*)?(?:(?P<m>\d+)\s*(?:m|mins?|minutes?)[\s,]*)?"
    r"(?:and\s+)?(?P<s>\d+(?:\.\d+)?)\s*(?:s|secs?|seconds?)\Z",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"(?:(?P<h>\d+):(?P<hm>[0-5]?\d)|(?P<m>\d+)(?=:\d\d\.)):(?P<s>[0-5]\d(?:\.\d+)?)\Z")


_SCALES = {
    **{unit: ("time", scale) for unit, scale in {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0}.items()},
    **{unit: ("time", scale) for unit, scale in {"min": 60.0, "h": 3600.0}.items()},
    **{unit: ("size", scale) for unit, scale in {"b": 1.0, "bytes": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12}.items()},
    **{unit: ("size", scale) for unit, scale in {"kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30, "tib": 2.0**40}.items()},
}
"""Units that tools change with the size of the number: what each measures, and in what scale."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its unit as it was written; k, M, G and T alone are multipliers and no unit."""

    value: float
    unit: str = ""


def quantity(text: str) -> Quantity | None:
    """The one number that a text is, None if it is none, several, or can be read in two ways.

    Durations of several parts are in seconds: `1m23s`, `2 min 3 s`, `1:02.5`, `1:02:03`; `1:02` could be either, and is none.
    """
    text = _SPREAD.sub("", text.strip())
    match = _PLAIN.match(text) or _WRAPPED.match(text)
    if match is None:
        return _duration(text)
    digits = match["value"].replace("−", "-")
    value = float(re.sub(rf"[{_SEPARATORS}]", "", digits))
    unit = (match["unit"] or "") if match.re is _PLAIN else ""
    unit = "s" if re.fullmatch(r"sec(ond)?s?\.?", unit, re.IGNORECASE) else unit
    return Quantity(value * _MULTIPLES[unit]) if unit in _MULTIPLES else Quantity(value, unit)


def in_unit(found: Quantity, unit: str) -> Quantity:
    """The same quantity in the unit that was asked for, where both are units of time or both of size; else as it is."""
    here, there = _SCALES.get(found.unit.lower()), _SCALES.get(unit.lower())
    if here is None or there is None or here[0] != there[0]:
        return found
    return Quantity(found.value if here == there else found.value * here[1] / there[1], unit)


def _duration(text: str) -> Quantity | None:
    if clock := _CLOCK.match(text):
        parts = (float(clock["h"] or 0) * 3600, float(clock["hm"] or clock["m"]) * 60, float(clock["s"]))
    elif compound := _COMPOUND.match(text):
        days, hours = float(compound["d"] or 0), float(compound["h"] or 0)
        parts = ((24 * days + hours) * 3600, float(compound["m"] or 0) * 60, float(compound["s"]))
    else:
        return None
    return Quantity(sum(parts), "s")


def to_number(text: str) -> float | None:
    """The number of `quantity`, without its unit."""
    found = quantity(text)
    return None if found is None else found.value
