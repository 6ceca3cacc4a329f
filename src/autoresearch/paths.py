"""Every name on disk: the project's `.autoresearch` folder and the cache where trees are built."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from autoresearch.errors import DiskFault
from autoresearch.text import slug

CACHE_LOCK = "owner.lock"


@dataclass(frozen=True, slots=True)
class ProjectPaths:
    """The names of one project's records."""

    project: Path

    @property
    def folder(self) -> Path:
        return self.project / ".autoresearch"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.db"

    @property
    def measured(self) -> Path:
        """What the last `check` measured, for the next run."""
        return self.folder / ".check" / "measured.json"

    @property
    def consents(self) -> Path:
        """Which proposers may write code without walls around them."""
        return self.folder / "consents.json"

    @property
    def incoming(self) -> Path:
        """Where a run that is imported is looked at before it is taken."""
        return self.folder / ".incoming"

    @property
    def views(self) -> Path:
        """In the cache: the store from which trees are entered."""
        return self.run(".entered").cache

    def run(self, run: str) -> RunPaths:
        return RunPaths(self, run)

    @property
    def starting(self) -> Path:
        """Locked while an owner or a run is started: of several that find none, one does it."""
        return self.folder / "start.lock"

    def make(self) -> None:
        """Make the folder: private, and invisible to git by a `.gitignore` of its own.

        Raises:
            DiskFault: the project is read-only or the disk full.
        """
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            ignore = self.folder / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
        except OSError as error:
            raise DiskFault(
                f"cannot write {self.folder}: {error.strerror}. The ledger lives there: make the project's folder "
                "writable or free some space."
            ) from error


@dataclass(frozen=True, slots=True)
class RunPaths:
    """The names of one run."""

    project: ProjectPaths
    run: str

    @property
    def folder(self) -> Path:
        return self.project.folder / self.run

    @property
    def lock(self) -> Path:
        return self.folder / "owner.lock"

    @property
    def results(self) -> Path:
        return self.folder / "results.tsv"

    @property
    def progress(self) -> Path:
        return self.folder / "progress.png"

    @property
    def output(self) -> Path:
        return self.folder / "run.log"

    @property
    def head(self) -> Path:
        """How far the run's owner has written its chain of events."""
        return self.folder / "chain.head"

    @property
    def decoys(self) -> Path:
        """The secret from which this run's decoys follow."""
        return self.folder / "decoys.key"

    @property
    def experiments(self) -> Path:
        return self.folder / "experiments"

    def experiment(self, n: int) -> Path:
        return self.experiments / f"{n:06d}"

    @property
    def trees(self) -> Path:
        """Trees that were entered, each in a folder by its number."""
        return self.folder / "trees"

    @property
    def cache(self) -> Path:
        """Trees, scratch folders and our own git folder of this run; free to delete when nothing runs."""
        return cache_root() / project_key(self.project.project) / self.run

    @property
    def cache_lock(self) -> Path:
        return self.cache / CACHE_LOCK


@dataclass(frozen=True, slots=True)
class TreePaths:
    """The names of one tree that was entered.

    Attributes:
        folder: what is recorded of the tree, and in `root` the tree itself.
    """

    folder: Path

    @classmethod
    def around(cls, start: Path) -> TreePaths | None:
        """The entered tree that a folder lies in."""
        here = start.resolve()
        for root in (here, *here.parents):
            trees = root.parent.parent
            if root.name == "tree" and trees.name == "trees" and trees.parent.parent.name == ".autoresearch":
                return cls(root.parent)
        return None

    @property
    def root(self) -> Path:
        return self.folder / "tree"

    @property
    def record(self) -> Path:
        return self.folder / "place.json"

    @property
    def laid(self) -> Path:
        """What was laid out, and how it looked."""
        return self.folder / "laid.json"

    @property
    def project(self) -> Path:
        return self.folder.parents[3]

    @property
    def run(self) -> str:
        return self.folder.parents[1].name


def cache_root() -> Path:
    """`autoresearch-runs` under the user's cache, or `$AUTORESEARCH_CACHE`."""
    override = os.environ.get("AUTORESEARCH_CACHE")
    if override:
        return Path(override)
    import platformdirs

    return Path(platformdirs.user_cache_dir()) / "autoresearch-runs"


def project_key(project: Path) -> str:
    resolved = project.resolve()
    return f"{slug(resolved.name[:32])}-{hashlib.sha256(os.fsencode(resolved)).hexdigest()[:10]}"
