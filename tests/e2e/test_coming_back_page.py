"""Every command of docs/coming-back.md, in its order, on a project and a colleague's clone of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.conftest import TASK, Toy, git

PAGE = Path(__file__).parents[2] / "docs" / "coming-back.md"
PROPOSE = """\
n=$(sed -n 's/^# Experiment \\([0-9]*\\).*/\\1/p' "$AUTORESEARCH_PROMPT")
if [ $((n % 2)) = 1 ]; then echo $((100 + n)) > knob.txt; else echo $((10 - n)) > knob.txt; fi
echo "number $n"
"""


def test_commands_of_the_page_work_in_their_order(make_toy: Callable[..., Toy], tmp_path: Path) -> None:
    task = TASK + '[proposer]\nkind = "command"\ncommand = "sh propose.sh"\n[budget]\nexperiments = 6\n'
    toy = make_toy({"propose.sh": PROPOSE}, task=task)
    git(tmp_path, "clone", "-q", str(toy.folder), "colleague")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "autoresearch"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m autoresearch "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "COLLEAGUE": str(tmp_path / "colleague")}
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 8
    for block in blocks:
        argv = ["bash", "-euo", "pipefail", "-c", block]
        done = subprocess.run(argv, cwd=toy.folder, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
