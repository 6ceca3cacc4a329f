"""Which numbers a script seems to print: a look at its text, nothing is run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from autoresearch.detect.records import Number, named

_LABEL = r"(?P<name>[A-Za-z][\w ./@-]{0,40}?)"
_SAID = re.compile(
    r"(?:\bprintf?|\bprintln!?|\bPrintf|\bPrintln|\blog|\becho|\bputs|\bwrite|\bcout\s*<<)\s*\(?\s*(?:std(?:out|err),\s*)?[fr]*"
    rf"[\"'`](?:METRIC\s+)?{_LABEL}\s*[:=]\s*(?:[{{$%#\d]|[\"'`]\s*[,+<])"
)
_IN_STRING = re.compile(rf"(?:\A|\n)\s*(?:METRIC\s+)?{_LABEL}\s*[:=]\s*\Z")
_NO_METRIC = re.compile(
    "epochs?|steps?|iter|iteration|seed|device|n|i|count|total|params|parameters|size|version|usage|error|file", re.IGNORECASE
)
_LIKELY = re.compile(
    r"loss|acc|score|f1|recall|precision|bpb|perplexity|rmse|mae|mse|auc|per_|_ms\b|_us\b|_ns\b|_s\b|latency|p9\d|bytes|seconds"
)
_BEST = re.compile(r"\b(?:val|valid|test|eval|final|best|mean|median|p95)")


def printed(text: str, *, python: bool) -> Number | None:
    """The likeliest number of a script; one that is printed in a loop is taken at its last."""
    found = list(_of_python(text) if python else ((m["name"], False) for m in _SAID.finditer(text)))
    if not found:
        return None
    numbers = [(re.sub(r"[\s-]+", "_", name.strip()), looped) for name, looped in found]
    likely = [(name, looped) for name, looped in numbers if not _NO_METRIC.fullmatch(name)]
    if not likely:
        return None
    name, looped = max(likely, key=lambda item: _likelihood(item[0].lower()))
    return named(name, take="last" if looped else "only")


def _likelihood(name: str) -> int:
    return 2 * bool(_LIKELY.search(name)) + bool(_BEST.search(name))


def _of_python(text: str) -> Iterator[tuple[str, bool]]:
    """Names before a number in calls of print, and keys of what json.dumps gets; with whether it stands in a loop."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    yield from _visit(tree, looped=False)


def _visit(node: ast.AST, *, looped: bool) -> Iterator[tuple[str, bool]]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
        called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        if called in ("print", "echo", "info", "write") and not _to_stderr(node):
            yield from ((name, looped) for name in _labels(node.args))
        if called in ("dumps", "dump") and node.args and isinstance(node.args[0], ast.Dict):
            keys = (key.value for key in node.args[0].keys if isinstance(key, ast.Constant))
            yield from ((key, False) for key in keys if isinstance(key, str) and re.fullmatch(r"[A-Za-z][\w ./@-]{0,40}", key))
    for child in ast.iter_child_nodes(node):
        inner = isinstance(node, ast.For | ast.While | ast.AsyncFor) or (looped and not isinstance(node, ast.FunctionDef))
        yield from _visit(child, looped=inner)


def _to_stderr(call: ast.Call) -> bool:
    return any(k.arg == "file" and "stderr" in ast.unparse(k.value) for k in call.keywords) or "stderr" in ast.unparse(
        call.func
    )


def _labels(args: list[ast.expr]) -> Iterator[str]:
    """`print("name:", x)`, `print(f"name: {x}")`, `print("name: %f" % x)`, `print("name: {}".format(x))`."""
    for i, arg in enumerate(args):
        if isinstance(arg, ast.JoinedStr):
            for part, after in zip(arg.values, arg.values[1:], strict=False):
                if isinstance(part, ast.Constant) and isinstance(after, ast.FormattedValue):
                    yield from _label(str(part.value))
        elif isinstance(arg, ast.Constant) and isinstance(arg.value, str) and i + 1 < len(args):
            yield from _label(arg.value)
        elif isinstance(arg, ast.BinOp | ast.Call):
            text = next((n.value for n in ast.walk(arg) if isinstance(n, ast.Constant) and isinstance(n.value, str)), "")
            yield from _label(re.split(r"[%{]", text)[0])


def _label(text: str) -> Iterator[str]:
    if match := _IN_STRING.search(text):
        yield match["name"]
