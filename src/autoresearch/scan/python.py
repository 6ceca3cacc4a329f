"""What a scan sees in Python beyond single lines: modules that are new to a file, aliases, replaced functions, docstrings."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import lru_cache

from autoresearch.scan import patterns
from autoresearch.scan.changes import Change
from autoresearch.text import one_line

_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import\b|import[ \t]+([^#\n]+))", re.MULTILINE)
_ALIASED = re.compile(
    r"\bimport\s+(?:os|sys|subprocess|socket|ctypes|importlib|builtins|pickle|marshal|urllib\S*|requests|time)\s+as\s"
    r"|\bfrom\s+(?:os|subprocess|socket|builtins|importlib|pickle|marshal|ctypes|urllib\S*|requests)\s+import\b|\bgetattr\s*\("
)
_ASSIGNED = re.compile(r"^([A-Za-z_]\w*)((?:\.\w+)+)\s*=(?!=)")
_CLOCKS = frozenset(
    ["time", "perf_counter", "monotonic", "process_time", "synchronize", "Event", "elapsed_time", "print", "open"]
)
_PATHS = re.compile(r"\bsys\.path\b|\bsite\.addsitedir\b|\bPYTHONPATH\b")
_LARGEST = 300_000  # characters of a file that is parsed


def find(change: Change) -> Iterator[tuple[str, int, str]]:
    """Flags of a Python file: a name, a line, and words."""
    text = change.after or ""
    before = modules(change.before or "")
    for line in change.added:
        new = sorted(modules(line.code) - before)
        if new:
            yield "import", line.number, f"a new import: {', '.join(one_line(name, 40) for name in new)}"
        if _PATHS.search(line.code):
            yield "import", line.number, f"changes where modules are found: `{one_line(line.code, 80)}`"
        match = _ASSIGNED.match(line.code)
        if match and _is_replaced(match[1], match[2].rpartition(".")[2], text):
            yield "eval", line.number, f"replaces {match[1]}{match[2]}"
    yield from _swallowed(change)
    if _ALIASED.search(text):
        yield from _called(change)


def modules(text: str) -> set[str]:
    """The modules that lines import, as they are written."""
    found: set[str] = set()
    for match in _IMPORT.finditer(text):
        names = [match[1]] if match[1] else [part.split(" as ")[0] for part in match[2].split(",")]
        found |= {name.strip() for name in names if name.strip()}
    return found


def _is_replaced(name: str, attribute: str, text: str) -> bool:
    """Whether an assignment to an attribute changes a module of the standard library, or a clock of another one."""
    imported = re.search(rf"^[ \t]*(?:import|from)\b.*\b{re.escape(name)}\b", text, re.MULTILINE)
    if imported is None:
        return False
    whole = re.search(rf"\bimport\s+(\w+)(?:\.\w+)*\s+as\s+{re.escape(name)}\b", imported[0])
    return (whole[1] if whole else name) in sys.stdlib_module_names or attribute in _CLOCKS


def _swallowed(change: Change) -> Iterator[tuple[str, int, str]]:
    """Handlers that are new, or newly do nothing."""
    lines = (change.after or "").split("\n")
    touched = {line.number for line in change.added}
    for number in sorted(touched | {n - 1 for n in touched}):
        head = lines[number - 1].strip() if 0 < number <= len(lines) else ""
        body = lines[number].strip() if number < len(lines) else ""
        if head.startswith("except") and head.endswith(":") and body in ("pass", "continue", "..."):
            yield "error_handling", number, f"errors are swallowed: `{one_line(head, 60)} {body}`"


@lru_cache(maxsize=8)
def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text) if len(text) <= _LARGEST else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def docstrings(text: str | None) -> set[int]:
    """The lines of strings that stand for themselves."""
    tree = _parsed(text or "")
    found: set[int] = set()
    blocks: list[ast.AST] = [tree] if tree is not None else []
    while blocks:  # statements only: to walk every expression takes ten times as long
        block = blocks.pop()
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            inside = getattr(block, field, ())
            blocks += inside if isinstance(inside, list) else ()
        if isinstance(block, ast.Expr) and isinstance(block.value, ast.Constant) and isinstance(block.value.value, str):
            found |= set(range(block.lineno, (block.end_lineno or block.lineno) + 1))
    return found


def _called(change: Change) -> Iterator[tuple[str, int, str]]:
    """Calls on added lines by what their names stand for, and `getattr` with a name that is made up."""
    tree = _parsed(change.after or "")
    if tree is None:
        return
    names, touched = _aliases(tree), {line.number for line in change.added}
    known = [p for p in patterns.known("python").added if p.name in ("network", "subprocess", "eval")]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or node.lineno not in touched:
            continue
        written = ast.unparse(node.func)
        first, dot, rest = written.partition(".")
        meant = f"{names.get(first, first)}{dot}{rest}("
        if written == "getattr" and len(node.args) > 1 and not isinstance(node.args[1], ast.Constant | ast.Name):
            yield "eval", node.lineno, f"an attribute by a made-up name: `{one_line(ast.unparse(node), 60)}`"
        elif first in names:
            for pattern in known:
                if pattern.regex.search(meant):
                    yield pattern.name, node.lineno, f"{pattern.words}: `{one_line(meant[:-1], 60)}`"


def _aliases(tree: ast.Module) -> dict[str, str]:
    """What names stand for that were imported by another one, or out of a module."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.asname: a.name for a in node.names if a.asname}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return found
