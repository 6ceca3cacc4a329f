"""The rules for who drives: where to work, how a change is handed in, when to stop; in words for a shell, and for tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autoresearch.brief import Manner
from autoresearch.brief.manner import escalated, example_of, expecting, start, tryable
from autoresearch.contracts import Brief
from autoresearch.driving.places import Place, Snapshot
from autoresearch.history import History
from autoresearch.records import RunRecord
from autoresearch.taskfile import Task
from autoresearch.text import counted

TRIES = ("quick", "checks")
"""What may be tried out without a verdict; the whole evaluation is measured for a verdict or not at all."""


@dataclass(frozen=True, slots=True)
class Stand:
    """How a run stands for who drives.

    Attributes:
        run: None before there is one.
        history: of the run; a stand-in without numbers where there is no baseline yet.
        known: of the run as it is, None before there is one.
        remains: what is left of the budget, in words.
        here: what the place holds; None where it cannot be compared, and `fault` says why.
        over: why nothing more can be tried, `` while something can.
    """

    run: RunRecord | None
    history: History
    known: History | None
    remains: Sequence[str] = ()
    here: Snapshot | None = None
    fault: str = ""
    over: str = ""

    @property
    def measured(self) -> bool:
        return self.known is self.history


@dataclass(frozen=True, slots=True)
class Wording:
    """How the things are called that whoever drives can do.

    Attributes:
        tries: how a change is handed in, from its words on; `{expect}` is an example.
        waits: how the verdict is waited for.
        again, ends: how it is told what is known by then, and what it came to.
        probes: how something is tried out without a verdict, `` where that cannot be done.
        over: how an answer shows that it is over, `wrong` that the set-up is.
    """

    tries: str
    waits: str
    again: str
    ends: str
    probes: str
    over: str
    wrong: str


SHELL = Wording(
    tries='Hand it in: `autoresearch try -m "what you changed, and why that should be better" --expect "{expect}"`. '
    "It waits for the verdict, and exits with 0 whatever that is. {expecting}",
    waits="Where your commands are ended after a minute or two, add `--background`: it answers with a job number at once, and "
    "`autoresearch wait N --max 45s` asks again until there is a verdict.",
    again="`autoresearch brief --try` tells you what is known by then",
    ends="`autoresearch report`",
    probes="`autoresearch probe {}`",
    over="it is over (exit code 3) or was stopped",
    wrong="Exit code 2 is a set-up that is wrong",
)
TOOLS = Wording(
    tries="Hand it in: the tool `try`, with what you changed and why that should be better as `message`, and `{expect}` or the "
    "like as `expect`. {expecting}",
    waits="An answer that holds a job number and no verdict: ask again by the tool `wait` with that `job`, until there is one.",
    again="the tool `brief` tells you what is known by then",
    ends="the tool `status`",
    probes="",
    over="it is over or was stopped",
    wrong="An answer that the set-up is broken is not yours to work around",
)


def manner(task: Task, brief: Brief, place: Place, stand: Stand, wording: Wording) -> Manner:
    return Manner(
        "\n\n".join(_question(brief, place, stand)),
        work=list(_work(place)),
        limits=[f"{row[:1].upper()}{row[1:]}." for row in stand.remains],
        trying=list(tryable(task, TRIES, wording.probes)) if wording.probes and not stand.over else [],
        answer=_ended(wording) if stand.over else _answer(brief, place, wording),
        copied=False,
        driving=True,
        queue=list(_queue(stand.history)),
        measured=stand.measured,
    )


def _question(brief: Brief, place: Place, stand: Stand) -> Iterator[str]:
    run = f"Run {stand.run.run}" if stand.run is not None else ""
    if stand.over:
        yield f"{run} is over: {stand.over}. No further change is taken; what is under way is still decided."
        return
    yield (
        "You make the changes, and the harness measures them, decides, and records: it keeps what is better and nothing else. "
        "One idea at a time, with as many edits as it needs."
    )
    if stand.fault:
        yield f"Nothing can be tried from here as it is: {stand.fault}"
    if not stand.measured:
        yield _before_baseline(run, stand)
        return
    yield f"{start(brief)}{_position(brief, place, stand)}"
    if brief.escalation:
        yield escalated(brief.escalation)


def _before_baseline(run: str, stand: Stand) -> str:
    if stand.known is None:
        return (
            "There is no run yet. The first change that you hand in starts one from the last commit, and the baseline, the "
            "code as it was committed, is measured before it: that takes a few evaluations, once."
        )
    made = len(stand.known.experiments[0].measurements) if stand.known.experiments else 0
    done = f" {counted(made, 'evaluation')} of it {'is' if made == 1 else 'are'} done." if made else ""
    return f"{run} has no baseline yet: it is measured before any change is, once.{done} You can hand in a change already."


def _position(brief: Brief, place: Place, stand: Stand) -> str:
    """What the place holds, compared with what it stands on and with the incumbent."""
    if stand.here is None:
        return ""
    count = len(stand.here.edits)
    differ = f"{counted(count, 'file')} here {'differs' if count == 1 else 'differ'}"
    words = f" {differ} from that: this is tried next, unless you undo it." if count else ""
    best = brief.view.incumbent.n
    if brief.parent.n != best and place.tree is None and stand.run is not None:
        source = f"autoresearch/{stand.run.run}/{best or 'base'}"
        words += f" The incumbent's files are in git: `git restore --source={source} FILE`."
    return words


def _work(place: Place) -> Iterator[str]:
    if place.tree is None:
        yield (
            f"Work in `{place.folder}`, the owner's checkout. Trying takes a snapshot and touches no file of it: after a keep "
            "leave your change where it is and go on from there, after anything else undo it before the next idea; the answer "
            "says how."
        )
    else:
        yield (
            f"Work in `{place.folder}`, a tree of your own. After a keep it holds the new incumbent, and after anything else "
            "your change is taken out of it again; you need not do either."
        )
    yield (
        "Never commit, reset, stash or switch branches, and write no results anywhere, even if the owner's words ask for it: "
        "keeping, taking back and recording are the harness's."
    )


def _queue(history: History) -> Iterator[str]:
    for offer in history.agenda.offered:
        yield f"waits for its turn, on {offer.parent}, by {offer.by}: {offer.description}"


def _answer(brief: Brief, place: Place, wording: Wording) -> str:
    expect = example_of(brief)
    tries = wording.tries.format(expect=expect, expecting=expecting("The effect", brief))
    undone = "" if place.tree is not None else " If it was not kept, undo it as the answer says."
    steps = [
        "Make one change in the files that may be edited, for one idea. Combining near misses is one.",
        f"{tries} In the message the first line says what, further lines say why.",
        f"{wording.waits} Change nothing until then.",
        "Read the answer: verdict and reason, the number, what to do next, what is left. That number is the harness's and "
        f"the only one there is: believe and report no other. A tie is no gain.{undone}",
        f"Take the next idea; {wording.again}.",
    ]
    listed = "\n".join(f"{i}. {step}" for i, step in enumerate(steps, 1))
    return (
        f"{listed}\n\nGo on without asking, also after many that were not kept, until an answer says that {wording.over} or "
        f"the owner's words say that you are to stop. {wording.wrong}: tell the owner. At the end report what was kept, in the "
        f"harness's numbers ({wording.ends})."
    )


def _ended(wording: Wording) -> str:
    return (
        f"There is nothing to hand in any more. Report what was kept, in the harness's numbers ({wording.ends}). More budget "
        "or a new run is the owner's to decide: do not start one by yourself."
    )
