"""Gemini CLI (`gemini` of @google/gemini-cli): its launch, events, usage and errors.

Its events tell no usage before the last one; its record of the session does, answer by answer, and is read along. Its own
search for loops is off: it costs answers that are not told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from autoresearch.errors import SetupError
from autoresearch.proposers.faults import fault
from autoresearch.proposers.program import Call, Launch, Login, Transcript
from autoresearch.records import Usage
from autoresearch.taskfile import schema

_POLICY = """\
[[rule]]
toolName = ["web_fetch", "google_web_search", "save_memory", "invoke_agent", "enter_plan_mode", "activate_skill"]
decision = "deny"
priority = 900
"""
_SETTINGS: dict[str, Any] = {
    "security": {"auth": {"selectedType": "gemini-api-key"}},
    "telemetry": {"enabled": False},
    "privacy": {"usageStatisticsEnabled": False},
    "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False, "maxAttempts": 3, "retryFetchErrors": True},
    "context": {"fileName": ["none.of.them.md"]},
    "hooksConfig": {"enabled": False},
    "experimental": {"enableAgents": False},
}
"""Nobody but the model's server is asked; no hooks, no memory, no sub-agents, whose answers nobody would count."""
_ENV = {"NO_COLOR": "1", "GEMINI_CLI_TRUST_WORKSPACE": "true", "GEMINI_CLI_NO_RELAUNCH": "true"}  # a parent keeps signals
_BUDGETS = {"low": 1024, "medium": 8192, "high": 24576}  # tokens of thought, of models before the third generation


class Gemini:
    name: ClassVar[str] = "gemini"
    keys: ClassVar[tuple[str, ...]] = ("GEMINI_API_KEY",)
    provider: ClassVar[str] = "google"
    model: ClassVar[str] = "gemini-2.5-pro"
    tried: ClassVar[str] = "0.61.0"
    install: ClassVar[str] = "npm install -g @google/gemini-cli"
    log_in: ClassVar[str] = 'log in with `gemini` and set [proposer] agent_config = "user"'
    beside: ClassVar[tuple[str, ...]] = ("gemini",)

    def config(self, environ: Mapping[str, str], home: Path) -> Login | None:
        folder = Path(environ.get("GEMINI_CLI_HOME") or home) / ".gemini"
        login = Login(f"the Google account of {folder}", True, folders=(folder,), fresh=(folder / "tmp", folder / "history"))
        return login if folder.is_dir() else None

    def subscription(self, table: schema.Proposer, environ: Mapping[str, str], home: Path) -> Login | None:
        own = self.config(environ, home) if table.agent_config == "user" else None  # it lies in the same folder
        return own if own and (own.folders[0] / "oauth_creds.json").is_file() else None

    def launch(self, call: Call) -> Launch:
        table, folders = call.table, call.login.folders
        argv = [self.name, "--output-format", "stream-json", "--approval-mode", "yolo", "--model", table.model or self.model]
        argv += ["--resume", call.session] if call.session else []
        env: dict[str, str | None] = {**_ENV, "GOOGLE_GEMINI_BASE_URL": table.base_url or None}
        if not call.login.subscription:
            env["GEMINI_API_KEY"] = next(iter(call.login.variables.values()), "none")
        if folders:
            env["GEMINI_CLI_HOME"] = str(folders[0].parent)
            return Launch((*argv, *table.args), env, along=".fresh/tmp/*/chats/session-*.jsonl")
        argv += ["--policy", str(call.home / ".gemini/policy.toml")]
        files = {".gemini/settings.json": json.dumps(self._settings(call)), ".gemini/policy.toml": _POLICY}
        return Launch((*argv, *table.args), env, files, along=".gemini/tmp/*/chats/session-*.jsonl")

    def _settings(self, call: Call) -> dict[str, Any]:
        settings: dict[str, Any] = {**_SETTINGS, "model": {"maxSessionTurns": call.turns, "disableLoopDetection": True}}
        if call.table.effort:
            config = {"generateContentConfig": {"thinkingConfig": self._thinking(call.table)}}
            one = {"match": {"model": call.table.model or self.model}, "modelConfig": config}
            settings["modelConfigs"] = {"customOverrides": [one]}
        return settings

    def _thinking(self, table: schema.Proposer) -> dict[str, Any]:
        if table.effort not in _BUDGETS:
            raise SetupError(f'[proposer] effort = "{table.effort}": gemini takes {", ".join(_BUDGETS)}')
        level, budget = {"thinkingLevel": table.effort.upper()}, {"thinkingBudget": _BUDGETS[table.effort]}
        return budget if "gemini-2" in (table.model or self.model) else level

    def read(self, event: Mapping[str, Any], seen: Transcript) -> None:
        match event.get("type"):
            case "init":
                seen.session, seen.model, seen.memory["began"] = event["session_id"], event["model"], event["timestamp"]
            case "message" if event["role"] == "assistant":
                seen.text = seen.memory["said"] = seen.memory.get("said", "") + event["content"]
            case "tool_use":
                seen.memory |= {"said": "", event["tool_id"]: event["tool_name"]}
                seen.called(event["tool_name"], event["parameters"])
            case "tool_result" if event["status"] == "error" and "denied" in f"{event.get('error')} {event.get('output')}":
                seen.denied.append(seen.memory.get(event["tool_id"], "a tool"))
            case "error":
                seen.words = event["message"]
            case "result":
                _end(event, seen)
            case "gemini":
                _answer(event, seen)

    def end(self, code: int | None, tail: str, seen: Transcript) -> None:
        if not seen.final and code == 41:
            seen.final, seen.words = "key", tail


def _end(event: Mapping[str, Any], seen: Transcript) -> None:
    _total(event.get("stats", {}), seen)
    if event["status"] == "success" or seen.final == "loop":
        seen.final = seen.final or "done"
    elif (error := event.get("error")) is None:
        seen.final = seen.final or "cut"
    else:
        seen.words = error["message"]
        seen.final = "turns" if "TurnLimit" in error["type"] else fault(seen.words)


def _answer(event: Mapping[str, Any], seen: Transcript) -> None:
    """One answer in the record of the session, which also holds those of earlier calls in it."""
    if event["timestamp"] < seen.memory["began"]:
        return
    told = event["tokens"]
    fresh = told["input"] + told["tool"] - told["cached"]
    usage = Usage(input=fresh, cached=told["cached"], output=told["output"] + told["thoughts"])
    seen.memory.setdefault("answers", {})[event["id"]] = usage
    seen.model = event.get("model") or seen.model
    _add_up(seen)


def _total(stats: Mapping[str, Any], seen: Transcript) -> None:
    """What the last event says of the whole call."""
    taken, cached, total = (stats.get(name, 0) for name in ("input_tokens", "cached", "total_tokens"))
    seen.memory["whole"] = Usage(input=taken - cached, cached=cached, output=total - taken)
    _add_up(seen)


def _add_up(seen: Transcript) -> None:
    """Answer by answer, unless the whole call took more than these."""
    answers: dict[str, Usage] = seen.memory.get("answers", {})
    whole = seen.memory.get("whole", Usage())
    seen.usage = dict(answers) if whole.tokens <= sum(u.tokens for u in answers.values()) else {"the whole call": whole}
    seen.turns = max(len(answers), len(seen.usage))
