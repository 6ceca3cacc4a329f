"""From flags, a look at the folder, answers and a try to a task."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch.cli.questions import NONE, Questions, words
from autoresearch.cli.wording import Answers, task_text
from autoresearch.detect import Files, Guess, Needs, Number, about, direction_of, for_command, guesses, missing, needs
from autoresearch.errors import SetupError
from autoresearch.records import Direction
from autoresearch.report import show_number
from autoresearch.taskfile.scope import is_pattern

_SHOWN = 8
_ELSE = "something else"


@dataclass(frozen=True, slots=True)
class Given:
    """What was given as flags; None and an empty scope or command are asked for, or found."""

    name: str | None = None
    edit: tuple[str, ...] = ()
    command: str | None = None
    metric: str | None = None
    direction: Direction | None = None
    unit: str | None = None
    pattern: str | None = None
    file: str | None = None
    path: str | None = None
    take: str | None = None
    inputs: tuple[str, ...] | None = None
    setup: str | None = None
    build: str | None = None
    copies: tuple[str, ...] | None = None
    cache: tuple[str, ...] | None = None
    env: tuple[str, ...] | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing has to be asked."""
        return bool(self.edit and self.command and self.metric)

    def keys(self) -> dict[tuple[str, str], str | tuple[str, ...]]:
        """The keys of the task file that were given."""
        found: dict[tuple[str, str], str | tuple[str, ...] | None] = {
            ("task", "name"): self.name,
            ("task", "editable"): self.edit or None,
            ("evaluate", "command"): self.command,
            ("evaluate", "setup"): self.setup,
            ("evaluate", "build"): self.build,
            ("evaluate", "inputs"): self.inputs,
            ("evaluate", "copy"): self.copies,
            ("evaluate", "cache"): self.cache,
            ("evaluate", "env"): self.env,
            ("metric", "name"): self.metric,
            ("metric", "direction"): self.direction,
            ("metric", "unit"): self.unit,
            ("metric", "pattern"): self.pattern,
            ("metric", "file"): self.file,
            ("metric", "path"): self.path,
            ("metric", "take"): self.take,
        }
        return {key: value for key, value in found.items() if value is not None}


def given_by(
    *,
    name: str | None = None,
    edit: Sequence[str] | None = None,
    command: str | None = None,
    metric: str | None = None,
    direction: Direction | None = None,
    unit: str | None = None,
    pattern: str | None = None,
    file: str | None = None,
    path: str | None = None,
    take: str | None = None,
    inputs: Sequence[str] | None = None,
    setup: str | None = None,
    build: str | None = None,
    copies: Sequence[str] | None = None,
    cache: Sequence[str] | None = None,
    env: Sequence[str] | None = None,
) -> Given:
    """Flags as they come from the command line: a list that was not given is empty, `-` in it means none."""

    def names(values: Sequence[str] | None) -> tuple[str, ...] | None:
        return tuple(value for value in values if value != NONE) if values else None

    return Given(
        name=name,
        edit=tuple(edit or ()),
        command=command,
        metric=metric,
        direction=direction,
        unit=unit,
        pattern=pattern,
        file=file,
        path=path,
        take=take,
        inputs=names(inputs),
        setup=setup,
        build=build,
        copies=names(copies),
        cache=names(cache),
        env=names(env),
    )


def gather(files: Files, given: Given, asks: Questions, *, run_it: bool) -> Answers:
    """Ask for what was not given; with `run_it`, or on a yes, the command is run once before its number is asked for.

    Raises:
        SetupError: an answer is no good, or missing where nobody can be asked.
    """
    need = needs(files)
    guess = _guess(files, need, given, asks)
    edit = given.edit or _asked_scope(files, guess, asks)
    existing(files.folder, edit)
    command = given.command or asks.text("Which command measures?", guess.command, "--eval")
    if command != guess.command:
        guess = about(files, need, command)
    answers = _with_needs(files, for_command(files, need, guess.command), guess, given, asks, edit)
    agreed = run_it or asks.agreed("Run it once in a sealed tree now to see what it prints?", otherwise=False)
    seen = _seen(files, answers, asks) if agreed else ()
    return replace(answers, number=_number(answers.number, given, asks, seen))


def existing(folder: Path, edit: tuple[str, ...]) -> None:
    """Refuse a literal path that is not there, or that is a folder.

    Raises:
        SetupError: naming it.
    """
    if not edit:
        raise SetupError("no file may be changed, expected at least one name or glob")
    for path in edit:
        if not is_pattern(path) and not (folder / path).exists():
            raise SetupError(f"{path!r} does not exist in {folder}, expected a file or a glob; nothing was written")
        if not is_pattern(path) and (folder / path).is_dir():
            raise SetupError(f"{path!r} is a folder, expected '{path.rstrip('/')}/**' for everything in it")


def _guess(files: Files, need: Needs, given: Given, asks: Questions) -> Guess:
    if given.command:
        return about(files, need, given.command)
    found = [*guesses(files, need)[:_SHOWN], Guess(_ELSE, 0)]
    options = [f"{guess.what} · {guess.number.name}" if guess.number.name else guess.what for guess in found]
    return found[asks.choice("What shall be improved?", options)]


def _asked_scope(files: Files, guess: Guess, asks: Questions) -> tuple[str, ...]:
    question = "Which files may be changed? (names or globs, separated by spaces)"
    default = " ".join(path if is_pattern(path) and " " not in path else shlex.quote(path) for path in guess.editable)
    return words(asks.text(question, default, "--edit", check=lambda answer: existing(files.folder, words(answer))))


def _with_needs(files: Files, need: Needs, guess: Guess, given: Given, asks: Questions, edit: tuple[str, ...]) -> Answers:
    """The task but for its number, with what its tree needs beyond git."""
    inputs = dict.fromkeys((*need.inputs, *guess.inputs, *missing(files, guess.command, edit)))
    cache = dict.fromkeys((*need.cache, *guess.cache))

    def several(flag: tuple[str, ...] | None, question: str, default: tuple[str, ...]) -> tuple[str, ...]:
        return asks.several(question, default) if flag is None else flag

    def text(flag: str | None, question: str, default: str) -> str:
        return asks.optional(question, default) if flag is None else flag

    return Answers(
        name=given.name or files.folder.name,
        editable=edit,
        frozen=() if given.edit else guess.frozen,
        command=guess.command,
        number=overlaid(guess.number, given),
        inputs=several(given.inputs, "What that git does not know does it read?", tuple(p for p in inputs if p not in edit)),
        copies=several(given.copies, "What does it write to, in a fresh copy each time?", need.copies),
        cache=several(given.cache, "What is kept from one evaluation to the next?", tuple(cache)),
        setup=text(given.setup, "Which command sets a new tree up?", need.setup),
        build=text(given.build, "Which command builds a candidate?", guess.build),
        env=given.env or (),
    )


# -- the number ----------------------------------------------------------------------------------------------------------


def overlaid(number: Number, given: Given) -> Number:
    """A number with what flags say of it; one of another name has nothing else in common with it."""
    if given.metric and given.metric != number.name:
        number = Number(given.metric, direction_of(given.metric))
    return Number(
        name=number.name,
        direction=given.direction or number.direction,
        unit=number.unit if given.unit is None else given.unit,
        pattern=number.pattern if given.pattern is None else given.pattern,
        file=number.file if given.file is None else given.file,
        path=number.path if given.path is None else given.path,
        take=given.take or number.take,
    )


def _seen(files: Files, answers: Answers, asks: Questions) -> tuple[Number, ...]:
    """The numbers that a try shows, the likeliest first: the expected one if it was read.

    Raises:
        SetupError: it failed, and no task is wanted then.
    """
    from autoresearch.cli.trial import try_once

    expected = answers.number if answers.number.name else Number("wall_s")
    asks.say(f"running {answers.command} …")
    trial = try_once(files.folder, task_text(replace(answers, number=expected)), files.unknown)
    if not trial.ok:
        asks.say(f"it failed: {trial.words}", "what it misses, `autoresearch check --fix` finds out once the task is written")
        if not asks.agreed("Write the task all the same?", otherwise=True):
            raise SetupError("nothing was written")
        return ()
    numbers = dict(trial.numbers)
    if trial.value is not None and answers.number.name:
        numbers = {answers.number: trial.value} | {n: v for n, v in numbers.items() if n.name != answers.number.name}
    shown = ", ".join(f"{number.name} {show_number(value)}" for number, value in list(numbers.items())[:_SHOWN])
    asks.say(f"it gave: {shown}" if shown else "no number was seen in what it printed: `wall_s`, its seconds, works always")
    return tuple(numbers)


def _number(expected: Number, given: Given, asks: Questions, seen: tuple[Number, ...]) -> Number:
    """The metric: what is expected or was seen is the default of each question."""
    best = expected if expected.name else seen[0] if seen else Number()
    if seen and not given.metric:
        best = overlaid(seen[0], given)
    name = given.metric or asks.text("What is the number called?", best.name, "--metric, or --try to run it once")
    if name != best.name:
        best = overlaid(next((n for n in seen if n.name == name), Number(name, direction_of(name))), given)
    question = "Is lower or higher better? (minimize, maximize)"
    return replace(best, direction=given.direction or _direction(asks.text(question, best.direction, "", check=_direction)))


def _direction(answer: str) -> Direction:
    if answer == "minimize":
        return "minimize"
    if answer == "maximize":
        return "maximize"
    raise SetupError(f"direction {answer!r}: expected minimize or maximize")
