"""The prompt: what a proposer that reads is told. The same ledger, files and owner's words give the same bytes.

The owner's words and the rules are whole; everything else has a share of `[brief] tokens` and is cut item by item, the least
important first. Made of records and of what `Sources` reads; it decides nothing and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any

from autoresearch.brief import attempts, beside, standing
from autoresearch.brief.contract import bounds_in_words, contract
from autoresearch.brief.manner import Manner, sealed
from autoresearch.brief.parts import BYTES_PER_TOKEN, Choice, Count, Part, Told, tokens_of
from autoresearch.brief.sources import Exhibit, Nothing, Sources, Texts, Trees
from autoresearch.brief.template import CUT, FIXED, OWN, Template, default
from autoresearch.contracts import Brief
from autoresearch.fenced import clean, closed, fence
from autoresearch.lessons import lessons
from autoresearch.mutations import REPAIR, to_repair
from autoresearch.taskfile import Task
from autoresearch.taskfile.schema import Proposer as Table

__all__ = [
    "Exhibit",
    "Manner",
    "Nothing",
    "Renderer",
    "Sources",
    "Template",
    "Texts",
    "Told",
    "Trees",
    "bounds_in_words",
    "clean",
    "default",
    "fence",
    "sealed",
    "template_of",
    "tokens_of",
]

TRIED = ("lessons", "failures", "near", "worn", "again", "tried")
"""What a fresh look is not told."""


def template_of(texts: Texts) -> Template:
    """The template that holds now.

    Raises:
        TaskError: the task's own is none.
    """
    return Template(texts.template or default(), texts.brief.template if texts.template else OWN)


class Renderer:
    """Renders prompts for a task.

    Args:
        tables: the task's proposers by their names in the mix.
        texts: the owner's words as they are now.
        cover: covers values that nobody may see, in whatever is put in.
        manner: how whoever reads works and answers.
    """

    def __init__(
        self,
        task: Task,
        *,
        tables: Mapping[str, Table] | None = None,
        sources: Sources | None = None,
        texts: Callable[[], Texts] | None = None,
        cover: Callable[[str], str] = lambda text: text,
        manner: Callable[[Task, Brief, Table], Manner] = sealed,
    ) -> None:
        self._task, self._tables = task, tables or {"": task.proposer[0]}
        self._sources = sources or Nothing()
        self._texts = texts or (lambda: Texts(task.instructions_text, task.brief))
        self._cover, self._manner = cover, manner

    def render(self, brief: Brief) -> Told:
        """The prompt, with what it is made of.

        Raises:
            TaskError: the task's own template fails.
        """
        texts = self._texts()
        task = self._task.model_copy(update={"brief": texts.brief, "instructions_text": texts.instructions})
        template = template_of(texts)
        manner = self._manner(task, brief, self._table(brief))
        fixed = {name: self._cover(text) for name, text in _fixed(task, brief, manner).items()}
        choice = Choice(self._parts(brief, manner, template.used))
        facts = self._facts(task, brief) | {"driving": manner.driving}
        return _fitted(template, facts, fixed, choice, limit=texts.brief.tokens, cover=self._cover)

    def _facts(self, task: Task, brief: Brief) -> dict[str, Any]:
        facts = {key: getattr(brief, key) for key in ("n", "metric", "direction", "operation", "mutation", "escalation")}
        return facts | {"task": task.task.name, "parent": brief.parent.n}

    def _table(self, brief: Brief) -> Table:
        return self._tables.get(brief.proposer, next(iter(self._tables.values())))

    def _parts(self, brief: Brief, manner: Manner, used: Collection[str]) -> list[Part]:
        """The parts that the template names and that may be cut, the most important first."""
        view, sources, is_fresh = brief.view, self._sources, brief.escalation == "fresh"
        tried = attempts.Tried.of(view, brief.metric, brief.direction)
        mended = to_repair(view, brief.n) if brief.mutation == REPAIR else None
        near = cache(lambda: attempts.near(tried, sources))
        makers: dict[str, Callable[[], Part]] = {
            "ideas": lambda: beside.ideas(view),
            "standing": lambda: standing.summary(tried) if is_fresh else standing.standing(tried),
            "lessons": lambda: beside.lessons(lessons(view, brief.metric, brief.direction)),
            "failures": lambda: attempts.failures(tried, sources, near(), mended),
            "near": near,
            "worn": lambda: attempts.worn(tried),
            "guidance": lambda: beside.guidance(sources),
            "log": lambda: beside.log(brief.parent, sources),
            "exhibits": lambda: beside.exhibits(brief.parent, sources, copied=manner.copied),
            "under_way": lambda: standing.under_way(brief, manner),
            "again": lambda: attempts.again(tried, near()),
            "tried": lambda: attempts.lately(tried),
        }
        silent = (*(TRIED if is_fresh else ()), *(() if manner.measured else ("standing",)))
        wanted = [name for name in makers if name in used and name not in silent]
        return [makers[name]() for name in wanted]


def _fixed(task: Task, brief: Brief, manner: Manner) -> dict[str, str]:
    return {
        "instructions": closed(clean(task.instructions_text).strip()),
        "contract": contract(task, brief, manner),
        "question": manner.question,
        "answer": manner.answer,
        "append": closed(clean(task.brief.append).strip()),
    }


def _fitted(
    template: Template,
    facts: Mapping[str, Any],
    fixed: Mapping[str, str],
    choice: Choice,
    *,
    limit: int,
    cover: Callable[[str], str],
) -> Told:
    """Fill what the fixed parts leave free, and take items out again as long as the whole is too long."""
    nothing = dict.fromkeys(CUT, "")
    bare = template.render({**facts, **fixed, **nothing})
    choice.fill(int(limit * BYTES_PER_TOKEN) - len(bare.encode()))
    while True:
        texts = {**fixed, **nothing, **{name: cover(text) for name, text in choice.texts().items()}}
        text = template.render({**facts, **texts})
        if tokens_of(text) <= limit or not choice.drop():
            return Told(text, limit, _counts(text, texts, choice), _notices(text, template, texts, limit))


def _counts(text: str, texts: Mapping[str, str], choice: Choice) -> tuple[Count, ...]:
    """Each part's tokens; what is left is the template's own, so that they add up."""
    found = [Count(name, tokens_of(texts[name]), *choice.count(name)) for name in (*FIXED, *CUT) if texts[name] in text]
    found = [count for count in found if count.tokens or count.of]
    return (*found, Count("template", tokens_of(text) - sum(count.tokens for count in found)))


def _notices(text: str, template: Template, texts: Mapping[str, str], limit: int) -> tuple[str, ...]:
    found = []
    if (length := tokens_of(text)) > limit:
        parts = ", ".join(f"{name} {tokens_of(texts[name])}" for name in FIXED if texts[name])
        much = f"the brief has about {length} tokens, more than [brief] tokens = {limit}"
        found.append(f"{much}: what is never cut ({parts}) is given whole")
    left_out = [name for name in FIXED if texts[name] and name not in template.used]
    if left_out:
        found.append(f"the template does not use {', '.join(left_out)}: proposers are not told")
    return tuple(found)
