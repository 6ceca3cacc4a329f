"""The prompt: what a proposer that reads is told. Deterministic, from the task and what was known at its ask."""

from __future__ import annotations

from collections.abc import Callable

from autoresearch.contracts import Brief
from autoresearch.records import Experiment
from autoresearch.report import show_number
from autoresearch.taskfile import Guard, Task

_RECENT = 20
_OPERATIONS = {
    "improve": "Improve the code below a little: one idea, as small as it can be.",
    "draft": "The last attempts all failed. Try something different and simple.",
}


def renderer(task: Task) -> Callable[[Brief], str]:
    """Make the function that renders prompts for a task."""

    def render(brief: Brief) -> str:
        parts = [_contract(task, brief), task.instructions_text.strip(), _ideas(brief), _standing(brief), _recent(brief)]
        return "\n\n".join(part for part in parts if part) + "\n"

    return render


def _contract(task: Task, brief: Brief) -> str:
    better = "lower" if brief.direction == "minimize" else "higher"
    guards = "".join(f"\n- {g.name} {bounds_in_words(g)}" for g in task.guard)
    unseen = "\n- What is kept is measured on data that you do not see, too." if task.gate or task.held_out else ""
    checks = "".join(f"\n- `{c.command}` has to succeed" for c in task.check)
    return f"""# Experiment {brief.n} of {task.task.name}

{_OPERATIONS.get(brief.operation, brief.operation)}

- Edit only: {", ".join(task.task.editable)}. A change to any other tracked file makes the experiment invalid.
- The number is {brief.metric}; {better} is better. It is measured by `{task.evaluate.command}`, by the harness, afterwards.
- A tie is no gain. Work in the current folder and leave your change there; do not commit.
- Print a one-line description of the change as the last line.{guards}{checks}{unseen}"""


def bounds_in_words(guard: Guard) -> str:
    """What a guard asks for, in words."""
    stays = [f"at or above {guard.min:g}"] if guard.min is not None else []
    stays += [f"at or below {guard.max:g}"] if guard.max is not None else []
    parts = [f"has to stay {' and '.join(stays)}"] if stays else []
    if (worse := guard.worse) is not None:
        way = "lower" if guard.direction == "maximize" else "higher"
        most = f"{100 * worse.relative:.3g} %" if worse.relative else f"{worse.absolute:g}"
        limit = f"more than {most} {way}" if worse.relative or worse.absolute else way
        parts.append(f"must not become {limit} than it was at the start")
    return ", and ".join(parts)


def _ideas(brief: Brief) -> str:
    ideas = brief.view.ideas
    return "## Ideas of the owner, to be tried first\n\n" + "\n".join(f"- {idea.text}" for idea in ideas) if ideas else ""


def _standing(brief: Brief) -> str:
    keeps = [e for e in brief.view if e.kept and not e.rolled_back and e.n]
    lines = [f"- baseline: {show_number(brief.view.baseline.value)}"]
    lines += [f"- experiment {e.n}: {show_number(e.value)}: {e.description}" for e in keeps]
    return "## What was kept, oldest first\n\n" + "\n".join(lines)


def _recent(brief: Brief) -> str:
    last = [e for e in brief.view[max(1, len(brief.view) - _RECENT) :] if not e.kept]
    if not last:
        return ""
    return "## What was tried lately and not kept\n\n" + "\n".join(map(_tried, last))


def _tried(e: Experiment) -> str:
    assert e.verdict is not None
    if e.quarantined:
        return f"- {e.n}: {e.verdict.kind.value} ({e.verdict.reason})"
    return f"- {e.n}: {e.description}: {e.verdict.kind.value} ({e.verdict.reason}; {e.verdict.words[:160]})"
