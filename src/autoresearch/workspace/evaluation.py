"""One evaluation slot: its tree, and what a tree needs beyond git: inputs, copies, caches, a set-up, a build.

Where jobs have a mount namespace, inputs, copies and caches are mounted into it at their places; elsewhere inputs and
caches are symbolic links, and copies lie in the tree. What a build made is kept as a layer of its own for each candidate,
so that a candidate is built once and what ran afterwards cannot change it.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoresearch.contracts import Place
from autoresearch.errors import DiskFault, SetupError
from autoresearch.process import nameable
from autoresearch.records import Bind, Layer
from autoresearch.trees import Entry
from autoresearch.workspace.layered import LayeredTree
from autoresearch.workspace.tree import LAID, WorkTree, remove

_KEPT_BUILDS = 6
_REPLACED = "replaced.json"
OWN_NAMES = frozenset(
    (
        *("tree", "upper", "work", "builds", "builds-copied", "copies", "cache-now", "cache-kept", "index"),
        *("home", "tmp", "io", "net", "cleanup.json", LAID),
    )
)
"""What lies in a slot's folder: nothing from outside can be shown beside the tree under these names."""
_SEEDED = "-seeded"
_PARTS = ("part", "seed-part")

SetUp = Callable[[Path, Path, Sequence[Layer | Bind], bool], Awaitable[str]]
"""Runs a set-up in a folder with a scratch folder and mounts; told whether it is the base's; gives words if it failed."""

InThread = Callable[[Callable[[], None]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class TreeOptions:
    """What evaluation trees hold besides the base. Paths are relative to the project's folder.

    Attributes:
        inputs: what git does not know, shown read-only; `readonly` are all real places that must not be written.
        copies: a fresh writable copy of each for every evaluation.
        caches: folders that evaluations write and that are kept between them.
        setup_if: globs of files from which the set-up follows.
        build: candidates have to be built.
        namespaces, layered: jobs have mount namespaces of their own; and can mount overlays there.
    """

    inputs: Mapping[str, Path]
    readonly: tuple[Path, ...] = ()
    copies: Mapping[str, Path] | None = None
    caches: tuple[str, ...] = ()
    setup: SetUp | None = None
    setup_if: tuple[str, ...] = ()
    build: bool = False
    namespaces: bool = False
    layered: bool = False
    slots: int = 1


class EvaluationSlot:
    """The tree of one slot and everything around it.

    Args:
        folder: of this slot, below the run's cache; `tree` in it is the project's repository.
        prefix: the project's path below the repository's top, with a final slash, or ``.
        setup_files: which of a candidate's files the set-up follows from.
    """

    def __init__(
        self,
        folder: Path,
        git: Path,
        *,
        base_tree: str,
        files: Mapping[str, Entry],
        prefix: str,
        options: TreeOptions,
        layered: bool,
        is_setup_file: Callable[[str], bool],
    ) -> None:
        self._folder, self._prefix, self._options = folder, prefix, options
        self._base_tree, self._is_setup_file = base_tree, is_setup_file
        self._copies = dict(options.copies or {})
        self._caches_in_tree = options.build  # part of what a build makes, for each candidate its own
        kind = LayeredTree if layered else WorkTree
        self._builds = folder / ("builds" if layered else "builds-copied")  # neither can be shown as the other
        self._builds.mkdir(parents=True, exist_ok=True)
        self._drop_parts()
        linked, steady = not options.namespaces, options.build and not options.copies  # copies may hold what was built before
        self.tree = kind(folder, git, files=files, points=self._points(), linked=linked, steady=steady)
        if not layered:
            self._drop_undated()
        self._set_up_for: dict[str, Entry | None] | None = None
        self._is_ours: dict[str, bool] = {}

    @property
    def layered(self) -> bool:
        return isinstance(self.tree, LayeredTree)

    @property
    def project(self) -> Path:
        """The project's folder in the tree."""
        return self.tree.root / self._prefix if self._prefix else self.tree.root

    def _points(self) -> dict[str, Path]:
        """Where in the tree something from outside is shown, and what."""
        points = dict(self._options.inputs)
        if self._options.namespaces:  # elsewhere copies lie in the tree itself: a link inside one leads to the candidate
            points |= {path: self._copy_at(path) for path, source in self._copies.items() if source.is_dir()}
        if not self._caches_in_tree:
            points |= {path: self._now / path for path in self._options.caches}
        for path in points.keys() - self._options.inputs.keys():
            points[path].mkdir(parents=True, exist_ok=True)  # the kind of a place follows from what is there
        return {self._prefix + path: target for path, target in points.items()}

    # -- showing a candidate ----------------------------------------------------------------------------------------

    async def show(
        self,
        tree: str,
        overlay: Mapping[str, Entry | None],
        *,
        pristine: bool,
        in_thread: InThread,
        private: Mapping[str, Entry | None] | None = None,
    ) -> Place:
        """Make the slot show a candidate: its set-up and its build as far as they are there.

        Args:
            tree: the candidate's tree id, by which its build is known.
            private: files for this evaluation alone, over everything else; its build does not see them.
        Raises:
            SetupError: the base's own set-up fails. DiskFault: no space.
        """
        if self.tree.built:
            await in_thread(self.tree.look_again)
        failed = await self._set_up(overlay, in_thread)
        if failed:
            return Place(self.project, self._folder, self._number, failed=failed)
        pristine = pristine and bool(self._options.caches)
        made = self._find_build(tree, pristine=pristine)
        unbuilt = self._options.build and made is None
        await in_thread(lambda: self._lay_out(overlay, made, {} if unbuilt else private or {}, pristine=pristine))
        return Place(
            folder=self.project,
            scratch=self._folder,
            slot=self._number,
            readonly=(*self._options.readonly, self._builds),
            mounts=tuple(self._mounts(made, pristine=pristine)),
            root=self.tree.root,
            writable=() if self._options.namespaces or not self._mounted_caches() else (self._now,),
            unbuilt=unbuilt,
        )

    @property
    def _number(self) -> int:
        return int(self._folder.name.rpartition("-")[2])

    async def _set_up(self, overlay: Mapping[str, Entry | None], in_thread: InThread) -> str:
        """Set the tree up anew when the files that the set-up follows from are others; gives words if that failed."""
        setup = self._options.setup
        if setup is None:
            return ""
        wanted = {path: entry for path, entry in overlay.items() if self._is_setup_file(path)}
        await in_thread(lambda: None)
        if self.tree.built and wanted == self._set_up_for:
            return ""
        self._set_up_for = None

        def lay() -> None:
            self.tree.build()
            self.tree.lay(wanted)

        await in_thread(lay)
        words = await setup(self.project, self._folder, self._inputs(), not wanted)
        if words:
            self.tree.built = False
            if wanted:
                return words
            raise SetupError(words)
        await in_thread(lambda: self.tree.adopt(wanted))
        self._set_up_for = wanted
        return ""

    def start_anew(self) -> None:
        """Trust nothing of what is there: the tree is laid out from git again, set up again, built again.

        Raises:
            DiskFault: it cannot be removed.
        """
        self.tree.built, self._set_up_for = False, None
        try:
            empty(self._builds)
        except OSError as error:
            raise DiskFault(f"cannot remove {self._builds}: {error.strerror}") from error

    def forget(self) -> None:
        """Leave nothing of what ran here last: neither what it wrote nor what it alone was shown.

        Raises:
            DiskFault: it cannot be removed.
        """
        self.tree.close()
        kept = {self._builds.name, "cache-kept"}
        if self.layered:
            kept |= {"tree", "index", LAID}  # never written: what ran wrote to the layer
        else:
            self.tree.built, self._set_up_for = False, None
        try:
            for path in self._folder.iterdir():
                if path.name not in kept:
                    remove(path)
            for name in os.listxattr(self._folder) if hasattr(os, "listxattr") else ():
                os.removexattr(self._folder, name)
            self._points()
        except OSError as error:
            raise DiskFault(f"cannot remove {error.filename}: {error.strerror}") from error

    def _lay_out(
        self,
        overlay: Mapping[str, Entry | None],
        made: Path | None,
        private: Mapping[str, Entry | None],
        *,
        pristine: bool,
    ) -> None:
        try:
            self.tree.apply({} if self.layered and made is not None else overlay)
            if made is not None:
                os.utime(made)  # used just now
            if not self.layered and self._options.build and (made or not pristine):
                self._put_in(made or self._seed)
            self._renew_copies()
            self._point_caches(pristine=pristine)
            for path, entry in private.items():
                self._put_private(path, entry)
            if self._options.build and made is None:
                time.sleep(max(0.0, self.tree.newest - time.time()))  # else make builds again in the time that is measured
        except OSError as error:
            raise DiskFault(f"cannot lay out {self._folder}: {error.strerror}") from error

    def _put_private(self, path: str, entry: Entry | None) -> None:
        """Write a file over whatever base, candidate and build have there."""
        assert entry is not None
        if isinstance(self.tree, LayeredTree):
            self.tree.lay_over(path, entry)
        else:
            self.tree.put(clear_way(self.tree.root, path), entry)

    def _mounts(self, made: Path | None, *, pristine: bool) -> list[Layer | Bind]:
        mounts: list[Layer | Bind] = []
        if isinstance(self.tree, LayeredTree):
            seeded = self._seed.is_dir() and (not pristine if made is None else made.name.endswith(_SEEDED))
            lower = (*([made] if made else []), *([self._seed] if seeded else []), self.tree.root)
            mounts.append(Layer(self.tree.root, lower, self.tree.upper, self.tree.work))
        if self._options.namespaces:
            mounts += self._inputs()
            mounts += [self._copy_mount(path, source) for path, source in sorted(self._copies.items()) if source.is_dir()]
            mounts += [Bind(self._at(path), self._now / path, readonly=False) for path in self._mounted_caches()]
        return mounts

    def _inputs(self) -> list[Layer | Bind]:
        if not self._options.namespaces:
            return []
        return [Bind(self._at(path), source) for path, source in sorted(self._options.inputs.items())]

    def _at(self, path: str) -> Path:
        return Path(os.path.normpath(self.project / path))

    # -- copies and caches ------------------------------------------------------------------------------------------

    def _copy_at(self, path: str) -> Path:
        return self._folder / "copies" / path

    def _layers_copy(self, path: str, source: Path) -> bool:
        if not self._options.layered or not nameable(source, self._copy_at(path)):
            return False
        if path not in self._is_ours:
            self._is_ours[path] = is_ours(source)
        return self._is_ours[path]

    def _copy_mount(self, path: str, source: Path) -> Layer | Bind:
        at, own = self._at(path), self._copy_at(path)
        if self._layers_copy(path, source):
            return Layer(at, (source,), own / "upper", own / "work")
        return Bind(at, own, readonly=False)

    def _renew_copies(self) -> None:
        for path, source in self._copies.items():
            if not source.is_dir():
                copy(source, clear_way(self._writable_root, self._prefix + path))
                continue
            own = self._copy_at(path) if self._options.namespaces else clear_way(self._writable_root, self._prefix + path)
            empty(own)
            if self._layers_copy(path, source):
                (own / "upper").mkdir()
                (own / "work").mkdir()
            else:
                copy_inside(source, own)

    @property
    def _writable_root(self) -> Path:
        """Where files of this evaluation alone are put so that they are seen at the same paths of the tree."""
        return self.tree.upper if isinstance(self.tree, LayeredTree) else self.tree.root

    @property
    def _now(self) -> Path:
        """The caches that evaluations see now: the kept ones, or empty ones."""
        return self._folder / "cache-now"

    def _mounted_caches(self) -> tuple[str, ...]:
        return () if self._caches_in_tree else tuple(sorted(self._options.caches))

    def _point_caches(self, *, pristine: bool) -> None:
        """Show the kept caches, or empty ones: by putting one of two folders in the place that is shown."""
        if not self._mounted_caches():
            return
        kept = self._folder / "cache-kept"
        if pristine:
            if not kept.exists():
                os.rename(self._now, kept)
            empty(self._now)
        elif kept.exists():
            remove(self._now)
            os.rename(kept, self._now)
        for path in self._mounted_caches():
            (self._now / path).mkdir(parents=True, exist_ok=True)

    # -- builds -----------------------------------------------------------------------------------------------------

    def _find_build(self, tree: str, *, pristine: bool) -> Path | None:
        names = [f"{tree}-pristine"] if pristine else [tree, tree + _SEEDED]
        return next((self._builds / name for name in names if (self._builds / name).is_dir()), None)

    @property
    def _seed(self) -> Path:
        """The caches as the base's build left them: every later build starts with them."""
        return self._builds / "seed"

    def keep_build(self, tree: str, *, pristine: bool) -> None:
        """Keep what a build made of the candidate that is shown; it is shown from there from now on.

        Raises:
            DiskFault: no space.
        """
        pristine = pristine and bool(self._options.caches)
        seeded = self._seed.is_dir() and not pristine
        made = self._builds / f"{tree}{'-pristine' if pristine else _SEEDED if seeded else ''}"
        fresh = self._builds / _PARTS[0]
        try:
            empty(fresh)
            if isinstance(self.tree, LayeredTree):
                remove(fresh)
                os.rename(self.tree.upper, fresh)
            else:
                self._take_out(fresh)
            if tree == self._base_tree and self._options.caches and not pristine and not seeded:
                self._make_seed(fresh)  # first: a kill in between loses a build, and leaves no build without its seed
            os.rename(fresh, made)
        except OSError as error:
            self._drop_parts()
            raise DiskFault(f"cannot keep a build in {made}: {error.strerror}") from error
        self._forget_builds(made)

    def _make_seed(self, made: Path) -> None:
        part = self._builds / _PARTS[1]
        empty(part)
        for path in self._options.caches:
            source, target = (self._content(build) / self._prefix / path for build in (made, part))
            if source.is_dir():
                target.mkdir(parents=True)
                copy_inside(source, target)
        os.rename(part, self._seed)

    def _drop_parts(self) -> None:
        """Remove what a full disk or a kill left of a build that was being kept."""
        for name in _PARTS:
            remove(self._builds / name)

    def _drop_undated(self) -> None:
        """Remove the candidates' builds of earlier sessions: their sources, which are laid out anew, would be newer."""
        for old in self._builds.iterdir():
            if not old.name.startswith(("seed", self._base_tree)):
                remove(old)

    def _content(self, build: Path) -> Path:
        return build if self.layered else build / "files"

    def _forget_builds(self, newest: Path) -> None:
        """Keep the base's and those used last."""
        known = ("seed", newest.name, self._base_tree, self._base_tree + _SEEDED)
        builds = [p for p in self._builds.iterdir() if p.name not in known]
        for old in sorted(builds, key=lambda p: p.stat().st_mtime_ns)[:-_KEPT_BUILDS]:
            remove(old)

    def _take_out(self, into: Path) -> None:
        """Move what differs from the tree as it was laid out, and leave word of what was there before."""
        files, replaced = self._content(into), []
        files.mkdir()
        for path, known in list(self.tree.changes()):
            source, target = self.tree.root / path, files / path
            if known:
                replaced.append(path)
            if os.path.lexists(source):  # else it is gone, or went along with its folder
                target.parent.mkdir(parents=True, exist_ok=True)
                os.rename(source, target)
                _make_readable(target)
        new, gone = self.tree.folder_changes()
        for path in new:
            (files / path).mkdir(parents=True, exist_ok=True)
        (into / _REPLACED).write_text(json.dumps([*replaced, *gone]))

    def _put_in(self, made: Path) -> None:
        if not made.is_dir():
            return
        replaced = made / _REPLACED
        for path in json.loads(replaced.read_text()) if replaced.exists() else []:
            remove(self.tree.root / path)
        if self._content(made).is_dir():
            copy_inside(self._content(made), self.tree.root)


def is_ours(folder: Path) -> bool:
    """Whether an overlay may be laid over a folder: an ordinary user's cannot copy up what others own."""
    if os.getuid() == 0:
        return True
    me = (os.getuid(), os.getgid())
    found = (os.lstat(os.path.join(root, name)) for root, folders, files in os.walk(folder) for name in (*folders, *files))
    return all((s.st_uid, s.st_gid) == me for s in (os.lstat(folder), *found))


def _make_readable(path: Path) -> None:
    """What a build left unreadable has to be copied all the same."""
    s = os.lstat(path)
    if stat.S_ISREG(s.st_mode) and not os.access(path, os.R_OK):
        os.chmod(path, stat.S_IMODE(s.st_mode) | stat.S_IRUSR)


def clear_way(root: Path, path: str) -> Path:
    """Where a path lies below a root, reached through no link, with nothing there yet."""
    target = root
    for part in Path(path).parts[:-1]:
        target /= part
        if target.is_symlink() or not target.is_dir():
            remove(target)
            target.mkdir()
    target = root / path
    remove(target)
    return target


def copy(source: Path, target: Path) -> None:
    """Copy a file with its mode and times, sharing its blocks where the file system can."""
    argv = ["cp", "-p", *_reflink(), "--", str(source), str(target)]
    subprocess.run(argv, check=False, capture_output=True, start_new_session=True)
    if not target.exists():
        shutil.copy2(source, target)


def copy_inside(source: Path, target: Path) -> None:
    """Copy everything in a folder into another one.

    Raises:
        OSError: no space, or unreadable.
    """
    argv = ["cp", "-a", *_reflink(), "--", f"{source}/.", f"{target}/"]
    end = subprocess.run(argv, check=False, capture_output=True, text=True, start_new_session=True)
    if end.returncode:
        raise OSError(28 if "No space" in end.stderr else 5, end.stderr.strip().splitlines()[-1] if end.stderr else "cp failed")


def _reflink() -> list[str]:
    return ["--reflink=auto"] if os.uname().sysname == "Linux" else []


def empty(folder: Path) -> None:
    """Make a folder that is there and empty."""
    if os.path.lexists(folder):
        remove(folder)
    folder.mkdir(parents=True)
