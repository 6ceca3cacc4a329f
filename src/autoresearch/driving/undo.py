"""How whoever drives takes a change back in a checkout: in commands of git and of the shell, which are told and never run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

MOST_NAMED = 4
"""More paths are not spelled out in a line."""
_MAGIC = frozenset("*?[\\")


def restore(paths: Sequence[str], source: str = "") -> str:
    """`git restore train.py`: the command for exactly these paths, with a revision's files where one is named.

    A name that is no text cannot be told in JSON, and stands with question marks.
    """
    start = ["git", "restore", *([f"--source={source}"] if source else [])]
    named = [_literal(path) for path in paths]
    return _text(shlex.join([*start, *(["--"] if any(path.startswith("-") for path in named) else []), *named]))


def commands(paths: Sequence[str], new: Sequence[str], source: str = "") -> tuple[str, ...]:
    """What undoes a change of these paths, of which git does not track the `new` ones."""
    tracked, added = [path for path in paths if path not in new], [path for path in paths if path in new]
    dashes = ["--"] if any(path.startswith("-") for path in added) else []
    return (*([restore(tracked, source)] if tracked else []), *([_text(shlex.join(["rm", *dashes, *added]))] if added else []))


def words(paths: Sequence[str], new: Sequence[str], source: str = "") -> str:
    """`git restore train.py undoes the change`; `` where nothing was changed."""
    told = commands(paths, new, source)
    if not told:
        return ""
    end = "undoes the change" if len(told) == 1 else "undo the change"
    if len(paths) <= MOST_NAMED and all(command.isprintable() for command in told):
        return f"{' and '.join(told)} {end}"
    whole = " and ".join(command.split(" ")[0].replace("git", "git restore") for command in told)
    return f"{whole} of the {len(paths)} files that you changed {end}; --json has the command under undo"


def _text(command: str) -> str:
    return command.encode("utf-8", "replace").decode()


def _literal(path: str) -> str:
    """A path as git takes it for itself: not as a pattern."""
    return f":(literal){path}" if path.startswith(":") or _MAGIC & set(path) else path
