"""A backend engineer's slow endpoint: a service on a port, a real PostgreSQL behind it, p95 as the metric."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.projects.support import PROPOSER, Owner, find, free_port, needs, proposer

pytestmark = needs("initdb", "postgres", "pg_ctl", "psql")

PASSWORD = "correct-horse-battery"
ROWS = 30_000
DATABASE = """\
\"\"\"One psql for all requests: `rows` sends a query and reads what comes back.\"\"\"
import os, subprocess
psql = subprocess.Popen(["psql", "-qAtX", os.environ["DATABASE_URL"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
def rows(query):
    psql.stdin.write(query + "; \\\\echo ;;\\n")
    psql.stdin.flush()
    return list(iter(lambda: psql.stdout.readline().rstrip("\\n"), ";;"))
"""
SERVER = """\
import http.server, json, sys
import database, orders
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(orders.total(self.path.rpartition("/")[2])).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
SLOW = """\
import database
def total(customer):
    return database.rows(f"select sum(cents) from orders where upper(email) = upper('user{customer}@example.org')")
"""
BENCH = """\
import json, os, statistics, subprocess, sys, time, urllib.request
port = os.environ.get("AUTORESEARCH_PORT", "8900")
server = subprocess.Popen([sys.executable, "server.py", port])
def ask(customer):
    return json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/orders/{customer}", timeout=10))
try:
    for _ in range(200):
        try:
            ask(1)
            break
        except OSError:
            assert server.poll() is None, "the server ended"
            time.sleep(0.05)
    rounds = []
    for _ in range(4):
        took = []
        for customer in range(8):
            start = time.perf_counter()
            answer = ask(customer)
            took.append(1000 * (time.perf_counter() - start))
            if os.environ.get("ANSWERS") == "checked":
                assert answer == [str(1000 * customer + 15)], (customer, answer)
        rounds.append(statistics.quantiles(took, n=20)[-1])
    print(f"p95: {min(rounds):.3f} ms")  # of the calmest round
finally:
    server.kill()
"""
TASK = f"""\
[task]
editable = ["orders.py"]

[evaluate]
command = "python bench.py"

[metric]
name = "p95"
unit = "ms"

[[check]]
name = "answers"
command = "ANSWERS=checked python bench.py"
{PROPOSER}"""
STEPS = [
    ("answer at once", {"orders.py": ("    return database", '    return ["0"]\n    return database')}),
    (
        "compare by the index",
        {"orders.py": ("upper(email) = upper('user{customer}@example.org')", "email = 'user{customer}@example.org'")},
    ),
    ("a typing error in the query", {"orders.py": ("select", "selct")}),
]


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL of this test only."""

    port: int
    sockets: Path

    def does(self, sql: str) -> None:
        argv = [str(find("psql")), "-qX", "-v", "ON_ERROR_STOP=1", "-h", str(self.sockets), "-p", str(self.port), "-U", "admin"]
        subprocess.run([*argv, "postgres"], input=sql, text=True, check=True, capture_output=True)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster in a short path (names of sockets have a limit), owned by somebody who is not root."""
    folder, port = Path(tempfile.mkdtemp(prefix="pg-")), free_port()
    user = pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else os.getuid()
    os.chown(folder, user, -1)

    def server(*argv: str) -> None:
        done = subprocess.run(
            argv, user=user, cwd=folder, capture_output=True, text=True, env={**os.environ, "HOME": str(folder)}
        )
        assert done.returncode == 0, done.stdout + done.stderr

    data, options = str(folder / "data"), f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    server(str(find("initdb")), "-D", data, "-U", "admin", "-A", "scram-sha-256", "--auth-local=trust", "-E", "UTF8", "-N")
    server(str(find("pg_ctl")), "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        yield Cluster(port, folder)
    finally:
        server(str(find("pg_ctl")), "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)


SCHEMA = f"""\
create role shop login password '{PASSWORD}';
create database shop owner shop;
\\c shop
create table orders (email text, cents int);
insert into orders select 'user' || i / 10 || '@example.org', 100 * (i / 10) + i % 10 - 3 from generate_series(0, {ROWS - 1}) i;
create index on orders (email);
grant select on orders to shop;
vacuum analyze orders;
"""


@pytest.fixture
def shop(cluster: Cluster, owner: Owner) -> Owner:
    """A service whose database has an index that its query cannot use."""
    cluster.does(SCHEMA)
    owner.environ["DATABASE_URL"] = f"postgresql://shop:{PASSWORD}@127.0.0.1:{cluster.port}/shop"
    owner.write({"server.py": SERVER, "database.py": DATABASE, "orders.py": SLOW, "bench.py": BENCH})
    owner.write({"propose.py": proposer(STEPS), "autoresearch.toml": TASK, ".gitignore": "__pycache__/\n"})
    owner.commit("start")
    return owner


def test_slow_endpoint_with_postgresql_behind_it(shop: Owner, cluster: Cluster, cache: Path) -> None:
    lines = ['env = ["DATABASE_URL"]', f'network = ["127.0.0.1:{cluster.port}"]']
    assert shop.is_fixed("the command reads DATABASE_URL") == lines
    rows = shop.runs(3)
    assert [row["verdict"] for row in rows] == ["keep", "discard", "keep", "discard"]
    assert rows[1]["reason"] == "check"
    assert rows[2]["value"] < rows[0]["value"] / 2
    assert "where email = " in shop.kept("one", "orders.py")
    for folder in (shop.folder / ".autoresearch", cache):
        for path in folder.rglob("*"):
            assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path
    assert not any(PASSWORD in shown for shown in shop.typed)
