"""`python -m autoresearch.cli.draw LEDGER RUN OUT`: the child process in which the progress picture is drawn."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    from autoresearch.ledger import SqliteLedger
    from autoresearch.plot import draw

    ledger = SqliteLedger(Path(sys.argv[1]), read_only=True)
    draw(ledger.history(sys.argv[2]), Path(sys.argv[3]))


if __name__ == "__main__":
    main()
