"""A tree for large repositories: the base is never written, each evaluation works on a layer that is thrown away.

The candidate's files lie in the upper layer of an overlay file system that the job's own mount namespace mounts over the
base (`process/containment.py`), so no scan is needed and the cost does not grow with the number of files.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path

from autoresearch.errors import DiskFault
from autoresearch.trees import Entry
from autoresearch.workspace.tree import WorkTree, remove

_RARELY = 20.0  # times as long between two looks as one takes


class LayeredTree(WorkTree):
    """Used like a WorkTree; only jobs that mount the layer see the candidate."""

    _looked_at = _look_s = 0.0  # when the base was looked at last, and how long that took

    @property
    def upper(self) -> Path:
        return self.folder / "upper"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def distrust(self) -> None:
        """What ran could write to the layer alone, and that goes with the next candidate."""

    def look_again(self) -> None:
        """No job could write the base; whoever has our rights could, and then it is laid out anew.

        In a large tree it takes as long as a short evaluation: at most a twentieth of the time goes into it, as whoever writes
        there in between could as well write during the evaluation.
        """
        began = time.monotonic()
        if began - self._looked_at < _RARELY * self._look_s:
            return
        try:
            self.built = self.built and self.stands() and dict(self._walk()) == self._reference
        except OSError:
            self.built = False
        self._looked_at = time.monotonic()
        self._look_s = self._looked_at - began

    def apply(self, overlay: Mapping[str, Entry | None]) -> None:
        """Make a fresh layer that shows `overlay` on the base.

        Raises:
            DiskFault: no space, or a failing disk.
        """
        try:
            if not self.built:
                self.build()
                self.adopt()
            self._dates.clear()  # only what is built now is laid out: the layers of what was built hold their own sources
            for folder in (self.upper, self.work):
                if os.path.lexists(folder):
                    remove(folder)
                folder.mkdir(mode=0o755)
            for path, entry in sorted(overlay.items(), key=lambda item: item[1] is not None):  # a folder may become a file
                self._lay(path, entry)
        except OSError as error:
            self.built = False
            raise DiskFault(f"cannot write the layer {self.upper}: {error.strerror}") from error

    def lay_over(self, path: str, entry: Entry) -> None:
        """Write one more file into the layer that was made last."""
        self._lay(path, entry)

    def _lay(self, path: str, entry: Entry | None) -> None:
        target = self.upper / path
        self._lay_folders(path)
        if entry is None:
            if os.path.lexists(self.root / path):
                os.mknod(target, stat.S_IFCHR, os.makedev(0, 0))  # a whiteout: the base's file is not there
            return
        if os.path.lexists(target):
            remove(target)
        mode, oid = entry
        content = self._objects().read(oid)
        if mode == "120000":
            os.symlink(content, os.fsencode(target))
        else:
            target.write_bytes(content)
            target.chmod(0o755 if mode == "100755" else 0o644)
        known = os.lstat(self.root / path).st_mtime if os.path.lexists(self.root / path) else 0.0
        at = self._date(path, entry, max(known, self._times.get(path, 0.0)))
        os.utime(target, (at, at), follow_symlinks=False)
        self._times[path] = at

    def _lay_folders(self, path: str) -> None:
        """The layer's own folders, as the base has them: they are merged with the base's."""
        parts = path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            target = self.upper / folder
            if target.is_dir() and not target.is_symlink():
                continue
            if os.path.lexists(target):
                remove(target)  # the candidate made a folder of what was a file
            target.mkdir()
            base = self.root / folder
            if base.is_dir() and not base.is_symlink():
                target.chmod(stat.S_IMODE(base.stat().st_mode))
