"""The sealed evaluator: whatever its candidate tries, the number that arrives is the one that the evaluator reported.

As root all of this runs once more as an ordinary user. `walls` is what the library has on this machine, and what is left
of it on one with fewer: without namespaces, without Landlock, with neither, and inside a sandbox that allows no namespace.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import anyio
import pytest
from tests.ordinary import run_as_nobody

import autoresearch
from autoresearch.process import Exit, Job, Supervisor
from autoresearch.runners import record
from autoresearch.runners.numbers import NoNumber

SEALED = Path(autoresearch.__file__).with_name("sealed.py")
BWRAP = shutil.which("bwrap")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's")

WEAKER = {
    "all": (),
    "no-namespaces": (('if _CLONE is None:\n        return ""', 'return ""'),),
    "no-landlock": (("return max(0, int(_libc.syscall(444, None, 0, 1)))", "return 0 * max(0, 1)"),),
}
WEAKER["unreadable-alone"] = WEAKER["no-namespaces"] + WEAKER["no-landlock"]
WEAKER["bubblewrap, unreadable-alone"] = WEAKER["unreadable-alone"]
WALLS = [*WEAKER, "bubblewrap"]

EVALUATE = """\
import json, os, pathlib, sys, time
import sealed

with sealed.Evaluator() as evaluator:
    numbers = [evaluator.random.randrange(1000) for _ in range(50)]
    began = time.monotonic()
    run = evaluator.run([sys.executable, "-I", "solution.py"], stdin=json.dumps(numbers).encode(), timeout_s={timeout})
    outer_s = time.monotonic() - began
    right = run.stdout == json.dumps(sorted(numbers)).encode()
    sys.stderr.write(run.stdout.decode() + run.stderr.decode() + run.failed)
    {then}
    evaluator.report(right=int(right), wall_s=run.wall_s, outer_s=outer_s, timed_out=int(run.timed_out))
"""

HONEST = "import json, sys\nsys.stdout.write(json.dumps(sorted(json.load(sys.stdin))))\n"

TARGETS = """\
import ctypes, glob, json, os, socket, sys
RECORD = b'{"metrics": {"right": 999, "wall_s": 0.001, "outer_s": 0, "timed_out": 0}}\\n'
def targets():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline", "rb").read()
        except OSError:
            continue
        if int(pid) == os.getpid() or words.split(b"\\0")[0].endswith(b"bwrap"):
            continue  # a sandbox's own process has nothing to take
        if b"evaluate.py" in words or b"sealed.py" in words:
            yield int(pid)
def got(what):
    print("GOT", what, flush=True)
print("TARGETS", len(list(targets())), flush=True)
libc = ctypes.CDLL(None, use_errno=True)
"""

ATTACKS = {
    "forge the parent's descriptor": """\
        for pid in targets():
            for fd in range(256):
                try:
                    os.write(os.open(f"/proc/{pid}/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK), RECORD); got(f"{pid}/fd/{fd}")
                except OSError:
                    pass
        """,
    "take the parent's descriptor": """\
        for pid in targets():
            handle = libc.syscall(434, pid, 0)
            for fd in range(256):
                taken = libc.syscall(438, handle, fd, 0)
                if taken >= 0:
                    got(f"{pid} {fd}")
                    os.write(taken, RECORD)
        """,
    "trace the parent": """\
        for pid in targets():
            if libc.ptrace(16, pid, None, None) == 0:
                got("ptrace")
            for name, flags in (("mem", os.O_RDWR), ("environ", os.O_RDONLY), ("maps", os.O_RDONLY)):
                try:
                    if os.read(os.open(f"/proc/{pid}/{name}", flags), 10):
                        got(name)
                except OSError:
                    pass
        """,
    "connect to the channel": """\
        for path in glob.glob(CHANNEL + "*"):
            got(path)
        client = socket.socket(socket.AF_UNIX)
        os.chdir(os.path.dirname(CHANNEL))
        try:
            client.connect("channel"); client.send(RECORD); got("the channel")
        except OSError:
            pass
        """,
    "print and write results": """\
        print("METRIC right=999")
        for path in (RESULT, "result.json", "METRIC"):
            try:
                open(path, "w").write('{"right": 999}')
            except OSError:
                pass
        print(json.dumps({"right": 999}), flush=True)
        """,
    "write to what is inherited": """\
        for fd in range(3, 256):
            try:
                os.write(fd, RECORD); got(f"descriptor {fd}")
            except OSError:
                pass
        """,
    "exit early": "os._exit(0)\n",
    "find variables": """\
        for name in os.environ:
            if name.startswith("AUTORESEARCH") or "SECRET" in name:
                got(name)
        """,
    "regain privileges": """\
        for line in open("/proc/self/status"):
            if line.startswith(("CapInh", "CapPrm", "CapEff", "CapAmb")) and int(line.split()[1], 16):
                got(line.strip())
        if libc.mount(b"none", b"/", None, 1 << 18 | 16384, None) == 0:
            got("mount")
        """,
    "leave a daemon": """\
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                import time
                while True:
                    time.sleep(0.01)
                    try:
                        os.write(1, b"[]")
                    except OSError:
                        pass
        """,
}


def source(walls: str) -> str:
    text = SEALED.read_text()
    for old, new in WEAKER.get(walls, ()):
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


@pytest.fixture(params=WALLS)
def walls(request: pytest.FixtureRequest) -> str:
    if "bubblewrap" in request.param and not _bwrap_works():
        pytest.skip("no bubblewrap here")
    return str(request.param)


def _bwrap_works() -> bool:
    return BWRAP is not None and subprocess.run([*bwrap(Path("/tmp")), "true"], capture_output=True).returncode == 0


def bwrap(folder: Path) -> list[str]:
    assert BWRAP is not None
    shut = ["--unshare-user", "--disable-userns", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--cap-drop", "ALL"]
    return [
        BWRAP,
        "--die-with-parent",
        *shut,
        "--ro-bind",
        "/",
        "/",
        "--dev",
        "/dev",
        "--proc",
        "/proc",
        "--bind",
        *[str(folder)] * 2,
    ]


class Bench:
    """A folder with an evaluator, the library copied beside it, a candidate, and a supervisor to run it under."""

    def __init__(self, folder: Path, walls: str) -> None:
        self.folder, self.walls = folder, walls
        (folder / "io").mkdir()
        (folder / "tmp").mkdir()
        (folder / "tree").mkdir()
        (folder / "tree/sealed.py").write_text(source(walls))
        self.channel = folder / "io/channel"
        self.has_landlock = "no-landlock" not in walls and "unreadable-alone" not in walls

    def run(self, candidate: str, *, timeout: float = 20, then: str = "pass", evaluate: str = EVALUATE) -> Exit:
        tree = self.folder / "tree"
        (tree / "solution.py").write_text(textwrap.dedent(candidate))
        (tree / "evaluate.py").write_text(evaluate.replace("{timeout}", str(timeout)).replace("{then}", then))
        argv = [sys.executable, "-s", "evaluate.py"]
        if "bubblewrap" in self.walls:
            argv = [*bwrap(self.folder), *argv]
        env = {
            "PATH": os.environ["PATH"],
            "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", ""),
            "TMPDIR": str(self.folder / "tmp"),
            "AUTORESEARCH_CHANNEL": str(self.channel),
            "AUTORESEARCH_SEED": "7",
            "SECRET": "1",
        }
        job = Job(argv, tree, env, timeout_s=60, channel=self.channel, locked=True)
        return supervised(job)

    def attack(self, code: str) -> str:
        known = f"CHANNEL = {str(self.channel)!r}\nRESULT = {str(self.folder / 'io/result.json')!r}\n"
        return TARGETS + known + textwrap.dedent(code)


def supervised(job: Job, beside: Callable[[], None] | None = None) -> Exit:
    ended: list[Exit] = []

    async def main() -> None:
        async with Supervisor() as supervisor, anyio.create_task_group() as tasks:
            if beside is not None:
                tasks.start_soon(anyio.to_thread.run_sync, beside)
            ended.append(await supervisor.run(job))

    anyio.run(main)
    return ended[0]


@pytest.fixture
def bench(tmp_path: Path, walls: str) -> Bench:
    return Bench(tmp_path, walls)


@pytest.fixture
def plain(tmp_path: Path) -> Bench:
    return Bench(tmp_path, "all")


def numbers(end: Exit) -> dict[str, float]:
    names = ["right", "wall_s", "outer_s", "timed_out"]
    return record.read(end.reported, names, needed=names)


# -- the premise: without these walls a parent's descriptor is forged ----------------------------------------------------

PARENT = """\
import os, subprocess, sys
sys.path.insert(0, {here!r})
import sealed
r, w = os.pipe()
{before}
code = '''
import os
for fd in range(3, 50):
    try:
        os.write(os.open(f"/proc/{os.getppid()}/fd/{fd}", os.O_WRONLY), b"forged")
    except OSError:
        pass
'''
subprocess.run([sys.executable, "-I", "-c", code], preexec_fn={dropped})
os.write(w, b".")
print(os.read(r, 100).decode())
"""


def forged(before: str = "pass", dropped: str = "None") -> bool:
    code = PARENT.replace("{here!r}", repr(str(SEALED.parent))).replace("{before}", before).replace("{dropped}", dropped)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return "forged" in done.stdout


def test_descriptor_of_a_plain_parent_is_forged_by_its_child() -> None:
    assert forged()


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has no capabilities")
def test_unreadable_parent_is_forged_by_a_child_that_kept_roots_capabilities() -> None:
    assert forged("sealed._become_unreadable()")


def test_unreadable_parent_is_not_forged_by_a_child_without_capabilities() -> None:
    assert not forged("sealed._become_unreadable()", "sealed._drop_capabilities")


# -- what arrives --------------------------------------------------------------------------------------------------------


def test_the_evaluators_numbers_arrive(bench: Bench) -> None:
    end = bench.run(HONEST)
    assert end.exit == 0, end.tail
    assert numbers(end)["right"] == 1
    assert 0 < numbers(end)["wall_s"] < numbers(end)["outer_s"]


@pytest.mark.parametrize("walls", ["all", "unreadable-alone", "bubblewrap", "bubblewrap, unreadable-alone"], indirect=True)
@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_a_candidate_tries_changes_the_number(attack: str, bench: Bench) -> None:
    end = bench.run(bench.attack(ATTACKS[attack]))
    assert end.exit == 0, end.tail
    assert "TARGETS" in end.tail
    assert "Traceback" not in end.tail, end.tail
    assert "GOT" not in end.tail
    assert numbers(end)["right"] == 0


def test_an_attack_has_targets_where_nothing_hides_them(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "unreadable-alone")
    assert "TARGETS 3" in bench.run(bench.attack("")).tail  # evaluator, launcher and the candidate's init


def test_walls_are_told(bench: Bench) -> None:
    end = bench.run(HONEST, then="sys.stderr.write(repr(evaluator.walls))")
    assert "this process is unreadable" in end.tail
    assert ("Landlock" in end.tail) is bench.has_landlock
    assert ("its own processes" in end.tail) is (bench.walls in ("all", "no-landlock"))


def test_slow_clock_of_a_candidate_changes_no_time(plain: Bench) -> None:
    slow = """\
        import time
        real, zero = time.sleep, time.time()
        for name in ("time", "monotonic", "perf_counter", "process_time"):
            setattr(time, name, lambda: zero)
        real(1)
        """
    found = numbers(plain.run(slow))
    assert 1 <= found["wall_s"] <= found["outer_s"]
    assert found["wall_s"] >= 0.95 * (found["outer_s"] - 0.1)  # what the start takes is not the candidate's


def test_candidate_that_ignores_sigterm_is_killed_at_its_limit_with_all_it_started(bench: Bench) -> None:
    mark = f"{10_000 + os.getpid()}.{time.monotonic_ns()}"
    stubborn = f"""\
        import os, signal, subprocess, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen(["sleep", "{mark}"], start_new_session=True)
        time.sleep(100)
        """
    alive = f'sys.stderr.write("ALIVE" if "{mark}" in str([p.read_bytes() for p in commands()]) else "GONE")'
    listing = "\ndef commands():\n    return [p for p in pathlib.Path('/proc').glob('[0-9]*/cmdline') if p.exists()]\n"
    end = bench.run(stubborn, timeout=0.7, then=alive, evaluate=EVALUATE.replace("\nwith", listing + "\nwith"))
    assert end.exit == 0, end.tail
    assert "still running after 0.7 s (limit 0.7 s)" in end.tail
    assert "GONE" in end.tail
    assert numbers(end)["timed_out"] == 1
    assert 0.7 <= numbers(end)["wall_s"] < 5


def test_evaluation_goes_on_after_a_candidate_that_was_killed(bench: Bench) -> None:
    then = 'run = evaluator.run(["/bin/echo", "next"]); sys.stderr.write(f"{run.stdout!r}{run.ok}")'
    assert "b'next\\n'True" in bench.run("while True: pass", timeout=0.3, then=then).tail


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        ("x = b'a' * (500 << 20)\nwhile True: pass", "held more than its memory"),
        ("print('a' * (5 << 20))", "printed more than 4 MB"),
        ("raise SystemExit(3)", "exited with 3"),
        ("import os; os.kill(os.getpid(), 11)", "ended by SIGSEGV"),
        ("import os; open(os.environ['HOME'] + '/x', 'wb').write(b'a' * (9 << 20))", "File too large"),
    ],
)
def test_limits_hold_and_are_named(candidate: str, words: str, plain: Bench) -> None:
    limited = EVALUATE.replace("timeout_s", "memory_mb=300, processes=20, output_mb=4, file_mb=8, timeout_s")
    end = plain.run(candidate, evaluate=limited)
    assert words in end.tail
    assert numbers(end)["right"] == 0


def test_fork_bomb_is_held(plain: Bench) -> None:
    bomb = """\
        import os
        while True:
            try:
                os.fork()
            except OSError:
                os._exit(9)
        """
    end = plain.run(bomb, evaluate=EVALUATE.replace("timeout_s", "processes=20, timeout_s"))
    assert "had more processes than it may have" in end.tail or (os.getuid() != 0 and "exited with 9" in end.tail)
    assert numbers(end)["wall_s"] < 10


def test_program_that_is_not_there_is_a_failed_run(plain: Bench) -> None:
    then = 'run = evaluator.run(["nowhere"]); sys.stderr.write(run.failed)'
    assert re.search(r"cannot be started: nowhere: (No such file|Permission denied)", plain.run(HONEST, then=then).tail)


def test_candidate_finds_nothing_of_the_run_before_and_writes_no_file_of_the_tree(bench: Bench) -> None:
    leaves = """\
        import os, glob
        for folder in (os.environ["HOME"], os.environ["TMPDIR"], "/dev/shm", "."):
            print("FOUND" * bool(glob.glob(folder + "/left*")))
            try:
                open(folder + "/left", "w").close()
            except OSError as error:
                print("SHUT", folder)
        """
    then = 'run = evaluator.run([sys.executable, "-I", "solution.py"]); sys.stderr.write(run.stdout.decode())'
    end = bench.run(leaves, then=then)
    shut = bench.has_landlock
    assert ("SHUT ." in end.tail) is shut
    assert (bench.folder / "tree/left").exists() is not shut
    assert end.tail.count("FOUND") == (0 if shut else 1 + ("unreadable-alone" in bench.walls))
    Path("/dev/shm/left").unlink(missing_ok=True)


def test_module_that_a_candidate_leaves_in_the_tree_is_not_imported(bench: Bench) -> None:
    plant = "try:\n    open('planted.py', 'w').close()\nexcept OSError:\n    pass\n"
    then = "try:\n        import planted\n    except ImportError:\n        sys.stderr.write('NOT THERE')"
    end = bench.run(plant, then=then)
    assert end.exit == 0, end.tail
    assert "NOT THERE" in end.tail
    assert (bench.folder / "tree/planted.py").exists() is not bench.has_landlock


def test_folders_that_the_evaluator_names_are_written(plain: Bench) -> None:
    (plain.folder / "out").mkdir()
    named = EVALUATE.replace("timeout_s", f"writable=[{str(plain.folder / 'out')!r}], timeout_s")
    plain.run(f"open({str(plain.folder / 'out/x')!r}, 'w').write('kept')", evaluate=named)
    assert (plain.folder / "out/x").read_text() == "kept"


def test_labels_that_the_evaluator_hides_are_not_read(bench: Bench) -> None:
    labels = bench.folder / "tree/data/labels.txt"
    labels.parent.mkdir()
    for path in (labels, labels.with_name("inputs.txt")):
        path.write_text("CONTENT")
    (bench.folder / "tree/way").symlink_to("data")
    reads = """\
        import os
        print(open("data/inputs.txt").read())
        for path in ("data/labels.txt", "way/labels.txt", "/proc/self/cwd/data/labels.txt"):
            try:
                print("LABELS", open(path).read())
            except OSError as error:
                print("SHUT")
        os.system("mv data/labels.txt data/moved; cat data/moved")
        """
    hides = EVALUATE.replace("timeout_s", "hidden=['data/labels.txt'], timeout_s")
    end = bench.run(reads, evaluate=hides)
    assert "LABELS" not in end.tail
    if bench.has_landlock:
        assert end.tail.count("CONTENT") == 1
        assert end.tail.count("SHUT") == 3
    else:
        assert "cannot hide" in end.tail
        assert end.exit == 1


def test_inputs_come_from_the_seed_of_the_evaluation(plain: Bench) -> None:
    generator = Random(7)
    drawn = [generator.randrange(1000) for _ in range(50)]
    assert f"7 {drawn[:3]}" in plain.run(HONEST, then="sys.stderr.write(f'{evaluator.seed} {numbers[:3]}')").tail


def test_nothing_stays_in_the_evaluations_folder_for_temporary_files(plain: Bench) -> None:
    plain.run("import os; os.mkdir(os.environ['TMPDIR'] + '/x', 0)")
    assert list((plain.folder / "tmp").iterdir()) == []


# -- the channel ---------------------------------------------------------------------------------------------------------

CONNECT = """\
import os, socket, sys
def connect():
    client = socket.socket(socket.AF_UNIX)
    os.chdir(os.path.dirname(os.environ["AUTORESEARCH_CHANNEL"]))
    client.connect("channel")
    client.settimeout(5)
    return client
"""


def test_only_the_first_connection_is_heard(plain: Bench) -> None:
    twice = CONNECT + (
        "first = connect()\nassert first.recv(9) == b'ready\\n'\n"
        "try:\n    connect().send(b'no')\n    sys.stderr.write('TWICE')\nexcept OSError:\n    pass\nfirst.send(b'yes')\n"
    )
    end = plain.run("", evaluate=twice)
    assert end.exit == 0, end.tail
    assert end.reported == "yes"
    assert "TWICE" not in end.tail


def test_process_of_nobodys_is_sent_away(plain: Bench) -> None:
    heard: list[bytes] = []

    def connect() -> None:
        until = time.monotonic() + 20
        while not plain.channel.exists() and time.monotonic() < until:
            time.sleep(0.01)
        with socket.socket(socket.AF_UNIX) as client:
            folder = os.open(plain.channel.parent, os.O_RDONLY)
            client.connect(f"/proc/self/fd/{folder}/channel")
            os.close(folder)
            client.settimeout(10)
            heard.append(client.recv(10))

    (plain.folder / "tree/evaluate.py").write_text(
        "import os, time\ntime.sleep(1)\n" + CONNECT + "c = connect()\nassert c.recv(9)\nc.send(b'mine')"
    )
    env = {"PATH": os.environ["PATH"], "AUTORESEARCH_CHANNEL": str(plain.channel)}
    end = supervised(Job([sys.executable, "evaluate.py"], plain.folder / "tree", env, channel=plain.channel), connect)
    assert heard == [b""]
    assert end.reported == "mine"


def test_job_that_nobody_reports_of_leaves_no_socket(plain: Bench) -> None:
    end = plain.run("", evaluate="print('METRIC score=1')")
    assert end.reported is None
    assert not plain.channel.exists()


def test_job_without_a_channel_has_no_report(tmp_path: Path) -> None:
    assert supervised(Job(["/bin/true"], tmp_path, {})).reported is None


def test_path_longer_than_a_sockets(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 20) / ("deep" * 20)
    folder.mkdir(parents=True)
    assert numbers(Bench(folder, "all").run(HONEST))["right"] == 1


def test_report_over_a_megabyte_is_cut(plain: Bench) -> None:
    end = plain.run("", evaluate=CONNECT + "c = connect()\nc.recv(9)\nc.settimeout(None)\nc.sendall(b'a' * (3 << 20))")
    assert end.exit == 0
    with pytest.raises(NoNumber, match="more than 1 MB"):
        record.read(end.reported, ["score"], needed=["score"])


def test_evaluator_that_comes_second_stops(plain: Bench) -> None:
    late = CONNECT + "connect().recv(9)\nos.chdir(os.environ['HOME'] if 0 else sys.path[0])\n" + EVALUATE
    end = plain.run(HONEST, evaluate=late)
    assert end.exit == 1
    assert "cannot take the channel" in end.tail


@pytest.mark.parametrize(
    ("reported", "words"),
    [
        (None, "nobody took the channel; [evaluate] sealed = true reads nothing else"),
        ("", "ended without a report"),
        ('{"metrics": {"score": 1}}\n' * 2, "2 records came"),
        ("score: 1", "it is not JSON"),
        ("[1]", 'expected {"metrics"'),
        ('{"score": 1}', 'expected {"metrics"'),
        ('{"metrics": {"score": NaN}}', "score is nan, expected a finite number"),
        ('{"metrics": {"score": "1"}}', "score is 1, expected a finite number"),
        ('{"metrics": {"score": true}}', "score is True"),
        ('{"metrics": {"other": 1}}', "it has no score (there: other)"),
    ],
)
def test_what_is_no_record_is_told(reported: str | None, words: str) -> None:
    with pytest.raises(NoNumber) as raised:
        record.read(reported, ["score"], needed=["score"])
    assert str(raised.value).startswith("no valid record: ")
    assert words in str(raised.value)


def test_record_gives_the_numbers_that_are_asked_for() -> None:
    line = json.dumps({"metrics": {"score": 1, "memory": 2.5, "other": 3}})
    assert record.read(line, ["score", "memory", "wall_s"], needed=["score"]) == {"score": 1.0, "memory": 2.5}


# -- older interpreters, other users -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.12", "3.13"])
def test_copied_file_works_under_another_python(version: str, tmp_path: Path) -> None:
    """What `by hand` means as well: no harness listens, and the number is printed."""
    python = shutil.which(f"python{version}")
    env = {**os.environ, "PYENV_VERSION": version}
    asked = subprocess.run([python, "-c", "print(1)"], capture_output=True, text=True, env=env) if python else None
    if asked is None or asked.stdout != "1\n":
        pytest.skip(f"no Python {version} here")
    shutil.copy(SEALED, tmp_path)
    (tmp_path / "solution.py").write_text(HONEST)
    (tmp_path / "evaluate.py").write_text(EVALUATE.replace("{timeout}", "20").replace("{then}", "pass"))
    argv = [str(python), "-W", "error", "evaluate.py"]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "METRIC right=1.0\n" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="these are the tests of an ordinary user")
def test_all_this_holds_for_an_ordinary_user() -> None:
    run_as_nobody("tests/integration/test_sealed.py", '-k "not python"')
