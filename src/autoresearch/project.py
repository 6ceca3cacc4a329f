"""A project's folder: its task, its repository, its ledger, and what its runs may be called."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from autoresearch import git
from autoresearch.contracts import Ledger
from autoresearch.errors import RepositoryError, SetupError, UnknownName
from autoresearch.ledger import SqliteLedger, is_made
from autoresearch.paths import ProjectPaths, TreePaths
from autoresearch.records import RunRecord
from autoresearch.taskfile import FILE
from autoresearch.workspace import survey

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def is_run_name(name: str) -> bool:
    """Whether a name may be a run's, and its branch's."""
    ours = name == "files" or name.startswith("ledger.db")  # what lies beside the runs' folders
    return NAME.fullmatch(name) is not None and ".." not in name and not name.endswith((".", ".lock")) and not ours


class Project:
    """A project's folder: its task, its repository, its ledger."""

    def __init__(self, folder: Path) -> None:
        self.paths = ProjectPaths(folder.resolve())
        self.folder = self.paths.project

    @classmethod
    def find(cls, start: Path) -> Project:
        """The project around a folder: the nearest one upwards with a task file or a ledger.

        Of a tree that was entered it is the one that the tree was made for.

        Raises:
            SetupError: there is none.
        """
        if (tree := TreePaths.around(start)) is not None:
            return cls(tree.project)
        for folder in (start.resolve(), *start.resolve().parents):
            if (folder / FILE).is_file() or (folder / ".autoresearch" / "ledger.db").is_file():
                return cls(folder)
        raise SetupError(f"no {FILE} in {start.resolve()} or above it: write one with `autoresearch init`")

    @property
    def has_ledger(self) -> bool:
        """Whether there is a ledger; one that is just being made is none yet."""
        return self.paths.ledger.is_file() and is_made(self.paths.ledger)

    def ledger(self, *, read_only: bool = False) -> SqliteLedger:
        """Open the ledger.

        Raises:
            SetupError: read-only, and there is none yet.
        """
        if read_only:
            self.refuse_none()
        else:
            self.paths.make()
        return SqliteLedger(self.paths.ledger, read_only=read_only, heads=lambda run: self.paths.run(run).head)

    def refuse_none(self) -> None:
        """See that there is a ledger.

        Raises:
            SetupError: there is none yet, or none any more.
        """
        if not self.has_ledger:
            raise SetupError(f"no run in {self.folder} yet: start one with `autoresearch run`")

    def pick(self, ledger: Ledger, name: str | None) -> RunRecord:
        """The run of that name, or the newest.

        Raises:
            UnknownName: there is none of that name. SetupError: there is none at all.
        """
        runs = ledger.runs()
        if name is None and not runs:
            raise SetupError(f"no run in {self.folder} yet: start one with `autoresearch run`")
        if name is None:
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
