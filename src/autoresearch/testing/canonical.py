"""The canonical form of a ledger: what "the same run" means, whatever the timing, the workers and the kills."""

from __future__ import annotations

from typing import Any

from autoresearch.contracts import Ledger
from autoresearch.records import Experiment, Measurement


def canonical(ledger: Ledger, run: str) -> dict[str, Any]:
    """Experiments with their measurements and verdicts, and the sequence of trees on the branch.

    Times, costs, processes, attempts and commit ids are outside it, and the final comparisons, of which each session's end
    may have one.
    """
    history = ledger.history(run)
    line = [e.body["tree"] for e in ledger.events(run) if e.kind in ("advanced", "rolled_back")]
    return {"experiments": [_experiment(e) for e in history.experiments if e.decided], "branch": line}


def _experiment(e: Experiment) -> dict[str, Any]:
    assert e.verdict is not None
    return {
        "n": e.n,
        "parents": list(e.parents),
        "operation": e.operation,
        "tree": e.tree,
        "verdict": e.verdict.kind.value,
        "reason": e.verdict.reason,
        "measurements": [_measurement(m) for m in e.measurements if m.phase != "final"],
    }


def _measurement(m: Measurement) -> dict[str, Any]:
    return {"of": m.of, "arm": m.arm, "index": m.index, "seed": m.seed, "values": dict(m.values)}
