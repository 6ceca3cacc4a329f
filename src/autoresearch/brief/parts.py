"""A prompt's parts, and which of their items a budget of tokens has room for: whole items, the most important parts first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from autoresearch.fenced import fence

BYTES_PER_TOKEN = 3.5
"""An estimate: English prose has more, code and numbers have fewer."""

_HEADING = 90  # bytes that a part costs besides its items: a heading, a sentence, a fence


def tokens_of(text: str) -> int:
    """About how many tokens a text has, rounded up."""
    return math.ceil(len(text.encode()) / BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Item:
    """Something that is in or not.

    Attributes:
        forms: its texts, the fullest first.
        n: the experiment that it tells of: it is told of once.
        place: where it stands among those that are in; items are taken in the order of their list.
    """

    forms: tuple[str, ...]
    n: int | None = None
    place: float = 0.0


@dataclass(frozen=True, slots=True)
class Part:
    """A part that may be cut.

    Attributes:
        share: of the room for such parts, that it has before any other part takes more.
        listed: its items are lines of one fenced list; else each is a block of its own.
        lead: a line of ours before them.
    """

    name: str
    share: float
    items: Sequence[Item]
    listed: bool = True
    lead: str = ""

    def show(self, chosen: Iterable[tuple[Item, str]], left: int = 0) -> str:
        """The part with these items in these forms; `` without any. So many more that nobody is told of are left out."""
        texts = [text for _, text in sorted(chosen, key=lambda pair: pair[0].place)]
        if not texts:
            return ""
        more = [f"({left} more left out)"] if left else []
        body = fence("\n".join([*texts, *more])) if self.listed else "\n\n".join([*texts, *more])
        return f"{self.lead}\n\n{body}" if self.lead else body


@dataclass(frozen=True, slots=True)
class Count:
    """How long a part came out.

    Attributes:
        shown, of: items; 0 of 0 for a part that is never cut.
    """

    name: str
    tokens: int
    shown: int = 0
    of: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """A prompt with what it is made of.

    Attributes:
        limit: tokens that it was to have; more only where what is never cut has more by itself.
        notices: what the owner should know of it.
    """

    text: str
    limit: int
    parts: tuple[Count, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        return tokens_of(self.text)


@dataclass(slots=True)
class Choice:
    """Which items are in, and in which form, by part.

    Args:
        parts: the most important first.
    """

    parts: Sequence[Part]
    chosen: dict[str, dict[int, int]] = field(default_factory=dict)
    _told: dict[int, tuple[str, int]] = field(default_factory=dict)
    _used: int = 0

    def fill(self, room: int) -> None:
        """Take what `room` bytes can hold: each part within its share, then what is left in the order of the parts."""
        for part in self.parts:
            self._take(part, part.share * room, room)
        for part in self.parts:
            self._take(part, room, room)

    def _take(self, part: Part, most: float, room: int) -> None:
        picked = self.chosen.setdefault(part.name, {})
        used = sum(_size(part.items[i].forms[form]) for i, form in picked.items()) + (_HEADING if picked else 0)
        for i, item in enumerate(part.items):
            if item.n is not None and self._told.get(item.n, (part.name, i)) != (part.name, i):
                continue
            before = picked.get(i)
            for form in range(len(item.forms) if before is None else before):
                less = _size(item.forms[before]) if before is not None else 0
                more = _size(item.forms[form]) - less + (0 if picked else _HEADING)
                self._used += more
                if used + more <= most and self._used <= room:
                    used, picked[i] = used + more, form
                    if item.n is not None:
                        self._told[item.n] = (part.name, i)
                    break
                self._used -= more

    def drop(self) -> bool:
        """Leave one more item out: the last one of the least important part that has any; False if there is none."""
        for part in reversed(self.parts):
            if picked := self.chosen.get(part.name):
                picked.popitem()
                return True
        return False

    def texts(self) -> dict[str, str]:
        """Each part as it comes out."""
        shown = {}
        for part in self.parts:
            picked = self.chosen.get(part.name, {})
            items = [(part.items[i], part.items[i].forms[form]) for i, form in picked.items()]
            shown[part.name] = part.show(items, self._of(part) - len(items))
        return shown

    def _of(self, part: Part) -> int:
        """How many items it could have, without those that another part tells of."""
        elsewhere = {n for n, (name, _) in self._told.items() if name != part.name}
        return sum(item.n is None or item.n not in elsewhere for item in part.items)

    def count(self, name: str) -> tuple[int, int]:
        """How many of a part's items are in, of how many that are not told of elsewhere."""
        part = next((p for p in self.parts if p.name == name), None)
        return (0, 0) if part is None else (len(self.chosen.get(name, {})), self._of(part))


def _size(text: str) -> int:
    return len(text.encode()) + 2
