"""The templates of `init`: whole tasks that work as they are written."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from autoresearch.errors import SetupError, UnknownName
from autoresearch.taskfile import FILE, Scope

_ORDER = ("training", "function", "tests-speed", "coverage", "http", "sql", "prompt", "retrieval", "bundle", "sealed", "docker")


def root() -> Path:
    return Path(str(files("autoresearch"))) / "templates"


def purposes() -> dict[str, str]:
    """The templates by name, each with one line about it: the first of its task file."""
    texts = {name: (root() / name / FILE).read_text(encoding="utf-8") for name in _ORDER}
    return {name: text.split("\n", 1)[0].removeprefix("# ") for name, text in texts.items()}


def listing() -> str:
    """All templates, a line each."""
    found = purposes()
    width = max(map(len, found))
    return "".join(f"{name:<{width}}  {purpose}\n" for name, purpose in found.items())


def chosen(name: str) -> Path:
    """The folder of a template.

    Raises:
        UnknownName: with all there are, and the nearest.
    """
    if name not in _ORDER:
        raise UnknownName("template", name, _ORDER, "'list', which says what each is for")
    return root() / name


def contents(template: Path) -> Iterator[tuple[str, bytes]]:
    """The files of a template but for its task file, by path."""
    for path in sorted(template.rglob("*")):
        inside = path.relative_to(template).as_posix()
        if path.is_file() and "__pycache__" not in path.parts and inside != FILE:
            yield inside, path.read_bytes()


def lay_out(template: Path, folder: Path, *, without: Scope) -> tuple[list[str], list[str]]:
    """Write a template's files into a folder but for those of a scope.

    Returns:
        The files written, and those that were there and stay as they are.
    """
    written, kept = [], []
    for name, body in contents(template):
        target = folder / name
        if name in without:
            continue
        if target.exists():
            kept.append(name)
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(body)
        except OSError as error:
            raise SetupError(f"cannot write {target}: {error.strerror}") from error
        written.append(name)
    return written, kept
