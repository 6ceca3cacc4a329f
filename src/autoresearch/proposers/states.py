"""The proposer of `optimize`: a Python function from the best state to a new one."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import anyio

from autoresearch.contracts import Brief, Draft
from autoresearch.history import View
from autoresearch.records import Proposal, State


class StateFunction:
    """Calls `propose(state, history)` (or `propose(state)`) where `call` runs it: in a thread that may be abandoned.

    Args:
        show: makes of a view what the function gets as history.
    """

    exact = True  # scores of the owner's own function, for his own function

    def __init__(
        self,
        function: Callable[..., Any],
        call: Callable[..., Any],
        show: Callable[[View], Any],
        timeout_s: float | None,
    ) -> None:
        self.name = getattr(function, "__name__", "function")
        self._function, self._call, self._show = function, call, show
        self._timeout_s = math.inf if timeout_s is None else timeout_s
        self._takes_history = _positional(function) > 1

    async def propose(self, brief: Brief, draft: Draft) -> Proposal:
        args = (draft.state, self._show(brief.view)) if self._takes_history else (draft.state,)
        with anyio.fail_after(self._timeout_s):
            value = await self._call(self._function, *args)
        return Proposal(f"{self.name} {brief.n}", State(value))


def _positional(function: Callable[..., Any]) -> int:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return 2
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
