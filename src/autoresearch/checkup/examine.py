"""The whole of a check, in order: does it measure, does it run the candidate, how noisy is it, what would a run be like."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch import machine, private, proposers
from autoresearch.acceptance.single_run import seed_for
from autoresearch.assembly import importable, proposing, slots_of
from autoresearch.checkup import (
    blind,
    breakage,
    causes,
    connections,
    controls,
    forecast,
    leaks,
    mend,
    reading,
    reuse,
    spread,
    unused,
)
from autoresearch.checkup.breakage import Breakage
from autoresearch.checkup.causes import Change, economies, makes_environment
from autoresearch.checkup.findings import Findings, Line, Passed, bounds, problems_of
from autoresearch.checkup.forecast import Sweep
from autoresearch.checkup.measure import Listener, Say, Sealed, Subject, Tried
from autoresearch.checkup.mend import Mend
from autoresearch.checkup.surroundings import Surroundings, first_word, look
from autoresearch.checkup.unused import Cause
from autoresearch.checkup.walls import PATIENCE_S, Search, Walls
from autoresearch.contracts import Settings
from autoresearch.errors import SetupError
from autoresearch.guards import doubt
from autoresearch.objects import Repository
from autoresearch.records import Outcome, Readout, Which
from autoresearch.scope import scope_of
from autoresearch.taskfile import Task
from autoresearch.taskfile.units import show_seconds

_BUILT_IN = ("if", "for", "while", "until", "case", "test", "[", "[[", "{", "(", "cd", "export", "exec", "set", "eval")
_SHELL_WORDS = frozenset((*_BUILT_IN, "source", ".", ":", "true", "false", "echo", "printf"))


_NO_WALL = (Outcome.TIMEOUT, Outcome.MEMORY, Outcome.OUTAGE)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the owner asked for: `aa` evaluations of the unchanged code, 0 for as many as are needed."""

    aa: int = 0
    fix: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """A task file's text with its evaluations of the base."""

    text: str
    tried: tuple[Tried, ...]

    @property
    def failed(self) -> Tried | None:
        return next((t for t in self.tried if not t.ok), None)

    def values(self, metric: str) -> list[float]:
        return [t.readout.values[metric] for t in self.tried if t.ok]

    @property
    def durations(self) -> list[float]:
        return [t.readout.duration_s for t in self.tried if t.ok]


def refuse_proposer(task: Task, project: Path, python: str) -> None:
    """Look whether the proposer is there, without running it.

    Raises:
        SetupError: it is not.
    """
    importable(project)
    for other in proposing(task).values():
        proposers.known(other.kind)
    table = task.proposer[0]
    if table.kind != "command" or not table.command:
        return
    program = first_word(table.command, python)
    if program in _SHELL_WORDS or any(c in program for c in "$`*?(){}'\"\\"):
        return
    found = (project / program).is_file() if "/" in program else shutil.which(program) is not None
    if not found:
        raise SetupError(
            f"[proposer] command starts {program!r}, which was not found "
            + (f"in {project}: write its path from there" if "/" in program else "on PATH: install it, or write its path")
        )


async def examine(subject: Subject, text: str, wish: Wish, say: Say) -> Findings:
    """Check a task, find what it needs, and with `fix` write that into its file."""
    async with Listener(say) as supervisor:
        await supervisor.start()
        await Sealed(subject, text, supervisor).assembly.tidy(supervisor)  # after a check that was killed
        protected = bool(supervisor.namespaces)
        near = look(subject.paths.project, subject.python, scope_of(subject.task), protected=protected)
        return await Examination(subject, near, supervisor, wish, say).run(text)


class Examination:
    """One check under way."""

    def __init__(self, subject: Subject, near: Surroundings, supervisor: Listener, wish: Wish, say: Say) -> None:
        self._subject, self._near, self._supervisor = subject, near, supervisor
        self._wish, self._say = wish, say
        self._outside = self._sealed = ""

    async def run(self, text: str) -> Findings:
        """All of it; a part that fails leaves out what follows from it."""
        found = Findings(self._subject.task.metric.name, self._subject.task.metric.direction)
        before = self._leading_out()
        start = mend.apply(text, before)  # without it the command may wait for ever
        measured, changes, problem = await self._measure(start)
        if before and not problem and not changes and await self._works_offline(text, measured):
            before, measured = (), await self._evaluations(text)
        changes = (before, *changes) if before else changes
        if problem:
            return replace(found, sealed=self._sealed, outside=self._outside, problems=(problem,))
        if self._wish.fix:
            measured, more = await self._once(measured)
            changes = (*changes, *more)
        measured, more, noticed, causes = await self._candidate(measured)
        measured, noticed = await self._walled_again(text, measured, noticed)
        changes = (*changes, *more)
        measured, more, looked = await self._checks(measured, noticed)
        changes = (*changes, *more)
        async with Sealed(self._subject, measured.text, self._supervisor) as sealed:
            found = await self._rest(sealed, measured, noticed, causes, looked)
        lines = _lines(text, measured.text, changes)
        if lines and self._wish.fix and noticed.ok:
            mend.write(self._subject.paths.project / "autoresearch.toml", measured.text)
            found = replace(found, written=True)
        found = replace(found, lines=lines, sealed=self._sealed, outside=self._outside)
        return self._keep(found, measured)

    def _leading_out(self) -> Change:
        """The network's endpoints that variables which the task passes lead to."""
        task = self._subject.task
        leads = connections.unreached(task, self._near.environ, task.evaluate.env)
        if not leads:
            return ()
        because = f"{', '.join(task.evaluate.env)}: what is passed leads to {', '.join(leads)}, and the network is off"
        self._say(because)
        return (connections.opened(task, leads, because),)

    async def _works_offline(self, text: str, measured: Measured) -> bool:
        """Whether it measures without what was opened for it beforehand; it is not waited for long."""
        walls = Walls(self._subject, self._near, self._supervisor, self._say)
        tried = await walls.trial(text, timeout_s=3 * max(measured.durations) + PATIENCE_S)
        return tried is not None and tried.ok

    # -- does it measure ----------------------------------------------------------------------------------------------

    async def _measure(self, text: str) -> tuple[Measured, tuple[Change, ...], str]:
        """The evaluations of the base, with what had to be changed for them; words where they fail all the same."""
        measured = await self._evaluations(text)
        if measured.failed is None:
            return measured, (), ""
        if any(t.ok for t in measured.tried):
            return measured, (), f"evaluation {len(measured.tried)} failed, the first did not: {measured.failed.words}"
        self._sealed = measured.failed.words
        if measured.failed.readout.outcome in _NO_WALL:
            return measured, (), f"it does not measure: {measured.failed.words}{_last_lines(measured.failed)}"
        walls = Walls(self._subject, self._near, self._supervisor, self._say)
        search = await walls.search(text, measured.failed)
        self._outside = _outside_words(search, self._subject)
        if not search.ok:
            return measured, (), _why(search)
        self._say("it measures with these lines; once more to be sure")
        again = await self._evaluations(search.text)
        failed = again.failed
        words = f"with the lines found it measured once, and then not: {failed.words}" if failed else ""
        return again, search.changes, words

    async def _once(self, measured: Measured) -> tuple[Measured, tuple[Change, ...]]:
        """A set-up instead of what each evaluation makes for itself, where that works as well."""
        for change in economies(self._subject.task_of(measured.text), self._near):
            text = self._changed(measured.text, change)
            if text is None:
                continue
            self._say(f"trying {'; '.join(mend.lines(measured.text, text))}")
            other, more = await self._try(text)
            if other is not None:
                return other, (change, *more)
        return measured, ()

    async def _evaluations(self, text: str) -> Measured:
        """As many evaluations of the base as are wanted, or as tell whether the metric is exact."""
        tried: list[Tried] = []
        async with Sealed(self._subject, text, self._supervisor) as sealed:
            wanted, metric = max(self._wish.aa, 2), sealed.task.metric.name
            while len(tried) < wanted:
                self._announce(tried, wanted, show_seconds(sealed.timeout_s))
                seed = seed_for(sealed.options.settings, 0, len(tried))
                tried.append(await sealed.evaluate(seed=seed, label=f"eval-{len(tried) + 1}"))
                if not tried[-1].ok:
                    break
                if len(tried) == 2 and not self._wish.aa:
                    values = [t.readout.values[metric] for t in tried]
                    wanted += spread.more(values, [t.readout.duration_s for t in tried])
        return Measured(text, tuple(tried))

    def _announce(self, tried: Sequence[Tried], wanted: int, limit: str) -> None:
        took = f", about {show_seconds(tried[-1].readout.duration_s)} each" if tried else f" (limit {limit})"
        self._say(f"evaluating the unchanged code: {len(tried) + 1} of {wanted}{took}")

    # -- does it run the candidate ------------------------------------------------------------------------------------

    async def _candidate(self, measured: Measured) -> tuple[Measured, tuple[Change, ...], Breakage, tuple[Cause, ...]]:
        """Break the editable files; where nothing notices, find out why, and what makes it notice."""
        noticed, causes = await self._break(measured)
        if noticed.ok:
            return measured, (), noticed, ()
        for change in _orders(causes):
            text = self._changed(measured.text, change)
            if text is None:
                continue
            self._say(f"trying {'; '.join(mend.lines(measured.text, text))}")
            other, more = await self._try(text)
            if other is None:
                continue
            seen, _ = await self._break(other)
            if seen.ok:
                return other, (change, *more), seen, causes
        return measured, (), noticed, causes

    async def _walled_again(self, text: str, measured: Measured, noticed: Breakage) -> tuple[Measured, Breakage]:
        """The sandbox back around it, where what was changed after it was taken away makes that unnecessary."""
        if (self._subject.task_of(text).evaluate.sandbox == "none") or (
            self._subject.task_of(measured.text).evaluate.sandbox != "none"
        ):
            return measured, noticed
        walled = self._changed(measured.text, (Mend("evaluate", "sandbox"),))
        other = (await self._try(walled))[0] if walled is not None else None
        if other is None:
            return measured, noticed
        seen, _ = await self._break(other)
        return (other, seen) if seen.ok or not noticed.ok else (measured, noticed)

    async def _break(self, measured: Measured) -> tuple[Breakage, tuple[Cause, ...]]:
        async with Sealed(self._subject, measured.text, self._supervisor) as sealed:
            values = measured.values(sealed.task.metric.name)
            noticed = await breakage.try_all(sealed, values, measured.durations, self._say)
            causes = () if noticed.ok else tuple(unused.find(sealed, list(noticed.files), self._near))
        return noticed, causes

    async def _checks(self, measured: Measured, noticed: Breakage) -> tuple[Measured, tuple[Change, ...], list[blind.Looked]]:
        """The checks on the unchanged code, with commands that run the candidate where theirs do not."""
        async with Sealed(self._subject, measured.text, self._supervisor) as sealed:
            looked = await blind.look(sealed, noticed.files if noticed.ok else (), self._near, self._say)
        changes: list[Change] = []
        for i, one in enumerate(looked):
            text = self._changed(measured.text, (one.mend,)) if one.mend else None
            if text is not None and one.mend and one.mended:
                measured, looked[i] = replace(measured, text=text), blind.Looked(one.mended)
                changes.append((one.mend,))
        return measured, tuple(changes), looked

    async def _try(self, text: str) -> tuple[Measured | None, tuple[Change, ...]]:
        """The evaluations under another text, with what a build or a set-up in it needed further."""
        try:
            measured = await self._evaluations(text)
            if measured.failed is None or measured.failed.readout.outcome is not Outcome.BUILD:
                return (measured if measured.failed is None else None), ()
            walls = Walls(self._subject, self._near, self._supervisor, self._say)
            search = await walls.by_hints(Search(text, measured.failed))
            again = await self._evaluations(search.text) if search.ok else None
            return (again if again is not None and again.failed is None else None), search.changes
        except SetupError as error:
            self._say(f"  {error}")
            return None, ()

    def _changed(self, text: str, change: Change) -> str | None:
        try:
            changed = mend.apply(text, change)
        except SetupError as error:
            self._say(f"  {error}")
            return None
        return changed if changed != text else None

    # -- the rest -----------------------------------------------------------------------------------------------------

    async def _rest(
        self, sealed: Sealed, measured: Measured, noticed: Breakage, causes: Sequence[Cause], looked: Sequence[blind.Looked]
    ) -> Findings:
        task, metric = sealed.task, sealed.task.metric
        checks = [one.passed for one in looked]
        quick = await self._quick(sealed) if task.evaluate.quick else None
        sets = [await self._set(sealed, which) for which, _ in private.tables(task)]
        leaked = leaks.find(sealed)
        values = measured.values(metric.name)
        read = [t.readout.values for t in measured.tried]
        guards = bounds(sealed.options.guards, read)
        doubts = [words for guard in sealed.options.guards if (words := doubt(guard, read))]
        noise = spread.spread(values)
        same = await controls.unchanged(sealed, self._by_seed(measured, sealed.task), self._say)
        broken = await controls.ruin(sealed, noticed, [t.readout for t in measured.tried], self._say)
        sweep = forecast.sweep(sealed, sum(measured.durations) / len(measured.durations))
        problems = [*_unnoticed(noticed, causes), *problems_of(guards, checks, quick, sets), *leaked.found]
        problems += controls.problems(same, broken, metric.name)
        return Findings(
            metric.name,
            metric.direction,
            readouts=tuple(t.readout for t in measured.tried),
            spread=noise,
            greedy=spread.greedy(values, metric.direction) if self._wish.aa > 1 else None,
            breakage=noticed,
            unchanged=same,
            ruined=broken,
            causes=tuple(c.words for c in causes),
            guards=guards,
            checks=tuple(checks),
            quick=quick,
            sets=tuple(sets),
            setup_s=self._took("setup"),
            build_s=self._took("build"),
            memory_mb=machine.total_memory_mb(),
            disk=forecast.disk(sealed),
            pace=forecast.pace(
                [t.took_s for t in measured.tried], task, noisy=not noise.exact, build_s=self._took("build") or 0.0
            ),
            price=forecast.price(task),
            sweep=sweep,
            problems=tuple(problems),
            warnings=(
                *self._warnings(noticed, measured, task, sweep),
                *(one.warning for one in looked if one.blind),
                *controls.warnings(same, broken, metric.name),
                *doubts,
                *leaked.unsure,
            ),
        )

    def _warnings(self, noticed: Breakage, measured: Measured, task: Task, sweep: Sweep) -> list[str]:
        found = []
        if task.proposer[0].kind == "knobs" and not sweep.knobs:
            found.append(
                "the proposer knobs finds no constants to search in the editable files, and a run would end at once: "
                "write some (RATE = 0.1  # knob: 0..1), or let a program of yours propose ([proposer] command)"
            )
        if noticed.ok and noticed.unused:
            found.append(
                f"the evaluation does not notice a change of {', '.join(noticed.unused)}: take it out of [task] editable"
            )
        unsure = [b.file for b in noticed.broken if b.used is None]
        if unsure:
            found.append(f"breaking {', '.join(unsure)} changed nothing beyond the noise: it may not be used")
        pointers = [path for path in self._near.pointers if path not in task.evaluate.setup]
        if pointers:
            more = f" and {len(pointers) - 5} more" if len(pointers) > 5 else ""
            found.append(
                f"{', '.join(pointers[:5])}{more} is a Git LFS pointer in the trees of evaluations, as git holds it: if they "
                f"are to read the file, write setup = {mend.literal(causes.fetch(pointers[:1], self._near))}"
            )
        peak_mb = max((t.readout.peak_mb or 0.0 for t in measured.tried), default=0.0) * slots_of(task)
        if peak_mb > machine.total_memory_mb():
            found.append(f"all slots together need {peak_mb:.0f} MB, more than there is: fewer slots ([run] evaluations)")
        if makes_environment(task):
            found.append(
                '`uv run` makes an environment for each evaluation: [evaluate] setup = "uv sync --frozen" makes it once '
                "(--fix tries it)"
            )
        words = reading.warning(measured.tried[-1], task)
        return [*found, *([noticed.skipped] if noticed.skipped else []), *([words] if words else [])]

    async def _set(self, sealed: Sealed, which: Which) -> Passed:
        self._say(f"[{which}] command on the unchanged code")
        tried = await sealed.on_set(which)
        words = "" if tried.ok else f"{tried.readout.words}{_last_lines(tried)}"
        return Passed(which, tried.ok, words, tried.readout.duration_s)

    async def _quick(self, sealed: Sealed) -> Passed:
        self._say("the quick test")
        tried = await sealed.quick()
        return Passed("quick", tried.ok, tried.readout.words, tried.readout.duration_s)

    def _took(self, name: str) -> float | None:
        """The longest run of a set-up or a build."""
        ends = [end.duration_s for log, end in self._supervisor.heard if log is not None and log.name.startswith(name)]
        return max(ends) if ends else None

    def _keep(self, found: Findings, measured: Measured) -> Findings:
        """Leave the measurements to the next run, where the task file is the one that was measured."""
        if not found.ready:
            return found
        task, subject = self._subject.task_of(measured.text), self._subject
        readouts = self._by_seed(measured, task)
        tree = _tree(subject)
        reuse.save(subject.paths, task, base_tree=tree, seed=subject.seed, python=subject.python, readouts=readouts)
        return replace(found, reusable_until=time.time() + reuse.AGE_S)

    def _by_seed(self, measured: Measured, task: Task) -> dict[int, Readout]:
        settings = Settings(task.metric.name, seed=self._subject.seed)
        return {seed_for(settings, 0, i): t.readout for i, t in enumerate(measured.tried)}


def _tree(subject: Subject) -> str:
    repository = Repository(subject.location.git_dir, subject.cache / "scratch")
    try:
        return repository.tree_of(subject.base)
    finally:
        repository.close()


def _orders(causes: Sequence[Cause]) -> list[Change]:
    """Each change alone, then the first ones of several causes together."""
    alone = [change for cause in causes for change in cause.changes]
    firsts = [cause.changes[0] for cause in causes if cause.changes]
    together = [tuple(m for change in firsts[:i] for m in change) for i in range(2, min(len(firsts), 4) + 1)]
    return [*alone, *together]


def _lines(before: str, after: str, changes: Sequence[Change]) -> tuple[Line, ...]:
    """The lines that differ, each with the reasons of the changes that touched it."""
    found = []
    for line in mend.lines(before, after):
        mends = [m for change in changes for m in change if mend.touches(after, m, line)]
        reasons = dict.fromkeys(m.because for m in mends)
        found.append(Line(line, "; ".join(r for r in reasons if r), next((m.kind for m in mends if m.kind), "")))
    return tuple(found)


def _outside_words(search: Search, subject: Subject) -> str:
    tried = search.outside
    if tried is None:
        return ""
    metric = subject.task_of(search.text).metric.name
    return f"ok: {metric} {tried.readout.values[metric]:.6g}" if tried.ok else tried.words


def _why(search: Search) -> str:
    """What keeps it from measuring, as far as that is known."""
    said = _last_lines(search.tried)
    if search.outside is None or search.outside.ok:
        where = "it works outside, but not in a sealed tree" if search.outside else "it does not measure"
        if "not a git repository" in search.tried.output:
            where += ": it calls git, and the trees of evaluations have no .git"
        return f"{where}: {search.tried.words}{said}"
    if search.outside.readout.outcome is Outcome.NO_MEASUREMENT:
        seen = reading.numbers(search.outside)
        return f"the command runs, but no number can be read: {search.outside.words}{seen}{_last_lines(search.outside)}"
    return f"the command fails outside too, in your own surroundings: {search.outside.words}{_last_lines(search.outside)}"


def _last_lines(tried: Tried) -> str:
    rows = [row for row in tried.output.splitlines() if row.strip()][-6:]
    return "".join(f"\n    {row[:200]}" for row in rows)


def _unnoticed(noticed: Breakage, causes: Sequence[Cause]) -> list[str]:
    if noticed.ok:
        return []
    names = ", ".join(noticed.files[:5]) + (f" and {len(noticed.files) - 5} more" if len(noticed.files) > 5 else "")
    found = [f"the evaluation does not run the candidate: with {names} broken, {noticed.broken[0].words}"]
    otherwise = (
        "  no editable install, link, absolute path or old build explains it: the evaluation does not use them, it seems"
    )
    return [*found, *([f"  perhaps because {cause.words}" for cause in causes] or [otherwise])]
