"""pi: its launch, events, usage and errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from autoresearch.errors import SetupError
from autoresearch.proposers.faults import fault
from autoresearch.proposers.program import Call, Launch, Login, Transcript
from autoresearch.proposers.providers import KEYS, keys_of, provider_of
from autoresearch.records import Usage
from autoresearch.taskfile import schema

_EFFORTS = ("off", "minimal", "low", "medium", "high", "xhigh")


class Pi:
    """`pi` of @mariozechner/pi-coding-agent."""

    name: ClassVar[str] = "pi"
    keys: ClassVar[tuple[str, ...]] = tuple(KEYS.values())
    keys_of = staticmethod(keys_of)
    provider: ClassVar[str] = ""
    model: ClassVar[str] = ""
    tried: ClassVar[str] = "0.73.1"
    install: ClassVar[str] = "npm install -g @mariozechner/pi-coding-agent"
    log_in: ClassVar[str] = 'log in with `pi` and /login, and set [proposer] agent_config = "user"'

    def config(self, environ: Mapping[str, str], home: Path) -> Login | None:
        folder = Path(environ.get("PI_CODING_AGENT_DIR") or home / ".pi" / "agent")
        login = Login(f"the log-ins of {folder}", True, folders=(folder,), fresh=(folder / "sessions",))
        return login if folder.is_dir() else None

    def subscription(self, table: schema.Proposer, environ: Mapping[str, str], home: Path) -> Login | None:
        """What `/login` left: only with the user's own configuration, which lies in the same folder."""
        own = self.config(environ, home) if table.agent_config == "user" else None
        return own if own is not None and (own.folders[0] / "auth.json").is_file() else None

    def launch(self, call: Call) -> Launch:
        table, own = call.table, not call.login.folders
        provider, model = provider_of(self.name, table)
        argv = [self.name, "--print", "--mode", "json", "--provider", provider, "--model", model]
        if table.effort and table.effort not in _EFFORTS:
            raise SetupError(f'[proposer] effort = "{table.effort}": pi takes {", ".join(_EFFORTS)}')
        argv += ["--thinking", table.effort] if table.effort else []
        argv += ["--session", call.session] if call.session else [] if call.lasting else ["--no-session"]
        if own:
            argv += ["--no-extensions", "--no-skills", "--no-prompt-templates", "--no-themes", "--no-context-files"]
        env: dict[str, str | None] = {"PI_OFFLINE": "1", "PI_TELEMETRY": "0"}
        env["PI_CODING_AGENT_DIR"] = None if own else str(call.login.folders[0])
        return Launch((*argv, *table.args), env, self._files(call, provider, model) if own else {})

    def _files(self, call: Call, provider: str, model: str) -> dict[str, str]:
        table = call.table
        key = next(iter(call.login.variables), "none")  # pi looks a variable of that name up
        entry: dict[str, Any] = {"apiKey": key}
        if table.base_url:
            entry["baseUrl"] = table.base_url
        if provider not in KEYS:
            compatible = {"supportsDeveloperRole": False}
            entry |= {
                "api": "openai-completions",
                "models": [{"id": model, "reasoning": bool(table.effort)}],
                "compat": compatible,
            }
        retry = {"enabled": True, "maxRetries": 2, "baseDelayMs": 2000, "provider": {"maxRetries": 0, "maxRetryDelayMs": 20000}}
        settings = {"retry": retry, "enableInstallTelemetry": False}
        return {
            ".pi/agent/models.json": json.dumps({"providers": {provider: entry}}),
            ".pi/agent/settings.json": json.dumps(settings),
        }

    def read(self, event: Mapping[str, Any], seen: Transcript) -> None:
        match event.get("type"):
            case "session":
                seen.session = event["id"]
            case "message_end" if event["message"]["role"] == "assistant":
                _answer(event["message"], seen)
            case "tool_execution_start":
                seen.called(event["toolName"], event["args"])
            case "auto_retry_start":
                seen.memory["error"] = ""
            case "auto_retry_end" if not event["success"]:
                seen.words = event["finalError"]
                seen.final = fault(seen.words)

    def end(self, code: int | None, tail: str, seen: Transcript) -> None:
        """It ends with 0 on any error; and one that it does not try again is only known to be the last at the end."""
        if seen.final in ("", "done") and seen.memory.get("error"):
            seen.words = seen.memory["error"]
            seen.final = fault(seen.words)


def _answer(message: Mapping[str, Any], seen: Transcript) -> None:
    used, stop = message["usage"], message["stopReason"]
    usage = Usage(used["input"], used["cacheRead"], used["cacheWrite"], used["output"])
    seen.model = message["model"]
    if usage.tokens:
        seen.turns += 1
        seen.usage[str(seen.turns)] = usage
        if cost := used["cost"]["total"]:
            seen.cost_usd = (seen.cost_usd or 0.0) + cost
    text = "".join(part.get("text", "") for part in message["content"] if part["type"] == "text")
    seen.text = text or seen.text
    seen.memory["error"] = (message.get("errorMessage") or "an error without words") if stop in ("error", "aborted") else ""
    if stop == "length":  # it may make room and go on
        seen.memory["error"] = "an answer was too long for the model"
    elif stop == "stop":  # a stream that was cut looks like this too, with nothing in it
        seen.final = "done" if message["content"] else "cut"
        seen.words = "" if message["content"] else "an answer with nothing in it"
