"""What `skill install` writes reaches the model of each real agent program, and `skill remove` ends that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.agents.model_server import ModelServer
from tests.agents.runs import KEY, MODELS, PROGRAMS, need
from tests.agents.script import call, say, script, shell
from tests.conftest import TASK, git

from autoresearch.skill import page

PROMPT = "Have a look at program.md and kick off."
ASIDE = ("features.plugins=false", "features.apps=false", "features.remote_plugin=false", "analytics.enabled=false")
READS_GUIDES = ("codex", "opencode", "pi")
SEES_TOOL = {"claude": ("Skill", "skill"), "gemini": ("activate_skill", "name"), "opencode": ("skill", "name")}
"""By what tool, and what argument of it, a program lets its model have a skill; the others read the file."""
RIPGREP = PROGRAMS.parent / "@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/codex-path"
"""OpenCode's tool needs ripgrep, and would get one from the network; Codex brings one along."""


@dataclass
class Seat:
    """A user's project and home, and a program that he starts in it.

    Attributes:
        moved: variables that say where a program's own folders are.
    """

    top: Path
    program: str
    server: ModelServer
    moved: Mapping[str, str] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        return self.top / "project"

    @property
    def home(self) -> Path:
        return self.top / "home"

    @property
    def env(self) -> dict[str, str]:
        env = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG") if name in os.environ}
        env |= {
            "HOME": str(self.home),
            "TMPDIR": str(self.top / "tmp"),
            "PATH": f"{PROGRAMS}:{RIPGREP}:{env['PATH']}",
            "TERM": "dumb",
        }
        env |= {"HTTPS_PROXY": self.server.url, "HTTP_PROXY": self.server.url, "NO_PROXY": "127.0.0.1,localhost"}
        return env | {name: str(self.home / path) for name, path in self.moved.items()}

    def lay_out(self) -> None:
        for folder in (self.project, self.home, self.top / "tmp"):
            folder.mkdir(parents=True)
        (self.project / "autoresearch.toml").write_text(TASK)
        git(self.project, "init", "-q")

    def skill(self, *args: str) -> list[dict[str, Any]]:
        """`autoresearch skill ARGS --json`, as the user types it."""
        argv = [sys.executable, "-m", "autoresearch", "skill", *args, "--json"]
        done = subprocess.run(argv, cwd=self.project, env=self.env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        return rows

    def ask(self, inside: str = ".") -> list[dict[str, Any]]:
        """Start the program with a prompt, in a folder of the project; gives what its model was asked in the meantime."""
        before = len(self.server.calls())
        argv, env = _START[self.program](self)
        done = subprocess.run(
            argv,
            cwd=self.project / inside,
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return self.server.calls()[before:]


def _claude(seat: Seat) -> tuple[list[str], dict[str, str]]:
    quiet = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}
    env = {"ANTHROPIC_BASE_URL": seat.server.url, "ANTHROPIC_API_KEY": KEY, **quiet}
    return ["claude", "-p", "--model", MODELS["claude"], "--allowedTools", "Skill", "--", PROMPT], env


def _codex(seat: Seat) -> tuple[list[str], dict[str, str]]:
    wire = f'model_providers.scripted={{name="scripted",base_url="{seat.server.url}/v1",env_key="KEY",wire_api="responses"}}'
    settings = ('model_provider="scripted"', wire, *ASIDE, "check_for_update_on_startup=false")
    flags = [part for setting in settings for part in ("-c", setting)]
    return ["codex", "exec", "--json", "-m", MODELS["codex"], "-s", "danger-full-access", *flags, PROMPT], {"KEY": KEY}


def _gemini(seat: Seat) -> tuple[list[str], dict[str, str]]:
    home = Path(seat.env.get("GEMINI_CLI_HOME", seat.home))
    quiet = {"telemetry": {"enabled": False}, "privacy": {"usageStatisticsEnabled": False}}
    settings = {"security": {"auth": {"selectedType": "gemini-api-key"}}, "general": {"enableAutoUpdate": False}, **quiet}
    (home / ".gemini").mkdir(parents=True, exist_ok=True)
    (home / ".gemini/settings.json").write_text(json.dumps(settings))
    env = {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": seat.server.url}
    env |= {"GEMINI_CLI_TRUST_WORKSPACE": "true", "GEMINI_CLI_NO_RELAUNCH": "true"}
    return ["gemini", "-m", MODELS["gemini"], "--approval-mode", "yolo", "-p", PROMPT], env


def _opencode(seat: Seat) -> tuple[list[str], dict[str, str]]:
    models = {"scripted": {"name": "scripted", "limit": {"context": 200_000, "output": 8000}}}
    options = {"baseURL": f"{seat.server.url}/v1", "apiKey": KEY}
    provider = {"npm": "@ai-sdk/openai-compatible", "name": "Scripted", "options": options, "models": models}
    config = {"model": "scripted/scripted", "small_model": "scripted/scripted", "provider": {"scripted": provider}}
    env = {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1"}
    return ["opencode", "run", "--auto", PROMPT], env | {"OPENCODE_CONFIG_CONTENT": json.dumps(config)}


def _pi(seat: Seat) -> tuple[list[str], dict[str, str]]:
    provider = {"baseUrl": f"{seat.server.url}/v1", "api": "openai-completions", "apiKey": KEY, "models": [{"id": "scripted"}]}
    (seat.home / ".pi/agent").mkdir(parents=True, exist_ok=True)
    (seat.home / ".pi/agent/models.json").write_text(json.dumps({"providers": {"scripted": provider}}))
    argv = ["pi", "-p", "--provider", "scripted", "--model", "scripted", PROMPT]
    return argv, {"PI_OFFLINE": "1", "PI_TELEMETRY": "0"}


_START: dict[str, Callable[[Seat], tuple[list[str], dict[str, str]]]] = {
    "claude": _claude,
    "codex": _codex,
    "gemini": _gemini,
    "opencode": _opencode,
    "pi": _pi,
}


@pytest.fixture
def seat_of(tmp_path: Path) -> Iterator[Callable[..., Seat]]:
    seats: list[Seat] = []

    def make(program: str, steps: Sequence[Any] = (say("ok"),), moved: Mapping[str, str] | None = None) -> Seat:
        need(program)
        top = tmp_path / uuid.uuid4().hex
        seat = Seat(top, program, ModelServer(top / "server", script(otherwise=steps)), moved or {})
        seats.append(seat)
        seat.lay_out()
        return seat

    yield make
    for seat in seats:
        seat.server.kill()


def told(calls: Sequence[Mapping[str, Any]]) -> str:
    """All that the model was given to read."""
    return "\n".join(part for c in calls for part in (c["system"], *c["users"], *map(_read, c["results"])))


def _read(result: str) -> str:
    """A tool's result; some programs send it as JSON."""
    try:
        values = json.loads(result)
    except ValueError:
        return result
    return "\n".join(map(str, values.values())) if isinstance(values, dict) else result


def plain(text: str) -> str:
    """Without the signs that some programs write otherwise."""
    return " ".join(text.replace("`", "").replace("&lt;", "<").replace("&gt;", ">").split())


@pytest.mark.parametrize("program", MODELS)
def test_model_hears_of_the_skill_until_it_is_removed(program: str, seat_of: Callable[..., Seat]) -> None:
    seat = seat_of(program)
    before = told(seat.ask())
    assert PROMPT in before
    assert plain(page.description()) not in plain(before)
    for level in ("--project", "--user"):
        seat.skill("install", "--for", program, level)
        assert plain(page.description()) in plain(told(seat.ask())), level
        seat.skill("remove", level)
    assert plain(page.description()) not in plain(told(seat.ask()))


@pytest.mark.parametrize("program", MODELS)
def test_model_that_wants_the_skill_gets_the_whole_page(program: str, seat_of: Callable[..., Seat]) -> None:
    tool, argument = SEES_TOOL.get(program, ("", ""))
    wanted = call(tool, **{argument: page.NAME}) if tool else shell(f"cat .agents/skills/{page.NAME}/SKILL.md")
    seat = seat_of(program, [wanted, say("ok")])
    seat.skill("install", "--for", program)
    seen = plain(told(seat.ask()))
    missing = [line for line in page.body().splitlines() if plain(line) not in seen]
    assert missing == []


MOVED = {
    "claude": {"CLAUDE_CONFIG_DIR": "elsewhere"},
    "codex": {"CODEX_HOME": "elsewhere"},
    "gemini": {"GEMINI_CLI_HOME": "elsewhere"},
    "opencode": {"XDG_CONFIG_HOME": "elsewhere"},
}


@pytest.mark.parametrize("program", MOVED)
def test_user_whose_folders_are_elsewhere_is_served(program: str, seat_of: Callable[..., Seat]) -> None:
    seat = seat_of(program, moved=MOVED[program])
    (seat.home / "elsewhere").mkdir()
    seat.skill("install", "--for", program, "--user")
    assert plain(page.description()) in plain(told(seat.ask()))


@pytest.mark.parametrize("program", MODELS)
def test_all_but_gemini_find_it_from_a_folder_below(program: str, seat_of: Callable[..., Seat]) -> None:
    seat = seat_of(program)
    (seat.project / "deep").mkdir()
    seat.skill("install", "--for", program)
    assert (plain(page.description()) in plain(told(seat.ask("deep")))) == (program != "gemini")


@pytest.mark.parametrize("program", READS_GUIDES)
def test_block_in_agents_md_is_read_whole(program: str, seat_of: Callable[..., Seat]) -> None:
    seat = seat_of(program)
    (seat.project / "AGENTS.md").write_text("House rule: be kind.\n")
    seat.skill("install", "--for", "agents-md")
    seen = plain(told(seat.ask()))
    assert "House rule: be kind." in seen
    assert [line for line in page.body().splitlines() if plain(line) not in seen] == []
    seat.skill("remove")
    assert "autoresearch try" not in told(seat.ask())


def test_opencode_hears_of_it_once_where_all_five_are_served(seat_of: Callable[..., Seat]) -> None:
    seat = seat_of("opencode")
    seat.skill("install", *(f"--for={name}" for name in MODELS))
    (first, *_) = [c for c in seat.ask() if c["tools"]]
    assert plain(first["system"]).count(plain(page.description())) == 1
