"""Money in a run: no wall, no run; nothing is forgotten; nothing is started that could not be paid; what a night costs."""

from __future__ import annotations

import json
import os
import pty
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.conftest import TASK, Toy, fingerprint

from autoresearch import consent
from autoresearch.budget import Ending
from autoresearch.choice import Wish
from autoresearch.cli.dry_run import show_proposals
from autoresearch.cli.start import Flags
from autoresearch.contracts import Brief, Ready
from autoresearch.errors import ProposerUnfit, ProposerWaits, SetupError
from autoresearch.report import last_lines
from autoresearch.session import Session
from autoresearch.testing import Hired, Patch, Scripted

HIRED = '[proposer]\nkind = "hired_plain:Plain"\n'
UNPRICED = '[proposer]\nkind = "hired_plain:Unpriced"\n'
PLUGIN = """\
from autoresearch.testing import Hired, Patch

def script(brief):
    return Patch({"knob.txt": f"{10 - brief.n}\\n"}, cost_usd=0.01, tokens=10)

class Plain(Hired):
    def __init__(self):
        super().__init__(script, price=0.031)

class Unpriced(Hired):
    def __init__(self):
        super().__init__(script, price=None)
"""


@pytest.fixture
def hire(make_toy: Callable[..., Toy]) -> Callable[..., Toy]:
    """A toy whose proposer somebody pays for."""
    return lambda extra="", proposer=HIRED: make_toy({"hired_plain.py": PLUGIN}, task=TASK + proposer + extra)


def run(toy: Toy, hired: Scripted, wish: Wish | None = None, **options: Any) -> Ending:
    return toy.run(parts=lambda found: replace(found, proposer=hired, mix={}), wish=wish or Wish(name="one"), **options)


def costing(*usd: float, tokens: int = 0) -> Callable[[Brief], Patch]:
    """Better each time; experiment n costs the nth amount, and the last one from there on."""
    return lambda brief: Patch({"knob.txt": f"{10 - brief.n / 100}\n"}, cost_usd=usd[min(brief.n, len(usd)) - 1], tokens=tokens)


# -- no wall, no run ---------------------------------------------------------------------------------------------------


def test_without_a_wall_nothing_starts_and_the_message_says_what_to_write(hire: Callable[..., Toy]) -> None:
    toy = hire()
    with pytest.raises(SetupError) as refused:
        Session(toy.project, Wish(name="one"))
    expected = (
        "TUTOR_KEY pays",
        "[budget] cost_usd = 5 in autoresearch.toml",
        "3.10 USD for 100 experiments",
        "--cost 5",
        "--yes",
    )
    assert [words for words in expected if words not in str(refused.value)] == []
    ledger = toy.project.ledger(read_only=True)
    assert ledger.runs() == []
    ledger.close()


def test_what_the_owner_answers_is_the_wall_of_the_run_and_is_asked_once(hire: Callable[..., Toy]) -> None:
    toy, asked = hire(), []

    def amount(question: str, suggested: float, agreed: float) -> float:
        asked.append((question, suggested, agreed))
        return 3.0

    for _ in range(2):
        with Session(toy.project, Wish(name="one", amount=amount)) as session:
            assert session.budget().cost_usd == 3.0
            assert session.paying()[0] == "hired_plain:Plain · tutor-1 · pays: TUTOR_KEY, at most 3.00 USD · may run: quick"
    assert asked == [("at a guess 3.10 USD for 100 experiments; stop at how many USD?", 5.0, 10.0)]


def test_ten_dollars_of_yes_are_not_ten_more_each_time(hire: Callable[..., Toy]) -> None:
    toy = hire()
    wish = Wish(name="one", experiments=2, amount=lambda question, suggested, agreed: agreed)
    for spent in (0.0, 6.0, 9.5):
        with Session(toy.project, wish) as session:
            assert session.budget().cost_usd == 10.0
            assert session.history.cost_usd == pytest.approx(spent)
        run(toy, Hired(costing(3.0) if not spent else costing(1.75)), wish)
    assert toy.history("one").cost_usd <= 10.0 + 1.75


def test_the_task_files_wall_goes_before_what_was_answered(hire: Callable[..., Toy]) -> None:
    toy = hire()
    Session(toy.project, Wish(name="one", amount=lambda question, suggested, agreed: agreed)).close()
    toy.write({"autoresearch.toml": TASK + HIRED + "[budget]\ncost_usd = 2.5\n"})
    toy.moved()
    with Session(toy.project, Wish(name="one")) as session:
        assert session.budget().cost_usd == 2.5


@pytest.mark.parametrize("wish", [Wish(name="one", cost_usd=1.0), Wish(name="one", tokens=500)])
def test_a_wall_of_the_session_will_do(hire: Callable[..., Toy], wish: Wish) -> None:
    with Session(hire().project, wish) as session:
        assert session.budget().cost_usd is None
        assert "in this session" in session.paying()[0]


def test_a_model_without_a_price_needs_a_wall_of_tokens(hire: Callable[..., Toy]) -> None:
    toy = hire("[budget]\ncost_usd = 5\n", UNPRICED)
    for amount in (None, lambda question, suggested, agreed: agreed):
        with pytest.raises(SetupError, match=r"no price of tutor-1 is known.*\[budget\] tokens.*price = "):
            Session(toy.project, Wish(name="one", amount=amount))
    toy = hire("[budget]\ntokens = 5000\n", UNPRICED)
    with Session(toy.project, Wish(name="one")) as session:
        assert "no price is known, at most 5000 tokens" in session.paying()[0]


def test_yes_to_a_model_without_a_price_is_a_wall_of_tokens(hire: Callable[..., Toy]) -> None:
    with Session(hire("", UNPRICED).project, Wish(name="one", amount=lambda question, suggested, agreed: agreed)) as session:
        assert (session.budget().cost_usd, session.budget().tokens) == (None, 2_000_000)


def test_a_proposer_that_nobody_pays_needs_no_wall(toy: Toy) -> None:
    with Session(toy.project, Wish(name="one")) as session:
        assert session.paying() == []


# -- spending ----------------------------------------------------------------------------------------------------------


def test_no_proposal_may_spend_more_than_is_left(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(task=TASK + "[budget]\ncost_usd = 2.2\n")
    hired = Hired(costing(0.9, 0.9, 0.4))
    assert run(toy, hired).reason == "cost"
    assert [round(allowance.cost_usd, 2) for _, allowance in hired.asked] == [1.0, 1.0, 0.4]
    assert toy.history("one").cost_usd == pytest.approx(2.2)


def test_proposals_side_by_side_never_hold_more_than_there_is(make_toy: Callable[..., Toy]) -> None:
    toy, held, most = make_toy(task=TASK + "[budget]\ncost_usd = 2.5\n"), [], []

    class Slow(Hired):
        async def propose(self, brief: Brief, draft: Any) -> Any:
            held.append(brief.allowance.cost_usd)
            most.append(sum(held))
            await anyio.sleep(0.05)
            try:
                return await super().propose(brief, draft)
            finally:
                held.remove(brief.allowance.cost_usd)

    assert run(toy, Slow(costing(0.3)), Wish(name="one", proposals=4)).reason == "cost"
    assert max(most) <= 2.5 + 1e-9
    assert len(most) > 4
    assert toy.history("one").cost_usd <= 2.5 + 0.3


def test_what_a_killed_attempt_spent_counts_before_anything_is_asked(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(task=TASK + "[budget]\ncost_usd = 2\n")
    run(toy, Hired(costing(0.1)), Wish(name="one", experiments=1))
    ledger = toy.project.ledger()
    from autoresearch.records import Event

    ledger.own("one")
    ledger.append("one", Event("run_started", None, {}), Event("asked", 2, {"parents": [1]}))
    ledger.close()
    folder = toy.project.paths.run("one").experiment(2)
    folder.mkdir(parents=True)
    (folder / "cost.jsonl").write_text('{"cost_usd": 1.95, "tokens": 7}\n')
    hired = Hired(costing(0.1), ready=RuntimeError("nobody may be asked: the budget is spent"))
    assert run(toy, hired).reason == "cost"
    assert hired.asked == []
    history = toy.history("one")
    assert history.cost_usd == pytest.approx(2.05)
    assert history.experiments[2].cost_usd == pytest.approx(1.95)
    run(toy, hired)
    assert toy.history("one").cost_usd == pytest.approx(2.05)  # counted once


# -- before the baseline -----------------------------------------------------------------------------------------------


def test_a_wrong_key_stops_before_anything_is_measured(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy()
    with pytest.raises(ProposerUnfit, match="wrong key") as refused:
        run(toy, Hired(costing(0.1), ready=ProposerUnfit("wrong key: export another")))
    assert refused.value.exit_code == 2
    history = toy.history("one")
    assert history.evaluations == 0
    assert history.run is not None
    assert (history.run.status, history.run.stop_reason) == ("open", "error")


def test_trying_it_out_is_in_the_ledger_before_anything_is_measured(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy()
    hired = Hired(costing(0.1), ready=Ready("hired 1.0", 0.03, 5))
    run(toy, hired, Wish(name="one", experiments=1))
    kinds = [(event.kind, event.body.get("what")) for event in toy.events]
    assert kinds.index(("note", "spent")) < kinds.index(("measured", None))
    assert toy.history("one").cost_usd == pytest.approx(0.13)
    run(toy, hired, Wish(name="one", experiments=1))
    assert toy.history("one").cost_usd == pytest.approx(0.26)


def test_what_a_try_spent_that_was_killed_counts_and_its_keys_are_gone(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy()
    folder = toy.project.paths.run("one").cache / "ready" / "knobs"
    folder.mkdir(parents=True)
    (folder / "cost-1.jsonl").write_text('{"cost_usd": 0.07, "tokens": 3}\n{"cost_us')
    (folder / "key").write_text("sk-dummy")
    run(toy, Hired(costing(0.1)), Wish(name="one", experiments=1))
    assert toy.history("one").cost_usd == pytest.approx(0.17)
    assert not folder.exists()


def test_a_rate_limit_at_the_start_is_no_reason_to_stop(make_toy: Callable[..., Toy]) -> None:
    toy, said = make_toy(), []
    hired = Hired(costing(0.1), ready=ProposerWaits("rate_limit", "429", 0.3))

    def watch(what: str, details: Any) -> None:
        said.extend([details["words"]] if what == "mended" else [])

    assert run(toy, hired, Wish(name="one", experiments=2), watch=watch).reason == "session"
    assert any("cannot be had now (429): the baseline comes first" in words for words in said)
    assert len(hired.asked) == 2


def test_a_model_that_turns_out_to_have_no_price_is_not_held_by_a_wall_of_money(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(task=TASK + "[budget]\ncost_usd = 2\n")
    with pytest.raises(ProposerUnfit, match="no price is known of what answers"):
        run(toy, Hired(costing(0.1), ready=Ready("hired 1.0, mystery", 0.0, 50)))
    assert toy.history("one").evaluations == 0


# -- evaluations that cost money ---------------------------------------------------------------------------------------

PAYING = """\
import pathlib
value = float(pathlib.Path("knob.txt").read_text())
print(f"score: {value}")
print("METRIC cost_usd=0.1")
"""


def test_evaluations_that_cost_money_are_counted_and_stop_at_the_wall(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy({"evaluate.py": PAYING}, task=TASK + "[budget]\ncost_usd = 1.0\n")
    ending = run(toy, Scripted(costing(0.0)))
    history = toy.history("one")
    assert ending.reason == "cost"
    assert "an evaluation costs up to 0.10 USD" in ending.words or "kept for the final" in ending.words
    assert history.cost_usd == pytest.approx(0.1 * history.evaluations)
    assert history.cost_usd <= 1.0 + 1e-9
    assert history.evaluations == 10  # the final comparison has had what was kept for it
    assert any(m.phase == "final" for m in history.experiments[0].measurements)
    assert "1.00 USD" in last_lines(history)[0]


def test_a_crash_that_cost_money_is_counted_too(make_toy: Callable[..., Toy]) -> None:
    code = PAYING + "import sys\nsys.exit(value < 10)\n"
    toy = make_toy({"evaluate.py": code})
    run(toy, Scripted([Patch({"knob.txt": "9\n"})]))
    history = toy.history("one")
    assert history.experiments[1].measurements[0].cost_usd == pytest.approx(0.1)
    assert history.cost_usd == pytest.approx(0.3)


def test_what_the_gate_costs_counts_and_what_a_check_costs_does_not(make_toy: Callable[..., Toy]) -> None:
    task = (
        TASK
        + """
[gate]
command = "python gate.py"
private = ["gate.py"]
[[check]]
name = "dear"
command = "echo METRIC cost_usd=100"
"""
    )
    gate = "print('score:', float(open('knob.txt').read()))\nprint('METRIC cost_usd=0.5')\n"
    toy = make_toy({"gate.py": gate}, task=task)
    run(toy, Scripted([Patch({"knob.txt": "9\n"})]))
    history = toy.history("one")
    assert history.experiments[1].kept
    asked = [m for e in history.experiments for m in e.measurements if m.phase == "gate"]
    assert asked
    assert history.cost_usd == pytest.approx(0.5 * len(asked))


def test_the_metric_may_be_the_cost_itself(make_toy: Callable[..., Toy]) -> None:
    code = "import pathlib\nprint('cost_usd: ' + pathlib.Path('knob.txt').read_text())\n"
    toy = make_toy({"evaluate.py": code, "knob.txt": "0.5\n"}, task=TASK.replace('"score"', '"cost_usd"'))
    run(toy, Scripted([Patch({"knob.txt": "0.25\n"})]))
    history = toy.history("one")
    assert history.experiments[1].value == 0.25
    assert history.experiments[1].kept
    assert history.experiments[1].measurements[0].cost_usd == 0.25


# -- the forecast ------------------------------------------------------------------------------------------------------


def test_a_forecast_after_five_experiments_is_within_a_fifth_of_what_thirty_cost(hire: Callable[..., Toy]) -> None:
    toy = hire("[budget]\ncost_usd = 50\nexperiments = 30\n")
    usage = random.Random(5)
    usd = [usage.uniform(0.07, 0.13) for _ in range(30)]
    run(toy, named(costing(*usd, tokens=1000)), Wish(name="one", experiments=5))
    with Session(toy.project, Wish(name="one")) as session:
        expected = session.history.cost_usd + (session.forecast.cost_usd or 0.0)
        assert (session.forecast.experiments, session.forecast.proposals) == (25, 5)
    run(toy, named(costing(*usd, tokens=1000)), Wish(name="one"))
    history = toy.history("one")
    assert len(history.experiments) == 31
    assert expected == pytest.approx(history.cost_usd, rel=0.2)


def named(script: Callable[[Brief], Patch]) -> Hired:
    """As the plug-in names itself in the ledger."""
    return Hired(script)


# -- who pays ----------------------------------------------------------------------------------------------------------

CLAUDE = '[proposer]\nkind = "claude"\nmodel = "claude-sonnet-4-5"\n[budget]\ncost_usd = 4\n'


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A key and a subscription's token are set."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-dummy-0123456789")
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", "token-dummy-0123456789")


@pytest.mark.usefixtures("both")
def test_with_a_key_and_a_subscription_the_owner_is_asked_once_who_pays(make_toy: Callable[..., Toy]) -> None:
    toy, asked = make_toy(task=TASK + CLAUDE), []

    def confirm(question: str) -> bool:
        asked.append(question)
        return True

    with Session(toy.project, Wish(name="one", confirm=confirm)) as session:
        assert session.logins["claude"].subscription
        assert "ANTHROPIC_API_KEY" in session.logins["claude"].hidden
        assert "at most 4.00 USD at list price" in session.paying()[0]
    with Session(toy.project, Wish(name="one")) as session:  # remembered
        assert session.logins["claude"].subscription
    assert len(asked) == 1
    assert asked[0].endswith("are both there: let the subscription pay, and hide the key from claude?")
    assert consent.login(toy.project.paths, "claude") == "subscription"


@pytest.mark.usefixtures("both")
def test_without_anybody_to_ask_the_message_names_the_key_to_set(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(task=TASK + CLAUDE)
    with pytest.raises(SetupError, match=r'either could pay for claude: \[proposer\] login = "subscription", or'):
        Session(toy.project, Wish(name="one"))
    toy.write({"autoresearch.toml": TASK + CLAUDE.replace("[budget]", 'login = "api_key"\n[budget]')})
    toy.moved()
    with Session(toy.project, Wish(name="one")) as session:
        assert not session.logins["claude"].subscription
        assert "pays: ANTHROPIC_API_KEY, at most 4.00 USD" in session.paying()[0]


def test_with_nobody_to_pay_the_message_says_what_to_do(
    make_toy: Callable[..., Toy], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SetupError, match="nobody would pay for claude: claude has no log-in: export ANTHROPIC_API_KEY"):
        Session(make_toy(task=TASK + CLAUDE).project, Wish(name="one"))


# -- --dry-run ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("both")
def test_dry_run_shows_everything_and_writes_nothing(make_toy: Callable[..., Toy], capsys: pytest.CaptureFixture[str]) -> None:
    toy = make_toy(task=TASK + CLAUDE)
    before = fingerprint(toy.folder)
    show_proposals(toy.folder, Flags())
    out = capsys.readouterr().out
    assert "claude would be started by: claude -p " in out
    assert "dummy" not in out  # neither the key nor the token
    assert "either could pay for claude" in out
    assert "what claude would be told for experiment 1 (there" in out
    assert "there is no baseline yet: its number stands as 0" in out
    assert "Edit only: knob.txt, extra/**" in out
    assert "forecast: at a guess" in out
    assert fingerprint(toy.folder) == before
    assert not (toy.folder / ".autoresearch").exists()
    show_proposals(toy.folder, Flags(json=True))
    body = json.loads(capsys.readouterr().out)
    assert body["calls"][0]["proposer"] == "claude"
    assert body["baseline"] is False


@pytest.mark.usefixtures("both")
def test_dry_run_of_a_mix_shows_what_the_reader_would_be_told_at_its_own_turn(
    make_toy: Callable[..., Toy], capsys: pytest.CaptureFixture[str]
) -> None:
    mix = '[[proposer]]\nkind = "claude"\nlogin = "api_key"\nshare = 1\n[[proposer]]\nkind = "knobs"\nshare = 2\n'
    toy = make_toy(task=TASK + mix)
    show_proposals(toy.folder, Flags())
    out = capsys.readouterr().out
    assert "what claude would be told for experiment 1, if it were its turn: knobs is asked first" in out
    assert "Kind of change: " in out
    assert "40 turns, 500000 tokens, 1.00 USD" in out


def test_dry_run_of_a_run_that_goes_on_shows_its_next_experiment(
    hire: Callable[..., Toy], capsys: pytest.CaptureFixture[str]
) -> None:
    toy = hire("[budget]\ncost_usd = 5\n")
    run(toy, Hired(costing(0.1)), Wish(name="one", experiments=2))
    events = sum(1 for _ in toy.project.ledger(read_only=True).events("one"))
    show_proposals(toy.folder, Flags())
    out = capsys.readouterr().out
    assert "at most 5.00 USD (0.20 USD spent)" in out
    assert "would be told for experiment 3:" in out
    assert "about 9.80 USD for 98 experiments, by the last 2 proposals" in out
    assert sum(1 for _ in toy.project.ledger(read_only=True).events("one")) == events


# -- at a terminal -----------------------------------------------------------------------------------------------------


def at_a_terminal(toy: Toy, answer: bytes, *args: str) -> str:
    """What `run` prints there, once the question where to stop is answered."""
    pid, fd = pty.fork()
    if not pid:
        os.execv(sys.executable, [sys.executable, "-m", "autoresearch", "run", "one", "--folder", str(toy.folder), *args])
    printed = b""
    while True:
        try:
            found = os.read(fd, 65536)
        except OSError:
            break
        if b"stop at how many USD" in found:
            os.write(fd, answer)
        printed += found
    os.close(fd)
    os.waitpid(pid, 0)
    return printed.decode("utf-8", "replace")


def test_a_terminal_asks_where_to_stop_and_suggests_more_than_the_forecast(
    hire: Callable[..., Toy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    toy = hire("[budget]\nexperiments = 4\n")
    printed = at_a_terminal(toy, b"\n", "-n", "1")
    assert "at a guess 0.12 USD for 4 experiments; stop at how many USD? [0.2]:" in printed
    assert "pays: TUTOR_KEY, at most 0.20 USD" in printed
    assert toy.history("one").agenda.wall.cost_usd == 0.2
    assert "stop at how many USD" not in at_a_terminal(toy, b"\n", "-n", "1")
