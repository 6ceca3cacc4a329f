"""The `command` proposer: a program that is not there ends the run at once; one that fails is a failed proposal."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.conftest import TASK, Toy

from autoresearch.choice import Wish
from autoresearch.errors import ProposerUnfit
from autoresearch.records import Kind


def task(command: str) -> str:
    return TASK + f"[proposer]\nkind = \"command\"\ncommand = '{command}'\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("./no-such-program.sh", r"no-such-program.sh: No such file or directory"),
        ("./plain.txt", r"plain.txt: Permission denied"),
        ("no-such-program | cat; exit 127", r"no-such-program: not found"),
    ],
)
def test_program_that_cannot_be_started_ends_the_run_and_says_what_to_do(
    make_toy: Callable[..., Toy], command: str, words: str
) -> None:
    toy = make_toy({"plain.txt": "no program\n"}, task=task(command))
    with pytest.raises(ProposerUnfit, match=words) as error:
        toy.run(wish=Wish(name="one", experiments=5))
    assert "give a program that is there, or its absolute path" in str(error.value)
    assert [e.decided for e in toy.history().experiments] == [True, False]  # no proposal counts as failed


@pytest.mark.parametrize("command", ["python -c raise", "false", "python -c 'import sys; sys.exit(127)'"])
def test_program_that_fails_is_a_failed_proposal(make_toy: Callable[..., Toy], command: str) -> None:
    toy = make_toy(task=task(command).replace(f"'{command}'", f'"{command}"'))
    toy.run(wish=Wish(name="one", experiments=1))
    verdict = toy.history().experiments[1].verdict
    assert verdict is not None
    assert (verdict.kind, verdict.reason) == (Kind.INVALID, "proposer_crash")
