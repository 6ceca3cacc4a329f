"""What lies around a project that a sealed tree does not have: files git does not know, environments, HOME, variables."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from autoresearch import git
from autoresearch.errors import RepositoryError
from autoresearch.process.environment import argv
from autoresearch.taskfile import Scope

_NEVER = ("__pycache__", ".autoresearch", ".git", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".DS_Store")
_OWN = ("autoresearch.toml", "program.md")
_DEEPER = (".cache", ".config", ".local", ".local/share", ".local/state", "Library")
_BUILDS: tuple[tuple[str, str], ...] = (
    ("Makefile", "make"),
    ("makefile", "make"),
    ("Cargo.toml", "cargo build --release"),
    ("CMakeLists.txt", "cmake -S . -B build && cmake --build build"),
    ("meson.build", "meson setup build && meson compile -C build"),
    ("build.sh", "sh build.sh"),
    ("go.mod", "go build ./..."),
    ("setup.py", "python setup.py build_ext --inplace"),
)
_LFS = "^version https://git-lfs.github.com/spec/"
_DATABASES = (".db", ".sqlite", ".sqlite3", ".duckdb", ".mdb")


@dataclass(frozen=True)
class Surroundings:
    """The owner's side of the wall.

    Attributes:
        project: the project's folder; `unknown` what git does not know in it, folders with a final slash.
        python: the interpreter that a leading `python` stands for.
        protected: inputs cannot be written by an evaluation.
    """

    project: Path
    unknown: tuple[str, ...]
    home: Path
    environ: Mapping[str, str]
    python: str
    protected: bool = True

    def is_unknown(self, path: str) -> str:
        """The entry of `unknown` that a path relative to the project is or lies in, or ``."""
        path = os.path.normpath(path)
        for entry in self.unknown:
            bare = entry.rstrip("/")
            if path == bare or (entry.endswith("/") and path.startswith(entry)):
                return bare
        return ""

    @cached_property
    def environments(self) -> tuple[str, ...]:
        """Python environments in the project's folder, and above it in its repository, as paths relative to it."""
        found = [e.rstrip("/") for e in self.unknown if (self.project / e / "pyvenv.cfg").is_file()]
        found.sort(key=lambda e: (e not in (".venv", "venv", "env"), e))
        above = [name for e in (".venv", "venv") if (name := self.nearest(f"{e}/pyvenv.cfg"))]
        return tuple(dict.fromkeys([*found, *(os.path.dirname(name) for name in above)]))

    def nearest(self, name: str) -> str:
        """Where something lies in the project's folder or above it in its repository, relative to it; `` if nowhere."""
        folder = self.project
        while not (folder / name).exists():
            if (folder / ".git").exists() or folder == folder.parent:
                return ""
            folder = folder.parent
        return os.path.relpath(folder / name, self.project)

    @cached_property
    def tracked(self) -> tuple[str, ...]:
        """Every file of the repository that git knows, relative to the project's folder."""
        return tuple(os.fsdecode(git.run("ls-files", "-z", ":/", cwd=self.project)).split("\0")[:-1])

    @cached_property
    def pointers(self) -> tuple[str, ...]:
        """Files that git holds as pointers of Git LFS and that are whole in the checkout, relative to the project's folder."""
        try:
            rows = git.run("grep", "-lzI", "--cached", "-e", _LFS, "--", ":/", cwd=self.project)
        except RepositoryError:  # so git says that there are none
            return ()
        return tuple(path for path in os.fsdecode(rows).split("\0")[:-1] if _is_whole(self.project / path))

    @cached_property
    def build(self) -> str:
        """The command that builds this kind of project, or ``."""
        package = self.project / "package.json"
        if package.is_file() and re.search(r'"build"\s*:', package.read_text(encoding="utf-8", errors="replace")):
            return "npm run build"
        return next((command for name, command in _BUILDS if (self.project / name).is_file()), "")

    def in_home(self, path: str) -> str:
        """The part of HOME to show for a path relative to it, as `~/.cache/name`; `` if there is nothing."""
        parts = Path(os.path.normpath(path)).parts
        if not parts or parts[0] in ("..", "/") or not (self.home / path).exists():
            return ""
        depth = 1
        while depth < len(parts) and "/".join(parts[:depth]) in _DEEPER:
            depth += 1
        return "~/" + "/".join(parts[:depth])


def look(project: Path, python: str, scope: Scope, *, protected: bool = True) -> Surroundings:
    """Look around a project, at git's list of what it does not know; an editable file is to be committed, not shown."""
    fresh = {row for row in _others(project, "--exclude-standard") if (f"{row}x" if row.endswith("/") else row) in scope}
    unknown = tuple(row for row in _others(project) if _counts(row) and row not in fresh)
    home = Path(os.environ.get("HOME") or "/nonexistent")
    return Surroundings(project, unknown, home, dict(os.environ), python, protected)


def _others(project: Path, *flags: str) -> list[str]:
    rows = os.fsdecode(git.run("ls-files", "--others", "--directory", "-z", *flags, cwd=project)).split("\0")
    return [row for row in rows if row]


def _counts(row: str) -> bool:
    parts = row.rstrip("/").split("/")
    return not any(part in _NEVER for part in parts) and row not in _OWN and not row.endswith((".pyc", "~", ".swp"))


def _is_whole(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return not file.read(len(_LFS)).startswith(_LFS[1:].encode())
    except OSError:
        return False


def is_database(path: Path) -> bool:
    """Whether a file is a database that a program keeps in a file."""
    if path.suffix in _DATABASES:
        return True
    try:
        with open(path, "rb") as file:
            return file.read(15) == b"SQLite format 3"
    except OSError:
        return False


def is_built(path: Path) -> bool:
    """Whether something git does not know is what a build made: a program, a library, a folder of that name."""
    if path.is_dir():
        return path.name in ("build", "dist", "target", "out", "bin", "lib", "obj", ".next", "_build") or path.name.endswith(
            ".egg-info"
        )
    try:
        with open(path, "rb") as file:
            return file.read(4) in (b"\x7fELF", b"\xcf\xfa\xed\xfe") or path.suffix in (".so", ".o", ".a", ".dylib", ".wasm")
    except OSError:
        return False


def interpreters(command: str, near: Surroundings, inputs: Sequence[str]) -> list[Path]:
    """The Python interpreters that a command may run, the likeliest first."""
    found = []
    for word in re.findall(r"[\w./~+-]*python[\d.]*\b", command)[:3]:
        if word == "python":
            found.append(Path(near.python))
        elif "/" in word:
            found.append(near.project / os.path.expanduser(word))
        elif which := shutil.which(word):
            found.append(Path(which))
    found += _named_by(first_word(command, near.python), near)
    for name in (*inputs, *near.environments):
        found.append(near.project / name / "bin" / "python")
    return list(dict.fromkeys(path for path in found if path.is_file()))


def _named_by(program: str, near: Surroundings) -> list[Path]:
    """The interpreter that a script (`pytest`, `.venv/bin/bench`) names in its first line."""
    path = near.project / program if "/" in program else Path(shutil.which(program) or "/nonexistent")
    try:
        with open(path, "rb") as file:
            line = file.readline(400).decode("utf-8", "replace").strip()
    except OSError:
        return []
    return [Path(line[2:].split()[0])] if line.startswith("#!") and "python" in line and "/env" not in line else []


def site_folders(python: Path) -> list[Path]:
    """Where an interpreter finds what is installed."""
    script = "import sys; print('\\n'.join(p for p in sys.path if p))"
    try:
        done = subprocess.run([str(python), "-c", script], capture_output=True, text=True, timeout=30, check=False, cwd="/")
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [Path(line) for line in done.stdout.splitlines() if "-packages" in line]


def first_word(command: str, python: str) -> str:
    """The program that a command starts, past variables set in front of it."""
    words = argv(command, python)
    text = words[2] if words[:2] == ["/bin/sh", "-c"] else words[0]
    return next((w for w in text.split() if not re.match(r"\w+=", w)), "")
