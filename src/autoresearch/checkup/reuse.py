"""Measurements of `check` that a new run of the same ruler on the same machine may take over, for two hours."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch import machine
from autoresearch.acceptance.single_run import seed_for
from autoresearch.contracts import Settings
from autoresearch.paths import ProjectPaths
from autoresearch.private import ruler
from autoresearch.records import Outcome, Readout
from autoresearch.taskfile import Task
from autoresearch.taskfile.units import show_seconds

AGE_S = 2 * 3600.0
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """Baseline evaluations of a `check`.

    Attributes:
        seed: the run seed from which the evaluations' own seeds follow.
        readouts: by the seed of the evaluation.
    """

    seed: int
    at: float
    readouts: Mapping[int, Readout]

    def words(self, now: float) -> str:
        """For the first lines of a run."""
        count = len(self.readouts)
        return f"baseline: {count} evaluation{'s' if count > 1 else ''} of `check`, {show_seconds(max(now - self.at, 1))} ago"


def save(paths: ProjectPaths, task: Task, *, base_tree: str, seed: int, python: str, readouts: Mapping[int, Readout]) -> None:
    """Keep them for the next run."""
    body = {
        **_key(paths, task, base_tree, python),
        "seed": seed,
        "at": time.time(),
        "readouts": {str(key): dataclasses.asdict(readout) for key, readout in readouts.items()},
    }
    paths.measured.parent.mkdir(parents=True, exist_ok=True)
    fresh = paths.measured.with_suffix(".part")
    fresh.write_text(json.dumps(body), encoding="utf-8")
    os.replace(fresh, paths.measured)


def load(paths: ProjectPaths, task: Task, *, base_tree: str, seed: int | None, python: str, now: float) -> Measured | None:
    """What a new run may take over, None where anything that counts is not the same.

    Args:
        seed: the run seed that the owner asked for, None if any will do.
    """
    try:
        body = json.loads(paths.measured.read_text(encoding="utf-8"))
        sees_seed = task.evaluate.seed_env or task.evaluate.sealed
        same_seed = seed in (None, body["seed"]) or not sees_seed
        fresh = 0 <= now - body["at"] <= AGE_S and same_seed
        if not fresh or any(body[key] != value for key, value in _key(paths, task, base_tree, python).items()):
            return None
        readouts = {int(key): _readout(row) for key, row in body["readouts"].items()}
        if seed not in (None, body["seed"]):
            settings = Settings(task.metric.name, seed=seed)
            readouts = {seed_for(settings, 0, i): readout for i, readout in enumerate(readouts.values())}
        return Measured(body["seed"] if seed is None else seed, body["at"], readouts)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget(paths: ProjectPaths) -> None:
    """A new check begins: what an earlier one measured counts no more."""
    paths.measured.unlink(missing_ok=True)


def _readout(row: Mapping[str, Any]) -> Readout:
    names = {field.name for field in dataclasses.fields(Readout)}
    return Readout(**{k: v for k, v in row.items() if k in names} | {"outcome": Outcome(row["outcome"])})


def _key(paths: ProjectPaths, task: Task, base_tree: str, python: str) -> dict[str, Any]:
    """All that a measurement depends on."""
    return {
        "version": _VERSION,
        "ruler": ruler(task, paths.project)[0],
        "base_tree": base_tree,
        "python": python,
        "machine": machine.fingerprint().id,
        "surroundings": _surroundings(paths.project, task),
    }


def _surroundings(project: Path, task: Task) -> str:
    """A hash of what git does not know and an evaluation sees: inputs and copies by size and time, variables by value."""
    table = task.evaluate
    digest = hashlib.sha256()
    for name in table.env:
        digest.update(f"{name}={os.environ.get(name)}\0".encode(errors="surrogateescape"))
    for row in _files([project / os.path.expanduser(name) for name in (*table.inputs, *table.copies)]):
        digest.update(row.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _files(places: Sequence[Path]) -> list[str]:
    """Every file below some places with size and time; links inside them are not followed."""
    found, stack = [], [path.resolve() for path in places]
    while stack:
        path = stack.pop()
        try:
            if path.is_dir() and not path.is_symlink():
                stack.extend(p for p in path.iterdir() if p.name != "__pycache__")
            else:
                s = path.lstat()
                found.append(f"{path}\0{s.st_size}\0{s.st_mtime_ns}\0")
        except OSError:
            continue
    return sorted(found)
