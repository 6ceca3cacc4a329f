"""`autoresearch probe` for a program that proposes: it asks by a file, the harness tries out what the tree holds and answers.

By files, since every sandbox lets them through, an agent program's own as well. What a program writes there tells nobody but
itself: it is read bounded and through no link, and says no more than which trial is wanted.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Literal

import anyio

from autoresearch.contracts import Brief, FileDraft
from autoresearch.errors import DiskFault, ungroup
from autoresearch.patience import Patience
from autoresearch.process.environment import remove

MayRun = Literal["none", "quick", "checks", "all"]
WHAT = ("quick", "checks", "all")

_FOLDER = "autoresearch"
_ASKED = re.compile(r"[0-9a-f-]{1,60}\.ask")
_LARGEST = 1000  # bytes of a request
_MOST = 100  # requests that are looked at in one go
_LOOK_S = 0.05


def refusal(may_run: MayRun, what: str) -> str:
    """Why a trial is not allowed, `` if it is: what may be run is a ladder, each step with those below it."""
    if what not in WHAT:
        return f"{what!r}: expected one of {', '.join(WHAT)}"
    if may_run != "none" and WHAT.index(what) <= WHAT.index(may_run):
        return ""
    return f'not allowed: the task has [proposer] may_run = "{may_run}", and `{what}` would need "{what}"'


@asynccontextmanager
async def serve(
    draft: FileDraft, brief: Brief, may_run: MayRun, python: str, patience: Patience | None = None, *, within_s: float = 0.0
) -> AsyncIterator[Path | None]:
    """Answer a program while it works in a draft; enter after its HOME and TMP were made.

    Args:
        patience: the limit under which the program works; it stands still while something is tried.
        within_s: after which a probe ends without a result, to be asked again; 0 lets it wait.
    Yields:
        The folder with `autoresearch`, to be put first on its PATH; None where it may not run anything of the task.
    Raises:
        whatever the trial raises: the program's work is cancelled by it. DiskFault: the box cannot be written.
    """
    if may_run == "none" or brief.trial is None:
        yield None
        return
    box = Box(draft.scratch / "tmp" / _FOLDER, python, within_s)
    _show_to_login_shells(draft.scratch / "home", box.programs)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_answer_all, box, draft, brief, may_run, patience)
            yield box.programs
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise ungroup(group) from None
    finally:
        box.close()


def _show_to_login_shells(home: Path, programs: Path) -> None:
    """Some programs run commands by shells whose system-wide profile sets PATH anew."""
    for name in (".profile", ".zprofile"):
        with suppress(OSError), open(home / name, "x", encoding="utf-8") as file:
            file.write(f'export PATH={shlex.quote(str(programs))}:"$PATH"\n')


async def _answer_all(box: Box, draft: FileDraft, brief: Brief, may_run: MayRun, patience: Patience | None) -> None:
    """One after another: what is tried is what the tree holds, and there is one tree."""
    assert brief.trial is not None
    while True:
        await anyio.sleep(_LOOK_S)
        name = box.next()
        if name is None:
            continue
        what = box.read(name)
        if words := refusal(may_run, what):
            box.answer(name, {"what": what, "passed": None, "words": words, "output": ""})
            continue
        brief.say(f"trying out: {what}")
        with patience.held() if patience is not None else nullcontext():
            trial = await brief.trial(draft, what)
        passed = trial.passed if trial.tried else None
        box.answer(name, {"what": what, "passed": passed, "words": trial.words, "output": trial.output})


class Box:
    """A folder that the program may write: requests come as `<name>.ask`, answers go as `<name>.answer`.

    The folder is held open, so that putting another one or a link in its place leads nowhere.

    Attributes:
        programs: where `autoresearch` lies.
    """

    def __init__(self, folder: Path, python: str, within_s: float = 0.0) -> None:
        self.programs = folder / "bin"
        try:
            if os.path.lexists(folder):
                remove(folder)
            self.programs.mkdir(parents=True, mode=0o700)
            client, program = folder / "probe.py", self.programs / "autoresearch"
            shutil.copyfile(Path(__file__).with_name("probe.py"), client)
            words = shlex.join([python, "-I", "-S", str(client), str(folder), f"{within_s:g}"])
            program.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
            program.chmod(0o755)
            self._taken: set[str] = set()
            self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise DiskFault(f"cannot write {folder}: {error.strerror}") from error

    def next(self) -> str | None:
        """The name of the oldest request."""
        with os.scandir(self._fd) as entries:
            names = [entry.name for entry, _ in zip(entries, range(_MOST), strict=False)]
        return min((name for name in names if _ASKED.fullmatch(name) and name not in self._taken), default=None)

    def read(self, name: str) -> str:
        """Take a request out of the box: what is to be tried, `` where it does not say so."""
        body: Any = None
        self._taken.add(name)
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._fd)
            with open(fd, "rb") as file:
                plain = stat.S_ISREG(os.fstat(fd).st_mode)
                body = json.loads(file.read(_LARGEST)) if plain else None
        except (OSError, ValueError, RecursionError):
            pass
        try:
            os.unlink(name, dir_fd=self._fd)
        except OSError:
            pass
        what = body.get("what") if isinstance(body, Mapping) else None
        return what if isinstance(what, str) and len(what) < 40 else ""

    def answer(self, name: str, body: Mapping[str, Any]) -> None:
        """Put an answer into the box, whole or not at all; who is not there any more gets none."""
        part = f"{os.urandom(8).hex()}.part"
        try:
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self._fd)
            with open(fd, "w", encoding="utf-8", errors="replace") as file:
                json.dump(body, file)
            os.rename(part, f"{name.removesuffix('.ask')}.answer", src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except OSError:
            pass

    def close(self) -> None:
        os.close(self._fd)
