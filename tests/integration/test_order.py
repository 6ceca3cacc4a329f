"""The same replies give the same ledger, whatever the number of workers and the timing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.conftest import TASK, Toy

from autoresearch.choice import Wish
from autoresearch.records import Kind
from autoresearch.testing import Patch, canonical

SLEEPY = """\
import pathlib, time
value = sum(float(p.read_text()) for p in sorted(pathlib.Path("extra").glob("*.txt")))
time.sleep((value * 7919 % 13) / 100)
print(f"score: {value}")
"""
# by number: which of five files, and its value (100 at first); keeps on one file make those in flight on others stale
SCRIPT = [(0, 90), (1, 95), (2, 120), (3, 80), (0, 85), (4, 99), (1, 94), (2, 99), (0, 70), (3, 70), (4, 50), (2, 98), (0, 60)]


def script(brief: Any) -> Patch:
    name, value = SCRIPT[brief.n - 1]
    return Patch({f"extra/{name}.txt": f"{value}\n"}, f"{name} {value}")


def one_run(make_toy: Callable[..., Toy], workers: int) -> dict[str, Any]:
    files = {f"extra/{i}.txt": "100\n" for i in range(5)}
    toy = make_toy({"evaluate.py": SLEEPY, **files}, task=TASK + "\n[budget]\nexperiments = 13\n")
    toy.run(script, wish=Wish(name="order", seed=3, lag=8, evaluations=workers, proposals=workers))
    ledger = toy.project.ledger(read_only=True)
    found = canonical(ledger, "order")
    ledger.close()
    return found


def test_one_two_and_eight_workers_give_the_same_ledger(make_toy: Callable[..., Toy]) -> None:
    one, two, eight = (one_run(make_toy, workers) for workers in (1, 2, 8))
    assert one == two == eight
    assert len(one["experiments"]) == 14
    assert len(one["branch"]) == 3
    assert "stale" in [e["reason"] for e in one["experiments"]]
    assert any(len(e["measurements"]) == 2 for e in one["experiments"][1:])


def test_stale_candidate_is_rebased_and_measured_again_before_it_is_kept(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy({"extra/a.txt": "a\n"}, task=TASK.replace("evaluate.py", "sum.py"))
    toy.write(
        {"sum.py": "from pathlib import Path\nprint('score:', sum(float(p.read_text()) for p in Path('extra').glob('*')))\n"}
    )
    toy.write({"extra/a.txt": "10\n", "extra/b.txt": "10\n"})
    toy.commit()
    toy.run([Patch({"extra/a.txt": "9\n"}), Patch({"extra/b.txt": "8\n"})], wish=Wish(name="stale", lag=2, proposals=1))
    first, second = toy.history().experiments[1:3]
    assert first.kept
    assert second.kept
    assert second.rebased
    assert [m.values["score"] for m in second.measurements] == [18.0, 17.0]
    assert toy.git("show", "autoresearch/stale:extra/a.txt") == "9\n"
    assert toy.git("show", "autoresearch/stale:extra/b.txt") == "8\n"


def test_stale_candidate_that_does_not_apply_is_discarded(toy: Toy) -> None:
    toy.run([Patch({"knob.txt": "9\n"}), Patch({"knob.txt": "8\n"})], wish=Wish(name="stale", lag=2))
    second = toy.history().experiments[2]
    assert second.verdict is not None
    assert (second.verdict.kind, second.verdict.reason) == (Kind.DISCARD, "stale")


@pytest.mark.parametrize("lag", [1, 4])
def test_ask_sees_the_ledger_as_of_the_decision_lag_before(toy: Toy, lag: int) -> None:
    seen: list[tuple[int, int]] = []

    def watchful(brief: Any) -> Patch:
        seen.append((brief.n, len(brief.view) - 1))
        return Patch({"knob.txt": f"{100 + brief.n}\n"})

    toy.run(watchful, wish=Wish(experiments=8, lag=lag))
    assert seen == [(n, max(0, n - lag)) for n in range(1, 9)]
