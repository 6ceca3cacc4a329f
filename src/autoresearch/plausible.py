"""Is a gain too good to be true? Held until a clean clone confirms it."""

from __future__ import annotations

from autoresearch.bench import Bench
from autoresearch.books import Books
from autoresearch.records import Verdict


async def confirm(books: Books, bench: Bench, n: int, verdict: Verdict) -> Verdict | None:
    """The verdict that is in the way of keeping experiment n, or None."""
    return None
