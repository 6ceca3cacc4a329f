"""`optimize` while it runs: in a real notebook kernel, on a real terminal, and nowhere else; and runs as pandas tables."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas
import pytest
from tests.conftest import Toy

from autoresearch import optimize, task
from autoresearch.live import Line, Live, Row, line, screen, sparkline
from autoresearch.testing import Patch

CELLS = [
    """
    import autoresearch, time

    def fitness(state):
        time.sleep(0.02)
        return abs(state - 3)

    def step(state, history):
        return state - 1 if len(history) < 60 else len(history)

    result = autoresearch.optimize(30, fitness=fitness, propose=step, experiments=60)
    """,
    "print(result.score, result.state, len(result.history))",
    "autoresearch.optimize(30, fitness=fitness, propose=step, experiments=3, show=False).score",
    "result.to_pandas().tail(2)",
]

NOTEBOOK = """\
import json, sys
import nbclient, nbformat
from nbformat.v4 import new_code_cell, new_notebook

updates = []

class Client(nbclient.NotebookClient):
    def process_message(self, msg, cell, cell_index):
        updates.append(msg["msg_type"])
        return super().process_message(msg, cell, cell_index)

notebook = new_notebook(cells=[new_code_cell(text) for text in json.load(sys.stdin)])
Client(notebook, timeout=120, kernel_name="python3").execute()
print(json.dumps({"updates": updates, "outputs": [cell["outputs"] for cell in notebook["cells"]]}))
"""


def test_notebook_shows_one_display_that_is_changed_in_place(tmp_path: Path) -> None:
    env = {**os.environ, "JUPYTER_PLATFORM_DIRS": "1", "HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path / "ipython")}
    cells = json.dumps([textwrap.dedent(cell).strip() for cell in CELLS])
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK], input=cells, env=env, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    first, printed, silent, table = found["outputs"]
    (shown,) = first  # one output, however often it changed
    assert shown["output_type"] == "display_data"
    plain, markup = shown["data"]["text/plain"], shown["data"]["text/html"]
    assert plain.startswith("60 experiments · incumbent 0 (27 kept) · █")
    assert plain.endswith(" · validated: score −100.00 % against the baseline, measured again: the same bits")
    assert "<svg" in markup
    assert "<td>60</td>" in markup
    assert 2 <= found["updates"].count("update_display_data") <= 40
    assert printed[0]["text"] == "0.0 3 61\n"
    assert [out["output_type"] for out in silent] == ["execute_result"]
    assert "verdict" in table[0]["data"]["text/html"]


def test_ipython_is_not_imported_and_nothing_is_shown_where_nobody_looks(tmp_path: Path) -> None:
    code = """
import sys, autoresearch
autoresearch.optimize(5, fitness=abs, propose=lambda s: s - 1, experiments=5)
assert not {"IPython", "pandas", "ipykernel"} & {*sys.modules}
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_terminal_shows_one_line_that_is_written_over(tmp_path: Path) -> None:
    code = """
import time, autoresearch
autoresearch.optimize(40, fitness=lambda s: (time.sleep(0.02), s)[1], propose=lambda s: s - 1, experiments=40)
"""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, cwd=tmp_path)
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:
        pass  # Linux: the other side is closed
    os.close(ours)
    assert process.communicate()[0] == b""
    text = seen.decode()
    assert text.count("\n") == 1
    assert 3 <= text.count("\r\x1b[K") <= 30
    assert "40 experiments · incumbent 0 (40 kept)" in text.rsplit("\r\x1b[K", 1)[1]


def test_show_forced_without_a_terminal_prints_new_bests_and_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    optimize(3, fitness=abs, propose=lambda s: s - 1, experiments=5, show=True)
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 5
    assert lines[-1].startswith("5 experiments · incumbent 0 (3 kept)")
    optimize(3, fitness=abs, propose=lambda s: s - 1, experiments=5, show=False)
    assert capsys.readouterr().err == ""


def test_drawing_waits_and_draws_only_what_is_new() -> None:
    stream = io.StringIO()
    live = Live(Line(stream))
    live.take(0, 5.0, "keep")
    for _ in range(100):
        live.tick()
    assert stream.getvalue().count("\r") == 1
    live.end("done")
    assert stream.getvalue().endswith("· done\n")


def test_line_says_how_it_stands() -> None:
    rows = [Row(0, 4.0, "keep", 4.0), Row(1, None, "crash", 4.0), Row(2, 2.0, "keep", 2.0)]
    assert line(rows, "") == "2 experiments · incumbent 2 (1 kept) · ██▁"
    assert line(rows, "stopped").endswith(" · stopped")
    assert line([Row(0, None, "crash", None)], "") == "0 experiments · incumbent – (0 kept) · "


def test_sparkline_keeps_its_width_and_its_ends() -> None:
    assert sparkline([float(i) for i in range(1000)], 10)[0] == "▁"
    assert sparkline([float(i) for i in range(1000)], 10)[-1] == "█"
    assert len(sparkline([float(i) for i in range(1000)], 10)) <= 11
    assert sparkline([3.0, 3.0], 10) == "▁▁"
    assert sparkline([None], 10) == ""


def test_nothing_is_shown_on_request() -> None:
    assert screen(False) is None


# -- tables ------------------------------------------------------------------------------------------------------------


def test_result_as_a_table_has_a_typed_row_for_each_experiment() -> None:
    def fitness(state: int) -> dict[str, float]:
        if state == 3:
            raise ValueError("no three")
        return {"score": state, "size": 2, "n": 9}

    states = iter([4, 3, 2])
    table = optimize(5, fitness=fitness, propose=lambda s: next(states), experiments=3).to_pandas()
    assert list(table["n"]) == [0, 1, 2, 3]
    assert list(table["verdict"]) == ["keep", "keep", "crash", "keep"]
    assert list(table["kept"]) == [True, True, False, True]
    assert list(table["value"].dropna()) == [5, 4, 2]
    assert list(table["size"].dropna()) == [2, 2, 2]
    assert list(table["metric_n"].dropna()) == [9, 9, 9]
    assert {str(table[name].dtype) for name in ("value", "score", "duration_s", "cost_usd")} == {"float64"}
    assert (str(table["n"].dtype), str(table["kept"].dtype), str(table["decided_at"].dtype)) == (
        "int64",
        "bool",
        "datetime64[ns, UTC]",
    )
    assert table["decided_at"].is_monotonic_increasing
    assert table.groupby("verdict")["n"].count().to_dict() == {"keep": 3, "crash": 1}


def test_runs_of_a_project_as_tables(toy: Toy) -> None:
    toy.run([Patch({"knob.txt": text}, "try") for text in ("9", "11")], run="one")
    for table in (task(toy.folder).to_pandas(), task(toy.folder).to_pandas("one"), task(toy.folder).history().to_pandas()):
        assert isinstance(table, pandas.DataFrame)
        assert list(table["value"]) == [10, 9, 11]
        assert list(table["reason"]) == ["baseline", "better", "worse"]
        assert list(table["parent"].dropna()) == [0, 1]
        assert list(table["score"]) == [10, 9, 11]


def test_table_of_nothing_has_the_columns() -> None:
    from autoresearch.frame import to_frame

    table = to_frame([])
    assert len(table) == 0
    assert {"n", "verdict", "value", "kept", "description"} <= set(table.columns)


def test_missing_pandas_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["pandas"] = None
import autoresearch
result = autoresearch.optimize(5, fitness=abs, propose=lambda s: s - 1, experiments=1)
try:
    result.to_pandas()
except autoresearch.errors.SetupError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout == "to_pandas needs pandas, which is not installed: pip install pandas\n"
