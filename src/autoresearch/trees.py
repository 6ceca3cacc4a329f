"""Git's trees as data: entries by name, what edits make of a tree, what differs between two; and the ids of objects."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping

Entry = tuple[str, str]
"""A tree entry: mode and object id."""

_TREE = "40000"


class Trees(ABC):
    """The trees in a store of objects, which whoever inherits it reads and writes."""

    sha256: bool

    def __init__(self) -> None:
        self._trees: dict[str, dict[str, Entry]] = {}

    @abstractmethod
    def read(self, oid: str, kind: str = "") -> bytes: ...

    @abstractmethod
    def write(self, kind: str, body: bytes) -> str: ...

    def tree(self, oid: str) -> dict[str, Entry]:
        """One tree's entries by name, in git's order."""
        if oid not in self._trees:
            if len(self._trees) > 256:
                self._trees.clear()
            self._trees[oid] = _parse_tree(self.read(oid, "tree"), 32 if self.sha256 else 20)
        return self._trees[oid]

    def find(self, tree: str, path: str) -> Entry | None:
        """The entry at a path, None where there is none."""
        entry: Entry | None = (_TREE, tree)
        for name in path.split("/"):
            if entry is None or entry[0] != _TREE:
                return None
            entry = self.tree(entry[1]).get(name)
        return entry

    def edit_tree(self, tree: str, changes: Mapping[str, Entry | None]) -> str:
        """Write the tree that `changes` make of `tree`; None deletes, and empty folders go."""
        return self._edit_tree(dict(self.tree(tree)), changes) or self.write("tree", b"")

    def _edit_tree(self, entries: dict[str, Entry], changes: Mapping[str, Entry | None]) -> str | None:
        below: dict[str, dict[str, Entry | None]] = {}
        for path, entry in sorted(changes.items(), key=lambda item: item[1] is not None):  # deletions first
            name, _, rest = path.partition("/")
            if rest:
                below.setdefault(name, {})[rest] = entry
            elif entry is not None:
                entries[name] = entry
            elif entries.get(name, ("", ""))[0] != _TREE:
                entries.pop(name, None)
        for name, inner in below.items():
            old = entries.get(name)
            known = dict(self.tree(old[1])) if old is not None and old[0] == _TREE else {}
            if not known and all(entry is None for entry in inner.values()):
                continue
            oid = self._edit_tree(known, inner)
            if oid is None:
                entries.pop(name, None)
            else:
                entries[name] = (_TREE, oid)
        return self.write("tree", _format_tree(entries)) if entries else None

    def write_tree(self, entries: Mapping[str, Entry]) -> str:
        """Write one tree of entries by name."""
        return self.write("tree", _format_tree(entries))

    def differences(self, old: str, new: str, prefix: str = "") -> dict[str, Entry | None]:
        """Paths that differ between two trees, with the new entry or None."""
        if old == new:
            return {}
        before = self.tree(old) if old else {}
        after = self.tree(new) if new else {}
        found: dict[str, Entry | None] = {}
        for name in before.keys() | after.keys():
            a, b = before.get(name), after.get(name)
            if a == b:
                continue
            if (a and a[0] == _TREE) or (b and b[0] == _TREE):
                if a is not None and a[0] != _TREE:
                    found[prefix + name] = None
                tree_a = a[1] if a and a[0] == _TREE else ""
                tree_b = b[1] if b and b[0] == _TREE else ""
                found |= self.differences(tree_a, tree_b, f"{prefix}{name}/")
                if b is not None and b[0] != _TREE:
                    found[prefix + name] = b
            else:
                found[prefix + name] = b
        return found

    def walked(self, tree: str, prefix: str = "") -> dict[str, Entry]:
        """All files by reading each tree, whose id is looked at: of old trees with modes that nobody writes any more, too."""
        found: dict[str, Entry] = {}
        for name, entry in self.tree(tree).items():
            found |= self.walked(entry[1], f"{prefix}{name}/") if int(entry[0], 8) == 0o40000 else {prefix + name: entry}
        return found


def _parse_tree(body: bytes, size: int) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    at = 0
    while at < len(body):
        space = body.index(b" ", at)
        end = body.index(b"\0", space)
        entries[os.fsdecode(body[space + 1 : end])] = (body[at:space].decode(), body[end + 1 : end + 1 + size].hex())
        at = end + 1 + size
    return entries


def _format_tree(entries: Mapping[str, Entry]) -> bytes:
    rows = [(os.fsencode(name), mode, oid) for name, (mode, oid) in entries.items()]
    rows.sort(key=lambda row: row[0] + b"/" if row[1] == _TREE else row[0])
    return b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(oid) for name, mode, oid in rows)


def tree_of(files: Mapping[str, Entry], *, sha256: bool) -> str:
    """The id of the tree with these files."""
    entries: dict[str, Entry] = {}
    below: dict[str, dict[str, Entry]] = {}
    for path, entry in files.items():
        name, _, rest = path.partition("/")
        if rest:
            below.setdefault(name, {})[rest] = entry
        else:
            entries[name] = entry
    entries |= {name: (_TREE, tree_of(inner, sha256=sha256)) for name, inner in below.items()}
    return object_id("tree", _format_tree(entries), sha256=sha256)


def object_id(kind: str, body: bytes, *, sha256: bool = False) -> str:
    """The id git gives an object."""
    return hashlib.new("sha256" if sha256 else "sha1", b"%s %d\0" % (kind.encode(), len(body)) + body).hexdigest()
