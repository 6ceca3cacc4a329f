"""Where each agent program looks, for one project and for all of a user's, as the programs of today were seen to do.

Codex, Gemini, OpenCode and Pi all read `.agents/skills`, so one file there serves the four: one in each program's own folder
would be found up to three times, of which some of them warn.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autoresearch.errors import SetupError, UnknownName
from autoresearch.skill.page import NAME

Level = Literal["project", "user"]
GUIDE = "agents-md"
AGENTS = ("claude", "codex", "gemini", "opencode", "pi", GUIDE)
_FOLDERS: dict[str, tuple[str, ...]] = {"claude": (".claude",), "codex": (".codex",), "gemini": (".gemini",), "pi": (".pi",)}
_FOLDERS |= {"opencode": (".opencode", ".config/opencode")}


@dataclass(frozen=True, slots=True)
class Spot:
    """A file that agents read.

    Attributes:
        top: what it belongs to: the project's folder, or the user's home.
        readers: of the agents that were named, those whom it is for; `others` who read it besides.
        guide: an AGENTS.md, which is the user's own and gets a block.
    """

    path: Path
    top: Path
    level: Level
    readers: tuple[str, ...]
    others: tuple[str, ...] = ()
    guide: bool = False


def known(names: Iterable[str]) -> tuple[str, ...]:
    """The names, each once, in the order of `AGENTS`.

    Raises:
        UnknownName: of an agent that is not known.
    """
    given = set(names)
    if wrong := sorted(given - set(AGENTS)):
        raise UnknownName("agent", wrong[0], AGENTS)
    return tuple(name for name in AGENTS if name in given)


def spots(names: Iterable[str], level: Level, project: Path | None, env: Mapping[str, str] = os.environ) -> tuple[Spot, ...]:
    """The files for these agents, each once.

    Args:
        project: the project's folder; only needed for that level.
    Raises:
        SetupError: there is no AGENTS.md of a user.
    """
    names = known(names)
    if GUIDE in names and level == "user":
        raise SetupError("AGENTS.md is a file of a project, and there is none of a user: leave --user away, or agents-md")
    found: dict[Path, Spot] = {}
    for name in names:
        top = _home(name, env) if level == "user" else project
        assert top is not None
        path = top / "AGENTS.md" if name == GUIDE else _skills(name, level, top, env) / NAME / "SKILL.md"
        readers = (*(found[path].readers if path in found else ()), name)
        others = tuple(other for other in _also(name, level, top, env) if other not in names or name == GUIDE)
        found[path] = Spot(path, top, level, readers, others, guide=name == GUIDE)
    return tuple(found.values())


def _skills(name: str, level: Level, top: Path, env: Mapping[str, str]) -> Path:
    if name != "claude":
        return top / ".agents" / "skills"
    moved = env.get("CLAUDE_CONFIG_DIR") if level == "user" else ""
    return (Path(moved) if moved else top / ".claude") / "skills"


def _also(name: str, level: Level, top: Path, env: Mapping[str, str]) -> tuple[str, ...]:
    """Who else reads what is written for one of them."""
    if name == GUIDE:
        return ("codex", "opencode", "pi")
    if name == "claude":
        return () if level == "user" and env.get("CLAUDE_CONFIG_DIR") else ("opencode",)
    return tuple(a for a in ("codex", "gemini", "opencode", "pi") if a != name and (level == "project" or _home(a, env) == top))


def _home(name: str, env: Mapping[str, str]) -> Path:
    moved = env.get("GEMINI_CLI_HOME") if name == "gemini" else ""
    return Path(moved) if moved else Path(env["HOME"]) if env.get("HOME") else Path.home()


def present(project: Path | None, env: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The agents that seem to be used here: their program is on the path, or a folder of theirs is there."""
    tops = [_home("", env), *([project] if project else [])]
    return tuple(
        name
        for name, folders in sorted(_FOLDERS.items())
        if shutil.which(name, path=env.get("PATH")) or any((top / folder).is_dir() for top in tops for folder in folders)
    )
