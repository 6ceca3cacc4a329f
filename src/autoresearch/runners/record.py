"""The record of a sealed evaluation: one line of JSON, `{"metrics": {"score": 0.5}}`, and nothing else counts."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from autoresearch.runners.costs import NAME
from autoresearch.runners.numbers import NoNumber

LIMIT = 1 << 20


def read(reported: str | None, names: Sequence[str], *, needed: Sequence[str]) -> dict[str, float]:
    """Those of the names that the record has.

    Args:
        reported: what came through the channel, None when nobody took it.
        needed: those that it must have.
    Raises:
        NoNumber: none, more than one, or one that is not as it should be.
    """
    if reported is None:
        raise _invalid("nobody took the channel; [evaluate] sealed = true reads nothing else: report by autoresearch.sealed")
    lines = [line for line in reported.split("\n") if line.strip()]
    if len(reported.encode("utf-8", "replace")) > LIMIT:
        raise _invalid(f"more than {LIMIT // 2**20} MB came through the channel")
    if not lines:
        raise _invalid("the evaluator took the channel and ended without a report")
    if len(lines) > 1:
        raise _invalid(f"{len(lines)} records came through the channel, expected one")
    metrics = _metrics(lines[0], names)
    missing = [name for name in needed if name not in metrics]
    if missing:
        raise _invalid(f"it has no {missing[0]} (there: {', '.join(metrics)[:200] or 'nothing'})")
    return {name: number for name, number in metrics.items() if name in names}


def _metrics(line: str, names: Sequence[str]) -> dict[str, float]:
    try:
        body: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"it is not JSON: {error}") from error
    metrics = body.get("metrics") if isinstance(body, dict) else None
    if not isinstance(metrics, dict):
        raise _invalid('expected {"metrics": {"name": number}}')
    return {name: _finite(name, value) for name, value in metrics.items() if name in names or name != NAME}


def _finite(name: str, value: object) -> float:
    number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    if not math.isfinite(number):
        raise _invalid(f"{name} is {str(value)[:80]}, expected a finite number")
    return number


def _invalid(words: str) -> NoNumber:
    return NoNumber(f"no valid record: {words}")
