"""Rate limits and outages of a proposer's model: waited for, gone round, or a reason to stop; never an experiment's end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TASK, Toy

from autoresearch.books import Parts
from autoresearch.budget import Ending
from autoresearch.choice import Wish
from autoresearch.contracts import Brief
from autoresearch.errors import ProposerWaits
from autoresearch.report import last_lines, waiting_lines
from autoresearch.testing import Hired, Patch, canonical

# a program that costs money stands in the task file; the scripted one takes its place
HIRED = TASK + '[proposer]\nkind = "command"\ncommand = "true"\n[budget]\ncost_usd = 10\n'
WITH_KNOBS = HIRED.replace('command = "true"\n', 'command = "true"\nfallback = "knobs"\n').replace(
    '["knob.txt", "extra/**"]', '["knob.txt", "train.py"]'
)


def limited(times: int, *, at: int = 2, retry_after_s: float | None = 0.2, reason: str = "rate_limit", usd: float = 0.0) -> Any:
    """Lowers the knob with each experiment; its model cannot be had `times` times at one of them."""
    left = [times]

    def patch(brief: Brief) -> Patch:
        if brief.n == at and left[0]:
            left[0] -= 1
            return Patch(error=ProposerWaits(reason, "429: slow down", retry_after_s), cost_usd=usd)
        return Patch({"knob.txt": f"{10 - brief.n}\n"}, cost_usd=0.01)

    return patch


class Session:
    """A session of a run by a scripted proposer, with what was shown of it."""

    def __init__(self, toy: Toy) -> None:
        self.toy = toy
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.loops: list[Any] = []

    def run(
        self,
        script: Callable[[Brief], Patch],
        *,
        wish: Wish | None = None,
        waits_s: tuple[float, float] = (0.02, 0.1),
        on: Callable[[str, Any], None] = lambda what, details: None,
        ready_raises: Exception | None = None,
    ) -> Ending:
        self.hired = Hired(script) if ready_raises is None else Hired(script, ready=ready_raises)

        def watch(what: str, details: Any) -> None:
            self.seen.append((what, dict(details)))
            on(what, details)

        def ready(loop: Any) -> None:
            loop.books.options = replace(loop.books.options, quota_waits_s=waits_s)
            self.loops.append(loop)

        def parts(found: Parts) -> Parts:
            return replace(found, proposer=self.hired, mix={})

        return self.toy.run(parts=parts, wish=wish or Wish(name="one", experiments=4), watch=watch, ready=ready)

    def of(self, what: str) -> list[dict[str, Any]]:
        return [details for seen, details in self.seen if seen == what]


@pytest.fixture
def session(make_toy: Callable[..., Toy]) -> Session:
    return Session(make_toy(task=HIRED))


def test_rate_limit_is_waited_for_and_costs_no_experiment(session: Session) -> None:
    began = time.time()
    assert session.run(limited(2)).reason == "session"
    history = session.toy.history("one")
    assert [(e.n, e.verdict.kind.value) for e in history.experiments[1:] if e.verdict] == [(n, "keep") for n in (1, 2, 3, 4)]
    assert [n for n, _ in session.hired.asked] == [1, 2, 2, 2, 3, 4]
    waits = session.of("waiting")
    assert len(waits) == 2
    assert waits[0]["until"] >= began + 0.2
    assert waits[0]["words"].startswith("rate limit of command (resets ")
    assert history.agenda.waits == {}  # it can be had again


def test_waiting_is_not_charged(session: Session) -> None:
    session.run(limited(1, retry_after_s=1.5))
    run = session.toy.history("one").run
    assert run is not None
    assert run.last_at - run.started_at > 1.5
    assert run.worked_s < run.last_at - run.started_at - 1.3


def test_without_a_time_to_come_back_each_wait_is_longer_and_the_same_every_time(make_toy: Callable[..., Toy]) -> None:
    waits = []
    for _ in range(2):
        session = Session(make_toy(task=HIRED))
        session.run(limited(4, retry_after_s=None, reason="outage"), wish=Wish(name="one", experiments=2, seed=7))
        waits.append([round(details["seconds"], 2) for details in session.of("waiting")])
        assert session.of("waiting")[0]["words"] == "outage of command (429: slow down)"
    assert waits[0] == pytest.approx(waits[1], abs=0.02)
    assert len(waits[0]) == 4
    for found, longest in zip(waits[0], (0.02, 0.04, 0.08, 0.1), strict=True):
        assert 0.5 * longest - 0.02 <= found <= longest + 0.001


def test_a_hundred_refusals_trip_no_breaker(session: Session) -> None:
    assert session.run(limited(40, retry_after_s=None), waits_s=(0.001, 0.001)).reason == "session"
    assert sum(event.body.get("what") == "waiting" for event in session.toy.events) == 40


def test_what_was_paid_before_the_refusal_is_in_the_ledger_at_once(session: Session) -> None:
    spent = []

    def on(what: str, details: Any) -> None:
        if what == "waiting":
            spent.append(session.loops[0].history.cost_usd)

    session.run(limited(1, usd=0.25), on=on)
    assert spent == [pytest.approx(0.26)]
    history = session.toy.history("one")
    assert history.experiments[2].cost_usd == pytest.approx(0.26)
    assert history.cost_usd == pytest.approx(0.25 + 4 * 0.01)
    assert session.hired.asked[2][1].cost_usd == pytest.approx(0.75)  # 1.00 less what the first attempt spent


def test_a_reset_beyond_the_time_left_ends_the_session_and_the_next_goes_on_with_the_same_number(session: Session) -> None:
    ending = session.run(limited(1, retry_after_s=5 * 3600.0), wish=Wish(name="one", experiments=4, time_s=60.0))
    assert (ending.reason, ending.code, ending.status) == ("quota", 0, "open")
    history = session.toy.history("one")
    assert history.experiments[2].stage == "asked"
    assert any(line.startswith("go on: autoresearch run one (from ") for line in last_lines(history))
    assert len(waiting_lines(history, time.time())) == 1
    again = Session(session.toy)
    wait = history.agenda.waits["command"]
    # the model answers when it is tried out at the start, long before the reset that was told
    assert again.run(limited(0), wish=Wish(name="one", experiments=3)).reason == "session"
    assert again.of("ready")
    assert wait.until > time.time()
    assert [n for n, _ in again.hired.asked] == [2, 3, 4]


def test_a_reset_that_was_told_holds_in_the_next_session_where_nothing_new_is_told(make_toy: Callable[..., Toy]) -> None:
    session = Session(knobbed(make_toy))
    session.run(limited(1, retry_after_s=3600.0), wish=Wish(name="one", experiments=2))
    until = session.toy.history("one").agenda.waits["command"].until
    again = Session(session.toy)
    refused = ProposerWaits("rate_limit", "429", None)
    again.run(limited(0), wish=Wish(name="one", experiments=2), ready_raises=refused)
    assert again.hired.asked == []
    history = again.toy.history("one")
    assert history.agenda.waits["command"].until == until
    assert [e.proposer for e in history.experiments[1:]] == ["hired", "knobs", "knobs", "knobs"]


def test_a_clock_time_is_a_wall_for_waits_too(session: Session) -> None:
    wish = Wish(name="one", experiments=4, until=time.time() + 30)
    ending = session.run(limited(1, retry_after_s=600.0), wish=wish)
    assert ending.reason == "quota"


def test_an_outage_that_outlasts_the_time_left_stops_the_session(session: Session) -> None:
    ending = session.run(
        limited(10**6, retry_after_s=None, reason="outage"),
        wish=Wish(name="one", experiments=4, time_s=2.0),
        waits_s=(0.3, 0.5),
    )
    assert ending.reason == "quota"
    assert "no end of it is known" in ending.words


@pytest.mark.parametrize("how", ["stop", "finish"])
def test_a_request_to_stop_ends_the_wait_at_once(session: Session, how: str) -> None:
    def on(what: str, details: Any) -> None:
        if what == "waiting":
            loop = session.loops[0]
            loop.stop(Ending("stopped", "stopped on request")) if how == "stop" else loop.finish()

    began = time.monotonic()
    ending = session.run(limited(1, retry_after_s=3600.0), on=on)
    assert ending.reason == "stopped"
    assert time.monotonic() - began < 20
    assert session.toy.history("one").experiments[2].stage == "asked"


def knobbed(make_toy: Callable[..., Toy], values: str = "1|2|3|4|5|6|7|8|9") -> Toy:
    """A toy with a constant that `knobs` finds."""
    files = {
        "train.py": f'KIND = "5"  # knob: {values}\n',
        "evaluate.py": "import train\nprint('score:', float(open('knob.txt').read()) + float(train.KIND))\n",
    }
    return make_toy(files, task=WITH_KNOBS)


def test_a_fallback_goes_on_until_the_reset_and_then_the_first_is_asked_again(make_toy: Callable[..., Toy]) -> None:
    session = Session(knobbed(make_toy))

    def on(what: str, details: Any) -> None:
        event = details.get("event")
        if what == "proposed" and event.n > 2 and event.body["proposer"] == "hired":
            session.loops[0].finish()
        time.sleep(0.02)  # there are nine settings to try until the reset

    session.run(limited(1, retry_after_s=1.5), wish=Wish(name="one", experiments=60), on=on)
    history = session.toy.history("one")
    who = [e.proposer for e in history.experiments[1:] if e.proposer]
    assert who[0] == "hired"
    assert who[1] == "knobs"
    assert session.of("instead")[0]["fallback"] == "knobs"
    assert "hired" in who[2:]
    first_again = 2 + who[2:].index("hired")
    assert set(who[1:first_again]) == {"knobs"}
    assert set(who[first_again:]) == {"hired"}


def test_a_fallback_with_nothing_left_leaves_the_first_to_be_waited_for(make_toy: Callable[..., Toy]) -> None:
    session = Session(knobbed(make_toy, "5|6"))
    ending = session.run(limited(2, retry_after_s=1.0), wish=Wish(name="one", experiments=5))
    assert ending.reason == "session"
    assert session.of("waiting")
    who = [e.proposer for e in session.toy.history("one").experiments[1:]]
    assert who.count("knobs") == 1
    assert who.count("hired") == 4


# -- killed while it waits ---------------------------------------------------------------------------------------------

PLUGIN = """\
import os, pathlib
from autoresearch.errors import ProposerWaits
from autoresearch.testing import Hired, Patch
COUNT = pathlib.Path(os.environ["HIRED_COUNT"])

def script(brief):
    asked = COUNT.read_text().split() if COUNT.exists() else []
    COUNT.write_text(" ".join([*asked, str(brief.n)]))
    if brief.n == 2 and asked.count("2") < int(os.environ["HIRED_REFUSALS"]):
        return Patch(error=ProposerWaits("rate_limit", "429", 1.0), cost_usd=0.1)
    return Patch({"knob.txt": f"{10 - brief.n}\\n"}, cost_usd=0.01)

class Mine(Hired):
    def __init__(self):
        super().__init__(script)
"""


def cli(toy: Toy, *args: str) -> Sequence[str]:
    return [sys.executable, "-m", "autoresearch", "run", "one", "--folder", str(toy.folder), "--yes", *args]


def test_killed_while_waiting_the_run_goes_on_as_if_it_had_not_been(
    make_toy: Callable[..., Toy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for kills in (0, 3):
        monkeypatch.setenv("HIRED_COUNT", str(tmp_path / f"count-{kills}"))
        monkeypatch.setenv("HIRED_REFUSALS", str(kills))
        task = HIRED.replace('kind = "command"\ncommand = "true"\n', 'kind = "hired_out:Mine"\n')
        toy = make_toy({"hired_out.py": PLUGIN}, task=task)
        for _ in range(kills):
            killed_while_waiting(toy)
        done = subprocess.run(cli(toy, "-n", "4", "--seed", "3"), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        history = toy.history("one")
        assert history.cost_usd == pytest.approx(0.1 * kills + 0.01 * len(history.experiments[1:]))
        assert all(e.decided for e in history.experiments)
        ledger = toy.project.ledger(read_only=True)
        found.append(canonical(ledger, "one")["experiments"][:5])
        ledger.close()
    assert found[0] == found[1]


def killed_while_waiting(toy: Toy) -> None:
    """Start a session, and kill it with its whole process tree's root once it waits."""
    run = subprocess.Popen(cli(toy, "-n", "4", "--seed", "3"), stdout=subprocess.PIPE, text=True, bufsize=1)
    assert run.stdout is not None
    for line in run.stdout:
        if line.startswith("waiting until "):
            os.kill(run.pid, signal.SIGKILL)
            break
    run.stdout.close()
    run.wait(timeout=30)
