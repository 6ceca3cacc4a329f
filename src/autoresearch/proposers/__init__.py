"""Whatever writes changes. One a file; found by short name, `module:Class`, `module:function` or entry point."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from autoresearch.contracts import Proposer, find

if TYPE_CHECKING:
    from autoresearch.proposers.program import Login
    from autoresearch.taskfile import schema

KNOWN = {
    "knobs": "autoresearch.proposers.knobs:Knobs",
    "command": "autoresearch.proposers.command:Command",
    "claude": "autoresearch.proposers.claude:Claude",
    "codex": "autoresearch.proposers.codex:Codex",
    "gemini": "autoresearch.proposers.gemini:Gemini",
    "opencode": "autoresearch.proposers.opencode:Opencode",
    "pi": "autoresearch.proposers.pi:Pi",
    "llm": "autoresearch.proposers.llm:Llm",
}


def known(kind: str) -> None:
    """Look whether there is such a proposer at all.

    Raises:
        UnknownName: with the nearest known one.
    """
    find("proposers", kind, KNOWN)


def writes_code(kind: str) -> bool:
    """Whether what it proposes is written by nobody whom the owner knows: a model. Its class says so by `writes_code`.

    Raises:
        UnknownName: with the nearest known one.
    """
    found = find("proposers", kind, KNOWN)
    return _is_program(found) or bool(getattr(found, "writes_code", False))


def reads(kind: str) -> bool:
    """Whether it takes notice of what a brief suggests. Its class says by `reads` if it does not.

    Raises:
        UnknownName: with the nearest known one.
    """
    return bool(getattr(find("proposers", kind, KNOWN), "reads", True))


def name_of(kind: str) -> str:
    """How it names itself in its proposals, as far as its class says that.

    Raises:
        UnknownName: with the nearest known one.
    """
    return str(getattr(find("proposers", kind, KNOWN), "name", kind))


def _is_program(found: Any) -> bool:
    """Whether it is what is particular to an agent program, to be started by the `Agent` that all share."""
    return inspect.isclass(found) and all(hasattr(found, name) for name in ("launch", "read", "end"))


def logins(table: schema.Proposer, environ: Mapping[str, str], home: Path) -> tuple[Login, ...]:
    """The log-ins that are there for a proposer with a model behind it, as far as `[proposer] login` allows them.

    Raises:
        UnknownName: with the nearest known one.
    """
    found = find("proposers", table.kind, KNOWN)
    if _is_program(found):
        from autoresearch.proposers import login

        return login.found(found(), table, environ, home)
    theirs = getattr(found, "logins", None)
    return tuple(theirs(table, environ, home)) if theirs is not None else ()


def no_login(table: schema.Proposer) -> str:
    """What to do where there is no log-in for a proposer that needs one, `` for one that needs none."""
    found = find("proposers", table.kind, KNOWN)
    if _is_program(found):
        from autoresearch.proposers import login

        return login.missing(found(), table)
    if (theirs := getattr(found, "no_login", None)) is not None:
        return str(theirs(table))
    words = f"export the key of its provider, or name the variable in [proposer] api_key_env (kind = {table.kind!r})"
    return words if hasattr(found, "logins") else ""


def make(kind: str, **options: Any) -> Proposer:
    """The proposer that goes by this name; it gets those of the options that its constructor names.

    A plain function `module:function` is wrapped, and is called with the tree's folder and the brief.

    Raises:
        UnknownName: with the nearest known one.
    """
    found: Any = find("proposers", kind, KNOWN)
    if not inspect.isclass(found):
        from autoresearch.proposers.function import Function

        return Function(found)
    if _is_program(found):
        from autoresearch.proposers.agent import Agent

        options, found = {**options, "program": found()}, Agent
    wanted = inspect.signature(found).parameters
    return cast(Proposer, found(**{key: value for key, value in options.items() if key in wanted}))
