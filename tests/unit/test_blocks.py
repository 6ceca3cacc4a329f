"""Search/replace blocks as weak models write them: what is plain is put in place, what is not is said, nothing is guessed."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autoresearch.proposers.blocks import Block, read
from autoresearch.proposers.patchwork import Patchwork, Unplaced, nearest, place

TRAIN = """\
import math


def rate(step):
    lr = 0.1
    if step > 100:
        lr = lr / 2
    return lr


def loss(x):
    return math.sqrt(x)
"""


def patchwork(files: dict[str, str] | None = None) -> Patchwork:
    given = {"train.py": TRAIN} if files is None else files
    return Patchwork(given.get, sorted(given), lambda path: path in given or path.startswith("extra/"))


def put(reply: str, files: dict[str, str] | None = None) -> tuple[Patchwork, list[str]]:
    """What a reply makes of files, and all that is wrong with it."""
    work = patchwork(files)
    found = read(textwrap.dedent(reply))
    return work, [*found.problems, *work.take(found.blocks)]


def block(search: str, new: str, path: str = "train.py") -> str:
    return f"{path}\n<<<<<<< SEARCH\n{search}\n=======\n{new}\n>>>>>>> REPLACE\n"


HALVED = TRAIN.replace("lr = 0.1", "lr = 0.05")


@pytest.mark.parametrize(
    "reply",
    [
        block("    lr = 0.1", "    lr = 0.05"),
        "Sure! Here it is:\n\n" + block("    lr = 0.1", "    lr = 0.05") + "\ndescription: half the rate",
        "```python\n" + block("    lr = 0.1", "    lr = 0.05") + "```",
        "train.py\n```python\n<<<<<<< SEARCH\n    lr = 0.1\n=======\n    lr = 0.05\n>>>>>>> REPLACE\n```",
        "```python train.py\n<<<<<<< SEARCH\n    lr = 0.1\n=======\n    lr = 0.05\n>>>>>>> REPLACE\n```",
        "```python:train.py\n<<<<<<< SEARCH\n    lr = 0.1\n=======\n    lr = 0.05\n>>>>>>> REPLACE\n```",
        "~~~\n" + block("    lr = 0.1", "    lr = 0.05") + "~~~",
        block("    lr = 0.1", "    lr = 0.05", "./train.py"),
        block("    lr = 0.1", "    lr = 0.05", "`train.py`"),
        block("    lr = 0.1", "    lr = 0.05", "**train.py**:"),
        block("    lr = 0.1", "    lr = 0.05", '### File: "train.py"'),
        block("    lr = 0.1", "    lr = 0.05", "project/train.py"),
        block("    lr = 0.1", "    lr = 0.05", "I change the rate as follows"),  # there is but one file that it fits
        block("lr = 0.1", "lr = 0.05"),
        block("        lr = 0.1   ", "        lr = 0.05"),
        block("\tlr = 0.1", "\tlr = 0.05"),
        block("0.1", "0.05"),
        block("\n    lr = 0.1\n", "\n    lr = 0.05\n"),
        block("def rate(step):  \n    lr = 0.1\t", "def rate(step):\n    lr = 0.05"),
        "<<<<<<< SEARCH train.py\n    lr = 0.1\n=======\n    lr = 0.05\n>>>>>>> REPLACE",
        textwrap.indent(block("    lr = 0.1", "    lr = 0.05"), "   "),
        block("    lr = 0.1", "    lr = 0.05").replace("\n", "\r\n"),
        block("    lr = 0.1", "    lr = 0.05")
        .replace("<<<<<<<", "<<<<<")
        .replace("=======", "=====")
        .replace(">>>>>>>", ">>>>>>>>"),
        "train.py\n<<<<<<< WHOLE FILE\n" + HALVED + ">>>>>>> END\n",
        "train.py\n<<<<<<< WHOLE\n" + HALVED.rstrip("\n") + "\n>>>>>>> REPLACE\n",
        "1. train.py\n" + textwrap.indent("<<<<<<< WHOLE FILE\n" + HALVED + ">>>>>>> END\n", "   "),
        "train.py\n```python\n" + HALVED + "```\n",
        "```train.py\n" + HALVED + "```\n",
    ],
)
def test_blocks_are_taken_as_weak_models_write_them(reply: str) -> None:
    work, problems = put(reply)
    assert problems == []
    assert work.changed == {"train.py": HALVED}


def test_new_lines_get_the_indentation_of_the_file() -> None:
    reply = block("if step > 100:\n    lr = lr / 2", "if step > 50:\n    lr = lr / 2\n    if step > 200:\n        lr = 0")
    work, problems = put(reply)
    assert problems == []
    body = "    if step > 50:\n        lr = lr / 2\n        if step > 200:\n            lr = 0\n"
    assert body in (work.changed["train.py"] or "")


def test_indentation_by_another_step_is_translated_where_each_depth_is_known() -> None:
    work, problems = put(block("  if step > 100:\n    lr = lr / 2", "  if step > 50:\n    lr = lr / 4"))
    assert problems == []
    assert "    if step > 50:\n        lr = lr / 4\n" in (work.changed["train.py"] or "")
    _, problems = put(block("  if step > 100:\n    lr = lr / 2", "  if step > 50:\n    if step:\n      lr = lr / 4"))
    assert "the indentation does not fit" in problems[0]


def test_lines_that_stand_there_twice_are_a_problem_that_names_both() -> None:
    work, problems = put(block("x = 1", "x = 2"), {"train.py": "x = 1\ny = 2\nx = 1\n"})
    assert problems == ["train.py: the searched lines stand there 2 times (at lines 1, 3): add lines around them"]
    assert work.changed == {}


def test_exact_match_goes_before_one_with_another_indentation() -> None:
    work, problems = put(block("x = 1", "x = 2"), {"train.py": "x = 1\nif y:\n    x = 1\n"})
    assert problems == []
    assert work.changed == {"train.py": "x = 2\nif y:\n    x = 1\n"}


def test_lines_that_are_not_there_are_told_with_the_nearest() -> None:
    _, problems = put(block("    if step >= 100:\n        lr = lr / 2", "    pass"))
    assert problems == [
        "train.py: the searched lines do not stand there. Nearest is:\n"
        "    5      lr = 0.1\n    6      if step > 100:\n    7          lr = lr / 2\n    8      return lr"
    ]


def test_blocks_that_fit_stay_and_only_the_rest_is_asked_for_again() -> None:
    good, bad = block("    lr = 0.1", "    lr = 0.05"), block("    return math.log(x)", "    return x")
    work, problems = put(good + bad)
    assert len(problems) == 1
    second = read(good + block("    return math.sqrt(x)", "    return x"))  # it sends the good one again
    assert work.take(second.blocks) == []
    assert work.changed == {"train.py": HALVED.replace("math.sqrt(x)", "x")}


def test_later_blocks_see_what_earlier_ones_made() -> None:
    work, problems = put(block("    lr = 0.1", "    lr = 0.05") + block("    lr = 0.05", "    lr = 0.01"))
    assert problems == []
    assert "lr = 0.01" in (work.changed["train.py"] or "")


def test_line_of_equals_signs_in_a_file_belongs_where_it_fits() -> None:
    files = {"notes.rst": "Title\n=======\nold\n"}
    work, problems = put(block("Title\n=======\nold", "Title\n=======\nnew", "notes.rst"), files)
    assert problems == []
    assert work.changed == {"notes.rst": "Title\n=======\nnew\n"}


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("train.py\n<<<<<<< SEARCH\n    lr = 0.1\n=======\n    lr", "no closing line of >>>>>>>: was it cut off?"),
        ("train.py\n<<<<<<< SEARCH\nx\n<<<<<<< SEARCH\ny\n=======\nz\n>>>>>>> REPLACE", "no closing line"),
        ("train.py\n<<<<<<< SEARCH\n    lr = 0.1\n>>>>>>> REPLACE", "no line of ======="),
        (block("", "x"), "nothing stands under SEARCH"),
        (block("x = 1", "x = 2", "evaluate.py"), "evaluate.py: it may not be changed; files that may be changed: train.py"),
        (block("x = 1", "x = 2", "/etc/passwd"), "it may not be changed"),
        (block("x = 1", "x = 2", "../train.pyc"), "it may not be changed"),
        (block("x = 1", "x = 2", "extra/none.py"), "extra/none.py: there is no such file"),
        ("train.py\n```python\n    lr = 0.05\n```", "is the text at line 2 of your reply the whole file?"),
        ("train.py\n```python\n" + HALVED.replace("    return lr", "    # ... rest of it") + "```", "is the text at line 2"),
        (
            "train.py\n<<<<<<< WHOLE FILE\nimport math\n# ... unchanged ...\n>>>>>>> END",
            "one of yours stands for lines left out",
        ),
        ("evaluate.py\n<<<<<<< DELETE\n>>>>>>> END", "it may not be changed"),
    ],
)
def test_what_cannot_be_put_in_place_is_said_and_changes_nothing(reply: str, words: str) -> None:
    work, problems = put(reply)
    assert len(problems) >= 1
    assert words in problems[0]
    assert work.changed == {}


@pytest.mark.parametrize(
    "reply",
    [
        "I would halve the rate:\n```python\nlr = 0.05\n```\nthat is all",
        "Run it:\n\n```\n$ python evaluate.py\n```",
        "",
        "no idea",
    ],
)
def test_prose_and_illustrations_are_no_blocks(reply: str) -> None:
    work, problems = put(reply)
    assert (work.changed, problems) == ({}, [])


def test_words_around_blocks_are_kept_for_the_description() -> None:
    found = read("I halve it.\n\n" + block("a", "b") + "\ndescription: half\nexpect: -1 %")
    assert found.prose.endswith("description: half\nexpect: -1 %")
    assert "SEARCH" not in found.prose


def test_files_are_made_and_taken_away() -> None:
    work, problems = put("extra/new.py\n<<<<<<< WHOLE FILE\nx = 1\n>>>>>>> END\n\ntrain.py\n<<<<<<< DELETE\n>>>>>>> END\n")
    assert problems == []
    assert work.changed == {"extra/new.py": "x = 1\n", "train.py": None}


def test_search_of_nothing_in_a_file_that_is_not_there_makes_it() -> None:
    work, problems = put(block("", "x = 1", "extra/new.py"))
    assert problems == []
    assert work.changed == {"extra/new.py": "x = 1\n"}


def test_the_same_name_in_two_folders_is_not_guessed() -> None:
    work, problems = put(block("x = 1", "x = 2", "model.py"), {"a/model.py": "x = 1\n", "b/model.py": "x = 1\n"})
    assert "files that may be changed: a/model.py, b/model.py" in problems[0]
    assert work.changed == {}


def test_line_ends_of_the_file_stay() -> None:
    crlf = TRAIN.replace("\n", "\r\n")
    for reply in (block("    lr = 0.1", "    lr = 0.05"), "train.py\n<<<<<<< WHOLE FILE\n" + HALVED + ">>>>>>> END\n"):
        work, problems = put(reply, {"train.py": crlf})
        assert problems == []
        assert work.changed == {"train.py": HALVED.replace("\n", "\r\n")}


def test_file_without_a_last_newline_stays_so() -> None:
    work, problems = put(block("x = 1", "x = 2"), {"train.py": "y = 0\nx = 1"})
    assert (work.changed, problems) == ({"train.py": "y = 0\nx = 2"}, [])


def test_lines_are_taken_out() -> None:
    work, problems = put("train.py\n<<<<<<< SEARCH\n    if step > 100:\n        lr = lr / 2\n=======\n>>>>>>> REPLACE\n")
    assert problems == []
    assert work.changed == {"train.py": TRAIN.replace("    if step > 100:\n        lr = lr / 2\n", "")}


# -- properties --------------------------------------------------------------------------------------------------------

LINE = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=20).map(lambda s: "x" + s)
FILE = st.lists(LINE, min_size=1, max_size=12, unique_by=str.strip)
MARGIN = st.sampled_from(["", "  ", "    ", "\t", "        "])


@given(FILE, st.data())
def test_lines_that_stand_there_once_are_replaced_and_no_other(lines: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(lines) - 1))
    end = data.draw(st.integers(start + 1, len(lines)))
    new = data.draw(st.lists(LINE, max_size=4))
    expected = [*lines[:start], *new, *lines[end:]]
    placed = place("\n".join(lines) + "\n", "\n".join(lines[start:end]), "\n".join(new))
    assert placed == ("\n".join(expected) + "\n" if expected else "")


@given(FILE, MARGIN, MARGIN, st.data())
def test_another_indentation_of_the_search_is_that_of_the_new_lines_too(
    lines: list[str], there: str, here: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(lines) - 1))
    new = data.draw(st.lists(LINE, min_size=1, max_size=4))
    text = "".join(f"{there}{line}\n" for line in lines)
    search = "\n".join(here + line + "  " for line in lines[start:])
    expected = [there + line for line in lines[:start]] + [there + line for line in new]
    placed = place(text, search, "\n".join(here + line for line in new))
    assert isinstance(placed, str)
    assert [line.rstrip() for line in placed.splitlines()] == [line.rstrip() for line in "\n".join(expected).splitlines()]


@given(FILE, st.lists(LINE, min_size=1, max_size=3))
def test_lines_that_are_not_there_leave_the_file_alone(lines: list[str], search: list[str]) -> None:
    text = "\n".join(lines)
    assume(all(line.strip() not in text for line in search))
    assert isinstance(place(text, "\n".join(search), "new"), Unplaced)


@given(
    st.lists(st.tuples(st.sampled_from(["train.py", "extra/a b.py"]), FILE, FILE), min_size=1, max_size=4), st.text(max_size=30)
)
def test_blocks_written_in_our_form_are_read_back(blocks: list[tuple[str, list[str], list[str]]], prose: str) -> None:
    assume(not any(mark in prose for mark in ("<<<<<", ">>>>>", "```", "~~~", "\r")))
    reply = prose + "\n\n" + "\n".join(block("\n".join(old), "\n".join(new), path) for path, old, new in blocks)
    found = read(reply)
    assert found.problems == ()
    assert found.blocks == tuple(Block(p, "replace", (("\n".join(old), "\n".join(new)),)) for p, old, new in blocks)


MARKS = ["<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE", "<<<<<<< WHOLE FILE", ">>>>>>> END", "<<<<<<< DELETE", "```", "~~~"]
LINES = ["train.py", "```python", "    lr = 0.1", "lr = 0.1", "    lr = 0.05", "", "prose", "    return lr", "=========="]
PIECES = st.sampled_from([*MARKS, *LINES])


@given(st.lists(st.one_of(PIECES, st.text(max_size=15)), max_size=25))
def test_any_reply_is_read_and_touches_files_in_scope_alone(pieces: list[str]) -> None:
    found = read("\n".join(pieces))
    work = patchwork()
    problems = work.take(found.blocks)
    assert all(path == "train.py" or path.startswith("extra/") for path in work.changed)
    assert all(problems)
    acting = [b for b in found.blocks if b.act != "fence"]
    assert len(problems) >= sum(b.path == "evaluate.py" for b in acting)


@given(st.text(max_size=200), st.text(max_size=60))
def test_what_is_near_is_always_told(text: str, search: str) -> None:
    assert nearest(text, search)
