"""Whatever writes changes. One a file; found by short name, `module:Class`, `module:function` or entry point."""

from __future__ import annotations

import inspect
from typing import Any, cast

from autoresearch.contracts import Proposer, find

KNOWN = {
    "knobs": "autoresearch.proposers.knobs:Knobs",
    "command": "autoresearch.proposers.command:Command",
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
    return bool(getattr(find("proposers", kind, KNOWN), "writes_code", False))


def make(kind: str, **options: Any) -> Proposer:
    """The proposer that goes by this name; it gets those of the options that its constructor names.

    A plain function `module:function` is wrapped, and is called with the tree's folder and the brief.

    Raises:
        UnknownName: with the nearest known one.
    """
    found = find("proposers", kind, KNOWN)
    if not inspect.isclass(found):
        from autoresearch.proposers.function import Function

        return Function(found)
    wanted = inspect.signature(found).parameters
    return cast(Proposer, found(**{key: value for key, value in options.items() if key in wanted}))
