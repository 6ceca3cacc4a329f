"""A job's two output streams: logged with a limit, kept, and covered where something must not be seen.

Imported by the supervisor alone: standard library only, no other module of ours.
"""

from __future__ import annotations

import os
import re

TAIL = 1 << 15
EVENTS_LIMIT = 1 << 30  # of what somebody reads along


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

    What must not be seen is covered in log, events and tail; standard output itself is kept as it came.
    """

    def __init__(self, log: str | None, limit: int, keep: int, masked: list[list[str]], *, events: str | None = None) -> None:
        self._covers = (Cover(masked), Cover(masked))
        self.stdout, self.tail = bytearray(), bytearray()
        self.stdout_bytes = self.logged = self.left_out = 0
        self.fault = ""
        self._limit, self._keep = limit, keep
        self._fd = _new(log)
        self._events, self._passed_on = _new(events), 0

    def take(self, data: bytes, *, is_stdout: bool) -> None:
        if is_stdout:
            self.stdout_bytes += len(data)
            self.stdout += data
            if len(self.stdout) > 2 * self._keep:
                del self.stdout[: -self._keep]
        shown = self._covers[is_stdout].feed(data)
        self._show(shown)
        if is_stdout:
            self._pass_on(shown)

    def _show(self, data: bytes) -> None:
        self.tail += data
        if len(self.tail) > 2 * TAIL:
            del self.tail[:-TAIL]
        room = self._limit - self.logged
        self._write(data[:room] if room > 0 else b"")
        self.left_out += max(0, len(data) - max(0, room))

    def _pass_on(self, data: bytes) -> None:
        if self._passed_on + len(data) <= EVENTS_LIMIT:
            self._passed_on += len(data)
            self._put(self._events, data)

    def _write(self, data: bytes) -> None:
        self.logged += len(data)
        self._put(self._fd, data)

    def _put(self, fd: int, data: bytes) -> None:
        if fd < 0 or not data or self.fault:
            return
        try:
            while data:
                data = data[os.write(fd, data) :]
        except OSError as error:
            self.fault = f"cannot write the log: {error.strerror}"

    def close(self) -> None:
        for is_stdout, cover in enumerate(self._covers):
            shown = cover.feed(b"", last=True)
            self._show(shown)
            if is_stdout:
                self._pass_on(shown)
        if self.left_out and self._fd >= 0:
            tail = bytes(self.tail[-TAIL:])
            self._write(b"\n[... %d bytes left out; the last %d follow ...]\n" % (self.left_out, len(tail)) + tail)
        for fd in (self._fd, self._events):
            if fd >= 0:
                os.close(fd)


def _new(path: str | None) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600) if path else -1
