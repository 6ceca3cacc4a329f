"""Paths of a task in its repository: parts that are there, what is frozen besides, what inputs show between tracked files."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from autoresearch.errors import RepositoryError
from autoresearch.objects import Repository
from autoresearch.taskfile.scope import Scope
from autoresearch.workspace import submodules
from autoresearch.workspace.evaluation import OWN_NAMES, TreeOptions


def placed(options: TreeOptions, prefix: str, tracked: Collection[str]) -> TreeOptions:
    """The options with inputs and copies at the places where they are shown: each beside the others and what git tracks.

    Raises:
        RepositoryError: two are wanted at one place, or one where it cannot be.
    """
    copies = options.copies or {}
    named = [*options.inputs, *copies, *options.caches]
    for name in named:
        if named.count(name) > 1:
            raise RepositoryError(f"[evaluate] names {name} twice among inputs, copy and cache: one of them is enough")
        way = os.path.normpath(prefix + name).split("/")
        if way[0] == ".." and (way[1] == ".." or way[1] in OWN_NAMES):
            raise RepositoryError(f"[evaluate] inputs names {name}, which cannot be shown there: name its absolute path")
    _refuse_tracked_caches(() if options.build else options.caches, prefix, tracked, copies)
    places = {os.path.normpath(prefix + name) for name in named}
    inputs = between(options.inputs, prefix, tracked, named=places)
    return replace(options, inputs=inputs, copies=between(copies, prefix, tracked, named=places, key="copy"))


def _refuse_tracked_caches(caches: Sequence[str], prefix: str, tracked: Collection[str], copies: Collection[str]) -> None:
    """A cache covers what lies at its place: nothing of git's may, and no copy.

    Raises:
        RepositoryError: naming cache and file.
    """
    for cache in caches:
        place = prefix + cache
        covered = next((path for path in tracked if path == place or path.startswith(place + "/")), None)
        if covered is not None:
            raise RepositoryError(
                f"[evaluate] cache names {cache}, where git tracks {covered}: name a folder that only evaluations write"
            )
        copied = next((path for path in copies if path.startswith(cache + "/")), None)
        if copied is not None:
            raise RepositoryError(f"[evaluate] copy names {copied}, which lies in the cache {cache}: name one of them")


def between(
    inputs: Mapping[str, Path], prefix: str, tracked: Collection[str], *, named: Collection[str] = (), key: str = "inputs"
) -> dict[str, Path]:
    """Inputs (or copies) as they are shown: of a folder that holds paths of others too, what lies between those.

    Args:
        tracked: git's files, and `named` all inputs, copies and caches, from the repository's top.
    Raises:
        RepositoryError: there is nothing that git does not track.
    """
    found: dict[str, Path] = {}
    folders = {path[:i] for path in (*tracked, *named) for i, c in enumerate(path) if c == "/"}
    for name, place in sorted(inputs.items()):
        stack, before = [(name, place)], len(found)
        while stack:
            path, target = stack.pop()
            full = os.path.normpath(prefix + path)
            if full in tracked or (full in named and path != name):
                continue
            if full in folders:
                stack += [(f"{path}/{inside}", target / inside) for inside in sorted(os.listdir(target))]
            else:
                found[path] = target
        if len(found) == before:
            raise RepositoryError(
                f"[evaluate] {key} names {name}, which git tracks: it is in every tree already as git holds it"
            )
    return found


def refuse_missing(parts: Collection[str], repository: Repository, tree: str) -> None:
    """Refuse parts that a tree does not have.

    Raises:
        RepositoryError: a part is neither in the tree nor in one of its submodules.
    """
    for part in sorted(parts):
        on_the_way = [part, *(part[:i] for i, c in enumerate(part) if c == "/")]
        found = [repository.find(tree, path) for path in on_the_way]
        if found[0] is None and not any(entry and entry[0] == submodules.LINK for entry in found):
            raise RepositoryError(f"[task] paths names {part}, which the base does not have: name folders that are committed")


def without(scope: Scope, paths: Sequence[str]) -> Scope:
    """The scope without submodules, which stay as they are pinned, and without what is shown from outside."""
    frozen = [glob for path in map(_literally, paths) for glob in (path, f"{path}/**")]
    return replace(scope, frozen=(*scope.frozen, *frozen))


def _literally(path: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", path)
