"""A tree to work in by oneself: laid out beside a record of what it held, read by content, and never believed otherwise.

Its repository holds one commit and everything that belongs to it; nothing in it leads to the user's. `moving` brings a tree
from one experiment to another.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch import git
from autoresearch.errors import DiskFault, Refused, RepositoryError, SetupError, as_fault
from autoresearch.paths import TreePaths
from autoresearch.records import LARGEST, Blob, Edits
from autoresearch.taskfile.scope import Scope
from autoresearch.text import one_line
from autoresearch.trees import Entry, object_id
from autoresearch.workspace.draft import never
from autoresearch.workspace.peek import peek
from autoresearch.workspace.store import Store
from autoresearch.workspace.tree import Signature, WorkTree, remove

_UNDER_WAY = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "BISECT_LOG", "rebase-merge", "rebase-apply", "sequencer")


@dataclass(frozen=True, slots=True)
class Laid:
    """What a tree was laid out with.

    Attributes:
        experiment: whose files they are; `view` their tree, and `commit` the tree's own commit of it.
        files: mode, id and looks of each file by path from the tree's root.
    """

    experiment: int
    view: str
    commit: str
    files: Mapping[str, tuple[Entry, Signature]]

    @property
    def known(self) -> dict[str, Signature]:
        return {path: signature for path, (_, signature) in self.files.items()}

    @property
    def entries(self) -> dict[str, Entry]:
        return {path: entry for path, (entry, _) in self.files.items()}

    def time_ns(self, path: str) -> int:
        """A file's time as it was laid out, 0 of one that was not."""
        return self.files[path][1][2] if path in self.files else 0

    @classmethod
    def load(cls, paths: TreePaths) -> Laid:
        """Raises: SetupError: there is no such tree, or it was never finished."""
        try:
            body = json.loads(paths.laid.read_bytes())
            rows = {path: ((mode, oid), (*looks,)) for path, (mode, oid, *looks) in body["files"].items()}
            return cls(body["experiment"], body["view"], body["commit"], rows)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SetupError(
                f"{paths.root} is no tree that can be worked in any more: its record {paths.laid} cannot be read ({error}). "
                'Make another one: cd "$(autoresearch enter)"'
            ) from error

    def save(self, paths: TreePaths) -> None:
        rows = {path: [*entry, *signature] for path, (entry, signature) in self.files.items()}
        body = {"experiment": self.experiment, "view": self.view, "commit": self.commit, "files": rows}
        write_whole(paths.laid, body)


@dataclass(frozen=True, slots=True)
class Change:
    """What is different in a tree from what was laid out.

    Attributes:
        edits: as paths relative to the project; `new` those that were not laid out.
        seen: entries of all that differs, by path from the tree's root, None of what is gone.
        left: new files that count for nothing, folders of them for all in them.
    """

    edits: Edits
    new: tuple[str, ...]
    seen: Mapping[str, Entry | None]
    left: tuple[str, ...] = ()


def is_inside(path: str) -> bool:
    """Whether a path leads into a tree, and not into its repository: who works in it can write the records beside it."""
    return not {"", ".", "..", ".git"} & set(path.split("/")) and "\0" not in path


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold a lock file, which is let go of by whatever ends this process."""
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SetupError(f"cannot write {lock}: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def write_whole(path: Path, body: Mapping[str, Any]) -> None:
    """Write a file of JSON that is there whole or not at all.

    Raises:
        DiskFault: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(partial, "w", encoding="ascii") as file:
            file.write(json.dumps(body))  # a dump into the file takes ten times as long
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise DiskFault(f"cannot write {path}: {error.strerror}") from error


# -- laying out -------------------------------------------------------------------------------------------------------------


def lay_out(trees: Path, store: Store, *, experiment: int, tree: str, record: Mapping[str, Any]) -> TreePaths:
    """Make a new tree with what a candidate's view shows, under the next free number."""
    try:
        trees.mkdir(parents=True, exist_ok=True, mode=0o700)
        with alone(trees / "lock"):
            paths = _next(trees)
            view = store.view(tree)
            files = store.files(view)
            work = WorkTree(paths.folder, store.path, files=files)
            try:
                work.build()
            finally:
                work.close()
            shutil.rmtree(paths.folder / "scratch", ignore_errors=True)
            formats = ["--object-format=sha256"] if store.sha256 else []
            git.run("init", "-q", "--bare", "--template=", *formats, str(paths.folder / "plain"))
            commit = commit_of(store, view, experiment)
            show(paths, store, view, commit)
            Laid(experiment, view, commit, {p: (entry, looks(paths.root / p)) for p, entry in files.items()}).save(paths)
            write_whole(paths.record, record)
            return paths
    except OSError as error:
        raise as_fault(error) from error


def _next(trees: Path) -> TreePaths:
    """A new folder; what a killed process left of one goes."""
    numbers = [int(path.name) for path in trees.iterdir() if path.name.isdecimal()]
    for number in numbers:
        if not TreePaths(trees / str(number)).record.exists():
            remove(trees / str(number))
    paths = TreePaths(trees / str(max(numbers, default=0) + 1))
    paths.folder.mkdir(mode=0o700)
    return paths


def discard(paths: TreePaths) -> None:
    """Delete a tree; from the first moment on there is none any more."""
    with alone(paths.folder.parent / "lock"), alone(paths.folder / "lock"):
        paths.record.unlink(missing_ok=True)
        remove(paths.folder)


def looks(path: Path) -> Signature:
    s = os.lstat(path)
    return (s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino)


# -- its repository ---------------------------------------------------------------------------------------------------------


def commit_of(store: Store, view: str, experiment: int) -> str:
    """One root commit of a view, the same whoever makes it."""
    words = f"experiment {experiment}" if experiment else "the baseline"
    return store.objects.commit(view, [], words, 0)


def show(paths: TreePaths, store: Store, view: str, commit: str, *, known: str = "") -> None:
    """Let the tree's own repository stand on a commit, with an index that has its files.

    Commits that are not ours keep a branch; a repository that was broken, or is not the tree's own, is set aside and made anew.

    Args:
        known: the commit that it stood on.
    """
    here = paths.root / ".git"
    if not _is_own(here):
        _make(here, store)
    try:
        _stand(paths, store, view, commit, known)
    except RepositoryError:
        _make(here, store)
        _stand(paths, store, view, commit, known)


def _is_own(here: Path) -> bool:
    if here.is_symlink() or not (here / "HEAD").is_file() or (here / "objects").is_symlink():
        return False
    borrows = (here / "objects" / "info" / "alternates", here / "commondir", *(here / name for name in _UNDER_WAY))
    return not any(os.path.lexists(path) for path in borrows)


def _make(here: Path, store: Store) -> None:
    paths = TreePaths(here.parents[1])
    if os.path.lexists(here):
        set_aside(paths, here)
    made, formats = paths.folder / "made", ["--object-format=sha256"] if store.sha256 else []
    remove(made)
    git.run("init", "-q", "--template=", "-b", "main", *formats, str(made))
    (made / ".git" / "info").mkdir(exist_ok=True)  # where agents expect an exclude file to go
    git.run(f"--git-dir={made / '.git'}", "config", "user.name", "autoresearch")
    git.run(f"--git-dir={made / '.git'}", "config", "user.email", "autoresearch@localhost")
    (made / ".git").rename(here)
    made.rmdir()


def set_aside(paths: TreePaths, what: Path) -> Path:
    """Take what is in the way out of the tree; nothing is lost."""
    aside = paths.folder / "aside"
    aside.mkdir(exist_ok=True)
    number = sum(1 for _ in aside.iterdir()) + 1
    target = aside / f"{number}-{what.name.lstrip('.')}"
    what.rename(target)
    return target


def _stand(paths: TreePaths, store: Store, view: str, commit: str, known: str) -> None:
    with _plainly(paths, sha256=store.sha256):
        _point(paths, store, commit, known)
    _fill_index(paths, store, view)


@contextmanager
def _plainly(paths: TreePaths, *, sha256: bool) -> Iterator[None]:
    """Let the tree's repository have the least configuration for a moment: its own names programs that git would run for us."""
    config, own = paths.root / ".git" / "config", paths.folder / "config"
    lines = ["[core]", "repositoryformatversion = 1" if sha256 else "repositoryformatversion = 0", "bare = false"]
    lines += ["[extensions]", "objectformat = sha256"] if sha256 else []
    if os.path.lexists(config) and not os.path.lexists(own):  # else a kill left it there
        config.rename(own)
    config.unlink(missing_ok=True)
    try:
        config.write_text("".join(f"{line}\n" for line in lines))
        yield
    finally:
        if os.path.lexists(own):
            own.replace(config)


def _point(paths: TreePaths, store: Store, commit: str, known: str) -> None:
    dot_git = paths.root / ".git"
    here = f"--git-dir={dot_git}"
    if os.path.lexists(dot_git / "index") and not (dot_git / "index").is_file():
        set_aside(paths, dot_git / "index")
    if not _has(here, commit):
        store.fetch(commit, dot_git)
    tip = _has(here, "HEAD")
    if tip and tip not in (commit, known):
        git.run(here, "update-ref", f"refs/heads/yours/{tip[:12]}", tip)
    git.run(here, "symbolic-ref", "HEAD", "refs/heads/main")
    git.run(here, "update-ref", "refs/heads/main", commit)


def _fill_index(paths: TreePaths, store: Store, view: str) -> None:
    """Let the index have a view's files and know how they look, so that `git status` has nothing to read.

    One of ours is kept beside the tree: what it knows already of how files look is not found out again.
    """
    index, here = paths.folder / "index", f"--git-dir={store.path}"  # no filter of the tree's own is run
    env = {"GIT_INDEX_FILE": str(index)}
    (paths.folder / "index.lock").unlink(missing_ok=True)  # of a git that was killed
    try:
        git.run(here, "read-tree", "--reset", view, env=env)
    except RepositoryError:
        index.unlink(missing_ok=True)
        git.run(here, "read-tree", view, env=env)
    try:
        git.run(here, f"--work-tree={paths.root}", "update-index", "-q", "--refresh", env=env)
    except RepositoryError:  # git's way to say that some file differs
        pass
    partial = paths.folder / "partial"
    partial.unlink(missing_ok=True)
    shutil.copyfile(index, partial)
    partial.replace(paths.root / ".git" / "index")


def _has(here: str, revision: str) -> str:
    """A commit's id, `` where it is not there whole."""
    try:
        oid = git.run(here, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
        git.run(here, "cat-file", "-e", f"{oid}^{{tree}}")
        return oid
    except RepositoryError:
        return ""


# -- what was changed -------------------------------------------------------------------------------------------------------


class _Unread:
    """Paths of a tree whose contents do not matter; remembers those that were met."""

    def __init__(self, root: Path, laid: Laid, matters: Callable[[str], bool]) -> None:
        self._root, self._laid, self._matters = root, laid, matters
        self.met: list[str] = []

    def __contains__(self, path: object) -> bool:
        assert isinstance(path, str)
        if path in self._laid.files or self._matters(path):
            return False
        place = self._root / path
        if place.is_dir() and not place.is_symlink():
            return place.name == "__pycache__"  # others may hold what matters
        self.met.append(path)
        return True


def change(paths: TreePaths, laid: Laid, scope: Scope, *, prefix: str, apart: Sequence[str], sha256: bool) -> Change:
    """What a tree holds now against what was laid out, whatever was done to its `.git`; nothing in it is touched.

    Args:
        apart: names, relative to the project, at which new files do not count.
    Raises:
        SetupError: the tree itself is gone.
    """

    def matters(path: str) -> bool:
        inside = path.removeprefix(prefix) if path.startswith(prefix) else None
        shown = inside is not None and any(inside == name or inside.startswith(f"{name}/") for name in apart)
        return inside is not None and inside in scope and not never(path) and not shown

    unread = _Unread(paths.root, laid, matters)
    seen: dict[str, Entry | None] = {}
    blobs: dict[str, Blob | None] = {}
    try:
        for path, blob in peek(paths.root, laid.known, unread, largest=LARGEST):
            entry = None if blob is None else (blob.mode, object_id("blob", blob.content, sha256=sha256))
            if entry != (laid.files[path][0] if path in laid.files else None):
                seen[path], blobs[path] = entry, blob
    except Refused as error:
        raise SetupError(f'{paths.root}: {error.words}. Mend that, or make another tree: cd "$(autoresearch enter)"') from error
    for path in _ignored(paths, [path for path in seen if path not in laid.files]):
        del seen[path]
        unread.met.append(path)
    names = {path: path.removeprefix(prefix) if path.startswith(prefix) else os.path.relpath(path, prefix) for path in seen}
    edits = {names[path]: blobs[path] for path in sorted(seen)}
    new = tuple(names[path] for path in sorted(seen) if path not in laid.files)
    return Change(edits, new, seen, tuple(_outermost(unread.met, laid)))


def _ignored(paths: TreePaths, new: Collection[str]) -> list[str]:
    """Which new files the tree's .gitignore files leave out; its repository is not asked."""
    if not new:
        return []
    how = (f"--work-tree={paths.root}", "check-ignore", "--no-index", "-z", "--stdin")
    rows = "\0".join(new).encode("utf-8", "surrogateescape") + b"\0"
    try:
        answer = git.run(f"--git-dir={paths.folder / 'plain'}", *how, cwd=paths.root, stdin=rows)
    except RepositoryError:  # git's way to say "none"
        return []
    return [path for path in os.fsdecode(answer).split("\0") if path]


def _outermost(met: Sequence[str], laid: Laid) -> Iterator[str]:
    """New files, or the outermost new folder around them with a slash; bytecode is nobody's."""
    if not met:
        return
    folders = {path[:i] for path in laid.files for i, c in enumerate(path) if c == "/"}
    found: dict[str, None] = {}
    for path in sorted(path for path in met if not path.endswith(".pyc")):
        above = (path[:i] for i, c in enumerate(path) if c == "/")
        found[next((f"{folder}/" for folder in above if folder not in folders), path)] = None
    yield from found


def notes(paths: TreePaths, left: Sequence[str]) -> tuple[str, ...]:
    """That new files do not count, as far as nobody was told it of them."""
    told = _told(paths)
    fresh = [name for name in left if name not in told]
    if not fresh:
        return ()
    shown = ", ".join(map(one_line, fresh[:5])) + (f" and {len(fresh) - 5} more" if len(fresh) > 5 else "")
    return (f"left out of the candidate (new, not in the editable scope or ignored): {shown}",)


def tell(paths: TreePaths, left: Sequence[str]) -> None:
    """Whoever works in a tree was told that these do not count: once is enough."""
    told = _told(paths)
    if not told.issuperset(left):
        write_whole(paths.folder / "told.json", {"left": sorted(told.union(left))})


def _told(paths: TreePaths) -> set[str]:
    try:
        return set(json.loads((paths.folder / "told.json").read_bytes())["left"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()
