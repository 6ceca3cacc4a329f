"""How much a job writes: held by looking, since no file system here has a quota of its own for it.

Imported by the supervisor alone: standard library only, no other module of ours.
"""

from __future__ import annotations

import os

_EVERY_S = 1.0
_SPARE = 64 << 20  # bytes that are left free whatever the limit


class Watch:
    """Looks at the space that is left, and where that shrank by the limit, at what the job's own folders hold.

    Attributes:
        words: what was found, once it was too much.
    """

    def __init__(self, limit: int, folders: list[str]) -> None:
        self._limit, self._folders = limit, folders
        self._next = 0.0
        self._free = self._left()
        self.words = ""

    def _left(self) -> int:
        """Bytes that are free where the job writes."""
        free = []
        for folder in self._folders:
            try:
                s = os.statvfs(folder)
            except OSError:
                continue
            free.append(s.f_bavail * s.f_frsize)
        return min(free, default=1 << 62)

    def is_over(self, now: float) -> bool:
        """Whether the job has to be ended, once."""
        if now < self._next or self.words:
            return False
        self._next = now + _EVERY_S
        left = self._left()
        if left > _SPARE and self._free - left < self._limit:
            return False
        held = sum(map(_held, self._folders))
        if held > self._limit:
            self.words = f"its folders held {held / 1e6:.0f} MB (limit {self._limit / 1e6:.0f} MB)"
        elif left <= _SPARE and held > self._limit // 10:
            self.words = f"the disk was full, and its folders held {held / 1e6:.0f} MB of it"
        return bool(self.words)


def _held(folder: str) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_blocks * 512
            except OSError:
                continue
    return total
