"""The commands that begin something: a task, a proof that it works, a run, a demonstration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from autoresearch.cli.options import (
    HERE,
    Build,
    Caches,
    Copies,
    Edit,
    Env,
    Evaluate,
    Folder,
    Inputs,
    Json,
    Pattern,
    RunName,
    SetUp,
    Unit,
    Yes,
)

starting = typer.Typer()


@starting.command()
def init(
    folder: Folder = HERE,
    number: Annotated[
        str | None,
        typer.Argument(
            metavar="[METRIC | GOAL]",
            help="The number's name, as in --minimize METRIC; or, for --with, what to improve in words.",
            show_default=False,
        ),
    ] = None,
    yes: Yes = False,
    drafter: Annotated[
        str | None, typer.Option("--with", metavar="AGENT", help="Who drafts it: claude, codex, gemini, opencode, pi, llm.")
    ] = None,
    model: Annotated[str, typer.Option(help="The model of --with.", show_default=False)] = "",
    base_url: Annotated[str, typer.Option(help="Where the model of --with is served.", show_default=False)] = "",
    cost: Annotated[float | None, typer.Option(metavar="USD", help="What the draft may cost at most; 1 if left out.")] = None,
    name: Annotated[str | None, typer.Option(help="The task's name.")] = None,
    edit: Edit = None,
    command: Evaluate = None,
    metric: Annotated[str | None, typer.Option(help="The number's name as the command prints it.")] = None,
    minimize: Annotated[bool, typer.Option("--minimize", help="Lower is better.")] = False,
    maximize: Annotated[bool, typer.Option("--maximize", help="Higher is better.")] = False,
    unit: Unit = None,
    pattern: Pattern = None,
    file: Annotated[str | None, typer.Option(help="A JSON file that the command leaves, to read the number from.")] = None,
    path: Annotated[str | None, typer.Option(help="Where in that file, as results[0].mean.")] = None,
    take: Annotated[str | None, typer.Option(help="Which one, if printed more often: last, first, min, max, median.")] = None,
    inputs: Inputs = None,
    setup: SetUp = None,
    build: Build = None,
    copy: Copies = None,
    cache: Caches = None,
    env: Env = None,
    template: Annotated[str | None, typer.Option(help="Write a whole task that works; `list` says which there are.")] = None,
    run_it: Annotated[bool, typer.Option("--try", help="Run the command once in a sealed tree to see its numbers.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing task file.")] = False,
) -> None:
    """Write a task: autoresearch.toml and program.md.

    With a goal in words and --with, an agent drafts them, and what measures.
    """
    from autoresearch.cli.answers import Given, given_by
    from autoresearch.cli.init import write_task
    from autoresearch.errors import SetupError

    if minimize and maximize:
        raise SetupError("--minimize and --maximize are both given, expected one of them")
    if number and drafter is None and len(number.split()) > 1:
        raise SetupError(
            f"{number!r} is a goal in words, for which an agent can draft a task: add --with claude (codex, gemini, opencode, "
            "pi, llm); or name the number by --minimize or --maximize"
        )
    if number and drafter is None and not (minimize or maximize):
        raise SetupError(f"unexpected {number!r}: name the number by --minimize {number}, the folder by --folder {number}")
    if number and metric and number != metric:
        raise SetupError(f"the number is called both {metric!r} and {number!r}, expected one name")
    given = given_by(
        name=name,
        edit=edit,
        command=command,
        metric=metric or number,
        direction="maximize" if maximize else "minimize" if minimize else None,
        unit=unit,
        pattern=pattern,
        file=file,
        path=path,
        take=take,
        inputs=inputs,
        setup=setup,
        build=build,
        copies=copy,
        cache=cache,
        env=env,
    )
    if drafter is not None:
        if template is not None or replace(given, metric=None) != Given() or not number:
            raise SetupError(
                '--with takes the goal in words, and drafts all the rest: init "make GET /search faster" --with claude'
            )
        from autoresearch.cli.drafting_task import With, draft_task

        raise typer.Exit(draft_task(folder, number, With(drafter, model, base_url, cost), yes=yes, force=force))
    write_task(folder, given, yes=yes, force=force, run_it=run_it, template=template)


@starting.command()
def check(
    folder: Folder = HERE,
    json: Json = False,
    yes: Yes = False,
    fix: Annotated[bool, typer.Option("--fix", help="Write what is missing into autoresearch.toml.")] = False,
    aa: Annotated[int, typer.Option("--aa", metavar="N", help="Evaluations of the unchanged code.", min=0)] = 0,
) -> None:
    """Prove that the task will work: measure the unchanged code, break the editable files, say what is missing."""
    from autoresearch.cli.check import check_task

    raise typer.Exit(check_task(folder, as_json=json, yes=yes, fix=fix, aa=aa))


@starting.command()
def run(
    name: RunName = None,
    experiments: Annotated[int | None, typer.Option("-n", help="Experiments in this session.", min=1)] = None,
    time: Annotated[str | None, typer.Option(help="Working time of this session, as 90s, 5m, 8h.")] = None,
    until: Annotated[str | None, typer.Option(help="Clock time at which this session ends, as 07:00.")] = None,
    cost: Annotated[float | None, typer.Option(metavar="USD", help="What this session may cost at most.")] = None,
    tokens: Annotated[int | None, typer.Option(metavar="N", help="Tokens of this session at most.", min=1)] = None,
    proposals: Annotated[int | None, typer.Option(help="Proposal slots.", min=1)] = None,
    evaluations: Annotated[int | None, typer.Option(help="Evaluation slots.", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of a new run.", min=0)] = None,
    new: Annotated[bool, typer.Option("--new", help="Start a new run even if one is unfinished.")] = False,
    start: Annotated[str | None, typer.Option("--from", help="Start a new run from RUN, RUN:N or a git revision.")] = None,
    include_dirty: Annotated[bool, typer.Option("--include-dirty", help="Start from the files as they are now.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Go on in the background.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what a proposer would be started with and told, and what it may cost.")
    ] = False,
    rebaseline: Annotated[
        bool, typer.Option("--rebaseline", help="Measure baseline and incumbent here and go on with those numbers.")
    ] = False,
    proposer: Annotated[str, typer.Option(help="Who proposes, as claude, codex, gemini, llm, knobs.", show_default=False)] = "",
    model: Annotated[str, typer.Option(help="The proposer's model.", show_default=False)] = "",
    edit: Edit = None,
    command: Evaluate = None,
    minimize: Annotated[str | None, typer.Option("--minimize", metavar="METRIC", help="This number, lower is better.")] = None,
    maximize: Annotated[str | None, typer.Option("--maximize", metavar="METRIC", help="This number, higher is better.")] = None,
    unit: Unit = None,
    pattern: Pattern = None,
    inputs: Inputs = None,
    setup: SetUp = None,
    build: Build = None,
    copy: Copies = None,
    cache: Caches = None,
    env: Env = None,
    folder: Folder = HERE,
    yes: Yes = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Run experiments: go on with the newest unfinished run, or start one.

    Without a task file: --edit, --eval, and --minimize or --maximize write one.
    """
    from autoresearch.cli.answers import given_by
    from autoresearch.cli.init import ensure_task
    from autoresearch.cli.start import Flags, confirmer, run_command
    from autoresearch.errors import SetupError

    if minimize and maximize:
        raise SetupError("--minimize and --maximize are both given, expected one of them")
    given = given_by(
        edit=edit,
        command=command,
        metric=minimize or maximize,
        direction="maximize" if maximize else "minimize" if minimize else None,
        unit=unit,
        pattern=pattern,
        inputs=inputs,
        setup=setup,
        build=build,
        copies=copy,
        cache=cache,
        env=env,
    )
    wrote = not dry_run and ensure_task(folder, given, asks=confirmer(yes) is not None, proposer=proposer, model=model)
    flags = Flags(
        name=name,
        experiments=experiments,
        time=time,
        until=until,
        proposals=proposals,
        evaluations=evaluations,
        seed=seed,
        new=new,
        start=start,
        include_dirty=include_dirty,
        detach=detach,
        yes=yes,
        json=json,
        rebaseline=rebaseline,
        proposer="" if wrote else proposer,
        model="" if wrote else model,
        cost=cost,
        tokens=tokens,
    )
    if dry_run:
        from autoresearch.cli.dry_run import show_proposals

        return show_proposals(folder, flags)
    raise typer.Exit(run_command(folder, flags))


@starting.command()
def demo(
    n: Annotated[int | None, typer.Option("--n", help="Experiments; 40, or 8 with --kill.", min=1)] = None,
    kill: Annotated[
        bool, typer.Option("--kill", help="Kill a run three times and compare its ledger with one left alone.")
    ] = False,
    cheat: Annotated[bool, typer.Option("--cheat", help="Let a proposer cheat in four ways, and be honest once.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--folder", "-C", help="Where to put the example; autoresearch-demo if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the run.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Train a small language model dozens of times and watch it get better."""
    from autoresearch.cli.demo import run_demo

    raise typer.Exit(run_demo(folder, experiments=n, seed=seed, as_json=json, kill=kill, cheat=cheat))
