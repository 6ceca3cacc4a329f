"""A searcher by common words (BM25, Robertson and Zaragoza 2009). This is the file to improve."""

import math
import re
from collections import Counter

K1 = 1.5  # knob: 0..3
B = 0.75  # knob: 0..1
STEM = 8  # knob: 3..8
SHORTEST = 1  # knob: 1..5


def words(text: str) -> list[str]:
    return [word[:STEM] for word in re.findall(r"[a-z]+", text.lower()) if len(word) >= SHORTEST]


class Index:
    def __init__(self, documents: list[tuple[str, str]]) -> None:
        self.counts = {id_: Counter(words(text)) for id_, text in documents}
        self.mean = sum(c.total() for c in self.counts.values()) / len(documents)
        self.seen_in = Counter(word for counts in self.counts.values() for word in counts)

    def search(self, query: str, k: int) -> list[str]:
        scores = {id_: self.score(words(query), counts) for id_, counts in self.counts.items()}
        return sorted(scores, key=lambda id_: (-scores[id_], id_))[:k]

    def score(self, query: list[str], counts: Counter[str]) -> float:
        total = 0.0
        for word in query:
            rarity = math.log(1 + (len(self.counts) - self.seen_in[word] + 0.5) / (self.seen_in[word] + 0.5))
            length = K1 * (1 - B + B * counts.total() / self.mean)
            total += rarity * counts[word] * (K1 + 1) / (counts[word] + length) if counts[word] else 0.0
        return total
