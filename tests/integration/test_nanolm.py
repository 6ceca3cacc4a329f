"""The example: it measures what it says, and its frozen evaluation bounds what it hands to a model."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from autoresearch.proposers.constants import edit, find
from autoresearch.taskfile import load

EXAMPLE = Path(__file__).parents[2] / "examples" / "nanolm"


@pytest.fixture(scope="module")
def prepare() -> ModuleType:
    spec = importlib.util.spec_from_file_location("nanolm_prepare", EXAMPLE / "prepare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def uniform(windows: Any) -> Any:
    return np.full((len(windows), 256), -np.log(256))


def test_uniform_guess_costs_eight_bits_a_byte(prepare: ModuleType) -> None:
    assert prepare.evaluate_bpb(uniform) == pytest.approx(8.0)


def unnormalised(windows: Any) -> Any:
    return uniform(windows) + 1


def not_finite(windows: Any) -> Any:
    return uniform(windows) * np.nan


def too_narrow(windows: Any) -> Any:
    return uniform(windows)[:, :100]


def remembering() -> Callable[[Any], Any]:
    asked = [0]

    def model(windows: Any) -> Any:
        asked[0] += 1
        answer = np.full((len(windows), 256), 0.0)
        answer[:, asked[0]] = 1.0
        return answer - np.log(255 + np.e)

    return model


def slow(windows: Any) -> Any:
    for _ in range(60):
        np.sort(np.random.default_rng(0).random(200_000))
    return uniform(windows)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (unnormalised, "sum to 1"),
        (not_finite, "not finite"),
        (too_narrow, "expected"),
        (remembering(), "asked again"),
        (slow, "processor seconds"),
    ],
    ids=["unnormalised", "not finite", "too narrow", "remembering", "slow"],
)
def test_evaluation_refuses_what_breaks_its_rules(prepare: ModuleType, model: Callable[[Any], Any], words: str) -> None:
    with pytest.raises(prepare.EvaluationError, match=words):
        prepare.evaluate_bpb(model)


def test_model_sees_windows_of_fixed_length_and_nothing_else(prepare: ModuleType) -> None:
    shapes = set()

    def model(windows: Any) -> Any:
        shapes.add((windows.shape[1], windows.dtype.name))
        return uniform(windows)

    prepare.evaluate_bpb(model)
    assert shapes == {(prepare.CONTEXT, "uint8")}


@pytest.mark.parametrize("name", ["valid.txt", "held_out.txt"])
def test_training_text_has_none_of_the_texts_that_are_measured_on(prepare: ModuleType, name: str) -> None:
    train = prepare.load_train().tobytes()
    valid = (EXAMPLE / name).read_bytes()
    lines = [line for line in valid.split(b"\n") if len(line) > 60]
    assert len(lines) > 100
    assert sum(line in train for line in lines) / len(lines) < 0.05


def test_training_prints_karpathys_block_and_beats_the_uniform_guess(tmp_path: Path) -> None:
    for name in ("prepare.py", "train.py", "valid.txt"):
        shutil.copy(EXAMPLE / name, tmp_path)
    short = (tmp_path / "prepare.py").read_text()
    (tmp_path / "prepare.py").write_text(re.sub(r"^TIME_BUDGET = [\d.]+", "TIME_BUDGET = 0.5", short, flags=re.MULTILINE))
    argv = [sys.executable, "train.py"]
    out = subprocess.run(argv, cwd=tmp_path, env={**os.environ, "SEED": "3"}, capture_output=True, text=True, check=True).stdout
    block = dict(re.findall(r"^(\w+): +([\d.e+-]+)$", out[out.index("---") :], re.MULTILINE))
    assert {"val_bpb", "training_seconds", "total_seconds", "peak_mb", "num_steps", "num_params_M"} <= block.keys()
    assert 1.5 < float(block["val_bpb"]) < 5
    assert float(block["training_seconds"]) < 0.9


def test_held_out_half_measures_the_same_model_on_another_text(tmp_path: Path) -> None:
    for name in ("prepare.py", "train.py", "held_out.py", "held_out.txt"):
        shutil.copy(EXAMPLE / name, tmp_path)
    short = (tmp_path / "prepare.py").read_text()
    (tmp_path / "prepare.py").write_text(re.sub(r"^TIME_BUDGET = [\d.]+", "TIME_BUDGET = 0.5", short, flags=re.MULTILINE))
    done = subprocess.run([sys.executable, "held_out.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert 1.5 < float(re.findall(r"^val_bpb: +(\S+)$", done.stdout, re.MULTILINE)[0]) < 5
    assert load(EXAMPLE).held_out is not None
    assert set(load(EXAMPLE).held_out.private) == {"held_out.py", "held_out.txt"}  # type: ignore[union-attr]


def test_every_constant_of_the_example_can_be_searched() -> None:
    text = (EXAMPLE / "train.py").read_text()
    knobs = find({"train.py": text})
    assert {"LEARNING_RATE", "BATCH_SIZE", "ACTIVATION", "COUNT_TABLE"} <= {k.name for k in knobs}
    assert "SEED" not in {k.name for k in knobs}
    changed = edit({"train.py": text}, knobs, {"LEARNING_RATE": 0.02, "ACTIVATION": "gelu"})
    back = changed["train.py"].replace("LEARNING_RATE = 0.02", "LEARNING_RATE = 1e-2")
    assert back.replace('ACTIVATION = "gelu"', 'ACTIVATION = "relu"') == text


def test_task_file_of_the_example_is_good() -> None:
    assert load(EXAMPLE).metric.name == "val_bpb"
