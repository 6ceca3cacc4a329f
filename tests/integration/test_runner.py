"""The runner of this machine: how evaluations are classified, what they get to see, and what is read of them."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import stat
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from autoresearch import machine
from autoresearch.contracts import Place
from autoresearch.errors import DiskFault, SetupError
from autoresearch.process import Exit, Supervisor
from autoresearch.records import Order, Outcome, Readout
from autoresearch.runners import LocalRunner, inputs
from autoresearch.runners.local import Reading, Surroundings, classify

ORDER = Order(1, seed=42, attempt=1, label="eval-1", timeout_s=120)
END = Exit(0, None, "", 1.0, 0.5, 100.0, "sampled", None, False, False, False, "", 0, "", "")


class Bench:
    """A tree, a scratch folder, and a runner on them."""

    def __init__(self, folder: Path) -> None:
        self.tree, self.scratch, self.logs = folder / "tree", folder / "scratch", folder / "logs" / "000001"
        self.tree.mkdir()
        self.scratch.mkdir()

    def write(self, name: str, text: str) -> None:
        (self.tree / name).write_text(text)

    def work(self, work: Callable[[Callable[..., Awaitable[Readout]]], Awaitable[Any]], **options: Any) -> Any:
        """Do something with `evaluate(order, **of the place)`."""
        settings = {"command": "python run.py", "reading": Reading(("score",)), **options}
        around = {"name": "one", "python": sys.executable}
        around |= {f.name: settings.pop(f.name) for f in fields(Surroundings) if f.name in settings}

        async def main() -> Any:
            async with Supervisor() as supervisor:
                runner = LocalRunner(supervisor, Surroundings(**around), **settings)

                async def evaluate(order: Order = ORDER, **place: Any) -> Readout:
                    return await runner.evaluate(Place(self.tree, self.scratch, 0, **place), order)

                return await work(evaluate)

        return anyio.run(main)

    def run(self, code: str, *, order: Order | None = None, **options: Any) -> Readout:
        """One evaluation of a Python program."""
        self.write("run.py", code)
        order = order or replace(ORDER, folder=self.logs)
        report: Readout = self.work(lambda evaluate: evaluate(order), **options)
        return report

    def json(self, code: str, **options: Any) -> Any:
        """What a program prints as JSON in an evaluation."""
        self.run(f"import json, os, sys\nprint(json.dumps({code}))", **options)
        return json.loads((self.logs / "eval-1.log").read_text())


@pytest.fixture
def bench(awkward: Path) -> Bench:
    return Bench(awkward)


# -- how it ended ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "outcome", "exit_code", "words"),
    [
        ("print('score: 3')", Outcome.OK, 0, ""),
        ("print('hm'); raise SystemExit(3)", Outcome.EXIT, 3, "exited with 3 after .* s \\(limit 120 s\\); last line: hm"),
        ("print('score: 3'); 1 / 0", Outcome.EXIT, 1, "last line: ZeroDivisionError: division by zero"),
        ("import os; os.kill(os.getpid(), 11)", Outcome.SIGNAL, -11, "ended by SIGSEGV after"),
        ("import os; os.kill(os.getpid(), 9)", Outcome.SIGNAL, -9, "ended by SIGKILL after"),
        (
            "print('score: 3'); raise SystemExit(75)",
            Outcome.OUTAGE,
            75,
            "asked to be tried again \\(exit 75\\); last line: score: 3",
        ),
        ("print('nothing')", Outcome.NO_MEASUREMENT, 0, "no number named score"),
        ("print('score: nan')", Outcome.NO_MEASUREMENT, 0, "score is nan, which is no measurement"),
        ("import sys; print('score: 3', file=sys.stderr)", Outcome.NO_MEASUREMENT, 0, "no number named score"),
    ],
)
def test_ends_are_told_apart(bench: Bench, code: str, outcome: Outcome, exit_code: int, words: str) -> None:
    report = bench.run(code)
    assert (report.outcome, report.exit_code) == (outcome, exit_code)
    assert report.values == ({"score": 3.0} if outcome is Outcome.OK else {})
    assert re.search(words, report.words)


def test_evaluation_over_its_limit_is_a_timeout_even_if_it_printed_its_number(bench: Bench) -> None:
    order = replace(ORDER, timeout_s=1.5)
    report = bench.run("import time; print('score: 3', flush=True); time.sleep(60)", order=order)
    assert report.outcome is Outcome.TIMEOUT
    assert report.values == {}
    assert "(limit 2 s); last line: score: 3" in report.words


def test_command_that_cannot_be_started_is_told_in_words(bench: Bench) -> None:
    report = bench.run("", command="no-such-program --now")
    assert report.outcome is Outcome.EXIT
    assert "could not be started: No such file or directory" in report.words


NEAR = machine.total_memory_mb()


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (replace(END, exit=None, signal=9, peak_mb=0.95 * NEAR), Outcome.MEMORY),
        (replace(END, exit=137, peak_mb=0.95 * NEAR), Outcome.MEMORY),
        (replace(END, exit=None, signal=9, peak_mb=480.0, limit_mb=500.0), Outcome.MEMORY),
        (replace(END, exit=None, signal=9, oom=True), Outcome.MEMORY),
        (replace(END, exit=1, oom=True), Outcome.MEMORY),
        (replace(END, exit=0, oom=True), Outcome.OK),
        (replace(END, exit=None, signal=9, peak_mb=100.0, limit_mb=500.0), Outcome.SIGNAL),
        (replace(END, exit=None, signal=9, peak_mb=None), Outcome.SIGNAL),
        (replace(END, exit=None, signal=11, peak_mb=480.0, limit_mb=500.0), Outcome.SIGNAL),
        (replace(END, exit=137, peak_mb=100.0), Outcome.EXIT),
        (replace(END, exit=None, signal=9, timed_out=True, killed=True, peak_mb=0.95 * NEAR), Outcome.TIMEOUT),
    ],
)
def test_kill_near_a_memory_limit_is_memory_and_else_a_signal(end: Exit, outcome: Outcome) -> None:
    assert classify(end, None)[0] is outcome


# -- what it gets to see -----------------------------------------------------------------------------------------------


def test_environment_is_clean_but_for_what_is_passed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    monkeypatch.setenv("DATABASE_URL", "db")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    seen = bench.json("dict(os.environ)", env=("DATABASE_URL",), seed_env="SEED")
    assert seen["DATABASE_URL"] == "db"
    assert seen["SEED"] == "42"
    kept = {"PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TERM", "USER", "LOGNAME", "SHELL", "LD_LIBRARY_PATH"}
    kept |= {"CUDA_VISIBLE_DEVICES", "SSL_CERT_FILE", "SSL_CERT_DIR"}
    told = {f"AUTORESEARCH_{name}" for name in ("RESULT", "MARK", "ID", "SLOT", "PORT", "ARTIFACTS")}
    assert set(seen) - kept == {"DATABASE_URL", "SEED", "HOME", "TMPDIR"} | told


def test_variable_to_pass_that_is_not_set_is_a_broken_set_up(bench: Bench) -> None:
    with pytest.raises(SetupError, match="NOT_SET_HERE, which is not set"):
        bench.run("", env=("NOT_SET_HERE",))


def test_without_seed_env_no_seed_is_told(bench: Bench) -> None:
    assert "42" not in bench.json("dict(os.environ)").values()


LITTER = """
import os, pathlib, sys
home, tmp = pathlib.Path(os.environ["HOME"]), pathlib.Path(os.environ["TMPDIR"])
found = [len(os.listdir(home)), len(os.listdir(tmp)), os.path.lexists(os.environ["AUTORESEARCH_RESULT"])]
assert found == [0, 0, False], found
assert home != tmp and os.stat(home).st_mode & 0o777 == os.stat(tmp).st_mode & 0o777 == 0o700
(home / ".cache" / "deep").mkdir(parents=True)
(home / ".cache" / "deep" / "file").touch()
(home / "link").symlink_to(os.getcwd())
(tmp / "left").touch()
os.chmod(home / ".cache" / "deep", 0)
os.chmod(home / ".cache", 0)
os.chmod(home, 0)
if "link" in sys.argv:
    (tmp / "left").unlink()
    tmp.rmdir()
    tmp.symlink_to(os.getcwd())
if "folder" in sys.argv:
    os.makedirs(os.environ["AUTORESEARCH_RESULT"] + "/full")
print("score: 1")
"""


@pytest.mark.parametrize("how", ["", "link", "folder"])
def test_home_tmp_and_result_are_new_for_each_evaluation(bench: Bench, how: str) -> None:
    bench.write("run.py", LITTER)
    bench.write("kept", "")

    async def twice(evaluate: Callable[..., Awaitable[Readout]]) -> list[Readout]:
        return [await evaluate(), await evaluate()]

    reports = bench.work(twice, command=f"python run.py {how}")
    assert [r.outcome for r in reports] == [Outcome.OK, Outcome.OK], reports
    assert (bench.tree / "kept").exists()


def test_scratch_that_cannot_be_written_is_a_disk_fault(bench: Bench) -> None:
    bench.scratch.rmdir()
    with pytest.raises(DiskFault):
        bench.run("print('score: 1')")


def test_leading_python_is_the_given_one_and_the_folder_is_the_tree(bench: Bench) -> None:
    executable, folder = bench.json("[sys.executable, os.getcwd()]")
    assert Path(executable).samefile(sys.executable)
    assert Path(folder).samefile(bench.tree)


@pytest.mark.parametrize(
    "command",
    [
        "echo 'score: 3'",
        "echo score: 1 | sed s/1/3/",
        "X=3 && echo score: $X",
        "python -c 'print(\"score:\", 3)'",
        "python -c 'print(\"score: 2\")' | sed s/2/3/",
        "for i in 3; do echo score: $i; done",
    ],
)
def test_commands_run_with_or_without_a_shell_as_they_need(bench: Bench, command: str) -> None:
    assert bench.run("", command=command).values == {"score": 3.0}


@pytest.mark.parametrize("command", ["", "  ", "echo 'open"])
def test_command_that_cannot_be_read_is_a_broken_set_up(bench: Bench, command: str) -> None:
    with pytest.raises(SetupError):
        bench.run("", command=command)


# -- inputs ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def data(bench: Bench, awkward: Path) -> Path:
    """An input folder outside of the tree, with a link to it inside."""
    folder = awkward / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "rows.csv").write_text("1,2\n")
    (folder / "__pycache__").mkdir()
    (bench.tree / "data").symlink_to(folder)
    return folder


def change(bench: Bench, data: Path, code: str) -> Readout:
    """One evaluation that runs this code on `rows`, without walls: the manifest has to notice."""
    bench.write("run.py", f"import os, pathlib, time\nrows = pathlib.Path('data/sub/rows.csv')\n{code}\nprint('score: 3')")
    report: Readout = bench.work(lambda evaluate: evaluate(), inputs=(data,))
    return report


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("rows.write_text('9,9\\n')", "rows.csv"),
        ("s = rows.stat(); rows.write_text('9,9\\n'); os.utime(rows, ns=(s.st_atime_ns, s.st_mtime_ns))", "rows.csv"),
        ("(rows.parent / 'new').touch()", "new"),
        ("rows.unlink()", "rows.csv"),
        ("rows.chmod(0o777)", "rows.csv"),
        ("rows.rename('x'); rows.symlink_to(os.path.abspath('x'))", "rows.csv"),
    ],
)
def test_change_of_an_input_is_tampering_that_names_it(bench: Bench, data: Path, code: str, named: str) -> None:
    report = change(bench, data, code)
    assert report.outcome is Outcome.TAMPERING
    assert report.values == {}
    assert named in report.words


@pytest.mark.parametrize("code", ["rows.read_text()", "pathlib.Path('data/__pycache__/x.pyc').touch()"])
def test_reading_an_input_and_bytecode_in_it_are_no_tampering(bench: Bench, data: Path, code: str) -> None:
    assert change(bench, data, code).outcome is Outcome.OK


def test_tampering_is_told_once_and_not_of_the_next_evaluation(bench: Bench, data: Path) -> None:
    bench.write("run.py", "import sys; print('score: 3')\nif len(sys.argv) > 1: open('data/sub/rows.csv', 'w').write('9')")

    async def twice(evaluate: Callable[..., Awaitable[Readout]]) -> list[Readout]:
        return [await evaluate(replace(ORDER, command="python run.py now")), await evaluate()]

    reports = bench.work(twice, inputs=(data,))
    assert [r.outcome for r in reports] == [Outcome.TAMPERING, Outcome.OK]


@pytest.mark.skipif(sys.platform != "linux", reason="read-only places need Linux")
def test_write_to_an_input_fails_where_there_are_namespaces(bench: Bench, data: Path) -> None:
    bench.write("run.py", "print(open('data/sub/rows.csv').read())\nopen('data/sub/rows.csv', 'a')")

    async def work(evaluate: Callable[..., Awaitable[Readout]]) -> Readout:
        return await evaluate(replace(ORDER, folder=bench.logs), readonly=(data,))

    report = bench.work(work, inputs=(data,))
    if "Read-only file system" not in report.words and report.outcome is Outcome.TAMPERING:
        pytest.skip("no namespaces here: the manifest noticed")
    assert report.outcome is Outcome.EXIT
    assert "Read-only file system" in report.words
    assert (data / "sub" / "rows.csv").read_text() == "1,2\n"
    assert "1,2" in (bench.logs / "eval-1.log").read_text()


def test_inputs_are_resolved_to_links_and_real_places(awkward: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = awkward / "home"
    for folder in ("project/data", "home/cache", "elsewhere"):
        (awkward / folder).mkdir(parents=True)
    (awkward / "project" / ".venv").symlink_to(awkward / "elsewhere")
    monkeypatch.setenv("HOME", str(home))
    links, places = inputs.resolve(awkward / "project", ["data/", ".venv", "~/cache", str(awkward / "elsewhere")])
    real = awkward.resolve()
    assert links == {"data": real / "project" / "data", ".venv": real / "elsewhere"}
    assert places == (real / "project" / "data", real / "elsewhere", real / "home" / "cache", real / "elsewhere")
    with pytest.raises(SetupError, match="inputs names 'gone', which does not exist"):
        inputs.resolve(awkward / "project", ["gone"])


# -- what is read ------------------------------------------------------------------------------------------------------


def test_result_file_is_read_first(bench: Bench) -> None:
    code = 'import os; open(os.environ["AUTORESEARCH_RESULT"], "w").write(\'{"score": 1}\'); print("score: 2")'
    assert bench.run(code).values == {"score": 1.0}


def test_metrics_from_outside_are_measured_and_not_believed(bench: Bench) -> None:
    code = """\
import time
x = bytearray(60 << 20)
x[::4096] = bytes(len(x) // 4096)
while time.process_time() < 0.3: pass
time.sleep(0.2)
print("wall_s: 0.001\\ncpu_s: 0.001\\npeak_mb: 0.001\\nscore: 5")
"""
    report = bench.run(code, reading=Reading(("wall_s", "cpu_s", "peak_mb", "score")))
    assert report.outcome is Outcome.OK
    assert report.values["score"] == 5
    assert (report.values["wall_s"], report.values["cpu_s"]) == (report.duration_s, report.cpu_s)
    assert report.values["peak_mb"] == report.peak_mb
    assert 0.5 <= report.duration_s < 60
    assert 0.3 <= report.cpu_s < 10
    assert report.peak_mb is not None
    assert 55 <= report.peak_mb < 160
    assert report.memory_from in {"cgroup1", "cgroup2", "sampled"}
    assert report.machine == machine.fingerprint().id


def test_guard_of_its_own_is_found_where_another_is_missing(bench: Bench) -> None:
    report = bench.run("print('b: 2')", reading=Reading(("wall_s", "a", "b")))
    assert report.values == {"wall_s": report.duration_s, "b": 2.0}


def test_json_file_in_the_tree_is_read_by_path(bench: Bench) -> None:
    code = "import json; json.dump({'results': [{'mean': 0.25}]}, open('bench.json', 'w'))"
    assert bench.run(code, reading=Reading(("score",), file="bench.json", path="results[0].mean")).values == {"score": 0.25}
    report = bench.run("import os; os.remove('bench.json')", reading=Reading(("score",), file="bench.json", path="x"))
    assert report.outcome is Outcome.NO_MEASUREMENT
    assert "bench.json" in report.words


def test_number_lost_in_too_much_output_says_so(bench: Bench) -> None:
    report = bench.run("print('score: 3'); print('x' * 9_000_000)")
    assert report.outcome is Outcome.NO_MEASUREMENT
    assert "of 9000010 bytes were looked at" in report.words
    assert bench.run("print('x' * 9_000_000); print('score: 3')").values == {"score": 3.0}


def test_check_reads_no_numbers(bench: Bench) -> None:
    report = bench.run("print('score: 3')", order=replace(ORDER, kind="check", command="python run.py"))
    assert (report.outcome, report.values) == (Outcome.OK, {})


def test_log_holds_both_streams_and_is_named_relative_to_the_run(bench: Bench) -> None:
    report = bench.run("import sys; print('score: 3', flush=True); print('warning', file=sys.stderr)")
    assert report.log == "000001/eval-1.log"
    assert (bench.logs / "eval-1.log").read_text() == "score: 3\nwarning\n"
    assert stat.S_IMODE((bench.logs / "eval-1.log").stat().st_mode) & 0o077 == 0
    assert bench.run("print('score: 3')", order=ORDER).log == ""


def test_logs_that_cannot_be_written_are_a_disk_fault(bench: Bench) -> None:
    bench.logs.parent.touch()  # where a folder should be
    with pytest.raises(DiskFault):
        bench.run("print('score: 3')")


# -- what an evaluation does to the folders it was lent ----------------------------------------------------------------


@pytest.mark.parametrize("variable", ["AUTORESEARCH_ARTIFACTS", "AUTORESEARCH_RESULT", "HOME", "TMPDIR"])
def test_folder_that_an_evaluation_closed_is_opened_again(bench: Bench, variable: str) -> None:
    name = f"os.environ['{variable}']"
    folder = f"os.path.dirname({name})" if variable == "AUTORESEARCH_RESULT" else name
    code = f"import os\nopen(os.environ['AUTORESEARCH_ARTIFACTS'] + '/a', 'w')\nos.chmod({folder}, 0)\nprint('score: 3')"
    assert [bench.run(code, cleanup="true").values for _ in range(2)] == [{"score": 3}, {"score": 3}]
    assert (bench.logs / "artifacts" / "eval-1" / "a").exists()


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="/dev/shm is not there")
def test_pipe_among_artifacts_stays_behind_on_another_file_system(bench: Bench) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        bench.scratch = Path(other)
        code = "import os\nos.chdir(os.environ['AUTORESEARCH_ARTIFACTS'])\nos.mkfifo('p'); open('a', 'w')\nprint('score: 3')"
        assert bench.run(code).values == {"score": 3}
    assert [p.name for p in (bench.logs / "artifacts" / "eval-1").iterdir()] == ["a"]


def test_cleanup_after_a_kill_takes_no_variables_but_ours_from_what_was_left(bench: Bench) -> None:
    slot = bench.scratch.with_name("evaluation-0")
    slot.mkdir()
    theirs = {"AUTORESEARCH_ID": "mine", "PATH": "/theirs", "LD_PRELOAD": "/theirs.so"}
    (slot / "cleanup.json").write_text(json.dumps({"folder": str(slot), "slot": 0, "variables": theirs}))
    seen = bench.scratch / "seen"
    command = f"env > {shlex.quote(str(seen))}"

    async def main() -> list[str]:
        async with Supervisor() as supervisor:
            around = Surroundings("one", sys.executable, cleanup=command)
            return await LocalRunner(supervisor, around, command="true", reading=Reading(("score",))).tidy(slot.parent)

    assert anyio.run(main) == []
    assert "AUTORESEARCH_ID=mine" in seen.read_text()
    assert "/theirs" not in seen.read_text()
    assert not (slot / "cleanup.json").exists()


def test_home_shows_a_folder_of_the_users_once_also_where_one_in_it_is_named(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "theirs"
    (home / ".cache" / "model").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    shown = inputs.in_home(["~/.cache/model", "~/.cache", "data"])
    code = "os.listdir(os.path.expanduser('~/.cache'))"
    assert bench.json(code, home=shown) == ["model"]
    assert [p.name for p in home.rglob("*")] == [".cache", "model"]


@pytest.mark.parametrize(
    ("said", "last"),
    [
        (
            "throw err;\n\nTypeError: x is no y\n    at f (a.js:1:2) {\n  code: 'M',\n  z: ['a']\n}\n\nNode.js v20.1.0",
            "TypeError: x is no y",
        ),
        ("assertion failed\n right: 5\nnote: run with `RUST_BACKTRACE=1` environment variable", "right: 5"),
        ("Node.js v20.1.0 is here\n", "Node.js v20.1.0 is here"),
        ("", ""),
    ],
)
def test_last_words_are_the_error_and_not_what_follows_it(said: str, last: str) -> None:
    assert classify(replace(END, exit=1, tail=said), None)[1].partition("; last line: ")[2] == last


def test_inputs_that_are_guarded_and_take_long_to_look_at_are_looked_at_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "QUICK_S", -1.0)
    (tmp_path / "a").write_text("1")
    manifest = inputs.Manifest([tmp_path])
    assert manifest.changed(guarded=True) == ""
    manifest._next = math.inf  # as after a look that took long
    (tmp_path / "a").write_text("22")
    assert manifest.changed(guarded=True) == ""
    assert manifest.changed() == str(tmp_path / "a")


def test_number_on_standard_error_is_named_with_what_reads_it(bench: Bench) -> None:
    report = bench.run("import sys; print('epoch 1'); print('score: 0.5', file=sys.stderr)")
    assert report.outcome is Outcome.NO_MEASUREMENT
    assert "no number named score on standard output: it is on standard error" in report.words
    assert "put 2>&1 behind the command" in report.words
