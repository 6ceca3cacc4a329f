"""Shares of the machine: cores, thread variables, GPUs and ports for each slot, locks between runs, a memory limit."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import pytest
from tests.conftest import Toy

from autoresearch import machine
from autoresearch.contracts import Place
from autoresearch.errors import SetupError
from autoresearch.process import Supervisor
from autoresearch.records import Order, Outcome, Readout
from autoresearch.runners import LocalRunner
from autoresearch.runners.local import Reading, Surroundings
from autoresearch.shares import Ports, Share, Shares, Wanted, gpus, most_slots
from autoresearch.testing import Patch


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock folder of the test's own."""
    folder = tmp_path / "locks"
    monkeypatch.setenv("AUTORESEARCH_LOCKS", str(folder))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return folder


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose nvidia-smi lists two GPUs."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def evaluate(folder: Path, code: str, share: Share, slots: Sequence[int] = (0,)) -> list[Readout]:
    """Evaluate a program in some slots, one after the other, with a share."""
    for name in ("tree", "scratch", "logs"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "tree" / "run.py").write_text(code)

    async def main() -> list[Readout]:
        async with Supervisor() as supervisor:
            around = Surroundings("one", sys.executable, share=lambda slot: share)
            runner = LocalRunner(supervisor, around, command="python run.py", reading=Reading(("score",)))
            orders = [Order(1, 0, 1, f"eval-{slot}", folder=folder / "logs", timeout_s=60) for slot in slots]
            places = [Place(folder / "tree", folder / "scratch", slot) for slot in slots]
            return [await runner.evaluate(place, order) for place, order in zip(places, orders, strict=True)]

    return anyio.run(main)


def seen(folder: Path, slot: int = 0) -> dict[str, str]:
    found: dict[str, str] = json.loads((folder / "logs" / f"eval-{slot}.log").read_text().splitlines()[0])
    return found


ENVIRONMENT = "import json, os\nprint(json.dumps({**os.environ, 'cores': sorted(os.sched_getaffinity(0))}))\nprint('score: 1')"


def test_evaluation_keeps_to_its_cores_and_libraries_are_told_how_many(tmp_path: Path) -> None:
    core = machine.core_numbers()[-1]
    evaluate(tmp_path, ENVIRONMENT, Share(cpus=(core,)))
    assert seen(tmp_path)["cores"] == [core]
    assert seen(tmp_path)["OMP_NUM_THREADS"] == seen(tmp_path)["RAYON_NUM_THREADS"] == "1"


def test_evaluation_sees_the_gpus_of_its_slot_alone(tmp_path: Path) -> None:
    evaluate(tmp_path, ENVIRONMENT, Share(gpus=("1",)))
    assert seen(tmp_path)["CUDA_VISIBLE_DEVICES"] == seen(tmp_path)["HIP_VISIBLE_DEVICES"] == "1"


def test_slots_have_different_gpus_and_the_same_ones_for_the_whole_session(two_gpus: None) -> None:
    with Shares(Wanted(gpus=1), 2, "one") as shares:
        assert [shares.of(slot).gpus for slot in (0, 1, 0)] == [("0",), ("1",), ("0",)]


def test_gpu_that_another_run_holds_is_not_taken(two_gpus: None) -> None:
    with Shares(Wanted(gpus=1), 1, "one"):
        with Shares(Wanted(gpus=1), 1, "two") as other:
            assert other.of(0).gpus == ("1",)
        with pytest.raises(SetupError, match=r"2 GPUs are wanted and 1 are free: GPU 0 is held by run one, process \d+"):
            Shares(Wanted(gpus=2), 1, "three").__enter__()
    with Shares(Wanted(gpus=2), 1, "four") as all_of_them:
        assert all_of_them.of(0).gpus == ("0", "1")


def test_gpus_are_those_the_user_may_see(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpus() == ["1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus() == []


def test_cores_that_another_run_holds_are_shared_and_that_is_said() -> None:
    everything = Wanted(cpus=machine.cores())
    with Shares(everything, 1, "one") as first, Shares(everything, 1, "two") as second:
        assert first.notices == []
        assert second.of(0).cpus == first.of(0).cpus
        assert "evaluations share them" in second.notices[0]


def test_more_than_the_machine_has_is_refused_before_anything_is_recorded(make_toy: Callable[..., Toy]) -> None:
    for wants in ("cpus = 5000", 'memory = "900TB"', "gpus = 1"):
        task = f'[task]\neditable = ["knob.txt"]\n[evaluate]\ncommand = "python evaluate.py"\nresources = {{ {wants} }}\n'
        toy = make_toy(task=task + '[metric]\nname = "score"\n')
        with pytest.raises(SetupError, match=r"resources want .* and this machine has"):
            toy.run([])
        assert not (toy.folder / ".autoresearch" / "ledger.db").exists()


def test_as_many_slots_as_fit_where_it_is_said_what_one_needs(two_gpus: None) -> None:
    assert most_slots(Wanted()) == 1
    assert most_slots(Wanted(gpus=1)) == 2
    assert most_slots(Wanted(cpus=1)) == min(machine.cores(), 8)


def test_port_is_free_and_stays_the_slots_own_until_somebody_takes_it(tmp_path: Path) -> None:
    ports = Ports()
    first, second = ports.of(0), ports.of(1)
    assert first != second
    assert ports.of(0) == first
    server = f"import socket, time; s = socket.create_server(('127.0.0.1', {first})); print('up', flush=True); time.sleep(60)"
    taker = subprocess.Popen([sys.executable, "-c", server], stdout=subprocess.PIPE)
    assert taker.stdout is not None
    taker.stdout.readline()
    try:
        assert ports.of(0) not in (first, second)
    finally:
        taker.kill()
        taker.wait()
        taker.stdout.close()


SERVE = """
import os, socket
with socket.create_server(("127.0.0.1", int(os.environ["AUTORESEARCH_PORT"]))):
    print("score:", os.environ["AUTORESEARCH_SLOT"])
"""


def test_each_slot_can_serve_on_its_port_time_after_time(tmp_path: Path) -> None:
    reports = evaluate(tmp_path, SERVE, Share(), slots=(0, 1, 0, 1))
    assert [r.values.get("score") for r in reports] == [0, 1, 0, 1]


def test_port_on_which_connections_linger_is_not_given_again() -> None:
    ports = Ports()
    port = ports.of(0)
    with socket.create_server(("127.0.0.1", port)) as server:
        client = socket.create_connection(("127.0.0.1", port))
        server.accept()[0].close()  # who closes first waits
        client.close()
    with socket.socket() as plain:  # as a server that knows nothing of SO_REUSEADDR
        plain.bind(("127.0.0.1", ports.of(0)))


# -- memory ------------------------------------------------------------------------------------------------------------

HUNGRY = "import subprocess, sys\nblock = bytearray(400 * 2**20)\nprint('score: 1')"
IN_CHILDREN = """
import os, time
for _ in range(4):
    if not os.fork():
        block = bytearray(100 * 2**20)
        time.sleep(2)
[os.wait() for _ in range(4)]
raise SystemExit("a child was killed")
"""


@pytest.fixture(params=["group", "watched"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "watched":
        monkeypatch.setenv("AUTORESEARCH_CGROUPS", "off")
    return str(request.param)


@pytest.mark.parametrize("code", [HUNGRY + "\nimport time\ntime.sleep(1)", IN_CHILDREN], ids=["one process", "four together"])
def test_memory_limit_holds_the_whole_tree_and_says_what_holds_it(tmp_path: Path, way: str, code: str) -> None:
    report = evaluate(tmp_path, code, Share(memory_mb=200))[0]
    assert report.outcome is Outcome.MEMORY, report.words
    held = report.limit_by
    assert held == "watched every 50 ms" if way == "watched" else held.startswith(("cgroup", "watched"))
    assert f"limit 200 MB, {held}" in report.words


def test_evaluation_within_its_limit_is_left_alone_and_the_next_has_none(tmp_path: Path, way: str) -> None:
    async def main() -> list[Outcome]:
        limits = iter([Share(memory_mb=600), Share()])
        async with Supervisor() as supervisor:
            around = Surroundings("one", sys.executable, share=lambda slot: next(shares))
            shares = iter([s for limit in limits for s in (limit, limit)])  # asked for environment and job
            runner = LocalRunner(supervisor, around, command="python run.py", reading=Reading(("score",)))
            place = Place(tmp_path / "tree", tmp_path / "scratch", 0)
            return [(await runner.evaluate(place, Order(1, 0, 1, f"eval-{i}", timeout_s=60))).outcome for i in (1, 2)]

    for name in ("tree", "scratch"):
        (tmp_path / name).mkdir()
    (tmp_path / "tree" / "run.py").write_text(HUNGRY)
    assert anyio.run(main) == [Outcome.OK, Outcome.OK]


def test_candidate_over_the_memory_limit_is_a_crash_of_its_own_reason(make_toy: Callable[..., Toy]) -> None:
    lines = ["import time", "v = float(open('knob.txt').read())", "block = bytearray(int(v < 10) * 400 * 2**20)"]
    lines += ["time.sleep(0.3)", "print('score:', v)"]
    task = '[task]\neditable = ["knob.txt"]\n[evaluate]\ncommand = "python evaluate.py"\nresources = { memory = "200MiB" }\n'
    toy = make_toy({"evaluate.py": "\n".join(lines)}, task=task + '[metric]\nname = "score"\n')
    toy.run([Patch({"knob.txt": "9\n"})])
    verdict = toy.history().experiments[1].verdict
    assert verdict is not None
    assert (verdict.kind.value, verdict.reason) == ("crash", "memory")


def test_run_says_what_each_evaluation_has_and_what_holds_its_memory(make_toy: Callable[..., Toy]) -> None:
    task = '[task]\neditable = ["knob.txt"]\n[evaluate]\ncommand = "python evaluate.py"\n'
    toy = make_toy(task=task + 'resources = { cpus = 1, memory = "2GiB" }\n[metric]\nname = "score"\n')
    argv = [sys.executable, "-m", "autoresearch", "run", "-n", "1", "--evaluations", "1"]
    told = subprocess.run(argv, cwd=toy.folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL).stdout
    assert "each evaluation: 1 core, at most 2.0 GiB (held by " in told
