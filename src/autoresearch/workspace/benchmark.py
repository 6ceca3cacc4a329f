"""The data that a task measures on, for the scan of diffs: private files first, then the base's frozen ones, then inputs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from autoresearch.objects import Repository
from autoresearch.scan.data import BYTES, ENDINGS
from autoresearch.scan.patterns import is_manifest

_MOST = 200  # files of one folder outside the repository
_WORDS = ("readme", "license", "licence", "changelog", "notice", "copying")


def files(
    repository: Repository,
    base: str,
    *,
    is_frozen: Callable[[str], bool],
    private: Iterable[str],
    outside: Iterable[Path],
    inputs: Mapping[str, Path],
) -> Iterator[tuple[str, bytes]]:
    """Path and content of data files, the most telling first.

    Args:
        private: files of the base that are in no view but their set's; any of them counts.
        outside: private files and folders that are not in the repository.
    """
    hidden = set(private)
    for place in outside:
        yield from _below(place, ENDINGS)
    frozen = {path: oid for path, (mode, oid) in repository.files(base).items() if mode.startswith("100")}
    for path in sorted(frozen, key=lambda p: (p not in hidden, p)):
        if path in hidden or (is_data(path) and is_frozen(path)):
            yield path, repository.read(frozen[path])
    for place in inputs.values():
        if not place.name.startswith("."):
            yield from _below(place, ENDINGS)


def is_data(path: str) -> bool:
    """Whether a file's name says that it holds data, and no settings or words on the project."""
    name = path.rpartition("/")[2].lower()
    return name.endswith(ENDINGS) and not is_manifest(path) and not name.startswith(_WORDS)


def _below(place: Path, endings: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """A file, or the first files of a folder; what cannot be read is left out."""
    found = [str(place)] if place.is_file() else []
    for folder, names, leaves in os.walk(place):
        names[:] = sorted(n for n in names if not n.startswith(".") and n not in ("node_modules", "site-packages"))
        found += [os.path.join(folder, leaf) for leaf in sorted(leaves) if leaf.endswith(endings)]
        if len(found) > _MOST:
            break
    for path in found[:_MOST]:
        try:
            with open(path, "rb") as file:
                yield path, file.read(BYTES)
        except OSError:
            continue
