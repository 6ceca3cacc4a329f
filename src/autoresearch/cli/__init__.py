"""The command line: parses and shows, decides nothing."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

_GARBAGE = 20_000  # objects between two collections: with the usual 700 a tenth of a short command's time goes into them


QUICK = ("try", "wait", "probe")
"""Commands that an agent waits for: the others are not made for them."""


def _app() -> typer.Typer:
    if sys.argv[1:2] and sys.argv[1] in QUICK:
        from autoresearch.cli.seat import seat

        return seat
    from autoresearch.cli.app import app

    return app


def main() -> None:
    """Run the command line; errors of ours are one message and an exit code, never a traceback."""
    gc.set_threshold(_GARBAGE)
    from autoresearch.errors import AutoresearchError

    try:
        _app()()
    except AutoresearchError as error:
        print(f"autoresearch: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a reader such as `head` went away
        sys.exit(0)
