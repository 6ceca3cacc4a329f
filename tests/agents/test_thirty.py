"""Thirty experiments in a known order with the real claude and codex: the ledger is what the order implies, killed or not."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.agents.runs import Run, wait_for
from tests.agents.script import Step, edit, say, script, shell

from autoresearch.project import Project
from autoresearch.testing import canonical

PROGRAMS = ("claude", "codex")
KILLS = 5
SEED = ("--seed", "7")
ORDER = """
    good bad empty crash good cheat bad prints good empty
    crash cheat good repeats bad writes good crash empty bad
    cheat good repeats prints crash good bad empty writes good
""".split()  # noqa: SIM905 - one line each ten experiments


@dataclass(frozen=True)
class Act:
    """What the model does in an experiment, and what has to come of it."""

    steps: list[Step]
    verdict: tuple[str, str]


def acts() -> dict[int, Act]:
    """The model's part, experiment by experiment: each good one takes one off, from 100."""
    found: dict[int, Act] = {}
    value = 100
    for n, kind in enumerate(ORDER, 1):
        found[n] = _act(kind, n, value)
        value -= kind == "good"
    return found


def _act(kind: str, n: int, value: int) -> Act:
    end = say(f"description: {kind} {n}")
    put = "echo {} > knob.txt"
    match kind:
        case "good":
            return Act([edit("knob.txt", str(value), str(value - 1)), end], ("keep", "better"))
        case "bad":
            return Act([shell(put.format(value + n)), end], ("discard", "worse"))
        case "repeats":  # what was a crash before, under another incumbent
            return Act([shell(put.format("broken")), end], ("invalid", "duplicate"))
        case "crash":
            return Act([shell(put.format("broken" if n == 4 else f"broken-{n}")), end], ("crash", "exit"))
        case "cheat":  # the frozen evaluator
            return Act([shell("""echo "print('score: 0')" > evaluate.py; echo 1 > knob.txt"""), end], ("invalid", "scope"))
        case "prints":  # the metric where a candidate's number is read
            return Act([shell(f"echo 'score: -{n}' > knob.txt; echo score: -{n}"), end], ("crash", "exit"))
        case "writes":  # the metric into files, and nothing that counts
            text = 'mkdir -p extra; echo \'{"score": -1000}\' | tee result.json "$AUTORESEARCH_RESULT" extra/%d.json; true'
            return Act([shell(text % n), end], ("discard", "tie"))
        case _:
            return Act([say("there is nothing to do")], ("invalid", "no_change"))


def make(top: Path, program: str) -> Run:
    steps: dict[int | str, list[Step]] = {n: act.steps for n, act in acts().items()}
    return Run(top, program, script(steps), experiments=len(ORDER), files={"knob.txt": "100\n"})


def uninterrupted(run: Run) -> Run:
    assert run.run(*SEED) == 0, run.printed
    return run


def killed(run: Run, seed: int = 1) -> Run:
    """Killed in the middle of experiments, at random moments; a session after the last kill ends the run."""
    draw = random.Random(seed)
    for n in sorted(draw.sample(range(2, len(ORDER)), KILLS)):
        process = run.start(*SEED)
        wait_for(lambda n=n, process=process: run.server.calls(n) or process.poll() is not None, 240)  # type: ignore[misc]
        wait_for(lambda: False, draw.uniform(0, 0.6))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert run.left_running() == []
    return uninterrupted(run)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Future[Run]]]:
    """All four, at the same time."""
    made = {
        (program, how): make(tmp_path_factory.mktemp(program), program) for program in PROGRAMS for how in ("whole", "killed")
    }
    with ThreadPoolExecutor(len(made)) as pool:
        yield {key: pool.submit(killed if key[1] == "killed" else uninterrupted, run) for key, run in made.items()}
    for run in made.values():
        run.close()


def ledger_of(run: Run) -> dict[str, Any]:
    ledger = Project(run.folder).ledger(read_only=True)
    try:
        return canonical(ledger, "one")
    finally:
        ledger.close()


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("how", ["whole", "killed"])
def test_ledger_is_what_the_order_implies(program: str, how: str, runs: dict[tuple[str, str], Future[Run]]) -> None:
    run = runs[program, how].result()
    assert run.verdicts() == [act.verdict for act in acts().values()], run.printed
    assert run.history.incumbent.value == 100 - ORDER.count("good")


@pytest.mark.parametrize("program", PROGRAMS)
def test_run_that_was_killed_five_times_has_the_ledger_of_the_one_that_was_not(
    program: str, runs: dict[tuple[str, str], Future[Run]]
) -> None:
    whole, again = runs[program, "whole"].result(), runs[program, "killed"].result()
    assert ledger_of(again) == ledger_of(whole)


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_money_is_lost_by_kills(program: str, runs: dict[tuple[str, str], Future[Run]]) -> None:
    whole, again = runs[program, "whole"].result(), runs[program, "killed"].result()
    assert whole.history.tokens == sum(sum(call["usage"].values()) for call in whole.server.calls())
    for n in range(1, len(ORDER) + 1):
        once, told = whole.history.experiments[n], again.history.experiments[n]
        assert told.tokens >= once.tokens
        assert told.cost_usd >= once.cost_usd > 0
    assert again.history.cost_usd > whole.history.cost_usd
