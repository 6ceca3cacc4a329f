"""Lines of `autoresearch.toml`: what to add or change, and the text edit that keeps everything around it.

No TOML writer is used: comments, order and line breaks stay as the owner wrote them. Every edit is read back, and is
refused where it would not mean what it should.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from autoresearch.errors import TaskError
from autoresearch.taskfile import FILE

Value = str | list[str]

_ENTRY = re.compile(r"([\w-]+)\[(\d+)\]")
_LEAST_ESCAPED = re.compile(r"[^'\n\x00-\x1f\x7f]*")


@dataclass(frozen=True, slots=True)
class Mend:
    """One change of the task file.

    Attributes:
        table: its name; of `[[check]]` the entry's number as well, from 0: `check[0]`.
        value: what the key becomes; empty with `add` or `drop`, which put an item into a list or take it out.
        because: what was seen, for the owner.
        kind: which wall it opens, for the report.
    """

    table: str
    key: str
    value: str | tuple[str, ...] = ""
    add: str = ""
    drop: str = ""
    because: str = ""
    kind: str = ""

    def of(self, present: Value | None) -> Value:
        """What the key becomes from its present value."""
        if not (self.add or self.drop):
            return self.value if isinstance(self.value, str) else list(self.value)
        items = [present] if isinstance(present, str) and present else list(present or [])
        items = [item for item in items if item.rstrip("/") != self.drop.rstrip("/")] if self.drop else items
        return [*items, self.add] if self.add and self.add not in items else items


def apply(text: str, mends: Sequence[Mend]) -> str:
    """The task file's text with some changes made.

    Raises:
        TaskError: one cannot be written without touching more than its line.
    """
    for change in mends:
        text = set_key(text, change.table, change.key, change.of(_present(text, change.table, change.key)))
    return text


def lines(before: str, after: str) -> list[str]:
    """The keys that differ between two texts of a task file, as they are to be written: `[evaluate] inputs = ["data"]`."""
    old, new = tomllib.loads(before.lstrip("\ufeff")), tomllib.loads(after.lstrip("\ufeff"))
    shown = []
    for table in _tables(new):
        now, known, place = _table(new, table), _table(old, table), _place(new, table)
        shown += [f"{place} {key} = {literal(value)}" for key, value in now.items() if known.get(key) != value]
        shown += [f"{place} {key} taken out" for key in known if key not in now]
    return shown


def touches(text: str, change: Mend, line: str) -> bool:
    """Whether a line of `lines` is that of a change of this text."""
    place = _place(tomllib.loads(text.lstrip("\ufeff")), change.table)
    return line.startswith(f"{place} {change.key} ")


def literal(value: Any) -> str:
    """A TOML literal; strings with backslashes or quotes in the form that needs the fewest escapes."""
    if isinstance(value, list):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    if isinstance(value, str):
        plain = '"' not in value and "\\" not in value
        return f"'{value}'" if not plain and _LEAST_ESCAPED.fullmatch(value) else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def set_key(text: str, table: str, key: str, value: Value) -> str:
    """Write one key of one table; an empty value takes the key out.

    Raises:
        TaskError: the table has a form that cannot be edited in place.
    """
    wanted = _wanted(text, table, key, value)
    break_ = "\r\n" if "\r\n" in text else "\n"
    span = _find(text, table, key)
    if span is not None:
        edited = _replace(text, span, value, _present(text, table, key))
    elif not value:
        edited = text
    else:
        edited = _insert(text, table, key, literal(value), break_)
    try:
        if tomllib.loads(edited.lstrip("\ufeff")) == wanted:
            return edited
    except tomllib.TOMLDecodeError:
        pass
    raise TaskError(
        f"{FILE}: cannot write {key} into [{table}] without touching the rest: write {key} = {literal(value)} there"
    )


def write(path: Path, text: str) -> None:
    """Put a new text in place of a file at once, with its mode."""
    path = path.resolve()
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(fd, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.chmod(name, path.stat().st_mode & 0o7777)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _wanted(text: str, table: str, key: str, value: Value) -> dict[str, Any]:
    data = tomllib.loads(text.lstrip("\ufeff"))
    if value and not _ENTRY.fullmatch(table):
        data.setdefault(table, {})[key] = value
    elif value:
        _table(data, table)[key] = value
    else:
        _table(data, table).pop(key, None)
    return data


def _present(text: str, table: str, key: str) -> Value | None:
    return cast("Value | None", _table(tomllib.loads(text.lstrip("\ufeff")), table).get(key))


def _tables(data: dict[str, Any]) -> list[str]:
    """The names of all tables, each entry of several by its number."""
    found = []
    for name, value in data.items():
        found += [name] if isinstance(value, dict) else []
        found += [f"{name}[{i}]" for i, entry in enumerate(value) if isinstance(entry, dict)] if isinstance(value, list) else []
    return found


def _table(data: dict[str, Any], name: str) -> dict[str, Any]:
    """A table, or an entry of several; empty where it is not there."""
    entry = _ENTRY.fullmatch(name)
    found = data.get(entry[1] if entry else name, {})
    if entry:
        found = found[int(entry[2])] if isinstance(found, list) and int(entry[2]) < len(found) else {}
    return found if isinstance(found, dict) else {}


def _place(data: dict[str, Any], table: str) -> str:
    """How a table is called before the owner: `[evaluate]`, `[[check]] tests:`."""
    entry = _ENTRY.fullmatch(table)
    return f"[[{entry[1]}]] {_table(data, table).get('name', entry[2])}:" if entry else f"[{table}]"


@dataclass(frozen=True, slots=True)
class _Span:
    """Offsets of a key's line and of its value."""

    start: int
    value: int
    end: int


def _find(text: str, table: str, key: str) -> _Span | None:
    """Where a key stands: below its table's header, or dotted at the top."""
    for header, start in _lines_of(text):
        name = key if header == table else f"{table}.{key}" if not header else ""
        match = re.compile(rf"[ \t]*{_spelled(name)}[ \t]*=[ \t]*").match(text, start) if name else None
        if match:
            return _Span(start, match.end(), _end_of_value(text, match.end()))
    return None


def _spelled(name: str) -> str:
    return r"[ \t]*\.[ \t]*".join(rf"[\"']?{re.escape(part)}[\"']?" for part in name.split("."))


def _lines_of(text: str) -> list[tuple[str, int]]:
    """Each line that begins a header or a key: the table it stands in, and where it starts."""
    counted: dict[str, int] = {}
    found, table, at = [], "", 1 if text.startswith("\ufeff") else 0
    while at < len(text):
        line = text[at : (text.find("\n", at) + 1) or len(text)]
        header = re.match(r"[ \t]*\[[ \t]*([\w.\"'-]+)[ \t]*\][ \t]*(?:#.*)?\r?\n?$", line)
        several = re.match(r"[ \t]*\[\[[ \t]*([\w.\"'-]+)[ \t]*\]\]", line)
        if header or several:
            match = header or several
            assert match is not None
            table = match[1].strip("\"'")
            if several:
                counted[table] = counted.get(table, -1) + 1
                table = f"{table}[{counted[table]}]"
            found.append((f"[{table}]", at))
        elif (pair := re.match(r"[ \t]*[\w\"'.\- \t]+?[ \t]*=[ \t]*", line)) is not None:
            found.append((table, at))
            at = _end_of_value(text, at + pair.end())
            at = (text.find("\n", at) + 1) or len(text)
            continue
        at += len(line)
    return found


def _end_of_value(text: str, start: int) -> int:
    """Where the value that starts here ends: over strings, brackets and comments inside them."""
    at = end = start
    depth = 0
    while at < len(text):
        c = text[at]
        if c in "\"'":
            at = end = _end_of_string(text, at)
            continue
        if c == "#":
            if depth == 0:
                return end
            at = (text.find("\n", at) + 1) or len(text)
            continue
        if c == "\n" and depth == 0:
            return end
        depth += (c in "[{") - (c in "]}")
        at += 1
        if not c.isspace():
            end = at
    return end


def _end_of_string(text: str, start: int) -> int:
    quote = text[start]
    mark = quote * 3 if text.startswith(quote * 3, start) else quote
    at = start + len(mark)
    while at < len(text):
        if quote == '"' and text[at] == "\\":
            at += 2
        elif text.startswith(mark, at):
            at += len(mark)
            while len(mark) == 3 and text.startswith(quote, at):
                at += 1  # up to two quotes may stand before the closing ones
            return at
        else:
            at += 1
    return at


def _replace(text: str, span: _Span, value: Value, present: Value | None) -> str:
    if not value:
        return text[: span.start] + text[(text.find("\n", span.end) + 1) or len(text) :]
    old = text[span.value : span.end]
    if isinstance(value, list) and isinstance(present, list) and present and value[:-1] == present and "\n" in old:
        inside = _appended(old, value[-1])
        if inside is not None:
            return text[: span.value] + inside + text[span.end :]
    return text[: span.value] + literal(value) + text[span.end :]


def _appended(array: str, item: str) -> str | None:
    """An array over several lines with one more item on a line of its own, comments kept."""
    rows = array.split("\n")
    row = next((i for i in range(len(rows) - 2, 0, -1) if rows[i].strip() and not rows[i].lstrip().startswith("#")), None)
    if row is None or rows[-1].strip() != "]":
        return None
    end = "\r" if rows[row].endswith("\r") else ""
    body = rows[row].rstrip("\r")
    bare = body[: _end_of_value(body, len(body) - len(body.lstrip()))].rstrip()
    comma = bare if bare.endswith(",") else bare + ","
    indent = body[: len(body) - len(body.lstrip())]
    rows[row] = comma + body[len(bare) :] + end
    rows.insert(row + 1, f"{indent}{literal(item)},{end}")
    return "\n".join(rows)


def _insert(text: str, table: str, key: str, value: str, break_: str) -> str:
    """Put a new key after the last one of its table; a table that is not there goes to the end."""
    found = _lines_of(text)
    rows = [at for header, at in found if header in (table, f"[{table}]")]
    name = key
    if not rows:
        rows = [at for header, at in found if not header and re.match(rf"[ \t]*{re.escape(table)}\.", text[at:])]
        name = f"{table}.{key}"
    if not rows:
        gap = "" if not text or text.endswith(break_) else break_
        return f"{text}{gap}{break_}[{table}]{break_}{key} = {value}{break_}"
    last = rows[-1]
    pair = re.compile(r"[^=\n]*=[ \t]*").match(text, last)
    end = _end_of_value(text, pair.end()) if pair and not text[last:].lstrip().startswith("[") else last
    newline = text.find("\n", end)
    indent = re.match(r"[ \t]*", text[last:])
    line = f"{indent[0] if indent else ''}{name} = {value}{break_}"
    if newline < 0:
        return f"{text}{break_}{line}"
    return text[: newline + 1] + line + text[newline + 1 :]
