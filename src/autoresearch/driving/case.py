"""A decided experiment and the place where it was tried: the verdict in words, what became of the files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch.driving import undo
from autoresearch.driving.figures import Figures
from autoresearch.fenced import line
from autoresearch.history import History
from autoresearch.records import Experiment, Kind
from autoresearch.scope import scope_of
from autoresearch.taskfile import Task

_DONE = {
    Kind.KEEP: "kept",
    Kind.DISCARD: "discarded",
    Kind.CRASH: "crashed, not kept",
    Kind.TIMEOUT: "over its time limit, not kept",
    Kind.INVALID: "invalid, not kept",
}
_EARLIER = re.compile(r"experiment (\d+)")


@dataclass(frozen=True, slots=True)
class Where:
    """Where a change was tried.

    Attributes:
        entered: in a tree of the harness's, which follows the verdict; else in the user's own checkout.
        paths: what was changed there, relative to the project's folder; `new` those of them that git does not track.
        source: a revision from which `git restore` gets the files that the change is one of, `` where it does so without one.
        notes: what was left out, one line each.
    """

    entered: bool = False
    paths: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A decided experiment, as it may be seen, with everything that its next step depends on.

    Attributes:
        near: it lost by little itself.
    """

    history: History
    e: Experiment
    task: Task
    where: Where | None = None
    figures: Figures | None = None
    near: bool = False

    @property
    def reason(self) -> str:
        assert self.e.verdict is not None
        return self.e.verdict.reason

    @property
    def words(self) -> str:
        assert self.e.verdict is not None
        return line(self.e.verdict.words, 300)

    @property
    def best(self) -> int:
        """The incumbent now."""
        return self.history.line[-1]

    @property
    def stands(self) -> bool:
        """Whether it was kept and not taken out again."""
        return self.e.kept and not self.e.rolled_back

    @property
    def beaten(self) -> int:
        """The incumbent when it was decided: what it had to beat."""
        return self.history.incumbents[self.e.n - 1]

    @property
    def same_as(self) -> int | None:
        """Which earlier experiment has the same files; None where that is not the verdict."""
        found = _EARLIER.search(self.words) if self.reason == "duplicate" else None
        return int(found[1]) if found and int(found[1]) < len(self.history.experiments) else None

    @property
    def is_best_again(self) -> bool:
        """Whether it has the incumbent's files, so that there is nothing to take back."""
        return self.same_as == self.best

    def source(self, n: int) -> str:
        """A revision with the files of experiment n."""
        assert self.history.run is not None
        return f"autoresearch/{self.history.run.run}/{n or 'base'}"

    @property
    def overtaken(self) -> bool:
        """Whether another was kept since the experiment that it is a change of."""
        return self.beaten != self.e.parents[0]


def outcome(e: Experiment) -> str:
    """`discard (worse)`."""
    assert e.verdict is not None
    return f"{e.verdict.kind.value} ({line(e.verdict.reason, 40)})"


def told(case: Case) -> str:
    """The verdict's own words where they add to the numbers; nothing that helps to get around a rule."""
    words = case.words
    match case.reason:
        case "tampering":
            return "it did what no honest change does; it is quarantined"
        case "gate":
            return words.partition(":")[0]
        case "held":
            return words.partition("; look:")[0].replace("waits for you", "waits for a person")
        case "better" | "worse" | "screened" | "tie":
            return ""
        case _:
            return words


def files(case: Case) -> str:
    """What became of the files: `discarded; your files are as you left them; git restore train.py undoes the change`."""
    assert case.e.verdict is not None
    first, where = "held for a person" if case.e.held else _DONE[case.e.verdict.kind], case.where
    if case.e.rolled_back:
        first = "kept, and taken out again later"
    if where is None or where.entered:  # what became of an entered tree is told by who moved it
        return f"{first}; experiment {case.best} is the incumbent"
    if case.stands:
        best = f"experiment {case.best} is the incumbent"
        return f"{first}; your files are as you left them and hold it, no commit is needed; {best}"
    if case.is_best_again:
        return f"{first}; your files are as you left them, and hold what experiment {case.best}, the incumbent, holds"
    undone = undo.words(_own(case), where.new, where.source)
    return "; ".join(filter(None, (first, "your files are as you left them", undone, _frozen(case, where))))


def undoing(case: Case) -> tuple[str, ...]:
    """Commands that take the change back; none where there is nothing to take back."""
    where = case.where
    if where is None or where.entered or case.stands or case.is_best_again:
        return ()
    return undo.commands(_own(case), where.new, where.source)


def _frozen(case: Case, where: Where) -> str:
    """`git restore evaluate.py undoes the change of what is frozen, if you made it`; `` where no such file was changed."""
    frozen = [path for path in where.paths if path not in _own(case)]
    if not frozen:
        return ""
    named = undo.restore(frozen, where.source) if len(frozen) <= undo.MOST_NAMED else f"git restore of {len(frozen)} files"
    return f"{named} undoes the change of what is frozen, if you made it"


def _own(case: Case) -> Sequence[str]:
    """What was changed and may be: a frozen file may be the user's own work from before."""
    assert case.where is not None
    scope = scope_of(case.task)
    return [path for path in case.where.paths if path in scope] if case.reason == "scope" else case.where.paths
