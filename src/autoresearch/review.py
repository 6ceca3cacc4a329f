"""Does a keep wait for a person? By the flags of its diff."""

from __future__ import annotations

from autoresearch.bench import Bench
from autoresearch.books import Books
from autoresearch.records import Verdict


async def hold(books: Books, bench: Bench, n: int, verdict: Verdict) -> Verdict | None:
    """The verdict that is in the way of keeping experiment n, or None."""
    return None
