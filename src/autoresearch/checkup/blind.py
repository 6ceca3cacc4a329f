"""Do the checks run the candidate? One that passes on broken code lets every change through.

Each check that passes on the unchanged code has to fail once all editable files are broken. Where it does not, or fails
already, installed code may go before the candidate's: the command that makes it run the tree's own is looked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from autoresearch.books import CheckOrder
from autoresearch.checkup import unused
from autoresearch.checkup.breakage import CODE, ruined
from autoresearch.checkup.findings import Passed
from autoresearch.checkup.measure import Say, Sealed, Tried
from autoresearch.checkup.mend import Mend, literal
from autoresearch.checkup.surroundings import Surroundings
from autoresearch.taskfile.units import show_seconds

_PATIENCE_S = 600.0  # a check that takes longer is not run again for this


@dataclass(frozen=True, slots=True)
class Looked:
    """One check: what came of it, and with the command of `mend`, if there is a better one; `blind` if it notices nothing."""

    passed: Passed
    mend: Mend | None = None
    mended: Passed | None = None
    blind: bool = False

    @property
    def warning(self) -> str:
        """What the owner should know of a check for which no better command was found."""
        return (
            f"check {self.passed.name} passes with all editable files broken, so it would let any change through: if it is "
            "to test the candidate, let its command run the files of the folder that it is started in"
        )


async def look(sealed: Sealed, files: Sequence[str], near: Surroundings, say: Say) -> list[Looked]:
    """Run each check on the unchanged code and, where it tests code, on broken code.

    Args:
        files: the editable files that the evaluation was seen to run.
    """
    code = [file for file in files if file.endswith(CODE)]
    return [await _one(sealed, number, code, near, say) for number in range(len(sealed.options.checks))]


async def _one(sealed: Sealed, number: int, files: Sequence[str], near: Surroundings, say: Say) -> Looked:
    check = sealed.options.checks[number]
    say(f"check {check.name}, at most {show_seconds(check.timeout_s)}")
    tried = await sealed.check(check)
    passed = _passed(check, tried)
    if not files or tried.readout.duration_s > _PATIENCE_S or (tried.ok and await _notices(sealed, check, tried, files, say)):
        return Looked(passed)
    for words, command in _commands(sealed, check, files, near):
        say(f"trying [[check]] {check.name}: command = {literal(command)}")
        other = replace(check, command=command)
        again = await sealed.check(other, label="check-again")
        if again.ok and await _notices(sealed, other, again, files, say):
            better = Mend(f"check[{number}]", "command", command, because=words)
            return Looked(passed, better, _passed(check, again), blind=tried.ok)
    return Looked(passed, blind=tried.ok)


async def _notices(sealed: Sealed, check: CheckOrder, base: Tried, files: Sequence[str], say: Say) -> bool:
    """Whether a check that passes on the base fails on broken code."""
    say(f"check {check.name} with all editable files broken")
    limit_s = min(check.timeout_s, 3 * base.readout.duration_s + 30)
    order = replace(check, retries=0, timeout_s=limit_s)
    return not (await sealed.check(order, sealed.candidate(ruined(sealed, files)), label="check-broken")).ok


def _commands(sealed: Sealed, check: CheckOrder, files: Sequence[str], near: Surroundings) -> Iterator[tuple[str, str]]:
    """Why a check may not run the candidate, and the command that would."""
    seen = {check.command}
    for words, _, folders in unused.ahead(check.command, list(files), near, sealed.task.evaluate.inputs):
        for folder in folders:
            command = f"PYTHONPATH={folder} {check.command}"
            if command not in seen:
                seen.add(command)
                yield words, command


def _passed(check: CheckOrder, tried: Tried) -> Passed:
    return Passed(check.name, tried.ok, tried.readout.words, tried.readout.duration_s)
