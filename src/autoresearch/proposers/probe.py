"""`autoresearch probe` as a program that proposes finds it: asks the harness by a file, waits, prints what came of it.

A program of its own, standard library only: `python -I -S probe.py BOX SECONDS probe [quick|checks|all] [--json]`. After so
many seconds (0: never) it says that it can be asked again, and ends: programs break off what takes long. See `mailbox`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

_WHAT = ("quick", "checks", "all")
_USAGE = "autoresearch: only `autoresearch probe [quick|checks|all] [--json]` works here: the harness does everything else"
_AGAIN = "still under way: run the same command again to wait on; nothing is lost, and nothing is done twice"
_LOOK_S = 0.05


def main(box: str, limit_s: float, words: list[str]) -> int:
    """0 passed, 1 failed, 2 not allowed, not known yet, or nobody there who could try it."""
    asked = [word for word in words[1:] if word != "--json"] or ["quick"]
    if words[:1] != ["probe"] or len(asked) > 1 or asked[0] not in _WHAT:
        sys.stderr.write(f"{_USAGE}\n")
        return 2
    try:
        answer = _ask(box, asked[0], limit_s)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"autoresearch probe: the harness cannot be asked: {error}\n")
        return 2
    sys.stdout.write((json.dumps(answer) if "--json" in words else _shown(answer)) + "\n")
    return {True: 0, False: 1}.get(answer["passed"], 2)


def _ask(box: str, what: str, limit_s: float) -> dict[str, Any]:
    until = time.monotonic() + limit_s if limit_s else float("inf")
    name = os.path.join(box, f"{time.time_ns()}-{os.urandom(4).hex()}")
    with open(f"{name}.new", "w", encoding="utf-8") as file:
        json.dump({"what": what}, file)
    os.rename(f"{name}.new", f"{name}.ask")
    while not os.path.exists(f"{name}.answer"):
        os.stat(box)  # as long as it stands there is somebody who answers
        if time.monotonic() > until:
            return {"what": what, "passed": None, "words": _AGAIN, "output": ""}
        time.sleep(_LOOK_S)
    with open(f"{name}.answer", encoding="utf-8") as file:
        answer: dict[str, Any] = json.load(file)
    os.unlink(f"{name}.answer")
    return answer


def _shown(answer: dict[str, Any]) -> str:
    how = {True: "passed", False: "failed"}.get(answer["passed"], "no result")
    return "\n".join(part for part in (f"{how}: {answer['words']}", answer["output"]) if part)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), sys.argv[3:]))
