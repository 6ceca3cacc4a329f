"""Fixtures of all tests: projects in awkward folders, a guard over the user's repository, runs in this process."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import signal
import socket
import subprocess
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import hypothesis
import pytest

from autoresearch.books import Parts
from autoresearch.budget import Ending
from autoresearch.choice import Wish
from autoresearch.history import History
from autoresearch.project import Project
from autoresearch.records import ChainedEvent
from autoresearch.session import Session
from autoresearch.testing import Patch, Scripted

hypothesis.settings.register_profile("any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("any machine")  # a machine that is busy with something else makes no test fail

EVALUATE = """\
import json, os, pathlib
value = float(pathlib.Path("knob.txt").read_text())
print(f"score: {value}")
"""

TASK = """\
[task]
name = "toy"
editable = ["knob.txt", "extra/**"]

[evaluate]
command = "python evaluate.py"

[metric]
name = "score"
direction = "minimize"
"""


_SECRET = re.compile(r"_API_KEY$|_AUTH_TOKEN$|_OAUTH_TOKEN$|^HF_TOKEN$|^AWS_|^GOOGLE_APPLICATION_CREDENTIALS$")


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C, and so would all that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def git(folder: Path, *args: str, **options: Any) -> str:
    """Run git as a user would, with a fixed identity."""
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ["-c", "user.name=Owner", "-c", "user.email=owner@example.org"]
    result = subprocess.run(
        ["git", *identity, *args], cwd=folder, env=env, capture_output=True, text=True, check=True, **options
    )
    return result.stdout


def fingerprint(folder: Path) -> dict[str, Any]:
    """Everything of a user's repository that must stay: index, HEAD, config, stash, refs and all files, byte-wise.

    Ours are left out: `.autoresearch/`, `refs/autoresearch/**`, `refs/heads/autoresearch/**`, and objects.
    """
    top = Path(git(folder, "rev-parse", "--show-toplevel").strip())
    files: dict[str, Any] = {}
    for root, folders, names in os.walk(top):
        folders[:] = [f for f in folders if f != ".autoresearch" and not (f == "objects" and root.endswith(".git"))]
        for name in names:
            path = Path(root) / name
            inside = str(path.relative_to(top))
            if inside.startswith((".git/refs/autoresearch", ".git/refs/heads/autoresearch", ".git/packed-refs")):
                continue
            stat = path.lstat()
            body = os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).digest()
            files[inside] = (stat.st_mode, body, stat.st_mtime_ns)
    refs = [line for line in git(folder, "for-each-ref").splitlines() if "refs/autoresearch/" not in line]
    refs = [line for line in refs if "refs/heads/autoresearch/" not in line]
    return {"files": files, "refs": refs, "head": git(folder, "rev-parse", "HEAD"), "stash": git(folder, "stash", "list")}


@dataclass
class Toy:
    """A user's project with a guard over it.

    Attributes:
        folder: the project's folder (may lie in a sub-folder of its repository).
        known: the fingerprint that must still hold at the end; None after `moved()`.
    """

    folder: Path
    known: dict[str, Any] | None = None
    events: list[ChainedEvent] = field(default_factory=list)

    @property
    def project(self) -> Project:
        return Project(self.folder)

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())

    def commit(self, message: str = "change") -> str:
        git(self.folder, "add", "-A", ".")
        git(self.folder, "commit", "-q", "--allow-empty", "-m", message)
        self.moved()
        return git(self.folder, "rev-parse", "HEAD").strip()

    def moved(self) -> None:
        """The user himself changed something: guard what is there now."""
        self.known = fingerprint(self.folder)

    def check_untouched(self) -> None:
        assert self.known is not None
        now = fingerprint(self.folder)
        assert now["files"].keys() == self.known["files"].keys()
        changed = [name for name in now["files"] if now["files"][name] != self.known["files"][name]]
        assert changed == []
        assert {k: now[k] for k in ("refs", "head", "stash")} == {k: self.known[k] for k in ("refs", "head", "stash")}

    def run(
        self,
        patches: Sequence[Patch] | Callable[..., Patch] | None = None,
        *,
        wish: Wish | None = None,
        watch: Callable[[str, Mapping[str, Any]], None] = lambda what, details: None,
        parts: Callable[[Parts], Parts] = lambda parts: parts,
        ready: Callable[[Any], None] = lambda loop: None,
        run: str | None = None,
    ) -> Ending:
        """A session of a run in this process; with `patches` by the scripted proposer."""

        def prepare(loop: Any) -> None:
            changed = loop.parts
            if patches is not None:
                scripted: dict[str, Any] = {"proposer": Scripted(patches), "mix": {}}
                changed = Parts(**{name: getattr(changed, name) for name in Parts.__slots__} | scripted)
            changed = parts(changed)
            loop.parts = loop.books.parts = changed
            ready(loop)

        def seen(what: str, details: Mapping[str, Any]) -> None:
            if isinstance(details.get("event"), ChainedEvent):
                self.events.append(details["event"])
            watch(what, details)

        with Session(self.project, wish or Wish(name=run)) as session:
            session.pictures = False
            return anyio.run(session.work, seen, prepare)

    def run_interrupted(self, patches: Sequence[Patch], *, wish: Wish) -> None:
        """A session that is stopped after the verdict on the last of the patches: nothing is compared at its end."""
        loops: list[Any] = []

        def stop_after_last(what: str, details: Mapping[str, Any]) -> None:
            if what == "decided" and details["n"] == len(patches):
                loops[0].stop(Ending("stopped", "stopped on request"))

        self.run(patches, wish=wish, watch=stop_after_last, ready=loops.append)

    def history(self, run: str | None = None) -> History:
        ledger = self.project.ledger(read_only=True)
        history = ledger.history(self.project.pick(ledger, run).run)
        ledger.close()
        return history

    def git(self, *args: str) -> str:
        return git(self.folder, *args)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def machine_locks(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Locks of the test's own: tests that run beside it do not wait for it, nor do runs on this machine."""
    folder = tmp_path_factory.mktemp("locks")
    monkeypatch.setenv("AUTORESEARCH_LOCKS", str(folder))
    monkeypatch.delenv("AUTORESEARCH_ID", raising=False)
    return folder


@pytest.fixture(autouse=True)
def machine_to_itself(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A test with the mark `alone` measures times: no test of another process that runs tests goes on beside it.

    Two locks, as in `exclusive.py`: who wants to be alone keeps the door shut for those that come later.
    """
    parts = tmp_path_factory.getbasetemp()
    folder = parts.parent if os.environ.get("PYTEST_XDIST_WORKER") else parts
    how = fcntl.LOCK_EX if request.node.get_closest_marker("alone") else fcntl.LOCK_SH
    with open(folder / "door", "a") as door, open(folder / "room", "a") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, how)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield


@pytest.fixture(autouse=True)
def no_paid_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test can call a paid model: no program it starts finds a key, and this process connects to this machine alone."""
    for name in [name for name in os.environ if _SECRET.search(name)]:
        monkeypatch.delenv(name)
    connect = socket.socket.connect

    def refuse_others(self: socket.socket, address: Any) -> None:
        host = str(address[0]) if self.family in (socket.AF_INET, socket.AF_INET6) else "localhost"
        if host not in ("localhost", "::1") and not host.startswith("127."):
            self.close()
            raise AssertionError(f"a test would have called {host}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse_others)


@pytest.fixture
def no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests whose evaluations count, wait or fail by files outside their trees, which a sandbox would not show them."""
    monkeypatch.setenv("AUTORESEARCH_SANDBOX", "off")


@pytest.fixture(params=["plain", "awk ward 'q\"ö"])
def awkward(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A plain folder, and one with spaces, quotes and unicode in its path."""
    folder = tmp_path / request.param
    folder.mkdir()
    return folder


@pytest.fixture
def make_toy(tmp_path: Path) -> Iterator[Callable[..., Toy]]:
    """Build toy projects; at the end of the test each user's repository has to be as the test left it."""
    made: list[Toy] = []

    def make(
        files: Mapping[str, str | bytes] | None = None, *, folder: Path | None = None, inside: str = "", task: str = TASK
    ) -> Toy:
        top = folder or tmp_path / f"user-{len(made)}"
        top.mkdir(parents=True, exist_ok=True)
        git(top, "init", "-q", "-b", "main")
        toy = Toy(top / inside if inside else top)
        toy.folder.mkdir(parents=True, exist_ok=True)
        toy.write(
            {"knob.txt": "10\n", "evaluate.py": EVALUATE, "autoresearch.toml": task, ".gitignore": "*.tmp\n", **(files or {})}
        )
        toy.commit("start")
        made.append(toy)
        return toy

    yield make
    for toy in made:
        toy.check_untouched()


@pytest.fixture
def toy(make_toy: Callable[..., Toy]) -> Toy:
    """The usual toy: `knob.txt` holds a number, the score is that number, lower is better."""
    return make_toy()
