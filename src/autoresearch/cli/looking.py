"""The commands that show a run and change nothing of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoresearch.cli.options import HERE, Folder, Json, RunName

looking = typer.Typer()


@looking.command()
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


@looking.command()
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


@looking.command()
def show(
    n: Annotated[int, typer.Argument(help="The experiment's number.", min=0)],
    name: Annotated[str | None, typer.Option("--run", help="The run; the newest one if left out.")] = None,
    folder: Folder = HERE,
    json: Json = False,
) -> None:
    """Show one experiment: verdict, measurements, diff, the end of its log."""
    from autoresearch.cli.look import show_experiment

    show_experiment(folder, name, n, as_json=json)


@looking.command()
def diff(
    n: Annotated[int, typer.Argument(help="The experiment's number.", min=0)],
    m: Annotated[int | None, typer.Argument(help="Print what leads from N to M instead.", min=0)] = None,
    name: Annotated[str | None, typer.Option("--run", help="The run; the newest one if left out.")] = None,
    folder: Folder = HERE,
) -> None:
    """Print what an experiment changed."""
    from autoresearch.cli.look import print_diff

    print_diff(folder, name, n, m)


@looking.command()
def report(name: RunName = None, folder: Folder = HERE, json: Json = False) -> None:
    """What a run came to, who proposed what, and what it teaches."""
    from autoresearch.cli.report import show_report

    show_report(folder, name, as_json=json)


@looking.command()
def plot(
    name: RunName = None,
    folder: Folder = HERE,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The picture's path; png, svg or pdf.")] = None,
) -> None:
    """Draw the progress picture."""
    from autoresearch.cli.look import draw_plot

    draw_plot(folder, name, out)
