"""All commands with their flags. Each imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="autoresearch",
    help="Improves anything that can be measured while its owner sleeps.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folder = Annotated[Path, typer.Option("--folder", "-C", help="The project's folder.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Answer every question with its default.")]
RunName = Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run's name; the newest one if left out.")]
HERE = Path()


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
    yes: Yes = False,
    name: Annotated[str | None, typer.Option(help="The task's name.")] = None,
    edit: Annotated[list[str] | None, typer.Option(help="A file or glob that may be changed; repeat for more.")] = None,
    command: Annotated[str | None, typer.Option("--eval", help="The command that measures.")] = None,
    metric: Annotated[str | None, typer.Option(help="The number's name as the command prints it.")] = None,
    minimize: Annotated[bool, typer.Option("--minimize", help="Lower is better.")] = False,
    maximize: Annotated[bool, typer.Option("--maximize", help="Higher is better.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing task file.")] = False,
) -> None:
    """Write a task: autoresearch.toml and program.md."""
    from autoresearch.cli.setup import Answers, write_task
    from autoresearch.errors import SetupError

    if minimize and maximize:
        raise SetupError("--minimize and --maximize are both given, expected one of them")
    direction = "maximize" if maximize else "minimize" if minimize else None
    write_task(folder, Answers(name, edit or [], command, metric, direction), yes=yes, force=force)


@app.command()
def check(folder: Folder = HERE, json: Json = False, yes: Yes = False) -> None:
    """Measure the unchanged code twice, as a run would, and say what was read."""
    from autoresearch.cli.setup import check_task

    raise typer.Exit(check_task(folder, as_json=json, yes=yes))


@app.command()
def run(
    name: RunName = None,
    experiments: Annotated[int | None, typer.Option("-n", help="Experiments in this session.", min=1)] = None,
    time: Annotated[str | None, typer.Option(help="Working time of this session, as 90s, 5m, 8h.")] = None,
    until: Annotated[str | None, typer.Option(help="Clock time at which this session ends, as 07:00.")] = None,
    proposals: Annotated[int | None, typer.Option(help="Proposal slots.", min=1)] = None,
    evaluations: Annotated[int | None, typer.Option(help="Evaluation slots.", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of a new run.", min=0)] = None,
    new: Annotated[bool, typer.Option("--new", help="Start a new run even if one is unfinished.")] = False,
    start: Annotated[str | None, typer.Option("--from", help="Start a new run from RUN, RUN:N or a git revision.")] = None,
    include_dirty: Annotated[bool, typer.Option("--include-dirty", help="Start from the files as they are now.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Go on in the background.")] = False,
    folder: Folder = HERE,
    yes: Yes = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Run experiments: go on with the newest unfinished run, or start one."""
    from autoresearch.cli.start import Flags, run_command

    flags = Flags(name, experiments, time, until, proposals, evaluations, seed, new, start, include_dirty, detach, yes, json)
    raise typer.Exit(run_command(folder, flags))


@app.command()
def demo(
    n: Annotated[int, typer.Option("--n", help="Experiments.", min=1)] = 40,
    folder: Annotated[Path, typer.Option("--folder", "-C", help="Where to put the example.")] = Path("autoresearch-demo"),
    seed: Annotated[int, typer.Option(help="Seed of the run.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Train a small language model dozens of times and watch it get better."""
    from autoresearch.cli.demo import run_demo

    raise typer.Exit(run_demo(folder, experiments=n, seed=seed, as_json=json))


@app.command()
def status(name: RunName = None, folder: Folder = HERE, json: Json = False) -> None:
    """Say how a run stands."""
    from autoresearch.cli.look import show_status

    show_status(folder, name, as_json=json)


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
    m: Annotated[int | None, typer.Argument(help="Compare with this one; its parent if left out.", min=0)] = None,
    name: Annotated[str | None, typer.Option("--run", help="The run; the newest one if left out.")] = None,
    folder: Folder = HERE,
) -> None:
    """Print what an experiment changed."""
    from autoresearch.cli.look import print_diff

    print_diff(folder, name, n, m)


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
def export(
    kind: Annotated[str, typer.Argument(help="tsv or jsonl.")] = "tsv",
    name: Annotated[str | None, typer.Option("--run", help="The run; the newest one if left out.")] = None,
    folder: Folder = HERE,
) -> None:
    """Print all experiments as results.tsv or as JSON lines."""
    from autoresearch.cli.look import export_run

    export_run(folder, name, kind)


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
    from autoresearch.cli.setup import examine_machine

    examine_machine(as_json=json)
