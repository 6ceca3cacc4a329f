"""Claude Code (`claude`): https://code.claude.com/docs/en/headless

With a key it runs `--bare`: nothing of the user's or the project's configuration. That mode knows no subscription, for which
single flags and an empty configuration folder keep the same things out.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from autoresearch.errors import SetupError
from autoresearch.proposers.faults import fault
from autoresearch.proposers.program import Call, Launch, Login, Transcript
from autoresearch.records import Usage
from autoresearch.taskfile import schema

_TOKEN = "CLAUDE_CODE_OAUTH_TOKEN"
_KEY_FILE = ".autoresearch-key"
_TOOLS = ("Bash", "Edit", "Read", "Write", "Glob", "Grep")
_LONGEST_S = 60.0  # of a wait that is left to the program
_QUIET = {
    **dict.fromkeys(("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "DISABLE_AUTOUPDATER"), "1"),
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "CLAUDE_CODE_MAX_RETRIES": "3",
}


class Claude:
    """Its own price table prices models that it does not know as well, so its cost is not taken."""

    name: ClassVar[str] = "claude"
    keys: ClassVar[tuple[str, ...]] = ("ANTHROPIC_API_KEY",)
    provider: ClassVar[str] = "anthropic"
    model: ClassVar[str] = "claude-opus-4-8"  # of the version that was tried, with a key
    tried: ClassVar[str] = "2.1.197"
    install: ClassVar[str] = "npm install -g @anthropic-ai/claude-code"
    log_in: ClassVar[str] = f"for a subscription run `claude setup-token` once and export {_TOKEN}"

    def config(self, environ: Mapping[str, str], home: Path) -> Login | None:
        folder = Path(environ.get("CLAUDE_CONFIG_DIR") or home / ".claude")
        return Login(f"the subscription of {folder}", True, folders=(folder,)) if folder.is_dir() else None

    def subscription(self, table: schema.Proposer, environ: Mapping[str, str], home: Path) -> Login | None:
        own = self.config(environ, home) if table.agent_config == "user" else None
        if environ.get(_TOKEN):
            folders = own.folders if own is not None else ()
            return Login(f"the subscription of {_TOKEN}", True, {_TOKEN: environ[_TOKEN]}, folders)
        return own if own is not None and (own.folders[0] / ".credentials.json").is_file() else None

    def launch(self, call: Call) -> Launch:
        table, login = call.table, call.login
        if table.sandbox == "own":
            raise SetupError('[proposer] sandbox = "own": claude is started without one of its own; leave it at "auto"')
        argv = ["claude", "-p", "--output-format", "stream-json", "--verbose", "--include-partial-messages"]
        argv += ["--permission-mode", "acceptEdits", "--max-turns", str(call.turns)]
        argv += ["--model", table.model] if table.model else []
        argv += ["--effort", table.effort] if table.effort else []
        argv += ["--resume", call.session] if call.session else []
        argv += [*([] if call.lasting or call.session else ["--no-session-persistence"]), *self._isolation(call)]
        env: dict[str, str | None] = {**_QUIET, **({"ANTHROPIC_BASE_URL": table.base_url} if table.base_url else {})}
        env |= {"CLAUDE_CONFIG_DIR": str(login.folders[0])} if login.folders else {}
        files = {}
        if not login.subscription:  # not in the environment of its tools
            env |= dict.fromkeys(login.variables)
            files = {_KEY_FILE: next(iter(login.variables.values()), "none")}
            argv += ["--settings", json.dumps({"apiKeyHelper": f"cat {shlex.quote(str(call.home / _KEY_FILE))}"})]
        argv += ["--allowedTools", *_TOOLS, "--disallowedTools", "WebFetch", "WebSearch", *table.args]
        return Launch(tuple(argv), env, files)

    @staticmethod
    def _isolation(call: Call) -> Iterator[str]:
        """What keeps the user's and the project's configuration out."""
        if call.table.agent_config == "user":
            return
        yield from ("--setting-sources", "", "--strict-mcp-config", "--disable-slash-commands")
        yield from ("--bare",) if not call.login.subscription else ("--tools", ",".join(_TOOLS))

    def read(self, event: Mapping[str, Any], seen: Transcript) -> None:
        kind = event.get("type")
        if kind == "system":
            self._system(event, seen)
        elif kind == "stream_event":
            self._stream(event["event"], seen)
        elif kind == "assistant":
            blocks = event["message"]["content"]
            seen.text = "\n".join(block["text"] for block in blocks if block.get("type") == "text") or seen.text
            for block in (block for block in blocks if block.get("type") == "tool_use"):
                seen.called(block["name"], block["input"])
        elif kind == "rate_limit_event" and event["rate_limit_info"].get("status") == "rejected":
            seen.memory["resets"] = event["rate_limit_info"].get("resetsAt")
        elif kind == "result":
            self._result(event, seen)

    @staticmethod
    def _system(event: Mapping[str, Any], seen: Transcript) -> None:
        if event.get("subtype") == "init":
            seen.session, seen.model = event["session_id"], event.get("model") or seen.model
        if event.get("subtype") == "api_retry":
            final, delay_s = fault("", event.get("error_status")), float(event.get("retry_delay_ms") or 0) / 1000
            if final == "key" or delay_s > _LONGEST_S:  # it would go on asking with the same key, or wait for hours
                seen.final, seen.words, seen.retry_after_s = final, str(event.get("error")), delay_s

    @staticmethod
    def _stream(event: Mapping[str, Any], seen: Transcript) -> None:
        """The parts of an answer: the tokens of its beginning and its end; `assistant` events repeat those of the beginning."""
        if event["type"] == "message_start":
            seen.memory["answer"] = answer = event["message"]["id"]
            seen.model, seen.turns = event["message"].get("model") or seen.model, seen.turns + 1
            seen.usage[answer] = _usage(event["message"]["usage"])
        elif event["type"] == "message_delta" and event.get("usage"):
            answer = seen.memory["answer"]
            seen.usage[answer] = _usage(event["usage"], before=seen.usage[answer])

    @staticmethod
    def _result(event: Mapping[str, Any], seen: Transcript) -> None:
        seen.session, seen.text = event["session_id"], event.get("result") or seen.text
        seen.denied += [denied["tool_name"] for denied in event.get("permission_denials") or ()]
        seen.words = str(event.get("result") or "; ".join(map(str, event.get("errors") or ())))
        subtype = event.get("subtype")
        if subtype in ("error_max_turns", "error_max_budget_usd"):
            seen.final = "turns" if subtype == "error_max_turns" else "cost"
        elif not event.get("is_error"):
            seen.final = "done"
        else:
            seen.final = fault(seen.words, event.get("api_error_status"))
            if seen.final == "rate_limit" and (resets := seen.memory.get("resets")):
                seen.retry_after_s = max(0.0, resets - time.time())

    def end(self, code: int | None, tail: str, seen: Transcript) -> None:
        """Its events say it all."""


def _usage(told: Mapping[str, Any], before: Usage = Usage()) -> Usage:  # noqa: B008 - frozen
    """Tokens of one answer, each count as the latest event has it."""

    def count(key: str, old: int) -> int:
        return int(told[key]) if told.get(key) is not None else old

    return Usage(
        count("input_tokens", before.input),
        count("cache_read_input_tokens", before.cached),
        count("cache_creation_input_tokens", before.written),
        count("output_tokens", before.output),
    )
