"""Commands that look at runs, and the ones that end, tidy or remove them."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

from autoresearch import anchors, git, lock
from autoresearch.agenda import Agenda
from autoresearch.cli.view import PER_CENT, baseline_line, experiment_line
from autoresearch.errors import OwnedElsewhere, SetupError, UnknownName
from autoresearch.gains import gain_of, pairs
from autoresearch.history import History
from autoresearch.ledger import SqliteLedger
from autoresearch.masking import NOTHING, Mask, mask_of
from autoresearch.paths import CACHE_LOCK, cache_root
from autoresearch.project import Project
from autoresearch.records import Experiment
from autoresearch.report import (
    decoy_lines,
    experiment_row,
    export_jsonl,
    foreseen_words,
    show_counts,
    show_flags,
    show_number,
    spent,
    standing_lines,
    summary,
    tsv_header,
    tsv_row,
    validation,
    waiting_lines,
)
from autoresearch.taskfile import FILE, load
from autoresearch.taskfile.units import show_seconds
from autoresearch.text import counted


def _print(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")


def _open(folder: Path, name: str | None) -> tuple[Project, SqliteLedger, str]:
    project = Project.find(folder)
    ledger = project.ledger(read_only=True)
    return project, ledger, project.pick(ledger, name).run


def overview(folder: Path) -> None:
    """What this folder's state is, and the one command to type next."""
    try:
        project = Project.find(folder)
    except SetupError:
        _print("no task here yet", "next: autoresearch init (or autoresearch demo, to see one work)")
        return
    if not project.paths.ledger.is_file():
        if git.locate(project.folder) is None:
            commands = "git init && git add -A && git commit -m start"
            _print(f"{project.folder}: a task, but no git repository, which a run needs", f"next: {commands}")
        else:
            _print(f"{project.folder}: a task, no run yet", "next: autoresearch check, then autoresearch run")
        return
    ledger = project.ledger(read_only=True)
    if not ledger.runs():
        _print(f"{project.folder}: a task, no run yet", "next: autoresearch check, then autoresearch run")
        return
    run = project.pick(ledger, None).run
    _standing(project, ledger, run)


def show_status(folder: Path, name: str | None, *, as_json: bool) -> None:
    project, ledger, run = _open(folder, name)
    if as_json:
        owner = lock.owner(project.paths.run(run).lock)
        _print(json.dumps({**summary(ledger.history(run)), "owner": owner}, ensure_ascii=False))
    else:
        _standing(project, ledger, run)


def _standing(project: Project, ledger: SqliteLedger, name: str) -> None:
    history = ledger.history(name)
    run = history.run
    assert run is not None
    owner = lock.owner(project.paths.run(name).lock)
    agenda = history.agenda
    state = (
        f"running{_where(project, name, agenda)}, {owner}"
        if owner
        else run.status + (f" ({run.stop_words})" if run.stop_words else "")
    )
    found = summary(history)
    _print(f"run {name} of {run.task}: {state}")
    if history.line:
        _print(baseline_line(history), *standing_lines(history))
    _print(*([agenda.trust.line] if agenda.trust is not None else []))
    worked = run.worked_s + (max(0.0, run.last_at - run.session_at) if run.session_at else 0.0)
    made = f"{show_counts(found['counts'])} · {counted(history.evaluations, 'evaluation')}"
    _print(f"{made} · {show_seconds(worked)}{spent(history)}")
    _print(*(waiting_lines(history, time.time()) if owner else ()))
    _print(*decoy_lines(history))
    last = next((e for e in reversed(history.experiments) if e.decided and e.n), None)
    _print(*(f"idea {idea.number}: {idea.text}" for idea in agenda.open_ideas()))
    if last is not None:
        _print("last: " + experiment_line(last, history).strip())
    _print(f"next: {_next(project, history, owner)}")


def _where(project: Project, run: str, agenda: Agenda) -> str:
    return f" in the background (output: {project.paths.run(run).output})" if agenda.detached else ""


def _next(project: Project, history: History, owner: str) -> str:
    assert history.run is not None
    if owner:
        return "autoresearch stop (it goes on later)"
    name, is_here = history.run.run, (project.folder / FILE).is_file()
    if not is_here:
        return (
            f"autoresearch log (to go on, the task's files have to be here: git checkout -b mine refs/autoresearch/{name}/base)"
        )
    if history.run.stop_reason == "baseline":
        return "autoresearch check --fix (it finds out what is missing), then autoresearch run"
    if history.run.stop_reason == "idle":
        return "autoresearch try, or autoresearch run with a proposer of its own"
    if history.run.status != "finished":
        return "autoresearch run"
    if history.run.stop_reason == "exhausted" and len(history.experiments) == 1:
        return f"something to propose, in {FILE} ([proposer]) or in the editable files, then autoresearch run --new"
    if len(history.line) == 1:
        return "autoresearch run --new (nothing was kept; or raise [budget] in autoresearch.toml and run again)"
    if history.validated is None:
        return validation(history)
    return f"git merge autoresearch/{name} (or autoresearch run --from {name}, to go on from it)"


def show_refs(folder: Path, *, as_json: bool) -> None:
    """What `git push --all` and `git push --mirror` would publish of ours."""
    project = Project.find(folder)
    location = git.locate(project.folder)
    if location is None:
        raise SetupError(f"{project.folder} is no git repository: nothing could be published")
    here = f"--git-dir={location.git_dir}"
    found = (
        git.run(here, "for-each-ref", "--format=%(refname)", "refs/heads/autoresearch", "refs/autoresearch").decode().split()
    )
    branches = [ref.removeprefix("refs/heads/") for ref in found if ref.startswith("refs/heads/")]
    candidates = [ref for ref in found if ref.startswith("refs/autoresearch/")]
    if as_json:
        _print(json.dumps({"branches": branches, "candidates": candidates}))
        return
    _print(
        f"git push --all would publish {counted(len(branches), 'branch')} of keeps: {', '.join(branches) or 'none'}",
        "  without them: git push origin BRANCH, or delete one: git branch -D autoresearch/RUN",
        f"git push --mirror would publish also {counted(len(candidates), 'ref')} of candidates, those that failed as well",
        "  without them: git push origin 'refs/heads/*' 'refs/tags/*' '^refs/heads/autoresearch/*', or remove a run with its "
        "candidates: autoresearch rm RUN",
    )


def show_log(folder: Path, name: str | None, *, as_json: bool, limit: int) -> None:
    _, ledger, run = _open(folder, name)
    history = ledger.history(run)
    decided = [e for e in history.experiments if e.decided]
    decided = decided[-limit:] if limit else decided
    if as_json:
        _print(json.dumps([experiment_row(e, history) for e in decided], ensure_ascii=False))
        return
    for e in decided:
        mark = "  (rolled back)" if e.rolled_back else "  (taken back: the set-up was broken)" if e.lost else ""
        mark += f"  [{show_flags(e)}]" if e.flags else ""
        _print(baseline_line(history) + PER_CENT if e.n == 0 else experiment_line(e, history) + mark)


def verify_chain(folder: Path, name: str | None) -> None:
    project = Project.find(folder)
    ledger, location = project.ledger(read_only=True), git.locate(project.folder)
    known = ledger.names()
    if name is not None and name not in known:
        raise UnknownName("run", name, known)
    for run in known if name is None else [name]:
        count, words = ledger.audit(run)
        anchors.check(location, ledger.history(run))
        _print(f"run {run}: {count} events, the chain holds, and the keeps on the branch name it")
        _print(*([f"run {run}: {words}"] if words else []))


def rebuild_views(folder: Path) -> None:
    project = Project.find(folder)
    if not project.paths.ledger.is_file():
        raise SetupError(f"no run in {project.folder} yet: start one with `autoresearch run`")
    ledger = project.ledger()
    _print(f"rebuilt from {ledger.rebuild()} events")
    for run in ledger.names():
        ledger.audit(run)


def _experiment(ledger: SqliteLedger, run: str, n: int) -> Experiment:
    experiments = ledger.history(run).experiments
    if n >= len(experiments):
        raise SetupError(f"run {run} has experiments 0 to {len(experiments) - 1}, there is no {n}")
    return experiments[n]


def show_experiment(folder: Path, name: str | None, n: int, *, as_json: bool) -> None:
    project, ledger, run = _open(folder, name)
    e = _experiment(ledger, run, n)
    names = project.paths.run(run)
    if as_json:
        row = experiment_row(e, ledger.history(run), held_out=True)
        _print(json.dumps({**row, "folder": str(names.experiment(n))}, ensure_ascii=False))
        return
    verdict = f"{e.verdict.kind.value} ({e.verdict.reason}): {e.verdict.words}" if e.verdict else f"open ({e.stage})"
    _print(f"experiment {n} of run {run}: {verdict}")
    if n:
        change = f"{e.description or '(no description)'}{_lines(e.lines)}"
        _print(f"{e.operation} on {', '.join(map(str, e.parents))} by {e.proposer or 'the owner'}: {change}")
    else:
        _print("the base as the owner committed it")
    _print(*_thought_lines(e, ledger.history(run)))
    if e.origin is not None:
        _print(f"the candidate of experiment {e.origin}, tried again")
    if e.job is not None:
        _print(f"offered by {e.proposer} as job {e.job}")
    if e.rolled_back:
        _print("taken out again by a roll-back")
    if e.quarantined:
        _print(f"quarantined: never tried again, no proposer reads of it; what it left is in {names.experiment(n)}")
    _print(*(f"  {words} (harmless by itself)" for words in e.touches))
    _print(*_flag_lines(e))
    _print(*_measured_again(ledger.history(run), e))
    _print(*_pair_lines(ledger.history(run), e))
    for m in e.measurements:
        values = ", ".join(f"{k} {show_number(v)}" for k, v in m.values.items()) or f"{m.outcome.value}: {m.words}"
        values = "measured; its number is not shown" if m.phase == "gate" and m.ok else values
        memory = f" · {m.peak_mb:.0f} MB ({m.memory_from})" if m.peak_mb is not None else ""
        what = m.phase if m.phase == m.arm else f"{m.phase} {m.arm}"
        _print(f"  {what} (experiment {m.of}, seed {m.seed}): {values} · {show_seconds(m.duration_s)}{memory}")
    _print(*(f"  {note}" for note in e.notes))
    if e.commit:
        _print(f"candidate {e.commit[:10]} · refs/autoresearch/{run}/{n}")
    if e.parents and e.tree:
        _print("", _diff(project, ledger, run, e.stands_on, n).rstrip())
    logs = [names.folder / "experiments" / m.log for m in e.measurements if m.log][-1:]
    for log in logs or ([names.experiment(e.drafted_as) / "agent.log"] if e.job is None else []):
        if log.is_file():
            tail = log.read_bytes()[-4000:].decode("utf-8", "replace").splitlines()[-20:]
            told = [line for line in tail if not line.startswith('{"') and not line.endswith("}")]  # an agent's events
            _print("", *([f"the end of {log}:", *(f"  {line}" for line in told)] if told else [f"its log: {log}"]))


def _thought_lines(e: Experiment, history: History) -> list[str]:
    """What was asked for, and what its proposer thought of it."""
    wanted = " · ".join(filter(None, (e.mutation, f"plateau: {e.escalation}" if e.escalation else "")))
    lines = [f"asked for: {wanted}"] if wanted else []
    if e.restarts and e.decided:
        lines.append(f"from an earlier keep on: compared as it is with experiment {history.bar_of(e)}, which was the incumbent")
    lines += [f"hypothesis: {e.hypothesis}"] if e.hypothesis else []
    return [*lines, *filter(None, [foreseen_words(e, history)])]


def _flag_lines(e: Experiment) -> list[str]:
    """What a person should look at first in the diff."""
    lines = [f"  {flag.path}:{flag.line} {flag.name}: {flag.words}" for flag in e.flags]
    return ["look at these first:", *lines] if lines else []


def _pair_lines(history: History, e: Experiment) -> list[str]:
    """The pairs of each race, checkpoint and final comparison: which came first, and by how much it was better."""
    assert history.run is not None
    metric, lines = history.run.metric, []
    race, gain = [m for m in e.measurements[e.base :] if m.phase == "race"], gain_of(e, history)
    if race and gain is not None:
        beside = sum(m.of != e.n for m in race)
        runs = f"{counted(1 + len(race) - beside, 'run')} of the candidate, {beside} of the incumbent beside it"
        lines.append(f"  {runs}: gain {gain:+.6g}".replace("-", "−"))
    for phase, what in (("race", "race"), ("between", "checkpoint"), ("held_out", "held-out"), ("final", "final")):
        for i, pair in enumerate(pairs((m for m in e.measurements if m.phase == phase), history), 1):
            first, second = sorted((pair.one, pair.other), key=lambda m: m.index)
            shown = [f"{m.arm} (experiment {m.of}) {show_number(m.values.get(metric))}" for m in (first, second)]
            lines.append(f"  {what}, pair {i}: {' then '.join(shown)}: gain {pair.gain:+.6g}".replace("-", "−"))
    return lines


def _lines(lines: int | None) -> str:
    """` · +3 lines`: what a change adds, with its sign."""
    return "" if lines is None else f" · {lines:+d} line{'' if abs(lines) == 1 else 's'}".replace("-", "−").replace("+0", "±0")


def _measured_again(history: History, e: Experiment) -> list[str]:
    """The value as it was recorded first, and as it was measured later."""
    recorded = e.verdict.value if e.verdict else None
    lines = []
    if e.value != recorded:
        lines.append(f"recorded {show_number(recorded)}, measured again later: {show_number(e.value)}")
    bar = history.agenda.bars.get(e.n)
    if bar is not None and bar != e.value:
        lines.append(f"recorded {show_number(e.value)}, to beat since it was measured again: {show_number(bar)}")
    return lines


def print_diff(folder: Path, name: str | None, n: int, m: int | None) -> None:
    """What experiment n changed; with m, what leads from n to m."""
    project, ledger, run = _open(folder, name)
    e = _experiment(ledger, run, n)
    before, after = (n, m) if m is not None else (e.stands_on if e.parents else 0, n)
    sys.stdout.write(_diff(project, ledger, run, before, after))


def _diff(project: Project, ledger: SqliteLedger, run: str, a: int, b: int) -> str:
    location = git.locate(project.folder)
    trees = []
    for n in (a, b):
        e = _experiment(ledger, run, n)
        if not e.tree:
            return f"experiment {n} has no candidate: {e.verdict.words if e.verdict else 'it is open'}\n"
        trees.append(e.tree)
    assert location is not None
    diff = git.run(f"--git-dir={location.git_dir}", "diff", "--no-color", "--no-ext-diff", *trees)
    return _mask(project).cover(diff.decode("utf-8", "replace"))


def _mask(project: Project) -> Mask:
    """What covers the values of variables that the task passes through, as far as they are set here."""
    try:
        return mask_of(load(project.folder).evaluate.env)
    except SetupError:
        return NOTHING


def draw_plot(folder: Path, name: str | None, out: Path | None) -> None:
    from autoresearch.plot import Plotter

    project, ledger, run = _open(folder, name)
    if not ledger.history(run).line:
        raise SetupError(f"run {run} has no baseline yet: nothing to draw")
    target = out or project.paths.run(run).progress
    if target.suffix not in (".png", ".svg", ".pdf"):
        raise SetupError(f"--out {target}: expected a name that ends in .png, .svg or .pdf")
    if not Plotter(project.paths.ledger, run, target.absolute()).finish():
        raise SetupError(f"cannot draw {target}: is its folder writable?")
    _print(str(target))


def stop_run(folder: Path, name: str | None, *, finish: bool) -> None:
    project = Project.find(folder)
    reader = project.ledger(read_only=True)
    running = [r.run for r in reader.runs() if lock.owner(project.paths.run(r.run).lock)]
    if name is None and not running:
        _print("no run is working here")
        return
    run = project.pick(reader, name or running[-1]).run
    if run not in running:
        _print(f"nobody works on run {run}")
        return
    ledger = project.ledger()
    request = ledger.request(run, "stop", {"finish": finish})
    deadline = time.monotonic() + (3600 * 24 if finish else 15)
    while lock.owner(project.paths.run(run).lock):
        if time.monotonic() > deadline:
            raise OwnedElsewhere(f"run {run} was asked to stop and still works; look at `autoresearch status`")
        if finish and ledger.answered(request):
            _print(f"run {run} lets the experiments under way come to their verdicts, then ends")
            return
        time.sleep(0.05)
    _print(f"run {run} has stopped; `autoresearch run {run}` goes on with it")


def export_run(folder: Path, name: str | None, kind: str) -> None:
    if kind not in ("tsv", "jsonl"):
        raise UnknownName("export", kind, ["tsv", "jsonl"])
    _, ledger, run = _open(folder, name)
    history = ledger.history(run)
    assert history.run is not None
    if kind == "jsonl":
        _print(*export_jsonl(history))
    else:
        sys.stdout.write(tsv_header(history.run.metric))
        for e in history.experiments:
            if e.decided:
                sys.stdout.write(tsv_row(e))


def clean_cache(folder: Path, *, everything: bool) -> None:
    """Remove cached trees that no live run uses."""
    from autoresearch.machine import used_bytes
    from autoresearch.paths import project_key
    from autoresearch.workspace.tree import remove

    root = cache_root()
    if everything:
        folders = [p for p in root.iterdir() if p.is_dir()] if root.is_dir() else []
    else:
        folders = [root / project_key(Project.find(folder).folder)]
    freed = 0
    for project in folders:
        for run in sorted(project.iterdir()) if project.is_dir() else []:
            if _in_use(run):
                _print(f"{run.name}: in use, left alone")
                continue
            freed += used_bytes(run)
            remove(run)
        if project.is_dir() and not any(project.iterdir()):
            project.rmdir()
    _print(f"{freed / 1e6:.1f} MB freed")


def _in_use(cache: Path) -> bool:
    """Whether a live process holds the run that a cache folder belongs to: its own lock says so."""
    return bool(lock.owner(cache / CACHE_LOCK))


def remove_run(folder: Path, name: str, *, yes: bool) -> None:
    import typer

    project = Project.find(folder)
    ledger = project.ledger()
    run = project.pick(ledger, name).run
    names = project.paths.run(run)
    with lock.OwnerLock(names.lock, run):
        if not yes and not typer.confirm(f"remove run {run} with all its records and candidates?", default=False):
            raise SetupError("nothing was removed")
        location = git.locate(project.folder)
        if location is not None:
            here = f"--git-dir={location.git_dir}"
            refs = git.run(here, "for-each-ref", "--format=%(refname)", f"refs/autoresearch/{run}").decode().split()
            rows = "".join(f"delete {ref}\n" for ref in refs)
            git.run(here, "update-ref", "--no-deref", "--stdin", stdin=rows.encode())
        ledger.forget(run)
        shutil.rmtree(names.cache, ignore_errors=True)
    shutil.rmtree(names.folder, ignore_errors=True)
    _print(f"run {run} is removed; its branch autoresearch/{run} is yours to keep or delete")
