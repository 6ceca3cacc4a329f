"""Coming back to a run: another day, another machine, other bits; the final comparison; ideas, revived and rejected keeps."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TASK, Toy

from autoresearch import machine
from autoresearch.choice import Wish
from autoresearch.errors import SetupError
from autoresearch.history import History
from autoresearch.ledger import SqliteLedger
from autoresearch.records import Experiment, Kind, Machine
from autoresearch.testing import Patch, canonical

pytestmark = pytest.mark.usefixtures("no_sandbox")  # evaluations use files outside their trees

FACTOR = """\
import os, pathlib
print("score:", float(pathlib.Path("knob.txt").read_text()) * float(pathlib.Path({factor!r}).read_text()))
"""
NOISY = """\
import os, pathlib
count = len(pathlib.Path({counter!r}).read_text())
pathlib.Path({counter!r}).write_text("x" * (count + 1))
print("score:", float(pathlib.Path("knob.txt").read_text()) + 0.001 * (count % 3))
"""
SUM = "from pathlib import Path\nprint('score:', sum(float(p.read_text()) for p in sorted(Path('extra').glob('*.txt'))))\n"
DAY = Wish(name="r", refresh_after_s=-1.0)  # as if an hour had passed


class Killed(BaseException):
    """Ends a session where it stands."""


def knob(value: float) -> Patch:
    return Patch({"knob.txt": f"{value}\n"}, f"knob {value}")


def part(name: str, value: float) -> Patch:
    return Patch({f"extra/{name}.txt": f"{value}\n"}, f"{name} {value}")


def again(toy: Toy, kind: str, **details: Any) -> Any:
    return toy.run([], wish=Wish(name="r", order=(kind, details)))


def killer(when: str) -> Callable[[str, Mapping[str, Any]], None]:
    """A watch that ends the session at the first event of that kind."""

    def watch(what: str, details: Mapping[str, Any]) -> None:
        if what == when:
            raise Killed

    return watch


def phases(e: Experiment, phase: str) -> list[float]:
    return [m.values["score"] for m in e.measurements if m.phase == phase]


def verify(toy: Toy) -> None:
    """The chain holds, and the tables are what the events add up to."""
    ledger = toy.project.ledger()
    before = canonical(ledger, "r")
    folded = History()
    for event in ledger.events("r"):
        folded.take(event)
    loaded = ledger.history("r")
    assert (folded.experiments, folded.line, folded.agenda) == (loaded.experiments, loaded.line, loaded.agenda)
    assert (folded.incumbents, folded.tip, folded.left_at, folded.run) == (
        loaded.incumbents,
        loaded.tip,
        loaded.left_at,
        loaded.run,
    )
    ledger.verify("r")
    ledger.rebuild()
    assert canonical(ledger, "r") == before
    ledger.close()


@pytest.fixture
def factor(make_toy: Callable[..., Toy], tmp_path: Path) -> tuple[Toy, Path]:
    """A toy whose score hangs on a file outside: another value of it is another machine."""
    outside = tmp_path / "factor"
    outside.write_text("1")
    return make_toy({"evaluate.py": FACTOR.format(factor=str(outside))}), outside


@pytest.fixture
def noisy(make_toy: Callable[..., Toy], tmp_path: Path) -> Toy:
    counter = tmp_path / "counter"
    counter.write_text("")
    return make_toy({"evaluate.py": NOISY.format(counter=str(counter))})


@pytest.fixture
def sums(make_toy: Callable[..., Toy]) -> Toy:
    """The score is the sum of five files: changes to different ones apply in any order."""
    return make_toy({"evaluate.py": SUM, **{f"extra/{name}.txt": "10\n" for name in "abcde"}})


# -- another day, another machine --------------------------------------------------------------------------------------


def test_session_within_the_hour_on_the_same_machine_measures_nothing_again(toy: Toy) -> None:
    toy.run([knob(9), knob(8)], wish=Wish(name="r", experiments=1))
    toy.run([knob(9), knob(8)], wish=Wish(name="r"))
    assert all(not phases(e, "refresh") for e in toy.history().experiments)


def test_after_the_pause_the_incumbent_is_measured_first(toy: Toy) -> None:
    toy.run([knob(9)], wish=Wish(name="r"))
    order: list[str] = []
    toy.run([knob(9), knob(8)], wish=DAY, watch=lambda what, d: order.append(f"{what} {d.get('n')}"))
    history = toy.history()
    assert phases(history.experiments[1], "refresh") == [9.0]
    assert order.index("measured 1") < order.index("proposed 2")
    assert history.line == [0, 1, 2]
    assert not history.agenda.due
    verify(toy)


def test_other_machine_is_said_and_the_new_value_is_the_bar(
    noisy: Toy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    noisy.run([knob(9)], wish=Wish(name="r"))
    base = noisy.history().experiments[0].value
    monkeypatch.setattr(machine, "fingerprint", lambda: Machine("other", {**FACTS, "cpu": "another one"}))
    notices: list[str] = []
    noisy.run([knob(9), knob(8.999)], wish=Wish(name="r"), ready=lambda loop: notices.extend(loop.history.agenda.due))
    history = noisy.history()
    assert any(words.startswith("cpu: ") and words.endswith("→ another one") for words in notices)
    found = phases(history.experiments[1], "refresh")
    bar = statistics.fmean(found)
    assert history.incumbent.value == pytest.approx(bar)
    assert history.experiments[0].value == base
    judged = history.experiments[2].verdict
    assert judged is not None
    against = float(judged.words.split(" against ")[1].split()[0])
    assert against == pytest.approx(bar, abs=0.002)  # within the noise of here, far from the other machine's
    verify(noisy)


FACTS = dict(machine.fingerprint().facts)


def test_refresh_that_was_killed_is_made_in_the_next_session(toy: Toy) -> None:
    toy.run([knob(9)], wish=Wish(name="r"))

    def watch(what: str, details: Mapping[str, Any]) -> None:
        if what == "measured":
            raise Killed

    with pytest.raises(BaseException):  # noqa: B017
        toy.run([knob(9), knob(8)], wish=DAY, watch=watch)
    assert toy.history().agenda.due
    toy.run([knob(9), knob(8)], wish=Wish(name="r"))
    history = toy.history()
    assert not history.agenda.due
    assert history.line == [0, 1, 2]


def test_other_bits_of_an_exact_metric_are_said_and_the_run_does_not_go_on(factor: tuple[Toy, Path]) -> None:
    toy, outside = factor
    toy.run([knob(9)], wish=Wish(name="r"))
    outside.write_text("1.0000001")
    for wish in (DAY, Wish(name="r")):  # it stays refused
        with pytest.raises(SetupError, match=r"not the same bits .* autoresearch run --rebaseline") as caught:
            toy.run([knob(9), knob(8)], wish=wish)
        assert caught.value.exit_code == 2
    assert toy.history().decided == 1
    outside.write_text("1")
    toy.run([knob(9), knob(8)], wish=Wish(name="r"))
    assert toy.history().line == [0, 1, 2]


def test_rebaseline_goes_on_with_the_numbers_of_here_and_both_are_recorded(factor: tuple[Toy, Path]) -> None:
    toy, outside = factor
    toy.run([knob(9)], wish=Wish(name="r"))
    outside.write_text("2")
    toy.run([knob(9), knob(9.5), knob(8)], wish=Wish(name="r", rebaseline=True))
    history = toy.history()
    baseline = history.experiments[0]
    assert (baseline.value, baseline.verdict and baseline.verdict.value) == (20.0, 10.0)
    assert [m.values["score"] for m in baseline.own] == [20.0, 20.0]
    assert phases(baseline, "baseline") == [10.0, 10.0, 20.0, 20.0]
    assert history.experiments[1].value == 9.0
    assert history.agenda.bars[1] == 18.0
    assert [e.verdict.kind for e in history.experiments[2:4] if e.verdict] == [Kind.DISCARD, Kind.KEEP]
    assert history.exact
    verify(toy)


def test_rebaseline_that_was_killed_goes_on(factor: tuple[Toy, Path]) -> None:
    toy, outside = factor
    toy.run([knob(9)], wish=Wish(name="r"))
    outside.write_text("2")

    def watch(what: str, details: Mapping[str, Any]) -> None:
        if what == "measured":
            raise Killed

    with pytest.raises(BaseException):  # noqa: B017
        toy.run([], wish=Wish(name="r", rebaseline=True), watch=watch)
    toy.run([knob(9), knob(8)], wish=Wish(name="r"))
    history = toy.history()
    assert phases(history.experiments[0], "baseline") == [10.0, 10.0, 20.0, 20.0]
    assert (history.experiments[0].value, history.agenda.bars[1]) == (20.0, 18.0)
    assert history.line == [0, 1, 2]


def test_what_was_measured_before_the_pause_and_not_decided_is_measured_anew(factor: tuple[Toy, Path]) -> None:
    toy, outside = factor
    append = SqliteLedger.append

    def undecided(self: SqliteLedger, run: str, *events: Any, durable: bool = False) -> Any:
        if events[0].kind in ("decided", "run_stopped") and events[0].n != 0:
            raise Killed
        return append(self, run, *events, durable=durable)

    patched = pytest.MonkeyPatch()
    patched.setattr(SqliteLedger, "append", undecided)
    with pytest.raises(BaseException):  # noqa: B017
        toy.run([knob(9)], wish=Wish(name="r"))
    patched.undo()
    outside.write_text("2")
    toy.run([knob(9)], wish=Wish(name="r", rebaseline=True))
    e = toy.history().experiments[1]
    assert ([m.values["score"] for m in e.measurements], e.value, e.kept) == ([9.0, 18.0], 18.0, True)


def test_versions_in_inputs_are_compared(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(
        {".gitignore": ".venv\n"}, task=TASK.replace('"python evaluate.py"', '"python evaluate.py"\ninputs = [".venv"]')
    )
    site = toy.folder / ".venv/lib/python3.11/site-packages"
    (site / "numpy-1.26.4.dist-info").mkdir(parents=True)
    toy.moved()
    toy.run([knob(9)], wish=Wish(name="r"))
    (site / "numpy-1.26.4.dist-info").rename(site / "numpy-2.0.1.dist-info")
    toy.moved()
    due: list[str] = []
    toy.run([knob(9)], wish=Wish(name="r"), ready=lambda loop: due.extend(loop.history.agenda.due))
    assert due == [".venv: numpy-1.26.4 → numpy-2.0.1"]


def test_breaker_counts_anew_in_the_session_that_a_person_starts(make_toy: Callable[..., Toy]) -> None:
    evaluate = "import pathlib\nassert float(pathlib.Path('knob.txt').read_text()) <= 10\nprint('score: 10')\n"
    toy = make_toy({"evaluate.py": evaluate})

    def broken(brief: Any) -> Patch:
        return knob(20 + brief.n)

    assert toy.run(broken, wish=Wish(name="r")).reason == "breaker"
    assert toy.history().decided == 20
    assert toy.run(broken, wish=Wish(name="r", experiments=2)).reason == "session"
    assert toy.history().decided == 22


def test_edits_in_the_checkout_are_said_not_to_be_part_of_the_run(toy: Toy) -> None:
    from autoresearch.session import Session

    toy.run([knob(9)], wish=Wish(name="r"))
    toy.write({"knob.txt": "5\n"})
    toy.moved()
    with Session(toy.project, Wish(name="r")) as session:
        assert any("knob.txt are not part of the run" in words for words in session.notices)


# -- the final comparison ----------------------------------------------------------------------------------------------


def test_noisy_result_is_compared_with_the_baseline_in_interleaved_pairs(noisy: Toy) -> None:
    noisy.run([knob(9)], wish=Wish(name="r"))
    before = len(phases(noisy.history().experiments[0], "final"))  # of the run's own end
    again(noisy, "validate", pairs=4)
    history = noisy.history()
    final = [m for m in history.experiments[0].measurements if m.phase == "final"][before:]
    assert [m.of for m in final] == [1, 0, 0, 1, 1, 0, 0, 1]
    assert [a.seed == b.seed for a, b in zip(final[::2], final[1::2], strict=True)] == [True] * 4
    assert len({m.seed for m in final}) == 4
    gain = history.validated
    assert gain is not None
    assert (gain.pairs, gain.level) == (4, 0.9)
    assert gain.low < gain.mean < gain.high
    assert gain.mean == pytest.approx(1.0, abs=0.01)
    assert history.experiments[0].value == pytest.approx(10.0, abs=0.01)
    verify(noisy)


def test_exact_result_needs_one_pair_of_the_same_bits(factor: tuple[Toy, Path]) -> None:
    toy, outside = factor
    toy.run([knob(9)], wish=Wish(name="r"))
    outside.write_text("2")
    ending = again(toy, "validate")
    assert ending.code == 1
    assert "not the same bits" in ending.words
    assert "not the same bits" in toy.history().agenda.failed
    outside.write_text("1")
    assert again(toy, "validate").code == 0
    gain = toy.history().validated
    assert gain is not None
    assert (gain.mean, gain.low, gain.high, gain.pairs) == (1.0, 1.0, 1.0, 1)


def test_validation_leaves_the_run_as_finished_as_it_was_and_a_new_keep_makes_it_out_of_date(toy: Toy) -> None:
    toy.run([knob(9)], wish=Wish(name="r"))
    before = toy.history().run
    again(toy, "validate")
    run = toy.history().run
    assert before is not None
    assert run is not None
    assert (run.status, run.stop_reason, run.stop_words) == (before.status, before.stop_reason, before.stop_words)
    with pytest.raises(BaseException):  # noqa: B017
        toy.run([knob(9), knob(8)], wish=Wish(name="r"), watch=killer("advanced"))
    assert toy.history().line == [0, 1, 2]
    assert toy.history().validated is None


@pytest.mark.parametrize("kill_at", [1, 4, 7])
def test_validation_that_was_killed_goes_on_in_the_middle(noisy: Toy, kill_at: int) -> None:
    noisy.run([knob(9)], wish=Wish(name="r"))
    before = len(phases(noisy.history().experiments[0], "final"))
    seen: list[str] = []

    def watch(what: str, details: Mapping[str, Any]) -> None:
        seen.append(what)
        if seen.count("measured") == kill_at:
            raise Killed

    with pytest.raises(BaseException):  # noqa: B017
        noisy.run([], wish=Wish(name="r", order=("validate", {"pairs": 4})), watch=watch)
    again(noisy, "validate")
    history = noisy.history()
    assert len(phases(history.experiments[0], "final")) == before + 8
    assert history.validated is not None
    assert history.validated.pairs == 4


def test_nothing_to_validate_is_said(toy: Toy) -> None:
    toy.run([knob(11)], wish=Wish(name="r"))
    with pytest.raises(SetupError, match="nothing beat the baseline"):
        again(toy, "validate")


# -- revive and reject -------------------------------------------------------------------------------------------------


def test_discarded_candidate_is_revived_on_the_present_incumbent(sums: Toy) -> None:
    wish = Wish(name="r")
    sums.run([part("a", 11), part("b", 9)], wish=wish)
    ending = again(sums, "revive", experiment=1)
    history = sums.history()
    e = history.experiments[3]
    assert (e.origin, e.parents, e.description, e.value) == (1, (2,), "a 11", 50.0)
    assert e.verdict is not None
    assert (e.verdict.kind, e.verdict.reason) == (Kind.DISCARD, "worse")
    assert (ending.reason, history.run and history.run.status) == ("exhausted", "finished")
    assert sums.git("show", "refs/autoresearch/r/3:extra/b.txt") == "9\n"
    verify(sums)


def test_revived_candidate_that_is_better_now_is_kept(factor: tuple[Toy, Path]) -> None:
    toy, outside = factor
    toy.write(
        {
            "evaluate.py": FACTOR.format(factor=str(outside)) + "import sys\nif float(open('knob.txt').read()) < 8: "
            f"sys.exit(int(float(open({str(outside)!r}).read())))\n"
        }
    )
    toy.commit()
    toy.run([knob(7), knob(9)], wish=Wish(name="r"))
    assert toy.history().line == [0, 2]
    crashed = toy.history().experiments[1]
    assert crashed.verdict is not None
    assert crashed.verdict.kind is Kind.CRASH
    outside.write_text("0.5")  # what made it crash is mended
    toy.run([], wish=Wish(name="r", rebaseline=True))
    again(toy, "revive", experiment=1)
    history = toy.history()
    revived = [e for e in history.experiments if e.origin == 1]
    assert [e.verdict.reason for e in revived if e.verdict] == ["stale"]  # both wrote the same line
    again(toy, "reject", experiment=2)
    again(toy, "revive", experiment=1)
    assert toy.history().incumbent.origin == 1
    assert toy.git("show", "autoresearch/r:knob.txt") == "7\n"
    verify(toy)


def test_rejected_keep_is_taken_out_and_later_keeps_are_measured_again(sums: Toy) -> None:
    sums.run([part("a", 9), part("b", 9), part("c", 9), part("d", 30)], wish=Wish(name="r"))
    again(sums, "reject", experiment=1)
    history = sums.history()
    assert [e.rolled_back for e in history.experiments[1:4]] == [True] * 3
    revived = [e for e in history.experiments if e.origin is not None]
    assert [(e.origin, e.value, e.kept) for e in revived] == [(2, 49.0, True), (3, 48.0, True)]
    assert history.line == [0, revived[0].n, revived[1].n]
    assert sums.git("show", "autoresearch/r:extra/a.txt") == "10\n"
    assert sums.git("show", "autoresearch/r:extra/c.txt") == "9\n"
    subjects = sums.git("log", "--format=%s", "autoresearch/r").splitlines()
    assert subjects == ["c 9", "b 9", "roll back to experiment 0", "c 9", "b 9", "a 9", "start"]
    verify(sums)


def test_later_keep_that_stands_on_the_rejected_one_is_stale(toy: Toy) -> None:
    toy.run([knob(9), knob(8)], wish=Wish(name="r"))
    again(toy, "reject", experiment=1)
    history = toy.history()
    assert history.line == [0]
    e = next(e for e in history.experiments if e.origin == 2)
    assert e.verdict is not None
    assert (e.verdict.kind, e.verdict.reason) == (Kind.DISCARD, "stale")
    assert toy.git("show", "autoresearch/r:knob.txt") == "10\n"


def test_reject_killed_at_any_event_comes_to_the_same_line(make_toy: Callable[..., Toy]) -> None:
    files = {"evaluate.py": SUM, **{f"extra/{name}.txt": "10\n" for name in "abc"}}
    patches = [part("a", 9), part("b", 9), part("c", 9)]
    events = 0
    wanted: dict[str, Any] = {}
    for kill_at in [10**6, *range(1, 40, 3)]:
        toy = make_toy(files)
        toy.run(patches, wish=Wish(name="r", seed=1))
        count = 0

        def watch(what: str, details: Mapping[str, Any], kill_at: int = kill_at) -> None:
            nonlocal count
            count += 1
            if count == kill_at:
                raise Killed

        try:
            toy.run([], wish=Wish(name="r", order=("reject", {"experiment": 1})), watch=watch)
        except BaseException as error:
            assert "Killed" in repr(error)  # noqa: PT017
            toy.run([], wish=Wish(name="r"))
        ledger = toy.project.ledger(read_only=True)
        found = {**canonical(ledger, "r"), "line": ledger.history("r").line}
        ledger.close()
        if not wanted:
            wanted, events = found, count
        assert found == wanted, kill_at
        assert toy.git("rev-parse", "autoresearch/r").strip() == toy.history("r").tip
        if kill_at < 10**6 and kill_at > events:
            break
    assert events > 10


@pytest.mark.parametrize(
    ("kind", "n", "words"),
    [
        ("revive", 9, "expected 1 to"),
        ("revive", 3, "no candidate"),
        ("reject", 2, "was not kept"),
        ("reject", 0, "expected 1 to"),
    ],
)
def test_order_that_cannot_be_carried_out_is_refused_and_nothing_is_recorded(toy: Toy, kind: str, n: int, words: str) -> None:
    toy.run([knob(9), knob(11), Patch({"evaluate.py": "x"}), Patch({}, error=RuntimeError("no"))], wish=Wish(name="r"))
    before = toy.history().run
    with pytest.raises(SetupError, match=words):
        again(toy, kind, experiment=n)
    assert toy.history().run == before


def test_living_owner_revives_and_rejects_between_two_steps(sums: Toy) -> None:
    answers: list[int] = []

    def watch(what: str, details: Mapping[str, Any]) -> None:
        if what == "decided" and details["n"] == 2 and not answers:
            ledger = sums.project.ledger()
            answers.append(ledger.request("r", "revive", {"experiment": 1}))
            answers.append(ledger.request("r", "reject", {"experiment": 2}))
            answers.append(ledger.request("r", "reject", {"experiment": 77}))
            answers.append(ledger.request("r", "idea", {"text": "try c"}))
            ledger.close()

    seen: list[list[str]] = []

    def propose(brief: Any) -> Patch:
        import time

        time.sleep(0.3)  # so that the owner hears what was asked
        seen.append([idea.text for idea in brief.view.ideas])
        name, value = {1: ("a", 12), 2: ("b", 9)}.get(brief.n, ("c", 9 - brief.n / 100))
        return part(name, value)

    sums.run(propose, wish=Wish(name="r", experiments=7), watch=watch)
    history = sums.history()
    assert history.experiments[2].rolled_back
    assert 1 in [e.origin for e in history.experiments]
    assert ["try c"] in seen
    ledger = sums.project.ledger(read_only=True)
    found = [ledger.answered(answer) for answer in answers]
    ledger.close()
    assert [bool(a and a["ok"]) for a in found] == [True, True, False, True]
    verify(sums)


def test_finished_run_that_is_called_again_measures_nothing(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(task=TASK + "\n[budget]\nexperiments = 1\n")
    toy.run([knob(9)], wish=DAY)
    toy.run([knob(9)], wish=DAY)
    history = toy.history()
    assert history.evaluations == 4  # two of the baseline, one of the experiment, the result once more
    assert history.agenda.due


def test_half_a_baseline_of_another_machine_does_not_count(factor: tuple[Toy, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    toy, outside = factor

    def watch(what: str, details: Mapping[str, Any]) -> None:
        if what == "measured":
            raise Killed

    with pytest.raises(BaseException):  # noqa: B017
        toy.run([knob(9)], wish=Wish(name="r"), watch=watch)
    outside.write_text("2")
    monkeypatch.setattr(machine, "fingerprint", lambda: Machine("other", {**FACTS, "cpu": "another one"}))
    toy.run([knob(9)], wish=Wish(name="r"))
    history = toy.history()
    assert phases(history.experiments[0], "baseline") == [10.0, 20.0, 20.0]
    assert (history.exact, history.line) == (True, [0, 1])
    verify(toy)


def test_keep_on_the_line_is_not_revived(toy: Toy) -> None:
    toy.run([knob(9)], wish=Wish(name="r"))
    with pytest.raises(SetupError, match="in the result already"):
        again(toy, "revive", experiment=1)


def test_validation_that_was_killed_leaves_the_run_finished(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(task=TASK + "\n[budget]\nexperiments = 1\n")
    toy.run([knob(9)], wish=Wish(name="r"))
    append = SqliteLedger.append

    def no_end(self: SqliteLedger, run: str, *events: Any, durable: bool = False) -> Any:
        if events[0].kind in ("measured", "run_stopped"):
            raise Killed
        return append(self, run, *events, durable=durable)

    patched = pytest.MonkeyPatch()
    patched.setattr(SqliteLedger, "append", no_end)
    with pytest.raises(BaseException):  # noqa: B017
        again(toy, "validate")
    patched.undo()
    run = toy.history().run
    assert run is not None
    assert (run.status, run.stop_reason) == ("finished", "experiments")
    verify(toy)


def test_candidate_whose_objects_are_gone_is_stale_and_the_run_goes_on(toy: Toy) -> None:
    toy.run([knob(11), knob(9)], wish=Wish(name="r"))
    toy.git("update-ref", "-d", "refs/autoresearch/r/1")
    toy.git("gc", "-q", "--prune=now")
    toy.moved()
    again(toy, "revive", experiment=1)
    e = next(e for e in toy.history().experiments if e.origin == 1)
    assert e.verdict is not None
    assert (e.verdict.reason, "cannot be read any more" in e.verdict.words) == ("stale", True)


@pytest.mark.parametrize("is_live", [False, True])
def test_terminal_shows_what_is_measured_again(toy: Toy, capsys: pytest.CaptureFixture[str], is_live: bool) -> None:
    from autoresearch.cli.view import Lines, Live
    from autoresearch.taskfile import load

    toy.run([knob(9)], wish=Wish(name="r"))
    views: list[Any] = []

    def ready(loop: Any) -> None:
        views.append(Live(load(toy.folder), loop.history, lambda: None) if is_live else Lines(loop.history))

    toy.run([knob(9)], wish=DAY, ready=ready, watch=lambda what, details: [view.saw(what, details) for view in views])
    out = capsys.readouterr().out
    assert "measured again: experiment 1 9 · " in out
    assert "to beat: experiment 1 with 9 (is the same here and now)" in out


def test_reject_and_revive_with_lag_and_several_slots(sums: Toy) -> None:
    patches = [part("a", 9), part("b", 7), part("c", 12), part("d", 3), part("e", -6)]
    sums.run(patches, wish=Wish(name="r", lag=4, evaluations=2, proposals=2))
    assert sums.history().incumbent.value == 23
    again(sums, "reject", experiment=2)
    history = sums.history()
    assert history.incumbent.value == 26
    assert [e.origin for e in history.experiments if e.origin is not None] == [4, 5]
    assert sums.git("show", "autoresearch/r:extra/b.txt") == "10\n"
    again(sums, "revive", experiment=2)
    assert sums.history().incumbent.value == 23
    assert sums.git("show", "autoresearch/r:extra/b.txt") == "7\n"
    verify(sums)
