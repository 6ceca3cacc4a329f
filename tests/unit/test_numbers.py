"""Reading numbers: every source in its order, numbers as programs print them, and errors that name the key that would help."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.runners.numbers import NoNumber, clean_lines, read, to_number

KARPATHY = """\
Vocab size: 8,192
step 00952 (99.8%) | loss: 2.871523 | lrm: 0.00 | dt: 315ms | tok/sec: 1,664,302 | mfu: 39.9% | epoch: 1 | remaining: 0s
---
val_bpb:          0.997900
training_seconds: 300.1
total_seconds:    325.9
peak_vram_mb:     45060.2
mfu_percent:      39.80
total_tokens_M:   499.6
num_steps:        953
num_params_M:     50.3
depth:            8
"""

COVERAGE = """\
Name                 Stmts   Miss  Cover
----------------------------------------
src/pkg/__init__.py     12      0   100%
src/pkg/core.py        220    108    51%
----------------------------------------
TOTAL                  232    108    54%
"""

HYPERFINE = {"results": [{"command": "sleep 0.1", "mean": 0.1034, "times": [0.1, 0.2]}, {"mean": 5}], "note": "a"}


def score(stdout: str, **options: Any) -> float:
    return read(stdout, ["score"], **options)["score"]


# -- numbers as they are written ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3.5", -3.5),
        ("+.5", 0.5),
        ("5.", 5),
        ("1e-3", 0.001),
        ("1.5E+3", 1500),
        ("91.2 %", 91.2),
        ("91.2%", 91.2),
        ("1,664,302", 1_664_302),
        ("1_000_000", 1_000_000),
        ("1 234 567.5", 1_234_567.5),
        ("1'234", 1234),
        ("12.5ms", 12.5),
        ("12.5 MB/s", 12.5),
        ("3 µs", 3),
        ("45 °C", 45),
        ("2.5 m²", 2.5),
        ("7/s", 7),
        ("12 requests per second", 12),
        ("1,234.5", 1234.5),
        ("1\u00a0234", 1234),
        ("1\u202f234.5", 1234.5),
        ("1’234", 1234),
        ("−0.5", -0.5),
        ("1.2e−3", 0.0012),
        ("1.2k", 1200),
        ("1.2K", 1200),
        ("50.3M", 50_300_000),
        ("2 G", 2e9),
        ("3 MB", 3),
        ("5 m", 5),
        ("1m23s", 83),
        ("1h2m3.5s", 3723.5),
        ("2 min 3 s", 123),
        ("1 hour, 2 minutes and 3 seconds", 3723),
        ("1:02.3", 62.3),
        ("1:02:03", 3723),
        ("12.3 ms ± 0.4 ms", 12.3),
        ("0.93 +/- 0.02", 0.93),
        ("np.float64(0.25)", 0.25),
        ("tensor(0.25, device='cuda:0')", 0.25),
        ("  8  ", 8),
        ("0x", 0),
    ],
)
def test_numbers_with_separators_and_units(text: str, value: float) -> None:
    assert to_number(text) == value


NO_NUMBERS = [
    *("", "a", "1.2.3", "1,5", "12,34", "1000,000", "3 of 4", "v3", "1-2", "3; 4", "--3", "%", "1 2 3"),
    *("1.234,5", "0,123", "1.234.567", "1\u202f234,5", "1,234 567", "0x1F", "0x10", "1h30m", "1:02", "1:99:00", "1k5"),
    *("2024-01-02", "8 H100", "10/20", "<5", "~5", "$5", "info", "0.9 ± x", "1.94 ± 0.01 times faster", "1 5"),
]


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_is_not_one_number_is_none(text: str) -> None:
    assert to_number(text) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_reads_back_as_python_prints_it(value: float) -> None:
    assert to_number(repr(value)) == value
    assert score(f"score: {value!r}") == value
    assert score(f"METRIC score={value!r}\n") == value
    assert score(json.dumps({"score": value})) == value


@given(st.integers(-(10**15), 10**15), st.sampled_from([",", "_"]), st.sampled_from(["", "%", " ms", " tokens/s"]))
def test_thousands_separators_and_units_do_not_change_the_number(value: int, separator: str, unit: str) -> None:
    assert score(f"score = {value:{separator}}{unit}") == value


# -- what a terminal shows ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[1;32mscore:\x1b[0m \x1b[31m0.5\x1b[0m",
        "\x1b[2K\x1b[1Gscore: 0.5",
        "\x1b]8;;https://example.org\x1b\\score: 0.5\x1b]8;;\x07",
        "score: 0.1\rscore: 0.5",
        " 50%|█████     | 1/2 [00:00<00:00]\rscore: 0.5",
        "score: 0.5\r\n",
        "score: 0.5\r\r\n",
        "\x1b[31mscore: 9\x1b[0m\r\x1b[Kscore: 0.5\n",
    ],
)
def test_colours_and_what_was_overwritten_are_not_read(text: str) -> None:
    assert score(text) == 0.5


def test_progress_bars_leave_only_their_last_state() -> None:
    bar = "".join(f"\r{i:3}%|{'█' * (i // 10):10}| loss: {1 - i / 200}" for i in range(0, 101, 10)) + "\nloss: 0.25\n"
    assert read(bar, ["loss"]) == {"loss": 0.25}


@given(st.text())
def test_cleaning_keeps_one_line_for_each_and_no_carriage_return(text: str) -> None:
    lines = clean_lines(text)
    assert not any("\r" in line or "\n" in line for line in lines)
    if "\x1b" not in text:
        assert len(lines) == text.count("\n") + 1


# -- the sources, in their order ---------------------------------------------------------------------------------------


def test_first_source_that_has_the_number_is_taken(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    lines = ["score: 3", "METRIC score=2", "METRIC other=9", '{"score": 4, "text": "x"}']
    result.write_text('{"score": 1}')
    assert score("\n".join(lines), result=result) == 1
    result.write_text('{"other": 1}')
    assert score("\n".join(lines), result=result) == 2
    del lines[1]
    assert score("\n".join(lines), result=result) == 4
    assert score("\n".join(lines[:2]), result=result) == 3
    assert score("loading\n5\n\n") == 5


@pytest.mark.parametrize(
    "line", ["score: 3", "Score = 3", "  - score: 3", "* SCORE:3", '"score": 3,', "| score = 3 |", "> score: 3;"]
)
def test_spellings_of_a_named_number(line: str) -> None:
    assert score(f"before\n{line}\nafter") == 3


@pytest.mark.parametrize(
    "line", ["score 3", "scores: 3", "best score: 3", "score: three", "score: 3 of 4", "score:", "score: 3 4", "myscore=3"]
)
def test_lines_that_do_not_name_the_number_are_not_read(line: str) -> None:
    with pytest.raises(NoNumber, match="no number named score"):
        score(f"{line}\ndone")


@pytest.mark.parametrize("line", ["val_bpb: 1", "val bpb: 1", "Val-BPB = 1", "VAL_BPB: 1 bits/byte", "val_bpb: 1 (best 0.9)"])
def test_underscores_and_case_of_a_name_are_free(line: str) -> None:
    assert read(line, ["val_bpb"]) == {"val_bpb": 1}


@pytest.mark.parametrize(
    "line",
    [
        "epoch 3 loss: 0.1234 score: 0.98",
        "Epoch 3/10 - loss: 0.1234 - score: 0.98 - val_loss: 0.3",
        "32/32 ━━━━━━━━━━━━━━━━━━━━ 0s 2ms/step - score: 0.98 - loss: 0.3",
        "step 00952 (99.8%) | score: 0.98 | dt: 315ms",
        "loss=0.12, score=0.98, n=3",
        "loss: 0.12; score: 0.98",
        "[10:03:11] score: 0.98",
        "2026-01-02 10:00:00,123 INFO score: 0.98",
        "INFO:root:score: 0.98",
        "done (score: 0.98)",
        "loss 0.3, score: 0.98 %, more",
        "{'loss': 0.12, 'score': 0.98}",
        "{'score': np.float64(0.98), 'epoch': 3.0}",
        "{'eval_loss': '0.12', 'score': '0.98'}",
        "| score | 0.98 |",
        "| **score** | 0.98 |",
        "│ score      │ 0.98  │",
        "┃ score ┃ 0.98 ± 0.01 ┃",
    ],
)
def test_one_of_several_numbers_on_a_line_is_read(line: str) -> None:
    assert score(f"before\n{line}\nafter\n") == 0.98


@pytest.mark.parametrize(
    "line",
    [
        "top 5 score: 0.98",
        "val score: 0.98",
        "train: score: 0.98",
        "the score: 0.98 was reached",
        "loss: 0.1 score: 0.98 of 1",
        "loss: 0.1 - score: 1.234,5 - x: 1",
        "loss: 0.1, score: 1,5",
        "| score | 0.98 | 0.97 |",
        '{"score": 0.98}',
        '{"loss": 1, "score": 0.98}',
        "best_score=0.98, loss=3",
        "a.score=0.98, loss=3",
        "loss: 0.1 score: 1:02 x",
    ],
)
def test_a_number_that_may_be_another_one_is_not_read(line: str) -> None:
    with pytest.raises(NoNumber):
        score(f"{line}\ndone\n")


def test_a_line_of_its_own_goes_before_one_among_several() -> None:
    assert score("epoch 1 loss: 3, score: 0.5\nepoch 2 loss: 2, score: 0.6\nscore: 0.7\n") == 0.7


def test_nan_in_a_python_dict_is_no_measurement() -> None:
    with pytest.raises(NoNumber, match="which is no measurement"):
        score("{'loss': 1.0, 'score': nan}\ndone")


@pytest.mark.parametrize("take", ["only", "last", "min"])
def test_one_number_in_two_units_is_no_measurement(take: str) -> None:
    with pytest.raises(NoNumber, match=r"score was printed in different units \('ms', 's'\): print it in one"):
        score("score: 980 ms\nscore: 1.02 s\n", take=take)
    assert score("score: 45 sec\nscore: 1m23s\n", take="max") == 83


@given(
    st.lists(st.tuples(st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True), st.floats(-1e6, 1e6)), min_size=1, max_size=6),
    st.sampled_from([" - ", ", ", " | ", "; ", " "]),
    st.sampled_from([": ", "="]),
)
def test_pairs_on_a_line_read_back_each_by_its_name(pairs: list[tuple[str, float]], between: str, mark: str) -> None:
    names = [name for name, _ in pairs if name not in ("inf", "nan", "infinity")]
    line = "epoch 3 " + between.join(f"{name}{mark}{value!r}" for name, value in pairs)
    wanted = {name: value for name, value in pairs if names.count(name) == 1}
    assert read(f"start\n{line}\nend\n", ["", *wanted], lead=False) == wanted


def test_karpathys_block_is_read() -> None:
    found = read(KARPATHY, ["val_bpb", "peak_vram_mb", "num_steps", "mfu_percent", "missing"])
    assert found == {"val_bpb": 0.9979, "peak_vram_mb": 45060.2, "num_steps": 953, "mfu_percent": 39.8}


def test_accuracy_in_percent_is_read_as_it_stands() -> None:
    assert read("epoch 3\naccuracy = 91.2 %\n", ["accuracy"]) == {"accuracy": 91.2}


def test_bare_last_line_is_only_read_where_one_number_is_wanted() -> None:
    assert score("1\n2\n3 ms\n") == 3
    with pytest.raises(NoNumber):
        read("1\n2\n3\n", ["score", "guard"])
    with pytest.raises(NoNumber):
        score("3\ndone\n")


def test_json_is_read_from_the_last_line_alone() -> None:
    assert read('{"a": 9}\n{"a": 1.5, "b": 2, "c": true, "d": "3"}\n\n', ["a", "b", "c", "d"]) == {"a": 1.5, "b": 2}
    with pytest.raises(NoNumber):
        read('{"a": 9}\ndone', ["a"])


@pytest.mark.parametrize(
    "body", ["", "{", "[1]", "3", '{"score": "1"}', '{"score": true}', "[" * 100_000, "\ufeff{}", '{"score": null}']
)
def test_result_file_without_the_number_is_passed_over(tmp_path: Path, body: str) -> None:
    result = tmp_path / "result.json"
    result.write_text(body, encoding="utf-8")
    assert score("score: 7", result=result) == 7


def test_result_that_is_a_link_a_folder_or_a_pipe_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text('{"score": 1}')
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("link", "folder", "pipe", "missing"):
        assert score("score: 7", result=tmp_path / f"{name}.json") == 7


def test_json_nested_without_end_on_the_last_line_is_no_number_and_no_crash() -> None:
    assert score("score: 3\n" + '{"a":' * 100_000) == 3


# -- several values, and none ------------------------------------------------------------------------------------------

TAKES = [("last", 2.0), ("first", 3.0), ("min", 1.0), ("max", 4.0), ("median", 2.5)]


@pytest.mark.parametrize(("take", "value"), TAKES)
@pytest.mark.parametrize("form", ["score: {}", "METRIC score={}"])
def test_take_chooses_where_a_number_is_printed_more_than_once(take: str, value: float, form: str) -> None:
    assert score("\n".join(form.format(x) for x in (3, 1, 4, 2)), take=take) == value


def test_different_values_are_no_measurement_by_default_and_the_key_is_named() -> None:
    with pytest.raises(NoNumber, match=r'score was printed 5 times with different values \(1, 2, 3, 4, …\).*take = "last"'):
        score("\n".join(f"score: {i}" for i in (1, 2, 3, 4, 5)))


def test_the_same_value_twice_is_one_value() -> None:
    assert score("score: 1.0\nscore: 1\n") == 1


def test_guards_take_the_last_value_whatever_the_metric_takes() -> None:
    out = "score: 1\nmem: 5\nmem: 7\nscore: 2\n"
    assert read(out, ["score", "mem"], take="first") == {"score": 1, "mem": 7}


@pytest.mark.parametrize("value", ["nan", "NaN", "inf", "-inf", "Infinity", "1e999", "NaN %"])
@pytest.mark.parametrize("take", ["only", "last", "min", "median"])
def test_what_is_not_finite_is_no_measurement(value: str, take: str) -> None:
    with pytest.raises(NoNumber, match="which is no measurement"):
        score(f"score: 1\nscore: {value}", take=take)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "1" + "0" * 400])
def test_json_number_that_is_not_finite_is_no_measurement(tmp_path: Path, value: str) -> None:
    (tmp_path / "result.json").write_text(f'{{"score": {value}}}')
    for options in ({"result": tmp_path / "result.json"}, {"json_file": tmp_path / "result.json", "json_path": "score"}):
        with pytest.raises(NoNumber, match="which is no measurement"):
            score("", **options)
    with pytest.raises(NoNumber, match="which is no measurement"):
        score(f'{{"score": {value}}}')


def test_guard_that_is_not_finite_or_missing_is_left_out() -> None:
    assert read("score: 1\na: nan\n", ["score", "a", "b"]) == {"score": 1}


def test_nothing_found_names_the_three_ways_to_print_it() -> None:
    with pytest.raises(NoNumber) as error:
        score("nothing")
    for words in ("print `score: <number>`", "$AUTORESEARCH_RESULT", "[metric] pattern"):
        assert words in str(error.value)


def test_nothing_found_names_what_is_there() -> None:
    with pytest.raises(NoNumber, match=r"\(there: val_bpb 0\.9979, .*, …\): print `score: <number>`") as error:
        score(KARPATHY)
    assert str(error.value).count(",") < 12


def test_nothing_found_in_the_output_of_a_known_tool_gives_the_line_that_reads_it() -> None:
    with pytest.raises(NoNumber, match=r"no number named coverage .*set \[metric\] pattern = '") as error:
        read(COVERAGE, ["coverage"])
    pattern = str(error.value).partition("pattern = '")[2].rstrip("'")
    assert read(COVERAGE, ["coverage"], pattern=pattern) == {"coverage": 54}


def test_without_a_lead_every_name_is_a_guard() -> None:
    assert read("b: 1\nb: 2\n", ["a", "b"], lead=False, pattern="x", take="only") == {"b": 2}
    assert read("5\n", ["a"], lead=False) == {}


# -- pattern -----------------------------------------------------------------------------------------------------------


def test_pattern_reads_pytest_cov() -> None:
    assert score(COVERAGE, pattern=r"TOTAL.*?(\d+)%") == 54


@pytest.mark.parametrize(
    ("pattern", "value"),
    [(r"^took (\S+)", 1.5), (r"(?<=took )[\d.]+", 1.5), (r"speed (.*)$", 1_234.0), (r"(?:took|needed) ([\d.]+) s", 1.5)],
)
def test_pattern_with_and_without_a_group(pattern: str, value: float) -> None:
    assert score("\x1b[1mstart\x1b[0m\ntook 1.5 s\nspeed 1,234 MB/s\nscore: 9\n", pattern=pattern) == value


def test_pattern_replaces_all_other_sources(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"score": 1}')
    with pytest.raises(NoNumber, match=r"the pattern for score matched no number on standard output: x\(\\d\)"):
        score("score: 3\n", pattern=r"x(\d)", result=tmp_path / "result.json")


def test_pattern_that_matches_often_follows_take() -> None:
    out = "x1\nx3\nx2\n"
    with pytest.raises(NoNumber, match='take = "last"'):
        score(out, pattern=r"x(\d)")
    assert score(out, pattern=r"x(\d)", take="max") == 3


def test_group_that_took_no_part_in_the_match_is_no_number() -> None:
    assert score("%\n5%\n", pattern=r"(\d+)?%") == 5


@pytest.mark.parametrize(
    ("pattern", "text", "words"),
    [
        (r"TOTAL.*(\d+)%", "TOTAL  120   55   54%", "takes 4 out of 54:"),
        (r"time (\d+)", "time 1,234", "takes 1 out of 1,234:"),
        (r"time (\d+)", "time 12.5", "takes 12 out of 12.5:"),
        (r"score 0.(\d+)", "score 0.93", "takes 93 out of 0.93:"),
        (r"([\d.]+)", "1.234,5", "takes 1.234 out of 1.234,5:"),
    ],
)
def test_pattern_that_takes_a_part_of_a_number_is_no_measurement(pattern: str, text: str, words: str) -> None:
    with pytest.raises(NoNumber, match=words):
        score(f"{text}\n", pattern=pattern)


@pytest.mark.parametrize(
    ("pattern", "text", "value"),
    [
        (r"TOTAL.*?(\d+)%", "TOTAL  120   55   54%", 54),
        (r"^\d+,(\d+),", "12,13,14", 13),
        (r"^(\d+),", "12,345,6", 12),
        (r"p95=(\d+)ms", "p50=3ms p95=12ms", 12),
        (r"took ([\d.]+)", "it took 12.5.", 12.5),
        (r"x(\d)", "x1", 1),
    ],
)
def test_pattern_that_takes_a_whole_number_is_read(pattern: str, text: str, value: float) -> None:
    assert score(f"{text}\n", pattern=pattern) == value


def test_pattern_is_for_the_metric_alone() -> None:
    assert read("x1\nmem: 3\n", ["score", "mem"], pattern=r"x(\d)") == {"score": 1, "mem": 3}


# -- a JSON file -------------------------------------------------------------------------------------------------------


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(HYPERFINE))
    return file


@pytest.mark.parametrize(
    ("path", "value"),
    [("results[0].mean", 0.1034), ("results[1].mean", 5), ("results[-1].mean", 5), ("results[0].times[1]", 0.2)],
)
def test_path_leads_into_hyperfines_file(bench: Path, path: str, value: float) -> None:
    assert score("score: 9", json_file=bench, json_path=path) == value


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("results[7].mean", r"no \[7\] in bench.json \(there: list\)"),
        ("result.mean", r"no result in bench.json \(there: results, note\)"),
        ("results[0].median", r"no median in bench.json \(there: command, mean, times\)"),
        ("results.mean", r"no mean in bench.json \(there: list\)"),
        ("note", "is 'a', expected a number"),
        ("results[0]", "is {.*}, expected a number"),
        ("results[0].times", r"is \[0.1, 0.2\], expected a number"),
    ],
)
def test_path_that_leads_nowhere_says_what_is_there(bench: Path, path: str, words: str) -> None:
    with pytest.raises(NoNumber, match=words):
        score("", json_file=bench, json_path=path)


def test_file_that_is_missing_broken_or_no_file_is_no_measurement(tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("{")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "deep").write_text("[" * 100_000)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**30)
    words = {"missing": "no such file", "folder": "not a file", "pipe": "not a file", "huge": "larger than 64 MB"}
    for name in ("missing", "folder", "pipe", "huge", "broken", "binary", "deep"):
        with pytest.raises(NoNumber, match=rf"\[metric\] file {name}: ?.*{words.get(name, 'not JSON')}|is not JSON"):
            score("score: 1", json_file=tmp_path / name, json_path="x")


TEXTS = (
    st.text()
    | st.text("score:=b 0123456789.,-eE%kMs[](){}|'\"\t\n\r\x1b±nainf")
    | st.from_regex(r"(score[:=] ?[^\n]{0,12}\n){0,4}")
)


@given(TEXTS, st.sampled_from(["only", "last", "min"]), st.sampled_from(["", r"(\d+)", r".*", r"score(.*)", r"(x)|b"]))
def test_no_output_brings_anything_but_a_finite_number_or_a_reason(text: str, take: str, pattern: str) -> None:
    reason, found = "", {}
    try:
        found = read(text, ["score", "b"], take=take, pattern=pattern)
    except NoNumber as error:
        reason = str(error)
    assert reason or "score" in found
    assert all(math.isfinite(value) for value in found.values())


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("p95: 980 ms", "ms", 980),
        ("p95: 1.02 s", "ms", 1020),
        ("p95: 1.02 s", "", 1.02),
        ("p95: 250 µs", "ms", 0.25),
        ("p95: 2m3s", "s", 123),
        ("p95: 3 MiB", "kB", 3145.728),
        ("p95: 5 req/s", "ms", 5),
        ("p95: 12", "ms", 12),
        ("METRIC p95=2 min", "s", 120),
    ],
)
def test_number_is_given_in_the_metrics_unit_where_a_tool_changes_it(text: str, unit: str, value: float) -> None:
    assert read(text, ["p95"], unit=unit) == {"p95": pytest.approx(value, rel=1e-12)}


def test_number_printed_in_two_units_is_read_where_the_unit_is_said() -> None:
    text = "p95: 900 ms\np95: 1.1 s"
    assert read(text, ["p95"], unit="ms", take="last") == {"p95": pytest.approx(1100)}
    with pytest.raises(NoNumber, match=r"different units.*say which in \[metric\] unit"):
        read(text, ["p95"], take="last")


def test_pattern_that_takes_the_unit_along_is_converted_too() -> None:
    assert read("Time: 1.5 s", ["t"], pattern=r"Time: (.*)", unit="ms") == {"t": pytest.approx(1500)}
