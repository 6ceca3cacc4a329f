"""Every message that docs/troubleshooting.md explains is one that the program has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE)
HOLE = "…"


def text_of(node: ast.expr) -> str | None:
    """A string as it stands in the source, with `…` for what is filled in (but for constants); None for anything else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(filled(part) if isinstance(part, ast.FormattedValue) else text_of(part) or "" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = text_of(node.left), text_of(node.right)
        return None if left is None and right is None else (left or HOLE) + (right or HOLE)
    return None


def filled(part: ast.FormattedValue) -> str:
    return constants().get(part.value.id, HOLE) if isinstance(part.value, ast.Name) else HOLE


@cache
def constants() -> dict[str, str]:
    """What the names of module-level constants stand for."""
    nodes = (node for source in sources() for node in ast.parse(source).body if isinstance(node, ast.Assign))
    return {
        target.id: str(node.value.value)
        for node in nodes
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value, ast.Constant)
    }


@cache
def sources() -> tuple[str, ...]:
    return tuple(file.read_text(encoding="utf-8") for file in sorted((ROOT / "src" / "autoresearch").rglob("*.py")))


def docstrings(tree: ast.Module) -> set[int]:
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def strings(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    aside = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.expr) and id(node) not in aside and (text := text_of(node)):
            yield text


@cache
def said() -> str:
    """All that the program may say, a text a line."""
    texts = (text for source in sources() for text in strings(source))
    return "\n".join(dict.fromkeys(text.replace("\n", " ") for text in texts))


def occurs(message: str) -> bool:
    parts = [re.escape(part) for part in message.strip(f" {HOLE}").split(HOLE)]
    return re.search("[^\n]*?".join(parts), said()) is not None


@pytest.mark.parametrize("message", HEADINGS)
def test_explained_message_is_one_that_the_program_says(message: str) -> None:
    assert occurs(message)


@pytest.mark.parametrize("message", re.findall(r"^- `([^`]+)`", PAGE, re.MULTILINE))
def test_message_in_a_list_is_one_that_the_program_says(message: str) -> None:
    assert occurs(message)


def test_message_that_nobody_says_is_noticed() -> None:
    assert not occurs("the moon is in the way of …")


def test_no_message_is_explained_twice() -> None:
    assert len(HEADINGS) > 50
    assert sorted(set(HEADINGS)) == sorted(HEADINGS)
