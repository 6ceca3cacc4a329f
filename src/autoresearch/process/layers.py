"""Overlay file systems in a job's own mount namespace: what a job wants, and whether this machine can."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autoresearch.process.children import Supervisor


@dataclass(frozen=True, slots=True)
class Layer:
    """A writable layer over a folder: `lower` shows itself with `upper` on it; `work` is the file system's own."""

    lower: Path
    upper: Path
    work: Path

    @property
    def options(self) -> str:
        return f"lowerdir={self.lower},upperdir={self.upper},workdir={self.work},index=off,volatile"


async def can_layer(supervisor: Supervisor, folder: Path) -> bool:
    """Try a layer in a folder: read through it, write to it, and find what was written."""
    from autoresearch.process.children import Job

    if any(c in str(folder) for c in ',:\\"'):
        return False  # a mount's options have no room for these
    await supervisor.start()
    if not supervisor.namespaces:
        return False
    layer = Layer(folder / "lower", folder / "upper", folder / "work")
    for part in (layer.lower, layer.upper, layer.work):
        part.mkdir(parents=True, exist_ok=True)
    (layer.lower / "old").write_text("old")
    script = "test -f old && echo new > new && rm old"
    end = await supervisor.run(Job(["/bin/sh", "-c", script], layer.lower, {"PATH": "/usr/bin:/bin"}, layer=layer))
    return end.exit == 0 and (layer.upper / "new").exists() and (layer.lower / "old").exists()
