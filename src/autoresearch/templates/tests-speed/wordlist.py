"""A word list with its nearest words. This is the file to improve."""

KEEP_ANSWERS = False
COMPARE_LENGTHS_FIRST = False

_answers: dict[tuple[str, str], int] = {}


def distance(a: str, b: str) -> int:
    """How many letters to put in, take out or change (Levenshtein)."""
    if KEEP_ANSWERS and (a, b) in _answers:
        return _answers[a, b]
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    _answers[a, b] = row[-1]
    return row[-1]


def nearest(word: str, words: list[str]) -> str:
    """The first of the words that is nearest."""
    best, least = words[0], distance(word, words[0])
    for other in words[1:]:
        if COMPARE_LENGTHS_FIRST and abs(len(other) - len(word)) >= least:
            continue
        if (found := distance(word, other)) < least:
            best, least = other, found
    return best
