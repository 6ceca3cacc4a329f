"""Which run a session works on: one that goes on, or a new one, on which base and with which seed."""

from __future__ import annotations

import datetime
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from autoresearch import assembly, git, private, proposers
from autoresearch.assembly import refuse_inputs
from autoresearch.budget import FINISHED, Budget, budget_of_run, wall_of
from autoresearch.checkup import reuse
from autoresearch.comeback import REFRESH_AFTER_S
from autoresearch.contracts import Ledger
from autoresearch.errors import RulerChanged, SetupError
from autoresearch.history import History, gate_queries
from autoresearch.objects import Repository
from autoresearch.project import Project, is_run_name
from autoresearch.records import RunRecord
from autoresearch.scope import scope_of
from autoresearch.taskfile import FILE, Task
from autoresearch.taskfile.schema import Proposer
from autoresearch.workspace import survey


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller asks of `run`; None leaves it to the task and the ledger.

    Attributes:
        start: `--from`: RUN, RUN:N or a git revision.
        proposals, evaluations: slots; `lag` of a new run, which follows from them if None.
        confirm: asked a question, answers it; raises SetupError where nobody can be asked.
        until: when the session ends, in seconds since 1970; `cost_usd` and `tokens` are walls of the session.
        amount: asked how much, with what is suggested and what --yes means, answers it.
        rebaseline: measure baseline and incumbent again and go on with those numbers.
        refresh_after_s: after so long a pause the incumbent is measured again.
        order: kind and details of what the session is for alone: an order to the run, or `validate`.
        detached: works in the background.
        proposer, model: who proposes in this session, in place of the task's own.
        serves: nobody proposes in this session: it tries what other processes offer, until nothing came for `linger_s`.
    """

    name: str | None = None
    new: bool = False
    start: str | None = None
    experiments: int | None = None
    time_s: float | None = None
    proposals: int | None = None
    evaluations: int | None = None
    seed: int | None = None
    include_dirty: bool = False
    lag: int | None = None
    confirm: Callable[[str], bool] | None = None
    rebaseline: bool = False
    refresh_after_s: float = REFRESH_AFTER_S
    order: tuple[str, Mapping[str, Any]] | None = None
    detached: bool = False
    until: float | None = None
    cost_usd: float | None = None
    tokens: int | None = None
    amount: Callable[[str, float, float], float] | None = None
    proposer: str = ""
    model: str = ""
    serves: bool = False
    linger_s: float = 0.0

    @property
    def proposes(self) -> bool:
        """Whether the session asks for proposals of its own."""
        return self.order is None and not self.serves


def with_proposer(task: Task, wish: Wish) -> Task:
    """The task with the proposer that a session wishes for: the task's table of that kind where it has one.

    Where it has none, the keys of a table that nobody pays for, as `base_url` beside `knobs`, are meant for whoever is wished
    for; those of another model's are not.
    """
    if not wish.proposer and not wish.model:
        return task
    kind, first = wish.proposer or task.proposer[0].kind, task.proposer[0]
    other = Proposer(kind=kind)
    if not proposers.writes_code(first.kind):
        other = first.model_copy(update={"kind": kind, "command": "", "args": []})
    table = next((t for t in task.proposer if t.kind == kind), other)
    table = table.model_copy(update={"model": wish.model}) if wish.model else table
    return task.model_copy(update={"proposer": [table]})


class Choice:
    """Chooses for a wish; records nothing."""

    def __init__(self, project: Project, wish: Wish, task: Task, ledger: Ledger, location: git.Location) -> None:
        self.project, self.wish, self.task = project, wish, task
        self.ledger, self.location = ledger, location

    def make(self) -> tuple[bool, RunRecord]:
        """The run's record, and whether it is a new one.

        Raises:
            AutoresearchError: it cannot be as it was wished.
        """
        wish, runs = self.wish, self.ledger.runs()
        digest, _ = self.ruler
        if wish.name is not None and not is_run_name(wish.name):
            raise SetupError(
                f"run name {wish.name!r}: expected small letters, digits, '.', '_' and '-', at most 64 of them, "
                "starting with a letter or digit, and not what git refuses in a branch ('..', a final '.' or '.lock')"
            )
        if (known := self.going_on()) is not None:
            return False, known
        if wish.name is not None and any(r.run == wish.name for r in runs):
            raise SetupError(
                f"run {wish.name} exists already: choose another name, or go on with `autoresearch run {wish.name}`"
            )
        return True, self._new_run(wish.name or self._name_of_today({r.run for r in runs}), digest)

    def going_on(self) -> RunRecord | None:
        """The run that would go on; None for a new one.

        Raises:
            AutoresearchError: it cannot be as it was wished.
        """
        wish, runs, digest = self.wish, self.ledger.runs(), self.ruler[0]
        known = None
        if wish.order is not None or wish.rebaseline:
            known = self.project.pick(self.ledger, wish.name)
        elif not wish.new and wish.start is None:
            known = next((r for r in runs if r.run == wish.name), None) if wish.name else self._newest(runs, digest)
        if known is not None:
            self._same_ruler(known, digest)
        return known

    def _newest(self, runs: list[RunRecord], digest: str) -> RunRecord | None:
        """The newest unfinished run under this ruler; where all are under others, the newest, to be refused by name."""
        unfinished = [r for r in runs if r.status == "open" or self.is_raised(r)]
        same = [r for r in unfinished if r.ruler == digest]
        newest = same or [r for r in unfinished if self.ledger.history(r.run).decided >= 0]  # the others have no numbers
        return newest[-1] if newest else None

    def is_raised(self, run: RunRecord) -> bool:
        """Whether a run that had used up its budget may go on under the present one."""
        if run.stop_reason not in FINISHED or run.ruler != self.ruler[0]:
            return False
        budget, history = self.task.budget, self.ledger.history(run.run)
        wall = wall_of(self.task, history)
        match run.stop_reason:
            case "experiments":
                return budget.experiments > len(history.experiments) - 1 - len(history.lost)
            case "evaluations":
                return not budget.evaluations or budget.evaluations > history.evaluations
            case "time":
                return budget.time is None or budget.time > run.worked_s
            case "cost":
                return wall.cost_usd is None or wall.cost_usd > history.cost_usd + history.dearest_usd
            case "tokens":
                return wall.tokens is None or wall.tokens > history.tokens
            case "target":
                sign, value = (1 if run.direction == "maximize" else -1), history.incumbent.value
                target = self.task.metric.target
                return target is None or value is None or sign * value < sign * target
            case "gate":
                return self.task.gate is not None and self.task.gate.queries > gate_queries(history)
        return False

    @cached_property
    def ruler(self) -> tuple[str, dict[str, str]]:
        """What decides now, with the contents of private files outside the repository."""
        return private.ruler(self.task, self.project.folder)

    def _same_ruler(self, run: RunRecord, digest: str) -> None:
        if run.ruler == digest:
            return
        _, now = self.ruler
        changed = [k for k in sorted(now.keys() | run.ruler_text.keys()) if now.get(k) != run.ruler_text.get(k)]
        rows = "\n".join(f"  {k}: {run.ruler_text.get(k, '(none)')} → {now.get(k, '(none)')}" for k in changed)
        raise RulerChanged(
            f"the ruler has changed since run {run.run} began, and its numbers would not compare:\n{rows}\n"
            f"Take the change back, or start a new run from its incumbent: autoresearch run --from {run.run}"
        )

    def _name_of_today(self, taken: set[str]) -> str:
        today = datetime.date.today()
        stem = f"{today:%b}{today.day}".lower()
        taken = taken | self._named()
        count, name = 1, stem
        while name in taken:
            count += 1
            name = f"{stem}-{count}"
        return name

    def _named(self) -> set[str]:
        """The runs that have a branch or candidates, of other work trees and projects of the repository too."""
        spaces = ("refs/heads/autoresearch/", "refs/autoresearch/")
        refs = git.run(f"--git-dir={self.location.git_dir}", "for-each-ref", "--format=%(refname)", *spaces).decode()
        return {ref.split("autoresearch/", 1)[1].split("/")[0] for ref in refs.splitlines()}

    def _new_run(self, name: str, digest: str) -> RunRecord:
        task, wish = self.task, self.wish
        evaluations, proposals = slots_of(self.task, self.wish)
        metric, base = task.metric, self._base()
        measured = self.measured(base, wish.seed)
        seed = wish.seed if wish.seed is not None else measured.seed if measured else secrets.randbelow(2**31)
        return RunRecord(
            run=name,
            task=task.task.name,
            metric=metric.name,
            direction=metric.direction,
            unit=metric.unit,
            base=base,
            seed=seed,
            lag=wish.lag or (1 if evaluations == proposals == 1 else 4 * evaluations + proposals),
            ruler=digest,
            ruler_text=self.ruler[1],
            acceptance=task.acceptance.kind,
            python=sys.executable,
            project=str(self.project.folder),
        )

    def measured(self, base: str, seed: int | None) -> reuse.Measured | None:
        """What a `check` measured of the same base under the same ruler, a short while ago."""
        tree = git.run(f"--git-dir={self.location.git_dir}", "rev-parse", f"{base}^{{tree}}").decode().strip()
        return reuse.load(self.project.paths, self.task, base_tree=tree, seed=seed, python=sys.executable, now=time.time())

    def _base(self) -> str:
        """The commit to start from; what is not committed is asked about."""
        scratch = self.project.paths.run("start").cache / "scratch"
        repository = Repository(self.location.git_dir, scratch)
        try:
            survey.refuse_unfit(self.location, repository)
            base = self._chosen(repository)
            files = repository.files(repository.tree_of(base))
            survey.refuse_files(files, repository, scope_of(self.task), self.location.prefix)
            refuse_inputs(self.project.folder, self.task, files, self.location.prefix)
            private.resolve(self.task, self.project.folder, self.location.prefix, files)
            return base
        finally:
            repository.close()

    def _chosen(self, repository: Repository) -> str:
        if self.wish.start is not None:
            return self._from(repository, self.wish.start)
        # HEAD of the work tree the user is in, which need not be the one of the shared git folder
        head = git.run("rev-parse", "--verify", "HEAD^{commit}", cwd=self.project.folder).decode().strip()
        scope = scope_of(self.task)
        dirty = survey.uncommitted(self.location, scope, (FILE, self.task.task.instructions))
        if not dirty:
            return head
        if self.wish.include_dirty or self._ask_dirty(dirty):
            return survey.snapshot(self.location, repository, head, dirty, time.time())
        return head

    def _ask_dirty(self, dirty: list[str]) -> bool:
        shown = ", ".join(dirty[:5]) + (f" and {len(dirty) - 5} more" if len(dirty) > 5 else "")
        question = f"not committed: {shown}. Start from the files as they are now?"
        if self.wish.confirm is None:
            raise SetupError(
                f"not committed: {shown}. Commit, or start from the files as they are now with --include-dirty, "
                "or from the last commit with --from HEAD"
            )
        if not self.wish.confirm(question):
            raise SetupError("commit your changes, or start from the last commit with --from HEAD")
        return True

    def _from(self, repository: Repository, start: str) -> str:
        name, _, number = start.partition(":")
        if any(r.run == name for r in self.ledger.runs()):
            history = self.ledger.history(name)
            if number and not (number.isdigit() and int(number) < len(history.experiments)):
                raise SetupError(f"--from {start}: run {name} has experiments 0 to {len(history.experiments) - 1}")
            e = history.experiments[int(number)] if number else history.incumbent
            if not e.commit:
                raise SetupError(
                    f"--from {start}: experiment {e.n} has no candidate ({e.verdict.words if e.verdict else 'open'})"
                )
            return e.commit
        commit = repository.resolve(start)
        if commit is None:
            runs = ", ".join(r.run for r in self.ledger.runs()) or "none yet"
            raise SetupError(f"--from {start}: neither a run ({runs}) nor a git revision")
        return commit


def budget_of(task: Task, wish: Wish, history: History) -> Budget:
    """The walls of a run and of a session of it."""
    if wish.order is not None:
        return Budget()  # what a person asked for has its own end, and asks no model
    return replace(
        budget_of_run(task, history),
        session_experiments=wish.experiments,
        session_time_s=wish.time_s,
        until=wish.until,
        session_cost_usd=wish.cost_usd,
        session_tokens=wish.tokens,
    )


def slots_of(task: Task, wish: Wish) -> tuple[int, int]:
    """How many evaluation and proposal slots a session has."""
    return wish.evaluations or assembly.slots_of(task), wish.proposals or task.run.proposals
