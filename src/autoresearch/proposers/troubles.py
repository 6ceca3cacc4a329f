"""Errors of model servers, in what follows from them: never again, not this request, later, or at once once more."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from autoresearch.proposers.outcome import retry_after_s
from autoresearch.text import one_line

if TYPE_CHECKING:
    from pydantic_ai.exceptions import ModelAPIError

_RESET = re.compile(r"(?:x-|anthropic-)?ratelimit-(?:.*-)?reset(?:-.*)?")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TOO_LONG = re.compile(r"max_(?:completion_|output_)?tokens|maxOutputTokens|context (?:length|window)", re.IGNORECASE)
_LATER = (402, 408, 409, 425, 429)  # of those below 500


def is_key(error: ModelAPIError) -> bool:
    """Whether the key was refused."""
    from pydantic_ai.exceptions import ModelAuthenticationError

    return isinstance(error, ModelAuthenticationError) or "API key not valid" in str(error)


def is_unknown(error: ModelAPIError) -> bool:
    """Whether there is no such model, or nothing at that address."""
    from pydantic_ai.exceptions import ModelNotFoundError

    return isinstance(error, ModelNotFoundError)


def is_rejected(error: ModelAPIError) -> bool:
    """Whether the same request would be refused again."""
    from pydantic_ai.exceptions import ModelHTTPError, ModelRequestRejectedError

    if isinstance(error, ModelRequestRejectedError):
        return True
    return isinstance(error, ModelHTTPError) and 400 <= error.status_code < 500 and error.status_code not in _LATER


def is_too_long(error: ModelAPIError) -> bool:
    """Whether a shorter answer may be had."""
    return is_rejected(error) and _TOO_LONG.search(str(error)) is not None


def is_rate_limit(error: ModelAPIError) -> bool:
    """Whether it is a limit of requests, of tokens or of money."""
    from pydantic_ai.exceptions import ModelQuotaExceededError, ModelRateLimitError

    return isinstance(error, ModelRateLimitError | ModelQuotaExceededError) or getattr(error, "status_code", 0) in (402, 429)


def words_of(error: Exception) -> str:
    """What a server says in an error, on one line; secrets are not covered."""
    body = getattr(error, "body", None)
    for key in ("error", "message"):
        body = body.get(key, body) if isinstance(body, Mapping) else body
    status = getattr(error, "status_code", None)
    return one_line(f"HTTP {status}: {body or error}" if status else f"{body or error}")


def after_s(error: ModelAPIError, now: datetime | None = None) -> float | None:
    """After how many seconds it can be tried again, by Retry-After, a provider's own headers or its words; None if untold."""
    if error.retry_after is not None:
        return error.retry_after
    headers, now = (
        {name.lower(): value for name, value in (getattr(error, "headers", None) or {}).items()},
        now or datetime.now(UTC),
    )
    if (told := _span_s(headers.get("retry-after", ""), now)) is not None:
        return told
    resets = {name: _span_s(value, now) for name, value in headers.items() if _RESET.fullmatch(name)}
    used_up = [s for name, s in resets.items() if s is not None and headers.get(name.replace("reset", "remaining")) == "0"]
    found = used_up or [s for s in resets.values() if s is not None]
    return max(found) if found else retry_after_s(words_of(error), now.timestamp())


def _span_s(value: str, now: datetime) -> float | None:
    """Seconds of `6m0s`, `20ms`, `12.5`, a time stamp, or a date as of RFC 3339."""
    value = value.strip()
    if re.fullmatch(r"\d+(?:\.\d+)?", value):
        number = float(value)
        number = number / 1000 if number > 1e12 else number  # of milliseconds since 1970
        return max(0.0, number - now.timestamp()) if number > 1e9 else number
    if re.fullmatch(rf"(?:{_SPAN.pattern})+", value):
        return sum(float(number) * _UNITS_S[unit] for number, unit in _SPAN.findall(value))
    try:
        return max(0.0, (datetime.fromisoformat(value) - now).total_seconds())
    except (ValueError, TypeError):
        return None
