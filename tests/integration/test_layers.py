"""Trees of large repositories: a layer over the base that is thrown away after each evaluation."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from tests.conftest import TASK, Toy

from autoresearch.choice import Wish
from autoresearch.process import Supervisor, can_layer
from autoresearch.process.layers import clear
from autoresearch.testing import Patch

HOSTILE = """\
import os, pathlib, subprocess
value = pathlib.Path("knob.txt").read_text().strip()
state = sorted(
    (str(p), p.read_bytes() if p.is_file() and not p.is_symlink() else b"", oct(p.lstat().st_mode))
    for p in pathlib.Path(".").rglob("*") if "__pycache__" not in p.parts and p.name != "knob.txt"
)
digest = sum(hash_ for hash_ in (sum(repr(row).encode()) for row in state))
print("score:", float(value), flush=True)
print("state:", digest, flush=True)
pathlib.Path("frozen.txt").write_text("xxxxx")
pathlib.Path("left.tmp").write_text("left")
pathlib.Path("sub/deep.txt").unlink()
os.chmod("sub", 0)
os.symlink("/", "link")
subprocess.Popen(["sh", "-c", "while :; do echo x >> knob.txt; sleep 0.01; done"], start_new_session=True)
"""


@pytest.fixture(autouse=True)
def layers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Use layers for trees of any size, where this machine has them."""

    async def probe() -> bool:
        async with Supervisor() as supervisor:
            return await can_layer(supervisor, tmp_path / "probe")

    if not anyio.run(probe):
        pytest.skip("no overlay file systems in a namespace here: trees are scanned instead")
    monkeypatch.setattr("autoresearch.workspace.slots._SMALL", 0)


def test_next_evaluation_sees_the_base_and_the_candidate_and_nothing_else(make_toy: Callable[..., Toy]) -> None:
    files = {"frozen.txt": "12345", "sub/deep.txt": "deep\n", "evaluate.py": HOSTILE}
    toy = make_toy(files, task=TASK + '[[guard]]\nname = "state"\nmin = 0\n')
    toy.run([Patch({"knob.txt": f"{9 - i}\n"}) for i in range(4)], wish=Wish(name="one"))
    measured = [m for e in toy.history().experiments for m in e.measurements]
    assert [m.values["score"] for m in measured if m.phase != "final"] == [10, 10, 9, 8, 7, 6]
    assert [m.values["score"] for m in measured if m.phase == "final"] == [6]
    assert len({m.values["state"] for m in measured}) == 1


def clear_what_a_mount_left(folder: Path, user: int) -> None:
    """In this process, as another user where it is root's."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    (folder / "probe" / "work" / "work" / "incompat" / "volatile").mkdir(parents=True)
    (folder / "probe" / "work" / "work").chmod(0)
    clear(folder / "probe")


def test_an_ordinary_user_has_layers_in_the_second_session_too() -> None:
    """Root may remove a folder that nobody can read; for others it would keep the next session from mounting."""
    nobody = os.getuid() or 65534
    code = "import pathlib, sys; from tests.integration.test_layers import clear_what_a_mount_left as run; "
    code += f"run(pathlib.Path(sys.argv[1]), {nobody})"
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, nobody, -1)
        env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        subprocess.run([sys.executable, "-B", "-c", code, folder], env=env, check=True)
        assert os.listdir(folder) == []


def test_candidate_may_add_change_and_delete(make_toy: Callable[..., Toy]) -> None:
    evaluate = "import os\nprint('score:', sum(float(open(f'extra/{n}').read()) for n in os.listdir('extra')))\n"
    toy = make_toy({"extra/a": "10\n", "extra/b": "10\n", "evaluate.py": evaluate})
    patches = [
        Patch({"extra/a": None}),
        Patch({"extra/c": "-5\n"}),
        Patch({"extra/b": "7\n", "extra/new": "-1\n"}),
        Patch({"extra/b": None, "extra/c": None, "extra/new": "1\n"}),
    ]
    toy.run(patches)
    assert [e.value for e in toy.history().experiments[:5]] == [20, 10, 5, 1, 1]


def test_values_of_equal_length_are_each_measured_as_themselves(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy({"extra/knob.py": "V = 90\n", "evaluate.py": "from extra import knob\nprint('score:', knob.V)\n"})
    toy.run([Patch({"extra/knob.py": f"V = {89 - i}\n"}) for i in range(50)])
    assert [e.value for e in toy.history().experiments[:51]] == [90 - i for i in range(51)]


def test_result_file_in_the_layer_is_read(make_toy: Callable[..., Toy]) -> None:
    evaluate = "import json\njson.dump({'r': [{'mean': float(open('knob.txt').read())}]}, open('bench.json', 'w'))\n"
    task = TASK.replace('name = "score"', 'name = "score"\nfile = "bench.json"\npath = "r[0].mean"')
    toy = make_toy({"evaluate.py": evaluate}, task=task)
    toy.run([Patch({"knob.txt": "9\n"})])
    assert [e.value for e in toy.history().experiments[:2]] == [10, 9]


def test_set_up_belongs_to_the_base(make_toy: Callable[..., Toy], tmp_path: Path) -> None:
    setup = "import pathlib\npathlib.Path('made.txt').write_text('3')\n"
    evaluate = (
        "m = float(open('made.txt').read())\nprint('score:', m + float(open('knob.txt').read()))\n"
        "open('made.txt', 'w').write('9')\n"
    )
    task = TASK.replace("[metric]", 'setup = "python setup.py"\n\n[metric]')
    toy = make_toy({"setup.py": setup, "evaluate.py": evaluate}, task=task)
    toy.run([Patch({"knob.txt": "9\n"})])
    assert [e.value for e in toy.history().experiments[:2]] == [13, 12]


def test_other_slots_are_out_of_reach(make_toy: Callable[..., Toy], cache: Path) -> None:
    evaluate = f"""\
import pathlib
for path in pathlib.Path({str(cache)!r}).glob("*/*/evaluation-*/tree/frozen.txt"):
    try:
        path.write_text("666")
    except OSError:
        pass
print("score:", float(open("knob.txt").read()), flush=True)
print("frozen:", float(open("../tree/frozen.txt").read()))
"""
    toy = make_toy({"evaluate.py": evaluate, "frozen.txt": "1"}, task=TASK + '[[guard]]\nname = "frozen"\nmin = 0\n')
    toy.run([Patch({"knob.txt": f"{9 - i}\n"}) for i in range(6)], wish=Wish(evaluations=2, lag=4))
    trees = list(cache.glob("*/*/evaluation-*/tree/frozen.txt"))
    assert len(trees) == 2
    assert [t.read_text() for t in trees] == ["1", "1"]
