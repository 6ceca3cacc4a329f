"""What all coding-agent programs share: containment, prompt, time, turns, tokens, money, log, session and outcome.

What is particular to one, its launch, events, usage and errors, is a class in a file of its own: `claude.py`, `codex.py`, …
A run of the program is judged by its final event, then by what changed in the tree, then by its exit code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from autoresearch.records import Usage
from autoresearch.taskfile import schema

Final = Literal["", "done", "turns", "cost", "error", "rate_limit", "outage", "key", "model", "loop", "refused", "crash"]
"""What the last event says: nothing yet; done; or why it ended. `error` is any other answer of the model's server, `loop` and
`refused` (permission) count only where nothing was changed."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who pays for a program's model, and what of the user's the program gets for that.

    Attributes:
        words: as `ANTHROPIC_API_KEY`, `the subscription of ~/.codex`, `nobody (http://127.0.0.1:11434)`.
        variables: with the key or token, for the program's environment; secret.
        folders: the user's own, writable in place; `blank` what in them is shown empty: memory, hooks, plug-ins.
        hidden: names of variables that are not passed, though they are set.
    """

    words: str
    subscription: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()
    blank: tuple[Path, ...] = ()
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """One start of a program. Its prompt comes by standard input.

    Attributes:
        folder: its working directory, the project's in the proposal's tree; `home` and `tmp` are new for each experiment, and
            the same for further calls in one session.
        session: the session to go on with, `` for a new one.
        turns, cost_usd: what is left of its caps, for programs that hold to them by themselves.
    """

    table: schema.Proposer
    login: Login
    folder: Path
    home: Path
    tmp: Path
    session: str = ""
    turns: int = 40
    cost_usd: float = 1.0


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a program.

    Attributes:
        env: besides PATH, HOME, TMPDIR, language and the login's variables.
        files: what is written first, by path relative to `home`.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Transcript:
    """What a program's events have said so far.

    Attributes:
        usage: by answer of the model (or any other unit that events repeat), so that what is told twice counts once.
        cost_usd: what the program says the whole call cost; None where it does not.
        turns: answers of the model.
        text: the last words of the model.
        final, words: what the last event says, and in which words.
        retry_after_s: when a rate limit ends, where that is told.
        denied: tools whose use was refused.
    """

    session: str = ""
    model: str = ""
    usage: dict[str, Usage] = field(default_factory=dict)
    cost_usd: float | None = None
    turns: int = 0
    text: str = ""
    final: Final = ""
    words: str = ""
    retry_after_s: float | None = None
    denied: list[str] = field(default_factory=list)


class Program(Protocol):
    """What is particular to one agent program. A class of a file `proposers/<name>.py`, or of an entry point.

    Attributes:
        name: of the kind in the task file, and of the executable.
        keys: variables that hold an API key, the first that is set counts (`api_key_env` names another).
        provider: of the price list of genai-prices, `` to find it by the model's name.
        model: what it uses where the task names none, as far as that is known.
    """

    name: ClassVar[str]
    keys: ClassVar[tuple[str, ...]]
    provider: ClassVar[str]
    model: ClassVar[str]

    def subscription(self, table: schema.Proposer, environ: Mapping[str, str], home: Path) -> Login | None:
        """The log-in by a subscription that is there, None if there is none."""

    def launch(self, call: Call) -> Launch:
        """How the program is started for a call.

        Raises:
            SetupError: the task's table asks for what it cannot do.
        """

    def read(self, event: Mapping[str, Any], seen: Transcript) -> None:
        """Take in one event, a line of JSON of its standard output."""

    def end(self, code: int | None, tail: str, seen: Transcript) -> None:
        """Once it has ended: what is known only from its exit code and last lines goes into `seen.final` and `seen.words`."""
