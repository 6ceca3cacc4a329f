"""`init` and `run --edit …`, as they are typed: templates as generated, questions on a real terminal, refusals."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import git

from autoresearch.taskfile import load

COMMAND = [sys.executable, "-m", "autoresearch"]
TRAIN = """\
RATE = 0.5  # knob: 0..1
print(f"val_loss: {(RATE - 0.25) ** 2:.6f}")
"""
EVALUATE = 'text = open("prompt.txt").read()\nprint(f"accuracy: {len(text)}")\n'
TIMED = ("function", "tests-speed", "http", "sql")
OFFLINE = ("training", "function", "tests-speed", "coverage", "http", "sql", "prompt", "retrieval", "bundle", "sealed")


def call(folder: Path, *args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*COMMAND, *args], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def repository(folder: Path) -> None:
    """Everything there is, committed."""
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "start")


class Terminal:
    """A command on a terminal of its own; answers are typed when a question stands there."""

    def __init__(self, folder: Path, *args: str) -> None:
        self._ours, theirs = pty.openpty()
        env = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
        self.process = subprocess.Popen([*COMMAND, *args], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
        os.close(theirs)
        self.screen, self._read_to = "", 0

    def until(self, *texts: str) -> str:
        """Read on until one of the texts stands there; gives it, and goes on behind it."""
        while not (found := [t for t in texts if t in self.screen[self._read_to :]]):
            chunk = self._chunk()
            if not chunk:
                self.process.kill()
                self.process.wait()
            assert chunk, f"none of {texts} came:\n{self.screen}"
            self.screen += chunk
        self._read_to = self.screen.index(found[0], self._read_to) + len(found[0])
        return found[0]

    def type(self, question: str, answer: str) -> None:
        """Wait for a question and answer it."""
        self.until(question)
        self.until("]: ", ": ")
        os.write(self._ours, f"{answer}\n".encode())

    def close(self) -> int:
        while chunk := self._chunk():
            self.screen += chunk
        os.close(self._ours)
        return self.process.wait(30)

    def _chunk(self) -> str:
        ready, _, _ = select.select([self._ours], [], [], 30)
        try:
            return os.read(self._ours, 65536).decode("utf-8", "replace") if ready else ""
        except OSError:
            return ""


# -- templates -----------------------------------------------------------------------------------------------------------


def checked_until_ready(folder: Path, tries: int) -> dict[str, Any]:
    """What `check` says; again where a machine that became faster meanwhile looks like a gain of unchanged code."""
    for _ in range(tries):
        done = subprocess.run([*COMMAND, "check", "--json"], cwd=folder, capture_output=True, text=True, check=False)
        found: dict[str, Any] = json.loads(done.stdout)
        if found["ready"]:
            return found
        assert all("by being run again" in words for words in found["problems"]), done.stdout
    raise AssertionError(f"not ready after {tries}: {done.stdout}")


@pytest.mark.parametrize("template", [pytest.param(t, marks=pytest.mark.alone) if t in TIMED else t for t in OFFLINE])
def test_template_works_as_generated(template: str, tmp_path: Path) -> None:
    folder = tmp_path / "neu es"
    folder.mkdir()
    call(folder, "init", "--template", template, "--yes")
    assert git(folder, "status", "--porcelain") == ""
    checked = checked_until_ready(folder, 3 if template in TIMED else 1)
    assert checked["values"][0] > 0
    out = call(folder, "run", "one", "-n", "3", "--seed", "1").stdout
    assert "3 experiments" in out
    assert "crash" not in out
    assert "timeout" not in out
    assert git(folder, "status", "--porcelain") == ""


def test_list_of_templates_and_unknown_name_say_all_of_them(tmp_path: Path) -> None:
    listed = call(tmp_path, "init", "--template", "list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == [*OFFLINE, "docker"]
    assert all(len(line) > 40 for line in listed)
    refused = call(tmp_path, "init", "--template", "htpp", "--yes", code=2).stderr
    assert "unknown template 'htpp'" in refused
    assert "Did you mean 'http'?" in refused
    assert all(name in refused for name in OFFLINE)
    assert names(tmp_path) == set()


def test_template_writes_over_no_file(tmp_path: Path) -> None:
    mine = {"train.py": "# mine\n", "program.md": "My words.\n", ".gitignore": "*.log\n"}
    for name, text in mine.items():
        (tmp_path / name).write_text(text)
    said = call(tmp_path, "init", "--template", "training", "--yes").stderr
    assert {name: (tmp_path / name).read_text() for name in mine} == mine
    assert "left as it is: program.md, train.py" in said
    assert (tmp_path / "evaluate.py").is_file()


def test_template_for_a_subject_of_ones_own_brings_none(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("PORT = 1\n")
    call(tmp_path, "init", "--template", "http", "--edit", "app.py", "--metric", "median_ms", "--unit", "msec", "--yes")
    assert "server.py" not in names(tmp_path)
    task = load(tmp_path)
    assert task.task.editable == ["app.py"]
    assert (task.metric.name, task.metric.unit) == ("median_ms", "msec")


def test_template_in_a_subfolder_of_a_repository_is_committed_by_its_owner(tmp_path: Path) -> None:
    (tmp_path / "readme").write_text("all of us\n")
    repository(tmp_path)
    head = git(tmp_path, "rev-parse", "HEAD")
    folder = tmp_path / "dienste/größe 1"
    folder.mkdir(parents=True)
    out = call(folder, "init", "--template", "retrieval", "--yes").stdout
    assert git(tmp_path, "rev-parse", "HEAD") == head
    assert ".gitignore" not in names(folder)
    line = next(line for line in out.splitlines() if line.startswith("next: "))
    typed = line.removeprefix("next: ").rpartition(", then ")[0].replace("git ", "git -c user.name=o -c user.email=o@o ")
    subprocess.run(["sh", "-c", typed], cwd=folder, check=True, capture_output=True)
    assert "ended: " in call(folder, "run", "-n", "1").stdout


def test_wrong_answer_is_no_measurement(tmp_path: Path) -> None:
    """Each template's evaluator refuses a subject that is quick and wrong."""
    wrong = {
        "function": ("solution.py", "def solve(n):\n    return []\n", "wrong answer"),
        "http": ("server.py", "raise SystemExit(3)\n", "ended with 3 before it answered"),
        "sql": ("query.sql", "select 1", "wrong rows"),
        "retrieval": (
            "search.py",
            "class Index:\n    __init__ = lambda s, d: None\n    search = lambda s, q, k: ['x']\n",
            "expected",
        ),
        "bundle": ("src/util.js", "", "has lost groupBy"),
        "prompt": ("prompt.txt", "Say something", "has no {text}"),
        "tests-speed": (
            "wordlist.py",
            "def distance(a, b):\n    return 0\n\ndef nearest(w, ws):\n    return w\n",
            "the suite failed",
        ),
        "coverage": ("tests/test_calc.py", "", "no measurement"),
        "sealed": ("solution.py", "print([])\n", "a wrong answer"),
        "training": ("train.py", "def train(batches, seed):\n    return lambda x: float('nan')\n", "diverged"),
    }
    assert set(wrong) == set(OFFLINE)
    for template, (name, text, words) in wrong.items():
        folder = tmp_path / template
        folder.mkdir()
        call(folder, "init", "--template", template, "--yes")
        command = load(folder).evaluate.command.split()
        (folder / name).write_text(text)
        env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        done = subprocess.run([sys.executable, *command[1:]], cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 1, f"{template}: {done.stdout}{done.stderr}"
        assert words in done.stderr, template
        assert ":" not in done.stdout, template


def has_docker() -> bool:
    try:
        return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def test_line_in_a_plain_folder_without_anybody_to_ask_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("Hi")
    (tmp_path / "eval.py").write_text("print('accuracy:', 1)")
    done = call(tmp_path, "run", "--edit", "prompt.txt", "--eval", "python eval.py", "--maximize", "accuracy", code=2)
    assert "is no git repository" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["eval.py", "prompt.txt"]


def test_docker_template_without_a_daemon_says_so_and_exits_2(tmp_path: Path) -> None:
    call(tmp_path, "init", "--template", "docker", "--yes")
    for env in ({**os.environ, "DOCKER_HOST": "unix:///nowhere/docker.sock"}, {"PATH": str(tmp_path)}):
        done = subprocess.run(
            [sys.executable, "measure.py"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert done.stderr.startswith("docker is needed")
        assert done.stdout == ""


def test_docker_template_works_and_leaves_no_image_or_is_found_wanting_without_a_daemon(tmp_path: Path) -> None:
    call(tmp_path, "init", "--template", "docker", "--yes")
    if not has_docker():
        assert "docker is needed" in call(tmp_path, "check", code=1).stdout
        return
    assert "3 experiments" in call(tmp_path, "run", "-n", "3").stdout
    left = subprocess.run(["docker", "image", "ls", "-q", "autoresearch-*"], capture_output=True, text=True, check=True)
    assert left.stdout == ""


# -- questions on a terminal -------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Someone's folder without git: a training script, an evaluation, data, an environment."""
    where = tmp_path / "mein Projekt ü"
    for name, text in {
        "train.py": TRAIN,
        "eval.py": EVALUATE,
        "prompt.txt": "Hi",
        "data/x.csv": "1",
        ".venv/pyvenv.cfg": "",
    }.items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_text(text)
    (where / ".venv/bin").mkdir()
    (where / ".venv/bin/python").symlink_to(sys.executable)
    return where


def test_enter_takes_every_default_and_the_task_runs(folder: Path) -> None:
    terminal = Terminal(folder, "init")
    terminal.type("What shall be improved?", "")
    terminal.type("Which files may be changed?", "")
    terminal.type("Which command measures?", "")
    terminal.type("What that git does not know does it read?", "")
    terminal.type("Run it once in a sealed tree now to see what it prints?", "")
    terminal.until("it gave: val_loss 0.0625")
    terminal.type("What is the number called?", "")
    terminal.type("Is lower or higher better?", "")
    terminal.type("is no git repository", "")
    assert terminal.close() == 0, terminal.screen
    task = load(folder)
    assert task.task.editable == ["train.py"]
    assert task.evaluate.command == ".venv/bin/python train.py"
    assert task.evaluate.inputs == [".venv", "data"]
    assert (task.metric.name, task.metric.direction) == ("val_loss", "minimize")
    assert ".venv" not in git(folder, "ls-files")
    assert "data" not in git(folder, "ls-files")
    assert "2 experiments" in call(folder, "run", "-n", "2").stdout


def test_answers_are_taken_and_bad_ones_asked_again(folder: Path) -> None:
    terminal = Terminal(folder, "init")
    terminal.type("What shall be improved?", "9")
    terminal.until("expected a number from 1 to")
    terminal.type("What shall be improved?", "2")
    terminal.type("Which files may be changed?", "nowhere.txt")
    terminal.until("'nowhere.txt' does not exist")
    terminal.type("Which files may be changed?", "prompt.txt '*.md'")
    terminal.type("Which command measures?", "")
    terminal.type("What that git does not know does it read?", "-")
    terminal.type("Run it once", "n")
    terminal.type("What is the number called?", "length")
    terminal.type("Is lower or higher better?", "up")
    terminal.until("expected minimize or maximize")
    terminal.type("Is lower or higher better?", "maximize")
    terminal.type("is no git repository", "n")
    assert terminal.close() == 0, terminal.screen
    task = load(folder)
    assert task.task.editable == ["prompt.txt", "*.md"]
    assert task.evaluate.inputs == []
    assert (task.metric.name, task.metric.direction) == ("length", "maximize")
    assert ".git" not in names(folder)


QUESTIONS = (
    "What shall be improved?",
    "Which files may be changed?",
    "Which command measures?",
    "What that git does not know does it read?",
    "Run it once in a sealed tree now to see what it prints?",
    "What is the number called?",
    "Is lower or higher better?",
    "is no git repository",
)


@pytest.mark.parametrize("question", QUESTIONS)
def test_interrupt_in_a_question_leaves_no_file(folder: Path, question: str) -> None:
    before = sorted(folder.rglob("*"))
    terminal = Terminal(folder, "init")
    for earlier in QUESTIONS[: QUESTIONS.index(question)]:
        terminal.type(earlier, "")
    terminal.until(question)
    time.sleep(0.2)  # as a person: a signal between the prompt and the reading of the answer waits for the next key
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.close() != 0
    assert sorted(folder.rglob("*")) == before


def test_interrupt_during_the_try_leaves_no_file_and_no_process(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "train.py").write_text("import time\nprint('began', flush=True)\ntime.sleep(600)\nprint('x:', 1)\n")
    terminal = Terminal(tmp_path, "init", "--try", "--edit", "train.py", "--eval", "python train.py", "--metric", "x")
    terminal.until("began")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.close() != 0
    assert names(tmp_path) == {"train.py"}
    assert list(cache.iterdir()) == []


# -- the try -----------------------------------------------------------------------------------------------------------


def test_try_finds_the_number_that_no_look_could(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text('import sys\nname = "".join(["va", "l_acc"])\nsys.stdout.write(name + ": 93.5 %\\n")\n')
    assert "no default for 'What is the number called?'" in call(tmp_path, "init", "--yes", code=2).stderr
    said = call(tmp_path, "init", "--yes", "--try").stderr
    assert "val_acc: 93.5 %" in said
    assert "it gave: val_acc 93.5" in said
    task = load(tmp_path)
    assert (task.metric.name, task.metric.direction) == ("val_acc", "maximize")


def test_try_sees_uncommitted_files_and_touches_nothing(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print('no number')\n")
    repository(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN + "open('left.txt', 'w').write('x')\n")
    before = git(tmp_path, "status", "--porcelain"), git(tmp_path, "for-each-ref")
    call(tmp_path, "init", "--yes", "--try", "--edit", "train.py", "--eval", "python train.py")
    assert load(tmp_path).metric.name == "val_loss"
    assert names(tmp_path) == {".git", "train.py", "autoresearch.toml", "program.md"}
    (tmp_path / "autoresearch.toml").unlink()
    (tmp_path / "program.md").unlink()
    assert (git(tmp_path, "status", "--porcelain"), git(tmp_path, "for-each-ref")) == before


def test_try_after_a_check_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    call(tmp_path, "init", "--yes")
    call(tmp_path, "check")
    (tmp_path / "train.py").write_text(TRAIN.replace("0.5 ", "0.75 "))
    said = call(tmp_path, "init", "--yes", "--force", "--try").stderr
    assert said.count("val_loss:") == 1
    assert "it gave: val_loss 0.25" in said


def test_failed_try_says_what_comes_next_and_the_task_is_written(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("raise SystemExit('no data here')\n")
    args = ("--yes", "--try", "--edit", "train.py", "--eval", "python train.py", "--metric", "loss")
    said = call(tmp_path, "init", *args).stderr
    assert "no data here" in said
    assert "it failed: exited with 1" in said
    assert "autoresearch check --fix" in said
    assert load(tmp_path).metric.name == "loss"


def test_nothing_is_run_without_being_asked_for(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN + f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    call(tmp_path, "init", "--yes")
    assert "ran" not in names(tmp_path)


# -- flags -------------------------------------------------------------------------------------------------------------


def test_environment_stays_out_of_the_new_repository_whatever_the_gitignore_says(folder: Path) -> None:
    (folder / ".gitignore").write_text("*.log\n")
    call(folder, "init", "--yes")
    assert (folder / ".gitignore").read_text() == "*.log\n"
    tracked = git(folder, "ls-files").splitlines()
    assert "train.py" in tracked
    assert [path for path in tracked if path.startswith((".venv", "data"))] == []


def test_every_flag_has_its_key(tmp_path: Path) -> None:
    for name in ("a b.py", "dev.db", "data.csv"):
        (tmp_path / name).write_text("x = 1\n")
    flags = ["--name", "n ü", "--edit", "a b.py", "--edit", "new/**", "--eval", "python 'a b.py'", "--minimize", "p95"]
    flags += ["--unit", "ms", "--pattern", r"p95\s+(\d+)", "--take", "last", "--inputs", "data.csv", "--setup", "true"]
    flags += ["--build", "make", "--copy", "dev.db", "--cache", "target", "--env", "HOME"]
    call(tmp_path, "init", *flags)
    task = load(tmp_path)
    assert task.task.name == "n ü"
    assert task.task.editable == ["a b.py", "new/**"]
    metric, evaluate = task.metric, task.evaluate
    assert (metric.name, metric.direction, metric.unit) == ("p95", "minimize", "ms")
    assert (metric.pattern, metric.take) == (r"p95\s+(\d+)", "last")
    assert (evaluate.command, evaluate.setup, evaluate.build) == ("python 'a b.py'", "true", "make")
    assert (evaluate.inputs, evaluate.copies, evaluate.cache, evaluate.env) == (["data.csv"], ["dev.db"], ["target"], ["HOME"])
    assert ".git" not in names(tmp_path)  # nobody was asked, and nobody said yes
    assert "exists already" in call(tmp_path, "init", *flags, code=2).stderr
    call(tmp_path, "init", *flags, "--force", "--file", "out.json", "--path", "a.b", "--inputs", "-", code=2)
    assert load(tmp_path) == task  # what cannot be read is not written


def test_flag_of_a_direction_alone_and_name_apart(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    call(tmp_path, "init", "--edit", "train.py", "--eval", "python train.py", "--metric", "loss_of_mine", "--maximize")
    assert (load(tmp_path).metric.name, load(tmp_path).metric.direction) == ("loss_of_mine", "maximize")
    both = ("--minimize", "--maximize", "x", "--edit", "train.py", "--eval", "x", "--force")
    assert "--minimize and --maximize are both given" in call(tmp_path, "init", *both, code=2).stderr
    assert "the folder by --folder here" in call(tmp_path, "init", "here", "--yes", "--force", code=2).stderr


# -- one line without a file -------------------------------------------------------------------------------------------

LINE = ("run", "--edit", "prompt.txt", "--eval", "python eval.py", "--maximize", "accuracy", "-n", "1")


@pytest.fixture
def prompt(tmp_path: Path) -> Path:
    (tmp_path / "prompt.txt").write_text("Hi")
    (tmp_path / "eval.py").write_text(EVALUATE)
    return tmp_path


def test_one_line_writes_the_task_and_goes(prompt: Path) -> None:
    repository(prompt)
    done = call(prompt, *LINE)
    assert "wrote autoresearch.toml, program.md" in done.stderr
    assert "accuracy, higher is better" in done.stdout
    assert "baseline 2 " in done.stdout
    text = (prompt / "autoresearch.toml").read_text()
    assert "nothing" not in call(prompt, *LINE).stderr  # the same again goes on
    assert (prompt / "autoresearch.toml").read_text() == text


PROPOSER = """
def propose(folder):
    (folder / "prompt.txt").write_text("Hello there")
    return "greet"
"""


def test_one_line_writes_the_proposer_that_it_names_into_the_task(prompt: Path) -> None:
    (prompt / "mine.py").write_text(PROPOSER)
    repository(prompt)
    done = call(prompt, *LINE, "--proposer", "mine:propose")
    assert "greet (better)" in done.stdout
    assert 'kind = "mine:propose"' in (prompt / "autoresearch.toml").read_text()
    assert "in this session" not in done.stdout


def test_run_with_another_proposer_has_it_for_one_session(prompt: Path) -> None:
    (prompt / "mine.py").write_text(PROPOSER)
    repository(prompt)
    call(prompt, *LINE)
    before = (prompt / "autoresearch.toml").read_text()
    done = call(prompt, "run", "--new", "-n", "1", "--proposer", "mine:propose")
    assert 'in this session mine:propose proposes; to stay with it write kind = "mine:propose"' in done.stdout
    assert "greet (better)" in done.stdout
    assert (prompt / "autoresearch.toml").read_text() == before
    assert "unknown proposer 'claud'" in call(prompt, "run", "--new", "--proposer", "claud", code=2).stderr


def test_one_line_that_says_something_else_is_refused_by_key(prompt: Path) -> None:
    repository(prompt)
    call(prompt, *LINE)
    refused = call(prompt, "run", "--eval", "python other.py", "--minimize", "accuracy", code=2).stderr
    assert "evaluate.command: 'python eval.py' in the file, 'python other.py' given" in refused
    assert "metric.direction: 'maximize' in the file, 'minimize' given" in refused
    assert "task.editable" not in refused


def test_one_line_that_is_not_enough_is_refused(prompt: Path) -> None:
    repository(prompt)
    assert "are needed together" in call(prompt, "run", "--edit", "prompt.txt", code=2).stderr
    assert "autoresearch.toml" not in names(prompt)


def test_one_line_in_a_plain_folder_needs_a_yes(prompt: Path) -> None:
    assert "is no git repository" in call(prompt, *LINE, code=2).stderr
    assert "baseline 2 " in call(prompt, *LINE, "--yes").stdout


def test_one_line_finds_the_evaluator_that_git_does_not_know(prompt: Path) -> None:
    evaluator = (prompt / "eval.py").read_text()
    (prompt / "eval.py").unlink()
    repository(prompt)
    (prompt / "eval.py").write_text(evaluator)
    assert "baseline 2 " in call(prompt, *LINE).stdout
    assert load(prompt).evaluate.inputs == ["eval.py"]


def test_one_line_takes_what_the_tree_needs(prompt: Path) -> None:
    (prompt / "secret").write_text("12")
    (prompt / "eval.py").write_text("print('accuracy:', open('secret').read())\n")
    (prompt / ".gitignore").write_text("secret\n")
    repository(prompt)
    assert "baseline 12 " in call(prompt, *LINE, "--inputs", "secret", "--unit", "points").stdout
    assert load(prompt).metric.unit == "points"


# -- the documentation -------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "init.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
IN_TEXT = re.findall(r"`(autoresearch init --template [^`]+)`", PAGE)


def test_commands_of_the_page_do_what_it_says(prompt: Path) -> None:
    """Top to bottom in a folder that has what they name; each `init` finds no task file there but that of `--force`."""
    (prompt / "train.py").write_text(TRAIN)
    assert len(BLOCKS) == 5
    for line in "".join(BLOCKS).splitlines():
        program, *args = shlex.split(line, comments=True)
        assert program == "autoresearch"
        if "--maximize" in args or (args[0] == "init" and not {"--force", "list"} & set(args)):
            (prompt / "autoresearch.toml").unlink(missing_ok=True)
        if args == ["init"]:
            terminal = Terminal(prompt, *args)
            for question in (q for q in QUESTIONS if "git does not know" not in q):
                terminal.type(question, "n" if "git repository" in question else "")
            assert terminal.close() == 0, terminal.screen
        else:
            call(prompt, *args)
        if args[0] == "init" and "list" not in args:
            assert (load(prompt).metric.name, load(prompt).task.editable) == ("val_loss", ["train.py"])


@pytest.mark.parametrize("command", IN_TEXT)
def test_template_commands_of_the_page_write_a_task(command: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("PORT = 1\n")
    call(tmp_path, *shlex.split(command)[1:])
    assert load(tmp_path).task.editable


def test_page_has_every_template_and_every_flag() -> None:
    assert {command.split()[3] for command in IN_TEXT} == {*OFFLINE, "docker"}
    text = subprocess.run([*COMMAND, "init", "-h"], capture_output=True, text=True, check=True).stdout
    flags = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", text)) - {"--help", "--folder"}
    assert sorted(flag for flag in flags if f"`{flag}`" not in PAGE and f"{flag} " not in PAGE) == []
