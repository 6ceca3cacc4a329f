"""From a project's folder to a session of a run: which run, on which base, built of which parts."""

from __future__ import annotations

import datetime
import re
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio

from autoresearch import git, machine, proposers
from autoresearch.acceptance import final
from autoresearch.assembly import Assembly, scope_of, wanted
from autoresearch.books import Errand, Options, Parts, Watch
from autoresearch.budget import FINISHED, Budget, Ending
from autoresearch.checkup import reuse
from autoresearch.comeback import REFRESH_AFTER_S
from autoresearch.contracts import Ledger
from autoresearch.errors import RepositoryError, RulerChanged, SetupError, UnknownName, ungrouped
from autoresearch.history import History
from autoresearch.ledger import SqliteLedger
from autoresearch.lock import OwnerLock
from autoresearch.loop import Loop
from autoresearch.paths import ProjectPaths
from autoresearch.plot import Plotter
from autoresearch.process import Supervisor
from autoresearch.records import ChainedEvent, Event, RunRecord
from autoresearch.report import ResultsTable
from autoresearch.shares import Shares, check_fits, most_slots
from autoresearch.surroundings import Surroundings, order_event
from autoresearch.taskfile import FILE, Task, load, ruler
from autoresearch.text import show_bytes
from autoresearch.workspace import survey

_RAISE = {
    "experiments": "[budget] experiments",
    "evaluations": "[budget] evaluations",
    "time": "[budget] time",
    "cost": "[budget] cost_usd",
    "tokens": "[budget] tokens",
    "target": "[metric] target",
}
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def is_run_name(name: str) -> bool:
    """Whether a name may be a run's, and its branch's."""
    ours = name == "files" or name.startswith("ledger.db")  # what lies beside the runs' folders
    return NAME.fullmatch(name) is not None and ".." not in name and not name.endswith((".", ".lock")) and not ours


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller asks of `run`; None leaves it to the task and the ledger.

    Attributes:
        start: `--from`: RUN, RUN:N or a git revision.
        proposals, evaluations: slots; `lag` of a new run, which follows from them if None.
        confirm: asked a question, answers it; raises SetupError where nobody can be asked.
        rebaseline: measure baseline and incumbent again and go on with those numbers.
        refresh_after_s: after so long a pause the incumbent is measured again.
        order: kind and details of what the session is for alone: an order to the run, or `validate`.
        detached: works in the background.
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


class Project:
    """A project's folder: its task, its repository, its ledger."""

    def __init__(self, folder: Path) -> None:
        self.paths = ProjectPaths(folder.resolve())
        self.folder = self.paths.project

    @classmethod
    def find(cls, start: Path) -> Project:
        """The project around a folder: the nearest one upwards with a task file or a ledger.

        Raises:
            SetupError: there is none.
        """
        for folder in (start.resolve(), *start.resolve().parents):
            if (folder / FILE).is_file() or (folder / ".autoresearch" / "ledger.db").is_file():
                return cls(folder)
        raise SetupError(f"no {FILE} in {start.resolve()} or above it: write one with `autoresearch init`")

    def ledger(self, *, read_only: bool = False) -> SqliteLedger:
        """Open the ledger.

        Raises:
            SetupError: read-only, and there is none yet.
        """
        if read_only and not self.paths.ledger.is_file():
            raise SetupError(f"no run in {self.folder} yet: start one with `autoresearch run`")
        if not read_only:
            self.paths.make()
        return SqliteLedger(self.paths.ledger, read_only=read_only)

    def pick(self, ledger: Ledger, name: str | None) -> RunRecord:
        """The run of that name, or the newest.

        Raises:
            UnknownName: there is none.
        """
        runs = ledger.runs()
        if name is None and runs:
            return runs[-1]
        for run in runs:
            if run.run == name:
                return run
        raise UnknownName("run", name or "", [r.run for r in runs])

    def location(self, confirm: Callable[[str], bool] | None) -> git.Location:
        """The repository around the project; a plain folder becomes one if that is confirmed.

        Raises:
            RepositoryError: none, and nobody said yes.
        """
        git.check_version()
        found = git.locate(self.folder)
        if found is None:
            question = f"{self.folder} is no git repository. Make one of it (git init, one commit of everything)?"
            if confirm is None or not confirm(question):
                raise RepositoryError(
                    f"{self.folder} is no git repository: run `git init`, add and commit your files (or --yes)"
                )
            survey.git_init(self.folder)
            found = git.locate(self.folder)
        assert found is not None
        return found


class Session:
    """One session of a run, ready to go. Use as a context manager: it holds the run's lock and the ledger.

    Raises (when made):
        AutoresearchError: the set-up is wrong; nothing was started.
    """

    def __init__(self, project: Project, wish: Wish, task: Task | None = None) -> None:
        with ungrouped():
            self._open(project, wish, task)

    def _open(self, project: Project, wish: Wish, task: Task | None) -> None:
        self.project, self.wish = project, wish
        self.task = task or load(project.folder)
        check_fits(wanted(self.task), self._slots()[0])
        if str(project.folder) not in sys.path:
            sys.path.insert(0, str(project.folder))  # for proposers named module:Class
        proposers.known(self.task.proposer[0].kind)  # before anything is recorded
        self.location = project.location(wish.confirm)
        self.notices: list[str] = []
        self.pictures = True
        with ExitStack() as opened:
            self.ledger = project.ledger()
            opened.callback(self.ledger.close)
            self.is_new, self.run = self._choose()
            self.before = self.run
            self._surroundings = Surroundings(project.folder, self.task.evaluate.inputs, self.ledger)
            self.notices += self._surroundings.busy()
            names = project.paths.run(self.run.run)
            opened.enter_context(OwnerLock(names.lock, self.run.run))
            opened.enter_context(OwnerLock(names.cache_lock, self.run.run))  # `clean` leaves the trees alone
            self._answer_late_requests()
            if self.is_new and any(r.run == self.run.run for r in self.ledger.runs()):
                raise SetupError(f"run {self.run.run} exists already: another session started it meanwhile")
            if self.is_new:
                self._record_start()
            else:
                self._record_restart()
            self._take_over()
            self._opened = opened.pop_all()

    def _answer_late_requests(self) -> None:
        """Requests that no owner answered: those that stand in the ledger were heard, the others were not."""
        waiting = self.ledger.requests(self.run.run)
        rows = self.ledger.events(self.run.run) if waiting else ()
        heard = {e.body.get("request") for e in rows if e.kind == "requested"}
        for request in waiting:
            late = {"ok": True, "words": "it was taken down"}
            missed = {"ok": False, "words": "nobody worked on the run any more"}
            self.ledger.answer(request.id, late if request.id in heard else missed)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._opened.close()

    # -- which run, on which base -----------------------------------------------------------------------------------

    def _choose(self) -> tuple[bool, RunRecord]:
        wish, runs = self.wish, self.ledger.runs()
        digest, _ = ruler(self.task)
        if wish.name is not None and not is_run_name(wish.name):
            raise SetupError(
                f"run name {wish.name!r}: expected small letters, digits, '.', '_' and '-', at most 64 of them, "
                "starting with a letter or digit, and not what git refuses in a branch ('..', a final '.' or '.lock')"
            )
        if wish.order is not None or wish.rebaseline:
            known = self.project.pick(self.ledger, wish.name)
            self._same_ruler(known, digest)
            return False, known
        if not wish.new and wish.start is None:
            going_on = next((r for r in runs if r.run == wish.name), None) if wish.name else self._newest(runs, digest)
            if going_on is not None:
                self._same_ruler(going_on, digest)
                return False, going_on
        if wish.name is not None and any(r.run == wish.name for r in runs):
            raise SetupError(
                f"run {wish.name} exists already: choose another name, or go on with `autoresearch run {wish.name}`"
            )
        return True, self._new_run(wish.name or self._name_of_today({r.run for r in runs}), digest)

    def _newest(self, runs: list[RunRecord], digest: str) -> RunRecord | None:
        """The newest unfinished run under this ruler; where all are under others, the newest, to be refused by name."""
        unfinished = [r for r in runs if r.status == "open" or self._raised(r)]
        same = [r for r in unfinished if r.ruler == digest]
        newest = same or unfinished
        return newest[-1] if newest else None

    def _raised(self, run: RunRecord) -> bool:
        """Whether a run that had used up its budget may go on under the present one."""
        if run.stop_reason not in FINISHED or run.ruler != ruler(self.task)[0]:
            return False
        budget, history = self.task.budget, self.ledger.history(run.run)
        match run.stop_reason:
            case "experiments":
                return budget.experiments > len(history.experiments) - 1 - len(history.lost)
            case "evaluations":
                return not budget.evaluations or budget.evaluations > history.evaluations
            case "time":
                return budget.time is None or budget.time > run.worked_s
            case "cost":
                return budget.cost_usd is None or budget.cost_usd > history.cost_usd
            case "tokens":
                return budget.tokens is None or budget.tokens > history.tokens
            case "target":
                sign, value = (1 if run.direction == "maximize" else -1), history.incumbent.value
                target = self.task.metric.target
                return target is None or value is None or sign * value < sign * target
        return False

    def _same_ruler(self, run: RunRecord, digest: str) -> None:
        if run.ruler == digest:
            return
        _, now = ruler(self.task)
        changed = [k for k in sorted(now.keys() | run.ruler_text.keys()) if now.get(k) != run.ruler_text.get(k)]
        rows = "\n".join(f"  {k}: {run.ruler_text.get(k, '(none)')} → {now.get(k, '(none)')}" for k in changed)
        raise RulerChanged(
            f"the ruler has changed since run {run.run} began, and its numbers would not compare:\n{rows}\n"
            f"Take the change back, or start a new run from its incumbent: autoresearch run --from {run.run}"
        )

    def _name_of_today(self, taken: set[str]) -> str:
        today = datetime.date.today()
        stem = f"{today:%b}{today.day}".lower()
        branches = self._branches()
        count, name = 1, stem
        while name in taken or name in branches:
            count += 1
            name = f"{stem}-{count}"
        return name

    def _branches(self) -> set[str]:
        refs = git.run(f"--git-dir={self.location.git_dir}", "for-each-ref", "--format=%(refname)", "refs/heads/autoresearch")
        return {line.removeprefix("refs/heads/autoresearch/") for line in refs.decode().splitlines()}

    def _new_run(self, name: str, digest: str) -> RunRecord:
        task, wish = self.task, self.wish
        evaluations, proposals = self._slots()
        metric, base = task.metric, self._base()
        measured = self._measured(base, wish.seed)
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
            ruler_text=ruler(task)[1],
            acceptance=task.acceptance.kind,
            python=sys.executable,
            project=str(self.project.folder),
        )

    def _measured(self, base: str, seed: int | None) -> reuse.Measured | None:
        """What a `check` measured of the same base under the same ruler, a short while ago."""
        tree = git.run(f"--git-dir={self.location.git_dir}", "rev-parse", f"{base}^{{tree}}").decode().strip()
        return reuse.load(self.project.paths, self.task, base_tree=tree, seed=seed, python=sys.executable, now=time.time())

    def _take_over(self) -> None:
        """Let the baseline be what `check` measured, where it was not measured yet."""
        self.measured = self._measured(self.run.base, self.run.seed) if self.history.decided < 0 else None
        if self.measured is not None:
            self.notices.insert(0, self.measured.words(time.time()))

    def _slots(self) -> tuple[int, int]:
        asked = self.wish.evaluations or self.task.run.evaluations
        evaluations = most_slots(wanted(self.task)) if asked == "auto" else int(asked)
        return evaluations, self.wish.proposals or self.task.run.proposals

    def _base(self) -> str:
        """The commit to start from; what is not committed is asked about."""
        scratch = self.project.paths.run("start").cache / "scratch"
        repository = git.Repository(self.location.git_dir, scratch)
        try:
            survey.refuse_unfit(self.location, repository)
            base = self._chosen(repository)
            survey.refuse_files(
                repository.files(repository.tree_of(base)), repository, scope_of(self.task), self.location.prefix
            )
            return base
        finally:
            repository.close()

    def _chosen(self, repository: git.Repository) -> str:
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

    def _from(self, repository: git.Repository, start: str) -> str:
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

    def _record_start(self) -> None:
        run = self.run
        body = {
            key: getattr(run, key)
            for key in [
                "task",
                "metric",
                "direction",
                "unit",
                "base",
                "seed",
                "lag",
                "ruler",
                "ruler_text",
                "acceptance",
                "python",
                "project",
            ]
        }
        self.ledger.append(run.run, Event("run_started", None, body), self._surroundings.note((), detached=self.wish.detached))
        self._record_texts()

    def _record_restart(self) -> None:
        wish, python = self.wish, self._python_here()
        due = self._surroundings.due(self.history, wish.refresh_after_s)
        body = {"errand": wish.order[0]} if wish.order is not None else {}
        if python != self.run.python:
            body["python"] = python
            due.append(f"python: {self.run.python} → {python}")
        orders = []
        if wish.order is not None:
            event, words = order_event(self.history, *wish.order)
            orders += [event] if event is not None else []
            self.notices += [words] if words else []
        note = self._surroundings.note(due, detached=wish.detached)
        self.ledger.append(self.run.run, Event("run_started", None, body), note, *orders)
        self.run = replace(self.run, python=python)
        self._record_texts()
        if python != sys.executable:
            self.notices.append(f"python is the one the run was started with: {python}")
        self._notice_checkout()
        wall = _RAISE.get(self.before.stop_reason) if wish.order is None and not self._raised(self.before) else None
        if wall is not None:
            words = f"raise {wall} in {FILE} to go on with it, or start another with --new"
            self.notices.append(f"the run is finished ({self.before.stop_words}): {words}")
        self.notices += due
        if (due or wish.rebaseline) and self.history.line and (wish.order is None or wish.order[0] != "validate"):
            measured = "baseline and incumbent are" if wish.rebaseline else "the incumbent is"
            self.notices.append(f"{measured} measured again first; from then on it is the new value that has to be beaten")

    def _notice_checkout(self) -> None:
        """What is in the checkout and not in the run."""
        head = git.run("rev-parse", "--verify", "HEAD^{commit}", cwd=self.project.folder).decode().strip()
        if head != self.run.base:
            self.notices.append(f"HEAD has moved since the run began; it goes on from its own base {self.run.base[:10]}")
        scope, prefix = scope_of(self.task), self.location.prefix
        try:
            dirty = survey.uncommitted(self.location, scope, (FILE, self.task.task.instructions))
        except RepositoryError:
            return  # it is only looked at to say something about it
        mine = [p for p in dirty if p.startswith(prefix) and p.removeprefix(prefix) in scope]
        if mine:
            more = f" and {len(mine) - 3} more" if len(mine) > 3 else ""
            self.notices.append(
                f"your edits of {', '.join(mine[:3])}{more} are not part of the run: it goes on from its own base"
            )

    def _python_here(self) -> str:
        """The run's own interpreter; the present one where that is gone and its numbers are measured again anyway.

        Raises:
            SetupError: it is gone.
        """
        run = self.run
        if Path(run.python).exists():
            return run.python
        if self.history.agenda.imported or self.wish.rebaseline:
            return sys.executable
        raise SetupError(
            f"run {run.run} was started with {run.python}, which is gone: make it again, go on with the present one and "
            "numbers measured with it by `autoresearch run --rebaseline`, or start a new run from its incumbent with "
            f"--from {run.run}"
        )

    def _record_texts(self) -> None:
        """The live keys' versions by hash: the task file and the owner's instructions as they are now."""
        task_file = self.project.folder / FILE
        text = task_file.read_bytes() if task_file.is_file() else b""
        hashes = {"task": self.ledger.put(text), "instructions": self.ledger.put(self.task.instructions_text.encode())}
        self.ledger.append(self.run.run, Event("note", None, {"what": "texts", **hashes}))

    # -- the work ---------------------------------------------------------------------------------------------------

    @property
    def history(self) -> History:
        return self.ledger.history(self.run.run)

    def budget(self) -> Budget:
        b, wish = self.task.budget, self.wish
        if wish.order is not None:
            return Budget()  # what a person asked for has its own end, and costs no money
        return Budget(
            experiments=b.experiments or None,
            session_experiments=wish.experiments,
            evaluations=b.evaluations,
            time_s=b.time,
            session_time_s=wish.time_s,
            cost_usd=b.cost_usd,
            tokens=b.tokens,
        )

    async def work(self, watch: Watch, ready: Callable[[Loop], None] = lambda loop: None) -> Ending:
        """Run the loop to the session's end, keep `results.tsv` and the picture up to date."""
        names = self.project.paths.run(self.run.run)
        history, metric = self.history, self.task.metric.name
        table = ResultsTable(names.results, history, metric)
        plotter = Plotter(self.project.paths.ledger, self.run.run, names.progress)
        table.restore()

        def seen(what: str, details: Mapping[str, Any]) -> None:
            event = details.get("event")
            if isinstance(event, ChainedEvent) and event.n is not None and event.kind in ("decided", "advanced"):
                e = history.experiments[event.n]
                if event.kind == "advanced" or not e.kept or not e.n:
                    table.take(e)
                    if self.pictures:
                        plotter.maybe()
            watch(what, details)

        with ungrouped():
            ending = await self._supervised(seen, ready)
        if history.line and self.pictures:
            plotter.finish()
        return ending

    async def _supervised(self, seen: Watch, ready: Callable[[Loop], None]) -> Ending:
        slots = self._slots()
        async with Supervisor() as supervisor:
            with Shares(wanted(self.task), slots[0], self.run.run) as shares:
                return await self._work_in(supervisor, shares, slots, seen, ready)

    async def _work_in(
        self, supervisor: Supervisor, shares: Shares, slots: tuple[int, int], seen: Watch, ready: Callable[[Loop], None]
    ) -> Ending:
        paths, location = self.project.paths, self.location
        assembly = Assembly(paths, location, self.task, self.run, self.ledger, slots=slots, shares=shares)
        workspace = await assembly.workspace(supervisor)
        for words in [*shares.words(slots[0], supervisor.memory_limit), *await assembly.tidy(supervisor)]:
            seen("mended", {"words": words})
        try:
            parts, options = self._with_errand(assembly.parts(supervisor, workspace), assembly.options())
            loop = Loop(parts, options, self.budget(), seen)
            ready(loop)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch_disk, loop)
                ending = await loop.run()
                tasks.cancel_scope.cancel()
        finally:
            workspace.close()
        return ending

    def _with_errand(self, parts: Parts, options: Options) -> tuple[Parts, Options]:
        measured = self.measured.readouts if self.measured else {}
        options = replace(options, rebaseline=self.wish.rebaseline, measured=measured)
        if self.wish.order is None:
            return parts, options
        last = Ending(self.before.stop_reason or "stopped", self.before.stop_words or "stopped")
        is_final = self.wish.order[0] == "validate"
        if is_final:
            parts = replace(parts, acceptance=final.Compared(parts.acceptance))
        return parts, replace(options, errand=Errand(last, is_final))

    async def _watch_disk(self, loop: Loop) -> None:
        """End the run before its records and trees take more than their share of the disk."""
        limit = self.task.run.disk
        names = self.project.paths.run(self.run.run)
        while True:
            used = await anyio.to_thread.run_sync(machine.used_bytes, self.project.paths.folder, names.cache)
            free = machine.free_bytes(names.folder)
            if used > limit:
                loop.stop(Ending("disk", f"{show_bytes(used)} used of [run] disk = {show_bytes(limit)}", 1))
            elif free < 50 * 10**6:
                loop.stop(Ending("disk", f"only {show_bytes(free)} free where {names.folder} lies", 1))
            await anyio.sleep(30)
