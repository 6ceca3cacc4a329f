"""File names that tools run or read by themselves, whoever put them there, and names that some file systems confuse."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_FILES = {
    "conftest.py": "pytest runs it inside the evaluation",
    ".gitattributes": "git changes files by it when it lays them out",
    ".gitmodules": "it brings other repositories in",
    ".lfsconfig": "git reads it as configuration",
}
_ENDINGS = {
    ".pth": "an interpreter runs it at its start",
    "._pth": "an interpreter takes its search path from it",
    ".egg-link": "an interpreter takes its search path from it",
}
_FOLDERS = {
    ".githooks": "git hooks are run by git",
    ".git-hooks": "git hooks are run by git",
    "githooks": "git hooks are run by git",
    ".husky": "git hooks are run by git",
    "__pycache__": "bytecode is run in place of a source",
}
_MODULES = ("sitecustomize", "usercustomize")
_READ = frozenset(
    [
        *("pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "tox.ini", "setup.cfg", "setup.py", "pyproject.toml"),
        *(".coveragerc", "noxfile.py", "mypy.ini", ".mypy.ini", ".flake8", ".pylintrc", "pylintrc", "ruff.toml", ".ruff.toml"),
        *("matplotlibrc", "pyvenv.cfg", "pip.conf", "ipython_config.py", "uv.toml", ".env", ".envrc", ".python-version"),
        *("package.json", ".npmrc", ".yarnrc", ".yarnrc.yml", ".pnp.cjs", ".pnp.loader.mjs", ".babelrc", "tsconfig.json"),
        *("bunfig.toml", "deno.json", "deno.jsonc", "makefile", "gnumakefile", "build.rs", "rust-toolchain", "go.work"),
        *("rust-toolchain.toml", ".bazelrc", ".rprofile", ".renviron", ".octaverc", ".rspec", ".user.ini", ".htaccess"),
        *("gradle.properties", "settings.gradle", "compose.override.yml", "compose.override.yaml", "lefthook.yml"),
        *("docker-compose.override.yml", "docker-compose.override.yaml", ".pre-commit-config.yaml"),
    ]
)
_READ_LIKE = re.compile(r"\.(babelrc|mocharc|eslintrc|c8rc|nycrc|swcrc|stylelintrc)(\..+)?|.+\.(config|conf)\.[cm]?[jt]sx?")
_READ_BELOW = frozenset(["node_modules", ".cargo", ".mvn"])
_INVISIBLE = {"Cf", "Cc"}


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a path is refused.

    Attributes:
        at: which part of the path it is about: a glob with that part in it allows the path.
        suffix: a glob that ends with it allows the path too.
        final: nothing allows it.
    """

    words: str
    at: int = -1
    suffix: str = ""
    final: bool = False


def canonical(name: str) -> str:
    """A name as file systems compare it that fold case, normalise unicode, and drop what nobody sees."""
    if name.isascii() and name.isprintable():
        return name.rstrip(". ").lower() or name
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(c for c in folded if unicodedata.category(c) not in _INVISIBLE).rstrip(". ") or name


def objection_to(path: str, *, is_new: bool) -> Objection | None:
    """Why a candidate may not have this path, None where nothing in its name says so.

    Args:
        path: relative to the project; `is_new`, that what it changes has nothing there: files that are configuration are the
            owner's to let be changed by a pattern, but not to appear where there was none.
    """
    parts = [canonical(part) for part in path.split("/")]
    if ".git" in parts:
        return Objection("it lies in a repository's own folder", parts.index(".git"), final=True)
    for i, folder in enumerate(parts[:-1]):
        if folder in _FOLDERS:
            return Objection(_FOLDERS[folder], i)
        if folder.endswith((".dist-info", ".egg-info")):
            return Objection("tools load plug-ins that are named there", i)
        if is_new and folder in _READ_BELOW:
            return Objection("tools load what lies there by themselves", i)
        if folder in _MODULES:
            return Objection("an interpreter runs it at its start", i)
    return _to_file(parts[-1], len(parts) - 1, is_new=is_new)


def _to_file(name: str, at: int, *, is_new: bool) -> Objection | None:
    ending = next((ending for ending in _ENDINGS if name.endswith(ending)), "")
    words = _FILES.get(name) or _ENDINGS.get(ending, "")
    if not words and name.partition(".")[0] in _MODULES:
        words = "an interpreter runs it at its start"
    if not words and is_new and (name in _READ or _READ_LIKE.fullmatch(name)):
        words = "tools read it as configuration, which can name code to run"
    return Objection(words, at, ending) if words else None
