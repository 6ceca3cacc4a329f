"""Places for one evaluation (or proposal) at a time, handed out first come, first served."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio


@dataclass(eq=False, slots=True)
class _Turn:
    wanted: int | None
    given: int | None = None
    come: anyio.Event = field(default_factory=anyio.Event)


class Slots:
    """Numbered slots 0..count-1; the lowest free one is given, so that few slots stay warm."""

    def __init__(self, count: int) -> None:
        self._free = set(range(count))
        self._waiting: deque[_Turn] = deque()
        self.count = count

    @asynccontextmanager
    async def take(self, wanted: int | None = None) -> AsyncIterator[int]:
        """Hold a slot, a certain one if it is `wanted`."""
        turn = _Turn(wanted)
        self._waiting.append(turn)
        self._hand_out()
        try:
            await turn.come.wait()
        except BaseException:
            if turn.given is None:
                self._waiting.remove(turn)
            else:
                self._give_back(turn.given)
            raise
        assert turn.given is not None
        try:
            yield turn.given
        finally:
            self._give_back(turn.given)

    def _give_back(self, slot: int) -> None:
        self._free.add(slot)
        self._hand_out()

    def _hand_out(self) -> None:
        for turn in list(self._waiting):
            if not self._free:
                return
            if turn.wanted is None or turn.wanted in self._free:
                turn.given = min(self._free) if turn.wanted is None else turn.wanted
                self._free.remove(turn.given)
                self._waiting.remove(turn)
                turn.come.set()
