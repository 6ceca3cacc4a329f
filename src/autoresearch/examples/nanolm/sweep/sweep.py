"""Find the default of train.py by a coarse grid and record every run in sweep.tsv.

This is how the default was made: learning rate x width x batch size, one run each with seed 42, everything else at
textbook values (AdamW 0.9 / 0.999 / 0.01, clipping at 1, ReLU, one hidden layer, 8 bytes of context with an embedding
of 16, an output for each of the 256 byte values, no table of counts, a rise over 5 % and a fall over half of the time).
The best row of sweep.tsv stands in train.py. No other constant was tuned.

Run as: python sweep/sweep.py (70 seconds; the values in train.py are replaced in a copy only).
"""

import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

GRID = {
    "LEARNING_RATE": [1e-3, 3e-3, 1e-2, 3e-2],
    "HIDDEN_DIM": [128, 256],
    "BATCH_SIZE": [64, 256],
}
SEED = 42
TIMEOUT_S = 60

HERE = Path(__file__).resolve().parent
TASK = HERE.parent


def with_constants(source: str, values: dict[str, float]) -> str:
    """Give the source with the module-level constants replaced, their comments kept."""
    for name, value in values.items():
        source, count = re.subn(rf"(?m)^{name} = \S+", f"{name} = {value!r}", source)
        if count != 1:
            raise ValueError(f"found {count} lines of the form '{name} = ...' in train.py, expected 1")
    return source


def measure(values: dict[str, float], seed: int) -> dict[str, str]:
    """Run train.py with these constants in a copy of the task; give what it prints, val_bpb 'FAIL' if it failed."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("prepare.py", "valid.txt"):
            shutil.copy(TASK / name, folder)
        Path(folder, "train.py").write_text(with_constants((TASK / "train.py").read_text(), values))
        command = [sys.executable, "train.py"]
        environment = os.environ | {"SEED": str(seed)}
        run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    if run.returncode:
        return {"val_bpb": "FAIL"}
    return dict(re.findall(r"(?m)^(\w+): +(\S+)$", run.stdout.split("---")[1]))


def main() -> None:
    """Run the grid and write one row a run, in the grid's order."""
    rows = ["\t".join([*GRID, "seed", "val_bpb", "num_steps", "peak_mb"])]
    for point in itertools.product(*GRID.values()):
        found = measure(dict(zip(GRID, point, strict=True)), SEED)
        cells = [*point, SEED, *(found.get(key, "") for key in ("val_bpb", "num_steps", "peak_mb"))]
        rows.append("\t".join(map(str, cells)))
        print(rows[-1], flush=True)
    (HERE / "sweep.tsv").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
