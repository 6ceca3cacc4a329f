"""Fixtures of the small real projects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import git
from tests.e2e.projects.support import Owner


@pytest.fixture
def make_owner(tmp_path: Path) -> Iterator[Callable[..., Owner]]:
    """Make owners with an empty repository each; at the end each checkout has to be as its owner left it."""
    made: list[Owner] = []

    def make(inside: str = "") -> Owner:
        top, home = tmp_path / f"project-{len(made)}", tmp_path / "home"
        home.mkdir(exist_ok=True)
        (top / inside).mkdir(parents=True)
        git(top, "init", "-q", "-b", "main")
        made.append(Owner(top / inside, home=home))
        return made[-1]

    yield make
    for owner in made:
        if owner.known is not None:
            owner.check_untouched()


@pytest.fixture
def owner(make_owner: Callable[..., Owner]) -> Owner:
    """One person with one project."""
    return make_owner()
