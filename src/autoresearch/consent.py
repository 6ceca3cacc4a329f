"""What is asked about a proposer once, and remembered for the project: may it write code without walls, and who pays for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

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
    _write(paths, kind, time.time())


def login(paths: ProjectPaths, kind: str) -> str | None:
    """What the owner said of who pays for a proposer: `subscription` or `api_key`; None if he was not asked."""
    said = _read(paths).get(f"{kind} pays")
    return said if said in ("subscription", "api_key") else None


def remember_login(paths: ProjectPaths, kind: str, said: str) -> None:
    """Do not ask again who pays for a proposer in this project."""
    _write(paths, f"{kind} pays", said)


def _write(paths: ProjectPaths, key: str, value: Any) -> None:
    paths.make()
    paths.consents.write_text(json.dumps({**_read(paths), key: value}, indent=1) + "\n", encoding="utf-8")


def _read(paths: ProjectPaths) -> dict[str, Any]:
    """By kind, when the owner said yes; and who pays for it."""
    try:
        found = json.loads(paths.consents.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
