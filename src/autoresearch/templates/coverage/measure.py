"""Line coverage of a module by its tests, and which share of small faults in it they notice. Standard library only.

python measure.py calc.py      prints `coverage: <percent>` and `mutation_score: <percent>`
"""

import ast
import copy
import importlib
import importlib.util
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType

MUTANTS, LIMIT_S = 40, 20  # at most so many faults, and seconds for the tests of each
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.And: ast.Or, ast.Or: ast.And, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


def executable_lines(code: CodeType) -> set[int]:
    """The lines that can run, as the compiler sees them."""
    lines = {line for _, _, line in code.co_lines() if line}
    return lines.union(*(executable_lines(part) for part in code.co_consts if isinstance(part, CodeType)))


def run_tests() -> bool:
    """Whether all tests below `tests/` pass, in this process: those of unittest, or by pytest where there are none."""
    suite = unittest.defaultTestLoader.discover("tests")
    if suite.countTestCases():
        return unittest.TextTestRunner(stream=sys.stderr, verbosity=0, failfast=True).run(suite).wasSuccessful()
    if not importlib.util.find_spec("pytest"):
        raise SystemExit("no tests found: unittest classes in tests/test_*.py, or pytest, are expected")
    return importlib.import_module("pytest").main(["-qx", "-p", "no:cacheprovider", "tests"]) == 0


def coverage(module: Path) -> float:
    """The percentage of the module's lines that its tests run."""
    name, seen = str(module.resolve()), set()

    def trace(frame: FrameType, event: str, argument: object) -> object:
        if frame.f_code.co_filename != name:
            return None
        seen.add(frame.f_lineno)
        return trace

    sys.settrace(trace)
    passed = run_tests()
    sys.settrace(None)
    if not passed:
        raise SystemExit("the tests fail on the code as it is: no measurement")
    lines = executable_lines(compile(module.read_text(encoding="utf-8"), name, "exec"))
    return 100 * len(seen & lines) / len(lines)


def places(tree: ast.AST) -> Iterator[tuple[int, int]]:
    """Where a fault can be put: the node's number in the walk, and the number of the operator in it."""
    for i, node in enumerate(ast.walk(tree)):
        if isinstance(node, ast.Compare):
            yield from ((i, j) for j, op in enumerate(node.ops) if type(op) in SWAPS)
        elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign):
            if type(node.op) in SWAPS:
                yield i, 0
        elif (isinstance(node, ast.Constant) and isinstance(node.value, int)) or (isinstance(node, ast.Return) and node.value):
            yield i, 0


def mutant(tree: ast.Module, place: tuple[int, int]) -> str:
    """The source with one fault in it."""
    changed = copy.deepcopy(tree)
    node = list(ast.walk(changed))[place[0]]
    if isinstance(node, ast.Compare):
        node.ops[place[1]] = SWAPS[type(node.ops[place[1]])]()
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign):
        node.op = SWAPS[type(node.op)]()
    elif isinstance(node, ast.Constant):
        node.value = (not node.value) if isinstance(node.value, bool) else node.value + 1
    elif isinstance(node, ast.Return):
        node.value = ast.Constant(None)
    return ast.unparse(ast.fix_missing_locations(changed))


def noticed(module: Path, source: str) -> bool:
    """Whether the tests fail on a faulty copy; a fault that makes them hang is noticed too."""
    code = "import sys; sys.path[:0] = [sys.argv[1], '.']; import measure; sys.exit(not measure.run_tests())"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, module.name).write_text(source, encoding="utf-8")  # found before the real one
        argv = [sys.executable, "-B", "-c", code, folder]
        try:
            return subprocess.run(argv, capture_output=True, timeout=LIMIT_S, check=False).returncode != 0
        except subprocess.TimeoutExpired:
            return True


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("usage: python measure.py <module>.py")
    module = Path(sys.argv[1])
    tree = ast.parse(module.read_text(encoding="utf-8"))
    found = list(places(tree))
    chosen = found[:: max(1, -(-len(found) // MUTANTS))]  # spread over the file, and always the same ones
    print(f"coverage: {coverage(module):.2f} %")
    killed = sum(noticed(module, mutant(tree, place)) for place in chosen)
    print(f"mutation_score: {100 * killed / max(1, len(chosen)):.2f} %")


if __name__ == "__main__":
    main()
