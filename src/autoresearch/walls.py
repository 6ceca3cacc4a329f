"""From a task to the walls around its evaluations and proposals on this machine."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from autoresearch import git
from autoresearch.errors import SetupError
from autoresearch.paths import ProjectPaths
from autoresearch.process.confinement import Confinement
from autoresearch.process.environment import Openings
from autoresearch.process.probe import Found
from autoresearch.records import Bind, Limits, Network, Sandbox
from autoresearch.sandbox import Host, gpu_devices, leading_out
from autoresearch.taskfile import Task
from autoresearch.taskfile.schema import Proposer

_PROCESSES = 4096  # a bound that only a fork bomb meets; more where there are many cores


class Walls:
    """What evaluations and proposals of a task see and may use, with the sandbox that was found to work.

    Args:
        folder: where the made-up files lie that sandboxes show; outside the checkout.
    """

    def __init__(self, task: Task, paths: ProjectPaths, location: git.Location, python: str, folder: Path) -> None:
        self._task, self._paths, self._location = task, paths, location
        self._folder = folder
        self._project = paths.project
        never = (location.top, location.git_dir, paths.folder, folder.parent)
        unseen = [Path(os.path.normpath(self._project / os.path.expanduser(name))) for name in _private(task)]
        named = (p for command in _commands(task) for p in _absolute(command))
        programs = [python, *(str(p) for p in named if not any(p.is_relative_to(place) for place in unseen))]
        self.host = Host.make(folder, programs=programs, never=never)

    def evaluation(self, found: Found, openings: Openings) -> Confinement:
        """Around evaluations, builds, quick tests and checks."""
        task, evaluate = self._task, self._task.evaluate
        asked = evaluate.resources
        disk = asked.disk or task.run.disk
        limits = Limits(asked.processes or self._processes(), asked.file_size or disk, disk)
        shown = [place for name in evaluate.inputs for place in self._input(name)]
        shown += self._named_by_variables()
        home = (Path(os.path.expanduser("~")),) if openings.home else ()
        network: Network = "on" if openings.network else evaluate.network
        sandbox = self._sandbox(found, network, shown, "" if openings.sandbox else evaluate.sandbox)
        if sandbox is not None:
            sandbox = replace(sandbox, gpus=asked.gpus != 0 and bool(gpu_devices()), writable=home)
        return Confinement(sandbox, limits, () if openings.sandbox else self._hidden())

    def proposal(self, found: Found, table: Proposer, *, closed: tuple[Path, ...], slots: int) -> Confinement:
        """Around a program that proposes.

        Args:
            closed: what it cannot write where there is no sandbox; `slots` are those of evaluations, which it cannot see.
        """
        evaluate = self._task.evaluate
        shown = [place for name in (*table.inputs, *evaluate.inputs) for place in self._input(name)]
        shown += self._named_by_variables()
        shown += self.host.around(str(p) for word in (table.command, *table.args) for p in _absolute(word))
        shown += self.host.around(filter(None, [shutil.which(table.kind)]))  # the program of a kind named so
        sandbox = self._sandbox(found, table.network, shown, table.sandbox)
        disk = self._task.run.disk
        trees = tuple(self._folder.parent / f"evaluation-{i}" for i in range(slots))
        return Confinement(sandbox, Limits(self._processes(), disk, disk), (*self._hidden(), *trees), closed)

    @staticmethod
    def _processes() -> int:
        return max(_PROCESSES, 64 * (os.cpu_count() or 1))

    def _sandbox(self, found: Found, network: Network, shown: Iterable[Path], wanted: str) -> Sandbox | None:
        if not found.kind or wanted in ("", "none", "own"):
            return None
        etc = Bind(Path("/etc"), self.host.etc(network))
        return Sandbox(found.kind, (*self.host.shown, *dict.fromkeys(shown)), binds=(etc,), network=network)

    def _input(self, name: str) -> Iterator[Path]:
        """Where an input lies, under its own name and really, and what links in it lead to."""
        named = Path(os.path.normpath(self._project / os.path.expanduser(name)))
        yield from (named, named.resolve())
        yield from (p for p in leading_out(named) if not p.is_relative_to(self._location.top))

    def _named_by_variables(self) -> Iterator[Path]:
        """Files and folders that variables which are passed through lead to."""
        unseen = (self._project / os.path.expanduser(name) for name in _private(self._task))
        barred = [p.resolve() for p in (Path(os.path.expanduser("~")), self._location.top, self._folder.parent, *unseen)]
        for name in self._task.evaluate.env:
            for part in os.environ.get(name, "").split(os.pathsep):
                path = Path(part)
                if path.is_absolute() and path.exists() and not any(bar.is_relative_to(path.resolve()) for bar in barred):
                    yield from dict.fromkeys((path, path.resolve()))

    def _hidden(self) -> tuple[Path, ...]:
        """What is hidden where there is no sandbox: the ledger, and the history of the checkout."""
        places = (self._paths.folder, self._location.git_dir / "objects")
        return tuple(p for p in places if not self._folder.is_relative_to(p))


def refuse_missing(found: Found, wanted: str) -> None:
    """Refuse to go on without the sandbox that the task names.

    Raises:
        SetupError: it does not work here.
    """
    if wanted in ("bubblewrap", "landlock") and found.kind != wanted:
        raise SetupError(f'[evaluate] sandbox = "{wanted}": {found.words}; or let the best be taken: sandbox = "auto"')


def _commands(task: Task) -> Iterator[str]:
    evaluate = task.evaluate
    yield from (evaluate.command, evaluate.build, evaluate.quick, evaluate.cleanup, evaluate.setup)
    yield from (check.command for check in task.check)
    yield from (table.command for table in (task.gate, task.held_out) if table is not None)


def _private(task: Task) -> Iterator[str]:
    """What only its own set is shown, which gets it with its place."""
    yield from (name for table in (task.gate, task.held_out) if table is not None for name in table.private)


def _absolute(command: str) -> Iterator[Path]:
    """Files that a command names by absolute paths."""
    try:
        words = shlex.split(command)
    except ValueError:
        return
    for before, word in zip(["", *words], words, strict=False):
        path = Path(os.path.expanduser(word.rpartition("=")[2]))
        if before.endswith(">"):
            continue  # it is written, in a /tmp of the job's own
        if path.is_absolute() and path.exists() and path != Path("/"):
            yield path
