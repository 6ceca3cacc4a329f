"""Evaluations as calls of a Python function: in threads of this process, or in processes of their own."""

from __future__ import annotations

import inspect
import math
import multiprocessing
import os
import pickle
import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel

from autoresearch.contracts import Place
from autoresearch.errors import SetupError
from autoresearch.records import Order, Outcome, Readout
from autoresearch.runners import costs
from autoresearch.text import describe

_START_S = 120.0


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
            error = box["error"]
            if not isinstance(error, Exception | SystemExit):  # an interrupt reaches the main thread only: this is its own
                raise RuntimeError(describe(error)) from error
            raise error
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


def takes_seed(fitness: Callable[..., Any]) -> bool:
    """Whether a function has a parameter named `seed`."""
    try:
        return "seed" in inspect.signature(fitness).parameters
    except (TypeError, ValueError):
        return False


class CallableRunner:
    """Runs `fitness(state)`; what it returns is the score, or a mapping with `score` and further metrics.

    A fitness with a parameter named `seed` gets that of the evaluation.
    """

    def __init__(self, fitness: Callable[..., Any], decode: Callable[[bytes], Any], threads: Threads) -> None:
        self._fitness, self._decode, self._threads = fitness, decode, threads
        self._takes_seed = takes_seed(fitness)

    async def evaluate(self, place: Place, order: Order) -> Readout:
        began = time.perf_counter()
        outcome, values, words = Outcome.TIMEOUT, {}, f"still running after {order.timeout_s} s"
        with anyio.move_on_after(order.timeout_s if order.timeout_s is not None else math.inf):
            try:
                call = partial(self._fitness, seed=order.seed) if self._takes_seed else self._fitness
                values = score(await self._threads.call(call, self._decode(place.state)))
                outcome, words = Outcome.OK, ""
            except NotANumber as error:
                outcome, words = Outcome.NO_MEASUREMENT, str(error)
            except (Exception, SystemExit) as error:  # the experiment's edge
                outcome, words = Outcome.EXIT, describe(error)
        return Readout(outcome, values, duration_s=time.perf_counter() - began, words=words, cost_usd=costs.of(values))


# -- in processes ------------------------------------------------------------------------------------------------------


class ProcessRunner:
    """As `CallableRunner`, but in new processes: one is killed at the limit, and what it does to itself stays there.

    Raises (when made):
        SetupError: the function cannot be sent to another process.
    """

    def __init__(self, fitness: Callable[..., Any], decode: Callable[[bytes], Any], threads: Threads) -> None:
        try:
            self._functions = pickle.dumps((fitness, decode))
        except Exception as error:
            raise SetupError(
                f"fitness cannot be sent to a process ({describe(error)}): define it at the top level of a module, or leave "
                "out processes=True"
            ) from error
        self._threads = threads
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()

    async def evaluate(self, place: Place, order: Order) -> Readout:
        began = time.perf_counter()
        child = None
        try:
            child = self._waiting() or await self._start()
            began = time.perf_counter()
            with anyio.move_on_after(order.timeout_s if order.timeout_s is not None else math.inf):
                outcome, values, words = await self._threads.call(child.ask, place.state, order.seed)
                if child.alive:
                    self._idle.append(child)
                    child = None
                took_s = time.perf_counter() - began
                return Readout(Outcome(outcome), values, duration_s=took_s, words=words, cost_usd=costs.of(values))
            words = f"still running after {order.timeout_s} s"
            return Readout(Outcome.TIMEOUT, duration_s=time.perf_counter() - began, words=words)
        except NotStarted as error:
            return Readout(Outcome.EXIT, duration_s=time.perf_counter() - began, words=str(error))
        finally:
            if child is not None:
                self._end(child)

    def _waiting(self) -> _Child | None:
        """One that has nothing to do; what died meanwhile is no experiment's fault."""
        while self._idle:
            child = self._idle.pop()
            if child.is_running():
                return child
            self._end(child)
        return None

    async def _start(self) -> _Child:
        """A process that has loaded the functions; that time is not the evaluation's."""
        child = _Child(self._functions)
        self._all.add(child)
        try:
            with anyio.fail_after(_START_S):
                await self._threads.call(child.start)
        except BaseException as error:
            self._end(child)
            if isinstance(error, TimeoutError):
                raise NotStarted(f"the process for fitness was not ready after {_START_S:.0f} s") from error
            raise
        return child

    def _end(self, child: _Child) -> None:
        child.kill()
        self._all.discard(child)

    def close(self) -> None:
        for child in list(self._all):
            self._end(child)
        self._idle.clear()


class NotStarted(Exception):
    """The process for a fitness did not come up; the message says why."""


class _Child:
    """A process that answers states with measurements, one at a time."""

    def __init__(self, functions: bytes) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, self._theirs = context.Pipe()
        self._process = context.Process(target=_child, args=(self._theirs, functions, os.getpid()))
        self.alive = True

    def start(self) -> None:
        """Raises NotStarted: the functions could not be loaded there."""
        self._process.start()
        self._theirs.close()
        outcome, _, words = self._receive()
        if outcome != "ready":
            guard = " (a script needs `if __name__ == '__main__':` around its call of optimize)" if not self.alive else ""
            raise NotStarted(f"fitness could not be loaded in a process of its own: {words}{guard}")

    def is_running(self) -> bool:
        return self.alive and self._process.is_alive()

    def ask(self, state: bytes, seed: int) -> tuple[str, dict[str, float], str]:
        """The outcome, values and words of one call."""
        try:
            self._ours.send_bytes(pickle.dumps((state, seed)))
        except OSError:
            pass  # it has ended, and receiving says how
        return self._receive()

    def _receive(self) -> tuple[str, dict[str, float], str]:
        try:
            answer: tuple[str, dict[str, float], str] = pickle.loads(self._ours.recv_bytes())
        except (EOFError, OSError):
            self.alive = False
            self._process.join(10)
            return self._how()
        return answer

    def _how(self) -> tuple[str, dict[str, float], str]:
        code = self._exit_code()
        if code is not None and code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            return Outcome.SIGNAL, {}, f"the process of fitness was ended by {name}"
        return Outcome.EXIT, {}, f"the process of fitness ended with {code}"

    def _exit_code(self) -> int | None:
        """Its exit code, which is there a moment later where another thread's start of a process has reaped this one."""
        until = time.monotonic() + 1
        while (code := self._process.exitcode) is None and time.monotonic() < until:
            time.sleep(0.005)
        return code

    def kill(self) -> None:
        self.alive = False
        if self._process.pid is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except OSError:
                self._process.kill()  # it leads no group yet, or is gone
            self._process.join(10)
        self._ours.close()


def _child(pipe: Connection, functions: bytes, parent: int) -> None:
    """The main function of a child: states in, measurements out, until the pipe closes."""
    os.setpgid(0, 0)  # what it starts is killed with it, and Ctrl-C in a terminal is not for it
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    try:
        fitness, decode = pickle.loads(functions)
    except Exception as error:
        pipe.send_bytes(pickle.dumps(("failed", {}, describe(error))))
        return
    pipe.send_bytes(pickle.dumps(("ready", {}, "")))
    while True:
        try:
            state, seed = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        call = partial(fitness, seed=seed) if takes_seed(fitness) else fitness
        pipe.send_bytes(pickle.dumps(_measure(call, decode, state)))


def _follow(parent: int) -> None:
    """End with the parent, however that ended."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(0, signal.SIGKILL)


def _measure(fitness: Callable[..., Any], decode: Callable[[bytes], Any], state: bytes) -> tuple[str, dict[str, float], str]:
    try:
        return Outcome.OK, score(fitness(decode(state))), ""
    except NotANumber as error:
        return Outcome.NO_MEASUREMENT, {}, str(error)
    except BaseException as error:  # the experiment's edge
        return Outcome.EXIT, {}, describe(error)


# -- what it returns ---------------------------------------------------------------------------------------------------


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
