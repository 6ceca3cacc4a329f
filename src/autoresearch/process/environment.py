"""What a child gets to see: a clean environment, a new HOME and TMP, and its argument vector."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autoresearch.errors import DiskFault, SetupError

KEPT = (
    *("PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TERM", "USER", "LOGNAME", "SHELL", "LD_LIBRARY_PATH"),
    *("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_HOME"),
)
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_SHELL = re.compile(r"[|&;<>()$`*?\[\]#~!{}\n]|^\s*\w+=")


def argv(command: str, python: str) -> list[str]:
    """A command as an argument vector: directly where it is plain words, by `sh -c` where it needs a shell.

    A leading `python`, also after variables (`PYTHONPATH=src python …`), is the given interpreter.

    Raises:
        SetupError: quotes that do not close, or nothing to run.
    """
    command = re.sub(r"^(\s*(?:[A-Za-z_]\w*=\S*\s+)*)python(?=\s|$)", lambda m: m[1] + shlex.quote(python), command)
    if _SHELL.search(command):
        return ["/bin/sh", "-c", command]
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise SetupError(f"cannot read the command {command!r}: {error}") from error
    if not words:
        raise SetupError("the command is empty")
    return words


@dataclass(frozen=True, slots=True)
class Openings:
    """What of the user's surroundings a child sees after all: his HOME, every variable of his environment, the network, all
    of the file system."""

    home: bool = False
    environment: bool = False
    network: bool = False
    sandbox: bool = False  # none is around it


SEALED = Openings()


def clean(
    scratch: Path, *, passed: Sequence[str] = (), openings: Openings = SEALED, shown: Sequence[Path] = ()
) -> dict[str, str]:
    """An environment with nothing of the user's but paths, language, devices and the variables passed on purpose.

    Makes a new HOME and TMP below `scratch`; what the last child left there is gone. The new HOME shows the `shown` paths
    of the user's at the same places.

    Raises:
        SetupError: a variable to pass is not set.
        DiskFault: the folders cannot be made.
    """
    kept = os.environ if openings.environment else (*KEPT, *_CERTIFICATES)
    env = {key: os.environ[key] for key in kept if key in os.environ}
    env.setdefault("PATH", os.defpath)
    for name in passed:
        if name not in os.environ:
            raise SetupError(f"[evaluate] env names {name}, which is not set: export it, or take it out of the list")
        env[name] = os.environ[name]
    own = {"HOME": os.environ["HOME"]} if openings.home and "HOME" in os.environ else {}
    try:
        for key, name in (("HOME", "home"), ("TMPDIR", "tmp")):
            folder = scratch / name
            renew(folder)
            env[key] = own.get(key, str(folder))
        if not own:
            _show(scratch / "home", shown)
    except OSError as error:
        raise DiskFault(f"cannot make {scratch}: {error.strerror}") from error
    return env


def _show(home: Path, shown: Sequence[Path]) -> None:
    """Links in a new HOME to what lies at the same places in the user's."""
    theirs = Path(os.environ.get("HOME") or "/nonexistent")
    for path in shown:
        if path.is_relative_to(theirs) and path != theirs:
            link = home / path.relative_to(theirs)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)


def renew(folder: Path) -> None:
    """An empty folder of ours at that path."""
    try:
        if os.lstat(folder).st_mode == stat.S_IFDIR | 0o700 and not os.listdir(folder):
            return  # as we left it
    except OSError:
        pass
    if os.path.lexists(folder):
        remove(folder)
    os.mkdir(folder, 0o700)


def remove(folder: Path) -> None:
    """Remove whatever lies at a path, whatever its permissions."""
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
        return
    open_up(folder)
    shutil.rmtree(folder)


def open_up(folder: Path) -> None:
    """Take a folder and all in it into our hands again, whatever was done to their permissions."""
    os.chmod(folder, 0o700)
    for root, folders, _ in os.walk(folder):
        for name in folders:
            path = os.path.join(root, name)
            if not os.path.islink(path):
                os.chmod(path, 0o700)
