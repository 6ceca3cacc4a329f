"""Reading numbers from what an evaluation leaves: its result file, its standard output, or a JSON file of its own."""

from __future__ import annotations

import errno
import json
import math
import re
import reprlib
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_NUMBER = r"[-+]?(?:\d{1,3}(?:[,_' ]\d{3})+(?:\.\d+)?|\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_WORD = r"[-+]?(?:nan|inf(?:inity)?)"
_VALUE = rf"(?P<value>{_NUMBER}|{_WORD})"
_UNIT = r"\s*(?:%|[A-Za-zµμΩ°][\w/µμ·²³^*.-]*|/s)?"
_JSON_BYTES = 64 * 2**20
_PLAIN = re.compile(rf"\s*{_VALUE}{_UNIT}\s*\Z", re.IGNORECASE)


class NoNumber(Exception):
    """No readable number; the message says why and which key would help."""


def clean_lines(text: str) -> list[str]:
    """Lines as a terminal would show them in the end: no colour codes, nothing before a carriage return."""
    lines = []
    for line in _ANSI.sub("", text).split("\n"):
        line = line.rstrip("\r")
        lines.append(line.rsplit("\r", 1)[-1])
    return lines


def to_number(text: str) -> float | None:
    """A number with thousands separators and a unit or %, as it is written; None if it is none."""
    match = _PLAIN.match(text)
    return float(re.sub(r"(?<=\d)[,_' ](?=\d{3})", "", match["value"])) if match else None


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
        raise NoNumber(f'{name} was printed {len(values)} times with different values ({shown}): set [metric] take = "last"')
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


def _result_file(path: Path | None) -> dict[str, float]:
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


def _json_line(lines: Sequence[str]) -> dict[str, float]:
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
) -> dict[str, float]:
    """Read the wanted numbers, each from the first source that has it.

    Sources: the result file, `METRIC name=value` lines, a JSON object as the last line, `name: value` or `name = value`
    lines, and a last line that is only a number when one name is wanted. `pattern`, or `json_file` with `json_path`,
    replace them for the first name. Without `lead` the first name is like the others, for a metric that is no number of
    the evaluation's own.

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
                found[name] = _choose(_by_pattern("\n".join(lines), pattern, name), take, name)
            elif leads and json_file is not None:
                found[name] = _choose([_by_path(json_file, json_path)], take, name)
            else:
                values = _occurrences(name, lines, result, alone=lead and len(names) == 1)
                if values:
                    found[name] = _choose(values, take if leads else "last", name)
                elif leads:
                    raise NoNumber(_not_found(name))
        except NoNumber:
            if leads:
                raise
    return found


def _not_found(name: str) -> str:
    return (
        f"no number named {name} on standard output: print `{name}: <number>`, write it as JSON to $AUTORESEARCH_RESULT, "
        "or set [metric] pattern"
    )


def _occurrences(name: str, lines: Sequence[str], result: Path | None, *, alone: bool) -> list[float]:
    from_file = _result_file(result)
    if name in from_file:
        return [from_file[name]]
    metric = re.compile(rf"\s*METRIC\s+{re.escape(name)}\s*=\s*(?P<rest>.+)")
    values = [v for line in lines if (m := metric.match(line)) and (v := to_number(m["rest"])) is not None]
    if values:
        return values
    from_json = _json_line(lines)
    if name in from_json:
        return [from_json[name]]
    spelled = re.escape(name).replace("_", "[_ -]")
    plain = re.compile(rf"[\s\-*•>|\"']*{spelled}[\"']?\s*[:=]\s*(?P<rest>.+)", re.IGNORECASE)
    for line in lines:
        m = plain.match(line)
        if m is not None:
            value = to_number(re.sub(r"\s*[\[(].*[\])]\s*\Z", "", m["rest"]).rstrip(" ,;|"))
            if value is not None:
                values.append(value)
    if values or not alone:
        return values
    last = next((line for line in reversed(lines) if line.strip()), "")
    number = to_number(last)
    return [] if number is None else [number]


def _by_pattern(text: str, pattern: str, name: str) -> list[float]:
    values = []
    for match in re.finditer(pattern, text, re.MULTILINE):
        value = to_number((match[1] or "") if match.re.groups else match[0])
        if value is not None:
            values.append(value)
    if not values:
        raise NoNumber(f"the pattern for {name} matched no number on standard output: {pattern}")
    return values


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
