"""Trials of proposals under way: `autoresearch probe` and what proposers in this process call, in an evaluation's place."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.conftest import TASK, Toy

from autoresearch.budget import Ending
from autoresearch.choice import Wish
from autoresearch.contracts import Brief
from autoresearch.process import landlock
from autoresearch.records import Kind, Proposal, Trial

QUICK = """\
import pathlib
text = pathlib.Path("knob.txt").read_text()
print("looking at", text.strip())
float(text)
"""

Act = Callable[[Brief, Any, Path], Any]


def task(*, quick: bool = True, checks: str = "", evaluate: str = "", more: str = "") -> str:
    text = TASK.replace('command = "python evaluate.py"', f'command = "python evaluate.py"\n{evaluate}')
    text = text.replace("[metric]", 'quick = "python quick.py"\n\n[metric]' if quick else "[metric]")
    return text + checks + more


class Trying:
    """A proposer of files that tries things out: `act(brief, draft, folder)` writes, tries and gives what it likes."""

    name = "trying"

    def __init__(self, act: Act) -> None:
        self._act = act

    async def propose(self, brief: Brief, draft: Any) -> Proposal:
        await self._act(brief, draft, await draft.folder())
        return Proposal("tried")


def run(toy: Toy, act: Act, **options: Any) -> None:
    def parts(found: Any) -> Any:
        return type(found)(
            **{name: getattr(found, name) for name in type(found).__slots__} | {"proposer": Trying(act), "mix": {}}
        )

    toy.run(parts=parts, wish=options.pop("wish", Wish(name="one", experiments=1)), **options)


def notes(toy: Toy, what: str) -> list[Any]:
    return [e.body for e in toy.events if e.kind == "note" and e.body.get("what") == what]


def logs(toy: Toy, n: int = 1) -> list[str]:
    folder = toy.folder / ".autoresearch" / "one" / "experiments" / f"{n:06}"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.log"))


def test_failing_quick_test_says_how_and_passing_one_is_not_run_again(make_toy: Callable[..., Toy]) -> None:
    toy, seen = make_toy({"quick.py": QUICK}, task=task()), []

    async def act(brief: Brief, draft: Any, folder: Path) -> None:
        for text in ("much", "9\n"):
            (folder / "knob.txt").write_text(text)
            seen.append(await brief.trial(draft, "quick"))

    run(toy, act)
    failed, passed = seen
    assert not failed.passed
    assert "the quick test failed: exited with 1" in failed.words
    assert "looking at much" in failed.output
    assert "could not convert string to float" in failed.output
    assert passed.passed
    assert toy.history().experiments[1].kept
    assert logs(toy) == ["eval-1.log", "trial-1/quick.log", "trial-2/quick.log"]  # and no quick.log of the experiment


def test_quick_test_is_run_again_where_the_tree_is_another_one(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy({"quick.py": QUICK}, task=task())

    async def act(brief: Brief, draft: Any, folder: Path) -> None:
        (folder / "knob.txt").write_text("9\n")
        assert (await brief.trial(draft, "quick")).passed
        (folder / "knob.txt").write_text("many\n")

    run(toy, act)
    verdict = toy.history().experiments[1].verdict
    assert verdict is not None
    assert verdict.kind is Kind.CRASH
    assert "quick.log" in logs(toy)


def test_trial_of_all_shows_numbers_that_are_recorded_nowhere(make_toy: Callable[..., Toy]) -> None:
    toy, seen = make_toy({"quick.py": QUICK}, task=task()), []

    async def act(brief: Brief, draft: Any, folder: Path) -> None:
        (folder / "knob.txt").write_text("7\n")
        seen.append(await brief.trial(draft, "all"))

    run(toy, act)
    assert seen[0].passed
    assert seen[0].words.startswith("score 7 in ")
    history = toy.history()
    assert [m.phase for m in history.experiments[1].measurements][:1] == ["first"]
    assert history.evaluations == sum(len(e.measurements) for e in history.experiments)
    assert [body["of"] for body in notes(toy, "trial")] == ["all"]
    assert [ref for ref in toy.git("for-each-ref").splitlines() if ref.endswith("/one/2")] == []


def test_ladder_goes_up_to_the_first_that_fails(make_toy: Callable[..., Toy]) -> None:
    checks = '[[check]]\nname = "even"\ncommand = "python even.py"\n[[guard]]\nname = "size"\nmin = 3\n'
    evaluate = "import pathlib\nvalue = float(pathlib.Path('knob.txt').read_text())\nprint(f'score: {value}\\nsize: {value}')\n"
    even = "import pathlib, sys\nprint('asked')\nsys.exit(int(float(pathlib.Path('knob.txt').read_text())) % 2)\n"
    toy, seen = make_toy({"quick.py": QUICK, "even.py": even, "evaluate.py": evaluate}, task=task(checks=checks)), []

    async def act(brief: Brief, draft: Any, folder: Path) -> None:
        for what, text in (("checks", "9"), ("checks", "8"), ("all", "9"), ("all", "2"), ("all", "4")):
            (folder / "knob.txt").write_text(text)
            seen.append(await brief.trial(draft, what))

    run(toy, act)
    odd, good, odd_again, broken, whole = seen
    assert (odd.passed, odd_again.passed) == (False, False)
    assert odd.words.startswith("check even failed: exited with 1")
    assert "asked" in odd.output
    assert good.passed
    assert "the quick test passed" in good.words
    assert "check even passed" in good.words
    assert broken.words.startswith("a guard is broken: size is 2, below 3; score 2, size 2 in ")
    assert whole.passed


def test_only_three_trials_of_all_a_proposal_and_none_twice_on_the_same_files(make_toy: Callable[..., Toy]) -> None:
    toy, seen = make_toy(task=task(quick=False)), []

    async def act(brief: Brief, draft: Any, folder: Path) -> None:
        for text in ("9", "9", "8", "7", "6"):
            (folder / "knob.txt").write_text(text)
            seen.append(await brief.trial(draft, "all"))
        seen.append(await brief.trial(draft, "quick"))

    run(toy, act)
    assert [t.tried for t in seen] == [True, True, True, True, False, True]
    assert "as before: no file has changed since" in seen[1].words
    assert "`all` was tried 3 times" in seen[4].words
    assert len(notes(toy, "trial")) == 4


def test_what_cannot_be_a_candidate_is_said_in_words_and_not_run(make_toy: Callable[..., Toy]) -> None:
    toy, seen = make_toy({"quick.py": QUICK}, task=task()), []

    async def act(brief: Brief, draft: Any, folder: Path) -> None:
        (folder / "evaluate.py").write_text("print('score: 0')\n")
        seen.append(await brief.trial(draft, "all"))
        (folder / "evaluate.py").unlink()
        (folder / "evaluate.py").symlink_to("/etc/passwd")
        seen.append(await brief.trial(draft, "quick"))

    run(toy, act)
    assert all(t == Trial(False, t.words) and "scope: evaluate.py is frozen" in t.words for t in seen)
    assert logs(toy) == []
    verdict = toy.history().experiments[1].verdict
    assert verdict is not None
    assert (verdict.kind, verdict.reason) == (Kind.INVALID, "scope")


def test_task_with_nothing_to_try_passes_what_could_be_a_candidate(make_toy: Callable[..., Toy]) -> None:
    toy, seen = make_toy(task=task(quick=False)), []

    async def act(brief: Brief, draft: Any, folder: Path) -> None:
        seen.append(await brief.trial(draft, "quick"))
        seen.append(await brief.trial(draft, "checks"))

    run(toy, act)
    assert [t.passed for t in seen] == [True, True]
    assert "neither a build nor such a test" in seen[0].words


def test_build_that_fails_is_shown_and_one_that_passes_is_kept_for_the_evaluation(make_toy: Callable[..., Toy]) -> None:
    build = "import pathlib\ntext = pathlib.Path('knob.txt').read_text()\nprint('compiling', text)\n"
    build += "open('built.out', 'a').write(str(float(text)) + '\\n')\n"
    evaluate = "import pathlib\nbuilt = pathlib.Path('built.out').read_text().splitlines()\n"
    evaluate += "print('score:', len(built) * float(pathlib.Path('knob.txt').read_text()))\n"
    toy, seen = (
        make_toy({"build.py": build, "evaluate.py": evaluate}, task=task(quick=False, evaluate='build = "python build.py"')),
        [],
    )

    async def act(brief: Brief, draft: Any, folder: Path) -> None:
        for text in ("x", "9"):
            (folder / "knob.txt").write_text(text)
            seen.append(await brief.trial(draft, "quick"))

    run(toy, act)
    assert [t.passed for t in seen] == [False, True]
    assert seen[0].words.startswith("the build failed: ")
    assert "compiling x" in seen[0].output
    assert "build.log" not in logs(toy)  # the evaluation found what the trial had built
    assert toy.history().experiments[1].value == 9


def test_noisy_metric_is_shown_as_far_as_its_noise_lets(make_toy: Callable[..., Toy]) -> None:
    evaluate = """\
    import os, pathlib, random
    noise = random.Random(os.environ["SEED"]).gauss(0, 0.5)
    print(f"score: {float(pathlib.Path('knob.txt').read_text()) + noise:.9f}")
    """
    toy, seen = make_toy({"evaluate.py": evaluate}, task=task(quick=False, evaluate='seed_env = "SEED"')), []

    async def act(brief: Brief, draft: Any, folder: Path) -> None:
        (folder / "knob.txt").write_text("100\n")
        seen.append(await brief.trial(draft, "all"))

    run(toy, act)
    shown = seen[0].words.split()[1]
    assert len(shown.partition(".")[2]) <= 1
    assert f"score: {shown}" in seen[0].output
    log = toy.folder / ".autoresearch/one/experiments/000001/trial-1/eval.log"
    assert len(log.read_text().strip().partition(".")[2]) == 9


def test_tampering_in_a_trial_is_the_verdict_also_after_a_kill(make_toy: Callable[..., Toy]) -> None:
    quick = "import os, pathlib\nif pathlib.Path('knob.txt').read_text() == '3':\n"
    quick += "    path = pathlib.Path(os.environ['AUTORESEARCH_LABELS'])\n    path.chmod(0o600)\n    path.write_text('mine')\n"
    toy, seen, loops = make_toy({"quick.py": quick}, task=task()), [], []

    async def act(brief: Brief, draft: Any, folder: Path) -> None:
        (folder / "knob.txt").write_text("3")
        seen.append(await brief.trial(draft, "quick"))
        seen.append(await brief.trial(draft, "quick"))
        loops[0].stop(Ending("stopped", "stopped on request"))
        await anyio.sleep_forever()

    run(toy, act, ready=loops.append)
    assert "this decides the experiment: invalid: tampering" in seen[0].words
    assert not seen[1].tried
    assert toy.history().experiments[1].stage == "asked"

    async def never(brief: Brief, draft: Any, folder: Path) -> None:
        raise AssertionError("it is not asked again")

    run(toy, never, wish=Wish(name="one"), ready=lambda loop: loop.finish())
    verdict = toy.history().experiments[1].verdict
    assert verdict is not None
    assert (verdict.kind, verdict.reason) == (Kind.INVALID, "tampering")


def test_limit_of_a_proposal_stands_still_while_it_waits_for_its_trial(make_toy: Callable[..., Toy]) -> None:
    toy, seen = make_toy({"quick.py": "import time; time.sleep(1.5)"}, task=task()), []

    async def act(brief: Brief, draft: Any, folder: Path) -> None:
        (folder / "knob.txt").write_text("9\n")
        seen.append(await brief.trial(draft, "quick"))

    def hurry(loop: Any) -> None:
        from dataclasses import replace

        options = replace(loop.options, proposal_timeout_s=-9.0)  # ten seconds more are given: one is left
        loop.options = loop.books.options = options

    run(toy, act, ready=hurry)
    assert seen[0].passed
    assert toy.history().experiments[1].kept


def test_trial_waits_for_a_slot_that_an_evaluation_has_and_both_come_to_their_end(make_toy: Callable[..., Toy]) -> None:
    """Two proposal slots, one evaluation slot: trials and evaluations take turns."""
    slow = "import pathlib, time\ntime.sleep(0.3)\nprint('score:', pathlib.Path('knob.txt').read_text())\n"
    toy = make_toy({"evaluate.py": slow, "quick.py": QUICK}, task=task())
    running: list[str] = []
    most = []

    def watch(what: str, details: Any) -> None:
        if what == "evaluating":
            running.append(details["label"])
            most.append(len(running))
        elif what == "evaluated":
            running.pop()

    async def act(brief: Brief, draft: Any, folder: Path) -> None:
        (folder / "knob.txt").write_text(str(10 - brief.n))
        assert (await brief.trial(draft, "all")).passed

    run(toy, act, watch=watch, wish=Wish(name="one", experiments=4, proposals=2, evaluations=1))
    assert max(most) == 1
    assert sum(e.verdict is not None for e in toy.history().experiments) == 5


def test_trial_of_a_task_measured_alone_holds_the_room_alone(
    make_toy: Callable[..., Toy], monkeypatch: pytest.MonkeyPatch
) -> None:
    from autoresearch.exclusive import Room

    held = []
    real = Room.hold

    def hold(self: Room, *, alone: bool = False) -> Any:
        held.append(alone)
        return real(self, alone=alone)

    monkeypatch.setattr(Room, "hold", hold)
    toy = make_toy({"quick.py": QUICK}, task=task(evaluate="exclusive = true"))

    async def act(brief: Brief, draft: Any, folder: Path) -> None:
        (folder / "knob.txt").write_text("9")
        held.clear()
        assert (await brief.trial(draft, "all")).passed
        assert held == [False, True]  # the quick test beside others, the task's command alone

    run(toy, act)
    assert toy.history().experiments[1].kept


def test_secret_that_a_test_prints_is_covered_and_one_in_a_file_is_refused(
    make_toy: Callable[..., Toy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "hunter2-hunter2")
    quick = """\
    import os
    print("it is", os.environ["SOME_TOKEN"])
    if open("knob.txt").read() == "9":
        raise SystemExit(os.environ["SOME_TOKEN"])
    """
    toy, seen = make_toy({"quick.py": quick}, task=task(evaluate='env = ["SOME_TOKEN"]')), []

    async def act(brief: Brief, draft: Any, folder: Path) -> None:
        (folder / "knob.txt").write_text("9")
        seen.append(await brief.trial(draft, "quick"))
        (folder / "knob.txt").write_text("hunter2-hunter2")
        seen.append(await brief.trial(draft, "quick"))

    run(toy, act)
    assert len(seen) == 2, toy.history().experiments[1].verdict
    assert "it is ***SOME_TOKEN***" in seen[0].output
    assert "the value of SOME_TOKEN" in seen[1].words
    assert "hunter2" not in str(seen)
    assert "hunter2" not in str(notes(toy, "trial"))


def test_private_sets_are_no_part_of_a_trial(make_toy: Callable[..., Toy]) -> None:
    sets = '[gate]\ncommand = "python gate.py"\n[held_out]\ncommand = "python gate.py"\n'
    gate = "import os, pathlib\nprint('score:', pathlib.Path('knob.txt').read_text())\n"
    toy, labels = make_toy({"gate.py": gate, "quick.py": QUICK}, task=task(more=sets)), []

    async def act(brief: Brief, draft: Any, folder: Path) -> None:
        labels.clear()
        (folder / "knob.txt").write_text("9\n")
        assert (await brief.trial(draft, "all")).passed
        assert labels == ["trial, quick", "trial, eval"]

    def watch(what: str, details: Any) -> None:
        if what == "evaluating":
            labels.append(details["label"])

    run(toy, act, watch=watch)
    assert toy.history().experiments[1].kept


# -- autoresearch probe, as a program finds it --------------------------------------------------------------------------

AGENT = """\
import json, pathlib, subprocess, sys, os

def probe(*words):
    end = subprocess.run(["autoresearch", *words], capture_output=True, text=True)
    said.append([end.returncode, end.stdout, end.stderr])

said = []
{body}
pathlib.Path("extra").mkdir(exist_ok=True)
pathlib.Path("extra/said.json").write_text(json.dumps(said))
print("probed")
"""


def agent(make_toy: Callable[..., Toy], body: str, *, may_run: str = "quick", timeout: str = "60s", **options: Any) -> Toy:
    proposer = (
        f'[proposer]\nkind = "command"\ncommand = "{sys.executable} agent.py"\nmay_run = "{may_run}"\ntimeout = "{timeout}"\n'
    )
    files = {"agent.py": AGENT.format(body=body), "quick.py": options.pop("quick", QUICK)}
    toy = make_toy(files, task=task(more=proposer, **options))
    toy.run(wish=Wish(name="one", experiments=1))
    return toy


def said(toy: Toy) -> Sequence[Any]:
    import json

    commit = toy.history().experiments[1].commit
    found = json.loads(toy.git("show", f"{commit}:extra/said.json"))
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("walls", ["auto", "landlock", "off"])
def test_probe_tries_the_tree_and_tells_by_its_exit_code(
    make_toy: Callable[..., Toy], walls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if walls == "off":
        monkeypatch.setenv("AUTORESEARCH_SANDBOX", walls)
    if walls == "landlock" and not landlock.version():
        pytest.skip("no Landlock here")
    body = """
pathlib.Path("knob.txt").write_text("many")
probe("probe")
pathlib.Path("knob.txt").write_text("9")
probe("probe", "quick", "--json")
probe("probe", "checks")
probe("run")
probe("probe", "everything")
"""
    toy = agent(make_toy, body, evaluate='sandbox = "landlock"' if walls == "landlock" else "")
    failed, passed, refused, other, unknown = said(toy)
    assert failed[0] == 1
    assert failed[1].startswith("failed: the quick test failed: exited with 1")
    assert "could not convert string to float: 'many'" in failed[1]
    assert passed[0] == 0
    assert '"passed": true' in passed[1]
    assert refused[0] == 2
    assert 'the task has [proposer] may_run = "quick", and `checks` would need "checks"' in refused[1]
    assert other[0] == unknown[0] == 2
    assert "only `autoresearch probe" in other[2]
    assert toy.history().experiments[1].kept


def test_probe_of_checks_and_all_where_they_are_allowed(make_toy: Callable[..., Toy]) -> None:
    body = 'pathlib.Path("knob.txt").write_text("9")\nprobe("probe", "checks")\nprobe("probe", "all")\n'
    toy = agent(make_toy, body, may_run="all", checks='[[check]]\nname = "fine"\ncommand = "true"\n')
    checks, whole = said(toy)
    assert (checks[0], whole[0]) == (0, 0)
    assert "check fine passed" in checks[1]
    assert whole[1].startswith("passed: score 9 in ")


def test_several_probes_at_the_same_time_are_answered_one_after_another(make_toy: Callable[..., Toy]) -> None:
    body = """
pathlib.Path("knob.txt").write_text("9")
several = [subprocess.Popen(["autoresearch", "probe"], stdout=subprocess.PIPE, text=True) for _ in range(4)]
said = [[p.wait(), p.communicate()[0]] for p in several]
"""
    toy = agent(make_toy, body)
    assert [code for code, _ in said(toy)] == [0, 0, 0, 0]
    assert [body["number"] for body in notes(toy, "trial")] == [1]  # the others were about the same files


def test_program_that_is_killed_in_a_probe_can_ask_again(make_toy: Callable[..., Toy]) -> None:
    body = """
pathlib.Path("knob.txt").write_text("9")
first = subprocess.Popen(["autoresearch", "probe"])
import time
time.sleep(0.4)
first.kill()
probe("probe")
"""
    toy = agent(make_toy, body, quick="import time; time.sleep(1)")
    assert said(toy)[0][0] == 0


def test_what_a_program_puts_into_the_box_harms_nobody_but_itself(make_toy: Callable[..., Toy], tmp_path: Path) -> None:
    secret = tmp_path / "outside.txt"
    secret.write_text('{"what": "all"}')
    body = f"""
pathlib.Path("knob.txt").write_text("9")
box = pathlib.Path(os.environ["TMPDIR"], "autoresearch")
(box / "0-0.ask").symlink_to({str(secret)!r})
os.mkfifo(box / "0-1.ask")
(box / "0-2.ask").mkdir()
(box / "0-3.ask").write_text("x" * 10**6)
(box / "0-4.ask").write_text("[" * 900)
(box / "0-5.ask").write_text(json.dumps({{"what": ["quick"] * 3}}))
(box / "0-6.answer").symlink_to({str(secret)!r})
(box / "0-6.ask").write_text(json.dumps({{"what": "quick"}}))
for i in range(90):
    (box / f"junk{{i}}").write_text("")
probe("probe")
os.rename(box, box.with_name("elsewhere"))
os.symlink({str(tmp_path)!r}, box)
pathlib.Path(box / "bin").mkdir(exist_ok=True) if os.access(box, os.W_OK) else None
"""
    toy = agent(make_toy, body)
    assert said(toy)[0][0] == 0
    assert secret.read_text() == '{"what": "all"}'
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".answer")] == []


def test_time_of_a_program_stands_still_in_a_probe(make_toy: Callable[..., Toy]) -> None:
    body = 'pathlib.Path("knob.txt").write_text("9")\nprobe("probe")\n'
    toy = agent(make_toy, body, quick="import time; time.sleep(3)", timeout="2s")
    assert toy.history().experiments[1].kept


def test_program_that_takes_too_long_is_a_failed_proposal(make_toy: Callable[..., Toy]) -> None:
    toy = agent(make_toy, "import time; time.sleep(30)", timeout="1s")
    verdict = toy.history().experiments[1].verdict
    assert verdict is not None
    assert (verdict.kind, verdict.reason) == (Kind.INVALID, "proposer_timeout")
    assert "still running after 1 s" in verdict.words


def test_without_leave_there_is_no_such_program(make_toy: Callable[..., Toy]) -> None:
    body = 'import shutil\nsaid.append(os.path.exists(os.path.join(os.environ["TMPDIR"], "autoresearch")))\n'
    body += 'pathlib.Path("knob.txt").write_text("9")\n'
    toy = agent(make_toy, body, may_run="none")
    assert said(toy) == [False]
