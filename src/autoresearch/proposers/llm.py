"""A model without a program of its own proposes: by tools for reading, changing and trying out, or by edits in its answers.

Its requests are made by the harness itself; what it changes comes from the draft's tree like anybody's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from autoresearch.contracts import Brief, FileDraft, Preview, Ready
from autoresearch.errors import DiskFault, ProposerUnfit, ProposerWaits
from autoresearch.masking import NOTHING, Mask
from autoresearch.patience import Patience
from autoresearch.process import Supervisor
from autoresearch.proposers import endpoint as endpoints
from autoresearch.proposers import llm_blocks, llm_tools
from autoresearch.proposers.desk import Desk
from autoresearch.proposers.dialogue import Dialogue, Purse, Stopped
from autoresearch.proposers.llm_tools import Try
from autoresearch.proposers.login import is_loopback
from autoresearch.proposers.program import Login
from autoresearch.proposers.reply import Reply, read_reply
from autoresearch.proposers.words import READY, mend
from autoresearch.records import Allowance, Proposal, Trial, Usage
from autoresearch.taskfile import schema
from autoresearch.taskfile.scope import Scope
from autoresearch.text import one_line

if TYPE_CHECKING:
    from pydantic_ai.models import Model

_Talks = llm_tools.Talk | llm_blocks.Exchange
_READY_S, _READY_TOKENS = 60.0, 64
_NO_CREDIT = 402  # of HTTP; other words for it may mean a quota of the day
_USUAL = {
    "tools": (Usage(input=16_000, cached=90_000, output=5_000), 8),
    "blocks": (Usage(input=16_000, output=3_000), 1),
}
"""A guess at usage and answers, for where nothing is known yet: a brief of 8,000 tokens, and files of as many."""


class Llm:
    """A language model.

    Args:
        login: who pays; None where there is no key, and then it cannot work.
        timeout_s: of one proposal; evaluations that it waits for are not in it.
    """

    name = "llm"
    writes_code = True

    def __init__(
        self,
        table: schema.Proposer,
        supervisor: Supervisor | None = None,
        mask: Mask = NOTHING,
        scope: Scope = Scope(()),  # noqa: B008 - frozen
        login: Login | None = None,
        timeout_s: float = 900.0,
    ) -> None:
        self.table, self.login, self.model = table, login, table.model
        self.where = endpoints.endpoint(table)
        self._supervisor, self._scope, self._timeout_s = supervisor, scope, timeout_s
        self._mask = Mask({**mask.values, **(login.variables if login else {})})

    @staticmethod
    def logins(table: schema.Proposer, environ: Mapping[str, str], home: Path) -> tuple[Login, ...]:
        """Who can pay.

        Raises:
            SetupError: the table names no model.
        """
        return endpoints.logins(table, environ, home)

    @staticmethod
    def no_login(table: schema.Proposer) -> str:
        """What to do where nobody can."""
        return endpoints.no_login(table)

    # -- proposing --------------------------------------------------------------------------------------------------

    async def propose(self, brief: Brief, draft: FileDraft) -> Proposal:
        self._refuse_no_login()
        folder = await draft.folder()
        assert draft.log_folder is not None
        draft.log_folder.mkdir(parents=True, exist_ok=True)
        desk = Desk(folder, draft.root, self._scope, self._supervisor)
        editable = draft.editable() if self._is_plain else []
        prompt = f"{brief.text}\n{llm_blocks.shown_files(desk, editable)}\n" if self._is_plain else brief.text
        _write(draft.log_folder / "prompt.md", prompt)
        purse, patience = Purse(_cost_file(draft.log_folder), self._price), Patience(self._timeout_s)
        trial = _held(brief, draft, patience)
        reply, failure = Reply(), None
        notes: tuple[str, ...] = ()
        try:
            with patience.running():
                await anyio.to_thread.run_sync(endpoints.load)
                async with endpoints.opened(self.where, self.login) as model:
                    dialogue = self._dialogue(model, purse, brief, patience, draft.log_folder / "agent.log", trial is not None)
                    talk = self._talk(dialogue, desk, editable, trial)
                    reply, notes = await self._converse(talk, prompt, brief, trial)
        except TimeoutError:
            failure = "proposer_timeout", f"{self._title} was not done after {self._timeout_s:.0f} s ([proposer] timeout)"
        except Stopped as stopped:
            failure = stopped.reason, self._mask.cover(stopped.words)
        return Proposal(
            self._mask.cover(reply.description),
            failure=failure,
            notes=tuple(map(self._mask.cover, notes)),
            hypothesis=self._mask.cover(reply.hypothesis),
            expected=reply.expected,
            model=purse.model or self.where.model,
            turns=purse.turns,
        )

    async def _converse(self, talk: _Talks, prompt: str, brief: Brief, trial: Try | None) -> tuple[Reply, tuple[str, ...]]:
        """Let it work, and give it a quick test that fails back, in the same conversation, as often as `fixes` says.

        Raises:
            Stopped: it made no change; one that was made stays, whatever comes of mending it.
        """
        reply = read_reply(await talk.work(prompt))
        for fix in range(self.table.fixes if trial is not None else 0):
            assert trial is not None
            found = await trial("quick")
            if found.passed or not found.tried:
                break
            brief.say(f"quick test failed, given back to {self.name}")
            try:
                said = read_reply(await talk.work(mend(found)))
            except Stopped as stopped:
                return reply, (one_line(f"the quick test was given back {fix + 1} times: {stopped.words}"),)
            reply = said if said.named else reply
        return reply, ()

    @property
    def _is_plain(self) -> bool:
        return self.table.edits == "blocks"

    @property
    def _title(self) -> str:
        return f"llm ({self.where})"

    def _dialogue(
        self, model: Model, purse: Purse, brief: Brief, patience: Patience, log: Path | None, may_try: bool
    ) -> Dialogue:
        allowance, table = brief.allowance, self.table
        caps = Allowance(
            min(table.max_cost_usd, allowance.cost_usd),
            min(table.max_tokens, allowance.tokens),
            min(table.max_turns, allowance.turns),
        )
        return Dialogue(
            model,
            purse,
            caps,
            patience,
            name=self._title,
            pays=self.pays(),
            system=llm_blocks.SYSTEM if self._is_plain else llm_tools.SYSTEM,
            tools=() if self._is_plain else llm_tools.definitions(table.may_run if may_try else "none"),
            effort=table.effort,
            log=log,
            mask=self._mask,
            say=brief.say,
            local=is_loopback(self.where.base_url),
        )

    def _talk(self, dialogue: Dialogue, desk: Desk, editable: Sequence[str], trial: Try | None) -> _Talks:
        if self._is_plain:
            return llm_blocks.Exchange(dialogue, desk, editable)
        return llm_tools.Talk(dialogue, desk, trial, self.table.may_run)

    # -- money and log-in -------------------------------------------------------------------------------------------

    def _price(self, usage: Usage, model: str) -> float | None:
        return endpoints.cost_usd(self.where, self.table, self.login, usage, model)

    def pays(self) -> str:
        return self.login.words if self.login is not None else "nobody: there is no key"

    def priced(self) -> bool:
        return self._price(Usage(), "") is not None

    def usual(self) -> tuple[float | None, int]:
        usage, answers = _USUAL[self.table.edits]
        each = Usage(usage.input // answers, usage.cached // answers, 0, usage.output // answers)
        cost_usd = self._price(each, "")
        return None if cost_usd is None else cost_usd * answers, usage.tokens

    def _refuse_no_login(self) -> None:
        if self.login is None:
            raise ProposerUnfit(endpoints.no_login(self.table))

    # -- trying it out ----------------------------------------------------------------------------------------------

    async def ready(self, folder: Path) -> Ready:
        self._refuse_no_login()
        purse, patience = Purse(None, self._price), Patience(_READY_S)
        is_local = is_loopback(self.where.base_url)
        try:
            with patience.running():
                await anyio.to_thread.run_sync(endpoints.load)
                async with endpoints.opened(self.where, self.login) as model:
                    caps = Allowance(self.table.max_cost_usd, self.table.max_tokens, 1)
                    dialogue = Dialogue(
                        model, purse, caps, patience, name=self._title, pays=self.pays(), mask=self._mask, local=is_local
                    )
                    dialogue.limit(_READY_TOKENS)
                    await dialogue.ask(READY)
        except TimeoutError as error:
            raise ProposerWaits("outage", f"{self._title} gave no answer to one word in {_READY_S:.0f} s") from error
        except Stopped as stopped:
            raise ProposerUnfit(f"{stopped.words}: it cannot work as it is set up") from stopped
        except ProposerWaits as waits:
            if waits.reason == "outage" and is_local:
                raise ProposerUnfit(f"{waits.words}: start the server at {self.where.base_url}") from waits
            if getattr(waits.__cause__, "status_code", 0) == _NO_CREDIT:
                raise ProposerUnfit(f"{waits.words}: the account of {self.pays()} has no credit left") from waits
            raise
        return Ready(f"llm, {purse.model or self.where.model}", purse.cost_usd, purse.tokens)

    def preview(self, brief: Brief) -> Preview:
        self._refuse_no_login()
        secret = self.login.variables if self.login else {}
        edits = "edits in its answers" if self._is_plain else f"tools; may run: {self.table.may_run}"
        at = f" at {self.where.base_url}" if self.where.base_url and self.where.provider else ""
        return Preview(
            (), {name: f"***{name}***" for name in secret}, f"requests to {self.where}{at} by the harness itself; {edits}"
        )


def _held(brief: Brief, draft: FileDraft, patience: Patience) -> Try | None:
    """Trying out what the draft holds, while the proposer's time stands still."""
    if brief.trial is None:
        return None
    attempt = brief.trial

    async def trial(what: str) -> Trial:
        brief.say(f"trying out: {what}")
        with patience.held():
            return await attempt(draft, what)

    return trial


def _cost_file(records: Path) -> Path:
    """For the answers of this attempt; those of earlier ones stay."""
    return records / f"cost-llm-{len(list(records.glob('cost-llm-*.jsonl'))) + 1}.jsonl"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise DiskFault(f"cannot write {path}: {error.strerror}") from error
