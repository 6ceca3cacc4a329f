"""The files of a folder: those that could be edited, and those that git does not know."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from autoresearch import git
from autoresearch.errors import RepositoryError
from autoresearch.taskfile.scope import matches

ENVIRONMENTS = (".venv", "venv", "node_modules", ".pixi")
NEVER = frozenset(
    [
        *(".git", ".autoresearch", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".benchmarks"),
        *(".idea", ".vscode", ".tox", ".nox", ".ipynb_checkpoints", ".turbo", ".next", ".nuxt", ".parcel-cache", ".gradle"),
        ".DS_Store",
    ]
)
DATA_FOLDERS = frozenset(["data", "dataset", "datasets", "models", "weights", "checkpoints", "corpus"])
_MOST = 20_000
_READ = 200_000


def in_home(*names: str) -> tuple[str, ...]:
    """Those of some places in the owner's HOME that are there, as `~/.cache/x`."""
    return tuple(name for name in names if os.path.exists(os.path.expanduser(name)))


class Files:
    """A folder as it is now. Paths are relative to it, with `/`; folders that git does not know end with one.

    In a folder without git, environments and data count as what git will not know.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def location(self) -> git.Location | None:
        """The repository around the folder."""
        try:
            return git.locate(self.folder)
        except (RepositoryError, OSError):
            return None

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """Files that git knows or could know, without what it is told to ignore."""
        if self.location is None:
            found = tuple(self._walk())
            return tuple(path for path in found if not any(path.startswith(other) for other in self.unknown))
        listed = git.run("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".", cwd=self.folder)
        paths = dict.fromkeys(os.fsdecode(listed).split("\0")[:_MOST])
        return tuple(p for p in paths if p and not NEVER & set(p.split("/")) and (self.folder / p).is_file())

    @cached_property
    def tracked(self) -> frozenset[str]:
        """Files that are in git; without git all that will be."""
        if self.location is None:
            return frozenset(self.sources)
        return frozenset(os.fsdecode(git.run("ls-files", "-z", "--", ".", cwd=self.folder)).split("\0")) - {""}

    @cached_property
    def unknown(self) -> tuple[str, ...]:
        """What is neither in git nor part of the program: untracked and ignored, folders as a whole."""
        if self.location is None:
            return tuple(sorted(self._not_for_git()))
        args = ("status", "--porcelain=v1", "-z", "--ignored=traditional", "--untracked-files=normal", "--", ".")
        rows = os.fsdecode(git.run(*args, cwd=self.folder)).split("\0")
        paths = (row[3:].removeprefix(self.location.prefix) for row in rows if row[:2] in ("??", "!!"))
        return tuple(sorted(path for path in paths if path and not NEVER & set(path.rstrip("/").split("/"))))

    def _walk(self) -> Iterator[str]:
        count = 0
        for root, folders, names in os.walk(self.folder):
            folders[:] = sorted(f for f in folders if f not in NEVER and f not in ENVIRONMENTS)
            for name in sorted(names):
                count += 1
                if count > _MOST:
                    return
                if name not in NEVER:
                    yield os.path.relpath(os.path.join(root, name), self.folder)

    def _not_for_git(self) -> Iterator[str]:
        built = {"target"} if self.has("Cargo.toml") else {"build"} if self.has("CMakeLists.txt") else set()
        for entry in self.folder.iterdir():
            if entry.is_dir() and entry.name in {*ENVIRONMENTS, *DATA_FOLDERS, *built}:
                yield f"{entry.name}/"
            elif entry.suffix in (".db", ".sqlite", ".sqlite3"):
                yield entry.name

    def has(self, *names: str) -> bool:
        """Whether all of these lie in the folder."""
        return all((self.folder / name).exists() for name in names)

    def read(self, path: str) -> str:
        """A file's text, at most its first 200,000 characters; empty where there is none."""
        try:
            with open(self.folder / path, encoding="utf-8", errors="replace") as file:
                return file.read(_READ)
        except OSError:
            return ""

    def like(self, *globs: str) -> list[str]:
        """The sources that match one of the globs, those nearer to the top first."""
        found = [path for path in self.sources if any(matches(path, glob) for glob in globs)]
        return sorted(found, key=lambda path: (path.count("/"), path))
