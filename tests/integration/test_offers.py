"""Changes that other processes offer to a run: heard by its owner, tried in their turn, answered; nothing is believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import anyio
import pytest
from tests.conftest import TASK, Toy

from autoresearch.choice import Wish
from autoresearch.contracts import Brief, FileDraft
from autoresearch.errors import Exhausted, RepositoryError
from autoresearch.records import Blob, Proposal
from autoresearch.testing import Patch, canonical
from autoresearch.workspace.content import pack


class Killed(BaseException):
    """The session is gone in the middle of something."""


SERVE = Wish(name="r", seed=1, serves=True, linger_s=0.2)


def offer(toy: Toy, text: str, *, parent: int = 0, kind: str = "try", **more: Any) -> int:
    """Leave a request as another process would: knob.txt with this text."""
    return leave(toy, {"knob.txt": Blob(f"{text}\n".encode())}, parent=parent, kind=kind, **more)


def leave(toy: Toy, edits: Mapping[str, Blob | None], *, parent: int = 0, kind: str = "try", **more: Any) -> int:
    ledger = toy.project.ledger()
    body = {"description": f"offer {sorted(edits)}", "parent": parent, "content": ledger.put(pack(edits)), "by": "claude"}
    job = ledger.request("r", kind, body | more)
    ledger.close()
    return job


def answer(toy: Toy, job: int) -> Mapping[str, Any] | None:
    ledger = toy.project.ledger(read_only=True)
    found = ledger.answered(job)
    ledger.close()
    return found


def verdicts(toy: Toy) -> list[tuple[str, str]]:
    return [(e.verdict.kind.value, e.verdict.reason) if e.verdict else ("-", "") for e in toy.history("r").experiments[1:]]


@pytest.fixture
def begun(toy: Toy) -> Toy:
    """A run with a baseline and nothing else."""
    toy.run(wish=SERVE)
    return toy


def test_a_session_that_serves_measures_the_baseline_and_proposes_nothing(begun: Toy) -> None:
    history = begun.history("r")
    assert history.run is not None
    assert (len(history.experiments), history.run.status, history.run.stop_reason) == (1, "open", "idle")


def test_offers_are_tried_in_the_order_in_which_they_came(begun: Toy) -> None:
    jobs = [offer(begun, text) for text in ("9", "12", "broken")]
    begun.run(wish=SERVE)
    jobs.append(offer(begun, "8", parent=1))
    begun.run(wish=SERVE)
    assert verdicts(begun) == [("keep", "better"), ("discard", "worse"), ("crash", "exit"), ("keep", "better")]
    assert [answer(begun, job) for job in jobs] == [{"ok": True, "experiment": n} for n in (1, 2, 3, 4)]
    history = begun.history("r")
    assert [(e.job, e.proposer, e.operation) for e in history.experiments[1:]] == [(job, "claude", "try") for job in jobs]
    assert history.line == [0, 1, 4]
    assert begun.git("show", "autoresearch/r:knob.txt") == "8\n"


def test_change_of_the_base_is_put_onto_what_was_kept_since(begun: Toy) -> None:
    begun.run([Patch({"extra/a.txt": "x\n"}, "a file")], wish=Wish(name="r", experiments=1))
    assert verdicts(begun) == [("discard", "tie")]
    offer(begun, "9")
    leave(begun, {"extra/b.txt": Blob(b"x\n"), "knob.txt": Blob(b"8\n")}, parent=0)
    begun.run(wish=SERVE)
    assert verdicts(begun)[1:] == [("keep", "better"), ("discard", "stale")]  # both change the same line
    offer(begun, "7", parent=2)
    begun.run(wish=SERVE)
    assert verdicts(begun)[-1] == ("keep", "better")


def test_frozen_file_is_refused_by_name(begun: Toy) -> None:
    leave(begun, {"evaluate.py": Blob(b"print('score: 0')\n"), "knob.txt": Blob(b"1\n")})
    leave(begun, {"../elsewhere": Blob(b"x")})
    leave(begun, {".git/config": Blob(b"x")})
    begun.run(wish=SERVE)
    assert verdicts(begun) == [("invalid", "scope")] * 3
    assert "evaluate.py" in begun.history("r").experiments[1].verdict.words  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "body",
    [
        {"parent": 0, "content": "0" * 64},
        {"parent": 0, "content": "../../evaluate.py"},
        {"parent": 7},
        {"parent": -1},
        {"parent": True},
        {"parent": "0"},
        {"content": None},
        {},
        {"parent": 0, "content": ["x"], "description": {"a": 1}, "expected": "lots"},
    ],
)
def test_request_that_is_no_offer_is_answered_and_counts_for_nothing(begun: Toy, body: Mapping[str, Any]) -> None:
    ledger = begun.project.ledger()
    whole = {"parent": 0, "content": ledger.put(b"[1, 2]"), "description": "x"} if body.keys() == {"parent"} else {}
    job = ledger.request("r", "try", {**whole, **body})
    ledger.close()
    good = offer(begun, "9")
    begun.run(wish=SERVE)
    found = answer(begun, job)
    assert found is not None
    assert found["ok"] is False
    assert "tried" in found["words"]
    assert answer(begun, good) == {"ok": True, "experiment": 1}
    assert verdicts(begun) == [("keep", "better")]


def test_content_that_is_no_change_of_files_is_refused(begun: Toy) -> None:
    ledger = begun.project.ledger()
    bodies = [
        b"",
        b"[]",
        b"{}",
        b'{"knob.txt": 3}',
        b'{"knob.txt": ["160000", "utf-8", "x"]}',
        b"\xff\xfe",
        b'{"a": ["100644"]}',
    ]
    jobs = [ledger.request("r", "try", {"parent": 0, "content": ledger.put(body)}) for body in bodies]
    ledger.close()
    begun.run(wish=SERVE)
    found = [answer(begun, job) for job in jobs]
    assert [a is not None and a["ok"] for a in found] == [False, False, True, False, False, False, False]
    assert verdicts(begun) == [("invalid", "no_change")]  # an empty change is one


def test_numbers_in_a_request_decide_nothing(begun: Toy) -> None:
    offer(begun, "11", value=0.0, score=0.0, verdict="keep", values={"score": 0}, experiment=1, job=77)
    begun.run(wish=SERVE)
    e = begun.history("r").experiments[1]
    assert (e.verdict and e.verdict.reason, e.value, e.job) == ("worse", 11.0, 1)


def test_budget_that_is_spent_is_answered(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(task=TASK + "[budget]\nexperiments = 2\n")
    toy.run(wish=SERVE)
    jobs = [offer(toy, text) for text in ("9", "8", "7")]
    toy.run(wish=SERVE)
    assert len(verdicts(toy)) == 2
    last = answer(toy, jobs[2])
    assert last is not None
    assert (last["ok"], last["over"], last["reason"]) == (False, True, "experiments")
    history = toy.history("r")
    assert history.run is not None
    assert (history.run.status, history.run.stop_reason) == ("finished", "experiments")
    assert history.validated is not None  # the final comparison was made, as at the end of any run


class Slow:
    """Proposes after others have had their turn."""

    name = "slow"

    def __init__(self, toy: Toy, offers: list[str]) -> None:
        self._toy, self._offers = toy, offers
        self.asked: list[int] = []

    async def propose(self, brief: Brief, draft: FileDraft) -> Proposal:
        self.asked.append(brief.n)
        draft.spend(0.5, 100)
        for text in self._offers[:]:
            self._offers.remove(text)
            job = offer(self._toy, text, parent=max(self._toy.history("r").line))
            with anyio.fail_after(20):
                while answer(self._toy, job) is None:
                    await anyio.sleep(0.02)
        return Proposal("slow", {"extra/slow.txt": Blob(f"{brief.n}\n".encode())})


def slowly(proposer: Slow) -> Callable[..., Any]:
    from dataclasses import replace

    return lambda parts: replace(parts, proposer=proposer, mix={})


def test_offer_goes_before_a_proposal_that_is_being_written(begun: Toy) -> None:
    proposer = Slow(begun, ["9", "8"])
    begun.run(wish=Wish(name="r", experiments=1), parts=slowly(proposer))
    history = begun.history("r")
    told = [(e.description, e.verdict and e.verdict.reason) for e in history.experiments[1:]]
    assert told == [
        ("offer ['knob.txt']", "better"),
        ("offer ['knob.txt']", "better"),
        ("slow", "worse"),
    ]  # it began at what was the incumbent then
    slow = history.experiments[3]
    assert proposer.asked == [1]
    assert (slow.began_as, slow.cost_usd, slow.tokens) == (1, 0.5, 100)
    assert [(e.cost_usd, e.tokens) for e in history.experiments[1:3]] == [(0.0, 0)] * 2
    assert (history.cost_usd, history.tokens) == (0.5, 100)
    same = begun.project.ledger()
    same.rebuild()
    again = same.history("r")
    same.close()
    assert again.experiments == history.experiments
    assert (again.cost_usd, again.tokens, again.agenda.offers) == (0.5, 100, history.agenda.offers)


def test_what_a_killed_proposal_has_spent_is_found_under_its_new_number(begun: Toy) -> None:
    """Killed after an offer had gone first: the proposal is asked for again, and its money counts once."""

    class Dies(Slow):
        async def propose(self, brief: Brief, draft: FileDraft) -> Proposal:
            await super().propose(brief, draft)
            if len(self.asked) == 1:
                raise Killed
            return Proposal("slow", {"extra/slow.txt": Blob(b"x\n")})

    proposer = Dies(begun, ["9"])
    with pytest.raises(Killed):
        begun.run(wish=Wish(name="r"), parts=slowly(proposer))
    history = begun.history("r")
    assert [e.stage for e in history.experiments] == ["decided", "decided", "asked"]
    begun.run(wish=Wish(name="r", experiments=1), parts=slowly(proposer))
    history = begun.history("r")
    slow = history.experiments[2]
    assert proposer.asked == [1, 2]
    assert (slow.began_as, slow.cost_usd, slow.tokens) == (1, 1.0, 200)
    assert (history.cost_usd, history.tokens) == (1.0, 200)


def test_session_that_serves_leaves_open_what_nobody_proposes_for(begun: Toy) -> None:
    """A run was killed while a model wrote: offers go first, and the next run asks again."""

    class Dies(Slow):
        async def propose(self, brief: Brief, draft: FileDraft) -> Proposal:
            raise Killed

    with pytest.raises(Killed):
        begun.run(wish=Wish(name="r"), parts=slowly(Dies(begun, [])))
    job = offer(begun, "9")
    begun.run(wish=SERVE)
    assert answer(begun, job) == {"ok": True, "experiment": 1}
    assert verdicts(begun) == [("keep", "better"), ("-", "")]
    begun.run([Patch(), Patch({"knob.txt": "8\n"}, "by the run")], wish=Wish(name="r", experiments=1))
    assert verdicts(begun) == [("keep", "better"), ("discard", "stale")]  # it was asked for on the baseline


def test_stop_answers_who_waits_and_the_offer_stays(begun: Toy) -> None:
    ledger = begun.project.ledger()
    ledger.request("r", "stop", {})
    ledger.close()
    loops: list[Any] = []
    job = 0

    def watch(what: str, details: Mapping[str, Any]) -> None:
        nonlocal job
        if what == "proposing" and not job:
            job = offer(begun, "9")
            ledger = begun.project.ledger()
            ledger.request("r", "stop", {})
            ledger.close()

    class Never(Slow):
        async def propose(self, brief: Brief, draft: FileDraft) -> Proposal:
            await anyio.sleep(30)
            return Proposal()

    begun.run(wish=Wish(name="r"), parts=slowly(Never(begun, [])), watch=watch, ready=loops.append)
    found = answer(begun, job)
    assert found is not None
    assert found == {"ok": True, "experiment": 1} or found["stopped"]
    begun.run(wish=SERVE)
    assert begun.history("r").experiments[1].job == job
    assert verdicts(begun)[0] == ("keep", "better")


def test_baseline_that_fails_is_answered_and_the_offer_forgotten(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy({"knob.txt": "broken\n"})
    toy.run(wish=SERVE)
    job = offer(toy, "9")
    ending = toy.run(wish=SERVE)
    assert ending.reason == "baseline"
    found = answer(toy, job)
    assert found is not None
    assert found["ok"] is False
    assert "baseline failed" in found["words"]
    assert toy.history("r").agenda.offers == {}


def test_probe_runs_the_quick_test_and_makes_no_experiment(make_toy: Callable[..., Toy]) -> None:
    quick = 'python -c \'import sys; t = open("knob.txt").read(); print(t); sys.exit(t.strip() == "13")\''
    toy = make_toy(task=TASK.replace("[metric]", f"quick = {json.dumps(quick)}\n\n[metric]"))
    toy.run(wish=SERVE)
    jobs = [offer(toy, "12", kind="probe", what="quick"), offer(toy, "13", kind="probe", what="quick")]
    jobs += [leave(toy, {"evaluate.py": Blob(b"x\n")}, kind="probe", what="quick"), offer(toy, "1", kind="probe", what="x")]
    toy.run(wish=SERVE)
    found = [answer(toy, job) for job in jobs]
    assert [a and a.get("passed") for a in found] == [True, False, False, None]
    assert "13" in found[1]["output"]  # type: ignore[index]
    assert "evaluate.py" in found[2]["words"]  # type: ignore[index]
    assert "expected one of" in found[3]["words"]  # type: ignore[index]
    assert len(toy.history("r").experiments) == 1


def test_same_offers_give_the_same_ledger_killed_or_not(make_toy: Callable[..., Toy]) -> None:
    found = []
    for cuts in ((), (1,), (2,)):
        toy = make_toy()
        toy.run(wish=SERVE)
        for text in ("9", "12", "8"):
            offer(toy, text)

        loops: list[Any] = []

        def cut(what: str, details: Mapping[str, Any], cuts: tuple[int, ...] = cuts, loops: list[Any] = loops) -> None:
            if what == "measured" and details["n"] in cuts:
                raise Killed

        if cuts:
            with pytest.raises(Killed):
                toy.run(wish=SERVE, watch=cut)
        toy.run(wish=SERVE)
        ledger = toy.project.ledger(read_only=True)
        found.append(canonical(ledger, "r"))
        ledger.close()
    assert found[0] == found[1] == found[2]


def test_experiments_of_a_session_are_those_that_it_asked_for(begun: Toy) -> None:
    proposer = Slow(begun, ["9", "8"])
    begun.run(wish=Wish(name="r", experiments=2), parts=slowly(proposer))
    assert [e.job is None for e in begun.history("r").experiments[1:]] == [False, False, True, True]


def test_candidate_is_tried_again_while_an_experiment_waits_for_another_session_to_propose_it(begun: Toy) -> None:
    """A run was killed while a model wrote; who only serves then hears an order, and the open experiment takes it."""

    class Dies(Slow):
        async def propose(self, brief: Brief, draft: FileDraft) -> Proposal:
            raise Killed

    offer(begun, "12")
    begun.run(wish=SERVE)
    with pytest.raises(Killed):
        begun.run(wish=Wish(name="r"), parts=slowly(Dies(begun, [])))
    offer(begun, "11")
    ordered: list[int] = []

    def order(what: str, details: Mapping[str, Any]) -> None:
        if what == "measured" and not ordered:
            ledger = begun.project.ledger()
            ordered.append(ledger.request("r", "revive", {"experiment": 1}))
            ledger.close()

    begun.run(wish=SERVE, watch=order)
    assert begun.history("r").experiments[3].origin == 1
    assert verdicts(begun) == [("discard", "worse")] * 3


SLOWER = """\
import pathlib, time
value = float(pathlib.Path("knob.txt").read_text())
time.sleep({9: 0.8, 11: 0.4}.get(value, 0))
print("score:", value)
"""


def test_offer_in_the_place_of_what_nobody_proposes_any_more_is_measured_once_and_ends_nothing(
    make_toy: Callable[..., Toy],
) -> None:
    toy = make_toy({"evaluate.py": SLOWER})
    toy.run(wish=replace(SERVE, lag=6))

    class Few(Slow):
        async def propose(self, brief: Brief, draft: FileDraft) -> Proposal:
            if brief.n == 1:
                return Proposal("the last one", {"knob.txt": Blob(b"11\n")})
            raise Exhausted("nothing left")

    jobs: list[int] = []

    def watch(what: str, details: Mapping[str, Any]) -> None:
        if what == "evaluating" and details["n"] == 1 and not jobs:
            jobs.append(offer(toy, "9"))

    ending = toy.run(wish=Wish(name="r", lag=6, experiments=2), parts=slowly(Few(toy, [])), watch=watch)
    assert ending.reason == "exhausted"
    assert answer(toy, jobs[0]) == {"ok": True, "experiment": 2}
    history = toy.history("r")
    assert [len(e.measurements) for e in history.experiments[1:]] == [1, 1, 0]
    assert (history.experiments[3].stage, history.experiments[3].began_as) == ("asked", 2)


def test_session_that_cannot_go_on_says_that_what_has_its_number_stays(begun: Toy) -> None:
    """Something breaks while an offer is measured: no refusal for what gets its verdict later."""
    job = offer(begun, "9")

    def breaks(what: str, details: Mapping[str, Any]) -> None:
        if what == "evaluating":
            raise RepositoryError("git is gone")

    with pytest.raises(RepositoryError):
        begun.run(wish=SERVE, watch=breaks)
    assert answer(begun, job) == {"ok": False, "words": "git is gone", "stopped": True}
    begun.run(wish=SERVE)
    assert answer(begun, job) == {"ok": True, "experiment": 1}


def test_what_comes_while_the_run_is_being_stopped_is_done_when_it_goes_on(begun: Toy) -> None:
    jobs: list[int] = []

    def stop(what: str, details: Mapping[str, Any]) -> None:
        if what != "evaluating" or jobs:
            return
        ledger = begun.project.ledger()
        ledger.request("r", "stop", {"finish": True})
        ledger.close()
        jobs.append(offer(begun, "8"))  # heard after it

    offer(begun, "9")
    begun.run(wish=SERVE, watch=stop)
    assert answer(begun, jobs[0]) == {"ok": False, "words": "stopped after the experiments under way", "stopped": True}
    begun.run(wish=SERVE)
    assert answer(begun, jobs[0]) == {"ok": True, "experiment": 2}


def test_run_is_not_at_its_end_while_an_experiment_waits_to_be_proposed(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(task=TASK + "[budget]\nexperiments = 2\n")
    toy.run(wish=SERVE)

    class Dies(Slow):
        async def propose(self, brief: Brief, draft: FileDraft) -> Proposal:
            raise Killed

    with pytest.raises(Killed):
        toy.run(wish=Wish(name="r"), parts=slowly(Dies(toy, [])))
    jobs = [offer(toy, "9"), offer(toy, "8")]
    assert toy.run(wish=SERVE).reason == "idle"
    assert answer(toy, jobs[0]) == {"ok": True, "experiment": 1}
    assert (answer(toy, jobs[1]) or {})["over"] is True
    toy.run([Patch(), Patch({"knob.txt": "12\n"}, "by the run")], wish=Wish(name="r"))
    history = toy.history("r")
    assert history.run is not None
    assert (len(verdicts(toy)), history.run.stop_reason) == (2, "experiments")
    assert history.validated is not None


def test_who_leaves_a_run_hears_it_also_if_it_was_just_opened(begun: Toy) -> None:
    ledger = begun.project.ledger()
    request = ledger.request("r", "leave", {})
    ledger.close()
    assert begun.run(wish=replace(SERVE, linger_s=60)).reason == "idle"
    assert answer(begun, request) == {"ok": True, "words": "another process goes on with it"}


def test_offer_whose_change_is_lost_is_answered_and_the_run_goes_on(toy: Toy) -> None:
    """Noted while the baseline is measured, and then the power went: a file that the ledger names did not reach the disk."""
    job, good = offer(toy, "9"), offer(toy, "8")

    def cut(what: str, details: Mapping[str, Any]) -> None:
        if what == "note" and details["event"].body["what"] == "offered" and details["event"].body["job"] == good:
            raise Killed

    with pytest.raises(Killed):
        toy.run(wish=Wish(name="r", seed=1), watch=cut)
    lose(toy, toy.history("r").agenda.offers[job].content)
    toy.run(wish=SERVE)
    assert answer(toy, good) == {"ok": True, "experiment": 1}
    found = answer(toy, job)
    assert found is not None
    assert "lost" in found["words"]


def test_proposal_that_is_lost_is_a_failed_one(begun: Toy) -> None:
    job = offer(begun, "9")

    def cut(what: str, details: Mapping[str, Any]) -> None:
        if what == "proposed":
            raise Killed

    with pytest.raises(Killed):
        begun.run(wish=SERVE, watch=cut)
    lose(begun, begun.history("r").experiments[1].content)
    begun.run(wish=SERVE)
    assert verdicts(begun) == [("invalid", "proposer_crash")]
    assert answer(begun, job) == {"ok": True, "experiment": 1}


def lose(toy: Toy, key: str) -> None:
    (toy.project.paths.folder / "files" / key).unlink()
