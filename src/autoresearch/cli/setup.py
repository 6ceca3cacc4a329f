"""`init`, `check` and `doctor`: from a folder to a task that measures."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from autoresearch import git, machine
from autoresearch.assembly import Assembly, scope_of
from autoresearch.books import Bound
from autoresearch.cli.start import confirmer
from autoresearch.errors import AutoresearchError, SetupError, ungrouped
from autoresearch.ledger import MemoryLedger
from autoresearch.paths import cache_root
from autoresearch.process import Supervisor
from autoresearch.records import Candidate, Order, Outcome, Readout, RunRecord
from autoresearch.report import show_number
from autoresearch.session import Project
from autoresearch.taskfile import FILE, Task, load
from autoresearch.taskfile.load import parse
from autoresearch.taskfile.units import show_seconds
from autoresearch.workspace import survey

PROGRAM = "program.md"


@dataclass(frozen=True, slots=True)
class Answers:
    """What was given as flags; None or empty is asked for."""

    name: str | None
    edit: list[str]
    command: str | None
    metric: str | None
    direction: str | None


# -- init --------------------------------------------------------------------------------------------------------------


def write_task(folder: Path, given: Answers, *, yes: bool, force: bool) -> None:
    """Ask a few questions and write the two files; nothing is written before all are answered.

    Raises:
        SetupError: a task is there already, or an answer is no good.
    """
    folder = folder.resolve()
    target = folder / FILE
    if target.exists() and not force:
        raise SetupError(f"{target} exists already: edit it, or write it anew with --force")
    if not yes and not sys.stdin.isatty():
        yes = all((given.edit, given.command, given.metric))
        if not yes:
            raise SetupError("nobody can be asked here: give --edit, --eval and --metric, or --yes to take the defaults")
    guess = _guess(folder)
    asked = _ask(given, guess, yes=yes)
    text = _render(asked)
    parse(text)  # what we write, we can read
    _existing(folder, asked.edit)
    target.write_text(text, encoding="utf-8")
    program = folder / PROGRAM
    if not program.exists():
        program.write_text(_program(asked), encoding="utf-8")
    sys.stdout.write(f"wrote {target} and {program}\nnext: autoresearch check\n")


def _guess(folder: Path) -> Answers:
    """Defaults from what lies in the folder; Karpathy's layout is known by its three files."""
    if all((folder / name).is_file() for name in ("prepare.py", "train.py", PROGRAM)):
        uv = (folder / "uv.lock").is_file() or (folder / "pyproject.toml").is_file()
        return Answers(folder.name, ["train.py"], "uv run train.py" if uv else "python train.py", "val_bpb", "minimize")
    scripts = sorted(p.name for p in folder.glob("*.py") if not p.name.startswith(("test_", "conftest", "setup")))
    measures = next((s for s in ("benchmark.py", "bench.py", "evaluate.py", "eval.py", "measure.py") if s in scripts), None)
    others = [s for s in scripts if s != measures]
    edit = next((s for s in ("train.py", "main.py", "solution.py") if s in others), others[0] if others else "")
    command = f"python {measures or edit}" if measures or edit else ""
    metric = _printed_metric(folder, [measures, edit])
    direction = "maximize" if re.search(r"acc|score|f1|recall|precision|throughput|reward|auc", metric) else "minimize"
    return Answers(folder.name, [edit] if edit else [], command, metric, direction)


def _printed_metric(folder: Path, scripts: list[str | None]) -> str:
    """The first name that a script seems to print a number for."""
    for script in scripts:
        if script and (folder / script).is_file():
            text = (folder / script).read_text(encoding="utf-8", errors="replace")
            found = re.search(r"METRIC (\w+)=", text) or re.search(r"print\(f?[\"'](\w+)\s*[:=]", text)
            if found:
                return found[1]
    return "score"


def _ask(given: Answers, guess: Answers, *, yes: bool) -> Answers:
    def question(text: str, value: str | None, default: str | None) -> str:
        if value:
            return value
        if yes:
            if not default:
                raise SetupError(f"no default for {text!r} in this folder: give it as a flag (see `autoresearch init --help`)")
            return default
        import typer

        return str(typer.prompt(text, default=default or None, err=True))

    edit = (
        given.edit
        or question("Which files may be changed? (names or globs, separated by spaces)", None, " ".join(guess.edit)).split()
    )
    command = question("Which command measures?", given.command, guess.command)
    metric = question("What is the number called in its output?", given.metric, guess.metric)
    direction = question("Is lower or higher better? (minimize, maximize)", given.direction, guess.direction)
    if direction not in ("minimize", "maximize"):
        raise SetupError(f"direction {direction!r}: expected minimize or maximize")
    return Answers(given.name or guess.name, edit, command, metric, direction)


def _existing(folder: Path, edit: list[str]) -> None:
    from autoresearch.taskfile.scope import is_pattern

    for path in edit:
        if not is_pattern(path) and not (folder / path).exists():
            raise SetupError(f"{path!r} does not exist in {folder}, expected a file or a glob; nothing was written")


def _render(a: Answers) -> str:
    quote = json.dumps
    return f"""[task]
name = {quote(a.name, ensure_ascii=False)}
editable = [{", ".join(quote(p, ensure_ascii=False) for p in a.edit)}]
instructions = "{PROGRAM}"

[evaluate]
command = {quote(a.command, ensure_ascii=False)}

[metric]
name = {quote(a.metric, ensure_ascii=False)}
direction = "{a.direction}"

[proposer]
kind = "knobs"              # or "command", or "module:function"

[budget]
experiments = 100
"""


def _program(a: Answers) -> str:
    better = "lower" if a.direction == "minimize" else "higher"
    return f"""# {a.name}

Make `{a.metric}` {better}. It is what `{a.command}` prints.

Change only: {", ".join(a.edit)}.

Simpler is better: a small gain is not worth much code.
"""


# -- check -------------------------------------------------------------------------------------------------------------


def check_task(folder: Path, *, as_json: bool, yes: bool) -> int:
    """Measure the baseline twice as a run would; 0 ready, 1 it does not measure, 2 wrong set-up."""
    project = Project.find(folder)
    task = load(project.folder)
    location = project.location(confirmer(yes))
    head = git.run("rev-parse", "--verify", "HEAD^{commit}", cwd=project.folder).decode().strip()
    run = RunRecord(run=".check", task=task.task.name, metric=task.metric.name, base=head, seed=0, python=sys.executable)
    with ungrouped():
        survey.refuse(location, project.paths.run(run.run).cache / "scratch", head, scope_of(task))
        project.paths.make()
        assembly = Assembly(project.paths, location, task, run, MemoryLedger())
        reports, failed = anyio.run(_measure_twice, assembly)
    found = _finding(task, assembly.options().guards, reports, failed)
    if as_json:
        sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("\n".join(_check_lines(task, found)) + "\n")
    return 0 if found["ready"] else 1


async def _measure_twice(assembly: Assembly) -> tuple[list[Readout], list[str]]:
    async with Supervisor() as supervisor:
        workspace = await assembly.workspace(supervisor)
        runner = assembly.runner(supervisor)
        options = assembly.options()
        folder = assembly.paths.run(".check").experiment(0)
        base = Candidate(0, workspace.base_tree, assembly.run.base)
        reports, failed = [], []
        try:
            for i in (1, 2):
                place = await workspace.place(0, base)
                timeout_s = options.timeout_s or options.baseline_timeout_s
                reports.append(await runner.evaluate(place, Order(0, i, 1, f"eval-{i}", "", folder, timeout_s)))
                workspace.vacate(0)
            for check in options.checks:
                place = await workspace.place(0, base)
                order = Order(0, 0, 1, f"check-{check.name}", check.command, folder, check.timeout_s, "check")
                report = await runner.evaluate(place, order)
                workspace.vacate(0)
                if report.outcome is not Outcome.OK:
                    failed.append(f"check {check.name} fails on the unchanged code: {report.words}")
        finally:
            workspace.close()
    return reports, failed


def _finding(task: Task, guards: Sequence[Bound], reports: list[Readout], failed: list[str]) -> dict[str, Any]:
    name = task.metric.name
    problems = [
        f"evaluation {i}: {r.outcome.value}: {r.words}" for i, r in enumerate(reports, 1) if r.outcome is not Outcome.OK
    ]
    measured = [r.values for r in reports if r.outcome is Outcome.OK]
    values = [found[name] for found in measured]
    failed += {words for guard in guards for found in measured if (words := guard.broken(found))}
    return {
        "ready": not problems and not failed,
        "metric": name,
        "values": values,
        "spread": max(values) - min(values) if len(values) == 2 else None,
        "exact": len(values) == 2 and values[0] == values[1],
        "other_values": [dict(r.values) for r in reports],
        "duration_s": [r.duration_s for r in reports],
        "peak_mb": [r.peak_mb for r in reports],
        "problems": problems + sorted(set(failed)),
    }


def _check_lines(task: Task, found: dict[str, Any]) -> list[str]:
    lines = []
    if found["values"]:
        values = " and ".join(show_number(v) for v in found["values"])
        lines.append(f"read {found['metric']}: {values} in {' and '.join(show_seconds(d) for d in found['duration_s'])}")
    if found["exact"]:
        lines.append("both agree bit for bit: one evaluation an experiment is enough")
    elif found["spread"] is not None:
        relative = f" ({100 * found['spread'] / abs(found['values'][0]):.2g} %)" if found["values"][0] else ""
        lines.append(f"they differ by {found['spread']:.3g}{relative}: the metric is noisy, gains below that may not be seen")
    for guard in task.guard:
        shown = [show_number(v[guard.name]) for v in found["other_values"] if guard.name in v]
        lines += [f"guard {guard.name}: {' and '.join(shown)}"] if shown else []
    lines += found["problems"]
    if found["ready"]:
        per_hour = 3600 / max(found["duration_s"])
        lines.append(f"ready: about {per_hour:,.0f} evaluations an hour on one slot. next: autoresearch run")
    else:
        lines.append("not ready: mend this and run `autoresearch check` again")
    return lines


# -- doctor ------------------------------------------------------------------------------------------------------------


def examine_machine(*, as_json: bool) -> None:
    """What this machine offers, and what is missing with its consequence."""
    found = anyio.run(_examine)
    if as_json:
        sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
    else:
        width = max(map(len, found))
        sys.stdout.write("".join(f"{key:<{width}}  {value}\n" for key, value in found.items()))


async def _examine() -> dict[str, str]:
    import platform
    import sqlite3

    try:
        git_words = git.check_version()
    except AutoresearchError as error:
        git_words = f"missing: {error}"
    async with Supervisor() as supervisor:
        await supervisor.start()
        namespaces, groups = supervisor.namespaces, supervisor.cgroups
    ways = {
        "root": "PID namespace of its own (as root)",
        "user": "PID namespace of its own (user namespace)",
        "": "subreaper and marker: no PID namespace here; a program that kills everything of yours reaches us too",
    }
    memory = f"cgroup v{groups}" if groups else "sampled ten times a second: short peaks are missed"
    facts = machine.fingerprint().facts
    root = cache_root()
    return {
        "python": f"{platform.python_version()} ({sys.executable})",
        "git": git_words,
        "sqlite": sqlite3.sqlite_version,
        "system": facts["system"],
        "cpu": f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB",
        "containment": ways[namespaces],
        "peak memory": memory,
        "cache": f"{root}, {machine.free_bytes(root) / 1e9:.1f} GB free"
        + ("" if os.access(_nearest(root), os.W_OK) else ", NOT writable"),
        "sandbox": "none in this version: a proposer or candidate runs with your rights",
    }


def _nearest(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
