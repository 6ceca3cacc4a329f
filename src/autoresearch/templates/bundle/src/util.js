// Puts items together that have the same key.
function groupBy(items, key) {
  const groups = {};
  for (const item of items) {
    const name = key(item);
    if (groups[name] === undefined) {
      groups[name] = [];
    }
    groups[name].push(item);
  }
  return groups;
}

module.exports = { slugify, titleCase, groupBy };
