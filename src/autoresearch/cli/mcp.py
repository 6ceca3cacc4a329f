"""`autoresearch mcp`: the tools for an agent, and what to write where so that an agent starts them."""

from __future__ import annotations

import signal
import sys
from importlib.util import find_spec
from pathlib import Path

from autoresearch.errors import SetupError
from autoresearch.mcp.clients import config_of
from autoresearch.project import Project
from autoresearch.taskfile import load

_MISSING = "the MCP server needs the extra `mcp`: pip install 'autoresearch[mcp]'"


def serve_tools(folder: Path, run: str | None, *, enter: bool) -> int:
    """Answer the client at the other end of standard input and output; gives the exit code.

    Raises:
        SetupError: the extra is not installed.
    """
    if find_spec("mcp") is None:
        raise SetupError(_MISSING)
    from autoresearch.mcp.seat import Seat
    from autoresearch.mcp.server import serve

    if sys.stdin.isatty():
        sys.stderr.write(
            "this is for agents, who start it themselves: autoresearch mcp --config claude says how; Ctrl-C ends it\n"
        )
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends at once: a thread that reads could not be interrupted
    serve(Seat(folder, run=run, enters=enter))
    return 0


def print_config(client: str, folder: Path, run: str | None, *, enter: bool) -> None:
    """The text for a client on standard output, where it goes on standard error."""
    args = [*(["--run", run] if run else []), *(["--enter"] if enter else [])]
    if folder != Path():
        args += ["--folder", str(folder.absolute())]
    config = config_of(client, args, _variables(folder))
    missing = [_MISSING] if find_spec("mcp") is None else []
    sys.stderr.write("".join(f"{line}\n" for line in [*config.how, *missing]))
    sys.stdout.write(config.text)


def _variables(folder: Path) -> list[str]:
    """What the task passes through to its evaluations; nothing where there is no task yet."""
    try:
        return list(load(Project.find(folder).folder).evaluate.env)
    except SetupError:
        return []
