"""What a night costs with the real claude: what is forecast after five experiments, against what thirty cost."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.agents.runs import Run
from tests.agents.script import Step, edit, say, script

WHOLE, FIRST = 30, 5


def nights_work(seed: int) -> dict[int | str, list[Step]]:
    """Each experiment better by one, with a usage of its own: answers, and what they read and wrote."""
    draw, found = random.Random(seed), {}
    for n in range(1, WHOLE + 1):
        usage = {"input": draw.randint(2000, 6000), "cached": draw.randint(5000, 20000), "output": draw.randint(200, 900)}
        thinking = [say_and_go_on(n, i) for i in range(draw.randint(0, 1))]
        found[n] = [*thinking, edit("knob.txt", str(101 - n), str(100 - n)), say(f"description: {n}", **usage)]
    return found


def say_and_go_on(n: int, i: int) -> Step:
    return {"shell": f"echo thinking {n} {i}"}


def dry_run(run: Run) -> dict[str, object]:
    argv = [sys.executable, "-m", "autoresearch", "run", "one", "--dry-run", "--json"]
    done = subprocess.run(
        argv, cwd=run.folder, env=run.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    body: dict[str, object] = json.loads(done.stdout)
    return body


def test_forecast_after_five_experiments_is_within_a_fifth_of_what_thirty_cost(tmp_path: Path) -> None:
    run = Run(tmp_path, "claude", script(nights_work(3)), experiments=WHOLE, files={"knob.txt": "100\n"})
    try:
        assert run.run("-n", str(FIRST)) == 0, run.printed
        spent = run.history.cost_usd
        forecast = dry_run(run)["forecast"]
        assert isinstance(forecast, dict)
        assert (forecast["experiments"], forecast["proposals"]) == (WHOLE - FIRST, FIRST)
        assert run.run(limit_s=300) == 0, run.printed
        assert run.verdicts() == [("keep", "better")] * WHOLE
        cost_usd = run.history.cost_usd
        assert cost_usd > spent > 0
        assert spent + forecast["cost_usd"] == pytest.approx(cost_usd, rel=0.2)
    finally:
        run.close()
