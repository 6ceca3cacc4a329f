"""The box between a program that proposes and the harness: what may be asked, what is read of it, how it is answered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.patience import Patience
from autoresearch.proposers import probe
from autoresearch.proposers.mailbox import WHAT, Box, refusal


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path / "a 'box'", sys.executable)
    yield made
    made.close()


def folder(box: Box) -> Path:
    return box.programs.parent


def ask(box: Box, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(["autoresearch", *words], stdout=-1, stderr=-1, text=True, env={"PATH": f"{box.programs}:/bin"})


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("may_run", "allowed"),
    [("none", ()), ("quick", ("quick",)), ("checks", ("quick", "checks")), ("all", ("quick", "checks", "all"))],
)
def test_what_may_be_run_is_a_ladder(may_run: str, allowed: tuple[str, ...]) -> None:
    assert tuple(what for what in WHAT if not refusal(may_run, what)) == allowed  # type: ignore[arg-type]
    refused = [what for what in WHAT if what not in allowed]
    assert all(f'[proposer] may_run = "{may_run}"' in refusal(may_run, what) for what in refused)  # type: ignore[arg-type]


def test_request_is_taken_once_and_its_answer_printed(box: Box) -> None:
    program = ask(box, "probe", "checks")
    wait_for(box.next)
    name = box.next()
    assert name is not None
    assert box.read(name) == "checks"
    assert box.next() is None
    box.answer(name, {"what": "checks", "passed": False, "words": "check x failed", "output": "line 1\nline 2"})
    out, err = program.communicate(timeout=20)
    assert (program.returncode, out, err) == (1, "failed: check x failed\nline 1\nline 2\n", "")
    assert [p.name for p in folder(box).iterdir() if p.suffix in (".ask", ".answer", ".part")] == []


def test_older_requests_come_first(box: Box) -> None:
    for name in ("20-aa", "10-bb"):
        (folder(box) / f"{name}.ask").write_text('{"what": "quick"}')
    assert box.next() == "10-bb.ask"


def test_no_harness_is_said_and_is_no_failure_of_the_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.main(str(tmp_path / "gone"), 0, ["probe"]) == 2
    assert "the harness cannot be asked" in capsys.readouterr().err


def test_box_that_goes_while_it_is_waited_for_ends_the_waiting(box: Box) -> None:
    program = ask(box, "probe")
    wait_for(box.next)
    os.rename(folder(box), folder(box).with_name("elsewhere"))
    assert program.wait(20) == 2
    program.communicate()


def test_long_trial_is_asked_for_again(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.main(str(folder(box)), 0.1, ["probe"]) == 2
    assert "still under way: run the same command again" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["run"], ["probe", "everything"], ["probe", "quick", "all"], ["status", "--json"]])
def test_every_other_command_says_what_works(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.main(str(tmp_path), 0, words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "only `autoresearch probe [quick|checks|all] [--json]` works here" in err


@given(st.binary(max_size=3000))
def test_whatever_a_request_holds_is_read_as_a_few_words_or_none(body: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as top:
        box = Box(Path(top) / "box", sys.executable)
        (folder(box) / "1-a.ask").write_bytes(body)
        assert box.next() == "1-a.ask"
        assert len(box.read("1-a.ask")) < 40
        assert box.next() is None
        box.close()


def test_request_that_is_no_plain_file_is_none(box: Box, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"what": "all"}')
    (folder(box) / "1-a.ask").symlink_to(secret)
    os.mkfifo(folder(box) / "2-a.ask")
    (folder(box) / "3-a.ask").mkdir()
    for name in ("1-a.ask", "2-a.ask", "3-a.ask"):
        assert box.next() == name
        assert box.read(name) == ""
    assert box.next() is None
    assert secret.exists()


def test_answer_goes_to_the_folder_that_was_made_and_through_no_link(box: Box, tmp_path: Path) -> None:
    real, other = folder(box).with_name("moved"), tmp_path / "other"
    other.mkdir()
    os.rename(folder(box), real)
    folder(box).symlink_to(other)
    (real / "1-a.answer").symlink_to(tmp_path / "victim")
    box.answer("1-a.ask", {"passed": True, "words": "", "output": ""})
    assert list(other.iterdir()) == []
    assert not (tmp_path / "victim").exists()
    assert json.loads((real / "1-a.answer").read_text())["passed"] is True


def test_requests_in_any_number_are_looked_at_in_bounded_time(box: Box) -> None:
    for i in range(3000):
        (folder(box) / f"{i}-a.ask").touch()
    began = time.monotonic()
    for _ in range(50):
        assert box.next() is not None
    assert time.monotonic() - began < 5


def test_program_imports_nothing_of_the_package_and_nothing_that_is_installed(box: Box) -> None:
    threading.Timer(0.2, lambda: box.answer(_next(box), {"passed": True, "words": "fine", "output": ""})).start()
    code = f"import runpy, sys; sys.argv = ['probe.py', {str(folder(box))!r}, '0', 'probe', '--json']\n"
    code += f"try: runpy.run_path({str(folder(box) / 'probe.py')!r}, run_name='__main__')\n"
    code += "except SystemExit as end: print(end.code, sorted(m for m in sys.modules if 'site-packages' in str("
    code += "getattr(sys.modules[m], '__file__', '')) or m.startswith('autoresearch')))"
    end = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=30)
    assert json.loads(end.stdout.splitlines()[0]) == {"passed": True, "words": "fine", "output": ""}
    assert end.stdout.splitlines()[1] == "0 []"


def _next(box: Box) -> str:
    wait_for(box.next)
    return box.next() or ""


# -- a limit that stands still -------------------------------------------------------------------------------------------


def test_limit_holds_over_several_stretches_and_stands_still_while_it_is_held() -> None:
    import anyio

    async def work() -> list[str]:
        patience, said = Patience(0.4), []
        with patience.running():
            await anyio.sleep(0.05)
            with patience.held(), patience.held():
                await anyio.sleep(0.6)
            said.append("held")
        left_s = patience.left_s
        assert 0.0 < left_s < 0.4
        await anyio.sleep(0.5)  # nobody works
        assert patience.left_s == left_s
        try:
            with patience.running():
                await anyio.sleep(5)
        except TimeoutError:
            said.append("over")
        return said

    assert anyio.run(work) == ["held", "over"]


def test_endless_limit_is_none_and_what_fails_inside_fails_as_itself() -> None:
    import anyio

    async def work() -> None:
        patience = Patience(float("inf"))
        with patience.running(), patience.held():
            await anyio.sleep(0)
        with pytest.raises(KeyError), patience.running():
            raise KeyError

    anyio.run(work)
