"""All primes below n. This is the file to improve."""

SKIP_EVEN = False
START_AT_SQUARE = False
BY_SLICE = False


def solve(n: int) -> list[int]:
    prime = [False, False] + [True] * max(0, n - 2)
    for k in range(2, int(max(n, 0) ** 0.5) + 1):
        if not prime[k] or (SKIP_EVEN and k > 2 and k % 2 == 0):
            continue
        start = k * k if START_AT_SQUARE else 2 * k
        if BY_SLICE:
            prime[start::k] = [False] * len(range(start, len(prime), k))
        else:
            for multiple in range(start, n, k):
                prime[multiple] = False
    return [k for k in range(n) if prime[k]]
