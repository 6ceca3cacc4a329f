"""A run's names in the user's repository, which several projects and work trees may share: each is taken by one of them."""

from __future__ import annotations

from pathlib import Path

from autoresearch.errors import NameTaken, RepositoryError
from autoresearch.objects import Repository


def claim(repository: Repository, run: str, base: str, cache: Path) -> None:
    """Keep the base alive and start the branch there, unless that was done already.

    Args:
        cache: the run's own folder, by which it knows that it was the one.
    Raises:
        NameTaken: another run has the name. RepositoryError: its branch cannot be.
    """
    kept, branch, mine = f"refs/autoresearch/{run}/base", f"refs/heads/autoresearch/{run}", cache / "begun"
    standing = repository.refs(f"refs/autoresearch/{run}")
    if standing == {kept: base} and mine.exists():
        return  # a killed session came this far
    if standing:
        raise _taken(run)
    if repository.refs("refs/heads/autoresearch").get("refs/heads/autoresearch"):
        raise RepositoryError("a branch named 'autoresearch' is in the way of autoresearch/<run>: rename it first")
    if repository.resolve(branch) is not None:
        raise NameTaken(f"the branch autoresearch/{run} exists already: choose another name for the run")
    _take(repository, {kept: base, branch: base}, run, mine)


def _take(repository: Repository, refs: dict[str, str], run: str, mine: Path) -> None:
    """Make refs that are not there, in one transaction: of several that are at it one succeeds."""
    mine.touch()
    try:
        repository.update_refs(refs, old={name: "0" * len(oid) for name, oid in refs.items()})
    except RepositoryError as error:
        mine.unlink(missing_ok=True)
        if repository.refs(f"refs/autoresearch/{run}"):
            raise _taken(run) from error
        raise


def _taken(run: str) -> NameTaken:
    return NameTaken(
        f"refs/autoresearch/{run} holds the candidates of another project of this repository, or of an earlier run whose "
        "ledger is gone: choose another name for this run"
    )
