"""Experiments that begin at an earlier keep: compared with the incumbent as they are, kept as the branch's next commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TASK, Toy
from tests.integration.test_bundle import clone, export, form

from autoresearch import bundle
from autoresearch.books import Parts
from autoresearch.choice import Wish
from autoresearch.cli.look import print_diff, show_experiment
from autoresearch.history import History, View
from autoresearch.records import Plan
from autoresearch.testing import Patch

SUM = "from pathlib import Path\nprint('score:', sum(float(p.read_text()) for p in sorted(Path('extra').glob('*.txt'))))\n"


class Script:
    """Plans by number; on from the incumbent for all others."""

    def __init__(self, plans: Mapping[int, Plan]) -> None:
        self._plans = plans

    def ask(self, n: int, view: View) -> Plan:
        return self._plans.get(n, Plan((view.incumbent.n,)))


def part(name: str, value: float) -> Patch:
    return Patch({f"extra/{name}.txt": f"{value}\n"}, f"{name} {value}")


def again(plans: Mapping[int, Plan]) -> Callable[[Parts], Parts]:
    return lambda parts: replace(parts, strategy=Script(plans))


RESTART = {3: Plan((1,), "restart", mutation="structure", escalation="restart")}
PATCHES = [part("a", 9), part("b", 9), part("c", 5)]  # 30 at first; 29, 28, and from the first of them on 24


def make(make_toy: Callable[..., Toy], task: str = "") -> Toy:
    return make_toy({"evaluate.py": SUM, **{f"extra/{name}.txt": "10\n" for name in "abc"}}, task=TASK + task)


def play(toy: Toy, patches: list[Patch] = PATCHES, plans: Mapping[int, Plan] = RESTART, **wish: Any) -> History:
    toy.run(patches, wish=Wish(name="r", seed=1, **wish), parts=again(plans))
    return toy.history("r")


def tree(toy: Toy, revision: str) -> dict[str, str]:
    return {name: toy.git("show", f"{revision}:extra/{name}.txt").strip() for name in "abc"}


def order(toy: Toy, kind: str, n: int) -> History:
    toy.run([], wish=Wish(name="r", order=(kind, {"experiment": n})))
    return toy.history("r")


def test_it_is_compared_as_it_is_and_its_tree_becomes_the_branch_s_next_commit(make_toy: Callable[..., Toy]) -> None:
    toy = make(make_toy)
    history = play(toy)
    e = history.experiments[3]
    assert history.line == [0, 1, 2, 3]
    assert (e.rebased, e.onto, e.stands_on, e.lines) == (False, None, 1, None)
    assert len(e.measurements) == 1
    assert tree(toy, "autoresearch/r") == {"a": "9", "b": "10", "c": "5"}
    assert toy.git("log", "--format=%s", "autoresearch/r").splitlines()[:3] == ["c 5", "b 9", "a 9"]
    assert "Gain: -4 against experiment 2" in toy.git("log", "-1", "--format=%B", "autoresearch/r")
    assert toy.git("rev-parse", "refs/autoresearch/r/3^").strip() == history.experiments[1].commit
    assert toy.git("rev-parse", "refs/autoresearch/r/3^{tree}") == toy.git("rev-parse", "autoresearch/r^{tree}")


def test_better_than_its_parent_is_not_enough(make_toy: Callable[..., Toy]) -> None:
    history = play(make(make_toy), [part("a", 9), part("b", 5), part("c", 9)])
    e = history.experiments[3]
    assert e.verdict is not None
    assert (e.verdict.reason, e.verdict.words) == ("worse", "28 against 24")
    assert history.line == [0, 1, 2]


def test_its_diff_and_what_it_was_compared_with_are_shown(
    make_toy: Callable[..., Toy], capsys: pytest.CaptureFixture[str]
) -> None:
    toy = make(make_toy)
    play(toy)
    show_experiment(toy.folder, "r", 3, as_json=False)
    shown = capsys.readouterr().out
    assert "restart on 1 by scripted: c 5" in shown
    assert "asked for: structure · plateau: restart" in shown
    assert "compared as it is with experiment 2, which was the incumbent" in shown
    print_diff(toy.folder, "r", 3, None)
    diff = capsys.readouterr().out
    assert "extra/c.txt" in diff
    assert "extra/b.txt" not in diff


def test_where_the_incumbent_moves_meanwhile_it_is_compared_with_the_new_one(make_toy: Callable[..., Toy]) -> None:
    """Asked for when experiment 1 was the incumbent; decided when 2 is."""
    toy = make(make_toy)
    history = play(toy, [part("a", 9), part("b", 5), part("c", 3)], {3: Plan((0,), "restart")}, lag=2)
    e = history.experiments[3]
    assert e.kept
    assert not e.rebased
    assert e.verdict is not None
    assert e.verdict.words == "23 against 24"
    assert tree(toy, "autoresearch/r") == {"a": "10", "b": "10", "c": "3"}


def test_taken_out_the_branch_is_as_it_was_before_it(make_toy: Callable[..., Toy]) -> None:
    toy = make(make_toy)
    play(toy)
    history = order(toy, "reject", 3)
    assert history.line == [0, 1, 2]
    assert tree(toy, "autoresearch/r") == {"a": "9", "b": "9", "c": "10"}


def test_without_the_keep_that_it_began_at_its_own_change_is_tried_again(make_toy: Callable[..., Toy]) -> None:
    """What it holds of the rejected keep goes with it; so does the keep between, which it had left."""
    toy = make(make_toy)
    play(toy)
    history = order(toy, "reject", 1)
    assert [(e.origin, e.kept) for e in history.experiments[4:]] == [(2, True), (3, True)]
    assert tree(toy, "autoresearch/r") == {"a": "10", "b": "9", "c": "5"}


def test_a_failing_check_of_every_second_keep_is_bisected_to_it(make_toy: Callable[..., Toy]) -> None:
    check = "\n[[check]]\nname = 'c'\ncommand = \"grep -q 10 extra/c.txt\"\nevery = 3\n"
    toy = make(make_toy, check)
    history = play(toy)
    assert history.experiments[3].rolled_back
    assert history.line == [0, 1, 2]
    assert tree(toy, "autoresearch/r") == {"a": "9", "b": "9", "c": "10"}


def test_discarded_and_revived_it_is_a_change_of_the_incumbent(make_toy: Callable[..., Toy]) -> None:
    toy = make(make_toy)
    play(toy, [part("a", 9), part("b", 5), part("c", 9)])
    history = order(toy, "revive", 3)
    e = history.experiments[4]
    assert (e.origin, e.kept, e.parents) == (3, True, (2,))
    assert tree(toy, "autoresearch/r") == {"a": "9", "b": "5", "c": "9"}


def test_what_is_tried_again_under_the_number_of_a_restart_is_none(make_toy: Callable[..., Toy]) -> None:
    """The strategy wanted a restart as experiment 4; a person wanted 3 again."""
    toy = make(make_toy)
    play(toy, [part("a", 9), part("b", 5), part("c", 11)], {}, experiments=3)
    toy.run([], wish=Wish(name="r", order=("revive", {"experiment": 3})), parts=again({4: Plan((0,), "restart")}))
    e = toy.history("r").experiments[4]
    assert (e.operation, e.restarts, e.parents, e.origin) == ("restart", False, (2,), 3)
    assert e.verdict is not None
    assert e.verdict.words == "25 against 24"


def test_a_run_in_one_file_holds_it(make_toy: Callable[..., Toy], tmp_path: Path) -> None:
    toy = make(make_toy)
    play(toy)
    packed = tmp_path / "r.autoresearch"
    export(toy, packed)
    (tmp_path / "elsewhere").mkdir()
    other = clone(toy, tmp_path / "elsewhere" / "clone")
    bundle.unpack(other.project, packed)
    assert form(other) == form(toy)
    assert tree(other, "refs/autoresearch/r/3") == {"a": "9", "b": "10", "c": "5"}


def test_stopped_before_its_verdict_it_goes_on_as_it_was(make_toy: Callable[..., Toy]) -> None:
    whole, halved = make(make_toy), make(make_toy)
    play(whole)
    play(halved, PATCHES, RESTART, experiments=2)
    play(halved)
    assert form(whole) == form(halved)
