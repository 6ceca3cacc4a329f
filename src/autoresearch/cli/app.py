"""All commands, and the flags of those that are of no kind. Each imports what it needs when it runs: `--help` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoresearch.cli.groups import Grouped
from autoresearch.cli.looking import looking
from autoresearch.cli.options import HERE, Folder, Json, Yes
from autoresearch.cli.seat import seat
from autoresearch.cli.starting import starting
from autoresearch.cli.steering import steering

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


for kind in (starting, looking, steering, seat):
    app.registered_commands += kind.registered_commands
    app.registered_groups += kind.registered_groups
