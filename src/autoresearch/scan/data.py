"""Literals of the benchmark's data: what a candidate may have learned by heart. Kept as hashes, made when first asked for."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

BYTES = 20 * 10**6
"""How much of the data is looked at."""
ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".txt")
_SHORTEST, _DIGITS = 8, 5  # characters of a text, significant digits of a number
_LONGEST = 500
_RARE = 5  # what the data has more often is a class or a unit, and no answer
_MOST = 200  # tokens of a line
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])")
_STRING = re.compile(r"\"((?:[^\"\\]|\\.)*)\"(\s*:)?|'((?:[^'\\]|\\.)*)'")
_LETTER = re.compile(r"[^\W\d_]")
_LONGEST_NUMBER = 40
_FIELD = re.compile(r"[,;\t|]")


def tokens_of(line: str) -> Iterator[tuple[str, str]]:
    """The distinctive numbers and texts in a line, each with how it is shown."""
    count = 0
    for match in _NUMBER.finditer(line):
        token = number(match[0])
        if token and (count := count + 1) <= _MOST:
            yield token, match[0]
    for text in _strings(line, keys=True):
        if (count := count + 1) <= _MOST:
            yield text, repr(text)
    for text in (line, *_FIELD.split(line)) if len(line) <= _LONGEST else ():
        text = text.strip().strip("\"'")
        if _is_distinctive(text) and (count := count + 1) <= _MOST:
            yield text, repr(text)


def _strings(line: str, *, keys: bool = False) -> Iterator[str]:
    """Distinctive texts in quotes; `keys` takes those of JSON too."""
    for match in _STRING.finditer(line):
        text = (match[1] or match[3] or "").strip()
        if (keys or not match[2]) and _is_distinctive(text):
            yield text


def number(text: str) -> str:
    """A number in one spelling, `` where it has too few digits to be known again."""
    if not text.replace(".", "").isdecimal():  # a sign, an exponent, or underscores
        try:
            text = repr(abs(float(text.replace("_", ""))))
        except ValueError:
            return ""
    text = text.lstrip("0")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    digits = text.partition("e")[0].replace(".", "").strip("0")
    return f"#{text}" if _DIGITS <= len(digits) <= _LONGEST_NUMBER else ""


def _is_distinctive(text: str) -> bool:
    return _SHORTEST <= len(text) <= _LONGEST and _LETTER.search(text) is not None


class Benchmark:
    """Knows whether the data has a literal.

    Args:
        files: gives path and content of the data's files, the most telling first.
    """

    def __init__(self, files: Callable[[], Iterable[tuple[str, bytes]]]) -> None:
        self._files = files
        self._hashes: array[int] | None = None

    def holds(self, token: str) -> bool:
        if self._hashes is None:
            self._hashes = self._read()
        value = hash(token)
        at = bisect_left(self._hashes, value)
        return at < len(self._hashes) and self._hashes[at] == value

    def _read(self) -> array[int]:
        found, left = array("q"), BYTES
        for path, content in self._files():
            if left <= 0:
                break
            found.extend(map(hash, _tokens_of_file(path, content[:left])))
            left -= len(content)
        rare = (value for value, same in groupby(sorted(found)) if len(list(same)) <= _RARE)
        return array("q", rare)


def _tokens_of_file(path: str, content: bytes) -> Iterator[str]:
    """A file's tokens: fields of a table without its head, values of JSON, lines of a text."""
    lines = content.decode("utf-8", "replace").splitlines()
    is_table, is_text = path.endswith((".csv", ".tsv")), path.endswith(".txt")
    for line in lines[1:] if is_table else lines:
        for match in _NUMBER.finditer(line):
            if token := number(match[0]):
                yield token
        if is_table:
            yield from (t for f in _FIELD.split(line) if _is_distinctive(t := f.strip().strip("\"'")))
        elif is_text:
            if _is_distinctive(text := line.strip().strip("\"'")):
                yield text
        else:
            yield from _strings(line)
