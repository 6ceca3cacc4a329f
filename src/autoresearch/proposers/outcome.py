"""What came of a program's run: judged by its final event, then by what changed, then by its exit code. No processes here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from autoresearch.errors import ProposerUnfit, ProposerWaits
from autoresearch.proposers.program import Transcript
from autoresearch.text import one_line

Stopped = Literal["", "proposer_turns", "proposer_tokens", "proposer_cost", "proposer_timeout"]
"""Why we ended it: which of its caps it passed."""

API_KEY_ENV = "[proposer] api_key_env"
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|milli\w*|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)\b", re.IGNORECASE)
_IN = re.compile(rf"\b(?:again|retry\w*|reset\w*|wait)\b\D{{0,20}}?((?:{_SPAN.pattern}[\s,]*(?:and\s+)?)+)", re.IGNORECASE)
_STAMP = re.compile(r"\|\s*(1[0-9]{9})\b|reset\w*\D{1,20}(1[0-9]{9})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Said:
    """How to name things in messages.

    Attributes:
        program: its name; `login` who pays; `model` as the task names it.
        caps: which limit held, by reason code, in words: `40 turns (max_turns)`.
    """

    program: str
    login: str = ""
    model: str = ""
    caps: tuple[tuple[str, str], ...] = ()

    def cap(self, reason: str) -> str:
        return dict(self.caps).get(reason, "its limit")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A change to hand on, where `failure` is None; else reason code and words."""

    failure: tuple[str, str] | None = None
    notes: tuple[str, ...] = ()


def judge(seen: Transcript, said: Said, *, stopped: Stopped = "", how: str = "", tail: str = "", changed: bool) -> Outcome:
    """What came of one run of a program.

    Args:
        how: how it ended, `` for exit code 0, else as `exit 1` or `signal 9`; `tail` the last line that it printed.
    Raises:
        ProposerWaits: its model cannot be had now.
        ProposerUnfit: a wrong key or an unknown model.
    """
    who, words = said.program, one_line(seen.words) or one_line(tail)
    _raise_hopeless(seen, said, words)
    if seen.final == "done":
        return _done(seen, who, changed=changed)
    if seen.final in ("loop", "refused"):
        return _idle(seen, who, words, changed=changed)
    if stopped:
        return Outcome((stopped, f"{who} was ended: it went over {said.cap(stopped)}"))
    if seen.final in ("turns", "cost"):
        return Outcome((f"proposer_{seen.final}", f"{who} reached {said.cap(f'proposer_{seen.final}')}"))
    if seen.final in ("error", "cut", "crash"):
        what = {"error": "its model answered with an error", "cut": "the answer broke off", "crash": "it crashed"}[seen.final]
        return Outcome((f"proposer_{seen.final}", f"{who}: {what}: {words}"))
    if (seen.turns or seen.session) and not how.startswith("signal"):
        return Outcome(("proposer_cut", f"{who} ended in the middle ({how or 'exit 0'}), with no last word: {words}"))
    return Outcome(("proposer_crash", f"{who} ended with {how or 'exit 0 and said nothing'}: {words}"))


def _raise_hopeless(seen: Transcript, said: Said, words: str) -> None:
    if seen.final in ("rate_limit", "outage"):
        what = "rate limit" if seen.final == "rate_limit" else "its model cannot be had now"
        after_s = seen.retry_after_s if seen.retry_after_s is not None else retry_after_s(words)
        raise ProposerWaits(seen.final, f"{said.program}: {what}: {words}", after_s)
    if seen.final == "key":
        raise ProposerUnfit(
            f"{said.program}: the log-in was refused: {words}; {mend_login(said.login, '[proposer] login or api_key_env')}"
        )
    if seen.final == "model":
        raise ProposerUnfit(
            f"{said.program}: there is no model {said.model or seen.model or '(its default)'} for {said.login}: {words}; name "
            "another: [proposer] model"
        )


def mend_login(pays: str, otherwise: str) -> str:
    """What to do about a log-in that was refused.

    Args:
        pays: the words of the log-in; `otherwise` the keys of the task file that choose another.
    """
    if pays.startswith("nobody"):
        return f"no key was sent, since none is set, and this server wants one: export it, or name its variable: {API_KEY_ENV}"
    return f"it is paid by {pays}: set another key there, or another {otherwise}"


def _done(seen: Transcript, who: str, *, changed: bool) -> Outcome:
    tools = ", ".join(dict.fromkeys(seen.denied))
    if changed:
        return Outcome(notes=(f"{who} was refused: {tools}",) if tools else ())
    if tools:
        return Outcome(("proposer_refused", f"{who} changed nothing, and was refused: {tools}"))
    return Outcome()


def _idle(seen: Transcript, who: str, words: str, *, changed: bool) -> Outcome:
    what = "repeated itself" if seen.final == "loop" else "was refused what it asked for"
    tools = f" ({', '.join(dict.fromkeys(seen.denied))})" if seen.denied else ""
    if changed:
        return Outcome(notes=(one_line(f"{who} {what}{tools}: {words}"),))
    return Outcome((f"proposer_{seen.final}", f"{who} {what}{tools} and changed nothing: {words}"))


def retry_after_s(words: str, now: float | None = None) -> float | None:
    """After how many seconds words say that it can be tried again: `try again in 3 h 12 min`, a time stamp.

    Args:
        now: seconds since 1970; without it time stamps are not read.
    """
    if (stamp := _STAMP.search(words)) and now is not None:
        return max(0.0, float(stamp[1] or stamp[2]) - now)
    if (told := _IN.search(words)) is None:
        return None
    return sum(float(number) * _unit_s(unit.lower()) for number, unit in _SPAN.findall(told[1]))


def _unit_s(unit: str) -> float:
    return 0.001 if unit == "ms" or unit.startswith("milli") else _UNITS_S[unit[0]]
