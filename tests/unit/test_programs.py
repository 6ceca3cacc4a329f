"""Gemini CLI, opencode and pi without starting them: how they are launched, and what their events say, as they were seen."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from autoresearch.errors import SetupError
from autoresearch.proposers import login
from autoresearch.proposers.faults import fault
from autoresearch.proposers.gemini import Gemini
from autoresearch.proposers.opencode import Opencode
from autoresearch.proposers.pi import Pi
from autoresearch.proposers.program import LOOP, Call, Final, Launch, Login, Program, Transcript
from autoresearch.records import Usage
from autoresearch.taskfile.schema import Proposer

KEY = Login("KEY", variables={"KEY": "sk-very-secret"})
ALL: list[Program] = [Gemini(), Opencode(), Pi()]


def launch(program: Program, login: Login = KEY, **table: Any) -> Launch:
    session, lasting = table.pop("session", ""), table.pop("lasting", False)
    given = {"model": "openai/gpt-5.5"} | table
    places = (Path("/tree"), Path("/home"), Path("/tmp"))
    return program.launch(Call(Proposer(kind=program.name, **given), login, *places, session, turns=7, lasting=lasting))


def told(started: Launch) -> str:
    return " ".join([*started.argv, *map(str, started.env.values()), *started.files.values()])


def read(program: Program, *events: dict[str, Any], code: int | None = 0, tail: str = "") -> Transcript:
    seen = Transcript()
    for event in events:
        program.read(event, seen)
    program.end(code, tail, seen)
    return seen


# -- errors of a model's server -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "status", "final"),
    [
        ("Incorrect API key provided", 401, "key"),
        ("[API Error: API key not valid. Please pass a valid API key.]", None, "key"),
        ('{"error":{"code":400,"message":"API key not valid"}}', None, "key"),
        ("429 You exceeded your current quota, please check your plan and billing details", None, "key"),
        ("The model `x` does not exist or you do not have access to it", None, "model"),
        ("404 no such page", None, "model"),
        ("[API Error: models/x is not found for API version v1beta]", None, "model"),
        ("429 Rate limit reached", None, "rate_limit"),
        ("Resource exhausted. Please try again later", None, "rate_limit"),
        ("Overloaded", 529, "outage"),
        ('{"error":{"code":503,"message":"The model is overloaded","status":"UNAVAILABLE"}}', None, "outage"),
        ("Connection error.", None, "outage"),
        ("exception TypeError: fetch failed sending request", None, "outage"),
        ("Incomplete JSON segment at the end", None, "cut"),
        ("400 the prompt is too long: 401000 tokens", None, "error"),
        ("something else", 422, "error"),
    ],
)
def test_errors_say_whether_to_stop_to_wait_or_to_go_on(words: str, status: int | None, final: Final) -> None:
    assert fault(words, status) == final


# -- how they are started -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", ALL)
def test_model_effort_address_arguments_and_session_reach_the_program(program: Program) -> None:
    started = launch(
        program, model="m-1", effort="high", base_url="http://127.0.0.1:1/x", args=["--more"], session="s-1", lasting=True
    )
    assert all(word in told(started) for word in ("m-1", "http://127.0.0.1:1/x", "--more", "s-1"))
    assert any(word in told(started) for word in ("high", "HIGH"))


@pytest.mark.parametrize("program", [Opencode(), Pi()])
def test_key_goes_by_the_name_of_its_variable(program: Program) -> None:
    started = launch(program)
    assert "KEY" in told(started)
    assert "sk-very-secret" not in told(started)


@pytest.mark.parametrize(
    ("model", "base_url", "expected"),
    [
        ("openai/gpt-5.5", "", "openai gpt-5.5"),
        ("anthropic/claude-sonnet-4-5", "http://127.0.0.1:1", "anthropic claude-sonnet-4-5"),
        ("qwen3", "http://127.0.0.1:1", "server qwen3"),
        ("qwen/qwen3", "http://127.0.0.1:1", "server qwen/qwen3"),
    ],
)
def test_provider_is_the_one_of_the_model_or_the_server_that_is_named(model: str, base_url: str, expected: str) -> None:
    argv = launch(Pi(), model=model, base_url=base_url).argv
    assert f"{argv[argv.index('--provider') + 1]} {argv[argv.index('--model') + 1]}" == expected


@pytest.mark.parametrize("model", ["", "gpt-5.5", "nobody/gpt-5.5"])
def test_model_without_a_known_provider_or_a_server_is_refused_with_what_to_write(model: str) -> None:
    with pytest.raises(SetupError, match=r"provider/model.*base_url"):
        launch(Opencode(), model=model)


@pytest.mark.parametrize("program", [Gemini(), Pi()])
def test_effort_that_it_does_not_know_is_refused_with_those_that_it_does(program: Program) -> None:
    with pytest.raises(SetupError, match="low, medium, high"):
        launch(program, effort="extreme")


@pytest.mark.parametrize(("model", "key"), [("openai/x", "OPENAI_API_KEY"), ("anthropic/x", "ANTHROPIC_API_KEY")])
def test_key_is_the_one_of_the_models_provider(model: str, key: str) -> None:
    environ = {"OPENAI_API_KEY": "o", "ANTHROPIC_API_KEY": "a"}
    (found,) = login.found(Pi(), Proposer(kind="pi", model=model), environ, Path("/nowhere"))
    assert found.words == key
    assert list(found.variables) == [key]
    assert set(found.hidden) == set(environ) - {key}


def test_session_is_kept_only_where_it_may_be_gone_on_with() -> None:
    assert "--no-session" in launch(Pi()).argv
    assert "--no-session" not in launch(Pi(), lasting=True).argv


def test_turns_that_are_left_are_told_to_gemini() -> None:
    assert json.loads(launch(Gemini()).files[".gemini/settings.json"])["model"]["maxSessionTurns"] == 7


FOLDERS = {
    "gemini": (".gemini", "oauth_creds.json", "GEMINI_API_KEY"),
    "opencode": (".local/share/opencode", "auth.json", "OPENAI_API_KEY"),
    "pi": (".pi/agent", "auth.json", "OPENAI_API_KEY"),
}


@pytest.mark.parametrize("program", ALL)
def test_log_in_of_a_folder_counts_only_with_the_configuration_that_lies_there(program: Program, tmp_path: Path) -> None:
    folder, credentials, _ = FOLDERS[program.name]
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / credentials).write_text("{}")
    none = Proposer(kind=program.name, model="openai/x")
    user = Proposer(kind=program.name, model="openai/x", agent_config="user")
    assert program.subscription(none, {}, tmp_path) is None
    found = program.subscription(user, {}, tmp_path)
    assert found is not None
    assert (found.subscription, found.folders[0]) == (True, tmp_path / folder)
    assert str(tmp_path) in told(launch(program, found, agent_config="user"))


@pytest.mark.parametrize("program", ALL)
def test_users_configuration_is_in_place_where_it_is_asked_for_also_when_a_key_pays(program: Program, tmp_path: Path) -> None:
    folder, _, key = FOLDERS[program.name]
    (tmp_path / folder).mkdir(parents=True)
    table = Proposer(kind=program.name, model="openai/x", agent_config="user")
    (found,) = login.found(program, table, {key: "k"}, tmp_path)
    assert found.words == key
    assert found.folders == (tmp_path / folder,)
    assert not launch(program, found, agent_config="user").files.keys() & {".gemini/settings.json", ".pi/agent/models.json"}


# -- gemini ----------------------------------------------------------------------------------------------------------------

BEGAN = "2026-11-21T19:00:00.000Z"
INIT = {"type": "init", "timestamp": BEGAN, "session_id": "s-1", "model": "gemini-2.5-pro"}
TOKENS = {"input": 1200, "output": 50, "cached": 200, "thoughts": 30, "tool": 0, "total": 1280}


def answer(name: str, at: str = "2026-11-21T19:00:01.000Z") -> dict[str, Any]:
    return {"id": name, "timestamp": at, "type": "gemini", "content": "", "tokens": TOKENS, "model": "gemini-2.5-pro"}


def result(total: int, status: str = "success", **error: str) -> dict[str, Any]:
    stats = {"total_tokens": total, "input_tokens": 1200 * total // 1280, "cached": 0}
    return {"type": "result", "status": status, "stats": stats} | ({"error": error} if error else {})


def test_gemini_counts_each_answer_of_this_call_once() -> None:
    seen = read(Gemini(), INIT, answer("old", "2026-11-21T18:59:59.000Z"), answer("a"), answer("a"), answer("b"))
    assert seen.usage == {"a": Usage(1000, 200, 0, 80), "b": Usage(1000, 200, 0, 80)}
    assert (seen.session, seen.turns, seen.final) == ("s-1", 2, "")


@pytest.mark.parametrize(("whole", "tokens"), [(2560, 2560), (1280, 2560), (5000, 5000)])
def test_gemini_takes_the_total_of_its_last_event_where_that_is_more(whole: int, tokens: int) -> None:
    events = [answer("a"), answer("b"), result(whole)]
    assert read(Gemini(), INIT, *events).tokens == tokens
    assert read(Gemini(), INIT, *reversed(events)).tokens == tokens  # files are read one after the other


@pytest.mark.parametrize(
    ("events", "final"),
    [
        ([result(0)], "done"),
        ([result(0, "error", type="FatalTurnLimitedError", message="Reached max session turns")], "turns"),
        ([result(0, "error", type="unknown", message='[API Error: {"error":{"code":400,"message":"no"}}]')], "error"),
        ([result(0, "error", type="unknown", message="[API Error: Incomplete JSON segment at the end]")], "cut"),
        ([{"type": "error", "severity": "error", "message": "empty response"}, result(0, "error")], "cut"),
        ([], ""),
    ],
)
def test_last_event_of_gemini(events: list[dict[str, Any]], final: Final) -> None:
    assert read(Gemini(), INIT, *events).final == final


def test_gemini_that_has_no_log_in_says_so_by_its_exit_code() -> None:
    assert read(Gemini(), code=41, tail="Invalid auth method selected").final == "key"


def test_refused_tool_and_last_words_of_gemini() -> None:
    call = {"type": "tool_use", "tool_name": "run_shell_command", "tool_id": "t", "parameters": {"command": "rm x"}}
    gone = {"type": "tool_result", "tool_id": "t", "status": "error", "error": {"message": "Tool execution denied by policy."}}
    said = [{"type": "message", "role": "assistant", "content": part, "delta": True} for part in ("first", "de", "scription")]
    seen = read(Gemini(), INIT, said[0], call, gone, *said[1:])
    assert (seen.denied, seen.text) == (["run_shell_command"], "description")


# -- opencode --------------------------------------------------------------------------------------------------------------


def step(reason: str, name: str = "p") -> dict[str, Any]:
    tokens = {"total": 1260, "input": 1000, "output": 50, "reasoning": 10, "cache": {"write": 0, "read": 200}}
    return {"type": "step_finish", "sessionID": "ses", "part": {"id": name, "reason": reason, "tokens": tokens, "cost": 0.5}}


def retry(wait_s: float, message: str = "Rate limit reached") -> dict[str, Any]:
    return {"type": "retry", "attempt": 1, "message": message, "next": 1000 * (time.time() + wait_s)}


def test_opencode_adds_up_steps() -> None:
    seen = read(Opencode(), step("tool-calls", "a"), step("stop", "b"))
    assert seen.usage == {"a": Usage(1000, 200, 0, 60), "b": Usage(1000, 200, 0, 60)}
    assert (seen.session, seen.turns, seen.cost_usd, seen.final) == ("ses", 2, 1.0, "done")


@pytest.mark.parametrize(
    ("retries", "final"),
    [
        ([retry(2), retry(4)], ""),  # that much is left to it
        ([retry(2), retry(4), retry(8)], "rate_limit"),
        ([retry(2, "scripted 500"), retry(4, "scripted 500"), retry(8, "scripted 500")], "outage"),
        ([retry(3600)], "rate_limit"),
    ],
)
def test_opencode_is_not_left_to_ask_again_for_ever(retries: list[dict[str, Any]], final: Final) -> None:
    assert read(Opencode(), *retries).final == final


def test_opencode_tells_how_long_a_limit_holds() -> None:
    assert read(Opencode(), retry(3600)).retry_after_s == pytest.approx(3600, abs=10)


def test_answers_of_opencode_that_break_off_again_and_again_end_it() -> None:
    broken = [step("unknown", f"{i}") for i in range(3)]
    assert read(Opencode(), *broken).final == "cut"
    assert read(Opencode(), *broken[:2], step("tool-calls", "ok"), *broken[:2]).final == ""


def test_error_of_opencode_goes_by_its_status() -> None:
    data = {"message": "no", "statusCode": 403}
    assert read(Opencode(), {"type": "error", "error": {"name": "APIError", "data": data}}).final == "key"
    assert read(Opencode(), {"type": "error", "error": {"name": "UnknownError"}}).words == "UnknownError"


def test_refused_tool_of_opencode() -> None:
    state = {"status": "error", "input": {}, "error": "The user has specified a rule which prevents you from using this tool"}
    assert read(Opencode(), {"type": "tool_use", "part": {"tool": "edit", "state": state}}).denied == ["edit"]


# -- pi ----------------------------------------------------------------------------------------------------------------------


def message(stop: str, text: str = "", error: str = "", tokens: int = 1000, cost: float = 0.0) -> dict[str, Any]:
    usage = {"input": tokens, "output": 0, "cacheRead": 0, "cacheWrite": 0, "cost": {"total": cost}}
    content = [{"type": "text", "text": text}] if text else []
    body = {"role": "assistant", "content": content, "model": "m", "usage": usage, "stopReason": stop, "errorMessage": error}
    return {"type": "message_end", "message": body}


def test_pi_adds_up_answers() -> None:
    seen = read(Pi(), {"type": "session", "id": "s"}, message("toolUse", cost=0.25), message("stop", "the end", cost=0.25))
    assert (seen.session, seen.model, seen.turns, seen.tokens, seen.cost_usd) == ("s", "m", 2, 2000, 0.5)
    assert (seen.final, seen.text) == ("done", "the end")


AGAIN = {"type": "auto_retry_start", "attempt": 1, "errorMessage": "429"}


@pytest.mark.parametrize(
    ("events", "final"),
    [
        ([message("error", error="401 no", tokens=0)], "key"),
        ([message("error", error="429 later", tokens=0), AGAIN], ""),  # it was killed while it tried again
        ([message("error", error="429 later", tokens=0), AGAIN, message("stop", "it went")], "done"),
        (
            [message("error", error="500 no", tokens=0), {"type": "auto_retry_end", "success": False, "finalError": "500 no"}],
            "outage",
        ),
        ([message("stop", tokens=0)], "cut"),
        ([message("length", "half"), message("stop", "shorter")], "done"),
        ([message("length", "half")], "error"),
    ],
)
def test_last_event_of_pi_whatever_its_exit_code(events: list[dict[str, Any]], final: Final) -> None:
    assert read(Pi(), *events).final == final


# -- all of them -----------------------------------------------------------------------------------------------------------

CALLS = {
    "gemini": lambda i: {"type": "tool_use", "tool_name": "t", "tool_id": f"{i}", "parameters": {"command": f"{i}"}},
    "opencode": lambda i: {"type": "tool_use", "part": {"tool": "t", "state": {"status": "completed", "input": {"c": i}}}},
    "pi": lambda i: {"type": "tool_execution_start", "toolName": "t", "args": {"c": i}},
}


@pytest.mark.parametrize("program", ALL)
def test_same_call_over_and_over_is_a_loop(program: Program) -> None:
    call = CALLS[program.name]
    assert read(program, *[call(1)] * (LOOP - 1), call(2), call(1)).final == ""
    assert read(program, *[call(1)] * LOOP).final == "loop"


@pytest.mark.parametrize("program", ALL)
def test_each_program_has_a_short_file_of_its_own(program: Program) -> None:
    path = Path(__file__).parents[2] / "src" / "autoresearch" / "proposers" / f"{program.name}.py"
    assert len(path.read_text().splitlines()) < 150
