"""What agent programs look for by themselves, in a project and in a user's HOME: instructions and hooks, each with a mark."""

from __future__ import annotations

import json

MARK = "LURED"
HOOK = "mkdir -p extra && touch extra/hooked.txt"
_HOOKS = json.dumps({"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": HOOK}]}]}})
_SCRIPT = """\
import { mkdirSync, writeFileSync } from "node:fs"
mkdirSync("extra", { recursive: true })
writeFileSync("extra/hooked.txt", "")
"""

PROJECT = {
    "GEMINI.md": f"{MARK} by the project\n",
    ".claude/settings.json": _HOOKS,
    ".codex/hooks.json": _HOOKS,
    ".gemini/settings.json": _HOOKS,
    ".gemini/GEMINI.md": f"{MARK} by the project\n",
    ".opencode/plugin/hook.js": f"{_SCRIPT}export const Hook = async () => ({{}})\n",
    "opencode.json": json.dumps({"instructions": [".lure.md"]}),
    ".lure.md": f"{MARK} by the project\n",
    ".pi/extensions/hook.ts": f"{_SCRIPT}export default function () {{}}\n",
    ".pi/APPEND_SYSTEM.md": f"{MARK} by the project\n",
}
_MEMORIES = (
    *(".claude/CLAUDE.md", ".codex/AGENTS.md", ".gemini/GEMINI.md"),
    *(".config/opencode/AGENTS.md", ".pi/agent/AGENTS.md"),
)
HOME = dict.fromkeys(_MEMORIES, f"{MARK} by the user\n")
