"""The git workspace: candidates as commits under refs/autoresearch, the branch of incumbents, trees to work and measure in.

Writes into the user's repository are objects, `refs/autoresearch/<run>/**` and `refs/heads/autoresearch/<run>`; nothing
else, and only from here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import anyio

from autoresearch import git
from autoresearch.contracts import Advance, Known, Place
from autoresearch.errors import DiskFault, Refused, RepositoryError
from autoresearch.git import Entry, Repository
from autoresearch.history import History
from autoresearch.records import Blob, Candidate, Edits, Experiment, Flag, Proposal, State, Which
from autoresearch.scan import Benchmark, scan
from autoresearch.taskfile.scope import Scope, matches
from autoresearch.text import one_line
from autoresearch.tripwires import Decoys
from autoresearch.workspace import benchmark, lines, submodules
from autoresearch.workspace.content import pack, unpack
from autoresearch.workspace.draft import GitDraft
from autoresearch.workspace.evaluation import OWN_NAMES, EvaluationSlot, TreeOptions
from autoresearch.workspace.forbidden import Forbidden, replaced
from autoresearch.workspace.places import between, refuse_missing, without
from autoresearch.workspace.sets import Private, covering, hidden
from autoresearch.workspace.submodules import Submodule
from autoresearch.workspace.tree import WorkTree, remove
from autoresearch.workspace.views import View

_LONGEST_NAME, _LONGEST_PATH, _DEEPEST = 255, 3000, 100  # bytes, bytes, folders: more no tree on a disk has
_SMALL = 300  # files: scanning so many takes less than a millisecond; above it layers are used where they can be


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
        self._secretive: set[int] = set()  # slots in which an evaluation on a private set was laid out
        unseen = hidden.union(*(found.inside for found in self.private.values()))
        self.location, self.run = location, run
        self._decoys = decoys
        self.base, self._cache = base, cache
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.repository = Repository(location.git_dir, cache / "scratch")
        try:
            self.base_tree = self.repository.tree_of(base)
            refuse_missing(parts, self.repository, self.base_tree)
            modules = submodules.find(location, self.repository, self.base_tree, parts)
        except BaseException:
            self.repository.close()
            raise
        self._own = self._make_own_git(modules)
        self._objects = Repository(self._own, cache / "scratch")
        self._view = View(self._objects, hidden=unseen, submodules=modules, parts=parts)
        self._view_base = self._view.of(self.base_tree)
        self._files: dict[str, Entry] | None = None
        try:
            self._options = self._placed(options)
        except BaseException:
            self._objects.close()
            self.repository.close()
            raise
        shown = (*self._options.inputs, *(self._options.copies or {}), *self._options.caches)
        inside = (m.path.removeprefix(location.prefix) for m in modules if m.path.startswith(location.prefix))
        self.scope = without(scope, (*inside, *shown))
        self._benchmark = Benchmark(self._data)
        self._forbidden = Forbidden(
            self.repository, self._objects, self.scope, prefix=location.prefix, base=self.base_tree, view=self._view_base
        )
        self._slots: dict[int, EvaluationSlot] = {}
        self._drafts: dict[int, WorkTree] = {}
        self._threads: dict[int, ThreadPoolExecutor] = {}
        self._pending: dict[int, Future[None]] = {}

    def _make_own_git(self, modules: Sequence[Submodule]) -> Path:
        """A bare folder of our own that borrows the user's objects: its index, attributes and views are not his."""
        own = self._cache / "git"
        if not (own / "HEAD").exists():
            shutil.rmtree(own, ignore_errors=True)
            formats = ["--object-format=sha256"] if self.repository.sha256 else []
            git.run("init", "-q", "--bare", "--template=", *formats, str(own))
            (own / "info").mkdir(exist_ok=True)
            (own / "info" / "attributes").write_text("* -text -eol -ident -filter -working-tree-encoding\n")
        (own / "objects" / "info").mkdir(exist_ok=True)
        stores = [self.location.git_dir, *(m.git_dir for m in modules)]
        (own / "objects" / "info" / "alternates").write_text("".join(f"{store / 'objects'}\n" for store in stores))
        return own

    def _placed(self, options: TreeOptions) -> TreeOptions:
        """The options with inputs and copies at the places where they are shown: each beside the others and what git tracks.

        Raises:
            RepositoryError: two are wanted at one place, or one where it cannot be.
        """
        if not (options.inputs or options.copies or options.caches):
            return options
        prefix, copies = self.location.prefix, options.copies or {}
        named = [*options.inputs, *copies, *options.caches]
        for name in named:
            if named.count(name) > 1:
                raise RepositoryError(f"[evaluate] names {name} twice among inputs, copy and cache: one of them is enough")
            way = os.path.normpath(prefix + name).split("/")
            if way[0] == ".." and (way[1] == ".." or way[1] in OWN_NAMES):
                raise RepositoryError(f"[evaluate] inputs names {name}, which cannot be shown there: name its absolute path")
        self._refuse_tracked_caches(() if options.build else options.caches, copies)
        places = {os.path.normpath(prefix + name) for name in named}
        inputs = between(options.inputs, prefix, self.files, named=places)
        return replace(options, inputs=inputs, copies=between(copies, prefix, self.files, named=places, key="copy"))

    @property
    def files(self) -> dict[str, Entry]:
        """The view's files by path relative to the repository's top."""
        if self._files is None:
            self._files = self._objects.files(self._view_base)
        return self._files

    def read(self, oid: str) -> bytes:
        """The content of one of the view's files."""
        return self._objects.read(oid)

    # -- candidates -------------------------------------------------------------------------------------------------

    def ref(self, n: int | str) -> str:
        return f"refs/autoresearch/{self.run}/{n}"

    @property
    def branch(self) -> str:
        return f"refs/heads/autoresearch/{self.run}"

    def begin(self) -> None:
        """Keep the base alive and start the branch there.

        Raises:
            RepositoryError: the names are taken.
        """
        standing = self.repository.refs(f"refs/autoresearch/{self.run}")
        mine = self._cache / "begun"  # another project of this repository may have a run of the same name
        if standing == {self.ref("base"): self.base} and mine.exists():
            return  # a killed session came this far
        if standing:
            raise RepositoryError(
                f"refs/autoresearch/{self.run} holds the candidates of an earlier run whose ledger is gone: "
                "choose another name for this run"
            )
        if self.repository.refs("refs/heads/autoresearch").get("refs/heads/autoresearch"):
            raise RepositoryError("a branch named 'autoresearch' is in the way of autoresearch/<run>: rename it first")
        if self.repository.resolve(self.branch) is not None:
            raise RepositoryError(f"the branch autoresearch/{self.run} exists already: choose another name for the run")
        mine.touch()
        self.repository.update_refs({self.ref("base"): self.base, self.branch: self.base})

    def pack(self, content: Edits | State) -> bytes:
        assert isinstance(content, Mapping)
        return pack(content)

    def unpack(self, body: bytes) -> Edits:
        return unpack(body)

    def baseline(self, at: float) -> Candidate:
        return Candidate(0, self.base_tree, self.base)

    def load(self, experiment: Experiment) -> Candidate:
        return Candidate(experiment.n, experiment.tree, experiment.commit)

    def freeze(self, n: int, parent: Candidate, proposal: Proposal, at: float, known: Known) -> Candidate:
        """Make a commit of a proposal's edits on its parent, and a ref that names it.

        Raises:
            Refused: no change, a frozen file touched, or a tree that an earlier experiment has.
        """
        edits = proposal.content
        assert isinstance(edits, Mapping)
        return self._commit(n, parent, [parent], self._entries(parent, edits), proposal.description, at, known)

    def _entries(self, parent: Candidate, edits: Edits) -> dict[str, tuple[str, bytes] | None]:
        """What really differs from the parent, by path from the repository's top, checked against the scope."""
        found: dict[str, tuple[str, bytes] | None] = {}
        for path, blob in edits.items():
            full = self.location.prefix + path
            if _never_a_path(path):
                raise Refused("scope", f"{one_line(path)!r} is no path inside the project")
            old = self.repository.find(parent.tree, full)
            if blob is None and old is None:
                continue
            if blob is not None and old is not None and self._same(old, blob):
                continue
            if path not in self.scope or not self._view.shows(full):
                if old is None:
                    continue  # new and out of scope: never enters a candidate
                raise Refused("scope", f"{one_line(path)} is frozen: only {', '.join(self.scope.editable)} may change")
            found[full] = None if blob is None else (blob.mode, blob.content)
        for full in replaced(self.repository, parent.tree, found):
            if self._forbidden.is_frozen(full) or not self._view.shows(full):
                raise Refused("scope", f"{one_line(full)} is frozen: only {', '.join(self.scope.editable)} may change")
            found[full] = None
        return found

    def trial(self, n: int, parent: Candidate, edits: Edits) -> Candidate:
        """What a candidate of these edits would be; no ref names it, and it may be what others were, or its parent.

        Raises:
            Refused: it could be none: a frozen file, a forbidden change.
        """
        entries = self._entries(parent, edits)
        self._forbidden.refuse(parent.tree, entries)
        with self.repository.writing():
            blobs = {path: (e[0], self.repository.write("blob", e[1])) if e else None for path, e in entries.items()}
            return Candidate(n, self.repository.edit_tree(parent.tree, blobs), parent.commit)

    def _same(self, old: Entry, blob: Blob) -> bool:
        return old == (blob.mode, git.object_id("blob", blob.content, sha256=self.repository.sha256))

    def _commit(
        self,
        n: int,
        onto: Candidate,
        parents: list[Candidate],
        entries: Mapping[str, tuple[str, bytes] | None],
        description: str,
        at: float,
        known: Known,
    ) -> Candidate:
        if not entries:
            raise Refused("no_change", "the proposal changes nothing in the editable scope")
        self._forbidden.refuse(onto.tree, entries)
        for _ in range(3):  # a `git gc --prune=now` of the user's may take an object before its ref stands
            with self.repository.writing():
                blobs = {p: (e[0], self.repository.write("blob", e[1])) if e else None for p, e in entries.items()}
                tree = self.repository.edit_tree(onto.tree, blobs)
                if tree == onto.tree:
                    raise Refused("no_change", "the proposal changes nothing in the editable scope")
                if (earlier := known(tree)) is not None:
                    raise Refused("duplicate", f"the same files as experiment {earlier}")
                commit = self.repository.commit(tree, [p.commit for p in parents], description or f"experiment {n}", at)
            try:
                self.repository.update_refs({self.ref(n): commit})
            except RepositoryError:
                continue
            if all(self.repository.has(oid) for oid in (commit, tree, *(e[1] for e in blobs.values() if e))):
                added = lines.added(self.repository, onto.tree, entries)
                files = tuple(path.removeprefix(self.location.prefix) for path in sorted(entries))
                return Candidate(n, tree, commit, lines=added, flags=self._flags(onto.tree, entries), files=files)
        if git.full(self.location.git_dir):
            raise DiskFault(f"no space left where {self.location.git_dir} lies")
        raise RepositoryError(f"the objects of experiment {n} do not stay in {self.location.git_dir}: is a gc running?")

    def _flags(self, onto: str, entries: Mapping[str, tuple[str, bytes] | None]) -> tuple[Flag, ...]:
        """What a person should look at first in a diff."""
        found = {path: self.repository.find(onto, path) for path in entries}
        before = {path: self.repository.read(old[1]) if old and old[0] != "160000" else None for path, old in found.items()}
        return scan(before, {path: new[1] if new else None for path, new in entries.items()}, self._benchmark)

    def _data(self) -> Iterator[tuple[str, bytes]]:
        """The files that the task measures on."""
        sets = self.private.values()
        return benchmark.files(
            self.repository,
            self.base_tree,
            is_frozen=self._forbidden.is_frozen,
            private=[path for private in sets for path in private.inside],
            outside=[place for private in sets for place in private.places],
            inputs=self._options.inputs,
        )

    def rebase(
        self, candidate: Candidate, parent: Candidate, onto: Candidate, at: float, known: Known, description: str
    ) -> Candidate:
        """Apply the candidate's change to another parent, file by file, merging texts where both changed.

        Raises:
            Refused: `stale` when it does not apply or is there already, `duplicate` when another has that tree.
        """
        entries: dict[str, tuple[str, bytes] | None] = {}
        for path, new in self.repository.differences(parent.tree, candidate.tree).items():
            ours = self.repository.find(onto.tree, path)
            old = self.repository.find(parent.tree, path)
            if ours == new:
                continue
            if ours == old:
                entries[path] = (new[0], self.repository.read(new[1])) if new else None
            else:
                merged = self._merge(path, ours, old, new)
                if ours is None or not self._same(ours, Blob(merged[1], merged[0])):
                    entries[path] = merged
        if not entries:
            raise Refused("stale", f"its change is in experiment {onto.n} already")
        for path in replaced(self.repository, onto.tree, entries):
            raise Refused("stale", f"{one_line(path)}, which experiment {onto.n} has, is in its way")
        return self._commit(candidate.n, onto, [onto], entries, description, at, known)

    def changed(self, before: Candidate, after: Candidate) -> Mapping[str, tuple[bytes | None, bytes | None]]:
        """The project's files that differ between two candidates, by path, as one has them and as the other has them."""
        found = {}
        for path, new in sorted(self.repository.differences(before.tree, after.tree).items()):
            if path.startswith(self.location.prefix):
                both = self.repository.find(before.tree, path), new
                contents = [self.repository.read(entry[1]) if entry and entry[0] != "160000" else None for entry in both]
                found[path.removeprefix(self.location.prefix)] = contents[0], contents[1]
        return found

    def _merge(self, path: str, ours: Entry | None, old: Entry | None, new: Entry | None) -> tuple[str, bytes]:
        stale = Refused("stale", f"its change to {one_line(path)} does not apply to the incumbent any more")
        if ours is None or old is None or new is None or "120000" in (ours[0], new[0]):
            raise stale
        with tempfile.TemporaryDirectory(dir=self._cache) as folder:
            names = []
            for name, entry in (("ours", ours), ("old", old), ("new", new)):
                (Path(folder) / name).write_bytes(self.repository.read(entry[1]))
                names.append(str(Path(folder) / name))
            argv = git.command("merge-file", "-p", "-q", *names)
            env = git.environment()
            result = subprocess.run(argv, env=env, capture_output=True, check=False, cwd=folder, start_new_session=True)
        if result.returncode:
            raise stale
        return (new[0] if new[0] != old[0] else ours[0], result.stdout)

    # -- the branch -------------------------------------------------------------------------------------------------

    def advance(self, tree: str, message: str, tip: str, left_at: str, at: float) -> Advance:
        """Commit a tree on the line of incumbents and move the branch there, if it is ours to move.

        Args:
            tip: the newest commit of the line; `left_at` where the ledger last put the branch.
        """
        commit = self.repository.commit(tree, [tip], message, at)
        return self._move(commit, left_at)

    def _move(self, commit: str, left_at: str) -> Advance:
        standing = self.repository.refs(self.branch).get(self.branch)
        if standing == commit:
            return Advance(commit, moved=True)
        if standing == left_at and self.branch not in self.repository.checked_out():
            try:
                self.repository.update_refs({self.branch: commit}, old={self.branch: left_at})
                if self.ref("head") in self.repository.refs(self.ref("head")):
                    self.repository.update_refs({self.ref("head"): None})
                return Advance(commit, moved=True)
            except RepositoryError:
                pass  # somebody was faster: it is not ours any more
        self.repository.update_refs({self.ref("head"): commit})
        return Advance(commit, moved=False)

    def follow(self, tip: str, left_at: str) -> Advance:
        """Let the branch follow to the line's tip if it has become free."""
        return self._move(tip, left_at)

    def reconcile(self, history: History) -> list[str]:
        """Bring the refs in line with the ledger after a kill; says in one line each what was mended."""
        expected = {self.ref(e.n): e.commit for e in history.experiments if e.commit and e.n > 0}
        expected[self.ref("base")] = self.base
        standing = self.repository.refs(f"refs/autoresearch/{self.run}")
        standing.pop(self.ref("head"), None)
        wrong: dict[str, str | None] = {ref: oid for ref, oid in expected.items() if standing.get(ref) != oid}
        wrong |= {ref: None for ref in standing if ref not in expected}
        mended = []
        for ref, oid in wrong.items():
            if oid is None or self.repository.has(oid):
                self.repository.update_refs({ref: oid})
                mended.append(f"{ref} {'set again' if oid else 'removed: the ledger does not know it'}")
        return mended

    # -- places to measure and to work in ---------------------------------------------------------------------------

    async def place(
        self, slot: int, candidate: Candidate, *, pristine: bool = False, which: Which = "evaluate", clean: bool = False
    ) -> Place:
        """An evaluation tree showing the base plus the candidate's in-scope files, in this slot.

        Args:
            pristine: with empty caches, and a build that began with none.
            which: the set that is measured on: its private files are shown, and nothing of what runs there stays behind.
            clean: laid out anew from git first, with nothing in it that was there before.
        """
        secret = self.private.get(which, Private())
        if secret.outside:
            await anyio.to_thread.run_sync(secret.verify)
        if slot not in self._slots:
            self._slots[slot] = self._evaluation_slot(slot)
        here = self._slots[slot]
        if slot in self._secretive:  # it was broken off before it was left
            await self._in_thread(slot, lambda: self._forget_secrets(slot))
        if clean:
            await self._in_thread(slot, here.start_anew)
        if which != "evaluate":
            self._mark_secretive(slot)

        async def in_thread(work: Callable[[], None]) -> None:
            costly = self._options.build or self._options.copies
            if self._is_small and here.tree.built and slot not in self._pending and not costly:
                work()  # less than the way into a thread and back
            else:
                await self._in_thread(slot, work)

        overlay, pristine = self._overlay(candidate), pristine or which != "evaluate"
        own = {path: self.repository.find(self.base_tree, path) for path in sorted(secret.inside)}
        place = await here.show(candidate.tree, overlay, pristine=pristine, in_thread=in_thread, private=own)
        readonly = (*place.readonly, *secret.places, *self._out_of_reach(slot))
        private = (*secret.places, *(here.tree.root / path for path in own))
        return replace(place, readonly=readonly, hidden=self.hidden(which, slot=slot), private=private)

    def hidden(self, which: Which | None = None, *, slot: int | None = None) -> tuple[Path, ...]:
        """Outside paths that what works on a set, in an evaluation slot, must not see; None stands for a proposal."""
        others = [self._cache / f"evaluation-{i}" for i in range(self._options.slots) if i != slot] if self.private else []
        for folder in others:  # one may work on another set meanwhile
            folder.mkdir(exist_ok=True)
        stores = (self.location.git_dir, self._own)
        return (*hidden(self.private, which, lying=self._private_places, stores=stores), *others)

    @cached_property
    def _private_places(self) -> tuple[Path, ...]:
        """Where the base's private files lie in the user's checkout."""
        return tuple(self.location.top / path for path in covering(self.private, self.files))

    def _mark_secretive(self, slot: int) -> None:
        """Leave word, also for the session after a kill, that what lies in a slot is not for everybody."""
        self._secretive.add(slot)
        (self._cache / f"private-{slot}").touch()

    def _forget_secrets(self, slot: int) -> None:
        self._slots[slot].forget()
        (self._cache / f"private-{slot}").unlink(missing_ok=True)
        self._secretive.discard(slot)

    async def built(self, slot: int, candidate: Candidate, *, pristine: bool = False) -> None:
        """What was run in the slot's place last was the candidate's build, and it is good: keep what it made."""
        await self._in_thread(slot, lambda: self._slots[slot].keep_build(candidate.tree, pristine=pristine))

    def _evaluation_slot(self, slot: int) -> EvaluationSlot:
        prefix, options = self.location.prefix, self._options
        grows = bool(options.build or options.setup)  # a tree that scans itself would scan what these make
        globs = options.setup_if
        if (mark := self._cache / f"private-{slot}").exists():  # a killed session left it
            remove(self._cache / f"evaluation-{slot}")
            mark.unlink()
        return EvaluationSlot(
            self._cache / f"evaluation-{slot}",
            self._own,
            base_tree=self.base_tree,
            files=self.files,
            prefix=prefix,
            options=options,
            layered=options.layered and (grows or not self._is_small),
            is_setup_file=lambda path: path.startswith(prefix) and any(matches(path.removeprefix(prefix), g) for g in globs),
        )

    def _out_of_reach(self, slot: int) -> list[Path]:
        """Everything of ours but the slot's own: objects from which trees are made, other slots, proposals."""
        for name in ("views", *(f"evaluation-{i}" for i in range(self._options.slots))):
            (self._cache / name).mkdir(exist_ok=True)  # there to be mounted over, also before anything is in it
        return [path for path in self._cache.iterdir() if path.name != f"evaluation-{slot}"]

    def vacate(self, slot: int) -> None:
        """A program ran in this slot's tree: scan it, while the owner goes on."""
        here = self._slots.get(slot)
        if here is None:
            return
        if slot in self._secretive:
            self._pending[slot] = self._thread(slot).submit(self._forget_secrets, slot)
        elif here.layered or (self._is_small and not self._options.build):
            here.tree.distrust()
        else:
            self._pending[slot] = self._thread(slot).submit(here.tree.distrust)

    def _refuse_tracked_caches(self, caches: Sequence[str], copies: Collection[str]) -> None:
        """A cache covers what lies at its place: nothing of git's may, and no copy.

        Raises:
            RepositoryError: naming cache and file.
        """
        for cache in caches:
            place = self.location.prefix + cache
            covered = next((path for path in self.files if path == place or path.startswith(place + "/")), None)
            if covered is not None:
                raise RepositoryError(
                    f"[evaluate] cache names {cache}, where git tracks {covered}: name a folder that only evaluations write"
                )
            copied = next((path for path in copies if path.startswith(cache + "/")), None)
            if copied is not None:
                raise RepositoryError(f"[evaluate] copy names {copied}, which lies in the cache {cache}: name one of them")

    @property
    def _is_small(self) -> bool:
        return len(self.files) <= _SMALL

    async def _in_thread(self, slot: int, work: Callable[[], None]) -> None:
        pending = self._pending.pop(slot, None)

        def both() -> None:
            if pending is not None:
                pending.result()
            work()

        future = self._thread(slot).submit(both)
        await anyio.to_thread.run_sync(future.result)

    def _thread(self, slot: int) -> ThreadPoolExecutor:
        if slot not in self._threads:
            self._threads[slot] = ThreadPoolExecutor(1, thread_name_prefix=f"tree-{slot}")
        return self._threads[slot]

    def _overlay(self, candidate: Candidate) -> dict[str, Entry | None]:
        return {
            path: entry
            for path, entry in self.repository.differences(self.base_tree, candidate.tree).items()
            if self._view.shows(path)
        }

    def draft(self, slot: int, parent: Candidate, folder: Path | None) -> GitDraft:
        """A private place for a proposal on `parent`; its folder is laid out when it is asked for."""
        if slot not in self._drafts:
            folder_of_slot = self._cache / f"proposal-{slot}"
            self._drafts[slot] = WorkTree(folder_of_slot, self._own, files=self.files)
        return GitDraft(
            self._objects,
            parent,
            self.scope,
            prefix=self.location.prefix,
            tree=self._drafts[slot],
            overlay=self._overlay(parent),
            view=self._view.of(parent.tree),
            own=self._own,
            folder=folder,
            decoys=self._decoys,
            hidden=self.hidden(),
        )

    def close(self) -> None:
        for thread in self._threads.values():
            thread.shutdown(wait=True)
        for slot in sorted(self._secretive):
            self._forget_secrets(slot)
        for tree in (*(slot.tree for slot in self._slots.values()), *self._drafts.values()):
            tree.close()
        self.repository.close()
        self._objects.close()


def _never_a_path(path: str) -> bool:
    """What would lead out of the tree, or what git or a file system cannot hold."""
    parts = path.split("/")
    try:
        longest, whole = max(len(os.fsencode(part)) for part in parts), len(os.fsencode(path))
    except UnicodeEncodeError:
        return True
    is_none = any(part in ("", ".", "..") or part.lower() == ".git" for part in parts) or "\0" in path
    return is_none or longest > _LONGEST_NAME or whole > _LONGEST_PATH or len(parts) > _DEEPEST
