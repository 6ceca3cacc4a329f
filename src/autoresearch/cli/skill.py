"""`skill`: the page that teaches an agent to drive is written where agents look, shown, and taken away."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from autoresearch.cli.questions import Questions, words
from autoresearch.errors import SetupError
from autoresearch.project import Project
from autoresearch.skill import block, changes, page
from autoresearch.skill.changes import Change
from autoresearch.skill.spots import AGENTS, GUIDE, Level, known, present, spots

_DONE = {"written": "wrote", "updated": "updated", "unchanged": "as it was:", "removed": "removed", "missing": "not there:"}
_GIT = {"untracked": "new to git", "tracked": "tracked by git", "ignored": "git ignores it"}


def level_of(*, user: bool, project: bool) -> Level | None:
    """What the two flags say; None where neither is given."""
    if user and project:
        raise SetupError("--user and --project are both given, expected one of them")
    return "user" if user else "project" if project else None


def install_skill(folder: Path, names: Sequence[str], *, level: Level | None, force: bool, yes: bool, as_json: bool) -> None:
    """Write the page for these agents, or for those that a person chooses; all of it, or nothing."""
    questions = Questions(yes=yes)
    chosen = known(names) or _choose(questions, folder)
    level = level or _ask_level(questions)
    top = _project(folder) if level == "project" else None
    done = _agreed(changes.to_install(spots(chosen, level, top)), questions, force=force)
    for change in done:
        changes.apply(change)
    _show(done, as_json=as_json)
    if not as_json:
        _print(*_hints(done, chosen, top))


def remove_skill(folder: Path, names: Sequence[str], *, level: Level | None, force: bool, yes: bool, as_json: bool) -> None:
    """Take away what was installed, and nothing else."""
    questions = Questions(yes=yes)
    level = level or "project"
    top = _project(folder) if level == "project" else None
    chosen = known(names) or tuple(name for name in AGENTS if level == "project" or name != GUIDE)
    planned = [c for c in changes.to_remove(spots(chosen, level, top)) if names or c.did != "missing"]
    done = _agreed(planned, questions, force=force)
    for change in done:
        changes.apply(change)
    _show(done, as_json=as_json)
    if not planned and not as_json:
        _print(*_nothing(level, top))


def print_skill(name: str | None, *, as_json: bool) -> None:
    """Show the page as that agent would find it."""
    chosen = known([name] if name else ["claude"])[0]
    text = block.block().decode() + "\n" if chosen == GUIDE else page.text()
    if not as_json:
        return _print(text.removesuffix("\n"))
    project = spots([chosen], "project", Path("/"))[0].path.relative_to("/")
    user = None if chosen == GUIDE else str(spots([chosen], "user", None)[0].path)
    return _print(json.dumps({"for": name, "text": text, "project": str(project), "user": user}, ensure_ascii=False))


def _project(folder: Path) -> Path:
    try:
        return Project.find(folder).folder
    except SetupError as error:
        raise SetupError(f"{error}, or add --user: for all your projects") from error


def _choose(questions: Questions, folder: Path) -> tuple[str, ...]:
    """The agents that a person names, or with --yes those that seem to be used here."""
    try:
        found = present(Project.find(folder).folder)
    except SetupError:
        found = present(None)
    if questions.person:
        answer = questions.text(f"Which agents ({', '.join(AGENTS)})?", " ".join(found), "--for", check=_names)
        return _names(answer)
    if questions.yes and found:
        return found
    here = f"--yes takes those that are here: {', '.join(found)}" if found else "none of them was found here"
    raise SetupError(f"which agent? Give --for with one of {', '.join(AGENTS)}, more than once for several; {here}")


def _names(answer: str) -> tuple[str, ...]:
    names = known(words(answer.replace(",", " ")))
    if not names:
        raise SetupError(f"expected at least one of {', '.join(AGENTS)}")
    return names


def _ask_level(questions: Questions) -> Level:
    options = ("this project: files in its folder, which git sees", "you: files in your home, for all your projects")
    if questions.person:
        questions.say("For whom?")
    return "user" if questions.choice("Which one", options) else "project"


def _agreed(planned: Sequence[Change], questions: Questions, *, force: bool) -> list[Change]:
    """The changes that nobody has to agree to, and those that somebody did.

    Raises:
        SetupError: there is nobody to ask.
    """
    doubtful = [change for change in planned if change.doubt and not force]
    if doubtful and not questions.person:
        first = doubtful[0]
        raise SetupError(f"{first.spot.path}: {first.doubt}; nothing was done. {_force(first)}")
    return [c for c in planned if c not in doubtful or _confirm(c)]


def _force(change: Change) -> str:
    if change.did == "removed":
        return "Remove it by hand, or with --force"
    return "Compare it with `autoresearch skill print`; --force replaces it"


def _confirm(change: Change) -> bool:
    verb = "Remove" if change.did == "removed" else "Replace"
    return typer.confirm(f"{change.spot.path}: {change.doubt}. {verb} it?", default=False, err=True)


def _show(done: Sequence[Change], *, as_json: bool) -> None:
    if as_json:
        return _print(json.dumps([_row(change) for change in done], ensure_ascii=False))
    return _print(*(_line(change) for change in done))


def _row(change: Change) -> dict[str, Any]:
    spot = change.spot
    seen = changes.seen_by_git(spot.path) if spot.level == "project" else ""
    row = {"path": str(spot.path), "level": spot.level, "for": spot.readers, "also": spot.others}
    return row | {"did": change.did, "git": seen}


def _line(change: Change) -> str:
    row, spot = _row(change), change.spot
    done = {"written": "wrote", "updated": "put a block into"}.get(change.did, "") if spot.guide else ""
    done = "took the block out of" if spot.guide and change.did == "removed" and change.after is not None else done
    read = ", ".join(spot.readers) + (f", also read by {', '.join(spot.others)}" if spot.others else "")
    parts = [f"{done or _DONE[change.did]} {_short(spot.path)}", f"for {read}", _GIT.get(row["git"], "")]
    return " · ".join(part for part in parts if part)


def _short(path: Path) -> str:
    """As it is typed from here, where it lies below."""
    inside = os.path.relpath(path)
    return str(path) if inside.startswith("..") else inside


def _hints(done: Sequence[Change], chosen: Sequence[str], top: Path | None) -> list[str]:
    """What a person does next."""
    hints = []
    seen = {c: changes.seen_by_git(c.spot.path) for c in done if top}
    if "untracked" in seen.values():
        hints.append("what is new to git: commit it to share it, or name it in .git/info/exclude")
    hints += [f"{_short(c.spot.path)} is changed: commit it, or a new run asks about that" for c in _mixed(seen)]
    if top and "gemini" in chosen:
        hints.append(f"gemini looks in the folder that it is started in, and only if it trusts it: start it in {top}")
    where = f" in {top}" if top else " in a project"
    again = "autoresearch skill remove" + ("" if top else " --user")
    return [*hints, f"next: start your agent{where} and say what to improve and for how long · take it away: {again}"]


def _mixed(seen: Mapping[Change, str]) -> list[Change]:
    """Files that git tracks and that differ now from what it has."""
    return [change for change, git in seen.items() if git == "tracked" and change.did == "updated"]


def _nothing(level: Level, top: Path | None) -> list[str]:
    if level == "user":
        return ["nothing of it is in your home"]
    said = [f"nothing of it is in {top}"]
    user = changes.to_remove(spots([name for name in AGENTS if name != GUIDE], "user", None))
    return [*said, *(f"{c.spot.path} is for all your projects: --user removes it" for c in user if c.did != "missing")]


def _print(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
