"""Recall at k of `search.Index` over a corpus. Prints `recall_at_3: <percent>`.

`corpus.jsonl` has a document a line (`id`, `text`), `queries.jsonl` a query with the ids of what is relevant.
"""

import json
from pathlib import Path
from typing import Any

from search import Index

K = 3


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines() if line.strip()]


def main() -> None:
    corpus, queries = rows("corpus.jsonl"), rows("queries.jsonl")
    known = {document["id"] for document in corpus}
    index = Index([(document["id"], document["text"]) for document in corpus])
    recalls = []
    for row in queries:
        found = list(index.search(row["query"], K))
        if len(found) > K or len(set(found)) != len(found) or not known.issuperset(found):
            raise SystemExit(f"{row['query']!r} gave {found}: expected at most {K} different ids of the corpus")
        recalls.append(len(set(found) & set(row["relevant"])) / min(K, len(row["relevant"])))
    print(f"recall_at_{K}: {100 * sum(recalls) / len(recalls):.2f} %")


if __name__ == "__main__":
    main()
