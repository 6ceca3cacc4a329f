"""Small things with text."""

from __future__ import annotations

import pytest

from autoresearch.text import show_bytes


@pytest.mark.parametrize(
    ("number", "words"),
    [(1.5e10, "15 GB"), (1.234e9, "1.23 GB"), (999e6, "999 MB"), (20_000, "20 kB"), (512, "512 bytes"), (0, "0 bytes")],
)
def test_sizes_are_said_in_a_unit_that_shows_them(number: float, words: str) -> None:
    assert show_bytes(number) == words
