"""The outputs of well-known tools: a table, read by `formats.py`. One entry for each number, the tool's main one first.

A pattern ends in the unit where a tool changes it with the size of the number: 980 µs after 1.02 ms is then no measurement,
and not a loss of a thousandfold.
"""

from __future__ import annotations

from dataclasses import dataclass

from autoresearch.records import Direction

ROW = "<row>"
UNIT = "<unit>"
ROWS_OWN = "{row}"  # the row is the number's own name, and tells how much it matters


@dataclass(frozen=True, slots=True)
class Shape:
    r"""One number of a tool.

    Attributes:
        name: `{row}` and `{unit}` are filled in.
        pattern: as in [metric], with one group; `<row>` stands for a label as `row` describes it, `<unit>` for a word.
        sign: text that has to be in the output at all.
        finder: where rows are found, if not by the pattern itself, which may begin at a heading above them.
        rank: 1 for a tool's result, 3 for what tools say beside it.
    """

    tool: str
    name: str
    pattern: str
    direction: Direction | None = None
    unit: str = ""
    take: str = "only"
    row: str = r"\S+"
    sign: str = ""
    finder: str = ""
    rank: float = 1


@dataclass(frozen=True, slots=True)
class JsonShape:
    """A tool's JSON file: globs below the folder, and its numbers (name, path, direction, unit); the first tells the tool."""

    tool: str
    globs: tuple[str, ...]
    entries: tuple[tuple[str, str, Direction, str], ...]


_N = r"([\d.,]+)"

SHAPES = (
    # coverage
    Shape("coverage", "coverage", r"^TOTAL\s.*?([\d.]+)%$", "maximize", "%"),
    Shape("istanbul", "statements_pct", r"^All files\s*\|\s*([\d.]+)", "maximize", "%"),
    Shape("istanbul", "branches_pct", r"^All files\s*\|[^|]*\|\s*([\d.]+)", "maximize", "%", rank=1.1),
    Shape("istanbul", "lines_pct", r"^All files\s*\|(?:[^|]*\|){3}\s*([\d.]+)", "maximize", "%", rank=1.2),
    Shape("go cover", "coverage", r"^(?:ok[ \t].*)?coverage: ([\d.]+)% of statements", "maximize", "%", take="last"),
    Shape("cargo llvm-cov", "lines_pct", r"^TOTAL(?:\s+\d+\s+\d+\s+[\d.]+%){2}\s+\d+\s+\d+\s+([\d.]+)%", "maximize", "%"),
    # benchmarks of commands and functions
    Shape("hyperfine", "mean_{unit}", r"^  Time \(mean ± σ\):\s+([\d.]+) <unit>", "minimize"),
    Shape(
        "hyperfine",
        "mean_{row}_{unit}",
        r"^Benchmark (?:#?)<row>: .*\n  Time \(mean ± σ\):\s+([\d.]+) <unit>",
        "minimize",
        row=r"\d+",
        rank=1.1,
    ),
    Shape(
        "pytest-benchmark",
        "{row}_mean_{unit}",
        r"^Name \(time in <unit>\)[\s\S]*?\n<row>\s+[\d.,]+ \([\d.>]+\)\s+[\d.,]+ \([\d.>]+\)\s+([\d.,]+) \(",
        "minimize",
        row=r"test_\S+",
        sign="Name (time in",
        finder=r"^<row>\s+[\d.,]+ \([\d.>]+\)",
        rank=1.1,
    ),
    Shape("libtest", "{row}_ns", r"^test <row>\s+\.\.\. bench:\s+([\d.,]+) ns/iter", "minimize", "ns/iter"),
    Shape("criterion", "{row}_{unit}", r"^<row>\s+time:\s+\[[\d.]+ \S+ ([\d.]+) <unit> ", "minimize", row=r"\S.*?\S"),
    Shape(
        "go test -bench",
        "{row}_ns_per_op",
        r"^<row>(?:-\d+)?\s+\d+\s+([\d.]+) ns/op",
        "minimize",
        "ns/op",
        take="median",
        row=r"Benchmark\S+?",
    ),
    Shape(
        "go test -bench",
        "{row}_bytes_per_op",
        r"^<row>(?:-\d+)?\s+\d+\s.*?([\d.]+) B/op",
        "minimize",
        "B/op",
        take="median",
        row=r"Benchmark\S+?",
        rank=1.2,
    ),
    Shape(
        "google-benchmark",
        "{row}_{unit}",
        r"^<row>\s+([\d.e+]+) <unit>\s+[\d.e+]+ \w+\s+\d+",
        "minimize",
        take="median",
        sign="Iterations",
    ),
    Shape("JMH", "{row}_throughput", r"^<row>\s+thrpt\s+\d*\s+([\d.,]+)", "maximize", sign="Mode"),
    Shape("JMH", "{row}_time", r"^<row>\s+(?:avgt|sample|ss)\s+\d*\s+([\d.,]+)", "minimize", sign="Mode"),
    Shape("benchmark.js", "{row}_ops_per_s", r"^<row> x ([\d.,]+) ops/sec", "maximize", "ops/s", row=r"\S.*?"),
    Shape("mitata", "{row}_{unit}", r"^<row>\s+([\d.,]+) <unit>/iter", "minimize", row=r"\S+(?: \S+)*", sign="/iter"),
    Shape(
        "tinybench",
        "{row}_ops_per_s",
        r"^│ \d+ +│ '<row>' +│ '[^']*' +│ '[^']*' +│ '(\d+) ±",
        "maximize",
        "ops/s",
        row=r"[^'│\n]+",
    ),
    # servers and databases
    Shape("wrk", "requests_per_s", r"^Requests/sec:\s+([\d.]+)", "maximize", "req/s"),
    Shape(
        "wrk",
        "p{row}_{unit}",
        r"^[ \t]+<row>%\s+([\d.]+)<unit>$",
        "minimize",
        row=r"\d[\d.]*",
        sign="Latency Distribution",
        rank=1.2,
    ),
    Shape("ab", "requests_per_s", r"^Requests per second:\s+([\d.]+)", "maximize", "req/s"),
    Shape("ab", "time_per_request_ms", r"^Time per request:\s+([\d.]+) \[ms\] \(mean\)", "minimize", "ms", rank=1.2),
    Shape(
        "ab",
        "p{row}_ms",
        r"^[ \t]+<row>%\s+(\d+)",
        "minimize",
        "ms",
        row=r"\d+",
        sign="served within a certain time (ms)",
        rank=1.3,
    ),
    Shape("k6", "http_req_duration_p95_{unit}", r"^[ \t]+http_req_duration[^\n]*?p\(95\)=([\d.]+)<unit>(?:\s|$)", "minimize"),
    Shape("k6", "http_reqs_per_s", r"^[ \t]+http_reqs[.\s]*:\s+\d+\s+([\d.]+)/s", "maximize", "req/s", rank=1.1),
    Shape("oha", "requests_per_s", r"^[ \t]+Requests/sec:\s+([\d.]+)", "maximize", "req/s"),
    Shape("PostgreSQL", "execution_ms", r"^[ \t]*Execution Time: ([\d.]+) ms", "minimize", "ms", take="last"),
    Shape("PostgreSQL", "planning_ms", r"^[ \t]*Planning Time: ([\d.]+) ms", "minimize", "ms", take="last", rank=1.2),
    Shape("psql", "time_ms", r"^Time: ([\d.]+) ms", "minimize", "ms", take="last", rank=1.5),
    Shape("pgbench", "tps", r"^tps = ([\d.]+) \(without initial connection time\)", "maximize", "transactions/s"),
    Shape("pgbench", "tps", r"^tps = ([\d.]+) \(excluding connections establishing\)", "maximize", "transactions/s"),
    Shape("pgbench", "latency_ms", r"^latency average = ([\d.]+) ms", "minimize", "ms", rank=1.1),
    Shape(
        "redis-benchmark",
        "{row}_per_s",
        r"^[ \t]*<row>: (?:rps=[^\n]*\s)?([\d.]+) requests per second",
        "maximize",
        "req/s",
        row=r"[A-Z][\w ()]*?",
    ),
    Shape(
        "redis-benchmark",
        "{row}_per_s",
        r"====== <row> ======(?:(?!======)[\s\S])*?throughput summary: ([\d.]+)",
        "maximize",
        "req/s",
        row=r"[^=\n]+?",
    ),
    Shape("sysbench", "events_per_s", r"^[ \t]*events per second:\s+([\d.]+)", "maximize", "events/s"),
    Shape("sysbench", "transactions_per_s", r"^[ \t]+transactions:\s+\d+\s+\(([\d.]+) per sec", "maximize", "transactions/s"),
    Shape("sysbench", "p95_ms", r"^[ \t]+95th percentile:\s+([\d.]+)", "minimize", "ms", rank=1.2),
    # models
    Shape("scikit-learn", "accuracy", r"^[ \t]+accuracy\s+([\d.]+)\s+\d+$", "maximize", sign="f1-score"),
    Shape("scikit-learn", "macro_f1", r"^[ \t]*macro avg(?:\s+[\d.]+){2}\s+([\d.]+)", "maximize", sign="f1-score", rank=1.1),
    Shape(
        "scikit-learn", "weighted_f1", r"^[ \t]*weighted avg(?:\s+[\d.]+){2}\s+([\d.]+)", "maximize", sign="f1-score", rank=1.2
    ),
    Shape(
        "COCO", "map", r"Average Precision\s+\(AP\) @\[ IoU=0\.50:0\.95 \| area=\s*all \| maxDets=100 \] = ([\d.]+)", "maximize"
    ),
    Shape("YOLO", "map50_95", r"^[ \t]+all\s+\d+\s+\d+\s+[\d.]+\s+[\d.]+\s+[\d.]+\s+([\d.]+)\s*$", "maximize", take="last"),
    Shape("sacreBLEU", "bleu", r"BLEU\S*(?: \S+)? = ([\d.]+) ", "maximize", take="last"),
    Shape(
        "llama.cpp",
        "tokens_per_s",
        r"^(?:llama_perf\w*|llama_print_timings|common_perf_print):\s+eval time =.*?([\d.]+) tokens per second",
        "maximize",
        "tok/s",
    ),
    Shape(
        "llama-bench", "{row}_tokens_per_s", r"\|\s+<row> \|\s+([\d.]+) ± [\d.]+ \|$", "maximize", "tok/s", row=r"(?:pp|tg)\d+"
    ),
    Shape("llama.cpp", "perplexity", r"Final estimate: PPL = ([\d.]+)", "minimize"),
    Shape("W&B", "{row}", r"^wandb:\s+<row> ([-\d.e+]+)$", None, take="last", row=r"[A-Za-z][\w/.-]*"),
    Shape("lm-evaluation-harness", "{row}", r"\|<row>\s*\|↑\s*\|\s*([\d.]+)\|±", "maximize", row=r"[a-z]\w*"),
    Shape("table", "{row}", r"^[ \t]*[│┃]\s+<row>\s+[│┃]\s+([-\d.e+]+)\s+[│┃]$", None, take="last", row=r"[A-Za-z][\w/.]*"),
    Shape("Lightning", "{row}", r"^[ \t]+<row>\s{2,}([-\d.e+]+)\s*$", row=r"[A-Za-z][\w/.]*", sign="DataLoader 0"),
    Shape("FastText", "precision_at_1", r"^P@1\s+([\d.]+)", "maximize"),
    Shape("R", "{row}", r"^<row>\s+([-\d.e+]+)\s*$", None, row=r"(?:RMSE|MAE|R2|Rsquared|AIC|BIC|elapsed)"),
    Shape("R", "r_squared", r"^Multiple R-squared:\s+([\d.]+)", "maximize"),
    Shape("R", "elapsed_s", r"^[ \t]+user\s+system\s+elapsed\s*\n\s*[\d.]+\s+[\d.]+\s+([\d.]+)", "minimize", "s"),
    Shape("top-1", "top_1", r"(?:Accuracy|Acc)\s*(?:\(top-1\)|@1|@top1)\s*[:=]?\s*([\d.]+)", "maximize", take="last"),
    Shape("timeit", "best_{unit}", r"best of \d+: ([\d.]+) <unit> per loop", "minimize"),
    Shape("IPython %timeit", "mean_{unit}", r"^([\d.]+) <unit> ± ", "minimize"),
    # sizes
    Shape(
        "vite",
        "{row}_gzip_{unit}",
        r"^[ \t]*<row>\s+[\d.,]+ \w+ │ gzip:\s+([\d.,]+) <unit>",
        "minimize",
        row=r"\S+\.js",
        rank=1,
    ),
    Shape("vite", "{row}_{unit}", r"^[ \t]*<row>\s+([\d.,]+) <unit> │ gzip:", "minimize", row=r"\S+\.(?:js|css)", rank=1.1),
    Shape("webpack", "{row}_{unit}", r"^asset <row> ([\d.,]+) <unit> ", "minimize", row=r"\S+\.js"),
    Shape("next build", "first_load_{unit}", r"First Load JS shared by all\s+([\d.,]+) <unit>", "minimize"),
    Shape(
        "docker images", "{row}_{unit}", r"^<row>\s.*?\s([\d.]+)(?:<unit>)\s*$", "minimize", row=r"[\w./-]+", sign="IMAGE ID"
    ),
    Shape("size", "total_bytes", r"^[ \t]*\d+\s+\d+\s+\d+\s+(\d+)\s+[0-9a-f]+\s", "minimize", "bytes", sign="   dec\t"),
    Shape(
        "size", "text_bytes", r"^[ \t]*(\d+)\s+\d+\s+\d+\s+\d+\s+[0-9a-f]+\s", "minimize", "bytes", sign="   dec\t", rank=1.2
    ),
    Shape("wc", "total", r"^[ \t]*(\d+) total$", "minimize", rank=2),
    Shape("wc -c", "{row}_bytes", r"^[ \t]*(\d+) <row>$", "minimize", "bytes", row=r"\S*\.[A-Za-z]\w*", rank=2.5),
    Shape("du", "{row}_bytes", r"^(\d+)\t<row>$", "minimize", "bytes", take="last", rank=2.2),
    # tests, and what else tools say
    Shape("unittest", "seconds", r"^Ran \d+ tests? in ([\d.]+)s", "minimize", "s", rank=3),
    Shape("pytest", "seconds", r"^=* ?(?:\d+ \w+, )*\d+ \w+(?:, \d+ \w+)* in ([\d.]+)s\b", "minimize", "s", rank=3),
    Shape("pytest", "passed", r"^=* ?(?:\d+ failed, )?(\d+) passed\b", "maximize", "tests", rank=3.1),
    Shape("jest", "seconds", r"^Time:\s+([\d.]+) s\b", "minimize", "s", rank=3),
    Shape("jest", "passed", r"^Tests:\s+(?:\d+ \w+, )*?(\d+) passed", "maximize", "tests", rank=3.1),
    Shape("vitest", "duration_{unit}", r"^[ \t]+Duration\s+([\d.]+)<unit>\b", "minimize", rank=3),
    Shape("vitest", "passed", r"^[ \t]+Tests\s+(?:\d+ \w+ \| )*(\d+) passed", "maximize", "tests", rank=3.1),
    Shape("cargo test", "passed", r"^test result: \w+\. (\d+) passed", "maximize", "tests", take="max", rank=3.1),
    Shape("node --test", "duration_ms", r"^(?:#|ℹ) duration_ms ([\d.]+)", "minimize", "ms", rank=3),
    Shape("node --test", "passed", r"^(?:#|ℹ) pass (\d+)", "maximize", "tests", rank=3.1),
    Shape("nvidia-smi", "gpu_memory_mib", r"\|\s+(\d+)MiB /\s+\d+MiB \|", "minimize", "MiB", take="max", rank=3),
    Shape("mypy", "errors", r"^Found (\d+) errors? in ", "minimize", "errors", rank=2.5),
    Shape("ruff", "errors", r"^Found (\d+) errors?\.", "minimize", "errors", rank=2.5),
    Shape("pylint", "rating", r"rated at ([-\d.]+)/10", "maximize", rank=2),
    Shape("mutmut", "killed", r"🎉 (\d+)", "maximize", take="last", rank=2),
    Shape("callgrind", "instructions", r"^[ \t]*([\d,]+)(?: \(100\.0%\))?\s+PROGRAM TOTALS", "minimize", "instructions"),
    Shape("valgrind", "instructions", r"I\s+refs:\s+([\d,]+)", "minimize", "instructions"),
)

FILES = (
    JsonShape(
        "hyperfine",
        ("*.json",),
        (("mean_s", "results[0].mean", "minimize", "s"), ("median_s", "results[0].median", "minimize", "s")),
    ),
    JsonShape(
        "pytest-benchmark",
        ("*.json", ".benchmarks/*/*.json"),
        (("median_s", "benchmarks[0].stats.median", "minimize", "s"), ("mean_s", "benchmarks[0].stats.mean", "minimize", "s")),
    ),
    JsonShape("coverage", ("coverage*.json",), (("coverage", "totals.percent_covered", "maximize", "%"),)),
    JsonShape(
        "istanbul",
        ("coverage/coverage-summary.json", "coverage-summary.json"),
        (("lines_pct", "total.lines.pct", "maximize", "%"), ("branches_pct", "total.branches.pct", "maximize", "%")),
    ),
    JsonShape(
        "k6",
        ("*.json",),
        (
            ("http_req_duration_p95_ms", "metrics.http_req_duration.p(95)", "minimize", "ms"),
            ("http_reqs_per_s", "metrics.http_reqs.rate", "maximize", "req/s"),
        ),
    ),
    JsonShape(
        "lighthouse",
        ("*.json",),
        (
            ("performance", "categories.performance.score", "maximize", ""),
            ("largest_contentful_paint_ms", "audits.largest-contentful-paint.numericValue", "minimize", "ms"),
        ),
    ),
    JsonShape(
        "criterion",
        ("target/criterion/*/new/estimates.json", "target/criterion/*/*/new/estimates.json"),
        (("mean_ns", "mean.point_estimate", "minimize", "ns"), ("median_ns", "median.point_estimate", "minimize", "ns")),
    ),
    JsonShape("google-benchmark", ("*.json",), (("cpu_time", "benchmarks[0].cpu_time", "minimize", ""),)),
)
