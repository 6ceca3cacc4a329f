"""What a folder is taken for: the best guess, its number, and what a tree of it needs beyond git."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.conftest import git

from autoresearch.detect import Files, Needs, about, direction_of, for_command, guesses, missing, needs
from autoresearch.detect.printed import printed
from autoresearch.detect.records import unit_of

TRAIN = 'for epoch in range(3):\n    print(f"epoch {epoch}")\n    print(f"val_loss: {1 / (epoch + 1):.4f}")\n'
VENV = {".venv/pyvenv.cfg": "", ".venv/bin/python": ""}


def project(folder: Path, files: Mapping[str, str], *, ignore: str = "", commit: bool = True) -> Files:
    """A folder with these files, all that is not ignored in git."""
    for name, text in {**files, ".gitignore": ignore}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if commit:
        git(folder, "init", "-q", "-b", "main")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "start")
    return Files(folder)


@dataclass(frozen=True)
class Shape:
    """A small project, and what it has to be taken for."""

    name: str
    files: Mapping[str, str]
    command: str
    edit: tuple[str, ...]
    metric: str
    direction: str = "minimize"
    unit: str = ""
    file: str = ""
    path: str = ""
    take: str = "only"
    build: str = ""
    cache: tuple[str, ...] = ()
    pattern: str = ""
    frozen: tuple[str, ...] = ()


KARPATHY = {"prepare.py": "", "train.py": "print('val_loss:', 1)", "bench.py": "print('x:', 1)", "program.md": "go"}
CRITERION = 'use criterion::*;\nfn all(c: &mut Criterion) { c.bench_function("fib 20", |b| b.iter(|| fib(20))); }\n'
K6 = 'import http from "k6/http";\nexport default function () { http.get("http://127.0.0.1:8000/"); }\n'
C_BENCH = '#include <stdio.h>\nint main(void) { printf("ops_per_s: %f\\n", 1.0); }\n'

SHAPES = [
    Shape("Karpathy's", KARPATHY, "python train.py", ("train.py",), "val_bpb", unit="bits/byte"),
    Shape("Karpathy's with uv", {**KARPATHY, "uv.lock": ""}, "uv run train.py", ("train.py",), "val_bpb", unit="bits/byte"),
    Shape("training", {"train.py": TRAIN}, "python train.py", ("train.py",), "val_loss", take="last"),
    Shape(
        "evaluation of a module",
        {"evaluate.py": 'import model\nprint("accuracy:", model.go())\n', "model.py": "def go(): return 1\n"},
        "python evaluate.py",
        ("model.py",),
        "accuracy",
        "maximize",
    ),
    Shape(
        "evaluation of a prompt",
        {"eval.py": 'text = open("prompt.txt").read()\nprint(f"accuracy = {len(text)}")\n', "prompt.txt": "Hi"},
        "python eval.py",
        ("prompt.txt",),
        "accuracy",
        "maximize",
    ),
    Shape(
        "benchmark of a package",
        {"bench.py": 'from pkg.core import f\nprint(f"p95_ms: {f():.2f}")\n', "pkg/__init__.py": "", "pkg/core.py": ""},
        "python bench.py",
        ("pkg/**",),
        "p95_ms",
        unit="ms",
    ),
    Shape(
        "pytest-benchmark",
        {"src/pkg/__init__.py": "", "tests/test_speed.py": "import pkg\ndef test_it(benchmark):\n    benchmark(len, [])\n"},
        "python -m pytest -q tests/test_speed.py --benchmark-only --benchmark-json=bench.json",
        ("src/**",),
        "mean_s",
        unit="s",
        file="bench.json",
        path="benchmarks[0].stats.mean",
    ),
    Shape(
        "pytest suite",
        {"pyproject.toml": "[tool.pytest.ini_options]\n", "app/__init__.py": "", "tests/test_app.py": "def test_x(): pass\n"},
        "python -m pytest -q",
        ("app/**",),
        "wall_s",
        unit="s",
    ),
    Shape(
        "functions for pytest, which they do not name",
        {"app/__init__.py": "", "tests/test_app.py": "from app import x\n\n\ndef test_x(): assert x() == 1\n"},
        "python -m pytest -q",
        ("app/**",),
        "wall_s",
        unit="s",
    ),
    Shape(
        "npm run bench",
        {
            "package.json": json.dumps({"scripts": {"bench": "node bench/run.js", "test": "node --test"}}),
            "bench/run.js": "console.log(`ops_per_s: ${1}`)\n",
            "src/index.js": "",
        },
        "npm run --silent bench",
        ("src/**",),
        "ops_per_s",
        "maximize",
    ),
    Shape(
        "npm test",
        {"package.json": json.dumps({"scripts": {"test": "node --test"}}), "index.js": ""},
        "npm test",
        ("index.js",),
        "wall_s",
        unit="s",
    ),
    Shape(
        "k6",
        {"load/check.js": K6, "src/app.js": ""},
        "k6 run --summary-export=summary.json load/check.js",
        ("src/**",),
        "p95_ms",
        unit="ms",
        file="summary.json",
        path="metrics.http_req_duration.p(95)",
    ),
    Shape(
        "cargo bench with criterion",
        {"Cargo.toml": "[package]\nname='x'\n", "src/lib.rs": "", "benches/speed.rs": CRITERION},
        "cargo bench --bench speed",
        ("src/**",),
        "median_ns",
        unit="ns",
        file="target/criterion/fib 20/new/estimates.json",
        path="median.point_estimate",
        build="cargo bench --bench speed --no-run",
        cache=("target",),
    ),
    Shape(
        "cargo program",
        {"Cargo.toml": "[package]\nname='x'\n", "src/main.rs": 'fn main() { println!("score: {}", 1.0); }\n'},
        "cargo run --release --quiet",
        ("src/**",),
        "score",
        "maximize",
        build="cargo build --release",
        cache=("target",),
    ),
    Shape(
        "go benchmark",
        {"go.mod": "module x\n", "x.go": "package x\n", "x_test.go": "package x\nfunc BenchmarkSum(b *testing.B) {}\n"},
        "go test -run '^$' -bench '^BenchmarkSum$' -count 5 ./",
        ("**/*.go",),
        "ns_per_op",
        unit="ns",
        pattern=r"([\d.]+) ns/op",
        take="median",
        frozen=("**/*_test.go",),
    ),
    Shape(
        "make bench",
        {"Makefile": "all: prog\nbench: prog\n\t./prog\n", "bench.c": C_BENCH, "sort.c": "int x;\n"},
        "make -s bench",
        ("sort.c",),
        "ops_per_s",
        "maximize",
        build="make",
    ),
    Shape(
        "a program that make builds",
        {"Makefile": "bench: bench.c sort.c\n\tcc -O2 -o $@ $^\n", "bench.c": C_BENCH, "sort.c": "int x;\n"},
        "./bench",
        ("sort.c",),
        "ops_per_s",
        "maximize",
        build="make bench",
    ),
    Shape(
        "CMake",
        {"CMakeLists.txt": "project(x)\nadd_executable(bench src/bench.c)\n", "src/bench.c": C_BENCH},
        "build/bench",
        ("src/**",),
        "ops_per_s",
        "maximize",
        build="cmake -S . -B build -DCMAKE_BUILD_TYPE=Release && cmake --build build",
        cache=("build",),
    ),
    Shape(
        "hyperfine",
        {"bench.sh": "hyperfine --warmup 2 --export-json out.json 'python job.py'\n", "job.py": "x = 1\n"},
        "sh bench.sh",
        ("job.py",),
        "mean_s",
        unit="s",
        file="out.json",
        path="results[0].mean",
    ),
    Shape(
        "a script that prints",
        {"simulate.py": 'import json\nprint(json.dumps({"reward": 3}))\n'},
        "python simulate.py",
        ("simulate.py",),
        "reward",
        "maximize",
    ),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@pytest.mark.parametrize("commit", [True, False], ids=["in git", "no git"])
def test_best_guess(shape: Shape, tmp_path: Path, commit: bool) -> None:
    files = project(tmp_path, shape.files, commit=commit)
    best = guesses(files, needs(files))[0]
    number = best.number
    assert (best.command, best.editable, best.frozen) == (shape.command, shape.edit, shape.frozen)
    assert (number.name, number.direction, number.unit) == (shape.metric, shape.direction, shape.unit)
    assert (number.file, number.path, number.pattern, number.take) == (shape.file, shape.path, shape.pattern, shape.take)
    assert (best.build, best.cache) == (shape.build, shape.cache)


def test_several_guesses_are_ranked_and_the_test_suite_comes_last(tmp_path: Path) -> None:
    tests = {"tests/test_a.py": "import pytest\n", "train.py": TRAIN, "bench.py": 'import train\nprint("qps:", 1)\n'}
    files = project(tmp_path, tests)
    assert [g.what for g in guesses(files, needs(files))] == [
        "training: train.py",
        "benchmark: bench.py",
        "speed of the test suite (pytest)",
    ]


def test_empty_folder_is_nothing(tmp_path: Path) -> None:
    files = Files(tmp_path)
    assert guesses(files, needs(files)) == []
    assert needs(files) == Needs()


def test_what_lies_in_the_home_is_an_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "ho me"
    monkeypatch.setenv("HOME", str(home))
    rust = {"Cargo.toml": "", "Cargo.lock": 'source = "registry+x"\n', "src/main.rs": "fn main() {}\n"}
    folders = project(tmp_path / "rust", rust), project(tmp_path / "nano", KARPATHY)
    assert [guesses(files, Needs())[0].inputs for files in folders] == [(), ()]
    for name in (".rustup", ".cargo/registry", ".cache/autoresearch"):
        (home / name).mkdir(parents=True)
    assert [guesses(files, Needs())[0].inputs for files in folders] == [
        ("~/.rustup", "~/.cargo/registry"),
        ("~/.cache/autoresearch",),
    ]


# -- what a tree needs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("commit", [True, False], ids=["in git", "no git"])
def test_environment_data_and_database_are_told_apart(tmp_path: Path, commit: bool) -> None:
    files = {**VENV, "train.py": TRAIN, "data/a.bin": "x", "dev.db": "", "uv.lock": "", "results/old.txt": ""}
    found = needs(project(tmp_path, files, ignore=".venv/\ndata/\n*.db\nresults/\n", commit=commit))
    assert found == Needs(inputs=(".venv", "data"), copies=("dev.db",), python=".venv/bin/python")


def test_untracked_data_is_an_input_and_untracked_code_is_not(tmp_path: Path) -> None:
    files = project(tmp_path, {"train.py": TRAIN})
    for name in ("set.parquet", "notes.txt", "drafts/new.py", "extra/table.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert needs(files).inputs == ("extra", "set.parquet")


@pytest.mark.parametrize(
    ("files", "setup", "python"),
    [
        ({"uv.lock": "", "pyproject.toml": ""}, "uv sync --frozen", ".venv/bin/python"),
        ({"poetry.lock": ""}, "POETRY_VIRTUALENVS_IN_PROJECT=true poetry install --no-interaction", ".venv/bin/python"),
        (
            {"requirements.txt": "no-such-package-at-all==1\n"},
            "python -m venv .venv && .venv/bin/python -m pip install -q -r requirements.txt",
            ".venv/bin/python",
        ),
        ({"requirements.txt": "pytest\n"}, "", "python"),
        ({"package.json": '{"dependencies": {"a": "1"}}', "package-lock.json": ""}, "npm ci", "python"),
        ({"package.json": '{"dependencies": {"a": "1"}}', "pnpm-lock.yaml": ""}, "pnpm install --frozen-lockfile", "python"),
        ({"package.json": '{"dependencies": {"a": "1"}}', "yarn.lock": ""}, "yarn install --frozen-lockfile", "python"),
        ({"package.json": '{"devDependencies": {"a": "1"}}', "bun.lock": ""}, "bun install --frozen-lockfile", "python"),
        ({"package.json": "{}", "package-lock.json": ""}, "", "python"),
    ],
)
def test_lock_file_without_its_environment_gives_a_setup(
    tmp_path: Path, files: Mapping[str, str], setup: str, python: str
) -> None:
    found = needs(project(tmp_path, files))
    assert (found.setup, found.python) == (setup, python)


def test_environment_that_is_there_is_shown_and_not_set_up(tmp_path: Path) -> None:
    files = {**VENV, "uv.lock": "", "package-lock.json": "", "package.json": '{"dependencies": {"a": "1"}}'}
    found = needs(project(tmp_path, {**files, "node_modules/a/index.js": ""}, ignore=".venv\nnode_modules\n"))
    assert found.inputs == (".venv", "node_modules")
    assert found.setup == ""


@pytest.mark.parametrize(
    ("command", "inputs", "setup"),
    [
        ("uv run train.py", ("data",), "uv sync --frozen"),
        ("uv run --no-sync train.py", (".venv", "data"), ""),
        (".venv/bin/python train.py", (".venv", "data"), ""),
    ],
)
def test_environment_that_uv_run_would_change_is_set_up_in_each_tree(
    tmp_path: Path, command: str, inputs: tuple[str, ...], setup: str
) -> None:
    files = {**VENV, "uv.lock": "", "pyproject.toml": "", "train.py": TRAIN, "data/a.bin": "x"}
    found = project(tmp_path, files, ignore=".venv/\ndata/\n")
    need = for_command(found, needs(found), command)
    assert (need.inputs, need.setup) == (inputs, setup)


@pytest.mark.parametrize("kind", ["pth", "finder"])
def test_editable_install_is_led_back_into_the_tree(tmp_path: Path, kind: str) -> None:
    site = ".venv/lib/python3.11/site-packages/"
    source = tmp_path / "src"
    way = (
        {f"{site}_editable_impl_pkg.pth": f"{source}\n"}
        if kind == "pth"
        else {f"{site}__editable___pkg_finder.py": f"MAPPING = {{'pkg': '{source}/pkg'}}\n"}
    )
    found = needs(project(tmp_path, {**VENV, **way, "src/pkg/__init__.py": ""}, ignore=".venv\n"))
    assert found.python == "PYTHONPATH=src .venv/bin/python"


def test_folders_of_builds_are_caches(tmp_path: Path) -> None:
    rust = needs(project(tmp_path / "rust", {"Cargo.toml": "", "target/debug/x": ""}, ignore="target\n"))
    cmake = needs(project(tmp_path / "c", {"CMakeLists.txt": "", "build/x.o": ""}, ignore="build\n"))
    other = needs(project(tmp_path / "js", {"index.js": "", "build/x.js": ""}, ignore="build\n"))
    assert (rust.cache, cmake.cache, other.cache) == (("target",), ("build",), ())
    assert (rust.inputs, cmake.inputs, other.inputs) == ((), (), ())


def test_subfolder_of_a_repository_sees_only_itself_with_paths_of_its_own(tmp_path: Path) -> None:
    project(tmp_path, {"train.py": TRAIN, "ä b/c/bench.py": 'print("ops:", 1)\n', "ä b/c/data/x": "1"}, ignore="data/\n")
    files = Files(tmp_path / "ä b/c")
    assert files.unknown == ("data/",)
    assert [g.command for g in guesses(files, needs(files))] == ["python bench.py"]


def test_untracked_evaluator_that_the_command_names_is_missing(tmp_path: Path) -> None:
    files = project(tmp_path, {"prompt.txt": "Hi"})
    (tmp_path / "ev al.py").write_text("print(1)")
    assert missing(files, "python './ev al.py' prompt.txt --fast", ()) == ("ev al.py",)
    assert missing(files, "python './ev al.py'", ("ev al.py",)) == ()


# -- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "take"),
    [
        ('print(f"val_bpb: {x:.4f}")', "val_bpb", "only"),
        ('print("METRIC score=", x)', "score", "only"),
        ('print("mean latency: %.2f ms" % x)', "mean_latency", "only"),
        ('print("Test accuracy = {}".format(x))', "Test_accuracy", "only"),
        ('while 1:\n    print(f"loss: {x}")', "loss", "last"),
        ('def report(x):\n    print(f"loss: {x}")', "loss", "only"),
        ('print(f"steps: {n}")\nprint(f"f1: {x}")', "f1", "only"),
        ('import sys\nprint(f"loss: {x}", file=sys.stderr)\nprint(f"size_mb: {x}")', "size_mb", "only"),
        ('print(f"a\\nperplexity: {x}")', "perplexity", "only"),
        ("print('done')", None, ""),
        ("print(", None, ""),
    ],
)
def test_number_that_python_prints(text: str, name: str | None, take: str) -> None:
    found = printed(text, python=True)
    assert (found.name if found else None, found.take if found else "") == (name, take)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("console.log(`ops_per_s: ${x}`)", "ops_per_s"),
        ('console.log("took_ms: " + x)', "took_ms"),
        ('printf("checksum: %d\\n", 3); printf("time_ms: %.2f\\n", t);', "time_ms"),
        ('println!("score: {}", x);', "score"),
        ('fmt.Printf("score=%f", x)', "score"),
        ('echo "latency: $x"', "latency"),
        ("console.log('hello')", None),
    ],
)
def test_number_that_another_language_prints(text: str, name: str | None) -> None:
    found = printed(text, python=False)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    ("name", "direction", "unit"),
    [
        ("val_loss", "minimize", ""),
        ("accuracy", "maximize", ""),
        ("ops_per_s", "maximize", ""),
        ("us_per_call", "minimize", ""),
        ("recall@10", "maximize", ""),
        ("p95_ms", "minimize", "ms"),
        ("peak_mb", "minimize", "MB"),
    ],
)
def test_direction_and_unit_by_name(name: str, direction: str, unit: str) -> None:
    assert (direction_of(name), unit_of(name)) == (direction, unit)


def test_command_that_was_given_is_looked_at(tmp_path: Path) -> None:
    files = project(tmp_path, {"judge.py": 'import model\nprint("score:", 1)\n', "model.py": "", "other.py": ""})
    found = about(files, Needs(), "python judge.py --fast")
    assert (found.number.name, found.editable) == ("score", ("model.py",))
    assert about(files, Needs(), "./anything").number.name == ""
