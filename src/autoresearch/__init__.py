"""Autoresearch improves anything that can be measured while its owner sleeps.

`optimize` searches over Python values; `task` gives the runs of a project's folder, the same as the command line's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoresearch.api import Result, optimize, task

__all__ = ["Result", "optimize", "task"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # loaded when first used: importing the package stays quick and without effect
        from autoresearch import api

        return getattr(api, name)
    raise AttributeError(f"module 'autoresearch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
