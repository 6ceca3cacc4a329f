"""What one event makes of an experiment's record, or of the run's own: the steps of the one fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from sys import intern
from types import MappingProxyType
from typing import Any

from autoresearch.records import ChainedEvent, Experiment, Flag, Gain, Kind, Measurement, Outcome, RunRecord, Verdict

_MEASURED = ("arm", "index", "seed", "phase", "duration_s", "cpu_s", "peak_mb", "memory_from", "exit_code", "machine")


def measured_body(m: Measurement) -> dict[str, Any]:
    """The body of a `measured` event; floats that are not finite never get this far."""
    body: dict[str, Any] = {key: getattr(m, key) for key in _MEASURED}
    body |= {"of": m.of, "outcome": m.outcome.value, "values": dict(m.values), "log": m.log, "words": m.words}
    body |= {"touched": list(m.touched)} if m.touched else {}
    body |= {"cost_usd": m.cost_usd} if m.cost_usd else {}
    return {key: value for key, value in body.items() if value not in ("", None)}


def _measurement(body: Mapping[str, Any], attempt: int) -> Measurement:
    data = dict(body)
    data["outcome"] = Outcome(data["outcome"])
    data["values"] = {intern(name): value for name, value in data["values"].items()}
    data["touched"] = tuple(data.get("touched", ()))
    for key in ("arm", "phase", "memory_from", "machine"):  # the same few words ten thousand times
        if key in data:
            data[key] = intern(data[key])
    return Measurement(attempt=attempt, **data)


_NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})


def _moved(body: Mapping[str, Any]) -> dict[str, Any]:
    """What an experiment that was begun under another number has of it: its folder, what it has cost, who had nothing left."""
    if "began_as" not in body:
        return {}
    spent = {"cost_usd": body.get("cost_usd", 0.0), "tokens": body.get("tokens", 0)}
    exhausted = tuple((name, operation) for name, operation in body.get("exhausted", ()))
    failure = tuple(body["failure"]) if "failure" in body else None  # a trial found it
    return {"began_as": body["began_as"], "exhausted": exhausted, "failure": failure} | spent


def _asked(experiment: Experiment | None, event: ChainedEvent) -> Experiment:
    body = event.body
    assert event.n is not None
    if experiment is not None and "moved_to" in body:
        experiment = Experiment(event.n)  # what was begun under this number goes on under another one
    return replace(
        experiment or Experiment(event.n),  # it is asked again where the first had nothing left
        parents=tuple(body["parents"]),
        operation=intern(body.get("operation", "")),
        asked=intern(body.get("proposer", "")),
        mutation=intern(body.get("mutation", "")),
        escalation=intern(body.get("escalation", "")),
        **_moved(body),
    )


def _proposed(experiment: Experiment, event: ChainedEvent) -> Experiment:
    body = event.body
    failure = body.get("failure")
    return replace(
        experiment,
        stage="proposed",
        parents=tuple(body.get("parents", experiment.parents)),
        description=body["description"],
        proposer=intern(body.get("proposer", "")),
        cost_usd=max(body.get("cost_usd", 0.0), experiment.cost_usd),  # of all attempts
        tokens=max(body.get("tokens", 0), experiment.tokens),
        failure=(failure[0], failure[1]) if failure else None,
        notes=tuple(body.get("notes", ())),
        content=body.get("content", ""),
        settings=body.get("settings", _NO_SETTINGS),
        origin=body.get("origin"),
        touched=tuple(body.get("touched", ())),
        hypothesis=body.get("hypothesis", ""),
        expected=body.get("expected"),
        model=intern(body.get("model", "")),
        turns=body.get("turns", 0),
        job=body.get("job"),
    )


def _frozen(experiment: Experiment, event: ChainedEvent) -> Experiment:
    body = event.body
    return replace(
        experiment,
        stage="frozen",
        tree=body["tree"],
        commit=body["commit"],
        base=len(experiment.measurements),
        rebased=bool(body.get("rebased", False)),
        onto=body.get("onto"),
        lines=body.get("lines"),
        flags=tuple(Flag(**row) for row in body.get("flags", ())),
        files=tuple(map(intern, body.get("files", ()))),
    )


def _built(experiment: Experiment, event: ChainedEvent) -> Experiment:
    return replace(experiment, build_s=event.body["duration_s"]) if event.body["of"] == experiment.n else experiment


def _measured(experiment: Experiment, event: ChainedEvent) -> Experiment:
    return replace(experiment, measurements=(*experiment.measurements, _measurement(event.body, event.attempt)))


def _decided(experiment: Experiment, event: ChainedEvent) -> Experiment:
    body = event.body
    return replace(
        experiment,
        stage="decided",
        verdict=Verdict(Kind(body["verdict"]), body["reason"], body.get("words", ""), body.get("value")),
        value=body.get("value"),
        decided_hash=event.hash,
        decided_at=event.at,
    )


def _advanced(experiment: Experiment, event: ChainedEvent) -> Experiment:
    return replace(experiment, kept_commit=event.body["commit"])


def _noted(experiment: Experiment, event: ChainedEvent) -> Experiment:
    body = event.body
    match body.get("what"):
        case "remeasure" | "anew":
            return replace(experiment, base=len(experiment.measurements))
        case "spent":  # by attempts at its proposal that came to nothing
            cost_usd, tokens = experiment.cost_usd + body["cost_usd"], experiment.tokens + body["tokens"]
            return replace(experiment, cost_usd=cost_usd, tokens=tokens)
        case "tampered":  # by a trial, before it is proposed
            return replace(experiment, failure=("tampering", body["words"]))
        case "confirmed":
            return replace(experiment, notes=(*experiment.notes, body["words"]))
        case "exhausted":
            return replace(experiment, exhausted=(*experiment.exhausted, (body["proposer"], body["operation"])))
        case "remeasured":
            return replace(experiment, value=body["value"])
    return experiment


_STEPS: Mapping[str, Callable[[Experiment, ChainedEvent], Experiment]] = {
    "proposed": _proposed,
    "frozen": _frozen,
    "built": _built,
    "measured": _measured,
    "decided": _decided,
    "advanced": _advanced,
    "note": _noted,
}


def advance(experiment: Experiment | None, event: ChainedEvent) -> Experiment:
    """Fold one event of an experiment into its record."""
    if event.kind == "asked":
        return _asked(experiment, event)
    assert experiment is not None, f"{event.kind} of experiment {event.n} without asked"
    step = _STEPS.get(event.kind)
    return experiment if step is None else step(experiment, event)


def _started(run: RunRecord | None, event: ChainedEvent) -> RunRecord:
    body = dict(event.body)
    if run is None:
        run = RunRecord(run=event.run, started_at=event.at, **body)
    python = event.body.get("python", run.python)
    if event.body.get("errand") == "validate":  # it changes nothing in how the run stands
        return replace(run, session_at=event.at, python=python)
    return replace(run, session_at=event.at, status="open", stop_reason="", stop_words="", python=python)


def advance_run(run: RunRecord | None, event: ChainedEvent) -> RunRecord:
    """Fold one event into the run's own record."""
    if event.kind == "run_started":
        run = _killed(run)
        run = _started(run, event)
    assert run is not None, "a run begins with run_started"
    if event.kind == "run_stopped":
        body = event.body
        gain = Gain(**body["validated"]) if body.get("validated") else run.validated
        run = replace(
            run,
            status=body["status"],
            stop_reason=body["reason"],
            stop_words=body.get("words", ""),
            worked_s=run.worked_s + body.get("worked_s", event.at - run.session_at),
            session_at=0.0,
            validated=gain,
            validated_of=body.get("validated_of", run.validated_of),
        )
    return replace(run, last_at=event.at, head=event.hash)


def _killed(run: RunRecord | None) -> RunRecord | None:
    """Charge a session that ended without run_stopped with the time up to its last event."""
    if run is None or not run.session_at:
        return run
    return replace(run, worked_s=run.worked_s + max(0.0, run.last_at - run.session_at), session_at=0.0)
