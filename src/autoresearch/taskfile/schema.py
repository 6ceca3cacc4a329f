"""Every key of the task file, with its default. Values that are known and do not work yet are in `LATER`."""

from __future__ import annotations

import posixpath
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from autoresearch.taskfile.scope import is_pattern, matches
from autoresearch.taskfile.units import Effect, effect, seconds, size

LATER: dict[str, frozenset[str]] = {
    "strategy.kind": frozenset({"tree", "islands"}),
    "metric.name": frozenset({"gpu_mb"}),
    "guard.name": frozenset({"gpu_mb"}),
}
"""Values of the design that this version knows and refuses by name."""

LOCK_FILES = (
    *("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "requirements.txt", "pyproject.toml", "environment.yml"),
    *("package.json", "package-lock.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock", "Cargo.lock", "go.sum", "Gemfile.lock"),
)
"""Files beside the task file that a set-up is made from, where `setup_if` names none."""

OUTSIDE = ("wall_s", "cpu_s", "peak_mb")
"""Metrics measured from outside the evaluation."""

FLAGS = (
    *("assertion", "validation", "error_handling", "tests", "seeds", "import", "dependency", "network", "subprocess", "eval"),
    *("literals", "size"),
)
"""What a scan of a candidate's diff looks for."""


def _auto_seconds(value: Any) -> Any:
    return value if value == "auto" else seconds(value)


def _slots(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError('expected a number of slots from 1, or "auto"')


def _endpoints(value: Any) -> Any:
    if value in ("off", "on"):
        return value
    if not isinstance(value, list) or not value:
        raise ValueError('expected "off", "on" or a list of host:port, as ["127.0.0.1:5432"]')
    for item in value:
        host, _, port = str(item).rpartition(":")
        if not (isinstance(item, str) and _HOST.fullmatch(host) and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError(f'expected host:port, as "127.0.0.1:5432", found {item!r}')
    return tuple(value)


_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")  # a name or an IPv4 address


def _share(value: Any) -> Any:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", str(value).strip())
    if found is None or not 0 <= float(found[1]) <= 100:
        raise ValueError('expected a part of the whole from "0%" to "100%"')
    return float(found[1]) / 100


def _address(value: str) -> str:
    if value and not re.fullmatch(r"https?://\S+", value):
        raise ValueError("expected an address that begins with http:// or https://")
    return value


def _mutation(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", value):
        raise ValueError("expected a name of small letters, digits and underscores")
    return value


def _flags(value: str) -> str:
    if value not in FLAGS:
        raise ValueError(f"expected flags of a diff: {', '.join(FLAGS)}")
    return value


def _inside(value: str) -> str:
    if not value or value.startswith(("/", "~")) or ".." in value.split("/"):
        raise ValueError("expected a path relative to the project's folder, inside it")
    if posixpath.normpath(value) == ".":
        raise ValueError("expected a file or folder in the project's folder, not that folder itself")
    return posixpath.normpath(value)


def _part(value: str) -> str:
    if not value or value.startswith(("/", "~")) or is_pattern(value):
        raise ValueError("expected a folder or file relative to the project's folder, without wildcards")
    return value.rstrip("/")


def _pattern(value: str) -> str:
    try:
        groups = re.compile(value, re.MULTILINE).groups
    except re.error as error:
        raise ValueError(f"expected a regular expression ({error})") from error
    if groups > 1:
        raise ValueError(f"expected at most one group around the number, found {groups}; write the others as (?:…)")
    return value


def _glob(value: str) -> str:
    if not value or value.startswith("/") or ".." in value.split("/"):
        raise ValueError("expected a path or glob relative to the project's folder, inside it")
    if "#" in value:
        raise ValueError("expected a whole file: a marked region (file#name) is not available in this version yet")
    try:
        matches("", value)
    except re.error as error:
        raise ValueError(f"expected a glob ({error})") from error
    return value


Seconds = Annotated[float, BeforeValidator(seconds)]
Size = Annotated[int, BeforeValidator(size)]
Glob = Annotated[str, AfterValidator(_glob)]
Inside = Annotated[str, AfterValidator(_inside)]
Network = Annotated[Literal["off", "on"] | tuple[str, ...], BeforeValidator(_endpoints)]


def keys(table: type[BaseModel]) -> dict[str, str]:
    """The keys of a table as they are written, with the names of their fields."""
    return {field.alias or name: name for name, field in table.model_fields.items()}


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, strict=True, allow_inf_nan=False)


class TaskTable(_Table):
    name: str = ""
    editable: list[Glob] = Field(min_length=1)
    frozen: list[Glob] = []
    instructions: str = "program.md"
    paths: list[Annotated[str, AfterValidator(_part)]] = []


class Resources(_Table):
    """Of one evaluation; None is the whole machine's."""

    cpus: int | None = Field(default=None, ge=1)
    gpus: int | None = Field(default=None, ge=0)
    memory: Size | None = None
    processes: int | None = Field(default=None, ge=1)
    file_size: Size | None = None
    disk: Size | None = None


class Evaluate(_Table):
    command: str = Field(min_length=1)
    timeout: Annotated[float | Literal["auto"], BeforeValidator(_auto_seconds)] = "auto"
    time_budget: Seconds | None = None
    setup: str = ""
    setup_if: list[Glob] = []
    build: str = ""
    inputs: list[str] = []
    copies: list[Inside] = Field(default=[], alias="copy")  # a model has a method of that name
    cache: list[Inside] = []
    env: list[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]] = []
    seed_env: Annotated[str, Field(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")] = ""
    sealed: bool = False
    network: Network = "off"
    sandbox: Literal["auto", "bubblewrap", "landlock", "none"] = "auto"
    resources: Resources = Resources()
    exclusive: bool | None = None  # by the metric
    quick: str = ""
    cleanup: str = ""


class Metric(_Table):
    name: str = Field(min_length=1)
    direction: Literal["minimize", "maximize"] = "minimize"
    unit: str = ""
    pattern: Annotated[str, AfterValidator(_pattern)] = ""
    file: str = ""
    path: str = ""
    take: Literal["only", "last", "first", "min", "max", "median"] = "only"
    min_effect: Annotated[Effect, BeforeValidator(effect)] = Effect()
    noise: Literal["auto", "none", "high"] = "auto"
    target: float | None = None
    jump: float = Field(default=10.0, ge=0)
    limit: float | None = None


class Acceptance(_Table):
    kind: str = "auto"
    max_repeats: int = Field(default=8, ge=1, le=64)
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    simplify: bool = False


class Guard(_Table):
    name: str = Field(min_length=1)
    min: float | None = None
    max: float | None = None
    worse: Annotated[Effect | None, BeforeValidator(effect)] = None
    direction: Literal["minimize", "maximize"] | None = None


class Check(_Table):
    name: str = Field(min_length=1)
    command: str = Field(min_length=1)
    every: int = Field(default=1, ge=1)
    retries: int = Field(default=0, ge=0)
    timeout: Seconds = 600.0


class Gate(_Table):
    command: str = Field(min_length=1)
    private: list[str] = []
    queries: int = Field(default=100, ge=1)


class HeldOut(_Table):
    command: str = Field(min_length=1)
    private: list[str] = []


class Price(_Table):
    """USD for a million tokens of a model that no price list knows."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float | None = Field(default=None, ge=0)  # None: as input


class Proposer(_Table):
    kind: str = "knobs"
    share: float = Field(default=1.0, gt=0)
    model: str = ""
    effort: str = ""
    base_url: Annotated[str, AfterValidator(_address)] = ""
    api_key_env: Annotated[str, Field(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")] = ""
    price: Price | None = None
    login: Literal["auto", "api_key", "subscription"] = "auto"
    agent_config: Literal["none", "user"] = "none"
    may_run: Literal["none", "quick", "checks", "all"] = "quick"
    fixes: int = Field(default=1, ge=0)
    edits: Literal["tools", "blocks"] = "tools"
    fallback: str = ""
    max_turns: int = Field(default=40, ge=1)
    max_tokens: int = Field(default=500_000, ge=1)
    max_cost_usd: float = Field(default=1.0, gt=0)
    command: str = ""
    args: list[str] = []
    timeout: Seconds = 900.0
    inputs: list[str] = []
    network: Network = "on"
    sandbox: Literal["auto", "own", "none"] = "auto"


class Strategy(_Table):
    kind: str = "greedy"
    tune_after_keep: Annotated[float, BeforeValidator(_share)] = 0.0


class Brief(_Table):
    tokens: int = Field(default=8000, ge=500)
    template: Annotated[str, AfterValidator(lambda value: _inside(value) if value else value)] = ""
    append: str = ""
    mutations: dict[Annotated[str, AfterValidator(_mutation)], str] = {}


class Review(_Table):
    hold: list[Annotated[str, AfterValidator(_flags)]] = []
    human: bool = False


class Budget(_Table):
    experiments: int = Field(default=100, ge=0)
    time: Seconds | None = None
    cost_usd: float | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)
    evaluations: int = Field(default=0, ge=0)


class Run(_Table):
    proposals: int = Field(default=1, ge=1)
    evaluations: Annotated[int | Literal["auto"], BeforeValidator(_slots)] = "auto"
    disk: Size = 10 * 10**9


class Task(_Table):
    """A task file. `instructions_text` is the owner's words as they were when it was read."""

    task: TaskTable
    evaluate: Evaluate
    metric: Metric
    acceptance: Acceptance = Acceptance()
    guard: list[Guard] = []
    check: list[Check] = []
    gate: Gate | None = None
    held_out: HeldOut | None = None
    proposer: list[Proposer] = [Proposer()]
    strategy: Strategy = Strategy()
    brief: Brief = Brief()
    review: Review = Review()
    budget: Budget = Budget()
    run: Run = Run()
    instructions_text: str = ""
