"""`brief --try` in real projects: before a run, on the way, at its end; in the checkout and in a tree of one's own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import EVALUATE, TASK, Toy, git
from tests.integration.test_brief import everything, knob

from autoresearch.choice import Wish
from autoresearch.cli.brief import show_brief
from autoresearch.driving import places, trees
from autoresearch.driving.briefs import brief_for
from autoresearch.errors import RepositoryError, RulerChanged, SetupError, TaskError, UnknownName
from autoresearch.taskfile import load
from autoresearch.tripwires import Decoys

Made = Callable[..., Toy]
FEW = TASK + "[budget]\nexperiments = 2\n"


def said(toy: Toy, *, tools: bool = False, run: str | None = None, folder: Path | None = None) -> dict[str, Any]:
    return brief_for(places.find(folder or toy.folder), run, tools=tools).body


# -- where a run stands -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tools", [False, True])
def test_before_there_is_a_run_it_tells_the_rules_and_that_the_baseline_comes_first(make_toy: Made, tools: bool) -> None:
    toy = make_toy({"program.md": "Go down.\n", "AGENTS.md": "Be kind.\n"})
    (toy.folder / "knob.txt").write_text("9\n")  # not committed, as an agent leaves it
    toy.moved()
    body = said(toy, tools=tools)
    assert (body["run"], body["baseline"], body["over"], body["n"]) == (None, False, False, 1)
    for words in (
        "There is no run yet",
        "Go down.",
        "Be kind.",
        "- Edit only: knob.txt, extra/**",
        "Left: 100 of 100 experiments",
    ):
        assert words in body["text"]
    assert "## What was kept" not in body["text"]
    assert not toy.project.paths.folder.exists(), "nothing is written"


def test_from_the_command_line_from_any_folder_below(make_toy: Made) -> None:
    toy = make_toy()
    (below := toy.folder / "extra" / "deep").mkdir(parents=True)
    argv = [sys.executable, "-m", "autoresearch", "brief", "--try"]
    text = subprocess.run(argv, cwd=below, capture_output=True, text=True, check=True)
    assert text.stdout.startswith("# In the driving seat of toy\n")
    assert text.stderr.splitlines()[0].split() == ["part", "tokens"]
    body = json.loads(subprocess.run([*argv, "--json"], cwd=below, capture_output=True, text=True, check=True).stdout)
    assert body["text"] == text.stdout
    assert sum(count["tokens"] for count in body["parts"]) == body["tokens"] <= body["limit"]


def test_while_the_baseline_is_measured_ideas_and_rules_are_told_and_no_number(toy: Toy) -> None:
    seen: list[dict[str, Any]] = []

    def watch(what: str, details: Mapping[str, Any]) -> None:
        if what == "measured" and not seen:
            seen.append(said(toy))

    toy.run([knob(9)], wish=Wish(name="one", experiments=1), watch=watch)
    assert (seen[0]["run"], seen[0]["baseline"]) == ("one", False)
    assert "Run one has no baseline yet" in seen[0]["text"]
    assert "score 0" not in seen[0]["text"]


def test_during_a_run_it_tells_keeps_and_failures_and_changes_nothing(toy: Toy, cache: Path) -> None:
    seen: list[tuple[str, bool]] = []

    def watch(what: str, details: Mapping[str, Any]) -> None:
        if what == "decided" and details["n"] == 3:
            before = everything(toy.folder), everything(cache)
            text = said(toy)["text"]
            seen.append((text, (everything(toy.folder), everything(cache)) == before))

    patches = [knob(9, "nine"), knob("x", "no number"), knob(12, "twelve"), knob(8, "eight")]
    toy.run(patches, wish=Wish(name="one", experiments=4), watch=watch)
    text, unchanged = seen[0]
    assert unchanged
    for words in ("- 1: 9 (−10.00 % against 0): nine", "last line: ValueError", "twelve"):
        assert words in text


def test_checkout_behind_the_incumbent_is_told_so_and_how_to_get_its_files(toy: Toy) -> None:
    toy.run([knob(9)], wish=Wish(name="one", experiments=1))
    body = said(toy)
    assert body["parent"] == 0
    assert "The incumbent, which has to be beaten, is experiment 1: score 9" in body["text"]
    command = "git restore --source=autoresearch/one/1 FILE"
    assert command in body["text"]
    git(toy.folder, *command.replace("FILE", "knob.txt").split()[1:])
    assert said(toy)["parent"] == 1
    assert "You start from experiment 1, the incumbent" in said(toy)["text"]
    toy.moved()


def test_over_is_said_where_the_budget_is_spent(make_toy: Made) -> None:
    toy = make_toy(task=FEW)
    toy.run([knob(9), knob(12)], wish=Wish(name="one"))
    body = said(toy)
    assert body["over"] is True
    assert "Run one is over:" in body["text"]
    assert "There is nothing to hand in any more." in body["text"]
    toy.write({"autoresearch.toml": TASK + "[budget]\nexperiments = 3\n"})
    toy.moved()
    body = said(toy)
    assert (body["over"], "Left: 1 of 3 experiments" in body["text"]) == (False, True)


def test_over_is_said_where_the_target_is_reached(make_toy: Made) -> None:
    toy = make_toy(task=TASK + "target = 9\n")
    toy.run([knob(9)], wish=Wish(name="one"))
    assert said(toy)["over"] is True


def test_changed_ruler_is_refused_as_a_change_would_be(make_toy: Made) -> None:
    toy = make_toy()
    toy.run([knob(9)], wish=Wish(name="one", experiments=1))
    toy.write({"autoresearch.toml": TASK.replace("minimize", "maximize")})
    toy.moved()
    with pytest.raises(RulerChanged, match=r"metric\.direction"):
        said(toy)


# -- wrong set-ups ------------------------------------------------------------------------------------------------------


def test_wrong_set_up_is_named(make_toy: Made, tmp_path: Path) -> None:
    toy = make_toy()
    with pytest.raises(SetupError):
        said(toy, folder=tmp_path)
    with pytest.raises(SetupError, match="no run"):
        said(toy, run="nine")
    toy.run([knob(9)], wish=Wish(name="one", experiments=1))
    with pytest.raises(UnknownName, match="nine"):
        said(toy, run="nine")
    (bare := tmp_path / "bare").mkdir()
    (bare / "knob.txt").write_text("1\n")
    (bare / "autoresearch.toml").write_text(TASK)
    with pytest.raises(RepositoryError, match="no git repository"):
        said(toy, folder=bare)
    git(bare, "init", "-q")
    with pytest.raises(RepositoryError, match="has no commit yet: `git add` your files"):
        said(toy, folder=bare)
    toy.write({"autoresearch.toml": "[task\n"})
    toy.moved()
    with pytest.raises(TaskError):
        said(toy)


def test_number_and_try_together_are_refused(toy: Toy) -> None:
    toy.run([knob(9)], wish=Wish(name="one", experiments=1))
    with pytest.raises(SetupError, match="brief 1 --try: what experiment 1 was told is printed without --try"):
        show_brief(toy.folder, 1, None, as_json=False, driving=True)


# -- what nobody may see ------------------------------------------------------------------------------------------------


def test_no_secret_no_decoy_and_nothing_of_a_private_set_is_told(make_toy: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "tok-secret-12345")
    evaluate = EVALUATE + "print('AUTORESEARCH_BEST_SCORE=' + os.environ['AUTORESEARCH_BEST_SCORE'])\n"
    behind = EVALUATE.replace("{value}", "{value + 1234.5}")
    task = TASK.replace("[metric]", 'env = ["API_TOKEN"]\n[metric]')
    task += '[gate]\ncommand = "python behind.py"\nprivate = ["behind.py"]\n'
    toy = make_toy({"evaluate.py": evaluate, "behind.py": behind, "program.md": "Use tok-secret-12345.\n"}, task=task)
    toy.run([knob(9, "with tok-secret-12345"), knob("x", "bad")], wish=Wish(name="one", experiments=2))
    decoys = Decoys(toy.project.paths.run("one").decoys.read_bytes(), "minimize", lambda: 10.0)
    for tools in (False, True):
        text = json.dumps(said(toy, tools=tools), ensure_ascii=False)
        assert "tok-secret" not in text
        assert "Use ***API_TOKEN***." in text
        assert decoys.score not in text
        assert "1243" not in text
        assert "behind.py" not in text


# -- a tree of one's own ------------------------------------------------------------------------------------------------


def test_in_a_tree_that_was_entered_it_is_what_brief_prints_by_itself(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.run([knob(9)], wish=Wish(name="one", experiments=1))
    place = trees.enter(toy.project, "one", load(toy.folder))
    capsys.readouterr()
    show_brief(place.folder, None, None, as_json=True)
    body = json.loads(capsys.readouterr().out)
    assert (body["run"], body["entered"], body["parent"], body["folder"]) == ("one", True, 1, str(place.folder))
    assert f"Work in `{place.folder}`, a tree of your own" in body["text"]
    show_brief(place.folder, None, None, as_json=False, driving=False)
    assert capsys.readouterr().out.startswith("# Experiment 2 of toy\n")
    assert place.tree is not None
    shutil.rmtree(place.tree.parent)
