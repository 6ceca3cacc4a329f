"""opencode (`opencode` of opencode-ai): its launch, events, usage and errors.

It asks again for ever and says nothing of it on standard output: a plug-in of ours, which it is started with, writes down
when it is about to.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from autoresearch.proposers.faults import fault
from autoresearch.proposers.program import Call, Launch, Login, Transcript
from autoresearch.proposers.providers import KEYS, SERVER, keys_of, provider_of
from autoresearch.records import Usage
from autoresearch.taskfile import schema

_RETRIES = 2
_LONGEST_S = 20.0  # of a wait that is left to the program
_ALWAYS_OFF = ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD")
_OFF = ("PROJECT_CONFIG", "DEFAULT_PLUGINS", "CLAUDE_CODE", "EXTERNAL_SKILLS")
_TOLD = ".told.jsonl"
_PLUGIN = """\
import { appendFileSync } from "node:fs"
export const Tell = async () => ({
  event: async ({ event }) => {
    if (event.type === "session.status" && event.properties.status.type === "retry")
      appendFileSync(%s, JSON.stringify(event.properties.status) + "\\n")
  },
})
"""
_NO_INSTALL = json.dumps({"packages": {"": {"dependencies": {"@opencode-ai/plugin": "*"}}}})
"""It fetches its library for plug-ins unless this says that it is there."""


class Opencode:
    name: ClassVar[str] = "opencode"
    keys: ClassVar[tuple[str, ...]] = tuple(KEYS.values())
    keys_of = staticmethod(keys_of)
    provider: ClassVar[str] = ""
    model: ClassVar[str] = ""
    tried: ClassVar[str] = "1.18.33"
    install: ClassVar[str] = "npm install -g opencode-ai"
    log_in: ClassVar[str] = 'run `opencode auth login` and set [proposer] agent_config = "user"'
    beside: ClassVar[tuple[str, ...]] = ("retry",)

    def config(self, environ: Mapping[str, str], home: Path) -> Login | None:
        data = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "opencode"
        config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "opencode"
        folders = (data, config) if config.is_dir() else (data,)
        fresh = tuple(data / name for name in ("log", "storage", "snapshot"))
        return Login(f"the log-ins of {data}", True, folders=folders, fresh=fresh) if data.is_dir() else None

    def subscription(self, table: schema.Proposer, environ: Mapping[str, str], home: Path) -> Login | None:
        """What `opencode auth login` left: only with the user's own configuration."""
        own = self.config(environ, home) if table.agent_config == "user" else None
        return own if own is not None and (own.folders[0] / "auth.json").is_file() else None

    def launch(self, call: Call) -> Launch:
        table, folders = call.table, call.login.folders
        provider, model = provider_of(self.name, table)
        argv = [self.name, "run", "--format", "json", "--auto", "--model", f"{provider}/{model}"]
        argv += ["--variant", table.effort] if table.effort else []
        argv += ["--session", call.session] if call.session else ["--title", "a proposal"]  # else it has the model find one
        env: dict[str, str | None] = {"OPENCODE_CONFIG_CONTENT": json.dumps(self._config(call, provider, model))}
        env |= {f"OPENCODE_DISABLE_{name}": "1" for name in (*_ALWAYS_OFF, *(() if folders else _OFF))}
        if folders:
            env |= {"XDG_DATA_HOME": str(folders[0].parent), "OPENCODE_DB": str(call.home / "opencode.db")}
            env |= {"XDG_CONFIG_HOME": str(folders[1].parent)} if folders[1:] else {}
        files = {".tell.js": _PLUGIN % json.dumps(str(call.home / _TOLD))}
        files |= {".config/opencode/package-lock.json": _NO_INSTALL, ".config/opencode/node_modules/.none": ""}
        return Launch((*argv, *table.args), env, files, along=_TOLD)

    def _config(self, call: Call, provider: str, model: str) -> dict[str, Any]:
        """Its sub-agents are off, since their usage is not told, and what asks other hosts."""
        table, key = call.table, next(iter(call.login.variables), "")
        options = {} if call.login.subscription else {"apiKey": f"{{env:{key}}}" if key else "none"}
        options |= {"baseURL": table.base_url} if table.base_url else {}
        entry: dict[str, Any] = {"options": options}
        if provider == SERVER:
            entry |= {"npm": "@ai-sdk/openai-compatible", "name": "server", "models": {model: {"name": model}}}
        return {
            "model": f"{provider}/{model}",
            "small_model": f"{provider}/{model}",
            "autoupdate": False,
            "share": "disabled",
            "plugin": [f"file://{call.home / '.tell.js'}"],
            "provider": {provider: entry},
            "permission": {"webfetch": "deny", "websearch": "deny", "task": "deny", "question": "deny"},
        }

    def read(self, event: Mapping[str, Any], seen: Transcript) -> None:
        seen.session = event.get("sessionID") or seen.session
        match event.get("type"):
            case "retry":
                _retry(event, seen)
            case "text":
                seen.text = event["part"]["text"]
            case "tool_use":
                _tool(event["part"], seen)
            case "step_finish":
                _answer(event["part"], seen)
            case "error":
                data = event["error"].get("data", {})
                seen.words = data.get("message") or event["error"]["name"]
                seen.final = fault(seen.words, data.get("statusCode"))

    def end(self, code: int | None, tail: str, seen: Transcript) -> None:
        """Its events say it all."""


def _retry(event: Mapping[str, Any], seen: Transcript) -> None:
    """It is about to ask again: a few times are left to it, unless it would wait for long."""
    wait_s = event["next"] / 1000 - time.time()
    seen.memory["retries"] = seen.memory.get("retries", 0) + 1
    if seen.memory["retries"] > _RETRIES or wait_s > _LONGEST_S:
        final = fault(event["message"])
        seen.final, seen.words = final if final in ("rate_limit", "key", "model") else "outage", event["message"]
        seen.retry_after_s = max(0.0, wait_s) if wait_s > _LONGEST_S else None


def _tool(part: Mapping[str, Any], seen: Transcript) -> None:
    state, words = part["state"], str(part["state"].get("error", ""))
    seen.called(part["tool"], state["input"])
    if state["status"] == "error" and ("rejected permission" in words or "rule which prevents" in words):
        seen.denied.append(part["tool"])


def _answer(part: Mapping[str, Any], seen: Transcript) -> None:
    told, cache = part["tokens"], part["tokens"]["cache"]
    seen.usage[part["id"]] = Usage(told["input"], cache["read"], cache["write"], told["output"] + told["reasoning"])
    seen.turns = len(seen.usage)
    if part["cost"]:
        seen.cost_usd = (seen.cost_usd or 0.0) + part["cost"]
    broken = part["reason"] not in ("stop", "tool-calls", "length", "content-filter")  # it asks again at once, for ever
    seen.memory["retries"] = seen.memory.get("retries", 0) + 1 if broken else 0
    if seen.memory["retries"] > _RETRIES:
        seen.final, seen.words = "cut", f"{seen.memory['retries']} answers in a row broke off ({part['reason']})"
    elif part["reason"] == "stop":
        seen.final = seen.final or "done"
    elif not broken and part["reason"] != "tool-calls":
        seen.final, seen.words = "error", f"an answer ended by {part['reason']}"
