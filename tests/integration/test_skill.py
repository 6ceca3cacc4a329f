"""`skill install`, `print` and `remove` as a user types them: what they write into his files, and what they take away."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TASK, Toy, git

from autoresearch.driving import places
from autoresearch.skill import block, page
from autoresearch.taskfile import load
from autoresearch.testing import Patch

CLAUDE, SHARED = ".claude/skills/autoresearch/SKILL.md", ".agents/skills/autoresearch/SKILL.md"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with nothing in it, and no agent on the path."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in ("CLAUDE_CONFIG_DIR", "GEMINI_CLI_HOME"):
        monkeypatch.delenv(name, raising=False)
    return folder


def call(folder: Path, *args: str, code: int = 0, env: Mapping[str, str] | None = None) -> str:
    """Standard output and error of `autoresearch skill ARGS`, nobody at the terminal."""
    argv = [sys.executable, "-m", "autoresearch", "skill", *args]
    env = {**os.environ, **(env or {})}
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def ask(folder: Path, *args: str, answers: str) -> str:
    """The same with a person at the terminal; gives what was asked and printed."""
    master, slave = pty.openpty()
    argv = [sys.executable, "-m", "autoresearch", "skill", *args]
    with subprocess.Popen(
        argv, cwd=folder, stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        os.write(master, answers.encode())
        out, _ = process.communicate(timeout=60)
    os.close(slave)
    os.close(master)
    return out


def rows(folder: Path, *args: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(call(folder, *args, "--json"))
    return found


def files(folder: Path) -> dict[str, bytes]:
    """All files and folders of a project, but for its repository's own."""
    paths = [p for p in sorted(folder.rglob("*")) if ".git" not in p.relative_to(folder).parts]
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in paths}


@pytest.fixture
def before(toy: Toy, home: Path) -> Callable[[], None]:
    """Checks that the project is byte for byte as it was, folders included."""
    known = files(toy.folder)

    def check() -> None:
        assert files(toy.folder) == known
        toy.check_untouched()

    return check


# -- install and remove ------------------------------------------------------------------------------------------------


def test_install_writes_two_files_for_five_agents_and_remove_takes_all_of_it(toy: Toy, before: Callable[[], None]) -> None:
    all_five = [f"--for={name}" for name in ("claude", "codex", "gemini", "opencode", "pi")]
    found = rows(toy.folder, "install", *all_five)
    assert [(row["path"], row["did"], row["git"]) for row in found] == [
        (str(toy.folder / CLAUDE), "written", "untracked"),
        (str(toy.folder / SHARED), "written", "untracked"),
    ]
    assert git(toy.folder, "--no-optional-locks", "status", "--porcelain", "-uall").split() == ["??", SHARED, "??", CLAUDE]
    assert (toy.folder / CLAUDE).read_text().startswith(page.text())
    assert [row["did"] for row in rows(toy.folder, "remove")] == ["removed", "removed"]
    before()


def test_install_again_changes_nothing_and_renews_an_older_page(
    toy: Toy, before: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    call(toy.folder, "install", "--for", "pi")
    first = (toy.folder / SHARED).stat()
    assert [row["did"] for row in rows(toy.folder, "install", "--for", "codex")] == ["unchanged"]
    assert (toy.folder / SHARED).stat().st_ino == first.st_ino
    monkeypatch.setattr(page, "text", lambda: "older words\n")
    (toy.folder / SHARED).write_bytes(page.sealed(3))
    assert [row["did"] for row in rows(toy.folder, "install", "--for", "codex")] == ["updated"]
    call(toy.folder, "remove")
    before()


def test_says_each_file_who_reads_it_and_what_git_makes_of_it(toy: Toy, before: Callable[[], None]) -> None:
    (toy.folder / ".git/info/exclude").write_text(".claude/\n")
    out = call(toy.folder, "install", "--for", "claude", "--for", "gemini")
    assert f"wrote {CLAUDE} · for claude, also read by opencode · git ignores it" in out
    assert f"wrote {SHARED} · for gemini, also read by codex, opencode, pi · new to git" in out
    assert f"start it in {toy.folder}" in out
    git(toy.folder, "add", SHARED)
    assert [row["git"] for row in rows(toy.folder, "install", "--for", "pi")] == ["tracked"]
    git(toy.folder, "rm", "-q", "--cached", SHARED)
    call(toy.folder, "remove")
    (toy.folder / ".git/info/exclude").unlink()
    toy.moved()
    assert not (toy.folder / ".agents").exists()


def test_folders_that_somebody_else_uses_stay(toy: Toy, home: Path) -> None:
    toy.write({".claude/skills/mine/SKILL.md": "mine\n", ".agents/notes.txt": "mine\n"})
    toy.moved()
    call(toy.folder, "install", "--for", "claude", "--for", "pi")
    call(toy.folder, "remove")
    assert [name for name in files(toy.folder) if name.startswith((".claude", ".agents"))] == [
        *(".agents", ".agents/notes.txt"),
        *(".claude", ".claude/skills", ".claude/skills/mine", ".claude/skills/mine/SKILL.md"),
    ]


def test_empty_folder_of_the_user_stays(toy: Toy, home: Path) -> None:
    (toy.folder / ".claude").mkdir()
    call(toy.folder, "install", "--for", "claude")
    call(toy.folder, "remove")
    assert [*(toy.folder / ".claude").iterdir()] == []


def test_two_paths_to_one_file_are_one(toy: Toy, home: Path) -> None:
    (toy.folder / ".agents/skills").mkdir(parents=True)
    (toy.folder / ".claude").symlink_to(".agents")
    toy.moved()
    (row,) = rows(toy.folder, "install", "--for", "claude", "--for", "codex")
    assert row["for"] == ["claude", "codex"]
    assert [row["did"] for row in rows(toy.folder, "remove")] == ["removed"]


# -- what is not ours --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["install", "remove"])
def test_changed_file_is_left_and_nothing_else_is_done(command: str, toy: Toy, home: Path) -> None:
    call(toy.folder, "install", "--for", "claude", "--for", "pi")
    (toy.folder / CLAUDE).write_text((toy.folder / CLAUDE).read_text() + "and mine\n")
    if command == "install":
        (toy.folder / SHARED).unlink()
    toy.moved()
    out = call(toy.folder, command, "--for", "claude", "--for", "pi", "--yes", code=2)
    assert "it was changed since it was written, or comes from somebody else; nothing was done" in out
    toy.check_untouched()
    call(toy.folder, command, "--for", "claude", "--for", "pi", "--force")
    if command == "install":
        assert page.read((toy.folder / CLAUDE).read_bytes()).current
        call(toy.folder, "remove")
    toy.moved()
    assert not (toy.folder / ".claude").exists()


def test_link_in_the_place_of_the_page_is_asked_about(toy: Toy, home: Path) -> None:
    (toy.folder / ".claude/skills/autoresearch").mkdir(parents=True)
    (toy.folder / CLAUDE).symlink_to(toy.folder / "knob.txt")
    toy.moved()
    assert "it is a link" in call(toy.folder, "install", "--for", "claude", code=2)
    call(toy.folder, "install", "--for", "claude", "--force")
    assert not (toy.folder / CLAUDE).is_symlink()
    assert (toy.folder / "knob.txt").read_text() == "10\n"
    call(toy.folder, "remove")
    toy.moved()


def test_folder_that_cannot_be_made_is_told(toy: Toy, home: Path) -> None:
    toy.write({".claude": "a file\n"})
    toy.moved()
    assert f"{toy.folder / CLAUDE} cannot be read: Not a directory" in call(toy.folder, "install", "--for", "claude", code=2)


# -- AGENTS.md ---------------------------------------------------------------------------------------------------------

MINE = [b"mine\n", b"mine, and no line end", b"", b"\xef\xbb\xbfmine\r\n\r\n", b"\xff\xfe bytes\n\n\n"]


@pytest.mark.parametrize("mine", MINE)
def test_block_in_agents_md_comes_and_goes_and_the_users_bytes_stay(mine: bytes, toy: Toy, home: Path) -> None:
    path = toy.folder / "AGENTS.md"
    path.write_bytes(mine)
    path.chmod(0o640)
    assert [row["did"] for row in rows(toy.folder, "install", "--for", "agents-md")] == ["updated"]
    assert path.read_bytes() == block.put(mine)
    assert path.stat().st_mode & 0o777 == 0o640
    assert [row["did"] for row in rows(toy.folder, "install", "--for", "agents-md")] == ["unchanged"]
    assert "took the block out of AGENTS.md" in call(toy.folder, "remove")
    assert path.read_bytes() == mine
    assert path.stat().st_mode & 0o777 == 0o640
    toy.moved()


def test_agents_md_is_made_where_there_is_none_and_goes_again(toy: Toy, before: Callable[[], None]) -> None:
    assert "wrote AGENTS.md · for agents-md, also read by codex, opencode, pi" in call(toy.folder, "install", "--for=agents-md")
    assert "removed AGENTS.md" in call(toy.folder, "remove")
    before()


def test_agents_md_that_is_a_link_stays_one(toy: Toy, home: Path) -> None:
    toy.write({"CLAUDE.md": "mine\n"})
    (toy.folder / "AGENTS.md").symlink_to("CLAUDE.md")
    call(toy.folder, "install", "--for", "agents-md")
    assert (toy.folder / "AGENTS.md").is_symlink()
    assert (toy.folder / "CLAUDE.md").read_bytes() == block.put(b"mine\n")
    call(toy.folder, "remove")
    assert (toy.folder / "CLAUDE.md").read_bytes() == b"mine\n"
    toy.moved()


@pytest.mark.parametrize("committed", [False, True])
def test_block_in_a_tracked_file_is_in_the_way_of_no_experiment(
    committed: bool, make_toy: Callable[..., Toy], home: Path
) -> None:
    toy = make_toy({"AGENTS.md": "mine\n"})
    toy.run([Patch({"knob.txt": "9\n"})])
    out = call(toy.folder, "install", "--for", "agents-md", "--for", "claude")
    assert "AGENTS.md is changed: commit it, or a new run asks about that" in out
    if committed:
        toy.commit()
    (toy.folder / "knob.txt").write_text("8\n")
    assert ([*looked(toy).edits], looked(toy).notes) == (["knob.txt"], ())
    with (toy.folder / "AGENTS.md").open("a") as file:
        file.write("and more\n")
    assert sorted(looked(toy).edits) == ["AGENTS.md", "knob.txt"]
    (toy.folder / "knob.txt").write_text("10\n")
    toy.moved()


def test_page_is_no_part_of_what_is_tried_whatever_may_be_edited(make_toy: Callable[..., Toy], home: Path) -> None:
    toy = make_toy(task=TASK.replace('"extra/**"', '"**"'))
    toy.run([Patch({"knob.txt": "9\n"})])
    call(toy.folder, "install", "--for", "agents-md", "--for", "claude", "--for", "pi")
    toy.write({"knob.txt": "8\n", ".claude/skills/mine/SKILL.md": "mine\n"})
    toy.moved()
    assert sorted(looked(toy).edits) == [".claude/skills/mine/SKILL.md", "knob.txt"]


def looked(toy: Toy) -> places.Snapshot:
    """What would be tried from the checkout."""
    return places.snapshot(places.find(toy.folder), load(toy.folder), toy.history())


def test_block_comes_out_of_a_tracked_file_again(make_toy: Callable[..., Toy], home: Path) -> None:
    toy = make_toy({"AGENTS.md": "mine\n"})
    call(toy.folder, "install", "--for", "agents-md")
    call(toy.folder, "remove")
    toy.moved()


def test_changed_block_is_asked_about(toy: Toy, home: Path) -> None:
    path = toy.folder / "AGENTS.md"
    path.write_bytes(block.put(b"mine\n").replace(b"Never write results", b"Write results"))
    changed = path.read_bytes()
    for command in ("install", "remove"):
        assert "the block in it was changed" in call(toy.folder, command, "--for", "agents-md", code=2)
        assert path.read_bytes() == changed
    call(toy.folder, "remove", "--force")
    assert path.read_bytes() == b"mine\n"
    toy.moved()


def test_block_is_not_told_to_those_who_propose(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy({"AGENTS.md": block.put(b"House rule: be kind.\n")})
    toy.run([Patch({"knob.txt": "9\n"})])
    argv = [sys.executable, "-m", "autoresearch", "brief"]
    told = subprocess.run(argv, cwd=toy.folder, capture_output=True, text=True, check=True).stdout
    assert "House rule: be kind." in told
    assert "autoresearch try" not in told


# -- which agents, and for whom ----------------------------------------------------------------------------------------


def test_without_a_terminal_the_agent_has_to_be_named(toy: Toy, before: Callable[[], None], tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    nobody = {"PATH": f"{programs}:/usr/bin:/bin"}
    assert "which agent? Give --for with one of claude," in call(toy.folder, "install", env=nobody, code=2)
    assert "none of them was found here" in call(toy.folder, "install", "--yes", env=nobody, code=2)
    (programs / "pi").write_text("#!/bin/sh\n")
    (programs / "pi").chmod(0o755)
    assert "--yes takes those that are here: pi" in call(toy.folder, "install", env=nobody, code=2)
    assert f"wrote {SHARED} · for pi" in call(toy.folder, "install", "--yes", env=nobody)
    call(toy.folder, "remove")
    before()


def test_at_a_terminal_agents_and_level_are_asked(toy: Toy, before: Callable[[], None], home: Path) -> None:
    (home / ".gemini").mkdir()
    out = ask(toy.folder, "install", answers="claude, pi\n2\n")
    assert "Which agents (claude, codex, gemini, opencode, pi, agents-md)?" in out
    assert "gemini" in out.partition("?")[2].partition("\n")[0]  # proposed
    assert "1  this project" in out
    assert f"wrote {home / CLAUDE} · for claude" in out
    assert f"wrote {home / SHARED} · for pi" in out
    assert "take it away: autoresearch skill remove --user" in out
    before()
    assert f"{home / CLAUDE} is for all your projects: --user removes it" in call(toy.folder, "remove")
    call(toy.folder, "remove", "--user")
    assert [*home.iterdir()] == [home / ".gemini"]


def test_at_a_terminal_a_changed_file_is_replaced_only_if_that_is_said(toy: Toy, home: Path) -> None:
    toy.write({CLAUDE: "mine\n"})
    toy.moved()
    assert "Replace it? [y/N]" in ask(toy.folder, "install", "--for=claude", "--project", answers="\n")
    toy.check_untouched()
    ask(toy.folder, "install", "--for=claude", "--project", answers="y\n")
    assert page.read((toy.folder / CLAUDE).read_bytes()).current
    call(toy.folder, "remove")
    toy.moved()


def test_user_level_works_outside_of_any_project(home: Path, tmp_path: Path) -> None:
    out = call(tmp_path, "install", "--for", "claude", code=2)
    assert "or add --user: for all your projects" in out
    (row,) = rows(tmp_path, "install", "--for", "claude", "--user")
    assert (row["path"], row["level"], row["git"]) == (str(home / CLAUDE), "user", "")
    assert [row["did"] for row in rows(tmp_path, "remove", "--user")] == ["removed"]
    assert [*home.iterdir()] == []


def test_from_below_the_page_goes_to_the_projects_folder(toy: Toy, before: Callable[[], None]) -> None:
    below = toy.folder / "deep"
    below.mkdir()
    assert rows(below, "install", "--for", "pi")[0]["path"] == str(toy.folder / SHARED)
    call(below, "remove")
    below.rmdir()
    before()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--for", "clade"], "unknown agent 'clade'"),
        (["--for", "pi", "--user", "--project"], "--user and --project are both given"),
        (["--for", "agents-md", "--user"], "AGENTS.md is a file of a project"),
    ],
)
def test_wrong_flags_are_told_and_nothing_is_written(
    args: list[str], words: str, toy: Toy, before: Callable[[], None], home: Path
) -> None:
    assert words in call(toy.folder, "install", *args, code=2)
    assert [*home.iterdir()] == []
    before()


# -- print -------------------------------------------------------------------------------------------------------------


def test_print_shows_what_is_written(toy: Toy, home: Path) -> None:
    assert call(toy.folder, "print") == page.text()
    assert call(toy.folder, "print", "--for", "agents-md") == block.put(None).decode()
    shown = json.loads(call(toy.folder, "print", "--for", "gemini", "--json"))
    assert shown == {"for": "gemini", "text": page.text(), "project": SHARED, "user": str(home / SHARED)}
