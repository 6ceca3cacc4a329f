"""Blocks of edits put in place, and what is near where they do not fit.

As tolerant (wrong indentation, trailing spaces, a missing last newline) as what is meant is plain. What is not plain is a
problem in words for the model, with the lines that are near; nothing is guessed and nothing is left out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from autoresearch.proposers.blocks import Block

_ELIDED = re.compile(r"^\s*(?:#|//|--|/\*|<!--|;|%)\s*(?:\.\.\.|…|\[?(?:the )?(?:rest|remaining) of)", re.IGNORECASE)


@dataclass(slots=True)
class Patchwork:
    """The files of a proposal as the blocks of several replies change them. Nothing is written to disk.

    Attributes:
        read: a file of the tree as text, None where there is none; `editable` are those that may be changed.
        allowed: whether a path may be changed or made new.
        changed: what blocks made of files, None for one that is gone.
    """

    read: Callable[[str], str | None]
    editable: Sequence[str]
    allowed: Callable[[str], bool]
    changed: dict[str, str | None] = field(default_factory=dict)
    _done: set[Block] = field(default_factory=set)

    def text(self, path: str) -> str | None:
        return self.changed[path] if path in self.changed else self.read(path)

    def take(self, blocks: Sequence[Block]) -> list[str]:
        """Put blocks in place, in their order; gives what is wrong with those that could not be, in words for the model.

        A block that was put in place before is passed over when it is sent again.
        """
        problems = []
        for block in blocks:
            if block not in self._done and (problem := self._put(block)):
                problems.append(problem)
            else:
                self._done.add(block)
        return problems

    def _put(self, block: Block) -> str:
        found = self._resolve(block)
        if found is None:
            return "" if block.act == "fence" else self._unknown(block)
        path, text = found, self.text(found)
        if block.act == "delete":
            if text is None:
                return f"{path}: there is no such file to delete"
            self.changed[path] = None
            return ""
        new = self._whole(path, text, block) if block.act in ("whole", "fence") else _replaced(path, text, block)
        if isinstance(new, Unplaced):
            return new.words
        self.changed[path] = new
        return ""

    def _whole(self, path: str, text: str | None, block: Block) -> str | Unplaced:
        new = block.texts[0][1]
        if block.act == "fence" and text is not None:
            lines, before = new.split("\n"), text.split("\n")
            if 2 * len(lines) < len(before) or any(_ELIDED.match(line) for line in lines):
                return Unplaced(
                    f"{path}: is the text at line {block.line} of your reply the whole file? It has {len(lines)} lines, the "
                    f"file {len(before)}. A whole file goes between <<<<<<< WHOLE FILE and >>>>>>> END; else SEARCH and REPLACE"
                )
        if any(_ELIDED.match(line) for line in new.split("\n")) and not any(_ELIDED.match(x) for x in (text or "").split("\n")):
            return Unplaced(
                f"{path}: a whole file has to hold all of its lines, and one of yours stands for lines left out (...)"
            )
        new = new.rstrip("\n") + "\n" if new.strip() else ""
        return new.replace("\n", "\r\n") if text and _is_crlf(text) else new

    def _resolve(self, block: Block) -> str | None:
        """Which file a block means, None if that is not plain."""
        known = {*self.editable, *(p for p, t in self.changed.items() if t is not None)}
        if block.path in known:
            return block.path
        name = block.path.strip("/")
        ends = [p for p in sorted(known) if name and (p.endswith(f"/{name}") or name.endswith(f"/{p}") or p == name)]
        if len(ends) == 1 and not (block.act == "whole" and self.allowed(block.path)):
            return ends[0]
        if _is_path(block.path) and self.allowed(block.path) and (block.act != "replace" or not block.texts[0][0].strip()):
            return block.path
        if block.act == "replace" and not _is_path(block.path):
            fits = [p for p in sorted(known) if any(isinstance(place(self.text(p) or "", *t), str) for t in block.texts)]
            if len(fits) == 1:
                return fits[0]
        if len(known) == 1 and not _is_path(block.path) and block.act in ("replace", "whole"):
            return next(iter(known))
        return None

    def _unknown(self, block: Block) -> str:
        what = f"the block at line {block.line} of your reply"
        files = ", ".join(sorted(self.editable)[:20]) or "none"
        if not _is_path(block.path):
            return f"{what}: no path stands on the line before it; files that may be changed: {files}"
        why = "there is no such file" if self.allowed(block.path) else "it may not be changed"
        return f"{what}: {block.path}: {why}; files that may be changed: {files}"


def _is_path(text: str) -> bool:
    """Whether it is one, not words: it has no blanks, and a folder or an ending."""
    return bool(re.fullmatch(r"\S+", text)) and ("/" in text or "." in text.strip("."))


@dataclass(frozen=True, slots=True)
class Unplaced:
    """Why a text could not be put in place, in words for the model."""

    words: str


def _replaced(path: str, text: str | None, block: Block) -> str | Unplaced:
    """The file with the block in place: split where most of its lines stand in the file."""
    if text is None or not text.strip():
        if any(not search.strip() for search, _ in block.texts):
            return next(new for search, new in block.texts if not search.strip()).rstrip("\n") + "\n"
        return Unplaced(f"{path}: there is no such file" if text is None else f"{path} is empty: write it as a whole file")
    tried = [place(text, search, new) for search, new in block.texts]
    fits = [new for new in tried if isinstance(new, str)]
    if fits:
        return fits[-1]
    first = next(found for found in tried if isinstance(found, Unplaced))
    return Unplaced(f"{path}: {first.words}")


def place(text: str, search: str, new: str) -> str | Unplaced:
    """Put new lines where the searched lines stand: exactly once, or it is not done.

    They are looked for as they are, then without trailing spaces, then with another indentation (which the new lines get
    as well), then as a part of one line. The first of these that finds them decides.
    """
    end = "\n" if text.endswith("\n") else ""
    lines = text.removesuffix("\n").split("\n")
    wanted, given = _lines(search), _lines(new)
    if not any(line.strip() for line in wanted):
        return Unplaced("nothing stands under SEARCH: copy the lines there that are to be replaced, or write a WHOLE FILE")
    trimmed = _trimmed(wanted)
    for old, same in ((wanted, str.__eq__), (wanted, _same_end), (trimmed, _same_end), (trimmed, _same_words)):
        spots = _spots(lines, old, same)
        if len(spots) > 1:
            shown = ", ".join(str(i + 1) for i in spots[:6])
            return Unplaced(f"the searched lines stand there {len(spots)} times (at lines {shown}): add lines around them")
        if spots:
            at = slice(spots[0], spots[0] + len(old))
            fresh = given if old is wanted else _trimmed(given)
            fitted = fresh if same is not _same_words else _indented(old, lines[at], fresh)
            if fitted is None:
                return Unplaced(f"the indentation does not fit:\n{shown_lines(lines, at.start, at.stop)}")
            cr = "\r" if lines[spots[0]].endswith("\r") else ""
            lines[at] = [line.rstrip("\r") + cr for line in fitted]
            return "\n".join(lines) + end if lines else ""
    part, fresh = trimmed[0].strip(), [line.strip() for line in _trimmed(given)]
    if len(trimmed) == 1 and len(fresh) == 1 and len(part) >= 3 and text.count(part) == 1:
        return text.replace(part, fresh[0])
    return Unplaced(f"the searched lines do not stand there. {nearest(text, search)}")


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def _trimmed(lines: list[str]) -> list[str]:
    """Without blank lines before and after."""
    full = [i for i, line in enumerate(lines) if line.strip()]
    return lines[full[0] : full[-1] + 1] if full else []


def _same_end(a: str, b: str) -> bool:
    return a.rstrip() == b.rstrip()


def _same_words(a: str, b: str) -> bool:
    return a.strip() == b.strip()


def _spots(lines: Sequence[str], old: Sequence[str], same: Callable[[str, str], bool]) -> list[int]:
    return [
        i
        for i in range(len(lines) - len(old) + 1)
        if same(lines[i], old[0]) and all(same(a, b) for a, b in zip(lines[i:], old, strict=False))
    ]


def _indented(old: Sequence[str], there: Sequence[str], new: Sequence[str]) -> list[str] | None:
    """New lines with the indentation of the file, where it follows from how the searched lines differ from those there."""
    pairs = {(_margin(a), _margin(b)) for a, b in zip(old, there, strict=True) if a.strip()}
    steps: Mapping[str, str] = dict(pairs)
    if len(steps) < len(pairs):
        return None  # the same indentation stands for different ones
    added = {b.removesuffix(a) for a, b in pairs if b.endswith(a)} if all(b.endswith(a) for a, b in pairs) else set()
    taken = {a.removesuffix(b) for a, b in pairs} if all(a.endswith(b) for a, b in pairs) else set()
    found = []
    for line in new:
        margin = _margin(line)
        if not line.strip():
            found.append("")
        elif margin in steps:
            found.append(steps[margin] + line.lstrip())
        elif len(added) == 1:
            found.append(next(iter(added)) + line)
        elif len(taken) == 1 and margin.startswith(next(iter(taken))):
            found.append(line.removeprefix(next(iter(taken))))
        else:
            return None
    return found


def _margin(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _is_crlf(text: str) -> bool:
    return text.count("\r\n") * 2 > text.count("\n")


# -- what is near ------------------------------------------------------------------------------------------------------


def nearest(text: str, search: str) -> str:
    """The lines of a text that are most like the searched ones, with their numbers, in words for a model."""
    lines, wanted = text.removesuffix("\n").split("\n"), [line.strip() for line in _trimmed(_lines(search))]
    if not wanted or not text.strip():
        return "The file is empty." if not text.strip() else "Nothing was searched for."
    at = _best_window([line.strip() for line in lines], wanted)
    if at is None:
        return "Nothing like them stands there: read the file again."
    return f"Nearest is:\n{shown_lines(lines, at - 1, at + min(len(wanted), 20) + 1)}"


def _best_window(lines: list[str], wanted: list[str]) -> int | None:
    """Where most of the wanted lines stand, else where the longest of them is most like one."""
    places: dict[str, list[int]] = {}
    for i, line in enumerate(lines):
        places.setdefault(line, []).append(i)
    votes: dict[int, int] = {}
    for k, line in enumerate(wanted):
        for i in places.get(line, [])[:50] if line else []:
            votes[i - k] = votes.get(i - k, 0) + 1
    if votes:
        return max(0, max(votes, key=lambda i: (votes[i], -i)))
    longest = max(range(len(wanted)), key=lambda k: len(wanted[k]))
    alike = difflib.get_close_matches(wanted[longest], lines[:5000], n=1, cutoff=0.5)
    return max(0, lines.index(alike[0]) - longest) if alike else None


def shown_lines(lines: Sequence[str], start: int, end: int) -> str:
    """Lines with their numbers, from 1; the half-open range counts from 0 and is cut to what is there."""
    start, end = max(0, start), min(len(lines), end)
    return "\n".join(f"{i + 1:>5}  {lines[i].rstrip()}" for i in range(start, end))
