"""What an error of a model's server means for a run, from its status and words: to wait, to stop, or one experiment lost."""

from __future__ import annotations

import re

from autoresearch.proposers.program import Final

_STATUS = re.compile(r"""(?:^|\bcode\W{1,4}|\bstatus\W{1,4}|\bHTTP\W|\(|\[)\s*([45]\d\d)\b""")
_BY_STATUS: dict[int, Final] = {401: "key", 402: "key", 403: "key", 404: "model", 408: "outage", 429: "rate_limit"}
_BY_WORDS: tuple[tuple[str, Final], ...] = (
    (r"insufficient.quota|credit balance|exceeded your current quota|billing", "key"),
    (r"api.?key|unauthori[sz]ed|unauthenticated|authenticat|invalid.{0,20}(token|credential)|not logged in", "key"),
    (r"models?\b.{0,80}\b(not found|does not exist|not exist|unknown|not supported)|(unknown|invalid|no such) model", "model"),
    (r"rate.?limit|too many requests|resource.?exhausted|usage limit|quota", "rate_limit"),
    (
        r"overloaded|high demand|unavailable|fetch failed|connection|econn|enotfound|network|socket|timed? ?out|"
        r"internal error|unable to connect",
        "outage",
    ),
)
_BROKEN = re.compile(
    r"malformed|incomplete json|unexpected end|stream (ended|closed|disconnected)|terminated|premature|aborted", re.I
)


def fault(words: str, status: int | None = None) -> Final:
    """What the error of a model's server is: `key`, `model`, `rate_limit`, `outage`, `cut`, else `error`.

    A quota that is used up for good counts as `key`: no waiting helps.

    Args:
        status: of HTTP; None to look for it in the words.
    """
    if status is None and (found := _STATUS.search(words)):
        status = int(found[1])
    first = _by_words(words)
    if status is None:
        return "cut" if _BROKEN.search(words) else first
    if first == "key" and status in (400, 429):
        return "key"
    return _BY_STATUS.get(status, "outage" if status >= 500 else "error")


def _by_words(words: str) -> Final:
    return next((final for pattern, final in _BY_WORDS if re.search(pattern, words, re.IGNORECASE)), "error")
