"""The task file as text: what is written can be read, keys are set in place, and the templates say what is true."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.cli import templates
from autoresearch.cli.answers import Given, given_by
from autoresearch.cli.wording import Answers, program_text, put, task_text, toml
from autoresearch.detect import Number
from autoresearch.taskfile import FILE
from autoresearch.taskfile.load import parse
from autoresearch.taskfile.scope import is_pattern

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(TEXT)
def test_any_text_survives_toml(text: str) -> None:
    assert tomllib.loads(f"x = {toml(text)}") == {"x": text}


@given(st.tuples(TEXT, TEXT), TEXT)
def test_key_that_was_put_is_read_and_the_others_stay(items: tuple[str, ...], text: str) -> None:
    before = '# first\n[task]\neditable = ["a"]  # mine\n\n[evaluate]\ncommand = "x"\n'
    after = tomllib.loads(put(put(before, "task", "editable", items), "evaluate", "setup", text))
    assert after == {"task": {"editable": list(items)}, "evaluate": {"command": "x", "setup": text}}


def test_table_that_is_missing_is_added() -> None:
    assert tomllib.loads(put('[task]\nname = "x"\n', "metric", "unit", "ms"))["metric"] == {"unit": "ms"}


def test_answers_become_a_task_with_nothing_at_its_default() -> None:
    number = Number("p95", "minimize", "ms", r"p95\s+(\d+)", take="last")
    answers = Answers("x ü", ("a.py", "b/**"), "python a.py", number, inputs=("data",), copies=("dev.db",), setup="make")
    text = task_text(answers)
    task = parse(text)
    assert (task.task.editable, task.metric.pattern, task.metric.take) == (["a.py", "b/**"], r"p95\s+(\d+)", "last")
    assert (task.evaluate.inputs, task.evaluate.copies, task.evaluate.setup) == (["data"], ["dev.db"], "make")
    assert "cache" not in text
    assert "frozen" not in text
    assert r"pattern = 'p95\s+(\d+)'" in text


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (Number("loss"), "Make `loss` lower. It is what `run it` prints."),
        (Number("acc", "maximize"), "Make `acc` higher."),
        (Number("wall_s"), "It is measured around `run it`."),
        (Number("mean_s", file="out.json", path="a"), "It is read from `out.json`, which `run it` leaves."),
    ],
)
def test_program_says_where_the_number_comes_from(number: Number, words: str) -> None:
    assert words in program_text(Answers("x", ("a",), "run it", number))


def test_list_flags_that_were_not_given_are_asked_for_and_a_dash_means_none() -> None:
    assert given_by(inputs=[]) == Given()
    assert given_by(inputs=["-"], copies=["a", "b"]) == Given(inputs=(), copies=("a", "b"))


@pytest.mark.parametrize("name", list(templates.purposes()))
def test_template_is_complete(name: str) -> None:
    folder = templates.chosen(name)
    text = (folder / FILE).read_text(encoding="utf-8")
    task = parse(text)
    files = dict(templates.contents(folder))
    assert text.startswith("# ")
    assert len(templates.purposes()[name]) <= 110
    assert "program.md" in files
    assert all(path in files for path in task.task.editable if not is_pattern(path))
    words = task.evaluate.command.split()
    assert words[0] == "python"
    assert words[1] in files
    assert words[1] not in task.task.editable
    assert f"`{task.metric.name}`" in files["program.md"].decode()
    assert f"`{task.metric.name}: <" in files[words[1]].decode() or name == "retrieval"


def test_every_folder_of_templates_is_listed() -> None:
    assert {p.name for p in templates.root().iterdir() if p.is_dir() and not p.name.startswith("_")} == set(
        templates.purposes()
    )


def test_no_template_brings_bytecode(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/x.pyc").write_bytes(b"")
    (tmp_path / "a.py").write_text("")
    assert dict(templates.contents(tmp_path)) == {"a.py": b""}
