"""Which log-ins there are for an agent program: a key, a server on this machine that wants none, a subscription."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from autoresearch.proposers.program import Login, Program
from autoresearch.taskfile import schema


def found(program: Program, table: schema.Proposer, environ: Mapping[str, str], home: Path) -> tuple[Login, ...]:
    """The log-ins of a program that are there and that `[proposer] login` allows, the key first.

    Each hides the others' variables from the program.
    """
    subscription = program.subscription(table, environ, home)
    all_secret = {*_names(program.keys, table), *program.keys, *(subscription.variables if subscription else ())}
    keyed = list(by_key(_keys(program, table), table, environ))
    if table.agent_config == "user" and (own := _own_folders(program, environ, home)) is not None:
        keyed = [replace(login, folders=own.folders, fresh=own.fresh) for login in keyed]
    logins = [*keyed, *([subscription] if subscription else [])]
    if table.login == "auto" and keyed and not keyed[0].variables:
        logins = logins[:1]  # nobody has to pay at a server on this machine
    wanted = [login for login in logins if table.login in ("auto", "subscription" if login.subscription else "api_key")]
    return tuple(_hiding(login, all_secret, environ) for login in wanted)


def by_key(names: Sequence[str], table: schema.Proposer, environ: Mapping[str, str]) -> Iterator[Login]:
    """The log-in by the first key that is set; at a server on this machine none is needed.

    Args:
        names: variables that hold a key, unless `[proposer] api_key_env` names another.
    """
    name = next((name for name in _names(names, table) if environ.get(name)), "")
    if name:
        yield Login(name, variables={name: environ[name]})
    elif is_loopback(table.base_url):
        yield Login(f"nobody ({table.base_url})")


def is_loopback(base_url: str) -> bool:
    """Whether a server is on this machine."""
    host = urlsplit(base_url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.") or host.endswith(".localhost")


def missing(program: Program, table: schema.Proposer) -> str:
    """What to do where there is no log-in."""
    if table.login == "subscription":
        return f'[proposer] login = "subscription": there is none for {program.name}: {program.log_in}'
    if table.api_key_env:
        return f"[proposer] api_key_env: {table.api_key_env} is not set: export it"
    keys = " or ".join(_keys(program, table)) or "a key"
    also = f"; or {program.log_in}" if program.log_in and table.login == "auto" else ""
    return f"{program.name} has no log-in: export {keys}, or name the variable in [proposer] api_key_env{also}"


def _keys(program: Program, table: schema.Proposer) -> tuple[str, ...]:
    """Of a program that knows many providers, those of the model's."""
    keys_of: Callable[[schema.Proposer], tuple[str, ...]] | None = getattr(program, "keys_of", None)
    return keys_of(table) if keys_of is not None else program.keys


def _own_folders(program: Program, environ: Mapping[str, str], home: Path) -> Login | None:
    """The user's configuration, as far as a program can be shown it when a key pays."""
    config: Callable[[Mapping[str, str], Path], Login | None] | None = getattr(program, "config", None)
    return config(environ, home) if config is not None else None


def _names(names: Sequence[str], table: schema.Proposer) -> Sequence[str]:
    return (table.api_key_env,) if table.api_key_env else names


def _hiding(login: Login, secret: set[str], environ: Mapping[str, str]) -> Login:
    others = sorted(name for name in secret - set(login.variables) if environ.get(name))
    return replace(login, hidden=tuple(others))
