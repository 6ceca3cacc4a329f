"""The git workspace: candidates as commits under refs/autoresearch, the branch of incumbents, trees to work and measure in.

Writes into the user's repository are objects, `refs/autoresearch/<run>/**` and `refs/heads/autoresearch/<run>`; nothing
else, and only from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from autoresearch import git
from autoresearch.contracts import Advance, Known, Place
from autoresearch.history import History
from autoresearch.records import Candidate, Edits, Experiment, Proposal, State, Which
from autoresearch.scan import Benchmark
from autoresearch.taskfile.scope import Scope
from autoresearch.trees import Entry
from autoresearch.tripwires import Decoys
from autoresearch.workspace import benchmark
from autoresearch.workspace.base import Base
from autoresearch.workspace.candidates import Candidates
from autoresearch.workspace.content import pack, unpack
from autoresearch.workspace.draft import GitDraft
from autoresearch.workspace.evaluation import TreeOptions
from autoresearch.workspace.forbidden import Forbidden
from autoresearch.workspace.places import placed, without
from autoresearch.workspace.refs import Refs
from autoresearch.workspace.sets import Private
from autoresearch.workspace.slots import Slots
from autoresearch.workspace.tree import WorkTree


class GitWorkspace:
    """One run's candidates, branch and trees.

    Args:
        base: the user's commit that the run started from.
        hidden: paths of the base that no evaluation tree and no proposer's view shows.
        private: files that evaluations on one set alone are shown.
        parts: paths from the repository's top; trees and views show no others. Empty shows all.
        decoys: what proposers find besides.
    """

    def __init__(
        self,
        location: git.Location,
        scope: Scope,
        *,
        run: str,
        base: str,
        cache: Path,
        options: TreeOptions,
        hidden: frozenset[str] = frozenset(),
        parts: frozenset[str] = frozenset(),
        decoys: Decoys | None = None,
        private: Mapping[Which, Private] | None = None,
    ) -> None:
        self.private = dict(private or {})
        unseen = hidden.union(*(found.inside for found in self.private.values()))
        self.location = location
        self._decoys, self._cache = decoys, cache
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.base = Base(location, base, cache, hidden=unseen, parts=parts)
        try:
            outside = options.inputs or options.copies or options.caches
            self._options = placed(options, location.prefix, self.files) if outside else options
        except BaseException:
            self.base.close()
            raise
        self._scope = self._editable(scope)
        self._drafts: dict[int, WorkTree] = {}
        self._refs = Refs(self.base.repository, run, base, cache)
        self._slots = Slots(self.base, self._options, location=location, cache=cache, private=self.private)
        self._forbidden = Forbidden(
            self.base.repository,
            self.base.objects,
            self._scope,
            prefix=location.prefix,
            base=self.base.tree,
            view=self.base.shown,
        )
        self._candidates = Candidates(
            self.base,
            self._refs,
            self._scope,
            location=location,
            forbidden=self._forbidden,
            benchmark=Benchmark(self._data),
            cache=cache,
        )

    def _editable(self, scope: Scope) -> Scope:
        """The scope without submodules and without what is shown from outside."""
        prefix, options = self.location.prefix, self._options
        shown = (*options.inputs, *(options.copies or {}), *options.caches)
        inside = (m.path.removeprefix(prefix) for m in self.base.submodules if m.path.startswith(prefix))
        return without(scope, (*inside, *shown))

    def _data(self) -> Iterator[tuple[str, bytes]]:
        """The files that the task measures on."""
        sets = self.private.values()
        return benchmark.files(
            self.base.repository,
            self.base.tree,
            is_frozen=self._forbidden.is_frozen,
            private=[path for private in sets for path in private.inside],
            outside=[place for private in sets for place in private.places],
            inputs=self._options.inputs,
        )

    @property
    def files(self) -> dict[str, Entry]:
        """The view's files by path relative to the repository's top."""
        return self.base.files

    # -- candidates -------------------------------------------------------------------------------------------------

    def pack(self, content: Edits | State) -> bytes:
        assert isinstance(content, Mapping)
        return pack(content)

    def unpack(self, body: bytes) -> Edits:
        return unpack(body)

    def baseline(self, at: float) -> Candidate:
        return Candidate(0, self.base.tree, self.base.commit)

    def load(self, experiment: Experiment) -> Candidate:
        return Candidate(experiment.n, experiment.tree, experiment.commit)

    def freeze(self, n: int, parent: Candidate, proposal: Proposal, at: float, known: Known) -> Candidate:
        return self._candidates.freeze(n, parent, proposal, at, known)

    def trial(self, n: int, parent: Candidate, edits: Edits) -> Candidate:
        return self._candidates.trial(n, parent, edits)

    def rebase(
        self, candidate: Candidate, parent: Candidate, onto: Candidate, at: float, known: Known, description: str
    ) -> Candidate:
        return self._candidates.rebase(candidate, parent, onto, at, known, description)

    def changed(self, before: Candidate, after: Candidate) -> Mapping[str, tuple[bytes | None, bytes | None]]:
        return self._candidates.changed(before, after)

    # -- the branch -------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self._refs.begin()

    def advance(self, tree: str, message: str, tip: str, left_at: str, at: float) -> Advance:
        return self._refs.advance(tree, message, tip, left_at, at)

    def follow(self, tip: str, left_at: str) -> Advance:
        return self._refs.follow(tip, left_at)

    def reconcile(self, history: History) -> list[str]:
        return self._refs.reconcile(history)

    # -- places to measure and to work in ---------------------------------------------------------------------------

    async def place(
        self, slot: int, candidate: Candidate, *, pristine: bool = False, which: Which = "evaluate", clean: bool = False
    ) -> Place:
        return await self._slots.place(slot, candidate, pristine=pristine, which=which, clean=clean)

    async def built(self, slot: int, candidate: Candidate, *, pristine: bool = False) -> None:
        await self._slots.built(slot, candidate, pristine=pristine)

    def vacate(self, slot: int) -> None:
        self._slots.vacate(slot)

    def hidden(self) -> tuple[Path, ...]:
        """Outside paths that a proposal must not see."""
        return self._slots.hidden()

    def draft(self, slot: int, parent: Candidate, folder: Path | None) -> GitDraft:
        """A private place for a proposal on `parent`; its folder is laid out when it is asked for."""
        if slot not in self._drafts:
            folder_of_slot = self._cache / f"proposal-{slot}"
            self._drafts[slot] = WorkTree(folder_of_slot, self.base.store, files=self.files)
        return GitDraft(
            self.base.objects,
            parent,
            self._scope,
            prefix=self.location.prefix,
            tree=self._drafts[slot],
            overlay=self.base.overlay(parent),
            view=self.base.view.of(parent.tree),
            own=self.base.store,
            folder=folder,
            decoys=self._decoys,
            hidden=self.hidden(),
        )

    def close(self) -> None:
        self._slots.close()
        for tree in self._drafts.values():
            tree.close()
        self.base.close()
