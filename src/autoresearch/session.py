"""A session of a run: its lock and ledger, what is recorded at its start, its parts, its work."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import anyio

from autoresearch import anchors, consent, git, lock, machine, payers, proposers
from autoresearch.acceptance import final
from autoresearch.agenda import Wall
from autoresearch.assembly import Assembly, importable, proposing, refuse_inputs, wanted
from autoresearch.books import Errand, Options, Parts, Watch
from autoresearch.briefing import Words, hashes
from autoresearch.budget import Budget, Ending
from autoresearch.checkup.connections import unreached
from autoresearch.choice import Choice, Wish, budget_of, slots_of, with_proposer
from autoresearch.errors import NameTaken, OwnedElsewhere, RepositoryError, SetupError, ungrouped
from autoresearch.forecast import Forecast
from autoresearch.history import History
from autoresearch.lock import OwnerLock
from autoresearch.loop import Loop
from autoresearch.objects import Repository
from autoresearch.paths import RunPaths
from autoresearch.plot import Plotter
from autoresearch.process import Supervisor
from autoresearch.process.probe import Found
from autoresearch.project import Project
from autoresearch.proposers.program import Login
from autoresearch.records import LEAVE, PROBE, TRY, ChainedEvent, Event, Request, Trust
from autoresearch.report import ResultsTable
from autoresearch.scope import scope_of
from autoresearch.shares import Shares, check_fits
from autoresearch.surroundings import Surroundings, order_event
from autoresearch.taskfile import FILE, Task, load
from autoresearch.taskfile.times import is_exclusive, is_time
from autoresearch.text import show_bytes
from autoresearch.trust import note, trust_of
from autoresearch.workspace import survey
from autoresearch.workspace.claim import claim

_LEAVES_WITHIN_S = 10.0
_RAISE = {
    "experiments": "[budget] experiments",
    "evaluations": "[budget] evaluations",
    "time": "[budget] time",
    "cost": "[budget] cost_usd",
    "tokens": "[budget] tokens",
    "target": "[metric] target",
    "gate": "[gate] queries",
}


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
        self.task = with_proposer(task or load(project.folder), wish)
        check_fits(wanted(self.task), slots_of(self.task, self.wish)[0])
        refuse_inputs(project.folder, self.task)
        importable(project.folder)
        for table in proposing(self.task).values() if wish.proposes else ():
            proposers.known(table.kind)  # before anything is recorded
        self._words = Words(project.folder, self.task)
        self.location = project.location(wish.confirm)
        self.pictures = True
        while not self._open_run(project, wish):
            pass  # the name of the day was taken by another project of the repository meanwhile: once more, with the next one

    def _open_run(self, project: Project, wish: Wish) -> bool:
        """Hold a run and record that it begins or goes on; False where its name was taken just now."""
        self.notices: list[str] = []
        with ExitStack() as opened:
            self.ledger = project.ledger()
            opened.callback(self.ledger.close)
            self._choice = Choice(project, wish, self.task, self.ledger, self.location)
            self.is_new, self.run = self._choice.make()
            self.before = self.run
            self._surroundings = Surroundings(project.folder, self.task.evaluate.inputs, self.ledger)
            self.notices += self._not_the_tasks_own()
            self.notices += self._surroundings.busy() + self._one_at_a_time() + self._unreached()
            names = project.paths.run(self.run.run)
            self._hold(names, opened)
            opened.enter_context(OwnerLock(names.cache_lock, self.run.run))  # `clean` leaves the trees alone
            self.notices += anchors.own(self.ledger, self.location, self.run.run)
            self._answer_late_requests()
            if self.is_new and any(r.run == self.run.run for r in self.ledger.runs()):
                raise SetupError(f"run {self.run.run} exists already: another session started it meanwhile")
            self._settle_payers()
            if self.is_new and not self._begin():
                return False
            if not self.is_new:
                self._record_restart()
            self._record_wall()
            self._take_over()
            self._opened = opened.pop_all()
        return True

    def _not_the_tasks_own(self) -> list[str]:
        """That the proposer is this session's alone."""
        wish, table = self.wish, self.task.proposer[0]
        if not wish.proposer and not wish.model:
            return []
        model = f' and model = "{table.model}"' if wish.model else ""
        server = f", its model at {table.base_url}" if table.base_url else ""
        words = f"in this session {table.kind} proposes{server}"
        return [f'{words}; to stay with it write kind = "{table.kind}"{model} under [proposer]']

    def _settle_payers(self) -> None:
        """Who pays for the models, and where the run stops for it, before anything is recorded.

        Raises:
            SetupError: nobody does, or there is no wall and nobody to ask for one.
        """
        self.logins: Mapping[str, Login] = {}
        self.payers: tuple[payers.Payer, ...] = ()
        self._wall: Wall | None = None
        self.forecast = Forecast(None, None, 0, 0)
        self._made_before = max(0, self.history.decided)
        if not self.wish.proposes:
            return
        paths, location = self.project.paths, self.location
        self.logins = payers.logins(self.task, paths, self.wish.confirm)
        assembly = Assembly(paths, location, self.task, self.run, self.ledger, logins=self.logins, words=self._words)
        self.payers = payers.payers(assembly, self.logins)
        if self.payers:
            self._others = payers.others(self.ledger, self.run.run)
            self._asked = [payer.asked for payer in self.payers]
            budget, histories = self.budget(), [self.history, *self._others]
            self.forecast = payers.outlook(self._asked, histories, budget, session=self.wish.experiments)
            whole = replace(budget, session_time_s=None, until=None)  # an answer holds for the run
            self._wall = payers.wall(self.payers, budget, payers.outlook(self._asked, histories, whole), self.wish.amount)

    def paying(self) -> list[str]:
        """Who pays for which model, and what it will cost, in lines."""
        found = [payer.line(self.budget(), self.history.cost_usd) for payer in self.payers]
        return [*found, self.forecast.line] if found else []

    def facts(self) -> dict[str, Any]:
        """The same for programs."""
        budget = self.budget()
        walls = {key: getattr(budget, key) for key in ("cost_usd", "tokens", "session_cost_usd", "session_tokens", "until")}
        found = {"paid": [payer.as_json() for payer in self.payers], "walls": walls}
        return found | {"forecast": asdict(self.forecast) if self.payers else None}

    def outlook(self, history: History, worked_s: float) -> Forecast | None:
        """What is still to come, as far as it is known by now; None where nobody pays.

        Args:
            history: the run's; worked_s: how long this session has worked. May be called from another thread.
        """
        if not self.payers:
            return None
        made = max(0, len(history.experiments) - 1) - self._made_before
        session = None if self.wish.experiments is None else max(0, self.wish.experiments - made)
        return payers.outlook(self._asked, [history, *self._others], self._budget, session=session, worked_s=worked_s)

    def _record_wall(self) -> None:
        """What the owner answered holds for the run, however often it goes on."""
        if self._wall is not None:
            said = {key: value for key, value in asdict(self._wall).items() if value is not None}
            self.ledger.append(self.run.run, Event("note", None, {"what": "wall", **said}), durable=True)
        self._budget = self.budget()

    def _one_at_a_time(self) -> list[str]:
        """That evaluations do not overlap, where several slots were asked for."""
        slots = slots_of(self.task, self.wish)[0]
        if slots == 1 or not is_exclusive(self.task):
            return []
        what = f"{self.task.metric.name} is a time" if is_time(self.task.metric) else "[evaluate] exclusive is set"
        return [f"one evaluation at a time in {slots} slots: {what}, so each is measured alone ([evaluate] exclusive = false)"]

    def _unreached(self) -> list[str]:
        """That a variable leads to what evaluations cannot reach."""
        leads = unreached(self.task, os.environ, self.task.evaluate.env)
        if not leads:
            return []
        return [f"[evaluate] env leads to {', '.join(leads)}, which evaluations cannot reach: network = {json.dumps(leads)}"]

    def _take_over(self) -> None:
        """Let the baseline be what `check` measured, where it was not measured yet."""
        self.measured = self._choice.measured(self.run.base, self.run.seed) if self.history.decided < 0 else None
        if self.measured is not None:
            self.notices.insert(0, self.measured.words(time.time()))

    def _hold(self, names: RunPaths, opened: ExitStack) -> None:
        """Take the run's lock; whoever holds it only to serve others gives it up.

        Raises:
            OwnedElsewhere: another process works on the run.
        """
        try:
            opened.enter_context(OwnerLock(names.lock, self.run.run))
        except OwnedElsewhere:
            if self.wish.serves or not self._is_left(names):
                raise
            opened.enter_context(OwnerLock(names.lock, self.run.run))

    def _is_left(self, names: RunPaths) -> bool:
        """Ask the owner to leave the run; whether it did."""
        request = self.ledger.request(self.run.run, LEAVE, {})
        until = time.monotonic() + _LEAVES_WITHIN_S
        while time.monotonic() < until and lock.owner(names.lock):
            if (answer := self.ledger.answered(request)) is not None and not answer.get("ok"):
                return False
            time.sleep(0.02)
        self.ledger.answer(request, {"ok": False, "words": "nobody left in time"})
        return not lock.owner(names.lock)

    def _answer_late_requests(self) -> None:
        """Requests that no owner answered: those that stand in the ledger were heard, the others were not."""
        waiting = self.ledger.requests(self.run.run)
        rows = self.ledger.events(self.run.run) if waiting else ()
        heard = {e.body.get("request") for e in rows if e.kind == "requested"}
        for request in waiting:
            if request.kind in (TRY, PROBE) or (request.kind == LEAVE and self._is_to_leave(request)):
                continue  # the loop hears them
            late = {"ok": True, "words": "it was taken down"}
            missed = {"ok": False, "words": "nobody worked on the run any more"}
            self.ledger.answer(request.id, late if request.id in heard else missed)

    def _is_to_leave(self, request: Request) -> bool:
        """Whether somebody still waits for the run: he asked while this session was opened."""
        return self.wish.serves and time.time() - request.at < _LEAVES_WITHIN_S

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._opened.close()

    def _begin(self) -> bool:
        """Record the new run, unless another project of the repository has just taken its name.

        Raises:
            SetupError: somebody has just begun a run that this session would have gone on with, or the name was wished for.
        """
        with nullcontext() if self.wish.serves else lock.alone(self.project.paths.starting):  # who starts a server holds it
            chosen = self.wish.name is not None or self.wish.new or self.wish.start is not None
            if not chosen and (other := self._choice.going_on()) is not None:
                raise SetupError(f"run {other.run} was begun by another process meanwhile: autoresearch run goes on with it")
            if not self._claim():
                return False
            self._record_start()
        return True

    def _claim(self) -> bool:
        """Take the run's names in the repository, before the ledger names them; False where another has the name of the day.

        Raises:
            NameTaken: the name was wished for, and another has it.
        """
        cache = self.project.paths.run(self.run.run).cache
        repository = Repository(self.location.git_dir, cache / "scratch")
        try:
            claim(repository, self.run.run, self.run.base, cache)
        except NameTaken:
            if self.wish.name is not None:
                raise
            return False
        finally:
            repository.close()
        return True

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
        note = self._surroundings.note((), detached=self.wish.detached)
        self.ledger.append(run.run, Event("run_started", None, body), note, *self._sets())
        self._record_texts()

    def _record_restart(self) -> None:
        wish, python = self.wish, self._python_here()
        due = self._surroundings.due(self.history, wish.refresh_after_s)
        body = {"errand": wish.order[0]} if wish.order is not None else {"errand": TRY} if wish.serves else {}
        if python != self.run.python:
            body["python"] = python
            due.append(f"python: {self.run.python} → {python}")
        orders = []
        if wish.order is not None:
            event, words = order_event(self.history, *wish.order)
            orders += [event] if event is not None else []
            self.notices += [words] if words else []
        orders += self._sets()
        note = self._surroundings.note(due, detached=wish.detached)
        self.ledger.append(self.run.run, Event("run_started", None, body), note, *orders)
        self.run = replace(self.run, python=python)
        self._record_texts()
        if python != sys.executable:
            self.notices.append(f"python is the one the run was started with: {python}")
        if not wish.serves:
            self._notice_checkout()
        wall = _RAISE.get(self.before.stop_reason) if wish.proposes and not self._choice.is_raised(self.before) else None
        if wall is not None:
            words = f"raise {wall} in {FILE} to go on with it, or start another with --new"
            self.notices.append(f"the run is finished ({self.before.stop_words}): {words}")
        self.notices += due
        if (due or wish.rebaseline) and self.history.line and (wish.order is None or wish.order[0] != "validate"):
            measured = "baseline and incumbent are" if wish.rebaseline else "the incumbent is"
            self.notices.append(f"{measured} measured again first; from then on it is the new value that has to be beaten")

    def _sets(self) -> list[Event]:
        """What sets there are, and how many candidates the gate answers for, where that is not recorded yet."""
        most, held_out = self.task.gate.queries if self.task.gate is not None else 0, self.task.held_out is not None
        agenda = self.history.agenda
        known = (agenda.queries, agenda.held_out) == (most, held_out)
        return [] if known else [Event("note", None, {"what": "sets", "queries": most, "held_out": held_out})]

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
        found = {"task": self.ledger.put(text), **hashes(self._words.now(), self.ledger.put)}
        self.ledger.append(self.run.run, Event("note", None, {"what": "texts", **found}))

    # -- the work ---------------------------------------------------------------------------------------------------

    @property
    def history(self) -> History:
        return self.ledger.history(self.run.run)

    def budget(self) -> Budget:
        return budget_of(self.task, self.wish, self.history)

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
        slots = slots_of(self.task, self.wish)
        async with Supervisor() as supervisor:
            with Shares(wanted(self.task), slots[0], self.run.run) as shares:
                return await self._work_in(supervisor, shares, slots, seen, ready)

    async def _work_in(
        self, supervisor: Supervisor, shares: Shares, slots: tuple[int, int], seen: Watch, ready: Callable[[Loop], None]
    ) -> Ending:
        paths, location = self.project.paths, self.location
        assembly = Assembly(
            paths, location, self.task, self.run, self.ledger, slots=slots, shares=shares, logins=self.logins, words=self._words
        )
        shares.room.say = lambda words: seen("mended", {"words": words})
        self._ask_consent(await assembly.found_for_proposals(supervisor))
        self._say_trust(trust_of(self.task, await assembly.found(supervisor)), seen)
        workspace = await assembly.workspace(supervisor)
        said = [*shares.words(slots[0], supervisor.memory_limit), *assembly.blind(), *await assembly.tidy(supervisor)]
        for words in said:
            seen("mended", {"words": words})
        try:
            parts = assembly.parts(supervisor, workspace, proposes=self.wish.proposes)
            parts, options = self._with_errand(parts, assembly.options())
            loop = Loop(parts, options, self.budget(), seen)
            shares.room.uncharged = loop.books.spending.waiting
            ready(loop)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch_disk, loop)
                ending = await loop.run()
                tasks.cancel_scope.cancel()
        finally:
            workspace.close()
        return ending

    def _ask_consent(self, found: Found) -> None:
        """Let a proposer that writes code have no walls only where the owner allows it.

        Raises:
            SetupError: he does not.
        """
        for table in proposing(self.task).values() if self.wish.proposes else ():
            if table.sandbox == "none" or not found.kind:
                why = found.words if table.sandbox != "none" else "[proposer] sandbox is none"
                consent.ask(self.project.paths, table.kind, why, self.wish.confirm)

    def _say_trust(self, trust: Trust, seen: Watch) -> None:
        """Store how far the ruler is out of reach in this session, and say it."""
        before = self.history.agenda.trust
        events = [note(trust)] if before != trust else []
        if before is not None and before.walls["sandbox"] != trust.walls["sandbox"]:
            words = f"sandbox: {before.walls['sandbox']} → {trust.walls['sandbox']}"
            due = [*self.history.agenda.due, words]
            events.append(self._surroundings.note(due, detached=self.wish.detached))
            seen("mended", {"words": f"{words}: the incumbent is measured again first"})
        if events:  # at once: a kill in between would leave the new walls and an incumbent of the old ones
            self.ledger.append(self.run.run, *events)
        if self.wish.order is None:
            seen("trust", {"words": trust.line, "trust": trust})

    def _with_errand(self, parts: Parts, options: Options) -> tuple[Parts, Options]:
        measured = self.measured.readouts if self.measured else {}
        settings = replace(options.settings, reach=self.budget().reach())
        options = replace(options, settings=settings, rebaseline=self.wish.rebaseline, measured=measured)
        options = replace(options, serves=self.wish.serves, linger_s=self.wish.linger_s)
        if self.wish.order is None:
            return parts, options
        last = Ending(self.before.stop_reason or "stopped", self.before.stop_words or "stopped")
        is_final = self.wish.order[0] == "validate"
        if is_final:
            parts = replace(parts, acceptance=final.compared(parts.acceptance))
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
