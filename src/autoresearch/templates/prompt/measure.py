"""Ask the model every question and count the right answers. Prints `accuracy: <percent>`."""

import json
from pathlib import Path

from model import answer

LABELS = ("positive", "negative")


def rows(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines() if line.strip()]


def main() -> None:
    template = Path("prompt.txt").read_text(encoding="utf-8")
    settings = json.loads(Path("settings.json").read_text(encoding="utf-8"))
    questions, pool = rows("questions.jsonl"), rows("examples.jsonl")
    if "{text}" not in template:
        raise SystemExit("prompt.txt has no {text}: the model would never see the question")
    if any(question["text"].strip() in template for question in questions):
        raise SystemExit("prompt.txt contains a question of questions.jsonl: that would be no measurement")
    shown = pool[: max(0, int(settings["examples"]))]
    examples = "\n".join(f"Text: {e['text']}\nLabel: {e['label']}" for e in shown)
    right = 0
    for question in questions:
        prompt = template.replace("{examples}", examples).replace("{text}", question["text"])
        words = answer(prompt).strip().lower().rstrip(".").split()
        right += len(words) == 1 and words[0] in LABELS and words[0] == question["label"]  # rambling is no answer
    print(f"accuracy: {100 * right / len(questions):.2f} %")


if __name__ == "__main__":
    main()
