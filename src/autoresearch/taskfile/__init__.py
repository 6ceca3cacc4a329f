"""What to improve and how it is measured: `autoresearch.toml` and `program.md` as frozen, validated records."""

from autoresearch.taskfile.load import FILE, load, ruler
from autoresearch.taskfile.schema import Check, Guard, Task
from autoresearch.taskfile.scope import Scope

__all__ = ["FILE", "Check", "Guard", "Scope", "Task", "load", "ruler"]
