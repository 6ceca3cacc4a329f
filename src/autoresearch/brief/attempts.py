"""What was tried and not kept, as far as it can teach: failures, near misses, ideas for another look, what was worn out.

Read from the records of a view, in one pass. Every word of a description, a reason or a diff goes into fences.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from autoresearch.brief.parts import Item, Part
from autoresearch.brief.sources import Sources, Trees
from autoresearch.fenced import clean, fence, head, line
from autoresearch.history import View
from autoresearch.mutations import near_misses
from autoresearch.records import Direction, Experiment, Kind
from autoresearch.report import show_change, show_number

NOVEL, REGRESSIONS, NEAR, AGAIN, LATELY = 8, 4, 6, 10, 40
"""How many of each are looked at."""
WITH_DIFF = 6
LATE = 3
"""What was beaten after so many pairs was beaten late."""
DIFF_LINES = 80
WORN, WORN_SETTINGS = 4, 6
"""So many tries without a keep are too many: of a kind of change or a set of files; of a constant."""
_FAILED = frozenset({Kind.CRASH, Kind.TIMEOUT, Kind.INVALID})
_PLAIN = frozenset({"no_change", "duplicate", "tampering", "secret"})  # nothing about the idea is learnt from these
_LOST_IT = frozenset({"guard", "check"})
_WORSE = frozenset({"worse", "screened", "tie"})
_CODE = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(slots=True)
class Tried:
    """What a view holds of experiments that were not kept, sorted out.

    Attributes:
        rows: all that count, oldest first; `losses` by which fraction of what it stood on an experiment was worse.
        kept: numbers on the line, oldest first.
    """

    view: View
    metric: str
    direction: Direction
    rows: list[Experiment] = field(default_factory=list)
    kept: list[Experiment] = field(default_factory=list)
    losses: dict[int, float] = field(default_factory=dict)
    revived: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, view: View, metric: str, direction: Direction) -> Tried:
        found = cls(view, metric, direction)
        for e in view:
            if not e.n:
                continue
            if e.kept and not e.rolled_back:
                found.kept.append(e)
            elif not e.lost:
                found.rows.append(e)
                found._measure(e)
            if e.origin is not None:
                found.revived.add(e.origin)
        return found

    def _measure(self, e: Experiment) -> None:
        bar, gain = self.view.bar(e), self.view.gain(e)
        if bar and gain is not None:
            self.losses[e.n] = -gain / abs(bar)

    def trees(self, e: Experiment) -> Trees:
        return self.view.of(e.stands_on).tree, e.tree


def failures(tried: Tried, sources: Sources, near: Part, first: Experiment | None = None) -> Part:
    """The failures that teach most.

    The one that is to be mended is the `first`. Then those that could not be judged or lost a guard or a check, one for each
    reason that is new, the newest first: what broke in the same words before teaches nothing more. Then the largest losses
    against what they had to beat, which say where not to go. What did nothing, came twice or tampered is not among them.
    """
    skip = {item.n for item in near.items}
    novel: dict[tuple[str, str], Experiment] = {}
    for e in reversed(tried.rows):
        if _is_failure(e):
            novel.setdefault(_reason(e), e)
    chosen = [first] if first is not None else []
    chosen += [e for e in sorted(novel.values(), key=lambda e: -e.n)[:NOVEL] if first is None or e.n != first.n]
    worse = [e for e in tried.rows if _is_plain_loss(e) and e.n not in skip and not e.settings and tried.losses.get(e.n, 0) > 0]
    chosen += sorted(worse, key=lambda e: (-tried.losses[e.n], -e.n))[:REGRESSIONS]
    return Part("failures", 0.2, _blocks(chosen, tried, sources), listed=False)


def near(tried: Tried, sources: Sources) -> Part:
    """Near misses: what lost by little (see `mutations.near_misses`), or was beaten only late in a race. The closest first."""
    close = {e.n for e in near_misses(tried.view)}
    found = [e for e in tried.rows if e.n in close or (_is_plain_loss(e) and not e.settings and _raced(e))]
    found = [e for e in found if e.n not in tried.revived]
    chosen = sorted(found, key=lambda e: (tried.losses.get(e.n, 0.0), -e.n))[:NEAR]
    return Part("near", 0.12, _blocks(chosen, tried, sources), listed=False)


def again(tried: Tried, skip: Part) -> Part:
    """Ideas that were discarded on what is not the incumbent any more, the smallest losses first: what they stood on is named.

    Constants that a search set are left to the search.
    """
    best, known = tried.view.incumbent.n, {item.n for item in skip.items}
    found = [
        e
        for e in tried.rows
        if _is_plain_loss(e) and not e.settings and e.stands_on != best and e.n not in tried.revived | known and e.tree
    ]
    chosen = sorted(found, key=lambda e: (tried.losses.get(e.n, math.inf), -e.n))[:AGAIN]
    items = []
    for e in chosen:
        since = [str(k.n) for k in tried.kept if k.n > e.stands_on]
        later = f"; kept since then: {', '.join(since[:8])}{' …' if len(since) > 8 else ''}" if since else ""
        items.append(Item((f"{attempt(e, tried)} (it stood on {e.stands_on}{later})",), e.n, e.n))
    return Part("again", 0.08, items)


def worn(tried: Tried) -> Part:
    """What was tried often without a keep: kinds of change, constants, sets of files."""
    kept_kinds = {e.mutation for e in tried.kept}
    kinds = Counter(e.mutation for e in tried.rows if e.mutation and e.mutation not in kept_kinds)
    rows = [f"- kind of change {name}: {count} times" for name, count in _most(kinds, WORN)]
    good = {name for e in tried.kept for name in e.settings.get("changed", ())}
    settings = Counter(name for e in tried.rows for name in e.settings.get("changed", ()) if name not in good)
    rows += [f"- constant {line(name, 80)}: {count} times" for name, count in _most(settings, WORN_SETTINGS)]
    rows += [f"- changes of {files}: {count} times" for files, count in _most(_file_sets(tried), WORN)]
    return Part("worn", 0.05, [Item((row,), place=i) for i, row in enumerate(rows)])


def _most(found: Counter[str], least: int) -> list[tuple[str, int]]:
    often = [(name, count) for name, count in found.items() if count >= least]
    return sorted(often, key=lambda pair: (-pair[1], pair[0]))[:8]


def _file_sets(tried: Tried) -> Counter[str]:
    """Sets of files that were changed and never kept; none where every change is of the same files."""
    kept = {e.files for e in tried.kept}
    sets = Counter(e.files for e in tried.rows if e.files and not e.settings and not e.quarantined)
    several = len(kept | sets.keys()) > 1
    return Counter({line(", ".join(files), 120): n for files, n in sets.items() if files not in kept} if several else {})


def lately(tried: Tried) -> Part:
    """The last attempts, one line each, oldest first; what is told of elsewhere is left out."""
    last = tried.rows[-LATELY:]
    return Part("tried", 0.15, [Item((attempt(e, tried),), e.n, e.n) for e in reversed(last)])


def attempt(e: Experiment, tried: Tried) -> str:
    """An experiment that was not kept, on one line: number, verdict, value, and what it was; of one that tampered no more
    than the verdict."""
    assert e.verdict is not None
    first = f"- {e.n}: {_verdict(e)}"
    if e.quarantined:
        return first
    value = f" {_value(e, tried)}" if e.value is not None else ""
    words = f": {line(e.verdict.words, 160)}" if _is_failure(e) and e.verdict.words else ""
    taken = ", taken out again" if e.rolled_back else ""
    kind = f" [{e.mutation}]" if e.mutation else ""
    return f"{first}{value}{taken}{kind}: {_named(e)}{words}"


def _named(e: Experiment) -> str:
    return line(e.description) or "(it ended before it said what it was about)"


def _value(e: Experiment, tried: Tried) -> str:
    change = show_change(e.value, tried.view.bar(e))
    return show_number(e.value) + (f" ({change})" if change else "")


def _verdict(e: Experiment) -> str:
    assert e.verdict is not None
    reason = e.verdict.reason if _CODE.fullmatch(e.verdict.reason) else "other"
    return f"{e.verdict.kind.value} ({reason})"


def _is_failure(e: Experiment) -> bool:
    assert e.verdict is not None
    return (e.verdict.kind in _FAILED or e.verdict.reason in _LOST_IT) and e.verdict.reason not in _PLAIN


def _is_plain_loss(e: Experiment) -> bool:
    return e.verdict is not None and e.verdict.kind is Kind.DISCARD and e.verdict.reason in _WORSE


def _reason(e: Experiment) -> tuple[str, str]:
    """What an experiment failed of, without its numbers: the code, and the last line of what was printed, or its words."""
    assert e.verdict is not None
    before, found, last = e.verdict.words.partition("last line: ")
    return e.verdict.reason, re.sub(r"\d+", "#", last if found else before)[:60]


def _raced(e: Experiment) -> bool:
    """Whether it was beaten only late in a race."""
    return sum(m.phase == "race" and m.of == e.n for m in e.measurements[e.base :]) >= LATE


def _blocks(chosen: Sequence[Experiment], tried: Tried, sources: Sources) -> list[Item]:
    """Each with what it was and said, the first ones with their diffs where there is room."""
    shown = [e for e in chosen if e.tree][:WITH_DIFF]
    diffs = dict(zip((e.n for e in shown), sources.diffs([tried.trees(e) for e in shown]), strict=True))
    return [Item(tuple(_forms(e, tried, diffs.get(e.n, ""))), e.n, i) for i, e in enumerate(chosen)]


def _forms(e: Experiment, tried: Tried, diff: str) -> Iterable[str]:
    lead = f"Experiment {e.n}, {_verdict(e)}, on experiment {e.stands_on}:"
    told = [f"{f'[{e.mutation}] ' if e.mutation else ''}{_named(e)}"]
    told += [f"because: {line(e.hypothesis, 300)}"] if e.hypothesis else []
    told += [f"{tried.metric} {_value(e, tried)}"] if e.value is not None else []
    told += [line(e.verdict.words, 300)] if e.verdict is not None and _is_failure(e) and e.verdict.words else []
    cuts = [head(clean(diff).rstrip(), lines) for lines in (DIFF_LINES, DIFF_LINES // 4)] if diff else []
    for rows in (*([*told, "", cut] for cut in dict.fromkeys(cuts)), told):
        yield lead + "\n" + fence("\n".join(rows))
