"""What is to be written or taken away, found out before anything is, and then done."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from autoresearch import git
from autoresearch.errors import SetupError
from autoresearch.skill import block, page
from autoresearch.skill.spots import Spot

Did = Literal["written", "updated", "unchanged", "removed", "missing"]
_MOST_FOLDERS = 3  # .claude, skills, autoresearch


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one file.

    Attributes:
        after: its bytes then, None for no file.
        folders: for a page that is removed, how many folders above it go as well, if they are empty.
        doubt: why somebody has to agree first, `` where nobody has to.
    """

    spot: Spot
    did: Did
    after: bytes | None = None
    folders: int = 0
    doubt: str = ""


def to_install(spots: Iterable[Spot]) -> tuple[Change, ...]:
    """What `skill install` does to these files.

    Raises:
        SetupError: a file cannot be read, or has half a block.
    """
    return tuple(_installed(spot) for spot in _once(spots))


def to_remove(spots: Iterable[Spot]) -> tuple[Change, ...]:
    """What `skill remove` does to these files, as `to_install`."""
    return tuple(_removed(spot) for spot in _once(spots))


def _once(spots: Iterable[Spot]) -> Iterable[Spot]:
    """The same file by two paths is one, as where .claude/skills is a link to .agents/skills."""
    found: dict[Path, Spot] = {}
    for spot in spots:
        key = spot.path.resolve()
        found[key] = replace(found[key], readers=(*found[key].readers, *spot.readers)) if key in found else spot
    return found.values()


def _installed(spot: Spot) -> Change:
    content = _read(spot.path)
    if spot.guide:
        found = block.find(content or b"")
        if found and found.current:
            return Change(spot, "unchanged", content)
        did: Did = "updated" if content is not None else "written"
        return Change(spot, did, block.put(content), doubt=_CHANGED_BLOCK if found and not found.ours else "")
    if content is None and not spot.path.is_symlink():
        return Change(spot, "written", page.sealed(_to_make(spot.path)))
    written = page.read(content or b"")
    if written.current and not spot.path.is_symlink():
        return Change(spot, "unchanged", content)
    return Change(spot, "updated", page.sealed(written.folders), doubt=_doubt(spot.path, written))


def _removed(spot: Spot) -> Change:
    content = _read(spot.path)
    if spot.guide:
        found = block.find(content or b"")
        if content is None or found is None:
            return Change(spot, "missing", content)
        return Change(spot, "removed", block.taken(content), doubt="" if found.ours else _CHANGED_BLOCK)
    if content is None and not spot.path.is_symlink():
        return Change(spot, "missing")
    written = page.read(content or b"")
    return Change(spot, "removed", folders=min(written.folders, _MOST_FOLDERS), doubt=_doubt(spot.path, written))


_CHANGED_BLOCK = "the block in it was changed since it was written"


def _doubt(path: Path, written: page.Written) -> str:
    if path.is_symlink():
        return "it is a link, which this command does not make"
    return "" if written.ours else "it was changed since it was written, or comes from somebody else"


def apply(change: Change) -> None:
    """Do it; a file is there whole or not at all, at any moment.

    Raises:
        SetupError: it cannot be written.
    """
    path = change.spot.path
    try:
        if change.did in ("written", "updated") and change.after is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path.resolve() if change.spot.guide else path, change.after)
        elif change.did == "removed" and change.after is not None:
            _replace(path.resolve(), change.after)
        elif change.did == "removed":
            path.unlink()
            _clear(path, change.folders)
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror or error}; what was done before it stays") from error


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror or error}; nothing was written") from error


def _to_make(path: Path) -> int:
    """How many folders above a file are not there yet."""
    return sum(not folder.exists() for folder in list(path.parents)[:_MOST_FOLDERS])


def _clear(path: Path, folders: int) -> None:
    with suppress(OSError):  # not empty: somebody else uses it by now
        for folder in list(path.parents)[:folders]:
            folder.rmdir()


def _replace(path: Path, content: bytes) -> None:
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists() and not path.is_symlink():
            new.chmod(path.stat().st_mode & 0o7777)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def seen_by_git(path: Path) -> str:
    """`tracked`, `untracked` or `ignored`, as the user's own git has it; `` where it cannot tell, or there is no repository."""
    if not path.exists():
        return ""
    asked: list[tuple[str, Callable[[int], str]]] = [
        ("ls-files --error-unmatch", lambda code: "tracked" if code == 0 else ""),
        ("check-ignore -q", lambda code: {0: "ignored", 1: "untracked"}.get(code, "")),
    ]
    return next((said for words, means in asked if (said := means(_git(path, *words.split())))), "")


def _git(path: Path, *args: str) -> int:
    """Exit code of the user's own git, with what he ignores everywhere."""
    env = {name: value for name, value in git.environment().items() if not name.startswith("GIT_CONFIG")}
    argv = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", *args, "--", path.name]
    try:
        return subprocess.run(argv, cwd=path.parent, env=env, capture_output=True, check=False).returncode
    except OSError:
        return -1
