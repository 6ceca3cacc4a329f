"""`demo`: an example in a folder of its own; the model that gets better, the run that is killed, the proposer that cheats."""

from __future__ import annotations

import re
import shutil
import sys
from importlib.resources import files
from pathlib import Path

from autoresearch.cli.start import Flags, run_command
from autoresearch.errors import SetupError
from autoresearch.project import Project
from autoresearch.taskfile import FILE, load
from autoresearch.taskfile.schema import Budget
from autoresearch.workspace.survey import git_init

FOLDER = "autoresearch-demo"
_BUDGET = re.compile(r"^experiments = \d+$", re.MULTILINE)
EXAMPLES = {
    "nanolm": (
        *("prepare.py", "train.py", "program.md", FILE, "valid.txt", "README.md", "NOTICE", ".gitattributes"),
        *("held_out.py", "held_out.txt"),
    ),
    "deliveries": (
        *("model.py", "score.py", "cheat.py", "program.md", FILE, "README.md"),
        *("visible.csv", "gate.csv", "held_out.csv"),
    ),
}
"""The files of each example that are the task; what else lies there tells how it was made."""


def run_demo(
    folder: Path | None, *, experiments: int | None, seed: int, as_json: bool, kill: bool = False, cheat: bool = False
) -> int:
    """Run a demo; gives the exit code.

    Args:
        folder: where to put the example; None for a folder that is not there yet, or the last demo's.
        experiments: how many, None for as many as that demo usually makes.
    Raises:
        SetupError: flags that do not go together, or a folder that holds something else.
    """
    if kill and cheat:
        raise SetupError("--kill and --cheat are both given, expected one of them")
    if cheat:
        from autoresearch.cli.cheating import run_cheats

        if experiments is not None:
            raise SetupError("--n goes with no --cheat: its script has as many experiments as it has")
        return run_cheats(folder or unused(f"{FOLDER}-cheat"), seed=seed, as_json=as_json)
    if kill:
        from autoresearch.cli.killing import run_kills

        return run_kills(folder or unused(f"{FOLDER}-kill"), experiments=experiments or 8, seed=seed, as_json=as_json)
    return _run_nanolm(folder or Path(FOLDER), experiments=experiments or 40, seed=seed, as_json=as_json)


def lay_out(folder: Path, example: str = "nanolm", *, experiments: int | None = None) -> None:
    """Copy an example into a new folder and commit it there, with a budget of so many experiments.

    Raises:
        SetupError: the folder holds something else.
    """
    if (folder / FILE).is_file() and (folder / ".git").exists():
        return
    if folder.exists() and any(folder.iterdir()):
        raise SetupError(f"{folder} is not empty: choose another folder with --folder")
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(str(files("autoresearch"))) / "examples" / example
    for name in EXAMPLES[example]:
        shutil.copyfile(source / name, folder / name)
    if experiments is not None:
        text = (folder / FILE).read_text(encoding="utf-8")
        (folder / FILE).write_text(_BUDGET.sub(f"experiments = {experiments}", text), encoding="utf-8")
    git_init(folder)


def unused(name: str) -> Path:
    """A folder of that name, or with a number behind it, that is not there yet."""
    folder, count = Path(name), 1
    while folder.exists():
        count += 1
        folder = Path(f"{name}-{count}")
    return folder


def _run_nanolm(folder: Path, *, experiments: int, seed: int, as_json: bool) -> int:
    lay_out(folder)
    task = load(folder)
    task = task.model_copy(update={"budget": Budget(experiments=experiments)})
    if not as_json:
        sys.stdout.write(f"the example nanolm in {folder}: a small language model, trained for four seconds an experiment\n")
    code = run_command(folder, Flags(new=True, seed=seed, json=as_json), task)
    project = Project(folder)
    run = project.pick(project.ledger(read_only=True), None).run
    if not as_json:
        sys.stdout.write(f"picture: {project.paths.run(run).progress}\ntable: {project.paths.run(run).results}\n")
    return code
