"""The task file: every key that there is or will be, what is wrong with others, and what belongs to the ruler."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from autoresearch.choice import Wish, with_proposer
from autoresearch.errors import TaskError
from autoresearch.taskfile import FILE, Task, load, ruler
from autoresearch.taskfile.load import locate, parse
from autoresearch.taskfile.schema import keys
from autoresearch.taskfile.units import Effect

BASE = {
    "task": ['editable = ["a.py"]'],
    "evaluate": ['command = "python a.py"'],
    "metric": ['name = "m"'],
    "guard": ['name = "g"', "max = 1"],
    "check": ['name = "c"', 'command = "true"'],
    "gate": ['command = "true"'],
    "held_out": ['command = "true"'],
}
LISTS = ("guard", "check")
LATER = "is not available in this version yet"


def text_of(tables: dict[str, list[str]]) -> str:
    return "".join(f"{f'[[{t}]]' if t in LISTS else f'[{t}]'}\n" + "".join(f"{line}\n" for line in tables[t]) for t in tables)


def with_line(table: str, line: str) -> str:
    """A complete task file with this line in that table, in place of a line with the same key."""
    tables = {name: list(BASE[name]) for name in ("task", "evaluate", "metric")}
    tables.setdefault(table, list(BASE.get(table, [])))
    key = line.split(" =")[0]
    tables[table] = [known for known in tables[table] if not known.startswith(f"{key} =")] + [line]
    return text_of(tables)


def mistake(text: str) -> str:
    with pytest.raises(TaskError) as error:
        parse(text)
    return str(error.value)


MINIMAL = with_line("task", 'editable = ["a.py"]')

# Every key of the design, with a value that it shows; True where this version has it.
KEYS: list[tuple[str, str, bool]] = [
    ("task", 'name = "nanolm"', True),
    ("task", 'editable = ["train.py"]', True),
    ("task", "frozen = []", True),
    ("task", 'instructions = "program.md"', True),
    ("task", "paths = []", True),
    ("evaluate", 'command = "python train.py"', True),
    ("evaluate", 'timeout = "auto"', True),
    ("evaluate", 'time_budget = "5m"', True),
    ("evaluate", 'setup = "uv sync --frozen"', True),
    ("evaluate", 'setup_if = ["uv.lock"]', True),
    ("evaluate", 'build = "make"', True),
    ("evaluate", 'inputs = [".venv", "data", "~/.cache/x"]', True),
    ("evaluate", 'copy = ["dev.db"]', True),
    ("evaluate", 'cache = ["target"]', True),
    ("evaluate", 'env = ["DATABASE_URL"]', True),
    ("evaluate", 'seed_env = "SEED"', True),
    ("evaluate", "sealed = true", True),
    ("evaluate", 'network = "off"', True),
    ("evaluate", 'network = "on"', True),
    ("evaluate", 'network = ["127.0.0.1:5432", "db.local:80"]', True),
    *[("evaluate", f'sandbox = "{kind}"', True) for kind in ("auto", "bubblewrap", "landlock", "none")],
    ("evaluate", 'resources = { cpus = 4, gpus = 1, memory = "16GB" }', True),
    ("evaluate", 'resources = { processes = 100, file_size = "1GB", disk = "2GB" }', True),
    ("evaluate", "exclusive = true", True),
    ("evaluate", 'quick = "python train.py --steps 5"', True),
    ("evaluate", 'cleanup = ""', True),
    ("metric", 'name = "val_bpb"', True),
    ("metric", 'name = "wall_s"', True),
    ("metric", 'name = "cpu_s"', True),
    ("metric", 'name = "peak_mb"', True),
    ("metric", 'name = "gpu_mb"', False),
    ("metric", 'direction = "minimize"', True),
    ("metric", 'direction = "maximize"', True),
    ("metric", 'unit = "bits/byte"', True),
    ("metric", r"pattern = 'TOTAL.*?(\d+)%'", True),
    ("metric", 'file = "bench.json"\npath = "results[0].mean"', True),
    *[("metric", f'take = "{take}"', True) for take in ("only", "last", "first", "min", "max", "median")],
    ("metric", "min_effect = 0", True),
    ("metric", 'min_effect = "0.5%"', True),
    ("metric", 'noise = "auto"', True),
    ("metric", 'noise = "none"', True),
    ("metric", 'noise = "high"', True),
    ("metric", "target = 0.9", True),
    ("metric", "jump = 3", True),
    ("metric", "limit = 0", True),
    *[("acceptance", f'kind = "{kind}"', True) for kind in ("auto", "exact", "bayes", "margin", "single")],
    ("acceptance", 'kind = "race"', True),
    ("acceptance", "max_repeats = 8", True),
    ("acceptance", "alpha = 0.05", True),
    ("acceptance", "simplify = false", True),
    ("guard", 'name = "peak_mb"', True),
    ("guard", 'name = "gpu_mb"', False),
    ("guard", "max = 4000", True),
    ("guard", "min = 0.5", True),
    ("guard", 'worse = "2%"\ndirection = "maximize"', True),
    ("guard", 'direction = "minimize"', True),
    ("check", 'name = "tests"', True),
    ("check", 'command = "python -m pytest -q"', True),
    ("check", "every = 1", True),
    ("check", "retries = 0", True),
    ("gate", 'command = "x"', True),
    ("gate", 'private = ["x"]', True),
    ("gate", "queries = 100", True),
    ("held_out", 'command = "x"', True),
    ("held_out", 'private = ["holdout.py", "data/test/**"]', True),
    ("proposer", 'kind = "knobs"', True),
    ("proposer", 'kind = "mine:Proposer"', True),
    *[("proposer", f'kind = "{kind}"', True) for kind in ("claude", "codex", "gemini", "opencode", "pi", "llm")],
    *[("proposer", f'{key} = ""', True) for key in ("model", "effort", "base_url", "api_key_env", "fallback")],
    ("proposer", 'base_url = "http://127.0.0.1:11434/v1"', True),
    ("proposer", 'api_key_env = "MY_KEY"', True),
    ("proposer", "price = { input = 3.0, output = 15.0 }", True),
    *[("proposer", f'edits = "{form}"', True) for form in ("tools", "blocks")],
    ("proposer", "args = []", True),
    ("proposer", 'inputs = ["~/tools"]', True),
    ("proposer", 'network = "off"', True),
    *[("proposer", f'sandbox = "{kind}"', True) for kind in ("auto", "own", "none")],
    ("proposer", "share = 0.5", True),
    *[("proposer", f'login = "{login}"', True) for login in ("auto", "api_key", "subscription")],
    *[("proposer", f'agent_config = "{whose}"', True) for whose in ("none", "user")],
    *[("proposer", f'may_run = "{what}"', True) for what in ("none", "quick", "checks", "all")],
    ("proposer", "fixes = 1", True),
    ("proposer", 'timeout = "15m"', True),
    ("proposer", "max_turns = 40", True),
    ("proposer", "max_tokens = 500000", True),
    ("proposer", "max_cost_usd = 1.0", True),
    ("strategy", 'kind = "greedy"', True),
    ("strategy", 'kind = "tree"', False),
    ("strategy", 'kind = "islands"', False),
    ("strategy", 'tune_after_keep = "0%"', True),
    *[("brief", line, True) for line in ("tokens = 8000", 'template = ""', 'append = ""')],
    ("brief", 'mutations = { quantise = "Use fewer bits." }', True),
    *[("review", line, True) for line in ("hold = []", 'hold = ["tests", "network"]', "human = false")],
    ("budget", "experiments = 100", True),
    ("budget", 'time = "8h"', True),
    ("budget", "cost_usd = 10", True),
    ("budget", "tokens = 5000000", True),
    ("budget", "evaluations = 0", True),
    ("run", "proposals = 1", True),
    ("run", 'evaluations = "auto"', True),
    ("run", "evaluations = 2", True),
    ("run", 'disk = "10GB"', True),
]


@pytest.mark.parametrize(("table", "line"), [(t, line) for t, line, here in KEYS if here])
def test_key_of_the_design_is_accepted_and_arrives(table: str, line: str) -> None:
    task = parse(with_line(table, line))
    key = line.split(" =")[0]
    record: Any = getattr(task, table)
    record = record[0] if isinstance(record, list) else record
    field = keys(type(record))[key]
    value = tomllib.loads(line)[key]
    if isinstance(value, (bool, int, float, list)) or key in (
        "name",
        "command",
        "direction",
        "take",
        "kind",
        "pattern",
        "unit",
    ):
        found = getattr(record, field)
        assert (list(found) if isinstance(found, tuple) else found) in (value, Effect(value) if key == "min_effect" else value)


@pytest.mark.parametrize(("table", "line"), [(t, line) for t, line, here in KEYS if not here])
def test_key_of_a_later_version_is_refused_by_name_and_line(table: str, line: str) -> None:
    text = with_line(table, line)
    key = line.split(" =")[0]
    words = mistake(text)
    assert LATER in words
    assert f"{table}.{key}" in words
    assert words.startswith(f"{FILE}:{text.splitlines().index(line) + 1}: ")


def test_mix_of_proposers_is_read_in_its_order() -> None:
    task = parse(MINIMAL + '[[proposer]]\nkind = "claude"\nshare = 3\n[[proposer]]\nkind = "knobs"\n')
    assert [(table.kind, table.share) for table in task.proposer] == [("claude", 3.0), ("knobs", 1.0)]
    assert parse(MINIMAL + '[[proposer]]\nkind = "knobs"\n').proposer[0].kind == "knobs"


@pytest.mark.parametrize(("written", "part"), [("0%", 0.0), ("12.5%", 0.125), ("100%", 1.0)])
def test_part_of_the_budget_is_read_as_a_fraction(written: str, part: float) -> None:
    assert parse(with_line("strategy", f'tune_after_keep = "{written}"')).strategy.tune_after_keep == part


@pytest.mark.parametrize(
    ("table", "line", "expected"),
    [
        ("strategy", 'tune_after_keep = "120%"', 'a part of the whole from "0%" to "100%"'),
        ("strategy", "tune_after_keep = 0.1", 'a part of the whole from "0%" to "100%"'),
        ("proposer", "share = 0", "greater than 0"),
        ("proposer", "max_turns = 0", "greater than or equal to 1"),
        ("proposer", 'login = "oauth"', "'auto', 'api_key' or 'subscription'"),
        ("proposer", 'base_url = "localhost:8000"', "an address that begins with http:// or https://"),
        ("proposer", 'api_key_env = "sk-123"', "a name of letters, digits and underscores"),
        ("proposer", "price = { input = 3.0 }", "output"),
        ("proposer", "price = { input = 3.0, output = 1.0, cahced = 1.0 }", "cached"),
        ("brief", "tokens = 10", "greater than or equal to 500"),
        ("brief", 'mutations = { "Big Step" = "x" }', "a name of small letters, digits and underscores"),
    ],
)
def test_mistake_about_a_proposer_or_its_brief_says_what_is_expected(table: str, line: str, expected: str) -> None:
    assert expected in mistake(with_line(table, line))


def test_marked_region_is_refused_by_name() -> None:
    assert "marked region" in mistake(with_line("task", 'editable = ["strategy.py#params"]'))


def test_defaults_are_those_of_the_design() -> None:
    task = parse(MINIMAL)
    assert (task.task.frozen, task.task.instructions, task.evaluate.timeout) == ([], "program.md", "auto")
    assert (task.metric.direction, task.metric.take, task.metric.noise, task.metric.target) == (
        "minimize",
        "only",
        "auto",
        None,
    )
    assert (task.acceptance.kind, task.strategy.kind, task.proposer[0].kind) == ("auto", "greedy", "knobs")
    assert (task.proposer[0].timeout, task.budget.experiments, task.budget.time) == (900, 100, None)
    assert (task.run.proposals, task.run.evaluations, task.run.disk) == (1, "auto", 10**10)


# -- mistakes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "line", "words"),
    [
        ("task", 'editabel = ["a.py"]', "unknown key 'editabel' in [task]. Did you mean 'editable'?"),
        ("evaluate", "tiemout = 3", "Did you mean 'timeout'?"),
        ("evaluate", 'sed_env = "S"', "Did you mean 'seed_env'?"),
        ("metric", "dirction = 3", "Did you mean 'direction'?"),
        ("guard", "maximum = 3", "unknown key 'maximum' in [guard]. Did you mean 'max'?"),
        ("check", "evry = 3", "unknown key 'evry' in [check]. Did you mean 'every'?"),
        ("proposer", "modell = 3", "Did you mean 'model'?"),
        ("budget", "zzz = 3", "Known here: cost_usd, evaluations, experiments, time, tokens."),
        ("evalaute", "x = 3", "unknown table [evalaute]. Did you mean 'evaluate'?"),
        ("gates", "x = 3", "unknown table [gates]. Did you mean 'gate'?"),
        ("instructions_text", "x = 3", "unknown table [instructions_text]"),
    ],
)
def test_unknown_key_names_the_nearest_known_one_and_its_line(table: str, line: str, words: str) -> None:
    text = with_line(table, line)
    found = mistake(text)
    assert words in found
    expected = f"[{table}]" if "unknown table" in words else line
    assert found.startswith(f"{FILE}:{text.splitlines().index(expected) + 1}: ")


def test_misspelt_table_is_told_before_the_one_that_is_missing_for_it() -> None:
    assert "Did you mean 'metric'?" in mistake(MINIMAL.replace("[metric]", "[metrics]"))


@pytest.mark.parametrize(
    ("table", "line", "words"),
    [
        ("task", 'editable = "a.py"', "task.editable: got 'a.py', expected a valid list"),
        ("task", "editable = []", "task.editable: got [], expected at least 1 item"),
        ("task", "editable = [3]", "task.editable[0]: got 3, expected a valid string"),
        ("task", 'editable = ["/etc/passwd"]', "expected a path or glob relative to the project's folder"),
        ("task", 'editable = ["a/../../b"]', "expected a path or glob relative to the project's folder"),
        ("task", 'frozen = ["[z-a]"]', "task.frozen[0]: got '[z-a]', expected a glob (bad character range"),
        ("task", "name = 3", "task.name: got 3, expected a valid string"),
        ("evaluate", 'command = ""', "evaluate.command: got '', expected at least 1 character"),
        ("evaluate", 'command = ["a"]', "evaluate.command: got ['a'], expected a valid string"),
        ("evaluate", 'timeout = "soon"', "evaluate.timeout: got 'soon', expected a duration as"),
        ("evaluate", "timeout = 0", "evaluate.timeout: got 0, expected a duration above zero"),
        ("evaluate", 'env = ["A B"]', "evaluate.env[0]: got 'A B', expected a name of letters, digits and underscores"),
        ("evaluate", 'seed_env = "1"', "evaluate.seed_env: got '1', expected a name of letters"),
        ("evaluate", 'copy = ["../db"]', "evaluate.copy[0]: got '../db', expected a path relative to the project's folder"),
        ("evaluate", 'cache = ["/tmp/x"]', "evaluate.cache[0]: got '/tmp/x', expected a path relative to the project's folder"),
        ("evaluate", 'setup_if = ["/x"]', "evaluate.setup_if[0]: got '/x', expected a path or glob relative"),
        ("evaluate", "resources = { cpu = 2 }", "unknown key evaluate.resources.cpu, expected one of cpus, gpus, memory"),
        ("evaluate", "resources = { cpus = 0 }", "evaluate.resources.cpus: got 0, expected greater than or equal to 1"),
        ("evaluate", 'resources = { memory = "much" }', "evaluate.resources.memory: got 'much', expected a size as"),
        ("evaluate", 'time_budget = "0s"', "evaluate.time_budget: got '0s', expected a duration above zero"),
        ("task", 'paths = ["src/*"]', "task.paths[0]: got 'src/*', expected a folder or file relative to the project's folder"),
        ("metric", 'direction = "up"', "metric.direction: got 'up', expected 'minimize' or 'maximize'"),
        ("metric", 'take = "all"', "expected 'only', 'last', 'first', 'min', 'max' or 'median'"),
        ("metric", "pattern = '('", "metric.pattern: got '(', expected a regular expression"),
        ("metric", "pattern = '(a)(b)'", "expected at most one group around the number, found 2"),
        ("metric", 'file = "x.json"', "metric.file: path is missing, expected file and path together"),
        ("metric", 'path = "x"', "metric.path: file is missing, expected file and path together"),
        ("metric", "pattern = 'x'\nfile = 'a'\npath = 'b'", "pattern and file are both set"),
        ("metric", "min_effect = -1", "metric.min_effect: got -1, expected a number >= 0"),
        ("metric", "target = nan", "metric.target: got nan, expected a finite number"),
        ("metric", 'target = "0.9"', "metric.target: got '0.9', expected a valid number"),
        ("guard", 'max = "3"', "guard[0].max: got '3', expected a valid number"),
        ("check", "every = 0", "check[0].every: got 0, expected greater than or equal to 1"),
        ("check", "retries = -1", "check[0].retries: got -1"),
        ("check", "retries = true", "check[0].retries: got True, expected a valid integer"),
        ("proposer", 'kind = "command"', 'no command to run, expected `command = "…"` beside it'),
        ("budget", "experiments = -1", "budget.experiments: got -1, expected greater than or equal to 0"),
        ("budget", "experiments = 1.5", "budget.experiments: got 1.5, expected a valid integer"),
        ("budget", "time = inf", "budget.time: got inf, expected a duration above zero"),
        ("run", "proposals = 0", "run.proposals: got 0"),
        ("run", 'evaluations = "many"', "run.evaluations: got 'many', expected a number of slots from 1"),
        ("run", 'disk = "big"', "run.disk: got 'big', expected a size as"),
    ],
)
def test_wrong_value_is_told_with_its_key_line_and_what_was_expected(table: str, line: str, words: str) -> None:
    text = with_line(table, line)
    found = mistake(text)
    assert words in found
    number = int(found.split(":")[1])
    lines = text.splitlines()
    first = next(i for i, known in enumerate(lines, 1) if known == line.split("\n")[0])
    assert first <= number < first + len(line.split("\n"))


@pytest.mark.parametrize("table", ["task", "evaluate", "metric"])
def test_missing_table_is_named(table: str) -> None:
    tables = {name: lines for name, lines in BASE.items() if name in {"task", "evaluate", "metric"} - {table}}
    assert f"the table [{table}] is missing" in mistake(text_of(tables))


@pytest.mark.parametrize(
    ("table", "key"),
    [("task", "editable"), ("evaluate", "command"), ("metric", "name"), ("guard", "name"), ("check", "command")],
)
def test_missing_key_is_named_with_its_tables_line(table: str, key: str) -> None:
    tables = {name: [line for line in lines if not line.startswith(key) or name != table] for name, lines in BASE.items()}
    text = text_of(tables)
    dotted = f"{table}[0].{key}" if table in LISTS else f"{table}.{key}"
    line = text.splitlines().index(f"[[{table}]]" if table in LISTS else f"[{table}]") + 1
    assert mistake(text) == f"{FILE}:{line}: {dotted} is missing"


def test_guard_on_the_metric_or_without_a_bound_and_check_with_a_taken_name_are_refused() -> None:
    assert f"{FILE}:8: guard[0].name: 'm' is the metric itself" in mistake(MINIMAL + '[[guard]]\nname="m"\nmax=1\n')
    assert "guard[1].name: guard 'b' has no bound" in mistake(MINIMAL + '[[guard]]\nname="a"\nmax=1\n[[guard]]\nname="b"\n')
    check = '[[check]]\nname = "c"\ncommand = "true"\n'
    words = mistake(MINIMAL + check + check)
    assert "check[1].name: 'c' is there twice" in words
    assert words.startswith(f"{FILE}:{len((MINIMAL + check).splitlines()) + 2}:")


@pytest.mark.parametrize("text", ["task = 3\n", "[[task]]\neditable = ['a']\n"])
def test_table_that_is_none_is_refused(text: str) -> None:
    rest = text_of({name: BASE[name] for name in ("evaluate", "metric")})
    assert "expected a table" in mistake(text + rest)


def test_text_that_is_no_toml_is_refused_with_the_parsers_words() -> None:
    assert mistake("[task\n").startswith(f"{FILE}: not TOML: ")


def test_tables_of_the_owner_are_left_alone() -> None:
    assert parse(MINIMAL + '[x-notes]\nanything = { at = "all" }\n[[x-list]]\na = 1\n') == parse(MINIMAL)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("task", "editable"), 2),
        (("task", "frozen"), 1),
        (("evaluate", "command"), 8),
        (("evaluate", "env", 0), 12),
        (("metric", "name"), 17),
        (("guard", 0, "max"), 20),
        (("guard", 1, "max"), 23),
        (("guard", 1, "min"), 21),
        (("nowhere", "x"), None),
    ],
)
def test_lines_are_found_past_long_values_and_quoted_keys(path: tuple[str | int, ...], line: int | None) -> None:
    text = """\
[task] # first
editable = [
  "a",
]
[x-own]
command = "no"
[evaluate]
command = \"\"\"
[metric]
name = "no"
\"\"\"
env = [
  "A",
]
[ metric ]

"name" = "m"
[[guard]]
name = "a"
max = 1
[[guard]]
name = "b"
max = 2
"""
    assert locate(text, path) == line


def test_dotted_and_inline_tables_are_the_same_task() -> None:
    text = 'task.editable = ["a.py"]\nevaluate = { command = "python a.py" }\nmetric.name = "m"\n'
    assert parse(text) == parse(MINIMAL)
    assert mistake(text + 'metric.take = "x"\n').startswith(f"{FILE}:4:")


# -- the folder --------------------------------------------------------------------------------------------------------


@pytest.fixture
def project(awkward: Path) -> Path:
    (awkward / FILE).write_text(MINIMAL)
    (awkward / "a.py").touch()
    return awkward


def test_folder_gives_name_and_instructions(project: Path) -> None:
    assert load(project).task.name == project.name
    assert load(project).instructions_text == ""
    (project / "program.md").write_text("Be bold.\n")
    (project / FILE).write_text(with_line("task", 'name = "mine"'))
    task = load(project)
    assert (task.task.name, task.instructions_text) == ("mine", "Be bold.\n")


@pytest.mark.parametrize("change", ["\r\n", "\ufeff"])
def test_files_of_other_systems_are_read(project: Path, change: str) -> None:
    text = MINIMAL.replace("\n", change) if change == "\r\n" else change + MINIMAL
    (project / FILE).write_bytes(text.encode())
    assert load(project).metric.name == "m"


def test_folder_without_a_task_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="autoresearch init"):
        load(tmp_path)


def test_task_file_that_is_no_text_is_refused(project: Path) -> None:
    (project / FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(TaskError, match="cannot read"):
        load(project)


def test_editable_path_must_exist_and_pattern_need_not(project: Path) -> None:
    (project / FILE).write_text(with_line("task", 'editable = ["a.py", "new/**", "gone.py"]'))
    with pytest.raises(TaskError, match=rf"{FILE}:2: task.editable: 'gone.py' does not exist"):
        load(project)
    (project / FILE).write_text(with_line("task", 'editable = ["a.py", "new/**", "*.txt"]'))
    assert len(load(project).task.editable) == 3


@pytest.mark.parametrize(
    ("key", "glob", "better"), [("editable", "src", "src/**"), ("editable", ".", "**"), ("frozen", "src", "src/**")]
)
def test_folder_in_the_scope_is_refused_with_the_glob_that_is_meant(project: Path, key: str, glob: str, better: str) -> None:
    (project / "src").mkdir()
    (project / FILE).write_text(with_line("task", f'{key} = ["{glob}"]'))
    with pytest.raises(TaskError) as error:
        load(project)
    assert f"task.{key}: '{glob}' is a folder, expected '{better}' for everything in it" in str(error.value)


# -- the ruler ---------------------------------------------------------------------------------------------------------

RULER = [
    ("task", 'editable = ["b.py"]', "task.editable"),
    ("task", 'frozen = ["b.py"]', "task.frozen"),
    ("evaluate", 'command = "python b.py"', "evaluate.command"),
    ("evaluate", "timeout = 9", "evaluate.timeout"),
    ("evaluate", 'setup = "make"', "evaluate.setup"),
    ("evaluate", 'inputs = ["data"]', "evaluate.inputs"),
    ("evaluate", 'env = ["A"]', "evaluate.env"),
    ("evaluate", 'seed_env = "S"', "evaluate.seed_env"),
    ("metric", 'unit = "s"', "metric.unit"),
    ("evaluate", "time_budget = 60", "evaluate.time_budget"),
    ("evaluate", 'setup_if = ["a.lock"]', "evaluate.setup_if"),
    ("evaluate", 'build = "make"', "evaluate.build"),
    ("evaluate", 'copy = ["dev.db"]', "evaluate.copy"),
    ("evaluate", 'cache = ["target"]', "evaluate.cache"),
    ("evaluate", "resources = { cpus = 2 }", "evaluate.resources"),
    ("evaluate", "exclusive = true", "evaluate.exclusive"),
    ("evaluate", 'quick = "true"', "evaluate.quick"),
    ("evaluate", 'cleanup = "true"', "evaluate.cleanup"),
    ("task", 'paths = ["src"]', "task.paths"),
    ("metric", 'name = "n"', "metric.name"),
    ("metric", 'direction = "maximize"', "metric.direction"),
    ("metric", 'pattern = "x"', "metric.pattern"),
    ("metric", 'file = "a"\npath = "b"', "metric.file"),
    ("metric", 'take = "last"', "metric.take"),
    ("metric", "min_effect = 0.1", "metric.min_effect"),
    ("metric", 'min_effect = "1%"', "metric.min_effect"),
    ("metric", 'noise = "none"', "metric.noise"),
    ("acceptance", 'kind = "single"', "acceptance.kind"),
    ("acceptance", "max_repeats = 4", "acceptance.max_repeats"),
    ("acceptance", "alpha = 0.02", "acceptance.alpha"),
    ("guard", "max = 2", "guard"),
    ("guard", 'worse = 1\ndirection = "minimize"', "guard"),
    ("check", "every = 3", "check"),
    ("evaluate", "sealed = true", "evaluate.sealed"),
    ("evaluate", 'network = "on"', "evaluate.network"),
    ("evaluate", 'sandbox = "none"', "evaluate.sandbox"),
    ("metric", "jump = 3", "metric.jump"),
    ("metric", "limit = 0", "metric.limit"),
    ("gate", 'private = ["x"]', "gate"),
    ("held_out", 'private = ["x"]', "held_out"),
]
LIVE = [
    ("task", 'name = "other"'),
    ("task", 'instructions = "other.md"'),
    ("metric", "target = 0.5"),
    ("proposer", 'kind = "mine:P"'),
    ("proposer", "timeout = 5"),
    ("proposer", 'args = ["-v"]'),
    ("proposer", 'inputs = ["tools"]'),
    ("proposer", 'network = "off"'),
    ("proposer", 'sandbox = "own"'),
    *[("proposer", f'{key} = "x"') for key in ("model", "effort", "api_key_env", "fallback")],
    ("proposer", 'base_url = "http://127.0.0.1:1"'),
    ("proposer", "price = { input = 1, output = 2 }"),
    ("proposer", "share = 2"),
    ("proposer", 'login = "api_key"'),
    ("proposer", 'agent_config = "user"'),
    ("proposer", 'may_run = "all"'),
    ("proposer", "fixes = 3"),
    ("proposer", 'edits = "blocks"'),
    ("proposer", "max_turns = 3"),
    ("proposer", "max_tokens = 3"),
    ("proposer", "max_cost_usd = 3"),
    ("strategy", 'tune_after_keep = "10%"'),
    ("brief", "tokens = 3000"),
    ("brief", 'template = "brief.md.j2"'),
    ("brief", 'append = "Be brief."'),
    ("brief", 'mutations = { quantise = "Use fewer bits." }'),
    ("review", 'hold = ["tests"]'),
    ("review", "human = true"),
    ("budget", "experiments = 5"),
    ("budget", "time = 5"),
    ("budget", "cost_usd = 5"),
    ("budget", "tokens = 5"),
    ("budget", "evaluations = 5"),
    ("run", "proposals = 5"),
    ("run", "evaluations = 5"),
    ("run", 'disk = "1GB"'),
]


@pytest.mark.parametrize(("table", "line", "named"), RULER)
def test_ruler_changes_with_what_decides_and_says_what_it_was(table: str, line: str, named: str) -> None:
    before, after = ruler(parse(MINIMAL)), ruler(parse(with_line(table, line)))
    assert before[0] != after[0]
    changed = {key for key in before[1].keys() | after[1].keys() if before[1].get(key) != after[1].get(key)}
    assert named in changed
    assert all(key.split(".")[0] == table for key in changed)


@pytest.mark.parametrize(("table", "line"), LIVE)
def test_ruler_stays_when_live_keys_change(table: str, line: str) -> None:
    assert ruler(parse(with_line(table, line))) == ruler(parse(MINIMAL))


def test_every_key_of_this_version_is_either_ruler_or_live() -> None:
    told = {(table, line.split(" =")[0]) for table, line, *_ in [*RULER, *LIVE]}
    told |= {("metric", "path"), ("strategy", "kind"), ("proposer", "command")}
    told |= {("guard", key) for key in ("name", "min", "direction")}
    told |= {("gate", "command"), ("gate", "queries"), ("held_out", "command")}
    told |= {("acceptance", "simplify")}  # which needs min_effect
    told |= {("check", key) for key in ("name", "command", "retries", "timeout")}
    known = set()
    for table, field in Task.model_fields.items():
        model = getattr(field.annotation, "__args__", [field.annotation])[0]
        known |= {(table, key) for key in (keys(model) if hasattr(model, "model_fields") else ())}
    assert known == told


def test_order_of_the_scope_and_instructions_do_not_change_the_ruler() -> None:
    one, other = (with_line("task", f"editable = {globs}") for globs in ('["a.py", "b.py"]', '["b.py", "a.py"]'))
    assert ruler(parse(one)) == ruler(parse(other))
    task = parse(MINIMAL)
    assert ruler(task.model_copy(update={"instructions_text": "new words"})) == ruler(task)


def test_proposer_of_a_session_has_the_keys_that_nobody_else_uses() -> None:
    server = 'base_url = "http://127.0.0.1:1"\n'
    searched = parse(MINIMAL + f"[proposer]\n{server}")
    asked = parse(MINIMAL + f'[proposer]\nkind = "llm"\n{server}')
    both = parse(MINIMAL + f'[[proposer]]\nkind = "llm"\n{server}[[proposer]]\nkind = "codex"\nmodel = "m"\n')
    wish = Wish(proposer="codex")
    assert [(t.kind, t.base_url) for t in with_proposer(searched, wish).proposer] == [("codex", "http://127.0.0.1:1")]
    assert [(t.kind, t.base_url) for t in with_proposer(asked, wish).proposer] == [("codex", "")]
    assert [(t.kind, t.model, t.base_url) for t in with_proposer(both, wish).proposer] == [("codex", "m", "")]
    assert with_proposer(asked, Wish(model="n")).proposer[0].model == "n"
    assert with_proposer(both, Wish()) is both
