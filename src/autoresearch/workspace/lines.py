"""How many lines a change adds or takes away, from the contents of the files that it changes."""

from __future__ import annotations

from collections.abc import Mapping

from autoresearch.objects import Repository

_PEEK = 8000  # bytes: what has a zero byte among so many first ones is binary, as for git


def added(repository: Repository, onto: str, entries: Mapping[str, tuple[str, bytes] | None]) -> int | None:
    """Lines that entries (mode and content by path, None deletes) add to the tree `onto`, less those they take away.

    A file that is not there is an empty one. None if nothing was changed, or anything but text: lines that go into a binary
    file are none that were saved.
    """
    found = [_change(repository, onto, path, new) for path, new in entries.items()]
    return sum(n for n in found if n is not None) if found and None not in found else None


def _change(repository: Repository, onto: str, path: str, new: tuple[str, bytes] | None) -> int | None:
    old = repository.find(onto, path)
    after = _count(*new) if new is not None else 0
    if after is None:
        return None
    before = 0
    if old is not None:
        counted = _count(old[0], repository.read(old[1], "blob")) if _is_file(old[0]) else None
        if counted is None:
            return None
        before = counted
    return after - before


def _is_file(mode: str) -> bool:
    return mode.startswith("100")


def _count(mode: str, content: bytes) -> int | None:
    """Lines of a text, also a last one without an end; None for what has no lines: binary files and links."""
    if not _is_file(mode) or b"\0" in content[:_PEEK]:
        return None
    return content.count(b"\n") + (not content.endswith(b"\n") if content else 0)
