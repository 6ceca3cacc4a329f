"""The command line: parses and shows, decides nothing."""

from __future__ import annotations

import gc
import os
import sys

_GARBAGE = 20_000  # objects between two collections: with the usual 700 a tenth of a short command's time goes into them


def main() -> None:
    """Run the command line; errors of ours are one message and an exit code, never a traceback."""
    gc.set_threshold(_GARBAGE)
    from autoresearch.cli.app import app
    from autoresearch.errors import AutoresearchError

    try:
        app()
    except AutoresearchError as error:
        print(f"autoresearch: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a reader such as `head` went away
        sys.exit(0)
