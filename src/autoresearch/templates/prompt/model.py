"""The model that is asked.

STAND-IN: replace the body of `answer` by a call of your model. As it is, it needs no network: it labels a text like the most
similar example in the prompt, by common words, and rambles unless it is told to answer with one word.
"""

import re


def answer(prompt: str) -> str:
    """The model's reply to a prompt."""
    examples = re.findall(r"^Text: (.+)\nLabel: (\w+)$", prompt, re.MULTILINE)
    words = _words(prompt.rsplit("Text:", 1)[-1])
    best = max(examples, key=lambda e: len(words & _words(e[0])), default=("", "positive"))
    return best[1] if "one word" in prompt else f"I think that the label is {best[1]}, but who knows?"


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z']{3,}", text.lower()))
