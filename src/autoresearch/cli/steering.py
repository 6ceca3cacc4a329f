"""The commands by which a person has a say in a run."""

from __future__ import annotations

from typing import Annotated

import typer

from autoresearch.cli.options import HERE, Folder, Json, RunName

steering = typer.Typer()


@steering.command()
def stop(
    name: RunName = None,
    folder: Folder = HERE,
    finish: Annotated[bool, typer.Option("--finish", help="Let the experiments under way come to their verdicts.")] = False,
) -> None:
    """End a run that another process works on; it can go on later."""
    from autoresearch.cli.look import stop_run

    stop_run(folder, name, finish=finish)


@steering.command()
def validate(
    name: RunName = None,
    pairs: Annotated[int | None, typer.Option("--pairs", metavar="N", help="Pairs of evaluations, 3 to 8.")] = None,
    folder: Folder = HERE,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Compare the result with the original baseline, in interleaved pairs."""
    from autoresearch.cli.back import validate_run

    raise typer.Exit(validate_run(folder, name, pairs=pairs, as_json=json))


@steering.command()
def revive(
    n: Annotated[int, typer.Argument(help="The experiment's number.")],
    name: Annotated[str | None, typer.Option("--run", help="The run; the newest one if left out.")] = None,
    folder: Folder = HERE,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Try an experiment's candidate again on the present incumbent."""
    from autoresearch.cli.back import order_run

    raise typer.Exit(order_run(folder, name, "revive", {"experiment": n}, as_json=json))


@steering.command()
def reject(
    n: Annotated[int, typer.Argument(help="The experiment's number.")],
    name: Annotated[str | None, typer.Option("--run", help="The run; the newest one if left out.")] = None,
    folder: Folder = HERE,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Take a kept change out; later ones are applied and measured again without it. What waits for you waits no more."""
    from autoresearch.cli.back import order_run

    raise typer.Exit(order_run(folder, name, "reject", {"experiment": n}, as_json=json))


@steering.command()
def approve(
    n: Annotated[list[int], typer.Argument(help="The experiments' numbers.")],
    name: Annotated[str | None, typer.Option("--run", help="The run; the newest one if left out.")] = None,
    folder: Folder = HERE,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Let changes be kept that wait for you: each is tried again on the present incumbent."""
    from autoresearch.cli.back import order_run

    raise typer.Exit(order_run(folder, name, "approve", {"experiments": n}, as_json=json))


@steering.command()
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


@steering.command()
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
