"""All guesses at what a folder could be improved for, the likeliest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from autoresearch.detect import builds, node, python
from autoresearch.detect.files import Files, in_home
from autoresearch.detect.needs import Needs
from autoresearch.detect.printed import printed
from autoresearch.detect.records import Guess, Number

PROGRAM = "program.md"


def guesses(files: Files, needs: Needs) -> list[Guess]:
    """What the folder could be meant for, the likeliest first; equal commands once."""
    found = sorted(_all(files, needs), key=lambda guess: -guess.rank)
    once: dict[str, Guess] = {}
    for guess in found:
        once.setdefault(guess.command, guess)
    return list(once.values())


def _all(files: Files, needs: Needs) -> Iterator[Guess]:
    if files.has("prepare.py", "train.py", PROGRAM):  # Karpathy's three files
        command = "uv run train.py" if files.has("uv.lock") or files.has("pyproject.toml") else "python train.py"
        data = in_home("~/.cache/autoresearch")  # where his prepare.py puts it
        number = Number("val_bpb", unit="bits/byte")
        yield Guess("training, as Karpathy's", 100, ("train.py",), (), command, number, inputs=data)
    yield from python.guesses(files, needs)
    yield from node.guesses(files)
    yield from builds.guesses(files)


def about(files: Files, needs: Needs, command: str) -> Guess:
    """What can be said of a command that was given: the number that its script prints, and the files that it works on."""
    known = next((guess for guess in guesses(files, needs) if guess.command == command), None)
    if known:
        return known
    script = next((path for path in files.sources if path in command.replace("./", " ").split()), "")
    if not script:
        return Guess("the command", 0, command=command)
    number = printed(files.read(script), python=script.endswith(".py")) or Number()
    editable = python.works_on(files, script) if script.endswith(".py") else ()
    return replace(Guess("the command", 0, command=command), number=number, editable=editable)
