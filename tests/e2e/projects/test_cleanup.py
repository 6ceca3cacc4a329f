"""What an evaluation starts outside its process tree, as containers of a daemon, is removed by `cleanup`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.projects.support import PROPOSER, Owner, proposer, wait_for

DAEMON = """\
import json, socketserver, subprocess, sys
containers = {}
class Orders(socketserver.StreamRequestHandler):
    def handle(self):
        verb, name, *more = json.loads(self.rfile.readline())
        said = "ok"
        if verb == "run" and name in containers:
            said = f"the name {name} is taken"
        elif verb == "run":
            containers[name] = subprocess.Popen([sys.executable, "-c", *more], start_new_session=True)
            open("started", "a").write(f"{name}\\n")
        elif verb == "rm" and name in containers:
            containers[name].kill()
            containers.pop(name).wait()
        elif verb == "rm":
            said = f"no such container: {name}"
        elif verb == "ps":
            said = " ".join(n for n, process in containers.items() if name == "" or (name == n and process.poll() is None))
        self.wfile.write(said.encode())
socketserver.UnixStreamServer("docker.sock", Orders).serve_forever()
"""
CLIENT = """\
#!/usr/bin/env python3
import json, os, socket, sys
here = socket.socket(socket.AF_UNIX)
try:
    here.connect(os.environ.get("DOCKER_HOST", "unix:///nowhere/docker.sock").removeprefix("unix://"))
except OSError:
    sys.exit("cannot connect to the Docker daemon: is it running, and is DOCKER_HOST set?")
verb, name, *more = [*sys.argv[1:], ""]
more = [open(more[0]).read(), *more[1:]] if verb == "run" else []
here.sendall(json.dumps([verb, name, *more]).encode() + b"\\n")
said = here.makefile().read()
print(said)
sys.exit(said.startswith(("the name", "no such")))
"""
BENCH = """\
import os, subprocess, time, urllib.request
name, port = f"bench-{os.environ['AUTORESEARCH_ID']}", os.environ["AUTORESEARCH_PORT"]
subprocess.run(["docker", "run", name, "service.py", port], check=True, stdout=subprocess.DEVNULL)
while True:
    try:
        print("steps:", urllib.request.urlopen(f"http://127.0.0.1:{port}/").read().decode())
        break
    except OSError:
        running = subprocess.run(["docker", "ps", name], check=True, stdout=subprocess.PIPE).stdout.strip()
        assert running, "the service ended"
        time.sleep(0.05)
"""
SERVICE = """\
import http.server, os, sys, time
STEPS = 9
WAIT_FOR = "docker.sock"
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(STEPS).encode())
    def log_message(self, *args):
        pass
while not os.path.exists(WAIT_FOR):
    time.sleep(0.05)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
TASK = f"""\
[task]
editable = ["service.py"]

[evaluate]
command = "python bench.py"
sandbox = "none"
cleanup = "docker rm bench-$AUTORESEARCH_ID"
timeout = "LIMIT"

[metric]
name = "steps"
{PROPOSER}"""
STEPS = [
    ("fewer", {"service.py": ("STEPS = 9", "STEPS = 7")}),
    ("wait for the key", {"service.py": ('"docker.sock"', '"key"')}),
    ("fewer still", {"service.py": ("STEPS = 7", "STEPS = 5")}),
]


@pytest.fixture
def daemon(owner: Owner) -> Iterator[Path]:
    """A daemon that nobody but the owner started, in a short path (names of sockets have a limit); gives its folder."""
    folder = Path(tempfile.mkdtemp(prefix="d-"))
    process = subprocess.Popen([sys.executable, "-c", DAEMON], cwd=folder, start_new_session=True)
    (owner.home / "bin").mkdir()
    (owner.home / "bin/docker").write_text(CLIENT)
    (owner.home / "bin/docker").chmod(0o755)
    owner.environ |= {"DOCKER_HOST": f"unix://{folder}/docker.sock", "PATH": f"{owner.home}/bin:{owner.shell['PATH']}"}
    wait_for((folder / "docker.sock").exists, "the daemon is up")
    try:
        yield folder
    finally:
        left = owner.does("docker ps").split()
        for name in left:
            owner.does(f"docker rm {name}")
        process.kill()
        process.wait()
        shutil.rmtree(folder)
        assert left == []


def build(owner: Owner, limit: str = "5s") -> None:
    owner.write({"bench.py": BENCH, "service.py": SERVICE, "propose.py": proposer(STEPS)})
    owner.write({"autoresearch.toml": TASK.replace("LIMIT", limit)})
    owner.commit("start")


def test_containers_are_removed_after_each_evaluation_also_where_time_ran_out(owner: Owner, daemon: Path) -> None:
    build(owner)
    assert owner.is_fixed("the command reads DOCKER_HOST") == ['env = ["DOCKER_HOST"]']
    assert owner.does("docker ps").split() == []
    rows = owner.runs(3)
    assert [(row["verdict"], row["value"]) for row in rows] == [("keep", 9), ("keep", 7), ("timeout", None), ("keep", 5)]
    assert owner.does("docker ps").split() == []
    started = [name for name in (daemon / "started").read_text().split() if "-one-" in name]
    assert len(set(started)) == len(started) == 4  # the baseline is what `check` measured, and the result comes once more


def test_container_of_a_run_that_was_killed_is_removed_by_the_next(owner: Owner, daemon: Path) -> None:
    build(owner, "20m")
    owner.write({"autoresearch.toml": owner.task_text().replace("timeout", 'env = ["DOCKER_HOST"]\ntimeout')})
    owner.commit("task")
    quiet = subprocess.DEVNULL
    with owner.begins("exec autoresearch run one -n 3", stdin=quiet, stdout=quiet, stderr=quiet) as run:
        wait_for(lambda: "-2-eval-1" in owner.does("docker ps"), "the second candidate's is started")
        os.kill(run.pid, signal.SIGKILL)
    (left,) = owner.does("docker ps").split()
    (daemon / "key").touch()
    owner.does("autoresearch run one -n 2")
    assert [(row["verdict"], row["value"]) for row in owner.log()] == [("keep", 9), ("keep", 7), ("discard", 7), ("keep", 5)]
    assert (daemon / "started").read_text().split().count(left) == 2  # the name was free again
    assert owner.does("docker ps").split() == []


def test_container_of_a_check_that_was_killed_is_removed_by_the_next(owner: Owner, daemon: Path) -> None:
    build(owner, "20m")
    owner.write({"service.py": SERVICE.replace('"docker.sock"', '"key"')})
    owner.write({"autoresearch.toml": owner.task_text().replace("timeout", 'env = ["DOCKER_HOST"]\ntimeout')})
    owner.commit("task")
    quiet = subprocess.DEVNULL
    with owner.begins("exec autoresearch check", stdin=quiet, stdout=quiet, stderr=quiet) as check:
        wait_for(lambda: "-eval-1" in owner.does("docker ps"), "the first is started")
        os.kill(check.pid, signal.SIGKILL)
    (daemon / "key").touch()
    assert "ready" in owner.does("autoresearch check")
    assert owner.does("docker ps").split() == []
