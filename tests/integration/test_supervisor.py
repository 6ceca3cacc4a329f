"""The supervisor: whatever a job does, it ends, nothing of it stays alive, and what it used is measured.

Every test runs in both ways of holding processes together; as root all of them run once more as an ordinary user.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from tests.ordinary import run_as_nobody

from autoresearch.errors import DiskFault, RunnerLost
from autoresearch.process import Exit, Job, Supervisor

LINUX = sys.platform == "linux"
pytestmark = pytest.mark.skipif(not LINUX, reason="containment of processes is tested on Linux")


@pytest.fixture(params=["namespaces", "off"])
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The best containment that there is, and the fallback of subreaper and marker."""
    monkeypatch.setenv("AUTORESEARCH_NAMESPACES", "off" if request.param == "off" else "on")
    return str(request.param)


@pytest.fixture
def project(mode: str, tmp_path: Path) -> Path:
    return tmp_path


def job(folder: Path, *argv: str, **options: Any) -> Job:
    return Job(argv, folder, {"PATH": os.environ["PATH"]}, **{"grace_s": 0.3, **options})


def python(folder: Path, code: str, **options: Any) -> Job:
    return job(folder, sys.executable, "-I", "-c", textwrap.dedent(code), **options)


def shell(folder: Path, code: str, **options: Any) -> Job:
    return job(folder, "/bin/sh", "-c", code, **options)


def with_supervisor(work: Callable[[Supervisor], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with Supervisor() as supervisor:
            return await work(supervisor)

    return anyio.run(main)


def end_of(job: Job) -> Exit:
    end: Exit = with_supervisor(lambda supervisor: supervisor.run(job))
    return end


def name_of(folder: Path) -> str:
    """A duration for `sleep` that no other process on this machine has."""
    return f"{10_000 + os.getpid()}.{abs(hash(str(folder))) % 10**9}"


def alive(sign: str) -> list[int]:
    """Processes, not yet dead, that carry the sign in their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(sign in word for word in process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return [pid for pid in found if pid != os.getpid()]


def name_in(pid: int) -> str:
    """A process's name, `` for one that has ended meanwhile."""
    try:
        return str(psutil.Process(pid).name())
    except psutil.NoSuchProcess:
        return ""


def wait_for(condition: Callable[[], object], limit_s: float = 20.0) -> float:
    """Seconds until the condition holds; fails when it never does."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit_s, "waited in vain"
        time.sleep(0.01)
    return time.monotonic() - began


def test_whoever_reads_along_sees_standard_output_alone_as_it_comes_and_covered(project: Path) -> None:
    events, seen = project / "events", []

    async def read_along(supervisor: Supervisor) -> None:
        code = "echo one; echo secret-key; echo aside >&2; read wait < fifo; echo two"
        os.mkfifo(project / "fifo")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(supervisor.run, shell(project, code, events=events, masked=[("secret-key", "***")]))
            with anyio.fail_after(20):
                while not events.is_file() or b"***" not in events.read_bytes():
                    await anyio.sleep(0.01)
            seen.append(events.read_text())
            await anyio.to_thread.run_sync(lambda: (project / "fifo").write_text("go\n"))

    with_supervisor(read_along)
    assert seen == ["one\n***\n"]
    assert events.read_text() == "one\n***\ntwo\n"


# -- how a job ends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 75, 127, 255])
def test_exit_code_is_the_commands_own(project: Path, code: int) -> None:
    end = end_of(shell(project, f"exit {code}"))
    assert (end.exit, end.signal, end.error) == (code, None, "")
    assert not end.timed_out
    assert not end.killed


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGUSR1, signal.SIGRTMIN])
def test_signal_that_ended_the_command_is_told(project: Path, signum: int) -> None:
    end = end_of(shell(project, f"kill -{int(signum)} $$"))
    assert (end.exit, end.signal) == (None, int(signum))
    assert not end.killed


def test_missing_program_is_an_error_in_words(project: Path) -> None:
    end = end_of(job(project, "no-such-program-here"))
    assert (end.exit, end.error) == (127, "No such file or directory")
    assert "no-such-program-here" in end.tail


def test_program_is_looked_for_on_the_jobs_own_path(project: Path) -> None:
    tool = project / "bin" / "tool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho mine\n")
    tool.chmod(0o755)
    (project / "earlier" / "tool").mkdir(parents=True)  # a folder of that name is no program
    env = {"PATH": f"{project / 'earlier'}:{tool.parent}"}
    assert end_of(Job(["tool"], project, env)).stdout == "mine\n"
    assert end_of(Job(["sh", "-c", "true"], project, env)).exit == 127


def test_missing_folder_is_an_error_that_names_it(project: Path) -> None:
    end = end_of(job(project / "gone", "/bin/true"))
    assert end.exit == 127
    assert "gone" in end.tail


def test_file_that_may_not_be_run_is_an_error(project: Path) -> None:
    (project / "script").write_text("#!/bin/sh\n")
    assert end_of(job(project, "./script")).error == "Permission denied"


def test_command_starts_with_default_signals_no_input_and_the_given_environment(project: Path) -> None:
    code = """
    import os, signal, sys
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    assert sys.stdin.read() == ""
    assert sorted(os.listdir("/proc/self/fd")) == ["0", "1", "2", "3"], os.listdir("/proc/self/fd")  # 3 is the listing
    print(*sorted(os.environ))
    """
    end = end_of(python(project, code))
    assert end.exit == 0, end.tail
    assert set(end.stdout.split()) <= {"AUTORESEARCH_MARK", "PATH", "LC_CTYPE"}


def test_standard_input_comes_from_a_file(project: Path) -> None:
    (project / "in").write_text("hello")
    assert end_of(job(project, "cat", stdin=project / "in")).stdout == "hello"


def test_output_that_is_no_text_is_read_all_the_same(project: Path) -> None:
    end = end_of(shell(project, r"printf 'a\377b\000c'"))
    assert end.stdout == "a\ufffdb\0c"
    assert end.stdout_bytes == 5


def test_both_streams_reach_log_and_tail_and_only_standard_output_counts(project: Path) -> None:
    end = end_of(shell(project, "echo out; echo err >&2", log=project / "log"))
    assert end.stdout == "out\n"
    assert sorted(end.tail.splitlines()) == ["err", "out"]
    assert sorted((project / "log").read_text().splitlines()) == ["err", "out"]


# -- time --------------------------------------------------------------------------------------------------------------


def test_job_over_its_limit_is_ended(project: Path) -> None:
    end = end_of(shell(project, "sleep 60", timeout_s=0.3, grace_s=5))
    assert end.timed_out
    assert end.killed
    assert 0.2 <= end.duration_s < 5  # asked politely, it went at once


def test_ignored_sigterm_is_followed_by_sigkill(project: Path) -> None:
    sign = name_of(project)
    end = end_of(shell(project, f"trap '' TERM; sleep {sign} & sleep {sign}", timeout_s=0.3))
    assert end.timed_out
    assert end.duration_s < 20
    assert alive(sign) == []


def test_sigterm_gives_the_command_time_to_say_goodbye(project: Path) -> None:
    code = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    end = end_of(shell(project, code, timeout_s=1, grace_s=10))
    assert end.stdout == "ready\nbye\n"
    assert (end.exit, end.timed_out) == (3, True)


JUMPING = """
import itertools, socket, sys, time
jumps = itertools.cycle([0, 86400, -86400, 10**9])
real = time.time
time.time = lambda: real() + next(jumps)
from autoresearch.process import supervisor
supervisor.main()
"""


def test_limit_holds_while_the_wall_clock_jumps(project: Path) -> None:
    ours, theirs = socket.socketpair()
    fd = str(theirs.fileno())
    process = subprocess.Popen([sys.executable, "-c", JUMPING, fd, str(os.getpid())], pass_fds=[theirs.fileno()])
    theirs.close()
    request = {"op": "start", "id": 1, "token": "", "argv": ["sleep", "60"], "cwd": "/", "env": {"PATH": os.environ["PATH"]}}
    body = json.dumps({**request, "log_limit": 1000, "keep": 1000, "timeout_s": 1.0, "grace_s": 0.1}).encode()
    with ours:
        ours.sendall(struct.pack(">I", len(body)) + body)
        ours.settimeout(30)
        answers = b""
        while b'"timed_out": true' not in answers:
            data = ours.recv(1 << 16)
            assert data, answers
            answers += data
    assert process.wait(20) == 0
    duration = float(answers.split(b'"duration_s": ')[1].split(b",")[0])
    assert 0.8 <= duration < 10


def test_cancelled_waiting_kills_the_job(project: Path) -> None:
    sign = name_of(project)

    async def work(supervisor: Supervisor) -> None:
        with anyio.move_on_after(0.5) as scope:
            await supervisor.run(shell(project, f"setsid sleep {sign} & sleep {sign}"))
        assert scope.cancelled_caught
        assert alive(sign) == []
        assert (await supervisor.run(job(project, "/bin/true"))).exit == 0

    with_supervisor(work)


# -- nothing survives --------------------------------------------------------------------------------------------------

DAEMON = """
import os, sys, time
keep, sign = sys.argv[1:]
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
if keep == "silent":
    for fd in (0, 1, 2): os.dup2(os.open(os.devnull, os.O_RDWR), fd)
os.execve("/bin/sleep", ["sleep", sign], {} if keep == "unmarked" else os.environ)
"""


@pytest.mark.parametrize("keep", ["silent", "streams", "unmarked"])
def test_daemon_ends_with_the_command_that_left_it(project: Path, keep: str) -> None:
    sign = name_of(project)
    (project / "daemon.py").write_text(DAEMON)
    end = end_of(shell(project, f"{sys.executable} -I daemon.py {keep} {sign}; echo done", timeout_s=120))
    assert (end.exit, end.stdout, end.timed_out) == (0, "done\n", False)
    assert end.duration_s < 60  # a daemon that holds standard output holds nobody up
    assert alive(sign) == []


def test_daemon_of_a_job_over_its_limit_is_gone_as_well(project: Path) -> None:
    sign = name_of(project)
    (project / "daemon.py").write_text(DAEMON)
    end = end_of(shell(project, f"{sys.executable} -I daemon.py unmarked {sign}; sleep 60", timeout_s=1))
    assert end.timed_out
    assert alive(sign) == []


def test_hundreds_of_forks_that_ignore_signals_are_all_gone(project: Path) -> None:
    sign = name_of(project)
    code = f"""
    import os, signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for i in range(300):
        if os.fork() == 0:
            if i % 2: os.setsid()
            os.execv("/bin/sleep", ["sleep", "{sign}"])
    open("forked", "w").close()
    signal.pause()
    """

    async def work(supervisor: Supervisor) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(supervisor.run, python(project, code))
            while not (project / "forked").exists():
                await anyio.sleep(0.02)
            assert len(alive(sign)) > 0
            tasks.cancel_scope.cancel()

    with_supervisor(work)
    assert alive(sign) == []


def test_processes_that_fork_faster_than_one_can_look_are_caught(project: Path) -> None:
    sign = name_of(project)
    code = f"""
    import os, time
    until, name = time.monotonic() + 30, "{sign}"
    for _ in range(4):
        if os.fork() == 0:
            while time.monotonic() < until:
                if os.fork(): os._exit(0)
                time.sleep(0.001)
            os._exit(0)
    time.sleep(0.3)
    """
    end = end_of(python(project, code, timeout_s=20))
    assert end.exit == 0
    assert end.duration_s < 15
    assert alive(sign) == []


HARNESS = """
import os, sys
from pathlib import Path
import anyio
from autoresearch.process import Job, Supervisor

async def main():
    async with Supervisor() as supervisor:
        await supervisor.run(Job(["/bin/sh", "-c", sys.argv[1]], Path(sys.argv[2]), {"PATH": os.environ["PATH"]}))

anyio.run(main)
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_detached_grandchild_is_gone_soon_after_its_harness_was_killed(project: Path, signum: int) -> None:
    sign = name_of(project)
    (project / "daemon.py").write_text(DAEMON)
    code = f"{sys.executable} -I daemon.py silent {sign}; sleep {sign}"
    harness = subprocess.Popen([sys.executable, "-c", HARNESS, code, str(project)])
    try:
        wait_for(lambda: len([pid for pid in alive(sign) if name_in(pid) == "sleep"]) == 2)
    finally:
        harness.send_signal(signum)
        harness.wait(20)
    assert wait_for(lambda: not alive(sign)) < 5  # a second on an idle machine


def test_killed_supervisor_takes_its_job_along_and_the_next_job_gets_another(project: Path) -> None:
    sign = name_of(project)
    (project / "daemon.py").write_text(DAEMON)

    async def work(supervisor: Supervisor) -> None:
        await supervisor.start()
        lost = anyio.Event()

        async def run() -> None:
            with pytest.raises(RunnerLost, match="done again"):
                await supervisor.run(shell(project, f"{sys.executable} -I daemon.py silent {sign}; sleep {sign}"))
            lost.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            while len([p for p in alive(sign) if name_in(p) == "sleep"]) < 2:
                await anyio.sleep(0.01)
            supervisor_process().kill()
            with anyio.fail_after(20):
                await lost.wait()
        wait_for(lambda: not alive(sign))
        assert (await supervisor.run(shell(project, "exit 7"))).exit == 7

    with_supervisor(work)


def test_supervisor_whose_death_is_noticed_by_whoever_asks_next_is_followed_by_another(project: Path) -> None:
    """The socket of the old one is still listened to at that moment, and the new one may get its number."""

    async def work(supervisor: Supervisor) -> None:
        for code in (5, 6, 7):
            await supervisor.start()
            process = supervisor_process()
            process.kill()
            wait_for(lambda dead=process: dead.status() == psutil.STATUS_ZOMBIE)
            with pytest.raises(RunnerLost, match="done again"):
                await supervisor.run(shell(project, "exit 1"))
            assert (await supervisor.run(shell(project, f"exit {code}"))).exit == code

    with_supervisor(work)


def test_supervisor_is_gone_when_its_context_ends(project: Path) -> None:
    found = []

    async def work(supervisor: Supervisor) -> None:
        await supervisor.run(job(project, "/bin/true"))
        found.append(supervisor_process())

    with_supervisor(work)
    assert not found[0].is_running()


def test_job_outlives_the_idle_threads_of_a_pool(tmp_path: Path) -> None:
    """A child that hung on the thread that started it died when the pool let that thread go, after ten seconds."""

    async def work(supervisor: Supervisor) -> Exit:
        await anyio.to_thread.run_sync(time.sleep, 0)
        return await supervisor.run(shell(tmp_path, "sleep 12; echo survived"))

    assert with_supervisor(work).stdout == "survived\n"


def test_many_jobs_at_once_each_get_their_own_end(project: Path) -> None:
    async def work(supervisor: Supervisor) -> None:
        async def run(i: int) -> None:
            end = await supervisor.run(shell(project, f"sleep 0.{i % 3}; echo {i}; exit {i}", timeout_s=120))
            ends[i] = (end.exit, end.stdout, end.timed_out)

        async with anyio.create_task_group() as tasks:
            for i in range(30):
                tasks.start_soon(run, i)

    ends: dict[int, tuple[int | None, str, bool]] = {}
    with_supervisor(work)
    assert ends == {i: (i, f"{i}\n", False) for i in range(30)}


def test_jobs_that_end_by_themselves_are_not_lost_while_others_are_killed(project: Path) -> None:
    async def work(supervisor: Supervisor) -> None:
        async def run(i: int) -> None:
            limit = 0.2 if i % 2 else 120
            end = await supervisor.run(
                shell(project, f"trap '' TERM; sleep 60 & sleep {60 if i % 2 else 0.2}", timeout_s=limit)
            )
            ends[i] = end.timed_out

        async with anyio.create_task_group() as tasks:
            for i in range(12):
                tasks.start_soon(run, i)

    ends: dict[int, bool] = {}
    with_supervisor(work)
    assert ends == {i: bool(i % 2) for i in range(12)}


def test_requests_larger_than_the_socket_arrive_whole_also_when_cancelled(project: Path) -> None:
    env = {"PATH": os.environ["PATH"], **{f"BIG{i}": "x" * 100_000 for i in range(10)}}

    async def work(supervisor: Supervisor) -> None:
        await supervisor.start()
        async with anyio.create_task_group() as tasks:
            for i in range(6):
                tasks.start_soon(supervisor.run, Job(["sleep", str(60 * (i % 2))], project, env))
            await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()
        assert (await supervisor.run(Job(["/bin/sh", "-c", "echo ${#BIG9}"], project, env))).stdout == "100000\n"

    with_supervisor(work)


def supervisor_process() -> psutil.Process:
    children = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    ours = [p for p in children if any("supervisor.py" in word for word in p.cmdline())]
    assert len(ours) == 1
    return ours[0]


# -- output ------------------------------------------------------------------------------------------------------------


def test_two_gigabytes_without_a_newline_fill_neither_memory_nor_disk(project: Path) -> None:
    highest = 0

    async def work(supervisor: Supervisor) -> Exit:
        await supervisor.start()
        process = supervisor_process()
        ends: list[Exit] = []

        async def watch() -> None:
            nonlocal highest
            while not ends:
                highest = max(highest, process.memory_info().rss)
                await anyio.sleep(0.02)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            ends.append(await supervisor.run(shell(project, "head -c 2000000000 /dev/zero", log=project / "log")))
        return ends[0]

    end = with_supervisor(work)
    assert end.exit == 0
    assert end.stdout_bytes == 2_000_000_000
    assert len(end.stdout) == 4 * 1024 * 1024
    assert (project / "log").stat().st_size < 11 * 1024 * 1024
    assert highest < 200 * 1024 * 1024


def test_log_over_its_limit_keeps_beginning_and_end_and_says_what_is_missing(project: Path) -> None:
    code = "print('first'); [print('x' * 99) for _ in range(2000)]; print('last')"
    end = end_of(python(project, code, log=project / "log", log_limit=1000, keep=100))
    text = (project / "log").read_text()
    assert text.startswith("first\n")
    assert text.endswith("last\n")
    assert "199011 bytes left out" in text
    assert end.stdout.endswith("last\n")
    assert (len(end.stdout), end.stdout_bytes) == (100, 200_011)


@pytest.mark.parametrize(("log", "words"), [("/dev/full", "No space left"), ("/no/such/folder/log", "No such file")])
def test_log_that_cannot_be_written_is_a_disk_fault(project: Path, log: str, words: str) -> None:
    with pytest.raises(DiskFault, match=words):
        end_of(shell(project, "echo hello", log=Path(log)))


# -- what was used -----------------------------------------------------------------------------------------------------


def test_small_program_under_a_large_harness_needs_little_memory(project: Path) -> None:
    ballast = bytearray(300 * 1024 * 1024)
    end = end_of(job(project, "/bin/true"))
    assert ballast[-1] == 0
    assert end.peak_mb is None or end.peak_mb < 30
    assert end.memory_from in {"cgroup1", "cgroup2", "sampled"}


@pytest.mark.parametrize("hold_s", [0, 0.5])
def test_memory_of_a_grandchild_is_seen_however_short_it_lives(project: Path, hold_s: float) -> None:
    inner = f"import time; x = bytearray(200 << 20); x[::4096] = bytes(len(x) // 4096); time.sleep({hold_s})"
    end = end_of(shell(project, f"sh -c \"{sys.executable} -I -c '{inner}'\"; true"))
    assert end.peak_mb is not None
    assert 195 <= end.peak_mb < 300


def test_memory_peak_is_not_hidden_by_files_written_after_it(project: Path) -> None:
    code = """
    import time
    x = bytearray(100 << 20)
    x[::4096] = bytes(len(x) // 4096)
    time.sleep(1)
    del x
    with open("file", "wb") as file:
        for _ in range(110): file.write(bytes(1 << 20))
    """
    end = end_of(python(project, code))
    assert end.peak_mb is not None
    assert 95 <= end.peak_mb < 180
    (project / "file").unlink()


BURN = "import time\nwhile time.process_time() < 0.4: pass"


@pytest.mark.parametrize("how", ["{python}", "sh -c '{python}; true'", "setsid {python} & wait"])
def test_cpu_time_of_all_descendants_is_counted(project: Path, how: str) -> None:
    (project / "burn.py").write_text(BURN)
    end = end_of(shell(project, how.replace("{python}", f"{sys.executable} -I burn.py")))
    assert end.exit == 0
    assert 0.4 <= end.cpu_s < 5


def test_cpu_time_of_what_was_killed_is_counted(project: Path) -> None:
    end = end_of(python(project, "while True: pass", timeout_s=1.5))
    assert end.cpu_s > 0.2


def test_duration_is_the_commands_not_the_containments(project: Path) -> None:
    assert 0.2 <= end_of(shell(project, "sleep 0.2")).duration_s < 5


# -- walls -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["", "/dev/shm"])
def test_read_only_folder_cannot_be_written_in_a_namespace(project: Path, place: str) -> None:
    if place and not os.access(place, os.W_OK):
        pytest.skip(f"{place} is not there")
    with tempfile.TemporaryDirectory(dir=place or project) as folder:
        (Path(folder) / "known").write_text("data")
        end = end_of(shell(project, f"cat {folder}/known; echo x > {folder}/known", readonly=[Path(folder)]))
        walled = end.contained_by.startswith("pid namespace")
        assert (Path(folder) / "known").read_text() == ("data" if walled else "x\n")
        assert end.stdout == "data"
        assert (end.exit == 0) is not walled


@pytest.mark.skipif(os.geteuid() != 0, reason="these are the tests of an ordinary user")
def test_all_this_holds_for_an_ordinary_user() -> None:
    """The tests above and the runner's."""
    chosen = "-k '(test_supervisor and namespaces and not two_gigabytes) or (test_runner and plain)'"
    run_as_nobody("tests/integration/test_supervisor.py tests/integration/test_runner.py", chosen)
