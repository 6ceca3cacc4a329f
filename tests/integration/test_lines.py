"""How many lines a candidate adds or takes away: counted from the trees, recorded with it, shown."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import TASK, Toy

from autoresearch import git as plumbing
from autoresearch.choice import Wish
from autoresearch.ledger import SqliteLedger
from autoresearch.records import Blob, Candidate, Edits, Proposal
from autoresearch.report import experiment_row
from autoresearch.taskfile import Scope
from autoresearch.testing import Patch
from autoresearch.workspace.evaluation import TreeOptions
from autoresearch.workspace.repository import GitWorkspace

TEXT = "".join(f"line {n}\n" for n in range(1, 21))
FILES: dict[str, str | bytes] = {
    "extra/text.txt": TEXT,
    "extra/open.txt": "1\n2",
    "extra/data.bin": b"\0\n\n",
    "extra/empty": "",
}


class Desk:
    """A workspace used directly."""

    def __init__(self, toy: Toy, cache: Path) -> None:
        location = plumbing.locate(toy.folder)
        assert location is not None
        scope = Scope(("knob.txt", "extra/**", "extra/*.bin", "extra/text.txt"))
        base = toy.git("rev-parse", "HEAD").strip()
        self.workspace = GitWorkspace(location, scope, run="one", base=base, cache=cache, options=TreeOptions({}))
        self.base = self.workspace.baseline(0)

    def freeze(self, n: int, edits: Edits, parent: Candidate | None = None) -> Candidate:
        return self.workspace.freeze(n, parent or self.base, Proposal("change", edits), 1000, lambda tree: None)

    def rebase(self, candidate: Candidate, onto: Candidate) -> Candidate:
        return self.workspace.rebase(candidate, self.base, onto, 1000, lambda tree: None, "again")


@pytest.fixture(params=["", "sub/folder"])
def desk(request: pytest.FixtureRequest, make_toy: Callable[..., Toy], tmp_path: Path) -> Iterator[Desk]:
    """In a project at its repository's top, and in one below it."""
    desk = Desk(make_toy(FILES, inside=request.param), tmp_path / "cache" / "one")
    yield desk
    desk.workspace.close()


def blob(text: str | bytes, mode: str = "100644") -> Blob:
    return Blob(text if isinstance(text, bytes) else text.encode(), mode)


@pytest.mark.parametrize(
    ("edits", "lines"),
    [
        ({"knob.txt": blob("9\n")}, 0),
        ({"knob.txt": blob("9\n10\n11\n")}, 2),
        ({"extra/new.txt": blob("1\n2\n3\n")}, 3),
        ({"extra/deep/er/new.txt": blob("1\n2\n3")}, 3),
        ({"extra/text.txt": None}, -20),
        ({"extra/text.txt": blob(TEXT.replace("line 7\n", ""))}, -1),
        ({"extra/open.txt": blob("1\n2\n")}, 0),
        ({"extra/open.txt": blob("1\n")}, -1),
        ({"extra/open.txt": blob("")}, -2),
        ({"extra/empty": None}, 0),
        ({"extra/renamed.txt": blob(TEXT), "extra/text.txt": None}, 0),
        ({"extra/renamed.txt": blob(TEXT + "more\n"), "extra/text.txt": None}, 1),
        ({"knob.txt": blob("9\n8\n"), "extra/new.txt": blob("1\n2\n"), "extra/text.txt": None}, -17),
        ({"extra/text.txt": blob(TEXT, "100755")}, 0),
        ({"extra/ümlaut é.txt": blob("ö\nä\n")}, 2),
        ({"extra/data.bin": blob(b"\0\n\n\n\n")}, None),
        ({"extra/data.bin": None}, None),
        ({"extra/new.bin": blob(b"a\n\0")}, None),
        ({"extra/text.txt": blob(b"\0\1")}, None),
        ({"extra/link": blob("text.txt", "120000")}, None),
        ({"extra/data.bin": None, "knob.txt": blob("9\n8\n")}, None),
    ],
)
def test_lines_are_those_added_less_those_taken_away(desk: Desk, edits: Edits, lines: int | None) -> None:
    assert desk.freeze(1, edits).lines == lines


def test_lines_count_against_what_a_candidate_stands_on(desk: Desk) -> None:
    first = desk.freeze(1, {"extra/new.txt": blob("1\n2\n3\n")})
    assert desk.freeze(2, {"extra/new.txt": blob("1\n")}, first).lines == -2


def test_rebase_counts_anew_against_the_new_parent(desk: Desk) -> None:
    two = desk.freeze(1, {"extra/text.txt": blob(TEXT + "a\nb\n"), "extra/new.txt": blob("1\n2\n3\n")})
    assert two.lines == 5
    onto = desk.freeze(2, {"extra/new.txt": blob("1\n2\n3\n"), "knob.txt": blob("9\n")})
    moved = desk.rebase(two, onto)
    assert moved.lines == 2  # the new file is there already
    merged = desk.rebase(two, desk.freeze(3, {"extra/text.txt": blob(TEXT.replace("line 2\n", ""))}))
    assert merged.lines == 5


def shown(toy: Toy, n: int) -> str:
    argv = [sys.executable, "-m", "autoresearch", "show", str(n)]
    return subprocess.run(argv, cwd=toy.folder, capture_output=True, text=True, check=True).stdout.splitlines()[1]


def test_lines_are_recorded_shown_and_there_again_from_the_events(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(FILES, task=TASK)
    patches = [
        Patch({"knob.txt": "9\n", "extra/new.txt": "1\n2\n3\n"}, "more"),
        Patch({"knob.txt": "8\n", "extra/text.txt": None, "extra/new.txt": "1\n"}, "less"),
        Patch({"knob.txt": "7\n1\n"}, "one"),
        Patch({"knob.txt": "6\n"}, "same"),
        Patch({"knob.txt": "6\n"}, "duplicate"),
    ]
    toy.run(patches, run="one")
    expected = [None, 3, -22, 1, 0, None]
    assert [e.lines for e in toy.history().experiments][:6] == expected
    history = toy.history()
    assert [experiment_row(e, history)["lines"] for e in history.experiments[:6]] == expected
    assert shown(toy, 1).endswith("more · +3 lines")
    assert shown(toy, 2).endswith("less · −22 lines")
    assert shown(toy, 3).endswith("one · +1 line")
    assert shown(toy, 4).endswith("same · ±0 lines")
    assert shown(toy, 5).endswith("duplicate")
    ledger = toy.project.ledger()
    assert isinstance(ledger, SqliteLedger)
    ledger.rebuild()
    ledger.close()
    assert [e.lines for e in toy.history().experiments][:6] == expected


def test_candidate_that_is_moved_to_another_parent_is_recorded_with_its_lines_there(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(FILES)
    evaluate = "print('score:', -len([p for p in __import__('pathlib').Path('extra').iterdir()]))\n"
    toy.write({"evaluate.py": evaluate})
    toy.commit()
    common = {"extra/both.txt": "1\n2\n"}
    patches = [Patch({**common}, "one"), Patch({**common, "extra/two.txt": "1\n"}, "two")]
    toy.run(patches, wish=Wish(name="one", lag=2))
    e = toy.history().experiments[2]
    assert e.rebased
    assert e.kept
    bodies = [event.body for event in toy.events if event.kind == "frozen" and event.n == 2]
    assert [body["lines"] for body in bodies] == [3, 1]
    assert e.lines == 1
