"""Train a few times on a fixed number of batches, then measure on data that training never saw. Prints `val_loss: <number>`."""

import math
import os
import random
import time
from collections.abc import Iterator

import train

TRAININGS = 4  # the mean of a few: one alone is mostly luck
BATCHES, BATCH = 1500, 16
SECONDS = float(os.environ.get("AUTORESEARCH_TIME_BUDGET", "60"))  # set by [evaluate] time_budget
SEED = int(os.environ.get("SEED", "0"))  # of the training; the data are always the same

Row = tuple[float, float]


def rows(count: int, seed: int) -> list[Row]:
    """Points of the function to learn, with a little noise. Put your own data here."""
    rng = random.Random(seed)
    xs = [rng.uniform(-1, 1) for _ in range(count)]
    return [(x, math.sin(5 * x) + 0.3 * math.cos(17 * x) + rng.gauss(0, 0.05)) for x in xs]


def batches(data: list[Row], seed: int) -> Iterator[list[Row]]:
    """The whole budget of a training: whoever wants more gets nothing."""
    rng, deadline = random.Random(seed), time.monotonic() + SECONDS / TRAININGS
    for _ in range(BATCHES):
        if time.monotonic() > deadline:
            return
        yield rng.choices(data, k=BATCH)


def loss(seed: int) -> float:
    """The mean squared error of one training on the validation data."""
    predict = train.train(batches(rows(2000, seed=1), seed), seed)
    valid = rows(500, seed=2)
    return sum((predict(x) - y) ** 2 for x, y in valid) / len(valid)


def main() -> None:
    losses = [loss(TRAININGS * SEED + i) for i in range(TRAININGS)]
    if not all(map(math.isfinite, losses)):
        raise SystemExit(f"the losses are {losses}: the training diverged")
    print(f"val_loss: {sum(losses) / TRAININGS:.6f}")


if __name__ == "__main__":
    main()
