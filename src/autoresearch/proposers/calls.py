"""One start of an agent program: shut in, with a log-in, a prompt and files of its own."""

from __future__ import annotations

import fnmatch
import itertools
import os
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from autoresearch.errors import Refused
from autoresearch.masking import Mask
from autoresearch.patience import Patience
from autoresearch.process import Exit, Job, Supervisor
from autoresearch.process.confinement import Confinement
from autoresearch.process.environment import remove
from autoresearch.proposers.place import Place
from autoresearch.proposers.program import Call, Launch, Login, Program, Transcript
from autoresearch.proposers.reading import Caps, Ending, Reading, run
from autoresearch.records import Bind
from autoresearch.taskfile import schema

_PROXIES = tuple(n for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY") for n in (name, name.lower()))
_KEEP = 1 << 16  # bytes of standard output: the events are in a file
_PLAIN_S = 20.0
_MOST_LOOKED_AT, _DEEPEST = 5000, 10  # entries, and folders in each other


class Caller:
    """Starts one program, as often as is wanted, always with the same walls around it.

    Args:
        cost: what a transcript comes to in USD, None where that is not known.
    """

    def __init__(
        self,
        program: Program,
        table: schema.Proposer,
        login: Login,
        supervisor: Supervisor,
        confinement: Confinement,
        mask: Mask,
        cost: Callable[[Transcript], float | None],
    ) -> None:
        self._program, self._table, self._login = program, table, login
        self._supervisor, self._mask, self._cost = supervisor, mask, cost
        sandbox = confinement.sandbox
        if sandbox is not None:
            confinement = replace(confinement, sandbox=replace(sandbox, writable=(*sandbox.writable, *login.folders)))
        self._confinement = confinement

    @property
    def left_open(self) -> str:
        """What of the log-in's folder cannot be kept from it here, in words."""
        if not self._login.blank or self._supervisor.namespaces:
            return ""
        return f"no namespaces here: only its own flags keep what else is in {self._login.folders[0]} out"

    def launch(self, folder: Path, home: Path, tmp: Path, caps: Caps, **session: Any) -> tuple[Launch, dict[str, str]]:
        """How it is started, and what its environment holds besides the clean one.

        Args:
            session: `session` and `lasting` of the call.
        """
        walled = self._confinement.sandbox is not None
        call = Call(
            self._table, self._login, folder, home, tmp, turns=caps.turns, cost_usd=caps.cost_usd, walled=walled, **session
        )
        launch = self._program.launch(call)
        if self._table.command:
            launch = replace(launch, argv=(*shlex.split(self._table.command), *launch.argv[1:]))
        proxies = {name: os.environ[name] for name in _PROXIES if name in os.environ}
        env = {"LANG": "C.UTF-8", "TERM": "dumb", **proxies, **self._login.variables, **launch.env}
        return launch, {name: value for name, value in env.items() if value is not None}

    async def call(
        self,
        place: Place,
        prompt: str,
        env: Mapping[str, str],
        caps: Caps,
        patience: Patience,
        *,
        session: str = "",
        lasting: bool = False,
        say: Callable[[str], None] = lambda words: None,
    ) -> Ending:
        """Start it with a prompt, and hold it to its caps.

        Raises:
            DiskFault, RunnerLost: the machine's fault.
            SetupError: the task's table asks for what it cannot do.
            Refused: it wrote into the user's folder what would tell later sessions something.
        """
        launch, more = self.launch(place.folder, place.home, place.tmp, caps, session=session, lasting=lasting)
        self._lay_out(launch, place)
        number = _next(place.records)
        told = place.records / ("prompt.md" if number == 1 else f"prompt-{number}.md")
        stdin = place.tmp / ".prompt.md"  # it does not see the records, nor do those who start it from behind its walls
        told.write_text(prompt, encoding="utf-8")
        _put(place.tmp, stdin.name, prompt)
        job = Job(
            launch.argv,
            place.folder,
            {**env, **more},
            grace_s=1.0 if self._login.folders else 0.0,
            stdin=stdin,
            log=place.records / ("agent.log" if number == 1 else f"agent-{number}.log"),
            masked=self._mask.pairs,
            locked=self._table.sandbox != "own",
            mounts=[*self._blank(place), *self._fresh(place)],
            events=place.records / f"events-{number}-{self._program.name}.jsonl",
            keep=_KEEP,
        )
        assert job.events is not None
        beside = _Beside(place, launch.along, number)
        reading = Reading(self._program, job.events, beside.files, self._cost)
        missing = [path for path in self._login.blank if not os.path.lexists(path)]
        try:
            ending = await run(self._supervisor, self._shut_in(job, place), reading, caps, patience, say)
        finally:
            beside.forget()
            planted = _take_away(missing, place.records)
        if planted:
            names = ", ".join(map(str, planted))
            words = f"{self._program.name} wrote {names}, outside its tree; it is in the experiment's folder now"
            raise Refused("tampering", words)
        return ending

    async def plain(self, place: Place, args: Sequence[str], env: Mapping[str, str]) -> Exit:
        """Run the program with other arguments, as for its version, and without a log-in."""
        own = shlex.split(self._table.command) or [self._program.name]
        job = Job([*own, *args], place.folder, env, timeout_s=_PLAIN_S, locked=True, keep=_KEEP)
        return await self._supervisor.run(self._shut_in(job, place))

    def settle(self, place: Place) -> None:
        """Write down what earlier calls have cost, as far as their events say it: a kill may have come before that was done."""
        for path in sorted(place.records.glob(f"events-*-{self._program.name}.jsonl")):
            named = f"*/along/{place.records.name}-{path.name.split('-')[1]}-*"
            beside = _starts(place.scratch.parent.glob(named))  # in whatever slot that was
            Reading(self._program, path, partial(dict, beside), self._cost).more(last=True)
            for file in beside:
                file.unlink()

    def _shut_in(self, job: Job, place: Place) -> Job:
        return self._confinement.shut_in(
            job,
            writable=(place.root, place.home, place.tmp),
            shown=place.shown,
            hidden=(*place.hidden, *(path for path in (*place.blank, *self._login.blank) if path.is_dir())),
            sockets=place.scratch / "net",
        )

    def _lay_out(self, launch: Launch, place: Place) -> None:
        """Write the files that it is started with into its new HOME."""
        for name, text in launch.files.items():
            _put(place.home, name, text)

    def _blank(self, place: Place) -> list[Bind]:
        """Empty files in the place of those that it is not to read."""
        empty = place.scratch / "empty"
        empty.write_bytes(b"")
        return [Bind(path, empty) for path in (*place.blank, *self._login.blank) if path.is_file()]

    def _fresh(self, place: Place) -> list[Bind]:
        """New folders in the place of the user's own; they go with its HOME."""
        found = [(folder, place.home / ".fresh" / folder.name) for folder in self._login.fresh]
        for folder, new in found:
            folder.mkdir(parents=True, exist_ok=True)
            _folder(place.home, new)
        return [Bind(folder, new, readonly=False) for folder, new in found]


def _put(top: Path, name: str, text: str) -> None:
    """Write a private file below a folder that an earlier call could write: no link that it left is followed."""
    path = top / name
    _folder(top, path.parent)
    if os.path.lexists(path):
        remove(path)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _folder(top: Path, folder: Path) -> None:
    """Make a folder below another one; what lies in its way and is none goes."""
    at = top
    for part in folder.relative_to(top).parts:
        at /= part
        if os.path.lexists(at) and (at.is_symlink() or not at.is_dir()):
            remove(at)
        at.mkdir(exist_ok=True, mode=0o700)


def _take_away(missing: Iterable[Path], records: Path) -> list[Path]:
    """Move to the records what was not there before, and would tell the user's own programs something from now on."""
    planted = [path for path in missing if os.path.lexists(path)]
    for path in planted:
        shutil.move(path, records / f"planted-{path.name}")
    return planted


def _next(records: Path) -> int:
    """The number of the next call; they are counted over all attempts at an experiment."""
    taken = [
        int(path.name.split("-")[1]) for path in records.glob("events-[0-9]*-*.jsonl") if path.name.split("-")[1].isdigit()
    ]
    return max(taken, default=0) + 1


class _Beside:
    """Further files of events that a program leaves in its HOME: held fast beside it, so that they outlive a kill.

    They are not covered, so they are no records; what they say of tokens is in the records when they go.
    """

    def __init__(self, place: Place, pattern: str, number: int) -> None:
        self._home, self._pattern = place.home, pattern
        self._folder, self._prefix = place.scratch / "along", f"{place.records.name}-{number}-"
        self._began = {path: path.lstat().st_size for path in self._found()}  # what an earlier call in the session wrote

    def _found(self) -> list[Path]:
        return sorted(_plain_files(self._home, self._pattern)) if self._pattern else []

    def files(self) -> dict[Path, int]:
        for path in self._found():
            with suppress(FileNotFoundError, FileExistsError):  # it has gone meanwhile; or is held
                kept = self._folder / f"{self._prefix}{self._began.get(path, 0)}-{path.lstat().st_ino}-{path.name}"
                self._folder.mkdir(exist_ok=True)
                os.link(path, kept, follow_symlinks=False)
        return _starts(self._folder.glob(f"{self._prefix}*"))

    def forget(self) -> None:
        for path in self._folder.glob(f"{self._prefix}*"):
            path.unlink()


def _plain_files(top: Path, pattern: str) -> Iterator[Path]:
    """What is found below a folder that a program writes: no link leads out of it, and there is an end to looking.

    Args:
        pattern: as of `glob`, with a literal beginning; `**/` is any folders.
    """
    parts = pattern.split("/")
    literal = list(itertools.takewhile(lambda part: "*" not in part, parts[:-1]))
    begin, wanted = top.joinpath(*literal), f"{top}/{pattern.replace('**/', '')}"
    if any(top.joinpath(*literal[:i]).is_symlink() for i in range(1, len(literal) + 1)):
        return
    looked, stack = 0, [(str(begin), 0)]
    while stack and looked < _MOST_LOOKED_AT:
        folder, depth = stack.pop()
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in itertools.islice(entries, _MOST_LOOKED_AT - looked):
                looked += 1
                if entry.is_dir(follow_symlinks=False) and depth < _DEEPEST:
                    stack.append((entry.path, depth + 1))
                elif entry.is_file(follow_symlinks=False) and fnmatch.fnmatchcase(entry.path, wanted):
                    yield Path(entry.path)


def _starts(kept: Iterable[Path]) -> dict[Path, int]:
    """From which byte on each of the files is of the call that it was kept for."""
    return {path: int(path.name.split("-")[2]) for path in sorted(kept)}
