"""What the documentation says is there: links, task keys with their defaults, examples, JSON keys, `--help`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel
from typer.testing import CliRunner

from autoresearch.cli.app import app
from autoresearch.errors import TaskError
from autoresearch.gains import Evidence
from autoresearch.history import History
from autoresearch.ledger import MemoryLedger
from autoresearch.records import Event, Experiment, Measurement
from autoresearch.report import experiment_row, summary
from autoresearch.taskfile.load import parse
from autoresearch.taskfile.schema import LATER, Task, keys

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(p for p in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")))
TASK_PAGE = (ROOT / "docs" / "task.md").read_text(encoding="utf-8")
JSON_PAGE = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
LATER_PART = TASK_PAGE.partition("## Not available yet")[2]


def blocks(text: str, language: str) -> list[str]:
    """The fenced code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The names that a page's headings can be linked by."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}


# -- links ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)", text):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page}: {link}"
        assert not anchor or anchor in anchors(target), f"{page}: {link}"


def test_page_of_the_structure_names_every_module() -> None:
    page = (ROOT / "docs" / "structure.md").read_text(encoding="utf-8")
    source = ROOT / "src" / "autoresearch"
    names = [p.name for p in source.glob("*.py") if not p.name.startswith("_")]
    names += [f"{p.parent.name}/" for p in source.glob("*/__init__.py")]
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


# -- the task file -------------------------------------------------------------------------------------------------------


def documented() -> dict[str, dict[str, str]]:
    """By table, each key of the task page with its default as it is written there."""
    tables: dict[str, dict[str, str]] = {}
    for heading, body in re.findall(r"^## \[+(\w+)\]+\n(.*?)(?=^## |\Z)", TASK_PAGE, re.MULTILINE | re.DOTALL):
        tables[heading] = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", body, re.MULTILINE))
    return tables


def models() -> dict[str, type[BaseModel]]:
    """The models of the tables that work."""
    found: dict[str, type[BaseModel]] = {}
    for name, field in Task.model_fields.items():
        kind = typing.get_args(field.annotation)[0] if typing.get_args(field.annotation) else field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found[name] = kind
    return found


def test_every_table_and_key_that_works_is_documented() -> None:
    assert {name: set(told) for name, told in documented().items()} == {
        name: set(keys(model)) for name, model in models().items()
    }


@pytest.mark.parametrize(("table", "key"), [(t, k) for t, keys in sorted(documented().items()) for k in keys])
def test_documented_default_is_the_real_one(table: str, key: str) -> None:
    model = models()[table]
    said, name = documented()[table][key], keys(model)[key]
    field = model.model_fields[name]
    if said == "required":
        assert field.is_required()
    elif said == "none":
        assert field.get_default() is None
    else:
        value = tomllib.loads(f"value = {said.strip('`')}")["value"]
        required: dict[str, Any] = {
            other: ["x"] if other == "editable" else "x" for other, f in model.model_fields.items() if f.is_required()
        }
        assert getattr(model.model_validate({**required, key: value}), name) == field.get_default()


def test_every_key_has_an_example() -> None:
    shown: set[tuple[str, str]] = set()
    for example in blocks(TASK_PAGE, "toml"):
        for table, body in tomllib.loads(example).items():
            for row in body if isinstance(body, list) else [body]:
                shown |= {(table, key) for key in row}
    assert {(table, key) for table, told in documented().items() for key in told} - shown == set()


@pytest.mark.parametrize("value", sorted(v for values in LATER.values() for v in values))
def test_value_that_does_not_work_yet_is_named(value: str) -> None:
    assert re.search(rf'`{value}`|"{value}"`', LATER_PART)


@pytest.mark.parametrize("example", blocks(TASK_PAGE, "toml"))
def test_task_example_is_read(example: str) -> None:
    assert parse(example).task.editable


def test_task_example_with_a_key_too_many_is_refused() -> None:
    with pytest.raises(TaskError, match="edittable"):
        parse(blocks(TASK_PAGE, "toml")[0].replace("editable", "edittable"))


# -- JSON ----------------------------------------------------------------------------------------------------------------


def begun() -> History:
    ledger = MemoryLedger()
    ledger.append("r", Event("run_started", None, {"task": "toy", "metric": "score", "direction": "minimize"}))
    return ledger.history("r")


def run_summary() -> Mapping[str, Any]:
    return summary(begun())


def test_every_key_of_json_output_is_documented() -> None:
    keys = {*run_summary(), *run_summary()["counts"], *experiment_row(Experiment(0), begun())}
    keys |= {f.name for f in (*fields(Measurement), *fields(Evidence))}
    assert sorted(key for key in keys if f"`{key}`" not in JSON_PAGE) == []


@pytest.mark.parametrize("example", blocks(JSON_PAGE, "json"))
def test_json_example_is_json_and_complete(example: str) -> None:
    row = json.loads(example)
    if row.get("type") == "experiment":
        assert row.keys() - {"type", "run", "at"} == experiment_row(Experiment(0), begun()).keys()
        assert row["measurements"][0].keys() == {f.name for f in fields(Measurement)}


# -- --help --------------------------------------------------------------------------------------------------------------

COMMAND = typer.main.get_command(app)
COMMANDS = sorted(getattr(COMMAND, "commands", {}))


def test_help_of_the_installed_program_names_every_command() -> None:
    argv = [sys.executable, "-m", "autoresearch", "--help"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert [name for name in COMMANDS if not re.search(rf"^  {name}\b", done.stdout, re.MULTILINE)] == []
    assert done.stderr == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_describes_it_and_every_option(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"], terminal_width=200)
    assert result.exit_code == 0
    command = getattr(COMMAND, "commands")[name]  # noqa: B009
    assert command.help
    for parameter in command.params:
        assert any(option in result.output for option in (*parameter.opts, parameter.metavar or ""))
        if parameter.param_type_name == "option":
            assert parameter.help, f"{parameter.name} has no help"
