"""Train a byte-level language model in NumPy for a fixed time and print its score: the file to improve.

An embedding of the last bytes, concatenated, a few hidden layers, a softmax over the next byte (Bengio et al. 2003),
gradients by hand, AdamW. Run as: python train.py
"""

import os
import sys
import time

# One thread: the same sums in the same order on every machine, and the budget counts the time of all threads anyway.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", VECLIB_MAXIMUM_THREADS="1")

import numpy as np
from prepare import CONTEXT, TIME_BUDGET, VOCAB_SIZE, clock, evaluate_bpb, load_train, peak_mb, windows

started = time.perf_counter()

# ----------------------------------------------------------------------------------------------------------------------
# Constants. The comment at the end of a line is the range in which the knob search looks.

# Model: bytes of the window that are used (at most CONTEXT), size of a byte's embedding, width and number of hidden
# layers (those after the first are residual), their activation.
CONTEXT_USED = 8  # knob: log 2..32
EMBED_DIM = 16  # knob: log 4..64
HIDDEN_DIM = 256  # knob: log 32..1024
DEPTH = 1  # knob: 1..4
ACTIVATION = "relu"  # knob: relu|gelu|silu|tanh
# Number of byte values with an output of their own, the most frequent ones; all others share one more output.
OUTPUT_BYTES = 256  # knob: log 64..256
# Whether the network corrects a table of counts: how often each byte followed the last COUNTED_BYTES bytes in the
# text (at most 2), with COUNT_SMOOTHING added to every count.
COUNT_TABLE = False
COUNTED_BYTES = 2  # knob: off
COUNT_SMOOTHING = 1.0  # knob: log 0.01..10
# Initial values: factor on an embedding of unit size and on hidden weights of size 1/sqrt(inputs). Output: 0.
INIT_SCALE = 1.0  # knob: log 0.1..2

# Optimiser: AdamW. Peak learning rate, windows a step, decoupled weight decay (times the learning rate), largest norm
# of a gradient.
LEARNING_RATE = 1e-2  # knob: log 3e-4..1e-1
BATCH_SIZE = 256  # knob: log 16..1024
BETA1 = 0.9  # knob: off
BETA2 = 0.999  # knob: 0.9..0.999
WEIGHT_DECAY = 0.01  # knob: log 1e-4..1
GRAD_CLIP = 1.0  # knob: off

# Schedule of the learning rate, as shares of the time budget: linear rise at the start, linear fall to 0 at the end.
WARMUP_FRACTION = 0.05  # knob: off
COOLDOWN_FRACTION = 0.5  # knob: 0..1

# A loss above this many nats a byte counts as diverged (a uniform guess has 5.5).
ABSURD_LOSS = 20.0  # knob: off

SEED = int(os.environ.get("SEED", "42"))

# ----------------------------------------------------------------------------------------------------------------------
# Parameters: named views into one flat vector, so that the optimiser is a few lines on long arrays.

assert 1 <= CONTEXT_USED <= CONTEXT, f"CONTEXT_USED is {CONTEXT_USED}, allowed is 1 to {CONTEXT}"
rng = np.random.default_rng(SEED)

num_outputs = min(OUTPUT_BYTES + 1, VOCAB_SIZE)
shapes = {"embed": (VOCAB_SIZE, EMBED_DIM), "out": (HIDDEN_DIM, num_outputs), "out_bias": (num_outputs,)}
for layer in range(DEPTH):
    shapes[f"w{layer}"] = (HIDDEN_DIM if layer else CONTEXT_USED * EMBED_DIM, HIDDEN_DIM)
    shapes[f"b{layer}"] = (HIDDEN_DIM,)


def views(flat: np.ndarray) -> dict[str, np.ndarray]:
    """Cut a flat vector into the named arrays of `shapes`."""
    cuts = np.cumsum([np.prod(shape) for shape in shapes.values()])[:-1]
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), np.split(flat, cuts), strict=True)}


num_params = int(sum(np.prod(shape) for shape in shapes.values()))
flat_params, flat_grads = np.zeros(num_params, np.float32), np.zeros(num_params, np.float32)
params, grads = views(flat_params), views(flat_grads)
params["embed"][:] = INIT_SCALE * rng.standard_normal(shapes["embed"])
for layer in range(DEPTH):
    fan_in = shapes[f"w{layer}"][0]
    params[f"w{layer}"][:] = INIT_SCALE / np.sqrt(fan_in) * rng.standard_normal(shapes[f"w{layer}"])


# ----------------------------------------------------------------------------------------------------------------------
# The model, forward and backward.


def activate(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Apply the activation; give its value and its slope."""
    if ACTIVATION == "relu":
        slope = (x > 0).astype(np.float32)
        return x * slope, slope
    if ACTIVATION == "tanh":
        y = np.tanh(x)
        return y, 1 - y * y
    if ACTIVATION in ("silu", "gelu"):
        scale = np.float32(1.0 if ACTIVATION == "silu" else 1.702)  # gelu in its sigmoid form
        gate = 1 / (1 + np.exp(np.clip(-scale * x, -60, 60)))
        return x * gate, gate * (1 + scale * x * (1 - gate))
    raise ValueError(f"unknown ACTIVATION {ACTIVATION!r}: expected relu, gelu, silu or tanh")


def last_bytes(window: np.ndarray) -> np.ndarray:
    """Number the last COUNTED_BYTES bytes of each window: the row of the table of counts."""
    row = np.zeros(len(window), np.int64)
    for column in range(CONTEXT - COUNTED_BYTES, CONTEXT):
        row = row * VOCAB_SIZE + window[:, column]
    return row


def count_next_bytes(text: np.ndarray) -> np.ndarray:
    """Give the log of the smoothed counts of each output after each context, (256 ** COUNTED_BYTES, num_outputs)."""
    row = last_bytes(np.lib.stride_tricks.sliding_window_view(text, CONTEXT)[:-1])
    counts = np.full(VOCAB_SIZE**COUNTED_BYTES * num_outputs, COUNT_SMOOTHING, np.float32)
    np.add.at(counts, row * num_outputs + output_of[text[CONTEXT:]], np.float32(1))
    return np.log(counts, out=counts).reshape(-1, num_outputs)


def forward(window: np.ndarray) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Give logits (batch, num_outputs), largest 0, then each layer's (input, slope), then the last hidden state."""
    x = params["embed"][window[:, -CONTEXT_USED:]].reshape(len(window), -1)
    tape = []
    for layer in range(DEPTH):
        y, slope = activate(x @ params[f"w{layer}"] + params[f"b{layer}"])
        tape.append((x, slope))
        x = x + y if layer else y
    logits = x @ params["out"] + params["out_bias"]
    if COUNT_TABLE:
        logits += log_counts[last_bytes(window)]
    logits -= logits.max(axis=1, keepdims=True)
    return logits, tape, x


def predict(window: np.ndarray) -> np.ndarray:
    """Give log-probabilities (batch, VOCAB_SIZE) of the next byte: what the evaluation asks for."""
    logits = forward(window)[0]
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return (logits - np.log(output_sizes))[:, output_of]


def scatter_add(out: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
    """Set `out` to zero, then add each of `values` (n, width) to its row."""
    width = out.shape[1]
    cells = (rows.reshape(-1, 1) * width + np.arange(width)).ravel()
    out[:] = np.bincount(cells, values.ravel(), out.size).reshape(out.shape)


def loss_and_grads(window: np.ndarray, target: np.ndarray) -> float:
    """Give the mean loss in nats a byte and leave its gradients in `grads`."""
    logits, tape, hidden = forward(window)
    batch = np.arange(len(target))
    d_logits = np.exp(logits)
    total = d_logits.sum(axis=1, keepdims=True)
    loss = (np.log(total[:, 0]) - logits[batch, target]).mean()
    d_logits /= total * len(target)
    d_logits[batch, target] -= 1 / len(target)
    np.matmul(hidden.T, d_logits, out=grads["out"])
    grads["out_bias"][:] = d_logits.sum(axis=0)
    d_x = d_logits @ params["out"].T
    for layer in reversed(range(DEPTH)):
        x, slope = tape[layer]
        d_pre = d_x * slope
        np.matmul(x.T, d_pre, out=grads[f"w{layer}"])
        grads[f"b{layer}"][:] = d_pre.sum(axis=0)
        d_in = d_pre @ params[f"w{layer}"].T
        d_x = d_x + d_in if layer else d_in
    scatter_add(grads["embed"], window[:, -CONTEXT_USED:].astype(np.int64), d_x.reshape(-1, EMBED_DIM))
    return float(loss)


# ----------------------------------------------------------------------------------------------------------------------
# Training: random windows of the text until the time is used up.

text = load_train()
momentum, variance = np.zeros_like(flat_params), np.zeros_like(flat_params)
step, smooth_loss = 0, 0.0
training_started = clock()
frequency_rank = np.argsort(np.argsort(-np.bincount(text, minlength=VOCAB_SIZE), kind="stable"))
output_of = np.minimum(frequency_rank, num_outputs - 1)  # the output that stands for each byte value
output_sizes = np.bincount(output_of).astype(np.float32)
log_counts = count_next_bytes(text) if COUNT_TABLE else None

while (progress := (clock() - training_started) / TIME_BUDGET) < 1:
    ends = rng.integers(CONTEXT, len(text), BATCH_SIZE)
    loss = loss_and_grads(windows(text, ends), output_of[text[ends]])
    if not loss < ABSURD_LOSS:  # also true of nan
        print("FAIL")
        sys.exit(f"the loss is {loss} nats a byte at step {step}")
    step += 1
    smooth_loss += (loss - smooth_loss) * max(0.01, 1 / step)

    rise = min(1.0, progress / WARMUP_FRACTION) if WARMUP_FRACTION else 1.0
    fall = min(1.0, (1 - progress) / COOLDOWN_FRACTION) if COOLDOWN_FRACTION else 1.0
    rate = LEARNING_RATE * rise * fall

    flat_grads *= min(1.0, GRAD_CLIP / (float(np.sqrt(flat_grads @ flat_grads)) + 1e-8))
    momentum += (1 - BETA1) * (flat_grads - momentum)
    variance += (1 - BETA2) * (flat_grads * flat_grads - variance)
    update = momentum / (np.sqrt(variance / (1 - BETA2**step)) + 1e-8)
    flat_params *= 1 - rate * WEIGHT_DECAY
    flat_params -= rate / (1 - BETA1**step) * update

training_seconds = clock() - training_started

# ----------------------------------------------------------------------------------------------------------------------
# The score.

val_bpb = evaluate_bpb(predict)
print("---")
print(f"val_bpb:          {val_bpb:.6f}")
print(f"train_bpb:        {smooth_loss / np.log(2):.6f}")
print(f"training_seconds: {training_seconds:.1f}")
print(f"total_seconds:    {time.perf_counter() - started:.1f}")
print(f"peak_mb:          {peak_mb():.1f}")
print(f"total_tokens_M:   {step * BATCH_SIZE / 1e6:.3f}")
print(f"num_steps:        {step}")
print(f"num_params_M:     {num_params / 1e6:.3f}")
print(f"depth:            {DEPTH}")
