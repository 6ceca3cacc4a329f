"""What machine this is: the fingerprint stored with each measurement, versions in inputs, load, memory and disk."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from autoresearch.records import Machine


@cache
def fingerprint() -> Machine:
    """CPU, cores, memory, GPUs and their driver, kernel and interpreter, and a short hash of them."""
    facts = {
        "cpu": _cpu_model(),
        "cores": str(cores()),
        "memory_gb": f"{total_memory_mb() / 1024:.0f}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **_gpus(),
    }
    return Machine(hashlib.sha256(repr(sorted(facts.items())).encode()).hexdigest()[:12], facts)


def cores() -> int:
    """The cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def core_numbers() -> list[int]:
    """The numbers of the cores this process may use."""
    try:
        return sorted(os.sched_getaffinity(0))
    except AttributeError:
        return list(range(os.cpu_count() or 1))


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gpus() -> dict[str, str]:
    """GPU names and driver as nvidia-smi tells them; nothing where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    argv = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        text = subprocess.run(argv, capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    rows = [[field.strip() for field in line.rsplit(",", 1)] for line in text.splitlines() if "," in line]
    if not rows:
        return {}
    return {"gpu": ", ".join(name for name, _ in rows), "driver": rows[0][1]}


def load() -> float:
    """How busy each core was over the last minute; 0.0 where nobody knows."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except OSError:
        return 0.0


def versions(folder: Path) -> str:
    """What is installed in a folder, one name with its version a line: of a Python environment or of node modules.

    Empty for any other folder, and for a file.
    """
    if (lock := folder / ".package-lock.json").is_file():
        return _node_versions(lock)
    found = [p.name.removesuffix(".dist-info") for p in folder.glob("lib*/python*/site-packages/*.dist-info")]
    return "\n".join(sorted(found))


def _node_versions(lock: Path) -> str:
    try:
        packages = json.loads(lock.read_bytes()).get("packages", {})
        rows = [f"{name.rpartition('node_modules/')[2]}-{body.get('version', '')}" for name, body in packages.items()]
    except (OSError, ValueError, AttributeError):
        return ""
    return "\n".join(sorted(rows))


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs between two sets of facts, one line each: `cpu: A → B`."""
    names = [*before, *(name for name in now if name not in before)]
    return [
        f"{name}: {before.get(name) or 'none'} → {now.get(name) or 'none'}"
        for name in names
        if before.get(name, "") != now.get(name, "")
    ]


@cache
def total_memory_mb() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    except (ValueError, OSError):
        return 0.0


def free_bytes(folder: Path) -> int:
    """Free space where a folder lies, or where its nearest existing parent lies."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def used_bytes(*folders: Path) -> int:
    """Disk space taken by folders, without following links."""
    total, stack = 0, [os.fspath(f) for f in folders]
    while stack:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    try:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
                        if entry.is_dir(follow_symlinks=False):
                            stack.append(entry.path)
                    except OSError:
                        continue
        except OSError:
            continue
    return total


def python() -> str:
    """The interpreter this program runs on."""
    return sys.executable
