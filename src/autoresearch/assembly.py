"""From a task and a run's record to the parts of its loop: workspace, runner, proposer, strategy, acceptance."""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from autoresearch import acceptance, brief, git, proposers, strategies
from autoresearch.books import Bound, CheckOrder, Options, Parts
from autoresearch.contracts import Ledger, Settings
from autoresearch.errors import SetupError
from autoresearch.paths import ProjectPaths
from autoresearch.process import Job, Supervisor, can_layer
from autoresearch.process.environment import argv, clean
from autoresearch.records import RunRecord
from autoresearch.runners import LocalRunner, inputs
from autoresearch.runners.local import Reading, classify
from autoresearch.taskfile import FILE, Scope, Task
from autoresearch.workspace import GitWorkspace
from autoresearch.workspace.repository import TreeOptions

_SETUP_LIMIT_S = 3600.0


def scope_of(task: Task) -> Scope:
    """The editable scope; the task's own two files are never in it."""
    own = (FILE, task.task.instructions)
    return Scope(tuple(task.task.editable), tuple(task.task.frozen), own)


class Assembly:
    """Builds the parts of one session.

    Args:
        slots: how many evaluation and proposal slots.
    """

    def __init__(
        self,
        paths: ProjectPaths,
        location: git.Location,
        task: Task,
        run: RunRecord,
        ledger: Ledger,
        *,
        slots: tuple[int, int] = (1, 1),
    ) -> None:
        self.paths, self.location, self.task, self.run, self.ledger = paths, location, task, run, ledger
        self._slots = slots

    def options(self) -> Options:
        task, run = self.task, self.run
        metric = task.metric
        evaluations, proposals = self._slots
        names = self.paths.run(run.run)
        settings = Settings(
            metric.name,
            metric.direction,
            metric.min_effect.absolute,
            metric.min_effect.relative,
            metric.noise,
            bool(task.evaluate.seed_env),
            run.seed,
        )
        return Options(
            run.run,
            settings,
            lag=run.lag,
            proposals=proposals,
            evaluations=evaluations,
            timeout_s=None if task.evaluate.timeout == "auto" else float(task.evaluate.timeout),
            proposal_timeout_s=task.proposer[0].timeout,
            guards=tuple(Bound(g.name, _or(g.min, -math.inf), _or(g.max, math.inf)) for g in task.guard),
            checks=tuple(CheckOrder(c.name, c.command, c.every, c.retries, c.timeout) for c in task.check),
            target=metric.target,
            folder=names.experiment,
            brief=brief.renderer(task),
        )

    async def workspace(self, supervisor: Supervisor) -> GitWorkspace:
        task = self.task
        links, places = inputs.resolve(self.paths.project, task.evaluate.inputs)
        setup = self._setup(supervisor) if task.evaluate.setup else None
        cache = self.paths.run(self.run.run).cache
        layered = await can_layer(supervisor, cache / "probe")
        return GitWorkspace(
            self.location,
            scope_of(task),
            run=self.run.run,
            base=self.run.base,
            cache=cache,
            options=TreeOptions(links, places, setup, layered, self._slots[0]),
        )

    def _setup(self, supervisor: Supervisor) -> Callable[[Path, Path], Awaitable[None]]:
        names = self.paths.run(self.run.run)

        async def setup(folder: Path, scratch: Path) -> None:
            command = argv(self.task.evaluate.setup, self.run.python)
            log = names.folder / "setup.log"
            env = clean(scratch, passed=self.task.evaluate.env)
            end = await supervisor.run(Job(command, folder, env, timeout_s=_SETUP_LIMIT_S, log=log))
            if end.exit != 0:
                raise SetupError(f"[evaluate] setup failed: {classify(end, _SETUP_LIMIT_S)[1]}; its log: {log}")

        return setup

    def parts(self, supervisor: Supervisor, workspace: GitWorkspace) -> Parts:
        task, python = self.task, self.run.python
        table = task.proposer[0]
        if str(self.paths.project) not in sys.path:
            sys.path.insert(0, str(self.paths.project))  # for proposers named module:Class
        proposer = proposers.make(
            table.kind,
            supervisor=supervisor,
            command=table.command,
            args=table.args,
            python=python,
            env=task.evaluate.env,
            timeout_s=table.timeout,
            scope=scope_of(task),
        )
        return Parts(
            self.ledger,
            workspace,
            self.runner(supervisor),
            proposer,
            strategies.make(task.strategy.kind),
            acceptance.make(task.acceptance.kind),
        )

    def runner(self, supervisor: Supervisor) -> LocalRunner:
        """The runner of the task's command on this machine."""
        task, metric = self.task, self.task.metric
        names = (metric.name, *(g.name for g in task.guard))
        return LocalRunner(
            supervisor,
            command=task.evaluate.command,
            python=self.run.python,
            reading=Reading(names, metric.take, metric.pattern, metric.file, metric.path),
            env=tuple(task.evaluate.env),
            seed_env=task.evaluate.seed_env,
            inputs=inputs.resolve(self.paths.project, task.evaluate.inputs)[1],
        )


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
