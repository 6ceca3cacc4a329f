"""The error tree. A failed experiment is data and never raised; these are broken set-ups and refusals.

AutoresearchError            exit code 2 unless a class says otherwise
├── SetupError               the task, the repository or the machine is not fit to run
│   ├── TaskError            autoresearch.toml or program.md: names key, line, value, what was expected
│   ├── RepositoryError      the git repository cannot be used as it is
│   ├── ProposerUnfit        a proposer cannot work on this task at all: ends the run, where other errors of it do not
│   └── UnknownName          a strategy, proposer, acceptance or run that does not exist
├── RulerChanged             a run would go on under another ruler
├── LedgerError              the ledger is newer than the program, damaged, or its chain is broken
├── OwnedElsewhere           another process owns the run (exit code 4)
├── DiskFault                no space left, read-only or failing storage (exit code 1)
├── RunnerLost               the process that supervises evaluations is gone; the evaluation is done again
├── ProposerWaits            a proposer's model cannot be had now: rate limit or outage; it is asked again later
├── Refused                  a proposal that cannot become a candidate: carries the reason code of its verdict
└── Exhausted                a proposer has nothing left to propose: the run ends
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class AutoresearchError(Exception):
    """The root of everything this package raises on purpose."""

    exit_code = 2


class SetupError(AutoresearchError):
    """The task, the repository or the machine is not fit to run."""


class TaskError(SetupError):
    """The task file is wrong; the message names key, line, value and what was expected."""


class RepositoryError(SetupError):
    """The git repository cannot be used as it is; the message names the remedy."""


class GitKilled(RepositoryError):
    """A git process that worked for us was killed: nothing is wrong with the repository, and whoever goes on may succeed."""

    exit_code = 1


class NameTaken(RepositoryError):
    """A run of that name has refs in the repository, and is not this project's."""


class UnknownName(SetupError):
    """A name that nothing goes by."""

    def __init__(self, what: str, name: str, known: Iterable[str], also: str = "") -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1)
        also = f", or {also}" if also else ""
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"unknown {what} {name!r}: expected one of {', '.join(names) or '(none)'}{also}.{hint}")


class ProposerUnfit(SetupError):
    """A proposer cannot work on this task at all; the message says what to mend."""


class ProposerWaits(AutoresearchError):
    """A proposer's model cannot be had now; nothing is wrong with the set-up.

    Attributes:
        reason: `rate_limit` or `outage`.
        retry_after_s: after how many seconds it can be had again, where the answer said so.
    """

    def __init__(self, reason: str, words: str, retry_after_s: float | None = None) -> None:
        super().__init__(words)
        self.reason, self.words, self.retry_after_s = reason, words, retry_after_s


class RulerChanged(AutoresearchError):
    """What decides has changed since the run began."""


class LedgerError(AutoresearchError):
    """The ledger cannot be read or trusted."""


class OwnedElsewhere(AutoresearchError):
    """Another process owns the run."""

    exit_code = 4


class DiskFault(AutoresearchError):
    """Storage is full, read-only or failing; open experiments stay open."""

    exit_code = 1


class RunnerLost(AutoresearchError):
    """The supervisor of evaluations died; what it ran is done again under the same number."""

    exit_code = 1


class Refused(AutoresearchError):
    """A proposal cannot become a candidate.

    Attributes:
        reason: the verdict's reason code: `no_change`, `duplicate`, `scope`, `stale`.
    """

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason = reason
        self.words = words


class Exhausted(AutoresearchError):
    """A proposer has nothing left to propose."""


def ungroup(error: BaseException) -> BaseException:
    """What ended a task group, out of the groups it came in; an error of ours goes before whatever followed from it."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [ungroup(e) for e in error.exceptions]
    return next((leaf for leaf in leaves if isinstance(leaf, AutoresearchError)), leaves[0])


def as_fault(error: BaseException) -> BaseException:
    """A full, failing or read-only disk is a `DiskFault`, wherever it was noticed; any other error is itself."""
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        where = f" ({error.filename})" if error.filename else ""
        return DiskFault(f"{error.strerror}{where}: free some space and run again; nothing recorded is lost")
    return error


@contextmanager
def ungrouped() -> Iterator[None]:
    """Let errors leave a task group as themselves, and faults of the disk as such."""
    try:
        yield
    except (BaseExceptionGroup, OSError) as error:
        cause = as_fault(ungroup(error))
        if cause is error:
            raise
        raise cause from cause.__cause__
