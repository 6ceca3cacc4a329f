"""Programs that have to be built: C by make with its object files, and Rust by cargo where that is installed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.e2e.projects.support import PROPOSER, Owner, find, needs, proposer

MAKEFILE = """\
bench: obj/main.o obj/search.o
\tgcc -o bench obj/main.o obj/search.o
obj/%.o: %.c search.h
\t@mkdir -p obj
\tgcc -O1 -c -o $@ $<
"""
MAIN = """\
#include <stdio.h>
#include <stdlib.h>
#include "search.h"
long looked = 0;
int main(void) {
  static int sorted[100000];
  for (int i = 0; i < 100000; i++) sorted[i] = 3 * i;
  for (int i = 0; i < 100000; i += 1000)
    if (search(sorted, 100000, 3 * i) != i) { fprintf(stderr, "wrong at %d\\n", i); return 1; }
  printf("looked=%ld\\n", looked);
}
"""
LINEAR = """\
#include "search.h"
int search(const int *sorted, int n, int wanted) {
  for (int i = 0; i < n; i++) { looked++; if (sorted[i] == wanted) return i; }
  return -1;
}
"""
BINARY = """\
#include "search.h"
int search(const int *sorted, int n, int wanted) {
  int low = 0, high = n;
  while (low < high) {
    int middle = (low + high) / 2;
    looked++;
    if (sorted[middle] < wanted) low = middle + 1; else high = middle;
  }
  return low;
}
"""
C_TASK = f"""\
[task]
editable = ["search.c"]

[evaluate]
command = "./bench"

[metric]
name = "looked"
{PROPOSER}"""
C_STEPS = [
    ("forget a semicolon", {"search.c": ("return -1;", "return -1")}),
    ("start at the end", {"search.c": ("int i = 0; i < n; i++", "int i = n - 1; i >= 0; i--")}),
    ("look in the middle", {"search.c": (LINEAR, BINARY)}),
]
RUST = """\
mod count;
fn main() {
    let (total, steps) = count::triangle(1000);
    assert_eq!(total, 500500);
    println!("steps: {steps}");
}
"""
LOOP = """\
pub fn triangle(n: u64) -> (u64, u64) {
    let (mut total, mut steps) = (0, 0);
    for i in 1..=n { total += i; steps += 1; }
    (total, steps)
}
"""
RUST_TASK = f"""\
[task]
editable = ["src/count.rs"]

[evaluate]
command = "./target/release/steps"

[metric]
name = "steps"
{PROPOSER}"""
RUST_STEPS = [
    ("a wrong formula", {"src/count.rs": (LOOP, "pub fn triangle(n: u64) -> (u64, u64) { (n * n / 2, 1) }\n")}),
    ("Gauss", {"src/count.rs": (LOOP, "pub fn triangle(n: u64) -> (u64, u64) { (n * (n + 1) / 2, 1) }\n")}),
]


@pytest.fixture
def c_project(owner: Owner) -> Owner:
    """A clone after `make`: the program and its object files are there, and git ignores them."""
    owner.write({"Makefile": MAKEFILE, "main.c": MAIN, "search.c": LINEAR, "propose.py": proposer(C_STEPS)})
    header = "extern long looked;\nint search(const int *sorted, int n, int wanted);\n"
    owner.write({"search.h": header, ".gitignore": "/bench\nobj/\n", "autoresearch.toml": C_TASK})
    owner.does("make --silent")
    owner.commit("start")
    assert owner.does("./bench") == "looked=4950100\n"
    return owner


def check_c(owner: Owner) -> None:
    rows = owner.runs(3)
    assert [row["value"] for row in rows][:3] == [4950100, None, 5050000 - 100 + 100]
    assert [row["verdict"] for row in rows] == ["keep", "crash", "discard", "keep"]
    assert rows[1]["reason"] == "build"
    assert rows[3]["value"] < 2000
    assert owner.kept("one", "search.c") == BINARY


@needs("gcc", "make")
def test_c_program_that_git_ignores_is_built_for_each_candidate(c_project: Owner) -> None:
    assert c_project.is_fixed("git does not know") == ['build = "make"']
    check_c(c_project)


@needs("gcc", "make")
def test_stale_c_program_shown_as_an_input_is_found_out(c_project: Owner) -> None:
    c_project.write({"autoresearch.toml": C_TASK.replace('"./bench"\n', '"./bench"\ninputs = ["bench"]\n')})
    c_project.commit("task")
    assert c_project.is_fixed("nothing builds it again for a candidate") == ['build = "make"']
    check_c(c_project)


@needs("gcc", "make")
def test_object_files_in_a_cache_do_not_let_a_candidate_measure_anothers(c_project: Owner) -> None:
    c_project.write({"autoresearch.toml": C_TASK.replace('"./bench"\n', '"./bench"\nbuild = "make"\ncache = ["obj"]\n')})
    c_project.commit("task")
    assert "ready" in c_project.does("autoresearch check")
    check_c(c_project)


if find("cargo"):  # the other compiler: `scripts/test --all` does not install one

    @pytest.mark.parametrize("keys", ["", 'cache = ["target"]\n'], ids=["nothing", "cache"])
    def test_rust_program_is_built_for_each_candidate(owner: Owner, keys: str) -> None:
        for name, folder in (("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")):  # where cargo by rustup is
            there = Path(os.environ.get(name, Path.home() / folder))
            if there.is_dir():
                owner.environ[name] = str(there)
        owner.write({"Cargo.toml": '[package]\nname = "steps"\nversion = "1.0.0"\nedition = "2021"\n', "src/main.rs": RUST})
        owner.write({"src/count.rs": LOOP, "propose.py": proposer(RUST_STEPS), ".gitignore": "/target\n"})
        owner.write({"autoresearch.toml": RUST_TASK.replace('steps"\n\n[metric]', f'steps"\n{keys}\n[metric]')})
        owner.does("cargo build --quiet --release --offline")
        owner.commit("start")
        assert owner.does("./target/release/steps") == "steps: 1000\n"
        lines = owner.is_fixed("git does not know")
        assert any(row.startswith('build = "cargo build --release') for row in lines)
        rows = owner.runs(2)
        assert [(row["verdict"], row["value"]) for row in rows] == [("keep", 1000), ("crash", None), ("keep", 1)]
