"""Where an evaluation runs and its number is not found: the [metric] lines by which it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from autoresearch.checkup.measure import Tried
from autoresearch.checkup.mend import Mend
from autoresearch.records import Outcome
from autoresearch.runners import numbers as numbers_reader
from autoresearch.runners.formats import Found
from autoresearch.taskfile import Task

_KIND = "reading"
_ALIKE = 0.6


def hints(tried: Tried, task: Task) -> Iterator[tuple[Mend, ...]]:
    """Ways to read a number from what the evaluation left, the likeliest first."""
    if tried.readout.outcome is not Outcome.NO_MEASUREMENT:
        return
    if numbers_reader.ON_STANDARD_ERROR in tried.readout.words and "2>&1" not in task.evaluate.command:
        because = f"{task.metric.name} is printed on standard error, which is not read"
        yield (Mend("evaluate", "command", f"{task.evaluate.command} 2>&1", because=because, kind=_KIND),)
    if "different values" in tried.readout.words:
        because = f"{task.metric.name} is printed more than once with different values; the last one is the result"
        yield (Mend("metric", "take", "last", because=because, kind=_KIND),)
    for one in sorted(tried.found, key=lambda f: f.name != task.metric.name)[:12]:  # stable: best first in each half
        if _is_meant(one, tried.found, task.metric.name):
            yield tuple(_lines(one, task))


def _is_meant(one: Found, found: Sequence[Found], name: str) -> bool:
    """Whether a number may be the one that the task names: a known tool's, the only one there is, or one of like name."""
    plain, wanted = one.name.lower(), name.lower()
    alike = plain in wanted or wanted in plain or SequenceMatcher(None, plain, wanted).ratio() > _ALIKE
    return bool(one.tool) or len(found) == 1 or alike


def numbers(tried: Tried) -> str:
    """The numbers that an evaluation prints, for the owner to choose from, or ``."""
    names = [f"{one.name} = {one.value:g}" for one in tried.found[:8]]
    return f"; it prints {', '.join(names)}" if names else ""


def _lines(one: Found, task: Task) -> Iterator[Mend]:
    of = f" of {one.tool}" if one.tool else ""
    because = f"the number{of} is in: {one.line.strip()[:120]}" if one.line else f"the number{of} is in {one.file}"
    for key in ("pattern", "file", "path"):
        value = getattr(one, key)
        if value or getattr(task.metric, key):
            yield Mend("metric", key, value, because=because, kind=_KIND)
    if not (one.pattern or one.file) and one.name != task.metric.name:
        yield Mend("metric", "name", one.name, because=because, kind=_KIND)
    if (one.take or "only") != task.metric.take:
        yield Mend("metric", "take", "" if one.take == "only" else one.take, because=because, kind=_KIND)


def warning(tried: Tried, task: Task) -> str:
    """In which words the direction of the task is not that of what is read, or ``."""
    for one in tried.found:
        same = one.name == task.metric.name or (task.metric.pattern and one.pattern == task.metric.pattern)
        if same and one.tool and one.direction != task.metric.direction:
            return (
                f"[metric] direction is {task.metric.direction}, but {one.name} of {one.tool} is usually to {one.direction}: "
                "look whether that is meant"
            )
    return ""
