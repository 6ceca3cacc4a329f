"""Four wire formats of model servers: Anthropic Messages, OpenAI Responses and Chat Completions, Gemini generateContent.

Each reads a request into what they have in common, and writes an answer, whole or as server-sent events, and an error.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from tests.agents.script import Answer, Asked, Failure, Tool

Event = tuple[str, Any]
"""Its name (`` for none) and what it holds."""


class Wire(Protocol):
    def asked(self, path: str, body: Mapping[str, Any]) -> Asked: ...
    def whole(self, asked: Asked, answer: Answer) -> dict[str, Any]: ...
    def events(self, asked: Asked, answer: Answer) -> Iterator[Event]: ...
    def error(self, status: int, failure: Failure) -> dict[str, Any]: ...


def wire_of(path: str) -> Wire | None:
    """The format that is spoken at a path."""
    for end, wire in _PATHS.items():
        if re.search(end, path):
            return wire
    return None


def _id(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex[:16]}"


def _text(content: Any) -> str:
    """The text of a message's content, in any of the formats."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        return _text(content.get("parts") or content.get("text") or content.get("content") or "")
    return "\n".join(_text(part) for part in content or ())


class _Count:
    """Reads a conversation message by message: what the user said, what tools gave, how many answers came after each."""

    def __init__(self) -> None:
        self.users: list[str] = []
        self.results: list[str] = []
        self.turns: list[int] = []
        self.called: list[str] = []

    def user(self, text: str) -> None:
        self.users.append(text)
        self.turns.append(0)

    def result(self, text: str) -> None:
        self.results.append(text)

    def answer(self, called: str = "") -> None:
        self.turns = [turn + 1 for turn in self.turns]
        self.called.append(called)


class Anthropic:
    def asked(self, path: str, body: Mapping[str, Any]) -> Asked:
        count = _Count()
        for message in body.get("messages", []):
            content = (
                message["content"] if isinstance(message["content"], list) else [{"type": "text", "text": message["content"]}]
            )
            if message["role"] == "assistant":
                count.answer(next((part["name"] for part in content if part.get("type") == "tool_use"), ""))
                continue
            for part in content:
                if part.get("type") == "tool_result":
                    count.result(_text(part.get("content")))
                elif part.get("type") == "text":
                    count.user(part["text"])
        tools = [Tool(t.get("name", ""), t.get("input_schema", {})) for t in body.get("tools", [])]
        shape = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
        return Asked(
            "anthropic",
            str(body.get("model")),
            bool(body.get("stream")),
            _text(body.get("system", "")),
            count.users,
            count.results,
            count.turns,
            count.called,
            tools,
            shape.get("schema"),
        )

    def whole(self, asked: Asked, answer: Answer) -> dict[str, Any]:
        block = {"type": "text", "text": answer.text}
        if answer.tool is not None:
            block = {"type": "tool_use", "id": _id("toolu"), "name": answer.tool.name, "input": answer.args}
        used = {"input_tokens": answer.usage["input"], "output_tokens": answer.usage["output"]}
        used |= {"cache_creation_input_tokens": 0, "cache_read_input_tokens": answer.usage["cached"]}
        head = {"id": _id("msg"), "type": "message", "role": "assistant", "model": asked.model}
        stop = "refusal" if answer.refused else "tool_use" if answer.tool is not None else "end_turn"
        return head | {"content": [block], "stop_reason": stop, "stop_sequence": None, "usage": used}

    def events(self, asked: Asked, answer: Answer) -> Iterator[Event]:
        whole = self.whole(asked, answer)
        block, used = whole["content"][0], whole["usage"]
        begun = whole | {"content": [], "stop_reason": None, "usage": used | {"output_tokens": 1}}
        start, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": answer.text}
        if answer.tool is not None:
            start, delta = block | {"input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(answer.args)}
        for event in (
            {"type": "message_start", "message": begun},
            {"type": "content_block_start", "index": 0, "content_block": start},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None}, "usage": used},
            {"type": "message_stop"},
        ):
            yield str(event["type"]), event

    def error(self, status: int, failure: Failure) -> dict[str, Any]:
        kind = {
            400: "invalid_request_error",
            401: "authentication_error",
            403: "permission_error",
            404: "not_found_error",
            429: "rate_limit_error",
            529: "overloaded_error",
        }.get(status, "api_error")
        words = failure.words or {401: "invalid x-api-key", 529: "Overloaded"}.get(status, f"scripted {status}")
        return {"type": "error", "error": {"type": kind, "message": words}, "request_id": _id("req")}


def _openai_error(status: int, failure: Failure) -> dict[str, Any]:
    kind, code, words = {
        400: ("invalid_request_error", None, "scripted 400"),
        401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided"),
        404: ("invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it"),
        429: ("requests", "rate_limit_exceeded", "Rate limit reached"),
    }.get(status, ("server_error", None, f"scripted {status}"))
    return {"error": {"message": failure.words or words, "type": kind, "param": None, "code": code}}


class Responses:
    def asked(self, path: str, body: Mapping[str, Any]) -> Asked:
        items = body.get("input", [])
        items = [{"role": "user", "content": items}] if isinstance(items, str) else items
        count, system = _Count(), [_text(body.get("instructions", ""))]
        for item in items:
            kind = item.get("type", "message")
            if kind.endswith("_output"):
                count.result(_text(item.get("output")))
            elif kind.endswith("_call") or (kind == "message" and item.get("role") == "assistant"):
                count.answer("tool_search" if kind == "tool_search_call" else item.get("name", ""))
            elif kind == "message" and item.get("role") == "user":
                count.user(_text(item.get("content")))
            elif kind == "message":
                system.append(_text(item.get("content")))
        shown = ("additional_tools", "tool_search_output")
        later = [t for item in items if item.get("type") in shown for t in item.get("tools", [])]
        tools = [tool for t in [*(body.get("tools") or []), *later] for tool in _tools(t)]
        shape = (body.get("text") or {}).get("format") or {}
        return Asked(
            "responses",
            str(body.get("model")),
            bool(body.get("stream")),
            "\n".join(system),
            count.users,
            count.results,
            count.turns,
            count.called,
            tools,
            shape.get("schema"),
        )

    def _item(self, answer: Answer) -> dict[str, Any]:
        if answer.tool is None:
            content = [{"type": "output_text", "text": answer.text, "annotations": []}]
            content = [{"type": "refusal", "refusal": answer.text}] if answer.refused else content
            return {"type": "message", "id": _id("msg"), "role": "assistant", "status": "completed", "content": content}
        call = {"call_id": _id("call"), "name": answer.tool.name, "status": "completed"}
        call |= {"namespace": answer.tool.namespace} if answer.tool.namespace else {}
        if answer.tool.name == "tool_search":
            return {"type": "tool_search_call", "execution": "client", "arguments": answer.args, **call}
        if answer.tool.custom:
            return {"type": "custom_tool_call", "id": _id("ctc"), "input": answer.args, **call}
        return {"type": "function_call", "id": _id("fc"), "arguments": json.dumps(answer.args), **call}

    def whole(self, asked: Asked, answer: Answer) -> dict[str, Any]:
        used = answer.usage
        usage = {
            "input_tokens": used["input"] + used["cached"],
            "input_tokens_details": {"cached_tokens": used["cached"]},
            "output_tokens": used["output"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": sum(used.values()),
        }
        head = {"id": _id("resp"), "object": "response", "created_at": int(time.time()), "model": asked.model}
        return head | {"status": "completed", "output": [self._item(answer)], "usage": usage}

    def events(self, asked: Asked, answer: Answer) -> Iterator[Event]:
        whole = self.whole(asked, answer)
        item = whole["output"][0]
        begun = whole | {"output": [], "status": "in_progress", "usage": None}
        for number, event in enumerate(
            (
                {"type": "response.created", "response": begun},
                {"type": "response.output_item.added", "output_index": 0, "item": self._begun(item)},
                *self._deltas(item),
                {"type": "response.output_item.done", "output_index": 0, "item": item},
                {"type": "response.completed", "response": whole},
            )
        ):
            yield event["type"], event | {"sequence_number": number}

    @staticmethod
    def _begun(item: dict[str, Any]) -> dict[str, Any]:
        if item["type"] == "message":
            return item | {"content": [], "status": "in_progress"}
        return item | ({"arguments": "", "status": "in_progress"} if item["type"] == "function_call" else {})

    @staticmethod
    def _deltas(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
        where = {"item_id": item.get("id", ""), "output_index": 0}
        if item["type"] == "message":
            text, where = item["content"][0]["text"], where | {"content_index": 0}
            part = {"type": "output_text", "text": "", "annotations": []}
            yield {"type": "response.content_part.added", **where, "part": part}
            yield {"type": "response.output_text.delta", **where, "delta": text}
            yield {"type": "response.output_text.done", **where, "text": text}
            yield {"type": "response.content_part.done", **where, "part": part | {"text": text}}
        elif item["type"] == "function_call":
            yield {"type": "response.function_call_arguments.delta", **where, "delta": item["arguments"]}
            yield {"type": "response.function_call_arguments.done", **where, "arguments": item["arguments"]}

    def error(self, status: int, failure: Failure) -> dict[str, Any]:
        return _openai_error(status, failure)


def _tools(tool: Mapping[str, Any]) -> Iterator[Tool]:
    if tool.get("type") == "namespace":
        for inner in tool.get("tools", []):
            yield Tool(inner.get("name", ""), inner.get("parameters", {}), inner.get("type") == "custom", tool.get("name"))
    else:
        yield Tool(tool.get("name") or tool.get("type", ""), tool.get("parameters") or {}, tool.get("type") == "custom")


class Chat:
    def asked(self, path: str, body: Mapping[str, Any]) -> Asked:
        count, system = _Count(), []
        for message in body.get("messages", []):
            if message["role"] == "assistant":
                count.answer(next((called["function"]["name"] for called in message.get("tool_calls") or ()), ""))
            elif message["role"] == "tool":
                count.result(_text(message.get("content")))
            elif message["role"] == "user":
                count.user(_text(message.get("content")))
            else:
                system.append(_text(message.get("content")))
        offered = [t["function"] for t in body.get("tools") or [] if t.get("type") == "function"]
        tools = [Tool(f["name"], f.get("parameters", {})) for f in offered]
        shape = ((body.get("response_format") or {}).get("json_schema") or {}).get("schema")
        return Asked(
            "chat",
            str(body.get("model")),
            bool(body.get("stream")),
            "\n".join(system),
            count.users,
            count.results,
            count.turns,
            count.called,
            tools,
            shape,
        )

    def _usage(self, answer: Answer) -> dict[str, Any]:
        used = answer.usage
        prompt = {"prompt_tokens": used["input"] + used["cached"], "prompt_tokens_details": {"cached_tokens": used["cached"]}}
        return prompt | {"completion_tokens": used["output"], "total_tokens": sum(used.values())}

    def _message(self, answer: Answer) -> dict[str, Any]:
        if answer.refused:
            return {"role": "assistant", "content": None, "refusal": answer.text}
        if answer.tool is None:
            return {"role": "assistant", "content": answer.text}
        function = {"name": answer.tool.name, "arguments": json.dumps(answer.args)}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"index": 0, "id": _id("call"), "type": "function", "function": function}],
        }

    def whole(self, asked: Asked, answer: Answer) -> dict[str, Any]:
        stop = "stop" if answer.tool is None else "tool_calls"
        choice = {"index": 0, "message": self._message(answer), "finish_reason": stop}
        head = {"id": _id("chatcmpl"), "object": "chat.completion", "created": int(time.time()), "model": asked.model}
        return head | {"choices": [choice], "usage": self._usage(answer)}

    def events(self, asked: Asked, answer: Answer) -> Iterator[Event]:
        head = {"id": _id("chatcmpl"), "object": "chat.completion.chunk", "created": int(time.time()), "model": asked.model}
        stop = "stop" if answer.tool is None else "tool_calls"
        yield "", head | {"choices": [{"index": 0, "delta": self._message(answer), "finish_reason": None}]}
        yield "", head | {"choices": [{"index": 0, "delta": {}, "finish_reason": stop}]}
        yield "", head | {"choices": [], "usage": self._usage(answer)}
        yield "", "[DONE]"

    def error(self, status: int, failure: Failure) -> dict[str, Any]:
        return _openai_error(status, failure)


class Gemini:
    def asked(self, path: str, body: Mapping[str, Any]) -> Asked:
        count = _Count()
        for content in body.get("contents", []):
            if content.get("role") == "model":
                count.answer(next((part["functionCall"]["name"] for part in content["parts"] if "functionCall" in part), ""))
                continue
            for part in content.get("parts", []):
                if "functionResponse" in part:
                    count.result(json.dumps(part["functionResponse"].get("response")))
                elif "text" in part:
                    count.user(part["text"])
        declared = [f for t in body.get("tools") or [] for f in t.get("functionDeclarations") or []]
        names = ("parametersJsonSchema", "parameters_json_schema", "parameters")
        tools = [Tool(f["name"], next((f[name] for name in names if f.get(name)), {})) for f in declared]
        wanted = body.get("generationConfig") or {}
        found = re.search(r"models/([^:/]+):", path)
        return Asked(
            "gemini",
            found[1] if found else "",
            "streamGenerateContent" in path,
            _text(body.get("systemInstruction", "")),
            count.users,
            count.results,
            count.turns,
            count.called,
            tools,
            wanted.get("responseJsonSchema") or wanted.get("responseSchema"),
        )

    def whole(self, asked: Asked, answer: Answer) -> dict[str, Any]:
        part: dict[str, Any] = {"text": answer.text}
        if answer.tool is not None:
            part = {"functionCall": {"name": answer.tool.name, "args": answer.args, "id": _id("fc")}}
        used = answer.usage
        usage = {
            "promptTokenCount": used["input"] + used["cached"],
            "cachedContentTokenCount": used["cached"],
            "candidatesTokenCount": used["output"],
            "totalTokenCount": sum(used.values()),
        }
        candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
        candidate |= {"content": {"role": "model", "parts": []}, "finishReason": "SAFETY"} if answer.refused else {}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": asked.model, "responseId": _id("r")}

    def events(self, asked: Asked, answer: Answer) -> Iterator[Event]:
        yield "", self.whole(asked, answer)

    def error(self, status: int, failure: Failure) -> dict[str, Any]:
        name = {
            400: "INVALID_ARGUMENT",
            401: "UNAUTHENTICATED",
            403: "PERMISSION_DENIED",
            404: "NOT_FOUND",
            429: "RESOURCE_EXHAUSTED",
            503: "UNAVAILABLE",
        }.get(status, "INTERNAL")
        words = failure.words or {404: "models/scripted is not found for API version v1beta"}.get(status, f"scripted {status}")
        error = {"code": status, "message": words, "status": name}
        if failure.retry_after_s is not None:
            kind = "type.googleapis.com/google.rpc.RetryInfo"
            error |= {"details": [{"@type": kind, "retryDelay": f"{failure.retry_after_s:g}s"}]}
        return {"error": error}


_PATHS: dict[str, Wire] = {
    r"/messages$": Anthropic(),
    r"/responses$": Responses(),
    r"/chat/completions$": Chat(),
    r":(stream)?[gG]enerateContent$": Gemini(),
}
