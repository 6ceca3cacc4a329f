"""Durations, sizes and effects as people write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.taskfile.units import Effect, effect, seconds, show_seconds, size


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (90, 90.0),
        (0.5, 0.5),
        ("90s", 90.0),
        ("5m", 300.0),
        ("5 min", 300.0),
        ("1h30m", 5400.0),
        ("1 h 30 m", 5400.0),
        ("1.5H", 5400.0),
        ("250ms", 0.25),
        ("2d", 172_800.0),
        ("10 sec", 10.0),
    ],
)
def test_durations(text: Any, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize(
    "text", ["", "5", "m", "5x", "5m!", "-5m", "0s", 0, -1, True, None, [], float("nan"), float("inf"), "1h,5m", "5 0s x"]
)
def test_what_is_no_duration_is_refused_with_an_example(text: Any) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        seconds(text)


@given(st.integers(0, 99), st.integers(0, 59), st.integers(1, 59))
def test_parts_of_a_duration_add_up(hours: int, minutes: int, rest: int) -> None:
    assert seconds(f"{hours}h{minutes}m{rest}s") == hours * 3600 + minutes * 60 + rest


@pytest.mark.parametrize(
    ("text", "value"),
    [(1000, 1000), ("10GB", 10**10), ("512MiB", 2**29), ("1.5 kb", 1500), ("3b", 3), ("2 tb", 2 * 10**12)],
)
def test_sizes(text: Any, value: int) -> None:
    assert size(text) == value


@pytest.mark.parametrize("text", ["", "10", "GB", "10XB", "-1GB", 0, -5, True, 1.5, None, "0GB"])
def test_what_is_no_size_is_refused_with_an_example(text: Any) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        size(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (0, Effect()),
        (0.01, Effect(absolute=0.01)),
        ("0.5", Effect(absolute=0.5)),
        ("0.5%", Effect(relative=0.005)),
        ("2 %", Effect(relative=0.02)),
        (Effect(1.0), Effect(1.0)),
    ],
)
def test_effects(text: Any, value: Effect) -> None:
    assert effect(text) == value


@pytest.mark.parametrize("text", ["", "%", "x", -1, "-1%", True, None, float("nan"), "inf", "nan%", "5%%"])
def test_what_is_no_effect_is_refused_with_both_forms(text: Any) -> None:
    with pytest.raises(ValueError, match=r'a number >= 0 .* or "0.5%"'):
        effect(text)


def test_effect_is_in_the_metrics_unit_or_of_the_baseline_whatever_its_sign() -> None:
    assert effect(0.1).of(50) == 0.1
    assert effect("10%").of(-50) == 5


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "12 ms"), (0.4, "0.4 s"), (5.25, "5.2 s"), (12, "12 s"), (119, "119 s"), (324, "5.4 min"), (25_920, "7.2 h")],
)
def test_durations_for_people(value: float, text: str) -> None:
    assert show_seconds(value) == text
