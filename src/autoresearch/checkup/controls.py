"""Two controls of the evaluation itself: the unchanged code must not win, and broken code must not pass.

The unchanged code is presented as a candidate to the task's own acceptance rule, in a ledger that is thrown away. Broken
code that still measures, and better, must be caught by a guard, a check or the limit.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autoresearch import acceptance
from autoresearch.assembly import importable
from autoresearch.books import method_notes
from autoresearch.checkup.breakage import CODE, Breakage, ruined
from autoresearch.checkup.measure import Say, Sealed
from autoresearch.contracts import Situation
from autoresearch.folding import measured_body
from autoresearch.guards import broken
from autoresearch.history import History
from autoresearch.ledger import MemoryLedger
from autoresearch.noise import DETECTABLE
from autoresearch.records import Event, Measure, Measurement, Outcome, Readout, Verdict
from autoresearch.taskfile.units import show_seconds
from autoresearch.text import counted

TIMES = 2
"""So often the unchanged code has to win before it is more than chance."""
_PATIENCE_S = 600.0
_RUN = "control"


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The unchanged code as a candidate.

    Attributes:
        kept: how often the rule would have kept it, of `tried` times; `chance` tells that the rule bounds no such errors.
        failed: how an evaluation of it failed; `skipped` why it was not tried, or not to the end.
    """

    tried: int = 0
    kept: int = 0
    evaluations: int = 0
    words: str = ""
    chance: bool = False
    failed: str = ""
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class Ruined:
    """All editable files broken at once.

    Attributes:
        value: what was measured all the same, None where nothing was; `better` than the baseline.
        plain: none of the files is code: a text of other words may well be better.
        caught: by which guard, check or limit.
    """

    value: float | None = None
    better: bool = False
    plain: bool = False
    caught: str = ""


# -- the unchanged code ---------------------------------------------------------------------------------------------------


async def unchanged(sealed: Sealed, measured: Mapping[int, Readout], say: Say) -> Unchanged:
    """Let the task's rule decide on the unchanged code, a second time if it would keep it.

    Args:
        measured: evaluations of the base that were made already, by seed.
    """
    took_s = statistics.fmean(r.duration_s for r in measured.values())
    if took_s > _PATIENCE_S:
        why = f"an evaluation takes {show_seconds(took_s)}: the unchanged code was not tried as a candidate"
        return Unchanged(skipped=why)
    say(f"the unchanged code as a candidate, about {show_seconds(took_s)} an evaluation")
    return await _Presented(sealed, measured).run()


class _Presented:
    """Plays the loop's part for the rule."""

    def __init__(self, sealed: Sealed, measured: Mapping[int, Readout]) -> None:
        self._sealed, self._measured = sealed, measured
        importable(sealed.subject.paths.project)
        self._rule = acceptance.make(sealed.task.acceptance.kind)
        self._settings = sealed.options.settings
        self._ledger = MemoryLedger()
        self._until = time.monotonic() + _PATIENCE_S
        self._made = 0
        self._failed = self._skipped = ""
        task = sealed.task
        body: dict[str, Any] = {"task": task.task.name, "metric": task.metric.name, "direction": task.metric.direction}
        body |= {"base": sealed.subject.base, "seed": sealed.subject.seed, "acceptance": task.acceptance.kind}
        self._ledger.append(_RUN, Event("run_started", None, body))

    @property
    def _history(self) -> History:
        return self._ledger.history(_RUN)

    async def run(self) -> Unchanged:
        kept: list[str] = []
        tried, words = 0, ""
        verdict = await self._verdict(0, "baseline")
        while verdict is not None and verdict.kept and tried < TIMES:
            verdict = await self._verdict(tried + 1, "experiment")
            if verdict is not None:
                tried += 1
                words = f"{verdict.reason}: {verdict.words}"
                kept += [verdict.words] if verdict.kept else []
        method = self._history.agenda.method
        chance = method is not None and not method.alpha and method.rule != "exact"
        words = "; ".join(kept) if len(kept) == TIMES else words
        return Unchanged(tried, len(kept), self._made, words, chance, self._failed, self._skipped)

    async def _verdict(self, n: int, phase: str) -> Verdict | None:
        """The rule's verdict; None where an evaluation failed or it takes too long."""
        tree, commit = self._sealed.base.tree, self._sealed.base.commit
        asked = Event("asked", n, {"parents": [0] if n else [], "operation": "control"})
        frozen = Event("frozen", n, {"tree": tree, "commit": commit, "lines": 0})
        self._ledger.append(_RUN, asked, Event("proposed", n, {"description": "the unchanged code"}), frozen)
        while True:
            history = self._history
            current = history.experiments[n]
            incumbent = history.incumbent if history.line else current
            step = self._rule.next(Situation(phase, self._settings, current, incumbent, history))
            if isinstance(step, Verdict):
                self._decide(n, step)
                return None if self._failed else step
            assert isinstance(step, Measure)
            if time.monotonic() > self._until:
                self._skipped = f"the unchanged code as a candidate: no verdict within {show_seconds(_PATIENCE_S)}"
                return None
            await self._measure(n, step)

    def _decide(self, n: int, verdict: Verdict) -> None:
        """Record it; the baseline stays the incumbent whatever was decided on its copy."""
        body = {"verdict": "discard" if n else verdict.kind.value, "reason": verdict.reason, "value": verdict.value}
        kept = {key: value for key, value in body.items() if value is not None}
        self._ledger.append(_RUN, *method_notes(verdict), Event("decided", n, kept))

    async def _measure(self, n: int, step: Measure) -> None:
        readout = self._measured.get(step.seed) if step.phase == "baseline" else None
        if readout is None:
            self._made += 1
            readout = (await self._sealed.evaluate(seed=step.seed, label=f"unchanged-{self._made}")).readout
        if readout.outcome is not Outcome.OK:
            self._failed = f"{readout.outcome.value}: {readout.words}"
        index = len(self._history.experiments[n].measurements)
        m = Measurement(step.of, step.arm, index, step.seed, step.phase, readout.outcome, readout.values, readout.duration_s)
        self._ledger.append(_RUN, Event("measured", n, measured_body(m)))


# -- broken code ----------------------------------------------------------------------------------------------------------


async def ruin(sealed: Sealed, noticed: Breakage, base: Sequence[Readout], say: Say) -> Ruined:
    """Whether broken code that measures would pass for a gain."""
    together, metric, sign = noticed.together, sealed.task.metric, sealed.options.settings.sign()
    if together is None or together.value is None:
        return Ruined()
    values = [sign * r.values[metric.name] for r in base]
    noise = DETECTABLE * statistics.stdev(values) if len(set(values)) > 1 else 0.0
    better = sign * together.value > max(max(values), statistics.fmean(values) + noise)
    found = Ruined(together.value, better, plain=not any(file.endswith(CODE) for file in noticed.files))
    return replace(found, caught=await _caught(sealed, noticed, together.value, base, say)) if found.better else found


async def _caught(sealed: Sealed, noticed: Breakage, value: float, base: Sequence[Readout], say: Say) -> str:
    """What keeps broken code from being kept, in words; `` if nothing does."""
    limit, sign = sealed.options.limit, sealed.options.settings.sign()
    if limit is not None and sign * value > sign * limit:
        return f"[metric] limit {limit:g}"
    candidate = sealed.candidate(ruined(sealed, noticed.files))
    say("with all editable files broken it measures, and better: do guards and checks notice?")
    again = await sealed.evaluate(candidate, label="broken", timeout_s=3 * max(r.duration_s for r in base) + 30)
    if not again.ok:
        return again.words
    for guard in sealed.options.guards:
        if words := broken(guard, [again.readout.values], [r.values for r in base], strict=True):
            return f"guard {words}"
    for check in sealed.options.checks:
        if not (await sealed.check(check, candidate)).ok:
            return f"check {check.name}"
    return ""


# -- in words -------------------------------------------------------------------------------------------------------------


def problems(same: Unchanged, ruined: Ruined, metric: str) -> list[str]:
    """What makes a run worthless."""
    found = []
    if same.failed:
        found.append(f"the unchanged code failed when it was measured again: {same.failed}")
    if same.kept == TIMES and not same.chance:
        found.append(
            f"the unchanged code was kept as a gain twice ({same.words}): it gains by being run again. What does one "
            "evaluation leave to the next: a cache, a warm-up, a file outside its tree? Take it away, or do it in a setup"
        )
    return found + ([] if ruined.plain else _rewarded(ruined, metric))


def _rewarded(ruined: Ruined, metric: str) -> list[str]:
    if not ruined.better or ruined.caught:
        return []
    return [
        f"with all editable files broken it measures, and better: {metric} {ruined.value:.6g}. The evaluation rewards what "
        "does not work: let it fail then, or add a [[check]] or [[guard]] that does"
    ]


def warnings(same: Unchanged, ruined: Ruined, metric: str) -> list[str]:
    """What the owner should know."""
    found = [same.skipped] if same.skipped else []
    found += _rewarded(ruined, metric) if ruined.plain else []
    if same.kept == TIMES and same.chance:
        found.append(
            f"the unchanged code was kept as a gain twice ({same.words}): this [acceptance] kind takes noise for gains; "
            'kind = "auto" does not'
        )
    return found


def lines(same: Unchanged, ruined: Ruined) -> list[str]:
    """What came out as it should."""
    rows = []
    if same.tried > same.kept:
        rows.append(f"the unchanged code as a candidate: not kept ({same.words}; {counted(same.evaluations, 'evaluation')})")
    if ruined.caught:
        rows.append(f"with all editable files broken it measures better, and is caught: {ruined.caught}")
    return rows
