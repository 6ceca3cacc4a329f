"""What is particular to one coding-agent program, as records and a contract: its launch, events, usage and errors.

A program is a class of a file `proposers/<name>.py`, or of an entry point; what all share is in `agent.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from autoresearch.records import Usage
from autoresearch.taskfile import schema

Final = Literal["", "done", "turns", "cost", "error", "cut", "rate_limit", "outage", "key", "model", "loop", "refused", "crash"]
"""What the last event says: nothing yet; done; or why it ended. `error` is any other answer of the model's server, `cut` one
that broke off, `loop` and `refused` (permission) count only where nothing was changed. With `rate_limit`, `outage`, `key` and
`model` a program that goes on by itself is ended."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who pays for a program's model, and what of the user's the program gets for that.

    Attributes:
        words: as `ANTHROPIC_API_KEY`, `the subscription of ~/.codex`, `nobody (http://127.0.0.1:11434)`.
        variables: with the key or token, for the program's environment; secret.
        folders: the user's own, writable in place; `blank` what in them is shown empty: memory, hooks, plug-ins;
            `fresh` folders in them in whose place new ones are, that go with the experiment.
        hidden: names of variables that are not passed, though they are set.
    """

    words: str
    subscription: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()
    blank: tuple[Path, ...] = ()
    fresh: tuple[Path, ...] = ()
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """One start of a program. Its prompt comes by standard input.

    Attributes:
        folder: its working directory, the project's in the proposal's tree; `home` and `tmp` are new for each experiment, and
            the same for further calls in one session.
        session: the session to go on with, `` for a new one.
        turns, cost_usd: what is left of its caps, for programs that hold to them by themselves.
        walled: whether our sandbox is around it.
        lasting: whether the session may be gone on with afterwards.
    """

    table: schema.Proposer
    login: Login
    folder: Path
    home: Path
    tmp: Path
    session: str = ""
    turns: int = 40
    cost_usd: float = 1.0
    walled: bool = True
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a program.

    Attributes:
        env: besides PATH, HOME, TMPDIR, language and the login's variables; a value of None takes a variable away.
        files: what is written first, by path relative to `home`.
        along: which further files of JSON lines it leaves below `home` that are read along as events, as a pattern.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str | None] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    along: str = ""


LOOP = 8
"""So many equal calls of a tool in a row are a loop."""


@dataclass(slots=True)
class Transcript:
    """What a program's events have said so far.

    Attributes:
        usage: by answer of the model (or any other unit that events repeat), so that what is told twice counts once.
        cost_usd: what the program says the whole call cost; None where it does not, or is not to be trusted.
        turns: answers of the model.
        text: the last words of the model.
        final, words: what the last event says, and in which words.
        retry_after_s: when a rate limit ends, where that is told.
        denied: tools whose use was refused.
        memory: whatever else a program has to remember from one event to the next.
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
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        return sum(usage.tokens for usage in self.usage.values())

    def called(self, tool: str, args: Any) -> None:
        """The model calls a tool: the same call over and over again is a loop, and ends it."""
        call = f"{tool} {args}"
        last, times = self.memory.get("call", ("", 0))
        self.memory["call"] = call, times + 1 if call == last else 1
        if self.memory["call"][1] >= LOOP and not self.final:
            self.final, self.words = "loop", f"the same call {LOOP} times in a row: {call[:200]}"


class Program(Protocol):
    """What is particular to one agent program.

    Attributes:
        name: of the kind in the task file, and of the executable.
        keys: variables that hold an API key, the first that is set counts (`api_key_env` names another).
        provider: of the price list of genai-prices, `` to find it by the model's name.
        model: what it uses where the task names none, as far as that is known.
        tried: the version that it was tried with; `install` how to get it, a command or a place.
        log_in: how to get a log-in where there is none, in words.
        config: optional; `config(environ, home)` gives a log-in with the user's folders, for a call that a key pays where the
            task says `agent_config = "user"`. `keys_of` is optional too: `keys_of(table)` in place of `keys`.
        beside: optional: the only types of events that are read from files along, which the model's commands may write too.
    """

    name: ClassVar[str]
    keys: ClassVar[tuple[str, ...]]
    provider: ClassVar[str]
    model: ClassVar[str]
    tried: ClassVar[str]
    install: ClassVar[str]
    log_in: ClassVar[str]

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
