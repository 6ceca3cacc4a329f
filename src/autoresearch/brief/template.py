"""The template that a brief is laid out by: Jinja, in a sandbox, strict about names.

A project's own is compiled and tried before anything is paid for; a mistake names the file, the line and the nearest name.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from autoresearch.errors import TaskError

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

OWN = "default.md.j2"

FIXED = ("instructions", "contract", "question", "answer", "append")
"""Parts that are never cut."""
CUT = (
    *("ideas", "guidance", "standing", "under_way", "lessons", "failures", "near", "again", "worn", "tried"),
    *("log", "exhibits"),
)
"""Parts that are cut to their budget; each is a text, `` where there is nothing to tell."""
FACTS = ("n", "task", "metric", "direction", "operation", "mutation", "escalation", "parent", "driving")
NAMES = (*FACTS, *FIXED, *CUT)
"""All that a template can name."""


def default() -> str:
    """The text of the template of this package."""
    return resources.files("autoresearch.brief").joinpath(OWN).read_text(encoding="utf-8")


class Template:
    """One template, compiled.

    Args:
        source: its text; `name` how it is called in messages.
    Raises:
        TaskError: it is no template, or names something that there is not.
    """

    def __init__(self, source: str, name: str) -> None:
        self._name = name
        self._made, self.used = _compiled(source, name)

    def render(self, values: Mapping[str, Any]) -> str:
        """The prompt.

        Raises:
            TaskError: with the line on which it fails.
        """
        try:
            return str(self._made.render(values)).strip() + "\n"
        except Exception as error:  # a template is the owner's own code
            raise TaskError(f"{self._place(error)}: {_words(error)}") from error

    def try_out(self) -> None:
        """Render it with something in every part, and with nothing in those that may be empty.

        Raises:
            TaskError: with the line on which it fails.
        """
        full: dict[str, Any] = dict.fromkeys(NAMES, "x") | {"n": 1, "parent": 0}
        for values in (full, full | dict.fromkeys((*CUT, "instructions", "append", "mutation", "escalation", "driving"), "")):
            self.render(values)

    def _place(self, error: BaseException) -> str:
        rows = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self._name]
        return f"{self._name}:{rows[-1]}" if rows else self._name


@lru_cache(maxsize=8)
def _compiled(source: str, name: str) -> tuple[Any, frozenset[str]]:
    from jinja2 import TemplateSyntaxError, meta

    environment = _environment()
    try:
        tree = environment.parse(source, name, name)
        used = meta.find_undeclared_variables(tree)
        code = environment.compile(source, name, name)
    except TemplateSyntaxError as error:
        raise TaskError(
            f"{name}:{error.lineno}: {error.message}; it is a Jinja template, as `brief --eject` writes one"
        ) from error
    _refuse_unknown(tree, used, name)
    return environment.template_class.from_code(environment, code, environment.make_globals(None)), frozenset(used)


def _environment() -> SandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    return SandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )


def _refuse_unknown(tree: Any, used: set[str], name: str) -> None:
    from jinja2 import nodes

    globals_ = set(_environment().globals)
    unknown = used - set(NAMES) - globals_
    lines = [(node.lineno, node.name) for node in tree.find_all(nodes.Name) if node.ctx == "load" and node.name in unknown]
    if not lines:
        return
    line, found = min(lines)
    near = difflib.get_close_matches(found, NAMES, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise TaskError(f"{name}:{line}: unknown name {found!r}, expected one of {', '.join(NAMES)}.{hint}")


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
