"""A limit of time that stands still while something else is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio


class Patience:
    """How long somebody may work, in one stretch or several; nobody works in two places at a time.

    Attributes:
        left_s: of the limit, as of the last stretch or hold; may be infinite.
    """

    def __init__(self, limit_s: float) -> None:
        self.left_s = limit_s
        self._holds = 0
        self._scope: anyio.CancelScope | None = None
        self._since = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Work, until the limit is used up.

        Raises:
            TimeoutError: it was; what was awaited inside is cancelled.
        """
        with anyio.CancelScope() as scope:
            self._scope = scope
            self._go_on()
            try:
                yield
            finally:
                self._stand_still()
                self._scope = None
        if scope.cancelled_caught and self.left_s <= 0:
            raise TimeoutError("the limit is used up")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the limit stand still, however many hold it."""
        self._stand_still()
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            self._go_on()

    def _go_on(self) -> None:
        if self._scope is not None and not self._holds:
            self._since = anyio.current_time()
            self._scope.deadline = self._since + self.left_s

    def _stand_still(self) -> None:
        if self._scope is not None and not self._holds:
            self.left_s -= anyio.current_time() - self._since
            if self.left_s > 0:
                self._scope.deadline = float("inf")
