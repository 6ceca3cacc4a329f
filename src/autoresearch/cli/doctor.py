"""`doctor`: what this machine offers, and what is missing with its consequence."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import anyio

from autoresearch import git, inhibit, machine
from autoresearch.errors import AutoresearchError
from autoresearch.paths import cache_root
from autoresearch.process import Supervisor
from autoresearch.process.probe import Found, find
from autoresearch.sandbox import Host
from autoresearch.shares import gpus

PROGRAM = "program.md"


def examine_machine(*, as_json: bool) -> None:
    """What this machine offers, and what is missing with its consequence."""
    found = anyio.run(_examine)
    if as_json:
        sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
    else:
        width = max(map(len, found))
        sys.stdout.write("".join(f"{key:<{width}}  {value}\n" for key, value in found.items()))


async def _examine() -> dict[str, str]:
    import platform
    import sqlite3

    try:
        git_words = git.check_version()
    except AutoresearchError as error:
        git_words = f"missing: {error}"
    async with Supervisor() as supervisor:
        await supervisor.start()
        namespaces, groups = supervisor.namespaces, supervisor.cgroups
        with tempfile.TemporaryDirectory() as folder:
            walls = await find(supervisor, Host.make(Path(folder) / "host"), "auto", Path(folder) / "probe")
    ways = {
        "root": "PID namespace of its own (as root)",
        "user": "PID namespace of its own (user namespace)",
        "": "subreaper and marker: no PID namespace here; a program that kills everything of yours reaches us too",
    }
    memory = f"cgroup v{groups}" if groups else "sampled ten times a second: short peaks are missed"
    facts = machine.fingerprint().facts
    root, awake = cache_root(), inhibit.program()
    return {
        "python": f"{platform.python_version()} ({sys.executable})",
        "git": git_words,
        "sqlite": sqlite3.sqlite_version,
        "system": facts["system"],
        "cpu": f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB",
        "containment": ways[namespaces],
        "peak memory": memory,
        "memory limit": f"held by cgroup v{groups}" if groups else "held by a watcher, every 50 ms: what grows faster is late",
        "inputs": "mounted at their places" if namespaces else "symbolic links: a link inside one leads to your checkout",
        "gpus": ", ".join(gpus()) or "none (nvidia-smi and CUDA_VISIBLE_DEVICES name none)",
        "cache": f"{root}, {machine.free_bytes(root) / 1e9:.1f} GB free"
        + ("" if os.access(_nearest(root), os.W_OK) else ", NOT writable"),
        "sleep": f"held off by {Path(awake[0]).name} while a run works"
        if awake
        else "not held off: no systemd-inhibit, no caffeinate",
        "sandbox": _sandbox(walls),
    }


def _sandbox(found: Found) -> str:
    """Which sandbox works here, and why not the better one."""
    why = f" ({found.words})" if found.words else ""
    if found.kind:
        return f"{found.kind}{why}"
    return f"none{why}: a proposer or candidate that you run has your rights; docs/trust.md"


def _nearest(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
