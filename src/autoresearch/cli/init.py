"""`init`: from a folder, a template or a line of flags to a task. Nothing is written before all is answered."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from autoresearch import git
from autoresearch.cli import templates
from autoresearch.cli.answers import Given, existing, gather
from autoresearch.cli.questions import Questions
from autoresearch.cli.wording import FILE, PROGRAM, Answers, program_text, put, task_text
from autoresearch.detect import Files
from autoresearch.errors import SetupError
from autoresearch.project import Project
from autoresearch.taskfile import Scope, load
from autoresearch.taskfile.load import parse
from autoresearch.workspace.survey import git_init

_NOBODY = "nobody can be asked here: give --edit, --eval and --metric, or --yes to take the defaults"
_ALL_THREE = "no task file here yet: --edit, --eval and --minimize or --maximize are needed together to write one"


def write_task(folder: Path, given: Given, *, yes: bool, force: bool, run_it: bool, template: str | None) -> None:
    """Ask a few questions and write a task.

    Args:
        yes: take every default; the command is run before only with `run_it`.
        template: its name, or `list`.
    Raises:
        SetupError: a task is there already, or an answer is no good; nothing was written.
    """
    if template == "list":
        sys.stdout.write(templates.listing())
        return
    source = templates.chosen(template) if template is not None else None
    folder = folder.resolve()
    if not folder.is_dir():
        raise SetupError(f"{folder} is no folder: make it first, or give another one with --folder")
    if (folder / FILE).exists() and not force:
        raise SetupError(f"{folder / FILE} exists already: edit it, or write it anew with --force")
    asks, files = Questions(yes=yes), Files(folder)
    if source is not None:
        _write_template(files, source, given, asks)
        return
    if not yes and not asks.person and not given.complete:
        raise SetupError(_NOBODY)
    answers = gather(files, given, asks, run_it=run_it)
    repository = _wants_repository(files, asks)
    _finish(files, _write(files, answers), asks, repository=repository)


def ensure_task(folder: Path, given: Given, *, asks: bool = True, proposer: str = "", model: str = "") -> bool:
    """For `run`: write the task that flags speak of, or see that the one that is there says the same.

    Args:
        asks: somebody can say whether a plain folder is to become a repository.
        proposer, model: written into a new task.
    Returns:
        Whether it was written.
    Raises:
        SetupError: too little was given for a new one, or the one that is there says something else.
        RepositoryError: a plain folder, and nobody to ask; nothing was written.
    """
    keys, folder = given.keys(), folder.resolve()
    if not keys:
        return False
    if (folder / FILE).is_file():
        _same(folder, keys)
        return False
    if not given.complete:
        raise SetupError(_ALL_THREE)
    files, questions = Files(folder), Questions(yes=True)
    if not asks:
        Project(folder).location(None)
    table = {key: value for key, value in (("model", model), ("kind", proposer)) if value}
    written = _write(files, gather(files, given, questions, run_it=False), table)
    questions.say(f"wrote {', '.join(written)}")
    return True


def _same(folder: Path, keys: dict[tuple[str, str], str | tuple[str, ...]]) -> None:
    tables = load(folder).model_dump(by_alias=True)
    tables["task"]["name"] = tables["task"]["name"] or folder.name
    rows = []
    for (table, key), value in keys.items():
        there = tables[table][key]
        if there != (list(value) if isinstance(value, tuple) else value):
            rows.append(f"  {table}.{key}: {there!r} in the file, {value!r} given")
    if rows:
        lines = "\n".join(rows)
        raise SetupError(
            f"{folder / FILE} is there and says something else:\n{lines}\n"
            "Leave the flags out to run what the file says, or edit it; `autoresearch init --force` writes it anew"
        )


# -- writing -------------------------------------------------------------------------------------------------------------


def _write(files: Files, answers: Answers, proposer: Mapping[str, str] | None = None) -> list[str]:
    """Write the task's files; gives their names.

    Args:
        proposer: keys of its table.
    """
    text = task_text(answers)
    for key, value in (proposer or {}).items():
        text = put(text, "proposer", key, value)
    parse(text)  # what we write, we can read
    existing(files.folder, answers.editable)
    return _put_down(files.folder, {FILE: text, PROGRAM: program_text(answers), ".gitignore": _ignore(files)})


def _ignore(files: Files) -> str:
    """For a folder that becomes a git repository: what does not belong into it."""
    return "" if files.location is not None else _lines_of_unknown(files)


def _lines_of_unknown(files: Files) -> str:
    return "__pycache__/\n" + "".join(f"/{path}\n" for path in files.unknown)


def _exclude(files: Files) -> None:
    """Keep the same out of a repository to be made where the owner has a `.gitignore` of his own."""
    git.run("init", "-q", cwd=files.folder)
    info = files.folder / ".git" / "info"
    info.mkdir(exist_ok=True)
    (info / "exclude").write_text(_lines_of_unknown(files), encoding="utf-8")


def _put_down(folder: Path, texts: dict[str, str]) -> list[str]:
    """Write what is not there yet, the task file last and in any case; gives the names."""
    written = []
    for name, text in sorted(texts.items(), key=lambda item: item[0] == FILE):
        target = folder / name
        if not text or (name != FILE and target.exists()):
            continue
        try:
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise SetupError(f"cannot write {target}: {error.strerror}") from error
        written.append(name)
    return written[::-1]


def _write_template(files: Files, source: Path, given: Given, asks: Questions) -> None:
    text = (source / FILE).read_text(encoding="utf-8")
    subject = Scope(tuple(parse(text).task.editable)) if given.edit else Scope(())  # whoever has one of his own needs no other
    for (table, key), value in given.keys().items():
        text = put(text, table, key, value)
    parse(text)
    if given.edit:
        existing(files.folder, given.edit)
    repository = _wants_repository(files, asks)
    written, kept = templates.lay_out(source, files.folder, without=subject)
    written = [*_put_down(files.folder, {FILE: text, ".gitignore": _ignore(files)}), *written]
    if kept:
        asks.say(f"there already, and left as it is: {', '.join(kept)}")
    _finish(files, written, asks, repository=repository)


def _wants_repository(files: Files, asks: Questions) -> bool:
    """Whether to make a git repository of a plain folder at the end."""
    if files.location is not None:
        return False
    git.check_version()
    question = f"{files.folder} is no git repository, which a run needs. Make one (git init, one commit of everything)?"
    return asks.agreed(question, otherwise=asks.yes)


def _finish(files: Files, written: list[str], asks: Questions, *, repository: bool) -> None:
    """Say what was written and what comes next."""
    sys.stdout.write(f"wrote {', '.join(written)} in {files.folder}\n")
    if repository:
        if ".gitignore" not in written:
            _exclude(files)
        git_init(files.folder)
        sys.stdout.write("made a git repository of the folder, with one commit of everything\n")
    uncommitted = [name for name in written if name not in (FILE, PROGRAM)] if files.location is not None else []
    if uncommitted:
        names = shlex.join(uncommitted)
        sys.stdout.write(f"next: git add {names} && git commit -m 'a task for autoresearch', then autoresearch check\n")
    else:
        where = "" if files.folder == Path(os.getcwd()) else f" --folder {shlex.quote(str(files.folder))}"
        sys.stdout.write(f"next: autoresearch check{where}\n")
