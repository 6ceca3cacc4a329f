"""The real agent programs in the driving seat: each works in its user's own checkout and has what it wrote tried, five times.

claude, codex, gemini and opencode call our tools by MCP, pi runs `autoresearch try` in its shell. The model is scripted: it
goes by what the replies say, waits where they tell it to, and takes back what was not kept by the command that they name.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.agents.drivers import PROMPT, SESSIONS, Driver
from tests.agents.model_server import ROOT
from tests.agents.runs import need, strays, wait_for
from tests.agents.script import Step, call_tool, edit, obey, say, script, settle, shell
from tests.agents.transcript import alike, transcript
from tests.conftest import fingerprint, git
from tests.ordinary import run_as_nobody

BY_MCP = ("claude", "codex", "gemini", "opencode")
ALL = (*BY_MCP, "pi")
ORDERS = {
    "claude": "good bad crash cheat good",
    "codex": "good tie crash cheat good",
    "gemini": "good cheat nothing bad good",
    "opencode": "bad good crash tie cheat",
    "pi": "good bad nothing cheat good",
}
VERDICTS = {
    "good": ("keep", "better"),
    "bad": ("discard", "worse"),
    "tie": ("discard", "tie"),
    "crash": ("crash", "exit"),
    "cheat": ("invalid", "scope"),
    "nothing": ("invalid", "no_change"),
}
MESSAGES = {
    "good": "lower the knob by one",
    "bad": "raise the knob, to see which way is up",
    "tie": "write the knob as a decimal",
    "crash": "a word instead of a number",
    "cheat": "let the evaluation print 0",
    "nothing": "try it once more",
}
UNDO = r"git restore [^;&\"]+?(?= undoes the change| brings the incumbent's files back)"
LINGERS_S = 20.0


def steps(program: str) -> list[Step]:
    """The model's part: each good one takes one off, from 10; at the end it asks once more than there is budget for."""
    found = [shell("autoresearch brief --try") if program == "pi" else call_tool("brief")]
    value = 10
    for n, act in enumerate(ORDERS[program].split(), 1):
        found += _act(program, act, n, str(value))
        value -= act == "good"
    return [*found, edit("knob.txt", str(value), "0"), *ask(program, "one more"), say("it is over")]


def _act(program: str, act: str, n: int, value: str) -> list[Step]:
    changes = {
        "good": edit("knob.txt", value, str(int(value) - 1)),
        "bad": edit("knob.txt", value, str(int(value) + n)),
        "tie": edit("knob.txt", value, f"{value}.0"),
        "crash": edit("knob.txt", value, "broken"),
        "cheat": edit("evaluate.py", 'print("score:", value)', 'print("score:", 0)'),
    }
    change = [changes[act]] if act in changes else []
    return [
        *change,
        *ask(program, MESSAGES[act], later=n == 1),
        *(_back(program, changes[act]) if change and act != "good" else []),
    ]


def ask(program: str, message: str, *, later: bool = False) -> list[Step]:
    """Ask for what is in the checkout to be tried, and wait for the verdict; `later` asks for the job's number first."""
    if program == "pi":
        now = " --background" if later else ""
        return [shell(f"autoresearch try -m '{message}' --expect '-10 %'{now}; echo it said $?"), settle()]
    return [call_tool("try", message=message, expect="-10 %", **({"wait_s": 0} if later else {})), settle()]


def _back(program: str, change: Step) -> list[Step]:
    """Take it back as the reply says; in the sandbox that codex has for commands git cannot write, so it edits."""
    path, old, new = change["edit"]
    return [edit(path, new, old)] if program == "codex" else [obey(UNDO)]


class Session:
    """One session of a program, and what its user's checkout was before."""

    def __init__(self, top: Path, program: str) -> None:
        self.driver = Driver(top, program, script({"kick off": steps(program)}, pattern=SESSIONS))
        self.before = checkout(self.driver.folder)
        try:
            self.code = self.driver.drive()
        except BaseException:
            self.driver.close()
            raise
        self.after = checkout(self.driver.folder)

    @property
    def replies(self) -> list[str]:
        """What came back to the model from our tools."""
        return [
            text for text in self.driver.server.calls("kick off")[-1]["results"] if re.search(r"experiment \d|job \d", text)
        ]


def checkout(folder: Path) -> dict[str, Any]:
    """A user's checkout, but for times: those are an agent's own to change."""
    known = fingerprint(folder)
    apart = (".git/index", ".git/opencode")  # which is compared below; by what opencode knows a repository again
    files = {name: found[:2] for name, found in known["files"].items() if not name.startswith(apart)}
    return {**known, "files": files, "index": git(folder, "ls-files", "--stage")}


@pytest.fixture(scope="module")
def sessions(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Session]]]:
    """All five at the same time: each waits most of its time."""
    mine = [item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
    chosen = sorted({item.callspec.params["program"] for item in mine if "program" in item.callspec.params})
    with ThreadPoolExecutor(len(ALL)) as pool:
        found = {program: pool.submit(Session, tmp_path_factory.mktemp(program), program) for program in chosen}
        yield found
    for session in found.values():
        if session.exception() is None:
            session.result().driver.close()


@pytest.mark.parametrize("program", ALL)
def test_five_experiments_end_in_the_ledger_that_the_script_implies(program: str, sessions: dict[str, Future[Session]]) -> None:
    session = sessions[program].result()
    driver, order = session.driver, ORDERS[program].split()
    assert session.code == 0, driver.printed
    assert driver.verdicts() == [VERDICTS[act] for act in order], session.replies
    history = driver.history
    assert history.incumbent.value == 10 - order.count("good")
    assert [e.description for e in history.experiments[1:]] == [MESSAGES[act] for act in order]
    assert {e.proposer for e in history.experiments[1:]} == {program}
    assert [e.expected for e in history.experiments[1:]] == [pytest.approx(-0.1)] * len(order)


@pytest.mark.parametrize("program", ALL)
def test_branch_is_the_line_of_keeps(program: str, sessions: dict[str, Future[Session]]) -> None:
    driver = sessions[program].result().driver
    run, good = driver.history.run, ORDERS[program].split().count("good")
    assert run is not None
    branches = git(driver.folder, "for-each-ref", "--format=%(refname)", "refs/heads").split()
    assert branches == [f"refs/heads/autoresearch/{run.run}", "refs/heads/main"]
    kept = git(driver.folder, "rev-list", "--reverse", f"main..autoresearch/{run.run}").split()
    assert [git(driver.folder, "show", f"{commit}:knob.txt").strip() for commit in kept] == [str(9 - k) for k in range(good)]
    assert git(driver.folder, "diff", "--name-only", "main", f"autoresearch/{run.run}").split() == ["knob.txt"]


@pytest.mark.parametrize("program", ALL)
def test_only_what_the_agent_edited_differs_in_the_checkout(program: str, sessions: dict[str, Future[Session]]) -> None:
    session = sessions[program].result()
    before, after = session.before, session.after
    assert {name for name in after["files"] if after["files"][name] != before["files"].get(name)} == {"knob.txt"}
    assert after["files"].keys() == before["files"].keys()
    assert {key: after[key] for key in after if key != "files"} == {key: before[key] for key in before if key != "files"}
    assert (session.driver.folder / "knob.txt").read_text() == "0\n"  # as the agent left it, after its last wish was refused


@pytest.mark.parametrize("program", ALL)
def test_agent_hears_what_remains_and_at_the_end_that_it_is_over(program: str, sessions: dict[str, Future[Session]]) -> None:
    session = sessions[program].result()
    verdicts = [text for text in session.replies if re.search(r"experiment \d+: ", text)]
    for n, text in enumerate(verdicts, 1):
        assert f"experiment {n}: " in text
        assert "decided by the harness" in text
    assert "4 of 5 experiments" in verdicts[0]
    assert "over" in session.replies[-1]
    assert session.driver.server.calls("kick off")[-1]["answer"] == {"say": "it is over"}
    if program == "pi":
        assert "it said 3" in session.driver.server.calls("kick off")[-1]["results"][-1]


@pytest.mark.parametrize("program", ALL)
def test_nothing_is_left_running_once_the_owner_has_waited_for_more(program: str, sessions: dict[str, Future[Session]]) -> None:
    assert sessions[program].result().driver.left_running(LINGERS_S + 20) == []


@pytest.mark.parametrize("program", ["claude"])
def test_session_in_the_documentation_is_one_that_went_so(program: str, sessions: dict[str, Future[Session]]) -> None:
    text = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8").partition("\n## A session, as it went\n")[2]
    shown = [line for line in text.split("```")[3].splitlines()[1:] if line.strip() not in ("", "…")]
    went = [f"you: {PROMPT}", *transcript(sessions[program].result().driver.server.calls("kick off"))]
    for line in shown:
        start = alike(line.removesuffix("…"))
        at = next((k for k, said in enumerate(went) if said == start or (line.endswith("…") and said.startswith(start))), None)
        assert at is not None, f"{line!r} of docs/agents.md did not come again here, in: {went}"
        went = went[at + 1 :]
    assert [line for line in shown if re.match(r"  experiment \d", line)] != []


# -- other ways to work ----------------------------------------------------------------------------------------------------


def test_pi_drives_in_a_tree_of_its_own_which_goes_with_the_verdicts(tmp_path: Path) -> None:
    there = 'cd "$(cat "$TMPDIR/where")" && '
    knobs = {"9": "lower", "12": "raise", "broken": "a word", "8": "lower again"}
    told = [shell('autoresearch enter > "$TMPDIR/where"')]
    told += [shell(f"{there}echo {knob} > knob.txt && autoresearch try -m '{m}'; cat knob.txt") for knob, m in knobs.items()]
    told += [shell(f"{there}echo 0 > knob.txt && echo 'print(0)' > evaluate.py && autoresearch try -m 'it is 0'; cat knob.txt")]
    driver = Driver(tmp_path, "pi", script({"kick off": told}, pattern=SESSIONS))
    before = checkout(driver.folder)
    try:
        assert driver.drive() == 0, driver.printed
        acts = ("good", "bad", "crash", "good", "cheat")
        assert driver.verdicts() == [VERDICTS[act] for act in acts], driver.printed
        found = driver.server.calls("kick off")[-1]["results"][1:]
        assert [text.split()[-1] for text in found] == ["9", "9", "9", "8", "8"]
        tree = Path((tmp_path / "tmp" / "where").read_text().strip())
        assert (tree / "evaluate.py").read_text() == (driver.folder / "evaluate.py").read_text()
        assert checkout(driver.folder) == before
    finally:
        driver.close()


def test_codex_calls_the_tools_from_the_code_that_its_newer_models_write(tmp_path: Path) -> None:
    told = script({"kick off": [shell("echo 9 > knob.txt"), *ask("codex", "lower"), say("done")]}, pattern=SESSIONS)
    driver = Driver(tmp_path, "codex", told, model="gpt-6-sol", experiments=1)
    try:
        assert driver.drive() == 0, driver.printed
        assert driver.verdicts() == [VERDICTS["good"]], driver.printed
        assert "experiment 1: keep (better)" in driver.server.calls("kick off")[-1]["results"][-1]
    finally:
        driver.close()


def test_sandbox_of_codex_lets_a_command_ask_where_an_owner_is_alive_and_says_so_where_there_is_none(tmp_path: Path) -> None:
    command = f"{tmp_path}/bin/autoresearch try -m 'by the shell'; echo it said $?"
    lower = [
        edit("knob.txt", "10", "9"),
        shell(command),
        *ask("codex", "by the tool"),
        edit("knob.txt", "9", "8"),
        shell(command),
    ]
    driver = Driver(tmp_path, "codex", script({"kick off": lower}, pattern=SESSIONS))
    try:
        assert driver.drive() == 0, driver.printed
        first, second = (text for text in driver.server.calls("kick off")[-1]["results"] if "it said" in text)
        assert "no command can start somebody: call the tool `try`" in first
        assert "it said 2" in first
        assert "it said 0" in second
        assert [e.description for e in driver.history.experiments[1:]] == ["by the tool", "by the shell"]
        assert driver.left_running(0) != []  # there is budget left, and more may come
        assert driver.left_running(LINGERS_S + 20) == []
    finally:
        driver.close()


# -- killed ----------------------------------------------------------------------------------------------------------------

SLOW = "3 if value == 8 else 0"
BEFORE = [edit("knob.txt", "10", "9"), *ask("claude", "first"), edit("knob.txt", "9", "8"), *ask("claude", "second")]
AFTER = [
    call_tool("status"),
    *(call_tool("wait", job=2), settle()),
    *(edit("knob.txt", "8", "7"), *ask("claude", "third")),
    *ask("claude", "fourth"),
]


def requests_of(driver: Driver) -> int:
    """How often it was asked for something to be tried."""
    database = driver.folder / ".autoresearch" / "ledger.db"
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM requests WHERE kind = 'try'").fetchone()[0])
    return 0  # it is not there yet


def end(process: subprocess.Popen[str], others: Iterable[int] = ()) -> None:
    """Kill -9 of a program, and of others beside it."""
    for pid in (process.pid, *others):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("with_owner", [False, True], ids=["the program", "all there is"])
def test_killed_in_the_middle_of_a_try_and_started_again_every_request_has_one_verdict(
    with_owner: bool, tmp_path: Path
) -> None:
    told = script({"kick off": BEFORE, "kick off again": AFTER}, pattern=SESSIONS)
    driver = Driver(tmp_path, "claude", told, experiments=3, slow=SLOW)
    before = checkout(driver.folder)
    try:
        process = driver.start()
        wait_for(lambda: requests_of(driver) == 2)
        assert requests_of(driver) == 2
        wait_for(lambda: False, 0.8)
        assert driver.verdicts()[1:] in ([], [("-", "")])
        end(process, strays(tmp_path) if with_owner else ())
        assert driver.drive("kick off again") == 0, driver.printed
        assert driver.verdicts() == [VERDICTS["good"]] * 3, driver.printed
        assert [e.job for e in driver.history.experiments[1:]] == [1, 2, 3]
        assert requests_of(driver) == 4  # the last one after the budget
        assert "over" in driver.server.calls("kick off again")[-1]["results"][-1]
        after = checkout(driver.folder)
        assert {key: after[key] for key in after if key != "files"} == {key: before[key] for key in before if key != "files"}
        assert driver.left_running(LINGERS_S + 20) == []
    finally:
        driver.close()


def test_programs_drive_for_an_ordinary_user() -> None:
    need("claude")
    if os.geteuid():
        pytest.skip("this is an ordinary user")
    run_as_nobody("tests/agents/test_driving.py", "-k '(claude or pi) and (implies or edited or remains)'")
