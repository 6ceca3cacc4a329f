"""Constants in source files: find them with their ranges, write others in their place, keep everything around them.

Python: module-level UPPER_CASE names assigned once to a number, a boolean, a string, a power such as `2**19`, or a tuple of
them. JSON: numbers and booleans by path. A range stands in a comment on the constant's line, or follows from its value:

    LEARNING_RATE = 3e-4  # knob: log 1e-5..1e-2
    ACTIVATION = "relu"   # knob: relu|gelu|silu
    DROPOUT = 0.1         # knob: 0..0.5
    LABEL = "v2"          # knob: off
"""

from __future__ import annotations

import ast
import difflib
import io
import json
import math
import re
import tokenize
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Value = float | int | bool | str

_POWERS = 64  # exponents stay below
_WORD = re.compile(r"[A-Za-z_]\w*")
_UPPER = re.compile(r"[A-Z][A-Z0-9_]*")
_COMMENT = re.compile(r"#\s*knob:\s*(.+?)\s*$")
_SPAN = re.compile(r"(?:(log)\s+)?([^\s.|]*(?:\.\d+)?(?:e[-+]?\d+)?)\s*\.\.\s*(\S+)", re.IGNORECASE)
_NEVER = re.compile(r"SEED|DEBUG|VERBOSE|TIMEOUT|(?<![A-Z])(?:PORT|VERSION|YEAR|LOG|EVERY|INTERVAL)S?(?![A-Z])")
_SHARE = re.compile(r"RATIO|FRAC|PROB|DROPOUT|MOMENTUM|BETA|DECAY_RATE|SHARE|PERCENT")


class RangeError(ValueError):
    """A knob comment that cannot be read."""


@dataclass(frozen=True, slots=True)
class Knob:
    """One constant: where it stands and what it may become.

    Attributes:
        name: unique over all files; `start` and `end` are character offsets of its literal in `file`.
        kind: float, int, power (the exponent of `2**k`) or choice.
        low, high: bounds of a number; `choices` those of a choice.
    """

    name: str
    file: str
    start: int
    end: int
    value: Value
    kind: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Value, ...] = ()
    style: str = "python"

    @property
    def size(self) -> float:
        """How many values there are; infinite for a float."""
        if self.kind == "choice":
            return len(self.choices)
        return math.inf if self.kind == "float" else int(self.high) - int(self.low) + 1

    def to_unit(self, value: Value) -> float:
        """A number's place in its range, 0 to 1."""
        v = min(max(float(value), self.low), self.high)
        if self.high <= self.low:
            return 0.0
        if self.log:
            return (math.log(v) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (v - self.low) / (self.high - self.low)

    def from_unit(self, unit: float) -> Value:
        """The value at a place in the range, rounded as it will be written."""
        u = min(max(unit, 0.0), 1.0)
        if self.log:
            v = math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low)))
        else:
            v = self.low + u * (self.high - self.low)
        if self.kind in ("int", "power"):
            return int(min(max(round(v), math.ceil(self.low)), math.floor(self.high)))
        return min(max(float(f"{v:.3g}"), self.low), self.high)

    def render(self, value: Value) -> str:
        """The literal that stands for a value in the file's language."""
        if self.kind == "power":
            return f"2**{value}"
        if self.style == "json":
            return json.dumps(value)
        if isinstance(value, str):
            return json.dumps(value, ensure_ascii=False)
        return repr(value)

    def show(self, value: Value) -> str:
        return f"2**{value}" if self.kind == "power" else str(value)


def find(files: Mapping[str, str]) -> list[Knob]:
    """All knobs of some files (text by path), in order; a name that several files have gets its file before it."""
    found: list[Knob] = []
    for path, text in files.items():
        if path.endswith(".py"):
            found += _in_python(path, text)
        elif path.endswith(".json"):
            found += _in_json(path, text)
    names = [k.name for k in found]
    return [_renamed(k, f"{k.file}:{k.name}") if names.count(k.name) > 1 else k for k in found]


def _renamed(knob: Knob, name: str) -> Knob:
    from dataclasses import replace

    return replace(knob, name=name)


def edit(files: Mapping[str, str], knobs: Sequence[Knob], values: Mapping[str, Value]) -> dict[str, str]:
    """The files that change when the named knobs get new values, with nothing but the literals replaced.

    Raises:
        ValueError: a literal could not be written so that it reads back as the value.
    """
    changed: dict[str, str] = {}
    for path in sorted({k.file for k in knobs if k.name in values}):
        text = files[path]
        for knob in sorted((k for k in knobs if k.file == path and k.name in values), key=lambda k: -k.start):
            text = text[: knob.start] + knob.render(values[knob.name]) + text[knob.end :]
        changed[path] = text
    after = {k.name: k.value for k in find({**files, **changed})}
    for name, value in values.items():
        if after.get(name) != value:
            raise ValueError(f"cannot write {name} = {value!r} so that it reads back")
    return changed


# -- those of a change -------------------------------------------------------------------------------------------------


def beside(knobs: Sequence[Knob], changed: Mapping[str, tuple[bytes | None, bytes | None]]) -> list[Knob]:
    """Those of the knobs that stand in the lines which a change wrote, and those that these lines name.

    Args:
        changed: by path, the file before the change and after it; what is no text is left out.
    """
    found: set[tuple[str, str]] = set()
    named: set[str] = set()  # and not found in the file that names them
    for path, (before, after) in changed.items():
        try:
            old, new = ((text or b"").decode().split("\n") for text in (before, after))
        except UnicodeDecodeError:
            continue
        lines, own = _written(old, new), find({path: "\n".join(new)})
        words = {word for i in lines for word in _WORD.findall(new[i])}
        starts = {k.name: "\n".join(new).count("\n", 0, k.start) for k in own}
        found |= {(path, k.name) for k in own if starts[k.name] in lines or (k.style == "python" and _base(k) in words)}
        named |= words - {_base(k) for k in own}
    return [
        k for k in knobs if (k.file, k.name.removeprefix(f"{k.file}:")) in found or (k.style == "python" and _base(k) in named)
    ]


def _written(old: Sequence[str], new: Sequence[str]) -> set[int]:
    """The lines of `new`, counted from 0, that are not in `old`."""
    blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return {i for what, _, _, first, last in blocks if what != "equal" for i in range(first, last)}


def _base(knob: Knob) -> str:
    """The name that code has for it."""
    return knob.name.removeprefix(f"{knob.file}:").partition("[")[0]


# -- Python ------------------------------------------------------------------------------------------------------------


def _in_python(path: str, text: str) -> Iterator[Knob]:
    mark = len(text) - len(text.removeprefix("\ufeff"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the owner's code, such as "\d": none of our business
            module = ast.parse(text[mark:])
        comments = _comments(text[mark:])
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return
    lines = _Offsets(text, mark)
    names = Counter(_stored(module))
    for name, value in (pair for node in module.body for pair in _assignment(node)):
        if names[name] > 1:
            continue
        comment = comments.get(value.end_lineno or value.lineno, "")
        parts = [(name, value)]
        if isinstance(value, ast.Tuple):
            parts = [(f"{name}[{i}]", part) for i, part in enumerate(value.elts)]
        for part, node in parts:
            knob = _knob(part, path, node, lines, comments.get(node.end_lineno or node.lineno, comment))
            if knob is not None:
                yield knob


def _stored(module: ast.Module) -> Iterator[str]:
    """Names that the module assigns, as often as it does: also under conditions, in loops, and from functions."""
    stack: list[ast.AST] = [module]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            yield from (name for inner in ast.walk(node) if isinstance(inner, ast.Global) for name in inner.names)
        else:
            stack.extend(ast.iter_child_nodes(node))


def _assignment(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    target = None
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target, value = node.targets[0], node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        target, value = node.target, node.value
    if isinstance(target, ast.Name) and _UPPER.fullmatch(target.id):
        yield target.id, value


def _comments(text: str) -> dict[int, str]:
    """Knob comments by line; found by the tokenizer, so that one inside a string is none."""
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(text, newline=None).readline):
        if token.type == tokenize.COMMENT and (match := _COMMENT.search(token.string)):
            found[token.start[0]] = match[1]
    return found


class _Offsets:
    """Character offsets of AST positions, whose columns count UTF-8 bytes; `first` characters are not in the AST."""

    def __init__(self, text: str, first: int) -> None:
        self._lines = re.split(r"(?<=\n)|(?<=\r)(?!\n)", text[first:])  # as Python does: a form feed ends no line
        self._starts = [first]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    def at(self, line: int, column: int) -> int:
        return self._starts[line - 1] + len(self._lines[line - 1].encode()[:column].decode())


def _knob(name: str, path: str, node: ast.expr, lines: _Offsets, comment: str) -> Knob | None:
    value, kind = _literal(node)
    if value is None or comment == "off" or (not comment and _NEVER.search(name)):
        return None
    start = lines.at(node.lineno, node.col_offset)
    end = lines.at(node.end_lineno or node.lineno, node.end_col_offset or 0)
    return _with_range(Knob(name, path, start, end, value, kind), comment)


def _literal(node: ast.expr) -> tuple[Value | None, str]:
    """The value of a literal, and whether it is a power of two written as one."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        base, exponent = _literal(node.left)[0], _literal(node.right)[0]
        if type(base) is int and base == 2 and type(exponent) is int and 0 <= exponent < _POWERS:
            return exponent, "power"
        return None, ""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value, kind = _literal(node.operand)
        return (-value, kind) if kind in ("int", "float") and isinstance(value, (int, float)) else (None, "")
    if isinstance(node, ast.Constant):
        constant = node.value
        if isinstance(constant, (bool, str)):
            return constant, "choice"
        if isinstance(constant, (int, float)) and _searchable(constant):
            return constant, "int" if isinstance(constant, int) else "float"
    return None, ""


def _searchable(value: float) -> bool:
    """Whether there is a range around a number, with room to spare."""
    return value == 0 or 1e-250 < abs(value) < (2**53 if isinstance(value, int) else 1e250)


# -- JSON --------------------------------------------------------------------------------------------------------------

_JSON_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)|(true|false)|(null)|([{}\[\],:]))')


def _in_json(path: str, text: str) -> Iterator[Knob]:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return
    found = list(_scalars(path, text))
    names = Counter(knob.name for knob in found)
    yield from (knob for knob in found if names[knob.name] == 1)


def _scalars(path: str, text: str) -> Iterator[Knob]:
    stack: list[str | int] = []
    containers: list[str] = []
    key, at = "", 0
    while (match := _JSON_TOKEN.match(text, at)) is not None:
        at = match.end()
        string, number, boolean, _, mark = match.groups()
        if mark in ("{", "["):
            containers.append(mark)
            stack.append(0 if mark == "[" else "")
        elif mark in ("}", "]"):
            containers.pop(), stack.pop()
        elif mark == "," and containers[-1] == "[":
            stack[-1] = int(stack[-1]) + 1
        elif mark == ":":
            stack[-1] = json.loads(key)
        elif string:
            key = string
        elif number or boolean:
            name = ".".join(str(part) for part in stack) or "value"
            value = json.loads(number or boolean)
            kind = "choice" if boolean else "int" if isinstance(value, int) else "float"
            if not _NEVER.search(name.upper()) and (boolean or _searchable(value)):
                knob = _with_range(Knob(name, path, match.end() - len(number or boolean), at, value, kind, style="json"), "")
                if knob is not None:
                    yield knob


# -- ranges ------------------------------------------------------------------------------------------------------------


def _with_range(knob: Knob, comment: str) -> Knob | None:
    """Give a knob its range: from the comment, else from its value; None where neither tells."""
    from dataclasses import replace

    if comment:
        return _from_comment(knob, comment)
    if knob.kind == "choice":
        return replace(knob, choices=(False, True)) if isinstance(knob.value, bool) else None
    value = float(knob.value)
    if knob.kind == "power":
        return replace(knob, low=max(0, value - 3), high=min(_POWERS - 1, value + 3))
    if value == 0:
        return replace(knob, low=0.0, high=1.0) if knob.kind == "float" and _SHARE.search(knob.name.upper()) else None
    if value < 0:
        return replace(knob, low=4 * value, high=value / 4 if knob.kind == "float" else min(-1, round(value / 4)))
    if knob.kind == "int":
        return replace(knob, low=max(1, value // 4), high=value * 4, log=True)
    if _SHARE.search(knob.name.upper()) and value <= 1:
        if value >= 0.8:  # 0.9, 0.99, 0.999: what matters is the distance from 1
            return replace(knob, low=max(0.0, 1 - 4 * (1 - value) - 0.02), high=min(1.0, 1 - (1 - value) / 10))
        return replace(knob, low=0.0, high=min(1.0, 4 * value))
    return replace(knob, low=value / 10, high=value * 10, log=True)


def _from_comment(knob: Knob, comment: str) -> Knob:
    from dataclasses import replace

    if "|" in comment:
        choices = tuple(_choice(part.strip(), knob.value) for part in comment.split("|"))
        choices = choices if knob.value in choices else (knob.value, *choices)
        return replace(knob, kind="choice", choices=choices)
    match = _SPAN.fullmatch(comment)
    try:
        if match is None or knob.kind == "choice":
            raise ValueError
        low, high = float(match[2]), float(match[3])
        if not (low < high < math.inf and low > -math.inf) or (match[1] and low <= 0):
            raise ValueError
        if knob.kind == "power" and not 0 <= low < high < _POWERS:
            raise ValueError
    except ValueError:
        raise RangeError(
            f"{knob.file}: {knob.name}: cannot read `# knob: {comment}`: expected `low..high`, `log low..high` (both above 0), "
            "`one|two|three` or `off`"
        ) from None
    value = float(knob.value)
    if knob.kind == "int" and not (low.is_integer() and high.is_integer()):
        knob = replace(knob, kind="float")  # DROPOUT = 0  # knob: 0..0.5
    return replace(knob, low=min(low, value), high=max(high, value), log=bool(match[1]) and value > 0)


def _choice(text: str, like: Value) -> Value:
    """A choice as the type of the present value."""
    if isinstance(like, str):
        return text.strip("\"'")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, (bool, int, float, str)) else text
