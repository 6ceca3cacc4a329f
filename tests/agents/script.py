"""What a scripted model answers: steps, written as JSON, and how a step becomes a call of whatever tools a program offers.

A script has one list of steps for each session. The session of a request is found in what the user said, by default the number
in `# Experiment N of`, so that an experiment which is asked again starts again at its first step. Where in the list a request
stands is the number of answers that it repeats from before, so nothing has to be remembered but how often a failure was given.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Step = dict[str, Any]
PATTERN = r"^# Experiment (\d+) of"
USAGE = {"input": 1000, "cached": 200, "output": 50}
"""Tokens of one answer where the script says nothing else."""
SERVER = "autoresearch"
"""By which name programs know our MCP server."""


def say(text: str, **usage: int) -> Step:
    return {"say": text} | ({"usage": usage} if usage else {})


def edit(path: str, old: str, new: str) -> Step:
    return {"edit": [path, old, new]}


def write(path: str, text: str) -> Step:
    return {"write": [path, text]}


def shell(command: str) -> Step:
    return {"shell": command}


def call(tool: str, **args: Any) -> Step:
    """The call of a tool by its name, with these arguments and no other, whether it is offered or not."""
    return {"call": [tool, args]}


def call_tool(tool: str, **args: Any) -> Step:
    """The call of a tool of our MCP server, by whatever name the program shows it under."""
    return {"served": [tool, args]}


def settle() -> Step:
    """Ask `wait` for a job's verdict again and again, for as long as the result before says that it is under way."""
    return {"settle": True}


def obey(pattern: str) -> Step:
    """Run the command that the result before has in its words; the first that fits."""
    return {"obey": pattern}


def refuse(words: str) -> Step:
    """The model refuses, as its provider marks it."""
    return {"refuse": words}


def loop(command: str = "true") -> Step:
    """The same call for ever."""
    return {"loop": command}


def endless(command: str = "echo {i}") -> Step:
    """Different calls for ever."""
    return {"loop": command, "different": True}


def fail(status: int, *, retry_after_s: float | None = None, times: int | None = None, words: str = "") -> Step:
    """An HTTP error instead of an answer, `times` often and then the next step; for ever if None."""
    return {"fail": status, "retry_after_s": retry_after_s, "times": times, "words": words}


def cut(*, times: int | None = None) -> Step:
    """A stream that ends in the middle."""
    return {"fail": "cut", "times": times}


def hang(*, times: int | None = None) -> Step:
    """No answer at all."""
    return {"fail": "hang", "times": times}


def die() -> Step:
    """The server is gone, once."""
    return {"fail": "die", "times": 1}


def script(
    sessions: Mapping[int | str, Sequence[Step]] | None = None,
    *,
    otherwise: Sequence[Step] = ({"say": "ok"},),
    pattern: str = PATTERN,
    keys: Sequence[str] = (),
    models: Sequence[str] = (),
    plain: bool = False,
) -> dict[str, Any]:
    """A whole script.

    Args:
        otherwise: the steps of a request in which no session is found.
        keys, models: those that there are, all where empty; another is refused as the real servers do (401, 404).
        plain: requests without tools are answered from the script as well; else they are a program's own, as for a title.
    """
    return {
        "sessions": {str(key): list(steps) for key, steps in (sessions or {}).items()},
        "otherwise": list(otherwise),
        "pattern": pattern,
        "keys": list(keys),
        "models": list(models),
        "plain": plain,
    }


@dataclass(frozen=True)
class Tool:
    """A tool as a request offers it; `custom` takes free text instead of JSON."""

    name: str
    schema: Mapping[str, Any]
    custom: bool = False
    namespace: str | None = None


@dataclass(frozen=True)
class Asked:
    """What all wire formats have in common in a request.

    Attributes:
        turns: answers of the model that it repeats, from where the user first spoke of the session.
        called: what those answers called, `` where they were words, from the beginning.
        schema: of a single answer in JSON that is asked for.
        most: tokens that the answer may have.
    """

    api: str
    model: str
    stream: bool
    system: str
    users: Sequence[str]
    results: Sequence[str]
    turns: Sequence[int]
    called: Sequence[str]
    tools: Sequence[Tool]
    schema: Mapping[str, Any] | None = None
    most: int | None = None


@dataclass(frozen=True)
class Answer:
    """A text, or the call of a tool with its arguments; a text may be a refusal."""

    text: str = ""
    tool: Tool | None = None
    args: Any = None
    usage: Mapping[str, int] = field(default_factory=lambda: USAGE)
    refused: bool = False


@dataclass(frozen=True)
class Failure:
    """What comes instead of an answer; `key` counts how often it came."""

    what: int | str
    retry_after_s: float | None = None
    words: str = ""
    key: str = ""


def find_session(asked: Asked, told: Mapping[str, Any]) -> tuple[str, int]:
    """The session that a request belongs to, and how many answers it has had in it."""
    for at, text in enumerate(asked.users):
        if found := re.search(told["pattern"], text, re.MULTILINE):
            return found[1], asked.turns[at]
    return "", asked.turns[0] if asked.turns else 0


def decide(asked: Asked, told: Mapping[str, Any], given: Mapping[str, int]) -> tuple[str, int, Answer | Failure]:
    """The session, the place in it, and what comes next there.

    Args:
        given: how often each failure has come.
    """
    if asked.schema is not None and not asked.tools:
        return "aside", 0, Answer(_sample_json(asked.schema))
    if not asked.tools and not told["plain"]:
        return "aside", 0, Answer("a title")
    session, turn = find_session(asked, told)
    steps = told["sessions"].get(session, told["otherwise"])
    at = calls = 0
    for index, step in enumerate(steps):
        if "fail" in step:
            key = f"{session}/{index}"
            if at == turn and (step["times"] is None or given.get(key, 0) < step["times"]):
                return session, turn, Failure(step["fail"], step.get("retry_after_s"), step.get("words", ""), key)
            continue
        match step:
            case {"served": [tool, args]}:
                before = asked.called[len(asked.called) - turn :]
                answers = list(_served(asked.tools, tool, args, before[at:]))
            case {"settle": _}:
                answers = list(_settle(asked, calls))
            case {"obey": pattern}:
                answers = [_obey(asked, calls, pattern)]
            case _:
                answers = list(_answers(step, asked.tools, turn))
        if turn < at + len(answers) or "loop" in step:
            return session, turn, answers[min(turn - at, len(answers) - 1)]
        at += len(answers)
        calls += sum(answer.tool is not None for answer in answers)
    return session, turn, Answer("done")


def _answers(step: Step, tools: Sequence[Tool], turn: int) -> Iterator[Answer]:
    """What a step is in a program's own tools: an edit may have to read first."""
    if "say" in step:
        yield Answer(step["say"], usage={**USAGE, **step.get("usage", {})})
    elif "loop" in step:
        yield _shell(tools, step["loop"].replace("{i}", str(turn)) if step.get("different") else step["loop"])
    elif "refuse" in step:
        yield Answer(step["refuse"], refused=True)
    elif "call" in step:
        name, args = step["call"]
        yield Answer(tool=_pick(tools, [name]) or Tool(name, {}), args=args)
    elif "shell" in step:
        yield _shell(tools, step["shell"])
    elif "edit" in step:
        yield from _edit(tools, *step["edit"])
    elif "write" in step:
        yield _write(tools, *step["write"])


_READ = ("Read", "read", "read_file")
_EDIT = ("Edit", "edit", "replace", "edit_file")
_WRITE = ("Write", "write", "write_file")
_SHELL = ("Bash", "bash", "run_shell_command", "exec_command", "shell_command", "shell")
_READS_FIRST = ("Edit", "edit")
_LOOK = ("tool_search", "ToolSearch", "WaitForMcpServers")
_LOOKS = 5
_UNDER_WAY = r"ask again: autoresearch wait (\d+)"  # what a reply says where there is no verdict yet


def _pick(tools: Sequence[Tool], names: Sequence[str]) -> Tool | None:
    return next((tool for name in names for tool in tools if tool.name == name), None)


def _served(tools: Sequence[Tool], name: str, args: Mapping[str, Any], called: Sequence[str] | None = None) -> Iterator[Answer]:
    """A tool of our MCP server. Where it is not shown it is looked for first, or the server waited for, as programs offer it.

    Args:
        called: what was called from this step on; None looks for nothing.
    """
    names = (f"mcp__{SERVER}__{name}", f"mcp_{SERVER}_{name}", f"{SERVER}_{name}")
    inside = (tool for tool in tools if tool.namespace == f"mcp__{SERVER}" and tool.name == name)
    found, code, look = _pick(tools, names) or next(inside, None), _pick(tools, ("exec",)), _pick(tools, _LOOK)
    if found is None and code is not None and code.custom:  # models that write JavaScript
        yield Answer(tool=code, args=f"text(await tools.{names[0]}({_json(args)}));\n")
        return
    looked = len(list(itertools.takewhile(_LOOK.__contains__, called or ())))
    for by in called[:looked] if called else ():
        yield Answer(tool=Tool(by, {}))  # which may not be offered any more
    if found is None and look is not None and called is not None and looked == len(called) < _LOOKS:
        yield Answer(tool=look, args=_fill(look.schema, {"query": f"{SERVER} {name}"}))
        return
    yield Answer(tool=found, args=args) if found is not None else Answer(f"there is no tool {name} of {SERVER}")


def _settle(asked: Asked, calls: int) -> Iterator[Answer]:
    """One more `wait` for each result in a row that says of a job that it is under way, from that of the last call on."""
    for result in asked.results[max(0, calls - 1) :]:
        if (found := re.search(_UNDER_WAY, result)) is None:
            return
        answer = next(_served(asked.tools, "wait", {"job": int(found[1])}))
        yield answer if answer.tool else _shell(asked.tools, f"{found[0].partition(': ')[2]} --max 45s")


def _obey(asked: Asked, calls: int, pattern: str) -> Answer:
    text = asked.results[calls - 1] if 0 < calls <= len(asked.results) else ""
    found = re.search(pattern, text.replace('\\"', '"'))
    return _shell(asked.tools, found[0]) if found else Answer(f"there is no {pattern} in {text}")


def _edit(tools: Sequence[Tool], path: str, old: str, new: str) -> Iterator[Answer]:
    tool, read, patch = _pick(tools, _EDIT), _pick(tools, _READ), _pick(tools, ("apply_patch",))
    if tool is not None:
        if read is not None and tool.name in _READS_FIRST:
            yield Answer(tool=read, args=_fill(read.schema, {"path": path}))
        yield Answer(tool=tool, args=_fill(tool.schema, {"path": path, "old": old, "new": new}))
    elif patch is not None:
        text = f"*** Begin Patch\n*** Update File: {path}\n@@\n-{old}\n+{new}\n*** End Patch\n"
        name = next(iter(patch.schema.get("properties", {})), "input")
        yield Answer(tool=patch, args=text if patch.custom else {name: text})
    else:
        before, after = re.sub(r"([][\\.*^$|])", r"\\\1", old), re.sub(r"([\\&|])", r"\\\1", new)
        yield _shell(tools, f"sed -i {shlex.quote(f's|{before}|{after}|')} {shlex.quote(path)}")


def _write(tools: Sequence[Tool], path: str, text: str) -> Answer:
    if (tool := _pick(tools, _WRITE)) is not None:
        return Answer(tool=tool, args=_fill(tool.schema, {"path": path, "content": text}))
    return _shell(tools, f"printf %s {shlex.quote(text)} > {shlex.quote(path)}")


def _shell(tools: Sequence[Tool], command: str) -> Answer:
    if (tool := _pick(tools, _SHELL)) is not None:
        return Answer(tool=tool, args=_fill(tool.schema, {"command": command}))
    if (tool := _pick(tools, ("exec",))) is not None and tool.custom:  # models that write JavaScript
        return Answer(tool=tool, args=f"text(await tools.exec_command({_json({'cmd': command})}));\n")
    return Answer("there is no shell tool")


def _fill(schema: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """Arguments that fit a tool's schema, whatever it calls its path, its old and new text, its command."""
    found: dict[str, Any] = {}
    for name, kind in schema.get("properties", {}).items():
        small = name.lower()
        if "path" in values and ("path" in small or small in ("file", "filename")):
            found[name] = values["path"]
        elif "old" in values and small == "edits":
            found[name] = [_fill(kind.get("items", {}), values)]
        elif "old" in values and small.startswith(("old", "new")):
            found[name] = values[small[:3]]
        elif "content" in values and small in ("content", "contents", "text"):
            found[name] = values["content"]
        elif "query" in values and small == "query":
            found[name] = values["query"]
        elif "command" in values and small in ("command", "cmd"):
            found[name] = ["bash", "-c", values["command"]] if kind.get("type") == "array" else values["command"]
        elif name in schema.get("required", ()):
            found[name] = _sample(kind)
    return found


def _json(value: Any) -> str:
    import json

    return json.dumps(value)


def _sample_json(schema: Mapping[str, Any]) -> str:
    return _json(_sample(schema))


def _sample(schema: Any) -> Any:
    """The smallest value that fits a JSON schema."""
    if not isinstance(schema, dict):
        return "as asked"
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return _sample(schema[key][0])
    kind = schema.get("type", "")
    kind = str(kind[0] if isinstance(kind, list) else kind).lower()
    if kind == "object" or "properties" in schema:
        return {name: _sample(part) for name, part in schema.get("properties", {}).items()}
    return {"array": [], "number": 1, "integer": 1, "boolean": False}.get(kind, "as asked")
