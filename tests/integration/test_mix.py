"""Several proposers in one run: turns, one that has nothing left, the search over a keep's constants, the same after kills."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Toy

from autoresearch.books import Parts
from autoresearch.choice import Wish
from autoresearch.cli.report import show_report
from autoresearch.contracts import Brief
from autoresearch.errors import Exhausted
from autoresearch.proposers.knobs import Knobs
from autoresearch.records import Experiment, Proposal
from autoresearch.testing import Patch, Scripted, canonical

TRAIN = """\
RATE = 0.5  # knob: 0..1


def score():
    return 5 + abs(RATE - 0.3)
"""
# by number: what the agent writes, each with constants of its own; the others of its changes are worse
BETTER = {
    1: "RATE = 0.5  # knob: 0..1\nWINDOW = 4  # knob: 1..16\n\n\ndef score():\n    return 3 + smooth() + abs(RATE - 0.3)\n\n\n"
    "def smooth():\n    return abs(WINDOW - 9) / 10\n"
}
EVALUATE = "import runpy\nprint('score:', runpy.run_path('train.py')['score']())\n"
TASK = """\
[task]
name = "mix"
editable = ["train.py"]

[evaluate]
command = "python evaluate.py"

[metric]
name = "score"
direction = "minimize"

[budget]
experiments = {experiments}

{rest}
"""
AGENT = '[[proposer]]\nkind = "command"\ncommand = "true"\nshare = {share}\n'
KNOBS = '[[proposer]]\nkind = "knobs"\nshare = {share}\n'


def agent(brief: Brief) -> Patch:
    """Once better, with a constant of its own; everything else is worse."""
    text = BETTER.get(brief.n) or f"def score():\n    return {1000 + brief.n}\n"
    return Patch({"train.py": text}, f"agent {brief.n}", cost_usd=0.01)


def without_agent(parts: Parts) -> Parts:
    return by(parts, Scripted(agent))


def by(parts: Parts, scripted: Scripted) -> Parts:
    """The scripted one in the place of the program."""
    mix = {name: scripted if name == "command" else found for name, found in parts.mix.items()}
    return replace(parts, proposer=next(iter(mix.values())), mix=mix)


def make(make_toy: Callable[..., Toy], rest: str, *, experiments: int = 20, train: str = TRAIN) -> Toy:
    return make_toy({"train.py": train, "evaluate.py": EVALUATE}, task=TASK.format(experiments=experiments, rest=rest))


def changed(e: Experiment) -> set[str]:
    return set(e.settings.get("changed", {}))


def test_an_agent_and_knobs_take_turns_by_their_shares(
    make_toy: Callable[..., Toy], capsys: pytest.CaptureFixture[str]
) -> None:
    toy = make(make_toy, AGENT.format(share=3) + KNOBS.format(share=1), experiments=16)
    assert toy.run(wish=Wish(name="r", seed=1), parts=without_agent).reason == "experiments"
    made = toy.history("r").experiments[1:]
    assert Counter(e.asked for e in made) == {"command": 12, "knobs": 4}
    assert {(e.asked, e.proposer) for e in made} == {("command", "scripted"), ("knobs", "knobs")}
    assert all(bool(e.mutation) == (e.asked == "command") for e in made)
    kept = Counter(e.asked for e in made if e.kept)
    show_report(toy.folder, "r", as_json=False)
    shown = capsys.readouterr().out
    assert f"by: scripted 12 asked, {kept['command']} kept, 0.12 USD · knobs 4 asked, {kept['knobs']} kept" in shown
    assert "## by kind of change" in shown
    show_report(toy.folder, "r", as_json=True)
    body = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["asked"]) for row in body["proposers"]] == [("scripted", 12), ("knobs", 4)]
    assert sum(row["gain"] for row in body["proposers"]) == pytest.approx(body["baseline"] - body["incumbent"])
    assert [keep["n"] for keep in body["keeps"]] == [e.n for e in made if e.kept]


def test_who_has_nothing_left_is_taken_out_and_the_others_go_on(make_toy: Callable[..., Toy]) -> None:
    """Knobs have two settings besides the present one."""
    train = TRAIN.replace("0.5  # knob: 0..1", "0.5  # knob: 0.5|0.6|0.7")
    toy = make(make_toy, KNOBS.format(share=1) + AGENT.format(share=1), experiments=12, train=train)
    assert toy.run(wish=Wish(name="r", seed=1), parts=without_agent).reason == "experiments"
    made = toy.history("r").experiments[1:]
    assert [e.asked for e in made if e.proposer == "knobs"] == ["knobs", "knobs"]
    turned = [e for e in made if e.exhausted]
    assert [e.exhausted for e in turned] == [(("knobs", "improve"),)]
    assert {e.proposer for e in made[turned[0].n - 1 :]} == {"scripted"}
    events = [e.body for e in toy.events if e.kind == "note" and e.body.get("what") == "exhausted"]
    assert events[0]["words"] == "space exhausted: every setting of the constants was tried"


def test_the_run_ends_when_the_last_one_has_nothing_left(make_toy: Callable[..., Toy]) -> None:
    def ends(brief: Brief) -> Patch:
        if brief.n > 3:
            raise Exhausted("no more ideas")
        return agent(brief)

    train = "def score():\n    return 5\n"
    toy = make(make_toy, KNOBS.format(share=1) + AGENT.format(share=1), train=train)

    def parts(parts: Parts) -> Parts:
        return by(parts, Scripted(lambda brief: ends(replace(brief, n=brief.n + 1))))

    assert toy.run(wish=Wish(name="r", seed=1), parts=parts).reason == "exhausted"
    assert [e.proposer for e in toy.history("r").experiments if e.decided and e.n] == ["scripted", "scripted"]
    assert [e.exhausted for e in toy.history("r").experiments[1:3]] == [(("knobs", "improve"),), ()]


def test_a_structural_keep_is_tuned_by_a_search_that_the_task_does_not_name(make_toy: Callable[..., Toy]) -> None:
    toy = make(make_toy, AGENT.format(share=1) + '[strategy]\ntune_after_keep = "50%"\n', experiments=14)
    toy.run(wish=Wish(name="r", seed=4), parts=without_agent)
    made = toy.history("r").experiments[1:]
    tuned = [e for e in made if e.operation == "tune"]
    assert made[0].kept
    assert 3 <= len(tuned) <= 7
    assert [e.n for e in tuned] == list(range(2, 2 + len(tuned)))
    assert {e.proposer for e in tuned} == {"knobs"}
    assert {name for e in tuned for name in changed(e)} == {"WINDOW", "RATE"}
    assert {e.parents[-1] for e in tuned} == {1}
    assert any(e.kept for e in tuned)
    assert {e.operation for e in made[1 + len(tuned) :]} <= {"improve", "restart"}


def test_only_constants_that_the_keep_changed_are_tuned(make_toy: Callable[..., Toy]) -> None:
    """Its lines name no constant but the one that they add."""
    train = TRAIN + "\n\ndef smooth():\n    return 0\n"
    better = train.replace("    return 0\n", "    return abs(WINDOW - 9) / 10 - 3\n") + "\n\nWINDOW = 4  # knob: 1..16\n"
    train = train.replace("abs(RATE - 0.3)", "abs(RATE - 0.3) + smooth()")
    better = better.replace("abs(RATE - 0.3)", "abs(RATE - 0.3) + smooth()")
    toy = make(make_toy, AGENT.format(share=1) + '[strategy]\ntune_after_keep = "50%"\n', experiments=8, train=train)

    def parts(parts: Parts) -> Parts:
        return by(parts, Scripted([Patch({"train.py": better})] * 9))

    toy.run(wish=Wish(name="r", seed=4), parts=parts)
    tuned = [e for e in toy.history("r").experiments if e.operation == "tune"]
    assert {name for e in tuned for name in changed(e)} == {"WINDOW"}
    assert len(tuned) == 3


def test_a_keep_without_constants_costs_no_experiment_of_tuning(make_toy: Callable[..., Toy]) -> None:
    toy = make(make_toy, AGENT.format(share=1) + '[strategy]\ntune_after_keep = "50%"\n', experiments=4)

    def parts(parts: Parts) -> Parts:
        plain = [Patch({"train.py": f"def score():\n    return {4 - n}\n"}) for n in range(4)]
        return by(parts, Scripted(plain))

    assert toy.run(wish=Wish(name="r", seed=1), parts=parts).reason == "experiments"
    made = toy.history("r").experiments[1:]
    assert [e.proposer for e in made] == ["scripted"] * 4
    assert [e.exhausted for e in made] == [(), *[(("knobs", "tune"),)] * 3]


class Forgetful:
    """Knobs that remember nothing: what a process after a kill has in its hands."""

    name, exact, reads = "knobs", True, False

    async def propose(self, brief: Brief, draft: Any) -> Proposal:
        return await Knobs().propose(brief, draft)


def test_a_search_that_remembers_nothing_proposes_the_same_around_an_agent_s_keeps(make_toy: Callable[..., Toy]) -> None:
    """The agent's keeps change constants themselves, take one away and bring one in."""
    body = "\n\ndef score():\n    return {base} + abs(RATE - 0.3) + abs(WIDTH - 90) / 100 + abs(OTHER - 7)\n"
    first = "RATE = 0.5  # knob: 0..1\nWIDTH = 64\nOTHER = 3  # knob: 1..9\n"
    better = {
        5: (-10, first.replace("0.5", "0.9")),
        17: (-30, first.replace("OTHER", "DEPTH").replace("3 ", "2 ") + "OTHER = 7\n"),
    }

    def writes(brief: Brief) -> Patch:
        base, constants = better.get(brief.n, (1000 + brief.n, first))
        return Patch({"train.py": constants + body.format(base=base)})

    def run(knobs: Any) -> tuple[dict[str, Any], list[Experiment]]:
        rest = KNOBS.format(share=2) + AGENT.format(share=1) + '[strategy]\ntune_after_keep = "30%"\n'
        toy = make(make_toy, rest, experiments=30, train=first + body.format(base=5))

        def parts(parts: Parts) -> Parts:
            found = by(parts, Scripted(writes))
            return replace(found, proposer=knobs, mix={**found.mix, "knobs": knobs})

        toy.run(wish=Wish(name="r", seed=2), parts=parts)
        return whole(toy)[0], toy.history("r").experiments

    (one, made), (other, _) = run(Knobs()), run(Forgetful())
    assert one == other
    assert [e.kept for e in made if e.n in better] == [True, True]
    assert sum(e.proposer == "knobs" for e in made) > 15


# -- the same, whatever the kills --------------------------------------------------------------------------------------

CHILD = """\
import os, signal, sys
from pathlib import Path
import anyio
from autoresearch.choice import Wish
from autoresearch.ledger import SqliteLedger
from autoresearch.project import Project
from autoresearch.session import Session
from tests.integration.test_mix import without_agent

append, count = SqliteLedger.append, 0

def killed(*args, **options):
    global count
    count += 1
    if count == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return append(*args, **options)

def prepare(loop):
    loop.parts = loop.books.parts = without_agent(loop.parts)

SqliteLedger.append = killed
with Session(Project(Path(sys.argv[1])), Wish(name="r", seed=7, lag=int(sys.argv[3]))) as session:
    session.pictures = False
    anyio.run(session.work, lambda what, details: None, prepare)
"""


def whole(toy: Toy) -> tuple[dict[str, Any], list[tuple[str, str, str, tuple[Any, ...]]]]:
    ledger = toy.project.ledger(read_only=True)
    ledger.verify("r")
    found = canonical(ledger, "r")
    ledger.close()
    asked = [(e.asked, e.mutation, e.escalation, e.exhausted) for e in toy.history("r").experiments]
    return found, asked


@pytest.mark.parametrize("lag", [1, 3])
def test_killed_anywhere_the_same_are_asked_for_the_same(make_toy: Callable[..., Toy], lag: int) -> None:
    rest = AGENT.format(share=1) + KNOBS.format(share=2) + '[strategy]\ntune_after_keep = "40%"\n'
    train = "def score():\n    return 5\n"  # nothing for knobs until the agent's keep
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def child(toy: Toy, kill_at: int) -> int:
        argv = [sys.executable, "-c", CHILD, str(toy.folder), str(kill_at), str(lag)]
        return subprocess.run(argv, env=env, capture_output=True, check=False).returncode

    calm, killed = (make(make_toy, rest, experiments=11, train=train) for _ in range(2))
    assert child(calm, 0) == 0
    rng, kills = random.Random(lag), 0
    while child(killed, rng.randrange(3, 14)) == -signal.SIGKILL:
        kills += 1
        assert kills < 60
    assert kills > 3
    assert whole(killed) == whole(calm)
    assert any(e[3] for e in whole(calm)[1])
    assert "tune" in {e["operation"] for e in whole(calm)[0]["experiments"]}
