"""What to do about a ledger that somebody else wrote into, in words."""

from __future__ import annotations


def rebuild() -> str:
    """Where only the tables are wrong."""
    return "Nothing was changed. Make the tables again from the events: `autoresearch log --rebuild`"


def restart(run: str, commit: str = "") -> str:
    """Where the events are; `commit` is the line's newest one that can be trusted, the branch's where none is known."""
    start = commit[:12] or f"autoresearch/{run}"
    return (
        "Nothing was changed. Look with `autoresearch log --verify`; start a new run from the last good keep: "
        f"`autoresearch run --from {start}`"
    )
