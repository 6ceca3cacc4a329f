"""Hostile candidates and proposers, run for real under each trust level that this machine offers.

    python benchmarks/gaming.py
    python benchmarks/gaming.py --only forge --levels sealed+sandbox,shared
    python benchmarks/gaming.py --markdown docs/trust.md

Each act is tried in a small project of its own, and looked at from outside: did the number change by it, was the secret read,
the file written, the repository changed, is a process alive? *Blocked*: it did not get what it wanted. *Detected*: it did, and
the run says so: an invalid verdict, a flag, a note, a broken chain. *Not defended*: it did, and nothing was said.

Prints JSON, a line an act and level and the counts at the end; `--markdown` writes the table between the marks in a page.
Exit code 1 if under `sealed+sandbox` anything that the reference calls defensible is not defended.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from hostile.acts import ACTS, SELF_TEST
from hostile.arena import LEVELS, Act, Level, Result, play_apart

BEGIN, END = "<!-- gaming: begin -->", "<!-- gaming: end -->"
THREATS = (
    "edits the evaluator, the task, the command",
    "reads labels",
    "special-cases the benchmark's input",
    "patches clocks, brings hooks",
    "keeps results between runs",
    "exceeds limits, or lengthens them",
    "forges the number",
    "writes or reads the records",
    "steals: hold-out, secrets, network",
    "leaves processes behind",
    "sabotages the incumbent",
    "does less work",
    "weakens tests, exits, overrides ==",
    "rewrites git's history",
    "finds the solution",
    "picks seeds",
    "brings dependencies, compiled code",
    "plays with paths",
    "injects instructions",
    "makes the baseline worse",
)


def chosen(only: str, levels: str) -> tuple[list[Act], list[Level]]:
    """The acts whose name or threat holds one of the words, and the levels named.

    Raises:
        SystemExit: a word that fits none.
    """
    words = [word.strip() for word in only.split(",") if word.strip()]
    acts = [
        a
        for a in (*ACTS, *([SELF_TEST] if words else []))
        if not words or any(w in a.name or w == str(a.threat) for w in words)
    ]
    names = [name.strip() for name in levels.split(",")] if levels else [level.name for level in LEVELS]
    known = {level.name: level for level in LEVELS}
    if not acts or not set(names) <= set(known):
        sys.exit(f"nothing fits --only {only!r} --levels {levels!r}: levels are {', '.join(known)}")
    return acts, [known[name] for name in names]


def offered(levels: Sequence[Level], top: Path) -> list[Level]:
    """The levels that runs on this machine really get, each tried with an act that nothing stands in the way of.

    Raises:
        SystemExit: that act is found blocked, so that nothing found here would mean anything.
    """
    found = []
    for level in levels:
        result = play_apart(SELF_TEST, level, top / f"self-{level.name}")
        if result.trust != level.name:
            print(json.dumps({"level": level.name, "not_offered": f"a run gets {result.trust} here"}))
        elif result.outcome != "not defended":
            sys.exit(f"an act that nothing stands in the way of came out as {result.outcome} under {level.name}: {result}")
        else:
            found.append(level)
    return found


def table(results: Sequence[Result], levels: Sequence[Level]) -> str:
    """The table: an act a row, in the order of threats, what came of it under each level."""
    rows = [
        f"| | threat | what was tried | {' | '.join(f'`{level.name}`' for level in levels)} |",
        f"|{'---|' * (3 + len(levels))}",
    ]
    found = {(r.act, r.level): r.outcome for r in results}
    acts = {r.act: r.threat for r in results if r.threat}
    for act, threat in sorted(acts.items(), key=lambda item: item[1]):
        cells = " | ".join(found.get((act, level.name), "-") for level in levels)
        rows.append(f"| {threat} | {THREATS[threat - 1]} | {act} | {cells} |")
    return "\n".join(rows)


def write_table(page: Path, text: str) -> None:
    """Put the table between the marks of a page.

    Raises:
        SystemExit: the page has no marks.
    """
    old = page.read_text(encoding="utf-8")
    if BEGIN not in old or END not in old:
        sys.exit(f"{page} has no place for the table: write the lines {BEGIN} and {END} into it")
    pattern = re.compile(re.escape(BEGIN) + ".*" + re.escape(END), re.DOTALL)
    page.write_text(pattern.sub(lambda _: f"{BEGIN}\n\n{text}\n\n{END}", old), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="acts whose name holds one of these words, or of these threats")
    parser.add_argument("--levels", default="", help="names of levels, with commas; all of them without it")
    parser.add_argument("--markdown", type=Path, help="a page to write the table into")
    parser.add_argument("--dir", type=Path, help="where the projects are made; the folder for temporary files without it")
    args = parser.parse_args()
    acts, levels = chosen(args.only, args.levels)
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="gaming-", dir=args.dir) as top:
        levels = offered(levels, Path(top))
        for i, act in enumerate(acts):
            for level in levels:
                results.append(play_apart(act, level, Path(top) / f"{i}-{level.name}"))
                print(json.dumps(asdict(results[-1]), ensure_ascii=False), flush=True)
    failed = [r.act for r in results if r.level == LEVELS[0].name and r.outcome == "not defended" and _is_defensible(r, acts)]
    counts = {level.name: dict(Counter(r.outcome for r in results if r.level == level.name)) for level in levels}
    print(json.dumps({"acts": len(acts), "counts": counts, "failed": failed}, ensure_ascii=False))
    if args.markdown is not None:
        write_table(args.markdown, table(results, levels))
    sys.exit(1 if failed else 0)


def _is_defensible(result: Result, acts: Sequence[Act]) -> bool:
    return next(act.defensible for act in acts if act.name == result.act)


if __name__ == "__main__":
    main()
