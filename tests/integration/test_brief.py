"""The brief of a real run: live words of the owner, prompts as they were told, what lies in git and on disk, the template."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import EVALUATE, TASK, Toy

from autoresearch.choice import Wish
from autoresearch.cli.brief import eject_template, show_brief
from autoresearch.cli.check import check_task
from autoresearch.errors import SetupError, TaskError
from autoresearch.testing import Patch
from autoresearch.tripwires import Decoys

Made = Callable[..., Toy]
KEPT = '[brief]\ntemplate = "brief.md.j2"\n'


def knob(value: object, words: str = "") -> Patch:
    return Patch({"knob.txt": f"{value}\n"}, words)


class Reader:
    """A scripted proposer that reads what it is told."""

    def __init__(self, *patches: Patch) -> None:
        self.patches, self.prompts = patches, list[str]()

    def __call__(self, brief: Any) -> Patch:
        self.prompts.append(brief.text)
        return self.patches[brief.n - 1]


def printed(capsys: pytest.CaptureFixture[str], toy: Toy, n: int | None = None, **more: Any) -> str:
    capsys.readouterr()
    show_brief(more.pop("folder", toy.folder), n, more.pop("run", None), as_json=more.pop("as_json", False))
    return capsys.readouterr().out


def prompt_of(toy: Toy, n: int, run: str = "one") -> str:
    return (toy.project.paths.run(run).experiment(n) / "prompt.md").read_text()


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".db-shm"
    }


# -- the owner's words -------------------------------------------------------------------------------------------------


def test_changed_instructions_hold_from_the_next_experiment_on_and_are_recorded(make_toy: Made) -> None:
    toy = make_toy({"program.md": "Go down.\n"})
    reader = Reader(knob(9), knob(8), knob(7))

    def watch(what: str, details: Mapping[str, Any]) -> None:
        if what == "decided" and details["n"] == 1:
            toy.write({"program.md": "Go further down.\n"})
            toy.moved()

    toy.run(reader, wish=Wish(name="one", experiments=3), watch=watch)
    assert ["further" in prompt for prompt in reader.prompts] == [False, True, True]
    notes = [e.body for e in toy.events if e.kind == "note" and e.body.get("what") == "texts"]
    ledger = toy.project.ledger(read_only=True)
    assert [ledger.get(note["instructions"]) for note in notes] == [b"Go down.\n", b"Go further down.\n"][-len(notes) :]
    assert ledger.get(toy.history().agenda.texts["instructions"]) == b"Go further down.\n"
    assert len([e for e in ledger.events("one") if e.body.get("what") == "texts"]) == 2, "only another version is recorded"


def test_changed_keys_of_the_brief_hold_at_once_and_what_cannot_be_read_changes_nothing(make_toy: Made) -> None:
    toy = make_toy(task=TASK)
    reader, said = Reader(*(knob(9 - n) for n in range(4))), list[str]()
    texts = {1: TASK + '[brief]\nappend = "Be bold."\n', 2: TASK + "[brief\n", 3: TASK + '[brief]\nappend = "Be careful."\n'}

    def watch(what: str, details: Mapping[str, Any]) -> None:
        if what == "decided" and details["n"] in texts:
            toy.write({"autoresearch.toml": texts[details["n"]]})
            toy.moved()
        if what == "mended":
            said.append(details["words"])

    toy.run(reader, wish=Wish(name="one", experiments=4), watch=watch)
    assert ["Be bold." in p for p in reader.prompts] == [False, True, True, False]
    assert "Be careful." in reader.prompts[3]
    assert len([words for words in said if words.startswith("the brief stays as it was: autoresearch.toml")]) == 1


def test_instructions_that_an_editor_takes_away_for_a_moment_stay(make_toy: Made) -> None:
    toy = make_toy({"program.md": "Go down.\n"})
    reader = Reader(knob(9), knob(8))

    def watch(what: str, details: Mapping[str, Any]) -> None:
        if what == "decided" and details["n"] == 1:
            (toy.folder / "program.md").unlink()
            toy.moved()

    toy.run(reader, wish=Wish(name="one", experiments=2), watch=watch)
    assert all("Go down." in prompt for prompt in reader.prompts)


# -- what was told -----------------------------------------------------------------------------------------------------


def test_what_an_experiment_was_told_is_kept_byte_for_byte(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    reader = Reader(knob(9, "nine"), knob(12, "twelve"), knob("x", "no number"))
    toy.run(reader, wish=Wish(name="one", experiments=3))
    for n, prompt in enumerate(reader.prompts, 1):
        assert prompt_of(toy, n) == prompt
        assert printed(capsys, toy, n) == prompt
    body = json.loads(printed(capsys, toy, 3, as_json=True))
    assert (body["n"], body["parent"], body["text"]) == (3, 1, reader.prompts[2])
    assert sum(part["tokens"] for part in body["parts"]) == body["tokens"] <= body["limit"] == 8000


def test_table_of_tokens_goes_to_standard_error(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.run([knob(9)], wish=Wish(name="one", experiments=1))
    capsys.readouterr()
    show_brief(toy.folder, None, None, as_json=False)
    captured = capsys.readouterr()
    rows = [row.split() for row in captured.err.splitlines()]
    assert rows[0] == ["part", "tokens"]
    assert sum(int(row[1]) for row in rows[1:] if row[0] not in ("all", "experiment")) == int(
        next(r[1] for r in rows if r[0] == "all")
    )
    assert "tokens" not in captured.out.partition("## The rules")[0]


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (0, "experiment 0 was told nothing, or its prompt is gone \\(is the baseline\\)"),
        (1, r"experiment 1 was told nothing, or its prompt is gone \(was proposed by scripted\)"),
        (7, "run one has experiments 0 to 1, there is no 7; without a number"),
    ],
)
def test_experiment_that_was_told_nothing_says_so(toy: Toy, capsys: pytest.CaptureFixture[str], n: int, words: str) -> None:
    toy.run([knob(9)], wish=Wish(name="one", experiments=1))
    with pytest.raises(SetupError, match=words):
        printed(capsys, toy, n)


def test_next_is_told_what_brief_said_it_would_be(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.run([knob(9), knob(12)], wish=Wish(name="one", experiments=2))
    said = printed(capsys, toy)
    reader = Reader(knob(9), knob(12), knob(8))
    toy.run(reader, wish=Wish(name="one", experiments=1))
    assert reader.prompts == [said]


def test_brief_works_during_a_run_from_a_subfolder_and_changes_nothing(
    toy: Toy, capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    (below := toy.folder / "extra" / "deep").mkdir(parents=True)
    seen: list[bool] = []

    def watch(what: str, details: Mapping[str, Any]) -> None:
        if what == "decided" and details["n"] == 2:
            before = everything(toy.folder), everything(cache)
            text = printed(capsys, toy, folder=below)
            seen.append(text.startswith("# Experiment 3 of toy\n") and (everything(toy.folder), everything(cache)) == before)

    toy.run([knob(9), knob(8), knob(7)], wish=Wish(name="one", experiments=3), watch=watch)
    assert seen == [True]


def test_brief_is_the_same_in_every_process(toy: Toy) -> None:
    toy.run([knob(n) for n in (9, 12, "x", 8, 8.5, "y", 30)], wish=Wish(name="one", experiments=7))
    code = (
        "from pathlib import Path; from autoresearch.cli.brief import show_brief; show_brief(Path(), None, None, as_json=True)"
    )
    texts = set()
    for seed in ("1", "2", "3"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        texts.add(subprocess.run([sys.executable, "-c", code], cwd=toy.folder, env=env, capture_output=True, check=True).stdout)
    assert len(texts) == 1


def test_python_function_reads_its_brief_in_a_thread_of_its_own(make_toy: Made) -> None:
    code = (
        "import pathlib\n"
        "def propose(folder, brief):\n"
        "    pathlib.Path(folder, 'knob.txt').write_text(f'{12 - 3 * brief.n}\\n')\n"
        "    return brief.text.splitlines()[0]\n"
    )
    toy = make_toy({"mine_to_read.py": code}, task=TASK + '[proposer]\nkind = "mine_to_read:propose"\n')
    toy.run(wish=Wish(name="one", experiments=3))
    assert [e.description for e in toy.history().experiments[1:]] == [f"# Experiment {n} of toy" for n in (1, 2, 3)]
    assert prompt_of(toy, 3).startswith("# Experiment 3 of toy\n")


# -- what lies in git and on the disk ----------------------------------------------------------------------------------


def test_failures_come_with_their_diffs_from_the_projects_folder(make_toy: Made) -> None:
    toy = make_toy(inside="deep/project ö")
    reader = Reader(knob(9), knob("no number"), knob(8))
    toy.run(reader, wish=Wish(name="one", experiments=3))
    assert "--- a/knob.txt\n+++ b/knob.txt\n@@ -1 +1 @@\n-9\n+no number\n" in reader.prompts[2]
    assert "last line: ValueError: could not convert" in reader.prompts[2]


def test_guidance_is_that_of_the_base_at_its_top_and_in_the_project(make_toy: Made) -> None:
    toy = make_toy({"AGENTS.md": "House rule: be kind.\n"}, inside="sub")
    top = toy.folder.parent
    (top / "AGENTS.md").write_text("Top rule.\n")
    (top / "CLAUDE.md").symlink_to("AGENTS.md")
    toy.git("add", "-A", ":/")
    toy.commit()
    reader = Reader(knob(9), knob(8))

    def watch(what: str, details: Mapping[str, Any]) -> None:
        if what == "decided" and details["n"] == 1:
            toy.write({"AGENTS.md": "Anything goes.\n"})
            toy.moved()

    toy.run(reader, wish=Wish(name="one", experiments=2), watch=watch)
    for prompt in reader.prompts:
        assert "### AGENTS.md\n\nTop rule." in prompt
        assert "### sub/AGENTS.md\n\nHouse rule: be kind." in prompt
        assert prompt.count("Top rule.") == 1
        assert "### CLAUDE.md" not in prompt, "a link is no guidance"
        assert "Anything goes" not in prompt


LEAVES = EVALUATE + (
    "left = pathlib.Path(os.environ['AUTORESEARCH_ARTIFACTS'])\n"
    "(left / 'profile.txt').write_text(f'``` hot spot at {value}\\n')\n"
    "(left / 'loss.png').write_bytes(b'\\x89PNG' + bytes(20))\n"
    "os.symlink('/etc/passwd', left / 'curve.txt')\n"
    "print('step of', value)\n"
)


def test_parents_log_profile_and_pictures_reach_whoever_proposes(make_toy: Made) -> None:
    propose = 'find "$TMPDIR/parent" -type f | sort >&2\necho 9 > knob.txt\necho set it\n'
    task = TASK + '[proposer]\nkind = "command"\ncommand = "sh propose.sh"\n'
    toy = make_toy({"evaluate.py": LEAVES, "propose.sh": propose}, task=task)
    toy.run(wish=Wish(name="one", experiments=1))
    prompt = prompt_of(toy, 1)
    assert "step of 10.0" in prompt
    assert "hot spot at 10.0" in prompt
    assert "- eval-2/loss.png, 24 bytes" in prompt
    assert "root:" not in prompt
    assert "curve.txt" not in prompt
    log = (toy.project.paths.run("one").experiment(1) / "agent.log").read_text()
    assert [line.rpartition("/parent/")[2] for line in log.splitlines() if "/parent/" in line] == [
        f"eval-{i}/{name}" for i in (1, 2) for name in ("loss.png", "profile.txt")
    ]


def test_command_says_of_its_change_what_the_brief_asks_for(make_toy: Made) -> None:
    propose = 'echo 9 > knob.txt\necho "description: less"\necho "hypothesis: it counts down"\necho "expect: -12 %"\n'
    toy = make_toy({"propose.sh": propose}, task=TASK + '[proposer]\nkind = "command"\ncommand = "sh propose.sh"\n')
    toy.run(wish=Wish(name="one", experiments=1))
    e = toy.history().experiments[1]
    assert (e.description, e.hypothesis, e.expected) == ("less", "it counts down", -0.12)


def test_no_secret_and_no_decoy_is_told(
    make_toy: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("API_TOKEN", "tok-secret-12345")
    evaluate = EVALUATE + "print('AUTORESEARCH_BEST_SCORE=' + os.environ['AUTORESEARCH_BEST_SCORE'])\n"
    task = TASK.replace("[metric]", 'env = ["API_TOKEN"]\n[metric]')
    toy = make_toy(
        {"evaluate.py": evaluate, "program.md": "Use tok-secret-12345.\n", "AGENTS.md": "tok-secret-12345\n"}, task=task
    )
    reader = Reader(knob(9, "with tok-secret-12345"), knob(8))
    toy.run(reader, wish=Wish(name="one", experiments=2))
    decoys = Decoys(toy.project.paths.run("one").decoys.read_bytes(), "minimize", lambda: 10.0)
    for prompt in (*reader.prompts, printed(capsys, toy)):
        assert "tok-secret" not in prompt
        assert "Use ***API_TOKEN***." in prompt
        assert decoys.score not in prompt
    assert "AUTORESEARCH_BEST_SCORE=***decoy***" in reader.prompts[1]


# -- the template ------------------------------------------------------------------------------------------------------


def test_ejected_template_is_named_in_the_task_gives_the_same_brief_and_is_not_overwritten(
    make_toy: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = make_toy(task=TASK + "# the end\n")
    toy.run([knob(9)], wish=Wish(name="one", experiments=1))
    before = printed(capsys, toy)
    eject_template(toy.folder / "extra" if (toy.folder / "extra").is_dir() else toy.folder, None)
    assert capsys.readouterr().out.endswith('autoresearch.toml: [brief] template = "brief.md.j2"\n')
    assert (toy.folder / "autoresearch.toml").read_text() == TASK + '# the end\n\n[brief]\ntemplate = "brief.md.j2"\n'
    assert printed(capsys, toy) == before
    with pytest.raises(SetupError, match=r"brief\.md\.j2 is there already"):
        eject_template(toy.folder, None)
    with pytest.raises(SetupError, match="is not in the project's folder"):
        eject_template(toy.folder, "../outside.j2")
    eject_template(toy.folder, "other.j2")
    assert 'names another one, brief.md.j2; to use this one write [brief] template = "other.j2"' in capsys.readouterr().out
    toy.moved()


def test_own_template_holds_for_the_run_is_live_and_recorded(make_toy: Made) -> None:
    own = "{{ contract }}\n{{ instructions }}{{ answer }}{{ question }}{{ append }}\nMINE 1\n"
    toy = make_toy({"brief.md.j2": own}, task=TASK + KEPT)
    reader, said = Reader(knob(9), knob(8), knob(7)), list[str]()

    def watch(what: str, details: Mapping[str, Any]) -> None:
        if what == "decided" and details["n"] in (1, 2):
            toy.write({"brief.md.j2": own.replace("MINE 1", "MINE 2") if details["n"] == 1 else "{{ nothing }}"})
            toy.moved()
        if what == "mended":
            said.append(details["words"])

    toy.run(reader, wish=Wish(name="one", experiments=3), watch=watch)
    assert [prompt.rstrip()[-6:] for prompt in reader.prompts] == ["MINE 1", "MINE 2", "MINE 2"]
    assert any(words.startswith("the brief stays as it was: brief.md.j2:1: unknown name 'nothing'") for words in said)
    assert b"MINE 2" in toy.project.ledger(read_only=True).get(toy.history().agenda.texts["template"])


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, r'\[brief\] template = "brief.md.j2" cannot be read: .*; `autoresearch brief --eject brief.md.j2` writes one'),
        ({"brief.md.j2": "x\n{{ contrac }}\n"}, r"brief\.md\.j2:2: unknown name 'contrac', .* Did you mean 'contract'\?"),
        ({"brief.md.j2": " \n"}, r"brief\.md\.j2: the template is empty"),
    ],
)
def test_broken_template_is_found_by_check_and_before_anything_is_recorded(
    make_toy: Made, files: dict[str, str], words: str
) -> None:
    toy = make_toy(files, task=TASK + KEPT)
    with pytest.raises(TaskError, match=words):
        toy.run([knob(9)], wish=Wish(name="one"))
    assert not toy.project.paths.ledger.exists()
    with pytest.raises(TaskError, match=words):
        check_task(toy.folder, as_json=False, yes=True)


def test_brief_longer_than_its_budget_is_said_on_the_way(make_toy: Made) -> None:
    toy = make_toy({"program.md": "word " * 3000}, task=TASK + "[brief]\ntokens = 1000\n")
    reader = Reader(knob(9))
    toy.run(reader, wish=Wish(name="one", experiments=1))
    assert reader.prompts[0].count("word") >= 3000
    stored = json.loads((toy.project.paths.run("one").experiment(1) / "prompt.json").read_text())
    assert stored["notices"][0].startswith("the brief has about")
