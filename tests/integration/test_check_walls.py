"""`check --fix` gets small real projects from "does not work" to "works", and touches nothing but the task file."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import venv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TASK, Toy, fingerprint

MakeToy = Callable[..., Toy]
SCORE = 'print("score:", {value})\n'


@dataclass
class Owner:
    """A person with a HOME and an environment of his own, who runs `check`."""

    home: Path
    environ: dict[str, str] = field(default_factory=dict)

    def check(self, folder: Path, *flags: str, code: int) -> str:
        """Standard output and error of one check."""
        env = {**os.environ, "HOME": str(self.home), **self.environ}
        argv = [sys.executable, "-m", "autoresearch", "check", *flags]
        done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if "--json" in flags else done.stdout + done.stderr

    def fixes(self, toy: Toy, *lines: str) -> str:
        """From exit code 1 to 0 by `--fix`, by exactly these lines, with nothing else of the checkout touched."""
        before, task = fingerprint(toy.folder), (toy.folder / "autoresearch.toml").read_text()
        shown = self.check(toy.folder, code=1)
        assert fingerprint(toy.folder) == before
        told = self.check(toy.folder, "--fix", code=0)
        after = fingerprint(toy.folder)
        changed = {n for n in before["files"].keys() | after["files"].keys() if before["files"].get(n) != after["files"].get(n)}
        assert {name.rpartition("/")[2] for name in changed} == {"autoresearch.toml"}
        assert {k: v for k, v in after.items() if k != "files"} == {k: v for k, v in before.items() if k != "files"}
        added = [row for row in (toy.folder / "autoresearch.toml").read_text().splitlines() if row not in task.splitlines()]
        assert sorted(added) == sorted(lines)
        for line in lines:
            assert line in shown
            assert line in told
        self.check(toy.folder, code=0)
        toy.moved()
        return shown


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    (tmp_path / "home").mkdir()
    return Owner(tmp_path / "home")


def task(command: str = "python evaluate.py", editable: str = '"knob.txt"', evaluate: str = "", metric: str = "") -> str:
    return (
        f'[task]\neditable = [{editable}]\n\n[evaluate]\ncommand = "{command}"\n{evaluate}\n[metric]\nname = "score"\n{metric}'
    )


def knob(extra: str) -> str:
    """An evaluator that reads the knob, and something else."""
    return f'import os, pathlib\n{extra}\nprint("score:", float(pathlib.Path("knob.txt").read_text()))\n'


# -- files, HOME, variables -------------------------------------------------------------------------------------------------


def test_untracked_data_file_becomes_an_input(make_toy: MakeToy, owner: Owner) -> None:
    files = {"evaluate.py": knob('pathlib.Path("data/x.csv").read_text()'), ".gitignore": "data/\n"}
    toy = make_toy(files, task=task())
    toy.write({"data/x.csv": "1\n", "data/y.csv": "2\n", "other/z.csv": "3\n"})
    shown = owner.fixes(toy, 'inputs = ["data"]')
    assert "because the command looks for data/x.csv, which git does not know" in shown


def test_task_file_with_a_mark_and_windows_line_ends_keeps_them(make_toy: MakeToy, owner: Owner) -> None:
    text = task().replace("\n", "\r\n")
    toy = make_toy({"evaluate.py": knob('open("data.csv")'), ".gitignore": "data.csv\n"})
    (toy.folder / "autoresearch.toml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    toy.commit()
    toy.write({"data.csv": "1\n"})
    owner.check(toy.folder, "--fix", code=0)
    written = (toy.folder / "autoresearch.toml").read_bytes()
    assert written == b"\xef\xbb\xbf" + text.encode().replace(b'evaluate.py"\r\n', b'evaluate.py"\r\ninputs = ["data.csv"]\r\n')
    toy.moved()


def test_file_that_no_message_names_is_found_by_opening_and_closing(make_toy: MakeToy, owner: Owner) -> None:
    seen = 'if not (pathlib.Path("b/two").exists() and os.environ.get("MY_KEY")): raise SystemExit("cannot go on")'
    toy = make_toy({"evaluate.py": knob(seen), ".gitignore": "?/\n"}, task=task())
    toy.write({f"{name}/two": "x\n" for name in "abcde"})
    owner.environ["MY_KEY"] = "1"
    owner.fixes(toy, 'inputs = ["b"]', 'env = ["MY_KEY"]')


def test_env_file_becomes_an_input(make_toy: MakeToy, owner: Owner) -> None:
    read = (
        'settings = dict(r.split("=") for r in (pathlib.Path(".env").read_text() if os.path.exists(".env") else "").split())\n'
        'settings["API_KEY"]'
    )
    toy = make_toy({"evaluate.py": knob(read), ".gitignore": ".env\n"}, task=task())
    toy.write({".env": "API_KEY=abc\n"})
    owner.fixes(toy, 'inputs = [".env"]')


def test_variable_is_passed(make_toy: MakeToy, owner: Owner) -> None:
    toy = make_toy({"evaluate.py": knob('os.environ["DATABASE_URL"]')}, task=task())
    owner.environ["DATABASE_URL"] = "postgres://localhost/x"
    owner.fixes(toy, 'env = ["DATABASE_URL"]')


def test_file_in_home_is_shown(make_toy: MakeToy, owner: Owner) -> None:
    toy = make_toy({"evaluate.py": knob('(pathlib.Path.home() / ".cache/models/tiny/w.bin").read_bytes()')}, task=task())
    (owner.home / ".cache/models/tiny").mkdir(parents=True)
    (owner.home / ".cache/models/tiny/w.bin").write_bytes(b"w")
    (owner.home / ".cache/other").mkdir()
    owner.fixes(toy, 'inputs = ["~/.cache/models"]')


def test_database_that_is_written_becomes_a_copy(make_toy: MakeToy, owner: Owner) -> None:
    write = (
        'import sqlite3\ndb = sqlite3.connect("dev.db")\nwith db: db.execute("insert into t values (1)")\n'
        'assert db.execute("select count(*) from t").fetchone() == (2,)'
    )
    toy = make_toy({"evaluate.py": knob(write), ".gitignore": "*.db\n"}, task=task())
    with sqlite3.connect(toy.folder / "dev.db") as db:
        db.execute("create table t (x)")
        db.execute("insert into t values (0)")
    db.close()
    toy.moved()
    owner.fixes(toy, 'copy = ["dev.db"]')


def test_input_that_is_written_becomes_a_cache(make_toy: MakeToy, owner: Owner) -> None:
    write = 'pathlib.Path("model-cache/seen").write_text("x")'
    toy = make_toy(
        {"evaluate.py": knob(write), ".gitignore": "model-cache/\n"}, task=task(evaluate='inputs = ["model-cache"]\n')
    )
    toy.write({"model-cache/old": "1\n"})
    owner.fixes(toy, 'cache = ["model-cache"]')


def test_task_in_a_sub_folder_gets_its_own_data(make_toy: MakeToy, owner: Owner) -> None:
    files = {"evaluate.py": knob('pathlib.Path("data/x.csv").read_text()'), ".gitignore": "data/\n"}
    toy = make_toy(files, task=task(), inside="services/search")
    toy.write({"data/x.csv": "1\n"})
    owner.fixes(toy, 'inputs = ["data"]')


# -- interpreters and installed code ----------------------------------------------------------------------------------------


def environment(folder: Path, modules: Mapping[str, str]) -> Path:
    """A virtual environment with some files in its site-packages."""
    venv.create(folder, with_pip=False, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    for name, text in modules.items():
        (site / name).write_text(text)
    return site


def test_module_of_the_projects_environment_is_found(make_toy: MakeToy, owner: Owner) -> None:
    toy = make_toy({"evaluate.py": knob("import rare_module"), ".gitignore": ".venv/\n"}, task=task())
    environment(toy.folder / ".venv", {"rare_module.py": ""})
    toy.moved()
    owner.fixes(toy, 'command = ".venv/bin/python evaluate.py"', 'inputs = [".venv"]')


def test_editable_install_is_found_out_and_the_trees_own_code_goes_first(make_toy: MakeToy, owner: Owner) -> None:
    files = {
        "src/mypkg/__init__.py": "SCORE = 3.0\n",
        "evaluate.py": "import mypkg\nprint('score:', mypkg.SCORE)\n",
        ".gitignore": ".venv/\n",
    }
    text = task(".venv/bin/python evaluate.py", '"src/**"', 'inputs = [".venv"]\n')
    toy = make_toy(files, task=text)
    environment(toy.folder / ".venv", {"__editable__.mypkg-1.pth": f"{toy.folder}/src\n"})
    toy.moved()
    shown = owner.fixes(toy, 'command = "PYTHONPATH=src .venv/bin/python evaluate.py"')
    assert "module mypkg lies in src/" in shown  # the install points into the checkout, which a sandbox does not show


def test_without_fix_the_reason_is_in_the_json(make_toy: MakeToy, owner: Owner) -> None:
    files = {
        "src/mypkg.py": "SCORE = 3.0\n",
        "evaluate.py": "import mypkg\nprint('score:', mypkg.SCORE)\n",
        ".gitignore": "v/\n",
    }
    toy = make_toy(files, task=task("v/bin/python evaluate.py", '"src/mypkg.py"', 'inputs = ["v"]\n'))
    environment(toy.folder / "v", {"x.pth": f"{toy.folder}/src\n"})
    toy.moved()
    found: dict[str, Any] = json.loads(owner.check(toy.folder, "--json", code=1))
    assert [row["line"] for row in found["lines"]] == ['[evaluate] command = "PYTHONPATH=src v/bin/python evaluate.py"']
    assert found["editable"][0]["used"] is True
    assert not found["written"]


def test_environment_above_the_project_in_its_repository_is_found(make_toy: MakeToy, owner: Owner, tmp_path: Path) -> None:
    toy = make_toy({"evaluate.py": knob("import rare_module"), ".gitignore": ".venv/\n"}, task=task(), inside="services/search")
    environment(toy.folder.parents[1] / ".venv", {"rare_module.py": ""})
    (toy.folder.parents[1] / ".gitignore").write_text(".venv/\n")
    toy.moved()
    owner.fixes(toy, 'command = "../../.venv/bin/python evaluate.py"', 'inputs = ["../../.venv"]')


# -- node -------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("node"), reason="no node here")
def test_modules_with_a_link_to_a_workspace_are_shown_and_run_the_candidate(make_toy: MakeToy, owner: Owner) -> None:
    files = {
        "packages/core/index.js": "module.exports = 7\n",
        "packages/core/package.json": '{"name": "core", "main": "index.js"}\n',
        "package.json": '{"workspaces": ["packages/*"]}\n',
        "bench.js": "console.log('score:', require('core') + require('plain'))\n",
        ".gitignore": "node_modules/\n",
    }
    toy = make_toy(files, task=task("node bench.js", '"packages/core/index.js"'))
    toy.write({"node_modules/plain/index.js": "module.exports = 1\n"})
    (toy.folder / "node_modules/core").symlink_to("../packages/core")
    toy.moved()
    owner.fixes(toy, 'inputs = ["node_modules"]')


@pytest.mark.skipif(not shutil.which("node"), reason="no node here")
def test_absolute_link_in_the_modules_is_found_out(make_toy: MakeToy, owner: Owner) -> None:
    files = {
        "packages/core/index.js": "module.exports = 7\n",
        "bench.js": "console.log('score:', require('core'))\n",
        ".gitignore": "node_modules/\n",
    }
    toy = make_toy(files, task=task("node bench.js", '"packages/core/index.js"', 'inputs = ["node_modules"]\n'))
    (toy.folder / "node_modules").mkdir()
    (toy.folder / "node_modules/core").symlink_to(toy.folder / "packages/core")
    toy.moved()
    command = 'command = "ln -sfn ../packages/core node_modules/core && node bench.js"'
    shown = owner.fixes(toy, command, 'copy = ["node_modules"]')
    assert "node_modules/core is a link into the checkout" in shown


# -- what leads past the candidate --------------------------------------------------------------------------------------------


def test_absolute_path_in_the_command_becomes_relative(make_toy: MakeToy, owner: Owner, tmp_path: Path) -> None:
    toy = make_toy({"evaluate.py": "import pathlib, sys\nprint('score:', float(pathlib.Path(sys.argv[1]).read_text()))\n"})
    toy.write({"autoresearch.toml": task(f"python evaluate.py {toy.folder}/knob.txt")})
    toy.commit()
    shown = owner.fixes(toy, 'command = "python evaluate.py knob.txt"')
    assert "the command names the checkout by its absolute path" in shown


def test_absolute_path_in_the_evaluator_is_made_relative_in_each_tree(make_toy: MakeToy, owner: Owner) -> None:
    toy = make_toy(task=task())
    toy.write({"evaluate.py": f"print('score:', float(open('{toy.folder}/knob.txt').read()))\n"})
    toy.commit()
    before = (toy.folder / "autoresearch.toml").read_text()
    shown = owner.check(toy.folder, "--fix", code=0)
    assert "evaluate.py names the checkout by its absolute path" in shown
    added = [row for row in (toy.folder / "autoresearch.toml").read_text().splitlines() if row not in before.splitlines()]
    assert len(added) == 1
    assert added[0].startswith("setup = ")
    toy.moved()


@pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("make")), reason="no C compiler here")
def test_ignored_program_is_built_for_each_candidate(make_toy: MakeToy, owner: Owner) -> None:
    files = {
        "main.c": '#include <stdio.h>\nint main(void) { printf("score: %d\\n", 5); }\n',
        "Makefile": "bench: main.c\n\tgcc -o bench main.c\n",
        ".gitignore": "bench\n",
    }
    toy = make_toy(files, task=task("./bench", '"main.c"'))
    subprocess.run(["make", "-s"], cwd=toy.folder, check=True)
    toy.moved()
    owner.fixes(toy, 'build = "make"')


@pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("make")), reason="no C compiler here")
def test_program_shown_as_an_input_is_found_out(make_toy: MakeToy, owner: Owner) -> None:
    files = {
        "main.c": '#include <stdio.h>\nint main(void) { printf("score: %d\\n", 5); }\n',
        "Makefile": "bench: main.c\n\tgcc -o bench main.c\n",
        ".gitignore": "bench\n",
    }
    toy = make_toy(files, task=task("./bench", '"main.c"', 'inputs = ["bench"]\n'))
    subprocess.run(["make", "-s"], cwd=toy.folder, check=True)
    toy.moved()
    shown = owner.fixes(toy, 'build = "make"')
    assert "nothing builds it again for a candidate" in shown


@pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("make")), reason="no C compiler here")
def test_program_in_a_cache_that_is_empty_at_first_is_built(make_toy: MakeToy, owner: Owner) -> None:
    files = {
        "main.c": '#include <stdio.h>\nint main(void) { printf("score: %d\\n", 5); }\n',
        "Makefile": "build/bench: main.c\n\tmkdir -p build && gcc -o build/bench main.c\n",
        ".gitignore": "build\n",
    }
    toy = make_toy(files, task=task("./build/bench", '"main.c"', 'cache = ["build"]\n'))
    subprocess.run(["make", "-s"], cwd=toy.folder, check=True, stdout=subprocess.DEVNULL)
    toy.moved()
    owner.fixes(toy, 'build = "make"')


@pytest.mark.parametrize("place", ["home", "variable"])
def test_folder_of_a_tool_that_stands_for_others_is_shown(make_toy: MakeToy, owner: Owner, tmp_path: Path, place: str) -> None:
    programs, there = tmp_path / "programs", owner.home / ".rustup" if place == "home" else tmp_path / "rustup"
    programs.mkdir()
    there.mkdir()
    (there / "toolchain").touch()
    look = (
        '[ -e "${RUSTUP_HOME:-$HOME/.rustup}/toolchain" ] || { echo "rustup could not choose a version of cargo" >&2; exit 1; }'
    )
    (programs / "cargo").write_text(f'#!/bin/sh\n{look}\necho "score: $(cat knob.txt)"\n')
    (programs / "cargo").chmod(0o755)
    owner.environ["PATH"] = f"{programs}:{os.environ['PATH']}"
    if place == "variable":
        owner.environ["RUSTUP_HOME"] = str(there)
    toy = make_toy(task=task("cargo"))
    owner.fixes(toy, 'inputs = ["~/.rustup"]' if place == "home" else 'env = ["RUSTUP_HOME"]')


def test_proposer_that_finds_nothing_to_search_is_said(make_toy: MakeToy, owner: Owner) -> None:
    assert "knobs finds no constants to search" in owner.check(make_toy().folder, code=0)
    toy = make_toy({"knob.py": "KNOB = 3  # knob: 0..9\n", "evaluate.py": "import knob\nprint('score:', knob.KNOB)\n"})
    toy.write({"autoresearch.toml": task(editable='"knob.py"')})
    toy.commit()
    assert "no constants" not in owner.check(toy.folder, code=0)


def test_evaluation_that_uses_no_editable_file_is_refused(make_toy: MakeToy, owner: Owner) -> None:
    toy = make_toy({"evaluate.py": "print('score: 1')\n"}, task=task())
    told = owner.check(toy.folder, "--fix", code=1)
    assert "the evaluation does not run the candidate: with knob.txt broken, score stayed 1" in told


def test_one_unused_file_of_several_is_a_warning(make_toy: MakeToy, owner: Owner) -> None:
    toy = make_toy({"extra/a.txt": "1\n"}, task=task(editable='"knob.txt", "extra/*"'))
    assert "does not notice a change of extra/a.txt" in owner.check(toy.folder, code=0)


def test_many_editable_files_of_which_few_are_used_are_not_all_broken(make_toy: MakeToy, owner: Owner) -> None:
    files = {f"extra/{i:02}.txt": "1\n" for i in range(30)}
    toy = make_toy(
        {**files, "evaluate.py": "print('score:', float(open('extra/01.txt').read()))\n"}, task=task(editable='"extra/*"')
    )
    told = owner.check(toy.folder, code=0)
    assert "18 of 30 editable files were not broken one by one" in told


def test_editable_file_that_is_not_committed_is_named_and_never_made_an_input(make_toy: MakeToy, owner: Owner) -> None:
    toy = make_toy({"evaluate.py": "print('score:', float(open('new/knob.txt').read()))\n"}, task=task(editable='"new/*"'))
    toy.write({"new/knob.txt": "1\n"})
    toy.moved()
    told = owner.check(toy.folder, "--fix", code=1)
    assert "it works outside, but not in a sealed tree" in told
    assert "not committed, and so not measured: new/knob.txt" in told


# -- reading the number -------------------------------------------------------------------------------------------------------


def test_number_that_the_plain_rule_cannot_read_gets_its_pattern(make_toy: MakeToy, owner: Owner) -> None:
    table = "print('Name   Stmts   Miss  Cover')\nprint('TOTAL   100   46   %s%%' % open('knob.txt').read().strip())\n"
    toy = make_toy({"evaluate.py": table}, task=task(metric='direction = "maximize"\n'))
    before = (toy.folder / "autoresearch.toml").read_text()
    owner.check(toy.folder, code=1)
    owner.check(toy.folder, "--fix", code=0)
    added = [r for r in (toy.folder / "autoresearch.toml").read_text().splitlines() if r not in before.splitlines()]
    assert [row.partition(" = ")[0] for row in added] == ["pattern"]
    toy.moved()


def test_number_printed_several_times_takes_the_last(make_toy: MakeToy, owner: Owner) -> None:
    many = "import pathlib\nfor i in (3, 2, 1): print('score:', i * float(pathlib.Path('knob.txt').read_text()))\n"
    toy = make_toy({"evaluate.py": many}, task=task())
    owner.fixes(toy, 'take = "last"')


# -- what works nowhere -------------------------------------------------------------------------------------------------------


def test_command_that_fails_everywhere_says_what_it_said(make_toy: MakeToy, owner: Owner) -> None:
    toy = make_toy({"evaluate.py": "raise ValueError('seven is not eight')\n"}, task=task())
    told = owner.check(toy.folder, "--fix", code=1)
    assert "the command fails outside too" in told
    assert "ValueError: seven is not eight" in told


@pytest.mark.parametrize("namespaces", ["on", "off"])
def test_outside_measurement_writes_nothing_into_the_checkout(make_toy: MakeToy, owner: Owner, namespaces: str) -> None:
    owner.environ["AUTORESEARCH_NAMESPACES"] = namespaces
    write = "open('left.txt', 'w').write('x')\nopen('knob.txt', 'w').write('99')\nraise SystemExit(3)\n"
    toy = make_toy({"evaluate.py": write}, task=task())
    owner.check(toy.folder, code=1)  # the fixture looks at the checkout


def test_number_of_another_name_is_not_taken_for_the_one_that_was_meant(make_toy: MakeToy, owner: Owner) -> None:
    toy = make_toy({"evaluate.py": "print('alpha: 1')\nprint('beta: 2')\n"}, task=task())
    told = owner.check(toy.folder, "--fix", code=1)
    assert "the command runs, but no number can be read" in told
    assert "it prints alpha = 1, beta = 2" in told


def test_evaluation_that_runs_too_long_is_no_wall(make_toy: MakeToy, owner: Owner) -> None:
    toy = make_toy({"evaluate.py": "import time\ntime.sleep(60)\n"}, task=task(evaluate="timeout = 1\n"))
    told = owner.check(toy.folder, code=1)
    assert "it does not measure: timeout: still running after 1" in told
    assert "outside" not in told


def test_repository_without_a_commit_and_a_proposer_that_is_not_there_are_wrong_set_ups(
    make_toy: MakeToy, owner: Owner, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=empty, check=True)
    (empty / "autoresearch.toml").write_text(TASK)
    (empty / "knob.txt").write_text("1\n")
    assert "has no commit yet" in owner.check(empty, code=2)
    toy = make_toy(task=TASK + '[proposer]\nkind = "command"\ncommand = "nowhere-to-be-found --now"\n')
    assert "[proposer] command starts 'nowhere-to-be-found'" in owner.check(toy.folder, code=2)


def test_number_on_standard_error_is_read_with_it(make_toy: MakeToy, owner: Owner) -> None:
    evaluate = 'import sys\nprint("score:", float(open("knob.txt").read()), file=sys.stderr)\nprint("done")\n'
    toy = make_toy({"evaluate.py": evaluate}, task=task())
    owner.fixes(toy, 'command = "python evaluate.py 2>&1"')


def test_folder_that_paths_leave_out_is_added_to_them(make_toy: MakeToy, owner: Owner) -> None:
    files = {
        "evaluate.py": knob("import sys; sys.path.insert(0, 'libs/text'); import tokens"),
        "libs/text/tokens.py": "x = 1\n",
    }
    toy = make_toy(
        {**files, "src/a.py": "", "other/b.py": ""}, task=task().replace("\n\n[evaluate]", '\npaths = ["src"]\n\n[evaluate]')
    )
    owner.fixes(toy, 'paths = ["src", "libs/text"]')


# -- coming to a run -------------------------------------------------------------------------------------------------------


def run(toy: Toy, *flags: str, code: int = 0) -> str:
    argv = [sys.executable, "-m", "autoresearch", "run", "-n", "1", *flags]
    done = subprocess.run(argv, cwd=toy.folder, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_run_that_failed_before_check_mended_the_task_is_no_hindrance(make_toy: MakeToy, owner: Owner) -> None:
    toy = make_toy({"evaluate.py": knob('pathlib.Path("data.csv").read_text()'), ".gitignore": "data.csv\n"}, task=task())
    toy.write({"data.csv": "1\n"})
    assert "the baseline failed" in run(toy, code=1)
    said = owner.check(toy.folder, "--fix", code=0)  # knobs would find nothing to search
    assert "ready. next: say who proposes" in said
    toy.moved()
    assert "baseline 10" in run(toy)


def test_baseline_that_failed_is_measured_again_by_the_next_session(make_toy: MakeToy) -> None:
    toy = make_toy({"evaluate.py": knob('open(os.environ["DATA"])')})
    text = task(evaluate='env = ["DATA"]\n')
    data = toy.folder.parent / "data.csv"
    toy.write({"autoresearch.toml": text})
    toy.commit()
    os.environ["DATA"] = str(data)
    try:
        assert "the baseline failed" in run(toy, code=1)
        data.write_text("1")
        assert "baseline 10" in run(toy)
    finally:
        del os.environ["DATA"]


def test_check_under_another_ruler_than_the_open_runs_names_the_flag(make_toy: MakeToy, owner: Owner) -> None:
    proposer = """[proposer]\nkind = "command"\ncommand = "sh -c 'echo 9 > knob.txt'"\n"""
    toy = make_toy(task=task() + proposer)
    run(toy)
    toy.write({"autoresearch.toml": task(metric="min_effect = 0.5\n") + proposer})
    toy.commit()
    assert "ready. next: autoresearch run --new\n" in owner.check(toy.folder, code=0)
    assert "(new)" in run(toy, "--new")


def test_what_check_measured_counts_under_any_seed_where_evaluations_see_none(make_toy: MakeToy, owner: Owner) -> None:
    toy = make_toy()
    owner.check(toy.folder, code=0)
    assert "baseline: 2 evaluations of `check`" in run(toy, "--seed", "1")


def test_input_that_is_gone_is_refused_before_anything_is_recorded(make_toy: MakeToy) -> None:
    toy = make_toy({"data/a": "1"}, task=task(evaluate='inputs = ["gone"]\n'))
    assert "inputs names 'gone', which does not exist" in run(toy, code=2)
    toy.write({"autoresearch.toml": task(evaluate='inputs = ["data"]\n')})
    toy.commit()
    told = run(toy, code=2)
    assert "inputs names data, which git tracks" in told
    assert "ended" not in told
    assert (
        "no run in"
        in subprocess.run(
            [sys.executable, "-m", "autoresearch", "status"], cwd=toy.folder, capture_output=True, text=True
        ).stderr
    )


# -- the sandbox and the network ---------------------------------------------------------------------------------------------


@pytest.fixture
def served() -> Iterator[int]:
    """A server on 127.0.0.1; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


CONNECT = """\
import socket
def connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5)
    except OSError as error:
        raise SystemExit({words})
connect({port})"""


def test_endpoint_that_a_message_names_is_opened(make_toy: MakeToy, owner: Owner, served: int) -> None:
    code = CONNECT.format(port=served, words='f"connection to 127.0.0.1:{port} failed: {error}"')
    toy = make_toy({"evaluate.py": knob(code)}, task=task())
    shown = owner.fixes(toy, f'network = ["127.0.0.1:{served}"]')
    assert f"because the command connects to 127.0.0.1:{served}" in shown


def test_network_is_opened_where_nothing_says_where_it_leads(make_toy: MakeToy, owner: Owner, served: int) -> None:
    toy = make_toy({"evaluate.py": knob(CONNECT.format(port=served, words='"no luck"'))}, task=task())
    assert "because it does not measure without the network" in owner.fixes(toy, 'network = "on"')


def test_folder_elsewhere_on_this_machine_is_shown(make_toy: MakeToy, owner: Owner) -> None:
    with tempfile.TemporaryDirectory(prefix="elsewhere-") as folder:
        (Path(folder) / "rows").write_text("1")
        toy = make_toy({"evaluate.py": knob(f'open("{folder}/rows").read()')}, task=task())
        owner.fixes(toy, f'inputs = ["{folder}/rows"]')


def test_what_only_the_sandbox_hinders_leaves_it_out(make_toy: MakeToy, owner: Owner) -> None:
    code = 'if not os.path.isdir("/sys/kernel"): raise SystemExit("not on this machine")'
    toy = make_toy({"evaluate.py": knob(code)}, task=task())
    assert "because it does not measure in a sandbox" in owner.fixes(toy, 'sandbox = "none"')
