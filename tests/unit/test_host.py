"""Which installation belongs to a program: what a sandbox has to show for it to run."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.process.layers import walls
from autoresearch.records import Sandbox
from autoresearch.sandbox import Host
from autoresearch.sandbox.host import belonging


def installation(folder: Path, program: str) -> Path:
    """A prefix with libraries and one program."""
    (folder / "bin").mkdir(parents=True)
    (folder / "lib").mkdir()
    (folder / "bin" / program).write_text("")
    return folder / "bin" / program


def test_of_a_script_the_interpreter_of_its_first_line_belongs_to_it(tmp_path: Path) -> None:
    python = installation(tmp_path / "environment", "python")
    script = tmp_path / "agent"
    script.write_text(f"#!{python} -I\nprint()\n")
    assert {script, tmp_path / "environment"} <= set(belonging(str(script)))


def test_link_to_a_program_brings_the_installation_that_it_leads_to(tmp_path: Path) -> None:
    program = installation(tmp_path / "tool", "agent")
    (tmp_path / "agent").symlink_to("tool/bin/agent")
    assert {tmp_path / "agent", program, tmp_path / "tool"} <= set(belonging(str(tmp_path / "agent")))


@pytest.mark.parametrize("first", ["#!", "#!python", "#!{}", "", "\0"])
def test_first_line_that_names_no_interpreter_brings_nothing(tmp_path: Path, first: str) -> None:
    script = tmp_path / "agent"
    script.write_text(first.format(script))
    assert set(belonging(str(script))) == {script}


@pytest.mark.parametrize(
    ("program", "is_shown"), [("/usr/bin/x", False), ("/bin/x", False), ("/usr2/x", True), ("/library/x", True)]
)
def test_folder_that_only_begins_like_a_system_folder_is_none(program: str, is_shown: bool) -> None:
    assert (Path(program) in set(belonging(program))) is is_shown


def test_program_in_a_home_folder_does_not_bring_the_home_folder(tmp_path: Path) -> None:
    program = installation(tmp_path / "home", "agent")
    host = Host((), tmp_path / "host", barred=(tmp_path / "home",))
    assert host.around([str(program)]) == [program]


@pytest.mark.parametrize(("namespaces", "is_relayed"), [(True, True), (False, False)])
def test_endpoints_are_relayed_only_into_a_network_of_the_jobs_own(tmp_path: Path, namespaces: bool, is_relayed: bool) -> None:
    """In everybody's network the relay would take the ports that the job is to reach, and nobody inside could end it."""
    sandbox = Sandbox("landlock", (), (tmp_path,), network=("127.0.0.1:5432",), sockets=tmp_path)
    told = walls(sandbox, ["true"], tmp_path, namespaces=namespaces)
    assert ("relay" in told) is is_relayed
    assert told["landlock"]["network"] == ("on" if is_relayed else [5432])
