"""What stands in a brief besides the experiments: ideas, lessons, the project's guidance, the parent's log and what it left."""

from __future__ import annotations

from collections.abc import Sequence

from autoresearch.agenda import NOTED
from autoresearch.brief.parts import Item, Part
from autoresearch.brief.sources import Exhibit, Sources
from autoresearch.fenced import clean, closed, fence, head, line, tail
from autoresearch.history import View
from autoresearch.records import Experiment
from autoresearch.text import show_bytes

LOG_LINES = (40, 20, 8)
TEXT_LINES = (40, 15)
GUIDANCE_LINES, GUIDANCE_WIDTH = 150, 1000
MOST_LISTED = 30
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg")
PLACE = "parent"
"""Where copies of what the parent left lie, below the folder for temporary files of whoever proposes."""

_MEASURED = ("baseline", "first", "race")


def ideas(view: View) -> Part:
    """Ideas that are not done, the oldest first: the owner's as they are, what agents noted by their tool as data."""
    return Part("ideas", 0.12, [Item((_idea(line(idea.text, 1000)),), place=idea.number) for idea in view.ideas], listed=False)


def _idea(text: str) -> str:
    if not text.startswith(NOTED):
        return f"- {text}"
    return f"- not the owner's, but of another who works on this run:\n{fence(text)}"


def lessons(found: Sequence[str]) -> Part:
    """Sentences with evidence; names of settings and files in them come from candidates."""
    return Part("lessons", 0.1, [Item((f"- {line(text, 300)}",), place=i) for i, text in enumerate(found)])


def guidance(sources: Sources) -> Part:
    """What the project tells every agent; the owner's words, each file cut at a limit."""
    items = []
    for i, (path, text) in enumerate(sources.guidance()):
        cut = closed(head(clean(text).strip(), GUIDANCE_LINES, GUIDANCE_WIDTH))
        items += [Item((f"### {line(path)}\n\n{cut}",), place=i)] if cut else []
    return Part("guidance", 0.15, items, listed=False)


def log(parent: Experiment, sources: Sources) -> Part:
    """The end of the parent's own evaluation, as long as there is room for."""
    names = [m.log for m in parent.measurements if m.of == parent.n and m.phase in _MEASURED and m.ok and m.log]
    text = clean(sources.log(names[-1])).rstrip() if names else ""
    forms = dict.fromkeys(fence(tail(text, lines)) for lines in LOG_LINES) if text.strip() else ()
    return Part("log", 0.1, [Item(tuple(forms))] if forms else [], listed=False)


def exhibits(parent: Experiment, sources: Sources, *, copied: bool = True) -> Part:
    """What the parent's evaluations left: profiles and curves with their texts, the others by name.

    Args:
        copied: whoever proposes has copies of them.
    """
    found = sources.exhibits(parent)
    if not found:
        return Part("exhibits", 0.1, [], listed=False)
    rows = [f"- {line(x.path)}, {show_bytes(x.size)}" for x in found[:MOST_LISTED]]
    more = [f"({len(found) - MOST_LISTED} more)"] if len(found) > MOST_LISTED else []
    texts = [Item(tuple(_shown(x)), place=1 + i) for i, x in enumerate(found) if x.text.strip()]
    seen = "; look at the pictures, if you can see" if any(x.path.lower().endswith(PICTURES) for x in found) else ""
    where = f"Copies lie in `$TMPDIR/{PLACE}/`{seen}.\n" if copied else ""
    listing = Item((where + fence("\n".join([*rows, *more])),), place=0)
    return Part("exhibits", 0.12, [listing, *texts], listed=False)


def _shown(x: Exhibit) -> Sequence[str]:
    text = clean(x.text).rstrip()
    forms = [fence(f"{line(x.path)}:\n{head(text, lines)}") for lines in TEXT_LINES]
    return list(dict.fromkeys(forms))
