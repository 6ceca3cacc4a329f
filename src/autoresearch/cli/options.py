"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Option("--folder", "-C", help="The project's folder.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Answer every question with its default.")]
RunName = Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run's name; the newest one if left out.")]
Edit = Annotated[list[str] | None, typer.Option("--edit", help="A file or glob that may be changed; repeat for more.")]
Evaluate = Annotated[str | None, typer.Option("--eval", help="The command that measures.")]
Unit = Annotated[str | None, typer.Option("--unit", help="The number's unit.")]
Pattern = Annotated[str | None, typer.Option("--pattern", help="A regular expression that finds the number.")]
Inputs = Annotated[list[str] | None, typer.Option("--inputs", help="What git does not know and is read; repeat; - for none.")]
SetUp = Annotated[str | None, typer.Option("--setup", help="The command that sets a new tree up.")]
Build = Annotated[str | None, typer.Option("--build", help="The command that builds a candidate.")]
Copies = Annotated[list[str] | None, typer.Option("--copy", help="What is written to, a fresh copy each time; repeat.")]
Caches = Annotated[list[str] | None, typer.Option("--cache", help="What is kept between evaluations; repeat.")]
Env = Annotated[list[str] | None, typer.Option("--env", help="A variable that is passed through; repeat.")]
HERE = Path()
