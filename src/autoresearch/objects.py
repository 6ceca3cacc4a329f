"""Objects, trees, commits and refs of the user's repository, through the git program, and nothing else of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from autoresearch import git
from autoresearch.errors import DiskFault, Refused, RepositoryError
from autoresearch.trees import Entry, Trees, object_id, tree_of

AUTHOR = "autoresearch <autoresearch@localhost>"


class Repository(Trees):
    """Objects and refs of one repository, by its git folder. Not for several threads."""

    def __init__(self, git_dir: Path, scratch: Path) -> None:
        super().__init__()
        self.git_dir = git_dir
        self._scratch = scratch  # a folder for bodies on their way into the object store
        scratch.mkdir(parents=True, exist_ok=True)
        self._processes: dict[str, git.Process] = {}
        self._under_way: list[tuple[git.Process, str]] | None = None
        self._handed: dict[int, int] = {}
        self.sha256 = self.config("extensions.objectformat").lower() == "sha256"

    def call(self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> bytes:
        return git.run(f"--git-dir={self.git_dir}", *args, stdin=stdin, env=env, cwd=Path("/"))

    def config(self, key: str) -> str:
        try:
            return self.call("config", "--get", key).decode().strip()
        except RepositoryError:
            return ""

    def _process(self, *args: str) -> git.Process:
        key = " ".join(args)
        if key not in self._processes:
            argv = git.command(f"--git-dir={self.git_dir}", *args, settings=["safe.directory=*"])
            self._processes[key] = git.Process(argv)
        return self._processes[key]

    # -- objects ----------------------------------------------------------------------------------------------------

    def write(self, kind: str, body: bytes) -> str:
        """Put an object into the store and give its id."""
        with self.writing():
            return self._write(kind, body)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Let several writes be under way at once: their ids are known beforehand, and all stand when the block ends.

        Raises:
            DiskFault, RepositoryError: one of them failed.
        """
        if self._under_way is not None:
            yield
            return
        self._under_way = []
        try:
            yield
            for process, oid in self._under_way:
                found = process.answer().decode().strip()
                if found != oid:
                    raise RepositoryError(f"git wrote {found or 'nothing'} into {self.git_dir} where {oid} was expected")
        except Refused:
            for process, _ in self._under_way:
                process.answer()
            raise
        except BaseException:
            self.close()  # answers that nobody waits for any more
            raise
        finally:
            self._under_way = None

    def _write(self, kind: str, body: bytes) -> str:
        assert self._under_way is not None
        name = self._hand_over(len(self._under_way), body)
        process = self._process("hash-object", "-w", "-t", kind, "--no-filters", "--stdin-paths")
        process.request(os.fsencode(name) + b"\n")
        oid = object_id(kind, body, sha256=self.sha256)
        self._under_way.append((process, oid))
        return oid

    def _hand_over(self, number: int, body: bytes) -> str:
        """Put a body into a scratch file and give its name.

        The file stays open and is written over: to truncate and close it each time would make ext4 flush it each time.
        """
        name = f"{self._scratch}/object-{number}"
        try:
            if number not in self._handed:
                self._handed[number] = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            done = 0
            while done < len(body):
                done += os.pwrite(self._handed[number], body[done:], done)
            os.ftruncate(self._handed[number], len(body))
        except OSError as error:
            raise DiskFault(f"cannot write into {self._scratch}: {error.strerror}") from error
        return name

    def read(self, oid: str, kind: str = "") -> bytes:
        """An object's content.

        Raises:
            RepositoryError: it is not there, or of another kind.
        """
        process = self._process("cat-file", "--batch")
        header = process.ask(oid.encode() + b"\n")[0].split()
        if len(header) != 3:
            raise RepositoryError(f"object {oid} is missing from {self.git_dir}")
        body = process.read(int(header[2]) + 1)[:-1]
        if kind and header[1].decode() != kind:
            raise RepositoryError(f"object {oid} is a {header[1].decode()}, expected a {kind}")
        self.check(oid, header[1].decode(), body)
        return body

    def check(self, oid: str, kind: str, body: bytes) -> None:
        """See that a content is the one of its id: git itself takes a file's word for it.

        Raises:
            RepositoryError: it is not.
        """
        if object_id(kind, body, sha256=len(oid) == 64) != oid:
            raise RepositoryError(
                f"object {oid} in {self.git_dir} is not what its id says: somebody changed the repository's objects, or the "
                "disk did. Nothing is measured with it: look with `git fsck`, and get the object back from another clone"
            )

    def has(self, oid: str) -> bool:
        return b"missing" not in self._process("cat-file", "--batch-check").ask(oid.encode() + b"\n")[0]

    def tree_of(self, commit: str) -> str:
        return self.read(commit, "commit").split(b"\n", 1)[0].split()[1].decode()

    def commit(self, tree: str, parents: Iterable[str], message: str, at: float) -> str:
        """Write a commit that anybody can make again with the same id: fixed author, the given time, UTC."""
        stamp = f"{AUTHOR} {int(at)} +0000"
        lines = [f"tree {tree}", *(f"parent {p}" for p in parents), f"author {stamp}", f"committer {stamp}"]
        return self.write("commit", ("\n".join(lines) + f"\n\n{message.rstrip()}\n").encode(errors="replace"))

    # -- trees ------------------------------------------------------------------------------------------------------

    def files(self, tree: str) -> dict[str, Entry]:
        """All files of a tree by path (20,000 in some tens of milliseconds).

        Raises:
            RepositoryError: a tree in it is not what its id says.
        """
        found = self._listed(tree)
        return found if tree_of(found, sha256=len(tree) == 64) == tree else self.walked(tree)

    def _listed(self, tree: str) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for line in os.fsdecode(self.call("ls-tree", "-r", "-z", "--full-tree", tree)).split("\0"):
            if line:
                meta, path = line.split("\t", 1)
                mode, _, oid = meta.split(" ")
                found[path] = (mode, oid)
        return found

    # -- refs -------------------------------------------------------------------------------------------------------

    def resolve(self, name: str) -> str | None:
        """The commit a name stands for, None where there is none."""
        try:
            return self.call("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").decode().strip()
        except RepositoryError:
            return None

    def refs(self, prefix: str) -> dict[str, str]:
        """All refs below a prefix with their ids."""
        lines = self.call("for-each-ref", "--format=%(refname) %(objectname)", prefix).decode().splitlines()
        return dict(line.split(" ") for line in lines)

    def update_refs(self, updates: Mapping[str, str | None], *, old: Mapping[str, str] | None = None) -> None:
        """Set or delete (None) refs in one transaction.

        Raises:
            RepositoryError: also when a ref in `old` does not stand where it should.
        """
        lines = ["start"]
        for name, oid in updates.items():
            expected = f" {(old or {})[name]}" if name in (old or {}) else ""
            lines.append(f"update {name} {oid}{expected}" if oid else f"delete {name}{expected}")
        process = self._process("update-ref", "--no-deref", "--stdin")
        process.ask(("\n".join([*lines, "prepare", "commit"]) + "\n").encode(), lines=3)

    def checked_out(self) -> set[str]:
        """Refs that are checked out in some work tree, or will be written there when a rebase or bisection ends."""
        lines = self.call("worktree", "list", "--porcelain").decode("utf-8", "replace").splitlines()
        return {line.removeprefix("branch ") for line in lines if line.startswith("branch ")} | self._detached()

    def _detached(self) -> set[str]:
        found = set()
        for folder in (self.git_dir, *self.git_dir.glob("worktrees/*")):
            for name, lead in (("rebase-merge/head-name", ""), ("rebase-apply/head-name", ""), ("BISECT_START", "refs/heads/")):
                try:
                    found.add(lead + (folder / name).read_text(errors="replace").strip())
                except OSError:
                    continue
        return found

    def close(self) -> None:
        for process in self._processes.values():
            process.close()
        self._processes.clear()
        for fd in self._handed.values():
            os.close(fd)
        self._handed.clear()
