"""Before anything is measured: does every model answer that will be asked, and under which name."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio

from autoresearch.books import Books
from autoresearch.contracts import Paid, Ready, is_paid
from autoresearch.errors import AutoresearchError, DiskFault, ProposerUnfit, ProposerWaits, RunnerLost
from autoresearch.records import Event
from autoresearch.text import describe, one_line, slug
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
        with _place(books, name) as folder, anyio.fail_after(_LIMIT_S):
            found = await _asked(folder, proposer)
    except ProposerWaits as waits:
        quota.put_off(None, name, waits)
        books.watch("mended", {"words": f"{name} cannot be had now ({one_line(waits.words, 200)}): the baseline comes first"})
        return
    except TimeoutError:
        books.watch("mended", {"words": f"{name} did not answer within {_LIMIT_S:.0f} s: going on all the same"})
        return
    if found.cost_usd or found.tokens:
        body = {"what": "spent", "cost_usd": found.cost_usd, "tokens": found.tokens, "words": f"trying out {name}"}
        books.append(Event("note", None, body), durable=True)
    refuse_unpriced(books, proposer, found.words, found.cost_usd, found.tokens)
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


@contextmanager
def _place(books: Books, name: str) -> Iterator[Path]:
    """A folder of its own, empty at first and gone afterwards: keys lie in it.

    What a try that came to nothing has spent counts, also that of a session that was killed in it.
    """
    assert books.options.trials is not None
    folder = books.options.trials / slug(name)
    _count(books, name, folder)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        yield folder
    except BaseException:
        _count(books, name, folder)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _count(books: Books, name: str, folder: Path) -> None:
    """Record what programs reported to have spent there, and take the reports away."""
    usd, tokens = 0.0, 0
    for path in sorted(folder.rglob("cost*.jsonl")):
        if path.is_symlink() or not path.is_file():
            continue  # a pipe would never end
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            more = _reported(line)
            usd, tokens = usd + more[0], tokens + more[1]
    if usd or tokens:
        body = {"what": "spent", "cost_usd": usd, "tokens": tokens, "words": f"trying out {name}, which came to nothing"}
        books.append(Event("note", None, body), durable=True)
    shutil.rmtree(folder, ignore_errors=True)


def _reported(line: str) -> tuple[float, int]:
    try:
        row = json.loads(line)
        usd, tokens = float(row.get("cost_usd", 0.0)), int(row.get("tokens", 0))
    except (ValueError, TypeError, AttributeError, OverflowError):
        return 0.0, 0  # a kill cut it short
    return (usd if math.isfinite(usd) and usd > 0 else 0.0), max(0, tokens)


async def _asked(folder: Path, proposer: Paid) -> Ready:
    """Its answer; a mistake in it stops nothing, as a proposal would tell the same."""
    try:
        return await proposer.ready(folder)
    except (ProposerUnfit, ProposerWaits, DiskFault, RunnerLost, TimeoutError):
        raise
    except AutoresearchError as error:
        raise ProposerUnfit(str(error)) from error
    except Exception as error:  # the proposer's edge
        return Ready(f"{proposer.name} could not be tried out: {describe(error)}")
