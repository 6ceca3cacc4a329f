"""The contributor's scripts, as far as they can be tried without installing anything."""

from __future__ import annotations

import os
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
PROGRAMS = ("git", "gcc", "make", "node", "initdb", "psql", "sshd", "ssh", "ssh-keygen", "bwrap")


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
