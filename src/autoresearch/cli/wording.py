"""A task as answers, and the two files as text: `autoresearch.toml` and `program.md`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from autoresearch.detect import Number
from autoresearch.taskfile import FILE

PROGRAM = "program.md"


@dataclass(frozen=True, slots=True)
class Answers:
    """A task as `init` knows it."""

    name: str
    editable: tuple[str, ...]
    command: str
    number: Number
    frozen: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    setup: str = ""
    build: str = ""
    copies: tuple[str, ...] = ()
    cache: tuple[str, ...] = ()
    env: tuple[str, ...] = ()

    def tables(self) -> dict[str, dict[str, Any]]:
        """The keys of the task file, by table."""
        number = self.number
        return {
            "task": {"name": self.name, "editable": self.editable, "frozen": self.frozen, "instructions": PROGRAM},
            "evaluate": {
                "command": self.command,
                "setup": self.setup,
                "build": self.build,
                "inputs": self.inputs,
                "copy": self.copies,
                "cache": self.cache,
                "env": self.env,
            },
            "metric": {
                "name": number.name,
                "direction": number.direction,
                "unit": number.unit,
                "pattern": number.pattern,
                "file": number.file,
                "path": number.path,
                "take": "" if number.take == "only" else number.take,
            },
        }


def task_text(answers: Answers) -> str:
    """The task file; keys that are at their default are left out."""
    parts = []
    for table, keys in answers.tables().items():
        rows = [f"{key} = {toml(value)}" for key, value in keys.items() if value]
        parts.append(f"[{table}]\n" + "\n".join(rows) + "\n")
    parts.append('[proposer]\nkind = "knobs"              # or "command", or "module:function"\n')
    parts.append("[budget]\nexperiments = 100\n")
    return "\n".join(parts)


def toml(value: str | tuple[str, ...]) -> str:
    """A string, or a list of strings, as TOML; backslashes stay readable."""
    if isinstance(value, tuple):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    if "\\" in value and "'" not in value and value.isprintable():
        return f"'{value}'"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def put(text: str, table: str, key: str, value: str | tuple[str, ...]) -> str:
    """Set a key of a one-line value in a task file's text, where it stands, or directly below its table."""
    head, found, rest = text.partition(f"[{table}]\n")
    if not found:
        return f"{text.rstrip()}\n\n[{table}]\n{key} = {toml(value)}\n"
    end = re.search(r"^\[", rest, re.MULTILINE)
    own, after = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    line = f"{key} = {toml(value)}"
    replaced, count = re.subn(rf"^{re.escape(key)}\s*=.*$", lambda _: line, own, count=1, flags=re.MULTILINE)
    return head + found + (replaced if count else f"{line}\n{own}") + after


def program_text(answers: Answers) -> str:
    """The owner's words to begin with."""
    number = answers.number
    better = "lower" if number.direction == "minimize" else "higher"
    source = f"It is read from `{number.file}`, which `{answers.command}` leaves."
    if not number.file:
        source = f"It is what `{answers.command}` prints."
    if number.name in ("wall_s", "cpu_s", "peak_mb"):
        source = f"It is measured around `{answers.command}`."
    return f"""# {answers.name}

Make `{number.name}` {better}. {source}

Change only: {", ".join(answers.editable)}.

Simpler is better: a small gain is not worth much code.
"""


__all__ = ["FILE", "PROGRAM", "Answers", "program_text", "put", "task_text", "toml"]
