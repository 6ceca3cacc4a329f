"""The page, and how a file with it is known again: its last line has a sum of the others.

So nothing has to be remembered elsewhere, and a file that somebody changed is not taken for ours.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

NAME = "autoresearch"
_SEAL = "<!-- autoresearch skill install: sum {sum}, folders {folders} -->\n"
_SEALED = re.compile(rb"<!-- autoresearch skill install: sum ([0-9a-f]{16}), folders (\d) -->\n")


@cache
def text() -> str:
    """The page as agents with skills read it, front matter included."""
    return (Path(__file__).parent / "SKILL.md").read_text(encoding="utf-8")


def body() -> str:
    """The page without its front matter."""
    return text().split("---\n", 2)[2].strip() + "\n"


def description() -> str:
    """When to use it, in the words of the front matter."""
    return text().partition("\ndescription: ")[2].partition("\n")[0]


def sum_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def sealed(folders: int) -> bytes:
    """The page as it is written.

    Args:
        folders: how many of the folders above it were made for it.
    """
    content = text().encode()
    return content + _SEAL.format(sum=sum_of(content), folders=folders).encode()


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was found where the page goes.

    Attributes:
        ours: as it was written by this program, of whatever version; else somebody changed it, or it is another's.
        current: ours, and with the words of today.
        folders: see `sealed`; 0 where the file does not say.
    """

    ours: bool
    current: bool
    folders: int


def read(content: bytes) -> Written:
    """What a file's bytes say of it."""
    found = _SEALED.search(content)
    if found is None:
        return Written(ours=False, current=False, folders=0)
    above = content[: found.start()]
    ours = found.end() == len(content) and sum_of(above) == found[1].decode()
    return Written(ours, ours and above == text().encode(), int(found[2]))
