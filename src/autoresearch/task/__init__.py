"""What to improve and how it is measured: `autoresearch.toml` and `program.md` as frozen, validated records."""

from autoresearch.task.load import FILE, load, ruler
from autoresearch.task.schema import Check, Guard, Task
from autoresearch.task.scope import Scope

__all__ = ["FILE", "Check", "Guard", "Scope", "Task", "load", "ruler"]
