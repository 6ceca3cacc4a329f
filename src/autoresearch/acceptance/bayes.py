"""For noisy metrics: a candidate is measured again as long as that is worth it, and kept when the evidence of a gain is strong.

The incumbent's level is known from all of its runs (`level.py`), so most repeats are the candidate's alone; how much they are
worth depends on how much the machine drifts. The evidence is a Bayes factor (`evidence.py`). `docs/gains.md` tells it in words.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from autoresearch.acceptance import single_run
from autoresearch.acceptance.checkpoint import Checkpoint
from autoresearch.acceptance.evidence import Estimate, Run, Weighed, estimate, weigh
from autoresearch.acceptance.level import Level
from autoresearch.acceptance.method import baselines
from autoresearch.acceptance.single_run import seed_for
from autoresearch.contracts import Situation
from autoresearch.history import History
from autoresearch.noise import Fold, Scale, refreshes
from autoresearch.records import Done, Experiment, Kind, Measure, Measurement, Step, Verdict

EVIDENCE = 2.08
"""A keep needs a Bayes factor of this over `alpha`: 42 at 5 %. By Ville's inequality a null candidate ever reaches it with a
chance of at most alpha / EVIDENCE."""
PRIOR = 0.15
"""Of a gain, when it is asked whether further runs are worth it."""
MEAN = 4.0
"""Of the gains to be expected, in standard deviations of one evaluation."""
WORTH, LEAST, MOST = 0.04, 0.14, 0.6
"""Further runs have to promise so much of the typical kept gain, within so many standard deviations."""
UNKNOWN = 1e6
"""The variance of a level that nothing is known of."""
SURE = 3.0
"""Two runs that are both so many deviations above the incumbent are kept without another run of it."""
REFRESH, BLURRED = 20, 8.0
"""The incumbent is measured again after so many experiments, or when the drift may have moved it so far."""


@dataclass(slots=True)
class Trial:
    """The runs of one experiment so far, and the level after them.

    Attributes:
        start: the level before the experiment.
        broken: how often the incumbent failed.
    """

    start: Level
    level: Level
    runs: list[Run]
    broken: int = 0

    @property
    def candidate(self) -> list[float]:
        return [run.value for run in self.runs if run.candidate]

    @property
    def incumbent(self) -> int:
        return sum(not run.candidate for run in self.runs)

    def repeats(self) -> list[float]:
        """The candidate's runs but the one that it was chosen by."""
        return self.candidate[1:]

    def standing(self) -> tuple[float, float]:
        """Level and variance of the candidate, as the incumbent that it becomes: without its first run where that is unfair."""
        values = self.repeats() if self.incumbent else self.candidate
        return statistics.fmean(values), 1 / len(values)


def follow(level: Level, e: Experiment, scale: Scale) -> Trial:
    """Take a level through the runs of an experiment."""
    trial = Trial(level, level.apart(), [])
    for m in e.measurements[e.base :]:
        if m.phase in ("first", "race"):
            _take(trial, m, scale, is_candidate=m.of == e.n)
    return trial


def _take(trial: Trial, m: Measurement, scale: Scale, *, is_candidate: bool) -> None:
    level = trial.level
    if not m.ok:
        level.now += 1
        trial.broken += not is_candidate
        return
    value = scale.of(m)
    if not is_candidate:
        level.run(value)
        level.fit()
    else:
        level.now += 1
        if known := trial.repeats():
            level.surprise((value - statistics.fmean(known)) / math.sqrt(1 + 1 / len(known)))
            level.fit()
    trial.runs.append(Run(is_candidate, value, level.now))


class Levels:
    """The incumbent's level after each decision, brought up to date as a history grows."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._key: tuple[int, int] | None = None
        self._upto = 0
        self._settled: Level | None = None

    def is_of(self, history: History) -> bool:
        return self._history is history

    def now(self, scale: Scale) -> Level:
        """The level as of the newest decision, which may still gain measurements."""
        history = self._history
        key = (history.experiments[0].base, len(history.agenda.refreshes))
        if self._settled is None or key != self._key:
            baseline = [scale.of(m) for m in history.experiments[0].own if m.ok]
            self._key, self._upto, self._settled = key, 0, Level.of(baseline)
            _refresh(self._settled, history, 0, scale)
        while self._upto < history.decided - 1:
            self._upto += 1
            self._settled = _after(self._settled, history, self._upto, scale)
        return self._settled if history.decided <= self._upto else _after(self._settled, history, history.decided, scale)


def _after(level: Level, history: History, n: int, scale: Scale) -> Level:
    """The level once experiment n is decided, with what followed its decision."""
    e, before, after = history.experiments[n], history.incumbents[n - 1], history.incumbents[n]
    trial = follow(level, e, scale)
    found = trial.level
    found.since += bool(trial.runs)
    if e.kept and trial.runs:
        mean, variance = trial.standing()
        found.gains.append(max(0.0, mean - found.mean))
        if not trial.incumbent and len(trial.candidate) == 2:
            found.surprise((trial.candidate[0] - trial.candidate[1]) / math.sqrt(2))
        found.move(n, mean, variance, before)
        before = n
    between = [m for m in e.measurements[e.base :] if m.phase == "between"]
    for m in between:
        if m.of == before and m.ok:
            found.run(scale.of(m))
        else:
            found.now += 1
    if between:
        found.fit()
    if after != before:
        _roll_back(found, before, after, [scale.of(m) for m in between if m.of == after and m.ok])
    _refresh(found, history, n, scale)
    return found


def _roll_back(level: Level, before: int, to: int, measured: list[float]) -> None:
    """An earlier experiment is the incumbent again: as it was measured just now, or as it was left."""
    if measured:
        level.move(to, statistics.fmean(measured), 1 / len(measured), before)
    else:
        level.move(to, *level.left.get(to, (level.mean, UNKNOWN)), before)


def _refresh(level: Level, history: History, n: int, scale: Scale) -> None:
    """The incumbent was measured again before the run went on: what was measured before does not compare."""
    for again, values in refreshes(history, n, scale):
        if again.anew:  # drift and noise begin anew with the baseline
            level.tracks = Level.of([scale.of(m) for m in history.experiments[0].own if m.ok]).tracks
        if values:
            mean = statistics.fmean(values)
            for value in values if len(values) > 1 else ():
                level.surprise((value - mean) * math.sqrt(len(values) / (len(values) - 1)))
            level.fit()
            level.now += len(values)
            level.move(again.of, mean, 1 / len(values), again.of)


class Bayes:
    """Weighs evidence, and asks for as much of it as is worth its price."""

    def __init__(self) -> None:
        self._levels: Levels | None = None
        self._fold: Fold | None = None

    def next(self, situation: Situation) -> Step:
        if situation.phase == "baseline":
            return self._baseline(situation)
        scale = scale_of(situation)
        if self._levels is None or not self._levels.is_of(situation.history):
            self._levels, self._fold = Levels(situation.history), Fold(situation.history)
        level = self._levels.now(scale)
        if situation.phase == "experiment":
            return Weighing(situation, level, scale).next()
        assert self._fold is not None
        step = Checkpoint(situation, self._fold.now()).next()
        again = [m for m in situation.current.measurements if m.phase == "between"]
        is_blurred = level.drift * (level.now + 1 - level.last) ** 2 >= BLURRED
        if not isinstance(step, Done) or any(not m.ok for m in again) or not (level.since >= REFRESH or is_blurred):
            return step
        return single_run.refresh(situation)

    def _baseline(self, situation: Situation) -> Step:
        step = single_run.measure_baseline(situation, 2)
        if step is None:
            step = single_run.measure_baseline(situation, baselines(situation.settings, situation.current.own))
        return step or single_run.noisy_verdict(situation, "bayes", alpha=situation.settings.alpha, repeats=True)


def scale_of(situation: Situation) -> Scale:
    method, settings = situation.history.agenda.method, situation.settings
    return Scale(settings.metric, settings.sign(), method is not None and method.log)


class Weighing:
    """One candidate's way from its first run to a verdict."""

    def __init__(self, situation: Situation, level: Level, scale: Scale) -> None:
        self._s, self._e, self._settings, self._scale = situation, situation.current, situation.settings, scale
        self._own = [m for m in self._e.measurements[self._e.base :] if m.phase in ("first", "race")]
        self._trial = follow(level, self._e, scale)
        self._smallest = single_run.in_numbers(single_run.min_effect(situation), scale, level.mean)

    def next(self) -> Step:
        failed = single_run.failure([m for m in self._own if m.of == self._e.n])
        if failed is not None:
            return failed
        if not self._trial.runs:
            return self._measure("candidate", phase="first")
        if self._trial.broken > 1:
            words = "the incumbent failed twice beside it: the evaluation is flaky"
            return Verdict(Kind.DISCARD, "flaky", words, self._value(self._trial.candidate[0]))
        if not self._trial.level.sd:  # nothing has ever differed
            return single_run.judge(self._s, single_run.min_effect(self._s))
        step = self._weigh(self._smallest, "better")
        if isinstance(step, Verdict) and not step.kept and self._is_simpler():
            return self._weigh(-self._smallest, "simpler")
        return step

    def _is_simpler(self) -> bool:
        return self._settings.simplify and self._smallest > 0 and (self._e.lines or 0) < 0

    def _weigh(self, smallest: float, reason: str) -> Step:
        trial, level = self._trial, self._trial.level
        runs = [Run(r.candidate, r.value - smallest * r.candidate, r.at) for r in trial.runs]
        sd = level.sd
        found = estimate(trial.start.tracks[level.chosen], trial.start.last, sd, level.drift, runs)
        weighed = weigh(found.gain, sd * math.sqrt(found.gain_variance), MEAN * sd)
        strong = weighed.factor >= math.log(EVIDENCE / self._settings.alpha)
        again = len(trial.candidate) > 1
        if again and ((strong and trial.incumbent) or self._sure(runs, found, sd)):
            return self._verdict(Kind.KEEP, reason, found.gain, weighed)
        if weighed.probability(PRIOR) * weighed.gain < self._worth(sd) or len(runs) > 2 * self._most():
            return self._verdict(Kind.DISCARD, self._why(found.gain), found.gain, weighed)
        walk = level.drift
        incumbent = again and (found.incumbent_next(walk) < found.candidate_next(walk) or (strong and not trial.incumbent))
        return self._measure("incumbent" if incumbent else "candidate")

    def _sure(self, runs: list[Run], found: Estimate, sd: float) -> bool:
        """Whether the candidate's runs are all far above where the incumbent is known to stand.

        Never of a time: when something else ends on the machine, all that is measured from then on is far above.
        """
        if self._scale.log:
            return False
        error = sd * math.sqrt(found.level_variance + 1)
        is_alone = not self._trial.incumbent
        return is_alone and all((run.value - found.level) / error >= SURE for run in runs if run.candidate)

    def _worth(self, sd: float) -> float:
        gains = self._trial.start.gains
        typical = statistics.median(gains) if len(gains) >= 3 else 0.0
        return max(LEAST * sd, min(MOST * sd, WORTH * typical))

    def _most(self) -> int:
        most = self._settings.max_repeats
        return max(16, most) if self._settings.noise == "high" else most

    def _why(self, gain: float) -> str:
        if len(self._trial.runs) > 1:
            return "tie" if gain > 0 else "worse"
        return "tie" if gain == 0 else "worse" if gain < 0 else "screened"

    def _measure(self, arm: str, *, phase: str = "race") -> Measure:
        of = self._e.n if arm == "candidate" else self._s.incumbent.n
        seed = seed_for(self._settings, self._e.n, len(self._own))
        return Measure(of=of, arm=arm, seed=seed, phase=phase)  # type: ignore[arg-type]

    def _value(self, number: float) -> float:
        return self._scale.value(number)

    def _verdict(self, kind: Kind, reason: str, gain: float, weighed: Weighed) -> Verdict:
        trial = self._trial
        number = trial.standing()[0] if len(trial.candidate) > 1 else trial.candidate[0]
        value, bar = self._value(number), self._value(trial.level.mean)
        words = f"{value:.6g} against {bar:.6g}"
        if len(trial.runs) > 1:
            factor = math.exp(min(weighed.factor, 30.0))
            runs = f"{len(trial.candidate)} runs, {trial.incumbent} of the incumbent beside them"
            words += f" ({runs}): Bayes factor {factor:.2g}"
        return Verdict(kind, reason, words, value)
