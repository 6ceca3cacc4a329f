"""What the experiments to come will cost, by what proposals of the same kind and model have cost before, else at a guess.

Reads records only. Failed attempts count as what they cost; what trying out a log-in costs is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from autoresearch.history import History
from autoresearch.records import Experiment
from autoresearch.text import counted, show_usd

NEWEST = 50  # proposals that tell what the next one costs: briefs and habits change


@dataclass(frozen=True, slots=True)
class Asked:
    """A proposer that somebody pays for.

    Attributes:
        name: as the ledger has it; `model` as the task names it, `` for the program's own default.
        share: of the experiments, 0 to 1.
        usual: what a proposal costs at a guess: USD (None without a price), tokens.
    """

    name: str
    model: str
    share: float
    usual: tuple[float | None, int]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What further experiments will cost, their evaluations included where those cost anything.

    Attributes:
        experiments: how many there may be; None where nothing tells, and the costs are those of one.
        cost_usd: None where a model has no price.
        proposals: on how many it rests; 0 where any part of it is a guess.
    """

    experiments: int | None
    cost_usd: float | None
    tokens: int
    proposals: int

    @property
    def words(self) -> str:
        """`about 3.10 USD for 100 experiments`."""
        return self.in_tokens if self.cost_usd is None else self._of(show_usd(self.cost_usd))

    @property
    def in_tokens(self) -> str:
        """`about 1,390,000 tokens for 100 experiments`."""
        return self._of(f"{int(float(f'{self.tokens:.3g}')):,} tokens")

    def _of(self, much: str) -> str:
        many = "an experiment" if self.experiments is None else f"for {counted(self.experiments, 'experiment')}"
        return f"{'about' if self.proposals else 'at a guess'} {much} {many}"

    @property
    def line(self) -> str:
        """With what it rests on."""
        by = f", by the last {counted(self.proposals, 'proposal')}" if self.proposals else ", before there is any to go by"
        return f"forecast: {self.words}{by}"


def forecast(histories: Sequence[History], everyone: Sequence[Asked], experiments: int | None) -> Forecast:
    """What so many experiments will cost.

    Args:
        histories: of this project's runs, the newest first, the one that goes on before all.
        experiments: None for the cost of one.
    """
    usd: float | None = 0.0
    tokens, known = 0.0, []
    for one in everyone:
        cost_usd, used, count = _each(one, _proposals(histories))
        usd = None if usd is None or cost_usd is None else usd + one.share * cost_usd
        tokens += one.share * used
        known.append(count)
    usd = None if usd is None else usd + _evaluations_usd(histories)
    times = 1 if experiments is None else experiments
    rests_on = sum(known) if all(known) else 0
    return Forecast(experiments, None if usd is None else usd * times, round(tokens * times), rests_on)


def _proposals(histories: Iterable[History]) -> Iterable[Experiment]:
    """All that were made, the newest first; what was tried again was proposed before."""
    for history in histories:
        for e in reversed(history.experiments[1:]):
            if e.stage != "asked" and e.origin is None and e.job is None:
                yield e


def _each(one: Asked, proposals: Iterable[Experiment]) -> tuple[float | None, float, int]:
    """The mean cost of a proposal in USD and tokens, and of how many; at a guess of none."""
    same = (e for e in proposals if e.proposer == one.name and _is_model(e.model, one.model))
    found = list(islice(same, NEWEST))
    if not found:
        return *one.usual, 0
    usd = sum(e.cost_usd for e in found) / len(found)
    return (usd if one.usual[0] is not None or usd else None), sum(e.tokens for e in found) / len(found), len(found)


def _is_model(used: str, named: str) -> bool:
    """Whether a model is the one that the task names, perhaps by a shorter name."""
    return not used or not named or named.rpartition("/")[2].lower() in used.lower()


def _evaluations_usd(histories: Sequence[History]) -> float:
    """What measuring an experiment has cost in the mean, in the newest run that tells."""
    for history in histories:
        decided = [e for e in history.experiments[1:] if e.decided]
        if decided:
            return sum(m.cost_usd for e in decided for m in e.measurements) / len(decided)
    return 0.0


def further(
    histories: Sequence[History],
    *,
    experiments: int | None = None,
    session: int | None = None,
    time_s: float = math.inf,
    worked_s: float | None = None,
) -> int | None:
    """How many experiments walls leave room for; None where no wall tells.

    Args:
        histories: as for a forecast; the first is the run that goes on, if there is any.
        experiments, session: of the whole run, and of this session.
        time_s: what is left of it; `worked_s` how long the run has worked, where its record does not have it yet.
    """
    history = histories[0] if histories else History()
    done = max(0, len(history.experiments) - 1 - len(history.lost))
    limits = [] if experiments is None else [max(0, experiments - done)]
    limits += [] if session is None else [session]
    each_s = _duration_s(histories, worked_s)
    if each_s is not None and math.isfinite(time_s):
        limits.append(int(max(0.0, time_s) / each_s))
    return min(limits, default=None)


def _duration_s(histories: Sequence[History], worked_s: float | None) -> float | None:
    """How long an experiment takes in the mean, in the newest run that tells."""
    for i, history in enumerate(histories):
        decided = sum(e.decided for e in history.experiments[1:])
        took_s = worked_s if i == 0 and worked_s is not None else history.run.worked_s if history.run is not None else 0.0
        if decided and took_s > 0:
            return took_s / decided
    return None


def suggested(amount: float) -> float:
    """The next round number, for a wall that leaves a forecast some room: 1, 2 or 5 and zeros."""
    if amount <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(amount))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= amount * 1.2)
