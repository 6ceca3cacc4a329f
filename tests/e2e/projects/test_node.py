"""A node workspace: two packages of its own linked into node_modules, one of others, a bundle whose size counts."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.e2e.projects.support import PROPOSER, Owner, find, is_mounted, needs, proposer

pytestmark = needs("node")

LIB = """\
const words = require("pack-words");
// formats a table; every byte of this file is shipped
exports.table = (rows) => {
  const lines = [];
  for (const row of rows) {
    lines.push(words.join(row));
  }
  return lines.join("\\n");
};
"""
SIZE = """\
const fs = require("fs"), path = require("path"), zlib = require("zlib");
const lib = require.resolve("@me/lib"), { table } = require("@me/lib");
if (table([[1, 2], [3, 4]]) !== "1 2\\n3 4") throw new Error("the table is wrong");
const code = fs.readFileSync(lib, "utf8").replace(/\\/\\/.*$/gm, "");
console.log(`packing ${path.basename(path.dirname(lib))}`);
console.log(`bundle: ${code.length} bytes`);
"""
TASK = f"""\
[task]
editable = ["packages/lib/**"]
frozen = ["packages/lib/package.json"]

[evaluate]
command = "node packages/app/size.js"

[metric]
name = "bundle"
unit = "bytes"
{PROPOSER}"""
SHORT = 'const words = require("pack-words");\nexports.table = (rows) => rows.map((row) => words.join(row)).join("\\n");\n'
STEPS = [
    ("map instead of a loop", {"packages/lib/index.js": (LIB, SHORT)}),
    ("without the separator", {"packages/lib/index.js": ('.join("\\n")', "")}),
    ("shorter names", {"packages/lib/index.js": ("rows", "r")}),
]


def package(name: str, **more: object) -> str:
    return json.dumps({"name": name, "version": "1.0.0", **more}, indent=2) + "\n"


def build(owner: Owner) -> None:
    """What such a repository looks like after `git clone` and `npm install`."""
    lib = {"packages/lib/package.json": package("@me/lib", main="index.js", dependencies={"pack-words": "*"})}
    app = {"packages/app/package.json": package("@me/app", dependencies={"@me/lib": "*"}), "packages/app/size.js": SIZE}
    owner.write({"package.json": package("me", private=True, workspaces=["packages/*"]), ".gitignore": "node_modules/\n"})
    owner.write({**lib, **app, "packages/lib/index.js": LIB, "propose.py": proposer(STEPS), "autoresearch.toml": TASK})
    install(owner, {"package.json": package("pack-words"), "index.js": 'exports.join = (row) => row.join(" ");\n'})
    owner.commit("start")
    assert (owner.folder / "node_modules/@me/lib").is_symlink()
    assert not (owner.folder / "node_modules/pack-words").is_symlink()
    assert "bundle: 181 bytes" in owner.does("node packages/app/size.js")


def install(owner: Owner, words: Mapping[str, str]) -> None:
    """By npm, which links the workspaces and unpacks what others made; where there is none, as it does that."""
    if find("npm"):
        other = owner.home / "pack-words"
        other.mkdir()
        for name, text in words.items():
            (other / name).write_text(text)
        packed = owner.does(f"npm pack --silent --pack-destination {owner.home} {other}").strip()
        owner.does(f"npm install --silent --no-audit --no-fund --no-save {owner.home / packed}")
    else:
        owner.write({f"node_modules/pack-words/{name}": text for name, text in words.items()})
        (owner.folder / "node_modules/@me").mkdir()
        for name in ("lib", "app"):
            (owner.folder / "node_modules/@me" / name).symlink_to(f"../../packages/{name}")


def test_node_workspace_measures_the_candidates_package_and_not_the_linked_one(owner: Owner) -> None:
    build(owner)
    added = owner.is_fixed("module @me/lib is missing" if is_mounted() else "is a link into the checkout")
    assert added == ['inputs = ["node_modules"]'] or not is_mounted()
    rows = owner.runs(3)
    sizes = [181, len(SHORT), None, len(SHORT.replace("rows", "r"))]
    assert [row["value"] for row in rows] == sizes
    assert [row["verdict"] for row in rows] == ["keep", "keep", "crash", "keep"]
    assert rows[2]["words"].endswith("last line: Error: the table is wrong")
    assert "exports.table = (r) => r.map(" in owner.kept("one", "packages/lib/index.js")
    assert (owner.folder / "packages/lib/index.js").read_text() == LIB
