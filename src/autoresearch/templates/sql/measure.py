"""Time a query and compare its rows with those of a reference. Prints `query_ms: <number>`.

SQLite on generated rows by default. With $DATABASE_URL: PostgreSQL through psql, on the tables that are there.
"""

import json
import os
import random
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPEATS = 15
URL = os.environ.get("DATABASE_URL", "")
QUERY, REFERENCE = (Path(name).read_text(encoding="utf-8").strip().rstrip(";") for name in ("query.sql", "reference.sql"))
SESSION = json.loads(Path("session.json").read_text(encoding="utf-8"))


def main() -> None:
    rows, milliseconds = postgresql() if URL else sqlite()
    expected = rows(REFERENCE)
    if not expected or rows(QUERY) != expected:
        raise SystemExit(f"wrong rows: query.sql differs from reference.sql, which gives {len(expected)} rows")
    milliseconds(QUERY)  # warm-up: the page cache
    print(f"query_ms: {statistics.median(milliseconds(QUERY) for _ in range(REPEATS)):.4f}")


Rows, Milliseconds = Callable[[str], Any], Callable[[str], float]


def sqlite() -> tuple[Rows, Milliseconds]:
    """A database of generated rows, always the same ones. Put your own schema here, or open a copy of your file."""
    base = sqlite3.connect(":memory:")
    base.execute("create table customers (id integer, country text)")
    base.execute("create table orders (id integer, customer integer, day integer, cents integer)")
    rng = random.Random(1)
    base.executemany("insert into customers values (?, ?)", ((i, rng.choice(("DE", "FR", "PL", "IT"))) for i in range(800)))
    orders = ((i, rng.randrange(800), rng.randrange(365), rng.randrange(100, 90_000)) for i in range(30_000))
    base.executemany("insert into orders values (?, ?, ?, ?)", orders)
    for name, value in SESSION["settings"].items():
        base.execute(f"pragma {name} = {int(value)}")
    for number, (columns, wanted) in enumerate(SESSION["indexes"].items()):
        if wanted:
            base.execute(f"create index index_{number} on {columns}")
    base.execute("analyze")
    base.execute("pragma query_only = on")  # the query reads

    def milliseconds(query: str) -> float:
        began = time.perf_counter()
        base.execute(query).fetchall()
        return (time.perf_counter() - began) * 1000

    return (lambda query: base.execute(query).fetchall()), milliseconds


def postgresql() -> tuple[Rows, Milliseconds]:
    """The server's own time, so that neither the network nor psql is measured."""
    settings = [f"set {name} = '{value}'" for name, value in SESSION["settings"].items()]

    def call(query: str) -> str:
        argv = ["psql", URL, "-XqAt", "-v", "ON_ERROR_STOP=1"]
        for command in (*settings, "set default_transaction_read_only = on", query):
            argv += ["-c", command]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"psql: {done.stderr.strip()}")
        return done.stdout

    def milliseconds(query: str) -> float:
        return float(json.loads(call(f"explain (analyze, format json) {query}"))[0]["Execution Time"])

    return (lambda query: call(query).splitlines()), milliseconds


if __name__ == "__main__":
    main()
