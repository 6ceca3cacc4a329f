"""Evaluations as calls of a Python function, in threads of this process."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel

from autoresearch.contracts import Place
from autoresearch.records import Order, Outcome, Readout
from autoresearch.text import describe


class Threads:
    """Daemon threads for callables: one that hangs is left behind, and does not hold the interpreter at its end."""

    def __init__(self) -> None:
        self._idle: list[queue.SimpleQueue[Any]] = []

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run `function` in a thread; when cancelled, the thread is abandoned to its fate."""
        inbox = self._idle.pop() if self._idle else self._start()
        done = anyio.Event()
        box: dict[str, Any] = {}
        token = anyio.lowlevel.current_token()
        inbox.put((function, args, box, done, token))
        try:
            await done.wait()
        except BaseException:
            box["abandoned"] = True  # the thread ends when the call does, if ever
            raise
        self._idle.append(inbox)
        if "error" in box:
            raise box["error"]
        return box["value"]

    def _start(self) -> queue.SimpleQueue[Any]:
        inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=_serve, args=(inbox,), daemon=True, name="autoresearch-callable").start()
        return inbox

    def close(self) -> None:
        for inbox in self._idle:
            inbox.put(None)
        self._idle.clear()


def _serve(inbox: queue.SimpleQueue[Any]) -> None:
    while (item := inbox.get()) is not None:
        function, args, box, done, token = item
        try:
            box["value"] = function(*args)
        except BaseException as error:  # the experiment's edge: its traceback is stored with the verdict
            box["error"] = error
        if "abandoned" in box:
            return
        try:
            anyio.from_thread.run_sync(done.set, token=token)
        except RuntimeError:
            return  # the loop has ended


class CallableRunner:
    """Runs `fitness(state)`; what it returns is the score, or a mapping with `score` and further metrics."""

    def __init__(self, fitness: Callable[[Any], Any], decode: Callable[[bytes], Any], threads: Threads) -> None:
        self._fitness, self._decode, self._threads = fitness, decode, threads

    async def evaluate(self, place: Place, order: Order) -> Readout:
        began = time.perf_counter()
        outcome, values, words = Outcome.TIMEOUT, {}, f"still running after {order.timeout_s} s"
        with anyio.move_on_after(order.timeout_s if order.timeout_s is not None else math.inf):
            try:
                values = score(await self._threads.call(self._fitness, self._decode(place.state)))
                outcome, words = Outcome.OK, ""
            except NotANumber as error:
                outcome, words = Outcome.NO_MEASUREMENT, str(error)
            except (Exception, SystemExit) as error:  # the experiment's edge
                outcome, words = Outcome.EXIT, describe(error)
        return Readout(outcome, values, duration_s=time.perf_counter() - began, words=words)


class NotANumber(Exception):
    """A fitness returned something that is no finite number."""


def score(value: Any) -> dict[str, float]:
    """A fitness value as metric values.

    Raises:
        NotANumber: with what it was.
    """
    metrics = value if isinstance(value, Mapping) else {"score": value}
    if "score" not in metrics:
        raise NotANumber(f"fitness returned a mapping without 'score': {sorted(map(str, metrics))}")
    found = {}
    for name, number in metrics.items():
        try:
            found[str(name)] = float(number)
        except (TypeError, ValueError):
            raise NotANumber(f"fitness returned {type(number).__name__} for {name}, expected a number") from None
        if not math.isfinite(found[str(name)]):
            raise NotANumber(f"fitness returned {number} for {name}, which is no measurement")
    return found
