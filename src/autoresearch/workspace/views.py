"""Which part of a tree is shown: without hidden paths, with submodules as plain folders, only some folders of many."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from autoresearch.objects import Repository
from autoresearch.trees import Entry
from autoresearch.workspace.submodules import LINK, Submodule

_TREE = "40000"


class View:
    """One view; paths are relative to the repository's top.

    Args:
        objects: our own store, in which shown trees are written.
        parts: show these folders and files, and what lies directly in the folders on the way to them (git's cone); all if
            there are none.
    """

    def __init__(
        self,
        objects: Repository,
        *,
        hidden: Collection[str] = (),
        submodules: Sequence[Submodule] = (),
        parts: Collection[str] = (),
    ) -> None:
        self._objects = objects
        self._hidden, self._submodules, self._parts = frozenset(hidden), submodules, frozenset(parts)
        self._way = frozenset(part[:i] for part in parts for i, c in enumerate(part) if c == "/")

    def of(self, tree: str) -> str:
        """The tree that is shown of a tree."""
        for module in self._submodules:
            tree = self._objects.edit_tree(tree, {module.path: (_TREE, module.tree)})
        if self._hidden:
            tree = self._objects.edit_tree(tree, dict.fromkeys(self._hidden))
        return self._sparse(tree, "") if self._parts else tree

    def _sparse(self, tree: str, prefix: str) -> str:
        kept: dict[str, Entry] = {}
        for name, (mode, oid) in self._objects.tree(tree).items():
            path = prefix + name
            if mode == LINK:
                continue  # a submodule that is in none of the parts
            if mode != _TREE or path in self._parts:
                kept[name] = (mode, oid)
            elif path in self._way:
                kept[name] = (mode, self._sparse(oid, path + "/"))
        return self._objects.write_tree(kept)

    def shows(self, path: str) -> bool:
        """Whether a path of a candidate is in the view."""
        if path in self._hidden:
            return False
        folder = path.rpartition("/")[0]
        return not self._parts or not folder or folder in self._way or self._is_inside(path)

    def _is_inside(self, path: str) -> bool:
        return path in self._parts or any(path[:i] in self._parts for i, c in enumerate(path) if c == "/")
