"""One evaluation on data that proposers never see: keep or discard, and no number.

A candidate that would be kept is measured on the gate's set once, and must be no worse there than the incumbent by more than
one evaluation's noise. The incumbent's value there is its own from when it was the candidate, the baseline's from the start of
the run. All evaluations of the gate have one seed, the baseline's first.
"""

from __future__ import annotations

from collections.abc import Iterator

from autoresearch.bench import Bench
from autoresearch.books import Books, Ended
from autoresearch.budget import Ending
from autoresearch.history import History, gate_queries
from autoresearch.records import Experiment, Kind, Measure, Measurement, Outcome, Verdict


async def ask(books: Books, bench: Bench, n: int, verdict: Verdict) -> Verdict | None:
    """The verdict that is in the way of keeping experiment n, or None.

    Raises:
        Ended: the queries are used up, or the gate's command fails on what was kept before.
    """
    if books.options.gate is None:
        return None
    own = _own(books.experiment(n))
    if own is None:
        _refuse_beyond(books, n)
    bar = await incumbent(books, bench, n)
    own = own or await bench.measure(n, _step(books, n, "candidate"))
    if own.outcome is Outcome.TAMPERING:
        return Verdict(Kind.INVALID, "tampering", own.words)
    if not own.ok:
        return Verdict(Kind.DISCARD, "gate", f"the gate's evaluation failed: {own.words}", verdict.value)
    return None if _passes(books, own, bar) else Verdict(Kind.DISCARD, "gate", "the gate says no", verdict.value)


async def begin(books: Books, bench: Bench) -> None:
    """Measure the baseline on the sets that nobody sees, so that a command that fails is not found out at the end.

    Raises:
        Ended: one of them fails.
    """
    if books.options.gate is not None:
        await incumbent(books, bench, 0)
    if books.options.held_out is not None:
        e = books.experiment(0)
        known = [m for m in e.measurements[e.base :] if m.phase == "held_out" and m.ok]
        if not known:
            _refuse_broken("held_out", await bench.measure(0, Measure(0, "baseline", e.own[0].seed, "held_out")))


async def incumbent(books: Books, bench: Bench, n: int) -> Measurement:
    """The incumbent's evaluation on the gate: the one that there is, or a new one in the record of experiment n.

    Raises:
        Ended: it fails.
    """
    history = books.history
    of, here = history.incumbent.n if history.line else 0, history.agenda.machine
    for m in _made(history):
        if m.of == of and m.ok and (here is None or m.machine in ("", here.id)):
            return m
    found = await bench.measure(n, _step(books, of, "incumbent" if history.line else "baseline"))
    _refuse_broken("gate", found)
    return found


def _made(history: History) -> Iterator[Measurement]:
    """The gate's evaluations that compare with those of now, the newest first."""
    since = max((again.after for again in history.agenda.refreshes if again.anew), default=-1)
    for e in reversed(history.experiments[since + 1 :]):
        yield from (m for m in reversed(e.measurements[e.base :]) if m.phase == "gate")


def _own(e: Experiment) -> Measurement | None:
    """The candidate's evaluation, where a killed session made it."""
    found = [m for m in e.measurements[e.base :] if m.phase == "gate" and m.of == e.n]
    return found[-1] if found else None


def _step(books: Books, of: int, arm: str) -> Measure:
    return Measure(of, arm, books.experiment(0).own[0].seed, "gate")


def _passes(books: Books, own: Measurement, bar: Measurement) -> bool:
    settings, method = books.options.settings, books.history.agenda.method
    noise = (method.sd or 0.0) if method is not None and not books.history.exact else 0.0
    gain = settings.sign() * (own.values[settings.metric] - bar.values[settings.metric])
    return gain >= -noise


def _refuse_beyond(books: Books, n: int) -> None:
    """Raises: Ended: all queries are used up."""
    assert books.options.gate is not None
    most, made = books.options.gate.queries, gate_queries(books.history)
    if most and made >= most:
        words = f"experiment {n} wants to ask the gate, and {made} of {most} queries are used: raise [gate] queries"
        raise Ended(Ending("gate", words))


def _refuse_broken(table: str, m: Measurement) -> None:
    """Raises: Ended: the command of a set fails on what was good elsewhere."""
    if not m.ok:
        what = f"experiment {m.of}" if m.of else "the baseline"
        words = (
            f"[{table}] command itself fails, on {what}: {m.words or m.outcome.value}; `autoresearch check` shows what it says"
        )
        raise Ended(Ending("broken", words, 1))
