"""A proposer that writes code and has no walls around it is asked about once, and the answer is remembered."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from autoresearch import proposers
from autoresearch.errors import SetupError
from autoresearch.paths import ProjectPaths


def ask(paths: ProjectPaths, kind: str, why: str, confirm: Callable[[str], bool] | None) -> None:
    """Go on only where the owner's own code proposes, or where he said yes to this proposer before, or says it now.

    Args:
        why: in which words there is no sandbox.

    Raises:
        SetupError: he says no, or nobody can be asked.
    """
    if not proposers.writes_code(kind):
        return
    known = _read(paths)
    if kind in known:
        return
    question = f"{kind} writes code, and nothing holds it here ({why}): it could read and change whatever you can. Run it?"
    if confirm is None or not confirm(question):
        raise SetupError(
            f"{kind} writes code, and no sandbox works here ({why}): install bubblewrap, or allow it with --yes, which is "
            "remembered for this project"
        )
    paths.consents.write_text(json.dumps({**known, kind: time.time()}, indent=1) + "\n", encoding="utf-8")


def _read(paths: ProjectPaths) -> dict[str, float]:
    """By kind, when the owner said yes."""
    try:
        found = json.loads(paths.consents.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
