"""Between two experiments: breakers, periodic checks with bisection, roll-backs, and what acceptance wants meanwhile."""

from __future__ import annotations

import statistics
from typing import Any

from autoresearch.bench import Bench
from autoresearch.books import Books, CheckOrder, Ended, method_note
from autoresearch.budget import Ending
from autoresearch.noise import Fold
from autoresearch.records import ChainedEvent, Compare, Done, Event, Experiment, Gain, Measure, Method, RollBack
from autoresearch.text import counted, one_line

RECHECK_AFTER = 5  # failures in a row: is it the set-up?
STOP_AFTER = 20


class Upkeep:
    """Keeps the line of incumbents sound."""

    def __init__(self, books: Books, bench: Bench) -> None:
        self._books, self._bench = books, bench
        self._fold = Fold(books.history)

    async def after(self, n: int) -> None:
        """What follows the decision on experiment n, before anything sees it."""
        if self._books.options.breakers:
            await self._break_circuit(n)
        if self._books.experiment(n).kept:
            await self._periodic_checks(n, last=False)
        while not isinstance(step := self._next("between", n), Done):
            if isinstance(step, RollBack):
                line = self._books.history.line
                again = {"again": line[line.index(step.to) + 1 :]} if step.again else {}
                self._roll_back(n, step, **again)
                self._change_method(step.method)  # last: killed before it, the same step comes again without the roll-back
            else:
                assert isinstance(step, Measure), f"acceptance gave {step} between two experiments"
                await self._bench.measure(n, step)
        self._change_method(step.method)
        if step.words:
            self._books.note(n, "checkpoint", words=one_line(step.words, 500))
        self._notice_drift()

    def _notice_drift(self) -> None:
        """Say once that the machine drifts."""
        history = self._books.history
        if history.agenda.drifts or history.agenda.method is None or history.exact:
            return
        if self._fold.now().drifts:
            words = "the machine drifts: the incumbent's runs differ more over time than side by side"
            self._books.note(None, "drift", words=f"{words}; what was measured a while ago counts for less")

    def _change_method(self, method: Method | None) -> None:
        if method is not None:
            self._books.append(method_note(method))

    async def at_end(self) -> Gain | None:
        """The last checks, then the final comparison if acceptance makes one.

        Raises:
            Ended: a comparison that was asked for came to nothing.
        """
        books = self._books
        await self.last_checks()
        self.follow()
        while not isinstance(step := self._next("final", 0), Done):
            if isinstance(step, Compare):
                self._begin_comparison(step.pairs)
            else:
                assert isinstance(step, Measure), f"acceptance gave {step} at the end"
                await self._bench.measure(0, step)
        is_asked = books.options.errand is not None
        if step.validated is None and (is_asked or (books.history.agenda.comparison is not None and step.words)):
            books.note(None, "not_validated", words=one_line(step.words, 500))
        if step.validated is None and is_asked:
            raise Ended(Ending("final", step.words, 1))
        return step.validated

    async def last_checks(self) -> None:
        """The checks that are due at the end, whichever wall was met; the final comparison keeps its time."""
        with self._books.spending.waiting():
            await self._periodic_checks(self._books.history.decided, last=True)

    def _begin_comparison(self, pairs: int) -> None:
        history = self._books.history
        self._books.note(None, "validate", of=history.line[-1], pairs=pairs, first=len(history.experiments[0].measurements))

    def _next(self, phase: str, n: int) -> Measure | RollBack | Compare | Done:
        step = self._books.parts.acceptance.next(self._books.situation(phase, n))
        assert isinstance(step, Measure | RollBack | Compare | Done), f"acceptance gave {step} in phase {phase}"
        return step

    # -- the line ---------------------------------------------------------------------------------------------------

    def advance(self, n: int, decided: ChainedEvent) -> None:
        """Put a keep on the line of incumbents."""
        books = self._books
        e, history = books.experiment(n), books.history
        done = books.parts.workspace.advance(e.tree, self._message(e, decided), history.tip, history.left_at, decided.at)
        books.append(Event("advanced", n, {"commit": done.commit, "tree": e.tree, "moved": done.moved}))
        self._say_held_back(done.moved)

    def take_out(self) -> None:
        """Take the keeps out that the owner rejected; the ones that came after them are tried again."""
        history = self._books.history
        while history.agenda.rejected:
            n, line = history.agenda.rejected[0], history.line
            if n in line:
                at = line.index(n)
                step = RollBack(line[at - 1], f"the owner rejected experiment {n}")
                self._roll_back(history.decided, step, rejected=n, again=line[at + 1 :])
            else:
                self._books.note(None, "not_rejected", experiment=n)

    def _roll_back(self, n: int, step: RollBack, **details: Any) -> None:
        """Take kept changes out: a commit with the tree of the experiment that is the incumbent again."""
        books, history = self._books, self._books.history
        to = books.experiment(step.to)
        decided = books.experiment(n)  # its hash and time, so that the commit can be made again with the same id
        message = f"roll back to experiment {to.n}\n\nReason: {one_line(step.words)}\nLedger: {decided.decided_hash}"
        done = books.parts.workspace.advance(to.tree, message, history.tip, history.left_at, decided.decided_at)
        body = {"to": to.n, "words": one_line(step.words), "commit": done.commit, "tree": to.tree, "moved": done.moved}
        books.append(Event("rolled_back", n, body | details), durable=True)
        self._say_held_back(done.moved)

    def _say_held_back(self, moved: bool) -> None:
        if not moved and not self._books.history.held_back:
            words = "the branch is checked out or not where the run left it: keeps go on beside it until it is free"
            self._books.note(None, "branch", words=words)

    def _message(self, e: Experiment, decided: ChainedEvent) -> str:
        books = self._books
        base = books.experiment(0).value
        unit = books.options.settings.metric
        trailers = {
            "Metric": f"{unit} {e.value:.10g}" if e.value is not None else "",
            "Gain": self._change(e),
            "Baseline": f"{unit} {base:.10g}" if base is not None else "",
            "Experiment": f"{books.options.run}/{e.n}",
            "Proposer": one_line(e.proposer),
            "Flags": one_line(", ".join(f"{f.name} {f.path}:{f.line}" for f in e.flags), 500),
            "Ledger": decided.hash,
        }
        rows = "\n".join(f"{key}: {value}" for key, value in trailers.items() if value)
        return f"{one_line(e.description, 200) or f'experiment {e.n}'}\n\n{rows}"

    def _change(self, e: Experiment) -> str:
        """The change of the metric as it was decided on: in the pairs of a race, else against the parent's value."""
        metric, onto = self._books.options.settings.metric, self._books.experiment(self._books.history.bar_of(e))
        race = [m for m in e.measurements[e.base :] if m.phase == "race" and m.ok]
        bars = [m.values[metric] for m in race if m.of != e.n]
        if e.value is None or (onto.value is None and not bars):
            return ""
        bar = statistics.fmean(bars) if bars else onto.value
        assert bar is not None
        beside = f", measured beside it {counted(len(bars), 'time')}" if bars else ""
        return f"{e.value - bar:+.6g} against experiment {onto.n}{beside}"

    def mend(self) -> None:
        """After a kill: refs and branch as the ledger says, and keeps that did not get as far as the branch."""
        books, history = self._books, self._books.history
        for words in books.parts.workspace.reconcile(history):
            books.watch("mended", {"words": words})
        late = [n for n in history.line[1:] if not books.experiment(n).kept_commit]
        if late:
            decided = {e.n: e for e in books.parts.ledger.events(books.options.run) if e.kind == "decided"}
            for n in late:
                self.advance(n, decided[n])
        self.follow()

    def follow(self) -> None:
        """Let the branch follow to the line's tip if it has become free."""
        books, history = self._books, self._books.history
        if history.tip != history.left_at and books.parts.workspace.follow(history.tip, history.left_at).moved:
            books.note(None, "followed", commit=history.tip)

    # -- checks of every N keeps ------------------------------------------------------------------------------------

    async def _periodic_checks(self, n: int, *, last: bool) -> None:
        history = self._books.history
        keeps = len(history.line) - 1
        fresh = history.line[max(1, history.checked) :]
        checks = [c for c in self._books.options.checks if c.every > 1]
        due = [c for c in checks if fresh and (last or keeps % c.every == 0)]
        for check in due:
            words = await self._bench.check(n, check, self._books.candidate(fresh[-1]))
            if words:
                self._roll_back(n, RollBack(await self._bisect(n, check, fresh), words))
                await self._periodic_checks(n, last=last)  # what is left has to pass the other checks too
                return
        if due and len(due) == len(checks):
            self._books.note(n, "checked")

    async def _bisect(self, n: int, check: CheckOrder, keeps: list[int]) -> int:
        """The newest of the keeps on which the check passes, or what stood before them all."""
        line = self._books.history.line
        good, bad = line.index(keeps[0]) - 1, line.index(keeps[-1])
        while bad - good > 1:
            middle = (good + bad) // 2
            if await self._bench.check(n, check, self._books.candidate(line[middle])):
                bad = middle
            else:
                good = middle
        return line[good]

    # -- breakers ---------------------------------------------------------------------------------------------------

    async def _break_circuit(self, n: int) -> None:
        """After failures in a row: is it the candidates or the set-up? A broken set-up is waited for.

        Raises:
            Ended: twenty in a row, or the set-up stays broken.
        """
        streak = self._streak()
        if streak >= STOP_AFTER:
            raise Ended(Ending("breaker", f"{streak} failures in a row; the last: {self._last_words(n)}", 1))
        checked = any(m.phase == "repair" and m.ok for m in self._books.experiment(n).measurements)
        if not streak or streak % RECHECK_AFTER or checked or not self._failed(n):
            return
        for wait_s in (*self._books.options.outage_waits_s, None):
            if (await self._bench.measure(n, self._recheck())).ok:
                return
            self._lose(n - streak + 1, n)
            if wait_s is None:
                raise Ended(Ending("broken", f"the incumbent fails as well: {self._last_words(n)}", 1))
            await self._bench.wait(wait_s, "the incumbent fails as well: the set-up is broken")

    def _recheck(self) -> Measure:
        incumbent = self._books.history.incumbent
        return Measure(of=incumbent.n, arm="incumbent", seed=incumbent.own[0].seed, phase="repair")

    def _streak(self) -> int:
        count = 0
        for n in range(self._books.history.decided, self._books.history.agenda.streak_from, -1):
            e = self._books.experiment(n)
            assert e.verdict is not None
            if e.lost:
                break
            if e.verdict.failed:
                count += 1
            elif e.verdict.reason not in ("no_change", "duplicate"):
                break
        return count

    def _lose(self, first: int, last: int) -> None:
        """Take failures back that were the machine's."""
        numbers = [k for k in range(first, last + 1) if self._failed(k)]
        if numbers:
            self._books.note(None, "lost", experiments=numbers)

    def _failed(self, n: int) -> bool:
        e = self._books.experiment(n)
        return not e.lost and e.verdict is not None and e.verdict.failed

    def _last_words(self, n: int) -> str:
        e = self._books.experiment(n)
        measured = e.measurements[-1].words if e.measurements else ""
        return measured or (e.verdict.words if e.verdict else "") or "no words"
