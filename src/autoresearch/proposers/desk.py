"""A proposal's files as a model without a program of its own sees and changes them: within the tree, and in scope alone.

Paths are relative to the project's folder. No link is followed out of the tree, none is written through.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autoresearch.process import Job, Supervisor
from autoresearch.proposers.patchwork import nearest, shown_lines
from autoresearch.taskfile.scope import Scope, matches
from autoresearch.text import counted, one_line, show_bytes

MOST_LINES, MOST_BYTES = 800, 60_000  # of one answer
_MOST_FILES, _MOST_HITS = 400, 100
_LARGEST = 5_000_000
_SEARCH_S = 15.0
_CLOSED = frozenset({".git", ".autoresearch"})
_UNSEARCHED = frozenset({*_CLOSED, ".labels", "__pycache__"})

_SEARCHING = """
import fnmatch, json, os, re, sys
pattern, name, most, largest, skipped = json.loads(sys.argv[1])
found, wanted = 0, re.compile(pattern)
for root, folders, files in os.walk("."):
    folders[:] = sorted(f for f in folders if f not in skipped)
    for file in sorted(files):
        path = os.path.join(root, file)[2:]
        if not fnmatch.fnmatch(path, name) or os.path.islink(path) or not os.path.isfile(path):
            continue
        if os.path.getsize(path) > largest:
            continue
        with open(path, "rb") as f:
            body = f.read()
        if b"\\0" in body:
            continue
        for i, line in enumerate(body.decode("utf-8", "replace").splitlines(), 1):
            if wanted.search(line):
                found += 1
                if found > most:
                    sys.exit()
                print(f"{path}:{i}: {line.strip()[:300]}")
"""
"""A program of its own, since a regular expression may take for ever: the supervisor ends it."""


class Wrong(Exception):
    """What a model asked for cannot be done; the words are for it."""


@dataclass(frozen=True, slots=True)
class Desk:
    """The files.

    Attributes:
        folder: the project's, in the tree at `root`.
    """

    folder: Path
    root: Path
    scope: Scope
    supervisor: Supervisor | None = None

    # -- looking ----------------------------------------------------------------------------------------------------

    def files(self, pattern: str = "") -> str:
        """The project's files, one a line, those that may be changed with a mark."""
        found = [
            path for path in self._walk() if not pattern or matches(path, pattern) or path.startswith(f"{pattern.rstrip('/')}/")
        ]
        lines = [f"{path}{'  (may be changed)' if path in self.scope else ''}" for path in found[:_MOST_FILES]]
        if len(found) > _MOST_FILES:
            lines.append(f"… and {len(found) - _MOST_FILES} more: give a narrower pattern")
        return "\n".join(lines) or "no file matches"

    def _walk(self) -> Iterator[str]:
        for top, folders, names in os.walk(self.folder):
            folders[:] = sorted(f for f in folders if f not in (*_CLOSED, "__pycache__"))
            for name in sorted(names):
                yield os.path.relpath(os.path.join(top, name), self.folder)

    def show(self, path: str, start: int = 1, end: int = 0) -> str:
        """Lines of a file with their numbers; `end` 0 is as many as one answer holds."""
        lines = self.text(path).splitlines()
        start = max(1, start)
        last = min(len(lines), end if end > 0 else len(lines), start + MOST_LINES - 1)
        shown = shown_lines([line[:2000] for line in lines], start - 1, last)
        if len(shown.encode()) > MOST_BYTES:
            shown = shown.encode()[:MOST_BYTES].decode("utf-8", "ignore").rpartition("\n")[0]
            last = start + shown.count("\n")
        if not lines:
            return f"{path} is empty"
        rest = f"\n(lines {start} to {last} of {len(lines)}; go on with start = {last + 1})" if last < len(lines) else ""
        return (shown or f"{path} has {counted(len(lines), 'line')}") + rest

    def text(self, path: str) -> str:
        """A file as text; bytes that are none stay what they are when it is written again.

        Raises:
            Wrong: it is not there, too large, no text, or not in the tree.
        """
        place = self._place(path)
        if not place.is_file():
            raise Wrong(f"there is no file {path}" if not place.is_dir() else f"{path} is a folder")
        if place.stat().st_size > _LARGEST:
            raise Wrong(f"{path} is too large to be shown: {show_bytes(place.stat().st_size)}")
        body = place.read_bytes()
        if b"\0" in body:
            raise Wrong(f"{path} is no text")
        return body.decode("utf-8", "surrogateescape")

    async def search(self, pattern: str, files: str = "") -> str:
        """Lines that a regular expression of Python matches, as `path:line: text`."""
        if self.supervisor is None:
            raise Wrong("nothing can be searched here")
        asked = json.dumps([pattern, files or "*", _MOST_HITS, _LARGEST, sorted(_UNSEARCHED)])
        env = {"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONUTF8": "1"}
        job = Job(
            [sys.executable, "-I", "-c", _SEARCHING, asked], self.folder, env, timeout_s=_SEARCH_S, grace_s=0.2, locked=True
        )
        end = await self.supervisor.run(job)
        lines = end.stdout.splitlines()
        if end.timed_out:
            raise Wrong(f"the search took more than {_SEARCH_S:.0f} s: a simpler expression, or fewer files")
        if end.exit != 0 and not lines:
            raise Wrong(
                f"cannot search for {pattern!r}: {one_line(end.tail.strip().splitlines()[-1] if end.tail.strip() else '')}"
            )
        more = f"\n… and more: only the first {_MOST_HITS} are shown" if len(lines) >= _MOST_HITS else ""
        return "\n".join(lines) + more if lines else "no line matches"

    # -- changing ---------------------------------------------------------------------------------------------------

    def may_change(self, path: str) -> bool:
        try:
            self._writable(path)
        except Wrong:
            return False
        return True

    def edit(self, path: str, old: str, new: str) -> str:
        """Replace a text that stands exactly once in a file.

        Raises:
            Wrong: it does not, or the file may not be changed; says what is near.
        """
        self._writable(path)
        text = self.text(path)
        if "\r\n" in text and "\r\n" not in old:
            old, new = old.replace("\n", "\r\n"), new.replace("\n", "\r\n")
        count = text.count(old) if old else 0
        if not old:
            raise Wrong("the old text is empty: write the whole file instead")
        if old == new:
            raise Wrong("the old text and the new one are the same")
        if count != 1:
            at = ", ".join(str(text.count("\n", 0, i) + 1) for i in _starts(text, old))
            often = f"stands there {count} times (lines {at}): give more of what is around it"
            raise Wrong(f"the old text {often if count else f'does not stand in {path}. {nearest(text, old)}'}")
        self.write(path, text.replace(old, new))
        return f"{path} is changed"

    def write(self, path: str, text: str) -> str:
        """Write a whole file, with the folders above it.

        Raises:
            Wrong: it may not be changed.
        """
        place = self._writable(path)
        is_new = not place.exists()
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode("utf-8", "surrogateescape"))
        except (FileExistsError, NotADirectoryError, IsADirectoryError, UnicodeEncodeError) as error:
            raise Wrong(f"cannot write {path}: {one_line(str(error))}") from error
        return f"{path} is {'made' if is_new else 'written'}: {counted(len(text.splitlines()), 'line')}"

    def delete(self, path: str) -> str:
        """Take a file away.

        Raises:
            Wrong: it is not there, or may not be changed.
        """
        place = self._writable(path)
        if not place.is_file():
            raise Wrong(f"there is no file {path}")
        place.unlink()
        return f"{path} is deleted"

    # -- paths ------------------------------------------------------------------------------------------------------

    def _place(self, path: str) -> Path:
        """Where a path leads.

        Raises:
            Wrong: out of the tree, or to what nobody may see.
        """
        if not path or "\0" in path:
            raise Wrong(f"{path!r} is no path")
        full = Path(os.path.normpath(self.folder / path))
        if not full.is_relative_to(self.root):
            raise Wrong(f"{path} is outside of the tree: paths are relative to the project's folder")
        real = Path(os.path.realpath(full))
        for place, top in ((full, self.root), (real, Path(os.path.realpath(self.root)))):
            if not place.is_relative_to(top) or any(part.lower() in _CLOSED for part in place.relative_to(top).parts):
                raise Wrong(f"{path} leads out of the tree, or to what is not shown")
        return full

    def _writable(self, path: str) -> Path:
        """Where a file that may be changed lies.

        Raises:
            Wrong: it is not in scope, or no plain file.
        """
        full = self._place(path)
        inside = os.path.relpath(full, self.folder)
        if inside.startswith("..") or inside not in self.scope:
            raise Wrong(f"{path} may not be changed: only {', '.join(self.scope.editable)}")
        for place in (full, *full.parents):
            if place == self.root:
                break
            if place.is_symlink():
                raise Wrong(f"{path} is a link, or lies behind one: it may not be changed")
        if full.exists() and not stat.S_ISREG(full.lstat().st_mode):
            raise Wrong(f"{path} is no file")
        return full


def _starts(text: str, part: str) -> Iterator[int]:
    """Where a text begins, for the first few times."""
    at, count = text.find(part), 0
    while at >= 0 and count < 6:
        yield at
        at, count = text.find(part, at + 1), count + 1
