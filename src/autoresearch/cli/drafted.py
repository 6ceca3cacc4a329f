"""A task that somebody drafted: its new files, what is wrong with them, what they would run, how they come into a folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from autoresearch.checkup import mend
from autoresearch.checkup.mend import Mend
from autoresearch.cli.draft_words import PROGRAM, TABLES
from autoresearch.errors import DiskFault, SetupError, TaskError
from autoresearch.records import Blob, Edits
from autoresearch.taskfile import FILE, Scope, Task
from autoresearch.taskfile.load import parse
from autoresearch.taskfile.scope import is_pattern

OWN = (FILE, PROGRAM)
_LARGEST, _MOST = 1_000_000, 50


@dataclass(frozen=True, slots=True)
class Drafted:
    """New files by path relative to the project's folder.

    Attributes:
        left_out: what else was written, and is not taken over, in words.
        problems: why it is no task yet, in words.
    """

    files: Mapping[str, Blob]
    left_out: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    task: Task | None = None

    def commands(self) -> list[tuple[str, str]]:
        """What would be run, each by its key, in the order in which it is."""
        assert self.task is not None
        e = self.task.evaluate
        named = [("setup (with your HOME and the network)", e.setup), ("build", e.build), ("quick", e.quick)]
        named += [("command", e.command), ("cleanup", e.cleanup)]
        return [(key, text) for key, text in named if text] + [(f"check {c.name}", c.command) for c in self.task.check]

    def openings(self) -> list[tuple[str, str]]:
        """What of the machine these commands would see and keep besides a sealed tree."""
        assert self.task is not None
        e = self.task.evaluate
        named = [("reads", e.inputs), ("writes copies of", e.copies), ("keeps", e.cache), ("is passed", e.env)]
        found = [(key, ", ".join(values)) for key, values in named if values]
        return found + ([("network", e.network if isinstance(e.network, str) else ", ".join(e.network))] * (e.network != "off"))


def drafted(edits: Edits, folder: Path, *, replace: Collection[str] = (), proposer: Mapping[str, str] | None = None) -> Drafted:
    """What of some edits is taken over.

    Args:
        replace: files that may be there and are replaced.
        proposer: what the task may say of who proposes.
    """
    files: dict[str, Blob] = {}
    left_out: list[str] = []
    for path, blob in sorted(edits.items()):
        if words := _refused(path, blob, folder, replace):
            left_out.append(f"{path}: {words}")
        elif blob is not None:
            files[path] = blob
    if len(files) > _MOST:
        return Drafted({}, tuple(left_out), (f"{len(files)} new files, expected at most {_MOST}",))
    if FILE not in files:
        return Drafted(files, tuple(left_out), (f"there is no {FILE}",))
    try:
        text = files[FILE].content.decode("utf-8")
        task = parse(text)
    except (UnicodeDecodeError, TaskError) as error:
        return Drafted(files, tuple(left_out), (str(error),))
    return Drafted(files, tuple(left_out), tuple(_problems(task, files, folder, proposer or {})), task)


def _refused(path: str, blob: Blob | None, folder: Path, replace: Collection[str]) -> str:
    if blob is None:
        return "files of the project are not deleted"
    if path not in replace and os.path.lexists(folder / path):
        return "it is there already, and stays as it is"
    if blob.mode == "120000":
        return "a link"
    if any(part.startswith(".git") or part == ".autoresearch" for part in path.split("/")):
        return "no file of a task"
    if any((folder / parent).is_symlink() for parent in Path(path).parents):
        return "its folder is a link"
    return f"{len(blob.content)} bytes, expected at most {_LARGEST}" if len(blob.content) > _LARGEST else ""


def _problems(task: Task, files: Mapping[str, Blob], folder: Path, proposer: Mapping[str, str]) -> Iterator[str]:
    known = {"instructions_text", *(name.strip("[]") for name in TABLES)}
    if [table.model_dump(include=table.model_fields_set) for table in task.proposer] == [dict(proposer)]:
        known.add("proposer")
    for name in sorted(task.model_fields_set - known):
        yield f"[{name}] is the owner's to write: leave it out"
    if task.evaluate.sandbox not in ("auto", "bubblewrap", "landlock"):
        yield f'[evaluate] sandbox = "{task.evaluate.sandbox}" is the owner\'s to write: leave it out'
    scope = _scope(task)
    for path in files:
        if path in scope:
            yield f"{path} is new and matches [task] editable: only files that git tracks may be edited"
    for path in task.task.editable:
        plain = path.partition("#")[0]
        if not is_pattern(plain) and not (folder / plain).is_file():
            yield f"[task] editable names {path}, which is no file of the project"
    if not any(path not in OWN for path in files) and not task.evaluate.command:
        yield "there is no evaluator"


def _scope(task: Task) -> Scope:
    return Scope(tuple(task.task.editable), tuple(task.task.frozen), OWN)


def completed(draft: Drafted, proposer: Mapping[str, str]) -> Drafted:
    """The draft with its new files among the inputs, and the proposer that the owner named."""
    assert draft.task is not None
    text = draft.files[FILE].content.decode("utf-8")
    there = {os.path.normpath(name) for name in draft.task.evaluate.inputs}
    own = [path for path in draft.files if path not in OWN and not any(_is_in(path, name) for name in there)]
    text = mend.apply(text, [Mend("evaluate", "inputs", add=path) for path in own])
    for key, value in proposer.items():
        text = mend.set_key(text, "proposer", key, value)
    return Drafted({**draft.files, FILE: Blob(text.encode())}, draft.left_out, (), parse(text))


def _is_in(path: str, name: str) -> bool:
    return path == name or path.startswith(f"{name}/")


def take_over(files: Mapping[str, Blob], folder: Path, stage: Path, *, replace: Mapping[str, bytes | None]) -> None:
    """Put files into a folder, each whole or not at all, the task file last.

    Args:
        stage: a folder on the same file system, for what is under way.
        replace: what may be replaced, and the content that it has to have for that; None for any.
    Raises:
        SetupError: a file is there that was not, or has another content.
        DiskFault: it cannot be written.
    """
    try:
        part = Path(tempfile.mkdtemp(dir=stage, prefix=".draft-"))
        try:
            for path in sorted(files, key=lambda name: name == FILE):
                _put(files[path], folder / path, part / "file", known=path in replace, before=replace.get(path))
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise DiskFault(f"cannot write {error.filename2 or error.filename}: {error.strerror}") from error


def _put(blob: Blob, target: Path, part: Path, *, known: bool, before: bytes | None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(blob.content)
    part.chmod(0o755 if blob.mode == "100755" else 0o644)
    if not os.path.lexists(target):
        try:
            os.link(part, target)  # fails where somebody was faster
            part.unlink()
            return
        except FileExistsError:
            pass
        except OSError:  # no hard links here
            os.replace(part, target)
            return
    if not known or target.is_symlink() or (before is not None and target.read_bytes() != before):
        raise SetupError(
            f"{target} is there, and is not what was drafted before: it stays as it is; move it away and try again"
        )
    os.replace(part, target)
