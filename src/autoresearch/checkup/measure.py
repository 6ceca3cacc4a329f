"""Evaluations for `check`: in the sealed tree as a run makes them, and outside it, in the owner's own surroundings."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from autoresearch import git, machine
from autoresearch.acceptance.single_run import seed_for
from autoresearch.assembly import Assembly, closed_to_evaluations, wanted
from autoresearch.books import CheckOrder, Options
from autoresearch.contracts import Place
from autoresearch.errors import SetupError
from autoresearch.ledger import MemoryLedger
from autoresearch.paths import ProjectPaths
from autoresearch.process import Exit, Job, Supervisor, can_layer
from autoresearch.process.environment import Openings
from autoresearch.records import Blob, Candidate, Layer, Order, Outcome, Readout, RunRecord, Which
from autoresearch.runners.formats import Found, recognise
from autoresearch.shares import Shares
from autoresearch.taskfile import Task
from autoresearch.taskfile.load import parse
from autoresearch.text import slug
from autoresearch.workspace.repository import GitWorkspace
from autoresearch.workspace.tree import remove

RUN = ".check"  # no run can have this name
SEALED = Openings()
_HEARD = 256 * 1024  # characters of standard output that are remembered
OPEN = Openings(home=True, environment=True, network=True, sandbox=True)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is examined: a project at a commit.

    Attributes:
        task: as it stands in the file; `seed` is the run seed under which all is measured.
    """

    paths: ProjectPaths
    location: git.Location
    task: Task
    base: str
    seed: int
    python: str

    def task_of(self, text: str) -> Task:
        """The task as another text of the file says it.

        Raises:
            TaskError: it says nothing sensible.
        """
        task = parse(text.lstrip("\ufeff"))
        table = task.task.model_copy(update={"name": self.task.task.name})
        return task.model_copy(update={"task": table, "instructions_text": self.task.instructions_text})

    @property
    def logs(self) -> Path:
        """Outside the checkout, which evaluations find read-only; kept in the project's folder afterwards."""
        return self.cache / "logs"

    @property
    def closed(self) -> tuple[Path, ...]:
        """What evaluations find read-only."""
        return closed_to_evaluations(self.location, self.cache)

    @property
    def cache(self) -> Path:
        return self.paths.run(RUN).cache


@dataclass(frozen=True, slots=True)
class Tried:
    """One evaluation with what it said.

    Attributes:
        output: the last lines of both streams, of set-up, build and command.
        folder: where it ran, and `home` the HOME it had.
        found: numbers that the reader of well-known outputs sees in what was printed and left.
        took_s: from laying out the tree to the end.
    """

    readout: Readout
    output: str = ""
    stdout: str = ""
    folder: Path = Path("/")
    home: Path = Path("/")
    found: tuple[Found, ...] = ()
    took_s: float = 0.0

    @property
    def ok(self) -> bool:
        return self.readout.outcome is Outcome.OK

    @property
    def words(self) -> str:
        return f"{self.readout.outcome.value}: {self.readout.words}"


class Listener(Supervisor):
    """A supervisor that remembers what its jobs said; `say` is told why one has to wait."""

    def __init__(self, say: Say = lambda words: None) -> None:
        super().__init__()
        self.say = say
        self.heard: list[tuple[Path | None, Exit]] = []

    async def __aenter__(self) -> Listener:
        await super().__aenter__()
        return self

    async def run(self, job: Job) -> Exit:
        end = await super().run(job)
        self.heard.append((job.log, replace(end, stdout=end.stdout[-_HEARD:])))
        return end


class Sealed:
    """A task, as a text of its file says it, in trees as a run makes them. Use as an async context manager.

    Raises (when entered):
        SetupError: the text names what is not there.
    """

    def __init__(self, subject: Subject, text: str, supervisor: Listener, openings: Openings = SEALED) -> None:
        self.subject, self.supervisor, self._text = subject, supervisor, text
        self.task = subject.task_of(text)
        run = RunRecord(
            run=RUN,
            task=self.task.task.name,
            metric=self.task.metric.name,
            direction=self.task.metric.direction,
            base=subject.base,
            seed=subject.seed,
            python=subject.python,
        )
        self._shares = Shares(wanted(self.task), 1, RUN)
        self._shares.room.say = supervisor.say
        self.assembly = Assembly(
            subject.paths, subject.location, self.task, run, MemoryLedger(), openings=openings, shares=self._shares
        )
        self.options: Options = self.assembly.options()

    async def __aenter__(self) -> Sealed:
        self._shares.__enter__()
        try:
            self._forget()
            self.workspace: GitWorkspace = await self.assembly.workspace(self.supervisor)
            self.runner = self.assembly.runner(self.supervisor)
        except BaseException:
            self._shares.__exit__(None, None, None)
            raise
        self.base = Candidate(0, self.workspace.base.tree, self.subject.base)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.workspace.close()
        self._shares.__exit__(None, None, None)

    def _forget(self) -> None:
        """What was built and cached under another text proves nothing about this one."""
        slot, known = self.subject.cache / "evaluation-0", self.subject.cache / "text"
        if not known.exists() or known.read_text(encoding="utf-8") != self._text:
            if slot.exists():
                remove(slot)
            known.parent.mkdir(parents=True, exist_ok=True)
            known.write_text(self._text, encoding="utf-8")

    @property
    def timeout_s(self) -> float:
        budget_s = self.options.time_budget_s
        return self.options.timeout_s or (3 * budget_s + 600 if budget_s else self.options.baseline_timeout_s)

    async def evaluate(
        self, candidate: Candidate | None = None, *, seed: int = 0, label: str = "eval-1", timeout_s: float | None = None
    ) -> Tried:
        """One evaluation of a candidate, the base if none is given."""
        order = Order(0, seed, 1, label, "", self.subject.logs, timeout_s or self.timeout_s)
        return await self._run(candidate or self.base, order)

    async def check(self, check: CheckOrder, candidate: Candidate | None = None, *, label: str = "") -> Tried:
        """One of the task's checks on a candidate, the base if none is given, with its retries."""
        tried = Tried(Readout(Outcome.OK))
        for attempt in range(1, check.retries + 2):
            log = label or f"check-{slug(check.name)}"
            order = Order(0, 0, attempt, log, check.command, self.subject.logs, check.timeout_s, "check")
            tried = await self._run(candidate or self.base, order)
            if tried.ok:
                break
        return tried

    async def on_set(self, which: Which) -> Tried:
        """One evaluation of the base on another of the task's sets; nothing of it is kept in a file."""
        command, seed = self.options.command(which), seed_for(self.options.settings, 0, 0)
        order = Order(0, seed, 1, which, command, None, self.timeout_s, pristine=True, which=which)
        return await self._run(self.base, order)

    async def quick(self) -> Tried:
        """The task's smoke test, on the base."""
        command = self.task.evaluate.quick
        return await self._run(self.base, Order(0, 0, 1, "quick", command, self.subject.logs, self.timeout_s, "quick"))

    async def _run(self, candidate: Candidate, order: Order) -> Tried:
        first, began = len(self.supervisor.heard), self._now()
        place: Place | None = None
        try:
            place = await self.workspace.place(0, candidate, pristine=order.pristine, which=order.which)
            if place.failed:
                readout = Readout(Outcome.BUILD, words=place.failed)
            elif place.unbuilt:
                readout, place = await self._built(candidate, place, order)
                began = self._now() - readout.duration_s  # a build is timed for itself
            else:
                readout = await self.runner.evaluate(place, order)
        except SetupError as error:
            readout = Readout(Outcome.BUILD, words=str(error))
        try:
            return replace(self._tried(readout, place, order, first), took_s=self._now() - began)
        finally:
            self.workspace.vacate(0)  # what it left is gone then

    def _now(self) -> float:
        """A clock that stands still while other runs are waited for."""
        return time.monotonic() - self._shares.room.waited_s

    async def _built(self, candidate: Candidate, place: Place, order: Order) -> tuple[Readout, Place]:
        build = Order(0, 0, 1, "build", self.task.evaluate.build, self.subject.logs, self.timeout_s, "build")
        readout = await self.runner.evaluate(place, build)
        if readout.outcome is not Outcome.OK:
            return Readout(Outcome.BUILD, words=readout.words, exit_code=readout.exit_code), place
        await self.workspace.built(0, candidate, pristine=order.pristine)
        place = await self.workspace.place(0, candidate, pristine=order.pristine, which=order.which)
        return await self.runner.evaluate(place, order), place

    def _tried(self, readout: Readout, place: Place | None, order: Order, first: int) -> Tried:
        ends = self.supervisor.heard[first:]
        log = self.subject.logs / f"{order.label}.log"
        stdout = next((end.stdout for path, end in reversed(ends) if path == log), "")
        output = "\n".join(end.tail for _, end in ends) or readout.words
        where = place.folder if place is not None and place.folder is not None else Path("/")
        scratch = place.scratch if place is not None and place.scratch is not None else Path("/")
        read = readout.outcome in (Outcome.OK, Outcome.NO_MEASUREMENT) and order.kind == "evaluate"
        found = recognise(stdout, place.find("") if place is not None else None) if read else []
        return Tried(readout, output, stdout, where, scratch / "home", tuple(found))

    def candidate(self, edits: Mapping[str, Blob | None]) -> Candidate:
        """The base with some files changed (paths relative to the project): objects only, no ref names it."""
        repository = self.workspace.base.repository
        changes = {
            self.subject.location.prefix + path: (blob.mode, repository.write("blob", blob.content)) if blob else None
            for path, blob in edits.items()
        }
        tree = repository.edit_tree(self.base.tree, changes)
        return Candidate(1, tree, self.subject.base)


async def outside(subject: Subject, text: str, supervisor: Listener, *, timeout_s: float | None = None) -> Tried:
    """The command in the owner's own checkout, HOME and environment; what it writes into the checkout is thrown away.

    It works on a layer over the checkout, or on a copy of it where there are none.
    """
    task = subject.task_of(text)
    build = task.evaluate.build
    command = f"{{ {build}\n}} >&2 && {{ {task.evaluate.command}\n}}" if build else task.evaluate.command
    table = task.evaluate.model_copy(
        update={"inputs": [], "copies": [], "cache": [], "env": [], "build": "", "setup": "", "command": command}
    )
    sealed = Sealed(subject, text, supervisor, OPEN)
    sealed.assembly.task = task.model_copy(update={"evaluate": table})
    place = await _outside_place(subject, supervisor)
    if place is None:
        return Tried(Readout(Outcome.BUILD, words="the checkout is too large to copy, and there are no layers here"))
    first = len(supervisor.heard)
    order = Order(0, 0, 1, "outside", "", subject.logs, timeout_s or sealed.timeout_s)
    with closing(sealed._shares.room):
        readout = await sealed.assembly.runner(supervisor).evaluate(place, order)
    return sealed._tried(readout, place, order, first)


async def _outside_place(subject: Subject, supervisor: Listener) -> Place | None:
    """A layer over the checkout, or a copy of it; None where neither is possible."""
    top, scratch = subject.location.top, subject.cache / "outside"
    scratch.mkdir(parents=True, exist_ok=True)
    inside = subject.paths.project.resolve().relative_to(top.resolve())
    upper, work, copy = scratch / "upper", scratch / "work", scratch / "copy"
    for folder in (upper, work, copy):
        remove(folder)
    if await can_layer(supervisor, subject.cache / "probe") and not any(c in str(top) for c in ",:\\\"'"):
        upper.mkdir()
        work.mkdir()
        return Place(top / inside, scratch, 0, mounts=(Layer(top, (top,), upper, work),))
    if machine.used_bytes(top) > machine.free_bytes(scratch) / 2:
        return None
    shutil.copytree(top, copy, symlinks=True, ignore=shutil.ignore_patterns(".autoresearch"), ignore_dangling_symlinks=True)
    return Place(copy / inside, scratch, 0)
