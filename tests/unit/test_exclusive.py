"""Which metrics are times, which tasks are measured alone, and how evaluations of one session keep apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

from autoresearch.assembly import slots_of
from autoresearch.exclusive import Room
from autoresearch.taskfile import Task, ruler
from autoresearch.taskfile.load import parse
from autoresearch.taskfile.schema import Metric
from autoresearch.taskfile.times import is_exclusive, is_time

TIMES = (
    *(
        "wall_s",
        "cpu_s",
        "p95_ms",
        "mean_us",
        "median_ns",
        "best_µs",
        "step_seconds",
        "startup_sec",
        "build_minutes",
        "seconds",
    ),
    *("http_reqs_per_s", "tokens_per_sec", "ops_per_second", "bench_qps", "api_rps", "qps", "render_fps", "disk_iops"),
    *("latency", "p99_latency", "latency_p99", "p95LatencyMs", "throughput", "train throughput", "duration", "vitest duration"),
    *("runtime", "elapsed", "elapsed_s", "wall_s_p95", "step_ms_mean", "cpu_time", "time", "time_to_first_token", "durationMs"),
    *("http_req_duration_p95_ms", "largest_contentful_paint_ms", "suite.runtime", "GBps"),
)
NOT_TIMES = (
    *("val_bpb", "loss", "accuracy", "class", "tests", "words", "score", "recall_at_10", "f1", "p95", "peak_mb", "bytes", "s"),
    *("lines_pct", "errors", "instructions", "rating", "bits_per_byte", "loss_per_epoch", "timesteps", "time_series_mae"),
    *(
        "timeouts",
        "overtime_violations",
        "val_hr",
        "hr_10",
        "elapse",
        "us",
        "min",
        "total_min",
        "mean",
        "hours_slept_mae",
        "ms2",
    ),
)
UNITS = (
    *("ns", "us", "µs", "μs", "ms", "s", "S", "sec", "seconds", "min", "minutes", "h", "hours"),
    *("req/s", "ops/s", "it/s", "tokens/s", "MB/s", "GiB/sec", "1/s", "img / s", "qps", "rps", "ms/step", "ns/iter", "s/epoch"),
    *("requests per second", "Mbps", "Hz", "frames/min"),
)
OTHER_UNITS = (
    "",
    "bits/byte",
    "%",
    "MB",
    "tests",
    "words",
    "USD",
    "share",
    "instructions",
    "m",
    "m/s",
    "km/h",
    "rad/s",
    "tokens",
)


@pytest.mark.parametrize("name", TIMES)
def test_name_of_a_time_or_a_rate_is_known(name: str) -> None:
    assert is_time(Metric(name=name))


@pytest.mark.parametrize("name", NOT_TIMES)
def test_other_name_is_no_time(name: str) -> None:
    assert not is_time(Metric(name=name))


@pytest.mark.parametrize("unit", UNITS)
def test_unit_of_a_time_or_a_rate_is_known(unit: str) -> None:
    assert is_time(Metric(name="score", unit=unit))


@pytest.mark.parametrize("unit", OTHER_UNITS)
def test_other_unit_is_no_time(unit: str) -> None:
    assert not is_time(Metric(name="score", unit=unit))


def task(metric: str, evaluate: str = "", run: str = "") -> Task:
    text = f'[task]\neditable = ["a*"]\n[evaluate]\ncommand = "true"\n{evaluate}\n[metric]\nname = "{metric}"\n[run]\n{run}\n'
    return parse(text)


def test_times_are_measured_alone_unless_the_task_says_otherwise() -> None:
    assert is_exclusive(task("wall_s"))
    assert not is_exclusive(task("score"))
    assert not is_exclusive(task("wall_s", "exclusive = false"))
    assert is_exclusive(task("score", "exclusive = true"))


def test_whether_evaluations_are_alone_belongs_to_the_ruler() -> None:
    assert ruler(task("wall_s"))[0] != ruler(task("wall_s", "exclusive = false"))[0]


def test_times_get_one_slot_by_themselves_and_as_many_as_are_asked_for() -> None:
    small = "resources = { memory = '1MB', cpus = 1 }"
    assert slots_of(task("wall_s", small)) == 1
    assert slots_of(task("wall_s", small, "evaluations = 3")) == 3
    assert slots_of(task("wall_s", f"{small}\nexclusive = false")) == slots_of(task("score", small))


# -- within one session ------------------------------------------------------------------------------------------------


@pytest.fixture(params=["files", "none"])
def room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    """A session's room, with the machine's locks and without."""
    if request.param == "none":
        monkeypatch.setenv("AUTORESEARCH_ID", "of an evaluation around us")
    found = Room("one")
    yield found
    found.close()


def order(room: Room, *wanted: bool) -> list[str]:
    """In which order evaluations are in the room that come one after the other, each alone or not; each lets all others run."""
    seen: list[str] = []

    async def evaluate(i: int, alone: bool) -> None:
        async with room.hold(alone=alone):
            seen.append(f"+{i}")
            await anyio.wait_all_tasks_blocked()
            seen.append(f"-{i}")

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for i, alone in enumerate(wanted):
                tasks.start_soon(evaluate, i, alone)

    anyio.run(main)
    return seen


def test_slots_of_one_session_keep_out_of_each_others_way(room: Room) -> None:
    seen = order(room, True, True, True)
    assert [(a[1:], b[1:]) for a, b in zip(seen[::2], seen[1::2], strict=True)] == [(a[1:], a[1:]) for a in seen[::2]]


def test_evaluations_that_need_not_be_alone_are_in_the_room_together(room: Room) -> None:
    assert order(room, False, False)[:2] == ["+0", "+1"]


def test_who_waits_to_be_alone_is_not_overtaken(room: Room) -> None:
    assert order(room, False, True, False) == ["+0", "-0", "+1", "-1", "+2", "-2"]


def test_wait_that_is_cancelled_leaves_nothing_held(room: Room) -> None:
    async def main() -> None:
        async with room.hold():
            with anyio.move_on_after(0) as scope:
                async with room.hold(alone=True):
                    raise AssertionError("it is taken")
            assert scope.cancelled_caught
            async with room.hold():
                pass
        async with room.hold(alone=True):
            pass

    anyio.run(main)


def test_failure_inside_gives_the_room_back(room: Room) -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with room.hold(alone=True):
                raise ZeroDivisionError
        async with room.hold(alone=True):
            pass

    anyio.run(main)


def test_wait_for_a_slot_of_the_same_session_is_charged(room: Room) -> None:
    charged = []

    @contextmanager
    def uncharged() -> Iterator[None]:
        charged.append(False)
        yield
        charged.append(True)

    room.uncharged = uncharged

    async def wait() -> None:
        async with room.hold(alone=True):
            pass

    async def main() -> None:
        async with anyio.create_task_group() as tasks, room.hold():
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert charged == []

    anyio.run(main)
    assert all(charged[-1:])  # an instant between the two is nobody's
