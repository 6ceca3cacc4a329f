"""A Python function as proposer: it edits files in a folder, or gives the edits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio.to_thread

from autoresearch.contracts import Brief, FileDraft
from autoresearch.records import Blob, Proposal


class Function:
    """Calls `function(folder, brief)` (or `function(folder)`) in a thread.

    It may edit files in `folder` and return a description; or return `{path: text | bytes | None}` without touching
    anything, or a `(description, edits)` pair.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name = getattr(function, "__name__", "function")
        self._function = function
        self._takes_brief = len(inspect.signature(function).parameters) > 1

    async def propose(self, brief: Brief, draft: FileDraft) -> Proposal:
        folder = await draft.folder()
        args: tuple[Any, ...] = (folder, brief) if self._takes_brief else (folder,)
        answer = await anyio.to_thread.run_sync(self._function, *args, abandon_on_cancel=True)
        return read_answer(answer, folder)


def read_answer(answer: Any, folder: Path) -> Proposal:
    """What a function returned, as a proposal."""
    description, edits = ("", answer) if isinstance(answer, Mapping) else (answer, None)
    if isinstance(answer, tuple):
        description, edits = answer
    if edits is None:
        return Proposal(str(description or ""))
    blobs = {str(path): _blob(content, folder / path) for path, content in edits.items()}
    return Proposal(str(description or "") or f"edits {', '.join(sorted(blobs))}", blobs)


def _blob(content: str | bytes | None, path: Path) -> Blob | None:
    if content is None:
        return None
    body = content.encode() if isinstance(content, str) else content
    executable = path.is_file() and bool(path.stat().st_mode & 0o100)
    return Blob(body, "100755" if executable else "100644")
