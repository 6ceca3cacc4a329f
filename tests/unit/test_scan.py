"""The scan of a diff: what each flag finds, in which languages, and what it leaves alone."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.scan import Benchmark, scan
from autoresearch.scan.changes import changes_of
from autoresearch.scan.patterns import is_manifest
from autoresearch.taskfile.schema import FLAGS, LOCK_FILES


def flags(before: str | None, after: str | None, path: str = "train.py", benchmark: Benchmark | None = None) -> dict[str, str]:
    """Each flag's name with `line: words`."""
    old, new = (None if text is None else text.encode() for text in (before, after))
    return {f.name: f"{f.line}: {f.words}" for f in scan({path: old}, {path: new}, benchmark)}


CODE = """\
import os

def step(x, lr):
    # the usual update
    if not x:
        return None
    assert lr > 0, "rate"
    if lr > 1:
        raise ValueError(lr)
    try:
        y = x * lr
    except OverflowError:
        y = 0
    return y
"""

CHANGED = {
    "assertion": [
        ("py", 'assert x > 0, "no"', ""),
        ("py", "self.assertEqual(a, b)", "pass"),
        ("js", "expect(value).toBe(3);", ""),
        ("ts", "console.assert(ok)", ""),
        ("go", 't.Fatalf("wrong")', ""),
        ("rs", "debug_assert!(n > 0);", ""),
        ("cpp", "EXPECT_EQ(a, b);", ""),
        ("sol", "require(amount > 0);", ""),
        ("py", "check_close(a, b)", ""),
        ("py", "", "def __eq__(self, other):"),
    ],
    "validation": [
        ("py", "raise ValueError(x)", ""),
        ("js", "throw new Error('bad');", ""),
        ("py", "validate_rows(rows)", ""),
        ("py", "if not rows: return", ""),
        ("go", 'panic("no rows")', ""),
        ("c", "if (!p) return -1;", ""),
        ("py", "if x is None:\n    return 0", ""),
        ("py", "ok = torch.isfinite(loss)", ""),
    ],
    "error_handling": [
        ("py", "try:\n    go()\nexcept OSError:\n    stop()", "go()"),
        ("js", "} catch (e) { report(e) }", "}"),
        ("go", "if err != nil {", ""),
        ("py", "go()", "try:\n    go()\nexcept Exception:\n    pass"),
        ("py", "", "except: pass"),
        ("js", "go()", "try { go() } catch (e) {}"),
        ("sh", "make test", "make test || true"),
        ("py", "", "os._exit(0)"),
        ("py", "", "sys.exit(0)"),
    ],
    "tests": [
        ("py", "", "@pytest.mark.skip"),
        ("js", "", "it.skip('adds', () => {})"),
        ("rs", "", "#[ignore]"),
        ("go", "", "t.Skip()"),
        ("py", "x = 1", "x = 1  # pragma: no cover"),
    ],
    "seeds": [
        ("py", "SEED = 1", "SEED = 2"),
        ("py", "", "torch.manual_seed(7)"),
        ("py", "split(x, random_state=0)", "split(x)"),
        ("toml", "seed = 1", "seed = 2"),
        ("c", "srand(1);", "srand(2);"),
    ],
    "import": [
        ("py", "", "import numpy as np"),
        ("py", "", "from torch.nn import functional"),
        ("js", "", "const x = require('left-pad')"),
        ("ts", "", "import { z } from 'zod'"),
        ("go", "", '"golang.org/x/sync"'),
        ("rs", "", "use rayon::prelude::*;"),
        ("c", "", "#include <immintrin.h>"),
        ("py", "", "sys.path.insert(0, 'x')"),
    ],
    "dependency": [("sh", "", "pip install flash-attn"), ("py", "", 'run("uv add numpy")')],
    "network": [
        ("py", "", "import urllib.request"),
        ("py", "", "s = socket.socket()"),
        ("js", "", "await fetch('/x')"),
        ("sh", "", "curl -s $URL"),
        ("go", "", "http.Get(u)"),
        ("rs", "", "let s = TcpStream::connect(a)?;"),
        ("py", "", 'u = "https://example.org/x"'),
        ("yaml", "", "source: https://example.org/x"),
    ],
    "subprocess": [
        ("py", "", "os.system('ls')"),
        ("py", "", "from os import popen"),
        ("py", "", "import subprocess"),
        ("js", "", "const c = require('child_process')"),
        ("rs", "", 'Command::new("ls")'),
        ("c", "", 'system("ls");'),
        ("py", "", 'open("/proc/self/maps")'),
        ("py", "import os as o", "import os as o\no.execvp('x', [])"),
    ],
    "eval": [
        ("py", "", "eval(text)"),
        ("py", "", "exec(code)"),
        ("py", "", "f = getattr(builtins, 'ev' + 'al')"),
        ("py", "", "x = pickle.loads(b)"),
        ("py", "", "import ctypes"),
        ("js", "", "new Function('return 1')"),
        ("py", "import time", "import time\ntime.perf_counter = lambda: 0"),
        ("py", "import torch", "import torch\ntorch.cuda.synchronize = print"),
        ("py", "", "sys.modules['evaluate'] = fake"),
        ("py", "", "getattr(model, 'a' + name)"),
        ("sh", "", "eval (x)"),
    ],
    "size": [("py", "x = 1", "x = '" + "a" * 3000 + "'"), ("txt", "a\n", "a long line\n" * 500)],
}
CASES = [(name, *case) for name, cases in CHANGED.items() for case in cases]


@pytest.mark.parametrize(("name", "ending", "before", "after"), CASES)
def test_flag_is_found(name: str, ending: str, before: str, after: str) -> None:
    top, end = ("first = 1\n", "\nlast = 2\n")
    assert name in flags(top + before + end, top + after + end, f"src/model.{ending}")


LEFT_ALONE = [
    ("py", "LR = 0.01", "LR = 0.0123"),
    ("py", "x = 1  # assert nothing", "x = 1"),
    ("py", "", "# import socket, subprocess; eval(1)"),
    ("py", "assert x", "if y:\n    assert x"),
    ("py", "import os\nx = 1", "x = 1\nimport os"),
    ("py", "subprocess.run(a, timeout=1)", "subprocess.run(a, timeout=2)"),
    ("py", "import os", "import os, os"),
    ("py", "", "pattern = re.compile(text)"),
    ("py", "", "model = torch.compile(model)"),
    ("py", "", "model.eval()"),
    ("py", "", "checkpoint(x)"),
    ("py", "", "torch.backends.cudnn.benchmark = True\n"),
    ("py", "", "args.lr = 3"),
    ("py", "", '"""Words on how to import socket, then eval(x)."""'),
    ("md", "assert this", "import that; curl it; raise hell"),
    ("txt", "raise", "seed"),
    ("js", "// throw new Error('x')", ""),
    ("js", "", "/* require('net') */"),
    ("go", "", "x := y // exec.Command"),
    ("css", "", "a { color: red }"),
    ("py", "proceed()", "process()"),
]


@pytest.mark.parametrize(("ending", "before", "after"), LEFT_ALONE)
def test_honest_changes_comments_and_moved_lines_flag_nothing(ending: str, before: str, after: str) -> None:
    top, end = ("first = 1\n", "\nlast = 2\n")
    assert flags(top + before + end, top + after + end, f"src/model.{ending}") == {}


def test_flag_tells_line_and_words_of_the_file_it_is_about() -> None:
    after = CODE.replace('    assert lr > 0, "rate"\n', "").replace("import os\n", "import os\nimport socket\n")
    assert flags(CODE, after) == {
        "assertion": '7: removed an assertion: `assert lr > 0, "rate"`',
        "import": "2: a new import: socket",
        "network": "2: network: `import socket`",
    }


def test_guard_whose_return_stands_on_the_next_line_is_a_removed_guard() -> None:
    assert flags(CODE, CODE.replace("    if not x:\n        return None\n", "")) == {
        "validation": "5: removed a guard: `if not x:`"
    }


def test_weaker_assertion_is_a_changed_one() -> None:
    assert flags(CODE, CODE.replace("assert lr > 0", "assert lr > -9"))["assertion"].startswith("7: changed an assertion")


def test_several_of_a_kind_in_a_file_are_one_flag_at_the_first() -> None:
    added = "".join(f"import new{i}\n" for i in range(6))
    assert flags(CODE, added + CODE)["import"] == "1: a new import: new0; a new import: new1; a new import: new2; and 3 more"


@pytest.mark.parametrize(
    "path",
    [
        "tests/a.py",
        "test_a.py",
        "src/a_test.go",
        "a.spec.ts",
        "web/__tests__/a.js",
        "conftest.py",
        "src/FooTest.java",
        "spec/a.rb",
    ],
)
def test_touched_test_is_flagged_by_its_path(path: str) -> None:
    assert "tests" in flags("x = 1\n", "x = 2\n", path)
    assert "tests" in flags(None, "x = 2\n", path)
    assert flags("x = 1\n", None, path)["tests"] == "1: deleted a test's file"
    assert flags("x = 1\n", "x = 1  \n\n", path) == {}


@pytest.mark.parametrize("path", ["contest.py", "src/latest/a.py", "testament.txt", "attest.go"])
def test_name_that_only_sounds_like_a_test_is_none(path: str) -> None:
    assert "tests" not in flags("x = 1\n", "x = 2\n", path)


@pytest.mark.parametrize("name", [*LOCK_FILES, "go.mod", "web/package.json", "requirements-dev.txt", "requirements/base.txt"])
def test_touched_lock_or_manifest_is_a_dependency(name: str) -> None:
    assert is_manifest(name)
    assert "dependency" in flags("a = 1\n", "a = 2\n", name)


def test_many_changed_lines_are_flagged_once_for_the_whole_diff() -> None:
    rows = "".join(f"x{i} = {i}\n" for i in range(250))
    before = {"a.py": b"y = 1\n" * 500, "b.py": b""}
    found = scan(before, {"a.py": before["a.py"] + rows.encode(), "b.py": rows.encode() + b"z = 1\n"})
    assert [(f.name, f.path, f.words) for f in found if f.name == "size"] == [("size", "b.py", "501 changed lines in all")]


def test_binary_file_is_flagged_for_its_growth_and_nothing_in_it_is_read() -> None:
    found = scan({"a.png": b"\0" * 5000}, {"a.png": b"\0import socket" * 5000})
    assert [(f.name, f.words) for f in found] == [("size", "14 times its parent's size")]


def test_broken_python_is_scanned_line_by_line() -> None:
    assert set(flags("def f(:\n", "def f(:\nimport socket\n")) == {"import", "network"}


@pytest.mark.parametrize("ending", ["py", "js", "sql"])
def test_mark_of_a_comment_in_a_string_is_none_however_many_strings_follow(ending: str) -> None:
    line = "x('#//--'); " + "y('a', \"b\"); " * 200
    (change,) = changes_of({f"a.{ending}": b""}, {f"a.{ending}": line.encode()})
    assert change.added[0].code == line.strip()


# -- literals ------------------------------------------------------------------------------------------------------------

DATA: Mapping[str, bytes] = {
    "data/labels.csv": b"long header,value,class\nan unusual answer,0.731852,positive\nother words here,12.5,positive\n",
    "data/rows.jsonl": b'{"question_text": "how many ravens", "n": 918273}\n' + b'{"label": "negative"}\n' * 9,
    "data/words.txt": b"a line to be guessed\n",
}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("x = 0.731852", True),
        ("x = -0.7318520", True),
        ("x = 918_273", True),
        ("x = 12.5", False),
        ("x = 0.731853", False),
        ('if q == "how many ravens":', True),
        ("answer = 'an unusual answer'", True),
        ("a line to be guessed", True),
        ('y = "long header"', False),
        ('y = "question_text"', False),
        ('y = "negative"', False),
        ("# 0.731852", False),
    ],
)
def test_distinctive_literal_of_the_benchmarks_data_is_flagged(line: str, found: bool) -> None:
    benchmark = Benchmark(lambda: DATA.items())
    assert ("literals" in flags("x = 1\n", f"x = 1\n{line}\n", benchmark=benchmark)) is found


def test_literal_that_the_file_had_before_is_not_new() -> None:
    benchmark = Benchmark(lambda: DATA.items())
    assert flags("x = 0.731852\n", "xyz = 0.731852\n", benchmark=benchmark) == {}


def test_data_is_read_once_and_only_when_a_literal_is_new() -> None:
    asked = []

    def files() -> list[tuple[str, bytes]]:
        asked.append(1)
        return list(DATA.items())

    benchmark = Benchmark(files)
    flags("x = 1\n", "x = 2\n", benchmark=benchmark)
    assert asked == []
    for _ in range(3):
        flags("x = 1\n", "x = 1.23456789\n", benchmark=benchmark)
    assert asked == [1]


# -- in general ----------------------------------------------------------------------------------------------------------


@given(
    st.binary(max_size=200), st.binary(max_size=200), st.sampled_from(["a.py", "a.js", "a.c", "a", "a.go", "x.json", "x.sql"])
)
def test_any_bytes_are_scanned_and_every_name_is_a_flag(before: bytes, after: bytes, path: str) -> None:
    for flag in scan({path: before}, {path: after}):
        assert flag.name in FLAGS
        assert flag.line >= 1


@given(st.lists(st.sampled_from(["x = 1", "  import os", "# no", "", "assert x", "y()"]), max_size=12), st.randoms())
def test_moved_lines_are_no_change(lines: list[str], shuffler: random.Random) -> None:
    moved = list(lines)
    shuffler.shuffle(moved)
    (change,) = changes_of({"a.py": "\n".join(lines).encode()}, {"a.py": "\n".join(moved).encode()})
    assert (change.removed, change.added) == ((), ())
