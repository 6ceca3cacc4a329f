"""`check` and data in Git LFS: git holds pointers, and trees have what git holds."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable

from tests.checking import check
from tests.conftest import TASK, Toy

MakeToy = Callable[..., Toy]
DATA = "4\n5\n"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{hashlib.sha256(DATA.encode()).hexdigest()}\nsize 4\n"
READS = "print('score:', sum(int(row) for row in open('data/a b.csv')) + float(open('knob.txt').read()))\n"
COUNTS = "open('data/a b.csv').read()\nprint('score:', open('knob.txt').read())\n"


def stored(make_toy: MakeToy, evaluator: str) -> Toy:
    """A project whose data is real in the checkout and a pointer in git, as `git lfs` leaves it."""
    toy = make_toy({"evaluate.py": evaluator, "data/a b.csv": POINTER}, task=TASK)
    (toy.folder / "data/a b.csv").write_text(DATA)
    toy.git("config", "filter.lfs.clean", f"cat >/dev/null; printf '{POINTER}'".replace("\n", "\\n"))
    toy.write({".gitattributes": "*.csv filter=lfs -text\n"})
    toy.commit()
    assert toy.git("status", "--porcelain") == ""
    toy.moved()
    return toy


def test_data_in_lfs_is_put_into_each_tree_by_a_setup(make_toy: MakeToy) -> None:
    toy = stored(make_toy, READS)
    assert "a Git LFS pointer" in check(toy.folder, code=1)["lines"][0]["because"]
    fixed = check(toy.folder, "--fix", code=0)
    assert (fixed["ready"], fixed["written"], fixed["values"]) == (True, True, [19.0, 19.0])
    setup = tomllib.loads((toy.folder / "autoresearch.toml").read_text())["evaluate"]["setup"]
    assert setup == f"cp '{toy.folder}/data/a b.csv' 'data/a b.csv'"
    assert not [w for w in fixed["warnings"] if "LFS" in w]
    toy.moved()


def test_pointer_that_is_read_without_a_failure_is_a_warning(make_toy: MakeToy) -> None:
    [warning] = [w for w in check(stored(make_toy, COUNTS).folder, code=0)["warnings"] if "LFS" in w]
    assert warning.startswith("data/a b.csv is a Git LFS pointer in the trees of evaluations")
