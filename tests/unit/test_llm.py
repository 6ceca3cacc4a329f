"""A model without a program: what its table means, what its server's errors mean, and what it can reach of the files."""

from __future__ import annotations

import os
import re
import socket
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from autoresearch import proposers
from autoresearch.errors import ProposerUnfit, ProposerWaits, SetupError
from autoresearch.patience import Patience
from autoresearch.proposers import troubles
from autoresearch.proposers.desk import Desk, Wrong
from autoresearch.proposers.dialogue import Dialogue, Purse, Stopped
from autoresearch.proposers.endpoint import Endpoint, endpoint, logins, opened
from autoresearch.proposers.llm import Llm
from autoresearch.proposers.llm_tools import definitions
from autoresearch.records import Allowance, Usage
from autoresearch.taskfile.schema import Price, Proposer
from autoresearch.taskfile.scope import Scope

HOME = Path("/nowhere")


def table(**keys: Any) -> Proposer:
    return Proposer(kind="llm", **keys)


# -- what a table means ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "where"),
    [
        ({"model": "anthropic:claude-sonnet-4-5"}, Endpoint("anthropic", "claude-sonnet-4-5", "")),
        ({"model": "claude-sonnet-4-5"}, Endpoint("anthropic", "claude-sonnet-4-5", "")),
        ({"model": "gpt-5.5"}, Endpoint("openai", "gpt-5.5", "")),
        ({"model": "o4-mini"}, Endpoint("openai", "o4-mini", "")),
        ({"model": "gemini-2.5-pro"}, Endpoint("google", "gemini-2.5-pro", "")),
        ({"model": "openrouter:qwen/qwen3-coder:free"}, Endpoint("openrouter", "qwen/qwen3-coder:free", "")),
        ({"model": "ollama:qwen3:8b"}, Endpoint("ollama", "qwen3:8b", "http://127.0.0.1:11434/v1")),
        ({"model": "vllm:q/w", "base_url": "http://gpu:8000/v1"}, Endpoint("vllm", "q/w", "http://gpu:8000/v1")),
        ({"model": "qwen3:8b", "base_url": "http://127.0.0.1:11434"}, Endpoint("", "qwen3:8b", "http://127.0.0.1:11434/v1")),
        ({"model": "gpt-5", "base_url": "https://proxy.example/v1"}, Endpoint("", "gpt-5", "https://proxy.example/v1")),
        (
            {"model": "openai:gpt-5", "base_url": "https://proxy.example/v1"},
            Endpoint("openai", "gpt-5", "https://proxy.example/v1"),
        ),
    ],
)
def test_model_and_address_are_read_as_they_are_written(keys: dict[str, str], where: Endpoint) -> None:
    assert endpoint(table(**keys)) == where


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "needs a model"),
        ({"model": "llama3"}, "expected provider:model"),
        ({"model": "gpt-5", "effort": "huge"}, "expected one of minimal, low, medium, high, xhigh, max"),
    ],
)
def test_table_that_names_no_model_says_what_is_expected(keys: dict[str, str], words: str) -> None:
    with pytest.raises(SetupError, match=words):
        endpoint(table(**keys))


LOCAL = "http://localhost:8080/v1"


@pytest.mark.parametrize(
    ("keys", "environ", "words"),
    [
        ({"model": "anthropic:c"}, {"ANTHROPIC_API_KEY": "k"}, ["ANTHROPIC_API_KEY"]),
        ({"model": "google:g"}, {"GOOGLE_API_KEY": "k"}, ["GOOGLE_API_KEY"]),
        ({"model": "anthropic:c"}, {"OPENAI_API_KEY": "k"}, []),
        ({"model": "anthropic:c", "api_key_env": "MINE"}, {"ANTHROPIC_API_KEY": "k", "MINE": "m"}, ["MINE"]),
        ({"model": "anthropic:c", "api_key_env": "MINE"}, {"ANTHROPIC_API_KEY": "k"}, []),
        ({"model": "anthropic:c", "login": "subscription"}, {"ANTHROPIC_API_KEY": "k"}, []),
        ({"model": "q", "base_url": LOCAL}, {"OPENAI_API_KEY": "k"}, [f"nobody ({LOCAL})"]),
        ({"model": "q", "base_url": LOCAL, "api_key_env": "MINE"}, {"MINE": "m"}, ["MINE"]),
        ({"model": "ollama:q"}, {}, ["nobody (http://127.0.0.1:11434/v1)"]),
        ({"model": "q", "base_url": "https://example.org/v1"}, {"OPENAI_API_KEY": "k"}, ["OPENAI_API_KEY"]),
        ({"model": "q", "base_url": "https://example.org/v1"}, {}, []),
    ],
)
def test_who_pays(keys: dict[str, str], environ: Mapping[str, str], words: list[str]) -> None:
    found = logins(table(**keys), environ, HOME)
    assert [login.words for login in found] == words
    assert proposers.logins(table(**keys), environ, HOME) == found
    assert proposers.no_login(table(**keys))


def test_price_is_of_the_list_or_of_the_task_and_a_server_of_ones_own_has_none() -> None:
    paid = logins(table(model="gpt-5"), {"OPENAI_API_KEY": "k"}, HOME)[0]
    mine = {"model": "gpt-5", "base_url": LOCAL}
    free = logins(table(**mine), {}, HOME)[0]
    assert Llm(table(model="gpt-5"), login=paid).priced()
    assert not Llm(table(model="my-model", base_url="https://example.org/v1"), login=paid).priced()
    assert not Llm(table(**mine), login=free).priced()
    assert Llm(table(**mine, price=Price(input=1, output=2)), login=free).priced()
    cost_usd, tokens = Llm(table(model="gpt-5"), login=paid).usual()
    assert cost_usd == pytest.approx((16_000 * 1.25 + 90_000 * 0.125 + 5_000 * 10) / 1e6, rel=0.01)
    assert tokens == 111_000


@pytest.mark.parametrize(
    ("may_run", "names"),
    [("none", []), ("quick", ["quick"]), ("checks", ["quick", "checks"]), ("all", ["quick", "checks", "all"])],
)
def test_tools_offer_what_may_be_run_and_no_more(may_run: str, names: list[str]) -> None:
    offered = {tool.name: tool for tool in definitions(may_run)}
    assert ("try_out" in offered) == bool(names)
    if names:
        assert offered["try_out"].parameters_json_schema["properties"]["what"]["enum"] == names
    assert offered["edit_file"].parameters_json_schema["required"] == ["path", "old_text", "new_text"]
    assert all(tool.description for tool in offered.values())


def examples() -> list[dict[str, Any]]:
    page = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()
    section = page.partition("## A model without a program")[2].partition("\n## ")[0]
    return [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", section, re.DOTALL)]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example["proposer"]["model"])
def test_documented_example_names_a_model_that_can_be_had(example: dict[str, Any]) -> None:
    found = Proposer.model_validate(example["proposer"])
    environ = dict.fromkeys((*endpoint(found).keys, found.api_key_env), "k")
    (login,) = logins(found, environ, HOME)
    assert Llm(found, login=login).priced() or example["budget"]["tokens"]

    async def open_it() -> None:
        async with opened(endpoint(found), login) as model:
            assert model.model_name == endpoint(found).model

    anyio.run(open_it)


def test_server_on_this_machine_is_asked_without_a_key_in_any_wire_format() -> None:
    async def open_it(model: str) -> None:
        found = table(model=model, base_url="http://127.0.0.1:9/v1")
        (login,) = logins(found, {}, HOME)
        async with opened(endpoint(found), login) as model_of_it:
            assert model_of_it.model_name == "m"

    for provider in ("anthropic", "google", "openai", "openai-chat", "vllm"):
        anyio.run(open_it, f"{provider}:m")


# -- errors of servers -------------------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 21, 3, 0, 0, tzinfo=UTC)


def http_error(status: int, headers: Mapping[str, str] | None = None, body: object = None) -> Any:
    from pydantic_ai.exceptions import ModelHTTPError

    return ModelHTTPError(status, "m", body, headers=headers or {})


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "17"}, 17.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        (
            {
                "x-ratelimit-reset-requests": "120ms",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "6m0s",
                "x-ratelimit-remaining-tokens": "900",
            },
            0.12,
        ),
        ({"anthropic-ratelimit-tokens-reset": "2026-11-21T03:01:30Z", "anthropic-ratelimit-tokens-remaining": "0"}, 90.0),
        ({"x-ratelimit-reset": str(int(NOW.timestamp() + 45) * 1000)}, 45.0),
        ({"x-ratelimit-reset": str(int(NOW.timestamp() + 45))}, 45.0),
        ({}, None),
        ({"Retry-After": "soon"}, None),
    ],
)
def test_end_of_a_rate_limit_is_read_from_headers(headers: Mapping[str, str], seconds: float | None) -> None:
    assert troubles.after_s(http_error(429, headers), NOW) == seconds


def test_end_of_a_rate_limit_is_read_from_a_date_and_from_words() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert troubles.after_s(http_error(429, {"Retry-After": later})) == pytest.approx(100, abs=3)
    assert troubles.after_s(http_error(429, body={"error": {"message": "Please try again in 20s."}})) == 20.0


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "rejected"), (422, "rejected"), (408, "later"), (402, "limit"), (429, "limit"), (503, "later")]
)
def test_errors_are_told_apart_by_what_follows(status: int, kind: str) -> None:
    error = http_error(status)
    assert troubles.is_rejected(error) == (kind == "rejected")
    assert troubles.is_rate_limit(error) == (kind == "limit")


def test_words_of_an_error_are_those_of_the_server() -> None:
    assert troubles.words_of(http_error(500, body={"error": {"message": "it  is\nbroken"}})) == "HTTP 500: it is broken"
    assert troubles.words_of(http_error(500, body="plain")) == "HTTP 500: plain"


# -- a conversation with a model in this process -----------------------------------------------------------------------


def converse(model: Any, words: list[str], caps: Allowance, purse: Purse) -> Dialogue:
    dialogue = Dialogue(model, purse, caps, Patience(30.0), name="llm", pays="KEY", system="s", pauses_s=(0.0, 0.0))

    async def work() -> None:
        for said in words:
            await dialogue.ask(said)

    anyio.run(work)
    return dialogue


def answering(*answers: Any, asked: list[Any] | None = None) -> Any:
    """A model in this process that gives these answers, or raises them."""
    from pydantic_ai.messages import ModelResponse, TextPart
    from pydantic_ai.models.function import FunctionModel
    from pydantic_ai.usage import RequestUsage

    left = list(answers)

    def answer(messages: Any, info: Any) -> ModelResponse:
        if asked is not None:
            asked.append(info.model_settings)
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return ModelResponse(parts=[TextPart(found)], usage=RequestUsage(input_tokens=1000, output_tokens=100), model_name="m")

    return FunctionModel(answer)


def usd(usage: Usage, model: str) -> float:
    return (usage.input + 10 * usage.output) / 1e6


def test_each_answer_is_on_disk_before_the_next_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "cost-llm-1.jsonl"
    purse = Purse(path, usd)
    with pytest.raises(RuntimeError, match="cut"):
        converse(answering("one", "two", RuntimeError("cut")), ["a", "b", "c"], Allowance(), purse)
    assert path.read_text() == '{"cost_usd": 0.002, "tokens": 1100}\n' * 2
    assert (purse.turns, purse.tokens) == (2, 2200)
    assert purse.cost_usd == pytest.approx(0.004)


@pytest.mark.parametrize(
    ("caps", "reason"),
    [
        (Allowance(turns=2), "proposer_turns"),
        (Allowance(tokens=4000), "proposer_tokens"),
        (Allowance(cost_usd=0.0085), "proposer_cost"),
    ],
)
def test_request_that_would_pass_a_limit_is_not_sent(caps: Allowance, reason: str) -> None:
    purse, asked = Purse(None, usd), list[Any]()
    with pytest.raises(Stopped) as stopped:
        converse(answering(*"abcdefgh", asked=asked), ["word"] * 8, caps, purse)
    assert stopped.value.reason == reason
    assert caps.turns >= purse.turns == len(asked) >= 2
    assert purse.tokens <= caps.tokens
    assert purse.cost_usd <= caps.cost_usd
    lengths = [settings["max_tokens"] for settings in asked]
    assert lengths == sorted(lengths, reverse=True)


def test_question_that_is_too_long_for_what_is_left_is_never_sent() -> None:
    purse = Purse(None, usd)
    with pytest.raises(Stopped, match="the question alone"):
        converse(answering("x"), ["word " * 10_000], Allowance(tokens=5000), purse)
    with pytest.raises(Stopped, match="the question alone costs"):
        converse(answering("x"), ["word " * 10_000], Allowance(cost_usd=0.01), purse)
    assert purse.turns == 0


def test_errors_become_what_a_proposer_raises() -> None:
    from pydantic_ai.exceptions import ModelAPIError, UnexpectedModelBehavior

    def ended(*answers: Any) -> str:
        try:
            converse(answering(*answers), ["word"], Allowance(), Purse(None, usd))
        except ProposerWaits as waits:
            return f"{waits.reason} {waits.retry_after_s}"
        except ProposerUnfit:
            return "unfit"
        except Stopped as stopped:
            return stopped.reason
        return "answered"

    assert ended(http_error(503), http_error(500), "x") == "answered"
    assert ended(*[http_error(503)] * 3) == "outage None"
    assert ended(http_error(503, {"Retry-After": "30"})) == "outage 30.0"
    assert ended(*[ModelAPIError("m", "no route")] * 3) == "outage None"
    assert ended(http_error(429)) == "rate_limit None"
    assert ended(http_error(429, {"Retry-After": "3600"})) == "rate_limit 3600.0"
    assert ended(http_error(400)) == "proposer_error"
    assert ended(*[UnexpectedModelBehavior("no JSON")] * 3) == "proposer_no_reply"
    assert ended(UnexpectedModelBehavior("no JSON"), "x") == "answered"


# -- the files ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    root = tmp_path / "tree"
    project = root / "project"
    (project / "src").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("[core]\n")
    (root / "top.txt").write_text("above\n")
    (tmp_path / "secret.txt").write_text("out of the tree\n")
    (project / "train.py").write_text("lr = 0.1\nepochs = 3\n")
    (project / "src" / "run.sh").write_text("#!/bin/sh\n")
    (project / "src" / "run.sh").chmod(0o755)
    (project / "eval.py").write_text("print(1)\n")
    (project / "out").symlink_to(tmp_path)
    (project / "src" / "linked.py").symlink_to("../eval.py")
    (project / "src" / "up").symlink_to("..")
    (project / "src" / "away.py").symlink_to(tmp_path / "new.txt")
    return Desk(project, root, Scope(("train.py", "src/**", "out/**", ".git/**", "../top.txt")))


@pytest.mark.parametrize(
    "path", ["out/secret.txt", "../../secret.txt", "/etc/passwd", "../.git/config", "", "a\0b", "src/../../../x"]
)
def test_nothing_outside_of_the_tree_is_read(desk: Desk, path: str) -> None:
    with pytest.raises(Wrong):
        desk.text(path)


@pytest.mark.parametrize(
    "path",
    [
        "out/secret.txt",
        "out/new.txt",
        "src/linked.py",
        "src/up/eval.py",
        "src/away.py",
        "eval.py",
        "../top.txt",
        "../.git/config",
        ".git/x",
        "src",
    ],
)
def test_nothing_is_written_out_of_scope_or_through_a_link(desk: Desk, path: str, tmp_path: Path) -> None:
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and not p.is_symlink()}
    with pytest.raises(Wrong):
        desk.write(path, "x")
    with pytest.raises(Wrong):
        desk.edit(path, "print", "x")
    with pytest.raises(Wrong):
        desk.delete(path)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and not p.is_symlink()} == before
    assert not desk.may_change(path)


def test_files_of_the_tree_are_read_where_links_and_dots_stay_inside(desk: Desk) -> None:
    assert desk.text("./src/linked.py") == "print(1)\n"
    assert desk.text("../top.txt") == "above\n"
    assert desk.text(str(desk.folder / "train.py")) == "lr = 0.1\nepochs = 3\n"


def test_edit_keeps_line_ends_bytes_and_mode(desk: Desk) -> None:
    path = desk.folder / "src" / "run.sh"
    path.write_bytes(b"#!/bin/sh\r\necho \xff\r\n")
    desk.edit("src/run.sh", "#!/bin/sh\necho", "#!/bin/sh\necho 1")
    assert path.read_bytes() == b"#!/bin/sh\r\necho 1 \xff\r\n"
    assert os.access(path, os.X_OK)


@pytest.mark.parametrize(
    ("old", "words"),
    [
        ("", "empty"),
        ("= ", r"2 times \(lines 1, 2\)"),
        ("lr = 0.2", r"Nearest is:\n    1  lr = 0.1"),
        ("lr = 0.1", "are the same"),
    ],
)
def test_edit_that_is_not_plain_says_why(desk: Desk, old: str, words: str) -> None:
    with pytest.raises(Wrong, match=words):
        desk.edit("train.py", old, "lr = 0.1" if old.startswith("lr = 0.1") else "x")


def test_long_file_is_shown_in_parts(desk: Desk) -> None:
    (desk.folder / "long.txt").write_text("".join(f"line {i}\n" for i in range(1, 2001)))
    first = desk.show("long.txt")
    assert first.splitlines()[0] == "    1  line 1"
    assert first.splitlines()[-1] == "(lines 1 to 800 of 2000; go on with start = 801)"
    assert desk.show("long.txt", 1999) == " 1999  line 1999\n 2000  line 2000"
    assert desk.show("long.txt", 3000) == "long.txt has 2000 lines"
    (desk.folder / "wide.txt").write_text("x" * 1500 + "\n" + ("y" * 1500 + "\n") * 99)
    assert "go on with start = 40)" in desk.show("wide.txt")
    (desk.folder / "bytes.bin").write_bytes(b"\0\1")
    with pytest.raises(Wrong, match="no text"):
        desk.show("bytes.bin")


# -- the tests themselves ----------------------------------------------------------------------------------------------


def test_no_test_can_call_a_paid_model() -> None:
    assert [name for name in os.environ if name.endswith("_API_KEY")] == []
    with pytest.raises(AssertionError, match=r"would have called 192\.0\.2\.1"):
        socket.create_connection(("192.0.2.1", 443), timeout=1)
