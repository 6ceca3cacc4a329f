"""What a brief shows besides the ledger, as it lies in the repository and on the disk. Reads only; what was read is kept."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from autoresearch import git, private
from autoresearch.brief import Exhibit, Trees
from autoresearch.errors import DiskFault, RepositoryError
from autoresearch.masking import mask_of
from autoresearch.paths import RunPaths
from autoresearch.records import Experiment, RunRecord
from autoresearch.skill import block
from autoresearch.taskfile import Task
from autoresearch.taskfile.scope import matches
from autoresearch.tripwires import Decoys, read_plain

GUIDES = ("AGENTS.md", "CLAUDE.md")
MOST_LOG, MOST_TEXT, MOST_DIFF, MOST_GUIDE = 64_000, 32_000, 64_000, 256_000  # bytes
MOST_FILES, MOST_COPIED, MOST_WALKED = 40, 10**7, 2000
_KEPT = 500  # diffs in memory
_TOLD = ("profile", "curve", "prof")
_INDEX = re.compile(r"^index [0-9a-f]+\.\.[0-9a-f]+.*\n", re.MULTILINE)  # no line of a file: those begin with a sign
_TEXTS = (".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".log", ".prof", "")


class Files:
    """Sources of one run.

    Args:
        cover: covers values that nobody may see, decoys included.
    """

    def __init__(
        self, location: git.Location, task: Task, run: RunRecord, names: RunPaths, cover: Callable[[str], str]
    ) -> None:
        self._git, self._prefix = f"--git-dir={location.git_dir}", location.prefix
        self._base, self._names, self._cover = run.base, names, cover
        self._private = private.globs(task)
        self._diffs: dict[Trees, str] = {}
        self._guides: list[tuple[str, str]] | None = None
        self._left: dict[tuple[int, int], list[Exhibit]] = {}

    def diffs(self, changes: Sequence[Trees]) -> list[str]:
        if len(self._diffs) > _KEPT:
            self._diffs.clear()
        for change in changes:
            if change not in self._diffs:
                self._diffs[change] = self._cover(self._diff(change))
        return [self._diffs[change] for change in changes]

    def _diff(self, change: Trees) -> str:
        """Of the project's folder, the same whatever the user's configuration says."""
        inside = [f"--relative={self._prefix}"] if self._prefix else []
        shown = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--diff-algorithm=myers", "--unified=3")
        try:
            found = git.run(self._git, "diff", *shown, *inside, *change, cwd=Path("/"))
        except RepositoryError:
            return ""
        text = _INDEX.sub("", found[:MOST_DIFF].decode("utf-8", "replace"))
        return text if len(found) <= MOST_DIFF else f"{text}\n(cut: {len(found)} bytes)"

    def log(self, name: str) -> str:
        return self._cover(_end(self._names.experiments / name, MOST_LOG))

    def exhibits(self, e: Experiment) -> list[Exhibit]:
        key = (e.n, len(e.measurements))
        if key not in self._left:
            self._left = {key: [self._exhibit(path) for path in self._paths(e.n)]}
        return self._left[key]

    def _exhibit(self, path: Path) -> Exhibit:
        inside = path.relative_to(self._folder(path)).as_posix()
        return Exhibit(self._cover(inside), path.lstat().st_size, self._cover(_text(path)))

    def _folder(self, path: Path) -> Path:
        return next(p for p in path.parents if p.name == "artifacts" and p.parent.parent == self._names.experiments)

    def _paths(self, n: int) -> list[Path]:
        """Plain files that the experiment's own evaluations left, profiles and curves first."""
        found = list(_plain_files(self._names.experiment(n) / "artifacts"))
        return sorted(found, key=lambda path: (not _is_told(path), str(path)))[:MOST_FILES]

    def lay_out(self, e: Experiment, folder: Path) -> None:
        """Copy what an experiment's evaluations left into a folder of a proposer, as far as it is not too much.

        Raises:
            DiskFault: there is no space for it.
        """
        room = MOST_COPIED
        for path in self._paths(e.n):
            room -= path.lstat().st_size
            if room < 0:
                break
            try:
                self._copy(path, folder / path.relative_to(self._folder(path)))
            except OSError as error:
                raise DiskFault(f"cannot write {folder}: {error.strerror}") from error

    def _copy(self, path: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in _TEXTS:
            target.write_text(self._cover(_beginning(path, MOST_COPIED)), encoding="utf-8", errors="replace")
        else:
            shutil.copyfile(path, target, follow_symlinks=False)

    def guidance(self) -> list[tuple[str, str]]:
        if self._guides is None:
            self._guides = list(self._read_guides())
        return self._guides

    def _read_guides(self) -> Iterator[tuple[str, str]]:
        """At the repository's top and in the project's folder; no links, nothing private, the same text once."""
        known = set()
        for folder in dict.fromkeys(("", self._prefix)):
            for name in GUIDES:
                text = self._guide(folder + name)
                if text.strip() and text not in known:
                    known.add(text)
                    yield folder + name, self._cover(text)

    def _guide(self, path: str) -> str:
        inside = path.removeprefix(self._prefix)
        if path.startswith(self._prefix) and any(matches(inside, glob) for glob in self._private):
            return ""
        row = git.run(self._git, "ls-tree", "-z", "--full-tree", self._base, "--", path, cwd=Path("/")).decode()
        if not row.startswith("100"):
            return ""
        whole = git.run(self._git, "cat-file", "blob", row.split()[2])
        return block.without(whole)[:MOST_GUIDE].decode("utf-8", "replace")  # that one is for whoever drives


def cover_of(task: Task, names: RunPaths, baseline: float | None) -> Callable[[str], str]:
    """Covers values that nobody may see, for who only looks at a run: variables of the task's, and the run's decoys."""
    mask = mask_of(task.evaluate.env)
    if not names.decoys.is_file():
        return mask.cover
    decoys = Decoys(names.decoys.read_bytes(), task.metric.direction, lambda: baseline)
    return lambda text: decoys.cover(mask.cover(text))


def _is_told(path: Path) -> bool:
    return path.name.split(".")[0] in _TOLD or path.suffix == ".prof"


def _plain_files(folder: Path) -> Iterator[Path]:
    """Files below a folder that are files and nothing else, in the order of their names."""
    walked = 0
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            walked += 1
            path = Path(root, name)
            if walked <= MOST_WALKED and stat.S_ISREG(path.lstat().st_mode):
                yield path


def _text(path: Path) -> str:
    """The beginning of a profile or a curve; nothing of what is binary, and of any other file."""
    if not _is_told(path) or path.suffix not in _TEXTS:
        return ""
    text = _beginning(path, MOST_TEXT)
    return "" if "\0" in text or text.count("\ufffd") > len(text) / 50 else text


def _beginning(path: Path, most: int) -> str:
    return read_plain(path, most).decode("utf-8", "replace")


def _end(path: Path, most: int) -> str:
    """The end of a plain file, whole lines; nothing where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    with open(fd, "rb") as opened:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return ""
        opened.seek(max(0, found.st_size - most))
        body = opened.read(most)
    return (body if found.st_size <= most else body.partition(b"\n")[2]).decode("utf-8", "replace")
