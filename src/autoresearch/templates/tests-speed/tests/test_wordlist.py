import unittest

from wordlist import distance, nearest

WORDS = [
    a + b + c for a in ("gar", "mar", "bar", "car") for b in ("den", "ket", "ti", "bonara") for c in ("", "s", "ing", "er")
]


class TestWordlist(unittest.TestCase):
    def test_distance_counts_letters(self) -> None:
        self.assertEqual(distance("kitten", "sitting"), 3)
        self.assertEqual(distance("", "abc"), 3)
        self.assertEqual(distance("same", "same"), 0)

    def test_nearest_of_a_word_in_the_list_is_itself(self) -> None:
        for word in WORDS:
            self.assertEqual(nearest(word, WORDS), word)

    def test_nearest_mends_one_letter(self) -> None:
        for word in WORDS[::2]:
            self.assertLessEqual(distance(nearest(word + "x", WORDS), word + "x"), 1)
