"""Before anything is measured: does every model answer that will be asked, and under which name."""

from __future__ import annotations

import anyio

from autoresearch.books import Books
from autoresearch.contracts import Paid, Ready, is_paid
from autoresearch.errors import AutoresearchError, DiskFault, ProposerUnfit, ProposerWaits, RunnerLost
from autoresearch.records import Event
from autoresearch.text import describe, one_line
from autoresearch.waiting import Quota

_LIMIT_S = 180.0


async def ready(books: Books, quota: Quota) -> None:
    """Try out each paid proposer once, its cost recorded at once.

    Raises:
        ProposerUnfit: one of them will never work as it is set up; says what to do.
    """
    parts = books.parts
    for name, proposer in {**parts.mix, **parts.reserve, quota.name(""): parts.proposer}.items():
        if is_paid(proposer):
            await _try_out(books, quota, name, proposer)


async def _try_out(books: Books, quota: Quota, name: str, proposer: Paid) -> None:
    try:
        with anyio.fail_after(_LIMIT_S):
            found = await _asked(books, proposer)
    except ProposerWaits as waits:
        quota.put_off(None, name, waits)
        books.watch("mended", {"words": f"{name} cannot be had now ({one_line(waits.words, 200)}): the baseline comes first"})
        return
    except TimeoutError:
        books.watch("mended", {"words": f"{name} did not answer within {_LIMIT_S:.0f} s: going on all the same"})
        return
    refuse_unpriced(books, proposer, found.words, found.cost_usd, found.tokens)
    if found.cost_usd or found.tokens:
        body = {"what": "spent", "cost_usd": found.cost_usd, "tokens": found.tokens, "words": f"trying out {name}"}
        books.append(Event("note", None, body), durable=True)
    if name in books.history.agenda.waits:
        books.note(None, "back", proposer=name)
    books.watch("ready", {"proposer": name, "words": found.words})


def refuse_unpriced(books: Books, proposer: Paid, words: str, cost_usd: float, tokens: int) -> None:
    """A model that turns out to have no price cannot be held by a wall of money.

    Raises:
        ProposerUnfit: there is no other.
    """
    budget = books.spending.budget
    walled = budget.tokens is not None or budget.session_tokens is not None
    is_free = proposer.usual()[0] == 0.0
    if tokens and not cost_usd and not walled and not is_free:
        raise ProposerUnfit(
            f"no price is known of what answers ({words}), so a wall of money cannot hold it: [budget] tokens, --tokens "
            "for this session, or its price, as [proposer] price = { input = 3.0, output = 15.0 } (USD for a million tokens)"
        )


async def _asked(books: Books, proposer: Paid) -> Ready:
    """Its answer; a mistake in it stops nothing, as a proposal would tell the same."""
    folder = books.options.trials
    assert folder is not None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return await proposer.ready(folder)
    except (ProposerUnfit, ProposerWaits, DiskFault, RunnerLost, TimeoutError):
        raise
    except AutoresearchError as error:
        raise ProposerUnfit(str(error)) from error
    except Exception as error:  # the proposer's edge
        return Ready(f"{proposer.name} could not be tried out: {describe(error)}")
