"""The page as a block in somebody's AGENTS.md, between two comments. All other bytes of the file stay as they are."""

from __future__ import annotations

import re
from dataclasses import dataclass

from autoresearch.errors import SetupError
from autoresearch.skill.page import body, sum_of

_BEGIN = b"<!-- autoresearch skill: begin -->"
_END = "<!-- autoresearch skill: end, sum {sum} -->"
_BLOCK = re.compile(re.escape(_BEGIN) + rb"(.*?)<!-- autoresearch skill: end, sum (\w+) -->", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Found:
    """A block in a file, from `start` to `end`; `ours` and `current` as of a page."""

    start: int
    end: int
    ours: bool
    current: bool


def block() -> bytes:
    """What is put into the file, without a line end after it."""
    inside = b"\n" + body().encode()
    return _BEGIN + inside + _END.format(sum=sum_of(inside)).encode()


def find(content: bytes) -> Found | None:
    """The block in a file; None without one.

    Raises:
        SetupError: there are several, or only a part of one.
    """
    if _BEGIN not in content:
        return None
    found = _BLOCK.search(content)
    if found is None or content.count(_BEGIN) > 1:
        many = content.count(_BEGIN)
        what = f"{many} lines {_BEGIN.decode()}" if many > 1 else f"a line {_BEGIN.decode()} and no line that ends the block"
        raise SetupError(
            f"AGENTS.md has {what}, expected one whole block: delete what is left of it by hand and run this again"
        )
    ours = sum_of(found[1]) == found[2].decode("ascii", "replace")
    return Found(found.start(), found.end(), ours, found[0] == block())


def put(content: bytes | None) -> bytes:
    """The file with the block of today: in the place of an older one, else at its end; None is a file that is not there.

    A file without a line end at its end has none afterwards either, by which `taken` knows what to give back.
    """
    if content is None:
        return block() + b"\n"
    if found := find(content):
        return content[: found.start] + block() + content[found.end :]
    return content + b"\n" + block() + b"\n" if content.endswith(b"\n") or not content else content + b"\n\n" + block()


def taken(content: bytes) -> bytes | None:
    """The file without the block and the line ends that came with it; None where the file was made for the block.

    Raises:
        SetupError: as `find`.
    """
    found = find(content)
    if found is None:
        return content
    head, tail = content[: found.start], content[found.end :]
    if not head and tail in (b"", b"\n"):
        return None
    return head.removesuffix(b"\n" if tail else b"\n\n") + tail.removeprefix(b"\n")


def without(content: bytes) -> bytes:
    """A file as those see it whom the block does not concern."""
    return _BLOCK.sub(b"", content)


def same(one: bytes, other: bytes) -> bool:
    """Whether two files are the same but for the block."""
    return _bare(one) == _bare(other)


def _bare(content: bytes) -> bytes:
    try:
        return taken(content) or b""
    except SetupError:
        return content
