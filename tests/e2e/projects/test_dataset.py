"""A data set of 200 MB beside the code: shown to every evaluation, copied for none, written by none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.e2e.projects.support import PROPOSER, Owner, is_mounted, proposer

SIZE = 200_000_000
BLOCK = bytes(range(256)) * 256
SCAN = """\
import mmap, sample
with open("data/corpus.bin", "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as corpus:
    found = [corpus[i] for i in sample.places(len(corpus))]
print(f"error: {abs(sum(found) / len(found) - 127.5):.4f}")
"""
SAMPLE = "def places(size):\n    return range(0, 65536, 512)\n"
OVERWRITE = "import mmap\nfile = open('data/corpus.bin', 'r+b')\nmmap.mmap(file.fileno(), 0)[:] = b'0' * 200_000_000\n"
REPLACE = (
    "import os\ntry:\n    open('data/new', 'wb').write(bytes(200_000_000))\n    os.replace('data/new', 'data/corpus.bin')\n"
    "except OSError as error:\n    print('refused:', error)\n"
)
TASK = f"""\
[task]
editable = ["sample.py"]

[evaluate]
command = "python scan.py"

[metric]
name = "error"
{PROPOSER}"""
STEPS = [
    ("write over the data", {"sample.py": ("def places", f"{OVERWRITE}def places")}),
    ("put others in their place", {"sample.py": ("def places", f"{REPLACE}def places")}),
    ("look at more", {"sample.py": ("512", "1")}),
]


def build(owner: Owner) -> None:
    """A clone with its data: mostly a hole, so that the test is quick, but a copy of it would not be small."""
    owner.write({"scan.py": SCAN, "sample.py": SAMPLE, "propose.py": proposer(STEPS), "autoresearch.toml": TASK})
    owner.write({".gitignore": "/data/\n__pycache__/\n", "data/corpus.bin": BLOCK * 100})
    os.truncate(owner.folder / "data/corpus.bin", SIZE)
    owner.commit("start")


def size(folder: Path) -> int:
    """What the files in a folder hold, holes as well."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def test_large_data_set_is_shown_and_neither_copied_nor_written(owner: Owner, cache: Path) -> None:
    if not is_mounted():
        pytest.skip("no mount namespaces here: inputs are links, and what is written to them is seen, not hindered")
    build(owner)
    assert owner.is_fixed("the command looks for data/corpus.bin") == ['inputs = ["data"]']
    rows = owner.runs(3)
    assert [row["value"] for row in rows] == [127.5, None, 127.5, 0.0]
    assert [row["verdict"] for row in rows] == ["keep", "crash", "discard", "keep"]
    for n, words in ((1, "Read-only file system"), (2, "refused: [Errno 30] Read-only")):
        log = owner.folder / f".autoresearch/one/experiments/{n:06d}/eval-1.log"
        assert words in log.read_text()
    assert size(cache) < 20_000_000
    assert size(owner.folder / ".autoresearch") < 20_000_000
