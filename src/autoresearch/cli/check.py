"""`check`: proves that a task will work, and says what is missing."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import anyio

from autoresearch import git
from autoresearch.briefing import Words
from autoresearch.checkup import controls, paid, reuse
from autoresearch.checkup.examine import Wish, examine, refuse_proposer
from autoresearch.checkup.findings import Findings
from autoresearch.checkup.forecast import pace_lines, sweep_line
from autoresearch.checkup.measure import RUN, Subject
from autoresearch.cli.start import confirmer
from autoresearch.errors import ungrouped
from autoresearch.lock import OwnerLock
from autoresearch.noise import DETECTABLE
from autoresearch.objects import Repository
from autoresearch.private import ruler
from autoresearch.project import Project
from autoresearch.prospects import HOPELESS
from autoresearch.report import show_number
from autoresearch.scope import scope_of
from autoresearch.taskfile import FILE, load
from autoresearch.taskfile.units import show_seconds
from autoresearch.workspace import survey
from autoresearch.workspace.tree import remove


def check_task(folder: Path, *, as_json: bool, yes: bool, fix: bool = False, aa: int = 0) -> int:
    """Examine a task; 0 ready, 1 it does not measure or does not run the candidate, 2 (raised) wrong set-up."""
    found, notices = examined(folder, yes=yes, fix=fix, aa=aa)
    if as_json:
        sys.stdout.write(json.dumps({**found.as_json(), "notices": notices}, ensure_ascii=False) + "\n")
    else:
        last = _last(found, fix=fix, then=_then(found, Project.find(folder)))
        sys.stdout.write("\n".join([*lines(found, fix=fix), *notices, last]) + "\n")
    return 0 if found.ready else 1


def examined(folder: Path, *, yes: bool, fix: bool = False, aa: int = 0) -> tuple[Findings, list[str]]:
    """What a check of a task finds, and what of the checkout was not measured.

    Raises:
        SetupError: the task file or what it names is wrong.
    """
    project = Project.find(folder)
    task = load(project.folder)
    Words(project.folder, task)  # a template that is none is found now
    text = (project.folder / FILE).read_bytes().decode("utf-8")
    location = project.location(confirmer(yes))
    names = project.paths.run(RUN)
    with ungrouped():
        base = head(location, names.cache / "scratch", project.folder)
        survey.refuse(location, names.cache / "scratch", base, scope_of(task))
        refuse_proposer(task, project.folder, sys.executable)
        project.paths.make()
        subject = Subject(project.paths, location, task, base, secrets.randbelow(2**31), sys.executable)
        with OwnerLock(names.lock, RUN):
            reuse.forget(project.paths)
            try:
                found = anyio.run(examine, subject, text, Wish(aa, fix), _say)
            finally:
                _tidy(subject)
    seen = paid.look(project, location, task)
    return replace(found, paid=seen, price=seen.price or found.price), _notices(subject)


def head(location: git.Location, scratch: Path, folder: Path) -> str:
    """The last commit of the branch that the owner is on.

    Raises:
        RepositoryError: there is none, or nothing can be built from it.
    """
    repository = Repository(location.git_dir, scratch)
    try:
        survey.refuse_unfit(location, repository)
    finally:
        repository.close()
    return git.run("rev-parse", "--verify", "HEAD^{commit}", cwd=folder).decode().strip()


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()


def _tidy(subject: Subject) -> None:
    """The trees of a check serve nobody afterwards; its logs are kept beside those of runs."""
    cache, kept = subject.cache, subject.paths.run(RUN).folder / "logs"
    if subject.logs.is_dir():
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(subject.logs, kept, ignore=shutil.ignore_patterns("artifacts"))
    for path in (cache / name for name in os.listdir(cache)) if cache.is_dir() else ():
        try:
            remove(path)
        except OSError:
            continue


def _notices(subject: Subject) -> list[str]:
    """What of the checkout was not measured."""
    task = subject.task
    dirty = survey.uncommitted(subject.location, scope_of(task), (FILE, task.task.instructions))
    if not dirty:
        return []
    shown = ", ".join(dirty[:5]) + (f" and {len(dirty) - 5} more" if len(dirty) > 5 else "")
    return [f"not committed, and so not measured: {shown}"]


# -- for people -----------------------------------------------------------------------------------------------------------


def lines(found: Findings, *, fix: bool) -> list[str]:
    """What was found, in the order in which it matters."""
    return [
        *_read(found),
        *_noise(found),
        *_greedy(found),
        *_candidate(found),
        *controls.lines(found.unchanged, found.ruined),
        *[f"guard {g.name}: {' and '.join(dict.fromkeys(show_number(v) for v in g.values))}" for g in found.guards if g.values],
        *[f"check {c.name}: {'passed' if c.passed else 'failed'} in {show_seconds(c.duration_s)}" for c in found.checks],
        *(
            [f"quick: {'passed' if found.quick.passed else 'failed'} in {show_seconds(found.quick.duration_s)}"]
            if found.quick
            else []
        ),
        *[f"[{s.name}] {'measures' if s.passed else 'failed'} in {show_seconds(s.duration_s)}" for s in found.sets],
        *_needs(found),
        *_forecast(found),
        *found.paid.lines,
        *found.problems,
        *found.paid.problems,
        *found.warnings,
        *found.paid.warnings,
        *_mends(found, fix=fix),
    ]


def _read(found: Findings) -> list[str]:
    outside = [f"as the file stands: {found.sealed}"] if found.sealed and found.values else []
    outside += [f"outside, in your own surroundings: {found.outside}"] if found.outside else []
    if not found.values:
        return outside
    values = [show_number(v) for v in found.values]
    shown = " and ".join(values) if len(values) < 3 else ", ".join(values[:10]) + (", …" if len(values) > 10 else "")
    durations = [r.duration_s for r in found.readouts]
    took = (
        " and ".join(dict.fromkeys(show_seconds(d) for d in durations[:2]))
        if len(durations) < 3
        else "about " + show_seconds(sum(durations) / len(durations)) + " each"
    )
    return [*outside, f"read {found.metric}: {shown} in {took}"]


def _noise(found: Findings) -> list[str]:
    spread = found.spread
    if spread is None or spread.sd is None:
        return []
    if spread.exact:
        which = "both agree" if len(spread.values) == 2 else f"all {len(spread.values)} agree"
        return [f"{which} bit for bit: one evaluation an experiment is enough"]
    relative = f" ({100 * spread.relative:.2g} %)" if spread.relative else ""
    rows = [f"noisy: standard deviation {spread.sd:.3g}{relative}; gains below {spread.detectable:.3g} cannot be seen"]
    if spread.relative and DETECTABLE * spread.relative > HOPELESS:
        rows.append("a night in this noise is not likely to succeed: evaluate longer, or take the mean over several seeds")
    if spread.drifts and spread.trend is not None:
        rows.append(
            f"it drifts: by {spread.trend:+.3g} from the first evaluation to the last; is the machine busy, or warming up?"
        )
    elif spread.trend is not None:
        rows.append("no drift to be seen")
    if spread.outliers:
        shown = ", ".join(f"{show_number(spread.values[i])} (evaluation {i + 1})" for i in spread.outliers[:5])
        rows.append(f"outliers: {shown}")
    return rows


def _greedy(found: Findings) -> list[str]:
    g = found.greedy
    if g is None:
        return []
    relative = f" ({100 * g.relative:.2g} %)" if g.relative else ""
    if not g.keeps:
        return [f"a keep-if-better loop would have kept none of these {len(found.values)} evaluations of the unchanged code"]
    return [
        f"a keep-if-better loop would have kept {g.keeps} of these {len(found.values)} evaluations of the unchanged code and "
        f"claimed a gain of {g.claimed:.3g}{relative}"
    ]


def _candidate(found: Findings) -> list[str]:
    noticed = found.breakage
    if noticed is None or noticed.together is None or not noticed.ok:
        return []
    count = sum(1 for b in noticed.broken if b.used)
    return [f"the evaluation runs the candidate: it noticed {count} of {len(noticed.broken)} editable files being broken"]


def _needs(found: Findings) -> list[str]:
    if found.disk is None:
        return []
    rows = []
    times = [f"{name} {show_seconds(s)}" for name, s in (("set-up", found.setup_s), ("build", found.build_s)) if s is not None]
    peaks = [r.peak_mb for r in found.readouts if r.peak_mb]
    memory = f"memory {max(peaks):.0f} of {found.memory_mb:.0f} MB" if peaks else ""
    held = next((f" (limit held by {r.limit_by})" for r in found.readouts if r.limit_by), "")
    disk = f"disk {found.disk.needed / 1e6:.0f} MB for {found.disk.slots} slot{'s' if found.disk.slots > 1 else ''}"
    rows.append(
        "needs: " + ", ".join([*times, *([memory + held] if memory else []), f"{disk}, {found.disk.free / 1e9:.1f} GB free"])
    )
    if found.disk.needed > found.disk.free:
        rows.append("that is more than is free: free some space, or use fewer slots ([run] evaluations)")
    return rows


def _forecast(found: Findings) -> list[str]:
    if found.pace is None or not found.values:
        return []
    sweep = sweep_line(found.sweep)
    return [*pace_lines(found.pace), f"the price of a night: {found.price}", *([sweep] if sweep else [])]


def _mends(found: Findings, *, fix: bool) -> list[str]:
    if not found.lines:
        return []
    head = f"written into {FILE}:" if found.written else f"add to {FILE}{'' if fix else ' (or let --fix do it)'}:"
    if found.breakage is not None and not found.breakage.ok:
        head = "with these lines it measures, but not the candidate:"
    return [head, *(f"  {row.line}   # because {row.because}" if row.because else f"  {row.line}" for row in found.lines)]


def _flags(project: Project) -> str:
    """What `run` needs where an unfinished run has another ruler than the task now."""
    if not project.paths.ledger.is_file():
        return ""
    ledger, digest = project.ledger(read_only=True), ruler(load(project.folder), project.folder)[0]
    try:
        is_open = [r for r in ledger.runs() if r.status == "open" and ledger.history(r.run).decided >= 0]
    finally:
        ledger.close()
    return " --new" if is_open and all(r.ruler != digest for r in is_open) else ""


def _then(found: Findings, project: Project) -> str:
    """What comes after a task that is ready."""
    if load(project.folder).proposer[0].kind == "knobs" and not found.sweep.knobs:
        return "say who proposes ([proposer] kind, or run --proposer), or let your agent drive: autoresearch try"
    return f"autoresearch run{_flags(project)}"


def _last(found: Findings, *, fix: bool, then: str) -> str:
    if found.ready:
        return f"ready. next: {then}"
    if found.lines and not found.problems and not found.paid.problems:
        return "not ready as the file stands; with these lines it is: autoresearch check --fix"
    return "not ready: mend this and run `autoresearch check` again"
