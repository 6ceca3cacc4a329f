"""The search over constants: what it proposes, that it ends, and that it is no worse than Optuna's TPE on a sample."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch.errors import Exhausted
from autoresearch.proposers.constants import Knob, find
from autoresearch.proposers.knobs import Results, Search
from autoresearch.records import Experiment, Kind, Verdict

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "knobs.py"
SOURCE = """\
RATE = 0.1  # knob: log 1e-4..1
WIDTH = 64
NORM = False
KIND = "relu"  # knob: relu|gelu|tanh
"""


def experiment(n: int, value: float | None, *, kept: bool = False) -> Experiment:
    kind = Kind.KEEP if kept else Kind.DISCARD if value is not None else Kind.CRASH
    return Experiment(n, stage="decided", verdict=Verdict(kind, "x"), value=value)


def search(
    source: str, function: Callable[[dict[str, object]], float | None], steps: int
) -> tuple[list[dict[str, object]], Results]:
    """A greedy run of the search by itself; the points it proposed and all results."""
    knobs = find({"f.py": source})
    here: dict[str, object] = {k.name: k.value for k in knobs}
    results, engine, points = Results(), Search(), []
    best = function(here)
    assert best is not None
    results.add(here, experiment(0, best, kept=True))  # type: ignore[arg-type]
    for n in range(1, steps + 1):
        point = engine.next(knobs, here, results, [], minimize=True, rng=random.Random(n))  # type: ignore[arg-type]
        value = function(point)  # type: ignore[arg-type]
        kept = value is not None and value < best
        results.add(point, experiment(n, value, kept=kept))
        if kept:
            here, best = point, value  # type: ignore[assignment]
        points.append(point)
    return points, results  # type: ignore[return-value]


def inside(knob: Knob, value: object) -> bool:
    return value in knob.choices if knob.kind == "choice" else knob.low <= float(value) <= knob.high  # type: ignore[arg-type]


def test_points_are_in_range_of_the_right_type_and_never_the_same_twice() -> None:
    points, _ = search(SOURCE, lambda p: abs(float(str(p["RATE"])) - 0.01) + int(str(p["WIDTH"])) / 1e4, 60)
    knobs = {k.name: k for k in find({"f.py": SOURCE})}
    assert all(inside(knobs[name], value) for point in points for name, value in point.items())
    assert all(type(point[name]) is type(knobs[name].value) for point in points for name in point)
    assert len({tuple(point.values()) for point in points}) == 60


def test_each_constant_is_tried_alone_before_anything_else_switches_first() -> None:
    points, _ = search(SOURCE, lambda p: 1.0 if p["NORM"] is False and p["KIND"] == "relu" else 2.0, 4)
    default = {"RATE": 0.1, "WIDTH": 64, "NORM": False, "KIND": "relu"}
    changed = [[name for name in default if point[name] != default[name]] for point in points]
    assert sorted(map(len, changed)) == [1, 1, 1, 1]
    assert {changed[0][0], changed[1][0]} == {"NORM", "KIND"}
    assert {changed[2][0], changed[3][0]} == {"RATE", "WIDTH"}


def test_small_space_is_exhausted_after_every_setting_was_tried_once() -> None:
    source = 'A = True\nB = 1  # knob: 1..3\nC = "x"  # knob: x|y\n'
    points, results = search(source, lambda p: 1.0, 11)
    assert len({tuple(p.values()) for p in points}) == 11
    knobs = find({"f.py": source})
    with pytest.raises(Exhausted, match="space exhausted"):
        Search().next(knobs, {k.name: k.value for k in knobs}, results, [], minimize=True, rng=random.Random(0))


def test_what_is_under_way_counts_as_tried() -> None:
    knobs = find({"f.py": "A = True\n"})
    results = Results()
    results.add({"A": True}, experiment(0, 1.0, kept=True))
    with pytest.raises(Exhausted):
        Search().next(knobs, {"A": True}, results, [{"A": False}], minimize=True, rng=random.Random(0))


def test_crashes_are_results_too() -> None:
    points, _ = search(SOURCE, lambda p: None if p["NORM"] else float(str(p["RATE"])), 40)
    assert sum(bool(p["NORM"]) for p in points[10:]) < 20


def test_cache_does_not_change_the_answer() -> None:
    """A search that was told everything at once proposes what one that went along proposes."""

    def function(point: dict[str, object]) -> float:
        return (float(str(point["RATE"])) - 0.02) ** 2 + abs(int(str(point["WIDTH"])) - 100) / 1e3

    points, results = search(SOURCE, function, 40)
    knobs = find({"f.py": SOURCE})
    for n in (15, 25, 39):
        known, here = Results(), {k.name: k.value for k in knobs}
        for settings, e in results.rows[:n]:
            known.add(settings, e)
            here = settings if e.kept else here  # type: ignore[assignment]
        assert Search().next(knobs, here, known, [], minimize=True, rng=random.Random(n)) == points[n - 1]


def test_not_worse_than_tpe_on_a_sample_of_the_benchmark() -> None:
    argv = [sys.executable, str(BENCHMARK), "--seeds", "6", "--evaluations", "40"]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(json.loads(result.stdout)["functions"]) == 5
