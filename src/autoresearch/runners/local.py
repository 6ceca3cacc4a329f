"""Evaluations as supervised child processes on this machine."""

from __future__ import annotations

import math
import signal
from dataclasses import dataclass
from pathlib import Path

from autoresearch import machine
from autoresearch.contracts import Place
from autoresearch.errors import DiskFault
from autoresearch.process import Exit, Job, Layer, Supervisor
from autoresearch.process.environment import argv, clean, remove
from autoresearch.records import Order, Outcome, Readout
from autoresearch.runners import numbers
from autoresearch.runners.inputs import Manifest

RETRY = 75  # EX_TEMPFAIL: the evaluator says that it is not the candidate's fault
_NEAR = 0.9


@dataclass(frozen=True, slots=True)
class Reading:
    """Which numbers to read and how: `names[0]` is the metric, the others are guards."""

    names: tuple[str, ...]
    take: str = "only"
    pattern: str = ""
    file: str = ""
    path: str = ""


class LocalRunner:
    """Runs one order in one place and reads its numbers."""

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        command: str,
        python: str,
        reading: Reading,
        env: tuple[str, ...] = (),
        seed_env: str = "",
        inputs: tuple[Path, ...] = (),
    ) -> None:
        self._supervisor = supervisor
        self._command, self._python = command, python
        self._reading, self._env, self._seed_env = reading, env, seed_env
        self._manifest = Manifest(inputs)

    async def evaluate(self, place: Place, order: Order) -> Readout:
        assert place.folder is not None
        assert place.scratch is not None
        env = clean(place.scratch, passed=self._env)
        result = place.scratch / "result.json"
        try:
            remove(result)
            if order.folder is not None:
                order.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiskFault(f"cannot write {error.filename}: {error.strerror}") from error
        env["AUTORESEARCH_RESULT"] = str(result)
        if self._seed_env:
            env[self._seed_env] = str(order.seed)
        command = order.command or self._command
        log = order.folder / f"{order.label}.log" if order.folder else None
        job = Job(
            argv(command, self._python),
            place.folder,
            env,
            timeout_s=order.timeout_s,
            log=log,
            readonly=place.readonly,
            layer=Layer(*place.layer) if place.layer else None,
        )
        end = await self._supervisor.run(job)
        return self._report(end, order, place, result, log)

    def _report(self, end: Exit, order: Order, place: Place, result: Path, log: Path | None) -> Readout:
        outcome, words = classify(end, order.timeout_s)
        values: dict[str, float] = {}
        tampered = self._manifest.changed()
        if tampered:
            outcome, words = Outcome.TAMPERING, f"the evaluation changed the input {tampered}"
        elif outcome is Outcome.OK and order.kind == "evaluate":
            try:
                values = self._read(end, place, result)
            except numbers.NoNumber as error:
                outcome, words = Outcome.NO_MEASUREMENT, str(error)
                if end.stdout_bytes > len(end.stdout.encode("utf-8", "replace")):
                    words += f" (only the last {len(end.stdout)} characters of {end.stdout_bytes} bytes were looked at)"
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
            words=words,
        )

    def _read(self, end: Exit, place: Place, result: Path) -> dict[str, float]:
        outside = {"wall_s": end.duration_s, "cpu_s": end.cpu_s, "peak_mb": end.peak_mb}
        reading = self._reading
        first = reading.names[0]
        inside = [n for n in reading.names if n not in outside]
        found: dict[str, float] = {}
        if inside:
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
            )
        for name in reading.names:
            if name in outside and name not in found and outside[name] is not None:
                found[name] = float(outside[name] or 0.0)
        if first not in found:
            raise numbers.NoNumber(f"{first} could not be measured from outside on this machine")
        return found


def classify(end: Exit, limit_s: float | None) -> tuple[Outcome, str]:
    """How an evaluation ended, in one line for the record."""
    limit = f" (limit {limit_s:.0f} s)" if limit_s else ""
    last = next((line.strip() for line in reversed(end.tail.splitlines()) if line.strip()), "")
    last = f"; last line: {last[:200]}" if last else ""
    if end.timed_out:
        return Outcome.TIMEOUT, f"still running after {end.duration_s:.1f} s{limit}{last}"
    if _killed_for_memory(end):
        return Outcome.MEMORY, f"killed for memory at {end.peak_mb or 0:.0f} MB after {end.duration_s:.1f} s{last}"
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
