"""What an evaluation needs beside git: a set-up, inputs, variables, seeds; and live keys that change between sessions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import TASK, Toy

from autoresearch.choice import Wish
from autoresearch.errors import RulerChanged, SetupError
from autoresearch.records import Kind, Outcome
from autoresearch.testing import Patch


def with_key(line: str) -> str:
    return TASK.replace("[metric]", f"{line}\n\n[metric]")


def test_setup_is_run_once_for_each_tree_and_what_it_makes_stays(make_toy: Callable[..., Toy], tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    setup = f"import pathlib\nwith open({str(counter)!r}, 'a') as f: f.write('x')\npathlib.Path('made.txt').write_text('3')\n"
    evaluate = "v = float(open('knob.txt').read()) + float(open('made.txt').read())\nprint('score:', v)\n"
    toy = make_toy({"setup.py": setup, "evaluate.py": evaluate}, task=with_key('setup = "python setup.py"'))
    toy.run([Patch({"knob.txt": "9\n"}), Patch({"knob.txt": "8\n"})])
    assert [e.value for e in toy.history().experiments[:3]] == [13, 12, 11]
    assert counter.read_text() == "x"


def test_tree_whose_setup_was_damaged_is_set_up_again(make_toy: Callable[..., Toy]) -> None:
    setup = "import pathlib\npathlib.Path('made.txt').write_text('3')\n"
    evaluate = (
        "m = open('made.txt').read()\nprint('score:', float(open('knob.txt').read()) + float(m))\n"
        "open('made.txt', 'w').write('100')\n"
    )
    toy = make_toy({"setup.py": setup, "evaluate.py": evaluate}, task=with_key('setup = "python setup.py"'))
    toy.run([Patch({"knob.txt": "9\n"})])
    values = [m.values["score"] for e in toy.history().experiments[:2] for m in e.measurements]
    assert values == [13, 13, 12, 12]  # the baseline twice, the result once more at the end, the candidate


def test_setup_that_fails_is_a_wrong_set_up_with_its_log(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy({"setup.py": "raise SystemExit('no network')\n"}, task=with_key('setup = "python setup.py"'))
    with pytest.raises(SetupError, match=r"setup failed: exited with 1.*no network.*setup\.log"):
        toy.run([])


def test_inputs_stand_in_the_tree_and_cannot_be_changed(make_toy: Callable[..., Toy]) -> None:
    evaluate = """\
value = float(open("knob.txt").read())
if value == 8:
    try:
        open("data/numbers", "a").write("1")
    except OSError:
        raise SystemExit("read-only")
print("score:", value + float(open("data/numbers").read()))
"""
    toy = make_toy({"evaluate.py": evaluate, ".gitignore": "data/\n"}, task=with_key('inputs = ["data"]'))
    toy.write({"data/numbers": "5"})
    toy.moved()
    toy.run([Patch({"knob.txt": "9\n"}), Patch({"knob.txt": "8\n"})])
    first, second = toy.history().experiments[1:3]
    assert first.value == 14
    assert second.verdict is not None
    assert second.verdict.kind in (Kind.CRASH, Kind.INVALID)  # read-only where there are namespaces, else noticed afterwards
    if second.verdict.kind is Kind.INVALID:
        assert second.verdict.reason == "tampering"
        toy.moved()


def test_input_that_does_not_exist_is_named(make_toy: Callable[..., Toy]) -> None:
    toy = make_toy(task=with_key('inputs = ["nowhere"]'))
    with pytest.raises(SetupError, match="inputs names 'nowhere', which does not exist"):
        toy.run([])


def test_environment_is_clean_but_for_what_is_passed(make_toy: Callable[..., Toy], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSED", "4")
    monkeypatch.setenv("SECRET", "100")
    evaluate = "import os\nprint('score:', float(os.environ['PASSED']) + float(os.environ.get('SECRET', 0)))\n"
    toy = make_toy({"evaluate.py": evaluate}, task=with_key('env = ["PASSED"]'))
    toy.run([])
    assert toy.history().experiments[0].value == 4


def test_seeded_task_gets_a_seed_of_its_own_for_each_evaluation(make_toy: Callable[..., Toy]) -> None:
    evaluate = "import os\nprint('score:', int(os.environ['SEED']) % 1000003)\n"
    toy = make_toy({"evaluate.py": evaluate}, task=with_key('seed_env = "SEED"'))
    toy.run([Patch({"knob.txt": "9\n"})], wish=Wish(seed=5))
    measured = [m for e in toy.history().experiments for m in e.measurements]
    alone = [m.seed for m in measured if m.phase in ("baseline", "first")]
    paired = [m.seed for m in measured if m.phase == "race"]
    assert len(set(alone)) == len(alone) == 6  # noisy: five baselines and one
    assert len(set(paired)) == len(paired) / 2  # both arms of a pair have the same
    assert not set(alone) & set(paired)
    assert all(m.values["score"] == m.seed % 1000003 for m in measured)


def test_measurement_has_time_memory_machine_and_log(toy: Toy) -> None:
    toy.run([], run="one")
    m = toy.history().experiments[0].measurements[0]
    assert m.outcome is Outcome.OK
    assert m.cpu_s > 0
    assert 0 < m.duration_s < 30
    assert m.peak_mb is not None
    assert 1 < m.peak_mb < 250
    assert m.memory_from in ("cgroup1", "cgroup2", "sampled")
    assert len(m.machine) == 12
    assert "score: 10" in (toy.folder / ".autoresearch/one/experiments" / m.log).read_text()


def test_live_keys_may_change_and_ruler_keys_may_not(toy: Toy) -> None:
    patches = [Patch({"knob.txt": f"{9 - i}\n"}) for i in range(6)]
    toy.run(patches, wish=Wish(name="one", experiments=2))
    live = toy.folder / "autoresearch.toml"
    live.write_text(TASK + "\n[budget]\nexperiments = 3\n")
    (toy.folder / "program.md").write_text("new words\n")
    toy.moved()
    assert toy.run(patches).reason == "experiments"
    assert toy.history().decided == 3
    live.write_text(TASK.replace('"score"', '"score"\nmin_effect = 2') + "\n[budget]\nexperiments = 9\n")
    toy.moved()
    with pytest.raises(RulerChanged, match=r"metric.min_effect: \[0.0, 0.0\] → \[2.0, 0.0\]"):
        toy.run(patches, run="one")


def test_new_run_from_an_old_ones_experiment(toy: Toy) -> None:
    toy.run([Patch({"knob.txt": "9\n"}), Patch({"knob.txt": "8\n"})], wish=Wish(name="one"))
    toy.run([], wish=Wish(name="two", start="one:1"))
    assert toy.history("two").experiments[0].value == 9
    toy.run([], wish=Wish(name="three", start="one"))
    assert toy.history("three").experiments[0].value == 8
    with pytest.raises(SetupError, match="run one has experiments 0 to 3"):
        toy.run([], wish=Wish(name="four", start="one:9"))


def test_ruler_that_is_back_goes_on_with_its_run(toy: Toy) -> None:
    patches = [Patch({"knob.txt": f"{9 - i}\n"}) for i in range(6)]
    toy.run(patches, wish=Wish(name="one", experiments=1))
    (toy.folder / "autoresearch.toml").write_text(TASK.replace("minimize", "maximize"))
    toy.moved()
    toy.run(patches, wish=Wish(name="two", new=True, experiments=1))
    (toy.folder / "autoresearch.toml").write_text(TASK)
    toy.moved()
    toy.run(patches, wish=Wish(experiments=1))
    assert toy.history("one").decided == 2
