"""What a run's ledger holds besides experiments: the machine, the bar as measured again, the owner's ideas and orders.

Folded from few events (notes, roll-backs, starts and stops of sessions), in the order in which they were recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from autoresearch.records import ChainedEvent, Machine, Method, Trust

BROKEN = ("breaker", "broken")
PAIRS = 6  # of a final comparison, where neither the run nor anybody says another number


NOTED = "noted by "
"""How an idea begins that an agent left by its tool: it is no word of the owner's."""


@dataclass(frozen=True, slots=True)
class Idea:
    """A line of the owner's to proposers, in their prompts until it is done."""

    number: int
    text: str
    done: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """A final comparison that was begun: of which experiment, in how many pairs.

    Attributes:
        first: where its measurements begin in the baseline's record.
    """

    of: int
    pairs: int
    first: int


@dataclass(frozen=True, slots=True)
class Refresh:
    """The incumbent, measured again before the run went on.

    Attributes:
        after: the newest decided experiment then; `of` what was measured, in so many evaluations.
        anew: on another machine, or with the baseline: what was measured before does not compare.
    """

    after: int
    of: int
    count: int
    anew: bool


@dataclass(frozen=True, slots=True)
class Wall:
    """What the owner answered for the whole run, where his task file names no wall of money or tokens."""

    cost_usd: float | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """A proposer's model cannot be had now.

    Attributes:
        until: when it is asked again, in seconds since 1970; `since` when it could not be had first, `tries` how often since.
        told: until when was told by whoever refused it.
        words: as `rate limit of claude (resets 03:10)`.
    """

    until: float
    since: float
    tries: int
    told: bool
    words: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A change that another process asked to be tried.

    Attributes:
        job: the request's number; `experiment` the one that it became, None until it is its turn.
        parent: the kept experiment that it is a change of; `content` the change, as a file of the ledger.
        by: who offered it, as `claude`.
    """

    job: int
    content: str
    parent: int = 0
    description: str = ""
    hypothesis: str = ""
    expected: float | None = None
    by: str = "try"
    experiment: int | None = None


@dataclass(slots=True)
class Agenda:
    """What is to be done and to be known when a run goes on.

    Attributes:
        machine: of the last session that recorded one; `versions` hashes by input, `load` per core at its start.
        detached: whether that session works in the background.
        due: why the incumbent has to be measured again before anything is compared with it.
        bars: the value of an experiment as measured again later.
        remeasuring: baseline and incumbent are being measured again.
        stopped_at: when the last session ended, 0.0 while one works or after a kill.
        streak_from: failures up to this experiment were answered for by a person.
        wanted: experiments whose candidates are to be tried again, in order; `rejected` keeps to be taken out.
        approved: held experiments that a person lets be kept if they win again; `dismissed` those that he does not want.
        comparison: the final comparison that was begun and not finished; `failed` says why it came to nothing.
        imported: the run came out of a bundle.
        trust: how far the ruler was out of reach in the last session.
        method: how the run decides; `drifts` tells that it was said that the machine does.
        refreshes: when the incumbent was measured again before going on.
        wall: of money or tokens, as the owner answered; the task file's own goes before it.
        waits: proposers of the mix, and their fallbacks, whose models cannot be had; `unfit` the fallbacks that have nothing to
            propose until then.
        queries: how many candidates the gate answers for, 0 where there is none; `held_out` tells that there is such a set.
        texts: hashes of the owner's words to proposers, as they hold: instructions, the brief's keys, its template.
        offers: changes that other processes asked to be tried, by their requests' numbers, in the order in which they came.
    """

    machine: Machine | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    load: float = 0.0
    detached: bool = False
    due: tuple[str, ...] = ()
    bars: dict[int, float] = field(default_factory=dict)
    remeasuring: bool = False
    stopped_at: float = 0.0
    streak_from: int = 0
    ideas: list[Idea] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)
    rejected: list[int] = field(default_factory=list)
    approved: set[int] = field(default_factory=set)
    dismissed: set[int] = field(default_factory=set)
    comparison: Comparison | None = None
    failed: str = ""
    imported: bool = False
    trust: Trust | None = None
    method: Method | None = None
    drifts: bool = False
    refreshes: list[Refresh] = field(default_factory=list)
    wall: Wall = field(default_factory=Wall)
    waits: dict[str, Wait] = field(default_factory=dict)
    unfit: set[str] = field(default_factory=set)
    queries: int = 0
    held_out: bool = False
    texts: Mapping[str, str] = field(default_factory=dict)
    offers: dict[int, Offer] = field(default_factory=dict)

    def take(self, event: ChainedEvent) -> None:
        """Fold one committed event."""
        body = event.body
        if event.kind == "run_started":
            self.stopped_at = 0.0
            self.waits = {name: replace(wait, since=event.at, tries=0) for name, wait in self.waits.items()}
            self.unfit.clear()
        elif event.kind == "run_stopped":
            self.stopped_at = event.at
            if body.get("reason") in BROKEN:
                self.streak_from = body.get("decided", 0)
            if body.get("validated"):
                self.comparison = None
        elif event.kind == "rolled_back":
            self.wanted += body.get("again", ())
            if body.get("rejected") in self.rejected:
                self.rejected.remove(body["rejected"])
        elif event.kind == "note":
            self._take_note(body)

    def _take_note(self, body: Mapping[str, Any]) -> None:
        if (take := _NOTES.get(body.get("what", ""))) is not None:
            take(self, body)

    def revived(self, origin: int) -> None:
        """An experiment with that candidate was proposed."""
        if origin in self.wanted:
            self.wanted.remove(origin)

    def taken(self, job: int, n: int) -> None:
        """Experiment n is what a request asked for."""
        if job in self.offers:
            self.offers[job] = replace(self.offers[job], experiment=n)

    @property
    def offered(self) -> list[Offer]:
        """Offers whose turn has not come yet, in order."""
        return [offer for offer in self.offers.values() if offer.experiment is None]

    def open_ideas(self) -> Iterable[Idea]:
        return (idea for idea in self.ideas if not idea.done)


def _machine(agenda: Agenda, body: Mapping[str, Any]) -> None:
    agenda.machine = Machine(body["id"], body["facts"])
    agenda.versions, agenda.load = body.get("versions", {}), body.get("load", 0.0)
    agenda.detached, agenda.due = body.get("detached", False), tuple(body.get("due", ()))


def _remeasure(agenda: Agenda, _: Mapping[str, Any]) -> None:
    agenda.remeasuring = True


def _fresh(agenda: Agenda, _: Mapping[str, Any]) -> None:
    agenda.due = ()


def _refreshed(agenda: Agenda, body: Mapping[str, Any]) -> None:
    agenda.bars[body["experiment"]] = body["value"]
    agenda.due, agenda.remeasuring = (), False
    again = Refresh(body.get("after", 0), body["experiment"], body.get("count", 0), body.get("anew", False))
    agenda.refreshes.append(again)


def _drift(agenda: Agenda, _: Mapping[str, Any]) -> None:
    agenda.drifts = True


def _idea(agenda: Agenda, body: Mapping[str, Any]) -> None:
    agenda.ideas.append(Idea(len(agenda.ideas) + 1, body["text"]))


def _idea_done(agenda: Agenda, body: Mapping[str, Any]) -> None:
    k = body["idea"] - 1
    agenda.ideas[k] = replace(agenda.ideas[k], done=True)


def _revive(agenda: Agenda, body: Mapping[str, Any]) -> None:
    agenda.wanted.append(body["experiment"])


def _reject(agenda: Agenda, body: Mapping[str, Any]) -> None:
    agenda.rejected.append(body["experiment"])


def _not_rejected(agenda: Agenda, body: Mapping[str, Any]) -> None:
    agenda.rejected.remove(body["experiment"])


def _approve(agenda: Agenda, body: Mapping[str, Any]) -> None:
    agenda.approved.update(body["experiments"])
    agenda.wanted += body["again"]


def _dismiss(agenda: Agenda, body: Mapping[str, Any]) -> None:
    agenda.dismissed.add(body["experiment"])


def _validate(agenda: Agenda, body: Mapping[str, Any]) -> None:
    agenda.comparison, agenda.failed = Comparison(body["of"], body["pairs"], body["first"]), ""


def _not_validated(agenda: Agenda, body: Mapping[str, Any]) -> None:
    agenda.failed = body["words"]


def _sets(agenda: Agenda, body: Mapping[str, Any]) -> None:
    agenda.queries, agenda.held_out = body["queries"], body["held_out"]


def _trust(agenda: Agenda, body: Mapping[str, Any]) -> None:
    agenda.trust = Trust(**_without(body, "what"))


def _method(agenda: Agenda, body: Mapping[str, Any]) -> None:
    agenda.method = Method(**_without(body, "what"))


def _texts(agenda: Agenda, body: Mapping[str, Any]) -> None:
    agenda.texts = _without(body, "what", "task")


def _wall(agenda: Agenda, body: Mapping[str, Any]) -> None:
    agenda.wall = Wall(body.get("cost_usd"), body.get("tokens"))


def _waiting(agenda: Agenda, body: Mapping[str, Any]) -> None:
    until = Wait(body["until"], body["since"], body["tries"], body.get("told", False), body["words"])
    agenda.waits[body["proposer"]] = until


def _back(agenda: Agenda, body: Mapping[str, Any]) -> None:
    agenda.waits.pop(body["proposer"], None)
    agenda.unfit.clear()


def _unfit(agenda: Agenda, body: Mapping[str, Any]) -> None:
    agenda.unfit.add(body["proposer"])


def _offered(agenda: Agenda, body: Mapping[str, Any]) -> None:
    offer = Offer(**_without(body, "what"))
    agenda.offers[offer.job] = offer


def _withdrawn(agenda: Agenda, body: Mapping[str, Any]) -> None:
    agenda.offers.pop(body["job"], None)


def _imported(agenda: Agenda, _: Mapping[str, Any]) -> None:
    agenda.imported = True


def _without(body: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in keys}


_NOTES: Mapping[str, Callable[[Agenda, Mapping[str, Any]], None]] = {
    "machine": _machine,
    "remeasure": _remeasure,
    "fresh": _fresh,
    "refreshed": _refreshed,
    "drift": _drift,
    "idea": _idea,
    "idea_done": _idea_done,
    "revive": _revive,
    "reject": _reject,
    "not_rejected": _not_rejected,
    "approve": _approve,
    "dismiss": _dismiss,
    "validate": _validate,
    "not_validated": _not_validated,
    "sets": _sets,
    "trust": _trust,
    "method": _method,
    "texts": _texts,
    "wall": _wall,
    "waiting": _waiting,
    "back": _back,
    "unfit": _unfit,
    "offered": _offered,
    "withdrawn": _withdrawn,
    "imported": _imported,
}
