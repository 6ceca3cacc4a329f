"""New Python modules that go before those that a frozen script means: the standard library's, installed ones, frozen ones."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from autoresearch.errors import RepositoryError
from autoresearch.objects import Repository
from autoresearch.text import one_line

_EXTENSIONS = (".so", ".pyd")
_FORMS = ("package", "extension", "source", "bytecode")  # in the order in which an interpreter looks for them in a folder
_SCRIPTS = (".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".tsx", ".jsx", ".json", ".node")
_MOST = 200  # files that are read to find out who imports a module


@dataclass(frozen=True, slots=True)
class Module:
    """What a path is to `import`: a name in a folder.

    Attributes:
        folder: from the repository's top, `` for that.
    """

    folder: str
    name: str
    form: Literal["package", "extension", "source", "bytecode"]

    def beside(self, name: str) -> str:
        return f"{self.folder}/{name}" if self.folder else name


def module_of(full: str, *, is_link: bool = False) -> Module | None:
    """The module that a file is or makes, None where it is none. A link may be a package: what it leads to can be one later."""
    folder, _, last = full.rpartition("/")
    if is_link and last.isidentifier():
        return Module(folder, last, "package")
    name, _, _ = last.partition(".")
    if not name.isidentifier():
        return None
    if last.endswith(_EXTENSIONS):
        form: Literal["extension", "source", "bytecode"] = "extension"
    elif last in (f"{name}.py", f"{name}.pyc"):
        form = "source" if last.endswith(".py") else "bytecode"
    else:
        return None
    if name != "__init__":
        return Module(folder, name, form)
    outer, _, package = folder.rpartition("/")
    return Module(outer, package, "package") if package else None


def script_beside(names: Collection[str], name: str) -> str:
    """Another script of the same stem, for which `require` and bundlers may take a new one; `` if there is none."""
    stem, ending = os.path.splitext(name)
    if ending not in _SCRIPTS:
        return ""
    others = (f"{stem}{other}" for other in _SCRIPTS if other != ending)
    return next((other for other in others if other in names), "")


class Shadows:
    """Knows which modules of the base are frozen, and what they import.

    Args:
        view: the base's tree as evaluations see it, in `objects`.
        is_frozen: whether a path from the repository's top is.
    """

    def __init__(self, objects: Repository, view: str, is_frozen: Callable[[str], bool]) -> None:
        self._objects, self._view, self._is_frozen = objects, view, is_frozen

    def words(self, module: Module, has: Callable[[str], bool]) -> str:
        """Why a new module may not be there, `` where it may.

        Args:
            has: whether the candidate has a file.
        """
        if other := self._frozen_beside(module):
            return f"{module.name} would be imported from it, and no longer from {one_line(other)}, which is frozen"
        if self._is_there(module) or not self._is_searched(module.folder, has):
            return ""
        if module.name in sys.stdlib_module_names:
            return f"it hides the standard library's {module.name}"
        if user := self._importer(module):
            return f"it hides the {module.name} that {one_line(user)} imports, which is frozen"
        return ""

    def script(self, full: str) -> str:
        """The frozen script beside a new one of the same stem, `` where there is none."""
        folder, _, name = full.rpartition("/")
        other = script_beside(self._listed(folder), name)
        path = f"{folder}/{other}" if folder else other
        return path if other and self._is_frozen(path) else ""

    def _listed(self, folder: str) -> dict[str, str]:
        """Names in a folder of the base with their modes."""
        entry = self._objects.find(self._view, folder) if folder else ("40000", self._view)
        if entry is None or entry[0] != "40000":
            return {}
        return {name: mode for name, (mode, _) in self._objects.tree(entry[1]).items()}

    def _modules(self, folder: str) -> list[tuple[str, Module]]:
        names = self._listed(folder)
        paths = [f"{folder}/{name}" if folder else name for name in names]
        found = [(path, module_of(path)) for path in paths]
        return [(path, m) for path, m in found if m is not None and m.folder == folder]

    def _frozen_beside(self, module: Module) -> str:
        """A frozen module of the same name that would not be found any more."""
        rank = _FORMS.index(module.form)
        inside = module.beside(module.name)
        package = [f"{inside}/{name}" for name in self._listed(inside)]
        inits = [p for p in package if (m := module_of(p)) is not None and m.form == "package" and m.folder == module.folder]
        if inits:
            return inits[0] if module.form == "package" and self._is_frozen(inits[0]) else ""
        for path, other in self._modules(module.folder):
            if other.name == module.name and _FORMS.index(other.form) > rank and self._is_frozen(path):
                return path
        return next((p for p in package if p.endswith(".py") and self._is_frozen(p)), "")

    def _is_there(self, module: Module) -> bool:
        """Whether the base has a module of that name there, which is then editable."""
        inside = module.beside(module.name)
        return any(other.name == module.name for _, other in self._modules(module.folder)) or any(
            (m := module_of(f"{inside}/{name}")) is not None and m.form == "package" and m.name == module.name
            for name in self._listed(inside)
        )

    def _is_searched(self, folder: str, has: Callable[[str], bool]) -> bool:
        """Whether modules may be looked for in a folder by bare name: one that is no package, or where a script is run."""
        init = f"{folder}/__init__.py" if folder else "__init__.py"
        lead = f"{folder}/" if folder else ""
        sources = [lead + name for name in self._listed(folder) if name.endswith(".py") and name != "__init__.py"]
        scripts = [path for path in sources if self._is_frozen(path)]
        if not scripts:
            return not has(init)
        if self._objects.find(self._view, init) is None:
            return True
        return any(b"__main__" in self._read(path) for path in scripts)

    def _importer(self, module: Module) -> str:
        """A frozen file in the folder or below it that imports a module of that name."""
        for path in self._mentions(module)[:_MOST]:
            if self._is_frozen(path) and module.name in imported(self._read(path)):
                return path
        return ""

    def _mentions(self, module: Module) -> list[str]:
        words = ("import", "import_module", "__import__")
        either = [part for word in words for part in ("--or", "-e", word)][1:]
        where = ["--", f":(literal){module.folder}"] if module.folder else []
        pattern = ("(", *either, ")", "--and", "-e", module.name)
        try:
            found = self._objects.call("grep", "-l", "-z", "-w", "-F", "--full-name", *pattern, self._view, *where)
        except RepositoryError:  # git's way to say "none"
            return []
        rows = [row.partition(":")[2] for row in found.decode("utf-8", "surrogateescape").split("\0") if row]
        return [row for row in rows if row.endswith(".py")]

    def _read(self, path: str) -> bytes:
        entry = self._objects.find(self._view, path)
        return self._objects.read(entry[1]) if entry is not None and entry[0].startswith("100") else b""


def imported(source: bytes) -> frozenset[str]:
    """The top-level names that a Python source imports, also by `import_module` and `__import__`."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("import_module", "__import__"):
            found |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    return frozenset(name.partition(".")[0] for name in found)
