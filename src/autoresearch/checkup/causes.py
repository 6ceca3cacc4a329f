"""From what a failing evaluation says to the lines that may mend it, the likeliest first. Guesses: each is tried."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from autoresearch.checkup import connections
from autoresearch.checkup.measure import Tried
from autoresearch.checkup.mend import Mend
from autoresearch.checkup.surroundings import Surroundings, first_word, is_built, is_database
from autoresearch.process.environment import KEPT
from autoresearch.records import Outcome
from autoresearch.taskfile import Task

Change = tuple[Mend, ...]
"""Mends that only make sense together."""

_FEW = 20  # files of Git LFS that a line of the task file may name
_CACHES = ("cache", "target", "build", "dist", "out", "node_modules/.cache", ".next", ".turbo", "tmp", "temp", "logs", "runs")
_MISSING = re.compile(
    r"no such file|not found|enoent|does not exist|cannot open|can't open|unable to open|cannot find|could not find|missing|"
    r"not a directory|no files? match|filenotfound|cannot stat|can't find|not exist|failed to (?:open|read|load)|os error 2",
    re.IGNORECASE,
)
_READONLY = re.compile(r"read-?only|erofs|permission denied|eacces|eperm|\[errno 30\]|\[errno 13\]", re.IGNORECASE)
_MODULE = re.compile(r"(?:No module named|cannot import name .* from) ['\"]?([\w.]+)")
_NODE_MODULE = re.compile(r"Cannot find (?:module|package) '([^']+)'")
_PROGRAM = re.compile(r"(?:^|[\s:])([\w./+-]+): (?:\d+: )?(?:command )?not found|^([\w./+-]+): No such file or directory", re.M)
_TOKEN = re.compile(r"\"([^\"\n]{1,400})\"|'([^'\n]{1,400})'|`([^`\n]{1,400})`|([^\s\"'`()\[\]{},;=<>]{1,400})")
_NAME = re.compile(r"\b[A-Z][A-Z0-9_]{2,}\b")
_UNSET = re.compile(r"KeyError|not set|undefined|unset|missing|required|environ|must be set|not defined|unbound", re.IGNORECASE)


def hints(tried: Tried, task: Task, near: Surroundings) -> Iterator[Change]:
    """Changes of the task file that may bring a failing evaluation further."""
    text = tried.output + "\n" + tried.readout.words
    seen: set[Change] = set()
    for change in (
        *_written(tried, text, task, near),
        *_tools(text, task, near),
        *_pointers(task, near),
        *_modules(text, task, near),
        *_programs(text, task, near),
        *_files(tried, text, task, near),
        *_variables(text, task, near),
        *_parts(text, task, near),
        *economies(task, near),
        *_databases(text, task, near),
        *connections.daemons(text, task),
        *connections.hints(text, task, near),
    ):
        if change not in seen:
            seen.add(change)
            yield change


# -- files that are not there ---------------------------------------------------------------------------------------------


def tokens(text: str) -> list[str]:
    """What looks like a path or a name, from the lines that speak of something missing first, the last of them first."""
    rows = [row for row in reversed(text.splitlines()[-400:]) if row.strip()]
    rows.sort(key=lambda row: _MISSING.search(row) is None)
    found: dict[str, None] = {}
    for row in rows:
        for match in _TOKEN.finditer(row):
            token = next(group for group in match.groups() if group is not None).strip().rstrip(":.,")
            token = token.removeprefix("file://")
            if token and len(token) > 1:
                found.setdefault(token)
    return list(found)


def _files(tried: Tried, text: str, task: Task, near: Surroundings) -> Iterator[Change]:
    known = {name.rstrip("/") for name in (*task.evaluate.inputs, *task.evaluate.copies, *task.evaluate.cache)}
    words = tokens(text)
    for token in words:
        for name in _places(token, tried, near):
            yield from (_made if name.rstrip("/") in known else _show)(name, token, task, near)
    for token in words[:200]:  # only the file's own name, or a path from another folder
        for entry in near.unknown[:200]:
            bare = entry.rstrip("/")
            tail = f"/{token.lstrip('./')}"
            same = f"/{bare}".endswith(tail) or (entry.endswith("/") and (near.project / bare / token.lstrip("./")).exists())
            if len(tail) > 3 and same and bare not in known:
                yield from _show(bare, token, task, near)


def _places(token: str, tried: Tried, near: Surroundings) -> list[str]:
    """What a path of the failing evaluation is on the owner's side: a name for `inputs`."""
    path = re.split(r"[*?\[]", token)[0] if "/" in token else token
    path = re.sub(r":\d+(?::\d+)?$", "", path)
    for prefix, inside in ((tried.home, True), (tried.folder, False), (near.project, False), (near.home, True)):
        start = f"{prefix}/"
        if path.startswith(start) and str(prefix) != "/":
            rest = path[len(start) :]
            return [near.in_home(rest)] if inside and near.in_home(rest) else [] if inside else _in_project(rest, near)
    if path.startswith("~/"):
        return [name] if (name := near.in_home(path[2:])) else []
    if path.startswith("/"):
        return connections.beyond(path)
    if path.startswith("../"):
        return [os.path.normpath(path)] if (near.project / path).exists() else []
    return _in_project(path, near) or ([name] if path.startswith(".") and (name := near.in_home(path)) else [])


def _in_project(path: str, near: Surroundings) -> list[str]:
    path = os.path.normpath(path)
    if not (near.project / path).exists():
        return []
    entry = near.is_unknown(path)
    if entry:
        return [entry]
    return [e.rstrip("/") for e in near.unknown if e.startswith(f"{path}/")][:20]


def _show(name: str, token: str, task: Task, near: Surroundings) -> Iterator[Change]:
    """Ways to have a file that git does not know: built, where it is what a build makes; else shown as an input."""
    yield from _made(name, token, task, near)
    path = near.project / os.path.expanduser(name)
    because = f"the command looks for {token}, which git does not know"
    if not near.protected and is_database(path):
        yield (Mend("evaluate", "copy", add=name, because=because, kind="copy"),)
        return
    if name.startswith("~"):
        because = f"the command looks for {name}, and an evaluation has a HOME of its own"
    yield (Mend("evaluate", "inputs", add=name, because=because, kind="home" if name.startswith("~") else "file"),)


def _made(name: str, token: str, task: Task, near: Surroundings) -> Iterator[Change]:
    """The build, where it makes the file; also of one that lies in a cache, which is empty at first."""
    if not name.startswith("~") and is_built(near.project / name) and near.build and not task.evaluate.build:
        because = f"the command looks for {token}, which git does not know and `{near.build}` makes"
        yield (Mend("evaluate", "build", near.build, because=because, kind="build"),)


def _parts(text: str, task: Task, near: Surroundings) -> Iterator[Change]:
    """The folder of a tracked file that [task] paths leaves out, where the command looks for a file or module of its name."""
    if not task.task.paths:
        return
    shown = [os.path.normpath(part) for part in task.task.paths]
    wanted = {name.split(".")[0] for name in _MODULE.findall(text)} | {os.path.basename(t) for t in tokens(text)[:40]}
    for path in near.tracked:
        folder, name = os.path.split(path)
        stem = name.removesuffix(".py")
        found = os.path.basename(folder) if name == "__init__.py" else name if name in wanted else stem
        folder = os.path.dirname(folder) if name == "__init__.py" else folder
        if found in wanted and folder and not any(f"{folder}/".startswith(f"{part}/") for part in shown):
            because = f"the command looks for {found}, which lies in {folder}, outside [task] paths"
            yield (Mend("task", "paths", add=folder, because=because, kind="file"),)


def _pointers(task: Task, near: Surroundings) -> Iterator[Change]:
    """A set-up that puts the files which git holds as LFS pointers into each tree."""
    if near.pointers and len(near.pointers) <= _FEW:
        copies = fetch(near.pointers, near)
        setup = f"{copies} && {task.evaluate.setup}" if task.evaluate.setup else copies
        because = f"git holds {', '.join(near.pointers)} as a Git LFS pointer, and trees have what git holds"
        yield (Mend("evaluate", "setup", setup, because=because, kind="file"),)


def fetch(paths: Sequence[str], near: Surroundings) -> str:
    """The command that copies files from the checkout into a tree."""
    return " && ".join(shlex.join(["cp", str(near.project / path), path]) for path in paths)


# -- modules and programs -------------------------------------------------------------------------------------------------


def _modules(text: str, task: Task, near: Surroundings) -> Iterator[Change]:
    for name in dict.fromkeys(m[1] for m in _MODULE.finditer(text)):
        top = name.split(".")[0]
        for folder in ("src", "lib", "python", "."):
            if any((near.project / folder / p).exists() for p in (f"{top}/__init__.py", f"{top}.py", top)) and folder != ".":
                yield (python_path(task.evaluate.command, folder, f"module {top} lies in {folder}/"),)
        yield from _environments(task, near, f"module {name} is not in the Python that autoresearch runs on")
        yield from _syncs(task, near, f"module {name} is missing")
    for name in dict.fromkeys(m[1] for m in _NODE_MODULE.finditer(text)):
        modules = near.nearest("node_modules")
        if modules and not name.startswith("/"):
            yield (Mend("evaluate", "inputs", add=modules, because=f"module {name} is missing", kind="file"),)
    if "Cannot find module" in text or "ERR_MODULE_NOT_FOUND" in text:
        yield from _packages(near, "modules are missing")


def _environments(task: Task, near: Surroundings, because: str) -> Iterator[Change]:
    """Run the command with the project's own environment."""
    command = task.evaluate.command
    active = near.environ.get("VIRTUAL_ENV", "")
    for name in near.environments:
        show = Mend("evaluate", "inputs", add=name, because=f"{because}, {name} has its own", kind="file")
        other = with_python(command, f"{name}/bin/python")
        if other != command:
            yield (Mend("evaluate", "command", other, because=f"{because}; {name} is the project's", kind="interpreter"), show)
        else:
            yield (show,)
    if active and not Path(active).is_relative_to(near.project) and (Path(active) / "bin/python").is_file():
        other = with_python(command, f"{active}/bin/python")
        if other != command:
            yield (Mend("evaluate", "command", other, because=f"{because}; {active} is active here", kind="interpreter"),)
    for program in ("python", "python3"):
        found = shutil.which(program, path=near.environ.get("PATH"))
        if found and os.path.realpath(found) != os.path.realpath(near.python):
            other = with_python(command, found)
            if other != command:
                yield (Mend("evaluate", "command", other, because=f"{because}; your shell's is {found}", kind="interpreter"),)


def _syncs(task: Task, near: Surroundings, because: str) -> Iterator[Change]:
    if (near.project / "uv.lock").is_file() and shutil.which("uv") and not task.evaluate.setup:
        setup = Mend("evaluate", "setup", "uv sync --frozen", because=because, kind="setup")
        other = with_python(task.evaluate.command, ".venv/bin/python")
        yield (setup, Mend("evaluate", "command", other, because=because)) if other != task.evaluate.command else (setup,)


def economies(task: Task, near: Surroundings) -> Iterator[Change]:
    """`uv run` makes an environment in each tree, without what the owner's HOME has of it."""
    if makes_environment(task):
        words = "`uv run` makes an environment for each evaluation; a set-up makes it once, with what your HOME has of it"
        yield (_sync(near, words),)


def _sync(near: Surroundings, because: str) -> Mend:
    command = "uv sync --frozen" if (near.project / "uv.lock").is_file() else "uv sync"
    return Mend("evaluate", "setup", command, because=because, kind="setup")


def makes_environment(task: Task) -> bool:
    """Whether each evaluation makes a Python environment of its own."""
    return (
        bool(re.search(r"\buv run\b", task.evaluate.command))
        and not task.evaluate.setup
        and ".venv" not in task.evaluate.inputs
    )


def _packages(near: Surroundings, because: str) -> Iterator[Change]:
    if modules := near.nearest("node_modules"):
        yield (Mend("evaluate", "inputs", add=modules, because=because, kind="file"),)
    if (near.project / "package-lock.json").is_file():
        yield (Mend("evaluate", "setup", "npm ci", because=because, kind="setup"),)


def with_python(command: str, python: str) -> str:
    """The command with another interpreter in place of its leading `python`."""
    return re.sub(r"^(\s*(?:[A-Za-z_]\w*=\S*\s+)*)python3?(?=\s|$)", lambda m: m[1] + python, command)


def python_path(command: str, folder: str, because: str) -> Mend:
    """Let the tree's own code go before whatever is installed."""
    return Mend("evaluate", "command", f"PYTHONPATH={folder} {command}", because=because, kind="interpreter")


def _programs(text: str, task: Task, near: Surroundings) -> Iterator[Change]:
    names = [m[1] or m[2] for m in _PROGRAM.finditer(text)]
    command = task.evaluate.command
    for name in dict.fromkeys(os.path.basename(n) for n in names if n):
        if found := near.nearest(f"node_modules/.bin/{name}"):
            modules = os.path.dirname(os.path.dirname(found))
            because = f"{name} is in {modules}, which git does not know"
            show = Mend("evaluate", "inputs", add=modules, because=because, kind="file")
            yield (show,)
            if first_word(command, near.python) == name:
                path = re.sub(rf"\b{re.escape(name)}\b", found, command, count=1)
                yield (Mend("evaluate", "command", path, because=because, kind="interpreter"), show)
        for environment in near.environments:
            if (near.project / environment / "bin" / name).exists():
                because = f"{name} is in {environment}, which git does not know"
                show = Mend("evaluate", "inputs", add=environment, because=because, kind="file")
                if f"{environment}/" in command:
                    yield (show,)
                else:
                    path = re.sub(rf"(?<![\w/.-]){re.escape(name)}\b", f"{environment}/bin/{name}", command, count=1)
                    yield (Mend("evaluate", "command", path, because=because, kind="interpreter"), show)


_TOOLS = (
    *(("rustup", ".rustup"), ("rustup|cargo", ".cargo"), ("pyenv", ".pyenv"), ("asdf", ".asdf"), ("nvm", ".nvm")),
    *(("volta", ".volta"), ("rbenv", ".rbenv"), ("mise", ".local/share/mise"), ("sdkman", ".sdkman")),
)
"""Words of programs that are shims, and where in HOME they look for what they stand for."""


def _tools(text: str, task: Task, near: Surroundings) -> Iterator[Change]:
    for words, folder in _TOOLS:
        if not re.search(rf"\b(?:{words})\b", text):
            continue
        tool = words.split("|")[-1]
        for name in (f"{tool.upper()}_{end}" for end in ("HOME", "ROOT", "DIR", "DATA_DIR")):
            if name in near.environ and name not in task.evaluate.env:
                because = f"{tool} looks into the folder that {name} names"
                yield (Mend("evaluate", "env", add=name, because=because, kind="variable"),)
        if (near.home / folder).is_dir() and f"~/{folder}" not in task.evaluate.inputs:
            because = f"{tool} looks into ~/{folder}, and an evaluation has a HOME of its own"
            yield (Mend("evaluate", "inputs", add=f"~/{folder}", because=because, kind="home"),)


# -- variables ------------------------------------------------------------------------------------------------------------


_POSTGRES = ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGPASSFILE", "PGSERVICE", "PGSSLMODE")
"""What its client reads without saying so."""


def _variables(text: str, task: Task, near: Surroundings) -> Iterator[Change]:
    rows = [row for row in reversed(text.splitlines()[-400:]) if _NAME.search(row)]
    rows.sort(key=lambda row: _UNSET.search(row) is None)
    names = dict.fromkeys(name for row in rows for name in _NAME.findall(row))
    if re.search(r"p[gs]sql|postgres|psycopg|libpq|connection to server", text, re.IGNORECASE):
        names |= dict.fromkeys(name for name in _POSTGRES if name in near.environ)
    for name in names:
        if name in near.environ and name not in task.evaluate.env and passable(name):
            because = f"the command reads {name} from the environment"
            passed = Mend("evaluate", "env", add=name, because=because, kind="variable")
            if leads := connections.unreached(task, near.environ, [name]):
                yield (passed, connections.opened(task, leads, f"{name} leads to {', '.join(leads)}"))
            yield (passed,)
        for entry in near.unknown:
            if os.path.basename(entry).startswith(".env") and name in _text(near.project / entry):
                because = f"{name} stands in {entry}, which git does not know"
                yield (Mend("evaluate", "inputs", add=entry, because=because, kind="file"),)


def passable(name: str) -> bool:
    """Whether a variable can be passed by `env`, and is not passed or ours anyway."""
    ours = name in ("HOME", "TMPDIR", "PWD", "OLDPWD", "SHLVL", "_") or name.startswith("AUTORESEARCH_")
    return name not in KEPT and not ours and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is not None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:100_000] if path.is_file() else ""
    except OSError:
        return ""


# -- what is written ------------------------------------------------------------------------------------------------------


def _written(tried: Tried, text: str, task: Task, near: Surroundings) -> Iterator[Change]:
    """Inputs that the command writes: a copy of its own each time, or a cache."""
    inputs = [name for name in task.evaluate.inputs if not name.startswith(("/", "~"))]
    if tried.readout.outcome is Outcome.TAMPERING:
        for name in inputs:
            if str((near.project / name).resolve()) in tried.readout.words:
                yield from _writable(name, task, near)
        return
    if not _READONLY.search(text):
        return
    rows = "\n".join(row for row in text.splitlines() if _READONLY.search(row))
    for name in inputs:
        if any(t == name or f"{t}/".startswith(f"{name}/") or f"/{name}/" in f"{t}/" for t in tokens(rows)):
            yield from _writable(name, task, near)
    for name in inputs:
        if is_database(near.project / name):
            yield from _writable(name, task, near)


def _writable(name: str, task: Task, near: Surroundings) -> Iterator[Change]:
    because = f"the command writes {name}, and inputs are read-only"
    out = Mend("evaluate", "inputs", drop=name, because=because)
    if name in near.environments and re.search(r"\buv run\b", task.evaluate.command) and not task.evaluate.setup:
        yield (
            out,
            _sync(near, f"`uv run` brings {name} up to date, and inputs are read-only; a set-up makes one for each tree"),
        )
    copy = Mend("evaluate", "copy", add=name, because=because, kind="copy")
    if (near.project / name).is_dir() and (os.path.basename(name).lstrip(".") in _CACHES or "cache" in name):
        yield (out, Mend("evaluate", "cache", add=name, because=because, kind="cache"))
    yield (out, copy)


def _databases(text: str, task: Task, near: Surroundings) -> Iterator[Change]:
    """A database that could not be opened is seldom named."""
    if not re.search(r"database|no such table|sqlite", text, re.IGNORECASE):
        return
    for entry in near.unknown:
        bare = entry.rstrip("/")
        if not entry.endswith("/") and is_database(near.project / entry) and bare not in task.evaluate.copies:
            because = f"{bare} is a database that git does not know"
            if bare not in task.evaluate.inputs and near.protected:
                yield (Mend("evaluate", "inputs", add=bare, because=because, kind="file"),)
            yield (
                Mend("evaluate", "inputs", drop=bare, because=because),
                Mend("evaluate", "copy", add=bare, because=because, kind="copy"),
            )
