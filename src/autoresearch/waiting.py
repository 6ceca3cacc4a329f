"""When a proposer's model cannot be had: until when it is waited for, who proposes meanwhile, and when the run stops for it.

All of it is read from the ledger's notes, so that a session after a kill waits on, or goes on with the fallback, as the one
before it did. A wait is not charged, counts as no experiment and as no failure.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from random import Random
from typing import Protocol

import anyio

from autoresearch.agenda import Wait
from autoresearch.books import Books, Ended
from autoresearch.budget import Ending
from autoresearch.errors import ProposerWaits
from autoresearch.text import one_line, show_clock

LONGEST_S = 24 * 3600.0  # of an outage that nobody knows the end of, in a run without a wall of time
_LATER = (0.02, 120.0)  # past a reset that was told, a share of the time until then: not all of the world at once
_LOOK_S = 5.0  # the clock may have been put forward, or the machine asleep


class _Numbered(Protocol):
    n: int


class Quota:
    """Knows whom to ask now."""

    def __init__(self, books: Books, clock: Callable[[], float] = time.time) -> None:
        self._books, self._clock = books, clock
        self._stopped: Ending | None = None
        self._said: tuple[str, Wait] | None = None
        self._stop = anyio.Event()

    def stop(self, ending: Ending) -> None:
        """Let nothing be waited for any more."""
        self._stopped = self._stopped or ending
        self._stop.set()

    def name(self, asked: str) -> str:
        """A proposer's own name in the mix, where a plan leaves it out."""
        return asked or next(iter(self._books.options.terms), self._books.parts.proposer.name)

    def is_out(self, name: str) -> bool:
        """Whether a proposer's model cannot be had now."""
        wait = self._books.history.agenda.waits.get(name)
        return wait is not None and wait.until > self._clock()

    async def who(self, ticket: _Numbered) -> str:
        """The proposer that answers for an experiment: the one that was asked, or its fallback; waits until there is one.

        Args:
            ticket: has the experiment's number, which may become another one meanwhile.

        Raises:
            Ended: it would be waited for longer than there is time, or the session is to end.
        """
        while True:
            asked = self.name(self._books.experiment(ticket.n).asked)
            name, wait = self._next(asked)
            if wait is None:
                self._say_instead(asked, name)
                return name
            if self._too_long(wait):
                raise Ended(self._ending(wait))
            if self._stopped is not None:
                raise Ended(self._stopped)
            await self._wait(wait)

    def _next(self, name: str) -> tuple[str, Wait | None]:
        """Along the fallbacks to one that can be had; else what has to be waited for first."""
        agenda, now = self._books.history.agenda, self._clock()
        seen: list[tuple[str, Wait]] = []
        while name and name not in agenda.unfit and all(name != other for other, _ in seen):
            wait = agenda.waits.get(name)
            if wait is None or wait.until <= now:
                return name, None
            seen.append((name, wait))
            name = self._books.terms(name).fallback
        return min(seen, key=lambda pair: pair[1].until)

    def _too_long(self, wait: Wait) -> bool:
        left_s = self._books.spending.left_s()
        if wait.told:
            return wait.until - self._clock() > left_s
        return wait.until - wait.since > (left_s if math.isfinite(left_s) else LONGEST_S)

    def _ending(self, wait: Wait) -> Ending:
        when = f"it can be had again at {show_clock(wait.until, self._clock())}" if wait.told else "no end of it is known"
        return Ending("quota", f"{wait.words}: {when}, and there is no time left to wait for it")

    async def _wait(self, wait: Wait) -> None:
        seconds = max(0.0, wait.until - self._clock())
        if self._said != ("waiting", wait):
            self._books.watch("waiting", {"n": None, "seconds": seconds, "until": wait.until, "words": wait.words})
            self._said = "waiting", wait
        with self._books.spending.waiting(), anyio.move_on_after(min(seconds, _LOOK_S)):
            await self._stop.wait()

    def _say_instead(self, asked: str, name: str) -> None:
        """Say once that another one proposes until the first can be had."""
        wait = self._books.history.agenda.waits.get(asked)
        if name == asked or wait is None or self._said == (name, wait):
            return
        self._said = name, wait
        self._books.watch("instead", {"proposer": asked, "fallback": name, "until": wait.until, "words": wait.words})

    # -- what came of asking ----------------------------------------------------------------------------------------

    def put_off(self, n: int | None, name: str, refusal: ProposerWaits) -> None:
        """Record that a proposer's model cannot be had, and when it is asked again."""
        before, now = self._books.history.agenda.waits.get(name), self._clock()
        tries, since = (before.tries + 1, before.since) if before is not None else (1, now)
        retry_s = refusal.retry_after_s
        told = retry_s is not None and math.isfinite(retry_s) and retry_s > 0
        random = Random(f"{self._books.options.settings.seed}/{n}/{name}/{tries}/wait").random()
        wait_s = self._back_off_s(tries, random) if tries > 1 or not told else 0.0
        if told and retry_s is not None:
            wait_s = max(wait_s, retry_s + min(_LATER[0] * retry_s, _LATER[1]) * random)
        until, words = now + wait_s, self._words(name, refusal, now if told else None)
        if before is not None and before.told and not told and before.until > until:
            until, words, told = before.until, before.words, True  # what was told before holds, where nothing new is
        body = {"proposer": name, "reason": refusal.reason, "until": until, "since": since, "tries": tries}
        self._books.note(n, "waiting", **body, told=told, words=words)

    def _back_off_s(self, tries: int, random: float) -> float:
        first_s, longest_s = self._books.options.quota_waits_s
        return min(first_s * 2.0 ** min(tries - 1, 60), longest_s) * (1.0 - 0.5 * random)

    def _words(self, name: str, refusal: ProposerWaits, now: float | None) -> str:
        what = "rate limit" if refusal.reason == "rate_limit" else "outage"
        if now is not None and refusal.retry_after_s is not None:
            return f"{what} of {name} (resets {show_clock(now + refusal.retry_after_s, now)})"
        return f"{what} of {name} ({one_line(refusal.words, 120)})"

    def answered(self, name: str) -> None:
        """It could be had again."""
        wait = self._books.history.agenda.waits.get(name)
        if wait is not None and wait.until <= self._clock():
            self._books.note(None, "back", proposer=name)

    def unfit(self, n: int, name: str, words: str) -> bool:
        """Do without a fallback that has nothing to propose; False where `name` is no fallback but was asked itself."""
        if name == self.name(self._books.experiment(n).asked):
            return False
        self._books.note(n, "unfit", proposer=name, words=one_line(words))
        return True
