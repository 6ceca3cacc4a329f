"""Constants in source files: which are found, with which ranges, and that writing them changes nothing else."""

from __future__ import annotations

import ast
import json
import math
import random
import textwrap
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.proposers.constants import Knob, RangeError, Value, edit, find

TRAIN = '''\
"""Pretrain a small GPT, in one file. Usage: python train.py"""

import os
os.environ["SOME_SETTING"] = "1"

from dataclasses import dataclass

MAX_SEQ_LEN = 2048  # context length

def norm(x):
    EPS = 1e-6  # a function's own
    return x / (x + EPS)

@dataclass
class GPTConfig:
    N_LAYER: int = 12

# ---------------------------------------------------------------------------
# Hyperparameters (edit these directly, no flags: WIDTH = 3)
# ---------------------------------------------------------------------------

# Architecture
ASPECT_RATIO = 64       # model_dim = depth × ASPECT_RATIO
HEAD_DIM = 128          # target head dimension
WINDOW_PATTERN = "SSSL" # sliding window: L=full, S=half context

# Optimisation
TOTAL_BATCH_SIZE = 2**19 # ~524K tokens per step
EMBEDDING_LR = 0.6      # for token embeddings (Adam)
UNEMBEDDING_LR = 0.004
MATRIX_LR = 4e-2
ADAM_BETAS = (0.8, 0.95) # beta1, beta2
WARMUP_RATIO = 0.0      # fraction of the time budget
WARMDOWN_RATIO = 0.5
SOFTCAP = -15.0
DEVICE_BATCH_SIZE: int = 1_28
USE_ROTARY = True

DEPTH = 8               # number of layers
SEED = 1337
RNG_SEED: int = 42
LOG_EVERY = 10

t_start = 3.5
TEXT = """
FAKE = 1  # knob: 1..3
"""
for STEP in range(3):
    pass
'''

FOUND = {
    "MAX_SEQ_LEN": 2048,
    "ASPECT_RATIO": 64,
    "HEAD_DIM": 128,
    "TOTAL_BATCH_SIZE": 19,
    "EMBEDDING_LR": 0.6,
    "UNEMBEDDING_LR": 0.004,
    "MATRIX_LR": 0.04,
    "ADAM_BETAS[0]": 0.8,
    "ADAM_BETAS[1]": 0.95,
    "WARMUP_RATIO": 0.0,
    "WARMDOWN_RATIO": 0.5,
    "SOFTCAP": -15.0,
    "DEVICE_BATCH_SIZE": 128,
    "USE_ROTARY": True,
    "DEPTH": 8,
}


def knobs(text: str, path: str = "a.py") -> dict[str, Knob]:
    return {k.name: k for k in find({path: textwrap.dedent(text)})}


def one(text: str, path: str = "a.py") -> Knob:
    (knob,) = knobs(text, path).values()
    return knob


def written(text: str, values: dict[str, Value], path: str = "a.py") -> str:
    return edit({path: text}, find({path: text}), values)[path]


def assigned(text: str) -> dict[str, Any]:
    """What the module-level assignments of a Python text say, by Python itself."""
    found: dict[str, Any] = {}
    for node in ast.parse(text).body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id.isupper():
                found[target.id] = eval(compile(ast.Expression(node.value), "", "eval"))
    return found


def any_values(found: list[Knob], rng: random.Random) -> dict[str, Value]:
    """Values in the range of each knob, for some of them."""
    chosen = rng.sample(found, rng.randint(1, len(found)))
    return {k.name: rng.choice(k.choices) if k.kind == "choice" else k.from_unit(rng.random()) for k in chosen}


# -- a whole file ------------------------------------------------------------------------------------------------------


def test_constants_of_a_training_script_are_found_with_their_values() -> None:
    assert {name: knob.value for name, knob in knobs(TRAIN).items()} == FOUND


@given(seed=st.integers(0, 2**32), crlf=st.booleans(), mark=st.booleans())
def test_random_edits_of_a_training_script_change_these_literals_and_nothing_else(seed: int, crlf: bool, mark: bool) -> None:
    text = ("\ufeff" if mark else "") + (TRAIN.replace("\n", "\r\n") if crlf else TRAIN)
    found = find({"train.py": text})
    values = any_values(found, random.Random(seed))
    after = edit({"train.py": text}, found, values)["train.py"]
    expected, changed = assigned(TRAIN), assigned(after.removeprefix("\ufeff"))
    for knob in found:
        if knob.name in values:
            value = 2 ** int(values[knob.name]) if knob.kind == "power" else values[knob.name]
            if knob.name.endswith("]"):
                place = list(expected["ADAM_BETAS"])
                place[int(knob.name[-2])] = value
                expected["ADAM_BETAS"] = tuple(place)
            else:
                expected[knob.name] = value
    assert changed == expected
    again = {k.name: k for k in find({"train.py": after})}
    assert remainder(text, found) == remainder(after, list(again.values()))
    assert {name: again[name].value for name in values} == values


def remainder(text: str, found: list[Knob]) -> str:
    """The text with every literal cut out."""
    for knob in sorted(found, key=lambda k: -k.start):
        text = text[: knob.start] + "?" + text[knob.end :]
    return text


def test_writing_the_present_values_changes_no_value_and_no_formatting() -> None:
    after = written(TRAIN, dict(FOUND))
    assert assigned(after) == assigned(TRAIN)
    assert after == TRAIN.replace("4e-2", "0.04").replace("1_28", "128")


# -- what is found in Python -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "lr = 0.1",
        "Lr = 0.1",
        "_LR = 0.1",
        "X = None",
        "X = [1, 2]",
        "X = 1 + 2",
        "X = 3**2",
        "X = 2**-1",
        "X = 2.0**3",
        "X = -(2**5)",
        "X = 2**99",
        "X = f(3)",
        "X = 1j",
        "X = b'a'",
        "X = 1e999",
        "X = 1e300",
        "X = 5e-324",
        f"X = 1{'0' * 400}",
        "X = 0",
        "NAME = 'text without choices'",
        "X = Y = 3",
        "X, Y = 3, 4",
        "X += 3",
        "a.X = 3",
        "if True:\n    X = 3",
        "def f():\n    X = 3",
        "class A:\n    X = 3",
        "X: int",
        "X = 3\nX = 4",
        "X = 3\nif A:\n    X = 4",
        "X = 3\nX *= 2",
        "X = 3\nfor X in range(3): pass",
        "X = 3\nwith a as X: pass",
        "X = 3\ndef f():\n    global X\n    X = 4",
        "SEED = 3",
        "RANDOM_SEED = 3",
        "RANDOMSEED2 = 3",
        "PORT = 8080",
        "LOG_EVERY = 10",
        "X = 3  # knob: off",
        "X = (1, 2)  # knob: off",
        "X = (  # knob: off\n    1,  # knob: off\n)",
        "X = '''\nY = 3  # knob: 1..5\n'''",
        "this is no Python = 3",
        "X = 3\n\0",
        "X = " + "(" * 500 + "3" + ")" * 500,
        "X = " + "-" * 20_000 + "3",
    ],
)
def test_what_is_no_constant_to_search_is_left_alone(text: str) -> None:
    assert find({"a.py": text}) == []


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        ("X = 3", 3, "int"),
        ("X = 50_000", 50_000, "int"),
        ("X = 0x10", 16, "int"),
        ("X = 1e-4", 1e-4, "float"),
        ("X = .5", 0.5, "float"),
        ("X = -2.5", -2.5, "float"),
        ("X = -  3", -3, "int"),
        ("X = (3)", 3, "int"),
        ("X = True", True, "choice"),
        ("X = 2**19", 19, "power"),
        ("X = 2 ** 3", 3, "power"),
        ("X: float = 0.5", 0.5, "float"),
        ("X: 'Final[int]' = 7", 7, "int"),
        ("PROPORTION = 0.3", 0.3, "float"),
        ("SUPPORT_SIZE = 3", 3, "int"),
        ("EVERYTHING = 2", 2, "int"),
        ("X = 3\ndef f():\n    X = 4", 3, "int"),
        ("X = 3\nclass A:\n    X = 4", 3, "int"),
        ("SEED = 3  # knob: 1..9", 3, "int"),
        ("X = 3; y = 4", 3, "int"),
        ("Y = '\\d'\nX = 3", 3, "int"),
    ],
)
def test_constants_in_all_their_spellings_are_found_and_written(text: str, value: Value, kind: str) -> None:
    knob = one(text)
    assert (knob.value, knob.kind) == (value, kind)
    other = (not value) if isinstance(value, bool) else knob.from_unit(0.9)
    assert other != value
    after = written(text, {knob.name: other})
    assert one(after).value == other
    assert after.count("\n") == text.count("\n")


def test_warnings_about_the_owners_code_are_not_shown() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert one("PATTERN = '\\d'\nX = 3").value == 3


def test_tuples_are_searched_element_by_element() -> None:
    found = knobs("BETAS = (0.9, 'x', 0.99)\nSIZES = 4, 8")
    assert {name: k.value for name, k in found.items()} == {"BETAS[0]": 0.9, "BETAS[2]": 0.99, "SIZES[0]": 4, "SIZES[1]": 8}


def test_range_beside_a_tuple_holds_for_each_element_that_has_none_of_its_own() -> None:
    text = """\
    A = (0.8, 0.95)  # knob: 0.5..0.999
    B = (
        1,  # knob: 1..3
        7,
    )  # knob: 5..9
    """
    found = knobs(text)
    assert [(k.low, k.high) for k in found.values()] == [(0.5, 0.999), (0.5, 0.999), (1, 3), (5, 9)]


def test_names_of_two_files_are_told_apart() -> None:
    files = {"a.py": "X = 3\nY = 1.5\n", "b.py": "X = 4\n"}
    found = find(files)
    assert [k.name for k in found] == ["a.py:X", "Y", "b.py:X"]
    assert edit(files, found, {"b.py:X": 5}) == {"b.py": "X = 5\n"}


# -- formatting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("NAME = 'é😀ü'; X = 3  # ñ\r\nY = 1\r\n", "NAME = 'é😀ü'; X = 4  # ñ\r\nY = 1\r\n"),
        ("\tif_ = 'ä'\n".lstrip() + "X\t=\t3   #tail", "if_ = 'ä'\nX\t=\t4   #tail"),
        ("# a form feed \x0c in a comment\nX = 3\n", "# a form feed \x0c in a comment\nX = 4\n"),
        ("T = 'line\u2028separator\x85 \x1c'\nX = 3\n", "T = 'line\u2028separator\x85 \x1c'\nX = 4\n"),
        ("T = 1.5\rX = 3\r", "T = 1.5\rX = 4\r"),
        ("T = '''\nmany\n\nlines'''; X = 3", "T = '''\nmany\n\nlines'''; X = 4"),
        ("X = \\\n    3\n", "X = \\\n    4\n"),
        ("X = (\n    3\n)\n", "X = (\n    4\n)\n"),
        ("X: int=3", "X: int=4"),
    ],
)
def test_everything_around_the_literal_is_kept(before: str, after: str) -> None:
    assert written(before, {"X": 4}) == after


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30).filter(lambda s: "knob" not in s),
    st.integers(1, 10**6),
    st.sampled_from(["\n", "\r\n"]),
)
def test_any_text_before_the_literal_leaves_its_place_known(words: str, value: int, end: str) -> None:
    text = f"NAME = {words!r}; X = 5  # {' '.join(words.splitlines())!r}{end}Y = 2.5{end}"
    assert written(text, {"X": value, "Y": 7.25}) == text.replace("; X = 5 ", f"; X = {value} ").replace("Y = 2.5", "Y = 7.25")


def test_value_that_does_not_read_back_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot write X = inf"):
        written("X = 3.0", {"X": math.inf})


# -- ranges ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("0..0.5", (0, 0.5, False)),
        ("log 1e-5..1e-1", (1e-5, 1e-1, True)),
        ("LOG 1e-5 .. 1e-1", (1e-5, 1e-1, True)),
        (".01..1.5e3", (0.01, 1500, False)),
        ("-1..1", (-1, 1, False)),
        ("1..2", (0.1, 2, False)),  # the present value is always inside
    ],
)
def test_range_comes_from_the_comment(comment: str, expected: tuple[float, float, bool]) -> None:
    knob = one(f"X = 0.1  # see the paper # knob: {comment}")
    assert (knob.low, knob.high, knob.log) == expected


@pytest.mark.parametrize(
    "comment",
    ["", "what", "1", "3..1", "1..1", "log 0..1", "log -1..1", "1..inf", "nan..1", "..", "1..", "0..1 or so", "1...2"],
)
def test_range_that_cannot_be_read_is_an_error_that_names_the_constant(comment: str) -> None:
    if not comment:
        assert one("X = 0.1  # knob:").log
        return
    with pytest.raises(RangeError, match=r"train\.py: LR: cannot read"):
        find({"train.py": f"LR = 0.1  # knob: {comment}"})


@pytest.mark.parametrize("text", ["X = 'a'  # knob: 1..3", "X = True  # knob: 0..1", "X = 2**4  # knob: 1..99"])
def test_range_that_does_not_suit_the_constant_is_an_error(text: str) -> None:
    with pytest.raises(RangeError, match="X: cannot read"):
        find({"a.py": text})


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("X = 'relu'  # knob: relu|gelu| silu ", ("relu", "gelu", "silu")),
        ("X = 'tanh'  # knob: relu|'gelu'", ("tanh", "relu", "gelu")),
        ("X = 32  # knob: 16|32|64", (16, 32, 64)),
        ("X = 0.5  # knob: -1|0.5", (-1, 0.5)),
        ("X = True", (False, True)),
        ("X = False  # knob: False|True", (False, True)),
    ],
)
def test_choices_have_the_type_of_the_present_value_and_hold_it(text: str, choices: tuple[Value, ...]) -> None:
    knob = one(text)
    assert knob.choices == choices
    assert knob.size == len(choices)
    for choice in choices:
        assert one(written(text, {"X": choice})).value == choice


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20))
def test_any_string_can_be_written(value: str) -> None:
    text = "X = 'a'  # knob: a|b"
    assert one(written(text, {"X": value})).value == value


def test_power_of_two_is_searched_and_written_as_one() -> None:
    knob = one("BATCH = 2**19  # tokens")
    assert (knob.low, knob.high, knob.show(18)) == (16, 22, "2**18")
    assert written("BATCH = 2**19  # tokens", {"BATCH": 17}) == "BATCH = 2**17  # tokens"
    assert one("X = 2**1").low == 0
    assert one("X = 2**62").high == 63
    assert [one(f"X = 2**{k}").value for k in (0, 1, 63)] == [0, 1, 63]


def test_whole_number_with_a_fractional_range_becomes_fractional() -> None:
    knob = one("DROPOUT = 0  # knob: 0..0.5")
    assert knob.kind == "float"
    assert written("DROPOUT = 0  # knob: 0..0.5", {"DROPOUT": 0.25}) == "DROPOUT = 0.25  # knob: 0..0.5"


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("LR = 0.01", 0.001, 0.1),
        ("LAYERS = 8", 2, 32),
        ("ONE = 1", 1, 4),
        ("OFFSET = -8", -32, -2),
        ("DROPOUT = 0.0", 0, 1),
        ("DROPOUT = 0.1", 0, 0.4),
        ("MOMENTUM = 0.9", 0.58, 0.99),
    ],
)
def test_range_follows_from_the_value(text: str, low: float, high: float) -> None:
    knob = one(text)
    assert (knob.low, knob.high) == pytest.approx((low, high))


NUMBERS = st.one_of(
    st.integers(-(10**9), 10**9),
    st.floats(-1e200, 1e200, allow_nan=False),
    st.floats(-1, 1, allow_nan=False),
)


@given(
    name=st.sampled_from(["X", "DROPOUT", "MOMENTUM", "WARMUP_RATIO"]),
    value=NUMBERS,
    unit=st.integers(-500, 1500).map(lambda i: i / 1000),
)
def test_every_place_in_a_range_is_a_value_inside_it_that_can_be_written(name: str, value: float, unit: float) -> None:
    text = f"{name} = {value!r}\n"
    for knob in find({"a.py": text}):
        assert knob.low <= float(knob.value) <= knob.high
        chosen = knob.from_unit(unit)
        assert knob.low <= float(chosen) <= knob.high
        assert type(chosen) is type(knob.value)
        assert 0 <= knob.to_unit(chosen) <= 1
        assert assigned(written(text, {name: chosen})) == {name: chosen}
        assert knob.from_unit(knob.to_unit(knob.value)) == pytest.approx(knob.value, rel=1e-2, abs=abs(knob.high) * 1e-12)


# -- JSON --------------------------------------------------------------------------------------------------------------

CONFIG = """\
{
  "lr" : 1e-3,   "layers":[64,  32],
  "na\\"me\\\\": {"use bias": true, "gain": -2.50},
  "ä": "12: 3", "none": null, "seed": 7, "empty": {}, "list": [], "deep": [{"x": 1}, {"x": 2}]
}
"""


def test_scalars_of_json_are_found_by_path() -> None:
    found = {k.name: k.value for k in find({"a.json": CONFIG})}
    assert found == {
        "lr": 1e-3,
        "layers.0": 64,
        "layers.1": 32,
        'na"me\\.use bias': True,
        'na"me\\.gain': -2.5,
        "deep.0.x": 1,
        "deep.1.x": 2,
    }


def test_editing_json_replaces_the_literals_alone() -> None:
    after = written(CONFIG, {"lr": 0.5, "layers.1": 33, 'na"me\\.use bias': False, "deep.1.x": 9}, "a.json")
    expected = CONFIG.replace("1e-3", "0.5").replace("  32", "  33").replace("true", "false").replace('{"x": 2}', '{"x": 9}')
    assert after == expected


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1, 2", "NaN", '{"a": 1, "a": 2}', '{"a.b": 1, "a": {"b": 2}}', "1e999", "[" * 100_000, '{"x": 1} // comment'],
)
def test_json_that_is_none_or_ambiguous_is_left_alone(text: str) -> None:
    assert find({"a.json": text}) == []


SCALARS = st.one_of(st.integers(1, 10**6), st.floats(1e-6, 1e6), st.booleans(), st.none(), st.text(max_size=5))
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


@given(tree=TREES, seed=st.integers(0, 2**32), indent=st.sampled_from([None, 0, 2]), ascii_only=st.booleans())
def test_random_edits_of_random_json_read_back(tree: Any, seed: int, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(tree, indent=indent, ensure_ascii=ascii_only)
    found = find({"a.json": text})
    if found:
        values = any_values(found, random.Random(seed))
        after = written(text, values, "a.json")
        again = find({"a.json": after})
        assert {k.name: k.value for k in again} == {k.name: k.value for k in found} | values
        assert remainder(after, again) == remainder(text, found)
