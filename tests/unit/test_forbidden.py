"""Names that tools run by themselves, names that file systems confuse, what is binary, which module a file is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.workspace.forbidden import is_binary
from autoresearch.workspace.names import canonical, objection_to
from autoresearch.workspace.shadows import Module, imported, module_of

ALWAYS = [
    *("conftest.py", "tests/conftest.py", "tests/Conftest.PY", "a/conftest.py.", "a/conftest.py ", "ｃonftest.py"),
    *("conf\u200btest.py", "sitecustomize.py", "usercustomize.py", "lib/sitecustomize/__init__.py", "sitecustomize.abi3.so"),
    *("x.pth", "site/X.PTH", "python311._pth", "a.egg-link", ".gitattributes", "data/.GitAttributes", ".gitmodules"),
    *(".githooks/pre-commit", "a/.husky/_/husky.sh", "__pycache__/evaluate.cpython-311.pyc"),
    *("evil-1.0.dist-info/entry_points.txt", "evil.egg-info/entry_points.txt", ".lfsconfig"),
]
NEW = [
    *("pytest.ini", "tests/pytest.ini", "tests/pyproject.toml", "tox.ini", "setup.cfg", "setup.py", ".coveragerc"),
    *("jest.config.js", "web/vitest.config.mts", ".mocharc.json", "GNUmakefile", "src/.cargo/config.toml", "build.rs"),
    *("src/node_modules/lodash/index.js", "matplotlibrc", "pyvenv.cfg", ".npmrc", "compose.override.yaml"),
]
ALLOWED = [
    *("train.py", "tests/test_a.py", "my_conftest.py", "conftest.txt", "extra/config.json", "src/settings.ts", "a.b"),
    *("src/customize.py", "pth", "git/config.txt", "hooks/use.ts", "app/model.py", "naïve-日本.txt", ".gitignore"),
]


@pytest.mark.parametrize("path", ALWAYS)
@pytest.mark.parametrize("is_new", [True, False])
def test_what_tools_run_by_themselves_is_objected_to_however_it_is_written(path: str, is_new: bool) -> None:
    assert objection_to(path, is_new=is_new) is not None


@pytest.mark.parametrize("path", NEW)
def test_configuration_may_be_changed_by_a_pattern_and_not_be_new(path: str) -> None:
    assert objection_to(path, is_new=True) is not None
    assert objection_to(path, is_new=False) is None


@pytest.mark.parametrize("path", ALLOWED)
def test_ordinary_names_are_not_objected_to(path: str) -> None:
    assert objection_to(path, is_new=True) is None


@pytest.mark.parametrize("path", ["a/.git/config", ".GIT/hooks/x", "a/.git /config", "a/.g\u200cit/config"])
def test_a_repositorys_own_folder_is_never_let_in(path: str) -> None:
    found = objection_to(path, is_new=True)
    assert found is not None
    assert found.final


@pytest.mark.parametrize(
    ("one", "other"), [("README", "readme"), ("é.txt", "e\u0301.txt"), ("a.", "a"), ("a ", "a"), ("ﬁle", "FILE"), ("ß", "SS")]
)
def test_names_that_a_file_system_may_confuse_have_one_canonical_form(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)


@given(st.text(min_size=1, max_size=12))
def test_canonical_form_is_its_own(name: str) -> None:
    assert canonical(name)


@pytest.mark.parametrize(
    ("content", "binary"),
    [
        (b"", False),
        (b"plain\n", False),
        ("naïve\n".encode("latin-1") * 50, False),
        (bytes(range(128, 256)) * 4, False),
        (b"\x1b[31mred\x1b[0m\r\n", False),
        (b"a\0b", True),
        (b"x" * 100_000 + b"\0", True),
        ("text".encode("utf-16"), True),
        (b"\x01\x02\x03\x04abc", True),
        (b"\x01" + b"a" * 100, False),
    ],
)
def test_binary_is_what_has_a_zero_byte_or_many_control_characters(content: bytes, binary: bool) -> None:
    assert is_binary(content) is binary


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("random.py", Module("", "random", "source")),
        ("a/b/random.py", Module("a/b", "random", "source")),
        ("a/random/__init__.py", Module("a", "random", "package")),
        ("random/__init__.cpython-311-x86_64-linux-gnu.so", Module("", "random", "package")),
        ("a/helper.abi3.so", Module("a", "helper", "extension")),
        ("a/helper.pyc", Module("a", "helper", "bytecode")),
        ("__init__.py", None),
        ("a/run-all.py", None),
        ("a/x.test.py", None),
        ("a/random.txt", None),
    ],
)
def test_module_that_a_file_is(path: str, module: Module | None) -> None:
    assert module_of(path) == module


def test_link_without_an_ending_may_be_a_package() -> None:
    assert module_of("a/helper", is_link=True) == Module("a", "helper", "package")
    assert module_of("a/two words", is_link=True) is None


def test_imports_of_a_source_are_its_absolute_ones_wherever_they_stand() -> None:
    source = b"""
import numpy as np, a.b
from torch.nn import Linear
from . import sibling
from .near import thing
def f():
    import late
    importlib.import_module("dynamic.part")
    __import__("old")
"""
    assert imported(source) == {"numpy", "a", "torch", "late", "dynamic", "old"}
    assert imported(b"def broken(:") == frozenset()
