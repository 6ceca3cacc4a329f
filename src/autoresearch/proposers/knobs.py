"""A search over the constants of the editable files, around the incumbent: needs no model and costs nothing.

Four kinds of moves, drawn by a generator of their own for each experiment: a step from the incumbent in one to three
constants, whose length follows the one-fifth success rule (Rechenberg 1973); a repetition of the last kept step, as in
pattern search (Hooke and Jeeves 1961); the best point of an additive quadratic model of the last results, refitted under
random weights each time (Bayesian bootstrap, Rubin 1981); and a sample of Optuna's TPE (Bergstra et al. 2011). Where we
differ: every move starts from the incumbent, and each constant has its turn before one comes again.

Asked to tune a keep it searches over the constants in the lines that the keep changed, and over those that these lines name,
from what was measured since.
"""

from __future__ import annotations

import itertools
import math
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from autoresearch.contracts import Brief, FileDraft
from autoresearch.errors import Exhausted, ProposerUnfit
from autoresearch.history import View
from autoresearch.proposers.constants import Knob, RangeError, Value, beside, edit, find
from autoresearch.records import TUNE, Blob, Experiment, Proposal
from autoresearch.taskfile.scope import Scope

RESULTS = 1000  # at most handed to the sampler
_BLOCK = 200  # by so many the window moves on
_STARTUP = 10  # results before TPE is asked
_MODEL = 5  # results before the additive model is
_RECENT = 200  # results that the model is fitted to
_STEP, _SHORTEST, _LONGEST = 0.25, 0.02, 0.5  # of a constant's range
_TRIES = 60

Settings = dict[str, Value]


class Knobs:
    """Proposes settings of the constants that it finds."""

    name = "knobs"
    exact = True  # a model is fitted to them, and nothing of it leaves this process
    reads = False

    def __init__(self, scope: Scope | None = None) -> None:
        self._settings: dict[int, Settings] = {}  # by experiment: all constants as far as they are known
        self._read_from: dict[int, Settings] = {}  # by experiment: all constants as they were read when it was the parent
        self._texts: tuple[str, dict[str, str], list[Knob]] = ("", {}, [])
        self._search = Search()
        self._results = Results()
        self._tuning = (-1, Search())

    async def propose(self, brief: Brief, draft: FileDraft) -> Proposal:
        files, knobs = self._read(brief.parent, draft)
        if not knobs:
            raise Exhausted(
                f"no constants to search in {', '.join(files) or 'the editable files'}: knobs looks for module-level "
                "UPPER_CASE numbers, booleans and strings with a `# knob: a|b` comment in Python, and scalars in JSON"
            )
        here = {k.name: k.value for k in knobs}
        self._read_from.setdefault(brief.parent.n, here)
        results, search = self._decided(brief.view), self._search
        more: dict[str, Any] = {}
        if brief.operation == TUNE:
            keep = brief.view.of(brief.n).parents[-1]
            if not (knobs := beside(knobs, brief.changed)):
                raise Exhausted(f"no constants in the lines that experiment {keep} changed, nor named by them")
            results, search, more = *self._since(keep, brief.view), {"tuned": [k.name for k in knobs]}
        pending = [self._known(e) for e in brief.view.pending if e.n < brief.n and e.settings]
        point = search.next(knobs, here, results, pending, minimize=brief.direction == "minimize", rng=brief.random())
        changed = {k.name: point[k.name] for k in knobs if point[k.name] != here[k.name]}
        texts = edit(files, knobs, changed)
        blobs = {path: Blob(text.encode(), draft.mode(path)) for path, text in texts.items()}
        words = ", ".join(f"{k.name} {k.show(here[k.name])} → {k.show(changed[k.name])}" for k in knobs if k.name in changed)
        self._settings[brief.n] = {**here, **changed}
        return Proposal(words, blobs, settings={"here": here, "changed": changed, **more})

    def _since(self, keep: int, view: View) -> tuple[Results, Search]:
        """A keep and what was tried on its constants, and a search that knows of nothing else."""
        if self._tuning[0] != keep:
            self._tuning = keep, Search()
        found = Results()
        for e in view[keep:]:
            if e.n == keep or (e.operation == TUNE and e.parents[-1] == keep and e.settings):
                found.add(self._known(e), e)
        return found, self._tuning[1]

    def _read(self, parent: Experiment, draft: FileDraft) -> tuple[dict[str, str], list[Knob]]:
        """The parent's files and their knobs, read once for each parent."""
        if self._texts[0] != parent.tree:
            files = {}
            for path in draft.editable():
                if path.endswith((".py", ".json")):
                    try:
                        files[path] = draft.read(path).decode()
                    except UnicodeDecodeError:
                        continue
            try:
                self._texts = (parent.tree, files, find(files))
            except RangeError as error:
                raise ProposerUnfit(str(error)) from error
        return self._texts[1], self._texts[2]

    def _decided(self, view: View) -> Results:
        """All results of the view, of which only the new ones are looked at; a roll-back makes them be read again."""
        if any(view.of(e.n).rolled_back for e in self._results.kept):
            self._results, self._settings = Results(), {}
        for e in view[len(self._results) :]:
            if e.settings:
                self._read_from.setdefault(e.parents[0], dict(e.settings["here"]))
        for n in range(len(self._results), len(view)):
            e = view[n]
            self._results.add(self._known(e), e)
        return self._results

    def _known(self, e: Experiment) -> Settings:
        """An experiment's settings, as it recorded them, or as they were read from it when it was the parent; else nothing."""
        if e.n not in self._settings:
            recorded = {**e.settings["here"], **e.settings["changed"]} if e.settings else {}
            self._settings[e.n] = recorded or self._read_from.get(e.n, {})
        return self._settings[e.n]


class Results:
    """Decided experiments with their settings, in order; grows, and is never gone through as a whole for a proposal."""

    def __init__(self) -> None:
        self.rows: list[tuple[Settings, Experiment]] = []
        self.kept: list[Experiment] = []
        self._kept_settings: list[Settings] = []
        self._tried: set[tuple[Value, ...]] = set()
        self._names: tuple[str, ...] = ()

    def add(self, settings: Settings, e: Experiment) -> None:
        self.rows.append((settings, e))
        if e.kept and not e.rolled_back:
            self.kept.append(e)
            self._kept_settings.append(settings)
        if self._names and all(name in settings for name in self._names):
            self._tried.add(tuple(settings[name] for name in self._names))

    def __len__(self) -> int:
        return len(self.rows)

    def before_last_keep(self) -> Settings | None:
        """The settings of the incumbent before the present one."""
        return self._kept_settings[-2] if len(self.kept) > 1 else None

    def tried(self, knobs: Sequence[Knob]) -> set[tuple[Value, ...]]:
        """The values that these constants had in any of the results. Only to be read."""
        names = tuple(k.name for k in knobs)
        if names != self._names:
            self._names = names
            self._tried = {tuple(s[name] for name in names) for s, _ in self.rows if all(name in s for name in names)}
        return self._tried


class Search:
    """The search by itself: a pure function of results and generator, but for a cache of what it told the sampler."""

    def __init__(self) -> None:
        self._study: Any = None
        self._window: tuple[int, int, tuple[Any, ...]] = (-1, 0, ())
        self._worst: float | None = None

    def next(
        self,
        knobs: Sequence[Knob],
        here: Settings,
        results: Results,
        pending: Sequence[Settings],
        *,
        minimize: bool,
        rng: random.Random,
    ) -> Settings:
        """A point that was not tried yet.

        Args:
            here: the incumbent's settings; `results` those of all decided experiments.
        Raises:
            Exhausted: there is none left.
        """
        tried = results.tried(knobs)
        under_way = {_key(knobs, s, here) for s in (*pending, here)} - tried
        if math.prod(k.size for k in knobs) <= len(tried) + len(under_way):
            raise Exhausted("space exhausted: every setting of the constants was tried")
        step = _step_length(results.rows)
        for attempt in range(_TRIES):
            point = self._move(knobs, here, results, step * 1.05**attempt, minimize=minimize, rng=rng)
            if (key := _key(knobs, point, here)) not in tried and key not in under_way:
                return point
        return _first_untried(knobs, tried | under_way, rng)

    def _move(
        self,
        knobs: Sequence[Knob],
        here: Settings,
        results: Results,
        step: float,
        *,
        minimize: bool,
        rng: random.Random,
    ) -> Settings:
        if len(results) <= len(knobs):
            return _screen(knobs, here, len(results) - 1, step, rng)
        draw = rng.random()
        before = results.before_last_keep()
        if draw < 0.15 and before is not None:
            return _repeat(knobs, here, before, rng)
        last = _of_all(knobs, results.rows[-_RECENT:])
        if draw < 0.5 and len(last) >= _MODEL and any(e.value is not None for _, e in last):
            return _modelled(knobs, here, last, minimize=minimize, rng=rng)
        if draw < 0.7 and len(results) >= _STARTUP:
            return self._sample(knobs, here, results.rows, minimize=minimize, rng=rng)
        return _local(knobs, here, len(results), step, rng)

    def _sample(
        self,
        knobs: Sequence[Knob],
        here: Settings,
        results: Sequence[tuple[Settings, Experiment]],
        *,
        minimize: bool,
        rng: random.Random,
    ) -> Settings:
        """Ask TPE; half the time only part of its answer is taken, the rest stays as the incumbent has it."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = self._told(optuna, knobs, results, minimize=minimize)
            study.sampler = optuna.samplers.TPESampler(seed=rng.randrange(2**31), multivariate=True, n_startup_trials=0)
            trial = study.ask(_distributions(optuna, knobs))
            values = {k.name: _from_optuna(k, trial.params[k.name]) for k in knobs}
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        if rng.random() < 0.5:
            taken = rng.sample(list(knobs), max(1, round(len(knobs) * rng.uniform(0.2, 0.8))))
            return {**here, **{k.name: values[k.name] for k in taken}}
        return values

    def _told(
        self,
        optuna: Any,
        knobs: Sequence[Knob],
        results: Sequence[tuple[Settings, Experiment]],
        *,
        minimize: bool,
    ) -> Any:
        """A study that holds the last results; a window of 800 to 1,000 that depends on their number alone."""
        first = max(0, (len(results) - RESULTS + _BLOCK - 1) // _BLOCK * _BLOCK)
        names = tuple((k.name, k.kind, k.low, k.high, k.log, k.choices) for k in knobs)
        if self._study is None or self._window[0] != first or self._window[1] > len(results) or self._window[2] != names:
            self._study = optuna.create_study(direction="minimize" if minimize else "maximize")
            self._window = (first, first, names)
            self._worst = None
            for _, e in _of_all(knobs, results[:first]):
                self._note_worst(e.value, minimize=minimize)
        distributions = _distributions(optuna, knobs)
        for settings, e in _of_all(knobs, results[self._window[1] :]):
            params = {k.name: _to_optuna(k, settings[k.name]) for k in knobs}
            self._note_worst(e.value, minimize=minimize)
            value = e.value if e.value is not None else self._worst  # a crash counts as the worst seen before it
            self._study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
        self._window = (first, len(results), names)
        return self._study

    def _note_worst(self, value: float | None, *, minimize: bool) -> None:
        if value is not None:
            worst = value if self._worst is None else self._worst
            self._worst = max(worst, value) if minimize else min(worst, value)


def _of_all(knobs: Sequence[Knob], results: Sequence[tuple[Settings, Experiment]]) -> Sequence[tuple[Settings, Experiment]]:
    """The results whose settings name all of the constants: what another proposer tried has none that anybody knows."""
    return [row for row in results if all(k.name in row[0] for k in knobs)]


def _distributions(optuna: Any, knobs: Sequence[Knob]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for k in knobs:
        if k.kind == "choice":
            found[k.name] = optuna.distributions.CategoricalDistribution(list(range(len(k.choices))))
        else:
            found[k.name] = optuna.distributions.FloatDistribution(0.0, 1.0)
    return found


def _to_optuna(knob: Knob, value: Value) -> float | int:
    if knob.kind == "choice":
        return knob.choices.index(value) if value in knob.choices else 0
    return knob.to_unit(value)


def _from_optuna(knob: Knob, value: Any) -> Value:
    return knob.choices[int(value)] if knob.kind == "choice" else knob.from_unit(float(value))


def _key(knobs: Sequence[Knob], settings: Mapping[str, Value], here: Settings) -> tuple[Value, ...]:
    return tuple(settings.get(k.name, here[k.name]) for k in knobs)


def _step_length(results: Sequence[tuple[Settings, Experiment]]) -> float:
    """One-fifth rule over the last 40 results: longer after a keep, shorter after a discard."""
    step = _STEP
    for settings, e in results[-40:]:
        if settings and e.n and e.verdict is not None and e.value is not None:
            step *= 1.4 if e.kept else 1.4**-0.25
        step = min(max(step, _SHORTEST), _LONGEST)
    return step


def _screen(knobs: Sequence[Knob], here: Settings, turn: int, step: float, rng: random.Random) -> Settings:
    """One constant after another, alone: first switches and choices, then numbers in any order."""
    deck = list(range(len(knobs)))
    random.Random(len(knobs)).shuffle(deck)
    deck.sort(key=lambda i: knobs[i].kind != "choice")
    knob = knobs[deck[turn % len(knobs)]]
    return {**here, knob.name: _step_from(knob, here[knob.name], step, rng)}


def _local(knobs: Sequence[Knob], here: Settings, turn: int, step: float, rng: random.Random) -> Settings:
    """Move one constant that has its turn, and sometimes one or two others."""
    deck = list(range(len(knobs)))
    random.Random(turn // len(knobs)).shuffle(deck)
    chosen = [knobs[deck[turn % len(knobs)]]] if rng.random() < 0.8 else [rng.choice(list(knobs))]
    extra = min(len(knobs) - 1, rng.choices((0, 1, 2), (0.5, 0.3, 0.2))[0])
    chosen += rng.sample([k for k in knobs if k is not chosen[0]], extra)
    return {**here, **{k.name: _step_from(k, here[k.name], step, rng) for k in chosen}}


def _step_from(knob: Knob, value: Value, step: float, rng: random.Random) -> Value:
    if knob.kind == "choice":
        others = [c for c in knob.choices if c != value or type(c) is not type(value)]
        return rng.choice(others) if others else value
    at = knob.to_unit(value)
    moved = at + rng.choice((-1, 1)) * step * rng.uniform(0.5, 1.5)
    if not 0 <= moved <= 1:
        moved = at - (moved - at)  # bounce off the end of the range
    new = knob.from_unit(moved)
    if new == value and knob.kind in ("int", "power"):
        new = int(min(max(int(value) + rng.choice((-1, 1)), math.ceil(knob.low)), math.floor(knob.high)))
    return new


def _modelled(
    knobs: Sequence[Knob],
    here: Settings,
    results: Sequence[tuple[Settings, Experiment]],
    *,
    minimize: bool,
    rng: random.Random,
) -> Settings:
    """Where an additive model, quadratic in each number, is best within reach; refitted to a random reweighting each time.

    The weights (Bayesian bootstrap, Rubin 1981) make its answers differ as far as the results leave room.
    """
    import numpy as np

    rows = [(s, e.value) for s, e in results if e.value is not None]
    columns = [_features(k, [s[k.name] for s, _ in rows]) for k in knobs]
    design = np.column_stack([np.ones(len(rows)), *columns])
    sign = 1.0 if minimize else -1.0
    values = sign * np.array([v for _, v in rows])
    values = np.minimum(values, np.quantile(values, 0.8))  # far from the best, only the direction counts
    spread = float(values.std()) or 1.0
    weights = np.array([rng.expovariate(1.0) for _ in rows])
    penalty = np.full(design.shape[1], 0.02)
    penalty[0] = 1e-6
    left = design.T @ (design * weights[:, None]) + np.diag(penalty)
    fitted = np.linalg.solve(left, design.T @ (weights * (values - values.mean()) / spread))
    point, at = dict(here), 1
    reach = rng.uniform(0.1, 0.6)
    for k in knobs:
        width = _width(k)
        point[k.name] = _best_of(k, here[k.name], fitted[at : at + width].tolist(), reach)
        at += width
    return point


def _width(knob: Knob) -> int:
    return len(knob.choices) if knob.kind == "choice" else 2


def _features(knob: Knob, values: Sequence[Value]) -> Any:
    import numpy as np

    if knob.kind == "choice":
        return np.array([[float(value == c) for c in knob.choices] for value in values])
    unit = np.array([knob.to_unit(value) - 0.5 for value in values])
    return np.column_stack([unit, unit**2])


def _best_of(knob: Knob, value: Value, fitted: Sequence[float], reach: float) -> Value:
    """The value with the lowest part of the model, numbers within `reach` of where they are."""
    if knob.kind == "choice":
        return min(zip(fitted, range(len(knob.choices)), knob.choices, strict=True))[2]
    at = knob.to_unit(value)
    low, high = max(0.0, at - reach), min(1.0, at + reach)
    slope, bend = fitted
    spots = [low, high, at]
    if bend > 0 and low < (vertex := 0.5 - slope / (2 * bend)) < high:
        spots.append(vertex)
    return knob.from_unit(min(spots, key=lambda u: slope * (u - 0.5) + bend * (u - 0.5) ** 2))


def _repeat(knobs: Sequence[Knob], here: Settings, before: Settings, rng: random.Random) -> Settings:
    """Go on in the direction of the last kept step."""
    point, length = dict(here), rng.uniform(0.4, 1.6)
    for k in knobs:
        old = before.get(k.name, here[k.name])
        if k.kind != "choice" and old != here[k.name]:
            at = k.to_unit(here[k.name])
            point[k.name] = k.from_unit(at + length * (at - k.to_unit(old)))
    return point


def _first_untried(knobs: Sequence[Knob], tried: set[tuple[Value, ...]], rng: random.Random) -> Settings:
    """What is left of a small space, near or far.

    Raises:
        Exhausted: nothing is.
    """
    axes: list[Sequence[Value]] = []
    for k in knobs:
        if k.kind == "choice":
            axes.append(k.choices)
        elif k.kind == "float":
            axes.append(sorted({k.from_unit(rng.random()) for _ in range(20)}, key=float))
        else:
            axes.append(range(math.ceil(k.low), math.floor(k.high) + 1))
    for values in itertools.islice(itertools.product(*axes), 200_000):
        if values not in tried:
            return dict(zip((k.name for k in knobs), values, strict=True))
    raise Exhausted("space exhausted: every setting of the constants was tried")
