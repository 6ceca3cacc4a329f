"""The layers of the design: imports point down only, siblings never import each other, and importing has no effect."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import autoresearch

SOURCE = Path(autoresearch.__file__).parent

# From top to bottom; every module directly below the package stands in exactly one of them.
FACES = {
    "__init__",
    "__main__",
    "cli",
    "api",
    "session",
    "choice",
    "project",
    "surroundings",
    "bundle",
    "anchors",
    "assembly",
    "checkup",
    "brief",
    "briefing",
    "exhibits",
    "report",
    "lessons",
    "expectations",
    "proposals",
    "gains",
    "plot",
    "live",
    "testing",
    "trust",
    "walls",
    "consent",
    "payers",
    "forecast",
    "private",
    "scope",
    "driving",
    "mcp",
    "skill",
}
LOOP = {"loop", "books", "bench", "upkeep", "comeback", "errands", "budget", "slots", "guards", "prospects", "drafting"}
LOOP |= {
    "admission",
    "plausible",
    "review",
    "gate",
    "trials",
    "waiting",
    "preflight",
    "asking",
    "baseline",
    "offers",
    "deciding",
}
SIBLINGS = {"strategies", "proposers", "acceptance", "runners", "workspace", "ledger"}
TOOLS = {
    "detect",
    "process",
    "git",
    "objects",
    "trees",
    "sandbox",
    "machine",
    "inhibit",
    "lock",
    "paths",
    "shares",
    "exclusive",
    "tripwires",
    "prices",
}
GROUND = {
    "taskfile",
    "records",
    "contracts",
    "errors",
    "history",
    "folding",
    "frame",
    "agenda",
    "mutations",
    "text",
    "masking",
    "noise",
    "sight",
    "scan",
    "sealed",
    "fenced",
    "patience",
}
LAYERS = (FACES, LOOP, SIBLINGS, TOOLS, GROUND)

# they stand beside the faces, and see records only
READERS = {"brief", "report", "lessons", "expectations", "proposals", "gains", "plot", "forecast"}
HEAVY = {"optuna", "matplotlib", "numpy"}
SLOW = HEAVY | {"typer", "rich", "pydantic"}


def modules() -> Iterator[tuple[str, Path]]:
    """All modules by their dotted name; the examples and templates are tasks, not modules."""
    for path in sorted(SOURCE.rglob("*.py")):
        inside = path.relative_to(SOURCE)
        if inside.parts[0] not in ("examples", "templates"):
            yield ".".join(inside.with_suffix("").parts).removesuffix(".__init__"), path


def imports(path: Path) -> Iterator[str]:
    """What a file imports of the package, anywhere in it, as names directly below the package."""
    tops = {p.stem for p in SOURCE.iterdir()}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: a relative import, which this walk cannot see"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, _, rest = name.partition(".")
            top = rest.partition(".")[0]
            if first == "autoresearch":
                yield top if top in tops else "__init__"


def edges() -> set[tuple[str, str]]:
    """Who imports whom, as names directly below the package."""
    found = {(name.partition(".")[0], other) for name, path in modules() for other in imports(path)}
    return {(a, b) for a, b in found if a != b}


def layer(name: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if name in names)


def test_every_module_has_one_layer() -> None:
    for name in {name.partition(".")[0] for name, _ in modules()}:
        assert sum(name in names for names in LAYERS) == 1, f"{name} stands in no layer, or in two: give it its place here"


def test_the_walk_sees_the_imports_that_are_there() -> None:
    assert {
        ("cli", "session"),
        ("session", "loop"),
        ("loop", "books"),
        ("runners", "process"),
        ("ledger", "records"),
    } <= edges()


def test_imports_point_down_only() -> None:
    assert [f"{a} imports {b}" for a, b in sorted(edges()) if layer(a) > layer(b)] == []


def test_siblings_never_import_each_other() -> None:
    assert [f"{a} imports {b}" for a, b in sorted(edges()) if a in SIBLINGS and b in SIBLINGS] == []


def test_loop_names_no_implementation_and_no_tool() -> None:
    assert [f"{a} imports {b}" for a, b in sorted(edges()) if a in LOOP and b in SIBLINGS | TOOLS] == []


def test_brief_report_and_plot_read_records_only() -> None:
    wrong = {(a, b) for a, b in edges() if a in READERS and b not in READERS | GROUND}
    assert wrong == set()


def fresh(code: str, folder: Path) -> str:
    """Standard output of a new interpreter with nothing but the package, in an empty folder that is also its home."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def loaded(folder: Path, *names: str) -> set[str]:
    """The top-level modules that are there after these imports; nothing may be printed by them, and nothing written."""
    code = f"import importlib, json, sys\nfor n in {names!r}: importlib.import_module(n)\nprint(json.dumps([*sys.modules]))"
    out = fresh(code, folder)
    assert out.count("\n") == 1
    assert list(folder.iterdir()) == []
    return {name.partition(".")[0] for name in json.loads(out)}


def test_importing_the_package_loads_nothing_slow(tmp_path: Path) -> None:
    assert loaded(tmp_path, "autoresearch") & SLOW == set()


def test_importing_every_module_writes_prints_and_loads_nothing_heavy(tmp_path: Path) -> None:
    names = [f"autoresearch.{name}" for name, _ in modules() if not name.endswith(("__init__", "__main__"))]
    assert len(names) > 40
    assert loaded(tmp_path, *names) & HEAVY == set()


def test_loop_loads_no_database_and_no_interface(tmp_path: Path) -> None:
    assert loaded(tmp_path, "autoresearch.loop") & {"sqlite3", "typer", "rich", "pydantic"} == set()
