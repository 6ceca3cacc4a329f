"""Does a keep wait for a person? By the flags of its diff, or because every keep does."""

from __future__ import annotations

from autoresearch.bench import Bench
from autoresearch.books import Books
from autoresearch.records import Experiment, Flag, Kind, Verdict

_SHOWN = 3
_UNTOLD = ("literals",)  # verdicts stand in prompts, and whether a guess stands in private data must not


async def hold(books: Books, bench: Bench, n: int, verdict: Verdict) -> Verdict | None:
    """The verdict that is in the way of keeping experiment n, or None.

    An experiment that tries again what a person approved is not held.
    """
    e, options = books.experiment(n), books.options
    flags = [flag for flag in e.flags if flag.name in options.hold]
    if not (options.human or flags) or is_approved(books, e):
        return None
    look = f"look: autoresearch show {n}, keep it: autoresearch approve {n}"
    return Verdict(Kind.DISCARD, "held", f"better, and it waits for you{_why(flags)}; {look}", verdict.value)


def is_approved(books: Books, e: Experiment) -> bool:
    """Whether a person approved it, or what it tries again."""
    approved = books.history.agenda.approved
    while e.n not in approved:
        if e.origin is None:
            return False
        e = books.experiment(e.origin)
    return True


def _why(flags: list[Flag]) -> str:
    told = [f"{flag.name} ({flag.path}:{flag.line})" for flag in flags if flag.name not in _UNTOLD]
    more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return f": {', '.join(told[:_SHOWN])}{more}" if told else ""
