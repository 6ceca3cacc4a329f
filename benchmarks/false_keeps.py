"""What acceptance rules keep where the truth is known: nights of scripted proposals under many kinds of noise.

    python benchmarks/false_keeps.py --nights 100 --jobs 2 --json nights.json --markdown docs/gains-table.md
    python benchmarks/false_keeps.py --settings gauss-0.3,heavy-1 --rules auto --nights 20
    python benchmarks/false_keeps.py --acceptance          # the seven trials of autoresearch.testing.honesty, in full
    python benchmarks/false_keeps.py --real 20             # nights through real git and processes

Each night goes through `optimize` with a ledger in memory, with the same evaluation budget for every rule: baseline, repeats,
refreshes, checkpoints and final comparison are all paid from it. Noise and proposals of a night are the same for every rule.
With `--json` nights are added to the file as they are played, and with `--merge` those in it are not played again. A night of
700 evaluations takes about half a second to a second, and the whole table at 100 nights about 45 minutes on two cores.

Of the proposals that crash three in ten reach an evaluation, and cost a whole one; so a crash costs 0.3 evaluations, as in the
simulation that the rule was tuned in, whose figures stand beside ours. Extra evaluations an experiment are those of races and
refreshes beyond the first of each experiment; baseline, checkpoints and final comparison are not in them.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import real_nights

from autoresearch.testing import honesty
from autoresearch.testing.nights import Mean, Night, lower_bound, mean, of_world
from autoresearch.testing.worlds import Mix, Noise, World, play

REAL = "real"
RULES = ("auto", "race", "margin", "single")
USUAL, IDLE = Mix(), Mix(gain=0.0)
PILOT = Mix(gain=0.6, harm=0.25, crash=0.0, size=30.0, tempo=10.0, fade=math.inf, loss=10.0)
SIMULATED = 200
"""Nights of the simulation beside ours."""
LEAST_VALIDATED = 50  # fewer intervals say too little of their coverage


@dataclass(frozen=True, slots=True)
class Setting:
    """One kind of night.

    Attributes:
        charge: evaluations that a proposal costs.
        simulated: true gain of the race in the simulation that it was tuned in.
        false: share of false keeps to stay below.
    """

    title: str
    noise: Noise
    mix: Mix = USUAL
    evaluations: int = 700
    charge: float = 0.0
    simulated: float | None = None
    false: float | None = None


SETTINGS: dict[str, Setting] = {
    "gauss-0": Setting("no noise", Noise(0.0), simulated=20.4, false=0.0),
    "gauss-0.1": Setting("sd 0.1", Noise(0.1), simulated=16.3, false=0.03),
    "gauss-0.3": Setting("sd 0.3", Noise(0.3), simulated=13.2, false=0.05),
    "gauss-1": Setting("sd 1", Noise(1.0), simulated=7.1, false=0.15),
    "gauss-3": Setting("sd 3", Noise(3.0), simulated=1.2),
    "heavy-0.3": Setting("heavy tails (t, 3 df), 0.3", Noise(0.3, "heavy"), simulated=12.4),
    "heavy-1": Setting("heavy tails, 1", Noise(1.0, "heavy"), simulated=5.5),
    "slow-0.5": Setting("one-sided slow-downs, 0.5", Noise(0.5, "slow"), simulated=9.4),
    "drift-0.3": Setting("drift 3 sd, 0.3", Noise(0.3, drift=3.0), simulated=12.2),
    "drift-1": Setting("drift 3 sd, 1", Noise(1.0, drift=3.0), simulated=5.5),
    "drift-heavy-0.5": Setting("drift 3 sd and heavy tails, 0.5", Noise(0.5, "heavy", drift=3.0), simulated=8.6),
    "price-0.3": Setting("a change without effect costs 0.1, sd 0.3", Noise(0.3), Mix(price=0.1), simulated=13.8),
    "price-1": Setting("a change without effect costs 0.1, sd 1", Noise(1.0), Mix(price=0.1), simulated=7.3),
    "seeds-1": Setting("sd 1, common seeds (correlation 0.8)", Noise(1.0, common=0.8), simulated=9.4),
    "charge-0.5": Setting("sd 0.5, a proposal costs an evaluation", Noise(0.5), charge=1.0, simulated=7.6),
    "idle-1": Setting("no gain exists, sd 1", Noise(1.0), IDLE, simulated=0.0),
    "idle-drift-1": Setting("no gain exists, drift and heavy tails, 1", Noise(1.0, "heavy", drift=3.0), IDLE, simulated=0.0),
    "night-100": Setting("100 evaluations, sd 0.3", Noise(0.3), evaluations=100),
    "night-60": Setting("60 evaluations, sd 0.3", Noise(0.3), evaluations=60),
    "pilot-60": Setting("60 evaluations, gains of 30 sd fading to the noise", Noise(1.0), PILOT, evaluations=60),
    REAL: Setting("80 evaluations through git and processes, a fifth gains of 4 sd", Noise(real_nights.SD)),
}
"""Noise and gains in units of a typical gain at the start of the night."""


# -- playing -----------------------------------------------------------------------------------------------------------


def one(name: str, rule: str, night: int) -> Night:
    """Play one night."""
    setting = SETTINGS[name]
    if name == REAL:
        return real_nights.play(night, rule)
    if not setting.charge:
        world = World(setting.noise, setting.mix, night=night)
        return of_world(world, play(world, rule, evaluations=setting.evaluations))
    final = 2 * 8  # the run does not know of this purse, so its final is put aside here
    purse = setting.evaluations - final
    world = World(setting.noise, setting.mix, night=night, charge=setting.charge, purse=purse)
    return of_world(world, play(world, rule))


def batch(job: tuple[str, str, Sequence[int]]) -> list[tuple[int, Night]]:
    name, rule, nights = job
    return [(night, one(name, rule, night)) for night in nights]


Played = dict[str, dict[int, Night]]
"""Nights by setting/rule and number."""


def load(path: Path | None) -> Played:
    if path is None or not path.exists():
        return {}
    names = {f.name for f in fields(Night)}
    found = json.loads(path.read_text())
    return {
        cell: {int(n): Night(**{k: v for k, v in night.items() if k in names}) for n, night in nights.items()}
        for cell, nights in found.items()
    }


def save(path: Path | None, played: Played) -> None:
    if path is not None:
        rows = {cell: {str(n): asdict(night) for n, night in sorted(nights.items())} for cell, nights in played.items()}
        new = path.with_name(path.name + ".new")
        new.write_text(json.dumps(rows))
        new.replace(path)


def play_all(names: Sequence[str], rules: Sequence[str], *, nights: int, jobs: int, played: Played, path: Path | None) -> None:
    """Play what is missing, a batch of nights at a time, and save after each cell."""
    began = time.monotonic()
    with ProcessPoolExecutor(jobs) as pool:
        for name in names:
            for rule in rules:
                cell = played.setdefault(f"{name}/{rule}", {})
                missing = [n for n in range(nights) if n not in cell]
                size = max(1, math.ceil(len(missing) / (4 * jobs)))
                parts = [(name, rule, missing[i : i + size]) for i in range(0, len(missing), size)]
                for done in pool.map(batch, parts):
                    cell.update(done)
                save(path, played)
                print(f"{time.monotonic() - began:7.0f} s  {name} {rule}: {len(missing)} nights", file=sys.stderr, flush=True)


# -- figures -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cell:
    """What the nights of one setting under one rule come to; a share has the number of its cases beside it."""

    nights: int
    true: Mean
    claimed: Mean
    validated: Mean
    bias: Mean
    intervals: int
    coverage: float
    coverage_low: float
    keeps: Mean
    false: float
    false_a_night: Mean
    missed: float
    extra: Mean
    most: int

    @classmethod
    def of(cls, nights: Iterable[Night]) -> Cell:
        found = list(nights)
        known = [n for n in found if n.mean is not None]
        covered, findable = sum(bool(n.is_covered) for n in known), sum(n.findable for n in found)
        return cls(
            len(found),
            mean(n.true for n in found),
            mean(n.claimed for n in found),
            mean(n.mean for n in known if n.mean is not None),
            mean(n.mean - n.true for n in known if n.mean is not None),
            len(known),
            covered / len(known) if known else math.nan,
            lower_bound(covered, len(known)) if known else math.nan,
            mean(n.keeps for n in found),
            sum(n.false for n in found) / max(1, sum(n.keeps for n in found)),
            mean(n.false for n in found),
            sum(n.missed for n in found) / findable if findable else math.nan,
            mean(n.repeats / max(1, n.experiments) for n in found),
            max(n.most for n in found),
        )


def cells(played: Mapping[str, Mapping[int, Night]]) -> Iterator[tuple[str, str, Cell]]:
    """By setting in the order of the table, then by rule."""
    for name in SETTINGS:
        for rule in (*RULES, *sorted({c.partition("/")[2] for c in played} - {*RULES})):
            nights = played.get(f"{name}/{rule}")
            if nights:
                yield name, rule, Cell.of(nights.values())


@dataclass(frozen=True, slots=True)
class Target:
    what: str
    found: str
    wanted: str
    is_met: bool

    def __str__(self) -> str:
        return f"{'met    ' if self.is_met else 'NOT MET'}  {self.what}: {self.found} (wanted {self.wanted})"


def targets(played: Mapping[str, Mapping[int, Night]], rule: str = "auto") -> Iterator[Target]:
    """What is to be reached by the default rule."""
    for name, its_rule, cell in cells(played):
        if its_rule == rule:
            yield from _targets(SETTINGS[name], cell)


def _targets(setting: Setting, cell: Cell) -> Iterator[Target]:
    title = setting.title
    if setting.false is not None:
        found = f"{100 * cell.false:.1f} % of {cell.nights * cell.keeps.value:.0f}"
        yield Target(f"{title}: false keeps", found, f"at most {100 * setting.false:.0f} %", cell.false <= setting.false)
    if setting.simulated is not None:
        least = _least(setting.simulated, cell)
        yield Target(f"{title}: true gain", str(cell.true), f"at least {least:.2f}", cell.true.value >= least)
    if setting.noise.sd and setting.simulated is not None:
        yield Target(f"{title}: extra evaluations an experiment", str(cell.extra), "at most 0.45", cell.extra.value <= 0.45)
    if not setting.noise.sd:
        yield Target(
            f"{title}: evaluations an experiment",
            str(cell.most),
            "exactly 1, none twice",
            cell.most == 1 and cell.extra.value == 0,
        )
    elif cell.intervals >= LEAST_VALIDATED:
        found = f"{100 * cell.coverage:.0f} % of {cell.intervals}, at least {100 * cell.coverage_low:.1f} %"
        yield Target(f"{title}: coverage of the 90 % interval", found, "at least 80 %", cell.coverage_low >= 0.8)


def _least(simulated: float, cell: Cell) -> float:
    """The simulation's true gain less 3 % and two standard errors of the difference."""
    error = cell.true.error * math.sqrt(1 + cell.nights / SIMULATED)
    return 0.97 * simulated - 2 * error


HEAD = (
    "| kind of night | rule | true gain | claimed | validated, bias | 90 % interval holds the truth | keeps | false keeps "
    "| a night | missed gains | extra evaluations | simulated |"
)


def table(played: Mapping[str, Mapping[int, Night]]) -> Iterator[str]:
    """The rows of a Markdown table."""
    yield HEAD
    yield "|---" * HEAD.count(" |") + "|"
    for name, rule, cell in cells(played):
        setting = SETTINGS[name]
        simulated = "" if rule != "race" or setting.simulated is None else f"{setting.simulated:.1f}"
        row = (
            f"{setting.title}",
            rule,
            str(cell.true),
            f"{cell.claimed.value:.2f}",
            f"{cell.bias.value:+.2f} ± {cell.bias.error:.2f}".replace("-", "−") if cell.intervals else "none",
            f"{100 * cell.coverage:.0f} % of {cell.intervals} (≥ {100 * cell.coverage_low:.0f} %)" if cell.intervals else "",
            f"{cell.keeps.value:.1f}",
            f"{100 * cell.false:.0f} %" if cell.keeps.value else "none",
            str(cell.false_a_night),
            "" if math.isnan(cell.missed) else f"{100 * cell.missed:.0f} %",
            f"{cell.extra.value:.2f}",
            simulated,
        )
        yield f"| {' | '.join(row)} |"


def page(played: Mapping[str, Mapping[int, Night]]) -> str:
    """The table with what it means, for docs/."""
    counts = sorted({len(nights) for nights in played.values()})
    number = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    met = list(targets(played))
    rows = "\n".join(table(played))
    wanted = "\n".join(f"- {'met' if t.is_met else '**not met**'}: {t.what}: {t.found} (wanted {t.wanted})" for t in met)
    return PAGE.format(number=number, rows=rows, wanted=wanted)


PAGE = """\
# What the rules keep where the truth is known

Made by `python benchmarks/false_keeps.py --nights N --markdown FILE`; {number} nights a row, standard errors behind ±.

A night is a run of 700 evaluations, less where it says so, of scripted proposals: 5 % gains, exponential with mean 1 and
shrinking as they add up, 55 % without effect, 35 % losses, 5 % crashes. Noise is in units of that mean gain. Every rule has the
same evaluations, in which baseline, repeats and final comparison are included, and sees the same proposals and the same noise.

*True gain* is that of the result over the baseline; *claimed* what the scores on the way say; *bias* the validated gain less
the true one; *false keeps* are kept changes that are no gain; *missed gains* are larger than 2.5 standard deviations of one
evaluation, and were tried and not kept; *extra evaluations* are those of races and refreshes for each experiment; *simulated*
is the true gain of `race` in the simulation that it was tuned in, where the final comparison cost nothing.

{rows}

## Wanted of the default

{wanted}
"""


# -- command line ------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=100)
    parser.add_argument("--settings", default=",".join(n for n in SETTINGS if n != REAL), help="names, by commas")
    parser.add_argument("--rules", default=",".join(RULES), help="names or module:Class, by commas")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--json", type=Path, help="a file for the nights")
    parser.add_argument("--merge", action="store_true", help="go on with the nights of that file")
    parser.add_argument("--markdown", type=Path, help="a file for the table")
    parser.add_argument("--acceptance", action="store_true", help="the trials of autoresearch.testing.honesty instead")
    parser.add_argument("--real", type=int, default=0, metavar="N", help="N nights through real git and processes instead")
    args = parser.parse_args()
    if args.acceptance:
        sys.exit(show(honesty.trials(args.rules.partition(",")[0], nights=args.nights)))
    if args.real:
        args.settings, args.nights = REAL, args.real
    sys.exit(tabled(args))


def show(findings: Iterable[honesty.Finding]) -> int:
    """Print what the trials find; 1 if a bound was broken."""
    broken = 0
    for finding in findings:
        print(finding, flush=True)
        broken += not finding.is_met
    return int(broken > 0)


def tabled(args: argparse.Namespace) -> int:
    names, rules = args.settings.split(","), args.rules.split(",")
    unknown = [name for name in names if name not in SETTINGS]
    if unknown:
        print(f"unknown settings {', '.join(unknown)}: expected some of {', '.join(SETTINGS)}", file=sys.stderr)
        return 2
    played = load(args.json) if args.merge else {}
    play_all(names, rules, nights=args.nights, jobs=args.jobs, played=played, path=args.json)
    print("\n".join(table(played)))
    met = list(targets(played))
    print("\n".join(map(str, ["", *met])))
    if args.markdown:
        args.markdown.write_text(page(played))
    return int(not all(t.is_met for t in met))


if __name__ == "__main__":
    main()
