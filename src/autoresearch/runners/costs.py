"""What an evaluation reports to have cost: `cost_usd` beside its numbers, in USD, where it pays for anything.

By `METRIC cost_usd=0.02` (the last one counts), in the result file, in a JSON object as the last line, or in the record of a
sealed one; a line `cost_usd: 0.02` alone is a metric's form and means nothing here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoresearch.runners import numbers
from autoresearch.runners.quantities import to_number

NAME = "cost_usd"
_LINE = re.compile(rf"\s*METRIC\s+{NAME}\s*=\s*(?P<rest>.+)")


def read(stdout: str, *, result: Path | None = None, reported: str | None = None, sealed: bool = False) -> tuple[float, str]:
    """The cost in USD, 0.0 for none, and a note where what is there cannot be one.

    Args:
        reported: the record of a `sealed` evaluation, which counts alone.
    """
    found = _sealed(reported) if sealed else _plain(stdout, result)
    if found is None:
        return 0.0, ""
    number = to_number(found) if isinstance(found, str) else float(found)
    if number is None or not math.isfinite(number) or number < 0:
        return 0.0, f"{NAME} is {str(found).strip()[:40]}, which no cost can be: it counts as 0"
    return number, ""


def of(values: Mapping[str, float]) -> float:
    """The same of metric values, as a function in Python returns them."""
    number = values.get(NAME, 0.0)
    return number if math.isfinite(number) and number > 0 else 0.0


def _plain(stdout: str, result: Path | None) -> str | float | None:
    from_file = numbers.result_file(result)
    if NAME in from_file:
        return from_file[NAME]
    lines = numbers.clean_lines(stdout)
    told = [match["rest"] for line in lines if (match := _LINE.match(line))]
    return told[-1] if told else numbers.json_line(lines).get(NAME)


def _sealed(reported: str | None) -> float | None:
    try:
        body: Any = json.loads((reported or "").strip())
        value = body["metrics"][NAME]
    except (ValueError, RecursionError, TypeError, KeyError):
        return None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
