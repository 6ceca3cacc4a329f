"""Time `solution.solve`: check its answers, warm up, repeat. Prints `us_per_call: <number>`."""

import random
import statistics
import time

from solution import solve

REPEATS, CALLS = 15, 20


def reference(n: int) -> list[int]:
    """The plain way to the right answer: slow, and obviously correct."""
    return [k for k in range(2, n) if all(k % d for d in range(2, int(k**0.5) + 1))]


def check() -> None:
    """Fresh inputs each time, so that no answer can be written down."""
    for n in (0, 1, 2, 3, 4, *(random.randrange(5, 3000) for _ in range(20))):
        expected, found = reference(n), solve(n)
        if list(found) != expected:
            raise SystemExit(f"wrong answer: solve({n}) differs from the reference")


def seconds_a_call() -> float:
    """The mean of one round: many calls on inputs of the same size, none of them twice."""
    inputs = random.sample(range(20_000, 20_200), CALLS)
    began = time.perf_counter()
    for n in inputs:
        solve(n)
    return (time.perf_counter() - began) / CALLS


def main() -> None:
    check()
    seconds_a_call()  # warm-up: caches, branch predictors, lazy imports
    rounds = [seconds_a_call() for _ in range(REPEATS)]
    check()  # an answer that was right once has to stay right
    print(f"us_per_call: {statistics.median(rounds) * 1e6:.2f}")


if __name__ == "__main__":
    main()
