"""The commit that a run started from, and what trees and views show of it and of the candidates on it."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path

from autoresearch import git
from autoresearch.objects import Repository
from autoresearch.records import Candidate
from autoresearch.trees import Entry
from autoresearch.workspace import submodules
from autoresearch.workspace.places import refuse_missing
from autoresearch.workspace.submodules import Submodule
from autoresearch.workspace.views import View


class Base:
    """The user's repository at a run's first commit, and a store of our own that borrows its objects.

    Args:
        hidden: paths that nothing shows; `parts` those that are shown alone, all if there are none.
    Attributes:
        repository: the user's; `objects` our own, in `store`.
        tree: of the commit; `shown` as views have it.
    """

    def __init__(
        self, location: git.Location, commit: str, cache: Path, *, hidden: Collection[str], parts: Collection[str]
    ) -> None:
        self.commit, self.store = commit, cache / "git"
        self._location = location
        self.repository = Repository(location.git_dir, cache / "scratch")
        try:
            self.tree = self.repository.tree_of(commit)
            refuse_missing(parts, self.repository, self.tree)
            self.submodules = submodules.find(location, self.repository, self.tree, parts)
        except BaseException:
            self.repository.close()
            raise
        self._make_store(self.submodules)
        self.objects = Repository(self.store, cache / "scratch")
        self.view = View(self.objects, hidden=hidden, submodules=self.submodules, parts=parts)
        self.shown = self.view.of(self.tree)

    def _make_store(self, modules: Sequence[Submodule]) -> None:
        """A bare folder of our own that borrows the user's objects: its index, attributes and views are not his."""
        own = self.store
        if not (own / "HEAD").exists():
            shutil.rmtree(own, ignore_errors=True)
            formats = ["--object-format=sha256"] if self.repository.sha256 else []
            git.run("init", "-q", "--bare", "--template=", *formats, str(own))
            (own / "info").mkdir(exist_ok=True)
            (own / "info" / "attributes").write_text("* -text -eol -ident -filter -working-tree-encoding\n")
        (own / "objects" / "info").mkdir(exist_ok=True)
        stores = [self._location.git_dir, *(m.git_dir for m in modules)]
        (own / "objects" / "info" / "alternates").write_text("".join(f"{store / 'objects'}\n" for store in stores))

    @cached_property
    def files(self) -> dict[str, Entry]:
        """The view's files by path relative to the repository's top."""
        return self.objects.files(self.shown)

    def overlay(self, candidate: Candidate) -> dict[str, Entry | None]:
        """What is shown of a candidate besides the base; None where it has nothing."""
        changed = self.repository.differences(self.tree, candidate.tree)
        return {path: entry for path, entry in changed.items() if self.view.shows(path)}

    def close(self) -> None:
        self.repository.close()
        self.objects.close()
