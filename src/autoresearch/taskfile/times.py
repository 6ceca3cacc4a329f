"""Which metrics are times or rates: what else runs on the machine changes them, and they are measured alone."""

from __future__ import annotations

import re

from autoresearch.taskfile.schema import Metric, Task

_SHORT = ("ns", "us", "µs", "μs", "ms", "s")
_UNITS = frozenset(
    [
        *_SHORT,
        *("sec", "secs", "second", "seconds", "millisecond", "milliseconds", "microseconds", "nanoseconds"),
        *("min", "mins", "minute", "minutes", "h", "hr", "hrs", "hour", "hours"),
    ]
)
_RATES = frozenset(["qps", "rps", "tps", "fps", "ips", "iops", "bps", "kbps", "mbps", "gbps", "hz"])
_LENGTHS = frozenset(["m", "km", "cm", "mm", "mi", "ft", "rad", "deg"])  # m/s is a speed of something else
_LAST = frozenset([*_SHORT, *_UNITS, *_RATES, "time"]) - {"min", "h", "hr", "hrs"}
_ANYWHERE = frozenset(["latency", "latencies", "throughput", "duration", "durations", "runtime", "walltime", "elapsed"])
_STATISTICS = re.compile(r"mean|median|avg|average|best|min|max|total|sum|std|p\d+")


def is_exclusive(task: Task) -> bool:
    """Whether the task's evaluations run while no other one of ours does on this machine."""
    return is_time(task.metric) if task.evaluate.exclusive is None else task.evaluate.exclusive


def is_time(metric: Metric) -> bool:
    """Whether a metric is a time, or a number of something in a time, by its unit and its name."""
    return _is_unit_of_time(metric.unit.strip().lower()) or _is_name_of_time(metric.name)


def _is_unit_of_time(unit: str) -> bool:
    if unit in _UNITS or unit in _RATES:
        return True
    parts = [part.strip() for part in re.split(r"/|\bper\b", unit)]
    return len(parts) == 2 and (parts[0] in _UNITS or (parts[1] in _UNITS and parts[0] not in _LENGTHS))


def _is_name_of_time(name: str) -> bool:
    words = _words(name)
    if not _ANYWHERE.isdisjoint(words):
        return True
    while words and _STATISTICS.fullmatch(words[-1]):
        words.pop()
    if len(words) < 2:
        return bool(words) and words[0] in _LAST - set(_SHORT) | {"ms", "ns"}
    return words[-1] in _LAST or words[:2] == ["time", "to"]


def _words(name: str) -> list[str]:
    """`p95LatencyMs` and `p95_latency.ms` are the same."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()
    return [word for word in re.split(r"[^a-z0-9µμ]+", spaced) if word]
