"""What is shown of a run: the same figures for the terminal, `results.tsv`, exports and Python. Reads records only."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autoresearch.agenda import PAIRS
from autoresearch.errors import DiskFault
from autoresearch.expectations import Expectations, effect, expectations
from autoresearch.gains import MUCH, TRIED, Evidence, evidence, gain_of, gate
from autoresearch.history import History
from autoresearch.proposals import by_mutation, by_proposer
from autoresearch.records import Direction, Experiment, Gain, Kind
from autoresearch.taskfile.units import show_seconds
from autoresearch.text import counted, one_line, show_clock, show_usd

_STATUS = {
    Kind.KEEP: "keep",
    Kind.DISCARD: "discard",
    Kind.CRASH: "crash",
    Kind.TIMEOUT: "crash",
    Kind.INVALID: "discard",
}


MOST_SHARE = 10.0
"""A change of more than so many times the baseline is told in the metric's unit."""

MOST_FLAGGED = 8
"""Experiments that one line names."""


def show_number(value: float | None) -> str:
    """A metric's value for people: six digits that matter, none invented."""
    if value is None:
        return "-"
    if value != 0 and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.6g}"
    return f"{value:.6f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{value:.10g}"


def gain(value: float, reference: float, direction: Direction) -> float:
    """How much better `value` is than `reference`; positive is better."""
    return value - reference if direction == "maximize" else reference - value


def show_change(value: float | None, reference: float | None) -> str:
    """The change in per cent of the reference, with its sign: `−1.9 %`."""
    if value is None or not reference:
        return ""
    return f"{100 * (value - reference) / abs(reference):+.2f} %".replace("-", "−")


def counts(experiments: Iterable[Experiment]) -> dict[str, int]:
    """How many experiments had which kind of verdict, the baseline not counted; `open` have none."""
    found = dict.fromkeys(("keep", "discard", "crash", "timeout", "invalid", "open"), 0)
    for e in experiments:
        if e.n:
            found[e.verdict.kind.value if e.verdict else "open"] += 1
    return found


def show_counts(found: dict[str, int]) -> str:
    """`58 experiments: 4 kept, 47 discarded, 5 crashed, 2 invalid`."""
    total = sum(found.values()) - found["open"]
    words = (
        ("keep", "kept"),
        ("discard", "discarded"),
        ("crash", "crashed"),
        ("timeout", "timed out"),
        ("invalid", "invalid"),
    )
    parts = [f"{found[key]} {word}" for key, word in words if found[key] or key == "keep"]
    return f"{counted(total, 'experiment')}: {', '.join(parts)}"


def summary(history: History) -> dict[str, Any]:
    """A run's standing as plain data: what `status --json` prints and Python gets."""
    run = history.run
    assert run is not None
    base = history.experiments[0].value if history.experiments else None
    best = history.experiments[history.line[-1]] if history.line else None
    value, validated = (shown_value(history) if best else None), history.validated
    return {
        "run": run.run,
        "task": run.task,
        "status": run.status,
        "stop_reason": run.stop_reason,
        "stop_words": run.stop_words,
        "metric": run.metric,
        "direction": run.direction,
        "unit": run.unit,
        "baseline": base,
        "incumbent": value,
        "bar": history.incumbent.value if best else None,
        "incumbent_experiment": best.n if best else None,
        "claimed": gain(value, base, run.direction) if value is not None and base is not None else None,
        "validated": asdict(validated) if validated else None,
        "evidence": asdict(found) if (found := evidence(history)) else None,
        "gate": asdict(asked) if (asked := gate(history)) else None,
        "trust": asdict(history.agenda.trust) if history.agenda.trust else None,
        "counts": counts(history.experiments),
        "proposers": [asdict(share) for share in by_proposer(history)],
        "mutations": [asdict(share) for share in by_mutation(history)],
        "expectations": asdict(foreseen) if (foreseen := _expectations(history)) else None,
        "touched": sum(bool(e.touches) for e in history.experiments),
        "quarantined": [e.n for e in history.experiments if e.quarantined],
        "waiting": [e.n for e in history.waiting],
        "waits": [{"proposer": name, "until": w.until, "words": w.words} for name, w in history.agenda.waits.items()],
        "evaluations": history.evaluations,
        "cost_usd": history.cost_usd,
        "tokens": history.tokens,
        "branch": f"autoresearch/{run.run}",
        "worked_s": run.worked_s,
    }


def experiment_row(e: Experiment, history: History, *, held_out: bool = False) -> dict[str, Any]:
    """One experiment as plain data: a line of `export jsonl`, the answer of `show --json`.

    Args:
        held_out: with the numbers that checkpoints saw on the held-out set; the gate's are never shown.
    """
    closed = ("gate",) if held_out else ("gate", "held_out")
    validated = history.validated if history.line and history.line[-1] == e.n else None
    return {
        "n": e.n,
        "parents": list(e.parents),
        "operation": e.operation,
        "description": e.description,
        "proposer": e.proposer,
        "asked": e.asked,
        "mutation": e.mutation,
        "escalation": e.escalation,
        "hypothesis": e.hypothesis,
        "expected": e.expected,
        "effect": effect(history.as_of(history.decided), e) if e.decided else None,
        "model": e.model,
        "turns": e.turns,
        "verdict": e.verdict.kind.value if e.verdict else None,
        "reason": e.verdict.reason if e.verdict else None,
        "words": e.verdict.words if e.verdict else "",
        "value": e.value,
        "commit": e.commit,
        "kept_commit": e.kept_commit,
        "tree": e.tree,
        "lines": e.lines,
        "files": list(e.files),
        "origin": e.origin,
        "job": e.job,
        "gain": gain_of(e, history) if e.decided else None,
        "validated": asdict(validated) if validated else None,
        "rolled_back": e.rolled_back,
        "lost": e.lost,
        "cost_usd": e.cost_usd,
        "tokens": e.tokens,
        "notes": list(e.notes),
        "flags": [asdict(flag) for flag in e.flags],
        "touched": list(e.touches),
        "quarantined": e.quarantined,
        "measurements": [
            {**asdict(m), "outcome": m.outcome.value, "values": {} if m.phase in closed else dict(m.values)}
            for m in e.measurements
        ],
    }


def export_jsonl(history: History) -> Iterable[str]:
    for e in history.experiments:
        if e.decided:
            yield json.dumps(experiment_row(e, history), ensure_ascii=False)


# -- results.tsv, in Karpathy's columns --------------------------------------------------------------------------------


def tsv_header(metric: str) -> str:
    return f"commit\t{metric}\tmemory_gb\tstatus\tdescription\n"


def tsv_row(e: Experiment) -> str:
    """One decided experiment; a crash has zeros, as in Karpathy's table."""
    assert e.verdict is not None
    status = _STATUS[e.verdict.kind]
    value = e.value if e.value is not None and status != "crash" else 0.0
    number = f"{value:.6f}" if value == 0 or 1e-3 <= abs(value) < 1e9 else f"{value:.6g}"
    peaks = [m.peak_mb for m in e.measurements if m.peak_mb is not None]
    memory = (peaks[0] if peaks and status != "crash" else 0.0) / 1024
    words = (
        e.description
        if status != "discard" or e.verdict.kind is Kind.DISCARD
        else f"{e.description} (invalid: {e.verdict.reason})"
    )
    commit = (e.kept_commit or e.commit)[:7] or "-"
    return f"{commit}\t{number}\t{memory:.1f}\t{status}\t{one_line(words, 500)}\n"


class ResultsTable:
    """`results.tsv` of one run: brought up to date at start, one row appended after each decision."""

    def __init__(self, path: Path, history: History, metric: str) -> None:
        self._path, self._history, self._metric = path, history, metric
        self._rows = 0

    def restore(self) -> None:
        """Write the whole table anew."""
        rows = [tsv_row(e) for e in self._history.experiments if e.decided]
        partial = self._path.with_suffix(".partial")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(tsv_header(self._metric) + "".join(rows), encoding="utf-8")
            os.replace(partial, self._path)
        except OSError as error:
            raise DiskFault(f"cannot write {self._path}: {error.strerror}") from error
        self._rows = len(rows)

    def take(self, e: Experiment) -> None:
        """Append the row of an experiment that was just decided."""
        if e.n != self._rows:
            return
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(tsv_row(e))
        except OSError as error:
            raise DiskFault(f"cannot write {self._path}: {error.strerror}") from error
        self._rows += 1


# -- words for the first and last lines --------------------------------------------------------------------------------


def decoy_lines(history: History) -> list[str]:
    """Who tampered, and how often decoys were only read."""
    caught = [str(e.n) for e in history.experiments if e.quarantined]
    touched = sum(bool(e.touches) for e in history.experiments)
    lines = [f"quarantined for tampering: {', '.join(caught)} (look: autoresearch show {caught[0]})"] if caught else []
    return [*lines, *([f"decoys touched in {counted(touched, 'experiment')}, harmless by itself"] if touched else [])]


def last_lines(history: History) -> Sequence[str]:
    """What a run says at its end."""
    run = history.run
    assert run is not None
    found = counts(history.experiments)
    ended = f"ended: {run.stop_words or run.stop_reason} · {show_counts(found)}{spent(history)}"
    if run.stop_reason == "baseline":
        return [ended, "next: autoresearch check --fix, which finds out what is missing"]
    go_on = [f"go on: autoresearch run {run.run}{_from(history)}"] if run.stop_reason == "quota" else []
    return [ended, *decoy_lines(history), *result_lines(history), *go_on]


def spent(history: History) -> str:
    """` · 8.12 USD`, or the tokens of models without a price; `` where nothing was paid."""
    if history.cost_usd:
        return f" · {show_usd(history.cost_usd)}"
    return f" · {counted(history.tokens, 'token')}" if history.tokens else ""


def _from(history: History) -> str:
    """From when on it is worth it, where that is known."""
    told = [wait.until for wait in history.agenda.waits.values() if wait.told]
    assert history.run is not None
    return f" (from {show_clock(min(told), history.run.last_at)} on)" if told else ""


def waiting_lines(history: History, now: float) -> list[str]:
    """Models that cannot be had now, and until when they are waited for."""
    waits = [wait for wait in history.agenda.waits.values() if wait.until > now]
    return [f"waiting until {show_clock(wait.until, now)}: {wait.words}" for wait in waits]


def result_lines(history: History) -> list[str]:
    """The gain, whether it is validated, and where to go from here."""
    run = history.run
    assert run is not None
    if not history.line or history.experiments[0].value is None:
        return []
    lines = standing_lines(history)
    if len(history.line) == 1:
        return [*lines, "look: autoresearch log"]
    return [*lines, f"look: autoresearch log · merge: git merge autoresearch/{run.run}"]


def standing_lines(history: History) -> list[str]:
    """The headline, what is missing to it, and what stands behind it."""
    lines = [headline(history)]
    if len(history.line) > 1 and history.validated is None:
        failed = f" ({history.agenda.failed})" if history.agenda.failed else ""
        lines.append(f"not validated: {validation(history)}{failed}")
    if (asked := gate(history)) is not None:
        lines.append(f"gate: {asked.queries} of {asked.most} queries, {asked.passed} passed")
    found = evidence(history)
    lines += [] if found is None else evidence_lines(found, history)
    return [*lines, *proposal_lines(history), *review_lines(history)]


def proposal_lines(history: History) -> list[str]:
    """Who proposed what, where several did, and how well expectations did."""
    shares, foreseen = by_proposer(history), _expectations(history)
    lines = [f"by: {' · '.join(share.words for share in shares)}"] if len(shares) > 1 else []
    return [*lines, *([foreseen.words] if foreseen is not None else [])]


def _expectations(history: History) -> Expectations | None:
    return expectations(history.as_of(history.decided)) if history.experiments else None


def foreseen_words(e: Experiment, history: History) -> str:
    """`expected −1.0 %, measured −0.32 %`: the effect that was expected of one experiment, `` where none was."""
    if e.expected is None:
        return ""
    made = effect(history.as_of(history.decided), e) if e.decided else None
    words = f"expected {100 * e.expected:+.2g} %" + ("" if made is None else f", measured {100 * made:+.2g} %")
    return words.replace("-", "−")


def review_lines(history: History) -> list[str]:
    """What a person should look at: keeps that wait for him, and keeps whose diffs have flags."""
    lines, waiting = [], history.waiting
    if waiting:
        what = "1 keep waits" if len(waiting) == 1 else f"{len(waiting)} keeps wait"
        numbers = " ".join(str(e.n) for e in waiting)
        look = f"autoresearch show {waiting[0].n}, autoresearch approve {numbers}"
        lines.append(f"{what} for you: {_flagged(waiting)}; {look}")
    flagged = [e for e in map(history.experiments.__getitem__, history.line[1:]) if e.flags]
    if flagged:
        lines.append(f"look at these first: {_flagged(flagged)}; autoresearch show {flagged[0].n}")
    return lines


def _flagged(found: Sequence[Experiment]) -> str:
    """`3 (import, seeds), 7 (tests)`."""
    told = [f"{e.n} ({show_flags(e) or 'no flags'})" for e in found]
    return ", ".join(told[:MOST_FLAGGED]) + (f" and {len(told) - MOST_FLAGGED} more" if len(told) > MOST_FLAGGED else "")


def show_flags(e: Experiment) -> str:
    """The names of a diff's flags, each once."""
    return ", ".join(dict.fromkeys(flag.name for flag in e.flags))


def evidence_lines(found: Evidence, history: History) -> list[str]:
    """Keeps, noise and the usual rule's answer, in words."""
    assert history.run is not None
    lines = []
    if found.expected_false is not None and found.kept and found.rule != "exact":
        races = f"{counted(found.races, 'candidate')} measured again"
        simpler = f", {found.simpler} kept for fewer lines" if found.simpler else ""
        bound = f"at most {found.expected_false:.1f} expected to be no gain ({races})"
        lines.append(
            f"of {found.kept - found.simpler} kept for a gain, {bound}{simpler}"
            if simpler
            else f"of {found.kept} kept, {bound}"
        )
    if found.sd:
        lines.append(noise_line(found, history))
    if found.repeats > MUCH:
        words = f"repeats took {100 * found.repeats:.0f} % of the evaluations"
        lines.append(f"{words}: a longer evaluation, or the mean over several seeds, would find more")
    if found.replay is not None:
        base = history.experiments[0].value
        claim = _change_of(found.replay.claimed, base, history.run.direction)
        kept = f"kept {found.replay.kept} of these proposals and claimed {claim}"
        lines.append(f"the usual keep-if-better rule would have {kept}")
    if found.small:
        numbers = ", ".join(map(str, found.small))
        words = "small gains that add lines; autoresearch reject N tries the result without one"
        lines.append(f"lines for little: {numbers} ({words})")
    return lines


def noise_line(found: Evidence, history: History) -> str:
    """`noise: sd 0.0004 · gains below 0.001 cannot be seen`."""
    assert found.sd is not None
    line = f"noise: sd {found.sd:.2g} · gains below {found.detectable or 0.0:.2g} cannot be seen"
    if found.drifts:
        line += " · the machine drifts: what was measured a while ago counts for less"
    elif not found.kept and history.decided >= TRIED:
        line += ", and none was found: evaluate longer, or over several seeds"
    return line


def validation(history: History) -> str:
    """The command of the final comparison, and what it will cost."""
    method = history.agenda.method
    pairs = 1 if history.exact else (method.pairs if method is not None else 0) or PAIRS
    arms = history.experiments[0].own, history.experiments[history.line[-1]].own
    each = [sum(m.duration_s for m in own) / len(own) for own in arms if own]
    return f"autoresearch validate ({counted(2 * pairs, 'evaluation')}, {show_seconds(max(1.0, pairs * sum(each)))})"


def shown_value(history: History) -> float | None:
    """The incumbent's value that compares with the baseline's: as measured on the way, or both as measured again."""
    e = history.experiments[history.line[-1]]
    return history.agenda.bars.get(e.n, e.value) if history.experiments[0].base else e.value


def headline(history: History) -> str:
    """The gain: validated where there was a final comparison; beside it the running claim, called what it is."""
    run = history.run
    assert run is not None
    if not history.line:
        return f"{run.metric}: the baseline is not measured yet, no validated gain"
    e, g, base = history.experiments[history.line[-1]], history.validated, history.experiments[0].value
    if e.n == 0:
        return f"{run.metric} {show_number(base)}: nothing beat the baseline, no validated gain"
    if g is not None:
        kind = ("validated" if g.low > 0 else "no validated gain") + (" on held-out" if g.held_out else "")
        shown = shown_value(history)
        claimed = 0.0 if shown is None or base is None else gain(shown, base, run.direction)
        is_same = g.pairs == 1 and not g.held_out
        claim = "" if is_same else f" · claimed on the way: {_change_of(claimed, base, run.direction)} (optimistic)"
        return f"{kind}: {run.metric} {_validated(g, base, run.direction)}{claim}"
    value = shown_value(history)
    machines = {m.machine for own in (history.experiments[0].own, e.own) for m in own if m.machine}
    where = "on the way, on different machines" if len(machines) > 1 and value == e.value else "on the way"
    change = "" if value is None or base is None else f" ({_change_of(gain(value, base, run.direction), base, run.direction)})"
    claim = f"{run.metric} {show_number(base)} → {show_number(value)}{change} as measured {where}"
    return f"{claim}: optimistic, not yet validated"


def _is_share(change: float, base: float | None) -> bool:
    """Whether a change is told in per cent of the baseline: not where that is 0, or so near to it that it says nothing."""
    return bool(base) and abs(change) <= MOST_SHARE * abs(base or 0.0)


def _change_of(gained: float, base: float | None, direction: Direction) -> str:
    """A gain as the change of the metric: in per cent of the baseline, or in its unit."""
    change = gained if direction == "maximize" else -gained
    if base is None or not _is_share(change, base):
        return f"{change:+.6g}".replace("-", "−")
    return show_change(base + change, base)


def _validated(g: Gain, base: float | None, direction: Direction) -> str:
    """A final comparison as the change of the metric: in per cent of the baseline, or in its unit."""
    sign, base = 1 if direction == "maximize" else -1, base if g.base is None else g.base
    share = _is_share(max(abs(g.low), abs(g.high)), base)
    scale = 100 / abs(base) if share and base else 1.0
    low, high = sorted((sign * scale * g.low, sign * scale * g.high))
    unit, form = (" %", "+.2f") if share else ("", "+.6g")
    change = f"{sign * scale * g.mean + 0.0:{form}}{unit}"
    interval = f" [{g.level * 100:.0f} %: {low:{form}}, {high:{form}}]" if g.pairs > 1 else ""
    of = counted(g.pairs, "pair") if g.pairs > 1 or g.held_out else "measured again: the same bits"
    return f"{change}{interval}".replace("-", "−") + f" against the baseline, {of}"
