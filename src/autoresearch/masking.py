"""Values that must not be seen: what stands for them in logs, prompts, diffs and reports, and whether a change holds one."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from autoresearch.records import Blob, Edits, Proposal

_SHORTEST = 6
_NUMBER = re.compile(r"[-+]?[.\d]{1,7}")
_WORD = re.compile(r"[A-Za-z]{1,12}")
_COVER = "***"


@dataclass(frozen=True)
class Mask:
    """The values of the variables that a task passes through, by name.

    Values of fewer than six characters, short numbers, and plain words where nothing in the variable's name says that they
    are secret, are left alone: masking `1` or `production` would spoil every log. Of a URL the password counts alone too.
    """

    values: Mapping[str, str]

    @cached_property
    def secrets(self) -> tuple[tuple[str, str], ...]:
        """Texts to cover with the name of the variable each came from, the longest first."""
        found: dict[str, str] = {}
        for name, value in self.values.items():
            for text in _spellings(name, value):
                found.setdefault(text, name)
        return tuple(sorted(found.items(), key=lambda item: -len(item[0])))

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Each text with what stands for it."""
        return tuple((text, f"{_COVER}{name}{_COVER}") for text, name in self.secrets)

    def cover(self, text: str) -> str:
        """The text with every secret value replaced by `***NAME***`."""
        for secret, cover in self.pairs:
            text = text.replace(secret, cover)
        return text

    def hide(self, proposal: Proposal, draft: Any) -> Proposal:
        """A proposal without secrets: covered in its words; a change that holds one is a failure, and dropped."""
        if not self.secrets:
            return proposal
        content = proposal.content
        leak = self.leak(content, draft.read) if isinstance(content, Mapping) else ""
        failure = ("secret", leak) if leak else proposal.failure
        return replace(
            proposal,
            description=self.cover(proposal.description),
            content=None if leak else content,
            failure=(failure[0], self.cover(failure[1])) if failure else None,
            notes=tuple(map(self.cover, proposal.notes)),
            hypothesis=self.cover(proposal.hypothesis),
        )

    def leak(self, edits: Edits, read: Callable[[str], bytes]) -> str:
        """In which words a change holds a value that the file did not hold before, or ``.

        Args:
            read: the parent's file at a path; raises FileNotFoundError where it has none.
        """
        for path, blob in edits.items():
            name = self._found(path.encode("utf-8", "surrogateescape")) or (blob and self._new(path, blob, read))
            if name:
                return f"the change to {self.cover(path)} contains the value of {name}"
        return ""

    def _new(self, path: str, blob: Blob, read: Callable[[str], bytes]) -> str:
        if not self._found(blob.content):
            return ""
        try:
            before = read(path)
        except FileNotFoundError:
            before = b""
        return next((n for text, n in self.secrets if text.encode() in blob.content and text.encode() not in before), "")

    def _found(self, content: bytes) -> str:
        return next((name for text, name in self.secrets if text.encode() in content), "")


NOTHING = Mask({})


def mask_of(names: Sequence[str]) -> Mask:
    """The mask of variables as they are set now; those that are not set hide nothing."""
    return Mask({name: os.environ[name] for name in names if os.environ.get(name)})


def _spellings(name: str, value: str) -> list[str]:
    """How a value may be written: whole, by line, as in JSON and in a URL; a URL's password by itself."""
    told = re.search(r"key|token|secret|pass|pwd|credential|auth", name, re.IGNORECASE) is not None
    parts = [value, *value.splitlines()]
    try:
        url = urlsplit(value)
        password = url.password or url.username or ""  # https://token@host
    except ValueError:
        password = ""
    texts = {t.strip() for t in parts if _is_secret(t.strip(), told=told)}
    texts |= {p for p in (password, unquote(password)) if _is_secret(p, told=True)}
    return sorted(texts | {json.dumps(t)[1:-1] for t in texts} | {quote(t, safe="") for t in texts})


def _is_secret(text: str, *, told: bool) -> bool:
    if len(text) < _SHORTEST:
        return False
    return not _NUMBER.fullmatch(text) and (told or not _WORD.fullmatch(text))
