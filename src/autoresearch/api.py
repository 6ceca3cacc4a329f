"""Autoresearch from Python: `optimize` for any value and function, `task` for a project's folder."""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import anyio.lowlevel

from autoresearch import acceptance as acceptance_
from autoresearch import strategies
from autoresearch.books import Options, Parts
from autoresearch.budget import Budget, Ending
from autoresearch.choice import Wish
from autoresearch.contracts import Ledger, Settings
from autoresearch.errors import SetupError
from autoresearch.frame import to_frame
from autoresearch.history import History, View
from autoresearch.ledger import MemoryLedger, SqliteLedger
from autoresearch.live import Live, screen
from autoresearch.lock import OwnerLock
from autoresearch.loop import Loop
from autoresearch.project import Project
from autoresearch.proposers.states import StateFunction
from autoresearch.records import Direction, Event, Experiment, Gain, RunRecord
from autoresearch.report import gain, headline, summary
from autoresearch.runners.callables import CallableRunner, ProcessRunner, Threads, takes_seed
from autoresearch.session import Session
from autoresearch.taskfile.units import effect, seconds
from autoresearch.workspace.states import StateWorkspace, decode, encode

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True)
class Trial:
    """One experiment of `optimize`; its state is loaded when it is asked for."""

    n: int
    score: float | None
    kept: bool
    verdict: str
    reason: str
    words: str
    metrics: Mapping[str, float]
    _load: Callable[[], Any]

    @property
    def state(self) -> Any:
        """A fresh copy of the state, None where no usable proposal came."""
        return self._load()


class Trials(Sequence[Trial]):
    """The decided experiments in order, the baseline first; nothing is copied or loaded until it is looked at."""

    def __init__(self, experiments: Sequence[Experiment], load: Callable[[Experiment], Any]) -> None:
        self._experiments, self._load = experiments, load

    @property
    def experiments(self) -> Sequence[Experiment]:
        """The records themselves, with every measurement."""
        return self._experiments

    def to_pandas(self) -> pandas.DataFrame:
        """One row an experiment; see `autoresearch.frame`."""
        return to_frame(self._experiments)

    def __len__(self) -> int:
        return len(self._experiments)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self._trial(e) for e in self._experiments[i]]
        return self._trial(self._experiments[i])

    def __iter__(self) -> Iterator[Trial]:
        return map(self._trial, self._experiments)

    def _trial(self, e: Experiment) -> Trial:
        verdict = e.verdict
        kind, reason, words = (verdict.kind.value, verdict.reason, verdict.words) if verdict else ("open", "", "")
        own = e.own
        metrics = dict(own[-1].values) if own else {}
        return Trial(e.n, e.value, e.kept and not e.rolled_back, kind, reason, words, metrics, lambda: self._load(e))


@dataclass(frozen=True, slots=True)
class Result:
    """What `optimize` found.

    Attributes:
        state, score: the incumbent's; the score is what was measured on the way, None before any measurement.
        claimed: the gain by these scores, positive is better: optimistic where there is noise.
        validated: the gain of the result over the initial state in a fresh comparison, with its interval; None where
            nothing was kept, or the run was broken off.
        history: all experiments.
        reason: why it ended: experiments, evaluations, stopped, exhausted, …
        headline: the result in a line, as `autoresearch status` says it.
    """

    state: Any
    score: float | None
    claimed: float | None
    validated: Gain | None
    history: Trials
    reason: str
    words: str
    headline: str

    def to_pandas(self) -> pandas.DataFrame:
        """All experiments as a table, one row each; see `autoresearch.frame`."""
        return self.history.to_pandas()


def optimize(
    initial_state: Any,
    *,
    fitness: Callable[[Any], Any],
    propose: Callable[..., Any],
    direction: Direction = "minimize",
    experiments: int = 100,
    evaluations: int = 0,
    timeout_s: float | None = None,
    workers: int = 1,
    store: str | os.PathLike[str] | None = None,
    acceptance: str = "auto",
    min_effect: float | str = 0.0,
    noise: str = "auto",
    max_repeats: int = 8,
    alpha: float = 0.05,
    seed: int = 0,
    processes: bool = False,
    show: bool | None = None,
) -> Result:
    """Improve a state: any JSON or picklable value, no files, no git.

    Args:
        fitness: gives the score of a state: a number, or a mapping with `score` and further metrics. What it raises is a
            crash of that experiment, over `timeout_s` seconds it is a timeout; neither ends the run. With a parameter named
            `seed` it gets a seed, and states that are compared get the same one.
        propose: gives a new state from a copy of the best one, and a lazy history if it takes two arguments. What it raises
            is a failed proposal.
        experiments: of the whole run; with a `store` that has them all, nothing is measured again.
        evaluations: of the whole run, those for the final comparison included; 0 is no limit.
        workers: how many proposals and evaluations at a time, in threads.
        processes: calls `fitness` in processes of their own instead: killed at `timeout_s`, and one that dies is a crash of
            that experiment. It has to be defined at the top level of a module, and loads what it imports there.
        show: how it goes, while it runs: in a notebook and in a terminal (on standard error) if None; False for nothing.
        store: a ledger file; calling again with the same initial state and settings goes on with the run in it.
        acceptance: auto, exact, bayes, race, margin, single, or `module:Class`.
        min_effect: a number, or a share such as "0.5%".
        noise: auto finds out, none trusts one call, high repeats more; `max_repeats` pairs of a race at most, `alpha` its
            chance of keeping what is no gain.

    Returns:
        The result so far, also after an interrupt (Ctrl-C).

    Raises:
        SetupError: an argument is no good, or `fitness` fails on the initial state.
    """
    if direction not in ("minimize", "maximize"):
        raise SetupError(f"direction {direction!r}: expected 'minimize' or 'maximize'")
    if experiments < 0 or workers < 1 or evaluations < 0:
        got = f"experiments={experiments}, evaluations={evaluations}, workers={workers}"
        raise SetupError(f"{got}: expected at least 0, 0 and 1")
    if max_repeats < 1 or not 0 < alpha < 0.5:
        raise SetupError(f"max_repeats={max_repeats}, alpha={alpha}: expected at least 1, and more than 0 and less than 0.5")
    budget = Budget(experiments=experiments or None, evaluations=evaluations)
    try:
        smallest = effect(min_effect)
    except ValueError as error:
        raise SetupError(f"min_effect={min_effect!r}: {error}") from error
    settings = Settings(
        "score",
        direction,
        smallest.absolute,
        smallest.relative,
        _noise(noise),
        takes_seed(fitness),
        seed,
        max_repeats,
        alpha,
        reach=budget.reach(),
    )
    study = _Study(initial_state, fitness, propose, settings, acceptance, timeout_s, workers, store, processes)
    try:
        return study.run(budget, Live(screen(show)))
    finally:
        study.close()


class _Study:
    """One call of `optimize`."""

    def __init__(
        self,
        initial: Any,
        fitness: Callable[[Any], Any],
        propose: Callable[..., Any],
        settings: Settings,
        rule: str,
        timeout_s: float | None,
        workers: int,
        store: str | os.PathLike[str] | None,
        processes: bool,
    ) -> None:
        self.threads = Threads()
        self.runner = (ProcessRunner if processes else CallableRunner)(fitness, decode, self.threads)
        self.ledger, self._lock = _open(store)
        self.workspace = StateWorkspace(initial, self.ledger)
        text = f"{settings.direction} {rule} {settings.min_effect} {settings.min_effect_relative} {settings.seed}"
        text += f" {settings.noise} {settings.max_repeats} {settings.alpha}"
        ruler = hashlib.sha256(text.encode() + encode(initial)).hexdigest()
        self.name = self._begin(ruler, settings, workers, rule)
        self._parts = Parts(
            self.ledger,
            self.workspace,
            self.runner,
            StateFunction(propose, self.threads.call, self._show, timeout_s),
            strategies.make("greedy"),
            acceptance_.make(rule),
        )
        record = self.history.run
        assert record is not None
        self._options = Options(
            self.name,
            settings,
            lag=record.lag,
            proposals=workers,
            evaluations=workers,
            timeout_s=math.inf if timeout_s is None else timeout_s,
            proposal_timeout_s=math.inf if timeout_s is None else timeout_s,
            breakers=False,
        )

    def _begin(self, ruler: str, settings: Settings, workers: int, rule: str) -> str:
        """Go on with the newest run of this ruler, else start one."""
        runs = self.ledger.runs()
        known = [r for r in runs if r.ruler == ruler]
        name = known[-1].run if known else f"optimize-{len(runs) + 1}"
        body: dict[str, Any] = {}
        if not known:
            lag = 1 if workers == 1 else 5 * workers
            body = {"task": "optimize", "metric": "score", "direction": settings.direction, "seed": settings.seed}
            body |= {"lag": lag, "ruler": ruler, "acceptance": rule}
        self.ledger.append(name, Event("run_started", None, body))
        return name

    @property
    def history(self) -> History:
        return self.ledger.history(self.name)

    def _show(self, view: View) -> Trials:
        return Trials(view, self._load)

    def _load(self, e: Experiment) -> Any:
        return decode(self.workspace.load(e).content) if e.tree else None

    def run(self, budget: Budget, live: Live) -> Result:
        live.begin(self.history)
        loop = Loop(self._parts, self._options, budget, live.saw)
        if budget.experiments is None:
            loop.finish()
        ending = in_thread(loop.run, lambda: loop.stop(Ending("interrupted", "interrupted")), live.tick)
        history = self.history
        live.end(f"{ending.words} · {headline(history)}" if len(history.line) > 1 else ending.words)
        if ending.reason == "baseline":
            raise SetupError(f"fitness fails on the initial state: {ending.words.removeprefix('the baseline failed: ')}")
        best = history.incumbent if history.line else None
        decided = history.experiments[: history.decided + 1]
        state = self._load(best) if best else decode(self.workspace.baseline(0).content)
        score = best.value if best else None
        claimed = None if score is None else gain(score, _value(history.experiments[0]), self._options.settings.direction)
        trials = Trials(decided, self._load)
        return Result(state, score, claimed, history.validated, trials, ending.reason, ending.words, headline(history))

    def close(self) -> None:
        if isinstance(self.runner, ProcessRunner):
            self.runner.close()
        self.threads.close()
        self.ledger.close()
        if self._lock is not None:
            self._lock.__exit__(None, None, None)


def _noise(name: str) -> str:
    if name not in ("auto", "none", "high"):
        raise SetupError(f"noise {name!r}: expected 'auto', 'none' or 'high'")
    return name


def _value(e: Experiment) -> float:
    assert e.value is not None
    return e.value


def _open(store: str | os.PathLike[str] | None) -> tuple[Ledger, OwnerLock | None]:
    if store is None:
        return MemoryLedger(), None
    path = Path(store).absolute()
    if not path.parent.is_dir():
        raise SetupError(f"store {path}: the folder {path.parent} does not exist")
    lock = OwnerLock(path.with_name(path.name + ".lock"), path.name)
    lock.__enter__()
    try:
        return SqliteLedger(path, files=path.with_name(path.name + "-files")), lock
    except BaseException:
        lock.__exit__(None, None, None)
        raise


def in_thread(main: Callable[[], Any], interrupt: Callable[[], None], tick: Callable[[], None] | None = None) -> Any:
    """Run an async function in a thread with an event loop of its own: works inside a running loop, as in notebooks.

    On Ctrl-C, `interrupt` is called in that loop, and what `main` then returns is the answer. `tick` is called in the
    caller's thread now and then.
    """
    box: dict[str, Any] = {}
    started = threading.Event()

    async def body() -> None:
        box["token"] = anyio.lowlevel.current_token()
        started.set()
        box["value"] = await main()

    def work() -> None:
        try:
            anyio.run(body)
        except BaseException as error:  # handed over to the caller's thread
            box["error"] = error
        finally:
            started.set()
            finished.set()

    finished = threading.Event()  # not join: interrupted, it takes the thread for ended (CPython 3.11)
    threading.Thread(target=work, name="autoresearch").start()
    while not finished.is_set():
        try:
            finished.wait(None if tick is None else 0.25)
            if tick is not None:
                tick()
        except KeyboardInterrupt:
            started.wait()
            try:
                anyio.from_thread.run_sync(interrupt, token=box["token"])
            except RuntimeError:
                pass  # it ended by itself in this moment
    if "error" in box:
        raise box["error"]
    return box["value"]


# -- a project's folder ------------------------------------------------------------------------------------------------


class TaskRuns:
    """The runs of a project's folder. Nothing is read or written until a method is called."""

    def __init__(self, folder: Path) -> None:
        self._project = Project(folder)
        self.folder = self._project.folder

    def run(
        self,
        name: str | None = None,
        *,
        experiments: int | None = None,
        time: str | float | None = None,
        new: bool = False,
        start: str | None = None,
        seed: int | None = None,
        proposals: int | None = None,
        evaluations: int | None = None,
        include_dirty: bool = False,
        cost_usd: float | None = None,
        tokens: int | None = None,
        watch: Callable[[str, Mapping[str, Any]], None] = lambda what, details: None,
    ) -> Mapping[str, Any]:
        """Work on a run as `autoresearch run` does; gives its standing as `status --json` does, and `reason`.

        Args:
            cost_usd, tokens: walls of this session.

        Raises:
            AutoresearchError: the set-up is wrong.
        """
        limit_s = None if time is None else seconds(time)
        wish = Wish(name, new, start, experiments, limit_s, proposals, evaluations, seed, include_dirty)
        wish = replace(wish, cost_usd=cost_usd, tokens=tokens)
        loops: list[Loop] = []
        with Session(self._project, wish) as session:

            async def work() -> Ending:
                return await session.work(watch, loops.append)

            def interrupt() -> None:
                for loop in loops:
                    loop.stop(Ending("interrupted", "interrupted"))

            ending = in_thread(work, interrupt)
            return {**summary(session.history), "reason": ending.reason}

    def runs(self) -> list[RunRecord]:
        """All runs, the oldest first."""
        if not self._project.paths.ledger.is_file():
            return []
        ledger = self._project.ledger(read_only=True)
        try:
            return ledger.runs()
        finally:
            ledger.close()

    def to_pandas(self, name: str | None = None) -> pandas.DataFrame:
        """The experiments of a run as a table, one row each; see `autoresearch.frame`."""
        return self.history(name).to_pandas()

    def history(self, name: str | None = None) -> History:
        """The experiments of a run, of the newest one if no name is given."""
        ledger = self._project.ledger(read_only=True)
        try:
            return ledger.history(self._project.pick(ledger, name).run)
        finally:
            ledger.close()


def task(path: str | os.PathLike[str] = ".") -> TaskRuns:
    """The project in a folder: `autoresearch.task("my-project").run(experiments=10)`."""
    return TaskRuns(Path(path))
