"""A task in services/search of a repository with much else in it, which imports from ../../libs/common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.projects.support import PROPOSER, Owner, proposer

RECALL = """\
import json, pathlib, sys
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "libs/common"))
from words import split
from ranker.score import score
documents = json.loads(pathlib.Path("data/documents.json").read_text())
hits = 0
for number, query in enumerate(documents["queries"]):
    ranked = sorted(range(len(documents["texts"])), key=lambda i: -score(split(query), split(documents["texts"][i])))
    hits += number in ranked[:1]
print(f"recall@1: {hits / len(documents['queries'])}")
"""
SCORE = "def score(query, text):\n    return -len(text)\n"
TASK = f"""\
[task]
editable = ["ranker/**"]
PATHS

[evaluate]
command = "python bench.py"

[metric]
name = "recall@1"
direction = "maximize"
{PROPOSER}"""
STEPS = [
    ("count the common words", {"ranker/score.py": ("-len(text)", "len(set(query) & set(text))")}),
    ("nothing in common", {"ranker/score.py": ("len(set(query) & set(text))", "0")}),
    ("edit the library", {"../../libs/common/words.py": ("lower()", "upper()")}),
]
DOCUMENTS = (
    '{"texts": ["the cat sat on the mat today", "a dog ran after the ball", "birds sing", "fish swim in cold water", "x"], '
    '"queries": ["Cat mat", "Dog ball", "birds that sing", "Water cold", "x"]}'
)


def build(owner: Owner, paths: str) -> None:
    """services/search with its neighbours; its data is fetched, not committed."""
    owner.write({"bench.py": RECALL, "ranker/__init__.py": "", "ranker/score.py": SCORE, "propose.py": proposer(STEPS)})
    owner.write(
        {
            "../../libs/common/words.py": "def split(text):\n    return text.lower().split()\n",
            ".gitignore": "/data/\n",
        }
    )
    owner.write(
        {f"../../{name}/{i}.bin": "x" * 20_000 for name in ("services/mail/fixtures", "web/assets") for i in range(150)}
    )
    owner.git("add", "-A", ":/")
    owner.write({"data/documents.json": DOCUMENTS, "autoresearch.toml": TASK.replace("PATHS\n", paths)})
    owner.commit("start")
    assert "recall@1: 0.2" in owner.does("python3 bench.py")
    (owner.folder / "notes.txt").write_text("of the owner, not committed\n")


@pytest.mark.parametrize("paths", ["", 'paths = ["../../libs/common"]\n'], ids=["whole", "parts"])
def test_task_in_a_subfolder_of_a_monorepo(make_owner: Callable[..., Owner], cache: Path, paths: str) -> None:
    owner = make_owner("services/search")
    build(owner, paths)
    assert owner.is_fixed("the command looks for data/documents.json") == ['inputs = ["data"]']
    rows = owner.runs(3)
    assert [row["value"] for row in rows] == [0.2, 1.0, 0.2, None]
    assert [row["reason"] for row in rows[1:]] == ["better", "worse", "scope"]
    changed = owner.git("diff", "--name-only", "main", "autoresearch/one", "--", ":/").split()
    assert changed == ["services/search/ranker/score.py"]
    assert bool(paths) != any(cache.rglob("services/mail"))
    assert any(cache.rglob("libs/common/words.py"))
