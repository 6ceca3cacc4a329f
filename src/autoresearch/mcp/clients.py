"""What to write where, so that an agent starts the server: for each client a text that it reads, and how to put it there."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch.errors import SetupError, UnknownName

NAME = "autoresearch"
CLIENTS = ("claude", "codex", "gemini", "opencode")
_TIMEOUT_S = 120  # of one call; ours come back within 50 s, a first one has to start the run besides
_OURS = ("AUTORESEARCH_CACHE", "AUTORESEARCH_LOCKS")


@dataclass(frozen=True, slots=True)
class Config:
    """What a client reads.

    Attributes:
        text: the whole file, or what to add to one; JSON or TOML.
        how: where it goes, and what else to know, one line each.
    """

    text: str
    how: tuple[str, ...]


def config_of(client: str, args: Sequence[str], variables: Sequence[str]) -> Config:
    """What to write where for a client.

    Args:
        args: further ones of `autoresearch mcp`.
        variables: names that the evaluation wants to be passed through; codex and gemini hide most from what they start.
    Raises:
        UnknownName: no such client.
        SetupError: pi, which starts no servers.
    """
    command = [sys.executable, "-P", "-m", "autoresearch", "mcp", *args]  # no module of ours is taken from the project
    passed = list(dict.fromkeys([*variables, *(name for name in _OURS if os.environ.get(name))]))
    match client:
        case "claude":
            return _claude(command)
        case "codex":
            return _codex(command, passed)
        case "gemini":
            return _gemini(command, passed)
        case "opencode":
            return _opencode(command)
        case "pi":
            raise SetupError("pi has no MCP: let it use `autoresearch try`; `autoresearch skill install --for pi` teaches it")
    raise UnknownName("client", client, CLIENTS)


def _claude(command: Sequence[str]) -> Config:
    how = (
        f"this is .mcp.json in the project's folder; or, for you alone: claude mcp add {NAME} -- {shlex.join(command)}",
        f"to be asked for no call: claude --allowedTools mcp__{NAME}",
    )
    return Config(_json({"mcpServers": {NAME: {"command": command[0], "args": command[1:]}}}), how)


def _codex(command: Sequence[str], variables: Sequence[str]) -> Config:
    rows = {
        "command": command[0],
        "args": command[1:],
        "required": True,  # without it a turn does not wait until the server is there
        "default_tools_approval_mode": "approve",
        "startup_timeout_sec": 60,
        "tool_timeout_sec": _TIMEOUT_S,
        **({"env_vars": variables} if variables else {}),
    }
    text = "\n".join([f"[mcp_servers.{NAME}]", *(f"{key} = {_toml(value)}" for key, value in rows.items()), ""])
    return Config(text, ("add this to ~/.codex/config.toml, or to .codex/config.toml in a project that codex trusts",))


def _gemini(command: Sequence[str], variables: Sequence[str]) -> Config:
    server = {"command": command[0], "args": command[1:], "trust": True, "timeout": 1000 * _TIMEOUT_S}
    server |= {"env": {name: f"${name}" for name in variables}} if variables else {}
    return Config(_json({"mcpServers": {NAME: server}}), ("put this into .gemini/settings.json in the project's folder",))


def _opencode(command: Sequence[str]) -> Config:
    server = {"type": "local", "command": command, "enabled": True, "timeout": 1000 * _TIMEOUT_S}
    body = {"$schema": "https://opencode.ai/config.json", "mcp": {NAME: server}}
    return Config(_json(body), ("put this into opencode.json in the project's folder",))


def _json(body: object) -> str:
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def _toml(value: object) -> str:
    """A value in TOML; its strings, numbers, lists and booleans are written as in JSON."""
    return json.dumps(value, ensure_ascii=False)
