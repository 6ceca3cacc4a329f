"""The real agent programs, at the pinned versions, under the default sandbox, with a scripted model on this machine.

All five work at the same time, since each waits most of its time; the tests then look at what came of it.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.agents import lures
from tests.agents.runs import MODELS, Run, need, wait_for
from tests.agents.script import Step, cut, die, edit, endless, fail, loop, say, script, shell
from tests.conftest import git
from tests.ordinary import run_as_nobody

from autoresearch import prices
from autoresearch.records import Usage

ALL = tuple(MODELS)
GOOD = [shell("cat knob.txt"), edit("knob.txt", "10", "9"), say("lowers it\n\ndescription: lowers the knob\nexpect: -10 %")]


class Together:
    """One run of each program, started at the same time; each is waited for when it is asked for.

    Args:
        make: lays out a run in a folder; `during` is called beside it.
    """

    def __init__(
        self,
        request: pytest.FixtureRequest,
        make: Callable[[Path, str], Run],
        during: Callable[[Run], None] = lambda run: None,
    ) -> None:
        self._pool = ThreadPoolExecutor(2 * len(ALL))
        self._make, self._during = make, during
        self._runs: list[Run] = []
        folders = request.getfixturevalue("tmp_path_factory")
        tops = {program: folders.mktemp(program) for program in _chosen(request)}
        self._found = {program: self._pool.submit(self._work, top, program) for program, top in tops.items()}

    def _work(self, top: Path, program: str) -> tuple[int, Run]:
        run = self._make(top, program)
        self._runs.append(run)
        beside = self._pool.submit(self._during, run)
        code = run.run()
        beside.result()
        return code, run

    def __call__(self, program: str) -> tuple[int, Run]:
        return self._found[program].result()

    def close(self) -> None:
        self._pool.shutdown()
        for run in self._runs:
            run.close()


def _chosen(request: pytest.FixtureRequest) -> list[str]:
    """The programs of the tests that were chosen."""
    mine = [item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
    return sorted({item.callspec.params["program"] for item in mine if "program" in item.callspec.params})


def worth(program: str, usage: Mapping[str, int], answers: int) -> float:
    """What tokens cost by the price list."""
    used = Usage(usage.get("input", 0), usage.get("cached", 0), 0, usage.get("output", 0))
    cost = prices.cost_usd(MODELS[program], used, answers=answers)
    assert cost
    return cost


# -- one whole experiment, in a network with nobody else in it ----------------------------------------------------------


@pytest.fixture(scope="module")
def whole(request: pytest.FixtureRequest) -> Iterator[Together]:
    alone = os.geteuid() == 0

    def make(top: Path, program: str) -> Run:
        return Run(top, program, script({1: GOOD}), files=lures.PROJECT, home=lures.HOME, alone=alone)

    runs = Together(request, make)
    yield runs
    runs.close()


@pytest.mark.parametrize("program", ALL)
def test_a_whole_experiment_ends_in_a_keep_with_its_cost_and_tokens(program: str, whole: Together) -> None:
    code, run = whole(program)
    assert code == 0, run.printed
    assert run.verdicts() == [("keep", "better")], run.printed
    kept, given = run.history.experiments[1], run.server.given(1)
    answers = len(run.server.calls(1))
    assert kept.value == 9.0
    assert kept.description == "lowers the knob"
    assert kept.expected == pytest.approx(-0.1)
    assert (kept.tokens, kept.turns) == (sum(given.values()), answers)
    assert kept.cost_usd == pytest.approx(worth(program, given, answers))
    everything = [call["usage"] for call in run.server.calls()]
    assert run.history.tokens == sum(sum(usage.values()) for usage in everything)  # trying it out is not forgotten


@pytest.mark.parametrize("program", ALL)
def test_what_a_shell_command_printed_came_back_to_the_model(program: str, whole: Together) -> None:
    _, run = whole(program)
    first, second, *_ = run.server.calls(1)
    assert first["results"] == []
    assert any("10" in result for result in second["results"])
    assert any("Edit only: knob.txt" in text or "knob.txt" in text for text in first["users"])


@pytest.mark.parametrize("program", ALL)
def test_no_request_leaves_for_another_host(program: str, whole: Together) -> None:
    _, run = whole(program)
    assert run.server.connects() == []
    if os.geteuid():
        pytest.skip("only root can make a network with nobody else in it")


@pytest.mark.parametrize("program", ALL)
def test_nothing_that_is_meant_for_agents_gets_in_unasked(program: str, whole: Together) -> None:
    _, run = whole(program)
    told = [text for call in run.server.calls() for text in (call["system"], *call["users"], *call["results"])]
    assert [text for text in told if lures.MARK in text] == []
    assert git(run.folder, "diff", "--name-only", "main", "autoresearch/one").split() == ["knob.txt"]  # and no hook ran


@pytest.mark.parametrize("program", ALL)
def test_key_reaches_the_server_and_no_record(program: str, whole: Together) -> None:
    _, run = whole(program)
    for call in run.server.calls():
        headers = call["headers"]
        told = headers.get("x-api-key") or headers.get("x-goog-api-key") or headers.get("authorization", "")
        assert told.removeprefix("Bearer ") == "sk-scripted"
    for path in (run.folder / ".autoresearch").rglob("*"):
        assert not path.is_file() or b"sk-scripted" not in path.read_bytes(), path


# -- a night in which all goes wrong --------------------------------------------------------------------------------------

MENDED = [edit("knob.txt", "10", "ten"), say("it is done"), edit("knob.txt", "ten", "9"), say("now it is")]
QUICK = 'quick = "python quick.py"'
FILES = {"quick.py": "import pathlib\nprint(float(pathlib.Path('knob.txt').read_text()))\n"}

NIGHT: list[tuple[tuple[str, str], list[Step]]] = [
    (("keep", "better"), MENDED),
    (("invalid", "proposer_loop"), [loop()]),
    (("invalid", "proposer_turns"), [endless()]),
    (("invalid", "proposer_error"), [shell("true"), fail(400, words="the request is wrong")]),
    (("invalid", "proposer_cut"), [shell("true"), cut()]),
    (("invalid", "no_change"), [say("there is nothing to do")]),
    (("invalid", "proposer_crash"), [shell("kill -9 $PPID"), say("never said")]),
    (("keep", "better"), [fail(429, retry_after_s=1, times=4), edit("knob.txt", "9", "8"), say("after a rate limit")]),
    (("keep", "better"), [die(), edit("knob.txt", "8", "7"), say("after an outage")]),
]
"""Verdict and reason, and what the model does for it."""


def bring_back(run: Run) -> None:
    """Start the server again once the harness has said that it waits."""
    wait_for(lambda: not run.server.is_up, 500)
    wait_for(lambda: "outage of" in run.printed, 120)
    run.server.start()


@pytest.fixture(scope="module")
def night(request: pytest.FixtureRequest) -> Iterator[Together]:
    def make(top: Path, program: str) -> Run:
        steps: dict[int | str, list[Step]] = {n: steps for n, (_, steps) in enumerate(NIGHT, 1)}
        table = "max_turns = 14"
        return Run(top, program, script(steps), table=table, evaluate=QUICK, experiments=len(NIGHT), files=FILES)

    runs = Together(request, make, bring_back)
    yield runs
    runs.close()


@pytest.mark.parametrize("program", ALL)
def test_each_failure_ends_in_its_reason_and_waiting_costs_no_experiment(program: str, night: Together) -> None:
    code, run = night(program)
    assert code == 0, run.printed
    assert run.verdicts() == [verdict for verdict, _ in NIGHT], run.printed
    assert run.printed.count("waiting until") >= 2  # for the rate limit, and for the server that was gone


@pytest.mark.parametrize("program", ALL)
def test_failing_quick_test_goes_back_to_the_same_session(program: str, night: Together) -> None:
    _, run = night(program)
    last = run.server.calls(1)[-1]
    assert last["answer"] == {"say": "now it is"}  # which is said only where all that went before is repeated
    assert any("could not convert string to float: 'ten" in text for text in last["users"])
    assert run.history.experiments[1].turns == len(run.server.calls(1))


@pytest.mark.parametrize("program", ALL)
def test_tokens_of_failures_are_counted(program: str, night: Together) -> None:
    _, run = night(program)
    for n, (verdict, _) in enumerate(NIGHT, 1):
        told, given = run.history.experiments[n].tokens, sum(run.server.given(n).values())
        in_flight = 2 * 1250 if verdict[1] in ("proposer_loop", "proposer_turns", "proposer_crash") else 0
        assert given - in_flight <= told <= given, f"experiment {n}: {told} of {given} tokens"


# -- refused ---------------------------------------------------------------------------------------------------------------

POLICY = '[[rule]]\ntoolName = "run_shell_command"\ncommandPrefix = "rm"\ndecision = "deny"\npriority = 999\n'
REFUSING = {
    "claude": ('["--disallowedTools", "Bash(rm:*)"]', shell("rm knob.txt")),
    "gemini": ('["--policy", "{top}/policy.toml"]', shell("rm knob.txt")),
    "opencode": ('["--agent", "plan"]', edit("knob.txt", "10", "9")),
}
"""By which arguments each of those that have permissions at all refuses something within our walls, and what that is."""


@pytest.mark.parametrize("program", REFUSING)
def test_refused_permission_with_nothing_changed_ends_in_its_reason(program: str, tmp_path: Path) -> None:
    args, step = REFUSING[program]
    (tmp_path / "policy.toml").write_text(POLICY)
    steps = script({1: [step, say("it was refused")]})
    run = Run(tmp_path, program, steps, table=f"args = {args.format(top=tmp_path)}")
    try:
        assert run.run() == 0, run.printed
        assert run.verdicts() == [("invalid", "proposer_refused")], run.printed
    finally:
        run.close()


# -- what no waiting mends --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refused(request: pytest.FixtureRequest) -> Iterator[Together]:
    """Refused twice, for its key and for its model; what it printed the first time goes into `first`."""

    def make(top: Path, program: str) -> Run:
        run = Run(top, program, script(keys=["another"]))
        assert run.run() == 2, run.printed
        (top / "first").write_text(run.printed)
        run.server.change(script(models=["another"]))
        return run

    runs = Together(request, make)
    yield runs
    runs.close()


@pytest.mark.parametrize("program", ALL)
def test_wrong_key_and_unknown_model_end_the_run_before_anything_is_measured(program: str, refused: Together) -> None:
    code, run = refused(program)
    first = (run.top / "first").read_text()
    assert "SCRIPTED_KEY" in first.partition("the log-in was refused")[2], first
    second = run.printed.removeprefix(first)
    assert code == 2, second
    assert f"there is no model {MODELS[program]}" in second
    assert "[proposer] model" in second
    assert run.history.evaluations == 0


# -- killed ------------------------------------------------------------------------------------------------------------------

LINGERS = "sleep 300 >/dev/null 2>&1 & setsid sleep 300 >/dev/null 2>&1 & cat knob.txt"
KILLS = 2


def kill_at_random(run: Run) -> list[list[str]]:
    """Kill the harness some moments after the model was first asked; gives what was left running after each."""
    draw, left = random.Random(run.program), []
    for _ in range(KILLS):
        asked, process = len(run.server.calls(1)), run.start()
        wait_for(lambda asked=asked: len(run.server.calls(1)) > asked)  # type: ignore[misc]
        time.sleep(draw.uniform(0, 1.5))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        left.append(run.left_running())
    return left


@pytest.fixture(scope="module")
def killed(request: pytest.FixtureRequest) -> Iterator[Together]:
    def make(top: Path, program: str) -> Run:
        slowly = shell("sleep 1")
        run = Run(top, program, script({1: [shell(LINGERS), slowly, *GOOD[1:]]}))
        assert kill_at_random(run) == [[]] * KILLS
        return run

    runs = Together(request, make)
    yield runs
    runs.close()


@pytest.mark.parametrize("program", ALL)
def test_killed_at_random_no_process_is_left_and_no_money_is_lost(program: str, killed: Together) -> None:
    code, run = killed(program)
    assert code == 0, run.printed
    assert run.left_running() == []
    assert run.verdicts() == [("keep", "better")], run.printed
    told, given = run.history.experiments[1].tokens, run.server.given(1)
    in_flight = KILLS * 1250  # one answer at each kill
    assert sum(given.values()) - in_flight <= told <= sum(given.values())


def test_programs_work_for_an_ordinary_user() -> None:
    need("claude")
    if os.geteuid():
        pytest.skip("this is an ordinary user")
    run_as_nobody("tests/agents/test_real_programs.py", "-k 'whole_experiment and (claude or codex or pi)'")
