"""A sandbox as bubblewrap's arguments, in the tight form: what is not named is not there.

https://github.com/containers/bubblewrap; the options are those of version 0.4 (Debian 11) and later, but for
`--disable-userns` (0.8), which is left out where it is not known.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from autoresearch.records import Bind, Sandbox

_GPUS = ("/dev/nvidia", "/dev/dri", "/dev/kfd", "/dev/dxg")
_TIGHT = (
    *("--die-with-parent", "--new-session", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
    *("--unshare-cgroup-try", "--cap-drop", "ALL"),
)


def program() -> str | None:
    """Where bubblewrap is, None where it is not installed."""
    return shutil.which("bwrap", path=os.environ.get("PATH", os.defpath) + ":/usr/bin:/bin")


@lru_cache
def _knows(option: str) -> bool:
    import subprocess

    found = program()
    if found is None:
        return False
    return option in subprocess.run([found, "--help"], capture_output=True, text=True, check=False).stdout


def command(sandbox: Sandbox, folder: Path) -> list[str]:
    """The arguments that start a program in a sandbox, to be put before its own.

    Args:
        folder: its working directory, by the path that it has in the sandbox.
    """
    found = program()
    assert found is not None, "a sandbox is only asked for where it was tried"
    argv = [found, *_TIGHT]
    argv += ["--unshare-net"] if sandbox.network != "on" else []
    argv += ["--disable-userns"] if _knows("--disable-userns") else []
    argv += ["--proc", "/proc", "--dev", "/dev", "--dir", "/tmp", "--dir", "/var/tmp", "--dir", "/run"]
    argv += [word for words in _views(sandbox) for word in words]
    if sandbox.gpus:
        argv += [word for device in gpu_devices() for word in ("--dev-bind", device, device)]
        argv += ["--ro-bind-try", "/sys", "/sys"]
    else:
        argv += ["--ro-bind-try", "/sys/devices/system", "/sys/devices/system"]
    return [*argv, "--chdir", str(folder), "--"]


def _views(sandbox: Sandbox) -> Iterator[tuple[str, ...]]:
    """What is shown, outer paths before what lies in them."""
    is_writable = dict.fromkeys(sandbox.shown, False) | dict.fromkeys(sandbox.writable, True)
    for path in sorted(is_writable, key=lambda path: (len(path.parts), path)):
        if is_writable[path]:
            yield ("--bind", str(path), str(path))
        elif not _is_in_view(path, is_writable):
            yield _shown(path)
    for bind in sandbox.binds:
        yield _bind(bind)


def _is_in_view(path: Path, is_writable: Mapping[Path, bool]) -> bool:
    """Whether a path is shown already with the read-only folder that it lies in."""
    around = next((parent for parent in path.parents if parent in is_writable), None)
    return around is not None and not is_writable[around] and not around.is_symlink()


def _shown(path: Path) -> tuple[str, ...]:
    if path.is_symlink() and len(path.parts) == 2:  # /bin, /lib … as links into /usr
        return ("--symlink", os.readlink(path), str(path))
    return ("--ro-bind-try", str(path), str(path))


def _bind(bind: Bind) -> tuple[str, ...]:
    return ("--ro-bind" if bind.readonly else "--bind", str(bind.source), str(bind.at))


def gpu_devices() -> list[str]:
    """The device files of this machine's GPUs."""
    return [f"/dev/{name}" for name in sorted(os.listdir("/dev")) if f"/dev/{name}".startswith(_GPUS)]
