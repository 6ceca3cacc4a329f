"""An agent program's events, read along while it runs: what they say is held to its caps, what it costs written down."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import anyio

from autoresearch.errors import DiskFault, ungrouped
from autoresearch.patience import Patience
from autoresearch.process import Exit, Job, Supervisor
from autoresearch.proposers.outcome import Stopped
from autoresearch.proposers.program import Program, Transcript
from autoresearch.records import Usage
from autoresearch.text import counted, show_bytes

_LOOK_S = 0.05
_LINGER_S = 20.0  # a program that has said its last word and does not end
_NO_PROGRAM = {os.strerror(e) for e in (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)}
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, RecursionError)
_CHUNK = 1 << 25  # bytes that are read at once; a line that is longer is none
_MOST = 1 << 30  # bytes of all events of a call
_MOST_TOKENS = 10**9  # of one answer, in one count


@dataclass(frozen=True, slots=True)
class Caps:
    """What one call may take."""

    turns: int
    tokens: float
    cost_usd: float

    def less(self, turns: int, tokens: int, cost_usd: float) -> Caps:
        """What a further call may take."""
        return Caps(self.turns - turns, self.tokens - tokens, self.cost_usd - cost_usd)

    @property
    def any(self) -> bool:
        return self.turns > 0 and self.tokens > 0 and self.cost_usd > 0


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended; `exit` is None where we ended it, and `stopped` why, `` where it had said why itself."""

    seen: Transcript
    exit: Exit | None = None
    stopped: Stopped = ""

    @property
    def how(self) -> str:
        """`` for exit code 0, else `exit 1`, `signal 9`."""
        if self.exit is None or self.exit.exit == 0:
            return ""
        return self.exit.error or (f"exit {self.exit.exit}" if self.exit.exit is not None else f"signal {self.exit.signal}")

    @property
    def last_line(self) -> str:
        """Of what it printed beside its events."""
        tail = self.exit.tail if self.exit is not None else ""
        lines = [line.strip() for line in tail.splitlines() if line.strip() and not line.startswith("{")]
        return lines[-1] if lines else ""

    @property
    def is_missing(self) -> bool:
        """Whether there was no program to start."""
        return self.exit is not None and self.exit.error in _NO_PROGRAM


class Along:
    """Reads the JSON lines of files that grow.

    Args:
        files: which files these are, asked each time, and from which byte on each is read.

    Attributes:
        left: bytes that are still read; a program that writes more than any needs is not followed.
    """

    def __init__(self, files: Callable[[], Mapping[Path, int]]) -> None:
        self._files = files
        self._read: dict[Path, int] = {}
        self.left = _MOST

    def more(self, *, last: bool = False) -> Iterator[tuple[Path, Mapping[str, Any]]]:
        """The events that came since, with their files; a line that is not finished waits, unless it is the last look."""
        for path, start in self._files().items():
            self._read.setdefault(path, start)
            while lines := self._lines(path, last=last):
                yield from ((path, event) for event in filter(None, map(_event, lines)))

    def _lines(self, path: Path, *, last: bool) -> list[bytes]:
        """The next lines of a file, as many as are read at once; none at its end."""
        most = min(_CHUNK, self.left)
        try:
            with open(path, "rb", opener=_open) as file:
                if os.fstat(file.fileno()).st_size < self._read[path]:
                    self._read[path] = 0  # it was cut short, and is written anew
                file.seek(self._read[path])
                data = file.read(most)
        except OSError:
            return []
        is_full, end = len(data) == most, data.rfind(b"\n") + 1
        if (last and not is_full) or (is_full and not end):
            end = len(data)
        self._read[path] += end
        self.left -= end
        return data[:end].splitlines()


def _open(path: str, flags: int) -> int:
    """Whatever was put in a file's place: no link is followed, no pipe waited for."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _event(line: bytes) -> Mapping[str, Any] | None:
    if not line.startswith(b"{"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


class Reading:
    """What a program has said so far, with what it cost on disk.

    Args:
        cost: what a transcript comes to in USD, None where that is not known.
    """

    def __init__(
        self,
        program: Program,
        events: Path,
        beside: Callable[[], Mapping[Path, int]],
        cost: Callable[[Transcript], float | None],
    ) -> None:
        self.seen = Transcript()
        self._program, self._cost = program, cost
        self._events = events
        self._files = Along(lambda: {events: 0, **beside()})
        self._told = events.with_name(f"cost-{events.stem}.jsonl")
        self._written: tuple[float, int] = (0.0, 0)

    def more(self, *, last: bool = False) -> bool:
        """Read on; whether there was anything."""
        count = 0
        for path, event in self._files.more(last=last):
            count += 1
            self._take(event, beside=path != self._events)
        if self._files.left <= 0 and not self.seen.final:
            self.seen.final, self.seen.words = "crash", f"it wrote more than {show_bytes(_MOST)} of events"
        if count:
            self._write_down()
        return bool(count)

    def _take(self, event: Mapping[str, Any], *, beside: bool) -> None:
        """Take in an event; what it says of tokens is never taken back by a later one."""
        kinds = getattr(self._program, "beside", None)
        if beside and kinds is not None and event.get("type") not in kinds:
            return
        before = dict(self.seen.usage)
        try:
            self._program.read(event, self.seen)
        except _MALFORMED:
            pass
        if self.seen.usage != before:
            self.seen.usage = {key: _sound(usage, before.get(key, Usage())) for key, usage in self.seen.usage.items()}

    def end(self, how: Exit | None) -> None:
        """Read to the end, and take in how it ended; None where we ended it."""
        self.more(last=True)
        self._program.end(how.exit if how is not None else None, how.tail if how is not None else "", self.seen)

    @property
    def cost_usd(self) -> float:
        cost_usd = self._cost(self.seen) or 0.0
        return cost_usd if math.isfinite(cost_usd) and cost_usd > 0 else 0.0

    def words(self) -> str:
        """How far it is: `3 turns, 12,000 tokens, 0.04 USD`."""
        cost = self._cost(self.seen)
        money = "" if cost is None else f", {cost:.2f} USD"
        return f"{counted(self.seen.turns, 'turn')}, {self.seen.tokens:,} tokens{money}"

    def _write_down(self) -> None:
        """The running total, in place of the last one.

        Raises:
            DiskFault: it cannot be written.
        """
        spent = self.cost_usd, self.seen.tokens
        if spent == self._written:
            return
        partial = self._told.with_suffix(".partial")
        try:
            partial.write_text(json.dumps({"cost_usd": spent[0], "tokens": spent[1]}) + "\n")
            os.replace(partial, self._told)
        except OSError as error:
            raise DiskFault(f"cannot record the cost in {self._told}: {error.strerror}") from error
        self._written = spent


def _sound(told: Usage, before: Usage) -> Usage:
    """Counts that can be, and none below what was told before."""
    pairs = zip(astuple(told), astuple(before), strict=True)
    return Usage(*(max(_count(new), old) for new, old in pairs))


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float) and 0 <= value <= _MOST_TOKENS else 0


async def run(
    supervisor: Supervisor, job: Job, reading: Reading, caps: Caps, patience: Patience, say: Callable[[str], None]
) -> Ending:
    """Run a program to its end, or to where it passes a cap or has said that it cannot go on.

    Args:
        say: is told how far it is, answer by answer.
    Raises:
        DiskFault, RunnerLost: the machine's fault.
    """
    ends: list[Exit] = []
    stopped: Stopped = ""
    try:
        with ungrouped(), patience.running():
            async with anyio.create_task_group() as tasks:

                async def work() -> None:
                    ends.append(await supervisor.run(job))
                    tasks.cancel_scope.cancel()

                tasks.start_soon(work)
                stopped = await _watch(reading, caps, say)
                tasks.cancel_scope.cancel()
    except TimeoutError:
        stopped = "proposer_timeout"
    finally:
        reading.end(ends[0] if ends else None)
    return Ending(reading.seen, *((ends[0], "") if ends else (None, stopped)))


async def _watch(reading: Reading, caps: Caps, say: Callable[[str], None]) -> Stopped:
    """Look until it has to be ended; gives the cap that it passed, `` for none."""
    told: float | None = None  # since when there is a last word
    turns = 0
    while True:
        await anyio.sleep(_LOOK_S)
        reading.more()
        if reading.seen.turns != turns:
            turns = reading.seen.turns
            say(reading.words())
        final = reading.seen.final
        told = (told or anyio.current_time()) if final else None
        if told and (final != "done" or anyio.current_time() - told > _LINGER_S):
            return ""
        if not final and (passed := _passed(reading, caps)):
            return passed


def _passed(reading: Reading, caps: Caps) -> Stopped:
    if reading.seen.turns > caps.turns:
        return "proposer_turns"
    if reading.seen.tokens > caps.tokens:
        return "proposer_tokens"
    return "proposer_cost" if reading.cost_usd > caps.cost_usd else ""
