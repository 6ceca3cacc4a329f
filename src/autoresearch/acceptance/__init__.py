"""Rules that turn measurements into verdicts: pure functions of what is recorded. One rule a file."""

from __future__ import annotations

from typing import cast

from autoresearch.acceptance.final import Compared
from autoresearch.contracts import Acceptance, find

KNOWN = {
    "auto": "autoresearch.acceptance.auto:Auto",
    "exact": "autoresearch.acceptance.exact:Exact",
    "bayes": "autoresearch.acceptance.bayes:Bayes",
    "race": "autoresearch.acceptance.race:Race",
    "margin": "autoresearch.acceptance.margin:Margin",
    "single": "autoresearch.acceptance.single:Single",
}


def make(kind: str) -> Acceptance:
    """The rule that goes by this name; the result of one of ours is compared with the baseline at the end.

    Raises:
        UnknownName: with the nearest known one.
    """
    rule = cast(Acceptance, find("acceptance", kind, KNOWN)())
    return Compared(rule) if kind in KNOWN else rule
