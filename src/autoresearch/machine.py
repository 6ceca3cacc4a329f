"""What machine this is: the fingerprint stored with each measurement, and its memory and disk."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
from functools import cache
from pathlib import Path

from autoresearch.records import Machine


@cache
def fingerprint() -> Machine:
    """CPU, cores, memory, kernel and interpreter, and a short hash of them."""
    facts = {
        "cpu": _cpu_model(),
        "cores": str(cores()),
        "memory_gb": f"{total_memory_mb() / 1024:.0f}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    return Machine(hashlib.sha256(repr(sorted(facts.items())).encode()).hexdigest()[:12], facts)


def cores() -> int:
    """The cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


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
