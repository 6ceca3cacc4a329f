"""Which provider a task names to a program that knows many: `openai/gpt-5.5`, or the name that a server of one's own has."""

from __future__ import annotations

from autoresearch.errors import SetupError
from autoresearch.taskfile import schema

KEYS = {
    "anthropic": "ANTHROPIC_API_KEY",
    "openai": "OPENAI_API_KEY",
    "google": "GEMINI_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "groq": "GROQ_API_KEY",
    "xai": "XAI_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
}
"""Providers that are known by name, and the variable that holds a key for each."""
SERVER = "server"
"""What a server that speaks like OpenAI's is called, where only its address is known."""


def provider_of(program: str, table: schema.Proposer) -> tuple[str, str]:
    """The provider and its model. With a `base_url`, a name without a known provider is one of that server's.

    Raises:
        SetupError: no model is named, or no provider for it.
    """
    provider, slash, model = table.model.partition("/")
    if slash and model and provider in KEYS:
        return provider, model
    if table.base_url and table.model:
        return SERVER, table.model
    known = ", ".join(KEYS)
    raise SetupError(
        f'[proposer] model = "{table.model}": {program} wants provider/model with a provider of {known}; '
        'or [proposer] base_url for a server that speaks like OpenAI\'s, as "http://127.0.0.1:11434/v1"'
    )


def keys_of(table: schema.Proposer) -> tuple[str, ...]:
    """The variable that holds the key for the model that a task names."""
    provider = table.model.partition("/")[0]
    return (KEYS[provider],) if provider in KEYS else () if table.base_url else tuple(KEYS.values())
