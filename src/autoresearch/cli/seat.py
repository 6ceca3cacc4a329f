"""The commands of an agent in the driving seat, which are quick to load by themselves."""

from __future__ import annotations

from typing import Annotated

import typer

from autoresearch.cli.options import HERE, Folder, Json, RunName, Yes

seat = typer.Typer(
    name="autoresearch",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Background = Annotated[bool, typer.Option("--background", help="Answer with a job number at once.")]
AtMost = Annotated[str | None, typer.Option("--max", metavar="TIME", help="Wait no longer than this, as 45s.")]


@seat.command("try")
def try_(
    message: Annotated[str, typer.Option("--message", "-m", help="What was changed and why; the first line is its title.")],
    expect: Annotated[str, typer.Option(metavar="CHANGE", help="By how much the number should change, as -1 %.")] = "",
    background: Background = False,
    at_most: AtMost = None,
    name: Annotated[str | None, typer.Option("--run", help="The run; the newest one if left out.")] = None,
    new: Annotated[bool, typer.Option("--new", help="Start a new run from HEAD.")] = False,
    folder: Folder = HERE,
    json: Json = False,
) -> None:
    """Have the change in the present tree measured and decided; 0 for every verdict, 3 when the budget is spent."""
    from autoresearch.cli.tries import try_change

    raise typer.Exit(
        try_change(folder, message, expect=expect, run=name, new=new, background=background, max_s=at_most, as_json=json)
    )


@seat.command()
def wait(
    job: Annotated[int, typer.Argument(help="The job's number.", min=1)],
    at_most: AtMost = None,
    folder: Folder = HERE,
    json: Json = False,
) -> None:
    """Wait for what was tried in the background."""
    from autoresearch.cli.tries import wait_for_job

    raise typer.Exit(wait_for_job(folder, job, max_s=at_most, as_json=json))


@seat.command()
def probe(
    what: Annotated[str, typer.Argument(metavar="[quick|checks|all]", help="How much of the task is run.")] = "quick",
    background: Background = False,
    at_most: AtMost = None,
    name: Annotated[str | None, typer.Option("--run", help="The run; the newest one if left out.")] = None,
    folder: Folder = HERE,
    json: Json = False,
) -> None:
    """Run the quick test on the change in the present tree, without a verdict; 0 passed, 1 failed, 2 not tried."""
    from autoresearch.cli.tries import probe_change

    raise typer.Exit(probe_change(folder, what, run=name, background=background, max_s=at_most, as_json=json))


@seat.command()
def enter(
    name: RunName = None,
    folder: Folder = HERE,
    json: Json = False,
    show: Annotated[bool, typer.Option("--list", help="Show the trees that there are.")] = False,
    gone: Annotated[int | None, typer.Option("--remove", metavar="K", help="Delete tree K with all that is in it.")] = None,
    yes: Yes = False,
) -> None:
    """Make a tree to work in that follows the verdicts: cd "$(autoresearch enter)". The rules go to standard error."""
    from autoresearch.cli.enter import enter_tree, list_trees, remove_tree

    if gone is not None:
        return remove_tree(folder, name, gone, yes=yes)
    if show:
        return list_trees(folder, name, as_json=json)
    return enter_tree(folder, name, as_json=json)


@seat.command()
def mcp(
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="CLIENT", help="Print what to write where: claude, codex, gemini or opencode."),
    ] = None,
    name: Annotated[str | None, typer.Option("--run", help="The run; the newest unfinished or a new one if left out.")] = None,
    enter: Annotated[bool, typer.Option("--enter", help="Let the agent work in a tree of its own.")] = False,
    folder: Folder = HERE,
) -> None:
    """Serve an agent with tools: brief, try, wait, status, history, show, idea. Agents start it themselves."""
    from autoresearch.cli.mcp import print_config, serve_tools

    if config is not None:
        return print_config(config, folder, name, enter=enter)
    raise typer.Exit(serve_tools(folder, name, enter=enter))


skill = typer.Typer(help="Teach your agent to drive: a page for it to read.", no_args_is_help=True, rich_markup_mode=None)
seat.add_typer(skill, name="skill")
For = Annotated[
    list[str] | None,
    typer.Option("--for", metavar="AGENT", help="claude, codex, gemini, opencode, pi or agents-md; repeat for more."),
]
ForUser = Annotated[bool, typer.Option("--user", help="For all your projects: in your home.")]
ForProject = Annotated[bool, typer.Option("--project", help="For this project: in its folder.")]


@skill.command("install")
def skill_install(
    agents: For = None,
    user: ForUser = False,
    project: ForProject = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that was changed, or is another's.")] = False,
    folder: Folder = HERE,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Write the page where these agents look."""
    from autoresearch.cli.skill import install_skill, level_of

    level = level_of(user=user, project=project)
    install_skill(folder, agents or (), level=level, force=force, yes=yes, as_json=json)


@skill.command("print")
def skill_print(
    agent: Annotated[str | None, typer.Option("--for", metavar="AGENT", help="As this agent finds it.")] = None,
    json: Json = False,
) -> None:
    """Show the page."""
    from autoresearch.cli.skill import print_skill

    print_skill(agent, as_json=json)


@skill.command("remove")
def skill_remove(
    agents: For = None,
    user: ForUser = False,
    project: ForProject = False,
    force: Annotated[bool, typer.Option("--force", help="Remove a file that was changed as well.")] = False,
    folder: Folder = HERE,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Take away what was installed, for all agents if none is named."""
    from autoresearch.cli.skill import level_of, remove_skill

    level = level_of(user=user, project=project)
    remove_skill(folder, agents or (), level=level, force=force, yes=yes, as_json=json)
