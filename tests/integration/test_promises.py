"""Promises under kills, walls and awkward names: sessions that end in the middle of what follows a decision, and the like."""

from __future__ import annotations

import collections
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.conftest import TASK, Toy

from autoresearch import optimize
from autoresearch.budget import Ending
from autoresearch.choice import Wish
from autoresearch.ledger import SqliteLedger
from autoresearch.project import is_run_name
from autoresearch.testing import Patch, canonical

pytestmark = pytest.mark.usefixtures("no_sandbox")  # evaluations use files outside their trees

EVERY_TWO = TASK + '\n[[check]]\nname = "range"\ncommand = "sh check.sh"\nevery = 2\n\n[budget]\nexperiments = 4\n'
CHECK = "[ $(cat knob.txt) -ge 9 ] || [ $(cat knob.txt) -le 3 ]\n"
STEPS = {1: "9\n", 2: "8\n", 3: "7\n", 4: "12\n"}
CONSTANTS = """\
LR = 0.1
WD = 1.0
N = 16
M = 8
print("score:", (LR - 0.3) ** 2 + (WD - 2) ** 2 + (N - 20) ** 2 / 100 + (M - 5) ** 2 / 10)
"""


class Killed(BaseException):
    """Ends a session where it stands."""


def step(brief: Any) -> Patch:
    return Patch({"knob.txt": STEPS[brief.n]})


def worse(brief: Any) -> Patch:
    return Patch({"knob.txt": f"{20 + brief.n}\n"})


def killed(toy: Toy, patches: Any, wish: Wish, when: Callable[[str, Mapping[str, Any]], bool]) -> None:
    def watch(what: str, details: Mapping[str, Any]) -> None:
        if when(what, details):
            raise Killed

    with pytest.raises(BaseException) as caught:
        toy.run(patches, wish=wish, watch=watch)
    assert "Killed" in repr(caught.value)


def ledger_of(toy: Toy) -> dict[str, Any]:
    ledger = toy.project.ledger(read_only=True)
    found = canonical(ledger, "r")
    ledger.close()
    return found


def test_periodic_check_that_was_killed_is_made_before_the_next_experiment(make_toy: Callable[..., Toy]) -> None:
    whole, broken = (make_toy({"check.sh": CHECK}, task=EVERY_TWO) for _ in range(2))
    wish = Wish(name="r", seed=1)
    whole.run(step, wish=wish)
    killed(broken, step, wish, lambda what, d: what == "evaluating" and d["n"] == 2 and d["label"].startswith("check"))
    broken.run(step, wish=wish)
    assert ledger_of(broken)["experiments"] == ledger_of(whole)["experiments"]


def test_roll_back_killed_before_its_row_leaves_the_branch_where_the_ledger_is(
    make_toy: Callable[..., Toy], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = make_toy({"check.sh": CHECK}, task=EVERY_TWO)
    append = SqliteLedger.append

    def without_roll_back(self: SqliteLedger, run: str, *events: Any, durable: bool = False) -> Any:
        if events[0].kind == "rolled_back":
            raise Killed
        return append(self, run, *events, durable=durable)

    with monkeypatch.context() as patched:
        patched.setattr(SqliteLedger, "append", without_roll_back)
        killed(toy, step, Wish(name="r", seed=1), lambda what, d: False)
    toy.run(step, wish=Wish(name="r", seed=1))
    assert toy.git("rev-parse", "autoresearch/r").strip() == toy.history("r").tip


@pytest.mark.parametrize("lag", [1, 8])
def test_knobs_proposes_the_same_after_a_kill(make_toy: Callable[..., Toy], lag: int) -> None:
    task = TASK.replace('"knob.txt", "extra/**"', '"train.py"').replace("evaluate.py", "train.py")
    whole, broken = (make_toy({"train.py": CONSTANTS}, task=task + "\n[budget]\nexperiments = 24\n") for _ in range(2))
    wish = Wish(name="r", seed=1, lag=lag)
    whole.run(wish=wish)
    killed(broken, None, wish, lambda what, d: what == "decided" and d["n"] == 12)
    broken.run(wish=wish)
    assert [e.description for e in broken.history().experiments] == [e.description for e in whole.history().experiments]


def test_wall_of_evaluations_is_reached_with_lag(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(task=TASK + "\n[budget]\nevaluations = 6\n")
    toy.run(worse, wish=Wish(name="r", lag=8))
    assert toy.history().evaluations == 6


def test_wall_of_cost_holds_for_experiments_that_were_asked_ahead(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(task=TASK + "\n[budget]\ncost_usd = 0.1\n")
    toy.run(lambda brief: Patch({"knob.txt": f"{20 + brief.n}\n"}, cost_usd=0.1), wish=Wish(name="r", lag=8))
    assert toy.history().cost_usd == pytest.approx(0.1)


def test_waiting_that_is_broken_off_gives_no_time_back(make_toy: Callable[..., Toy]) -> None:
    evaluate = "import sys, pathlib\nif pathlib.Path('knob.txt').read_text() != '10\\n': sys.exit(75)\nprint('score: 10')\n"
    toy = make_toy({"evaluate.py": evaluate})
    loops: list[Any] = []

    def watch(what: str, details: Mapping[str, Any]) -> None:
        if what == "waiting" and details["seconds"] > 1:
            loops[0].stop(Ending("stopped", "enough"))

    toy.run(worse, wish=Wish(name="r"), watch=watch, ready=loops.append)
    run = toy.history().run
    assert run is not None
    assert run.worked_s > 0


def test_stop_that_nobody_heard_does_not_end_the_next_session(toy: Toy) -> None:
    toy.run(worse, wish=Wish(name="r", experiments=1))
    ledger = toy.project.ledger()
    ledger.request("r", "stop", {"finish": False})
    ledger.close()
    assert toy.run(worse, wish=Wish(name="r", experiments=2)).reason == "session"


@pytest.mark.parametrize("name", ["files", "ledger.db", "ledger.db-journal", "ledger.db-wal"])
def test_names_of_the_ledger_are_no_run_names(name: str) -> None:
    assert not is_run_name(name)


def test_name_that_another_session_took_meanwhile_is_refused_or_replaced(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy()
    toy.write({"knob.txt": "11\n"})
    toy.moved()

    def confirm(question: str) -> bool:
        toy.run(worse, wish=Wish(name="r", start="HEAD", experiments=2))
        return True

    try:
        toy.run(worse, wish=Wish(name="r", confirm=confirm, experiments=2))
    except Exception as error:
        assert "r exists already" in str(error)  # noqa: PT017
    assert len(toy.history("r").experiments) == 3


def test_two_projects_of_a_repository_never_share_a_run_s_refs(make_toy: Callable[..., Toy]) -> None:
    one = make_toy(inside="one")
    two = Toy(one.folder.parent / "two")
    two.write({p.name: p.read_bytes() for p in one.folder.iterdir() if p.is_file()})
    two.commit()
    one.known = two.known
    wish = Wish(name="x")
    killed(one, [Patch({"knob.txt": "9\n"})], wish, lambda what, d: what == "evaluating")
    with pytest.raises(Exception, match="choose another name"):
        two.run([Patch({"knob.txt": "8\n"})], wish=wish)


def test_every_check_passes_on_what_is_left_at_the_end(make_toy: Callable[..., Toy]) -> None:
    checks = "".join(f'\n[[check]]\nname = "{c}"\ncommand = "sh {c}.sh"\nevery = 9\n' for c in "ab")
    files = {"a.sh": "[ $(cat knob.txt) -ge 8 ]\n", "b.sh": "[ $(cat knob.txt) -ge 9 ]\n"}
    toy = make_toy(files, task=TASK + checks)
    toy.run([Patch({"knob.txt": f"{value}\n"}) for value in (9, 8, 7)], wish=Wish(name="r"))
    assert toy.git("show", "autoresearch/r:knob.txt") == "9\n"


def test_no_change_after_failures_does_not_measure_the_incumbent_again(make_toy: Callable[..., Toy]) -> None:
    evaluate = "import pathlib\nassert pathlib.Path('knob.txt').read_text() == '10\\n'\nprint('score: 10')\n"
    toy = make_toy({"evaluate.py": evaluate})
    toy.run(lambda brief: Patch({"knob.txt": f"{20 + brief.n if brief.n < 6 else 10}\n"}), wish=Wish(experiments=9))
    assert toy.history().evaluations == 2 + 5 + 1


def test_looking_leaves_no_file_behind(toy: Toy) -> None:
    toy.run([Patch({"knob.txt": "9\n"})], wish=Wish(name="x"))
    folder = toy.folder / ".autoresearch"
    before = sorted(p.name for p in folder.iterdir())
    subprocess.run([sys.executable, "-m", "autoresearch", "status"], cwd=toy.folder, check=True, capture_output=True)
    assert sorted(p.name for p in folder.iterdir()) == before


def test_live_view_shows_a_description_that_looks_like_markup(toy: Toy) -> None:
    from autoresearch.cli.view import Live
    from autoresearch.taskfile import load

    toy.run([Patch({"knob.txt": "9\n"}, "use x[/0] and a[i]")], wish=Wish(name="x"))
    view = Live(load(toy.folder), toy.history(), lambda: None)
    view.begin([], {})
    view.end([], 0)


def test_resumed_optimize_has_the_same_ledger(tmp_path: Any) -> None:
    found = []
    for store, sessions in (("one.db", [6]), ("three.db", [2, 4, 6])):
        for experiments in sessions:
            optimize(10, fitness=lambda s: s, propose=lambda s: s - 1, experiments=experiments, store=tmp_path / store)
        ledger = SqliteLedger(tmp_path / store, read_only=True)
        found.append(canonical(ledger, "optimize-1"))
        ledger.close()
    assert found[0] == found[1]


@pytest.mark.parametrize("bad", [lambda s: lambda: 0, lambda s: sys.exit(3), lambda s: optimize(0, fitness=len, propose=len)])
def test_whatever_propose_does_is_a_failed_proposal(bad: Callable[[Any], Any]) -> None:
    result = optimize(1.0, fitness=lambda s: s, propose=bad, experiments=2)
    assert [t.verdict for t in result.history] == ["keep", "invalid", "invalid"]


@pytest.mark.parametrize("state", [{"z": 1, "a": 2}, {"c": collections.Counter(x=1)}])
def test_state_comes_back_as_it_was(state: Any) -> None:
    result = optimize(state, fitness=lambda s: 1, propose=lambda s: s, experiments=1)
    assert repr(result.state) == repr(state)
