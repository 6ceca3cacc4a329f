"""What a job's own mount namespace shows: as the supervisor is told, and whether this machine can do it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoresearch.records import Bind, Layer, Sandbox
from autoresearch.sandbox import addresses, command, gpu_devices, relay_script

if TYPE_CHECKING:
    from autoresearch.process.children import Supervisor

_RELAY = (sys.executable, "-I", "-S", relay_script())
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/shm", "/dev/ptmx")


def requests(mounts: Sequence[Layer | Bind]) -> list[list[str]]:
    """Mounts in the words of the supervisor's protocol."""
    return [_request(mount) for mount in mounts]


def _request(mount: Layer | Bind) -> list[str]:
    if isinstance(mount, Bind):
        return ["bind", str(mount.at), str(mount.source), "ro" if mount.readonly else "rw"]
    lower = ":".join(map(str, mount.lower))
    return ["overlay", str(mount.at), f"lowerdir={lower},upperdir={mount.upper},workdir={mount.work},index=off,volatile"]


def walls(sandbox: Sandbox, argv: Sequence[str], folder: Path, *, namespaces: bool) -> dict[str, Any]:
    """What the supervisor is told of a job's sandbox: another argument vector, Landlock's rules, its network, a relay.

    Args:
        namespaces: jobs have namespaces of their own: there the network is made beside them, and not by bubblewrap.
    """
    own = namespaces or sandbox.kind == "bubblewrap"  # else the ports are everybody's, and Landlock closes all others
    endpoints = sandbox.network if own and not isinstance(sandbox.network, str) else ()
    found: dict[str, Any] = {}
    if endpoints:
        assert sandbox.sockets is not None
        found["relay"] = [*_RELAY, "outside", str(sandbox.sockets), *endpoints]
        inside = [f"{address}:{e.rpartition(':')[2]}" for address, e in zip(addresses(endpoints), endpoints, strict=True)]
        argv = [*_RELAY, "inside", str(sandbox.sockets), *inside, "--", *argv]
    if namespaces and sandbox.network != "on":
        found["network"] = [address for address in addresses(endpoints) if not address.startswith("127.")]
        sandbox = replace(sandbox, network="on")
    if sandbox.kind == "bubblewrap":
        return found | {"argv": [*command(sandbox, folder), *argv], "sandboxed": True}
    return found | {"argv": list(argv), "landlock": _rules(sandbox, namespaces=namespaces)}


def shown_elsewhere(sandbox: Sandbox | None, *, namespaces: bool) -> tuple[Bind, ...]:
    """What Landlock, which cannot show one thing in another's place, has to find there already."""
    return sandbox.binds if sandbox is not None and sandbox.kind == "landlock" and namespaces else ()


def _rules(sandbox: Sandbox, *, namespaces: bool) -> dict[str, Any]:
    """A sandbox in Landlock's words; of a folder that cannot be shown in another's place, what bears the same names there."""
    binds = [bind.at if namespaces else bind.at / inside.name for bind in sandbox.binds for inside in bind.source.iterdir()]
    read = [*sandbox.shown, *dict.fromkeys(binds), "/proc", "/dev", "/sys/devices/system"]
    write = [*sandbox.writable, *_DEVICES, *(gpu_devices() if sandbox.gpus else ())]
    network = sandbox.network if isinstance(sandbox.network, str) else [int(e.rpartition(":")[2]) for e in sandbox.network]
    return {"read": [str(path) for path in read], "write": [str(path) for path in write], "network": network}


def nameable(*folders: Path) -> bool:
    """Whether folders can be named in an overlay's options, which have no room for some characters."""
    return not any(c in str(folder) for folder in folders for c in ",:\\\"'")


def clear(folder: Path) -> None:
    """Remove a folder in which a layer was mounted, as far as it can be.

    The kernel leaves a folder without any rights in `work`. If that stays, an overlay that was mounted as `volatile` is not
    mounted there again.
    """
    for root, folders, _ in os.walk(folder):
        for name in folders:
            if not os.path.islink(inside := os.path.join(root, name)):
                os.chmod(inside, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


async def can_layer(supervisor: Supervisor, folder: Path) -> bool:
    """Try a layer in a folder: read through it, write to it, and find what was written."""
    from autoresearch.process.children import Job

    if not nameable(folder):
        return False
    await supervisor.start()
    if not supervisor.namespaces:
        return False
    clear(folder)  # what the probe of an earlier session removed would be missing here
    lower = folder / "lower"
    layer = Layer(lower, (lower,), folder / "upper", folder / "work")
    for part in (lower, layer.upper, layer.work):
        part.mkdir(parents=True, exist_ok=True)
    (lower / "old").write_text("old")
    script = "test -f old && echo new > new && rm old"
    end = await supervisor.run(Job(["/bin/sh", "-c", script], lower, {"PATH": "/usr/bin:/bin"}, mounts=[layer]))
    return end.exit == 0 and (layer.upper / "new").exists() and (lower / "old").exists()
