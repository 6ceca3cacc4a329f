"""Edits in plain text, for models without tools: search/replace blocks and whole files, as a reply holds them.

Reading is tolerant of prose and fences around blocks and of how paths are written. `patchwork` puts blocks in place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

FORMAT = """\
Answer with edits in this form, as many as one idea needs, each with the path of its file on the line before it:

path/of/file.py
<<<<<<< SEARCH
lines as they stand in the file now, copied exactly, with their indentation
=======
lines that take their place
>>>>>>> REPLACE

- The lines under SEARCH have to be whole lines that stand exactly once in the file: add lines around them until they do.
- Nothing between ======= and REPLACE takes the lines out.
- A new file, or a short file written anew as a whole:

path/of/file.py
<<<<<<< WHOLE FILE
all lines of the file
>>>>>>> END

- A file that is to go: its path, then a line <<<<<<< DELETE and a line >>>>>>> END.
- Work on the files as shown here. You cannot run anything. What stands outside of the edits changes nothing."""

_START = re.compile(r"^(\s*)<{5,}\s*(SEARCH|WHOLE(?:[ _]FILE)?|DELETE)\b[ :]*(.*?)\s*$", re.IGNORECASE)
_MIDDLE = re.compile(r"^\s*={5,}\s*$")
_END = re.compile(r"^\s*>{5,}\s*(?:REPLACE|END|WHOLE(?:[ _]FILE)?|DELETE)?\s*$", re.IGNORECASE)
_FENCE = re.compile(r"^\s*(`{3,}|~{3,})\s*([^`]*?)\s*$")
_LABEL = re.compile(r"^(?:file|path|file ?name|datei|in)\s*:\s*", re.IGNORECASE)
_MOST_SPLITS = 20

Act = Literal["replace", "whole", "fence", "delete"]


@dataclass(frozen=True, slots=True)
class Block:
    """One edit of a reply.

    Attributes:
        path: as it is written, without what is around it; `` where nothing before it can be one.
        act: `fence` is a fenced text below a path, which may be a whole file or an illustration.
        texts: (search, replacement), more than one where a line of `=======` may belong to either; whole files have no search.
        line: of the reply, from 1.
    """

    path: str
    act: Act
    texts: tuple[tuple[str, str], ...]
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Found:
    """What a reply holds: its blocks in their order, what is wrong with its form, and the words around them."""

    blocks: tuple[Block, ...]
    problems: tuple[str, ...]
    prose: str


def read(text: str) -> Found:
    """Find the blocks in a reply. Never fails: what cannot be read is a problem."""
    lines = text.replace("\r\n", "\n").split("\n")
    blocks: list[Block] = []
    problems: list[str] = []
    prose: list[str] = []
    i = 0
    while i < len(lines):
        if start := _START.match(lines[i]):
            i = _take_block(lines, i, start, blocks, problems)
        elif (fence := _FENCE.match(lines[i])) and (end := _close(lines, i, fence[1])) is not None:
            if any(_START.match(line) for line in lines[i + 1 : end]):
                i += 1  # a fence around blocks
                continue
            path = _path_of_info(fence[2]) or _path_before(lines, i)
            if path:
                blocks.append(Block(path, "fence", (("", "\n".join(lines[i + 1 : end])),), i + 1))
            i = end + 1
        else:
            if not _FENCE.match(lines[i]):
                prose.append(lines[i])
            i += 1
    return Found(tuple(blocks), tuple(problems), "\n".join(prose).strip())


def _take_block(lines: Sequence[str], i: int, start: re.Match[str], blocks: list[Block], problems: list[str]) -> int:
    """Read the block that begins at line i; gives the line after it."""
    word = start[2].upper()
    end = next((j for j in range(i + 1, len(lines)) if _END.match(lines[j]) or _START.match(lines[j])), len(lines))
    if end == len(lines) or _START.match(lines[end]):
        problems.append(f"the {word} block at line {i + 1} of your reply has no closing line of >>>>>>>: was it cut off?")
        return end
    path = _clean(start[3]) or _path_before(lines, i)
    body = _without_margin(lines[i + 1 : end], start[1])
    if word == "DELETE":
        blocks.append(Block(path, "delete", (), i + 1))
    elif word != "SEARCH":
        blocks.append(Block(path, "whole", (("", "\n".join(body)),), i + 1))
    elif texts := tuple(_splits(body)):
        blocks.append(Block(path, "replace", texts, i + 1))
    else:
        problems.append(f"the SEARCH block at line {i + 1} of your reply has no line of ======= between old and new lines")
    return end + 1


def _splits(body: Sequence[str]) -> Iterator[tuple[str, str]]:
    middles = [j for j, line in enumerate(body) if _MIDDLE.match(line)]
    for j in middles[:_MOST_SPLITS]:
        yield "\n".join(body[:j]), "\n".join(body[j + 1 :])


def _without_margin(body: Sequence[str], margin: str) -> Sequence[str]:
    """A block that stands indented as a whole, as in a list, has that indentation taken off."""
    if margin and all(line.startswith(margin) or not line.strip() for line in body):
        return [line[len(margin) :] for line in body]
    return body


def _close(lines: Sequence[str], i: int, mark: str) -> int | None:
    """Where the fence that opens at line i closes; blocks in it may hold fences of their own."""
    inside = False
    for j in range(i + 1, len(lines)):
        inside = (inside or _START.match(lines[j]) is not None) and not _END.match(lines[j])
        found = _FENCE.match(lines[j])
        if not inside and found and found[1].startswith(mark) and not found[2]:
            return j
    return None


def _path_before(lines: Sequence[str], i: int) -> str:
    """The path on the line before a block, over blank lines and the fence that the block stands in."""
    j = i - 1
    while j >= 0 and not lines[j].strip():
        j -= 1
    if j >= 0 and (fence := _FENCE.match(lines[j])) and _START.match(lines[i]) is not None:
        if path := _path_of_info(fence[2]):
            return path
        j -= 1
        while j >= 0 and not lines[j].strip():
            j -= 1
    return _clean(lines[j]) if j >= 0 and not _END.match(lines[j]) else ""


def _path_of_info(info: str) -> str:
    """The path in what stands behind a fence's mark: `python train.py`, `python:train.py`, `train.py`."""
    words = re.split(r"[\s:=]+", info.strip("{}[] "))
    found = [w.strip("\"'") for w in words if "." in w.strip("\"'.") or "/" in w]
    return _clean(found[-1]) if found else ""


def _clean(line: str) -> str:
    """A path without what models put around one; `` for a line that cannot be one."""
    text = re.sub(r"^\d+[.)]\s+", "", line.strip().lstrip("#>-*+ ").strip())
    text = _LABEL.sub("", text.strip("*_ ").strip())
    text = re.sub(r"\s*\((?:new|new file|whole file|unchanged|modified|edited)\)$", "", text, flags=re.IGNORECASE)
    text = text.strip("*_ ").rstrip(":").strip("`\"'* ").rstrip(":")
    while text.startswith("./"):
        text = text[2:]
    return text if text and len(text) < 300 and text.isprintable() else ""
