"""What everyday tools print, as they print it: the number that matters is found, read back, and named with its direction."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.runners import numbers
from autoresearch.runners.formats import Found, guess, recognise

PYTEST_COV = """\
============================= test session starts ==============================
platform linux -- Python 3.11.7, pytest-9.2.0, pluggy-1.7.0
rootdir: /home/owner/shop
plugins: cov-7.1.0
collected 12 items

tests/test_cart.py ............                                          [100%]

================================ tests coverage ================================
_______________ coverage: platform linux, python 3.11.7-final-0 ________________

Name             Stmts   Miss  Cover
------------------------------------
shop/cart.py        40      5    88%
shop/orders.py      80     50    38%
------------------------------------
TOTAL              120     55    54%
============================== 12 passed in 3.42s ==============================
"""

PYTEST = """\
============================= test session starts ==============================
platform linux -- Python 3.11.7, pytest-9.2.0, pluggy-1.7.0
rootdir: /home/owner/shop
collected 13 items

tests/test_cart.py ............s                                         [100%]

======================== 12 passed, 1 skipped in 3.42s =========================
"""

HYPERFINE = """\
Benchmark 1: sleep 0.01
  Time (mean ± σ):      12.3 ms ±   0.4 ms    [User: 0.5 ms, System: 0.1 ms]
  Range (min … max):    10.5 ms …  14.8 ms    5 runs
 
"""  # noqa: W293

HYPERFINE_TWO = """\
Benchmark 1: sleep 0.01
  Time (mean ± σ):      10.7 ms ±   0.1 ms    [User: 0.6 ms, System: 0.1 ms]
  Range (min … max):    10.6 ms …  10.8 ms    5 runs

Benchmark 2: sleep 0.02
  Time (mean ± σ):      20.7 ms ±   0.1 ms    [User: 0.6 ms, System: 0.1 ms]
  Range (min … max):    20.7 ms …  20.8 ms    5 runs

Summary
  'sleep 0.01' ran
    1.94 ± 0.01 times faster than 'sleep 0.02'
"""

PYTEST_BENCHMARK = """\
..                                                                       [100%]

------------------------------------------------------- benchmark: 2 tests -------------------------------------------------------
Name (time in us)                Min                       Max                      Mean                 StdDev            Rounds
----------------------------------------------------------------------------------------------------------------------------------
test_fast                   578.3000 (1.0)          4,615.3000 (1.0)            673.6626 (1.0)         132.0420 (1.0)      115996
test_slow             1,051,331.9999 (>1000.0)  1,773,663.0000 (384.30)   1,163,855.6957 (>1000.0)  59,721.4233 (452.29)      838
----------------------------------------------------------------------------------------------------------------------------------

Legend:
  Outliers: 1 Standard Deviation from Mean; 1.5 IQR (InterQuartile Range) from 1st Quartile and 3rd Quartile.
  OPS: Operations Per Second, computed as 1 / Mean
2 passed in 2.18s
"""  # noqa: E501

LIBTEST = """\

running 2 tests
test tests::bench_sort   ... bench:       1,234 ns/iter (+/- 56)
test tests::bench_search ... bench:          41.97 ns/iter (+/- 0.80)

test result: ok. 0 passed; 0 failed; 0 ignored; 2 measured; 0 filtered out; finished in 2.11s

"""

CRITERION = """\
fib 20                  time:   [1.2021 ms 1.3058 ms 1.4101 ms]
                        change: [-2.4103% -0.5102% +1.4109%] (p = 0.62 > 0.05)
                        No change in performance detected.
Found 3 outliers among 100 measurements (3.00%)
  2 (2.00%) high mild
  1 (1.00%) high severe

"""

GO = """\
goos: linux
goarch: amd64
pkg: example.com/shop
cpu: Intel(R) Xeon(R) Processor
BenchmarkFoo-8   \t    1000\t      1234 ns/op\t     512 B/op\t       7 allocs/op
PASS
ok  \texample.com/shop\t1.541s
"""

GO_COUNT = """\
BenchmarkFoo-8   \t    1000\t      1200 ns/op
BenchmarkFoo-8   \t    1000\t      1300 ns/op
BenchmarkFoo-8   \t    1000\t      1250 ns/op
PASS
"""

WRK = """\
Running 1s test @ http://127.0.0.1:8765/
  1 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.27ms    0.90ms  13.01ms   97.33%
    Req/Sec     3.29k   368.70     3.54k    90.00%
  Latency Distribution
     50%    1.14ms
     75%    1.42ms
     90%    1.71ms
     99%    5.27ms
  3274 requests in 1.00s, 1.09MB read
Requests/sec:   1234.56
Transfer/sec:      1.09MB
"""

AB = """\
This is ApacheBench, Version 2.3 <$Revision$>
Benchmarking 127.0.0.1 (be patient)

Server Software:        SimpleHTTP/0.6
Server Port:            8765

Concurrency Level:      4
Time taken for tests:   0.062 seconds
Complete requests:      200
Requests per second:    3227.99 [#/sec] (mean)
Time per request:       1.239 [ms] (mean)
Time per request:       0.310 [ms] (mean, across all concurrent requests)
Transfer rate:          1103.32 [Kbytes/sec] received

Percentage of the requests served within a certain time (ms)
  50%      1
  95%      2
 100%      4 (longest request)
"""

KERAS = """\
Epoch 1/2
 1/32 ━━━━━━━━━━━━━━━━━━━━ 3s 100ms/step - accuracy: 0.5000 - loss: 0.6931\r32/32 ━━━━━━━━━━━━━━━━━━━━ 0s 2ms/step - accuracy: 0.8000 - loss: 0.4000 - val_accuracy: 0.8100 - val_loss: 0.3900
Epoch 2/2
32/32 ━━━━━━━━━━━━━━━━━━━━ 0s 2ms/step - accuracy: 0.9000 - loss: 0.3000 - val_accuracy: 0.9100 - val_loss: 0.2900
"""  # noqa: E501

PYTORCH = """\
  0%|          | 0/100 [00:00<?, ?it/s]\r 50%|█████     | 50/100 [00:01<00:01, 48.1it/s]\r100%|██████████| 100/100 [00:02<00:00, 48.3it/s]
epoch 1 loss: 0.6931 val_acc: 0.51
epoch 2 loss: 0.4100 val_acc: 0.88
epoch 3 loss: 0.1234 val_acc: 0.98
"""  # noqa: E501

KARPATHY = """\
step 00952 (99.8%) | loss: 2.871523 | lrm: 0.00 | dt: 315ms | tok/sec: 1,664,302 | mfu: 39.9% | epoch: 1 | remaining: 0s
---
val_bpb:          0.997900
training_seconds: 300.1
total_seconds:    325.9
peak_vram_mb:     45060.2
mfu_percent:      39.80
total_tokens_M:   499.6
num_steps:        953
num_params_M:     50.3
depth:            8
"""

VITE = """\
vite v8.3.8 building client environment for production...
transforming...
✓ 5 modules transformed.
rendering chunks...
computing gzip size...
dist/index.html                  0.07 kB │ gzip:  0.09 kB
dist/assets/index-CgcXwjZW.js  142.31 kB │ gzip: 45.12 kB

✓ built in 45ms
"""

K6 = """\

     ✓ status is 200

     checks.........................: 100.00% ✓ 1000       ✗ 0
     data_received..................: 1.2 MB  41 kB/s
     http_req_duration..............: avg=12.3ms  min=1.1ms   med=10.2ms  max=101.5ms  p(90)=20.1ms  p(95)=25.7ms
       { expected_response:true }...: avg=12.3ms  min=1.1ms   med=10.2ms  max=101.5ms  p(90)=20.1ms  p(95)=25.7ms
     http_req_failed................: 0.00%   ✓ 0          ✗ 1000
     http_reqs......................: 1000    33.210841/s
     iterations.....................: 1000    33.210841/s
"""

ISTANBUL = """\
PASS ./cart.test.js
  ✓ adds (2 ms)

----------|---------|----------|---------|---------|-------------------
File      | % Stmts | % Branch | % Funcs | % Lines | Uncovered Line #s
----------|---------|----------|---------|---------|-------------------
All files |   81.25 |       50 |   66.66 |   83.33 |
 cart.js  |   81.25 |       50 |   66.66 |   83.33 | 4-9
----------|---------|----------|---------|---------|-------------------
Test Suites: 1 passed, 1 total
Tests:       4 passed, 4 total
Snapshots:   0 total
Time:        0.203 s
Ran all test suites.
"""

JEST = """\
Test Suites: 1 failed, 3 passed, 4 total
Tests:       2 failed, 40 passed, 42 total
Snapshots:   0 total
Time:        2.613 s, estimated 3 s
Ran all test suites.
"""

VITEST = """\
 RUN  v4.1.12 /home/owner/shop

 ✓ src/cart.test.ts (3 tests) 4ms

 Test Files  1 passed (1)
      Tests  3 passed (3)
   Start at  10:03:11
   Duration  312ms (transform 21ms, setup 0ms, import 30ms, tests 4ms, environment 0ms)

"""

SKLEARN = """\
              precision    recall  f1-score   support

           0       0.67      1.00      0.80         2
           1       1.00      0.50      0.67         2
           2       1.00      1.00      1.00         2

    accuracy                           0.83         6
   macro avg       0.89      0.83      0.82         6
weighted avg       0.89      0.83      0.82         6

"""

R_LM = """\
Residual standard error: 3.046 on 30 degrees of freedom
Multiple R-squared:  0.7528,\tAdjusted R-squared:  0.7446
F-statistic: 91.38 on 1 and 30 DF,  p-value: 1.294e-10
"""

R_TIME = """\
   user  system elapsed
  0.512   0.010   0.524
"""

SCIPY = """\
 message: Optimization terminated successfully.
 success: True
  status: 0
     fun: 1.3200000000000003e-06
       x: [ 1.000e+00  1.000e+00]
     nit: 21
    nfev: 60
"""

DOCKER = """\
REPOSITORY   TAG       IMAGE ID       CREATED          SIZE
shop/web     latest    0123456789ab   12 seconds ago   142MB
"""

EXPLAIN = """\
                                                QUERY PLAN
-----------------------------------------------------------------------------------------------------------
 Seq Scan on orders  (cost=0.00..18334.00 rows=1 width=97) (actual time=12.301..12.302 rows=1 loops=1)
   Filter: (id = 42)
   Rows Removed by Filter: 999999
 Planning Time: 0.061 ms
 Execution Time: 12.345 ms
(5 rows)
"""

PGBENCH = """\
transaction type: <builtin: TPC-B (sort of)>
scaling factor: 1
number of clients: 1
number of transactions actually processed: 10/10
number of failed transactions: 0 (0.000%)
latency average = 0.810 ms
initial connection time = 2.351 ms
tps = 1234.567890 (without initial connection time)
"""

REDIS = """\
 SET: rps=0.0 (overall: -nan) avg_msec=-nan (overall: -nan)\rSET: 133333.34 requests per second, p50=0.175 msec
 GET: 181818.19 requests per second, p50=0.143 msec

"""

SYSBENCH = """\
sysbench 1.0.20 (using system LuaJIT 2.1.0-beta3)

Running the test with following options:
Number of threads: 1

Prime numbers limit: 10000

CPU speed:
    events per second:  3320.77

General statistics:
    total time:                          1.0002s
    total number of events:              3325

Latency (ms):
         min:                                    0.30
         95th percentile:                        0.31
         sum:                                  999.50
"""

GOOGLE_BENCHMARK = """\
--------------------------------------------------------
Benchmark              Time             CPU   Iterations
--------------------------------------------------------
BM_StringCopy       1.80 ns         1.80 ns     37843786
"""

JMH = """\
# Run complete. Total time: 00:01:40

Benchmark                 Mode  Cnt    Score    Error  Units
SortBenchmark.quick      thrpt    5  123.456 ±  1.234  ops/s
"""

BENCHMARK_JS = """\
RegExp#test x 84,532,182 ops/sec ±0.32% (8 runs sampled)
String#indexOf x 1,484,901,105 ops/sec ±1.13% (8 runs sampled)
Fastest is String#indexOf
"""

MITATA = """\
\x1b[90mclk: ~3.72 GHz\x1b[0m
\x1b[90mcpu: Intel(R) Xeon(R) Processor\x1b[0m

benchmark                   avg (min … max) p75 / p99    (min … top 1%)
------------------------------------------- -------------------------------
sum                          \x1b[1m\x1b[33m 49.09 ns\x1b[0m\x1b[1m/iter\x1b[0m \x1b[90m 49.43 ns\x1b[0m \x1b[36m    █ \x1b[0m
                      \x1b[90m(\x1b[0m\x1b[36m47.22 ns\x1b[0m\x1b[90m … \x1b[0m\x1b[35m72.53 ns\x1b[0m\x1b[90m)\x1b[0m
"""

TINYBENCH = """\
┌─────────┬───────────┬──────────────────┬──────────────────┬────────────────────────┬────────────────────────┬─────────┐
│ (index) │ Task name │ Latency avg (ns) │ Latency med (ns) │ Throughput avg (ops/s) │ Throughput med (ops/s) │ Samples │
├─────────┼───────────┼──────────────────┼──────────────────┼────────────────────────┼────────────────────────┼─────────┤
│ 0       │ 'a task'  │ '35.58 ± 0.40%'  │ '35.00 ± 1.00'   │ '28653203 ± 0.01%'     │ '28571429 ± 793651'    │ 1405436 │
└─────────┴───────────┴──────────────────┴──────────────────┴────────────────────────┴────────────────────────┴─────────┘
"""

LLAMA_BENCH = """\
| model                          |       size |     params | backend    | threads |          test |                  t/s |
| ------------------------------ | ---------: | ---------: | ---------- | ------: | ------------: | -------------------: |
| llama 7B Q4_0                  |   3.56 GiB |     6.74 B | CPU        |       8 |         tg128 |         12.34 ± 0.10 |
"""

COCO = """\
 Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.412
 Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets=100 ] = 0.613
"""

WANDB = """\
wandb: Run history:
wandb: val_loss █▅▃▂▁
wandb:
wandb: Run summary:
wandb:    epoch 4
wandb: val_loss 0.123
wandb:
"""

LIGHTNING = """\
────────────────────────────────────────────────────────────────────────────────
       Test metric             DataLoader 0
────────────────────────────────────────────────────────────────────────────────
        test_acc            0.9315999746322632
────────────────────────────────────────────────────────────────────────────────
"""

LIGHTNING_RICH = """\
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━┓
┃        Test metric        ┃       DataLoader 0        ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━┩
│         test_acc          │    0.9315999746322632     │
└───────────────────────────┴───────────────────────────┘
"""

TRAINER = """\
{'loss': 0.6931, 'grad_norm': 1.2, 'learning_rate': 5e-05, 'epoch': 0.5}
{'eval_loss': 0.34, 'eval_accuracy': 0.88, 'eval_runtime': 1.2, 'epoch': 1.0}
{'eval_loss': 0.12, 'eval_accuracy': 0.95, 'eval_runtime': 1.2, 'epoch': 2.0}
{'train_runtime': 12.3, 'train_loss': 0.5, 'epoch': 2.0}
"""

MARKDOWN = """\
| metric | value |
|---|---:|
| accuracy | 0.93 |
| **macro f1** | 0.91 |
"""

CALLGRIND = """\
--------------------------------------------------------------------------------
Ir
--------------------------------------------------------------------------------
1,234,567 (100.0%)  PROGRAM TOTALS
"""

SIZE = """\
   text\t   data\t    bss\t    dec\t    hex\tfilename
   1418\t    544\t      8\t   1970\t    7b2\tapp
"""

LM_EVAL = """\
|  Tasks  |Version|Filter|n-shot| Metric |   |Value |   |Stderr|
|---------|------:|------|-----:|--------|---|-----:|---|-----:|
|hellaswag|      1|none  |     0|acc     |↑  |0.5712|±  |0.0049|
"""

NVIDIA_SMI = """\
|  0%   35C    P8              22W / 350W |   1234MiB / 24576MiB |      3%      Default |
"""

ULTRALYTICS = """\
                 Class     Images  Instances      Box(P          R      mAP50  mAP50-95)
                   all        128        929       0.67       0.55       0.61      0.451
"""

NODE_TEST = """\
✔ adds (0.6ms)
ℹ tests 3
ℹ pass 3
ℹ fail 0
ℹ duration_ms 61.2315
"""

LOGGING = """\
2026-01-02 10:00:00,123 INFO train: epoch done
2026-01-02 10:00:01,123 [INFO] loss: 0.25
"""

ELEVEN = [
    ("pytest-cov", PYTEST_COV, "coverage", 54, "maximize"),
    ("pytest", PYTEST, "seconds", 3.42, "minimize"),
    ("hyperfine", HYPERFINE, "mean_ms", 12.3, "minimize"),
    ("pytest-benchmark", PYTEST_BENCHMARK, "test_fast_mean_us", 673.6626, "minimize"),
    ("cargo bench", LIBTEST, "tests_bench_sort_ns", 1234, "minimize"),
    ("criterion", CRITERION, "fib_20_ms", 1.3058, "minimize"),
    ("go test -bench", GO, "benchmarkfoo_ns_per_op", 1234, "minimize"),
    ("wrk", WRK, "requests_per_s", 1234.56, "maximize"),
    ("pytorch with tqdm", PYTORCH, "val_acc", 0.98, "maximize"),
    ("karpathy", KARPATHY, "val_bpb", 0.9979, "minimize"),
    ("json", 'step 3\n{"accuracy": 0.91, "n": 200}\n', "accuracy", 0.91, "maximize"),
    ("vite", VITE, "dist_assets_index_js_gzip_kb", 45.12, "minimize"),
]

MORE = [
    ("hyperfine, two commands", HYPERFINE_TWO, "mean_1_ms", 10.7, "minimize"),
    ("go test -bench -count", GO_COUNT, "benchmarkfoo_ns_per_op", 1250, "minimize"),
    ("ab", AB, "requests_per_s", 3227.99, "maximize"),
    ("keras", KERAS, "val_accuracy", 0.91, "maximize"),
    ("k6", K6, "http_req_duration_p95_ms", 25.7, "minimize"),
    ("istanbul", ISTANBUL, "statements_pct", 81.25, "maximize"),
    ("jest", JEST, "seconds", 2.613, "minimize"),
    ("vitest", VITEST, "duration_ms", 312, "minimize"),
    ("scikit-learn", SKLEARN, "accuracy", 0.83, "maximize"),
    ("R, lm", R_LM, "r_squared", 0.7528, "maximize"),
    ("R, system.time", R_TIME, "elapsed_s", 0.524, "minimize"),
    ("scipy", SCIPY, "fun", 1.3200000000000003e-06, "minimize"),
    ("docker images", DOCKER, "shop_web_mb", 142, "minimize"),
    ("EXPLAIN ANALYZE", EXPLAIN, "execution_ms", 12.345, "minimize"),
    ("psql timing", "?column?\n1\nTime: 0.345 ms\n", "time_ms", 0.345, "minimize"),
    ("pgbench", PGBENCH, "tps", 1234.56789, "maximize"),
    ("redis-benchmark", REDIS, "set_per_s", 133333.34, "maximize"),
    ("sysbench", SYSBENCH, "events_per_s", 3320.77, "maximize"),
    ("google-benchmark", GOOGLE_BENCHMARK, "bm_stringcopy_ns", 1.8, "minimize"),
    ("JMH", JMH, "sortbenchmark_quick_throughput", 123.456, "maximize"),
    ("benchmark.js", BENCHMARK_JS, "regexp_test_ops_per_s", 84532182, "maximize"),
    ("mitata", MITATA, "sum_ns", 49.09, "minimize"),
    ("tinybench", TINYBENCH, "a_task_ops_per_s", 28653203, "maximize"),
    ("llama-bench", LLAMA_BENCH, "tg128_tokens_per_s", 12.34, "maximize"),
    ("llama.cpp perplexity", "[1]4.1,[2]4.8\nFinal estimate: PPL = 5.9066 +/- 0.03299\n", "perplexity", 5.9066, "minimize"),
    ("sacreBLEU", "BLEU|nrefs:1|case:mixed = 27.3 58.9/33.6 (BP = 1.000 ratio = 1.02)\n", "bleu", 27.3, "maximize"),
    ("COCO", COCO, "map", 0.412, "maximize"),
    ("rich table", LIGHTNING_RICH, "test_acc", 0.9315999746322632, "maximize"),
    ("lightning", LIGHTNING, "test_acc", 0.9315999746322632, "maximize"),
    ("markdown", MARKDOWN, "accuracy", 0.93, "maximize"),
    ("key=value", "accuracy=0.93\n", "accuracy", 0.93, "maximize"),
    ("top-1", "Accuracy (top-1): 93.1 %\n", "top_1", 93.1, "maximize"),
    ("csv", "epoch,train_loss,val_loss\n1,0.5,0.6\n2,0.3,0.4\n", "val_loss", 0.4, "minimize"),
    ("redis-benchmark --csv", '"test","rps","p50_latency_ms"\n"SET","166666.67","0.175"\n', "rps", 166666.67, "maximize"),
    ("wc -c", "   45120 dist/app.js\n", "dist_app_js_bytes", 45120, "minimize"),
    ("du -b", "4096\tsrc\n142310\tdist\n", "src_bytes", 4096, "minimize"),
    ("size", SIZE, "total_bytes", 1970, "minimize"),
    ("callgrind_annotate", CALLGRIND, "instructions", 1234567, "minimize"),
    ("a C program", "n=1000000\nelapsed: 0.0123 s\n", "elapsed", 0.0123, "minimize"),
    ("nvidia-smi", NVIDIA_SMI, "gpu_memory_mib", 1234, "minimize"),
    ("W&B", WANDB, "val_loss", 0.123, "minimize"),
    ("transformers", TRAINER, "eval_loss", 0.12, "minimize"),
    ("lm-evaluation-harness", LM_EVAL, "acc", 0.5712, "maximize"),
    ("node --test", NODE_TEST, "duration_ms", 61.2315, "minimize"),
    ("logging", LOGGING, "loss", 0.25, "minimize"),
    ("timeit", "500000 loops, best of 5: 724 nsec per loop\n", "best_nsec", 724, "minimize"),
    ("unittest", "----\nRan 12 tests in 0.345s\n\nOK\n", "seconds", 0.345, "minimize"),
    ("pylint", "Your code has been rated at 8.75/10 (previous run: 8.50/10, +0.25)\n", "rating", 8.75, "maximize"),
    ("mypy", "Found 12 errors in 3 files (checked 40 source files)\n", "errors", 12, "minimize"),
    ("go cover", "ok  \texample.com/shop\t0.004s\tcoverage: 71.4% of statements\n", "coverage", 71.4, "maximize"),
    ("METRIC line", "loss: 9\nMETRIC latency_p95=12.5\n", "latency_p95", 12.5, "minimize"),
    ("a number alone", "working\n42.5\n", "score", 42.5, "minimize"),
    ("fasttext", "N\t1000\nP@1\t0.912\nR@1\t0.912\n", "precision_at_1", 0.912, "maximize"),
    ("ultralytics", ULTRALYTICS, "map50_95", 0.451, "maximize"),
]  # fmt: skip


def read_as(found: Found, stdout: str, folder: Path | None = None) -> float:
    """As the runner reads it: from the [metric] lines alone."""
    keys = tomllib.loads(found.keys)
    name = keys.get("name", "anything")
    file = folder / keys["file"] if folder is not None and "file" in keys else None
    options: dict[str, Any] = {"take": keys.get("take", "only"), "pattern": keys.get("pattern", "")}
    return numbers.read(stdout, [name], json_file=file, json_path=keys.get("path", ""), **options)[name]


@pytest.mark.parametrize(
    ("tool", "text", "name", "value", "direction"), [*ELEVEN, *MORE], ids=[row[0] for row in [*ELEVEN, *MORE]]
)
def test_everyday_output_is_read(tool: str, text: str, name: str, value: float, direction: str) -> None:
    found = recognise(text)
    assert found
    first = found[0]
    assert (first.name, first.value, first.direction) == (name, value, direction)
    assert read_as(first, text) == value
    assert all(read_as(one, text) == one.value for one in found)


def test_there_are_eleven_and_thirty_more() -> None:
    assert len({row[0] for row in ELEVEN}) >= 11
    assert len({row[0] for row in MORE}) >= 30


def test_every_number_of_interest_is_there_not_the_first_alone() -> None:
    assert {f.name for f in recognise(AB)} >= {"requests_per_s", "time_per_request_ms", "p50_ms", "p95_ms"}
    assert {f.name: f.value for f in recognise(HYPERFINE_TWO)} == {"mean_1_ms": 10.7, "mean_2_ms": 20.7}
    assert {f.name for f in recognise(LIBTEST)} >= {"tests_bench_sort_ns", "tests_bench_search_ns"}
    assert {f.name: f.unit for f in recognise(PYTEST_BENCHMARK)}["test_slow_mean_us"] == "us"
    assert {f.name for f in recognise(ISTANBUL)} >= {"branches_pct", "lines_pct", "passed"}


def test_tool_and_line_are_told() -> None:
    first = recognise(PYTEST_COV)[0]
    assert (first.tool, first.line, first.unit) == ("coverage", "TOTAL              120     55    54%", "%")


def test_a_pattern_reads_the_next_output_too() -> None:
    pattern = recognise(VITE)[0].pattern
    again = VITE.replace("index-CgcXwjZW.js  142.31 kB │ gzip: 45.12 kB", "index-Q_3x-9aB.js   99.10 kB │ gzip: 40.01 kB")
    assert numbers.read(again, ["size"], pattern=pattern) == {"size": 40.01}
    pattern = recognise(GO)[0].pattern
    assert numbers.read(GO.replace("1234 ns", "99.5 ns").replace("-8", "-16"), ["x"], pattern=pattern) == {"x": 99.5}


@pytest.mark.parametrize(
    ("text", "change"),
    [
        (HYPERFINE, ("12.3 ms ±", "1.203 s ±")),
        (CRITERION, ("1.3058 ms", "980.12 µs")),
        (PYTEST_BENCHMARK, ("(time in us)", "(time in ns)")),
        (WRK.replace("Requests/sec:", "x"), ("1.14ms", "980.00us")),
        (VITE, ("gzip: 45.12 kB", "gzip: 1.12 MB")),
        (DOCKER, ("142MB", "1.2GB")),
    ],
)
def test_a_tool_that_changes_its_unit_is_no_measurement_and_not_another_number(text: str, change: tuple[str, str]) -> None:
    pattern = recognise(text)[0].pattern
    assert change[0] in text
    with pytest.raises(numbers.NoNumber):
        numbers.read(text.replace(*change), ["x"], pattern=pattern)


FILES: list[tuple[str, dict[str, Any], str, float, str]] = [
    ("bench.json", {"results": [{"command": "x", "mean": 0.0123, "median": 0.0122}]}, "mean_s", 0.0123, "minimize"),
    ("out.json", {"benchmarks": [{"stats": {"median": 1.5e-6, "mean": 2e-6}}]}, "median_s", 1.5e-6, "minimize"),
    ("coverage.json", {"meta": {}, "totals": {"percent_covered": 54.2}}, "coverage", 54.2, "maximize"),
    ("coverage/coverage-summary.json", {"total": {"lines": {"pct": 81.2}}}, "lines_pct", 81.2, "maximize"),
    ("summary.json", {"metrics": {"http_req_duration": {"p(95)": 25.7}}}, "http_req_duration_p95_ms", 25.7, "minimize"),
    ("page.json", {"categories": {"performance": {"score": 0.93}}}, "performance", 0.93, "maximize"),
    ("target/criterion/fib/new/estimates.json", {"mean": {"point_estimate": 12.5}}, "mean_ns", 12.5, "minimize"),
    ("gb.json", {"benchmarks": [{"name": "BM", "cpu_time": 1.8}]}, "cpu_time", 1.8, "minimize"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "body", "name", "value", "direction"), FILES, ids=[row[0] for row in FILES])
def test_a_file_that_a_tool_leaves_is_read_before_its_text(
    tmp_path: Path, file: str, body: dict[str, Any], name: str, value: float, direction: str
) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body))
    (tmp_path / "package.json").write_text('{"name": "shop"}')
    (tmp_path / "broken.json").write_text("{")
    first = recognise(HYPERFINE, tmp_path)[0]
    assert (first.name, first.value, first.direction, first.file) == (name, value, direction, file)
    assert read_as(first, "", tmp_path) == value


def test_several_rows_of_criterion_keep_their_names(tmp_path: Path) -> None:
    for name in ("fib", "sort"):
        path = tmp_path / f"target/criterion/{name}/new/estimates.json"
        path.parent.mkdir(parents=True)
        path.write_text('{"mean": {"point_estimate": 5.0}}')
    assert [f.name for f in recognise("", tmp_path)] == ["fib_mean_ns", "sort_mean_ns"]


@pytest.mark.parametrize(
    ("name", "unit", "direction"),
    [
        ("accuracy", "", "maximize"),
        ("val_acc", "%", "maximize"),
        ("recall@10", "", "maximize"),
        ("F1", "", "maximize"),
        ("throughput", "MB", "maximize"),
        ("speed", "tok/s", "maximize"),
        ("requests_per_s", "", "maximize"),
        ("loss", "", "minimize"),
        ("accuracy_loss", "", "minimize"),
        ("latency_p95", "ms", "minimize"),
        ("bundle size", "kB", "minimize"),
        ("errors", "", "minimize"),
        ("miss_rate", "", "minimize"),
        ("rmse", "", "minimize"),
        ("val_bpb", "", "minimize"),
    ],
)
def test_direction_follows_from_name_and_unit(name: str, unit: str, direction: str) -> None:
    assert guess(name, unit) == direction


@pytest.mark.parametrize(
    "text", ["", "\n\n", "done\n", "all good: yes\n", "{}", "[1, 2]", "v1.2.3\n", "1.234,5\n", "loss: nan\n"]
)
def test_where_no_number_is_nothing_is_found(text: str) -> None:
    assert recognise(text) == []


@given(st.text())
def test_whatever_is_printed_what_is_found_reads_back(text: str) -> None:
    for one in recognise(text):
        assert read_as(one, text) == one.value


@given(
    st.lists(
        st.text("TOTAL 12.5%\n|│=:[]()ms kBops/sec,±Time:Benchmark-_'{}\"", max_size=30),
        max_size=20,
    )
)
def test_debris_of_known_outputs_does_no_harm(parts: list[str]) -> None:
    text = "".join(parts)
    for one in recognise(text):
        assert read_as(one, text) == one.value


@pytest.mark.parametrize(
    "part",
    [
        " ",
        " \n",
        "\n",
        "a: 1 ",
        "a: 1 b: 2\n",
        "x" * 50,
        "1,",
        " - ",
        "| 1 ",
        "name: 1\n",
        "test x ... bench: 1 ns/iter\n",
        "=",
        "1 x ",
    ],
)
def test_long_outputs_are_looked_through_to_the_end(part: str) -> None:
    found = recognise(part * (200_000 // len(part)) + "\nval_loss: 0.25\n")
    assert any((one.name, one.value) == ("val_loss", 0.25) for one in found)
