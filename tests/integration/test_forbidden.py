"""What a candidate may not bring in is refused by name before any evaluation, and let in where a glob names it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import TASK, Toy

from autoresearch import git as plumbing
from autoresearch.choice import Wish
from autoresearch.errors import Refused
from autoresearch.records import Blob, Candidate, Edits, Kind, Proposal
from autoresearch.taskfile import Scope
from autoresearch.workspace.evaluation import TreeOptions
from autoresearch.workspace.repository import GitWorkspace

Made = Callable[..., Toy]
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
FILES: dict[str, str | bytes] = {
    "bench/run.py": "import json, numpy\nfrom helper import score\nimport plug\n",
    "bench/helper.py": "def score(): return 1\n",
    "bench/extra.txt": "x\n",
    "deep/lib/tool.py": "import pandas\n",
    "pkg/__init__.py": "",
    "pkg/core.py": "import attrs\n",
    "cli/__init__.py": "",
    "cli/main.py": "import yaml\nif __name__ == '__main__':\n    pass\n",
    "spaces/mod.py": "x = 1\n",
    "tests/conftest.py": "import pytest\n",
    "tests/pytest.ini": "[pytest]\n",
    "assets/logo.png": PNG,
    "assets/large.txt": "x\n" * 400_000,
    "assets/README": "words\n",
    "site/own.pth": "import own\n",
    "local/random.py": "x = 1\n",
    "plain.py": "x = 1\n",
    "web/run.ts": "let x = 1\n",
}
FROZEN = ("evaluate.py", "bench/run.py", "bench/helper.py", "cli/main.py", "pkg/core.py", "deep/lib/tool.py", "spaces/mod.py")
FROZEN += ("web/run.ts",)


class Desk:
    """A workspace in which everything is editable but some scripts, and what is named besides."""

    def __init__(self, toy: Toy, cache: Path, *named: str) -> None:
        location = plumbing.locate(toy.folder)
        assert location is not None
        scope = Scope(("**", *named), FROZEN, ("autoresearch.toml", "program.md"))
        base = toy.git("rev-parse", "HEAD").strip()
        self.workspace = GitWorkspace(location, scope, run="one", base=base, cache=cache, options=TreeOptions({}))
        self.base = self.workspace.baseline(0)

    def freeze(self, edits: Edits, parent: Candidate | None = None, n: int = 1) -> Candidate:
        return self.workspace.freeze(n, parent or self.base, Proposal("change", edits), 1000, lambda tree: None)

    def refusal(self, edits: Edits, parent: Candidate | None = None) -> str:
        with pytest.raises(Refused) as refused:
            self.freeze(edits, parent)
        assert refused.value.reason == "scope"
        return refused.value.words


@pytest.fixture(params=["", "sub/folder"])
def open_desk(request: pytest.FixtureRequest, make_toy: Made, tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    """In a project at its repository's top, and in one below it."""
    toy = make_toy(FILES, inside=request.param)
    (toy.folder / "assets/out").symlink_to("/etc/passwd")
    toy.commit("a link that leads out")
    opened: list[Desk] = []

    def open_it(*named: str) -> Desk:
        opened.append(Desk(toy, tmp_path / "cache" / str(len(opened)), *named))
        return opened[-1]

    yield open_it
    for desk in opened:
        desk.workspace.close()


def text(content: str | bytes = "x = 1\n") -> Blob:
    return Blob(content if isinstance(content, bytes) else content.encode())


def link(target: str) -> Blob:
    return Blob(target.encode(), "120000")


# -- refused, and let in by a glob that names it ---------------------------------------------------------------------------

REFUSED: dict[str, tuple[Edits, str, str, str]] = {
    "a conftest is added": ({"conftest.py": text()}, "conftest.py", "pytest runs it", "**/conftest.py"),
    "a conftest below": ({"a/b/conftest.py": text()}, "a/b/conftest.py", "pytest runs it", "a/b/**/conftest.py"),
    "the base's conftest is changed": ({"tests/conftest.py": text()}, "tests/conftest.py", "pytest", "tests/conftest.py"),
    "the base's conftest is deleted": ({"tests/conftest.py": None}, "tests/conftest.py", "pytest", "tests/conftest.py"),
    "sitecustomize": ({"sitecustomize.py": text()}, "sitecustomize.py", "at its start", "**/sitecustomize.py"),
    "a .pth": ({"x/y.pth": text()}, "x/y.pth", "at its start", "x/**/y.pth"),
    "the base's .pth": ({"site/own.pth": text()}, "site/own.pth", "at its start", "site/*.pth"),
    "attributes": ({"data/.gitattributes": text()}, "data/.gitattributes", "git", "**/.gitattributes"),
    "submodules": ({".gitmodules": text()}, ".gitmodules", "other repositories", "**/.gitmodules"),
    "hooks": ({".githooks/pre-commit": text()}, ".githooks/pre-commit", "hooks", "**/.githooks/**"),
    "a plug-in": ({"e.dist-info/entry_points.txt": text()}, "e.dist-info/entry_points.txt", "plug-ins", "**/e.dist-info/**"),
    "a new configuration": ({"bench/pytest.ini": text()}, "bench/pytest.ini", "configuration", "bench/**/pytest.ini"),
    "an absolute link": ({"data/l": link("/etc")}, "data/l", "leads out of the tree", "data/**/l"),
    "a link above the top": ({"l": link("../../../x")}, "l", "leads out of the tree", "**/l"),
    "the base's link": ({"assets/out": link("README")}, "assets/out", "leads out of the tree", "assets/out"),
    "the base's link deleted": ({"assets/out": None}, "assets/out", "leads out of the tree", "assets/out"),
    "a binary": ({"assets/new.png": text(PNG)}, "assets/new.png", "binary", "assets/*.png"),
    "a binary without an ending": ({"assets/blob": text(PNG)}, "assets/blob", "binary", "assets/**/blob"),
    "the base's binary": ({"assets/logo.png": text("x")}, "assets/logo.png", "binary", "assets/*.png"),
    "the base's binary deleted": ({"assets/logo.png": None}, "assets/logo.png", "binary", "assets/logo.png"),
    "a large file": ({"assets/new.txt": text("x\n" * 600_000)}, "assets/new.txt", "1.2 MB", "assets/*.txt"),
    "a file that grows": ({"assets/README": text("x\n" * 600_000)}, "assets/README", "twice", "assets/README"),
    "the standard library's": ({"random.py": text()}, "random.py", "standard library's random", "**/random.py"),
    "its package": ({"json/__init__.py": text()}, "json/__init__.py", "standard library's json", "**/json/**"),
    "in a frozen script's folder": ({"bench/json.py": text()}, "bench/json.py", "json", "bench/**/json.py"),
    "where the folder is made a package": (
        {"bench/__init__.py": text(), "bench/string.py": text()},
        "bench/__init__.py",
        "bench/",
        "**/bench/__init__.py",
    ),
    "in a package that has a frozen script": ({"cli/random.py": text()}, "cli/random.py", "random", "cli/**/random.py"),
    "what a frozen script imports": ({"bench/numpy.py": text()}, "bench/numpy.py", "bench/run.py imports", "bench/**/numpy.py"),
    "what one below imports": ({"pandas.py": text()}, "pandas.py", "deep/lib/tool.py imports", "**/pandas.py"),
    "what a script of a package imports": ({"cli/yaml.py": text()}, "cli/yaml.py", "cli/main.py imports", "cli/**/yaml.py"),
    "a package before a frozen module": (
        {"bench/helper/__init__.py": text()},
        "bench/helper/__init__.py",
        "no longer from",
        "bench/**/helper/**",
    ),
    "an extension before a frozen module": (
        {"bench/helper.so": text("elf")},
        "bench/helper.so",
        "no longer from",
        "bench/**/helper.so",
    ),
    "a package before another one's module": (
        {"pkg/core/__init__.py": text()},
        "pkg/core/__init__.py",
        "no longer",
        "**/core/**",
    ),
    "a module before a folder with frozen code": ({"spaces.py": text()}, "spaces.py", "no longer from", "**/spaces.py"),
    "a link that may be a package": ({"bench/helper": link("../pkg")}, "bench/helper", "no longer from", "bench/**/helper"),
    "another case": ({"bench/Helper.py": text()}, "bench/Helper.py", "same as", "bench/**/Helper.py"),
    "another case of a folder": ({"Bench/new.txt": text()}, "Bench/new.txt", "same as", "**/Bench/**"),
    "a final dot": ({"bench/helper.py.": text()}, "bench/helper.py.", "same as", "bench/**/helper.py."),
    "a script of a frozen one's stem": ({"web/run.js": text()}, "web/run.js", "taken for", "web/**/run.js"),
    "two of one name": ({"data/a.txt": text(), "data/A.txt": text()}, "data/", "same as", "data/**/[aA].txt"),
}


def test_refused_by_name_with_the_reason_and_what_would_let_it_in(open_desk: Callable[..., Desk]) -> None:
    desk, wrong = open_desk(), {}
    for what, (edits, path, why, _) in REFUSED.items():
        words = desk.refusal(edits)
        if not (words.startswith(path) and why in words and "editable = [" in words):
            wrong[what] = words
    assert wrong == {}


def test_let_in_where_a_glob_names_it(open_desk: Callable[..., Desk]) -> None:
    wrong = {}
    for what, (edits, _, _, glob) in REFUSED.items():
        try:
            open_desk(glob, "bench/**/string.py").freeze(edits)
        except Refused as refused:
            wrong[what] = refused.words
    assert wrong.keys() == {"two of one name"}  # a pattern of one character is no name


def test_glob_that_a_refusal_tells_lets_it_in(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    for what in REFUSED.keys() - {"two of one name", "where the folder is made a package"}:
        edits = REFUSED[what][0]
        glob = desk.refusal(edits).partition('editable = ["')[2].partition('"')[0]
        assert open_desk(glob).freeze(edits).tree, what


ALLOWED: dict[str, Edits] = {
    "ordinary changes": {"plain.py": text(), "knob.txt": text("9\n"), "bench/extra.txt": None},
    "a new module beside scripts": {"helpers.py": text(), "bench/speed.py": text()},
    "a new package": {"newpkg/__init__.py": text(), "newpkg/random.py": text(), "newpkg/numpy.py": text()},
    "a name of the library inside a package": {"pkg/random.py": text(), "pkg/attrs.py": text()},
    "a module that is there": {"local/random.py": text("x = 2\n")},
    "a module that becomes a package": {"local/random.py": None, "local/random/__init__.py": text()},
    "a package of the base": {"pkg/__init__.py": text("y = 1\n")},
    "the base's configuration": {"tests/pytest.ini": text("[pytest]\naddopts = -q\n")},
    "a link inside": {"data/l": link("../knob.txt"), "data/m": link("l"), "data/n": link("nowhere")},
    "a link in a circle": {"data/l": link("m"), "data/m": link("l")},
    "text of another encoding": {"data/latin.txt": text("naïve\n".encode("latin-1") * 100)},
    "a large file of the base": {"assets/large.txt": text("y\n" * 400_000)},
    "a file renamed by case": {"plain.py": None, "Plain.py": text()},
    "a folder of no code named as a module": {"types/readme.txt": text()},
}


def test_ordinary_changes_are_let_in(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    for edits in ALLOWED.values():
        assert desk.freeze(edits).tree


def test_frozen_file_is_not_replaced_by_a_folder_nor_a_folder_of_frozen_files_by_a_file(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    prefix = desk.workspace.location.prefix
    assert desk.refusal({"evaluate.py/x.txt": text()}).startswith(f"{prefix}evaluate.py is frozen")
    assert desk.refusal({"bench": text()}).startswith(f"{prefix}bench/helper.py is frozen")
    assert "leads out of the tree" in desk.refusal({"assets/out/x.txt": text()})
    made = desk.freeze({"plain.py/x.txt": text(), "local": text()})
    files = desk.workspace.base.repository.files(made.tree)
    assert f"{prefix}plain.py/x.txt" in files
    assert f"{prefix}local/random.py" not in files


def test_candidate_whose_place_is_taken_meanwhile_is_stale(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    first = desk.freeze({"data/d": text()}, n=1)
    second = desk.freeze({"data/d/x": text()}, n=2)
    with pytest.raises(Refused) as refused:
        desk.workspace.rebase(second, desk.base, first, 1000, lambda tree: None, "again")
    assert refused.value.reason == "stale"


def test_pattern_of_code_lets_no_binary_in(open_desk: Callable[..., Desk]) -> None:
    assert "binary" in open_desk("src/**/*.py").refusal({"src/a.py": text(b"PK\0\0")})


def test_link_is_followed_through_other_links(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    up = "/".join([".."] * 8)
    assert "data/b" in desk.refusal({"data/a": link(".."), "data/b": link(f"a/{up}/x")})
    first = desk.freeze({"data/one": link("two"), "data/two/three": text(), "data/l": link("one/../three")})
    assert first.tree


def test_link_that_another_link_would_lead_out_is_refused(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    first = desk.freeze({"data/a": link("deep/er"), "data/deep/er/x": text(), "data/b": link("a/../../..")})
    assert "data/b" in desk.refusal({"data/a": link("..")}, first) or "data/b" in desk.refusal({"data/a": link("../..")}, first)


@pytest.mark.parametrize("mode", ["160000", "040000", "100600"])
def test_anything_but_files_and_links_is_never_let_in(open_desk: Callable[..., Desk], mode: str) -> None:
    words = open_desk("data/**/x").refusal({"data/x": Blob(b"1" * 40, mode)})
    assert "no candidate may have it" in words


def test_candidate_put_onto_another_incumbent_is_looked_at_again(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    ups = "/".join([".."] * (3 + desk.workspace.location.prefix.count("/")))
    first = desk.freeze({"data/a": link("..")}, n=1)
    second = desk.freeze({"data/b": link(f"a/x/{ups}"), "data/x": text()}, n=2)
    with pytest.raises(Refused) as refused:
        desk.workspace.rebase(second, desk.base, first, 1000, lambda tree: None, "again")
    assert refused.value.reason == "scope"


# -- a run -----------------------------------------------------------------------------------------------------------------

PRELUDE = """\
import os, pathlib, subprocess
def write(name, text):
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
def git(*args):
    return subprocess.run(["git", *args], capture_output=True, text=True).returncode
write("knob.txt", "1\\n")
"""
ACTS = {
    "edits the evaluator": ('write("evaluate.py", "print(\\"score: 0\\")")', "evaluate.py"),
    "edits the locked configuration": ('write("autoresearch.toml", "")', "autoresearch.toml"),
    "edits a test": ('write("tests/test_knob.py", "")', "tests/test_knob.py"),
    "deletes a test": ('os.unlink("tests/test_knob.py")', "tests/test_knob.py"),
    "adds a conftest": ('write("extra/conftest.py", "")', "extra/conftest.py"),
    "adds a sitecustomize": ('write("extra/sitecustomize.py", "")', "extra/sitecustomize.py"),
    "links out of the scope": ('os.makedirs("extra", exist_ok=True); os.symlink("/etc/passwd", "extra/l")', "extra/l"),
    "links above the tree": ('os.makedirs("extra", exist_ok=True); os.symlink("../../x", "extra/l")', "extra/l"),
    "commits it, amends and moves tags": (
        'write("extra/conftest.py", ""); git("add", "-A"); git("-c", "user.name=x", "-c", "user.email=x", "commit", "--amend",'
        ' "-m", "mine"); git("tag", "-f", "v1"); git("branch", "-f", "main")',
        "extra/conftest.py",
    ),
}


@pytest.mark.parametrize("act", ACTS)
def test_tampering_is_refused_by_path_before_any_evaluation_and_everything_stays(make_toy: Made, act: str) -> None:
    script, path = ACTS[act]
    task = TASK + '[proposer]\nkind = "command"\ncommand = "python propose.py"\n'
    toy = make_toy({"propose.py": PRELUDE + script, "tests/test_knob.py": "def test(): pass\n"}, task=task)
    toy.git("tag", "v1")
    toy.moved()
    before = {name: (toy.folder / name).read_bytes() for name in ("evaluate.py", "tests/test_knob.py")}
    refs = toy.git("for-each-ref")
    toy.run(wish=Wish(name="one", experiments=1))
    history = toy.history()
    e = history.experiments[1]
    assert e.verdict is not None
    assert (e.verdict.kind, e.verdict.reason) == (Kind.INVALID, "scope")
    assert path in e.verdict.words
    assert (e.measurements, e.commit) == ((), "")
    assert history.incumbent.n == 0
    assert {name: (toy.folder / name).read_bytes() for name in before} == before
    assert [row for row in toy.git("for-each-ref").splitlines() if "autoresearch/" not in row] == refs.splitlines()
    assert toy.git("rev-parse", "autoresearch/one") == toy.git("rev-parse", "main")
    evaluated = toy.git("ls-tree", "-r", "--name-only", "autoresearch/one")
    assert not os.path.exists(toy.folder / "extra")
    assert "conftest" not in evaluated
