"""The gate's and the held-out set's numbers enter no rule, and what a proposer sees of a run stops at the noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.rules import SETTINGS, Bench, worlds

from autoresearch.acceptance.bayes import Levels
from autoresearch.acceptance.method import method
from autoresearch.budget import Budget, Spending
from autoresearch.gains import evidence
from autoresearch.history import History, gate_queries
from autoresearch.noise import Scale, tally
from autoresearch.records import Event, Gain, Measure, Measurement, Outcome, Reach, RollBack
from autoresearch.report import headline
from autoresearch.sight import UNSEEN, Sight, digits
from autoresearch.workspace.sets import digest_of

HELD = replace(SETTINGS, held_out=True, reach=Reach(experiments=400, evaluations=4000))


def with_private(bench: Bench, n: int, value: float) -> None:
    """Measurements of sets that no rule may look at, in the record of a decided experiment."""
    for phase, arm in (("gate", "candidate"), ("gate", "incumbent"), ("held_out", "incumbent"), ("confirm", "candidate")):
        index = len(bench.history.experiments[n].measurements)
        of, found = (0 if arm == "incumbent" else n), (1.0 if phase == "confirm" else value)
        body = {"of": of, "arm": arm, "index": index, "seed": 7, "phase": phase, "outcome": "ok", "values": {"score": found}}
        bench.ledger.append("r", Event("measured", n, {**body, "duration_s": 1.0}))


# -- rules ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["bayes", "race", "auto"])
def test_measurements_of_private_sets_change_nothing_that_a_rule_knows(rule: str) -> None:
    effects = [0.0, 5.0, 1.0, 9.0, 2.0, 13.0]
    plain, watched = (Bench(worlds(effects), rule=rule) for _ in range(2))
    for _ in effects[1:]:
        plain.experiment()
        watched.experiment()
        with_private(watched, len(watched.history.experiments) - 1, 1000.0)
    assert watched.verdicts == plain.verdicts
    known, other = tally(plain.history), tally(watched.history)
    assert (known.runs, known.alone, known.since, known.races) == (other.runs, other.alone, other.since, other.races)
    levels = [Levels(b.history).now(Scale("score", 1)) for b in (plain, watched)]
    assert (levels[0].mean, levels[0].sd, levels[0].since) == (levels[1].mean, levels[1].sd, levels[1].since)
    found = evidence(plain.history), evidence(watched.history)
    assert found[0] is not None
    assert found[1] is not None
    assert (found[0].sd, found[0].replay, found[0].small) == (found[1].sd, found[1].replay, found[1].small)


def test_queries_are_candidates_behind_the_gate_alone() -> None:
    bench = Bench(worlds([0.0, 5.0]))
    with_private(bench, 0, 1.0)
    bench.experiment()
    with_private(bench, 1, 1.0)
    assert gate_queries(bench.history) == 1


def test_checkpoint_on_held_out_costs_evaluations_that_are_planned_for() -> None:
    made = [Measurement(0, "baseline", i, i, "baseline", Outcome.OK, {"score": 1.0}, 1.0) for i in range(2)]
    noisy = [replace(m, values={"score": float(m.index)}) for m in made]
    assert (
        method(SETTINGS, "exact", made).checkpoints
        == 3 * method(replace(SETTINGS, held_out=True), "exact", made).checkpoints + 2
    )
    with_held, without = (method(s, "bayes", noisy, repeats=True) for s in (HELD, replace(HELD, held_out=False)))
    assert with_held.checkpoints == without.checkpoints // 2


def test_pair_of_an_exact_metric_on_held_out_is_reserved() -> None:
    bench = Bench(lambda step: float(step.of), HELD)
    bench.experiment()
    assert Spending(Budget(), bench.history).reserved() == 1
    assert Spending(Budget(), bench.history, held_out=True).reserved() == 2


def test_noisy_checkpoint_on_held_out_rolls_back_what_is_worse_there() -> None:
    noise = worlds([0.0] * 30, sd=0.2)

    def values(step: Measure) -> float:
        held = step.phase == "held_out"
        return (-6.0 if held else 6.0) * step.of + noise(replace(step, of=0))

    bench = Bench(values, HELD)
    for _ in range(10):
        bench.experiment()
    pairs = bench.measured(10, "held_out")
    assert len(pairs) == 8
    assert {arm for arm, _ in pairs} == {"incumbent", "checkpoint"}
    assert len({seed for _, seed in pairs}) == 4
    assert bench.history.line == [0]
    assert isinstance(_rolled(bench), str)


def _rolled(bench: Bench) -> str:
    return str(next(e.body["words"] for e in bench.ledger.events("r") if e.kind == "rolled_back"))


def test_checkpoint_whose_held_out_evaluation_fails_takes_nothing_back() -> None:
    bench = Bench(lambda step: None if step.phase == "held_out" else float(step.of), HELD)
    for _ in range(10):
        bench.experiment()
    assert bench.history.line == list(range(11))
    assert not isinstance(bench.step("between", 10), RollBack)


def test_final_on_held_out_says_so_in_the_headline_whatever_it_found() -> None:
    bench = Bench(lambda step: float(step.of), HELD)
    bench.experiment()
    bench.ledger.append("r", Event("note", None, {"what": "validate", "of": 1, "pairs": 1, "first": 2}))
    for mean, words in ((0.5, "validated on held-out: score +50.00 %"), (0.0, "no validated gain on held-out: score +0.00 %")):
        gain = {"mean": mean, "low": mean, "high": mean, "pairs": 1, "base": 1.0, "held_out": True}
        body: dict[str, Any] = {"status": "finished", "reason": "experiments", "validated": gain, "validated_of": 1}
        bench.ledger.append("r", Event("run_stopped", None, body))
        assert bench.history.validated == Gain(mean, mean, mean, 1, base=1.0, held_out=True)
        assert headline(bench.history).startswith(words)


# -- what a proposer sees ------------------------------------------------------------------------------------------------


@pytest.fixture
def noisy() -> History:
    bench = Bench(worlds([10.0, 15.0, 9.0, 19.0], sd=0.3))
    for _ in range(3):
        bench.experiment()
        with_private(bench, len(bench.history.experiments) - 1, 77.0)
    return bench.history


def test_values_are_rounded_to_the_power_of_ten_at_or_below_the_noise(noisy: History) -> None:
    assert noisy.agenda.method is not None
    assert 0.1 <= (noisy.agenda.method.sd or 0) < 1
    assert digits(noisy) == 1
    seen = Sight(noisy, noisy.decided)
    for e, real in zip(seen, noisy.experiments, strict=True):
        assert real.value is not None
        assert e.value == round(real.value, 1) != real.value
        assert e.verdict is not None
        assert e.verdict.value == e.value
        assert all(m.values["score"] == round(m.values["score"], 1) for m in e.measurements)
        assert not e.n or not [word for word in e.verdict.words.split()[:3] if len(word.partition(".")[2]) > 1]
        assert "Bayes" not in e.verdict.words


def test_value_that_is_better_than_the_limit_is_rounded_in_its_verdict_too(noisy: History) -> None:
    words = "score is 23.4567, better than [metric] limit 20.25, but 9.87654 in a clean clone: it cannot be repeated there"
    e = noisy.experiments[1]
    assert e.verdict is not None
    noisy.experiments[1] = replace(e, verdict=replace(e.verdict, words=words))
    verdict = Sight(noisy, noisy.decided)[1].verdict
    assert verdict.words == words.replace("23.4567", "23.5").replace("9.87654", "9.9")


def test_no_measurement_of_a_private_set_is_seen_and_the_own_ones_are_the_same(noisy: History) -> None:
    seen = Sight(noisy, noisy.decided)
    for e in [*seen, seen.incumbent, seen.baseline, seen.of(2), seen[-1], *seen[1:3]]:
        assert not [m for m in e.measurements if m.phase in UNSEEN]
        assert len(e.own) == len(noisy.experiments[e.n].own)
    assert "77.0" not in repr(list(seen))
    assert seen.run.validated is None


def test_proposers_of_ours_see_values_as_they_were_measured(noisy: History) -> None:
    seen = Sight(noisy, noisy.decided, exact=True)
    assert [e.value for e in seen] == [e.value for e in noisy.experiments]
    assert not [m for e in seen for m in e.measurements if m.phase in UNSEEN]


def test_values_of_an_exact_metric_are_not_rounded() -> None:
    bench = Bench(lambda step: 1.23456789 + step.of)
    bench.experiment()
    assert digits(bench.history) is None
    assert [e.value for e in Sight(bench.history, 1)] == [1.23456789, 2.23456789]


def test_what_was_covered_is_covered_anew_when_the_record_grows(noisy: History) -> None:
    seen: dict[Any, Any] = {}
    before = Sight(noisy, noisy.decided, seen=seen)[1]
    noisy.experiments[1] = replace(noisy.experiments[1], rolled_back=True)
    assert not before.rolled_back
    assert Sight(noisy, noisy.decided, seen=seen)[1].rolled_back


# -- what a private folder is pinned by ----------------------------------------------------------------------------------


def test_link_to_a_folder_is_part_of_what_a_private_folder_holds(tmp_path: Path) -> None:
    folder = tmp_path / "gate"
    folder.mkdir()
    (folder / "labels.csv").write_text("1,2\n")
    (folder / "current").symlink_to("../first")
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    before = digest_of(folder)
    (folder / "current").unlink()
    (folder / "current").symlink_to("../second")
    assert digest_of(folder) != before
