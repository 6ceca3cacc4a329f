"""Submodules: where the objects of their pinned commits lie on this machine, nested ones included."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from autoresearch import git
from autoresearch.errors import RepositoryError
from autoresearch.git import Location
from autoresearch.objects import Repository
from autoresearch.trees import Entry

LINK = "160000"


@dataclass(frozen=True, slots=True)
class Submodule:
    """One submodule of a commit.

    Attributes:
        path: from the repository's top; `tree` is the pinned commit's, `git_dir` has its objects.
    """

    path: str
    tree: str
    git_dir: Path


def find(location: Location, repository: Repository, tree: str, parts: Collection[str] = ()) -> list[Submodule]:
    """The submodules of a tree, outer ones before those inside them; with `parts` those that lie there or on the way.

    Raises:
        RepositoryError: the objects of one are not on this machine, or nothing says where it comes from.
    """
    entry = repository.find(tree, ".gitmodules")
    if entry is None or entry[0] == "40000":
        return []
    names = _names(repository.read(entry[1]))
    shown = {path: entry for path, entry in repository.files(tree).items() if not parts or _touches(path, parts)}
    return list(_below(location.git_dir, location.top, "", shown, names))


def _touches(path: str, parts: Collection[str]) -> bool:
    return any(f"{path}/".startswith(f"{part}/") or f"{part}/".startswith(f"{path}/") for part in parts)


def _below(
    git_dir: Path, folder: Path, prefix: str, files: Mapping[str, Entry], names: Mapping[str, str]
) -> Iterator[Submodule]:
    for path, (mode, commit) in files.items():
        if mode != LINK:
            continue
        found = _holder(git_dir / "modules" / names.get(path, path), folder / path, commit)
        if found is None:
            raise RepositoryError(
                f"the submodule {prefix}{path} is not here at its pinned commit {commit[:10]}: fetch it with "
                f"`git submodule update --init --recursive {prefix}{path}`"
            )
        tree = git.run(f"--git-dir={found}", "rev-parse", f"{commit}^{{tree}}").decode().strip()
        yield Submodule(prefix + path, tree, found)
        inner = _files(found, tree)
        if any(mode == LINK for mode, _ in inner.values()):
            text = git.run(f"--git-dir={found}", "cat-file", "blob", f"{tree}:.gitmodules")
            yield from _below(found, folder / path, f"{prefix}{path}/", inner, _names(text))


def _holder(absorbed: Path, checkout: Path, commit: str) -> Path | None:
    """The git folder that has a submodule's commit: in the outer repository's, or in the submodule's own checkout."""
    for where in (absorbed, checkout / ".git"):
        if not where.exists():
            continue
        try:
            target = where if where.is_dir() else Path(os.path.normpath(checkout / _points_to(where)))
            git.run(f"--git-dir={target}", "cat-file", "-e", f"{commit}^{{tree}}")
            return target
        except (RepositoryError, OSError):
            continue
    return None


def _points_to(file: Path) -> str:
    return file.read_text(encoding="utf-8").removeprefix("gitdir:").strip()


def _files(git_dir: Path, tree: str) -> dict[str, Entry]:
    rows = os.fsdecode(git.run(f"--git-dir={git_dir}", "ls-tree", "-r", "-z", "--full-tree", tree)).split("\0")
    split = (row.split("\t", 1) for row in rows if row)
    return {path: (meta.split()[0], meta.split()[2]) for meta, path in split}


def _names(gitmodules: bytes) -> dict[str, str]:
    """Path to name, as `.gitmodules` has them."""
    text = gitmodules.decode("utf-8", "surrogateescape")
    found = {}
    for header, body in re.findall(r'^\s*\[submodule "(.*)"\]\s*$(.*?)(?=^\s*\[|\Z)', text, re.MULTILINE | re.DOTALL):
        path = re.search(r"^\s*path\s*=\s*(.*?)\s*$", body, re.MULTILINE)
        if path:
            found[path[1]] = header
    return found
