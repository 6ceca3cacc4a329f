"""The real agent programs try out what they wrote: by `autoresearch probe` in their shells, and by a quick test given back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agents.runs import Run, need
from tests.agents.script import edit, say, script, shell, write
from tests.agents.test_real_programs import ALL, Together

from autoresearch.records import Kind

QUICK = "import pathlib\ntext = pathlib.Path('knob.txt').read_text()\nprint('looking at', text)\nfloat(text)\n"


def lay_out(top: Path, program: str, *steps: object, table: str = "") -> Run:
    run = Run(top, program, script({1: list(steps)}), table=table, files={"quick.py": QUICK})  # type: ignore[list-item]
    task = run.folder / "autoresearch.toml"
    task.write_text(task.read_text().replace('"python evaluate.py"', '"python evaluate.py"\nquick = "python quick.py"'))
    return run


def probing(top: Path, program: str, table: str = "") -> Run:
    probe = shell("autoresearch probe; echo it said $?")
    steps = [edit("knob.txt", "10", "many"), probe, edit("knob.txt", "many", "9"), probe]
    return lay_out(
        top, program, *steps, shell("autoresearch probe all; echo it said $?"), say("description: nine"), table=table
    )


def said(run: Run) -> list[str]:
    """What came back to the model from its shell."""
    return [result for result in run.server.calls(1)[-1]["results"] if "it said" in result]


@pytest.fixture(scope="module")
def probed(request: pytest.FixtureRequest) -> Iterator[Together]:
    runs = Together(request, probing)
    yield runs
    runs.close()


@pytest.mark.parametrize("program", ALL)
def test_probe_tells_the_model_what_failed_and_then_that_it_passes(program: str, probed: Together) -> None:
    code, run = probed(program)
    assert code == 0, run.printed
    check_probed(run)


def test_probe_goes_through_the_sandbox_of_codex_itself(tmp_path: Path) -> None:
    run = probing(tmp_path, "codex", 'sandbox = "own"')
    try:
        assert run.run() == 0, run.printed
        check_probed(run)
    finally:
        run.close()


def check_probed(run: Run) -> None:
    failed, passed, refused = said(run)
    assert "it said 1" in failed
    assert "the quick test failed" in failed
    assert "looking at many" in failed
    assert "it said 0" in passed
    assert "passed: the quick test passed" in passed
    assert "it said 2" in refused
    assert "not allowed: the task has [proposer] may_run" in refused
    assert run.verdicts() == [("keep", "better")], run.printed


def test_failing_quick_test_goes_back_to_the_same_session_of_claude_and_is_mended(tmp_path: Path) -> None:
    steps = [edit("knob.txt", "10", "many"), say("description: many"), edit("knob.txt", "many", "9"), say("description: nine")]
    run = lay_out(tmp_path, "claude", *steps)
    try:
        assert run.run() == 0, run.printed
        given_back = [text for call in run.server.calls(1) for text in call["users"] if "looking at many" in text]
        assert given_back
        kept = run.history.experiments[1]
        assert kept.kept, run.printed
        assert (kept.description, kept.turns) == ("nine", len(run.server.calls(1)))
    finally:
        run.close()


def test_failing_quick_test_that_is_not_mended_is_a_crash(tmp_path: Path) -> None:
    run = lay_out(tmp_path, "claude", edit("knob.txt", "10", "many"), say("description: many"), say("I do not know"))
    try:
        run.run()
        verdict = run.history.experiments[1].verdict
        assert verdict is not None
        assert (verdict.kind, verdict.reason) == (Kind.CRASH, "exit")
        assert "the quick test failed" in verdict.words
    finally:
        run.close()


# -- init "…" --with claude ------------------------------------------------------------------------------------------------

DRAFT = """\
[task]
name = "toy"
editable = ["knob.txt"]

[evaluate]
command = "python measure.py"

[metric]
name = "height"
"""
MEASURE = "import pathlib\nprint('METRIC height=' + pathlib.Path('knob.txt').read_text())\n"
ROUNDS = r"(?:^# Draft |^## Your )(a task(?![\s\S]*## Your draft)|draft, and what)"


def test_claude_drafts_a_task_that_check_finds_ready(tmp_path: Path) -> None:
    need("claude")
    first = [
        write("autoresearch.toml", DRAFT),
        write("measure.py", "raise SystemExit('not yet')\n"),
        say("description: height"),
    ]
    second = [shell("cat measure.py"), write("measure.py", MEASURE), say("description: the height")]
    run = Run(tmp_path, "claude", script({"a task": first, "draft, and what": second}, pattern=ROUNDS))
    (run.folder / "autoresearch.toml").unlink()
    try:
        argv = [sys.executable, "-m", "autoresearch", "init", "make it lower", "--with", "claude", "--yes"]
        argv += ["--model", "claude-sonnet-4-5", "--base-url", run.url]
        env = {**run.env, "ANTHROPIC_API_KEY": "sk-scripted"}
        end = subprocess.run(
            argv, cwd=run.folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
        )
        assert end.returncode == 0, end.stdout + end.stderr
        assert "pays: ANTHROPIC_API_KEY, at most 1.00 USD" in end.stderr
        assert "read height: 10 and 10" in end.stdout
        assert any("not yet" in result for result in run.server.calls("draft, and what")[-1]["results"])
        assert (run.folder / "measure.py").read_text() == MEASURE
        assert run.left_running() == []
    finally:
        run.close()
