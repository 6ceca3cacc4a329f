"""Codex (`codex`): https://developers.openai.com/codex

With a key it works in a new and empty CODEX_HOME. A subscription's folder is used in place, since its token is renewed there,
but what in it would tell the program anything is shown empty. Tokens are told answer by answer in its session's file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from autoresearch.proposers.faults import fault
from autoresearch.proposers.program import Call, Launch, Login, Transcript
from autoresearch.records import Usage
from autoresearch.taskfile import schema

_SERVER = "https://api.openai.com/v1"
_BLANK = (
    *("AGENTS.md", "AGENTS.override.md", "hooks", "hooks.json", "plugins", "prompts", "memories", "rules"),
    *("config.toml", "history.jsonl", "agents", "log"),
)
_FRESH = ("sessions", "shell_snapshots", "tmp")  # which it makes by itself where they are missing, as `skills`
_STATE = ".autoresearch-state"  # its databases, with what it remembers of earlier sessions
_OFF = ("plugins", "apps", "remote_plugin", "skill_search", "memories", "hooks")
_NONE = {"project_doc_max_bytes": 0, "web_search": "disabled", **{f"features.{name}": False for name in _OFF}}
_WAITS = 2  # times that it says it waits for a network, before it is ended: it would wait for ever
_SETTINGS = {
    "analytics.enabled": False,
    "check_for_update_on_startup": False,
    "approval_policy": "never",
    "allow_login_shell": False,  # whose PATH would not be ours
    "shell_environment_policy.exclude": ["*KEY*", "*TOKEN*", "*SECRET*"],
}


class Codex:
    """Its own sandbox is off inside ours, and on where `sandbox = "own"` asks for it, or where there is none of ours."""

    name: ClassVar[str] = "codex"
    keys: ClassVar[tuple[str, ...]] = ("OPENAI_API_KEY", "CODEX_API_KEY")
    provider: ClassVar[str] = "openai"
    model: ClassVar[str] = "gpt-6.1-sol"  # of the version that was tried
    tried: ClassVar[str] = "0.169.0"
    install: ClassVar[str] = "npm install -g @openai/codex"
    log_in: ClassVar[str] = "for a subscription run `codex login` once"
    beside: ClassVar[tuple[str, ...]] = ("turn_context", "token_usage_record")

    def config(self, environ: Mapping[str, str], home: Path) -> Login | None:
        folder = Path(environ.get("CODEX_HOME") or home / ".codex")
        fresh = tuple(folder / name for name in _FRESH)
        return Login(f"the key of {folder}", folders=(folder,), fresh=fresh) if folder.is_dir() else None

    def subscription(self, table: schema.Proposer, environ: Mapping[str, str], home: Path) -> Login | None:
        if (own := self.config(environ, home)) is None:
            return None
        folder = own.folders[0]
        try:
            tokens = bool(json.loads((folder / "auth.json").read_text()).get("tokens"))
        except (OSError, ValueError, AttributeError):
            return None
        own = replace(own, words=f"the {'subscription' if tokens else 'key'} of {folder}", subscription=tokens)
        if table.agent_config == "user":
            return own
        blank = (*(folder / name for name in _BLANK), *folder.glob("*.sqlite*"))
        return replace(own, blank=blank, fresh=(*own.fresh, folder / "skills"))

    def launch(self, call: Call) -> Launch:
        table, folders = call.table, call.login.folders
        own = table.sandbox == "own" or (table.sandbox == "auto" and not call.walled)
        settings: dict[str, Any] = {**_SETTINGS, **(_NONE if table.agent_config == "none" else {})}
        settings |= self._server(call) if table.base_url or call.login.variables or not folders else {}
        settings |= {"model_reasoning_effort": table.effort} if table.effort else {}
        settings |= {"sandbox_mode": "workspace-write"} if own else {}
        argv = ["codex", "exec", *(["resume"] if call.session else []), "--json", "--skip-git-repo-check"]
        argv += [] if own else ["--dangerously-bypass-approvals-and-sandbox"]
        argv += ["--ignore-user-config", "--ignore-rules"] if table.agent_config == "none" else []
        argv += ["-m", table.model] if table.model else []
        argv += [word for key, value in settings.items() for word in ("-c", f"{key}={json.dumps(value)}")]
        argv += [*table.args, *([call.session] if call.session else []), "-"]
        home = folders[0] if folders else call.home / ".codex"
        along = f"{'.fresh' if folders else '.codex'}/sessions/**/*.jsonl"
        env = {"CODEX_HOME": str(home), "CODEX_SQLITE_HOME": str(call.home / _STATE)}
        return Launch(tuple(argv), env, {f"{_STATE}/.made": "", **({} if folders else {".codex/.made": ""})}, along)

    @staticmethod
    def _server(call: Call) -> dict[str, Any]:
        """A provider of our own, which has its key from a variable; its retries end."""
        server = "model_providers.autoresearch"
        found: dict[str, Any] = {
            "model_provider": "autoresearch",
            f"{server}.name": "autoresearch",
            f"{server}.base_url": call.table.base_url or _SERVER,
            f"{server}.wire_api": "responses",
            f"{server}.request_max_retries": 2,
            f"{server}.stream_max_retries": 2,
            f"{server}.requires_openai_auth": bool(call.login.folders) and not call.login.variables,
        }
        return found | {f"{server}.env_key": name for name in call.login.variables}

    def read(self, event: Mapping[str, Any], seen: Transcript) -> None:
        kind, payload = event.get("type"), event.get("payload") or {}
        waits = seen.memory.pop("waits", 0)
        if kind == "thread.started":
            seen.session = event["thread_id"]
        elif kind == "turn_context":
            seen.model = seen.model or payload["model"]
        elif kind == "token_usage_record":
            seen.usage.pop("all", None)
            seen.usage[payload["response_id"]] = _usage(payload["usage"])
            seen.turns = len(seen.usage)
        elif kind == "item.completed":
            self._item(event["item"], seen)
        elif kind == "turn.completed":
            seen.final, seen.turns = "done", max(seen.turns, 1)
            if not seen.usage:
                seen.usage["all"] = _usage(event["usage"])
        elif kind == "turn.failed":
            seen.words = seen.words if seen.final else str(event["error"]["message"])
            seen.final = seen.final or fault(seen.words)
        elif kind == "error":
            self._error(str(event["message"]), waits, seen)

    @staticmethod
    def _error(words: str, waits: int, seen: Transcript) -> None:
        """It asks again by itself: for ever where there is no network, and after a rate limit at the time that it was told."""
        if "waiting for network" in words:
            seen.memory["waits"] = waits + 1
        if seen.memory.get("waits", 0) >= _WAITS or fault(words) == "rate_limit":
            seen.final, seen.words = fault(words), words

    @staticmethod
    def _item(item: Mapping[str, Any], seen: Transcript) -> None:
        if item["type"] == "agent_message":
            seen.text = item["text"]
        if item["type"] == "command_execution":
            seen.called("shell", item["command"])
        if item.get("status") == "declined":
            seen.denied.append(item["type"])

    def end(self, code: int | None, tail: str, seen: Transcript) -> None:
        """Its events say it all."""


def _usage(told: Mapping[str, int]) -> Usage:
    """Its input counts what came from a cache as well."""
    cached, written = told.get("cached_input_tokens", 0), told.get("cache_write_input_tokens", 0)
    return Usage(told["input_tokens"] - cached - written, cached, written, told["output_tokens"])
