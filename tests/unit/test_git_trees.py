"""Trees as data: editing, comparing and git's own order and ids, on a store in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoresearch.git import command, environment
from autoresearch.objects import Repository
from autoresearch.trees import Entry, object_id

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be slow


class InMemory(Repository):
    """The tree code on a dictionary of objects."""

    def __init__(self) -> None:
        self.git_dir = Path("/nowhere")
        self.sha256 = False
        self.objects: dict[str, bytes] = {}
        self._trees = {}

    def write(self, kind: str, body: bytes) -> str:
        oid = object_id(kind, body)
        self.objects[oid] = body
        return oid

    def read(self, oid: str, kind: str = "") -> bytes:
        return self.objects[oid]

    def walk(self, tree: str, prefix: str = "") -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for name, entry in self.tree(tree).items():
            found |= self.walk(entry[1], f"{prefix}{name}/") if entry[0] == "40000" else {prefix + name: entry}
        return found

    def build(self, files: Mapping[str, Entry]) -> str:
        return self.edit_tree(self.write("tree", b""), files)


def _without_conflicts(files: dict[str, Entry]) -> dict[str, Entry]:
    """A path cannot be a file and a folder."""
    return {p: e for p, e in files.items() if not any(other.startswith(f"{p}/") for other in files)}


NAMES = st.sampled_from(["a", "b", "a.b", "a-b", "é", "a\nb", "caf\udce9"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
ENTRIES = st.tuples(st.sampled_from(["100644", "100755", "120000"]), st.sampled_from(["1" * 40, "2" * 40]))
FILES = st.dictionaries(PATHS, ENTRIES, max_size=8).map(_without_conflicts)


@unhurried
@given(FILES)
def test_a_tree_holds_exactly_the_files_it_was_built_of(files: dict[str, Entry]) -> None:
    repository = InMemory()
    assert repository.walk(repository.build(files)) == files


@unhurried
@given(FILES, FILES)
def test_differences_applied_to_the_old_tree_give_the_new_one(old: dict[str, Entry], new: dict[str, Entry]) -> None:
    repository = InMemory()
    before, after = repository.build(old), repository.build(new)
    differences = repository.differences(before, after)
    assert repository.edit_tree(before, differences) == after
    assert differences == {p: new.get(p) for p in old.keys() | new.keys() if old.get(p) != new.get(p)}


@unhurried
@given(FILES, PATHS)
def test_find_gives_a_files_entry_and_none_where_nothing_is(files: dict[str, Entry], path: str) -> None:
    repository = InMemory()
    found = repository.find(repository.build(files), path)
    is_folder = any(p.startswith(f"{path}/") for p in files)
    assert (found is not None and found[0] == "40000") if is_folder else found == files.get(path)


@unhurried
@given(FILES)
def test_deleting_everything_leaves_the_empty_tree(files: dict[str, Entry]) -> None:
    repository = InMemory()
    emptied = repository.edit_tree(repository.build(files), dict.fromkeys(files))
    assert emptied == object_id("tree", b"") == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def test_entries_stand_in_gits_order_where_a_folder_sorts_as_if_it_ended_in_a_slash() -> None:
    repository = InMemory()
    entry = ("100644", "1" * 40)
    tree = repository.build({"a/x": entry, "a.b": entry, "a-b": entry, "a0": entry})
    assert list(repository.tree(tree)) == ["a-b", "a.b", "a", "a0"]


def test_commit_depends_on_nothing_but_what_is_given() -> None:
    first, second = InMemory(), InMemory()
    given_twice = ("4b825dc642cb6eb9a060e54bf8d69288fbee4904", ["1" * 40], "subject\n\nMetric: score 9\n", 1234.9)
    oid = first.commit(*given_twice)
    assert oid == second.commit(*given_twice)
    assert first.objects[oid].decode() == (
        "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"
        f"parent {'1' * 40}\n"
        "author autoresearch <autoresearch@localhost> 1234 +0000\n"
        "committer autoresearch <autoresearch@localhost> 1234 +0000\n"
        "\nsubject\n\nMetric: score 9\n"
    )


def test_object_ids_are_gits() -> None:
    assert object_id("blob", b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert object_id("blob", b"", sha256=True) == "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813"


def test_git_runs_without_the_users_variables_hooks_and_settings() -> None:
    argv = command("status")
    assert "--no-optional-locks" in argv
    assert {"core.hooksPath=/dev/null", "core.fsmonitor=false", "core.autocrlf=false"} <= set(argv)
    env = environment()
    assert (env["GIT_CONFIG_GLOBAL"], env["GIT_CONFIG_NOSYSTEM"]) == ("/dev/null", "1")
    ours = {"GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM", "GIT_NO_REPLACE_OBJECTS", "GIT_OPTIONAL_LOCKS", "GIT_TERMINAL_PROMPT"}
    assert {key for key in env if key.startswith("GIT_")} == ours
