"""A model without a program, from its requests to the keep: each wire format, weak models, limits, errors, kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.agents.model_server import ModelServer
from tests.agents.script import Step, call, edit, fail, hang, refuse, say, script
from tests.conftest import TASK, Toy

from autoresearch.choice import Wish
from autoresearch.errors import ProposerUnfit, SetupError
from autoresearch.proposers import dialogue
from autoresearch.records import Experiment

KEY = "sk-dummy-of-a-test-1234567890"
LAST = "description: lowers the knob\nhypothesis: less is better\nexpect: -10 %"
WIRES = {  # the model, what follows the server's address, and the price of an answer of 1000 tokens, 200 cached and 50 written
    "anthropic": ("anthropic:claude-sonnet-4-5", "", (1000 * 3 + 200 * 0.3 + 50 * 15) / 1e6),
    "responses": ("openai:gpt-5", "/v1", (1000 * 1.25 + 200 * 0.125 + 50 * 10) / 1e6),
    "chat": ("openai-chat:gpt-5", "/v1", (1000 * 1.25 + 200 * 0.125 + 50 * 10) / 1e6),
    "gemini": ("google:gemini-2.5-pro", "", (1000 * 1.25 + 200 * 0.125 + 50 * 10) / 1e6),
}
EACH = 1250  # tokens of an answer


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModelServer]]:
    """Start a scripted server; keys are there for each provider."""
    servers: list[ModelServer] = []
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, KEY)

    def start(sessions: dict[int | str, Sequence[Step]] | None = None, **options: Any) -> ModelServer:
        options = {"plain": True, "keys": [KEY], "otherwise": [say("ready")], **options}
        servers.append(ModelServer(tmp_path / f"server-{len(servers)}", script(sessions, **options)))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


def task(
    server: ModelServer, wire: str = "anthropic", *, more: str = "", budget: str = "cost_usd = 5", evaluate: str = ""
) -> str:
    model, path, _ = WIRES[wire]
    proposer = f'[proposer]\nkind = "llm"\nmodel = "{model}"\nbase_url = "{server.url}{path}"\n{more}\n'
    text = TASK.replace('command = "python evaluate.py"', f'command = "python evaluate.py"\n{evaluate}')
    return f"{text}\n{proposer}\n[budget]\n{budget}\n"


def one(toy: Toy, experiments: int = 1, **options: Any) -> Experiment:
    toy.run(wish=Wish(name="one", experiments=experiments), **options)
    return toy.history().experiments[1]


def records(toy: Toy, n: int = 1) -> Path:
    return toy.project.paths.run("one").experiment(n)


def verdict(e: Experiment) -> tuple[str, str]:
    assert e.verdict is not None
    return e.verdict.kind.value, e.verdict.reason


@pytest.mark.parametrize("wire", WIRES)
def test_whole_run_by_tools_ends_in_a_keep_with_its_exact_cost(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer], wire: str
) -> None:
    server = serve({1: [edit("knob.txt", "10", "9"), say(LAST)]})
    toy = make_toy(task=task(server, wire))
    e = one(toy)
    assert verdict(e) == ("keep", "better")
    assert (e.description, e.hypothesis, e.expected) == ("lowers the knob", "less is better", -0.1)
    assert (e.turns, e.tokens, e.model) == (2, 2 * EACH, WIRES[wire][0].partition(":")[2])
    assert e.cost_usd == pytest.approx(2 * WIRES[wire][2], rel=1e-9)
    assert toy.git("show", "autoresearch/one:knob.txt") == "9\n"
    assert [call["model"] for call in server.calls(1)] == [e.model] * 2
    assert server.connects() == []


@pytest.mark.parametrize("wire", WIRES)
def test_whole_run_by_edits_in_the_answer(make_toy: Callable[..., Toy], serve: Callable[..., ModelServer], wire: str) -> None:
    reply = f"I lower it.\n\nknob.txt\n<<<<<<< SEARCH\n10\n=======\n9\n>>>>>>> REPLACE\n\n{LAST}"
    server = serve({1: [say(reply)]})
    toy = make_toy(task=task(server, wire, more='edits = "blocks"'))
    e = one(toy)
    assert verdict(e) == ("keep", "better")
    assert (e.turns, e.tokens, e.description) == (1, EACH, "lowers the knob")
    assert e.cost_usd == pytest.approx(WIRES[wire][2], rel=1e-9)
    (call,) = server.calls(1)
    assert call["tools"] == []
    assert "knob.txt\n```\n10\n```" in "\n".join(call["users"])


# -- weak models -------------------------------------------------------------------------------------------------------

MODEL = """\
import math


def knob():
    value = 10
    if value > 100:
        value = 100
    return value


def other():
    value = 3
    return value
"""
EVALUATE = "from model import knob\nprint(f'score: {knob()}')\n"
BLOCK = "model.py\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n"
GOOD = BLOCK.format(old="    value = 10", new="    value = 9") + LAST
TWICE = BLOCK.format(old="    return value", new="    return value - 1") + LAST
PARTIAL = BLOCK.format(old="def knob():\n    value = 10\n    return value", new="def knob():\n    return 9") + LAST
OUTSIDE = GOOD.replace("model.py", "evaluate.py")


def weak(make_toy: Callable[..., Toy], server: ModelServer, *, more: str = "", evaluate: str = "", quick: str = "") -> Toy:
    text = task(server, "chat", more=f'edits = "blocks"\n{more}', evaluate=evaluate)
    files = {"model.py": MODEL, "evaluate.py": EVALUATE} | ({"quick.py": quick} if quick else {})
    return make_toy(files, task=text.replace('["knob.txt", "extra/**"]', '["model.py", "extra/**"]'))


@pytest.mark.parametrize(
    ("replies", "told"),
    [
        ([GOOD.replace("    value", "value")], []),
        ([GOOD.replace("    value", "\tvalue")], []),
        (["Certainly! I lower it.\n\n```python\n" + GOOD.replace("description", "```\n\nHope that helps.\ndescription")], []),
        ([GOOD.replace("model.py", "**`./model.py`**:")], []),
        (["model.py\n```python\n" + MODEL.replace("10\n", "9\n") + "```\n" + LAST], []),
        ([PARTIAL, GOOD], ["the searched lines do not stand there. Nearest is:", "value > 100"]),
        ([TWICE, GOOD], ["stand there 2 times (at lines 8, 13)"]),
        ([OUTSIDE, GOOD], ["evaluate.py: it may not be changed; files that may be changed: model.py"]),
        (["I would lower the value.", GOOD], ["There is no edit in your answer"]),
        ([GOOD.partition(">>>>>>>")[0], GOOD], ["no closing line"]),
        (["model.py\n```python\n    value = 9\n```", GOOD], ["is the text at line 2 of your reply the whole file?"]),
        ([PARTIAL, TWICE, "what?", GOOD], ["do not stand there", "2 times", "There is no edit"]),
    ],
)
def test_edits_of_a_weak_model_are_taken_or_reported_back_until_they_fit(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer], replies: list[str], told: list[str]
) -> None:
    server = serve({1: [say(reply) for reply in replies]})
    toy = weak(make_toy, server)
    e = one(toy)
    assert verdict(e) == ("keep", "better")
    assert toy.git("show", "autoresearch/one:model.py") == MODEL.replace("10\n", "9\n")
    assert (e.turns, e.tokens, e.description) == (len(replies), len(replies) * EACH, "lowers the knob")
    answers = "\n".join(server.calls(1)[-1]["users"][1:])
    assert all(words in answers for words in told)
    assert len(server.calls(1)[-1]["users"]) == len(replies)


def test_blocks_that_fit_are_not_asked_for_again(make_toy: Callable[..., Toy], serve: Callable[..., ModelServer]) -> None:
    second = BLOCK.format(old="    return value\n\n\ndef other():", new="    return value - 1\n\n\ndef other():")
    server = serve({1: [say(GOOD + TWICE), say(second + LAST)]})
    toy = weak(make_toy, server)
    e = one(toy)
    assert verdict(e) == ("keep", "better")
    assert e.value == 8
    assert "The other edits, in 1 file, are in place" in server.calls(1)[-1]["users"][-1]


@pytest.mark.parametrize(
    ("replies", "reason", "words"),
    [
        ([PARTIAL, TWICE, PARTIAL, TWICE], "proposer_blocks", "do not stand there"),
        ([PARTIAL, PARTIAL, GOOD], "proposer_blocks", "an edit never fitted: model.py: the searched lines do not stand there"),
        ([GOOD + TWICE, PARTIAL, TWICE, "?"], "proposer_blocks", "stand there 2 times"),
        (["no idea", "none at all", "none"], "proposer_turns", "limit of 3 turns"),
        (["no idea", "no idea"], "proposer_no_reply", "same useless answer twice"),
    ],
)
def test_edits_that_never_fit_are_a_failure_that_says_which_and_hand_nothing_on(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer], replies: list[str], reason: str, words: str
) -> None:
    server = serve({1: [say(reply) for reply in replies]})
    toy = weak(make_toy, server, more="max_turns = 3")
    e = one(toy)
    assert verdict(e) == ("invalid", reason)
    assert e.verdict is not None
    assert words in e.verdict.words
    assert e.tree == ""
    assert e.tokens == len(server.calls(1)) * EACH  # paid for all the same


@pytest.mark.parametrize("edits", ["tools", "blocks"])
def test_quick_test_that_fails_is_given_back_in_the_same_conversation(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer], edits: str
) -> None:
    bad, mended = BLOCK.format(old="    value = 10", new="    value = 9 +"), BLOCK.format(old="value = 9 +", new="value = 9")
    by_tools = [
        edit("model.py", "value = 10\n", "value = 9 +\n"),
        say("x"),
        edit("model.py", "value = 9 +", "value = 9"),
        say(LAST),
    ]
    server = serve({1: [say(bad + LAST), say(mended + LAST)] if edits == "blocks" else by_tools})
    toy = weak(make_toy, server, evaluate='quick = "python quick.py"', quick="import model\nprint('fine')\n")
    text = (toy.folder / "autoresearch.toml").read_text().replace('edits = "blocks"', f'edits = "{edits}"')
    toy.write({"autoresearch.toml": text})
    toy.commit()
    e = one(toy)
    assert verdict(e) == ("keep", "better")
    told = server.calls(1)[-1]["users"][-1]
    assert "The quick test of your change failed" in told
    assert "SyntaxError" in told


# -- tools -------------------------------------------------------------------------------------------------------------


def test_tools_show_search_change_and_try_out_and_stay_in_scope(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer]
) -> None:
    steps = [
        call("list_files"),
        call("read_file", path="evaluate.py", start=2, end=3),
        call("search_files", pattern="kn[o]b", files="*.py"),
        call("edit_file", path="evaluate.py", old_text="score", new_text="core"),
        call("write_file", path="../../out.txt", content="x"),
        call("read_file", path="/etc/passwd"),
        call("read_file", path=".git/config"),
        call("edit_file", path="knob.txt", old_text="11", new_text="9"),
        call("write_file", path="extra/note.txt", content="a note\n"),
        call("delete_file", path="extra/note.txt"),
        call("write_file", path="knob.txt", content="8\n"),
        call("try_out", what="quick"),
        call("try_out", what="all"),
        call("bash", command="id"),
        call("read_file"),
        say(LAST),
    ]
    server = serve({1: steps})
    quick = "import pathlib\nprint('looking at', pathlib.Path('knob.txt').read_text())\n"
    toy = make_toy({"quick.py": quick}, task=task(server, evaluate='quick = "python quick.py"'))
    e = one(toy)
    assert verdict(e) == ("keep", "better")
    assert e.value == 8
    results = server.calls(1)[-1]["results"]
    assert {"evaluate.py", "knob.txt  (may be changed)", "quick.py"} <= set(results[0].splitlines())
    assert ".git/config" not in results[0]
    assert results[1].startswith("    2  value = float")
    assert 'evaluate.py:2: value = float(pathlib.Path("knob.txt").read_text())' in results[2]
    assert results[3:7] == [
        "error: evaluate.py may not be changed: only knob.txt, extra/**",
        "error: ../../out.txt is outside of the tree: paths are relative to the project's folder",
        "error: /etc/passwd is outside of the tree: paths are relative to the project's folder",
        "error: .git/config leads out of the tree, or to what is not shown",
    ]
    assert results[7] == "error: the old text does not stand in knob.txt. Nearest is:\n    1  10"
    assert results[8:11] == ["extra/note.txt is made: 1 line", "extra/note.txt is deleted", "knob.txt is written: 1 line"]
    assert results[11].startswith("passed: the quick test passed")
    assert results[12] == "error: 'all' is not allowed here ([proposer] may_run = 'quick')"
    assert results[13].startswith("error: there is no tool bash: there are list_files, ")
    assert results[14] == "error: path: Field required; give all arguments as the tool has them"


def test_model_that_repeats_itself_is_ended(make_toy: Callable[..., Toy], serve: Callable[..., ModelServer]) -> None:
    server = serve({1: [call("list_files")] * 9})
    e = one(make_toy(task=task(server)))
    assert verdict(e) == ("invalid", "proposer_loop")
    assert e.turns == 5


def test_search_that_takes_for_ever_is_ended(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoresearch.proposers.desk._SEARCH_S", 1.0)
    server = serve({1: [call("search_files", pattern="(a+)+$"), edit("knob.txt", "10", "9"), say(LAST)]})
    toy = make_toy({"long.txt": "a" * 40 + "b\n"}, task=task(server))
    assert verdict(one(toy)) == ("keep", "better")
    assert server.calls(1)[-1]["results"][0] == "error: the search took more than 1 s: a simpler expression, or fewer files"


# -- limits ------------------------------------------------------------------------------------------------------------

ENDLESS = [call("search_files", pattern=f"knob{i}") for i in range(60)]


@pytest.mark.parametrize(
    ("more", "reason", "most"),
    [
        ("max_turns = 3", "proposer_turns", (3, 3 * EACH, 1.0)),
        ("max_tokens = 8000", "proposer_tokens", (6, 8000, 1.0)),
        ("max_cost_usd = 0.03", "proposer_cost", (9, 20_000, 0.03)),
    ],
)
def test_no_limit_of_a_proposal_is_passed(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer], more: str, reason: str, most: tuple[int, int, float]
) -> None:
    server = serve({1: ENDLESS})
    e = one(make_toy(task=task(server, more=more)))
    assert verdict(e) == ("invalid", reason)
    assert 2 <= e.turns <= most[0]
    assert e.tokens <= most[1]
    assert e.cost_usd <= most[2]
    assert e.tokens == len(server.calls(1)) * EACH


def test_answer_may_not_be_longer_than_what_is_left(make_toy: Callable[..., Toy], serve: Callable[..., ModelServer]) -> None:
    server = serve({1: [edit("knob.txt", "10", "9"), say(LAST)]})
    e = one(make_toy(task=task(server, more="max_tokens = 9000")))
    assert verdict(e) == ("keep", "better")
    first, second = (r["most"] for r in server.calls(1))
    assert second < first < 9000


def test_wall_of_the_run_holds_for_the_conversation_under_way(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer]
) -> None:
    server = serve({1: ENDLESS, 2: ENDLESS})
    toy = make_toy(task=task(server, budget="cost_usd = 0.03"))
    toy.run(wish=Wish(name="one", experiments=5))
    spent = toy.history().cost_usd
    assert 0.01 < spent <= 0.03
    assert spent == pytest.approx(len(server.calls()) * WIRES["anthropic"][2])


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("wrong", ["key", "model"])
def test_wrong_key_and_unknown_model_stop_before_anything_is_measured(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer], wire: str, wrong: str
) -> None:
    server = serve({}, **({"keys": ["another"]} if wrong == "key" else {"models": ["another"]}))
    toy = make_toy(task=task(server, wire))
    with pytest.raises(ProposerUnfit, match="the key was refused" if wrong == "key" else "there is no such model") as error:
        one(toy)
    assert ("API_KEY" in str(error.value)) == (wrong == "key")
    assert not any(e.kind == "measured" for e in toy.events)
    assert len(server.calls()) == 1  # not tried again


def test_nobody_at_the_address_is_told_at_once(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogue, "PAUSES_S", (0.01,))
    server = serve({})
    toy = make_toy(task=task(server))
    server.kill()
    with pytest.raises(ProposerUnfit, match=r"start the server at http://127\.0\.0\.1:"):
        one(toy)


def test_account_without_credit_is_told_at_once(make_toy: Callable[..., Toy], serve: Callable[..., ModelServer]) -> None:
    server = serve({}, otherwise=[fail(402, words="insufficient balance")])
    with pytest.raises(ProposerUnfit, match="insufficient balance: the account of OPENAI_API_KEY has no credit left"):
        one(make_toy(task=task(server, "chat")))


@pytest.mark.parametrize("wire", WIRES)
def test_rate_limit_is_waited_for_and_costs_no_experiment(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer], wire: str
) -> None:
    server = serve({1: [fail(429, retry_after_s=1, times=1), edit("knob.txt", "10", "9"), say(LAST)]})
    toy = make_toy(task=task(server, wire))
    e = one(toy)
    assert verdict(e) == ("keep", "better")
    waits = [event.body for event in toy.events if event.kind == "note" and event.body.get("what") == "waiting"]
    assert [(w["reason"], w["told"]) for w in waits] == [("rate_limit", True)]
    assert len(toy.history().experiments) == 2


def test_short_rate_limit_in_the_middle_loses_nothing_of_the_conversation(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer]
) -> None:
    server = serve({1: [edit("knob.txt", "10", "9"), fail(429, retry_after_s=1, times=1), say(LAST)]})
    toy = make_toy(task=task(server))
    e = one(toy)
    assert verdict(e) == ("keep", "better")
    assert (e.turns, e.tokens, len(server.calls(1))) == (2, 2 * EACH, 3)


@pytest.mark.parametrize("wire", WIRES)
def test_server_error_is_tried_again_at_once(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer], monkeypatch: pytest.MonkeyPatch, wire: str
) -> None:
    monkeypatch.setattr(dialogue, "PAUSES_S", (0.01, 0.01))
    server = serve({1: [fail(529 if wire == "anthropic" else 503, times=2), edit("knob.txt", "10", "9"), say(LAST)]})
    toy = make_toy(task=task(server, wire))
    assert verdict(one(toy)) == ("keep", "better")
    assert not any(event.body.get("what") == "waiting" for event in toy.events if event.kind == "note")


def test_outage_is_waited_for(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogue, "PAUSES_S", (0.01, 0.01))
    server = serve({1: [fail(500, times=4), edit("knob.txt", "10", "9"), say(LAST)]})
    toy = make_toy(task=task(server))

    def quickly(loop: Any) -> None:
        object.__setattr__(loop.books.options, "quota_waits_s", (0.05, 0.1))

    e = one(toy, ready=quickly)
    assert verdict(e) == ("keep", "better")
    waits = [event.body for event in toy.events if event.kind == "note" and event.body.get("what") == "waiting"]
    assert [w["reason"] for w in waits] == ["outage"]


@pytest.mark.parametrize(("wire", "edits"), [*((wire, "tools") for wire in WIRES), ("chat", "blocks")])
def test_refusal_is_its_own_reason(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer], wire: str, edits: str
) -> None:
    server = serve({1: [refuse("I cannot help with that.")]})
    e = one(make_toy(task=task(server, wire, more=f'edits = "{edits}"')))
    assert verdict(e) == ("invalid", "proposer_refused")
    assert e.tokens == EACH


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([say(""), say("")], "proposer_no_reply"),
        ([say("nothing to do"), say("description: nothing to do")], "no_change"),
        ([fail(400, words="temperature is not supported")], "proposer_error"),
    ],
)
def test_other_ends_have_their_reasons(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer], steps: list[Step], reason: str
) -> None:
    e = one(make_toy(task=task(serve({1: steps}))))
    assert verdict(e) == ("invalid", reason)


def test_model_that_cannot_write_so_much_is_asked_for_less(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer]
) -> None:
    too_much = "max_tokens is too large: this model supports at most 4096"
    server = serve({1: [fail(400, words=too_much, times=2), edit("knob.txt", "10", "9"), say(LAST)]})
    e = one(make_toy(task=task(server, "chat")))
    assert verdict(e) == ("keep", "better")
    assert [r["most"] for r in server.calls(1)] == [16000, 8000, 4000, 4000]


def test_key_that_is_refused_in_the_middle_ends_the_run(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer]
) -> None:
    server = serve({1: [edit("knob.txt", "10", "9"), fail(401)]})
    toy = make_toy(task=task(server))
    with pytest.raises(ProposerUnfit, match="the key was refused"):
        one(toy)
    assert toy.history().cost_usd == pytest.approx(2 * WIRES["anthropic"][2])  # of the answer before, and of trying it out


def test_time_limit_ends_a_conversation(make_toy: Callable[..., Toy], serve: Callable[..., ModelServer]) -> None:
    server = serve({1: [edit("knob.txt", "10", "9"), hang()]})
    e = one(make_toy(task=task(server, more='timeout = "3s"')))
    assert verdict(e) == ("invalid", "proposer_timeout")
    assert e.tokens == EACH


def test_without_the_extra_it_says_what_to_install(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "pydantic_ai"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pydantic_ai", None)
    with pytest.raises(ProposerUnfit, match=r'pip install "autoresearch\[llm\]"'):
        one(make_toy(task=task(serve({}))))


def test_without_a_key_it_says_which(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GEMINI_API_KEY")
    server = serve({})
    text = task(server, "gemini").replace(f'base_url = "{server.url}"\n', "")
    with pytest.raises(SetupError, match="export GEMINI_API_KEY or GOOGLE_API_KEY"):
        one(make_toy(task=text))


def test_server_of_ones_own_needs_no_key_and_a_wall_of_tokens(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve({1: [edit("knob.txt", "10", "9"), say(LAST, input=0, cached=0, output=0)]}, keys=[])
    text = task(server, "chat", budget="tokens = 100000").replace("openai-chat:gpt-5", "qwen3:8b")
    e = one(make_toy(task=text.replace(f"{server.url}/v1", server.url)))
    assert verdict(e) == ("keep", "better")
    assert e.cost_usd == 0
    assert e.tokens > EACH + 300  # an answer whose server does not count is counted by its length
    assert KEY not in str(server.calls())


# -- secrets and kills -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", WIRES)
def test_key_is_in_headers_alone_and_in_no_file(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer], wire: str
) -> None:
    said = f"the key is {KEY}"
    server = serve(
        {1: [fail(503, words=f"bad {KEY}", times=1), say(said), edit("knob.txt", "10", "9"), say(f"{said}\n{LAST}")]}
    )
    toy = make_toy(task=task(server, wire))
    assert verdict(one(toy)) == ("keep", "better")
    log = (records(toy) / "agent.log").read_text()
    assert "the key is ***" in log
    assert "calls edit_file" in log
    files = [p for p in (toy.folder / ".autoresearch").rglob("*") if p.is_file()]
    assert [str(p) for p in files if KEY.encode() in p.read_bytes()] == []
    for record in server.calls():
        told = {name: value for name, value in record.items() if name not in ("headers", "users")}
        assert "path" not in told or KEY not in told["path"]
        assert sum(KEY in value for value in record["headers"].values()) == 1


def test_killed_in_a_conversation_goes_on_and_forgets_no_money(
    make_toy: Callable[..., Toy], serve: Callable[..., ModelServer]
) -> None:
    server = serve({1: [edit("knob.txt", "10", "9"), call("list_files"), hang(times=1), say(LAST)]})
    toy = make_toy(task=task(server))
    argv = [sys.executable, "-m", "autoresearch", "run", "one", "-n", "1", "-C", str(toy.folder)]
    with open(os.devnull, "wb") as nowhere:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=nowhere, stderr=nowhere)
    try:
        began = time.monotonic()
        while len(server.calls(1)) < 3 and time.monotonic() - began < 60:
            time.sleep(0.02)
        assert len(server.calls(1)) == 3
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    toy.moved()
    e = one(toy)
    assert verdict(e) == ("keep", "better")
    answered = [r for r in server.calls(1) if r["usage"]]
    assert len(answered) == 2 + 3
    assert e.tokens == len(answered) * EACH
    assert e.cost_usd == pytest.approx(len(answered) * WIRES["anthropic"][2])
    assert len(list(records(toy).glob("cost-llm-*.jsonl"))) == 2
