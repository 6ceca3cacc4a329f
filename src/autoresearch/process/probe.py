"""Which sandbox works on this machine: tried with a job, since no file and no version number tells."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autoresearch.process import landlock
from autoresearch.process.children import Job, Supervisor
from autoresearch.records import Bind, Sandbox
from autoresearch.sandbox import Host, program

Kind = Literal["bubblewrap", "landlock"]
_INSTALL = "bubblewrap is not installed (Debian, Ubuntu: apt install bubblewrap; Fedora: dnf install bubblewrap)"
_LIMIT_S = 20.0
_CLOSES_TCP = 4  # the version of Landlock that does


@dataclass(frozen=True, slots=True)
class Found:
    """The sandbox that is used, `` for none.

    Attributes:
        words: why none, or why not the better one.
        namespaces: what the supervisor has for its jobs without one: root, user or nothing.
        processes, memory, network: what holds a job's processes and its memory, and what closes its network; `` for nothing.
    """

    kind: Kind | Literal[""] = ""
    words: str = ""
    namespaces: str = ""
    processes: str = ""
    memory: str = ""
    network: str = ""


async def find(supervisor: Supervisor, host: Host, wanted: str, folder: Path) -> Found:
    """The best sandbox, or the one that is wanted, as far as it works here.

    Args:
        folder: where the trial may write; it lies where evaluations are to run.
    """
    await supervisor.start()
    if os.environ.get("AUTORESEARCH_SANDBOX") == "off":
        return _found(supervisor, "", "AUTORESEARCH_SANDBOX is off")
    kinds: list[Kind] = [kind for kind in ("bubblewrap", "landlock") if wanted in ("auto", kind)]
    said = ["[evaluate] sandbox is none"] if wanted == "none" else []
    for kind in kinds:
        words = await _try(supervisor, host, kind, folder)
        if not words:
            return _found(supervisor, kind, "; ".join(said))
        said.append(words)
    return _found(supervisor, "", "; ".join(said))


def _found(supervisor: Supervisor, kind: Kind | Literal[""], words: str) -> Found:
    bound = "a control group" if supervisor.cgroups == 1 else "the kernel, for each user" if os.getuid() else ""
    return Found(kind, words, supervisor.namespaces, bound, supervisor.memory_limit, _network(supervisor, kind))


def _network(supervisor: Supervisor, kind: str) -> str:
    """What closes the network of a job in this sandbox."""
    if kind == "bubblewrap" or (kind and supervisor.namespaces):
        return "a network namespace"
    return "TCP alone, by Landlock" if kind and landlock.version() >= _CLOSES_TCP else ""


async def _try(supervisor: Supervisor, host: Host, kind: Kind, folder: Path) -> str:
    """Write where it is allowed, and look for what must not be seen; gives in words why it does not work."""
    if kind == "bubblewrap" and program() is None:
        return _INSTALL
    if kind == "landlock" and not landlock.version():
        return "this kernel has no Landlock"
    inside, outside = folder / "inside", folder / "outside"
    for place in (inside, outside):
        place.mkdir(parents=True, exist_ok=True)
    secret = secrets.token_hex(8)
    (outside / "secret").write_text(secret)
    script = (
        f'echo written > made && ! grep -q {secret} "{outside}/secret" 2>/dev/null && ! (echo > "{outside}/made") 2>/dev/null'
    )
    (inside / "made").unlink(missing_ok=True)
    sandbox = Sandbox(kind, host.shown, (inside,), (Bind(Path("/etc"), host.etc("off")),))
    end = await supervisor.run(
        Job(["/bin/sh", "-c", script], inside, {"PATH": "/usr/bin:/bin"}, timeout_s=_LIMIT_S, locked=True, sandbox=sandbox)
    )
    if end.exit == 0 and (inside / "made").exists():
        return ""
    last = next((line for line in reversed(end.tail.splitlines()) if line.strip()), f"exit {end.exit}")
    return f"{kind} does not work here: {last}"
