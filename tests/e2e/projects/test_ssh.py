"""A task over ssh: a connection that breaks without a terminal, a terminal that hangs up, a run in the background."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.projects.support import PROPOSER, Owner, find, free_port, needs, proposer, wait_for

pytestmark = needs("sshd", "ssh", "ssh-keygen")

EVALUATE = """\
import pathlib, time
time.sleep(0.2)
print("score:", float(pathlib.Path("knob.txt").read_text()) + len(pathlib.Path("data/offsets.txt").read_text()))
"""
TASK = f"""\
[task]
editable = ["knob.txt"]

[evaluate]
command = "python evaluate.py"
inputs = ["data"]

[metric]
name = "score"

[budget]
experiments = 8
{PROPOSER}"""
STEPS = [(f"step {n}", {"knob.txt": (f"{30 - n + 1}", f"{30 - n}")}) for n in range(1, 9)]
EXPECTED = [31.0 - n for n in range(9)]
QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}


@dataclass(frozen=True)
class Door:
    """A running sshd, and how to get in."""

    argv: tuple[str, ...]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """An sshd of this test only, on a free port of 127.0.0.1."""
    folder, port, user = tmp_path_factory.mktemp("sshd"), free_port(), pwd.getpwuid(os.getuid()).pw_name
    for name in ("host", "user"):
        keygen = [str(find("ssh-keygen")), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(keygen, check=True)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # the daemon of root insists on it
    lines = (
        *(f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {folder}/host", f"PidFile {folder}/pid", "UsePAM no"),
        *(f"AuthorizedKeysFile {folder}/user.pub", "StrictModes no", "PasswordAuthentication no", "PermitRootLogin yes"),
    )
    (folder / "config").write_text("\n".join(lines) + "\n")
    daemon = subprocess.Popen([str(find("sshd")), "-D", "-e", "-f", folder / "config"], stderr=subprocess.PIPE, text=True)
    options = ("StrictHostKeyChecking=no", f"UserKnownHostsFile={folder}/known", "LogLevel=ERROR", "IdentitiesOnly=yes")
    argv = ("ssh", "-F", "none", "-p", str(port), "-i", str(folder / "user"), *(f"-o{o}" for o in options), f"{user}@127.0.0.1")
    try:
        wait_for(lambda: subprocess.run([*argv, "true"], capture_output=True).returncode == 0, "sshd lets in", 20)
        yield Door(argv)
    finally:
        daemon.terminate()
        daemon.communicate()


@pytest.fixture
def near(owner: Owner) -> Owner:
    """An owner with a project that needs eight experiments, each a step better."""
    owner.write({"evaluate.py": EVALUATE, "knob.txt": "30\n", "propose.py": proposer(STEPS), "autoresearch.toml": TASK})
    owner.write({".gitignore": "/data/\n", "data/offsets.txt": "x"})
    owner.commit("start")
    return owner


@pytest.fixture
def far(near: Owner, door: Door) -> Owner:
    """The same, with the project on the other end."""
    near.remote = door.argv
    return near


def status(owner: Owner) -> dict[str, object]:
    found: dict[str, object] = json.loads(owner.does("autoresearch status one --json"))
    return found


def connect(owner: Owner, flag: str, command: str) -> subprocess.Popen[bytes]:
    """Type a command at the other end, with (`-tt`) or without (`-T`) a terminal, and wait until two were kept."""
    owner.remote = (owner.remote[0], flag, *owner.remote[1:])
    client = owner.begins(command, **QUIET)
    owner.remote = (owner.remote[0], *owner.remote[2:])
    wait_for(lambda: len(owner.log_if_any()) > 2, "two experiments were decided")
    return client


def break_off(client: subprocess.Popen[bytes]) -> None:
    client.kill()
    client.communicate()


def check_complete(owner: Owner) -> None:
    wait_for(lambda: not status(owner)["owner"], "the run has ended")
    assert status(owner)["status"] == "finished"
    rows = owner.log()
    assert [row["value"] for row in rows] == EXPECTED
    assert [row["n"] for row in rows] == list(range(9))
    assert {len(row["measurements"]) for row in rows[1:]} == {1}
    owner.check_untouched()


def test_run_without_a_terminal_goes_on_to_its_end_when_the_connection_breaks(far: Owner) -> None:
    far.write({"autoresearch.toml": TASK.replace('inputs = ["data"]\n', "")})
    far.commit("task")
    assert far.is_fixed("the command looks for data/offsets.txt") == ['inputs = ["data"]']
    break_off(connect(far, "-T", "autoresearch run one"))
    check_complete(far)


def test_run_whose_terminal_hangs_up_ends_cleanly_and_goes_on_later(far: Owner) -> None:
    break_off(connect(far, "-tt", "autoresearch run one"))
    wait_for(lambda: not status(far)["owner"], "the run has ended")
    before = far.log()
    assert "open (stopped by SIGHUP)" in far.does("autoresearch status one")
    assert 2 < len(before) < 9
    far.does("autoresearch run one")
    check_complete(far)
    baseline, *rows = far.log()[: len(before)]
    *measured, final = baseline["measurements"]
    assert final["phase"] == "final"
    assert [{**baseline, "measurements": measured}, *rows] == before


def test_run_in_the_background_survives_the_terminal_that_started_it(far: Owner) -> None:
    break_off(connect(far, "-tt", "autoresearch run one --detach; sleep 100"))
    check_complete(far)


INTERRUPTING = """\
#!/bin/sh
case "$*" in
*"/views fetch "*) if rm {flag} 2>/dev/null; then kill -s INT -- -$(cut -d' ' -f5 /proc/$PPID/stat); sleep 0.3; fi ;;
esac
exec {git} "$@"
"""


def test_ctrl_c_while_git_works_for_us_fails_no_experiment(near: Owner) -> None:
    """A terminal sends its signals to all processes of its foreground group."""
    programs, flag = near.home / "bin", near.home / "flag"
    programs.mkdir()
    (programs / "git").write_text(INTERRUPTING.format(flag=flag, git=shutil.which("git")))
    (programs / "git").chmod(0o755)
    flag.touch()
    near.environ["PATH"] = f"{programs}:{near.shell['PATH']}"
    with near.begins("exec autoresearch run one", start_new_session=True, **QUIET) as run:
        run.communicate()
    assert run.returncode == 130
    assert not flag.exists()
    near.does("autoresearch run one")
    check_complete(near)
