"""The tools on the official SDK, over standard input and output. Nothing but the protocol is written there."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from importlib.metadata import version
from typing import Annotated, Any, TypeVar

import anyio
import anyio.to_thread
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from autoresearch.driving.jobs import Jobs
from autoresearch.driving.replies import Reply
from autoresearch.errors import AutoresearchError
from autoresearch.mcp import words
from autoresearch.mcp.seat import Answer, Seat
from autoresearch.text import describe, one_line, slug

LONGEST_S = 50.0
"""No call waits longer: the shortest patience among clients is 60 s."""
_SLICE_S = 10.0  # a thread that nobody waits for any more ends so soon, and progress is told so often
_THREADS = 64
_AGENTS = ("claude", "codex", "gemini", "opencode")
_T = TypeVar("_T")

_LOOKS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_ADDS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False)
_Seconds = Annotated[float, Field(ge=0, description=f"Seconds to wait for the verdict, at most {LONGEST_S:.0f}.")]


class Server(MCPServer[None]):
    """The SDK's, where whatever goes wrong in a call is its answer, in words that say what to do."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[None, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            return _result(Answer(_why(name, error), failed=True))


def _why(name: str, error: ToolError) -> str:
    cause = error.__cause__
    if isinstance(cause, AutoresearchError):
        return str(cause)
    if isinstance(cause, ValidationError):
        return f"{name}: {'; '.join(map(_wrong, cause.errors()))}"
    if isinstance(error, UnexpectedToolError) and cause is not None:
        return f"{name} failed by a mistake in autoresearch, and nothing is known of what it did: {describe(cause)}"
    return str(error)


def _wrong(found: ErrorDetails) -> str:
    """What is wrong with one argument: `job = 'x': Input should be a valid integer`."""
    given = "" if found["type"] == "missing" else f" = {one_line(repr(found['input']), 80)}"
    return f"{'.'.join(map(str, found['loc']))}{given}: {found['msg']}"


def make(seat: Seat) -> Server:
    """The server with its tools."""
    server = Server("autoresearch", instructions=words.INSTRUCTIONS, version=version("autoresearch"), lifespan=_quiet)
    server.settings.log_level = "WARNING"
    for look in (_brief, _status, _history, _show):
        look(server, seat)
    for act in (_try, _wait, _idea):
        act(server, seat)
    return server


@contextlib.asynccontextmanager
async def _quiet(server: MCPServer[None]) -> AsyncIterator[None]:
    """The protocol has standard output by now: what anybody prints goes to standard error."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def serve(seat: Seat) -> None:
    """Answer one client until it closes standard input."""
    make(seat).run("stdio")


# -- the tools ----------------------------------------------------------------------------------------------------------


def _brief(server: Server, seat: Seat) -> None:
    @server.tool(description=words.BRIEF, annotations=_LOOKS)
    async def brief() -> CallToolResult:
        return _result(await _blocking(seat.brief))


def _status(server: Server, seat: Seat) -> None:
    @server.tool(description=words.STATUS, annotations=_LOOKS)
    async def status() -> CallToolResult:
        return _result(await _blocking(seat.status))


def _history(server: Server, seat: Seat) -> None:
    @server.tool(description=words.HISTORY, annotations=_LOOKS)
    async def history(
        last: Annotated[int, Field(ge=1, description="How many experiments to list, the newest ones.")] = 20,
    ) -> CallToolResult:
        return _result(await _blocking(partial(seat.history, last)))


def _show(server: Server, seat: Seat) -> None:
    @server.tool(description=words.SHOW, annotations=_LOOKS)
    async def show(
        experiment: Annotated[int, Field(ge=0, description="The experiment's number; 0 is the baseline.")],
    ) -> CallToolResult:
        return _result(await _blocking(partial(seat.show, experiment)))


def _try(server: Server, seat: Seat) -> None:
    @server.tool(name="try", description=words.TRY, annotations=_ADDS)
    async def try_(
        context: Context[None, Any],
        message: Annotated[str, Field(description=words.MESSAGE)],
        expect: Annotated[str, Field(description=words.EXPECT)] = "",
        wait_s: _Seconds = 40.0,
    ) -> CallToolResult:
        until = time.monotonic() + min(wait_s, LONGEST_S)
        jobs = await _blocking(partial(seat.jobs, asker(context)))
        job = await _blocking(partial(jobs.offer, message, expect=expect))
        return _replied(await _verdict(context, jobs, job, until))


def _wait(server: Server, seat: Seat) -> None:
    @server.tool(description=words.WAIT, annotations=_LOOKS)
    async def wait(
        context: Context[None, Any],
        job: Annotated[int, Field(description="The number that `try` answered with.")],
        max_s: _Seconds = 45.0,
    ) -> CallToolResult:
        until = time.monotonic() + min(max_s, LONGEST_S)
        jobs = await _blocking(partial(seat.jobs, asker(context)))
        return _replied(await _verdict(context, jobs, job, until))


def _idea(server: Server, seat: Seat) -> None:
    @server.tool(description=words.IDEA, annotations=_ADDS)
    async def idea(
        context: Context[None, Any],
        text: Annotated[str, Field(description="One line; empty to list the ideas only.")] = "",
        done: Annotated[int, Field(ge=0, description="The number of an idea that needs no further attention; 0 for none.")] = 0,
    ) -> CallToolResult:
        return _result(await _blocking(partial(seat.idea, text, done, asker(context))))


# -- answers ------------------------------------------------------------------------------------------------------------


async def _verdict(context: Context[None, Any], jobs: Jobs, job: int, until: float) -> Reply:
    """The answer to a job as it is once that is decided, or at a time of the monotonic clock; progress is told meanwhile."""
    began = time.monotonic()
    while True:
        left = until - time.monotonic()
        reply = await _blocking(partial(jobs.wait, job, max(0.0, min(left, _SLICE_S))))
        if reply.body.get("state") != "running" or left <= _SLICE_S:
            return reply
        await context.report_progress(time.monotonic() - began, until - began, reply.lines[0] if reply.lines else None)


async def _blocking(call: Callable[[], _T]) -> _T:
    """In a thread, which is let be where the client cancels: a job that was asked stays asked."""
    return await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=_limiter())


_LIMITER: list[anyio.CapacityLimiter] = []


def _limiter() -> anyio.CapacityLimiter:
    if not _LIMITER:
        _LIMITER.append(anyio.CapacityLimiter(_THREADS))
    return _LIMITER[0]


def _replied(reply: Reply) -> CallToolResult:
    text = "\n".join(reply.lines)
    return _result(Answer(text, {**reply.body, "message": text}, failed=reply.body["state"] == "failed"))


def _result(answer: Answer) -> CallToolResult:
    """Text and data. Some clients give the model the data alone, so that it has to hold whatever the text says."""
    body = None if answer.body is None else dict(answer.body)
    return CallToolResult(content=[TextContent(text=answer.text)], structured_content=body, is_error=answer.failed)


def asker(context: Context[None, Any]) -> str:
    """Who asks, by what the client calls itself; `` where it does not say."""
    known = context.session.client_params
    name = known.client_info.name.lower() if known is not None and known.client_info.name else ""
    return next((agent for agent in _AGENTS if name.startswith(agent)), slug(name)[:40] if name else "")
