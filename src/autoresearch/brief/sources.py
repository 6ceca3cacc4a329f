"""What a brief shows that is not in the ledger: diffs, the ends of logs, what evaluations left, the project's own guidance.

A contract: how these come from git and the disk is none of this package's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from autoresearch.records import Experiment
from autoresearch.taskfile import schema

Trees = tuple[str, str]
"""Two trees by their ids: what a change stands on, and what it makes of it."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The owner's words as they are now.

    Attributes:
        template: of the project's own template, `` for the one of this package.
    """

    instructions: str = ""
    brief: schema.Brief = field(default_factory=schema.Brief)
    template: str = ""


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A file that an evaluation left for its readers.

    Attributes:
        path: below the folder of exhibits, with the evaluation's name first; written by whatever was evaluated.
        text: its beginning, where it is text that is worth being shown.
    """

    path: str
    size: int
    text: str = ""


class Sources(Protocol):
    """Reads of a run's repository and files. What does not exist is empty; nothing here is cleaned or fenced yet."""

    def diffs(self, changes: Sequence[Trees]) -> list[str]:
        """Each change as a diff of the project's files, with secrets covered; `` where a tree is gone."""

    def log(self, name: str) -> str:
        """The end of an evaluation's log, by the name that its measurement has for it."""

    def exhibits(self, e: Experiment) -> list[Exhibit]:
        """What the evaluations of an experiment left, by path."""

    def guidance(self) -> list[tuple[str, str]]:
        """AGENTS.md and CLAUDE.md of the base, at its top and in the project's folder: path and text."""


class Nothing:
    """Sources where there is no repository."""

    def diffs(self, changes: Sequence[Trees]) -> list[str]:
        return ["" for _ in changes]

    def log(self, name: str) -> str:
        return ""

    def exhibits(self, e: Experiment) -> list[Exhibit]:
        return []

    def guidance(self) -> list[tuple[str, str]]:
        return []
