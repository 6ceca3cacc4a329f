"""How jobs of one kind are shut in: evaluations, or proposals. A job adds its own folders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch.process.children import Job
from autoresearch.records import UNLIMITED, Limits, Sandbox


@dataclass(frozen=True, slots=True)
class Confinement:
    """Walls and limits.

    Attributes:
        sandbox: without the job's own folders; None where none works, or where none is wanted.
        hidden: what must not be seen where there is no sandbox; `readonly` what cannot be written there.
    """

    sandbox: Sandbox | None = None
    limits: Limits = UNLIMITED
    hidden: tuple[Path, ...] = ()
    readonly: tuple[Path, ...] = ()

    def shut_in(
        self,
        job: Job,
        *,
        writable: Iterable[Path],
        shown: Iterable[Path] = (),
        hidden: Iterable[Path] = (),
        sockets: Path | None = None,
    ) -> Job:
        """The job with these walls around it.

        Args:
            writable: all that it may write; `shown` what it may read besides what the sandbox shows to all.
            hidden: what it must not see, with a sandbox or without.
            sockets: a folder for the relay of a network of endpoints.
        """
        writable = tuple(writable)
        limits = replace(self.limits, written=writable)
        if self.sandbox is None:
            return replace(job, limits=limits, hidden=(*self.hidden, *hidden), readonly=(*job.readonly, *self.readonly))
        sandbox = replace(
            self.sandbox,
            shown=(*self.sandbox.shown, *shown),
            writable=(*self.sandbox.writable, *writable),
            sockets=sockets,
        )
        if not isinstance(sandbox.network, str) and sockets is not None:
            sockets.mkdir(parents=True, exist_ok=True)
            sandbox = replace(sandbox, shown=(*sandbox.shown, sockets))
        return replace(job, limits=limits, hidden=tuple(hidden), sandbox=sandbox)


OPEN = Confinement()
