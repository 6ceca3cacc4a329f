"""A user who lets an agent program drive: the program in the user's own project, with our tools, as its user sets it up.

Nothing of the harness starts the programs here. Each has a HOME of its own with its configuration, the scripted model as its
provider, and our MCP server as `autoresearch mcp --config` tells to write it; pi has a shell.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.agents.runs import KEY, MODELS, Scene

PROMPT = "Read program.md and kick off."
SESSIONS = r"(kick off again|kick off)"
"""By what the user says a script knows its session."""

EVALUATE = """\
import pathlib, time
value = float(pathlib.Path("knob.txt").read_text())
time.sleep({slow})
print("score:", value)
"""
_TASK = """\
[task]
name = "toy"
editable = ["knob.txt", "extra/**"]

[evaluate]
command = "python evaluate.py"

[metric]
name = "score"
direction = "minimize"

[budget]
experiments = {experiments}
{task}
"""
_OPENCODE_OFF = ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS")
_SERVED = {
    "claude": ".mcp.json",
    "codex": ".codex/config.toml",
    "gemini": ".gemini/settings.json",
    "opencode": "opencode.json",
}
"""Where each reads of our server: in the project's folder, codex in HOME."""
_ALLOWED = ("mcp__autoresearch", "Bash(git restore:*)", "Bash(autoresearch:*)", "Bash(echo:*)", "Bash(rm:*)")


class Driver(Scene):
    """One project in which an agent program is started by its user.

    Args:
        model: that of the program's user, where it is not the usual one.
        task: further lines of the task file.
        slow: seconds that an evaluation takes, as a Python expression of `value`.
    """

    def __init__(
        self,
        top: Path,
        program: str,
        script: Mapping[str, Any],
        *,
        model: str = "",
        experiments: int = 5,
        task: str = "",
        slow: str = "0",
    ) -> None:
        super().__init__(top, program, script)
        self.model = model or MODELS[program]
        files = {"knob.txt": "10\n", "evaluate.py": EVALUATE.format(slow=slow), "program.md": "Make the score lower.\n"}
        self._lay_out(files | {"autoresearch.toml": _TASK.format(experiments=experiments, task=task)})
        self._write(top / "home", _home(self))
        if program in _SERVED:
            self._serve()

    def _serve(self) -> None:
        """Put what `autoresearch mcp --config` prints where it says."""
        place = _SERVED[self.program]
        top = self.top / "home" if self.program == "codex" else self.folder
        before = (top / place).read_text() if (top / place).exists() else ""
        self._write(top, {place: before + self.say("mcp", "--config", self.program)})

    @property
    def env(self) -> dict[str, str]:
        bin_folder = self.top / "bin"
        if not bin_folder.exists():  # as an installed command
            bin_folder.mkdir()
            command = bin_folder / "autoresearch"
            command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m autoresearch "$@"\n')
            command.chmod(0o755)
        env = super().env | _variables(self)
        (self.top / "tmp").mkdir(exist_ok=True)  # not around HOME, where codex puts helpers of its sandbox
        return env | {"PATH": f"{bin_folder}:{env['PATH']}", "TMPDIR": str(self.top / "tmp")}

    def start(self, prompt: str = PROMPT) -> subprocess.Popen[str]:
        """The program, as its user would start it, in the background."""
        return self._start(_argv(self.program, self.model), words=f"{prompt}\n")

    def drive(self, prompt: str = PROMPT, *, limit_s: float = 300) -> int:
        """A whole session; gives its exit code."""
        process = self.start(prompt)
        try:
            return process.wait(limit_s)
        finally:
            process.kill()
            process.wait()

    def say(self, *args: str) -> str:
        """What a command of ours prints for the user."""
        argv = [sys.executable, "-m", "autoresearch", *args]
        return subprocess.run(argv, cwd=self.folder, env=self.env, capture_output=True, text=True, check=True).stdout


# -- how each is started and set up --------------------------------------------------------------------------------------


def _argv(program: str, model: str) -> list[str]:
    match program:
        case "claude":
            words = "claude -p --output-format stream-json --verbose --permission-mode acceptEdits --max-turns 60 --model"
            return [*words.split(), model, "--allowedTools", *_ALLOWED]
        case "codex":
            return ["codex", "exec", "--json", "--model", model, "--sandbox", "workspace-write", "-"]
        case "gemini":
            return ["gemini", "--output-format", "stream-json", "--approval-mode", "yolo", "--model", model]
        case "opencode":
            return ["opencode", "run", "--format", "json", "--auto", "--title", "kick off", "--model", model]
        case _:
            return ["pi", "--print", "--mode", "json", "--provider", "openai", "--model", model.partition("/")[2]]


def _variables(driver: Driver) -> dict[str, str]:
    """What the user's shell has for a program."""
    match driver.program:
        case "claude":
            quiet = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}
            return quiet | {"ANTHROPIC_BASE_URL": driver.url, "ANTHROPIC_API_KEY": KEY}
        case "gemini":
            quiet = {"GEMINI_CLI_TRUST_WORKSPACE": "true", "GEMINI_CLI_NO_RELAUNCH": "true", "NO_COLOR": "1"}
            return quiet | {"GOOGLE_GEMINI_BASE_URL": driver.url, "GEMINI_API_KEY": KEY}
        case "opencode":
            return {f"OPENCODE_DISABLE_{name}": "1" for name in _OPENCODE_OFF}
        case "pi":
            return {"PI_OFFLINE": "1", "PI_TELEMETRY": "0"}
        case _:
            return {}


def _home(driver: Driver) -> dict[str, str]:
    """The user's configuration of a program, in HOME: its provider, and our server."""
    openai = {"options": {"apiKey": KEY, "baseURL": driver.url}}
    match driver.program:
        case "claude":
            return {}
        case "codex":
            return {".codex/config.toml": _CODEX.format(url=driver.url)}
        case "gemini":
            return {".gemini/settings.json": json.dumps(_GEMINI)}
        case "opencode":
            config = {"autoupdate": False, "share": "disabled", "small_model": MODELS["opencode"]}
            return {".config/opencode/opencode.json": json.dumps(config | {"provider": {"openai": openai}})}
        case _:
            return {".pi/agent/models.json": json.dumps({"providers": {"openai": {"apiKey": KEY, "baseUrl": driver.url}}})}


_GEMINI: dict[str, Any] = {
    "security": {"auth": {"selectedType": "gemini-api-key"}},
    "telemetry": {"enabled": False},
    "privacy": {"usageStatisticsEnabled": False},
    "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
}
_CODEX = """\
model_provider = "scripted"
check_for_update_on_startup = false

[model_providers.scripted]
name = "scripted"
base_url = "{url}"
env_key = "SCRIPTED_KEY"
wire_api = "responses"

[analytics]
enabled = false

[features]
plugins = false
apps = false
remote_plugin = false

"""
