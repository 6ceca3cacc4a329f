"""A researcher with `uv run train.py`: a src layout, an editable install, a package from elsewhere, data git does not know."""

from __future__ import annotations

import io
import sys
import zipfile

import pytest
from tests.e2e.projects.support import PROPOSER, Owner, needs, proposer

pytestmark = needs("uv")

BACKEND = '''\
"""Builds the wheels of this project; an editable one is a .pth file, as other backends make it."""
import pathlib, zipfile
INFO = {"METADATA": "Metadata-Version: 2.1\\nName: nano\\nVersion: 1.0\\nRequires-Dist: tally\\n",
        "WHEEL": "Wheel-Version: 1.0\\nGenerator: here\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n", "RECORD": ""}
def _wheel(folder, files):
    with zipfile.ZipFile(pathlib.Path(folder, "nano-1.0-py3-none-any.whl"), "w") as wheel:
        for name, text in {**files, **{f"nano-1.0.dist-info/{k}": v for k, v in INFO.items()}}.items():
            wheel.writestr(name, text)
    return "nano-1.0-py3-none-any.whl"
def build_editable(folder, config_settings=None, metadata_directory=None):
    return _wheel(folder, {"_nano.pth": str(pathlib.Path("src").resolve()) + "\\n"})
def build_wheel(folder, config_settings=None, metadata_directory=None):
    return _wheel(folder, {f"nano/{p.name}": p.read_text() for p in pathlib.Path("src/nano").glob("*.py")})
'''
PROJECT = """\
[project]
name = "nano"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["tally"]

[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[tool.uv.sources]
tally = { path = "vendor/tally-1.0-py3-none-any.whl" }
"""
TRAIN = """\
import csv, nano.model, tally
rows = [float(row[0]) for row in csv.reader(open("data/train.csv"))]
print("device: cpu")
print(f"val_loss: {tally.mean(rows) + (nano.model.RATE - 0.3) ** 2:.6f}")
"""
STEPS = [
    ("half the rate", {"src/nano/model.py": ("0.9", "0.5")}),
    ("a typing error", {"src/nano/model.py": ("RATE =", "RATE ==")}),
    ("more again", {"src/nano/model.py": ("0.5", "0.8")}),
    ("less", {"src/nano/model.py": ("0.5", "0.3")}),
]


def package(name: str, code: str) -> bytes:
    """A wheel of one module, as a registry would give it."""
    info, body = f"{name}-1.0.dist-info", io.BytesIO()
    with zipfile.ZipFile(body, "w") as wheel:
        wheel.writestr(f"{name}.py", code)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return body.getvalue()


def task(command: str, keys: str) -> str:
    evaluate = f'command = "{command}"\n{keys}'
    return f'[task]\neditable = ["src/**"]\n\n[evaluate]\n{evaluate}\n[metric]\nname = "val_loss"\n{PROPOSER}'


def build(owner: Owner, task_text: str) -> None:
    """What such a repository looks like after `git clone`, `uv sync` and a download of the data."""
    owner.environ["UV_PYTHON"] = sys.executable
    owner.write({"vendor/tally-1.0-py3-none-any.whl": package("tally", "def mean(rows):\n    return sum(rows) / len(rows)\n")})
    owner.write({"pyproject.toml": PROJECT, "backend.py": BACKEND, "train.py": TRAIN, "propose.py": proposer(STEPS)})
    owner.write(
        {"src/nano/__init__.py": "", "src/nano/model.py": "RATE = 0.9\n", ".gitignore": ".venv/\n/data/\n__pycache__/\n"}
    )
    owner.does("uv sync -q")
    owner.write({"data/train.csv": "1\n2\n3\n", "autoresearch.toml": task_text})
    owner.commit("start")
    assert "val_loss: 2.360000" in owner.does("uv run -q train.py")


@pytest.mark.parametrize(
    ("command", "keys", "added"),
    [
        (
            ".venv/bin/python train.py",
            "",
            ['command = "PYTHONPATH=src .venv/bin/python train.py"', 'inputs = [".venv", "data"]'],
        ),
        ("uv run train.py", "", ['inputs = ["data"]', 'setup = "uv sync --frozen"']),
        ("uv run --no-sync train.py", 'setup = "uv sync --frozen"\n', ['inputs = ["data"]']),
        (
            "uv run train.py",
            'inputs = [".venv", "data"]\n',
            ['inputs = ["data"]', 'setup = "uv sync --frozen"'],
        ),
    ],
    ids=["python", "uv-run", "uv-sync", "uv-run-venv"],
)
def test_uv_project_with_an_editable_install_and_data(owner: Owner, command: str, keys: str, added: list[str]) -> None:
    build(owner, task(command, keys))
    assert owner.is_fixed() == added
    rows = owner.runs(4)
    assert [row["value"] for row in rows] == [2.36, 2.04, None, 2.25, 2.0]
    assert [row["verdict"] for row in rows] == ["keep", "keep", "crash", "discard", "keep"]
    assert owner.kept("one", "src/nano/model.py") == "RATE = 0.3\n"
    assert (owner.folder / "src/nano/model.py").read_text() == "RATE = 0.9\n"
