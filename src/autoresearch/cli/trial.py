"""The first try of `init`: one evaluation in a sealed tree, with its output as it comes, and the numbers in it."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from autoresearch import git, machine
from autoresearch.checkup.measure import RUN, Listener, Sealed, Subject, Tried
from autoresearch.detect import Number
from autoresearch.errors import ungrouped
from autoresearch.objects import Repository
from autoresearch.paths import ProjectPaths
from autoresearch.process.environment import remove
from autoresearch.scope import scope_of
from autoresearch.taskfile import FILE, Task
from autoresearch.taskfile.load import parse
from autoresearch.workspace import survey

_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "autoresearch"), ("EMAIL", "autoresearch@localhost"))
}


@dataclass(frozen=True, slots=True)
class Trial:
    """How the try went.

    Attributes:
        ok: the command ran; `value` is what was read of the number that was expected, if any.
        numbers: what its output and the files that it left seem to hold, the likeliest first, with their values.
        words: why it failed, or why the expected number was not read.
    """

    ok: bool
    value: float | None
    numbers: tuple[tuple[Number, float], ...]
    words: str


@dataclass(frozen=True, slots=True)
class Elsewhere(ProjectPaths):
    """A project whose records do not lie in it: a try leaves nothing behind."""

    records: Path

    @property
    def folder(self) -> Path:
        return self.records


def try_once(folder: Path, text: str, ignored: tuple[str, ...]) -> Trial:
    """Run a task's command once on the files as they are now; what it prints goes to standard error.

    Args:
        text: a task file's, whose metric is only tried.
        ignored: what would not go into git, where there is no git yet.
    """
    task = parse(text)
    with tempfile.TemporaryDirectory(prefix="autoresearch-") as scratch, ungrouped():
        paths = Elsewhere(folder, Path(scratch) / "records")
        location, base = _base(folder, task, Path(scratch), ignored)
        subject = Subject(paths, location, task, base, 0, machine.python())
        _tidy(subject.cache)  # what a `check` left there is of another base
        subject.logs.mkdir(parents=True, exist_ok=True)
        try:
            return anyio.run(_try, subject, text)
        finally:
            _tidy(subject.cache)


def _tidy(cache: Path) -> None:
    """Remove the try's trees, and the project's folder around them if nothing else lies there."""
    if cache.exists():
        remove(cache)
    try:
        cache.parent.rmdir()
    except OSError:
        pass


def _base(folder: Path, task: Task, scratch: Path, ignored: tuple[str, ...]) -> tuple[git.Location, str]:
    """The folder's files as they are now, as a commit: in its repository's objects, or in a repository of our own."""
    location = git.locate(folder)
    if location is not None:
        repository = Repository(location.git_dir, scratch / "objects")
        try:
            head = repository.resolve("HEAD")
            if head is not None:
                dirty = survey.uncommitted(location, scope_of(task), (FILE, task.task.instructions))
                return location, survey.snapshot(location, repository, head, dirty, time.time()) if dirty else head
        finally:
            repository.close()
    own = scratch / "git"
    where = (f"--git-dir={own}", f"--work-tree={folder}")
    git.run(*where, "init", "-q", cwd=folder)
    (own / "info").mkdir(exist_ok=True)
    (own / "info" / "exclude").write_text("".join(f"/{path}\n" for path in ignored) + "/.autoresearch/\n")
    git.run(*where, "add", "-A", cwd=folder)
    git.run(*where, "commit", "-q", "--allow-empty", "-m", "as it is", cwd=folder, env=_IDENTITY)
    return git.Location(folder, own, ""), git.run(*where, "rev-parse", "HEAD", cwd=folder).decode().strip()


async def _try(subject: Subject, text: str) -> Trial:
    supervisor = Listener()
    async with supervisor, anyio.create_task_group() as tasks:
        with _tail(subject.logs, subject.paths.run(RUN).folder) as show:
            tasks.start_soon(_follow, show)
            async with Sealed(subject, text, supervisor) as sealed:
                tried = await sealed.evaluate()
            tasks.cancel_scope.cancel()
    return _trial(tried, subject.task.metric.name)


async def _follow(show: Iterator[None]) -> None:
    while True:
        next(show)
        await anyio.sleep(0.1)


@contextmanager
def _tail(*folders: Path) -> Iterator[Iterator[None]]:
    """What is written to the logs in some folders, on standard error: at each step, and at the end."""
    show = _shown(*folders)
    try:
        yield show
    finally:
        next(show)


def _shown(*folders: Path) -> Iterator[None]:
    seen: dict[Path, int] = {}
    while True:
        for log in sorted(log for folder in folders for log in folder.rglob("*.log")):
            with open(log, "rb") as file:
                file.seek(seen.get(log, 0))
                new = file.read(1 << 20)
            seen[log] = seen.get(log, 0) + len(new)
            sys.stderr.buffer.write(new)
            sys.stderr.flush()
        yield


def _trial(tried: Tried, metric: str) -> Trial:
    value = tried.readout.values.get(metric) if tried.ok else None
    ran = tried.ok or tried.readout.outcome == "no_measurement"
    numbers: list[tuple[Number, float]] = []
    if ran:
        for found in tried.found:
            direction = found.direction or "minimize"
            number = Number(found.name, direction, found.unit, found.pattern, found.file, found.path, found.take)
            numbers.append((number, found.value))
    return Trial(ran, value, tuple(numbers), "" if tried.ok else tried.readout.words)
