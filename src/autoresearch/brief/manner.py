"""How whoever reads a brief works and answers: what is not the same for all. `sealed` is that of an experiment's proposer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autoresearch.contracts import Brief
from autoresearch.fenced import MARK
from autoresearch.mutations import REPAIR, directions, to_repair
from autoresearch.report import show_change, show_number
from autoresearch.taskfile import Task
from autoresearch.taskfile.schema import Proposer as Table
from autoresearch.taskfile.units import show_seconds

_OPERATIONS = {
    "improve": "One idea, with as many edits as it needs.",
    "draft": "The last attempts all failed before they could be measured. Try something different, and simple.",
    "debug": "Find out why this candidate failed, keep its idea, and make it work.",
    "merge": "Put what its parents do well into one.",
    "restart": "Several attempts from the incumbent brought nothing, so this one starts from an earlier keep: look for another "
    "way from there. It is compared with the incumbent as it is.",
}
_ESCALATIONS = {
    "other": "The last experiments brought nothing. Leave what they tried alone and do something of another kind.",
    "bold": "Small steps have stopped helping. Make a change that is large enough to matter, even if it is likely to fail.",
    "fresh": "A long time without a gain: look at the whole problem as if for the first time. What was tried is left out here "
    "on purpose. Read the code, ask what really limits the result, and start there.",
    "restart": "A long time without a gain from where the run stands.",
}


@dataclass(frozen=True, slots=True)
class Manner:
    """What a brief says to one reader and not to another.

    Attributes:
        question: what to start from, and what is wanted.
        work: rules on where to work; `limits` on what may be spent; `trying` on what may be tried out.
        answer: how a change is handed in.
        copied: copies of what the parent's evaluations left are in the reader's reach.
        driving: it hands in change after change as requests, and is told what the others are at.
        queue: what waits for its turn beside the experiments, one line each.
        measured: there is a baseline.
    """

    question: str
    work: Sequence[str]
    limits: Sequence[str]
    trying: Sequence[str]
    answer: str
    copied: bool = True
    driving: bool = False
    queue: Sequence[str] = ()
    measured: bool = True


def sealed(task: Task, brief: Brief, table: Table) -> Manner:
    """That of a proposer, which edits a copy for one experiment and says at the end what it did."""
    return Manner(
        question(task, brief),
        work=("Work in the current folder and leave your change there; do not commit.",),
        limits=list(_limits(brief)),
        trying=list(_may_run(task, table)),
        answer=answer(brief),
        copied=table.kind != "llm" and ":" not in table.kind,  # a program has a folder for temporary files
    )


def question(task: Task, brief: Brief) -> str:
    """What this experiment starts from and is to be: operation, kind of change, how far a plateau has changed the question."""
    operation = _OPERATIONS.get(brief.operation, f"Operation: {brief.operation}. {_OPERATIONS['improve']}")
    words = [f"{start(brief)} {operation}"]
    if brief.escalation:
        words.append(escalated(brief.escalation))
    if brief.mutation:
        told = directions(task).get(brief.mutation, "")
        mended = to_repair(brief.view, brief.n) if brief.mutation == REPAIR else None
        which = f" What is to be mended is experiment {mended.n}, below." if mended is not None else ""
        words.append(
            f"Kind of change: **{brief.mutation}**. {told}{which} Take another kind only if this one makes no sense here."
        )
    return "\n\n".join(words)


def escalated(escalation: str) -> str:
    """How far a plateau has changed the question, in words."""
    return _ESCALATIONS.get(escalation, f"Escalation: {escalation}.")


def start(brief: Brief) -> str:
    """What is started from, and what has to be beaten."""
    parent, best, base = brief.parent, brief.view.incumbent, brief.view.baseline
    gained = f", {show_change(best.value, base.value)} against the baseline's {show_number(base.value)}" if best.n else ""
    standing = f"{brief.metric} {show_number(best.value)}{gained}"
    name = f"experiment {best.n}" if best.n else "the baseline"
    if parent.n == best.n:
        return f"You start from {name}, the incumbent: {standing}."
    own = f"{brief.metric} {show_number(parent.value)}"
    begun = f"experiment {parent.n}" if parent.n else "the baseline"
    return f"You start from {begun} ({own}). The incumbent, which has to be beaten, is {name}: {standing}."


def _limits(brief: Brief) -> Iterator[str]:
    own, told = [show_seconds(brief.timeout_s)] if math.isfinite(brief.timeout_s) else [], brief.allowance
    own += [f"{told.turns} turns"] if math.isfinite(told.cost_usd) or math.isfinite(told.tokens) else []
    own += [f"{told.tokens:.0f} tokens"] if math.isfinite(told.tokens) else []
    own += [f"{told.cost_usd:.2f} USD"] if math.isfinite(told.cost_usd) else []
    if own:
        yield f"You have {', '.join(own)}; what is not there by then is lost."


_LADDER = ("quick", "checks", "all")


def _may_run(task: Task, table: Table) -> Iterator[str]:
    if table.kind == "llm" and table.edits == "blocks":
        return  # it cannot run anything, and is told so with the form of its edits
    if table.may_run == "none":
        yield "Do not run the evaluation or the checks yourself: what you could measure here decides nothing."
        return
    way = "the tool `try_out` with `{}`" if table.kind == "llm" else "`autoresearch probe {}`"
    yield from tryable(task, _LADDER[: _LADDER.index(table.may_run) + 1], way)


def tryable(task: Task, allowed: Sequence[str], way: str) -> Iterator[str]:
    """The rule on what may be tried out, where the task has any of it.

    Args:
        allowed: of `quick`, `checks`, `all`; `way` how one of them is asked for, with `{}` for its name.
    """
    what = {
        "quick": f"a quick test, `{task.evaluate.quick}`" if task.evaluate.quick else "",
        "checks": f"the checks, {', '.join(f'`{c.command}`' for c in task.check)}" if task.check else "",
        "all": f"the whole evaluation, `{task.evaluate.command}`",
    }
    commands = [f"{way.format(name)} ({what[name]})" for name in allowed if what[name]]
    if commands:
        yield (
            f"You may try out what your folder holds: {', '.join(commands)}. It runs as it would be measured; what it prints "
            f"is {MARK}, and no measurement."
        )


def answer(brief: Brief) -> str:
    """How the reply has to end."""
    example = example_of(brief)
    return f"""End with these three lines, and nothing after them:

description: what you changed, in one line
hypothesis: why that should be better, in one line
expect: {example}

{expecting("`expect`", brief)}"""


def example_of(brief: Brief) -> str:
    """An effect that one might expect."""
    return "-1 %" if brief.direction == "minimize" else "+1 %"


def expecting(name: str, brief: Brief) -> str:
    """What the expected effect means, which is given under that name."""
    return (
        f"{name} is by how much you expect {brief.metric} to change, relative to the incumbent and with its sign; "
        f"`{example_of(brief)}` is an example."
    )
