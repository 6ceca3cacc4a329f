"""A folder with the base's files and some of them replaced, brought back to exactly that after foreign programs ran in it.

After a program ran, the folder is untrusted and scanned whole: type, mode, size, inode, mtime and ctime of everything
are compared with what they were when we left it. The ctime cannot be set by a program, so a rewrite that keeps size and
mtime is seen. Links are never followed and never made hard.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from autoresearch.errors import DiskFault
from autoresearch.objects import Repository
from autoresearch.trees import Entry

Signature = tuple[int, int, int, int, int]
"""Mode, size, mtime, ctime (both ns), inode; for a folder its mode only."""
LAID = "laid"
"""A file beside a steady tree whose date is that of the base's files."""
_LINK = "160000"  # a submodule that is not shown


class WorkTree:
    """One such folder.

    Args:
        folder: where it lies; `tree` below it holds the files.
        git: the run's own git folder, which knows the base's objects.
        files: all that the base has, by path.
        points: paths (relative to the tree) at which something from outside is shown: places to mount it on, or, with
            `linked`, symbolic links to it.
        steady: the base's files have one date in all sessions, and a content has the same whenever it is laid again, so that
            what was built stays newer than its sources; else a changed file is at least a second newer than any before it.

    What is made between `build` and `adopt` (by a set-up) belongs to the tree. `apply` builds where nobody did.
    """

    def __init__(
        self,
        folder: Path,
        git: Path,
        *,
        files: Mapping[str, Entry],
        points: Mapping[str, Path] | None = None,
        linked: bool = True,
        steady: bool = False,
    ) -> None:
        self.folder = folder
        self.root = folder / "tree"
        self._git = git
        self._files = files
        self._points, self._linked = points or {}, linked
        self._overlay: dict[str, Entry | None] = {}
        self._reference: dict[str, Signature] = {}
        self._made: frozenset[str] = frozenset()
        self._dirty: set[str] = set()
        self._times: dict[str, float] = {}
        self._steady, self._began = steady, 0.0
        self._dates: dict[tuple[str, Entry], float] = {}
        self.newest = 0.0
        self._identity: Signature | None = None  # of the root: a program may put another folder or a link there
        self._repository: Repository | None = None
        self.built = False

    # -- building ---------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Lay the base out anew."""
        self.built = False
        if self.folder.is_symlink():
            self.folder.unlink()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_old()
        self.root.mkdir()
        index = self.folder / "index"
        index.unlink(missing_ok=True)
        repository = self._objects()
        env = {"GIT_INDEX_FILE": str(index), "GIT_WORK_TREE": str(self.root)}
        rows = "".join(f"{mode} {oid}\t{path}\0" for path, (mode, oid) in self._files.items())
        repository.call("update-index", "-z", "--index-info", env=env, stdin=os.fsencode(rows))
        repository.call(f"--work-tree={self.root}", "checkout-index", "-a", "-f", "-q", env=env)
        index.unlink(missing_ok=True)
        self._check()
        if self._steady:
            self._date_base()
        for path, target in sorted(self._points.items()):
            self._make_point(self.root / path, target)

    def _check(self) -> None:
        """See that the files are what their ids say, whatever lies in git's store: git does not look when it lays them out.

        Raises:
            RepositoryError: one is not.
        """
        repository = self._objects()
        for path, (mode, oid) in self._files.items():
            if mode == "120000":
                repository.check(oid, "blob", os.readlink(os.fsencode(self.root / path)))
            elif mode != _LINK:
                repository.check(oid, "blob", (self.root / path).read_bytes())

    def _date_base(self) -> None:
        """Date all of the base's files to when it was laid out for the first time, before anything was built from it."""
        mark = self.folder / LAID
        if not mark.exists():
            mark.touch()
        self._began = mark.stat().st_mtime
        self._dates.clear()
        for path, (mode, _) in self._files.items():
            if mode != _LINK:
                os.utime(self.root / path, (self._began, self._began), follow_symlinks=False)

    def _date(self, path: str, entry: Entry, before: float) -> float:
        """When a file was changed, as programs are to see it that compare dates.

        Args:
            before: the latest date that another content had there.
        """
        if not self._steady:
            return max(time.time(), before + 1.0)
        if self._files.get(path) == entry:
            return self._began
        at = self._dates.setdefault((path, entry), max(time.time(), self._began + 1.0))
        self.newest = max(self.newest, at)
        return at

    def _make_point(self, point: Path, target: Path) -> None:
        point.parent.mkdir(parents=True, exist_ok=True)
        if self._linked:
            if point.is_symlink():
                point.unlink()  # one beside the tree, of the tree before
            point.symlink_to(target)
        elif target.is_dir():
            point.mkdir(exist_ok=True)
        else:
            point.touch()

    def lay(self, entries: Mapping[str, Entry | None]) -> None:
        """Write some files of a candidate over the base, before a set-up that reads them."""
        for path, entry in entries.items():
            self._write(path, entry)

    def adopt(self, entries: Mapping[str, Entry | None] | None = None) -> None:
        """Take what is in the folder now for the tree as it belongs, with `entries` laid over the base."""
        _drop_caches(self.root)
        self._overlay, self._dirty = dict(entries or {}), set()
        self._identity = self._root_identity()
        self._reference = dict(self._walk())
        self._made = frozenset(p for p, s in self._reference.items() if p not in self._files and not stat.S_ISDIR(s[0]))
        self.built = True

    def _remove_old(self) -> None:
        if not os.path.lexists(self.root):
            return
        try:
            remove(self.root)
        except OSError:  # what cannot be removed is left behind under another name
            self.root.rename(self.folder / f"stuck-{time.time_ns()}")

    def _root_identity(self) -> Signature:
        s = os.lstat(self.root)
        return (s.st_mode, s.st_dev, 0, 0, s.st_ino)

    def stands(self) -> bool:
        """Whether the root is still the folder that was built, under its own name; its mode is set right again."""
        try:
            known, now = self._identity, self._root_identity()
            if known is None or known[1:] != now[1:] or not stat.S_ISDIR(now[0]):
                return False
            if known != now:
                os.chmod(self.root, stat.S_IMODE(known[0]))
        except OSError:
            return False
        return True

    def _objects(self) -> Repository:
        if self._repository is None:
            self._repository = Repository(self._git, self.folder / "scratch")
        return self._repository

    # -- after a program ran ----------------------------------------------------------------------------------------

    def distrust(self) -> None:
        """Scan everything, remove what does not belong there, and remember what has to be written again."""
        if not self.built:
            return
        if not self.stands():
            self.built = False
            return
        try:
            seen = self._scan()
        except OSError:
            self.built = False
            return
        missing = self._reference.keys() - seen
        self._dirty |= missing
        if (self._dirty & self._made) or len(self._dirty) > 2000:
            self.built = False
            return
        for path in sorted(p for p in missing if stat.S_ISDIR(self._reference[p][0])):
            try:
                os.mkdir(self.root / path)
                os.chmod(self.root / path, stat.S_IMODE(self._reference[path][0]))
            except OSError:
                self.built = False
                return
            self._dirty.discard(path)

    def _scan(self) -> set[str]:
        """Walk the tree against the reference; gives the paths that are there in their right type."""
        reference, dirty, seen = self._reference, self._dirty, set()
        for path, signature in self._walk(repair=True):
            known = reference.get(path)
            if known == signature:
                seen.add(path)
            elif known is None or stat.S_IFMT(known[0]) != stat.S_IFMT(signature[0]):
                remove(self.root / path)
            elif stat.S_ISDIR(known[0]):
                os.chmod(self.root / path, stat.S_IMODE(known[0]))
                seen.add(path)
            else:
                self._times[path] = max(self._times.get(path, 0.0), signature[2] / 1e9, known[2] / 1e9)
                dirty.add(path)
                seen.add(path)
        return seen

    def _walk(self, *, repair: bool = False) -> Iterator[tuple[str, Signature]]:
        """Everything below the root, folders before what they hold; with `repair` unreadable folders are opened."""
        stack = [""]
        root = os.fspath(self.root)
        while stack:
            folder = stack.pop()
            with os.scandir(f"{root}/{folder}") as entries:
                for entry in entries:
                    s = entry.stat(follow_symlinks=False)
                    path = folder + entry.name
                    if stat.S_ISDIR(s.st_mode):
                        yield path, (s.st_mode, 0, 0, 0, 0)
                        if repair and not _is_folder(entry.path):
                            continue  # it did not belong here, and is gone
                        if repair and not os.access(entry.path, os.R_OK | os.W_OK | os.X_OK):
                            os.chmod(entry.path, 0o700)
                        stack.append(path + "/")
                    else:
                        yield path, (s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino)

    def look_again(self) -> None:
        """What lies here may have been written from outside since it was left."""
        self.distrust()

    # -- before the next one ----------------------------------------------------------------------------------------

    def apply(self, overlay: Mapping[str, Entry | None]) -> None:
        """Make the tree show the base with `overlay` on it.

        Raises:
            DiskFault: no space, or a failing disk.
        """
        try:
            if not self.built:
                self.build()
                self.adopt()
            both = self._overlay.keys() | overlay.keys()
            changed = {p for p in both if self._wanted(p, self._overlay) != self._wanted(p, overlay)}
            for path in sorted(changed | self._dirty, key=lambda p: self._wanted(p, overlay) is not None):
                self._write(path, self._wanted(path, overlay))
            self._overlay, self._dirty = dict(overlay), set()
        except OSError as error:
            self.built = False
            raise DiskFault(f"cannot write the tree {self.root}: {error.strerror}") from error

    def put(self, target: Path, entry: Entry) -> None:
        """Write a file that does not belong to the tree, at a free path in it; the tree is laid out anew afterwards."""
        self.built = False
        mode, oid = entry
        content = self._objects().read(oid)
        if mode == "120000":
            os.symlink(content, os.fsencode(target))
        else:
            target.write_bytes(content)
            target.chmod(0o755 if mode == "100755" else 0o644)

    def _wanted(self, path: str, overlay: Mapping[str, Entry | None]) -> Entry | None:
        return overlay[path] if path in overlay else self._files.get(path)

    def _write(self, path: str, entry: Entry | None) -> None:
        target = self.root / path
        old = self._reference.pop(path, None)
        if old is not None:
            self._times[path] = max(self._times.get(path, 0.0), old[2] / 1e9)
        if entry is not None:
            self._make_folders(path)  # real ones: what a link leads to is not ours to remove
        if os.path.lexists(target):
            remove(target)
        if entry is None:
            self._prune(path)
            return
        mode, oid = entry
        content = self._objects().read(oid)
        if mode == "120000":
            os.symlink(content, os.fsencode(target))
        else:
            fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o700)
            with open(fd, "wb") as file:
                file.write(content)
                os.fchmod(fd, 0o755 if mode == "100755" else 0o644)
        at = self._date(path, entry, self._times.get(path, 0.0))
        os.utime(target, (at, at), follow_symlinks=False)
        self._times[path] = at
        s = os.lstat(target)
        self._reference[path] = (s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino)

    def _make_folders(self, path: str) -> None:
        parts = path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            target = self.root / folder
            if folder not in self._reference or not stat.S_ISDIR(self._reference[folder][0]):
                if os.path.lexists(target):
                    remove(target)
                target.mkdir()
                self._reference[folder] = (os.lstat(target).st_mode, 0, 0, 0, 0)

    def _prune(self, path: str) -> None:
        """Drop folders that only a removed file was in."""
        folder = path.rpartition("/")[0]
        while folder:
            try:
                os.rmdir(self.root / folder)
            except OSError:
                return
            self._reference.pop(folder, None)
            folder = folder.rpartition("/")[0]

    def changes(self) -> Iterator[tuple[str, bool]]:
        """Paths that differ from what was laid out, and whether they were in it; repairs no more than it has to."""
        seen = set()
        for path, signature in self._walk(repair=True):
            if path == ".git" or path.startswith(".git/"):
                continue
            seen.add(path)
            known = self._reference.get(path)
            if stat.S_ISDIR(signature[0]):
                if known is not None and not stat.S_ISDIR(known[0]):
                    yield path, True  # a file became a folder
            elif known != signature:
                yield path, known is not None
        for path in self._reference.keys() - seen:
            if not stat.S_ISDIR(self._reference[path][0]) and path != ".git" and not path.startswith(".git/"):
                yield path, True

    @property
    def known(self) -> Mapping[str, Signature]:
        """What was laid out."""
        return self._reference

    def folder_changes(self) -> tuple[list[str], list[str]]:
        """Folders that were not laid out, and those that were and are gone."""
        there = {path for path, signature in self._walk() if stat.S_ISDIR(signature[0])}
        known = {path for path, signature in self._reference.items() if stat.S_ISDIR(signature[0])}
        return sorted(there - known), sorted(known - there)

    def close(self) -> None:
        if self._repository is not None:
            self._repository.close()
            self._repository = None


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, also one that was made unreadable.

    Raises:
        OSError: it cannot be removed.
    """
    if not _is_folder(path):
        path.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(path)
    except OSError:
        os.chmod(path, 0o700)
        for root, folders, _ in os.walk(path):
            for name in folders:
                if _is_folder(inside := os.path.join(root, name)):
                    os.chmod(inside, 0o700)
        shutil.rmtree(path)


def _is_folder(path: str | Path) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _drop_caches(root: Path) -> None:
    """Bytecode that a set-up compiled beside the project's own files goes; inside environments it stays."""
    for cache in root.rglob("__pycache__"):
        if "site-packages" not in cache.parts:
            shutil.rmtree(cache, ignore_errors=True)
