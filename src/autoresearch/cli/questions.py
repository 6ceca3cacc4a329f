"""Questions to the person at the terminal, or to nobody: then each has its default."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence

from autoresearch.errors import SetupError

NONE = "-"


class Questions:
    """Asks on standard error where standard input is a terminal and `yes` is not said."""

    def __init__(self, *, yes: bool) -> None:
        self.yes = yes
        self.person = sys.stdin.isatty() and not yes

    def text(self, question: str, default: str, flag: str, *, check: Callable[[str], object] = bool) -> str:
        """An answer in words; `check` raises where it is no good, and the person is asked again.

        Raises:
            SetupError: nobody can be asked, and there is no default or it is no good.
        """
        if not self.person:
            if not default:
                raise SetupError(f"no default for {question!r} in this folder: give {flag}; nothing was written")
            check(default)
            return default
        import typer

        while True:
            answer = str(typer.prompt(question, default=default or None, err=True)).strip()
            try:
                check(answer)
            except SetupError as error:
                self.say(str(error))
            else:
                return answer

    def optional(self, question: str, default: str) -> str:
        """An answer in words or `-` for none; asked only where there is something to propose."""
        if not self.person or not default:
            return default
        answer = self.text(f"{question} ({NONE} for none)", default, "")
        return "" if answer == NONE else answer

    def several(self, question: str, default: Sequence[str]) -> tuple[str, ...]:
        """Names separated by spaces, as `optional`."""
        return words(self.optional(question, shlex.join(default)))

    def agreed(self, question: str, *, otherwise: bool) -> bool:
        """Yes or no; `otherwise` where nobody is asked."""
        if not self.person:
            return otherwise
        import typer

        return typer.confirm(question, default=True, err=True)

    def choice(self, question: str, options: Sequence[str]) -> int:
        """Which of the options, counted from 0; the first one by default."""
        if not self.person or len(options) < 2:
            return 0
        self.say(*(f"{i:>3}  {option}" for i, option in enumerate(options, 1)))

        def check(answer: str) -> None:
            if not answer.isdigit() or not 1 <= int(answer) <= len(options):
                raise SetupError(f"{answer!r}: expected a number from 1 to {len(options)}")

        return int(self.text(question, "1", "", check=check)) - 1

    def say(self, *lines: str) -> None:
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()


def words(answer: str) -> tuple[str, ...]:
    """Names separated by spaces, in quotes where they hold some.

    Raises:
        SetupError: quotes that do not close.
    """
    try:
        return tuple(shlex.split(answer))
    except ValueError as error:
        raise SetupError(f"cannot read {answer!r}: {error}") from error
