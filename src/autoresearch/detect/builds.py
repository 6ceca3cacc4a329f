"""Guesses for what is built before it runs: cargo, go, make, CMake; and hyperfine scripts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from autoresearch.detect.files import Files, in_home
from autoresearch.detect.printed import printed
from autoresearch.detect.records import Guess, Number

_WALL = Number("wall_s", unit="s")
_BENCHES = re.compile(r"bench(?:_function|mark_group)?\w*\(\s*\"([^\"]+)\"")


def guesses(files: Files) -> Iterator[Guess]:
    """From Cargo.toml, go.mod, Makefile, CMakeLists.txt and shell scripts."""
    if files.has("Cargo.toml"):
        yield from _cargo(files)
    if files.has("go.mod"):
        yield from _go(files)
    yield from _make(files)
    yield from _cmake(files)
    yield from _shell(files)


def _cargo(files: Files) -> Iterator[Guess]:
    editable = (
        ("src/**",)
        if files.like("src/**/*.rs")
        else tuple(f"{p.rpartition('/src/')[0]}/src/**" for p in files.like("*/src/lib.rs"))
    )
    offline = " --offline" if "registry+" in files.read("Cargo.lock") else ""
    cache, inputs = ("target",), _of_cargo(files)
    for path in files.like("benches/*.rs"):
        name, text = path.rpartition("/")[2].removesuffix(".rs"), files.read(path)
        command = f"cargo bench{offline} --bench {name}"
        number = _WALL
        if "criterion" in text and (function := re.search(r"bench_function\(\s*\"([\w -]+)\"", text)):
            file = f"target/criterion/{function[1]}/new/estimates.json"
            number = Number("median_ns", "minimize", "ns", file=file, path="median.point_estimate")
        elif found := printed(text, python=False):
            number = found
        yield Guess(f"cargo bench: {name}", 86, editable, (), command, number, f"{command} --no-run", cache, inputs)
    if files.has("src/main.rs"):
        found = printed(files.read("src/main.rs"), python=False)
        build = f"cargo build --release{offline}"
        run = f"cargo run --release --quiet{offline}"
        yield Guess("program: cargo run", 49 if found else 22, editable, (), run, found or _WALL, build, cache, inputs)
    test = f"cargo test -q{offline}"
    yield Guess("speed of the test suite (cargo test)", 17, editable, (), test, _WALL, f"{test} --no-run", cache, inputs)


def _of_cargo(files: Files) -> tuple[str, ...]:
    """Where rustup and cargo keep what they need, to be shown in an evaluation's HOME."""
    has_packages = "registry+" in files.read("Cargo.lock")
    return in_home("~/.rustup", *(["~/.cargo/registry"] if has_packages else []))


def _go(files: Files) -> Iterator[Guess]:
    for path in files.like("**/*_test.go"):
        function = re.search(r"^func (Benchmark\w+)\(", files.read(path), re.MULTILINE)
        if function:
            package = "./" + path.rpartition("/")[0]
            command = f"go test -run '^$' -bench '^{function[1]}$' -count 5 {shlex.quote(package)}"
            number = Number("ns_per_op", "minimize", "ns", r"([\d.]+) ns/op", take="median")
            yield Guess(f"go test -bench: {function[1]}", 84, ("**/*.go",), ("**/*_test.go",), command, number)
    if files.like("**/*_test.go"):
        test = "go test -count=1 ./..."
        yield Guess("speed of the test suite (go test)", 17, ("**/*.go",), ("**/*_test.go",), test, _WALL)


def _c_files(files: Files) -> tuple[str, ...]:
    if files.like("src/**/*.c", "src/**/*.cc", "src/**/*.cpp"):
        return ("src/**",)
    return tuple(p for p in files.like("*.c", "*.cc", "*.cpp", "*.h", "*.hpp") if not re.match(r"bench|test|main", p))


def _c_number(files: Files, *names: str) -> Number:
    """What the program of one of these names prints, else any of the project's C files."""
    everywhere = files.like("*.c", "*.cc", "*.cpp", "*/*.c", "*/*.cc", "*/*.cpp")
    ours = [p for p in everywhere if Path(p).stem in names] or everywhere
    return next((found for p in ours if (found := printed(files.read(p), python=False))), _WALL)


def _make(files: Files) -> Iterator[Guess]:
    text = files.read("Makefile") or files.read("makefile")
    for target, recipe in re.findall(r"^([\w.-]+)\s*:(?!=).*\n((?:\t.*(?:\n|\Z))*)", text, re.MULTILINE):
        if re.match(r"bench|perf|measure|eval", target):
            sources = _c_files(files)
            made = "$@" in recipe or f"-o {target}" in recipe  # the target is the program itself
            command = f"./{target}" if made else f"make -s {target}"
            build = f"make {target}" if made else "make" if sources else ""
            yield Guess(f"make {target}", 80, sources or ("src/**",), (), command, _c_number(files, target), build)


def _cmake(files: Files) -> Iterator[Guess]:
    programs = re.findall(r"add_executable\(\s*(\w+)", files.read("CMakeLists.txt"))
    for program in sorted(programs, key=lambda name: "bench" not in name)[:1]:
        build = "cmake -S . -B build -DCMAKE_BUILD_TYPE=Release && cmake --build build"
        number = _c_number(files, program)
        yield Guess(f"program: build/{program}", 79, _c_files(files), (), f"build/{program}", number, build, ("build",))


def _shell(files: Files) -> Iterator[Guess]:
    for path in files.like("*.sh", "bench/*.sh", "benchmarks/*.sh", "scripts/*.sh"):
        text = files.read(path)
        export = re.search(r"hyperfine\b.*?--export-json[ =](\S+)", text, re.DOTALL)
        editable = _c_files(files) or tuple(p for p in files.like("*.py", "*.js", "*.sh", "*.sql") if p != path)[:3]
        command = f"sh {shlex.quote(path)}"
        if export:
            number = Number("mean_s", "minimize", "s", file=export[1].strip("\"'"), path="results[0].mean")
            yield Guess(f"hyperfine: {path}", 82, editable, (), command, number)
        elif "hyperfine" in text or re.match(r"(?:.*/)?bench", path):
            yield Guess(f"benchmark: {path}", 54, editable, (), command, printed(text, python=False) or _WALL)
