"""From a task and a run's record to the parts of its loop: workspace, runner, proposer, strategy, acceptance."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from autoresearch import acceptance, git, private, proposers, strategies
from autoresearch.books import CheckOrder, Options, Parts, SetOrder, Terms
from autoresearch.briefing import Briefing, Words
from autoresearch.contracts import Brief, Draft, Ledger, Proposer, Settings, Strategy
from autoresearch.errors import Exhausted
from autoresearch.exhibits import Files
from autoresearch.guards import Bound
from autoresearch.history import History
from autoresearch.masking import Mask, mask_of
from autoresearch.mutations import TWEAK, directions
from autoresearch.objects import Repository
from autoresearch.paths import ProjectPaths, project_key
from autoresearch.process import Job, Supervisor, can_layer
from autoresearch.process.confinement import OPEN, Confinement
from autoresearch.process.environment import SEALED, Openings, argv, clean
from autoresearch.process.probe import Found, find
from autoresearch.proposers.program import Login
from autoresearch.records import Allowance, Bind, Layer, Proposal, RunRecord, Which
from autoresearch.runners import LocalRunner, inputs
from autoresearch.runners.local import Reading, Surroundings, classify
from autoresearch.scope import parts_of, scope_of
from autoresearch.shares import Share, Shares, Wanted, most_slots
from autoresearch.strategies import Member, Tuning
from autoresearch.taskfile import Guard, Task
from autoresearch.taskfile.schema import LOCK_FILES
from autoresearch.taskfile.schema import Proposer as Table
from autoresearch.taskfile.times import is_exclusive, is_time
from autoresearch.trees import Entry
from autoresearch.tripwires import Decoys, counts_reads, named_in, secret_at
from autoresearch.walls import Walls, refuse_missing
from autoresearch.workspace.evaluation import SetUp, TreeOptions
from autoresearch.workspace.places import between
from autoresearch.workspace.repository import GitWorkspace
from autoresearch.workspace.sets import Private

_SETUP_LIMIT_S = 3600.0
TUNER = "knobs"
"""Who searches over the constants of a keep."""


class Assembly:
    """Builds the parts of one session.

    Args:
        slots: how many evaluation and proposal slots.
        openings: what of the user's surroundings evaluations see after all.
        shares: what of the machine each evaluation slot has; no more than the memory limit is held without.
        logins: who pays, by the names of the proposers that somebody pays for; of those that are not named the first that can.
        words: the owner's to proposers, where they were read before.
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
        openings: Openings = SEALED,
        shares: Shares | None = None,
        logins: Mapping[str, Login] | None = None,
        words: Words | None = None,
    ) -> None:
        self.paths, self.location, self.task, self.run, self.ledger = paths, location, task, run, ledger
        self._slots, self._shares, self.openings, self._words = slots, shares, openings, words
        self.scope = scope_of(task)
        self._logins = {**_first_logins(task), **(logins or {})}
        secret = {name: value for login in self._logins.values() for name, value in login.variables.items()}
        self.mask = Mask({**mask_of(task.evaluate.env).values, **secret})
        self._found: Found | None = None
        self._found_for_proposals: Found | None = None
        self._unseen: tuple[Path, ...] = ()  # of private files, by a set-up on a candidate's files

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
            task.acceptance.max_repeats,
            task.acceptance.alpha,
            task.acceptance.simplify,
            is_time(metric),
            held_out=task.held_out is not None,
        )
        return Options(
            run.run,
            settings,
            lag=run.lag,
            proposals=proposals,
            evaluations=evaluations,
            timeout_s=None if task.evaluate.timeout == "auto" else float(task.evaluate.timeout),
            proposal_timeout_s=task.proposer[0].timeout,
            terms={name: terms(name, table) for name, table in proposing(task).items()},
            trials=names.cache / "ready",
            guards=tuple(bound(g) for g in task.guard),
            checks=tuple(CheckOrder(c.name, c.command, c.every, c.retries, c.timeout) for c in task.check),
            target=metric.target,
            folder=names.experiment,
            brief=self.briefing.text,
            left=self.exhibits.lay_out,
            texts=lambda: self.briefing.adopt(self.ledger.put),
            time_budget_s=task.evaluate.time_budget,
            build=task.evaluate.build,
            quick=task.evaluate.quick,
            mask=self.mask,
            gate=None if task.gate is None else SetOrder(task.gate.command, task.gate.queries),
            held_out=None if task.held_out is None else SetOrder(task.held_out.command),
            jump=metric.jump,
            limit=metric.limit,
            hold=tuple(task.review.hold),
            human=task.review.human,
            planted=lambda edits: self.decoys.in_files(blob.content for blob in edits.values() if blob is not None),
            named=lambda edits: named_in(blob.content for blob in edits.values() if blob is not None),
        )

    @cached_property
    def decoys(self) -> Decoys:
        """The run's; those of a check are forgotten with it."""
        run, direction = self.run.run, self.task.metric.direction
        if run.startswith("."):
            return Decoys(os.urandom(32), direction)
        return Decoys(secret_at(self.paths.run(run).decoys), direction, lambda: _baseline(self.ledger.history(run)))

    def _cover(self, text: str) -> str:
        return self.decoys.cover(self.mask.cover(text))

    @cached_property
    def exhibits(self) -> Files:
        return Files(self.location, self.task, self.run, self.paths.run(self.run.run), self._cover)

    @cached_property
    def briefing(self) -> Briefing:
        """The run's prompts."""
        return Briefing(
            self.task,
            self._words or Words(self.paths.project, self.task),
            self.paths.run(self.run.run),
            tables=proposing(self.task),
            sources=self.exhibits,
            cover=self._cover,
            history=lambda: self.ledger.history(self.run.run),
        )

    def blind(self) -> list[str]:
        """What the decoys cannot show here."""
        if counts_reads(self._cache):
            return []
        return [f"whether a decoy is read cannot be seen here: {self._cache} is mounted noatime; writing one can"]

    @property
    def _cache(self) -> Path:
        return self.paths.run(self.run.run).cache

    @cached_property
    def walls(self) -> Walls:
        """What evaluations and proposals see of this machine."""
        return Walls(self.task, self.paths, self.location, self.run.python, self._cache / "walls")

    async def found(self, supervisor: Supervisor) -> Found:
        """The sandbox that works here, tried once.

        Raises:
            SetupError: the one that the task names does not.
        """
        if self._found is None:
            wanted = self.task.evaluate.sandbox
            self._found = await find(supervisor, self.walls.host, wanted, self._cache / "probe-walls")
            refuse_missing(self._found, wanted)
        return self._found

    async def workspace(self, supervisor: Supervisor) -> GitWorkspace:
        await self.found(supervisor)
        await self.found_for_proposals(supervisor)
        evaluate, prefix = self.task.evaluate, self.location.prefix
        links, places = inputs.resolve(self.paths.project, evaluate.inputs)
        cache = self.paths.run(self.run.run).cache
        layered = await can_layer(supervisor, cache / "probe")
        closed = closed_to_evaluations(self.location, cache)
        apart = tuple(p for p in places if not any(p.is_relative_to(folder) for folder in closed))
        workspace = GitWorkspace(
            self.location,
            self.scope,
            run=self.run.run,
            base=self.run.base,
            cache=cache,
            parts=parts_of(self.task, prefix),
            decoys=self.decoys,
            private=self._private(cache),
            options=TreeOptions(
                links,
                (*closed, *apart),
                copies=inputs.resolve(self.paths.project, evaluate.copies, key="copy")[0],
                caches=tuple(evaluate.cache),
                setup=self._setup(supervisor, (*closed, *apart)) if evaluate.setup else None,
                setup_if=tuple(evaluate.setup_if or LOCK_FILES),
                build=bool(evaluate.build),
                namespaces=bool(supervisor.namespaces),
                layered=layered,
                slots=self._slots[0],
            ),
        )
        self._unseen = tuple(path for path in workspace.hidden() if path.parent != cache)  # it works in one of the slots
        return workspace

    def _private(self, cache: Path) -> dict[Which, Private]:
        """The private files of the task's sets, as they were when the run began."""
        task = self.task
        if not any(names for _, names in private.tables(task)):
            return {}
        repository = Repository(self.location.git_dir, cache / "scratch")
        try:
            files = repository.files(repository.tree_of(self.run.base))
        finally:
            repository.close()
        pins = private.pins(self.run.ruler_text)
        return private.resolve(task, self.paths.project, self.location.prefix, files, pins=pins)

    def _setup(self, supervisor: Supervisor, readonly: Sequence[Path]) -> SetUp:
        """The set-up as evaluation slots call it: with the user's HOME on the base; as an evaluation on a candidate's files."""
        log = self.paths.run(self.run.run).folder / "setup.log"

        async def setup(folder: Path, scratch: Path, mounts: Sequence[Layer | Bind], trusted: bool) -> str:
            command = argv(self.task.evaluate.setup, self.run.python)
            openings = Openings(home=trusted, environment=self.openings.environment)
            env = clean(scratch, passed=self.task.evaluate.env, openings=openings)
            job = Job(command, folder, env, timeout_s=_SETUP_LIMIT_S, log=log, mounts=mounts, masked=self.mask.pairs)
            if not trusted:
                online = replace(self.openings, network=True)  # what is to be installed has to come from somewhere
                folders = (folder, *(scratch / name for name in ("home", "tmp")))
                job = replace(job, readonly=readonly, locked=True)
                walls = self.walls.evaluation(await self.found(supervisor), online)
                job = walls.shut_in(job, writable=folders, hidden=self._unseen)
            async with self._shares.room.hold() if self._shares else nullcontext():
                end = await supervisor.run(job)
            if end.exit == 0:
                return ""
            return f"[evaluate] setup failed: {self.mask.cover(classify(end, _SETUP_LIMIT_S)[1])}; its log: {log}"

        return setup

    def parts(self, supervisor: Supervisor, workspace: GitWorkspace, *, proposes: bool = True) -> Parts:
        """The parts of a session's loop; where it `proposes` nothing, none of the task's own proposers is even loaded."""
        task = self.task
        importable(self.paths.project)
        everyone = self.proposers(supervisor) if proposes else {}
        mix = {name: everyone[name] for name in mixed(task) if proposes}
        return Parts(
            self.ledger,
            workspace,
            self.runner(supervisor),
            next(iter(mix.values()), Nobody()),
            strategy_of(task),
            acceptance.make(task.acceptance.kind),
            mix,
            {name: proposer for name, proposer in everyone.items() if name not in mix},
        )

    def proposers(self, supervisor: Supervisor) -> dict[str, Proposer]:
        """All of the mix, and their fallbacks, by name; they can be asked who pays before the supervisor is started."""
        return {name: self._proposer(name, table, supervisor) for name, table in proposing(self.task).items()}

    def _proposer(self, name: str, table: Table, supervisor: Supervisor) -> Proposer:
        return proposers.make(
            table.kind,
            supervisor=supervisor,
            table=table,
            command=table.command,
            args=table.args,
            python=self.run.python,
            env=self.task.evaluate.env,
            timeout_s=table.timeout,
            confinement=self._around_proposals(table),
            scope=self.scope,
            mask=self.mask,
            login=self._logins.get(name),
        )

    async def found_for_proposals(self, supervisor: Supervisor) -> Found:
        """The sandbox of proposals: the same, and the best one where evaluations are to have none."""
        if self._found_for_proposals is None:
            found = await self.found(supervisor)
            if self.task.evaluate.sandbox == "none":
                found = await find(supervisor, self.walls.host, "auto", self._cache / "probe-walls")
            self._found_for_proposals = found
        return self._found_for_proposals

    def _around_proposals(self, table: Table) -> Confinement:
        if self._found_for_proposals is None:
            return OPEN
        closed = closed_to_evaluations(self.location, self._cache)
        return self.walls.proposal(self._found_for_proposals, table, closed=closed, slots=self._slots[0])

    async def tidy(self, supervisor: Supervisor) -> list[str]:
        """Clean up what evaluations of a session that was killed left outside their process trees."""
        if not self.task.evaluate.cleanup:
            return []
        return await self.runner(supervisor).tidy(self.paths.run(self.run.run).cache)

    def _evaluations_name(self) -> str:
        """What the names of this run's evaluations begin with: no other run's on this machine do, and no other check's."""
        key = project_key(self.paths.project)[-4:]
        return f"{self.run.run}-{key}" if not self.run.run.startswith(".") else f"{self.run.run[1:]}{self.run.seed:x}-{key}"

    def runner(self, supervisor: Supervisor) -> LocalRunner:
        """The runner of the task's command on this machine."""
        task, metric = self.task, self.task.metric
        names = (metric.name, *(g.name for g in task.guard))
        evaluate = task.evaluate
        surroundings = Surroundings(
            name=self._evaluations_name(),
            python=self.run.python,
            env=tuple(evaluate.env),
            mask=self.mask,
            seed_env=evaluate.seed_env,
            time_budget_s=evaluate.time_budget,
            cleanup=evaluate.cleanup,
            openings=self.openings,
            home=inputs.in_home(evaluate.inputs),
            share=self._shares.of if self._shares else lambda slot: Share(memory_mb=wanted(task).memory_mb),
            room=self._shares.room if self._shares else None,
            exclusive=is_exclusive(task),
            decoys=self.decoys,
            confinement=OPEN if self._found is None else self.walls.evaluation(self._found, self.openings),
        )
        return LocalRunner(
            supervisor,
            surroundings,
            command=evaluate.command,
            reading=Reading(names, metric.take, metric.pattern, metric.file, metric.path, metric.unit, sealed=evaluate.sealed),
            inputs=inputs.resolve(self.paths.project, evaluate.inputs)[1],
        )


class Nobody:
    """Proposes in a session that asks for nothing of its own."""

    name = "nobody"

    async def propose(self, brief: Brief, draft: Draft) -> Proposal:
        raise Exhausted("nobody proposes in this session")


def importable(project: Path) -> None:
    """Let what a task names as module:Class be found in its folder; a file there never goes before what is installed."""
    if str(project) not in sys.path:
        sys.path.append(str(project))


def _baseline(history: History) -> float | None:
    """The value by which the baseline was decided."""
    return history.experiments[0].verdict.value if history.experiments and history.experiments[0].verdict else None


def closed_to_evaluations(location: git.Location, cache: Path) -> tuple[Path, ...]:
    """What evaluations find read-only where they have a mount namespace: the checkout, unless our own trees lie in it."""
    top, store = location.top.resolve(), location.git_dir.resolve()
    if cache.resolve().is_relative_to(top):
        return ()
    return (top,) if store.is_relative_to(top) else (top, store)


def refuse_inputs(project: Path, task: Task, files: Mapping[str, Entry] | None = None, prefix: str = "") -> None:
    """Refuse inputs and copies that are not there, or, with the base's files, that git tracks.

    Raises:
        SetupError: naming key and path.
    """
    for key, names in (("inputs", task.evaluate.inputs), ("copy", task.evaluate.copies)):
        inside, _ = inputs.resolve(project, names, key=key)
        between(inside, prefix, files or {}, key=key)


def mixed(task: Task) -> dict[str, Table]:
    """The proposers of a task by the names that plans and the ledger have for them: the kind, numbered where it comes again."""
    found: dict[str, Table] = {}
    for table in task.proposer:
        again = sum(name.rpartition("-")[0] == table.kind or name == table.kind for name in found)
        found[f"{table.kind}-{again + 1}" if again else table.kind] = table
    return found


def proposing(task: Task) -> dict[str, Table]:
    """The mix, and behind it those fallbacks and the search over constants that are not in it, as a kind without any keys."""
    found = mixed(task)
    for table in task.proposer:
        if table.fallback and table.fallback not in found:
            found[table.fallback] = Table(kind=table.fallback)
    if task.strategy.tune_after_keep and all(table.kind != TUNER for table in found.values()):
        found[TUNER] = Table(kind=TUNER)
    return found


def _first_logins(task: Task) -> dict[str, Login]:
    """The first log-in that is there, for each of them that somebody has to pay for."""
    home = Path(os.path.expanduser("~"))
    found = {name: proposers.logins(table, os.environ, home) for name, table in proposing(task).items()}
    return {name: logins[0] for name, logins in found.items() if logins}


def strategy_of(task: Task) -> Strategy:
    """The task's strategy, told who may be asked, what may be suggested, and what searches over constants may take."""
    members = [
        Member(name, proposers.name_of(table.kind), table.share, proposers.reads(table.kind))
        for name, table in mixed(task).items()
    ]
    own, tuning = task.brief.mutations, _tuning(task)
    constants = tuning is not None or not all(member.reads for member in members)  # a search of their own takes care of them
    names = [name for name in directions(task) if name != TWEAK or name in own or not constants]
    return strategies.make(task.strategy.kind, mutations=names, members=members, tuning=tuning)


def _tuning(task: Task) -> Tuning | None:
    share, budget = task.strategy.tune_after_keep, task.budget
    if not share:
        return None
    by = next(name for name, table in proposing(task).items() if table.kind == TUNER)
    if budget.experiments:
        return Tuning(by, TUNER, math.floor(share * budget.experiments))
    evaluations = share * budget.evaluations if budget.evaluations else math.inf
    return Tuning(by, TUNER, evaluations=evaluations, time_s=math.inf if budget.time is None else share * budget.time)


def terms(name: str, table: Table) -> Terms:
    """What holds for one of them; as a fallback for itself it would be none."""
    fallback = table.fallback if table.fallback != name else ""
    return Terms(table.timeout, Allowance(table.max_cost_usd, table.max_tokens, table.max_turns), fallback)


def wanted(task: Task) -> Wanted:
    """What one evaluation of a task wants of the machine."""
    asked = task.evaluate.resources
    return Wanted(asked.cpus, asked.gpus, None if asked.memory is None else asked.memory / 2**20)


def slots_of(task: Task) -> int:
    """How many evaluations a run has slots for, where its caller does not say it."""
    if task.run.evaluations != "auto":
        return int(task.run.evaluations)
    return 1 if is_exclusive(task) else most_slots(wanted(task))


def bound(guard: Guard) -> Bound:
    """A guard as it is judged; what is measured from outside is better when it is less."""
    low, high, worse = _or(guard.min, -math.inf), _or(guard.max, math.inf), guard.worse
    if worse is None:
        return Bound(guard.name, low, high)
    sign = 1 if guard.direction == "maximize" else -1
    amount = worse.relative or worse.absolute
    return Bound(guard.name, low, high, amount, relative=bool(worse.relative), sign=sign)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
