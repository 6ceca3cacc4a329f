"""What a candidate may not bring in, also where a pattern of the editable scope covers it: only a glob that names it lets it.

Files that tools run or read by themselves, and so inside the evaluator; links that leave the tree; what nobody can review;
modules that go before those that a frozen script means. What the base has of all this stays as it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from autoresearch.errors import Refused
from autoresearch.objects import Repository
from autoresearch.taskfile.scope import Scope, is_pattern, matches
from autoresearch.text import one_line, show_bytes
from autoresearch.workspace.names import Objection, canonical, objection_to
from autoresearch.workspace.shadows import Module, Shadows, module_of

LARGE = 10**6  # bytes: larger files are refused if they are more than twice the base's
_CONTROL = bytes(c for c in range(32) if c not in b"\t\n\v\f\r\b\x1b") + b"\x7f"
_SHARE = 0.1  # of control characters, above which a file is no text
_LINK, _MODES = "120000", ("100644", "100755", "120000")
_CODE = frozenset((".py", ".pyi", ".js", ".mjs", ".cjs", ".ts", ".tsx", ".jsx", ".c", ".h", ".cc", ".cpp", ".go", ".rs", ".sh"))

Entries = Mapping[str, tuple[str, bytes] | None]
"""Mode and content by path from the repository's top; None deletes."""


class Changed:
    """A candidate's files: a tree and what becomes of it."""

    def __init__(self, repository: Repository, tree: str, entries: Entries) -> None:
        self._repository, self.tree, self.entries = repository, tree, entries
        self._new: dict[str, set[str]] = {}
        for path, entry in entries.items():
            parts = path.split("/") if entry is not None else []
            for i, name in enumerate(parts):
                self._new.setdefault("/".join(parts[:i]), set()).add(name)
        self._names: dict[str, dict[str, set[str]]] = {}

    def has(self, path: str) -> bool:
        if path in self.entries:
            return self.entries[path] is not None
        return self._repository.find(self.tree, path) is not None

    def had(self, path: str) -> bool:
        """Whether what the candidate is a change of has something there."""
        return self._repository.find(self.tree, path) is not None

    def link(self, path: str) -> str | None:
        """Where a link leads, None for anything else."""
        if path in self.entries:
            new = self.entries[path]
            return os.fsdecode(new[1]) if new is not None and new[0] == _LINK else None
        old = self._repository.find(self.tree, path)
        return os.fsdecode(self._repository.read(old[1])) if old is not None and old[0] == _LINK else None

    def leaves(self, path: str) -> bool:
        """Whether a path leads out of the tree, by the links in it."""
        ahead, here, links = path.split("/"), list[str](), 0
        while ahead:
            part = ahead.pop(0)
            if part == "..":
                if not here:
                    return True
                here.pop()
            elif part not in ("", "."):
                here.append(part)
                target = self.link("/".join(here))
                if target is not None:
                    links += 1
                    if target.startswith("/"):
                        return True
                    if links > 40:
                        return False  # it turns in a circle, and leads nowhere
                    here.pop()
                    ahead = target.split("/") + ahead
        return any(canonical(part) == ".git" for part in here)

    def twin(self, folder: str, name: str) -> str | None:
        """Another name in a folder that some file systems take for the same one."""
        if folder not in self._names:
            known: dict[str, set[str]] = {}
            for other in self._listed(folder):
                known.setdefault(canonical(other), set()).add(other)
            self._names[folder] = known
        return min(self._names[folder].get(canonical(name), set()) - {name}, default=None)

    def _listed(self, folder: str) -> set[str]:
        entry = self._repository.find(self.tree, folder) if folder else ("40000", self.tree)
        old = self._repository.tree(entry[1]) if entry is not None and entry[0] == "40000" else {}
        lead = f"{folder}/" if folder else ""
        return {n for n in old if self.entries.get(lead + n, "") is not None} | self._new.get(folder, set())


class Forbidden:
    """Looks at what a candidate changes before it is made.

    Args:
        base: the base's tree in the user's repository; `view` as evaluations see it, in `objects`.
        prefix: from the repository's top to the project's folder.
    """

    def __init__(self, repository: Repository, objects: Repository, scope: Scope, *, prefix: str, base: str, view: str) -> None:
        self._repository, self._scope, self._prefix, self._base = repository, scope, prefix, base
        self._shadows = Shadows(objects, view, self.is_frozen)
        self._base_links: tuple[str, ...] | None = None

    def is_frozen(self, full: str) -> bool:
        return not full.startswith(self._prefix) or full.removeprefix(self._prefix) not in self._scope

    def refuse(self, tree: str, entries: Entries) -> None:
        """Refuse what may not come in.

        Args:
            tree: what the entries change; they are inside the editable scope.
        Raises:
            Refused: `scope`, naming the path, why, and the glob that would let it in.
        """
        candidate = Changed(self._repository, tree, entries)
        for full, new in entries.items():
            path = full.removeprefix(self._prefix)
            for objection in self._objections(full, new, candidate):
                if not self._allows(path, objection):
                    raise Refused("scope", self._words(path, objection, is_new=not candidate.had(full)))
        self._refuse_led_out(candidate)

    def _objections(self, full: str, new: tuple[str, bytes] | None, candidate: Changed) -> Iterator[Objection]:
        is_new, path = not candidate.had(full), full.removeprefix(self._prefix)
        if (found := objection_to(path, is_new=is_new)) is not None:
            yield found
        if new is not None and new[0] not in _MODES:
            yield Objection("it is neither a file nor a link", final=True)
        elif new is not None:
            yield from self._by_content(full, *new, candidate)
        if not is_new:
            yield from self._as_it_was(full, candidate.tree)
        else:
            yield from self._by_place(full, new, candidate)

    def _by_content(self, full: str, mode: str, content: bytes, candidate: Changed) -> Iterator[Objection]:
        if mode == _LINK:
            if candidate.leaves(full):
                yield Objection(f"it is a link to {one_line(os.fsdecode(content), 80)!r}, which leads out of the tree")
            return
        suffix = _suffix(full)
        if is_binary(content):
            yield Objection("it is binary, which nobody can review", suffix=suffix)
        if len(content) > LARGE:
            known = self._repository.find(self._base, full)
            before = len(self._repository.read(known[1])) if known is not None else 0
            if len(content) > 2 * before:
                was = f"more than twice the {show_bytes(before)} of the base's" if before else f"over {show_bytes(LARGE)}"
                yield Objection(f"it has {show_bytes(len(content))}, {was}", suffix=suffix)

    def _as_it_was(self, full: str, tree: str) -> Iterator[Objection]:
        """What the base has of links that lead out and of binary files stays as it is."""
        old = self._repository.find(tree, full)
        if old is None or old[0] not in _MODES:
            return
        if old[0] == _LINK:
            if Changed(self._repository, tree, {}).leaves(full):
                yield Objection("it is a link of the base that leads out of the tree")
        elif is_binary(self._repository.read(old[1])):
            yield Objection("it is a binary file of the base", suffix=_suffix(full))

    def _by_place(self, full: str, new: tuple[str, bytes] | None, candidate: Changed) -> Iterator[Objection]:
        """What a new path gets in the way of."""
        parts = full.split("/")
        for i, name in enumerate(parts):
            folder = "/".join(parts[:i])
            if (twin := candidate.twin(folder, name)) is not None:
                other = f"{folder}/{twin}" if folder else twin
                at = max(0, i - self._prefix.count("/"))
                yield Objection(f"some file systems take it for the same as {one_line(other)}", at)
        module = module_of(full, is_link=new is not None and new[0] == _LINK)
        if module is not None and (words := self._shadows.words(module, candidate.has)):
            yield Objection(words, _at(module))
        if other := self._shadows.script(full):
            yield Objection(f"it may be taken for {one_line(other)}, which is frozen")

    def _refuse_led_out(self, candidate: Changed) -> None:
        """A link that stays in the tree can be led out of it by a change to another one."""
        if not any(entry is None or entry[0] == _LINK for entry in candidate.entries.values()):
            return
        if self._base_links is None:
            files = self._repository.files(self._base)
            self._base_links = tuple(path for path, (mode, _) in files.items() if mode == _LINK)
        later = self._repository.differences(self._base, candidate.tree)
        links = {*self._base_links, *(p for p, e in later.items() if e is not None and e[0] == _LINK)}
        before = Changed(self._repository, candidate.tree, {})
        for path in sorted(links - candidate.entries.keys()):
            if candidate.leaves(path) and not before.leaves(path):
                raise Refused("scope", f"{one_line(path)}: with this change the link leads out of the tree")

    def _allows(self, path: str, objection: Objection) -> bool:
        if objection.final:
            return False
        name = path.split("/")[objection.at]
        for glob in self._scope.editable:
            if matches(path, glob):
                parts = [_plain(part) for part in glob.removeprefix("./").rstrip("/").split("/")]
                suffix = objection.suffix
                if name in parts or (suffix and suffix not in _CODE and parts[-1].endswith(suffix)):
                    return True
        return False

    def _words(self, path: str, objection: Objection, *, is_new: bool) -> str:
        what = f"{one_line(path)}: {objection.words}"
        if objection.final:
            return f"{what}; no candidate may have it"
        parts = path.split("/")
        at = objection.at % len(parts)
        glob = path
        if is_new or is_pattern(path):  # a path without wildcards has to exist when the task file is read
            below = ["**"] if at < len(parts) - 1 else []
            glob = "/".join([*parts[:at], "**", _escaped(parts[at]), *below])
        return f'{what}; only a glob that names it lets a candidate have it: editable = ["{one_line(glob)}"]'


def replaced(repository: Repository, tree: str, entries: Entries) -> list[str]:
    """Files of a tree in whose place something new comes, which nobody said to delete: a folder's, or one that becomes one."""
    found: list[str] = []
    for full in (path for path, entry in entries.items() if entry is not None):
        above = (full[:i] for i, c in enumerate(full) if c == "/")
        found += [path for path in above if (old := repository.find(tree, path)) is not None and old[0] != "40000"]
        old = repository.find(tree, full)
        if old is not None and old[0] == "40000":
            found += repository.differences(old[1], "", f"{full}/")
    return sorted({path for path in found if entries.get(path, "") is not None})


def is_binary(content: bytes) -> bool:
    """Whether it is no text: a zero byte, or many control characters. Any 8-bit encoding is text."""
    if b"\0" in content:
        return True
    start = content[:65536]
    return len(start) - len(start.translate(None, _CONTROL)) > _SHARE * len(start)


def _at(module: Module) -> int:
    """The part of the path that a module's import name is in: the file, or a package's folder."""
    return -2 if module.form == "package" else -1


def _suffix(path: str) -> str:
    return os.path.splitext(path.rpartition("/")[2])[1]


def _plain(part: str) -> str:
    """A glob's part without what only protects a character."""
    return re.sub(r"\[([*?\[])\]", r"\1", part)


def _escaped(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)
