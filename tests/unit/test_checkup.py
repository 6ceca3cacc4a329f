"""The parts of a check that need no process: noise, guesses from a failure's words, halving, what a broken file tells."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.checkup import causes, forecast, unused
from autoresearch.checkup.breakage import judge
from autoresearch.checkup.findings import Findings
from autoresearch.checkup.measure import Tried
from autoresearch.checkup.mend import Mend
from autoresearch.checkup.spread import greedy, more, spread
from autoresearch.checkup.surroundings import Surroundings
from autoresearch.checkup.walls import fewest, further
from autoresearch.process.environment import argv
from autoresearch.records import Outcome, Readout
from autoresearch.taskfile import Task
from autoresearch.taskfile.load import parse

ROOT = Path(__file__).resolve().parents[2]
JSON_PAGE = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
TASK = '[task]\neditable = ["knob.txt"]\n[evaluate]\ncommand = "{command}"\n{more}[metric]\nname = "score"\n'


def task(command: str = "python evaluate.py", more: str = "") -> Task:
    return parse(TASK.format(command=command, more=more))


# -- noise --------------------------------------------------------------------------------------------------------------


def test_equal_values_are_exact_and_hide_nothing() -> None:
    found = spread([2.5, 2.5])
    assert (found.exact, found.sd, found.detectable) == (True, 0.0, 0.0)


def test_one_value_says_nothing_about_noise() -> None:
    assert spread([2.5]).sd is None


def test_detectable_gain_is_larger_where_few_values_tell_the_noise() -> None:
    few, many = spread([1.0, 2.0]), spread([1.0, 2.0] * 10)
    assert few.sd is not None
    assert few.detectable is not None
    assert many.sd is not None
    assert many.detectable is not None
    assert few.detectable / few.sd == pytest.approx(5.0)
    assert many.detectable / many.sd == pytest.approx(2.5, rel=0.1)


def test_drift_is_seen_in_a_trend_and_seldom_in_noise() -> None:
    rng = random.Random(1)
    assert spread([i / 10 + rng.gauss(0, 0.1) for i in range(12)]).drifts
    quiet = sum(spread([rng.gauss(0, 1) for _ in range(12)]).drifts for _ in range(200))
    assert quiet < 30  # two tests at 5 % each, one of them one-sided


def test_trend_does_not_follow_one_outlier() -> None:
    found = spread([1.0, 1.1, 0.9, 1.0, 1.1, 0.9, 50.0])
    assert found.outliers == (6,)
    assert found.trend is not None
    assert abs(found.trend) < 1


def test_ties_around_the_middle_make_no_outlier() -> None:
    assert spread([1.0, 1.0, 1.0, 1.0, 1.1]).outliers == ()


@pytest.mark.parametrize(("direction", "keeps", "claimed"), [("minimize", 2, 2.0), ("maximize", 1, 1.0)])
def test_keep_if_better_loop_claims_its_luckiest_value(direction: str, keeps: int, claimed: float) -> None:
    found = greedy([5.0, 6.0, 4.0, 3.0, 5.5], direction)  # type: ignore[arg-type]
    assert (found.keeps, found.claimed) == (keeps, claimed)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_keep_if_better_loop_never_claims_a_loss(values: list[float]) -> None:
    assert greedy(values, "minimize").claimed == values[0] - min(values)


def test_three_more_evaluations_tell_the_noise_and_fewer_where_they_are_long() -> None:
    assert more([1.0, 1.0], [1.0, 1.0]) == 0
    assert more([1.0, 2.0], [1.0, 1.0]) == 3
    assert more([1.0, 2.0], [3600.0, 3600.0]) == 1


# -- guesses from words ---------------------------------------------------------------------------------------------------


def near(tmp_path: Path, *unknown: str, **environ: str) -> Surroundings:
    """Surroundings in which those files are there, and git does not know them."""
    project, home = tmp_path / "project", tmp_path / "home"
    for name in unknown:
        path = project / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text("x")
    project.mkdir(exist_ok=True)
    home.mkdir(exist_ok=True)
    return Surroundings(project, unknown, home, environ, "/usr/bin/python3")


def failed(output: str, *, outcome: Outcome = Outcome.EXIT, words: str = "") -> Tried:
    return Tried(Readout(outcome, words=words), output, folder=Path("/tree"), home=Path("/scratch/home"))


def first(tried: Tried, around: Surroundings, of: Task | None = None) -> list[tuple[str, str]]:
    """Key and item of the likeliest change."""
    change = next(causes.hints(tried, of or task(), around), ())
    return [(m.key, m.add or str(m.value)) for m in change if not m.drop]


@pytest.mark.parametrize(
    "output",
    [
        "FileNotFoundError: [Errno 2] No such file or directory: 'data/x.csv'",
        "Error: ENOENT: no such file or directory, open '/tree/data/x.csv'",
        "cat: data/x.csv: No such file or directory",
        "fopen(data/x.csv) failed: not found",
        "no files match data/*.csv",
        "could not read x.csv",
        "open data/x.csv: The system cannot find it",
        "panicked at src/main.rs:3:5: `data/x.csv` missing",
    ],
)
def test_missing_file_is_found_in_what_is_said(tmp_path: Path, output: str) -> None:
    around = near(tmp_path, "other/", "data/")
    (around.project / "data/x.csv").write_text("1")
    assert first(failed(output), around) == [("inputs", "data")]


def test_file_that_git_knows_or_that_is_nowhere_is_no_hint(tmp_path: Path) -> None:
    assert first(failed("No such file or directory: 'gone.csv'"), near(tmp_path, "data/")) == []


def test_file_in_the_new_home_is_looked_for_in_the_owners(tmp_path: Path) -> None:
    around = near(tmp_path)
    (around.home / ".cache/models/tiny").mkdir(parents=True)
    said = "OSError: /scratch/home/.cache/models/tiny does not exist"
    assert first(failed(said), around) == [("inputs", "~/.cache/models")]


def test_variable_is_passed_only_if_it_is_set(tmp_path: Path) -> None:
    said = "KeyError: 'API_KEY'"
    assert first(failed(said), near(tmp_path)) == []
    assert first(failed(said), near(tmp_path, API_KEY="1")) == [("env", "API_KEY")]
    assert first(failed("PATH is not set"), near(tmp_path, PATH="/bin")) == []


def test_variables_of_a_database_client_that_never_names_them_are_passed(tmp_path: Path) -> None:
    said = 'psql: error: connection to server on socket "/var/run/postgresql/.s.PGSQL.5432" failed: No such file or directory'
    assert first(failed(said), near(tmp_path, PGHOST="127.0.0.1")) == [("env", "PGHOST")]


def test_variable_that_stands_in_an_env_file_makes_that_an_input(tmp_path: Path) -> None:
    around = near(tmp_path, ".env")
    (around.project / ".env").write_text("API_KEY=abc\n")
    assert first(failed("error: API_KEY must be set"), around) == [("inputs", ".env")]


@pytest.mark.parametrize(("name", "key"), [("dev.db", "copy"), ("wandb/", "copy"), ("model-cache/", "cache")])
def test_input_that_was_written_becomes_a_copy_or_a_cache(tmp_path: Path, name: str, key: str) -> None:
    bare = name.rstrip("/")
    around = near(tmp_path, name)
    of = task(more=f'inputs = ["{bare}"]\n')
    said = f"OSError: [Errno 30] Read-only file system: '{bare}/new'" if name.endswith("/") else f"cannot write {bare}: EROFS"
    assert first(failed(said), around, of) == [(key, bare)]
    changed = failed("", outcome=Outcome.TAMPERING, words=f"the evaluation changed the input {around.project / bare}")
    assert first(changed, around, of) == [(key, bare)]


def test_missing_module_leads_to_the_projects_environment_or_to_its_own_sources(tmp_path: Path) -> None:
    around = near(tmp_path, ".venv/pyvenv.cfg", ".venv/")
    said = failed("ModuleNotFoundError: No module named 'pandas'")
    assert first(said, around) == [("command", ".venv/bin/python evaluate.py"), ("inputs", ".venv")]
    (around.project / "src/mine").mkdir(parents=True)
    said = failed("ModuleNotFoundError: No module named 'mine.part'")
    assert first(said, around) == [("command", "PYTHONPATH=src python evaluate.py")]


def test_missing_node_module_makes_the_modules_an_input(tmp_path: Path) -> None:
    around = near(tmp_path, "node_modules/")
    assert first(failed("Error: Cannot find module 'vite'"), around) == [("inputs", "node_modules")]
    (around.project / "node_modules/.bin").mkdir()
    (around.project / "node_modules/.bin/vite").write_text("")
    assert first(failed("sh: 1: vite: not found"), around, task("npm run bench")) == [("inputs", "node_modules")]
    assert first(failed("sh: 1: vite: not found"), around, task("vite build")) == [("inputs", "node_modules")]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python a.py", "X a.py"),
        ("python3 -m a", "X -m a"),
        ("A=1 B=2 python a.py", "A=1 B=2 X a.py"),
        ("pythonic a.py", "pythonic a.py"),
        ("make python", "make python"),
    ],
)
def test_interpreter_is_exchanged_where_it_leads(command: str, expected: str) -> None:
    assert causes.with_python(command, "X") == expected


@pytest.mark.parametrize(
    ("command", "argv_"),
    [
        ("python a.py", ["/p/x", "a.py"]),
        ("PYTHONPATH=src python a.py", ["/bin/sh", "-c", "PYTHONPATH=src /p/x a.py"]),
        ("A=1 B='c d' python a.py", ["/bin/sh", "-c", "A=1 B='c d' python a.py"]),
    ],
)
def test_leading_python_is_the_given_one_also_after_plain_variables(command: str, argv_: list[str]) -> None:
    assert argv(command, "/p/x") == argv_


def test_change_that_fails_of_something_else_is_further_and_of_the_same_is_not() -> None:
    before = failed("No such file: 'a' after 1.2 s", words="exited with 1 after 1.2 s")
    assert not further(before, failed("No such file: 'a' after 7.9 s", words="exited with 1 after 0.3 s"))
    assert further(before, failed("KeyError: 'B'", words="exited with 1 after 0.3 s"))
    assert not further(before, failed("slow", outcome=Outcome.TIMEOUT))


# -- what leads past the candidate ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "inside", "root"),
    [
        (["src/mypkg/a.py"], "src", "src"),
        (["src/mypkg/a.py"], "src/mypkg", "src"),
        (["mypkg/a.py"], "", "."),
        (["mypkg/a.py"], "mypkg", "."),
        (["mypkg/a.py"], "mypkg/", "."),
        (["src/mypkg/a.py"], "", "."),
        (["python/mypkg/core/a.py"], "python/mypkg", "python"),
        (["train.py"], "", "."),
    ],
)
def test_tree_folder_stands_for_what_an_editable_install_points_at(files: list[str], inside: str, root: str) -> None:
    assert unused._root(inside, unused._roots(files)) == root


@pytest.mark.parametrize(
    ("name", "text", "root"),
    [
        ("mypkg.pth", "{checkout}/src\n", "src"),
        ("__editable__.mypkg-1.pth", "{checkout}/src\n", "src"),
        ("__editable___mypkg_1_finder.py", "MAPPING = {{'mypkg': '{checkout}/src/mypkg'}}\n", "src"),
        ("mypkg/__init__.py", "", "src"),
        ("other.pth", "{checkout}-other/src\n", None),
        ("distutils-precedence.pth", "import os\n", None),
    ],
)
def test_installed_code_that_goes_before_the_candidate_is_seen(tmp_path: Path, name: str, text: str, root: str | None) -> None:
    around, site = near(tmp_path), tmp_path / "site-packages"
    (site / name).parent.mkdir(parents=True)
    (site / name).write_text(text.format(checkout=around.project))
    found = [inside for _, inside in unused._leads(site, around, ["src/mypkg/core.py"])]
    assert found == ([root] if root else [])


# -- halving --------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(st.sets(st.integers(0, 40), max_size=4))
def test_fewest_finds_exactly_what_is_needed(needed: set[int]) -> None:
    items = [Mend("evaluate", "env", add=str(i)) for i in range(41)]
    trials = 0

    async def works(some: Sequence[Mend]) -> bool:
        nonlocal trials
        trials += 1
        return needed <= {int(m.add) for m in some}

    found = anyio.run(fewest, items, works) if needed else []
    assert {int(m.add) for m in found} == needed
    assert trials <= 12 * len(needed) + 12


# -- a broken file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "value", "values", "used"),
    [
        ("a.py", 1.0, [1.0, 1.0], False),
        ("a.py", 2.0, [1.0, 1.0], True),
        ("a.py", 1.5, [1.0, 1.1], False),
        ("prompt.txt", 1.05, [1.0, 1.1], None),
        ("prompt.txt", 9.0, [1.0, 1.1], True),
        ("prompt.txt", None, [1.0, 1.1], True),
    ],
)
def test_what_a_broken_file_tells(file: str, value: float | None, values: list[float], used: bool | None) -> None:
    readout = Readout(Outcome.EXIT) if value is None else Readout(Outcome.OK, {"score": value})
    assert judge(file, Tried(readout), values, "score").used is used


# -- what a run would be like ----------------------------------------------------------------------------------------------


def test_pace_counts_builds_once_and_repeats_of_a_noisy_metric() -> None:
    exact = forecast.pace([9.0, 9.0], task(), noisy=False, build_s=1.0)
    assert (exact.single_hour, exact.single_night, exact.repeated_hour) == (360, 2880, None)
    noisy = forecast.pace([10.0], task(), noisy=True)
    assert noisy.single_hour == 360
    assert noisy.repeated_hour == 257


def test_price_names_the_wall_that_a_command_has() -> None:
    proposer = '[proposer]\nkind = "command"\ncommand = "x"\n'
    assert forecast.price(task()) == "knobs: free"
    assert "cost_usd would be a wall" in forecast.price(parse(TASK.format(command="x", more="") + proposer))
    walled = parse(TASK.format(command="x", more="") + proposer + "[budget]\ncost_usd = 5\n")
    assert forecast.price(walled) == "command: as it reports, at most 5.00 USD by [budget] cost_usd"


# -- JSON -----------------------------------------------------------------------------------------------------------------


def test_every_key_of_the_answer_is_documented_and_in_the_example() -> None:
    answer = Findings("score", "minimize").as_json()
    assert [key for key in answer if f"`{key}`" not in JSON_PAGE] == []
    section = JSON_PAGE.partition("## `autoresearch check --json`")[2]
    example = json.loads(re.findall(r"^```json\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[0])
    assert example.keys() == answer.keys() | {"notices"}
