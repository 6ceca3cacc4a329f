"""Is this repository fit to run on? Every refusal names its remedy. And: what in the checkout is not committed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from autoresearch.errors import RepositoryError
from autoresearch.git import Location, command, environment, run
from autoresearch.objects import Repository
from autoresearch.taskfile.scope import Scope
from autoresearch.trees import Entry, object_id
from autoresearch.workspace import submodules
from autoresearch.workspace.draft import never

_LFS = b"version https://git-lfs.github.com/spec/"


def refuse_unfit(location: Location, repository: Repository) -> None:
    """Refuse what a tree cannot be built from.

    Raises:
        RepositoryError: no commit yet, a sparse or a partial clone.
    """
    if repository.resolve("HEAD") is None and not repository.refs("refs/heads"):
        raise RepositoryError(f"{location.top} has no commit yet: `git add` your files and `git commit` them first")
    if _configured(location, r"^core\.sparsecheckout$", "--type=bool") == ["true"]:
        raise RepositoryError(f"{location.top} is a sparse checkout: run `git sparse-checkout disable` first")
    partial = _configured(location, r"^(extensions\.partialclone|remote\..*\.(promisor|partialclonefilter))$", "--name-only")
    if partial:
        raise RepositoryError(
            f"{location.top} is a partial clone, whose files are fetched on demand: clone it without --filter, or run "
            f"`git fetch --refetch --no-filter`, then {', '.join(f'`git config --unset {key}`' for key in partial)}"
        )


def _configured(location: Location, key: str, form: str) -> list[str]:
    """The values (or names) of the settings that match, as the user's work tree has them."""
    try:
        rows = os.fsdecode(run("config", form, "--get-regexp", key, cwd=location.top)).splitlines()
    except RepositoryError:
        return []
    return [row.rpartition(" ")[2] for row in rows]


def refuse_files(files: Mapping[str, Entry], repository: Repository, scope: Scope, prefix: str) -> None:
    """Refuse what only looks like a submodule, and editable files that are LFS pointers.

    Raises:
        RepositoryError: naming the path.
    """
    for path, (mode, oid) in files.items():
        if mode == submodules.LINK and ".gitmodules" not in files:
            raise RepositoryError(
                f"{path} is a repository inside the repository, and no .gitmodules says where it comes from: "
                "commit its files instead (git rm --cached, then git add), or make it a submodule"
            )
        if mode == submodules.LINK:
            continue
        inside = path.removeprefix(prefix) if path.startswith(prefix) else None
        if inside is not None and inside in scope and repository.read(oid).startswith(_LFS):
            raise RepositoryError(
                f"{path} is editable and stored as a Git LFS pointer: take it out of LFS "
                f"(`git lfs untrack {path}`, commit) or out of [task] editable"
            )


def refuse(location: Location, scratch: Path, commit: str, scope: Scope) -> None:
    """Refuse a repository, or a commit of it, that no tree can be built from.

    Raises:
        RepositoryError: naming the remedy.
    """
    repository = Repository(location.git_dir, scratch)
    try:
        refuse_unfit(location, repository)
        refuse_files(repository.files(repository.tree_of(commit)), repository, scope, location.prefix)
    finally:
        repository.close()


def status(location: Location) -> list[tuple[str, str]]:
    """What is not committed: git's two letters, `??` for what it does not track, and the path from the repository's top.

    Read with the user's own configuration, and without touching the index.
    """
    how = ("--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--ignore-submodules=none")
    rows = os.fsdecode(_as_the_user(location, "status", *how)).split("\0")
    return [(row[:2], row[3:]) for row in rows if row[3:]]


def cleaned(location: Location, path: str, content: bytes, *, sha256: bool) -> bytes:
    """A text with the line ends that git would store, where the user's configuration has others in the checkout."""
    plain = content.replace(b"\r\n", b"\n")
    if plain == content:
        return content
    stored = _as_the_user(location, "hash-object", "--stdin", f"--path={path}", stdin=content).decode().strip()
    return plain if stored == object_id("blob", plain, sha256=sha256) else content


def has_modes(location: Location) -> bool:
    """Whether what a file system says of executable files means anything."""
    try:
        return _as_the_user(location, "config", "--type=bool", "core.filemode").strip() != b"false"
    except RepositoryError:  # git's way to say that nobody set it
        return True


def _as_the_user(location: Location, *args: str, stdin: bytes = b"") -> bytes:
    """Ask git under the user's own configuration, without touching the index.

    Raises:
        RepositoryError: with git's own last words.
    """
    env = environment()
    env.pop("GIT_CONFIG_GLOBAL"), env.pop("GIT_CONFIG_NOSYSTEM")
    argv = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", *args]
    result = subprocess.run(argv, cwd=location.top, env=env, input=stdin, capture_output=True, check=False)
    if result.returncode:
        raise RepositoryError(f"git {args[0]} failed: {result.stderr.decode('utf-8', 'replace').strip()}")
    return result.stdout


def uncommitted(location: Location, scope: Scope, own: tuple[str, ...]) -> list[str]:
    """Paths that a new run would not see as they are: modified tracked files, untracked ones that match `editable`.

    The task's own files never count.
    """
    found = []
    for state, path in status(location):
        inside = path.removeprefix(location.prefix) if path.startswith(location.prefix) else None
        if inside in own or (inside or "").startswith(".autoresearch/"):
            continue
        if state != "??" or (inside is not None and inside in scope and not never(inside)):
            found.append(path)
    return sorted(found)


def snapshot(location: Location, repository: Repository, head: str, paths: list[str], at: float) -> str:
    """A commit of HEAD with the given files as they are on disk now; the checkout and its index stay untouched."""
    changes: dict[str, Entry | None] = {}
    for path in paths:
        target = location.top / path
        if target.is_symlink():
            changes[path] = ("120000", repository.write("blob", os.fsencode(os.readlink(target))))
        elif target.is_file():
            mode = "100755" if os.access(target, os.X_OK) else "100644"
            changes[path] = (mode, repository.write("blob", target.read_bytes()))
        else:
            changes[path] = None
    tree = repository.edit_tree(repository.tree_of(head), changes)
    return repository.commit(tree, [head], "uncommitted changes at the start of the run", at)


def git_init(folder: Path) -> None:
    """Make a repository of a plain folder and commit everything in it."""
    for args in (["init", "-q"], ["add", "-A"], ["commit", "-q", "--no-verify", "-m", "start"]):
        argv = command(*args, settings=["user.name=autoresearch", "user.email=autoresearch@localhost"])
        result = subprocess.run(argv, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
        if result.returncode:
            raise RepositoryError(f"git {args[0]} failed in {folder}: {result.stderr.strip()}")
