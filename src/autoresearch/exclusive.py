"""The machine as one room for the evaluations of all runs: those that measure times have it to themselves.

Two lock files. `room.lock` is held while an evaluation runs, alone or shared. `turnstile.lock` is passed on the way in, and
kept by who finds the room taken, so that nobody who comes later gets in before. Waiting is polling: it can be cancelled.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import anyio

from autoresearch import lock
from autoresearch.errors import SetupError

_TOLD_AFTER_S = 1.0
_SHORTEST_S, _LONGEST_S = 0.001, 0.1  # between two looks: a twentieth of the time waited so far
_POLITE_S = 0.15  # longer than between two looks of anybody else


class _Lock(Protocol):
    """One that several hold together, or one alone; both are for this machine or for this session."""

    def take(self, *, alone: bool) -> bool: ...
    def drop(self) -> None: ...
    def sign(self, words: str) -> None: ...
    def others(self) -> str: ...
    def close(self) -> None: ...


class Room:
    """What one session needs to let its evaluations in. Files are opened when they are needed first, and closed by `close`.

    Where the machine's lock folder cannot be used, and inside an evaluation (it holds the room already, so that waiting for
    it would never end), the evaluations of this session alone keep out of each other's way.

    Attributes:
        say: told why it takes long, once for each wait, and what cannot be kept.
        uncharged: entered while all that this session could run waits for other runs.
        waited_s: for how long evaluations waited, added up.
    """

    def __init__(self, run: str, say: Callable[[str], None] = lambda words: None) -> None:
        self.say = say
        self.uncharged: Callable[[], AbstractContextManager[object]] = nullcontext
        self.waited_s = 0.0
        self._name = lock.holder_words(run)
        self._idle: list[_Door] = []  # one for as many as ran at the same time: locks belong to an open file
        self._own: tuple[_Place, _Place] | None = (_Place(), _Place()) if "AUTORESEARCH_ID" in os.environ else None
        self._inside = self._waiting = 0
        self._left = anyio.Event()
        self._polite_until = 0.0
        self._stall: ExitStack | None = None
        self._since = 0.0
        self._told = False

    @asynccontextmanager
    async def hold(self, *, alone: bool = False) -> AsyncIterator[None]:
        """Be in the room: alone, or with all others that need not be alone."""
        door = self._idle.pop() if self._idle else self._open()
        try:
            polite = alone and time.monotonic() < self._polite_until
            if polite or not door.enter(alone=alone):
                await self._wait(door, alone, self._polite_until if alone else 0.0)
            self._move(inside=1)
            try:
                yield
            finally:
                self._move(inside=-1)
        finally:
            crowded = door.leave(alone=alone)
            self._idle.append(door)
            if self._waiting:
                self._left.set()
                self._left = anyio.Event()
            elif crowded:  # by others: who comes back at once would always be before them
                self._polite_until = time.monotonic() + _POLITE_S

    async def _wait(self, door: _Door, alone: bool, polite_until: float) -> None:
        began = time.monotonic()
        self._move(waiting=1)
        try:
            while time.monotonic() < polite_until or not door.enter(alone=alone):
                if self._stall is not None and not self._told and time.monotonic() - self._since >= _TOLD_AFTER_S:
                    self._told = True
                    self.say(_words(door.others(), alone=alone))
                with anyio.move_on_after(min(max((time.monotonic() - began) / 20, _SHORTEST_S), _LONGEST_S)):
                    await self._left.wait()
        finally:
            self.waited_s += time.monotonic() - began
            self._move(waiting=-1)

    def _move(self, *, inside: int = 0, waiting: int = 0) -> None:
        """Count who is where; the session stalls while some wait and none is inside."""
        self._inside += inside
        self._waiting += waiting
        stalls = self._waiting > 0 and not self._inside
        if stalls and self._stall is None:
            self._stall, self._since, self._told = ExitStack(), time.monotonic(), False
            self._stall.enter_context(self.uncharged())
        elif not stalls and self._stall is not None:
            self._stall.close()
            self._stall = None

    def _open(self) -> _Door:
        if self._own is None:
            try:
                return _Door(self._file("turnstile"), self._file("room"), self._name)
            except (SetupError, OSError) as error:
                self._own = (_Place(), _Place())
                self.say(f"evaluations of other runs on this machine are not kept out of the way of this one's: {error}")
        return _Door(_Kept(self._own[0]), _Kept(self._own[1]), self._name)

    def _file(self, name: str) -> _Lock:
        fd = lock.open_shared(lock.machine_folder() / f"{name}.lock")
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(fd, fcntl.LOCK_UN)
        except BlockingIOError:
            pass  # somebody holds it, so it works
        except OSError:
            os.close(fd)
            raise
        return _Flock(fd)

    def close(self) -> None:
        for door in self._idle:
            door.close()
        self._idle.clear()


def _words(others: str, *, alone: bool) -> str:
    named = f" ({others})" if others else ""
    if alone:
        return f"waiting for an evaluation of another run{named}: this task's times are measured alone"
    return f"waiting for another run{named}: its times are measured alone"


class _Door:
    """The way of one evaluation at a time into the room."""

    def __init__(self, turnstile: _Lock, room: _Lock, name: str) -> None:
        self._turnstile, self._room, self._name = turnstile, room, name
        self._in_turnstile = False

    def enter(self, *, alone: bool) -> bool:
        """Try to get in; keeps the turnstile where only the room is taken."""
        if not self._in_turnstile and not self._turnstile.take(alone=alone):
            return False
        if not self._room.take(alone=alone):
            if not self._in_turnstile:
                self._in_turnstile = True
                self._turnstile.sign(self._name)
            return False
        self._turnstile.drop()
        self._in_turnstile = False
        self._room.sign(self._name)
        return True

    def leave(self, *, alone: bool) -> bool:
        """Leave the room, or give up waiting; tells whether somebody waits where this one was alone."""
        self._room.drop()
        if self._in_turnstile:
            self._turnstile.drop()
            self._in_turnstile = False
            return False
        if not alone:
            return False
        crowded = not self._turnstile.take(alone=True)
        self._turnstile.drop()
        return crowded

    def others(self) -> str:
        """Who is in the way, `` where it is not known."""
        return ("" if self._in_turnstile else self._turnstile.others()) or self._room.others()

    def close(self) -> None:
        self._turnstile.close()
        self._room.close()


class _Flock:
    """A lock of the machine's."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def take(self, *, alone: bool) -> bool:
        try:
            fcntl.flock(self._fd, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def drop(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def sign(self, words: str) -> None:
        if os.pread(self._fd, 200, 0) != words.encode():
            lock.sign(self._fd, words)

    def others(self) -> str:
        """As signed by the last who came, if that one is still there; else the processes that hold it."""
        words, pids = lock.signature(self._fd), lock.holders(self._fd) - {os.getpid()}
        signed = re.search(r"process (\d+)$", words)
        if signed is not None and (int(signed[1]) in pids or (not pids and int(signed[1]) != os.getpid())):
            return words
        return ", ".join(f"process {pid}" for pid in sorted(pids))

    def close(self) -> None:
        os.close(self._fd)


@dataclass(slots=True)
class _Place:
    """What is locked within this session: how many are there, and whether one is there alone."""

    count: int = 0
    alone: bool = False


class _Kept:
    """A lock within this session."""

    def __init__(self, place: _Place) -> None:
        self._place = place
        self._held = False

    def take(self, *, alone: bool) -> bool:
        place = self._place
        if place.alone or (alone and place.count):
            return False
        place.count, place.alone, self._held = place.count + 1, alone, True
        return True

    def drop(self) -> None:
        if self._held:
            self._place.count, self._place.alone, self._held = self._place.count - 1, False, False

    def sign(self, words: str) -> None:
        pass

    def others(self) -> str:
        return ""

    def close(self) -> None:
        self.drop()
