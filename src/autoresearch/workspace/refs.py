"""A run's refs in the user's repository: the branch of incumbents, and what names its candidates. Nothing else is written."""

from __future__ import annotations

from pathlib import Path

from autoresearch.contracts import Advance
from autoresearch.errors import RepositoryError
from autoresearch.history import History
from autoresearch.objects import Repository
from autoresearch.workspace.claim import claim


class Refs:
    """`refs/autoresearch/<run>/**` and `refs/heads/autoresearch/<run>`."""

    def __init__(self, repository: Repository, run: str, base: str, cache: Path) -> None:
        self._repository, self._run, self._base, self._cache = repository, run, base, cache

    def ref(self, n: int | str) -> str:
        return f"refs/autoresearch/{self._run}/{n}"

    @property
    def branch(self) -> str:
        return f"refs/heads/autoresearch/{self._run}"

    def begin(self) -> None:
        """Keep the base alive and start the branch there.

        Raises:
            RepositoryError: the names are taken.
        """
        claim(self._repository, self._run, self._base, self._cache)

    def advance(self, tree: str, message: str, tip: str, left_at: str, at: float) -> Advance:
        """Commit a tree on the line of incumbents and move the branch there, if it is ours to move.

        Args:
            tip: the newest commit of the line; `left_at` where the ledger last put the branch.
        """
        commit = self._repository.commit(tree, [tip], message, at)
        return self._move(commit, left_at)

    def _move(self, commit: str, left_at: str) -> Advance:
        standing = self._repository.refs(self.branch).get(self.branch)
        if standing == commit:
            return Advance(commit, moved=True)
        if standing == left_at and self.branch not in self._repository.checked_out():
            try:
                self._repository.update_refs({self.branch: commit}, old={self.branch: left_at})
                if self.ref("head") in self._repository.refs(self.ref("head")):
                    self._repository.update_refs({self.ref("head"): None})
                return Advance(commit, moved=True)
            except RepositoryError:
                pass  # somebody was faster: it is not ours any more
        self._repository.update_refs({self.ref("head"): commit})
        return Advance(commit, moved=False)

    def follow(self, tip: str, left_at: str) -> Advance:
        """Let the branch follow to the line's tip if it has become free."""
        return self._move(tip, left_at)

    def reconcile(self, history: History) -> list[str]:
        """Bring the refs in line with the ledger after a kill; says in one line each what was mended."""
        expected = {self.ref(e.n): e.commit for e in history.experiments if e.commit and e.n > 0}
        expected[self.ref("base")] = self._base
        standing = self._repository.refs(f"refs/autoresearch/{self._run}")
        standing.pop(self.ref("head"), None)
        wrong: dict[str, str | None] = {ref: oid for ref, oid in expected.items() if standing.get(ref) != oid}
        wrong |= {ref: None for ref in standing if ref not in expected}
        mended = []
        for ref, oid in wrong.items():
            if oid is None or self._repository.has(oid):
                self._repository.update_refs({ref: oid})
                mended.append(f"{ref} {'set again' if oid else 'removed: the ledger does not know it'}")
        return mended
