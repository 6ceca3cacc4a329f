"""The page that teaches an agent, how a file with it is known again, and where it goes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.cli.app import app
from autoresearch.errors import SetupError, UnknownName
from autoresearch.skill import block, page
from autoresearch.skill.spots import AGENTS, GUIDE, known, present, spots

HOME = {"HOME": "/home/me", "PATH": ""}
COMMANDS = getattr(typer.main.get_command(app), "commands")  # noqa: B009


# -- what it says -------------------------------------------------------------------------------------------------------


def test_front_matter_is_what_programs_with_skills_want() -> None:
    front = page.text().split("---\n")[1]
    assert re.findall(r"^(\w+): ", front, re.MULTILINE) == ["name", "description"]
    assert page.NAME == "autoresearch"
    assert re.fullmatch(r"[^:\n#]{50,1024}", page.description())  # one line of YAML without quotes
    assert page.body().startswith("# Autoresearch\n")


def test_page_stays_short() -> None:
    assert len(page.text().split()) < 900


def test_every_command_of_the_page_is_there() -> None:
    named = set(re.findall(r"autoresearch (\w+)", page.text())) | {"log", "show", "status"}
    for name in sorted(named):
        assert name in COMMANDS, name


def test_every_flag_of_the_page_is_one_of_its_command() -> None:
    lines = re.findall(r"autoresearch (\w+)( [^`]*--[^`]*)`", page.text())
    assert {name for name, _ in lines} >= {"brief", "try", "wait"}
    for name, rest in lines:
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z]+", rest)) <= known, name


# -- a written file is known again --------------------------------------------------------------------------------------


def test_written_page_is_ours_and_of_today() -> None:
    assert page.read(page.sealed(2)) == page.Written(ours=True, current=True, folders=2)


def test_page_of_an_older_version_is_ours_and_not_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "text", lambda: "older words\n")
    old = page.sealed(3)
    monkeypatch.undo()
    assert page.read(old) == page.Written(ours=True, current=False, folders=3)


@pytest.mark.parametrize("at", [0, 40, -1])
def test_page_that_somebody_changed_is_not_ours(at: int) -> None:
    content = bytearray(page.sealed(3))
    content[at:at] = b"!"
    assert not page.read(bytes(content)).ours
    assert not page.read(page.sealed(3) + b"mine\n").ours


def test_file_of_somebody_else_is_not_ours() -> None:
    assert page.read(page.text().encode()) == page.Written(ours=False, current=False, folders=0)


# -- a block in a file of the user's ------------------------------------------------------------------------------------

ANY = st.binary(max_size=200) | st.text(alphabet="ab #\r\n<!->", max_size=60).map(str.encode)
FILES = ANY.filter(lambda content: b"autoresearch skill: begin" not in content)  # Hypothesis tries words of the source


@given(FILES)
def test_block_comes_and_goes_without_a_trace(content: bytes) -> None:
    with_block = block.put(content)
    assert with_block.startswith(content)
    assert page.body().encode() in with_block
    assert block.taken(with_block) == content


@given(FILES)
def test_block_comes_once(content: bytes) -> None:
    assert block.put(block.put(content)) == block.put(content)


@given(FILES.map(lambda content: content + b"\n"), FILES)
def test_what_is_written_below_the_block_later_stays(content: bytes, more: bytes) -> None:
    assert block.taken(block.put(content) + more) == content + more


def test_file_that_was_made_for_the_block_goes_with_it_and_an_empty_one_stays() -> None:
    assert block.taken(block.put(None)) is None
    assert block.taken(block.put(b"")) == b""
    assert block.taken(block.put(None) + b"mine\n") == b"mine\n"


def test_older_block_is_replaced_where_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block, "body", lambda: "older words\n")
    old = block.put(b"above\n") + b"below\n"
    monkeypatch.undo()
    found = block.find(old)
    assert found is not None
    assert (found.ours, found.current) == (True, False)
    assert block.put(old) == block.put(b"above\n") + b"below\n"


def test_changed_block_is_not_ours() -> None:
    found = block.find(block.put(b"above\n").replace(b"One", b"two").replace(b"Never", b"Always"))
    assert found is not None
    assert not found.ours


@pytest.mark.parametrize("content", [block.put(b"") * 2, block.put(b"").partition(b"<!-- autoresearch skill: end")[0]])
def test_half_a_block_or_two_are_no_business_of_ours(content: bytes) -> None:
    for work in (block.find, block.put, block.taken):
        with pytest.raises(SetupError, match="expected one whole block"):
            work(content)


def test_whom_the_block_does_not_concern_sees_the_rest() -> None:
    assert block.without(block.put(b"mine\n") + b"too\n") == b"mine\n\n\ntoo\n"


# -- where it goes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent", "project", "user"),
    [
        ("claude", ".claude/skills", ".claude/skills"),
        *((agent, ".agents/skills", ".agents/skills") for agent in ("codex", "gemini", "opencode", "pi")),
    ],
)
def test_each_agent_has_its_place(agent: str, project: str, user: str) -> None:
    (there,) = spots([agent], "project", Path("/work"), HOME)
    assert there.path == Path("/work", project, "autoresearch/SKILL.md")
    (there,) = spots([agent], "user", None, HOME)
    assert there.path == Path("/home/me", user, "autoresearch/SKILL.md")


def test_four_agents_share_one_file_and_who_reads_it_besides_is_told() -> None:
    (there,) = spots(["pi", "gemini"], "project", Path("/work"), HOME)
    assert (there.readers, there.others) == (("gemini", "pi"), ("codex", "opencode"))


def test_homes_that_were_moved_are_respected() -> None:
    moved = HOME | {"CLAUDE_CONFIG_DIR": "/cc", "GEMINI_CLI_HOME": "/gh"}
    claude, codex, gemini = spots(["claude", "gemini", "codex"], "user", None, moved)
    assert claude.path == Path("/cc/skills/autoresearch/SKILL.md")
    assert claude.others == ()  # opencode goes by the home
    assert gemini.path == Path("/gh/.agents/skills/autoresearch/SKILL.md")
    assert codex.path == Path("/home/me/.agents/skills/autoresearch/SKILL.md")
    assert codex.others == ("opencode", "pi")


def test_agents_md_is_of_a_project() -> None:
    (there,) = spots([GUIDE], "project", Path("/work"), HOME)
    assert (there.path, there.guide) == (Path("/work/AGENTS.md"), True)
    with pytest.raises(SetupError, match=r"AGENTS\.md is a file of a project"):
        spots([GUIDE], "user", None, HOME)


def test_unknown_agent_is_named_with_the_nearest_one() -> None:
    assert known(["pi", "claude", "pi"]) == ("claude", "pi")
    with pytest.raises(UnknownName, match="Did you mean 'codex'"):
        known(["codx"])
    assert len(AGENTS) == 6


def test_agents_are_found_by_their_program_and_by_their_folders(tmp_path: Path) -> None:
    home, project, programs = tmp_path / "home", tmp_path / "project", tmp_path / "bin"
    for folder in (home / ".config/opencode", project / ".gemini", programs):
        folder.mkdir(parents=True)
    (programs / "pi").write_text("#!/bin/sh\n")
    (programs / "pi").chmod(0o755)
    assert present(project, {"HOME": str(home), "PATH": str(programs)}) == ("gemini", "opencode", "pi")
    assert present(None, {"HOME": str(home), "PATH": ""}) == ("opencode",)
