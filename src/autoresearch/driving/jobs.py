"""Requests to a run's owner, from one place: left, waited for, answered. Starts an owner where nobody is alive."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoresearch import lock, private
from autoresearch.driving import serving
from autoresearch.driving.places import Place, Snapshot, snapshot
from autoresearch.errors import AutoresearchError, SetupError
from autoresearch.history import History
from autoresearch.ledger import SqliteLedger
from autoresearch.records import LARGEST, PROBE, TRY, Request
from autoresearch.taskfile import Task, load
from autoresearch.text import counted, one_line
from autoresearch.workspace.content import pack, unpack
from autoresearch.workspace.snapshot import too_large

if TYPE_CHECKING:  # what is not needed to leave a request is imported while it is worked on
    from autoresearch.budget import Ending
    from autoresearch.driving.replies import Reply, Where

POLL_S = 0.01
_GONE_S = 0.3  # without an owner and without an answer: somebody has to take over
_TELL_S = 1.0
_BEGINS_WITHIN_S = 10.0
_BEGINNINGS = 5  # of one that is killed before it holds the run
_ATTEMPTS = 20  # to have an owner for one job, if each of them goes before it has answered

_AGENTS = (
    ("CLAUDECODE", "claude"),
    ("CODEX_THREAD_ID", "codex"),
    ("CODEX_SANDBOX", "codex"),
    ("CODEX_SANDBOX_NETWORK_DISABLED", "codex"),
    ("GEMINI_CLI", "gemini"),
    ("OPENCODE", "opencode"),
    ("PI_CODING_AGENT", "pi"),
)
"""Variables that agent programs set for the commands of their models."""


def whoever(environ: Mapping[str, str]) -> str:
    """Who asks, as far as the environment tells."""
    return next((name for variable, name in _AGENTS if environ.get(variable)), TRY)


class Jobs:
    """What is asked from one place. All methods block; call them in a thread where that matters.

    Args:
        by: who asks, as `claude`; `` lets it be found out from the environment.
        run: the run's name; None is the place's, else the newest under this ruler, else a new one.
        new: the first request starts a new run.
        say: told what goes on while it is waited for, as that the baseline is measured first.

    Attributes:
        left: the job that was asked for last, 0 before the first.
    """

    left = 0

    def __init__(
        self,
        place: Place,
        *,
        by: str = "",
        run: str | None = None,
        new: bool = False,
        say: Callable[[str], None] = lambda words: None,
    ) -> None:
        self._place, self._by, self._say = place, by or whoever(os.environ), say
        self._run, self._new = run or place.run, new
        self._project = place.project

    # -- asking -----------------------------------------------------------------------------------------------------

    def offer(self, message: str, *, expect: str = "") -> int:
        """Ask for the place's change to be tried; gives the job's number at once, also where the baseline comes first.

        Args:
            message: what and why; the first line is the description, the rest the hypothesis.
            expect: by how much the metric is expected to change, as `-1 %`.
        Raises:
            SetupError: the set-up is wrong; nothing was asked.
        """
        description, _, hypothesis = message.strip().partition("\n")
        if not description.strip():
            raise SetupError('no message: say what was changed and why, as autoresearch try -m "a smaller batch: less noise"')
        change = _expected(expect)
        body = {"description": one_line(description), "hypothesis": one_line(hypothesis, 500), "by": self._by}
        return self._leave(TRY, body | ({} if change is None else {"expected": change}))

    def probe(self, what: str = "quick") -> int:
        """Ask for the place's change to be tried out without a verdict: `quick`, `checks` or `all`."""
        return self._leave(PROBE, {"what": what})

    def ensure(self) -> str:
        """The run that is meant, with an owner that hears requests; starts both where they are not there.

        Raises:
            SetupError: it cannot be started; says why.
        """
        name = self.known()
        if name is not None and lock.owner(self._project.paths.run(name).lock):
            return name
        self._project.paths.make()
        with lock.alone(self._project.paths.starting) as fd:
            for _ in range(_BEGINNINGS):
                name = self.known()  # somebody else may have started it meanwhile
                if name is not None and lock.owner(self._project.paths.run(name).lock):
                    return name
                started = serving.start(self._project.folder, name, new=self._new, held=fd)
                if not started.killed:
                    break
        if started.words:
            raise SetupError(started.words)
        self._run, self._new = started.run or self._of_another(), False
        return self._run

    def _of_another(self) -> str:
        """The run that another process has just begun, under the name that was to be ours.

        Raises:
            SetupError: there is none.
        """
        until = time.monotonic() + _BEGINS_WITHIN_S
        while time.monotonic() < until:
            name = None if self._new else self.known()
            if name is not None and lock.owner(self._project.paths.run(name).lock):
                return name
            time.sleep(POLL_S)
        raise SetupError("another process holds a run that it does not begin: look at `autoresearch status`, and ask again")

    def known(self) -> str | None:
        """The run that is meant, None for one that is to be started.

        Raises:
            AutoresearchError: there is none of that name, or the ruler has changed since.
        """
        if self._run is not None:
            with self._open() as ledger:
                return self._project.pick(ledger, self._run).run
        if self._new or not self._project.has_ledger:
            return None
        task = self._task()
        digest, _ = private.ruler(task, self._project.folder)
        with self._open() as ledger:
            same = [r.run for r in ledger.runs() if r.ruler == digest]
            if not same and ledger.runs():
                from autoresearch.choice import Choice, Wish

                location = self._project.location(None)
                Choice(self._project, Wish(), task, ledger, location).going_on()  # an unfinished one has another ruler
        self._run = same[-1] if same else None
        return self._run

    def _leave(self, kind: str, body: Mapping[str, Any]) -> int:
        """Leave a request with what the place holds now."""
        task, name = self._task(), self.known()
        if name is None:
            name = self.ensure()
            self._say(f"run {name} (new) of {task.task.name}: the baseline is measured first")
        with self._open() as ledger:
            history = ledger.history(name)
            found = snapshot(self._place, task, history)
            body = {**body, "parent": found.parent, "content": ledger.put(_packed(found)), "where": self._where(found)}
            job = self.left = ledger.request(name, kind, body)
            if lock.owner(self._project.paths.run(name).lock) or self._over(task, history) is not None:
                return job
            try:
                self.ensure()
            except SetupError as error:
                ledger.answer(job, {"ok": False, "words": str(error)})
                raise
        return job

    def _over(self, task: Task, history: History) -> Ending | None:
        """Why a run can try nothing more, where nobody works on it: it need not be started to say so."""
        from autoresearch.budget import Ending, Spending, budget_of_run

        assert history.run is not None
        if lock.owner(self._project.paths.run(history.run.run).lock) or not history.line:
            return None
        ending = Spending(budget_of_run(task, history), history).may_try(len(history.agenda.offered))
        if ending is None and history.run.status == "finished" and history.run.stop_reason == "target":
            target, value = task.metric.target, history.incumbent.value
            sign = 1 if history.run.direction == "maximize" else -1
            if target is not None and value is not None and sign * value >= sign * target:
                ending = Ending("target", history.run.stop_words)
        return ending if ending is not None and ending.status == "finished" else None

    def _where(self, found: Snapshot) -> dict[str, Any]:
        """What a later answer has to know of the place; a name that is no text has no place in a request."""
        tree = None if self._place.tree is None else str(self._place.tree)
        paths, new = ([path.encode("utf-8", "replace").decode() for path in names] for names in (found.paths, found.new))
        body = {"folder": str(self._place.folder), "tree": tree, "paths": paths, "new": new}
        return body | {"source": found.source, "notes": found.notes, "run": self._place.run}

    # -- waiting ----------------------------------------------------------------------------------------------------

    def wait(self, job: int, max_s: float | None = None) -> Reply:
        """The answer to a job; that it is still under way after `max_s` seconds.

        Raises:
            SetupError: there is no such job.
        """
        until = None if max_s is None else time.monotonic() + max_s
        request = self._request(job)
        from autoresearch.driving import replies

        answer = self._answer(request, until)
        task = self._task()
        with self._open() as ledger:
            history = self._history(ledger, request.run)
            offer = history.agenda.offers.get(job)
            n = offer.experiment if offer is not None else None
            if n is not None and history.experiments[n].decided:
                return self._decided(ledger, history, n, task, request)
            if answer is None:
                return replies.running(history, task, job=job, probe=request.kind == PROBE)
            if request.kind == PROBE and answer.get("ok"):
                return replies.tried_out(answer, job=job)
            return replies.without_verdict(history, task, job=job, answer=answer)

    def _request(self, job: int) -> Request:
        with self._open() as ledger:
            request = ledger.request_of(job)
        if request is None or request.kind not in (TRY, PROBE):
            raise SetupError(f"there is no job {job}: expected a number that `autoresearch try --background` gave")
        return request

    def _answer(self, request: Request, until: float | None) -> Mapping[str, Any] | None:
        """Wait for the answer to a request; None when the time is over. Takes over where its owner is gone."""
        attempts = decided = 0
        here_at = told_at = time.monotonic()  # when an owner was seen last
        owner_lock = self._project.paths.run(request.run).lock
        with self._open() as ledger:  # one for reading takes a ledger at rest for one that stays so, and an owner may come
            while (answer := ledger.answered(request.id)) is None:
                now = time.monotonic()
                if until is not None and now >= until:
                    return None
                if now - told_at > _TELL_S:
                    told_at = now
                    self._tell(request)
                if lock.owner(owner_lock):
                    here_at = now
                elif now - here_at > _GONE_S:
                    made = self._made(request.run)
                    attempts, decided = attempts + 1 if made <= decided else 1, made  # who decides something is no failure
                    self._take_over(request, attempts)
                    here_at = time.monotonic()
                time.sleep(POLL_S)
        return answer

    def _made(self, run: str) -> int:
        """How many experiments are decided by now."""
        with self._open() as ledger:
            return self._history(ledger, run).decided

    def _take_over(self, request: Request, attempts: int) -> None:
        """See to it that somebody works on the run; answers the request where that cannot be."""
        task = self._task()
        with self._open() as ledger:
            if ledger.answered(request.id) is not None:
                return
            history = self._history(ledger, request.run)
            noted = request.id in history.agenda.offers
            ending = None if noted else self._over(task, history)
            if ending is not None:
                ledger.answer(request.id, {"ok": False, "words": ending.words, "over": True, "reason": ending.reason})
            elif attempts > _ATTEMPTS:
                words = f"the run's owner ended {_ATTEMPTS} times before it had answered"
                words = f"{words}: {self._last_words(request.run)}"
                ledger.answer(request.id, {"ok": False, "words": words, "stopped": noted})
            else:
                self._start_again(request, ledger, noted=noted)

    def _last_words(self, run: str) -> str:
        """What an owner in the background said last."""
        output = self._project.paths.run(run).output
        try:
            lines = output.read_bytes()[-4000:].decode("utf-8", "replace").splitlines()
        except OSError:
            return "look at `autoresearch status`"
        return one_line(next((line for line in reversed(lines) if line.strip()), ""), 300) + f" (the end of {output})"

    def _start_again(self, request: Request, ledger: SqliteLedger, *, noted: bool) -> None:
        """Start an owner. Where that fails, what an earlier one has noted stays; anything else is refused."""
        mine, self._run = self._run, request.run
        try:
            self.ensure()
        except SetupError as error:
            ledger.answer(request.id, {"ok": False, "words": str(error), "stopped": noted})
        finally:
            self._run = mine

    def _tell(self, request: Request) -> None:
        """Say what goes on, where that changed."""
        from autoresearch.driving import replies

        with self._open() as ledger:
            history, is_probe = self._history(ledger, request.run), request.kind == PROBE
            words = replies.running(history, self._task(), job=request.id, probe=is_probe).lines
        if words:
            self._say(words[0])

    def _decided(self, ledger: SqliteLedger, history: History, n: int, task: Task, request: Request) -> Reply:
        """The verdict; an entered tree follows it."""
        from autoresearch.driving import replies

        told = request.body.get("where")
        told = told if isinstance(told, Mapping) else {}
        where = _shown(told)
        reply = replies.decided(history, n, task, job=request.id, where=where)
        if not where.entered:
            return reply
        from autoresearch.driving import trees

        try:
            place = Place(self._project, Path(str(told["folder"])), request.run, Path(str(told["tree"])))
            offer = history.agenda.offers[request.id]
            words = trees.follow(place, task, history, Snapshot(offer.parent, unpack(ledger.get(offer.content))))
        except AutoresearchError as error:  # a tree that is gone, or never was one: the verdict is there all the same
            words = str(error)
        lines = (*reply.lines, words) if words else reply.lines
        return replace(reply, lines=lines, body={**reply.body, "tree": words, "message": "\n".join(lines)})

    # -- the ledger -------------------------------------------------------------------------------------------------

    def _task(self) -> Task:
        return load(self._project.folder)

    @contextmanager
    def _open(self) -> Iterator[SqliteLedger]:
        """The ledger, opened as one that writes: a reader of a file at rest sees nothing of what an owner writes later.

        Raises:
            SetupError: there is none, or none any more; none is made.
        """
        self._project.refuse_none()
        ledger = self._project.ledger()
        try:
            yield ledger
        finally:
            ledger.close()

    def _history(self, ledger: SqliteLedger, run: str) -> History:
        """What stands in the ledger of a run that was asked for something.

        Raises:
            SetupError: it does not stand there any more.
        """
        history = ledger.history(run)
        if history.run is None:
            at = self._project.paths.ledger
            raise SetupError(f"run {run} is not in {at} any more: put back the one that was moved or deleted, or ask again")
        return history


def _packed(found: Snapshot) -> bytes:
    """A change as the ledger stores it.

    Raises:
        SetupError: it is too large.
    """
    content = pack(found.edits)
    if len(content) > LARGEST:
        raise SetupError(too_large(f"the change of {counted(len(found.edits), 'file')}", len(content)))
    return content


def _shown(told: Mapping[str, Any]) -> Where:
    """What a request says of its place; it may have been left by anybody."""

    from autoresearch.driving.replies import Where

    def texts(key: str) -> tuple[str, ...]:
        found = told.get(key)
        return tuple(map(str, found)) if isinstance(found, list) else ()

    source = told.get("source")
    entered = isinstance(told.get("tree"), str) and isinstance(told.get("folder"), str)
    return Where(entered, texts("paths"), texts("new"), source if isinstance(source, str) else "", texts("notes"))


def _expected(expect: str) -> float | None:
    """What `--expect` says, as a fraction of the incumbent's value.

    Raises:
        SetupError: it says nothing of the kind.
    """
    if not expect.strip():
        return None
    from autoresearch.proposers.reply import expected

    found = expected(expect)
    if found is None:
        raise SetupError(f"--expect {expect!r}: expected a relative change of the metric with its sign, as -1 % or +0.5%")
    return found
