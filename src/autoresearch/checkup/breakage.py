"""Does the evaluation run the candidate? Each editable file is broken in turn; if nothing changes, it does not."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoresearch.checkup.measure import Say, Sealed, Tried
from autoresearch.records import Blob
from autoresearch.scope import scope_of
from autoresearch.taskfile.units import show_seconds

LIMIT = 12  # files broken one by one
_PATIENCE_S = 600.0  # for that
_BROKEN = b")]}'\"<< broken by `autoresearch check` to see whether the evaluation notices >>\n"
CODE = (
    *(".py", ".pyx", ".js", ".mjs", ".cjs", ".ts", ".tsx", ".jsx", ".c", ".h", ".cc", ".cpp", ".hpp", ".cu", ".rs", ".go"),
    *(".java", ".kt", ".scala", ".rb", ".php", ".lua", ".jl", ".r", ".R", ".swift", ".zig", ".sh", ".bash", ".sql", ".json"),
    *(".toml", ".yaml", ".yml", ".cs", ".f90", ".hs", ".ml", ".ex", ".pl"),
)
_FAR = 6.0  # standard deviations, where a text of plain words was broken and a noisy number still came


@dataclass(frozen=True, slots=True)
class Broken:
    """What came of breaking one file, or all of them (`file` is then empty).

    Attributes:
        used: the evaluation noticed; None where a noisy number does not tell.
        words: how it noticed, or what it said all the same.
        value: what was measured all the same.
    """

    file: str
    used: bool | None
    words: str
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Breakage:
    """Which editable files the evaluation runs.

    Attributes:
        files: those that the base has; `together` what came of breaking all of them at once.
        broken: those that were broken one by one.
    """

    files: tuple[str, ...] = ()
    together: Broken | None = None
    broken: tuple[Broken, ...] = ()
    skipped: str = ""

    @property
    def unused(self) -> list[str]:
        return [b.file for b in self.broken if b.used is False]

    @property
    def ok(self) -> bool:
        """Whether at least one editable file counts."""
        return self.together is None or self.together.used is not False


def editable(sealed: Sealed) -> list[str]:
    """The editable files of the base, by path relative to the project."""
    prefix, scope = sealed.subject.location.prefix, scope_of(sealed.task)
    files = (
        p.removeprefix(prefix)
        for p, (mode, _) in sealed.workspace.files.items()
        if p.startswith(prefix) and mode.startswith("100")
    )
    return sorted(p for p in files if p in scope)


async def try_all(sealed: Sealed, values: Sequence[float], durations: Sequence[float], say: Say) -> Breakage:
    """Break all editable files at once, and if that is noticed each in turn."""
    files = editable(sealed)
    if not files:
        return Breakage(skipped="no file of the base matches [task] editable: nothing could be broken")
    together = await _break(sealed, files, values, durations, say)
    if len(files) == 1:
        return Breakage(tuple(files), together, (together,))
    if together.used is False:
        return Breakage(tuple(files), together, tuple(Broken(f, False, together.words) for f in files))
    broken: list[Broken] = []
    until = time.monotonic() + max(_PATIENCE_S, 3 * max(durations))
    for file in _chosen(files):
        if time.monotonic() < until:
            broken.append(await _break(sealed, [file], values, durations, say))
    left = len(files) - len(broken)
    words = f"{left} of {len(files)} editable files were not broken one by one" if left else ""
    return Breakage(tuple(files), together, tuple(broken), words)


def _chosen(files: Sequence[str]) -> list[str]:
    """All, or as many as the limit allows, spread over the list."""
    if len(files) <= LIMIT:
        return list(files)
    return [files[i * len(files) // LIMIT] for i in range(LIMIT)]


async def _break(sealed: Sealed, files: Sequence[str], values: Sequence[float], durations: Sequence[float], say: Say) -> Broken:
    names = files[0] if len(files) == 1 else f"all {len(files)} editable files"
    say(f"breaking {names} (at most {show_seconds(max(durations))} if nothing notices it)")
    candidate = sealed.candidate(ruined(sealed, files))
    tried = await sealed.evaluate(candidate, label="broken", timeout_s=3 * max(durations) + 30)
    return judge(files[0] if len(files) == 1 else "", tried, values, sealed.task.metric.name)


def ruined(sealed: Sealed, files: Sequence[str]) -> Mapping[str, Blob | None]:
    """Files that no program can read in place of these."""
    prefix = sealed.subject.location.prefix
    return {file: Blob(_BROKEN, sealed.workspace.files[prefix + file][0]) for file in files}


def judge(file: str, tried: Tried, values: Sequence[float], metric: str) -> Broken:
    """Whether the evaluation noticed: it failed, or gave another number.

    A number that differs from run to run tells less: code that is broken and still measures was not run; of a text of plain
    words only a number far outside the baseline's is taken for a sign.
    """
    if not tried.ok:
        return Broken(file, True, f"{tried.readout.outcome.value}: {tried.readout.words}")
    value = tried.readout.values[metric]
    if len(set(values)) == 1:
        used = value != values[0]
        return Broken(file, used, f"{metric} {'became' if used else 'stayed'} {value:.6g}", value)
    if file.endswith(CODE):
        return Broken(file, False, f"{metric} was read all the same: {value:.6g}", value)
    centre, sd = statistics.fmean(values), statistics.stdev(values)
    used_or_not = True if abs(value - centre) > _FAR * sd else None
    return Broken(file, used_or_not, f"{metric} is {value:.6g} against {centre:.6g} ± {sd:.2g}", value)
