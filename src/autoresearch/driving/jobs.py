"""Requests to a run's owner, from one place: left, waited for, answered. Starts an owner where nobody is alive."""

from __future__ import annotations

from collections.abc import Callable

from autoresearch.driving.places import Place
from autoresearch.driving.replies import Reply


class Jobs:
    """What is asked from one place. All methods block; call them in a thread where that matters.

    Args:
        by: who asks, as `claude`; `` lets it be found out from the environment.
        run: the run's name; None is the place's, else the newest unfinished one, else a new one.
        say: told what goes on while it is waited for, as that the baseline is measured first.
    """

    def __init__(
        self, place: Place, *, by: str = "", run: str | None = None, say: Callable[[str], None] = lambda words: None
    ) -> None:
        raise NotImplementedError

    def offer(self, message: str, *, expect: str = "") -> int:
        """Ask for the place's change to be tried; gives the job's number at once, also where the baseline comes first.

        Args:
            message: what and why; the first line is the description, the rest the hypothesis.
            expect: by how much the metric is expected to change, as `-1 %`.
        Raises:
            SetupError: the set-up is wrong; nothing was asked.
        """
        raise NotImplementedError

    def probe(self, what: str = "quick") -> int:
        """Ask for the place's change to be tried out without a verdict: `quick`, `checks` or `all`."""
        raise NotImplementedError

    def wait(self, job: int, max_s: float | None = None) -> Reply:
        """The answer to a job; that it is still under way after `max_s` seconds.

        Raises:
            SetupError: there is no such job.
        """
        raise NotImplementedError
