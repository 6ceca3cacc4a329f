"""The end of a noisy run: what is kept for the final comparison, what it says, and what an interrupted run says instead."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TASK, Toy

from autoresearch.budget import Ending
from autoresearch.choice import Wish
from autoresearch.cli.look import show_experiment, show_status
from autoresearch.history import History
from autoresearch.records import Kind
from autoresearch.report import last_lines
from autoresearch.testing import Patch

pytestmark = pytest.mark.usefixtures("no_sandbox")  # evaluations count outside their trees
NOISY = """\
import hashlib, os, pathlib
n = len(pathlib.Path({counter!r}).read_text())
pathlib.Path({counter!r}).write_text("x" * (n + 1))
noise = int.from_bytes(hashlib.sha256(str(n).encode()).digest()[:4], "big") / 2**32 - 0.5
print("score:", float(pathlib.Path("knob.txt").read_text()) + 0.2 * noise)
"""
Making = Callable[..., Toy]


@pytest.fixture
def noisy(make_toy: Making, tmp_path: Path) -> Callable[[str], Toy]:
    def make(budget: str = "") -> Toy:
        counter = tmp_path / "count.txt"
        counter.write_text("")
        return make_toy({"evaluate.py": NOISY.format(counter=str(counter))}, task=f"{TASK}\n{budget}")

    return make


def better(brief: Any) -> Patch:
    """Every fourth candidate is better by 1, the others are worse."""
    value = 10 - (brief.n + 3) // 4 if brief.n % 4 == 1 else 30 + brief.n
    return Patch({"knob.txt": f"{value}\n"}, f"knob {value}")


def finals(history: History) -> int:
    return sum(m.phase == "final" for m in history.experiments[0].measurements)


def notes(toy: Toy, what: str) -> list[str]:
    return [e.body["words"] for e in toy.events if e.kind == "note" and e.body.get("what") == what]


def test_evaluations_of_the_final_are_kept_for_it(noisy: Callable[[str], Toy]) -> None:
    toy = noisy("[budget]\nexperiments = 1000\nevaluations = 40\n")
    ending = toy.run(better)
    history = toy.history()
    assert (ending.reason, history.evaluations, finals(history)) == ("evaluations", 40, 6)
    assert "6 of them kept for the final comparison" in ending.words
    assert notes(toy, "prospect") == ["6 evaluations kept for the final comparison"]
    gain = history.validated
    assert gain is not None
    true = 10 - float(toy.git("show", "autoresearch/" + history.run.run + ":knob.txt"))  # type: ignore[union-attr]
    assert gain.pairs == 3
    assert gain.low - 0.2 < true < gain.high + 0.2


def test_time_of_the_final_is_kept_for_it(noisy: Callable[[str], Toy]) -> None:
    toy = noisy("[budget]\nexperiments = 1000\n")
    ending = toy.run(better, wish=Wish(name="r", time_s=6.0))
    history = toy.history()
    assert ending.words == "the time is used up"
    assert history.run is not None
    assert history.run.worked_s < 6.5
    assert history.validated is not None


def test_run_that_is_stopped_is_not_validated_and_says_by_which_command_it_will_be(noisy: Callable[[str], Toy]) -> None:
    toy = noisy("")
    loops: list[Any] = []

    def watch(what: str, details: Mapping[str, Any]) -> None:
        if what == "advanced":
            loops[0].stop(Ending("stopped", "stopped on request"))

    toy.run(better, wish=Wish(name="r"), watch=watch, ready=loops.append)
    history = toy.history()
    assert (finals(history), history.validated) == (0, None)
    lines = last_lines(history)
    assert any(line.endswith("optimistic, not yet validated") for line in lines)
    assert any(line.startswith("not validated: autoresearch validate (6 evaluations, 1.0 s)") for line in lines)


def test_run_that_is_asked_to_finish_is_validated(noisy: Callable[[str], Toy]) -> None:
    toy = noisy("")
    loops: list[Any] = []

    def watch(what: str, details: Mapping[str, Any]) -> None:
        if what == "advanced":
            loops[0].finish()

    toy.run(better, wish=Wish(name="r"), watch=watch, ready=loops.append)
    assert toy.history().validated is not None


def test_budget_too_small_for_a_comparison_is_said_before_the_first_experiment(noisy: Callable[[str], Toy]) -> None:
    toy = noisy("[budget]\nevaluations = 12\n")
    toy.run(better)
    said = notes(toy, "prospect")
    assert any("too small for a final comparison" in words for words in said)
    assert any("the budget pays for about 9 experiments" in words for words in said)
    assert finals(toy.history()) == 0


def test_target_within_the_noise_is_said_to_be_out_of_reach(make_toy: Making, tmp_path: Path) -> None:
    counter = tmp_path / "count.txt"
    counter.write_text("")
    task = TASK.replace("[metric]\n", "[metric]\ntarget = 9.9\n")
    toy = make_toy({"evaluate.py": NOISY.format(counter=str(counter))}, task=task)
    toy.run([], wish=Wish(name="r"))
    assert any(words.startswith("this cannot succeed but by a larger gain: the target is ") for words in notes(toy, "prospect"))


def test_nothing_kept_has_no_final_and_no_validated_gain(noisy: Callable[[str], Toy]) -> None:
    toy = noisy("[budget]\nexperiments = 3\n")
    toy.run(lambda brief: Patch({"knob.txt": f"{20 + brief.n}\n"}))
    history = toy.history()
    assert finals(history) == 0
    assert any(line.endswith("nothing beat the baseline, no validated gain") for line in last_lines(history))


def test_faces_show_the_validated_gain_the_noise_and_the_pairs(
    noisy: Callable[[str], Toy], capsys: pytest.CaptureFixture[str]
) -> None:
    toy = noisy("[budget]\nexperiments = 9\n")
    toy.run(better, wish=Wish(name="r"))
    history = toy.history()
    kept = next(e.n for e in history.experiments if e.n and e.verdict and e.verdict.kind is Kind.KEEP)
    show_status(toy.folder, "r", as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("validated: score −") and "(optimistic)" in line for line in lines)
    assert any(line.startswith(f"of {len(history.line) - 1} kept, at most 0.") for line in lines)
    assert any(line.startswith("noise: sd 0.0") and "cannot be seen" in line for line in lines)
    assert any(line.startswith("the usual keep-if-better rule would have kept ") for line in lines)
    show_status(toy.folder, "r", as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["validated"]["low"] > 0
    assert (found["evidence"]["rule"], found["evidence"]["kept"]) == ("bayes", len(history.line) - 1)
    assert found["claimed"] > 0
    for n, what in ((kept, "of the incumbent beside it: gain +"), (0, "final, pair 3: ")):
        show_experiment(toy.folder, "r", n, as_json=False)
        shown = capsys.readouterr().out
        assert what in shown
        assert ": gain +" in shown


def test_going_on_validates_the_new_result_and_a_finished_run_measures_nothing(noisy: Callable[[str], Toy]) -> None:
    toy = noisy("[budget]\nexperiments = 5\n")
    toy.run(better, wish=Wish(name="r", experiments=1))
    first = toy.history()
    assert first.validated is not None
    toy.run(better, wish=Wish(name="r"))
    second = toy.history()
    assert finals(second) == 2 * finals(first)
    assert second.run is not None
    assert second.run.validated_of == second.line[-1] != first.line[-1]
    toy.run(better, wish=Wish(name="r"))
    assert toy.history().evaluations == second.evaluations
