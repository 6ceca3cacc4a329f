"""Every page of docs/ that tells what to type is followed to the letter: its files are written, its commands are run.

A line like "`train.py`:" before a code block names the file that the block is. In `console` blocks the lines that begin
with `$ ` are commands (a backslash at the end goes on), all others what must be seen after them, in this order; `…` stands
for anything, also for lines left out where it stands alone; `[exit 1]` for the exit code that is expected instead of 0.
`<!-- needs: cargo -->` names programs without which a page cannot be followed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # the installed command goes first
NOT_TYPED = {"structure.md", "json.md", "task.md", "python.md"}  # what they say is tested elsewhere
ELSEWHERE = {"cargo.md"} if not shutil.which("cargo") else set()  # the one program that `scripts/test --all` does not install
PAGES = sorted(p for p in (ROOT / "docs").rglob("*.md") if p.name not in NOT_TYPED | ELSEWHERE)
FENCE = re.compile(r"^(?:`(?P<file>[\w./-]+)`:\n+)?```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Step:
    """A command with the lines that must follow it, and its exit code."""

    command: str
    expected: list[str] = field(default_factory=list)
    code: int = 0


def steps(body: str) -> Iterator[Step]:
    step: Step | None = None
    lines = iter(body.splitlines())
    for line in lines:
        if line.startswith("$ "):
            if step is not None:
                yield step
            command = line[2:]
            while command.endswith("\\"):
                command = command + "\n" + next(lines)
            step = Step(command)
        elif step is not None and (found := re.fullmatch(r"\[exit (\d+)\]", line)):
            step.code = int(found[1])
        elif step is not None and line.strip():
            step.expected.append(line)
    if step is not None:
        yield step


def missing(step: Step, output: str) -> str:
    """The first expected line that the output does not have after those before it, or ``."""
    rest = iter(line.rstrip() for line in output.splitlines())
    for line in step.expected:
        if line.strip() == "…":
            continue
        pattern = re.compile(r"\s*" + ".*".join(re.escape(part) for part in line.strip().split("…")) + r"\s*")
        if not any(pattern.fullmatch(seen) for seen in rest):
            return line
    return ""


def environment(home: Path) -> dict[str, str]:
    """A new user's: a HOME with no more than cargo in it, an identity for git, the installed command on the path."""
    kept = {k: v for k, v in os.environ.items() if k in ("LANG", "LC_ALL", "TMPDIR")}
    for name in ("cargo", "rustup"):  # where a cargo that rustup installed looks for itself
        theirs = Path(os.environ.get(f"{name.upper()}_HOME") or Path.home() / f".{name}")
        if theirs.is_dir() and not (home / f".{name}").is_symlink():
            (home / f".{name}").symlink_to(theirs)
    who = {
        f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "You"), ("EMAIL", "y@x"))
    }
    return {**kept, **who, "PATH": PATH, "HOME": str(home), "AUTORESEARCH_CACHE": str(home / "cache"), "NO_COLOR": "1"}


TIMED = {"endpoint", "cargo"}


def as_it_runs(page: Path) -> Any:
    return pytest.param(page, marks=[pytest.mark.alone] if page.stem in TIMED else [], id=page.stem)


@pytest.mark.parametrize("page", [as_it_runs(page) for page in PAGES])
def test_page_can_be_followed_to_the_letter(page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    needs = [name.strip() for found in re.findall(r"<!-- needs: (.*?) -->", text) for name in found.split(",")]
    absent = [name for name in needs if shutil.which(name, path=PATH) is None]
    if absent:
        pytest.skip(f"{page.name} needs {', '.join(absent)}")
    home, folder = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    folder.mkdir()
    where = folder
    for block in FENCE.finditer(text):
        if block["file"]:
            target = where / block["file"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block["body"], encoding="utf-8")
        elif block["kind"] == "console":
            for step in steps(block["body"]):
                where = follow(step, where, home, page)


def follow(step: Step, where: Path, home: Path, page: Path) -> Path:
    """Type a command; gives the folder that the shell is in afterwards."""
    here = home / "here"
    script = f'{step.command}\ncode=$?\npwd > "{here}"\nexit $code'
    end = subprocess.run(
        ["bash", "-c", script],
        cwd=where,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert end.returncode == step.code, f"{page.name}: $ {step.command}\n{end.stdout}"
    assert not missing(step, end.stdout), f"{page.name}: $ {step.command}\nexpected: {missing(step, end.stdout)}\n{end.stdout}"
    return Path(here.read_text().strip())


def test_there_are_pages_to_follow() -> None:
    assert {"quickstart.md"} <= {page.name for page in PAGES}
