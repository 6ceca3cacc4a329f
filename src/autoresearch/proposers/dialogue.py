"""A conversation with a model: every answer paid for on disk before anything follows, no limit passed, errors as what follows.

Limits hold before a request is sent: what it is bound to cost by its length is counted first, and its answer is cut to what is
left. An answer that is under way when the harness is killed is the only one that is not on record.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from autoresearch.errors import DiskFault, ProposerUnfit, ProposerWaits
from autoresearch.masking import NOTHING, Mask
from autoresearch.patience import Patience
from autoresearch.proposers import troubles
from autoresearch.proposers.outcome import API_KEY_ENV, mend_login
from autoresearch.records import Allowance, Usage

if TYPE_CHECKING:
    from pydantic_ai.exceptions import ModelAPIError
    from pydantic_ai.messages import ModelMessage, ModelRequestPart, ModelResponse, ToolReturnPart
    from pydantic_ai.models import Model
    from pydantic_ai.tools import ToolDefinition

PAUSES_S = (1.0, 4.0)  # before a request that failed is sent again
_SHORT_S, _SHORT_WAITS = 20.0, 3  # a limit that ends so soon is waited for in the middle of a conversation
_READ_S, _LONGEST_S = 600.0, 86_400.0  # of one request: to a server elsewhere, and on this machine
_MOST_OUTPUT, _MOST_THOUGHT, _LEAST_OUTPUT = 16_000, 40_000, 200  # tokens of one answer
_BYTES_A_TOKEN = 3.0  # fewer than there are: what is not known yet is rather taken for too much
_LOG_LIMIT = 5_000_000


class Stopped(Exception):
    """The conversation ends without a change: reason code and words."""

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason, self.words = reason, words


class Purse:
    """What a conversation has spent, on disk answer by answer.

    Args:
        path: a line `{"cost_usd", "tokens"}` for each answer; None writes nothing.
        price: of one answer in USD by its usage and the model's own name, None without a price.
    """

    def __init__(self, path: Path | None, price: Callable[[Usage, str], float | None]) -> None:
        self._path, self.price = path, price
        self.cost_usd, self.tokens, self.turns = 0.0, 0, 0
        self.model = ""  # as its last answer names it

    def pay(self, usage: Usage, model: str) -> float | None:
        """Count an answer.

        Raises:
            DiskFault: it cannot be written.
        """
        cost_usd, self.model = self.price(usage, model), model or self.model
        self.turns += 1
        self.cost_usd += cost_usd or 0.0
        self.tokens += usage.tokens
        if self._path is not None:
            _append(self._path, json.dumps({"cost_usd": cost_usd or 0.0, "tokens": usage.tokens}) + "\n", sync=True)
        return cost_usd


class Dialogue:
    """One conversation.

    Args:
        system: what the model is told once and for all; `tools` it may call.
        effort: how long it thinks, `` as it likes.
        log: where the conversation goes in readable words, covered by `mask`.
        local: its server is on this machine, and may take as long as it needs.
    """

    def __init__(
        self,
        model: Model,
        purse: Purse,
        caps: Allowance,
        patience: Patience,
        *,
        name: str,
        pays: str,
        system: str = "",
        tools: Sequence[ToolDefinition] = (),
        effort: str = "",
        log: Path | None = None,
        mask: Mask = NOTHING,
        say: Callable[[str], None] = lambda words: None,
        local: bool = False,
        pauses_s: Sequence[float] | None = None,
    ) -> None:
        self._model, self.purse, self._caps, self._patience = model, purse, caps, patience
        self._name, self._pays, self._system, self._tools = name, pays, system, list(tools)
        self._effort, self._log, self._mask, self._say, self._local = effort, log, mask, say, local
        self._pauses_s = PAUSES_S if pauses_s is None else tuple(pauses_s)
        self._messages: list[ModelMessage] = []
        self._known = 0  # tokens of the conversation so far, as the model counts them
        self._cap = _MOST_THOUGHT if effort in ("high", "xhigh", "max") else _MOST_OUTPUT
        if system:
            self._write("told once", system)

    @property
    def turns_left(self) -> int:
        return self._caps.turns - self.purse.turns

    def limit(self, tokens: int) -> None:
        """Let no answer be longer."""
        self._cap = tokens

    async def ask(self, words: str = "", results: Sequence[ToolReturnPart] = ()) -> ModelResponse:
        """Say something, hand results of tools back, and give the answer.

        Raises:
            Stopped: a limit, a refusal, or an error of this request alone.
            ProposerWaits, ProposerUnfit: as a proposer raises them.
        """
        from pydantic_ai.messages import ModelRequest, UserPromptPart

        parts: list[ModelRequestPart] = [*results, *([UserPromptPart(words)] if words else [])]
        for result in results:
            self._write(f"result of {result.tool_name}", str(result.content))
        if words:
            self._write("told", words)
        self._messages.append(ModelRequest(parts=parts, instructions=self._system or None))
        expected = self._known + _tokens(words, *(str(r.content) for r in results))
        if not self._known:
            expected += _tokens(self._system, *(json.dumps(tool.parameters_json_schema) + tool.name for tool in self._tools))
        response = await self._send(expected)
        self._account(response, expected)
        self._messages.append(response)
        return response

    # -- limits and money -------------------------------------------------------------------------------------------

    def _room(self, expected: int) -> int:
        """How many tokens the next answer may have.

        Raises:
            Stopped: there is no room for one.
        """
        purse, caps = self.purse, self._caps
        if purse.turns >= caps.turns:
            raise Stopped("proposer_turns", f"{self._name} reached its limit of {caps.turns} turns ([proposer] max_turns)")
        left = caps.tokens - purse.tokens - expected
        if left < _LEAST_OUTPUT:
            raise Stopped(
                "proposer_tokens",
                f"{self._name}: the next answer would go over {caps.tokens:g} tokens ([proposer] max_tokens, or what is left "
                f"of the budget): {purse.tokens} are spent, and the question alone has about {expected}",
            )
        return int(min(self._cap, left, self._affordable(expected)))

    def _affordable(self, expected: int) -> float:
        """How many tokens of an answer what is left of the money pays for."""
        each, asking = self.purse.price(Usage(output=1_000_000), ""), self.purse.price(Usage(input=expected), "")
        if not each or asking is None or math.isinf(self._caps.cost_usd):
            return math.inf
        left = self._caps.cost_usd - self.purse.cost_usd - asking
        if left * 1e6 / each < _LEAST_OUTPUT:
            raise Stopped(
                "proposer_cost",
                f"{self._name}: the next answer would go over {self._caps.cost_usd:.4g} USD ([proposer] max_cost_usd, or what "
                f"is left of the budget): {self.purse.cost_usd:.4f} are spent, and the question alone costs about {asking:.4f}",
            )
        return left * 1e6 / each

    def _account(self, response: ModelResponse, expected: int) -> None:
        """Pay for an answer at once, and put it into the log."""
        used = response.usage
        cached, written = used.cache_read_tokens, used.cache_write_tokens
        usage = Usage(max(0, used.input_tokens - cached - written), cached, written, used.output_tokens)
        guess = ""
        if not usage.tokens:  # a server that does not count
            usage, guess = Usage(input=expected, output=_tokens(_words_of(response))), ", by our own count"
        self._known = usage.tokens
        cost_usd = self.purse.pay(usage, response.model_name or "")
        money = "no price" if cost_usd is None else f"{cost_usd:.6f} USD"
        cache = f", {usage.cached} of a cache" if usage.cached else ""
        counts = f"{usage.input + usage.written} tokens read{cache}, {usage.output} written, {money}{guess}"
        self._write(f"answer {self.purse.turns} of {self.purse.model or self._name} ({counts})", _words_of(response))

    # -- sending ----------------------------------------------------------------------------------------------------

    async def _send(self, expected: int) -> ModelResponse:
        """Send the conversation, again after a moment where that may help."""
        from pydantic_ai.exceptions import ModelAPIError, UnexpectedModelBehavior

        pauses, waits = list(self._pauses_s), _SHORT_WAITS if self._messages[:-1] else 0
        while True:
            room = self._room(expected)
            try:
                return await self._request(room)
            except UnexpectedModelBehavior as error:
                self._write("unreadable answer", str(error))
                if not pauses:
                    raise Stopped("proposer_no_reply", f"{self._name}: unreadable answer: {self._line(error)}") from error
                await anyio.sleep(pauses.pop(0))
            except ModelAPIError as error:
                self._write("error", str(error))
                if troubles.is_too_long(error) and room == self._cap > 2 * _LEAST_OUTPUT:
                    self._cap //= 2  # the model cannot write that much at once
                    continue
                self._refuse_hopeless(error)
                after_s = troubles.after_s(error)
                if after_s is not None and after_s <= _SHORT_S and waits:
                    waits -= 1
                    self._say(f"rate limit of {self._name}, going on in {after_s:.0f} s")
                    with self._patience.held():
                        await anyio.sleep(after_s + 0.5)
                elif after_s is None and pauses and not troubles.is_rate_limit(error):
                    await anyio.sleep(pauses.pop(0))
                else:
                    raise self._waiting(error, after_s) from error

    async def _request(self, room: int) -> ModelResponse:
        from pydantic_ai.direct import model_request
        from pydantic_ai.models import ModelRequestParameters
        from pydantic_ai.settings import ModelSettings

        left_s = min(max(1.0, self._patience.left_s), _LONGEST_S)
        settings = ModelSettings(max_tokens=room, max_retries=0, timeout=left_s if self._local else min(left_s, _READ_S))
        if self._effort:
            settings["thinking"] = self._effort  # type: ignore[typeddict-item]  # one of EFFORTS
        if self._tools:
            settings["cache"] = True
        parameters = ModelRequestParameters(function_tools=self._tools)
        return await model_request(self._model, self._messages, model_settings=settings, model_request_parameters=parameters)

    def _refuse_hopeless(self, error: ModelAPIError) -> None:
        """Raise what follows from an error that would come again.

        Raises:
            ProposerUnfit: never, with this key or model.
            Stopped: not with this request.
        """
        from pydantic_ai.exceptions import ModelContextWindowExceededError

        words = self._line(error)
        if troubles.is_key(error):
            raise ProposerUnfit(f"{self._name}: the key was refused: {words}; {mend_login(self._pays, API_KEY_ENV)}")
        if troubles.is_unknown(error):
            raise ProposerUnfit(
                f"{self._name}: there is no such model, or nothing at its address: {words}; name another: [proposer] model, or "
                "mend base_url"
            )
        if isinstance(error, ModelContextWindowExceededError):
            raise Stopped("proposer_error", f"{self._name}: the conversation is too long for it: {words}; lower [brief] tokens")
        if troubles.is_rejected(error):
            raise Stopped("proposer_error", f"{self._name} refused the request: {words}")

    def _waiting(self, error: ModelAPIError, after_s: float | None) -> ProposerWaits:
        if troubles.is_rate_limit(error):
            return ProposerWaits("rate_limit", f"{self._name}: rate limit: {self._line(error)}", after_s)
        return ProposerWaits("outage", f"{self._name}: its model cannot be reached: {self._line(error)}", after_s)

    def _line(self, error: Exception) -> str:
        return self._mask.cover(troubles.words_of(error))

    # -- the log ----------------------------------------------------------------------------------------------------

    def _write(self, title: str, text: str) -> None:
        if self._log is None or (self._log.exists() and self._log.stat().st_size > _LOG_LIMIT):
            return
        _append(self._log, self._mask.cover(f"--- {title}\n{text.rstrip()}\n\n"))


def _words_of(response: ModelResponse) -> str:
    """An answer in readable words, with the tools that it calls."""
    from pydantic_ai.messages import TextPart, ThinkingPart, ToolCallPart

    said = []
    for part in response.parts:
        if isinstance(part, TextPart):
            said.append(part.content)
        elif isinstance(part, ThinkingPart) and part.content:
            said.append(f"(thinks) {part.content}")
        elif isinstance(part, ToolCallPart):
            said.append(f"calls {part.tool_name}: {part.args_as_json_str()}")
    return "\n".join(said)


def _tokens(*texts: Any) -> int:
    return sum(math.ceil(len(str(text).encode("utf-8", "replace")) / _BYTES_A_TOKEN) for text in texts)


def _append(path: Path, text: str, *, sync: bool = False) -> None:
    """Write at the end of a file; with `sync` it is on disk when the call returns.

    Raises:
        DiskFault: it cannot be written.
    """
    try:
        with open(path, "a", encoding="utf-8", errors="replace") as file:
            file.write(text)
            if sync:
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise DiskFault(f"cannot write {path}: {error.strerror}") from error
