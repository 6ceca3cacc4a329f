"""A job's two output streams: logged with a limit, kept, and covered where something must not be seen.

Imported by the supervisor alone: standard library only, no other module of ours.
"""

from __future__ import annotations

import os
import re

TAIL = 1 << 15


class Cover:
    """Replaces texts in a stream of bytes, also where one is cut in two by the reading."""

    def __init__(self, pairs: list[list[str]]) -> None:
        self._covers = {text.encode(): cover.encode() for text, cover in pairs}
        longest_first = sorted(self._covers, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first)))
        self._held = b""

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """What may be shown; what could be the beginning of a text, or of a longer one, is held until more is known."""
        if not self._covers:
            return data
        data, shown, at = self._held + data, bytearray(), 0
        while True:
            begun = len(data) if last else self._begun(data, at)
            found = self._pattern.search(data, at)
            if found is None or found.start() >= begun:
                self._held = data[begun:]
                return bytes(shown + data[at:begun])
            shown += data[at : found.start()] + self._covers[found[0]]
            at = found.end()

    def _begun(self, data: bytes, at: int) -> int:
        """Where the earliest text begins that the end of the data may be the beginning of."""
        earliest = len(data)
        for text in self._covers:
            start = data.find(text[:1], max(at, len(data) - len(text) + 1))
            while 0 <= start < earliest:
                if text.startswith(data[start:]):
                    earliest = start
                start = data.find(text[:1], start + 1)
        return earliest


class Output:
    """One job's two output streams: a log with a limit, all of standard output up to a limit, a tail of both.

    What must not be seen is covered in log and tail; standard output itself is kept as it came.
    """

    def __init__(self, log: str | None, limit: int, keep: int, masked: list[list[str]]) -> None:
        self._covers = (Cover(masked), Cover(masked))
        self.stdout, self.tail = bytearray(), bytearray()
        self.stdout_bytes = self.logged = self.left_out = 0
        self.fault = ""
        self._limit, self._keep = limit, keep
        self._fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600) if log else -1

    def take(self, data: bytes, *, is_stdout: bool) -> None:
        if is_stdout:
            self.stdout_bytes += len(data)
            self.stdout += data
            if len(self.stdout) > 2 * self._keep:
                del self.stdout[: -self._keep]
        self._show(self._covers[is_stdout].feed(data))

    def _show(self, data: bytes) -> None:
        self.tail += data
        if len(self.tail) > 2 * TAIL:
            del self.tail[:-TAIL]
        room = self._limit - self.logged
        self._write(data[:room] if room > 0 else b"")
        self.left_out += max(0, len(data) - max(0, room))

    def _write(self, data: bytes) -> None:
        if self._fd < 0 or not data or self.fault:
            return
        self.logged += len(data)
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            self.fault = f"cannot write the log: {error.strerror}"

    def close(self) -> None:
        for cover in self._covers:
            self._show(cover.feed(b"", last=True))
        if self.left_out and self._fd >= 0:
            tail = bytes(self.tail[-TAIL:])
            self._write(b"\n[... %d bytes left out; the last %d follow ...]\n" % (self.left_out, len(tail)) + tail)
        if self._fd >= 0:
            os.close(self._fd)
