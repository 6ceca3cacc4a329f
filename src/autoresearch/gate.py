"""One evaluation on data that proposers never see: keep or discard."""

from __future__ import annotations

from autoresearch.bench import Bench
from autoresearch.books import Books
from autoresearch.records import Verdict


async def ask(books: Books, bench: Bench, n: int, verdict: Verdict) -> Verdict | None:
    """The verdict that is in the way of keeping experiment n, or None."""
    return None
