"""Editing the task file: the right key changes, and every other byte stays."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.checkup.mend import Mend, apply, lines, literal, set_key, touches, write
from autoresearch.errors import TaskError

TASK = """\
# my task
[task]
editable = ["train.py"]   # only this

[evaluate]
command = "python train.py"  # with [brackets] = and # signs
inputs = [
    "data",   # the big one, "quoted"
    "weights"  # and no comma
]

[metric]
name = "loss"

[[guard]]
name = "mb"
max = 5
"""


def test_new_key_stands_after_the_last_of_its_table_and_all_else_stays() -> None:
    edited = set_key(TASK, "metric", "take", "last")
    assert edited == TASK.replace('name = "loss"\n', 'name = "loss"\ntake = "last"\n')


def test_item_joins_an_array_over_several_lines_with_its_comments() -> None:
    edited = apply(TASK, [Mend("evaluate", "inputs", add=".venv")])
    assert edited == TASK.replace('"weights"  # and no comma\n', '"weights",  # and no comma\n    ".venv",\n')


def test_value_is_replaced_and_the_comment_behind_it_stays() -> None:
    edited = set_key(TASK, "evaluate", "command", "PYTHONPATH=src python train.py")
    assert '"PYTHONPATH=src python train.py"  # with [brackets] = and # signs\n' in edited


def test_last_item_taken_out_takes_the_key_out() -> None:
    text = set_key(TASK, "evaluate", "inputs", ["data"])
    edited = apply(text, [Mend("evaluate", "inputs", drop="data/"), Mend("evaluate", "copy", add="data")])
    assert tomllib.loads(edited)["evaluate"] == {"command": "python train.py", "copy": ["data"]}


def test_item_that_is_there_already_changes_nothing() -> None:
    assert tomllib.loads(apply(TASK, [Mend("evaluate", "inputs", add="data")])) == tomllib.loads(TASK)


@pytest.mark.parametrize(
    "text",
    [
        'task.editable = ["a"]\nevaluate.command = "x"\nmetric.name = "m"\n',
        '[evaluate]\ncommand = "x"',
        '[task]\neditable = ["a"]\n',
        '[evaluate]\r\ncommand = "x"\r\n\r\n[metric]\r\nname = "m"\r\n',
        '\ufeff[evaluate]\ncommand = """\nfirst [task]\ninputs = 1\n"""\n\n[metric]\nname = "m"\n',
        "[evaluate] # here\n  command = 'x'\n# inputs = [1]\n[metric]\n",
        "",
    ],
    ids=["dotted", "no last break", "no table", "crlf", "bom and a text of several lines", "indented", "empty"],
)
def test_key_is_written_whatever_form_the_file_has(text: str) -> None:
    edited = set_key(text, "evaluate", "inputs", ["data", "it's"])
    assert tomllib.loads(edited.lstrip("\ufeff"))["evaluate"]["inputs"] == ["data", "it's"]
    kept = iter(edited.splitlines())
    assert all(line in kept for line in text.splitlines())
    assert ("\r\n" in text) == ("\r\n" in edited)


def test_inline_table_is_refused_with_the_line_to_write() -> None:
    with pytest.raises(TaskError, match="write take = "):
        set_key('metric = { name = "m" }\n', "metric", "take", "last")


@given(st.text())
def test_literal_reads_back(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    if "\x7f" not in text:
        assert tomllib.loads(f"x = {literal(text)}")["x"] == text


def test_pattern_is_written_without_escapes() -> None:
    assert literal(r"TOTAL.*?(\d+)%") == r"'TOTAL.*?(\d+)%'"


@given(st.lists(st.sampled_from(["data", ".venv", "a b", "it's", 'q"', "x#y", "[z]"]), unique=True, max_size=5))
def test_items_added_one_after_the_other_are_all_there(items: list[str]) -> None:
    text = TASK
    for item in items:
        text = apply(text, [Mend("evaluate", "inputs", add=item)])
    expected = tomllib.loads(TASK)
    expected["evaluate"]["inputs"] += [item for item in items if item != "data"]
    assert tomllib.loads(text) == expected


def test_lines_show_what_differs() -> None:
    edited = apply(TASK, [Mend("metric", "take", "last"), Mend("evaluate", "env", add="TOKEN")])
    assert lines(TASK, edited) == ['[evaluate] env = ["TOKEN"]', '[metric] take = "last"']


def test_one_of_several_tables_is_changed_and_named() -> None:
    text = f'{TASK}\n[[check]]\nname = "a"\ncommand = "x"\n\n[[check]]\ncommand = "x"  # mine\nname = "b"\n'
    change = Mend("check[1]", "command", "y")
    edited = apply(text, [change])
    assert edited == text.replace('command = "x"  # mine', 'command = "y"  # mine')
    assert lines(text, edited) == ['[[check]] b: command = "y"']
    assert touches(edited, change, lines(text, edited)[0])
    assert not touches(edited, Mend("check[0]", "command"), lines(text, edited)[0])
    with pytest.raises(TaskError, match="cannot write command"):
        apply('check = [{ name = "a", command = "x" }]\n', [Mend("check[0]", "command", "y")])


def test_file_is_replaced_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "autoresearch.toml"
    path.write_bytes(b"a = 1\r\n")
    path.chmod(0o640)
    write(path, "a = 2\r\n")
    assert (path.read_bytes(), path.stat().st_mode & 0o777, len(list(tmp_path.iterdir()))) == (b"a = 2\r\n", 0o640, 1)
