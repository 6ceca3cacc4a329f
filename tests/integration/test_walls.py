"""Walls: what a job in a sandbox sees, writes, reaches and uses up; as root, and once more as an ordinary user."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.conftest import TASK, Toy
from tests.ordinary import run_as_nobody

from autoresearch.choice import Wish
from autoresearch.errors import SetupError
from autoresearch.process import Exit, Job, Supervisor, landlock
from autoresearch.process.probe import Found, find
from autoresearch.records import Bind, Limits, Network, Sandbox, Trust
from autoresearch.sandbox import Host, program
from autoresearch.sandbox.endpoints import addresses, names
from autoresearch.taskfile.load import parse
from autoresearch.testing import Patch
from autoresearch.trust import trust_of

MakeToy = Callable[..., Toy]
KINDS = ["bubblewrap", "landlock"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    if request.param == "bubblewrap" and program() is None:
        pytest.skip("bubblewrap is not installed")
    if request.param == "landlock" and landlock.version() < 4:
        pytest.skip("this kernel's Landlock cannot close the network")
    return request.param


class Walled:
    """A folder to work in, with a sandbox around whatever runs there."""

    def __init__(self, folder: Path, kind: Any) -> None:
        self.work, self.kind = folder / "work", kind
        self.work.mkdir()
        self.host = Host.make(folder / "host", programs=[sys.executable], never=[folder])

    def sandbox(self, network: Network = "off", **more: Any) -> Sandbox:
        sockets = self.work.parent / "net"
        sockets.mkdir(exist_ok=True)
        shown = (*self.host.shown, sockets, *more.pop("shown", ()))
        etc = Bind(Path("/etc"), self.host.etc(network))
        return Sandbox(self.kind, shown, (self.work,), (etc,), network, sockets, **more)

    def run(self, code: str, *, network: Network = "off", python: bool = True, **options: Any) -> Exit:
        argv = [sys.executable, "-I", "-c", textwrap.dedent(code)] if python else ["/bin/sh", "-c", code]
        return self.start(argv, sandbox=self.sandbox(network), **options)

    def start(self, argv: list[str], **options: Any) -> Exit:
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        env = {**kept, "HOME": str(self.work)}
        job = Job(argv, self.work, env, **{"grace_s": 0.3, "timeout_s": 30.0, "locked": True, **options})

        async def main() -> Exit:
            async with Supervisor() as supervisor:
                return await supervisor.run(job)

        return anyio.run(main)


@pytest.fixture
def walled(tmp_path: Path, kind: Any) -> Walled:
    return Walled(tmp_path, kind)


@contextmanager
def server(answer: bytes = b"yes") -> Iterator[tuple[int, list[bytes]]]:
    """A server on 127.0.0.1: its port, and what it was sent."""
    heard: list[bytes] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(5)
                    while data := connection.recv(1 << 16):
                        heard.append(data)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], heard
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)


# -- files ---------------------------------------------------------------------------------------------------------------


def test_files_outside_can_be_neither_read_nor_written(walled: Walled) -> None:
    secret = walled.work.parent / "secret"
    secret.write_text("42")
    other = Path(os.path.expanduser("~")) / ".profile-of-this-test"
    code = f"""
        import os, pathlib
        for path in ({str(secret)!r}, {str(other)!r}):
            try:
                print(pathlib.Path(path).read_text())
            except OSError as error:
                print(type(error).__name__)
            try:
                pathlib.Path(path + "-2").write_text("x")
                print("written")
            except OSError as error:
                print("refused")
        pathlib.Path("mine").write_text("x")
    """
    other.write_text("of the owner")
    try:
        end = walled.run(code)
    finally:
        other.unlink()
    assert end.exit == 0, end.tail
    assert "42" not in end.stdout
    assert "of the owner" not in end.stdout
    assert not Path(f"{secret}-2").exists()
    assert not Path(f"{other}-2").exists()
    assert (walled.work / "mine").read_text() == "x"


def test_what_is_shown_cannot_be_written(walled: Walled) -> None:
    data = walled.work.parent / "data"
    data.mkdir()
    (data / "rows").write_text("1,2")
    code = f"cat {data}/rows; echo x > {data}/rows; echo x > {data}/more; ln -s / {data}/link; true"
    end = walled.start(["/bin/sh", "-c", code], sandbox=walled.sandbox(shown=(data,)))
    assert end.stdout == "1,2"
    assert [p.name for p in data.iterdir()] == ["rows"]
    assert (data / "rows").read_text() == "1,2"


def test_ordinary_program_finds_what_it_needs(walled: Walled) -> None:
    end = walled.run("""
        import ctypes, hashlib, multiprocessing, os, pwd, grp, sqlite3, ssl, subprocess, sys, tempfile, time, zoneinfo
        pwd.getpwuid(os.getuid()), grp.getgrgid(os.getgid())
        subprocess.run(["sh", "-c", "ls /usr >/dev/null && date >/dev/null"], check=True)
        subprocess.run([sys.executable, "-c", "import json"], check=True)
        tempfile.TemporaryFile().close()
        open("/dev/null", "w").close(), open("/dev/urandom", "rb").read(1)
        assert ssl.create_default_context().cert_store_stats()["x509"] or not os.path.isdir("/etc/ssl/certs")
        multiprocessing.get_context("spawn").Lock()
        time.tzset()
        print("all there")
    """)
    assert end.stdout == "all there\n", end.tail


@pytest.mark.parametrize("kind", ["bubblewrap"], indirect=True)
def test_nothing_written_beside_the_tree_outlives_the_job(walled: Walled) -> None:
    code = "for d in /tmp /var/tmp /dev/shm /run; do cat $d/left 2>/dev/null; echo x > $d/left; done; echo done"
    assert [walled.run(code, python=False).stdout for _ in range(2)] == ["done\n", "done\n"]


@pytest.mark.parametrize("kind", ["bubblewrap"], indirect=True)
def test_job_has_no_capability_and_can_make_no_namespace(walled: Walled) -> None:
    end = walled.run("grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; unshare -U true && echo made", python=False)
    assert end.stdout.split() == ["CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1"]


def test_processes_outside_cannot_be_seen_or_ended(walled: Walled) -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        end = walled.run(f"""
            import os
            try:
                os.kill({child.pid}, 9)
            except OSError as error:
                print(type(error).__name__)
            print(os.path.exists("/proc/{child.pid}/cmdline") and "sleep" in open("/proc/{child.pid}/cmdline").read())
        """)
        assert child.poll() is None
        assert end.stdout.split() == [end.stdout.split()[0], "False"]
    finally:
        child.kill()
        child.wait()


# -- how a job ends is seen through the sandbox -------------------------------------------------------------------------------


def test_ends_are_told_as_without_a_sandbox(walled: Walled) -> None:
    assert walled.run("raise SystemExit(3)").exit == 3
    end = walled.run("import os; os.kill(os.getpid(), 11)")
    assert (end.exit, end.signal) == (None, signal.SIGSEGV)
    missing = walled.start(["no-such-program"], sandbox=walled.sandbox())
    assert missing.exit == 127
    assert "No such file" in missing.error


def test_program_that_is_told_to_end_may_still_write(walled: Walled) -> None:
    end = walled.run(
        """
        import pathlib, signal, sys, time
        def told(*_):
            pathlib.Path("saved").write_text("x")
            sys.exit(0)
        signal.signal(signal.SIGTERM, told)
        while True: time.sleep(0.05)
        """,
        timeout_s=1.0,
        grace_s=5.0,
    )
    assert end.timed_out
    assert (walled.work / "saved").exists()


def test_daemon_in_a_sandbox_is_gone_with_the_job(walled: Walled) -> None:
    sign = f"{40_000 + os.getpid()}.125"
    assert walled.run(f"setsid sleep {sign} >/dev/null 2>&1 & echo started", python=False).stdout == "started\n"
    assert sign not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


# -- the network ---------------------------------------------------------------------------------------------------------


REACH = """
import socket, sys
for place in {places!r}:
    try:
        s = socket.create_connection(place, timeout=5)
        s.sendall(b"ask"); s.shutdown(socket.SHUT_WR)
        print(s.recv(10).decode() or "nothing")
    except OSError as error:
        print("refused")
"""


def test_network_is_off_by_default_and_open_where_asked(walled: Walled) -> None:
    with server() as (port, heard):
        code = REACH.format(places=[("127.0.0.1", port)])
        assert walled.run(code).stdout == "refused\n"
        assert heard == []
        assert walled.run(code, network="on").stdout == "yes\n"


def test_job_has_a_loopback_of_its_own(walled: Walled) -> None:
    end = walled.run("""
        import socket, threading
        with socket.create_server(("127.0.0.1", 0)) as s:
            client = socket.create_connection(s.getsockname(), timeout=5)
            client.sendall(b"hello")
            print(s.accept()[0].recv(5).decode())
    """)
    assert end.stdout == "hello\n", end.tail


def test_only_the_endpoints_of_a_list_are_reached(walled: Walled) -> None:
    with server(b"one") as (one, _), server(b"two") as (two, heard):
        code = REACH.format(places=[("127.0.0.1", one), ("127.0.0.1", two)])
        assert walled.run(code, network=(f"127.0.0.1:{one}",)).stdout == "one\nrefused\n"
        assert heard == []


def test_much_is_carried_to_an_endpoint_in_many_connections(walled: Walled) -> None:
    with server() as (port, heard):
        end = walled.run(
            f"""
            import socket
            for _ in range(20):
                s = socket.create_connection(("127.0.0.1", {port}), timeout=5)
                s.sendall(b"x" * 300_000); s.shutdown(socket.SHUT_WR)
                assert s.recv(10) == b"yes"
            print("done")
            """,
            network=(f"127.0.0.1:{port}",),
        )
        assert end.stdout == "done\n", end.tail
        assert sum(map(len, heard)) == 20 * 300_000


@pytest.mark.parametrize("kind", ["bubblewrap"], indirect=True)
def test_address_of_another_host_is_known_inside(walled: Walled) -> None:
    """Nobody answers there: what is seen is that the job's own network has the address, and the relay tried."""
    end = walled.run(REACH.format(places=[("192.0.2.7", 80)]), network=("192.0.2.7:80",))
    assert end.stdout in ("nothing\n", "refused\n"), end.tail
    rights = walled.run("grep CapEff /proc/self/status", network=("192.0.2.7:80",), python=False)
    assert rights.stdout.split() == ["CapEff:", "0" * 16]


def test_names_of_endpoints_get_addresses_of_their_own() -> None:
    endpoints = ("db.local:5432", "127.0.0.1:80", "localhost:81", "db.local:5433", "10.0.0.1:1")
    assert addresses(endpoints) == ["127.77.0.1", "127.0.0.1", "127.0.0.1", "127.77.0.4", "10.0.0.1"]
    assert names(endpoints) == "127.77.0.1 db.local\n127.77.0.4 db.local\n"


# -- limits --------------------------------------------------------------------------------------------------------------


def test_fork_bomb_meets_its_bound(walled: Walled) -> None:
    end = walled.run(
        """
        import os, time
        made = 0
        try:
            for made in range(300):
                if os.fork() == 0:
                    time.sleep(20); os._exit(0)
        except OSError as error:
            print("bound", made < 150)
        """,
        limits=Limits(processes=100),
    )
    if os.getuid() == 0 and not Path("/sys/fs/cgroup/pids").is_dir() and not end.stdout:
        pytest.skip("root is bound by a group of processes alone, and this machine has none")
    assert end.stdout == "bound True\n", end.tail


def test_file_over_its_size_is_not_written(walled: Walled) -> None:
    end = walled.run("open('big', 'wb').write(b'x' * 5_000_000)", limits=Limits(file_bytes=1_000_000))
    assert end.exit or end.signal
    assert (walled.work / "big").stat().st_size <= 1_000_000


def test_job_that_fills_the_disk_is_ended_and_says_so(walled: Walled) -> None:
    end = walled.run(
        """
        import time
        for i in range(400):
            with open(f"part-{i}", "wb") as file: file.write(b"x" * 1_000_000)
            time.sleep(0.02)
        time.sleep(20)
        """,
        limits=Limits(disk_bytes=50_000_000, written=(walled.work,)),
    )
    assert "limit 50 MB" in end.over_disk
    assert end.duration_s < 20


# -- runs ----------------------------------------------------------------------------------------------------------------

SPY = """\
import json, os, pathlib, socket
found = {{}}
def tried(name, work):
    try:
        found[name] = str(work())[:40]
    except OSError as error:
        found[name] = "refused"
tried("ledger", lambda: pathlib.Path({ledger!r}).read_bytes())
tried("checkout", lambda: pathlib.Path({checkout!r}).read_text())
tried("objects", lambda: os.listdir({objects!r}))
tried("write", lambda: pathlib.Path({checkout!r}).write_text("mine"))

print("FOUND " + json.dumps(found))
"""


def spy(toy: Toy) -> str:
    places = {"ledger": toy.folder / ".autoresearch/ledger.db", "checkout": toy.folder / "knob.txt"}
    top = toy.git("rev-parse", "--show-toplevel").strip()
    more = {"objects": f"{top}/.git/objects"}
    return SPY.format(**{name: str(path) for name, path in (places | more).items()})


def log_of(toy: Toy, n: int, name: str) -> dict[str, str]:
    text = (toy.project.paths.run("one").experiment(n) / name).read_text()
    found: dict[str, str] = json.loads(next(line for line in text.splitlines() if line.startswith("FOUND "))[6:])
    return found


def test_evaluation_and_proposer_see_neither_ledger_nor_checkout(make_toy: MakeToy) -> None:
    task = TASK + '[proposer]\nkind = "command"\ncommand = "python propose.py"\nnetwork = "off"\n'
    toy = make_toy({"propose.py": "", "evaluate.py": ""}, task=task)
    code = spy(toy)
    toy.write({"propose.py": code + "pathlib.Path('knob.txt').write_text('5')\nprint('five')\n"})
    toy.write({"evaluate.py": code + "print('score:', float(open('knob.txt').read()))\n"})
    toy.commit()
    toy.run(wish=Wish(name="one", experiments=1))
    assert toy.history().experiments[1].value == 5
    for found in (log_of(toy, 1, "eval-1.log"), log_of(toy, 1, "agent.log")):
        assert set(found.values()) == {"refused"}, found


def test_without_a_sandbox_the_ledger_and_the_history_are_hidden_where_there_are_mounts(make_toy: MakeToy) -> None:
    toy = make_toy(task=TASK.replace("[metric]", 'sandbox = "none"\n[metric]'))
    toy.write({"evaluate.py": spy(toy) + "print('score:', float(open('knob.txt').read()))\n"})
    toy.commit()
    toy.run([Patch({"knob.txt": "5\n"}, "five")], wish=Wish(name="one", experiments=1))
    found = log_of(toy, 1, "eval-1.log")
    assert (found["ledger"], found["objects"], found["write"]) == ("refused", "[]", "refused")


def test_trust_is_said_stored_and_changes_with_the_walls(make_toy: MakeToy, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = make_toy()
    said: list[str] = []

    def watch(what: str, details: Any) -> None:
        said.extend([details["words"]] if what == "trust" else [])

    patches = [Patch({"knob.txt": f"{k}\n"}, str(k)) for k in (5, 4)]
    toy.run(patches, wish=Wish(name="one", experiments=1), watch=watch)
    monkeypatch.setenv("AUTORESEARCH_SANDBOX", "off")
    toy.run(patches, wish=Wish(experiments=1), watch=watch)
    trust = toy.history().agenda.trust
    assert said[0].startswith("trust: shared+sandbox (the candidate may print its own number)")
    assert trust is not None
    assert (trust.level, said[1]) == ("shared", trust.line)
    assert "AUTORESEARCH_SANDBOX is off" in trust.reason
    assert [m.phase for e in toy.history().experiments for m in e.measurements].count("refresh") == 1


def test_sandbox_that_is_named_and_does_not_work_is_refused(make_toy: MakeToy, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = make_toy(task=TASK.replace("[metric]", 'sandbox = "bubblewrap"\n[metric]'))
    monkeypatch.setattr("autoresearch.process.probe.program", lambda: None)
    with pytest.raises(SetupError, match='sandbox = "bubblewrap": bubblewrap is not installed'):
        toy.run([Patch({"knob.txt": "5\n"}, "five")])


def test_without_bubblewrap_landlock_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not landlock.version():
        pytest.skip("this kernel has no Landlock")
    monkeypatch.setattr("autoresearch.process.probe.program", lambda: None)

    async def main() -> Found:
        async with Supervisor() as supervisor:
            return await find(supervisor, Host.make(tmp_path / "host"), "auto", tmp_path / "probe")

    found = anyio.run(main)
    assert found.kind == "landlock"
    assert "apt install bubblewrap" in found.words


TASK_OF = "[task]\neditable = ['a.py']\n[evaluate]\ncommand = 'x'\n{}\n[metric]\nname = 'm'\n"


@pytest.mark.parametrize(
    ("line", "found", "level", "step"),
    [
        ("sealed = true", Found("bubblewrap", namespaces="root"), "sealed+sandbox", ""),
        ("sealed = true", Found("", "no Landlock", "root"), "sealed", "a machine where"),
        ("", Found("landlock", namespaces="user"), "shared+sandbox", "a sealed evaluator"),
        ("", Found("", "bubblewrap is not installed", "user"), "shared", "install bubblewrap"),
        ("", Found("", "bubblewrap is not installed"), "none", "install bubblewrap"),
        ("sandbox = 'none'", Found("", "[evaluate] sandbox is none", "root"), "shared", "take out"),
        ("", Found("", "AUTORESEARCH_SANDBOX is off", "root"), "shared", "unset AUTORESEARCH_SANDBOX"),
    ],
)
def test_trust_levels_and_the_one_step_up(line: str, found: Found, level: str, step: str) -> None:
    trust: Trust = trust_of(parse(TASK_OF.format(line)), found)
    assert trust.level == level
    assert trust.step.startswith(step)
    assert bool(trust.step) is bool(step)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Found("bubblewrap", namespaces="root", network="a network namespace"), "off: a network namespace"),
        (Found("landlock", network="TCP alone, by Landlock"), "off: TCP alone, by Landlock"),
        (Found("landlock"), "open: nothing closes it here"),
        (Found(""), "open: nothing closes it here"),
    ],
)
def test_trust_says_what_closes_the_network_and_that_nothing_does(found: Found, said: str) -> None:
    assert trust_of(parse(TASK_OF.format("")), found).walls["network"] == said


@pytest.mark.parametrize("namespaces", ["on", "off"])
def test_what_is_said_to_hold_processes_holds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespaces: str) -> None:
    """Root has no bound of the kernel's for each user: where no group holds them, nothing is said to."""
    monkeypatch.setenv("AUTORESEARCH_NAMESPACES", namespaces)
    monkeypatch.setenv("AUTORESEARCH_CGROUPS", "off")

    async def main() -> Found:
        async with Supervisor() as supervisor:
            return await find(supervisor, Host.make(tmp_path / "host"), "none", tmp_path / "probe")

    assert bool(anyio.run(main).processes) is bool(os.getuid())


@pytest.mark.skipif(os.geteuid() != 0, reason="these are the tests of an ordinary user")
def test_walls_hold_for_an_ordinary_user() -> None:
    run_as_nobody("tests/integration/test_walls.py")


NESTED = """\
import anyio, sys
from pathlib import Path
from autoresearch.process import Supervisor
from autoresearch.process.probe import find
from autoresearch.sandbox import Host

async def main():
    async with Supervisor() as supervisor:
        found = await find(supervisor, Host.make(Path(sys.argv[1]) / "host"), "auto", Path(sys.argv[1]) / "probe")
        print(found.kind or found.words)

anyio.run(main)
"""


@pytest.mark.skipif(program() is None or not landlock.version(), reason="needs bubblewrap and Landlock")
@pytest.mark.parametrize("more", [["--disable-userns"], []])
def test_run_inside_a_sandbox_takes_what_was_tried_and_works(tmp_path: Path, more: list[str]) -> None:
    """Bubblewrap in bubblewrap works where user namespaces are left to it; Landlock always."""
    script = tmp_path / "nested.py"
    script.write_text(NESTED)
    walls = ["--unshare-user", *more, "--unshare-pid", "--cap-drop", "ALL", "--ro-bind", "/", "/", "--proc", "/proc"]
    argv = ["bwrap", *walls, "--dev", "/dev", "--bind", str(tmp_path), str(tmp_path), sys.executable, str(script)]
    done = subprocess.run([*argv, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "landlock\n" or (not more and done.stdout == "bubblewrap\n"), done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["bubblewrap"], indirect=True)
def test_link_in_a_folder_that_is_shown_is_no_second_view_of_it(walled: Walled, tmp_path: Path) -> None:
    """An environment whose interpreter is a link to another environment's, as a tool makes them for projects."""
    folder = tmp_path / "environment" / "bin"
    folder.mkdir(parents=True)
    (folder / "tool").symlink_to("/usr/bin/env")
    sandbox = walled.sandbox(shown=(folder.parent, folder / "tool", Path("/usr/bin/env")))
    assert walled.start([str(folder / "tool"), "echo", "there"], sandbox=sandbox).stdout == "there\n"


# -- who may write code without walls ----------------------------------------------------------------------------------------

WRITER = """\
class Writer:
    name, writes_code = "writer", True
    async def propose(self, brief, draft):
        folder = await draft.folder()
        (folder / "knob.txt").write_text("5")
        from autoresearch.records import Proposal
        return Proposal("five")
"""


def test_proposer_that_writes_code_without_walls_is_asked_about_once(
    make_toy: MakeToy, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = TASK + '[proposer]\nkind = "writer_of_tests:Writer"\n'
    toy = make_toy({"writer_of_tests.py": WRITER}, task=task)
    monkeypatch.setenv("AUTORESEARCH_SANDBOX", "off")
    with pytest.raises(SetupError, match="writes code, and no sandbox works here"):
        toy.run(wish=Wish(name="one", experiments=1))
    asked: list[str] = []

    def confirm(question: str) -> bool:
        asked.append(question)
        return True

    toy.run(wish=Wish(name="two", experiments=1, confirm=confirm))
    toy.run(wish=Wish(name="three", experiments=1))
    assert len(asked) == 1
    assert [toy.history(run).experiments[1].value for run in ("two", "three")] == [5, 5]


def test_evaluations_without_a_sandbox_do_not_take_the_proposers_away(make_toy: MakeToy) -> None:
    task = TASK.replace("[metric]", 'sandbox = "none"\n[metric]')
    task += '[proposer]\nkind = "command"\ncommand = "python propose.py"\nnetwork = "off"\n'
    toy = make_toy({"propose.py": ""}, task=task)
    toy.write({"propose.py": spy(toy) + "pathlib.Path('knob.txt').write_text('5')\nprint('five')\n"})
    toy.commit()
    toy.run(wish=Wish(name="one", experiments=1))
    assert set(log_of(toy, 1, "agent.log").values()) == {"refused"}
