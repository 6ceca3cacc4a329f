"""The contributor's scripts, as far as they can be tried without installing anything."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [ROOT / "scripts" / name for name in ("demo", "test", "check", "format", "pins")] + [ROOT / ".ci" / "run"]


def shell(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run bash with the scripts' shared set-up loaded."""
    argv = ["bash", "-euo", "pipefail", "-c", f'. "{ROOT}/scripts/lib.sh"; {code}']
    return subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=60)


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder to be the whole path: what the set-up needs, and no Python, git or apt-get."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "cat", "cksum", "dirname", "sh"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_script_can_be_run_and_parses(script: Path) -> None:
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


def test_no_pin_names_a_host_and_each_has_a_hash() -> None:
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        text = path.read_text()
        assert "://" not in text
        assert text.count("==") <= text.count("--hash=sha256:")


def test_agent_programs_are_pinned_exactly_with_hashes_and_no_host() -> None:
    folder = ROOT / "requirements" / "agents"
    text = (folder / "package-lock.json").read_text()
    packages = json.loads(text)["packages"]
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]
    assert "://" not in text
    assert packages.pop("")["dependencies"] == wanted
    assert [version for version in wanted.values() if not re.fullmatch(r"\d+\.\d+\.\d+", version)] == []
    assert [name for name, one in packages.items() if not one["integrity"].startswith("sha512-")] == []


def test_python_that_does_not_run_or_is_too_old_is_passed_over(tools: Path) -> None:
    program(tools, "python3", "exit 127")
    program(tools, "python3.14", "exit 1")
    program(tools, "python3.12", "exit 0")
    assert shell("find_python", PATH=str(tools)).stdout.strip() == str(tools / "python3.12")


def test_no_python_at_all_is_said(tools: Path) -> None:
    program(tools, "git", "exit 0")
    done = shell(f'venv="{tools.parent}/none"; make_environment run', PATH=str(tools))
    assert done.returncode == 1
    assert "no Python 3.11 or later" in done.stderr


INSTALL = "system_places=; install_system_packages"
PROGRAMS = ("git", "gcc", "make", "node", "npm", "initdb", "psql", "sshd", "ssh", "ssh-keygen", "bwrap")


def test_only_missing_system_packages_are_installed(tools: Path) -> None:
    for name in ("python3", *PROGRAMS):
        program(tools, name, "exit 0")
    program(tools, "id", "echo 0")
    program(tools, "apt-get", f'echo "$@" >> "{tools.parent}/asked"')
    for name, packages in (("git", ["git"]), ("gcc", ["gcc", "libc6-dev"]), ("initdb", ["postgresql"])):
        (tools / name).unlink()
        assert shell(INSTALL, PATH=str(tools)).returncode == 0
        update, install = (tools.parent / "asked").read_text().splitlines()
        assert update.startswith("update")
        assert install.split()[0] == "install"
        assert install.split()[-len(packages) - 1 :] == ["--no-install-recommends", *packages]
        program(tools, name, "exit 0")
        (tools.parent / "asked").unlink()
    assert shell(INSTALL, PATH=str(tools)).returncode == 0
    assert not (tools.parent / "asked").exists()


def agents(tools: Path, npm: str) -> subprocess.CompletedProcess[str]:
    """Install the agent programs with a stand-in for npm, in a folder beside that of the tools."""
    for name in ("cp", "mkdir", "rm", "tail"):
        if not (tools / name).exists():
            (tools / name).symlink_to(str(shutil.which(name)))
    (top := tools.parent / "checkout").mkdir(exist_ok=True)
    if not (top / "requirements").exists():
        shutil.copytree(ROOT / "requirements", top / "requirements")
    program(tools, "npm", npm)
    program(tools, "node", "echo v20.0.0")
    return shell(f'root="{top}"; system_places=; install_agents', PATH=str(tools))


def test_agent_programs_are_installed_again_only_when_their_pins_change(tools: Path) -> None:
    count = f'echo once >> "{tools.parent}/asked"'
    for _ in range(2):
        assert agents(tools, count).returncode == 0
    assert (tools.parent / "asked").read_text().count("once") == 1
    pins = tools.parent / "checkout" / "requirements" / "agents" / "package.json"
    pins.write_text(pins.read_text() + "\n")
    assert agents(tools, count).returncode == 0
    assert (tools.parent / "asked").read_text().count("once") == 2


def test_agent_programs_that_cannot_be_installed_are_said_and_tried_again(tools: Path) -> None:
    done = agents(tools, "echo no such package; exit 1")
    assert done.returncode == 1
    assert "no such package" in done.stderr
    assert agents(tools, f'echo once >> "{tools.parent}/asked"').returncode == 0
    assert (tools.parent / "asked").exists()


def test_missing_system_packages_are_named_to_who_cannot_install_them(tools: Path) -> None:
    for name in ("python3", *PROGRAMS[1:]):
        program(tools, name, "exit 0")
    program(tools, "id", "echo 1000")
    done = shell(INSTALL, PATH=str(tools))
    assert done.returncode == 1
    assert "missing: git," in done.stderr


@pytest.mark.parametrize(("flags", "code"), [([], 0), (["--all"], 1)])
def test_what_was_left_out_is_listed_and_fails_with_all(tmp_path: Path, flags: list[str], code: int) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\ndef test_a(): pass\n"
        "@pytest.mark.parametrize('i', [1, 2])\ndef test_b(i): pytest.skip('needs a cluster')\n"
    )
    argv = [sys.executable, "-m", "pytest", "-p", "scripts.left_out", "--rootdir", str(tmp_path), str(tmp_path), *flags]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    assert "left out: 2" in done.stdout
    assert "test_it.py: needs a cluster (2 tests)" in done.stdout
    assert "1 passed, 2 skipped" in done.stdout.splitlines()[-1]
