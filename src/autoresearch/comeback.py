"""Coming back to a run on another day or machine: what its numbers are compared with is measured again first."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from autoresearch.bench import Bench
from autoresearch.books import Books, Ended, method_notes
from autoresearch.budget import Ending
from autoresearch.errors import SetupError
from autoresearch.records import Event, Experiment, Measure, Measurement, Verdict

REFRESH_AFTER_S = 3600.0  # a machine's speed drifts: after so long a pause the bar is measured again
REPEATS = 3  # at most, where the incumbent's value rests on several evaluations


class Comeback:
    """Measures baseline and incumbent again, where that is due."""

    def __init__(self, books: Books, bench: Bench) -> None:
        self._books, self._bench = books, bench

    def begin(self) -> None:
        """Half a baseline of another machine does not count, and one that failed is measured again."""
        history = self._books.history
        if history.decided >= 0 or not history.experiments:
            return
        known = history.experiments[0].measurements
        if (history.agenda.due and known) or any(not m.ok for m in known):
            self._books.note(0, "anew")
            self._books.note(None, "fresh")

    async def refresh(self, *, rebaseline: bool) -> None:
        """Measure the incumbent again if the machine is another one or much time went by; its value is the bar from then on.

        Raises:
            SetupError: an exact metric has other bits here.
            Ended: the incumbent, or the baseline, does not measure any more.
        """
        books, agenda = self._books, self._books.history.agenda
        if rebaseline := rebaseline or agenda.remeasuring:
            await self._remeasure_baseline()
        elif not agenda.due:
            return
        why = list(agenda.due)
        self._measure_open_ones_anew()
        incumbent, exact = books.history.incumbent, books.history.exact
        known = incumbent.value
        made_before = sum(m.phase == "refresh" for m in incumbent.measurements)
        value = known if rebaseline and not incumbent.n else await self._measure(incumbent)
        if exact and value != known and not rebaseline:
            raise SetupError(_other_bits(incumbent, known, value, why))
        made = sum(m.phase == "refresh" for m in books.experiment(incumbent.n).measurements) - made_before
        anew = rebaseline or is_other_machine(incumbent.own, books.experiment(incumbent.n).measurements[-1:])
        books.note(
            None,
            "refreshed",
            experiment=incumbent.n,
            value=value,
            before=known,
            why=why,
            after=books.history.decided,
            count=made,
            anew=anew,
        )

    async def _measure(self, incumbent: Experiment) -> float:
        """The incumbent's value here and now, under the seeds it was measured with."""
        books, own = self._books, incumbent.own
        seeds = [m.seed for m in own[: 1 if books.history.exact else REPEATS]]
        found = []
        for seed in seeds:
            step = Measure(of=incumbent.n, arm="incumbent", seed=seed, phase="refresh")
            m = await self._bench.measure(incumbent.n, step)
            if not m.ok:
                words = f"the incumbent (experiment {incumbent.n}) does not measure any more: {m.words}"
                raise Ended(Ending("broken", words, 1))
            found.append(m.values[books.options.settings.metric])
        return found[0] if len(set(found)) == 1 else statistics.fmean(found)

    def _measure_open_ones_anew(self) -> None:
        """What was measured before the pause and is not decided yet would be compared with a bar of now."""
        history = self._books.history
        for e in history.experiments[history.decided + 1 :]:
            if e.own:
                self._books.note(e.n, "anew")

    async def _remeasure_baseline(self) -> None:
        books = self._books
        if not books.history.agenda.remeasuring:
            books.note(0, "remeasure")
        while isinstance(step := books.parts.acceptance.next(books.situation("baseline", 0)), Measure):
            await self._bench.measure(0, step)
        assert isinstance(step, Verdict)
        if not step.kept:
            raise Ended(Ending("baseline", f"the baseline failed: {step.words or step.reason}", 1))
        books.append(*method_notes(step), Event("note", 0, {"what": "remeasured", "value": step.value}), durable=True)


def is_other_machine(before: Sequence[Measurement], now: Sequence[Measurement]) -> bool:
    """Whether measurements name different machines."""
    return len({m.machine for m in (*before, *now) if m.machine}) > 1


def _other_bits(incumbent: Experiment, known: float | None, value: float | None, why: list[str]) -> str:
    what = f"experiment {incumbent.n}" if incumbent.n else "the baseline"
    return (
        f"{what} was measured as {known!r}, and here and now it is {value!r}: not the same bits ({'; '.join(why)}). The metric "
        "was exact, so numbers of then and now do not compare. Bring back what changed, or measure baseline and incumbent "
        "here and go on with those numbers: autoresearch run --rebaseline"
    )
