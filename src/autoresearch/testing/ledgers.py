"""Conformance suite for ledgers: inherit `LedgerConformance` and give one `ledger` fixture."""

from __future__ import annotations

from typing import Any

import pytest

from autoresearch.contracts import Ledger
from autoresearch.errors import LedgerError
from autoresearch.records import Event, Kind


def start(run: str = "r", direction: str = "minimize") -> Event:
    return Event(
        "run_started", None, {"task": "t", "metric": "score", "base": "b" * 40, "seed": 1, "direction": direction}, at=1.0
    )


def experiment(n: int, verdict: str = "keep", value: float = 1.5) -> list[Event]:
    """The events of one decided experiment."""
    measured = {
        "of": n,
        "arm": "candidate",
        "index": 0,
        "seed": 7,
        "phase": "first",
        "outcome": "ok",
        "values": {"score": value},
    }
    return [
        Event("asked", n, {"parents": [0] if n else [], "operation": "improve"}, at=2.0 + n),
        Event("proposed", n, {"description": f"idea {n}", "proposer": "p", "cost_usd": 0.25, "tokens": 10}, at=2.1 + n),
        Event("frozen", n, {"tree": f"tree{n}", "commit": f"commit{n}"}, at=2.2 + n),
        Event("measured", n, measured, at=2.3 + n),
        Event("decided", n, {"verdict": verdict, "reason": "better", "words": "", "value": value}, at=2.4 + n),
    ]


class LedgerConformance:
    """What every ledger does."""

    def test_history_is_what_the_events_add_up_to(self, ledger: Ledger) -> None:
        ledger.append("r", start(), *experiment(0))
        ledger.append("r", *experiment(1, "discard", 2.5))
        history = ledger.history("r")
        assert [e.description for e in history.experiments] == ["idea 0", "idea 1"]
        assert history.experiments[1].verdict is not None
        assert history.experiments[1].verdict.kind is Kind.DISCARD
        assert history.experiments[1].measurements[0].values == {"score": 2.5}
        assert (history.line, history.incumbents, history.evaluations) == ([0], [0, 0], 2)
        assert (history.cost_usd, history.tokens) == (0.5, 20)

    def test_history_is_live(self, ledger: Ledger) -> None:
        ledger.append("r", start())
        history = ledger.history("r")
        ledger.append("r", *experiment(0))
        assert history.decided == 0

    def test_rebuild_gives_the_same_experiments(self, ledger: Ledger) -> None:
        ledger.append("r", start(), *experiment(0), *experiment(1))
        before = list(ledger.history("r").experiments)
        assert ledger.rebuild() == 11
        assert ledger.history("r").experiments == before

    def test_chain_holds_and_is_per_run(self, ledger: Ledger) -> None:
        ledger.append("r", start(), *experiment(0))
        ledger.append("s", start("s"))
        ledger.append("r", *experiment(1))
        assert ledger.verify("r") == 11
        assert ledger.verify("s") == 1
        events = list(ledger.events("r"))
        assert [b.prev for b in events[1:]] == [a.hash for a in events[:-1]]

    def test_events_after_a_place(self, ledger: Ledger) -> None:
        ledger.append("r", start(), *experiment(0))
        events = list(ledger.events("r"))
        assert [e.kind for e in ledger.events("r", after=events[3].seq)] == ["measured", "decided"]

    def test_roll_back_takes_keeps_out_of_the_line(self, ledger: Ledger) -> None:
        ledger.append("r", start(), *experiment(0), *experiment(1), *experiment(2))
        ledger.append("r", Event("rolled_back", 2, {"to": 0, "words": "", "commit": "c", "tree": "t", "moved": True}))
        history = ledger.history("r")
        assert history.line == [0]
        assert [e.rolled_back for e in history.experiments] == [False, True, True]
        assert history.incumbent.n == 0

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_no_number_that_json_has_not(self, ledger: Ledger, value: float) -> None:
        ledger.append("r", start())
        with pytest.raises(ValueError):
            ledger.append("r", Event("note", None, {"what": "x", "value": value}))
        assert ledger.verify("r") == 1

    def test_transaction_is_whole_or_not_at_all(self, ledger: Ledger) -> None:
        ledger.append("r", start(), *experiment(0))
        with pytest.raises((ValueError, KeyError)):
            ledger.append("r", *experiment(1)[:3], Event("no such kind", 1, {}))
        assert ledger.verify("r") == 6
        assert len(ledger.history("r").experiments) == 1

    def test_runs_and_forget(self, ledger: Ledger) -> None:
        ledger.append("a", start("a"))
        ledger.append("b", start("b"), *experiment(0))
        assert [r.run for r in ledger.runs()] == ["a", "b"]
        ledger.forget("b")
        assert [r.run for r in ledger.runs()] == ["a"]
        with pytest.raises(LedgerError):
            ledger.verify("b")

    def test_files_by_their_hash(self, ledger: Ledger) -> None:
        key = ledger.put(b"body")
        assert ledger.put(b"body") == key
        assert ledger.get(key) == b"body"

    def test_requests_wait_for_their_answer(self, ledger: Ledger) -> None:
        ledger.append("r", start())
        request = ledger.request("r", "stop", {"finish": True})
        waiting: list[Any] = ledger.requests("r")
        assert [(r.id, r.kind, r.body) for r in waiting] == [(request, "stop", {"finish": True})]
        assert ledger.answered(request) is None
        ledger.answer(request, {"ok": True})
        assert ledger.requests("r") == []
        assert ledger.answered(request) == {"ok": True}

    def test_stopped_session_is_charged_and_a_killed_one_up_to_its_last_event(self, ledger: Ledger) -> None:
        ledger.append("r", start())
        ledger.append("r", Event("run_stopped", None, {"status": "open", "reason": "stopped", "worked_s": 5.0}, at=6.0))
        ledger.append("r", Event("run_started", None, {}, at=100.0))
        ledger.append("r", Event("note", None, {"what": "x"}, at=103.0))
        ledger.append("r", Event("run_started", None, {}, at=200.0))
        run = ledger.history("r").run
        assert run is not None
        assert run.worked_s == pytest.approx(8.0)
