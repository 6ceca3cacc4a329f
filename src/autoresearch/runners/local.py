"""Evaluations as supervised child processes on this machine."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import anyio

from autoresearch import machine
from autoresearch.contracts import Place
from autoresearch.errors import DiskFault
from autoresearch.exclusive import Room
from autoresearch.masking import NOTHING, Mask
from autoresearch.process import Exit, Job, Supervisor
from autoresearch.process.confinement import OPEN, Confinement
from autoresearch.process.environment import SEALED, Openings, argv, clean, open_up, remove, renew
from autoresearch.records import Layer, Order, Outcome, Readout
from autoresearch.runners import costs, numbers, record, watch
from autoresearch.runners.inputs import Manifest
from autoresearch.shares import Ports, Share
from autoresearch.tripwires import IN_SCRATCH, Decoys, Trip

RETRY = 75  # EX_TEMPFAIL: the evaluator says that it is not the candidate's fault
_NEAR = 0.9
_CLEANUP_LIMIT_S = 120.0
_MARK = "cleanup.json"
_CHANNEL = "channel"


@dataclass(frozen=True, slots=True)
class Reading:
    """Which numbers to read and how: `names[0]` is the metric, the others are guards; `sealed`: through the channel alone."""

    names: tuple[str, ...]
    take: str = "only"
    pattern: str = ""
    file: str = ""
    path: str = ""
    unit: str = ""
    sealed: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What evaluations run in besides their tree.

    Attributes:
        name: of the run, unlike that of any other on this machine.
        env: names of variables passed through; `mask` covers their values.
        time_budget_s: told to the command; who holds it to it is the order's limit.
        cleanup: run after each command, also after one that was killed.
        home: paths in the user's HOME that the evaluations' own shows as well.
        share: the part of the machine that a slot has.
        confinement: the walls around each.
        decoys: what evaluations find besides, and are watched for.
        room: where commands of all runs meet; `exclusive` evaluations are alone in it.
    """

    name: str
    python: str
    env: tuple[str, ...] = ()
    mask: Mask = NOTHING
    seed_env: str = ""
    time_budget_s: float | None = None
    cleanup: str = ""
    openings: Openings = SEALED
    home: tuple[Path, ...] = ()
    share: Callable[[int], Share] = lambda slot: Share()
    room: Room | None = None
    exclusive: bool = False
    confinement: Confinement = OPEN
    decoys: Decoys | None = None


class LocalRunner:
    """Runs one order in one place and reads its numbers."""

    def __init__(
        self,
        supervisor: Supervisor,
        surroundings: Surroundings,
        *,
        command: str,
        reading: Reading,
        inputs: tuple[Path, ...] = (),
    ) -> None:
        self._supervisor, self._around = supervisor, surroundings
        self._command, self._reading = command, reading
        self._manifest = Manifest(inputs)
        self._ports = Ports()
        self._masked = surroundings.mask.pairs

    async def evaluate(self, place: Place, order: Order) -> Readout:
        async with self._turn(order):
            return await self._evaluate(place, order)

    def _turn(self, order: Order) -> AbstractAsyncContextManager[None]:
        """The time in which an order may run, its cleanup included; waiting for it counts for nothing."""
        around = self._around
        return around.room.hold(alone=around.exclusive and order.kind == "evaluate") if around.room else nullcontext()

    async def _evaluate(self, place: Place, order: Order) -> Readout:
        assert place.folder is not None
        assert place.scratch is not None
        io = place.scratch / "io"
        result, artifacts = io / "result.json", io / "artifacts"
        try:
            renew(io)
            renew(artifacts)
            if self._around.decoys is not None:
                self._around.decoys.plant(io / IN_SCRATCH)
            if order.folder is not None:
                order.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiskFault(f"cannot write {error.filename}: {error.strerror}") from error
        own = self._own_variables(place, order, result, artifacts)
        env = self._environment(place.scratch, place.slot, own, place.private)
        log = order.folder / f"{order.label}.log" if order.folder else None
        argv_ = argv(order.command or self._command, self._around.python)
        job = self._job(argv_, place, env, timeout_s=order.timeout_s, log=log)
        if self._is_sealed(order):
            job = replace(job, channel=io / _CHANNEL)
        if not self._around.cleanup or order.kind == "build":
            return self._report(await self._run(job, place), order, place, result, log, artifacts)
        self._mark(place, own)
        try:
            report = self._report(await self._run(job, place), order, place, result, log, artifacts)
        finally:
            with anyio.CancelScope(shield=True):
                words = await self._clean_up(place, env, order.folder)
        return replace(report, words=report.words or words)

    async def _run(self, job: Job, place: Place) -> Exit:
        """Run a job; its scratch folder is open to us afterwards, whatever the job did to it."""
        try:
            return await self._supervisor.run(job)
        finally:
            for folder in (place.scratch, place.scratch / "io") if place.scratch is not None else ():
                if folder.is_dir() and not folder.is_symlink():
                    os.chmod(folder, 0o700)

    def _own_variables(self, place: Place, order: Order, result: Path, artifacts: Path) -> dict[str, str]:
        again = f"-{order.attempt}" if order.attempt > 1 else ""
        own = {
            "AUTORESEARCH_ID": f"{self._around.name}-{order.n}-{order.label}{again}",
            "AUTORESEARCH_SLOT": str(place.slot),
            "AUTORESEARCH_PORT": str(self._ports.of(place.slot)),
            "AUTORESEARCH_ARTIFACTS": str(artifacts),
            "AUTORESEARCH_RESULT": str(result),
        }
        if self._around.time_budget_s is not None:
            own["AUTORESEARCH_TIME_BUDGET"] = f"{self._around.time_budget_s:g}"
        if self._around.decoys is not None:
            own |= self._around.decoys.variables(result.parent / IN_SCRATCH)
        if self._is_sealed(order):
            own["AUTORESEARCH_SEED"] = str(order.seed)
            own["AUTORESEARCH_CHANNEL"] = str(result.parent / _CHANNEL)
            own["AUTORESEARCH_PRIVATE"] = os.pathsep.join(map(str, place.private))
        if self._around.seed_env:
            own[self._around.seed_env] = str(order.seed)
        return own

    def _is_sealed(self, order: Order) -> bool:
        return self._reading.sealed and order.kind == "evaluate"

    def _environment(self, scratch: Path, slot: int, own: Mapping[str, str], private: Sequence[Path] = ()) -> dict[str, str]:
        around = self._around
        return {
            **clean(scratch, passed=around.env, openings=around.openings, shown=(*around.home, *private)),
            **around.share(slot).environment(),
            **own,
        }

    def _job(
        self, argv_: Sequence[str], place: Place, env: Mapping[str, str], *, timeout_s: float | None, log: Path | None
    ) -> Job:
        share = self._around.share(place.slot)
        assert place.folder is not None
        job = Job(
            argv_,
            place.folder,
            env,
            timeout_s=timeout_s,
            log=log,
            readonly=place.readonly,
            mounts=place.mounts,
            masked=self._masked,
            memory_mb=share.memory_mb,
            cpus=share.cpus,
            locked=True,
        )
        return self._shut_in(job, place)

    def _shut_in(self, job: Job, place: Place) -> Job:
        """Put the walls around a job in a place: it writes its tree and its own scratch folders, and nothing else."""
        assert place.folder is not None
        assert place.scratch is not None
        root, scratch = place.root or place.folder, place.scratch
        beside = [m.at for m in place.mounts if not m.at.is_relative_to(root)]
        return self._around.confinement.shut_in(
            job,
            writable=(root, *(scratch / name for name in ("home", "tmp", "io")), *place.writable),
            shown=(*beside, *place.private),
            hidden=place.hidden,
            sockets=scratch / "net",
        )

    # -- what lives outside the process tree ------------------------------------------------------------------------

    def _mark(self, place: Place, own: Mapping[str, str]) -> None:
        """Leave word of what has to be cleaned up, for the session after a kill."""
        assert place.scratch is not None
        body = {"folder": str(place.folder), "slot": place.slot, "variables": dict(own)}
        (place.scratch / _MARK).write_text(json.dumps(body), encoding="utf-8")

    async def _clean_up(self, place: Place, env: Mapping[str, str], folder: Path | None) -> str:
        """Run the task's cleanup; gives words if it failed."""
        assert place.scratch is not None
        try:
            _stand_again(place)
        except OSError as error:
            return f"the cleanup failed: cannot make {error.filename} again: {error.strerror}"
        log = folder / "cleanup.log" if folder else None
        argv_ = argv(self._around.cleanup, self._around.python)
        end = await self._run(self._job(argv_, place, env, timeout_s=_CLEANUP_LIMIT_S, log=log), place)
        outcome, words = classify(end, _CLEANUP_LIMIT_S)
        (place.scratch / _MARK).unlink(missing_ok=True)
        return "" if outcome is Outcome.OK else f"the cleanup failed: {self._around.mask.cover(words)}"

    async def tidy(self, cache: Path) -> list[str]:
        """Clean up after evaluations that a kill interrupted; gives in words what failed."""
        failed = []
        for mark in sorted(cache.glob(f"evaluation-*/{_MARK}")):
            try:
                body = json.loads(mark.read_text(encoding="utf-8"))
                slot = int(body["slot"])
                own = {name: str(value) for name, value in body["variables"].items() if self._is_own(name)}
                folder = mark.parent / Path(body["folder"]).relative_to(mark.parent)
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                mark.unlink(missing_ok=True)
                continue
            place = Place(folder if folder.is_dir() else mark.parent, mark.parent, slot)
            words = await self._clean_up(place, self._environment(mark.parent, slot, own), None) if self._around.cleanup else ""
            failed += [words] if words else []
            mark.unlink(missing_ok=True)
        return failed

    def _is_own(self, name: str) -> bool:
        """Whether we set a variable: the evaluation could write the word that was left of it."""
        return name.startswith("AUTORESEARCH_") or name == self._around.seed_env

    # -- reading ----------------------------------------------------------------------------------------------------

    def _report(self, end: Exit, order: Order, place: Place, result: Path, log: Path | None, artifacts: Path) -> Readout:
        outcome, words = classify(end, order.timeout_s)
        values: dict[str, float] = {}
        tampered = self._manifest.changed(guarded=bool(self._supervisor.namespaces))
        if tampered:
            outcome, words = Outcome.TAMPERING, f"the evaluation changed the input {tampered}"
        elif outcome is Outcome.OK and order.kind == "evaluate":
            try:
                values = self._read(end, place, result, alone=order.which != "evaluate")
            except numbers.NoNumber as error:
                outcome, words = Outcome.NO_MEASUREMENT, str(error)
                if isinstance(error, numbers.NotThere) and self._is_in(end.tail):
                    words = f"no number named {error.name} on standard output: {numbers.ON_STANDARD_ERROR}"
                if end.stdout_bytes > len(end.stdout.encode("utf-8", "replace")) and not self._reading.sealed:
                    words += f" (only the last {len(end.stdout)} characters of {end.stdout_bytes} bytes were looked at)"
        cost_usd, note = self._cost(end, order, values, result)
        trip = self._trip(end, values, place, result, log)
        if trip.words:
            outcome, values, words = Outcome.TAMPERING, {}, f"the evaluation {trip.words}"
        if order.folder is not None:
            _keep_artifacts(artifacts, order.folder, order.label, apart=outcome is Outcome.TAMPERING)
        name = f"{order.folder.name}/{log.name}" if log is not None and order.folder is not None else ""
        return Readout(
            outcome,
            values,
            duration_s=end.duration_s,
            cpu_s=end.cpu_s,
            peak_mb=end.peak_mb,
            memory_from=end.memory_from,
            exit_code=end.exit if end.exit is not None else -(end.signal or 0),
            machine=machine.fingerprint().id,
            log=name,
            words=self._around.mask.cover(words or note),
            limit_by=end.limit_by,
            touched=trip.touched,
            output=self._around.mask.cover(end.tail) if order.trial else "",
            cost_usd=cost_usd,
        )

    def _cost(self, end: Exit, order: Order, values: Mapping[str, float], result: Path) -> tuple[float, str]:
        """What an evaluation reports to have cost, however it ended, and a note on it."""
        if order.kind != "evaluate":
            return 0.0, ""
        found = costs.read(end.stdout, result=result, reported=end.reported, sealed=self._reading.sealed)
        return found if any(found) else (costs.of(values), "")

    def _trip(self, end: Exit, values: Mapping[str, float], place: Place, result: Path, log: Path | None) -> Trip:
        """What the evaluation did with the decoys."""
        if self._around.decoys is None:
            return Trip()
        reading = self._reading
        left = [result, *([place.find(reading.file)] if reading.file else [])]
        heard = (end.stdout, end.tail, end.reported or "")
        return watch.trip(self._around.decoys, result.parent / IN_SCRATCH, heard, log, left, values)

    def _is_in(self, text: str) -> bool:
        """Whether the metric could be read from a text, as from standard output."""
        reading = self._reading
        try:
            return bool(numbers.read(text, reading.names[:1], take="last", pattern=reading.pattern, unit=reading.unit))
        except numbers.NoNumber:
            return False

    def _read(self, end: Exit, place: Place, result: Path, *, alone: bool = False) -> dict[str, float]:
        """The numbers of an evaluation; the metric `alone` on a set that has nothing to do with the guards."""
        outside = {"wall_s": end.duration_s, "cpu_s": end.cpu_s, "peak_mb": end.peak_mb}
        reading = replace(self._reading, names=self._reading.names[:1]) if alone else self._reading
        first = reading.names[0]
        inside = [n for n in reading.names if n not in outside]
        found: dict[str, float] = {}
        if reading.sealed:
            found = record.read(end.reported, reading.names, needed=inside)
        elif inside:
            assert place.folder is not None
            found = numbers.read(
                end.stdout,
                inside,
                result=result,
                take=reading.take,
                pattern=reading.pattern,
                json_file=place.find(reading.file) if reading.file else None,
                json_path=reading.path,
                lead=first == inside[0],
                unit=reading.unit,
            )
        for name in reading.names:
            if name in outside and name not in found and outside[name] is not None:
                found[name] = float(outside[name] or 0.0)
        if first not in found:
            raise numbers.NoNumber(f"{first} could not be measured from outside on this machine")
        return found


def _stand_again(place: Place) -> None:
    """Make the folders that a job starts with once more, whatever the last one did to them.

    Raises:
        OSError: a file of its own is in the way.
    """
    assert place.folder is not None
    assert place.scratch is not None
    for mount in place.mounts:
        if isinstance(mount, Layer):  # a work folder cannot be used twice
            remove(mount.work)
            mount.work.mkdir(parents=True)
            mount.upper.mkdir(parents=True, exist_ok=True)
    for folder in (place.folder, place.scratch / "home", place.scratch / "tmp"):
        folder.mkdir(parents=True, exist_ok=True)


def _keep_artifacts(found: Path, folder: Path, label: str, *, apart: bool) -> None:
    """Move what an evaluation left to the experiment's folder; `apart` into quarantine there, with what was left before.

    Raises:
        DiskFault: no space there.
    """
    quarantine = folder / "quarantine"
    if apart and (folder / "artifacts").is_dir():
        remove(quarantine)
        os.rename(folder / "artifacts", quarantine)
    kept = (quarantine if apart else folder / "artifacts") / label
    if found.is_symlink() or not found.is_dir():
        return
    try:
        open_up(found)
        if not os.listdir(found):
            return
        remove(kept)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(found, kept, copy_function=_copy_plain)
    except (OSError, shutil.Error) as error:
        raise DiskFault(f"cannot keep the artifacts in {kept}: {error}") from error


def _copy_plain(source: str, target: str) -> str:
    """Copy a file to another file system; a pipe, a socket or a file that nobody may read stays behind."""
    if os.path.isfile(source) and os.access(source, os.R_OK):
        shutil.copy2(source, target)
    return target


def _last_words(tail: str) -> str:
    """The last line that was printed; node and Rust say more after the error itself."""
    said = [line.strip() for line in tail.splitlines() if line.strip()]
    if said and said[-1].startswith("note: run with `RUST_BACKTRACE"):
        said.pop()
    if said and re.match(r"Node\.js v\d", said[-1]):
        return next((line for line in reversed(said) if re.match(r"(?:Uncaught )?\w*Error\b", line)), said[-1])
    return said[-1] if said else ""


def classify(end: Exit, limit_s: float | None) -> tuple[Outcome, str]:
    """How an evaluation ended, in one line for the record."""
    limit = f" (limit {limit_s:.0f} s)" if limit_s else ""
    last = _last_words(end.tail)
    last = f"; last line: {last[:200]}" if last else ""
    if end.timed_out:
        return Outcome.TIMEOUT, f"still running after {end.duration_s:.1f} s{limit}{last}"
    if _killed_for_memory(end):
        held = f" (limit {end.limit_mb:.0f} MB, {end.limit_by})" if end.limit_by and end.limit_mb else ""
        return Outcome.MEMORY, f"killed for memory at {end.peak_mb or 0:.0f} MB{held} after {end.duration_s:.1f} s{last}"
    if end.over_disk:
        return Outcome.SIGNAL, f"ended for what it wrote after {end.duration_s:.1f} s: {end.over_disk}"
    if end.signal is not None:
        name = signal.Signals(end.signal).name if end.signal in set(signal.Signals) else str(end.signal)
        return Outcome.SIGNAL, f"ended by {name} after {end.duration_s:.1f} s{limit}{last}"
    if end.error:
        return Outcome.EXIT, f"could not be started: {end.error}{last}"
    if end.exit == RETRY:
        return Outcome.OUTAGE, f"the evaluator asked to be tried again (exit {RETRY}){last}"
    if end.exit:
        return Outcome.EXIT, f"exited with {end.exit} after {end.duration_s:.1f} s{limit}{last}"
    return Outcome.OK, ""


def _killed_for_memory(end: Exit) -> bool:
    """The kernel struck inside and the command failed of it, or a SIGKILL that is not ours came with memory near a limit."""
    if end.oom:
        return bool(end.signal or end.exit)
    killed = end.signal == signal.SIGKILL or end.exit == 128 + signal.SIGKILL  # as a shell tells it
    bound = min((limit for limit in (end.limit_mb, machine.total_memory_mb()) if limit), default=math.inf)
    return killed and end.peak_mb is not None and end.peak_mb >= _NEAR * bound
