"""Why an evaluation does not run the candidate, where it can be told, and the lines that make it."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autoresearch.checkup.causes import Change, python_path
from autoresearch.checkup.measure import Sealed
from autoresearch.checkup.mend import Mend
from autoresearch.checkup.surroundings import Surroundings, interpreters, is_built, site_folders

_SMALL = 2 * 2**20
_FILES = 4000


@dataclass(frozen=True, slots=True)
class Cause:
    """A reason, and the changes that may mend it, the likeliest first; none where only the owner can."""

    words: str
    changes: tuple[Change, ...] = ()


def find(sealed: Sealed, files: list[str], near: Surroundings) -> list[Cause]:
    """What leads past the candidate, the likeliest first."""
    return [
        *_absolute_command(sealed, near),
        *_installed(sealed, files, near),
        *_links(sealed, near),
        *_absolute_files(sealed, near),
        *_not_rebuilt(sealed, near),
        *_artefacts(sealed, near),
    ]


# -- an absolute path -----------------------------------------------------------------------------------------------------


def _absolute_command(sealed: Sealed, near: Surroundings) -> Iterator[Cause]:
    command = sealed.task.evaluate.command
    for place in _names_of(near.project):
        if f"{place}/" in command:
            other = command.replace(f"{place}/", "")
            words = f"the command names the checkout by its absolute path {place}"
            yield Cause(words, ((Mend("evaluate", "command", other, because=words),),))


def _names_of(project: Path) -> list[str]:
    return list(dict.fromkeys([str(project), str(project.resolve()), os.path.abspath(project)]))


def _absolute_files(sealed: Sealed, near: Surroundings) -> Iterator[Cause]:
    """Tracked files that name the checkout: replaced in each tree by a set-up, until the owner mends them."""
    workspace, prefix = sealed.workspace, sealed.subject.location.prefix
    named: dict[str, str] = {}
    for path, (mode, oid) in workspace.files.items():
        if not mode.startswith("100") or len(named) >= 20:
            continue
        content = workspace.base.repository.read(oid)
        place = next((p for p in _names_of(near.project) if p.encode() in content), None)
        if place is not None and b"\0" not in content and path.startswith(prefix):
            named[path.removeprefix(prefix)] = place
    own = ("autoresearch.toml", sealed.task.task.instructions)
    named = {path: place for path, place in named.items() if path not in own}
    if not named:
        return
    first = next(iter(named))
    content = workspace.base.repository.read(workspace.files[prefix + first][1])
    line = content.split(named[first].encode())[0].count(b"\n") + 1
    yield Cause(
        f"{first}:{line} names the checkout by its absolute path {named[first]}: write it relative there, and commit",
        (_relative(sealed, named, first),),
    )


def _relative(sealed: Sealed, named: dict[str, str], first: str) -> Change:
    place = next(iter(named.values()))
    quoted = re.escape(place).replace("\\/", "/").replace("\\-", "-")
    script = f"s|{quoted}/||g; s|{quoted}|.|g"
    edit = f"sed -i {shlex.quote(script)} {' '.join(shlex.quote(path) for path in named)}"
    setup = sealed.task.evaluate.setup
    because = f"{first} names the checkout by its absolute path; better: write it relative there, and commit"
    return (Mend("evaluate", "setup", f"{setup} && {edit}" if setup else edit, because=because, kind="absolute path"),)


# -- installed code -------------------------------------------------------------------------------------------------------


def _installed(sealed: Sealed, files: list[str], near: Surroundings) -> Iterator[Cause]:
    evaluate = sealed.task.evaluate
    for words, folder, folders in ahead(evaluate.command, files, near, evaluate.inputs):
        changes: list[Change] = [(python_path(evaluate.command, first, words),) for first in folders]
        if _is_input(folder, near, evaluate.inputs) and (near.project / "uv.lock").is_file() and shutil.which("uv"):
            name = _is_input(folder, near, evaluate.inputs)
            out = Mend("evaluate", "inputs", drop=name, because=words)
            changes.append((out, Mend("evaluate", "setup", "uv sync --frozen", because=words, kind="setup")))
        yield Cause(words, tuple(changes))


def ahead(command: str, files: list[str], near: Surroundings, inputs: list[str]) -> Iterator[tuple[str, Path, list[str]]]:
    """Installed code that goes before the candidate's: words, where it is installed, the tree's folders to put first."""
    seen: set[str] = set()
    for python in interpreters(command, near, inputs):
        for folder in site_folders(python):
            for words, inside in _leads(folder, near, files):
                if words not in seen:
                    seen.add(words)
                    yield words, folder, list(dict.fromkeys([inside, *(root for root, _ in _roots(files))]))


def _is_input(folder: Path, near: Surroundings, inputs: list[str]) -> str:
    return next((n for n in inputs if folder.is_relative_to(near.project / n)), "")


def _leads(folder: Path, near: Surroundings, files: list[str]) -> Iterator[tuple[str, str]]:
    """What in a folder of installed packages goes before the candidate: words, and the candidate's folder to put first."""
    roots = _roots(files)
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        path = folder / name
        if name.endswith(".pth") or (name.startswith("__editable__") and name.endswith(".py")):
            text = path.read_text(encoding="utf-8", errors="replace")
            place = next((p for p in _names_of(near.project) if re.search(rf"{re.escape(p)}(?=[/'\"\s]|$)", text)), None)
            if place is not None:
                inside = re.search(rf"{re.escape(place)}/?([\w./-]*)", text)
                yield f"an editable install points into the checkout: {path}", _root(inside[1] if inside else "", roots)
    for root, package in roots:
        if package and (folder / package).exists() and not (folder / package).is_symlink():
            yield f"{package} is installed as a copy in {folder}", root


def _roots(files: list[str]) -> list[tuple[str, str]]:
    """For each editable Python file the folder to import it from, and the top package's name."""
    found: dict[tuple[str, str], None] = {}
    for file in files:
        if file.endswith(".py"):
            parts = file.split("/")
            start = 1 if parts[0] in ("src", "lib", "python") and len(parts) > 1 else 0
            found.setdefault(("/".join(parts[:start]) or ".", parts[start]))
    return list(found)


def _root(inside: str, roots: list[tuple[str, str]]) -> str:
    """The folder of the tree to import from instead of the checkout's folder (or package) that an install points at."""
    inside = inside.strip("/") or "."
    for root, package in roots:
        top = package if root == "." else f"{root}/{package}"
        if inside == root or f"{inside}/".startswith(f"{top}/"):
            return root
    return inside


# -- links to the checkout ------------------------------------------------------------------------------------------------


def _links(sealed: Sealed, near: Surroundings) -> Iterator[Cause]:
    evaluate = sealed.task.evaluate
    for name in evaluate.inputs:
        if os.path.basename(name) != "node_modules":
            continue
        for link in _package_links(near.project / name):
            if not link.resolve().is_relative_to(near.project.resolve()) or link.resolve().is_relative_to(near.project / name):
                continue
            target = os.readlink(link)
            words = f"{link.relative_to(near.project)} is a link into the checkout ({target})"
            out = Mend("evaluate", "inputs", drop=name, because=words)
            changes: list[Change] = [(out, Mend("evaluate", "copy", add=name, because=words, kind="copy"))]
            if (near.project / "package-lock.json").is_file():
                changes.append((out, Mend("evaluate", "setup", "npm ci", because=words, kind="setup")))
            if os.path.isabs(target):
                changes.insert(0, _relinked(evaluate.command, name, link, near, words))
            changes.append((out, Mend("evaluate", "setup", _copied(name, link, near), because=words, kind="setup")))
            yield Cause(words, tuple(changes))
            break


def _relinked(command: str, name: str, link: Path, near: Surroundings, words: str) -> Change:
    """A copy of the modules, in which the link leads to the tree's own package."""
    at = os.path.relpath(link, near.project)
    inside = os.path.relpath(os.path.relpath(link.resolve(), near.project.resolve()), os.path.dirname(at))
    relink = f"ln -sfn {shlex.quote(inside)} {shlex.quote(at)}"
    return (
        Mend("evaluate", "inputs", drop=name, because=words),
        Mend("evaluate", "copy", add=name, because=words, kind="copy"),
        Mend("evaluate", "command", f"{relink} && {command}", because=words),
    )


def _copied(name: str, link: Path, near: Surroundings) -> str:
    """A set-up that puts the modules into each tree, where no mount can show a copy at its place."""
    at = os.path.relpath(link, near.project)
    inside = os.path.relpath(os.path.relpath(link.resolve(), near.project.resolve()), os.path.dirname(at))
    words = ["cp", "-a", str(near.project / name), os.path.dirname(name) or ".", "&&", "ln", "-sfn", inside, at]
    return " ".join(word if word == "&&" else shlex.quote(word) for word in words)


def _package_links(folder: Path) -> Iterator[Path]:
    try:
        names = sorted(folder.iterdir())
    except OSError:
        return
    for path in names:
        if path.is_symlink():
            yield path
        elif path.name.startswith("@") and path.is_dir():
            yield from (p for p in sorted(path.iterdir()) if p.is_symlink())


# -- a build that is not made again ---------------------------------------------------------------------------------------


def _not_rebuilt(sealed: Sealed, near: Surroundings) -> Iterator[Cause]:
    evaluate = sealed.task.evaluate
    shown = [n for n in (*evaluate.inputs, *evaluate.copies) if not n.startswith(("/", "~"))]
    built = [n for n in shown if is_built(near.project / n)]
    if evaluate.build or not near.build:
        return
    for name in built:
        words = f"{name} is what a build made in the checkout, and nothing builds it again for a candidate"
        out = tuple(
            Mend("evaluate", key, drop=name, because=words)
            for key, has in (("inputs", evaluate.inputs), ("copy", evaluate.copies))
            if name in has
        )
        build = Mend("evaluate", "build", near.build, because=words, kind="build")
        yield Cause(words, ((*out, build), (*out, build, Mend("evaluate", "cache", add=name, because=words, kind="cache"))))
    if not built:
        words = "nothing builds the candidate before it is measured"
        yield Cause(words, ((Mend("evaluate", "build", near.build, because=words, kind="build"),),))


def _artefacts(sealed: Sealed, near: Surroundings) -> Iterator[Cause]:
    """Built files that name the checkout; only the owner can build them so that they do not."""
    for name in (*sealed.task.evaluate.inputs, *sealed.task.evaluate.copies):
        folder = near.project / name
        if name.startswith(("/", "~")) or os.path.basename(name) == "node_modules" or (folder / "pyvenv.cfg").exists():
            continue
        for path in _naming(folder, near.project):
            yield Cause(f"{path.relative_to(near.project)} names the checkout by its absolute path {near.project}")
            break


def _naming(folder: Path, project: Path) -> Iterator[Path]:
    paths = [folder] if folder.is_file() else (Path(root, name) for root, _, names in os.walk(folder) for name in names)
    for path in itertools.islice(paths, _FILES):
        try:
            if path.is_file() and path.stat().st_size < _SMALL and os.fsencode(project) + b"/" in path.read_bytes():
                yield path
        except OSError:
            continue
