"""Landlock (Linux 5.13 and later): a job that may read some paths, write others, and connect to nothing or to some ports.

Where bubblewrap does not work. It needs no namespace and no privilege; what it does not hold is in `docs/trust.md`.
Imported by the supervisor alone: standard library only. Numbers: linux/landlock.h, landlock(7).
"""

from __future__ import annotations

import ctypes
import os
import platform
import stat
import struct
import sys
from typing import Any

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same on x86_64 and aarch64
_VERSION = 1
_BENEATH, _PORT = 1, 2
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_FILE_ONLY = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14 | 1 << 15  # with truncate and ioctl
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_IOCTL = 1 << 15
_BIND_TCP, _CONNECT_TCP = 1, 2
_ABSTRACT_SOCKET, _SIGNAL = 1, 2
_NO_NEW_PRIVS = 38

_libc: Any = ctypes.PyDLL(None, use_errno=True) if sys.platform == "linux" else None


def version() -> int:
    """The kernel's Landlock version, 0 where there is none."""
    if _libc is None or platform.machine() not in ("x86_64", "aarch64"):
        return 0
    return max(0, int(_libc.syscall(_CREATE, None, 0, _VERSION)))


def _files(abi: int) -> int:
    """Every right on files that this version knows."""
    return (1 << (16 if abi >= 5 else 15 if abi >= 3 else 14 if abi >= 2 else 13)) - 1


def restrict(rules: dict[str, Any]) -> None:
    """Shut this process and all that it starts in, for good.

    Args:
        rules: `read` and `write` name paths; `network` is "on", "off" or a list of TCP ports.
    Raises:
        OSError: the kernel refuses.
    """
    abi = version()
    if not abi:
        raise OSError("no Landlock here")
    everything, network = _files(abi), rules["network"] != "on" and abi >= 4
    attributes = struct.pack(
        "=QQQ",
        everything,
        (_CONNECT_TCP | _BIND_TCP if rules["network"] == "off" else _CONNECT_TCP) if network else 0,
        _ABSTRACT_SOCKET | _SIGNAL if abi >= 6 else 0,
    )
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    fd = _check(_libc.syscall(_CREATE, attributes[:size], size, 0))
    try:
        for path in rules["read"]:
            _allow(fd, path, _READ)
        for path in rules["write"]:
            _allow(fd, path, everything)
        for port in rules["network"] if network and not isinstance(rules["network"], str) else ():
            _check(_libc.syscall(_ADD_RULE, fd, _PORT, struct.pack("=QQ", _CONNECT_TCP, port), 0))
        _check(_libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
        _check(_libc.syscall(_RESTRICT, fd, 0))
    finally:
        os.close(fd)


def _allow(ruleset: int, path: str, rights: int) -> None:
    """Allow something beneath a path; one that is not there is left out."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _FILE_ONLY & _files(version())
        _check(_libc.syscall(_ADD_RULE, ruleset, _BENEATH, struct.pack("=Qi", rights, fd), 0))
    finally:
        os.close(fd)


def _check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "landlock")
    return result
