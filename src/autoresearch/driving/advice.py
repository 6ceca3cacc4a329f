"""What to do after a verdict: a plain next step for each reason."""

from __future__ import annotations

from collections.abc import Sequence

from autoresearch.driving import undo
from autoresearch.driving.case import Case, outcome
from autoresearch.fenced import line
from autoresearch.records import Kind

_MOST = 6  # globs of a task's scope that are named
_MENDED = ("guard", "check", "exit", "signal", "build", "memory", "timeout", "no_measurement", "implausible", "stale")
_OUTSIDE = " is no path inside the project"


def following(case: Case) -> Sequence[str]:
    """What to do next, in a sentence or two."""
    steps = [_step(case)]
    if case.overtaken and not case.is_best_again and not case.e.kept and case.reason not in ("stale", "tampering"):
        steps.append(
            f"this is a change of experiment {case.e.parents[0]}, and experiment {case.beaten} was kept since: {_begin(case)}"
        )
    if case.where is not None and case.where.entered and case.e.tree and (case.near or case.reason in _MENDED):
        steps.append(f"autoresearch diff {case.e.n} | git apply brings the change back into this tree")
    return [text for text in steps if text]


def _step(case: Case) -> str:
    if case.e.lost:
        return (
            "the machine failed, not the change: it does not count, and a person can have it tried again (autoresearch revive)"
        )
    if case.e.kept:
        return _after_keep(case)
    step = _STEPS.get(case.reason)
    return step(case) if step is not None else _other(case)


def _after_keep(case: Case) -> str:
    e, where = case.e, case.where
    if e.rolled_back:
        return f"begin with the files of experiment {case.best}, the incumbent"
    claim = "the gain is as measured on the way; the final comparison with the baseline tells what it is worth"
    first = "on with the next idea" if case.history.exact else f"on with the next idea; {claim}"
    if case.reason == "simpler":
        first = f"kept for its fewer lines, not for a gain; {first}"
    if case.best != e.n:
        return f"experiment {case.best} was kept on top of it since: begin with its files; {first}"
    if not (e.rebased and e.onto is not None) or where is None or where.entered:
        return _put(case) + first
    return f"{_put(case)}{_others(case)} brings the others' changes into your files; then {first}"


def _put(case: Case) -> str:
    e = case.e
    return f"it was put onto experiment {e.onto}, kept meanwhile by others, and measured again there; " if e.rebased else ""


def _others(case: Case) -> str:
    """The command that gives a checkout the files of the new incumbent."""
    e = case.e
    between = [case.history.experiments[n] for n in case.history.line if n > e.parents[0]]
    paths = sorted({path for k in between for path in k.files} or set(case.where.paths if case.where else ()))
    return undo.restore(paths, case.source(e.n))


def _begin(case: Case) -> str:
    """How to begin with the files of what it had to beat."""
    where, n = case.where, case.beaten
    if where is not None and where.entered:
        return "this tree holds its files"
    paths = [path for path in where.paths if path not in where.new] if where is not None and not where.entered else []
    if not paths:
        return f"begin with the files of experiment {n}"
    return f"{undo.restore(paths, case.source(n))} gives you its files to begin with"


def _worse(case: Case) -> str:
    if case.near:
        return f"experiment {case.e.n} is a near miss: take it further or combine it with another idea, but not again unchanged"
    return _another(case)


def _screened(case: Case) -> str:
    return (
        "one run looked better by less than the noise can do, which is no gain: do not offer it again unchanged; a larger step "
        "in the same direction may show"
    )


def _tie(case: Case) -> str:
    return "a tie is no gain: do not count it and do not offer it again unchanged; take the idea further, or try another one"


def _guard(case: Case) -> str:
    gained = case.figures is not None and case.figures.direction == "better"
    first = "the metric got better and a guard broke" if gained else "a guard broke"
    return f"{first}: keep the idea only if you can mend that, else try another one"


def _check(case: Case) -> str:
    return f"every keep has to pass that check: mend what it found and offer the change again; {_look(case)}"


def _stale(case: Case) -> str:
    return (
        f"experiment {case.beaten} was kept meanwhile and changes the same lines: {_begin(case)}; make the change again there"
    )


def _gate(case: Case) -> str:
    return (
        "it did better only on the data that you see: that is no gain; do not offer it again; try what does not depend on "
        "these very data"
    )


def _held(case: Case) -> str:
    return f"it counts only once a person approves it: tell your user about experiment {case.e.n}, and go on with another idea"


def _mend(case: Case) -> str:
    return f"mend it and try again, or leave the idea; {_look(case)}"


def _look(case: Case) -> str:
    return f"autoresearch show {case.e.n} tells where the log is"


def _faster(case: Case) -> str:
    return f"make it faster and try again, or leave the idea; {_look(case)}"


def _smaller(case: Case) -> str:
    return f"make it need less memory and try again, or leave the idea; {_look(case)}"


def _silent(case: Case) -> str:
    metric = line(case.history.run.metric, 60) if case.history.run else ""
    return f"the command ended without a readable {metric}: what prints it has to go on working; {_look(case)}"


def _no_change(case: Case) -> str:
    return f"make a change first; {_editable(case)}"


def _duplicate(case: Case) -> str:
    n = case.same_as
    old = case.history.experiments[n] if n is not None else None
    holds = f"the verdict on experiment {n} holds: {outcome(old)}" if old is not None and old.verdict else "its verdict holds"
    if case.is_best_again:
        return f"{holds}; go on from these files with the next idea"
    return f"{holds}; measuring again does not change it: try another idea"


def _scope(case: Case) -> str:
    where, path = case.where, case.words.partition(" is frozen")[0]
    if path.endswith(_OUTSIDE):  # of the repository, but not of the project's folder in it
        path = path.removesuffix(_OUTSIDE).strip("'\"")
    how = ""
    if where is not None and not where.entered and path in where.paths and path not in where.new:
        how = f"{undo.restore([path], where.source)} takes that back if you did it, else ask whoever did to commit it; "
    return f"{how}offer the rest again; {_editable(case)}"


def _tampering(case: Case) -> str:
    return (
        "stop that: the number comes from the harness, and nothing in a change can set it; take the change back, tell your "
        "user, and go on only with honest ideas"
    )


def _implausible(case: Case) -> str:
    return "find out what made the number jump: a mistake in what is measured is no gain; then try again"


def _secret(case: Case) -> str:
    return "take the secret value out of the change and offer it again"


def _flaky(case: Case) -> str:
    return "the evaluation itself fails now and then, which says nothing about the change: tell your user, and try another idea"


def _other(case: Case) -> str:
    assert case.e.verdict is not None
    if case.e.verdict.kind is Kind.DISCARD:
        return _another(case)
    return _mend(case)


def _another(case: Case) -> str:
    is_back = case.where is not None and case.where.entered
    return "try another idea" if is_back else "take the change back and try another idea"


def _editable(case: Case) -> str:
    globs = case.task.task.editable
    more = f" and {len(globs) - _MOST} more" if len(globs) > _MOST else ""
    return f"only {', '.join(line(glob, 80) for glob in globs[:_MOST])}{more} may change"


_STEPS = {
    "worse": _worse,
    "screened": _screened,
    "tie": _tie,
    "guard": _guard,
    "check": _check,
    "stale": _stale,
    "gate": _gate,
    "held": _held,
    "exit": _mend,
    "signal": _mend,
    "build": _mend,
    "memory": _smaller,
    "timeout": _faster,
    "no_measurement": _silent,
    "no_change": _no_change,
    "duplicate": _duplicate,
    "scope": _scope,
    "tampering": _tampering,
    "implausible": _implausible,
    "secret": _secret,
    "flaky": _flaky,
}
