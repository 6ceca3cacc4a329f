"""How far a task's ruler is out of reach on this machine: one of five levels, why, and the one step up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from autoresearch.process.probe import Found
from autoresearch.records import TRUST_LEVELS, Event, Network, Trust
from autoresearch.taskfile import Task
from autoresearch.taskfile.scope import is_pattern


def trust_of(task: Task, found: Found) -> Trust:
    """The trust level of a task with the sandbox that was found to work."""
    is_sealed, sandboxed = task.evaluate.sealed, bool(found.kind)
    reading = "sealed" if is_sealed else "shared"
    level = f"{reading}+sandbox" if sandboxed else reading
    if level == "shared" and not found.namespaces:
        level = "none"
    reasons = [_reading(task), *_lowered(task)]
    reasons += [] if sandboxed else [_no_sandbox(found)]
    return Trust(level, "; ".join(reasons), _step(task, found, level), dict(_walls(task, found)))


def _reading(task: Task) -> str:
    if task.evaluate.sealed:
        return "the evaluator reports through a channel of its own"
    editable = task.task.editable
    who = editable[0] if len(editable) == 1 and not is_pattern(editable[0]) else "the candidate"
    return f"{who} may print its own number"


def _lowered(task: Task) -> Iterator[str]:
    evaluate = task.evaluate
    if evaluate.cache:
        yield f"candidates share {', '.join(evaluate.cache)}"
    if evaluate.network == "on":
        yield "the network is open to it"


def _no_sandbox(found: Found) -> str:
    return f"no sandbox: {found.words}" if found.words else "no sandbox"


def _step(task: Task, found: Found, level: str) -> str:
    if level == TRUST_LEVELS[0]:
        return ""
    if not found.kind:
        if task.evaluate.sandbox == "none":
            return 'take out sandbox = "none"'
        if "AUTORESEARCH_SANDBOX" in found.words:
            return "unset AUTORESEARCH_SANDBOX"
        return "install bubblewrap" if "not installed" in found.words else "a machine where bubblewrap or Landlock works"
    return "a sealed evaluator ([evaluate] sealed = true)"


def _walls(task: Task, found: Found) -> Iterator[tuple[str, str]]:
    """What holds each thing here."""
    asked = task.evaluate.resources
    yield "sandbox", found.kind or f"none: {found.words}"
    yield "network", _network(task.evaluate.network, found)
    yield "processes", f"held by {found.processes}" if found.processes else "not held"
    yield "memory", f"held by {found.memory}" if asked.memory else "the machine's"
    yield "files", "held by the kernel (RLIMIT_FSIZE)"
    yield "disk", "looked at every second"


def _network(network: Network, found: Found) -> str:
    if network == "on":
        return "open"
    if not found.network:
        return "open: nothing closes it here"
    what = "off" if network == "off" else f"only {', '.join(network)}"
    return f"{what}: {found.network}"


def note(trust: Trust) -> Event:
    """A trust level as the ledger stores it."""
    return Event("note", None, {"what": "trust", **asdict(trust)})
