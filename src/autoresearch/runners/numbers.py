"""Reading numbers from what an evaluation leaves: its result file, its standard output, or a JSON file of its own."""

from __future__ import annotations

import errno
import json
import math
import re
import reprlib
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autoresearch.runners.quantities import NUMBER, UNIT, WORD, in_unit, quantity, to_number

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_JSON_BYTES = 64 * 2**20
_INLINE = rf"(?:{NUMBER}|{WORD})(?!\d)(?:\s?{UNIT}(?!\s*[\"']?\s*[:=]))?"
_LINE = 4000
_COUNTED = r"(?:epoch|step|iter(?:ation)?|batch|round|trial|generation|it|ep)\s*[:=#]?\s*\[?\d+(?:\s*/\s*\d+)?[\]:,]?"
_LEADS = re.compile(
    rf"(?:^|[,;|│┃·(]|\s[-–—]|\[[^\[\]]*\d[^\[\]]*\]|[:=]\s*(?:{NUMBER}|{WORD})(?:\s?{UNIT})?|\b{_COUNTED}"
    r"|\b(?:INFO|DEBUG|NOTICE)\]?(?::[\w.]+)?:?)\s*[\"']?\Z",
    re.IGNORECASE,
)
_ENDS = re.compile(r"\s*(?:\.?\Z|[,;|│┃·)}](?!\d)|\s[-–—]\s|[(\[]|±|\+/?-|\s[\"']?[\w@/.-]+[\"']?\s*[:=])")


ON_STANDARD_ERROR = "it is on standard error, which is not read: put 2>&1 behind the command"


class NoNumber(Exception):
    """No readable number; the message says why and which key would help."""


class Several(NoNumber):
    """The number was printed more than once with different values."""


class NotThere(NoNumber):
    """No number goes by the name; what would help is worked out when the message is asked for."""

    def __init__(self, name: str, stdout: str) -> None:
        super().__init__(name)
        self.name, self.stdout = name, stdout

    def __str__(self) -> str:
        return _not_found(self.name, self.stdout)


def clean_lines(text: str) -> list[str]:
    """Lines as a terminal would show them in the end: no colour codes, nothing before a carriage return."""
    lines = []
    for line in _ANSI.sub("", text).split("\n"):
        line = line.rstrip("\r")
        lines.append(line.rsplit("\r", 1)[-1])
    return lines


def _choose(values: Sequence[float], take: str, name: str) -> float:
    """Apply `take` where a number is printed more than once.

    Raises:
        NoNumber: not finite, or several different ones under `only`.
    """
    if any(not math.isfinite(v) for v in values):
        bad = next(v for v in values if not math.isfinite(v))
        raise NoNumber(f"{name} is {bad}, which is no measurement")
    match take:
        case "last":
            return values[-1]
        case "first":
            return values[0]
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "median":
            return statistics.median(values)
    if len(set(values)) > 1:
        shown = ", ".join(f"{v:g}" for v in values[:4]) + (", …" if len(values) > 4 else "")
        raise Several(f'{name} was printed {len(values)} times with different values ({shown}): set [metric] take = "last"')
    return values[0]


def _numbers(data: Any) -> dict[str, float]:
    if not isinstance(data, Mapping):
        return {}
    found = {}
    for key, value in data.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                found[str(key)] = float(value)
            except OverflowError:
                found[str(key)] = math.inf
    return found


def result_file(path: Path | None) -> dict[str, float]:
    if path is None or path.is_symlink():
        return {}
    try:
        return _numbers(_load(path))
    except (ValueError, RecursionError, OSError):
        return {}


def _load(path: Path) -> Any:
    """A JSON file that the evaluation wrote: neither a pipe that never ends nor one that fills the memory.

    Raises:
        ValueError, RecursionError, OSError: as it is not.
    """
    if not path.is_file():
        raise OSError(errno.ENOENT, "no such file" if not path.exists() else "not a file")
    if path.stat().st_size > _JSON_BYTES:
        raise ValueError(f"larger than {_JSON_BYTES // 2**20} MB")
    return json.loads(path.read_text(encoding="utf-8"))


def json_line(lines: Sequence[str]) -> dict[str, float]:
    last = next((line for line in reversed(lines) if line.strip()), "")
    if not last.lstrip().startswith("{"):
        return {}
    try:
        return _numbers(json.loads(last))
    except (ValueError, RecursionError):
        return {}


def read(
    stdout: str,
    names: Sequence[str],
    *,
    result: Path | None = None,
    take: str = "only",
    pattern: str = "",
    json_file: Path | None = None,
    json_path: str = "",
    lead: bool = True,
    unit: str = "",
) -> dict[str, float]:
    """Read the wanted numbers, each from the first source that has it.

    Sources: the result file, `METRIC name=value` lines, a JSON object as the last line, `name: value` or `name = value`
    (a line, else a row of a table with two columns, an entry of a Python dict, or one of several on a line), and a last
    line that is only a number when one name is wanted. `pattern`, or `json_file` with `json_path`, replace them for the
    first name, which is given in `unit` where it is printed in another one of time or size. Without `lead` the first name
    is like the others, for a metric that is no number of the evaluation's own.

    Raises:
        NoNumber: the first name was not found, is not finite, or has several values under `take = "only"`. Other names
            that are missing are left out of the answer.
    """
    lines = clean_lines(stdout)
    found: dict[str, float] = {}
    for i, name in enumerate(names):
        leads = lead and i == 0
        try:
            if leads and pattern:
                found[name] = _choose(_by_pattern("\n".join(lines), pattern, name, unit), take, name)
            elif leads and json_file is not None:
                found[name] = _choose([_by_path(json_file, json_path)], take, name)
            else:
                values = _occurrences(name, lines, result, alone=lead and len(names) == 1, unit=unit if leads else "")
                if values:
                    found[name] = _choose(values, take if leads else "last", name)
                elif leads:
                    raise NotThere(name, stdout)
        except NoNumber:
            if leads:
                raise
    return found


def _not_found(name: str, stdout: str) -> str:
    """What would help: the lines by which a tool's output is read, the names that are there, or what to print."""
    from autoresearch.runners.formats import recognise  # it reads back by this module what it recognises

    found = recognise(stdout)
    words = f"no number named {name} on standard output"
    if found:
        words += f" (there: {', '.join(f'{f.name} {f.value:g}' for f in found[:5])}{', …' if len(found) > 5 else ''})"
    tool = next((f for f in found if f.pattern), None)
    if tool is not None and tool is found[0]:
        return f"{words}: to read the number of {tool.tool}, set [metric] {', '.join(tool.keys.splitlines())}"
    return f"{words}: print `{name}: <number>`, write it as JSON to $AUTORESEARCH_RESULT, or set [metric] pattern"


def _occurrences(name: str, lines: Sequence[str], result: Path | None, *, alone: bool, unit: str) -> list[float]:
    from_file = result_file(result)
    if name in from_file:
        return [from_file[name]]
    metric = re.compile(rf"\s*METRIC\s+{re.escape(name)}\s*=\s*(?P<rest>.+)")
    values = _values(name, (m["rest"] for line in lines if (m := metric.match(line))), unit)
    if values:
        return values
    from_json = json_line(lines)
    if name in from_json:
        return [from_json[name]]
    return _named(name, lines, unit) or (_bare(lines, unit) if alone else [])


def _values(name: str, texts: Iterable[str], unit: str) -> list[float]:
    """The numbers of texts, in the unit that is wanted where they are in one like it; a text that is none is passed over.

    Raises:
        NoNumber: they are in different units.
    """
    found = [in_unit(q, unit) for text in texts if (q := quantity(text)) is not None]
    units = list(dict.fromkeys(q.unit for q in found))
    if len(units) > 1 and all(math.isfinite(q.value) for q in found):
        shown = ", ".join(repr(unit) if unit else "none" for unit in units[:4])
        raise NoNumber(f"{name} was printed in different units ({shown}): print it in one, or say which in [metric] unit")
    return [q.value for q in found]


def _named(name: str, lines: Sequence[str], unit: str) -> list[float]:
    """`name: value` as a whole line, else a row of a table with two columns, a Python dict, or one of several on a line."""
    spelled = re.escape(name).replace("_", "[_ -]")
    plain = re.compile(rf"[\s\-*•>|\"']*{spelled}[\"']?\s*[:=]\s*(?P<rest>.+)", re.IGNORECASE)
    row = re.compile(
        rf"\s*[|│┃║]\s*[*_`]*{spelled}[*_`]*\s*[|│┃║]\s*[*_`]*(?P<rest>[^|│┃║]+?)[*_`]*\s*[|│┃║]\s*\Z", re.IGNORECASE
    )
    entry = re.compile(rf"[{{,]\s*'{spelled}'\s*:\s*'?(?P<rest>[^,'}}(]+(?:\([^()]*\))?)'?\s*(?=[,}}])", re.IGNORECASE)
    pair = re.compile(rf"(?<![\w.@/]){spelled}[\"']?\s*[:=]\s*(?P<rest>{_INLINE})", re.IGNORECASE)
    whole = (m["rest"] for line in lines if (m := plain.match(line)))
    cells = (m["rest"] for line in lines if (m := row.match(line)))
    entries = (m["rest"] for line in lines if line.lstrip().startswith("{'") for m in entry.finditer(line))
    pairs = (m["rest"] for line in lines for m in pair.finditer(line) if _stands_alone(line, m))
    trimmed = (re.sub(r"\s*[\[(].*[\])]\s*\Z", "", text.rstrip(" ,;|")) or text for text in whole)
    for texts in (trimmed, cells, entries, pairs):
        if values := _values(name, texts, unit):
            return values
    return []


def _stands_alone(line: str, pair: re.Match[str]) -> bool:
    """Whether a pair in a line, JSON aside, is named by its own word alone, and its number is all there is to it."""
    if len(line) > _LINE or line.lstrip().startswith("{"):
        return False
    return _LEADS.search(line[: pair.start()]) is not None and _ENDS.match(line[pair.end() :]) is not None


def _bare(lines: Sequence[str], unit: str) -> list[float]:
    last = next((line for line in reversed(lines) if line.strip()), "")
    found = quantity(last)
    return [] if found is None else [in_unit(found, unit).value]


def _by_pattern(text: str, pattern: str, name: str, unit: str) -> list[float]:
    values = []
    for match in re.finditer(pattern, text, re.MULTILINE):
        group = 1 if match.re.groups else 0
        found = match[group] or ""
        read_ = quantity(found) or quantity(found.rstrip(" .,;:"))  # the end of a sentence
        if read_ is not None:
            _check_whole(match, group, pattern)
            values.append(in_unit(read_, unit).value)
    if not values:
        raise NoNumber(f"the pattern for {name} matched no number on standard output: {pattern}")
    return values


def _check_whole(match: re.Match[str], group: int, pattern: str) -> None:
    """A pattern that takes a part of a longer number, as `.*(\\d+)%` takes 4 of 54%, would measure something else.

    Raises:
        NoNumber: it does.
    """
    text, (start, end) = match.string, match.span(group)
    left = re.search(r"\d[\d.]*\Z", text[max(0, start - 40) : start]) if text[start : start + 1].isdigit() else None
    right = re.match(r"\d|[.,]\d", text[end : end + 2]) if match.end() == end and text[end - 1 : end].isdigit() else None
    if left or right:
        whole = (left[0] if left else "") + text[start:end] + (re.match(r"[\d.,]*", text[end : end + 40]) or [""])[0]
        raise NoNumber(
            f"the pattern takes {text[start:end]} out of {whole}: {pattern} (put .*? or a space before the group, "
            "and let it take the whole number)"
        )


def _by_path(file: Path, path: str) -> float:
    try:
        data = _load(file)
    except OSError as error:
        raise NoNumber(f"[metric] file {file.name}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise NoNumber(f"[metric] file {file.name} is not JSON: {error}") from error
    for part in re.findall(r"[^.\[\]]+|\[-?\d+\]", path):
        try:
            data = data[int(part[1:-1])] if part.startswith("[") else data[part]
        except (KeyError, IndexError, TypeError):
            keys = ", ".join(list(data)[:8]) if isinstance(data, Mapping) else type(data).__name__
            raise NoNumber(f"[metric] path {path}: no {part} in {file.name} (there: {keys})") from None
    number = to_number(str(data)) if not isinstance(data, bool) else None
    if number is None:
        raise NoNumber(f"[metric] path {path} of {file.name} is {reprlib.repr(data)}, expected a number")
    return number
