"""Keeps the machine awake while a run works, by the system's own program where there is one."""

from __future__ import annotations

import shutil
import subprocess
from types import TracebackType

_PROGRAMS = {
    "systemd-inhibit": ["--what=sleep:idle", "--who=autoresearch", "--why=experiments are running", "--mode=block"],
    "caffeinate": ["-i"],
}


def program() -> list[str]:
    """The command that holds a sleep inhibitor while its own command runs; empty where there is none."""
    for name, flags in _PROGRAMS.items():
        path = shutil.which(name)
        if path is not None:
            return [path, *flags]
    return []


class Awake:
    """Hold an inhibitor; use as a context manager. Never waits for it, and says nothing where it does not work.

    Its child reads from a pipe of ours and so ends with this process, whatever ends it.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Awake:
        argv = program()
        if argv:
            quiet = subprocess.DEVNULL
            try:
                self._child = subprocess.Popen(
                    [*argv, "cat"], stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True
                )
            except OSError:
                pass
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        child = self._child
        if child is None:
            return
        assert child.stdin is not None
        try:
            child.stdin.close()
        except OSError:
            pass
        try:
            child.wait(2)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
