"""The editable scope: which paths of the project a candidate may change."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

_MAGIC = re.compile(r"[*?\[]")
_NEVER = (".autoresearch/**", ".git/**")


def is_pattern(glob: str) -> bool:
    return _MAGIC.search(glob) is not None


@lru_cache(maxsize=512)
def _regex(glob: str) -> re.Pattern[str]:
    """`*` and `?` stay within a folder, `**` crosses folders, a trailing slash means everything below."""
    glob = glob.removeprefix("./")
    if glob.endswith("/"):
        glob += "**"
    out, i = "", 0
    while i < len(glob):
        if glob.startswith("**/", i):
            out, i = out + "(?:.*/)?", i + 3
        elif glob.startswith("**", i):
            out, i = out + ".*", i + 2
        elif glob[i] == "*":
            out, i = out + "[^/]*", i + 1
        elif glob[i] == "?":
            out, i = out + "[^/]", i + 1
        elif glob[i] == "[" and (end := glob.find("]", i + 2)) > 0:
            inner = glob[i + 1 : end]
            inner = "^" + inner[1:] if inner.startswith("!") else inner
            out, i = out + "[" + re.sub(r"([\\\[&~|])", r"\\\1", inner) + "]", end + 1
        else:
            out, i = out + re.escape(glob[i]), i + 1
    return re.compile(out + r"\Z", re.DOTALL)


def matches(path: str, glob: str) -> bool:
    return _regex(glob).match(path) is not None


@dataclass(frozen=True)
class Scope:
    """Globs relative to the project's folder; `own` are the task's own files, never editable."""

    editable: tuple[str, ...]
    frozen: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    def __contains__(self, path: object) -> bool:
        """Whether a path relative to the project may be changed."""
        return (
            isinstance(path, str)
            and path not in self.own
            and any(matches(path, glob) for glob in self.editable)
            and not any(matches(path, glob) for glob in (*self.frozen, *_NEVER))
        )

    @cached_property
    def literals(self) -> tuple[str, ...]:
        """The editable globs that name one file."""
        return tuple(g.removeprefix("./") for g in self.editable if not is_pattern(g) and not g.endswith("/"))
