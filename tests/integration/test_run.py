"""A run on a toy project, from its first event to its branch."""

from __future__ import annotations

from tests.conftest import Toy

from autoresearch.choice import Wish
from autoresearch.records import Kind
from autoresearch.testing import Patch


def knob(value: float) -> Patch:
    return Patch({"knob.txt": f"{value}\n"}, f"knob {value}")


def test_better_is_kept_and_worse_is_discarded_and_checkout_untouched(toy: Toy) -> None:
    ending = toy.run([knob(9), knob(11), knob(8)], run="one")
    assert ending.reason == "exhausted"
    history = toy.history()
    assert [e.verdict.kind for e in history.experiments if e.verdict] == [Kind.KEEP, Kind.KEEP, Kind.DISCARD, Kind.KEEP]
    assert history.line == [0, 1, 3]
    assert toy.git("show", "autoresearch/one:knob.txt") == "8\n"
    assert toy.git("log", "--format=%s", "autoresearch/one").splitlines() == ["knob 8", "knob 9", "start"]


def test_exact_metric_costs_one_evaluation_an_experiment(toy: Toy) -> None:
    toy.run([knob(9), knob(11), knob(8)])
    history = toy.history()
    assert [len(e.measurements) for e in history.experiments[1:4]] == [1, 1, 1]
    assert history.evaluations == 2 + 3 + 1  # the result once more at the end: it has to give the same bits
    assert history.validated is not None
    assert (history.validated.mean, history.validated.pairs) == (2.0, 1)


def test_keep_commit_carries_the_numbers_as_trailers(toy: Toy) -> None:
    toy.run([knob(9)], run="one")
    e = toy.history().experiments[1]
    message = toy.git("log", "-1", "--format=%B", "autoresearch/one")
    assert "Metric: score 9" in message
    assert "Experiment: one/1" in message
    assert f"Ledger: {e.decided_hash}" in message
    assert toy.git("log", "-1", "--format=%an <%ae>", "autoresearch/one").strip() == "autoresearch <autoresearch@localhost>"


def test_candidates_are_refs_without_numbers_whatever_their_verdict(toy: Toy) -> None:
    toy.run([knob(9), knob(11)], run="one")
    refs = toy.git("for-each-ref", "--format=%(refname)", "refs/autoresearch/one").split()
    assert refs == [f"refs/autoresearch/one/{name}" for name in ("1", "2", "base")]
    assert toy.git("show", "refs/autoresearch/one/2:knob.txt") == "11\n"
    assert toy.git("log", "-1", "--format=%B", "refs/autoresearch/one/2").strip() == "knob 11"


def test_session_limit_leaves_the_run_open_and_the_next_session_goes_on(toy: Toy) -> None:
    patches = [knob(9), knob(8), knob(7)]
    assert toy.run(patches, wish=Wish(name="one", experiments=1)).reason == "session"
    assert toy.history().decided == 1
    assert toy.run(patches).reason == "exhausted"
    assert toy.history().line == [0, 1, 2, 3]
