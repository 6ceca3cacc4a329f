"""Places for one evaluation (or proposal) at a time, handed out first come, first served."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class Slots:
    """Numbered slots 0..count-1; the lowest free one is given, so that few slots stay warm."""

    def __init__(self, count: int) -> None:
        self._free = list(range(count - 1, -1, -1))
        self._waiting: deque[anyio.Event] = deque()
        self.count = count

    @asynccontextmanager
    async def take(self) -> AsyncIterator[int]:
        while not self._free:
            turn = anyio.Event()
            self._waiting.append(turn)
            try:
                await turn.wait()
            except BaseException:
                if turn.is_set():
                    self._wake()
                else:
                    self._waiting.remove(turn)
                raise
        slot = self._free.pop()
        try:
            yield slot
        finally:
            self._free.append(slot)
            self._free.sort(reverse=True)
            self._wake()

    def _wake(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()
