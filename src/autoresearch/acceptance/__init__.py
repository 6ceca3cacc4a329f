"""Rules that turn measurements into verdicts: pure functions of what is recorded. One rule a file."""

from __future__ import annotations

from typing import cast

from autoresearch.contracts import Acceptance, find

KNOWN = {
    "auto": "autoresearch.acceptance.auto:Auto",
    "exact": "autoresearch.acceptance.exact:Exact",
    "margin": "autoresearch.acceptance.margin:Margin",
    "single": "autoresearch.acceptance.single:Single",
}


def make(kind: str) -> Acceptance:
    """The rule that goes by this name.

    Raises:
        UnknownName: with the nearest known one.
    """
    return cast(Acceptance, find("acceptance", kind, KNOWN)())
