"""Views of candidates for trees that are entered, in a store of their own that may be deleted at any time.

Several processes use it at once: it appears whole, only gains objects, and a ref stands in it no longer than it is fetched.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from autoresearch import git
from autoresearch.errors import DiskFault, RepositoryError
from autoresearch.git import Location
from autoresearch.objects import Repository
from autoresearch.trees import Entry
from autoresearch.workspace import submodules
from autoresearch.workspace.views import View

_FETCH = ("-c", "protocol.file.allow=always")
_QUIET = ("fetch", "-q", "--no-tags", "--no-write-fetch-head")


class Store:
    """What is shown of the candidates of one run. Use as a context manager.

    Args:
        folder: in the cache; made where it is not there.
        base: the commit that the run started from.
        hidden: paths that no view shows; `parts` those that it shows alone, all if there are none.
    """

    def __init__(
        self, location: Location, folder: Path, *, base: str, hidden: Collection[str] = (), parts: Collection[str] = ()
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=folder))  # two processes never write one file
        self._store = folder / "git"
        users = Repository(location.git_dir, self._scratch / "users")
        try:
            self.base_tree = users.tree_of(base)
            modules = submodules.find(location, users, self.base_tree, parts)
            self._make([location.git_dir, *(module.git_dir for module in modules)], sha256=users.sha256)
        finally:
            users.close()
        self.objects = Repository(self._store, self._scratch / "own")
        self._view = View(self.objects, hidden=hidden, submodules=modules, parts=parts)

    def _make(self, lenders: Collection[Path], *, sha256: bool) -> None:
        if not (self._store / "HEAD").exists():
            partial = self._scratch / "git"
            formats = ["--object-format=sha256"] if sha256 else []
            git.run("init", "-q", "--bare", "--template=", *formats, str(partial))
            (partial / "info").mkdir(exist_ok=True)
            (partial / "info" / "attributes").write_text("* -text -eol -ident -filter -working-tree-encoding\n")
            try:
                partial.rename(self._store)
            except OSError as error:
                if not (self._store / "HEAD").exists():  # else somebody else was faster
                    raise DiskFault(f"cannot make {self._store}: {error.strerror}") from error
        self._borrow(lenders)

    def _borrow(self, lenders: Collection[Path]) -> None:
        """Let it find the objects of the user's repositories, and of those that other runs need."""
        file = self._store / "objects" / "info" / "alternates"
        known = file.read_text().splitlines() if file.exists() else []
        wanted = [*known, *(row for lender in lenders if (row := str(lender / "objects")) not in known)]
        if wanted != known:
            file.parent.mkdir(exist_ok=True)
            partial = self._scratch / "alternates"
            partial.write_text("".join(f"{row}\n" for row in wanted))
            partial.replace(file)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.objects.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def sha256(self) -> bool:
        return self.objects.sha256

    @property
    def path(self) -> Path:
        return self._store

    def view(self, tree: str) -> str:
        """The tree that is shown of a candidate's tree."""
        return self._view.of(tree)

    def files(self, view: str) -> Mapping[str, Entry]:
        return self.objects.files(view)

    def fetch(self, commit: str, into: Path) -> None:
        """Copy a commit's objects into another repository, which does not depend on this one afterwards."""
        with self._standing(commit) as ref:
            git.run(*_FETCH, f"--git-dir={into}", *_QUIET, str(self._store), ref)

    @contextmanager
    def _standing(self, commit: str) -> Iterator[str]:
        ref = f"refs/entered/{commit}-{os.getpid()}"
        self.objects.update_refs({ref: commit})
        try:
            yield ref
        finally:
            try:
                self.objects.update_refs({ref: None})
            except RepositoryError:
                pass  # the store was deleted meanwhile
