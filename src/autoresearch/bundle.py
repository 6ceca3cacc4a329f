"""A run in one file: its events, the bodies they name, its logs, and a git bundle of its candidates, branch and base.

A tar archive, compressed: `bundle.json` (what is in it, with a SHA-256 of each file), `events.jsonl`, `refs.bundle`,
`files/<hash>`, `experiments/<number>/…`. Nothing of an archive is believed: names, hashes and the chain are checked
before anything is written, and a run appears whole or not at all.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch import git
from autoresearch.errors import AutoresearchError, LedgerError, RepositoryError, SetupError
from autoresearch.history import History
from autoresearch.ledger import SqliteLedger, chain
from autoresearch.lock import OwnerLock
from autoresearch.objects import Repository
from autoresearch.paths import RunPaths
from autoresearch.project import Project, is_run_name
from autoresearch.records import ChainedEvent, Event

FORMAT = 1
_LARGEST = 16 * 2**30  # bytes of one archive, unpacked
_NAMES = re.compile(r"bundle\.json|events\.jsonl|refs\.bundle|files/[0-9a-f]{64}|experiments/[0-9]{6,}(/[^/\0]+)+")
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Packed:
    """What went into a file; `left_out` names logs over the limit."""

    events: int
    experiments: int
    logs: int
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The run that came out of a file, and how many of its events are new here; `known` if it was here already."""

    run: str
    events: int
    experiments: int
    known: bool = False


# -- into a file -------------------------------------------------------------------------------------------------------


def pack(project: Project, location: git.Location, ledger: SqliteLedger, run: str, file: Path, *, limit_bytes: int) -> Packed:
    """Write a run into a file; logs over the limit are left out.

    Raises:
        SetupError: there is nothing to write yet, or the file cannot be written.
    """
    ledger.audit(run)  # what somebody else wrote goes nowhere
    rows = list(ledger.events(run))
    history = _fold(rows)  # of these rows: another process may be at work on the run
    if not history.line:
        raise SetupError(f"run {run} has no baseline yet: there is nothing to export")
    chain.verify(run, rows)
    events = "".join(json.dumps(_row(e), ensure_ascii=False) + "\n" for e in rows).encode()
    logs, left_out = _logs(project.paths.run(run), limit_bytes)
    partial = file.with_name(f".{file.name}.partial")
    try:
        with tempfile.TemporaryDirectory(dir=file.absolute().parent, prefix=".autoresearch-") as scratch:
            members: dict[str, bytes | Path] = {"events.jsonl": events, "refs.bundle": _refs(location, history, Path(scratch))}
            members |= {f"files/{key}": ledger.get(key) for key in _keys(rows, ledger)} | logs
            about = {"format": FORMAT, "run": run, "prefix": location.prefix, "head": rows[-1].hash}
            about |= {"sha256": {name: _hash(body) for name, body in members.items()}}
            _write(partial, {"bundle.json": json.dumps(about, sort_keys=True).encode(), **members})
        os.replace(partial, file)
    except OSError as error:
        raise SetupError(f"cannot write {file}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    return Packed(len(rows), len(history.experiments), len(logs), tuple(left_out))


def _row(e: ChainedEvent) -> list[Any]:
    return [e.n, e.attempt, e.kind, e.at, e.body, e.hash]


def _keys(rows: Iterable[ChainedEvent], ledger: SqliteLedger) -> Iterator[str]:
    """The hashes of the files that events name."""
    found = {key for e in rows for key in _KEY.findall(json.dumps(e.body))}
    return (key for key in sorted(found) if ledger.has(key))


def _logs(names: RunPaths, limit_bytes: int) -> tuple[dict[str, bytes | Path], list[str]]:
    found: dict[str, bytes | Path] = {}
    left_out = []
    for path in sorted(names.experiments.rglob("*")):
        name = f"experiments/{path.relative_to(names.experiments).as_posix()}"
        if path.is_symlink() or not path.is_file() or not _NAMES.fullmatch(name):
            continue
        if path.stat().st_size > limit_bytes:
            left_out.append(name)
        else:
            found[name] = path
    return found, left_out


def _refs(location: git.Location, history: History, scratch: Path) -> Path:
    """A git bundle of the candidates, the branch and the base, made where the user's own refs do not matter.

    Raises:
        RepositoryError: a commit is not in the repository any more.
    """
    own, target = scratch / "git", scratch / "refs.bundle"
    repository = Repository(location.git_dir, scratch / "bodies")
    try:
        formats = ["--object-format=sha256"] if repository.sha256 else []
        git.run("init", "-q", "--bare", "--template=", *formats, str(own))
        (own / "objects" / "info").mkdir(exist_ok=True)
        (own / "objects" / "info" / "alternates").write_text(f"{location.git_dir / 'objects'}\n")
        wanted = refs_of(history)
        gone = [name for name, commit in wanted.items() if not repository.has(commit)]
        if gone:
            raise RepositoryError(f"the commit of {gone[0]} is not in the repository any more: the run cannot be exported")
        rows = "".join(f"create {name} {commit}\n" for name, commit in wanted.items())
        git.run(f"--git-dir={own}", "update-ref", "--stdin", stdin=rows.encode())
        git.run(f"--git-dir={own}", "bundle", "create", "-q", str(target), "--all")
    finally:
        repository.close()
    return target


def refs_of(history: History) -> dict[str, str]:
    """The refs of a run as its ledger has them."""
    assert history.run is not None
    run, base = history.run.run, history.run.base
    found = {f"refs/autoresearch/{run}/{e.n}": e.commit for e in history.experiments if e.n and e.commit}
    found |= {f"refs/autoresearch/{run}/base": base, f"refs/heads/autoresearch/{run}": history.left_at or base}
    if history.tip != history.left_at:
        found[f"refs/autoresearch/{run}/head"] = history.tip
    return found


def _hash(body: bytes | Path) -> str:
    if isinstance(body, bytes):
        return hashlib.sha256(body).hexdigest()
    with open(body, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(target: Path, members: dict[str, bytes | Path]) -> None:
    """A tar archive in which only contents tell one from another: no owners, no times."""
    with (
        open(target, "wb") as raw,
        gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.mode = 0o600
            info.size = len(body) if isinstance(body, bytes) else body.stat().st_size
            with io.BytesIO(body) if isinstance(body, bytes) else open(body, "rb") as file:
                archive.addfile(info, file)


# -- out of a file -----------------------------------------------------------------------------------------------------


def unpack(project: Project, file: Path) -> Unpacked:
    """Take a run out of a file into this project's ledger and repository.

    Raises:
        SetupError: the file is damaged, was tampered with, or does not fit here; nothing was changed.
    """
    location = git.locate(project.folder)
    if location is None:
        raise SetupError(f"{project.folder} is no git repository: clone the project, or `git init`, and import there")
    with _quarantine(project) as folder:
        about = _extract(file, folder)
        run, rows = about["run"], _events(folder / "events.jsonl", about, file)
        history = _fold(rows)
        if about["prefix"] != location.prefix:
            raise SetupError(f"{file}: the project lies in {about['prefix'] or 'the top'!r} of its repository: import it there")
        names = project.paths.run(run)
        is_new = not names.folder.exists()
        ledger = project.ledger()
        try:
            with OwnerLock(names.lock, run):
                known = _known(ledger, run, rows, file)
                if known < len(rows):
                    _take_objects(location, folder, history, _fold(rows[:known]), names)
                    _install(ledger, names, folder, rows, known)
        except BaseException:
            if is_new:
                shutil.rmtree(names.folder, ignore_errors=True)
            raise
        finally:
            ledger.close()
    return Unpacked(run, len(rows) - known, len(history.experiments), known == len(rows))


@contextmanager
def _quarantine(project: Project) -> Iterator[Path]:
    """A folder of ours in which an archive is looked at; one that a kill left goes first."""
    is_new, folder = not project.paths.folder.exists(), project.paths.incoming
    project.paths.make()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(project.paths.folder if is_new else folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _extract(file: Path, folder: Path) -> dict[str, Any]:
    """Lay the archive's files out below a folder, each checked against what the archive says of it."""
    try:
        with tarfile.open(file, mode="r:gz") as archive:
            found = dict(_members(archive, folder, file))
    except FileNotFoundError as error:
        raise SetupError(f"{file} does not exist") from error
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, OSError) as error:
        raise SetupError(f"{file} is damaged or was not written by `autoresearch export --bundle`: {error}") from error
    try:
        about = json.loads((folder / "bundle.json").read_bytes())
        expected, known = about["sha256"], about["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{file} was not written by `autoresearch export --bundle`: it says nothing about itself") from error
    if known > FORMAT:
        raise SetupError(f"{file} has format {known}, this program knows {FORMAT}: update autoresearch")
    found.pop("bundle.json")
    if found != expected:
        wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        raise SetupError(f"{file} was changed or cut off after it was written: {wrong[0]} is not what it was")
    if not isinstance(about.get("run"), str) or not is_run_name(about["run"]):
        raise SetupError(f"{file}: {about.get('run')!r} is no name of a run")
    return dict(about)


def _members(archive: tarfile.TarFile, folder: Path, file: Path) -> Iterator[tuple[str, str]]:
    total, seen = 0, set()
    for member in archive:
        name = member.name
        parts = name.split("/")
        if not member.isreg() or not _NAMES.fullmatch(name) or ".." in parts or "." in parts or name in seen:
            raise SetupError(f"{file} holds {name!r}, which no bundle of ours does: nothing of it was taken")
        seen.add(name)
        total += member.size
        if total > _LARGEST:
            raise SetupError(f"{file} unpacks to more than {_LARGEST / 1e9:.0f} GB: nothing of it was taken")
        body = archive.extractfile(member)
        assert body is not None
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "xb") as out:
            shutil.copyfileobj(body, out)
        yield name, _hash(target)


def _events(path: Path, about: dict[str, Any], file: Path) -> list[ChainedEvent]:
    """The events, their chain checked from its origin to the head."""
    run, rows = about["run"], []
    prev = chain.origin(run)
    try:
        for seq, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            n, attempt, kind, at, body, hash_ = json.loads(line)
            rows.append(ChainedEvent(seq, run, n, attempt, kind, at, body, prev, hash_))
            prev = hash_
        chain.verify(run, rows)
    except (OSError, ValueError, TypeError, LedgerError) as error:
        raise SetupError(f"{file}: {error}") from error
    if not rows or rows[-1].hash != about["head"]:
        raise SetupError(f"{file}: its events do not reach the head that it names")
    return rows


def _fold(rows: Iterable[ChainedEvent]) -> History:
    history = History()
    for event in rows:
        history.take(event)
    return history


def _known(ledger: SqliteLedger, run: str, rows: list[ChainedEvent], file: Path) -> int:
    """How many of the events this ledger has already: none, a beginning after which nothing else was done here, or all.

    Raises:
        SetupError: another run has the name, or this one was gone on with here as well.
    """
    mine = [e.hash for e in ledger.events(run)]
    if rows[-1].hash in mine:
        return len(rows)
    if mine == [e.hash for e in rows[: len(mine)]]:
        return len(mine)
    raise SetupError(
        f"{file}: a run {run} is here already and is another one, or went on here as well. A run keeps its name, which its "
        f"chain of hashes covers: remove the one here with `autoresearch rm {run}` and its branch with "
        f"`git branch -D autoresearch/{run}`, or import in another clone"
    )


def _take_objects(location: git.Location, folder: Path, history: History, before: History, names: RunPaths) -> None:
    """Put the git objects into the repository and set the run's refs, if nothing but its state before stands there.

    Raises:
        SetupError: the names are taken, the branch is checked out, or objects are missing.
    """
    here, wanted, old = f"--git-dir={location.git_dir}", refs_of(history), refs_of(before) if before.run else {}
    repository = Repository(location.git_dir, names.cache / "scratch")
    try:
        standing = repository.refs(f"refs/autoresearch/{names.run}") | repository.refs(f"refs/heads/autoresearch/{names.run}")
        other = [name for name, commit in standing.items() if commit not in (wanted.get(name), old.get(name))]
        if other:
            raise SetupError(f"{other[0]} is here already and stands elsewhere: rename or delete it, then import again")
        branch = f"refs/heads/autoresearch/{names.run}"
        if standing.get(branch, wanted[branch]) != wanted[branch] and branch in repository.checked_out():
            raise SetupError(f"the branch autoresearch/{names.run} is checked out: switch to another one, then import again")
        path = str(folder / "refs.bundle")
        heads = dict(row.split(" ", 1)[::-1] for row in git.run("bundle", "list-heads", path).decode().splitlines())
        if any(heads.get(name) != commit for name, commit in wanted.items()):
            raise SetupError("the bundle's git part does not hold what its events name")
        git.run(here, "bundle", "unbundle", path)
        git.run(here, "rev-list", "--objects", "--quiet", *set(wanted.values()))
        if history.experiments[0].tree != repository.tree_of(wanted[f"refs/autoresearch/{names.run}/base"]):
            raise SetupError("the bundle's base is not the one that its events name")
        repository.update_refs({**dict.fromkeys(standing.keys() - wanted.keys()), **wanted})
    except RepositoryError as error:
        raise SetupError(f"the git part of the bundle cannot be read here: {error}") from error
    finally:
        repository.close()


def _install(ledger: SqliteLedger, names: RunPaths, folder: Path, rows: list[ChainedEvent], known: int) -> None:
    """Logs and bodies first, the events last, in one transaction: with them the run is there."""
    for path in sorted((folder / "files").iterdir()) if (folder / "files").is_dir() else []:
        if ledger.put(path.read_bytes()) != path.name:
            raise SetupError(f"the file {path.name[:12]}… of the bundle is not what its name says")
    names.experiments.mkdir(parents=True, exist_ok=True)
    for logs in sorted((folder / "experiments").iterdir()) if (folder / "experiments").is_dir() else []:
        if not (names.experiments / logs.name).exists():
            os.replace(logs, names.experiments / logs.name)
    events = [Event(e.kind, e.n, e.body, e.attempt, e.at) for e in rows[known:]]
    ledger.own(names.run)
    ledger.append(names.run, *events, Event("note", None, {"what": "imported", "head": rows[-1].hash}), durable=True)
    if all(e.hash != rows[-1].hash for e in ledger.events(names.run)):  # the same bytes give the same chain
        raise AutoresearchError(f"run {names.run} did not come out as it was written")
