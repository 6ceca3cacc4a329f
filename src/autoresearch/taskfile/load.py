"""Read a task file; say of every mistake where it is, what was found, what was expected, and the nearest known name."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import reprlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from autoresearch.errors import TaskError
from autoresearch.taskfile import schema
from autoresearch.taskfile.schema import LATER, Task
from autoresearch.taskfile.scope import is_pattern

FILE = "autoresearch.toml"
_LISTS = ("guard", "check", "proposer")  # tables that may be repeated
_MODELS: dict[str, type[BaseModel]] = {
    "task": schema.TaskTable,
    "evaluate": schema.Evaluate,
    "metric": schema.Metric,
    "acceptance": schema.Acceptance,
    "guard": schema.Guard,
    "check": schema.Check,
    "gate": schema.Gate,
    "held_out": schema.HeldOut,
    "proposer": schema.Proposer,
    "strategy": schema.Strategy,
    "brief": schema.Brief,
    "review": schema.Review,
    "budget": schema.Budget,
    "run": schema.Run,
}


def load(folder: Path) -> Task:
    """Read `autoresearch.toml` and the instructions in a project's folder.

    Raises:
        TaskError: the first mistake, with file, line, key, value and what was expected.
    """
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise TaskError(f"no {FILE} in {folder}: write one with `autoresearch init`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"cannot read {path}: {error}") from error
    task = parse(text)
    for literal in task.task.editable:
        if not is_pattern(literal) and not (folder / literal).exists():
            raise _mistake(text, ("task", "editable"), f"{literal!r} does not exist in {folder}", "an existing file or a glob")
    for key, globs in (("editable", task.task.editable), ("frozen", task.task.frozen)):
        for literal in globs:
            if not is_pattern(literal) and not literal.endswith("/") and (folder / literal).is_dir():
                inside = "**" if literal == "." else f"{literal}/**"
                raise _mistake(text, ("task", key), f"{literal!r} is a folder", f"{inside!r} for everything in it")
    instructions = folder / task.task.instructions
    words = instructions.read_text(encoding="utf-8", errors="replace") if instructions.is_file() else ""
    name = task.task.name or folder.resolve().name
    table = task.task.model_copy(update={"name": name})
    return task.model_copy(update={"task": table, "instructions_text": words})


def parse(text: str) -> Task:
    """Validate a task file's text.

    Raises:
        TaskError: as `load`.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TaskError(f"{FILE}: not TOML: {error}") from error
    data = {key: value for key, value in data.items() if not key.startswith("x-")}
    for path, value in _walk(data):
        _check_key(text, path, value)
    for table in ("task", "evaluate", "metric"):
        if table not in data:
            raise TaskError(f"{FILE}: the table [{table}] is missing; `autoresearch init` writes a complete file")
    for key in _LISTS:
        if isinstance(data.get(key), Mapping):
            data[key] = [data[key]]
    try:
        task = Task.model_validate(data)
    except ValidationError as error:
        raise _translate(text, error) from error
    _check_meaning(text, task)
    return task


def _walk(data: Mapping[str, Any], path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    for key, value in data.items():
        here = (*path, key)
        yield here, value
        if isinstance(value, Mapping) and not path:
            yield from _walk(value, here)
        elif isinstance(value, list) and not path:
            for i, item in enumerate(value):
                if isinstance(item, Mapping):
                    yield from _walk(item, (*here, i))


def _check_key(text: str, path: tuple[str | int, ...], value: Any) -> None:
    names = [p for p in path if isinstance(p, str)]
    dotted = ".".join(names)
    if isinstance(value, str) and value in LATER.get(dotted, ()):
        found = f"{dotted} = {value!r}"
        raise TaskError(f"{_place(text, path)}: {found} is not available in this version yet; remove it for now")
    known = set(schema.keys(_MODELS[names[0]])) if len(names) > 1 else set(Task.model_fields) - {"instructions_text"}
    if names[-1] not in known:
        near = difflib.get_close_matches(names[-1], sorted(known), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else f" Known here: {', '.join(sorted(known))}."
        what = f"table [{names[0]}]" if len(names) == 1 else f"key {names[-1]!r} in [{names[0]}]"
        raise TaskError(f"{_place(text, path)}: unknown {what}.{hint} A table of your own starts with x-.")


def _translate(text: str, error: ValidationError) -> TaskError:
    first = error.errors(include_url=False)[0]
    path = tuple(p for p in first["loc"] if not (isinstance(p, str) and "[" in p) and p not in ("float", "literal['auto']"))
    if first["type"] == "missing":
        return TaskError(f"{_place(text, path[:-1])}: {_dotted(path)} is missing")
    if first["type"] == "extra_forbidden":
        known = ", ".join((schema.Price if path[0] == "proposer" else schema.Resources).model_fields)
        return TaskError(f"{_place(text, path)}: unknown key {_dotted(path)}, expected one of {known}")
    return _mistake(text, path, f"got {reprlib.repr(first['input'])}", _expected(first["type"], first["msg"]))


def _expected(kind: str, message: str) -> str:
    """What a validator wants, to stand after "expected"."""
    if kind == "model_type":
        return "a table"
    words = message.removeprefix("Value error, ").removeprefix("expected ")
    if kind == "string_pattern_mismatch":
        return "a name of letters, digits and underscores"
    words = re.sub(r"^(?:Input|String|List) should (?:be|have) |, not \d+$", "", words)
    return words.replace(" after validation", "")


def _check_meaning(text: str, task: Task) -> None:
    metric = task.metric
    if bool(metric.file) != bool(metric.path):
        missing = "path" if metric.file else "file"
        raise _mistake(text, ("metric", "file" if metric.file else "path"), f"{missing} is missing", "file and path together")
    if metric.pattern and metric.file:
        raise _mistake(text, ("metric", "pattern"), "pattern and file are both set", "one way to read the number")
    for i, guard in enumerate(task.guard):
        if guard.min is None and guard.max is None and guard.worse is None:
            raise _mistake(text, ("guard", i, "name"), f"guard {guard.name!r} has no bound", "min, max or worse")
        if guard.worse is not None and guard.direction is None and guard.name not in schema.OUTSIDE:
            found = f"nothing says which way {guard.name!r} is better"
            raise _mistake(text, ("guard", i, "worse"), found, 'direction = "minimize" or direction = "maximize" beside it')
        if guard.name == metric.name:
            raise _mistake(text, ("guard", i, "name"), f"{guard.name!r} is the metric itself", "another metric (or use target)")
    if task.acceptance.simplify and not (metric.min_effect.absolute or metric.min_effect.relative):
        expected = "[metric] min_effect beside it: what fewer lines may cost"
        raise _mistake(text, ("acceptance", "simplify"), "simplify without a smallest effect", expected)
    names = [c.name for c in task.check]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise _mistake(text, ("check", i, "name"), f"{name!r} is there twice", "a name of its own for each check")
    for i, proposer in enumerate(task.proposer):
        if proposer.kind == "command" and not (proposer.command or proposer.args):
            raise _mistake(text, ("proposer", i, "kind"), "no command to run", '`command = "…"` beside it')


def _mistake(text: str, path: Sequence[str | int], found: str, expected: str) -> TaskError:
    return TaskError(f"{_place(text, path)}: {_dotted(path)}: {found}, expected {expected}")


def _dotted(path: Sequence[str | int]) -> str:
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else str(part)
    return out


def _place(text: str, path: Sequence[str | int]) -> str:
    line = locate(text, path)
    return f"{FILE}:{line}" if line else FILE


def locate(text: str, path: Sequence[str | int]) -> int | None:
    """The line (from 1) on which a key stands: its own, else its table's."""
    table = str(path[0]) if path else ""
    index = next((p for p in path[1:2] if isinstance(p, int)), None)
    key = next((str(p) for p in path[1:] if isinstance(p, str)), "")
    current, count, found, quoted = "", -1, None, False
    for number, line in enumerate(text.split("\n"), 1):
        was, quoted = quoted, quoted ^ bool((line.count('"""') + line.count("'''")) % 2)
        if was:
            continue  # a string of several lines
        header = re.match(r"\s*\[(\[?)\s*([\w.\"'-]+)\s*\]\]?\s*(?:#.*)?$", line)
        if header:
            current = header[2].strip("\"'")
            count += current == table
        in_table = current == table and (index is None or count == index)
        if header and in_table and found is None:
            found = number
        pair = re.match(r"\s*([\w\"'.-]+)\s*=", line)
        name = re.sub(r"[\"']", "", pair[1]) if pair else ""
        if (in_table and key and name == key) or (not current and name == f"{table}.{key}"):
            return number
        if not current and found is None and name.split(".")[0] == table:
            found = number  # task.editable = […], or task = { … }
    return found


def _guard_parts(guard: schema.Guard) -> dict[str, Any]:
    """A guard's keys for the ruler."""
    worse = None if guard.worse is None else [guard.worse.absolute, guard.worse.relative]
    return guard.model_dump(exclude={"worse"}) | {"worse": worse}


def ruler(task: Task) -> tuple[str, dict[str, str]]:
    """What decides, as a hash and as key and value texts; a run never goes on under another one."""
    metric = task.metric
    parts: dict[str, Any] = {
        "task.editable": sorted(task.task.editable),
        "task.frozen": sorted(task.task.frozen),
        **{f"evaluate.{k}": v for k, v in task.evaluate.model_dump(by_alias=True).items()},
        "task.paths": sorted(task.task.paths),
        **{f"metric.{k}": v for k, v in metric.model_dump(exclude={"target", "min_effect"}).items()},
        "metric.min_effect": [metric.min_effect.absolute, metric.min_effect.relative],
        **{f"acceptance.{k}": v for k, v in task.acceptance.model_dump().items()},
        "guard": [_guard_parts(g) for g in task.guard],
        "check": [c.model_dump() for c in task.check],
        "gate": task.gate.model_dump(exclude={"queries"}) if task.gate else None,
        "held_out": task.held_out.model_dump() if task.held_out else None,
    }
    words = {key: json.dumps(value, sort_keys=True, ensure_ascii=False) for key, value in parts.items()}
    digest = hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()
    return digest, words
