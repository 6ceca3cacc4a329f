// What the bundle has to do, whatever becomes of its source.
const assert = require("node:assert");
const { slugify, titleCase, groupBy } = require("./dist/bundle.js");

assert.strictEqual(slugify("  Hello, World! "), "hello-world");
assert.strictEqual(titleCase("one two"), "One Two");
assert.deepStrictEqual(groupBy([1, 2, 3], (n) => n % 2), { 0: [2], 1: [1, 3] });
