"""`demo`: the nanolm example in a folder of its own, searched by the knobs proposer."""

from __future__ import annotations

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

EXAMPLE = "nanolm"
_FILES = ("prepare.py", "train.py", "program.md", FILE, "valid.txt", "README.md", "NOTICE", ".gitattributes")


def lay_out(folder: Path) -> None:
    """Copy the example into a new folder and commit it there.

    Raises:
        SetupError: the folder holds something else.
    """
    if (folder / FILE).is_file() and (folder / ".git").exists():
        return
    if folder.exists() and any(folder.iterdir()):
        raise SetupError(f"{folder} is not empty: choose another folder with --folder")
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(str(files("autoresearch"))) / "examples" / EXAMPLE
    for name in _FILES:
        shutil.copyfile(source / name, folder / name)
    git_init(folder)


def run_demo(folder: Path, *, experiments: int, seed: int, as_json: bool) -> int:
    """Run the example; gives the exit code."""
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
