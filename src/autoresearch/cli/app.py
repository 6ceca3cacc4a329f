"""All commands with their flags. Each imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from autoresearch.cli import seat
from autoresearch.cli.groups import Grouped
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

app = typer.Typer(
    cls=Grouped,
    name="autoresearch",
    help="Improves anything that can be measured while its owner sleeps.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"autoresearch {version('autoresearch')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def overview(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Improves anything that can be measured while its owner sleeps."""
    if context.invoked_subcommand is None:
        from autoresearch.cli.look import overview as show

        show(HERE)


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
def status(
    name: RunName = None,
    folder: Folder = HERE,
    json: Json = False,
    refs: Annotated[bool, typer.Option("--refs", help="What git push --all and --mirror would publish.")] = False,
) -> None:
    """Say how a run stands."""
    from autoresearch.cli.look import show_refs, show_status

    if refs:
        return show_refs(folder, as_json=json)
    return show_status(folder, name, as_json=json)


@app.command()
def log(
    name: RunName = None,
    folder: Folder = HERE,
    json: Json = False,
    limit: Annotated[int, typer.Option("-n", help="Only the last N experiments; 0 for all.", min=0)] = 0,
    verify: Annotated[bool, typer.Option("--verify", help="Check the ledger's hash chain.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make the ledger's tables again from its events.")] = False,
) -> None:
    """List the experiments of a run."""
    from autoresearch.cli.look import rebuild_views, show_log, verify_chain

    if verify:
        verify_chain(folder, name)
    elif rebuild:
        rebuild_views(folder)
    else:
        show_log(folder, name, as_json=json, limit=limit)


@app.command()
def show(
    n: Annotated[int, typer.Argument(help="The experiment's number.", min=0)],
    name: Annotated[str | None, typer.Option("--run", help="The run; the newest one if left out.")] = None,
    folder: Folder = HERE,
    json: Json = False,
) -> None:
    """Show one experiment: verdict, measurements, diff, the end of its log."""
    from autoresearch.cli.look import show_experiment

    show_experiment(folder, name, n, as_json=json)


@app.command()
def diff(
    n: Annotated[int, typer.Argument(help="The experiment's number.", min=0)],
    m: Annotated[int | None, typer.Argument(help="Print what leads from N to M instead.", min=0)] = None,
    name: Annotated[str | None, typer.Option("--run", help="The run; the newest one if left out.")] = None,
    folder: Folder = HERE,
) -> None:
    """Print what an experiment changed."""
    from autoresearch.cli.look import print_diff

    print_diff(folder, name, n, m)


@app.command()
def report(name: RunName = None, folder: Folder = HERE, json: Json = False) -> None:
    """What a run came to, who proposed what, and what it teaches."""
    from autoresearch.cli.report import show_report

    show_report(folder, name, as_json=json)


@app.command()
def plot(
    name: RunName = None,
    folder: Folder = HERE,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The picture's path; png, svg or pdf.")] = None,
) -> None:
    """Draw the progress picture."""
    from autoresearch.cli.look import draw_plot

    draw_plot(folder, name, out)


@app.command()
def stop(
    name: RunName = None,
    folder: Folder = HERE,
    finish: Annotated[bool, typer.Option("--finish", help="Let the experiments under way come to their verdicts.")] = False,
) -> None:
    """End a run that another process works on; it can go on later."""
    from autoresearch.cli.look import stop_run

    stop_run(folder, name, finish=finish)


@app.command()
def validate(
    name: RunName = None,
    pairs: Annotated[int | None, typer.Option("--pairs", metavar="N", help="Pairs of evaluations, 3 to 8.")] = None,
    folder: Folder = HERE,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Compare the result with the original baseline, in interleaved pairs."""
    from autoresearch.cli.back import validate_run

    raise typer.Exit(validate_run(folder, name, pairs=pairs, as_json=json))


@app.command()
def revive(
    n: Annotated[int, typer.Argument(help="The experiment's number.")],
    name: Annotated[str | None, typer.Option("--run", help="The run; the newest one if left out.")] = None,
    folder: Folder = HERE,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Try an experiment's candidate again on the present incumbent."""
    from autoresearch.cli.back import order_run

    raise typer.Exit(order_run(folder, name, "revive", {"experiment": n}, as_json=json))


@app.command()
def reject(
    n: Annotated[int, typer.Argument(help="The experiment's number.")],
    name: Annotated[str | None, typer.Option("--run", help="The run; the newest one if left out.")] = None,
    folder: Folder = HERE,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Take a kept change out; later ones are applied and measured again without it. What waits for you waits no more."""
    from autoresearch.cli.back import order_run

    raise typer.Exit(order_run(folder, name, "reject", {"experiment": n}, as_json=json))


@app.command()
def approve(
    n: Annotated[list[int], typer.Argument(help="The experiments' numbers.")],
    name: Annotated[str | None, typer.Option("--run", help="The run; the newest one if left out.")] = None,
    folder: Folder = HERE,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Let changes be kept that wait for you: each is tried again on the present incumbent."""
    from autoresearch.cli.back import order_run

    raise typer.Exit(order_run(folder, name, "approve", {"experiments": n}, as_json=json))


@app.command()
def idea(
    text: Annotated[str | None, typer.Argument(help="A line for proposers; lists the ideas if left out.")] = None,
    done: Annotated[int | None, typer.Option("--done", metavar="K", help="Idea K need not be told any more.")] = None,
    name: Annotated[str | None, typer.Option("--run", help="The run; the newest one if left out.")] = None,
    folder: Folder = HERE,
    json: Json = False,
) -> None:
    """Tell the proposers of a run an idea, from the next experiment on."""
    from autoresearch.cli.back import give_idea

    give_idea(folder, name, text, done=done, as_json=json)


@app.command()
def brief(
    n: Annotated[
        str | None, typer.Argument(metavar="[N]", help="An experiment's number: what it was told; with --eject, a path.")
    ] = None,
    name: Annotated[str | None, typer.Option("--run", help="The run; the newest one if left out.")] = None,
    folder: Folder = HERE,
    json: Json = False,
    eject: Annotated[
        bool, typer.Option("--eject", help="Write the template into the project, as brief.md.j2 or at the path given.")
    ] = False,
    driving: Annotated[
        bool | None,
        typer.Option("--try/--no-try", help="For who has changes tried: what to know before the next one.", show_default=False),
    ] = None,
) -> None:
    """Print what the next experiment would be told, or what experiment N was; how many tokens its parts have."""
    from autoresearch.cli.brief import eject_template, show_brief
    from autoresearch.errors import SetupError

    if eject:
        return eject_template(folder, n)
    if n is not None and not n.isdecimal():
        raise SetupError(f"brief {n}: expected an experiment's number; a run goes by --run {n}")
    return show_brief(folder, None if n is None else int(n), name, as_json=json, driving=driving)


@app.command()
def export(
    kind: Annotated[str, typer.Argument(help="tsv or jsonl.")] = "tsv",
    name: Annotated[str | None, typer.Option("--run", help="The run; the newest one if left out.")] = None,
    folder: Folder = HERE,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", metavar="FILE", help="Write the whole run into a file, for `import` elsewhere.")
    ] = None,
    limit: Annotated[float, typer.Option("--limit", metavar="MB", help="Leave larger logs out of the file.", min=0)] = 10.0,
) -> None:
    """Print all experiments as results.tsv or as JSON lines, or write the whole run into a file."""
    from autoresearch.cli.back import export_bundle
    from autoresearch.cli.look import export_run

    if bundle is not None:
        return export_bundle(folder, name, bundle, limit_mb=limit)
    return export_run(folder, name, kind)


@app.command("import")
def import_(file: Annotated[Path, typer.Argument(help="What `export --bundle` wrote.")], folder: Folder = HERE) -> None:
    """Take a run out of a file: its records, logs, candidates and branch."""
    from autoresearch.cli.back import import_bundle

    import_bundle(folder, file)


@app.command()
def clean(folder: Folder = HERE, everything: Annotated[bool, typer.Option("--all", help="Of all projects.")] = False) -> None:
    """Delete cached trees of runs that nobody works on; they are built again when needed."""
    from autoresearch.cli.look import clean_cache

    clean_cache(folder, everything=everything)


@app.command("rm")
def remove(
    name: Annotated[str, typer.Argument(metavar="RUN", help="The run to remove.")],
    folder: Folder = HERE,
    yes: Yes = False,
) -> None:
    """Remove a run: its records, its candidates, its cached trees. Its branch stays."""
    from autoresearch.cli.look import remove_run

    remove_run(folder, name, yes=yes)


@app.command()
def doctor(json: Json = False) -> None:
    """Say what this machine offers: git, containment, memory, the ledger's database."""
    from autoresearch.cli.doctor import examine_machine

    examine_machine(as_json=json)


seat.add_to(app)
