"""Rows of `requests`: anybody may have written them, so that reading them never fails and what is no request says nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from autoresearch.ledger import chain
from autoresearch.records import Request

LARGEST = 10**6  # bytes of a body
_DEEPEST = 8
UNREADABLE: Mapping[str, Any] = {"ok": False, "words": "the answer cannot be read: somebody else wrote into the ledger"}


def column(name: str) -> str:
    """Whatever somebody put into a column as bytes, NULL if it is too large."""
    return f"CASE WHEN length(CAST({name} AS BLOB)) <= {LARGEST} THEN CAST({name} AS BLOB) END"


_AT = "CASE WHEN typeof(at) IN ('real', 'integer') THEN at END"
COLUMNS = f"id, CAST(substr(run, 1, 80) AS BLOB), CAST(substr(kind, 1, 40) AS BLOB), {column('body')}, {_AT}"


def request(row: tuple[Any, ...]) -> Request:
    """A row as a request; kind and body are empty if it is none."""
    id_, run, kind, body, at = row
    found, name = parsed(body), _text(kind)
    if found is None or name is None:
        found, name = {}, ""
    is_time = isinstance(at, int | float) and math.isfinite(at)
    return Request(id_, _text(run) or "", name, found, float(at) if is_time else 0.0)


def answer(body: Any) -> Mapping[str, Any]:
    """What stands in the column `answer`; a refusal where that is no answer."""
    found = parsed(body)
    if found is None or not isinstance(found.get("ok"), bool):
        return UNREADABLE
    return found


def parsed(body: Any) -> dict[str, Any] | None:
    """A JSON object that the ledger could hold itself; None for anything else."""
    text = _text(body)
    try:
        found = json.loads(text or "")
        if not isinstance(found, dict) or _depth(found) > _DEEPEST:
            return None
        chain.canonical(found).encode()
    except (ValueError, RecursionError):
        return None
    return found


def _text(body: Any) -> str | None:
    try:
        return body.decode() if isinstance(body, bytes) else None
    except UnicodeDecodeError:
        return None


def _depth(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inside), default=0)
