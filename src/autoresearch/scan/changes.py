"""A diff by file: the lines that are not on the other side, without comments, blanks and indentation."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_FAMILIES = {
    "python": ("py", "pyi", "pyx", "pxd"),
    "script": ("js", "mjs", "cjs", "ts", "tsx", "jsx", "mts", "cts", "vue", "svelte", "html"),
    "c": ("c", "h", "cc", "cpp", "cxx", "hpp", "hh", "cu", "cuh", "m", "mm", "metal", "cl"),
    "braces": ("go", "rs", "java", "kt", "scala", "cs", "swift", "dart", "zig", "php", "groovy", "gradle", "sol"),
    "query": ("sql", "lua", "hs"),
    "settings": ("toml", "yaml", "yml", "ini", "cfg", "json", "json5", "lock", "mod", "sum", "xml", "properties"),
    "data": ("txt", "md", "rst", "csv", "tsv", "jsonl", "ndjson", "svg", "css", "log"),
}
_FAMILY = {suffix: family for family, suffixes in _FAMILIES.items() for suffix in suffixes}
_MARKS = {"python": "#", "shell": "#", "settings": "#", "query": "--", "script": "//", "c": "//", "braces": "//", "data": ""}
_QUOTED = r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`[^`]*`"""
_BLOCK = re.compile(r"^(?:/\*.*\*/|/\*.*|\*(?:\s.*)?|.*\*/|<!--.*-->)$")


@dataclass(frozen=True, slots=True)
class Line:
    """A line by its number in its own file; `code` is what is left of it without a comment."""

    number: int
    code: str


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one file.

    Attributes:
        before, after: its text, None where there is none, or nothing readable.
        removed, added: lines of one side that the other does not have, by what they say.
        sizes: in bytes, before and after.
        changed_bytes: its content differs, and is no text.
    """

    path: str
    family: str
    before: str | None
    after: str | None
    removed: tuple[Line, ...]
    added: tuple[Line, ...]
    sizes: tuple[int, int]
    changed_bytes: bool = False

    @property
    def is_changed(self) -> bool:
        """Whether more than comments and blanks differ."""
        return bool(self.removed or self.added or self.changed_bytes)

    @property
    def first(self) -> int:
        return (self.added or self.removed)[0].number if self.is_changed and not self.changed_bytes else 1


def family_of(path: str) -> str:
    """Which kind of language a file is in; files without a known ending are taken for scripts of a shell."""
    return _FAMILY.get(path.rpartition("/")[2].rpartition(".")[2].lower(), "shell") if "." in path else "shell"


def changes_of(before: Mapping[str, bytes | None], after: Mapping[str, bytes | None]) -> list[Change]:
    """The files of a diff, in order."""
    return [_change(path, before.get(path), after.get(path)) for path in sorted(before.keys() | after.keys())]


def _change(path: str, before: bytes | None, after: bytes | None) -> Change:
    family, sizes = family_of(path), (len(before or b""), len(after or b""))
    if b"\0" in (before or b"") or b"\0" in (after or b""):
        return Change(path, family, None, None, (), (), sizes, changed_bytes=before != after)
    old, new = (None if side is None else side.decode("utf-8", "replace") for side in (before, after))
    removed, added = _differing((old or "").split("\n"), (new or "").split("\n"), family)
    is_empty = not removed and not added and (before is None) != (after is None)
    return Change(path, family, old, new, removed, added, sizes, changed_bytes=is_empty)


def _differing(old: list[str], new: list[str], family: str) -> tuple[tuple[Line, ...], tuple[Line, ...]]:
    """Lines that only one side has, after what both begin and end with; lines that moved are on both."""
    start, most = 0, min(len(old), len(new))
    while start < most and old[start] == new[start]:
        start += 1
    end = 0
    while end < most - start and old[-1 - end] == new[-1 - end]:
        end += 1
    gone, come = (list(_code(lines[start : len(lines) - end], start, family)) for lines in (old, new))
    return _without(gone, come), _without(come, gone)


def _without(lines: list[Line], others: list[Line]) -> tuple[Line, ...]:
    left = Counter(line.code for line in others)
    kept = []
    for line in lines:
        if left[line.code] > 0:
            left[line.code] -= 1
        else:
            kept.append(line)
    return tuple(kept)


def _code(lines: Iterable[str], start: int, family: str) -> Iterable[Line]:
    mark = _MARKS[family]
    for number, text in enumerate(lines, start + 1):
        code = _without_comment(text.strip(), mark)
        if code and not (mark == "//" and _BLOCK.match(code)):
            yield Line(number, code)


def _without_comment(code: str, mark: str) -> str:
    if not mark or mark not in code:
        return code
    at = next((m.start() for m in _COMMENTS[mark].finditer(code) if m[0] == mark), len(code))
    return code[:at].rstrip()


_COMMENTS = {mark: re.compile(f"{_QUOTED}|{re.escape(mark)}") for mark in ("#", "//", "--")}
