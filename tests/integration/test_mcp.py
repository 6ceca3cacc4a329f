"""The tools as an agent's client has them: the SDK's own, over standard input and output of a real server in a real project."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import ClientSession, StdioServerParameters, stdio_client
from mcp.types import Implementation
from tests.conftest import TASK, Toy

from autoresearch import lock
from autoresearch.mcp.clients import config_of

BUDGET = "\n[budget]\nexperiments = {}\n"
SLOW = """\
import pathlib, time
time.sleep(1.5)
print("score:", float(pathlib.Path("knob.txt").read_text()))
"""


@pytest.fixture
def toy(make_toy: Callable[..., Toy]) -> Iterator[Toy]:
    made = make_toy(task=TASK + BUDGET.format(3))
    yield made
    end(made)


def end(toy: Toy) -> None:
    """Let nobody work on the project any more."""
    if toy.project.paths.ledger.is_file():
        argv = [sys.executable, "-P", "-m", "autoresearch", "stop"]
        subprocess.run(argv, cwd=toy.folder, capture_output=True, check=True, timeout=60)


class Agent:
    """One client's session, with its calls in a form to be read."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session

    async def call(self, tool: str, **arguments: Any) -> Any:
        """What a tool gives: its data where it has such, else its text."""
        found = await self.session.call_tool(tool, arguments)
        text = found.content[0].text  # type: ignore[union-attr]
        assert not found.is_error, text
        assert (found.structured_content or {}).get("message", text) == text
        return text if found.structured_content is None else found.structured_content

    async def fails(self, tool: str, **arguments: Any) -> str:
        found = await self.session.call_tool(tool, arguments)
        assert found.is_error
        assert "Traceback" not in found.content[0].text  # type: ignore[union-attr]
        return str(found.content[0].text)  # type: ignore[union-attr]

    async def verdict(self, **arguments: Any) -> Any:
        """`try`, and `wait` until there is a verdict, as its description says."""
        said = await self.call("try", **arguments)
        while said["state"] == "running":
            said = await self.call("wait", job=said["job"], max_s=10)
        return said


@asynccontextmanager
async def agent(folder: Path, *args: str, name: str = "claude-code") -> AsyncIterator[Agent]:
    wanted = json.loads(config_of("claude", args, []).text)["mcpServers"]["autoresearch"]
    server = StdioServerParameters(command=wanted["command"], args=wanted["args"], cwd=folder, env=dict(os.environ))
    async with (
        stdio_client(server) as (read, write),
        ClientSession(read, write, client_info=Implementation(name=name, version="1")) as session,
    ):
        await session.initialize()
        yield Agent(session)


def drive(toy: Toy, session: Callable[[Agent], Awaitable[None]], *args: str, name: str = "claude-code") -> None:
    """One session of an agent in a project, from its start to its end."""

    async def whole() -> None:
        with anyio.fail_after(180):
            async with agent(toy.folder, *args, name=name) as driver:
                await session(driver)

    anyio.run(whole)


def edit(toy: Toy, value: str) -> None:
    """The agent changes the file."""
    (toy.folder / "knob.txt").write_text(f"{value}\n")
    toy.moved()


# -- a whole session -----------------------------------------------------------------------------------------------------


def test_session_from_the_brief_to_the_end_of_the_budget(toy: Toy) -> None:
    async def session(driver: Agent) -> None:
        assert "no run yet" in (await driver.call("status"))["message"]
        assert "knob.txt" in await driver.call("brief")
        edit(toy, "9")
        kept = await driver.verdict(message="a smaller knob\nless is less", expect="-10 %")
        assert (kept["state"], kept["verdict"], kept["experiment"]) == ("decided", "keep", 1)
        edit(toy, "12")
        assert (await driver.verdict(message="a larger knob"))["verdict"] == "discard"
        assert (toy.folder / "knob.txt").read_text() == "12\n"
        listed = await driver.call("history")
        found = [(e["n"], e["verdict"], e["value"], e["by"]) for e in listed["experiments"]]
        assert found == [(0, "keep", 10.0, ""), (1, "keep", 9.0, "claude"), (2, "discard", 12.0, "claude")]
        shown = await driver.call("show", experiment=2)
        assert shown["lines"] == 0
        assert "-9\n+12" in shown["diff"]
        assert "score: 12.0" in shown["log"]
        status = await driver.call("status")
        assert (status["baseline"], status["incumbent"], status["over"], status["left"]["experiments"]) == (10, 9, False, 1)
        edit(toy, "8")
        assert (await driver.verdict(message="smaller still"))["verdict"] == "keep"
        edit(toy, "7")
        over = await driver.verdict(message="one more")
        assert over["state"] == "over"
        assert (await driver.call("status"))["over"] is True

    drive(toy, session)
    first = toy.history().experiments[1]
    assert (first.description, first.hypothesis, first.expected) == ("a smaller knob", "less is less", -0.1)
    assert [e.job is not None for e in toy.history().experiments] == [False, True, True, True]


@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("codex-mcp-client", "codex"),
        ("gemini-cli-mcp-client-autoresearch", "gemini"),
        ("opencode", "opencode"),
        ("My Editor/2", "my-editor-2"),
    ],
)
def test_experiment_is_by_the_client_that_asked(toy: Toy, name: str, by: str) -> None:
    async def session(driver: Agent) -> None:
        edit(toy, "9")
        await driver.verdict(message="smaller")

    drive(toy, session, name=name)
    assert toy.history().experiments[1].proposer == by


def test_what_takes_longer_is_a_job_to_wait_for(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy({"evaluate.py": SLOW}, task=TASK + BUDGET.format(3))

    async def session(driver: Agent) -> None:
        edit(toy, "9")
        asked = await driver.call("try", message="smaller", wait_s=0)
        assert asked["state"] == "running"
        assert (await driver.call("wait", job=asked["job"], max_s=0))["state"] == "running"
        found = asked
        while found["state"] == "running":
            found = await driver.call("wait", job=asked["job"])
        assert (found["job"], found["verdict"]) == (asked["job"], "keep")
        assert await driver.call("wait", job=asked["job"], max_s=0) == found

    try:
        drive(toy, session)
    finally:
        end(toy)


def test_job_stays_where_the_client_cancels_or_goes_away(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy({"evaluate.py": SLOW}, task=TASK + BUDGET.format(3))

    async def cancels(driver: Agent) -> None:
        edit(toy, "9")
        with anyio.move_on_after(3):
            await driver.call("try", message="cancelled")
        assert "edits knob.txt" in (await driver.call("status"))["message"]
        await decided(driver, 2)
        edit(toy, "8")
        await driver.call("try", message="left alone", wait_s=0)

    async def comes_back(driver: Agent) -> None:
        await decided(driver, 3)

    async def decided(driver: Agent, count: int) -> None:
        while (await driver.call("history"))["decided"] < count:
            await anyio.sleep(0.2)

    try:
        drive(toy, cancels)
        drive(toy, comes_back)
    finally:
        end(toy)
    found = [(e.description, e.verdict.kind.value) for e in toy.history().experiments if e.n and e.verdict]
    assert found == [("cancelled", "keep"), ("left alone", "keep")]


def test_several_calls_at_a_time_are_answered_each(toy: Toy) -> None:
    async def session(driver: Agent) -> None:
        edit(toy, "9")
        said: list[Any] = []

        async def once(tool: str, **arguments: Any) -> None:
            said.append(await driver.call(tool, **arguments))

        async with anyio.create_task_group() as group:
            group.start_soon(lambda: once("try", message="smaller"))
            for tool in ("brief", "status", "history", "idea"):
                group.start_soon(once, tool)
        assert len(said) == 5
        assert [body["verdict"] for body in said if isinstance(body, dict) and "verdict" in body] == ["keep"]

    drive(toy, session)


# -- what an agent may not, and what goes wrong -----------------------------------------------------------------------------


def test_forged_number_and_changed_evaluation_win_nothing(toy: Toy) -> None:
    async def session(driver: Agent) -> None:
        edit(toy, "11")
        lied = await driver.verdict(message="score: 1.0, keep it\nMETRIC score=1", expect="-90 %")
        assert (lied["verdict"], lied["value"]) == ("discard", 11.0)
        (toy.folder / "evaluate.py").write_text('print("score: 1")\n')
        toy.moved()
        found = await driver.session.call_tool("try", {"message": "a better evaluation"})
        said = found.structured_content or {}
        assert found.is_error or said["verdict"] == "invalid"
        assert "evaluate.py" in found.content[0].text  # type: ignore[union-attr]

    drive(toy, session)
    assert [e.n for e in toy.history().experiments if e.kept] == [0]


def test_module_in_the_project_is_not_taken_for_one_of_ours(make_toy: Callable[..., Toy]) -> None:
    names = ("mcp", "psutil", "anyio", "numpy", "sqlite3", "autoresearch")
    toy = make_toy({f"{name}.py": "raise SystemExit('taken')\n" for name in names}, task=TASK + BUDGET.format(3))

    async def session(driver: Agent) -> None:
        edit(toy, "9")
        assert (await driver.verdict(message="smaller"))["verdict"] == "keep"

    try:
        drive(toy, session)
    finally:
        end(toy)


def test_task_file_that_breaks_meanwhile_is_told_in_each_call_until_it_is_mended(toy: Toy) -> None:
    async def session(driver: Agent) -> None:
        edit(toy, "9")
        await driver.verdict(message="smaller")
        task = (toy.folder / "autoresearch.toml").read_text()
        toy.write({"autoresearch.toml": task.replace("editable", "editible")})
        for tool, arguments in (("brief", {}), ("status", {}), ("try", {"message": "x"}), ("wait", {"job": 1})):
            assert "editible" in await driver.fails(tool, **arguments)
        toy.write({"autoresearch.toml": task})
        toy.moved()
        assert (await driver.call("status"))["incumbent"] == 9.0
        assert "there is no job 99" in await driver.fails("wait", job=99)
        assert "expected one of this run's experiments (0 to 1)" in await driver.fails("show", experiment=5)

    drive(toy, session)


def test_what_is_no_message_is_survived_and_standard_output_is_protocol_alone(toy: Toy) -> None:
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    sent = [
        "no json at all",
        '{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": ' + json.dumps(hello) + "}",
        '{"jsonrpc": "2.0", "method": "notifications/initialized"}',
        '{"jsonrpc": "2.0"',
        '{"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "idea", "arguments": {"text": ["x"]}}}',
        '{"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": 7}}',
        '{"jsonrpc": "2.0", "id": 4, "method": "no/such/method"}',
        '{"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "status", "arguments": {}}}',
    ]
    argv = [sys.executable, "-m", "autoresearch", "mcp"]
    answers: dict[int, Any] = {}
    with subprocess.Popen(argv, cwd=toy.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write("".join(f"{line}\n" for line in sent))
        server.stdin.flush()
        while len([n for n in answers if n]) < 5:
            found = json.loads(server.stdout.readline())
            assert found["jsonrpc"] == "2.0"
            answers[found.get("id") or 0] = found
        server.stdin.close()
        assert server.wait(30) == 0
        assert server.stdout.read() == ""
    assert "no run yet" in answers[5]["result"]["content"][0]["text"]
    assert answers[2]["result"]["isError"] is True
    assert "error" in answers[3]
    assert "error" in answers[4]


# -- a tree of its own ---------------------------------------------------------------------------------------------------


def test_with_enter_the_agent_has_a_tree_of_its_own_that_follows_the_verdicts(toy: Toy) -> None:
    async def session(driver: Agent) -> None:
        brief = await driver.call("brief")
        (knob,) = toy.folder.glob(".autoresearch/*/trees/*/tree/knob.txt")
        assert str(knob.parent) in brief
        knob.write_text("12\n")
        assert (await driver.verdict(message="larger"))["verdict"] == "discard"
        assert knob.read_text() == "10\n"
        knob.write_text("9\n")
        assert (await driver.verdict(message="smaller"))["verdict"] == "keep"
        assert knob.read_text() == "9\n"
        assert (await driver.call("status"))["incumbent"] == 9.0
        assert (await driver.call("show", experiment=2))["by"] == "claude"

    drive(toy, session, "--enter")
    assert (toy.folder / "knob.txt").read_text() == "10\n"
    toy.check_untouched()


def test_two_agents_in_trees_of_their_own_do_not_mix_their_changes(toy: Toy) -> None:
    async def session() -> None:
        async with agent(toy.folder, "--enter") as one, agent(toy.folder, "--enter", name="codex-mcp-client") as other:
            await one.call("brief")
            await other.call("brief")
            first, second = sorted(toy.folder.glob(".autoresearch/*/trees/*/tree/knob.txt"))
            first.write_text("9\n")
            second.write_text("12\n")
            assert (await other.verdict(message="larger"))["verdict"] == "discard"
            assert (await one.verdict(message="smaller"))["verdict"] == "keep"

    anyio.run(session)
    found = [(e.proposer, e.value) for e in toy.history().experiments if e.n]
    assert found == [("codex", 12.0), ("claude", 9.0)]


def test_interrupt_ends_a_server_that_waits_for_its_client(toy: Toy) -> None:
    argv = [sys.executable, "-P", "-m", "autoresearch", "mcp"]
    with subprocess.Popen(argv, cwd=toy.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write('{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
        server.stdin.flush()
        assert server.stdout.readline()
        server.send_signal(signal.SIGINT)
        assert server.wait(10) == -signal.SIGINT


# -- ideas ---------------------------------------------------------------------------------------------------------------


def test_idea_is_noted_with_who_had_it_also_while_an_owner_works(toy: Toy) -> None:
    async def session(driver: Agent) -> None:
        assert "no run yet" in await driver.fails("idea", text="too early")
        edit(toy, "9")
        await driver.verdict(message="smaller")
        run = toy.history().run
        assert run is not None
        assert lock.owner(toy.project.paths.run(run.run).lock)
        noted = await driver.call("idea", text="try 0 as well")
        assert "idea 1 stands in the next prompts" in noted["message"]
        end(toy)
        assert (await driver.call("idea", text="and less than 0", done=1))["ideas"] == [
            {"number": 1, "text": "noted by claude: try 0 as well", "done": True},
            {"number": 2, "text": "noted by claude: and less than 0", "done": False},
        ]

    drive(toy, session)
    assert [idea.done for idea in toy.history().agenda.ideas] == [True, False]
