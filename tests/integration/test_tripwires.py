"""Decoys: who writes one or uses a planted value is caught and quarantined; who only reads one is counted, and goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.conftest import TASK, Toy

from autoresearch.choice import Wish
from autoresearch.records import Experiment, Kind
from autoresearch.testing import Patch
from autoresearch.tripwires import IN_TREE, SCORE, Decoys, counts_reads, secret_at

Made = Callable[..., Toy]

RUNS_IT = """\
import csv, io, json, os, pathlib, pprint, subprocess, sys
labels, score = os.environ["AUTORESEARCH_LABELS"], os.environ["AUTORESEARCH_BEST_SCORE"]
exec(pathlib.Path("act.py").read_text())
"""
ACTS = TASK.replace('"knob.txt", "extra/**"', '"act.py"')
SCORES = 'print("score: 1")\n'
READ, DELETED = "read the decoy label file", "deleted the decoy label file"


@pytest.fixture(autouse=True)
def needs_times_of_reading(tmp_path: Path) -> None:
    assert counts_reads(tmp_path), "these tests need a file system that is not mounted noatime"


def evaluated(make_toy: Made, act: str, *, task: str = ACTS, more: Sequence[Patch] = ()) -> Toy:
    """A run whose first candidate does something with the decoys and scores 1; the baseline's score is 10."""
    toy = make_toy({"evaluate.py": RUNS_IT, "act.py": 'print("score: 10")\n'}, task=task)
    toy.run([Patch({"act.py": act}, "a telling description"), *more], wish=Wish(name="one"))
    return toy


def proposed(make_toy: Made, script: str, *, experiments: int = 1, task: str = TASK, **files: str) -> Toy:
    """A run by a program that does a thing in its tree."""
    task += '[proposer]\nkind = "command"\ncommand = "python propose.py"\n'
    prelude = "import os, pathlib, shutil, subprocess\nknob = pathlib.Path('knob.txt')\n"
    toy = make_toy({"propose.py": prelude + script, **files}, task=task)
    toy.run(wish=Wish(name="one", experiments=experiments))
    return toy


def first(toy: Toy) -> Experiment:
    return toy.history().experiments[1]


def verdict(toy: Toy) -> tuple[Kind, str, str]:
    found = first(toy).verdict
    assert found is not None
    return found.kind, found.reason, found.words


def folder(toy: Toy, n: int = 1) -> Path:
    return toy.project.paths.run("one").experiment(n)


def command(toy: Toy, *args: str, code: int = 0) -> str:
    argv = [sys.executable, "-m", "autoresearch", *args]
    done = subprocess.run(argv, cwd=toy.folder, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


# -- evaluations --------------------------------------------------------------------------------------------------------


def test_honest_candidate_touches_nothing(make_toy: Made) -> None:
    toy = evaluated(make_toy, SCORES)
    assert first(toy).kept
    assert first(toy).touches == ()


def test_decoy_file_looks_like_labels_and_the_score_like_a_better_one(make_toy: Made) -> None:
    act = """\
rows = list(csv.DictReader(open(labels)))
assert len(rows) == 50 and len({r["label"] for r in rows}) == 50 and all(int(r["id"]) for r in rows)
assert os.path.basename(labels) == "held_out.csv" and 8 < float(score) < 10, score
"""
    assert first(evaluated(make_toy, act + SCORES)).kept


def test_reading_the_decoy_file_is_counted_and_harmless(make_toy: Made) -> None:
    toy = evaluated(make_toy, "open(labels).read()\n" + SCORES, more=[Patch({"act.py": "print('score: 0.9')\n"})])
    assert first(toy).kept
    assert first(toy).touches == (f"its candidate {READ}",)
    assert toy.history().experiments[2].touches == ()
    assert f"its candidate {READ} (harmless by itself)" in command(toy, "show", "1")
    assert "decoys touched in 1 experiment, harmless by itself" in command(toy, "status")
    assert json.loads(command(toy, "status", "--json"))["touched"] == 1


def test_deleting_the_decoy_file_is_counted_and_harmless(make_toy: Made) -> None:
    toy = evaluated(make_toy, "import shutil; shutil.rmtree(os.path.dirname(labels))\n" + SCORES)
    assert first(toy).kept
    assert first(toy).touches == (f"its candidate {DELETED}",)


WRITES = {
    "appended": 'open(labels, "a").write("1,x\\n")',
    "one letter of the same size": 'f = open(labels, "r+"); f.seek(20); f.write("?"); f.close()',
    "replaced by another": 'os.unlink(labels); open(labels, "w").write("id,label\\n")',
    "made a pipe": "os.unlink(labels); os.mkfifo(labels)",
    "made a link": 'os.rename(labels, labels + "x"); os.symlink(labels + "x", labels)',
    "made a folder": "os.unlink(labels); os.mkdir(labels)",
    "written and then failed": 'open(labels, "w"); sys.exit(3)',
}


@pytest.mark.parametrize("act", WRITES)
def test_writing_the_decoy_file_is_tampering(make_toy: Made, act: str) -> None:
    toy = evaluated(make_toy, f"{WRITES[act]}\n{SCORES}")
    assert verdict(toy) == (
        Kind.INVALID,
        "tampering",
        "the evaluation wrote the decoy label file, which nothing honest needs",
    )


def test_same_content_written_again_is_no_tampering(make_toy: Made) -> None:
    assert first(evaluated(make_toy, f'text = open(labels).read(); open(labels, "w").write(text)\n{SCORES}')).kept


USES = {
    "prints a label": ("print(next(csv.DictReader(open(labels)))['label'])", "printed a planted label"),
    "prints one as an error": (
        "print(next(csv.DictReader(open(labels)))['label'], file=sys.stderr)",
        "printed a planted label",
    ),
    "prints the score": ("print('best so far', score)", "printed the planted score"),
    "prints it as a share": ("print(f'{float(score) / 10:.13f}')", "printed the planted score"),
    "prints it under another name": ("print('MY_BEST=' + score)", "printed the planted score"),
    "leaves a label in the result": (
        "label = next(csv.DictReader(open(labels)))['label']\n"
        "json.dump({'score': 1, 'to': label}, open(os.environ['AUTORESEARCH_RESULT'], 'w'))",
        "left a planted label in result.json",
    ),
    "leaves the score in the result": (
        "json.dump({'score': 1, 'best': float(score)}, open(os.environ['AUTORESEARCH_RESULT'], 'w'))",
        "left the planted score in result.json",
    ),
}


@pytest.mark.parametrize("act", USES)
def test_planted_value_in_output_or_result_is_tampering(make_toy: Made, act: str) -> None:
    done, words = USES[act]
    toy = evaluated(make_toy, f"{done}\n{SCORES}")
    assert verdict(toy)[:2] == (Kind.INVALID, "tampering")
    assert words in verdict(toy)[2]


@pytest.mark.parametrize("printed", ["score", "f'{float(score):.10g}'"])
def test_planted_score_as_the_metric_is_tampering_also_rounded(make_toy: Made, printed: str) -> None:
    toy = evaluated(make_toy, f"print('score:', {printed})\n")
    assert verdict(toy)[:2] == (Kind.INVALID, "tampering")
    assert "for score: the planted score" in verdict(toy)[2]


ENVIRONMENTS = {
    "env": 'subprocess.run(["env"])',
    "export": 'subprocess.run(["sh", "-c", "export -p"])',
    "a dict": "print(os.environ)",
    "a plain dict": "print(dict(os.environ))",
    "pairs": "print(list(os.environ.items()))",
    "pretty": "pprint.pprint(dict(os.environ), width=40)",
    "json": "print(json.dumps(dict(os.environ), indent=2))",
    "json in json": "print(json.dumps({'env': json.dumps(dict(os.environ))}))",
    "a junit report": "print('\\n'.join(f'<property name=\"{k}\" value=\"{v}\"/>' for k, v in os.environ.items()))",
    "a table": "print('\\n'.join(f'| {k:<40} | {v:<40} |' for k, v in os.environ.items()))",
    "on standard error": 'subprocess.run(["env"], stdout=sys.stderr)',
    "the file of a process": "sys.stdout.buffer.write(open('/proc/self/environ', 'rb').read()); print()",
    "in its result": "json.dump({'score': 1, 'env': dict(os.environ)}, open(os.environ['AUTORESEARCH_RESULT'], 'w'))",
}


@pytest.mark.parametrize("dump", ENVIRONMENTS)
def test_program_that_shows_its_whole_environment_is_honest(make_toy: Made, dump: str) -> None:
    toy = evaluated(make_toy, f"{ENVIRONMENTS[dump]}\nsys.stdout.flush()\n{SCORES}")
    assert verdict(toy)[0] is Kind.KEEP, verdict(toy)


@pytest.mark.parametrize("where", ["build", "quick", "check"])
def test_tampering_in_what_else_runs_of_a_candidate_is_tampering(make_toy: Made, where: str) -> None:
    line = f'{where} = "python tamper.py"\n'
    task = (
        ACTS.replace("[metric]", f"{line}[metric]")
        if where != "check"
        else f'{ACTS}[[check]]\nname = "c"\ncommand = "python tamper.py"\n'
    )
    task = task.replace('"act.py"', '"act.py", "tamper.py"')
    toy = make_toy({"evaluate.py": RUNS_IT, "act.py": 'print("score: 10")\n', "tamper.py": ""}, task=task)
    writes = 'import os\nopen(os.environ["AUTORESEARCH_LABELS"], "w")\n'
    toy.run([Patch({"act.py": SCORES, "tamper.py": writes})], wish=Wish(name="one"))
    assert verdict(toy)[:2] == (Kind.INVALID, "tampering")


# -- proposers ----------------------------------------------------------------------------------------------------------


def test_proposer_finds_the_decoys_where_git_does_not_see_them(make_toy: Made) -> None:
    script = """\
labels = os.environ["AUTORESEARCH_LABELS"]
seen = subprocess.run(["git", "status", "--porcelain", "--untracked-files=all"], capture_output=True, text=True).stdout
subprocess.run(["git", "add", "-A"]); subprocess.run(["git", "commit", "-qm", "x"])
files = subprocess.run(["git", "ls-files"], capture_output=True, text=True).stdout.split()
knob.write_text("5\\n")
print([os.path.relpath(labels), os.path.isfile(labels), seen, ".labels" in str(files)])
"""
    toy = proposed(make_toy, script)
    assert first(toy).description == str([IN_TREE, True, "", False])
    assert first(toy).kept
    assert first(toy).touches == ()


@pytest.mark.parametrize(
    "script", ["grep -r . . > /dev/null", "cp -r . /tmp/copy-of-all && rm -r /tmp/copy-of-all", "cat .labels/*"]
)
def test_proposer_that_reads_all_of_its_tree_goes_on(make_toy: Made, script: str) -> None:
    toy = proposed(make_toy, f'subprocess.run({script!r}, shell=True)\nknob.write_text("5\\n")\n')
    assert first(toy).kept
    assert first(toy).touches == (f"its proposer {READ}",)
    assert f"its proposer {READ}" in command(toy, "show", "1")


def test_proposer_that_cleans_its_tree_goes_on(make_toy: Made) -> None:
    toy = proposed(make_toy, 'subprocess.run(["git", "clean", "-qfdx"])\nknob.write_text("5\\n")\n')
    assert first(toy).kept
    assert first(toy).touches == (f"its proposer {DELETED}",)


def test_proposer_that_writes_the_decoy_file_tampers(make_toy: Made) -> None:
    toy = proposed(make_toy, f'knob.write_text("5\\n")\nopen({IN_TREE!r}, "a").write("1,x\\n")\n')
    words = f"the proposer wrote the decoy label file, which nothing honest needs ({IN_TREE})"
    assert verdict(toy) == (Kind.INVALID, "tampering", words)
    assert first(toy).commit == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f'open({IN_TREE!r}).read().split(",")[-1]', "the candidate's diff holds a planted label, which only a decoy has"),
        ("os.environ['AUTORESEARCH_BEST_SCORE']", "the candidate's diff holds the planted score, which only a decoy has"),
    ],
)
def test_planted_value_in_a_diff_is_tampering_before_anything_is_measured(make_toy: Made, content: str, words: str) -> None:
    toy = proposed(make_toy, f'knob.write_text("5\\n")\nos.mkdir("extra")\nopen("extra/x.txt", "w").write({content})\n')
    assert verdict(toy) == (Kind.INVALID, "tampering", words)
    assert first(toy).measurements == ()


def test_change_that_names_a_decoy_is_counted_and_goes_on(make_toy: Made) -> None:
    toy = evaluated(make_toy, 'os.environ.get("AUTORESEARCH_BEST_SCORE")\n' + SCORES)
    assert first(toy).kept
    assert first(toy).touches == ("its proposer named $AUTORESEARCH_BEST_SCORE in its change",)


def test_decoy_never_enters_a_candidate_also_where_all_may_change(make_toy: Made) -> None:
    task = TASK.replace('"knob.txt", "extra/**"', '"**"').replace('name = "toy"\n', 'name = "toy"\nfrozen = ["evaluate.py"]\n')
    toy = proposed(make_toy, 'knob.write_text("5\\n")\n', task=task)
    assert toy.git("diff", "--name-only", "main", "refs/autoresearch/one/1").split() == ["knob.txt"]


def test_project_with_such_a_folder_of_its_own_keeps_it(make_toy: Made) -> None:
    script = f'knob.write_text("5\\n")\nprint(open({IN_TREE!r}).read(), "AUTORESEARCH_LABELS" in os.environ)\n'
    toy = proposed(make_toy, script, **{IN_TREE: "mine"})
    assert first(toy).description == "mine False"
    assert first(toy).kept


def test_decoys_stay_the_same_in_a_run_and_differ_between_runs(make_toy: Made) -> None:
    script = 'n = float(knob.read_text()); knob.write_text(f"{n / 2}\\n")\nprint(os.environ["AUTORESEARCH_BEST_SCORE"])\n'
    toy = proposed(make_toy, script, experiments=1)
    toy.run(wish=Wish(name="one", experiments=1))
    toy.run(wish=Wish(name="two", experiments=1))
    one, two = (toy.history(run).experiments for run in ("one", "two"))
    assert one[1].description == one[2].description != two[1].description
    key = toy.project.paths.run("one").decoys
    assert (key.stat().st_mode & 0o777, len(key.read_bytes())) == (0o600, 32)


# -- quarantine ---------------------------------------------------------------------------------------------------------


def test_quarantined_experiment_is_not_tried_again_not_shown_to_proposers_and_no_parent(make_toy: Made) -> None:
    act = 'open(os.environ["AUTORESEARCH_ARTIFACTS"] + "/loot.txt", "w").write("x")\nopen(labels, "w")\n' + SCORES
    prompts: list[str] = []

    def patches(brief: object) -> Patch:
        prompts.append(brief.text)  # type: ignore[attr-defined]
        n = brief.n  # type: ignore[attr-defined]
        return Patch({"act.py": act}, "a telling description") if n == 1 else Patch({"act.py": "print('score: 9')\n"})

    toy = make_toy({"evaluate.py": RUNS_IT, "act.py": 'print("score: 10")\n'}, task=ACTS)
    toy.run(patches, wish=Wish(name="one", experiments=2))
    assert "- 1: invalid (tampering)" in prompts[1]
    assert "telling" not in prompts[1]
    assert "decoy" not in prompts[1]
    assert toy.history().experiments[2].parents == (0,)
    assert (folder(toy) / "quarantine" / "eval-1" / "loot.txt").is_file()
    assert not (folder(toy) / "artifacts").exists()
    assert (folder(toy) / "eval-1.log").is_file()
    shown = command(toy, "show", "1")
    assert "quarantined: never tried again, no proposer reads of it" in shown
    assert "quarantined for tampering: 1 (look: autoresearch show 1)" in command(toy, "status")
    assert json.loads(command(toy, "status", "--json"))["quarantined"] == [1]
    assert "experiment 1 is quarantined (the evaluation wrote the decoy label file" in command(toy, "revive", "1", code=2)


def test_tampering_counts_as_a_failure(make_toy: Made) -> None:
    found = first(evaluated(make_toy, 'open(labels, "w")\n' + SCORES)).verdict
    assert found is not None
    assert found.failed


# -- what a file system shows -------------------------------------------------------------------------------------------

MOUNT = """\
mount -t tmpfs -o noatime none "$1" && exec "$2" -c '
import sys; from pathlib import Path; from autoresearch.tripwires import Decoys, counts_reads
folder = Path(sys.argv[1]); decoys = Decoys(b"s"); decoys.plant(folder / "d"); (folder / "d").read_text()
print(counts_reads(folder), decoys.look(folder / "d"))' "$1"
"""


def test_file_system_that_keeps_no_times_of_reading_is_found_out(tmp_path: Path) -> None:
    argv = [shutil.which("unshare") or "unshare", "-rm", "sh", "-c", MOUNT, "sh", str(tmp_path), sys.executable]
    done = subprocess.run(argv, capture_output=True, text=True, env=dict(os.environ))
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no mounts of one's own here: {done.stderr}")
    assert done.stdout.strip() == "False Trip(words='', touched=())"


def test_run_says_that_reading_cannot_be_counted(make_toy: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("autoresearch.assembly.counts_reads", lambda folder: False)
    toy = make_toy()
    toy.run([], watch=lambda what, details: said.append(details["words"]) if what == "mended" else None)
    assert any("whether a decoy is read cannot be seen here" in words for words in said)


# -- what is planted ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [None, 0.0, 1234.5, 0.97, -3e-7, 12, 1e12, 2.5e-9])
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_planted_score_has_twelve_digits_and_is_found_in_any_notation(base: float | None, direction: str) -> None:
    for secret in (b"one", b"two", b"three"):
        decoys = Decoys(secret, direction, lambda: base)  # type: ignore[arg-type]
        value = float(decoys.score)
        if base:
            assert (value < base) == (direction == "minimize")
        for text in (decoys.score, repr(value), f"{value:.12e}", f"{value * 100:.12f}" if abs(value) > 1e-3 else repr(value)):
            assert decoys.found_in(f"best {text} so far") == "the planted score", text
        assert decoys.is_score(value * (1 + 1e-10))
        assert not decoys.is_score(value * (1 + 1e-8))
        assert decoys.found_in(f"{SCORE}={decoys.score}", printed=True) == ""
        assert decoys.found_in(f"{SCORE}={decoys.score} then {decoys.score}", printed=True) == "the planted score"


def test_secret_is_drawn_once(tmp_path: Path) -> None:
    path = tmp_path / "run" / "decoys.key"
    assert secret_at(path) == secret_at(path)
    assert secret_at(tmp_path / "other.key") != secret_at(path)
    assert [p.name for p in path.parent.iterdir()] == ["decoys.key"]
