"""Which endpoints a failing evaluation wanted to reach, and what else a sandbox left out: guesses, each is tried."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from autoresearch.checkup.mend import Mend
from autoresearch.checkup.surroundings import Surroundings
from autoresearch.taskfile import Task

_FAILED = re.compile(
    r"connection refused|econnrefused|connect(?:ion)? (?:to|failed|error|timed out)|unreachable|name resolution|resolve host|"
    r"could not translate host|no address associated|enotfound|eai_again|getaddrinfo|failed to (?:connect|establish)|"
    r"can't connect|cannot connect|could not connect|timed out|errno 111|errno 101|errno -[23]|network is down|urlopen error",
    re.IGNORECASE,
)
_PORTS = {
    "postgres": 5432,
    "postgresql": 5432,
    "mysql": 3306,
    "redis": 6379,
    "mongodb": 27017,
    "amqp": 5672,
    "http": 80,
    "https": 443,
    "clickhouse": 8123,
    "nats": 4222,
    "kafka": 9092,
    "memcached": 11211,
    "elasticsearch": 9200,
}
_URL = re.compile(r"\b([a-z][a-z0-9+]*)://[^\s\"'<>]+")
_PAIR = re.compile(
    r"\b((?:\d{1,3}\.){3}\d{1,3}|localhost|[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)*)[\"']?(?::|, port |[\"'], | port )(\d{2,5})\b"
)
_SERVER = re.compile(r"server at \"([\w.-]+)\"(?: \([\d.]+\))?, port (\d+)")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")


def hints(text: str, task: Task, near: Surroundings) -> Iterator[tuple[Mend, ...]]:
    """Openings of the network for an evaluation that could not connect: one endpoint, all that are named, everything."""
    network = task.evaluate.network
    if network == "on" or not _FAILED.search(text):
        return
    known = () if isinstance(network, str) else network
    found = [e for e in dict.fromkeys(endpoints(text, task, near)) if e not in known]
    for some in ([[e] for e in found] + [found])[: len(found) + (len(found) > 1)]:
        yield (opened(task, some, f"the command connects to {', '.join(some)}"),)
    yield (Mend("evaluate", "network", "on", because="the command connects to something outside", kind="network"),)


def unreached(task: Task, environ: Mapping[str, str], names: Iterable[str]) -> list[str]:
    """Endpoints that these variables lead to and that the task's network does not reach."""
    network = task.evaluate.network
    if network == "on":
        return []
    found = [e for name in names for e in _of_value(environ.get(name, ""))]
    return [e for e in dict.fromkeys(found) if isinstance(network, str) or e not in network]


def opened(task: Task, endpoints: Sequence[str], because: str) -> Mend:
    """The network of a task with some endpoints more."""
    known = () if isinstance(task.evaluate.network, str) else task.evaluate.network
    return Mend("evaluate", "network", (*known, *endpoints), because=because, kind="network")


def _of_value(value: str) -> Iterator[str]:
    for match in _URL.finditer(value):
        yield from _of_url(match[0])


_DAEMON = re.compile(
    r"(?:docker|podman|containerd|buildkit) ?daemon|docker\.sock|podman\.sock|Cannot connect to (?:the )?(?:Docker|Podman)",
    re.I,
)


def daemons(text: str, task: Task) -> Iterator[tuple[Mend, ...]]:
    """No sandbox, for a command that has a daemon start containers: they run outside any."""
    if task.evaluate.sandbox != "none" and _DAEMON.search(text):
        because = "the command talks to a daemon that starts containers, which run outside every sandbox"
        yield (Mend("evaluate", "sandbox", "none", because=because, kind="sandbox"),)


def endpoints(text: str, task: Task, near: Surroundings) -> Iterator[str]:
    """`host:port` as they are named in what was said, in the variables that the task passes, and in its command."""
    values = [near.environ.get(name, "") for name in task.evaluate.env]
    if "PGHOST" in task.evaluate.env and not near.environ.get("PGHOST", "/").startswith("/"):
        yield f"{near.environ['PGHOST']}:{near.environ.get('PGPORT', '5432')}"
    for body in (*values, task.evaluate.command, text):
        yield from _of_value(body)
        for match in (*_SERVER.finditer(body), *_PAIR.finditer(body)):
            if 0 < int(match[2]) < 65536 and _HOST.fullmatch(match[1]):
                yield f"{match[1]}:{match[2]}"


def _of_url(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return
    port = port or _PORTS.get(parts.scheme.split("+")[0])
    if host and port and _HOST.fullmatch(host):
        yield f"{host}:{port}"


def beyond(token: str) -> list[str]:
    """A path outside project and home that is on this machine, as an input would name it; of a socket its folder."""
    path = re.split(r"[*?\[]", token)[0].rstrip("/")
    if not path.startswith("/") or path.count("/") < 2 or not os.path.exists(path):
        return []
    kind = os.stat(path).st_mode
    return [str(Path(path).parent) if stat.S_ISSOCK(kind) else path]
