"""The model and how it is trained: a small network in plain Python. This is the file to improve."""

import math
import random
from collections.abc import Callable, Iterable

WIDTH = 16  # knob: 4..40
LEARNING_RATE = 0.02  # knob: log 1e-3..0.5
MOMENTUM = 0.0  # knob: 0..0.95
SPREAD = 4.0  # knob: log 0.5..20


def train(batches: Iterable[list[tuple[float, float]]], seed: int) -> Callable[[float], float]:
    """Fit x → y on what comes; gives the function that predicts."""
    rng = random.Random(seed)
    slope = [rng.gauss(0, SPREAD) for _ in range(WIDTH)]
    shift = [rng.gauss(0, 1) for _ in range(WIDTH)]
    out = [rng.gauss(0, 0.1) for _ in range(WIDTH)]
    weights = [slope, shift, out]
    speed = [[0.0] * WIDTH for _ in weights]

    def predict(x: float) -> float:
        return sum(o * math.tanh(a * x + b) for a, b, o in zip(slope, shift, out, strict=True))

    for batch in batches:
        steps = [[0.0] * WIDTH for _ in weights]
        for x, y in batch:
            hidden = [math.tanh(a * x + b) for a, b in zip(slope, shift, strict=True)]
            error = sum(o * h for o, h in zip(out, hidden, strict=True)) - y
            for i, h in enumerate(hidden):
                inner = error * out[i] * (1 - h * h)
                steps[0][i] += inner * x
                steps[1][i] += inner
                steps[2][i] += error * h
        for part, moving, step in zip(weights, speed, steps, strict=True):
            for i in range(WIDTH):
                moving[i] = MOMENTUM * moving[i] - LEARNING_RATE * step[i] / len(batch)
                part[i] += moving[i]
    return predict
