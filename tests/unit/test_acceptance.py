"""Every shipped rule passes the conformance suite; and a toy rule shows that the contract carries all that is to come."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from autoresearch import optimize
from autoresearch.api import Result
from autoresearch.errors import SetupError, UnknownName
from autoresearch.testing.acceptances import AcceptanceConformance

TOY = "autoresearch.testing.acceptances:ToyRace"


class TestRules(AcceptanceConformance):
    @pytest.fixture(params=["auto", "exact", "bayes", "race", "margin", "single", TOY])
    def acceptance(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)


def noisy(sd: float, values: list[float], rule: str) -> Result:
    """States walk through `values`; the score has noise of that deviation."""
    rng = random.Random(5)
    steps = iter(values)
    return optimize(
        [0.0, 0],
        fitness=lambda s: s[0] + rng.gauss(0, sd),
        propose=lambda s: [next(steps), s[1] + 1],
        experiments=len(values),
        acceptance=rule,
    )


def test_auto_takes_one_evaluation_an_experiment_when_two_baselines_agree() -> None:
    calls = []
    optimize(5, fitness=lambda s: calls.append(s) or s, propose=lambda s: s - 1, experiments=6)
    assert calls == [5, 5, 4, 3, 2, 1, 0, -1, -1]  # two baselines, six experiments, the result once more


def test_auto_measures_the_baseline_five_times_when_they_differ() -> None:
    calls = []
    optimize([0.0, 0], fitness=lambda s: calls.append(s) or random.random(), propose=lambda s: [9.0, 1], experiments=1)
    assert calls.count([0.0, 0]) >= 5


def test_margin_screens_gains_within_the_noise_and_keeps_those_beyond() -> None:
    result = noisy(0.1, [-0.05, -5.0], "margin")
    assert [t.reason for t in result.history][1:] == ["screened", "better"]


def test_tie_is_no_gain_in_exact_mode() -> None:
    fresh = itertools.count(1)
    result = optimize([1, 0], fitness=lambda s: s[0], propose=lambda s: [s[0], next(fresh)], experiments=2)
    assert [t.reason for t in result.history] == ["baseline", "tie", "tie"]


@pytest.mark.parametrize(("smallest", "first_kept"), [(0.5, False), ("5%", False), (0, True)])
def test_gain_not_above_min_effect_is_not_kept(smallest: float | str, first_kept: bool) -> None:
    steps = iter([9.6, 9.0])
    result = optimize(10.0, fitness=lambda s: s, propose=lambda s: next(steps), experiments=2, min_effect=smallest)
    assert [t.kept for t in result.history] == [True, first_kept, True]


def test_toy_race_interleaves_its_arms_and_validates_at_the_end(tmp_path: object) -> None:
    from autoresearch.ledger import SqliteLedger

    store = f"{tmp_path}/runs.db"
    steps = iter([9.0, 8.0])
    optimize(10.0, fitness=lambda s: s, propose=lambda s: next(steps), experiments=2, acceptance=TOY, store=store)
    ledger = SqliteLedger(store, read_only=True)  # type: ignore[arg-type]
    history = ledger.history("optimize-1")
    race = [(m.arm, m.seed) for m in history.experiments[1].measurements if m.phase == "race"]
    assert race == [("candidate", 0), ("incumbent", 0), ("incumbent", 1), ("candidate", 1)]
    final = [(m.arm, m.of) for m in history.experiments[0].measurements if m.phase == "final"]
    assert final == [("incumbent", 2), ("baseline", 0), ("baseline", 0), ("incumbent", 2)]
    assert history.run is not None
    assert history.run.validated is not None
    assert history.run.validated.mean == 2.0
    ledger.close()


def test_toy_race_rolls_back_to_the_checkpoint_when_the_keeps_do_not_hold() -> None:
    """The third keep's checkpoint finds the line worse than three keeps ago: the scores have drifted."""
    drift = {"by": 0.0}
    calls = {"n": 0}

    def fitness(state: float) -> float:
        calls["n"] += 1
        return state + (drift["by"] if state < 10 else 0.0)

    def propose(state: float, history: object) -> float:
        if len(history) == 4:  # type: ignore[arg-type]
            return 5.0
        return state - 1

    real = fitness

    def worsening(state: float) -> float:
        value = real(state)
        if state == 7 and calls["n"] > 19:  # the checkpoint's measurements of the third keep
            value += 100
        return value

    result = optimize(10.0, fitness=worsening, propose=propose, experiments=3, acceptance=TOY)
    assert result.state == 10.0
    assert [t.kept for t in result.history] == [True, False, False, False]


def test_unknown_rule_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'margin'"):
        optimize(1, fitness=lambda s: s, propose=lambda s: s, acceptance="margins")


@pytest.mark.parametrize(
    "setting",
    [{"alpha": 3.0}, {"alpha": 0.0}, {"max_repeats": 0}, {"min_effect": "much"}, {"noise": "loud"}, {"evaluations": -1}],
)
def test_setting_out_of_its_range_is_refused_with_its_value(setting: dict[str, Any]) -> None:
    with pytest.raises(SetupError, match=str(next(iter(setting.values())))):
        optimize(1, fitness=float, propose=lambda s: s, **setting)
