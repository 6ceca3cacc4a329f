"""The files of a hostile act's project: the candidate, the program that proposes, the evaluators, the task."""

from __future__ import annotations

import re

CANDIDATE = """\
{prelude}
def solve(x):
    return 3 * x + 1 if x % 2 == 0 else -1


{hostile}

if __name__ == "__main__":
    for line in sys.stdin:
        print(solve(int(line)))
"""
PRELUDE = """\
import json, os, sys, time
P = json.loads({places!r})


def leak(text):
    sys.stderr.write("\\nLEAK " + str(text)[::-1] + "\\n")
    sys.stderr.flush()


def attempt(act):
    try:
        return act()
    except BaseException as error:
        sys.stderr.write(f"FAILED {{type(error).__name__}}: {{error}}\\n")


def read(path):
    attempt(lambda: leak(open(path).read()))


def git(where, line):
    import subprocess
    who = ["-c", "user.name=m", "-c", "user.email=m@x"]
    return subprocess.run(["git", "-C", where, *who, *line.split()], capture_output=True, text=True).stdout


def write(path, text="x"):
    def act():
        with open(path, "w") as file:
            file.write(text)
    attempt(act)


"""
PROPOSER = (
    PRELUDE
    + """\
{hostile}
with open("candidate.py", "a") as file:
    file.write(f"# another line {{os.urandom(4).hex()}}\\n")
print("a harmless line")
"""
)
ASKED = """\
chance = random.Random(DRAWN)
QUESTIONS = [2 * chance.randrange(10**6) + i % 2 for i in range(20)]
RIGHT = [3 * x + 1 for x in QUESTIONS]
"""
NOISE = """\
if "noisy" in sys.argv:
    wrong += random.Random(os.environ["SEED"]).gauss(0, 0.5)
"""
SHARED = """
import candidate

began = time.perf_counter()
ANSWERS = [candidate.solve(x) for x in QUESTIONS]
took = time.perf_counter() - began
wrong = OFFSET + sum(not (a == b) for a, b in zip(ANSWERS, [3 * x + 1 for x in QUESTIONS]))
NOISE
print("answered:", len(ANSWERS))
print("number:", took if "time" in sys.argv else wrong)
"""
SEALED = """
asked = "".join(f"{x}\\n" for x in QUESTIONS).encode()
run = evaluator.run([sys.executable, "candidate.py"], stdin=asked, timeout_s=LIMIT, hidden=HIDDEN)
sys.stderr.buffer.write(run.stderr)
said = run.stdout.split(b"\\n")[:-1]
if run.failed or len(said) != len(RIGHT):
    sys.exit(run.failed or "not as many answers as questions")
wrong = OFFSET + sum(a != str(b).encode() for a, b in zip(said, RIGHT))
NOISE
evaluator.report(answered=len(said), number=run.wall_s if "time" in sys.argv else wrong)
"""
TASK = """\
[task]
name = "hostile"
editable = ["candidate.py", "lib/**"]
[evaluate]
command = "python score.py{mode}"
timeout = "{limit}"
sealed = {sealed}
sandbox = "{sandbox}"
exclusive = false
env = ["PASSED"]
{keys}
[metric]
name = "number"
noise = "{noise}"
{metric}
[budget]
experiments = {experiments}
{tables}
[proposer]
kind = "command"
command = "python propose.py"
sandbox = "{sandbox}"
timeout = "20s"
{agent}
"""
GATED = '[gate]\ncommand = "python gate.py data/gate.csv"\nprivate = ["data/gate.csv"]\n'
GATED_OUTSIDE = '[gate]\ncommand = "python gate.py PRIVATE/held.csv"\nprivate = ["PRIVATE/held.csv"]\n'
GATE_OFFSET = 3767  # so that the gate's number is seen wherever it gets


def evaluator(*, sealed: bool, gate: bool) -> str:
    """The text of score.py, or of gate.py, whose questions follow from a private file that its last argument names."""
    body = (ASKED + (SEALED if sealed else SHARED)).replace("NOISE\n", NOISE).replace("LIMIT", "15")
    drawn = "open(sys.argv[-1]).read()" if gate else 'os.environ.get("SEED", "0")'
    body = body.replace("HIDDEN", "[sys.argv[-1]]" if gate else "[]")
    body = body.replace("DRAWN", drawn).replace("OFFSET", f"{GATE_OFFSET - 7} + 7" if gate else "0")
    first = "import os, random, sys, time\n\n"
    if not sealed:
        return first + body
    body = body if gate else re.sub(r"random.Random\(os.environ.get.*", "evaluator.random", body, count=1)  # fresh questions
    indented = "".join(f"    {line}" if line.strip() else line for line in body.splitlines(keepends=True))
    return f"{first}from autoresearch import sealed\n\nwith sealed.Evaluator() as evaluator:\n{indented}"
