"""Git plumbing through the git program: objects, trees, commits and refs of the user's repository, and nothing else of it.

The user's and the system's configuration, hooks, filters, replace refs and every `GIT_*` variable are out of the way;
bytes go in and out raw. Long-lived plumbing processes keep a visible commit at two to three milliseconds.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autoresearch.errors import DiskFault, Refused, RepositoryError

MINIMUM = (2, 34)
_DISK_SIGNS = ("No space left", "Out of diskspace", "write error", "Disk quota", "Read-only file system", "unable to write")
AUTHOR = "autoresearch <autoresearch@localhost>"
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.logAllRefUpdates=false",
    "core.autocrlf=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.quotePath=false",
    "core.fileMode=true",
    "core.symlinks=true",
    "commit.gpgsign=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "protocol.allow=never",
    "advice.graftFileDeprecated=false",
)


def environment() -> dict[str, str]:
    """The environment of every git process: no `GIT_*` of the user's, no configuration but the repository's own."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return env | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }


def command(*args: str, settings: Sequence[str] = ()) -> list[str]:
    """The argument vector of a git call under our settings."""
    options = [part for setting in (*_SETTINGS, *settings) for part in ("-c", setting)]
    return ["git", "--no-optional-locks", *options, *args]


def run(*args: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, stdin: bytes = b"") -> bytes:
    """Run git once and give its standard output.

    Raises:
        RepositoryError: with git's own last words.
    """
    result = subprocess.run(
        command(*args, settings=["safe.directory=*"]),
        cwd=cwd,
        env=environment() | dict(env or {}),
        input=stdin,
        capture_output=True,
        check=False,
        start_new_session=True,  # a Ctrl-C or a hang-up of the terminal is for us, not for a git that works for us
    )
    if result.returncode:
        raise _failure(args, result.stderr.decode("utf-8", "replace"))
    return result.stdout


def _failure(args: Sequence[str], words: str) -> Exception:
    words = words.strip() or "no message"
    if any(sign in words for sign in _DISK_SIGNS):
        return DiskFault(f"git {args[0]}: {words}")
    return RepositoryError(f"git {' '.join(a for a in args[:3])} failed: {words}")


def check_version() -> str:
    """The git program's version.

    Raises:
        RepositoryError: when there is none or it is older than 2.34.
    """
    try:
        text = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise RepositoryError("git was not found: install git 2.34 or later and run again") from error
    numbers = re.search(r"(\d+)\.(\d+)", text)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < MINIMUM:
        raise RepositoryError(f"{text.strip()} is too old: autoresearch needs git 2.34 or later")
    return text.strip().removeprefix("git version ")


@dataclass(frozen=True, slots=True)
class Location:
    """Where a project lies in its repository: the work tree's top, the shared git folder, the project's path below top."""

    top: Path
    git_dir: Path
    prefix: str  # "" or "sub/folder/"


def locate(project: Path) -> Location | None:
    """Find the repository around `project`; None where there is none."""
    try:
        fields = run("rev-parse", "--show-toplevel", "--git-common-dir", "--show-prefix", cwd=project)
    except RepositoryError as error:
        if "not a git repository" in str(error):
            return None
        if "must be run in a work tree" in str(error):
            raise RepositoryError(f"{project} lies in a bare repository: clone it and run in the clone") from error
        raise
    lines = os.fsdecode(fields).split("\n")
    if len(lines) != 4:
        raise RepositoryError(f"{project} has a line break in its path: move it to a folder without one")
    top, git_dir, prefix = lines[:3]
    if (Path(top) / prefix).resolve() != project.resolve():  # core.worktree
        raise RepositoryError(
            f"the repository of {project} has its work tree elsewhere, in {top}: run `git config --unset core.worktree`, or "
            "work there"
        )
    return Location(Path(top), (project / git_dir).resolve(), prefix)


def full(folder: Path) -> bool:
    """Whether next to nothing is free where a folder lies."""
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize < 64 * 1024


class Process:
    """One long-lived plumbing process that is fed requests and answers each."""

    def __init__(self, argv: list[str]) -> None:
        self._argv = argv
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: bytes, *, lines: int = 1) -> list[bytes]:
        """Write a request and read that many lines; a process that died is started again for the next."""
        self.request(request)
        return [self.answer() for _ in range(lines)]

    def request(self, request: bytes) -> None:
        process = self._alive()
        assert process.stdin is not None
        try:
            process.stdin.write(request)
            process.stdin.flush()
        except BrokenPipeError:
            raise self._dead() from None

    def answer(self) -> bytes:
        process = self._alive()
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._dead()
        return line

    def read(self, size: int) -> bytes:
        process = self._alive()
        assert process.stdout is not None
        data = process.stdout.read(size)
        if len(data) != size:
            raise self._dead()
        return data

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment(),
                start_new_session=True,
                cwd="/",
            )
        return self._process

    def _dead(self) -> Exception:
        process = self._process
        assert process is not None
        assert process.stderr is not None
        assert process.stdin is not None
        try:
            process.stdin.close()
        except OSError:
            pass
        words = process.stderr.read().decode("utf-8", "replace")
        self.close()
        return _failure([a for a in self._argv[1:] if not a.startswith("-") and "=" not in a], words)

    def close(self) -> None:
        if self._process is not None:
            for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
                try:
                    if stream is not None:
                        stream.close()
                except OSError:
                    pass
            self._process.wait()
            self._process = None


Entry = tuple[str, str]
"""A tree entry: mode and object id."""

_TREE = "40000"


class Repository:
    """Objects and refs of one repository, by its git folder. Not for several threads."""

    def __init__(self, git_dir: Path, scratch: Path) -> None:
        self.git_dir = git_dir
        self._scratch = scratch  # a folder for bodies on their way into the object store
        scratch.mkdir(parents=True, exist_ok=True)
        self._processes: dict[str, Process] = {}
        self._trees: dict[str, dict[str, Entry]] = {}
        self._under_way: list[tuple[Process, str]] | None = None
        self._handed: dict[int, int] = {}
        self.sha256 = self.config("extensions.objectformat").lower() == "sha256"

    def call(self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> bytes:
        return run(f"--git-dir={self.git_dir}", *args, stdin=stdin, env=env, cwd=Path("/"))

    def config(self, key: str) -> str:
        try:
            return self.call("config", "--get", key).decode().strip()
        except RepositoryError:
            return ""

    def _process(self, *args: str) -> Process:
        key = " ".join(args)
        if key not in self._processes:
            argv = command(f"--git-dir={self.git_dir}", *args, settings=["safe.directory=*"])
            self._processes[key] = Process(argv)
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

    def tree(self, oid: str) -> dict[str, Entry]:
        """One tree's entries by name, in git's order."""
        if oid not in self._trees:
            if len(self._trees) > 256:
                self._trees.clear()
            self._trees[oid] = _parse_tree(self.read(oid, "tree"), 32 if self.sha256 else 20)
        return self._trees[oid]

    def find(self, tree: str, path: str) -> Entry | None:
        """The entry at a path, None where there is none."""
        entry: Entry | None = (_TREE, tree)
        for name in path.split("/"):
            if entry is None or entry[0] != _TREE:
                return None
            entry = self.tree(entry[1]).get(name)
        return entry

    def edit_tree(self, tree: str, changes: Mapping[str, Entry | None]) -> str:
        """Write the tree that `changes` make of `tree`; None deletes, and empty folders go."""
        return self._edit_tree(dict(self.tree(tree)), changes) or self.write("tree", b"")

    def _edit_tree(self, entries: dict[str, Entry], changes: Mapping[str, Entry | None]) -> str | None:
        below: dict[str, dict[str, Entry | None]] = {}
        for path, entry in sorted(changes.items(), key=lambda item: item[1] is not None):  # deletions first
            name, _, rest = path.partition("/")
            if rest:
                below.setdefault(name, {})[rest] = entry
            elif entry is not None:
                entries[name] = entry
            elif entries.get(name, ("", ""))[0] != _TREE:
                entries.pop(name, None)
        for name, inner in below.items():
            old = entries.get(name)
            known = dict(self.tree(old[1])) if old is not None and old[0] == _TREE else {}
            if not known and all(entry is None for entry in inner.values()):
                continue
            oid = self._edit_tree(known, inner)
            if oid is None:
                entries.pop(name, None)
            else:
                entries[name] = (_TREE, oid)
        return self.write("tree", _format_tree(entries)) if entries else None

    def write_tree(self, entries: Mapping[str, Entry]) -> str:
        """Write one tree of entries by name."""
        return self.write("tree", _format_tree(entries))

    def differences(self, old: str, new: str, prefix: str = "") -> dict[str, Entry | None]:
        """Paths that differ between two trees, with the new entry or None."""
        if old == new:
            return {}
        before = self.tree(old) if old else {}
        after = self.tree(new) if new else {}
        found: dict[str, Entry | None] = {}
        for name in before.keys() | after.keys():
            a, b = before.get(name), after.get(name)
            if a == b:
                continue
            if (a and a[0] == _TREE) or (b and b[0] == _TREE):
                if a is not None and a[0] != _TREE:
                    found[prefix + name] = None
                tree_a = a[1] if a and a[0] == _TREE else ""
                tree_b = b[1] if b and b[0] == _TREE else ""
                found |= self.differences(tree_a, tree_b, f"{prefix}{name}/")
                if b is not None and b[0] != _TREE:
                    found[prefix + name] = b
            else:
                found[prefix + name] = b
        return found

    def files(self, tree: str) -> dict[str, Entry]:
        """All files of a tree by path (20,000 in some tens of milliseconds).

        Raises:
            RepositoryError: a tree in it is not what its id says.
        """
        found = self._listed(tree)
        return found if _tree_of(found, sha256=len(tree) == 64) == tree else self._walked(tree)

    def _walked(self, tree: str, prefix: str = "") -> dict[str, Entry]:
        """The same by reading each tree, whose id is looked at: of old trees with modes that nobody writes any more, too."""
        found: dict[str, Entry] = {}
        for name, entry in self.tree(tree).items():
            found |= self._walked(entry[1], f"{prefix}{name}/") if int(entry[0], 8) == 0o40000 else {prefix + name: entry}
        return found

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


def _parse_tree(body: bytes, size: int) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    at = 0
    while at < len(body):
        space = body.index(b" ", at)
        end = body.index(b"\0", space)
        entries[os.fsdecode(body[space + 1 : end])] = (body[at:space].decode(), body[end + 1 : end + 1 + size].hex())
        at = end + 1 + size
    return entries


def _format_tree(entries: Mapping[str, Entry]) -> bytes:
    rows = [(os.fsencode(name), mode, oid) for name, (mode, oid) in entries.items()]
    rows.sort(key=lambda row: row[0] + b"/" if row[1] == _TREE else row[0])
    return b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(oid) for name, mode, oid in rows)


def _tree_of(files: Mapping[str, Entry], *, sha256: bool) -> str:
    """The id of the tree with these files."""
    entries: dict[str, Entry] = {}
    below: dict[str, dict[str, Entry]] = {}
    for path, entry in files.items():
        name, _, rest = path.partition("/")
        if rest:
            below.setdefault(name, {})[rest] = entry
        else:
            entries[name] = entry
    entries |= {name: (_TREE, _tree_of(inner, sha256=sha256)) for name, inner in below.items()}
    return object_id("tree", _format_tree(entries), sha256=sha256)


def object_id(kind: str, body: bytes, *, sha256: bool = False) -> str:
    """The id git gives an object."""
    return hashlib.new("sha256" if sha256 else "sha1", b"%s %d\0" % (kind.encode(), len(body)) + body).hexdigest()
