"""A proposal's private place: the parent's files, a repository of its own with one root commit, and what came of it."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import anyio

from autoresearch import git
from autoresearch.errors import DiskFault, Refused, RepositoryError
from autoresearch.objects import Repository
from autoresearch.records import Blob, Candidate, Edits
from autoresearch.taskfile.scope import Scope
from autoresearch.text import one_line
from autoresearch.trees import Entry, object_id
from autoresearch.tripwires import IN_TREE, Decoys, Trip
from autoresearch.workspace.peek import peek
from autoresearch.workspace.tree import WorkTree


class GitDraft:
    """What a proposer may see and touch. Paths are relative to the project's folder.

    Attributes:
        log_folder: the experiment's folder, for prompts and logs.
        hidden: outside paths that a proposer must not see.
    """

    def __init__(
        self,
        repository: Repository,
        parent: Candidate,
        scope: Scope,
        *,
        prefix: str,
        tree: WorkTree,
        overlay: Mapping[str, Entry | None],
        view: str,
        own: Path,
        folder: Path | None,
        decoys: Decoys | None = None,
        hidden: tuple[Path, ...] = (),
    ) -> None:
        self.hidden = hidden
        self._repository, self._parent, self._scope = repository, parent, scope
        self._prefix, self._tree, self._overlay = prefix, tree, overlay
        self._view, self._own = view, own
        self.log_folder = folder
        self._used = False
        self._decoys, self._planted = decoys, False
        self._seen: Trip | None = None

    @property
    def state(self) -> object:
        raise TypeError("a project's draft has files, not a state")

    @property
    def root(self) -> Path:
        return self._tree.root

    @property
    def scratch(self) -> Path:
        return self._tree.folder

    @property
    def shown(self) -> tuple[Path, ...]:
        """The store that its repository borrows objects from: nothing but views."""
        return (self._own.with_name("views"),)

    def read(self, path: str) -> bytes:
        """A file of the parent.

        Raises:
            FileNotFoundError: the parent has none there.
        """
        entry = self._repository.find(self._view, self._prefix + path)
        if entry is None or entry[0] == "40000":
            raise FileNotFoundError(path)
        return self._repository.read(entry[1])

    def mode(self, path: str) -> str:
        """A file's git mode in the parent."""
        entry = self._repository.find(self._view, self._prefix + path)
        return entry[0] if entry is not None else "100644"

    def editable(self) -> list[str]:
        """The parent's files that may be changed, sorted."""
        files = {p for p in self._tree_files() if p.startswith(self._prefix)}
        return sorted(p for p in (f.removeprefix(self._prefix) for f in files) if p in self._scope)

    def _tree_files(self) -> set[str]:
        base = set(self._tree._files)
        gone = {p for p, entry in self._overlay.items() if entry is None}
        return (base | self._overlay.keys()) - gone

    async def folder(self) -> Path:
        """Lay the parent's files out in a folder with a `.git` of its own; nothing there links to the user's."""
        self._used = True
        await anyio.to_thread.run_sync(self._lay_out)
        root = self._tree.root
        return root / self._prefix if self._prefix else root

    def _lay_out(self) -> None:
        self._tree.distrust()  # takes the last proposal's `.git` away too
        self._tree.apply(self._overlay)
        self._make_repository()
        self._plant()

    def _plant(self) -> None:
        """Lay the decoy file out where git does not see it; not where the project has files of its own."""
        if self._decoys is None or os.path.lexists(self._decoy.parent):
            return
        try:
            self._decoys.plant(self._decoy)
            with open(self._tree.root / ".git" / "info" / "exclude", "a", encoding="utf-8") as file:
                file.write(f"**/{IN_TREE}\n")
        except OSError as error:
            raise DiskFault(f"cannot write {self._decoy}: {error.strerror}") from error
        self._planted, self._seen = True, None

    @property
    def _decoy(self) -> Path:
        return self._tree.root / self._prefix / IN_TREE

    def variables(self) -> Mapping[str, str]:
        """What the proposer's environment holds of ours besides: the decoys."""
        return self._decoys.variables(self._decoy) if self._decoys is not None and self._planted else {}

    def touched(self) -> tuple[str, ...]:
        """What was done with the decoy file that is harmless by itself."""
        return self._trip().touched

    def _trip(self) -> Trip:
        """What became of the decoy file; looked at once, as looking reads it."""
        if self._decoys is None or not self._planted:
            return Trip()
        if self._seen is None:
            self._seen = self._decoys.look(self._decoy) if self._tree.stands() else Trip()
        return self._seen

    def _make_repository(self) -> None:
        """One root commit with the view of the parent, its objects from a store that holds nothing but views."""
        own = Repository(self._own, self._tree.folder / "scratch")
        try:
            commit = own.commit(self._view, [], "the parent", 0)
            own.update_refs({"refs/view/parent": commit})
        finally:
            own.close()
        views = self._own.with_name("views")
        if not (views / "HEAD").exists():
            formats = ["--object-format=sha256"] if self._repository.sha256 else []
            git.run("init", "-q", "--bare", "--template=", *formats, str(views))
        fetch = [
            "-c",
            "protocol.file.allow=always",
            f"--git-dir={views}",
            "fetch",
            "-q",
            "--no-tags",
            "--no-write-fetch-head",
        ]
        git.run(*fetch, str(self._own), f"+refs/view/parent:refs/view/{commit}")
        root = self._tree.root
        dot_git = root / ".git"
        formats = ["--object-format=sha256"] if self._repository.sha256 else []
        git.run("init", "-q", "--template=", "-b", "main", *formats, str(root))
        (dot_git / "info").mkdir(exist_ok=True)  # where agents expect an exclude file to go
        (dot_git / "objects" / "info").mkdir(exist_ok=True)
        (dot_git / "objects" / "info" / "alternates").write_text(f"{views / 'objects'}\n")
        here = f"--git-dir={dot_git}"
        git.run(here, "update-ref", "refs/heads/main", commit)
        git.run(here, f"--work-tree={root}", "read-tree", "HEAD")
        git.run(here, "config", "user.name", "autoresearch")
        git.run(here, "config", "user.email", "autoresearch@localhost")

    def collect(self) -> tuple[Edits, tuple[str, ...]]:
        """What the folder holds against the parent, whatever was done to its `.git`: edits, and notes on what was dropped.

        Raises:
            Refused: a tracked frozen file was changed, deleted or changed in mode or type, or the decoy file was.
        """
        if not self._used:
            return {}, ()
        if not self._tree.stands():
            raise Refused("scope", "the tree itself was removed or replaced: every frozen file in it is gone")
        self._refuse_written_decoy()
        return self._sorted((full, self._read(full)) for full, _ in sorted(self._tree.changes()))

    def peek(self) -> Edits:
        """The same edits while programs still work in the folder: nothing is set right, and the decoy is not looked at.

        Raises:
            Refused: as `collect`, but for the decoy.
        """
        unread = {self._prefix + IN_TREE} if self._planted else ()
        return self._sorted(peek(self._tree.root, self._tree.known, unread))[0] if self._used else {}

    def _sorted(self, changed: Iterable[tuple[str, Blob | None]]) -> tuple[Edits, tuple[str, ...]]:
        edits: dict[str, Blob | None] = {}
        new: list[str] = []
        dropped: list[str] = []
        for full, blob in changed:
            path = full.removeprefix(self._prefix) if full.startswith(self._prefix) else None
            if path == IN_TREE and self._planted:
                continue
            old = self._repository.find(self._view, full)
            if old is not None and blob is not None and self._same(old, blob):
                continue
            if old is not None and (path is None or path not in self._scope):
                raise Refused("scope", f"{one_line(full)} is frozen: only {', '.join(self._scope.editable)} may change")
            if old is None and (path is None or path not in self._scope or never(full)):
                dropped.append(full)
            elif path is not None and not (old is None and blob is None):
                edits[path] = blob
                if old is None:
                    new.append(full)
        for full in self._ignored(new):
            edits.pop(full.removeprefix(self._prefix), None)
            dropped.append(full)
        return edits, _drop_notes(dropped)

    def _refuse_written_decoy(self) -> None:
        if words := self._trip().words:
            raise Refused("tampering", f"the proposer {words} ({IN_TREE})")

    def _read(self, full: str) -> Blob | None:
        path = self._tree.root / full
        if path.is_symlink():
            return Blob(os.fsencode(os.readlink(path)), "120000")
        if not path.is_file():
            return None
        try:
            return Blob(path.read_bytes(), "100755" if os.access(path, os.X_OK) else "100644")
        except PermissionError:
            os.chmod(path, 0o600)
            return Blob(path.read_bytes(), "100644")

    def _same(self, old: Entry, blob: Blob) -> bool:
        return old == (blob.mode, object_id("blob", blob.content, sha256=self._repository.sha256))

    def _ignored(self, paths: list[str]) -> list[str]:
        """Which new files the project's own .gitignore files leave out."""
        if not paths:
            return []
        try:
            answer = git.run(
                f"--git-dir={self._own}",
                f"--work-tree={self._tree.root}",
                "check-ignore",
                "--no-index",
                "-z",
                "--stdin",
                cwd=self._tree.root,
                stdin="\0".join(paths).encode("utf-8", "surrogateescape") + b"\0",
            )
        except RepositoryError:  # git's way to say "none"
            return []
        return [p for p in os.fsdecode(answer).split("\0") if p]

    def spend(self, cost_usd: float = 0.0, tokens: int = 0) -> None:
        """Record money at the moment it is spent: read back from here if this attempt is killed."""
        assert self.log_folder is not None
        folder = self.log_folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with open(folder / "cost.jsonl", "a") as file:
                file.write(json.dumps({"cost_usd": cost_usd, "tokens": tokens}) + "\n")
        except OSError as error:
            raise DiskFault(f"cannot record the cost in {folder}: {error.strerror}") from error

    def cost_file(self) -> Path:
        """Where a program reports what it spends: empty, outside the records, which it does not see.

        Raises:
            DiskFault: it cannot be made.
        """
        self._take_costs()
        path = self.scratch / f"cost-{self._name}.jsonl"
        try:
            path.touch(mode=0o600)
        except OSError as error:
            raise DiskFault(f"cannot write {path}: {error.strerror}") from error
        return path

    @property
    def _name(self) -> str:
        assert self.log_folder is not None
        return self.log_folder.name

    def _take_costs(self) -> None:
        """Move what programs reported to the records, also of an attempt in another slot that was killed.

        Raises:
            DiskFault: no space there.
        """
        assert self.log_folder is not None
        for path in sorted(self.scratch.parent.glob(f"proposal-*/cost-{self._name}.jsonl")):
            kept = self.log_folder / f"cost-{path.parent.name}-{path.stat().st_mtime_ns}.jsonl"  # the same, killed and again
            try:
                self.log_folder.mkdir(parents=True, exist_ok=True)
                shutil.move(path, kept)
            except OSError as error:
                raise DiskFault(f"cannot record the cost in {self.log_folder}: {error.strerror}") from error

    def spent(self) -> tuple[float, int]:
        """What all attempts at this proposal have spent, also those that were killed."""
        if self.log_folder is None:
            return 0.0, 0
        self._take_costs()
        rows = [_cost(line) for path in sorted(self.log_folder.glob("cost*.jsonl")) for line in _lines(path)]
        return sum(cost_usd for cost_usd, _ in rows), sum(tokens for _, tokens in rows)


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.is_file() and not path.is_symlink() else []


def _cost(line: str) -> tuple[float, int]:
    """What a line reports; nothing where a kill cut it short, or a program did not write it as told: never less than it."""
    try:
        row = json.loads(line)
        cost_usd, tokens = float(row.get("cost_usd", 0.0)), int(row.get("tokens", 0))
    except (ValueError, TypeError, AttributeError, OverflowError):
        return 0.0, 0
    return (cost_usd if math.isfinite(cost_usd) and cost_usd > 0 else 0.0), max(0, tokens)


def never(path: str) -> bool:
    """Bytecode, and repositories that were made below the tree: git would take neither for plain files."""
    parts = path.lower().split("/")
    return "__pycache__" in parts or ".git" in parts or path.endswith(".pyc")


def _drop_notes(paths: list[str]) -> tuple[str, ...]:
    if not paths:
        return ()
    shown = ", ".join(one_line(p) for p in paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
    return (f"left out of the candidate (new, not in the editable scope or ignored): {shown}",)
