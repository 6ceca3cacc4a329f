"""Candidates as commits: what may enter one, what a ref names, and what is left of one on another parent."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from autoresearch import git
from autoresearch.contracts import Known
from autoresearch.errors import DiskFault, Refused, RepositoryError
from autoresearch.git import Location
from autoresearch.records import Blob, Candidate, Edits, Flag, Proposal
from autoresearch.scan import Benchmark, scan
from autoresearch.taskfile.scope import Scope
from autoresearch.text import one_line
from autoresearch.trees import Entry, object_id
from autoresearch.workspace import lines
from autoresearch.workspace.base import Base
from autoresearch.workspace.forbidden import Entries, Forbidden, replaced
from autoresearch.workspace.refs import Refs

_LONGEST_NAME, _LONGEST_PATH, _DEEPEST = 255, 3000, 100  # bytes, bytes, folders: more no tree on a disk has


class Candidates:
    """The candidates of one run.

    Args:
        forbidden: looks at what a candidate changes before it is made.
        benchmark: what the task measures on, for the scan of diffs.
        cache: a folder of our own.
    """

    def __init__(
        self,
        base: Base,
        refs: Refs,
        scope: Scope,
        *,
        location: Location,
        forbidden: Forbidden,
        benchmark: Benchmark,
        cache: Path,
    ) -> None:
        self._repository, self._view, self._refs = base.repository, base.view, refs
        self._scope, self._location, self._cache = scope, location, cache
        self._forbidden, self._benchmark = forbidden, benchmark

    def freeze(self, n: int, parent: Candidate, proposal: Proposal, at: float, known: Known) -> Candidate:
        """Make a commit of a proposal's edits on its parent, and a ref that names it.

        Raises:
            Refused: no change, a frozen file touched, or a tree that an earlier experiment has.
        """
        edits = proposal.content
        assert isinstance(edits, Mapping)
        return self._commit(n, parent, self._entries(parent, edits), proposal.description, at, known)

    def _entries(self, parent: Candidate, edits: Edits) -> dict[str, tuple[str, bytes] | None]:
        """What really differs from the parent, by path from the repository's top, checked against the scope."""
        found: dict[str, tuple[str, bytes] | None] = {}
        for path, blob in edits.items():
            full = self._location.prefix + path
            if _never_a_path(path):
                raise Refused("scope", f"{one_line(path)!r} is no path inside the project")
            old = self._repository.find(parent.tree, full)
            if blob is None and old is None:
                continue
            if blob is not None and old is not None and self._same(old, blob):
                continue
            if path not in self._scope or not self._view.shows(full):
                if old is None:
                    continue  # new and out of scope: never enters a candidate
                raise Refused("scope", f"{one_line(path)} is frozen: only {', '.join(self._scope.editable)} may change")
            found[full] = None if blob is None else (blob.mode, blob.content)
        for full in replaced(self._repository, parent.tree, found):
            if self._forbidden.is_frozen(full) or not self._view.shows(full):
                raise Refused("scope", f"{one_line(full)} is frozen: only {', '.join(self._scope.editable)} may change")
            found[full] = None
        return found

    def trial(self, n: int, parent: Candidate, edits: Edits) -> Candidate:
        """What a candidate of these edits would be; no ref names it, and it may be what others were, or its parent.

        Raises:
            Refused: it could be none: a frozen file, a forbidden change.
        """
        entries = self._entries(parent, edits)
        self._forbidden.refuse(parent.tree, entries)
        with self._repository.writing():
            return Candidate(n, self._written(parent, entries)[1], parent.commit)

    def _written(self, onto: Candidate, entries: Entries) -> tuple[dict[str, Entry | None], str]:
        """What entries are as objects, and the tree that they make of another."""
        blobs = {path: (e[0], self._repository.write("blob", e[1])) if e else None for path, e in entries.items()}
        return blobs, self._repository.edit_tree(onto.tree, blobs)

    def _same(self, old: Entry, blob: Blob) -> bool:
        return old == (blob.mode, object_id("blob", blob.content, sha256=self._repository.sha256))

    def _commit(self, n: int, onto: Candidate, entries: Entries, description: str, at: float, known: Known) -> Candidate:
        if not entries:
            raise Refused("no_change", "the proposal changes nothing in the editable scope")
        self._forbidden.refuse(onto.tree, entries)
        for _ in range(3):  # a `git gc --prune=now` of the user's may take an object before its ref stands
            with self._repository.writing():
                blobs, tree = self._written(onto, entries)
                if tree == onto.tree:
                    raise Refused("no_change", "the proposal changes nothing in the editable scope")
                if (earlier := known(tree)) is not None:
                    raise Refused("duplicate", f"the same files as experiment {earlier}")
                commit = self._repository.commit(tree, [onto.commit], description or f"experiment {n}", at)
            try:
                self._repository.update_refs({self._refs.ref(n): commit})
            except RepositoryError:
                continue
            if all(self._repository.has(oid) for oid in (commit, tree, *(e[1] for e in blobs.values() if e))):
                added = lines.added(self._repository, onto.tree, entries)
                files = tuple(path.removeprefix(self._location.prefix) for path in sorted(entries))
                return Candidate(n, tree, commit, lines=added, flags=self._flags(onto.tree, entries), files=files)
        raise self._gone(n)

    def _gone(self, n: int) -> Exception:
        if git.full(self._location.git_dir):
            return DiskFault(f"no space left where {self._location.git_dir} lies")
        return RepositoryError(f"the objects of experiment {n} do not stay in {self._location.git_dir}: is a gc running?")

    def _flags(self, onto: str, entries: Entries) -> tuple[Flag, ...]:
        """What a person should look at first in a diff."""
        found = {path: self._repository.find(onto, path) for path in entries}
        before = {path: self._repository.read(old[1]) if old and old[0] != "160000" else None for path, old in found.items()}
        return scan(before, {path: new[1] if new else None for path, new in entries.items()}, self._benchmark)

    def rebase(
        self, candidate: Candidate, parent: Candidate, onto: Candidate, at: float, known: Known, description: str
    ) -> Candidate:
        """Apply the candidate's change to another parent, file by file, merging texts where both changed.

        Raises:
            Refused: `stale` when it does not apply or is there already, `duplicate` when another has that tree.
        """
        entries: dict[str, tuple[str, bytes] | None] = {}
        for path, new in self._repository.differences(parent.tree, candidate.tree).items():
            ours = self._repository.find(onto.tree, path)
            old = self._repository.find(parent.tree, path)
            if ours == new:
                continue
            if ours == old:
                entries[path] = (new[0], self._repository.read(new[1])) if new else None
            else:
                merged = self._merge(path, ours, old, new)
                if ours is None or not self._same(ours, Blob(merged[1], merged[0])):
                    entries[path] = merged
        if not entries:
            raise Refused("stale", f"its change is in experiment {onto.n} already")
        for path in replaced(self._repository, onto.tree, entries):
            raise Refused("stale", f"{one_line(path)}, which experiment {onto.n} has, is in its way")
        return self._commit(candidate.n, onto, entries, description, at, known)

    def changed(self, before: Candidate, after: Candidate) -> Mapping[str, tuple[bytes | None, bytes | None]]:
        """The project's files that differ between two candidates, by path, as one has them and as the other has them."""
        found = {}
        for path, new in sorted(self._repository.differences(before.tree, after.tree).items()):
            if path.startswith(self._location.prefix):
                both = self._repository.find(before.tree, path), new
                contents = [self._repository.read(entry[1]) if entry and entry[0] != "160000" else None for entry in both]
                found[path.removeprefix(self._location.prefix)] = contents[0], contents[1]
        return found

    def _merge(self, path: str, ours: Entry | None, old: Entry | None, new: Entry | None) -> tuple[str, bytes]:
        stale = Refused("stale", f"its change to {one_line(path)} does not apply to the incumbent any more")
        if ours is None or old is None or new is None or "120000" in (ours[0], new[0]):
            raise stale
        with tempfile.TemporaryDirectory(dir=self._cache) as folder:
            names = []
            for name, entry in (("ours", ours), ("old", old), ("new", new)):
                (Path(folder) / name).write_bytes(self._repository.read(entry[1]))
                names.append(str(Path(folder) / name))
            argv = git.command("merge-file", "-p", "-q", *names)
            env = git.environment()
            result = subprocess.run(argv, env=env, capture_output=True, check=False, cwd=folder, start_new_session=True)
        if result.returncode:
            raise stale
        return (new[0] if new[0] != old[0] else ours[0], result.stdout)


def _never_a_path(path: str) -> bool:
    """What would lead out of the tree, or what git or a file system cannot hold."""
    parts = path.split("/")
    try:
        longest, whole = max(len(os.fsencode(part)) for part in parts), len(os.fsencode(path))
    except UnicodeEncodeError:
        return True
    is_none = any(part in ("", ".", "..") or part.lower() == ".git" for part in parts) or "\0" in path
    return is_none or longest > _LONGEST_NAME or whole > _LONGEST_PATH or len(parts) > _DEEPEST
