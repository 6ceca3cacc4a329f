"""Trials of a proposal under way: what its draft holds now, in an evaluation's place, before it is handed in.

A trial is no measurement: nothing rests on its numbers, its seed is its own, it is none of the `[budget] evaluations`, and
the private sets are never part of it. It takes a slot, the machine's room and the limits as an evaluation does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from autoresearch import guards
from autoresearch.bench import Bench
from autoresearch.books import Books, CheckOrder
from autoresearch.contracts import Draft
from autoresearch.errors import Refused, RepositoryError
from autoresearch.patience import Patience
from autoresearch.records import Candidate, Edits, Experiment, Order, Outcome, Readout, Trial
from autoresearch.sight import digits
from autoresearch.text import one_line, slug

MOST_WHOLE = 3  # of `all`, for each attempt at a proposal
MOST = 30  # of any kind: the proposer's time stands still in them
_LINES, _CHARACTERS = 40, 6000  # of output that are shown
_NAMES = {"quick": "the quick test", "built": "the build", "eval": "the evaluation"}
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w.]*\d)")

Try = Callable[[Draft, str], Awaitable[Trial]]


class Trials:
    """Tries out what drafts hold."""

    def __init__(self, books: Books, bench: Bench) -> None:
        self._books, self._bench = books, bench

    def of(self, current: Callable[[], Experiment], patience: Patience, *, exact: bool) -> Try | None:
        """What tries out the proposal for an experiment; None where there are no files to try.

        Args:
            current: the experiment as it is now; its number may become another one meanwhile.
            patience: the proposer's limit of time, which stands still meanwhile.
            exact: the proposer may see values as they are measured.
        """
        if self._books.options.folder is None:
            return None
        return _Attempt(self._books, self._bench, current, patience, exact=exact).attempt

    async def probe(self, job: int, parent: Experiment, draft: Draft, what: str) -> Trial:
        """Try out what a draft holds for whoever asked by a request: no experiment has to do with it.

        Raises:
            Ended: the disk or the runner failed.
        """
        return await _Probe(self._books, self._bench, job, parent).attempt(draft, what)


class _Attempt:
    """The trials of one attempt at a proposal: what was tried counts from there on, so that a killed one is done the same."""

    _DECIDES = "this decides the experiment: "

    def __init__(
        self, books: Books, bench: Bench, current: Callable[[], Experiment], patience: Patience, *, exact: bool
    ) -> None:
        self._books, self._bench, self._patience = books, bench, patience
        self._current, self._parent = current, current().parents[0]
        self._exact = exact
        self._made = self._whole = 0
        self._known: dict[tuple[str, str], Trial] = {}  # by kind and tree

    @property
    def _n(self) -> int:
        return self._current().n

    async def attempt(self, draft: Draft, what: str) -> Trial:
        """Try out what the draft holds: `quick` is a build and the quick test, `checks` those and the checks, `all` those,
        the task's command and the guards. The first that fails is the last.

        Raises:
            Ended: the disk or the runner failed.
        """
        with self._patience.held():
            return await self._attempt(draft, what)

    async def _attempt(self, draft: Draft, what: str) -> Trial:
        books = self._books
        if words := self._refused() or self._used_up(what):
            return Trial(False, words, tried=False)
        try:
            edits = draft.peek()
            self._refuse(draft, edits)
            candidate = books.parts.workspace.trial(self._n, books.candidate(self._parent), edits)
        except Refused as refused:
            return Trial(False, f"it cannot be a candidate: {refused.reason}: {refused.words}")
        except RepositoryError as error:
            return Trial(False, f"it cannot be tried out: {error}", tried=False)
        if (known := self._known.get((what, candidate.tree))) is not None:
            return replace(known, words=f"{known.words} (as before: no file has changed since)")
        self._made += 1
        self._whole += what == "all"
        trial = await self._run(draft, candidate, what)
        self._known[what, candidate.tree] = trial
        self._note("trial", of=what, number=self._made, passed=trial.passed, words=one_line(trial.words, 300))
        return trial

    def _refused(self) -> str:
        failure = self._books.experiment(self._n).failure
        return "" if failure is None else f"the proposal is {failure[0]} already: {failure[1]}"

    def _note(self, what: str, **details: Any) -> None:
        self._books.note(self._n, what, **details)

    def _folder(self) -> Path:
        folder = self._books.folder(self._current().drafted_as)
        assert folder is not None
        return folder / f"trial-{self._made}"

    def _used_up(self, what: str) -> str:
        """Why there is no further trial, `` if there is."""
        if what == "all" and self._whole >= MOST_WHOLE:
            return f"no more: `all` was tried {MOST_WHOLE} times for this proposal; `quick` and `checks` still go"
        if self._made >= MOST:
            return f"no more: {MOST} trials were made for this proposal"
        wall = self._books.spending.money_spent()
        return f"no more: {wall.words}" if wall is not None and what == "all" else ""

    def _refuse(self, draft: Draft, edits: Edits) -> None:
        """What is refused before anything of it is written or run.

        Raises:
            Refused: it holds a secret, or a decoy's value.
        """
        options = self._books.options
        if words := options.mask.leak(edits, draft.read):  # type: ignore[attr-defined]  # of a project's draft
            raise Refused("secret", words)
        if words := options.planted(edits):
            raise Refused("tampering", words)

    async def _run(self, draft: Draft, candidate: Candidate, what: str) -> Trial:
        orders, passed = self._orders(what), []
        for order, check in orders:
            report = await self._bench.try_out(candidate, order, retries=check.retries if check is not None else 0)
            if report.cost_usd:
                draft.spend(report.cost_usd)  # the proposal's: a killed attempt's counts too
            if order.kind == "quick" and order.command == self._books.options.quick:
                self._bench.passed[self._n] = candidate.tree if report.outcome is Outcome.OK else ""
            if report.outcome is Outcome.TAMPERING:
                self._note("tampered", words=one_line(report.words, 500))
                return Trial(False, f"{self._DECIDES}invalid: tampering: {report.words}")
            name = f"check {check.name}" if check is not None else _NAMES[order.label]
            if report.outcome is not Outcome.OK:
                name = "" if report.outcome is Outcome.BUILD else f"{name} failed: "
                return Trial(False, f"{name}{self._worded(report)}", self._output(report))
            if order.kind == "evaluate":
                return self._measured(report)
            passed.append(f"{name} passed in {report.duration_s:.1f} s")
        return Trial(True, "; ".join(passed) or "the task has neither a build nor such a test: it could be a candidate")

    def _orders(self, what: str) -> list[tuple[Order, CheckOrder | None]]:
        options, n = self._books.options, self._n
        folder, limit_s = self._folder(), self._bench.timeout_s()
        made = Order(n, 0, 1, "quick", options.quick, folder, limit_s, "quick", trial=True)
        found: list[tuple[Order, CheckOrder | None]] = [(made, None)] if options.quick else []
        if not options.quick and what == "quick" and options.build:
            found.append((replace(made, label="built", command="true"), None))  # what is not built is so first
        if what in ("checks", "all"):
            for check in options.checks:
                label = f"check-{slug(check.name)}"
                order = replace(made, label=label, command=check.command, kind="check", timeout_s=check.timeout_s)
                found.append((order, check))
        if what == "all":
            seed = Random(f"{options.settings.seed}/{n}/trial/{self._whole}").randrange(2**31)
            found.append((replace(made, label="eval", command="", kind="evaluate", seed=seed), None))
        return found

    def _measured(self, report: Readout) -> Trial:
        """What the task's command gave, as far as the proposer may see it."""
        options, metric = self._books.options, self._books.options.settings.metric
        base = [m.values for m in self._books.experiment(0).own if m.ok]
        broken = next((w for b in options.guards if (w := guards.broken(b, [report.values], base, strict=False))), "")
        shown = dict(report.values) | {metric: self._rounded(report.values[metric])}
        numbers = ", ".join(f"{name} {value:.12g}" for name, value in shown.items())
        words = f"{numbers} in {report.duration_s:.1f} s: no measurement, nothing is decided by it"
        return Trial(not broken, f"a guard is broken: {broken}; {words}" if broken else words, self._output(report))

    def _rounded(self, value: float) -> float:
        places = None if self._exact else digits(self._books.history, value)
        return value if places is None else round(value, places)

    def _worded(self, report: Readout) -> str:
        return self._covered(report.words, report)

    def _output(self, report: Readout) -> str:
        """The last lines of what was printed, without secrets, the metric as far as it may be seen."""
        lines = report.output[-_CHARACTERS:].rstrip().splitlines()[-_LINES:]
        return self._covered("\n".join(lines), report)

    def _covered(self, text: str, report: Readout) -> str:
        value = report.values.get(self._books.options.settings.metric)
        text = self._books.options.mask.cover(text)
        if value is None or self._rounded(value) == value:
            return text

        def said(found: re.Match[str]) -> str:
            same = math.isclose(float(found[0]), value, rel_tol=1e-9)
            return f"{self._rounded(value):.12g}" if same else found[0]

        return _NUMBER.sub(said, text)


class _Probe(_Attempt):
    """One trial of what is no experiment's: it has a folder of its own, and decides nothing."""

    _DECIDES = "tried for a verdict, it would be "

    def __init__(self, books: Books, bench: Bench, job: int, parent: Experiment) -> None:
        super().__init__(books, bench, lambda: Experiment(-job, (parent.n,)), Patience(math.inf), exact=False)
        self._job = job

    def _refused(self) -> str:
        return ""

    def _note(self, what: str, **details: Any) -> None:
        self._books.note(None, "probe", job=self._job, **details)

    def _folder(self) -> Path:
        folder = self._books.folder(0)
        assert folder is not None
        return folder.parent / f"probe-{self._job}"
