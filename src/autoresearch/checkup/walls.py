"""Which wall stands between the task's command and its number: opened one after the other, until it measures.

First by hints, which cost a failing evaluation each; then, where the command works outside, by opening all walls of a
kind and halving what was opened (Zeller and Hildebrandt 2002, delta debugging, without the complements' order).
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoresearch.checkup import causes, mend, reading
from autoresearch.checkup.causes import Change
from autoresearch.checkup.measure import OPEN, SEALED, Listener, Say, Sealed, Subject, Tried, outside
from autoresearch.checkup.mend import Mend
from autoresearch.checkup.surroundings import Surroundings
from autoresearch.errors import SetupError
from autoresearch.process.environment import Openings
from autoresearch.records import Outcome

PATIENCE_S = 10.0  # with a command that may wait for a network that is closed
_ROUNDS = 25  # changes that helped
_TRIES = 120  # evaluations in all
_MANY = 300  # entries of one kind
_DEEPER = (".cache", ".config", ".local")
_HEAVY = 20_000  # files in a folder of HOME that is not opened to try: they would all be looked at each time


@dataclass(frozen=True, slots=True)
class Search:
    """How far it came.

    Attributes:
        text: the task file that measures, or that comes furthest.
        changes: what was changed for that.
        outside: the evaluation outside, None if none was needed.
    """

    text: str
    tried: Tried
    changes: tuple[Change, ...] = ()
    outside: Tried | None = None

    @property
    def ok(self) -> bool:
        return self.tried.ok


class Walls:
    """Finds the lines that let a task measure in a sealed tree."""

    def __init__(self, subject: Subject, near: Surroundings, supervisor: Listener, say: Say) -> None:
        self._subject, self._near, self._supervisor, self._say = subject, near, supervisor, say
        self._left = _TRIES
        self._failed: set[str] = set()  # texts that need no second try

    async def search(self, text: str, tried: Tried) -> Search:
        """From a task file whose evaluation failed to one that measures, as far as anything is known."""
        found = Search(text, tried)
        if tried.readout.outcome is Outcome.NO_MEASUREMENT:
            found = await self.by_hints(found)
            if found.ok:
                return await self._fewest(text, found)
        self._say("it does not measure in a sealed tree; trying it outside, in your own surroundings")
        beyond = await outside(self._subject, found.text, self._supervisor)
        found = Search(found.text, found.tried, found.changes, beyond)
        if not beyond.ok:
            self._say(f"outside: {beyond.words}")
        found = await self.by_hints(found)
        if not found.ok and (beyond.ok or (await self._again_outside(found)).ok):
            found = await self._by_halves(found)
        return await self._fewest(text, found) if found.ok else found

    async def _again_outside(self, found: Search) -> Tried:
        """Outside once more, where a hint changed the command or how its number is read."""
        assert found.outside is not None
        if any(m.key == "command" or m.table == "metric" for change in found.changes for m in change):
            return await outside(self._subject, found.text, self._supervisor)
        return found.outside

    async def trial(self, text: str, openings: Openings = SEALED, *, timeout_s: float | None = None) -> Tried | None:
        """One evaluation of a task file's text; None if it cannot even be set up."""
        self._left -= 1
        try:
            async with Sealed(self._subject, text, self._supervisor, openings) as sealed:
                tried = await sealed.evaluate(timeout_s=timeout_s)
            if not tried.ok and openings == SEALED:
                self._failed.add(text)
            return tried
        except SetupError as error:
            self._say(f"  {error}")
            return None

    # -- by hints -----------------------------------------------------------------------------------------------------

    async def by_hints(self, found: Search) -> Search:
        """As far as what the evaluation says leads."""
        refused: set[Change] = set()
        for _ in range(_ROUNDS):
            if found.ok:
                return found
            further = await self._step(found, refused)
            if further is None:
                return found
            found = further
        return found

    async def _step(self, found: Search, refused: set[Change]) -> Search | None:
        """The first hint that brings it further."""
        task = self._subject.task_of(found.text)
        candidates = [*reading.hints(found.tried, task), *causes.hints(found.tried, task, self._near)]
        for change in candidates:
            if change in refused or self._left <= 0:
                continue
            refused.add(change)
            text = self._applied(found.text, change)
            if text is None or text == found.text or text in self._failed:
                continue
            self._say(f"trying {'; '.join(mend.lines(found.text, text))}")
            tried = await self.trial(text)
            if tried is None:
                continue
            next_ = Search(text, tried, (*found.changes, change), found.outside)
            if tried.ok or further(found.tried, tried):
                return next_
            if tried.readout.outcome is Outcome.BUILD and any(m.key in ("build", "setup") for m in change):
                built = await self.by_hints(next_)  # the build has walls of its own
                if built.ok:
                    return built
        return None

    def _applied(self, text: str, change: Sequence[Mend]) -> str | None:
        try:
            return mend.apply(text, change)
        except SetupError as error:
            self._say(f"  {error}")
            return None

    # -- by halves ----------------------------------------------------------------------------------------------------

    async def _by_halves(self, found: Search) -> Search:
        """Open all walls, and close again what need not be open."""
        self._say("nothing it says helps further: opening all walls at once")
        files = [_file(entry.rstrip("/")) for entry in self._near.unknown if self._shows(found.text, entry)][:_MANY]
        names = [_variable(name) for name in sorted(self._near.environ) if causes.passable(name)]
        kinds: list[tuple[str, list[Mend], Openings]] = [
            ("files that git does not know", files, SEALED),
            ("your environment", names, Openings(environment=True)),
            ("your HOME", self._home(), Openings(home=True)),
            ("what the sandbox leaves out", [_SANDBOX], Openings(sandbox=True)),
            ("the network", [_NETWORK], Openings(network=True)),  # last: without a sandbox it is open too
        ]
        everything = self._applied(found.text, tuple(files))
        if everything is None:
            return found
        tried = await self.trial(everything, OPEN)
        if tried is None or not tried.ok:
            return await self._copies(found, files, tried)
        chosen: list[Mend] = []
        for i, (words, mends, _) in enumerate(kinds):
            rest = kinds[i + 1 :]
            needed = await self._needed(found.text, chosen, mends, rest, words)
            chosen += needed
        text = self._applied(found.text, tuple(chosen))
        last = await self.trial(text) if text is not None else None
        if text is None or last is None or not last.ok:
            return found
        return Search(text, last, (*found.changes, *((m,) for m in chosen)), found.outside)

    def _shows(self, text: str, entry: str) -> bool:
        table = self._subject.task_of(text).evaluate
        return entry.rstrip("/") not in (*table.inputs, *table.copies, *table.cache)

    def _home(self) -> list[Mend]:
        """What lies in HOME, one level deeper where programs keep their things; not the project, and nothing huge."""
        home, project = self._near.home, self._subject.paths.project.resolve()
        try:
            names = sorted(p.name for p in home.iterdir())
            parts = [
                f"{n}/{p.name}" for n in names if n in _DEEPER and (home / n).is_dir() for p in sorted((home / n).iterdir())
            ]
        except OSError:
            return []
        parts += [n for n in names if n not in _DEEPER]
        apart = [p for p in parts if not project.is_relative_to((home / p).resolve()) and p != ".cache/autoresearch-runs"]
        return [_home_file(f"~/{part}") for part in apart[:_MANY] if not is_heavy(home / part)]

    async def _needed(
        self,
        text: str,
        chosen: Sequence[Mend],
        mends: Sequence[Mend],
        rest: Sequence[tuple[str, list[Mend], Openings]],
        words: str,
    ) -> list[Mend]:
        """The fewest of some mends that are needed while the walls after them are open."""
        openings = Openings(
            home=any(o.home for _, _, o in rest),
            environment=any(o.environment for _, _, o in rest),
            network=any(o.network for _, _, o in rest),
            sandbox=any(o.sandbox for _, _, o in rest),
        )
        files = [m for w, ms, _ in rest for m in ms if m.kind == "file"]

        async def works(some: Sequence[Mend]) -> bool:
            self._say(f"  trying {len(some)} of {len(mends)}")
            applied = self._applied(text, (*chosen, *some, *files))
            tried = await self.trial(applied, openings) if applied is not None and self._left > 0 else None
            return tried is not None and tried.ok

        if await works([]):
            return []
        self._say(f"it needs something of {words}: finding out what")
        return await fewest(list(mends), works)

    async def _copies(self, found: Search, files: Sequence[Mend], opened: Tried | None) -> Search:
        """All walls open and still nothing: perhaps it writes what is shown read-only."""
        copies = [Mend("evaluate", "copy", add=m.add, because=f"the command writes {m.add}", kind="copy") for m in files]
        text = self._applied(found.text, tuple(copies))
        tried = await self.trial(text, OPEN) if text is not None and copies else None
        if text is None or tried is None or not tried.ok:
            return found

        async def works(some: Sequence[Mend]) -> bool:
            applied = self._applied(found.text, some)
            end = await self.trial(applied) if applied is not None and self._left > 0 else None
            return end is not None and end.ok

        if not await works(copies):
            return found
        needed = await fewest(copies, works)
        text = mend.apply(found.text, needed)
        last = await self.trial(text)
        return Search(text, last, (*found.changes, tuple(needed)), found.outside) if last is not None and last.ok else found

    # -- no more than needed ------------------------------------------------------------------------------------------

    async def _fewest(self, before: str, found: Search) -> Search:
        """Leave out what turned out not to be needed."""
        found = await self._offline(before, found)
        changes = list(found.changes)
        for change in list(changes) if len(changes) > 1 else []:
            rest = [c for c in changes if c is not change]
            text = self._applied_all(before, rest)
            if text is None or text in self._failed:
                continue
            tried = await self.trial(text)
            if tried is not None and tried.ok:
                changes, found = rest, Search(text, tried, tuple(rest), found.outside)
        return found

    async def _offline(self, before: str, found: Search) -> Search:
        """Close the network again where it was opened only because a variable leads there."""
        closed = tuple(tuple(m for m in change if m.kind != "network" or len(change) == 1) for change in found.changes)
        text = self._applied_all(before, closed)
        if closed == found.changes or text is None:
            return found
        tried = await self.trial(text, timeout_s=3 * found.tried.readout.duration_s + PATIENCE_S)
        return Search(text, tried, closed, found.outside) if tried is not None and tried.ok else found

    def _applied_all(self, text: str, changes: Sequence[Change]) -> str | None:
        return self._applied(text, tuple(m for change in changes for m in change))


def is_heavy(folder: Path) -> bool:
    """Whether a folder holds very many files."""
    files = (name for _, _, names in os.walk(folder) for name in names)
    return next(itertools.islice(files, _HEAVY, None), None) is not None


async def fewest(items: list[Mend], works: Callable[[Sequence[Mend]], Awaitable[bool]]) -> list[Mend]:
    """A smallest set that works, by halving; `items` as a whole is known to.

    Costs about 2 log2(n) trials for each item that is needed.
    """

    async def reduce(some: list[Mend], besides: list[Mend]) -> list[Mend]:
        if len(some) <= 1:
            return some
        first, second = some[: len(some) // 2], some[len(some) // 2 :]
        if await works([*besides, *first]):
            return await reduce(first, besides)
        if await works([*besides, *second]):
            return await reduce(second, besides)
        left = await reduce(first, [*besides, *second])
        return [*left, *await reduce(second, [*besides, *left])]

    return await reduce(items, [])


def further(before: Tried, after: Tried) -> bool:
    """Whether a change of the task made the evaluation fail of something else."""
    if after.readout.outcome in (Outcome.TIMEOUT, Outcome.BUILD) and before.readout.outcome is not Outcome.BUILD:
        return False
    return _failure(before) != _failure(after)


def _failure(tried: Tried) -> tuple[str, str, int | None]:
    words = re.sub(r"\b\d+(\.\d+)?\b|0x[0-9a-f]+", "#", tried.readout.words)
    last = [row.strip() for row in tried.output.splitlines() if row.strip()][-3:]
    return tried.readout.outcome.value, words + re.sub(r"\d+", "#", "\n".join(last)), tried.readout.exit_code


_NETWORK = Mend("evaluate", "network", "on", because="it does not measure without the network", kind="network")
_SANDBOX = Mend(
    "evaluate",
    "sandbox",
    "none",
    because="it does not measure in a sandbox, and nothing that it says tells why",
    kind="sandbox",
)


def _file(name: str) -> Mend:
    return Mend(
        "evaluate", "inputs", add=name, because=f"it does not measure without {name}, which git does not know", kind="file"
    )


def _variable(name: str) -> Mend:
    return Mend("evaluate", "env", add=name, because=f"it does not measure without the variable {name}", kind="variable")


def _home_file(name: str) -> Mend:
    because = f"it does not measure without {name}, and an evaluation has a HOME of its own"
    return Mend("evaluate", "inputs", add=name, because=because, kind="home")
