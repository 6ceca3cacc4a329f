"""Any program that edits the tree: given the prompt on standard input and as a file, contained like an evaluation.

Its last non-empty line on standard output is the description. Money it spends it may report by appending JSON lines
`{"cost_usd": 0.02, "tokens": 900}` to `$AUTORESEARCH_COST`, which count also when it is killed. `autoresearch probe` on its
PATH tries out what the tree holds (see `mailbox`); its time stands still meanwhile.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from autoresearch.contracts import Brief, FileDraft
from autoresearch.errors import ProposerUnfit
from autoresearch.masking import NOTHING, Mask
from autoresearch.patience import Patience
from autoresearch.process import Exit, Job, Supervisor
from autoresearch.process.confinement import OPEN, Confinement
from autoresearch.process.environment import argv, clean
from autoresearch.proposers.mailbox import MayRun, serve
from autoresearch.proposers.reply import read_reply
from autoresearch.records import Proposal
from autoresearch.taskfile import schema

_NO_PROGRAM = {os.strerror(e) for e in (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)}


class Command:
    """Runs `command` (with `args`) in the draft's folder."""

    name = "command"

    def __init__(
        self,
        supervisor: Supervisor,
        command: str,
        args: Sequence[str],
        python: str,
        env: Sequence[str],
        timeout_s: float,
        mask: Mask = NOTHING,
        confinement: Confinement = OPEN,
        table: schema.Proposer | None = None,
    ) -> None:
        self._may_run: MayRun = table.may_run if table is not None else "none"
        self._confinement = confinement
        self._supervisor, self._python, self._env = supervisor, python, tuple(env)
        self._argv = [*(argv(command, python) if command else []), *args]
        if self._argv[:2] == ["/bin/sh", "-c"] and args:
            self._argv = ["/bin/sh", "-c", f'{self._argv[2]} "$@"', "sh", *args]
        self._timeout_s, self._masked = timeout_s, mask.pairs

    async def propose(self, brief: Brief, draft: FileDraft) -> Proposal:
        folder = await draft.folder()
        log_folder = draft.log_folder
        assert log_folder is not None
        log_folder.mkdir(parents=True, exist_ok=True)
        prompt = log_folder / "prompt.md"
        prompt.write_text(brief.text, encoding="utf-8")
        cost = draft.cost_file()
        env = clean(draft.scratch, passed=self._env)
        env |= draft.variables()
        brief.lay_out(draft.scratch / "tmp")
        told = draft.scratch / "tmp" / "prompt.md"
        told.write_text(brief.text, encoding="utf-8")
        env["AUTORESEARCH_PROMPT"] = str(told)
        env["AUTORESEARCH_COST"] = str(cost)
        log = log_folder / "agent.log"
        job = Job(self._argv, folder, env, stdin=told, log=log, masked=self._masked, locked=True)
        patience = Patience(self._timeout_s)
        try:
            async with serve(draft, brief, self._may_run, self._python, patience) as programs:
                path = {"PATH": f"{programs}{os.pathsep}{env['PATH']}"} if programs is not None else {}
                with patience.running():
                    end = await self._supervisor.run(self._shut_in(replace(job, env=env | path), draft, cost))
        except TimeoutError:
            return Proposal(failure=("proposer_timeout", f"the proposer was still running after {self._timeout_s:.0f} s"))
        finally:
            clean(draft.scratch)
        self._check_program(end)
        reply = read_reply(end.stdout)
        words = reply.description if reply.named else _description(end)
        return Proposal(words, failure=_failure(end), hypothesis=reply.hypothesis, expected=reply.expected)

    def _shut_in(self, job: Job, draft: FileDraft, cost: Path) -> Job:
        """It writes its tree, its scratch folders and what it reports of its cost."""
        return self._confinement.shut_in(
            job,
            writable=(draft.root, draft.scratch / "home", draft.scratch / "tmp", cost),
            shown=draft.shown,
            hidden=draft.hidden,
            sockets=draft.scratch / "net",
        )

    def _check_program(self, end: Exit) -> None:
        """A program that is not there will not be there next time either.

        Raises:
            ProposerUnfit: it could not be started.
        """
        missing = self._argv[:2] == ["/bin/sh", "-c"] and end.exit == 127 and "not found" in _last_line(end)
        if end.error in _NO_PROGRAM or missing:
            how = _last_line(end) or f"{self._argv[0]}: {end.error}"
            raise ProposerUnfit(
                f"the proposer cannot be started: {how[:200]}; [proposer] command runs in the tree's folder, with the PATH of "
                "`run`: give a program that is there, or its absolute path"
            )


def _description(end: Exit) -> str:
    return next((line.strip() for line in reversed(end.stdout.splitlines()) if line.strip()), "")


def _failure(end: Exit) -> tuple[str, str] | None:
    if end.exit != 0:
        how = end.error or (f"exit {end.exit}" if end.exit is not None else f"signal {end.signal}")
        return "proposer_crash", f"the proposer ended with {how}: {_last_line(end)[:200]}"
    return None


def _last_line(end: Exit) -> str:
    return next((line.strip() for line in reversed(end.tail.splitlines()) if line.strip()), "")
