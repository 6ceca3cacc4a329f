"""`init "…" --with AGENT`: an agent drafts a task in a sealed copy; nothing of it is in the folder, or run, before a yes.

The copy is a proposal's tree of the last commit in which everything may be written; the agent has the walls, the log-in and the
cap of a proposal. What it wrote anew is taken over as files that git does not know; nothing is committed and no run is started.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import anyio

from autoresearch import consent, git, payers, proposers
from autoresearch.assembly import Assembly
from autoresearch.budget import Budget
from autoresearch.cli import check
from autoresearch.cli.draft_words import prompt
from autoresearch.cli.drafted import OWN, Drafted, completed, drafted, take_over
from autoresearch.cli.start import confirmer
from autoresearch.cli.trial import Elsewhere
from autoresearch.contracts import Brief
from autoresearch.detect import Files
from autoresearch.errors import AutoresearchError, ProposerWaits, Refused, SetupError, ungrouped
from autoresearch.history import History, View
from autoresearch.ledger import MemoryLedger
from autoresearch.lock import OwnerLock
from autoresearch.paths import CACHE_LOCK
from autoresearch.process import Supervisor
from autoresearch.project import Project
from autoresearch.proposers.program import Login
from autoresearch.records import Allowance, Blob, Candidate, Edits, Experiment, Proposal, RunRecord
from autoresearch.taskfile import FILE, Scope, Task, schema
from autoresearch.taskfile.load import parse
from autoresearch.text import describe, one_line, show_usd
from autoresearch.workspace.tree import remove

RUN = ".draft"  # no run can have this name
_NO_TASK = '[task]\nname = "draft"\neditable = ["**"]\n[evaluate]\ncommand = "true"\n[metric]\nname = "wall_s"\n'
_SHOWN = 12

Confirm = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class With:
    """Who drafts.

    Attributes:
        cost_usd: the cap of all that is drafted together.
    """

    kind: str
    model: str = ""
    base_url: str = ""
    cost_usd: float | None = None

    def table(self) -> schema.Proposer:
        """As the table of a task file.

        Raises:
            SetupError: it is nobody who could write a task.
        """
        proposers.known(self.kind)
        if not proposers.writes_code(self.kind):
            raise SetupError(
                f"--with {self.kind}: expected one that writes: claude, codex, gemini, opencode, pi, llm, or a plug-in of yours"
            )
        wanted = {"kind": self.kind, "model": self.model, "base_url": self.base_url, "max_cost_usd": self.cost_usd}
        return schema.Proposer.model_validate({"may_run": "none", **{k: v for k, v in wanted.items() if v}})

    def keys(self) -> dict[str, str]:
        """What the drafted task says of who proposes."""
        found = {"kind": self.kind, "model": self.model, "base_url": self.base_url}
        return {key: value for key, value in found.items() if value}


def draft_task(folder: Path, goal: str, wanted: With, *, yes: bool, force: bool) -> int:
    """Let an agent draft a task; 0 it is ready, 1 it is written and not ready.

    Raises:
        SetupError: nothing was drafted, or the owner does not want it; nothing was written.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise SetupError(f"{folder} is no folder: make it first, or give another one with --folder")
    if (folder / FILE).exists() and not force:
        raise SetupError(f"{folder / FILE} exists already: edit it, or let it be drafted anew with --force")
    confirm = confirmer(yes)
    if confirm is None:
        raise SetupError("nobody can be asked here, and a draft costs money and is tried out: say --yes to both")
    project, table = Project(folder), wanted.table()
    location = project.location(confirm)
    with ungrouped(), _Copy(project, location, table, confirm) as copy:
        _say(copy.line)
        if not confirm(f"Let {wanted.kind} draft a task for {goal.strip()!r}?"):
            raise SetupError("nothing was drafted")
        return _Rounds(project, goal, wanted, copy, confirm, yes=yes, force=force).run()


class _Rounds:
    """From the first draft to a task that is ready, or to the last that is given back."""

    def __init__(
        self, project: Project, goal: str, wanted: With, copy: _Copy, confirm: Confirm, *, yes: bool, force: bool
    ) -> None:
        self._project, self._folder, self._goal, self._wanted = project, project.folder, goal, wanted
        self._copy, self._confirm, self._yes = copy, confirm, yes
        self._replace: dict[str, bytes | None] = dict.fromkeys(OWN) if force else {}
        self._written: dict[str, bytes] = {}  # what lies in the folder by now
        self._draft, self._words = Drafted({}), ""

    def run(self) -> int:
        """0 ready, 1 written and not ready.

        Raises:
            SetupError: nothing was written.
        """
        findings: list[str] = []
        ready = False
        for attempt in range(self._copy.table.fixes + 1):
            if attempt:
                _say(f"given back to {self._wanted.kind}")
            if not self._ask(findings):
                break
            findings = [*self._draft.problems, *self._draft.left_out] if self._draft.problems else []
            if findings:
                _say(*findings)
            else:
                self._take_over()
                findings, ready = _tried(self._folder, yes=self._yes)
                self._written = {path: (self._folder / path).read_bytes() for path in self._written}  # `check` mended it
            if ready or not self._copy.any_left:
                break
        if not self._written:
            what = f"{self._wanted.kind} drafted no task that can be used: {'; '.join(findings)}"
            raise SetupError(f"{what}; its log: {self._copy.log}")
        return _finish(self._folder, list(self._written), self._copy, ready=ready)

    def _ask(self, findings: Sequence[str]) -> bool:
        """Let the agent draft, or mend its draft; False where it fails and something was written before."""
        modes = {path: blob.mode for path, blob in self._draft.files.items()}
        now = {path: Blob(body, modes.get(path, "100644")) for path, body in self._written.items()} or self._draft.files
        try:
            self._words, edits = self._copy.draft(prompt(self._goal, Files(self._folder), findings=findings), now)
        except SetupError as error:
            if not self._written:
                raise
            _say(str(error))
            return False
        known = {*self._replace, *self._written}
        self._draft = drafted(edits, self._folder, replace=known, proposer=self._wanted.keys())
        return True

    def _take_over(self) -> None:
        """Put the draft into the folder, after a yes.

        Raises:
            SetupError: the owner does not want it, or a file of his is there.
        """
        draft = self._draft = completed(self._draft, self._wanted.keys())
        _show(draft, self._words, self._copy)
        if not self._confirm("Write these files, and try them with `check`?"):
            raise SetupError(f"{'nothing more' if self._written else 'nothing'} was written; the agent's log: {self._copy.log}")
        self._project.paths.make()
        take_over(draft.files, self._folder, self._project.paths.folder, replace={**self._replace, **self._written})
        self._written |= {path: blob.content for path, blob in draft.files.items()}


def _tried(folder: Path, *, yes: bool) -> tuple[list[str], bool]:
    """What `check` finds, and whether the task is ready."""
    try:
        found, notices = check.examined(folder, yes=yes, fix=True)
    except SetupError as error:
        _say(str(error))
        return [str(error)], False
    rows = [*check.lines(found, fix=True), *notices]
    sys.stdout.write("\n".join(rows) + "\n")
    return rows, found.ready


def _show(draft: Drafted, words: str, copy: _Copy) -> None:
    """What was drafted, and what it would run."""
    _say(f"drafted{f': {words}' if words else ''} ({copy.spent_words})")
    _say(*(f"  {path}  {len(blob.content)} bytes" for path, blob in draft.files.items()))
    if (more := len(draft.left_out) - _SHOWN) > -_SHOWN:
        _say("left out:", *(f"  {words}" for words in draft.left_out[:_SHOWN]), *([f"  and {more} more"] if more > 0 else []))
    _say("it would run, in sealed trees:", *(f"  {key}: {command}" for key, command in draft.commands()))
    _say(*(f"  {key}: {what}" for key, what in draft.openings()))


def _finish(folder: Path, written: Sequence[str], copy: _Copy, *, ready: bool) -> int:
    where = "" if folder == Path(os.getcwd()) else f" --folder {shlex.quote(str(folder))}"
    sys.stdout.write(
        f"wrote {', '.join(sorted(written))} in {folder}; git knows none of it, and nothing runs ({copy.spent_words})\n"
    )
    if ready:
        sys.stdout.write(f"ready. read them, then: autoresearch run{where}\n")
        return 0
    sys.stdout.write(f"not ready: mend this and run `autoresearch check{where}` again; the agent's log: {copy.log}\n")
    return 1


def _say(*lines: str) -> None:
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    sys.stderr.flush()


class _Copy:
    """The sealed copy of a project, and the agent in it. Use as a context manager.

    Attributes:
        line: who pays, as in the first lines of a run.
        log: what the agent printed last.
    """

    def __init__(self, project: Project, location: git.Location, table: schema.Proposer, confirm: Confirm) -> None:
        self.table, self._location, self._confirm, self._project = table, location, confirm, project
        cache = project.paths.run(RUN).cache
        self._paths = Elsewhere(project.folder, cache / "records")  # the folder gets nothing before a yes
        self._cache, self._made = cache, 0
        self._cost_usd, self._tokens = 0.0, 0
        self.log = cache

    def __enter__(self) -> _Copy:
        self._cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = OwnerLock(self._cache / CACHE_LOCK, "drafting a task")
        self._lock.__enter__()
        try:
            for path in self._cache.iterdir():
                if path.name != CACHE_LOCK:
                    remove(path)
            self._paths.folder.mkdir(mode=0o700)
            self._base = check.head(self._location, self._cache / "scratch", self._project.folder)
            self._task: Task = parse(_NO_TASK).model_copy(update={"proposer": [self.table]})
            self._logins: Mapping[str, Login] = payers.logins(self._task, self._paths, self._confirm)
            everyone = payers.payers(self._assembly(), self._logins)
            self.line = everyone[0].line(Budget(cost_usd=self.table.max_cost_usd)) if everyone else self.table.kind
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for path in self._cache.iterdir():
            if path.name not in (CACHE_LOCK, "records"):
                remove(path)
        self._lock.__exit__(None, None, None)

    @property
    def any_left(self) -> bool:
        """Whether anything of the cap is left."""
        return self._cost_usd < self.table.max_cost_usd and self._tokens < self.table.max_tokens

    @property
    def spent_words(self) -> str:
        return f"{show_usd(self._cost_usd)}, {self._tokens} tokens"

    def _assembly(self) -> Assembly:
        run = RunRecord(run=RUN, task="draft", metric="wall_s", base=self._base, python=sys.executable)
        assembly = Assembly(self._paths, self._location, self._task, run, MemoryLedger(), logins=self._logins)
        assembly.scope = Scope(("**",))  # the task's own two files as well
        return assembly

    def draft(self, text: str, files: Mapping[str, Blob]) -> tuple[str, Edits]:
        """One call of the agent on the copy with some new files in it: what it said of them, and all that it changed.

        Raises:
            SetupError: it drafted nothing.
        """
        self._made += 1
        return anyio.run(self._draft, text, files)

    async def _draft(self, text: str, files: Mapping[str, Blob]) -> tuple[str, Edits]:
        records = self._paths.run(RUN).experiment(self._made)
        self.log = records / "agent.log"
        assembly = self._assembly()
        async with Supervisor() as supervisor:
            found = await assembly.found_for_proposals(supervisor)
            if self.table.sandbox == "none" or not found.kind:
                consent.ask(self._paths, self.table.kind, found.words, self._confirm)
            with closing(await assembly.workspace(supervisor)) as workspace:
                base = workspace.baseline(0.0)
                copy: Candidate = workspace.trial(0, base, files) if files else base
                draft = workspace.draft(0, copy, records)
                proposer = assembly.proposers(supervisor)[self.table.kind]
                try:
                    proposal = await proposer.propose(self._brief(text), draft)
                    changed = proposal.content if isinstance(proposal.content, Mapping) else draft.collect()[0]
                except (ProposerWaits, Refused) as error:
                    raise SetupError(f"{error.words}; nothing was drafted") from error
                except (AutoresearchError, OSError):
                    raise
                except Exception as error:  # the agent's edge
                    proposal, changed = Proposal(failure=("proposer_crash", describe(error))), {}
                finally:
                    cost_usd, tokens = draft.spent()
                    self._cost_usd, self._tokens = self._cost_usd + cost_usd, self._tokens + tokens
        if proposal.failure is not None:
            raise SetupError(f"{one_line(proposal.failure[1], 400)}; nothing was written by it; its log: {self.log}")
        gone = {path for path, blob in changed.items() if blob is None and path in files}
        return proposal.description, {path: blob for path, blob in {**files, **changed}.items() if path not in gone}

    def _brief(self, text: str) -> Brief:
        history = History()
        left = Allowance(self.table.max_cost_usd - self._cost_usd, self.table.max_tokens - self._tokens, self.table.max_turns)
        return Brief(
            n=self._made,
            operation="draft",
            parent=Experiment(0),
            view=View(history, 0),
            metric="wall_s",
            direction="minimize",
            seed=0,
            timeout_s=self.table.timeout,
            render=lambda brief: text,
            allowance=left,
            say=lambda words: _say(f"  {words}"),
        )
