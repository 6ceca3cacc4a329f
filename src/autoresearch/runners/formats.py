"""What well-known tools print, and the [metric] lines that read it. Nothing is proposed that was not read back.

The tools stand in `shapes.py`. Standard error is never read: `time`, `/usr/bin/time` and `perf stat` print there, and `wall_s`,
`cpu_s` and `peak_mb` are measured from outside.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autoresearch.records import Direction
from autoresearch.runners import numbers
from autoresearch.runners.quantities import NUMBER, quantity, to_number
from autoresearch.runners.shapes import FILES, ROW, ROWS_OWN, SHAPES, UNIT, JsonShape, Shape

_TAIL = 200_000
_LINE = 600  # no tool writes its numbers into longer ones, and patterns would take their time over them
_ROWS = 12
_MOST = 60
_HASH = re.compile(r"([-.](?=[\w-]*[A-Z0-9_])[\w-]{8,})(\.(?:js|css|mjs|wasm)\b)")
_KEPT = re.compile(r"[.^$*+?{}\[\]\\|()]")
_PAIR = re.compile(rf"(?P<name>[A-Za-z_][\w .@/%+-]{{0,48}}?(?:\([^()]*\))?)[\"']?\s*[:=]\s*'?(?:np\.\w+\(|tensor\()?{NUMBER}")
_CELLS = re.compile(r"\s*[|│┃║]\s*[*_`]*(?P<name>[^|│┃║]*[A-Za-z][^|│┃║]*?)[*_`]*\s*[|│┃║]\s*[*_`]*[-+−]?\d[^|│┃║]*[|│┃║]\s*\Z")
_COUNTER = re.compile(r"(?:epoch|step|iter\w*|batch|round|trial|it|ep)\W*\d+\W*\s", re.IGNORECASE)
_METRIC = re.compile(r"^[ \t]*METRIC[ \t]+(\S+?)[ \t]*=", re.MULTILINE)
_UP = re.compile(
    r"acc(uracy)?|precision|recall|f_?(beta|\d+)|m?ap(_?\d+)?|auc|auroc|roc|r2|r_squared|bleu|rouge\w*|meteor|chrf|ndcg|mrr|hits?|"
    r"iou|miou|dice|psnr|ssim|score|reward|return|win_?rate|throughput|speedup|coverage|covered|passed|pass|tps|qps|rps|"
    r"ops|fps|flops|mfu|bandwidth|speed|ratio|correlation|pearson|spearman|kappa|mcc|correct|per_s(ec(ond)?)?|em|exact_match"
)
_STRONG = re.compile(
    r"acc(uracy)?|f1|m?ap(_?\d+)?|auc|auroc|r2|bleu|rouge\w*|ndcg|mrr|recall|precision|iou|miou|dice|psnr|ssim|score|reward|"
    r"loss|bpb|bpc|ppl|perplexity|wer|cer|rmse|mse|mae|mape|error|err|nll|fid|coverage|throughput|latency|p50|p90|p95|p99|"
    r"tps|qps|rps|ops|mean|median|elapsed|runtime|duration|seconds|time|wall|size|bytes|cost|total"
)
_SETTING = re.compile(
    r"epochs?|steps?|iter(ation)?s?|batch|batches|seed|lr|lrm|learning|rate_?limit|depth|layers?|heads?|dim|vocab|params?|num|n|"
    r"port|version|pid|workers?|threads?|gpus?|cpus?|warmup|rounds?|samples?|remaining|eta|train(ing)?|rank|date|started|server|"
    r"line|pass(es)?|python|platform|max|min|std|stdev|total|peak|mfu|dt|status|nit|nfev|njev|errors?_code|support|concurrency|level|document|clients?"
)

_BESIDE = {"time", "runtime", "elapsed", "duration", "seconds", "wall", "total", "size"}  # what is often printed along


@dataclass(frozen=True, slots=True)
class Found:
    """A number in an output, and how it is read.

    Attributes:
        pattern: empty where the plain rule reads it under `name`; `file` and `path` for a JSON file instead.
        tool: whose output it is, empty for a plain one.
        line: the line it stands in, empty for a file.
    """

    name: str
    value: float
    direction: Direction
    unit: str
    pattern: str
    file: str
    path: str
    take: str
    tool: str
    line: str

    @property
    def keys(self) -> str:
        """How [metric] reads it, as lines of TOML."""
        pairs = {"name": self.name} if not (self.pattern or self.file) else {}
        pairs |= {"pattern": self.pattern, "file": self.file, "path": self.path}
        pairs |= {"take": self.take if self.take != "only" else ""}
        return "\n".join(f"{key} = {_toml(value)}" for key, value in pairs.items() if value)


def recognise(stdout: str, folder: Path | None = None) -> list[Found]:
    """The numbers in what an evaluation printed, and in JSON files of known tools in its folder: the likeliest first."""
    lines = [line if len(line) <= _LINE and line.strip() else "" for line in numbers.clean_lines(stdout[-_TAIL:])]
    text = "\n".join(lines)
    found: dict[str, tuple[float, Found]] = {}
    known: set[str] = set()
    for rank, one in _all(text, lines, folder):
        if not one.tool and one.line in known:
            continue  # the tool's name for it says more
        if one.name not in found or found[one.name][0] > rank:
            found[one.name] = (rank, one)
        known |= {one.line} if one.tool else set()
        if len(found) >= _MOST:
            break
    return [one for _, one in sorted(found.values(), key=lambda item: item[0])]


def _all(text: str, lines: list[str], folder: Path | None) -> Iterator[tuple[float, Found]]:
    for name in dict.fromkeys(_METRIC.findall(text)):
        if one := _plain(text, name, "METRIC"):
            yield 0, one
    for kind in FILES if folder is not None else ():
        assert folder is not None
        for one in _from_file(kind, folder):
            yield 1, one
    for shape in SHAPES:
        for one in _from_shape(shape, text):
            yield (_rank(one) - 0.1 if shape.name == ROWS_OWN else shape.rank), one
    seen: set[str] = set()
    for name, line in _names(lines):
        key = _slug(name)
        if key not in seen and len(seen) < 4 * _MOST:
            seen.add(key)
            if one := _plain(text, key, line) or (_plain(text, name, line) if name != key else None):
                yield _rank(one), one
    yield from _last(text, lines)


# -- JSON files --------------------------------------------------------------------------------------------------------


def _from_file(kind: JsonShape, folder: Path) -> Iterator[Found]:
    try:
        files = sorted(p for glob in kind.globs for p in folder.glob(glob))[:_ROWS]
    except OSError:
        return
    for file in files:
        for name, path, direction, unit in kind.entries:
            try:
                value = numbers.read("", [name], json_file=file, json_path=path)[name]
            except numbers.NoNumber:
                break  # another tool's file: its first entry is what tells it
            label = (
                f"{_slug(file.parent.parent.name)}_{name}"
                if "*" in kind.globs[0].rpartition("/")[0] and len(files) > 1
                else name
            )
            yield Found(label, value, direction, unit, "", str(file.relative_to(folder)), path, "only", kind.tool, "")


# -- known tools -------------------------------------------------------------------------------------------------------


def _from_shape(shape: Shape, text: str) -> Iterator[Found]:
    """One for each row (and unit) that the shape finds; a row's name and unit become part of its pattern."""
    if shape.sign and shape.sign not in text:
        return
    for row in _rows(shape, text):
        with_row = shape.pattern.replace(ROW, _literal(row))
        matches = list(re.finditer(with_row.replace(UNIT, r"(?P<unit>[A-Za-zµμ]+)"), text, re.MULTILINE))
        units = {match.groupdict().get("unit", "") for match in matches}
        if len(units) == 1:
            unit = units.pop()
            name = shape.name.format(row=_slug(_HASH.sub(r"\2", row)), unit=_slug(unit.replace("µ", "u")))
            pattern = with_row.replace(UNIT, unit)
            if one := _read(shape, text, name, pattern, shape.unit or unit, _line_of(matches[0])):
                yield one


def _rows(shape: Shape, text: str) -> list[str]:
    if ROW not in shape.pattern:
        return [""]
    finder = (shape.finder or shape.pattern).replace(ROW, f"(?P<row>{shape.row})").replace(UNIT, "[A-Za-zµμ]+")
    return list(dict.fromkeys(m["row"] for m in re.finditer(finder, text, re.MULTILINE)))[:_ROWS]


def _read(shape: Shape, text: str, name: str, pattern: str, unit: str, line: str) -> Found | None:
    for take in dict.fromkeys(("only", shape.take)):
        try:
            value = numbers.read(text, [name], pattern=pattern, take=take)[name]
        except numbers.NoNumber:
            continue
        direction = shape.direction or guess(name, unit)
        return Found(name, value, direction, unit, pattern, "", "", take, shape.tool, line)
    return None


def _line_of(match: re.Match[str]) -> str:
    end = match.string.find("\n", match.end())
    return match.string[: end if end >= 0 else None].rpartition("\n")[2].strip()[:200]


def _literal(text: str) -> str:
    """A regular expression for a row's label; the hash in a bundle's file name is any hash."""
    hashed = _HASH.search(text)
    if hashed is None:
        return _KEPT.sub(r"\\\g<0>", text)
    before, after = text[: hashed.start(1) + 1], text[hashed.start(2) :]
    return _literal(before) + r"[\w-]+" + _KEPT.sub(r"\\\g<0>", after)


# -- plain numbers -----------------------------------------------------------------------------------------------------


def _names(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Whatever might be the name of a number, with its line."""
    for line in lines[-2000:]:
        names = [m["name"].strip() for m in _PAIR.finditer(line)]
        if cells := _CELLS.match(line):
            names.append(cells["name"].strip())
        for name in names:
            if " " in name:
                yield name.rpartition(" ")[2], line
            if not _COUNTER.match(name):
                yield name, line


def _plain(text: str, name: str, line: str) -> Found | None:
    if not name:
        return None
    for take in ("only", "last"):
        try:
            value = numbers.read(text, [name, ""], take=take)[name]
        except numbers.Several:
            continue
        except numbers.NoNumber:
            return None
        unit = _unit(line, name)
        return Found(name, value, guess(name, unit), unit, "", "", "", take, "", line.strip()[:200])
    return None


def _unit(line: str, name: str) -> str:
    spelled = re.escape(name).replace("_", "[_ -]")
    match = re.search(rf"{spelled}[\"'*]*\s*[:=|│]\s*([^,;|│(\[]+)", line, re.IGNORECASE)
    found = quantity(match[1]) if match else None
    return found.unit if found is not None else ""


def _last(text: str, lines: list[str]) -> Iterator[tuple[float, Found]]:
    """JSON on the last line, a table of CSV, a number alone."""
    last = next((line for line in reversed(lines) if line.strip()), "")
    for name in numbers.json_line(lines):
        if one := _plain(text, name, last):
            yield _rank(one) - 0.5, one
    yield from ((_rank(one) + 0.5, one) for one in _csv(text, lines))
    if to_number(last) is not None:
        value = to_number(last)
        assert value is not None
        if value == value and abs(value) != float("inf"):
            yield 5, Found("score", value, "minimize", "", "", "", "", "only", "", last.strip())


def _csv(text: str, lines: list[str]) -> Iterator[Found]:
    """The last row of a table with a header: comma- or tab-separated, the same number of cells in both."""
    rows = [line for line in lines if line.strip()][-200:]
    for mark in (",", "\t", ";"):
        if len(rows) < 2 or mark not in rows[-1]:
            continue
        width = rows[-1].count(mark)
        head = next(
            (r for r in rows if r.count(mark) == width and not any(to_number(c) is not None for c in r.split(mark))), ""
        )
        cells = [c.strip().strip('"') for c in head.split(mark)] if head else []
        for i, name in enumerate(cells):
            pattern = rf'^(?:[^{mark}\n]*{mark}){{{i}}}"?([^{mark}\n"]+)"?(?={mark}|$)'.replace("\t", r"\t")
            shape = Shape("CSV", _slug(name), pattern, take="last")
            if name and (one := _read(shape, text, _slug(name), pattern, "", rows[-1])):
                yield one


# -- guesses -----------------------------------------------------------------------------------------------------------


def guess(name: str, unit: str = "") -> Direction:
    """Which way is better, from the words of a name and the unit; down where nothing tells."""
    key = _slug(name)
    if re.search(r"/s(ec)?$|per_?s(ec(ond)?)?$|/sec", unit) or re.search(r"(?:^|_)per_s(?:ec(?:ond)?)?(?:_|$)", key):
        return "maximize"
    if re.search(r"(?:^|_)(loss|error|err|miss(ed|es)?|fail(ed|ures?)?|latency|time|duration|size|bytes)(?:_|$)", key):
        return "minimize"
    return "maximize" if any(_UP.fullmatch(word) for word in _words(key)) else "minimize"


def _words(key: str) -> list[str]:
    parts = key.split("_")
    return [*parts, *("_".join(pair) for pair in itertools.pairwise(parts))]


def _rank(one: Found) -> float:
    """How likely a plain number is the one that matters: 2 for usual metrics, up to 7 for settings and counters."""
    words = _words(_slug(one.name))
    strong = any(_STRONG.fullmatch(word) for word in words)
    setting = any(_SETTING.fullmatch(word) for word in words)
    held_out = any(word in ("val", "valid", "validation", "test", "eval", "dev", "held", "final", "best") for word in words)
    if strong:
        return 2 + 2 * setting - 0.5 * held_out + 0.25 * (one.take != "only") + 0.3 * (not _BESIDE.isdisjoint(words))
    return 7 if setting else 4 - 0.5 * held_out


def _slug(name: str) -> str:
    words = name.replace("%", " pct ") if name.strip() != "%" else "percent"
    return re.sub(r"[^0-9A-Za-z]+", "_", words).strip("_").lower()[:60]


def _toml(value: str) -> str:
    """A TOML string, in the form that needs the fewest escapes."""
    if "'" not in value and ("\\" in value or '"' in value) and value.isprintable():
        return f"'{value}'"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
