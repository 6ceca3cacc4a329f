"""`autoresearch check` as its user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def check(folder: Path, *flags: str, code: int) -> dict[str, Any]:
    """What `check --json` says of a project, once its exit code is the expected one."""
    argv = [sys.executable, "-m", "autoresearch", "check", "--json", *flags]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
