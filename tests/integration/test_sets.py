"""Three sets: what a proposer may know, a gate that answers yes or no, a held-out set that the headline rests on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Toy

from autoresearch.choice import Wish
from autoresearch.cli.look import export_run, show_experiment, show_log, show_status
from autoresearch.errors import RulerChanged, SetupError
from autoresearch.history import gate_queries
from autoresearch.records import Kind
from autoresearch.report import last_lines, standing_lines
from autoresearch.testing import Patch
from autoresearch.workspace.slots import Slots

Making = Callable[..., Toy]

SCORE = """\
import pathlib, sys
knobs = dict(line.split() for line in pathlib.Path("knobs.txt").read_text().splitlines())
labels = pathlib.Path(sys.argv[1]).expanduser().read_text() if len(sys.argv) > 1 else "none 0"
print("labels:", labels)
print("score:", float(knobs[sys.argv[2] if len(sys.argv) > 2 else "visible"]) + float(labels.split()[1]))
"""

TASK = """\
[task]
name = "toy"
editable = ["knobs.txt", "sp[y].py"]

[evaluate]
command = "python score.py"

[metric]
name = "score"
"""

GATE = """
[gate]
command = "python score.py data/gate.csv gate"
private = ["data/gate.csv"]
"""
HELD = """
[held_out]
command = "python score.py data/held.csv held"
private = ["data/held.csv"]
"""
SECRET = {"data/gate.csv": "GATE-SECRET-LABELS 0\n", "data/held.csv": "HELD-SECRET-LABELS 0\n"}


def knobs(visible: float, gate: float = 10, held: float = 10) -> str:
    return f"visible {visible}\ngate {gate}\nheld {held}\n"


def patch(visible: float, gate: float = 10, held: float = 10, **files: str) -> Patch:
    return Patch({"knobs.txt": knobs(visible, gate, held), **files}, f"visible {visible}")


@pytest.fixture
def sets(make_toy: Making) -> Callable[..., Toy]:
    def make(task: str = GATE + HELD, **files: str) -> Toy:
        return make_toy({"score.py": SCORE, "knobs.txt": knobs(10), **SECRET, **files}, task=TASK + task)

    return make


def run_dump(toy: Toy) -> str:
    """Every file of the run on disk in text, as a proposer without a sandbox could look at it, but for the ledger."""
    found = []
    for path in (toy.folder / ".autoresearch").rglob("*"):
        if path.is_file() and "ledger.db" not in path.name:
            found.append(path.read_bytes().decode("utf-8", "replace"))
    return "\n".join(found)


# -- the gate ------------------------------------------------------------------------------------------------------------


def test_candidate_that_is_worse_behind_the_gate_is_discarded_without_a_number(sets: Callable[..., Toy]) -> None:
    toy = sets(GATE)
    toy.run([patch(9, gate=11.25), patch(8, gate=10), patch(7, gate=9)])
    history = toy.history()
    verdicts = [(e.verdict.kind, e.verdict.reason) for e in history.experiments[1:] if e.verdict]
    assert verdicts == [(Kind.DISCARD, "gate"), (Kind.KEEP, "better"), (Kind.KEEP, "better")]
    refused = history.experiments[1].verdict
    assert refused is not None
    assert (refused.words, refused.value) == ("the gate says no", 9.0)
    assert gate_queries(history) == 3
    assert [m.phase for m in history.experiments[0].measurements].count("gate") == 1


def test_incumbent_is_measured_behind_the_gate_once_and_its_value_is_reused(sets: Callable[..., Toy]) -> None:
    toy = sets(GATE)
    toy.run([patch(9, gate=9), patch(8, gate=9.5), patch(7, gate=8)])
    history = toy.history()
    made = [(e.n, m.of, m.arm) for e in history.experiments for m in e.measurements if m.phase == "gate"]
    assert made == [(0, 0, "baseline"), (1, 1, "candidate"), (2, 2, "candidate"), (3, 3, "candidate")]
    assert len({m.seed for e in history.experiments for m in e.measurements if m.phase == "gate"}) == 1
    assert [e.n for e in history.experiments if e.kept] == [0, 1, 3]


def test_candidate_that_fails_behind_the_gate_is_discarded(sets: Callable[..., Toy]) -> None:
    toy = sets(GATE)
    toy.run([Patch({"knobs.txt": "visible 9\n"}, "no gate knob")])
    verdict = toy.history().experiments[1].verdict
    assert verdict is not None
    assert (verdict.reason, verdict.words) == ("gate", "the gate's evaluation failed: exited with 1")


def test_gate_whose_command_fails_is_seen_before_the_first_experiment(sets: Callable[..., Toy]) -> None:
    toy = sets(GATE.replace("data/gate.csv gate", "data/gate.csv nothing"))
    ending = toy.run([patch(9)])
    assert (ending.reason, ending.code) == ("broken", 1)
    assert "[gate] command itself fails, on the baseline: exited with 1" in ending.words
    assert len(toy.history().experiments) == 1


def test_held_out_whose_command_fails_is_seen_before_the_first_experiment(sets: Callable[..., Toy]) -> None:
    ending = sets(HELD.replace("held.csv held", "held.csv nothing")).run([patch(9)])
    assert "[held_out] command itself fails, on the baseline" in ending.words


def test_queries_are_capped_and_a_raised_cap_goes_on(sets: Callable[..., Toy]) -> None:
    toy = sets(GATE + "queries = 2\n")
    patches = [patch(9, gate=11), patch(8), patch(7)]
    ending = toy.run(patches)
    assert (ending.status, ending.reason, ending.code) == ("finished", "gate", 0)
    assert ending.words == "experiment 3 wants to ask the gate, and 2 of 2 queries are used: raise [gate] queries"
    assert toy.history().experiments[3].verdict is None
    assert "gate: 2 of 2 queries, 1 passed" in standing_lines(toy.history())
    toy.write({"autoresearch.toml": TASK + GATE + "queries = 3\n"})
    toy.moved()
    toy.run(patches)
    assert [e.n for e in toy.history().experiments if e.kept] == [0, 2, 3]
    assert "gate: 3 of 3 queries, 2 passed" in standing_lines(toy.history())


def test_gate_tolerates_as_much_as_the_noise_and_no_more(make_toy: Making, tmp_path: Path) -> None:
    counter = tmp_path / "count"
    counter.write_text("")
    score = f"""\
import hashlib, pathlib, sys
knobs = dict(line.split() for line in pathlib.Path("knobs.txt").read_text().splitlines())
if len(sys.argv) > 1:
    print("score:", knobs["gate"])
else:
    n = len(pathlib.Path({str(counter)!r}).read_text())
    pathlib.Path({str(counter)!r}).write_text("x" * (n + 1))
    noise = int.from_bytes(hashlib.sha256(str(n).encode()).digest()[:4], "big") / 2**32 - 0.5
    print("score:", float(knobs["visible"]) + noise)
"""
    task = TASK.replace("[metric]", 'sandbox = "none"\n\n[metric]')
    toy = make_toy({"score.py": score, "knobs.txt": knobs(100, 10), **SECRET}, task=task + GATE)
    toy.run([patch(50, gate=10.01), patch(20, gate=12)])
    history = toy.history()
    assert history.agenda.method is not None
    assert 0.01 < (history.agenda.method.sd or 0) < 2
    assert [e.verdict.reason for e in history.experiments[1:] if e.verdict] == ["better", "gate"]


def test_killed_between_gate_and_verdict_it_is_not_measured_twice(sets: Callable[..., Toy]) -> None:
    toy = sets(GATE)

    class Killed(BaseException):
        pass

    def kill(what: str, details: Mapping[str, Any]) -> None:
        if what == "measured" and details["event"].body["phase"] == "gate" and details["n"] == 1:
            raise Killed

    with pytest.raises(Killed):
        toy.run([patch(9)], watch=kill)
    assert toy.history().experiments[1].verdict is None
    toy.run([patch(9)])
    history = toy.history()
    assert history.experiments[1].kept
    assert gate_queries(history) == 1


# -- held out ------------------------------------------------------------------------------------------------------------


def test_gains_on_the_visible_set_alone_are_no_validated_gain(sets: Callable[..., Toy]) -> None:
    """Acceptance test 7 of the reference: on a toy with val-only gains the hold-out report shows about 0."""
    toy = sets(HELD)
    toy.run([patch(10 - n) for n in range(1, 6)])
    history = toy.history()
    assert history.validated is not None
    assert (history.validated.mean, history.validated.base, history.validated.held_out) == (0.0, 10.0, True)
    finals = [(m.of, m.arm) for m in history.experiments[0].measurements if m.phase == "final"]
    assert finals == [(5, "candidate"), (0, "baseline")]
    assert history.evaluations == 2 + 1 + 5 + 2  # baseline, its held-out look, experiments, one pair
    headline = last_lines(history)[1]
    assert headline.startswith("no validated gain on held-out: score +0.00 %")
    assert "−50.00 %" in headline


def test_gain_that_is_real_is_validated_on_held_out(sets: Callable[..., Toy]) -> None:
    toy = sets(HELD)
    toy.run([patch(9, held=9.5)])
    assert last_lines(toy.history())[1] == (
        "validated on held-out: score −5.00 % against the baseline, 1 pair · claimed on the way: −10.00 % (optimistic)"
    )


def test_noisy_result_is_compared_on_held_out_in_pairs(make_toy: Making, tmp_path: Path) -> None:
    counter = tmp_path / "count"
    counter.write_text("")
    score = f"""\
import hashlib, pathlib, sys
knobs = dict(line.split() for line in pathlib.Path("knobs.txt").read_text().splitlines())
n = len(pathlib.Path({str(counter)!r}).read_text())
pathlib.Path({str(counter)!r}).write_text("x" * (n + 1))
noise = int.from_bytes(hashlib.sha256(str(n).encode()).digest()[:4], "big") / 2**32 - 0.5
print("score:", float(knobs[sys.argv[2] if len(sys.argv) > 2 else "visible"]) + noise)
"""
    task = TASK.replace("[metric]", 'sandbox = "none"\n\n[metric]')
    toy = make_toy({"score.py": score, "knobs.txt": knobs(100, 10, 40), **SECRET}, task=task + HELD)
    seen: list[float] = []

    def propose(brief: Any) -> Patch:
        seen.extend(e.value for e in brief.view)
        assert "measured on data that you do not see" in brief.text
        return [patch(50, held=40), patch(20, held=40)][brief.n - 1]

    toy.run(propose, wish=Wish(name="r", experiments=2))
    method = toy.history().agenda.method
    assert method is not None
    assert 0.1 < (method.sd or 0) < 1
    assert seen == [round(value, 1) for value in seen] != []
    gain = toy.history().validated
    assert gain is not None
    assert gain.held_out
    assert gain.pairs >= 3
    assert abs(gain.mean) < 1.5
    assert abs((gain.base or 0) - 40) < 1


def test_checkpoint_rolls_back_what_is_worse_on_held_out(sets: Callable[..., Toy]) -> None:
    toy = sets(HELD + "\n[budget]\nexperiments = 100\nevaluations = 400\n")
    toy.run([patch(10 - 0.1 * n, held=10 + n) for n in range(1, 11)])
    history = toy.history()
    rolled = [e for e in toy.events if e.kind == "rolled_back"]
    assert [e.body["to"] for e in rolled] == [0]
    assert rolled[0].body["words"].startswith("worse on held-out than at the last checkpoint: experiments 1, 2")
    held = [(m.of, m.arm) for m in history.experiments[10].measurements if m.phase == "held_out"]
    assert sorted(held) == [(0, "checkpoint"), (10, "incumbent")]
    assert history.line == [0]


def test_checkpoint_without_a_gain_on_held_out_says_so(sets: Callable[..., Toy]) -> None:
    toy = sets(HELD + "\n[budget]\nexperiments = 100\nevaluations = 400\n")
    toy.run([patch(10 - 0.1 * n) for n in range(1, 11)])
    notes = [e.body["words"] for e in toy.events if e.kind == "note" and e.body.get("what") == "checkpoint"]
    assert len(notes) == 1
    assert notes[0].startswith("checkpoint: no clear gain on held-out since experiment 0")


# -- what nobody sees ----------------------------------------------------------------------------------------------------


def test_private_files_are_in_no_view_but_their_own(sets: Callable[..., Toy]) -> None:
    toy = sets(
        GATE + HELD, **{"score.py": SCORE + "import glob; print('files:', sorted(glob.glob('data/*')), file=sys.stderr)\n"}
    )
    seen: list[tuple[str, list[str]]] = []

    def look(parts: Any) -> Any:
        evaluate, draft = parts.runner.evaluate, parts.workspace.draft

        async def watched(place: Any, order: Any) -> Any:
            folder = place.folder
            layered = [m for m in place.mounts if hasattr(m, "upper")]
            roots = [layered[0].upper, *layered[0].lower] if layered else [folder]
            seen.append((order.which, sorted({p.name for root in roots for p in root.glob("data/*.csv")})))
            return await evaluate(place, order)

        def drafted(*args: Any) -> Any:
            made = draft(*args)
            with pytest.raises(FileNotFoundError):
                made.read("data/gate.csv")
            return made

        parts.runner.evaluate, parts.workspace.draft = watched, drafted
        return parts

    toy.run([patch(9), patch(8)], parts=look)
    assert {which for which, _ in seen} == {"evaluate", "gate", "held_out"}
    assert {tuple(files) for which, files in seen if which == "evaluate"} == {()}
    assert {tuple(files) for which, files in seen if which == "gate"} == {("gate.csv",)}
    assert {tuple(files) for which, files in seen if which == "held_out"} == {("held.csv",)}


def test_nothing_of_a_private_evaluation_is_in_a_log_a_prompt_or_an_export(
    sets: Callable[..., Toy], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Acceptance test 11 of the reference: the agent-visible log contains no gate or report value."""
    private = {"data/gate.csv": "GATE-SECRET-LABELS 0.7171\n", "data/held.csv": "HELD-SECRET-LABELS 0.6161\n"}
    toy = sets(GATE + HELD, **private)
    prompts: list[str] = []

    def propose(brief: Any) -> Patch:
        prompts.append(brief.text)
        views = repr(
            [brief.parent, *brief.view, brief.view.incumbent, brief.view.baseline, *brief.view.pending, brief.view.run]
        )
        prompts.append(views)
        return [patch(9, gate=9, held=8), patch(8, gate=9.5, held=8), patch(7, gate=8, held=7)][brief.n - 1]

    toy.run(propose, wish=Wish(name="r", experiments=2))
    toy.run(propose, wish=Wish(name="r", experiments=1))
    history = toy.history()
    assert [e.verdict.reason for e in history.experiments if e.verdict] == ["baseline", "better", "gate", "better"]
    monkeypatch.chdir(toy.folder)
    show_log(toy.folder, None, as_json=True, limit=0)
    show_log(toy.folder, None, as_json=False, limit=0)
    export_run(toy.folder, None, "jsonl")
    export_run(toy.folder, None, "tsv")
    show_experiment(toy.folder, None, 2, as_json=True)
    show_experiment(toy.folder, None, 2, as_json=False)
    show_status(toy.folder, None, as_json=False)
    shown = capsys.readouterr().out
    for text in (*prompts, run_dump(toy), shown):
        for value in ("7171", "SECRET-LABELS"):
            assert value not in text
    for text in (*prompts, run_dump(toy)):
        assert "6161" not in text
    assert "6161" in shown  # the owner is told what the headline rests on


@pytest.mark.parametrize(
    "lines",
    ["", 'build = "touch built"', 'sandbox = "none"', 'setup = "touch set-up"'],
    ids=["plain", "build", "open", "set-up"],
)
def test_candidate_cannot_keep_what_it_saw_behind_the_gate(make_toy: Making, lines: str) -> None:
    spy = """\
import os, pathlib
private = pathlib.Path("data/gate.csv")
if private.exists():
    text = private.read_text()
    places = [pathlib.Path("stash.txt"), pathlib.Path("data/stash.txt"), pathlib.Path(os.environ["HOME"], "stash.txt")]
    places += [pathlib.Path(os.environ["TMPDIR"], "stash.txt"), pathlib.Path("kept/stash.txt")]
    places += [pathlib.Path(os.environ["AUTORESEARCH_ARTIFACTS"], "stash.txt"), pathlib.Path("copied/stash.txt")]
    places += [pathlib.Path(os.environ["AUTORESEARCH_RESULT"]).parent / "stash.txt", pathlib.Path("..", "stash.txt")]
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
            os.setxattr(place.parent, "user.stash", text.encode())
        except OSError:
            pass
    print(text)
"""
    look = """\
import os, pathlib
found = []
for top in (".", "..", os.environ["HOME"], os.environ["TMPDIR"], "kept"):
    for root, folders, files in os.walk(top):
        folders[:] = [f for f in folders if f != "proc"]
        found += [f for f in files if "stash" in f]
        try:
            found += os.listxattr(root)
        except OSError:
            pass
assert "user.stash" not in found and "stash.txt" not in found, found
assert [p.name for p in pathlib.Path("data").glob("*") if p.name not in ("gate.csv", "held.csv")] == []
"""
    task = (TASK + GATE + HELD).replace(
        'command = "python score.py"', 'command = "python run.py"\ncache = ["kept"]\ncopy = ["copied"]\n' + lines
    )
    files = {
        "run.py": "import spy\nimport runpy\nrunpy.run_path('score.py')\n",
        "spy.py": "",
        ".gitignore": "copied/\n",
        "copied/x.txt": "x\n",
        "score.py": SCORE,
        "knobs.txt": knobs(10),
        **SECRET,
    }
    toy = make_toy(files, task=task.replace("python score.py data", "python run.py data"))
    toy.run([patch(9, **{"spy.py": spy}), patch(8, **{"spy.py": look})])
    history = toy.history()
    assert [e.verdict.reason for e in history.experiments[1:] if e.verdict] == ["better", "better"]
    assert history.validated is not None
    assert "GATE-SECRET" not in run_dump(toy)
    cache = Path(os.environ["AUTORESEARCH_CACHE"])
    left = [p for p in cache.rglob("*") if p.is_file() and b"SECRET-LABELS" in p.read_bytes()]
    assert left == []


def test_session_after_a_kill_behind_the_gate_finds_nothing_of_it(sets: Callable[..., Toy]) -> None:
    toy = sets(GATE, **{"score.py": "import pathlib\nassert not pathlib.Path('../left').exists()\n" + SCORE})
    with pytest.MonkeyPatch.context() as patched:  # as a kill leaves it
        patched.setattr(Slots, "_forget_secrets", lambda slots, slot: None)
        toy.run([patch(9)], wish=Wish(name="r", experiments=1))
    cache = toy.project.paths.run("r").cache
    assert (cache / "private-0").exists()
    (cache / "evaluation-0" / "left").write_text("what it saw")
    toy.run([patch(9), patch(8)], wish=Wish(name="r", experiments=1))
    assert [e.kept for e in toy.history().experiments] == [True, True, True]
    assert not (cache / "private-0").exists()


@pytest.mark.parametrize("sandbox", ["auto", "none"])
def test_candidate_reads_private_files_neither_in_the_checkout_nor_in_its_history_nor_outside(
    sets: Callable[..., Toy], tmp_path: Path, sandbox: str
) -> None:
    outside = tmp_path / "held.csv"
    outside.write_text("OUTSIDE-SECRET 0\n")
    held = f'\n[held_out]\ncommand = "python score.py {outside} held"\nprivate = ["{outside}"]\n'
    toy = sets(GATE + held, **{"score.py": "import spy\n" + SCORE, "spy.py": ""})
    text = TASK.replace("[metric]", f'sandbox = "{sandbox}"\n\n[metric]') + GATE + held
    toy.write({"autoresearch.toml": text})
    toy.commit()
    spy = f"""\
import pathlib, subprocess, sys
if len(sys.argv) == 1:
    for path in ({str(outside)!r}, {str(toy.folder / "data/gate.csv")!r}):
        try:
            text = pathlib.Path(path).read_text()
        except OSError:
            text = ""
        assert "SECRET" not in text, path
    shown = subprocess.run(["git", "-C", {str(toy.folder)!r}, "show", "HEAD:data/gate.csv"], capture_output=True, text=True)
    assert "SECRET" not in shown.stdout
"""
    toy.run([patch(9, **{"spy.py": spy})])
    verdict = toy.history().experiments[1].verdict
    assert verdict is not None
    assert verdict.reason == "better", verdict.words


@pytest.mark.parametrize("sandbox", ["auto", "none"])
def test_proposer_finds_private_files_nowhere(sets: Callable[..., Toy], tmp_path: Path, sandbox: str) -> None:
    outside = tmp_path / "held.csv"
    outside.write_text("OUTSIDE-SECRET 0\n")
    held = f'\n[held_out]\ncommand = "python score.py {outside} held"\nprivate = ["{outside}"]\n'
    proposer = f'\n[proposer]\nkind = "command"\ncommand = "sh propose.sh"\nsandbox = "{sandbox}"\n[budget]\nexperiments = 1\n'
    toy = sets(GATE + held)
    script = f"""\
for file in {outside} {toy.folder}/data/gate.csv data/gate.csv; do cat $file >> found.tmp; done
git log --all -p >> found.tmp
git -C {toy.folder} show HEAD:data/gate.csv >> found.tmp
ls -R . >> found.tmp
env >> found.tmp
cat $AUTORESEARCH_PROMPT >> found.tmp
if grep -Eq '(GATE|OUTSIDE)-SEC[R]ET' found.tmp; then echo "visible 1"; else echo "visible 9"; fi > knobs.txt
echo "gate 10\nheld 10" >> knobs.txt
echo tried
"""
    toy.write({"propose.sh": script, "autoresearch.toml": TASK + GATE + held + proposer})
    toy.commit()
    toy.run()
    assert [e.value for e in toy.history().experiments] == [10.0, 9.0]


# -- where private files lie -------------------------------------------------------------------------------------------


def test_file_outside_the_repository_is_shown_at_its_place_and_pinned(
    sets: Callable[..., Toy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / "labels").mkdir(parents=True)
    (home / "labels" / "gate.csv").write_text("OUTSIDE 0\n")
    monkeypatch.setenv("HOME", str(home))
    toy = sets('\n[gate]\ncommand = "python score.py ~/labels/gate.csv gate"\nprivate = ["~/labels/gate.csv"]\n')
    toy.run([patch(9)], wish=Wish(name="r", experiments=1))
    assert toy.history().experiments[1].kept
    (home / "labels" / "gate.csv").write_text("CHANGED 0\n")
    with pytest.raises(RulerChanged, match=r"gate\.private ~/labels/gate\.csv"):
        toy.run([patch(9), patch(8)], wish=Wish(name="r", experiments=1))


def test_file_that_changes_during_the_run_ends_it_by_name(sets: Callable[..., Toy], tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("OUTSIDE 0\n")
    toy = sets(f'\n[gate]\ncommand = "python score.py {labels} gate"\nprivate = ["{labels}"]\n')

    def change(brief: Any) -> Patch:
        if brief.n == 2:
            labels.write_text("CHANGED 0\n")
        return patch(10 - brief.n)

    with pytest.raises(SetupError, match=r"labels\.csv.*is not what it was when the run began"):
        toy.run(change)
    assert toy.history().experiments[1].kept
    assert toy.history().experiments[2].verdict is None


@pytest.mark.parametrize(
    ("private", "words"),
    [
        ('["nothing.csv"]', r"\[gate\] private names 'nothing.csv', which is no file of the base"),
        ('["/nowhere/labels.csv"]', r"\[gate\] private names '/nowhere/labels.csv', which does not exist"),
        ('["knobs.txt"]', r"\[gate\] private names knobs.txt, which \[task\] editable lets a proposer change"),
        ('["loose.tmp"]', r"not in the commit that the run starts from"),
        ('["."]', "names"),
    ],
)
def test_private_file_that_cannot_be_one_is_refused_with_key_and_path(
    sets: Callable[..., Toy], private: str, words: str
) -> None:
    toy = sets(GATE.replace('["data/gate.csv"]', private), **{"loose.tmp": "x"})
    with pytest.raises(SetupError, match=words):
        toy.run([patch(9)])


def test_input_that_shows_a_private_file_is_refused(sets: Callable[..., Toy], tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "gate.csv").write_text("x")
    task = GATE.replace('"data/gate.csv"', f'"{tmp_path}/all/gate.csv"')
    toy = sets(task)
    toy.write({"autoresearch.toml": (TASK + task).replace("[metric]", f'inputs = ["{tmp_path}/all"]\n\n[metric]')})
    toy.commit()
    with pytest.raises(SetupError, match="it would not be private"):
        toy.run([patch(9)])


def test_proposals_and_evaluations_are_told_what_to_hide(sets: Callable[..., Toy], tmp_path: Path) -> None:
    outside = tmp_path / "held.csv"
    outside.write_text("OUTSIDE 0\n")
    toy = sets(GATE + f'\n[held_out]\ncommand = "python score.py {outside} held"\nprivate = ["{outside}"]\n')
    hidden: dict[str, set[Path]] = {}

    def look(parts: Any) -> Any:
        evaluate, draft = parts.runner.evaluate, parts.workspace.draft

        async def watched(place: Any, order: Any) -> Any:
            hidden.setdefault(order.which, set()).update(place.hidden)
            if order.which == "held_out":
                assert place.private == (outside,)
            return await evaluate(place, order)

        def drafted(*args: Any) -> Any:
            made = draft(*args)
            hidden.setdefault("draft", set()).update(made.hidden)
            return made

        parts.runner.evaluate, parts.workspace.draft = watched, drafted
        return parts

    toy.run([patch(9)], parts=look)
    in_checkout = toy.folder / "data/gate.csv"
    assert {outside, in_checkout} <= hidden["draft"]
    assert {outside, in_checkout} <= hidden["evaluate"]
    assert outside in hidden["gate"]
    assert outside not in hidden["held_out"]
