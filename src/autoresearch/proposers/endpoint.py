"""Which model is asked, where and with which key: from a task's table to a model of pydantic-ai, and its errors in words."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from autoresearch import prices
from autoresearch.errors import ProposerUnfit, SetupError
from autoresearch.proposers.login import by_key, is_loopback
from autoresearch.proposers.program import Login
from autoresearch.records import Usage
from autoresearch.taskfile import schema
from autoresearch.text import one_line

if TYPE_CHECKING:
    from pydantic_ai.models import Model

KEYS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("openai", "openai-chat", "openai-responses"), ("OPENAI_API_KEY",)),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "google": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "alibaba": ("DASHSCOPE_API_KEY", "ALIBABA_API_KEY"),
    "azure": ("AZURE_OPENAI_API_KEY",),
    "cerebras": ("CEREBRAS_API_KEY",),
    "cohere": ("CO_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "fireworks": ("FIREWORKS_API_KEY",),
    "groq": ("GROQ_API_KEY",),
    "huggingface": ("HF_TOKEN",),
    "litellm": ("LITELLM_API_KEY",),
    "meta": ("META_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "moonshotai": ("MOONSHOTAI_API_KEY",),
    "nebius": ("NEBIUS_API_KEY",),
    "ollama": ("OLLAMA_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "ovhcloud": ("OVHCLOUD_API_KEY",),
    "sambanova": ("SAMBANOVA_API_KEY",),
    "together": ("TOGETHER_API_KEY",),
    "vercel": ("VERCEL_AI_GATEWAY_API_KEY",),
    "vllm": ("VLLM_API_KEY",),
    "xai": ("XAI_API_KEY",),
    "zai": ("ZAI_API_KEY",),
}
"""Providers, with the variables that hold a key, the first that is set counts."""
_MACHINE = {"bedrock": "the AWS credentials of this machine", "google-cloud": "the Google Cloud credentials of this machine"}
_LOCAL = {"ollama": "http://127.0.0.1:11434/v1", "vllm": "http://127.0.0.1:8000/v1"}
_BY_NAME = ((r"claude-", "anthropic"), (r"gpt-(?!oss)|chatgpt-|o\d(-|$)|codex-", "openai"), (r"gemini-", "google"))
_LIBRARIES = r"(?:pydantic_ai|openai|anthropic|google|mistralai|groq|cohere|huggingface_hub)(?:\.|$)"
EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model at a provider.

    Attributes:
        provider: a name of `KEYS`, or of pydantic-ai; `` is any server that speaks OpenAI's chat completions.
        base_url: where, `` for the provider's own address.
    """

    provider: str
    model: str
    base_url: str

    def __str__(self) -> str:
        return f"{self.provider}:{self.model}" if self.provider else f"{self.model} at {self.base_url}"

    @property
    def is_compatible(self) -> bool:
        """Whether it is a server of somebody's that speaks like OpenAI's."""
        return not self.provider or self.provider in _LOCAL

    @property
    def keys(self) -> tuple[str, ...]:
        return KEYS.get(self.provider, ())


def endpoint(table: schema.Proposer) -> Endpoint:
    """What `[proposer] model` and `base_url` name.

    Raises:
        SetupError: no model, or one whose provider cannot be told.
    """
    prefix, colon, name = table.model.partition(":")
    if table.effort and table.effort not in EFFORTS:
        raise SetupError(f"[proposer] effort = {table.effort!r}: expected one of {', '.join(EFFORTS)}")
    if not table.model:
        raise SetupError('[proposer] kind = "llm" needs a model: model = "anthropic:claude-sonnet-4-5", or any with base_url')
    if colon and (prefix in KEYS or prefix in _MACHINE):
        return Endpoint(prefix, name, table.base_url or _LOCAL.get(prefix, ""))
    if table.base_url:
        return Endpoint("", table.model, _with_path(table.base_url))
    found = next((provider for pattern, provider in _BY_NAME if re.match(pattern, table.model)), "")
    if not found and not colon:
        raise SetupError(
            f"[proposer] model = {table.model!r}: expected provider:model, the provider one of {', '.join(KEYS)}; or base_url "
            "of a server that speaks the API of OpenAI"
        )
    return Endpoint(found, table.model, "") if found else Endpoint(prefix, name, "")


def _with_path(base_url: str) -> str:
    """Servers speak the API of OpenAI below /v1, which is often left out."""
    return base_url if urlsplit(base_url).path.strip("/") else base_url.rstrip("/") + "/v1"


def logins(table: schema.Proposer, environ: Mapping[str, str], home: Path) -> tuple[Login, ...]:
    """Who can pay: a key, or nobody at a server on this machine. There are no subscriptions.

    Raises:
        SetupError: as `endpoint`.
    """
    if table.login == "subscription":
        return ()
    where = endpoint(table)
    if where.provider in _MACHINE and not table.api_key_env:
        return (Login(_MACHINE[where.provider]),)
    keys = where.keys or (("OPENAI_API_KEY",) if where.provider == "" and not is_loopback(where.base_url) else ())
    return tuple(by_key(keys, table.model_copy(update={"base_url": where.base_url}), environ))


def no_login(table: schema.Proposer) -> str:
    """What to do where nobody can pay."""
    if table.login == "subscription":
        return '[proposer] login = "subscription": llm has none, it pays by a key: login = "api_key"'
    if table.api_key_env:
        return f"[proposer] api_key_env: {table.api_key_env} is not set: export it"
    where = endpoint(table)
    keys = " or ".join(where.keys) or "a key"
    return f"{where} needs a key: export {keys}, or name the variable in [proposer] api_key_env"


def is_free(where: Endpoint, login: Login | None) -> bool:
    """Whether its tokens have no price because nobody sells them: a server of the owner's own."""
    return where.provider in _LOCAL or (
        where.provider == "" and is_loopback(where.base_url) and not (login and login.variables)
    )


def cost_usd(where: Endpoint, table: schema.Proposer, login: Login | None, usage: Usage, model: str = "") -> float | None:
    """What one answer costs, None where the model has no price.

    Args:
        model: as the answer names it; where that has no price, the one that was asked for counts.
    """
    if table.price is None and is_free(where, login):
        return None
    names = (name for name in (where.model, model) if name)
    found = (prices.cost_usd(name, usage, provider=where.provider, price=table.price) for name in names)
    return next((cost for cost in found if cost is not None), None)


def load() -> None:
    """Import what takes a second, which a thread may do.

    Raises:
        ProposerUnfit: it is not installed.
    """
    try:
        import pydantic_ai.direct
        import pydantic_ai.models  # noqa: F401
    except ImportError as error:
        raise ProposerUnfit('llm needs pydantic-ai: pip install "autoresearch[llm]"') from error


@asynccontextmanager
async def opened(where: Endpoint, login: Login | None) -> AsyncIterator[Model]:
    """The model, with connections of its own that are closed at the end.

    Raises:
        ProposerUnfit: pydantic-ai is not installed, or lacks what the provider needs, or does not know it.
    """
    load()
    warnings.filterwarnings("ignore", module=_LIBRARIES)  # as that a model is to be retired some day
    from pydantic_ai.exceptions import UserError
    from pydantic_ai.models import infer_model

    try:
        provider = _provider(where, login)
        model = (
            infer_model(f"{where.provider}:{where.model}", lambda _: provider)
            if not where.is_compatible
            else _chat(where, provider)
        )
    except ImportError as error:
        raise ProposerUnfit(f"{where}: {one_line(str(error))}") from error
    except (UserError, ValueError) as error:
        raise ProposerUnfit(f"[proposer] model: {where}: {one_line(str(error))}") from error
    async with provider:
        yield model


def _provider(where: Endpoint, login: Login | None) -> Any:
    """The provider with our key and address, as far as it takes them; what it needs besides it finds in the environment."""
    from pydantic_ai.providers import infer_provider_class

    key = next(iter(login.variables.values()), None) if login else None
    if where.is_compatible:
        return _compatible(where, key)
    if key is None and where.provider not in _MACHINE:
        key = "none"  # the owner's own server wants none, and must not get that of somebody else
    found = infer_provider_class(where.provider)
    wanted = inspect.signature(found.__init__).parameters
    address = "azure_endpoint" if "azure_endpoint" in wanted else "base_url"
    if where.base_url and address not in wanted:
        raise ValueError(f"base_url: {where.provider} has one address; for another server leave out `{where.provider}:`")
    given = {"api_key": key, address: where.base_url or None}
    return found(**{name: value for name, value in given.items() if value is not None and name in wanted})


def _compatible(where: Endpoint, key: str | None) -> Any:
    """A server that speaks like OpenAI's. Most know an answer's limit by its old name alone, models of OpenAI by the new."""
    from pydantic_ai.profiles import merge_profile
    from pydantic_ai.profiles.openai import OpenAIModelProfile
    from pydantic_ai.providers import infer_provider_class
    from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

    known = infer_provider_class(where.provider) if where.provider else OpenAICompatibleProvider
    is_theirs = re.match(_BY_NAME[1][0], where.model.rpartition("/")[2]) is not None
    limit = OpenAIModelProfile(openai_chat_supports_max_completion_tokens=is_theirs)
    return OpenAICompatibleProvider(
        "compatible",
        base_url=where.base_url,
        api_key=key,
        profile=lambda name: merge_profile(known.model_profile(name), limit),
    )


def _chat(where: Endpoint, provider: Any) -> Model:
    from pydantic_ai.models.openai import OpenAIChatModel

    return OpenAIChatModel(where.model, provider=provider)
