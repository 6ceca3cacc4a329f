"""Guesses for Python: training scripts, benchmarks, evaluations, test suites."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator

from autoresearch.detect.files import Files
from autoresearch.detect.needs import Needs
from autoresearch.detect.printed import printed
from autoresearch.detect.records import Guess, Number

_TRAIN = re.compile(r"(?:train|pretrain|finetune|fit)(?:_\w+)?\.py")
_BENCH = re.compile(r"(?:bench\w*|\w+_bench(?:mark)?|perf\w*)\.py")
_EVAL = re.compile(r"(?:eval\w*|measure\w*|score|metrics?)\.py")
_NOT = re.compile(r"(?:test_.*|.*_test|conftest|setup|noxfile|__init__|__main__)\.py")
_PYTEST = re.compile(r"^(?:async )?def test_|\bpytest\b", re.MULTILINE)  # unittest runs no functions
_TEXTS = (".txt", ".sql", ".md", ".json", ".yaml", ".yml", ".toml", ".j2", ".jinja", ".tmpl")
_DATA_NAMES = re.compile(r"question|example|data|corpus|valid|test|expected|reference|label|golden|program\.md|readme", re.I)


def guesses(files: Files, needs: Needs) -> Iterator[Guess]:
    """From scripts and test suites; nothing is imported."""
    scripts = [p for p in files.like("*.py", "*/*.py") if not _NOT.fullmatch(p.rpartition("/")[2])]
    for script in scripts:
        name, folder = script.rpartition("/")[2], script.rpartition("/")[0]
        if folder.startswith(("tests", "docs", "test")):
            continue
        number = printed(files.read(script), python=True)
        command = f"{needs.python} {shlex.quote(script)}"
        if _TRAIN.fullmatch(name):
            yield Guess(f"training: {script}", 88 if number else 65, (script,), (), command, number or Number())
        elif _BENCH.fullmatch(name) or folder in ("bench", "benchmarks", "benchmark"):
            seen = number or Number("wall_s", unit="s")
            yield Guess(f"benchmark: {script}", 85 if number else 55, works_on(files, script), (), command, seen)
        elif _EVAL.fullmatch(name):
            yield Guess(f"evaluation: {script}", 84 if number else 60, works_on(files, script), (), command, number or Number())
        elif number:
            yield Guess(f"script: {script}", 50, works_on(files, script), (), command, number)
    yield from _suites(files, needs)


def _suites(files: Files, needs: Needs) -> Iterator[Guess]:
    project = files.read("pyproject.toml")
    tests = files.like("tests/**/test_*.py", "test/**/test_*.py", "test_*.py", "benchmarks/**/*.py", "bench/**/*.py")
    has_pytest = "[tool.pytest" in project or files.has("pytest.ini") or files.has("tests/conftest.py")
    editable = packages(files)
    timed = [p for p in tests if re.search(r"def test_\w+\([^)]*\bbenchmark\b", files.read(p))]
    if timed:
        flags = "--benchmark-only --benchmark-json=bench.json"
        command = f"{needs.python} -m pytest -q {shlex.quote(timed[0])} {flags}"
        number = Number("mean_s", "minimize", "s", file="bench.json", path="benchmarks[0].stats.mean")
        yield Guess(f"pytest-benchmark: {timed[0]}", 90, editable, (), command, number)
    if tests and (has_pytest or any(_PYTEST.search(files.read(p)) for p in tests[:5])):
        way = " -o pythonpath=src" if needs.python == "python" and files.like("src/*/__init__.py") else ""
        command = f"{needs.python} -m pytest -q{way}"
        yield Guess("speed of the test suite (pytest)", 20, editable, (), command, Number("wall_s", unit="s"))
    elif tests:
        command = f"{needs.python} -m unittest discover" + (" -s tests" if tests[0].startswith("tests/") else "")
        yield Guess("speed of the test suite (unittest)", 19, editable, (), command, Number("wall_s", unit="s"))


def packages(files: Files) -> tuple[str, ...]:
    """The project's own code: `src/**`, else its packages, else its modules at the top."""
    if files.like("src/**/*.py"):
        return ("src/**",)
    folders = {p.partition("/")[0] for p in files.like("*/__init__.py")} - {"tests", "test", "docs", "benchmarks", "bench"}
    if folders:
        return tuple(f"{folder}/**" for folder in sorted(folders))
    return tuple(p for p in files.like("*.py") if not _NOT.fullmatch(p) and not _BENCH.fullmatch(p) and not _EVAL.fullmatch(p))


def works_on(files: Files, script: str) -> tuple[str, ...]:
    """What a script measures: the project's files that it imports, else the texts that it names, else itself."""
    text = files.read(script)
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return (script,)
    folder = script.rpartition("/")[0]
    found = dict.fromkeys(path for name in _imported(tree) if (path := _source(files, name, folder)) and path != script)
    if found:
        return tuple(found)
    strings = dict.fromkeys(n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    texts = [s for s in strings if s.endswith(_TEXTS) and s in files.sources and not _DATA_NAMES.search(s)]
    return tuple(texts) or (script,)


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def _source(files: Files, module: str, folder: str) -> str:
    """The file of a module, or a glob for its package; empty for one that is not the project's."""
    top = module.partition(".")[0]
    for place in dict.fromkeys((f"{folder}/" if folder else "", "", "src/")):
        if f"{place}{top}.py" in files.sources:
            return f"{place}{top}.py"
        if any(path.startswith(f"{place}{top}/") and path.endswith(".py") for path in files.sources):
            return f"{place}{top}/**"
    return ""
