"""The few endpoints that a job may reach: under which addresses it finds them in a network of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")


def addresses(endpoints: Sequence[str]) -> list[str]:
    """The address in the job's own network that stands for each `host:port`; a name gets one of its own."""
    return [_address(endpoint.rpartition(":")[0], i) for i, endpoint in enumerate(endpoints)]


def _address(host: str, number: int) -> str:
    if host == "localhost":
        return "127.0.0.1"
    return host if _ADDRESS.fullmatch(host) else f"127.77.{number // 250}.{number % 250 + 1}"


def names(endpoints: Sequence[str]) -> str:
    """Lines of a hosts file that lead each name there."""
    pairs = zip(addresses(endpoints), (e.rpartition(":")[0] for e in endpoints), strict=True)
    return "".join(f"{address} {host}\n" for address, host in dict.fromkeys(pairs) if host not in (address, "localhost"))


def relay_script() -> str:
    """The program that carries the connections."""
    return str(Path(__file__).with_name("relay.py"))
