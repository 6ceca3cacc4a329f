"""Who pays for the models of a task, up to which wall, and what is said of it before anything starts.

Asked here, and remembered: of a key and a subscription which pays (for the project), and where a run stops that has no wall
(for the run, in its ledger). Nothing here calls a model.
"""

from __future__ import annotations

import math
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch import consent, proposers
from autoresearch.agenda import Wall
from autoresearch.assembly import Assembly, proposing
from autoresearch.budget import Budget
from autoresearch.contracts import Ledger, Paid, is_paid
from autoresearch.errors import SetupError
from autoresearch.forecast import Asked, Forecast, forecast, further, suggested
from autoresearch.history import History
from autoresearch.paths import ProjectPaths
from autoresearch.process import Supervisor
from autoresearch.proposers.agent import version_words
from autoresearch.proposers.program import Login
from autoresearch.taskfile import FILE, Task, schema
from autoresearch.text import show_usd

YES_USD, YES_TOKENS = 10.0, 2_000_000  # the wall of a run that --yes was said to
_VERSION_LIMIT_S = 10.0
_RUNS = 20  # the newest, whose proposals tell what one costs

Confirm = Callable[[str], bool] | None
Amount = Callable[[str, float, float], float] | None
"""Asked how much, with what is suggested and what --yes means; None where nobody can be asked."""


@dataclass(frozen=True, slots=True)
class Payer:
    """A proposer that somebody pays for.

    Attributes:
        name: in the mix, or of a fallback; `share` of the experiments that are asked of it.
        version: of its program, `` for none or where it does not tell.
    """

    name: str
    table: schema.Proposer
    login: Login | None
    proposer: Paid
    share: float
    version: str = ""

    @property
    def asked(self) -> Asked:
        return Asked(self.proposer.name, self.proposer.model, self.share, self.proposer.usual())

    @property
    def is_unpriced(self) -> bool:
        """Whether no price is known; that of a default model is found out when it answers, before anything is measured."""
        return bool(self.proposer.model) and not self.proposer.priced()

    def line(self, budget: Budget, spent_usd: float = 0.0) -> str:
        """`claude 2.1.197 · claude-sonnet-4-5 · pays: ANTHROPIC_API_KEY, at most 10.00 USD · may run: quick`."""
        model = self.proposer.model or "its own default model"
        walls = walls_of(budget, list_price=self.login is not None and self.login.subscription, spent_usd=spent_usd)
        unpriced = ["no price is known"] if self.is_unpriced else []
        pays = ", ".join([f"pays: {self.proposer.pays()}", *unpriced, *walls])
        return f"{version_words(self.name, self.version)} · {model} · {pays} · may run: {self._may_run}"

    @property
    def _may_run(self) -> str:
        return "nothing" if self.table.may_run == "none" else self.table.may_run

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.table.kind,
            "version": self.version,
            "model": self.proposer.model,
            "pays": self.proposer.pays(),
            "subscription": self.login is not None and self.login.subscription,
            "priced": self.proposer.priced(),
            "may_run": self.table.may_run,
            "share": self.share,
        }


def walls_of(budget: Budget, *, list_price: bool = False, spent_usd: float = 0.0) -> list[str]:
    """The walls of money and tokens in words; a subscription's USD are what the same tokens would cost by a key."""
    at = " at list price" if list_price else ""
    spent = f" ({show_usd(spent_usd)} spent)" if spent_usd and budget.cost_usd is not None else ""
    found = [] if budget.cost_usd is None else [f"at most {show_usd(budget.cost_usd)}{at}{spent}"]
    found += [] if budget.session_cost_usd is None else [f"at most {show_usd(budget.session_cost_usd)}{at} in this session"]
    found += [] if budget.tokens is None else [f"at most {budget.tokens} tokens"]
    return found + ([] if budget.session_tokens is None else [f"at most {budget.session_tokens} tokens in this session"])


# -- log-ins -------------------------------------------------------------------------------------------------------------


def logins(task: Task, paths: ProjectPaths, confirm: Confirm) -> dict[str, Login]:
    """Who pays, by the names of the proposers that somebody pays for.

    Raises:
        SetupError: nobody does, or a key and a subscription are both there and nobody says which.
    """
    found = {name: _login(name, table, paths, confirm) for name, table in proposing(task).items()}
    return {name: login for name, login in found.items() if login is not None}


def _login(name: str, table: schema.Proposer, paths: ProjectPaths, confirm: Confirm) -> Login | None:
    there = proposers.logins(table, os.environ, Path(os.environ.get("HOME") or "/nonexistent"))
    if not there and (words := proposers.no_login(table)):
        raise SetupError(f"nobody would pay for {name}: {words}")
    return _chosen(table, there, paths, confirm) if there else None


def seen_logins(task: Task, paths: ProjectPaths) -> tuple[dict[str, Login], list[str]]:
    """As `logins`, and nothing is asked, remembered or refused: what is missing comes back in words."""
    found: dict[str, Login] = {}
    missing = []
    for name, table in proposing(task).items():
        try:
            login = _login(name, table, paths, None)
        except SetupError as error:
            missing.append(str(error))
        else:
            found |= {} if login is None else {name: login}
    return found, missing


def _chosen(table: schema.Proposer, there: Sequence[Login], paths: ProjectPaths, confirm: Confirm) -> Login:
    """The only one, or the one that the owner wants."""
    keys, subscriptions = [one for one in there if not one.subscription], [one for one in there if one.subscription]
    if not keys or not subscriptions:
        return there[0]
    key, subscription, kind = keys[0], subscriptions[0], table.kind
    known = consent.login(paths, kind)
    if known is None:
        words = f"{key.words} and {subscription.words} are both there"
        if confirm is None:
            raise SetupError(
                f'{words}, and either could pay for {kind}: [proposer] login = "subscription", or login = "api_key", in {FILE} '
                "says which"
            )
        known = "subscription" if confirm(f"{words}: let the subscription pay, and hide the key from {kind}?") else "api_key"
        consent.remember_login(paths, kind, known)
    return subscription if known == "subscription" else key


def payers(assembly: Assembly, logins: Mapping[str, Login]) -> tuple[Payer, ...]:
    """Everybody of a task whom somebody pays for; nothing is started for it, but programs are asked for their version."""
    task = assembly.task
    whole = sum(table.share for table in task.proposer)
    made, found = assembly.proposers(Supervisor()), []
    shares = [table.share / whole for table in task.proposer] + [0.0] * len(made)
    for (name, table), share in zip(proposing(task).items(), shares, strict=False):
        if is_paid(proposer := made[name]):
            found.append(Payer(name, table, logins.get(name), proposer, share, version(table, proposer)))
    return tuple(found)


def version(table: schema.Proposer, proposer: Paid) -> str:
    """What an agent program says of its version, `` where it is none or does not say it in time."""
    program = program_of(table, proposer)
    if not program or (path := shutil.which(program[0])) is None:
        return ""
    with tempfile.TemporaryDirectory() as home:
        env = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL") if key in os.environ} | {"HOME": home, "TMPDIR": home}
        quiet = subprocess.DEVNULL
        argv = [path, *program[1:], "--version"]
        try:
            done = subprocess.run(argv, cwd=home, env=env, stdin=quiet, capture_output=True, timeout=_VERSION_LIMIT_S)
        except (OSError, subprocess.TimeoutExpired):
            return ""
    told = (done.stdout + b"\n" + done.stderr).decode("utf-8", "replace")  # pi tells it on standard error
    lines = told.splitlines() if done.returncode == 0 else []
    numbers = [word for line in lines for word in line.split() if word[:1].isdigit() and "." in word]
    return numbers[0][:40] if numbers else ""


def program_of(table: schema.Proposer, proposer: Paid) -> list[str]:
    """How an agent program is started, as words; none for a proposer that starts no program."""
    program = getattr(proposer, "program", None)
    if program is None:
        return []
    return shlex.split(table.command) or [program.name]


def others(ledger: Ledger, run: str) -> list[History]:
    """The other runs of the project, the newest first."""
    return [ledger.history(r.run) for r in reversed(ledger.runs()[-_RUNS:]) if r.run != run]


def outlook(
    asked: Sequence[Asked], histories: Sequence[History], budget: Budget, *, session: int | None = None, worked_s: float = 0.0
) -> Forecast:
    """What the experiments that the budget leaves room for will cost.

    Args:
        histories: the run's own, or an empty one, and those of others behind it.
        session: experiments that are left of this session; `worked_s` how long it has worked by now.
    """
    run = histories[0].run
    before_s = run.worked_s if run is not None else 0.0
    times = [] if budget.time_s is None else [budget.time_s - before_s - worked_s]
    times += [] if budget.session_time_s is None else [budget.session_time_s - worked_s]
    times += [] if budget.until is None else [budget.until - time.time()]
    worked = before_s + worked_s or None
    more = further(
        histories, experiments=budget.experiments, session=session, time_s=min(times, default=math.inf), worked_s=worked
    )
    return forecast(histories, asked, more)


# -- walls ---------------------------------------------------------------------------------------------------------------


def wall(everyone: Sequence[Payer], budget: Budget, forecast: Forecast, amount: Amount) -> Wall | None:
    """The wall that the owner answers for the run; None where there is one already, or nobody to pay.

    Raises:
        SetupError: there is none, and nobody can be asked; or one of money alone, and a model without a price.
    """
    money = budget.cost_usd is not None or budget.session_cost_usd is not None
    tokens = budget.tokens is not None or budget.session_tokens is not None
    if not everyone or tokens:
        return None
    unpriced = [payer for payer in everyone if payer.is_unpriced]
    if unpriced:
        return _token_wall(unpriced[0], forecast, None if money else amount)
    return None if money else _money_wall(everyone[0], forecast, amount)


def _money_wall(payer: Payer, forecast: Forecast, amount: Amount) -> Wall:
    guess = YES_USD if forecast.cost_usd is None else suggested(forecast.cost_usd)
    if amount is None:
        raise SetupError(
            f"{payer.name} costs money ({payer.proposer.pays()} pays), and nothing says how much it may be: "
            f"[budget] cost_usd = {guess:g} in {FILE} ({forecast.words}), --cost {guess:g} for this session, "
            f"or --yes for {YES_USD:g} USD"
        )
    return Wall(cost_usd=amount(f"{forecast.words}; stop at how many USD?", guess, YES_USD))


def _token_wall(payer: Payer, forecast: Forecast, amount: Amount) -> Wall:
    guess = suggested(float(forecast.tokens))
    model = payer.proposer.model
    if amount is None:
        raise SetupError(
            f"no price of {model} is known (is it the name you meant? [proposer] model), so a wall of money cannot hold "
            f"{payer.name}: [budget] tokens = {guess:.0f} in {FILE}, --tokens for this session, or its price, as "
            "[proposer] price = { input = 3.0, output = 15.0 } (USD for a million tokens)"
        )
    words = f"no price of {model} is known; {forecast.in_tokens}; stop at how many tokens?"
    return Wall(tokens=round(amount(words, guess, YES_TOKENS)))
