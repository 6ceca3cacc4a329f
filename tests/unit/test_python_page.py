"""The Python page: every example in it runs, in the order in which it stands there."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import Toy

import autoresearch

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
FILES = [block for block in BLOCKS if re.match(r"# \w+\.py\n", block)]
CELLS = [block for block in BLOCKS if block not in FILES]


def python(folder: Path, *argv: str) -> str:
    done = subprocess.run([sys.executable, *argv], cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_examples_run_one_after_the_other_in_a_project(toy: Toy, tmp_path: Path) -> None:
    (toy.folder / "idea.py").write_text("def lower(folder):\n    (folder / 'knob.txt').write_text('9')\n    return 'nine'\n")
    text = (toy.folder / "autoresearch.toml").read_text()
    (toy.folder / "autoresearch.toml").write_text(text + '[proposer]\nkind = "idea:lower"\n')
    (toy.folder / ".gitignore").write_text("runs.db*\n")
    toy.commit()
    script = tmp_path / "page.py"
    script.write_text("\n".join(CELLS))
    out = python(toy.folder, str(script))
    for path in toy.folder.glob("runs.db*"):  # what the example itself left
        path.unlink() if path.is_file() else shutil.rmtree(path)
    assert out.startswith("0.0 {'x': 3.0, 'y': 0.0} experiments\n")
    assert "9.0 session\n['morning']\n" in out
    assert "nine" in out


@pytest.mark.parametrize("block", FILES, ids=lambda block: block.splitlines()[0][2:])
def test_examples_that_are_files_run_as_scripts(block: str, tmp_path: Path) -> None:
    name = block.splitlines()[0][2:]
    (tmp_path / name).write_text(block)
    assert float(python(tmp_path, name)) >= 0


def test_every_argument_of_optimize_is_on_the_page_with_its_default() -> None:
    for name, parameter in inspect.signature(autoresearch.optimize).parameters.items():
        if parameter.default is inspect.Parameter.empty:
            assert f"`{name}`" in PAGE or name == "initial_state"
        else:
            said = re.search(rf"^\| `{name}` \| (.*?) \|", PAGE, re.MULTILINE)
            assert said is not None, name
            default = None if said[1] == "none" else eval(said[1].strip("`"))
            assert default == parameter.default


def test_every_column_of_a_table_is_on_the_page() -> None:
    table = autoresearch.optimize(2, fitness=abs, propose=lambda s: s - 1, experiments=1).to_pandas()
    assert [column for column in table.columns if column != "score" and f"`{column}`" not in PAGE] == []
