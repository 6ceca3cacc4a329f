"""What coming back rests on: the final comparison's statistics, versions in inputs, the agenda, orders that are refused."""

from __future__ import annotations

import json
import random
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoresearch import machine
from autoresearch.acceptance.final import Compared, compare
from autoresearch.acceptance.intervals import interval
from autoresearch.acceptance.single import Single
from autoresearch.contracts import Settings, Situation
from autoresearch.errands import order
from autoresearch.errors import SetupError
from autoresearch.history import History
from autoresearch.ledger import MemoryLedger
from autoresearch.records import Compare, Done, Event, Gain, Measure, Reach
from autoresearch.report import headline, result_lines
from autoresearch.testing.ledgers import experiment, start


def note(what: str, n: int | None = None, **details: Any) -> Event:
    return Event("note", n, {"what": what, **details})


def ledger_of(*events: Event) -> MemoryLedger:
    ledger = MemoryLedger()
    ledger.append("r", start(), *experiment(0, value=10.0), *experiment(1, value=9.0), *experiment(2, "discard", 11.0), *events)
    return ledger


def history_of(*events: Event) -> History:
    return ledger_of(*events).history("r")


# -- the interval ------------------------------------------------------------------------------------------------------


def test_interval_is_student_t() -> None:
    gain = interval([1.0, 2.0, 3.0])
    assert (gain.mean, gain.pairs, gain.level) == (2.0, 3, 0.9)
    assert gain.high - gain.mean == pytest.approx(2.919986 * 1.0 / 3**0.5)
    assert gain.mean - gain.low == pytest.approx(gain.high - gain.mean)


@pytest.mark.parametrize("pairs", [3, 6, 8])
def test_interval_covers_the_true_gain_nine_times_out_of_ten(pairs: int) -> None:
    draw = random.Random(pairs)
    covered = 0
    for _ in range(4000):
        gain = interval([draw.gauss(0.3, 1.0) for _ in range(pairs)])
        covered += gain.low <= 0.3 <= gain.high
    assert covered / 4000 == pytest.approx(0.9, abs=0.02)


# -- the comparison's order --------------------------------------------------------------------------------------------


def measured(ledger: MemoryLedger, step: Measure, value: float, outcome: str = "ok") -> None:
    body = {"of": step.of, "arm": step.arm, "index": 0, "seed": step.seed, "phase": step.phase, "outcome": outcome}
    ledger.append("r", Event("measured", 0, {**body, "values": {"score": value} if outcome == "ok" else {}, "words": "no"}))


def situation(ledger: MemoryLedger, direction: Any = "minimize") -> Situation:
    history = ledger.history("r")
    return Situation("final", Settings("score", direction), history.experiments[0], history.incumbent, history)


def test_pairs_alternate_share_their_seed_and_end_with_the_gain() -> None:
    ledger = ledger_of(note("validate", of=1, pairs=3, first=1))
    steps: list[Measure] = []
    while isinstance(step := Compared(Single()).next(situation(ledger)), Measure):
        steps.append(step)
        measured(ledger, step, 9.0 + 0.1 * len(steps) if step.of else 10.0)
    assert [s.of for s in steps] == [1, 0, 0, 1, 1, 0]
    assert [s.seed for s in steps[::2]] == [s.seed for s in steps[1::2]]
    assert isinstance(step, Done)
    assert step.validated is not None
    assert step.validated.mean == pytest.approx(statistics.fmean([0.9, 0.6, 0.5]))


def test_gain_of_a_metric_to_be_maximized_is_positive_when_it_is_higher() -> None:
    ledger = ledger_of(note("validate", of=1, pairs=3, first=1))
    while isinstance(step := compare(situation(ledger, "maximize")), Measure):
        measured(ledger, step, 12.0 if step.of else 10.0)
    assert step.validated == Gain(2.0, 2.0, 2.0, 3, base=10.0)


def test_evaluation_that_fails_in_the_comparison_is_made_once_more_and_then_ends_it() -> None:
    ledger = ledger_of(note("validate", of=1, pairs=3, first=1))
    step = compare(situation(ledger))
    assert isinstance(step, Measure)
    measured(ledger, step, 0.0, "exit")
    assert compare(situation(ledger)) == step
    measured(ledger, step, 0.0, "exit")
    found = compare(situation(ledger))
    assert isinstance(found, Done)
    assert found.validated is None
    assert "failed twice: candidate (experiment 1): no" in found.words


def test_comparison_that_was_begun_on_another_machine_begins_anew() -> None:
    ledger = ledger_of(note("method", rule="race", pairs=4), note("validate", of=1, pairs=3, first=1))
    body = {"of": 1, "arm": "candidate", "index": 0, "seed": 1, "phase": "final", "outcome": "ok", "values": {"score": 9.0}}
    ledger.append("r", Event("measured", 0, {**body, "machine": "there"}))
    ledger.append("r", note("machine", id="there", facts={}))
    assert isinstance(Compared(Single()).next(situation(ledger)), Measure)
    ledger.append("r", note("machine", id="here", facts={}))
    assert Compared(Single()).next(situation(ledger)) == Compare(3)


def test_comparison_begins_with_the_pairs_that_were_fixed_with_the_baseline() -> None:
    step = Compared(Single()).next(situation(ledger_of(note("method", rule="race", pairs=4))))
    assert step == Compare(4)
    begun_small = situation(ledger_of(note("method", rule="race", pairs=0)))
    assert Compared(Single()).next(begun_small) == Compare(6)  # it has no wall now
    still_small = replace(begun_small, settings=replace(begun_small.settings, reach=Reach(evaluations=9)))
    assert Compared(Single()).next(still_small) == Done()
    assert Compared(Single()).next(situation(ledger_of(note("method", rule="exact", pairs=1)))) == Compare(0)


def test_result_that_was_compared_is_not_compared_again() -> None:
    ledger = ledger_of(note("method", rule="race", pairs=4), stopped(Gain(0.19, 0.13, 0.25, 4)))
    assert Compared(Single()).next(situation(ledger)) == Done()


def test_exact_result_is_measured_once_more_and_has_to_give_the_same_bits() -> None:
    for value, validated in ((9.0, Gain(1.0, 1.0, 1.0, 1, base=10.0)), (9.5, None)):
        ledger = ledger_of(note("method", rule="exact", pairs=1), note("validate", of=1, pairs=0, first=1))
        step = compare(situation(ledger))
        assert isinstance(step, Measure)
        measured(ledger, step, value)
        found = compare(situation(ledger))
        assert isinstance(found, Done)
        assert found.validated == validated


# -- what is shown -----------------------------------------------------------------------------------------------------


def stopped(gain: Gain, of: int = 1) -> Event:
    body = {"mean": gain.mean, "low": gain.low, "high": gain.high, "pairs": gain.pairs, "level": gain.level}
    more = {"worked_s": 1.0, "validated": body, "validated_of": of}
    return Event("run_stopped", None, {"status": "finished", "reason": "experiments", "words": "made", **more})


def test_headline_is_the_change_of_the_metric_with_its_interval() -> None:
    history = history_of(stopped(Gain(0.19, 0.13, 0.25, 6)))
    assert headline(history) == (
        "validated: score −1.90 % [90 %: −2.50, −1.30] against the baseline, 6 pairs"
        " · claimed on the way: −10.00 % (optimistic)"
    )


def test_change_far_above_the_baseline_is_told_in_the_unit() -> None:
    ledger = MemoryLedger()
    stop = stopped(Gain(3.0, 2.5, 3.5, 6))
    ledger.append("r", start(), *experiment(0, value=0.001), *experiment(1, value=-3.1), stop)
    words = headline(ledger.history("r"))
    assert (
        words
        == "validated: score −3 [90 %: −3.5, −2.5] against the baseline, 6 pairs · claimed on the way: −3.101 (optimistic)"
    )


def test_share_is_of_the_baseline_that_was_measured_beside_it() -> None:
    gain = Gain(0.4, 0.3, 0.5, 6)
    body = {"mean": 0.4, "low": 0.3, "high": 0.5, "pairs": 6, "level": 0.9, "base": 20.0}
    more = {"worked_s": 1.0, "validated": body, "validated_of": 1}
    history = history_of(Event("run_stopped", None, {"status": "finished", "reason": "final", "words": "made", **more}))
    assert history.validated is not None
    assert (history.validated.mean, history.validated.base) == (gain.mean, 20.0)
    assert headline(history).startswith("validated: score −2.00 % [90 %: −2.50, −1.50] against the baseline")


def test_interval_with_zero_in_it_is_no_validated_gain() -> None:
    assert headline(history_of(stopped(Gain(0.19, -0.13, 0.51, 6)))).startswith("no validated gain: score −1.90 % [90 %: ")


def test_validation_of_another_incumbent_does_not_count() -> None:
    history = history_of(stopped(Gain(0.19, 0.13, 0.25, 6)), *experiment(3, value=8.0))
    assert history.validated is None
    assert any(line.startswith("not validated: autoresearch validate (12 evaluations, ") for line in result_lines(history))


# -- the agenda --------------------------------------------------------------------------------------------------------


def test_refreshed_value_is_the_bar_and_the_record_stays() -> None:
    history = history_of(note("machine", id="m", facts={}, due=["cpu: a → b"]), note("refreshed", experiment=1, value=9.5))
    assert (history.incumbent.value, history.experiments[1].value, history.experiments[0].value) == (9.5, 9.0, 10.0)
    assert history.agenda.due == ()


def test_baseline_measured_again_has_both_values() -> None:
    history = history_of(note("remeasure", 0), note("remeasured", 0, value=20.0), note("refreshed", experiment=1, value=18.0))
    baseline = history.experiments[0]
    assert (baseline.value, baseline.verdict and baseline.verdict.value, baseline.own) == (20.0, 10.0, ())
    assert not history.agenda.remeasuring


def test_candidates_to_be_tried_again_come_in_order_and_each_once() -> None:
    events = [note("revive", experiment=2), note("revive", experiment=1)]
    history = history_of(*events)
    assert history.agenda.wanted == [2, 1]
    asked = Event("asked", 3, {"parents": [0], "operation": "improve"})
    history = history_of(*events, asked, Event("proposed", 3, {"description": "d", "origin": 2, "parents": [1]}))
    assert history.agenda.wanted == [1]
    assert (history.experiments[3].origin, history.experiments[3].parents) == (2, (1,))


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("revive", {"experiment": 0}, "expected 1 to 2"),
        ("reject", {"experiment": 2}, r"was not kept: expected one of the keeps on the line \(1\)"),
        ("idea", {"text": " \n"}, "an empty idea"),
        ("idea_done", {"idea": 1}, "there is none yet"),
        ("dance", {}, "does not know 'dance'"),
    ],
)
def test_order_that_makes_no_sense_is_refused_with_what_was_expected(kind: str, body: dict[str, Any], words: str) -> None:
    with pytest.raises(SetupError, match=words):
        order(history_of(), kind, body)


def test_order_that_stands_already_is_not_recorded_twice() -> None:
    assert order(history_of(note("revive", experiment=2)), "revive", {"experiment": 2})[0] is None
    assert order(history_of(note("reject", experiment=1)), "reject", {"experiment": 1})[0] is None


# -- the machine -------------------------------------------------------------------------------------------------------


def test_versions_of_a_python_environment_and_of_node_modules(tmp_path: Path) -> None:
    site = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages"
    for name in ("numpy-2.0.1", "anyio-4.1"):
        (site / f"{name}.dist-info").mkdir(parents=True)
    assert machine.versions(tmp_path / ".venv") == "anyio-4.1\nnumpy-2.0.1"
    node = tmp_path / "node_modules"
    node.mkdir()
    packages = {"node_modules/left-pad": {"version": "1.3.0"}, "node_modules/a/node_modules/@b/c": {"version": "2.0.0"}}
    (node / ".package-lock.json").write_text(json.dumps({"packages": packages}))
    assert machine.versions(node) == "@b/c-2.0.0\nleft-pad-1.3.0"
    (node / ".package-lock.json").write_text("{")
    assert machine.versions(node) == ""
    assert machine.versions(tmp_path) == machine.versions(tmp_path / "no such") == ""


def test_gpus_are_what_nvidia_smi_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine._gpus() == {}
    program.write_text("#!/bin/sh\necho 'NVIDIA A100, 80GB, 550.1'\necho 'NVIDIA A100, 80GB, 550.1'\n")
    program.chmod(0o755)
    assert machine._gpus() == {"gpu": "NVIDIA A100, 80GB, NVIDIA A100, 80GB", "driver": "550.1"}
    program.write_text("#!/bin/sh\nexit 9\n")
    assert machine._gpus() == {}


def test_differences_are_one_line_each() -> None:
    before, now = {"cpu": "A", "cores": "2", "gpu": "G"}, {"cpu": "B", "cores": "2", "driver": "1"}
    assert machine.differences(before, now) == ["cpu: A → B", "gpu: G → none", "driver: none → 1"]
