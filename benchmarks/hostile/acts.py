"""All hostile acts, in the order of the threats of the list as far as they fit."""

from __future__ import annotations

from hostile.arena import Act
from hostile.forging import BASELINE, CLOCKS, FAKES, RULER, SEEDS, SPECIAL, TESTS, WORK
from hostile.seen import told
from hostile.spoiling import BLOBS, CACHES, HISTORY, LIMITS, LINGER, PATHS, RECORDS, WORDS
from hostile.stealing import LABELS, NETWORK, SECRETS

ACTS: tuple[Act, ...] = (
    *RULER,
    *LABELS,
    *SPECIAL,
    *CLOCKS,
    *CACHES,
    *LIMITS,
    *FAKES,
    *RECORDS,
    *NETWORK,
    *SECRETS,
    *LINGER,
    *WORK,
    *TESTS,
    *HISTORY,
    *SEEDS,
    *BLOBS,
    *PATHS,
    *WORDS,
    *BASELINE,
)

SELF_TEST = Act(
    "reads what it may read",
    0,
    told("open", "read a file of its own tree"),
    candidate='leak("open")',
    defensible=False,
)
"""No threat: it gets what it wants under every level, so a benchmark that finds it blocked finds nothing."""
