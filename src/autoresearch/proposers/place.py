"""Where an agent program works, and what it must not find there: instructions, hooks and memory meant for agents.

A project's instructions for agents are in the brief, the same for every program, and are not read a second time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autoresearch.contracts import FileDraft
from autoresearch.taskfile.scope import Scope

OF_AGENTS = frozenset(
    [
        *(".claude", ".codex", ".gemini", ".opencode", ".pi", ".cursor", ".windsurf", ".agents", ".agent", ".junie"),
        *(".mcp.json", "opencode.json", "opencode.jsonc", ".cursorrules", ".windsurfrules", ".aider.conf.yml"),
        *("CLAUDE.md", "CLAUDE.local.md", "AGENTS.md", "AGENTS.override.md", "GEMINI.md", "copilot-instructions.md"),
    ]
)
"""Names of files and folders that agent programs look for by themselves."""
_MOST = 200_000  # entries that are looked at


@dataclass(frozen=True, slots=True)
class Place:
    """Where a program works.

    Attributes:
        folder: its working directory; `root` the whole tree; `scratch` holds its HOME and TMP.
        records: where prompt, events, log and cost go; it does not see them.
        shown: what it has to be able to read besides; `hidden` what it must not see; `blank` what is empty for it.
    """

    folder: Path
    root: Path
    scratch: Path
    records: Path
    shown: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    blank: tuple[Path, ...] = ()

    @property
    def home(self) -> Path:
        return self.scratch / "home"

    @property
    def tmp(self) -> Path:
        return self.scratch / "tmp"


def of_draft(draft: FileDraft, folder: Path, scope: Scope) -> Place:
    """A proposal's, once its tree is laid out."""
    assert draft.log_folder is not None
    draft.log_folder.mkdir(parents=True, exist_ok=True)
    blank = tuple(of_agents(draft.root, scope))
    return Place(folder, draft.root, draft.scratch, draft.log_folder, draft.shown, draft.hidden, blank)


def of_agents(root: Path, scope: Scope) -> Iterator[Path]:
    """Files and folders in a tree that are meant for agents, but for those that the task names as editable.

    A link is left alone: what it leads to may be anything.
    """
    wanted = {part for glob in scope.editable for part in glob.split("/")}
    barred = OF_AGENTS - wanted
    looked, stack = 0, [root]
    while stack and looked < _MOST:
        try:
            entries = list(os.scandir(stack.pop()))
        except OSError:
            continue
        looked += len(entries)
        for entry in entries:
            if entry.is_symlink() or entry.name == ".git":
                continue
            if entry.name in barred:
                yield Path(entry.path)
            elif entry.is_dir():
                stack.append(Path(entry.path))
