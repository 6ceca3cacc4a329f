"""Experiments as a pandas table. pandas is imported when a table is asked for, and not needed otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from autoresearch.errors import SetupError
from autoresearch.records import Experiment

if TYPE_CHECKING:
    import pandas

_TYPES = {
    "n": "int64",
    "parent": "Int64",
    "verdict": "string",
    "reason": "string",
    "value": "float64",
    "kept": "bool",
    "duration_s": "float64",
    "cost_usd": "float64",
    "tokens": "int64",
    "proposer": "string",
    "description": "string",
    "decided_at": "datetime64[ns, UTC]",
}


def to_frame(experiments: Sequence[Experiment]) -> pandas.DataFrame:
    """One row a decided experiment, in order: what it was, its verdict, its number, each metric of its last measurement.

    `kept` is false again for a keep that was rolled back. A metric that goes by the name of a column is `metric_<name>`.

    Raises:
        SetupError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise SetupError("to_pandas needs pandas, which is not installed: pip install pandas") from error
    experiments = [e for e in experiments if e.decided]
    rows = [_row(e) for e in experiments]
    metrics = list(dict.fromkeys(name for e in experiments for name in _values(e)))
    table = {key: pandas.Series([row[key] for row in rows], dtype=kind) for key, kind in _TYPES.items()}
    for name in metrics:
        found = [_values(e).get(name, float("nan")) for e in experiments]
        table[f"metric_{name}" if name in _TYPES else name] = pandas.Series(found, dtype="float64")
    return pandas.DataFrame(table)


def _values(e: Experiment) -> dict[str, float]:
    own = e.own
    return dict(own[-1].values) if own else {}


def _row(e: Experiment) -> dict[str, Any]:
    return {
        "n": e.n,
        "parent": e.parents[0] if e.parents else None,
        "verdict": e.verdict.kind.value if e.verdict else "",
        "reason": e.verdict.reason if e.verdict else "",
        "value": float("nan") if e.value is None else e.value,
        "kept": e.kept and not e.rolled_back,
        "duration_s": sum(m.duration_s for m in e.measurements if m.of == e.n),
        "cost_usd": e.cost_usd,
        "tokens": e.tokens,
        "proposer": e.proposer,
        "description": e.description,
        "decided_at": datetime.fromtimestamp(e.decided_at, UTC) if e.decided_at else None,
    }
