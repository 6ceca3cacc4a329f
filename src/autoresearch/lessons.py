"""What a run teaches, in short sentences with their evidence: found by counting, without a model. Reads records only.

The same for the brief, the report and whoever looks. Deterministic: the same decided experiments give the same sentences.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from autoresearch.expectations import expectations
from autoresearch.history import View
from autoresearch.records import Direction, Experiment, Kind
from autoresearch.text import one_line

MOST = 12
_NAMED = 6  # experiments that one sentence names
_LEAST = 3  # of anything, before it is a lesson
_FEW = 2  # of failures, which cost more
_SHARE = 0.25  # of one direction's changes that may have gone the other way, and it is settled still
_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Lesson:
    """A sentence, and how much evidence is behind it: comparable to a number of experiments that all say the same."""

    text: str
    weight: float


def lessons(view: View, metric: str, direction: Direction) -> list[str]:
    """At most twelve sentences, the ones with the most evidence first; each names the experiments that it rests on."""
    known = [e for e in view if e.n and not (e.lost or e.quarantined)]
    found: list[Lesson] = []
    for kind in (_mutations, _constants, _failures, _bounds, _sizes, _files):
        found += kind(view, known)
    found += _expectations(view, metric)
    ordered = sorted(found, key=lambda lesson: (-lesson.weight, lesson.text))
    return [lesson.text for lesson in ordered[:MOST]]


def _names(found: Iterable[Experiment]) -> str:
    """`3, 8, 12`, the newest where there are too many."""
    numbers = [str(e.n) for e in found]
    return (f"{len(numbers)} of them, the last " if len(numbers) > _NAMED else "") + ", ".join(numbers[-_NAMED:])


def _is_kept(e: Experiment) -> bool:
    return e.kept and not e.rolled_back


def _was_tried(e: Experiment) -> bool:
    """Whether it says something of its kind of change: not what a proposer never delivered, nor what is tried again."""
    assert e.verdict is not None
    return e.origin is None and not e.verdict.reason.startswith("proposer_")


def _groups(known: Iterable[Experiment], key: Callable[[Experiment], str]) -> dict[str, list[Experiment]]:
    found: dict[str, list[Experiment]] = {}
    for e in known:
        if name := key(e):
            found.setdefault(name, []).append(e)
    return found


# -- kinds of change, files, sizes -------------------------------------------------------------------------------------


def _shares(groups: dict[str, list[Experiment]], of: Callable[[str], str]) -> Iterator[Lesson]:
    """Which groups were kept more often or less often than all of them together."""
    every = {e.n: e for group in groups.values() for e in group}.values()
    usual = sum(map(_is_kept, every)) / max(1, len(every))
    for name, group in groups.items():
        kept = [e for e in group if _is_kept(e)]
        if len(group) < _LEAST:
            continue
        words = f"{len(kept)} of {len(group)} kept ({_names(kept)})" if kept else f"none of {len(group)} kept ({_names(group)})"
        weight = abs(len(kept) - usual * len(group)) + (len(kept) if kept else 0.0) / 2
        yield Lesson(f"{of(name)}: {words}", weight)


def _mutations(view: View, known: Sequence[Experiment]) -> Iterator[Lesson]:
    groups = _groups((e for e in known if _was_tried(e)), lambda e: e.mutation)
    return _shares(groups, lambda name: f"changes of the kind {name}")


def _files(view: View, known: Sequence[Experiment]) -> Iterator[Lesson]:
    """Nothing where all changes are to the same file."""
    groups: dict[str, list[Experiment]] = {}
    for e in known:
        for path in e.files if _was_tried(e) and not e.settings else ():
            groups.setdefault(path, []).append(e)
    return _shares(groups, lambda path: f"changes to {one_line(path, 80)}") if len(groups) > 1 else iter(())


def _sizes(view: View, known: Sequence[Experiment]) -> Iterator[Lesson]:
    """Above which size no change was kept."""
    counted = [e for e in known if e.lines is not None and _was_tried(e) and not e.settings]
    kept = [e.lines or 0 for e in counted if _is_kept(e)]
    if not kept:
        return
    most = max(0, *kept)
    larger = [e for e in counted if (e.lines or 0) > max(2 * most, most + 5)]
    if len(larger) >= _LEAST:
        least = min(e.lines or 0 for e in larger)
        words = f"no change that adds {least} lines or more was kept, of {len(larger)} ({_names(larger)})"
        yield Lesson(f"{words}; the largest that was added {most}", len(larger) * len(kept) / len(counted) + 1)


# -- constants ---------------------------------------------------------------------------------------------------------


def _constants(view: View, known: Sequence[Experiment]) -> Iterator[Lesson]:
    """Into which direction a constant that was changed alone is better or worse."""
    moves: dict[tuple[str, str], list[Experiment]] = {}
    for e in known:
        for move in _moves(e):
            moves.setdefault(move, []).append(e)
    for (name, way), group in moves.items():
        compared = [(e, gain) for e in group if (gain := view.gain(e)) is not None]
        worse = [e for e, gain in compared if gain < 0]
        kept = [e for e in group if _is_kept(e)]
        if len(worse) >= _LEAST and len(worse) >= (1 - _SHARE) * len(compared):
            yield Lesson(f"{name} {way}: worse in {len(worse)} of {len(compared)} ({_names(worse)})", len(worse))
        elif len(kept) >= _FEW and len(kept) >= 0.5 * len(compared):
            yield Lesson(f"{name} {way}: kept in {len(kept)} of {len(compared)} ({_names(kept)})", 2.0 * len(kept))


def _moves(e: Experiment) -> Iterator[tuple[str, str]]:
    """The one constant that a setting changed, and which way."""
    changed = e.settings.get("changed", {})
    if len(changed) != 1:
        return
    name, value = next(iter(changed.items()))
    before = e.settings.get("here", {}).get(name)
    numbers = [v for v in (before, value) if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(numbers) == 2:
        yield name, f"above {before:g}" if value > before else f"below {before:g}"
    else:
        yield name, f"as {one_line(str(value), 40)}"


# -- what broke --------------------------------------------------------------------------------------------------------


def _failures(view: View, known: Sequence[Experiment]) -> Iterator[Lesson]:
    """Reasons that recur: the same code, and the same words but for their numbers."""
    failed = [e for e in known if e.verdict is not None and e.verdict.kind in (Kind.CRASH, Kind.TIMEOUT, Kind.INVALID)]
    for group in _groups(failed, _likeness).values():
        verdict = group[-1].verdict
        assert verdict is not None
        if len(group) >= _FEW:
            said = f": {words}" if (words := _said(group)) else ""
            what = "nothing changed" if verdict.reason == "no_change" else f"{verdict.kind.value} ({verdict.reason}){said}"
            yield Lesson(f"{len(group)} times {what} ({_names(group)})", 1.5 * len(group))


def _said(group: Sequence[Experiment]) -> str:
    """The words that all of them have; where their numbers differ, without these."""
    words = {_told(e) for e in group}
    return one_line(words.pop() if len(words) == 1 else _NUMBERS.sub("…", max(words)), 120)


def _told(e: Experiment) -> str:
    """What a verdict's words end with: of a program that failed, its last line."""
    assert e.verdict is not None
    return e.verdict.words.rpartition("last line: ")[2][-120:]


def _likeness(e: Experiment) -> str:
    assert e.verdict is not None
    return f"{e.verdict.reason} {_NUMBERS.sub('#', _told(e))}"


def _bounds(view: View, known: Sequence[Experiment]) -> Iterator[Lesson]:
    """Guards and checks that stood in the way, and of how many that would have won."""
    for reason in ("guard", "check"):
        broke = [e for e in known if e.verdict is not None and e.verdict.reason == reason]
        for name, group in _groups(broke, _bound).items():
            if len(group) >= _FEW:
                yield Lesson(f"{reason} {name} broke {len(group)} times ({_names(group)})", 2.0 * len(group))


def _bound(e: Experiment) -> str:
    """The name of the guard or check that a verdict's words begin with."""
    assert e.verdict is not None
    words = e.verdict.words.removeprefix("check ").split()
    return one_line(words[0], 60) if words else ""


# -- expectations ------------------------------------------------------------------------------------------------------


def _expectations(view: View, metric: str) -> Iterator[Lesson]:
    found = expectations(view)
    if found is None or found.ratio is None:
        return
    if found.ratio < 0.5 or found.right < found.measured / 2:
        times = "went the other way" if found.ratio < 0 else f"were {found.ratio:.2g} of that"
        words = f"effects on {metric} were expected too large: measured ones {times} at the median"
        yield Lesson(f"{words}, {found.right} of {found.measured} had the right sign", math.sqrt(found.measured) * 2)
    elif found.ratio > 2:
        words = f"effects on {metric} were {found.ratio:.2g} times what was expected at the median"
        yield Lesson(f"{words}, in {found.measured} experiments", math.sqrt(found.measured))
