"""A session as its user sees it: what the model called, and what came back; names that differ from day to day made equal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_CALLS = ("mcp__autoresearch__",)
_SILENT = "(Bash completed with no output)"
_ALIKE = (
    (r"\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\d{1,2}(-\d+)?\b", "nov21"),
    (r"\b\d+(\.\d+)? (ms|s|min)\b", "0.1 s"),
    (r"\b[0-9a-f]{12,40}\b", "3f2a91c0d1e2"),
)


def transcript(calls: Sequence[Mapping[str, Any]]) -> list[str]:
    """A session's requests as lines: `> try(…)`, and below it what was answered, indented.

    Args:
        calls: of the model's server, in their order.
    """
    return [alike(line) for line in _lines(calls)]


def alike(line: str) -> str:
    """A line without what differs from one session to the next: the run's name, seconds, hashes."""
    for pattern, same in _ALIKE:
        line = re.sub(pattern, same, line)
    return line.rstrip()


def _lines(calls: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for call, after in zip(calls, [*calls[1:], None], strict=True):
        answer = call["answer"]
        if "say" in answer:
            yield f'"{answer["say"]}"'
        else:
            yield f"> {_called(answer['tool'], answer['args'])}"
            yield from (f"  {line}" for line in _printed(answer["tool"], after["results"][-1] if after else ""))


def _called(tool: str, args: Mapping[str, Any]) -> str:
    for start in _CALLS:
        tool = tool.removeprefix(start)
    if tool == "Bash":
        return f"$ {args['command']}"
    if tool == "Edit":
        return f"Edit {args['file_path']}: {args['old_string']} -> {args['new_string']}"
    return f"{tool}({', '.join(f'{name}={json.dumps(value)}' for name, value in args.items())})"


def _printed(tool: str, result: str) -> list[str]:
    """The lines of ours, where it is ours; of the program's own tools nothing but what a command printed."""
    result = result.partition("<system-reminder>")[0].strip()
    if tool == "Bash":
        return [] if result == _SILENT else result.splitlines()
    if not tool.startswith(_CALLS):
        return []
    try:
        return str(json.loads(result)["message"]).splitlines()
    except ValueError:
        return result.splitlines()
