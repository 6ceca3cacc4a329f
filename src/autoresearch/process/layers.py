"""What a job's own mount namespace shows: as the supervisor is told, and whether this machine can do it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autoresearch.records import Bind, Layer

if TYPE_CHECKING:
    from autoresearch.process.children import Supervisor


def requests(mounts: Sequence[Layer | Bind]) -> list[list[str]]:
    """Mounts in the words of the supervisor's protocol."""
    return [_request(mount) for mount in mounts]


def _request(mount: Layer | Bind) -> list[str]:
    if isinstance(mount, Bind):
        return ["bind", str(mount.at), str(mount.source), "ro" if mount.readonly else "rw"]
    lower = ":".join(map(str, mount.lower))
    return ["overlay", str(mount.at), f"lowerdir={lower},upperdir={mount.upper},workdir={mount.work},index=off,volatile"]


def nameable(*folders: Path) -> bool:
    """Whether folders can be named in an overlay's options, which have no room for some characters."""
    return not any(c in str(folder) for folder in folders for c in ",:\\\"'")


async def can_layer(supervisor: Supervisor, folder: Path) -> bool:
    """Try a layer in a folder: read through it, write to it, and find what was written."""
    from autoresearch.process.children import Job

    if not nameable(folder):
        return False
    await supervisor.start()
    if not supervisor.namespaces:
        return False
    shutil.rmtree(folder, ignore_errors=True)  # what the probe of an earlier session removed would be missing here
    lower = folder / "lower"
    layer = Layer(lower, (lower,), folder / "upper", folder / "work")
    for part in (lower, layer.upper, layer.work):
        part.mkdir(parents=True, exist_ok=True)
    (lower / "old").write_text("old")
    script = "test -f old && echo new > new && rm old"
    end = await supervisor.run(Job(["/bin/sh", "-c", script], lower, {"PATH": "/usr/bin:/bin"}, mounts=[layer]))
    return end.exit == 0 and (layer.upper / "new").exists() and (lower / "old").exists()
