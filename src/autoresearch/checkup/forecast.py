"""What a run would be like: experiments an hour and a night, the price of a night, its disk, whether a sweep would do."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autoresearch import machine
from autoresearch.assembly import slots_of
from autoresearch.checkup.measure import Sealed
from autoresearch.proposers import constants
from autoresearch.proposers.constants import Knob, RangeError
from autoresearch.scope import scope_of
from autoresearch.taskfile import Task
from autoresearch.taskfile.times import is_exclusive
from autoresearch.taskfile.units import show_seconds

HOUR_S, NIGHT_S = 3600.0, 8 * 3600.0
_REPEATS = 1.4  # evaluations an experiment where the metric is noisy and races decide: statistics.md, section 3.6
_COMBINATIONS = 2000  # as many can be tried one by one
_LEVELS = 5  # values of a number in a sweep


@dataclass(frozen=True, slots=True)
class Pace:
    """Experiments in an hour and in a night of eight, on the slots that the task asks for.

    Attributes:
        single: with one evaluation each; `repeated` with the repeats that a noisy metric needs, None of an exact one.
    """

    evaluation_s: float
    slots: int
    single_hour: int
    single_night: int
    repeated_hour: int | None
    repeated_night: int | None


@dataclass(frozen=True, slots=True)
class Sweep:
    """The constants that `knobs` would search, and what trying every combination would cost.

    Attributes:
        combinations: of all their values (five of a number); None where there are none, or too many to count.
    """

    knobs: int = 0
    combinations: int | None = None
    time_s: float | None = None

    @property
    def would_do(self) -> bool:
        return self.time_s is not None and self.time_s <= NIGHT_S and (self.combinations or 0) <= _COMBINATIONS


@dataclass(frozen=True, slots=True)
class Disk:
    """Disk space that the trees of the slots need, in bytes, and what is free where they lie; `caches` with builds."""

    tree: int
    copies: int
    caches: int
    slots: int
    free: int

    @property
    def needed(self) -> int:
        return (self.tree + self.copies + self.caches) * self.slots


def pace(durations: Sequence[float], task: Task, *, noisy: bool, build_s: float = 0.0) -> Pace:
    """How many experiments there is time for; each is built once."""
    slots = 1 if is_exclusive(task) else slots_of(task)
    each = max(sum(durations) / len(durations), 0.001)
    single, repeated = each + build_s, each * _REPEATS + build_s
    again = (int(HOUR_S * slots / repeated), int(NIGHT_S * slots / repeated)) if noisy else (None, None)
    return Pace(each, slots, int(HOUR_S * slots / single), int(NIGHT_S * slots / single), *again)


def price(task: Task) -> str:
    """What a night's proposals cost, as far as it is known before."""
    table = task.proposer[0]
    wall = f", at most {task.budget.cost_usd:.2f} USD by [budget] cost_usd" if task.budget.cost_usd is not None else ""
    if table.kind == "knobs":
        return "knobs: free"
    if table.kind == "command":
        return f"command: as it reports{wall}" if wall else "command: as it reports; [budget] cost_usd would be a wall"
    return f"{table.kind}: not known{wall}"


def sweep(sealed: Sealed, evaluation_s: float) -> Sweep:
    """Look for constants in the editable files, and count their combinations."""
    found = knobs(sealed)
    if not found:
        return Sweep()
    count = math.prod(_levels(knob) for knob in found)
    return Sweep(len(found), count, count * evaluation_s) if count <= 10**9 else Sweep(len(found))


def knobs(sealed: Sealed) -> list[Knob]:
    """The constants that the proposer `knobs` would find in the base."""
    prefix, scope, workspace = sealed.subject.location.prefix, scope_of(sealed.task), sealed.workspace
    texts = {}
    for path, (mode, oid) in workspace.files.items():
        inside = path.removeprefix(prefix)
        if path.startswith(prefix) and inside in scope and inside.endswith((".py", ".json")) and mode.startswith("100"):
            texts[inside] = workspace.base.repository.read(oid).decode("utf-8", "replace")
    try:
        return constants.find(texts)
    except RangeError:
        return []  # the proposer says so in its own words


def _levels(knob: Knob) -> int:
    return int(min(knob.size, _LEVELS)) if knob.kind != "choice" else len(knob.choices)


def disk(sealed: Sealed) -> Disk:
    """What the trees, copies and caches of all slots take."""
    subject, task = sealed.subject, sealed.task
    slots = slots_of(task)
    slot = subject.cache / "evaluation-0"
    copies = machine.used_bytes(*(subject.paths.project / name for name in task.evaluate.copies)) + _files(
        subject.paths.project, task
    )
    caches = machine.used_bytes(*(slot / name for name in ("cache-now", "cache-kept", "builds")))
    return Disk(machine.used_bytes(slot / "tree"), copies, caches, slots, machine.free_bytes(subject.cache))


def _files(project: Path, task: Task) -> int:
    """The single files among the copies."""
    paths = (project / name for name in task.evaluate.copies)
    return sum(os.stat(path).st_blocks * 512 for path in paths if path.is_file())


def pace_lines(found: Pace) -> list[str]:
    """For people."""
    slots = f" on {found.slots} slots" if found.slots > 1 else ""
    line = f"about {found.single_hour:,} experiments an hour, {found.single_night:,} a night{slots}, with one evaluation each"
    if found.repeated_hour is not None:
        line += f"; {found.repeated_hour:,} and {found.repeated_night:,} with the repeats that noise needs"
    return [f"{line} ({show_seconds(found.evaluation_s)} an evaluation)"]


def sweep_line(found: Sweep) -> str:
    """For people; `` where there is nothing to say."""
    if not found.knobs:
        return ""
    words = f"{found.knobs} constant{'s' if found.knobs > 1 else ''} to search"
    if not found.would_do or found.time_s is None:
        return f"knobs: {words}"
    return f"knobs: {words}: a sweep over all {found.combinations:,} combinations would take {show_seconds(found.time_s)}"
