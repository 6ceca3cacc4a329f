"""Guesses for JavaScript: `npm run bench`, k6 scripts, scripts that print numbers, `npm test`."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator

from autoresearch.detect.files import Files
from autoresearch.detect.printed import printed
from autoresearch.detect.records import Guess, Number

_CODE = ("*.js", "*.mjs", "*.cjs", "*.ts")
_BENCH = re.compile(r"bench\w*|perf\w*")
_NO_TEST = "no test specified"


def guesses(files: Files) -> Iterator[Guess]:
    """From package.json and scripts; node is not started."""
    scripts = _scripts(files)
    editable = _editable(files)
    runner = next(
        (name for lock, name in (("pnpm-lock.yaml", "pnpm"), ("yarn.lock", "yarn"), ("bun.lock", "bun")) if files.has(lock)),
        "npm",
    )
    for name, text in scripts.items():
        if _BENCH.match(name):
            number = next((n for p in files.sources if p in text.split() and (n := printed(files.read(p), python=False))), None)
            command = (
                f"{runner} run --silent {shlex.quote(name)}"
                if runner in ("npm", "yarn")
                else f"{runner} run {shlex.quote(name)}"
            )
            yield Guess(
                f"benchmark: {runner} run {name}",
                83 if number else 58,
                editable,
                (),
                command,
                number or Number("wall_s", unit="s"),
            )
    if scripts.get("test") and _NO_TEST not in scripts["test"]:
        yield Guess("speed of the test suite", 18, editable, (), f"{runner} test", Number("wall_s", unit="s"))
    yield from _single(files, editable)


def _single(files: Files, editable: tuple[str, ...]) -> Iterator[Guess]:
    for path in files.like(
        *_CODE, *(f"{folder}/{glob}" for folder in ("bench", "benchmarks", "load", "k6", "perf") for glob in _CODE)
    ):
        text = files.read(path)
        if re.search(r"from ['\"]k6(?:/\w+)?['\"]", text):
            number = Number("p95_ms", "minimize", "ms", file="summary.json", path="metrics.http_req_duration.p(95)")
            command = f"k6 run --summary-export=summary.json {shlex.quote(path)}"
            yield Guess(f"load test: {path}", 82, editable or (path,), (), command, number)
        elif (found := printed(text, python=False)) and not path.endswith(".ts"):
            rank = 81 if _BENCH.match(path.rpartition("/")[2]) else 48
            yield Guess(
                f"script: {path}",
                rank,
                tuple(e for e in editable if e != path) or (path,),
                (),
                f"node {shlex.quote(path)}",
                found,
            )


def _scripts(files: Files) -> dict[str, str]:
    try:
        found = json.loads(files.read("package.json"))["scripts"]
        return {str(name): str(text) for name, text in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _editable(files: Files) -> tuple[str, ...]:
    for folder in ("src", "lib"):
        if files.like(*(f"{folder}/**/{glob}" for glob in _CODE)):
            return (f"{folder}/**",)
    inside = sorted({"/".join(p.split("/")[:2]) for p in files.like(*(f"packages/*/**/{glob}" for glob in _CODE))})
    if inside:
        return tuple(f"{package}/**" for package in inside)
    top = [p for p in files.like(*_CODE) if not re.search(r"bench|test|spec|config|\.d\.ts|^k6|^load", p)]
    return tuple(top[:3])
