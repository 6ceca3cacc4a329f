"""What all coding-agent programs share: containment, prompt, time, turns, tokens, money, log, session and outcome.

What is particular to one, its launch, events, usage and errors, is a class in a file of its own: `claude.py`, `codex.py`, …
A run of the program is judged by its final event, then by what changed in the tree, then by its exit code.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from autoresearch import prices
from autoresearch.contracts import Brief, FileDraft, Preview, Ready
from autoresearch.errors import DiskFault, ProposerUnfit, ProposerWaits, Refused
from autoresearch.masking import NOTHING, Mask
from autoresearch.patience import Patience
from autoresearch.process import Supervisor
from autoresearch.process.confinement import OPEN, Confinement
from autoresearch.process.environment import clean, renew
from autoresearch.proposers import login as logins
from autoresearch.proposers import mailbox
from autoresearch.proposers.calls import Caller
from autoresearch.proposers.outcome import Outcome, Said, judge, retry_after_s
from autoresearch.proposers.place import Place, of_draft
from autoresearch.proposers.program import Call, Launch, Login, Program, Transcript
from autoresearch.proposers.reading import Caps, Ending
from autoresearch.proposers.reply import Reply, read_reply
from autoresearch.proposers.words import READY, cannot_start, mend, not_ready
from autoresearch.records import Allowance, Proposal, Trial, Usage
from autoresearch.taskfile import schema
from autoresearch.taskfile.scope import Scope
from autoresearch.text import one_line

_READY_S = 120.0
_PROBE_S = 100.0  # programs break off a shell command after two minutes
_USUAL = Usage(input=26_000, cached=200_000, output=6_000)
"""A guess, for where nothing is known yet: 12 answers on a brief of 8,000 tokens, each of 500 tokens and after 1,500 of what a
tool gave; all that went before is read again, from a cache."""


class Agent:
    """A proposer that starts an agent program in the draft's folder.

    Args:
        env: variables that are passed through to evaluations; it gets them too, but for keys.
        login: who pays; None where there is no log-in, and then it cannot work.
        timeout_s: of one proposal, with all calls for it; evaluations that it waits for are not in it.
    """

    writes_code = True

    def __init__(
        self,
        program: Program,
        supervisor: Supervisor,
        table: schema.Proposer,
        python: str,
        env: Sequence[str] = (),
        confinement: Confinement = OPEN,
        mask: Mask = NOTHING,
        scope: Scope = Scope(()),  # noqa: B008 - frozen
        login: Login | None = None,
        timeout_s: float = 900.0,
    ) -> None:
        self.name, self.model = program.name, table.model
        self.program, self.table, self.login = program, table, login
        self._python, self._scope, self._timeout_s = python, scope, timeout_s
        barred = {*program.keys, *(login.hidden if login else ())} - set(login.variables if login else ())
        self._env = tuple(name for name in env if name not in barred)
        self._mask = Mask({**mask.values, **(login.variables if login else {})})
        self._caller = Caller(program, table, login or Login(""), supervisor, confinement, self._mask, self.cost_usd)

    # -- proposing --------------------------------------------------------------------------------------------------

    async def propose(self, brief: Brief, draft: FileDraft) -> Proposal:
        self._refuse_no_login()
        place = of_draft(draft, await draft.folder(), self._scope)
        self._caller.settle(place)
        env = {**clean(draft.scratch, passed=self._env), **draft.variables()}
        brief.lay_out(place.tmp)
        patience = Patience(self._timeout_s)
        try:
            async with mailbox.serve(draft, brief, self.table.may_run, self._python, patience, within_s=_PROBE_S) as programs:
                if programs is not None:
                    env["PATH"] = f"{programs}:{env['PATH']}"
                return await self._converse(brief, draft, place, env, patience)
        finally:
            with suppress(DiskFault):
                clean(draft.scratch)

    async def _converse(
        self, brief: Brief, draft: FileDraft, place: Place, env: Mapping[str, str], patience: Patience
    ) -> Proposal:
        """Let it work, and give it a quick test that fails back, in the same session, as often as `fixes` says."""
        notes: list[str] = []
        reply, prompt, left = Reply(), brief.text, self._caps(brief.allowance)
        seen, turns, fixes = Transcript(), 0, self.table.fixes if brief.trial is not None else 0
        for fix in range(fixes + 1):
            ending = await self._caller.call(
                place, prompt, env, left, patience, session=seen.session, lasting=fix < fixes, say=brief.say
            )
            self._refuse_missing(ending)
            seen, turns = ending.seen, turns + ending.seen.turns
            outcome = self._judge(ending, changed=_changed(draft))
            said = read_reply(seen.text)
            reply = said if said.named or (not fix and outcome.failure is None) else reply
            notes += outcome.notes
            if outcome.failure is not None and fix == 0:
                return self._proposal(reply, notes, seen, turns, outcome.failure)
            if outcome.failure is not None:  # what there is may pass all the same: it is handed on
                notes.append(one_line(f"a failing quick test was given back, and then: {outcome.failure[1]}"))
                break
            left = left.less(seen.turns, seen.tokens, self.cost_usd(seen) or 0.0)
            trial = await self._failing(brief, draft) if fix < fixes and seen.session and left.any else None
            if trial is None:
                break
            prompt = mend(trial)
        return self._proposal(reply, notes, seen, turns, None)

    async def _failing(self, brief: Brief, draft: FileDraft) -> Trial | None:
        """The quick test of what the draft holds now, where it fails."""
        if brief.trial is None or not _changed(draft):
            return None
        brief.say("trying out: quick")
        trial = await brief.trial(draft, "quick")
        if trial.passed or not trial.tried:
            return None
        brief.say(f"the quick test failed, and is given back to {self.name}")
        return trial

    def _judge(self, ending: Ending, *, changed: bool) -> Outcome:
        if ending.seen.retry_after_s is None:
            ending.seen.retry_after_s = retry_after_s(ending.seen.words, time.time())
        return judge(ending.seen, self._said(), stopped=ending.stopped, how=ending.how, tail=ending.last_line, changed=changed)

    def _proposal(
        self, reply: Reply, notes: Sequence[str], seen: Transcript, turns: int, failure: tuple[str, str] | None
    ) -> Proposal:
        return Proposal(
            reply.description,
            failure=failure,
            notes=tuple(notes),
            hypothesis=reply.hypothesis,
            expected=reply.expected,
            model=seen.model or self.model,
            turns=turns,
        )

    def _said(self) -> Said:
        table = self.table
        left = "or what is left of the budget"
        caps = (
            ("proposer_turns", f"its limit of {table.max_turns} turns ([proposer] max_turns)"),
            ("proposer_tokens", f"its limit of {table.max_tokens} tokens ([proposer] max_tokens), {left}"),
            ("proposer_cost", f"its limit of {table.max_cost_usd:g} USD ([proposer] max_cost_usd), {left}"),
            ("proposer_timeout", f"its limit of {self._timeout_s:.0f} s ([proposer] timeout)"),
        )
        return Said(self.name, self.pays(), table.model, caps)

    def _caps(self, allowance: Allowance) -> Caps:
        table = self.table
        turns = min(table.max_turns, allowance.turns)
        return Caps(turns, min(table.max_tokens, allowance.tokens), min(table.max_cost_usd, allowance.cost_usd))

    # -- money and log-in -------------------------------------------------------------------------------------------

    def cost_usd(self, seen: Transcript) -> float | None:
        """What a transcript comes to: by the task's price or the price list, else as far as the program says it."""
        model = self._priced_as(seen.model)
        if model is None:
            return seen.cost_usd
        answers = seen.turns if len(seen.usage) == 1 else 1
        options = {"provider": self.program.provider, "price": self.table.price, "answers": max(1, answers)}
        found = [prices.cost_usd(model, usage, **options) for usage in seen.usage.values()]  # type: ignore[arg-type]
        return sum(cost for cost in found if cost is not None)

    def _priced_as(self, model: str) -> str | None:
        """Under which name the price of a model is known; the task's where the program's own is not."""
        if self.table.price is not None:
            return model
        names = (model, self.table.model or self.program.model)
        return next((name for name in names if name and prices.known(name, self.program.provider)), None)

    def pays(self) -> str:
        return self.login.words if self.login is not None else "nobody: there is no log-in"

    def priced(self) -> bool:
        return self._priced_as("") is not None

    def usual(self) -> tuple[float | None, int]:
        seen = Transcript(usage={"all": _USUAL}, turns=12)
        return (self.cost_usd(seen) if self.priced() else None), _USUAL.tokens

    def _refuse_no_login(self) -> None:
        if self.login is None:
            raise ProposerUnfit(logins.missing(self.program, self.table))

    # -- trying it out ----------------------------------------------------------------------------------------------

    def _refuse_missing(self, ending: Ending) -> None:
        if ending.is_missing:
            raise ProposerUnfit(cannot_start(self.program, ending.last_line))

    async def version(self, folder: Path) -> str:
        """What the program says of its version.

        Raises:
            ProposerUnfit: it cannot be started.
        """
        place = self._empty(folder)
        end = await self._caller.plain(place, ["--version"], clean(folder))
        if end.exit != 0:
            raise ProposerUnfit(cannot_start(self.program, one_line(end.tail, 200) or end.error or "no answer to --version"))
        return next((one_line(line, 60) for line in (end.stdout or end.tail).splitlines() if line.strip()), "")

    async def ready(self, folder: Path) -> Ready:
        self._refuse_no_login()
        version = await self.version(folder)
        place, patience = self._empty(folder), Patience(min(_READY_S, self._timeout_s))
        caps = Caps(1, self.table.max_tokens, self.table.max_cost_usd)
        ending = await self._caller.call(place, READY, clean(folder), caps, patience)
        seen = ending.seen
        outcome = self._judge(ending, changed=True)
        if ending.stopped == "proposer_timeout" or seen.final == "cut":
            raise ProposerWaits("outage", f"{self.name} gave no answer to one word: {(outcome.failure or ('', ''))[1]}")
        if outcome.failure is not None and seen.final not in ("turns", "cost") and not (ending.stopped and seen.turns):
            raise ProposerUnfit(not_ready(self.program, version, outcome.failure[1]))
        words = ", ".join(filter(None, (version_words(self.name, version), seen.model or self.model)))
        words = "; ".join(filter(None, (words, self._caller.left_open)))
        return Ready(words, self.cost_usd(seen) or 0.0, seen.tokens)

    def _empty(self, folder: Path) -> Place:
        """A place with no files of anybody's."""
        records = folder / "records"
        folder.mkdir(parents=True, exist_ok=True)
        for part in (records, folder / "tree"):
            renew(part)
        return Place(folder / "tree", folder / "tree", folder, records)

    def preview(self, brief: Brief) -> Preview:
        self._refuse_no_login()
        allowance = self._caps(brief.allowance)
        places = (Path("<tree>"), Path("<home>"), Path("<tmp>"))
        launch, env = self._caller.launch(*places, allowance, session="", lasting=self.table.fixes > 0)
        env = {"HOME": "<home>", "TMPDIR": "<tmp>", **env}
        secret = self.login.variables if self.login else {}
        shown = {name: f"***{name}***" if name in secret else self._mask.cover(value) for name, value in sorted(env.items())}
        files = "".join(f"; writes ~/{name}" for name in launch.files)
        return Preview(tuple(map(self._mask.cover, launch.argv)), shown, f"prompt on standard input{files}")


def version_words(name: str, version: str) -> str:
    """`claude 2.1.197`, however the program writes it."""
    numbers = next((word for word in version.split() if word[:1].isdigit() or word[1:2].isdigit()), "")
    return f"{name} {numbers}".strip()


def _changed(draft: FileDraft) -> bool:
    """Whether there is anything to hand on; what is refused is told when it is collected."""
    try:
        return bool(draft.peek())
    except Refused:
        return True


__all__ = ["Agent", "Call", "Launch", "Login", "Program", "Transcript"]
