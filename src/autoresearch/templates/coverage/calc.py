"""A little calculator: the code under test."""


def parse(text: str) -> tuple[float, str, float]:
    left, sign, right = text.split()
    return float(left), sign, float(right)


def calculate(text: str) -> float:
    a, sign, b = parse(text)
    if sign == "+":
        return a + b
    if sign == "-":
        return a - b
    if sign == "*":
        return a * b
    if sign == "/":
        if b == 0:
            raise ValueError("division by zero")
        return a / b
    raise ValueError(f"unknown sign {sign!r}")


def grade(points: int) -> str:
    if points >= 90:
        return "excellent"
    if points >= 70:
        return "good"
    if points >= 50:
        return "passed"
    return "failed"
