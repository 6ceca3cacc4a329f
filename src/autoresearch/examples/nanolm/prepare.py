"""The frozen half of nanolm: the text, the clock and the ruler. Nothing in this file is to be edited.

The model predicts the next byte of Python source. It trains on the standard library of the Python that runs it
and is measured on valid.txt: six standard-library modules from CPython 3.11.7 (licence in NOTICE) which are pinned
by hash and left out of the training text. Another Python version has another library, so numbers compare within
one machine and version only.

What is measured is bounded on purpose. A model sees windows of CONTEXT bytes and nothing else, in batches of fixed
size and in a fixed shuffled order, for a fixed processor time and a fixed growth of memory. Without such bounds a
search ends up improving the evaluation's loopholes in place of the model.

The training loop is not here: see train.py.
"""

import hashlib
import resource
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

# What train.py may use up. Seconds are processor seconds of this process over all its threads (see `clock`).
TIME_BUDGET = 4.0

# What a model is given: the last CONTEXT bytes; it returns log-probabilities (natural) over all values of a byte.
CONTEXT = 32
VOCAB_SIZE = 256

# The evaluation: always the same positions of the validation text, drawn once with a fixed seed.
EVAL_BATCH_SIZE = 512
EVAL_BATCHES = 112
EVAL_SEED = 20260101
EVAL_TIME_CAP = 2.5  # processor seconds, the evaluation as a whole
EVAL_MEMORY_CAP_MB = 64.0  # growth of the peak while evaluating
SUM_TOLERANCE = 1e-3  # on the sum of the 256 probabilities
REPEAT_TOLERANCE = 1e-2  # on a log-probability asked for a second time, in nats

# The text.
TRAIN_CAP_BYTES = 4_000_000
SKIPPED_FOLDERS = frozenset(
    [
        "__pycache__",
        "dist-packages",
        "encodings",
        "ensurepip",
        "idlelib",
        "lib2to3",
        "pydoc_data",
        "site-packages",
        "test",
        "tests",
    ]
)
VALID_MODULES = frozenset(["textwrap.py", "csv.py", "fractions.py", "json/decoder.py", "queue.py", "sched.py"])
VALID_FILE = Path(__file__).resolve().parent / "valid.txt"
VALID_SHA256 = "6ce389de68b61ee60589d959fabf6e5b1bfd828ddd17b831010233dbc18ced8f"

Model = Callable[[np.ndarray], np.ndarray]  # uint8 (batch, CONTEXT) -> log-probabilities (batch, VOCAB_SIZE)


class EvaluationError(Exception):
    """Say which rule of the evaluation a model broke."""


def clock() -> float:
    """Give the processor seconds this process has used, so that a busy machine costs no training steps."""
    return time.process_time()


def peak_mb() -> float:
    """Give the largest resident size of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # its own alone: the resource usage begins with what the process that started it had
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def load_train() -> np.ndarray:
    """Read the training text: uint8, one long array, the same on every call with the same Python."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    parts, size = [], 0
    for path in _source_files(stdlib):
        if size >= TRAIN_CAP_BYTES:
            break
        parts.append(path.read_bytes())
        size += len(parts[-1])
    if size < TRAIN_CAP_BYTES // 4:
        raise FileNotFoundError(
            f"found {size:,} bytes of Python source below {stdlib}, expected at least {TRAIN_CAP_BYTES // 4:,}: "
            "use a Python that has its standard library as .py files"
        )
    return np.frombuffer(b"".join(parts)[:TRAIN_CAP_BYTES], dtype=np.uint8)


def _source_files(stdlib: Path) -> Iterator[Path]:
    """Yield the library's modules, the top level first, then its packages, each in order of their names."""
    names = sorted(path.name for path in stdlib.iterdir() if path.name not in SKIPPED_FOLDERS)
    yield from (stdlib / name for name in names if name.endswith(".py") and name not in VALID_MODULES)
    for package in (stdlib / name for name in names if (stdlib / name / "__init__.py").is_file()):
        for path in sorted(package.rglob("*.py")):
            inside = path.relative_to(stdlib)
            if SKIPPED_FOLDERS.isdisjoint(inside.parts) and inside.as_posix() not in VALID_MODULES:
                yield path


def windows(text: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Cut out the CONTEXT bytes before each of `ends` (each >= CONTEXT): a new uint8 array (len(ends), CONTEXT)."""
    return text[ends[:, None] + np.arange(-CONTEXT, 0)]


def evaluate_bpb(model: Model) -> float:
    """Measure a model in bits per byte of the validation text; lower is better.

    The model has to be a function of the window alone. At the end some windows are asked for again, in other
    company, and have to get the same answer as before.

    Raises:
        EvaluationError: if the model returns anything but normalised log-probabilities, remembers what it was
            asked, or uses more time or memory than the evaluation allows.
    """
    text = _load_valid()
    generator = np.random.default_rng(EVAL_SEED)
    ends = generator.permutation(np.arange(CONTEXT, len(text)))[: EVAL_BATCHES * EVAL_BATCH_SIZE]
    again = generator.choice(len(ends), EVAL_BATCH_SIZE, replace=False)
    start, peak = clock(), peak_mb()
    found = np.concatenate([_ask(model, text, batch, start, peak) for batch in np.split(ends, EVAL_BATCHES)])
    drift = np.abs(_ask(model, text, ends[again], start, peak) - found[again]).max()
    if drift > REPEAT_TOLERANCE:
        raise EvaluationError(
            f"the same windows got other log-probabilities when asked again (by up to {drift:.3g} nats, allowed "
            f"{REPEAT_TOLERANCE}): the answer to a window may depend on that window and the trained model only"
        )
    return float(-found.mean() / np.log(2))


def _load_valid() -> np.ndarray:
    data = VALID_FILE.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != VALID_SHA256:
        raise EvaluationError(
            f"{VALID_FILE} has sha256 {digest}, expected {VALID_SHA256}: restore the file as it was shipped "
            "(a checkout that converts line ends changes it)"
        )
    return np.frombuffer(data, dtype=np.uint8)


def _ask(model: Model, text: np.ndarray, ends: np.ndarray, start: float, peak: float) -> np.ndarray:
    """Get the model's log-probabilities of the true next bytes, float64 (len(ends),), or raise."""
    answer = np.asarray(model(windows(text, ends)))
    if answer.shape != (len(ends), VOCAB_SIZE):
        raise EvaluationError(f"the model returned shape {answer.shape}, expected {(len(ends), VOCAB_SIZE)}")
    if not np.isfinite(answer).all():
        raise EvaluationError("the model returned log-probabilities that are not finite (nan or inf)")
    worst = np.abs(np.exp(answer).sum(axis=1, dtype=np.float64) - 1).max()
    if worst > SUM_TOLERANCE:
        raise EvaluationError(
            f"the model's probabilities sum to 1 +- {worst:.3g}, allowed is {SUM_TOLERANCE}: return log-probabilities "
            "(natural logarithm, after a log-softmax)"
        )
    if clock() - start > EVAL_TIME_CAP:
        raise EvaluationError(f"the evaluation used more than {EVAL_TIME_CAP} processor seconds: make the model faster")
    if peak_mb() - peak > EVAL_MEMORY_CAP_MB:
        raise EvaluationError(f"the evaluation took more than {EVAL_MEMORY_CAP_MB:.0f} MiB of additional memory")
    return answer[np.arange(len(ends)), text[ends]].astype(np.float64)
