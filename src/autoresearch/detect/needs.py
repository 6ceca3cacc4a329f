"""What a tree of the project needs beyond git: inputs, copies, caches, a set-up; and its Python."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from autoresearch.detect.files import Files

_DATABASES = (".db", ".sqlite", ".sqlite3")
_DATA = (
    *(
        ".csv",
        ".tsv",
        ".parquet",
        ".arrow",
        ".feather",
        ".npy",
        ".npz",
        ".pt",
        ".pth",
        ".ckpt",
        ".safetensors",
        ".gguf",
        ".onnx",
    ),
    *(".h5", ".hdf5", ".pkl", ".bin", ".jsonl", ".zip", ".gz", ".zst", ".tar", ".mmap", ".idx"),
)
_OUTPUTS = re.compile(
    "dist|out|outputs?|coverage|htmlcov|build|target|bin|obj|te?mp|logs?|results|runs|wandb|mlruns|site|.*[.]egg-info|[.].*"
)


@dataclass(frozen=True, slots=True)
class Needs:
    """As the keys of `[evaluate]`.

    Attributes:
        python: what a Python script of the project is run with, as the beginning of a command.
    """

    inputs: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    cache: tuple[str, ...] = ()
    setup: str = ""
    python: str = "python"


def needs(files: Files) -> Needs:
    """What git does not know and a tree needs. An environment that is there is shown; one that is not is set up."""
    inputs: list[str] = []
    copies: list[str] = []
    cache: list[str] = []
    for path in files.unknown:
        name = path.rstrip("/").rpartition("/")[2]
        if not path.endswith("/"):
            (copies if path.endswith(_DATABASES) else inputs if path.endswith(_DATA) else []).append(path)
        elif (name == "target" and files.has("Cargo.toml")) or (name == "build" and files.has("CMakeLists.txt")):
            cache.append(path.rstrip("/"))
        elif _is_needed(files, path, name):
            inputs.append(path.rstrip("/"))
    setup = " && ".join(_setups(files))
    return Needs(tuple(inputs), tuple(copies), tuple(cache), setup, _python(files, setup))


def for_command(files: Files, need: Needs, command: str) -> Needs:
    """The same where the command is known: `uv run` brings its environment up to date, and cannot in one that is shown."""
    if not re.search(r"\buv run\b(?!.*--no-sync)", command) or not files.has("pyproject.toml") or need.setup:
        return need
    setup = "uv sync --frozen" if files.has("uv.lock") else "uv sync"
    return replace(need, inputs=tuple(path for path in need.inputs if path not in (".venv", "venv")), setup=setup)


def missing(files: Files, command: str, editable: tuple[str, ...]) -> tuple[str, ...]:
    """Files that a command names and that git does not know: without them the command would find nothing."""
    if files.location is None:
        return ()
    try:
        words = shlex.split(command)
    except ValueError:
        return ()
    named = [os.path.normpath(word) for word in words if not word.startswith(("-", "/"))]
    return tuple(w for w in dict.fromkeys(named) if w in files.sources and w not in files.tracked and w not in editable)


def _is_needed(files: Files, path: str, name: str) -> bool:
    if name in ("node_modules", ".pixi") or (files.folder / path / "pyvenv.cfg").is_file():
        return True
    if _OUTPUTS.fullmatch(name):
        return False
    return not any(
        source.startswith(path) and source.endswith((".py", ".js", ".ts", ".rs", ".go", ".c")) for source in files.sources
    )


def _setups(files: Files) -> Iterator[str]:
    has_environment = any(files.has(f"{name}/pyvenv.cfg") for name in (".venv", "venv")) or files.has(".pixi")
    if not has_environment:
        if files.has("uv.lock"):
            yield "uv sync --frozen"
        elif files.has("poetry.lock"):
            yield "POETRY_VIRTUALENVS_IN_PROJECT=true poetry install --no-interaction"
        elif files.has("requirements.txt") and not _installed(files.read("requirements.txt")):
            yield "python -m venv .venv && .venv/bin/python -m pip install -q -r requirements.txt"
    if not files.has("node_modules"):
        for lock, command in (
            ("package-lock.json", "npm ci"),
            ("pnpm-lock.yaml", "pnpm install --frozen-lockfile"),
            ("yarn.lock", "yarn install --frozen-lockfile"),
            ("bun.lock", "bun install --frozen-lockfile"),
            ("bun.lockb", "bun install --frozen-lockfile"),
        ):
            if files.has(lock) and _has_packages(files):
                yield command
                return


def _has_packages(files: Files) -> bool:
    try:
        package = json.loads(files.read("package.json"))
    except ValueError:
        return False
    return isinstance(package, dict) and any(package.get(key) for key in ("dependencies", "devDependencies", "workspaces"))


def _installed(requirements: str) -> bool:
    """Whether this program's own Python, which a leading `python` is, has all the packages."""
    names = re.findall(r"^\s*([A-Za-z0-9][\w.-]*)", requirements, re.MULTILINE)
    try:
        return all(distribution(name) for name in names)
    except PackageNotFoundError:
        return False


def _python(files: Files, setup: str) -> str:
    """The environment's interpreter, which is there or comes by the set-up; the checkout's own packages go by the tree's.

    An editable install leads into the checkout: without PYTHONPATH every evaluation would measure the unchanged code there.
    """
    for name in (".venv", "venv"):
        if files.has(f"{name}/pyvenv.cfg"):
            ways = _editable_ways(files, name)
            return (f"PYTHONPATH={shlex.quote(':'.join(ways))} " if ways else "") + f"{name}/bin/python"
    return ".venv/bin/python" if re.search(r"\buv sync|poetry install|-m venv", setup) else "python"


def _editable_ways(files: Files, environment: str) -> list[str]:
    """Where editable installs of an environment lead within the repository, relative to the folder."""
    top = files.location.top if files.location else files.folder
    found: dict[str, None] = {}
    for site in sorted((files.folder / environment).glob("lib/python*/site-packages")):
        for path in sorted((*site.glob("*.pth"), *site.glob("__editable__*.py"))):
            text = path.read_text(encoding="utf-8", errors="replace")
            lines = (
                text.splitlines() if path.suffix == ".pth" else [os.path.dirname(p) for p in re.findall(r"'(/[^']+)'", text)]
            )
            for line in lines:
                if line.startswith("/") and Path(line).is_relative_to(top.resolve()) and environment not in Path(line).parts:
                    found[os.path.relpath(line, files.folder)] = None
    return list(found)
