"""The held-out half of nanolm: train exactly as train.py does, and measure the model on a text that no proposer sees.

The text is five more modules of CPython 3.11.7, of packages that the training text never gets to. It is in no file that a
proposer or an ordinary evaluation is shown. Everything else is prepare.py's: the same windows, limits and number. What only
fits valid.txt gains nothing here.
"""

import os
import runpy
from pathlib import Path

# As in train.py, and before NumPy is loaded: one thread.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", VECLIB_MAXIMUM_THREADS="1")

import prepare

prepare.VALID_FILE = Path(__file__).resolve().parent / "held_out.txt"
prepare.VALID_SHA256 = "63891906440ec58b2e205fbab953f6ce762214bd49dae8b847c8b2976539d62a"

runpy.run_path("train.py", run_name="__main__")
