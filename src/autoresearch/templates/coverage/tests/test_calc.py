import unittest

from calc import calculate, grade

SIGNS = 2  # knob: 1..4
GRADES = 1  # knob: 1..4


class TestCalc(unittest.TestCase):
    def test_calculate(self) -> None:
        for text, expected in [("1 + 2", 3), ("5 - 2", 3), ("4 * 2", 8), ("9 / 2", 4.5)][:SIGNS]:
            self.assertEqual(calculate(text), expected)

    def test_grade(self) -> None:
        for points, expected in [(95, "excellent"), (70, "good"), (50, "passed"), (49, "failed")][:GRADES]:
            self.assertEqual(grade(points), expected)
