"""`--help` with the commands in groups."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

GROUPS = {
    "Start": ("init", "check", "run", "demo"),
    "Look": ("status", "log", "show", "diff", "plot", "report"),
    "Steer": ("stop", "idea", "brief", "revive", "reject", "approve", "validate"),
    "Take home": ("export", "import"),
    "For agents": ("try", "wait", "probe", "enter", "mcp", "skill"),
    "Machine": ("doctor", "clean", "rm"),
}


class Grouped(TyperGroup):
    """Lists the commands by what they are for; one that stands in no group comes last."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        known = [name for names in GROUPS.values() for name in names]
        others = tuple(name for name in self.list_commands(ctx) if name not in known)
        width = max(map(len, self.commands))
        for title, names in (*GROUPS.items(), ("Others", others)):
            commands = [(name, self.commands[name]) for name in names if name in self.commands]
            rows = [(name.ljust(width), c.get_short_help_str(limit=200)) for name, c in commands]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
