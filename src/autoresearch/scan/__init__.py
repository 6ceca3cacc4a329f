"""What a person should look at first in a candidate's diff: found without a model, by line, in any language.

A flag accuses nobody: honest changes have some too. What is only moved, indented, commented or blank flags nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from autoresearch.records import Flag
from autoresearch.scan import patterns, python
from autoresearch.scan.changes import Change, Line, changes_of
from autoresearch.scan.data import Benchmark, tokens_of
from autoresearch.text import one_line

LINES = 400
"""Changed lines of a diff above which its size is a flag."""
GROWTH = 5
"""So many times its parent's size, and over `_SMALL` bytes, a file's size is a flag."""
_SMALL = 4096
_WIDE = 2000  # characters of a line that nobody reads
_MOST = 50  # flags of one diff
_TOLD = 3  # places that one flag tells
_NEW_ONLY = ("import", "network", "subprocess", "eval")  # what the file did before on lines that go flags nothing

Found = tuple[str, int, str]
"""A flag's name, a line, and words."""


def scan(
    before: Mapping[str, bytes | None], after: Mapping[str, bytes | None], benchmark: Benchmark | None = None
) -> tuple[Flag, ...]:
    """The flags of a diff, one for each name and file, the files in order.

    Args:
        before, after: contents of what was changed by path; None where there is nothing.
        benchmark: knows the literals of the benchmark's data.
    """
    changes = changes_of(before, after)
    flags = [flag for change in changes for flag in _of_file(change, benchmark)]
    total = sum(len(c.added) + len(c.removed) for c in changes)
    if total > LINES:
        widest = max(changes, key=lambda c: len(c.added) + len(c.removed))
        flags = [f for f in flags if (f.name, f.path) != ("size", widest.path)]
        flags.append(Flag("size", widest.path, 1, f"{total} changed lines in all"))
    return tuple(flags[:_MOST])


def _of_file(change: Change, benchmark: Benchmark | None) -> Iterator[Flag]:
    """One flag a name, at its first line, with the first places in words."""
    by_name: dict[str, list[Found]] = {}
    for found in _quiet(change, _find(change, benchmark)):
        by_name.setdefault(found[0], []).append(found)
    for name in patterns.ORDER:
        places = by_name.get(name, [])
        if places:
            told = list(dict.fromkeys(words for _, _, words in places))
            more = f"; and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
            yield Flag(name, change.path, places[0][1], "; ".join(told[:_TOLD]) + more)


def _find(change: Change, benchmark: Benchmark | None) -> Iterator[Found]:
    if change.family != "data":
        yield from _left_out(change)
    if not change.is_changed:
        return
    yield from _by_path(change)
    yield from _by_size(change)
    known = patterns.known(change.family)
    for name, line, words in _matches(known.removed, change.removed):
        verb = "changed" if any(n == name for n, _, _ in _matches(known.removed, change.added)) else "removed"
        yield name, line.number, f"{verb} {words}: {_quote(line)}"
    if change.family != "data":
        yield from _guards(change)
    gone = Counter(token for _, token in _tokens(known.added, change.removed))
    for name, line, words in _matches(known.added, change.added, but=gone):
        yield name, line.number, f"{words}: {_quote(line)}"
    yield from _seeds(change)
    if change.family == "python":
        yield from python.find(change)
    if benchmark is not None and change.family != "data":
        yield from _literals(change, benchmark)


def _quiet(change: Change, found: Iterator[Found]) -> list[Found]:
    """Without what stands in a docstring; a file is only parsed where something was found in it."""
    known = list(found)
    if change.family != "python" or not any(name in patterns.OF_CODE for name, _, _ in known):
        return known
    old, new = python.docstrings(change.before), python.docstrings(change.after)
    removed, added = {line.number for line in change.removed} & old, {line.number for line in change.added} & new
    if not removed and not added:
        return known
    return [
        f
        for f in known
        if f[0] not in patterns.OF_CODE or f[1] not in (removed if f[2].startswith(("removed", "changed")) else added)
    ]


def _matches(
    known: Sequence[patterns.Pattern], lines: Sequence[Line], *, but: Counter[tuple[str, str]] | None = None
) -> Iterator[tuple[str, Line, str]]:
    """Each name once a line; `but` are tokens that were there before, so often."""
    left = Counter(but or {})
    for line in lines:
        seen = set()
        for pattern in known:
            match = pattern.regex.search(line.code)
            if match is None or pattern.name in seen:
                continue
            token = (pattern.name, match[0])
            if pattern.name in _NEW_ONLY and left[token] > 0:
                left[token] -= 1
                continue
            seen.add(pattern.name)
            yield pattern.name, line, pattern.words


def _tokens(known: Sequence[patterns.Pattern], lines: Sequence[Line]) -> Iterator[tuple[str, tuple[str, str]]]:
    for line in lines:
        for pattern in known:
            if pattern.name in _NEW_ONLY and (match := pattern.regex.search(line.code)) is not None:
                yield line.code, (pattern.name, match[0])


def _guards(change: Change) -> Iterator[Found]:
    """Removed conditions under which a function gave up early."""
    gone = {line.number: line.code for line in change.removed}
    for number, code in gone.items():
        ahead = f"{code} {gone.get(number + 1, '')}"
        if patterns.GUARD.search(code) and patterns.LEAVES.search(ahead):
            yield "validation", number, f"removed a guard: `{one_line(code, 80)}`"


def _seeds(change: Change) -> Iterator[Found]:
    if change.family == "data":
        return
    for line in (*change.added, *change.removed):
        if patterns.SEED.search(line.code):
            yield "seeds", line.number, f"touches a seed: {_quote(line)}"


def _left_out(change: Change) -> Iterator[Found]:
    """Comments by which a tool leaves lines out, which count where others do not."""
    before, after = change.before or "", change.after or ""
    if not any(after.count(word) > before.count(word) for word in patterns.LEFT_OUT_WORDS):
        return
    known = Counter(before.split("\n"))
    for number, text in enumerate(after.split("\n"), 1):
        if not known[text] and patterns.LEFT_OUT.search(text):
            yield "tests", number, f"a tool is told to leave it out: `{one_line(text, 80)}`"


def _by_path(change: Change) -> Iterator[Found]:
    what = "added" if change.before is None else "deleted" if change.after is None else "changed"
    line = change.first
    if patterns.is_test(change.path):
        yield "tests", line, f"{what} a test's file"
    if patterns.is_manifest(change.path):
        yield "dependency", line, f"{what} a file that dependencies are installed from"


def _by_size(change: Change) -> Iterator[Found]:
    old, new = change.sizes
    if new > _SMALL and old and new > GROWTH * old:
        yield "size", 1, f"{new / old:.0f} times its parent's size"
    wide = next((line for line in change.added if len(line.code) > _WIDE), None)
    if wide is not None and change.family != "data":
        yield "size", wide.number, f"a line of {len(wide.code)} characters"


def _literals(change: Change, benchmark: Benchmark) -> Iterator[Found]:
    known = {token for line in change.removed for token, _ in tokens_of(line.code)}
    for line in change.added:
        for token, shown in tokens_of(line.code):
            if token not in known and benchmark.holds(token):
                yield "literals", line.number, f"the benchmark's data has {one_line(shown, 40)} too"
                known.add(token)


def _quote(line: Line) -> str:
    return f"`{one_line(line.code, 80)}`"


__all__ = ["Benchmark", "scan"]
